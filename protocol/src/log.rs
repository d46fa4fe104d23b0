//! The signed Merkle log of one writer: append-only entries, RFC 6962 tree, checkpoints as signed notes.
//!
//! | file | holds |
//! |---|---|
//! | [`merkle`] | leaf and node hashes, the tree |
//! | [`proof`] | inclusion, consistency and prefix proofs |
//! | [`note`], [`checkpoint`] | C2SP signed-note and tlog-checkpoint; [`checkpoint::Head`] is a verified one |
//! | [`cosignature`] | C2SP tlog-cosignature: what witnesses say of a checkpoint, and when |
//! | [`witness`] | the machine that decides what a witness may say |
//! | [`fork`] | evidence of two checkpoints that cannot both be true |
//! | [`fork_point`] | where the two histories of such evidence part |
//! | [`tiles`] | C2SP tlog-tiles: the log as files for foreign tools |
//!
//! A [`Log`] keeps hashes only; the entries' bytes are the node's to store.

pub mod checkpoint;
pub mod cosignature;
pub mod fork;
pub mod fork_point;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod tiles;
pub mod witness;

use crate::id::LogHash;
use crate::limits;
use crate::origin::Origin;
use checkpoint::{Checkpoint, Head};
use merkle::{Tree, leaf_hash};
use proof::{ConsistencyProof, InclusionProof, PrefixProof, ProofError};

/// One writer's log as far as we hold it: its origin and all leaf hashes.
///
/// Others' logs grow only by [`Log::extend`] and [`Log::extend_towards`], so every state is a prefix of a verified head.
#[derive(Debug, Clone)]
pub struct Log {
    origin: Origin,
    tree: Tree,
}

/// How an offered head relates to what we hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is what we hold.
    Same,
    /// It is longer: the entries from our size on, or a proof, show whether it continues our log.
    Ahead {
        /// Our size: the index of the first entry that we lack.
        from: u64,
    },
    /// It is older and true: a prefix of what we hold.
    Behind,
    /// It contradicts what we hold. [`fork::ForkProof::from_log`] makes the evidence.
    Forked,
    /// It is another log's head and says nothing about this one.
    OtherLog,
}

/// Why an own entry was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The entry is too long.
    #[error("an entry of {len} bytes, at most {max} are allowed")]
    EntryTooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The log is full.
    #[error("the log has {max} entries, as many as it may have")]
    Full {
        /// The limit.
        max: u64,
    },
}

/// Why entries were not added to a log; it is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtendError {
    /// The head is another log's.
    #[error("the head is another log's")]
    OtherLog,
    /// The head is shorter than what we hold: a rollback, or an honest peer that lags behind.
    #[error("the peer offers log size {offered}, older than the {held} we hold")]
    Older {
        /// Entries that we hold.
        held: u64,
        /// Entries of the head.
        offered: u64,
    },
    /// Not as many entries as lie between what we hold and what is to be reached.
    #[error("{found} entries offered, {expected} are needed")]
    Count {
        /// Entries needed.
        expected: u64,
        /// Entries offered.
        found: u64,
    },
    /// An entry is too long; entries are counted from the log's first.
    #[error("entry {index} has {len} bytes, at most {max} are allowed")]
    EntryTooLong {
        /// Which entry.
        index: u64,
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// What we hold and the offered entries do not hash to the signed root: the entries are wrong, or the writer
    /// signed two logs. Only a [`fork::ForkProof`] tells which.
    #[error("the entries do not hash to the signed root of size {size}")]
    Root {
        /// The size of the head.
        size: u64,
    },
    /// The proof does not show that what would be held is a prefix of the head.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Log {
    /// The empty log of `origin`.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self { origin, tree: Tree::default() }
    }

    /// Whose log it is, and about what.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Entries held.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over all entries held.
    #[must_use]
    pub fn root(&self) -> LogHash {
        self.root_at(self.size()).expect("a log holds its own size")
    }

    /// The root over the first `size` entries; `None` if fewer are held.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<LogHash> {
        self.tree.root_at(size)
    }

    /// The leaf hash of the entry at `index`; `None` if it is not held.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<LogHash> {
        self.tree.leaf(index)
    }

    /// How many first entries two logs have in common. O(log³ n) hashes.
    #[must_use]
    pub fn n_common(&self, other: &Self) -> u64 {
        // Equal roots are equal entries up to there.
        let (mut same, mut differs) = (0, self.size().min(other.size()) + 1);
        while differs - same > 1 {
            let middle = same + (differs - same) / 2;
            match self.root_at(middle) == other.root_at(middle) {
                true => same = middle,
                false => differs = middle,
            }
        }
        same
    }

    /// What the log is now, for signing with [`Head::sign`].
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: self.origin, size: self.size(), root: self.root() }
    }

    /// What the log would be with `entries` appended: what the journal writes down before anything changes.
    ///
    /// # Errors
    /// [`AppendError`] as of [`Log::append`].
    pub fn checkpoint_after(&self, entries: &[impl AsRef<[u8]>]) -> Result<Checkpoint, AppendError> {
        let mut frontier = self.tree.frontier();
        for entry in entries {
            check_append(entry.as_ref(), frontier.size())?;
            frontier.append(leaf_hash(entry.as_ref()));
        }
        Ok(Checkpoint { origin: self.origin, size: frontier.size(), root: frontier.root() })
    }

    /// Appends an entry to the own log; returns its index.
    ///
    /// # Errors
    /// [`AppendError`]; the log is unchanged.
    pub fn append(&mut self, entry: &[u8]) -> Result<u64, AppendError> {
        let index = self.size();
        check_append(entry, index)?;
        self.tree.append(leaf_hash(entry));
        Ok(index)
    }

    /// How `head` relates to what we hold. O(log² n) hashes.
    #[must_use]
    pub fn compare(&self, head: &Head) -> Standing {
        if *head.origin() != self.origin {
            return Standing::OtherLog;
        }
        match self.root_at(head.size()) {
            None => Standing::Ahead { from: self.size() },
            Some(root) if root != head.root() => Standing::Forked,
            Some(_) if head.size() == self.size() => Standing::Same,
            Some(_) => Standing::Behind,
        }
    }

    /// Adds all entries between what we hold and `head`, if the result has the head's root.
    ///
    /// # Errors
    /// [`ExtendError`]; the log is unchanged.
    pub fn extend(&mut self, entries: &[impl AsRef<[u8]>], head: &Head) -> Result<(), ExtendError> {
        self.check_head(head)?;
        self.check_count(entries.len(), head.size())?;
        let leaves = self.hash_entries(entries)?;
        self.extend_leaves(&leaves, head)
    }

    /// Like [`Log::extend`], with the leaf hashes instead of the entries: how a log is opened again from an index.
    ///
    /// # Errors
    /// [`ExtendError`]; the log is unchanged.
    pub fn extend_leaves(&mut self, leaves: &[LogHash], head: &Head) -> Result<(), ExtendError> {
        self.check_head(head)?;
        self.check_count(leaves.len(), head.size())?;
        if self.root_after(leaves) != head.root() {
            return Err(ExtendError::Root { size: head.size() });
        }
        self.add(leaves);
        Ok(())
    }

    /// Adds a part of the entries between what we hold and `head`, with the proof that the result is a prefix of it:
    /// how a long log comes in several answers, each verified before it is kept.
    ///
    /// # Errors
    /// [`ExtendError`]; the log is unchanged.
    pub fn extend_towards(
        &mut self,
        entries: &[impl AsRef<[u8]>],
        proof: &ConsistencyProof,
        head: &Head,
    ) -> Result<(), ExtendError> {
        self.check_head(head)?;
        let (room, found) = (head.size() - self.size(), entries.len() as u64);
        if found > room {
            return Err(ExtendError::Count { expected: room, found });
        }
        let leaves = self.hash_entries(entries)?;
        let reached = Checkpoint { origin: self.origin, size: self.size() + found, root: self.root_after(&leaves) };
        proof.verify(&reached, head.checkpoint())?;
        self.add(&leaves);
        Ok(())
    }

    /// The proof that the entry at `index` is in the log of `size` entries.
    ///
    /// # Errors
    /// [`ProofError::Index`] unless `index < size` and `size` entries are held.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, ProofError> {
        let hashes = self.tree.inclusion_path(index, size).ok_or(ProofError::Index { index, size })?;
        InclusionProof::new(index, size, hashes)
    }

    /// The proof that the log of `new` entries continues that of `old` entries.
    ///
    /// # Errors
    /// [`ProofError::Sizes`] unless `old <= new` and `new` entries are held.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, ProofError> {
        if (old == 0 || old == new) && new <= self.size() {
            return ConsistencyProof::new(old, new, Vec::new());
        }
        let mut hashes = self.tree.prefix_path(old, new).ok_or(ProofError::Sizes { old, new })?;
        if old.is_power_of_two() {
            hashes.remove(0); // RFC 6962: it is the old root, which the verifier has
        }
        ConsistencyProof::new(old, new, hashes)
    }

    /// Like [`Log::prove_consistency`] for `0 < old < new`, with the first subtree always named. The better answer to a
    /// peer: if its old root is another one, this together with the two notes is a [`fork::ForkProof`].
    ///
    /// # Errors
    /// [`ProofError::Sizes`] unless `0 < old < new` and `new` entries are held.
    pub fn prove_prefix(&self, old: u64, new: u64) -> Result<PrefixProof, ProofError> {
        let hashes = self.tree.prefix_path(old, new).ok_or(ProofError::Sizes { old, new })?;
        PrefixProof::new(old, new, hashes)
    }

    fn add(&mut self, leaves: &[LogHash]) {
        for leaf in leaves {
            self.tree.append(*leaf);
        }
    }

    fn root_after(&self, leaves: &[LogHash]) -> LogHash {
        let mut frontier = self.tree.frontier();
        for leaf in leaves {
            frontier.append(*leaf);
        }
        frontier.root()
    }

    fn hash_entries(&self, entries: &[impl AsRef<[u8]>]) -> Result<Vec<LogHash>, ExtendError> {
        let hash = |(index, entry): (u64, &[u8])| match entry.len() {
            len if len > limits::ENTRY_BYTES => Err(ExtendError::EntryTooLong { index, len, max: limits::ENTRY_BYTES }),
            _ => Ok(leaf_hash(entry)),
        };
        (self.size()..).zip(entries.iter().map(AsRef::as_ref)).map(hash).collect()
    }

    fn check_head(&self, head: &Head) -> Result<(), ExtendError> {
        if *head.origin() != self.origin {
            return Err(ExtendError::OtherLog);
        }
        if head.size() < self.size() {
            return Err(ExtendError::Older { held: self.size(), offered: head.size() });
        }
        Ok(())
    }

    fn check_count(&self, found: usize, to: u64) -> Result<(), ExtendError> {
        let (expected, found) = (to - self.size(), found as u64);
        if found == expected { Ok(()) } else { Err(ExtendError::Count { expected, found }) }
    }
}

fn check_append(entry: &[u8], size: u64) -> Result<(), AppendError> {
    if entry.len() > limits::ENTRY_BYTES {
        return Err(AppendError::EntryTooLong { len: entry.len(), max: limits::ENTRY_BYTES });
    }
    if size >= limits::LOG_ENTRIES {
        return Err(AppendError::Full { max: limits::LOG_ENTRIES });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
