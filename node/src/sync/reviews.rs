//! When the hub looks again at what it keeps up to date.
//!
//! Many changes that come together are one look, and looks that change what every peer's watch is about come at growing
//! distance while there are many: a sibling with hundreds of packages costs a peer a dozen watches, not hundreds. Nothing is
//! lost: the look is at everything, and what a watch was opened for is asked for then.

use std::time::{Duration, Instant};

/// What comes within this is looked at together.
const TOGETHER: Duration = Duration::from_millis(50);
/// The longest distance between two looks that opened watches anew, and how long a change waits at most.
pub(super) const MOST: Duration = Duration::from_secs(5);

/// When to look again. Time is an argument.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    due: Option<Instant>,
    /// The last look that opened watches anew.
    last: Option<Instant>,
    /// How far from that the next one is.
    distance: Duration,
}

impl Reviews {
    /// Something may have changed.
    pub(super) fn ask(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| last + self.distance);
        self.due.get_or_insert_with(|| earliest.max(now + TOGETHER));
    }

    /// When the next look is, if something asks for one.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A look was taken; whether every watch is opened anew for it.
    pub(super) fn taken(&mut self, now: Instant, opened: bool) {
        self.due = None;
        if !opened {
            return;
        }
        let is_calm = self.last.is_none_or(|last| now.saturating_duration_since(last) >= 2 * MOST);
        self.distance = if is_calm { TOGETHER } else { (self.distance * 2).min(MOST) };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes every so often for a while; the looks, each of which opens watches anew.
    fn looks(every: Duration, during: Duration) -> Vec<Duration> {
        let (start, mut reviews, mut looks) = (Instant::now(), Reviews::default(), Vec::new());
        let mut at = Duration::ZERO;
        while at < during || reviews.due().is_some() {
            let due = reviews.due().map(|due| due - start).filter(|due| *due <= at || at >= during);
            if let Some(due) = due {
                reviews.taken(start + due, true);
                looks.push(due);
                continue;
            }
            reviews.ask(start + at);
            at += every;
        }
        looks
    }

    #[test]
    fn one_change_is_looked_at_at_once_and_many_together() {
        assert_eq!(looks(Duration::from_secs(1), Duration::from_secs(1)), [TOGETHER]);
        assert_eq!(looks(Duration::from_millis(1), Duration::from_millis(40)), [TOGETHER]);
    }

    #[test]
    fn the_looks_of_a_long_flood_are_few_and_none_of_its_changes_waits_long() {
        let during = Duration::from_secs(60);
        let looks = looks(Duration::from_millis(10), during);
        assert!(looks.len() < 20, "{looks:?}");
        assert!(looks.windows(2).all(|pair| pair[1] - pair[0] <= MOST + TOGETHER), "{looks:?}");
        assert!(
            looks.last().is_some_and(|last| *last >= during - Duration::from_millis(10)),
            "the last change is seen"
        );
    }

    #[test]
    fn after_a_calm_while_it_is_at_once_again_and_looks_that_open_nothing_do_not_count() {
        let (start, mut reviews) = (Instant::now(), Reviews::default());
        let mut now = start;
        for _ in 0..20 {
            reviews.ask(now);
            now = reviews.due().unwrap();
            reviews.taken(now, true);
        }
        reviews.ask(now);
        assert_eq!(reviews.due(), Some(now + MOST));
        reviews.taken(now + MOST, false);
        let later = now + 2 * MOST;
        reviews.ask(later);
        assert_eq!(reviews.due(), Some(later + TOGETHER));
        reviews.taken(later + TOGETHER, true);
        reviews.ask(later + TOGETHER);
        assert_eq!(reviews.due(), Some(later + 2 * TOGETHER), "a calm while is forgotten");
    }
}
