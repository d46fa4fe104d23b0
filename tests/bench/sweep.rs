//! Segment size × chunk size through the real blob store: what each pair costs to store, to fetch and to update.
//!
//! ```text
//! cargo run --release -p syncra-tests --example sweep -- --large DIR --small DIR --update V1 V2 [--work DIR] [--rounds N]
//! ```
//! Two stores in one process, joined by TCP on loopback, without a cipher. CPU seconds are those of both sides together;
//! they hardly depend on what else the machine does, wall times do.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use syncra_node::blobs::{Access, Blobs, Child, FetchOptions, Parts, Ranges, Request};
use syncra_node::flow::{pack, walk};
use syncra_protocol::id::BlobId;
use syncra_protocol::sync::fetch::{BATCHES_PER_PEER, SOLO_BATCH_BYTES};
use syncra_protocol::tree::splice::{self, Held};
use syncra_protocol::tree::{ChunkList, ContentIndex, PackParams};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Args {
    large: Option<PathBuf>,
    small: Option<PathBuf>,
    update: Option<(PathBuf, PathBuf)>,
    work: PathBuf,
    rounds: usize,
    pairs: Vec<(u32, u32)>,
}

/// Seconds and CPU seconds of this process.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

struct Watch(Instant, f64);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu_seconds())
    }

    fn stop(&self) -> Cost {
        Cost { wall: self.0.elapsed().as_secs_f64(), cpu: cpu_seconds() - self.1 }
    }
}

/// User and system time of this process, from the kernel's ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn arguments() -> Args {
    let mut args = Args { work: std::env::temp_dir(), rounds: 3, ..Args::default() };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let mut next = || given.next().unwrap_or_else(|| panic!("{flag} needs a value"));
        match &*flag {
            "--large" => args.large = Some(next().into()),
            "--small" => args.small = Some(next().into()),
            "--update" => args.update = Some((next().into(), next().into())),
            "--work" => args.work = next().into(),
            "--rounds" => args.rounds = next().parse().unwrap(),
            // For example 4096x16: KiB of a segment, KiB of a chunk.
            "--pair" => {
                let text = next();
                let (segment, chunk) = text.split_once('x').unwrap();
                args.pairs.push((segment.parse().unwrap(), chunk.parse().unwrap()));
            }
            other => panic!("unknown flag {other}"),
        }
    }
    if args.pairs.is_empty() {
        args.pairs = [256, 1024, 2048, 4096, 8192, 16384].map(|segment| (segment, 16)).to_vec();
        args.pairs.extend([8, 32, 64].map(|chunk| (4096, chunk)));
    }
    args
}

#[tokio::main]
async fn main() {
    let args = arguments();
    println!("| segment KiB | chunk KiB | segments | data | store s / CPU | fetch s / CPU | wire MiB |");
    println!("|---|---|---|---|---|---|---|");
    for (segment, chunk) in &args.pairs {
        let params = PackParams::new(segment << 10, chunk << 10).unwrap();
        for (name, dir) in [("large", &args.large), ("small", &args.small)] {
            let Some(dir) = dir else { continue };
            let mut runs = Vec::new();
            for _ in 0..args.rounds {
                runs.push(first_fetch(dir, params, &args.work).await);
            }
            runs.sort_by(|a, b| a.fetch.cpu.total_cmp(&b.fetch.cpu));
            print_row((*segment, *chunk), name, &runs[runs.len() / 2]);
        }
        if let Some((v1, v2)) = &args.update {
            print_row((*segment, *chunk), "update", &update(v1, v2, params, &args.work).await);
        }
    }
}

struct Row {
    segments: usize,
    store: Cost,
    fetch: Cost,
    wire: u64,
}

fn print_row((segment, chunk): (u32, u32), name: &str, row: &Row) {
    let Row { segments, store, fetch, wire } = row;
    println!(
        "| {segment} | {chunk} | {segments} | {name} | {:.2} / {:.2} | {:.2} / {:.2} | {:.3} |",
        store.wall,
        store.cpu,
        fetch.wall,
        fetch.cpu,
        *wire as f64 / f64::from(1 << 20)
    );
}

/// Stores a directory in one store and fetches all of it into an empty one.
async fn first_fetch(dir: &Path, params: PackParams, work: &Path) -> Row {
    let (a, b) = (Store::new(work).await, Store::new(work).await);
    let (index, store) = a.pack(dir, params).await;
    let link = Link::new(&a.blobs).await;
    let watch = Watch::start();
    let wire = b.fetch_root(&link, &index).await + b.fetch_children(&link, &index, everything(&index)).await;
    b.blobs.sync_pending().await.unwrap();
    let row = Row { segments: index.segments().len(), store, fetch: watch.stop(), wire };
    assert!(b.blobs.missing(index.content_root().into()).await.unwrap().is_nothing());
    a.blobs.shutdown().await;
    b.blobs.shutdown().await;
    row
}

/// Both stores have `v1`; one stores `v2`, the other gets it with what it has.
async fn update(v1: &Path, v2: &Path, params: PackParams, work: &Path) -> Row {
    let (a, b) = (Store::new(work).await, Store::new(work).await);
    drop(a.pack(v1, params).await);
    let (old, _) = b.pack(v1, params).await;
    let (new, store) = a.pack(v2, params).await;
    let link = Link::new(&a.blobs).await;
    let watch = Watch::start();
    let mut wire = b.fetch_root(&link, &new).await;
    wire += b.fetch_children(&link, &new, missing_nodes(&b.blobs, &new).await).await;
    let segments = missing_segments(&b.blobs, &new).await;
    let held = b.held(&old, &new).await;
    let lists = splice::plan(&new, segments.iter().copied(), &held, &HashMap::new()).wanted_lists();
    let wanted = lists.iter().map(|list| child(new.chunk_list_child(*list).unwrap(), Ranges::all(), 8 << 10)).collect();
    wire += b.fetch_children(&link, &new, wanted).await;
    let lists = b.lists(&lists).await;
    let plan = splice::plan(&new, segments.iter().copied(), &held, &lists);
    let wanted = plan.segments.iter().filter(|plan| plan.fetch_bytes > 0).map(|plan| {
        let ranges = if plan.is_whole() { Ranges::all() } else { Ranges::of(plan.fetch_ranges()) };
        child(new.segment_child(plan.segment), ranges, plan.fetch_bytes)
    });
    wire += b.fetch_children(&link, &new, wanted.collect()).await;
    let row = Row { segments: new.segments().len(), store, fetch: watch.stop(), wire };
    a.blobs.shutdown().await;
    b.blobs.shutdown().await;
    row
}

/// A child with the bytes that are asked of it.
type Wanted = (Child, u64);

fn child(index: usize, ranges: Ranges, bytes: u64) -> Wanted {
    (Child { index: u32::try_from(index).unwrap(), ranges, size: None }, bytes)
}

fn everything(index: &ContentIndex) -> Vec<Wanted> {
    let first = index.segment_child(0);
    let bytes = |at: usize| match at.checked_sub(first).and_then(|at| index.segments().get(at)) {
        Some(segment) => u64::from(segment.size),
        None => 8 << 10,
    };
    (0..index.hash_seq().children().len()).map(|at| child(at, Ranges::all(), bytes(at))).collect()
}

async fn missing_nodes(blobs: &Blobs, index: &ContentIndex) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (at, node) in index.nodes().iter().enumerate() {
        if !blobs.has(*node).await.unwrap() {
            wanted.push(child(at, Ranges::all(), 8 << 10));
        }
    }
    wanted
}

async fn missing_segments(blobs: &Blobs, index: &ContentIndex) -> Vec<usize> {
    let mut missing = Vec::new();
    for (at, segment) in index.segments().iter().enumerate() {
        if !blobs.has(segment.hash).await.unwrap() {
            missing.push(at);
        }
    }
    missing
}

/// A blob store in a directory of its own.
struct Store {
    _dir: tempfile::TempDir,
    blobs: Blobs,
}

impl Store {
    async fn new(work: &Path) -> Self {
        let dir = tempfile::tempdir_in(work).unwrap();
        let (blobs, _) = Blobs::open(dir.path()).await.unwrap();
        Self { _dir: dir, blobs }
    }

    async fn pack(&self, dir: &Path, params: PackParams) -> (ContentIndex, Cost) {
        let files = walk::walk(dir, &walk::Selection::default()).unwrap();
        let watch = Watch::start();
        let packed = pack::pack(&self.blobs, files, params, |_| false, |_| {}).await.unwrap();
        packed.import.sync().await.unwrap();
        (packed.index, watch.stop())
    }

    async fn fetch_root(&self, link: &Link, index: &ContentIndex) -> u64 {
        link.fetch(&self.blobs, index, Parts::Sequence).await
    }

    /// Fetches children in batches, as the fetcher does with one peer. Tells the bytes received.
    async fn fetch_children(&self, link: &Link, index: &ContentIndex, wanted: Vec<Wanted>) -> u64 {
        let mut batches: Vec<Vec<Child>> = Vec::new();
        let mut bytes = SOLO_BATCH_BYTES;
        for (child, size) in wanted {
            if bytes + size > SOLO_BATCH_BYTES {
                batches.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            batches.last_mut().unwrap().push(child);
        }
        let fetches = batches.into_iter().map(|batch| link.fetch(&self.blobs, index, Parts::Children(batch)));
        stream::iter(fetches).buffer_unordered(BATCHES_PER_PEER).map(Ok).try_fold(0, sum).await.unwrap()
    }

    async fn held(&self, old: &ContentIndex, new: &ContentIndex) -> Held {
        let mut held = Held::new();
        let here: HashSet<BlobId> = old.segments().iter().map(|segment| segment.hash).collect();
        held.add_files(old, |segment| here.contains(segment));
        for number in splice::neighbours(old, new) {
            let segment = &old.segments()[number];
            let Some(list) = segment.chunks else { continue };
            let list = self.lists(&[list]).await.remove(&list).unwrap();
            held.add_chunks(segment, &list);
        }
        held
    }

    async fn lists(&self, ids: &[BlobId]) -> HashMap<BlobId, ChunkList> {
        let mut lists = HashMap::new();
        for id in ids {
            let bytes = self.blobs.read(*id, 1 << 20).await.unwrap();
            lists.insert(*id, ChunkList::decode(&bytes).unwrap());
        }
        lists
    }
}

async fn sum(sum: u64, bytes: u64) -> Result<u64, std::convert::Infallible> {
    Ok(sum + bytes)
}

/// A listener that serves one store to everybody.
struct Link {
    address: std::net::SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Link {
    async fn new(blobs: &Blobs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let blobs = blobs.clone();
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let blobs = blobs.clone();
                socket.set_nodelay(true).unwrap();
                tokio::spawn(async move { blobs.serve(socket.compat(), IDLE, |_| Access::Sequence).await });
            }
        });
        Self { address, server }
    }

    async fn fetch(&self, blobs: &Blobs, index: &ContentIndex, parts: Parts) -> u64 {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let request = Request { root: index.content_root().into(), parts };
        let options = FetchOptions { idle: IDLE, ..FetchOptions::default() };
        let pins = blobs.pins();
        blobs.fetch(socket.compat(), &request, &options, &pins, |_| {}).await.unwrap().received
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.abort();
    }
}
