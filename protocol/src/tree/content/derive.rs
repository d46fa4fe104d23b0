//! The walk over the nodes that makes a [`ContentIndex`].

use std::collections::{HashMap, HashSet};

use super::{Carried, ContentError, ContentIndex, PlacedFile};
use crate::id::BlobId;
use crate::limits;
use crate::path::EntryPath;
use crate::tree::hash_seq::HashSeq;
use crate::tree::node::{Entry, Part};
use crate::tree::node_set::NodeSet;
use crate::tree::segment::SegmentRef;
use crate::tree::{FileEntry, TreeHasher};

/// Computes the index of a complete set of nodes.
pub(in crate::tree) fn derive(set: &NodeSet) -> Result<ContentIndex, ContentError> {
    let mut walk = Walk::default();
    walk.directory(set, set.root(), &mut String::new(), 1)?;
    walk.finish()
}

/// What a walk in tree order has seen. Shared nodes are walked each time: their files have other paths.
#[derive(Default)]
struct Walk {
    n_directories: usize,
    nodes: Vec<BlobId>,
    visited: HashSet<BlobId>,
    files: Vec<PlacedFile>,
    sizes: HashMap<BlobId, u64>,
    parts: Vec<Part>,
    segments: Vec<SegmentRef>,
    by_hash: HashMap<BlobId, u32>,
    /// With the segment's index in front.
    carried: Vec<(u32, Carried)>,
    total_bytes: u64,
}

impl Walk {
    /// `path` is that of the directory with a slash at the end, empty at the top; `depth` that of its entries.
    fn directory(&mut self, set: &NodeSet, id: BlobId, path: &mut String, depth: usize) -> Result<(), ContentError> {
        // Directories that hold themselves many times over would be walked 2^depth times without these bounds.
        self.n_directories += 1;
        if self.n_directories > limits::RELEASE_NODES {
            return Err(ContentError::TooManyDirectories);
        }
        if depth > limits::PATH_DEPTH {
            return Err(ContentError::TooDeep);
        }
        let node = set.node(id).ok_or(ContentError::Missing(id))?;
        if self.visited.insert(id) {
            self.nodes.push(id);
        }
        let end = path.len();
        for entry in node.entries() {
            path.push_str(entry.name());
            match entry {
                Entry::Dir { node, .. } => {
                    path.push('/');
                    self.directory(set, *node, path, depth + 1)?;
                }
                Entry::File { executable, size, hash, parts, .. } => {
                    let path =
                        EntryPath::parse(path).map_err(|source| ContentError::Path { path: path.clone(), source })?;
                    self.file(
                        FileEntry { path, executable: *executable, size: *size, hash: *hash },
                        parts,
                        node.segments(),
                    )?;
                }
            }
            path.truncate(end);
        }
        Ok(())
    }

    /// The release's index of a segment: counted by first use in tree order, so that a stream of segments in this
    /// order completes files in tree order.
    fn segment(&mut self, segment: &SegmentRef) -> Result<u32, ContentError> {
        match self.by_hash.get(&segment.hash) {
            Some(&at) if self.segments[at as usize] == *segment => Ok(at),
            Some(_) => Err(ContentError::SegmentTwice(segment.hash)),
            None => {
                let at = u32::try_from(self.segments.len()).expect("no more segments than parts");
                self.by_hash.insert(segment.hash, at);
                self.segments.push(*segment);
                Ok(at)
            }
        }
    }

    fn file(&mut self, entry: FileEntry, parts: &[Part], segments: &[SegmentRef]) -> Result<(), ContentError> {
        let file = u32::try_from(self.files.len()).expect("files are limited");
        if u64::from(file) >= limits::RELEASE_FILES {
            return Err(ContentError::TooManyFiles);
        }
        if self.parts.len() + parts.len() > limits::RELEASE_PARTS {
            return Err(ContentError::TooManyParts);
        }
        self.total_bytes = self.total_bytes.saturating_add(entry.size);
        if self.total_bytes > limits::RELEASE_BYTES {
            return Err(ContentError::TooLong);
        }
        if *self.sizes.entry(entry.hash).or_insert(entry.size) != entry.size {
            return Err(ContentError::FileTwice(entry.hash));
        }
        let first = self.parts.len();
        let mut file_offset = 0;
        for part in parts {
            let segment = self.segment(&segments[part.segment as usize])?;
            self.parts.push(Part { segment, ..*part });
            let run = Carried { offset: part.offset, len: part.len, file, file_offset };
            self.carried.push((segment, run));
            file_offset += u64::from(part.len);
        }
        self.files.push(PlacedFile { entry, parts: first..self.parts.len() });
        Ok(())
    }

    fn finish(mut self) -> Result<ContentIndex, ContentError> {
        self.carried.sort_unstable();
        let starts = self.check_cover()?;
        let mut tree = TreeHasher::new();
        for file in &self.files {
            tree.push(&file.entry).expect("a walk over sorted nodes is in tree order");
        }
        let n_nodes = self.nodes.len();
        let mut children = self.nodes;
        children.extend(self.segments.iter().map(|segment| segment.hash));
        let mut listed = HashSet::new();
        children.extend(self.segments.iter().filter_map(|segment| segment.chunks).filter(|list| listed.insert(*list)));
        let hash_seq = HashSeq::new(children)?;
        Ok(ContentIndex {
            files: self.files,
            parts: self.parts,
            segments: self.segments,
            carried: self.carried.into_iter().map(|(_, run)| run).collect(),
            starts,
            n_nodes,
            content_root: hash_seq.root(),
            hash_seq,
            tree_id: tree.finish(),
            total_bytes: self.total_bytes,
        })
    }

    /// Checks that files cover every byte of every segment: nobody stores or sends what no file needs. Returns where
    /// each segment's runs start in the sorted `carried`.
    fn check_cover(&self) -> Result<Vec<usize>, ContentError> {
        let mut starts = Vec::with_capacity(self.segments.len() + 1);
        let mut at = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            starts.push(at);
            let mut covered = 0;
            while let Some((_, run)) = self.carried.get(at).filter(|(of, _)| *of as usize == index) {
                if run.offset > covered {
                    break;
                }
                covered = covered.max(run.offset + run.len);
                at += 1;
            }
            if covered < segment.size {
                return Err(ContentError::Uncovered { segment: segment.hash, offset: covered });
            }
        }
        starts.push(at);
        Ok(starts)
    }
}
