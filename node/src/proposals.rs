//! The records about proposals that this node keeps: of packages that it holds, bounded whoever sends them.
//!
//! One small file for each, `proposals/<package>/<hash of its place>`. They can be fetched again from others who keep them; a
//! file that does not verify is left out and written over.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use syncra_protocol::id::{BlobId, PackageId};
use syncra_protocol::limits::{
    PROPOSAL_RECORD_BYTES, PROPOSAL_RECORDS, PROPOSED_PACKAGES, RECORDS_PER_IDENTITY, STRANGERS_RECORDS,
};
use syncra_protocol::proposal::{Record, Slot};

use crate::durable::{self, WriteError};

/// How soon a record may be replaced again and again by what somebody sends: each costs a write here, and is handed on.
const PACE: Duration = Duration::from_secs(10);
/// How often it may be within that time.
const BURST: u8 = 4;

/// What is known of the author of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing: the identity's logs are not here.
    Stranger,
    /// The device speaks for the identity.
    Known,
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

/// The records that are kept. Loaded at the first use.
#[derive(Debug)]
pub struct Proposals {
    dir: PathBuf,
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    records: BTreeMap<PackageId, BTreeMap<Slot, Kept>>,
}

#[derive(Debug)]
struct Kept {
    record: Record,
    since: Option<Instant>,
    /// How often it was replaced since then.
    n_quick: u8,
}

impl Proposals {
    /// Those in `dir`, which need not exist.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, known: Mutex::new(None) }
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

    /// Keeps a record, if there is a place for one of such an author. One of a stranger makes place for others, and one whose
    /// device does not speak for its author (`standing` is none) for all: before an author's logs were known anybody could sign
    /// in that name. For the same reason a stranger's place is taken over only by the device that has it.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn take(
        &self,
        record: Record,
        standing: impl Fn(&Record) -> Option<Standing>,
        now: Instant,
    ) -> Result<Taken, WriteError> {
        let (package, slot) = (record.statement().target, record.slot());
        let Some(rank) = standing(&record) else { return Ok(Taken::Full) };
        let mut guard = self.known();
        let Some(known) = guard.as_mut() else { return Ok(Taken::Full) };
        let (mut since, mut n_quick) = (now, 0);
        if let Some(kept) = known.records.get(&package).and_then(|of| of.get(&slot)) {
            let is_other = kept.record.statement().device != record.statement().device;
            let is_genuine = standing(&kept.record) >= Some(rank);
            if is_genuine && is_other && rank == Standing::Stranger {
                return Ok(Taken::Full);
            }
            if is_genuine && !record.replaces(&kept.record) {
                return Ok(Taken::Had);
            }
            if let Some(before) = kept.since.filter(|since| now.saturating_duration_since(*since) < PACE) {
                (since, n_quick) = (before, kept.n_quick.saturating_add(1));
                if n_quick >= BURST && rank < Standing::Own {
                    return Ok(Taken::TooSoon);
                }
            }
        } else {
            let n_packages = known.records.len();
            let of = known.records.get(&package);
            if of.is_none() && n_packages >= PROPOSED_PACKAGES && rank < Standing::Own {
                return Ok(Taken::Full);
            }
            let gone = match of.map(|of| Self::place(of, &record, rank, &standing)) {
                None | Some(Place::Free) => None,
                Some(Place::Of(gone)) => Some(gone),
                Some(Place::None) => return Ok(Taken::Full),
            };
            if let Some(gone) = gone
                && let Some(of) = known.records.get_mut(&package)
            {
                of.remove(&gone);
                drop(fs::remove_file(self.path(package, &gone)));
            }
        }
        durable::make_dir(&self.dir_of(package))?;
        durable::replace(&self.path(package, &slot), record.bytes())?;
        known.records.entry(package).or_default().insert(slot, Kept { record, since: Some(since), n_quick });
        Ok(Taken::New)
    }

    fn place(
        of: &BTreeMap<Slot, Kept>,
        record: &Record,
        rank: Standing,
        standing: &impl Fn(&Record) -> Option<Standing>,
    ) -> Place {
        let by = record.statement().by;
        let strangers = || of.iter().filter(|(_, kept)| standing(&kept.record) <= Some(Standing::Stranger));
        let is_of_author = |kept: &&Kept| kept.record.statement().by == by && standing(&kept.record) >= Some(rank);
        let n_by = of.values().filter(is_of_author).count();
        if rank < Standing::Own && n_by >= RECORDS_PER_IDENTITY {
            return Place::None;
        }
        if rank == Standing::Stranger && strangers().count() >= STRANGERS_RECORDS {
            return Place::None;
        }
        if of.len() < PROPOSAL_RECORDS {
            return Place::Free;
        }
        match (rank, strangers().next_back()) {
            (Standing::Known | Standing::Own, Some((slot, _))) => Place::Of(*slot),
            (Standing::Own, None) => of.keys().next_back().map_or(Place::Free, |slot| Place::Of(*slot)),
            _ => Place::None,
        }
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
        of.insert(record.slot(), Kept { record, since: None, n_quick: 0 });
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
        assert_eq!(kept.take(record(20, 9, 0, 1), standing, now).unwrap(), Taken::New);
        assert_eq!(kept.take(forged(9, 0), standing, now).unwrap(), Taken::Full);
        let flood = all(2).chain(all(3)).map(|(proposal, number)| forged(proposal, number));
        let n_new = flood.filter(|record| kept.take(record.clone(), standing, now).unwrap() == Taken::New).count();
        assert_eq!(n_new, RECORDS_PER_IDENTITY - 1);
        // Once its logs are known, its word takes the forged one's place, and forged ones count for nothing.
        let key = record(20, 9, 0, 1).statement().device;
        let known = |record: &Record| (record.statement().device == key).then_some(Standing::Known);
        assert_eq!(kept.take(record(20, 2, 0, 1), known, now).unwrap(), Taken::New);
        assert!(kept.of(PackageId::from_bytes([1; 32])).contains(&record(20, 2, 0, 1)));
        for number in 0..16 {
            assert_eq!(kept.take(record(20, 4, number, 1), known, now).unwrap(), Taken::New, "{number}");
        }
        assert_eq!(kept.take(forged(5, 0), known, now).unwrap(), Taken::Full);
    }

    #[test]
    fn a_flood_by_strangers_and_by_one_takes_bounded_room_and_pushes_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let now = Instant::now();
        let take = |record: Record| kept.take(record, standing, now).unwrap();
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

    #[test]
    fn replays_change_nothing_and_replacing_has_a_pace() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Proposals::new(dir.path().join("proposals"));
        let now = Instant::now();
        let take = |rev: u32, after: Duration| kept.take(record(20, 2, 0, rev), standing, now + after).unwrap();
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
        assert_eq!(again.take(record(20, 2, 0, 9), standing, now).unwrap(), Taken::New);
    }
}
