//! Making the blobs of a release local.

use std::sync::Arc;

use syncra_protocol::entry::Release;
use syncra_protocol::id::{BlobId, ContentRoot, PackageId, ReleaseId};
use syncra_protocol::record::ProviderKey;

use super::{Parts, redact, seek};
use crate::blobs::{self, BlobError};
use crate::history::{History, LoadError};
use crate::sync::fetch::{FetchError, Terms, Want};

/// Older releases that are looked at for what need not be fetched.
const OLDER_RELEASES: usize = 4;

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
    /// Blobs are missing, and this home is not online.
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
    /// Fetching from peers.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl ContentError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        match self {
            Self::Blob(error) => error.is_disk_full(),
            Self::Open(error) => error.is_disk_full(),
            Self::Fetch(error) => error.is_disk_full(),
            Self::Load(error) => error.is_disk_full(),
            Self::NotHeld { .. } | Self::UnknownPackage(_) | Self::UnknownRelease(_) => false,
        }
    }
}

/// Makes all blobs of a release local, synced and kept, whether or not they were here before.
///
/// # Errors
/// [`ContentError`].
pub async fn ensure(parts: &Parts, release: &Release, terms: Terms<'_>) -> Result<Fetched, ContentError> {
    let Terms { pins, progress, .. } = terms;
    let blobs = parts.blobs().await?;
    let root = BlobId::from(release.content_root);
    // Pinned before looked at, so that nothing found here goes meanwhile.
    pins.add_all([root, release.manifest].into_iter().chain(release.note)).await;
    if blobs.has(root).await? {
        pins.add_all(blobs.children(root).await?).await;
    }
    if let Some(online) = parts.online() {
        let (key, older) = context(parts, release.content_root)?;
        let want = Want::of(release, older);
        let cost = Box::pin(seek::content(parts, &online.net, &want, key, terms)).await?;
        let sources = cost.sources.iter().map(|(peer, bytes)| (peer.to_string(), *bytes)).collect();
        return Ok(Fetched { fetched_bytes: cost.fetched_bytes, reused_bytes: cost.reused_bytes, sources });
    }
    // A fetch asks the same.
    redact::ensure_given(&parts.histories, root).map_err(FetchError::from)?;
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

/// Under which key providers of content are looked for, and content of the same package's other releases, newest first:
/// some of that may be held and save bytes.
///
/// # Errors
/// [`LoadError`].
pub fn context(parts: &Parts, root: ContentRoot) -> Result<(ProviderKey, Vec<ContentRoot>), LoadError> {
    for package in parts.histories.packages() {
        let Some(history) = parts.histories.package(package)? else { continue };
        let mut releases: Vec<&Release> = history.state.releases.values().map(|known| &known.release).collect();
        if releases.iter().any(|release| release.content_root == root) {
            releases.sort_by(|a, b| b.version.cmp(&a.version));
            let others = releases.into_iter().map(|release| release.content_root).filter(|other| *other != root);
            return Ok((package.into(), others.take(OLDER_RELEASES).collect()));
        }
    }
    Ok((root.into(), Vec::new()))
}
