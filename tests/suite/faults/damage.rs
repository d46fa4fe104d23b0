//! Files that can be computed or fetched again are damaged: the answers stay the same.

use std::collections::BTreeMap;

use serde_json::Value;
use syncra_tests::crash::{Disk, Inode, Kind, Rng};

use crate::check::get_all;
use crate::lab::{Lab, first_seed, n_trials, report};
use crate::scenario::{self, Scenario};
use crate::state::State;

/// What is done to files.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Delete,
    Truncate,
    Flip,
    Zero,
}

impl Damage {
    const ALL: [Self; 4] = [Self::Delete, Self::Truncate, Self::Flip, Self::Zero];
}

#[test]
fn a_damaged_index_changes_no_answer() {
    try_damage("home/index", &scenario::SECOND_PUBLISH);
}

/// Of others' entries only the index knows where they are.
#[test]
fn a_damaged_index_changes_no_answer_about_packages_of_others() {
    try_damage("home/index", &scenario::UPDATE);
}

#[test]
fn a_damaged_blob_database_loses_no_release() {
    try_damage("home/blobs/blobs.db", &scenario::SECOND_PUBLISH);
}

/// Damages what is below `target`, asks everything, and asks again after what was mended.
fn try_damage(target: &'static str, scenario: &'static Scenario) {
    let mut lab = Lab::new(scenario);
    lab.ask(lab.scenario.command).expect("it publishes");
    lab.begin_here();
    let (whole, answers) = (Disk::read(lab.base()), answers(&lab).expect("answers"));
    let mut kinds = BTreeMap::new();
    let mut failures = Vec::new();
    for trial in 0..n_trials(24) {
        let mut rng = Rng::new(first_seed() + trial as u64);
        let damage = Damage::ALL[trial % Damage::ALL.len()];
        let mut disk = whole.clone();
        let path = harm(&mut disk, target, damage, &mut rng);
        lab.put(&disk);
        *kinds.entry(name(damage)).or_default() += 1;
        if let Err(why) = same_answers(&lab, &answers) {
            failures.push(format!("{damage:?} {path} (seed {trial}): {why}"));
        }
    }
    report(&format!("damage to {target}, {}", scenario.name), &kinds, &failures);
}

const fn name(damage: Damage) -> &'static str {
    match damage {
        Damage::Delete => "deleted",
        Damage::Truncate => "cut off",
        Damage::Flip => "a bit flipped",
        Damage::Zero => "zeros",
    }
}

/// Everything that is told about what there is.
fn answers(lab: &Lab) -> Result<Vec<Value>, String> {
    let list = lab.ask(&["list"])?;
    let package = list["packages"][0]["ref"].as_str().ok_or("no package")?.to_owned();
    // What is installed is not a matter of the index; it must not become one.
    drop(State::of(lab)?);
    let mut answers = vec![list];
    for verb in ["info", "log"] {
        answers.push(lab.ask(&[verb, &package])?);
    }
    if !answers[0]["packages"][0]["installed"].is_null() {
        answers.extend([lab.ask(&["why", &package])?, lab.ask(&["outdated"])?]);
    }
    Ok(answers)
}

fn same_answers(lab: &Lab, expected: &[Value]) -> Result<(), String> {
    let mut rebuilds = Vec::new();
    for round in ["first", "second"] {
        let found = answers(lab)?;
        if found != expected {
            return Err(format!("the {round} time the answers are {found:?}"));
        }
        get_all(lab)?;
        rebuilds.push(lab.ask(&["doctor", "--offline"])?["index_rebuilds"].clone());
    }
    if rebuilds[0] != rebuilds[1] {
        return Err(format!("the index was built anew again: {rebuilds:?}"));
    }
    // What was mended stays so: nothing is built anew once more.
    let again = lab.home.run(["list"]);
    if again.stderr.contains("built anew") || again.stderr.contains("set aside") {
        return Err(format!("mended again and again: {}", again.stderr));
    }
    Ok(())
}

/// Damages a file at or below `target`; tells which.
fn harm(disk: &mut Disk, target: &str, damage: Damage, rng: &mut Rng) -> String {
    let mut files = Vec::new();
    collect(disk, 0, "", &mut files);
    // One time of two the directory as a whole goes.
    if matches!(damage, Damage::Delete) && rng.below(2) == 0 {
        let (dir, name) = target.rsplit_once('/').expect("below the home");
        let parent = dir.split('/').fold(0, |at, part| disk.names(at)[part]);
        disk.names_mut(parent).remove(name);
        return target.to_owned();
    }
    files.retain(|(path, _, inode)| path.starts_with(target) && !disk.bytes(*inode).is_empty());
    let (path, dir, inode) = files[rng.below(files.len())].clone();
    if matches!(damage, Damage::Delete) {
        disk.names_mut(dir).retain(|_, child| *child != inode);
        return path;
    }
    let Kind::File(bytes) = &mut disk.nodes[inode].kind else { unreachable!("only files were collected") };
    let at = rng.below(bytes.len());
    match damage {
        Damage::Truncate => bytes.truncate(at),
        Damage::Flip => bytes[at] ^= 1 << rng.below(8),
        Damage::Zero => bytes[at..].fill(0),
        Damage::Delete => {}
    }
    path
}

fn collect(disk: &Disk, dir: Inode, prefix: &str, files: &mut Vec<(String, Inode, Inode)>) {
    for (name, child) in disk.names(dir) {
        let path = format!("{prefix}{name}");
        match disk.nodes[*child].kind {
            Kind::File(_) => files.push((path, dir, *child)),
            Kind::Dir(_) => collect(disk, *child, &format!("{path}/"), files),
        }
    }
}
