//! One command at a time changes a directory that is ours to change: a checkout, or one in which a draft is followed.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::BaseError;
use super::base::{STATE_DIR, path};

/// Beside the note; it stays, for a file that goes while others open it is no lock.
const LOCK_FILE: &str = "lock";

/// Held while a directory is changed. The system lets go of it however the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// For a checkout; none if the directory is no checkout, for then there is nothing to guard.
    ///
    /// # Errors
    /// [`BaseError::Busy`] if somebody else holds it, [`BaseError::Read`] if it cannot be made.
    pub fn of_checkout(dir: &Path) -> Result<Option<Self>, BaseError> {
        if path(dir).symlink_metadata().is_err() {
            return Ok(None);
        }
        Self::take(dir).map(Some)
    }

    /// For a directory that has a place for what we keep in it.
    ///
    /// # Errors
    /// As [`DirLock::of_checkout`].
    pub fn take(dir: &Path) -> Result<Self, BaseError> {
        let path = dir.join(STATE_DIR).join(LOCK_FILE);
        let failed = |source| BaseError::Read { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(BaseError::Busy { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_whoever_ends_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DirLock::of_checkout(dir.path()).unwrap().is_none());
        assert!(!dir.path().join(STATE_DIR).exists(), "nothing is left in a directory that is none of ours");
        std::fs::create_dir(dir.path().join(STATE_DIR)).unwrap();
        std::fs::write(path(dir.path()), "").unwrap();
        let held = DirLock::of_checkout(dir.path()).unwrap();
        assert!(held.is_some());
        assert!(matches!(DirLock::of_checkout(dir.path()), Err(BaseError::Busy { .. })));
        assert!(matches!(DirLock::take(dir.path()), Err(BaseError::Busy { .. })));
        drop(held);
        assert!(DirLock::take(dir.path()).is_ok());
    }
}
