//! A release as a working directory: files to edit, and what they are based on.
//!
//! What is remembered stands in `.syncra/base.toml` of the directory. No package can hold a file of that name, and none is ever
//! published from it, so neither a release nor a peer can write there.

mod base;
mod lock;

use std::path::Path;

use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::{Ancestry, PackageState, Pick};
use syncra_protocol::id::ReleaseId;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::Selector;

use super::{Parts, resolve};
use crate::history::LoadError;

pub(super) use base::STATE_DIR;
pub use base::{Base, BaseError, Conflict, ConflictKind, Left, Touched, Unfinished};
pub use lock::DirLock;

/// A branch or channel: what a publish moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What it is for; never a tag.
    pub class: RefClass,
    /// Its name.
    pub name: RefName,
}

impl Place {
    /// The channel that a publish moves unless somebody says otherwise.
    #[must_use]
    pub fn stable() -> Self {
        Self { class: RefClass::Channel, name: RefName::stable() }
    }

    /// The branch or channel that somebody named when choosing a release; else `stable`: a version and a tag stay where they
    /// are, and what is made from them goes where releases go.
    #[must_use]
    pub fn of(state: &PackageState, selector: Option<&Selector>) -> Self {
        match resolve::pick(state, selector) {
            Pick::Ref(class @ (RefClass::Branch | RefClass::Channel), name) => Self { class, name },
            _ => Self::stable(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`", self.class, self.name)
    }
}

/// Where a ref points that `parents` have not seen: what has to be merged before it can be moved.
///
/// # Errors
/// [`LoadError`].
pub fn unseen(
    parts: &Parts,
    state: &PackageState,
    place: &Place,
    parents: &[ReleaseId],
) -> Result<Vec<ReleaseId>, LoadError> {
    let Some(known) = state.refs.get(&(place.class, place.name.clone())) else { return Ok(Vec::new()) };
    let mut related = Vec::new();
    for parent in parents.iter().filter(|parent| !state.releases.contains_key(*parent)) {
        related.extend(package_of(parts, *parent)?);
    }
    let ancestry = Ancestry::of(std::iter::once(state).chain(related.iter().map(|history| &history.state)));
    let past = ancestry.past(parents.iter().copied());
    let tips: std::collections::BTreeSet<ReleaseId> = known.values().into_iter().flatten().collect();
    Ok(tips.into_iter().filter(|tip| !past.contains(&ancestry.canonical(*tip))).collect())
}

/// The package that has a release, among those known here.
///
/// # Errors
/// [`LoadError`].
pub fn package_of(
    parts: &Parts,
    release: ReleaseId,
) -> Result<Option<std::sync::Arc<crate::history::History>>, LoadError> {
    for package in parts.histories.packages() {
        if let Some(history) = parts.histories.package(package)?
            && history.state.releases.contains_key(&release)
        {
            return Ok(Some(history));
        }
    }
    Ok(None)
}

/// What a directory is based on, if it is a checkout.
///
/// # Errors
/// [`BaseError`].
pub fn read(dir: &Path) -> Result<Option<Base>, BaseError> {
    Base::read(dir)
}
