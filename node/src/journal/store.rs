//! Segments, mark and truth together, without a thread: what the writer drives and the tests break.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::mark::{self, Mark, Place};
use super::record::{Record, Slot};
use super::segment::{self, DamageCause, SEAL, Scan};
use super::truth::{Refusal, Truth};
use super::writer::Counters;
use super::{OpenError, Options, RECORD_BYTES};
use crate::durable::frame::{self, CHECK_BYTES, Check, HEADER_BYTES};
use crate::durable::{self, AppendFile, WriteError};

/// Where the record stands that counts for its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Location {
    segment: u64,
    offset: usize,
    bytes: usize,
}

/// How much of a segment still counts.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    bytes: usize,
    dead_bytes: usize,
}

/// What all segments say, and where it stands.
#[derive(Debug, Default)]
struct Contents {
    truth: Truth,
    slots: HashMap<Slot, Location>,
    usage: BTreeMap<u64, Usage>,
}

impl Contents {
    fn take(&mut self, record: Record, at: Location) -> Result<(), Refusal> {
        let usage = self.usage.entry(at.segment).or_default();
        usage.bytes += at.bytes;
        if let Some(slot) = record.slot()
            && let Some(before) = self.slots.insert(slot, at)
        {
            self.usage.entry(before.segment).or_default().dead_bytes += before.bytes;
        }
        self.truth.apply(record)
    }
}

/// The end of the last segment.
#[derive(Debug)]
struct Tail {
    number: u64,
    end: usize,
    salt: Check,
    sealed: bool,
    torn_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    options: Options,
    active: AppendFile,
    number: u64,
    salt: Check,
    mark: Mark,
    /// The segment that the mark durably names; those before it may be rewritten.
    marked: u64,
    slots: HashMap<Slot, Location>,
    usage: BTreeMap<u64, Usage>,
    truth: Arc<RwLock<Truth>>,
    counters: Arc<Counters>,
}

impl Store {
    /// Opens what is in `dir`; also tells how many bytes of a torn end were cut off.
    pub(super) fn open(dir: &Path, options: Options) -> Result<(Self, u64), OpenError> {
        durable::make_dir(dir)?;
        let mut contents = Contents::default();
        let tail = match load(dir, &mut contents)? {
            Some(tail) => tail,
            None => begin_segment(dir, 1)?,
        };
        let torn_bytes = tail.torn_bytes;
        if torn_bytes > 0 {
            tracing::warn!(torn_bytes, "a write that was never acknowledged is cut off the journal");
        }
        for number in 1..=tail.number {
            rewrite_unsynced(dir, number)?;
        }
        let active = open_synced(dir, &tail)?;
        let (active, tail) = if tail.sealed {
            let tail = begin_segment(dir, tail.number + 1)?;
            (open_synced(dir, &tail)?, tail)
        } else {
            (active, tail)
        };
        let mut store = Self {
            dir: dir.to_owned(),
            options,
            active,
            number: tail.number,
            salt: tail.salt,
            mark: Mark::open(dir)?,
            marked: 0,
            slots: contents.slots,
            usage: contents.usage,
            truth: Arc::new(RwLock::new(contents.truth)),
            counters: Arc::default(),
        };
        store.set_mark_durably()?;
        Ok((store, torn_bytes))
    }

    pub(super) fn truth(&self) -> Arc<RwLock<Truth>> {
        Arc::clone(&self.truth)
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// What to do with a record: `Ok(true)` write it, `Ok(false)` it is on disk already.
    pub(super) fn decide(&self, record: &Record) -> Result<bool, Refusal> {
        self.truth.read().unwrap_or_else(PoisonError::into_inner).decide(&self.options.here, record)
    }

    /// Writes decided records with one sync, then lets the truth have them.
    pub(super) fn commit(&mut self, records: Vec<Record>) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        let mut salt = self.salt;
        let start = usize::try_from(self.active.len()).expect("a segment fits into memory");
        let mut places = Vec::with_capacity(records.len());
        for record in &records {
            let offset = start + bytes.len();
            salt = frame::push(&mut bytes, &salt, record.kind(), &record.encode());
            places.push(Location { segment: self.number, offset, bytes: start + bytes.len() - offset });
        }
        self.append(&bytes)?;
        self.sync()?;
        self.salt = salt;
        self.counters.committed(records.len());
        if let Err(error) = self.mark.set(self.place()) {
            // The mark then says less than there is, which only makes the next start less strict.
            tracing::debug!(%error, "the journal's mark was not moved");
        }
        self.take(records, places);
        Ok(())
    }

    fn take(&mut self, records: Vec<Record>, places: Vec<Location>) {
        let mut truth = self.truth.write().unwrap_or_else(PoisonError::into_inner);
        let mut contents = Contents {
            truth: std::mem::take(&mut *truth),
            slots: std::mem::take(&mut self.slots),
            usage: std::mem::take(&mut self.usage),
        };
        for (record, place) in records.into_iter().zip(places) {
            contents.take(record, place).expect("decided on before it was written");
        }
        (*truth, self.slots, self.usage) = (contents.truth, contents.slots, contents.usage);
    }

    /// Appends; if the disk is full and there is a reserve, that is given up first.
    fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        match self.active.append(bytes) {
            Err(error) if error.is_disk_full() && self.give_up_reserve() => self.active.append(bytes).map(drop),
            other => other.map(drop),
        }
    }

    fn give_up_reserve(&mut self) -> bool {
        let given_up = self.options.reserve.as_ref().is_some_and(|reserve| fs::remove_file(reserve).is_ok());
        if given_up {
            tracing::warn!("the disk is full: the reserve is given up, free some space");
        }
        given_up
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        let synced = self.active.sync();
        if synced.is_err() {
            mark::note_unsynced(&self.dir, self.number);
        }
        synced
    }

    fn place(&self) -> Place {
        Place { segment: self.number, bytes: self.active.len() }
    }

    fn set_mark_durably(&mut self) -> Result<(), WriteError> {
        self.mark.set(self.place())?;
        self.mark.sync()?;
        self.marked = self.number;
        Ok(())
    }

    /// Begins the next segment if this one is full, and compacts. Failures leave everything usable as it is.
    pub(super) fn tend(&mut self) {
        if self.active.len() < self.options.segment_bytes || self.active.is_broken() {
            return;
        }
        if let Err(error) = self.rotate().and_then(|()| self.compact()) {
            tracing::warn!(%error, "the journal goes on without compaction");
        }
    }

    pub(super) fn rotate(&mut self) -> Result<(), WriteError> {
        let mut seal = Vec::new();
        frame::push(&mut seal, &self.salt, SEAL, &[]);
        let unsealed_bytes = self.active.len();
        self.active.append(&seal)?;
        self.sync()?;
        let tail = match begin_segment(&self.dir, self.number + 1) {
            Ok(tail) => tail,
            Err(error) => {
                // Nothing may follow a seal.
                self.active.take_back(unsealed_bytes)?;
                return Err(error);
            }
        };
        self.active = AppendFile::open(&segment::path(&self.dir, tail.number), tail.end as u64)?;
        (self.number, self.salt) = (tail.number, tail.salt);
        self.set_mark_durably()
    }

    /// Rewrites sealed segments of which less than half still counts.
    pub(super) fn compact(&mut self) -> Result<(), WriteError> {
        if self.marked != self.number {
            return Ok(());
        }
        let wasteful = |usage: &Usage| usage.dead_bytes * 2 > usage.bytes;
        let numbers: Vec<u64> =
            self.usage.range(..self.number).filter(|(_, usage)| wasteful(usage)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.compact_one(number)?;
        }
        Ok(())
    }

    fn compact_one(&mut self, number: u64) -> Result<(), WriteError> {
        let path = segment::path(&self.dir, number);
        let bytes = fs::read(&path).map_err(|source| WriteError::from_io(&path, source))?;
        let scan = segment::scan(number, &bytes);
        if scan.stopped.is_some() || !scan.sealed {
            // The next start names the damage; rewriting would hide it.
            tracing::error!(path = %path.display(), "a journal segment is damaged and is not compacted");
            return Ok(());
        }
        let counts = |placed: &&segment::Placed| {
            placed.record.slot().is_none_or(|slot| {
                self.slots.get(&slot).is_some_and(|at| at.segment == number && at.offset == placed.offset)
            })
        };
        let live: Vec<&Record> = scan.records.iter().filter(counts).map(|placed| &placed.record).collect();
        let (bytes, places) = segment::build_sealed(number, live.iter().copied());
        durable::replace(&path, &bytes)?;
        let mut usage = Usage::default();
        for (record, (offset, end)) in live.iter().zip(places) {
            usage.bytes += end - offset;
            if let Some(slot) = record.slot() {
                self.slots.insert(slot, Location { segment: number, offset, bytes: end - offset });
            }
        }
        self.usage.insert(number, usage);
        self.counters.compacted();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn fail_from_now_on(&mut self) {
        self.active.fail_from_now_on();
    }

    /// The last word: everything is synced already, only the mark is not.
    pub(super) fn finish(mut self) {
        if !self.active.is_broken()
            && let Err(error) = self.set_mark_durably()
        {
            tracing::debug!(%error, "the journal's mark was not moved");
        }
    }
}

/// Reads what is there, changing nothing: for a journal that does not open.
pub(super) fn salvage(dir: &Path) -> (Truth, Option<OpenError>) {
    let mut contents = Contents::default();
    let damage = load(dir, &mut contents).err();
    (contents.truth, damage)
}

fn begin_segment(dir: &Path, number: u64) -> Result<Tail, WriteError> {
    durable::replace(&segment::path(dir, number), &segment::FORMAT.header(number))?;
    Ok(Tail { number, end: HEADER_BYTES, salt: segment::FORMAT.salt(number), sealed: false, torn_bytes: 0 })
}

/// Opens the last segment behind its good bytes, all of them on disk: frames of a killed process may be in memory only,
/// and from here on we rely on them.
fn open_synced(dir: &Path, tail: &Tail) -> Result<AppendFile, WriteError> {
    let mut active = AppendFile::open(&segment::path(dir, tail.number), tail.end as u64)?;
    active.sync()?;
    Ok(active)
}

/// If a sync of this segment once failed, its good bytes are written anew: the kernel may show pages from memory that
/// it never wrote and takes for clean.
fn rewrite_unsynced(dir: &Path, number: u64) -> Result<(), OpenError> {
    let note = mark::unsynced_path(dir, number);
    if !note.exists() {
        return Ok(());
    }
    let path = segment::path(dir, number);
    let bytes = fs::read(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
    durable::replace(&path, &bytes[..segment::scan(number, &bytes).end])?;
    fs::remove_file(&note).map_err(|source| WriteError::from_io(&note, source))?;
    Ok(())
}

/// Reads all segments into `contents`, as far as they are good; `None` if there is no journal yet.
fn load(dir: &Path, contents: &mut Contents) -> Result<Option<Tail>, OpenError> {
    let read_error = |source| OpenError::Read { path: dir.to_owned(), source };
    let marked = mark::read(dir).map_err(read_error)?;
    let numbers = segment::list(dir).map_err(read_error)?;
    let last = numbers.last().copied().unwrap_or(0);
    let missing = (1..=last).zip(&numbers).find(|(expected, found)| expected != *found).map(|(expected, _)| expected);
    let marked_missing = marked.map(|place| place.segment).filter(|segment| *segment > last);
    let mut tail = None;
    for number in 1..missing.unwrap_or(last + 1) {
        tail = Some(load_segment(dir, number, number == last, marked, contents)?);
    }
    match missing.or(marked_missing) {
        Some(number) => Err(OpenError::Missing { path: dir.to_owned(), number }),
        None => Ok(tail),
    }
}

fn load_segment(
    dir: &Path,
    number: u64,
    is_last: bool,
    marked: Option<Place>,
    contents: &mut Contents,
) -> Result<Tail, OpenError> {
    let path = segment::path(dir, number);
    let bytes = fs::read(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
    let Scan { records, end, salt, sealed, stopped } = segment::scan(number, &bytes);
    for placed in records {
        let at = Location { segment: number, offset: placed.offset, bytes: placed.end - placed.offset };
        contents.take(placed.record, at).map_err(|refusal| OpenError::Damaged {
            path: path.clone(),
            offset: at.offset as u64,
            cause: DamageCause::Contradiction(refusal),
        })?;
    }
    let known_bytes = marked.filter(|place| place.segment == number).map_or(0, |place| place.bytes);
    let damage = match stopped {
        Some(cause) if !is_last || (end as u64) < known_bytes => Some(cause),
        Some(cause) if !may_be_torn(cause, &bytes, end, marked.is_none()) => Some(cause),
        None if !is_last && !sealed => Some(DamageCause::Seal),
        None if (end as u64) < known_bytes => Some(DamageCause::Lost { known_bytes }),
        _ => None,
    };
    if let Some(cause) = damage {
        if cause.is_newer() {
            return Err(OpenError::Newer { path, cause });
        }
        return Err(OpenError::Damaged { path, offset: end as u64, cause });
    }
    Ok(Tail { number, end, salt, sealed, torn_bytes: (bytes.len() - end) as u64 })
}

/// Could these bytes at the end of the last segment, behind the mark, be what a power cut left of a write? Whole frames
/// of unknown content are not. Where the mark is lost, a good frame behind the bad one tells that time went on.
fn may_be_torn(cause: DamageCause, bytes: &[u8], at: usize, mark_lost: bool) -> bool {
    let torn = matches!(cause, DamageCause::Cut | DamageCause::Frame | DamageCause::Seal);
    torn && !(mark_lost && followed_by_a_frame(bytes, at))
}

fn followed_by_a_frame(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(payload_bytes) = rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize) else {
        return false;
    };
    if payload_bytes > RECORD_BYTES {
        return false;
    }
    let check_at = 4 + 1 + payload_bytes;
    let Some(check) = rest.get(check_at..).and_then(<[u8]>::first_chunk::<CHECK_BYTES>) else {
        return false;
    };
    matches!(frame::read(rest, check_at + CHECK_BYTES, check, RECORD_BYTES), Ok(Some(_)))
}
