//! A directory that is being filled.

use std::path::{Path, PathBuf};

use syncra_protocol::id::base32;

use super::remove_tree;
use crate::clock;

/// A fresh directory name below `staging/`. What is there goes when this is dropped.
#[derive(Debug)]
pub struct Staging(Option<PathBuf>);

impl Staging {
    pub(super) fn new(dir: &Path) -> Self {
        Self(Some(dir.join(base32(&clock::random::<16>()))))
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
