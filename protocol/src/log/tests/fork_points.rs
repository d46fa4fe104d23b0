//! Where two histories part: every small case, every change of the bytes, and every other point that somebody could name.

use super::*;
use crate::codec;
use crate::log::fork::ForkProof;
use crate::log::fork_point::{ForkPoint, ForkPointError};
use crate::log::merkle::EMPTY_ROOT;

/// Another history of a log that parts from it at `fork`.
fn fork_of(honest: &Log, size: u64, fork: u64) -> (Log, ForkProof) {
    let other = log(1, size, fork);
    let (ours, theirs) = (head(1, honest, honest.size()), head(1, &other, size));
    let newer = if size > honest.size() { &other } else { honest };
    let proof = ForkProof::from_log(newer, &ours, &theirs).expect("a fork");
    (other, proof)
}

#[test]
fn every_point_of_small_logs_is_shown_to_whoever_holds_either_history() {
    let mut n_points = 0;
    for n in 1..=17 {
        let honest = log(1, n, u64::MAX);
        for (size, fork) in (1..=17).flat_map(|size| (0..size.min(n)).map(move |fork| (size, fork))) {
            let (other, proof) = fork_of(&honest, size, fork);
            let point = ForkPoint::between(proof.clone(), &honest, &other).expect("both are here");
            assert_eq!(ForkPoint::between(proof.clone(), &other, &honest).as_ref(), Ok(&point));
            assert_eq!(ForkPoint::verify(proof, &point.encode()).as_ref(), Ok(&point));
            assert_eq!(point.n_common(), fork);
            assert_eq!(Some(point.root()), honest.root_at(fork));
            assert!(fork > 0 || point.root() == EMPTY_ROOT);
            assert!(point.is_in(&honest) && point.is_in(&other));
            assert!(fork == 0 || !point.is_in(&log(1, 20, fork - 1)), "a third history, which parts before");
            assert!(fork == 0 || !point.is_in(&log(1, fork - 1, u64::MAX)), "nobody can tell yet");
            assert!(!point.is_in(&log(2, n, u64::MAX)), "another writer's log");
            n_points += 1;
        }
    }
    println!("{n_points} points");
}

/// With all hashes of both histories at hand nobody shows another point than the one where they part.
#[test]
fn no_other_point_can_be_shown() {
    let (honest, fork) = (log(1, 13, u64::MAX), 6);
    let (other, proof) = fork_of(&honest, 11, fork);
    let third = log(1, 13, 3);
    let mut n_tried = 0;
    for index in (0..11).filter(|index| *index != fork) {
        for (a, b) in [(&other, &honest), (&honest, &other), (&third, &honest), (&other, &third), (&honest, &honest)] {
            let path = |log: &Log, size| {
                log.prove_inclusion(index, size).map(|path| path.hashes().to_vec()).unwrap_or_default()
            };
            let (older_leaf, newer_leaf) = (a.leaf(index).expect("held"), b.leaf(index).expect("held"));
            let bytes = codec::encode(&(1_u8, index, older_leaf, path(a, 11), newer_leaf, path(b, 13)));
            let error = ForkPoint::verify(proof.clone(), &bytes).expect_err("they part elsewhere");
            assert!(matches!(error, ForkPointError::OtherIndex(_) | ForkPointError::Proof(_)), "{error}");
            n_tried += 1;
        }
    }
    assert_eq!(n_tried, 50);
    let true_one = ForkPoint::between(proof.clone(), &honest, &other).expect("both are here");
    let mut bytes = true_one.encode();
    bytes[0] = 2;
    assert_eq!(ForkPoint::verify(proof.clone(), &bytes), Err(ForkPointError::Format(2)));
    assert_eq!(ForkPoint::between(proof.clone(), &honest, &third), Err(ForkPointError::NotHeld));
    // Of the same log, but of other notes.
    let (_, of_others) = fork_of(&honest, 10, fork);
    assert!(ForkPoint::verify(of_others, &true_one.encode()).is_err());
    let swapped = {
        let (older, newer) = (other.leaf(fork).expect("held"), honest.leaf(fork).expect("held"));
        let path = |log: &Log, size| log.prove_inclusion(fork, size).expect("inside").hashes().to_vec();
        codec::encode(&(1_u8, fork, newer, path(&honest, 13), older, path(&other, 11)))
    };
    assert!(ForkPoint::verify(proof, &swapped).is_err(), "older and newer exchanged");
}

#[test]
fn damaged_points_are_refused() {
    let honest = log(1, 70, u64::MAX);
    let mut n_tried = 0;
    for (size, fork) in [(70, 0), (64, 33), (90, 69)] {
        let (other, proof) = fork_of(&honest, size, fork);
        let bytes = ForkPoint::between(proof.clone(), &honest, &other).expect("both are here").encode();
        let refuses = |bytes: &[u8]| ForkPoint::verify(proof.clone(), bytes).is_err();
        for at in 0..bytes.len() {
            assert!(refuses(&bytes[..at]), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(refuses(&damaged), "bit {bit} of byte {at}");
                n_tried += 1;
            }
        }
        assert!(refuses(&[&bytes[..], &[0]].concat()));
        assert!(refuses(&vec![0xff; limits::FORK_POINT_BYTES + 1]));
    }
    println!("{n_tried} damaged fork points");
}

#[test]
fn a_note_carries_the_point_beside_its_proof_and_never_without() {
    let honest = log(1, 300, u64::MAX);
    let (other, proof) = fork_of(&honest, 299, 130);
    let point = ForkPoint::between(proof.clone(), &honest, &other).expect("both are here");
    let newest = head(1, &honest, 300);
    let warned = newest.with_evidence(Some(&proof), Some(&point), []);
    let warned = Head::verify(warned.note()).expect("still a note");
    assert_eq!(ForkProof::carried_by(&warned).as_ref(), Some(&proof));
    assert_eq!(ForkPoint::carried_by(&warned), Some(point.clone()));
    let (_, of_others) = fork_of(&honest, 280, 130);
    for lacking in [
        newest.with_evidence(None, Some(&point), []),
        newest.with_evidence(Some(&proof), None, []),
        newest.with_evidence(Some(&of_others), Some(&point), []),
    ] {
        assert_eq!(ForkPoint::carried_by(&lacking), None);
    }
    // By hand, with the proof of other notes.
    let line = |text: String| [text.as_bytes(), b"\n"].concat();
    let mixed = [newest.note(), &line(of_others.line()), &line(point.line())].concat();
    assert_eq!(ForkPoint::carried_by(&Head::verify(&mixed).expect("a note")), None);
}
