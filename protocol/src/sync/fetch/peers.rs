//! What is known of one peer of a fetch: what it has, how fast it is, when it may be asked.

use std::collections::BTreeSet;

use core::time::Duration;

use super::{Backoff, Haves, Reach, STALL_MAX, STALL_MIN};
use crate::Timestamp;

/// Bytes a second assumed of a peer that has sent nothing yet: slow, so that its first batch is not given up early.
const UNKNOWN_RATE: u64 = 256 << 10;
/// How many times longer than its usual pace a peer may take for a part.
const PATIENCE: u64 = 4;

#[derive(Debug)]
pub(super) struct PeerState {
    pub(super) reach: Reach,
    haves: Haves,
    /// Of [`Haves::All`], what it turned out not to have.
    lacks: BTreeSet<u32>,
    /// Bytes a second; none before its first batch has ended.
    pub(super) rate: Option<u64>,
    /// The last sign of life in a batch; when it was first known before that.
    pub(super) heard_at: Timestamp,
    pub(super) rests_until: Timestamp,
    pub(super) backoff: Backoff,
}

impl PeerState {
    /// A peer that can be asked now. If it was known, its rate is kept, and so is its rest: saying again what it has
    /// must not let a failing peer be asked sooner.
    pub(super) fn new(now: Timestamp, reach: Reach, haves: Haves, known: Option<Self>) -> Self {
        let rests_until = known.as_ref().map_or(now, |known| known.rests_until);
        let heard_at = known.as_ref().map_or(now, |known| known.heard_at);
        let backoff = known.as_ref().map(|known| known.backoff).unwrap_or_default();
        let rate = known.and_then(|known| known.rate);
        Self { reach, haves, lacks: BTreeSet::new(), rate, heard_at, rests_until, backoff }
    }

    pub(super) fn has(&self, part: u32) -> bool {
        match &self.haves {
            Haves::All => !self.lacks.contains(&part),
            Haves::Parts(parts) => parts.contains(&part),
        }
    }

    pub(super) fn gain(&mut self, parts: impl IntoIterator<Item = u32>) {
        for part in parts {
            self.lacks.remove(&part);
            if let Haves::Parts(held) = &mut self.haves {
                held.insert(part);
            }
        }
    }

    pub(super) fn lose(&mut self, parts: &BTreeSet<u32>) {
        match &mut self.haves {
            Haves::All => self.lacks.extend(parts),
            Haves::Parts(held) => held.retain(|part| !parts.contains(part)),
        }
    }

    /// How long the next `n_bytes` may take without a sign of life.
    pub(super) fn patience(&self, n_bytes: u64) -> Duration {
        let seconds = n_bytes.saturating_mul(PATIENCE) / self.rate.unwrap_or(UNKNOWN_RATE).max(1);
        Duration::from_secs(seconds).clamp(STALL_MIN, STALL_MAX)
    }

    /// How long `n_bytes` will probably take.
    pub(super) fn estimate(&self, n_bytes: u64) -> Duration {
        Duration::from_millis(n_bytes.saturating_mul(1_000) / self.rate.unwrap_or(UNKNOWN_RATE).max(1))
    }

    /// A moving average over batches.
    pub(super) fn learn_rate(&mut self, n_bytes: u64, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = n_bytes.saturating_mul(1_000) / millis;
        self.rate = Some(self.rate.map_or(rate, |old| (old / 4) * 3 + rate / 4).max(1));
    }
}
