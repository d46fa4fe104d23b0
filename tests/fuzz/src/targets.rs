//! One target for each decoder of bytes that somebody else wrote. What a target accepts must be spelt again as it was read.

use std::fmt::{Debug, Display};
use std::str::{FromStr, from_utf8};

use syncra_node::api::client::Address;
use syncra_node::config::Config;
use syncra_node::flow::syncpack::frame as syncpack;
use syncra_node::journal::Record;
use syncra_protocol::Timestamp;
use syncra_protocol::bounded::Blob;
use syncra_protocol::codec;
use syncra_protocol::entry::{self, Decoded, RefClass};
use syncra_protocol::evidence::Evidence;
use syncra_protocol::id::{ContentRoot, EntryId, IdentityId, LogHash, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::limits::FRAME_BYTES;
use syncra_protocol::link::{Invitation, Link, PeerAddress};
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::{Checkpoint, Head};
use syncra_protocol::log::cosignature::{Cosignature, WitnessKey};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::log::note::{Note, Vkey};
use syncra_protocol::log::proof::{ConsistencyProof, InclusionProof, PrefixProof};
use syncra_protocol::log::tiles::Tile;
use syncra_protocol::log::witness::{Statement, Witness};
use syncra_protocol::manifest::{Manifest, ResolvedManifest};
use syncra_protocol::message::{Refusal, draft, frame, have, log, pair, propose};
use syncra_protocol::name::{Handle, PackageName, RefName};
use syncra_protocol::origin::Origin;
use syncra_protocol::path::EntryPath;
use syncra_protocol::proposal::{self, Said, Verdict};
use syncra_protocol::reference::{QualifiedName, Reference};
use syncra_protocol::tree::chunks::ChunkList;
use syncra_protocol::tree::hash_seq::HashSeq;
use syncra_protocol::tree::node::Node;
use syncra_protocol::version::{Version, VersionReq};

/// What is fuzzed.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics when the decoder does what it must not.
    pub run: fn(&[u8]),
    /// Inputs to begin with, besides the vectors.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes that one allocation may have, besides those for each byte of the input.
    pub allocates: usize,
    /// Bytes that one allocation may have for each byte of the input.
    pub per_byte: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, allocates: 64 << 10, per_byte: 64 }
}

/// All of them.
pub const ALL: &[Target] = &[
    target("entry", entry, Vec::new),
    target("genesis", genesis, Vec::new),
    target("note", note, notes),
    target("head", head, notes),
    target("checkpoint", |bytes| text::<Checkpoint>(bytes, true), || vec![some_log().checkpoint().to_string().into()]),
    target("vkey", |bytes| text::<Vkey>(bytes, true), || vec![Vkey::of(&origin()).to_string().into()]),
    target("origin", |bytes| text::<Origin>(bytes, true), || vec![origin().to_string().into()]),
    target("tile-path", |bytes| text::<Tile>(bytes, true), || texts(&["tile/entries/x001/234.p/7"])),
    target("witness-key", |bytes| text::<WitnessKey>(bytes, true), || vec![witness_key().to_string().into()]),
    target("cosigned", cosigned, cosigned_notes),
    target("inclusion", inclusion, proofs),
    target("consistency", consistency, proofs),
    target("prefix", prefix, proofs),
    target("fork", fork, forks),
    target("fork-point", fork_point, fork_points),
    target("node", node, Vec::new),
    target("chunk-list", chunk_list, Vec::new),
    target("hash-seq", hash_seq, Vec::new),
    target("manifest-text", manifest_text, Vec::new),
    target("manifest", manifest, Vec::new),
    target("log-request", log_request, log_requests),
    target("log-answer", log_answer, log_answers),
    target("have-request", have_request, || vec![have::encode_request(&have::Request { root: root(), follow: true })]),
    target("have-answer", have_answer, || vec![have::encode_answer(&have::Answer::of([1, 3].into_iter(), 9))]),
    target("draft", draft_itself, || vec![codec::encode(&a_draft())]),
    target("draft-request", draft_request, || vec![[&[7; 32][..], b"\x04work\x07"].concat()]),
    target("draft-answer", draft_answer, draft_answers),
    target("pair-hello", pair_hello, || vec![codec::encode(&pair::Hello { number: 4821, element: element() })]),
    target("pair-reply", pair_reply, || vec![codec::encode(&pair::Reply::Element(element()))]),
    target("pair-confirm", pair_confirm, || vec![[&[7; 32][..], b"\x06laptop"].concat()]),
    target("pair-verdict", pair_verdict, || vec![codec::encode(&pair::Verdict::Declined), vec![2; 90]]),
    target("propose-request", propose_request, || {
        vec![
            codec::encode(&propose::Request::List { package: PackageId::from_bytes([9; 32]) }),
            codec::encode(&propose::Request::Offer { records: vec![Blob(vec![7; 200]); 2] }),
        ]
    }),
    target("propose-answer", propose_answer, || {
        vec![
            codec::encode(&propose::Answer::Records { records: vec![Blob(vec![7; 200]); 2] }),
            codec::encode(&propose::Answer::Taken { n_kept: 300 }),
        ]
    }),
    target("proposal-record", proposal_record, proposal_records),
    target("frame-length", frame_length, || vec![vec![0, 0, 1, 0]]),
    target("package-name", |bytes| text::<PackageName>(bytes, true), || texts(&["rocket"])),
    target("handle", |bytes| text::<Handle>(bytes, true), || texts(&["alice.dev"])),
    target("ref-name", |bytes| text::<RefName>(bytes, true), || texts(&["feature/night-sky"])),
    target("path", path, || texts(&["a/b.txt"])),
    target("version", |bytes| text::<Version>(bytes, true), || texts(&["1.2.3-rc.1"])),
    target("version-req", |bytes| text::<VersionReq>(bytes, false), || texts(&[">=0.3, <0.5"])),
    target("reference", |bytes| text::<Reference>(bytes, false), references),
    target("qualified-name", |bytes| text::<QualifiedName>(bytes, false), references),
    target("link", |bytes| text::<Link>(bytes, false), links),
    target(
        "invitation",
        |bytes| text::<Invitation>(bytes, false),
        || texts(&[&format!("syncra-pair:4821-k3v9-x2m4?at={ADDRESS}")]),
    ),
    target("peer-address", |bytes| text::<PeerAddress>(bytes, true), || vec![ADDRESS.into()]),
    target("package-id", |bytes| text::<PackageId>(bytes, true), || vec![package().to_string().into()]),
    target("device-key", |bytes| text::<DeviceKey>(bytes, true), || vec![secret(1).public().to_string().into()]),
    target("journal-record", journal_record, Vec::new),
    Target { allocates: FRAME_BYTES, ..target("syncpack", syncpack_file, syncpacks) },
    target("config", config, || texts(&["profile = \"lan\"\n[limits]\npeers = 7\n"])),
    // The user's own file, which is bounded: of each part of a dotted key the library keeps what stands around it.
    Target { per_byte: 512, ..target("config-edit", config_edit, config_edits) },
    target("api-address", api_address, || texts(&["unix:/a", "http://[::1]:80/"])),
];

/// A text that is printed again: letter for letter, or as a canonical form that means the same.
fn text<T: FromStr<Err: Display> + Display + PartialEq + Debug>(bytes: &[u8], exact: bool) {
    let Ok(text) = from_utf8(bytes) else { return };
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            assert!(!exact || printed == text, "{text:?} is printed as {printed:?}");
            assert_eq!(printed.parse::<T>().ok().as_ref(), Some(&value), "{text:?} is printed as {printed:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn same(bytes: &[u8], again: Option<Vec<u8>>) {
    if let Some(again) = again {
        assert_eq!(again, bytes, "accepted, but spelt otherwise");
    }
}

fn entry(bytes: &[u8]) {
    if let Ok(Decoded::Known(entry)) = entry::decode(bytes) {
        let again = entry::Entry { seen: entry.seen, body: entry.body }.encode();
        assert_eq!(again.as_deref(), Ok(bytes));
    }
}

fn genesis(bytes: &[u8]) {
    let package = PackageId::from(EntryId::of(bytes));
    if let Ok(mut evidence) = Evidence::open(package, bytes) {
        assert_eq!(evidence.genesis_bytes(), bytes);
        let _ = evidence.admit_identity(bytes);
        let _ = evidence.fold();
    }
}

fn note(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes) {
        let lines: String = note.signatures().iter().map(|line| format!("{}\n", line.line)).collect();
        assert_eq!(format!("{}\n{lines}", note.text()).as_bytes(), bytes);
    }
}

fn head(bytes: &[u8]) {
    if let Ok(head) = Head::verify(bytes) {
        assert_eq!(head.note(), bytes);
        assert_eq!(
            Head::verify(head.without_cosignatures().note()).map(|again| *again.checkpoint()),
            Ok(*head.checkpoint())
        );
    }
}

fn cosigned(bytes: &[u8]) {
    let Ok(head) = Head::verify(bytes) else { return };
    let found = Cosignature::all_of(&head, &[witness_key()], Timestamp(u64::MAX >> 1));
    assert!(found.iter().all(|cosignature| cosignature.checkpoint() == head.checkpoint()));
    let proof = ForkProof::carried_by(&head);
    assert!(proof.as_ref().is_none_or(|proof| proof.origin() == head.origin()));
    let again = head.with_evidence(proof.as_ref(), None, &found);
    assert_eq!(Cosignature::all_of(&again, &[witness_key()], Timestamp(u64::MAX >> 1)), found);
    assert_eq!(ForkProof::carried_by(&again), proof);
}

fn inclusion(bytes: &[u8]) {
    same(bytes, InclusionProof::decode(bytes).ok().map(|proof| proof.encode()));
    if let Ok(proof) = InclusionProof::decode(bytes) {
        let log = some_log();
        let leaf = log.leaf(3).expect("it has more");
        let holds = proof.verify(&leaf, &log.checkpoint()).is_ok();
        assert!(!holds || (proof.index(), proof.size()) == (3, log.size()), "a false proof");
    }
}

fn consistency(bytes: &[u8]) {
    same(bytes, ConsistencyProof::decode(bytes).ok().map(|proof| proof.encode()));
}

fn prefix(bytes: &[u8]) {
    same(bytes, PrefixProof::decode(bytes).ok().map(|proof| proof.encode()));
    if let Ok(proof) = PrefixProof::decode(bytes) {
        let _ = proof.roots();
    }
}

fn fork(bytes: &[u8]) {
    same(bytes, ForkProof::verify(bytes).ok().map(|proof| proof.encode()));
}

fn fork_point(bytes: &[u8]) {
    let point = ForkPoint::verify(two_histories().0, bytes).ok();
    same(bytes, point.as_ref().map(ForkPoint::encode));
    assert!(point.is_none_or(|point| point.n_common() == FORKED_AT), "shown to part elsewhere");
}

fn node(bytes: &[u8]) {
    same(bytes, Node::decode(bytes).ok().map(|node| node.encode()));
}

fn chunk_list(bytes: &[u8]) {
    same(bytes, ChunkList::decode(bytes).ok().map(|list| list.encode()));
}

fn hash_seq(bytes: &[u8]) {
    same(bytes, HashSeq::decode(bytes).ok().map(|list| list.encode()));
}

fn manifest_text(bytes: &[u8]) {
    if let Ok(text) = from_utf8(bytes)
        && let Err(error) = Manifest::parse(text)
    {
        assert!(!error.to_string().is_empty());
    }
}

fn manifest(bytes: &[u8]) {
    same(bytes, ResolvedManifest::decode(bytes).ok().map(|manifest| manifest.canonical_bytes()));
}

fn log_request(bytes: &[u8]) {
    same(bytes, log::decode_request(bytes).ok().map(|request| log::encode_request(&request)));
}

fn log_answer(bytes: &[u8]) {
    same(bytes, log::decode_answer(bytes).ok().map(|answer| log::encode_answer(&answer)));
}

fn propose_request(bytes: &[u8]) {
    same(bytes, propose::decode_request(bytes).ok().map(|request| codec::encode(&request)));
}

fn propose_answer(bytes: &[u8]) {
    same(bytes, propose::decode_answer(bytes).ok().map(|answer| codec::encode(&answer)));
}

fn proposal_record(bytes: &[u8]) {
    same(bytes, proposal::Record::decode(bytes).ok().map(|record| record.bytes().to_vec()));
}

fn proposal_records() -> Vec<Vec<u8>> {
    let secret = DeviceSecret::from_seed(&[5; 32]);
    let release = ReleaseId::from_bytes([3; 32]);
    let offered = Said::Proposal {
        class: RefClass::Channel,
        name: RefName::stable(),
        release,
        title: "Fins".to_owned(),
        is_withdrawn: false,
    };
    let review = Said::Review { release, verdict: Verdict::RequestChanges, text: "upside down".to_owned() };
    let statement = |said| proposal::Statement {
        target: PackageId::from_bytes([1; 32]),
        proposal: PackageId::from_bytes([2; 32]),
        by: IdentityId::from_bytes([4; 32]),
        device: secret.public(),
        number: 0,
        rev: 300,
        said,
    };
    [offered, review]
        .map(|said| proposal::Record::sign(statement(said), &secret).expect("our own values").bytes().to_vec())
        .into()
}

fn have_request(bytes: &[u8]) {
    same(bytes, have::decode_request(bytes).ok().map(|request| have::encode_request(&request)));
}

fn a_draft() -> draft::Draft {
    draft::Draft {
        package: PackageId::from_bytes([1; 32]),
        name: RefName::parse("work").expect("a name"),
        rev: 7,
        tree_id: TreeId::from_bytes([2; 32]),
        content_root: ContentRoot::from_bytes([3; 32]),
        total_bytes: 9,
        n_files: 1,
    }
}

fn draft_answers() -> Vec<Vec<u8>> {
    let signed = draft::SignedDraft::sign(&a_draft(), &DeviceSecret::from_seed(&[1; 32]));
    let answers = [draft::Answer::Refused(Refusal::NotFound), draft::Answer::Unchanged, draft::Answer::Draft(signed)];
    answers.iter().map(codec::encode).collect()
}

fn draft_itself(bytes: &[u8]) {
    same(bytes, draft::decode_draft(bytes).ok().map(|draft| codec::encode(&draft)));
}

fn draft_request(bytes: &[u8]) {
    same(bytes, draft::decode_request(bytes).ok().map(|request| codec::encode(&request)));
}

fn draft_answer(bytes: &[u8]) {
    same(bytes, draft::decode_answer(bytes).ok().map(|answer| codec::encode(&answer)));
}

fn element() -> pair::Element {
    syncra_protocol::bounded::Blob(vec![1; pair::ELEMENT_BYTES])
}

fn pair_hello(bytes: &[u8]) {
    same(bytes, pair::decode_hello(bytes).ok().map(|hello| codec::encode(&hello)));
}

fn pair_reply(bytes: &[u8]) {
    same(bytes, pair::decode_reply(bytes).ok().map(|reply| codec::encode(&reply)));
}

fn pair_confirm(bytes: &[u8]) {
    same(bytes, pair::decode_confirm(bytes).ok().map(|confirm| codec::encode(&confirm)));
}

fn pair_verdict(bytes: &[u8]) {
    same(bytes, pair::decode_verdict(bytes).ok().map(|verdict| codec::encode(&verdict)));
}

fn have_answer(bytes: &[u8]) {
    same(bytes, have::decode_answer(bytes).ok().map(|answer| have::encode_answer(&answer)));
}

fn frame_length(bytes: &[u8]) {
    if let Some(prefix) = bytes.first_chunk()
        && let Ok(length) = frame::length(*prefix)
    {
        assert!(length <= FRAME_BYTES);
        assert_eq!(frame::prefix(length), Ok(*prefix));
    }
}

fn path(bytes: &[u8]) {
    let parsed = EntryPath::parse_bytes(bytes);
    assert_eq!(parsed.is_ok(), from_utf8(bytes).is_ok_and(|text| EntryPath::parse(text).is_ok()));
    if let Ok(path) = parsed {
        assert_eq!(path.as_str().as_bytes(), bytes);
        let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
        assert!(std::path::Path::new(path.as_str()).components().all(is_plain), "{path} leaves its directory");
    }
}

/// The first byte is the kind.
fn journal_record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    if let Ok(record) = Record::decode(*kind, payload) {
        assert_eq!((record.kind(), &*record.encode()), (*kind, payload));
    }
}

fn syncpack_file(bytes: &[u8]) {
    let Ok(mut reader) = syncpack::Reader::open(bytes) else { return };
    let mut again = syncpack::MAGIC.to_vec();
    while let Ok(Some(frame)) = reader.read() {
        again.extend(frame.encode());
        assert!(bytes.starts_with(&again), "a frame is spelt otherwise");
    }
}

fn config(bytes: &[u8]) {
    if let Ok(text) = from_utf8(bytes)
        && let Err(error) = Config::parse(text)
    {
        assert!(!error.to_string().is_empty());
    }
}

/// `KEY=VALUE`, a line end, and the file that is to be changed.
fn config_edit(bytes: &[u8]) {
    let Some((setting, file)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let (key, value) = setting.split_once('=').map_or((setting, None), |(key, value)| (key, Some(value)));
    if let Ok(edited) = Config::edit(file, key, value) {
        assert!(Config::parse(&edited).is_ok());
    }
}

fn api_address(bytes: &[u8]) {
    let _ = from_utf8(bytes).map(Address::parse);
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn references() -> Vec<Vec<u8>> {
    texts(&["@alice~k3v4x2m4q7ab/rocket@^1.2", "@alice.dev/rocket@feature/x", "@a/b"])
}

fn config_edits() -> Vec<Vec<u8>> {
    let dotted = format!("limits.peers=7\nlimits{} = 1\n", ".)pe".repeat(120));
    [vec![dotted.into_bytes()], texts(&["limits.peers=7\n# mine\n[limits] # x\npeers = 1\n"])].concat()
}

const ADDRESS: &str = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";

fn links() -> Vec<Vec<u8>> {
    let package = package();
    let full = format!("syncra:{package}@%5E1.2?name=@alice~k3v4x2m4q7ab/rocket&at={ADDRESS}&x=%20");
    texts(&[&full, &format!("< syncra:{package}@stable >")])
}

fn secret(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n; 32])
}

fn package() -> PackageId {
    PackageId::from_bytes([6; 32])
}

fn root() -> ContentRoot {
    ContentRoot::from_bytes([7; 32])
}

fn origin() -> Origin {
    Origin::package(package(), secret(1).public())
}

fn some_log() -> Log {
    log_of(11, 0)
}

/// The last entry tells logs apart.
fn log_of(n_entries: u8, last: u8) -> Log {
    let mut log = Log::new(origin());
    for n in 1..n_entries {
        log.append(&[n; 9]).expect("a small log");
    }
    log.append(&[last; 10]).expect("a small log");
    log
}

fn head_of(log: &Log) -> Head {
    Head::sign(&secret(1), log.checkpoint()).expect("its key")
}

fn notes() -> Vec<Vec<u8>> {
    [some_log(), log_of(1, 1)].iter().map(|log| head_of(log).note().to_vec()).collect()
}

fn witness_key() -> WitnessKey {
    WitnessKey::of(secret(2).public())
}

fn cosigned_notes() -> Vec<Vec<u8>> {
    let (log, other) = (some_log(), log_of(11, 5));
    let head = head_of(&log);
    let mut witness = Witness::new(secret(2).public());
    witness.record(Statement::recall(&head, Timestamp(1_679_315_147_000))).expect("the first");
    let said = witness.cosignature(&secret(2), head.origin()).expect("recorded");
    let fork = ForkProof::new(&head, &head_of(&other), None).expect("a fork");
    vec![
        head.with_evidence(None, None, [&said]).note().to_vec(),
        head.with_evidence(Some(&fork), None, [&said]).note().to_vec(),
    ]
}

fn proofs() -> Vec<Vec<u8>> {
    let log = some_log();
    let inclusion = log.prove_inclusion(3, 11).expect("inside").encode();
    let consistency = log.prove_consistency(6, 11).expect("inside").encode();
    vec![inclusion, consistency, log.prove_prefix(6, 11).expect("inside").encode()]
}

fn forks() -> Vec<Vec<u8>> {
    let (a, b, long) = (log_of(5, 1), log_of(5, 2), log_of(9, 3));
    let equal = ForkProof::new(&head_of(&a), &head_of(&b), None).expect("a fork");
    let longer = ForkProof::from_log(&long, &head_of(&a), &head_of(&long)).expect("a fork");
    vec![equal.encode(), longer.encode()]
}

/// Where two histories part.
const FORKED_AT: u64 = 4;

/// Two histories of one log, and the proof.
fn two_histories() -> (ForkProof, Log, Log) {
    let (mut a, mut b) = (Log::new(origin()), Log::new(origin()));
    for index in 0..11 {
        a.append(&[index]).expect("short");
        b.append(&[if u64::from(index) < FORKED_AT { index } else { 99 }]).expect("short");
    }
    let head = head_of(&a);
    let proof = ForkProof::from_log(&a, &head, &head_of(&b)).expect("a fork");
    (proof, a, b)
}

fn fork_points() -> Vec<Vec<u8>> {
    let (proof, a, b) = two_histories();
    vec![ForkPoint::between(proof, &a, &b).expect("both are here").encode()]
}

fn log_requests() -> Vec<Vec<u8>> {
    let requests = [
        log::Request::Heads { package: package() },
        log::Request::Entries { origin: origin(), from: 300, limit: 7 },
        log::Request::Watch { packages: vec![package()].into_iter().collect() },
        log::Request::Offers { after: Some(package()) },
    ];
    requests.iter().map(log::encode_request).collect()
}

fn log_answers() -> Vec<Vec<u8>> {
    let (blob, note) = (|| Blob(vec![3; 9]), || Blob(vec![4; 99]));
    let hashes = || vec![LogHash::from_bytes([4; 32]); 2];
    let answers = [
        log::Answer::Heads(log::Heads {
            package_genesis: blob(),
            identity_geneses: vec![blob()],
            notes: vec![note(), note()],
        }),
        log::Answer::Entries(log::Entries { note: note(), prefix: hashes(), reached: hashes(), entries: vec![blob()] }),
        log::Answer::Notice { package: package(), note: note() },
        log::Answer::Offers(log::Offers {
            offers: vec![log::Offer { package: package(), frontier: [1; 32] }],
            more: true,
        }),
        log::Answer::Refused(Refusal::Busy { retry_after_ms: 900 }),
    ];
    answers.iter().map(log::encode_answer).collect()
}

fn syncpacks() -> Vec<Vec<u8>> {
    let frames = [
        syncpack::Frame::Package(syncpack::PackageFrame {
            package: package(),
            genesis: vec![1; 9],
            identities: vec![vec![2; 9]],
        }),
        syncpack::Frame::Log(syncpack::LogFrame { origin: origin(), note: vec![3; 9] }),
        syncpack::Frame::Entries(vec![vec![4; 9], vec![5; 9]]),
        syncpack::Frame::Blob(vec![6; 99]),
    ];
    let mut bytes = syncpack::MAGIC.to_vec();
    frames.iter().for_each(|frame| bytes.extend(frame.encode()));
    vec![bytes]
}
