//! Contents that contradict themselves or are bombs.

use super::*;
use crate::limits;
use crate::tree::NodeSet;
use crate::tree::node::{Entry, Node};
use crate::tree::node_set::InsertError;

fn segment(name: &str, size: u32) -> SegmentRef {
    SegmentRef { hash: BlobId::of(name.as_bytes()), size, chunks: None }
}

fn file(name: &str, hash: &str, parts: &[(u32, u32, u32)]) -> Entry {
    let parts: Vec<Part> = parts.iter().map(|&(segment, offset, len)| Part { segment, offset, len }).collect();
    let size = parts.iter().map(|part| u64::from(part.len)).sum();
    Entry::File { name: name.into(), executable: false, size, hash: BlobId::of(hash.as_bytes()), parts }
}

fn dir(name: &str, node: &[u8]) -> Entry {
    Entry::Dir { name: name.into(), node: BlobId::of(node) }
}

fn node(segments: &[SegmentRef], entries: Vec<Entry>) -> Vec<u8> {
    Node::new(segments.to_vec(), entries).unwrap().encode()
}

/// Nodes from the root down.
fn derived(nodes: &[&Vec<u8>]) -> Result<ContentIndex, ContentError> {
    let mut set = NodeSet::new(BlobId::of(nodes[0]));
    for node in nodes {
        set.insert(node).unwrap();
    }
    set.derive()
}

#[test]
fn segments_are_numbered_by_first_use_across_directories() {
    let (a, b, c) = (segment("a", 3), segment("b", 4), segment("c", 5));
    let inner = node(&[b], vec![file("x", "x", &[(0, 0, 4)])]);
    let root = node(&[a, c], vec![file("a", "1", &[(0, 0, 3)]), dir("m", &inner), file("z", "2", &[(1, 0, 5)])]);
    let index = derived(&[&root, &inner]).unwrap();
    assert_eq!(index.segments(), [a, b, c]);
    assert_eq!(index.nodes(), [BlobId::of(&root), BlobId::of(&inner)]);
    let children = index.hash_seq().children();
    assert_eq!(children[2..], [a.hash, b.hash, c.hash]);
    assert_eq!(children[index.segment_child(1)], b.hash);
    assert_eq!(index.total_bytes(), 12);
}

#[test]
fn chunk_lists_come_last_and_once() {
    let list = BlobId::of(b"list");
    let with = |name, chunks| SegmentRef { chunks, ..segment(name, 1) };
    let segments = [with("a", Some(list)), with("b", None), with("c", Some(list))];
    let parts = &[(0, 0, 1), (1, 0, 1), (2, 0, 1)];
    let index = derived(&[&node(&segments, vec![file("f", "f", parts)])]).unwrap();
    assert_eq!(index.chunk_lists(), [list]);
    assert_eq!(index.chunk_list_child(list), Some(4));
    assert_eq!(index.chunk_list_child(segments[0].hash), None);
    assert_eq!(index.hash_seq().children().len(), 5);
}

#[test]
fn a_segment_has_one_description() {
    let inner = node(&[segment("a", 4)], vec![file("x", "x", &[(0, 0, 4)])]);
    let root = node(&[segment("a", 3)], vec![file("a", "1", &[(0, 0, 3)]), dir("m", &inner)]);
    assert_eq!(derived(&[&root, &inner]), Err(ContentError::SegmentTwice(BlobId::of(b"a"))));
}

#[test]
fn every_byte_of_a_segment_belongs_to_a_file() {
    let uncovered = |parts: &[(u32, u32, u32)], offset| {
        let files = parts.iter().enumerate().map(|(n, part)| file(&n.to_string(), &n.to_string(), &[*part])).collect();
        let expected = ContentError::Uncovered { segment: BlobId::of(b"a"), offset };
        assert_eq!(derived(&[&node(&[segment("a", 9)], files)]), Err(expected));
    };
    uncovered(&[(0, 0, 8)], 8);
    uncovered(&[(0, 1, 8)], 0);
    uncovered(&[(0, 0, 3), (0, 4, 5)], 3);
    uncovered(&[(0, 4, 5), (0, 0, 3), (0, 1, 2)], 3);
    let overlapping = vec![file("a", "a", &[(0, 0, 9)]), file("b", "b", &[(0, 0, 4)]), file("c", "c", &[(0, 3, 6)])];
    assert!(derived(&[&node(&[segment("a", 9)], overlapping)]).is_ok());
}

#[test]
fn a_file_hash_has_one_size() {
    let files = vec![file("a", "same", &[(0, 0, 9)]), file("b", "same", &[(0, 0, 8)])];
    let error = derived(&[&node(&[segment("a", 9)], files)]);
    assert_eq!(error, Err(ContentError::FileTwice(BlobId::of(b"same"))));
}

#[test]
fn names_reserved_at_the_top_and_long_paths_are_refused() {
    let inner = node(&[], vec![file("x", "", &[])]);
    let error = derived(&[&node(&[], vec![dir(".syncra", &inner)]), &inner]);
    assert!(matches!(error, Err(ContentError::Path { path, .. }) if path == ".syncra/x"));
    let mut nodes = vec![inner];
    for _ in 0..5 {
        let below = nodes.last().unwrap();
        nodes.push(node(&[], vec![dir(&"n".repeat(250), below)]));
    }
    let error = derived(&nodes.iter().rev().collect::<Vec<_>>());
    assert!(matches!(error, Err(ContentError::Path { .. })));
}

#[test]
fn nodes_come_only_when_wanted_and_whole() {
    let inner = node(&[], vec![file("x", "", &[])]);
    let root = node(&[], vec![dir("a", &inner), dir("b", &inner)]);
    let mut set = NodeSet::new(BlobId::of(&root));
    let not_wanted = InsertError::NotWanted(BlobId::of(&inner));
    assert_eq!(set.insert(&inner), Err(not_wanted.clone()));
    assert_eq!(set.derive(), Err(ContentError::Missing(BlobId::of(&root))));
    set.insert(&root).unwrap();
    assert_eq!(set.wanted(), [BlobId::of(&inner)]);
    assert_eq!(set.derive(), Err(ContentError::Missing(BlobId::of(&inner))));
    set.insert(&inner).unwrap();
    assert_eq!(set.insert(&inner), Err(not_wanted));
    assert!(set.wanted().is_empty());
    let index = set.derive().unwrap();
    assert_eq!(index.files().len(), 2);
    assert_eq!(index.nodes().len(), 2, "the shared directory is one node");
    let mut bad = NodeSet::new(BlobId::of(b"bad"));
    assert!(matches!(bad.insert(b"bad"), Err(InsertError::Node { source: crate::tree::node::NodeError::Header, .. })));
}

/// `depth` nodes that hold the one below them `width` times.
fn bomb(innermost: Vec<u8>, width: usize, depth: usize) -> Result<ContentIndex, ContentError> {
    let mut nodes = vec![innermost];
    for _ in 0..depth {
        let below = nodes.last().unwrap();
        nodes.push(node(&[], (0..width).map(|n| dir(&format!("d{n:04}"), below)).collect()));
    }
    derived(&nodes.iter().rev().collect::<Vec<_>>())
}

#[test]
fn directories_that_hold_each_other_many_times_are_stopped() {
    let leaf = node(&[], vec![file("x", "", &[])]);
    assert_eq!(bomb(leaf.clone(), 1, limits::PATH_DEPTH), Err(ContentError::TooDeep));
    assert_eq!(bomb(leaf.clone(), 1, limits::PATH_DEPTH - 1).unwrap().files().len(), 1);
    assert_eq!(bomb(leaf, 1000, 20), Err(ContentError::TooManyDirectories));
}

#[test]
fn few_bytes_that_claim_many_are_stopped() {
    let huge: Vec<SegmentRef> = (0..4096).map(|n| segment(&n.to_string(), limits::SEGMENT_BYTES as u32)).collect();
    let parts: Vec<_> = (0..4096).map(|n| (n, 0, limits::SEGMENT_BYTES as u32)).collect();
    let most = node(&huge, vec![file("x", "x", &parts)]);
    assert_eq!(bomb(most, 17, 1), Err(ContentError::TooLong));
    let parts: Vec<_> = (0..60_000).map(|n| (0, n, 1)).collect();
    let crumbs = node(&[segment("s", 60_000)], vec![file("x", "x", &parts)]);
    assert_eq!(bomb(crumbs, 36, 1), Err(ContentError::TooManyParts));
}

#[test]
fn a_release_must_declare_what_its_nodes_say() {
    let index = derived(&[&node(&[segment("a", 9)], vec![file("f", "f", &[(0, 0, 9)])])]).unwrap();
    let declared = index.declared();
    assert_eq!(index.verify(&declared), Ok(()));
    let other = Declared { total_bytes: 8, ..declared };
    let error = index.verify(&other).unwrap_err();
    assert_eq!((*error.declared, *error.found), (other, declared));
}
