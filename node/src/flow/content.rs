//! Making the blobs of a release local.

use std::sync::Arc;

use syncra_protocol::entry::Release;
use syncra_protocol::id::{BlobId, PackageId, ReleaseId};

use super::Parts;
use crate::blobs::{self, BlobError, Pins};
use crate::history::{History, LoadError};
use crate::progress::Progress;

/// What it took to have a release here.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes that came from peers.
    pub fetched_bytes: u64,
    /// Bytes that were here already.
    pub reused_bytes: u64,
    /// Who sent how many bytes.
    pub sources: Vec<(String, u64)>,
}

impl Fetched {
    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.fetched_bytes += other.fetched_bytes;
        self.reused_bytes += other.reused_bytes;
        for (peer, bytes) in other.sources {
            match self.sources.iter_mut().find(|(known, _)| *known == peer) {
                Some((_, sum)) => *sum += bytes,
                None => self.sources.push((peer, bytes)),
            }
        }
        self
    }
}

/// Why a release or a history is not here.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Blobs are missing, and nobody was asked or had them.
    #[error("{n_missing} parts of version {version} are not held here")]
    NotHeld {
        /// The version.
        version: String,
        /// Blobs of which something is missing.
        n_missing: usize,
    },
    /// Nothing is known of the package.
    #[error("nothing is known of package {0}")]
    UnknownPackage(PackageId),
    /// The package's history does not hold the release.
    #[error("the history of the package lacks release {0}")]
    UnknownRelease(ReleaseId),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    Open(#[from] blobs::OpenError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl ContentError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(
            self,
            Self::Blob(BlobError::StorageFull { .. })
                | Self::Open(blobs::OpenError::Blob(BlobError::StorageFull { .. }))
        )
    }
}

/// Makes all blobs of a release local, synced and kept by `pins`, whether or not they were here before.
///
/// # Errors
/// [`ContentError`].
pub async fn ensure(
    parts: &Parts,
    release: &Release,
    pins: &Pins,
    progress: &Progress,
) -> Result<Fetched, ContentError> {
    let blobs = parts.blobs().await?;
    let root = BlobId::from(release.content_root);
    // Pinned before looked at, so that nothing found here goes meanwhile.
    pins.add_all([root, release.manifest].into_iter().chain(release.note)).await;
    if blobs.has(root).await? {
        pins.add_all(blobs.children(root).await?).await;
    }
    let missing = blobs.missing(root).await?;
    let n_missing = missing.children.len() + usize::from(!missing.root.is_empty());
    if n_missing > 0 {
        return Err(ContentError::NotHeld { version: release.version.to_string(), n_missing });
    }
    progress.bytes("fetch", release.total_bytes, Some(release.total_bytes));
    Ok(Fetched { reused_bytes: release.total_bytes, ..Fetched::default() })
}

/// A package's history.
///
/// # Errors
/// [`ContentError::UnknownPackage`] and the like.
pub async fn history(parts: &Parts, package: PackageId) -> Result<Arc<History>, ContentError> {
    parts.histories.package(package)?.ok_or(ContentError::UnknownPackage(package))
}
