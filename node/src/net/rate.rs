//! A token bucket: so much at once, then so much a second.

use std::time::{Duration, Instant};

/// What may be done now. Time is an argument and never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// Tokens when it is full.
    size: u32,
    per_s: u32,
    /// Millionths of a token.
    level: u64,
    at: Instant,
}

/// One token, in the unit of [`Bucket::level`].
const TOKEN: u64 = 1_000_000;

impl Bucket {
    /// A full one.
    pub(crate) fn new(size: u32, per_s: u32, now: Instant) -> Self {
        Self { size, per_s, level: u64::from(size) * TOKEN, at: now }
    }

    /// Takes one token; false if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let rest = self.level.checked_sub(TOKEN);
        self.level = rest.unwrap_or(self.level);
        rest.is_some()
    }

    /// How long until there is a token.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        let lacking = TOKEN.saturating_sub(self.level);
        Duration::from_micros(lacking.div_ceil(u64::from(self.per_s.max(1))))
    }

    /// Whether nothing was taken for so long that it might as well be forgotten.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level == u64::from(self.size) * TOKEN
    }

    fn fill(&mut self, now: Instant) {
        // A microsecond brings `per_s` millionths of a token.
        let passed = u64::try_from(now.saturating_duration_since(self.at).as_micros()).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(u64::from(self.per_s));
        self.level = self.level.saturating_add(more).min(u64::from(self.size) * TOKEN);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_at_once_and_then_so_much_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(5, 2, start);
        assert_eq!((0..9).filter(|_| bucket.take(start)).count(), 5);
        assert_eq!(bucket.wait(start), Duration::from_millis(500));
        let later = start + Duration::from_millis(1_500);
        assert!(!bucket.is_full(later));
        assert_eq!((0..9).filter(|_| bucket.take(later)).count(), 3);
        assert!(!bucket.take(start), "time that goes back brings nothing");
        let year = Duration::from_secs(365 * 86_400);
        assert!(bucket.is_full(later + year * 1_000) && bucket.wait(later) == Duration::ZERO);
    }
}
