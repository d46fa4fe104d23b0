//! Logs of keys that anybody makes up: they cost those who hear of them nothing that lasts, and keep nothing from anybody.

use syncra_protocol::bounded::Blob;
use syncra_protocol::entry::DeviceRole;
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::limits::EVIDENCE_LOGS;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::message::log::Heads;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::follow::{Fault, Input};

use crate::devices::{DESK, LAPTOP, People, add};
use crate::follow::{publish, world_with_releases};
use crate::follow_sim::{Manner, SECOND, Sim, Stored};
use syncra_sim::world::{Chain, World, release};

/// The heads of both histories of a log that key number `n` begins twice.
pub(crate) fn made_up(n: u16, subject: Subject) -> [Head; 2] {
    let mut seed = [0xEE; 32];
    seed[..2].copy_from_slice(&n.to_le_bytes());
    [1, 2].map(|tree| {
        let mut chain = Chain::of(DeviceSecret::from_seed(&seed), |key: DeviceKey| Origin { subject, key });
        chain.append(vec![], release("1.0.0", tree));
        chain.head()
    })
}

fn proof_of([one, other]: &[Head; 2]) -> ForkProof {
    ForkProof::new(one, other, None).unwrap()
}

fn tell(sim: &mut Sim, to: usize, by: usize, head: &Head) {
    let (peer, note) = (sim.nodes[by].peer, head.note().to_vec());
    sim.input(to, Input::Notice { peer, note });
}

fn forks_told(sim: &Sim, who: usize) -> Vec<Origin> {
    let faults = sim.nodes[who].faults.iter();
    let forks =
        faults.filter_map(|(_, fault)| if let Fault::Fork(proof) = fault { Some(*proof.origin()) } else { None });
    forks.collect()
}

#[test]
fn two_histories_of_a_key_that_is_nobodys_are_kept_and_told_by_nobody() {
    let subjects = |world: &World| [Subject::Package(world.package), world.identities[0].origin().subject];
    for turn in [0, 1] {
        let mut sim = Sim::seeded(61, world_with_releases(1));
        let subject = subjects(&sim.world)[turn];
        let liar = sim.server(Manner::Silent);
        let reader = sim.reader();
        sim.run_for(SECOND);
        let forks: Vec<_> = (0..128).map(|n| made_up(n, subject)).collect();
        let notes = forks.iter().flatten().map(|head| Blob(head.note().to_vec())).collect();
        let genesis = Blob(sim.world.identities[0].entries[0].clone());
        let heads = Heads { package_genesis: Blob(sim.world.genesis.clone()), identity_geneses: vec![genesis], notes };
        let peer = sim.nodes[liar].peer;
        sim.input(reader, Input::Heads { peer, heads });
        for fork in &forks {
            tell(&mut sim, reader, liar, &fork[0].with_evidence(Some(&proof_of(fork)), None, &[]));
        }
        let other = sim.server(Manner::Silent);
        sim.run_for(SECOND);
        for fork in &forks {
            tell(&mut sim, reader, other, &fork[1]);
        }
        sim.server(Manner::Honest);
        sim.run_for(60 * SECOND);
        assert_eq!(forks_told(&sim, reader), [], "{subject:?}");
        assert_eq!(sim.follower(reader).evidence().unwrap().forks().count(), 0);
        assert_eq!(sim.held(reader, &sim.world.writers[0].origin()), 3, "and the package is fetched");
    }
}

#[test]
fn who_passes_made_up_logs_on_is_heard_of_real_ones() {
    let subjects = |world: &World| [Subject::Package(world.package), world.identities[0].origin().subject];
    for turn in [0, 1] {
        let mut sim = Sim::seeded(62, world_with_releases(1));
        let subject = subjects(&sim.world)[turn];
        let author = sim.author(0);
        let reader = sim.reader();
        sim.run_for(10 * SECOND);
        for n in 0..u16::try_from(EVIDENCE_LOGS).unwrap() + 8 {
            tell(&mut sim, reader, author, &made_up(n, subject)[0]);
        }
        sim.links.loss_percent = 100;
        publish(&mut sim, author, "2.0.0");
        sim.links.loss_percent = 0;
        // Before any of the others can be answered for.
        let head = sim.world.writers[0].head();
        tell(&mut sim, reader, author, &head);
        sim.run_for(SECOND);
        let log = sim.world.writers[0].origin();
        assert_eq!(sim.held(reader, &log), sim.world.writers[0].size(), "{subject:?}");
    }
}

/// The laptop of an owner is known only once the owner's own log is. Whoever signs for it then is somebody.
#[test]
fn a_fork_of_a_device_that_is_known_later_is_found_in_what_was_offered_before() {
    for is_carried in [true, false] {
        let mut people = People::new();
        people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
        people.join(LAPTOP);
        let mut branch = people.package[&LAPTOP].fork(1);
        branch.append(vec![], release("6.6.6", 66));
        people.publish_blind(LAPTOP, "1.0.0", 1);
        let (log, head) = (branch.origin(), people.package[&LAPTOP].head());
        let fork = [head, branch.head()];
        let (identities, writers) =
            (vec![people.identity.remove(&DESK).unwrap()], vec![people.package.remove(&DESK).unwrap()]);
        let world = World { package: people.me.package, genesis: people.genesis.clone(), identities, writers };

        let mut sim = Sim::seeded(63, world);
        let (first, second, reader) = (sim.server(Manner::Silent), sim.server(Manner::Silent), sim.reader());
        sim.run_for(SECOND);
        if is_carried {
            tell(&mut sim, reader, first, &fork[0]);
            tell(&mut sim, reader, first, &fork[0].with_evidence(Some(&proof_of(&fork)), None, &[]));
        } else {
            tell(&mut sim, reader, first, &fork[0]);
            tell(&mut sim, reader, second, &fork[1]);
        }
        assert_eq!(forks_told(&sim, reader), [], "the key may be anybody's");
        let honest = sim.server(Manner::Honest);
        sim.run_for(10 * SECOND);
        assert_eq!(forks_told(&sim, reader), [log], "once, though nobody delivered any of it");
        let stored = Stored::of(&people.package[&LAPTOP], 2);
        sim.nodes[honest].store.insert(log, stored);
        sim.run_for(600 * SECOND);
        assert!(sim.follower(reader).evidence().unwrap().is_forked(&log), "carried: {is_carried}");
        assert_eq!((sim.held(reader, &log), forks_told(&sim, reader)), (2, vec![log]));
    }
}

#[test]
fn a_warning_of_a_strangers_log_counts_once_the_log_is_held() {
    let mut world = World::with_strangers(1, 1);
    let mut branch = world.writers[1].fork(1);
    branch.append(vec![], release("6.6.6", 66));
    world.publish(1, vec![], "0.0.1", 9);
    let stranger = branch.origin();
    let fork = [world.writers[1].head(), branch.head()];
    let mut sim = Sim::seeded(64, world);
    let server = sim.server(Manner::Honest);
    let silent = sim.server(Manner::Silent);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    tell(&mut sim, reader, silent, &fork[0].with_evidence(Some(&proof_of(&fork)), None, &[]));
    assert_eq!(forks_told(&sim, reader), []);
    let seen = sim.world.seen(1);
    sim.world.publish(0, seen, "1.0.0", 1);
    let chain = &sim.world.writers[0];
    let (head, stored) = (chain.head(), Stored::of(chain, chain.size()));
    sim.nodes[server].store.insert(chain.origin(), stored);
    tell(&mut sim, reader, server, &head);
    sim.run_for(60 * SECOND);
    assert_eq!((sim.held(reader, &stranger), forks_told(&sim, reader)), (2, vec![stranger]));
    assert!(sim.follower(reader).evidence().unwrap().is_forked(&stranger));
}
