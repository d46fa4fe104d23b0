//! Other writers' entries: verified when they come in, fetchable again when they are lost.
//!
//! Shared append-only segment files of checked frames, each a run of entries of one log; the index tells where every
//! run is. Nothing is synced per append: after a power cut some runs may be gone, reads notice it by the frame's check
//! and tell what is missing, so that it is fetched again.

mod segment;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use syncra_protocol::codec;
use syncra_protocol::limits;
use syncra_protocol::origin::Origin;

use crate::durable::{self, AppendFile, WriteError};
use crate::index::{Batch, Index, IndexError, Table, VALUE_BYTES};
use segment::Run;

/// Bytes after which a segment is synced and the next one begun.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Entry bytes of one run, about: what is read to give out one entry of it.
const RUN_BYTES: usize = 256 << 10;
/// The index's note of how far the segments were indexed.
const POSITION_KEY: &[u8] = b"logs";

/// Why entries were not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The disk did not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The disk did not give it.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Empty or too long entries, or more than a log may have: the caller verified none of this.
    #[error("entries out of bounds")]
    Bounds,
}

impl LogsError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        match self {
            Self::Index(error) => matches!(error, IndexError::DiskFull),
            Self::Write(error) => error.is_disk_full(),
            Self::Read { .. } | Self::Bounds => false,
        }
    }
}

/// What a read found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Entries from the asked index on, without a gap.
    pub entries: Vec<Vec<u8>>,
    /// What of the range is not here and is to be fetched again, if it starts right behind them.
    pub missing: Option<Range<u64>>,
}

/// Where the entries `start..start + n_entries` of a log are; the key tells log and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Locator {
    n_entries: u64,
    segment: u64,
    offset: u64,
    frame_bytes: u64,
}

/// The stored entries of all other writers.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
    index: Index,
    /// The epoch of the index that was told where all runs are.
    indexed: Mutex<u64>,
    segment_bytes: u64,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    active: AppendFile,
    number: u64,
    unsynced: bool,
}

impl Logs {
    /// Opens what is in `dir` and tells the index what it does not know yet: after a rebuild, everything.
    ///
    /// # Errors
    /// [`LogsError`]; damaged files are no error, their entries are missing.
    pub fn open(dir: &Path, index: Index) -> Result<Self, LogsError> {
        Self::open_sized(dir, index, SEGMENT_BYTES)
    }

    fn open_sized(dir: &Path, index: Index, segment_bytes: u64) -> Result<Self, LogsError> {
        match Self::try_open(dir, index.clone(), segment_bytes) {
            // The index went on without what was in it.
            Err(LogsError::Index(_)) => Self::try_open(dir, index, segment_bytes),
            opened => opened,
        }
    }

    fn try_open(dir: &Path, index: Index, segment_bytes: u64) -> Result<Self, LogsError> {
        durable::make_dir(dir)?;
        let indexed = Mutex::new(index.epoch());
        let read_error = |source| LogsError::Read { path: dir.to_owned(), source };
        let numbers = segment::list(dir).map_err(read_error)?;
        let position = index.get(Table::Meta, POSITION_KEY)?;
        let position: (u64, u64) = position.and_then(|at| codec::decode(&at, VALUE_BYTES).ok()).unwrap_or_default();
        let mut last = None;
        for number in numbers.iter().copied().filter(|number| *number >= position.0) {
            let from = if number == position.0 { position.1 } else { 0 };
            last = Some((number, catch_up(dir, &index, number, from)?));
        }
        let (number, len) = match last.or_else(|| numbers.last().map(|number| (*number, None))) {
            Some((number, Some(len))) => (number, len),
            // The last one is not readable or older than the index thinks: leave it and begin another.
            Some((number, None)) => begin_segment(dir, number.max(position.0) + 1)?,
            None => begin_segment(dir, position.0 + 1)?,
        };
        let active = AppendFile::open(&segment::path(dir, number), len)?;
        let writer = Mutex::new(Writer { active, number, unsynced: false });
        Ok(Self { dir: dir.to_owned(), index, indexed, segment_bytes, writer })
    }

    /// Stores verified entries `start..` of a log; those already here are not written again.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn append(&self, origin: &Origin, start: u64, entries: &[Vec<u8>]) -> Result<(), LogsError> {
        let in_bounds = |entry: &Vec<u8>| !entry.is_empty() && entry.len() <= limits::ENTRY_BYTES;
        let end = start.checked_add(entries.len() as u64).filter(|end| *end <= limits::LOG_ENTRIES);
        let (Some(end), true) = (end, entries.iter().all(in_bounds)) else { return Err(LogsError::Bounds) };
        self.indexed(|| {
            let mut writer = self.writer();
            for gap in gaps(&self.index, origin, start..end)? {
                let offset = |index: u64| usize::try_from(index - start).expect("within the slice");
                let mut at = gap.start;
                for run in split(&entries[offset(gap.start)..offset(gap.end)]) {
                    self.write(&mut writer, Run { origin: *origin, start: at, entries: run.to_vec() })?;
                    at += run.len() as u64;
                }
            }
            Ok(())
        })
    }

    /// Does what needs the index. When the index lost everything, it is told anew where all runs are, and asked again.
    fn indexed<T>(&self, work: impl Fn() -> Result<T, LogsError>) -> Result<T, LogsError> {
        self.tell_index()?;
        match work() {
            Err(LogsError::Index(error)) => match self.tell_index()? {
                true => work(),
                false => Err(error.into()),
            },
            done => done,
        }
    }

    /// Tells the index where all runs are, unless it knows. True if it did not.
    fn tell_index(&self) -> Result<bool, LogsError> {
        let mut indexed = self.indexed.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.index.epoch();
        if *indexed == epoch {
            return Ok(false);
        }
        let read_error = |source| LogsError::Read { path: self.dir.clone(), source };
        for number in segment::list(&self.dir).map_err(read_error)? {
            catch_up(&self.dir, &self.index, number, 0)?;
        }
        *indexed = epoch;
        Ok(true)
    }

    fn write(&self, writer: &mut Writer, run: Run) -> Result<(), LogsError> {
        if writer.active.len() >= self.segment_bytes || writer.active.is_broken() {
            // A broken file is left as it is; what it lost is fetched again.
            if !writer.active.is_broken() {
                writer.active.sync()?;
            }
            let (number, len) = begin_segment(&self.dir, writer.number + 1)?;
            *writer =
                Writer { active: AppendFile::open(&segment::path(&self.dir, number), len)?, number, unsynced: false };
        }
        let frame = segment::encode(writer.number, &run);
        let offset = writer.active.append(&frame)?;
        writer.unsynced = true;
        let mut batch = Batch::new();
        let locator = Locator {
            n_entries: run.entries.len() as u64,
            segment: writer.number,
            offset,
            frame_bytes: frame.len() as u64,
        };
        locator.put(&mut batch, &run.origin, run.start)?;
        put_position(&mut batch, writer.number, writer.active.len())?;
        Ok(self.index.write(batch)?)
    }

    /// The entries of a range, as far as they are here without a gap, at least one and at most about `max_bytes`.
    ///
    /// # Errors
    /// [`LogsError`]; lost and damaged entries are no error but [`Found::missing`].
    pub fn read(&self, origin: &Origin, range: Range<u64>, max_bytes: usize) -> Result<Found, LogsError> {
        self.indexed(|| self.read_indexed(origin, range.clone(), max_bytes))
    }

    fn read_indexed(&self, origin: &Origin, range: Range<u64>, max_bytes: usize) -> Result<Found, LogsError> {
        let (mut found, mut at, mut bytes) = (Found::default(), range.start, 0);
        while at < range.end && bytes < max_bytes {
            let Some((start, locator)) = self.covering(origin, at)? else {
                found.missing = gaps(&self.index, origin, at..range.end)?.into_iter().next();
                break;
            };
            let Some(run) = self.read_run(origin, &locator)?.filter(|run| run.covers(at)) else {
                tracing::warn!(%origin, start, "stored entries are lost or damaged and will be fetched again");
                self.index.delete(Table::Runs, &run_key(origin, start))?;
                continue;
            };
            let end = range.end.min(start + locator.n_entries).min(run.end());
            for entry in run.entries_from(at, end) {
                if bytes >= max_bytes {
                    break;
                }
                bytes += entry.len();
                at += 1;
                found.entries.push(entry);
            }
        }
        Ok(found)
    }

    /// The gaps of a range: what was never stored or was found lost.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn missing(&self, origin: &Origin, range: Range<u64>) -> Result<Vec<Range<u64>>, LogsError> {
        self.indexed(|| gaps(&self.index, origin, range.clone()))
    }

    /// Bytes on disk of what is stored of a log.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn stored_bytes(&self, origin: &Origin) -> Result<u64, LogsError> {
        self.indexed(|| {
            let runs = self.index.scan(Table::Runs, &codec::encode(origin), &[], usize::MAX)?;
            Ok(runs.iter().filter_map(|(_, value)| Locator::parse(value)).map(|locator| locator.frame_bytes).sum())
        })
    }

    /// Forgets a log; its bytes go with the next [`Logs::compact`].
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn forget(&self, origin: &Origin) -> Result<(), LogsError> {
        self.indexed(|| {
            let mut batch = Batch::new();
            for (key, _) in self.index.scan(Table::Runs, &codec::encode(origin), &[], usize::MAX)? {
                batch.delete(Table::Runs, &key)?;
            }
            Ok(self.index.write(batch)?)
        })
    }

    /// Rewrites full segments of which less than half is still wanted. Tells how many bytes were given back.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn compact(&self) -> Result<u64, LogsError> {
        // A run that an empty index does not know would be taken for unwanted.
        self.tell_index()?;
        let writer = self.writer();
        let mut freed_bytes = 0;
        for number in segment::list(&self.dir).map_err(|source| LogsError::Read { path: self.dir.clone(), source })? {
            if number < writer.number {
                freed_bytes += self.compact_one(number)?;
            }
        }
        Ok(freed_bytes)
    }

    fn compact_one(&self, number: u64) -> Result<u64, LogsError> {
        let (path, epoch) = (segment::path(&self.dir, number), self.index.epoch());
        let bytes = fs::read(&path).map_err(|source| LogsError::Read { path: path.clone(), source })?;
        let mut live = Vec::new();
        for placed in segment::scan(number, &bytes, 0).runs {
            let locators = self.locators(&placed.run)?;
            let locators: Vec<_> = locators
                .into_iter()
                .filter(|(_, locator)| locator.segment == number && locator.offset == placed.offset as u64)
                .collect();
            if !locators.is_empty() {
                live.push((placed.run, locators));
            }
        }
        let mut rewritten = segment::FORMAT.header(number).to_vec();
        let mut batch = Batch::new();
        for (run, locators) in &live {
            let (offset, frame) = (rewritten.len() as u64, segment::encode(number, run));
            rewritten.extend_from_slice(&frame);
            for (start, locator) in locators {
                Locator { offset, ..*locator }.put(&mut batch, &run.origin, *start)?;
            }
        }
        // An index that lost everything meanwhile calls nothing wanted.
        if rewritten.len() * 2 > bytes.len() || self.index.epoch() != epoch {
            return Ok(0);
        }
        // After a crash between the two the locators lead to wrong frames; reads notice, and it is fetched again.
        durable::replace(&path, &rewritten)?;
        self.index.write(batch)?;
        Ok((bytes.len() - rewritten.len()) as u64)
    }

    /// Makes what was appended so far durable, once in a while and at the end.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn sync(&self) -> Result<(), LogsError> {
        let mut writer = self.writer();
        if writer.unsynced {
            writer.active.sync()?;
            writer.unsynced = false;
        }
        Ok(())
    }

    /// Waits for a writer in between; a panic of one left at worst a frame that the index does not know.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that has entry `at`.
    fn covering(&self, origin: &Origin, at: u64) -> Result<Option<(u64, Locator)>, LogsError> {
        let found = self.index.floor(Table::Runs, &codec::encode(origin), &run_key(origin, at))?;
        let found = found.and_then(|(key, value)| Some((start_of(&key), Locator::parse(&value)?)));
        Ok(found.filter(|(start, locator)| at - start < locator.n_entries))
    }

    /// The locators that lead into a stored run.
    fn locators(&self, run: &Run) -> Result<Vec<(u64, Locator)>, LogsError> {
        let (mut found, mut at) = (Vec::new(), run.start);
        while at < run.end() {
            match self.covering(&run.origin, at)? {
                Some((start, locator)) => {
                    found.push((start, locator));
                    at = start + locator.n_entries;
                }
                None => at = gaps(&self.index, &run.origin, at..run.end())?.first().map_or(run.end(), |gap| gap.end),
            }
        }
        Ok(found)
    }

    fn read_run(&self, origin: &Origin, locator: &Locator) -> Result<Option<Run>, LogsError> {
        let path = segment::path(&self.dir, locator.segment);
        match segment::read_at(&path, locator.segment, locator.offset, locator.frame_bytes) {
            Ok(run) => Ok(run.filter(|run| run.origin == *origin)),
            Err(source) if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
            Err(source) => Err(LogsError::Read { path, source }),
        }
    }
}

impl Locator {
    fn put(self, batch: &mut Batch, origin: &Origin, start: u64) -> Result<(), IndexError> {
        batch.put(Table::Runs, &run_key(origin, start), &codec::encode(&self))
    }

    fn parse(value: &[u8]) -> Option<Self> {
        codec::decode(value, VALUE_BYTES).ok()
    }
}

fn run_key(origin: &Origin, start: u64) -> Vec<u8> {
    [codec::encode(origin).as_slice(), &start.to_be_bytes()].concat()
}

fn start_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(*key.last_chunk().unwrap_or(&[0; 8]))
}

fn put_position(batch: &mut Batch, segment: u64, len: u64) -> Result<(), IndexError> {
    batch.put(Table::Meta, POSITION_KEY, &codec::encode(&(segment, len)))
}

fn gaps(index: &Index, origin: &Origin, range: Range<u64>) -> Result<Vec<Range<u64>>, LogsError> {
    let prefix = codec::encode(origin);
    let first = index.floor(Table::Runs, &prefix, &run_key(origin, range.start))?;
    let rest = index.scan(Table::Runs, &prefix, &run_key(origin, range.start), usize::MAX)?;
    let (mut gaps, mut at) = (Vec::new(), range.start);
    for (key, value) in first.into_iter().chain(rest) {
        let (start, Some(locator)) = (start_of(&key), Locator::parse(&value)) else { continue };
        if start >= range.end {
            break;
        }
        if start > at {
            gaps.push(at..start);
        }
        at = at.max(start.saturating_add(locator.n_entries));
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    Ok(gaps)
}

/// Runs of about [`RUN_BYTES`].
fn split(entries: &[Vec<u8>]) -> impl Iterator<Item = &[Vec<u8>]> {
    let mut bytes = 0;
    let mut runs = entries.chunk_by(move |before, _| {
        bytes += before.len();
        let goes_on = bytes < RUN_BYTES;
        if !goes_on {
            bytes = 0;
        }
        goes_on
    });
    std::iter::from_fn(move || runs.next())
}

fn begin_segment(dir: &Path, number: u64) -> Result<(u64, u64), WriteError> {
    let header = segment::FORMAT.header(number);
    durable::replace(&segment::path(dir, number), &header)?;
    Ok((number, header.len() as u64))
}

/// Tells the index the runs of a segment from offset `from` on; the result is the end of what is good, `None` if the
/// file is none of ours.
fn catch_up(dir: &Path, index: &Index, number: u64, from: u64) -> Result<Option<u64>, LogsError> {
    let path = segment::path(dir, number);
    let bytes = fs::read(&path).map_err(|source| LogsError::Read { path, source })?;
    if !bytes.starts_with(&segment::FORMAT.header(number)) {
        tracing::warn!(segment = number, "a segment of stored entries is damaged; they will be fetched again");
        return Ok(None);
    }
    // What the index knows beyond the end was lost with the power; reads will notice.
    let from = usize::try_from(from).ok().filter(|from| *from <= bytes.len()).unwrap_or(0);
    let scan = segment::scan(number, &bytes, from);
    for placed in scan.runs {
        let frame_bytes = (placed.end - placed.offset) as u64;
        let run = placed.run;
        let mut batch = Batch::new();
        for gap in gaps(index, &run.origin, run.start..run.end())? {
            let locator =
                Locator { n_entries: gap.end - gap.start, segment: number, offset: placed.offset as u64, frame_bytes };
            locator.put(&mut batch, &run.origin, gap.start)?;
        }
        index.write(batch)?;
    }
    let mut batch = Batch::new();
    put_position(&mut batch, number, scan.end as u64)?;
    index.write(batch)?;
    Ok(Some(scan.end as u64))
}

#[cfg(test)]
mod tests;
