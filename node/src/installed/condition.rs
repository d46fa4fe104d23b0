//! Pointer and generations that rotted: what is still whole, and the way back to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Generation, Installed, InstalledError, KEPT_GENERATIONS, Turn, salvage};
use crate::durable::{self, WriteError};

/// How pointer and generations are, whatever is wrong with any of them.
#[derive(Debug)]
pub struct Condition {
    /// The generation in force, or why that is not known.
    pub current: Result<Generation, InstalledError>,
    /// The generations that are kept.
    pub kept: BTreeMap<u64, Result<Generation, InstalledError>>,
}

/// The way back to a generation that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The generation in force now, if it is another than before.
    pub back_to: Option<Generation>,
    /// Where the damaged files are now.
    pub aside: Vec<PathBuf>,
}

/// Whether a file has become something else.
///
/// # Errors
/// The system does not read it: what it holds is unknown.
fn is_damaged<T>(read: Result<T, InstalledError>) -> Result<bool, InstalledError> {
    match read {
        Ok(_) => Ok(false),
        Err(InstalledError::Damaged { .. } | InstalledError::NoGeneration(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

impl Installed {
    /// How pointer and generations are. Of generations those count that are kept, as far as that is known.
    ///
    /// # Errors
    /// [`InstalledError::Read`]: the directory itself.
    pub fn condition(&self) -> Result<Condition, InstalledError> {
        let numbers = self.numbers()?;
        let current = self.current();
        let newest = numbers.iter().rev().take(KEPT_GENERATIONS).copied();
        let needed = current.iter().flat_map(|current| [current.generation, current.parent]);
        let kept: BTreeSet<u64> = newest.chain(needed.filter(|number| numbers.contains(number))).collect();
        let kept = kept.into_iter().map(|number| (number, self.generation(number))).collect();
        Ok(Condition { current, kept })
    }

    /// The newest generation that is whole, from `below` on downwards if there is one: what is above was gone back from, or
    /// never in force. The empty one, if there is no other.
    fn newest_whole(&self, below: Option<u64>) -> Result<Generation, InstalledError> {
        let numbers = self.numbers()?;
        let limit = below.unwrap_or(u64::MAX);
        let (below, above): (Vec<u64>, Vec<u64>) = numbers.into_iter().rev().partition(|number| *number <= limit);
        for number in below.into_iter().chain(above.into_iter().rev()) {
            match self.generation(number) {
                Err(InstalledError::Damaged { .. }) => {}
                read => return read,
            }
        }
        Ok(Generation::default())
    }
}

impl Turn<'_> {
    /// Goes back to the newest generation that is whole, if the one in force is not, and sets files aside that are damaged:
    /// a collection reads them all. None if all is well.
    ///
    /// # Errors
    /// [`InstalledError`].
    pub fn recover(&self) -> Result<Option<Recovered>, InstalledError> {
        let installed = self.installed;
        let Condition { current, kept } = installed.condition()?;
        let current_is_damaged = is_damaged(current)?;
        let mut damaged = Vec::new();
        for (number, read) in kept {
            if is_damaged(read)? {
                damaged.push(number);
            }
        }
        if !current_is_damaged && damaged.is_empty() {
            return Ok(None);
        }
        // While the damaged files still count: no number is used twice.
        self.note_reached()?;
        let mut recovered = Recovered { back_to: None, aside: Vec::new() };
        if current_is_damaged {
            let pointed = installed.current_number();
            let target = installed.newest_whole(pointed.as_ref().ok().copied())?;
            if pointed.is_err() {
                recovered.aside.push(self.keep_pointer()?);
            }
            self.point(target.generation)?;
            recovered.back_to = Some(target);
        }
        for number in damaged {
            let path = installed.generations.join(number.to_string());
            recovered.aside.push(self.set_aside(&path, &format!("generation-{number}"))?);
        }
        Ok(Some(recovered))
    }

    /// Copies the pointer, which may not be gone for a moment.
    fn keep_pointer(&self) -> Result<PathBuf, InstalledError> {
        let path = &self.installed.current;
        let bytes = fs::read(path).map_err(|source| InstalledError::Read { path: path.clone(), source })?;
        let aside = salvage::free_name(&self.installed.salvage, "current")?;
        durable::replace(&aside, &bytes)?;
        Ok(aside)
    }

    /// Moves a file out of the way, where people find it.
    fn set_aside(&self, path: &Path, name: &str) -> Result<PathBuf, InstalledError> {
        let aside = salvage::free_name(&self.installed.salvage, name)?;
        durable::rename(path, &aside).map_err(|source| WriteError::from_io(path, source))?;
        durable::sync_dir(&self.installed.salvage)?;
        if let Some(parent) = path.parent() {
            durable::sync_dir(parent)?;
        }
        Ok(aside)
    }
}
