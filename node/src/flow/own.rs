//! The packages of this device's identity: what any of its devices has written to, and what it calls by a name.

use std::collections::BTreeSet;
use std::sync::Arc;

use syncra_protocol::entry::Role;
use syncra_protocol::fold::IdentityState;
use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::IDENTITY_PACKAGES;
use syncra_protocol::origin::{Origin, Subject};

use super::Parts;
use crate::history::LoadError;
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

/// The packages of its identity that this device has not written to: those that have a name first, then those that a sibling
/// wrote to, [`IDENTITY_PACKAGES`] at most.
#[must_use]
pub fn of_siblings(parts: &Parts) -> Vec<PackageId> {
    let (mut packages, mut known) = (Vec::new(), written(parts));
    for package in others(parts) {
        if packages.len() == IDENTITY_PACKAGES {
            break;
        }
        if known.insert(package) {
            packages.push(package);
        }
    }
    packages
}

/// What the identity names, then what its other devices wrote to, as far as it is known here.
fn others(parts: &Parts) -> Vec<PackageId> {
    let Some(state) = state(parts) else { return Vec::new() };
    let mut packages: Vec<PackageId> = state.names.values().copied().collect();
    packages.extend(state.diverged_names.values().flatten());
    let truth = parts.histories.journal().truth();
    let theirs = truth.heads().filter(|head| head.origin.key != parts.device);
    packages.extend(
        theirs.filter(|head| state.devices.contains_key(&head.origin.key)).filter_map(|head| package_of(&head.origin)),
    );
    packages
}

/// How many packages are the identity's: those that it owns, and those that it names and whose history is not here.
///
/// # Errors
/// [`LoadError`].
pub fn n_owned(parts: &Parts) -> Result<usize, LoadError> {
    let me = parts.identity();
    let (mut packages, mut n_owned) = (written(parts), 0);
    packages.extend(others(parts));
    for package in packages {
        let history = parts.histories.package(package)?;
        n_owned += usize::from(history.is_none_or(|history| history.state.rights.role(&me) == Some(Role::Owner)));
    }
    Ok(n_owned)
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
