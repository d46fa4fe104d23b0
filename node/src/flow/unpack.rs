//! From content in the blob store to files in a fresh directory. Nothing is ever written over, links are never followed,
//! and every file is hashed: segments were verified when they came, but only their author says that they make up these
//! files, and a disk may have lost bits since.
//!
//! Files are hashed as they are written, run after run. A file whose runs come in another order, or which the kernel
//! copies, is read again afterwards.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use futures::future::{Either, select};
use futures::{StreamExt as _, stream};
use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::{Carried, ContentIndex, FileEntry, SegmentRef};
use tokio::sync::mpsc;

use crate::blobs::{BlobError, Blobs, Listening};
use crate::sync::fetch::Landed;

/// Segments read ahead of the writer: bounds memory at some tens of MiB.
const AHEAD: usize = 3;
/// Threads that hash what could not be hashed while it was written.
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
    /// A file is not what its author declared.
    #[error("the file `{path}` is not the one that was declared")]
    WrongFile {
        /// The file.
        path: EntryPath,
    },
    /// The fetch that should bring the content ended before.
    #[error("the content did not come completely")]
    NeverCame,
}

impl UnpackError {
    /// True when the disk or a quota is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Write { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Blob(error) => error.is_disk_full(),
            Self::NotEmpty { .. } | Self::Read { .. } | Self::WrongFile { .. } | Self::NeverCame => false,
        }
    }
}

/// Writes all files of the content below `target`, which must be empty or absent, while its segments land. `wrote` hears the
/// bytes of each segment.
///
/// # Errors
/// [`UnpackError`].
pub async fn unpack(
    blobs: &Blobs,
    mut landed: Landed,
    target: &Path,
    durability: Durability,
    wrote: impl Fn(u64),
) -> Result<(), UnpackError> {
    let index = landed.index().await.ok_or(UnpackError::NeverCame)?;
    let listening = blobs.listen();
    let (segments, arriving) = mpsc::channel::<Content>(AHEAD);
    let writer = {
        let (index, target) = (Arc::clone(&index), target.to_owned());
        tokio::task::spawn_blocking(move || write_tree(&index, &target, durability, arriving))
    };
    let read = async {
        let wanted: Vec<Source> = (0..index.segments().len()).map(|number| Source::of(&index, number)).collect();
        let mut reading =
            stream::iter(wanted).map(|source| source.read(blobs, &listening, landed.clone())).buffered(AHEAD);
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

/// What a fetch and the write of what it brings give together. A write that fails ends the fetch, which would come for
/// nothing; what came stays for the next call. A fetch that fails is waited for by the writer, so that nobody writes any more
/// when this returns.
///
/// # Errors
/// Those of either.
pub async fn while_fetching<H, W, E: From<UnpackError>>(
    fetching: impl Future<Output = Result<H, E>>,
    writing: impl Future<Output = Result<W, UnpackError>>,
) -> Result<(H, W), E> {
    match select(std::pin::pin!(fetching), std::pin::pin!(writing)).await {
        Either::Left((held, writing)) => {
            let written = writing.await;
            Ok((held?, written?))
        }
        Either::Right((Ok(written), fetching)) => Ok((fetching.await?, written)),
        // Its reason is the fetch's.
        Either::Right((Err(error @ UnpackError::NeverCame), fetching)) => match fetching.await {
            Ok(_) => Err(error.into()),
            Err(error) => Err(error),
        },
        Either::Right((Err(error), _)) => Err(error.into()),
    }
}

/// Where the bytes of a segment are read.
#[derive(Debug, Clone, Copy)]
struct Source {
    number: usize,
    segment: SegmentRef,
    /// It is one file and nothing else: file systems that share blocks need not copy it.
    is_file: bool,
}

impl Source {
    fn of(index: &ContentIndex, number: usize) -> Self {
        let segment = index.segments()[number];
        let is_file = match index.carried(number) {
            [run] => run.file_offset == 0 && index.files()[run.file as usize].entry.size == u64::from(segment.size),
            _ => false,
        };
        Self { number, segment, is_file }
    }

    async fn read(
        self,
        blobs: &Blobs,
        listening: &Listening,
        mut landed: Landed,
    ) -> Result<(u64, Content), UnpackError> {
        if !landed.segment(self.number).await {
            return Err(UnpackError::NeverCame);
        }
        let id = self.segment.hash;
        // Also if it is not used then: what stays leaves no room for what comes next.
        let arrived = listening.take(id);
        let content = match (self.is_file, arrived) {
            (true, _) => Content::File(blobs.open_file(id).await?),
            (false, Some(pieces)) => Content::Pieces(pieces),
            (false, None) => Content::Bytes(blobs.read_segment(id).await?),
        };
        Ok((self.segment.size.into(), content))
    }
}

/// The bytes of a segment.
enum Content {
    Bytes(Bytes),
    /// As they came, in order.
    Pieces(Vec<Bytes>),
    File(File),
}

fn write_tree(
    index: &ContentIndex,
    target: &Path,
    durability: Durability,
    mut segments: mpsc::Receiver<Content>,
) -> Result<(), UnpackError> {
    let mut tree = Tree::create(target)?;
    let mut sums = Sums::default();
    for file in index.files().iter().filter(|file| file.entry.size == 0) {
        tree.write(&file.entry, true, 0, |_| Ok(()))?;
    }
    // A segment may carry the middle of a file before its beginning, when another file needed it first.
    let mut made = vec![false; index.files().len()];
    for number in 0..index.segments().len() {
        let Some(content) = segments.blocking_recv() else { return Ok(()) };
        let (pieces, shared): (&[Bytes], _) = match &content {
            Content::Bytes(bytes) => (std::slice::from_ref(bytes), None),
            Content::Pieces(pieces) => (pieces, None),
            Content::File(source) => (&[], Some(source)),
        };
        for run in index.carried(number) {
            let entry = &index.files()[run.file as usize].entry;
            let first = !std::mem::replace(&mut made[run.file as usize], true);
            if let Some(source) = shared {
                sums.later.insert(run.file);
                tree.write(entry, first, run.file_offset, |open| copy(source, open, run.len))?;
            } else {
                let mut bytes = cut(pieces, run.offset as usize, run.len as usize);
                sums.add(entry, run, bytes.clone())?;
                tree.write(entry, first, run.file_offset, |open| bytes.try_for_each(|piece| open.write_all(piece)))?;
            }
        }
    }
    // Empty files belong to no segment, and what they hash to is known to their author too.
    sums.later.extend((0..).zip(index.files()).filter(|(_, file)| file.entry.size == 0).map(|(number, _)| number));
    sums.finish(index, target)?;
    if durability == Durability::Synced { tree.sync(index) } else { Ok(()) }
}

/// `len` bytes from `offset` on, of pieces that hold them together.
fn cut(pieces: &[Bytes], offset: usize, len: usize) -> impl Iterator<Item = &[u8]> + Clone {
    let begins = pieces.iter().scan(0, |at, piece| Some(std::mem::replace(at, *at + piece.len())));
    pieces.iter().zip(begins).filter_map(move |(piece, begin)| {
        let from = offset.saturating_sub(begin).min(piece.len());
        let to = (offset + len).saturating_sub(begin).min(piece.len());
        (from < to).then(|| &piece[from..to])
    })
}

/// Copies the first `len` bytes. The kernel does all the work where it can.
fn copy(source: &File, target: &mut File, len: u32) -> std::io::Result<()> {
    let copied = std::io::copy(&mut source.take(len.into()), target)?;
    if copied == u64::from(len) { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// Hashes of files that are being written.
#[derive(Default)]
struct Sums {
    /// Files of which the beginning was hashed, and how much of it.
    begun: HashMap<u32, (u64, blake3::Hasher)>,
    /// Files that have to be read again.
    later: BTreeSet<u32>,
}

impl Sums {
    /// Takes in a run that is being written.
    fn add<'a>(
        &mut self,
        entry: &FileEntry,
        run: &Carried,
        bytes: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), UnpackError> {
        if self.later.contains(&run.file) {
            return Ok(());
        }
        let (hashed, mut hasher) = self.begun.remove(&run.file).unwrap_or_default();
        if hashed != run.file_offset {
            self.later.insert(run.file);
            return Ok(());
        }
        for piece in bytes {
            hasher.update(piece);
        }
        match hashed + u64::from(run.len) {
            all if all == entry.size => check(entry, hasher.finalize()),
            hashed => {
                self.begun.insert(run.file, (hashed, hasher));
                Ok(())
            }
        }
    }

    /// Reads what could not be hashed before.
    fn finish(mut self, index: &ContentIndex, dir: &Path) -> Result<(), UnpackError> {
        self.later.extend(self.begun.into_keys());
        let files: Vec<&FileEntry> = self.later.iter().map(|number| &index.files()[*number as usize].entry).collect();
        let next = AtomicUsize::new(0);
        let check_all = || -> Result<(), UnpackError> {
            while let Some(entry) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let path = dir.join(entry.path.as_str());
                let mut hasher = blake3::Hasher::new();
                let hashed = File::open(&path).and_then(|open| hasher.update_reader(open).map(|_| ()));
                hashed.map_err(|source| UnpackError::Read { path, source })?;
                check(entry, hasher.finalize())?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..HASHERS.min(files.len())).map(|_| scope.spawn(check_all)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .fold(Ok(()), Result::and)
        })
    }
}

fn check(entry: &FileEntry, found: blake3::Hash) -> Result<(), UnpackError> {
    match BlobId::from_bytes(*found.as_bytes()) == entry.hash {
        true => Ok(()),
        false => Err(UnpackError::WrongFile { path: entry.path.clone() }),
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
pub(super) fn set_mode(options: &mut OpenOptions, executable: bool) {
    use cap_std::fs::OpenOptionsExt as _;
    options.mode(if executable { 0o755 } else { 0o644 });
}

#[cfg(not(unix))]
pub(super) fn set_mode(_options: &mut OpenOptions, _executable: bool) {}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use syncra_protocol::tree::PackParams;

    use super::super::{pack, walk};
    use super::*;
    use crate::sync::fetch::landing;

    async fn round_trip(from: &Path, to: &Path) -> Result<Arc<ContentIndex>, UnpackError> {
        let store = tempfile::tempdir().unwrap();
        let (blobs, _) = Blobs::open(store.path()).await.unwrap();
        let files = walk::walk(from, &walk::Selection::default()).unwrap();
        let packed = pack::pack(&blobs, files, PackParams::default(), |_| false, |_| {}).await.unwrap();
        let index = Arc::new(packed.index);
        let done = unpack(&blobs, Landed::all(&index), to, Durability::Synced, |_| {}).await;
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
    async fn segments_may_land_in_any_order_and_those_that_never_do_are_told() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let noise = |n: u32, seed: u32| -> Vec<u8> {
            (0..n).flat_map(|at| (at ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()[2..3].to_vec()).collect()
        };
        let large = noise(14_000_000, 1);
        for (name, bytes) in
            [("a-part-of-b", &large[5_000_000..9_000_000]), ("b", &large[..]), ("c", &noise(3_000_000, 9))]
        {
            std::fs::write(from.path().join(name), bytes).unwrap();
        }
        let store = tempfile::tempdir().unwrap();
        let (blobs, _) = Blobs::open(store.path()).await.unwrap();
        let files = walk::walk(from.path(), &walk::Selection::default()).unwrap();
        let packed = pack::pack(&blobs, files, PackParams::default(), |_| false, |_| {}).await.unwrap();
        let index = Arc::new(packed.index);
        let n_segments = index.segments().len();
        assert!(n_segments > 3, "{n_segments} segments show no order");

        let (landing, landed) = landing();
        landing.begin(&index, vec![false; n_segments]);
        let whole = to.path().join("whole");
        let writing = unpack(&blobs, landed, &whole, Durability::Cached, |_| {});
        let landing = async {
            for number in (0..n_segments).rev() {
                landing.segment(number);
                tokio::task::yield_now().await;
            }
        };
        futures::join!(writing, landing).0.unwrap();
        for name in ["a-part-of-b", "b", "c"] {
            let (was, is) = (std::fs::read(from.path().join(name)), std::fs::read(whole.join(name)));
            assert!(was.unwrap() == is.unwrap(), "{name} differs");
        }

        let (landing, landed) = self::landing();
        landing.begin(&index, vec![true; n_segments - 1]);
        drop(landing);
        let cut = unpack(&blobs, landed, &to.path().join("cut"), Durability::Cached, |_| {}).await;
        assert!(matches!(cut, Err(UnpackError::NeverCame)), "{cut:?}");
        blobs.shutdown().await;
    }

    #[test]
    fn runs_of_a_file_are_hashed_in_order_and_read_again_otherwise() {
        let bytes = b"beginning, middle, end";
        let entry = FileEntry {
            path: EntryPath::parse("a").unwrap(),
            size: bytes.len() as u64,
            executable: false,
            hash: BlobId::from_bytes(*blake3::hash(bytes).as_bytes()),
        };
        let run = |from: usize, to: usize| Carried {
            offset: 0,
            len: u32::try_from(to - from).unwrap(),
            file: 0,
            file_offset: from as u64,
        };
        let add = |sums: &mut Sums, from, to, bytes: &[u8]| {
            sums.add(&entry, &run(from, to), std::iter::once(&bytes[from..to]))
        };
        for (runs, is_read_again) in
            [(vec![(0, 22)], false), (vec![(0, 9), (9, 22)], false), (vec![(9, 22), (0, 9)], true)]
        {
            let mut sums = Sums::default();
            for (from, to) in &runs {
                add(&mut sums, *from, *to, bytes).unwrap();
            }
            assert_eq!((sums.later.len(), sums.begun.len()), (usize::from(is_read_again), 0), "{runs:?}");
        }
        let wrong = b"beginning, middle, End";
        let mut sums = Sums::default();
        add(&mut sums, 0, 9, wrong).unwrap();
        assert!(matches!(add(&mut sums, 9, 22, wrong), Err(UnpackError::WrongFile { .. })));
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

    fn full() -> UnpackError {
        UnpackError::Write { path: PathBuf::new(), source: std::io::ErrorKind::StorageFull.into() }
    }

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("incomplete")]
        Incomplete,
        #[error(transparent)]
        Unpack(#[from] UnpackError),
    }

    fn incomplete() -> Failed {
        Failed::Incomplete
    }

    #[tokio::test]
    async fn a_write_that_fails_ends_the_fetch_and_a_fetch_that_fails_is_the_reason() {
        let ended = while_fetching(pending::<Result<(), Failed>>(), ready(Err::<(), _>(full()))).await;
        assert!(matches!(ended, Err(Failed::Unpack(UnpackError::Write { .. }))), "{ended:?}");
        for fetch_is_first in [true, false] {
            let late = |is_late: bool| async move {
                if is_late {
                    tokio::task::yield_now().await;
                }
            };
            let fetching = async {
                late(!fetch_is_first).await;
                Err::<(), _>(incomplete())
            };
            let writing = async {
                late(fetch_is_first).await;
                Err::<(), _>(UnpackError::NeverCame)
            };
            let ended = while_fetching(fetching, writing).await;
            assert!(matches!(ended, Err(Failed::Incomplete)), "{ended:?}");
        }
        assert!(matches!(while_fetching(ready(Ok::<_, Failed>(1)), ready(Ok(2))).await, Ok((1, 2))));
    }
}
