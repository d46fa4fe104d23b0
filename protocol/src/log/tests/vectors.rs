//! Golden vectors: `tests/vectors/log.json` in the repository's root. A format change shows as a changed file.

use core::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::Timestamp;
use data_encoding::{BASE64, HEXLOWER};
use fork::ForkProof;
use fork_point::ForkPoint;
use note::Vkey;
use witness::{Statement, Witness};

const SIZE: u64 = 11;
const WRITE: &str = "SYNCRA_WRITE_VECTORS";

fn hex(bytes: &[u8]) -> String {
    format!("\"{}\"", HEXLOWER.encode(bytes))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("    {item}")).collect();
    format!("[\n{}\n  ]", items.join(",\n"))
}

/// The leaves are the empty one, single bytes and text, so that nothing depends on the entry format.
fn leaf_bytes(index: u64) -> Vec<u8> {
    match index {
        0 => Vec::new(),
        1..5 => vec![index as u8],
        _ => entry(index, false),
    }
}

fn vectors() -> String {
    let mut log = Log::new(origin(1));
    let mut forked = Log::new(origin(1));
    for index in 0..SIZE {
        log.append(&leaf_bytes(index)).expect("short");
        forked.append(if index == 6 { b"another" } else { &[] }).expect("short");
    }
    let head = head(1, &log, SIZE);
    let inclusion = log.prove_inclusion(6, SIZE).expect("inside");
    let consistency = log.prove_consistency(6, SIZE).expect("inside");
    let prefix = log.prove_prefix(8, SIZE).expect("inside");
    let fork = ForkProof::from_log(&log, &head, &super::head(1, &forked, 8)).expect("a fork");
    let point = ForkPoint::between(fork.clone(), &log, &forked).expect("both are here");
    let mut witness = Witness::new(secret(40).public());
    witness.record(Statement::recall(&head, Timestamp(1_679_315_147_000))).expect("the first");
    let cosigned = witness.cosignature(&secret(40), head.origin()).expect("recorded");
    let hashes = |hashes: &[LogHash]| list(hashes.iter().map(|hash| hex(hash.as_bytes())));
    let mut out = String::from("{\n");
    let mut put = |name: &str, value: &str| writeln!(out, "  \"{name}\": {value},").expect("a string takes all");
    put("leaves", &list((0..SIZE).map(|index| hex(&leaf_bytes(index)))));
    put("roots", &list((0..=SIZE).map(|size| hex(log.root_at(size).expect("held").as_bytes()))));
    put("inclusion_of_6_in_11", &hex(&inclusion.encode()));
    put("inclusion_hashes", &hashes(inclusion.hashes()));
    put("consistency_of_6_and_11", &hex(&consistency.encode()));
    put("consistency_hashes", &hashes(consistency.hashes()));
    put("prefix_of_8_and_11", &hex(&prefix.encode()));
    put("seed", &hex(&secret(1).seed()));
    put("public_key", &hex(secret(1).public().as_bytes()));
    put("origin", &format!("\"{}\"", log.origin()));
    put("vkey", &format!("\"{}\"", Vkey::of(log.origin())));
    put("note_base64", &format!("\"{}\"", BASE64.encode(head.note())));
    put("witness_public_key", &hex(secret(40).public().as_bytes()));
    put("witness_vkey", &format!("\"{}\"", cosigned.witness()));
    put("cosigned_at", "1679315147");
    put("cosigned_note_base64", &format!("\"{}\"", BASE64.encode(head.with_evidence(None, None, [&cosigned]).note())));
    put("warning_note_base64", &format!("\"{}\"", BASE64.encode(head.with_evidence(Some(&fork), None, []).note())));
    put("fork_point", &hex(&point.encode()));
    put(
        "parted_note_base64",
        &format!("\"{}\"", BASE64.encode(head.with_evidence(Some(&fork), Some(&point), []).note())),
    );
    writeln!(out, "  \"fork_proof\": {}\n}}", hex(&fork.encode())).expect("a string takes all");
    out
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test keeps its vectors in a file")]
fn the_vectors_are_unchanged() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/log.json");
    let now = vectors();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &now).expect("the file of vectors");
    }
    let kept = std::fs::read_to_string(&path).expect("tests/vectors/log.json");
    assert_eq!(kept, now, "the bytes of the log's formats changed; `cargo xtask vectors` writes them anew");
}
