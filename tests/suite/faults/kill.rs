//! The process is killed at any call.

use std::collections::BTreeMap;

use syncra_tests::crash::{Disk, KillPoint, Rng, is_permitted, kill_at};
use syncra_tests::skip;

use crate::check::{check, notes};
use crate::lab::{Lab, first_seed, n_trials, phase, report};
use crate::scenario::{self, Scenario};

/// Kills that every phase must see.
const PER_PHASE: usize = 3;
/// Kills beyond its share that a phase may take: threads take turns, and a call is not made in every run.
const MISSES: usize = 12;

macro_rules! kills {
    ($($name:ident: $usual:literal x $scenario:path,)*) => {
        $(#[test]
        fn $name() {
            try_kills(&$scenario, $usual);
        })*
    };
}

kills! {
    kills_during_a_first_publish_lose_nothing_acknowledged: 40 x scenario::FIRST_PUBLISH,
    kills_during_a_second_publish_lose_nothing_acknowledged: 40 x scenario::SECOND_PUBLISH,
    kills_during_an_import_lose_nothing_acknowledged: 40 x scenario::IMPORT,
    kills_during_an_add_leave_the_old_or_the_new: 30 x scenario::ADD,
    kills_during_a_fetch_leave_the_old_or_the_new: 15 x scenario::FETCH,
    kills_during_an_update_leave_the_old_or_the_new: 30 x scenario::UPDATE,
    kills_during_a_rollback_leave_the_old_or_the_new: 15 x scenario::ROLLBACK,
    kills_during_a_collection_lose_nothing_needed: 20 x scenario::GC,
    kills_while_files_are_collected_leave_no_half_release: 10 x scenario::GC_FILES,
    kills_during_a_yank_lose_nothing_acknowledged: 20 x scenario::YANK,
    kills_during_a_change_of_handle_lose_nothing_acknowledged: 20 x scenario::HANDLE,
    kills_while_a_device_is_added_lose_nothing_acknowledged: 15 x scenario::ADD_DEVICE,
    kills_while_a_device_is_suspended_lose_nothing_acknowledged: 15 x scenario::SUSPEND_DEVICE,
}

fn try_kills(scenario: &'static Scenario, usual: usize) {
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
    let n_trials = n_trials(usual);
    let mut rng = Rng::new(first_seed());
    let mut phases = BTreeMap::new();
    let mut failures = Vec::new();
    for (phase, points) in &by_phase {
        let share = (points.len() * n_trials / n_points).max(PER_PHASE);
        let hits = phases.entry(*phase).or_insert(0);
        // The suite begins with the first, another seed somewhere else.
        let from = if first_seed() == 0 { 0 } else { rng.below(points.len()) };
        for nth in 0..share + MISSES {
            // Spread evenly; where there are few points, each is tried again. Those that were missed are made up for.
            if nth >= share && *hits >= PER_PHASE {
                break;
            }
            let point = &points[(from + nth * points.len().max(share) / share) % points.len()];
            match try_kill(&lab, point) {
                Ok(killed) => *hits += usize::from(killed),
                Err(why) => {
                    failures.push(format!("killed at `{}` number {} of `{}`: {why}", point.name, point.n, point.path));
                }
            }
        }
        assert!(*hits >= PER_PHASE || !failures.is_empty(), "{phase} was hit {hits} times only");
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

#[test]
fn what_a_killed_get_left_goes_with_the_next() {
    if !is_permitted() {
        return skip("what_a_killed_get_left_goes_with_the_next", "processes may not be traced here");
    }
    let lab = Lab::new(&scenario::SECOND_PUBLISH);
    let work = lab.home.work();
    let left = || {
        let names = std::fs::read_dir(work).expect("there").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().contains(".partial-")).count()
    };
    let reference = lab.ask(&["list"]).expect("answers")["packages"][0]["ref"].as_str().expect("a package").to_owned();
    let get = ["get", reference.as_str(), "-o", "out"];
    // As it takes away an empty directory, to put the filled one in its place.
    let point = KillPoint { name: "rmdir".to_owned(), path: "out".to_owned(), n: 1 };
    kill_at(&lab.home.command(get), work, &point).expect("it comes to its end");
    assert_eq!((left(), work.join("out").exists()), (1, false), "all or nothing");
    lab.ask(&get).expect("the same call again");
    assert_eq!((left(), work.join("out").exists()), (0, true));
}
