//! The causal order: an entry comes after its log's earlier ones and after all that these and itself have seen.
//!
//! Of a forked log nothing is waited for: nothing newer of it will be taken in, and readers hold different parts of it. What
//! names it comes after the entries named if these count here, else after none of it. Which entries count follows from the
//! logs held and from which are forked, and only becomes more; then what each comes after follows from which count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::held::{Clocks, Held};
use super::{Blocked, Frontier, Logs};
use crate::entry::SeenHead;
use crate::origin::Origin;

/// What an entry comes after, beside its own log: log → number of entries.
pub(crate) type Clock = BTreeMap<Origin, u64>;

/// Log → how many of its entries count.
type Counts = BTreeMap<Origin, u64>;

/// An entry's place in the causal order.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) origin: Origin,
    pub(crate) index: u64,
    pub(crate) clock: Arc<Clock>,
}

impl Point {
    /// Entries of `origin` in this entry's past, itself included.
    pub(crate) fn covers(&self, origin: &Origin) -> u64 {
        #[cfg(test)]
        looks::count();
        if *origin == self.origin { self.index + 1 } else { self.clock.get(origin).copied().unwrap_or(0) }
    }

    /// Entries in this entry's past: what comes later covers more.
    pub(crate) fn n_covered(&self) -> u64 {
        self.clock.values().sum::<u64>() + self.index
    }

    /// Whether this entry is in `later`'s past, and not `later` itself.
    pub(crate) fn is_before(&self, later: &Self) -> bool {
        let is_same = self.origin == later.origin && self.index == later.index;
        !is_same && later.covers(&self.origin) > self.index
    }
}

impl Logs {
    /// Counts every entry whose past is here, beginning with those of `changed`.
    pub(super) fn settle(&mut self, changed: Origin) {
        let before = self.held.iter().map(|(origin, held)| (*origin, held.n_counted())).collect();
        let counts = self.counts(&before, vec![changed]);
        // What an entry comes after changes only if a forked log counts further that it names.
        let is_late = |forked: &Origin| {
            let of = |counts: &Counts| counts.get(forked).copied().unwrap_or(0);
            let now = of(&before) + 1..=of(&counts);
            let names = |held: &Held| {
                held.names(forked)
                    .take_while(|(index, _)| *index < held.n_counted())
                    .any(|(_, head)| now.contains(&head.size))
            };
            !now.is_empty() && self.held.values().any(names)
        };
        if self.forks.keys().any(is_late) {
            return self.settle_anew();
        }
        self.clock_all(vec![changed], &counts);
    }

    /// Works out anew what counts and what it comes after.
    pub(super) fn settle_anew(&mut self) {
        let counts = self.counts(&Counts::new(), self.held.keys().copied().collect());
        self.held.values_mut().for_each(|held| held.clocks = Clocks::default());
        self.clock_all(self.held.keys().copied().collect(), &counts);
    }

    /// Whether any entry names a head of the log.
    pub(super) fn is_named(&self, origin: &Origin) -> bool {
        self.held.values().any(|held| held.names(origin).next().is_some())
    }

    /// How many entries of each log count, if at least `before` do, and of `changed` perhaps more: the most such that all that
    /// they name is here and counts, forked logs left out.
    fn counts(&self, before: &Counts, changed: Vec<Origin>) -> Counts {
        let mut counts = before.clone();
        let mut open = VecDeque::from(changed);
        while let Some(origin) = open.pop_front() {
            let Some(held) = self.held.get(&origin) else { continue };
            let before = counts.get(&origin).copied().unwrap_or(0);
            let is_met = |head: &SeenHead| {
                let is_counted = head.size <= counts.get(&head.origin).copied().unwrap_or(0) && self.is_here(head);
                is_counted || self.forks.contains_key(&head.origin)
            };
            let mut n = before;
            while held.item(n).is_some_and(|item| item.seen.iter().all(is_met)) {
                n += 1;
            }
            if n > before {
                counts.insert(origin, n);
                let n_of = |log: &Origin| counts.get(log).copied().unwrap_or(0);
                let waits = |log: &Origin, held: &Held| {
                    held.item(n_of(log)).is_some_and(|item| item.seen.iter().any(|head| head.origin == origin))
                };
                open.extend(self.held.iter().filter(|(log, held)| waits(log, held)).map(|(log, _)| *log));
            }
        }
        counts
    }

    fn clock_all(&mut self, changed: Vec<Origin>, counts: &Counts) {
        let mut open = VecDeque::from(changed);
        while let Some(origin) = open.pop_front() {
            let mut advanced = false;
            while let Some(clock) = self.next_clock(&origin, counts) {
                self.held.get_mut(&origin).expect("it has a next entry").clocks.push(clock);
                advanced = true;
            }
            if advanced {
                let waits = |held: &Held| held.next().is_some_and(|item| item.seen.iter().any(|s| s.origin == origin));
                open.extend(self.held.iter().filter(|(_, held)| waits(held)).map(|(waiting, _)| *waiting));
            }
        }
    }

    /// Whether the log is held as far as the head says, and with that root.
    fn is_here(&self, head: &SeenHead) -> bool {
        self.held.get(&head.origin).is_some_and(|held| held.log().root_at(head.size) == Some(head.root))
    }

    /// How many entries of the log come before an entry that counts and has seen this head; none if it does not count.
    fn past(&self, head: &SeenHead) -> Option<u64> {
        let n_counted = self.held.get(&head.origin).map_or(0, Held::n_counted);
        let is_counted = head.size <= n_counted && self.is_here(head);
        if is_counted { Some(head.size) } else { self.forks.contains_key(&head.origin).then_some(0) }
    }

    /// The clock of the log's next entry, if all that it has seen is here. Given how many entries of each log will count, those
    /// of a forked log come first that will: no hash is in a circle, so they do.
    fn next_clock(&self, origin: &Origin, counts: &Counts) -> Option<Arc<Clock>> {
        let held = self.held.get(origin)?;
        let item = held.next()?;
        let before = held.clocks.last().cloned().unwrap_or_default();
        if item.seen.is_empty() {
            return Some(before);
        }
        let mut clock = Arc::unwrap_or_clone(before);
        for head in &item.seen {
            let n = self.past(head)?;
            let Some(last) = n.checked_sub(1) else {
                let will_count = counts.get(&head.origin).is_some_and(|n| head.size <= *n);
                if will_count && self.is_here(head) {
                    return None;
                }
                continue;
            };
            let last = self.held.get(&head.origin)?.clocks.at(last)?;
            for (origin, size) in last.iter().chain([(&head.origin, &n)]) {
                let known = clock.entry(*origin).or_insert(0);
                *known = (*known).max(*size);
            }
        }
        clock.remove(origin); // its own index says it
        Some(Arc::new(clock))
    }

    /// The logs with entries that do not count, and why.
    pub(super) fn blocked(&self) -> BTreeMap<Origin, Blocked> {
        self.held.iter().filter_map(|(origin, held)| Some((*origin, self.blocked_at(held)?))).collect()
    }

    fn blocked_at(&self, held: &Held) -> Option<Blocked> {
        let index = held.n_counted();
        if let Some((stop, reason)) = held.verified.stop.filter(|(stop, _)| *stop <= index) {
            return Some(Blocked::Stopped { index: stop, reason });
        }
        let item = held.next()?;
        let on =
            *item.seen.iter().find(|head| self.past(head).is_none()).expect("an entry without missing past counts");
        if self.contradicts(&on) {
            return Some(Blocked::OtherBranch { index, on });
        }
        Some(Blocked::Waiting { index, on })
    }

    /// Whether the log held has another root at that size.
    pub(super) fn contradicts(&self, head: &SeenHead) -> bool {
        let root = self.held.get(&head.origin).and_then(|held| held.log().root_at(head.size));
        root.is_some_and(|root| root != head.root)
    }

    /// The heads that entries wait for and that are not held yet: log → entries needed.
    pub(super) fn missing(&self) -> BTreeMap<Origin, u64> {
        let mut missing = BTreeMap::new();
        for head in self.held.values().filter_map(Held::next).flat_map(|item| &item.seen) {
            if self.size(&head.origin) < head.size && !self.forks.contains_key(&head.origin) {
                let size = missing.entry(head.origin).or_insert(0);
                *size = head.size.max(*size);
            }
        }
        missing
    }

    /// The most entries of log `of` that entries of log `by` name as seen, of those in `within`.
    pub(crate) fn named(&self, by: &Origin, frontier: &Frontier, of: &Origin, within: core::ops::Range<u64>) -> u64 {
        let Some(held) = self.held.get(by) else { return 0 };
        let end = within.end.min(frontier.size(by));
        let naming = held.verified.names.get(of).map_or(&[][..], Vec::as_slice);
        let begun = naming.partition_point(|index| *index < within.start);
        let inside = naming[begun..].iter().take_while(|index| **index < end);
        #[cfg(test)]
        let inside = inside.inspect(|_| looks::count());
        let seen = inside.filter_map(|index| held.items().get(usize::try_from(*index).ok()?));
        let heads = seen.flat_map(|item| &item.seen).filter(|head| head.origin == *of);
        heads.filter_map(|head| self.past(head)).max().unwrap_or(0)
    }

    /// The entries of a log inside a checked frontier that come after others' entries which the one before does not, ascending.
    pub(crate) fn steps<'a>(&'a self, origin: &Origin, frontier: &Frontier) -> impl Iterator<Item = u64> + 'a {
        let size = frontier.size(origin);
        let steps = self.held.get(origin).into_iter().flat_map(|held| held.clocks.steps());
        steps.map(|(from, _)| from).take_while(move |from| *from < size)
    }

    /// The last of the first `n` entries of a log inside a checked frontier.
    pub(crate) fn last(&self, origin: &Origin, frontier: &Frontier, n: u64) -> Option<Point> {
        let index = frontier.size(origin).min(n).checked_sub(1)?;
        let clock = self.held.get(origin)?.clocks.at(index)?;
        Some(Point { origin: *origin, index, clock: Arc::clone(clock) })
    }

    /// How many entries of a log count that has no right to speak for itself: those in both histories if it forked, and
    /// those that somebody with rights has seen, inside the frontier, if nobody with rights has seen another history.
    pub(crate) fn settled(&self, origin: &Origin, frontier: &Frontier, speaks: impl Fn(&Origin) -> bool) -> u64 {
        self.fixed(origin, frontier, speaks, 0)
    }

    /// The same, where so many entries are fixed otherwise, if nobody with rights has seen another history.
    pub(super) fn fixed(
        &self,
        origin: &Origin,
        frontier: &Frontier,
        speaks: impl Fn(&Origin) -> bool,
        otherwise: u64,
    ) -> u64 {
        let n_common = self.forks.get(origin).and_then(|fork| fork.n_common).unwrap_or(0);
        if self.rivals(origin).iter().any(&speaks) {
            return n_common;
        }
        let logs = self.held.iter().filter(|(log, _)| speaks(log) && !self.forks.contains_key(*log));
        let named = logs.flat_map(|(log, held)| {
            let within = frontier.size(log);
            // Without a proof what names another history is a claim, and takes nothing from anybody.
            held.names(origin).filter(move |(index, _)| *index < within).filter_map(|(_, head)| self.past(head))
        });
        named.max().unwrap_or(0).max(otherwise).max(n_common)
    }

    /// Of a forked log the unforked logs that name another history of it than the one held, inside the frontier or not: that
    /// they do is an input of the fold, like the proof.
    pub(super) fn rivals(&self, origin: &Origin) -> BTreeSet<Origin> {
        if !self.forks.contains_key(origin) {
            return BTreeSet::new();
        }
        let names_other = |held: &Held| held.names(origin).any(|(_, head)| self.contradicts(head));
        let unforked = self.held.iter().filter(|(log, _)| !self.forks.contains_key(*log));
        unforked.filter(|(_, held)| names_other(held)).map(|(log, _)| *log).collect()
    }
}

/// How often the fold looked at the past of an entry: what its work is made of.
#[cfg(test)]
pub(crate) mod looks {
    use core::cell::Cell;

    thread_local! {
        static TAKEN: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn count() {
        TAKEN.set(TAKEN.get() + 1);
    }

    /// How often since the last call, in this thread.
    pub(crate) fn take() -> u64 {
        TAKEN.replace(0)
    }
}
