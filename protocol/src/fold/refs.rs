//! Where refs point: the moves that no other move has seen.

use std::collections::{BTreeMap, BTreeSet};

use super::roles::Chain;
use super::{Open, OpenChange, PackageState, RefState, Tip, Worth, Writer, latest_of_each};
use crate::entry::{Body, RefClass, RefMove, Role};
use crate::evidence::{Evidence, Point, Seat};
use crate::id::{EntryId, IdentityId, ReleaseId};
use crate::name::RefName;
use crate::origin::Origin;

/// The moves of one ref by one writer, in order.
type Moves = Vec<(Tip, Point)>;

type Refs = BTreeMap<(RefClass, RefName), RefState>;

/// The last move of each ref by each writer that waits for agreement.
type Waiting = BTreeMap<((RefClass, RefName), Origin), (Open, Point)>;

/// Where the refs point, and the moves of protected ones that wait for agreement.
pub(super) fn fold(evidence: &Evidence, state: &PackageState, chain: &Chain<'_>) -> (Refs, Vec<Open>) {
    let mut refs: BTreeMap<(RefClass, RefName), BTreeMap<Origin, Moves>> = BTreeMap::new();
    let (mut waiting, mut endorsed) = (Waiting::new(), BTreeMap::new());
    for (origin, writer) in &state.writers {
        let mut guards = chain.guards(*origin);
        for (seat, level) in chain.leveled(evidence, origin, &state.frontier) {
            let Body::Ref(moved) = seat.body else { continue };
            let Worth::As(role) = writer.worth(seat.point.index) else { continue };
            let key = (moved.class, moved.name.clone());
            let guard = guards.guard(level, &seat.point, &key);
            // Whoever only contributes has branches; what others follow is not its to move.
            if role == Role::Contributor && (moved.class != RefClass::Branch || guard.is_some()) {
                continue;
            }
            if let Some(guard) = guard {
                let words = endorsed.entry(seat.id).or_insert_with(|| last_words(&state.writers, chain, &seat.id));
                let agreed = agreed(words, &seat, (writer.identity, role));
                if !guard.is_met(&agreed) {
                    let needs = vec![guard.needs(&agreed)];
                    let open = open(&seat, writer.identity, agreed, needs, moved);
                    waiting.insert((key, *origin), (open, seat.point));
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

/// The last words of owners' logs that endorse an entry: what any of a log has in its past the last one has.
fn last_words(writers: &BTreeMap<Origin, Writer>, chain: &Chain<'_>, entry: &EntryId) -> Vec<(IdentityId, Point)> {
    // Each log's are in order.
    let words = endorsed_by_owners(writers, chain, entry).map(|word| (word.1.origin, word));
    let last: BTreeMap<Origin, &(IdentityId, Point)> = words.collect();
    last.into_values().cloned().collect()
}

fn endorsed_by_owners<'a>(
    writers: &BTreeMap<Origin, Writer>,
    chain: &'a Chain<'_>,
    entry: &EntryId,
) -> impl Iterator<Item = &'a (IdentityId, Point)> {
    let is_owners = |point: &Point| {
        let owner = writers.get(&point.origin);
        owner.is_some_and(|owner| owner.worth(point.index) == Worth::As(Role::Owner))
    };
    chain.endorsed(entry).iter().filter(move |(_, point)| is_owners(point))
}

/// Who agrees to a move: owners who endorsed it, and its writer if it is one.
fn agreed(words: &[(IdentityId, Point)], seat: &Seat<'_>, (writer, role): (IdentityId, Role)) -> BTreeSet<IdentityId> {
    let endorsed = words.iter().filter(|(_, point)| seat.point.is_before(point));
    endorsed.map(|(identity, _)| *identity).chain((role == Role::Owner).then_some(writer)).collect()
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
fn still_waiting(waiting: Waiting, refs: &BTreeMap<(RefClass, RefName), BTreeMap<Origin, Moves>>) -> Vec<Open> {
    // What any move of a log has in its past the last one has.
    let is_replaced = |key: &(RefClass, RefName), point: &Point| {
        let lasts = refs.get(key).into_iter().flat_map(BTreeMap::values).filter_map(|moves| moves.last());
        lasts.into_iter().any(|(_, other)| point.is_before(other))
    };
    let left = waiting.into_iter().filter(|((key, _), (_, point))| !is_replaced(key, point));
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
