//! What releases were made from, over one package or several: what a merge begins with.

use std::collections::BTreeSet;

use super::PackageState;
use crate::id::ReleaseId;

/// The releases of some packages and their parents. A release may be made from one of another package.
#[derive(Debug, Clone)]
pub struct Ancestry<'a> {
    states: Vec<&'a PackageState>,
}

impl<'a> Ancestry<'a> {
    /// Of these packages. A parent that none of them has ends its line.
    #[must_use]
    pub fn of(states: impl IntoIterator<Item = &'a PackageState>) -> Self {
        Self { states: states.into_iter().collect() }
    }

    /// These releases and everything that they were made from; those that repeat another count as that one.
    #[must_use]
    pub fn past(&self, of: impl IntoIterator<Item = ReleaseId>) -> BTreeSet<ReleaseId> {
        let mut left: Vec<ReleaseId> = of.into_iter().map(|id| self.canonical(id)).collect();
        let mut past = BTreeSet::new();
        while let Some(id) = left.pop() {
            if past.insert(id) {
                left.extend(self.parents(id));
            }
        }
        past
    }

    /// The latest releases that both sides come from. Several: the lines crossed before, and none of them is the better one.
    /// None: they have nothing in common that is known.
    #[must_use]
    pub fn common(&self, ours: &[ReleaseId], theirs: &[ReleaseId]) -> BTreeSet<ReleaseId> {
        let mut common = self.past(ours.iter().copied());
        let others = self.past(theirs.iter().copied());
        common.retain(|id| others.contains(id));
        // Whatever is in the past of a common one is common: the latest are those that are no other's parent.
        let older: BTreeSet<ReleaseId> = common.iter().flat_map(|id| self.parents(*id)).collect();
        common.retain(|id| !older.contains(id));
        common
    }

    /// Those of `releases` that none of the others was made from, in the order given.
    #[must_use]
    pub fn latest(&self, releases: &[ReleaseId]) -> Vec<ReleaseId> {
        let mut latest: Vec<ReleaseId> = Vec::new();
        for id in releases.iter().map(|id| self.canonical(*id)) {
            if latest.contains(&id) || self.past(latest.iter().copied()).contains(&id) {
                continue;
            }
            let past = self.past([id]);
            latest.retain(|older| !past.contains(older));
            latest.push(id);
        }
        latest
    }

    /// The id under which a release counts.
    #[must_use]
    pub fn canonical(&self, release: ReleaseId) -> ReleaseId {
        let known = self.states.iter().find(|state| state.releases.contains_key(&release));
        known.map_or(release, |state| state.canonical(release))
    }

    fn parents(&self, release: ReleaseId) -> impl Iterator<Item = ReleaseId> {
        let known = self.states.iter().find_map(|state| state.releases.get(&release));
        known.into_iter().flat_map(|published| &published.release.parents).map(|id| self.canonical(*id))
    }
}
