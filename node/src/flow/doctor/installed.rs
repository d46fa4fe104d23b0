//! What is installed: the pointer, the generations, and the files of every release that they name.

use std::collections::BTreeSet;

use super::content::few;
use super::{Care, Check, error_chain};
use crate::flow::Parts;
use crate::flow::content::ContentError;
use crate::flow::install::{self, InstallError};
use crate::flow::integrity::{self, Damaged, Integrity};
use crate::installed::{Depth, InstalledError, Recovered, Slot};
use crate::progress::Progress;
use crate::sync::fetch::PATIENCE;

const CHECK_DISK: &str = "check the disk, and the directory's owner and mode";

/// What was found and done, for one line.
#[derive(Default)]
struct Told {
    mended: Vec<String>,
    bad: Vec<String>,
    fixes: BTreeSet<String>,
}

pub(super) async fn check(parts: &Parts, care: Care, progress: &Progress) -> Check {
    let mut told = Told::default();
    if care.repair {
        told.recover(parts).await;
    }
    let depth = if care.quick { Depth::Names } else { Depth::Bytes };
    let found = match integrity::examine(parts, None, depth, progress).await {
        Ok(found) => found,
        Err(error) => return Check::bad("installed", error_chain(&error), CHECK_DISK),
    };
    told.generations(&found);
    for damaged in &found.damaged {
        match care.repair {
            true => told.mend(parts, damaged, progress).await,
            false => told.damaged(&found, damaged),
        }
    }
    told.into_check(parts, &found, care)
}

impl Told {
    fn bad(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.bad.push(what.into());
        self.fixes.insert(fix.into());
    }

    /// Goes back to what is whole.
    async fn recover(&mut self, parts: &Parts) {
        let found = parts.installed.condition();
        let recovered = parts.installed.turn().await.recover();
        match (recovered, found) {
            (Ok(None), _) => {}
            (Ok(Some(recovered)), found) => {
                let damage = found.ok().and_then(|found| found.current.err());
                self.mended.extend(damage.map(|error| error_chain(&error)));
                self.mended.push(gone_back(&recovered));
            }
            // What it is stands there below.
            (Err(error), _) => {
                let fix = fix_of(&error);
                self.bad(error_chain(&error), fix);
            }
        }
    }

    /// What is wrong with pointer and generations, or still is.
    fn generations(&mut self, found: &Integrity) {
        let others = found.generations.iter().map(|(_, error)| error);
        for error in found.current.iter().chain(others) {
            self.bad(error_chain(error), fix_of(error));
        }
    }

    fn damaged(&mut self, found: &Integrity, damaged: &Damaged) {
        let slot = &damaged.slot;
        let is_here = found.without_content.iter().all(|without| without.release != slot.release);
        let mend = "`syncra doctor --repair` unpacks it again and sets aside what is there";
        let fix = match is_here {
            true => mend.to_owned(),
            false => format!("{}; then {mend}", integrity::fetches(slot)),
        };
        self.bad(faults(damaged), fix);
    }

    async fn mend(&mut self, parts: &Parts, damaged: &Damaged, progress: &Progress) {
        let Damaged { package, slot, .. } = damaged;
        match Box::pin(install::mend(parts, *package, slot, PATIENCE, progress)).await {
            Ok(mended) => self.mended.push(format!("{}; {mended}", faults(damaged))),
            Err(error) => {
                let fix = fix_of_mending(&error, slot);
                self.bad(format!("{}; it could not be unpacked again: {}", faults(damaged), error_chain(&error)), fix);
            }
        }
    }

    fn into_check(self, parts: &Parts, found: &Integrity, care: Care) -> Check {
        let mut notes: Vec<String> = Vec::new();
        for slot in &found.without_content {
            let name = integrity::named(slot);
            notes.push(format!(
                "{name} works, but the content that it was unpacked from is not all here: {}",
                integrity::fetches(slot)
            ));
        }
        let n_aside = parts.installed.salvaged().map_or(0, |aside| aside.len());
        if n_aside > 0 {
            let dir = install::text_of(&parts.layout().installed_salvage());
            notes.push(format!("{n_aside} things were set aside in {dir}: delete what nobody misses"));
        }
        let with_notes = |detail: String| [detail].into_iter().chain(notes).collect::<Vec<_>>().join("; ");
        if !self.bad.is_empty() {
            let all: Vec<String> = self.bad.into_iter().chain(self.mended).collect();
            return Check::bad("installed", few(&all), self.fixes.into_iter().collect::<Vec<_>>().join("; "));
        }
        if !self.mended.is_empty() {
            return Check::mended("installed", with_notes(self.mended.join("; ")));
        }
        let how = if care.quick { "whole, their bytes not read" } else { "byte for byte what was published" };
        Check::good("installed", with_notes(format!("{} unpacked releases are {how}", found.n_releases)))
    }
}

fn faults(damaged: &Damaged) -> String {
    let faults: Vec<String> = damaged.faults.iter().map(ToString::to_string).collect();
    format!("{}: {}", integrity::named(&damaged.slot), few(&faults))
}

fn gone_back(recovered: &Recovered) -> String {
    let mut told = match &recovered.back_to {
        Some(generation) if generation.generation == 0 => {
            "no generation is whole, so nothing is installed any more".to_owned()
        }
        Some(generation) => format!("generation {} is in force", generation.generation),
        None => "a generation that is not in force was damaged".to_owned(),
    };
    for aside in &recovered.aside {
        told.push_str(&format!("; what is damaged is in {}", install::text_of(aside)));
    }
    told
}

fn fix_of(error: &InstalledError) -> &'static str {
    match error {
        InstalledError::Damaged { .. } | InstalledError::NoGeneration(_) => {
            "`syncra doctor --repair` goes back to the newest generation that is whole, and sets aside what is damaged"
        }
        InstalledError::SalvageFull { .. } => "look through that directory and delete what nobody misses",
        InstalledError::Read { .. } | InstalledError::Write(_) => CHECK_DISK,
    }
}

fn fix_of_mending(error: &InstallError, slot: &Slot) -> String {
    match error {
        InstallError::Installed(error) => fix_of(error).to_owned(),
        error if error.is_disk_full() => "free some space, also by `syncra gc`: it works on a full disk".to_owned(),
        InstallError::Content(
            ContentError::NotHeld { .. } | ContentError::UnknownPackage(_) | ContentError::UnknownRelease(_),
        ) => {
            format!("{}; then `syncra doctor --repair` again", integrity::fetches(slot))
        }
        InstallError::WrongFile { .. } | InstallError::Release(_) | InstallError::Unpack(_) | InstallError::Blob(_) => {
            "mend its content first, as `syncra verify` says; then `syncra doctor --repair` again".to_owned()
        }
        _ => {
            let name = &slot.reference;
            format!("`syncra update {name}` takes another release, `syncra remove {name}` none")
        }
    }
}
