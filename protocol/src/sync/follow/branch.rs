//! After a fork: how far the two histories are one. What stands in both stays settled, so an old release of an author
//! who forked the log later can still be installed.

use super::{ASK_TIMEOUT, Ask, Effect, Fault, Follower};
use crate::Timestamp;
use crate::log::Log;
use crate::log::checkpoint::Head;
use crate::message::log::Entries;
use crate::origin::Origin;
use crate::sync::Peer;

/// The other history, fetched from its beginning until it differs from ours.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) peer: Peer,
    pub(super) deadline: Timestamp,
    work: Log,
}

impl Branch {
    /// Whether these entries are asked of this peer.
    pub(super) fn is_asked(&self, peer: Peer, from: u64) -> bool {
        self.peer == peer && self.work.size() == from
    }
}

impl Follower {
    /// Asks a peer for its history of a forked log, once, unless the common part is known.
    pub(super) fn start_branch(&mut self, now: Timestamp, peer: Peer, origin: Origin) {
        let Some(evidence) = &self.evidence else { return };
        let is_known = evidence.n_common(&origin).is_some() || evidence.size(&origin) == 0;
        let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_barred) else { return };
        if !is_known && !self.branches.contains_key(&origin) && state.branches_asked.insert(origin) {
            let deadline = now.after(ASK_TIMEOUT);
            self.branches.insert(origin, Branch { peer, deadline, work: Log::new(origin) });
            self.effects.push_back(Effect::AskEntries { peer, origin, from: 0 });
        }
    }

    pub(super) fn on_branch(&mut self, now: Timestamp, peer: Peer, origin: Origin, answer: &Entries) {
        let Some(mut branch) = self.branches.remove(&origin) else { return };
        let head = Head::verify(&answer.note.0).ok().filter(|head| *head.origin() == origin);
        let Some(head) = head else { return self.bar(peer, Fault::BadNote) };
        let (from, size) = (branch.work.size(), head.size());
        if size <= from || answer.entries.is_empty() {
            return;
        }
        let entries: Vec<&[u8]> = answer.entries.iter().map(AsRef::as_ref).collect();
        let reached = answer.reached_proof(from, size).ok();
        if reached.is_none_or(|reached| branch.work.extend_towards(&entries, &reached, &head).is_err()) {
            return self.bar(peer, Fault::BadProof { origin });
        }
        let ours = self.evidence.as_ref().and_then(|evidence| evidence.log(&origin));
        let differs = |index: &u64| match ours.and_then(|ours| ours.leaf(*index)) {
            Some(leaf) => branch.work.leaf(*index) != Some(leaf),
            None => false,
        };
        match (from..branch.work.size()).find(differs) {
            Some(n_common) => self.on_common(origin, n_common),
            None if branch.work.size() < size.min(ours.map_or(0, Log::size)) => {
                branch.deadline = now.after(ASK_TIMEOUT);
                let from = branch.work.size();
                self.branches.insert(origin, branch);
                self.effects.push_back(Effect::AskEntries { peer, origin, from });
            }
            None => {} // it has our own history
        }
    }

    fn on_common(&mut self, origin: Origin, n_common: u64) {
        let evidence = self.evidence.as_mut().expect("a log is held");
        evidence.settle_fork(&origin, n_common);
        self.effects.push_back(Effect::Common { origin, n_common });
        self.refold();
    }

    pub(super) fn expire_branches(&mut self, now: Timestamp) {
        let late: Vec<_> =
            self.branches.iter().filter(|(_, b)| b.deadline <= now).map(|(origin, b)| (*origin, b.peer)).collect();
        for (origin, peer) in late {
            self.branches.remove(&origin);
            self.rest(now, peer, Ask::Entries(origin));
        }
    }
}
