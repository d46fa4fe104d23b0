//! How truth gets to disk, and the only way: append and sync, or replace a whole file by rename.
//!
//! An acknowledged write is on the medium, with the directory entry that leads to it. A failed `fsync` is never
//! tried again on the same file: the kernel may have dropped the dirty pages and would report success, so the file is
//! [`WriteError::Broken`] until it is opened anew by a process that checks what is really there.

pub(crate) mod frame;
pub(crate) mod segment;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Why bytes did not get to disk. Cheap to clone: one failed sync may have many waiters.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The disk or the user's quota is full. Nothing was half written.
    #[error("no space left on the disk of {path}")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
    },
    /// The file system does not take writes.
    #[error("{path} is on a read-only file system")]
    ReadOnly {
        /// What was to be written.
        path: PathBuf,
    },
    /// The user may not write there.
    #[error("no permission to write {path}")]
    Permission {
        /// What was to be written.
        path: PathBuf,
    },
    /// The system could not say that the bytes are on the medium; the file takes nothing more.
    #[error("{path} could not be synced to disk")]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An earlier failure left the end of this file unknown; it must be opened and checked anew.
    #[error("{path} takes no more writes after an earlier failure, until the next start")]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// Any other failure.
    #[error("cannot write {path}")]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl WriteError {
    /// Sorts an error of the system by what the user can do about it.
    #[must_use]
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Io { path, source: Arc::new(source) },
        }
    }

    fn from_sync(path: &Path, source: io::Error) -> Self {
        match Self::from_io(path, source) {
            Self::Io { path, source } => Self::Sync { path, source },
            other => other,
        }
    }

    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}

impl From<WriteError> for io::Error {
    /// With the kind that the system gave, so that a full disk stays one.
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::DiskFull { .. } => io::ErrorKind::StorageFull,
            WriteError::ReadOnly { .. } => io::ErrorKind::ReadOnlyFilesystem,
            WriteError::Permission { .. } => io::ErrorKind::PermissionDenied,
            WriteError::Sync { source, .. } | WriteError::Io { source, .. } => source.kind(),
            WriteError::Broken { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Puts `bytes` at `path` so that after a crash there is the old content or the new, never a mixture: temporary file,
/// sync, rename, sync of the directory. The file is readable by its owner only.
///
/// # Errors
/// [`WriteError`]; the old content is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    // Two threads that save the same file must not share its temporary file; replaces are rare, so they all take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = temporary_path(path);
    let written = write_and_sync(&temporary, bytes)
        .and_then(|()| rename(&temporary, path).map_err(|source| WriteError::from_io(path, source)));
    if let Err(error) = written {
        // The half-written file would only take space; the next replace overwrites it anyway.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_dir(parent(path))
}

/// Gives a file or directory another name on the same file system; a file that has that name goes.
///
/// # Errors
/// What the system said.
#[cfg(unix)]
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Lets two names on the same file system change what they name, at one stroke. False where the system cannot do that;
/// then nothing was changed.
///
/// # Errors
/// What the system said.
#[cfg(unix)]
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            // Old kernels, and file systems that do not know of it.
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (one, other);
        Ok(false)
    }
}

/// Lets two names on the same file system change what they name, at one stroke: not on this system, so nothing is changed.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub(crate) fn exchange(_one: &Path, _other: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Gives a file or directory another name on the same file system; a file that has that name goes.
///
/// On Windows whoever looks into it at this moment is in the way, mostly a virus scanner at what was just written: so
/// this tries again for a while.
///
/// # Errors
/// What the system said at last.
#[cfg(not(unix))]
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use std::time::{Duration, Instant};
    const PATIENCE: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(20);
    /// `ERROR_SHARING_VIOLATION`, for which Rust has no kind.
    const SHARING_VIOLATION: i32 = 32;
    let began = Instant::now();
    loop {
        match fs::rename(from, to) {
            Err(error)
                if (error.kind() == io::ErrorKind::PermissionDenied
                    || error.raw_os_error() == Some(SHARING_VIOLATION))
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::park_timeout(PAUSE);
            }
            done => return done,
        }
    }
}

/// Where [`replace`] prepares the new content of `path`.
#[must_use]
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut file = private_options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(|source| WriteError::from_io(path, source))?;
    file.write_all(bytes).map_err(|source| WriteError::from_io(path, source))?;
    file.sync_all().map_err(|source| WriteError::from_sync(path, source))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`WriteError::Sync`] and the like.
#[cfg(unix)]
pub fn sync_dir(dir: &Path) -> Result<(), WriteError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| WriteError::from_sync(dir, source))
}

/// Makes the names in a directory durable.
///
/// Windows has no such call for a directory; NTFS journals renames, and the file itself was flushed before.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn sync_dir(_dir: &Path) -> Result<(), WriteError> {
    Ok(())
}

/// Makes `dir` and its missing parents, for the owner only, each entry synced.
///
/// # Errors
/// [`WriteError`], also when something else than a directory is in the way.
pub fn make_dir(dir: &Path) -> Result<(), WriteError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    if above != dir {
        make_dir(above)?;
    }
    match private_dir(dir) {
        Ok(()) => sync_dir(above),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(source) => Err(WriteError::from_io(dir, source)),
    }
}

/// Makes one directory, for the owner only.
#[cfg(unix)]
fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(dir)
}

/// Makes one directory. On Windows it inherits the access list of the one above: see [`crate::home`].
#[cfg(not(unix))]
fn private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)
}

/// Options that make files readable by their owner only.
#[cfg(unix)]
pub(crate) fn private_options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Options for files of the owner; on Windows the directory's access list holds for them.
#[cfg(not(unix))]
pub(crate) fn private_options() -> OpenOptions {
    OpenOptions::new()
}

/// A file that only grows, and remembers when its end can no longer be trusted.
#[derive(Debug)]
pub struct AppendFile {
    path: PathBuf,
    file: File,
    len: u64,
    broken: bool,
}

impl AppendFile {
    /// Opens an existing file whose first `len` bytes were checked; what is behind them is cut off.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn open(path: &Path, len: u64) -> Result<Self, WriteError> {
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(|source| WriteError::from_io(path, source))?;
        let mut file = Self { path: path.to_owned(), file, len, broken: false };
        file.cut().map_err(|source| WriteError::from_io(path, source))?;
        Ok(file)
    }

    /// Bytes in the file.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// True if there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True after a failure that leaves the content unknown.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `bytes` at the end, not yet synced. A failure takes back what was written of them.
    ///
    /// # Errors
    /// [`WriteError`]; [`WriteError::Broken`] when an earlier failure could not be taken back.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, WriteError> {
        if self.broken {
            return Err(WriteError::Broken { path: self.path.clone() });
        }
        let at = self.len;
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                Ok(at)
            }
            Err(source) => {
                // Half a frame in the middle of the file would look like damage to the next start.
                self.broken = self.cut().is_err();
                Err(WriteError::from_io(&self.path, source))
            }
        }
    }

    /// Takes back everything behind the first `len` bytes, not yet synced.
    ///
    /// # Errors
    /// [`WriteError`]; the file is then broken.
    pub fn take_back(&mut self, len: u64) -> Result<(), WriteError> {
        self.len = self.len.min(len);
        self.cut().map_err(|source| {
            self.broken = true;
            WriteError::from_io(&self.path, source)
        })
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// [`WriteError`]; the file takes nothing more then.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        if self.broken {
            return Err(WriteError::Broken { path: self.path.clone() });
        }
        self.file.sync_all().map_err(|source| {
            self.broken = true;
            WriteError::from_sync(&self.path, source)
        })
    }

    /// From now on every write fails: the handle is exchanged for one that can only read.
    #[cfg(test)]
    pub(crate) fn fail_from_now_on(&mut self) {
        self.file = File::open(&self.path).expect("it is open already");
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.seek(SeekFrom::Start(self.len)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_the_new_content_and_nothing_else() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("ein Ordner ü").join("config.toml");
        make_dir(parent(&path)).expect("directory");
        replace(&path, b"one").expect("first");
        replace(&path, b"two").expect("second");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::read_dir(parent(&path)).expect("there").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_directories_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a/b/secret");
        make_dir(parent(&path)).expect("directory");
        replace(&path, b"x").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(parent(&path))), (0o600, 0o700));
    }

    #[test]
    fn a_file_in_the_way_of_a_directory_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("file");
        replace(&path, b"x").expect("written");
        make_dir(&path).expect_err("a file is in the way");
        make_dir(&path.join("below")).expect_err("a file is in the way");
    }

    #[test]
    fn a_failed_append_is_taken_back_or_breaks_the_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("log");
        fs::write(&path, b"checked, unchecked").expect("written");
        let mut file = AppendFile::open(&path, 7).expect("opens");
        assert_eq!(fs::read(&path).expect("there"), b"checked");
        assert_eq!(file.append(b"!").expect("appended"), 7);
        // A handle that cannot write stands for a disk that fails: neither the bytes nor the cut go through.
        file.fail_from_now_on();
        assert!(matches!(file.append(b"lost"), Err(WriteError::Io { .. })));
        assert!(matches!(file.append(b"lost"), Err(WriteError::Broken { .. })));
        assert!(matches!(file.sync(), Err(WriteError::Broken { .. })));
        assert_eq!(fs::read(&path).expect("there"), b"checked!");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named() {
        let mut full = OpenOptions::new().write(true).open("/dev/full").expect("device");
        let error = full.write_all(b"x").expect_err("full");
        assert!(WriteError::from_io(Path::new("x"), error).is_disk_full());
    }
}
