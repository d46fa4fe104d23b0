//! Notices in a crowd of which some mean harm: a share of what `cargo xtask sim gossip` measures, and faults put in.

use syncra_sim::gossip::attack::Attack;
use syncra_sim::gossip::{Config, Mutation, run};

/// A hundred nodes, ten of them up to something.
fn config(attacks: &[Attack], minutes: u64) -> Config {
    Config { minutes, ..Config::seeded(7, attacks) }
}

#[test]
fn equal_seeds_are_equal_runs() {
    let small = |seed| Config { n_honest: 20, n_victims: 20, n_writers: 5, ..Config::seeded(seed, &[Attack::Unknown]) };
    let run = |seed| run(&Config { minutes: 1, ..small(seed) });
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn news_reaches_everybody_honest_whatever_the_others_send() {
    let all: Vec<Attack> = Attack::ALL.iter().map(|(_, attack)| *attack).collect();
    let summary = run(&config(&all, 2));
    assert!(summary.delivered_per_100_000() >= 99_900, "{summary:?}");
    assert!(summary.n_attacks > 10_000, "nothing was tried: {summary:?}");
    assert_eq!(summary.n_framed, 0, "{summary:?}");
    // 64 for each attacker and what all of them may add, before they are sent away; then hardly anything.
    assert!(summary.worst.checked_in_a_second < 10 * 64 + 32, "{summary:?}");
}

#[test]
fn who_is_poor_on_purpose_and_always_first_keeps_nothing_from_anybody() {
    let summary = run(&config(&[Attack::Censor], 2));
    assert!(summary.delivered_per_100_000() >= 99_900, "{summary:?}");
}

#[test]
fn faults_that_are_put_in_show() {
    let with = |mutation, attack| {
        let small = Config { n_honest: 20, n_victims: 20, n_writers: 5, ..config(&[attack], 1) };
        run(&Config { mutation, ..small })
    };
    let sound = with(None, Attack::Unknown);
    assert!(sound.delivered_per_100_000() >= 99_900 && sound.n_passed_on == 0, "{sound:?}");
    let judges_nothing = with(Some(Mutation::JudgesNothing), Attack::Unknown);
    assert!(judges_nothing.n_passed_on > 1_000 && judges_nothing.n_delivered == 0, "{judges_nothing:?}");
    let forgives_all = with(Some(Mutation::ForgivesAll), Attack::Unknown);
    assert!(forgives_all.n_attacks > 3 * sound.n_attacks && forgives_all.n_shut_out == 0, "{forgives_all:?}");
    let ignores_the_poor = with(Some(Mutation::IgnoresThePoor), Attack::Censor);
    assert!(ignores_the_poor.delivered_per_100_000() < 90_000, "{ignores_the_poor:?}");
}
