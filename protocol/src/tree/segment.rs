//! Segments: raw runs of file bytes, the unit of storage, transfer and swarm; and the parameters of packing.

use serde::{Deserialize, Serialize};

use super::chunks::{Chunk, ChunkList};
use super::outboard::{HashPair, Outboard};
use crate::id::BlobId;
use crate::limits;

/// How a node names a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentRef {
    /// BLAKE3 of its bytes.
    pub hash: BlobId,
    /// Its length in bytes, 1 to [`limits::SEGMENT_BYTES`].
    pub size: u32,
    /// Its [`ChunkList`], when that says more than the file hashes do.
    pub chunks: Option<BlobId>,
}

/// A finished segment: what the packer hands out to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub id: SegmentRef,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The hashes between its name and its bytes.
    pub pairs: Vec<HashPair>,
    /// The encoded chunk list, a blob to be stored beside it.
    pub chunk_list: Option<Vec<u8>>,
}

impl Segment {
    /// Names `bytes`, which carry `n_files` (parts of) files and were finely cut into `chunks`.
    ///
    /// A list is made only when some file has more than one chunk: else it would repeat the file hashes of the nodes.
    pub(super) fn seal(bytes: Vec<u8>, chunks: Vec<Chunk>, n_files: usize) -> Self {
        let size = u32::try_from(bytes.len()).expect("a segment is below its limit");
        let Outboard { root: hash, pairs } = Outboard::of(&bytes);
        let chunk_list = (chunks.len() > n_files)
            .then(|| ChunkList::new(chunks).expect("cuts are not empty and within a segment").encode());
        let id = SegmentRef { hash, size, chunks: chunk_list.as_deref().map(BlobId::of) };
        Self { id, bytes, pairs, chunk_list }
    }
}

/// How finely a package is cut. Not part of any identity: two packers with other parameters agree on the tree id,
/// and a receiver needs none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackParams {
    segment_target: u32,
    chunk_target: u32,
}

/// Why parameters of packing are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The chunk target is not a power of two in [`PackParams::CHUNK_TARGETS`].
    #[error("a chunk target is a power of two from 4 KiB to 256 KiB, not {0}")]
    Chunk(u32),
    /// The segment target is below 16 chunks or above [`limits::SEGMENT_BYTES`].
    #[error("a segment target is at least 16 chunks and at most 16 MiB, not {0}")]
    Segment(u32),
}

impl Default for PackParams {
    /// Segments of about 4 MiB, chunks of about 16 KiB.
    fn default() -> Self {
        Self { segment_target: 4 << 20, chunk_target: 16 << 10 }
    }
}

impl PackParams {
    /// Chunk targets that keep the largest segment within [`limits::SEGMENT_CHUNKS`].
    pub const CHUNK_TARGETS: core::ops::RangeInclusive<u32> = 4 << 10..=256 << 10;

    /// Parameters with these aims in bytes.
    ///
    /// # Errors
    /// [`ParamsError`]
    pub fn new(segment_target: u32, chunk_target: u32) -> Result<Self, ParamsError> {
        if !chunk_target.is_power_of_two() || !Self::CHUNK_TARGETS.contains(&chunk_target) {
            return Err(ParamsError::Chunk(chunk_target));
        }
        if segment_target < 16 * chunk_target || segment_target as usize > limits::SEGMENT_BYTES {
            return Err(ParamsError::Segment(segment_target));
        }
        Ok(Self { segment_target, chunk_target })
    }

    /// Smallest segment that a content-defined cut makes; a file at least as large gets segments of its own.
    #[must_use]
    pub const fn segment_min(&self) -> usize {
        self.segment_target as usize / 4
    }

    /// Largest segment.
    #[must_use]
    pub const fn segment_max(&self) -> usize {
        let double = self.segment_target as usize * 2;
        if double < limits::SEGMENT_BYTES { double } else { limits::SEGMENT_BYTES }
    }

    /// Smallest content-defined chunk; the last of a file may be smaller.
    #[must_use]
    pub const fn chunk_min(&self) -> usize {
        self.chunk_target as usize / 4
    }

    /// Length from which a chunk ends more easily, see [`super::cut`].
    #[must_use]
    pub const fn chunk_target(&self) -> usize {
        self.chunk_target as usize
    }

    /// Largest chunk.
    #[must_use]
    pub const fn chunk_max(&self) -> usize {
        self.chunk_target as usize * 4
    }

    /// Whether a segment of now `len` bytes ends after its last item, which has `item` bytes and this BLAKE3 prefix.
    ///
    /// An item is a chunk of a large file or a whole small file. Its own hash decides, so a change elsewhere moves no
    /// cut. The chance grows with the item's length (1 in `segment_target` per byte, four times that beyond the
    /// target), so that ten small files are as likely to end a segment as one file ten times as large; the second
    /// rate makes forced cuts at the maximum rare (1 %), which alone would let a change travel.
    pub(super) fn ends_segment(&self, hash: &[u8; 16], item: usize, len: usize) -> bool {
        if len < self.segment_min() {
            return false;
        }
        let rate = if len < self.segment_target as usize { 1 } else { 4 };
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&hash[..8]);
        u128::from(u64::from_le_bytes(prefix)) * u128::from(self.segment_target) < (item as u128 * rate) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_outside_the_format_are_refused() {
        assert_eq!(PackParams::new(4 << 20, 16 << 10), Ok(PackParams::default()));
        assert_eq!(PackParams::new(4 << 20, 20_000), Err(ParamsError::Chunk(20_000)));
        assert_eq!(PackParams::new(4 << 20, 2048), Err(ParamsError::Chunk(2048)));
        assert_eq!(PackParams::new(128 << 10, 16 << 10), Err(ParamsError::Segment(128 << 10)));
        assert_eq!(PackParams::new(32 << 20, 16 << 10), Err(ParamsError::Segment(32 << 20)));
        assert_eq!(PackParams::new(16 << 20, 16 << 10).unwrap().segment_max(), limits::SEGMENT_BYTES);
    }

    #[test]
    fn the_smallest_chunks_of_the_largest_segment_fit_a_list() {
        let finest = PackParams::new(16 << 20, *PackParams::CHUNK_TARGETS.start()).unwrap();
        assert!(finest.segment_max() / finest.chunk_min() < limits::SEGMENT_CHUNKS);
    }
}
