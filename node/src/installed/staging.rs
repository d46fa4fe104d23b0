//! A directory that is being filled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::remove_tree;
use crate::durable::{self, WriteError};

/// A name below `staging/` that is free. What is there goes when this is dropped.
#[derive(Debug)]
pub struct Staging {
    /// None once it was moved away.
    path: Option<PathBuf>,
    names: Arc<Names>,
}

/// The names below `staging/` that this process has given out: nobody else stages in this home.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Given>);

#[derive(Debug, Default)]
struct Given {
    n_given: u64,
    in_use: BTreeSet<PathBuf>,
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a directory is being filled by this process.
    pub(super) fn is_in_use(&self, path: &Path) -> bool {
        self.lock().in_use.contains(path)
    }

    /// A new name below `dir`, which is made if it is not there.
    pub(super) fn next(self: &Arc<Self>, dir: &Path) -> Result<Staging, WriteError> {
        durable::make_dir(dir)?;
        let mut given = self.lock();
        loop {
            given.n_given += 1;
            let path = dir.join(given.n_given.to_string());
            // What could not be removed at the start may have the name.
            if fs::symlink_metadata(&path).is_err() {
                given.in_use.insert(path.clone());
                return Ok(Staging { path: Some(path), names: Arc::clone(self) });
            }
        }
    }
}

impl Staging {
    /// The directory, made by whoever fills it.
    ///
    /// # Panics
    /// Never: only [`Staging::forget`], which takes the value, empties it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_deref().expect("emptied only by forget")
    }

    /// It was moved away.
    pub(super) fn forget(mut self) {
        if let Some(path) = self.path.take() {
            self.names.lock().in_use.remove(&path);
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        if let Err(error) = remove_tree(&path) {
            tracing::warn!(%error, "an unfinished install stays until the next start or gc");
        }
        self.names.lock().in_use.remove(&path);
    }
}
