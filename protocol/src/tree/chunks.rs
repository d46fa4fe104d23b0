//! Chunk list: the fine cuts of a segment, a small blob that lets who holds an older neighbour fetch only what is new.
//!
//! ```text
//! "SYNK" | version u8 = 1 | postcard Vec<(length u32, first 16 bytes of the chunk's BLAKE3)>
//! ```
//!
//! A chunk list is a hint: nothing is trusted because of it, the spliced segment must have its own hash. So 16 bytes
//! are enough, and a false list costs a needless fetch, never a wrong byte.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits;

/// First bytes of a chunk list and its format version.
const HEADER: &[u8; 5] = b"SYNK\x01";

/// The first 16 bytes of the BLAKE3 of a chunk's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkHash([u8; 16]);

impl ChunkHash {
    /// The hash of a chunk with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::truncated(blake3::hash(bytes).as_bytes())
    }

    /// The chunk hash inside a whole BLAKE3 hash: a file that is one chunk has been hashed already.
    #[must_use]
    pub fn truncated(hash: &[u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(bytes)
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl core::fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ChunkHash({})", crate::id::base32(&self.0))
    }
}

/// One fine cut: so many bytes with this hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// Length in bytes, never 0.
    pub len: u32,
    /// Truncated BLAKE3 of the bytes.
    pub hash: ChunkHash,
}

/// The chunks of one segment in order, without gaps: their lengths sum up to the segment's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList(Vec<Chunk>);

/// Why bytes are not a chunk list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkListError {
    /// Does not begin with the header of a chunk list of this version.
    #[error("not a chunk list of format version 1")]
    Header,
    /// Not canonical, or too long.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// No chunk at all: nothing needs such a list.
    #[error("a chunk list has at least one chunk")]
    Empty,
    /// A chunk without bytes.
    #[error("chunk {0} is empty")]
    EmptyChunk(usize),
    /// More chunks than a segment may have.
    #[error("{0} chunks, more than a segment may have")]
    TooMany(usize),
    /// The chunks are longer than the largest segment.
    #[error("chunks of {0} bytes, more than a segment may have")]
    TooLong(u64),
}

impl ChunkList {
    /// A list of these chunks.
    ///
    /// # Errors
    /// [`ChunkListError`] when a chunk is empty or they exceed a segment's limits.
    pub fn new(chunks: Vec<Chunk>) -> Result<Self, ChunkListError> {
        if chunks.is_empty() {
            return Err(ChunkListError::Empty);
        }
        if chunks.len() > limits::SEGMENT_CHUNKS {
            return Err(ChunkListError::TooMany(chunks.len()));
        }
        if let Some(at) = chunks.iter().position(|chunk| chunk.len == 0) {
            return Err(ChunkListError::EmptyChunk(at));
        }
        let list = Self(chunks);
        match list.total_bytes() {
            len if len > limits::SEGMENT_BYTES as u64 => Err(ChunkListError::TooLong(len)),
            _ => Ok(list),
        }
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.0
    }

    /// Bytes of all chunks: the size of the segment that this list describes, if it is true.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.iter().map(|chunk| u64::from(chunk.len)).sum()
    }

    /// The canonical bytes: the blob that a segment names.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(&codec::encode(&self.0));
        bytes
    }

    /// The inverse of [`Self::encode`] for untrusted bytes.
    ///
    /// # Errors
    /// [`ChunkListError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkListError> {
        let body = bytes.strip_prefix(HEADER).ok_or(ChunkListError::Header)?;
        Self::new(codec::decode(body, limits::CHUNK_LIST_BYTES - HEADER.len())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(len: u32) -> Chunk {
        Chunk { len, hash: ChunkHash::of(&len.to_le_bytes()) }
    }

    #[test]
    fn a_list_round_trips_and_the_largest_fits_its_limit() {
        let list = ChunkList::new(vec![chunk(1), chunk(300)]).unwrap();
        assert_eq!(ChunkList::decode(&list.encode()), Ok(list.clone()));
        assert_eq!(list.total_bytes(), 301);
        let most = vec![chunk((limits::SEGMENT_BYTES / limits::SEGMENT_CHUNKS) as u32); limits::SEGMENT_CHUNKS];
        assert!(ChunkList::new(most).unwrap().encode().len() <= limits::CHUNK_LIST_BYTES);
    }

    #[test]
    fn lists_that_describe_no_segment_are_refused() {
        assert_eq!(ChunkList::new(vec![]), Err(ChunkListError::Empty));
        assert_eq!(ChunkList::new(vec![chunk(1), chunk(0)]), Err(ChunkListError::EmptyChunk(1)));
        assert!(matches!(ChunkList::new(vec![chunk(u32::MAX); 3]), Err(ChunkListError::TooLong(_))));
        assert!(matches!(ChunkList::new(vec![chunk(1); 40_000]), Err(ChunkListError::TooMany(40_000))));
        assert_eq!(ChunkList::decode(b"SYNK\x02\x00"), Err(ChunkListError::Header));
        assert_eq!(ChunkList::decode(b"SYN"), Err(ChunkListError::Header));
    }
}
