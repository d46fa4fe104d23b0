//! Frozen bytes of the records that are no entries: proposals, reviews, drafts.

use std::path::PathBuf;

use serde_json::{Value, json};
use syncra_protocol::codec;
use syncra_protocol::entry::RefClass;
use syncra_protocol::id::{ContentRoot, IdentityId, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::limits::{PROPOSAL_TEXT_BYTES, PROPOSAL_TITLE_BYTES};
use syncra_protocol::message::draft::{Draft, SignedDraft};
use syncra_protocol::name::RefName;
use syncra_protocol::proposal::{Record, Said, Statement, Verdict};

use crate::oracle::hex;

fn secret() -> DeviceSecret {
    DeviceSecret::from_seed(&[7; 32])
}

fn records() -> Vec<(&'static str, Record)> {
    let release = ReleaseId::from_bytes([3; 32]);
    let proposal = |class, name: &str, title: &str, is_withdrawn| {
        let (name, title) = (RefName::parse(name).unwrap(), title.to_owned());
        Said::Proposal { class, name, release, title, is_withdrawn }
    };
    let review = |verdict, text: &str| Said::Review { release, verdict, text: text.to_owned() };
    let longest = [&"t".repeat(PROPOSAL_TITLE_BYTES), &"x".repeat(PROPOSAL_TEXT_BYTES)];
    let said = [
        ("a proposal", 0, 0, proposal(RefClass::Channel, "stable", "Fins that turn", false)),
        ("a proposal for a branch", 0, 1, proposal(RefClass::Branch, "work/fins", "Flossen für Änne", false)),
        ("a proposal that is taken back", 0, u32::MAX, proposal(RefClass::Channel, "stable", longest[0], true)),
        ("a comment", 0, 0, review(Verdict::Comment, "why?\nand how?")),
        ("an approval", 3, 300, review(Verdict::Approve, "")),
        ("a request for changes", 15, 2, review(Verdict::RequestChanges, longest[1])),
        ("a close", 1, 0, review(Verdict::Close, "done otherwise")),
    ];
    let sign = |(name, number, rev, said)| {
        let statement = Statement {
            target: PackageId::from_bytes([1; 32]),
            proposal: PackageId::from_bytes([2; 32]),
            by: IdentityId::from_bytes([4; 32]),
            device: secret().public(),
            number,
            rev,
            said,
        };
        (name, Record::sign(statement, &secret()).unwrap())
    };
    said.map(sign).to_vec()
}

fn drafts() -> Vec<(&'static str, Draft, SignedDraft)> {
    let draft = |name: &str, rev, total_bytes, n_files| Draft {
        package: PackageId::from_bytes([1; 32]),
        name: RefName::parse(name).unwrap(),
        rev,
        tree_id: TreeId::from_bytes([5; 32]),
        content_root: ContentRoot::from_bytes([6; 32]),
        total_bytes,
        n_files,
    };
    let all = [
        ("a draft", draft("draft", 1_700_000_000_123, 70_000, 12)),
        ("a draft of nothing", draft("x", 1, 0, 0)),
        ("the largest draft", draft(&"n".repeat(64), u64::MAX, u64::MAX, u32::MAX)),
    ];
    let sign = |(name, draft): (_, Draft)| {
        let signed = SignedDraft::sign(&draft, &secret());
        (name, draft, signed)
    };
    all.map(sign).to_vec()
}

fn said(said: &Said) -> Value {
    match said {
        Said::Proposal { class, name, release, title, is_withdrawn } => json!({
            "class": class.to_string(),
            "name": name.to_string(),
            "release": release.to_string(),
            "title": title,
            "withdrawn": is_withdrawn,
        }),
        Said::Review { release, verdict, text } => {
            let verdict = match verdict {
                Verdict::Comment => "comment",
                Verdict::Approve => "approve",
                Verdict::RequestChanges => "request changes",
                Verdict::Close => "close",
            };
            json!({ "release": release.to_string(), "verdict": verdict, "text": text })
        }
    }
}

/// `SYNCRA_WRITE_VECTORS=1` writes the file again: that is a change of format and wants a line in the changelog.
#[test]
fn record_vectors_are_frozen() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/records.json");
    let proposal = |(name, record): (&str, Record)| {
        assert_eq!(Record::decode(record.bytes()).as_ref(), Ok(&record), "{name}");
        let Statement { target, proposal, by, device, number, rev, said: what } = record.statement();
        let fields = json!({
            "target": target.to_string(),
            "proposal": proposal.to_string(),
            "by": by.to_string(),
            "device": device.to_string(),
            "number": number,
            "rev": rev,
            "said": said(what),
        });
        json!({ "name": name, "bytes": hex(record.bytes()), "fields": fields })
    };
    let draft = |(name, draft, signed): (&str, Draft, SignedDraft)| {
        assert_eq!(signed.verify(&secret().public()).as_ref(), Ok(&draft), "{name}");
        let fields = json!({
            "package": draft.package.to_string(),
            "name": draft.name.to_string(),
            "rev": draft.rev,
            "tree_id": draft.tree_id.to_string(),
            "content_root": draft.content_root.to_string(),
            "total_bytes": draft.total_bytes,
            "n_files": draft.n_files,
        });
        let (bytes, key) = (hex(&codec::encode(&signed)), hex(secret().public().as_bytes()));
        json!({ "name": name, "bytes": bytes, "key": key, "fields": fields })
    };
    let proposals: Vec<Value> = records().into_iter().map(proposal).collect();
    let drafts: Vec<Value> = drafts().into_iter().map(draft).collect();
    let text = serde_json::to_string_pretty(&json!({ "proposals": proposals, "drafts": drafts })).unwrap() + "\n";
    if std::env::var_os("SYNCRA_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the bytes of a record changed");
}

/// The independent decoder knows the formats from the spec alone, and verifies by an Ed25519 of its own.
#[test]
fn an_independent_decoder_reads_and_verifies_the_record_vectors() {
    let run = std::process::Command::new("python3")
        .args(["check_records.py", "records.json"])
        .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors"))
        .output();
    let Ok(run) = run else {
        return syncra_tests::skip("an_independent_decoder_reads_and_verifies_the_record_vectors", "no python3");
    };
    let told = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    assert_eq!(told.trim(), format!("{} records agree", records().len() + drafts().len()));
}
