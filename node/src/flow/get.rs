//! One release as files in a new directory: nothing is installed, nothing remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::id::{BlobId, ContentRoot};
use syncra_protocol::tree::ContentIndex;

use super::Parts;
use super::checkout::{Base, BaseError};
use super::release::{self, ReleaseError};
use super::stage::{self, Stage};
use super::unpack::{self, Durability, UnpackError};
use super::{content, redact, seek};
use crate::blobs::{self, BlobError, Blobs};
use crate::history::LoadError;
use crate::progress::Progress;
use crate::sync::fetch::{self, Cost, FetchError, Terms, Want};

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
struct Held {
    /// Files and segments, checked against what was declared.
    index: Arc<ContentIndex>,
    cost: Cost,
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
    /// Writing.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Fetching from peers.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the directory is based on cannot be noted.
    #[error(transparent)]
    Base(#[from] BaseError),
}

impl From<BlobError> for GetError {
    fn from(error: BlobError) -> Self {
        Self::Release(error.into())
    }
}

/// Writes the files of `wanted` into `dir`, which must be absent or empty, while they are fetched. They appear all at once or
/// not at all, with a note of what they are based on if they are there to be worked on. A fetch that gets nothing for `patience`
/// gives up.
///
/// # Errors
/// [`GetError`]; `dir` is then as it was.
pub async fn get(
    parts: &Parts,
    wanted: &Wanted,
    (dir, base): (&Path, Option<&Base>),
    patience: Duration,
    progress: &Progress,
) -> Result<Got, GetError> {
    let failed = |source| UnpackError::Write { path: dir.to_owned(), source };
    if !stage::is_free(dir).map_err(failed)? {
        return Err(GetError::Taken { path: dir.to_owned() });
    }
    let blobs = parts.blobs().await?;
    // They keep what is here until it is written.
    let pins = blobs.pins();
    let (landing, mut landed) = fetch::landing();
    let (written, has_fetched) = (AtomicU64::new(0), AtomicBool::new(false));
    let wrote = |bytes| {
        let done = bytes + written.fetch_add(bytes, Ordering::Relaxed);
        // Until then the fetch tells how far it is.
        if has_fetched.load(Ordering::Relaxed) {
            progress.bytes("write", done, None);
        }
    };
    let fetching = async {
        // Dropped at the end: whoever waits for more then learns that it never comes.
        let landing = landing;
        let held = obtain(parts, wanted, Terms { pins: &pins, patience, progress, landing: &landing }).await;
        has_fetched.store(true, Ordering::Relaxed);
        held
    };
    let writing = async {
        // Nothing is made before there is something to write.
        landed.index().await.ok_or(UnpackError::NeverCame)?;
        // Removed again, whatever happens to this call, unless it appears.
        let stage = Stage::beside(dir).map_err(failed)?;
        unpack::unpack(blobs, landed, stage.path(), Durability::Cached, wrote).await?;
        Ok(stage)
    };
    let (Held { index, cost }, stage) = unpack::while_fetching(fetching, writing).await?;
    if let Some(base) = base {
        base.write(stage.path())?;
    }
    stage.appear(dir).map_err(failed)?;
    let total = index.declared();
    Ok(Got {
        n_files: total.n_files.into(),
        total_bytes: total.total_bytes,
        fetched_bytes: cost.fetched_bytes,
        reused_bytes: index.stored_bytes().saturating_sub(cost.fetched_bytes),
        sources: cost.sources.iter().map(|(peer, bytes)| (peer.to_string(), *bytes)).collect(),
    })
}

/// Makes sure that all content of `wanted` is held: from this disk, else from peers.
async fn obtain(parts: &Parts, wanted: &Wanted, terms: Terms<'_>) -> Result<Held, GetError> {
    let blobs = parts.blobs().await?;
    let Some(online) = parts.online() else {
        let root = BlobId::from(wanted.root());
        // A fetch asks the same.
        redact::ensure_given(&parts.histories, root).map_err(FetchError::from)?;
        terms.pins.add(root).await;
        if blobs.has(root).await? {
            terms.pins.add_all(blobs.children(root).await?).await;
        }
        let index = Arc::new(local(blobs, wanted).await?);
        terms.landing.begin(&index, vec![true; index.segments().len()]);
        return Ok(Held { index, cost: Cost::default() });
    };
    let (key, older) = content::context(parts, wanted.root())?;
    let want = match wanted {
        Wanted::Release(release) => Want::of(release, older),
        Wanted::Content(root) => {
            Want { root: *root, declared: None, beside: Vec::new(), older: Vec::new(), only: None }
        }
    };
    let cost = Box::pin(seek::content(parts, &online.net, &want, key, terms)).await?;
    Ok(Held { index: Arc::new(local(blobs, wanted).await?), cost })
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
