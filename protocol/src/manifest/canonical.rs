//! The published form of a manifest: one byte of format version, then postcard of [`ResolvedManifest`], frozen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Header, Manifest, Permissions, Run};
use crate::codec::{self, CodecError};
use crate::id::PackageId;
use crate::limits::{DEPENDENCIES, KEYWORDS, MANIFEST_BYTES, PERMITTED_COMPONENTS, START_FILES};
use crate::name::PackageName;
use crate::reference::QualifiedName;
use crate::version::VersionReq;

/// The first byte of the canonical form. Another layout gets another number.
const FORMAT: u8 = 1;

/// A manifest as it is published and read by others.
///
/// Every list of names is sorted and names nothing twice: one meaning, one spelling, one hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct ResolvedManifest {
    header: Header,
    dependencies: Vec<Dependency>,
    permissions: Permissions,
    run: Run,
}

/// A dependency as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Which package.
    pub package: PackageId,
    /// Which versions.
    pub req: VersionReq,
    /// What this package calls it, inside its own files; unique within the manifest.
    pub name: PackageName,
}

/// Why a manifest cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nobody knows which package this is.
    #[error("no package is known as `{0}`")]
    Unknown(QualifiedName),
    /// Two lines name one package.
    #[error("`{0}` and `{1}` are the same package")]
    SamePackage(Box<QualifiedName>, Box<QualifiedName>),
    /// Two packages of one name: the package's own files could not tell them apart.
    #[error("`{0}` and `{1}` have the same name")]
    SameName(Box<QualifiedName>, Box<QualifiedName>),
    /// The canonical form has more bytes than allowed.
    #[error("the published form has {len} bytes, at most {MANIFEST_BYTES} are allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
    },
}

/// Why bytes are not a published manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestDecodeError {
    /// Written by a newer program.
    #[error("manifest format {0} is not known, a newer version of this program is needed")]
    Format(u8),
    /// Not the canonical bytes of a manifest.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A list that is not sorted, names something twice or is too long.
    #[error("`{0}` is not sorted, names something twice or is too long")]
    List(&'static str),
}

/// What the bytes say, before the lists are checked.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    header: Header,
    dependencies: Vec<Dependency>,
    permissions: Permissions,
    run: Run,
}

impl ResolvedManifest {
    /// What the package says about itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it needs, ordered by PackageId.
    #[must_use]
    pub fn dependencies(&self) -> &[Dependency] {
        &self.dependencies
    }

    /// What it asks for.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// What the engine starts.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The bytes of the manifest blob, at most [`MANIFEST_BYTES`].
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        codec::encode(&(FORMAT, self))
    }

    /// Reads a manifest blob.
    ///
    /// # Errors
    /// [`ManifestDecodeError`]; what is accepted encodes to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestDecodeError> {
        match bytes.first() {
            Some(&format) if format != FORMAT => return Err(ManifestDecodeError::Format(format)),
            _ => {}
        }
        let (_, unchecked): (u8, Unchecked) = codec::decode(bytes, MANIFEST_BYTES)?;
        unchecked.try_into()
    }
}

impl TryFrom<Unchecked> for ResolvedManifest {
    type Error = ManifestDecodeError;

    fn try_from(it: Unchecked) -> Result<Self, ManifestDecodeError> {
        let wrong = |list| Err(ManifestDecodeError::List(list));
        if !is_set(&it.header.keywords, KEYWORDS) {
            return wrong("keywords");
        }
        if !is_set(&it.permissions.read, PERMITTED_COMPONENTS) {
            return wrong("read");
        }
        if !is_set(&it.permissions.write, PERMITTED_COMPONENTS) {
            return wrong("write");
        }
        let packages: Vec<_> = it.dependencies.iter().map(|dependency| dependency.package).collect();
        let mut names: Vec<_> = it.dependencies.iter().map(|dependency| &dependency.name).collect();
        names.sort();
        if !is_set(&packages, DEPENDENCIES) || !is_set(&names, DEPENDENCIES) {
            return wrong("dependencies");
        }
        // The order of starting is the author's; the same file twice is refused as in the text.
        let mut start: Vec<_> = it.run.start.iter().collect();
        start.sort();
        if !is_set(&start, START_FILES) {
            return wrong("start");
        }
        let Unchecked { header, dependencies, permissions, run } = it;
        Ok(Self { header, dependencies, permissions, run })
    }
}

fn is_set<T: Ord>(items: &[T], max: usize) -> bool {
    items.len() <= max && items.is_sorted_by(|a, b| a < b)
}

pub(super) fn resolve(
    manifest: &Manifest,
    known: &BTreeMap<QualifiedName, PackageId>,
) -> Result<ResolvedManifest, ResolveError> {
    let mut by_package: BTreeMap<PackageId, &QualifiedName> = BTreeMap::new();
    let mut by_name: BTreeMap<&PackageName, &QualifiedName> = BTreeMap::new();
    let mut dependencies = Vec::with_capacity(manifest.dependencies.len());
    for (name, wanted) in &manifest.dependencies {
        let package = wanted.package.or_else(|| known.get(name).copied());
        let package = package.ok_or_else(|| ResolveError::Unknown(name.clone()))?;
        if let Some(other) = by_package.insert(package, name) {
            return Err(ResolveError::SamePackage(Box::new(other.clone()), Box::new(name.clone())));
        }
        if let Some(other) = by_name.insert(&name.name, name) {
            return Err(ResolveError::SameName(Box::new(other.clone()), Box::new(name.clone())));
        }
        dependencies.push(Dependency { package, req: wanted.req.clone(), name: name.name.clone() });
    }
    dependencies.sort_by_key(|dependency| dependency.package);
    let resolved = ResolvedManifest {
        header: manifest.header.clone(),
        dependencies,
        permissions: manifest.permissions.clone(),
        run: manifest.run.clone(),
    };
    let len = resolved.canonical_bytes().len();
    if len > MANIFEST_BYTES { Err(ResolveError::TooLong { len }) } else { Ok(resolved) }
}
