//! Every truncation and every one-bit flip of valid bytes: no panic, and what is accepted is spelt as it was read.

use super::*;
use cosignature::WitnessKey;
use fork::ForkProof;
use note::{Note, Vkey};
use proof::{ConsistencyProof, InclusionProof};
use tiles::Tile;

/// Decodes and encodes again; `None` when refused.
type Again = fn(&[u8]) -> Option<Vec<u8>>;

fn try_all(seed: &[u8], again: Again, tried: &mut u64) {
    assert_eq!(again(seed).as_deref(), Some(seed), "a seed is valid");
    for len in 0..seed.len() {
        check(&seed[..len], again, tried);
    }
    for bit in 0..seed.len() * 8 {
        let mut flipped = seed.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(&flipped, again, tried);
    }
}

fn check(bytes: &[u8], again: Again, tried: &mut u64) {
    if let Some(encoded) = again(bytes) {
        assert_eq!(encoded, bytes, "accepted, but spelt otherwise");
    }
    *tried += 1;
}

fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok()
}

/// A note from its parsed parts.
fn print(note: &Note<'_>) -> Vec<u8> {
    let lines: String = note.signatures().iter().map(|line| format!("{}\n", line.line)).collect();
    format!("{}\n{lines}", note.text()).into_bytes()
}

#[test]
fn proofs() {
    let (log, mut tried, mut n_seeds) = (log(1, 70, u64::MAX), 0, 0);
    for (low, size) in [(0, 1), (1, 2), (3, 7), (4, 7), (32, 64), (33, 70), (64, 65), (69, 70)] {
        let seed = log.prove_inclusion(low, size).expect("inside").encode();
        try_all(&seed, |bytes| InclusionProof::decode(bytes).ok().map(|proof| proof.encode()), &mut tried);
        let seed = log.prove_consistency(low, size).expect("inside").encode();
        try_all(&seed, |bytes| ConsistencyProof::decode(bytes).ok().map(|proof| proof.encode()), &mut tried);
        n_seeds += 2;
        if low > 0 {
            let seed = log.prove_prefix(low, size).expect("inside").encode();
            try_all(&seed, |bytes| PrefixProof::decode(bytes).ok().map(|proof| proof.encode()), &mut tried);
            n_seeds += 1;
        }
    }
    println!("{tried} variants of {n_seeds} proofs");
}

#[test]
fn notes_and_checkpoints() {
    let (log, mut tried) = (log(1, 70, u64::MAX), 0);
    for size in [0, 1, 9, 10, 70] {
        let head = head(1, &log, size);
        let cosigned = [head.note(), "\u{2014} w.example AAAAAAA=\n".as_bytes()].concat();
        for seed in [head.note(), &cosigned] {
            try_all(seed, |bytes| Note::parse(bytes).ok().map(|note| print(&note)), &mut tried);
            // A head that is accepted says what its bytes say.
            let again: Again = |bytes| {
                let head = Head::verify(bytes).ok()?;
                let note = Note::parse(head.note()).expect("verified");
                assert_eq!(head.checkpoint().to_string(), note.text());
                Some(print(&note))
            };
            try_all(seed, again, &mut tried);
        }
        let again: Again =
            |bytes| text(bytes)?.parse::<Checkpoint>().ok().map(|checkpoint| checkpoint.to_string().into_bytes());
        try_all(head.checkpoint().to_string().as_bytes(), again, &mut tried);
        let again: Again = |bytes| text(bytes)?.parse::<Vkey>().ok().map(|vkey| vkey.to_string().into_bytes());
        try_all(Vkey::of(head.origin()).to_string().as_bytes(), again, &mut tried);
        let again: Again = |bytes| text(bytes)?.parse::<WitnessKey>().ok().map(|key| key.to_string().into_bytes());
        try_all(WitnessKey::of(secret(40 + size as u8).public()).to_string().as_bytes(), again, &mut tried);
    }
    println!("{tried} variants of 10 notes (twice), 5 checkpoints, 5 verifier keys, 5 witnesses' keys");
}

#[test]
fn tile_paths() {
    let mut tried = 0;
    for seed in ["tile/0/000", "tile/63/x001/x234/067.p/255", "tile/entries/x004/096", "tile/entries/000.p/1"] {
        let again: Again = |bytes| text(bytes)?.parse::<Tile>().ok().map(|tile| tile.to_string().into_bytes());
        try_all(seed.as_bytes(), again, &mut tried);
    }
    println!("{tried} variants of 4 paths");
}

#[test]
fn fork_proofs() {
    let (honest, forked, mut tried) = (log(1, 70, u64::MAX), log(1, 70, 3), 0);
    for (old, new) in [(4, 70), (21, 64), (70, 70)] {
        let proof = ForkProof::from_log(&honest, &head(1, &forked, old), &head(1, &honest, new)).expect("a fork");
        let again: Again = |bytes| ForkProof::verify(bytes).ok().map(|proof| proof.encode());
        try_all(&proof.encode(), again, &mut tried);
    }
    println!("{tried} variants of 3 fork proofs");
}
