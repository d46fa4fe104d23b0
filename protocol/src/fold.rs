//! The fold: what a package's logs say together, at one frontier. Rules in `docs/spec/fold.md`.
//!
//! A state depends on the entries inside its frontier, on the fork proofs known, on what the reader's witnesses have seen of
//! forked logs, and on nothing else: not on the order in which logs arrived, nor on who brought them.
//!
//! | file | decides |
//! |---|---|
//! | `identity` | which devices speak for an owner, and what it calls things |
//! | `roles` | who may do what, and who agreed to that |
//! | `resolved` | which of two histories of a log goes on |
//! | `rights` | whose entries count, from where, and how far |
//! | `releases` | which versions are settled, contested, yanked |
//! | `redacted` | whose bytes the owners have taken away |
//! | `refs` | where branches, tags and channels point |
//! | `seen` | what a new entry says to have seen |
//! | `select` | which release a wish means, or why none |
//! | `changes` | what is new between two states |
//! | `ancestry` | what releases were made from |
//! | `graph` | in which order releases are told |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::{
    Cut, DeviceRole, ForkResolve, PackageGenesis, Redact, RedactReason, RefClass, RefMove, Release, Role, Roles,
    StatementId,
};
use crate::evidence::{Evidence, Frontier, FrontierError};
use crate::id::{BlobId, EntryId, IdentityId, PackageId, ReleaseId};
use crate::key::DeviceKey;
use crate::limits::PENDING_PER_IDENTITY;
use crate::name::{Handle, PackageName, RefName};
use crate::origin::Origin;
use crate::version::Version;

mod ancestry;
mod changes;
mod graph;
pub(crate) mod identity;
mod redacted;
mod refs;
mod releases;
mod resolved;
pub(crate) mod rights;
mod roles;
mod seen;
mod select;
#[cfg(test)]
mod tests;

pub use ancestry::Ancestry;
pub use changes::{Changes, RefChange};
pub use roles::FOLD_RULES;
pub use select::{Pick, SelectError, Selection, Warning};

/// A package at one frontier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// The package.
    pub package: PackageId,
    /// How it began: its kind and owners.
    pub genesis: PackageGenesis,
    /// Who may do what now.
    pub rights: Rights,
    /// Changes of rights, and moves of protected refs, that wait for agreement; of each identity the latest ones.
    pub open: Vec<Open>,
    /// Owners have agreed to rules of this number, which this version does not know: what was written since does not count
    /// here, and a newer client is needed.
    pub newer_rules: Option<u16>,
    /// Those who own the package, and those whom owners name in changes of rights, as far as their logs are inside the
    /// frontier; one value for all packages of an identity.
    pub owners: BTreeMap<IdentityId, Arc<IdentityState>>,
    /// The logs whose entries count.
    pub writers: BTreeMap<Origin, Writer>,
    /// What became of each version that somebody with rights published.
    pub versions: BTreeMap<Version, VersionState>,
    /// Every release that somebody with rights published.
    pub releases: BTreeMap<ReleaseId, Published>,
    /// Releases that are hidden from new installs.
    pub yanked: BTreeMap<ReleaseId, YankState>,
    /// Blobs that are not handed out any more, whichever entries name them. For good: nothing shows them again.
    pub redacted: BTreeMap<BlobId, RedactState>,
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
    /// The devices that spoke for it at some time.
    pub devices: BTreeMap<DeviceKey, Device>,
    /// What it calls packages.
    pub names: BTreeMap<PackageName, PackageId>,
    /// Names that two devices gave to different packages, without seeing each other: they mean none.
    pub diverged_names: BTreeMap<PackageName, BTreeSet<PackageId>>,
    /// What it would like to be called.
    pub handle: Option<Handle>,
    /// BLAKE3 of the recovery public key that signs its next statement.
    pub recovery: [u8; 32],
    /// What the recovery key said last.
    pub last_statement: Option<StatementId>,
}

/// One device of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What it may do.
    pub role: DeviceRole,
    /// What people call it; none of the first device.
    pub label: Option<RefName>,
    /// Whether the identity began with it.
    pub is_first: bool,
    /// The entries that let it speak: log and index.
    pub since: BTreeSet<(Origin, u64)>,
    /// The first entry of its log of the identity that does not count any more; [`u64::MAX`] if there is no end.
    pub until: u64,
    /// Whether it may speak now.
    pub status: DeviceStatus,
    /// How far its logs of packages count, if it may not. Of one that is not named what others have seen counts.
    pub cuts: Option<BTreeMap<PackageId, Option<Cut>>>,
}

/// Whether a device may speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceStatus {
    /// It may.
    Active,
    /// Siblings have taken its voice away until the recovery key says more.
    Suspended {
        /// The entries that did.
        by: BTreeSet<EntryId>,
    },
    /// The recovery key has taken it away for ever.
    Revoked,
}

/// Who may do what in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What each identity may do.
    pub roles: BTreeMap<IdentityId, Role>,
    /// Owners who must agree to a change, and to moves of protected refs.
    pub owner_threshold: u8,
    /// Refs that move only when so many owners agree.
    pub protected: BTreeSet<(RefClass, RefName)>,
    /// The entry that made it so; none: the Genesis.
    pub last: Option<EntryId>,
    /// Changes since the Genesis: [`crate::limits::ROLE_CHAIN`] at most.
    pub n_changes: usize,
}

/// What waits for agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The entry that says so: what an Endorse names.
    pub entry: EntryId,
    /// Who wrote it.
    pub by: IdentityId,
    /// In which log.
    pub writer: Origin,
    /// Its place there.
    pub index: u64,
    /// Who agrees: the owners who endorsed it, and its writer.
    pub agreed: BTreeSet<IdentityId>,
    /// Who must still agree: of each of these groups so many.
    pub needs: Vec<Needs>,
    /// What would change.
    pub change: OpenChange,
}

/// So many more of these must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// How many.
    pub n_more: usize,
    /// Of whom.
    pub of: BTreeSet<IdentityId>,
}

/// What would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenChange {
    /// Who may do what.
    Roles(Roles),
    /// Where a protected ref points.
    Ref(RefMove),
    /// What is handed out.
    Redact(Redact),
    /// Which of two histories of a log goes on.
    ForkResolve(ForkResolve),
}

/// What entries of a log may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Nothing: their writer had no role, and could know.
    None,
    /// Nothing any more: the role was taken away at an earlier entry.
    Removed,
    /// What this role may.
    Role(Role),
}

/// One log whose entries count, and which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Whose device it is.
    pub identity: IdentityId,
    /// The first entry that counts: those before it were written without the right.
    pub from: u64,
    /// The first entry that does not count any more; [`u64::MAX`] if there is no end.
    pub until: u64,
    /// Why there is an end.
    pub end: Option<End>,
    /// From which entry on they may do what, ascending.
    pub voices: Vec<(u64, Voice)>,
    /// Of a log whose key signed two histories, once it was named how far it goes on.
    pub healed: Option<Healed>,
}

/// How far a log goes on whose key signed two histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healed {
    /// Entries that count.
    pub size: u64,
    /// The logs in which that stands.
    pub by: BTreeSet<Origin>,
}

/// What one entry is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Nothing: it is evidence of itself.
    Nothing,
    /// What this role may.
    As(Role),
    /// It would have been, but for this.
    Beyond(End),
}

/// Why a log's entries do not count from some entry on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its key has signed two histories, and nothing says which counts beyond.
    Forked,
    /// Its device was suspended or revoked, or its writer's role taken away.
    Revoked,
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
    /// Published only after the point up to which their writers count. Refused.
    Revoked(BTreeSet<ReleaseId>),
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
    /// A contributor's: found by its id and where branches point to it, and takes no version.
    Contributed,
    /// See [`VersionState::Forked`].
    Forked,
    /// See [`VersionState::Revoked`].
    Revoked,
}

/// Who hides a release, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YankState {
    /// Whose log says so; of several concurrent ones the first in order of origins.
    pub by: Origin,
    /// Why, as a prose blob.
    pub reason: Option<BlobId>,
}

/// Who took bytes away, and why; of several the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedactState {
    /// Why.
    pub reason: RedactReason,
    /// Whose log says so.
    pub by: Origin,
    /// The entry's place there.
    pub index: u64,
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

    /// Why a release cannot be had any more: its content or its manifest was redacted.
    #[must_use]
    pub fn redaction(&self, release: &Release) -> Option<&RedactState> {
        self.redacted.get(&BlobId::from(release.content_root)).or_else(|| self.redacted.get(&release.manifest))
    }
}

impl PackageState {
    /// Whether releases that `device` writes for `identity` will be selected, if it has seen what is inside the frontier.
    #[must_use]
    pub fn may_write(&self, identity: &IdentityId, device: &DeviceKey) -> bool {
        self.role(identity, device) >= Some(Role::Maintainer)
    }

    /// What `device` may write for `identity`, if it has seen what is inside the frontier.
    #[must_use]
    pub fn role(&self, identity: &IdentityId, device: &DeviceKey) -> Option<Role> {
        let is_fork = self.forked.contains_key(&Origin::package(self.package, *device));
        let speaks = !is_fork && self.owners.get(identity).is_some_and(|owner| owner.is_active(device));
        self.rights.role(identity).filter(|_| speaks && self.newer_rules.is_none())
    }
}

impl IdentityState {
    /// Whether `device` may speak for the identity now.
    #[must_use]
    pub fn is_active(&self, device: &DeviceKey) -> bool {
        self.devices.get(device).is_some_and(|device| device.status == DeviceStatus::Active)
    }
}

impl Writer {
    /// Whether entry `index` counts as one of somebody who maintains the package.
    #[must_use]
    pub fn counts(&self, index: u64) -> bool {
        matches!(self.worth(index), Worth::As(role) if role >= Role::Maintainer)
    }

    /// Whether the role of entry `index` would be enough to maintain the package, wherever the log ends.
    pub(crate) fn was_maintained(&self, index: u64) -> bool {
        matches!(self.voice(index), Voice::Role(role) if role >= Role::Maintainer)
    }

    fn voice(&self, index: u64) -> Voice {
        let n_begun = self.voices.partition_point(|(from, _)| *from <= index);
        n_begun.checked_sub(1).map_or(Voice::None, |n| self.voices[n].1)
    }

    pub(crate) fn worth(&self, index: u64) -> Worth {
        match self.voice(index) {
            _ if index < self.from => Worth::Nothing,
            Voice::None => Worth::Nothing,
            Voice::Removed => Worth::Beyond(End::Revoked),
            Voice::Role(role) if index < self.until => Worth::As(role),
            Voice::Role(_) => self.end.map_or(Worth::Nothing, Worth::Beyond),
        }
    }
}

/// An entry's place in the causal order: how much it comes after, then its id.
type Rank = (u64, EntryId);
/// What waits for agreement, and where its entry stands.
type Waiting = (Rank, Open);

/// Of what waits, each with its place in the causal order, the latest of each identity: nobody fills others' lists.
fn latest_of_each(waiting: Vec<Waiting>) -> Vec<Open> {
    let mut by: BTreeMap<IdentityId, Vec<Waiting>> = BTreeMap::new();
    for (rank, open) in waiting {
        by.entry(open.by).or_default().push((rank, open));
    }
    let mut latest = Vec::new();
    for mut own in by.into_values() {
        own.sort_by_key(|(rank, _)| *rank);
        latest.extend(own.into_iter().rev().take(PENDING_PER_IDENTITY).map(|(_, open)| open));
    }
    latest
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
        let grants = rights::grants(self, &frontier, &owners);
        let chain = roles::chain(self, &frontier, &grants);
        let (writers, resolving) = rights::writers(self, &frontier, &owners, &grants, &chain);
        let forked = rights::forked(self, &frontier, &writers, &owners);
        let (versions, releases) = releases::fold(self, &frontier, &writers);
        let mut state = PackageState {
            package: self.package(),
            genesis: self.genesis().clone(),
            rights: chain.rights().clone(),
            open: chain.open().into_iter().chain(resolving).collect(),
            newer_rules: chain.newer,
            owners: BTreeMap::new(),
            writers,
            versions,
            releases,
            yanked: BTreeMap::new(),
            redacted: BTreeMap::new(),
            refs: BTreeMap::new(),
            forked,
            frontier,
        };
        state.yanked = releases::yanked(self, &state);
        let (refs, waiting) = refs::fold(self, &state, &chain);
        state.refs = refs;
        state.open.extend(waiting);
        let (redacted, waiting) = redacted::fold(self, &state, &grants, &chain);
        state.redacted = redacted;
        state.open.extend(waiting);
        drop(chain);
        drop(grants);
        state.owners = owners;
        state
    }
}
