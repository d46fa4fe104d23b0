//! What changed between the manifests of two releases, in words for people and scripts.

use std::collections::BTreeMap;

use super::{Dependency, ResolvedManifest};
use crate::id::PackageId;
use crate::name::PackageName;
use crate::version::VersionReq;

/// What changed from one manifest to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestChanges {
    /// What the package says about itself and what the engine starts, key by key of `syncra.toml`.
    pub fields: Vec<FieldChange>,
    /// What it newly asks for, as [`super::Permissions::beyond`] says it.
    pub asks_more: Vec<String>,
    /// What it asks for no longer.
    pub asks_less: Vec<String>,
    /// Dependencies, ordered by package.
    pub dependencies: Vec<DependencyChange>,
}

/// One key of a manifest with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// The key.
    pub key: &'static str,
    /// Its value before; none if it was not there.
    pub old: Option<String>,
    /// Its value now.
    pub new: Option<String>,
}

/// A dependency that came, went or wants other versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyChange {
    /// Which package.
    pub package: PackageId,
    /// What this package calls it; now, if it still does.
    pub name: PackageName,
    /// Versions that did before.
    pub old: Option<VersionReq>,
    /// Versions that do now.
    pub new: Option<VersionReq>,
}

impl ManifestChanges {
    /// What changed from `old` to `new`; without an older manifest everything is new.
    #[must_use]
    pub fn between(old: Option<&ResolvedManifest>, new: &ResolvedManifest) -> Self {
        let before = old.map(ResolvedManifest::permissions).cloned().unwrap_or_default();
        Self {
            fields: fields(old, new),
            asks_more: new.permissions().beyond(&before),
            asks_less: before.beyond(new.permissions()),
            dependencies: dependencies(old.map_or(&[], ResolvedManifest::dependencies), new.dependencies()),
        }
    }
}

/// The values of a manifest's keys, always in this order.
fn values(manifest: &ResolvedManifest) -> Vec<(&'static str, Option<String>)> {
    let (header, run) = (manifest.header(), manifest.run());
    let list = |words: Vec<&str>| (!words.is_empty()).then(|| words.join(", "));
    vec![
        ("name", Some(header.name.to_string())),
        ("version", Some(header.version.to_string())),
        ("kind", Some(header.kind.to_string())),
        ("description", header.description.as_ref().map(ToString::to_string)),
        ("license", header.license.as_ref().map(ToString::to_string)),
        ("keywords", list(header.keywords.iter().map(|word| word.as_str()).collect())),
        ("engine", header.engine.as_ref().map(ToString::to_string)),
        ("start", list(run.start.iter().map(|path| path.as_str()).collect())),
        ("headless", run.headless.as_ref().map(ToString::to_string)),
    ]
}

fn fields(old: Option<&ResolvedManifest>, new: &ResolvedManifest) -> Vec<FieldChange> {
    let before = old.map(values).unwrap_or_default().into_iter().map(|(_, value)| value);
    let pairs = values(new).into_iter().zip(before.chain(std::iter::repeat(None)));
    let changed = pairs.filter(|((_, new), old)| new != old);
    changed.map(|((key, new), old)| FieldChange { key, old, new }).collect()
}

fn dependencies(old: &[Dependency], new: &[Dependency]) -> Vec<DependencyChange> {
    let mut changes = BTreeMap::new();
    for Dependency { package, req, name } in old {
        let (package, name) = (*package, name.clone());
        changes.insert(package, DependencyChange { package, name, old: Some(req.clone()), new: None });
    }
    for Dependency { package, req, name } in new {
        let (package, name) = (*package, name.clone());
        let change = DependencyChange { package, name: name.clone(), old: None, new: None };
        let change = changes.entry(package).or_insert(change);
        (change.name, change.new) = (name, Some(req.clone()));
    }
    changes.into_values().filter(|change| change.old != change.new).collect()
}
