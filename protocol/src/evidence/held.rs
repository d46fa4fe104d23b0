//! One log as a set holds it: what it says, which is the same in every set, and how far it counts in this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Clock, StopReason, first};
use crate::entry::{self, Body, Decoded, Entry, SeenHead};
use crate::id::EntryId;
use crate::log::checkpoint::Head;
use crate::log::{ExtendError, Log};
use crate::origin::{Origin, Subject};

/// A verified log and what its entries say.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) log: Log,
    pub(super) head: Head,
    pub(super) items: Vec<Item>,
    /// The first entry that no longer counts, and why.
    pub(super) stop: Option<(u64, StopReason)>,
    /// Whether any entry would change who may do what in a package.
    pub(super) changes_roles: bool,
    /// Which logs its entries name as seen, and which entries do, ascending: so nobody looks through all of them.
    pub(super) names: BTreeMap<Origin, Vec<u64>>,
}

/// One entry: what it says.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) id: EntryId,
    pub(super) seen: Vec<SeenHead>,
    /// None for a skipped kind.
    pub(super) body: Option<Body>,
}

impl Item {
    pub(super) const fn changes_roles(&self) -> bool {
        matches!(self.body, Some(Body::Roles(_)))
    }
}

/// One log of a set.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Shared with the other sets that hold the same log.
    pub(super) verified: Arc<Verified>,
    /// What the entries that count come after.
    pub(super) clocks: Clocks,
}

impl Verified {
    pub(super) fn new(log: Log, head: Head, stop: Option<(u64, StopReason)>) -> Self {
        Self { log, head, items: Vec::new(), stop, changes_roles: false, names: BTreeMap::new() }
    }

    /// Takes in what the next entry says.
    pub(super) fn push(&mut self, item: Item) {
        self.changes_roles |= item.changes_roles();
        for head in &item.seen {
            self.names.entry(head.origin).or_default().push(self.items.len() as u64);
        }
        self.items.push(item);
    }

    /// All or nothing, like [`Log::extend`].
    pub(super) fn extend(&mut self, entries: &[impl AsRef<[u8]>], head: &Head) -> Result<(), ExtendError> {
        let from = self.log.size();
        self.log.extend(entries, head)?;
        self.head = head.clone();
        for (index, bytes) in (from..).zip(entries) {
            let (item, reason) = read(self.log.origin(), index, bytes.as_ref());
            self.stop = self.stop.or(reason.map(|reason| (index, reason)));
            self.push(item);
        }
        Ok(())
    }
}

impl Held {
    pub(super) fn new(verified: Arc<Verified>) -> Self {
        Self { verified, clocks: Clocks::default() }
    }

    pub(super) fn head(&self) -> &Head {
        &self.verified.head
    }

    pub(super) fn log(&self) -> &Log {
        &self.verified.log
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.verified.items
    }

    /// What the entries that name `origin` as seen say of it, and which entries these are, ascending; those after a stop left
    /// out.
    pub(super) fn names(&self, origin: &Origin) -> impl DoubleEndedIterator<Item = (u64, &SeenHead)> {
        let stop = self.verified.stop.map_or(u64::MAX, |(stop, _)| stop);
        let naming = self.verified.names.get(origin).map_or(&[][..], Vec::as_slice);
        let naming = &naming[..naming.partition_point(|index| *index < stop)];
        naming.iter().filter_map(move |index| {
            let seen = &self.items().get(usize::try_from(*index).ok()?)?.seen;
            Some((*index, seen.iter().find(|head| head.origin == *origin)?))
        })
    }

    /// Entries whose whole causal past is here: the log's part of the frontier.
    pub(super) fn n_counted(&self) -> u64 {
        self.clocks.n
    }

    /// The first entry that does not count yet, unless the log is stopped there.
    pub(super) fn next(&self) -> Option<&Item> {
        self.item(self.n_counted())
    }

    /// An entry, unless the log is stopped before or there.
    pub(super) fn item(&self, index: u64) -> Option<&Item> {
        if self.verified.stop.is_some_and(|(stop, _)| stop <= index) {
            return None;
        }
        self.items().get(usize::try_from(index).ok()?)
    }
}

/// The clocks of the entries that count, each written down where it changes: most entries come after the same as the
/// one before them.
#[derive(Debug, Default, Clone)]
pub(super) struct Clocks {
    n: u64,
    /// (first entry with this clock, the clock), ascending.
    steps: Vec<(u64, Arc<Clock>)>,
}

impl Clocks {
    pub(super) fn push(&mut self, clock: Arc<Clock>) {
        if self.last().is_none_or(|last| !Arc::ptr_eq(last, &clock)) {
            self.steps.push((self.n, clock));
        }
        self.n += 1;
    }

    pub(super) fn last(&self) -> Option<&Arc<Clock>> {
        self.steps.last().map(|(_, clock)| clock)
    }

    /// The entries with which the clock changes, ascending.
    pub(super) fn steps(&self) -> impl Iterator<Item = (u64, &Arc<Clock>)> {
        self.steps.iter().map(|(from, clock)| (*from, clock))
    }

    /// The clock of entry `index`, if it counts.
    pub(super) fn at(&self, index: u64) -> Option<&Arc<Clock>> {
        let n_begun = self.steps.partition_point(|(from, _)| *from <= index);
        let (_, clock) = self.steps.get(n_begun.checked_sub(1)?)?;
        (index < self.n).then_some(clock)
    }
}

/// Reads one verified entry. The writer signed it, so what is wrong with it stops the writer's log, not the peer.
pub(super) fn read(origin: &Origin, index: u64, bytes: &[u8]) -> (Item, Option<StopReason>) {
    let (seen, body, mut reason) = match entry::decode(bytes) {
        Err(error) => (Vec::new(), None, Some(StopReason::Malformed(error))),
        Ok(Decoded::Unknown { kind, version, critical, seen }) => {
            (seen, None, critical.then_some(StopReason::NewerClient { kind, version }))
        }
        Ok(Decoded::Known(Entry { seen, body })) => {
            let kind = body.kind();
            let fits = first::may_stand(origin, index, &body);
            (seen, Some(body), (!fits).then_some(StopReason::Misplaced { kind }))
        }
    };
    if seen.iter().any(|head| head.origin == *origin) {
        reason = reason.or(Some(StopReason::SawItself));
    }
    // Or it would count in the sets of some packages and wait in those of others.
    let is_foreign = |head: &SeenHead| head.origin.subject != origin.subject;
    if matches!(origin.subject, Subject::Identity(_)) && seen.iter().any(is_foreign) {
        reason = reason.or(Some(StopReason::SawForeign));
    }
    (Item { id: EntryId::of(bytes), seen, body }, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PackageId;
    use crate::key::DeviceSecret;

    #[test]
    fn every_entry_has_the_clock_that_it_was_given() {
        let key = DeviceSecret::from_seed(&[1; 32]).public();
        let clock = |n| Arc::new(Clock::from([(Origin::package(PackageId::from_bytes([2; 32]), key), n)]));
        let (none, one, two) = (Arc::<Clock>::default(), clock(1), clock(2));
        let given = [&none, &none, &one, &two, &two, &two];
        let mut clocks = Clocks::default();
        assert!(clocks.at(0).is_none() && clocks.last().is_none());
        for clock in given {
            clocks.push(Arc::clone(clock));
        }
        for (index, clock) in (0..).zip(given) {
            assert!(Arc::ptr_eq(clocks.at(index).unwrap(), clock), "{index}");
        }
        assert!(clocks.at(6).is_none());
        assert_eq!((clocks.n, clocks.steps.len()), (6, 3));
    }
}
