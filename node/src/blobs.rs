//! Blobs: immutable bytes named by their BLAKE3 hash, kept in files, served to and fetched from peers.
//!
//! A small face over the iroh-blobs file store; nothing outside this module names that library. What it adds:
//! * opening survives a missing or damaged database: files prove themselves by their names ([`Blobs::open`]);
//! * durability that the library leaves out: files and directory synced, then the database ([`Blobs::sync`]);
//! * collection only on request, with the caller's complete live set ([`Blobs::collect`]) and [`Pins`];
//! * serving and fetching over any byte stream ([`Blobs::serve`], [`Blobs::fetch`]), every group of 16 KiB verified
//!   before it is kept, errors told apart by whose fault they are.
//!
//! Everything here can be fetched again, so every doubt about local bytes is answered by forgetting them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use iroh_blobs::Hash;
use iroh_blobs::store::fs::FsStore;
use syncra_protocol::id::BlobId;

mod arrivals;
mod database;
mod encode;
mod error;
mod fetch;
mod files;
mod gc;
mod import;
mod local;
mod open;
mod ranges;
mod read;
mod room;
mod serve;
mod splice;
mod stream;
#[cfg(test)]
mod tests;

pub use arrivals::Listening;
pub use database::DatabaseState;
pub use error::{BlobError, FetchError, OpenError, ServeError, SpliceError};
pub use fetch::{Child, FetchFailure, FetchOptions, FetchStats, Parts, Progress, Request};
pub use gc::{Collection, DiskUsage, Freed, Pins};
pub use import::{Added, Import, ImportTotals};
pub use local::{Missing, MissingChild};
pub use open::Opened;
pub use ranges::{GROUP_BYTES, Ranges};
pub use serve::{Access, Admission, ServeStats};
pub use splice::{Piece, Source};
pub use stream::Wire;

use arrivals::Arrivals;
use files::Layout;
use gc::{PinTable, Sweeper};

/// A handle on the blob store; clones share it.
#[derive(Debug, Clone)]
pub struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: FsStore,
    layout: Layout,
    sweeper: Sweeper,
    pins: PinTable,
    /// Held for reading while pins are taken, for writing during a collection.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// Held by the one collection that may be under way.
    collecting: Arc<tokio::sync::Mutex<()>>,
    /// Blobs that became complete since the last sync of theirs.
    unsynced: Mutex<HashSet<BlobId>>,
    arrivals: Arrivals,
}

impl Inner {
    fn new(store: FsStore, layout: Layout, sweeper: Sweeper) -> Self {
        Self {
            store,
            layout,
            sweeper,
            pins: PinTable::default(),
            gate: Arc::default(),
            collecting: Arc::default(),
            unsynced: Mutex::default(),
            arrivals: Arrivals::default(),
        }
    }
}

impl Blobs {
    /// Opens the store in `dir`, making it when it is new. A damaged database is set aside and every complete blob on
    /// disk imported again; [`Opened`] tells what was done.
    ///
    /// # Errors
    /// [`OpenError`] when the store is in use or the disk refuses; the directory is then as it was, or better.
    pub async fn open(dir: impl AsRef<Path>) -> Result<(Self, Opened), OpenError> {
        // The future holds the whole recovery; boxed so that callers' futures stay small.
        Box::pin(open::open(dir.as_ref())).await
    }

    /// Closes the database and marks the directory as cleanly left. Later calls on any clone fail with
    /// [`BlobError::Stopped`].
    pub async fn shutdown(&self) {
        let synced = self.sync_pending().await.is_ok();
        // An error means that the store's actor is gone already: nothing is left to close.
        if self.0.store.shutdown().await.is_ok() && synced {
            let layout = self.0.layout.clone();
            let cleared = open::blocking(move || {
                files::remove(&layout.unclean())?;
                files::sync_dir(layout.root())
            });
            if let Err(error) = cleared.await {
                tracing::debug!(%error, "the next start will check recent blobs again");
            }
        }
        self.0.sweeper.stop().await;
    }

    /// Makes these blobs survive a power cut: their files, the directory with their names, then the database.
    ///
    /// The library renames finished files into place without syncing them, while its database commits (with a sync)
    /// at most half a second after each change; so the database may be ahead of the files until this returns.
    ///
    /// # Errors
    /// [`BlobError::Missing`] when one of them is not held completely.
    pub async fn sync(&self, ids: &[BlobId]) -> Result<(), BlobError> {
        let started = SystemTime::now();
        let mut files = Vec::with_capacity(ids.len() * 2);
        for id in ids {
            let size = self.size(*id).await?.ok_or(BlobError::Missing(*id))?;
            if size > 0 {
                files.push(self.0.layout.data_file(*id));
            }
            if files::outboard_bytes(size) > 0 {
                files.push(self.0.layout.outboard_file(*id));
            }
        }
        let layout = self.0.layout.clone();
        let written = open::blocking(move || {
            files::sync_files(&files)?;
            files::sync_dir(layout.data())
        });
        written.await.map_err(BlobError::io("syncing blobs"))?;
        // Ends the store's open write batch: the call is answered only after the commit, which syncs.
        self.0.store.sync_db().await.map_err(self.failed("committing the blob database"))?;
        let synced: HashSet<&BlobId> = ids.iter().collect();
        let all_synced = {
            let mut unsynced = self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            unsynced.retain(|id| !synced.contains(id));
            unsynced.is_empty()
        };
        if all_synced { self.mark_synced_at(started).await } else { Ok(()) }
    }

    /// Syncs every blob that became complete in this session and was not synced since.
    ///
    /// # Errors
    /// As [`Blobs::sync`]; blobs that went meanwhile are passed over.
    pub async fn sync_pending(&self) -> Result<(), BlobError> {
        let pending: Vec<BlobId> = {
            let unsynced = self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            unsynced.iter().copied().collect()
        };
        let mut held = Vec::with_capacity(pending.len());
        for id in pending {
            if self.has(id).await? {
                held.push(id);
            } else {
                self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
        }
        if held.is_empty() { Ok(()) } else { self.sync(&held).await }
    }

    /// Notes that a blob became complete and its files are not synced.
    fn note_unsynced(&self, id: BlobId) {
        self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    async fn mark_synced(&self) -> Result<(), BlobError> {
        self.mark_synced_at(SystemTime::now()).await
    }

    /// After an unclean stop only blobs written after this time are checked again.
    async fn mark_synced_at(&self, at: SystemTime) -> Result<(), BlobError> {
        let marker = self.0.layout.unclean();
        let touch = move || std::fs::OpenOptions::new().write(true).open(marker)?.set_modified(at);
        open::blocking(touch).await.map_err(BlobError::io("marking blobs as synced"))
    }
}

/// The library's name for a blob.
fn hash(id: BlobId) -> Hash {
    Hash::from_bytes(*id.as_bytes())
}

/// Our name for the library's hash.
fn id(hash: Hash) -> BlobId {
    BlobId::from_bytes(*hash.as_bytes())
}
