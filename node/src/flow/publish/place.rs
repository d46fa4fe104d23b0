//! What points to a release: who may move it, from where it moves, and whether the move waits for agreement.

use syncra_protocol::entry::{Body, RefClass, RefMove, Role};
use syncra_protocol::fold::{OpenChange, PackageState, Published, RefState, Standing, VersionState};
use syncra_protocol::id::{EntryId, IdentityId, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Origin;
use syncra_protocol::version::Version;

use super::super::checkout::Place;
use super::super::{Parts, devices, resolve, roles};
use super::{Plan, PublishError, Target, package_of};
use crate::history::{History, LoadError};

/// Whoever maintains the package publishes as it likes; who contributes has the branches that are not protected.
pub(super) fn ensure_writer(parts: &Parts, place: &Place, state: &PackageState) -> Result<(), PublishError> {
    let me = parts.identity();
    let is_protected = state.rights.protected.contains(&(place.class, place.name.clone()));
    match state.role(&me, &parts.device) {
        Some(Role::Maintainer | Role::Owner) => Ok(()),
        Some(Role::Contributor) if place.class == RefClass::Branch && !is_protected => Ok(()),
        Some(Role::Contributor) => Err(PublishError::Contributes(resolve::text(&parts.histories, state.package)?)),
        None if state.forked.contains_key(&Origin::package(state.package, parts.device)) => {
            Err(PublishError::Forked(resolve::text(&parts.histories, state.package)?))
        }
        None => {
            devices::ensure_voice(parts, state).map_err(Box::new)?;
            Err(PublishError::NotAWriter(resolve::text(&parts.histories, state.package)?))
        }
    }
}

/// What others wrote to the package, or this device where it was before, decides what a release follows and which versions are
/// taken: of what is known to be missing nothing is guessed.
pub(super) fn ensure_whole(parts: &Parts, plan: &Plan, history: Option<&History>) -> Result<(), PublishError> {
    let Some(History { state, .. }) = history.filter(|_| !plan.request.incomplete) else { return Ok(()) };
    match parts.histories.is_incomplete(state.package).map_err(LoadError::from)? {
        true => Err(PublishError::Incomplete(resolve::text(&parts.histories, state.package)?)),
        false => Ok(()),
    }
}

/// This device, if what it publishes takes no version.
pub(super) fn contributor(parts: &Parts, state: &PackageState) -> Option<DeviceKey> {
    let role = state.role(&parts.identity(), &parts.device);
    (role == Some(Role::Contributor)).then_some(parts.device)
}

/// A contributor's release that is this one already: it has no version by which it would be found.
pub(super) fn contributed(state: &PackageState, target: &Target<'_>, tree: TreeId) -> Option<ReleaseId> {
    let device = target.contributor?;
    let is_same = |published: &Published| {
        published.standing == Standing::Contributed
            && published.writer.key == device
            && published.release.version == target.version
            && published.release.tree_id == tree
    };
    state.releases.iter().find(|(_, published)| is_same(published)).map(|(id, _)| *id)
}

/// Where a branch or channel points now; of several tips the first.
pub(super) fn tip(state: &PackageState, place: &Place) -> Option<ReleaseId> {
    let known = state.refs.get(&(place.class, place.name.clone()))?;
    known.tips.iter().find_map(|tip| tip.value)
}

/// The move of what will point to the release. One that is diverged is moved though a tip is there already: that heals it.
pub(super) fn ref_move(plan: &Plan, target: &Target<'_>, release: ReleaseId) -> Option<Body> {
    let Place { class, name } = plan.points();
    let known = target.state.and_then(|state| state.refs.get(&(class, name.clone())));
    let values: Vec<ReleaseId> = known.into_iter().flat_map(RefState::values).flatten().collect();
    let is_diverged = known.is_some_and(RefState::is_diverged);
    let old = values.iter().copied().find(|value| *value != release);
    (is_diverged || values.first() != Some(&release)).then_some(Body::Ref(RefMove {
        class,
        name,
        old,
        new: Some(release),
    }))
}

/// Whether a change waits that takes from this device's identity the right to publish what was planned: others may have agreed
/// to it where this device has not heard of it.
///
/// # Errors
/// [`PublishError`].
pub fn is_leaving(parts: &Parts, plan: &Plan) -> Result<bool, PublishError> {
    let Some(history) = package_of(parts, plan)? else { return Ok(false) };
    let me = parts.identity();
    let loses = |(who, role): &(IdentityId, Option<Role>)| *who == me && *role < Some(Role::Maintainer);
    let mut open = history.state.open.iter();
    Ok(open.any(|open| matches!(&open.change, OpenChange::Roles(roles) if roles.changes.iter().any(loses))))
}

/// The version of this device's newest release, if that counts for nobody because its identity had lost its role in the
/// package before that was known here. Nothing once something newer counts: then the package goes on without it.
pub fn void<'a>(parts: &Parts, state: &'a PackageState) -> Option<&'a Version> {
    let origin = Origin::package(state.package, parts.device);
    let is_void = |known: &&Published| known.writer == origin && known.standing == Standing::Revoked;
    let newest = state.releases.values().filter(is_void).map(|known| &known.release.version).max()?;
    let is_settled = |(_, known): &(&Version, &VersionState)| matches!(known, VersionState::Settled(_));
    let counts = state.versions.iter().filter(is_settled).map(|(version, _)| version).next_back();
    let has_role = state.rights.role(&parts.identity()) >= Some(Role::Maintainer);
    (!has_role && counts.is_none_or(|counts| counts < newest)).then_some(newest)
}

/// The move by this device that waits for owners to agree, if what it moves is protected.
pub(super) fn waits(parts: &Parts, plan: &Plan, package: PackageId) -> Result<Option<EntryId>, LoadError> {
    let history = parts.histories.package(package)?;
    let (origin, Place { class, name }) = (Origin::package(package, parts.device), plan.points());
    let open = history.as_ref().and_then(|history| roles::waiting(&history.state, &origin, class, &name));
    Ok(open.map(|open| open.entry))
}
