//! From nodes to everything that a receiver needs: which files there are and where each of their bytes lies.
//!
//! A [`ContentIndex`] has passed all checks: every file's parts are inside segments and exactly as long as the file, every byte of
//! every segment belongs to a file, no two paths collide, counts and sizes are within the limits. So an unpacker that
//! follows it writes no more than [`ContentIndex::total_bytes`], and nothing outside the files listed.

use std::ops::Range;

use super::FileEntry;
use super::hash_seq::{HashSeq, HashSeqError};
use super::node::Part;
use super::segment::SegmentRef;
use crate::id::{BlobId, ContentRoot, TreeId};
use crate::path::{EntryPath, EntryPathError};

mod derive;

pub(super) use derive::derive;

/// One file of a release and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    /// What it is.
    pub entry: FileEntry,
    parts: Range<usize>,
}

/// A run of a segment that belongs to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carried {
    /// Where the run starts in the segment, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
    /// Index of the file in [`ContentIndex::files`].
    pub file: u32,
    /// Where the run starts in the file, in bytes.
    pub file_offset: u64,
}

/// All files, segments and nodes of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentIndex {
    files: Vec<PlacedFile>,
    parts: Vec<Part>,
    segments: Vec<SegmentRef>,
    carried: Vec<Carried>,
    /// Where each segment's run of `carried` starts; one more at the end.
    starts: Vec<usize>,
    n_nodes: usize,
    hash_seq: HashSeq,
    content_root: ContentRoot,
    tree_id: TreeId,
    total_bytes: u64,
}

/// Why nodes are not the content of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A node that has not been inserted.
    #[error("node {0} is missing")]
    Missing(BlobId),
    /// A path that is too long, too deep or reserved.
    #[error("the path `{path}` is refused")]
    Path {
        /// The path.
        path: String,
        /// Which rule it breaks.
        source: EntryPathError,
    },
    /// Directories below directories without end.
    #[error("directories are nested deeper than a path may be")]
    TooDeep,
    /// More files than a release may have.
    #[error("more files than a release may have")]
    TooManyFiles,
    /// More directories (shared ones counted each time) than a release may have.
    #[error("more directories than a release may have")]
    TooManyDirectories,
    /// Files in more parts than a release may have.
    #[error("files in more parts than a release may have")]
    TooManyParts,
    /// More bytes of files than a release may have.
    #[error("more bytes of files than a release may have")]
    TooLong,
    /// One hash with two sizes or two chunk lists.
    #[error("segment {0} is described in two ways")]
    SegmentTwice(BlobId),
    /// Bytes of a segment that no file uses.
    #[error("bytes from {offset} of segment {segment} belong to no file")]
    Uncovered {
        /// The segment.
        segment: BlobId,
        /// The first such byte.
        offset: u32,
    },
    /// One hash with two sizes.
    #[error("file {0} is listed with two sizes")]
    FileTwice(BlobId),
    /// More blobs than a release may have.
    #[error(transparent)]
    HashSeq(#[from] HashSeqError),
}

/// What a release entry says about its content, for [`ContentIndex::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// What the files are.
    pub tree_id: TreeId,
    /// How they are packed.
    pub content_root: ContentRoot,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Number of files.
    pub n_files: u32,
}

/// The content is not the one that the release declares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the release declares {declared:?}, its nodes say {found:?}")]
pub struct DeclaredError {
    /// Signed by the author.
    pub declared: Box<Declared>,
    /// Computed here.
    pub found: Box<Declared>,
}

impl ContentIndex {
    /// All files in tree order.
    #[must_use]
    pub fn files(&self) -> &[PlacedFile] {
        &self.files
    }

    /// The parts of one of [`Self::files`] in order; their `segment` is an index into [`Self::segments`].
    #[must_use]
    pub fn parts(&self, file: &PlacedFile) -> &[Part] {
        &self.parts[file.parts.clone()]
    }

    /// The file with this path.
    #[must_use]
    pub fn find(&self, path: &EntryPath) -> Option<&PlacedFile> {
        let at = self.files.binary_search_by(|file| super::tree_order(&file.entry.path, path)).ok()?;
        Some(&self.files[at])
    }

    /// All segments in the order of first use.
    #[must_use]
    pub fn segments(&self) -> &[SegmentRef] {
        &self.segments
    }

    /// What segment number `segment` carries, in ascending order of offsets. Equal files share their bytes, so runs
    /// can be equal or overlap; together they cover the whole segment.
    ///
    /// # Panics
    /// When there is no such segment.
    #[must_use]
    pub fn carried(&self, segment: usize) -> &[Carried] {
        &self.carried[self.starts[segment]..self.starts[segment + 1]]
    }

    /// The hashes of the nodes: root first, pre-order, each once.
    #[must_use]
    pub fn nodes(&self) -> &[BlobId] {
        &self.hash_seq.children()[..self.n_nodes]
    }

    /// The hashes of the chunk lists, in the order of their segments, each once.
    #[must_use]
    pub fn chunk_lists(&self) -> &[BlobId] {
        &self.hash_seq.children()[self.n_nodes + self.segments.len()..]
    }

    /// Position of segment number `segment` among the children of the content root.
    #[must_use]
    pub const fn segment_child(&self, segment: usize) -> usize {
        self.n_nodes + segment
    }

    /// Position of the chunk list `list` among the children of the content root.
    #[must_use]
    pub fn chunk_list_child(&self, list: BlobId) -> Option<usize> {
        let at = self.chunk_lists().iter().position(|child| *child == list)?;
        Some(self.n_nodes + self.segments.len() + at)
    }

    /// The children of the content root.
    #[must_use]
    pub const fn hash_seq(&self) -> &HashSeq {
        &self.hash_seq
    }

    /// How the release is packed.
    #[must_use]
    pub const fn content_root(&self) -> ContentRoot {
        self.content_root
    }

    /// What its files are.
    #[must_use]
    pub const fn tree_id(&self) -> TreeId {
        self.tree_id
    }

    /// Bytes of all files: what an install takes on disk.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes of all segments: what a first fetch takes; less than [`Self::total_bytes`] where files are equal.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// The facts that a release entry declares about this content.
    #[must_use]
    pub fn declared(&self) -> Declared {
        Declared {
            tree_id: self.tree_id,
            content_root: self.content_root,
            total_bytes: self.total_bytes,
            n_files: u32::try_from(self.files.len()).expect("files are limited"),
        }
    }

    /// Compares with what the signed release declares. Only then is this index that release's.
    ///
    /// # Errors
    /// [`DeclaredError`] with both sides.
    pub fn verify(&self, declared: &Declared) -> Result<(), DeclaredError> {
        let found = self.declared();
        if found == *declared {
            return Ok(());
        }
        Err(DeclaredError { declared: Box::new(*declared), found: Box::new(found) })
    }
}

#[cfg(test)]
mod tests;
