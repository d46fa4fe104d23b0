//! Entries: canonical bytes, frozen vectors, and what decoders refuse.

use std::path::PathBuf;

use syncra_protocol::entry::{
    AddDevice, Body, Cut, Decoded, Dependency, DeviceCuts, DeviceRole, Entry, EntryError, HEADER_BYTES, Recover,
    RefClass, Role, Roles, Statement, StatementId, Suspend, decode,
};
use syncra_protocol::id::{BlobId, EntryId, IdentityId, LogHash, PackageId, ReleaseId, base32};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::limits::{DEVICE_CUTS, ENTRY_BYTES, ROLE_CHANGES, ROLE_CUTS, SEEN_PER_ENTRY};
use syncra_protocol::version::VersionReq;

use crate::decoders::try_decoder;
use crate::entry_samples::samples;

fn recode(bytes: &[u8]) -> Option<Vec<u8>> {
    match decode(bytes) {
        Ok(Decoded::Known(entry)) => Some(entry.encode().unwrap()),
        Ok(Decoded::Unknown { .. }) => Some(bytes.to_vec()),
        Err(_) => None,
    }
}

#[test]
fn damaged_entries_are_refused_or_themselves() {
    // The full one has as many bytes as all others together and nothing that they lack.
    let seeds = samples().into_iter().filter(|(name, _)| *name != "seen, full");
    let seeds: Vec<_> = seeds.map(|(_, entry)| entry.encode().unwrap()).collect();
    let trial = try_decoder("entry", &seeds, recode);
    assert!(trial.n_tried > 15_000, "{trial:?}");
    // A flip inside a hash makes another entry; one in a tag, length, flag or sequence must not.
    assert!(trial.n_accepted < trial.n_tried, "{trial:?}");
}

/// `SYNCRA_WRITE_VECTORS=1` writes the file again: that is a change of format and wants a line in the changelog.
#[test]
fn vectors_are_frozen() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/entries.json");
    let vectors: Vec<_> = samples()
        .iter()
        .map(|(name, entry)| {
            let bytes = entry.encode().unwrap();
            let Decoded::Known(again) = decode(&bytes).unwrap() else { panic!("{name} is unknown") };
            assert_eq!(again, *entry, "{name}");
            serde_json::json!({
                "name": name,
                "kind": entry.body.kind(),
                "bytes": hex(&bytes),
                "id": EntryId::of(&bytes).to_string(),
                "fields": fields(entry),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    if std::env::var_os("SYNCRA_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the bytes of an entry changed");
}

/// The independent decoder knows the format from `docs/spec/entries.md` alone.
#[test]
fn an_independent_decoder_reads_the_vectors() {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let run = std::process::Command::new("python3")
        .arg("check_entries.py")
        .arg("entries.json")
        .current_dir(&vectors)
        .output();
    let Ok(run) = run else { return syncra_tests::skip("an_independent_decoder_reads_the_vectors", "no python3") };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert_eq!(said.trim(), format!("{} entries agree", samples().len()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry as the independent decoder prints it: ids as base32, key = position in the spec's tables.
fn fields(entry: &Entry) -> serde_json::Value {
    use serde_json::json;
    let seen: Vec<_> = entry
        .seen
        .iter()
        .map(|head| json!({"origin": head.origin.to_string(), "size": head.size, "root": head.root.to_string()}))
        .collect();
    let body = match &entry.body {
        Body::PackageGenesis(body) => json!({
            "kind": body.kind.to_string(),
            "owners": body.owners.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "owner_threshold": body.owner_threshold,
            "creator": body.creator.to_string(),
            "log_key": body.log_key.to_string(),
            "nonce": base32(&body.nonce),
        }),
        Body::PackageJoin(body) => json!({"package": body.package.to_string(), "identity": body.identity.to_string()}),
        Body::Roles(body) => roles(body),
        Body::Endorse(body) => json!({"entry": body.entry.to_string()}),
        Body::Release(body) => json!({
            "version": body.version.to_string(),
            "tree_id": body.tree_id.to_string(),
            "content_root": body.content_root.to_string(),
            "manifest": body.manifest.to_string(),
            "total_bytes": body.total_bytes,
            "n_files": body.n_files,
            "dependencies": body.dependencies.iter()
                .map(|dependency| json!([dependency.package.to_string(), dependency.req.to_string()]))
                .collect::<Vec<_>>(),
            "engine": body.engine.as_ref().map(ToString::to_string),
            "parents": body.parents.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "note": body.note.map(|id| id.to_string()),
        }),
        Body::Ref(body) => json!({
            "class": body.class.to_string(),
            "name": body.name.to_string(),
            "old": body.old.map(|id| id.to_string()),
            "new": body.new.map(|id| id.to_string()),
        }),
        Body::Yank(body) => json!({
            "release": body.release.to_string(),
            "undo": body.undo,
            "reason": body.reason.map(|id| id.to_string()),
        }),
        Body::Redact(body) => json!({
            "blobs": body.blobs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "reason": body.reason.to_string(),
        }),
        Body::ForkResolve(body) => json!({
            "log": body.log.to_string(),
            "cut": {"size": body.cut.size, "root": body.cut.root.to_string()},
        }),
        Body::Seen => json!({}),
        Body::IdentityGenesis(body) => json!({
            "log_key": body.log_key.to_string(),
            "recovery": base32(&body.recovery),
            "nonce": base32(&body.nonce),
        }),
        Body::IdentityJoin(body) => json!({"identity": body.identity.to_string()}),
        Body::AddDevice(body) => added(body),
        Body::Suspend(body) => cuts(&body.cuts),
        Body::Recover(body) => json!({
            "identity": body.statement.identity.to_string(),
            "previous": body.statement.previous.map(|id| base32(&id.0)),
            "admit": body.statement.admit.as_ref().map(added),
            "revoke": body.statement.revoke.iter().map(cuts).collect::<Vec<_>>(),
            "lift": body.statement.lift.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "next": base32(&body.statement.next),
            "key": body.key.to_string(),
            "signature": [base32(&body.signature.0), base32(&body.signature.1)],
        }),
        Body::Name(body) => {
            json!({"name": body.name.to_string(), "package": body.package.map(|id| id.to_string())})
        }
        Body::Handle(body) => json!({"handle": body.handle.to_string()}),
    };
    json!({"seen": seen, "body": body})
}

fn roles(roles: &Roles) -> serde_json::Value {
    use serde_json::json;
    let cut = |cut: &Option<Cut>| cut.map(|cut| json!({"size": cut.size, "root": cut.root.to_string()}));
    let role = |role: &Option<Role>| role.map(|role| role.to_string());
    json!({
        "previous": roles.previous.map(|id| id.to_string()),
        "changes": roles.changes.iter().map(|(id, to)| json!([id.to_string(), role(to)])).collect::<Vec<_>>(),
        "owner_threshold": roles.owner_threshold,
        "protect": roles.protect.iter()
            .map(|(class, name, is_protected)| json!([class.to_string(), name.to_string(), is_protected]))
            .collect::<Vec<_>>(),
        "cuts": roles.cuts.iter().map(|(key, at)| json!([key.to_string(), cut(at)])).collect::<Vec<_>>(),
        "rules": roles.rules,
    })
}

fn added(add: &AddDevice) -> serde_json::Value {
    let role = match add.role {
        DeviceRole::Manager => "manager",
        DeviceRole::Publisher => "publisher",
    };
    serde_json::json!({"device": add.device.to_string(), "role": role, "label": add.label.to_string()})
}

fn cuts(cuts: &DeviceCuts) -> serde_json::Value {
    use serde_json::json;
    let cut = |cut: &Option<Cut>| cut.map(|cut| json!({"size": cut.size, "root": cut.root.to_string()}));
    let packages: Vec<_> = cuts.packages.iter().map(|(id, at)| json!([id.to_string(), cut(at)])).collect();
    json!({"device": cuts.device.to_string(), "identity": cut(&cuts.identity), "packages": packages})
}

fn with_header(version: u8, kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_le_bytes();
    [b"SYNE", &[version, kind, flags][..], &len, body].concat()
}

#[test]
fn later_kinds_and_versions_are_unknown_and_their_seen_is_read() {
    let (_, sample) = samples().into_iter().find(|(name, _)| *name == "release that saw two heads").unwrap();
    let body = &sample.encode().unwrap()[HEADER_BYTES..];
    for (version, kind, critical) in [(1, 14, true), (1, 13, false), (2, 5, true), (2, 12, false), (1, 255, false)] {
        let bytes = with_header(version, kind, u8::from(critical), body);
        let seen = sample.seen.clone();
        assert_eq!(decode(&bytes), Ok(Decoded::Unknown { kind, version, critical, seen }));
    }
    let no_seen = with_header(1, 200, 0, &[]);
    assert!(matches!(decode(&no_seen), Err(EntryError::Body { kind: 200, .. })));
}

#[test]
fn headers_are_strict() {
    let seen = Entry::new(Body::Seen).encode().unwrap();
    assert_eq!(seen, with_header(1, 12, 0, &[0]));
    assert_eq!(decode(&with_header(1, 12, 1, &[0])), Err(EntryError::Flags { kind: 12, flags: 1 }));
    assert_eq!(decode(&with_header(1, 99, 2, &[0])), Err(EntryError::Flags { kind: 99, flags: 2 }));
    assert_eq!(decode(&seen[..HEADER_BYTES]), Err(EntryError::Length { declared: 1, actual: 0 }));
    assert_eq!(decode(b"SYNF\x01\x0c\x00\x01\x00\x00"), Err(EntryError::Header));
    assert_eq!(decode(&[0; ENTRY_BYTES + 1]), Err(EntryError::TooLong { len: ENTRY_BYTES + 1 }));
}

#[test]
fn what_may_not_be_read_may_not_be_written() {
    let all = samples();
    let full = &all.iter().find(|(name, _)| *name == "seen, full").unwrap().1;
    assert_eq!(full.seen.len(), SEEN_PER_ENTRY);
    let broken = |change: &dyn Fn(&mut Entry)| {
        let mut entry = full.clone();
        change(&mut entry);
        entry.encode()
    };
    assert!(matches!(broken(&|e| e.seen.push(e.seen[31])), Err(EntryError::Rule { kind: 12, .. })));
    assert!(matches!(broken(&|e| e.seen.swap(0, 1)), Err(EntryError::Rule { .. })));
    assert!(matches!(broken(&|e| e.seen[1] = e.seen[0]), Err(EntryError::Rule { .. })));
    assert!(matches!(broken(&|e| e.seen[3].size = 0), Err(EntryError::Rule { .. })));

    for (name, entry) in all {
        for body in broken_bodies(&entry.body) {
            assert!(matches!(Entry::new(body).encode(), Err(EntryError::Rule { .. })), "{name}");
        }
    }
}

fn broken_bodies(body: &Body) -> Vec<Body> {
    fn with<T: Clone>(value: &T, change: impl Fn(&mut T)) -> T {
        let mut value = value.clone();
        change(&mut value);
        value
    }
    match body {
        Body::PackageGenesis(body) => vec![
            with(body, |b| b.owners.push(b.owners[0])),
            with(body, |b| b.owners.clear()),
            with(body, |b| b.creator = IdentityId::from_bytes([0xee; 32])),
            with(body, |b| b.owner_threshold = 0),
            with(body, |b| b.owner_threshold = 17),
        ]
        .into_iter()
        .map(Body::PackageGenesis)
        .collect(),
        Body::Release(body) => vec![
            with(body, |b| b.total_bytes = u64::MAX),
            with(body, |b| b.n_files = u32::MAX),
            with(body, |b| b.parents = vec![ReleaseId::from_bytes([1; 32]); 2]),
            with(body, |b| b.parents = (0..17).map(|n| ReleaseId::from_bytes([n; 32])).collect()),
            with(body, |b| b.dependencies.extend(b.dependencies.clone().into_iter().rev().chain(twice()))),
        ]
        .into_iter()
        .map(Body::Release)
        .collect(),
        Body::Roles(body) => broken_roles(body),
        Body::Ref(body) => vec![Body::Ref(with(body, |b| b.old = b.new))],
        Body::Redact(body) => vec![
            with(body, |b| b.blobs.clear()),
            with(body, |b| b.blobs.insert(0, b.blobs[0])),
            with(body, |b| b.blobs = (0..=64).map(|n| BlobId::from_bytes([n; 32])).collect()),
        ]
        .into_iter()
        .map(Body::Redact)
        .collect(),
        Body::ForkResolve(body) => vec![Body::ForkResolve(with(body, |b| b.cut.size = 0))],
        Body::Suspend(body) => broken_cuts(&body.cuts).map(|cuts| Body::Suspend(Suspend { cuts })).collect(),
        Body::Recover(body) => vec![
            with(body, |b| b.signature.0[0] ^= 1),
            with(body, |b| b.key = DeviceKey::from_bytes([0; 32])),
            with(body, |b| b.statement.next[0] ^= 1),
            with(body, |b| b.statement.previous = Some(StatementId([0; 32]))),
            again(with(&body.statement, |s| s.lift = vec![EntryId::from_bytes([1; 32]); 2])),
            again(with(&body.statement, |s| s.revoke = broken_cuts(&some_cuts()).take(1).collect())),
            again(with(&body.statement, |s| s.revoke = vec![some_cuts(); 2])),
            again(with(&body.statement, |s| s.lift = (0..65).map(|n| EntryId::from_bytes([n; 32])).collect())),
        ]
        .into_iter()
        .map(Body::Recover)
        .collect(),
        _ => Vec::new(),
    }
}

fn broken_roles(roles: &Roles) -> Vec<Body> {
    let one = (IdentityId::from_bytes([1; 32]), Some(Role::Owner));
    let many = |n: usize| 0..=u8::try_from(n).unwrap();
    let name = syncra_protocol::name::RefName::stable();
    let key = |n: u8| DeviceKey::from_bytes([n; 32]);
    [
        Roles { changes: vec![one, one], ..roles.clone() },
        Roles {
            changes: many(ROLE_CHANGES).map(|n| (IdentityId::from_bytes([n; 32]), None)).collect(),
            ..roles.clone()
        },
        Roles { owner_threshold: 0, ..roles.clone() },
        Roles {
            protect: vec![(RefClass::Channel, name.clone(), true), (RefClass::Channel, name, false)],
            ..roles.clone()
        },
        Roles { cuts: vec![(key(1), None), (key(1), None)], ..roles.clone() },
        Roles { cuts: vec![(key(1), Some(Cut { size: 0, root: LogHash::from_bytes([1; 32]) }))], ..roles.clone() },
        Roles { cuts: many(ROLE_CUTS).map(|n| (key(n), None)).collect(), ..roles.clone() },
    ]
    .into_iter()
    .map(Body::Roles)
    .collect()
}

fn again(statement: Statement) -> Recover {
    statement.sign(&DeviceSecret::from_seed(&[0x77; 32]))
}

fn some_cuts() -> DeviceCuts {
    let cut = Cut { size: 1, root: LogHash::from_bytes([1; 32]) };
    let packages = (1..=2).map(|n| (PackageId::from_bytes([n; 32]), Some(cut))).collect();
    DeviceCuts { device: DeviceKey::from_bytes([1; 32]), identity: Some(cut), packages }
}

fn broken_cuts(cuts: &DeviceCuts) -> impl Iterator<Item = DeviceCuts> {
    let none = Cut { size: 0, root: LogHash::from_bytes([1; 32]) };
    let one = PackageId::from_bytes([1; 32]);
    let many = (0..=u16::try_from(DEVICE_CUTS).unwrap()).map(|n| {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        (PackageId::from_bytes(id), None)
    });
    [
        DeviceCuts { packages: vec![(one, None), (one, None)], ..cuts.clone() },
        DeviceCuts { identity: Some(none), ..cuts.clone() },
        DeviceCuts { packages: vec![(one, Some(none))], ..cuts.clone() },
        DeviceCuts { packages: many.collect(), ..cuts.clone() },
    ]
    .into_iter()
}

fn twice() -> [Dependency; 2] {
    let one = Dependency { package: PackageId::from_bytes([7; 32]), req: VersionReq::any() };
    [one.clone(), one]
}
