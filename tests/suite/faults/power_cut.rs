//! The power goes at any point of a command.

use std::collections::BTreeMap;

use syncra_tests::crash::{Loss, Recording, Rng, What, is_permitted};
use syncra_tests::skip;

use crate::check::{check, notes};
use crate::lab::{Lab, first_seed, n_trials, phase, report};
use crate::scenario::{self, Scenario};

macro_rules! cuts {
    ($($name:ident: $usual:literal x $scenario:path,)*) => {
        $(#[test]
        fn $name() {
            try_cuts(&$scenario, $usual);
        })*
    };
}

cuts! {
    power_cuts_during_a_first_publish_lose_nothing_acknowledged: 60 x scenario::FIRST_PUBLISH,
    power_cuts_during_a_second_publish_lose_nothing_acknowledged: 140 x scenario::SECOND_PUBLISH,
    power_cuts_during_an_import_lose_nothing_acknowledged: 200 x scenario::IMPORT,
    power_cuts_during_an_add_leave_the_old_or_the_new: 40 x scenario::ADD,
    power_cuts_during_a_fetch_leave_the_old_or_the_new: 15 x scenario::FETCH,
    power_cuts_during_an_update_leave_the_old_or_the_new: 40 x scenario::UPDATE,
    power_cuts_during_a_rollback_leave_the_old_or_the_new: 20 x scenario::ROLLBACK,
    power_cuts_during_a_collection_lose_nothing_needed: 40 x scenario::GC,
    power_cuts_while_files_are_collected_leave_no_half_release: 20 x scenario::GC_FILES,
    power_cuts_during_a_yank_lose_nothing_acknowledged: 30 x scenario::YANK,
    power_cuts_during_a_change_of_handle_lose_nothing_acknowledged: 30 x scenario::HANDLE,
    power_cuts_while_a_device_is_added_lose_nothing_acknowledged: 20 x scenario::ADD_DEVICE,
    power_cuts_while_a_device_is_suspended_lose_nothing_acknowledged: 20 x scenario::SUSPEND_DEVICE,
}

fn try_cuts(scenario: &'static Scenario, usual: usize) {
    if !is_permitted() {
        return skip(scenario.name, "processes may not be traced here");
    }
    let mut lab = Lab::new(scenario);
    let recording = lab.record();
    // Every phase gets the same share: what matters most is short.
    let mut by_phase: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in 0..recording.events.len() {
        by_phase.entry(phase(&recording.events, index)).or_default().push(index);
    }
    let shares: Vec<(&str, Vec<usize>)> = by_phase.into_iter().collect();
    let mut rng = Rng::new(first_seed());
    let mut phases = BTreeMap::new();
    let mut failures = Vec::new();
    for trial in 0..n_trials(usual) {
        let (phase, indices) = &shares[trial % shares.len()];
        let last = indices[rng.below(indices.len())];
        let loss = Loss::ALL[rng.below(Loss::ALL.len())];
        *phases.entry(*phase).or_default() += 1;
        if let Err(why) = try_cut(&lab, &recording, last + 1, loss, first_seed() + trial as u64) {
            let (call, path) = (&recording.events[last].call, &recording.events[last].path);
            let first = first_seed();
            failures.push(format!("cut behind `{call}` of `{path}`, lost: {loss:?}, seed {first} + {trial}: {why}"));
        }
    }
    report(&format!("power cuts, {}", scenario.name), &phases, &failures);
}

fn try_cut(lab: &Lab, recording: &Recording, cut: usize, loss: Loss, seed: u64) -> Result<(), String> {
    let announced = notes(&recording.after_cut(cut, Loss::Everything, 0))?;
    lab.put(&recording.after_cut(cut, loss, seed));
    check(lab, &recording.said_before(cut), &announced)
}

/// Power that comes and goes: what mends a home after a cut is cut off too.
#[test]
fn power_cuts_during_the_recovery_lose_nothing_acknowledged() {
    if !is_permitted() {
        return skip("power cuts during the recovery", "processes may not be traced here");
    }
    let mut lab = Lab::new(&scenario::SECOND_PUBLISH);
    let first = lab.record();
    let (mut rng, mut phases, mut failures) = (Rng::new(first_seed()), BTreeMap::new(), Vec::new());
    for seed in (first_seed()..).take(n_trials(40) / 5) {
        // The second half of the run: what was written is worth losing.
        let cut = first.events.len() - rng.below(first.events.len() / 2);
        let announced = notes(&first.after_cut(cut, Loss::Everything, 0)).expect("no fork");
        let loss = Loss::ALL[rng.below(Loss::ALL.len())];
        lab.put(&first.after_cut(cut, loss, seed));
        let recovery = Recording::of(&lab.command(), lab.base());
        for _ in 0..5 {
            let last = rng.below(recovery.events.len());
            *phases.entry(phase(&recovery.events, last)).or_default() += 1;
            let again = Loss::ALL[rng.below(Loss::ALL.len())];
            lab.put(&recovery.after_cut(last + 1, again, seed));
            let said = [first.said_before(cut), recovery.said_before(last + 1)];
            let said = said.iter().rev().find(|said| !said.is_empty()).map_or("", String::as_str);
            if let Err(why) = check(&lab, said, &announced) {
                let (call, path) = (&recovery.events[last].call, &recovery.events[last].path);
                failures
                    .push(format!("event {cut}, {loss:?}; then `{call}` of `{path}`, {again:?}; seed {seed}: {why}"));
            }
        }
    }
    report("power cuts, recovery", &phases, &failures);
}

/// The harness must be able to fail: a program that left out a sync would be found.
#[test]
fn a_missing_sync_is_found() {
    if !is_permitted() {
        return skip("a_missing_sync_is_found", "processes may not be traced here");
    }
    let needed: [(&'static Scenario, &[&str]); 3] = [
        (&scenario::FIRST_PUBLISH, &[".seg", "home/journal", "home/blobs/data"]),
        (&scenario::IMPORT, &["home/logs", "home/journal", "home/blobs/data"]),
        (&scenario::UPDATE, &["home/installed/store", "home/installed/generations", "home/installed"]),
    ];
    for (scenario, needed) in needed {
        let mut lab = Lab::new(scenario);
        let recording = lab.record();
        let end = recording.events.len();
        for loss in Loss::ALL {
            try_cut(&lab, &recording, end, loss, 1).expect("with every sync nothing is lost");
        }
        for forgotten in needed {
            let mut careless = recording.clone();
            careless.events.retain(|event| !(matches!(event.what, What::Sync(_)) && event.path.contains(forgotten)));
            let end = careless.events.len();
            assert!(end < recording.events.len(), "{}: {forgotten} is never synced", scenario.name);
            lab.put(&careless.after_cut(end, Loss::Everything, 0));
            let announced = notes(&recording.after_cut(recording.events.len(), Loss::Everything, 0)).expect("no fork");
            let found = check(&lab, &careless.said_before(end), &announced);
            assert!(found.is_err(), "{}: syncs of {forgotten} were left out, and nothing was missed", scenario.name);
        }
    }
}
