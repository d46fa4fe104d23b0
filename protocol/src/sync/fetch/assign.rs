//! Who sends which parts.

use std::collections::BTreeSet;

use core::cmp::Reverse;
use core::time::Duration;

use super::{BATCH_PARTS, Batch, BatchId, Effect, Fetcher, PeerState, SHARED_BATCH_BYTES, SILENCE, SOLO_BATCH_BYTES};
use crate::Timestamp;
use crate::sync::Peer;

/// Open parts looked at for the rarest: bounds the work of one assignment whatever the size of the release.
const SCANNED_PARTS: usize = 1_024;
/// A second copy is asked for if the first is expected to take that much longer than twice the second's time.
const COPY_MARGIN: Duration = Duration::from_secs(1);

impl Fetcher {
    /// One batch for each free peer, nearest first, until nobody can be given any more.
    pub(super) fn plan(&mut self, now: Timestamp) {
        self.now = now;
        while !self.is_done {
            let free = self.free_peers(now);
            let before = self.n_batches;
            for peer in free {
                if let Some(parts) = self.choose(now, peer) {
                    self.start(now, peer, parts);
                }
            }
            if self.n_batches == before {
                break;
            }
        }
        self.check_starved(now);
    }

    fn n_batches_of(&self, peer: Peer) -> usize {
        self.batches.values().filter(|batch| batch.peer == peer).count()
    }

    fn free_peers(&self, now: Timestamp) -> Vec<Peer> {
        let can_be_asked = |(peer, state): &(&Peer, &PeerState)| {
            state.rests_until <= now && self.n_batches_of(**peer) < state.reach.batches()
        };
        let mut free: Vec<_> = self.peers.iter().filter(can_be_asked).collect();
        free.sort_by_key(|(peer, state)| (state.reach, self.n_batches_of(**peer), state.estimate(1 << 20), **peer));
        free.into_iter().map(|(peer, _)| *peer).collect()
    }

    fn choose(&self, now: Timestamp, peer: Peer) -> Option<BTreeSet<u32>> {
        let state = &self.peers[&peer];
        if self.open.is_empty() {
            return if self.n_batches_of(peer) == 0 { self.choose_copy(now, peer, state) } else { None };
        }
        let n_usable = self.peers.values().filter(|state| state.rests_until <= now).count();
        let (first, limit) = if n_usable == 1 {
            // Who has just answered first is seldom the only one: the others' answers are on their way.
            let limit = if state.rate.is_some() { SOLO_BATCH_BYTES } else { SHARED_BATCH_BYTES };
            (self.open.iter().copied().find(|part| state.has(*part))?, limit)
        } else {
            (self.rarest(state)?, SHARED_BATCH_BYTES)
        };
        // Neighbours make one range of the request.
        let mut parts = BTreeSet::from([first]);
        let mut n_bytes = self.missing[&first];
        for part in first.saturating_add(1).. {
            n_bytes = n_bytes.saturating_add(self.missing.get(&part).copied().unwrap_or(0));
            if !self.open.contains(&part) || !state.has(part) || n_bytes > limit || parts.len() == BATCH_PARTS {
                break;
            }
            parts.insert(part);
        }
        Some(parts)
    }

    /// Of the open parts that this peer has, one that the fewest others have.
    fn rarest(&self, state: &PeerState) -> Option<u32> {
        let span = u64::from(*self.open.last()?) + 1;
        let start = u32::try_from(mix(self.seed, self.n_batches) % span).unwrap_or(0);
        let around = self.open.range(start..).chain(self.open.range(..start));
        let candidates = around.copied().filter(|part| state.has(*part)).take(SCANNED_PARTS);
        let n_having = |part: u32| self.peers.values().filter(|state| state.has(part)).count();
        candidates.min_by_key(|part| n_having(*part))
    }

    /// The end of the batch that is expected last, if this peer would probably be much sooner.
    fn choose_copy(&self, now: Timestamp, peer: Peer, state: &PeerState) -> Option<BTreeSet<u32>> {
        let is_copied = |part: &u32| self.batches.values().filter(|batch| batch.parts.contains(part)).count() > 1;
        let single = |batch: &Batch| batch.parts.iter().filter(|part| !is_copied(part)).count() > 0;
        let others = self.batches.values().filter(|batch| batch.peer != peer && single(batch));
        let slowest = others.max_by_key(|batch| (self.time_left(now, batch), Reverse(batch.peer)))?;
        let mut parts = BTreeSet::new();
        let mut n_bytes = 0_u64;
        for part in slowest.parts.iter().rev().filter(|part| state.has(**part) && !is_copied(part)) {
            n_bytes = n_bytes.saturating_add(self.missing[part]);
            if !parts.is_empty() && n_bytes > SHARED_BATCH_BYTES {
                break;
            }
            parts.insert(*part);
        }
        let is_sooner = self.time_left(now, slowest) > state.estimate(n_bytes) * 2 + COPY_MARGIN;
        (!parts.is_empty() && is_sooner).then_some(parts)
    }

    /// How long a batch will probably take yet. One that is late against its peer's own pace is expected to stay so.
    fn time_left(&self, now: Timestamp, batch: &Batch) -> Duration {
        let n_bytes: u64 = batch.parts.iter().map(|part| self.missing[part]).sum();
        let Some(state) = self.peers.get(&batch.peer) else { return Duration::MAX };
        if now >= silent_at(state, batch) {
            return Duration::MAX;
        }
        // A guess at the pace of a peer that was never measured is no reason to have bytes sent twice while they come.
        let usual = if state.rate.is_some() { state.estimate(n_bytes) } else { Duration::ZERO };
        let elapsed = now.since(batch.started);
        let n_bytes_seen = batch.n_bytes_done.max(batch.n_bytes_seen);
        if n_bytes_seen == 0 {
            return usual.max(elapsed);
        }
        let observed = elapsed.as_millis().saturating_mul(u128::from(n_bytes)) / u128::from(n_bytes_seen);
        let observed = Duration::from_millis(u64::try_from(observed).unwrap_or(u64::MAX));
        usual.max(observed)
    }

    /// When to think again of who is overtaken because nothing is heard of it. Only a peer with nothing else to do can.
    pub(super) fn silences(&self) -> impl Iterator<Item = Timestamp> {
        let batches = self.batches.values().filter(|_| self.open.is_empty());
        batches.filter_map(|batch| Some(silent_at(self.peers.get(&batch.peer)?, batch)))
    }

    fn start(&mut self, now: Timestamp, peer: Peer, parts: BTreeSet<u32>) {
        let id = BatchId(self.n_batches);
        self.n_batches += 1;
        let largest = parts.iter().map(|part| self.missing[part]).max().unwrap_or(0);
        for part in &parts {
            self.open.remove(part);
        }
        self.effects.push_back(Effect::Fetch { batch: id, peer, parts: parts.iter().copied().collect() });
        let deadline = now.after(self.peers[&peer].patience(largest));
        let batch =
            Batch { peer, parts, n_bytes_done: 0, n_bytes_seen: 0, n_bytes_since_sign: 0, started: now, deadline };
        self.batches.insert(id, batch);
    }

    fn check_starved(&mut self, now: Timestamp) {
        let is_starved = !self.is_done && self.batches.is_empty();
        let resting = self.peers.values().map(|state| state.rests_until).filter(|until| *until > now);
        let starved = is_starved.then(|| (self.missing.len(), resting.min()));
        if let Some((n_missing, retry_at)) = starved.filter(|_| starved != self.starved) {
            self.effects.push_back(Effect::Starved { n_missing, retry_at });
        }
        self.starved = starved;
    }
}

/// When the peer of a batch counts as silent, if nothing is heard of it until then. What it sends of another batch
/// counts: it may be sending one after the other.
fn silent_at(state: &PeerState, batch: &Batch) -> Timestamp {
    state.heard_at.max(batch.started).after(SILENCE)
}

/// A number that looks random, for a place to begin at.
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}
