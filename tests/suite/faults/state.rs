//! What a home tells: compared before, between and after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lab::Lab;

/// What people and engines see of a home, without what differs from trial to trial (keys, times, ids of first entries).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Every package in the list: its name and versions.
    packages: Vec<(String, Vec<String>)>,
    /// What an engine finds: name and version of each package, whose files are as they were published.
    installed: Vec<(String, String)>,
    /// What the scenario looks at besides.
    also: Value,
}

impl State {
    /// Asks and looks.
    ///
    /// # Errors
    /// What is not whole, or what a command says.
    pub(crate) fn of(lab: &Lab) -> Result<Self, String> {
        // Before any command: nothing but the files, as an engine finds them after a crash.
        let installed = installed(lab)?;
        let list = lab.ask(&["list"])?;
        let packages = list["packages"].as_array().into_iter().flatten().map(|package| {
            let versions = package["versions"].as_array().into_iter().flatten();
            let versions = versions.filter_map(Value::as_str).map(str::to_owned).collect();
            (package["name"].as_str().unwrap_or_default().to_owned(), versions)
        });
        let also = match lab.scenario.also {
            Some((args, pointer)) => lab.ask(args)?.pointer(pointer).cloned().ok_or(pointer)?,
            None => Value::Null,
        };
        Ok(Self { packages: packages.collect(), installed, also })
    }

    /// Whether the list and the installed files, each for itself, are as in one of two states, or the list is on its way:
    /// a history of several logs comes log by log, and until the last is there the package has no name or no release.
    pub(crate) fn is_between(&self, before: &Self, after: &Self) -> bool {
        let either = [before, after];
        let is_begun = |(name, versions): &(String, Vec<String>)| {
            versions.is_empty() && (name.is_empty() || after.packages.iter().any(|(other, _)| other == name))
        };
        let (old, new): (Vec<_>, Vec<_>) = self.packages.iter().partition(|package| before.packages.contains(package));
        let is_coming = old.len() == before.packages.len()
            && self.packages.len() <= after.packages.len()
            && new.into_iter().all(is_begun);
        (is_coming || either.iter().any(|state| state.packages == self.packages))
            && either.iter().any(|state| state.installed == self.installed)
    }
}

/// Follows the pointer as `docs/spec/installed.md` says, and compares every file with what was published.
fn installed(lab: &Lab) -> Result<Vec<(String, String)>, String> {
    let dir = lab.home.path().join("installed");
    every_release_is_whole(lab, &dir.join("store"))?;
    let number = match fs::read_to_string(dir.join("current")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        number => number.map_err(|error| format!("the pointer cannot be read: {error}"))?,
    };
    let number = number.trim_end().parse::<u64>().map_err(|_| format!("the pointer is `{number}`"))?;
    if number == 0 {
        return Ok(Vec::new());
    }
    let generation = fs::read(dir.join("generations").join(number.to_string()));
    let generation = generation.map_err(|error| format!("generation {number} cannot be read: {error}"))?;
    let generation: Value = serde_json::from_slice(&generation).map_err(|error| format!("{number}: {error}"))?;
    let mut found = Vec::new();
    for package in generation["packages"].as_array().into_iter().flatten() {
        let text = |field: &str| package[field].as_str().ok_or_else(|| format!("no `{field}` in {number}"));
        let (path, version) = (dir.join(text("path")?), text("version")?);
        let published = format!("lamp-{}", version.split('.').next().unwrap_or_default());
        if tree(&path)? != tree(&lab.home.work().join(published))? {
            return Err(format!("the files of {version} in {} are not those that were published", path.display()));
        }
        let name = text("ref")?.rsplit('/').next().unwrap_or_default().to_owned();
        found.push((name, version.to_owned()));
    }
    Ok(found)
}

/// Whatever has a name in the store is whole, whether or not a generation names it: it is taken for unpacked.
fn every_release_is_whole(lab: &Lab, store: &Path) -> Result<(), String> {
    for entry in fs::read_dir(store).into_iter().flatten() {
        let path = entry.map_err(|error| error.to_string())?.path();
        let found = tree(&path)?;
        let is = |published: &str| tree(&lab.home.work().join(published)).is_ok_and(|files| files == found);
        if !["lamp-1", "lamp-2"].into_iter().any(is) {
            return Err(format!("{} is no whole release", path.display()));
        }
    }
    Ok(())
}

/// The files of a flat directory.
fn tree(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let read = || -> std::io::Result<BTreeMap<String, Vec<u8>>> {
        let file = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
        };
        fs::read_dir(dir)?.map(file).collect()
    };
    read().map_err(|error| format!("{}: {error}", dir.display()))
}
