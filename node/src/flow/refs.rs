//! Branches, tags and channels: where they point, and moving them.

use syncra_protocol::entry::{Body, EntryError, RefClass, RefMove};
use syncra_protocol::id::ReleaseId;
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;

use super::Parts;
use super::devices;
use super::resolve::Named;
use crate::history::{self, Draft, OwnError};

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// The package is somebody else's.
    #[error("this device does not write to `{0}`")]
    NotAWriter(String),
    /// There is nothing to remove.
    #[error("`{package}` has no {class} `{name}`")]
    NoRef {
        /// The package.
        package: String,
        /// What it would be for.
        class: RefClass,
        /// Its name.
        name: RefName,
    },
    /// Tags stay where they are.
    #[error("the tag `{0}` is set already, and a tag is never moved")]
    TagIsSet(RefName),
    /// An entry that may not be written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log did not grow.
    #[error(transparent)]
    Own(#[from] OwnError),
}

/// What was moved.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Where it pointed, to several places if it was diverged.
    pub old: Vec<ReleaseId>,
    /// Where it points; none: it is removed.
    pub new: Option<ReleaseId>,
    /// It was so before; nothing was written.
    pub already: bool,
    /// The head of this device's log, if it grew.
    pub checkpoint: Option<Checkpoint>,
}

/// Points a branch, tag or channel to a release, or removes it. One that is diverged points to one place afterwards, for
/// the new move has seen the others. With `dry_run` nothing is written.
///
/// # Errors
/// [`RefError`].
pub async fn set(
    parts: &Parts,
    named: &Named,
    class: RefClass,
    name: RefName,
    new: Option<ReleaseId>,
    dry_run: bool,
) -> Result<Moved, RefError> {
    let state = &named.history.state;
    if !state.may_write(&parts.identity(), &parts.device) {
        return Err(RefError::NotAWriter(named.reference.clone()));
    }
    let known = state.refs.get(&(class, name.clone()));
    let old: Vec<ReleaseId> = known.iter().flat_map(|known| known.values()).flatten().collect();
    let is_diverged = known.is_some_and(syncra_protocol::fold::RefState::is_diverged);
    let already = !is_diverged && new.is_some() && old.first() == new.as_ref();
    if already {
        return Ok(Moved { old, new, already, checkpoint: None });
    }
    match (known, new, class) {
        (None, None, _) => return Err(RefError::NoRef { package: named.reference.clone(), class, name }),
        (Some(_), _, RefClass::Tag) => return Err(RefError::TagIsSet(name)),
        _ => {}
    }
    if dry_run {
        return Ok(Moved { old, new, already, checkpoint: None });
    }
    // Of several places the writer left, one that is not the new one: an entry moves.
    let from = old.iter().copied().find(|place| Some(*place) != new);
    let body = Body::Ref(RefMove { class, name, old: from, new });
    let draft = |draft: &mut Draft| devices::begin(parts, state.package, draft).and_then(|()| draft.push(body));
    let seen = history::seen(&named.history);
    let origin = Origin::package(state.package, parts.device);
    let (head, _) = parts.histories.append(origin, &seen, draft).await?;
    Ok(Moved { old, new, already, checkpoint: Some(*head.checkpoint()) })
}
