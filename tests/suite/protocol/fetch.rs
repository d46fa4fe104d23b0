//! The fetcher: stories, and random sets of providers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use syncra_protocol::message::have::Answer;
use syncra_protocol::sync::fetch::{Failure, Haves, Input, Reach, SHARED_BATCH_BYTES, SILENCE, STALL_MIN};

use crate::fetch_sim::{FetchSim, Manner};
use syncra_sim::rng::Rng;

const MIB: u64 = 1 << 20;
const HOUR: u64 = 3_600_000;
/// 100 MiB a second.
const FAST: u64 = 100 * MIB / 1_000;
const SEEDS: u64 = 300;

fn sizes(n: usize) -> Vec<u64> {
    vec![4 * MIB; n]
}

#[test]
fn one_peer_is_asked_in_order_in_large_batches() {
    let mut sim = FetchSim::new(&sizes(64), 1);
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
    sim.run_for(HOUR);
    let asked: Vec<u32> = sim.fetches.iter().flat_map(|(_, parts)| parts.clone()).collect();
    assert_eq!(asked, (0..64).collect::<Vec<_>>());
    // As long as its pace is unknown others may be about to answer: 8 MiB leave the rest to share.
    assert_eq!(sim.fetches.len(), 9, "8 MiB, then 32 MiB each");
    assert_eq!(sim.n_bytes_received, sim.n_bytes());
    assert!(sim.elapsed() < Duration::from_millis(2_560 * 11 / 10), "the peer is never idle: {:?}", sim.elapsed());
}

#[test]
fn several_peers_share_the_work_and_nothing_comes_twice() {
    let mut sim = FetchSim::new(&sizes(96), 2);
    for _ in 0..3 {
        sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
    }
    sim.run_for(HOUR);
    assert_eq!(sim.n_bytes_received, sim.n_bytes());
    let ideal = 96 * 4 * 10 / 3;
    assert!(sim.elapsed() < Duration::from_millis(ideal * 13 / 10), "{:?}", sim.elapsed());
    for provider in &sim.providers {
        assert!(provider.n_sent > 24, "{} parts", provider.n_sent);
    }
}

#[test]
fn a_near_peer_is_asked_before_a_relayed_one() {
    let mut sim = FetchSim::new(&sizes(1), 3);
    let relayed = sim.provider(Reach::Relayed, Haves::Parts(BTreeSet::new()), FAST, Manner::Honest);
    let lan = sim.provider(Reach::Lan, Haves::Parts(BTreeSet::new()), FAST, Manner::Honest);
    sim.input(Input::Gained { peer: lan, parts: vec![0, 999] });
    sim.input(Input::Gained { peer: relayed, parts: vec![0] });
    sim.run_for(HOUR);
    assert!(sim.fetches.iter().all(|(peer, _)| *peer == lan), "{:?}", sim.fetches);
}

#[test]
fn the_rarest_parts_go_first() {
    let mut sim = FetchSim::new(&sizes(40), 4);
    let common = Haves::Parts((0..40).filter(|part| *part != 33).collect());
    for _ in 0..3 {
        sim.provider(Reach::Lan, Haves::Parts(BTreeSet::new()), FAST, Manner::Honest);
    }
    let all = sim.provider(Reach::Lan, Haves::Parts(BTreeSet::new()), FAST, Manner::Honest);
    for n in 0..3 {
        let (peer, Haves::Parts(parts)) = (sim.providers[n].peer, common.clone()) else { unreachable!() };
        sim.input(Input::Gained { peer, parts: parts.into_iter().collect() });
    }
    sim.input(Input::Gained { peer: all, parts: (0..40).collect() });
    let (_, first) = sim.fetches.iter().find(|(peer, _)| *peer == all).unwrap();
    assert!(first.contains(&33), "{first:?}");
    sim.run_for(HOUR);
    assert!(sim.done_at.is_some());
}

#[test]
fn two_fetchers_begin_at_different_places() {
    let first = |seed| {
        let mut sim = FetchSim::new(&sizes(200), seed);
        sim.provider(Reach::Lan, Haves::Parts(BTreeSet::new()), FAST, Manner::Honest);
        sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
        sim.fetches[0].1[0]
    };
    let starts: BTreeSet<_> = (0..20).map(first).collect();
    assert!(starts.len() > 15, "{starts:?}");
}

#[test]
fn a_corrupt_peer_is_banned_and_replaced() {
    let mut sim = FetchSim::new(&sizes(30), 5);
    let corrupt = sim.provider(Reach::Lan, Haves::All, FAST, Manner::Corrupt(3));
    let honest = sim.provider(Reach::Relayed, Haves::All, FAST, Manner::Honest);
    sim.later(600, Input::Provider { peer: corrupt, reach: Reach::Lan, haves: Haves::All });
    sim.run_for(HOUR);
    assert_eq!((sim.faults, sim.banned), (vec![(corrupt, Failure::Corrupt)], vec![corrupt]), "told once, and banned");
    assert!(sim.done_at.is_some());
    assert_eq!(sim.providers[1].n_sent, 27);
    assert_eq!(sim.providers[1].peer, honest);
}

#[test]
fn when_the_only_provider_dies_another_takes_over_without_fetching_twice() {
    let mut sim = FetchSim::new(&sizes(50), 6);
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Leave(20, HOUR));
    sim.run_for(10_000);
    assert_eq!(sim.got.len(), 20);
    assert_eq!(sim.starved, [(30, None)]);
    sim.provider(Reach::Direct, Haves::All, FAST, Manner::Honest);
    sim.run_for(10_000);
    assert!(sim.done_at.is_some());
    assert_eq!(sim.n_bytes_received, sim.n_bytes());
}

#[test]
fn a_stalled_peer_costs_its_patience_and_no_more() {
    for manner in [Manner::Stall(2), Manner::Trickle(2)] {
        let mut sim = FetchSim::new(&sizes(30), 7);
        let stalled = sim.provider(Reach::Lan, Haves::All, FAST, manner);
        sim.provider(Reach::Relayed, Haves::All, FAST, Manner::Honest);
        sim.run_for(HOUR);
        assert!(sim.faults.contains(&(stalled, Failure::Stalled)) || sim.n_cancelled > 0, "{manner:?}");
        assert!(sim.elapsed() < STALL_MIN * 2 + Duration::from_secs(5), "{manner:?}: {:?}", sim.elapsed());
    }
}

#[test]
fn two_healthy_peers_send_nothing_twice_whoever_answers_first() {
    for late_ms in [0, 5, 50, 150] {
        for second_rate in [FAST / 4, FAST, FAST * 4] {
            let mut sim = FetchSim::new(&sizes(16), 13);
            sim.provider(Reach::Direct, Haves::All, FAST, Manner::Honest);
            sim.run_for(late_ms);
            sim.provider(Reach::Direct, Haves::All, second_rate, Manner::Honest);
            sim.run_for(HOUR);
            assert!(sim.providers.iter().all(|provider| provider.n_sent > 0), "{late_ms} ms later");
            assert_eq!(sim.n_bytes_received, sim.n_bytes(), "{late_ms} ms later, {second_rate} bytes/ms");
        }
    }
}

#[test]
fn a_silent_peer_is_overtaken_long_before_it_is_given_up() {
    let mut sim = FetchSim::new(&sizes(4), 14);
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Stall(0));
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
    sim.run_for(HOUR);
    assert!(sim.elapsed() >= SILENCE, "{:?}", sim.elapsed());
    assert!(sim.elapsed() < SILENCE + Duration::from_secs(1), "{:?}", sim.elapsed());
}

#[test]
fn what_a_peer_lacks_is_asked_of_others_and_not_of_it_again() {
    let mut sim = FetchSim::new(&sizes(10), 8);
    let liar = sim.provider(Reach::Lan, Haves::All, FAST, Manner::Lack(4));
    sim.run_for(HOUR);
    assert!(sim.faults.iter().all(|fault| *fault == (liar, Failure::NotFound)));
    assert_eq!(sim.starved.last(), Some(&(6, None)));
    assert!(sim.fetches.len() < 5, "it is not asked for ever");
    sim.providers[0].manner = Manner::Honest;
    let two = (0..10).filter(|part| !sim.got.contains(part)).take(2).collect();
    sim.input(Input::Gained { peer: liar, parts: two });
    sim.run_for(HOUR);
    assert_eq!(sim.got.len(), 6);
    sim.provider(Reach::Direct, Haves::All, FAST, Manner::Honest);
    sim.run_for(HOUR);
    assert!(sim.done_at.is_some());
}

#[test]
fn a_busy_peer_is_asked_again_within_our_own_bounds() {
    let mut sim = FetchSim::new(&sizes(4), 9);
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Busy(2));
    sim.run_for(HOUR);
    assert!(sim.faults.is_empty());
    assert!(sim.starved.iter().any(|(_, retry_at)| retry_at.is_some()));
    assert!(sim.elapsed() < Duration::from_secs(601), "it asked for eleven days: {:?}", sim.elapsed());
}

#[test]
fn the_end_is_not_left_to_the_slowest() {
    let slow = FAST / 200;
    let mut sim = FetchSim::new(&sizes(40), 10);
    sim.provider(Reach::Lan, Haves::All, slow, Manner::Honest);
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
    sim.run_for(HOUR);
    assert!(
        sim.elapsed() < Duration::from_secs(20),
        "{:?}: alone the slow one needs eight seconds a part",
        sim.elapsed()
    );
    assert!(sim.n_bytes_received <= sim.n_bytes() + 2 * SHARED_BATCH_BYTES);
}

#[test]
fn a_fetch_goes_on_from_what_is_here() {
    let all: BTreeMap<u32, u64> = (0..20).map(|part| (part, MIB)).collect();
    let missing = all.iter().filter(|(part, _)| *part % 3 == 0).map(|(part, n_bytes)| (*part, *n_bytes)).collect();
    let mut sim = FetchSim::resume(&missing, all, 11);
    assert_eq!((sim.fetcher.n_missing(), sim.fetcher.missing_bytes()), (7, 7 * MIB));
    sim.got.insert(18);
    sim.input(Input::Found(18));
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
    sim.run_for(HOUR);
    assert!(sim.done_at.is_some());
    assert_eq!(sim.n_bytes_received, 6 * MIB);
    assert_eq!(sim.fetcher.next_timeout(), None, "nothing to wake up for");
}

#[test]
fn a_fetch_of_nothing_is_done() {
    let mut sim = FetchSim::new(&[], 12);
    sim.provider(Reach::Lan, Haves::All, FAST, Manner::Honest);
    assert!(sim.done_at.is_some() && sim.fetches.is_empty());
}

#[test]
fn haves_come_from_answers() {
    assert_eq!(Haves::of(&Answer::All, 9), Haves::All);
    let some = Answer::of([1, 4], 9);
    assert_eq!(Haves::of(&some, 9), Haves::Parts([1, 4].into()));
}

#[test]
fn random_providers_bring_everything_as_long_as_one_is_honest() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let mut rng = Rng::seeded(seed);
            let n_parts = 1 + rng.below(120);
            let sizes: Vec<u64> = (0..n_parts).map(|_| 1 + rng.next() % (8 * MIB)).collect();
            let mut sim = FetchSim::new(&sizes, seed);
            let honest_at = rng.below(5);
            for n in 0..5 {
                let reach = [Reach::Lan, Reach::Direct, Reach::Relayed][rng.below(3)];
                let rate = 1 + rng.next() % FAST;
                if n == honest_at {
                    sim.provider(reach, Haves::All, rate.max(FAST / 50), Manner::Honest);
                    continue;
                }
                let part = |_: &u32| rng.chance(50);
                let haves = Haves::Parts((0..u32::try_from(n_parts).unwrap()).filter(part).collect());
                let haves = if rng.chance(50) { Haves::All } else { haves };
                let manner = FetchSim::random_manner(&mut rng);
                sim.provider(reach, haves, rate, manner);
                sim.run_for(rng.between(1..2_000));
            }
            sim.run_for(24 * HOUR);
            assert!(sim.done_at.is_some(), "{} of {n_parts} parts", sim.got.len());
            let n_extra = sim.n_bytes_received - sim.n_bytes();
            assert!(n_extra <= 10 * SHARED_BATCH_BYTES, "{n_extra} bytes too many of {}", sim.n_bytes());
            for provider in &sim.providers {
                let is_banned = sim.banned.contains(&provider.peer);
                assert!(!is_banned || matches!(provider.manner, Manner::Corrupt(_)), "an honest peer is banned");
                assert_eq!(is_banned, sim.faults.contains(&(provider.peer, Failure::Corrupt)), "a liar is banned");
            }
            sim
        });
        let sim = run.unwrap_or_else(|_| panic!("seed {seed}"));
        for (_, fault) in &sim.faults {
            *counts.entry(format!("{fault:?}")).or_default() += 1;
        }
        *counts.entry("cancelled".into()).or_default() += sim.n_cancelled;
        *counts.entry("starved".into()).or_default() += sim.starved.len();
        *counts.entry("copied".into()).or_default() += usize::from(sim.n_copied > 0);
        *counts.entry("twice".into()).or_default() += usize::from(sim.n_bytes_received > sim.n_bytes());
    }
    for name in ["Corrupt", "NotFound", "Stalled", "cancelled", "starved", "copied"] {
        assert!(counts.get(name).is_some_and(|n| *n > 10), "{name} never happened: {counts:?}");
    }
}
