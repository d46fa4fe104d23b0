//! From content in the blob store to files in a fresh directory. Nothing is ever written over, links are never followed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use futures::{StreamExt as _, stream};
use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::{ContentIndex, FileEntry, SegmentRef};
use tokio::sync::mpsc;

use crate::blobs::{BlobError, Blobs};

/// Segments read ahead of the writer: bounds memory at some tens of MiB.
const AHEAD: usize = 3;
/// Threads that hash what was written.
const HASHERS: usize = 4;

/// Whether the files must survive a power cut when [`unpack`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every file and directory is synced: for installs.
    Synced,
    /// The system writes when it likes: for a directory that the user asked for.
    Cached,
}

/// Why a directory was not filled. What was written so far is left for the caller to remove.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The directory is there already and holds something.
    #[error("`{}` is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file that was just written cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A segment cannot be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl UnpackError {
    /// True when the disk or a quota is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Write { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Blob(error) => error.is_disk_full(),
            Self::NotEmpty { .. } | Self::Read { .. } => false,
        }
    }
}

/// Writes all files of `index` below `target`, which must be empty or absent. `wrote` hears the bytes of each segment.
///
/// # Errors
/// [`UnpackError`].
pub async fn unpack(
    blobs: &Blobs,
    index: Arc<ContentIndex>,
    target: &Path,
    durability: Durability,
    wrote: impl Fn(u64),
) -> Result<(), UnpackError> {
    let (segments, arriving) = mpsc::channel::<Content>(AHEAD);
    let writer = {
        let (index, target) = (Arc::clone(&index), target.to_owned());
        tokio::task::spawn_blocking(move || write_tree(&index, &target, durability, arriving))
    };
    let read = async {
        // With whole copies the kernel does all the work; a segment of many small files is read once for all of them.
        let wanted: Vec<(SegmentRef, bool)> =
            (0..index.segments().len()).map(|at| (index.segments()[at], index.carried(at).len() == 1)).collect();
        let mut reading = stream::iter(wanted).map(|(segment, one)| content(blobs, segment, one)).buffered(AHEAD);
        while let Some(ready) = reading.next().await {
            let (n_bytes, content) = ready?;
            if segments.send(content).await.is_err() {
                break; // the writer stopped and says why
            }
            wrote(n_bytes);
        }
        drop(segments);
        Ok::<_, UnpackError>(())
    };
    let (read, written) = futures::join!(read, writer);
    // A reader's fault ends the channel early, which the writer would report as a short tree.
    read?;
    written.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The first file below `dir` that is not what `index` declares, hashed as it lies on disk. Segments were verified when they
/// came, but only their author says that they make up these files; and a disk may have lost bits since.
///
/// # Errors
/// [`UnpackError::Read`].
pub async fn first_wrong_file(index: Arc<ContentIndex>, dir: &Path) -> Result<Option<EntryPath>, UnpackError> {
    let dir = dir.to_owned();
    let checked = tokio::task::spawn_blocking(move || first_wrong(&index, &dir)).await;
    checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn first_wrong(index: &ContentIndex, dir: &Path) -> Result<Option<EntryPath>, UnpackError> {
    let files = index.files();
    let next = AtomicUsize::new(0);
    let check = || -> Result<Option<EntryPath>, UnpackError> {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let path = dir.join(file.entry.path.as_str());
            let mut hasher = blake3::Hasher::new();
            let hashed = File::open(&path).and_then(|open| hasher.update_reader(open).map(|_| ()));
            hashed.map_err(|source| UnpackError::Read { path, source })?;
            if BlobId::from_bytes(*hasher.finalize().as_bytes()) != file.entry.hash {
                return Ok(Some(file.entry.path.clone()));
            }
        }
        Ok(None)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..HASHERS.min(files.len())).map(|_| scope.spawn(check)).collect();
        let mut wrong = None;
        for thread in threads {
            wrong = wrong.or(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(wrong)
    })
}

/// The bytes of a segment.
enum Content {
    Bytes(Bytes),
    File(File),
}

async fn content(blobs: &Blobs, segment: SegmentRef, one: bool) -> Result<(u64, Content), BlobError> {
    let content = match one {
        true => Content::File(blobs.open_file(segment.hash).await?),
        false => Content::Bytes(blobs.read_segment(segment.hash).await?),
    };
    Ok((segment.size.into(), content))
}

fn write_tree(
    index: &ContentIndex,
    target: &Path,
    durability: Durability,
    mut segments: mpsc::Receiver<Content>,
) -> Result<(), UnpackError> {
    let mut tree = Tree::create(target)?;
    for file in index.files().iter().filter(|file| file.entry.size == 0) {
        tree.write(&file.entry, true, 0, |_| Ok(()))?;
    }
    // A segment may carry the middle of a file before its beginning, when another file needed it first.
    let mut made = vec![false; index.files().len()];
    for number in 0..index.segments().len() {
        let Some(content) = segments.blocking_recv() else { return Ok(()) };
        for run in index.carried(number) {
            let file = run.file as usize;
            let first = !std::mem::replace(&mut made[file], true);
            let write = |open: &mut File| content.write(open, run.offset, run.len);
            tree.write(&index.files()[file].entry, first, run.file_offset, write)?;
        }
    }
    if durability == Durability::Synced { tree.sync(index) } else { Ok(()) }
}

impl Content {
    /// Writes `len` bytes from `offset` on to `target`.
    fn write(&self, target: &mut File, offset: u32, len: u32) -> std::io::Result<()> {
        match self {
            Self::Bytes(bytes) => target.write_all(&bytes[offset as usize..(offset + len) as usize]),
            Self::File(source) => {
                let mut source = source;
                source.seek(SeekFrom::Start(offset.into()))?;
                let copied = std::io::copy(&mut source.take(len.into()), target)?;
                if copied == u64::from(len) { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
            }
        }
    }
}

/// A directory being filled, held open: whatever happens to its path meanwhile, files land in it.
struct Tree {
    path: PathBuf,
    root: Dir,
    /// The directory of the last file; neighbours in tree order share it.
    last: Option<(String, Dir)>,
}

impl Tree {
    fn create(path: &Path) -> Result<Self, UnpackError> {
        let failed = |source| UnpackError::Write { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let root = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        if root.entries().map_err(failed)?.next().is_some() {
            return Err(UnpackError::NotEmpty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), root, last: None })
    }

    /// Writes a run of a file. The first run makes the file, which must not exist.
    fn write(
        &mut self,
        file: &FileEntry,
        first: bool,
        offset: u64,
        content: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<(), UnpackError> {
        let path = self.path.join(file.path.as_str());
        let failed = |source| UnpackError::Write { path, source };
        let dir = self.parent(&file.path)?;
        let mut options = OpenOptions::new();
        options.write(true).follow(FollowSymlinks::No);
        if first {
            options.create_new(true);
            set_mode(&mut options, file.executable);
        }
        let write = || -> std::io::Result<()> {
            let mut open = dir.open_with(file.path.name(), &options)?.into_std();
            if offset > 0 {
                open.seek(SeekFrom::Start(offset))?;
            }
            content(&mut open)
        };
        write().map_err(failed)
    }

    fn parent(&mut self, path: &EntryPath) -> Result<&Dir, UnpackError> {
        let parent = path.parent().unwrap_or_default();
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let dir =
                self.open_dir(parent).map_err(|source| UnpackError::Write { path: self.path.join(parent), source })?;
            self.last = Some((parent.to_owned(), dir));
        }
        Ok(&self.last.as_ref().expect("set above").1)
    }

    fn open_dir(&self, parent: &str) -> std::io::Result<Dir> {
        let mut dir = self.root.try_clone()?;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            dir = match dir.open_dir_nofollow(part) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    dir.create_dir(part)?;
                    dir.open_dir_nofollow(part)?
                }
                opened => opened?,
            };
        }
        Ok(dir)
    }

    /// Syncs files, then the directories that name them, deepest last named first.
    fn sync(mut self, index: &ContentIndex) -> Result<(), UnpackError> {
        let mut parents = BTreeSet::new();
        for file in index.files() {
            let path = self.path.join(file.entry.path.as_str());
            let failed = |source| UnpackError::Write { path, source };
            let dir = self.parent(&file.entry.path)?;
            // Windows syncs only through a handle that may write.
            let mut options = OpenOptions::new();
            options.read(true).write(cfg!(windows)).follow(FollowSymlinks::No);
            let sync = || dir.open_with(file.entry.path.name(), &options)?.sync_all();
            sync().map_err(failed)?;
            let mut parent = file.entry.path.parent();
            while let Some(path) = parent {
                parents.insert(path.to_owned());
                parent = path.rsplit_once('/').map(|(above, _)| above);
            }
        }
        let parents = parents.iter().rev().map(String::as_str);
        for parent in parents.chain([""]) {
            crate::durable::sync_dir(&self.path.join(parent))
                .map_err(|error| UnpackError::Write { path: self.path.join(parent), source: error.into() })?;
        }
        Ok(())
    }
}

#[cfg(unix)]
fn set_mode(options: &mut OpenOptions, executable: bool) {
    use cap_std::fs::OpenOptionsExt as _;
    options.mode(if executable { 0o755 } else { 0o644 });
}

#[cfg(not(unix))]
fn set_mode(_options: &mut OpenOptions, _executable: bool) {}

#[cfg(test)]
mod tests {
    use syncra_protocol::tree::PackParams;

    use super::super::{pack, walk};
    use super::*;

    async fn round_trip(from: &Path, to: &Path) -> Result<Arc<ContentIndex>, UnpackError> {
        let store = tempfile::tempdir().unwrap();
        let (blobs, _) = Blobs::open(store.path()).await.unwrap();
        let files = walk::walk(from, &walk::Selection::default()).unwrap();
        let packed = pack::pack(&blobs, files, PackParams::default(), |_| false, |_| {}).await.unwrap();
        let index = Arc::new(packed.index);
        let done = unpack(&blobs, Arc::clone(&index), to, Durability::Synced, |_| {}).await;
        blobs.shutdown().await;
        done.map(|()| index)
    }

    #[tokio::test]
    async fn what_was_packed_comes_out_again_byte_for_byte() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let large: Vec<u8> =
            (0..12_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2..3].to_vec()).collect();
        std::fs::create_dir_all(from.path().join("deep/er")).unwrap();
        for (name, bytes) in
            [("large", &large[..]), ("empty", b""), ("deep/er/a", b"a"), ("deep/b", b"same"), ("c", b"same")]
        {
            std::fs::write(from.path().join(name), bytes).unwrap();
        }
        let index = round_trip(from.path(), &to.path().join("new")).await.unwrap();
        assert_eq!(index.files().len(), 5);
        for file in index.files() {
            let name = file.entry.path.as_str();
            let (was, is) = (std::fs::read(from.path().join(name)), std::fs::read(to.path().join("new").join(name)));
            assert!(was.unwrap() == is.unwrap(), "{name} differs");
        }
    }

    #[tokio::test]
    async fn a_directory_that_holds_something_is_left_alone() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path().join("a"), "new").unwrap();
        std::fs::write(to.path().join("a"), "old").unwrap();
        let refused = round_trip(from.path(), to.path()).await;
        assert!(matches!(refused, Err(UnpackError::NotEmpty { .. })));
        assert_eq!(std::fs::read(to.path().join("a")).unwrap(), b"old");
    }
}
