//! What must hold after every interruption.

use std::collections::BTreeMap;

use serde_json::Value;
use syncra_tests::crash::Disk;

use crate::lab::Lab;

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
    // It opens, with everything that was complete in it.
    verify(lab)?;
    let opened = notes(&Disk::read(lab.base()))?;
    contains(&opened, announced)?;
    let acknowledged = said.ends_with('\n').then(|| data(said)).transpose()?;
    if let Some(data) = &acknowledged {
        is_there(lab, data)?;
        has_versions(lab)?;
    }
    // The same command again converges.
    let again = lab.ask(lab.scenario.command)?;
    if let Some(first) = &acknowledged
        && first["release_id"] != again["release_id"]
    {
        return Err(format!("published {} and then {}", first["release_id"], again["release_id"]));
    }
    is_there(lab, &again)?;
    verify(lab)?;
    contains(&notes(&Disk::read(lab.base()))?, &opened)?;
    has_versions(lab)
}

/// `list` shows what there is once the command is done: one package, these versions.
fn has_versions(lab: &Lab) -> Result<(), String> {
    let packages = lab.ask(&["list"])?["packages"].take();
    let packages = packages.as_array().map(Vec::as_slice).unwrap_or_default();
    let versions = packages.iter().flat_map(|package| package["versions"].as_array().into_iter().flatten());
    let mut versions: Vec<&str> = versions.filter_map(Value::as_str).collect();
    versions.sort_unstable();
    if packages.len() != 1 || versions != lab.scenario.versions {
        return Err(format!("in the end there are {packages:?}"));
    }
    Ok(())
}

fn data(said: &str) -> Result<Value, String> {
    let mut envelope: Value = serde_json::from_str(said).map_err(|error| format!("{error}: {said}"))?;
    Ok(envelope["data"].take())
}

/// Every release that is known can be fetched whole: each file is checked against its hash on the way.
pub(crate) fn verify(lab: &Lab) -> Result<(), String> {
    for package in lab.ask(&["list"])?["packages"].as_array().into_iter().flatten() {
        let reference = package["ref"].as_str().ok_or("no `ref` in the list")?;
        for version in package["versions"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let release = format!("{reference}@{version}");
            drop(lab.ask(&["get", &release, "-o", "fetched"])?);
            std::fs::remove_dir_all(lab.home.work().join("fetched")).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// What a command answered is so.
fn is_there(lab: &Lab, answer: &Value) -> Result<(), String> {
    let published = answer["ref"].as_str().map(|reference| (reference, &answer["release_id"]));
    let imported = answer["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let imported = imported.iter().filter_map(|package| Some((package["ref"].as_str()?, &Value::Null)));
    for (package, release) in published.into_iter().chain(imported) {
        let info = lab.ask(&["info", package])?;
        let releases = info["releases"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !release.is_null() && releases.iter().all(|known| known["release_id"] != *release) {
            return Err(format!("{release} was acknowledged and is not there"));
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
