//! Two real stores in temporary directories, joined by in-memory streams.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use syncra_protocol::tree::outboard::Outboard;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;

mod recovery;
mod transfer;

/// Long enough for a loaded machine; no test waits for it but the one about silence.
const IDLE: Duration = Duration::from_secs(60);
const SEGMENT: usize = 4 << 20;

struct Node {
    blobs: Blobs,
    dir: tempfile::TempDir,
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (blobs, opened) = Blobs::open(dir.path()).await.unwrap();
        assert_eq!(opened.database, DatabaseState::New);
        Self { blobs, dir }
    }

    async fn reopen(self) -> (Self, Opened) {
        self.blobs.shutdown().await;
        self.open_again().await
    }

    async fn open_again(self) -> (Self, Opened) {
        let dir = self.dir;
        drop(self.blobs);
        let (blobs, opened) = Blobs::open(dir.path()).await.unwrap();
        (Self { blobs, dir }, opened)
    }
}

/// A sequence and its children, added to a store.
struct Release {
    root: BlobId,
    children: Vec<(BlobId, Bytes)>,
}

impl Release {
    fn of(contents: Vec<Bytes>) -> (Self, Bytes) {
        let children: Vec<_> = contents.into_iter().map(|bytes| (BlobId::of(&bytes), bytes)).collect();
        let sequence: Vec<u8> = children.iter().flat_map(|(id, _)| *id.as_bytes()).collect();
        (Self { root: BlobId::of(&sequence), children }, sequence.into())
    }

    async fn publish(node: &Node, contents: Vec<Bytes>) -> Self {
        let (release, sequence) = Self::of(contents);
        let import = node.blobs.import();
        for (id, bytes) in &release.children {
            assert_eq!(import.add(bytes.clone()).await.unwrap().id, *id);
        }
        assert_eq!(import.add(sequence).await.unwrap().id, release.root);
        import.sync().await.unwrap();
        release
    }

    fn bytes(&self) -> u64 {
        self.children.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    async fn assert_whole(&self, node: &Node) {
        assert!(node.blobs.missing(self.root).await.unwrap().is_nothing());
        for (id, bytes) in &self.children {
            assert_eq!(node.blobs.read(*id, u64::MAX).await.unwrap(), bytes, "{id}");
            if !bytes.is_empty() {
                // The hashes by which it is served: they are written past the library.
                assert!(files::proves(&node.blobs.0.layout, *id, bytes.len() as u64).unwrap(), "{id}");
            }
        }
    }
}

/// Bytes that do not repeat, the same for the same seed.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// Some segments, a small node, an empty blob.
fn contents(seed: u64) -> Vec<Bytes> {
    vec![
        noise(seed, 3_000),
        noise(seed + 1, SEGMENT),
        Bytes::new(),
        noise(seed + 2, SEGMENT / 2 + 77),
        noise(seed + 3, 1),
        noise(seed + 4, 300_000),
    ]
}

fn all(root: BlobId) -> Request {
    Request { root, parts: Parts::All }
}

fn children_of(root: BlobId, missing: &Missing) -> Request {
    let child = |child: &MissingChild| Child { index: child.index, ranges: child.ranges.clone(), size: None };
    Request { root, parts: Parts::Children(missing.children.iter().map(child).collect()) }
}

/// What asks for exactly what is missing.
async fn rest(node: &Node, root: BlobId) -> Request {
    let missing = node.blobs.missing(root).await.unwrap();
    if missing.root.is_empty() { children_of(root, &missing) } else { all(root) }
}

/// Does something to the answer on its way: gets every piece with its offset, may change it or end the stream.
type Meddle = Box<dyn FnMut(u64, &mut Vec<u8>) -> io::Result<()> + Send>;

/// A stream to `node`, which serves everything on it as a sequence.
fn dial(node: &Node) -> Compat<DuplexStream> {
    dial_for(node, |_| Access::Sequence)
}

fn dial_for(node: &Node, access: impl Fn(&BlobId) -> Access + Send + 'static) -> Compat<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let blobs = node.blobs.clone();
    tokio::spawn(async move { blobs.serve(theirs.compat(), IDLE, access).await });
    ours.compat()
}

/// A stream to `node` through somebody who meddles with the answer.
fn dial_through(node: &Node, mut meddle: Meddle) -> Compat<DuplexStream> {
    let (ours, middle) = tokio::io::duplex(64 << 10);
    let server = dial(node).into_inner();
    tokio::spawn(async move {
        let (mut from_us, mut to_us) = tokio::io::split(middle);
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let up = async {
            tokio::io::copy(&mut from_us, &mut to_server).await?;
            to_server.shutdown().await
        };
        let down = async {
            let mut offset = 0;
            loop {
                let mut piece = vec![0; 16 << 10];
                let read = from_server.read(&mut piece).await?;
                if read == 0 {
                    return to_us.shutdown().await;
                }
                piece.truncate(read);
                meddle(offset, &mut piece)?;
                to_us.write_all(&piece).await?;
                offset += read as u64;
            }
        };
        // Either direction failing ends both: that is what a lost connection is.
        let _ = tokio::try_join!(up, down);
    });
    ours.compat()
}

/// Passes `stream` on, but its end only when what is returned first is dropped.
fn hold_open(stream: Compat<DuplexStream>) -> (tokio::sync::oneshot::Sender<()>, Compat<DuplexStream>) {
    let (hold, held) = tokio::sync::oneshot::channel();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let (mut from_us, mut to_us) = tokio::io::split(theirs);
        let (mut from_peer, mut to_peer) = tokio::io::split(stream.into_inner());
        let up = async {
            // A lost connection fails the copy; that is what it is for.
            let _ = tokio::io::copy(&mut from_us, &mut to_peer).await;
            let _ = to_peer.shutdown().await;
        };
        let down = async {
            let _ = tokio::io::copy(&mut from_peer, &mut to_us).await;
            let _: Result<(), _> = held.await;
        };
        tokio::join!(up, down);
    });
    (hold, ours.compat())
}

async fn fetch(node: &Node, stream: Compat<DuplexStream>, request: &Request) -> Result<FetchStats, FetchFailure> {
    let options = FetchOptions { idle: IDLE, ..FetchOptions::default() };
    node.blobs.fetch(stream, request, &options, &node.blobs.pins(), |_| {}).await
}

fn ids(release: &Release) -> HashSet<BlobId> {
    release.children.iter().map(|(id, _)| *id).chain([release.root]).collect()
}

/// What the publisher hashed is not hashed again: it must be what the store would have made of it.
#[tokio::test]
async fn a_blob_added_with_its_hashes_is_as_one_that_the_store_hashed() {
    let node = Node::new().await;
    let import = node.blobs.import();
    let group = usize::try_from(GROUP_BYTES).unwrap();
    for len in [1, group, group + 1, 2 * group, 3 * group + 7, 8 * group, 9 * group + 1_025, SEGMENT + 1] {
        let bytes: Bytes = noise(len as u64, len);
        let Outboard { root, pairs } = Outboard::of(&bytes);
        let added = import.add_hashed(root, bytes.clone(), pairs.clone()).await.unwrap();
        assert_eq!(added, Added { id: root, bytes: len as u64, new: true }, "{len}");
        assert!(files::proves(&node.blobs.0.layout, root, len as u64).unwrap(), "{len}");
        assert_eq!(node.blobs.read(root, u64::MAX).await.unwrap(), bytes);
        assert!(!import.add_hashed(root, bytes, pairs).await.unwrap().new, "{len} again");
    }
    import.sync().await.unwrap();
    drop(import);
    let (node, _) = node.reopen().await;
    assert_eq!(node.blobs.size(Outboard::of(&noise(1, 1)).root).await.unwrap(), Some(1));
    node.blobs.shutdown().await;
}

#[tokio::test]
async fn hashes_that_are_too_few_add_nothing_and_a_rotted_blob_is_replaced() {
    let node = Node::new().await;
    let import = node.blobs.import();
    let bytes: Bytes = noise(5, SEGMENT);
    let Outboard { root, pairs } = Outboard::of(&bytes);
    let few = import.add_hashed(root, bytes.clone(), pairs[1..].to_vec()).await;
    assert!(matches!(few, Err(BlobError::Damaged(id)) if id == root));
    assert!(!node.blobs.has(root).await.unwrap());
    import.add_hashed(root, bytes.clone(), pairs.clone()).await.unwrap();
    let file = node.blobs.0.layout.data_file(root);
    let mut rotted = bytes.to_vec();
    rotted[SEGMENT / 2] ^= 1;
    std::fs::write(&file, &rotted).unwrap();
    assert!(import.add_hashed(root, bytes.clone(), pairs.clone()).await.unwrap().new);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    // Without its hashes it cannot be served.
    std::fs::write(node.blobs.0.layout.outboard_file(root), b"").unwrap();
    assert!(import.add_hashed(root, bytes.clone(), pairs).await.unwrap().new);
    assert!(files::proves(&node.blobs.0.layout, root, SEGMENT as u64).unwrap());
    node.blobs.shutdown().await;
}
