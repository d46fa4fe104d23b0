//! Where the library keeps a blob's files, and how they are made durable.
//!
//! The layout is the library's (`data/<hex>.{data,obao4,sizes4,bitfield}`): reading a complete blob straight
//! from its file is what makes installing cheap, and syncing the files is left to us.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{encode_ranges_validated, valid_ranges};
use bao_tree::{BaoTree, ChunkNum, ChunkRanges};
use iroh_blobs::store::fs::options::{BatchOptions, InlineOptions, Options, PathOptions};
use iroh_blobs::store::{GcConfig, IROH_BLOCK_SIZE};
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;

use super::hash;

/// Extension of the file with a blob's bytes.
const DATA: &str = "data";
/// Extension of the file with the hashes above them.
const OUTBOARD: &str = "obao4";
/// Extension of the file that tells the size of a blob that is not complete.
const SIZES: &str = "sizes4";
/// Bytes of the largest blob there is.
const MAX_BLOB_BYTES: u64 = if limits::SEGMENT_BYTES > limits::HASH_SEQ_BYTES {
    limits::SEGMENT_BYTES as u64
} else {
    limits::HASH_SEQ_BYTES as u64
};
/// Bytes read at a time when a file is hashed.
const HASH_BUFFER_BYTES: usize = 1 << 20;

/// The blob store's directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
    paths: PathOptions,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), paths: PathOptions::new(root) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The library's own database.
    pub(super) fn database(&self) -> PathBuf {
        self.root.join("blobs.db")
    }

    /// Complete and partial blobs.
    pub(super) fn data(&self) -> &Path {
        &self.paths.data_path
    }

    /// Imports under way; worthless after a restart.
    pub(super) fn temp(&self) -> &Path {
        &self.paths.temp_path
    }

    /// Data files that no database knows, on their way to be imported again.
    pub(super) fn salvage(&self) -> PathBuf {
        self.root.join("salvage")
    }

    /// Exists while the store is open. Its time of change: everything written before is synced.
    pub(super) fn unclean(&self) -> PathBuf {
        self.root.join("unclean")
    }

    pub(super) fn data_file(&self, id: BlobId) -> PathBuf {
        self.paths.data_path(&hash(id))
    }

    pub(super) fn outboard_file(&self, id: BlobId) -> PathBuf {
        self.paths.outboard_path(&hash(id))
    }

    /// Every file that a blob may have.
    pub(super) fn files_of(&self, id: BlobId) -> [PathBuf; 4] {
        let hash = hash(id);
        [
            self.paths.data_path(&hash),
            self.paths.outboard_path(&hash),
            self.paths.sizes_path(&hash),
            self.paths.bitfield_path(&hash),
        ]
    }

    /// Nothing inlined: the database then holds nothing that the files do not prove.
    pub(super) fn options(&self, gc: GcConfig) -> Options {
        Options {
            path: self.paths.clone(),
            inline: InlineOptions::NO_INLINE,
            batch: BatchOptions::default(),
            gc: Some(gc),
        }
    }
}

/// Bytes of the outboard of a blob of `size` bytes; zero when it needs none.
pub(super) fn outboard_bytes(size: u64) -> u64 {
    BaoTree::new(size, IROH_BLOCK_SIZE).outboard_size()
}

/// The blob whose bytes the file called `path` holds, by its name.
pub(super) fn data_id(path: &Path) -> Option<BlobId> {
    if path.extension()? != DATA {
        return None;
    }
    owner(path)
}

/// The blob that the file called `path` belongs to, whichever of its files it is.
pub(super) fn owner(path: &Path) -> Option<BlobId> {
    let hex = path.file_stem()?.to_str()?;
    let hash = blake3::Hash::from_hex(hex).ok()?;
    Some(BlobId::from_bytes(*hash.as_bytes()))
}

/// The id of the bytes in the file at `path`.
pub(super) fn hash_file(path: &Path) -> io::Result<BlobId> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(BlobId::from_bytes(*hasher.finalize().as_bytes()))
}

/// Whether a complete blob's data and outboard prove each other and the id: with both it can be served.
pub(super) fn proves(layout: &Layout, id: BlobId, size: u64) -> io::Result<bool> {
    if outboard_bytes(size) == 0 {
        return Ok(hash_file(&layout.data_file(id))? == id);
    }
    let outboard = PreOrderOutboard {
        root: blake3::Hash::from_bytes(*id.as_bytes()),
        tree: BaoTree::new(size, IROH_BLOCK_SIZE),
        data: File::open(layout.outboard_file(id))?,
    };
    let mut valid = ChunkRanges::empty();
    for range in valid_ranges(outboard, File::open(layout.data_file(id))?, &ChunkRanges::all()) {
        valid |= ChunkRanges::from(range?);
    }
    Ok(valid.is_superset(&ChunkRanges::from(ChunkNum(0)..ChunkNum::chunks(size))))
}

/// The files beside a data file that prove parts of it.
pub(super) fn companions(data: &Path) -> [PathBuf; 2] {
    [data.with_extension(OUTBOARD), data.with_extension(SIZES)]
}

/// Which part of a blob that is not complete its files prove, and that part as it would come from a peer: the size, then
/// hashes and groups. None when they prove nothing.
pub(super) fn proven_part(data: &Path) -> io::Result<Option<(ChunkRanges, Vec<u8>)>> {
    let (Some(id), [outboard, sizes]) = (data_id(data), companions(data)) else { return Ok(None) };
    let Some(size) = named_size(&sizes)?.filter(|size| (1..=MAX_BLOB_BYTES).contains(size)) else { return Ok(None) };
    let hashes = match File::open(outboard) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = File::open(data)?;
    let root = blake3::Hash::from_bytes(*id.as_bytes());
    let outboard = PreOrderOutboard { root, tree: BaoTree::new(size, IROH_BLOCK_SIZE), data: &hashes };
    let mut held = ChunkRanges::empty();
    // Where a file ends early nothing is proven; that is no error.
    for range in valid_ranges(outboard.clone(), &bytes, &ChunkRanges::all()).into_iter().flatten() {
        held |= ChunkRanges::from(range);
    }
    if held.is_empty() {
        return Ok(None);
    }
    let mut encoded = size.to_le_bytes().to_vec();
    encode_ranges_validated(&bytes, outboard, &held, &mut encoded).map_err(io::Error::other)?;
    Ok(Some((held, encoded)))
}

/// The size that stands last in the file of sizes.
fn named_size(sizes: &Path) -> io::Result<Option<u64>> {
    let text = match fs::read(sizes) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(text.chunks_exact(size_of::<u64>()).next_back().and_then(|last| Some(u64::from_le_bytes(last.try_into().ok()?))))
}

/// Makes a file's bytes durable.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    // Windows flushes only handles that may write.
    fs::OpenOptions::new().read(true).write(cfg!(windows)).open(path)?.sync_all()
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    // Windows has no call for it; NTFS journals names by itself.
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Removes a file that may already be gone.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The paths in a directory; none when there is no such directory.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes many files durable, a few at a time: the file system then commits them in groups.
pub(super) fn sync_files(paths: &[PathBuf]) -> io::Result<()> {
    const THREADS: usize = 8;
    if paths.len() < THREADS {
        return paths.iter().try_for_each(|path| sync_file(path));
    }
    std::thread::scope(|scope| {
        let part = paths.len().div_ceil(THREADS);
        let workers: Vec<_> = paths
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().try_for_each(|path| sync_file(path))))
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(synced) => synced,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
