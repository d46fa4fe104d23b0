//! What is installed: unpacked releases, generations that name them, and a pointer to the one in force.
//!
//! The layout is a contract with engines, which read it without this program: `docs/spec/installed.md`. Everything is
//! decided by two renames: a release's directory appears in `store/` whole and synced, and `current` changes from one
//! generation to another. A process that dies in between leaves things that nothing names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncra_protocol::id::{PackageId, ReleaseId};
use tokio::sync::MutexGuard;

use crate::clock;
use crate::durable::{self, WriteError};
use crate::home::Layout;

mod cache;
mod condition;
mod generation;
mod integrity;
mod salvage;
mod staging;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Recovered};
pub use generation::{Generation, Needed, SCHEMA, Slot};
pub use integrity::{Depth, Fault, examine};
pub use salvage::SALVAGED;
pub use staging::Staging;

use cache::Cache;

/// Generations that stay, so that one can go back to them; older ones go by `gc`.
pub const KEPT_GENERATIONS: usize = 10;
/// Bytes of a generation file, hard: tens of thousands of packages.
const GENERATION_BYTES: u64 = 64 << 20;
/// Bytes of the pointer file, hard.
const POINTER_BYTES: u64 = 64;

/// Why what is installed cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// The system refuses to read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file that holds something else than it should.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no such generation, or not any more.
    #[error("there is no generation {0}")]
    NoGeneration(u64),
    /// What is damaged cannot be set aside: too much was before.
    #[error("{} holds {SALVAGED} things that were set aside before", path.display())]
    SalvageFull {
        /// The directory.
        path: PathBuf,
    },
    /// The disk refuses.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The directory `installed/` of an open home.
#[derive(Debug)]
pub struct Installed {
    store: PathBuf,
    generations: PathBuf,
    staging: PathBuf,
    salvage: PathBuf,
    current: PathBuf,
    reached: PathBuf,
    staged: Arc<staging::Names>,
    turn: tokio::sync::Mutex<()>,
    read: Cache,
}

/// What an old generation or a directory that nothing names takes on disk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// Unpacked releases that no kept generation names.
    pub releases: Vec<PathBuf>,
    /// Generations beyond those that are kept.
    pub generations: Vec<u64>,
    /// Directories that were being filled when a process ended.
    pub staging: Vec<PathBuf>,
}

impl Installed {
    /// Over the directories of a home, whose lock the caller holds. Directories that a dead process was filling go.
    #[must_use]
    pub fn open(layout: &Layout) -> Self {
        let installed = Self {
            store: layout.installed_store(),
            generations: layout.generations(),
            staging: layout.installed_staging(),
            salvage: layout.installed_salvage(),
            current: layout.current(),
            reached: layout.reached(),
            staged: Arc::default(),
            turn: tokio::sync::Mutex::default(),
            read: Cache::default(),
        };
        for path in list(&installed.staging).unwrap_or_default() {
            if let Err(error) = remove_tree(&path) {
                tracing::warn!(%error, "an unfinished install stays until the next gc");
            }
        }
        installed
    }

    /// Where a release is, or would be.
    #[must_use]
    pub fn path_of(&self, release: ReleaseId) -> PathBuf {
        self.store.join(release.to_string())
    }

    /// Whether a release is unpacked. What is there was whole when it came, by one rename; [`examine`] tells whether it still is.
    #[must_use]
    pub fn has(&self, release: ReleaseId) -> bool {
        self.path_of(release).is_dir()
    }

    /// The number of the generation in force; zero before the first install.
    ///
    /// # Errors
    /// [`InstalledError`].
    pub fn current_number(&self) -> Result<u64, InstalledError> {
        Ok(read_number(&self.current)?.unwrap_or(0))
    }

    /// The highest number of a generation that was ever in force. A file above it was written by a switch that was cut off.
    ///
    /// # Errors
    /// [`InstalledError`].
    pub fn reached(&self) -> Result<u64, InstalledError> {
        let pointed = match self.current_number() {
            Err(InstalledError::Damaged { .. }) => None,
            pointed => Some(pointed?),
        };
        match (self.noted(), pointed) {
            (Some(noted), Some(pointed)) => Ok(noted.max(pointed)),
            // A home of before this was noted, or a pointer that rotted: all that are there count.
            (noted, pointed) => {
                let newest = self.numbers()?.last().copied();
                Ok([noted, pointed, newest].into_iter().flatten().max().unwrap_or(0))
            }
        }
    }

    /// What `reached` says. One that cannot be read is as good as none, and is written anew: no install depends on it.
    fn noted(&self) -> Option<u64> {
        read_number(&self.reached).unwrap_or_else(|error| {
            tracing::warn!(%error, "how far the generations went is not known");
            None
        })
    }

    /// The generation in force; an empty one before the first install.
    ///
    /// # Errors
    /// [`InstalledError`]; a pointer to a generation that is not there is damage, not an empty install.
    pub fn current(&self) -> Result<Generation, InstalledError> {
        match self.current_number()? {
            0 => Ok(Generation::default()),
            number => self.generation(number),
        }
    }

    /// One generation. Its file is read again only when it is another than before.
    ///
    /// # Errors
    /// [`InstalledError::NoGeneration`] and the like.
    pub fn generation(&self, number: u64) -> Result<Generation, InstalledError> {
        let path = self.generations.join(number.to_string());
        self.read.get(&path, || Self::read_generation(number, path.clone()))
    }

    /// Whether a generation has this release of a package; one that cannot be read has nothing.
    #[must_use]
    pub fn had(&self, number: u64, package: PackageId, release: ReleaseId) -> bool {
        let path = self.generations.join(number.to_string());
        // Nearly all say no, and a look through the text costs a small part of reading what it means. Not remembered:
        // there are as many as there were installs since the last collection.
        let is_named = match read_small(&path, GENERATION_BYTES) {
            Ok(text) => text.is_some_and(|text| text.contains(&release.to_string())),
            Err(_) => false,
        };
        let has =
            |generation: Generation| generation.packages.get(&package).is_some_and(|slot| slot.release == release);
        is_named && Self::read_generation(number, path).is_ok_and(has)
    }

    fn read_generation(number: u64, path: PathBuf) -> Result<Generation, InstalledError> {
        let text = read_small(&path, GENERATION_BYTES)?.ok_or(InstalledError::NoGeneration(number))?;
        let generation = Generation::parse(&text).and_then(|generation| {
            let is_named_so = generation.generation == number;
            is_named_so.then_some(generation).ok_or_else(|| "it is another generation".to_owned())
        });
        generation.map_err(|what| InstalledError::Damaged { path, what })
    }

    /// The numbers of all generations on disk, ascending.
    ///
    /// # Errors
    /// [`InstalledError::Read`].
    pub fn numbers(&self) -> Result<BTreeSet<u64>, InstalledError> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        Ok(list(&self.generations)?.iter().filter_map(number).collect())
    }

    /// The generations that stay: the newest, the one in force, and the one that a rollback would go to.
    ///
    /// # Errors
    /// [`InstalledError`]; an unreadable generation in force may be kept by nobody's guess.
    pub fn kept(&self) -> Result<BTreeMap<u64, Generation>, InstalledError> {
        let numbers = self.numbers()?;
        let current = self.current()?;
        let newest = numbers.iter().rev().take(KEPT_GENERATIONS).copied();
        let needed = [current.generation, current.parent].into_iter().filter(|number| numbers.contains(number));
        let kept: BTreeSet<u64> = newest.chain(needed).collect();
        kept.into_iter().map(|number| Ok((number, self.generation(number)?))).collect()
    }

    /// What a collection would remove.
    ///
    /// # Errors
    /// [`InstalledError`]: nothing may go while anything is unreadable.
    pub fn leftovers(&self) -> Result<Leftovers, InstalledError> {
        let kept = self.kept()?;
        let named: BTreeSet<PathBuf> = kept
            .values()
            .flat_map(|generation| generation.packages.values())
            .map(|slot| self.path_of(slot.release))
            .collect();
        let releases = list(&self.store)?.into_iter().filter(|path| !named.contains(path)).collect();
        let generations = self.numbers()?.into_iter().filter(|number| !kept.contains_key(number)).collect();
        let staging = list(&self.staging)?.into_iter().filter(|path| !self.staged.is_in_use(path)).collect();
        Ok(Leftovers { releases, generations, staging })
    }

    /// A name below `staging/` for a release to be unpacked under; removed again unless it is placed. No collection takes
    /// it, so this needs no turn.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn stage(&self) -> Result<Staging, WriteError> {
        self.staged.next(&self.staging)
    }

    /// Waits until nobody else changes what is installed.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { installed: self, _alone: self.turn.lock().await }
    }
}

/// The right to change what is installed: one at a time.
#[derive(Debug)]
pub struct Turn<'a> {
    installed: &'a Installed,
    _alone: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// Makes a staged release, whose files are synced, the unpacked one: one rename. What has its name already is set aside,
    /// and where it is then is told.
    ///
    /// # Errors
    /// [`InstalledError`]; then it is where it was, or already in place.
    pub fn place(&self, staged: Staging, release: ReleaseId) -> Result<Option<PathBuf>, InstalledError> {
        let target = self.installed.path_of(release);
        if fs::symlink_metadata(&target).is_ok() {
            return self.replace(staged, &target).map(Some);
        }
        durable::rename(staged.path(), &target).map_err(|source| WriteError::from_io(&target, source))?;
        staged.forget();
        durable::sync_dir(&self.installed.store)?;
        Ok(None)
    }

    /// An engine that reads there finds the old files or the new ones, where the system can exchange two names. Where it cannot,
    /// there is nothing for a moment, and after a cut in that moment until the release is unpacked again.
    fn replace(&self, staged: Staging, target: &Path) -> Result<PathBuf, InstalledError> {
        let salvage = &self.installed.salvage;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let aside = salvage::free_name(salvage, &name)?;
        let failed = |source| WriteError::from_io(target, source);
        // Into its last place before the old files get there: what is in staging when a process ends goes.
        durable::rename(staged.path(), &aside).map_err(failed)?;
        staged.forget();
        durable::sync_dir(salvage)?;
        if !durable::exchange(&aside, target).map_err(failed)? {
            let old = salvage::another_name(salvage, &name)?;
            durable::rename(target, &old).map_err(failed)?;
            durable::rename(&aside, target).map_err(failed)?;
            durable::sync_dir(salvage)?;
            durable::sync_dir(&self.installed.store)?;
            return Ok(old);
        }
        durable::sync_dir(salvage)?;
        durable::sync_dir(&self.installed.store)?;
        Ok(aside)
    }

    /// Writes a new generation with these packages, then makes it the one in force.
    ///
    /// # Errors
    /// [`InstalledError`]; then the old one is in force.
    pub fn switch(&self, packages: BTreeMap<PackageId, Slot>) -> Result<Generation, InstalledError> {
        let parent = self.installed.current_number()?;
        let newest = self.installed.numbers()?.last().copied().unwrap_or(0);
        // Also above what was in force and is damaged or gone: no number is used twice.
        let number = newest.max(self.note_reached()?) + 1;
        let generation = Generation { generation: number, parent, created_ms: clock::now().0, packages };
        let path = self.installed.generations.join(number.to_string());
        durable::replace(&path, generation.text().as_bytes())?;
        self.point(number)?;
        Ok(generation)
    }

    /// Makes a generation that is there the one in force: one rename.
    ///
    /// # Errors
    /// [`InstalledError`]; then the old one is in force.
    pub fn point_to(&self, number: u64) -> Result<(), InstalledError> {
        self.note_reached()?;
        Ok(self.point(number)?)
    }

    fn point(&self, number: u64) -> Result<(), WriteError> {
        durable::replace(&self.installed.current, format!("{number}\n").as_bytes())
    }

    /// Notes how far it went before the pointer goes somewhere else: the pointer alone tells it as long as it only rises.
    fn note_reached(&self) -> Result<u64, InstalledError> {
        let reached = self.installed.reached()?;
        if self.installed.noted() != Some(reached) {
            durable::replace(&self.installed.reached, format!("{reached}\n").as_bytes())?;
        }
        Ok(reached)
    }

    /// Moves something out of `store/`, to where it goes when it is dropped.
    fn take_out(&self, path: &Path) -> Result<Staging, WriteError> {
        let out = self.installed.stage()?;
        durable::rename(path, out.path()).map_err(|source| WriteError::from_io(path, source))?;
        Ok(out)
    }

    /// Removes what nothing names. What cannot be removed stays for the next time.
    ///
    /// # Errors
    /// [`InstalledError`] before anything is removed.
    pub fn sweep(&self) -> Result<Leftovers, InstalledError> {
        let mut left = self.installed.leftovers()?;
        let removed = |path: &PathBuf| match remove_tree(path) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "left for the next collection");
                false
            }
        };
        // Generations first: none may be left that names a release which is gone.
        left.generations.retain(|number| removed(&self.installed.generations.join(number.to_string())));
        durable::sync_dir(&self.installed.generations)?;
        left.staging.retain(removed);
        // Out of `store/` by one rename before anything of it goes: what has a name there is whole.
        let mut leaving = Vec::new();
        left.releases.retain(|path| match self.take_out(path) {
            Ok(out) => {
                leaving.push(out);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "left for the next collection");
                false
            }
        });
        // Both names are on the medium before anything of it goes, or half a release could come back.
        if !leaving.is_empty() {
            durable::sync_dir(&self.installed.staging)?;
        }
        durable::sync_dir(&self.installed.store)?;
        drop(leaving);
        Ok(left)
    }
}

/// The number in a file that holds nothing else; none without a file.
fn read_number(path: &Path) -> Result<Option<u64>, InstalledError> {
    let Some(text) = read_small(path, POINTER_BYTES)? else { return Ok(None) };
    let damaged = |_| InstalledError::Damaged { path: path.to_owned(), what: "no number".into() };
    text.trim_end().parse().map(Some).map_err(damaged)
}

fn read_small(path: &Path, limit: u64) -> Result<Option<String>, InstalledError> {
    let read = || -> io::Result<Option<String>> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(found) if found.len() > limit => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => fs::read_to_string(path).map(Some),
        }
    };
    read().map_err(|source| match source.kind() {
        // What is written here is short and text.
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData => {
            InstalledError::Damaged { path: path.to_owned(), what: source.to_string() }
        }
        _ => InstalledError::Read { path: path.to_owned(), source },
    })
}

/// Everything in a directory; nothing if it is not there.
fn list(dir: &Path) -> Result<Vec<PathBuf>, InstalledError> {
    let read = || -> io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
    match read() {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(InstalledError::Read { path: dir.to_owned(), source }),
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
    }
}

/// Removes a file or a directory with all that is in it; links are removed, never followed.
fn remove_tree(path: &Path) -> Result<(), WriteError> {
    let remove = || match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WriteError::from_io(path, error)),
        _ => Ok(()),
    }
}
