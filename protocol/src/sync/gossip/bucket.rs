//! Token buckets, one for each of a bounded number of keys.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::Timestamp;

/// How much and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Tokens of a full bucket.
    pub(super) burst: u32,
    /// How long one token takes to come back.
    pub(super) refill: Duration,
}

/// Buckets that begin full. What is full again is forgotten, so only keys in use take room.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    allowance: Allowance,
    limit: usize,
    /// When each bucket will be full again: all that there is to know of it.
    full_at: BTreeMap<K, Timestamp>,
}

impl<K: Ord> Buckets<K> {
    pub(super) const fn new(allowance: Allowance, limit: usize) -> Self {
        Self { allowance, limit, full_at: BTreeMap::new() }
    }

    /// Takes a token of `key` if there is one. With too many keys in use at once there is none for others.
    pub(super) fn take(&mut self, now: Timestamp, key: K) -> bool {
        let Allowance { burst, refill } = self.allowance;
        if self.full_at.len() >= self.limit && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= self.limit {
                return false;
            }
        }
        let empty_for = refill.saturating_mul(burst);
        let full_at = self.full_at.entry(key).or_insert(now);
        let next = plausible(now, *full_at, empty_for).after(refill);
        if next > now.after(empty_for) {
            return false;
        }
        *full_at = next;
        true
    }

    /// When there will be a token of `key`.
    pub(super) fn next_at(&self, now: Timestamp, key: &K) -> Timestamp {
        let Allowance { burst, refill } = self.allowance;
        let empty_for = refill.saturating_mul(burst);
        let full_at = self.full_at.get(key).map_or(now, |full_at| plausible(now, *full_at, empty_for));
        // It fits once the bucket with one token less is no emptier than empty.
        now.after(full_at.after(refill).since(now.after(empty_for)))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.full_at.len()
    }
}

/// No bucket fills for longer than `empty_for`: else the clock was set back, and it counts as full.
fn plausible(now: Timestamp, full_at: Timestamp, empty_for: Duration) -> Timestamp {
    if full_at > now.after(empty_for) { now } else { full_at.max(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { burst: 3, refill: Duration::from_secs(10) };

    #[test]
    fn a_burst_and_then_one_for_each_refill() {
        let mut buckets = Buckets::new(ALLOWANCE, 2);
        let mut now = Timestamp(1_000_000);
        let taken = (0..10).filter(|_| buckets.take(now, 1)).count();
        assert_eq!(taken, 3);
        for _ in 0..5 {
            now = now.after(ALLOWANCE.refill);
            assert!(buckets.take(now, 1));
            assert!(!buckets.take(now, 1));
        }
        assert!(buckets.take(now, 2), "another key has its own");
        let at = buckets.next_at(now, &1);
        assert!(at > now && at <= now.after(ALLOWANCE.refill));
        assert!(!buckets.take(Timestamp(at.0 - 1), 1) && buckets.take(at, 1));
    }

    #[test]
    fn only_keys_in_use_take_room() {
        let mut buckets = Buckets::new(ALLOWANCE, 2);
        let now = Timestamp(1_000_000);
        assert!(buckets.take(now, 1) && buckets.take(now, 2));
        assert!(!buckets.take(now, 3), "no room, and nobody is pushed out");
        assert!(buckets.take(now.after(ALLOWANCE.refill), 3));
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_costs_nothing() {
        let mut buckets = Buckets::new(ALLOWANCE, 2);
        assert!(buckets.take(Timestamp(1_000_000_000), 1));
        let back = Timestamp(1_000);
        assert_eq!(buckets.next_at(back, &1), back);
        let taken = (0..10).filter(|_| buckets.take(back, 1)).count();
        assert_eq!(taken, 3);
    }
}
