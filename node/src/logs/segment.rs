//! The bytes of `logs/<number>.seg`: a header, then frames of kind 1, each a [`Run`], salted with the header's check.
//! They are not chained: one lost frame costs its own entries only.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use syncra_protocol::codec;
use syncra_protocol::limits;
use syncra_protocol::origin::Origin;

use crate::durable::frame::{self, FrameError, HEADER_BYTES, OVERHEAD_BYTES};
use crate::durable::segment::Format;
pub(super) use crate::durable::segment::{list, path};

/// Segments of the logs; the salt of every frame is the header's check.
pub(super) const FORMAT: Format = Format { magic: b"SYNL", version: 1 };
const RUN: u8 = 1;
/// Bytes of one frame's payload, hard: a run of [`super::RUN_BYTES`] whose last entry is as long as can be, and lengths.
const PAYLOAD_BYTES: usize = 2 * (super::RUN_BYTES + limits::ENTRY_BYTES);

/// Consecutive entries of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) origin: Origin,
    pub(super) start: u64,
    pub(super) entries: Vec<Vec<u8>>,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.entries.len() as u64)
    }

    pub(super) fn covers(&self, at: u64) -> bool {
        (self.start..self.end()).contains(&at)
    }

    /// The entries `from..to`, both within the run.
    pub(super) fn entries_from(self, from: u64, to: u64) -> impl Iterator<Item = Vec<u8>> {
        let skip = usize::try_from(from - self.start).expect("within a vector");
        let n_entries = usize::try_from(to - from).expect("within a vector");
        self.entries.into_iter().skip(skip).take(n_entries)
    }
}

/// A run at its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) run: Run,
    pub(super) offset: usize,
    pub(super) end: usize,
}

/// What is good of a segment.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) runs: Vec<Placed>,
    /// Offset behind the last good frame.
    pub(super) end: usize,
}

/// The frame of a run.
pub(super) fn encode(number: u64, run: &Run) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push(&mut bytes, &FORMAT.salt(number), RUN, &codec::encode(run));
    bytes
}

fn decode(kind: u8, payload: &[u8]) -> Option<Run> {
    let run: Run = codec::decode(payload, PAYLOAD_BYTES).ok()?;
    (kind == RUN && run.end() <= limits::LOG_ENTRIES).then_some(run)
}

/// The run whose frame is at `offset`; `None` if it is not what was written.
pub(super) fn read_at(path: &Path, number: u64, offset: u64, frame_bytes: u64) -> io::Result<Option<Run>> {
    let Some(frame_bytes) = usize::try_from(frame_bytes).ok().filter(|n| *n <= PAYLOAD_BYTES + OVERHEAD_BYTES) else {
        return Ok(None);
    };
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; frame_bytes];
    file.read_exact(&mut bytes)?;
    let frame = frame::read(&bytes, 0, &FORMAT.salt(number), PAYLOAD_BYTES).ok().flatten();
    Ok(frame.and_then(|frame| decode(frame.kind, frame.payload)))
}

/// Reads the frames from `from` on (0: the first). A bad one is stepped over if a good one follows where it says it
/// ends; otherwise what is behind it is lost.
pub(super) fn scan(number: u64, bytes: &[u8], from: usize) -> Scan {
    let salt = FORMAT.salt(number);
    let mut at = from.max(HEADER_BYTES);
    let mut scan = Scan { runs: Vec::new(), end: at };
    loop {
        match frame::read(bytes, at, &salt, PAYLOAD_BYTES) {
            Ok(Some(frame)) => {
                if let Some(run) = decode(frame.kind, frame.payload) {
                    scan.runs.push(Placed { run, offset: at, end: frame.end });
                }
                (at, scan.end) = (frame.end, frame.end);
            }
            Err(FrameError::Check) => match behind(bytes, at) {
                Some(next) if matches!(frame::read(bytes, next, &salt, PAYLOAD_BYTES), Ok(Some(_))) => at = next,
                _ => return scan,
            },
            Ok(None) | Err(_) => return scan,
        }
    }
}

fn behind(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>)?;
    Some(at + OVERHEAD_BYTES + u32::from_le_bytes(*length) as usize)
}
