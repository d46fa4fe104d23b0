//! Packing: files in tree order become segments, nodes and a content root.
//!
//! Memory: the open segment of small files, and a record per file. Large files have segments of their own; small ones
//! are concatenated in tree order (large ones in between do not interrupt) and cut after a file whose hash ends a
//! segment. A file that was there already takes no room: it shares the place of the first.

use std::collections::HashMap;

use super::chunks::Chunk;
use super::content::{ContentError, ContentIndex};
use super::cut::{CutBody, CutFile};
use super::node::{Entry, Node, NodeError, Part};
use super::node_set::{InsertError, NodeSet};
use super::segment::{PackParams, Segment, SegmentRef};
use super::{FileEntry, tree_order};
use crate::id::BlobId;
use crate::limits;
use crate::path::EntryPath;

/// Packs one release. [`Self::add`] every file in tree order, store every segment handed out, then [`Self::finish`].
#[derive(Debug, Clone)]
pub struct Packer {
    params: PackParams,
    files: Vec<Packed>,
    /// Where a file with this hash is in `files`.
    by_hash: HashMap<BlobId, usize>,
    /// None: still open.
    segments: Vec<Option<SegmentRef>>,
    by_segment: HashMap<BlobId, u32>,
    open: Option<Open>,
}

/// A file and its place in the packer's segments.
#[derive(Debug, Clone)]
struct Packed {
    entry: FileEntry,
    parts: Vec<Part>,
}

/// A segment that small files are being added to.
#[derive(Debug, Clone)]
struct Open {
    segment: u32,
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    n_files: usize,
}

/// A packed release.
#[derive(Debug, Clone)]
pub struct Pack {
    /// The last segments, to be stored like those before.
    pub segments: Vec<Segment>,
    /// The nodes' hashes and bytes, each once, to be stored too.
    pub nodes: Vec<(BlobId, Vec<u8>)>,
    /// What a receiver will derive from these nodes: content root, tree id, HashSeq, totals.
    pub index: ContentIndex,
}

/// Why a tree cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// No file at all.
    #[error("a package without files")]
    Empty,
    /// Files must come in tree order, each path once.
    #[error("`{path}` comes after `{before}` but belongs before it")]
    Order {
        /// The file that was added.
        path: EntryPath,
        /// The one before.
        before: EntryPath,
    },
    /// A directory that breaks a rule: names that collide, a name for a file and a directory.
    #[error("the directory `{path}`")]
    Directory {
        /// Its path; empty at the top.
        path: String,
        /// The rule.
        source: NodeError,
    },
    /// A directory with more names or bytes than a node may have.
    #[error("the directory `{path}` needs a node of {len} bytes, at most {max} are allowed", max = limits::NODE_BYTES)]
    DirectoryTooLarge {
        /// Its path; empty at the top.
        path: String,
        /// What it needs.
        len: usize,
    },
    /// All directories together exceed a limit.
    #[error(transparent)]
    Nodes(#[from] InsertError),
    /// The release exceeds a limit.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl Packer {
    /// An empty package.
    #[must_use]
    pub fn new(params: PackParams) -> Self {
        Self {
            params,
            files: Vec::new(),
            by_hash: HashMap::new(),
            segments: Vec::new(),
            by_segment: HashMap::new(),
            open: None,
        }
    }

    /// Adds the next file in [`tree_order`], cut with the same parameters; hands out a segment that this finished.
    ///
    /// # Errors
    /// [`PackError::Order`], [`PackError::Content`] with more files than a release may have.
    pub fn add(&mut self, path: EntryPath, executable: bool, file: CutFile) -> Result<Vec<Segment>, PackError> {
        if let Some(before) = self.files.last().map(|file| &file.entry.path).filter(|p| tree_order(p, &path).is_ge()) {
            return Err(PackError::Order { before: before.clone(), path });
        }
        if self.files.len() as u64 >= limits::RELEASE_FILES {
            return Err(ContentError::TooManyFiles.into());
        }
        let entry = FileEntry { path, executable, size: file.size(), hash: file.hash() };
        let mut done = Vec::new();
        let parts = match (self.by_hash.get(&entry.hash), file.body) {
            (Some(&first), _) => self.files[first].parts.clone(),
            (None, CutBody::Large(segments)) => self.place_large(&segments),
            (None, CutBody::Small { bytes, chunks }) => self.place_small(&entry, &bytes, chunks, &mut done),
        };
        self.by_hash.entry(entry.hash).or_insert(self.files.len());
        self.files.push(Packed { entry, parts });
        Ok(done)
    }

    /// Makes the nodes and derives what a receiver will.
    ///
    /// # Errors
    /// [`PackError`]
    pub fn finish(mut self) -> Result<Pack, PackError> {
        if self.files.is_empty() {
            return Err(PackError::Empty);
        }
        let segments: Vec<Segment> = self.close().into_iter().collect();
        let nodes = Directories::new(&self).build()?;
        let root = nodes.last().expect("the root is closed last").0;
        let mut set = NodeSet::new(root);
        // A node is wanted once its parent is there, and parents come last.
        for (_, bytes) in nodes.iter().rev() {
            set.insert(bytes)?;
        }
        Ok(Pack { segments, index: set.derive()?, nodes })
    }

    fn place_large(&mut self, segments: &[SegmentRef]) -> Vec<Part> {
        let mut parts = Vec::with_capacity(segments.len());
        for segment in segments {
            let at = *self.by_segment.entry(segment.hash).or_insert_with(|| {
                self.segments.push(Some(*segment));
                index(self.segments.len() - 1)
            });
            parts.push(Part { segment: at, offset: 0, len: segment.size });
        }
        parts
    }

    fn place_small(
        &mut self,
        entry: &FileEntry,
        bytes: &[u8],
        chunks: Vec<Chunk>,
        done: &mut Vec<Segment>,
    ) -> Vec<Part> {
        if bytes.is_empty() {
            return Vec::new();
        }
        let full = |open: &Open| {
            open.bytes.len() + bytes.len() > self.params.segment_max()
                || open.chunks.len() + chunks.len() > limits::SEGMENT_CHUNKS
        };
        if self.open.as_ref().is_some_and(full) {
            done.extend(self.close());
        }
        let open = self.open.get_or_insert_with(|| {
            self.segments.push(None);
            Open { segment: index(self.segments.len() - 1), bytes: Vec::new(), chunks: Vec::new(), n_files: 0 }
        });
        let part = Part { segment: open.segment, offset: index(open.bytes.len()), len: index(bytes.len()) };
        open.bytes.extend_from_slice(bytes);
        open.chunks.extend(chunks);
        open.n_files += 1;
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&entry.hash.as_bytes()[..16]);
        if self.params.ends_segment(&prefix, bytes.len(), open.bytes.len()) {
            done.extend(self.close());
        }
        vec![part]
    }

    /// Ends the open segment. Its bytes may equal a segment that is there already, with another chunk list (a large
    /// file beside its own halves): then that one holds for both.
    fn close(&mut self) -> Option<Segment> {
        let open = self.open.take()?;
        let segment = Segment::seal(open.bytes, open.chunks, open.n_files);
        let first = *self.by_segment.entry(segment.id.hash).or_insert(open.segment);
        let id = self.segments[first as usize].unwrap_or(segment.id);
        self.segments[open.segment as usize] = Some(id);
        (first == open.segment).then_some(segment)
    }
}

/// Makes nodes from files in tree order: a directory is finished when a file outside it comes.
struct Directories<'a> {
    packer: &'a Packer,
    /// From the root down to where we are.
    stack: Vec<Directory<'a>>,
    /// Finished, children before parents.
    nodes: Vec<(BlobId, Vec<u8>)>,
}

/// A directory that more entries may come to.
#[derive(Default)]
struct Directory<'a> {
    name: &'a str,
    segments: Vec<SegmentRef>,
    by_hash: HashMap<BlobId, u32>,
    entries: Vec<Entry>,
}

impl<'a> Directories<'a> {
    fn new(packer: &'a Packer) -> Self {
        Self { packer, stack: vec![Directory::default()], nodes: Vec::new() }
    }

    fn build(mut self) -> Result<Vec<(BlobId, Vec<u8>)>, PackError> {
        for file in &self.packer.files {
            let mut dirs: Vec<&str> = file.entry.path.parts().collect();
            let name = dirs.pop().expect("a path has a last part");
            let shared = self.stack[1..].iter().zip(&dirs).take_while(|(open, dir)| open.name == **dir).count();
            while self.stack.len() > shared + 1 {
                self.close()?;
            }
            self.stack.extend(dirs[shared..].iter().map(|name| Directory { name, ..Directory::default() }));
            let directory = self.stack.last_mut().expect("the root stays open");
            directory.add(name, file, &self.packer.segments);
        }
        while !self.stack.is_empty() {
            self.close()?;
        }
        // Equal directories are one node. The last of them is kept, so that parents still come after their children
        // and, read backwards, before them.
        let mut seen = std::collections::HashSet::new();
        self.nodes.reverse();
        self.nodes.retain(|(id, _)| seen.insert(*id));
        self.nodes.reverse();
        Ok(self.nodes)
    }

    fn close(&mut self) -> Result<(), PackError> {
        let path = self.stack[1..].iter().map(|open| open.name).collect::<Vec<_>>().join("/");
        let open = self.stack.pop().expect("close is called with a directory open");
        let node = match Node::new(open.segments, open.entries) {
            Ok(node) => node.encode(),
            Err(source) => return Err(PackError::Directory { path, source }),
        };
        if node.len() > limits::NODE_BYTES {
            return Err(PackError::DirectoryTooLarge { path, len: node.len() });
        }
        let id = BlobId::of(&node);
        self.nodes.push((id, node));
        if let Some(parent) = self.stack.last_mut() {
            parent.entries.push(Entry::Dir { name: open.name.to_owned(), node: id });
        }
        Ok(())
    }
}

impl Directory<'_> {
    fn add(&mut self, name: &str, file: &Packed, segments: &[Option<SegmentRef>]) {
        let parts = file.parts.iter().map(|part| {
            let segment = segments[part.segment as usize].expect("every segment is closed before nodes are made");
            let at = *self.by_hash.entry(segment.hash).or_insert_with(|| {
                self.segments.push(segment);
                index(self.segments.len() - 1)
            });
            Part { segment: at, ..*part }
        });
        let parts = parts.collect();
        let FileEntry { executable, size, hash, .. } = file.entry;
        self.entries.push(Entry::File { name: name.to_owned(), executable, size, hash, parts });
    }
}

/// Offsets and counts of a release fit 32 bits: segments, files and hashes are limited below.
fn index(n: usize) -> u32 {
    u32::try_from(n).expect("limits keep counts and offsets below 2^32")
}
