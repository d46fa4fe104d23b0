//! Every function that takes bytes or text of somebody else is listed here, with the fuzz target and the test of damage
//! that it gets. A new one that is not listed fails, and so does a row whose function, target or test is gone.

use std::collections::BTreeSet;

use crate::repository::{rust_files, texts};

/// What looks after a decoder.
enum Care {
    /// A fuzz target, and a test that gives it every truncation and every flipped bit of many seeds.
    Both(&'static str, &'static str),
    /// A fuzz target.
    Fuzz(&'static str),
    /// A test of truncations and flipped bits, of checksummed files of this node: nothing damaged is accepted.
    Flips(&'static str),
    /// A part of a listed decoder, or the same under another name.
    Part,
    /// Not of strangers, or no decoder.
    Ours,
}

use Care::{Both, Flips, Fuzz, Ours, Part};

/// (file, function, what looks after it)
const DECODERS: &[(&str, &str, Care)] = &[
    ("protocol/src/codec.rs", "decode", Part),
    ("protocol/src/entry.rs", "decode", Both("entry", "damaged_entries_are_refused_or_themselves")),
    ("protocol/src/evidence.rs", "open", Fuzz("genesis")),
    ("protocol/src/evidence/held.rs", "read", Part),
    ("protocol/src/id.rs", "from_base32", Part),
    ("protocol/src/id.rs", "from_str", Fuzz("package-id")),
    ("protocol/src/key.rs", "from_str", Fuzz("device-key")),
    ("protocol/src/link.rs", "from_str", Part),
    ("protocol/src/link.rs", "parse", Both("link", "links")),
    ("protocol/src/link/address.rs", "parse", Both("peer-address", "links")),
    ("protocol/src/link/invitation.rs", "from_str", Part),
    ("protocol/src/link/invitation.rs", "parse", Fuzz("invitation")),
    ("protocol/src/log/checkpoint.rs", "from_str", Both("checkpoint", "notes_and_checkpoints")),
    ("protocol/src/log/checkpoint.rs", "parse_lines", Part),
    ("protocol/src/log/checkpoint.rs", "verify", Both("head", "notes_and_checkpoints")),
    ("protocol/src/log/cosignature.rs", "from_str", Both("witness-key", "notes_and_checkpoints")),
    ("protocol/src/log/fork.rs", "verify", Both("fork", "fork_proofs")),
    ("protocol/src/log/fork_point.rs", "verify", Both("fork-point", "damaged_points_are_refused")),
    ("protocol/src/log/note.rs", "from_str", Both("vkey", "notes_and_checkpoints")),
    ("protocol/src/log/note.rs", "parse_vkey", Part),
    ("protocol/src/log/note.rs", "parse", Both("note", "notes_and_checkpoints")),
    ("protocol/src/log/proof.rs", "decode", Both("consistency", "proofs")),
    ("protocol/src/log/tiles.rs", "from_str", Both("tile-path", "tile_paths")),
    ("protocol/src/manifest.rs", "parse", Both("manifest-text", "manifest_text")),
    ("protocol/src/manifest/canonical.rs", "decode", Both("manifest", "manifest_bytes")),
    ("protocol/src/manifest/parse.rs", "parse", Part),
    ("protocol/src/manifest/words.rs", "from_str", Part),
    ("protocol/src/manifest/words.rs", "parse", Part),
    ("protocol/src/message/frame.rs", "length", Fuzz("frame-length")),
    (
        "protocol/src/message/have.rs",
        "decode_answer",
        Both("have-answer", "damaged_messages_are_refused_or_themselves"),
    ),
    (
        "protocol/src/message/have.rs",
        "decode_request",
        Both("have-request", "damaged_messages_are_refused_or_themselves"),
    ),
    (
        "protocol/src/message/draft.rs",
        "decode_answer",
        Both("draft-answer", "damaged_messages_are_refused_or_themselves"),
    ),
    ("protocol/src/message/draft.rs", "decode_draft", Both("draft", "damaged_messages_are_refused_or_themselves")),
    (
        "protocol/src/message/draft.rs",
        "decode_request",
        Both("draft-request", "damaged_messages_are_refused_or_themselves"),
    ),
    ("protocol/src/message/log.rs", "decode_answer", Both("log-answer", "damaged_messages_are_refused_or_themselves")),
    (
        "protocol/src/message/log.rs",
        "decode_request",
        Both("log-request", "damaged_messages_are_refused_or_themselves"),
    ),
    (
        "protocol/src/message/pair.rs",
        "decode_confirm",
        Both("pair-confirm", "damaged_messages_are_refused_or_themselves"),
    ),
    ("protocol/src/message/pair.rs", "decode_hello", Both("pair-hello", "damaged_messages_are_refused_or_themselves")),
    ("protocol/src/message/pair.rs", "decode_reply", Both("pair-reply", "damaged_messages_are_refused_or_themselves")),
    (
        "protocol/src/message/pair.rs",
        "decode_verdict",
        Both("pair-verdict", "damaged_messages_are_refused_or_themselves"),
    ),
    (
        "protocol/src/message/propose.rs",
        "decode_answer",
        Both("propose-answer", "damaged_messages_are_refused_or_themselves"),
    ),
    (
        "protocol/src/message/propose.rs",
        "decode_request",
        Both("propose-request", "damaged_messages_are_refused_or_themselves"),
    ),
    ("protocol/src/name.rs", "parse", Both("package-name", "names")),
    ("protocol/src/origin.rs", "from_str", Fuzz("origin")),
    ("protocol/src/path.rs", "parse", Both("path", "paths")),
    ("protocol/src/path.rs", "parse_bytes", Both("path", "paths")),
    (
        "protocol/src/proposal.rs",
        "decode",
        Both("proposal-record", "records_are_read_as_they_were_signed_and_refused_after_any_change"),
    ),
    ("protocol/src/reference.rs", "from_str", Part),
    ("protocol/src/reference.rs", "parse", Both("reference", "references")),
    ("protocol/src/reference.rs", "parse_qualified", Part),
    ("protocol/src/reference.rs", "parse_reference", Part),
    ("protocol/src/text.rs", "from_str", Part),
    ("protocol/src/tree/chunks.rs", "decode", Both("chunk-list", "damaged_chunk_lists_are_refused_or_themselves")),
    ("protocol/src/tree/hash_seq.rs", "decode", Both("hash-seq", "damaged_hash_seqs_are_refused_or_themselves")),
    ("protocol/src/tree/node.rs", "decode", Both("node", "damaged_nodes_are_refused_or_themselves")),
    ("protocol/src/tree/node_set.rs", "insert", Part),
    ("protocol/src/version.rs", "parse", Both("version", "versions_and_requirements")),
    ("node/src/api/client.rs", "parse", Fuzz("api-address")),
    ("node/src/config.rs", "parse", Both("config", "settings_survive_every_damage")),
    ("node/src/durable/frame.rs", "read", Flips("every_cut_and_every_flipped_bit_is_noticed")),
    (
        "node/src/flow/checkout/base.rs",
        "parse",
        Flips("every_cut_and_every_changed_byte_is_refused_or_read_as_it_stands"),
    ),
    ("node/src/flow/contact.rs", "parse", Part),
    ("node/src/flow/git/note.rs", "parse", Flips("every_cut_and_every_changed_byte_is_read_or_is_no_note")),
    ("node/src/flow/git/object.rs", "parse_hex", Flips("only_whole_ids_are_ids")),
    ("node/src/flow/backup.rs", "open", Flips("a_backup_is_refused_after_any_damage")),
    ("node/src/flow/backup.rs", "restore", Part),
    ("node/src/flow/merge/apply.rs", "read_ours", Ours),
    ("node/src/flow/git/names.rs", "decode", Flips("damaged_spellings_are_nothing_or_another_name")),
    ("node/src/flow/tiles.rs", "from_str", Part),
    ("node/src/flow/syncpack/frame.rs", "open", Fuzz("syncpack")),
    ("node/src/flow/syncpack/frame.rs", "parse", Both("syncpack", "damaged_syncpacks_are_refused_or_themselves")),
    (
        "node/src/flow/identity/kept.rs",
        "parse",
        Flips("no_damage_of_the_file_reads_as_saved_and_nothing_of_it_is_deleted"),
    ),
    (concat!("node/src/", "home", "/key.rs"), "decode", Flips("every_flipped_bit_and_every_cut_fails_closed")),
    ("node/src/installed/generation.rs", "parse", Flips("every_changed_byte_of_a_generation_is_noticed")),
    ("node/src/journal/mark.rs", "decode", Flips("the_last_whole_slot_counts")),
    ("node/src/journal/record.rs", "decode", Both("journal-record", "damaged_records_are_refused_or_themselves")),
    ("node/src/journal/segment.rs", "scan", Flips("every_flipped_bit_is_noticed_and_what_is_before_can_be_salvaged")),
    ("node/src/journal/segment.rs", "scan_into", Part),
    ("node/src/logs/segment.rs", "decode", Part),
    ("node/src/logs/segment.rs", "scan", Flips("damage_costs_some_entries_and_they_come_again")),
    ("node/src/net/frame.rs", "read_frame", Flips("too_long_too_short_and_malformed_frames_are_refused")),
    ("node/src/net/frame.rs", "read_frame_some_day", Part),
    // rustls' interface; its own code and webpki decode.
    ("node/src/net/tls.rs", "verify_server_cert", Ours),
    ("node/src/net/tls.rs", "verify_tls12_signature", Ours),
    ("node/src/net/tls.rs", "verify_tls13_signature", Ours),
    ("node/src/flow/pair.rs", "parse", Flips("only_codes_are_codes")),
    // Keys and texts that this program made, or arguments that are looked up and not decoded.
    ("node/src/api/verbs/proposals.rs", "parse_verdict", Ours),
    ("node/src/flow/secrets.rs", "scan", Ours),
    ("node/src/flow/unpack.rs", "open_dir", Ours),
    ("node/src/api/doors.rs", "open_tcp", Ours),
    ("node/src/demo/host.rs", "open", Ours),
    ("node/src/index.rs", "scan", Ours),
    ("node/src/index/full.rs", "read", Ours),
    ("node/src/index/memory.rs", "read", Ours),
    ("node/src/index/redb.rs", "read", Ours),
    ("node/src/index/sled.rs", "read", Ours),
    ("node/src/index.rs", "verify", Ours),
    ("node/src/index/engine.rs", "parse", Ours),
    ("node/src/index/engine.rs", "read", Ours),
    ("node/src/logs.rs", "parse", Ours),
    ("node/src/problem/codes.rs", "parse", Ours),
    ("protocol/src/name/grammar.rs", "length", Ours),
];

/// How the name of a decoder begins.
const NAMES: &[&str] =
    &["decode", "parse", "from_str", "from_base32", "verify", "scan", "open", "read", "length", "insert", "restore"];
/// What it takes.
const TAKES: &[&str] = &["&[u8]", "&str", "[u8; PREFIX_BYTES]", "&'a [u8]", "impl AsyncRead", "R: Read"];

/// (file, function) of everything outside tests that looks like a decoder.
fn found() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (path, text) in rust_files() {
        let is_code = (path.starts_with("protocol/src/") || path.starts_with("node/src/")) && !path.contains("/tests");
        if !is_code {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in code.match_indices("fn ") {
            let rest = &code[at + 3..];
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let signature = rest.split(['{', ';']).next().unwrap_or_default();
            // `[u8; N]` has a semicolon of its own.
            let signature = if signature.ends_with("[u8") { &rest[..rest.len().min(120)] } else { signature };
            let is_named = NAMES
                .iter()
                .any(|begin| name == *begin || name.strip_prefix(begin).is_some_and(|rest| rest.starts_with('_')));
            if is_named && !code[..at].ends_with("// ") && TAKES.iter().any(|takes| signature.contains(takes)) {
                found.insert((path.clone(), name));
            }
        }
    }
    assert!(found.len() > 30, "the decoders were not found: {found:?}");
    found
}

#[test]
fn every_decoder_is_fuzzed_or_damaged() {
    let found = found();
    let listed: BTreeSet<_> = DECODERS.iter().map(|(file, name, _)| ((*file).to_owned(), (*name).to_owned())).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "decoders without a row in DECODERS: {missing:#?}");
    let sources = texts();
    let targets = &sources.iter().find(|(path, _)| path == "tests/fuzz/src/targets.rs").expect("the fuzz targets").1;
    let is_test = |name: &str| sources.iter().any(|(_, text)| text.contains(&format!("fn {name}()")));
    for (file, name, care) in DECODERS {
        let text = &sources.iter().find(|(path, _)| path == file).unwrap_or_else(|| panic!("{file} is gone")).1;
        let is_there = text.contains(&format!("fn {name}(")) || text.contains(&format!("fn {name}<"));
        assert!(is_there, "{file} has no `{name}` any more");
        let (fuzz, flips) = match care {
            Both(fuzz, flips) => (Some(fuzz), Some(flips)),
            Fuzz(fuzz) => (Some(fuzz), None),
            Flips(flips) => (None, Some(flips)),
            Part | Ours => continue,
        };
        assert!(
            fuzz.is_none_or(|fuzz| targets.contains(&format!("\"{fuzz}\""))),
            "no fuzz target {fuzz:?}: {file} {name}"
        );
        assert!(flips.is_none_or(|flips| is_test(flips)), "no test {flips:?}: {file} {name}");
    }
}
