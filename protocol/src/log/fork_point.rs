//! Where the two histories of a fork proof part: the first entry in which they differ, shown to be in either.
//!
//! A fork proof says that a key signed two histories, not how far these are one. Who holds both can tell, and with two
//! inclusion proofs of one index (RFC 6962 §2.1.1) show it to everybody: they lead to the two signed roots, from unlike leaves,
//! and what stands to the left of the leaves is alike. That is the tree of all entries before, so nobody can name another
//! point: a later one would differ on the left, an earlier one have one leaf.

use serde::{Deserialize, Serialize};

use super::Log;
use super::checkpoint::Head;
use super::fork::ForkProof;
use super::note::EvidenceLine;
use super::proof::{InclusionProof, ProofError};
use crate::codec::{self, CodecError};
use crate::id::LogHash;
use crate::limits;
use crate::origin::Origin;

/// First byte of an encoded fork point.
const FORMAT: u8 = 1;
/// Carries one in a note.
const LINE: EvidenceLine = EvidenceLine { name: "syncra/fork-point", kind: "syncra fork point v1" };

/// A verified fork point: the fork proof, and how many entries its two histories have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkPoint {
    proof: ForkProof,
    older: Branch,
    newer: Branch,
}

/// The first entry that only one of the histories has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Branch {
    leaf: LogHash,
    path: InclusionProof,
}

/// Why something is not the point where the histories of a fork proof part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkPointError {
    /// The logs at hand are not the two histories.
    #[error("the two histories are not at hand")]
    NotHeld,
    /// The histories do not part at this entry: they have it in common, or differ before.
    #[error("the histories do not part at entry {0}")]
    OtherIndex(u64),
    /// Hashes are missing or superfluous, or do not lead to a signed root.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Malformed bytes, or too many.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Of a format that this version does not know.
    #[error("fork point format {0} is not known")]
    Format(u8),
}

/// The order is that of the fork proof's heads.
#[derive(Serialize, Deserialize)]
struct Wire {
    format: u8,
    index: u64,
    older_leaf: LogHash,
    older_path: Vec<LogHash>,
    newer_leaf: LogHash,
    newer_path: Vec<LogHash>,
}

impl ForkPoint {
    /// The fork point of a proof, by two logs that hold its histories, in any order.
    ///
    /// # Errors
    /// [`ForkPointError::NotHeld`].
    pub fn between(proof: ForkProof, a: &Log, b: &Log) -> Result<Self, ForkPointError> {
        let holds =
            |log: &Log, head: &Head| log.origin() == head.origin() && log.root_at(head.size()) == Some(head.root());
        let in_order = |older: &Log, newer: &Log| holds(older, proof.older()) && holds(newer, proof.newer());
        let (older, newer) = match (in_order(a, b), in_order(b, a)) {
            (true, _) => (a, b),
            (_, true) => (b, a),
            _ => return Err(ForkPointError::NotHeld),
        };
        let index = older.n_common(newer);
        let branch = |log: &Log, head: &Head| {
            let leaf = log.leaf(index).ok_or(ForkPointError::NotHeld)?;
            Ok::<_, ForkPointError>(Branch { leaf, path: log.prove_inclusion(index, head.size())? })
        };
        let (older, newer) = (branch(older, proof.older())?, branch(newer, proof.newer())?);
        Self::new(proof, older, newer)
    }

    /// The fork point of two histories and their heads, in any order; none if one of them is the beginning of the other.
    #[must_use]
    pub fn of(a: (&Log, &Head), b: (&Log, &Head)) -> Option<Self> {
        let newer = if a.1.size() >= b.1.size() { a.0 } else { b.0 };
        let proof = ForkProof::from_log(newer, a.1, b.1).ok()?;
        Self::between(proof, a.0, b.0).ok()
    }

    /// Verifies untrusted bytes about a verified fork proof: at most 40 hash steps.
    ///
    /// # Errors
    /// [`ForkPointError`].
    pub fn verify(proof: ForkProof, bytes: &[u8]) -> Result<Self, ForkPointError> {
        let wire: Wire = codec::decode(bytes, limits::FORK_POINT_BYTES)?;
        if wire.format != FORMAT {
            return Err(ForkPointError::Format(wire.format));
        }
        let path = |head: &Head, hashes| InclusionProof::new(wire.index, head.size(), hashes);
        let older = Branch { leaf: wire.older_leaf, path: path(proof.older(), wire.older_path)? };
        let newer = Branch { leaf: wire.newer_leaf, path: path(proof.newer(), wire.newer_path)? };
        Self::new(proof, older, newer)
    }

    fn new(proof: ForkProof, older: Branch, newer: Branch) -> Result<Self, ForkPointError> {
        older.path.verify(&older.leaf, proof.older().checkpoint())?;
        newer.path.verify(&newer.leaf, proof.newer().checkpoint())?;
        if older.leaf == newer.leaf || older.path.root_before() != newer.path.root_before() {
            return Err(ForkPointError::OtherIndex(older.path.index()));
        }
        Ok(Self { proof, older, newer })
    }

    /// The canonical bytes without the fork proof's, at most [`limits::FORK_POINT_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Wire {
            format: FORMAT,
            index: self.n_common(),
            older_leaf: self.older.leaf,
            older_path: self.older.path.hashes().to_vec(),
            newer_leaf: self.newer.leaf,
            newer_path: self.newer.path.hashes().to_vec(),
        })
    }

    /// A line for notes of this log beside the fork proof's, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        LINE.print(&self.encode())
    }

    /// The fork point that a head's note carries beside a fork proof against its own log, if it does and both verify.
    #[must_use]
    pub fn carried_by(head: &Head) -> Option<Self> {
        let bytes = LINE.find(head.note())?;
        Self::verify(ForkProof::carried_by(head)?, &bytes).ok()
    }

    /// Whether a head's note carries this very point, so that nothing of it need be verified again.
    #[must_use]
    pub fn is_carried_by(&self, head: &Head) -> bool {
        LINE.find(head.note()).is_some_and(|bytes| bytes == self.encode())
    }

    /// Whose log is forked.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.proof.origin()
    }

    /// The fork proof.
    #[must_use]
    pub const fn proof(&self) -> &ForkProof {
        &self.proof
    }

    /// Entries that both histories have: the index of the first that they do not share.
    #[must_use]
    pub fn n_common(&self) -> u64 {
        self.older.path.index()
    }

    /// The root over these.
    #[must_use]
    pub fn root(&self) -> LogHash {
        self.older.path.root_before()
    }

    /// Whether a history has all entries that both of the fork proof's have. One that goes less far says no.
    #[must_use]
    pub fn is_in(&self, log: &Log) -> bool {
        log.origin() == self.origin() && log.root_at(self.n_common()) == Some(self.root())
    }

    /// Whether it says more of the history that is held than the point that is known: one that is in that history says more
    /// than one that is not, and of those the first. Others are of no use here, and the first that came is kept for others.
    #[must_use]
    pub fn says_more(&self, known: Option<&Self>, held: Option<&Log>) -> bool {
        let is_in = |point: &Self| held.is_some_and(|log| point.is_in(log));
        match known {
            None => true,
            Some(known) if is_in(known) => is_in(self) && self.n_common() < known.n_common(),
            Some(_) => is_in(self),
        }
    }
}
