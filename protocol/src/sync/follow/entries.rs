//! Entries that peers send: each answer verified before the next is asked for, all of them before they are committed.

use super::{ASK_TIMEOUT, Ask, Commit, Effect, Fault, Follower, LOG_FETCH_BYTES};
use crate::Timestamp;
use crate::evidence::EvidenceError;
use crate::log::checkpoint::Head;
use crate::log::fork::ForkProof;
use crate::message::log::Entries;
use crate::origin::{Origin, Subject};
use crate::sync::{Backoff, Peer};

/// What an answer is worth.
enum Verdict {
    /// Verified and added to the work.
    Grown,
    /// Nothing newer than what there is.
    Nothing,
    /// The peer lies.
    Lie,
    /// The peer sends too much.
    TooMuch,
    /// The writer signed another history than the one held.
    Fork(Box<ForkProof>),
    /// The writer signed another history than the one that earlier answers began: begin again from what is held.
    Restart,
}

/// Logs that are left alone for now: more is what no honest peer offers.
const SET_ASIDE: usize = 1_024;

impl Follower {
    pub(super) fn on_entries(&mut self, now: Timestamp, peer: Peer, (origin, from): (Origin, u64), answer: Entries) {
        if self.branches.get(&origin).is_some_and(|branch| branch.is_asked(peer, from)) {
            return self.on_branch(now, peer, origin, &answer);
        }
        if self.fetches.get(&origin).is_none_or(|fetch| fetch.peer != peer || fetch.work.size() != from) {
            return; // late: given up or answered already
        }
        let head = Head::verify(&answer.note.0).ok().filter(|head| *head.origin() == origin);
        let Some(head) = head else { return self.bar(peer, Fault::BadNote) };
        self.on_head(now, peer, head.clone());
        if !self.fetches.contains_key(&origin) {
            return; // the head was a fork
        }
        match self.judge(&origin, &head, answer) {
            Verdict::Grown => self.on_grown(now, peer, origin, &head),
            Verdict::Lie => self.bar(peer, Fault::BadProof { origin }),
            Verdict::TooMuch => self.bar(peer, Fault::Oversized),
            Verdict::Fork(proof) => self.on_fork(now, peer, &proof),
            Verdict::Restart => drop(self.fetches.remove(&origin)),
            Verdict::Nothing => {
                self.fetches.remove(&origin);
                self.rest(now, peer, Ask::Entries(origin));
            }
        }
    }

    fn judge(&mut self, origin: &Origin, head: &Head, answer: Entries) -> Verdict {
        let fetch = self.fetches.get_mut(origin).expect("the caller looked");
        let (from, size) = (fetch.work.size(), head.size());
        if size <= from || answer.entries.is_empty() {
            return Verdict::Nothing;
        }
        let (Ok(prefix), Ok(reached)) = (answer.prefix_proof(from, size), answer.reached_proof(from, size)) else {
            return Verdict::Lie;
        };
        if let Some(prefix) = prefix {
            let (old_root, new_root) = prefix.roots();
            if new_root != head.root() {
                return Verdict::Lie;
            }
            if old_root != fetch.work.root() {
                let ours = self.evidence.as_ref().and_then(|evidence| evidence.head(origin));
                let proof = ours.and_then(|ours| ForkProof::new(ours, head, Some(&prefix)).ok());
                return proof.map_or(Verdict::Restart, |proof| Verdict::Fork(Box::new(proof)));
            }
        }
        let entries: Vec<Vec<u8>> = answer.entries.into_iter().map(|entry| entry.0).collect();
        fetch.n_bytes += entries.iter().map(Vec::len).sum::<usize>();
        if fetch.n_bytes > LOG_FETCH_BYTES {
            return Verdict::TooMuch;
        }
        if fetch.work.extend_towards(&entries, &reached, head).is_err() {
            return Verdict::Lie;
        }
        fetch.entries.extend(entries);
        Verdict::Grown
    }

    /// Asks for the rest, or commits when there is none.
    fn on_grown(&mut self, now: Timestamp, peer: Peer, origin: Origin, head: &Head) {
        let fetch = self.fetches.get(&origin).expect("the caller looked");
        let from = fetch.work.size();
        let is_whole_from_the_start = fetch.entries.len() as u64 == from;
        let evidence = self.evidence.as_ref().expect("nothing is fetched before the Genesis is known");
        if is_whole_from_the_start && !evidence.is_worth(&origin, &fetch.entries) {
            return self.set_aside(now, peer, origin);
        }
        let fetch = self.fetches.get_mut(&origin).expect("the caller looked");
        if from < head.size() {
            fetch.deadline = now.after(ASK_TIMEOUT);
            return self.effects.push_back(Effect::AskEntries { peer, origin, from });
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.backoff.succeed();
        }
        let fetch = self.fetches.remove(&origin).expect("the caller looked");
        let evidence = self.evidence.as_ref().expect("nothing is fetched before the Genesis is known");
        match evidence.verify(&fetch.entries, &head.without_cosignatures()) {
            Ok(extension) => {
                let first = from - fetch.entries.len() as u64;
                self.committing.insert(origin, (peer, extension));
                let commit = Commit { origin, first, entries: fetch.entries, head: head.without_cosignatures() };
                self.effects.push_back(Effect::Commit(commit));
            }
            Err(EvidenceError::First(error)) => {
                self.refused.insert(peer, origin);
                self.fault(peer, Fault::BadEntry { origin, error });
            }
            // Perhaps only not yet: the entry that admits the device may still be on its way.
            Err(EvidenceError::NoDevice) => self.set_aside(now, peer, origin),
            Err(EvidenceError::TooManyLogs) => self.leave_out(peer, origin),
            // Overtaken by an own publish or a fork proof meanwhile: nobody's fault.
            Err(_) => self.refused.insert(peer, origin),
        }
    }

    pub(super) fn on_committed(&mut self, now: Timestamp, origin: Origin) {
        let Some((peer, extension)) = self.committing.remove(&origin) else { return };
        self.resting.remove(&origin);
        let evidence = self.evidence.as_mut().expect("nothing is committed before the Genesis is known");
        let applied = evidence.apply(extension);
        if applied == Err(EvidenceError::TooManyLogs) {
            self.leave_out(peer, origin);
        }
        if applied.is_ok() {
            self.wake_devices(&origin);
            self.judge_offers(now, &origin);
            self.refold();
        }
    }

    /// Leaves a log alone for which there is no room, until other people have a claim to it.
    fn leave_out(&mut self, peer: Peer, origin: Origin) {
        if self.left_out.len() < SET_ASIDE {
            self.left_out.insert(origin);
        } else {
            self.refused.insert(peer, origin);
        }
    }

    /// Leaves a log alone whose key is no device: the entry that admits it may still be on its way.
    fn set_aside(&mut self, now: Timestamp, peer: Peer, origin: Origin) {
        self.fetches.remove(&origin);
        if self.resting.len() >= SET_ASIDE {
            return self.refused.insert(peer, origin);
        }
        let (until, backoff) = self.resting.entry(origin).or_insert((now, Backoff::default()));
        *until = backoff.fail(now);
    }

    /// Logs of devices that were not known are worth another look once their identity says more.
    pub(super) fn wake_devices(&mut self, grown: &Origin) {
        if matches!(grown.subject, Subject::Identity(_)) {
            self.resting.retain(|origin, _| origin.subject != grown.subject);
            self.refused.retain(|origin| origin.subject != grown.subject);
        }
    }

    pub(super) fn on_commit_failed(&mut self, now: Timestamp, origin: Origin) {
        if self.committing.remove(&origin).is_some() {
            let (until, backoff) = self.resting.entry(origin).or_insert((now, Backoff::default()));
            *until = backoff.fail(now);
        }
    }
}
