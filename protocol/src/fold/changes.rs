//! What is new between two states of a package.

use std::collections::{BTreeMap, BTreeSet};

use super::{PackageState, RefState, VersionState};
use crate::entry::RefClass;
use crate::id::{BlobId, ReleaseId};
use crate::name::RefName;
use crate::origin::Origin;
use crate::version::Version;

/// What followers are told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Releases that were not there, ascending by id.
    pub releases: Vec<ReleaseId>,
    /// Refs that point elsewhere.
    pub refs: Vec<RefChange>,
    /// Releases newly hidden.
    pub yanked: Vec<ReleaseId>,
    /// Releases shown again.
    pub unyanked: Vec<ReleaseId>,
    /// Blobs newly taken away.
    pub redacted: Vec<BlobId>,
    /// Versions newly contested, or found in one of two histories only.
    pub disputed: Vec<Version>,
    /// Logs newly found forked.
    pub forked: Vec<Origin>,
    /// Whether an owner appeared, or its names or handle changed, or who may do what.
    pub owners: bool,
    /// Whether other changes wait for agreement than before.
    pub open: bool,
}

/// A ref that points elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    /// What the ref is for.
    pub class: RefClass,
    /// Its name.
    pub name: RefName,
    /// Where it pointed: nowhere if it is new, several places if it was diverged.
    pub old: BTreeSet<Option<ReleaseId>>,
    /// Where it points: nowhere if it was removed.
    pub new: BTreeSet<Option<ReleaseId>>,
}

impl Changes {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PackageState {
    /// What is new since `old`; everything if there was nothing.
    #[must_use]
    pub fn changes_since(&self, old: Option<&Self>) -> Changes {
        let (no_releases, no_yanks, no_refs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let old_releases = old.map_or(&no_releases, |old| &old.releases);
        let old_yanked = old.map_or(&no_yanks, |old| &old.yanked);
        let no_forks: BTreeMap<Origin, u64> = BTreeMap::new();
        let was_disputed = |version: &Version| old.is_some_and(|old| old.disputed().any(|other| other == version));
        Changes {
            releases: added(&self.releases, old_releases),
            refs: ref_changes(&self.refs, old.map_or(&no_refs, |old| &old.refs)),
            yanked: added(&self.yanked, old_yanked),
            unyanked: added(old_yanked, &self.yanked),
            redacted: added(&self.redacted, old.map_or(&BTreeMap::new(), |old| &old.redacted)),
            disputed: self.disputed().filter(|version| !was_disputed(version)).cloned().collect(),
            forked: old.map_or_else(|| added(&self.forked, &no_forks), |old| added(&self.forked, &old.forked)),
            owners: old.map_or(!self.owners.is_empty(), |old| self.owners != old.owners || self.rights != old.rights),
            open: old.map_or(!self.open.is_empty(), |old| self.open != old.open),
        }
    }
}

impl PackageState {
    fn disputed(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(|(_, state)| !matches!(state, VersionState::Settled(_))).map(|(version, _)| version)
    }
}

/// The keys of `new` that `old` lacks.
fn added<K: Ord + Copy, V, W>(new: &BTreeMap<K, V>, old: &BTreeMap<K, W>) -> Vec<K> {
    new.keys().filter(|key| !old.contains_key(key)).copied().collect()
}

type Refs = BTreeMap<(RefClass, RefName), RefState>;

fn ref_changes(new: &Refs, old: &Refs) -> Vec<RefChange> {
    let keys: BTreeSet<_> = new.keys().chain(old.keys()).collect();
    let places = |refs: &Refs, key: &(RefClass, RefName)| refs.get(key).map(RefState::values).unwrap_or_default();
    let change = |key: &(RefClass, RefName)| {
        let (old, new) = (places(old, key), places(new, key));
        (old != new).then(|| RefChange { class: key.0, name: key.1.clone(), old, new })
    };
    keys.into_iter().filter_map(change).collect()
}
