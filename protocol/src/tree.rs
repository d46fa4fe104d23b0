//! The content of a release: files, packed into segments, described by nodes.
//!
//! | type | is |
//! |---|---|
//! | [`FileEntry`], [`TreeHasher`] | what a file is; the [`TreeId`] over all of them, however they are packed |
//! | [`FileCutter`], [`Packer`] | publishing: one file at a time, then all in tree order |
//! | [`Node`], [`Segment`], [`ChunkList`], [`HashSeq`] | the blobs |
//! | [`NodeSet`], [`ContentIndex`] | receiving: nodes from others, checked; where every byte of every file lies |
//! | [`splice`] | which ranges to fetch when an older release is held |
//! | [`diff`] | what changed between two trees |
//!
//! Only files exist in a tree: a directory is there because a file is in or below it, and a package without files is
//! refused. The formats are in `docs/spec/content.md`.

use core::cmp::Ordering;

use crate::id::{BlobId, TreeId};
use crate::path::EntryPath;

pub mod chunks;
pub mod content;
pub mod cut;
pub mod diff;
pub mod hash_seq;
pub mod merge;
pub mod node;
pub mod node_set;
pub mod outboard;
pub mod pack;
pub mod segment;
pub mod splice;

pub use chunks::ChunkList;
pub use content::{Carried, ContentIndex, Declared};
pub use cut::{CutFile, Cutter, FileCutter, Uncounted, Unsealed};
pub use hash_seq::HashSeq;
pub use node::Node;
pub use node_set::NodeSet;
pub use pack::{Pack, Packer};
pub use segment::{PackParams, Segment, SegmentRef};

/// What a file of a release is, apart from where its bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileEntry {
    /// Its path in the package.
    pub path: EntryPath,
    /// Mode 0755; else 0644. Nothing else of a file's mode exists.
    pub executable: bool,
    /// Its length in bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub hash: BlobId,
}

/// The order of files in a tree: part by part, by bytes. (Not the order of whole paths: `a/b` comes before `a-b`.)
#[must_use]
pub fn tree_order(a: &EntryPath, b: &EntryPath) -> Ordering {
    a.parts().cmp(b.parts())
}

/// Computes the id of a tree: BLAKE3 (derive-key mode, context `syncra tree id v1`) over, for every file in
/// [`tree_order`], length of the path as u32, path, mode as u8 (1 = executable), size as u64, file hash; integers
/// little-endian. Every record says its own length, so no two trees have the same input.
#[derive(Debug, Clone)]
pub struct TreeHasher {
    hasher: blake3::Hasher,
    last: Option<EntryPath>,
}

/// A file that does not come after the one before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is out of order or listed twice")]
pub struct OrderError(pub EntryPath);

impl Default for TreeHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeHasher {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: blake3::Hasher::new_derive_key("syncra tree id v1"), last: None }
    }

    /// Adds the next file.
    ///
    /// # Errors
    /// [`OrderError`] when it is not behind the one before in [`tree_order`].
    pub fn push(&mut self, file: &FileEntry) -> Result<(), OrderError> {
        if self.last.as_ref().is_some_and(|last| tree_order(last, &file.path).is_ge()) {
            return Err(OrderError(file.path.clone()));
        }
        let path = file.path.as_str().as_bytes();
        let len = u32::try_from(path.len()).expect("a path is below its limit");
        self.hasher.update(&len.to_le_bytes()).update(path).update(&[u8::from(file.executable)]);
        self.hasher.update(&file.size.to_le_bytes()).update(file.hash.as_bytes());
        self.last = Some(file.path.clone());
        Ok(())
    }

    /// The id of the tree with these files.
    #[must_use]
    pub fn finish(&self) -> TreeId {
        TreeId::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

/// The id of the tree with these files.
///
/// # Errors
/// [`OrderError`] unless they come in [`tree_order`], each path once.
pub fn tree_id<'a>(files: impl IntoIterator<Item = &'a FileEntry>) -> Result<TreeId, OrderError> {
    let mut hasher = TreeHasher::new();
    for file in files {
        hasher.push(file)?;
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod stories;
