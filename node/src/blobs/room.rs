//! Keeps some of the disk free.
//!
//! The library's database stops for good when one of its commits finds the disk full, and an import that fills the
//! disk leaves its unfinished file behind. So nothing begins that would not leave a reserve: then the database, the
//! journal and the mending of a store still have room when the disk is "full".

use std::path::Path;

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
