//! Content: frozen vectors of nodes, chunk lists, HashSeq and tree id, and what their decoders refuse.

use std::path::PathBuf;

use serde_json::json;
use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::{ChunkList, FileCutter, HashSeq, Node, Pack, PackParams, Packer, Segment};

use crate::decoders::try_decoder;
use crate::generated::Random;

/// Small enough for an independent decoder in an interpreted language.
fn params() -> PackParams {
    PackParams::new(64 << 10, 4 << 10).unwrap()
}

/// How the vectors describe a file's bytes: SplitMix64 from `seed`, eight bytes (little-endian) a draw.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// In tree order: path, executable, seed, length.
const FILES: &[(&str, bool, u64, usize)] = &[
    ("LICENSE", false, 1, 1_000),
    ("assets/empty", false, 0, 0),
    ("assets/z.tex", false, 3, 12_000),
    ("assets/Übung.mesh", false, 2, 100_000),
    ("assets-old", false, 4, 500),
    ("copy/LICENSE", false, 1, 1_000),
    ("run.sh", true, 5, 77),
];

fn pack(files: &[(&str, bool, u64, usize)]) -> (Vec<Segment>, Pack) {
    let mut packer = Packer::new(params());
    let mut segments = Vec::new();
    for &(path, executable, seed, len) in files {
        let mut cutter = FileCutter::new(params());
        segments.extend(cutter.update(&noise(seed, len)));
        let (last, cut) = cutter.finish();
        segments.extend(last);
        segments.extend(packer.add(EntryPath::parse(path).unwrap(), executable, cut).unwrap());
    }
    let pack = packer.finish().unwrap();
    segments.extend(pack.segments.clone());
    (segments, pack)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `SYNCRA_WRITE_VECTORS=1` writes the file again: that is a change of format (or of where files are cut) and wants a
/// line in the changelog.
#[test]
fn content_vectors_are_frozen() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/content.json");
    let (segments, Pack { nodes, index, .. }) = pack(FILES);
    let bytes_of = |id: &BlobId| hex(&nodes.iter().find(|(node, _)| node == id).unwrap().1);
    let segment_of = |id: &BlobId| segments.iter().find(|segment| segment.id.hash == *id).unwrap();
    let vectors = json!({
        "files": FILES.iter().zip(index.files()).map(|((path, executable, seed, len), file)| json!({
            "path": path, "executable": executable, "seed": seed, "size": len, "hash": file.entry.hash.to_string(),
        })).collect::<Vec<_>>(),
        "nodes": index.nodes().iter().map(bytes_of).collect::<Vec<_>>(),
        "segments": index.segments().iter().map(|segment| json!({
            "hash": segment.hash.to_string(),
            "size": segment.size,
            "chunks": segment_of(&segment.hash).chunk_list.as_deref().map(hex),
        })).collect::<Vec<_>>(),
        "hash_seq": hex(&index.hash_seq().encode()),
        "content_root": index.content_root().to_string(),
        "tree_id": index.tree_id().to_string(),
    });
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    if std::env::var_os("SYNCRA_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the bytes of a release's content changed");
}

/// The independent decoder knows the format from `docs/spec/content.md` alone; it has a BLAKE3 of its own.
#[test]
fn an_independent_decoder_reads_the_content_vectors() {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let run = std::process::Command::new("python3")
        .arg("check_content.py")
        .arg("content.json")
        .current_dir(&vectors)
        .output();
    let Ok(run) = run else {
        return syncra_tests::skip("an_independent_decoder_reads_the_content_vectors", "no python3");
    };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert_eq!(said.trim(), format!("{} files agree", FILES.len()));
}

/// Twenty releases of a few files.
fn samples() -> Vec<(Vec<Segment>, Pack)> {
    let sample = |seed: u64| {
        let len = 9_000 * (seed as usize % 4 + 1);
        pack(&[("a/x", false, seed, len), ("a/y", true, seed + 50, 300), ("b", false, seed + 99, 0)])
    };
    (0..20).map(sample).collect()
}

#[test]
fn damaged_nodes_are_refused_or_themselves() {
    let seeds: Vec<_> = samples().into_iter().flat_map(|(_, pack)| pack.nodes).map(|(_, bytes)| bytes).collect();
    let trial = try_decoder("node", &seeds, |bytes| Node::decode(bytes).ok().map(|node| node.encode()));
    assert!(trial.n_tried > 40_000 && trial.n_accepted < trial.n_tried, "{trial:?}");
}

#[test]
fn damaged_chunk_lists_are_refused_or_themselves() {
    let seeds: Vec<_> = samples().into_iter().flat_map(|(all, _)| all).filter_map(|one| one.chunk_list).collect();
    let trial = try_decoder("chunk list", &seeds, |bytes| ChunkList::decode(bytes).ok().map(|list| list.encode()));
    assert!(trial.n_tried > 10_000 && trial.n_accepted < trial.n_tried, "{trial:?}");
}

#[test]
fn damaged_hash_seqs_are_refused_or_themselves() {
    let seeds: Vec<_> = samples().iter().map(|(_, pack)| pack.index.hash_seq().encode()).collect();
    let trial = try_decoder("HashSeq", &seeds, |bytes| HashSeq::decode(bytes).ok().map(|seq| seq.encode()));
    assert!(trial.n_tried > 10_000 && trial.n_accepted < trial.n_tried, "{trial:?}");
}
