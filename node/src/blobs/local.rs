//! What of a blob, or of a sequence with its children, is held here; and what is missing.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iroh_blobs::api::blobs::BlobStatus;
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;

use super::error::BlobError;
use super::ranges::Ranges;
use super::{Blobs, hash};

/// Questions to the store on their way at once.
const IN_FLIGHT: usize = 64;
/// Bytes of a hash in a sequence.
const HASH_BYTES: usize = 32;

/// What is not held of a sequence and its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing of the sequence itself; empty when it is complete.
    pub root: Ranges,
    /// The children that are not complete, in order. Unknown, so empty, while the sequence itself is not complete.
    pub children: Vec<MissingChild>,
    /// How many children the sequence has; zero while it is not complete.
    pub n_children: u32,
}

/// A child of which something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingChild {
    /// Its place in the sequence.
    pub index: u32,
    /// The blob.
    pub id: BlobId,
    /// What is missing.
    pub ranges: Ranges,
}

impl Missing {
    /// Whether everything is held.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.root.is_empty() && self.children.is_empty()
    }
}

impl Blobs {
    /// What is missing of the sequence `root` and its children.
    ///
    /// # Errors
    /// [`BlobError::NotASequence`] when `root` is complete and no list of hashes.
    pub async fn missing(&self, root: BlobId) -> Result<Missing, BlobError> {
        let root_missing = self.missing_of(root).await?;
        if !root_missing.is_empty() {
            return Ok(Missing { root: root_missing, children: Vec::new(), n_children: 0 });
        }
        let children = self.children(root).await?;
        let n_children = u32::try_from(children.len()).map_err(|_| BlobError::NotASequence(root))?;
        let children = stream::iter((0..n_children).zip(children))
            .map(|(index, id)| async move {
                let ranges = self.missing_of(id).await?;
                Ok::<_, BlobError>(MissingChild { index, id, ranges })
            })
            .buffered(IN_FLIGHT)
            .try_filter(|child| std::future::ready(!child.ranges.is_empty()))
            .try_collect()
            .await?;
        Ok(Missing { root: root_missing, children, n_children })
    }

    /// What is missing of one blob.
    ///
    /// # Errors
    /// [`BlobError::Stopped`].
    pub async fn missing_of(&self, id: BlobId) -> Result<Ranges, BlobError> {
        Ok(match self.status(id).await? {
            BlobStatus::Complete { .. } => Ranges::none(),
            BlobStatus::NotFound => Ranges::all(),
            BlobStatus::Partial { .. } => Ranges::all().without(&self.held_of(id).await?.0),
        })
    }

    /// Verified bytes held of one blob, complete or not.
    ///
    /// # Errors
    /// [`BlobError::Stopped`].
    pub async fn local_bytes(&self, id: BlobId) -> Result<u64, BlobError> {
        Ok(match self.status(id).await? {
            BlobStatus::Complete { size } => size,
            BlobStatus::NotFound => 0,
            BlobStatus::Partial { .. } => {
                let (held, size) = self.held_of(id).await?;
                held.bytes(size)
            }
        })
    }

    /// The blobs that a complete sequence names, in order.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::NotASequence`].
    pub async fn children(&self, root: BlobId) -> Result<Vec<BlobId>, BlobError> {
        let bytes = self.read(root, limits::HASH_SEQ_BYTES as u64).await?;
        sequence(root, &bytes)
    }

    /// The verified ranges of a blob and its size as far as it is known.
    pub(super) async fn held_of(&self, id: BlobId) -> Result<(Ranges, u64), BlobError> {
        let held = self.0.store.blobs().observe(hash(id)).await;
        let held = held.map_err(self.failed("reading which parts of a blob are held"))?;
        let size = held.size();
        Ok((Ranges(held.ranges), size))
    }
}

/// Parses a sequence of hashes.
pub(super) fn sequence(root: BlobId, bytes: &Bytes) -> Result<Vec<BlobId>, BlobError> {
    if !bytes.len().is_multiple_of(HASH_BYTES) {
        return Err(BlobError::NotASequence(root));
    }
    let ids = bytes.chunks_exact(HASH_BYTES).map(|hash| hash.try_into().map(BlobId::from_bytes));
    ids.collect::<Result<_, _>>().map_err(|_| BlobError::NotASequence(root))
}
