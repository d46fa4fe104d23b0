//! The log against everything it must withstand. Each file says how much it tries.

mod cosignatures;
mod decoders;
mod exhaustive;
mod foreign;
mod fork_points;
mod mutants;
mod rng;
mod statements;
mod tiling;
mod vectors;

use super::*;
use crate::id::{IdentityId, PackageId};
use crate::key::DeviceSecret;

/// The writer number `n`.
fn secret(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n; 32])
}

/// The log of writer `n` in a package.
fn origin(n: u8) -> Origin {
    Origin::package(PackageId::from_bytes([9; 32]), secret(n).public())
}

/// Writer `n`'s log of `size` entries; those from `fork` on are others than usual.
fn log(n: u8, size: u64, fork: u64) -> Log {
    let mut log = Log::new(origin(n));
    for index in 0..size {
        log.append(&entry(index, index >= fork)).expect("a short entry");
    }
    log
}

fn entry(index: u64, forked: bool) -> Vec<u8> {
    format!("{}entry {index}", if forked { "other " } else { "" }).into_bytes()
}

fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|index| entry(index, false)).collect()
}

/// Writer `n`'s signature under its log at `size`.
fn head(n: u8, log: &Log, size: u64) -> Head {
    let root = log.root_at(size).expect("the log is long enough");
    Head::sign(&secret(n), Checkpoint { origin: origin(n), size, root }).expect("own log")
}

#[test]
fn a_log_grows_only_to_what_is_signed() {
    let writer = log(1, 40, u64::MAX);
    let mut reader = Log::new(origin(1));
    assert_eq!(reader.compare(&head(1, &writer, 40)), Standing::Ahead { from: 0 });
    reader.extend(&entries(0..25), &head(1, &writer, 25)).expect("true entries");
    assert_eq!(reader.root(), writer.root_at(25).expect("held"));
    assert_eq!(reader.compare(&head(1, &writer, 25)), Standing::Same);
    assert_eq!(reader.compare(&head(1, &writer, 0)), Standing::Behind);
    assert_eq!(reader.compare(&head(1, &writer, 24)), Standing::Behind);
    assert_eq!(reader.compare(&head(1, &writer, 26)), Standing::Ahead { from: 25 });
    assert_eq!(reader.compare(&head(2, &log(2, 3, 0), 3)), Standing::OtherLog);
    let forked = log(1, 40, 20);
    assert_eq!(reader.compare(&head(1, &forked, 20)), Standing::Behind);
    assert_eq!(reader.compare(&head(1, &forked, 21)), Standing::Forked);
    assert_eq!(reader.compare(&head(1, &forked, 25)), Standing::Forked);

    // Nothing below changes the reader.
    let before = reader.checkpoint();
    let full = head(1, &writer, 40);
    let mut refused = |entries: &[Vec<u8>], head: &Head| {
        let error = reader.extend(entries, head).expect_err("must be refused");
        assert_eq!(reader.checkpoint(), before);
        error
    };
    let wrong = [entries(25..39), vec![b"wrong".to_vec()]].concat();
    assert_eq!(refused(&wrong, &full), ExtendError::Root { size: 40 });
    assert_eq!(refused(&entries(25..40), &head(1, &forked, 40)), ExtendError::Root { size: 40 });
    assert_eq!(refused(&[], &head(1, &forked, 25)), ExtendError::Root { size: 25 });
    assert_eq!(refused(&entries(25..39), &full), ExtendError::Count { expected: 15, found: 14 });
    assert_eq!(refused(&entries(25..41), &full), ExtendError::Count { expected: 15, found: 16 });
    assert_eq!(refused(&[], &head(1, &writer, 24)), ExtendError::Older { held: 25, offered: 24 });
    assert_eq!(refused(&[], &head(2, &log(2, 30, 0), 30)), ExtendError::OtherLog);
    let long = vec![vec![0; limits::ENTRY_BYTES + 1]; 15];
    let max = limits::ENTRY_BYTES;
    assert_eq!(refused(&long, &full), ExtendError::EntryTooLong { index: 25, len: max + 1, max });

    reader.extend(&entries(25..40), &full).expect("true entries");
    reader.extend(&entries(0..0), &full).expect("nothing new is fine");
    assert_eq!(reader.checkpoint(), writer.checkpoint());
}

#[test]
fn a_long_log_comes_in_verified_parts() {
    let writer = log(1, 100, u64::MAX);
    let target = head(1, &writer, 100);
    let mut reader = Log::new(origin(1));
    for part in [0..30, 30..64, 64..64, 64..99, 99..100] {
        let (start, end) = (part.start, part.end);
        let proof = writer.prove_consistency(end, 100).expect("held");
        let wrong = vec![b"wrong".to_vec(); (end - start) as usize];
        if start < end {
            assert_eq!(reader.extend_towards(&wrong, &proof, &target), Err(ProofError::Root.into()));
        }
        let short = writer.prove_consistency(end, 99).unwrap_or_else(|_| proof.clone());
        if short != proof {
            let error = Err(ProofError::OtherStatement.into());
            assert_eq!(reader.extend_towards(&entries(part.clone()), &short, &target), error);
        }
        assert_eq!(reader.size(), start);
        reader.extend_towards(&entries(part), &proof, &target).expect("true entries");
        assert_eq!(reader.root(), writer.root_at(end).expect("held"));
    }
    let nothing = writer.prove_consistency(100, 100).expect("held");
    assert_eq!(
        reader.extend_towards(&entries(100..101), &nothing, &target),
        Err(ExtendError::Count { expected: 0, found: 1 })
    );
}

#[test]
fn the_own_writer_appends_within_bounds_and_knows_the_result_before() {
    let mut log = log(1, 5, u64::MAX);
    let next = entries(5..9);
    let planned = log.checkpoint_after(&next).expect("within bounds");
    assert_eq!(log.size(), 5);
    for entry in &next {
        log.append(entry).expect("within bounds");
    }
    assert_eq!(log.checkpoint(), planned);
    let long = vec![0; limits::ENTRY_BYTES + 1];
    let error = AppendError::EntryTooLong { len: long.len(), max: limits::ENTRY_BYTES };
    assert_eq!(log.append(&long), Err(error));
    assert_eq!(log.checkpoint_after(&[&long]), Err(error));
    assert_eq!(log.append(&long[1..]), Ok(9));
}

#[test]
fn heads_are_signed_only_for_the_own_log_and_never_absurd() {
    let checkpoint = Checkpoint { origin: origin(1), size: 0, root: merkle::EMPTY_ROOT };
    assert_eq!(Head::sign(&secret(2), checkpoint), Err(checkpoint::SignError::OtherKey));
    Head::sign(&secret(1), checkpoint).expect("an empty log may be signed");
    let absurd = [
        Checkpoint { root: merkle::leaf_hash(b""), ..checkpoint },
        Checkpoint { size: limits::LOG_ENTRIES + 1, ..checkpoint },
    ];
    for checkpoint in absurd {
        assert!(matches!(Head::sign(&secret(1), checkpoint), Err(checkpoint::SignError::Checkpoint(_))));
        let note = note::sign(&checkpoint.to_string(), &checkpoint.origin.to_string(), &secret(1));
        assert!(matches!(Head::verify(&note), Err(note::NoteError::Checkpoint(_))));
    }
}

#[test]
fn an_identity_log_has_heads_too() {
    let origin = Origin::identity(IdentityId::from_bytes([4; 32]), secret(1).public());
    let head = Head::sign(&secret(1), Log::new(origin).checkpoint()).expect("own log");
    assert_eq!(Head::verify(head.note()), Ok(head));
}
