//! Fetching from one peer: one request, one answer, every group verified before it is kept.
//!
//! The peer serves roots only, so children and ranges of children are asked for through the sequence that names them.
//! What arrives before a failure stays, and [`Blobs::missing`] leaves it out of the next request. The end of the
//! stream proves nothing: a fetch has succeeded only when everything that was asked for was verified.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bao_tree::BaoTree;
use bao_tree::io::sync::WriteAt as _;
use bao_tree::io::{BaoContentItem, Leaf, Parent};
use bytes::{Bytes, BytesMut};
use futures::io::{AsyncRead, AsyncWrite};
use iroh_blobs::api::blobs::ImportBaoHandle;
use iroh_blobs::get::StreamPair;
use iroh_blobs::get::fsm::{
    AtBlobContent, AtBlobHeader, AtBlobHeaderNextError, AtClosing, AtConnected, AtEndBlob, AtStartChild,
    BlobContentNext, ConnectedNext, ConnectedNextError, DecodeError, EndBlobNext,
};
use iroh_blobs::protocol::{ChunkRangesSeq, GetRequest};
use iroh_blobs::store::IROH_BLOCK_SIZE;
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;

use super::arrivals::Arriving;
use super::error::{BlobError, FetchError};
use super::gc::Pins;
use super::ranges::{GROUP_BYTES, Ranges};
use super::stream::{self, Receiver, Wire};
use super::{Blobs, hash, room};

/// Whole blobs up to this size are collected in memory and written at once: for a blob that comes in parts the store
/// makes four files and syncs three of them. Measured on a disk: pays at 256 KiB, even at 1 MiB, costs at 4 MiB.
const WHOLE_BYTES: u64 = 256 << 10;
/// Items on their way to the store, one run and the parent behind it: bounds what a slow disk holds in memory and what a kill
/// costs.
const ITEMS_IN_FLIGHT: usize = 2;
/// Neighbouring groups that go to the store as one: a kill costs a running request one that is being collected.
const RUN_BYTES: usize = 128 << 10;

/// What fails when the store does.
const WRITING: &str = "writing fetched bytes";

/// What to ask a peer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The root that the peer serves.
    pub root: BlobId,
    /// Which parts below it.
    pub parts: Parts,
}

/// Parts of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// The root read as a raw blob.
    Blob(Ranges),
    /// The sequence itself, without its children.
    Sequence,
    /// The sequence and all its children, without looking what is held: for the first fetch of something unknown.
    All,
    /// Some children of a sequence that is held completely, in any order, each at most once.
    Children(Vec<Child>),
}

/// A child to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its place in the sequence.
    pub index: u32,
    /// Which parts of it.
    pub ranges: Ranges,
    /// Its size when it is known from a verified place: a peer that claims another lies.
    pub size: Option<u64>,
}

/// Bounds of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// Longest wait for the next verified group.
    pub idle: Duration,
    /// Largest blob taken; sequences have their own limit.
    pub blob_bytes: u64,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), blob_bytes: limits::SEGMENT_BYTES as u64 }
    }
}

/// What happened so far in a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// This many more payload bytes were verified.
    Bytes(u64),
    /// Everything asked of this blob has arrived and is held.
    Held(BlobId),
}

/// Counts of a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Verified bytes of blobs.
    pub payload: u64,
    /// Bytes read from the stream, hashes included.
    pub received: u64,
    /// Bytes written to the stream: the request.
    pub sent: u64,
    /// Blobs of which everything asked for arrived.
    pub blobs: u64,
    /// From the request to the end of the answer.
    pub took: Duration,
}

/// A fetch that did not end well; what arrived before is kept and counted.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct FetchFailure {
    /// Why.
    #[source]
    pub error: FetchError,
    /// What came until then.
    pub stats: FetchStats,
}

impl Blobs {
    /// Fetches parts of a root from the peer at the other end of `stream`. Every blob that comes in is kept by `pins`.
    ///
    /// # Errors
    /// [`FetchFailure`]: whose fault it was, and what arrived nevertheless.
    pub async fn fetch<S>(
        &self,
        stream: S,
        request: &Request,
        options: &FetchOptions,
        pins: &Pins,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<FetchStats, FetchFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let started = Instant::now();
        let wire = Arc::new(Wire::default());
        let mut fetch = Fetch { blobs: self, options, pins, progress, stats: FetchStats::default(), request };
        let ended = Box::pin(fetch.run(stream, &wire)).await;
        let stats = FetchStats { received: wire.received(), sent: wire.sent(), took: started.elapsed(), ..fetch.stats };
        match ended {
            Ok(()) => Ok(stats),
            Err(error) => Err(FetchFailure { error, stats }),
        }
    }
}

/// Our parts as the library's request. Children need not be sorted.
fn get_request(request: &Request) -> GetRequest {
    let ranges = match &request.parts {
        Parts::Blob(ranges) => ChunkRangesSeq::from_ranges([ranges.0.clone()]),
        Parts::Sequence => ChunkRangesSeq::root(),
        Parts::All => ChunkRangesSeq::all(),
        Parts::Children(children) => {
            let mut builder = GetRequest::builder();
            for child in children {
                builder = builder.child(u64::from(child.index), child.ranges.0.clone());
            }
            return builder.build(hash(request.root));
        }
    };
    GetRequest::new(hash(request.root), ranges)
}

/// The sizes that the caller knows, by place in the sequence.
fn known_sizes(parts: &Parts) -> HashMap<u64, u64> {
    let Parts::Children(children) = parts else { return HashMap::new() };
    children.iter().filter_map(|child| Some((u64::from(child.index), child.size?))).collect()
}

struct Fetch<'a, P> {
    blobs: &'a Blobs,
    request: &'a Request,
    options: &'a FetchOptions,
    pins: &'a Pins,
    progress: P,
    stats: FetchStats,
}

/// A blob that is about to arrive.
struct Expected {
    id: BlobId,
    limit: u64,
    size: Option<u64>,
}

/// What comes next in an answer.
enum Next<S: AsyncRead + AsyncWrite + Unpin + Send> {
    Child(AtStartChild<Receiver<S>>),
    Closing(AtClosing<Receiver<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> From<EndBlobNext<Receiver<S>>> for Next<S> {
    fn from(next: EndBlobNext<Receiver<S>>) -> Self {
        match next {
            EndBlobNext::MoreChildren(child) => Self::Child(child),
            EndBlobNext::Closing(closing) => Self::Closing(closing),
        }
    }
}

impl<P: FnMut(Progress) + Send> Fetch<'_, P> {
    async fn run<S>(&mut self, stream: S, wire: &Arc<Wire>) -> Result<(), FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let root = self.request.root;
        let mut children = match &self.request.parts {
            // Read before anything is asked: without the sequence no answer could be understood.
            Parts::Children(_) => Some(self.blobs.children(root).await?),
            Parts::All | Parts::Sequence | Parts::Blob(_) => None,
        };
        let sizes = known_sizes(&self.request.parts);
        let (receiver, sender) = stream::adapt(stream, self.options.idle, wire);
        let pair = StreamPair::new(0, receiver, sender);
        let request = get_request(self.request);
        let connected = AtConnected::new(pair.t0, pair.recv, pair.send, request, Default::default());
        let mut next = match connected.next().await.map_err(not_sent)? {
            ConnectedNext::StartRoot(start) => {
                let limit = match self.request.parts {
                    Parts::Blob(_) => self.options.blob_bytes,
                    _ => limits::HASH_SEQ_BYTES as u64,
                };
                let end = self.blob(start.next(), Expected { id: root, limit, size: None }).await?;
                end.next().into()
            }
            ConnectedNext::StartChild(child) => Next::Child(child),
            ConnectedNext::Closing(closing) => Next::Closing(closing),
        };
        let closing = loop {
            let child = match next {
                Next::Closing(closing) => break closing,
                Next::Child(child) => child,
            };
            let sequence = match &mut children {
                Some(sequence) => sequence,
                None => children.insert(self.blobs.children(root).await?),
            };
            let index = child.offset() - 1;
            let Some(id) = usize::try_from(index).ok().and_then(|index| sequence.get(index)).copied() else {
                break child.finish();
            };
            let expected = Expected { id, limit: self.options.blob_bytes, size: sizes.get(&index).copied() };
            next = self.blob(child.next(hash(id)), expected).await?.next().into();
        };
        // Whatever follows the answer is of no interest, and a peer that does not close harms only itself.
        drop(closing);
        Ok(())
    }

    /// Takes in one blob, or the part of it that was asked for.
    async fn blob<S>(
        &mut self,
        header: AtBlobHeader<Receiver<S>>,
        expected: Expected,
    ) -> Result<AtEndBlob<Receiver<S>>, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Expected { id, limit, size: known } = expected;
        let whole = header.ranges().is_all();
        self.pins.add(id).await;
        let nothing_yet = self.stats.payload == 0 && self.stats.blobs == 0;
        let (content, size) = header.next().await.map_err(|error| match error {
            AtBlobHeaderNextError::NotFound { .. } if nothing_yet => FetchError::NotFound(self.request.root),
            AtBlobHeaderNextError::NotFound { .. } => FetchError::Cut(id),
            AtBlobHeaderNextError::Read { source, .. } => FetchError::transport(source),
        })?;
        if known.is_some_and(|known| known != size) {
            return Err(FetchError::Corrupt(id));
        }
        if size > limit {
            return Err(FetchError::TooLarge { id, bytes: size, limit });
        }
        let end = match NonZeroU64::new(size) {
            None if id == BlobId::of(b"") => skip(content, id).await?,
            None => return Err(FetchError::Corrupt(id)),
            Some(size) if whole && size.get() <= WHOLE_BYTES => self.whole(content, id, size).await?,
            Some(size) => self.parts(content, id, size, whole).await?,
        };
        self.stats.blobs += 1;
        (self.progress)(Progress::Held(id));
        Ok(end)
    }

    /// Collects a blob in memory, then adds it. When the answer breaks off, what came goes to the store in parts.
    async fn whole<S>(
        &mut self,
        mut content: AtBlobContent<Receiver<S>>,
        id: BlobId,
        size: NonZeroU64,
    ) -> Result<AtEndBlob<Receiver<S>>, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut bytes = BytesMut::new();
        let mut parents = Vec::new();
        let ended = loop {
            match content.next().await {
                BlobContentNext::Done(end) => break Ok(end),
                BlobContentNext::More((next, Ok(item))) => {
                    match item {
                        BaoContentItem::Parent(parent) => parents.push((bytes.len(), parent)),
                        BaoContentItem::Leaf(leaf) => {
                            self.count(leaf.data.len());
                            bytes.extend_from_slice(&leaf.data);
                        }
                    }
                    content = next;
                }
                BlobContentNext::More((_, Err(error))) => break Err(bad_content(error, id)),
            }
        };
        let bytes = bytes.freeze();
        match ended {
            Ok(_) if bytes.len() as u64 != size.get() => Err(FetchError::Corrupt(id)),
            Ok(end) => {
                if !self.blobs.has(id).await? {
                    self.blobs.put(id, bytes.clone()).await?;
                }
                if let Some(mut arriving) = self.blobs.arriving(id, size.get()) {
                    arriving.push(bytes);
                    arriving.complete();
                }
                Ok(end)
            }
            Err(error) => {
                if !bytes.is_empty() && !self.blobs.has(id).await? {
                    self.keep(id, size, &bytes, parents).await?;
                }
                Err(error)
            }
        }
    }

    /// Gives the store the verified beginning of a blob: groups, and parents with the offset that each precedes.
    async fn keep(
        &self,
        id: BlobId,
        size: NonZeroU64,
        bytes: &Bytes,
        parents: Vec<(usize, Parent)>,
    ) -> Result<(), FetchError> {
        let import = self.blobs.0.store.blobs().import_bao(hash(id), size, ITEMS_IN_FLIGHT).await;
        let import = import.map_err(|_| self.blobs.stopped(WRITING))?;
        let mut parents = parents.into_iter().peekable();
        let mut offset = 0;
        while offset < bytes.len() {
            while let Some((_, parent)) = parents.next_if(|(before, _)| *before <= offset) {
                // When the store stops taking, its answer below says why.
                let _ = import.tx.send(BaoContentItem::Parent(parent)).await;
            }
            let end = bytes.len().min(offset + GROUP_BYTES as usize);
            let leaf = Leaf { offset: offset as u64, data: bytes.slice(offset..end) };
            let _ = import.tx.send(BaoContentItem::Leaf(leaf)).await;
            offset = end;
        }
        Ok(ended(import).await.map_err(|error| room::why(self.blobs.0.layout.root(), error, WRITING))?)
    }

    /// Hands verified groups to the store as they come, so that a fetch that breaks off has lost nothing.
    async fn parts<S>(
        &mut self,
        mut content: AtBlobContent<Receiver<S>>,
        id: BlobId,
        size: NonZeroU64,
        whole: bool,
    ) -> Result<AtEndBlob<Receiver<S>>, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        room::check(self.blobs.0.layout.root(), size.get(), room::RESERVE_BYTES, WRITING)?;
        let import = self.blobs.0.store.blobs().import_bao(hash(id), size, ITEMS_IN_FLIGHT).await;
        let mut import = import.map_err(|_| self.blobs.stopped(WRITING))?;
        let hashes = HashFile::new(self.blobs.0.layout.outboard_file(id), BaoTree::new(size.get(), IROH_BLOCK_SIZE));
        let arriving = if whole { self.blobs.arriving(id, size.get()) } else { None };
        // What is kept as a whole lies in one piece of memory, which the system gives again and again.
        let room = if arriving.is_some() { RUN_BYTES + usize::try_from(size.get()).unwrap_or(0) } else { 0 };
        let bytes = BytesMut::with_capacity(room);
        let mut run = Run { hashes, last: None, parents: Vec::new(), offset: 0, bytes, arriving };
        let received = loop {
            match content.next().await {
                BlobContentNext::Done(end) => break Ok(end),
                BlobContentNext::More((next, Ok(item))) => {
                    let bytes = if let BaoContentItem::Leaf(leaf) = &item { leaf.data.len() } else { 0 };
                    if let Err(error) = run.take(item, &mut import).await {
                        // If the store stopped taking, its answer below says why.
                        break Err(error.into());
                    }
                    self.count(bytes);
                    content = next;
                }
                BlobContentNext::More((_, Err(error))) => break Err(bad_content(error, id)),
            }
        };
        // Also what came before a failure. When the store stopped taking, its answer says why.
        let _ = run.hand_over(&mut import).await;
        ended(import).await.map_err(|error| room::why(self.blobs.0.layout.root(), error, WRITING))?;
        run.hashes.settle().map_err(BlobError::io(WRITING))?;
        let end = received?;
        if self.blobs.has(id).await? {
            self.blobs.note_unsynced(id);
        } else if whole {
            return Err(FetchError::Cut(id));
        }
        if let Some(arriving) = run.arriving {
            arriving.complete();
        }
        Ok(end)
    }

    fn count(&mut self, bytes: usize) {
        if bytes > 0 {
            self.stats.payload += bytes as u64;
            (self.progress)(Progress::Bytes(bytes as u64));
        }
    }
}

/// Verified neighbours on their way to the store as one: it makes several system calls and wakes its readers for each
/// leaf that it is given, whatever its length.
struct Run {
    hashes: HashFile,
    /// The parent that came last.
    last: Option<Parent>,
    /// Parents that are not in the file yet.
    parents: Vec<Parent>,
    offset: u64,
    bytes: BytesMut,
    /// Somebody else who wants all that is handed over.
    arriving: Option<Arriving>,
}

impl Run {
    /// Takes in the next item, and gives the store what is ready for it.
    async fn take(&mut self, item: BaoContentItem, import: &mut ImportBaoHandle) -> Result<(), BlobError> {
        let leaf = match item {
            BaoContentItem::Parent(parent) => {
                self.parents.push(parent);
                return Ok(());
            }
            BaoContentItem::Leaf(leaf) => leaf,
        };
        if !self.bytes.is_empty() && leaf.offset != self.offset + self.bytes.len() as u64 {
            self.hand_over(import).await?;
        }
        if self.bytes.is_empty() {
            self.offset = leaf.offset;
            self.bytes.reserve(RUN_BYTES);
        }
        self.bytes.extend_from_slice(&leaf.data);
        if self.bytes.len() >= RUN_BYTES { self.hand_over(import).await } else { Ok(()) }
    }

    /// Gives the store what was collected, all at once: it runs on threads of its own, and waking one costs more than what it
    /// then writes. It writes a leaf when a parent comes after it, so it is given the last one, and that only.
    async fn hand_over(&mut self, import: &mut ImportBaoHandle) -> Result<(), BlobError> {
        self.hashes.write(&self.parents).map_err(BlobError::io(WRITING))?;
        self.last = self.parents.drain(..).next_back().or(self.last.take());
        if self.bytes.is_empty() {
            return Ok(());
        }
        let data = self.bytes.split().freeze();
        if let Some(arriving) = &mut self.arriving {
            arriving.push(data.clone());
        }
        give(import, BaoContentItem::Leaf(Leaf { offset: self.offset, data })).await?;
        match &self.last {
            Some(Parent { node, pair }) => {
                give(import, BaoContentItem::Parent(Parent { node: *node, pair: *pair })).await
            }
            None => Ok(()),
        }
    }
}

/// The file in which the store keeps a blob's hashes. They are written here, neighbours in one piece: the store takes each by a
/// message of its own and writes it by two calls.
struct HashFile {
    path: PathBuf,
    tree: BaoTree,
    file: Option<File>,
    /// What was written, and where.
    written: Vec<(u64, Vec<u8>)>,
}

impl HashFile {
    const fn new(path: PathBuf, tree: BaoTree) -> Self {
        Self { path, tree, file: None, written: Vec::new() }
    }

    /// Writes verified parents; before the groups below them go to the store, so that a kill never leaves groups without
    /// them. A few hundred bytes that the system buffers: not worth a thread.
    fn write(&mut self, parents: &[Parent]) -> std::io::Result<()> {
        let before = self.written.len();
        for parent in parents {
            // Inside a group there are hashes that came along and are not kept.
            let Some(number) = self.tree.pre_order_offset(parent.node) else { continue };
            let (offset, pair) = (number * 64, [*parent.pair.0.as_bytes(), *parent.pair.1.as_bytes()].concat());
            match self.written[before..].last_mut() {
                Some((from, bytes)) if *from + bytes.len() as u64 == offset => bytes.extend(pair),
                _ => self.written.push((offset, pair)),
            }
        }
        if self.written.len() == before {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open_shared(&self.path)?),
        };
        self.written[before..].iter().try_for_each(|(offset, bytes)| file.write_all_at(*offset, bytes))
    }

    /// Looks at what was written, once the store has its files. The end of a collection before may have removed the file that
    /// was there by then, and the store have made another.
    fn settle(&mut self) -> std::io::Result<()> {
        if self.written.is_empty() {
            return Ok(());
        }
        let mut file = open_shared(&self.path)?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        self.written
            .iter()
            .filter(|(offset, bytes)| {
                let at = usize::try_from(*offset).unwrap_or(usize::MAX);
                found.get(at..).is_none_or(|found| !found.starts_with(bytes))
            })
            .try_for_each(|(offset, bytes)| file.write_all_at(*offset, bytes))
    }
}

/// For reading and writing, without emptying it.
fn open_shared(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

async fn give(import: &mut ImportBaoHandle, item: BaoContentItem) -> Result<(), BlobError> {
    import.tx.send(item).await.map_err(|_| BlobError::Stopped)
}

/// Ends an import and waits until the store has written what it was given, also after a failure.
async fn ended(import: ImportBaoHandle) -> Result<(), BlobError> {
    drop(import.tx);
    match import.rx.await {
        Ok(written) => written.map_err(BlobError::api(WRITING)),
        Err(_) => Err(BlobError::Stopped),
    }
}

/// Reads over the content of an empty blob.
async fn skip<S>(content: AtBlobContent<Receiver<S>>, id: BlobId) -> Result<AtEndBlob<Receiver<S>>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    content.drain().await.map_err(|error| bad_content(error, id))
}

fn not_sent(error: ConnectedNextError) -> FetchError {
    match error {
        ConnectedNextError::Write { source, .. } => FetchError::transport(source),
        _ => FetchError::TooManyParts,
    }
}

fn bad_content(error: DecodeError, id: BlobId) -> FetchError {
    match error {
        DecodeError::ParentHashMismatch { .. } | DecodeError::LeafHashMismatch { .. } => FetchError::Corrupt(id),
        DecodeError::Read { source, .. } => FetchError::transport(source),
        DecodeError::Write { source, .. } => BlobError::io(WRITING)(source).into(),
        _ => FetchError::Cut(id),
    }
}
