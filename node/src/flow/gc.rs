//! Collection: removes what nothing needs, and nothing else.
//!
//! Alive are: content that only this device may hold, what was imported until the user lets it go, every release of every
//! kept generation, what is followed, all manifests and notes of known packages, and whatever a running flow has pinned; except what
//! its owners redacted. While any of these cannot be read, nothing is removed: an unknown need is not the absence of one.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{BlobId, ContentRoot, PackageId};

use super::{Parts, follow, redact};
use crate::blobs::{self, BlobError, Blobs, Freed};
use crate::durable::WriteError;
use crate::history::LoadError;
use crate::installed::{InstalledError, Leftovers};
use crate::journal::{self, ImportedRoot};
use crate::progress::Progress;

#[cfg(test)]
mod tests;

/// How to collect.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Only tell what would go.
    pub dry_run: bool,
    /// Let go what was imported, too, unless something else needs it.
    pub imported: bool,
}

/// What went, or would go.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Blobs, partial ones included.
    pub blobs: Freed,
    /// Unpacked releases that no kept generation names, old generations, unfinished installs.
    pub leftovers: Leftovers,
    /// Bytes of their files.
    pub leftover_bytes: u64,
    /// Releases whose content stays because it was imported.
    pub n_imported: usize,
}

/// Why nothing, or not everything, was collected. Nothing that is needed was removed.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// What is installed cannot be read.
    #[error(transparent)]
    Installed(#[from] InstalledError),
    /// A history cannot be read, so what it needs is unknown.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The content of an own release is gone or damaged: what remains of it must not go too.
    #[error("the content {root} of an own release cannot be read")]
    OwnContent {
        /// Its root.
        root: ContentRoot,
        /// What is wrong.
        source: BlobError,
    },
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// The disk refuses.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What was imported cannot be let go.
    #[error(transparent)]
    Journal(#[from] journal::AppendError),
}

/// Removes what nothing needs. Works on a full disk.
///
/// # Errors
/// [`GcError`].
pub async fn gc(parts: &Parts, mode: Mode, progress: &Progress) -> Result<Collected, GcError> {
    let Mode { dry_run, imported } = mode;
    if !dry_run {
        parts.relieve_full_disk();
        if imported {
            let_imported_go(parts).await?;
        }
    }
    // Held to the end: an install between unpacking and its generation has the turn too.
    let turn = parts.installed.turn().await;
    let leftovers = parts.installed.leftovers()?;
    let leftover_bytes = leftovers.releases.iter().chain(&leftovers.staging).map(|path| bytes_below(path)).sum();
    progress.items("mark", 0, None);
    let blobs = parts.blobs().await?;
    // From here on no new pins: what is live is worked out only now.
    let collection = blobs.collect().await;
    let kept = if imported { Vec::new() } else { imported_roots(parts).into_iter().map(|(root, _)| root).collect() };
    let n_imported = kept.len();
    let live = live(parts, blobs, kept).await?;
    if dry_run {
        let blobs = collection.measure(&live).await?;
        return Ok(Collected { blobs, leftovers, leftover_bytes, n_imported });
    }
    progress.items("sweep", 0, None);
    // Directories first: they need no database that may want space.
    let leftovers = turn.sweep()?;
    let blobs = collection.sweep(&live).await?;
    drop(turn);
    parts.home().ensure_reserve()?;
    Ok(Collected { blobs, leftovers, leftover_bytes, n_imported })
}

fn imported_roots(parts: &Parts) -> Vec<(ContentRoot, PackageId)> {
    let truth = parts.histories.journal().truth();
    truth.imported_roots().map(|(root, package)| (*root, *package)).collect()
}

async fn let_imported_go(parts: &Parts) -> Result<(), GcError> {
    for (content_root, package) in imported_roots(parts) {
        parts.histories.journal().append(ImportedRoot { content_root, package, kept: false }).await?;
    }
    Ok(())
}

/// Every blob that something needs: `imported`, for one.
async fn live(parts: &Parts, blobs: &Blobs, imported: Vec<ContentRoot>) -> Result<HashSet<BlobId>, GcError> {
    let mut live = HashSet::new();
    let mut fetchable: BTreeSet<ContentRoot> = imported.into_iter().collect();
    for generation in parts.installed.kept()?.values() {
        fetchable.extend(generation.packages.values().map(|slot| slot.content_root));
    }
    let current = parts.installed.current()?;
    // Redacted bytes are let go even where only this device has them, and where they are installed: the files stay. Only what is
    // named itself: the same bytes may be a part of something else, which whoever names them has no say in.
    let refused = redact::refused(&parts.histories);
    for package in parts.histories.packages() {
        let Some(history) = parts.histories.package(package)? else { continue };
        live.extend(words(&history.state).filter(|blob| !refused.contains_key(blob)));
        if let Some(followed) = follow::get(parts, package) {
            fetchable.extend(follow::content_root(&history.state, &followed, current.packages.get(&package)));
        }
    }
    let own: Vec<ContentRoot> = parts.histories.journal().truth().own_roots().map(|(root, _)| *root).collect();
    let is_given = |root: &ContentRoot| !refused.contains_key(&BlobId::from(*root));
    fetchable.retain(is_given);
    for root in own.into_iter().filter(is_given) {
        fetchable.remove(&root);
        let blob = BlobId::from(root);
        live.insert(blob);
        live.extend(blobs.children(blob).await.map_err(|source| GcError::OwnContent { root, source })?);
    }
    for root in fetchable.into_iter().map(BlobId::from) {
        live.insert(root);
        match blobs.children(root).await {
            Ok(children) => live.extend(children),
            // Without the root nobody knows its parts; they are fetched again with it.
            Err(BlobError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(live)
}

/// Manifests, notes and reasons: small, and what people read about releases they do not have.
fn words(state: &PackageState) -> impl Iterator<Item = BlobId> {
    let of_releases = state.releases.values().flat_map(|published| {
        let release = &published.release;
        [Some(release.manifest), release.note].into_iter().flatten()
    });
    of_releases.chain(state.yanked.values().filter_map(|yank| yank.reason))
}

/// Bytes of all files below a path; what cannot be read counts nothing.
fn bytes_below(path: &Path) -> u64 {
    let Ok(found) = std::fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}
