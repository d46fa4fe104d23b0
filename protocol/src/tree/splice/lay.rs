//! Laying known runs over one segment, and what remains to be fetched.

use super::{Piece, RANGE_BYTES, Source};

/// A fetch of more than 7/8 of a segment fetches it whole: one request, and no copying for little.
const WHOLE_NUM: u64 = 7;
const WHOLE_DEN: u64 = 8;

/// A segment to be made and the runs that are known.
#[derive(Debug)]
pub(super) struct Layout {
    size: u32,
    /// Where a run goes, and from where it comes.
    offers: Vec<(u32, Source)>,
}

impl Layout {
    pub(super) const fn new(size: u32) -> Self {
        Self { size, offers: Vec::new() }
    }

    /// These bytes are known. Runs may overlap; what is outside the segment is ignored.
    pub(super) fn offer(&mut self, at: u32, source: Source) {
        if source.len > 0 && at.checked_add(source.len).is_some_and(|end| end <= self.size) {
            self.offers.push((at, source));
        }
    }

    /// Bytes that no run covers.
    pub(super) fn missing_bytes(&mut self) -> u32 {
        self.size - self.copies().iter().map(|(_, source)| source.len).sum::<u32>()
    }

    /// The steps that make the segment.
    pub(super) fn pieces(mut self) -> Vec<Piece> {
        let copies = self.copies();
        let fetches = self.fetches(&copies);
        let fetched: u64 = fetches.iter().map(|(from, to)| u64::from(to - from)).sum();
        if fetched * WHOLE_DEN >= u64::from(self.size) * WHOLE_NUM {
            return vec![Piece::Fetch { len: self.size }];
        }
        let mut pieces = Vec::new();
        let mut fetches = fetches.into_iter().peekable();
        let mut at = 0;
        for (start, source) in copies {
            let end = start + source.len;
            while let Some((from, to)) = fetches.next_if(|(from, _)| *from < end) {
                push_copy(&mut pieces, start, source, at, from);
                pieces.push(Piece::Fetch { len: to - from });
                at = to;
            }
            push_copy(&mut pieces, start, source, at, end);
            at = at.max(end);
        }
        pieces.extend(fetches.map(|(from, to)| Piece::Fetch { len: to - from }));
        pieces
    }

    /// Offered runs, trimmed so that they are ascending and do not overlap.
    fn copies(&mut self) -> Vec<(u32, Source)> {
        self.offers.sort_by_key(|(at, source)| (*at, core::cmp::Reverse(source.len)));
        let mut end = 0;
        let mut copies = Vec::with_capacity(self.offers.len());
        for &(at, source) in &self.offers {
            let skip = end.max(at) - at;
            if skip < source.len {
                let rest = Source { offset: source.offset + skip, len: source.len - skip, ..source };
                copies.push((at + skip, rest));
                end = at + source.len;
            }
        }
        copies
    }

    /// The gaps between `copies`, rounded out to what can be verified, and merged: (from, to).
    fn fetches(&self, copies: &[(u32, Source)]) -> Vec<(u32, u32)> {
        let mut fetches: Vec<(u32, u32)> = Vec::new();
        let mut covered = 0;
        let end = (self.size, 0);
        for (at, len) in copies.iter().map(|(at, source)| (*at, source.len)).chain([end]) {
            if at > covered {
                let from = covered / RANGE_BYTES * RANGE_BYTES;
                let to = at.next_multiple_of(RANGE_BYTES).min(self.size);
                match fetches.last_mut() {
                    Some(last) if last.1 >= from => last.1 = to,
                    _ => fetches.push((from, to)),
                }
            }
            covered = at + len;
        }
        fetches
    }
}

/// Adds the bytes `from..to` of the new segment, as far as the run at `start` has them; continues the piece before if
/// the bytes do.
fn push_copy(pieces: &mut Vec<Piece>, start: u32, source: Source, from: u32, to: u32) {
    let (from, to) = (from.max(start), to.min(start + source.len));
    if from >= to {
        return;
    }
    let piece = Source { offset: source.offset + (from - start), len: to - from, ..source };
    match pieces.last_mut() {
        Some(Piece::Copy(last)) if last.segment == piece.segment && last.offset + last.len == piece.offset => {
            last.len += piece.len;
        }
        _ => pieces.push(Piece::Copy(piece)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BlobId;

    const KIB: u32 = 1 << 10;

    fn source(name: &str, offset: u32, len: u32) -> Source {
        Source { segment: BlobId::of(name.as_bytes()), offset, len }
    }

    fn pieces(size: u32, offers: &[(u32, Source)]) -> Vec<Piece> {
        let mut layout = Layout::new(size);
        for &(at, source) in offers {
            layout.offer(at, source);
        }
        layout.pieces()
    }

    #[test]
    fn a_gap_is_fetched_in_whole_units() {
        let offers = [(0, source("a", 5, 100 * KIB + 300)), (101 * KIB + 500, source("b", 0, 99 * KIB - 500))];
        let found = pieces(200 * KIB, &offers);
        assert_eq!(
            found,
            [
                Piece::Copy(source("a", 5, 100 * KIB)),
                Piece::Fetch { len: 2 * KIB },
                Piece::Copy(source("b", KIB - 500, 98 * KIB)),
            ]
        );
    }

    #[test]
    fn neighbouring_gaps_become_one_and_runs_one_copy() {
        let offers = [
            (0, source("a", 0, 40 * KIB)),
            (40 * KIB, source("a", 40 * KIB, 24 * KIB)),
            (64 * KIB + 100, source("b", 0, 200)),
            (64 * KIB + 700, source("b", 0, 64 * KIB - 700)),
        ];
        assert_eq!(
            pieces(128 * KIB, &offers),
            [
                Piece::Copy(source("a", 0, 64 * KIB)),
                Piece::Fetch { len: KIB },
                Piece::Copy(source("b", KIB - 700, 63 * KIB)),
            ]
        );
    }

    #[test]
    fn the_last_unit_ends_with_the_segment() {
        let found = pieces(100 * KIB + 1, &[(0, source("a", 0, 90 * KIB + 100))]);
        assert_eq!(found, [Piece::Copy(source("a", 0, 90 * KIB)), Piece::Fetch { len: 10 * KIB + 1 }]);
    }

    #[test]
    fn little_known_is_fetched_whole_and_all_known_copied() {
        assert_eq!(pieces(100 * KIB, &[]), [Piece::Fetch { len: 100 * KIB }]);
        assert_eq!(pieces(100 * KIB, &[(7, source("a", 0, 10 * KIB))]), [Piece::Fetch { len: 100 * KIB }]);
        assert_eq!(pieces(5, &[(0, source("a", 0, 5))]), [Piece::Copy(source("a", 0, 5))]);
    }

    #[test]
    fn runs_outside_the_segment_are_ignored() {
        let outside = [(90 * KIB, source("a", 0, 11 * KIB)), (u32::MAX, source("a", 0, 2))];
        assert_eq!(pieces(100 * KIB, &outside), [Piece::Fetch { len: 100 * KIB }]);
    }
}
