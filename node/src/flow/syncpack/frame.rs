//! The frames of a `.syncpack`, and the sum over all of them at its end.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use syncra_protocol::codec::{self, CodecError};
use syncra_protocol::id::PackageId;
use syncra_protocol::limits::{ENTRIES_PER_FRAME, FRAME_BYTES, HASH_SEQ_BYTES};
use syncra_protocol::origin::Origin;

/// What every file begins with; the last byte is the format's version.
pub const MAGIC: &[u8; 8] = b"SYNPACK\x01";
/// Bytes of a frame's head: its kind, then the length of what follows as u32 LE.
pub const HEAD_BYTES: usize = 5;
/// Bytes of the sum in the last frame.
pub const SUM_BYTES: usize = 32;

const PACKAGE: u8 = 1;
const LOG: u8 = 2;
const ENTRIES: u8 = 3;
const BLOB: u8 = 4;
const END: u8 = 5;

/// A package begins: what its logs begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFrame {
    /// The package.
    pub package: PackageId,
    /// Its Genesis entry.
    pub genesis: Vec<u8>,
    /// The Genesis entries of its owners.
    pub identities: Vec<Vec<u8>>,
}

/// A log of the package begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFrame {
    /// The log.
    pub origin: Origin,
    /// The signed note over all entries that follow.
    pub note: Vec<u8>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A package begins.
    Package(PackageFrame),
    /// A log of that package begins.
    Log(LogFrame),
    /// Further entries of that log.
    Entries(Vec<Vec<u8>>),
    /// A blob; what it is, its hash tells.
    Blob(Vec<u8>),
    /// The end: BLAKE3 over every byte before this frame.
    End([u8; SUM_BYTES]),
}

/// Why bytes are not a `.syncpack`.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It begins like something else.
    #[error("it does not begin like a .syncpack")]
    Magic,
    /// Made by a newer program.
    #[error("format version {0} is not known, a newer version of this program is needed")]
    Version(u8),
    /// A kind of frame that there is not.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// Longer than its kind may be.
    #[error("a frame of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes that the head declares.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A malformed frame.
    #[error("a frame of kind {kind} is malformed")]
    Codec {
        /// Its kind.
        kind: u8,
        /// What is wrong with it.
        source: CodecError,
    },
    /// Too many entries at once.
    #[error("{0} entries in a frame, at most {ENTRIES_PER_FRAME} are allowed")]
    Entries(usize),
    /// It ends in the middle.
    #[error("the file is cut off")]
    Truncated,
    /// The sum at the end is another one.
    #[error("the file was changed: its sum is not the one at its end")]
    Sum,
    /// Bytes behind the end.
    #[error("there is something behind the end")]
    Trailing,
    /// The system refuses.
    #[error("cannot read it")]
    Read(#[source] io::Error),
}

impl Frame {
    /// The frame's bytes, head included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Package(frame) => framed(PACKAGE, &codec::encode(frame)),
            Self::Log(frame) => framed(LOG, &codec::encode(frame)),
            Self::Entries(entries) => framed(ENTRIES, &codec::encode(entries)),
            Self::Blob(bytes) => framed(BLOB, bytes),
            Self::End(sum) => framed(END, sum),
        }
    }
}

/// The head of a blob frame whose bytes follow.
#[must_use]
pub fn blob_head(len: usize) -> [u8; HEAD_BYTES] {
    head(BLOB, len)
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&head(kind, payload.len()), payload].concat()
}

fn head(kind: u8, len: usize) -> [u8; HEAD_BYTES] {
    let len = u32::try_from(len).expect("limits of all kinds are far below 4 GiB").to_le_bytes();
    [kind, len[0], len[1], len[2], len[3]]
}

/// Reads frame by frame, and checks the sum at the end.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    sum: blake3::Hasher,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn open(mut source: R) -> Result<Self, FrameError> {
        let mut magic = [0; MAGIC.len()];
        fill(&mut source, &mut magic).map_err(|error| match error {
            FrameError::Truncated => FrameError::Magic,
            other => other,
        })?;
        if magic[..MAGIC.len() - 1] != MAGIC[..MAGIC.len() - 1] {
            return Err(FrameError::Magic);
        }
        if magic != *MAGIC {
            return Err(FrameError::Version(magic[MAGIC.len() - 1]));
        }
        let mut sum = blake3::Hasher::new();
        sum.update(&magic);
        Ok(Self { source, sum, ended: false })
    }

    /// The next frame; none behind the last one, whose sum is then known to be right.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.ended {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        fill(&mut self.source, &mut head)?;
        let (kind, len) = (head[0], u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize);
        let max = match kind {
            PACKAGE | LOG | ENTRIES => FRAME_BYTES,
            BLOB => HASH_SEQ_BYTES,
            END => SUM_BYTES,
            other => return Err(FrameError::Kind(other)),
        };
        if len > max {
            return Err(FrameError::TooLong { len, max });
        }
        let payload = self.payload(len)?;
        if kind == END {
            return self.end(&payload).map(|()| None);
        }
        self.sum.update(&head);
        self.sum.update(&payload);
        parse(kind, payload).map(Some)
    }

    /// Grows with what is there, not with what the head promises.
    fn payload(&mut self, len: usize) -> Result<Vec<u8>, FrameError> {
        let mut payload = Vec::new();
        let read = (&mut self.source).take(len as u64).read_to_end(&mut payload).map_err(FrameError::Read)?;
        if read == len { Ok(payload) } else { Err(FrameError::Truncated) }
    }

    fn end(&mut self, sum: &[u8]) -> Result<(), FrameError> {
        if sum != self.sum.finalize().as_bytes() {
            return Err(FrameError::Sum);
        }
        let mut more = [0; 1];
        match self.source.read(&mut more) {
            Ok(0) => {}
            Ok(_) => return Err(FrameError::Trailing),
            Err(error) => return Err(FrameError::Read(error)),
        }
        self.ended = true;
        Ok(())
    }
}

fn parse(kind: u8, payload: Vec<u8>) -> Result<Frame, FrameError> {
    let malformed = |source| FrameError::Codec { kind, source };
    Ok(match kind {
        PACKAGE => Frame::Package(codec::decode(&payload, FRAME_BYTES).map_err(malformed)?),
        LOG => Frame::Log(codec::decode(&payload, FRAME_BYTES).map_err(malformed)?),
        ENTRIES => {
            let entries: Vec<Vec<u8>> = codec::decode(&payload, FRAME_BYTES).map_err(malformed)?;
            if entries.len() > ENTRIES_PER_FRAME {
                return Err(FrameError::Entries(entries.len()));
            }
            Frame::Entries(entries)
        }
        _ => Frame::Blob(payload),
    })
}

fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), FrameError> {
    source.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Read(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        frames.iter().for_each(|frame| bytes.extend(frame.encode()));
        let sum = *blake3::hash(&bytes).as_bytes();
        bytes.extend(Frame::End(sum).encode());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let mut reader = Reader::open(bytes)?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.read()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_noticed() {
        let frames = [
            Frame::Package(PackageFrame {
                package: PackageId::from_bytes([7; 32]),
                genesis: vec![1, 2, 3],
                identities: vec![vec![4]],
            }),
            Frame::Entries(vec![vec![5; 10], vec![6]]),
            Frame::Blob(b"bytes".to_vec()),
        ];
        let whole = file(&frames);
        assert_eq!(read(&whole).unwrap(), frames);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&changed).is_err(), "bit {bit}");
        }
        assert!(matches!(read(&[whole.as_slice(), &[0]].concat()), Err(FrameError::Trailing)));
        assert!(matches!(read(b"PK\x03\x04 a zip file"), Err(FrameError::Magic)));
        assert!(matches!(read(b"SYNPACK\x02"), Err(FrameError::Version(2))));
    }

    #[test]
    fn a_promised_length_allocates_nothing() {
        let bytes = [MAGIC.as_slice(), &blob_head(HASH_SEQ_BYTES), b"little"].concat();
        assert!(matches!(read(&bytes), Err(FrameError::Truncated)));
        let bytes = [MAGIC.as_slice(), &head(ENTRIES, FRAME_BYTES + 1)].concat();
        assert!(matches!(read(&bytes), Err(FrameError::TooLong { .. })));
    }
}
