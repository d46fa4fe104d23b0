//! Several devices of one identity: who speaks from when, and how far, whatever order the logs come in.

use std::collections::BTreeMap;

use syncra_protocol::entry::{
    AddDevice, Body, Cut, DeviceCuts, DeviceRole, Entry, IdentityGenesis, IdentityJoin, PackageGenesis, PackageJoin,
    Redact, RedactReason, Role, Roles, SeenHead, Statement, StatementId, Suspend, recovery_commitment,
};
use syncra_protocol::evidence::{Evidence, EvidenceError, Identity, IdentityLog};
use syncra_protocol::fold::{DeviceStatus, PackageState, Pick, SelectError, Standing};
use syncra_protocol::id::{BlobId, EntryId, IdentityId, PackageId, ReleaseId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;

use syncra_sim::world::{Chain, handle, name, release};

/// Seeds of devices; the first begins the identity.
pub(crate) const DESK: u8 = 1;
pub(crate) const LAPTOP: u8 = 2;
const PHONE: u8 = 3;
pub(crate) const RECOVERY: u8 = 200;
const RECOVERY_2: u8 = 201;

/// One person's devices, and one package.
#[derive(Clone, Copy)]
pub(crate) struct Me {
    identity: IdentityId,
    pub(crate) package: PackageId,
}

/// The logs of every device: of the identity, and of the package.
pub(crate) struct People {
    pub(crate) me: Me,
    pub(crate) genesis: Vec<u8>,
    pub(crate) identity: BTreeMap<u8, Chain>,
    pub(crate) package: BTreeMap<u8, Chain>,
}

pub(crate) fn key(seed: u8) -> DeviceKey {
    DeviceSecret::from_seed(&[seed; 32]).public()
}

fn commitment(seed: u8) -> [u8; 32] {
    recovery_commitment(&key(seed))
}

impl People {
    pub(crate) fn new() -> Self {
        let genesis = IdentityGenesis { log_key: key(DESK), recovery: commitment(RECOVERY), nonce: [1; 16] };
        let begin = Entry::new(Body::IdentityGenesis(genesis)).encode().unwrap();
        let identity = IdentityId::from(EntryId::of(&begin));
        let mut desk = Chain::new(DESK, |key| Origin::identity(identity, key));
        desk.append_bytes(begin);
        let genesis = Body::PackageGenesis(PackageGenesis {
            kind: PackageKind::World,
            owners: vec![identity],
            owner_threshold: 1,
            creator: identity,
            log_key: key(DESK),
            nonce: [2; 16],
        });
        let genesis = Entry::new(genesis).encode().unwrap();
        let package = PackageId::from(EntryId::of(&genesis));
        let mut first = Chain::new(DESK, |key| Origin::package(package, key));
        first.append_bytes(genesis.clone());
        Self {
            me: Me { identity, package },
            genesis,
            identity: BTreeMap::from([(DESK, desk)]),
            package: BTreeMap::from([(DESK, first)]),
        }
    }

    /// Everything that a device which holds it all would say to have seen, its own log left out.
    fn all_seen(&self, own: Origin) -> Vec<SeenHead> {
        let chains = self.identity.values().chain(self.package.values());
        let mut seen: Vec<_> = chains.map(Chain::seen).filter(|head| head.origin != own).collect();
        seen.sort_unstable();
        seen
    }

    fn identity_seen(&self, own: Origin) -> Vec<SeenHead> {
        self.all_seen(own).into_iter().filter(|head| head.origin.subject == own.subject).collect()
    }

    pub(crate) fn join(&mut self, device: u8) {
        let me = self.me;
        let mut own = Chain::new(device, |key| Origin::identity(me.identity, key));
        own.append(vec![], Body::IdentityJoin(IdentityJoin { identity: me.identity }));
        self.identity.insert(device, own);
        let mut own = Chain::new(device, |key| Origin::package(me.package, key));
        own.append(vec![], Body::PackageJoin(PackageJoin { package: me.package, identity: me.identity }));
        self.package.insert(device, own);
        self.say(device, Body::Seen);
    }

    /// `by` says something about the identity, knowing everything.
    pub(crate) fn say(&mut self, by: u8, body: Body) -> EntryId {
        let seen = self.identity_seen(self.identity[&by].origin());
        self.identity.get_mut(&by).unwrap().append(seen, body)
    }

    /// `by` says something about the identity, knowing nothing new.
    pub(crate) fn say_blind(&mut self, by: u8, body: Body) -> EntryId {
        self.identity.get_mut(&by).unwrap().append(vec![], body)
    }

    pub(crate) fn publish(&mut self, by: u8, version: &str, tree: u8) -> ReleaseId {
        let seen = self.all_seen(self.package[&by].origin());
        self.package.get_mut(&by).unwrap().append(seen, release(version, tree)).into()
    }

    pub(crate) fn publish_blind(&mut self, by: u8, version: &str, tree: u8) -> ReleaseId {
        self.package.get_mut(&by).unwrap().append(vec![], release(version, tree)).into()
    }

    /// `by` says something about the package, knowing everything.
    fn tell(&mut self, by: u8, body: Body) -> EntryId {
        let seen = self.all_seen(self.package[&by].origin());
        self.package.get_mut(&by).unwrap().append(seen, body)
    }

    /// Both logs of a device as they are now.
    pub(crate) fn cuts(&self, device: u8) -> DeviceCuts {
        let cut = |chain: &Chain| Cut { size: chain.size(), root: chain.log.root() };
        let packages = self.package.get(&device).map(|chain| (self.me.package, Some(cut(chain))));
        DeviceCuts {
            device: key(device),
            identity: self.identity.get(&device).map(cut),
            packages: packages.into_iter().collect(),
        }
    }

    pub(crate) fn statement(&self, previous: Option<StatementId>) -> Statement {
        let me = self.me;
        let next = commitment(RECOVERY);
        Statement { identity: me.identity, previous, admit: None, revoke: vec![], lift: vec![], next }
    }

    pub(crate) fn chains(&self) -> Vec<&Chain> {
        self.identity.values().chain(self.package.values()).collect()
    }

    /// All logs, delivered in an order that `turn` rotates; what is refused for now is offered again.
    pub(crate) fn evidence(&self, turn: usize) -> Evidence {
        let mut evidence = Evidence::open(self.me.package, &self.genesis).unwrap();
        evidence.admit_identity(&self.identity[&DESK].entries[0]).unwrap();
        let mut open = self.chains();
        open.rotate_left(turn % self.chains().len());
        while !open.is_empty() {
            let n_before = open.len();
            open.retain(|chain| match evidence.extend(&chain.entries, &chain.head()) {
                Ok(()) => false,
                Err(EvidenceError::NoDevice) => true,
                Err(error) => panic!("{error}"),
            });
            if open.len() == n_before {
                return evidence; // nobody admits the rest
            }
        }
        evidence
    }

    /// The state, the same for every order of arrival.
    fn state(&self) -> PackageState {
        let state = self.evidence(0).fold();
        for turn in 1..self.chains().len() {
            assert_eq!(self.evidence(turn).fold(), state, "order {turn}");
        }
        state
    }
}

pub(crate) fn add(device: u8, role: DeviceRole) -> Body {
    Body::AddDevice(AddDevice {
        device: key(device),
        role,
        label: RefName::parse(&format!("device-{device}")).unwrap(),
    })
}

fn status(state: &PackageState, me: Me, device: u8) -> DeviceStatus {
    state.owners[&me.identity].devices[&key(device)].status.clone()
}

pub(crate) fn exactly(state: &PackageState, release: ReleaseId) -> Result<ReleaseId, SelectError> {
    state.select(&Pick::Release(release)).map(|selection| selection.release)
}

#[test]
fn two_devices_publish_to_one_package_without_asking_each_other() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    let of_desk = people.publish_blind(DESK, "1.0.0", 1);
    let of_laptop = people.publish(LAPTOP, "1.1.0", 2);
    people.say(LAPTOP, name("lamp", Some(people.me.package)));
    let state = people.state();
    assert_eq!(exactly(&state, of_desk), Ok(of_desk));
    assert_eq!(exactly(&state, of_laptop), Ok(of_laptop));
    assert_eq!(state.writers.len(), 2);
    assert_eq!(state.owners[&people.me.identity].names.len(), 1);
    assert!(state.may_write(&people.me.identity, &key(LAPTOP)));
}

/// A grant counts where it is in the past, so nobody can say later what was allowed before.
#[test]
fn a_device_speaks_from_the_entry_on_that_knows_of_its_admission() {
    let mut people = People::new();
    people.join(LAPTOP);
    let early = people.publish_blind(LAPTOP, "0.9.0", 9);
    assert_eq!(exactly(&people.state(), early), Err(SelectError::NoRelease(early)));
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    let blind = people.publish_blind(LAPTOP, "0.9.1", 9);
    let late = people.publish(LAPTOP, "1.0.0", 1);
    let state = people.state();
    assert_eq!(exactly(&state, early), Err(SelectError::NoRelease(early)));
    assert_eq!(exactly(&state, blind), Err(SelectError::NoRelease(blind)));
    assert_eq!(exactly(&state, late), Ok(late));
}

#[test]
fn a_publisher_adds_nobody_and_a_stranger_even_less() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    people.say(LAPTOP, add(PHONE, DeviceRole::Manager));
    people.say(LAPTOP, handle("mallory"));
    people.join(PHONE);
    let theirs = people.publish(PHONE, "1.0.0", 1);
    people.say(LAPTOP, Body::Suspend(Suspend { cuts: people.cuts(DESK) }));
    let state = people.state();
    assert_eq!(exactly(&state, theirs), Err(SelectError::NoRelease(theirs)));
    let me = &state.owners[&people.me.identity];
    assert_eq!(me.devices.keys().copied().collect::<Vec<_>>().len(), 2);
    assert_eq!(me.handle, None);
    assert_eq!(status(&state, people.me, DESK), DeviceStatus::Active);
}

/// The story of a stolen laptop, with the thief at work on both sides of the cut.
/// Whoever steals the device that only publishes gives nobody the package and takes nobody's bytes away.
#[test]
fn a_publisher_changes_no_rights_agrees_to_nothing_and_redacts_nothing() {
    for role in [DeviceRole::Publisher, DeviceRole::Manager] {
        let mut people = People::new();
        people.say(DESK, add(LAPTOP, role));
        people.join(LAPTOP);
        let published = people.publish(DESK, "1.0.0", 1);
        let root = BlobId::from(people.state().releases[&published].release.content_root);
        people.tell(LAPTOP, Body::Redact(Redact { blobs: vec![root], reason: RedactReason::Mistake }));
        let friend = IdentityId::from_bytes([9; 32]);
        let (changes, protect, cuts) = (vec![(friend, Some(Role::Maintainer))], vec![], vec![]);
        let roles = Roles { previous: None, changes, owner_threshold: 1, protect, cuts, rules: None };
        people.tell(LAPTOP, Body::Roles(roles));
        let state = people.state();
        let manages = role == DeviceRole::Manager;
        assert_eq!(state.redacted.contains_key(&root), manages, "{role:?}");
        assert_eq!(state.rights.role(&friend).is_some(), manages, "{role:?}");
        assert_eq!(state.open.len(), 0, "{role:?}");
    }
}

#[test]
fn a_revoked_device_counts_up_to_the_cut_and_not_beyond_for_anybody_from_then_on() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    let honest = people.publish(LAPTOP, "1.0.0", 1);
    let cuts = people.cuts(LAPTOP);
    // The thief does not look at anything new, so nothing of it is after the revocation.
    let stolen = people.publish_blind(LAPTOP, "6.6.6", 6);
    people.say_blind(LAPTOP, add(PHONE, DeviceRole::Manager));
    people.say_blind(LAPTOP, handle("mallory"));
    people.say_blind(LAPTOP, Body::Suspend(Suspend { cuts: people.cuts(DESK) }));
    people.join(PHONE);
    let accomplice = people.publish(PHONE, "6.6.7", 7);
    let before = people.state();
    assert_eq!(exactly(&before, stolen), Ok(stolen), "nobody knows yet");
    assert!(matches!(status(&before, people.me, DESK), DeviceStatus::Suspended { .. }));

    let statement = Statement { revoke: vec![cuts], ..people.statement(None) };
    people.say_blind(DESK, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    let state = people.state();
    assert_eq!(exactly(&state, honest), Ok(honest), "what was before the cut stays");
    let version = syncra_protocol::version::Version::parse("6.6.6").unwrap();
    assert_eq!(exactly(&state, stolen), Err(SelectError::Revoked { version }));
    assert_eq!(exactly(&state, accomplice), Err(SelectError::NoRelease(accomplice)));
    assert_eq!(status(&state, people.me, LAPTOP), DeviceStatus::Revoked);
    assert_eq!(status(&state, people.me, DESK), DeviceStatus::Active);
    assert!(!state.owners[&people.me.identity].devices.contains_key(&key(PHONE)));
    assert_eq!(state.owners[&people.me.identity].handle, None);
    assert!(!state.may_write(&people.me.identity, &key(LAPTOP)));
    assert_eq!(state.select(&Pick::Highest(syncra_protocol::version::VersionReq::any())).unwrap().release, honest);
    let again = people.publish(DESK, "6.6.6", 8);
    assert_eq!(exactly(&people.state(), again), Ok(again), "a version that does not count is free");
}

#[test]
fn a_thief_who_signs_another_history_takes_nothing_away_that_was_before_the_cut() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    let honest = people.publish(LAPTOP, "1.0.0", 1);
    let cuts = people.cuts(LAPTOP);
    let mut branch = people.package[&LAPTOP].fork(1);
    branch.append(vec![], release("1.0.0", 66));
    branch.append(vec![], release("2.0.0", 67));
    let proof = ForkProof::new(&people.package[&LAPTOP].head(), &branch.head_at(2), None).unwrap();
    let statement = Statement { revoke: vec![cuts], ..people.statement(None) };
    people.say(DESK, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    let mut evidence = people.evidence(0);
    evidence.freeze(proof.clone());
    assert_eq!(exactly(&evidence.fold(), honest), Ok(honest), "the cut says which history is meant");
    // Who was shown the other history first holds nothing of it that counts.
    people.package.insert(LAPTOP, branch);
    let mut misled = people.evidence(0);
    misled.freeze(proof);
    let state = misled.fold();
    assert!(state.releases.values().all(|release| release.standing == Standing::Revoked));
}

/// Whoever holds a device can silence the others, and they it; nothing is lost, and the recovery key ends it.
#[test]
fn devices_that_suspend_each_other_are_both_silent_until_the_recovery_key_speaks() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    let [first, second] = [people.publish(DESK, "1.0.0", 1), people.publish(LAPTOP, "1.1.0", 2)];
    let (desk, laptop) = (people.cuts(DESK), people.cuts(LAPTOP));
    let by_desk = people.say_blind(DESK, Body::Suspend(Suspend { cuts: laptop.clone() }));
    people.say_blind(LAPTOP, Body::Suspend(Suspend { cuts: desk }));
    let late = [people.publish_blind(DESK, "2.0.0", 3), people.publish_blind(LAPTOP, "2.1.0", 4)];
    let state = people.state();
    for device in [DESK, LAPTOP] {
        assert!(matches!(status(&state, people.me, device), DeviceStatus::Suspended { .. }), "{device}");
    }
    for release in [first, second] {
        assert_eq!(exactly(&state, release), Ok(release), "nothing from before is lost");
    }
    assert!(late.into_iter().all(|release| exactly(&state, release).is_err()));
    // Who knows that it is suspended cannot suspend in return.
    let mut knowing = People::new();
    knowing.say(DESK, add(LAPTOP, DeviceRole::Manager));
    knowing.join(LAPTOP);
    let cuts = knowing.cuts(LAPTOP);
    knowing.say(DESK, Body::Suspend(Suspend { cuts }));
    let cuts = knowing.cuts(DESK);
    knowing.say(LAPTOP, Body::Suspend(Suspend { cuts }));
    assert_eq!(status(&knowing.state(), knowing.me, DESK), DeviceStatus::Active);

    // The laptop was the stolen one: revoked, its word about the desk is gone with it.
    let statement = Statement { revoke: vec![laptop], lift: vec![by_desk], ..people.statement(None) };
    people.say(DESK, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    let state = people.state();
    assert_eq!(status(&state, people.me, DESK), DeviceStatus::Active);
    assert_eq!(exactly(&state, late[0]), Ok(late[0]));
    assert!(exactly(&state, late[1]).is_err());
}

#[test]
fn a_suspension_that_the_recovery_key_lifts_gives_the_device_its_word_back() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    let cuts = people.cuts(LAPTOP);
    let suspension = people.say(DESK, Body::Suspend(Suspend { cuts }));
    let meanwhile = people.publish(LAPTOP, "1.0.0", 1);
    assert!(exactly(&people.state(), meanwhile).is_err());
    let statement = Statement { lift: vec![suspension], ..people.statement(None) };
    people.say(DESK, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    assert_eq!(exactly(&people.state(), meanwhile), Ok(meanwhile));
}

/// All devices are lost; a new one has nothing but the recovery key.
#[test]
fn the_recovery_key_alone_brings_the_identity_back_on_a_device_that_nobody_knows() {
    let mut people = People::new();
    let before = people.publish(DESK, "1.0.0", 1);
    let cuts = people.cuts(DESK);
    people.join(PHONE);
    let add = AddDevice { device: key(PHONE), role: DeviceRole::Manager, label: RefName::parse("new").unwrap() };
    let statement =
        Statement { admit: Some(add), revoke: vec![cuts], next: commitment(RECOVERY_2), ..people.statement(None) };
    let stolen = people.publish_blind(DESK, "6.6.6", 6);
    let id = statement.id();
    people.say(PHONE, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    let after = people.publish(PHONE, "2.0.0", 2);
    let state = people.state();
    for release in [before, after] {
        assert_eq!(exactly(&state, release), Ok(release));
    }
    assert!(exactly(&state, stolen).is_err());
    assert_eq!(state.owners[&people.me.identity].recovery, commitment(RECOVERY_2));
    assert_eq!(state.owners[&people.me.identity].last_statement, Some(id));

    // The old recovery key says nothing any more, the new one does.
    let lost = Statement { revoke: vec![people.cuts(PHONE)], ..people.statement(Some(id)) };
    people.say_blind(DESK, Body::Recover(lost.clone().sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    assert_eq!(status(&people.state(), people.me, PHONE), DeviceStatus::Active);
    people.say(PHONE, Body::Recover(lost.sign(&DeviceSecret::from_seed(&[RECOVERY_2; 32]))));
    assert_eq!(status(&people.state(), people.me, PHONE), DeviceStatus::Revoked);
}

/// The recovery key was stolen and replaced: the thief's word of before the replacement comes late.
#[test]
fn of_two_words_of_one_recovery_key_that_counts_which_the_devices_have_seen() {
    for thief_seed in 0..8 {
        let mut people = People::new();
        let replaced = Statement { next: commitment(RECOVERY_2), ..people.statement(None) };
        people.say(DESK, Body::Recover(replaced.clone().sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
        people.join(PHONE);
        let add = AddDevice { device: key(PHONE), role: DeviceRole::Manager, label: RefName::parse("x").unwrap() };
        let cuts = DeviceCuts { device: key(DESK), identity: None, packages: vec![] };
        let mut next = commitment(RECOVERY);
        next[0] ^= thief_seed; // another id each time
        let theirs = Statement { admit: Some(add), revoke: vec![cuts], next, ..people.statement(None) };
        people.say_blind(PHONE, Body::Recover(theirs.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
        let state = people.state();
        assert_eq!(state.owners[&people.me.identity].last_statement, Some(replaced.id()), "{thief_seed}");
        assert_eq!(status(&state, people.me, DESK), DeviceStatus::Active);
    }
}

#[test]
fn a_statement_is_one_however_often_it_is_written_and_only_of_its_own_identity() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    let said = Statement { next: commitment(RECOVERY_2), ..people.statement(None) };
    let recover = said.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]));
    people.say(DESK, Body::Recover(recover.clone()));
    people.say(LAPTOP, Body::Recover(recover));
    assert_eq!(people.state().owners[&people.me.identity].recovery, commitment(RECOVERY_2));
    // Another identity's, or another key's, changes nothing or stops the log.
    let foreign = Statement { identity: IdentityId::from_bytes([9; 32]), ..people.statement(None) };
    people.say(LAPTOP, Body::Recover(foreign.sign(&DeviceSecret::from_seed(&[RECOVERY_2; 32]))));
    let blocked = people.evidence(0).blocked();
    assert!(blocked.contains_key(&people.identity[&LAPTOP].origin()), "{blocked:?}");
}

/// Two devices that name two packages alike, without having seen each other.
#[test]
fn a_name_that_two_devices_gave_away_means_neither() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    people.say(LAPTOP, Body::Seen);
    let (one, other) = (people.me.package, PackageId::from_bytes([8; 32]));
    people.say_blind(DESK, name("lamp", Some(one)));
    people.say_blind(LAPTOP, name("lamp", Some(other)));
    let me = people.state().owners[&people.me.identity].clone();
    assert!(me.names.is_empty());
    assert_eq!(me.diverged_names.values().flatten().copied().collect::<Vec<_>>().len(), 2);
    people.say(DESK, name("lamp", Some(other)));
    let me = people.state().owners[&people.me.identity].clone();
    assert_eq!(me.names.values().copied().collect::<Vec<_>>(), [other]);
    assert!(me.diverged_names.is_empty());
}

#[test]
fn what_an_identity_says_alone_is_what_it_says_in_its_packages() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    people.say(LAPTOP, handle("alice"));
    let cuts = people.cuts(LAPTOP);
    people.say(DESK, Body::Suspend(Suspend { cuts }));
    let logs = people.identity.values().map(|chain| IdentityLog::verify(&chain.entries, &chain.head()).unwrap());
    let alone = Identity::gather(logs.collect(), []).unwrap();
    assert_eq!(**alone.state(), *people.state().owners[&people.me.identity]);
    let mut evidence = Evidence::open(people.me.package, &people.genesis).unwrap();
    evidence.share_all(&alone).unwrap();
    for chain in people.package.values() {
        evidence.extend(&chain.entries, &chain.head()).unwrap();
    }
    assert_eq!(evidence.fold(), people.state());
    assert!(std::sync::Arc::ptr_eq(&evidence.fold().owners[&people.me.identity], alone.state()));
}

#[test]
fn a_device_that_signed_two_histories_of_itself_admits_nobody_beyond_what_both_share() {
    let mut people = People::new();
    let mut branch = people.identity[&DESK].fork(1);
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    let of_laptop = people.publish(LAPTOP, "1.0.0", 1);
    branch.append(vec![], handle("mallory"));
    let proof = ForkProof::new(&people.identity[&DESK].head(), &branch.head(), None).unwrap();
    let mut evidence = people.evidence(0);
    assert_eq!(exactly(&evidence.fold(), of_laptop), Ok(of_laptop));
    evidence.freeze(proof);
    evidence.settle_fork(&branch.origin(), 1);
    assert!(exactly(&evidence.fold(), of_laptop).is_err());
    evidence.settle_fork(&branch.origin(), 0);
    assert!(evidence.fold().owners.contains_key(&people.me.identity), "its Genesis names it all the same");
}

/// What a thief with one device says about logs that nobody has must not keep others from counting.
#[test]
fn an_identity_s_entry_that_names_anything_else_stops_its_own_log_only() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    let of_desk = people.publish_blind(DESK, "1.0.0", 1);
    let foreign = people.package[&DESK].seen();
    people.identity.get_mut(&LAPTOP).unwrap().append(vec![foreign], handle("mallory"));
    let evidence = people.evidence(0);
    let blocked = evidence.blocked();
    assert_eq!(blocked.keys().copied().collect::<Vec<_>>(), [people.identity[&LAPTOP].origin()]);
    let state = people.state();
    assert_eq!(exactly(&state, of_desk), Ok(of_desk));
    assert_eq!(state.owners[&people.me.identity].handle, None);
}

/// Of a package that no cut names counts what the others have seen, whatever somebody claims to have seen instead.
#[test]
fn a_claim_of_another_history_takes_nothing_away_without_a_proof() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    people.say(DESK, add(PHONE, DeviceRole::Publisher));
    people.join(PHONE);
    let honest = people.publish(LAPTOP, "1.0.0", 1);
    people.publish(DESK, "1.1.0", 2); // has seen it
    let later = people.publish_blind(LAPTOP, "1.2.0", 3);
    let unnamed = DeviceCuts { packages: vec![], ..people.cuts(LAPTOP) };
    let statement = Statement { revoke: vec![unnamed], ..people.statement(None) };
    people.say(DESK, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    let state = people.state();
    assert_eq!(exactly(&state, honest), Ok(honest));
    assert!(exactly(&state, later).is_err());
    let lie = SeenHead { root: people.package[&DESK].log.root(), ..people.package[&LAPTOP].seen() };
    people.package.get_mut(&PHONE).unwrap().append(vec![SeenHead { size: 1, ..lie }], Body::Seen);
    assert_eq!(exactly(&people.state(), honest), Ok(honest));
}

#[test]
fn a_suspension_takes_nothing_away_that_others_have_built_on() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Manager));
    people.join(LAPTOP);
    let honest = people.publish(DESK, "1.0.0", 1);
    people.publish(LAPTOP, "1.1.0", 2); // has seen it
    let unseen = people.publish_blind(DESK, "1.2.0", 3);
    let nothing = DeviceCuts { packages: vec![(people.me.package, None)], ..people.cuts(DESK) };
    people.say(LAPTOP, Body::Suspend(Suspend { cuts: nothing.clone() }));
    let state = people.state();
    assert_eq!(exactly(&state, honest), Ok(honest));
    assert!(exactly(&state, unseen).is_err());
    // The recovery key may.
    let statement = Statement { revoke: vec![nothing], ..people.statement(None) };
    people.say(LAPTOP, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));
    assert!(exactly(&people.state(), honest).is_err());
}

/// A log of nothing but changes costs no more than its first ones.
#[test]
fn what_one_log_changes_is_bounded() {
    let mut people = People::new();
    for n in 0..300_u16 {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        let device = DeviceKey::from_bytes(key);
        let label = RefName::parse("x").unwrap();
        people.say_blind(DESK, Body::AddDevice(AddDevice { device, role: DeviceRole::Publisher, label }));
    }
    let n_devices = people.state().owners[&people.me.identity].devices.len();
    assert_eq!(n_devices, 1 + 256);
}
