//! Virtual time and a network that delays, loses, reorders and parts: what all simulations share.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::Timestamp;
use syncra_protocol::sync::Peer;

use crate::rng::Rng;

/// Events in virtual time. Equal times keep the order in which they were scheduled.
#[derive(Debug)]
pub struct Queue<E> {
    /// The time.
    pub now: Timestamp,
    events: BTreeMap<(u64, u64), E>,
    n_scheduled: u64,
}

impl<E> Queue<E> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        // Far from zero, like a real clock.
        Self { now: Timestamp(1_000_000), events: BTreeMap::new(), n_scheduled: 0 }
    }

    /// Makes `event` happen in so many milliseconds.
    pub fn schedule(&mut self, in_ms: u64, event: E) {
        self.events.insert((self.now.0 + in_ms, self.n_scheduled), event);
        self.n_scheduled += 1;
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        self.events.keys().next().map(|(at, _)| Timestamp(*at))
    }

    /// The next event; time moves to it.
    pub fn pop(&mut self) -> Option<E> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = self.now.max(Timestamp(at));
        Some(event)
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Who reaches whom, how fast, and how surely.
#[derive(Debug)]
pub struct Links {
    /// Milliseconds that a message takes.
    pub latency_ms: core::ops::Range<u64>,
    /// Of a hundred messages, how many are lost.
    pub loss_percent: u64,
    parted: BTreeSet<(Peer, Peer)>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Arrives after so many milliseconds: each on its own, so later ones overtake.
    Arrives(u64),
    /// Nobody hears of it.
    Lost,
    /// The sender learns that the other side cannot be reached.
    Parted,
}

impl Links {
    /// Everybody reaches everybody.
    #[must_use]
    pub const fn new(latency_ms: core::ops::Range<u64>, loss_percent: u64) -> Self {
        Self { latency_ms, loss_percent, parted: BTreeSet::new() }
    }

    /// Parts two.
    pub fn part(&mut self, a: Peer, b: Peer) {
        self.parted.insert((a.min(b), a.max(b)));
    }

    /// Lets two reach each other again.
    pub fn heal(&mut self, a: Peer, b: Peer) {
        self.parted.remove(&(a.min(b), a.max(b)));
    }

    /// Whether two are parted.
    #[must_use]
    pub fn is_parted(&self, a: Peer, b: Peer) -> bool {
        self.parted.contains(&(a.min(b), a.max(b)))
    }

    /// Decides on one message.
    pub fn send(&self, rng: &mut Rng, from: Peer, to: Peer) -> Fate {
        if self.is_parted(from, to) {
            return Fate::Parted;
        }
        if rng.chance(self.loss_percent) {
            return Fate::Lost;
        }
        Fate::Arrives(rng.between(self.latency_ms.clone()))
    }
}
