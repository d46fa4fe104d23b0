//! One release as files in a new directory: nothing is installed, nothing remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::id::ContentRoot;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::ContentIndex;

use super::Parts;
use super::release::{self, ReleaseError};
use super::unpack::{self, Durability, UnpackError};
use super::{content, seek};
use crate::blobs::{self, BlobError, Blobs};
use crate::history::LoadError;
use crate::progress::Progress;
use crate::sync::fetch::{FetchError, Want};

mod stage;

use stage::Stage;

/// What to write out.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A release of a verified history: its content must be what its entry declares.
    Release(Box<Release>),
    /// Content by its hash alone, which nobody vouches for.
    Content(ContentRoot),
}

impl Wanted {
    const fn root(&self) -> ContentRoot {
        match self {
            Self::Release(release) => release.content_root,
            Self::Content(root) => *root,
        }
    }
}

/// What was written, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// Files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Bytes that had to be fetched.
    pub fetched_bytes: u64,
    /// Bytes of content that were held before.
    pub reused_bytes: u64,
    /// Who sent how many bytes.
    pub sources: Vec<(String, u64)>,
}

/// Content that is completely held, and what that took.
#[derive(Debug)]
pub struct Held {
    /// Files and segments, checked against what was declared.
    pub index: Arc<ContentIndex>,
    /// Bytes that were fetched for it.
    pub fetched_bytes: u64,
    /// Who sent how many bytes.
    pub sources: Vec<(String, u64)>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// The content is not held, or not what it should be.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Parts of the content are neither here nor to be had.
    #[error("{missing} of {blobs} blobs of the release are not held here")]
    Incomplete {
        /// Blobs that are missing.
        missing: usize,
        /// Blobs of the release.
        blobs: usize,
    },
    /// The place is taken.
    #[error("`{}` exists and is not an empty directory", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// A file is not what the release declares.
    #[error("the file `{path}` is not the one that was declared")]
    WrongFile {
        /// The file.
        path: EntryPath,
    },
    /// Writing.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Fetching from peers.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<BlobError> for GetError {
    fn from(error: BlobError) -> Self {
        Self::Release(error.into())
    }
}

/// Writes the files of `wanted` into `dir`, which must be absent or empty. They appear all at once or not at all. A fetch
/// that gets nothing for `patience` gives up.
///
/// # Errors
/// [`GetError`]; `dir` is then as it was.
pub async fn get(
    parts: &Parts,
    wanted: &Wanted,
    dir: &Path,
    patience: Duration,
    progress: &Progress,
) -> Result<Got, GetError> {
    check_free(dir)?;
    let held = obtain(parts, wanted, patience, progress).await?;
    let total = held.index.declared();
    let failed = |source| UnpackError::Write { path: dir.to_owned(), source };
    // Removed again, whatever happens to this call, unless it appears.
    let stage = Stage::beside(dir).map_err(failed)?;
    let written = std::sync::atomic::AtomicU64::new(0);
    let stored: u64 = held.index.segments().iter().map(|segment| u64::from(segment.size)).sum();
    let wrote = |bytes| {
        let done = bytes + written.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        progress.bytes("write", done, Some(stored));
    };
    let blobs = parts.blobs().await?;
    unpack::unpack(blobs, Arc::clone(&held.index), stage.path(), Durability::Cached, wrote).await?;
    progress.items("check", 0, None);
    if let Some(path) = unpack::first_wrong_file(Arc::clone(&held.index), stage.path()).await? {
        return Err(GetError::WrongFile { path });
    }
    stage.appear(dir).map_err(failed)?;
    Ok(Got {
        n_files: total.n_files.into(),
        total_bytes: total.total_bytes,
        fetched_bytes: held.fetched_bytes,
        reused_bytes: held.index.stored_bytes().saturating_sub(held.fetched_bytes),
        sources: held.sources,
    })
}

/// Makes sure that all content of `wanted` is held: from this disk, else from peers.
///
/// # Errors
/// [`GetError`].
pub async fn obtain(parts: &Parts, wanted: &Wanted, patience: Duration, progress: &Progress) -> Result<Held, GetError> {
    let blobs = parts.blobs().await?;
    let Some(online) = parts.online() else {
        let index = local(blobs, wanted).await?;
        return Ok(Held { index: Arc::new(index), fetched_bytes: 0, sources: Vec::new() });
    };
    let (key, older) = content::context(parts, wanted.root())?;
    let want = match wanted {
        Wanted::Release(release) => Want::of(release, older),
        Wanted::Content(root) => Want { root: *root, declared: None, beside: Vec::new(), older: Vec::new() },
    };
    let pins = blobs.pins();
    let cost = Box::pin(seek::content(parts, &online.net, &want, key, &pins, patience, progress)).await?;
    let index = local(blobs, wanted).await?;
    let sources = cost.sources.iter().map(|(peer, bytes)| (peer.to_string(), *bytes)).collect();
    Ok(Held { index: Arc::new(index), fetched_bytes: cost.fetched_bytes, sources })
}

/// The content of `wanted` as far as this device has it, which must be all of it.
///
/// # Errors
/// [`GetError::Incomplete`], [`GetError::Release`].
pub async fn local(blobs: &Blobs, wanted: &Wanted) -> Result<ContentIndex, GetError> {
    let index = match wanted {
        Wanted::Release(release) => release::verified_content(blobs, release).await?,
        Wanted::Content(root) => release::content(blobs, *root).await?,
    };
    let mut missing = 0;
    for segment in index.segments() {
        missing += usize::from(!blobs.has(segment.hash).await?);
    }
    match missing {
        0 => Ok(index),
        _ => Err(GetError::Incomplete { missing, blobs: index.segments().len() }),
    }
}

fn check_free(dir: &Path) -> Result<(), GetError> {
    let taken = || GetError::Taken { path: dir.to_owned() };
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(taken())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(taken()),
        Err(source) => Err(UnpackError::Write { path: dir.to_owned(), source }.into()),
    }
}
