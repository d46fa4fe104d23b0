//! Verified logs in causal order: what the evidence set of a package and the logs of an identity have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::held::{Held, Item, Verified};
use super::{Frontier, KnownFork, Quorum};
use crate::entry::{Body, Cut, IdentityGenesis};
use crate::id::IdentityId;
use crate::log::Log;
use crate::log::checkpoint::Head;
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
