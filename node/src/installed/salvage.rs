//! What was set aside because it is not what it should be: nobody else may have what its user wrote into it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Installed, InstalledError, list};
use crate::durable;

/// Things that are set aside at most. Then somebody has to look: nothing of it goes by itself.
pub const SALVAGED: usize = 32;

impl Installed {
    /// What was set aside.
    ///
    /// # Errors
    /// [`InstalledError::Read`].
    pub fn salvaged(&self) -> Result<Vec<PathBuf>, InstalledError> {
        list(&self.salvage)
    }
}

/// A name in the directory `dir`, which is made if it is not there, that begins with `name` and that nothing has.
pub(super) fn free_name(dir: &Path, name: &str) -> Result<PathBuf, InstalledError> {
    durable::make_dir(dir)?;
    if list(dir)?.len() >= SALVAGED {
        return Err(InstalledError::SalvageFull { path: dir.to_owned() });
    }
    another_name(dir, name)
}

/// The same for what comes in the place of something that goes out again at once: there may be one more than usual.
pub(super) fn another_name(dir: &Path, name: &str) -> Result<PathBuf, InstalledError> {
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    let free = (1..=SALVAGED + 1).map(|n| dir.join(format!("{name}.{n}"))).find(is_free);
    free.ok_or_else(|| InstalledError::SalvageFull { path: dir.to_owned() })
}
