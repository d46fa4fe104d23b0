//! The bytes of a node's truth on disk, frozen: what an older version wrote must be read for ever.
#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing is a failed test")]

#[path = "protocol/decoders.rs"]
mod decoders;
#[path = "state/fixtures.rs"]
mod fixtures;
#[path = "state/places.rs"]
mod places;
#[path = "state/wire.rs"]
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use syncra_node::config::Config;
use syncra_node::flow::syncpack::frame::{self, Frame, LogFrame, PackageFrame};
use syncra_node::home::{Fingerprint, Home};
use syncra_node::index::Index;
use syncra_node::journal::{
    FirstSeen, Follow, ForkCommon, ForkPointShown, ForkedLog, Handle, HomeOrigin, ImportedRoot, Journal, KnownHead,
    LogTestimony, OwnAppend, OwnNote, OwnRoot, Petname, Record, Regard, Stated, Testimony, Trust, Unfollow, Witnessed,
};
use syncra_node::logs::Logs;
use syncra_protocol::Timestamp;
use syncra_protocol::id::{BlobId, ContentRoot, EntryId, IdentityId, LogHash, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Origin;

const KEY: DeviceKey = DeviceKey::from_bytes([1; 32]);
const PACKAGE: PackageId = PackageId::from_bytes([6; 32]);
const IDENTITY: IdentityId = IdentityId::from_bytes([5; 32]);

fn here() -> HomeOrigin {
    HomeOrigin { fingerprint: Fingerprint::from_bytes([9; 32]), device: KEY }
}

/// At least one record of every kind, in the order of the vectors.
fn records() -> Vec<Record> {
    let (own, foreign) = (Origin::package(PACKAGE, KEY), Origin::identity(IDENTITY, DeviceKey::from_bytes([2; 32])));
    let (root, entries) = (LogHash::from_bytes([3; 32]), vec![b"one".to_vec(), vec![0xff; 200]]);
    vec![
        here().into(),
        OwnAppend { origin: own, old_size: 0, new_size: 2, root, entries }.into(),
        OwnNote { origin: own, size: 2, root, note: b"note".to_vec() }.into(),
        KnownHead { origin: foreign, size: 300, root, note: b"head".to_vec() }.into(),
        FirstSeen { entry: EntryId::from_bytes([7; 32]), at: Timestamp(1_700_000_000_123) }.into(),
        Follow { package: PACKAGE, channel: Some("stable".to_owned()) }.into(),
        Follow { package: PackageId::from_bytes([8; 32]), channel: None }.into(),
        Unfollow { package: PackageId::from_bytes([8; 32]) }.into(),
        Trust { identity: IDENTITY, regard: Regard::Blocked }.into(),
        Petname { identity: IDENTITY, name: Some("Änne".to_owned()) }.into(),
        Handle { text: "bob".to_owned() }.into(),
        ForkedLog { origin: foreign, proof: vec![1, 2, 3] }.into(),
        OwnRoot { content_root: ContentRoot::from_bytes([12; 32]), package: PACKAGE, kept: true }.into(),
        ForkCommon { origin: foreign, n_common: 200 }.into(),
        ImportedRoot { content_root: ContentRoot::from_bytes([14; 32]), package: PACKAGE, kept: true }.into(),
        Stated { origin: foreign, size: 300, root, note: b"head".to_vec(), seconds: 1_700_000_000 }.into(),
        LogTestimony { origin: foreign, testimony: Testimony { by: vec![witnessed()] } }.into(),
        ForkPointShown { origin: foreign, proof: vec![1, 2, 3], point: vec![4, 5] }.into(),
    ]
}

fn witnessed() -> Witnessed {
    Witnessed {
        name: "witness.example/one".to_owned(),
        key: DeviceKey::from_bytes([4; 32]),
        size: 300,
        root: LogHash::from_bytes([3; 32]),
        seconds: 1_700_000_000,
        signature: vec![5; 64],
        moments: vec![(1, 1_600_000_000), (300, 1_700_000_000)],
    }
}

fn hex(path: &Path) -> String {
    data_encoding::HEXLOWER.encode(&fs::read(path).unwrap())
}

#[test]
fn the_bytes_of_the_state_are_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(&dir.path().join("journal"), here()).unwrap();
    for record in records() {
        journal.append_blocking(record).unwrap();
    }
    journal.close_blocking();
    let logs = Logs::open(&dir.path().join("logs"), Index::in_memory()).unwrap();
    logs.append(&Origin::package(PACKAGE, KEY), 0, &[b"one".to_vec(), b"two".to_vec()]).unwrap();
    logs.append(&Origin::identity(IDENTITY, KEY), 200, &[vec![7; 130]]).unwrap();
    logs.sync().unwrap();
    let vectors = json!({
        "device_key": data_encoding::HEXLOWER.encode(&key_file()),
        "seed": data_encoding::HEXLOWER.encode(&[7; 32]),
        "journal": hex(&dir.path().join("journal/00000001.seg")),
        "mark": hex(&dir.path().join("journal/mark")),
        "logs": hex(&dir.path().join("logs/00000001.seg")),
    });
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/state.json");
    if std::env::var_os("SYNCRA_WRITE_VECTORS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "the bytes of the state on disk changed");
}

/// The key file of the seed of sevens, as a first start writes it.
fn key_file() -> Vec<u8> {
    let check = data_encoding::HEXLOWER.decode(b"44d957a220cd4ae0385aca9c21b16b40").unwrap();
    [b"SYNK\x01".as_slice(), &[7; 32], &check].concat()
}

#[test]
fn a_restored_key_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    fs::write(home.layout().device_key(), key_file()).unwrap();
    assert_eq!(home.device_secret().unwrap().seed(), [7; 32]);
}

/// The independent decoder knows the format from `docs/spec/state.md` alone.
#[test]
fn an_independent_decoder_reads_the_state_vectors() {
    let run = std::process::Command::new("python3")
        .arg("check_state.py")
        .arg("state.json")
        .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors"))
        .output();
    let Ok(run) = run else {
        return syncra_tests::skip("an_independent_decoder_reads_the_state_vectors", "no python3");
    };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert_eq!(said.trim(), format!("{} records agree", records().len()));
}

#[test]
fn damaged_records_are_refused_or_themselves() {
    let more = (0..10).map(|n| Petname { identity: IDENTITY, name: Some("é".repeat(n)) }.into());
    let records: Vec<Record> = records().into_iter().chain(more).collect();
    let seeds: Vec<_> = records.iter().map(|record| [&[record.kind()][..], &record.encode()].concat()).collect();
    let trial = decoders::try_decoder("journal record", &seeds, |bytes| {
        let (kind, payload) = bytes.split_first()?;
        let record = Record::decode(*kind, payload).ok()?;
        Some([&[record.kind()][..], &record.encode()].concat())
    });
    assert!(trial.n_accepted < trial.n_tried);
}

/// A stick's file: every damage is found by its sum at the latest.
#[test]
fn damaged_syncpacks_are_refused_or_themselves() {
    let file = |n: u8| {
        let frames = [
            Frame::Package(PackageFrame { package: PACKAGE, genesis: vec![n; 9], identities: vec![vec![n; 3]] }),
            Frame::Log(LogFrame { origin: Origin::package(PACKAGE, KEY), note: vec![n; 5] }),
            Frame::Entries(vec![vec![n; 7]; usize::from(n % 3)]),
            Frame::Blob(vec![n; usize::from(n)]),
        ];
        let mut bytes = frame::MAGIC.to_vec();
        frames.iter().take(1 + usize::from(n % 4)).for_each(|frame| bytes.extend(frame.encode()));
        bytes
    };
    let ended = |mut bytes: Vec<u8>| {
        let sum = *BlobId::of(&bytes).as_bytes();
        bytes.extend(Frame::End(sum).encode());
        bytes
    };
    let seeds: Vec<_> = (0..20).map(|n| ended(file(n))).collect();
    let trial = decoders::try_decoder("syncpack", &seeds, |bytes| {
        let mut reader = frame::Reader::open(bytes).ok()?;
        let mut again = frame::MAGIC.to_vec();
        while let Some(frame) = reader.read().ok()? {
            again.extend(frame.encode());
        }
        Some(ended(again))
    });
    assert_eq!(trial.n_accepted, 0);
}

#[test]
fn settings_survive_every_damage() {
    let lines = ["profile = \"lan\"", "log = 'debug'", "listen = [\"/ip4/0.0.0.0/tcp/1\"]", "limits.peers = 7 # few"];
    let tables = ["", "[api]\nlisten = \"[::1]:80\"\n", "[limits]\npeers = 1_0\n", "# a remark\n", "api = {}\n"];
    let texts = lines.iter().flat_map(|line| tables.iter().map(move |table| format!("{line}\n{table}")));
    let seeds: Vec<_> = texts.filter(|text| Config::parse(text).is_ok()).map(String::into_bytes).collect();
    let more = (1..4).map(|n| format!("limits.peers = {n}\n").into_bytes());
    let seeds: Vec<_> = seeds.into_iter().chain(more).collect();
    decoders::try_decoder("settings", &seeds, |bytes| match Config::parse(std::str::from_utf8(bytes).ok()?) {
        Ok(_) => Some(bytes.to_vec()),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    });
}
