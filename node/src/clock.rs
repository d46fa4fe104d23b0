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

/// [`monotonic`] time for machines that take timestamps: for waits and rates only, it is no date.
#[must_use]
pub fn steady() -> Timestamp {
    Timestamp(0).after(monotonic())
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

/// Milliseconds since the Unix epoch as `2026-01-31 12:00:00 UTC`. Howard Hinnant's `civil_from_days`.
#[must_use]
pub fn utc(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", second % 60)
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
