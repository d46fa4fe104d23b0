//! From what somebody wrote to a package and a release, with what is known on this device.
//!
//! A bare `@alice/rocket` means a package only if the user has pinned who `alice` is: it is this device's own identity,
//! trusted, a petname, or the owner of a package that is followed. Everybody else who calls itself so is a candidate to choose
//! from, never the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use syncra_protocol::entry::{RefClass, Role};
use syncra_protocol::fold::{PackageState, Pick, Published, SelectError, Selection, VersionState, Warning};
use syncra_protocol::id::{IdentityId, PackageId, ReleaseId};
use syncra_protocol::name::{PackageName, RefName};
use syncra_protocol::reference::{QualifiedName, Reference, Selector};
use syncra_protocol::version::{Version, VersionReq};

use super::{Parts, identity};
use crate::history::{Histories, History, LoadError};
use crate::journal::Regard;

/// Candidates that an answer lists.
const CANDIDATES: usize = 16;

/// A package that was named.
#[derive(Debug, Clone)]
pub struct Named {
    /// How strangers name it.
    pub reference: String,
    /// What is known of it.
    pub history: Arc<History>,
    /// Which release was asked for, if any was.
    pub selector: Option<Selector>,
}

/// Why a reference means no package here.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing known here has this name.
    #[error("nothing known here is called `{0}`")]
    Unknown(String),
    /// Several could be meant, or one that nobody pinned.
    #[error("`{reference}` could mean {}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// What it could mean: references that are exact.
        candidates: Vec<String>,
    },
    /// Content named by hash alone has no history.
    #[error("`{0}` names content, and this needs a package")]
    NoPackage(String),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// The package that `reference` means.
///
/// # Errors
/// [`ResolveError`].
pub fn package(parts: &Parts, reference: &Reference) -> Result<Named, ResolveError> {
    let (package, selector) = match reference {
        Reference::Content(_) => return Err(ResolveError::NoPackage(reference.to_string())),
        Reference::Package(package, selector) => (*package, selector),
        Reference::Named(name, selector) => (by_name(parts, name)?, selector),
    };
    let unknown = || ResolveError::Unknown(reference.to_string());
    let history = parts.histories.package(package)?.ok_or_else(unknown)?;
    Ok(Named { reference: text(&parts.histories, package)?, history, selector: selector.clone() })
}

/// The package that an owner calls by a name.
///
/// # Errors
/// [`ResolveError`].
pub fn by_name(parts: &Parts, wanted: &QualifiedName) -> Result<PackageId, ResolveError> {
    let pinned = pinned(parts)?;
    let (mut sure, mut candidates) = (BTreeSet::new(), BTreeMap::new());
    for identity in parts.histories.identities() {
        let Some(state) = parts.histories.identity(identity)? else { continue };
        let Some(package) = state.names.get(&wanted.name).copied() else { continue };
        let is_handle = state.handle.as_ref() == Some(&wanted.owner);
        let is_petname =
            parts.histories.journal().truth().petname(&identity).is_some_and(|name| name == wanted.owner.as_str());
        let is_sure = match &wanted.key {
            Some(key) => key.matches(&identity),
            None => is_petname || is_handle && pinned.contains(&identity),
        };
        if is_sure {
            sure.insert(package);
        }
        let is_blocked = parts.histories.journal().truth().regard(&identity) == Regard::Blocked;
        if is_sure || wanted.key.is_none() && is_handle && !is_blocked {
            candidates.insert(identity, package);
        }
    }
    let exact = wanted.to_string();
    match (sure.len(), sure.first()) {
        (1, Some(package)) => return Ok(*package),
        _ if candidates.is_empty() => return Err(ResolveError::Unknown(exact)),
        _ => {}
    }
    let texts = candidates.into_iter().take(CANDIDATES);
    let texts =
        texts.map(|(identity, _)| Ok(format!("{}/{}", identity::owner_text(&parts.histories, identity)?, wanted.name)));
    let candidates = texts.collect::<Result<Vec<_>, LoadError>>()?;
    Err(ResolveError::Ambiguous { reference: exact, candidates })
}

/// The identities whose handle the user need not doubt: the own one, trusted ones, and owners of what is followed.
///
/// # Errors
/// [`LoadError`].
pub fn pinned(parts: &Parts) -> Result<BTreeSet<IdentityId>, LoadError> {
    let mut pinned = BTreeSet::from([parts.identity()]);
    let followed: Vec<PackageId> = {
        let truth = parts.histories.journal().truth();
        let trusted = truth.regards().filter(|(_, regard)| *regard == Regard::Trusted);
        pinned.extend(trusted.map(|(identity, _)| *identity));
        truth.follows().map(|(package, _)| *package).collect()
    };
    for package in followed {
        if let Some(history) = parts.histories.package(package)? {
            pinned.extend(history.state.rights.owners());
        }
    }
    Ok(pinned)
}

/// The release that a selector means. Without one: what the channel `stable` points to, else the highest version.
///
/// # Errors
/// [`SelectError`].
pub fn release<'a>(state: &'a PackageState, selector: Option<&Selector>) -> Result<Selection<'a>, SelectError> {
    state.select(&pick(state, selector))
}

/// Why no release is meant that was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrittenError {
    /// None is.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Several have this version.
    #[error("{} releases have the version {version}", .releases.len())]
    Several {
        /// The version.
        version: Version,
        /// How each of them is named.
        releases: Vec<String>,
    },
}

/// The release that is named, whatever it counts for: also one that a cut has taken back, that is in one of two histories only,
/// or that others contest. Of several of a version the one that `is_meant`.
///
/// # Errors
/// [`WrittenError`].
pub fn written(named: &Named, is_meant: impl Fn(&Published) -> bool) -> Result<ReleaseId, WrittenError> {
    let state = &named.history.state;
    let of_version = |version: &Version| {
        // Also those that count for nothing beside one that does.
        let all = state.releases.iter().filter(|(_, known)| known.release.version == *version);
        let (meant, others): (Vec<_>, Vec<_>) = all.partition(|(_, known)| is_meant(known));
        let found = if meant.is_empty() { others } else { meant };
        let found: Vec<ReleaseId> = found.into_iter().map(|(id, _)| *id).collect();
        match state.versions.get(version) {
            Some(VersionState::Settled(one)) if found.contains(one) => vec![*one],
            _ => found,
        }
    };
    let known = match &named.selector {
        Some(Selector::Release(release)) => state.releases.contains_key(release).then_some(*release),
        Some(Selector::Version(version)) => match &of_version(version)[..] {
            [] => None,
            [one] => Some(*one),
            several => {
                let releases = several.iter().map(|id| format!("{}@r:{id}", named.reference)).collect();
                return Err(WrittenError::Several { version: version.clone(), releases });
            }
        },
        _ => None,
    };
    match known {
        Some(known) => Ok(known),
        None => Ok(release(state, named.selector.as_ref()).map(|found| found.release)?),
    }
}

/// What a selector asks of a package's state.
#[must_use]
pub fn pick(state: &PackageState, selector: Option<&Selector>) -> Pick {
    match selector {
        Some(Selector::Version(version)) => Pick::Version(version.clone()),
        Some(Selector::Req(req)) => Pick::Highest(req.clone()),
        Some(Selector::Release(release)) => Pick::Release(*release),
        Some(Selector::Channel(name)) => {
            let classes = [RefClass::Channel, RefClass::Tag, RefClass::Branch];
            let class = classes.into_iter().find(|class| state.refs.contains_key(&(*class, name.clone())));
            Pick::Ref(class.unwrap_or(RefClass::Channel), name.clone())
        }
        None => {
            let stable = (RefClass::Channel, RefName::stable());
            if state.refs.contains_key(&stable) {
                Pick::Ref(stable.0, stable.1)
            } else {
                Pick::Highest(VersionReq::any())
            }
        }
    }
}

/// The name of a package in the logs of its owners, and whose it is.
///
/// # Errors
/// [`LoadError`].
pub fn name_of(histories: &Histories, package: PackageId) -> Result<Option<(IdentityId, PackageName)>, LoadError> {
    let Some(history) = histories.package(package)? else { return Ok(None) };
    // Who began it and still owns it, then who owns it: a package that was handed on is called what its new owner calls it.
    let PackageState { genesis, rights, .. } = &history.state;
    let (still, no_more): (Vec<IdentityId>, Vec<IdentityId>) =
        genesis.owners.iter().partition(|owner| rights.role(owner) == Some(Role::Owner));
    for owner in still.into_iter().chain(rights.owners()).chain(no_more) {
        let Some(state) = histories.identity(owner)? else { continue };
        if let Some((name, _)) = state.names.iter().find(|(_, named)| **named == package) {
            return Ok(Some((owner, name.clone())));
        }
    }
    Ok(None)
}

/// How strangers name a package: `@handle~key/name`, or by its id while no owner has named it.
///
/// # Errors
/// [`LoadError`].
pub fn text(histories: &Histories, package: PackageId) -> Result<String, LoadError> {
    match name_of(histories, package)? {
        Some((owner, name)) => Ok(format!("{}/{name}", identity::owner_text(histories, owner)?)),
        None => Ok(format!("syncra:{package}")),
    }
}

/// What is written behind a package's name to get a release: its version if that means it, else its id. A contributor's takes
/// no version.
#[must_use]
pub fn release_selector(state: &PackageState, release: ReleaseId) -> String {
    let settled = |version| match state.versions.get(version) {
        Some(VersionState::Settled(of)) => Some(*of),
        _ => None,
    };
    let named = state.releases.get(&release).map(|known| &known.release.version);
    match named {
        Some(version) if settled(version) == Some(state.canonical(release)) => version.to_string(),
        _ => format!("r:{release}"),
    }
}

/// What people are told about a selection.
#[must_use]
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Yanked => "the owner yanked this release".to_owned(),
        Warning::Contested { with } => format!("{} releases claim this version", with.len()),
        Warning::Diverged { tips } => {
            format!("the channel points to {} places; this is the highest release among them", tips.len())
        }
    }
}
