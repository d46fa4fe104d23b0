//! Bringing our own bytes into the store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use syncra_protocol::id::BlobId;

use super::error::BlobError;
use super::gc::Pins;
use super::open::blocking;
use super::{Blobs, hash, room};

/// A blob that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: BlobId,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it was not held before.
    pub new: bool,
}

/// Sums over an [`Import`], every distinct blob counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportTotals {
    /// Blobs that were not held before.
    pub new_blobs: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Blobs that were held already.
    pub held_blobs: u64,
    /// Their bytes.
    pub held_bytes: u64,
}

/// Adds many blobs that belong together. All stay pinned until this is dropped: drop it once the truth names them.
/// Adding may go on from several tasks at once.
#[derive(Debug)]
pub struct Import {
    blobs: Blobs,
    pins: Pins,
    added: Mutex<HashMap<BlobId, Added>>,
}

impl Import {
    /// Adds one blob, pinned from before the store looks for it.
    ///
    /// # Errors
    /// [`BlobError::StorageFull`], or another fault of the store.
    pub async fn add(&self, bytes: Bytes) -> Result<Added, BlobError> {
        let added = self.blobs.add_pinned(bytes, &self.pins).await?;
        // The first time counts: only then was it new.
        self.with(|all| all.entry(added.id).or_insert(added).id);
        Ok(added)
    }

    /// Adds one blob whose id its caller computed. The store hashes what it writes, so a wrong id is noticed.
    ///
    /// # Errors
    /// As [`Import::add`]; [`BlobError::Damaged`] when the bytes are not the id's.
    pub async fn add_as(&self, id: BlobId, bytes: Bytes) -> Result<Added, BlobError> {
        let added = self.blobs.add_pinned_as(id, bytes, &self.pins).await?;
        self.with(|all| *all.entry(id).or_insert(added));
        Ok(added)
    }

    /// Makes everything added so far survive a power cut; blobs that were held before included.
    ///
    /// # Errors
    /// As [`Blobs::sync`].
    pub async fn sync(&self) -> Result<(), BlobError> {
        let ids: Vec<BlobId> = self.with(|added| added.keys().copied().collect());
        self.blobs.sync(&ids).await
    }

    /// The pins of this import.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// What was added so far.
    #[must_use]
    pub fn totals(&self) -> ImportTotals {
        self.with(|added| {
            added.values().fold(ImportTotals::default(), |mut totals, added| {
                let (blobs, bytes) = if added.new {
                    (&mut totals.new_blobs, &mut totals.new_bytes)
                } else {
                    (&mut totals.held_blobs, &mut totals.held_bytes)
                };
                *blobs += 1;
                *bytes += added.bytes;
                totals
            })
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<BlobId, Added>) -> T) -> T {
        work(&mut self.added.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Blobs {
    /// Begins an import of many blobs.
    #[must_use]
    pub fn import(&self) -> Import {
        Import { blobs: self.clone(), pins: self.pins(), added: Mutex::default() }
    }

    /// Adds one blob, kept by `pins`. A held blob is compared with the bytes at hand and replaced when it rotted.
    ///
    /// # Errors
    /// [`BlobError::StorageFull`], or another fault of the store.
    pub async fn add_pinned(&self, bytes: Bytes, pins: &Pins) -> Result<Added, BlobError> {
        let hashed = bytes.clone();
        let id = blocking(move || BlobId::of(&hashed)).await;
        self.add_pinned_as(id, bytes, pins).await
    }

    async fn add_pinned_as(&self, id: BlobId, bytes: Bytes, pins: &Pins) -> Result<Added, BlobError> {
        pins.add(id).await;
        let size = bytes.len() as u64;
        if self.size(id).await? == Some(size) && self.equals(id, &bytes).await? {
            return Ok(Added { id, bytes: size, new: false });
        }
        self.put(id, bytes).await?;
        Ok(Added { id, bytes: size, new: true })
    }

    /// Writes a blob whose id is known to be `id`.
    pub(super) async fn put(&self, id: BlobId, bytes: Bytes) -> Result<(), BlobError> {
        room::check(self.0.layout.root(), bytes.len() as u64, room::RESERVE_BYTES, "adding a blob")?;
        let tag = self.0.store.blobs().add_bytes(bytes).temp_tag().await.map_err(BlobError::store("adding a blob"))?;
        // The store hashed what it wrote: memory or disk changed the bytes on the way when they differ.
        if tag.hash() != hash(id) {
            return Err(BlobError::Damaged(id));
        }
        self.note_unsynced(id);
        Ok(())
    }

    async fn equals(&self, id: BlobId, bytes: &Bytes) -> Result<bool, BlobError> {
        if bytes.is_empty() {
            return Ok(true);
        }
        let path = self.0.layout.data_file(id);
        let bytes = bytes.clone();
        // A file that cannot be read is replaced like one that differs.
        Ok(blocking(move || std::fs::read(path)).await.is_ok_and(|held| held == bytes))
    }
}
