//! Blobs that have just come whole, kept in memory for a moment: whoever writes them out at once need not read them back.
//!
//! Every byte of them was verified when it came, and is with the store already. Nothing depends on what is here: a blob that
//! is not is read from its file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use syncra_protocol::id::BlobId;

use super::Blobs;

/// Bytes kept at most, for all who listen, what is coming included: a writer that falls behind reads files.
const KEPT_BYTES: u64 = 16 << 20;

/// What comes and was not taken.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    listeners: usize,
    /// Of what is coming and of what has come.
    bytes: u64,
    blobs: HashMap<BlobId, Vec<Bytes>>,
}

impl Arrivals {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob that is coming, with room for it.
#[derive(Debug)]
pub(super) struct Arriving {
    blobs: Blobs,
    id: BlobId,
    size: u64,
    pieces: Vec<Bytes>,
}

impl Arriving {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }

    /// All of it was verified and is with the store.
    pub(super) fn complete(mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let mut kept = self.blobs.0.arrivals.kept();
        if kept.listeners > 0 && len(&pieces) == self.size && !kept.blobs.contains_key(&self.id) {
            kept.bytes += self.size;
            kept.blobs.insert(self.id, pieces);
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.blobs.0.arrivals.kept().bytes -= self.size;
    }
}

/// As long as this lives, blobs that come are kept for [`Listening::take`].
#[derive(Debug)]
pub struct Listening(Blobs);

impl Listening {
    /// The bytes of a blob that has just come, in pieces; none when they have to be read. They are given once.
    #[must_use]
    pub fn take(&self, id: BlobId) -> Option<Vec<Bytes>> {
        let mut kept = self.0.0.arrivals.kept();
        let pieces = kept.blobs.remove(&id)?;
        kept.bytes -= len(&pieces);
        Some(pieces)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut kept = self.0.0.arrivals.kept();
        kept.listeners -= 1;
        if kept.listeners == 0 {
            let left: u64 = kept.blobs.drain().map(|(_, pieces)| len(&pieces)).sum();
            kept.bytes -= left;
        }
    }
}

impl Blobs {
    /// Begins to keep what comes for a writer.
    #[must_use]
    pub fn listen(&self) -> Listening {
        self.0.arrivals.kept().listeners += 1;
        Listening(self.clone())
    }

    /// A blob that is about to come whole, if somebody wants it and there is room.
    pub(super) fn arriving(&self, id: BlobId, size: u64) -> Option<Arriving> {
        let mut kept = self.0.arrivals.kept();
        if kept.listeners == 0 || kept.bytes + size > KEPT_BYTES {
            return None;
        }
        kept.bytes += size;
        Some(Arriving { blobs: self.clone(), id, size, pieces: Vec::new() })
    }
}

fn len(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}
