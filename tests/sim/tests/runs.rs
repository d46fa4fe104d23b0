//! Runs from seeds: a share of what `cargo xtask sim` does, the same seed twice, and faults put in that must be found.

use std::collections::BTreeMap;

use syncra_sim::check::Invariant;
use syncra_sim::hunt::attempt;
use syncra_sim::node::Mutation;
use syncra_sim::scenario::{Config, EVERYTHING, HONEST, SCENARIOS};
use syncra_sim::sim::ROUND_MS;

/// Seeds of each of the scenarios that pick from all troubles.
const SEEDS: u64 = 8;
/// Seeds within which a fault that was put in must be found.
const MUTANT_SEEDS: u64 = 12;

fn config(seed: u64, scenario: &'static str) -> Config {
    Config { scenario, minutes: Some(20), ..Config::seeded(seed) }
}

#[test]
fn equal_seeds_have_equal_traces() {
    let run = |seed| attempt(&config(seed, EVERYTHING)).unwrap();
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).trace, run(8).trace);
}

#[test]
fn a_share_of_the_seeds_holds_all_invariants() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for (scenario, _) in SCENARIOS {
        for seed in 0..if matches!(scenario, EVERYTHING | HONEST) { SEEDS } else { 2 } {
            let config = config(seed, scenario);
            let summary = attempt(&config).unwrap_or_else(|failed| panic!("{}: `{}`", failed.0, config.command()));
            for (name, n) in summary.seen {
                let is_alarm = ALARMS.contains(&name);
                assert!(scenario != HONEST || !is_alarm, "{name} where nobody means harm: `{}`", config.command());
                *seen.entry(name).or_default() += n;
            }
        }
    }
    for name in ["acknowledged", "committed", "complete", "parts", "rollback", "stalled", "starts", "fork kept"] {
        assert!(seen.get(name).is_some_and(|n| *n > 5), "{name} hardly happened: {seen:?}");
    }
}

/// What somebody is blamed for. For more runs: `cargo xtask sim --scenario honest --seeds 10000`.
const ALARMS: [&str; 8] =
    ["fork", "fork kept", "banned", "bad genesis", "bad note", "bad proof", "bad entry", "malformed"];

#[test]
fn of_fifty_nodes_all_know_of_a_fork_within_three_rounds() {
    let mut n_warned = 0;
    for seed in 0..3 {
        let config = Config { n_nodes: Some(50), ..config(seed, "warnings") };
        let summary = attempt(&config).unwrap_or_else(|failed| panic!("{}: `{}`", failed.0, config.command()));
        n_warned += summary.n_warned;
        assert!(summary.warned_ms <= 3 * ROUND_MS, "seed {seed}: {} ms", summary.warned_ms);
    }
    assert!(n_warned > 60, "hardly anything was forked: {n_warned}");
}

/// The invariants that a mutant was seen to break first, within the seeds.
fn found(mutation: Mutation, scenario: &'static str) -> Option<Invariant> {
    (0..MUTANT_SEEDS).find_map(|seed| {
        // A leak takes its time.
        let minutes = Some(if mutation == Mutation::KeepsAsks { 180 } else { 20 });
        let config = Config { mutation: Some(mutation), minutes, ..config(seed, scenario) };
        attempt(&config).err().map(|failed| failed.0.invariant)
    })
}

#[test]
fn every_fault_that_is_put_in_is_found() {
    let expected = [
        (Mutation::TakesUnverifiedParts, "liars", Invariant::Verified),
        (Mutation::TakesUnverifiedEntries, "calm", Invariant::Verified),
        (Mutation::SignsBeforeJournal, "crashes", Invariant::Kept),
        (Mutation::AcknowledgesUnsynced, "crashes", Invariant::Kept),
        (Mutation::HeadBeforeEntries, "crashes", Invariant::NeverLowered),
        (Mutation::ForgetsHeads, "crashes", Invariant::NeverLowered),
        (Mutation::StateByArrival, "calm", Invariant::EqualStates),
        (Mutation::DeafToTime, "crashes", Invariant::Converges),
        (Mutation::FramesLaggards, "calm", Invariant::NobodyFramed),
        (Mutation::KeepsAsks, "lossy", Invariant::Bounded),
        (Mutation::HushesForks, "warnings", Invariant::WarnedInTime),
        (Mutation::IgnoresCuts, "quarrels", Invariant::CutsHold),
        (Mutation::LateWins, "withheld", Invariant::NeverUndone),
        (Mutation::SignsAsCopy, "copies", Invariant::Kept),
        (Mutation::WaitsByTheWall, "clocks", Invariant::Converges),
        (Mutation::NamesAll, "quarrels", Invariant::Converges),
        (Mutation::MisplacesForks, "forks", Invariant::EqualStates),
    ];
    let results: Vec<_> = expected.iter().map(|(mutation, scenario, _)| found(*mutation, scenario)).collect();
    let wanted: Vec<_> = expected.iter().map(|(.., invariant)| Some(*invariant)).collect();
    assert_eq!(results, wanted);
    assert_eq!(expected.len(), Mutation::ALL.len());
}
