//! The directory that a verb fills, beside the place where it will appear.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{clock, durable};

/// Whether `dir` may be made: it is absent, or an empty directory.
///
/// # Errors
/// What the system says.
pub(super) fn is_free(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// Hexadecimal digits that make the name unique.
const DIGITS: usize = 8;

/// A fresh directory, locked as long as its process lives and removed unless it appears.
#[derive(Debug)]
pub(super) struct Stage {
    path: PathBuf,
    /// The system lets go of the lock however the process ends, so what is not locked belongs to nobody.
    _lock: Option<File>,
    is_left: bool,
}

impl Stage {
    /// A new one beside `dir`, so that the rename stays on one file system. Those of dead processes go first.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn beside(dir: &Path) -> io::Result<Self> {
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent)?;
        let prefix = prefix(dir);
        remove_dead(parent, &prefix);
        loop {
            let mut name = prefix.clone();
            name.push(format!("{:08x}", u32::from_le_bytes(clock::random())));
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // In the moment before the lock somebody else may have taken it for dead.
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, _lock: lock.file, is_left: false });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it `dir`, which must be absent or empty.
    ///
    /// # Errors
    /// What the system says; then it is removed.
    pub(super) fn appear(mut self, dir: &Path) -> io::Result<()> {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        durable::rename(&self.path, dir)?;
        self.is_left = true;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_left
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "left for the next call");
        }
    }
}

fn prefix(dir: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(dir.file_name().unwrap_or_default());
    prefix.push(".partial-");
    prefix
}

/// A lock that was got.
struct Lock {
    file: Option<File>,
}

/// Locks a directory; none if another process has it, or it is not at its path any more.
#[cfg(unix)]
fn lock(path: &Path) -> io::Result<Option<Lock>> {
    use std::os::unix::fs::MetadataExt as _;
    let found = |result: io::Result<fs::Metadata>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(None),
        // A file system without locks: then nothing is ever taken for dead either.
        Err(fs::TryLockError::Error(_)) => return Ok(Some(Lock { file: None })),
    }
    let there = found(fs::symlink_metadata(path))?;
    let same = there.is_some_and(|there| file.metadata().is_ok_and(|open| open.ino() == there.ino()));
    Ok(same.then_some(Lock { file: Some(file) }))
}

/// Directories cannot be locked here; nothing is taken for dead.
#[cfg(not(unix))]
fn lock(_path: &Path) -> io::Result<Option<Lock>> {
    Ok(Some(Lock { file: None }))
}

/// Removes what processes that died left beside `dir`, as well as it can be told and done.
fn remove_dead(parent: &Path, prefix: &OsString) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let is_ours = digits.is_some_and(|digits| {
            digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        });
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // Held while it goes, so that nobody else begins to fill it.
        if let Ok(Some(Lock { file: Some(_lock) })) = lock(&entry.path()) {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => tracing::info!(path = %entry.path().display(), "removed what an interrupted command left"),
                Err(error) => tracing::debug!(%error, "what an interrupted command left stays"),
            }
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_dead_calls_left_goes_and_what_lives_or_is_anothers_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("lamp");
        let others =
            [".lamp.partial-0000000", ".lamp.partial-0000000X", ".boat.partial-00000000", "lamp.partial-00000000"];
        for name in [&[".lamp.partial-0123abcd"][..], &others].concat() {
            fs::create_dir_all(dir.path().join(name).join("deep")).unwrap();
        }
        fs::write(dir.path().join(".lamp.partial-aaaaaaaa"), "a file").unwrap();
        let living = Stage::beside(&target).unwrap();
        assert!(!dir.path().join(".lamp.partial-0123abcd").exists());
        let second = Stage::beside(&target).unwrap();
        assert!(living.path().is_dir() && second.path().is_dir() && living.path() != second.path());
        fs::write(second.path().join("file"), "x").unwrap();
        second.appear(&target).unwrap();
        drop(living);
        let mut left: Vec<&str> = others.to_vec();
        left.extend([".lamp.partial-aaaaaaaa", "lamp"]);
        left.sort_unstable();
        assert_eq!(names(dir.path()), left);
        assert_eq!(names(&target), ["file"]);
    }
}
