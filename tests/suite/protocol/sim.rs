//! Virtual time and a network that delays, loses, reorders and parts: what the machines' simulations share.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::Timestamp;
use syncra_protocol::sync::Peer;

use crate::rng::Rng;

/// Events in virtual time. Equal times keep the order in which they were scheduled.
pub(crate) struct Queue<E> {
    pub(crate) now: Timestamp,
    events: BTreeMap<(u64, u64), E>,
    n_scheduled: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        // Far from zero, like a real clock.
        Self { now: Timestamp(1_000_000), events: BTreeMap::new(), n_scheduled: 0 }
    }

    pub(crate) fn schedule(&mut self, in_ms: u64, event: E) {
        self.events.insert((self.now.0 + in_ms, self.n_scheduled), event);
        self.n_scheduled += 1;
    }

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.events.keys().next().map(|(at, _)| Timestamp(*at))
    }

    /// The next event; time moves to it.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = self.now.max(Timestamp(at));
        Some(event)
    }
}

/// Who reaches whom, how fast, and how surely.
pub(crate) struct Links {
    pub(crate) latency_ms: core::ops::Range<u64>,
    pub(crate) loss_percent: u64,
    parted: BTreeSet<(Peer, Peer)>,
}

/// What became of a message.
pub(crate) enum Fate {
    /// Arrives after so many milliseconds: each on its own, so later ones overtake.
    Arrives(u64),
    /// Nobody hears of it.
    Lost,
    /// The sender learns that the other side cannot be reached.
    Parted,
}

impl Links {
    pub(crate) fn new(latency_ms: core::ops::Range<u64>, loss_percent: u64) -> Self {
        Self { latency_ms, loss_percent, parted: BTreeSet::new() }
    }

    pub(crate) fn part(&mut self, a: Peer, b: Peer) {
        self.parted.insert((a.min(b), a.max(b)));
    }

    pub(crate) fn heal(&mut self, a: Peer, b: Peer) {
        self.parted.remove(&(a.min(b), a.max(b)));
    }

    pub(crate) fn is_parted(&self, a: Peer, b: Peer) -> bool {
        self.parted.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn send(&self, rng: &mut Rng, from: Peer, to: Peer) -> Fate {
        if self.is_parted(from, to) {
            return Fate::Parted;
        }
        if rng.chance(self.loss_percent) {
            return Fate::Lost;
        }
        Fate::Arrives(rng.between(self.latency_ms.clone()))
    }
}
