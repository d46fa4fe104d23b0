//! Decides, before the library opens its database, whether that database can be believed.
//!
//! The library panics on some damage and does not notice other damage until much later, so the file is checked
//! here in full: every page's checksum, on a thread of its own, with panics caught and a deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

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
    let checked = path.to_owned();
    within(CHECK_DEADLINE, path, move || open_checked(&checked))
}

/// What the check finds, on a thread of its own. One that does not end says nothing about the database: the disk stalls,
/// and that thread still has the file open.
fn within(
    deadline: Duration,
    path: &Path,
    check: impl FnOnce() -> Verdict + Send + std::panic::UnwindSafe + 'static,
) -> Verdict {
    let (report, reported) = std::sync::mpsc::sync_channel(1);
    let spawned = std::thread::Builder::new().name("blob-db-check".into()).spawn(move || {
        let verdict = std::panic::catch_unwind(check).unwrap_or_else(|_| Verdict::Damaged("the check panicked".into()));
        // Nobody listens any more only after the deadline.
        let _ = report.send(verdict);
    });
    match spawned {
        Err(error) => Verdict::Refused(BlobError::io("starting the database check")(error).into()),
        Ok(_) => reported
            .recv_timeout(deadline)
            .unwrap_or_else(|_| Verdict::Refused(OpenError::Unanswered { path: path.to_owned(), after: deadline })),
    }
}

/// What the system answered, if an error of the database or of what stands on it comes from there: then it says nothing
/// about what the database holds.
pub(super) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return says_nothing(error).then(|| again(error));
    }
    let storage = error.downcast_ref::<StorageError>().or_else(|| match error.downcast_ref()? {
        DatabaseError::Storage(error) => Some(error),
        _ => None,
    });
    let storage = storage.or_else(|| match error.downcast_ref()? {
        TransactionError::Storage(error) => Some(error),
        _ => None,
    });
    let storage = storage.or_else(|| match error.downcast_ref()? {
        TableError::Storage(error) => Some(error),
        _ => None,
    });
    let storage = storage.or_else(|| match error.downcast_ref()? {
        CommitError::Storage(error) => Some(error),
        _ => None,
    });
    match storage? {
        StorageError::Io(error) => says_nothing(error).then(|| again(error)),
        // What that was has been told to somebody else.
        error @ StorageError::PreviousIo => Some(io::Error::other(error.to_string())),
        _ => None,
    }
}

/// A file cut short or filled with foreign bytes is damage; any other answer of the system says nothing about it.
fn says_nothing(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// The same error, owned.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

fn open_checked(path: &Path) -> Verdict {
    let mut builder = redb::Database::builder();
    builder.set_check_integrity_on_open(true);
    match builder.open(path) {
        Ok(_) => Verdict::Good,
        Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
            Verdict::Refused(OpenError::Busy(path.to_owned()))
        }
        Err(error) => match refusal(&error) {
            Some(error) => Verdict::Refused(BlobError::io("reading the blob database")(error).into()),
            None => Verdict::Damaged(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one whose check is still under way stays where it is.
    #[test]
    fn a_check_that_does_not_end_is_no_damage() {
        let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
        let check = move || {
            // Until the test lets go of it.
            let _ = held.recv();
            Verdict::Good
        };
        let found = within(Duration::from_millis(1), Path::new("blobs.db"), std::panic::AssertUnwindSafe(check));
        assert!(matches!(found, Verdict::Refused(OpenError::Unanswered { .. })));
        drop(release);
    }

    #[test]
    fn what_the_system_refuses_is_told_from_damage() {
        let full = || StorageError::Io(io::ErrorKind::StorageFull.into());
        let errors: [&(dyn std::error::Error + 'static); 6] = [
            &io::Error::from(io::ErrorKind::StorageFull),
            &full(),
            &DatabaseError::from(full()),
            &TransactionError::from(full()),
            &TableError::from(full()),
            &CommitError::from(full()),
        ];
        for error in errors {
            let told = refusal(error).map(|error| error.kind());
            assert_eq!(told, Some(io::ErrorKind::StorageFull), "{error:?}");
        }
        assert!(refusal(&StorageError::PreviousIo).is_some());
        assert!(refusal(&StorageError::Corrupted("page".into())).is_none());
        assert!(refusal(&DatabaseError::from(io::Error::from(io::ErrorKind::InvalidData))).is_none());
        assert!(refusal(&io::Error::from(io::ErrorKind::UnexpectedEof)).is_none());
    }
}
