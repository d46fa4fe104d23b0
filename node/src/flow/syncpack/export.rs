//! Writing a `.syncpack`: histories first, then what they name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use syncra_protocol::id::{BlobId, PackageId, ReleaseId};
use syncra_protocol::limits::{ENTRIES_PER_FRAME, FRAME_BYTES, HASH_SEQ_BYTES};
use tokio::io::AsyncWriteExt as _;

use super::frame::{self, Frame, LogFrame, MAGIC, PackageFrame};
use crate::blobs::{self, BlobError, Blobs};
use crate::durable::{self, WriteError};
use crate::flow::Parts;
use crate::flow::get::{self, GetError, Wanted};
use crate::flow::redact;
use crate::flow::release::ReleaseError;
use crate::history::{History, LoadError};
use crate::logs::LogsError;
use crate::progress::Progress;

/// Entry bytes of one frame, about: leaves room for one entry of the largest size.
const ENTRIES_BYTES: usize = FRAME_BYTES / 2;

/// What goes out.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The package: its whole history, always.
    pub history: std::sync::Arc<History>,
    /// The release whose content goes with it; without one, all that is held.
    pub release: Option<ReleaseId>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Packages.
    pub packages: u64,
    /// Releases whose content is in it.
    pub releases: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is something already.
    #[error("`{}` exists", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// Content cannot be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The release that was asked for is not held.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A history cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Entries cannot be read.
    #[error(transparent)]
    Logs(#[from] LogsError),
}

/// Writes `choices` to `path`, which must not exist. The file appears whole or not at all.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    parts: &Parts,
    choices: &[Choice],
    path: &Path,
    progress: &Progress,
) -> Result<Exported, ExportError> {
    if path.exists() {
        return Err(ExportError::Exists(path.to_owned()));
    }
    let stage = durable::temporary_path(path);
    let written = write(parts, choices, &stage, progress).await;
    let done = written.and_then(|done| {
        durable::rename(&stage, path).map_err(|source| WriteError::from_io(path, source))?;
        durable::sync_dir(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(done)
    });
    if done.is_err() {
        drop(std::fs::remove_file(&stage));
    }
    done
}

async fn write(parts: &Parts, choices: &[Choice], path: &Path, progress: &Progress) -> Result<Exported, ExportError> {
    let mut out = Out::create(path).await?;
    out.write(MAGIC).await?;
    for choice in choices {
        write_history(parts, &choice.history, &mut out).await?;
    }
    let blobs = parts.blobs().await?;
    let releases = choices.iter().flat_map(|choice| choice.history.state.releases.values());
    let named = releases.flat_map(|known| redact::of_release(&known.release));
    let refused = redact::refused_among(&parts.histories, named);
    let (mut n_releases, mut sent) = (0, HashSet::new());
    for choice in choices {
        for (id, published) in &choice.history.state.releases {
            if choice.release.is_some_and(|wanted| wanted != *id) {
                continue;
            }
            let release = &published.release;
            if refused.contains_key(&release.content_root.into()) {
                continue;
            }
            let index = match get::local(blobs, &Wanted::Release(Box::new(release.clone()))).await {
                Ok(index) => index,
                Err(error) if choice.release.is_some() || !is_not_held(&error) => return Err(error.into()),
                Err(_) => continue,
            };
            let prose = [Some(release.manifest), release.note].into_iter().flatten();
            let prose = prose.filter(|blob| !refused.contains_key(blob));
            // The list of all before what it lists: a reader knows what to expect.
            let root: BlobId = release.content_root.into();
            for blob in [root].into_iter().chain(prose).chain(index.hash_seq().children().iter().copied()) {
                if sent.insert(blob) && write_blob(blobs, blob, &mut out).await? {
                    progress.bytes("export", out.bytes, None);
                }
            }
            n_releases += 1;
        }
    }
    let sum = *out.sum.finalize().as_bytes();
    out.write(&Frame::End(sum).encode()).await?;
    let bytes = out.finish().await?;
    Ok(Exported { packages: choices.len() as u64, releases: n_releases, bytes })
}

fn is_not_held(error: &GetError) -> bool {
    matches!(error, GetError::Incomplete { .. } | GetError::Release(ReleaseError::Blob(BlobError::Missing(_))))
}

async fn write_history(parts: &Parts, history: &History, out: &mut Out) -> Result<(), ExportError> {
    let package: PackageId = history.state.package;
    let identities = history.evidence.identity_genesis_bytes().map(<[u8]>::to_vec).collect();
    let begin = PackageFrame { package, genesis: history.evidence.genesis_bytes().to_vec(), identities };
    out.write(&Frame::Package(begin).encode()).await?;
    for head in history.evidence.heads() {
        let log = LogFrame { origin: *head.origin(), note: parts.witnesses.dress(head).note().to_vec() };
        out.write(&Frame::Log(log).encode()).await?;
        let entries = parts.histories.entries(head.origin(), 0, head.size())?;
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for entry in &entries {
            if !frame.is_empty() && (bytes + entry.len() > ENTRIES_BYTES || frame.len() == ENTRIES_PER_FRAME) {
                out.write(&Frame::Entries(std::mem::take(&mut frame)).encode()).await?;
                bytes = 0;
            }
            bytes += entry.len();
            frame.push(entry.to_vec());
        }
        out.write(&Frame::Entries(frame).encode()).await?;
    }
    Ok(())
}

/// Writes a blob, if it is held: chunk lists and prose may have been collected.
async fn write_blob(blobs: &Blobs, id: BlobId, out: &mut Out) -> Result<bool, ExportError> {
    let bytes = match blobs.read(id, HASH_SEQ_BYTES as u64).await {
        Ok(bytes) => bytes,
        Err(BlobError::Missing(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // What rotted on this disk must not travel on.
    if BlobId::of(&bytes) != id {
        return Err(BlobError::Damaged(id).into());
    }
    out.write(&frame::blob_head(bytes.len())).await?;
    out.write(&bytes).await?;
    Ok(true)
}

/// The file, counted and summed.
struct Out {
    path: PathBuf,
    file: tokio::io::BufWriter<tokio::fs::File>,
    sum: blake3::Hasher,
    bytes: u64,
}

impl Out {
    async fn create(path: &Path) -> Result<Self, WriteError> {
        let file = tokio::fs::File::create_new(path).await.map_err(|source| WriteError::from_io(path, source))?;
        let file = tokio::io::BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path: path.to_owned(), file, sum: blake3::Hasher::new(), bytes: 0 })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(|source| WriteError::from_io(&self.path, source))
    }

    async fn finish(mut self) -> Result<u64, WriteError> {
        let failed = |source| WriteError::from_io(&self.path, source);
        self.file.flush().await.map_err(failed)?;
        self.file.get_ref().sync_all().await.map_err(failed)?;
        Ok(self.bytes)
    }
}
