//! Who is answered when: a bounded number at a time, and of each peer only a few, so that a crowd of slow peers, or one
//! with many streams, makes others wait for a moment and not for ever.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use syncra_protocol::key::DeviceKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::limits::CONNECTIONS;

/// The turns of one kind of work. A handle.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Arc<Semaphore>,
    n_per_peer: usize,
    peers: Mutex<HashMap<DeviceKey, Weak<Queue>>>,
    n_waiting: AtomicUsize,
}

/// The places of one peer.
#[derive(Debug)]
struct Queue {
    places: Arc<Semaphore>,
    /// Held by the one task of the peer that stands in the line of all.
    head: tokio::sync::Mutex<()>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _of_peer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    _queue: Arc<Queue>,
}

/// Counts somebody who waits for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// `n` at the same time, `n_per_peer` of one peer.
    pub(super) fn new(n: usize, n_per_peer: usize) -> Self {
        let all = Arc::new(Semaphore::new(n));
        Self(Arc::new(Inner { all, n_per_peer, peers: Mutex::default(), n_waiting: AtomicUsize::new(0) }))
    }

    fn queue(&self, peer: DeviceKey) -> Arc<Queue> {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = peers.get(&peer).and_then(Weak::upgrade) {
            return queue;
        }
        if peers.len() >= CONNECTIONS as usize {
            peers.retain(|_, queue| queue.strong_count() > 0);
        }
        let queue = Arc::new(Queue { places: Arc::new(Semaphore::new(self.0.n_per_peer)), head: Default::default() });
        peers.insert(peer, Arc::downgrade(&queue));
        queue
    }

    /// Waits for a turn. In the line of all stands one task of each peer.
    pub(super) async fn take(&self, peer: DeviceKey) -> Option<Turn> {
        let queue = self.queue(peer);
        let of_peer = Arc::clone(&queue.places).acquire_owned().await.ok()?;
        let of_all = {
            let _head = queue.head.lock().await;
            self.0.n_waiting.fetch_add(1, Ordering::Relaxed);
            let _waiting = Waiting(&self.0.n_waiting);
            Arc::clone(&self.0.all).acquire_owned().await.ok()?
        };
        Some(Turn { _of_peer: of_peer, _of_all: of_all, _queue: queue })
    }

    /// A turn if there is one now.
    pub(super) fn try_take(&self, peer: DeviceKey) -> Option<Turn> {
        let queue = self.queue(peer);
        let of_peer = Arc::clone(&queue.places).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.0.all).try_acquire_owned().ok()?;
        Some(Turn { _of_peer: of_peer, _of_all: of_all, _queue: queue })
    }

    /// Whether anybody waits for others to finish.
    fn is_crowded(&self) -> bool {
        self.0.n_waiting.load(Ordering::Relaxed) > 0
    }

    /// Ends when whoever has the turn is too slow to keep it: it takes less than [`SLOWEST`], or, while others wait, less
    /// than [`SLOWEST_OF_MANY`]. `sent` tells the bytes so far.
    pub(super) async fn overstayed(&self, sent: impl Fn() -> u64) {
        let (mut looks, mut of_look, mut of_period) = (0, sent(), sent());
        loop {
            tokio::time::sleep(LOOK).await;
            looks += 1;
            let now = sent();
            let is_slow =
                |since: u64, looks: u64, per_s: u64| now.saturating_sub(since) < looks * LOOK.as_secs() * per_s;
            if self.is_crowded() && is_slow(of_look, 1, SLOWEST_OF_MANY) {
                return;
            }
            of_look = now;
            if looks == PERIOD {
                if is_slow(of_period, PERIOD, SLOWEST) {
                    return;
                }
                (looks, of_period) = (0, now);
            }
        }
    }
}

/// Between two looks at how fast a peer takes what it asked for.
const LOOK: Duration = Duration::from_secs(5);
/// Looks over which a peer is allowed to pause.
const PERIOD: u64 = 12;
/// Bytes a second below which a peer loses its turn: below any line that people use, above one byte now and then.
const SLOWEST: u64 = 1 << 10;
/// The same while others wait for a turn.
const SLOWEST_OF_MANY: u64 = 32 << 10;

#[cfg(test)]
mod tests {
    use syncra_protocol::key::DeviceSecret;
    use tokio::time::Instant;

    use super::*;

    fn peer(n: u8) -> DeviceKey {
        DeviceSecret::from_seed(&[n; 32]).public()
    }

    #[tokio::test]
    async fn a_peer_with_many_streams_leaves_turns_to_others() {
        let turns = Turns::new(6, 4);
        let mut held = Vec::new();
        while let Some(turn) = turns.try_take(peer(1)) {
            held.push(turn);
        }
        assert_eq!(held.len(), 4);
        held.extend(turns.try_take(peer(2)));
        held.extend(turns.try_take(peer(3)));
        assert_eq!(held.len(), 6);
        assert!(turns.try_take(peer(4)).is_none());
        assert!(!turns.is_crowded());
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(peer(4)).await }
        });
        while !turns.is_crowded() {
            tokio::task::yield_now().await;
        }
        held.pop();
        assert!(waiting.await.expect("no panic").is_some());
        assert!(!turns.is_crowded());
    }

    #[tokio::test]
    async fn who_gave_up_waiting_makes_no_crowd() {
        let turns = Turns::new(1, 1);
        let _held = turns.try_take(peer(1)).expect("free");
        let mut waiting = Box::pin(turns.take(peer(2)));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(turns.is_crowded());
        drop(waiting);
        assert!(!turns.is_crowded());
    }

    #[tokio::test]
    async fn peers_that_come_and_go_are_forgotten() {
        let turns = Turns::new(1, 1);
        for n in 0..=u8::MAX {
            drop(turns.try_take(peer(n)));
        }
        let mut seed = [0; 32];
        for n in 0..CONNECTIONS {
            seed[..4].copy_from_slice(&n.to_le_bytes());
            drop(turns.try_take(DeviceSecret::from_seed(&seed).public()));
        }
        assert!(turns.0.peers.lock().expect("no poison").len() <= CONNECTIONS as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_loses_its_turn_sooner_when_others_wait() {
        let turns = Turns::new(1, 1);
        let began = Instant::now();
        // One byte a second.
        let dripping = || began.elapsed().as_secs();
        turns.overstayed(dripping).await;
        assert_eq!(began.elapsed(), LOOK * 12);

        let _held = turns.try_take(peer(1)).expect("free");
        let mut waiting = Box::pin(turns.take(peer(2)));
        assert!(futures::poll!(&mut waiting).is_pending());
        let (again, steady) = (Instant::now(), || began.elapsed().as_secs() * (SLOWEST_OF_MANY + 1));
        assert!(tokio::time::timeout(LOOK * 100, turns.overstayed(steady)).await.is_err(), "fast enough");
        let modest = || again.elapsed().as_secs() * SLOWEST * 2;
        let now = Instant::now();
        turns.overstayed(modest).await;
        assert_eq!(now.elapsed(), LOOK);
    }
}
