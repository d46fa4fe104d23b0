//! A release: one version of a package.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::{BlobId, ContentRoot, PackageId, ReleaseId, TreeId};
use crate::limits::{DEPENDENCIES, RELEASE_BYTES, RELEASE_FILES};
use crate::version::{Version, VersionReq};

/// Parents of one release: an ordinary release has one, a merge two or three.
pub const PARENT_LIMIT: usize = 16;

/// Publishes a version. The release's id is BLAKE3 of this entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// What the files are.
    pub tree_id: TreeId,
    /// How they are packed and fetched.
    pub content_root: ContentRoot,
    /// The canonical manifest.
    pub manifest: BlobId,
    /// Bytes of all files, at most [`RELEASE_BYTES`].
    pub total_bytes: u64,
    /// Files, at most [`RELEASE_FILES`].
    pub n_files: u32,
    /// What it needs, in ascending order of packages.
    #[serde(deserialize_with = "bounded::list::<_, _, DEPENDENCIES>")]
    pub dependencies: Vec<Dependency>,
    /// Engine versions it runs on; none means any.
    pub engine: Option<VersionReq>,
    /// The releases it was made from, the main one first.
    #[serde(deserialize_with = "bounded::list::<_, _, PARENT_LIMIT>")]
    pub parents: Vec<ReleaseId>,
    /// What changed, as a prose blob.
    pub note: Option<BlobId>,
}

/// Another package that a release needs. Named by id: a reader never resolves names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The package.
    pub package: PackageId,
    /// Versions that will do.
    pub req: VersionReq,
}

impl Release {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.total_bytes > RELEASE_BYTES || u64::from(self.n_files) > RELEASE_FILES {
            return Err("is larger than a release may be");
        }
        if self.dependencies.len() > DEPENDENCIES {
            return Err("has too many dependencies");
        }
        if !self.dependencies.is_sorted_by(|a, b| a.package < b.package) {
            return Err("dependencies are not in ascending order of their packages");
        }
        if self.parents.len() > PARENT_LIMIT {
            return Err("has too many parents");
        }
        let mut parents = self.parents.clone();
        parents.sort_unstable();
        if !parents.is_sorted_by(|a, b| a < b) {
            return Err("names a parent twice");
        }
        Ok(())
    }
}
