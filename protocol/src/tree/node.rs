//! Node: one directory as a blob, shared between versions of a package as long as nothing in it changes.
//!
//! ```text
//! "SYNN" | version u8 = 1 | postcard Node
//! ```
//!
//! A [`Node`] value has passed every check that can be made on one directory alone: names, their order and collisions,
//! every part inside its segment, parts as long as their file. What concerns the whole tree is [`super::content`]'s.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::segment::SegmentRef;
use crate::codec::{self, CodecError};
use crate::id::BlobId;
use crate::limits;
use crate::path::{self, EntryPathError};

/// First bytes of a node and its format version.
const HEADER: &[u8; 5] = b"SYNN\x01";

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    segments: Vec<SegmentRef>,
    entries: Vec<Entry>,
}

/// A run of file bytes inside a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Index of the segment in its node's list (in a [`super::content::ContentIndex`]: in the release's list).
    pub segment: u32,
    /// Where the run starts in the segment, in bytes.
    pub offset: u32,
    /// Its length in bytes, never 0.
    pub len: u32,
}

/// What a directory holds under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A file.
    File {
        /// Its name in the directory.
        name: String,
        /// Mode 0755; else 0644.
        executable: bool,
        /// Its length in bytes.
        size: u64,
        /// BLAKE3 of its bytes.
        hash: BlobId,
        /// Where its bytes are, in order; none for an empty file.
        parts: Vec<Part>,
    },
    /// A directory with at least one file in or below it.
    Dir {
        /// Its name in the directory.
        name: String,
        /// The blob of its own node.
        node: BlobId,
    },
}

impl Entry {
    /// The name in the directory.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::File { name, .. } | Self::Dir { name, .. } => name,
        }
    }
}

/// Why bytes are not a node. Entries, parts and segments are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Does not begin with the header of a node of this version.
    #[error("not a directory node of format version 1")]
    Header,
    /// Not canonical, or too long.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An empty directory: a tree has only directories with files.
    #[error("a directory node has at least one entry")]
    Empty,
    /// A name that is not allowed.
    #[error("the name of entry {entry} is refused")]
    Name {
        /// Which entry.
        entry: usize,
        /// Which rule it breaks.
        source: EntryPathError,
    },
    /// Entries stand in strictly ascending order of their names' bytes.
    #[error("entry {entry} is listed twice or out of order")]
    Order {
        /// The later one.
        entry: usize,
    },
    /// Two names that are one name on some file systems.
    #[error("the name of entry {entry} is equal to another on some file systems")]
    Collision {
        /// The later one.
        entry: usize,
    },
    /// A segment without bytes or with too many.
    #[error("segment {segment} has {size} bytes")]
    SegmentSize {
        /// Which segment.
        segment: usize,
        /// Its size.
        size: u32,
    },
    /// A segment that is listed twice.
    #[error("segment {segment} is listed twice")]
    SegmentTwice {
        /// The later one.
        segment: usize,
    },
    /// Segments stand in the order in which the entries use them first.
    #[error("part {part} of entry {entry} names segment {segment}, which is not the next one")]
    SegmentOrder {
        /// Which entry.
        entry: usize,
        /// Which part.
        part: usize,
        /// What it names.
        segment: u32,
    },
    /// A segment that no file of this directory uses.
    #[error("segment {segment} is used by no file here")]
    SegmentUnused {
        /// The first such segment.
        segment: usize,
    },
    /// A part that is empty or reaches beyond its segment.
    #[error("part {part} of entry {entry} is empty or not inside its segment")]
    PartBounds {
        /// Which entry.
        entry: usize,
        /// Which part.
        part: usize,
    },
    /// The parts are longer or shorter than the file.
    #[error("the parts of entry {entry} have {parts} bytes, its file {size}")]
    PartSum {
        /// Which entry.
        entry: usize,
        /// Bytes of all its parts.
        parts: u64,
        /// The declared size.
        size: u64,
    },
}

impl Node {
    /// A directory of these entries, whose parts name these segments.
    ///
    /// # Errors
    /// [`NodeError`] for the first rule broken.
    pub fn new(segments: Vec<SegmentRef>, entries: Vec<Entry>) -> Result<Self, NodeError> {
        check_names(&entries)?;
        check_segments(&segments)?;
        check_parts(&segments, &entries)?;
        Ok(Self { segments, entries })
    }

    /// The segments that the files of this directory (not of those below) lie in, in the order of first use.
    #[must_use]
    pub fn segments(&self) -> &[SegmentRef] {
        &self.segments
    }

    /// The entries, in ascending order of their names' bytes.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The nodes of the directories directly below.
    pub fn dirs(&self) -> impl Iterator<Item = BlobId> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Dir { node, .. } => Some(*node),
            Entry::File { .. } => None,
        })
    }

    /// The canonical bytes. A node of more than [`limits::NODE_BYTES`] can be encoded and is refused by every decoder:
    /// who makes nodes checks the length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(&codec::encode(self));
        bytes
    }

    /// The inverse of [`Self::encode`] for untrusted bytes.
    ///
    /// # Errors
    /// [`NodeError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let body = bytes.strip_prefix(HEADER).ok_or(NodeError::Header)?;
        let unchecked: Self = codec::decode(body, limits::NODE_BYTES - HEADER.len())?;
        Self::new(unchecked.segments, unchecked.entries)
    }
}

fn check_names(entries: &[Entry]) -> Result<(), NodeError> {
    if entries.is_empty() {
        return Err(NodeError::Empty);
    }
    let mut keys = BTreeSet::new();
    let mut before: Option<&str> = None;
    for (entry, name) in entries.iter().map(Entry::name).enumerate() {
        path::check_part(name).map_err(|source| NodeError::Name { entry, source })?;
        if before.is_some_and(|before| before >= name) {
            return Err(NodeError::Order { entry });
        }
        if !keys.insert(path::part_key(name)) {
            return Err(NodeError::Collision { entry });
        }
        before = Some(name);
    }
    Ok(())
}

fn check_segments(segments: &[SegmentRef]) -> Result<(), NodeError> {
    let mut seen = BTreeSet::new();
    for (segment, SegmentRef { hash, size, .. }) in segments.iter().enumerate() {
        if *size == 0 || *size as usize > limits::SEGMENT_BYTES {
            return Err(NodeError::SegmentSize { segment, size: *size });
        }
        if !seen.insert(hash) {
            return Err(NodeError::SegmentTwice { segment });
        }
    }
    Ok(())
}

fn check_parts(segments: &[SegmentRef], entries: &[Entry]) -> Result<(), NodeError> {
    let mut used = 0;
    for (entry, file) in entries.iter().enumerate() {
        let Entry::File { size, parts, .. } = file else { continue };
        let mut sum = 0_u64;
        for (at, part) in parts.iter().enumerate() {
            let index = part.segment as usize;
            if index > used || index >= segments.len() {
                return Err(NodeError::SegmentOrder { entry, part: at, segment: part.segment });
            }
            used = used.max(index + 1);
            let end = u64::from(part.offset) + u64::from(part.len);
            if part.len == 0 || end > u64::from(segments[index].size) {
                return Err(NodeError::PartBounds { entry, part: at });
            }
            sum += u64::from(part.len);
        }
        if sum != *size {
            return Err(NodeError::PartSum { entry, parts: sum, size: *size });
        }
    }
    if used < segments.len() {
        return Err(NodeError::SegmentUnused { segment: used });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(size: u32) -> SegmentRef {
        SegmentRef { hash: BlobId::of(&size.to_le_bytes()), size, chunks: None }
    }

    fn file(name: &str, parts: &[(u32, u32, u32)]) -> Entry {
        let parts: Vec<Part> = parts.iter().map(|&(segment, offset, len)| Part { segment, offset, len }).collect();
        let size = parts.iter().map(|part| u64::from(part.len)).sum();
        Entry::File { name: name.into(), executable: false, size, hash: BlobId::of(name.as_bytes()), parts }
    }

    fn dir(name: &str) -> Entry {
        Entry::Dir { name: name.into(), node: BlobId::of(name.as_bytes()) }
    }

    fn refused(segments: &[SegmentRef], entries: &[Entry]) -> NodeError {
        let wire = Node { segments: segments.to_vec(), entries: entries.to_vec() };
        Node::decode(&wire.encode()).unwrap_err()
    }

    #[test]
    fn a_node_round_trips() {
        let entries = vec![file("a", &[(0, 0, 10), (1, 0, 5)]), dir("b"), file("c", &[]), file("d", &[(0, 0, 10)])];
        let node = Node::new(vec![segment(10), segment(5)], entries).unwrap();
        assert_eq!(Node::decode(&node.encode()), Ok(node.clone()));
        assert_eq!(node.dirs().collect::<Vec<_>>(), [BlobId::of(b"b")]);
    }

    #[test]
    fn names_are_checked_ordered_and_do_not_collide() {
        assert_eq!(refused(&[], &[]), NodeError::Empty);
        assert!(matches!(refused(&[], &[file("..", &[])]), NodeError::Name { entry: 0, .. }));
        assert!(matches!(refused(&[], &[file("a", &[]), dir("b/c")]), NodeError::Name { entry: 1, .. }));
        assert_eq!(refused(&[], &[file("b", &[]), file("a", &[])]), NodeError::Order { entry: 1 });
        assert_eq!(refused(&[], &[file("a", &[]), dir("a")]), NodeError::Order { entry: 1 });
        assert_eq!(refused(&[], &[file("A", &[]), file("a", &[])]), NodeError::Collision { entry: 1 });
        assert_eq!(refused(&[], &[file("STRASSE", &[]), dir("straße")]), NodeError::Collision { entry: 1 });
    }

    #[test]
    fn parts_lie_inside_segments_and_sum_up() {
        let ten = [segment(10)];
        assert_eq!(refused(&ten, &[file("a", &[(0, 5, 6)])]), NodeError::PartBounds { entry: 0, part: 0 });
        assert_eq!(refused(&ten, &[file("a", &[(0, u32::MAX, 2)])]), NodeError::PartBounds { entry: 0, part: 0 });
        assert_eq!(refused(&ten, &[file("a", &[(0, 0, 4), (0, 4, 0)])]), NodeError::PartBounds { entry: 0, part: 1 });
        let mut short = file("a", &[(0, 0, 10)]);
        if let Entry::File { size, .. } = &mut short {
            *size = 11;
        }
        assert_eq!(refused(&ten, &[short]), NodeError::PartSum { entry: 0, parts: 10, size: 11 });
    }

    #[test]
    fn segments_are_listed_once_in_order_of_use() {
        let two = [segment(10), segment(5)];
        let swapped = [file("a", &[(1, 0, 5)]), file("b", &[(0, 0, 10)])];
        assert_eq!(refused(&two, &swapped), NodeError::SegmentOrder { entry: 0, part: 0, segment: 1 });
        assert_eq!(
            refused(&two[..1], &[file("a", &[(0, 0, 10), (1, 0, 1)])]),
            NodeError::SegmentOrder { entry: 0, part: 1, segment: 1 }
        );
        assert_eq!(refused(&two, &[file("a", &[(0, 0, 10)])]), NodeError::SegmentUnused { segment: 1 });
        assert_eq!(refused(&[two[0], two[0]], &[file("a", &[])]), NodeError::SegmentTwice { segment: 1 });
        assert_eq!(refused(&[segment(0)], &[file("a", &[])]), NodeError::SegmentSize { segment: 0, size: 0 });
        let huge = limits::SEGMENT_BYTES as u32 + 1;
        assert_eq!(refused(&[segment(huge)], &[file("a", &[])]), NodeError::SegmentSize { segment: 0, size: huge });
    }
}
