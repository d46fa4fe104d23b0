//! Keeps some of the disk free.
//!
//! The library's database stops for good when one of its commits finds the disk full, and an import that fills the
//! disk leaves its unfinished file behind. So nothing begins that would not leave a reserve: then the database, the
//! journal and the mending of a store still have room when the disk is "full".

use std::io;
use std::path::Path;

use iroh_blobs::api::{self, RequestError};

use super::Blobs;
use super::error::BlobError;

/// Free space that imports and fetches leave alone.
pub(super) const RESERVE_BYTES: u64 = 64 << 20;
/// Free space that even the mending of a store leaves alone.
pub(super) const MEND_RESERVE_BYTES: u64 = 16 << 20;

/// Refuses work that would need `bytes` below `dir` and not leave `reserve` free.
pub(super) fn check(dir: &Path, bytes: u64, reserve: u64, doing: &'static str) -> Result<(), BlobError> {
    let free = fs2::available_space(dir).map_err(BlobError::io(doing))?;
    // The outboard is a 256th of the bytes; the file system's own books take about as much.
    let needed = bytes.saturating_add(bytes / 128).saturating_add(reserve);
    if free >= needed { Ok(()) } else { Err(BlobError::StorageFull { doing }) }
}

/// What to tell of a store that stopped, or failed in a way that it does not tell: its database does so when it finds the
/// disk full, and leaves that to be guessed. What has a reason of its own keeps it.
pub(super) fn why(dir: &Path, error: BlobError, doing: &'static str) -> BlobError {
    let is_unexplained = match &error {
        BlobError::Stopped => true,
        BlobError::Io { source, .. } => source.kind() == io::ErrorKind::Other,
        _ => false,
    };
    match check(dir, 0, MEND_RESERVE_BYTES, doing) {
        Err(full) if is_unexplained && full.is_disk_full() => full,
        _ => error,
    }
}

impl Blobs {
    /// The error of a store that answers no more while `doing`.
    pub(super) fn stopped(&self, doing: &'static str) -> BlobError {
        why(self.0.layout.root(), BlobError::Stopped, doing)
    }

    /// An error of the library's store while `doing`, with a full disk told apart.
    pub(super) fn failed(&self, doing: &'static str) -> impl FnOnce(RequestError) -> BlobError + '_ {
        move |error| why(self.0.layout.root(), BlobError::store(doing)(error), doing)
    }

    /// An error of the library's plain store calls while `doing`, with a full disk told apart.
    pub(super) fn refused(&self, doing: &'static str) -> impl FnOnce(api::Error) -> BlobError + '_ {
        move |error| why(self.0.layout.root(), BlobError::api(doing)(error), doing)
    }
}
