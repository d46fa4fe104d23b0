//! From files on disk to content in the blob store: cut on all cores, packed in tree order, stored as it goes.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use syncra_protocol::id::BlobId;
use syncra_protocol::tree::pack::PackError;
use syncra_protocol::tree::{
    ContentIndex, CutFile, Cutter, FileCutter, Pack, PackParams, Packer, Segment, SegmentRef, Unsealed,
};
use tokio::sync::mpsc;

use super::secrets::{self, Finding};
use super::walk::{ReadError, SourceFile};
use crate::blobs::{BlobError, Blobs, Import};

/// Bytes of small files that one task reads and cuts: large enough to be worth a task.
const BATCH_BYTES: u64 = 4 << 20;
/// Files in one batch, however small.
const BATCH_FILES: usize = 512;
/// Batches cut at once, and segments on their way to the store: bounds memory at some tens of MiB.
const IN_FLIGHT: usize = 4;
/// Nodes on their way to the store: small, so what counts is the waiting for each.
const NODES_IN_FLIGHT: usize = 16;
/// Files from this size on are hashed on a second core while they are cut.
const LARGE_BYTES: u64 = 8 << 20;
/// Segments of a large file that its hashing may lag behind its cutting.
const UNSEALED: usize = 2;
/// Bytes read at once from a small file; the first of them are looked through for secrets.
pub(super) const READ_BYTES: usize = secrets::SCANNED_BYTES;

/// A tree in the blob store, kept by the import's pins and not yet synced.
#[derive(Debug)]
pub struct Packed {
    /// Files, segments, nodes, ids.
    pub index: ContentIndex,
    /// Keeps the blobs; sync it, then drop it once the truth names them.
    pub import: Import,
}

/// Why a tree was not packed. What was stored already is collected like any blob that nothing names.
#[derive(Debug, thiserror::Error)]
pub enum PackTreeError {
    /// A file could not be read, or changed meanwhile.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The blob store fails.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The tree exceeds a limit of releases.
    #[error("the tree cannot be a release")]
    Pack(#[from] PackError),
    /// A file holds what looks like a secret.
    #[error("`{}` holds what looks like {} (line {})", path.display(), finding.what, finding.line)]
    Secret {
        /// The file.
        path: PathBuf,
        /// What it looks like, and where.
        finding: Finding,
    },
}

/// Reads, cuts, packs and stores `files`, which are in tree order. `read_bytes` hears of every piece that was read.
///
/// # Errors
/// [`PackTreeError`]; files that are `is_exempt` are not scanned for secrets.
pub async fn pack(
    blobs: &Blobs,
    files: Vec<SourceFile>,
    params: PackParams,
    is_exempt: impl Fn(&SourceFile) -> bool,
    read_bytes: impl Fn(u64),
) -> Result<Packed, PackTreeError> {
    let import = blobs.import();
    let (segments, stored) = mpsc::channel::<Segment>(IN_FLIGHT);
    let cut = async {
        let mut packer = Packer::new(params);
        let batches = batches(files, is_exempt).into_iter();
        let mut cutting = stream::iter(batches)
            .map(|batch| {
                let segments = segments.clone();
                async move {
                    let cut = tokio::task::spawn_blocking(move || cut_batch(batch, params, &segments));
                    cut.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
                }
            })
            .buffered(IN_FLIGHT);
        while let Some(batch) = cutting.next().await {
            for (file, cut) in batch? {
                read_bytes(cut.size());
                for segment in packer.add(file.path, file.executable, cut)? {
                    send(&segments, segment).await?;
                }
            }
        }
        drop(cutting);
        let Pack { segments: last, nodes, index } = packer.finish()?;
        for segment in last {
            send(&segments, segment).await?;
        }
        drop(segments);
        Ok::<_, PackTreeError>((nodes, index))
    };
    let store = async {
        let stored = stream::unfold(stored, async |mut stored| Some((stored.recv().await?, stored)));
        stored.map(Ok::<_, PackTreeError>).try_for_each_concurrent(IN_FLIGHT, |segment| store(&import, segment)).await
    };
    // The store first: when it fails it drops its end, which ends the cutting too, and its error is the one to tell.
    let (stored, cut) = futures::join!(store, cut);
    stored?;
    let (nodes, index) = cut?;
    let nodes = stream::iter(nodes).map(|(id, node)| import.add_as(id, node.into()));
    nodes.buffer_unordered(NODES_IN_FLIGHT).try_for_each(async |_| Ok(())).await?;
    import.add(index.hash_seq().encode().into()).await?;
    Ok(Packed { index, import })
}

async fn send(segments: &mpsc::Sender<Segment>, segment: Segment) -> Result<(), PackTreeError> {
    segments.send(segment).await.map_err(|_| BlobError::Stopped.into())
}

pub(super) async fn store(import: &Import, segment: Segment) -> Result<(), PackTreeError> {
    import.add_hashed(segment.id.hash, segment.bytes.into(), segment.pairs).await?;
    if let (Some(id), Some(list)) = (segment.id.chunks, segment.chunk_list) {
        import.add_as(id, Bytes::from(list)).await?;
    }
    Ok(())
}

struct Job {
    file: SourceFile,
    scan: bool,
}

/// Neighbours that are read and cut by one task.
fn batches(files: Vec<SourceFile>, is_exempt: impl Fn(&SourceFile) -> bool) -> Vec<Vec<Job>> {
    let mut batches: Vec<Vec<Job>> = Vec::new();
    let mut bytes = BATCH_BYTES;
    for file in files {
        let full = batches.last().is_none_or(|batch| batch.len() >= BATCH_FILES);
        if full || bytes + file.size > BATCH_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += file.size;
        let scan = !is_exempt(&file);
        batches.last_mut().expect("pushed above").push(Job { file, scan });
    }
    batches
}

fn cut_batch(
    batch: Vec<Job>,
    params: PackParams,
    segments: &mpsc::Sender<Segment>,
) -> Result<Vec<(SourceFile, CutFile)>, PackTreeError> {
    let mut buffer = vec![0; READ_BYTES];
    batch
        .into_iter()
        .map(|job| {
            let cut = cut_file(&job, params, segments, &mut buffer)?;
            Ok((job.file, cut))
        })
        .collect()
}

/// Cuts one file, looked through for secrets; its segments go to `segments`.
///
/// # Errors
/// [`PackTreeError`].
pub(super) fn cut_one(
    file: &SourceFile,
    params: PackParams,
    segments: &mpsc::Sender<Segment>,
    buffer: &mut [u8],
) -> Result<CutFile, PackTreeError> {
    cut_file(&Job { file: file.clone(), scan: true }, params, segments, buffer)
}

fn cut_file(
    job: &Job,
    params: PackParams,
    segments: &mpsc::Sender<Segment>,
    buffer: &mut [u8],
) -> Result<CutFile, PackTreeError> {
    if job.file.size >= LARGE_BYTES {
        return cut_large(job, params, segments);
    }
    let file = &job.file;
    let mut open: File = file.open()?;
    let mut cutter = FileCutter::new(params);
    let mut first = true;
    loop {
        let n = fill(&mut open, buffer).map_err(|source| file.unreadable(source))?;
        let piece = &buffer[..n];
        if std::mem::take(&mut first) {
            refuse_secrets(job, piece)?;
        }
        hand_out(segments, cutter.update(piece))?;
        if n < buffer.len() {
            break;
        }
    }
    let (last, cut) = cutter.finish();
    hand_out(segments, last)?;
    as_it_was(file, &open, &cut)?;
    Ok(cut)
}

/// Cuts a large file while another thread hashes it and its segments: two cores work on one file.
fn cut_large(job: &Job, params: PackParams, segments: &mpsc::Sender<Segment>) -> Result<CutFile, PackTreeError> {
    let file = &job.file;
    let mut open: File = file.open()?;
    let mut cutter = Cutter::new(params);
    let (unsealed, arriving) = std::sync::mpsc::sync_channel::<Unsealed>(UNSEALED);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(move || -> Result<(BlobId, Vec<SegmentRef>), PackTreeError> {
            let (mut hasher, mut ids) = (blake3::Hasher::new(), Vec::new());
            for segment in arriving {
                hasher.update(segment.bytes());
                let segment = segment.seal();
                ids.push(segment.id);
                hand_out(segments, vec![segment])?;
            }
            Ok((BlobId::from_bytes(*hasher.finalize().as_bytes()), ids))
        });
        // Moved in here, so that the hashing thread's end comes with whatever ends this side.
        let unsealed = unsealed;
        // A failed send is the other side's failure, which its end tells.
        let hand_over = |done: Vec<Unsealed>| done.into_iter().try_for_each(|segment| unsealed.send(segment)).is_ok();
        let mut wanted = secrets::SCANNED_BYTES;
        loop {
            let before = cutter.size();
            let done = cutter.update_by(|buffer| {
                let from = buffer.len();
                let read = (&mut open).take(wanted as u64).read_to_end(buffer);
                read.map_err(|source| file.unreadable(source))?;
                if before == 0 { refuse_secrets(job, &buffer[from..]) } else { Ok(()) }
            })?;
            if !hand_over(done) || cutter.size() - before < wanted as u64 {
                break;
            }
            wanted = Cutter::STEP;
        }
        let (last, file_cut) = cutter.finish(None);
        hand_over(last);
        drop(unsealed);
        let (hash, ids) = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let hash = file_cut.small_bytes().map_or(hash, BlobId::of);
        let cut = file_cut.counted(hash, ids);
        as_it_was(file, &open, &cut)?;
        Ok(cut)
    })
}

/// Looks at the first piece of a file: all that is looked at, as `syncra check` does.
fn refuse_secrets(job: &Job, first: &[u8]) -> Result<(), PackTreeError> {
    match job.scan.then(|| secrets::scan(first)).flatten() {
        Some(finding) => Err(PackTreeError::Secret { path: job.file.source.clone(), finding }),
        None => Ok(()),
    }
}

/// What was read is the file that was found.
fn as_it_was(file: &SourceFile, open: &File, cut: &CutFile) -> Result<(), ReadError> {
    file.unchanged(open)?;
    if cut.size() == file.size { Ok(()) } else { Err(ReadError::Changed { path: file.source.clone() }) }
}

pub(super) fn hand_out(segments: &mpsc::Sender<Segment>, done: Vec<Segment>) -> Result<(), PackTreeError> {
    done.into_iter().try_for_each(|segment| segments.blocking_send(segment).map_err(|_| BlobError::Stopped.into()))
}

/// Fills `buffer` as far as the file goes.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::walk::{Selection, walk};

    #[tokio::test]
    async fn a_large_file_is_looked_through_and_hashed_like_a_small_one() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut bytes = vec![b' '; usize::try_from(LARGE_BYTES).unwrap() + 5];
        std::fs::write(tree.join("large"), &bytes).unwrap();
        let (blobs, _) = Blobs::open(dir.path().join("blobs")).await.unwrap();
        let pack = async || {
            let files = walk(&tree, &Selection::default()).unwrap();
            pack(&blobs, files, PackParams::default(), |_| false, |_| {}).await
        };
        let packed = pack().await.unwrap();
        assert_eq!(packed.index.files()[0].entry.hash, BlobId::of(&bytes));
        // Put together at run time, so that this file is clean itself.
        let token = format!("gh{}_{}", "p", "a1B2".repeat(9));
        bytes[100..100 + token.len()].copy_from_slice(token.as_bytes());
        std::fs::write(tree.join("large"), &bytes).unwrap();
        assert!(matches!(pack().await, Err(PackTreeError::Secret { .. })));
        blobs.shutdown().await;
    }
}
