//! What the fold costs when somebody with rights writes for that: looks at the past of entries, counted.

use super::*;
use crate::entry::{
    AddDevice, Body, Endorse, Entry, IdentityGenesis, IdentityJoin, PackageGenesis, PackageJoin, Role, Roles, SeenHead,
};
use crate::evidence::{Point, Seat, looks};
use crate::id::{LogHash, TreeId};
use crate::key::DeviceSecret;
use crate::limits::{REDACTS_PER_LOG, RESOLVES_PER_LOG};
use crate::log::Log;
use crate::log::checkpoint::{Checkpoint, Head};
use crate::log::fork::ForkProof;
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
    /// Somebody whose key signed two histories.
    forked: Option<Written>,
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
        Self { package, genesis: bytes, bob, identities: vec![alices, joined, bobs], logs, forked: None }
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::open(self.package, &self.genesis).unwrap();
        for log in self.identities.iter().chain(&self.logs) {
            let (origin, size, root) = (*log.log.origin(), log.log.size(), log.log.root());
            let head = Head::sign(&log.secret, Checkpoint { origin, size, root }).unwrap();
            evidence.extend(&log.entries, &head).unwrap();
        }
        if let Some(log) = &self.forked {
            let head = |root| Head::sign(&log.secret, Checkpoint { origin: *log.log.origin(), size: 1, root }).unwrap();
            let one = head(log.log.root());
            evidence.extend(&log.entries, &one).unwrap();
            evidence.freeze(ForkProof::new(&one, &head(LogHash::from_bytes([1; 32])), None).unwrap());
        }
        evidence
    }

    /// Bob owns the package too, so that both must agree from now on; and somebody maintains it.
    fn share(&mut self, maintainer: Option<IdentityId>) -> EntryId {
        let mut change = Roles { owner_threshold: 2, ..self.roles(None, Some(Role::Owner)) };
        change.changes.extend(maintainer.map(|who| (who, Some(Role::Maintainer))));
        change.changes.sort_unstable();
        let id = self.logs[0].say(vec![], Body::Roles(change));
        let seen = self.logs[0].seen();
        self.logs[2].say(vec![seen], Body::Endorse(Endorse { entry: id }));
        let seen = self.logs[2].seen();
        self.logs[1].say(vec![seen], Body::Seen);
        id
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

/// One device that writes the same `n` times, as many changes that it does not look at, and as many words for it by somebody
/// who agreed to each of the changes before.
fn said_often(n: u64, body: &Body) -> Story {
    let mut story = Story::new();
    let (carol, carols) = identity(9);
    story.identities.push(carols);
    let mut last = story.share(Some(carol));
    let package = story.package;
    let mut forked = Written::new(9, |key| Origin::package(package, key));
    forked.say(vec![], Body::PackageJoin(PackageJoin { package, identity: carol }));
    story.forked = Some(forked);
    for k in 0..n {
        let mut change = Roles { owner_threshold: 2, previous: Some(last), ..story.roles(None, Some(Role::Owner)) };
        change.protect.push((RefClass::Tag, RefName::stable(), k.is_multiple_of(2)));
        let bobs = story.logs[2].seen();
        last = story.logs[0].say(vec![bobs], Body::Roles(change));
        let alices = story.logs[0].seen();
        story.logs[2].say(vec![alices], Body::Endorse(Endorse { entry: last }));
    }
    let mut entry = None;
    for _ in 0..n {
        entry = Some(story.logs[1].say(vec![], body.clone()));
    }
    let seen = story.logs[1].seen();
    for k in 0..n {
        let agreed = Body::Endorse(Endorse { entry: entry.unwrap() });
        story.logs[2].say(if k == 0 { vec![seen] } else { vec![] }, agreed);
    }
    story
}

fn redact() -> Body {
    Body::Redact(Redact { blobs: vec![BlobId::from_bytes([1; 32])], reason: RedactReason::Secret })
}

fn resolve(story: &Story) -> ForkResolve {
    let log = story.forked.as_ref().expect("a log that forked");
    ForkResolve { log: log.secret.public(), cut: Cut { size: 1, root: log.log.root() } }
}

#[test]
fn redactions_the_changes_after_them_and_the_words_for_them_add_up() {
    assert_linear(|n| said_often(n, &redact()), 500);
    let state = looks_of(&said_often(60, &redact())).1;
    assert_eq!((state.redacted.len(), state.rights.n_changes, state.open.len()), (1, 61, 0));
}

#[test]
fn what_is_said_of_forked_logs_and_the_words_for_it_add_up() {
    let body = Body::ForkResolve(resolve(&said_often(0, &redact())));
    assert_linear(|n| said_often(n, &body), 500);
    let state = looks_of(&said_often(60, &body)).1;
    assert_eq!((state.forked.len(), state.open.len()), (1, 0));
}

/// More than anybody needs of one log is not looked at.
#[test]
fn of_each_log_so_many_redactions_and_words_about_forked_logs_are_heeded() {
    let blob = |n: usize| BlobId::of(&n.to_le_bytes());
    let mut story = Story::new();
    for n in 0..=REDACTS_PER_LOG {
        story.logs[0].say(vec![], Body::Redact(Redact { blobs: vec![blob(n)], reason: RedactReason::Rights }));
    }
    let state = looks_of(&story).1;
    assert_eq!(state.redacted.len(), REDACTS_PER_LOG);
    assert!(!state.redacted.contains_key(&blob(REDACTS_PER_LOG)) && state.open.is_empty());
    // Another log of the same person has as many.
    story.logs[1]
        .say(vec![], Body::Redact(Redact { blobs: vec![blob(REDACTS_PER_LOG)], reason: RedactReason::Rights }));
    assert_eq!(looks_of(&story).1.redacted.len(), REDACTS_PER_LOG + 1);

    // The last word about a log counts; one that comes too late is none.
    let mut story = said_often(0, &redact());
    let right = resolve(&story);
    let wrong = ForkResolve { cut: Cut { size: 1, root: LogHash::from_bytes([5; 32]) }, ..right };
    for n in 0..=RESOLVES_PER_LOG {
        story.logs[0].say(vec![], Body::ForkResolve(if n == RESOLVES_PER_LOG { right } else { wrong }));
    }
    let changes = |story: &Story| looks_of(story).1.open.into_iter().map(|open| open.change).collect::<Vec<_>>();
    assert_eq!(changes(&story), vec![OpenChange::ForkResolve(wrong); crate::limits::PENDING_PER_IDENTITY]);
    let seen = story.logs[0].seen();
    story.logs[1].say(vec![seen], Body::ForkResolve(right));
    assert!(changes(&story).contains(&OpenChange::ForkResolve(right)));
}

/// The rule as `docs/spec/fold.md` has it, entry by entry, change by change and word by word.
fn as_written(
    chain: &roles::Chain<'_>,
    writers: &BTreeMap<Origin, Writer>,
    seat: &Seat<'_>,
    level: usize,
    writer: IdentityId,
) -> (BTreeSet<IdentityId>, Vec<Needs>) {
    let is_owners = |point: &Point| {
        writers.get(&point.origin).is_some_and(|owner| owner.worth(point.index) == Worth::As(Role::Owner))
    };
    let words: Vec<_> =
        chain.endorsed(&seat.id).iter().filter(|(_, point)| is_owners(point) && seat.point.is_before(point)).collect();
    let agreed = words.iter().map(|(who, _)| *who).chain([writer]).collect();
    let agreed_in = |point: &Point| -> BTreeSet<IdentityId> {
        let known = words.iter().filter(|(_, word)| word.is_before(point)).map(|(who, _)| *who);
        known.chain(seat.point.is_before(point).then_some(writer)).collect()
    };
    let guard = chain.lasting_as_written(level, writer, agreed_in);
    let needs = vec![guard.needs(&agreed)];
    (agreed, needs)
}

/// Owners with two devices each who say random things, knowing some of what the others said.
fn random(seed: u64) -> Story {
    let mut state = seed;
    let mut below = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut story = Story::new();
    let mut entries = vec![story.share(None)];
    // Alice has two devices, Bob, Carol and Dave have one each.
    let (carol, carols) = identity(5);
    let (dave, daves) = identity(6);
    story.identities.extend([carols, daves]);
    for (seed, identity) in [(5, carol), (6, dave)] {
        let mut log = Written::new(seed, |key| Origin::package(story.package, key));
        log.say(vec![], Body::PackageJoin(PackageJoin { package: story.package, identity }));
        story.logs.push(log);
    }
    let mut heads = vec![story.logs[0].seen()];
    for _ in 0..50 {
        let by = below(story.logs.len());
        // What somebody said some time ago, and what some say now.
        let mut seen = BTreeMap::from([heads[below(heads.len())]].map(|head| (head.origin, head)));
        for other in (0..story.logs.len()).filter(|_| below(3) == 0) {
            seen.insert(*story.logs[other].log.origin(), story.logs[other].seen());
        }
        seen.remove(story.logs[by].log.origin());
        let seen = seen.into_values().collect();
        let body = match below(9) {
            0..=2 => {
                let rights = story.evidence().fold().rights;
                let role = [Some(Role::Owner), Some(Role::Owner), Some(Role::Maintainer), None][below(4)];
                let changes = vec![([story.bob, carol, dave][below(3)], role)];
                let owner_threshold = u8::try_from(rights.owners().count() / 2 + 1).unwrap();
                Body::Roles(Roles { previous: rights.last, changes, owner_threshold, ..story.roles(None, None) })
            }
            3 => {
                let blobs = vec![BlobId::from_bytes([u8::try_from(below(3)).unwrap(); 32])];
                Body::Redact(Redact { blobs, reason: RedactReason::Secret })
            }
            _ => Body::Endorse(Endorse { entry: entries[entries.len() - 1 - below(entries.len().min(4))] }),
        };
        let (is_word, id) = (matches!(body, Body::Endorse(_)), story.logs[by].say(seen, body));
        entries.extend((!is_word).then_some(id));
        heads.push(story.logs[by].seen());
    }
    story
}

#[test]
fn what_is_worked_out_once_is_what_is_written() {
    let (mut n_asked, mut n_passed_on, mut n_met) = (0, 0, 0);
    for seed in 0..200 {
        let evidence = random(seed).evidence();
        let frontier = evidence.frontier();
        let owners = rights::owners(&evidence, &frontier);
        let grants = rights::grants(&evidence, &frontier, &owners);
        let chain = roles::chain(&evidence, &frontier, &grants);
        let (writers, _) = rights::writers(&evidence, &frontier, &owners, &grants, &chain);
        let mut lasting = roles::Lasting::new(&chain, &writers);
        for (origin, writer) in &writers {
            for (seat, level) in chain.leveled(&evidence, origin, &frontier) {
                if !matches!(seat.body, Body::Redact(_)) || writer.worth(seat.point.index) != Worth::As(Role::Owner) {
                    continue;
                }
                let (agreed, guard) = lasting.ask(&seat, level, writer.identity);
                let needs = vec![guard.needs(&agreed)];
                assert_eq!((agreed, needs), as_written(&chain, &writers, &seat, level, writer.identity), "seed {seed}");
                n_asked += 1;
                n_passed_on += usize::from(level < chain.rights().n_changes);
                n_met += usize::from(guard.is_met(&as_written(&chain, &writers, &seat, level, writer.identity).0));
            }
        }
    }
    println!("{n_asked} redactions, {n_passed_on} with changes after them, {n_met} in effect");
    assert!(
        n_passed_on > 300 && n_met > 100,
        "{n_asked} {n_passed_on} {n_met}: the stories do not do what they are for"
    );
}
