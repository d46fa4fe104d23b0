//! What the fold costs when somebody with rights writes for that: looks at the past of entries, counted.

use super::*;
use crate::entry::{
    AddDevice, Body, Endorse, Entry, IdentityGenesis, IdentityJoin, PackageGenesis, PackageJoin, Role, Roles, SeenHead,
};
use crate::evidence::looks;
use crate::id::TreeId;
use crate::key::DeviceSecret;
use crate::log::Log;
use crate::log::checkpoint::{Checkpoint, Head};
use crate::manifest::PackageKind;

struct Written {
    secret: DeviceSecret,
    log: Log,
    entries: Vec<Vec<u8>>,
}

impl Written {
    fn new(seed: u8, origin: impl FnOnce(DeviceKey) -> Origin) -> Self {
        let secret = DeviceSecret::from_seed(&[seed; 32]);
        Self { log: Log::new(origin(secret.public())), secret, entries: vec![] }
    }

    fn say(&mut self, seen: Vec<SeenHead>, body: Body) -> EntryId {
        let bytes = Entry { seen, body }.encode().unwrap();
        self.log.append(&bytes).unwrap();
        let id = EntryId::of(&bytes);
        self.entries.push(bytes);
        id
    }

    fn seen(&self) -> SeenHead {
        SeenHead { origin: *self.log.origin(), size: self.log.size(), root: self.log.root() }
    }
}

/// Alice owns a package, by two devices; Bob is somebody.
struct Story {
    package: PackageId,
    genesis: Vec<u8>,
    bob: IdentityId,
    identities: Vec<Written>,
    /// Alice's two logs of the package, and Bob's.
    logs: Vec<Written>,
}

fn identity(seed: u8) -> (IdentityId, Written) {
    let log_key = DeviceSecret::from_seed(&[seed; 32]).public();
    let genesis = Body::IdentityGenesis(IdentityGenesis { log_key, recovery: [seed; 32], nonce: [seed; 16] });
    let id = IdentityId::from(EntryId::of(&Entry::new(genesis.clone()).encode().unwrap()));
    let mut log = Written::new(seed, |key| Origin::identity(id, key));
    log.say(vec![], genesis);
    (id, log)
}

impl Story {
    fn new() -> Self {
        let ((alice, mut alices), (bob, bobs)) = (identity(1), identity(3));
        let device = DeviceSecret::from_seed(&[2; 32]).public();
        let label = RefName::parse("desk").unwrap();
        alices.say(vec![], Body::AddDevice(AddDevice { device, role: DeviceRole::Manager, label }));
        let admitted = alices.seen();
        let mut joined = Written::new(2, |key| Origin::identity(alice, key));
        joined.say(vec![], Body::IdentityJoin(IdentityJoin { identity: alice }));
        let log_key = alices.secret.public();
        let genesis = Body::PackageGenesis(PackageGenesis {
            kind: PackageKind::World,
            owners: vec![alice],
            owner_threshold: 1,
            creator: alice,
            log_key,
            nonce: [4; 16],
        });
        let bytes = Entry::new(genesis.clone()).encode().unwrap();
        let package = PackageId::from(EntryId::of(&bytes));
        let mut first = Written::new(1, |key| Origin::package(package, key));
        first.say(vec![], genesis);
        let mut logs = vec![first];
        for (seed, identity) in [(2, alice), (3, bob)] {
            let mut log = Written::new(seed, |key| Origin::package(package, key));
            log.say(vec![], Body::PackageJoin(PackageJoin { package, identity }));
            logs.push(log);
        }
        logs[1].say(vec![admitted], Body::Seen);
        Self { package, genesis: bytes, bob, identities: vec![alices, joined, bobs], logs }
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::open(self.package, &self.genesis).unwrap();
        for log in self.identities.iter().chain(&self.logs) {
            let (origin, size, root) = (*log.log.origin(), log.log.size(), log.log.root());
            let head = Head::sign(&log.secret, Checkpoint { origin, size, root }).unwrap();
            evidence.extend(&log.entries, &head).unwrap();
        }
        evidence
    }

    fn roles(&self, previous: Option<EntryId>, role: Option<Role>) -> Roles {
        let changes = vec![(self.bob, role)];
        Roles { previous, changes, owner_threshold: 1, protect: vec![], cuts: vec![], rules: None }
    }
}

/// Looks that one fold takes.
fn looks_of(story: &Story) -> (u64, PackageState) {
    let evidence = story.evidence();
    looks::take();
    let state = evidence.fold();
    (looks::take(), state)
}

/// Twice as much is written, not much more than twice as much is looked at.
fn assert_linear(of: impl Fn(u64) -> Story, least: u64) {
    let n = [60, 120].map(|n| looks_of(&of(n)).0);
    println!("{n:?} looks");
    assert!(n[0] > least, "{n:?}: the story does not do what it is for");
    assert!(n[1] * 2 < n[0] * 5, "{n:?} looks: more than two and a half times for twice as much");
}

fn release(n: u64) -> Body {
    Body::Release(Release {
        version: Version::parse(&format!("1.{n}.0")).unwrap(),
        tree_id: TreeId::from_bytes([1; 32]),
        content_root: crate::id::ContentRoot::from_bytes([1; 32]),
        manifest: BlobId::from_bytes([1; 32]),
        total_bytes: 1,
        n_files: 1,
        dependencies: vec![],
        engine: None,
        parents: vec![],
        note: None,
    })
}

/// An owner who names and removes somebody again and again, who writes meanwhile and is seen each time.
#[test]
fn changes_entries_and_what_they_name_add_up_and_do_not_multiply() {
    let story = |n: u64| {
        let (mut story, mut last) = (Story::new(), None);
        for k in 0..n {
            let role = k.is_multiple_of(2).then_some(Role::Maintainer);
            let (roles, bobs) = (story.roles(last, role), story.logs[2].seen());
            last = Some(story.logs[0].say(vec![bobs], Body::Roles(roles)));
            let alices = story.logs[0].seen();
            story.logs[2].say(if k.is_multiple_of(2) { vec![alices] } else { vec![] }, release(k));
        }
        story
    };
    assert_linear(story, 300);
    assert_eq!(looks_of(&story(60)).1.rights.n_changes, 60);
}

/// An owner who agrees to many changes of which only one can be, by two devices that write much else.
#[test]
fn many_changes_in_one_place_are_not_looked_for_in_every_entry() {
    let story = |n: u64| {
        let mut story = Story::new();
        let first = story.logs[0].seen();
        for k in 0..n {
            let mut roles = story.roles(None, Some(Role::Maintainer));
            let name = RefName::parse(&format!("branch-{k}")).unwrap();
            roles.protect.push((RefClass::Branch, name, true));
            story.logs[1].say(if k == 0 { vec![first] } else { vec![] }, Body::Roles(roles));
        }
        for k in 0..n {
            let bobs = story.logs[2].seen();
            story.logs[2].say(vec![], release(k));
            story.logs[0].say(vec![bobs], release(k));
        }
        story
    };
    assert_linear(story, 60);
}

/// The same move again and again, and as many words for it.
#[test]
fn moves_and_the_words_for_them_add_up() {
    let story = |n: u64| {
        let mut story = Story::new();
        let mut roles = story.roles(None, Some(Role::Maintainer));
        roles.protect.push((RefClass::Channel, RefName::stable(), true));
        story.logs[0].say(vec![], Body::Roles(roles));
        let seen = story.logs[0].seen();
        story.logs[2].say(vec![seen], Body::Seen);
        let moved = RefMove {
            class: RefClass::Channel,
            name: RefName::stable(),
            old: None,
            new: Some(ReleaseId::from_bytes([7; 32])),
        };
        let mut entry = None;
        for _ in 0..n {
            entry = Some(story.logs[2].say(vec![], Body::Ref(moved.clone())));
        }
        let seen = story.logs[2].seen();
        for k in 0..n {
            let body = Body::Endorse(Endorse { entry: entry.unwrap() });
            story.logs[0].say(if k == 0 { vec![seen] } else { vec![] }, body);
        }
        story
    };
    assert_linear(story, 60);
    assert_eq!(looks_of(&story(60)).1.refs.len(), 1);
}
