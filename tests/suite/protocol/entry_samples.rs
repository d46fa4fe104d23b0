//! Entries of every kind, small and full, with names for the vectors.

use syncra_protocol::entry::{
    AddDevice, Body, Cut, Dependency, DeviceCuts, DeviceRole, Endorse, Entry, ForkResolve, HandleClaim,
    IdentityGenesis, IdentityJoin, NameClaim, PackageGenesis, PackageJoin, Redact, RedactReason, RefClass, RefMove,
    Release, Role, Roles, SeenHead, Statement, StatementId, Suspend, Yank,
};
use syncra_protocol::id::{BlobId, ContentRoot, EntryId, IdentityId, LogHash, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::{Handle, PackageName, RefName};
use syncra_protocol::origin::Origin;
use syncra_protocol::version::{Version, VersionReq};

const fn key(n: u8) -> DeviceKey {
    DeviceKey::from_bytes([n; 32])
}

const fn identity(n: u8) -> IdentityId {
    IdentityId::from_bytes([n; 32])
}

const fn package(n: u8) -> PackageId {
    PackageId::from_bytes([n; 32])
}

const fn release_id(n: u8) -> ReleaseId {
    ReleaseId::from_bytes([n; 32])
}

fn seen(origin: Origin, size: u64) -> SeenHead {
    SeenHead { origin, size, root: LogHash::from_bytes([0x5e; 32]) }
}

fn full_seen() -> Vec<SeenHead> {
    let mut heads: Vec<_> = (1..=31).map(|n| seen(Origin::package(package(9), key(n)), u64::from(n) * 200)).collect();
    heads.push(seen(Origin::identity(identity(2), key(1)), u64::MAX));
    heads
}

fn genesis(kind: PackageKind, owners: &[u8], owner_threshold: u8) -> Body {
    Body::PackageGenesis(PackageGenesis {
        kind,
        owners: owners.iter().copied().map(identity).collect(),
        owner_threshold,
        creator: identity(owners[0]),
        log_key: key(7),
        nonce: [0xa5; 16],
    })
}

fn release(version: &str) -> Release {
    Release {
        version: Version::parse(version).unwrap(),
        tree_id: TreeId::from_bytes([1; 32]),
        content_root: ContentRoot::from_bytes([2; 32]),
        manifest: BlobId::from_bytes([3; 32]),
        total_bytes: 300,
        n_files: 4,
        dependencies: Vec::new(),
        engine: None,
        parents: Vec::new(),
        note: None,
    }
}

fn full_release() -> Release {
    let dependency = |n: u8, req: &str| Dependency { package: package(n), req: VersionReq::parse(req).unwrap() };
    Release {
        total_bytes: 1 << 40,
        n_files: 1_000_000,
        dependencies: vec![dependency(1, "^1.2"), dependency(2, ">=0.3, <0.5"), dependency(200, "*")],
        engine: Some(VersionReq::parse("=0.3.1").unwrap()),
        parents: vec![release_id(9), release_id(8)],
        note: Some(BlobId::from_bytes([4; 32])),
        ..release("2.0.0-beta.1")
    }
}

fn ref_move(class: RefClass, name: &str, old: Option<u8>, new: Option<u8>) -> Body {
    Body::Ref(RefMove {
        class,
        name: RefName::parse(name).unwrap(),
        old: old.map(release_id),
        new: new.map(release_id),
    })
}

fn roles() -> Roles {
    let changes = vec![(identity(3), Some(Role::Maintainer))];
    Roles { previous: None, changes, owner_threshold: 1, protect: vec![], cuts: vec![], rules: None }
}

fn full_roles() -> Roles {
    let name = |text: &str| RefName::parse(text).unwrap();
    let changes =
        [(1, None), (2, Some(Role::Owner)), (3, Some(Role::Maintainer)), (4, Some(Role::Contributor))].into_iter();
    Roles {
        previous: Some(EntryId::from_bytes([0x0e; 32])),
        changes: changes.map(|(n, role)| (identity(n), role)).collect(),
        owner_threshold: 3,
        protect: vec![
            (RefClass::Branch, name("main"), true),
            (RefClass::Tag, name("v1"), false),
            (RefClass::Channel, name("stable"), true),
        ],
        cuts: vec![(key(1), Some(cut(12))), (key(2), None)],
        rules: Some(700),
    }
}

fn endorse(n: u8) -> Body {
    Body::Endorse(Endorse { entry: EntryId::from_bytes([n; 32]) })
}

fn fork_resolve(log: u8, size: u64) -> Body {
    Body::ForkResolve(ForkResolve { log: key(log), cut: cut(size) })
}

fn redact(n: u8, reason: RedactReason) -> Body {
    Body::Redact(Redact { blobs: (0..n).map(|n| BlobId::from_bytes([n; 32])).collect(), reason })
}

fn name(name: &str, package: Option<PackageId>) -> Body {
    Body::Name(NameClaim { name: PackageName::parse(name).unwrap(), package })
}

fn add(device: u8, role: DeviceRole, label: &str) -> AddDevice {
    AddDevice { device: key(device), role, label: RefName::parse(label).unwrap() }
}

fn cut(size: u64) -> Cut {
    Cut { size, root: LogHash::from_bytes([0xc7; 32]) }
}

fn cuts(device: u8, identity: Option<u64>, packages: &[(u8, Option<u64>)]) -> DeviceCuts {
    let packages = packages.iter().map(|(id, at)| (package(*id), at.map(cut))).collect();
    DeviceCuts { device: key(device), identity: identity.map(cut), packages }
}

fn recover(statement: Statement) -> Body {
    Body::Recover(statement.sign(&DeviceSecret::from_seed(&[0x77; 32])))
}

const fn statement() -> Statement {
    Statement { identity: identity(1), previous: None, admit: None, revoke: vec![], lift: vec![], next: [0x42; 32] }
}

fn full_statement() -> Statement {
    Statement {
        previous: Some(StatementId([0x51; 32])),
        admit: Some(add(3, DeviceRole::Manager, "new-laptop")),
        revoke: vec![cuts(1, Some(9), &[(1, Some(300)), (2, None)]), cuts(2, None, &[])],
        lift: vec![EntryId::from_bytes([1; 32]), EntryId::from_bytes([2; 32])],
        ..statement()
    }
}

/// (name, entry): at least two of each kind.
pub(crate) fn samples() -> Vec<(&'static str, Entry)> {
    let recovery = [0x42; 32];
    let yank = |undo, reason: Option<u8>| {
        Body::Yank(Yank { release: release_id(5), undo, reason: reason.map(|n| BlobId::from_bytes([n; 32])) })
    };
    let bodies = vec![
        ("genesis of a script", genesis(PackageKind::Script, &[1], 1)),
        ("genesis of a world with three owners", genesis(PackageKind::World, &[1, 2, 3], 2)),
        ("genesis of a pack", genesis(PackageKind::Pack, &[4, 250], 2)),
        ("join", Body::PackageJoin(PackageJoin { package: package(1), identity: identity(2) })),
        ("join of another", Body::PackageJoin(PackageJoin { package: package(0xff), identity: identity(0) })),
        ("maintainer named", Body::Roles(roles())),
        ("everything that changes rights", Body::Roles(full_roles())),
        ("endorsed", endorse(1)),
        ("another endorsed", endorse(0xfe)),
        ("release", Body::Release(release("1.0.0"))),
        ("release with everything", Body::Release(full_release())),
        ("channel set", ref_move(RefClass::Channel, "stable", None, Some(1))),
        ("channel moved", ref_move(RefClass::Channel, "stable", Some(1), Some(2))),
        ("branch removed", ref_move(RefClass::Branch, "work/lamp", Some(1), None)),
        ("tag", ref_move(RefClass::Tag, "v1.0", None, Some(1))),
        ("yank", yank(false, Some(6))),
        ("unyank", yank(true, None)),
        ("content redacted", redact(1, RedactReason::Mistake)),
        ("as much as one entry redacts", redact(64, RedactReason::Harmful)),
        ("which history goes on", fork_resolve(1, 3)),
        ("which history of a long log goes on", fork_resolve(0xfe, u64::MAX)),
        ("nothing seen", Body::Seen),
        ("identity", Body::IdentityGenesis(IdentityGenesis { log_key: key(1), recovery, nonce: [0; 16] })),
        ("another identity", Body::IdentityGenesis(IdentityGenesis { log_key: key(9), recovery, nonce: [1; 16] })),
        ("device joins", Body::IdentityJoin(IdentityJoin { identity: identity(1) })),
        ("another device joins", Body::IdentityJoin(IdentityJoin { identity: identity(77) })),
        ("device added", Body::AddDevice(add(2, DeviceRole::Manager, "laptop"))),
        ("publisher added", Body::AddDevice(add(9, DeviceRole::Publisher, "build/1"))),
        ("device suspended", Body::Suspend(Suspend { cuts: cuts(2, Some(1), &[(1, Some(4)), (3, None)]) })),
        ("device suspended altogether", Body::Suspend(Suspend { cuts: cuts(2, None, &[]) })),
        ("recovery key replaced", recover(statement())),
        ("everything that a recovery key says", recover(full_statement())),
        ("name", name("rocket", Some(package(1)))),
        ("name freed", name("rocket", None)),
        ("handle", Body::Handle(HandleClaim { handle: Handle::parse("alice").unwrap() })),
        ("another handle", Body::Handle(HandleClaim { handle: Handle::parse("alice.dev").unwrap() })),
    ];
    let mut entries: Vec<_> = bodies.into_iter().map(|(name, body)| (name, Entry::new(body))).collect();
    let two = vec![seen(Origin::package(package(1), key(2)), 3), seen(Origin::identity(identity(1), key(1)), 128)];
    entries.push(("release that saw two heads", Entry { seen: two, body: Body::Release(release("1.0.1")) }));
    entries.push(("seen, full", Entry { seen: full_seen(), body: Body::Seen }));
    entries
}
