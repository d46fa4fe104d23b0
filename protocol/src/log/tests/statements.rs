//! The witness against everybody who wants two statements of it that contradict each other.

use super::rng::Rng;
use super::*;
use crate::Timestamp;
use crate::limits::CLOCK_TOLERANCE_MS;
use cosignature::Cosignature;
use fork::ForkProof;
use witness::{PACE, Refused, Statement, Witness};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000)
}

fn proof(log: &Log, old: u64, new: u64) -> ConsistencyProof {
    log.prove_consistency(old, new).expect("held")
}

/// Considers, is told that it is on disk, signs.
fn say(witness: &mut Witness, now: Timestamp, head: &Head, proof: &ConsistencyProof) -> Result<Cosignature, Refused> {
    let statement = witness.consider(now, head, proof)?;
    witness.record(statement)?;
    let cosignature = witness.cosignature(&secret(40), head.origin()).expect("it was recorded");
    let line = cosignature.line();
    let note = format!("{}\n{line}\n", core::str::from_utf8(head.note()).expect("text").trim_end());
    let found = Cosignature::all_of(&Head::verify(note.as_bytes()).expect("a head"), &[], now);
    assert_eq!(found, std::slice::from_ref(&cosignature));
    Ok(cosignature)
}

#[test]
fn a_witness_says_what_grows_and_nothing_else() {
    let (honest, forked) = (log(1, 40, u64::MAX), log(1, 40, 10));
    let mut witness = Witness::new(secret(40).public());
    let [ten, twenty] = [10, 20].map(|size| head(1, &honest, size));
    assert_eq!(witness.cosignature(&secret(40), &origin(1)), None, "nothing was said");
    let first = say(&mut witness, NOW, &ten, &proof(&honest, 0, 10)).expect("the first one");
    assert_eq!((first.at(), first.checkpoint()), (NOW, ten.checkpoint()));
    let second = say(&mut witness, later(5), &twenty, &proof(&honest, 10, 20)).expect("it grew");
    assert_eq!(second.at(), later(5));

    let refused = |now, head: &Head, proof: &ConsistencyProof| witness.consider(now, head, proof).expect_err("refused");
    assert_eq!(refused(later(9), &ten, &proof(&honest, 10, 10)), Refused::Smaller { seen: 20, offered: 10 });
    let other = head(1, &forked, 20);
    let Refused::Fork(evidence) = refused(later(9), &other, &proof(&forked, 20, 20)) else { panic!("no fork") };
    assert_eq!(*evidence, ForkProof::new(&twenty, &other, None).expect("a fork"));
    // A larger tree of the fork, with its own true proof, with an honest one, and with none.
    for wrong in [proof(&forked, 20, 30), proof(&honest, 20, 30), proof(&honest, 0, 30), proof(&honest, 19, 30)] {
        assert!(matches!(refused(later(9), &head(1, &forked, 30), &wrong), Refused::Inconsistent(_)));
    }
    assert_eq!(refused(later(9), &twenty, &proof(&honest, 20, 20)), Refused::Early { again_at: later(5).after(PACE) });
    assert_eq!(refused(NOW, &head(1, &honest, 30), &proof(&honest, 20, 30)), Refused::Clock { said_at: later(5) });
    let mine = log(40, 5, u64::MAX);
    assert_eq!(refused(later(9), &head(40, &mine, 5), &proof(&mine, 0, 5)), Refused::OwnLog);
    assert_eq!(witness.cosignature(&secret(41), &origin(1)), None, "another key's secret signs nothing");
    assert_eq!(witness.cosignature(&secret(40), &origin(1)).as_ref(), Some(&second), "the same bytes every time");

    let again = later(5).after(PACE);
    let fresh = say(&mut witness, again, &twenty, &proof(&honest, 20, 20)).expect("a while later");
    assert_eq!((fresh.checkpoint(), fresh.at()), (second.checkpoint(), again));
}

#[test]
fn what_was_recalled_from_disk_binds_too() {
    let honest = log(1, 40, u64::MAX);
    let mut witness = Witness::new(secret(40).public());
    witness.record(Statement::recall(&head(1, &honest, 30), later(7))).expect("the first");
    let smaller = Statement::recall(&head(1, &honest, 20), later(8));
    assert_eq!(witness.record(smaller), Err(Refused::Smaller { seen: 30, offered: 20 }));
    let earlier = Statement::recall(&head(1, &honest, 30), later(6));
    assert_eq!(witness.record(earlier), Err(Refused::Clock { said_at: later(7) }));
    assert_eq!(witness.said(&origin(1)).map(|said| (said.head().size(), said.at())), Some((30, later(7))));
    assert!(witness.consider(later(9), &head(1, &honest, 40), &proof(&honest, 30, 40)).is_ok());

    // What others say of a head is no part of what this one says, and times are what a line can hold.
    let bare = head(1, &honest, 40);
    let other = Cosignature::sign(&secret(41), *bare.checkpoint(), NOW);
    let statement = Statement::recall(&bare.with_evidence(None, None, [&other]), Timestamp(NOW.0 + 999));
    assert_eq!((statement.head(), statement.at()), (&bare, NOW));
}

/// Two considered at once, recorded in either order: the second one that does not fit is not said.
#[test]
fn what_was_overtaken_is_not_said() {
    let (honest, forked) = (log(1, 40, u64::MAX), log(1, 40, 10));
    for others in [head(1, &honest, 20), head(1, &forked, 30)] {
        let mut witness = Witness::new(secret(40).public());
        let wide = witness.consider(NOW, &head(1, &honest, 30), &proof(&honest, 0, 30)).expect("the first");
        let narrow = witness.consider(NOW, &others, &proof(&honest, 0, others.size())).expect("the first");
        witness.record(wide).expect("on disk");
        assert!(witness.record(narrow).is_err());
        assert_eq!(witness.said(&origin(1)).map(|said| said.head().clone()), Some(head(1, &honest, 30)));
    }
}

/// Whatever comes in whatever order: all that one witness ever signed is one growing tree, with times that do not go back.
#[test]
fn in_no_order_of_offers_a_witness_contradicts_itself() {
    let (honest, forked) = (log(1, 24, u64::MAX), log(1, 24, 7));
    let heads: Vec<[Head; 2]> = (0..=24).map(|size| [&honest, &forked].map(|log| head(1, log, size))).collect();
    let mut n_said = 0;
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut witness = Witness::new(secret(40).public());
        let mut said: Vec<(Checkpoint, Timestamp)> = Vec::new();
        let mut now = NOW;
        for _ in 0..60 {
            now = Timestamp((now.0 + rng.below(400_000)).saturating_sub(rng.below(100_000)));
            let (branch, size) = (rng.index(2), rng.below(25));
            let [log, other] = if branch == 0 { [&honest, &forked] } else { [&forked, &honest] };
            let from = witness.said(&origin(1)).map_or(0, |said| said.head().size());
            let liar = if rng.below(4) == 0 { other } else { log };
            let Ok(proof) = liar.prove_consistency(from, size.max(from)) else { continue };
            let Ok(statement) = witness.consider(now, &heads[size as usize][branch], &proof) else { continue };
            witness.record(statement).expect("nothing came between");
            let cosignature = witness.cosignature(&secret(40), &origin(1)).expect("recorded");
            said.push((*cosignature.checkpoint(), cosignature.at()));
        }
        let on = |log: &Log| said.iter().all(|(checkpoint, _)| log.root_at(checkpoint.size) == Some(checkpoint.root));
        assert!(on(&honest) || on(&forked), "seed {seed}: two histories");
        assert!(said.is_sorted_by(|a, b| a.0.size <= b.0.size && a.1 <= b.1), "seed {seed}: {said:?}");
        n_said += said.len();
    }
    println!("{n_said} statements");
    assert!(n_said > 400 && CLOCK_TOLERANCE_MS > 0);
}
