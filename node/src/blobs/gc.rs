//! Pins and collection. Pins keep blobs that nothing names yet; a collection removes whatever is neither in the live
//! set given by the caller nor pinned.
//!
//! The library offers no deletion, only its periodic collector with a hook that adds protected blobs. The hook here
//! waits until we ask for a run, so a collection happens exactly when asked for, with exactly our live set.
//!
//! Order: [`Blobs::collect`] first closes the gate (no new pins), then copies the pins, and only then may the caller
//! read its live set. So a blob that is named by the truth just before its pin goes is in one of the two. The sweep
//! opens the gate between its steps, and from then on spares whatever is pinned, however shortly.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use iroh_blobs::Hash;
use iroh_blobs::store::{GcConfig, ProtectCb, ProtectOutcome};
use syncra_protocol::id::BlobId;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockWriteGuard, mpsc, oneshot};

use super::error::BlobError;
use super::files;
use super::open::blocking;
use super::{Blobs, hash};

/// Age at which a file of an import that never ended goes: a failed import (full disk) leaves one behind.
const STALE_TEMP: Duration = Duration::from_secs(3600);
/// Blobs removed in the first and the smallest step of a collection. The store answers nothing while files go.
const FIRST_STEP: usize = 64;
/// What a step may take before the next one is smaller; below the patience of a peer whose fetch waits for a pin.
const STEP: Duration = Duration::from_secs(1);

/// One run asked of the library's collector.
struct Run {
    live: HashSet<Hash>,
    done: oneshot::Sender<()>,
}

/// Asks the library's collector for runs.
#[derive(Debug)]
pub(super) struct Sweeper(mpsc::Sender<Run>);

struct Inbox {
    runs: mpsc::Receiver<Run>,
    /// The run that the collector is busy with; it calls the hook again when it is through.
    running: Option<oneshot::Sender<()>>,
}

/// The collector's configuration, and the handle that drives it.
pub(super) fn sweeper() -> (GcConfig, Sweeper) {
    let (sender, runs) = mpsc::channel(1);
    let inbox = Arc::new(tokio::sync::Mutex::new(Inbox { runs, running: None }));
    let add_protected: ProtectCb = Arc::new(move |live| {
        let inbox = inbox.clone();
        Box::pin(async move {
            let mut inbox = inbox.lock().await;
            if let Some(done) = inbox.running.take() {
                // Whoever asked may have given up waiting.
                let _ = done.send(());
            }
            let Some(run) = inbox.runs.recv().await else {
                // The handle is gone: never run again, least of all with an empty live set.
                return std::future::pending().await;
            };
            live.extend(run.live);
            inbox.running = Some(run.done);
            ProtectOutcome::Continue
        })
    });
    (GcConfig { interval: Duration::ZERO, add_protected: Some(add_protected) }, Sweeper(sender))
}

impl Sweeper {
    /// Ends the library's collector, after the database is closed. Its next run fails at once, because the first thing
    /// it asks of the store has nobody to answer; that is its only way out, and what lets the store's threads end.
    pub(super) async fn stop(&self) {
        let (done, _) = oneshot::channel();
        // When it has ended already, there is nothing to do.
        let _ = self.0.send(Run { live: HashSet::new(), done }).await;
    }

    async fn run(&self, live: HashSet<Hash>) -> Result<(), BlobError> {
        let (done, finished) = oneshot::channel();
        self.0.send(Run { live, done }).await.map_err(|_| BlobError::Stopped)?;
        finished.await.map_err(|_| BlobError::Stopped)
    }
}

/// Which blobs are pinned.
#[derive(Debug, Default)]
pub(super) struct PinTable(Mutex<PinCounts>);

#[derive(Debug, Default)]
struct PinCounts {
    /// How often each blob is pinned.
    pinned: HashMap<BlobId, usize>,
    /// During a collection: every blob that was pinned at any time since it began. The truth may have named it and
    /// the pin be gone before the collection comes to it.
    touched: Option<HashSet<BlobId>>,
}

impl PinTable {
    fn with<T>(&self, work: impl FnOnce(&mut PinCounts) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps blobs from collection until dropped: hold it from before a blob is looked at until the truth names it.
#[derive(Debug)]
pub struct Pins {
    blobs: Blobs,
    held: Mutex<HashSet<BlobId>>,
}

impl Pins {
    /// Pins one more blob, held or not. Waits while a collection runs.
    pub async fn add(&self, id: BlobId) {
        self.add_all([id]).await;
    }

    /// Pins blobs. Waits while a collection runs.
    pub async fn add_all(&self, ids: impl IntoIterator<Item = BlobId> + Send) {
        let _open = self.blobs.0.gate.read().await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.blobs.0.pins.with(|pins| {
            for id in ids {
                if held.insert(id) {
                    *pins.pinned.entry(id).or_default() += 1;
                    pins.touched.as_mut().map(|touched| touched.insert(id));
                }
            }
        });
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.blobs.0.pins.with(|pins| {
            for id in held.iter() {
                if let Some(count) = pins.pinned.get_mut(id) {
                    *count -= 1;
                    if *count == 0 {
                        pins.pinned.remove(id);
                    }
                }
            }
        });
    }
}

/// What a collection freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs that went, partial ones included.
    pub blobs: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A collection that may begin: new pins wait. Dropping it aborts.
#[derive(Debug)]
pub struct Collection {
    blobs: Blobs,
    gate: Option<OwnedRwLockWriteGuard<()>>,
    _only_one: OwnedMutexGuard<()>,
}

impl Collection {
    /// What a sweep with this live set would remove. Removes nothing.
    ///
    /// # Errors
    /// [`BlobError`] when the store failed.
    pub async fn measure(&self, live: &HashSet<BlobId>) -> Result<Freed, BlobError> {
        let dead = self.dead(live).await?;
        let blobs = dead.len() as u64;
        Ok(Freed { blobs, bytes: self.blobs.file_bytes_of(dead).await })
    }

    /// What neither the live set nor a pin has kept so far.
    async fn dead(&self, live: &HashSet<BlobId>) -> Result<Vec<BlobId>, BlobError> {
        let pinned = self.blobs.0.pins.with(|pins| pins.touched.clone().unwrap_or_default());
        let known = self.blobs.known().await?;
        Ok(known.into_iter().filter(|id| !live.contains(id) && !pinned.contains(id)).collect())
    }

    /// Removes every blob that is neither in `live`, the complete live set, nor pinned. Goes in steps: between them
    /// pins are given out again, so nobody waits for more than a step.
    ///
    /// # Errors
    /// [`BlobError`] when the store failed; what was removed until then was not live.
    pub async fn sweep(mut self, live: &HashSet<BlobId>) -> Result<Freed, BlobError> {
        let blobs = self.blobs.clone();
        let touched = || blobs.0.pins.with(|pins| pins.touched.clone().unwrap_or_default());
        let mut dead = self.dead(live).await?;
        let layout = blobs.0.layout.clone();
        blocking(move || remove_stale_temps(layout.temp())).await;
        let mut freed = Freed::default();
        let mut step = FIRST_STEP;
        while !dead.is_empty() {
            let gate = match self.gate.take() {
                Some(gate) => gate,
                None => blobs.0.gate.clone().write_owned().await,
            };
            let touched = touched();
            let mut doomed = dead.split_off(dead.len().saturating_sub(step));
            doomed.retain(|id| !touched.contains(id));
            let started = Instant::now();
            // Everything else stays: what is live, what was pinned since (new blobs are), what comes in a later step.
            let keep = live.iter().chain(&touched).chain(&dead).copied().map(hash).collect();
            freed.bytes += blobs.remove_all_but(keep, &doomed).await?;
            freed.blobs += doomed.len() as u64;
            drop(gate);
            step = if started.elapsed() < STEP { step * 2 } else { (step / 2).max(FIRST_STEP) };
        }
        let layout = blobs.0.layout.clone();
        // What was freed stays so.
        blocking(move || files::sync_dir(layout.data())).await.map_err(BlobError::io("syncing the blob directory"))?;
        Ok(freed)
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.blobs.0.pins.with(|pins| pins.touched = None);
    }
}

/// Disk space taken by blobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes of all files of the store, the database included.
    pub bytes: u64,
    /// Blobs with a data file, partial ones included.
    pub blobs: u64,
}

impl Blobs {
    /// An empty set of pins.
    #[must_use]
    pub fn pins(&self) -> Pins {
        Pins { blobs: self.clone(), held: Mutex::default() }
    }

    /// Begins a collection. Work out the live set only after this returns, and drop the collection unswept when any
    /// part of that set cannot be read. Until the sweep begins new pins wait, so do nothing that needs one.
    pub async fn collect(&self) -> Collection {
        let only_one = self.0.collecting.clone().lock_owned().await;
        let gate = self.0.gate.clone().write_owned().await;
        self.0.pins.with(|pins| pins.touched = Some(pins.pinned.keys().copied().collect()));
        Collection { blobs: self.clone(), gate: Some(gate), _only_one: only_one }
    }

    /// Removes exactly these blobs, whatever pins them.
    pub(super) async fn forget(&self, dead: &[BlobId]) -> Result<(), BlobError> {
        let layout = self.0.layout.clone();
        let on_disk = blocking(move || files::list(layout.data())).await;
        let on_disk = on_disk.map_err(BlobError::io("listing blobs"))?;
        // Two witnesses of what is to stay: a list from the database that ended early would cost good blobs.
        let mut live = self.known().await?;
        live.extend(on_disk.iter().filter_map(|path| files::owner(path)));
        let dead: HashSet<BlobId> = dead.iter().copied().collect();
        self.0.pins.with(|pins| live.extend(pins.pinned.keys()));
        let keep = live.into_iter().filter(|id| !dead.contains(id)).map(hash).collect();
        self.remove_all_but(keep, &Vec::from_iter(dead)).await.map(drop)
    }

    /// Lets the library's collector remove everything but `keep`; `doomed` is what that is known to be. Tells their
    /// bytes. New pins must be waiting.
    async fn remove_all_but(&self, keep: HashSet<Hash>, doomed: &[BlobId]) -> Result<u64, BlobError> {
        if doomed.is_empty() {
            return Ok(0);
        }
        let bytes = self.file_bytes_of(doomed.to_vec()).await;
        self.0.sweeper.run(keep).await?;
        let mut unsynced = self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        doomed.iter().for_each(|id| {
            unsynced.remove(id);
        });
        Ok(bytes)
    }

    /// Bytes of the files of these blobs.
    async fn file_bytes_of(&self, ids: Vec<BlobId>) -> u64 {
        let layout = self.0.layout.clone();
        blocking(move || ids.iter().flat_map(|id| layout.files_of(*id)).map(|path| file_bytes(&path)).sum()).await
    }

    /// Disk space taken, measured by looking at every file.
    ///
    /// # Errors
    /// [`BlobError::Io`] when a directory cannot be read.
    pub async fn disk_usage(&self) -> Result<DiskUsage, BlobError> {
        let layout = self.0.layout.clone();
        let measure = move || -> std::io::Result<DiskUsage> {
            let mut usage = DiskUsage { bytes: file_bytes(&layout.database()), blobs: 0 };
            for dir in [layout.data(), layout.temp()] {
                for path in files::list(dir)? {
                    usage.bytes += file_bytes(&path);
                    usage.blobs += u64::from(files::data_id(&path).is_some());
                }
            }
            Ok(usage)
        };
        blocking(measure).await.map_err(BlobError::io("measuring the blob store"))
    }
}

/// Size of a file; zero when it is gone.
fn file_bytes(path: &std::path::Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Best effort: what cannot be removed now is tried again by the next collection.
fn remove_stale_temps(temp: &std::path::Path) {
    let Some(limit) = SystemTime::now().checked_sub(STALE_TEMP) else { return };
    for path in files::list(temp).unwrap_or_default() {
        let stale = fs::metadata(&path).and_then(|metadata| metadata.modified()).is_ok_and(|at| at < limit);
        if stale && let Err(error) = files::remove(&path) {
            tracing::debug!(%error, "a stale import stays for now");
        }
    }
}
