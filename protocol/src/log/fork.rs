//! Evidence that a key signed two logs under one origin: two checkpoints that cannot both be true.
//!
//! Two notes of equal size with unequal roots need nothing else. For sizes m < n there is a prefix proof that leads to
//! the signed root of n, and to another root than the signed one at m. An honest log cannot be framed: its tree of n
//! has only one prefix of m leaves, and other hashes that lead to its root would be a SHA-256 collision.

use serde::{Deserialize, Serialize};

use super::Log;
use super::checkpoint::Head;
use super::note::{EvidenceLine, NoteError};
use super::proof::{PrefixProof, ProofError};
use crate::codec::{self, CodecError};
use crate::id::LogHash;
use crate::limits;
use crate::origin::Origin;

/// First byte of an encoded fork proof.
const FORMAT: u8 = 1;
/// Carries one in a note.
const LINE: EvidenceLine = EvidenceLine { name: "syncra/fork", kind: "syncra fork proof v1" };

/// A verified fork proof. Whoever holds one accepts nothing newer of this log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    /// The smaller head; of two equal sizes the one with the smaller root. Without cosignatures, like `newer`.
    older: Head,
    newer: Head,
    prefix: Option<PrefixProof>,
}

/// Why something is no fork proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// The heads are two logs'.
    #[error("the heads are of two logs")]
    OtherLog,
    /// Both heads can be true, or the hashes do not show that they cannot.
    #[error("the two heads do not contradict each other")]
    NoConflict,
    /// The log at hand does not hold the newer head, so it cannot show what that says about the older one.
    #[error("the log does not hold the newer head, of size {size}")]
    NotHeld {
        /// Leaves of the newer head.
        size: u64,
    },
    /// Hashes are missing or superfluous, or the proof is about other sizes.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Malformed bytes, or too many.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Of a format that this version does not know.
    #[error("fork proof format {0} is not known")]
    Format(u8),
    /// One of the notes does not verify.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The same evidence, but not in its only spelling: the older head first, no cosignatures.
    #[error("not the canonical form of a fork proof")]
    NotCanonical,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    format: u8,
    older: Vec<u8>,
    newer: Vec<u8>,
    hashes: Vec<LogHash>,
}

impl ForkProof {
    /// The fork proof of two heads in any order, with the prefix proof between their sizes unless these are equal.
    ///
    /// # Errors
    /// [`ForkError`] when this is no evidence.
    pub fn new(a: &Head, b: &Head, prefix: Option<&PrefixProof>) -> Result<Self, ForkError> {
        if a.origin() != b.origin() {
            return Err(ForkError::OtherLog);
        }
        let rank = |head: &Head| (head.size(), head.root());
        let (older, newer) = if rank(a) <= rank(b) { (a, b) } else { (b, a) };
        let (old, new) = (older.size(), newer.size());
        match prefix {
            None if old == new && older.root() != newer.root() => {}
            Some(proof) if (proof.old_size(), proof.size()) == (old, new) => {
                let (old_root, new_root) = proof.roots();
                if new_root != newer.root() || old_root == older.root() {
                    return Err(ForkError::NoConflict);
                }
            }
            None if old == new => return Err(ForkError::NoConflict),
            _ => return Err(ProofError::Sizes { old, new }.into()),
        }
        let (older, newer) = (older.without_cosignatures(), newer.without_cosignatures());
        Ok(Self { older, newer, prefix: prefix.cloned() })
    }

    /// The fork proof of two heads in any order, with the hashes of a log that holds the newer one.
    ///
    /// # Errors
    /// [`ForkError`]; [`ForkError::NotHeld`] when another log must be asked for a [`Log::prove_prefix`].
    pub fn from_log(log: &Log, a: &Head, b: &Head) -> Result<Self, ForkError> {
        let (older, newer) = if a.size() <= b.size() { (a, b) } else { (b, a) };
        if older.size() == newer.size() || older.origin() != newer.origin() {
            return Self::new(older, newer, None);
        }
        if log.origin() != newer.origin() || log.root_at(newer.size()) != Some(newer.root()) {
            return Err(ForkError::NotHeld { size: newer.size() });
        }
        Self::new(older, newer, Some(&log.prove_prefix(older.size(), newer.size())?))
    }

    /// Verifies untrusted bytes: two signatures and at most 21 hash steps.
    ///
    /// # Errors
    /// [`ForkError`]; the bytes then say nothing about anybody.
    pub fn verify(bytes: &[u8]) -> Result<Self, ForkError> {
        let wire: Wire = codec::decode(bytes, limits::FORK_PROOF_BYTES)?;
        if wire.format != FORMAT {
            return Err(ForkError::Format(wire.format));
        }
        let (older, newer) = (Head::verify(&wire.older)?, Head::verify(&wire.newer)?);
        let prefix = match wire.hashes {
            hashes if hashes.is_empty() => None,
            hashes => Some(PrefixProof::new(older.size(), newer.size(), hashes)?),
        };
        let proof = Self::new(&older, &newer, prefix.as_ref())?;
        if (&proof.older, &proof.newer) == (&older, &newer) { Ok(proof) } else { Err(ForkError::NotCanonical) }
    }

    /// The canonical bytes, at most [`limits::FORK_PROOF_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Wire {
            format: FORMAT,
            older: self.older.note().to_vec(),
            newer: self.newer.note().to_vec(),
            hashes: self.prefix.iter().flat_map(PrefixProof::hashes).copied().collect(),
        })
    }

    /// A line for notes of this log, without its newline: whoever is shown a head is shown first that its key is not to be
    /// believed. Nobody's signature; the proof verifies by itself, and readers that do not know it skip the line.
    #[must_use]
    pub fn line(&self) -> String {
        LINE.print(&self.encode())
    }

    /// The fork proof that a head's note carries against its own log, if it does and verifies.
    #[must_use]
    pub fn carried_by(head: &Head) -> Option<Self> {
        Self::verify(&LINE.find(head.note())?).ok().filter(|proof| proof.origin() == head.origin())
    }

    /// Whose log is forked.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.older.origin()
    }

    /// The head of the smaller size (of two equal sizes the one with the smaller root), without cosignatures.
    #[must_use]
    pub fn older(&self) -> &Head {
        &self.older
    }

    /// The other head, without cosignatures.
    #[must_use]
    pub fn newer(&self) -> &Head {
        &self.newer
    }
}
