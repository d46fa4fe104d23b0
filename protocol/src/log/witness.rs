//! What a witness may say: the machine behind cosignatures. No clock, disk or secret; the node writes down what it decides,
//! tells it so, and only then can anything be signed.
//!
//! One statement for each log, and it only grows: never a smaller tree, never another tree of the same size, never a larger
//! one that does not contain the last, never an earlier time. So two statements of one witness cannot contradict each other,
//! and of a log that was forked it has seen one branch only.

use core::time::Duration;
use std::collections::BTreeMap;

use super::checkpoint::Head;
use super::cosignature::Cosignature;
use super::fork::ForkProof;
use super::proof::{ConsistencyProof, ProofError};
use crate::Timestamp;
use crate::key::{DeviceKey, DeviceSecret};
use crate::origin::Origin;

/// A tree that has not grown is cosigned again no earlier than this after the last time: bounds what is written and signed
/// because strangers ask.
pub const PACE: Duration = Duration::from_secs(10 * 60);

/// What a witness says of one log: the largest tree it has seen, and when it said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    head: Head,
    at: Timestamp,
}

/// Why a witness says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The log is signed by the witness's own key: that would prove nothing to anybody.
    #[error("nobody is a witness of their own log")]
    OwnLog,
    /// It has seen a larger tree.
    #[error("a tree of size {offered}, but {seen} entries were seen before")]
    Smaller {
        /// Entries seen.
        seen: u64,
        /// Entries offered.
        offered: u64,
    },
    /// It has seen another tree of the same size: the log's key signed two histories.
    #[error("another tree of the same size was seen before: the log was forked")]
    Fork(Box<ForkProof>),
    /// Nothing shows that the larger tree contains the one that was seen.
    #[error("the tree is not shown to contain the one seen before")]
    Inconsistent(#[source] ProofError),
    /// It said this very thing a short time ago.
    #[error("said a short time ago, again from {again_at:?} on")]
    Early {
        /// When it may be said again.
        again_at: Timestamp,
    },
    /// The clock went back behind what was said.
    #[error("the clock is behind what was said before, at {said_at:?}")]
    Clock {
        /// The time of the last statement.
        said_at: Timestamp,
    },
}

/// Everything that one witness has said.
#[derive(Debug)]
pub struct Witness {
    key: DeviceKey,
    said: BTreeMap<Origin, Statement>,
}

impl Statement {
    /// What was once recorded, as it was kept. `at` counts in whole seconds.
    #[must_use]
    pub fn recall(head: &Head, at: Timestamp) -> Self {
        Self { head: head.without_cosignatures(), at: Timestamp(at.0 / 1_000 * 1_000) }
    }

    /// The head, with the log's own signature only.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// When: whole seconds.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Witness {
    /// A witness that has said nothing yet, with this key.
    #[must_use]
    pub fn new(key: DeviceKey) -> Self {
        Self { key, said: BTreeMap::new() }
    }

    /// What it said last of a log.
    #[must_use]
    pub fn said(&self, origin: &Origin) -> Option<&Statement> {
        self.said.get(origin)
    }

    /// What may be said of `head` now. Until it is on disk and [`Witness::record`]ed, nothing is said.
    ///
    /// `proof` leads from the tree seen last to this one; nobody looks at it where they are the same.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn consider(&self, now: Timestamp, head: &Head, proof: &ConsistencyProof) -> Result<Statement, Refused> {
        if head.origin().key == self.key {
            return Err(Refused::OwnLog);
        }
        let next = Statement::recall(head, now);
        let Some(last) = self.said.get(head.origin()) else { return Ok(next) };
        last.allows(&next)?;
        if next.head.size() > last.head.size() {
            proof.verify(last.head.checkpoint(), head.checkpoint()).map_err(Refused::Inconsistent)?;
            return Ok(next);
        }
        let again_at = last.at.after(PACE);
        if now < again_at { Err(Refused::Early { again_at }) } else { Ok(next) }
    }

    /// Takes in a statement that is on disk now.
    ///
    /// # Errors
    /// [`Refused`] when it contradicts what was said meanwhile; then it may not be said.
    pub fn record(&mut self, statement: Statement) -> Result<(), Refused> {
        if let Some(last) = self.said.get(statement.head.origin()) {
            last.allows(&statement)?;
        }
        self.said.insert(*statement.head.origin(), statement);
        Ok(())
    }

    /// The cosignature over what was recorded last of a log: deterministic, so that nothing but the statement need be kept.
    /// None if nothing was, or if the secret is another key's.
    #[must_use]
    pub fn cosignature(&self, secret: &DeviceSecret, origin: &Origin) -> Option<Cosignature> {
        let statement = self.said.get(origin).filter(|_| secret.public() == self.key)?;
        Some(Cosignature::sign(secret, *statement.head.checkpoint(), statement.at))
    }
}

impl Statement {
    /// What no later statement about the same log may be.
    fn allows(&self, next: &Self) -> Result<(), Refused> {
        let (seen, offered) = (self.head.size(), next.head.size());
        if offered < seen {
            return Err(Refused::Smaller { seen, offered });
        }
        if offered == seen && next.head.root() != self.head.root() {
            let proof = ForkProof::new(&self.head, &next.head, None);
            return Err(Refused::Fork(Box::new(proof.expect("two roots of one size are a fork"))));
        }
        if next.at < self.at {
            return Err(Refused::Clock { said_at: self.at });
        }
        Ok(())
    }
}
