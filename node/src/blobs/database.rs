//! Decides, before the library opens its database, whether that database can be believed.
//!
//! The library panics on some damage and does not notice other damage until much later, so the file is checked
//! here in full: every page's checksum, on a thread of its own, with panics caught and a deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{BlobError, OpenError};
use super::files::{self, Layout};
use crate::durable;

/// Longest check of a database: some hundred times what a million blobs take.
const CHECK_DEADLINE: Duration = Duration::from_secs(300);
/// Damaged databases kept for the curious; older ones go.
const DAMAGED_KEPT: usize = 3;

/// In which state the database was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// There was none, nor any blob.
    New,
    /// Every checksum held.
    Good,
    /// It was gone although there were blobs.
    Missing,
    /// It was damaged and now stands aside under this name.
    Damaged(PathBuf),
}

enum Verdict {
    Good,
    Damaged(String),
    Refused(OpenError),
}

/// Checks the database; a damaged one is moved aside. Blocks.
pub(super) fn check(layout: &Layout) -> Result<DatabaseState, OpenError> {
    let path = layout.database();
    if !path.try_exists().map_err(BlobError::io("looking for the blob database"))? {
        let empty = |dir: &Path| files::list(dir).map(|paths| paths.is_empty()).map_err(BlobError::io("listing blobs"));
        return Ok(if empty(layout.data())? && empty(&layout.salvage())? {
            DatabaseState::New
        } else {
            DatabaseState::Missing
        });
    }
    match verdict(&path) {
        Verdict::Good => Ok(DatabaseState::Good),
        Verdict::Refused(error) => Err(error),
        Verdict::Damaged(reason) => {
            tracing::warn!(%reason, "blob database is damaged: set aside, blobs on disk are imported again");
            Ok(DatabaseState::Damaged(set_aside(layout).map_err(BlobError::io("setting the blob database aside"))?))
        }
    }
}

/// Moves the database out of the way without overwriting an earlier one.
pub(super) fn set_aside(layout: &Layout) -> io::Result<PathBuf> {
    let mut numbers: Vec<u64> = files::list(layout.root())?.iter().filter_map(|path| damaged_number(path)).collect();
    numbers.sort_unstable();
    let name = |number: u64| layout.root().join(format!("blobs.db.damaged-{number}"));
    for number in numbers.iter().take(numbers.len().saturating_sub(DAMAGED_KEPT - 1)) {
        files::remove(&name(*number))?;
    }
    let target = name(numbers.last().map_or(1, |last| last + 1));
    durable::rename(&layout.database(), &target)?;
    files::sync_dir(layout.root())?;
    Ok(target)
}

fn damaged_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("blobs.db.damaged-")?.parse().ok()
}

fn verdict(path: &Path) -> Verdict {
    let (report, reported) = std::sync::mpsc::sync_channel(1);
    let checked = path.to_owned();
    let spawned = std::thread::Builder::new().name("blob-db-check".into()).spawn(move || {
        let verdict = std::panic::catch_unwind(|| open_checked(&checked))
            .unwrap_or_else(|_| Verdict::Damaged("the check panicked".into()));
        // Nobody listens any more only after the deadline.
        let _ = report.send(verdict);
    });
    match spawned {
        Err(error) => Verdict::Refused(BlobError::io("starting the database check")(error).into()),
        Ok(_) => reported
            .recv_timeout(CHECK_DEADLINE)
            .unwrap_or_else(|_| Verdict::Damaged("the check did not end in time".into())),
    }
}

fn open_checked(path: &Path) -> Verdict {
    use redb::{DatabaseError, StorageError};
    let mut builder = redb::Database::builder();
    builder.set_check_integrity_on_open(true);
    match builder.open(path) {
        Ok(_) => Verdict::Good,
        Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
            Verdict::Refused(OpenError::Busy(path.to_owned()))
        }
        // A file cut short or filled with foreign bytes is damage; any other I/O error says nothing about it.
        Err(DatabaseError::Storage(StorageError::Io(error)))
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Verdict::Refused(BlobError::io("reading the blob database")(error).into())
        }
        Err(error) => Verdict::Damaged(error.to_string()),
    }
}
