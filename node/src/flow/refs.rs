//! Branches, tags and channels: where they point, and moving them.

use syncra_protocol::entry::{Body, EntryError, RefClass, RefMove, Role};
use syncra_protocol::fold::{OpenChange, PackageState};
use syncra_protocol::id::{EntryId, ReleaseId};
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;

use super::Parts;
use super::devices::DevicesError;
use super::resolve::Named;
use super::{devices, roles};
use crate::history::{Draft, LoadError, OwnError};

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// What this device's identity may do in the package is not enough for this.
    #[error("this device may not move that in `{0}`")]
    NotAWriter(String),
    /// This device does not speak for its identity.
    #[error(transparent)]
    Devices(#[from] DevicesError),
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
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
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
    /// It was so before, or said before; nothing was written.
    pub already: bool,
    /// The move waits until enough owners agree to this entry: the ref is protected.
    pub waits: Option<EntryId>,
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
    let role = state.role(&parts.identity(), &parts.device);
    let is_protected = state.rights.protected.contains(&(class, name.clone()));
    let may_move = match role {
        Some(Role::Maintainer | Role::Owner) => true,
        Some(Role::Contributor) => class == RefClass::Branch && !is_protected,
        None => false,
    };
    if !may_move {
        devices::ensure_voice(parts, state)?;
        return Err(RefError::NotAWriter(named.reference.clone()));
    }
    let origin = Origin::package(state.package, parts.device);
    // Said before, and waiting for agreement: once is enough.
    if let Some(open) = roles::waiting(state, &origin, class, &name)
        && matches!(&open.change, OpenChange::Ref(moved) if moved.new == new)
    {
        return Ok(Moved {
            old: places(state, class, &name),
            new,
            already: true,
            waits: Some(open.entry),
            checkpoint: None,
        });
    }
    let known = state.refs.get(&(class, name.clone()));
    let old = places(state, class, &name);
    let is_diverged = known.is_some_and(syncra_protocol::fold::RefState::is_diverged);
    let already = !is_diverged && new.is_some() && old.first() == new.as_ref();
    if already {
        return Ok(Moved { old, new, already, waits: None, checkpoint: None });
    }
    match (known, new, class) {
        (None, None, _) => return Err(RefError::NoRef { package: named.reference.clone(), class, name }),
        (Some(_), _, RefClass::Tag) => return Err(RefError::TagIsSet(name)),
        _ => {}
    }
    if dry_run {
        return Ok(Moved { old, new, already, waits: None, checkpoint: None });
    }
    // Of several places the writer left, one that is not the new one: an entry moves.
    let from = old.iter().copied().find(|place| Some(*place) != new);
    let body = Body::Ref(RefMove { class, name: name.clone(), old: from, new });
    let draft = |draft: &mut Draft| devices::begin(parts, state.package, draft).and_then(|()| draft.push(body));
    let seen = parts.histories.seen(&named.history);
    let (head, _) = parts.histories.append(origin, &seen, draft).await?;
    let now = parts.histories.package(state.package)?;
    let waits = now.as_ref().and_then(|now| roles::waiting(&now.state, &origin, class, &name)).map(|open| open.entry);
    Ok(Moved { old, new, already, waits, checkpoint: Some(*head.checkpoint()) })
}

fn places(state: &PackageState, class: RefClass, name: &RefName) -> Vec<ReleaseId> {
    let known = state.refs.get(&(class, name.clone()));
    known.iter().flat_map(|known| known.values()).flatten().collect()
}
