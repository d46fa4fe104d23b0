//! What a publish would come to, for whoever only asks.

use syncra_protocol::id::{ReleaseId, TreeId};
use syncra_protocol::tree;
use syncra_protocol::version::Version;

use super::{Plan, PublishError, Target, already, not_moved_on, package_of, place};
use crate::flow::pack::PackTreeError;
use crate::flow::{Parts, secrets, walk};

/// What a publish would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The version that it would have.
    pub version: Version,
    /// The release that has these files already: then nothing new is signed but, perhaps, what points to it.
    pub already: Option<ReleaseId>,
}

/// Whether a publish of what was planned would be refused for what is known of its package: the rights of this device, what
/// others have published meanwhile, a merge that is not finished, a version that is taken. Files are read only if a release
/// could be the same.
///
/// # Errors
/// [`PublishError`].
pub async fn check(parts: &Parts, plan: &Plan) -> Result<Outcome, PublishError> {
    let history = package_of(parts, plan)?;
    place::ensure_whole(parts, plan, history.as_deref())?;
    let target = Target::choose(parts, plan, history.as_deref())?;
    let done = match may_be_already(plan, &target) {
        true => already(plan, &target, tree_id(plan).await?),
        false => Ok(None),
    };
    match &done {
        Ok(Some((id, _))) => not_moved_on(parts, plan, &target, &[*id])?,
        _ => not_moved_on(parts, plan, &target, &target.parents)?,
    }
    Ok(match done? {
        Some((id, release)) => Outcome { version: release.version, already: Some(id) },
        None => Outcome { version: target.version, already: None },
    })
}

/// Whether there is a release that the files could be the same as, or that has taken their version.
fn may_be_already(plan: &Plan, target: &Target<'_>) -> bool {
    let Some(state) = target.state.filter(|_| !plan.is_proposal) else { return false };
    let (n_files, total_bytes) = (plan.files.len() as u64, plan.files.iter().map(|file| file.size).sum::<u64>());
    let takes_any_version = plan.is_plain && plan.request.version.is_none();
    state.releases.values().map(|known| &known.release).any(|release| match takes_any_version {
        true => (u64::from(release.n_files), release.total_bytes) == (n_files, total_bytes),
        false => release.version == target.version,
    })
}

/// Reads all files.
async fn tree_id(plan: &Plan) -> Result<TreeId, PublishError> {
    let files = plan.files.clone();
    let hashed = tokio::task::spawn_blocking(move || walk::hashed(&files)).await;
    let entries = hashed.map_err(|_| PublishError::Interrupted)?.map_err(PackTreeError::Read)?;
    Ok(tree::tree_id(&entries).expect("files are found in tree order"))
}

/// Whether a publish would be refused for what a file holds: what packing would find too late for whoever only asks.
///
/// # Errors
/// [`PublishError::Pack`] of the first file that looks like a secret.
pub async fn check_secrets(plan: &Plan) -> Result<(), PublishError> {
    let (files, allowed) = (plan.files.clone(), plan.request.allow_secrets.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let mut asked = files.iter().filter(|file| !allowed.iter().any(|path| path == file.path.as_str()));
        asked.try_for_each(|file| match secrets::scan_file(file)? {
            Some(finding) => Err(PackTreeError::Secret { path: file.source.clone(), finding }),
            None => Ok(()),
        })
    });
    Ok(looked.await.map_err(|_| PublishError::Interrupted)??)
}
