//! Where the histories of a forked log part, told as stories: who met both shows it, and who heard only of the fork learns
//! with it what stays settled.

use syncra_protocol::Timestamp;
use syncra_protocol::evidence::{Evidence, KnownFork};
use syncra_protocol::fold::Pick;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::cosignature::{Cosignature, WitnessKey};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::log::witness::{Statement, Witness};
use syncra_protocol::message::log::Heads;
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

/// Whoever has the key can sign two histories that part late, both of them others than the honest one.
#[test]
fn what_a_thiefs_two_histories_have_in_common_is_not_taken_in() {
    let (world, thiefs, _) = forked(8, 3, 5);
    let (log, origin) = (world.writers[0].fork(9), thiefs.origin());
    let mut other = thiefs.fork(6);
    other.append(vec![], release("6.6.6", 66));
    let point = point_of(&thiefs, &other);
    assert_eq!(point.n_common(), 6);
    for held in [3, 5] {
        let mut sim = Sim::seeded(72, World::new(1));
        sim.world.writers[0] = log.fork(held);
        let server = sim.server(Manner::Honest);
        let reader = sim.reader();
        sim.run_for(10 * SECOND);
        sim.input(reader, Input::Fork(Box::new(point.proof().clone().into())));
        sim.nodes[server].store.insert(origin, Stored::of(&thiefs, thiefs.size()));
        tell(&mut sim, reader, server, &thiefs, &point);
        sim.run_for(60 * MINUTE);
        assert_eq!(sim.held(reader, &origin), held, "frozen");
        // What is held is no longer than what is compared, so nobody can tell; or it is, and parts.
        assert_eq!(n_common(&sim, reader, &origin), if held == 5 { Some(3) } else { None });
    }
}

/// A point between others' histories says nothing of the one held, keeps nobody from comparing, and gives way.
#[test]
fn a_point_that_is_not_on_the_history_held_keeps_nobody_from_comparing() {
    let (world, thiefs, releases) = forked(8, 3, 5);
    let origin = thiefs.origin();
    let mut other = thiefs.fork(6);
    other.append(vec![], release("6.6.6", 66));
    let point = point_of(&thiefs, &other);
    let mut sim = Sim::seeded(73, world);
    let honest = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    tell(&mut sim, reader, honest, &thiefs, &point);
    sim.run_for(10 * SECOND);
    assert_eq!(n_common(&sim, reader, &origin), None);
    assert_eq!(installable(&sim, reader, &releases[..2]), [false, false]);
    let liar = sim.server(Manner::Honest);
    sim.nodes[liar].store.insert(origin, Stored::of(&thiefs, thiefs.size()));
    sim.run_for(10 * MINUTE);
    assert_eq!(n_common(&sim, reader, &origin), Some(3));
    assert_eq!(installable(&sim, reader, &releases[..4]), [true, true, false, false]);
    let shown: Vec<u64> = sim.nodes[reader].points.iter().map(ForkPoint::n_common).collect();
    assert_eq!(shown, [6, 3]);
}

/// A reader took the thief's history for the log; the thief shows it another that parts late.
#[test]
fn a_late_point_on_the_history_held_keeps_nobody_from_comparing_with_the_honest_one() {
    let (world, thiefs, releases) = forked(8, 3, 5);
    let (log, origin) = (world.writers[0].fork(9), thiefs.origin());
    let mut other = thiefs.fork(6);
    other.append(vec![], release("6.6.6", 66));
    let point = point_of(&thiefs, &other);
    let mut sim = Sim::seeded(75, World::new(1));
    sim.world.writers[0] = thiefs.fork(thiefs.size());
    let thief = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    tell(&mut sim, reader, thief, &thiefs, &point);
    sim.run_for(10 * SECOND);
    assert_eq!(n_common(&sim, reader, &origin), Some(6));
    let honest = sim.server(Manner::Honest);
    sim.nodes[honest].store.insert(origin, Stored::of(&log, 9));
    sim.run_for(10 * SECOND);
    assert_eq!(n_common(&sim, reader, &origin), Some(3));
    assert_eq!(installable(&sim, reader, &releases[..3]), [true, true, false]);
    assert_eq!(sim.nodes[reader].points.last().map(ForkPoint::n_common), Some(3));
}

/// Of several points the first on the history held counts; bare roots that part early displace it for nobody whose history
/// they are not in.
#[test]
fn of_several_points_the_first_on_the_history_held_counts() {
    let (world, other, _) = forked(8, 6, 3);
    let (log, origin) = (world.writers[0].fork(9), other.origin());
    let [early, later] = [2, 4].map(|common| {
        let mut third = log.fork(common);
        for n in 0..9 {
            third.append_bytes(vec![n; 3]);
        }
        point_of(&log, &third)
    });
    let mut thiefs = log.fork(1);
    for n in 0..9 {
        thiefs.append_bytes(vec![n; 4]);
    }
    let mut again = thiefs.fork(3);
    again.append_bytes(vec![9; 9]);
    let foreign = point_of(&thiefs, &again);

    let mut evidence = Evidence::open(world.package, &world.genesis).unwrap();
    for chain in [&world.identities[0], &log] {
        evidence.extend(&chain.entries, &chain.head()).unwrap();
    }
    assert!(!evidence.learn_point(later.clone()), "nobody knows of a fork");
    evidence.freeze(foreign.proof().clone());
    let mut learn = |point: &ForkPoint| {
        let is_kept = evidence.learn_point(point.clone());
        (is_kept, evidence.n_common(&origin), evidence.fork_point(&origin).map(ForkPoint::n_common))
    };
    assert_eq!(learn(&foreign), (true, None, Some(3)), "it is kept for others");
    assert_eq!(learn(&point_of(&log, &other)), (true, Some(6), Some(6)), "it gives way");
    assert_eq!(learn(&foreign), (false, Some(6), Some(6)));
    assert_eq!(learn(&later), (true, Some(4), Some(4)));
    assert_eq!(learn(&later), (false, Some(4), Some(4)), "once");
    assert_eq!(learn(&point_of(&log, &other)), (false, Some(4), Some(4)));
    assert_eq!(learn(&early), (true, Some(2), Some(2)));

    // The same from disk, in whatever order it was learnt.
    let proof = foreign.proof().clone();
    for (n_common, point) in [(Some(2), early.clone()), (Some(2), foreign)] {
        let mut again = Evidence::open(world.package, &world.genesis).unwrap();
        for chain in [&world.identities[0], &log] {
            again.extend(&chain.entries, &chain.head()).unwrap();
        }
        again.freeze_all([KnownFork { proof: proof.clone(), n_common, point: Some(point) }]);
        assert_eq!(again.n_common(&origin), Some(2));
        assert_eq!(again.fold(), evidence.fold());
    }
}

/// What witnesses say of a forked log is not crowded out of its note: the point then comes in another.
#[test]
fn witnesses_and_the_point_both_find_room() {
    let (world, other, _) = forked(200, 130, 90);
    let log = &world.writers[0];
    let mut evidence = Evidence::open(world.package, &world.genesis).unwrap();
    for chain in [&world.identities[0], log] {
        evidence.extend(&chain.entries, &chain.head()).unwrap();
    }
    let point = point_of(log, &other);
    evidence.freeze(point.proof().clone());
    evidence.learn_point(point.clone());
    for n_witnesses in [0_u8, 3, 16] {
        let said: Vec<_> = (0..n_witnesses)
            .map(|n| {
                let secret = DeviceSecret::from_seed(&[100 + n; 32]);
                let mut witness = Witness::new(secret.public());
                witness.record(Statement::recall(&log.head(), Timestamp(1_000_000))).unwrap();
                witness.cosignature(&secret, &log.origin()).unwrap()
            })
            .collect();
        let dress = |head: &Head| head.with_evidence(Some(point.proof()), Some(&point), &said);
        let answer = Heads::answer(&evidence, dress);
        let heads: Vec<Head> = answer.notes.iter().map(|note| Head::verify(&note.0).unwrap()).collect();
        let of_log = || heads.iter().filter(|head| *head.origin() == log.origin());
        assert_eq!(
            of_log().filter_map(ForkPoint::carried_by).collect::<Vec<_>>(),
            std::slice::from_ref(&point),
            "{n_witnesses}"
        );
        assert!(of_log().all(|head| ForkProof::carried_by(head).is_some()));
        let listed: Vec<WitnessKey> = said.iter().map(|said| said.witness().clone()).collect();
        let most = of_log().map(|head| Cosignature::all_of(head, &listed, Timestamp(u64::MAX >> 1)).len()).max();
        assert!(most >= Some(usize::from(n_witnesses).min(12)), "{n_witnesses}: {most:?}");
    }
}
