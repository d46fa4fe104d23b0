//! Parts of blobs: ranges in whole chunks of 1 KiB, the least that BLAKE3 verifies by itself.

use std::ops::Range;

use bao_tree::{ChunkNum, ChunkRanges};

/// Bytes of a group: the leaves of the store's verification trees. A part of one travels with the hashes inside it.
pub const GROUP_BYTES: u64 = 16 << 10;
/// Bytes of a BLAKE3 chunk: the smallest part of a blob that can be fetched and verified.
const CHUNK_BYTES: u64 = 1 << 10;

/// Which bytes of a blob, in whole chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(pub(super) ChunkRanges);

impl Ranges {
    /// Every byte, whatever the size.
    #[must_use]
    pub fn all() -> Self {
        Self(ChunkRanges::all())
    }

    /// No byte.
    #[must_use]
    pub fn none() -> Self {
        Self(ChunkRanges::empty())
    }

    /// The chunks that this byte range touches.
    #[must_use]
    pub fn one(bytes: Range<u64>) -> Self {
        Self::of(std::iter::once(bytes))
    }

    /// The chunks that these byte ranges touch.
    #[must_use]
    pub fn of(bytes: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut ranges = ChunkRanges::empty();
        for range in bytes.into_iter().filter(|range| range.start < range.end) {
            let (start, end) = (range.start / CHUNK_BYTES, range.end.div_ceil(CHUNK_BYTES));
            ranges |= ChunkRanges::from(ChunkNum(start)..ChunkNum(end));
        }
        Self(ranges)
    }

    /// Whether every byte of any blob is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_all()
    }

    /// Whether no byte is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of these is not among `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self(&self.0 - &others.0)
    }

    /// What is among these and among `others`.
    #[must_use]
    pub fn common(&self, others: &Self) -> Self {
        Self(&self.0 & &others.0)
    }

    /// The first chunk of these.
    #[must_use]
    pub fn first_chunk(&self) -> Self {
        let first = self.0.boundaries().first().map(|start| start.0.saturating_mul(CHUNK_BYTES));
        first.map_or_else(Self::none, |start| Self::one(start..start.saturating_add(1)))
    }

    /// The byte ranges inside a blob of `size` bytes, ascending.
    #[must_use]
    pub fn within(&self, size: u64) -> Vec<Range<u64>> {
        let boundaries = self.0.boundaries();
        boundaries
            .chunks(2)
            .map(|pair| {
                let end = pair.get(1).map_or(size, |end| end.0.saturating_mul(CHUNK_BYTES).min(size));
                pair[0].0.saturating_mul(CHUNK_BYTES)..end
            })
            .filter(|range| range.start < range.end)
            .collect()
    }

    /// Bytes meant inside a blob of `size` bytes.
    #[must_use]
    pub fn bytes(&self, size: u64) -> u64 {
        self.within(size).iter().map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_rounded_outwards_to_chunks_and_merged() {
        let ranges = Ranges::of([1..2, CHUNK_BYTES..CHUNK_BYTES + 1, 90_000..90_000]);
        assert_eq!(ranges.within(1 << 20), vec![0..2 * CHUNK_BYTES]);
        assert_eq!(ranges.bytes(1_500), 1_500);
        assert!(!ranges.is_all());
    }

    #[test]
    fn what_is_held_is_taken_out_of_what_is_wanted() {
        let rest = Ranges::all().without(&Ranges::one(0..5 * GROUP_BYTES));
        assert_eq!(rest.within(6 * GROUP_BYTES + 1), vec![5 * GROUP_BYTES..6 * GROUP_BYTES + 1]);
        assert!(Ranges::all().without(&Ranges::all()).is_empty());
        assert_eq!(rest.common(&Ranges::one(0..6 * GROUP_BYTES)), Ranges::one(5 * GROUP_BYTES..6 * GROUP_BYTES));
        assert_eq!(rest.first_chunk(), Ranges::one(5 * GROUP_BYTES..5 * GROUP_BYTES + CHUNK_BYTES));
        assert!(Ranges::none().first_chunk().is_empty());
    }
}
