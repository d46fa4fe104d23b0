//! The follower: stories, and random networks of honest nodes and liars.

use std::collections::BTreeMap;

use syncra_protocol::Timestamp;
use syncra_protocol::entry::{Body, RefClass};
use syncra_protocol::evidence::{FirstEntryError, IdentityLog};
use syncra_protocol::fold::Pick;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::cosignature::Cosignature;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::witness::{Statement, Witness};
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::{Ask, Effect, Fault, Follower, HEADS_INTERVAL, HEADS_INTERVAL_MOST, Input};

use crate::follow_sim::{MINUTE, Manner, SECOND, Sim, Stored};
use syncra_sim::rng::Rng;
use syncra_sim::world::{Chain, World, handle, moved, release};

const SEEDS: u64 = 300;

pub(crate) fn world_with_releases(n: u8) -> World {
    let mut world = World::new(1);
    for minor in 0..n {
        let id = world.publish(0, vec![], &format!("1.{minor}.0"), minor);
        world.set(0, vec![], "stable", Some(id));
    }
    world
}

fn stable(sim: &Sim, who: usize) -> Option<String> {
    let pick = Pick::Ref(RefClass::Channel, RefName::stable());
    let state = sim.follower(who).state()?;
    Some(state.select(&pick).ok()?.published.release.version.to_string())
}

pub(crate) fn publish(sim: &mut Sim, author: usize, version: &str) {
    sim.append(author, 0, release(version, 1));
    let id = *sim
        .follower(author)
        .state()
        .unwrap()
        .releases
        .iter()
        .find(|(_, p)| p.release.version.to_string() == version)
        .unwrap()
        .0;
    sim.append(author, 0, moved(RefClass::Channel, "stable", Some(id)));
}

#[test]
fn a_reader_learns_everything_from_nothing() {
    let mut sim = Sim::seeded(1, world_with_releases(9));
    let author = sim.author(0);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    assert_eq!(stable(&sim, reader).as_deref(), Some("1.8.0"));
    assert_eq!(sim.follower(reader).state(), sim.follower(author).state());
    assert!(sim.nodes[reader].faults.is_empty() && sim.follower(reader).behind().is_empty());
}

#[test]
fn a_notice_alone_brings_an_update() {
    let mut sim = Sim::seeded(2, world_with_releases(1));
    let author = sim.author(0);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    publish(&mut sim, author, "2.0.0");
    sim.run_for(SECOND);
    assert_eq!(stable(&sim, reader).as_deref(), Some("2.0.0"));
}

#[test]
fn a_lost_notice_costs_no_more_than_the_interval() {
    let mut sim = Sim::seeded(3, world_with_releases(1));
    let author = sim.author(0);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    sim.links.loss_percent = 100;
    publish(&mut sim, author, "2.0.0");
    sim.links.loss_percent = 0;
    sim.run_for(u64::try_from(HEADS_INTERVAL.as_millis()).unwrap() - 20 * SECOND);
    assert_eq!(stable(&sim, reader).as_deref(), Some("1.0.0"));
    sim.run_for(30 * SECOND);
    assert_eq!(stable(&sim, reader).as_deref(), Some("2.0.0"));
}

#[test]
fn whoever_says_nothing_new_is_asked_less_and_less_often_and_still_within_the_hour() {
    let mut sim = Sim::seeded(3, world_with_releases(1));
    let author = sim.author(0);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    let n_asked = sim.n_heads_asked;
    sim.run_for(6 * 60 * MINUTE);
    let n_quiet = sim.n_heads_asked - n_asked;
    assert!((2 * 8..=2 * 10).contains(&n_quiet), "both ask the other {n_quiet} times in all");
    sim.links.loss_percent = 100;
    publish(&mut sim, author, "2.0.0");
    sim.links.loss_percent = 0;
    sim.run_for(u64::try_from(HEADS_INTERVAL_MOST.as_millis()).unwrap() + 10 * SECOND);
    assert_eq!(stable(&sim, reader).as_deref(), Some("2.0.0"));
}

#[test]
fn when_the_author_is_away_whoever_has_it_helps() {
    let mut sim = Sim::seeded(4, world_with_releases(3));
    let author = sim.author(0);
    let bob = sim.reader();
    sim.run_for(10 * SECOND);
    sim.part(author, bob);
    let carol = sim.reader();
    sim.part(author, carol);
    sim.run_for(10 * SECOND);
    assert_eq!(stable(&sim, carol).as_deref(), Some("1.2.0"));
    publish(&mut sim, author, "2.0.0");
    sim.heal(author, bob);
    sim.run_for(10 * SECOND);
    assert_eq!(stable(&sim, carol).as_deref(), Some("2.0.0"), "from bob, who pushed the note on");
}

#[test]
fn an_older_log_is_refused_and_another_peer_used() {
    let mut sim = Sim::seeded(5, world_with_releases(2));
    let stale = sim.server(Manner::Honest); // honest about an old state
    let author = sim.author(0);
    publish(&mut sim, author, "2.0.0");
    let reader = sim.reader();
    sim.part(stale, reader);
    sim.run_for(10 * SECOND);
    sim.heal(stale, reader);
    sim.run_for(10 * MINUTE);
    let origin = sim.world.writers[0].origin();
    let expected = Fault::Rollback { origin, held: 7, offered: 5 };
    assert_eq!(sim.faults_of(reader, stale), [&expected], "said once, however often it is offered");
    assert_eq!(stable(&sim, reader).as_deref(), Some("2.0.0"));
    publish(&mut sim, author, "3.0.0");
    sim.run_for(10 * SECOND);
    assert_eq!(stable(&sim, reader).as_deref(), Some("3.0.0"));
}

#[test]
fn every_liar_is_named_and_does_not_stop_the_rest() {
    for manner in Manner::LIARS {
        let mut sim = Sim::seeded(6, world_with_releases(4));
        let liar = sim.server(manner);
        let reader = sim.reader();
        sim.run_for(2 * MINUTE);
        assert_eq!(stable(&sim, reader), None, "{manner:?} alone");
        let faults: Vec<_> = sim.faults_of(reader, liar).into_iter().cloned().collect();
        let is_expected = |fault: &Fault| match manner {
            Manner::Silent | Manner::Empty => matches!(fault, Fault::Stalled { .. }),
            Manner::Corrupt | Manner::BadProof => matches!(fault, Fault::BadProof { .. }),
            Manner::BadNote => *fault == Fault::BadNote,
            Manner::BadGenesis => *fault == Fault::BadGenesis,
            Manner::Oversized => *fault == Fault::Oversized,
            Manner::Malformed => *fault == Fault::Malformed,
            Manner::Busy | Manner::Refusing | Manner::Honest => false,
        };
        assert!(faults.iter().all(is_expected), "{manner:?}: {faults:?}");
        assert_eq!(faults.is_empty(), matches!(manner, Manner::Busy | Manner::Refusing), "{manner:?}: {faults:?}");
        assert!(sim.nodes[reader].n_retries > 0 || manner == Manner::Silent || faults.len() == 1, "{manner:?}");

        sim.author(0);
        sim.run_for(2 * MINUTE);
        assert_eq!(stable(&sim, reader).as_deref(), Some("1.3.0"), "{manner:?}");
    }
}

#[test]
fn two_notes_of_one_size_freeze_one_log_and_no_other() {
    let mut world = World::new(2);
    let first = world.publish(1, vec![], "1.0.0", 1);
    let seen = world.seen(1);
    world.publish(0, seen, "0.1.0", 2);
    let mut branch = world.writers[1].fork(2);
    branch.append(vec![], release("2.0.0", 66));
    world.publish(1, vec![], "2.0.0", 3);

    let mut sim = Sim::seeded(7, world);
    let honest = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    let forked = branch.origin();
    let liar = sim.server(Manner::Honest);
    sim.nodes[liar].store.insert(forked, Stored::of(&branch, branch.size()));
    sim.run_for(10 * SECOND);
    let faults = sim.faults_of(reader, liar);
    let [Fault::Fork(proof)] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!(ForkProof::verify(&proof.encode()).unwrap(), **proof, "anybody can check it");
    let evidence = sim.follower(reader).evidence().unwrap();
    assert!(evidence.is_forked(&forked));
    assert_eq!(sim.follower(reader).state().unwrap().forked, [(forked, 2)].into(), "alice has seen two entries");
    let state = sim.follower(reader).state().unwrap();
    assert!(state.select(&Pick::Release(first)).is_ok());

    // Bob's log is frozen, alice's goes on.
    sim.world.writers[1].append(vec![], release("3.0.0", 4));
    sim.world.publish(0, vec![], "0.2.0", 5);
    let origin = sim.world.writers[0].origin();
    for (chain, log) in [(0, origin), (1, forked)] {
        let stored = Stored::of(&sim.world.writers[chain], sim.world.writers[chain].size());
        sim.nodes[honest].store.insert(log, stored);
    }
    sim.run_for(10 * MINUTE);
    assert_eq!(sim.held(reader, &forked), 3);
    assert_eq!(sim.held(reader, &origin), 3);
}

#[test]
fn a_longer_or_shorter_branch_is_a_fork_too() {
    for (held, other, name) in [(5, 9, "longer"), (9, 5, "shorter"), (4, 5, "next"), (8, 4, "half")] {
        let mut world = World::new(1);
        let mut branch = world.writers[0].fork(1);
        for tree in 1..9 {
            world.publish(0, vec![], &format!("1.0.{tree}"), tree);
            branch.append(vec![], release(&format!("1.0.{tree}"), 100 + tree));
        }
        let mut sim = Sim::seeded(8, world);
        let honest = sim.server(Manner::Honest);
        let origin = branch.origin();
        let stored = Stored::of(&sim.world.writers[0], held);
        sim.nodes[honest].store.insert(origin, stored);
        let reader = sim.reader();
        sim.run_for(10 * SECOND);
        assert_eq!(sim.held(reader, &origin), held);
        let liar = sim.server(Manner::Honest);
        sim.nodes[liar].store.insert(origin, Stored::of(&branch, other));
        sim.run_for(10 * SECOND);
        let faults = sim.faults_of(reader, liar);
        let [Fault::Fork(proof)] = &faults[..] else { panic!("{name}: {faults:?}") };
        assert_eq!(ForkProof::verify(&proof.encode()).unwrap(), **proof, "{name}");
        assert_eq!(sim.held(reader, &origin), held, "{name}: what is held stays, nothing is added");
        assert_eq!(sim.nodes[reader].common, [(origin, 1)], "{name}: only the Genesis is in both histories");
    }
}

#[test]
fn what_is_in_both_histories_stays_installable() {
    let mut world = World::new(1);
    let old = world.publish(0, vec![], "1.0.0", 1);
    let mut branch = world.writers[0].fork(2);
    let new = world.publish(0, vec![], "1.1.0", 2);
    for n in 0..20 {
        branch.append(vec![], release(&format!("2.0.{n}"), 66));
    }
    let mut sim = Sim::seeded(14, world);
    sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    let origin = branch.origin();
    let silent = sim.server(Manner::Silent);
    sim.run_for(SECOND);
    let peer = sim.nodes[silent].peer;
    sim.input(reader, Input::Notice { peer, note: branch.head_at(3).note().to_vec() });
    sim.run_for(MINUTE);
    assert!(sim.follower(reader).evidence().unwrap().is_forked(&origin));
    let select = |sim: &Sim, id| sim.follower(reader).state().unwrap().select(&Pick::Release(id)).is_ok();
    assert!(!select(&sim, old), "as long as nobody shows where the histories part");
    let liar = sim.server(Manner::Honest);
    sim.nodes[liar].store.insert(origin, Stored::of(&branch, branch.size()));
    sim.run_for(MINUTE);
    assert_eq!(sim.nodes[reader].common, [(origin, 2)]);
    assert!(select(&sim, old) && !select(&sim, new));
}

#[test]
fn a_fork_offered_before_anything_is_held_is_seen() {
    for equal in [true, false] {
        let mut world = World::new(1);
        let mut branch = world.writers[0].fork(1);
        for tree in 1..5 {
            world.publish(0, vec![], &format!("1.0.{tree}"), tree);
            branch.append(vec![], release(&format!("1.0.{tree}"), 100 + tree));
        }
        let mut sim = Sim::seeded(9, world);
        sim.server(Manner::Honest);
        let liar = sim.server(Manner::Honest);
        sim.nodes[liar].store.insert(branch.origin(), Stored::of(&branch, if equal { 5 } else { 3 }));
        let reader = sim.reader();
        sim.run_for(MINUTE);
        assert_eq!(sim.follower(reader).evidence().unwrap().forks().count(), 1, "equal sizes: {equal}");
    }
}

#[test]
fn a_fork_proof_from_elsewhere_freezes_too() {
    let mut world = world_with_releases(2);
    let mut branch = world.writers[0].fork(3);
    branch.append(vec![], release("9.9.9", 9));
    let proof = ForkProof::new(&world.writers[0].head_at(4), &branch.head(), None).unwrap();
    world.publish(0, vec![], "2.0.0", 3);
    let mut sim = Sim::seeded(10, world);
    let author = sim.author(0);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    sim.input(reader, Input::Fork(Box::new(proof.into())));
    publish(&mut sim, author, "3.0.0");
    sim.run_for(10 * SECOND);
    assert_eq!(sim.held(reader, &branch.origin()), 6);
    assert_eq!(stable(&sim, reader), None, "nothing fixes what one of two histories says");
}

#[test]
fn a_log_that_begins_wrongly_is_refused_alone() {
    let world = world_with_releases(1);
    let origin = world.identities[0].origin();
    let mut odd = Chain::new(1, |key| Origin { key, ..origin });
    assert_eq!(odd.origin(), origin, "the owner's own key");
    odd.append(vec![], handle("mallory"));
    let mut sim = Sim::seeded(11, world);
    let server = sim.server(Manner::Honest);
    sim.nodes[server].store.insert(origin, Stored::of(&odd, 1));
    let reader = sim.reader();
    sim.run_for(10 * MINUTE);
    let error = FirstEntryError::Identity;
    assert_eq!(sim.faults_of(reader, server), [&Fault::BadEntry { origin, error }], "once");
    assert_eq!(sim.held(reader, &origin), 0);
    assert_eq!(sim.held(reader, &sim.world.writers[0].origin()), 3, "the package's log is fetched all the same");
}

pub(crate) fn sim_heads(sim: &Sim, of: usize) -> syncra_protocol::message::log::Heads {
    use syncra_protocol::bounded::Blob;
    syncra_protocol::message::log::Heads {
        package_genesis: Blob(sim.world.genesis.clone()),
        identity_geneses: vec![],
        notes: sim.nodes[of].store.values().map(|stored| Blob(stored.head.note().to_vec())).collect(),
    }
}

#[test]
fn a_strangers_log_is_fetched_only_when_an_owner_names_it() {
    let mut world = World::with_strangers(1, 1);
    world.publish(1, vec![], "0.0.1", 9);
    let stranger = world.writers[1].origin();
    let mut sim = Sim::seeded(12, world);
    let server = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    assert_eq!(sim.held(reader, &stranger), 0);
    let seen = sim.world.seen(1);
    sim.world.publish(0, seen, "1.0.0", 1);
    let chain = &sim.world.writers[0];
    let (head, stored) = (chain.head(), Stored::of(chain, chain.size()));
    sim.nodes[server].store.insert(chain.origin(), stored);
    let peer = sim.nodes[server].peer;
    sim.input(reader, Input::Notice { peer, note: head.note().to_vec() });
    sim.run_for(10 * SECOND);
    assert_eq!(sim.held(reader, &stranger), 2);
    assert_eq!(sim.follower(reader).state().unwrap().versions.len(), 1);
}

#[test]
fn an_owners_log_that_another_package_brought_is_not_asked_for() {
    let mut world = world_with_releases(1);
    let mut follower = Follower::resume(world.full_evidence());
    let before = follower.state().unwrap().clone();
    world.identities[0].append(vec![], handle("alicia"));
    let chain = &world.identities[0];
    let log = IdentityLog::verify(&chain.entries, &chain.head()).unwrap();
    follower.share(Timestamp(1), &log).unwrap();
    assert!(matches!(follower.poll_effect(), Some(Effect::Updated(changes)) if changes.owners));
    assert_ne!(follower.state().unwrap(), &before);
    follower.share(Timestamp(2), &log).unwrap();
    assert!(follower.poll_effect().is_none(), "nothing is new the second time");

    let peer = Chain::new(77, |key| Origin::package(world.package, key)).origin().key;
    follower.handle(Timestamp(3), Input::PeerUp(peer));
    assert!(matches!(follower.poll_effect(), Some(Effect::AskHeads { .. })));
    follower.handle(Timestamp(4), Input::Notice { peer, note: chain.head().note().to_vec() });
    let asks = std::iter::from_fn(|| follower.poll_effect());
    assert!(asks.into_iter().all(|effect| !matches!(effect, Effect::AskEntries { .. })));
}

#[test]
fn unasked_and_late_answers_change_nothing() {
    let sim = Sim::seeded(13, world_with_releases(1));
    let package = sim.world.package;
    let mut follower = Follower::new(package);
    let mut sim = sim;
    let server = sim.server(Manner::Honest);
    let peer = sim.nodes[server].peer;
    let now = sim.queue.now;
    follower.handle(now, Input::Heads { peer, heads: sim_heads(&sim, server) });
    assert!(follower.evidence().is_none() && follower.poll_effect().is_none());
    follower.handle(now, Input::PeerUp(peer));
    assert!(matches!(follower.poll_effect(), Some(Effect::AskHeads { .. })));
    follower.handle_timeout(follower.next_timeout().unwrap());
    assert!(matches!(follower.poll_effect(), Some(Effect::Fault { fault: Fault::Stalled { ask: Ask::Heads }, .. })));
    follower.handle(now, Input::Heads { peer, heads: sim_heads(&sim, server) });
    assert!(follower.evidence().is_none(), "too late");
}

/// A request that took so long that it was given up, and answered after the next one was asked.
#[test]
fn a_late_answer_to_an_earlier_request_is_no_lie() {
    use syncra_protocol::message::log::Entries;
    let mut sim = Sim::seeded(14, world_with_releases(9));
    let server = sim.server(Manner::Honest);
    let (peer, now, heads) = (sim.nodes[server].peer, sim.queue.now, sim_heads(&sim, server));
    let mut follower = Follower::new(sim.world.package);
    follower.handle(now, Input::PeerUp(peer));
    follower.handle(now, Input::Heads { peer, heads });
    let chain = &sim.world.writers[0];
    let origin = chain.origin();
    let answer = |from: u64, limit: u32| {
        let entries = chain.slice(from, chain.size()).to_vec();
        let entries = Entries::answer(&chain.log, &chain.head(), (from, limit), entries).unwrap();
        Input::Entries { peer, origin, from, entries }
    };
    let asked = |effect: Option<Effect>| match effect {
        Some(Effect::AskEntries { origin: of, from, .. }) if of == origin => Some(from),
        _ => None,
    };
    let mut effects = |input: Input| {
        follower.handle(now, input);
        std::iter::from_fn(|| follower.poll_effect()).collect::<Vec<_>>()
    };
    assert!(effects(answer(0, 3)).into_iter().any(|effect| asked(Some(effect)) == Some(3)));
    assert!(effects(answer(0, 3)).is_empty(), "the first three again: late");
    let last = effects(answer(3, 100));
    assert!(last.iter().any(|effect| matches!(effect, Effect::Commit(commit) if commit.origin == origin)), "{last:?}");
}

/// Random networks: two authors, a reader, a mirror, two liars, loss, partitions, failing disks.
fn random_network(seed: u64) -> (Sim, Vec<usize>) {
    let mut rng = Rng::seeded(seed ^ 0xf0f0);
    let mut sim = Sim::seeded(seed, World::new(2));
    sim.links.latency_ms = 1..rng.between(2..400);
    sim.links.loss_percent = rng.between(0..25);
    sim.disk_fails = rng.between(0..20);
    let authors = [sim.author(0), sim.author(1)];
    let followers = vec![authors[0], authors[1], sim.reader(), sim.reader()];
    for _ in 0..2 {
        let manner = *rng.pick(&Manner::LIARS).unwrap();
        sim.server(manner);
    }
    for round in 0..rng.between(5..25) {
        let owner = rng.below(2);
        let tree = u8::try_from(round).unwrap();
        let known: Vec<ReleaseId> = sim.follower(authors[owner]).state().unwrap().releases.keys().copied().collect();
        let body: Body = match rng.pick(&known) {
            Some(to) if rng.chance(40) => moved(RefClass::Channel, "stable", Some(*to)),
            _ => release(&format!("1.{round}.0"), tree),
        };
        sim.append(authors[owner], owner, body);
        let (a, b) = (rng.below(6), rng.below(6));
        if a != b && rng.chance(30) {
            if rng.chance(50) { sim.part(a, b) } else { sim.heal(a, b) }
        }
        sim.run_for(rng.between(1..40 * SECOND));
    }
    sim.heal_all();
    sim.run_for(15 * MINUTE);
    (sim, followers)
}

#[test]
fn random_networks_converge_and_blame_nobody_honest() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let (sim, followers) = random_network(seed);
            for who in &followers {
                for chain in sim.world.chains() {
                    assert_eq!(sim.held(*who, &chain.origin()), chain.size(), "node {who}, {}", chain.origin());
                    assert_eq!(sim.nodes[*who].store[&chain.origin()].entries, chain.entries);
                }
                assert_eq!(sim.follower(*who).state(), sim.follower(followers[0]).state());
                assert!(sim.follower(*who).behind().is_empty());
            }
            sim
        });
        let sim = run.unwrap_or_else(|_| panic!("seed {seed}"));
        for who in &sim.nodes {
            *counts.entry("updates").or_default() += who.n_updates;
            *counts.entry("retries").or_default() += who.n_retries;
            for (by, fault) in &who.faults {
                let honest = sim.nodes.iter().any(|node| node.peer == *by && node.manner == Manner::Honest);
                let name = match fault {
                    Fault::Rollback { .. } => "rollback",
                    Fault::Stalled { .. } => "stalled",
                    Fault::BadGenesis => "genesis",
                    Fault::BadNote => "note",
                    Fault::BadProof { .. } => "proof",
                    Fault::Oversized => "oversized",
                    Fault::Malformed => "malformed",
                    Fault::Fork(_) | Fault::BadEntry { .. } => panic!("seed {seed}: {fault:?} by {by}"),
                };
                let innocent = matches!(fault, Fault::Rollback { .. } | Fault::Stalled { .. });
                assert!(!honest || innocent, "seed {seed}: an honest node is blamed for {fault:?}");
                *counts.entry(name).or_default() += 1;
            }
        }
    }
    for name in ["updates", "retries", "rollback", "stalled", "genesis", "note", "proof", "oversized", "malformed"] {
        assert!(counts.get(name).is_some_and(|n| *n > 5), "{name} never happened: {counts:?}");
    }
}

/// Somebody who meets neither the forker nor the other history, only somebody who did, and begins with nothing.
#[test]
fn who_never_met_the_forker_is_warned_by_those_who_did() {
    let mut world = World::new(1);
    world.publish(0, vec![], "1.0.0", 1);
    let mut branch = world.writers[0].fork(2);
    branch.append(vec![], release("2.0.0", 66));
    world.publish(0, vec![], "1.1.0", 2);
    let origin = branch.origin();
    let mut sim = Sim::seeded(15, world);
    let honest = sim.server(Manner::Honest);
    let first = sim.reader();
    sim.run_for(10 * SECOND);
    let liar = sim.server(Manner::Honest);
    sim.nodes[liar].store.insert(origin, Stored::of(&branch, branch.size()));
    sim.run_for(10 * SECOND);
    assert!(sim.follower(first).evidence().unwrap().is_forked(&origin));

    let third = sim.reader();
    let known = sim.reader();
    for reader in [third, known] {
        sim.part(reader, honest);
        sim.part(reader, liar);
    }
    sim.part(third, known);
    sim.run_for(10 * SECOND);
    for reader in [third, known] {
        let evidence = sim.follower(reader).evidence().unwrap();
        assert!(evidence.is_forked(&origin), "the proof came with the head");
        assert_eq!(evidence.size(&origin), 3, "and one history, for what is in both");
        let faults = sim.faults_of(reader, first);
        let [Fault::Fork(proof)] = &faults[..] else { panic!("told once: {faults:?}") };
        assert_eq!(ForkProof::verify(&proof.encode()).as_ref(), Ok(&**proof));
    }
    // Who passes it on to the next is not the one who found it.
    sim.part(third, first);
    let fourth = sim.reader();
    for other in [honest, liar, first, known] {
        sim.part(fourth, other);
    }
    sim.run_for(10 * SECOND);
    assert!(sim.follower(fourth).evidence().unwrap().is_forked(&origin), "over three hops");
}

/// What witnesses say comes with heads, and passes through those who list none of them.
#[test]
fn what_witnesses_say_reaches_who_holds_what_they_saw() {
    let secret = DeviceSecret::from_seed(&[77; 32]);
    let asked = [true, false].map(|is_witnessed| {
        let mut world = World::new(1);
        world.publish(0, vec![], "1.0.0", 1);
        let (head, at) = (world.writers[0].head(), Timestamp(1_000_000));
        let mut witness = Witness::new(secret.public());
        witness.record(Statement::recall(&head, at)).unwrap();
        let said: Vec<_> = witness.cosignature(&secret, head.origin()).into_iter().filter(|_| is_witnessed).collect();
        let mut sim = Sim::seeded(16, world);
        let honest = sim.server(Manner::Honest);
        let between = sim.reader();
        sim.nodes[between].said.clone_from(&said);
        sim.run_for(10 * SECOND);
        let reader = sim.reader();
        sim.part(reader, honest);
        sim.run_for(10 * SECOND);
        let found = sim.nodes[reader].cosigned.iter().flat_map(|head| Cosignature::all_of(head, &[], at));
        assert_eq!(found.collect::<Vec<_>>(), said, "once, when the log was held");
        assert_eq!(sim.nodes[between].cosigned, []);
        // What is held is bare: what witnesses say of it is kept elsewhere.
        assert_eq!(sim.follower(reader).evidence().unwrap().head(head.origin()), Some(&head));
        sim.run_for(180 * MINUTE);
        sim.n_heads_asked
    });
    assert_eq!(asked[0], asked[1], "lines of witnesses are no news of the log: nobody asks more often for them");
}
