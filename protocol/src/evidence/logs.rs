//! Verified logs in causal order: what the evidence set of a package and the logs of an identity have in common.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::held::{Held, Item, Verified};
use super::{Frontier, Quorum};
use crate::entry::{Body, Cut, IdentityGenesis};
use crate::id::IdentityId;
use crate::log::Log;
use crate::log::checkpoint::Head;
use crate::log::fork::ForkProof;
use crate::log::fork_point::ForkPoint;
use crate::origin::{Origin, Subject};

/// Where in a log the word of a recovery key is looked for that lets the log in: a new device writes it first.
pub(super) const WORD_WITHIN: usize = 16;

/// Some logs, and the fork proofs against any of them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Logs {
    pub(super) held: BTreeMap<Origin, Held>,
    pub(super) forks: BTreeMap<Origin, KnownFork>,
    /// What the reader's witnesses have seen of forked logs.
    pub(super) quorums: BTreeMap<Origin, Quorum>,
}

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
    pub(super) fn log(&self, origin: &Origin) -> Option<&Log> {
        self.held.get(origin).map(Held::log)
    }

    pub(super) fn head(&self, origin: &Origin) -> Option<&Head> {
        self.held.get(origin).map(Held::head)
    }

    pub(super) fn size(&self, origin: &Origin) -> u64 {
        self.held.get(origin).map_or(0, |held| held.log().size())
    }

    /// Takes in a log that others hold too, all of it. The caller has made sure that it continues the one held.
    pub(super) fn share(&mut self, origin: Origin, verified: &Arc<Verified>) {
        let held = self.held.entry(origin).or_insert_with(|| Held::new(Arc::clone(verified)));
        held.verified = Arc::clone(verified);
        self.settle(origin);
    }

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

    /// Keeps where two histories of a forked log part, and their proof for the one that is held. Of several such points one that
    /// is in the history held says more than one that is not, and of those the first; others are of no use here, and the first
    /// that came is kept for others. Whether it is kept.
    pub(super) fn learn_point(&mut self, point: ForkPoint) -> bool {
        let origin = *point.origin();
        let is_in = |point: &ForkPoint| self.log(&origin).is_some_and(|log| point.is_in(log));
        let Some(fork) = self.forks.get(&origin) else { return false };
        let is_news = match &fork.point {
            None => true,
            Some(known) if is_in(known) => is_in(&point) && point.n_common() < known.n_common(),
            Some(_) => is_in(&point),
        };
        if is_news && let Some(fork) = self.forks.get_mut(&origin) {
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

    /// How many entries of a log a cut leaves. A cut that names another history than the one inside the frontier leaves
    /// what both have, and so does one that names more than is inside of a forked log: nobody can tell of which history.
    pub(crate) fn cut_size(&self, origin: &Origin, cut: Option<&Cut>, frontier: &Frontier) -> u64 {
        let Some(cut) = cut else { return 0 };
        let held = self.held.get(origin).filter(|_| cut.size <= frontier.size(origin));
        let root = held.and_then(|held| held.log().root_at(cut.size));
        let fork = self.forks.get(origin);
        if root == Some(cut.root) || (root.is_none() && fork.is_none()) {
            return cut.size;
        }
        fork.and_then(|fork| fork.n_common).unwrap_or(0).min(cut.size)
    }

    /// Whether any log of a package would change who may do what.
    pub(super) fn change_roles(&self) -> bool {
        let of_package = self.held.iter().filter(|(origin, _)| matches!(origin.subject, Subject::Package(_)));
        of_package.into_iter().any(|(_, held)| held.verified.changes_roles)
    }

    /// Whether the first entries of a log hold a statement of the identity's recovery key.
    pub(super) fn brings_word(&self, identity: IdentityId, genesis: &IdentityGenesis, items: &[Item]) -> bool {
        let words = self.words(identity, genesis);
        items
            .iter()
            .take(WORD_WITHIN)
            .any(|item| matches!(&item.body, Some(Body::Recover(recover)) if words.contains(&recover.commitment())))
    }

    /// The recovery keys that the Genesis and statements held commit to, each followed only from one that counts.
    fn words(&self, identity: IdentityId, genesis: &IdentityGenesis) -> BTreeSet<[u8; 32]> {
        let mut by_key: BTreeMap<[u8; 32], BTreeSet<[u8; 32]>> = BTreeMap::new();
        for item in self.of_identity(identity) {
            if let Some(Body::Recover(recover)) = &item.body {
                by_key.entry(recover.commitment()).or_default().insert(recover.statement.next);
            }
        }
        let (mut words, mut open) = (BTreeSet::from([genesis.recovery]), vec![genesis.recovery]);
        while let Some(word) = open.pop() {
            open.extend(by_key.get(&word).into_iter().flatten().copied().filter(|next| words.insert(*next)));
        }
        words
    }

    fn of_identity(&self, identity: IdentityId) -> impl Iterator<Item = &Item> {
        let own = self.held.iter().filter(move |(origin, _)| origin.subject == Subject::Identity(identity));
        own.flat_map(|(_, held)| held.items())
    }
}
