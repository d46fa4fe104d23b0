//! Reading releases that are held: their content and manifest, checked against what their entry declares.

use syncra_protocol::entry::Release;
use syncra_protocol::id::{BlobId, ContentRoot};
use syncra_protocol::limits;
use syncra_protocol::manifest::{ManifestDecodeError, ResolvedManifest};
use syncra_protocol::tree::content::{ContentError, DeclaredError};
use syncra_protocol::tree::hash_seq::HashSeqError;
use syncra_protocol::tree::node_set::InsertError;
use syncra_protocol::tree::{ContentIndex, Declared, HashSeq, NodeSet};

use crate::blobs::{BlobError, Blobs};

/// Why a release that should be held cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A blob is not held, or the store fails.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The content root is no list of blobs.
    #[error("the content root is malformed")]
    HashSeq(#[from] HashSeqError),
    /// A directory is malformed.
    #[error("a directory of the release is malformed")]
    Node(#[from] InsertError),
    /// The directories do not add up.
    #[error("the release's content is inconsistent")]
    Content(#[from] ContentError),
    /// The content is another one than the entry declares.
    #[error("the content is not the declared one")]
    Declared(#[from] DeclaredError),
    /// The manifest is malformed.
    #[error("the manifest is malformed")]
    Manifest(#[from] ManifestDecodeError),
}

impl ReleaseError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Blob(error) if error.is_disk_full())
    }
}

/// What the entry of a release says about its content.
#[must_use]
pub fn declared(release: &Release) -> Declared {
    Declared {
        tree_id: release.tree_id,
        content_root: release.content_root,
        total_bytes: release.total_bytes,
        n_files: release.n_files,
    }
}

/// The content behind a root whose nodes are held.
///
/// # Errors
/// [`ReleaseError`]; [`BlobError::Missing`] names the first node that is not held.
pub async fn content(blobs: &Blobs, root: ContentRoot) -> Result<ContentIndex, ReleaseError> {
    let sequence = HashSeq::decode(&blobs.read(root.into(), limits::HASH_SEQ_BYTES as u64).await?)?;
    let mut nodes = NodeSet::new(sequence.root_node());
    loop {
        let wanted: Vec<BlobId> = nodes.wanted().to_vec();
        if wanted.is_empty() {
            break;
        }
        for node in wanted {
            nodes.insert(&blobs.read(node, limits::NODE_BYTES as u64).await?)?;
        }
    }
    let index = nodes.derive()?;
    if index.content_root() != root {
        let declared = Declared { content_root: root, ..index.declared() };
        index.verify(&declared)?;
    }
    Ok(index)
}

/// The content of a release, checked against its entry.
///
/// # Errors
/// [`ReleaseError`].
pub async fn verified_content(blobs: &Blobs, release: &Release) -> Result<ContentIndex, ReleaseError> {
    let index = content(blobs, release.content_root).await?;
    index.verify(&declared(release))?;
    Ok(index)
}

/// The manifest of a release, if its blob is held.
///
/// # Errors
/// [`ReleaseError`].
pub async fn manifest(blobs: &Blobs, release: &Release) -> Result<ResolvedManifest, ReleaseError> {
    let bytes = blobs.read(release.manifest, limits::MANIFEST_BYTES as u64).await?;
    Ok(ResolvedManifest::decode(&bytes)?)
}
