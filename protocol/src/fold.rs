//! The fold: what a package's logs say together, at one frontier. Rules in `docs/spec/fold.md`.
//!
//! A state depends on the entries inside its frontier, and on the fork proofs known, and on nothing else: not on the
//! order in which logs arrived, nor on who brought them.
//!
//! | file | decides |
//! |---|---|
//! | `rights` | whose entries count |
//! | `releases` | which versions are settled, contested, yanked |
//! | `refs` | where branches, tags and channels point |
//! | `select` | which release a wish means, or why none |
//! | `changes` | what is new between two states |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::{Body, PackageGenesis, RefClass, Release};
use crate::evidence::{Evidence, Frontier, FrontierError};
use crate::id::{BlobId, EntryId, IdentityId, PackageId, ReleaseId};
use crate::key::DeviceKey;
use crate::name::{Handle, PackageName, RefName};
use crate::origin::Origin;
use crate::version::Version;

mod changes;
mod refs;
mod releases;
mod rights;
mod select;

pub use changes::{Changes, RefChange};
pub use select::{Pick, SelectError, Selection, Warning};

/// A package at one frontier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// The package.
    pub package: PackageId,
    /// How it began: its kind and owners.
    pub genesis: PackageGenesis,
    /// The owners, as far as their logs are inside the frontier; one value for all packages of an owner.
    pub owners: BTreeMap<IdentityId, Arc<IdentityState>>,
    /// The logs whose entries count.
    pub writers: BTreeSet<Origin>,
    /// What became of each version that somebody with rights published.
    pub versions: BTreeMap<Version, VersionState>,
    /// Every release that somebody with rights published.
    pub releases: BTreeMap<ReleaseId, Published>,
    /// Releases that are hidden from new installs.
    pub yanked: BTreeMap<ReleaseId, YankState>,
    /// Where the refs point.
    pub refs: BTreeMap<(RefClass, RefName), RefState>,
    /// Logs whose key signed two histories: how many of their entries count in spite of that.
    pub forked: BTreeMap<Origin, u64>,
    /// What this was computed from.
    pub frontier: Frontier,
}

/// An identity at one frontier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityState {
    /// The identity.
    pub identity: IdentityId,
    /// The devices that speak for it.
    pub devices: BTreeSet<DeviceKey>,
    /// What it calls packages.
    pub names: BTreeMap<PackageName, PackageId>,
    /// What it would like to be called.
    pub handle: Option<Handle>,
}

/// What became of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionState {
    /// One release.
    Settled(ReleaseId),
    /// Two writers published different files under this version without seeing each other. Never selected by version.
    Contested(BTreeSet<ReleaseId>),
    /// Published only in the part of a forked log that nothing fixes. Refused.
    Forked(BTreeSet<ReleaseId>),
}

/// A release in the package's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What the entry says.
    pub release: Release,
    /// Whose log it is in.
    pub writer: Origin,
    /// Its place there.
    pub index: u64,
    /// What became of it.
    pub standing: Standing,
}

/// What became of one release entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is its version's release.
    Settled,
    /// It repeats the release of this id: the same version with the same files.
    SameAs(ReleaseId),
    /// See [`VersionState::Contested`].
    Contested,
    /// Its writer knew that the version was taken by this other release. It does not count.
    Reused(ReleaseId),
    /// See [`VersionState::Forked`].
    Forked,
}

/// Who hides a release, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YankState {
    /// Whose log says so; of several concurrent ones the first in order of origins.
    pub by: Origin,
    /// Why, as a prose blob.
    pub reason: Option<BlobId>,
}

/// Where a ref points: to one place, or to several that its writers chose without seeing each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefState {
    /// The latest moves, none of which has seen another; ascending by origin, at least one.
    pub tips: Vec<Tip>,
    /// The latest places that all tips come from; empty unless the ref is diverged.
    pub ancestors: BTreeSet<ReleaseId>,
}

/// One latest move of a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The entry that made it.
    pub entry: EntryId,
    /// Whose log it is in.
    pub writer: Origin,
    /// Its place there.
    pub index: u64,
    /// Where it points; none if it removes the ref.
    pub value: Option<ReleaseId>,
}

impl RefState {
    /// The places that the tips point to; none is a removal.
    #[must_use]
    pub fn values(&self) -> BTreeSet<Option<ReleaseId>> {
        self.tips.iter().map(|tip| tip.value).collect()
    }

    /// Whether the tips point to different places.
    #[must_use]
    pub fn is_diverged(&self) -> bool {
        self.values().len() > 1
    }
}

impl PackageState {
    /// The id under which a release counts: its own, or that of the one which it repeats.
    #[must_use]
    pub fn canonical(&self, release: ReleaseId) -> ReleaseId {
        match self.releases.get(&release).map(|published| published.standing) {
            Some(Standing::SameAs(first)) => first,
            _ => release,
        }
    }
}

impl IdentityState {
    /// The identity whose first device `device` wrote a log of these bodies, its Genesis first.
    #[must_use]
    pub fn fold<'a>(identity: IdentityId, device: DeviceKey, bodies: impl IntoIterator<Item = &'a Body>) -> Self {
        let devices = BTreeSet::from([device]);
        let mut state = Self { identity, devices, names: BTreeMap::new(), handle: None };
        for body in bodies {
            match body {
                Body::Name(claim) => match claim.package {
                    Some(package) => drop(state.names.insert(claim.name.clone(), package)),
                    None => drop(state.names.remove(&claim.name)),
                },
                Body::Handle(claim) => state.handle = Some(claim.handle.clone()),
                _ => {}
            }
        }
        state
    }
}

impl Evidence {
    /// The package's state at the largest frontier of the logs held.
    #[must_use]
    pub fn fold(&self) -> PackageState {
        self.fold_checked(self.frontier())
    }

    /// The package's state at a frontier.
    ///
    /// # Errors
    /// [`FrontierError`] when it is not within what is held, or not closed.
    pub fn fold_at(&self, frontier: Frontier) -> Result<PackageState, FrontierError> {
        self.check_frontier(&frontier)?;
        Ok(self.fold_checked(frontier))
    }

    fn fold_checked(&self, frontier: Frontier) -> PackageState {
        let owners = rights::owners(self, &frontier);
        let writers = rights::writers(self, &frontier, &owners);
        let forked: BTreeMap<_, _> = self
            .forks()
            .map(|proof| *proof.origin())
            .filter_map(|origin| Some((origin, self.settled(&origin, |log| rights::speaks(&owners, &writers, log))?)))
            .collect();
        let (versions, releases) = releases::fold(self, &frontier, &writers, &forked);
        let mut state = PackageState {
            package: self.package(),
            genesis: self.genesis().clone(),
            owners,
            writers,
            versions,
            releases,
            yanked: BTreeMap::new(),
            refs: BTreeMap::new(),
            forked,
            frontier,
        };
        state.yanked = releases::yanked(self, &state);
        state.refs = refs::fold(self, &state);
        state
    }
}
