//! The bytes of `journal/<number>.seg`: a header, then frames, each salted with the check of the one before.
//!
//! Header, 32 bytes: `SYNJ`, version 1, three zero bytes, number u64 LE, check 16 B. A sealed segment ends with a frame
//! of kind [`SEAL`], so one that lost its end is noticed; only the last segment has none.

use super::record::{RECORD_BYTES, Record, RecordError};
use crate::durable::frame::{self, Check, FrameError, HEADER_BYTES};
use crate::durable::segment::Format;
pub(super) use crate::durable::segment::{list, path};

/// The frame that ends a sealed segment; no record has this kind.
pub(super) const SEAL: u8 = 0;

/// Segments of the journal; the salt of the first frame is the header's check.
pub(super) const FORMAT: Format = Format { magic: b"SYNJ", version: 1 };

/// What is wrong with the bytes at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DamageCause {
    /// The header is not one of this segment.
    #[error("the header is not this segment's")]
    Header,
    /// Written by a newer program.
    #[error("format version {0} is unknown")]
    Version(u8),
    /// The file ends inside a frame.
    #[error("the file ends inside a frame")]
    Cut,
    /// A frame is not what was written.
    #[error("a frame is not what was written")]
    Frame,
    /// The frame is whole, its record is not known.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The records contradict each other: a segment is missing or foreign.
    #[error("the records contradict each other: {0}")]
    Contradiction(super::Refusal),
    /// There is something behind the end of a sealed segment, or no end.
    #[error("a sealed segment does not end where it should")]
    Seal,
    /// The file is shorter than what was once known to be on disk.
    #[error("the file lost its end: {known_bytes} bytes were on disk")]
    Lost {
        /// Bytes that were synced.
        known_bytes: u64,
    },
}

impl DamageCause {
    /// Whole and checked, but of a kind that only a newer program knows.
    pub(super) const fn is_newer(self) -> bool {
        matches!(self, Self::Version(_) | Self::Record(RecordError::Kind(_)))
    }
}

impl From<FrameError> for DamageCause {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Cut => Self::Cut,
            FrameError::Length(_) | FrameError::Check => Self::Frame,
        }
    }
}

/// One record at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) record: Record,
    pub(super) offset: usize,
    pub(super) end: usize,
    pub(super) check: Check,
}

/// Everything readable of one segment.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) records: Vec<Placed>,
    /// Offset behind the last good frame, the seal included.
    pub(super) end: usize,
    /// The salt of the frame that may follow.
    pub(super) salt: Check,
    pub(super) sealed: bool,
    /// Why reading stopped before the end of the bytes; the offset is `end`.
    pub(super) stopped: Option<DamageCause>,
}

/// Reads a segment's bytes as far as they are good.
pub(super) fn scan(number: u64, bytes: &[u8]) -> Scan {
    let mut scan = Scan { records: Vec::new(), end: 0, salt: FORMAT.salt(number), sealed: false, stopped: None };
    scan.stopped = scan_into(number, bytes, &mut scan).err();
    scan
}

fn scan_into(number: u64, bytes: &[u8], scan: &mut Scan) -> Result<(), DamageCause> {
    let found = bytes.get(..HEADER_BYTES).ok_or(DamageCause::Header)?;
    if found != FORMAT.header(number) {
        let whole = frame::check(&[&found[..16]]) == found[16..] && found.starts_with(FORMAT.magic);
        return Err(if whole && found[4] > FORMAT.version {
            DamageCause::Version(found[4])
        } else {
            DamageCause::Header
        });
    }
    scan.end = HEADER_BYTES;
    while let Some(frame) = frame::read(bytes, scan.end, &scan.salt, RECORD_BYTES)? {
        if scan.sealed {
            return Err(DamageCause::Seal);
        }
        if frame.kind == SEAL {
            scan.sealed = true;
        } else {
            let record = Record::decode(frame.kind, frame.payload)?;
            scan.records.push(Placed { record, offset: scan.end, end: frame.end, check: frame.check });
        }
        (scan.end, scan.salt) = (frame.end, frame.check);
    }
    Ok(())
}

/// The bytes of a sealed segment that holds exactly these records, with the place of each.
pub(super) fn build_sealed<'a>(
    number: u64,
    records: impl Iterator<Item = &'a Record>,
) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut bytes = FORMAT.header(number).to_vec();
    let mut salt = FORMAT.salt(number);
    let mut places = Vec::new();
    for record in records {
        let offset = bytes.len();
        salt = frame::push(&mut bytes, &salt, record.kind(), &record.encode());
        places.push((offset, bytes.len()));
    }
    frame::push(&mut bytes, &salt, SEAL, &[]);
    (bytes, places)
}
