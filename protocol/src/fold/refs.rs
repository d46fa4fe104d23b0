//! Where refs point: the moves that no other move has seen.

use std::collections::{BTreeMap, BTreeSet};

use super::{PackageState, RefState, Tip};
use crate::entry::{Body, RefClass};
use crate::evidence::{Evidence, Point};
use crate::id::ReleaseId;
use crate::name::RefName;
use crate::origin::Origin;

/// The moves of one ref by one writer, in order.
type Moves = Vec<(Tip, Point)>;

pub(super) fn fold(evidence: &Evidence, state: &PackageState) -> BTreeMap<(RefClass, RefName), RefState> {
    let mut refs: BTreeMap<(RefClass, RefName), BTreeMap<Origin, Moves>> = BTreeMap::new();
    for (origin, writer) in &state.writers {
        let entries = evidence.logs().entries(origin, &state.frontier);
        for seat in entries.filter(|seat| writer.counts(seat.point.index)) {
            if let Body::Ref(moved) = seat.body {
                let tip = Tip { entry: seat.id, writer: *origin, index: seat.point.index, value: moved.new };
                let moves = refs.entry((moved.class, moved.name.clone())).or_default();
                moves.entry(*origin).or_default().push((tip, seat.point));
            }
        }
    }
    let mut folded = BTreeMap::new();
    for (name, moves) in refs {
        let state = if name.0 == RefClass::Tag { fixed(&moves) } else { latest(&moves) };
        if state.values() != BTreeSet::from([None]) {
            folded.insert(name, state);
        }
    }
    folded
}

/// A tag: the first moves, those that have seen no other.
fn fixed(moves: &BTreeMap<Origin, Moves>) -> RefState {
    let firsts = || moves.values().filter_map(|moves| moves.first());
    let is_first = |point: &Point| !firsts().any(|(_, other)| other.is_before(point));
    let tips = firsts().filter(|(_, point)| is_first(point)).map(|(tip, _)| *tip).collect();
    RefState { tips, ancestors: BTreeSet::new() }
}

/// A branch or channel: the last moves, those that no other has seen.
fn latest(moves: &BTreeMap<Origin, Moves>) -> RefState {
    let lasts = || moves.values().filter_map(|moves| moves.last());
    let is_last = |point: &Point| !lasts().any(|(_, other)| point.is_before(other));
    let tips: Vec<_> = lasts().filter(|(_, point)| is_last(point)).cloned().collect();
    let mut state = RefState { tips: tips.iter().map(|(tip, _)| *tip).collect(), ancestors: BTreeSet::new() };
    if state.is_diverged() {
        state.ancestors = ancestors(moves, &tips);
    }
    state
}

/// The latest places in the past of every tip.
fn ancestors(moves: &BTreeMap<Origin, Moves>, tips: &[(Tip, Point)]) -> BTreeSet<ReleaseId> {
    let common = |origin: &Origin| tips.iter().map(|(_, point)| point.covers(origin)).min().unwrap_or(0);
    let candidates: Vec<_> = moves
        .iter()
        .filter_map(|(origin, moves)| moves.iter().rev().find(|(tip, _)| tip.index < common(origin)))
        .collect();
    let is_last = |point: &Point| !candidates.iter().any(|(_, other)| point.is_before(other));
    candidates.iter().filter(|(_, point)| is_last(point)).filter_map(|(tip, _)| tip.value).collect()
}
