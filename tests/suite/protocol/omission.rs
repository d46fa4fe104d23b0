//! Who leaves out a newer head: seen in stories of real followers in virtual time.

use syncra_protocol::evidence::Blocked;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::Input;
use syncra_protocol::sync::omission::{Known, Verdict};

use crate::follow::{publish, sim_heads, world_with_releases};
use crate::follow_sim::{Manner, SECOND, Sim, Stored};
use crate::made_up::made_up;
use syncra_sim::world::World;

fn left_out(sim: &Sim, who: usize, of: usize, log: Origin) -> Option<(Verdict, u64, u64, Known, Option<Peer>)> {
    let mut all = sim.nodes[who].omissions.of(sim.nodes[of].peer);
    let one = all.find(|omission| omission.origin == log)?;
    Some((one.verdict, one.offered, one.known, one.by, one.shown_by))
}

fn ask_again(sim: &mut Sim, who: usize, of: usize) {
    let peer = sim.nodes[of].peer;
    for input in [Input::PeerGone(peer), Input::PeerUp(peer)] {
        sim.input(who, input);
    }
    sim.run_for(20 * SECOND);
}

#[test]
fn who_withholds_a_newer_head_is_named_and_the_union_of_all_wins() {
    let mut sim = Sim::seeded(51, world_with_releases(1));
    let hiding = sim.server(Manner::Honest); // honest about an old state, and learns nothing
    let author = sim.author(0);
    let reader = sim.reader();
    sim.part(author, reader);
    sim.run_for(10 * SECOND);
    let log = sim.world.writers[0].origin();
    let old = sim.held(reader, &log);
    assert_eq!(left_out(&sim, reader, hiding, log), None, "nobody can know of more");
    publish(&mut sim, author, "2.0.0");
    let newest = sim.world.writers[0].size();
    ask_again(&mut sim, reader, hiding);
    assert_eq!((sim.held(reader, &log), left_out(&sim, reader, hiding, log)), (old, None), "still nobody");

    sim.heal(author, reader);
    sim.run_for(10 * SECOND);
    assert_eq!(sim.held(reader, &log), newest, "who has it is enough");
    let by = (Known::Signed, Some(sim.nodes[author].peer));
    for verdict in [Verdict::Behind, Verdict::Behind, Verdict::Hides, Verdict::Hides] {
        ask_again(&mut sim, reader, hiding);
        assert_eq!(left_out(&sim, reader, hiding, log), Some((verdict, old, newest, by.0, by.1)));
    }
    assert_eq!(left_out(&sim, reader, author, log), None);
    let stored = Stored::of(&sim.world.writers[0], newest);
    sim.nodes[hiding].store.insert(log, stored);
    ask_again(&mut sim, reader, hiding);
    assert_eq!(left_out(&sim, reader, hiding, log), None);
}

#[test]
fn who_catches_up_was_only_behind() {
    let mut sim = Sim::seeded(52, world_with_releases(1));
    let (author, late, reader) = (sim.author(0), sim.reader(), sim.reader());
    sim.run_for(10 * SECOND);
    sim.part(author, late);
    sim.part(reader, late);
    publish(&mut sim, author, "2.0.0");
    sim.run_for(10 * SECOND);
    let log = sim.world.writers[0].origin();
    let (peer, heads) = (sim.nodes[late].peer, sim_heads(&sim, late));
    sim.input(reader, Input::PeerUp(peer));
    sim.input(reader, Input::Heads { peer, heads });
    assert_eq!(left_out(&sim, reader, late, log).map(|(verdict, ..)| verdict), Some(Verdict::Behind));
    sim.heal_all();
    sim.run_for(10 * SECOND);
    assert_eq!(left_out(&sim, reader, late, log), None, "its own note says that it has caught up");
}

#[test]
fn a_head_that_only_anothers_entry_names_is_seen_to_be_missing_and_accuses_nobody_for_sure() {
    let mut world = World::new(2);
    for owner in [0, 1] {
        world.publish(owner, vec![], &format!("{}.0.0", owner + 1), 1);
    }
    let mut sim = Sim::seeded(53, world);
    let hiding = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    let (named, naming) = (sim.world.writers[1].origin(), sim.world.writers[0].origin());
    let old = sim.held(reader, &named);
    sim.world.publish(1, vec![], "2.1.0", 2);
    let seen = sim.world.seen(1);
    sim.world.publish(0, seen, "1.1.0", 2);
    let newest = sim.world.writers[1].size();
    let stored = Stored::of(&sim.world.writers[0], sim.world.writers[0].size());
    sim.nodes[hiding].store.insert(naming, stored);
    ask_again(&mut sim, reader, hiding);
    assert!(matches!(sim.follower(reader).evidence().unwrap().blocked()[&naming], Blocked::Waiting { .. }));
    for verdict in [Verdict::Behind, Verdict::Behind, Verdict::MayHide, Verdict::MayHide] {
        ask_again(&mut sim, reader, hiding);
        assert_eq!(left_out(&sim, reader, hiding, named), Some((verdict, old, newest, Known::Named(naming), None)));
        assert_eq!(left_out(&sim, reader, hiding, naming), None);
    }
    let other = sim.server(Manner::Honest);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.held(reader, &named), newest);
    assert!(sim.follower(reader).evidence().unwrap().blocked().is_empty());
    let by = (Known::Signed, Some(sim.nodes[other].peer));
    for verdict in [Verdict::Behind, Verdict::Behind, Verdict::Hides] {
        ask_again(&mut sim, reader, hiding);
        assert_eq!(left_out(&sim, reader, hiding, named), Some((verdict, old, newest, by.0, by.1)));
    }
}

/// Anybody can sign a log of an owner's identity by a key of its own, and then not deliver it.
#[test]
fn a_log_that_may_be_nobodys_accuses_nobody_of_hiding_it() {
    let mut sim = Sim::seeded(54, world_with_releases(1));
    let honest = sim.server(Manner::Honest);
    let reader = sim.reader();
    sim.run_for(10 * SECOND);
    let liar = sim.server(Manner::Busy);
    sim.run_for(10 * SECOND);
    let [head, _] = made_up(1, sim.world.identities[0].origin().subject);
    let (peer, note) = (sim.nodes[liar].peer, head.note().to_vec());
    sim.input(reader, Input::Notice { peer, note });
    assert!(sim.follower(reader).behind().contains_key(head.origin()), "it may bring the recovery key's word");
    for _ in 0..4 {
        ask_again(&mut sim, reader, honest);
        assert_eq!(left_out(&sim, reader, honest, *head.origin()), None);
    }
}
