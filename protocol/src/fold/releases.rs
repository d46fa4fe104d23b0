//! Which release each version means, and which releases are yanked.

use std::collections::{BTreeMap, BTreeSet};

use super::{End, PackageState, Published, Standing, VersionState, Worth, Writer, YankState};
use crate::entry::{Body, Release, Role, Yank};
use crate::evidence::{Evidence, Frontier, Point};
use crate::id::ReleaseId;
use crate::origin::Origin;
use crate::version::Version;

/// One release entry of somebody with rights.
struct Claim<'a> {
    id: ReleaseId,
    release: &'a Release,
    point: Point,
    /// Why it does not count, if it does not.
    beyond: Option<End>,
}

type Folded = (BTreeMap<Version, VersionState>, BTreeMap<ReleaseId, Published>);

pub(super) fn fold(evidence: &Evidence, frontier: &Frontier, writers: &BTreeMap<Origin, Writer>) -> Folded {
    let mut folded = Folded::default();
    let mut by_version: BTreeMap<&Version, Vec<Claim<'_>>> = BTreeMap::new();
    for (origin, writer) in writers {
        for seat in evidence.logs().entries(origin, frontier).skip_while(|seat| seat.point.index < writer.from) {
            if let Body::Release(release) = seat.body {
                let beyond = match writer.worth(seat.point.index) {
                    Worth::Nothing => continue,
                    Worth::As(Role::Contributor) => {
                        contribute(&mut folded, seat.id.into(), release, &seat.point);
                        continue;
                    }
                    Worth::As(Role::Maintainer | Role::Owner) => None,
                    Worth::Beyond(end) => Some(end),
                };
                let claim = Claim { id: seat.id.into(), release, point: seat.point, beyond };
                by_version.entry(&release.version).or_default().push(claim);
            }
        }
    }
    for (version, claims) in by_version {
        fold_version(version, claims, &mut folded);
    }
    folded
}

/// A contributor's release takes no version, so it stands in nobody's way.
fn contribute(folded: &mut Folded, id: ReleaseId, release: &Release, point: &Point) {
    let (writer, index, standing) = (point.origin, point.index, Standing::Contributed);
    // The same bytes may stand in somebody else's log too; of equal ones the first in order of logs is told.
    folded.1.entry(id).or_insert_with(|| Published { release: release.clone(), writer, index, standing });
}

fn fold_version(version: &Version, mut claims: Vec<Claim<'_>>, folded: &mut Folded) {
    in_causal_order(&mut claims);
    let (fixed, beyond): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.beyond.is_none());
    let of = |end: End| beyond.iter().filter(move |claim| claim.beyond == Some(end));
    let forked = of(End::Forked).map(|claim| (claim, Standing::Forked));
    let mut standings: Vec<(&Claim<'_>, Standing)> =
        forked.chain(of(End::Revoked).map(|claim| (claim, Standing::Revoked))).collect();
    // Of each log the first that is kept comes before all others of it, and these have its tree: it alone decides, however often a
    // log repeats it.
    let (mut kept, mut firsts, mut begun) = (Vec::<&Claim<'_>>::new(), Vec::<&Claim<'_>>::new(), BTreeSet::new());
    for claim in &fixed {
        let is_taken_by =
            |first: &&&Claim<'_>| first.release.tree_id != claim.release.tree_id && first.point.is_before(&claim.point);
        match firsts.iter().find(is_taken_by) {
            Some(first) => standings.push((claim, Standing::Reused(first.id))),
            None => {
                kept.push(claim);
                if begun.insert(claim.point.origin) {
                    firsts.push(claim);
                }
            }
        }
    }
    let trees: BTreeSet<_> = kept.iter().map(|claim| claim.release.tree_id).collect();
    let state = match first_of(&firsts) {
        None if of(End::Forked).next().is_some() => {
            VersionState::Forked(of(End::Forked).map(|claim| claim.id).collect())
        }
        None => VersionState::Revoked(of(End::Revoked).map(|claim| claim.id).collect()),
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
    claims.sort_by_cached_key(|claim| (claim.point.n_covered(), claim.id));
}

/// Of claims to the same files the one that came before all others; of concurrent ones the one with the smallest id.
fn first_of(firsts: &[&Claim<'_>]) -> Option<ReleaseId> {
    let is_first = |claim: &&&Claim<'_>| !firsts.iter().any(|other| other.point.is_before(&claim.point));
    firsts.iter().filter(is_first).map(|claim| claim.id).min()
}

/// The releases that are hidden. What repeats a release is hidden with it; a concurrent unyank loses.
pub(super) fn yanked(evidence: &Evidence, state: &PackageState) -> BTreeMap<ReleaseId, YankState> {
    // Within one log the last word counts, so only that one can be among the latest.
    let mut last: BTreeMap<(ReleaseId, Origin), (&Yank, Point)> = BTreeMap::new();
    for (origin, writer) in &state.writers {
        for seat in evidence.logs().entries(origin, &state.frontier).skip_while(|seat| seat.point.index < writer.from) {
            // What nothing fixes of a fork may hide a release and must not show it again.
            let index = seat.point.index;
            let may_hide = writer.worth(index) == Worth::Beyond(End::Forked) && writer.was_maintained(index);
            if let Body::Yank(yank) = seat.body
                && (writer.counts(index) || (may_hide && !yank.undo))
                && state.releases.contains_key(&yank.release)
            {
                last.insert((state.canonical(yank.release), *origin), (yank, seat.point));
            }
        }
    }
    let mut by_release: BTreeMap<ReleaseId, Vec<(Origin, &Yank, Point)>> = BTreeMap::new();
    for ((release, by), (yank, point)) in last {
        by_release.entry(release).or_default().push((by, yank, point));
    }
    let mut yanked = BTreeMap::new();
    for (release, words) in &by_release {
        for (by, yank, point) in words {
            if !yank.undo && !words.iter().any(|(_, _, later)| point.is_before(later)) {
                yanked.entry(*release).or_insert(YankState { by: *by, reason: yank.reason });
            }
        }
    }
    yanked
}
