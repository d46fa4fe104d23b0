//! A small share of what is measured, for every run of the suite.

use super::Lookups;
use super::carrier::{Goal, Outcome};
use super::figures::{Seeker, look_up, tally};
use super::network::Network;
use super::node::Manner;

const N_NODES: usize = 100;

fn settled(seed: u64) -> Network {
    Network::settled(seed, N_NODES, Lookups::Disjoint)
}

#[test]
fn everybody_finds_what_anybody_provides() {
    for (mut network, n_most) in [(settled(1), 60), (Network::joined(2, 25, Lookups::Disjoint), 24)] {
        for seeker in [Seeker::Member, Seeker::Newcomer] {
            let tally = tally(&mut network, seeker, 8);
            assert_eq!(tally.n_found(), 8, "{seeker:?}: {tally:?}");
            assert!(tally.found.iter().all(|outcome| outcome.questions <= n_most), "{seeker:?}: {tally:?}");
            assert!(tally.said.iter().all(|outcome| (19..=24).contains(&outcome.announcements)), "{tally:?}");
        }
    }
}

#[test]
fn what_was_provided_before_a_third_went_is_found_by_those_who_stay() {
    let mut network = settled(3);
    let mut keys = Vec::new();
    for _ in 0..12 {
        let (key, provider) = (network.random_key(), network.somebody());
        network.ask(provider, &Goal::Provide(key));
        keys.push((key, network.nodes[provider].id));
    }
    network.turn(30, &[Manner::Gone]);
    keys.retain(|(_, provider)| network.is_honest(provider));
    assert!(keys.len() > 5);
    let found: Vec<Outcome> = keys.iter().map(|(key, _)| look_up(&mut network, Seeker::Member, *key)).collect();
    assert!(found.iter().all(|outcome| outcome.found_ms.is_some()), "{found:?}");
    assert!(found.iter().any(|outcome| outcome.failed > 0), "nobody met those who went: {found:?}");
}

#[test]
fn where_half_are_liars_the_honest_are_found() {
    for manners in [&[Manner::Empty][..], &[Manner::Lying], &[Manner::Empty, Manner::Lying]] {
        let mut network = settled(4);
        network.turn(50, manners);
        let tally = tally(&mut network, Seeker::Member, 8);
        assert!(tally.n_found() >= 7, "{manners:?}: {tally:?}");
    }
}

#[test]
fn equal_seeds_are_equal_runs() {
    let run = |seed| {
        let mut network = Network::settled(seed, 40, Lookups::Disjoint);
        network.turn(20, &[Manner::Empty, Manner::Gone]);
        let tally = tally(&mut network, Seeker::Newcomer, 4);
        (tally.said, tally.found)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
