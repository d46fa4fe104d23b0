//! The only reader of time and of the operating system's randomness.
//!
//! Everything else gets a [`Timestamp`] or bytes as arguments, so it can be tested with any clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syncra_protocol::Timestamp;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The wall clock. It may jump either way: use it for display and for records, never to measure a duration.
///
/// A clock before 1970 reads as 0, one after the year 584,556,019 as the largest timestamp.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Time since the first call in this process; never goes back. Feed it to timeouts and rates.
#[must_use]
pub fn monotonic() -> Duration {
    STARTED.elapsed()
}

/// `N` bytes from the operating system's generator.
///
/// # Panics
/// When the system has no randomness at all: there is no key, nonce or token to be made safely then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_after_this_was_written_and_monotonic_time_never_goes_back() {
        assert!(now() > Timestamp(1_700_000_000_000));
        let earlier = monotonic();
        assert!(monotonic() >= earlier);
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<32>(), random::<32>());
    }
}
