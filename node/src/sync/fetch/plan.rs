//! Which ranges are missing, and which segments are made from what is held.

use std::collections::{BTreeMap, HashMap, HashSet};

use syncra_protocol::id::BlobId;
use syncra_protocol::limits;
use syncra_protocol::sync::fetch::Part;
use syncra_protocol::tree::splice::{self, Held, SegmentPlan};
use syncra_protocol::tree::{ChunkList, ContentIndex};

use super::providers::Providers;
use super::{FetchError, Run, Want};
use crate::blobs::{self, Child, Parts, Piece, Ranges, Request, Source};
use crate::flow::release;

/// What is to be done for one child of the root.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The blob.
    pub(super) id: BlobId,
    /// Its size; unknown for chunk lists.
    pub(super) size: Option<u64>,
    /// What to fetch.
    pub(super) ranges: Ranges,
    /// How to make the segment from that and what is held; none: it is complete when all ranges came.
    pub(super) splice: Option<SegmentPlan>,
}

impl Work {
    pub(super) fn part(&self, index: u32) -> Part {
        // Chunk lists are a small fraction of their segment; the number only sizes batches.
        let n_bytes = self.size.map_or(8 << 10, |size| self.ranges.bytes(size));
        Part { index, n_bytes }
    }
}

/// The number of a segment among the children of the content root.
pub(super) fn child(index: &ContentIndex, segment: usize) -> u32 {
    u32::try_from(index.segment_child(segment)).unwrap_or(u32::MAX)
}

/// Whether a segment holds a part of one of these files.
fn carries(index: &ContentIndex, segment: usize, files: &HashSet<BlobId>) -> bool {
    index.carried(segment).iter().any(|run| files.contains(&index.files()[run.file as usize].entry.hash))
}

impl Run<'_> {
    /// Everything that is missing below the root, by number of the child.
    pub(super) async fn plan(
        &mut self,
        want: &Want,
        index: &ContentIndex,
        providers: &mut Providers,
    ) -> Result<BTreeMap<u32, Work>, FetchError> {
        let missing = self.blobs.missing(want.root.into()).await?;
        let mut missing: BTreeMap<u32, (BlobId, Ranges)> =
            missing.children.into_iter().map(|child| (child.index, (child.id, child.ranges))).collect();
        let wanted = |segment: &usize| want.only.as_ref().is_none_or(|only| carries(index, *segment, only));
        let wanted: Vec<usize> = (0..index.segments().len()).filter(wanted).collect();
        if want.only.is_some() {
            let numbers: HashSet<u32> = wanted.iter().map(|segment| child(index, *segment)).collect();
            missing.retain(|number, _| numbers.contains(number));
        }
        // Kept from here on, also what nobody has to send.
        self.pins.add_all(index.hash_seq().children().iter().copied()).await;
        self.cost.reused_bytes = wanted.iter().map(|segment| u64::from(index.segments()[*segment].size)).sum();
        let segments: Vec<usize> =
            wanted.into_iter().filter(|segment| missing.contains_key(&child(index, *segment))).collect();
        let plans = self.splice_plans(want, index, &segments, providers).await?;
        let mut work = BTreeMap::new();
        for (number, (id, ranges)) in &missing {
            work.insert(*number, Work { id: *id, size: None, ranges: ranges.clone(), splice: None });
        }
        for (segment, plan) in segments.iter().zip(plans) {
            let Some(work) = work.get_mut(&child(index, *segment)) else { continue };
            work.size = Some(u64::from(index.segments()[*segment].size));
            if !plan.is_whole() {
                // What came in an earlier attempt is not fetched again.
                let held = Ranges::all().without(&work.ranges);
                work.ranges = Ranges::of(plan.fetch_ranges()).without(&held);
                work.splice = Some(plan);
            }
            self.cost.reused_bytes -= work.ranges.bytes(work.size.unwrap_or(0)).min(self.cost.reused_bytes);
        }
        // Chunk lists that were fetched for the plan.
        let mut settled = Vec::new();
        for (number, work) in work.iter().filter(|(_, work)| work.size.is_none()) {
            if self.blobs.has(work.id).await? {
                settled.push(*number);
            }
        }
        work.retain(|number, _| !settled.contains(number));
        Ok(work)
    }

    async fn splice_plans(
        &mut self,
        want: &Want,
        index: &ContentIndex,
        segments: &[usize],
        providers: &mut Providers,
    ) -> Result<Vec<SegmentPlan>, FetchError> {
        let mut held = Held::new();
        for older in &want.older {
            self.add_older(&mut held, *older, index).await;
        }
        let mut lists = HashMap::new();
        let first = splice::plan(index, segments.iter().copied(), &held, &lists);
        let wanted = first.wanted_lists();
        if wanted.is_empty() {
            return Ok(first.segments);
        }
        let mut children = Vec::new();
        for list in &wanted {
            if let (false, Some(child)) = (self.blobs.has(*list).await?, index.chunk_list_child(*list)) {
                let index = u32::try_from(child).unwrap_or(u32::MAX);
                children.push(Child { index, ranges: Ranges::all(), size: None });
            }
        }
        if !children.is_empty() {
            children.sort_unstable_by_key(|child| child.index);
            let request = Request { root: want.root.into(), parts: Parts::Children(children) };
            self.ask_anybody(request, limits::CHUNK_LIST_BYTES as u64, providers).await?;
        }
        for list in wanted {
            let bytes = self.blobs.read(list, limits::CHUNK_LIST_BYTES as u64).await?;
            match ChunkList::decode(&bytes) {
                Ok(decoded) => drop(lists.insert(list, decoded)),
                // A hint that its author spoilt: the whole segment is fetched instead.
                Err(error) => tracing::debug!(%error, "a chunk list is malformed"),
            }
        }
        Ok(splice::plan(index, segments.iter().copied(), &held, &lists).segments)
    }

    /// Adds what an older release left here. It is a help only: whatever is wrong with it just helps less.
    async fn add_older(&self, held: &mut Held, older: syncra_protocol::id::ContentRoot, new: &ContentIndex) {
        let Ok(old) = release::content(self.blobs, older).await else { return };
        let mut here = HashSet::new();
        for segment in old.segments() {
            if self.blobs.has(segment.hash).await.unwrap_or(false) {
                here.insert(segment.hash);
            }
        }
        held.add_files(&old, |segment| here.contains(segment));
        for number in splice::neighbours(&old, new) {
            let segment = &old.segments()[number];
            let Some(list) = segment.chunks.filter(|_| here.contains(&segment.hash)) else { continue };
            let Ok(bytes) = self.blobs.read(list, limits::CHUNK_LIST_BYTES as u64).await else { continue };
            if let Ok(list) = ChunkList::decode(&bytes) {
                held.add_chunks(segment, &list);
            }
        }
    }

    /// Makes a segment whose ranges have come. False if the pieces do not fit: it has to be fetched whole.
    pub(super) async fn splice(&self, work: &Work) -> Result<bool, FetchError> {
        let Some(plan) = &work.splice else { return Ok(true) };
        let size = work.size.unwrap_or_default();
        match self.blobs.splice(work.id, size, &pieces(plan), self.pins).await {
            Ok(()) => Ok(true),
            Err(blobs::SpliceError::Blob(error)) if !matches!(error, blobs::BlobError::Missing(_)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "a segment could not be made from older ones");
                Ok(false)
            }
        }
    }
}

fn pieces(plan: &SegmentPlan) -> Vec<Piece> {
    let mut at = 0;
    let pieces = plan.pieces.iter().map(|piece| {
        let range = at..at + u64::from(piece.len());
        at = range.end;
        let source = match piece {
            splice::Piece::Copy(source) => Source::Blob { id: source.segment, offset: u64::from(source.offset) },
            splice::Piece::Fetch { .. } => Source::Fetched,
        };
        Piece { at: range, source }
    });
    pieces.collect()
}
