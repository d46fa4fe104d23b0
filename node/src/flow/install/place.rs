//! One release from blobs to its place in the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::id::BlobId;

use super::InstallError;
use crate::blobs::{BlobError, Blobs, Pins};
use crate::durable::WriteError;
use crate::flow::content::Fetched;
use crate::flow::unpack::{self, Durability, UnpackError};
use crate::flow::{Parts, content, release};
use crate::home::Layout;
use crate::installed::{Slot, Staging, Turn};
use crate::progress::Progress;
use crate::sync::fetch::{self, Landed, Landing, Terms};

/// Space that an install leaves free: journal, index and the next collection need some.
const SPARE_BYTES: u64 = 16 << 20;

/// Refuses what cannot fit, before anything is fetched.
pub(super) fn check_room(layout: &Layout, needed_bytes: u64) -> Result<(), InstallError> {
    if needed_bytes == 0 {
        return Ok(());
    }
    let path = layout.installed();
    let free_bytes = fs2::available_space(&path).map_err(|source| WriteError::from_io(&path, source))?;
    if free_bytes < needed_bytes.saturating_add(SPARE_BYTES) {
        return Err(InstallError::NoRoom { needed_bytes, free_bytes });
    }
    Ok(())
}

/// Makes a release's content complete here, and unpacks it beside its place while it comes, all files checked. Nothing is
/// staged when that could not be told before the fetch ended: [`unpack()`] does it then.
pub(super) async fn obtain(
    parts: &Parts,
    release: &Release,
    pins: &Pins,
    patience: Duration,
    progress: &Progress,
) -> Result<(Fetched, Option<Staging>), InstallError> {
    let blobs = parts.blobs().await?;
    let (landing, mut landed) = fetch::landing();
    let fetching = async {
        // Dropped at the end: whoever waits for more then learns that it never comes.
        let landing = landing;
        let terms = Terms { pins, patience, progress, landing: &landing };
        Ok(content::ensure(parts, release, terms).await?)
    };
    let failed = |error: WriteError| UnpackError::Write { path: parts.layout().installed(), source: error.into() };
    let writing = async {
        if landed.index().await.is_none() {
            return Ok(None);
        }
        let staged = parts.installed.stage().map_err(failed)?;
        match unpack::unpack(blobs, landed, staged.path(), Durability::Synced, |_| {}).await {
            Ok(()) => Ok(Some(staged)),
            // What is wrong with it is looked at when all is here.
            Err(UnpackError::WrongFile { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    };
    unpack::while_fetching::<_, _, InstallError>(fetching, writing).await
}

/// Moves a release in its place: what was staged while it came, or else unpacked now, all files checked. Blobs that rotted on
/// this disk are fetched once more. What was in its place is set aside, and where is told.
pub(super) async fn unpack(
    parts: &Parts,
    turn: &Turn<'_>,
    (slot, release): (&Slot, &Release),
    staged: Option<Staging>,
    pins: &Pins,
    progress: &Progress,
) -> Result<Option<PathBuf>, InstallError> {
    if let Some(staged) = staged {
        return Ok(turn.place(staged, slot.release)?);
    }
    match try_unpack(parts, turn, slot, release, progress).await {
        Err(InstallError::WrongFile { .. } | InstallError::Release(_)) => {}
        placed => return placed,
    }
    let blobs = parts.blobs().await?;
    let damaged = damaged(blobs, release).await?;
    if !damaged.is_empty() {
        tracing::warn!(n = damaged.len(), "blobs were damaged on disk and are fetched again");
        blobs.discard(&damaged).await?;
        let terms = Terms { pins, patience: fetch::PATIENCE, progress, landing: &Landing::unheard() };
        content::ensure(parts, release, terms).await?;
    }
    // Once more in any case: the second error tells what is wrong with the release itself.
    try_unpack(parts, turn, slot, release, progress).await
}

/// The same, from the blobs as they are.
pub(super) async fn try_unpack(
    parts: &Parts,
    turn: &Turn<'_>,
    slot: &Slot,
    release: &Release,
    progress: &Progress,
) -> Result<Option<PathBuf>, InstallError> {
    let blobs = parts.blobs().await?;
    let index = Arc::new(release::verified_content(blobs, release).await?);
    let staged = parts.installed.stage()?;
    let (written, total) = (AtomicU64::new(0), index.stored_bytes());
    let wrote = |bytes| {
        let done = bytes + written.fetch_add(bytes, Ordering::Relaxed);
        progress.bytes("unpack", done, Some(total));
    };
    match unpack::unpack(blobs, Landed::all(&index), staged.path(), Durability::Synced, wrote).await {
        Err(UnpackError::WrongFile { path }) => {
            return Err(InstallError::WrongFile { reference: slot.reference.clone(), path });
        }
        unpacked => unpacked?,
    }
    Ok(turn.place(staged, slot.release)?)
}

/// The blobs of a release whose bytes on disk are no longer theirs.
async fn damaged(blobs: &Blobs, release: &Release) -> Result<Vec<BlobId>, BlobError> {
    let root = BlobId::from(release.content_root);
    let mut damaged = Vec::new();
    let mut ids = vec![root];
    match blobs.verify(root).await {
        Ok(()) => ids.extend(blobs.children(root).await?),
        Err(BlobError::Damaged(_) | BlobError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    for id in ids {
        match blobs.verify(id).await {
            Ok(()) | Err(BlobError::Missing(_)) => {}
            Err(BlobError::Damaged(id)) => damaged.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok(damaged)
}
