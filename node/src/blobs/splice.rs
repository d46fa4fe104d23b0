//! Putting a segment together from verified ranges that came and copies of what was here already.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;

use super::Blobs;
use super::error::{BlobError, SpliceError};
use super::gc::Pins;
use super::open::blocking;

/// Where a piece of a segment comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Ranges of the segment itself that were fetched.
    Fetched,
    /// Another, complete blob, from this offset on.
    Blob {
        /// The blob.
        id: BlobId,
        /// First byte in it.
        offset: u64,
    },
    /// Bytes at hand (from an installed file).
    Bytes(Bytes),
}

/// A piece of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes' place in the segment.
    pub at: Range<u64>,
    /// Where they come from.
    pub source: Source,
}

impl Blobs {
    /// Makes segment `id` of `size` bytes complete out of pieces that cover it in order. Nothing is kept unless the
    /// result hashes to `id`; the segment is kept by `pins`.
    ///
    /// # Errors
    /// [`SpliceError::Mismatch`] when the pieces were not what the chunk list said, [`SpliceError::Gap`], or a fault
    /// of reading a piece.
    pub async fn splice(&self, id: BlobId, size: u64, pieces: &[Piece], pins: &Pins) -> Result<(), SpliceError> {
        pins.add(id).await;
        let limit = limits::SEGMENT_BYTES as u64;
        if size > limit {
            return Err(BlobError::TooLarge { id, bytes: size, limit }.into());
        }
        let end = pieces.iter().try_fold(0, |end, piece| (piece.at.start == end).then_some(piece.at.end));
        if end != Some(size) || pieces.iter().any(|piece| piece.at.start > piece.at.end) {
            return Err(SpliceError::Gap(id));
        }
        let mut segment = BytesMut::new();
        for piece in pieces {
            let bytes = self.piece(id, piece).await?;
            if bytes.len() as u64 != piece.at.end - piece.at.start {
                return Err(SpliceError::Gap(id));
            }
            segment.extend_from_slice(&bytes);
        }
        let segment = segment.freeze();
        let hashed = segment.clone();
        if blocking(move || BlobId::of(&hashed)).await != id {
            return Err(SpliceError::Mismatch(id));
        }
        Ok(self.put(id, segment).await?)
    }

    async fn piece(&self, id: BlobId, piece: &Piece) -> Result<Bytes, BlobError> {
        let len = piece.at.end - piece.at.start;
        match &piece.source {
            Source::Fetched => self.read_held(id, piece.at.clone()).await,
            Source::Blob { id, offset } => self.read_at(*id, *offset, len).await,
            Source::Bytes(bytes) => Ok(bytes.clone()),
        }
    }

    /// Bytes of a blob that may be partial; every one of them was verified when it came.
    ///
    /// # Errors
    /// [`BlobError::Range`] when a part of the range is not held.
    pub async fn read_held(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, BlobError> {
        let (held, size) = match self.size(id).await? {
            Some(size) => (super::Ranges::all(), size),
            None => self.held_of(id).await?,
        };
        let inside = held.within(size).iter().any(|held| held.start <= range.start && range.end <= held.end);
        if !inside && !range.is_empty() {
            return Err(BlobError::Range { id, start: range.start, end: range.end });
        }
        self.read_file(id, range.start, range.end - range.start).await
    }
}
