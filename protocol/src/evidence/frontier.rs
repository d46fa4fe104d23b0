//! Frontiers: causally closed sets of heads. Every answer about a package is computed at exactly one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::held::Held;
use super::{Evidence, Logs, Point};
use crate::codec;
use crate::entry::Body;
use crate::id::{EntryId, LogHash};
use crate::origin::{Origin, Subject};

/// How far one log goes at a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FrontierHead {
    /// Entries, at least one.
    pub size: u64,
    /// The root at that size.
    pub root: LogHash,
}

/// Log → how far it goes. Whatever any of these entries has seen is inside too.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Frontier(pub BTreeMap<Origin, FrontierHead>);

/// Why a state cannot be computed at a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The log is not held that far, or not with that root, or its entries do not count that far.
    #[error("the log {0} is not held up to the frontier")]
    NotHeld(Origin),
    /// An entry of this log has seen something outside.
    #[error("the frontier leaves out what an entry of {0} has seen")]
    NotClosed(Origin),
}

impl Frontier {
    /// Entries of `origin` inside.
    #[must_use]
    pub fn size(&self, origin: &Origin) -> u64 {
        self.0.get(origin).map_or(0, |head| head.size)
    }

    /// The part that is about one subject.
    #[must_use]
    pub fn of(&self, subject: Subject) -> Self {
        Self(self.0.iter().filter(|(origin, _)| origin.subject == subject).map(|(o, head)| (*o, *head)).collect())
    }

    /// BLAKE3 of the canonical bytes: equal for equal frontiers only.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&codec::encode(self)).as_bytes()
    }

    /// Whether everything of `other` is inside, by size.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, head)| head.size <= self.size(origin))
    }
}

/// One entry inside a frontier.
pub(crate) struct Seat<'a> {
    pub(crate) id: EntryId,
    pub(crate) body: &'a Body,
    pub(crate) point: Point,
}

impl Evidence {
    /// All that a state at this frontier follows from, in one number: the frontier, and what is known of forks, which may lie
    /// outside. That is of each forked log how far its histories go together, what the reader's witnesses have seen, and which
    /// logs name another history than the one held. Equal ones are equal states.
    #[must_use]
    pub fn basis(&self, frontier: &Frontier) -> [u8; 32] {
        let logs = &self.logs;
        let known = logs
            .forks
            .iter()
            .map(|(origin, fork)| (origin, fork.n_common, logs.n_witnessed(origin, frontier), logs.rivals(origin)));
        *blake3::hash(&codec::encode(&(frontier, known.collect::<Vec<_>>()))).as_bytes()
    }
}

impl Logs {
    /// The largest frontier of the logs held.
    pub(super) fn frontier(&self) -> Frontier {
        let counted = self.held.iter().filter(|(_, held)| held.n_counted() > 0);
        let head = |held: &Held| {
            let root = held.log().root_at(held.n_counted()).expect("counted entries are held");
            FrontierHead { size: held.n_counted(), root }
        };
        Frontier(counted.map(|(origin, held)| (*origin, head(held))).collect())
    }

    /// Checks that `frontier` lies within what is held, and is closed.
    ///
    /// # Errors
    /// [`FrontierError`].
    pub(super) fn check_frontier(&self, frontier: &Frontier) -> Result<(), FrontierError> {
        for (origin, head) in &frontier.0 {
            let held = self.held.get(origin).ok_or(FrontierError::NotHeld(*origin))?;
            let is_held = held.log().root_at(head.size) == Some(head.root);
            let last = head.size.checked_sub(1).and_then(|last| held.clocks.at(last));
            let last = last.filter(|_| is_held).ok_or(FrontierError::NotHeld(*origin))?;
            if last.iter().any(|(seen, size)| frontier.size(seen) < *size) {
                return Err(FrontierError::NotClosed(*origin));
            }
        }
        Ok(())
    }

    /// The entries of one log inside a checked frontier, in order; skipped kinds left out.
    pub(crate) fn entries<'a>(&'a self, origin: &'a Origin, frontier: &Frontier) -> impl Iterator<Item = Seat<'a>> {
        let size = frontier.size(origin);
        let within = self.held.get(origin).into_iter().flat_map(move |held| {
            (0..size).zip(held.items()).filter_map(move |(index, item)| Some((held.clocks.at(index)?, index, item)))
        });
        within.filter_map(move |(clock, index, item)| {
            let point = Point { origin: *origin, index, clock: Arc::clone(clock) };
            Some(Seat { id: item.id, body: item.body.as_ref()?, point })
        })
    }
}
