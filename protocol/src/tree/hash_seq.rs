//! The HashSeq of a release: the hashes of all its blobs, 32 bytes each, nothing else. Its own hash is the content root.
//!
//! Order: nodes (the root first, pre-order, each once), then segments (in the order of first use by the files, each
//! once), then the chunk lists of those segments that have one (in the segments' order, each once).

use crate::id::{BlobId, ContentRoot};
use crate::limits;

/// Bytes of one hash.
const HASH_BYTES: usize = 32;

/// The children of a content root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashSeq(Vec<BlobId>);

/// Why bytes are not a HashSeq of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashSeqError {
    /// Not a whole number of hashes.
    #[error("{0} bytes are no whole number of 32-byte hashes")]
    Ragged(usize),
    /// No root node.
    #[error("a release has at least a root node")]
    Empty,
    /// More than [`limits::HASH_SEQ_BYTES`].
    #[error("{0} bytes of hashes, more than a release may have")]
    TooLong(usize),
}

impl HashSeq {
    /// A sequence of these children.
    ///
    /// # Errors
    /// [`HashSeqError`] when there is none, or too many.
    pub fn new(children: Vec<BlobId>) -> Result<Self, HashSeqError> {
        match children.len().saturating_mul(HASH_BYTES) {
            0 => Err(HashSeqError::Empty),
            len if len > limits::HASH_SEQ_BYTES => Err(HashSeqError::TooLong(len)),
            _ => Ok(Self(children)),
        }
    }

    /// The inverse of [`Self::encode`] for untrusted bytes.
    ///
    /// # Errors
    /// [`HashSeqError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, HashSeqError> {
        if bytes.len() > limits::HASH_SEQ_BYTES {
            return Err(HashSeqError::TooLong(bytes.len()));
        }
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() {
            return Err(HashSeqError::Ragged(bytes.len()));
        }
        Self::new(hashes.iter().copied().map(BlobId::from_bytes).collect())
    }

    /// The bytes of the blob.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|child| *child.as_bytes()).collect()
    }

    /// The hash of these bytes: how the release is packed and fetched.
    #[must_use]
    pub fn root(&self) -> ContentRoot {
        BlobId::of(&self.encode()).into()
    }

    /// All children in order.
    #[must_use]
    pub fn children(&self) -> &[BlobId] {
        &self.0
    }

    /// The root node's hash: where a receiver begins.
    #[must_use]
    pub fn root_node(&self) -> BlobId {
        self.0[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_whole_hashes_and_at_least_one() {
        let seq = HashSeq::new(vec![BlobId::of(b"a"), BlobId::of(b"b")]).unwrap();
        assert_eq!(HashSeq::decode(&seq.encode()), Ok(seq.clone()));
        assert_eq!(seq.root_node(), BlobId::of(b"a"));
        assert_eq!(HashSeq::decode(&seq.encode()[1..]), Err(HashSeqError::Ragged(63)));
        assert_eq!(HashSeq::decode(&[]), Err(HashSeqError::Empty));
        let long = vec![0; limits::HASH_SEQ_BYTES + 32];
        assert_eq!(HashSeq::decode(&long), Err(HashSeqError::TooLong(long.len())));
    }
}
