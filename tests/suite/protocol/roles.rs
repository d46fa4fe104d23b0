//! Several owners and roles, told as stories: who may do what, from when, and how far.

use std::collections::BTreeSet;

use syncra_protocol::entry::{Body, Cut, DeviceCuts, RefClass, Role, Roles, Suspend, Yank};
use syncra_protocol::fold::{FOLD_RULES, PackageState, Pick, SelectError, Standing, VersionState};
use syncra_protocol::id::{EntryId, ReleaseId};
use syncra_protocol::limits::ROLE_CHAIN;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::name::RefName;
use syncra_protocol::version::Version;

use syncra_sim::world::{moved, release};

use crate::team::{ALICE, BOB, CAROL, DAVE, Team};

const OWNER: Option<Role> = Some(Role::Owner);
const MAINTAINER: Option<Role> = Some(Role::Maintainer);
const CONTRIBUTOR: Option<Role> = Some(Role::Contributor);

fn exactly(state: &PackageState, release: ReleaseId) -> Result<ReleaseId, SelectError> {
    state.select(&Pick::Release(release)).map(|selection| selection.release)
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn at(state: &PackageState, class: RefClass, name: &str) -> Option<BTreeSet<Option<ReleaseId>>> {
    state.refs.get(&(class, RefName::parse(name).unwrap())).map(syncra_protocol::fold::RefState::values)
}

fn channel(to: ReleaseId) -> Body {
    moved(RefClass::Channel, "stable", Some(to))
}

fn protect(previous: Option<EntryId>, threshold: u8) -> Body {
    let protect = vec![(RefClass::Channel, RefName::stable(), true)];
    Body::Roles(Roles { previous, changes: vec![], owner_threshold: threshold, protect, cuts: vec![], rules: None })
}

/// Alice owns, and names Bob a maintainer.
fn pair() -> (Team, EntryId) {
    let mut team = Team::new(1, 1);
    let change = team.change(None, 1, &[(BOB, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    (team, named)
}

#[test]
fn two_owners_publish_without_asking_each_other() {
    let mut team = Team::new(2, 0);
    let first = team.publish_blind(ALICE, "1.0.0", 1);
    let second = team.publish_blind(BOB, "1.1.0", 2);
    let state = team.state();
    assert_eq!((exactly(&state, first), exactly(&state, second)), (Ok(first), Ok(second)));
    assert_eq!(state.rights.owner_threshold, 2);
    assert_eq!(team.newcomer(), state);
}

#[test]
fn a_maintainer_speaks_from_the_entry_on_that_knows_of_being_named() {
    let mut team = Team::new(1, 1);
    let early = team.publish_blind(BOB, "0.9.0", 9);
    let change = team.change(None, 1, &[(BOB, MAINTAINER)]);
    team.say(ALICE, Body::Roles(change));
    let blind = team.publish_blind(BOB, "0.9.1", 9);
    let late = team.publish(BOB, "1.0.0", 1);
    team.say(BOB, channel(late));
    let state = team.state();
    assert_eq!(exactly(&state, early), Err(SelectError::NoRelease(early)));
    assert_eq!(exactly(&state, blind), Err(SelectError::NoRelease(blind)));
    assert_eq!(exactly(&state, late), Ok(late));
    assert_eq!(at(&state, RefClass::Channel, "stable"), Some([Some(late)].into()));
    assert!(state.may_write(&team.id(BOB), &team.people[BOB].devices[0].key));
    assert_eq!(team.newcomer(), state, "who begins with the owner alone finds the maintainer's logs");
}

/// A maintainer changes nobody's role, its own least of all.
#[test]
fn only_owners_change_roles() {
    let (mut team, named) = pair();
    let change = team.change(Some(named), 1, &[(BOB, OWNER), (ALICE, None)]);
    let tried = team.say(BOB, Body::Roles(change));
    team.endorse(BOB, tried);
    let state = team.state();
    assert_eq!(state.rights.roles, [(team.id(ALICE), Role::Owner), (team.id(BOB), Role::Maintainer)].into());
    assert!(state.open.is_empty(), "and what nobody may propose waits for nobody");
}

#[test]
fn a_new_owner_has_to_agree_and_then_counts() {
    let mut team = Team::new(1, 1);
    let change = team.change(None, 2, &[(BOB, OWNER)]);
    let change = team.say(ALICE, Body::Roles(change));
    let state = team.state();
    assert_eq!(state.rights.role(&team.id(BOB)), None);
    assert_eq!(state.open.len(), 1);
    assert_eq!((state.open[0].entry, state.open[0].needs[0].n_more), (change, 1));
    assert_eq!(state.open[0].needs[0].of, [team.id(BOB)].into());
    team.endorse(BOB, change);
    let state = team.state();
    assert_eq!(state.rights.owners().collect::<BTreeSet<_>>(), [team.id(ALICE), team.id(BOB)].into());
    assert!(state.open.is_empty());
    assert_eq!(team.newcomer(), state);
}

/// The story of a maintainer who goes on: not looking at anything new, and telling newcomers first.
#[test]
fn a_removed_maintainers_later_releases_are_refused_everywhere() {
    let (mut team, named) = pair();
    let honest = team.publish(BOB, "1.0.0", 1);
    let removal = team.change(Some(named), 1, &[(BOB, None)]);
    team.say(ALICE, Body::Roles(removal));
    let backdated = team.publish_blind(BOB, "1.0.1", 2);
    team.say_blind((BOB, 0), channel(backdated));
    team.say_blind((BOB, 0), Body::Yank(Yank { release: honest, undo: false, reason: None }));
    let knowing = team.publish(BOB, "1.0.2", 3);
    let state = team.state();
    assert_eq!(exactly(&state, honest), Ok(honest), "what was before stays");
    assert_eq!(exactly(&state, backdated), Err(SelectError::Revoked { version: version("1.0.1") }));
    assert_eq!(exactly(&state, knowing), Err(SelectError::NoRelease(knowing)));
    assert_eq!(at(&state, RefClass::Channel, "stable"), None);
    assert!(state.yanked.is_empty() && !state.may_write(&team.id(BOB), &team.people[BOB].devices[0].key));
    assert_eq!(team.newcomer(), state);
    let again = team.publish(ALICE, "1.0.1", 4);
    assert_eq!(exactly(&team.state(), again), Ok(again), "the version is free");
    // Named again, what is written from then on counts, and nothing in between.
    let last = team.state().rights.last;
    let change = team.change(last, 1, &[(BOB, MAINTAINER)]);
    team.say(ALICE, Body::Roles(change));
    let back = team.publish(BOB, "2.0.0", 5);
    let state = team.state();
    assert_eq!(exactly(&state, back), Ok(back));
    assert!(exactly(&state, backdated).is_err() && exactly(&state, knowing).is_err());
}

/// An accomplice who has seen everything of it saves nothing.
#[test]
fn a_removal_takes_what_another_maintainer_has_built_on() {
    let mut team = Team::new(1, 2);
    let change = team.change(None, 1, &[(BOB, MAINTAINER), (CAROL, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    team.publish(BOB, "1.0.0", 1);
    let removal = team.change(Some(named), 1, &[(BOB, None)]);
    let later = team.publish(BOB, "1.0.1", 2);
    let vouched = team.publish(CAROL, "1.0.2", 3);
    team.say(ALICE, Body::Roles(removal));
    let state = team.state();
    assert!(exactly(&state, later).is_err());
    assert_eq!(exactly(&state, vouched), Ok(vouched));
}

#[test]
fn a_maintainer_who_becomes_a_contributor_counts_as_one_beyond_the_cut() {
    let (mut team, named) = pair();
    team.publish(BOB, "1.0.0", 1);
    let lowered = team.change(Some(named), 1, &[(BOB, CONTRIBUTOR)]);
    team.say(ALICE, Body::Roles(lowered));
    let blind = team.publish_blind(BOB, "1.0.1", 2);
    team.say_blind((BOB, 0), channel(blind));
    let state = team.state();
    assert_eq!(state.releases[&blind].standing, Standing::Contributed);
    assert_eq!(at(&state, RefClass::Channel, "stable"), None);
}

/// The story of a thief with one of three owners' keys.
#[test]
fn one_of_three_owners_changes_nothing() {
    let mut team = Team::new(3, 2);
    let released = team.publish(ALICE, "1.0.0", 1);
    team.say(ALICE, channel(released));
    let before = team.state();
    let removal = team.change(None, 1, &[(ALICE, None), (BOB, None)]);
    let removal = team.say(CAROL, Body::Roles(removal));
    let friends = team.change(None, 3, &[(DAVE, OWNER), (4, MAINTAINER)]);
    let friends = team.say(CAROL, Body::Roles(friends));
    // Its friends agree; they are nobody.
    for friend in [DAVE, 4] {
        team.endorse(friend, removal);
        team.endorse(friend, friends);
    }
    team.endorse(CAROL, removal);
    let theirs = team.publish(4, "6.6.6", 6);
    let state = team.state();
    assert_eq!((&state.rights, &state.refs), (&before.rights, &before.refs));
    assert_eq!(exactly(&state, theirs), Err(SelectError::NoRelease(theirs)));
    assert_eq!(state.open.len(), 2, "and everybody sees what it tried");
    // Out it goes, though it never agrees.
    let out = team.change(None, 2, &[(CAROL, None)]);
    let out = team.say(ALICE, Body::Roles(out));
    team.endorse(BOB, out);
    let state = team.state();
    assert_eq!(state.rights.owners().collect::<BTreeSet<_>>(), [team.id(ALICE), team.id(BOB)].into());
    assert!(state.open.is_empty(), "what followed the old rights is over");
}

/// Two owners remove each other at the same time, and the third agreed to both: one of the two changes has taken place, for
/// everybody the same one, and the other cannot any more.
#[test]
fn of_two_owners_who_remove_each_other_one_stays() {
    let mut team = Team::new(3, 0);
    let (of_bob, of_alice) = (team.change(None, 2, &[(BOB, None)]), team.change(None, 2, &[(ALICE, None)]));
    let by_alice = team.say_blind((ALICE, 0), Body::Roles(of_bob));
    let by_bob = team.say_blind((BOB, 0), Body::Roles(of_alice));
    assert_eq!(team.state().open.len(), 2, "nothing has happened");
    let both = team.seen((CAROL, 0), |_| true);
    team.say_knowing((CAROL, 0), both, Body::Endorse(syncra_protocol::entry::Endorse { entry: by_bob }));
    // It has the other change in its past, complete, and so agrees to nothing that is still possible.
    team.endorse(CAROL, by_alice);
    let state = team.state();
    assert_eq!(state.rights.last, Some(by_bob));
    assert_eq!(state.rights.owners().collect::<BTreeSet<_>>(), [team.id(BOB), team.id(CAROL)].into());
    assert!(state.open.is_empty());
    assert_eq!(team.newcomer(), state);
}

/// With two owners each change needs both, so neither can be put out: what one says alone waits, and nothing is lost.
#[test]
fn two_owners_who_disagree_keep_their_package() {
    let mut team = Team::new(2, 0);
    let (of_bob, of_alice) = (team.change(None, 1, &[(BOB, None)]), team.change(None, 1, &[(ALICE, None)]));
    team.say_blind((ALICE, 0), Body::Roles(of_bob));
    team.say_blind((BOB, 0), Body::Roles(of_alice));
    let (first, second) = (team.publish(ALICE, "1.0.0", 1), team.publish(BOB, "1.0.1", 2));
    let state = team.state();
    assert_eq!((state.rights.owners().count(), state.open.len()), (2, 2));
    assert_eq!((exactly(&state, first), exactly(&state, second)), (Ok(first), Ok(second)));
    // The way out: one goes by itself, and the other agrees.
    let goes = team.change(None, 1, &[(BOB, None)]);
    let goes = team.say(BOB, Body::Roles(goes));
    team.endorse(ALICE, goes);
    let state = team.state();
    assert_eq!(state.rights.owners().collect::<Vec<_>>(), [team.id(ALICE)]);
    assert_eq!(exactly(&state, second), Ok(second), "who goes leaves everything behind");
}

/// Carol agreed long ago and tells nobody until later: what as many others as it takes have built on meanwhile stays.
#[test]
fn an_agreement_that_was_withheld_undoes_nothing_that_enough_others_built_on() {
    let mut team = Team::new(3, 1);
    let change = team.change(None, 2, &[(DAVE, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    team.endorse(BOB, named);
    let first = team.publish(DAVE, "1.0.0", 1);
    let removal = team.change(Some(named), 2, &[(DAVE, None)]);
    let removal = team.say(ALICE, Body::Roles(removal));
    let everything = team.seen((CAROL, 0), |_| true);
    // Not removed yet: Dave goes on, and Alice and Bob build on it.
    let settled = team.publish(DAVE, "1.1.0", 2);
    let onto = [team.publish(ALICE, "1.2.0", 3), team.publish(BOB, "1.2.1", 3)];
    let loose = team.publish(DAVE, "1.3.0", 4);
    // One alone does not keep it.
    let vouched = team.publish(ALICE, "1.4.0", 5);
    assert_eq!(exactly(&team.state(), loose), Ok(loose));
    team.say_knowing((CAROL, 0), everything, Body::Endorse(syncra_protocol::entry::Endorse { entry: removal }));
    let state = team.state();
    for release in [first, settled, onto[0], onto[1], vouched] {
        assert_eq!(exactly(&state, release), Ok(release));
    }
    assert!(exactly(&state, loose).is_err(), "the last one only Alice has built on");
    assert_eq!(state.rights.role(&team.id(DAVE)), None);
}

/// The story of an owner who is put out and then agrees to it, so as to choose how much of its log stays.
#[test]
fn who_agrees_to_its_own_removal_too_late_keeps_nothing_by_it() {
    let mut team = Team::new(3, 1);
    let honest = team.publish(CAROL, "1.0.0", 1);
    let removal = team.change(None, 2, &[(CAROL, None)]);
    let removal = team.say(ALICE, Body::Roles(removal));
    team.endorse(BOB, removal);
    let known = team.seen((CAROL, 0), |_| true);
    let evil = team.publish_blind(CAROL, "6.6.6", 6);
    team.say_blind((CAROL, 0), channel(evil));
    team.say_knowing((CAROL, 0), known, Body::Endorse(syncra_protocol::entry::Endorse { entry: removal }));
    let state = team.state();
    assert_eq!(exactly(&state, honest), Ok(honest));
    assert!(exactly(&state, evil).is_err());
    assert_eq!(at(&state, RefClass::Channel, "stable"), None);
    assert_eq!(team.newcomer(), state);
}

/// One of the owners who stay helps somebody who was removed: by agreeing once more having seen what came later, and by building
/// on it while looking away.
#[test]
fn no_single_owner_keeps_in_who_was_removed() {
    let mut team = Team::new(3, 1);
    let change = team.change(None, 2, &[(DAVE, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    team.endorse(BOB, named);
    let honest = team.publish(DAVE, "1.0.0", 1);
    // No cut is named, as for a log that nobody knew of.
    let mut removal = team.change(Some(named), 2, &[(DAVE, None)]);
    removal.cuts.clear();
    let removal = team.say(ALICE, Body::Roles(removal));
    team.endorse(BOB, removal);
    let later = team.publish_blind(DAVE, "6.6.6", 6);
    team.endorse(CAROL, removal);
    team.publish(CAROL, "6.6.7", 7);
    let state = team.state();
    assert_eq!(exactly(&state, honest), Ok(honest));
    assert!(exactly(&state, later).is_err());
    assert_eq!(team.newcomer(), state);
}

/// A protected channel, and an owner who has a move ready that does not know of the protection, and agrees to that afterwards.
#[test]
fn who_agrees_to_a_protection_once_more_moves_nothing_past_it() {
    let mut team = Team::new(3, 0);
    let good = team.publish(ALICE, "1.0.0", 1);
    team.say(ALICE, channel(good));
    let blind = team.seen((CAROL, 0), |_| true);
    let protection = team.say(ALICE, protect(None, 2));
    team.endorse(BOB, protection);
    let evil = team.publish_blind(CAROL, "6.6.6", 6);
    team.say_knowing((CAROL, 0), blind, channel(evil));
    assert_eq!(at(&team.state(), RefClass::Channel, "stable"), Some([Some(good)].into()));
    team.endorse(CAROL, protection);
    assert_eq!(at(&team.state(), RefClass::Channel, "stable"), Some([Some(good)].into()));
}

/// The same for a grant: rights that were given in secret make nothing of what was written in public.
#[test]
fn a_grant_that_was_withheld_gives_no_right_to_what_did_not_know_of_it() {
    let mut team = Team::new(3, 1);
    let change = team.change(None, 2, &[(DAVE, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    let before = team.publish(DAVE, "1.0.0", 66);
    let settled = team.publish(BOB, "1.0.0", 1);
    team.endorse(CAROL, named);
    let state = team.state();
    assert_eq!(state.versions[&version("1.0.0")], VersionState::Settled(settled));
    assert_eq!(exactly(&state, before), Err(SelectError::NoRelease(before)));
}

#[test]
fn a_contributor_has_branches_and_takes_no_version() {
    let mut team = Team::new(1, 1);
    let change = team.change(None, 1, &[(BOB, CONTRIBUTOR)]);
    let named = team.say(ALICE, Body::Roles(change));
    let theirs = team.publish(BOB, "1.0.0", 1);
    let branch = |name: &str| moved(RefClass::Branch, name, Some(theirs));
    team.say(BOB, branch("work/fins"));
    team.say(BOB, channel(theirs));
    team.say(BOB, moved(RefClass::Tag, "v1", Some(theirs)));
    let mine = team.publish(ALICE, "1.0.0", 2);
    team.say(BOB, Body::Yank(Yank { release: mine, undo: false, reason: None }));
    let state = team.state();
    assert_eq!(state.versions[&version("1.0.0")], VersionState::Settled(mine), "it contests nothing");
    assert_eq!(exactly(&state, theirs), Ok(theirs));
    let pick = Pick::Ref(RefClass::Branch, RefName::parse("work/fins").unwrap());
    assert_eq!(state.select(&pick).unwrap().release, theirs);
    assert_eq!((at(&state, RefClass::Channel, "stable"), at(&state, RefClass::Tag, "v1")), (None, None));
    assert!(state.yanked.is_empty());
    // A branch that is protected is not its to move, and nobody else's without agreement.
    let protect = vec![(RefClass::Branch, RefName::parse("main").unwrap(), true)];
    team.say(ALICE, Body::Roles(Roles { protect, ..team.change(Some(named), 1, &[]) }));
    team.say(BOB, branch("main"));
    let state = team.state();
    assert_eq!(at(&state, RefClass::Branch, "main"), None);
    assert!(state.open.is_empty(), "nor can it wait for it");
    team.say(ALICE, branch("main"));
    assert_eq!(at(&team.state(), RefClass::Branch, "main"), Some([Some(theirs)].into()));
}

#[test]
fn a_protected_ref_stays_where_enough_owners_agreed() {
    let mut team = Team::new(3, 1);
    let base = team.publish(ALICE, "1.0.0", 1);
    team.say(ALICE, channel(base));
    let named = team.change(None, 2, &[(DAVE, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(named));
    team.endorse(BOB, named);
    let protected = team.say(ALICE, protect(Some(named), 2));
    team.endorse(BOB, protected);
    let next = team.publish(DAVE, "1.1.0", 2);
    let moving = team.say(DAVE, channel(next));
    let state = team.state();
    assert_eq!(at(&state, RefClass::Channel, "stable"), Some([Some(base)].into()));
    assert_eq!((state.open.len(), state.open[0].entry, state.open[0].needs[0].n_more), (1, moving, 2));
    team.endorse(DAVE, moving);
    team.endorse(CAROL, moving);
    assert_eq!(at(&team.state(), RefClass::Channel, "stable"), Some([Some(base)].into()), "one owner is not enough");
    team.endorse(BOB, moving);
    let state = team.state();
    assert_eq!(at(&state, RefClass::Channel, "stable"), Some([Some(next)].into()));
    assert!(state.open.is_empty());
    // An owner's own word counts as one.
    let last = team.publish(ALICE, "1.2.0", 3);
    let moving = team.say(ALICE, channel(last));
    team.endorse(CAROL, moving);
    assert_eq!(at(&team.state(), RefClass::Channel, "stable"), Some([Some(last)].into()));
}

/// Whoever does not look at the protection does not get around it; what it had seen stays.
#[test]
fn protection_counts_also_for_who_does_not_know_of_it() {
    let (mut team, named) = pair();
    let base = team.publish(BOB, "1.0.0", 1);
    team.say(BOB, channel(base));
    team.say(ALICE, protect(Some(named), 1));
    let next = team.publish_blind(BOB, "1.1.0", 2);
    let moving = team.say_blind((BOB, 0), channel(next));
    let state = team.state();
    assert_eq!(at(&state, RefClass::Channel, "stable"), Some([Some(base)].into()));
    assert_eq!(exactly(&state, next), Ok(next), "the release itself is as good as ever");
    team.endorse(ALICE, moving);
    assert_eq!(at(&team.state(), RefClass::Channel, "stable"), Some([Some(next)].into()));
}

#[test]
fn what_cannot_be_is_no_change() {
    let mut team = Team::new(3, 1);
    let none = [(ALICE, None), (BOB, None), (CAROL, None)];
    let [nobody, half, more] = [team.change(None, 1, &none), team.change(None, 1, &[]), team.change(None, 4, &[])];
    for change in [nobody, half, more] {
        let change = team.say(ALICE, Body::Roles(change));
        team.endorse(BOB, change);
        team.endorse(CAROL, change);
    }
    let state = team.state();
    assert_eq!((state.rights.last, state.open.len()), (None, 0));
}

/// A device counts for its identity here as everywhere; and cutting it back does not undo what others agreed to with it.
#[test]
fn whoever_cuts_back_a_device_of_its_own_undoes_no_change_that_others_agreed_to() {
    let mut team = Team::new(3, 1);
    let phone = team.add_device(BOB);
    let change = team.change(None, 2, &[(DAVE, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    let before = Cut { size: team.device(phone).package.size(), root: team.device(phone).package.log.root() };
    let seen = team.seen(phone, |_| true);
    team.say_knowing(phone, seen, Body::Endorse(syncra_protocol::entry::Endorse { entry: named }));
    let released = team.publish(DAVE, "1.0.0", 1);
    team.publish(ALICE, "1.1.0", 2);
    assert_eq!(exactly(&team.state(), released), Ok(released));
    let packages = vec![(team.package, Some(before))];
    let cuts = DeviceCuts { device: team.device(phone).key, identity: None, packages };
    team.people[BOB].devices[0].identity.append(vec![], Body::Suspend(Suspend { cuts }));
    let state = team.state();
    assert_eq!(state.rights.role(&team.id(DAVE)), MAINTAINER);
    assert_eq!(exactly(&state, released), Ok(released));
}

/// An owner who signs two histories takes its word back in neither: others have built on one.
#[test]
fn an_owner_who_forks_undoes_no_change_that_others_built_on() {
    let mut team = Team::new(3, 1);
    let change = team.change(None, 2, &[(DAVE, MAINTAINER)]);
    let named = team.say(ALICE, Body::Roles(change));
    let other = team.people[BOB].devices[0].package.fork(1);
    team.endorse(BOB, named);
    let released = team.publish(DAVE, "1.0.0", 1);
    team.publish(ALICE, "1.1.0", 2);
    let mut other = other;
    other.append(vec![], release("6.6.6", 6));
    let ours = &team.people[BOB].devices[0].package;
    let proof = ForkProof::new(&ours.head_at(2), &other.head_at(2), None).unwrap();
    let mut evidence = team.delivered(0);
    evidence.freeze(proof);
    evidence.settle_fork(&other.origin(), 1);
    let state = evidence.fold();
    assert_eq!(state.rights.role(&team.id(DAVE)), MAINTAINER);
    assert_eq!(exactly(&state, released), Ok(released));
}

#[test]
fn rules_that_are_not_known_yet_end_what_can_be_read() {
    let (mut team, named) = pair();
    let before = team.publish(BOB, "1.0.0", 1);
    team.say(ALICE, Body::Roles(Roles { rules: Some(FOLD_RULES), ..team.change(Some(named), 1, &[]) }));
    let last = team.state().rights.last;
    assert_eq!(team.state().newer_rules, None);
    team.say(ALICE, Body::Roles(Roles { rules: Some(FOLD_RULES + 1), ..team.change(last, 1, &[]) }));
    let after = team.publish(BOB, "1.1.0", 2);
    let state = team.state();
    assert_eq!(state.newer_rules, Some(FOLD_RULES + 1));
    assert_eq!(exactly(&state, before), Ok(before));
    assert_eq!(exactly(&state, after), Err(SelectError::NoRelease(after)));
    assert!(!state.may_write(&team.id(ALICE), &team.people[ALICE].devices[0].key));
}

/// Nobody who owns nothing makes a reader fetch or keep logs of others by naming them.
#[test]
fn who_names_others_without_the_right_brings_nobody_in() {
    let mut team = Team::new(1, 3);
    let change = team.change(None, 1, &[(CAROL, OWNER), (DAVE, MAINTAINER)]);
    team.say(BOB, Body::Roles(change));
    let evidence = team.delivered(0);
    assert_eq!(evidence.people(), [team.id(ALICE)].into());
    let fresh = team.newcomer();
    assert_eq!(fresh.frontier.0.len(), 2, "the owner's logs and no more");
}

/// A chain of changes has an end, the same for everybody: what comes after it is none, and nothing else stops counting.
#[test]
fn no_more_changes_take_effect_than_a_package_has_room_for() {
    let mut team = Team::new(1, 1);
    let mut devices = vec![(ALICE, 0)];
    devices.extend((0..5).map(|_| team.add_device(ALICE)));
    let mut last = None;
    for n in 0..ROLE_CHAIN + 10 {
        let by = devices[n / 200];
        let role = if n.is_multiple_of(2) { CONTRIBUTOR } else { MAINTAINER };
        let mut change = team.change(last, 1, &[(BOB, role)]);
        change.cuts.clear();
        let seen = if n.is_multiple_of(200) { team.seen(by, |_| true) } else { vec![] };
        last = Some(team.say_knowing(by, seen, Body::Roles(change)));
    }
    let released = team.publish(ALICE, "1.0.0", 1);
    let state = team.delivered(0).fold();
    assert_eq!((state.rights.n_changes, state.open.len()), (ROLE_CHAIN, 0));
    assert_eq!(state.rights.role(&team.id(BOB)), MAINTAINER);
    assert_eq!(exactly(&state, released), Ok(released));
    let more = team.change(state.rights.last, 1, &[(BOB, None)]);
    assert_eq!(state.rights.after(EntryId::from_bytes([0; 32]), &more), None);
    assert_eq!(team.delivered(3).fold(), state);
}

/// That somebody names another history than the one held is known as the proof of the fork is, whichever frontier is asked
/// about: who knows it and who does not are told apart, and agree once both do.
#[test]
fn a_name_for_another_history_is_a_part_of_what_is_known() {
    let mut team = Team::new(3, 0);
    let released = team.publish_blind(ALICE, "1.0.0", 1);
    team.publish(BOB, "1.1.0", 2);
    let ours = &team.people[ALICE].devices[0].package;
    let mut other = ours.fork(1);
    other.append(vec![], release("6.6.6", 6));
    let proof = ForkProof::new(&ours.head(), &other.head(), None).unwrap();
    let carols = team.people[CAROL].devices[0].package.size();
    team.say_knowing((CAROL, 0), vec![other.seen()], Body::Seen);
    let carol = &team.people[CAROL].devices[0].package;
    let know = |evidence: &mut syncra_protocol::evidence::Evidence| {
        evidence.freeze(proof.clone());
        evidence.settle_fork(&other.origin(), 1);
    };
    let mut knowing = team.delivered(0);
    know(&mut knowing);
    let mut ignorant = team.evidence();
    for chain in team.chains() {
        let size = if chain.origin() == carol.origin() { carols } else { chain.size() };
        ignorant.extend(chain.slice(0, size), &chain.head_at(size)).unwrap();
    }
    know(&mut ignorant);
    assert!(knowing.blocked().is_empty(), "of a forked log nothing is waited for");
    let frontier = ignorant.frontier();
    assert_eq!(exactly(&ignorant.fold(), released), Ok(released), "Bob has built on it");
    let at = knowing.fold_at(frontier.clone()).unwrap();
    assert!(exactly(&at, released).is_err(), "two owners were shown two histories");
    assert_ne!(ignorant.basis(&frontier), knowing.basis(&frontier));
    ignorant.extend(carol.slice(carols, carol.size()), &carol.head()).unwrap();
    assert_eq!(ignorant.basis(&frontier), knowing.basis(&frontier));
    assert_eq!(ignorant.fold_at(frontier).unwrap(), at);
    assert_eq!(ignorant.frontier(), knowing.frontier());
    assert_eq!(ignorant.fold(), knowing.fold());
}
