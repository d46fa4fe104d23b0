//! What the reader's own witnesses have seen of a forked log: beside `seen` and cuts what fixes one of its histories.
//!
//! More than half of the reader's list is needed, whatever the reader's policy for installs is: two histories of one log
//! cannot both have that, unless a witness on the list has signed both.

use std::collections::BTreeMap;

use super::{Evidence, Frontier, Logs};
use crate::entry::Cut;
use crate::origin::Origin;

/// What the witnesses on one reader's list have cosigned of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    needed: usize,
    /// Of each witness that said anything, the trees that it has cosigned.
    seen: Vec<Vec<Cut>>,
}

impl Quorum {
    /// The word of a list of `n_listed` witnesses, of whom `seen` holds the trees that each has cosigned. `needed` of them
    /// must have seen an entry to fix it; none if that is not more than half of the list.
    #[must_use]
    pub fn new(n_listed: usize, needed: usize, seen: Vec<Vec<Cut>>) -> Option<Self> {
        (2 * needed > n_listed && seen.len() <= n_listed).then_some(Self { needed, seen })
    }
}

impl Logs {
    pub(super) fn witnessed(&mut self, origin: &Origin, quorum: Option<Quorum>) {
        match quorum {
            Some(quorum) => drop(self.quorums.insert(*origin, quorum)),
            None => drop(self.quorums.remove(origin)),
        }
    }

    /// How many entries of the history that is inside the frontier the quorum has seen; none of a log that is not forked.
    /// What it has seen beyond the frontier says nothing: whoever holds no more could not tell of which history it is.
    pub(super) fn n_witnessed(&self, origin: &Origin, frontier: &Frontier) -> u64 {
        let Some(quorum) = self.quorums.get(origin).filter(|_| self.forks.contains_key(origin)) else { return 0 };
        let (Some(log), within) = (self.log(origin), frontier.size(origin)) else { return 0 };
        let is_here = |cut: &&Cut| cut.size <= within && log.root_at(cut.size) == Some(cut.root);
        let most = |trees: &Vec<Cut>| trees.iter().filter(is_here).map(|cut| cut.size).max().unwrap_or(0);
        let mut sizes: Vec<u64> = quorum.seen.iter().map(most).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        quorum.needed.checked_sub(1).and_then(|nth| sizes.get(nth)).copied().unwrap_or(0)
    }

    /// [`Logs::settled`] of a log of which nothing but a fork is said: there the reader's witnesses have a say too, and who
    /// named how far it goes on. Of one that was cut they have none, for they know nothing of rights.
    pub(crate) fn settled_fork(
        &self,
        origin: &Origin,
        frontier: &Frontier,
        speaks: impl Fn(&Origin) -> bool,
        n_resolved: u64,
    ) -> u64 {
        let otherwise = self.n_witnessed(origin, frontier).max(n_resolved);
        self.fixed(origin, frontier, speaks, otherwise)
    }

    /// How many entries of the history that is inside the frontier were named to go on; none if another history was named as
    /// well. What names more than is inside says nothing: whoever holds no more could not tell of which history it is.
    pub(crate) fn n_resolved(&self, origin: &Origin, frontier: &Frontier, resolved: &BTreeMap<Origin, Cut>) -> u64 {
        let Some(log) = self.log(origin) else { return 0 };
        let within = || resolved.values().filter(|cut| cut.size <= frontier.size(origin));
        let is_here = within().all(|cut| log.root_at(cut.size) == Some(cut.root));
        within().map(|cut| cut.size).max().filter(|_| is_here).unwrap_or(0)
    }
}

impl Evidence {
    /// Says what the reader's witnesses have seen of a log of the package, or that they say nothing. Of a forked log it is an
    /// input of the fold, like the fork proof: what they have seen of the history that is held counts.
    pub fn witnessed(&mut self, origin: &Origin, quorum: Option<Quorum>) {
        self.logs.witnessed(origin, quorum);
    }

    /// What [`Evidence::witnessed`] was told last.
    #[must_use]
    pub fn quorum(&self, origin: &Origin) -> Option<&Quorum> {
        self.logs.quorums.get(origin)
    }
}
