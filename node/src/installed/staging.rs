//! A directory that is being filled.

use std::path::{Path, PathBuf};

use super::remove_tree;

/// A name below `staging/` that is free. What is there goes when this is dropped.
#[derive(Debug)]
pub struct Staging(Option<PathBuf>);

impl Staging {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// The directory, made by whoever fills it.
    ///
    /// # Panics
    /// Never: only [`Staging::forget`], which takes the value, empties it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.as_deref().expect("emptied only by forget")
    }

    /// It was moved away.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        if let Err(error) = remove_tree(&path) {
            tracing::warn!(%error, "an unfinished install stays until the next start or gc");
        }
    }
}
