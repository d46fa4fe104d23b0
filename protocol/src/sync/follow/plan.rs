//! Whom to ask for what, and when to stop waiting.

use super::{
    ASK_TIMEOUT, ASKS_PER_PEER, Ask, Effect, Failure, Fault, Fetch, Follower, HEADS_ASKS, HEADS_INTERVAL,
    HEADS_INTERVAL_MOST, HEADS_SILENCE, PeerState,
};
use crate::Timestamp;
use crate::log::Log;
use crate::origin::{Origin, Subject};
use crate::sync::{Backoff, Peer};

/// Barred peers remembered after they have gone.
const BARRED_PEERS: usize = 256;

impl PeerState {
    fn rest_until(&mut self, until: Timestamp) {
        self.rests_until = until;
        if !self.heads_asked {
            self.heads_at = until;
        }
    }
}

impl Follower {
    pub(super) fn on_peer_up(&mut self, now: Timestamp, peer: Peer) {
        let state = self.peers.entry(peer).or_default();
        if !state.is_barred {
            state.heads_at = now;
            state.rests_until = now;
            state.heads_asked = false;
        }
    }

    pub(super) fn on_peer_gone(&mut self, peer: Peer) {
        self.forget_asks(peer);
        match self.peers.get_mut(&peer) {
            Some(state) if state.is_barred => *state = PeerState { is_barred: true, ..PeerState::default() },
            _ => drop(self.peers.remove(&peer)),
        }
        if self.peers.values().filter(|state| state.is_barred).count() > BARRED_PEERS {
            self.peers.remove(&peer);
        }
    }

    pub(super) fn on_failed(&mut self, now: Timestamp, peer: Peer, ask: Ask, failure: Failure) {
        let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_barred) else { return };
        match ask {
            Ask::Heads if state.heads_asked => state.heads_asked = false,
            Ask::Heads => return, // given up already
            Ask::Entries(origin) if self.fetches.get(&origin).is_some_and(|fetch| fetch.peer == peer) => {
                self.fetches.remove(&origin);
                if failure == Failure::Refused {
                    state.offers.remove(&origin); // it may well have the other logs
                    return;
                }
            }
            Ask::Entries(origin) if self.branches.get(&origin).is_some_and(|branch| branch.peer == peer) => {
                self.branches.remove(&origin);
                if failure != Failure::Refused {
                    state.branches_asked.remove(&origin); // with its next head
                }
            }
            Ask::Entries(_) => return, // given up already
        }
        let until = match failure {
            Failure::Busy { retry_after } => Backoff::asked(now, retry_after),
            Failure::Unsupported => now.after(Backoff::LAST),
            _ => state.backoff.fail(now),
        };
        state.rest_until(until);
        match failure {
            Failure::Oversized => self.bar(peer, Fault::Oversized),
            Failure::Malformed => self.bar(peer, Fault::Malformed),
            Failure::Slow => self.fault(peer, Fault::Stalled { ask }),
            Failure::Refused | Failure::Busy { .. } | Failure::Unsupported | Failure::Lost => {}
        }
    }

    fn forget_asks(&mut self, peer: Peer) {
        self.fetches.retain(|_, fetch| fetch.peer != peer);
        self.branches.retain(|_, branch| branch.peer != peer);
    }

    /// Asks and believes the peer nothing more.
    pub(super) fn bar(&mut self, peer: Peer, fault: Fault) {
        self.forget_asks(peer);
        self.peers.insert(peer, PeerState { is_barred: true, ..PeerState::default() });
        self.fault(peer, fault);
    }

    /// Leaves the peer alone for a while. What it offered is still known to be missing.
    pub(super) fn rest(&mut self, now: Timestamp, peer: Peer, ask: Ask) {
        if let Some(state) = self.peers.get_mut(&peer) {
            let until = state.backoff.fail(now);
            state.rest_until(until);
        }
        self.fault(peer, Fault::Stalled { ask });
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.expire_branches(now);
        let late = |deadline: &Timestamp| *deadline <= now;
        let fetches: Vec<_> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| late(&fetch.deadline))
            .map(|(log, fetch)| (*log, fetch.peer))
            .collect();
        for (origin, peer) in fetches {
            self.fetches.remove(&origin);
            self.rest(now, peer, Ask::Entries(origin));
        }
        let heads = self.peers.iter_mut().filter(|(_, state)| state.heads_asked && late(&state.heads_at));
        let mut stalled = Vec::new();
        for (peer, state) in heads {
            state.heads_asked = false;
            stalled.push(*peer);
        }
        for peer in stalled {
            self.rest(now, peer, Ask::Heads);
        }
    }

    pub(super) fn plan(&mut self, now: Timestamp) {
        self.now = now;
        self.ask_heads(now);
        for origin in self.behind_in_order() {
            let rests = self.resting.get(&origin).is_some_and(|(until, _)| *until > now);
            let is_busy = self.fetches.contains_key(&origin) || self.committing.contains_key(&origin);
            // Anybody can sign a log of somebody's identity: such are looked at one after the other.
            let is_unknown =
                |origin: &Origin| self.evidence.as_ref().is_some_and(|evidence| !evidence.is_owners(origin));
            let waits = is_unknown(&origin) && self.fetches.keys().any(is_unknown);
            let is_refused = self.refused.contains(&origin) || self.left_out.contains(&origin);
            if !rests && !is_busy && !waits && !is_refused {
                self.start_fetch(now, origin);
            }
        }
        self.tell_retry();
    }

    fn ask_heads(&mut self, now: Timestamp) {
        let n_asked = self.peers.values().filter(|state| state.heads_asked && state.counts_until > now).count();
        let due = |state: &PeerState| !state.is_barred && !state.heads_asked && state.heads_at <= now;
        let n_more = HEADS_ASKS.saturating_sub(n_asked);
        for (peer, state) in self.peers.iter_mut().filter(|(_, state)| due(state)).take(n_more) {
            state.heads_asked = true;
            state.heads_at = now.after(ASK_TIMEOUT);
            state.counts_until = now.after(HEADS_SILENCE);
            self.effects.push_back(Effect::AskHeads { peer: *peer });
        }
    }

    /// Identities before packages: their logs say whose entries count. Devices that are known before others, for theirs
    /// may admit these.
    fn behind_in_order(&self) -> Vec<Origin> {
        let mut behind: Vec<_> = self.behind().into_keys().collect();
        let is_known = |origin: &Origin| self.evidence.as_ref().is_some_and(|evidence| evidence.is_owners(origin));
        behind.sort_by_cached_key(|origin| (matches!(origin.subject, Subject::Package(_)), !is_known(origin), *origin));
        behind
    }

    fn start_fetch(&mut self, now: Timestamp, origin: Origin) {
        let Some(evidence) = &self.evidence else { return };
        let work = evidence.log(&origin).cloned().unwrap_or_else(|| Log::new(origin));
        let from = work.size();
        let Some(peer) = self.best_peer(now, &origin, from) else { return };
        let deadline = now.after(ASK_TIMEOUT);
        self.fetches.insert(origin, Fetch { peer, deadline, work, entries: Vec::new(), n_bytes: 0 });
        self.effects.push_back(Effect::AskEntries { peer, origin, from });
    }

    /// Who offers the newest head; of several the one with fewer failures and fewer asks.
    fn best_peer(&self, now: Timestamp, origin: &Origin, held: u64) -> Option<Peer> {
        let n_asks = |peer: &Peer| self.fetches.values().filter(|fetch| fetch.peer == *peer).count();
        let free = self.peers.iter().filter(|(peer, state)| state.rests_until <= now && n_asks(peer) < ASKS_PER_PEER);
        let offers = free.filter_map(|(peer, state)| {
            let size = state.offers.get(origin)?.size();
            (size > held).then_some((size, core::cmp::Reverse((state.backoff.n_failures, n_asks(peer))), *peer))
        });
        offers.max().map(|(.., peer)| peer)
    }

    /// Says so when something is missing and nobody is being asked for it.
    fn tell_retry(&mut self) {
        let is_asking = !self.fetches.is_empty() || !self.committing.is_empty();
        let is_missing = self.evidence.as_ref().is_none_or(|evidence| !evidence.missing().is_empty());
        let lacks = is_missing || !self.behind().is_empty();
        let at = self.next_timeout().filter(|_| lacks && !is_asking && !self.peers.values().any(|p| p.heads_asked));
        if at.is_some() && at != self.retry_at {
            self.effects.extend(at.map(Effect::RetryAt));
        }
        self.retry_at = at;
    }

    /// When [`Follower::handle_timeout`] is to be called, if nothing else happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let open = self.peers.values().filter(|state| !state.is_barred);
        let fetches = self.fetches.values().map(|fetch| fetch.deadline);
        let resting = self.resting.values().map(|(until, _)| *until);
        let branches = self.branches.values().map(|branch| branch.deadline);
        let rests = open.flat_map(|state| [state.heads_at, state.rests_until]);
        // Only while somebody waits for a place.
        let is_due = |state: &&PeerState| !state.is_barred && !state.heads_asked && state.heads_at <= self.now;
        let has_due = self.peers.values().any(|state| is_due(&state));
        let asked =
            self.peers.values().filter(move |state| has_due && state.heads_asked).map(|state| state.counts_until);
        let times = rests.chain(asked).chain(fetches).chain(branches).chain(resting);
        // What was due at the last call and is still there waits for an event, not for time.
        times.filter(|at| *at > self.now).min()
    }

    /// After an answer: heads again in a while.
    pub(super) fn heads_answered(&mut self, now: Timestamp, peer: Peer, is_quiet: bool) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.heads_asked = false;
            state.n_quiet = if is_quiet { state.n_quiet.saturating_add(1) } else { 0 };
            let interval = HEADS_INTERVAL.saturating_mul(1 << state.n_quiet.saturating_sub(1).min(16));
            state.heads_at = now.after(interval.min(HEADS_INTERVAL_MOST));
            state.backoff.succeed();
        }
    }
}
