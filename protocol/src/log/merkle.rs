//! The Merkle tree of RFC 6962 §2.1 with SHA-256: hashing, a [`Frontier`] to append with, a [`Tree`] to prove from.
//!
//! A leaf is `SHA-256(0x00 ‖ entry)`, a node `SHA-256(0x01 ‖ left ‖ right)`. A tree of n leaves splits at the largest
//! power of two smaller than n, so every left child is complete: a tree is a row of complete subtrees, one for each
//! set bit of n, and all of them stay the same for ever while the log grows.

use sha2::{Digest, Sha256};

use crate::id::LogHash;

/// The root of the empty tree: SHA-256 of nothing (RFC 6962 §2.1).
pub const EMPTY_ROOT: LogHash = LogHash::from_bytes([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Of the tree's levels only every third is kept, like tiles 3 high: 37 bytes a leaf instead of 64, for at most 3
/// hashes more at each complete subtree that is asked for.
const STRIDE: u32 = 3;
/// Nodes of one kept level under one node of the next kept level.
const TILE: usize = 1 << STRIDE;

/// The hash of a leaf whose entry has these bytes.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> LogHash {
    LogHash::from_bytes(Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into())
}

/// The hash of the node over two subtrees.
#[must_use]
pub fn node_hash(left: &LogHash, right: &LogHash) -> LogHash {
    let mut bytes = [0x01; 65]; // in one piece: hashing a node is what everything here spends its time on
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    LogHash::from_bytes(Sha256::digest(bytes).into())
}

/// The right edge of a tree: all that appending needs, 32 bytes for each set bit of the size (a compact range).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, leftmost and largest first; exactly one for each set bit of `size`.
    roots: Vec<LogHash>,
}

impl Frontier {
    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf (see [`leaf_hash`]). One node hash on average.
    pub fn append(&mut self, leaf: LogHash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.roots.pop().expect("there is one root for each set bit of the size");
            node = node_hash(&left, &node);
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The root of the whole tree.
    #[must_use]
    pub fn root(&self) -> LogHash {
        let mut from_right = self.roots.iter().rev();
        let Some(&last) = from_right.next() else { return EMPTY_ROOT };
        from_right.fold(last, |right, left| node_hash(left, &right))
    }
}

/// All leaf hashes of a tree and enough of its inner nodes to give any old root or proof in O(log² n) hashes.
#[derive(Debug, Clone)]
pub struct Tree {
    /// `levels[k][i]` is the root of the complete subtree over leaves `i·8^k .. (i + 1)·8^k`.
    levels: Vec<Vec<LogHash>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { levels: vec![Vec::new()] }
    }
}

impl Tree {
    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// The leaf hash at `index`, counted from zero.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<LogHash> {
        self.levels[0].get(usize::try_from(index).ok()?).copied()
    }

    /// Adds one leaf (see [`leaf_hash`]). One node hash on average.
    pub fn append(&mut self, leaf: LogHash) {
        self.levels[0].push(leaf);
        let mut level = 0;
        while self.levels[level].len().is_multiple_of(TILE) {
            let row = &self.levels[level];
            let node = complete_root(&row[row.len() - TILE..]);
            level += 1;
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(node);
        }
    }

    /// The right edge, to try an extension before it is made.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let size = self.size();
        let mut roots = Vec::new();
        let mut start = 0;
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            roots.push(self.complete(level, start >> level));
            start += 1 << level;
        }
        Frontier { size, roots }
    }

    /// The root of the first `size` leaves; `None` if there are fewer.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<LogHash> {
        match size {
            0 => Some(EMPTY_ROOT),
            _ if size <= self.size() => Some(self.range(0, size)),
            _ => None,
        }
    }

    /// The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf up (RFC 6962 §2.1.1);
    /// `None` unless `index < size <= self.size()`.
    #[must_use]
    pub fn inclusion_path(&self, index: u64, size: u64) -> Option<Vec<LogHash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let (mut start, mut len) = (0, size);
        let mut path = Vec::new();
        while len > 1 {
            let left = split(len);
            if index - start < left {
                path.push(self.range(start + left, len - left));
                len = left;
            } else {
                path.push(self.range(start, left));
                (start, len) = (start + left, len - left);
            }
        }
        path.reverse();
        Some(path)
    }

    /// The path that shows the first `old` leaves in the tree of the first `new`, from below up; `None` unless
    /// `0 < old < new <= self.size()`.
    ///
    /// It begins with the smallest complete subtree that ends the old tree. The consistency proof of RFC 6962 §2.1.2
    /// is the same path, without that first hash when `old` is a power of two (it is then the old root itself).
    #[must_use]
    pub fn prefix_path(&self, old: u64, new: u64) -> Option<Vec<LogHash>> {
        if old == 0 || old >= new || new > self.size() {
            return None;
        }
        let (mut start, mut len) = (0, new);
        let mut path = Vec::new();
        while old - start != len {
            let left = split(len);
            if old - start <= left {
                path.push(self.range(start + left, len - left));
                len = left;
            } else {
                path.push(self.range(start, left));
                (start, len) = (start + left, len - left);
            }
        }
        path.push(self.range(start, len));
        path.reverse();
        Some(path)
    }

    /// The root over leaves `start .. start + len`, where `start` is a multiple of a power of two `>= len`.
    fn range(&self, start: u64, len: u64) -> LogHash {
        if len.is_power_of_two() {
            return self.complete(len.trailing_zeros(), start / len);
        }
        let left = split(len);
        node_hash(&self.range(start, left), &self.range(start + left, len - left))
    }

    /// The root of the complete subtree number `index` of `2^level` leaves.
    pub(super) fn complete(&self, level: u32, index: u64) -> LogHash {
        let width = 1 << (level % STRIDE);
        let row = &self.levels[(level / STRIDE) as usize];
        let start = usize::try_from(index).expect("an index below the number of leaves held") * width;
        complete_root(&row[start..start + width])
    }
}

/// The root over a power of two of sibling nodes.
fn complete_root(nodes: &[LogHash]) -> LogHash {
    match nodes {
        [node] => *node,
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            node_hash(&complete_root(left), &complete_root(right))
        }
    }
}

/// The largest power of two smaller than `len`, for `len >= 2`: where RFC 6962 splits a tree.
fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}
