//! Heads that peers offer: verified, compared with what is held and with each other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::shown::Sizes;
use super::{Effect, Fault, Follower, Warned};
use crate::Timestamp;
use crate::evidence::{Evidence, KnownFork, Quorum};
use crate::limits::{EVIDENCE_LOGS, HEADS_PER_FRAME};
use crate::log::Standing;
use crate::log::checkpoint::Head;
use crate::log::fork::ForkProof;
use crate::log::fork_point::ForkPoint;
use crate::message::log::Heads;
use crate::origin::{Origin, Subject};
use crate::sync::Peer;

impl Follower {
    pub(super) fn on_notice(&mut self, now: Timestamp, peer: Peer, note: &[u8]) {
        let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_barred) else { return };
        if self.evidence.is_none() && !state.heads_asked && state.rests_until <= now {
            state.heads_at = now; // genesis bytes come with heads only
        }
        if let Some(shown) = self.on_note(now, peer, note) {
            self.tell_notice(peer, shown);
            self.ask_who(now, peer, &shown.0);
        }
    }

    /// A log of nobody who is known may be of somebody who just got a role: whoever writes it has the identity's logs too.
    fn ask_who(&mut self, now: Timestamp, peer: Peer, origin: &Origin) {
        let may_be = self.evidence.as_ref().is_some_and(|known| known.lacks_people() && !known.wants(origin));
        if let Some(state) = self.peers.get_mut(&peer).filter(|_| may_be)
            && !state.is_barred
            && !state.heads_asked
            && state.rests_until <= now
        {
            state.heads_at = now;
        }
    }

    /// All heads are asked for, not only these entries: the log may name others that are news too.
    pub(super) fn on_told(&mut self, now: Timestamp, peer: Peer, note: &[u8]) {
        let state = self.peers.entry(peer).or_default();
        if !state.is_barred && !state.heads_asked {
            state.heads_at = now;
        }
        self.on_notice(now, peer, note);
    }

    pub(super) fn on_heads(&mut self, now: Timestamp, peer: Peer, heads: &Heads) {
        if self.peers.get(&peer).is_none_or(|state| !state.heads_asked) {
            return; // late, or not asked for
        }
        let is_quiet = self.evidence.is_some() && heads.notes.iter().all(|note| self.is_old_news(peer, &note.0));
        self.heads_answered(now, peer, is_quiet);
        if !self.admit(heads) {
            return self.bar(peer, Fault::BadGenesis);
        }
        let mut offered = Sizes::new();
        for note in &heads.notes {
            let Some((origin, size)) = self.on_note(now, peer, &note.0) else { return };
            let newest = offered.entry(origin).or_insert(size);
            *newest = size.max(*newest);
        }
        // A full answer may have had no room for more.
        if heads.notes.len() < HEADS_PER_FRAME {
            self.tell_answer(peer, &offered);
        }
    }

    /// Checks genesis bytes and begins the evidence set with them.
    fn admit(&mut self, heads: &Heads) -> bool {
        let Ok(fresh) = Evidence::open(self.package, &heads.package_genesis.0) else { return false };
        let evidence = self.evidence.get_or_insert(fresh);
        heads.identity_geneses.iter().all(|genesis| evidence.admit_identity(&genesis.0).is_ok())
    }

    /// Takes in a note; returns the log and how many entries it signs, nothing if the peer was barred for it.
    pub(super) fn on_note(&mut self, now: Timestamp, peer: Peer, note: &[u8]) -> Option<(Origin, u64)> {
        if let Some(head) = self.known(peer, note) {
            return Some((*head.origin(), head.size()));
        }
        let is_ours = |head: &Head| match head.origin().subject {
            Subject::Package(package) => package == self.package,
            Subject::Identity(_) => true,
        };
        let Some(head) = Head::verify(note).ok().filter(is_ours) else {
            self.bar(peer, Fault::BadNote);
            return None;
        };
        let shown = (*head.origin(), head.size());
        self.on_warning(now, peer, &head);
        self.on_head(now, peer, head);
        Some(shown)
    }

    /// The head of these very bytes if they were verified before: most notes were.
    fn known(&self, peer: Peer, note: &[u8]) -> Option<&Head> {
        self.old_heads(peer).find(|head| head.note() == note)
    }

    /// Whether a note says nothing new of its log; what witnesses say of it may be new. Who orders the lines otherwise than
    /// we do is asked for heads more often than need be.
    fn is_old_news(&self, peer: Peer, note: &[u8]) -> bool {
        self.old_heads(peer).any(|head| head.note() == note || note.starts_with(head.without_cosignatures().note()))
    }

    fn old_heads(&self, peer: Peer) -> impl Iterator<Item = &Head> {
        let offered = self.peers.get(&peer).into_iter().flat_map(|state| state.offers.values());
        offered.chain(self.evidence.iter().flat_map(Evidence::heads))
    }

    /// A fork proof that came with a head of its log. One of a log that may be nobody's is looked at once the log is somebody's:
    /// keys are free, and proofs are kept for ever.
    fn on_warning(&mut self, now: Timestamp, peer: Peer, head: &Head) {
        let origin = *head.origin();
        let Some(evidence) = self.evidence.as_ref().filter(|evidence| evidence.matters(&origin)) else { return };
        if !evidence.is_forked(&origin)
            && !self.warned.contains_key(&origin)
            && let Some(proof) = ForkProof::carried_by(head)
        {
            match evidence.size(&origin) {
                0 => self.warn(peer, proof),
                _ => self.on_fork(now, peer, &proof),
            }
        }
        let known = self.evidence.as_ref().and_then(|evidence| evidence.fork_point(&origin));
        if known.is_none_or(|known| !known.is_carried_by(head))
            && let Some(point) = ForkPoint::carried_by(head)
        {
            self.on_point(point);
        }
    }

    /// A log of which nothing is held is forked: one history is fetched all the same, so that there is a head to show to
    /// others with the proof, and then frozen.
    fn warn(&mut self, peer: Peer, proof: ForkProof) {
        if let Entry::Vacant(place) = self.warned.entry(*proof.origin()) {
            self.effects.push_back(Effect::Fault { peer, fault: Fault::Fork(Box::new(proof.clone())) });
            place.insert(Warned { peer, proof, point: None });
        }
    }

    /// A peer shows, beside the fork proof, where its histories part.
    fn on_point(&mut self, point: ForkPoint) {
        let is_kept = match self.warned.get_mut(point.origin()) {
            // Which of several says most is known once one history is held.
            Some(warned) if warned.point.is_none() => {
                warned.point = Some(point.clone());
                true
            }
            Some(_) => false,
            None => self.learn_point(point.clone()),
        };
        if is_kept {
            self.effects.push_back(Effect::ForkPoint(Box::new(point)));
        }
    }

    /// Whether that says more than what is known.
    fn learn_point(&mut self, point: ForkPoint) -> bool {
        let Some(evidence) = &mut self.evidence else { return false };
        let (origin, known) = (*point.origin(), evidence.n_common(point.origin()));
        let is_news = evidence.learn_point(point);
        if evidence.n_common(&origin) != known {
            self.refold();
        }
        is_news
    }

    pub(super) fn on_head(&mut self, now: Timestamp, peer: Peer, head: Head) {
        let origin = *head.origin();
        let evidence = self.evidence.as_ref();
        if evidence.is_some_and(|evidence| evidence.is_forked(&origin)) {
            return self.on_forked_head(now, peer, head);
        }
        if let Some((log, ours)) = evidence.and_then(|evidence| Some((evidence.log(&origin)?, evidence.head(&origin)?)))
        {
            match log.compare(&head) {
                Standing::Ahead { .. } => {}
                Standing::OtherLog => return,
                Standing::Same => return self.on_cosigned(head),
                Standing::Behind => return self.on_older(peer, origin, log.size(), head.size()),
                Standing::Forked => {
                    let proof = ForkProof::from_log(log, ours, &head);
                    let proof = proof.expect("the log holds its own head and contradicts the other");
                    return self.on_fork(now, peer, &proof);
                }
            }
        }
        // Two peers offer what nobody has delivered: equal sizes must be equal roots.
        let others = self.peers.values().filter_map(|state| state.offers.get(&origin));
        if let Some(proof) = others.filter_map(|other| ForkProof::new(other, &head, None).ok()).next() {
            if evidence.is_some_and(|evidence| evidence.size(&origin) > 0) {
                return self.on_fork(now, peer, &proof);
            }
            if evidence.is_some_and(|evidence| evidence.matters(&origin)) {
                self.warn(peer, proof);
            }
        }
        self.remember(peer, head);
    }

    /// Remembers what a peer offers. Where there is no room, logs that are nobody's go first, and then those that may be: an
    /// honest peer may have been made to pass them on.
    fn remember(&mut self, peer: Peer, head: Head) {
        let (origin, evidence) = (*head.origin(), self.evidence.as_ref());
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if let Some(newest) = state.offers.get_mut(&origin) {
            let is_same = (head.size(), head.root()) == (newest.size(), newest.root());
            if head.size() > newest.size() || (is_same && ForkProof::carried_by(&head).is_some()) {
                *newest = head;
            }
            return;
        }
        if state.offers.len() >= EVIDENCE_LOGS {
            let wants = |origin: &&Origin| evidence.is_some_and(|evidence| evidence.wants(origin));
            let matters = |origin: &&Origin| evidence.is_some_and(|evidence| evidence.matters(origin));
            let mut offered = state.offers.keys();
            let unwanted = offered.find(|other| !wants(other)).filter(|_| wants(&&origin));
            let unknown = || state.offers.keys().find(|other| !matters(other)).filter(|_| matters(&&origin));
            let Some(goes) = unwanted.or_else(unknown).copied() else { return };
            state.offers.remove(&goes);
        }
        state.offers.insert(origin, head);
    }

    /// Nothing newer of a forked log is accepted. What witnesses say of the history that is held is heard.
    fn on_forked_head(&mut self, now: Timestamp, peer: Peer, head: Head) {
        let log = self.evidence.as_ref().and_then(|evidence| evidence.log(head.origin()));
        match log.map(|log| log.compare(&head)) {
            Some(Standing::Same) => self.on_cosigned(head),
            Some(Standing::Behind) => {}
            _ if self.compared.get(head.origin()).is_some_and(|compared| compared.is_known(&head)) => {}
            _ => self.start_branch(now, peer, *head.origin()),
        }
    }

    pub(super) fn on_witnessed(&mut self, origin: &Origin, quorum: Option<Quorum>) {
        if let Some(evidence) = &mut self.evidence {
            evidence.witnessed(origin, quorum);
            self.refold();
        }
    }

    /// What witnesses say of something that is held; nothing, if the note has its log's line only.
    fn on_cosigned(&mut self, head: Head) {
        if head != head.without_cosignatures() {
            self.effects.push_back(Effect::Cosigned(head));
        }
    }

    fn on_older(&mut self, peer: Peer, origin: Origin, held: u64, offered: u64) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.offers.remove(&origin);
        if state.lagging.insert(origin, offered) != Some(offered) {
            self.fault(peer, Fault::Rollback { origin, held, offered });
        }
    }

    /// Keeps the evidence, freezes the log, and says what that changes.
    pub(super) fn on_fork(&mut self, now: Timestamp, peer: Peer, proof: &ForkProof) {
        self.effects.push_back(Effect::Fault { peer, fault: Fault::Fork(Box::new(proof.clone())) });
        self.freeze(proof.clone().into());
        self.start_branch(now, peer, *proof.origin());
    }

    pub(super) fn freeze(&mut self, known: KnownFork) {
        let origin = *known.proof.origin();
        if let Some(evidence) = &mut self.evidence {
            evidence.freeze_all([known]);
        }
        self.fetches.remove(&origin);
        for state in self.peers.values_mut() {
            state.offers.remove(&origin);
        }
        self.refold();
    }

    /// Once a log has grown, offers that nobody could judge before can be.
    pub(super) fn judge_offers(&mut self, now: Timestamp, origin: &Origin) {
        self.judge_own_offers(now, origin);
        if matches!(origin.subject, Subject::Identity(_)) {
            self.look_again();
        }
    }

    /// Once more devices may be known: what peers offer of their logs may be the proof of a fork, which nobody minded before.
    fn look_again(&mut self) {
        let Some(evidence) = &self.evidence else { return };
        let mut offers: BTreeMap<Origin, Vec<(Peer, &Head)>> = BTreeMap::new();
        for (peer, state) in &self.peers {
            for (origin, head) in &state.offers {
                offers.entry(*origin).or_default().push((*peer, head));
            }
        }
        let is_new = |origin: &Origin| evidence.size(origin) == 0 && !self.warned.contains_key(origin);
        offers.retain(|origin, _| is_new(origin) && !evidence.is_forked(origin) && evidence.matters(origin));
        let found: Vec<_> = offers.values().filter_map(|heads| contradiction(heads)).collect();
        for (peer, proof) in found {
            self.warn(peer, proof);
        }
    }

    fn judge_own_offers(&mut self, now: Timestamp, origin: &Origin) {
        if let Some(Warned { peer, proof, point }) = self.warned.remove(origin) {
            self.freeze(KnownFork { point, ..proof.into() });
            return self.start_branch(now, peer, *origin);
        }
        let offers: Vec<_> =
            self.peers.iter().filter_map(|(peer, state)| Some((*peer, state.offers.get(origin)?.clone()))).collect();
        for (peer, head) in offers {
            if let Some(proof) = ForkProof::carried_by(&head) {
                return self.on_fork(now, peer, &proof);
            }
            let log = self.evidence.as_ref().and_then(|evidence| evidence.log(origin));
            match log.map(|log| log.compare(&head)) {
                Some(Standing::Forked) => return self.on_head(now, peer, head),
                Some(Standing::Ahead { .. }) | None => {}
                // It offered this before we held more: no rollback.
                Some(_) => {
                    if let Some(state) = self.peers.get_mut(&peer) {
                        state.offers.remove(origin);
                    }
                    self.on_cosigned(head);
                }
            }
        }
    }
}

/// The fork proof that heads of one log carry, or are.
fn contradiction(heads: &[(Peer, &Head)]) -> Option<(Peer, ForkProof)> {
    let mut by_size = BTreeMap::new();
    heads.iter().find_map(|(peer, head)| {
        let other = *by_size.entry(head.size()).or_insert(*head);
        let proof = ForkProof::carried_by(head).or_else(|| ForkProof::new(other, head, None).ok())?;
        Some((*peer, proof))
    })
}
