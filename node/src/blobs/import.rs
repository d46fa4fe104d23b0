//! Bringing our own bytes into the store.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use bao_tree::io::{BaoContentItem, Leaf};
use bytes::Bytes;
use syncra_protocol::id::BlobId;
use syncra_protocol::tree::outboard::HashPair;

use super::error::BlobError;
use super::gc::Pins;
use super::open::blocking;
use super::{Blobs, files, hash, room};

/// What was being done, for errors.
const ADDING: &str = "adding a blob";
/// Items on their way to the store at once: a blob is one.
const ITEMS_IN_FLIGHT: usize = 1;

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

    /// Adds one blob with its id and the hashes above its groups, which its caller computed from these very bytes. Nothing
    /// hashes them again: who adds a blob vouches for it, as the hashes of a blob that comes from a peer are vouched for by
    /// having been checked.
    ///
    /// # Errors
    /// As [`Import::add`]; [`BlobError::Damaged`] when there are not as many hashes as the bytes need.
    pub async fn add_hashed(&self, id: BlobId, bytes: Bytes, pairs: Vec<HashPair>) -> Result<Added, BlobError> {
        let added = self.blobs.add_pinned_hashed(id, bytes, pairs, &self.pins).await?;
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
        self.add_pinned_hashed(id, bytes, Vec::new(), pins).await
    }

    /// With `pairs` of a blob that is not held nothing is hashed. One that is held and differs has rotted: the store keeps
    /// what it believes to be complete, so that is written anew by the longer way.
    async fn add_pinned_hashed(
        &self,
        id: BlobId,
        bytes: Bytes,
        pairs: Vec<HashPair>,
        pins: &Pins,
    ) -> Result<Added, BlobError> {
        pins.add(id).await;
        let size = bytes.len() as u64;
        let held = self.size(id).await?;
        if held == Some(size) && self.equals(id, &bytes).await? {
            return Ok(Added { id, bytes: size, new: false });
        }
        match NonZeroU64::new(size) {
            Some(size) if held.is_none() && !pairs.is_empty() => self.put_hashed(id, size, bytes, pairs).await?,
            _ => self.put(id, bytes).await?,
        }
        Ok(Added { id, bytes: size, new: true })
    }

    /// Gives the store a blob as it would come from a peer, after the check. Its hashes are put where the store keeps them, in
    /// one piece: it would take each by a message and write it by two calls.
    async fn put_hashed(
        &self,
        id: BlobId,
        size: NonZeroU64,
        bytes: Bytes,
        pairs: Vec<HashPair>,
    ) -> Result<(), BlobError> {
        room::check(self.0.layout.root(), size.get(), room::RESERVE_BYTES, ADDING)?;
        let mut outboard = Vec::with_capacity(pairs.len() * size_of::<HashPair>());
        for (left, right) in &pairs {
            outboard.extend_from_slice(left);
            outboard.extend_from_slice(right);
        }
        let outboard = Bytes::from(outboard);
        if outboard.len() as u64 != files::outboard_bytes(size.get()) {
            return Err(BlobError::Damaged(id));
        }
        let path = self.0.layout.outboard_file(id);
        // Not emptied first: if there are hashes of this blob already, they are the same.
        let write =
            move || OpenOptions::new().write(true).create(true).truncate(false).open(path)?.write_all(&outboard);
        blocking(write).await.map_err(BlobError::io(ADDING))?;
        let import = self.0.store.blobs().import_bao(hash(id), size, ITEMS_IN_FLIGHT).await;
        let import = import.map_err(|_| self.stopped(ADDING))?;
        // When the store stops taking, its answer below says why.
        let _ = import.tx.send(BaoContentItem::Leaf(Leaf { offset: 0, data: bytes.clone() })).await;
        drop(import.tx);
        import.rx.await.map_err(|_| self.stopped(ADDING))?.map_err(self.refused(ADDING))?;
        if self.size(id).await? != Some(size.get()) {
            return Err(BlobError::Damaged(id));
        }
        // The end of a collection before may have removed what was there by then, and the store have made an empty file.
        if !blocking(self.has_outboard(id, size.get())).await {
            return self.put(id, bytes).await;
        }
        self.note_unsynced(id);
        Ok(())
    }

    /// Whether there is a hash for every group of a blob; what they are is not looked at.
    fn has_outboard(&self, id: BlobId, size: u64) -> impl FnOnce() -> bool + Send + use<> {
        let path = self.0.layout.outboard_file(id);
        move || match files::outboard_bytes(size) {
            0 => true,
            bytes => std::fs::metadata(path).is_ok_and(|file| file.len() == bytes),
        }
    }

    /// Writes a blob whose id is known to be `id`.
    pub(super) async fn put(&self, id: BlobId, bytes: Bytes) -> Result<(), BlobError> {
        room::check(self.0.layout.root(), bytes.len() as u64, room::RESERVE_BYTES, ADDING)?;
        let tag = self.0.store.blobs().add_bytes(bytes).temp_tag().await.map_err(self.failed(ADDING))?;
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
        let (bytes, has_outboard) = (bytes.clone(), self.has_outboard(id, bytes.len() as u64));
        // A file that cannot be read is replaced like one that differs.
        Ok(blocking(move || has_outboard() && std::fs::read(path).is_ok_and(|held| held == bytes)).await)
    }
}
