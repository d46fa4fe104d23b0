//! What is known of forked logs: that their keys signed two histories, and how far the one that is held is in others too.

use std::collections::btree_map::Entry;

use super::held::Held;
use super::{Evidence, Logs};
use crate::log::fork::ForkProof;
use crate::log::fork_point::ForkPoint;
use crate::origin::Origin;

/// What is known of a forked log.
#[derive(Debug, Clone)]
pub struct KnownFork {
    /// That it is forked.
    pub proof: ForkProof,
    /// How many entries the history that is held has in common with another that was looked at; of several the fewest. None
    /// while nobody has compared them.
    pub n_common: Option<u64>,
    /// Where the proof's histories part, if that was shown.
    pub point: Option<ForkPoint>,
}

impl From<ForkProof> for KnownFork {
    fn from(proof: ForkProof) -> Self {
        Self { proof, n_common: None, point: None }
    }
}

impl Logs {
    /// Keeps the proofs, and how far both histories of each are known to go together. Whether any of that is new.
    pub(super) fn freeze(&mut self, forks: impl IntoIterator<Item = KnownFork>) -> bool {
        let (mut is_new, mut is_named) = (false, false);
        for KnownFork { proof, n_common, point } in forks {
            let origin = *proof.origin();
            if let Entry::Vacant(place) = self.forks.entry(origin) {
                place.insert(proof.into());
                is_new = true;
                is_named |= self.is_named(&origin);
            }
            is_new |= n_common.is_some_and(|n_common| self.settle_fork(&origin, n_common));
            is_new |= point.is_some_and(|point| self.learn_point(point));
        }
        if is_named {
            self.settle_anew();
        }
        is_new
    }

    /// Whether that is new.
    pub(super) fn settle_fork(&mut self, origin: &Origin, n_common: u64) -> bool {
        let Some(fork) = self.forks.get_mut(origin) else { return false };
        let known = fork.n_common;
        fork.n_common = Some(known.map_or(n_common, |known| known.min(n_common)));
        fork.n_common != known
    }

    /// Keeps where two histories of a forked log part, and their proof for the one that is held, if it says more than what is
    /// known ([`ForkPoint::says_more`]). Whether it does.
    pub(super) fn learn_point(&mut self, point: ForkPoint) -> bool {
        let origin = *point.origin();
        let held = self.held.get(&origin).map(Held::log);
        let Some(fork) = self.forks.get_mut(&origin) else { return false };
        let is_news = point.says_more(fork.point.as_ref(), held);
        if is_news {
            (fork.proof, fork.point) = (point.proof().clone(), Some(point));
            self.settle_point(&origin);
        }
        is_news
    }

    /// If the history that is held goes through the point where others part, it has so much in common with these. Whether that
    /// is new.
    pub(super) fn settle_point(&mut self, origin: &Origin) -> bool {
        let point = self.forks.get(origin).and_then(|fork| fork.point.as_ref());
        let is_in = |point: &&ForkPoint| self.log(origin).is_some_and(|log| point.is_in(log));
        match point.filter(is_in).map(ForkPoint::n_common) {
            Some(n_common) => self.settle_fork(origin, n_common),
            None => false,
        }
    }

    /// How many entries of a log are in every history that its key signed: all unless it forked.
    pub(crate) fn n_common(&self, origin: &Origin) -> u64 {
        self.forks.get(origin).map_or(u64::MAX, |fork| fork.n_common.unwrap_or(0))
    }
}

impl Evidence {
    /// Keeps a fork proof for ever: nothing newer of that log is accepted.
    pub fn freeze(&mut self, proof: ForkProof) {
        self.freeze_all([proof.into()]);
    }

    /// [`Evidence::freeze`], [`Evidence::settle_fork`] and [`Evidence::learn_point`] of several logs at once.
    pub fn freeze_all(&mut self, forks: impl IntoIterator<Item = KnownFork>) {
        if self.logs.freeze(forks) {
            self.learn_all();
        }
    }

    /// Says that the first `n_common` entries of a forked log are known to be in both histories: they stay settled. The
    /// later ones count only where another owner's `seen` fixes them. Without effect on a log that is not forked.
    pub fn settle_fork(&mut self, origin: &Origin, n_common: u64) {
        if self.logs.settle_fork(origin, n_common) {
            self.learn_all();
        }
    }

    /// Takes in where two histories of a forked log part: what is held of it up to there stays settled, if it is in them. Whether
    /// that says more than what is known. Without effect on a log that is not forked.
    pub fn learn_point(&mut self, point: ForkPoint) -> bool {
        let (origin, known) = (*point.origin(), self.n_common(point.origin()));
        let is_news = self.logs.learn_point(point);
        if self.n_common(&origin) != known {
            self.learn_all();
        }
        is_news
    }

    /// Where the histories of a forked log part, if that was shown.
    #[must_use]
    pub fn fork_point(&self, origin: &Origin) -> Option<&ForkPoint> {
        self.logs.forks.get(origin)?.point.as_ref()
    }

    /// The entries of a forked log that are known to be in both histories.
    #[must_use]
    pub fn n_common(&self, origin: &Origin) -> Option<u64> {
        self.logs.forks.get(origin)?.n_common
    }

    /// The fork proofs held.
    pub fn forks(&self) -> impl Iterator<Item = &ForkProof> {
        self.logs.forks.values().map(|fork| &fork.proof)
    }

    /// Whether a fork proof against `origin` is held.
    #[must_use]
    pub fn is_forked(&self, origin: &Origin) -> bool {
        self.logs.forks.contains_key(origin)
    }
}
