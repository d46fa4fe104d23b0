//! What the author wrote about a package, in `syncra.toml`, and its canonical form that a release names.
//!
//! [`Manifest`] is the text, understood: names of dependencies are as people write them. [`ResolvedManifest`] is what
//! is published: dependencies are PackageIds, so that no reader ever resolves a name, and what only the publisher
//! needs (`[files]`, `[ci]`) is left out. `docs/spec/manifest.md` has both forms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::PackageId;
use crate::name::PackageName;
use crate::path::EntryPath;
use crate::reference::QualifiedName;
use crate::version::{Version, VersionReq};

mod canonical;
mod changes;
mod nearest;
mod parse;
mod reader;
mod template;
#[cfg(test)]
mod tests;
mod words;

pub use canonical::{Dependency, ManifestDecodeError, ResolveError, ResolvedManifest};
pub use changes::{DependencyChange, FieldChange, ManifestChanges};
pub use reader::{ManifestError, ManifestFault};
pub use words::{Component, FileAccess, Keyword, Line, PackageKind, WordError};

use crate::limits::{CI_COMMAND_BYTES, DESCRIPTION_BYTES, LICENSE_BYTES, PATTERN_BYTES};

/// The file at a package's root.
pub const MANIFEST_FILE: &str = "syncra.toml";

/// `syncra.toml`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `[package]`.
    pub header: Header,
    /// `[dependencies]`, ordered by name.
    pub dependencies: BTreeMap<QualifiedName, Wanted>,
    /// `[permissions]`.
    pub permissions: Permissions,
    /// `[files]`.
    pub files: FilePatterns,
    /// `[run]`.
    pub run: Run,
    /// `[ci]`.
    pub ci: Vec<CiStep>,
}

/// What a package says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name below its owner.
    pub name: PackageName,
    /// This release's version.
    pub version: Version,
    /// What it is.
    pub kind: PackageKind,
    /// One line for lists.
    pub description: Option<Line<DESCRIPTION_BYTES>>,
    /// An SPDX expression by convention; not interpreted.
    pub license: Option<Line<LICENSE_BYTES>>,
    /// Words to be found by; sorted, each once.
    pub keywords: Vec<Keyword>,
    /// Engine versions it works with; all if absent.
    pub engine: Option<VersionReq>,
}

/// A dependency as the author wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which package, if the author pinned it; else the name is resolved at publish.
    pub package: Option<PackageId>,
    /// Which versions.
    pub req: VersionReq,
}

/// What a script or driver asks for. Nothing is granted by asking.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Components it reads; sorted, each once.
    pub read: Vec<Component>,
    /// Components it writes; sorted, each once.
    pub write: Vec<Component>,
    /// Whether it opens network connections.
    pub net: bool,
    /// Which files outside the package it uses.
    pub files: FileAccess,
}

impl Permissions {
    /// What is asked for here and not in `before`, in words: `write Transform`, `net`, `files read`.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let new = |word: &str, now: &[Component], before: &[Component]| -> Vec<String> {
            let new = now.iter().filter(|component| !before.contains(component));
            new.map(|component| format!("{word} {}", component.as_str())).collect()
        };
        let mut beyond = new("read", &self.read, &before.read);
        beyond.extend(new("write", &self.write, &before.write));
        beyond.extend((self.net && !before.net).then(|| "net".to_owned()));
        let degree = |access| FileAccess::ALL.iter().position(|degree| *degree == access);
        if degree(self.files) > degree(before.files) {
            beyond.push(format!("files {}", self.files.as_str()));
        }
        beyond
    }
}

/// Which files of the directory are published, on top of `.syncraignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePatterns {
    /// If not empty, only what one of these matches.
    pub include: Vec<Line<PATTERN_BYTES>>,
    /// Not what one of these matches.
    pub exclude: Vec<Line<PATTERN_BYTES>>,
}

/// What the engine starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Files started one after the other.
    pub start: Vec<EntryPath>,
    /// What a headless host starts instead.
    pub headless: Option<EntryPath>,
}

/// A command that has to succeed before a proposal is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiStep {
    /// For people.
    pub name: Line<LICENSE_BYTES>,
    /// The command line, run in the sandbox.
    pub run: Line<CI_COMMAND_BYTES>,
}

impl Manifest {
    /// Understands the text of a `syncra.toml`.
    ///
    /// # Errors
    /// [`ManifestError`] with line and column; an unknown key names the nearest known one.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        parse::parse(text)
    }

    /// The manifest of a plain folder that has none: a name, a version, a kind, and no permissions.
    #[must_use]
    pub fn plain(name: PackageName, version: Version, kind: PackageKind) -> Self {
        let header =
            Header { name, version, kind, description: None, license: None, keywords: Vec::new(), engine: None };
        let (permissions, files, run) = (Permissions::default(), FilePatterns::default(), Run::default());
        Self { header, dependencies: BTreeMap::new(), permissions, files, run, ci: Vec::new() }
    }

    /// The text of a new package's `syncra.toml`, with comments that explain what can be set.
    #[must_use]
    pub fn template(kind: PackageKind, name: &PackageName) -> String {
        template::template(kind, name)
    }

    /// Names of dependencies that have to be looked up before [`Manifest::resolve`].
    pub fn unresolved(&self) -> impl Iterator<Item = &QualifiedName> {
        self.dependencies.iter().filter(|(_, wanted)| wanted.package.is_none()).map(|(name, _)| name)
    }

    /// The published form, `known` naming the packages behind [`Manifest::unresolved`].
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, known: &BTreeMap<QualifiedName, PackageId>) -> Result<ResolvedManifest, ResolveError> {
        canonical::resolve(self, known)
    }
}
