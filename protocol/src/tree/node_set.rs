//! Collecting the nodes of a release: the door for directory blobs that come from others, which takes only what the
//! tree asks for.

use std::collections::{BTreeSet, HashMap};

use super::content::{ContentError, ContentIndex};
use super::node::{Node, NodeError};
use crate::id::BlobId;
use crate::limits;

/// Collects the nodes of a release, from the root down, in any number of rounds: fetch what is [`Self::wanted`], give
/// it to [`Self::insert`], until nothing is wanted.
#[derive(Debug, Clone)]
pub struct NodeSet {
    root: BlobId,
    /// None: referenced and not yet here.
    nodes: HashMap<BlobId, Option<Node>>,
    /// In the order in which they were first named; some are here by now.
    named: Vec<BlobId>,
    total_bytes: usize,
}

/// Why a blob was not taken as a node of this release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// No directory of this tree has this hash, or it is here already.
    #[error("blob {0} is not a node that is missing here")]
    NotWanted(BlobId),
    /// Not a valid node: whoever published it made it so, another peer will not help.
    #[error("node {id}")]
    Node {
        /// The blob.
        id: BlobId,
        /// What is wrong with it.
        source: NodeError,
    },
    /// More than [`limits::RELEASE_NODES`].
    #[error("more directories than a release may have")]
    TooMany,
    /// More than [`limits::RELEASE_NODE_BYTES`].
    #[error("more bytes of directory nodes than a release may have")]
    TooLong,
}

impl NodeSet {
    /// Nothing yet of the tree with this root node (the first child of the HashSeq).
    #[must_use]
    pub fn new(root: BlobId) -> Self {
        Self { root, nodes: HashMap::from([(root, None)]), named: vec![root], total_bytes: 0 }
    }

    /// The nodes to get next: all that known nodes name and that are not here.
    #[must_use]
    pub fn wanted(&mut self) -> &[BlobId] {
        self.named.retain(|id| self.nodes[id].is_none());
        &self.named
    }

    /// Takes the bytes of a wanted node; they are hashed here, so their source need not be trusted.
    ///
    /// # Errors
    /// [`InsertError`]; the set is unchanged.
    pub fn insert(&mut self, bytes: &[u8]) -> Result<BlobId, InsertError> {
        let id = BlobId::of(bytes);
        if !matches!(self.nodes.get(&id), Some(None)) {
            return Err(InsertError::NotWanted(id));
        }
        if self.total_bytes + bytes.len() > limits::RELEASE_NODE_BYTES {
            return Err(InsertError::TooLong);
        }
        let node = Node::decode(bytes).map_err(|source| InsertError::Node { id, source })?;
        let new: BTreeSet<BlobId> = node.dirs().filter(|dir| !self.nodes.contains_key(dir)).collect();
        if self.nodes.len() + new.len() > limits::RELEASE_NODES {
            return Err(InsertError::TooMany);
        }
        for dir in node.dirs().filter(|dir| new.contains(dir)) {
            self.nodes.entry(dir).or_insert_with(|| {
                self.named.push(dir);
                None
            });
        }
        self.total_bytes += bytes.len();
        self.nodes.insert(id, Some(node));
        Ok(id)
    }

    /// Computes what these nodes describe.
    ///
    /// # Errors
    /// [`ContentError`] when a node is missing or they contradict each other or a limit.
    pub fn derive(&self) -> Result<ContentIndex, ContentError> {
        super::content::derive(self)
    }

    /// The node that the walk begins with.
    pub(super) const fn root(&self) -> BlobId {
        self.root
    }

    /// A node that is here.
    pub(super) fn node(&self, id: BlobId) -> Option<&Node> {
        self.nodes.get(&id)?.as_ref()
    }
}
