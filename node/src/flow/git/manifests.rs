//! What releases of a history say about themselves: the `syncra.toml` of their commit, if it can be used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use syncra_protocol::entry::Dependency;
use syncra_protocol::id::PackageId;
use syncra_protocol::limits;
use syncra_protocol::manifest::{MANIFEST_FILE, Manifest, PackageKind, ResolvedManifest};
use syncra_protocol::name::PackageName;
use syncra_protocol::reference::QualifiedName;
use syncra_protocol::version::{Version, VersionReq};

use super::GitError;
use super::object::{Mode, Oid, Type, tree_entries};
use super::program::Objects;
use super::trees::TREE_BYTES;

/// Manifests that are remembered, by the file and by the tree that it is in.
const REMEMBERED: usize = 50_000;

/// The manifest of a release and what its entry says of it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// Its canonical bytes.
    pub(super) bytes: Vec<u8>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) engine: Option<VersionReq>,
    /// Why it is a plain one though there is a `syncra.toml`.
    pub(super) unusable: Option<String>,
}

/// Reads manifests of commits.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    by_tree: HashMap<Oid, Option<Oid>>,
    by_file: HashMap<Oid, Result<Manifest, String>>,
}

impl Manifests {
    /// The `syncra.toml` in a tree: none, or what is wrong with it.
    pub(super) fn read(
        &mut self,
        objects: &mut Objects,
        tree: Oid,
    ) -> Result<Option<Result<Manifest, String>>, GitError> {
        if self.by_tree.len() >= REMEMBERED {
            *self = Self::default();
        }
        let file = match self.by_tree.get(&tree) {
            Some(file) => *file,
            None => {
                let bytes = objects.read(tree, Type::Tree, TREE_BYTES)?;
                let entries = tree_entries(&bytes, tree)?;
                let is_manifest =
                    |mode, name: &[u8]| matches!(mode, Mode::File { .. }) && name == MANIFEST_FILE.as_bytes();
                let file = entries.iter().find(|entry| is_manifest(entry.mode, entry.name)).map(|entry| entry.id);
                *self.by_tree.entry(tree).or_insert(file)
            }
        };
        let Some(file) = file else { return Ok(None) };
        let read = match self.by_file.entry(file) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(match objects.read(file, Type::Blob, limits::MANIFEST_BYTES as u64) {
                Ok(bytes) => parse(bytes),
                Err(GitError::TooLarge { size, .. }) => Err(format!("it has {size} bytes")),
                Err(error) => return Err(error),
            }),
        };
        Ok(Some(read.clone()))
    }

    /// The manifest of a release of this tree. Name and kind are the package's, and the version is the release's.
    pub(super) fn describe(
        &mut self,
        objects: &mut Objects,
        tree: Oid,
        package: (&PackageName, PackageKind),
        version: &Version,
        known: &dyn Fn(&QualifiedName) -> Option<PackageId>,
    ) -> Result<Described, GitError> {
        let plain = || Manifest::plain(package.0.clone(), version.clone(), package.1);
        let (resolved, unusable) = match self.read(objects, tree)? {
            None => (None, None),
            Some(Err(why)) => (None, Some(why)),
            Some(Ok(mut manifest)) => {
                manifest.header.name = package.0.clone();
                manifest.header.kind = package.1;
                manifest.header.version = version.clone();
                match resolve(&manifest, known) {
                    Ok(resolved) => (Some(resolved), None),
                    Err(why) => (None, Some(why)),
                }
            }
        };
        let resolved = match resolved {
            Some(resolved) => resolved,
            None => resolve(&plain(), known).expect("a plain manifest needs nothing"),
        };
        let dependencies = resolved.dependencies().iter();
        let mut dependencies: Vec<Dependency> =
            dependencies.map(|wanted| Dependency { package: wanted.package, req: wanted.req.clone() }).collect();
        dependencies.sort_unstable_by_key(|wanted| wanted.package);
        let engine = resolved.header().engine.clone();
        Ok(Described { bytes: resolved.canonical_bytes(), dependencies, engine, unusable })
    }
}

fn parse(bytes: Vec<u8>) -> Result<Manifest, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Manifest::parse(&text).map_err(|error| error.to_string())
}

fn resolve(
    manifest: &Manifest,
    known: &dyn Fn(&QualifiedName) -> Option<PackageId>,
) -> Result<ResolvedManifest, String> {
    let dependencies = manifest.unresolved().filter_map(|name| Some((name.clone(), known(name)?))).collect();
    manifest.resolve(&dependencies).map_err(|error| error.to_string())
}
