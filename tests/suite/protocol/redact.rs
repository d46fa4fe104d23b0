//! Redaction, told as stories: who takes bytes away, what goes with them, and what does not bring them back.

use syncra_protocol::entry::{Body, Cut, DeviceCuts, Endorse, Redact, RedactReason, RefClass, Role, Suspend, Yank};
use syncra_protocol::fold::{OpenChange, PackageState, Pick, SelectError};
use syncra_protocol::id::{BlobId, EntryId, ReleaseId};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::name::RefName;
use syncra_protocol::version::{Version, VersionReq};

use syncra_sim::world::{moved, release};

use crate::team::{ALICE, BOB, CAROL, DAVE, Team};

/// The content, and the manifest, of what [`release`] makes of a tree.
fn content(tree: u8) -> BlobId {
    BlobId::from_bytes([tree; 32])
}

fn redact(trees: &[u8]) -> Body {
    let blobs = trees.iter().map(|tree| content(*tree)).collect();
    Body::Redact(Redact { blobs, reason: RedactReason::Secret })
}

fn is_redacted(state: &PackageState, tree: u8) -> bool {
    state.redacted.contains_key(&content(tree))
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn refused(release: ReleaseId, text: &str) -> Result<ReleaseId, SelectError> {
    Err(SelectError::Redacted { version: version(text), release, reason: RedactReason::Secret })
}

fn pick(state: &PackageState, pick: &Pick) -> Result<ReleaseId, SelectError> {
    state.select(pick).map(|selection| selection.release)
}

fn stable() -> Pick {
    Pick::Ref(RefClass::Channel, RefName::stable())
}

#[test]
fn what_its_owner_redacts_is_refused_by_every_name_and_its_place_stays() {
    let mut team = Team::new(1, 0);
    let first = team.publish(ALICE, "1.0.0", 1);
    let second = team.publish(ALICE, "1.1.0", 2);
    team.say(ALICE, moved(RefClass::Channel, "stable", Some(second)));
    let before = team.state();
    team.say(ALICE, redact(&[2]));
    let state = team.state();
    for wish in [Pick::Release(second), Pick::Version(version("1.1.0")), stable()] {
        assert_eq!(pick(&state, &wish), refused(second, "1.1.0"), "{wish:?}");
    }
    let any = Pick::Highest(VersionReq::any());
    assert_eq!(pick(&state, &any), Ok(first), "who only wants the highest gets the one below");
    assert_eq!(pick(&state, &Pick::Release(first)), Ok(first));
    assert_eq!((&state.releases, &state.versions, &state.refs), (&before.releases, &before.versions, &before.refs));
    assert_eq!(state.changes_since(Some(&before)).redacted, [content(2)]);
    // Its version stays taken, and other files with the same bytes are no way around it.
    let again = team.publish(ALICE, "1.1.0", 3);
    assert!(matches!(pick(&team.state(), &Pick::Release(again)), Err(SelectError::Reused { .. })));
    let renamed = team.publish(ALICE, "1.2.0", 2);
    assert_eq!(pick(&team.state(), &Pick::Release(renamed)), refused(renamed, "1.2.0"));
    assert_eq!(team.newcomer(), team.state());
}

/// Whatever comes later, whoever says it: the bytes stay away.
#[test]
fn nothing_that_is_said_later_brings_it_back() {
    let mut team = Team::new(1, 2);
    let released = team.publish(ALICE, "1.0.0", 1);
    team.say(ALICE, Body::Yank(Yank { release: released, undo: false, reason: None }));
    team.say(ALICE, redact(&[1]));
    team.say(ALICE, Body::Yank(Yank { release: released, undo: true, reason: None }));
    team.say(ALICE, moved(RefClass::Channel, "stable", Some(released)));
    // More owners, of whom more must agree from now on, and then the one who redacted is gone.
    let change = team.change(None, 2, &[(BOB, Some(Role::Owner)), (CAROL, Some(Role::Owner))]);
    let more = team.say(ALICE, Body::Roles(change));
    team.endorse(BOB, more);
    team.endorse(CAROL, more);
    assert!(is_redacted(&team.state(), 1));
    let change = team.change(Some(more), 2, &[(ALICE, None)]);
    let gone = team.say(BOB, Body::Roles(change));
    team.endorse(CAROL, gone);
    let state = team.state();
    assert_eq!(state.rights.role(&team.id(ALICE)), None);
    assert_eq!(pick(&state, &Pick::Release(released)), refused(released, "1.0.0"));
    assert!(state.open.is_empty());
}

/// A copy of the release that nobody knew of when it was redacted, and that arrives last, is refused too.
#[test]
fn a_release_of_the_same_bytes_that_nobody_had_seen_is_redacted_with_it() {
    let mut team = Team::new(1, 1);
    let change = team.change(None, 1, &[(BOB, Some(Role::Maintainer))]);
    team.say(ALICE, Body::Roles(change));
    team.say(BOB, Body::Seen);
    team.say(ALICE, redact(&[5]));
    let late = team.publish_blind(BOB, "1.0.0", 5);
    assert_eq!(pick(&team.state(), &Pick::Release(late)), refused(late, "1.0.0"));
}

#[test]
fn a_maintainer_a_contributor_and_a_stranger_redact_nothing() {
    let mut team = Team::new(1, 3);
    let change = team.change(None, 1, &[(BOB, Some(Role::Maintainer)), (CAROL, Some(Role::Contributor))]);
    team.say(ALICE, Body::Roles(change));
    let released = team.publish(ALICE, "1.0.0", 1);
    let own = team.publish(BOB, "1.1.0", 2);
    for who in [BOB, CAROL, DAVE] {
        team.say(who, redact(&[1, 2]));
    }
    let state = team.state();
    assert!(state.redacted.is_empty() && state.open.is_empty());
    assert_eq!((pick(&state, &Pick::Release(released)), pick(&state, &Pick::Release(own))), (Ok(released), Ok(own)));
}

#[test]
fn of_three_owners_two_must_agree() {
    let mut team = Team::new(3, 1);
    let released = team.publish(ALICE, "1.0.0", 1);
    let said = team.say(ALICE, redact(&[1]));
    team.endorse(DAVE, said);
    team.endorse(ALICE, said);
    let state = team.state();
    assert_eq!(pick(&state, &Pick::Release(released)), Ok(released));
    let [open] = &state.open[..] else { panic!("{:?}", state.open) };
    assert_eq!((open.entry, open.by, open.needs[0].n_more), (said, team.id(ALICE), 1));
    assert!(matches!(&open.change, OpenChange::Redact(redact) if redact.blobs == [content(1)]));
    team.endorse(CAROL, said);
    let state = team.state();
    assert_eq!(pick(&state, &Pick::Release(released)), refused(released, "1.0.0"));
    assert!(state.open.is_empty());
    // Once it is so, what others proposed of the same waits for nobody.
    team.say(BOB, redact(&[1]));
    assert!(team.state().open.is_empty());
}

/// The founder had the say alone once. Its other device does not look at what came since.
#[test]
fn whoever_does_not_look_at_the_other_owners_does_not_get_around_them() {
    let mut team = Team::new(1, 1);
    let phone = team.add_device(ALICE);
    team.publish(ALICE, "1.0.0", 1);
    let change = team.change(None, 2, &[(BOB, Some(Role::Owner))]);
    let named = team.say(ALICE, Body::Roles(change));
    team.endorse(BOB, named);
    let said = team.say_blind(phone, redact(&[1]));
    let state = team.state();
    assert!(!is_redacted(&state, 1));
    assert_eq!(state.open[0].needs[0].of, [team.id(BOB)].into());
    // Nor by saying once more that it agrees to them, having seen its own word.
    let seen = team.seen(phone, |_| true);
    team.say_knowing(phone, seen, Body::Endorse(Endorse { entry: named }));
    assert!(!is_redacted(&team.state(), 1));
    team.endorse(BOB, said);
    assert!(is_redacted(&team.state(), 1));
}

/// Two owners had redacted it when a third agreed, with one of them, to ask for more from then on.
#[test]
fn a_change_that_was_agreed_to_later_takes_no_redaction_back() {
    let mut team = Team::new(3, 1);
    team.publish(ALICE, "1.0.0", 1);
    let change = team.change(None, 3, &[(DAVE, Some(Role::Owner))]);
    // Proposed before anything was redacted.
    let change = team.say(CAROL, Body::Roles(change));
    let said = team.say(ALICE, redact(&[1]));
    team.endorse(BOB, said);
    team.endorse(BOB, change);
    team.endorse(DAVE, change);
    let state = team.state();
    assert_eq!((state.rights.last, state.rights.owner_threshold), (Some(change), 3));
    assert!(is_redacted(&state, 1) && state.open.is_empty());
}

/// A thief of one device takes bytes away that come back when the device is cut; what a sibling built on stays.
#[test]
fn what_a_device_redacted_beyond_its_cut_is_as_if_it_had_not() {
    let mut team = Team::new(1, 0);
    let phone = team.add_device(ALICE);
    team.publish(ALICE, "1.0.0", 1);
    team.publish(ALICE, "1.1.0", 2);
    let seen = team.seen(phone, |_| true);
    team.say_knowing(phone, seen, redact(&[1]));
    team.say(ALICE, Body::Seen);
    let at = &team.device(phone).package;
    let cut = Cut { size: at.size() - 1, root: at.log.root_at(at.size() - 1).unwrap() };
    team.say_blind(phone, redact(&[2]));
    assert!(is_redacted(&team.state(), 2));
    let cuts = DeviceCuts { device: team.device(phone).key, identity: None, packages: vec![(team.package, Some(cut))] };
    team.people[ALICE].devices[0].identity.append(vec![], Body::Suspend(Suspend { cuts }));
    let state = team.state();
    assert!(is_redacted(&state, 1), "a sibling takes back nothing that others have built on");
    assert!(!is_redacted(&state, 2));
}

#[test]
fn what_is_redacted_in_one_of_two_histories_only_stays() {
    let mut team = Team::new(1, 0);
    team.publish(ALICE, "1.0.0", 1);
    let mut other = team.people[ALICE].devices[0].package.fork(2);
    team.say(ALICE, redact(&[1]));
    other.append(vec![], release("6.6.6", 6));
    let ours = &team.people[ALICE].devices[0].package;
    let proof = ForkProof::new(&ours.head_at(3), &other.head_at(3), None).unwrap();
    let mut evidence = team.delivered(0);
    assert!(is_redacted(&evidence.fold(), 1));
    evidence.freeze(proof);
    evidence.settle_fork(&other.origin(), 2);
    assert!(!is_redacted(&evidence.fold(), 1), "what nothing fixes hides and throws nothing away");
}

#[test]
fn a_text_alone_goes_without_the_release() {
    let mut team = Team::new(1, 0);
    let note = BlobId::from_bytes([0x77; 32]);
    let Body::Release(mut body) = release("1.0.0", 1) else { panic!("a release") };
    body.note = Some(note);
    let released = ReleaseId::from(team.say(ALICE, Body::Release(body)));
    team.say(ALICE, Body::Redact(Redact { blobs: vec![note], reason: RedactReason::Personal }));
    let state = team.state();
    assert_eq!(pick(&state, &Pick::Release(released)), Ok(released));
    assert_eq!(state.redacted[&note].reason, RedactReason::Personal);
    // Of two that say it the first is told.
    team.say(ALICE, Body::Redact(Redact { blobs: vec![note], reason: RedactReason::Rights }));
    assert_eq!(team.state().redacted, state.redacted);
}

/// What nobody agreed to is shown of each owner up to a number, the latest first.
#[test]
fn nobody_fills_others_lists() {
    let mut team = Team::new(3, 0);
    let said: Vec<EntryId> = (1..=20).map(|tree| team.say(BOB, redact(&[tree]))).collect();
    let other = team.say(CAROL, redact(&[30]));
    let shown: Vec<EntryId> = team.state().open.iter().map(|open| open.entry).collect();
    assert_eq!(shown.len(), 17);
    assert!(shown.contains(&other) && shown.contains(&said[19]) && !shown.contains(&said[3]));
}
