//! What must hold after every interruption.

use std::collections::BTreeMap;

use serde_json::Value;
use syncra_tests::crash::Disk;

use crate::lab::Lab;
use crate::state::State;

/// Signed notes by log and size.
pub(crate) type Notes = BTreeMap<(String, u64), String>;

/// Every note in the journal of a home.
///
/// The journal holds a note before anybody sees it, so whatever this device ever announced is among them.
pub(crate) fn notes(disk: &Disk) -> Result<Notes, String> {
    let mut notes = Notes::new();
    for (path, bytes) in disk.files() {
        if path.starts_with("home/journal/") {
            for note in notes_in(bytes) {
                add(&mut notes, note)?;
            }
        }
    }
    Ok(notes)
}

fn add(notes: &mut Notes, (origin, size, root): (String, u64, String)) -> Result<(), String> {
    let key = (origin, size);
    match notes.get(&key) {
        Some(known) if *known != root => Err(format!("two notes of {} at size {}: {known} and {root}", key.0, key.1)),
        _ => {
            notes.insert(key, root);
            Ok(())
        }
    }
}

/// Notes are text within the frames: origin, size and root on a line each, then an empty one.
fn notes_in(bytes: &[u8]) -> Vec<(String, u64, String)> {
    let mut notes = Vec::new();
    for at in 0..bytes.len() {
        let Some(rest) = bytes.get(at..).filter(|rest| rest.starts_with(b"syncra/")) else { continue };
        let Some(end) = rest.windows(2).position(|window| window == b"\n\n") else { continue };
        let Ok(text) = std::str::from_utf8(&rest[..end]) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        if let [origin, size, root] = lines.as_slice()
            && let Ok(size) = size.parse()
        {
            notes.push(((*origin).to_owned(), size, (*root).to_owned()));
        }
    }
    notes
}

/// Checks the home as it is now, after an interruption: `said` is what had reached stdout, `announced` the notes that
/// were on the medium and so may have left the process.
///
/// # Errors
/// The first thing that does not hold.
pub(crate) fn check(lab: &Lab, said: &str, announced: &Notes) -> Result<(), String> {
    let (before, after) = lab.states.as_ref().expect("it was recorded");
    // It opens, and is as it was before the command or as it is after it.
    let found = State::of(lab)?;
    let acknowledged = said.ends_with('\n').then(|| data(said)).transpose()?;
    let between = lab.scenario.in_steps && found.is_between(before, after);
    if found != *after && (acknowledged.is_some() || (found != *before && !between)) {
        return Err(format!("{found:?} after `{said}`"));
    }
    let rebuilds = well(lab)?;
    get_what_is_here(lab)?;
    let opened = notes(&Disk::read(lab.base()))?;
    contains(&opened, announced)?;
    // The same command again converges.
    let again = lab.ask(lab.scenario.command)?;
    if let Some(first) = acknowledged.map(|mut data| data["release_id"].take()).filter(|first| !first.is_null())
        && first != again["release_id"]
    {
        return Err(format!("published {first} and then {}", again["release_id"]));
    }
    let found = State::of(lab)?;
    if found != *after {
        return Err(format!("in the end: {found:?}"));
    }
    contains(&notes(&Disk::read(lab.base()))?, &opened)?;
    get_what_is_here(lab)?;
    match well(lab)? {
        now if now == rebuilds => Ok(()),
        now => Err(format!("the index was built anew again: {rebuilds} times, then {now} times")),
    }
}

/// Everything there verifies, and the home is well. Tells how often the index was built anew.
fn well(lab: &Lab) -> Result<u64, String> {
    drop(lab.ask(&["verify"])?);
    let doctor = lab.ask(&["doctor", "--offline"])?;
    doctor["index_rebuilds"].as_u64().ok_or_else(|| "no number of rebuilds".to_owned())
}

fn data(said: &str) -> Result<Value, String> {
    let mut envelope: Value = serde_json::from_str(said).map_err(|error| format!("{error}: {said}"))?;
    Ok(envelope["data"].take())
}

/// What has to be here at every moment can be written out whole.
fn get_what_is_here(lab: &Lab) -> Result<(), String> {
    match lab.scenario.kept {
        Some(release) => get(lab, release),
        // What is known may be somewhere else yet.
        None if lab.scenario.in_steps => Ok(()),
        None => get_all(lab),
    }
}

/// Each file is checked against its hash on the way.
fn get(lab: &Lab, release: &str) -> Result<(), String> {
    drop(lab.ask(&["get", release, "-o", "fetched"])?);
    std::fs::remove_dir_all(lab.home.work().join("fetched")).map_err(|error| error.to_string())
}

/// Every release that is known can be fetched whole.
pub(crate) fn get_all(lab: &Lab) -> Result<(), String> {
    for package in lab.ask(&["list"])?["packages"].as_array().into_iter().flatten() {
        let reference = package["ref"].as_str().ok_or("no `ref` in the list")?;
        for release in lab.ask(&["info", reference])?["releases"].as_array().into_iter().flatten() {
            // By its id: one that was yanked is held all the same.
            let release = release["release_id"].as_str().ok_or("no `release_id`")?;
            get(lab, &format!("{reference}@r:{release}"))?;
        }
    }
    Ok(())
}

fn contains(held: &Notes, announced: &Notes) -> Result<(), String> {
    for (key, root) in announced {
        // Superseded notes may be compacted away; a newer one must then be there.
        let newest = held.range((key.0.clone(), key.1)..=(key.0.clone(), u64::MAX)).next();
        match (held.get(key), newest) {
            (Some(found), _) if found != root => return Err(format!("{} forked at size {}", key.0, key.1)),
            (None, None) => return Err(format!("the head of {} at size {} is lost", key.0, key.1)),
            _ => {}
        }
    }
    Ok(())
}
