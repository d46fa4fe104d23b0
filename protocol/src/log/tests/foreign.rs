//! Three implementations by others: they accept what we make, we accept what they make.

use std::cell::RefCell;

use super::*;
use note::{Note, NoteError, Vkey};
use proof::{ConsistencyProof, InclusionProof};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use sigstore_merkle::{hash_leaf, verify_consistency_proof, verify_inclusion_proof};
use tlog_tiles::tlog;

const LEAVES: u64 = 96;

/// tlog_tiles' own storage layout, filled by tlog_tiles.
#[derive(Default)]
pub(super) struct Store(RefCell<Vec<tlog::Hash>>);

impl tlog::HashReader for Store {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0.borrow()[*index as usize]).collect())
    }
}

pub(super) fn store(size: u64) -> Store {
    let store = Store::default();
    for index in 0..size {
        let more = tlog::stored_hashes(index, &entry(index, false), &store).expect("their own layout");
        store.0.borrow_mut().extend(more);
    }
    store
}

fn theirs(hash: &LogHash) -> tlog::Hash {
    tlog::Hash(*hash.as_bytes())
}

fn ours(hashes: &[tlog::Hash]) -> Vec<LogHash> {
    hashes.iter().map(|hash| LogHash::from_bytes(hash.0)).collect()
}

#[test]
fn tlog_tiles_makes_the_same_roots_and_accepts_the_same_proofs() {
    let (store, log) = (store(LEAVES), log(1, LEAVES, u64::MAX));
    for n in 0..=LEAVES {
        let new = Checkpoint { origin: origin(1), size: n, root: log.root_at(n).expect("held") };
        assert_eq!(theirs(&new.root), tlog::tree_hash(n, &store).expect("in their store"), "size {n}");
        for i in 0..n {
            let leaf = log.leaf(i).expect("held");
            let our_proof = log.prove_inclusion(i, n).expect("inside");
            let their_proof = tlog::prove_record(n, i, &store).expect("inside");
            assert_eq!(our_proof.hashes(), ours(&their_proof), "leaf {i} of {n}");
            let made = InclusionProof::new(i, n, ours(&their_proof)).expect("the same shape");
            made.verify(&leaf, &new).expect("theirs is accepted");
            let given = our_proof.hashes().iter().map(theirs).collect();
            tlog::check_record(&given, n, theirs(&new.root), i, theirs(&leaf)).expect("ours is accepted");
        }
        for m in 1..=n {
            let old = Checkpoint { size: m, root: log.root_at(m).expect("held"), ..new };
            let their_proof = tlog::prove_tree(n, m, &store).expect("inside");
            let made = ConsistencyProof::new(m, n, ours(&their_proof)).expect("the same shape");
            made.verify(&old, &new).expect("theirs is accepted");
            let given = log.prove_consistency(m, n).expect("inside").hashes().iter().map(theirs).collect();
            tlog::check_tree(&given, n, theirs(&new.root), m, theirs(&old.root)).expect("ours is accepted");
        }
    }
}

#[test]
fn sigstore_merkle_accepts_our_proofs_and_refuses_what_we_refuse() {
    let log = log(1, LEAVES, u64::MAX);
    for n in 1..=LEAVES {
        let root = (*log.root_at(n).expect("held").as_bytes()).into();
        for i in 0..n {
            let proof = log.prove_inclusion(i, n).expect("inside");
            let hashes: Vec<_> = proof.hashes().iter().map(|hash| (*hash.as_bytes()).into()).collect();
            let leaf = hash_leaf(&entry(i, false));
            assert_eq!(leaf.as_bytes(), log.leaf(i).expect("held").as_bytes());
            verify_inclusion_proof(&leaf, i, n, &hashes, &root).expect("ours is accepted");
            verify_inclusion_proof(&hash_leaf(b"wrong"), i, n, &hashes, &root).expect_err("another leaf");
        }
        for m in 1..=n {
            let old = (*log.root_at(m).expect("held").as_bytes()).into();
            let proof = log.prove_consistency(m, n).expect("inside");
            let hashes: Vec<_> = proof.hashes().iter().map(|hash| (*hash.as_bytes()).into()).collect();
            verify_consistency_proof(m, n, &hashes, &old, &root).expect("ours is accepted");
            if m < n {
                verify_consistency_proof(m, n, &hashes, &root, &root).expect_err("another old root");
            }
        }
    }
}

/// The same key in the text form that signed_note signs with.
fn their_signer(name: &str, seed: &[u8; 32]) -> StandardSigner {
    let key = DeviceSecret::from_seed(seed).public();
    let public = [&[1], &key.as_bytes()[..]].concat();
    let secret = data_encoding::BASE64.encode(&[&[1], &seed[..]].concat());
    let id = signed_note::key_id(name, &public);
    StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id:08x}+{secret}")).expect("a signer key")
}

#[test]
fn notes_go_both_ways() {
    let log = log(1, 20, u64::MAX);
    for size in [0, 1, 9, 10, 20] {
        let head = head(1, &log, size);
        let vkey = Vkey::of(head.origin()).to_string();
        let verifier = StandardVerifier::new(&vkey).expect("our vkey is accepted");
        let note = signed_note::Note::from_bytes(head.note()).expect("our note parses");
        let (verified, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("our note verifies");
        assert_eq!((verified.len(), unknown.len()), (1, 0));
        let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).expect("our checkpoint parses");
        assert_eq!((theirs.origin(), theirs.size()), (&*head.origin().to_string(), size));
        assert_eq!(theirs.hash().0, *head.root().as_bytes());
        assert_eq!(theirs.extension(), "");

        let mut made = signed_note::Note::new(&theirs.to_bytes(), &[]).expect("a note text");
        made.add_sigs(&[&their_signer(&head.origin().to_string(), &[1; 32])]).expect("signs");
        assert_eq!(made.to_bytes(), head.note(), "Ed25519 is deterministic: the same bytes");
        assert_eq!(Head::verify(&made.to_bytes()), Ok(head));
    }
}

/// Witnesses' lines are kept and relayed, and can be taken off; only the log's own line is believed.
#[test]
fn cosignatures_are_kept_and_can_be_stripped() {
    let bare = head(1, &log(1, 20, u64::MAX), 20);
    let text = Note::parse(bare.note()).expect("a note").text().to_owned();
    let mut note = signed_note::Note::new(text.as_bytes(), &[]).expect("a note text");
    let own = bare.origin().to_string();
    note.add_sigs(&[&their_signer("witness.example/one", &[50; 32])]).expect("signs");
    note.add_sigs(&[&their_signer(&own, &[1; 32])]).expect("signs");
    note.add_sigs(&[&their_signer(&own, &[51; 32])]).expect("another key under the same name is an unknown key");
    let cosigned = Head::verify(&note.to_bytes()).expect("verifies");
    assert_eq!(cosigned.note(), note.to_bytes());
    assert_eq!(cosigned.checkpoint(), bare.checkpoint());
    assert_eq!(cosigned.without_cosignatures(), bare);
    assert_eq!(bare.without_cosignatures(), bare);

    let line = Note::parse(bare.note()).expect("a note").signatures()[0].line.to_owned();
    let mut twice = note.to_bytes();
    twice.extend(format!("{line}\n").bytes());
    assert_eq!(Head::verify(&twice), Err(NoteError::SignedTwice));
    let stranger = "\u{2014} w.example AAAAAAA=\n";
    let with = |n: usize| [bare.note(), stranger.repeat(n).as_bytes()].concat();
    Head::verify(&with(limits::NOTE_SIGNATURES - 1)).expect("as many lines as there may be");
    let error = NoteError::TooManySignatures { max: limits::NOTE_SIGNATURES };
    assert_eq!(Head::verify(&with(limits::NOTE_SIGNATURES)), Err(error));
    assert!(matches!(Head::verify(&with(400)), Err(NoteError::TooLong { .. })));
    let only_strangers = format!("{text}\n{stranger}");
    assert_eq!(Head::verify(only_strangers.as_bytes()), Err(NoteError::Unsigned));
}

/// The example of C2SP signed-note and the key from its first implementation.
#[test]
fn the_example_notes_of_the_specification() {
    let example = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let note = Note::parse(example.as_bytes()).expect("the example of C2SP signed-note");
    assert!(note.text().ends_with("sole:\n\ned è subito sera.\n"), "the text may have empty lines");
    let line = &note.signatures()[0];
    assert_eq!((line.name, line.signature.len()), ("quasimodo.example/salvatore", 64));
    assert_eq!(line.key_id, [0x36, 0x7b, 0xa0, 0x4b]);

    let neumann = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let vkey: Vkey = text.parse().expect("a vkey");
    assert_eq!(vkey.to_string(), text);
    Note::parse(neumann.as_bytes()).expect("a note").check(&vkey).expect("verifies");
    let changed = neumann.replace("answer", "Answer");
    let changed = Note::parse(changed.as_bytes()).expect("a note");
    assert!(matches!(changed.check(&vkey), Err(NoteError::Signature(_))));
    for wrong in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "x+00000000+BA=="] {
        assert!(wrong.parse::<Vkey>().is_err(), "{wrong:?}");
        assert!(text.replace("c7", "C7").parse::<Vkey>().is_err());
    }
}

#[test]
fn the_example_checkpoint_of_the_specification() {
    let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    let note = Note::parse(example.as_bytes()).expect("the example of C2SP tlog-checkpoint");
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text().as_bytes()).expect("theirs");
    let (origin, size, root) = checkpoint::parse_lines(note.text()).expect("ours");
    assert_eq!((origin, size, *root.as_bytes()), (theirs.origin(), theirs.size(), theirs.hash().0));
    // Well-formed, but no log of this network.
    assert!(matches!(Head::verify(example.as_bytes()), Err(NoteError::Origin(_))));
}

#[test]
fn checkpoints_have_one_spelling() {
    let good = log(1, 20, u64::MAX).checkpoint();
    let text = good.to_string();
    assert_eq!(text.parse(), Ok(good));
    let mut lines = text.split_terminator('\n');
    let (origin, size, root) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    let unpadded = root.trim_end_matches('=');
    let twin = format!("{}{}=", &root[..42], if root.as_bytes()[42] == b'x' { 'y' } else { 'x' });
    for wrong in [
        String::new(),
        format!("{origin}\n{size}\n{root}"),
        format!("{origin}\n{size}\n"),
        format!("{origin}\n{size}\n{root}\nextension\n"),
        format!("{origin}\n{size}\n{root}\n\n"),
        format!("\n{origin}\n{size}\n{root}\n"),
        format!("{origin}\r\n{size}\n{root}\n"),
        format!("{origin} \n{size}\n{root}\n"),
        format!("{origin}\n0{size}\n{root}\n"),
        format!("{origin}\n+{size}\n{root}\n"),
        format!("{origin}\n-0\n{root}\n"),
        format!("{origin}\n00\n{root}\n"),
        format!("{origin}\n\n{root}\n"),
        format!("{origin}\n {size}\n{root}\n"),
        format!("{origin}\n٢\n{root}\n"),
        format!("{origin}\n18446744073709551616\n{root}\n"),
        format!("{origin}\n1048577\n{root}\n"),
        format!("{origin}\n0\n{root}\n"),
        format!("{origin}\n{size}\n{unpadded}\n"),
        format!("{origin}\n{size}\n{twin}\n"),
        format!("{origin}\n{size}\n{root}=\n"),
        format!("{origin}\n{size}\n{}\n", &root[4..]),
    ] {
        assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong:?}");
    }
}
