//! Where refs point: the moves that no other move has seen.

use std::collections::{BTreeMap, BTreeSet};

use super::roles::Chain;
use super::{Open, OpenChange, PackageState, RefState, Tip, Worth, Writer, latest_of_each};
use crate::entry::{Body, RefClass, RefMove, Role};
use crate::evidence::{Evidence, Point, Seat};
use crate::id::{IdentityId, ReleaseId};
use crate::name::RefName;
use crate::origin::Origin;

/// The moves of one ref by one writer, in order.
type Moves = Vec<(Tip, Point)>;

type Refs = BTreeMap<(RefClass, RefName), RefState>;

/// Where the refs point, and the moves of protected ones that wait for agreement.
pub(super) fn fold(evidence: &Evidence, state: &PackageState, chain: &Chain<'_>) -> (Refs, Vec<Open>) {
    let mut refs: BTreeMap<(RefClass, RefName), BTreeMap<Origin, Moves>> = BTreeMap::new();
    let mut waiting: Vec<(Open, Point)> = Vec::new();
    for (origin, writer) in &state.writers {
        for (seat, level) in chain.leveled(evidence, origin, &state.frontier) {
            let Body::Ref(moved) = seat.body else { continue };
            let Worth::As(role) = writer.worth(seat.point.index) else { continue };
            let key = (moved.class, moved.name.clone());
            let guard = chain.guard(level, &seat.point, &key);
            // Whoever only contributes has branches; what others follow is not its to move.
            if role == Role::Contributor && (moved.class != RefClass::Branch || guard.is_some()) {
                continue;
            }
            if let Some(guard) = guard {
                let agreed = agreed(state, chain, &seat, (writer.identity, role));
                if !guard.is_met(&agreed) {
                    let needs = vec![guard.needs(&agreed)];
                    waiting.push((open(&seat, writer.identity, agreed, needs, moved), seat.point));
                    continue;
                }
            }
            let tip = Tip { entry: seat.id, writer: *origin, index: seat.point.index, value: moved.new };
            refs.entry(key).or_default().entry(*origin).or_default().push((tip, seat.point));
        }
    }
    let mut folded = BTreeMap::new();
    for (name, moves) in &refs {
        let state = if name.0 == RefClass::Tag { fixed(moves) } else { latest(moves) };
        if state.values() != BTreeSet::from([None]) {
            folded.insert(name.clone(), state);
        }
    }
    (folded, still_waiting(waiting, &refs))
}

/// Who agrees to a move: owners who endorsed it, and its writer if it is one.
fn agreed(
    state: &PackageState,
    chain: &Chain<'_>,
    seat: &Seat<'_>,
    (writer, role): (IdentityId, Role),
) -> BTreeSet<IdentityId> {
    let endorsed = words_of_owners(&state.writers, chain, seat).into_iter().map(|(identity, _)| identity);
    endorsed.chain((role == Role::Owner).then_some(writer)).collect()
}

/// The words of those who endorsed an entry as owners, knowing it.
pub(super) fn words_of_owners<'a>(
    writers: &BTreeMap<Origin, Writer>,
    chain: &'a Chain<'_>,
    seat: &Seat<'_>,
) -> Vec<(IdentityId, &'a Point)> {
    let is_owners = |point: &Point| {
        let owner = writers.get(&point.origin);
        owner.is_some_and(|owner| owner.worth(point.index) == Worth::As(Role::Owner))
    };
    let words = chain.endorsed(&seat.id).iter().filter(|(_, point)| seat.point.is_before(point) && is_owners(point));
    words.map(|(identity, point)| (*identity, point)).collect()
}

fn open(
    seat: &Seat<'_>,
    by: IdentityId,
    agreed: BTreeSet<IdentityId>,
    needs: Vec<super::Needs>,
    moved: &RefMove,
) -> Open {
    let (writer, index, change) = (seat.point.origin, seat.point.index, OpenChange::Ref(moved.clone()));
    Open { entry: seat.id, by, writer, index, agreed, needs, change }
}

/// Of moves that wait those that nothing has replaced: no later one of the same writer, and none that counts.
fn still_waiting(
    waiting: Vec<(Open, Point)>,
    refs: &BTreeMap<(RefClass, RefName), BTreeMap<Origin, Moves>>,
) -> Vec<Open> {
    let mut latest: BTreeMap<(RefClass, RefName, Origin), (Open, Point)> = BTreeMap::new();
    for (open, point) in waiting {
        if let OpenChange::Ref(moved) = &open.change {
            latest.insert((moved.class, moved.name.clone(), open.writer), (open, point));
        }
    }
    let is_replaced = |class: RefClass, name: &RefName, point: &Point| {
        let moves = refs.get(&(class, name.clone())).into_iter().flat_map(BTreeMap::values).flatten();
        moves.into_iter().any(|(_, other)| point.is_before(other))
    };
    let is_left = |((class, name, _), (_, point)): &((RefClass, RefName, Origin), (Open, Point))| {
        !is_replaced(*class, name, point)
    };
    let left = latest.into_iter().filter(is_left);
    latest_of_each(left.map(|(_, (open, point))| ((point.n_covered(), open.entry), open)).collect())
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
