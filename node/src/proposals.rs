//! The records about proposals that this node keeps: of packages that it holds, bounded whoever sends them.
//!
//! One small file for each, `proposals/<package>/<hash of its place>`. They can be fetched again from others who keep them; a
//! file that does not verify is left out and written over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use syncra_protocol::id::{BlobId, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::{
    PROPOSAL_RECORD_BYTES, PROPOSAL_RECORDS, PROPOSED_PACKAGES, RECORDS_PER_IDENTITY, STRANGERS_RECORDS,
};
use syncra_protocol::proposal::{Record, Said, Slot, Verdict};

use crate::durable::{self, WriteError};

/// How soon a record may be replaced again and again by what somebody sends: each costs a write here, and is handed on.
const PACE: Duration = Duration::from_secs(10);
/// How often it may be within that time.
const BURST: u8 = 4;
/// How long a stranger's record has its place before one of another stranger may take it who has as many: those who fill all
/// places at once do not have them for good, and what was said once is not gone at once.
const STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of the author of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing: the identity's logs are not here.
    Stranger,
    /// The device speaks for the identity.
    Known,
    /// That, and the identity has a role in the package, or the user trusts it.
    Trusted,
    /// Said on this node.
    Own,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is new, or replaces an earlier one.
    New,
    /// It, or a later one, was here.
    Had,
    /// There is no place for it.
    Full,
    /// Its author has just replaced it.
    TooSoon,
}

/// What ties this node to a package: whose records stay when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tie {
    /// It is only held here.
    Held,
    /// It is followed or installed.
    Followed,
    /// This identity has a role in it.
    Own,
}

/// The records that are kept. Loaded at the first use.
///
/// Whoever reads waits for nothing that is being written: that is known only when it is on disk.
#[derive(Debug)]
pub struct Proposals {
    dir: PathBuf,
    known: Mutex<Option<Known>>,
    /// One change after the other. Taken before `known`, and held while the disk is waited for.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    records: BTreeMap<PackageId, BTreeMap<Slot, Kept>>,
}

#[derive(Debug)]
struct Kept {
    record: Record,
    /// When the record came that has the place now; none: before the start.
    since: Option<Instant>,
    /// When its place was taken.
    placed: Option<Instant>,
    /// By which peer; none: said here, or before the start.
    from: Option<DeviceKey>,
    /// How often it was replaced since then.
    n_quick: u8,
}

/// What a record that is taken in costs.
#[derive(Debug, Default)]
struct Room {
    since: Option<Instant>,
    placed: Option<Instant>,
    from: Option<DeviceKey>,
    n_quick: u8,
    /// Goes for it: another record of the package.
    gone: Option<Slot>,
    /// Goes for it: all about another package.
    gone_package: Option<PackageId>,
}

impl Proposals {
    /// Those in `dir`, which need not exist.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, known: Mutex::new(None), writing: Mutex::default() }
    }

    /// The records about a package.
    #[must_use]
    pub fn of(&self, package: PackageId) -> Vec<Record> {
        let known = self.known();
        let records = known.as_ref().and_then(|known| known.records.get(&package));
        records.into_iter().flatten().map(|(_, kept)| kept.record.clone()).collect()
    }

    /// The packages about which there are any.
    #[must_use]
    pub fn packages(&self) -> Vec<PackageId> {
        self.known().as_ref().map(|known| known.records.keys().copied().collect()).unwrap_or_default()
    }

    /// Keeps a record that a peer brought (`from`), or none, if there is a place for one of such an author. One of a stranger makes
    /// place for others, and one whose device does not speak for its author (`standing` is none) for all: before an author's logs
    /// were known anybody could sign in that name. For the same reason a stranger's place is taken over only by the device that
    /// has it.
    ///
    /// Identities cost nothing, so strangers' places go by the peers that brought what has them: for what another peer brings the
    /// oldest goes of whoever has most, as long as that one has more than the other then; and after a day the oldest of all.
    /// A proposal that somebody with a role has answered stays like one of theirs.
    ///
    /// When there are records about as many packages as there may be, those about the package go that ties this node least
    /// (`tie`) and of which nothing was heard for longest; never those about one to which more ties it than to the new one, and
    /// never what this identity said. Waits for the disk.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn take(
        &self,
        record: Record,
        from: Option<DeviceKey>,
        (standing, tie): (impl Fn(&Record) -> Option<Standing>, impl Fn(PackageId) -> Tie),
        now: Instant,
    ) -> Result<Taken, WriteError> {
        let (package, slot) = (record.statement().target, record.slot());
        let Some(rank) = standing(&record) else { return Ok(Taken::Full) };
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let room = match self.known().as_ref().map(|known| known.room(&record, from, rank, (&standing, &tie), now)) {
            Some(Ok(room)) => room,
            Some(Err(taken)) => return Ok(taken),
            None => return Ok(Taken::Full),
        };
        durable::make_dir(&self.dir_of(package))?;
        durable::replace(&self.path(package, &slot), record.bytes())?;
        let mut known = self.known();
        let records = &mut known.get_or_insert_default().records;
        if let Some(gone) = room.gone_package {
            records.remove(&gone);
        }
        let of = records.entry(package).or_default();
        if let Some(gone) = &room.gone {
            of.remove(gone);
        }
        let Room { since, placed, from, n_quick, .. } = room;
        of.insert(slot, Kept { record, since, placed, from, n_quick });
        drop(known);
        // What cannot be removed comes back with the next start, and is then one too many until the next goes.
        if let Some(gone) = room.gone {
            drop(fs::remove_file(self.path(package, &gone)));
        }
        if let Some(gone) = room.gone_package {
            drop(fs::remove_dir_all(self.dir_of(gone)));
        }
        Ok(Taken::New)
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| load(&self.dir));
        known
    }

    fn dir_of(&self, package: PackageId) -> PathBuf {
        self.dir.join(package.to_string())
    }

    fn path(&self, package: PackageId, slot: &Slot) -> PathBuf {
        let Slot { proposal, by, is_review, number } = slot;
        let place = [proposal.as_bytes().as_slice(), by.as_bytes(), &[u8::from(*is_review), *number]].concat();
        self.dir_of(package).join(BlobId::of(&place).to_string())
    }
}

impl Known {
    /// The place of a record, or what becomes of it without one.
    fn room(
        &self,
        record: &Record,
        from: Option<DeviceKey>,
        rank: Standing,
        (standing, tie): (&impl Fn(&Record) -> Option<Standing>, &impl Fn(PackageId) -> Tie),
        now: Instant,
    ) -> Result<Room, Taken> {
        let (package, slot) = (record.statement().target, record.slot());
        let of = self.records.get(&package);
        let mut room = Room { since: Some(now), placed: Some(now), from, ..Room::default() };
        if let Some(kept) = of.and_then(|of| of.get(&slot)) {
            let is_other = kept.record.statement().device != record.statement().device;
            let is_genuine = standing(&kept.record) >= Some(rank);
            if is_genuine && is_other && rank == Standing::Stranger {
                return Err(Taken::Full);
            }
            if is_genuine && !record.replaces(&kept.record) {
                return Err(Taken::Had);
            }
            // Whoever replaces its own record keeps its place no longer for that.
            if is_genuine {
                (room.placed, room.from) = (kept.placed, kept.from);
            }
            if let Some(before) = kept.since.filter(|since| now.saturating_duration_since(*since) < PACE) {
                (room.since, room.n_quick) = (Some(before), kept.n_quick.saturating_add(1));
                if room.n_quick >= BURST && rank < Standing::Own {
                    return Err(Taken::TooSoon);
                }
            }
            return Ok(room);
        }
        match of {
            Some(of) => match place(of, record, (from, rank), standing, now) {
                Place::Free => {}
                Place::Of(gone) => room.gone = Some(gone),
                Place::None => return Err(Taken::Full),
            },
            None if self.records.len() >= PROPOSED_PACKAGES => {
                room.gone_package = self.least(tie(package), standing, tie);
                if room.gone_package.is_none() && rank < Standing::Own {
                    return Err(Taken::Full);
                }
            }
            None => {}
        }
        Ok(room)
    }

    /// The package that makes place for one with such a tie, if any does.
    fn least(
        &self,
        for_tie: Tie,
        standing: &impl Fn(&Record) -> Option<Standing>,
        tie: &impl Fn(PackageId) -> Tie,
    ) -> Option<PackageId> {
        let is_free = |of: &BTreeMap<Slot, Kept>| of.values().all(|kept| standing(&kept.record) < Some(Standing::Own));
        let free = self.records.iter().filter(|(_, of)| is_free(of));
        // Of those that were loaded it is not known when they came: before all others.
        let news = |of: &BTreeMap<Slot, Kept>| of.values().filter_map(|kept| kept.since).max();
        let least = free.map(|(package, of)| (tie(*package), news(of), *package)).min()?;
        (least.0 <= for_tie).then_some(least.2)
    }
}

/// Where a record goes that is not among those about its package yet.
fn place(
    of: &BTreeMap<Slot, Kept>,
    record: &Record,
    (from, rank): (Option<DeviceKey>, Standing),
    standing: &impl Fn(&Record) -> Option<Standing>,
    now: Instant,
) -> Place {
    let by = record.statement().by;
    let is_of_author = |kept: &&Kept| kept.record.statement().by == by && standing(&kept.record) >= Some(rank);
    let n_by = of.values().filter(is_of_author).count();
    if rank < Standing::Own && n_by >= RECORDS_PER_IDENTITY {
        return Place::None;
    }
    let answered = answered(of, standing);
    let worth = |slot: &Slot, kept: &Kept| {
        standing(&kept.record).max(answered.contains(slot).then_some(Standing::Trusted)).unwrap_or(Standing::Stranger)
    };
    let strangers = Strangers(of.iter().filter(|(slot, kept)| worth(slot, kept) == Standing::Stranger).collect());
    if rank == Standing::Stranger {
        let is_full = strangers.0.len() >= STRANGERS_RECORDS || of.len() >= PROPOSAL_RECORDS;
        return if is_full { strangers.make_place(from, now) } else { Place::Free };
    }
    if of.len() < PROPOSAL_RECORDS {
        return Place::Free;
    }
    // Never what was said here before.
    let least_of = |worth_less: Standing| of.iter().rfind(|(slot, kept)| worth(slot, kept) < worth_less);
    match strangers.oldest_of_most().or_else(|| least_of(rank.min(Standing::Trusted))) {
        Some((slot, _)) => Place::Of(*slot),
        None if rank == Standing::Own => least_of(Standing::Own).map_or(Place::Free, |(slot, _)| Place::Of(*slot)),
        None => Place::None,
    }
}

/// Of the proposals that somebody with a role, or whom the user trusts, has answered, and not closed, the record that came
/// first: anybody can say that a proposal is theirs.
fn answered(of: &BTreeMap<Slot, Kept>, standing: &impl Fn(&Record) -> Option<Standing>) -> BTreeSet<Slot> {
    let mut answers = BTreeMap::<PackageId, bool>::new();
    for (slot, kept) in
        of.iter().filter(|(slot, kept)| slot.is_review && standing(&kept.record) >= Some(Standing::Trusted))
    {
        let is_close = matches!(kept.record.statement().said, Said::Review { verdict: Verdict::Close, .. });
        *answers.entry(slot.proposal).or_default() |= is_close;
    }
    let mut first = BTreeMap::<PackageId, (Option<Instant>, Slot)>::new();
    for (slot, kept) in of.iter().filter(|(slot, _)| !slot.is_review && answers.get(&slot.proposal) == Some(&false)) {
        let known = first.entry(slot.proposal).or_insert((kept.placed, *slot));
        *known = (*known).min((kept.placed, *slot));
    }
    first.into_values().map(|(_, slot)| slot).collect()
}

/// The records of strangers about a package.
struct Strangers<'a>(Vec<(&'a Slot, &'a Kept)>);

impl<'a> Strangers<'a> {
    fn n_by(&self, from: Option<DeviceKey>) -> usize {
        self.0.iter().filter(|(_, kept)| kept.from == from).count()
    }

    /// Of the peer that brought most the one that is there for longest.
    fn oldest_of_most(&self) -> Option<(&'a Slot, &'a Kept)> {
        let mut n_by = BTreeMap::<Option<DeviceKey>, usize>::new();
        for (_, kept) in &self.0 {
            *n_by.entry(kept.from).or_default() += 1;
        }
        let rank = |(slot, kept): &(&Slot, &Kept)| (core::cmp::Reverse(n_by[&kept.from]), kept.placed, **slot);
        self.0.iter().copied().min_by_key(rank)
    }

    /// The place of one that such a peer brings.
    fn make_place(&self, from: Option<DeviceKey>, now: Instant) -> Place {
        let most = self.oldest_of_most().filter(|(_, kept)| self.n_by(kept.from) > self.n_by(from) + 1);
        let is_stale = |kept: &Kept| kept.placed.is_none_or(|placed| now.saturating_duration_since(placed) >= STAY);
        let oldest = || self.0.iter().copied().min_by_key(|(slot, kept)| (kept.placed, **slot));
        let goes = most.or_else(|| oldest().filter(|(_, kept)| is_stale(kept)));
        goes.map_or(Place::None, |(slot, _)| Place::Of(*slot))
    }
}

/// Where a new record goes.
enum Place {
    Free,
    /// Into that of another.
    Of(Slot),
    None,
}

fn load(dir: &Path) -> Known {
    let mut known = Known::default();
    let below = |dir: &Path| match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %dir.display(), "kept proposals cannot be read");
            }
            Vec::new()
        }
    };
    let packages = below(dir).into_iter().take(2 * PROPOSED_PACKAGES);
    for path in packages.flat_map(|dir| below(&dir).into_iter().take(2 * PROPOSAL_RECORDS)) {
        let Ok(record) = read(&path) else {
            tracing::debug!(path = %path.display(), "left out: no record of a proposal");
            continue;
        };
        let of = known.records.entry(record.statement().target).or_default();
        of.insert(record.slot(), Kept { record, since: None, placed: None, from: None, n_quick: 0 });
    }
    known
}

fn read(path: &Path) -> Result<Record, ()> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(drop)?;
    file.take(PROPOSAL_RECORD_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(drop)?;
    Record::decode(&bytes).map_err(drop)
}

#[cfg(test)]
mod tests {
    use syncra_protocol::id::{IdentityId, ReleaseId};
    use syncra_protocol::key::DeviceSecret;
    use syncra_protocol::proposal::{Said, Statement, Verdict};

    use super::*;

    fn record(by: u8, proposal: u8, number: u8, rev: u32) -> Record {
        let secret = DeviceSecret::from_seed(&[by; 32]);
        let review =
            Said::Review { release: ReleaseId::from_bytes([3; 32]), verdict: Verdict::Approve, text: String::new() };
        let statement = Statement {
            target: PackageId::from_bytes([1; 32]),
            proposal: PackageId::from_bytes([proposal; 32]),
            by: IdentityId::from_bytes([by; 32]),
            device: secret.public(),
            number,
            rev,
            said: review,
        };
        Record::sign(statement, &secret).unwrap()
    }

    fn held(_: PackageId) -> Tie {
        Tie::Held
    }

    /// Identities below 10 are known here, 1 is our own.
    fn standing(record: &Record) -> Option<Standing> {
        Some(match record.statement().by.as_bytes()[0] {
            1 => Standing::Own,
            2..10 => Standing::Known,
            _ => Standing::Stranger,
        })
    }

    #[test]
    fn who_signs_in_anothers_name_keeps_nobody_out_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let now = Instant::now();
        let forged = |proposal: u8, number: u8| {
            let secret = DeviceSecret::from_seed(&[66; 32]);
            let honest = record(20, proposal, number, u32::MAX).statement().clone();
            Record::sign(Statement { device: secret.public(), ..honest }, &secret).unwrap()
        };
        let all = |proposal: u8| (0..16).map(move |number| (proposal, number));
        // Nobody knows who 20 is. A place that it has stays its own, whatever number comes in its name.
        assert_eq!(kept.take(record(20, 9, 0, 1), None, (standing, held), now).unwrap(), Taken::New);
        assert_eq!(kept.take(forged(9, 0), None, (standing, held), now).unwrap(), Taken::Full);
        let flood = all(2).chain(all(3)).map(|(proposal, number)| forged(proposal, number));
        let n_new = flood
            .filter(|record| kept.take(record.clone(), None, (standing, held), now).unwrap() == Taken::New)
            .count();
        assert_eq!(n_new, RECORDS_PER_IDENTITY - 1);
        // Once its logs are known, its word takes the forged one's place, and forged ones count for nothing.
        let key = record(20, 9, 0, 1).statement().device;
        let known = |record: &Record| (record.statement().device == key).then_some(Standing::Known);
        assert_eq!(kept.take(record(20, 2, 0, 1), None, (known, held), now).unwrap(), Taken::New);
        assert!(kept.of(PackageId::from_bytes([1; 32])).contains(&record(20, 2, 0, 1)));
        for number in 0..16 {
            assert_eq!(kept.take(record(20, 4, number, 1), None, (known, held), now).unwrap(), Taken::New, "{number}");
        }
        assert_eq!(kept.take(forged(5, 0), None, (known, held), now).unwrap(), Taken::Full);
    }

    #[test]
    fn a_flood_by_strangers_and_by_one_takes_bounded_room_and_pushes_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let now = Instant::now();
        let take = |record: Record| kept.take(record, None, (standing, held), now).unwrap();
        assert_eq!(take(record(2, 9, 0, 1)), Taken::New);
        let flood = (10..=255).flat_map(|by| (0..16).map(move |number| record(by, 2, number, 1)));
        let n_new = flood.take(2_000).filter(|record| take(record.clone()) == Taken::New).count();
        assert_eq!(n_new, STRANGERS_RECORDS);
        let one = (2..=255).flat_map(|proposal| (0..4).map(move |number| record(3, proposal, number, 1)));
        assert_eq!(one.filter(|record| take(record.clone()) == Taken::New).count(), RECORDS_PER_IDENTITY);
        // Known people find a place among strangers until all places are theirs; what is said here always does.
        let others = (4..10).flat_map(|by| (0..16).map(move |number| record(by, 2, number, 1)));
        let n_new = others.filter(|record| take(record.clone()) == Taken::New).count();
        // All but the places of the two who were here before.
        assert_eq!(n_new, PROPOSAL_RECORDS - 1 - RECORDS_PER_IDENTITY);
        let all = kept.of(PackageId::from_bytes([1; 32]));
        assert_eq!(all.len(), PROPOSAL_RECORDS);
        assert!(all.contains(&record(2, 9, 0, 1)));
        assert!(all.iter().all(|record| standing(record) == Some(Standing::Known)));
        assert_eq!(take(record(1, 2, 0, 1)), Taken::New);
        assert_eq!(take(record(20, 2, 0, 1)), Taken::Full);
        // What is on disk is what is known.
        let again = Proposals::new(dir.path().join("proposals"));
        assert_eq!(again.of(PackageId::from_bytes([1; 32])), kept.of(PackageId::from_bytes([1; 32])));
    }

    fn peer(n: u8) -> Option<DeviceKey> {
        Some(DeviceSecret::from_seed(&[n; 32]).public())
    }

    fn proposal(by: u8, proposal: u8) -> Record {
        let secret = DeviceSecret::from_seed(&[by; 32]);
        let said = Said::Proposal {
            class: syncra_protocol::entry::RefClass::Channel,
            name: syncra_protocol::name::RefName::stable(),
            release: ReleaseId::from_bytes([3; 32]),
            title: "better".to_owned(),
            is_withdrawn: false,
        };
        Record::sign(Statement { said, ..record(by, proposal, 0, 1).statement().clone() }, &secret).unwrap()
    }

    #[test]
    fn places_of_strangers_are_shared_by_who_brings_them_and_nobody_has_them_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let began = Instant::now();
        // 2 has a role in the package, or the user trusts it.
        let standing = |record: &Record| match record.statement().by.as_bytes()[0] {
            2 => Some(Standing::Trusted),
            _ => standing(record),
        };
        let take = |record: Record, from: u8, after: Duration| {
            kept.take(record, peer(from), (standing, held), began + after).unwrap()
        };
        let all = || kept.of(PackageId::from_bytes([1; 32]));
        let (now, later) = (Duration::ZERO, STAY / 2);
        // One peer fills all places with people whom it has made up; what it brings beyond that finds none.
        for by in 10..10 + 64 {
            assert_eq!(take(proposal(by, 7), 1, now), Taken::New, "{by}");
        }
        assert_eq!(take(proposal(80, 7), 1, later), Taken::Full);
        // Others find places all the same, each as many as whoever has most; the oldest of that one go.
        for (by, from) in (100..131).map(|by| (by, 2)).chain([(140, 3), (141, 4)]) {
            assert_eq!(take(proposal(by, 8), from, later), Taken::New, "{by}");
        }
        assert_eq!(all().len(), STRANGERS_RECORDS);
        assert!(!all().contains(&proposal(10, 7)) && all().contains(&proposal(73, 7)));
        let n_of = |proposal: u8| {
            all().iter().filter(|record| record.statement().proposal == PackageId::from_bytes([proposal; 32])).count()
        };
        assert_eq!((n_of(7), n_of(8)), (31, 33));
        assert_eq!(take(proposal(131, 8), 2, later), Taken::Full);
        // To an owner's answer the proposal stays, whatever comes: the first of that id, for anybody can claim to have made it.
        assert_eq!(take(proposal(150, 9), 5, later), Taken::New);
        assert_eq!(take(record(2, 9, 0, 1), 5, later), Taken::New);
        assert_eq!(take(proposal(151, 9), 6, later), Taken::New);
        // After a day places are free again, of whom longest nobody took notice first; whoever replaced its record meanwhile
        // has the place since when it had.
        let secret = DeviceSecret::from_seed(&[73; 32]);
        let again = Record::sign(Statement { rev: 2, ..proposal(73, 7).statement().clone() }, &secret).unwrap();
        assert_eq!(take(again.clone(), 1, later), Taken::New);
        for by in 160..224 {
            assert_eq!(take(proposal(by, 7), 1, 2 * STAY), Taken::New, "{by}");
            assert!(by < 160 + 30 || !all().contains(&again));
        }
        assert_eq!(take(proposal(224, 7), 1, 2 * STAY), Taken::Full);
        assert!(all().contains(&proposal(150, 9)) && !all().contains(&proposal(151, 9)));
        assert!(all().contains(&record(2, 9, 0, 1)));
        // Who has a role finds a place among known people too, known ones only among strangers.
        let known = (3..7).flat_map(|by| (0..16).map(move |number| record(by, 6, number, 1)));
        for record in known {
            assert_eq!(take(record, 7, 2 * STAY), Taken::New);
        }
        let more = (7..10).flat_map(|by| (0..32).map(move |n| record(by, 20 + n / 16, n % 16, 1)));
        let n_more = more.filter(|record| take(record.clone(), 7, 2 * STAY) == Taken::New).count();
        assert_eq!(n_more, PROPOSAL_RECORDS - 2 - 64);
        assert_eq!(take(record(2, 6, 0, 1), 7, 2 * STAY), Taken::New);
        assert!(all().contains(&proposal(150, 9)) && all().len() == PROPOSAL_RECORDS);
    }

    #[test]
    fn replays_change_nothing_and_replacing_has_a_pace() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let now = Instant::now();
        let take =
            |rev: u32, after: Duration| kept.take(record(20, 2, 0, rev), None, (standing, held), now + after).unwrap();
        assert_eq!(take(5, Duration::ZERO), Taken::New);
        assert_eq!(take(5, Duration::ZERO), Taken::Had);
        assert_eq!(take(4, 2 * PACE), Taken::Had);
        for rev in 6..9 {
            assert_eq!(take(rev, PACE / 2), Taken::New);
        }
        assert_eq!(take(9, PACE / 2), Taken::TooSoon);
        assert_eq!(take(9, PACE), Taken::New);
        assert_eq!(kept.of(PackageId::from_bytes([1; 32])), [record(20, 2, 0, 9)]);
        let path = fs::read_dir(dir.path().join("proposals")).unwrap().next().unwrap().unwrap().path();
        let file = fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
        fs::write(&file, b"damaged").unwrap();
        let again = Proposals::new(dir.path().join("proposals"));
        assert_eq!(again.of(PackageId::from_bytes([1; 32])), []);
        assert_eq!(again.take(record(20, 2, 0, 9), None, (standing, held), now).unwrap(), Taken::New);
    }

    fn about(target: u8, by: u8) -> Record {
        let secret = DeviceSecret::from_seed(&[by; 32]);
        let target = PackageId::from_bytes([target; 32]);
        Record::sign(Statement { target, ..record(by, 0, 0, 1).statement().clone() }, &secret).unwrap()
    }

    #[test]
    fn of_too_many_packages_those_go_that_matter_least_and_were_quiet_longest() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let began = Instant::now();
        // The first was followed, the second is this identity's, about the third it said something.
        let tie = |package: PackageId| match package.as_bytes()[0] {
            1 => Tie::Followed,
            2 => Tie::Own,
            _ => Tie::Held,
        };
        let take = |record: Record, after: u64| {
            kept.take(record, None, (standing, tie), began + Duration::from_secs(after)).unwrap()
        };
        let is_kept = |target: u8| !kept.of(PackageId::from_bytes([target; 32])).is_empty();
        for (after, target) in (1..=128).enumerate() {
            let by = if target == 3 { 1 } else { 20 };
            assert_eq!(take(about(target, by), after as u64), Taken::New);
        }
        assert_eq!(kept.packages().len(), PROPOSED_PACKAGES);
        // Something new about the fourth: the fifth is the one that was quiet longest.
        assert_eq!(take(about(4, 21), 200), Taken::New);
        for (after, target) in (129..=255_u8).enumerate() {
            assert_eq!(take(about(target, 20), 201 + after as u64), Taken::New, "{target}");
            if target == 129 {
                assert!(!is_kept(5) && is_kept(4) && is_kept(6));
            }
        }
        assert_eq!(kept.packages().len(), PROPOSED_PACKAGES);
        assert!([1, 2, 3, 255].into_iter().all(is_kept));
        assert!(!is_kept(4), "a flood pushes out what matters as little as it does");
        // What was said here has a place in any case, and others' words are known again after a restart.
        let own = |target: u8| about(target, 1);
        for target in 4..=255_u8 {
            assert_eq!(take(own(target), 1_000), Taken::New, "{target}");
        }
        let secret = DeviceSecret::from_seed(&[20; 32]);
        let (target, proposal) = (PackageId::from_bytes([0; 32]), PackageId::from_bytes([7; 32]));
        let late = Statement { target, proposal, ..about(9, 20).statement().clone() };
        assert_eq!(take(Record::sign(late, &secret).unwrap(), 1_001), Taken::Full);
        let again = Proposals::new(dir.path().join("proposals"));
        for target in 1..=255_u8 {
            let package = PackageId::from_bytes([target; 32]);
            assert_eq!(again.of(package), kept.of(package), "{target}");
        }
    }

    #[test]
    fn who_reads_does_not_wait_for_what_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let said = record(20, 2, 0, 1);
        assert_eq!(kept.take(said.clone(), None, (standing, held), Instant::now()).unwrap(), Taken::New);
        let turn = kept.writing.lock().unwrap();
        std::thread::scope(|threads| {
            let late =
                threads.spawn(|| kept.take(record(20, 2, 0, 2), None, (standing, held), Instant::now()).unwrap());
            assert_eq!(kept.of(said.statement().target), [said]);
            drop(turn);
            assert_eq!(late.join().unwrap(), Taken::New);
        });
    }
}
