//! The process is killed at any call.

use std::collections::BTreeMap;

use syncra_tests::crash::{Disk, KillPoint, is_permitted, kill_at};
use syncra_tests::skip;

use crate::check::{check, notes};
use crate::lab::{Lab, n_trials, phase, report};
use crate::scenario::{FIRST_PUBLISH, SECOND_PUBLISH, Scenario};

/// Kills that every phase must see.
const PER_PHASE: usize = 3;

#[test]
fn kills_during_a_first_publish_lose_nothing_acknowledged() {
    try_kills(&FIRST_PUBLISH);
}

#[test]
fn kills_during_a_second_publish_lose_nothing_acknowledged() {
    try_kills(&SECOND_PUBLISH);
}

fn try_kills(scenario: &'static Scenario) {
    if !is_permitted() {
        return skip(scenario.name, "processes may not be traced here");
    }
    let mut lab = Lab::new(scenario);
    let recording = lab.record();
    let mut by_phase: BTreeMap<&str, Vec<KillPoint>> = BTreeMap::new();
    for (index, point) in recording.kill_points() {
        // Names of imports under way are random: there is nothing to wait for.
        if !point.path.contains("/temp/") {
            by_phase.entry(phase(&recording.events, index)).or_default().push(point);
        }
    }
    let n_points: usize = by_phase.values().map(Vec::len).sum();
    let n_trials = n_trials(60).min(n_points);
    let mut phases = BTreeMap::new();
    let mut failures = Vec::new();
    for (phase, points) in &by_phase {
        let share = (points.len() * n_trials / n_points).max(PER_PHASE + 1).min(points.len());
        for nth in 0..share {
            let point = &points[nth * points.len() / share];
            match try_kill(&lab, point) {
                Ok(killed) => *phases.entry(*phase).or_default() += usize::from(killed),
                Err(why) => {
                    failures.push(format!("killed at `{}` number {} of `{}`: {why}", point.name, point.n, point.path));
                }
            }
        }
        let hits = phases.get(phase).copied().unwrap_or_default();
        assert!(hits >= PER_PHASE.min(points.len()) || !failures.is_empty(), "{phase} was hit {hits} times only");
    }
    report(&format!("kills, {}", scenario.name), &phases, &failures);
}

/// False if the program came to its end: threads take turns, and the call was not made this time.
fn try_kill(lab: &Lab, point: &KillPoint) -> Result<bool, String> {
    lab.reset();
    let Some(said) = kill_at(&lab.command(), lab.base(), point) else { return Ok(false) };
    let announced = notes(&Disk::read(lab.base()))?;
    check(lab, &said, &announced)?;
    Ok(true)
}
