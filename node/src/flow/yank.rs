//! Yanking: a release is hidden from new installs, or shown again. Nothing is deleted.

use syncra_protocol::entry::{Body, EntryError, Yank};
use syncra_protocol::fold::SelectError;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::origin::Origin;
use syncra_protocol::reference::Selector;
use syncra_protocol::version::Version;

use super::Parts;
use super::devices::{self, DevicesError};
use super::publish::{self, PublishError};
use super::resolve::{self, Named};
use crate::blobs::{self, BlobError};
use crate::history::{Draft, OwnError};

/// What was yanked or shown again.
#[derive(Debug, Clone)]
pub struct Yanked {
    /// The release.
    pub release: ReleaseId,
    /// Its version.
    pub version: Version,
    /// It was so before; nothing was written.
    pub already: bool,
    /// The head of this device's log, unless nothing was or would be written.
    pub checkpoint: Option<Checkpoint>,
}

/// Why nothing was yanked.
#[derive(Debug, thiserror::Error)]
pub enum YankError {
    /// A package was named, not one of its releases.
    #[error("`{0}` names no single release")]
    NoRelease(String),
    /// There is no such release.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The package is somebody else's.
    #[error("this device does not write to `{0}`")]
    NotAWriter(String),
    /// This device does not speak for its identity.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// The reason is too long.
    #[error(transparent)]
    Prose(Box<PublishError>),
    /// The reason cannot be stored.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// An entry that may not be written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log did not grow.
    #[error(transparent)]
    Own(#[from] OwnError),
}

/// Yanks the release that is named, or shows it again with `undo`. With `dry_run` nothing is written.
///
/// # Errors
/// [`YankError`].
pub async fn yank(
    parts: &Parts,
    named: &Named,
    undo: bool,
    reason: Option<&str>,
    dry_run: bool,
) -> Result<Yanked, YankError> {
    let state = &named.history.state;
    let release = match &named.selector {
        // By its version even when it is yanked: to show it again.
        Some(Selector::Version(_)) => match resolve::release(state, named.selector.as_ref()) {
            Ok(selection) => selection.release,
            Err(SelectError::Yanked { release, .. }) => release,
            Err(error) => return Err(error.into()),
        },
        Some(Selector::Release(_)) => resolve::release(state, named.selector.as_ref())?.release,
        Some(Selector::Req(_) | Selector::Channel(_)) | None => {
            return Err(YankError::NoRelease(named.reference.clone()));
        }
    };
    let version = state.releases[&release].release.version.clone();
    let origin = Origin::package(state.package, parts.device);
    if !state.may_write(&parts.identity(), &parts.device) {
        devices::ensure_voice(parts, state)?;
        return Err(YankError::NotAWriter(named.reference.clone()));
    }
    let already = state.yanked.contains_key(&state.canonical(release)) != undo;
    if already || dry_run {
        return Ok(Yanked { release, version, already, checkpoint: None });
    }
    let import = parts.blobs().await?.import();
    let reason = match reason {
        Some(text) => {
            Some(import.add(publish::prose(text).map_err(Box::new).map_err(YankError::Prose)?.into()).await?.id)
        }
        None => None,
    };
    import.sync().await?;
    let seen = parts.histories.seen(&named.history);
    let body = Body::Yank(Yank { release, undo, reason });
    let draft = |draft: &mut Draft| devices::begin(parts, state.package, draft).and_then(|()| draft.push(body));
    let (head, _) = parts.histories.append(origin, &seen, draft).await?;
    Ok(Yanked { release, version, already, checkpoint: Some(*head.checkpoint()) })
}
