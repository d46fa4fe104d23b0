//! Whether what is installed is what was published: pointer, generations, the files of every release that a kept one names,
//! and whether the blobs are here that they were unpacked from.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use syncra_protocol::id::{BlobId, PackageId, ReleaseId};

use super::{Parts, redact, release};
use crate::installed::{self, Condition, Depth, Fault, Generation, InstalledError, Slot};
use crate::progress::Progress;

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Integrity {
    /// Releases whose files were looked at.
    pub n_releases: usize,
    /// Bytes of files that were hashed.
    pub hashed_bytes: u64,
    /// Why it is not known what is installed.
    pub current: Option<InstalledError>,
    /// Other generations that are kept and cannot be read.
    pub generations: Vec<(u64, InstalledError)>,
    /// Releases whose files are not what was published.
    pub damaged: Vec<Damaged>,
    /// Installed releases of others whose blobs are not all here: they work, but can neither be given to anybody nor unpacked
    /// again.
    pub without_content: Vec<Slot>,
}

/// A release whose files are not what was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its package.
    pub package: PackageId,
    /// What the generation says of it.
    pub slot: Slot,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl Integrity {
    /// Whether anything is wrong.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.current.is_none() && self.generations.is_empty() && self.damaged.is_empty()
    }
}

/// Looks at what is installed of these packages, or at all that is installed.
///
/// # Errors
/// [`InstalledError::Read`]: the directory of the generations.
pub async fn examine(
    parts: &Parts,
    packages: Option<&[PackageId]>,
    depth: Depth,
    progress: &Progress,
) -> Result<Integrity, InstalledError> {
    let Condition { current, kept } = parts.installed.condition()?;
    let mut found = Integrity::default();
    let current = current.unwrap_or_else(|error| {
        found.current = Some(error);
        Generation::default()
    });
    let in_force: HashSet<ReleaseId> = current.packages.values().map(|slot| slot.release).collect();
    let mut releases: BTreeMap<ReleaseId, (PackageId, Slot)> = BTreeMap::new();
    for (number, read) in kept {
        match read {
            Ok(generation) => {
                let named = generation.packages.into_iter().map(|(package, slot)| (slot.release, (package, slot)));
                releases.extend(named.filter(|(_, (package, _))| packages.is_none_or(|some| some.contains(package))));
            }
            // The pointer's error says the same.
            Err(_) if found.current.is_some() && parts.installed.current_number().is_ok_and(|at| at == number) => {}
            Err(error) => found.generations.push((number, error)),
        }
    }
    let total = releases.values().map(|(_, slot)| slot.total_bytes).sum();
    for (package, slot) in releases.into_values() {
        let is_in_force = in_force.contains(&slot.release);
        // Whoever goes back to it unpacks it again.
        if !is_in_force && !parts.installed.has(slot.release) {
            continue;
        }
        found.n_releases += 1;
        let (faults, bytes) = faults(parts, &slot, depth, (found.hashed_bytes, total), progress).await;
        found.hashed_bytes += bytes;
        if is_in_force && !is_held(parts, package, &slot).await {
            found.without_content.push(slot.clone());
        }
        if !faults.is_empty() {
            found.damaged.push(Damaged { package, slot, faults });
        }
    }
    Ok(found)
}

/// What is wrong with the files of a release, and how many bytes were hashed for that. Of `total` bytes `done` were before.
pub(super) async fn faults(
    parts: &Parts,
    slot: &Slot,
    depth: Depth,
    (done, total): (u64, u64),
    progress: &Progress,
) -> (Vec<Fault>, u64) {
    // Without its directories it is only known whether something is wrong, not what.
    let index = match parts.blobs().await {
        Ok(blobs) => release::content(blobs, slot.content_root).await.ok(),
        Err(_) => None,
    };
    let index = index.filter(|index| index.tree_id() == slot.tree_id);
    let (dir, slot, progress) = (parts.installed.path_of(slot.release), slot.clone(), progress.clone());
    let hashed = Arc::new(AtomicU64::new(0));
    let read = {
        let hashed = Arc::clone(&hashed);
        move |bytes| {
            let so_far = done + bytes + hashed.fetch_add(bytes, Ordering::Relaxed);
            progress.bytes("installed", so_far, Some(total));
        }
    };
    let look = move || installed::examine(&dir, &slot, index.as_ref(), depth, read);
    let faults = tokio::task::spawn_blocking(look).await;
    let faults = faults.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    (faults, hashed.load(Ordering::Relaxed))
}

/// Whether all blobs of an installed release are here, or need not be: what is missing of own ones the look at content tells,
/// and what was redacted is given to nobody.
pub(super) async fn is_held(parts: &Parts, package: PackageId, slot: &Slot) -> bool {
    let root = BlobId::from(slot.content_root);
    let is_own = parts.histories.journal().truth().own_roots().any(|(own, _)| *own == slot.content_root);
    if is_own || redact::refused_among(&parts.histories, [root]).contains_key(&root) {
        return true;
    }
    let Ok(blobs) = parts.blobs().await else { return true };
    let history = parts.histories.package(package).ok().flatten();
    let manifest = history.and_then(|history| Some(history.state.releases.get(&slot.release)?.release.manifest));
    let has_manifest = match manifest {
        Some(manifest) => blobs.has(manifest).await.unwrap_or(true),
        None => true,
    };
    has_manifest && blobs.missing(root).await.is_ok_and(|missing| missing.is_nothing())
}

/// Who an installed release is, for people.
#[must_use]
pub fn named(slot: &Slot) -> String {
    format!("{}@{}", slot.reference, slot.version)
}

/// What brings the content of an installed release here again, and changes nothing else.
#[must_use]
pub fn fetches(slot: &Slot) -> String {
    format!("`syncra get {} -o DIR` fetches it from whoever has it and is connected", named(slot))
}
