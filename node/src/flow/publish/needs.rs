//! What the names of dependencies mean, and whether anything fits them.

use std::collections::BTreeMap;
use std::path::Path;

use syncra_protocol::fold::Pick;
use syncra_protocol::id::PackageId;
use syncra_protocol::manifest::Manifest;
use syncra_protocol::reference::QualifiedName;
use syncra_protocol::version::{Version, VersionReq};

use super::PublishError;
use crate::flow::checkout::{self, Base};
use crate::flow::resolve::{self, ResolveError};
use crate::flow::{Parts, identity};
use crate::history::LoadError;

/// Why a dependency means no package here, and what may help.
#[derive(Debug, thiserror::Error)]
#[error("the dependency `{name}` cannot be resolved")]
pub struct Unresolved {
    /// As it is written.
    pub name: QualifiedName,
    /// Why.
    #[source]
    pub error: ResolveError,
    /// Whose it could be; of a checkout's the one whose package the release that was checked out needs.
    pub owners: Vec<String>,
    /// Of a checkout what that release needs and is not known here.
    pub missing: Option<PackageId>,
}

/// The packages that a manifest names.
pub(super) fn resolved(
    parts: &Parts,
    manifest: &Manifest,
    base: Option<&Base>,
) -> Result<BTreeMap<QualifiedName, PackageId>, PublishError> {
    let mut known = BTreeMap::new();
    for name in manifest.unresolved() {
        match resolve::by_name(parts, name) {
            Ok(package) => drop(known.insert(name.clone(), package)),
            Err(ResolveError::Load(error)) => return Err(error.into()),
            Err(error) => return Err(Box::new(unresolved(parts, name, error, base)?).into()),
        }
    }
    Ok(known)
}

fn unresolved(
    parts: &Parts,
    name: &QualifiedName,
    error: ResolveError,
    base: Option<&Base>,
) -> Result<Unresolved, LoadError> {
    let mut owners: Vec<String> = match &error {
        ResolveError::Ambiguous { candidates, .. } => {
            candidates.iter().filter_map(|candidate| Some(candidate.rsplit_once('/')?.0.to_owned())).collect()
        }
        _ => Vec::new(),
    };
    let mut missing = None;
    for package in needed(parts, base)? {
        match resolve::name_of(&parts.histories, package)? {
            Some((owner, called)) if called == name.name => {
                let meant = identity::owner_text(&parts.histories, owner)?;
                if owners.contains(&meant) {
                    owners = vec![meant];
                }
            }
            Some(_) => {}
            None => missing = missing.or(Some(package)),
        }
    }
    Ok(Unresolved { name: name.clone(), error, owners, missing })
}

/// What the release that was checked out needs.
fn needed(parts: &Parts, base: Option<&Base>) -> Result<Vec<PackageId>, LoadError> {
    let Some(base) = base else { return Ok(Vec::new()) };
    let Some(history) = parts.histories.package(base.package)? else { return Ok(Vec::new()) };
    let published = history.state.releases.get(&base.release);
    Ok(published.into_iter().flat_map(|known| &known.release.dependencies).map(|needed| needed.package).collect())
}

/// What speaks against a dependency, as far as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// No release that is known here fits.
    Unsatisfied {
        /// As it is written.
        name: QualifiedName,
        /// What is asked for.
        req: VersionReq,
        /// The highest version there is.
        highest: Option<Version>,
    },
    /// Nothing of the package is known here, or it is not sure which one is meant.
    NotLookedUp(QualifiedName),
}

impl core::fmt::Display for Doubt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unsatisfied { name, req, highest } => {
                write!(f, "no release of `{name}` that is known here fits `{req}`")?;
                match highest {
                    Some(highest) => write!(f, "; the highest is {highest}"),
                    None => write!(f, "; it has none"),
                }
            }
            Self::NotLookedUp(name) => write!(
                f,
                "whether a release of `{name}` fits was not looked up: what it is is not known here, `syncra info {name}` \
                 looks for it"
            ),
        }
    }
}

/// What a publish of the directory would say about the dependencies of its manifest, and what speaks against them besides.
/// Nobody is asked.
///
/// # Errors
/// [`PublishError`] if a publish would be refused for them.
pub fn check(parts: &Parts, dir: &Path, manifest: &Manifest) -> Result<Vec<Doubt>, PublishError> {
    let base = checkout::read(dir)?;
    manifest.resolve(&resolved(parts, manifest, base.as_ref())?)?;
    Ok(doubts(parts, manifest)?)
}

/// What speaks against the dependencies of a manifest. Nobody is asked.
///
/// # Errors
/// [`LoadError`].
pub fn doubts(parts: &Parts, manifest: &Manifest) -> Result<Vec<Doubt>, LoadError> {
    let mut doubts = Vec::new();
    for (name, wanted) in &manifest.dependencies {
        let package = match (wanted.package, resolve::by_name(parts, name)) {
            (Some(package), _) | (None, Ok(package)) => Some(package),
            (None, Err(ResolveError::Load(error))) => return Err(error),
            (None, Err(_)) => None,
        };
        let history = package.map(|package| parts.histories.package(package)).transpose()?.flatten();
        let Some(history) = history else {
            doubts.push(Doubt::NotLookedUp(name.clone()));
            continue;
        };
        let state = &history.state;
        if state.select(&Pick::Highest(wanted.req.clone())).is_err() {
            let highest = state.versions.keys().next_back().cloned();
            doubts.push(Doubt::Unsatisfied { name: name.clone(), req: wanted.req.clone(), highest });
        }
    }
    Ok(doubts)
}
