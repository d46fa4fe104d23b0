//! What is particular to publishing from a checkout: whose package, after whose releases, and what it is based on then.

use std::sync::Arc;

use syncra_protocol::id::ReleaseId;
use syncra_protocol::name::PackageName;

use super::super::checkout::{self, Base};
use super::super::{Parts, merge, resolve};
use super::{Plan, PublishError, Published, Target, place};
use crate::history::History;

/// The package that the directory was checked out from, if this device may publish to it.
pub(super) fn checked_out(
    parts: &Parts,
    plan: &Plan,
    base: &Base,
    name: &PackageName,
) -> Result<Arc<History>, PublishError> {
    merge::check_finished(&plan.dir, base).map_err(Box::new)?;
    let not_here = || PublishError::NotHere { name: name.clone(), package: base.package };
    let history = parts.histories.package(base.package)?.ok_or_else(not_here)?;
    place::ensure_writer(parts, &plan.place(), &history.state)?;
    match resolve::name_of(&parts.histories, base.package)? {
        Some((_, was)) if was != *name => Err(PublishError::OtherName { name: name.clone(), was }),
        _ => Ok(history),
    }
}

/// In a checkout, whether what will point to the release points to something that `parents` have not seen.
pub(super) fn not_moved_on(
    parts: &Parts,
    plan: &Plan,
    target: &Target<'_>,
    parents: &[ReleaseId],
) -> Result<(), PublishError> {
    let (Some(_), Some(state)) = (&plan.base, target.state) else { return Ok(()) };
    let place = plan.place();
    let unseen = checkout::unseen(parts, state, &place, parents)?;
    if unseen.is_empty() {
        return Ok(());
    }
    let version = |id: &ReleaseId| match state.releases.get(id) {
        Some(published) => published.release.version.to_string(),
        None => format!("r:{}", id.fmt_short()),
    };
    Err(PublishError::MovedOn { place, at: unseen.iter().map(version).collect() })
}

/// The checkout is based on what was published from it. Should that not be noted, publishing again does it.
pub(super) fn based_on_it(plan: &Plan, done: Published) -> Result<Published, PublishError> {
    if let Some(base) = &plan.base {
        let (package, place, release) = (base.package, plan.place(), done.release_id);
        let base = Base { package, place, release, merged: Vec::new(), unfinished: None };
        merge::finish(&plan.dir, &base).map_err(Box::new)?;
    }
    Ok(done)
}
