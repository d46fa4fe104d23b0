//! Taking a merge back: what it wrote goes, what it changed is as it was, and what somebody saved since stays.
//!
//! What is at a path is somebody's if it is neither what was there before nor what the merge left. It is kept: at its place if
//! there was nothing before, else beside, as `NAME.saved`. A file is moved aside before it is decided what it is, so that no
//! save falls between the look and the change; a call that is cut off is made again and finds what lies aside.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;

use super::super::checkout::{BaseError, Left, STATE_DIR, Touched};
use super::MergeError;
use super::apply::{STORE, check_absent, create, failed, old_name, open, put, remove, sync_changed};

/// Names that are tried for a file that is kept.
const NAMES: u32 = 10_000;

/// A file that somebody saved after a merge, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it was saved.
    pub path: EntryPath,
    /// Where it is.
    pub at: EntryPath,
}

/// Gives back what was there before a merge, of those files that are meant. The copies stay until it is noted that it is taken
/// back: a call that is cut off is made again, and a copy that is missing is never one that was given back before.
pub(super) fn restore(
    dir: &Path,
    touched: &[Touched],
    is_meant: impl Fn(&EntryPath) -> bool,
) -> Result<Vec<Kept>, MergeError> {
    let root = open(dir)?;
    let meant = || touched.iter().enumerate().filter(|(_, file)| is_meant(&file.path));
    check_copies(dir, &root, meant().map(|(_, file)| file))?;
    let mut back = Back { root: &root, kept: Vec::new() };
    // What came goes first: it may stand where directories have to be.
    for (n, file) in meant().filter(|(_, file)| file.copy.is_none()) {
        back.take_away(n, file)?;
    }
    for (n, file) in meant() {
        if let Some(copy) = file.copy {
            back.give_back(n, file, &old_name(copy))?;
        }
    }
    sync_changed(dir, touched)?;
    Ok(back.kept)
}

/// Whether all copies are there: without its copy nothing of a file could be given back.
///
/// # Errors
/// [`BaseError::Read`].
pub(super) fn check(dir: &Path, touched: &[Touched]) -> Result<(), MergeError> {
    check_copies(dir, &open(dir)?, touched.iter())
}

fn check_copies<'a>(dir: &Path, root: &Dir, touched: impl Iterator<Item = &'a Touched>) -> Result<(), MergeError> {
    for copy in touched.filter_map(|file| file.copy).map(old_name) {
        let missing = |source| BaseError::Read { path: dir.join(&copy), source };
        root.symlink_metadata(&copy).map_err(missing)?;
    }
    Ok(())
}

struct Back<'a> {
    root: &'a Dir,
    kept: Vec<Kept>,
}

/// Where a file is made that is given back.
fn back_name() -> PathBuf {
    Path::new(STATE_DIR).join(STORE).join("back")
}

/// Where a file of the directory lies while it is decided what it is.
fn aside_name(n: usize) -> PathBuf {
    Path::new(STATE_DIR).join(STORE).join(format!("aside-{n}"))
}

impl Back<'_> {
    /// Where there was nothing, only what the merge left goes.
    fn take_away(&mut self, n: usize, file: &Touched) -> Result<(), MergeError> {
        let (path, aside) = (&file.path, aside_name(n));
        let ours = |hash: BlobId| file.left == Some(Left::File(hash));
        self.settle(path, &aside, ours)?;
        // Directories above that were made for it go with it.
        let Some(found) = self.look(path)? else { return remove(self.root, path) };
        if !found.is_some_and(ours) {
            self.kept.push(Kept { path: path.clone(), at: path.clone() });
            return Ok(());
        }
        self.root.rename(path.as_str(), self.root, &aside).map_err(failed(path))?;
        self.settle(path, &aside, ours)?;
        remove(self.root, path)
    }

    fn give_back(&mut self, n: usize, file: &Touched, copy: &Path) -> Result<(), MergeError> {
        let (path, aside) = (&file.path, aside_name(n));
        let before = hash(self.root, copy).map_err(failed(path))?;
        let ours = |hash: BlobId| hash == before || file.left == Some(Left::File(hash));
        self.settle(path, &aside, ours)?;
        match self.look(path)? {
            Some(Some(found)) if found == before && self.has_mode(path, file.executable)? => return Ok(()),
            Some(_) => {
                self.root.rename(path.as_str(), self.root, &aside).map_err(failed(path))?;
                self.settle(path, &aside, ours)?;
            }
            None => {}
        }
        match self.root.remove_file(back_name()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(path)(error)),
            _ => {}
        }
        let mut back = create(self.root, &back_name(), file.executable)?;
        let mut kept = self.root.open(copy).map_err(failed(path))?;
        io::copy(&mut kept, &mut back).and_then(|_| back.sync_all()).map_err(failed(path))?;
        drop(back);
        check_absent(self.root, path, &[])?;
        put(self.root, &back_name(), path)
    }

    /// Decides what becomes of something that lies aside: what is ours goes, what is somebody's is kept.
    fn settle(&mut self, path: &EntryPath, aside: &Path, ours: impl Fn(BlobId) -> bool) -> Result<(), MergeError> {
        let is_file = match self.root.symlink_metadata(aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(failed(path))?.is_file(),
        };
        if is_file && ours(hash(self.root, aside).map_err(failed(path))?) {
            return self.root.remove_file(aside).map_err(failed(path));
        }
        let at = self.free(path)?;
        put(self.root, aside, &at)?;
        self.kept.push(Kept { path: path.clone(), at });
        Ok(())
    }

    /// What is at a path: nothing, a file with this hash, or something else.
    fn look(&self, path: &EntryPath) -> Result<Option<Option<BlobId>>, MergeError> {
        let found = match self.root.symlink_metadata(path.as_str()) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            found => found.map_err(failed(path))?,
        };
        match found.is_file() {
            true => hash(self.root, Path::new(path.as_str())).map(|hash| Some(Some(hash))).map_err(failed(path)),
            false => Ok(Some(None)),
        }
    }

    /// A name beside a path that nothing has.
    fn free(&self, path: &EntryPath) -> Result<EntryPath, MergeError> {
        let beside = |n: u32| match n {
            1 => format!("{path}.saved"),
            _ => format!("{path}.saved-{n}"),
        };
        let short = |n: u32| match path.parent() {
            Some(parent) => format!("{parent}/saved-{n}"),
            None => format!("saved-{n}"),
        };
        let names = (1..NAMES).map(beside).chain((1..NAMES).map(short));
        for at in names.filter_map(|name| EntryPath::parse(&name).ok()) {
            if self.look(&at)?.is_none() {
                return Ok(at);
            }
        }
        Err(failed(path)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Whether a file may be executed or not as before.
    #[cfg(unix)]
    fn has_mode(&self, path: &EntryPath, executable: bool) -> Result<bool, MergeError> {
        use cap_std::fs::PermissionsExt as _;
        let found = self.root.symlink_metadata(path.as_str()).map_err(failed(path))?;
        Ok((found.permissions().mode() & 0o100 != 0) == executable)
    }

    /// There is no such bit, so it is as it was.
    #[cfg(not(unix))]
    fn has_mode(&self, _path: &EntryPath, _executable: bool) -> Result<bool, MergeError> {
        Ok(true)
    }
}

fn hash(root: &Dir, path: &Path) -> io::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    let file: File = root.open(path)?.into_std();
    hasher.update_reader(file)?;
    Ok(BlobId::from_bytes(*hasher.finalize().as_bytes()))
}
