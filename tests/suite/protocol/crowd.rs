//! Many logs for few places: nobody who has any role, or none, keeps out whose package it is.

use std::collections::BTreeSet;

use syncra_protocol::entry::{
    Body, IdentityJoin, PackageJoin, Recover, Role, SeenHead, Statement, recovery_commitment,
};
use syncra_protocol::evidence::{Blocked, Evidence, EvidenceError, STRANGER_LOGS, UNKNOWN_LOGS};
use syncra_protocol::fold::{Pick, SelectError};
use syncra_protocol::id::{IdentityId, ReleaseId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::limits::{EVIDENCE_LOGS, HOLDER_LOGS, OWNER_LOGS_SURE, OWNERS_LOGS, ROLE_CHANGES};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::origin::{Origin, Subject};

use syncra_sim::world::{Chain, release};

use crate::team::{ALICE, BOB, CAROL, DAVE, DeviceAt, Team, recovery_secret};

/// Offers logs again and again, in this order, until nobody takes any more of them.
fn offer<'a>(evidence: &mut Evidence, chains: impl IntoIterator<Item = &'a Chain>) -> usize {
    let mut open: Vec<&Chain> = chains.into_iter().collect();
    let n_all = open.len();
    loop {
        let n = open.len();
        open.retain(|chain| {
            let held = evidence.size(&chain.origin());
            if held == chain.size() {
                return false;
            }
            match evidence.extend(chain.slice(held, chain.size()), &chain.head()) {
                Ok(()) => false,
                Err(EvidenceError::NoDevice | EvidenceError::TooManyLogs) => true,
                Err(error) => panic!("{error}"),
            }
        });
        if open.len() == n {
            return n_all - n;
        }
    }
}

fn logs_of(team: &Team, person: usize) -> Vec<&Chain> {
    let devices = || team.people[person].devices.iter();
    devices().map(|device| &device.identity).chain(devices().map(|device| &device.package)).collect()
}

fn first_logs(team: &Team, person: usize) -> Vec<&Chain> {
    let first = team.device((person, 0));
    vec![&first.identity, &first.package]
}

fn is_held(evidence: &Evidence, chain: &Chain) -> bool {
    evidence.size(&chain.origin()) == chain.size()
}

fn exactly(evidence: &Evidence, release: ReleaseId) -> Result<ReleaseId, SelectError> {
    evidence.fold().select(&Pick::Release(release)).map(|selection| selection.release)
}

/// Names these people, with all that is known of first devices.
fn name(team: &mut Team, people: &[usize], role: Role) {
    let mut last = None;
    for people in people.chunks(ROLE_CHANGES) {
        let to: Vec<_> = people.iter().map(|person| (*person, Some(role))).collect();
        let mut change = team.change(last, 1, &to);
        change.cuts.clear();
        last = Some(team.say_blind((ALICE, 0), Body::Roles(change)));
    }
}

fn add_devices(team: &mut Team, person: usize, n: usize) {
    for _ in 0..n {
        team.add_device(person);
    }
}

/// Logs of the package by people whom nobody knows, each naming what it is told to have seen.
fn strangers(team: &Team, n: u8, seen: impl Fn(u8) -> Vec<SeenHead>) -> Vec<Chain> {
    let stranger = |n: u8| {
        let identity = IdentityId::from_bytes([n; 32]);
        let mut chain = Chain::new(n, |key| Origin::package(team.package, key));
        chain.append(vec![], Body::PackageJoin(PackageJoin { package: team.package, identity }));
        chain.append(seen(n), Body::Seen);
        chain
    };
    (100..100 + n).map(stranger).collect()
}

/// The story of a contributor with 250 devices, all of whose logs come before the owner's new device does.
#[test]
fn who_has_a_role_and_many_devices_keeps_no_owner_out() {
    let mut team = Team::new(1, 1);
    name(&mut team, &[BOB], Role::Contributor);
    add_devices(&mut team, BOB, 250);
    let phone = team.add_device(ALICE);
    let released = team.say_blind(phone, release("1.0.0", 1)).into();
    let mut evidence = team.evidence();
    offer(&mut evidence, first_logs(&team, ALICE));
    assert_eq!(offer(&mut evidence, logs_of(&team, BOB)), HOLDER_LOGS);
    let package_logs = team.people[BOB].devices.iter().filter(|device| is_held(&evidence, &device.package)).count();
    assert_eq!(package_logs, HOLDER_LOGS / 4, "devices that say nothing here leave room for those that do");
    assert_eq!(evidence.without_room(), [team.id(BOB)].into(), "and that something is left out is said");
    offer(&mut evidence, logs_of(&team, ALICE));
    assert_eq!(exactly(&evidence, released), Ok(released));
    assert!(evidence.without_room().contains(&team.id(BOB)));
    // Whatever comes first, the owner's logs are all there.
    for order in [[BOB, ALICE], [ALICE, BOB]] {
        let mut evidence = team.evidence();
        offer(&mut evidence, order.iter().flat_map(|person| logs_of(&team, *person)));
        offer(&mut evidence, logs_of(&team, BOB));
        assert!(logs_of(&team, ALICE).into_iter().all(|chain| is_held(&evidence, chain)), "{order:?}");
        assert_eq!(exactly(&evidence, released), Ok(released));
    }
}

/// Many such people together take the places that are not the owners', and none more.
#[test]
fn however_many_people_have_roles_owners_find_room() {
    let mut team = Team::new(1, 12);
    let people: Vec<usize> = (1..13).collect();
    name(&mut team, &people, Role::Maintainer);
    for person in people.clone() {
        add_devices(&mut team, person, 12);
    }
    add_devices(&mut team, ALICE, 15);
    let mut evidence = team.evidence();
    offer(&mut evidence, first_logs(&team, ALICE));
    let taken = offer(&mut evidence, people.iter().flat_map(|person| logs_of(&team, *person)));
    assert_eq!(taken, EVIDENCE_LOGS - OWNERS_LOGS);
    offer(&mut evidence, logs_of(&team, ALICE));
    assert!(logs_of(&team, ALICE).into_iter().all(|chain| is_held(&evidence, chain)));
    assert_eq!(evidence.without_room().len(), people.len());
}

/// An owner with hundreds of devices leaves room for the others.
#[test]
fn one_owner_leaves_room_for_the_others() {
    let mut team = Team::new(4, 0);
    for person in [BOB, CAROL, DAVE] {
        add_devices(&mut team, person, 100);
    }
    add_devices(&mut team, ALICE, OWNER_LOGS_SURE / 2 - 1);
    let mut evidence = team.evidence();
    for person in [BOB, CAROL, DAVE] {
        offer(&mut evidence, logs_of(&team, person));
    }
    offer(&mut evidence, strangers(&team, 80, |_| vec![]).iter());
    offer(&mut evidence, logs_of(&team, ALICE));
    assert!(logs_of(&team, ALICE).into_iter().all(|chain| is_held(&evidence, chain)));
    assert!(evidence.heads().count() <= EVIDENCE_LOGS);
}

/// Somebody else calls the owner's device its own, to use up the place of that device's log.
#[test]
fn who_calls_anothers_device_its_own_takes_no_place_of_it() {
    let mut team = Team::new(1, 1);
    name(&mut team, &[BOB], Role::Contributor);
    let phone = team.add_device(ALICE);
    let key = team.device(phone).key;
    let label = syncra_protocol::name::RefName::parse("stolen").unwrap();
    let add =
        syncra_protocol::entry::AddDevice { device: key, role: syncra_protocol::entry::DeviceRole::Manager, label };
    team.people[BOB].devices[0].identity.append(vec![], Body::AddDevice(add));
    add_devices(&mut team, BOB, 20);
    let released = team.say_blind(phone, release("1.0.0", 1)).into();
    let mut evidence = team.evidence();
    offer(&mut evidence, first_logs(&team, ALICE));
    offer(&mut evidence, logs_of(&team, BOB));
    offer(&mut evidence, logs_of(&team, ALICE));
    assert_eq!(exactly(&evidence, released), Ok(released));
}

/// Strangers who name each other fill no more than strangers' places, whatever they wait for, and make room for somebody
/// whom an owner invites.
#[test]
fn what_strangers_wait_for_is_a_strangers() {
    let mut team = Team::new(1, 1);
    let all = strangers(&team, 120, |_| vec![]);
    // Each waits for the next.
    let named = |n: u8| all.get(usize::from(n) - 99).map(Chain::seen).into_iter().collect();
    let waiting = strangers(&team, 120, named);
    let mut evidence = team.evidence();
    offer(&mut evidence, first_logs(&team, ALICE));
    assert_eq!(offer(&mut evidence, &waiting), UNKNOWN_LOGS);
    let change = team.change(None, 2, &[(BOB, Some(Role::Owner))]);
    let change = team.say_blind((ALICE, 0), Body::Roles(change));
    let seen = vec![team.device((ALICE, 0)).package.seen()];
    team.say_knowing((BOB, 0), seen, Body::Endorse(syncra_protocol::entry::Endorse { entry: change }));
    let mut fresh = team.evidence();
    offer(&mut fresh, first_logs(&team, ALICE));
    offer(&mut fresh, &waiting);
    offer(&mut fresh, first_logs(&team, BOB));
    assert_eq!(fresh.owners(), &[team.id(ALICE), team.id(BOB)].into());
}

/// When all places are taken strangers' logs go for an owner's, but never what people name, nor what proves a fork.
#[test]
fn what_goes_for_others_is_named_by_nobody_and_forked_by_nobody() {
    let mut team = Team::new(1, 20);
    let (people, n_strangers) = ((1..21).collect::<Vec<_>>(), u8::try_from(UNKNOWN_LOGS).unwrap());
    name(&mut team, &people, Role::Maintainer);
    for person in people.clone() {
        add_devices(&mut team, person, 7);
    }
    let others = strangers(&team, n_strangers, |_| vec![]);
    // Alice names the second of them; the first is forked.
    let named = others[1].seen();
    let last = team.say_knowing((ALICE, 0), vec![named], release("1.0.0", 1)).into();
    let mut evidence = team.evidence();
    offer(&mut evidence, first_logs(&team, ALICE));
    assert!(matches!(evidence.blocked()[&team.device((ALICE, 0)).package.origin()], Blocked::Waiting { .. }));
    assert_eq!(offer(&mut evidence, &others), usize::from(n_strangers));
    let mut fork = others[0].fork(1);
    fork.append(vec![], release("6.6.6", 6));
    evidence.freeze(ForkProof::new(&others[0].head(), &fork.head(), None).unwrap());
    let before = evidence.fold();
    let taken = offer(&mut evidence, people.iter().flat_map(|person| logs_of(&team, *person)));
    let kept: Vec<bool> = others.iter().map(|chain| is_held(&evidence, chain)).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 2, "strangers' logs go for others' with a role");
    assert!(kept[0] && kept[1]);
    // The one that an owner names is on her account.
    assert_eq!(taken, EVIDENCE_LOGS - OWNERS_LOGS - 1);
    let after = evidence.fold();
    assert_eq!(exactly(&evidence, last), Ok(last), "what counted counts");
    assert_eq!((before.releases, before.refs), (after.releases, after.refs));
    assert!(is_held(&evidence, &team.device((ALICE, 0)).package));
}

/// A lost device is replaced by the recovery key's word, whoever sent other logs of that identity first.
#[test]
fn what_the_recovery_key_says_finds_room() {
    let mut team = Team::new(1, 1);
    name(&mut team, &[BOB], Role::Maintainer);
    add_devices(&mut team, BOB, 40);
    let id = team.id(BOB);
    let fresh = DeviceSecret::from_seed(&[77; 32]);
    let label = syncra_protocol::name::RefName::parse("new").unwrap();
    let admit = syncra_protocol::entry::AddDevice {
        device: fresh.public(),
        role: syncra_protocol::entry::DeviceRole::Manager,
        label,
    };
    let next = recovery_commitment(&recovery_secret(9).public());
    let statement = Statement { identity: id, previous: None, admit: Some(admit), revoke: vec![], lift: vec![], next };
    let recover: Recover = statement.sign(&recovery_secret(BOB));
    let join = || Body::IdentityJoin(IdentityJoin { identity: id });
    let carry = |seed: u8| {
        let mut chain = Chain::new(seed, |key| Origin::identity(id, key));
        chain.append(vec![], join());
        chain.append(vec![], Body::Recover(recover.clone()));
        chain
    };
    let own = carry(77);
    let mut evidence = team.evidence();
    offer(&mut evidence, first_logs(&team, ALICE));
    offer(&mut evidence, logs_of(&team, BOB));
    assert_eq!(offer(&mut evidence, [&own]), 1);
    assert!(evidence.fold().owners[&id].is_active(&fresh.public()));
    // Whoever repeats its words is a stranger.
    let copies: Vec<Chain> = (78..178).map(carry).collect();
    assert!(offer(&mut evidence, &copies) <= STRANGER_LOGS);
}

/// A recovery key that was replaced because somebody had seen it keeps the new one from nobody's ears.
#[test]
fn the_words_of_a_replaced_recovery_key_keep_out_none_of_the_new_one() {
    for is_owner in [true, false] {
        let mut team = Team::new(2, 1);
        let who = if is_owner { BOB } else { CAROL };
        if !is_owner {
            let change = team.change(None, 2, &[(CAROL, Some(Role::Maintainer))]);
            let change = team.say(ALICE, Body::Roles(change));
            team.endorse(BOB, change);
        }
        let id = team.id(who);
        let (old, new, last) = (recovery_secret(who), recovery_secret(9), recovery_secret(10));
        let admit = |device: &DeviceSecret| syncra_protocol::entry::AddDevice {
            device: device.public(),
            role: syncra_protocol::entry::DeviceRole::Manager,
            label: syncra_protocol::name::RefName::parse("new").unwrap(),
        };
        let next = recovery_commitment(&new.public());
        let rotated =
            Statement { identity: id, previous: None, admit: None, revoke: vec![], lift: vec![], next }.sign(&old);
        team.people[who].devices[0].identity.append(vec![], Body::Recover(rotated.clone()));
        let carry = |seed: u8, recover: Recover| {
            let mut chain = Chain::new(seed, |key| Origin::identity(id, key));
            chain.append(vec![], Body::IdentityJoin(IdentityJoin { identity: id }));
            chain.append(vec![], Body::Recover(recover));
            chain
        };
        let theirs: Vec<Chain> = (78..198)
            .map(|seed| {
                let admit = Some(admit(&DeviceSecret::from_seed(&[seed; 32])));
                let said = Statement { identity: id, previous: None, admit, revoke: vec![], lift: vec![], next };
                carry(seed, said.sign(&old))
            })
            .collect();
        let fresh = DeviceSecret::from_seed(&[77; 32]);
        let own = Statement {
            identity: id,
            previous: Some(rotated.statement.id()),
            admit: Some(admit(&fresh)),
            revoke: vec![],
            lift: vec![],
            next: recovery_commitment(&last.public()),
        };
        let own = carry(77, own.sign(&new));
        let mut evidence = team.evidence();
        offer(&mut evidence, first_logs(&team, ALICE));
        offer(&mut evidence, first_logs(&team, BOB));
        offer(&mut evidence, first_logs(&team, who));
        offer(&mut evidence, &theirs);
        assert_eq!(offer(&mut evidence, [&own]), 1, "an owner's: {is_owner}");
        assert!(evidence.fold().owners[&id].is_active(&fresh.public()), "an owner's: {is_owner}");
    }
}

/// Two readers who were sent the same logs in other orders and hold other parts of a person's: each says so, what both hold of
/// all others is the same, and neither has what it holds not.
#[test]
fn readers_who_hold_other_parts_say_so_and_agree_on_all_others() {
    let mut team = Team::new(2, 1);
    let change = team.change(None, 2, &[(CAROL, Some(Role::Maintainer))]);
    let change = team.say(ALICE, Body::Roles(change));
    let endorsed = team.seen((BOB, 0), |_| true);
    team.say_knowing((BOB, 0), endorsed, Body::Endorse(syncra_protocol::entry::Endorse { entry: change }));
    let known = team.seen((CAROL, 0), |chain| chain.origin().key != team.device((CAROL, 0)).key);
    let theirs: Vec<ReleaseId> = (0..20)
        .map(|n| {
            let device: DeviceAt = team.add_device(CAROL);
            team.say_knowing(device, known.clone(), release(&format!("1.{n}.0"), n)).into()
        })
        .collect();
    let ours: ReleaseId = team.say_blind((ALICE, 0), release("2.0.0", 1)).into();
    let read = |is_reversed: bool| {
        let mut evidence = team.evidence();
        offer(&mut evidence, first_logs(&team, ALICE));
        offer(&mut evidence, first_logs(&team, BOB));
        let mut carols = logs_of(&team, CAROL);
        carols[1..].sort_by_key(|chain| matches!(chain.origin().subject, Subject::Identity(_)));
        if is_reversed {
            carols[1..].reverse();
        }
        offer(&mut evidence, carols);
        evidence
    };
    let (first, second) = (read(false), read(true));
    let (of_first, of_second) = (first.fold(), second.fold());
    let has = |evidence: &Evidence| theirs.iter().filter(|id| exactly(evidence, **id).is_ok()).count();
    assert!(has(&first) > 0 && has(&second) > 0 && of_first.frontier != of_second.frontier);
    for evidence in [&first, &second] {
        assert_eq!(evidence.without_room(), [team.id(CAROL)].into());
        assert_eq!(exactly(evidence, ours), Ok(ours));
    }
    assert_eq!(of_first.rights, of_second.rights);
    let common: BTreeSet<_> = of_first.releases.keys().filter(|id| of_second.releases.contains_key(*id)).collect();
    assert!(common.iter().all(|id| of_first.releases[*id].standing == of_second.releases[*id].standing));
}
