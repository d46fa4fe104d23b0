//! The packages of this device's identity: what any of its devices has written to, and what it calls by a name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use syncra_protocol::entry::Role;
use syncra_protocol::fold::IdentityState;
use syncra_protocol::id::{IdentityId, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::IDENTITY_PACKAGES;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::version::Version;

use super::{Parts, publish};
use crate::history::{LoadError, Stamp};
use crate::logs::LogsError;

/// What brings back what a restored home has not.
pub const COMES_BACK: &str =
    "it comes back once a node runs (`syncra up`) and is connected to whoever has it, or by `syncra import`";

/// What is known of this device's identity; nothing if it cannot be read.
fn state(parts: &Parts) -> Option<Arc<IdentityState>> {
    parts.histories.identity(parts.identity()).unwrap_or_else(|error| {
        tracing::warn!(%error, "what this device's identity says cannot be read");
        None
    })
}

/// The other devices that speak for this device's identity.
#[must_use]
pub fn siblings(parts: &Parts) -> BTreeSet<DeviceKey> {
    let Some(state) = state(parts).filter(|state| state.is_active(&parts.device)) else { return BTreeSet::new() };
    state.devices.keys().filter(|key| **key != parts.device && state.is_active(key)).copied().collect()
}

/// Whether a log is of a package, and by a device of this device's identity, one that was revoked too.
#[must_use]
pub fn is_ours(parts: &Parts, log: &Origin) -> bool {
    let is_package = matches!(log.subject, Subject::Package(_));
    is_package && (log.key == parts.device || state(parts).is_some_and(|state| state.devices.contains_key(&log.key)))
}

/// The packages that this device has written to.
#[must_use]
pub fn written(parts: &Parts) -> BTreeSet<PackageId> {
    let truth = parts.histories.journal().truth();
    truth.own_logs().filter_map(|(origin, _)| package_of(origin)).collect()
}

/// The packages of its identity that this device has not written to: those that have a name and those that each sibling wrote
/// to, in turns, so that no sibling keeps out what another one does; [`IDENTITY_PACKAGES`] at most.
#[must_use]
pub fn of_siblings(parts: &Parts) -> Vec<PackageId> {
    in_turns(groups(parts).into_values().collect()).take(IDENTITY_PACKAGES).collect()
}

/// All packages of its identity that this device has not written to, as far as they are known here.
#[must_use]
pub fn all_of_siblings(parts: &Parts) -> BTreeSet<PackageId> {
    groups(parts).into_values().flatten().collect()
}

/// Whether there is room for one more package that `writer` has written to: among [`IDENTITY_PACKAGES`], or among as many as
/// are this device's share of them.
#[must_use]
pub fn has_room(parts: &Parts, writer: &DeviceKey) -> bool {
    let groups = groups(parts);
    let n_all: usize = groups.values().map(Vec::len).sum();
    n_all < IDENTITY_PACKAGES || groups.get(&Some(*writer)).map_or(0, Vec::len) < IDENTITY_PACKAGES / groups.len()
}

/// What the identity names, and what each of its other devices wrote to besides, as far as it is known here and this device has
/// not written to it. Each package is in one group.
fn groups(parts: &Parts) -> BTreeMap<Option<DeviceKey>, Vec<PackageId>> {
    let Some(state) = state(parts) else { return BTreeMap::from([(None, Vec::new())]) };
    let mut known = written(parts);
    let named = state.names.values().chain(state.diverged_names.values().flatten());
    let named = named.copied().filter(|package| known.insert(*package)).collect();
    let others = state.devices.keys().filter(|key| **key != parts.device);
    let mut groups: BTreeMap<_, _> = others.map(|key| (Some(*key), Vec::new())).collect();
    groups.insert(None, named);
    for head in parts.histories.journal().truth().heads() {
        if let Some(group) = groups.get_mut(&Some(head.origin.key))
            && let Some(package) = package_of(&head.origin)
            && known.insert(package)
        {
            group.push(package);
        }
    }
    groups
}

/// The first of each group, then the second of each, and so on.
fn in_turns(groups: Vec<Vec<PackageId>>) -> impl Iterator<Item = PackageId> {
    let n_turns = groups.iter().map(Vec::len).max().unwrap_or(0);
    (0..n_turns).flat_map(move |n| groups.iter().filter_map(|group| group.get(n).copied()).collect::<Vec<_>>())
}

/// What there is to say of the packages of this device's identity, all together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many are the identity's: those that it owns, and those that it names and whose history is not here.
    pub n_owned: usize,
    /// Newest releases of this device that count for nobody, see [`publish::void`].
    pub void: Vec<(PackageId, Version)>,
}

/// What an overview says of one package, the same as long as its history is.
#[derive(Debug, Clone)]
struct Facts {
    as_of: (Stamp, IdentityId),
    is_owned: bool,
    void: Option<Version>,
}

/// What overviews said, so that not every history is read for the next one: some 100 bytes a package.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<HashMap<PackageId, Facts>>);

/// The [`Overview`]. It reads from disk what has changed since the last one, at first everything.
///
/// # Errors
/// [`LoadError`].
pub fn overview(parts: &Parts) -> Result<Overview, LoadError> {
    let written = written(parts);
    let packages: BTreeSet<PackageId> = written.iter().copied().chain(all_of_siblings(parts)).collect();
    let mut said = std::mem::take(&mut *parts.said.0.lock().unwrap_or_else(PoisonError::into_inner));
    said.retain(|package, _| packages.contains(package));
    let mut overview = Overview::default();
    for package in packages {
        let as_of = (parts.histories.stamp(package), parts.identity());
        let facts = match said.remove(&package).filter(|facts| facts.as_of == as_of) {
            Some(facts) => facts,
            None => facts(parts, package, as_of)?,
        };
        overview.n_owned += usize::from(facts.is_owned);
        let void = facts.void.clone().filter(|_| written.contains(&package));
        overview.void.extend(void.map(|version| (package, version)));
        said.insert(package, facts);
    }
    *parts.said.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
    Ok(overview)
}

fn facts(parts: &Parts, package: PackageId, as_of: (Stamp, IdentityId)) -> Result<Facts, LoadError> {
    let history = parts.histories.package(package)?;
    let state = history.as_ref().map(|history| &history.state);
    let is_owned = state.is_none_or(|state| state.rights.role(&as_of.1) == Some(Role::Owner));
    let void = state.and_then(|state| publish::void(parts, state)).cloned();
    Ok(Facts { as_of, is_owned, void })
}

/// How many packages that the user has to do with have a history that is not whole on this disk, see
/// [`crate::history::Histories::is_incomplete`].
///
/// # Errors
/// [`LogsError`].
pub fn n_incomplete(parts: &Parts) -> Result<usize, LogsError> {
    let mut packages = written(parts);
    packages.extend(of_siblings(parts));
    packages.extend(parts.histories.journal().truth().follows().map(|(package, _)| *package));
    let mut n = 0;
    for package in packages {
        n += usize::from(parts.histories.is_incomplete(package)?);
    }
    Ok(n)
}

const fn package_of(origin: &Origin) -> Option<PackageId> {
    match origin.subject {
        Subject::Package(package) => Some(package),
        Subject::Identity(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use syncra_protocol::id::LogHash;
    use syncra_protocol::key::DeviceSecret;

    use super::*;
    use crate::flow::devices;
    use crate::flow::fixture::{Draft, open};
    use crate::journal::KnownHead;

    #[tokio::test]
    async fn an_overview_reads_only_what_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        for name in ["lamp", "door"] {
            Draft::new(name, "1.0.0").publish(&parts).await;
        }
        let look = || {
            parts.histories.let_go();
            let overview = overview(&parts).unwrap();
            (overview.n_owned, parts.histories.n_packages_held())
        };
        assert_eq!((look(), look()), ((2, 2), (2, 0)));
        // A name is said in the identity's log, which has a say in every package.
        Draft::new("key", "1.0.0").publish(&parts).await;
        assert_eq!((look(), look()), ((3, 3), (3, 0)));
        Draft::new("key", "1.1.0").publish(&parts).await;
        assert_eq!((look(), look()), ((3, 1), (3, 0)));
        parts.close().await;
    }

    /// A sibling that wrote to more packages than there is room for keeps none of another one's out.
    #[tokio::test]
    async fn siblings_share_the_room_for_packages() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let (thief, desk) = (DeviceSecret::from_seed(&[3; 32]).public(), DeviceSecret::from_seed(&[4; 32]).public());
        for (device, label) in [(thief, "thief"), (desk, "desk")] {
            let label = syncra_protocol::name::RefName::parse(label).unwrap();
            let role = syncra_protocol::entry::DeviceRole::Publisher;
            devices::add(&parts, syncra_protocol::entry::AddDevice { device, role, label }, false).await.unwrap();
        }
        let write = async |device: DeviceKey, first: usize, n: usize| {
            let heads = (first..first + n).map(|n| {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&(n as u64).to_be_bytes());
                let origin = Origin::package(PackageId::from_bytes(id), device);
                let known = KnownHead { origin, size: 1, root: LogHash::from_bytes([1; 32]), note: b"note".to_vec() };
                parts.histories.journal().append(known)
            });
            futures::future::try_join_all(heads).await.unwrap();
        };
        write(thief, 0, IDENTITY_PACKAGES - 1).await;
        assert!(has_room(&parts, &thief) && has_room(&parts, &desk));
        write(thief, IDENTITY_PACKAGES - 1, 1).await;
        assert!(!has_room(&parts, &thief) && has_room(&parts, &desk));
        let share = IDENTITY_PACKAGES / 3;
        write(desk, 10_000, share).await;
        assert!(!has_room(&parts, &desk), "all together are bounded");
        let kept: BTreeSet<PackageId> = of_siblings(&parts).into_iter().collect();
        assert_eq!(kept.len(), IDENTITY_PACKAGES);
        let mut desks = all_of_siblings(&parts);
        desks.retain(|package| package.as_bytes()[6..8] >= [0x27, 0x10][..]);
        assert!(desks.len() == share && desks.is_subset(&kept));
        parts.close().await;
    }
}
