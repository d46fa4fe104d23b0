//! `journal/mark`: how far the journal was known to be on disk.
//!
//! Written after each sync, itself not synced (but for each new segment and at the end). So it never says more than
//! what is on disk, and whatever is wrong before it is damage, not the torn end of a write that nobody waited for. Two
//! slots of 64 bytes, 512 apart, used in turn: one torn write leaves the other.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::durable::frame::{self, CHECK_BYTES};
use crate::durable::{self, WriteError};

const MAGIC: &[u8; 8] = b"SYNMARK1";
const SLOT_STEP: u64 = 512;
const BODY_BYTES: usize = 8 + 8 + 8 + 8;
const SLOT_BYTES: usize = BODY_BYTES + CHECK_BYTES;

/// A place up to which everything was synced.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) bytes: u64,
}

/// The open mark file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    turn: u64,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("mark")
}

/// The last place that the mark file tells, if any slot of it is whole.
pub(super) fn read(dir: &Path) -> io::Result<Option<Place>> {
    Ok(read_slots(dir)?.map(|(_, place)| place))
}

fn read_slots(dir: &Path) -> io::Result<Option<(u64, Place)>> {
    let mut bytes = Vec::new();
    match File::open(path(dir)) {
        Ok(file) => file.take(2 * SLOT_STEP).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let slots = [0, SLOT_STEP as usize].into_iter().filter_map(|at| decode(bytes.get(at..at + SLOT_BYTES)?));
    Ok(slots.max_by_key(|(turn, _)| *turn))
}

fn encode(turn: u64, place: Place) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for number in [turn, place.segment, place.bytes] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let check = frame::check(&[&bytes]);
    bytes.extend_from_slice(&check);
    bytes
}

fn decode(slot: &[u8]) -> Option<(u64, Place)> {
    let (body, check) = slot.split_last_chunk::<CHECK_BYTES>()?;
    let numbers = body.strip_prefix(MAGIC).filter(|_| frame::check(&[body]) == *check)?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let [turn, segment, bytes] = numbers else { return None };
    let place = Place { segment: u64::from_le_bytes(*segment), bytes: u64::from_le_bytes(*bytes) };
    Some((u64::from_le_bytes(*turn), place))
}

impl Mark {
    /// Opens the mark of the journal in `dir` for writing.
    pub(super) fn open(dir: &Path) -> Result<Self, WriteError> {
        let path = path(dir);
        let turn = read_slots(dir).map_err(|source| WriteError::from_io(&path, source))?.map_or(0, |(turn, _)| turn);
        let is_new = !path.exists();
        let file = durable::private_options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| WriteError::from_io(&path, source))?;
        if is_new {
            durable::sync_dir(dir)?;
        }
        Ok(Self { file, path, turn })
    }

    /// Notes a place that was synced.
    pub(super) fn set(&mut self, place: Place) -> Result<(), WriteError> {
        self.turn += 1;
        let at = (self.turn % 2) * SLOT_STEP;
        let bytes = encode(self.turn, place);
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.write_all(&bytes))
            .map_err(|source| WriteError::from_io(&self.path, source))
    }

    /// Makes the note durable.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        self.file.sync_all().map_err(|source| WriteError::from_io(&self.path, source))
    }
}

/// The file that says that a sync of this segment failed: what it looks like may not be what is on disk.
pub(super) fn unsynced_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.unsynced"))
}

/// Notes that a sync of a segment failed. Best effort: the disk is failing.
pub(super) fn note_unsynced(dir: &Path, number: u64) {
    if let Err(error) = fs::write(unsynced_path(dir, number), []) {
        tracing::error!(%error, segment = number, "the failed sync could not be noted either");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_slot_counts() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert_eq!(read(dir.path()).expect("readable"), None);
        let mut mark = Mark::open(dir.path()).expect("opens");
        for bytes in 1..=4 {
            mark.set(Place { segment: 1, bytes }).expect("written");
            assert_eq!(read(dir.path()).expect("readable"), Some(Place { segment: 1, bytes }));
        }
        drop(mark);
        let mut mark = Mark::open(dir.path()).expect("opens");
        mark.set(Place { segment: 2, bytes: 7 }).expect("written");
        let whole = fs::read(path(dir.path())).expect("there");
        // The fifth note is in the second slot; any damage to it leaves the fourth.
        for at in SLOT_STEP as usize..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(path(dir.path()), &flipped).expect("written");
            assert_eq!(read(dir.path()).expect("readable"), Some(Place { segment: 1, bytes: 4 }), "byte {at}");
        }
    }
}
