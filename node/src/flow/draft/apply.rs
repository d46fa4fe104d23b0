//! Writing a draft into a directory in which its reader may work too: a file is replaced only if it is as it was left here,
//! at once or not at all, below a directory handle and never through a link.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};
use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::ContentIndex;
use tokio::runtime::Handle;

use crate::blobs::{BlobError, Blobs};
use crate::clock;
use crate::flow::checkout::{BaseError, DirLock};

/// Where a followed directory keeps what was written into it. A package cannot hold such a path.
const OWN_DIR: &str = ".syncra";
/// What was written, by path.
const STATE: &str = "draft.json";

/// What changed in a directory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Files that were written.
    pub written: Vec<String>,
    /// Files that were removed.
    pub removed: Vec<String>,
    /// Files that stay as they are, because somebody changed them here: the draft has others.
    pub conflicts: Vec<String>,
}

/// Why a draft was not written out, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Something else is there.
    #[error("`{}` holds files that do not come from a draft", .0.display())]
    Taken(PathBuf),
    /// The system refuses.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another command changes the directory.
    #[error(transparent)]
    Busy(#[from] BaseError),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A file is not what was declared.
    #[error("the file `{0}` is not the one that was declared")]
    WrongFile(EntryPath),
}

/// What is known to be ours in a directory.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Left {
    /// BLAKE3 in hexadecimal, and whether it may be executed.
    files: BTreeMap<String, (String, bool)>,
    /// What the draft had where somebody changed something: who takes that for his own has no conflict any more.
    #[serde(default)]
    theirs: BTreeMap<String, String>,
}

/// Whether a draft may be written there: it is absent, empty, or was followed before.
pub(super) fn ensure_followable(dir: &Path) -> Result<(), ApplyError> {
    let is_free = crate::flow::stage::is_free(dir).map_err(|source| write(dir, source))?;
    let was_followed = dir.join(OWN_DIR).join(STATE).is_file();
    if is_free || was_followed { Ok(()) } else { Err(ApplyError::Taken(dir.to_owned())) }
}

fn write(path: &Path, source: std::io::Error) -> ApplyError {
    ApplyError::Write { path: path.to_owned(), source }
}

/// Makes the directory what the draft is, but for what somebody changed in it.
pub(super) async fn apply(blobs: &Blobs, index: &ContentIndex, dir: &Path) -> Result<Applied, ApplyError> {
    let (blobs, index, dir, handle) = (blobs.clone(), index.clone(), dir.to_owned(), Handle::current());
    let work = move || Target::open(&dir)?.apply(&index, |file, sink| copy(&handle, &blobs, &index, file, sink));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The bytes of a file, piece by piece, checked after the last.
fn copy(
    handle: &Handle,
    blobs: &Blobs,
    index: &ContentIndex,
    path: &EntryPath,
    sink: &mut std::fs::File,
) -> Result<(), CopyError> {
    let file = index.find(path).expect("a file of the draft");
    let mut hasher = blake3::Hasher::new();
    for part in index.parts(file) {
        let segment = index.segments()[part.segment as usize].hash;
        let bytes = handle.block_on(blobs.read_at(segment, part.offset.into(), part.len.into()))?;
        hasher.update(&bytes);
        sink.write_all(&bytes)?;
    }
    match BlobId::from_bytes(*hasher.finalize().as_bytes()) == file.entry.hash {
        true => Ok(()),
        false => Err(CopyError::Wrong),
    }
}

#[derive(Debug)]
enum CopyError {
    Io(std::io::Error),
    Blob(BlobError),
    Look(ApplyError),
    Wrong,
}

impl From<std::io::Error> for CopyError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<BlobError> for CopyError {
    fn from(error: BlobError) -> Self {
        Self::Blob(error)
    }
}

/// A directory, held open.
struct Target {
    path: PathBuf,
    root: Dir,
    own: Dir,
    left: Left,
    _lock: DirLock,
}

impl Target {
    fn open(path: &Path) -> Result<Self, ApplyError> {
        let failed = |source| write(path, source);
        std::fs::create_dir_all(path).map_err(failed)?;
        let root = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        match root.create_dir(OWN_DIR) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let own = root.open_dir_nofollow(OWN_DIR).map_err(failed)?;
        let lock = DirLock::take(path)?;
        let left = match own.read(STATE) {
            // What cannot be read says nothing: every file that differs is then somebody else's.
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Left::default(),
            Err(error) => return Err(failed(error)),
        };
        let target = Self { path: path.to_owned(), root, own, left, _lock: lock };
        // From now on the directory is one that is followed, however this call ends.
        target.keep()?;
        Ok(target)
    }

    fn apply(
        mut self,
        index: &ContentIndex,
        copy: impl Fn(&EntryPath, &mut std::fs::File) -> Result<(), CopyError>,
    ) -> Result<Applied, ApplyError> {
        let applied = self.write_all(index, copy);
        // Also of what was written before something failed: else it would be somebody else's the next time.
        let kept = self.keep();
        let done = applied?;
        kept.map(|()| done)
    }

    fn write_all(
        &mut self,
        index: &ContentIndex,
        copy: impl Fn(&EntryPath, &mut std::fs::File) -> Result<(), CopyError>,
    ) -> Result<Applied, ApplyError> {
        let mut done = Applied::default();
        let wanted: BTreeSet<&str> = index.files().iter().map(|file| file.entry.path.as_str()).collect();
        // Removals first: what is a directory now may have been a file.
        let gone: Vec<String> =
            self.left.files.keys().filter(|path| !wanted.contains(path.as_str())).cloned().collect();
        for text in gone {
            let Ok(path) = EntryPath::parse(&text) else { continue };
            match self.look(&path)? {
                Found::Nothing => drop(self.left.files.remove(&text)),
                found if found.is(self.left.files.get(&text)) || found.has(self.left.theirs.get(&text)) => {
                    self.remove(&path)?;
                    self.left.files.remove(&text);
                    self.left.theirs.remove(&text);
                    done.removed.push(text);
                }
                _ => done.conflicts.push(text),
            }
        }
        for file in index.files() {
            let path = &file.entry.path;
            let text = path.as_str().to_owned();
            let hash = blake3::Hash::from_bytes(*file.entry.hash.as_bytes()).to_hex().to_string();
            let new = (hash, file.entry.executable);
            let left = self.left.files.get(&text);
            if left == Some(&new) {
                // Nothing new; what somebody does with it meanwhile is no conflict.
                continue;
            }
            let found = self.look(path)?;
            let is_taken = found.has(self.left.theirs.get(&text));
            if found.is(Some(&new)) && left.is_none_or(|left| left.1 == new.1) {
                self.left.theirs.remove(&text);
                self.left.files.insert(text, new);
            } else if (found == Found::Nothing && left.is_none() || found.is(left) || is_taken)
                && self.replace(path, new.1, &found, &copy)?
            {
                self.left.theirs.remove(&text);
                self.left.files.insert(text.clone(), new);
                done.written.push(text);
            } else {
                self.left.theirs.insert(text.clone(), new.0);
                done.conflicts.push(text);
            }
        }
        Ok(done)
    }

    /// What lies at a path.
    fn look(&self, path: &EntryPath) -> Result<Found, ApplyError> {
        let dir = match self.parent(path, false) {
            Ok(dir) => dir,
            Err(error) if is_absent(&error) => return Ok(Found::Nothing),
            // A link or a file where a directory should be.
            Err(_) => return Ok(Found::Other),
        };
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No);
        let failed = |source| write(&self.path.join(path.as_str()), source);
        match dir.symlink_metadata(path.name()) {
            Err(error) if is_absent(&error) => return Ok(Found::Nothing),
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.is_file() => return Ok(Found::Other),
            Ok(_) => {}
        }
        let mut file = match dir.open_with(path.name(), &options) {
            Ok(file) => file.into_std(),
            Err(error) if is_absent(&error) => return Ok(Found::Nothing),
            Err(error) => return Err(failed(error)),
        };
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => drop(hasher.update(&buffer[..n])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Found::File(hasher.finalize().to_hex().to_string()))
    }

    fn remove(&self, path: &EntryPath) -> Result<(), ApplyError> {
        let failed = |source| write(&self.path.join(path.as_str()), source);
        self.parent(path, false).and_then(|dir| dir.remove_file(path.name())).map_err(failed)?;
        // Directories that are empty now; the first that is not ends it.
        let mut above = path.parent();
        while let Some(dir) = above {
            if self.root.remove_dir(dir).is_err() {
                break;
            }
            above = dir.rsplit_once('/').map(|(above, _)| above);
        }
        Ok(())
    }

    /// Writes a file beside where it belongs, then renames it. False if something else than `found` lies there by then.
    fn replace(
        &self,
        path: &EntryPath,
        executable: bool,
        found: &Found,
        copy: impl Fn(&EntryPath, &mut std::fs::File) -> Result<(), CopyError>,
    ) -> Result<bool, ApplyError> {
        let whole = self.path.join(path.as_str());
        let temporary = format!("new-{:08x}", u32::from_le_bytes(clock::random()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).follow(FollowSymlinks::No);
        set_mode(&mut options, executable);
        let written = (|| {
            let mut file = self.own.open_with(&temporary, &options)?.into_std();
            copy(path, &mut file)?;
            let dir = self.parent(path, true)?;
            // The bytes of a large file took their time.
            let is_same = self.look(path).map_err(CopyError::Look)? == *found;
            if is_same {
                self.own.rename(&temporary, &dir, path.name())?;
            }
            Ok::<_, CopyError>(is_same)
        })();
        if !matches!(written, Ok(true)) {
            drop(self.own.remove_file(&temporary));
        }
        written.map_err(|error| match error {
            CopyError::Io(source) => write(&whole, source),
            CopyError::Blob(error) => error.into(),
            CopyError::Look(error) => error,
            CopyError::Wrong => ApplyError::WrongFile(path.clone()),
        })
    }

    /// The directory of a file, made if it is to be written, no link on the way.
    fn parent(&self, path: &EntryPath, make: bool) -> std::io::Result<Dir> {
        let mut dir = self.root.try_clone()?;
        let mut parts: Vec<&str> = path.parts().collect();
        parts.pop();
        for part in parts {
            if make {
                match dir.create_dir(part) {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            dir = dir.open_dir_nofollow(part)?;
        }
        Ok(dir)
    }

    /// Writes down what is ours, at once or not at all.
    fn keep(&self) -> Result<(), ApplyError> {
        let failed = |source| write(&self.path.join(OWN_DIR).join(STATE), source);
        let bytes = serde_json::to_vec(&self.left).map_err(|error| failed(error.into()))?;
        self.own.write("draft.new", bytes).map_err(failed)?;
        self.own.rename("draft.new", &self.own, STATE).map_err(failed)
    }
}

/// What lies where a file of the draft belongs.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A file with this hash.
    File(String),
    /// A directory, a link, or something behind one.
    Other,
}

impl Found {
    fn has(&self, hash: Option<&String>) -> bool {
        matches!((self, hash), (Self::File(found), Some(hash)) if found == hash)
    }

    fn is(&self, file: Option<&(String, bool)>) -> bool {
        matches!((self, file), (Self::File(found), Some((hash, _))) if found == hash)
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

#[cfg(unix)]
fn set_mode(options: &mut OpenOptions, executable: bool) {
    use cap_std::fs::OpenOptionsExt as _;
    options.mode(if executable { 0o755 } else { 0o644 });
}

#[cfg(not(unix))]
fn set_mode(_options: &mut OpenOptions, _executable: bool) {}
