//! Which release each version means, and which releases are yanked.

use std::collections::{BTreeMap, BTreeSet};

use super::{PackageState, Published, Standing, VersionState, YankState};
use crate::entry::{Body, Release, Yank};
use crate::evidence::{Evidence, Frontier, Point};
use crate::id::ReleaseId;
use crate::origin::Origin;
use crate::version::Version;

/// One release entry of somebody with rights.
struct Claim<'a> {
    id: ReleaseId,
    release: &'a Release,
    point: Point,
    is_fixed: bool,
}

type Folded = (BTreeMap<Version, VersionState>, BTreeMap<ReleaseId, Published>);

pub(super) fn fold(
    evidence: &Evidence,
    frontier: &Frontier,
    writers: &BTreeSet<Origin>,
    forked: &BTreeMap<Origin, u64>,
) -> Folded {
    let mut by_version: BTreeMap<&Version, Vec<Claim<'_>>> = BTreeMap::new();
    for writer in writers {
        let n_fixed = forked.get(writer).copied().unwrap_or(u64::MAX);
        for seat in evidence.entries(writer, frontier) {
            if let Body::Release(release) = seat.body {
                let is_fixed = seat.point.index < n_fixed;
                let claim = Claim { id: seat.id.into(), release, point: seat.point, is_fixed };
                by_version.entry(&release.version).or_default().push(claim);
            }
        }
    }
    let mut folded = Folded::default();
    for (version, claims) in by_version {
        fold_version(version, claims, &mut folded);
    }
    folded
}

fn fold_version(version: &Version, mut claims: Vec<Claim<'_>>, folded: &mut Folded) {
    in_causal_order(&mut claims);
    let (fixed, forked): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.is_fixed);
    let mut standings: Vec<(&Claim<'_>, Standing)> = forked.iter().map(|claim| (claim, Standing::Forked)).collect();
    let mut kept: Vec<&Claim<'_>> = Vec::new();
    for claim in &fixed {
        let is_taken_by =
            |first: &&&Claim<'_>| first.release.tree_id != claim.release.tree_id && first.point.is_before(&claim.point);
        match kept.iter().find(is_taken_by) {
            Some(first) => standings.push((claim, Standing::Reused(first.id))),
            None => kept.push(claim),
        }
    }
    let trees: BTreeSet<_> = kept.iter().map(|claim| claim.release.tree_id).collect();
    let state = match first_of(&kept) {
        None => VersionState::Forked(forked.iter().map(|claim| claim.id).collect()),
        Some(_) if trees.len() > 1 => {
            standings.extend(kept.iter().map(|claim| (*claim, Standing::Contested)));
            VersionState::Contested(kept.iter().map(|claim| claim.id).collect())
        }
        Some(first) => {
            let same = |id| if id == first { Standing::Settled } else { Standing::SameAs(first) };
            standings.extend(kept.iter().map(|claim| (*claim, same(claim.id))));
            VersionState::Settled(first)
        }
    };
    folded.0.insert(version.clone(), state);
    for (claim, standing) in standings {
        let (writer, index) = (claim.point.origin, claim.point.index);
        folded.1.insert(claim.id, Published { release: claim.release.clone(), writer, index, standing });
    }
}

/// Sorts so that everything comes after its past: a later entry covers more entries, and ids settle the rest.
fn in_causal_order(claims: &mut [Claim<'_>]) {
    let n_covered = |point: &Point| point.clock.values().sum::<u64>() + point.index;
    claims.sort_by_cached_key(|claim| (n_covered(&claim.point), claim.id));
}

/// Of claims to the same files the one that came before all others; of concurrent ones the one with the smallest id.
fn first_of(kept: &[&Claim<'_>]) -> Option<ReleaseId> {
    let is_first = |claim: &&&Claim<'_>| !kept.iter().any(|other| other.point.is_before(&claim.point));
    kept.iter().filter(is_first).map(|claim| claim.id).min()
}

/// The releases that are hidden. What repeats a release is hidden with it; a concurrent unyank loses.
pub(super) fn yanked(evidence: &Evidence, state: &PackageState) -> BTreeMap<ReleaseId, YankState> {
    // Within one log the last word counts, so only that one can be among the latest.
    let mut last: BTreeMap<(ReleaseId, Origin), (&Yank, Point)> = BTreeMap::new();
    for writer in &state.writers {
        let n_fixed = state.forked.get(writer).copied().unwrap_or(u64::MAX);
        for seat in evidence.entries(writer, &state.frontier) {
            // What nothing fixes may hide a release and must not show it again.
            if let Body::Yank(yank) = seat.body
                && (seat.point.index < n_fixed || !yank.undo)
                && state.releases.contains_key(&yank.release)
            {
                last.insert((state.canonical(yank.release), *writer), (yank, seat.point));
            }
        }
    }
    let mut yanked = BTreeMap::new();
    for ((release, by), (yank, point)) in &last {
        let is_answered = last.iter().any(|((other, _), (_, later))| other == release && point.is_before(later));
        if !yank.undo && !is_answered {
            yanked.entry(*release).or_insert(YankState { by: *by, reason: yank.reason });
        }
    }
    yanked
}
