//! After a fork: how far the two histories are one. What stands in both stays settled, so an old release of an author
//! who forked the log later can still be installed.

use std::collections::BTreeSet;

use super::{ASK_TIMEOUT, Ask, COMPARED_BYTES, Effect, Fault, Follower};
use crate::Timestamp;
use crate::id::LogHash;
use crate::log::Log;
use crate::log::checkpoint::Head;
use crate::log::fork_point::ForkPoint;
use crate::message::log::Entries;
use crate::origin::Origin;
use crate::sync::Peer;

/// The other history, fetched from its beginning until it differs from ours, and then to its end, to show where it does.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) peer: Peer,
    pub(super) deadline: Timestamp,
    work: Log,
    n_bytes: usize,
    /// How far it is ours, once that is known.
    n_common: Option<u64>,
    /// Where it ended when it was first asked for: whoever makes it longer meanwhile is asked for no more.
    end: Option<Head>,
}

/// Heads of a forked log whose histories were compared with ours: nobody is asked for these again.
#[derive(Debug, Default)]
pub(super) struct Compared(BTreeSet<(u64, LogHash)>);

impl Compared {
    /// Whoever has the key can sign any number; more than these are not remembered, nor asked for.
    const MOST: usize = 64;

    pub(super) fn is_known(&self, head: &Head) -> bool {
        self.0.len() >= Self::MOST || self.0.contains(&(head.size(), head.root()))
    }

    fn insert(&mut self, head: &Head) {
        if self.0.len() < Self::MOST {
            self.0.insert((head.size(), head.root()));
        }
    }
}

impl Branch {
    /// Whether these entries are asked of this peer.
    pub(super) fn is_asked(&self, peer: Peer, from: u64) -> bool {
        self.peer == peer && self.work.size() == from
    }
}

impl Follower {
    /// Asks a peer for its history of a forked log, once: a key may have signed more than two.
    pub(super) fn start_branch(&mut self, now: Timestamp, peer: Peer, origin: Origin) {
        let Some(evidence) = &self.evidence else { return };
        let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_barred) else { return };
        let is_held = evidence.size(&origin) > 0;
        if is_held && !self.branches.contains_key(&origin) && state.branches_asked.insert(origin) {
            let (deadline, work) = (now.after(ASK_TIMEOUT), Log::new(origin));
            self.branches.insert(origin, Branch { peer, deadline, work, n_bytes: 0, n_common: None, end: None });
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
        branch.n_bytes += entries.iter().map(|entry| entry.len()).sum::<usize>();
        let Some(ours) = self.evidence.as_ref().and_then(|evidence| evidence.log(&origin)) else { return };
        let (reached, n_ours) = (branch.work.size(), ours.size());
        if branch.n_common.is_none() {
            let mut new = from..reached.min(n_ours);
            branch.n_common = new.find(|index| branch.work.leaf(*index) != ours.leaf(*index));
            branch.n_common.inspect(|n_common| self.on_common(origin, *n_common));
        }
        let end = branch.end.get_or_insert(head);
        // Ours, all of it: nothing to compare.
        let is_done = branch.n_common.is_none() && reached >= n_ours;
        if is_done || reached >= end.size() || branch.n_bytes > COMPARED_BYTES {
            self.compared.entry(origin).or_default().insert(end);
        }
        if reached >= end.size() && branch.n_common.is_some() {
            self.show_point(&branch.work, end);
        } else if reached < end.size() && !is_done && branch.n_bytes <= COMPARED_BYTES {
            branch.deadline = now.after(ASK_TIMEOUT);
            self.branches.insert(origin, branch);
            self.effects.push_back(Effect::AskEntries { peer, origin, from: reached });
        }
    }

    fn on_common(&mut self, origin: Origin, n_common: u64) {
        let evidence = self.evidence.as_mut().expect("a log is held");
        let known = evidence.n_common(&origin);
        evidence.settle_fork(&origin, n_common);
        if evidence.n_common(&origin) != known {
            self.effects.push_back(Effect::Common { origin, n_common });
            self.refold();
        }
    }

    /// Shows to those who have heard of the fork only where the history that is held and another part.
    fn show_point(&mut self, other: &Log, head: &Head) {
        let evidence = self.evidence.as_mut().expect("a log is held");
        let ours = evidence.log(head.origin()).zip(evidence.head(head.origin()));
        let point = ours.and_then(|ours| ForkPoint::of(ours, (other, head)));
        if let Some(point) = point.filter(|point| evidence.learn_point(point.clone())) {
            self.effects.push_back(Effect::ForkPoint(Box::new(point)));
        }
    }

    pub(super) fn expire_branches(&mut self, now: Timestamp) {
        let late: Vec<_> =
            self.branches.iter().filter(|(_, b)| b.deadline <= now).map(|(origin, b)| (*origin, b.peer)).collect();
        for (origin, peer) in late {
            self.branches.remove(&origin);
            if let Some(state) = self.peers.get_mut(&peer) {
                state.branches_asked.remove(&origin);
            }
            self.rest(now, peer, Ask::Entries(origin));
        }
    }
}
