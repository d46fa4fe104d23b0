//! Proofs about a log: an entry is in it, a newer one continues an older one (RFC 6962 §2.1.1 and §2.1.2).
//!
//! A proof's shape follows from its numbers alone, so a value of these types always has the right count of hashes
//! (at most 65, below [`limits::PROOF_HASHES`]); whether it proves anything is for `verify` to say.
//!
//! Hashes alone do not bind the numbers (the path of leaf 0 is the same in some trees of 3 and of 4 leaves), so proofs
//! are verified against whole checkpoints, never against bare roots.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::merkle::{EMPTY_ROOT, node_hash};
use crate::codec::{self, CodecError};
use crate::id::LogHash;
use crate::limits;

/// Bytes of the longest encoded proof: two numbers, a count, hashes.
const PROOF_BYTES: usize = 10 + 10 + 2 + limits::PROOF_HASHES * 32;

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The entry would lie outside the tree.
    #[error("entry {index} is not in a log of size {size}")]
    Index {
        /// The entry's index.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The sizes are in the wrong order for this kind of proof.
    #[error("sizes {old} and {new} are in the wrong order")]
    Sizes {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// Not as many hashes as the numbers ask for.
    #[error("{found} hashes, {expected} are needed")]
    Length {
        /// Hashes needed.
        expected: usize,
        /// Hashes offered.
        found: usize,
    },
    /// The proof is about another log or about other sizes than the checkpoints that it is held against.
    #[error("the proof is not about these checkpoints")]
    OtherStatement,
    /// The hashes do not lead to the expected root.
    #[error("the proof does not lead to the expected root")]
    Root,
}

/// That a leaf is in a tree: RFC 6962 §2.1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct InclusionProof(Wire);

/// That an older tree is a prefix of a newer one, given both roots: RFC 6962 §2.1.2.
///
/// Sizes may be equal, or the older zero; then there are no hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct ConsistencyProof(Wire);

/// A consistency proof that always names its first subtree, so that it yields both roots by itself.
///
/// At most one hash longer than [`ConsistencyProof`]; where that only fails, this one tells which root the newer tree
/// has at the older size. That makes it the evidence of a [`super::fork::ForkProof`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct PrefixProof(Wire);

/// What all proofs are on the wire: two numbers and hashes from the leaf up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wire {
    /// Index of the leaf, or size of the older tree.
    low: u64,
    /// Size of the (newer) tree.
    size: u64,
    hashes: Vec<LogHash>,
}

macro_rules! proofs {
    ($($name:ident: $expected:ident, $low:ident, $low_doc:literal;)*) => {$(
        impl $name {
            /// A proof with these hashes, from the leaf's side up.
            ///
            /// # Errors
            /// [`ProofError`] when the numbers are out of order or the count of hashes does not follow from them.
            pub fn new($low: u64, size: u64, hashes: Vec<LogHash>) -> Result<Self, ProofError> {
                Wire { low: $low, size, hashes }.try_into()
            }

            #[doc = $low_doc]
            #[must_use]
            pub fn $low(&self) -> u64 {
                self.0.low
            }

            /// Leaves of the (newer) tree.
            #[must_use]
            pub fn size(&self) -> u64 {
                self.0.size
            }

            /// The hashes, from the leaf's side up.
            #[must_use]
            pub fn hashes(&self) -> &[LogHash] {
                &self.0.hashes
            }

            /// The canonical bytes.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                codec::encode(self)
            }

            /// Decodes untrusted bytes.
            ///
            /// # Errors
            /// [`CodecError`], also when the shape is wrong.
            pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                codec::decode(bytes, PROOF_BYTES)
            }
        }

        impl TryFrom<Wire> for $name {
            type Error = ProofError;

            fn try_from(wire: Wire) -> Result<Self, ProofError> {
                let (expected, found) = ($expected(wire.low, wire.size)?, wire.hashes.len());
                if found == expected { Ok(Self(wire)) } else { Err(ProofError::Length { expected, found }) }
            }
        }

        impl From<$name> for Wire {
            fn from(proof: $name) -> Self {
                proof.0
            }
        }
    )*};
}

proofs! {
    InclusionProof: inclusion_len, index, "The leaf's index, counted from zero.";
    ConsistencyProof: consistency_len, old_size, "Leaves of the older tree.";
    PrefixProof: prefix_len, old_size, "Leaves of the older tree.";
}

impl InclusionProof {
    /// Checks that `leaf` is at this index of the log at checkpoint `at`.
    ///
    /// # Errors
    /// [`ProofError::OtherStatement`], [`ProofError::Root`].
    pub fn verify(&self, leaf: &LogHash, at: &Checkpoint) -> Result<(), ProofError> {
        if self.size() != at.size {
            return Err(ProofError::OtherStatement);
        }
        if self.root_over(leaf) == at.root { Ok(()) } else { Err(ProofError::Root) }
    }

    /// The root to which these hashes lead from `leaf`.
    pub(super) fn root_over(&self, leaf: &LogHash) -> LogHash {
        let Wire { low: index, size, hashes } = &self.0;
        let (inner, _) = climb(*index, size - 1);
        let (below, above) = hashes.split_at(inner);
        let mut node = *leaf;
        for (level, sibling) in below.iter().enumerate() {
            node = if index >> level & 1 == 1 { node_hash(sibling, &node) } else { node_hash(&node, sibling) };
        }
        above.iter().fold(node, |node, left| node_hash(left, &node))
    }
    /// The root over all leaves before this one, if the proof holds: what stands to the left of the way up.
    #[must_use]
    pub fn root_before(&self) -> LogHash {
        let Wire { low: index, size, hashes } = &self.0;
        let (inner, _) = climb(*index, size - 1);
        let is_left = |(level, _): &(usize, &LogHash)| *level >= inner || index >> level & 1 == 1;
        let mut left = hashes.iter().enumerate().filter(is_left).map(|(_, hash)| hash);
        // The smallest of these trees is the last: RFC 6962 §2.1.
        left.next().map_or(EMPTY_ROOT, |last| left.fold(*last, |root, left| node_hash(left, &root)))
    }
}

impl ConsistencyProof {
    /// Checks that the log at `old` is a prefix of the log at `new`.
    ///
    /// # Errors
    /// [`ProofError::OtherStatement`], [`ProofError::Root`].
    pub fn verify(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), ProofError> {
        self.0.check_statement(old, new)?;
        let holds = match (old.size, self.0.hashes.split_first()) {
            (0, _) => old.root == EMPTY_ROOT && (new.size > 0 || new.root == EMPTY_ROOT),
            (size, _) if size == new.size => old.root == new.root,
            (size, _) if size.is_power_of_two() => {
                // The first subtree is the whole old tree, so RFC 6962 leaves it out.
                roots(size, new.size, &old.root, &self.0.hashes) == (old.root, new.root)
            }
            (size, Some((first, path))) => roots(size, new.size, first, path) == (old.root, new.root),
            (_, None) => false,
        };
        if holds { Ok(()) } else { Err(ProofError::Root) }
    }
}

impl PrefixProof {
    /// The roots of the older and of the newer tree to which these hashes lead.
    ///
    /// If the second is the root of a real tree of that size, the first is that of its first `old_size` leaves.
    #[must_use]
    pub fn roots(&self) -> (LogHash, LogHash) {
        let (first, path) = self.0.hashes.split_first().expect("a prefix proof has at least one hash");
        roots(self.0.low, self.0.size, first, path)
    }

    /// Checks that the log at `old` is a prefix of the log at `new`.
    ///
    /// # Errors
    /// [`ProofError::OtherStatement`], [`ProofError::Root`].
    pub fn verify(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), ProofError> {
        self.0.check_statement(old, new)?;
        if self.roots() == (old.root, new.root) { Ok(()) } else { Err(ProofError::Root) }
    }
}

impl Wire {
    fn check_statement(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), ProofError> {
        let same = old.origin == new.origin && (self.low, self.size) == (old.size, new.size);
        if same { Ok(()) } else { Err(ProofError::OtherStatement) }
    }
}

/// Climbs from the subtree that ends the older tree, both roots at once.
fn roots(old: u64, new: u64, first: &LogHash, path: &[LogHash]) -> (LogHash, LogHash) {
    let level = old.trailing_zeros();
    let index = (old - 1) >> level;
    let (inner, _) = climb(index, (new - 1) >> level);
    let (below, above) = path.split_at(inner);
    let (mut old_node, mut new_node) = (*first, *first);
    for (level, sibling) in below.iter().enumerate() {
        if index >> level & 1 == 1 {
            (old_node, new_node) = (node_hash(sibling, &old_node), node_hash(sibling, &new_node));
        } else {
            new_node = node_hash(&new_node, sibling); // right of the older tree's end
        }
    }
    for left in above {
        (old_node, new_node) = (node_hash(left, &old_node), node_hash(left, &new_node));
    }
    (old_node, new_node)
}

/// How many steps up from node `index` to the root when `last` is the last node of its level: first those below the
/// point where the ways of the two part, with siblings on either side, then those above it, with siblings on the left
/// only (further right there is nothing, or it was joined below).
fn climb(index: u64, last: u64) -> (usize, usize) {
    let inner = u64::BITS - (index ^ last).leading_zeros();
    let above = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner as usize, above as usize)
}

fn inclusion_len(index: u64, size: u64) -> Result<usize, ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let (inner, above) = climb(index, size - 1);
    Ok(inner + above)
}

fn prefix_len(old: u64, new: u64) -> Result<usize, ProofError> {
    if old == 0 || old >= new {
        return Err(ProofError::Sizes { old, new });
    }
    let level = old.trailing_zeros();
    let (inner, above) = climb((old - 1) >> level, (new - 1) >> level);
    Ok(1 + inner + above)
}

fn consistency_len(old: u64, new: u64) -> Result<usize, ProofError> {
    match old {
        _ if old > new => Err(ProofError::Sizes { old, new }),
        0 => Ok(0),
        _ if old == new => Ok(0),
        _ => Ok(prefix_len(old, new)? - usize::from(old.is_power_of_two())),
    }
}
