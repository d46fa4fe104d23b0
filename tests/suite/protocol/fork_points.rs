//! Where the histories of a forked log part, told as stories: who met both shows it, and who heard only of the fork learns
//! with it what stays settled, and takes in what it lacks of that.

use syncra_protocol::evidence::{Evidence, EvidenceError};
use syncra_protocol::fold::Pick;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::Input;

use crate::follow_sim::{Manner, SECOND, Sim, Stored};
use syncra_sim::world::{Chain, World, release};

const MINUTE: u64 = 60 * SECOND;

/// One writer's log of several releases, and another history that parts from it at `common`.
fn forked(n_releases: u8, common: u64, n_other: u8) -> (World, Chain, Vec<ReleaseId>) {
    let mut world = World::new(1);
    let releases = (0..n_releases).map(|n| world.publish(0, vec![], &format!("1.{n}.0"), n + 1)).collect();
    let mut other = world.writers[0].fork(common);
    for n in 0..n_other {
        other.append(vec![], release(&format!("1.{n}.6"), 100 + n));
    }
    (world, other, releases)
}

fn point_of(a: &Chain, b: &Chain) -> ForkPoint {
    ForkPoint::of((&a.log, &a.head()), (&b.log, &b.head())).unwrap()
}

/// Which of these a reader would install.
fn installable(sim: &Sim, who: usize, releases: &[ReleaseId]) -> Vec<bool> {
    let state = sim.follower(who).state().unwrap();
    releases.iter().map(|release| state.select(&Pick::Release(*release)).is_ok()).collect()
}

fn n_common(sim: &Sim, who: usize, origin: &Origin) -> Option<u64> {
    sim.follower(who).evidence().unwrap().n_common(origin)
}

/// A note of a log with all that is known of its fork, as a peer shows it.
fn tell(sim: &mut Sim, to: usize, by: usize, chain: &Chain, point: &ForkPoint) {
    let note = chain.head().with_evidence(Some(point.proof()), Some(point), []).note().to_vec();
    let peer = sim.nodes[by].peer;
    sim.input(to, Input::Notice { peer, note });
}

#[test]
fn who_hears_of_a_fork_only_by_its_proof_knows_what_is_in_both_histories() {
    for (n_releases, common, n_other) in [(4, 3, 1), (4, 2, 30), (1, 1, 1), (60, 57, 2)] {
        let (world, other, releases) = forked(n_releases, common, n_other);
        let origin = other.origin();
        let mut sim = Sim::seeded(71, world);
        let honest = sim.server(Manner::Honest);
        let (first, second) = (sim.reader(), sim.reader());
        sim.run_for(10 * SECOND);
        sim.part(second, honest);
        let liar = sim.server(Manner::Honest);
        sim.part(second, liar);
        sim.nodes[liar].store.insert(origin, Stored::of(&other, other.size()));
        sim.run_for(MINUTE);
        assert_eq!(sim.nodes[first].common, [(origin, common)]);
        let [point] = &sim.nodes[first].points[..] else { panic!("shown once") };
        assert_eq!(point.n_common(), common);

        // Over two who hold one history only, one from before the fork and one who begins with nothing.
        let third = sim.reader();
        for other in [honest, liar, first] {
            sim.part(third, other);
        }
        sim.run_for(10 * MINUTE);
        let settled: Vec<bool> = (0..u64::from(n_releases)).map(|n| n + 1 < common).collect();
        for who in [first, second, third] {
            assert_eq!(n_common(&sim, who, &origin), Some(common), "{who}");
            assert_eq!(installable(&sim, who, &releases), settled, "{who}");
            assert!(who == first || sim.nodes[who].common.is_empty(), "nobody has shown it the other history");
            assert_eq!(sim.nodes[who].points.len(), 1, "told once");
        }
    }
}

/// A reader hears of the fork before it holds what both histories have: that is taken in, from either, and nothing else is.
#[test]
fn what_both_histories_have_is_taken_in_after_the_warning() {
    let (world, other, releases) = forked(8, 6, 3);
    let (log, origin) = (world.writers[0].fork(9), other.origin());
    let point = point_of(&log, &other);
    for source in [&log, &other] {
        let mut sim = Sim::seeded(72, World::new(1));
        sim.world.writers[0] = log.fork(3);
        let server = sim.server(Manner::Honest);
        let reader = sim.reader();
        sim.run_for(10 * SECOND);
        sim.input(reader, Input::Fork(point.proof().clone()));
        sim.nodes[server].store.insert(origin, Stored::of(source, source.size()));
        sim.run_for(10 * MINUTE);
        assert_eq!(sim.held(reader, &origin), 3, "nobody knows yet what is in both");
        assert_eq!(installable(&sim, reader, &releases[..2]), [false, false]);

        tell(&mut sim, reader, server, source, &point);
        sim.run_for(10 * SECOND);
        assert_eq!((sim.held(reader, &origin), n_common(&sim, reader, &origin)), (source.size(), Some(6)));
        assert_eq!(installable(&sim, reader, &releases), [true, true, true, true, true, false, false, false]);
        let grown = source.fork(source.size() - 1);
        sim.nodes[server].store.insert(origin, Stored::of(&grown, grown.size()));
        sim.run_for(2 * 60 * MINUTE);
        assert_eq!(sim.held(reader, &origin), source.size(), "frozen again");
    }
}

/// The same, where another task learnt of it.
#[test]
fn a_point_from_elsewhere_lets_in_what_is_missing_too() {
    let (world, other, releases) = forked(8, 6, 3);
    let (log, origin) = (world.writers[0].fork(9), other.origin());
    let point = point_of(&log, &other);
    let mut sim = Sim::seeded(73, World::new(1));
    sim.world.writers[0] = log.fork(3);
    let server = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    sim.input(reader, Input::ForkPoint(Box::new(point.clone())));
    assert_eq!(n_common(&sim, reader, &origin), None, "without the proof it says nothing");
    sim.input(reader, Input::Fork(point.proof().clone()));
    sim.nodes[server].store.insert(origin, Stored::of(&log, 9));
    sim.input(reader, Input::ForkPoint(Box::new(point)));
    sim.run_for(10 * SECOND);
    assert_eq!((sim.held(reader, &origin), n_common(&sim, reader, &origin)), (9, Some(6)));
    assert_eq!(installable(&sim, reader, &releases[..6]), [true, true, true, true, true, false]);
}

/// Whoever has the key can sign a third history that goes on from what a reader holds, and offer it first.
#[test]
fn a_third_history_is_not_taken_for_what_both_have_and_keeps_nothing_out() {
    let (world, other, releases) = forked(8, 6, 3);
    let (log, origin) = (world.writers[0].fork(9), other.origin());
    let point = point_of(&log, &other);
    let mut third = log.fork(4);
    for n in 0..20 {
        third.append(vec![], release(&format!("6.6.{n}"), 66));
    }
    let mut sim = Sim::seeded(74, World::new(1));
    sim.world.writers[0] = log.fork(3);
    let (thief, honest) = (sim.server(Manner::Honest), sim.server(Manner::Honest));
    let reader = sim.reader();
    sim.part(reader, honest);
    sim.run_for(10 * SECOND);
    sim.input(reader, Input::Fork(point.proof().clone()));
    sim.nodes[thief].store.insert(origin, Stored::of(&third, third.size()));
    tell(&mut sim, reader, thief, &third, &point);
    sim.run_for(10 * SECOND);
    assert_eq!(sim.held(reader, &origin), 3, "it does not go through the point");
    sim.nodes[honest].store.insert(origin, Stored::of(&log, 9));
    sim.heal(reader, honest);
    sim.run_for(10 * SECOND);
    assert_eq!((sim.held(reader, &origin), n_common(&sim, reader, &origin)), (9, Some(6)));
    assert_eq!(installable(&sim, reader, &releases[..6]), [true, true, true, true, true, false]);
}

/// The reader's own history is neither of the two that the point is about.
#[test]
fn a_point_says_nothing_of_a_history_that_does_not_go_through_it() {
    let (world, other, _) = forked(8, 6, 3);
    let (log, origin) = (world.writers[0].fork(9), other.origin());
    let point = point_of(&log, &other);
    let mut third = log.fork(2);
    for n in 0..9 {
        third.append(vec![], release(&format!("6.6.{n}"), 66));
    }
    let mut evidence = Evidence::open(world.package, &world.genesis).unwrap();
    for chain in [&world.identities[0], &third] {
        evidence.extend(&chain.entries, &chain.head()).unwrap();
    }
    evidence.freeze(point.proof().clone());
    assert!(evidence.learn_point(point.clone()), "it is kept, for others");
    assert!(!evidence.learn_point(point), "once");
    assert_eq!(evidence.n_common(&origin), None);
    assert!(!evidence.lacks_common(&origin));
    let longer = point_of(&log.fork(8), &other);
    assert!(!evidence.learn_point(longer), "no better");
    let shorter = point_of(&log, &third);
    assert!(evidence.learn_point(shorter), "an earlier one");
    assert_eq!(evidence.n_common(&origin), Some(2));
}

/// Of a forked log only what goes through the point is taken in, whoever hands it to the set.
#[test]
fn a_frozen_log_takes_only_what_reaches_the_point() {
    let (world, other, _) = forked(8, 6, 3);
    let log = &world.writers[0];
    let point = point_of(&log.fork(9), &other);
    let mut evidence = Evidence::open(world.package, &world.genesis).unwrap();
    evidence.extend(&world.identities[0].entries, &world.identities[0].head()).unwrap();
    evidence.extend(log.slice(0, 3), &log.head_at(3)).unwrap();
    evidence.freeze(point.proof().clone());
    let extend = |evidence: &mut Evidence, chain: &Chain, to| evidence.extend(chain.slice(3, to), &chain.head_at(to));
    assert_eq!(extend(&mut evidence, log, 9), Err(EvidenceError::Frozen), "as long as nobody knows the point");
    evidence.learn_point(point);
    assert_eq!(extend(&mut evidence, log, 5), Err(EvidenceError::Frozen), "which history is that of?");
    let mut third = log.fork(4);
    for n in 0..9 {
        third.append(vec![], release(&format!("6.6.{n}"), 66));
    }
    assert_eq!(extend(&mut evidence, &third, 9), Err(EvidenceError::Frozen), "another one");
    let before = evidence.frontier();
    extend(&mut evidence, log, 6).unwrap();
    assert!(evidence.frontier().covers(&before));
    assert_eq!(evidence.n_common(&log.origin()), Some(6));
    assert_eq!(evidence.extend(log.slice(6, 9), &log.head()), Err(EvidenceError::Frozen), "all that both have is here");
}
