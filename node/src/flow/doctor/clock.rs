//! The clock decides nothing, but people read what it says, and first sights are dated by it.

use std::path::Path;
use std::time::UNIX_EPOCH;

use super::Check;
use crate::clock;
use crate::home::Layout;

/// Before this program was written, in milliseconds since the Unix epoch: 2026-01-01.
const TOO_EARLY_MS: u64 = 1_767_225_600_000;
/// How far the clock may be behind what this home has written.
const SLACK_MS: u64 = 600_000;
/// A home that was not used for so long is more rarely met than a clock that is wrong.
const UNUSED_MS: u64 = 180 * DAY_MS;
const DAY_MS: u64 = 86_400_000;

/// Compares the clock with the newest thing that this home has written.
pub(super) fn check(layout: &Layout) -> Check {
    verdict(clock::now().0, newest(layout))
}

fn verdict(now: u64, newest: Option<u64>) -> Check {
    let fix = "set the clock of this machine, best by time servers (NTP)";
    if now < TOO_EARLY_MS {
        return Check::bad("clock", format!("it says {}, before this program was written", clock::utc(now)), fix);
    }
    let Some(newest) = newest else {
        return Check::good("clock", format!("{}; there is nothing to compare it with yet", clock::utc(now)));
    };
    if now.saturating_add(SLACK_MS) < newest {
        let (says, wrote) = (clock::utc(now), clock::utc(newest));
        let days = (newest - now) / DAY_MS;
        return Check::bad(
            "clock",
            format!("it says {says}, but this home was written at {wrote}, {days} days later: one of them is wrong"),
            format!("{fix}; if it is right now, it was wrong then, and only the times shown are"),
        );
    }
    if now > newest.saturating_add(UNUSED_MS) {
        let (says, wrote) = (clock::utc(now), clock::utc(newest));
        let days = (now - newest) / DAY_MS;
        return Check::bad(
            "clock",
            format!("it says {says}, but this home was last used at {wrote}, {days} days before"),
            format!("if you used it since, {fix}; if not, all is well, and `syncra up` ends this message"),
        );
    }
    Check::good("clock", format!("{}; nothing that this home has written contradicts it", clock::utc(now)))
}

/// When the home was written last: the newest segment of the journal, the pointer to what is installed, the log.
fn newest(layout: &Layout) -> Option<u64> {
    let segments = std::fs::read_dir(layout.journal()).into_iter().flatten().flatten();
    // Only the last one: as soon as it is written again, a time that was wrong is gone.
    let segment = segments.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "seg")).max();
    let written = [segment, Some(layout.current()), Some(layout.log())];
    written.into_iter().flatten().filter_map(|path| modified_ms(&path)).max()
}

fn modified_ms(path: &Path) -> Option<u64> {
    let modified = path.metadata().ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_a_year_either_way_is_noticed() {
        let then = 1_800_000_000_000;
        let is_ok = |now: u64| verdict(now, Some(then)).ok();
        assert!([then, then + DAY_MS, then + 100 * DAY_MS, then - SLACK_MS].into_iter().all(is_ok));
        assert!(![then - 366 * DAY_MS, then + 366 * DAY_MS, then - SLACK_MS - 1, 0].into_iter().any(is_ok));
        assert!(verdict(then, None).ok());
    }
}
