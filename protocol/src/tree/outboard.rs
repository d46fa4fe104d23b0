//! The hashes above the groups of a blob: computed together with its name, so that whoever stores it need not hash it again.
//!
//! They are those of BLAKE3's own tree, cut off at [`GROUP_BYTES`]: what a peer is sent before the groups, to check each of
//! them by. They are local; no format has them.

use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::id::BlobId;

/// Bytes under one of the lowest hashes.
pub const GROUP_BYTES: usize = 16 << 10;

/// The hashes of a node's two children.
pub type HashPair = ([u8; 32], [u8; 32]);

/// A blob's name, and the hashes above its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outboard {
    /// BLAKE3 of the bytes.
    pub root: BlobId,
    /// One pair for each inner node, parents before their children and left before right; none for a single group.
    pub pairs: Vec<HashPair>,
}

impl Outboard {
    /// Hashes `bytes`, once.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() <= GROUP_BYTES {
            return Self { root: BlobId::of(bytes), pairs: Vec::new() };
        }
        let mut pairs = Vec::with_capacity(bytes.len().div_ceil(GROUP_BYTES) - 1);
        let (left, right) = children(bytes, 0, &mut pairs);
        let root = merge_subtrees_root(&left, &right, Mode::Hash);
        Self { root: BlobId::from_bytes(*root.as_bytes()), pairs }
    }
}

/// The two children of the node over more than one group, which begin at `offset` of the blob.
fn children(bytes: &[u8], offset: u64, pairs: &mut Vec<HashPair>) -> HashPair {
    let at = pairs.len();
    pairs.push(HashPair::default()); // its place is before those of its children
    let split = usize::try_from(left_subtree_len(bytes.len() as u64)).expect("a part of bytes in memory");
    let (left, right) = bytes.split_at(split);
    let pair = (subtree(left, offset, pairs), subtree(right, offset + split as u64, pairs));
    pairs[at] = pair;
    pair
}

fn subtree(bytes: &[u8], offset: u64, pairs: &mut Vec<HashPair>) -> ChainingValue {
    if bytes.len() <= GROUP_BYTES {
        let mut group = blake3::Hasher::new();
        return group.set_input_offset(offset).update(bytes).finalize_non_root();
    }
    let (left, right) = children(bytes, offset, pairs);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_hash_of_the_bytes_whatever_their_length() {
        let mut bytes = vec![0; 40 * GROUP_BYTES + 9];
        blake3::Hasher::new_derive_key("outboard").finalize_xof().fill(&mut bytes);
        let groups = [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 40];
        for len in groups.into_iter().flat_map(|n| [n * GROUP_BYTES, n * GROUP_BYTES + 1, n * GROUP_BYTES + 1_025]) {
            let bytes = &bytes[..len.min(bytes.len())];
            let outboard = Outboard::of(bytes);
            assert_eq!(outboard.root, BlobId::of(bytes), "{len}");
            assert_eq!(outboard.pairs.len(), bytes.len().div_ceil(GROUP_BYTES).saturating_sub(1), "{len}");
        }
    }
}
