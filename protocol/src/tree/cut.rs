//! Cutting one file: its hash, its fine chunks and, if it is large, its segments, in one pass over its bytes, on one core or
//! on two.
//!
//! A file is cut alone and without knowing the package, so several can be cut on several cores; [`super::pack`] then
//! takes the results in tree order. Fine cuts are content-defined by a gear hash (FastCDC's: shift and add a table
//! value; only the last 64 bytes count) with a minimum that is skipped unread, a harder condition up to the target
//! and an easier one beyond it. Coarse cuts are fine cuts whose chunk hash ends a segment, so they cost nothing.
//!
//! Why not the crate `fastcdc`: its smallest chunk is at most 1 MiB and its average at most 4 MiB, below what a sweep
//! of segment sizes needs; and it wants the whole file as one slice, or `std::io`, which this crate does without.

use std::sync::LazyLock;

use super::chunks::{Chunk, ChunkHash};
use super::segment::{PackParams, Segment, SegmentRef};
use crate::id::BlobId;

/// Bytes that the gear hash looks back on: the 64 bits of its state.
const WINDOW: usize = 64;
/// Bytes that are cut and hashed while they are still in the processor's cache.
const STEP: usize = 128 << 10;

/// 256 random values, one for each byte: the output of BLAKE3, so that nobody need trust a table of constants.
static GEAR: LazyLock<Box<[u64; 256]>> = LazyLock::new(|| {
    let mut bytes = [0; 8 * 256];
    blake3::Hasher::new_derive_key("syncra content v1 gear table").finalize_xof().fill(&mut bytes);
    let mut table = Box::new([0; 256]);
    for (value, bytes) in table.iter_mut().zip(bytes.chunks_exact(8)) {
        *value = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    }
    table
});

/// Finds the fine cuts in a stream of bytes.
#[derive(Debug, Clone)]
struct Scanner {
    params: PackParams,
    /// State of the gear hash.
    hash: u64,
    /// Bytes of the current chunk that are behind us.
    at: usize,
}

impl Scanner {
    const fn new(params: PackParams) -> Self {
        Self { params, hash: 0, at: 0 }
    }

    /// The length of the chunk that `bytes` begin with, or none if more bytes are needed to tell. After none, call
    /// again with the same bytes and more.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let bits = self.params.chunk_target().trailing_zeros();
        let (min, target, max) = (self.params.chunk_min(), self.params.chunk_target(), self.params.chunk_max());
        self.at = self.at.max(min - WINDOW);
        for (end, zeros) in [(min, 64), (target, bits + 1), (max, bits - 1)] {
            let end = end.min(bytes.len());
            if self.at >= end {
                continue;
            }
            match roll(&bytes[self.at..end], &mut self.hash, zeros) {
                Some(n) => return Some(self.cut(self.at + n)),
                None => self.at = end,
            }
        }
        (self.at >= max).then(|| self.cut(max))
    }

    fn cut(&mut self, len: usize) -> usize {
        *self = Self::new(self.params);
        len
    }
}

/// Rolls `hash` over `bytes` until its top `zeros` bits are zero; 64 means: never, only roll.
fn roll(bytes: &[u8], hash: &mut u64, zeros: u32) -> Option<usize> {
    let gear: &[u64; 256] = &GEAR;
    let below = 1_u64.checked_shl(64 - zeros).filter(|_| zeros < 64).unwrap_or(0);
    let mut state = *hash;
    let (quads, rest) = bytes.as_chunks::<4>();
    let mut behind = 0;
    // Four bytes in one go: what they add does not depend on the state, so the processor need not wait for it. A comparison
    // that never holds is cheaper than the least of four.
    for quad in quads {
        let value = |at: usize| gear[usize::from(quad[at])];
        let one = value(0);
        let two = (one << 1).wrapping_add(value(1));
        let three = (two << 1).wrapping_add(value(2));
        let four = (three << 1).wrapping_add(value(3));
        if (state << 1).wrapping_add(one) < below {
            return Some(behind + 1);
        }
        if (state << 2).wrapping_add(two) < below {
            return Some(behind + 2);
        }
        if (state << 3).wrapping_add(three) < below {
            return Some(behind + 3);
        }
        state = (state << 4).wrapping_add(four);
        if state < below {
            return Some(behind + 4);
        }
        behind += 4;
    }
    for (at, byte) in (behind..).zip(rest) {
        state = (state << 1).wrapping_add(gear[usize::from(*byte)]);
        if state < below {
            return Some(at + 1);
        }
    }
    *hash = state;
    None
}

/// Finds the cuts of one file, fed in pieces of any size. Holds at most one segment of it, and hashes only chunks: the rest
/// can be done on another core.
#[derive(Debug, Clone)]
pub struct Cutter {
    params: PackParams,
    size: u64,
    scanner: Scanner,
    /// Bytes of the open segment, then those of the open chunk.
    bytes: Vec<u8>,
    /// Where the open chunk starts in `bytes`.
    open: usize,
    /// Chunks of the open segment.
    chunks: Vec<Chunk>,
    has_segments: bool,
}

/// A segment of a large file that has no name yet.
#[derive(Debug, Clone)]
pub struct Unsealed {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
}

/// A file of which all cuts are known, but neither its hash nor the names of its segments.
#[derive(Debug, Clone)]
pub struct Uncounted {
    size: u64,
    /// None: all bytes went into segments.
    small: Option<(Vec<u8>, Vec<Chunk>)>,
}

/// Cuts, hashes and names one file on one core.
#[derive(Debug, Clone)]
pub struct FileCutter {
    cutter: Cutter,
    hasher: blake3::Hasher,
    segments: Vec<SegmentRef>,
}

/// A file that was cut: what [`super::pack::Packer::add`] takes.
#[derive(Debug, Clone)]
pub struct CutFile {
    size: u64,
    hash: BlobId,
    pub(super) body: CutBody,
}

/// Where the bytes of a cut file are.
#[derive(Debug, Clone)]
pub(super) enum CutBody {
    /// Below [`PackParams::segment_min`]: to be packed together with its neighbours.
    Small { bytes: Vec<u8>, chunks: Vec<Chunk> },
    /// All its segments; their bytes have been handed out.
    Large(Vec<SegmentRef>),
}

impl CutFile {
    /// Length of the file in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// BLAKE3 of the whole file.
    #[must_use]
    pub const fn hash(&self) -> BlobId {
        self.hash
    }
}

impl Unsealed {
    /// The bytes: those of the file that follow the segment before.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Hashes and names it.
    #[must_use]
    pub fn seal(self) -> Segment {
        Segment::seal(self.bytes, self.chunks, 1)
    }
}

impl Uncounted {
    /// All bytes of a file that is too small for segments of its own.
    #[must_use]
    pub fn small_bytes(&self) -> Option<&[u8]> {
        self.small.as_ref().map(|(bytes, _)| bytes.as_slice())
    }

    /// With the file's BLAKE3, and all its segments in order.
    #[must_use]
    pub fn counted(self, hash: BlobId, segments: Vec<SegmentRef>) -> CutFile {
        let body = match self.small {
            Some((bytes, chunks)) => CutBody::Small { bytes, chunks },
            None => CutBody::Large(segments),
        };
        CutFile { size: self.size, hash, body }
    }
}

impl FileCutter {
    /// A cutter for one file.
    #[must_use]
    pub fn new(params: PackParams) -> Self {
        Self { cutter: Cutter::new(params), hasher: blake3::Hasher::new(), segments: Vec::new() }
    }

    /// Takes the file's next bytes; hands out the segments that are finished. How the file is divided into calls
    /// changes nothing in the result; pieces of 64 KiB and more are fast.
    #[must_use = "these segments are not kept anywhere else"]
    pub fn update(&mut self, bytes: &[u8]) -> Vec<Segment> {
        self.hasher.update(bytes);
        let done = self.cutter.update(bytes);
        self.seal(done)
    }

    /// The end of the file: its last segments, if it is large, and what to give to the packer.
    #[must_use = "these segments are not kept anywhere else"]
    pub fn finish(mut self) -> (Vec<Segment>, CutFile) {
        let hash = BlobId::from_bytes(*self.hasher.finalize().as_bytes());
        let cutter = core::mem::replace(&mut self.cutter, Cutter::new(PackParams::default()));
        let (last, file) = cutter.finish(Some(hash));
        (self.seal(last), file.counted(hash, self.segments))
    }

    fn seal(&mut self, done: Vec<Unsealed>) -> Vec<Segment> {
        let done: Vec<Segment> = done.into_iter().map(Unsealed::seal).collect();
        self.segments.extend(done.iter().map(|segment| segment.id));
        done
    }
}

impl Cutter {
    /// A cutter for one file.
    #[must_use]
    pub fn new(params: PackParams) -> Self {
        Self {
            params,
            size: 0,
            scanner: Scanner::new(params),
            bytes: Vec::new(),
            open: 0,
            chunks: Vec::new(),
            has_segments: false,
        }
    }

    /// Takes the file's next bytes; hands out the segments that are finished.
    #[must_use = "these segments are not kept anywhere else"]
    pub fn update(&mut self, bytes: &[u8]) -> Vec<Unsealed> {
        let mut done = Vec::new();
        for step in bytes.chunks(STEP) {
            self.bytes.extend_from_slice(step);
            self.cut(step.len(), &mut done);
        }
        done
    }

    /// As [`Self::update`], with bytes that `read` appends to those that it is given, without copying them once more.
    /// About [`Self::STEP`] in one go are fast.
    ///
    /// # Errors
    /// Those of `read`; the cutter is then of no more use.
    ///
    /// # Panics
    /// When `read` takes bytes away.
    pub fn update_by<E>(&mut self, read: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Vec<Unsealed>, E> {
        let before = self.bytes.len();
        read(&mut self.bytes)?;
        let n = self.bytes.len().checked_sub(before).expect("bytes are appended");
        let mut done = Vec::new();
        self.cut(n, &mut done);
        Ok(done)
    }

    /// Bytes that are cut and hashed while they are still in the processor's cache.
    pub const STEP: usize = STEP;

    /// Length of the file so far, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The end of the file: its last segments, if it is large. A file's own hash, if it is known, saves hashing the only
    /// chunk of a small one.
    #[must_use = "these segments are not kept anywhere else"]
    pub fn finish(mut self, whole: Option<BlobId>) -> (Vec<Unsealed>, Uncounted) {
        let mut done = Vec::new();
        let rest = self.bytes.len() - self.open;
        if rest > 0 {
            let whole = whole.filter(|_| rest as u64 == self.size);
            let hash = match whole {
                Some(whole) => ChunkHash::truncated(whole.as_bytes()),
                None => ChunkHash::of(&self.bytes[self.open..]),
            };
            self.end_chunk(rest, hash, &mut done);
        }
        let is_small = !self.has_segments && self.size < self.params.segment_min() as u64;
        if !is_small && self.open > 0 {
            done.push(self.end_segment());
        }
        let small = is_small.then_some((self.bytes, self.chunks));
        (done, Uncounted { size: self.size, small })
    }

    /// Finds the cuts in the last `n` bytes.
    fn cut(&mut self, n: usize, done: &mut Vec<Unsealed>) {
        self.size += n as u64;
        while let Some(len) = self.scanner.find(&self.bytes[self.open..]) {
            let hash = ChunkHash::of(&self.bytes[self.open..self.open + len]);
            self.end_chunk(len, hash, done);
        }
    }

    /// Ends the open chunk after `len` bytes, and with it, perhaps, the segment before or after it.
    fn end_chunk(&mut self, len: usize, hash: ChunkHash, done: &mut Vec<Unsealed>) {
        if self.open + len > self.params.segment_max() {
            done.push(self.end_segment());
        }
        self.open += len;
        self.chunks.push(Chunk { len: u32::try_from(len).expect("a chunk is below its limit"), hash });
        if self.params.ends_segment(hash.as_bytes(), len, self.open) {
            done.push(self.end_segment());
        }
    }

    /// Takes everything before the open chunk as a segment.
    fn end_segment(&mut self) -> Unsealed {
        // Room for the largest: bytes that do not come take no memory, and growing would copy those that came.
        let mut rest = Vec::with_capacity(self.params.segment_max() + 2 * STEP);
        rest.extend_from_slice(&self.bytes[self.open..]);
        self.bytes.truncate(self.open);
        self.open = 0;
        self.has_segments = true;
        Unsealed { bytes: core::mem::replace(&mut self.bytes, rest), chunks: core::mem::take(&mut self.chunks) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that no cut condition likes or dislikes more than others.
    fn noise(seed: &str, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new_derive_key("noise").update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn cutting_and_hashing_on_two_cores_changes_nothing() {
        let params = PackParams::new(256 << 10, 4 << 10).unwrap();
        for len in [0, 1, 3_000, 60_000, 700_001] {
            let bytes = noise("file", len);
            let (mut here, mut beside) = (FileCutter::new(params), Cutter::new(params));
            let mut segments = (Vec::new(), Vec::new());
            for (at, piece) in bytes.chunks(100_003).enumerate() {
                segments.0.extend(here.update(piece));
                let appended = |buffer: &mut Vec<u8>| {
                    buffer.extend_from_slice(piece);
                    Ok::<_, ()>(())
                };
                segments.1.extend(match at % 2 {
                    0 => beside.update(piece),
                    _ => beside.update_by(appended).unwrap(),
                });
            }
            let (last, cut) = here.finish();
            segments.0.extend(last);
            let (last, same) = beside.finish(None);
            segments.1.extend(last);
            let sealed: Vec<Segment> = segments.1.into_iter().map(Unsealed::seal).collect();
            assert_eq!(segments.0, sealed, "{len}");
            let same = same.counted(BlobId::of(&bytes), sealed.iter().map(|segment| segment.id).collect());
            assert_eq!(format!("{cut:?}"), format!("{same:?}"), "{len}");
        }
    }

    #[test]
    fn rolling_four_bytes_at_a_time_is_rolling_one_by_one() {
        let bytes = noise("roll", 100_000);
        for zeros in [5, 9, 13, 64] {
            let below = 1_u64.checked_shl(64 - zeros).filter(|_| zeros < 64).unwrap_or(0);
            for from in 0..7 {
                let mut slow = 7_u64;
                let found = bytes[from..].iter().position(|byte| {
                    slow = (slow << 1).wrapping_add(GEAR[usize::from(*byte)]);
                    slow < below
                });
                let mut fast = 7;
                assert_eq!(roll(&bytes[from..], &mut fast, zeros), found.map(|at| at + 1), "{zeros} {from}");
                assert!(found.is_some() || fast == slow);
            }
        }
    }
}
