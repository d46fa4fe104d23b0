//! Splicing: making a new segment from what is held locally and fetching only the rest.
//!
//! Two sources of bytes: files that are held under the same hash, wherever they lie, and fine chunks of older segments
//! that a chunk list of the new one names. Neither is trusted beyond its bytes: whoever carries out a plan hashes the
//! finished segment, and falls back to fetching it whole when it is wrong.

use std::collections::HashMap;

use super::chunks::{ChunkHash, ChunkList};
use super::content::ContentIndex;
use super::segment::SegmentRef;
use crate::id::BlobId;

mod lay;

/// Ranges are fetched in multiples of this many bytes: BLAKE3's chunks, the least that can be verified by itself.
pub const RANGE_BYTES: u32 = 1 << 10;
/// Unknown bytes of a segment from which its chunk list is worth a request: the list is some KiB itself.
pub const LIST_PAYS_BYTES: u32 = 64 << 10;

/// A run of bytes in a segment that is held locally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// The held segment.
    pub segment: BlobId,
    /// Where the run starts in it, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// What is held locally and could be copied from.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// The runs of a file with the position in the file where each starts.
    files: HashMap<BlobId, Vec<(u64, Source)>>,
    chunks: HashMap<(ChunkHash, u32), Source>,
}

impl Held {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the files of a release, each if all its segments are held.
    pub fn add_files(&mut self, index: &ContentIndex, holds: impl Fn(&BlobId) -> bool) {
        let held: Vec<bool> = index.segments().iter().map(|segment| holds(&segment.hash)).collect();
        for file in index.files() {
            let parts = index.parts(file);
            if parts.is_empty() || !parts.iter().all(|part| held[part.segment as usize]) {
                continue;
            }
            self.files.entry(file.entry.hash).or_insert_with(|| {
                let mut at = 0;
                let mut runs = Vec::with_capacity(parts.len());
                for part in parts {
                    let segment = index.segments()[part.segment as usize].hash;
                    runs.push((at, Source { segment, offset: part.offset, len: part.len }));
                    at += u64::from(part.len);
                }
                runs
            });
        }
    }

    /// Adds the chunks of a held segment; see [`neighbours`] for which are worth reading. False if the list does not
    /// describe this segment: then nothing is added.
    pub fn add_chunks(&mut self, segment: &SegmentRef, list: &ChunkList) -> bool {
        if list.total_bytes() != u64::from(segment.size) {
            return false;
        }
        let mut offset = 0;
        for chunk in list.chunks() {
            let source = Source { segment: segment.hash, offset, len: chunk.len };
            self.chunks.entry((chunk.hash, chunk.len)).or_insert(source);
            offset += chunk.len;
        }
        true
    }

    /// Whether this file is held whole: then nothing of it is ever fetched.
    #[must_use]
    pub fn has_file(&self, hash: &BlobId) -> bool {
        self.files.contains_key(hash)
    }

    /// The runs that bytes `from..from + len` of a held file consist of.
    fn file_runs(&self, hash: &BlobId, from: u64, len: u32) -> Vec<Source> {
        let Some(runs) = self.files.get(hash) else { return Vec::new() };
        let end = from + u64::from(len);
        let first = runs.partition_point(|(at, run)| at + u64::from(run.len) <= from);
        let inside = runs[first..].iter().take_while(|(at, _)| *at < end);
        inside
            .map(|(at, run)| {
                let skip = clamp(from.saturating_sub(*at));
                let keep = clamp(end.min(at + u64::from(run.len)) - at) - skip;
                Source { offset: run.offset + skip, len: keep, ..*run }
            })
            .collect()
    }
}

/// Offsets inside one run, which is never longer than a segment.
fn clamp(n: u64) -> u32 {
    u32::try_from(n).expect("inside a segment")
}

/// One step of making a segment; the steps follow each other without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Copy this run, which is held.
    Copy(Source),
    /// Fetch the next `len` bytes of the new segment.
    Fetch {
        /// Length in bytes.
        len: u32,
    },
}

impl Piece {
    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u32 {
        match self {
            Self::Copy(source) => source.len,
            Self::Fetch { len } => *len,
        }
    }

    /// Never: pieces have bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How to make one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlan {
    /// Index of the segment in the new content.
    pub segment: usize,
    /// The steps, from the segment's first byte to its last. Fetches begin and end at multiples of [`RANGE_BYTES`] or
    /// at the segment's end.
    pub pieces: Vec<Piece>,
    /// Bytes to fetch.
    pub fetch_bytes: u64,
    /// Bytes to copy.
    pub copy_bytes: u64,
    /// Fetching this chunk list first would probably save more than it costs.
    pub wants_list: Option<BlobId>,
}

impl SegmentPlan {
    /// Whether nothing is copied: an ordinary fetch of the whole blob.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.copy_bytes == 0
    }

    /// The byte ranges to fetch, ascending and apart.
    #[must_use]
    pub fn fetch_ranges(&self) -> Vec<core::ops::Range<u64>> {
        let mut at = 0;
        let mut ranges = Vec::new();
        for piece in &self.pieces {
            let end = at + u64::from(piece.len());
            if matches!(piece, Piece::Fetch { .. }) {
                ranges.push(at..end);
            }
            at = end;
        }
        ranges
    }
}

/// How to make all missing segments of a release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SplicePlan {
    /// One plan for each missing segment, in the order asked for.
    pub segments: Vec<SegmentPlan>,
    /// Bytes to fetch in all.
    pub fetch_bytes: u64,
    /// Bytes to copy in all.
    pub copy_bytes: u64,
}

impl SplicePlan {
    /// The chunk lists to fetch, if any, before planning again with them.
    #[must_use]
    pub fn wanted_lists(&self) -> Vec<BlobId> {
        let mut lists: Vec<BlobId> = self.segments.iter().filter_map(|plan| plan.wants_list).collect();
        lists.sort_unstable();
        lists.dedup();
        lists
    }
}

/// Plans how to make the segments `missing` of `new`. `lists` are the chunk lists of these segments known so far, by
/// blob id: call first with none, and again when [`SplicePlan::wanted_lists`] could be fetched.
///
/// # Panics
/// When `missing` names a segment that `new` does not have.
#[must_use]
pub fn plan(
    new: &ContentIndex,
    missing: impl IntoIterator<Item = usize>,
    held: &Held,
    lists: &HashMap<BlobId, ChunkList>,
) -> SplicePlan {
    let mut plan = SplicePlan::default();
    for segment in missing {
        let next = plan_segment(new, segment, held, lists);
        plan.fetch_bytes += next.fetch_bytes;
        plan.copy_bytes += next.copy_bytes;
        plan.segments.push(next);
    }
    plan
}

fn plan_segment(new: &ContentIndex, segment: usize, held: &Held, lists: &HashMap<BlobId, ChunkList>) -> SegmentPlan {
    let SegmentRef { size, chunks, .. } = new.segments()[segment];
    let mut layout = lay::Layout::new(size);
    for run in new.carried(segment) {
        let file = &new.files()[run.file as usize].entry;
        let mut at = run.offset;
        for source in held.file_runs(&file.hash, run.file_offset, run.len) {
            layout.offer(at, source);
            at += source.len;
        }
    }
    let list = chunks.and_then(|id| lists.get(&id)).filter(|list| list.total_bytes() == u64::from(size));
    let mut at = 0;
    for chunk in list.map_or(&[][..], ChunkList::chunks) {
        if let Some(source) = held.chunks.get(&(chunk.hash, chunk.len)) {
            layout.offer(at, *source);
        }
        at += chunk.len;
    }
    let known = chunks.is_some_and(|id| lists.contains_key(&id));
    let unknown = layout.missing_bytes();
    let wants_list = chunks.filter(|_| !known && !held.chunks.is_empty() && unknown >= LIST_PAYS_BYTES);
    let pieces = layout.pieces();
    let sum = |fetch: bool| {
        let of = pieces.iter().filter(|piece| matches!(piece, Piece::Fetch { .. }) == fetch);
        of.map(|piece| u64::from(piece.len())).sum()
    };
    SegmentPlan { segment, fetch_bytes: sum(true), copy_bytes: sum(false), wants_list, pieces }
}

/// The segments of `old` whose chunk lists may help to make `new`: they carry files that were changed (same path,
/// other hash) or removed (perhaps renamed and changed). None when every file of `new` is in `old`.
#[must_use]
pub fn neighbours(old: &ContentIndex, new: &ContentIndex) -> Vec<usize> {
    let hashes: std::collections::HashSet<BlobId> = old.files().iter().map(|file| file.entry.hash).collect();
    if new.files().iter().all(|file| hashes.contains(&file.entry.hash)) {
        return Vec::new();
    }
    let mut segments = Vec::new();
    for file in old.files() {
        let same = new.find(&file.entry.path).is_some_and(|twin| twin.entry.hash == file.entry.hash);
        if !same {
            segments.extend(old.parts(file).iter().map(|part| part.segment as usize));
        }
    }
    segments.sort_unstable();
    segments.dedup();
    segments.retain(|segment| old.segments()[*segment].chunks.is_some());
    segments
}
