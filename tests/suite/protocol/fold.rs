//! The fold told as stories: one rule each.

use std::collections::BTreeSet;

use syncra_protocol::entry::{Body, Entry, IdentityJoin, PackageJoin, RefClass};
use syncra_protocol::evidence::{
    Blocked, Evidence, EvidenceError, FirstEntryError, FrontierError, GenesisError, IdentityLog, StopReason,
};
use syncra_protocol::fold::{Ancestry, Pick, SelectError, Standing, VersionState, Warning};
use syncra_protocol::id::{IdentityId, PackageId, ReleaseId};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;
use syncra_protocol::version::{Version, VersionReq};

use syncra_sim::world::{Chain, World, handle, moved, name, release};

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn exactly(text: &str) -> Pick {
    Pick::Version(version(text))
}

fn channel(name: &str) -> Pick {
    Pick::Ref(RefClass::Channel, RefName::parse(name).unwrap())
}

fn highest(req: &str) -> Pick {
    Pick::Highest(VersionReq::parse(req).unwrap())
}

fn selected(evidence: &Evidence, pick: &Pick) -> Result<(ReleaseId, Option<Warning>), SelectError> {
    let state = evidence.fold();
    state.select(pick).map(|selection| (selection.release, selection.warning))
}

#[test]
fn one_writer_publishes_and_moves_stable() {
    let mut world = World::new(1);
    let first = world.publish(0, vec![], "1.0.0", 1);
    world.set(0, vec![], "stable", Some(first));
    let second = world.publish(0, vec![], "1.1.0", 2);
    world.set(0, vec![], "stable", Some(second));
    let package = world.package;
    world.identities[0].append(vec![], handle("alice"));
    world.identities[0].append(vec![], name("lamp", Some(package)));

    let evidence = world.full_evidence();
    assert_eq!(selected(&evidence, &channel("stable")), Ok((second, None)));
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Ok((first, None)));
    assert_eq!(selected(&evidence, &highest("^1")), Ok((second, None)));
    assert_eq!(selected(&evidence, &highest("<1.1")), Ok((first, None)));
    assert_eq!(selected(&evidence, &Pick::Release(first)), Ok((first, None)));
    assert_eq!(selected(&evidence, &exactly("2.0.0")), Err(SelectError::NoVersion(version("2.0.0"))));
    assert!(matches!(selected(&evidence, &highest("^2")), Err(SelectError::NoMatch(_))));
    assert!(matches!(selected(&evidence, &channel("beta")), Err(SelectError::NoRef { .. })));
    let nobody = ReleaseId::from_bytes([0; 32]);
    assert_eq!(selected(&evidence, &Pick::Release(nobody)), Err(SelectError::NoRelease(nobody)));

    let state = evidence.fold();
    let alice = state.owners.values().next().unwrap();
    assert_eq!(alice.handle.as_ref().map(ToString::to_string).as_deref(), Some("alice"));
    assert_eq!(alice.names.values().collect::<Vec<_>>(), [&world.package]);
    assert!(evidence.blocked().is_empty() && evidence.missing().is_empty());
}

#[test]
fn a_version_means_its_first_files() {
    let mut world = World::new(2);
    let first = world.publish(0, vec![], "1.0.0", 1);
    let other = world.publish(0, vec![], "1.0.0", 2);
    let seen = world.seen(1);
    let again = world.publish(0, seen, "1.0.0", 1);
    let seen = world.seen(0);
    let late = world.publish(1, seen, "1.0.0", 3);

    let evidence = world.full_evidence();
    let state = evidence.fold();
    let standing = |id| state.releases[&id].standing;
    assert_eq!(state.versions[&version("1.0.0")], VersionState::Settled(first));
    assert_eq!(standing(first), Standing::Settled);
    assert_eq!(standing(other), Standing::Reused(first), "in one log the first counts");
    assert_eq!(standing(again), Standing::SameAs(first), "the same files again are the same release");
    assert_eq!(standing(late), Standing::Reused(first), "a writer who has seen it cannot contest it");
    assert_eq!(selected(&evidence, &Pick::Release(again)), Ok((again, None)));
    assert!(matches!(selected(&evidence, &Pick::Release(late)), Err(SelectError::Reused { .. })));
}

#[test]
fn two_writers_who_do_not_see_each_other_contest_a_version() {
    let mut world = World::new(2);
    let alices = world.publish(0, vec![], "1.0.0", 1);
    let bobs = world.publish(1, vec![], "1.0.0", 2);
    world.set(0, vec![], "stable", Some(alices));
    let old = world.publish(0, vec![], "0.9.0", 3);

    let evidence = world.full_evidence();
    let both = BTreeSet::from([alices, bobs]);
    assert_eq!(evidence.fold().versions[&version("1.0.0")], VersionState::Contested(both.clone()));
    let contested = SelectError::Contested { version: version("1.0.0"), releases: both.clone() };
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Err(contested.clone()));
    assert_eq!(selected(&evidence, &channel("stable")), Err(contested.clone()));
    assert_eq!(selected(&evidence, &highest("*")), Ok((old, None)), "a contested version is never selected");
    assert_eq!(selected(&evidence, &highest("^1")), Err(contested));
    let exact = selected(&evidence, &Pick::Release(bobs));
    assert_eq!(exact, Ok((bobs, Some(Warning::Contested { with: both }))), "exact ids still install");
}

#[test]
fn two_writers_of_the_same_files_agree() {
    let mut world = World::new(2);
    let mut ids = [world.publish(0, vec![], "1.0.0", 1), world.publish(1, vec![], "1.0.0", 1)];
    // Both entries have the same bytes: one release id, in two logs.
    assert_eq!(ids[0], ids[1]);
    let seen = world.seen(0);
    ids[1] = world.publish(1, seen, "1.0.0", 1);
    let evidence = world.full_evidence();
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Ok((ids[0], None)));
    assert_eq!(evidence.fold().releases[&ids[1]].standing, Standing::SameAs(ids[0]));
}

#[test]
fn a_concurrent_unyank_loses_and_a_yank_stops_no_lock() {
    let mut world = World::new(2);
    let first = world.publish(0, vec![], "1.0.0", 1);
    let second = world.publish(0, vec![], "1.1.0", 2);
    world.yank(0, vec![], second, false);
    let evidence = world.full_evidence();
    let yanked = SelectError::Yanked { package: evidence.package(), version: version("1.1.0"), release: second };
    assert_eq!(selected(&evidence, &exactly("1.1.0")), Err(yanked.clone()));
    assert_eq!(selected(&evidence, &highest("*")), Ok((first, None)));
    assert_eq!(selected(&evidence, &highest("^1.1")), Err(yanked));
    assert_eq!(selected(&evidence, &Pick::Release(second)), Ok((second, Some(Warning::Yanked))));

    let seen = world.seen(0);
    world.yank(1, seen, second, true);
    assert_eq!(selected(&world.full_evidence(), &exactly("1.1.0")), Ok((second, None)), "bob saw the yank");
    world.yank(0, vec![], second, false);
    assert!(selected(&world.full_evidence(), &exactly("1.1.0")).is_err(), "alice did not see the unyank");
    let seen = world.seen(1);
    world.yank(0, seen, second, true);
    assert_eq!(selected(&world.full_evidence(), &exactly("1.1.0")), Ok((second, None)));
}

#[test]
fn a_diverged_channel_gives_the_highest_of_its_tips_and_ancestor() {
    let mut world = World::new(2);
    let base = world.publish(0, vec![], "1.0.0", 1);
    world.set(0, vec![], "stable", Some(base));
    let seen = world.seen(0);
    let alices = world.publish(0, vec![], "1.1.0", 2);
    world.set(0, vec![], "stable", Some(alices));
    let bobs = world.publish(1, seen, "1.2.0", 3);
    world.set(1, vec![], "stable", Some(bobs));

    let tips = BTreeSet::from([Some(alices), Some(bobs)]);
    let diverged = || Some(Warning::Diverged { tips: tips.clone() });
    assert_eq!(selected(&world.full_evidence(), &channel("stable")), Ok((bobs, diverged())));
    world.yank(1, vec![], bobs, false);
    assert_eq!(selected(&world.full_evidence(), &channel("stable")), Ok((alices, diverged())));
    world.yank(1, vec![], alices, false);
    assert_eq!(selected(&world.full_evidence(), &channel("stable")), Ok((base, diverged())), "the common ancestor");
    world.yank(1, vec![], base, false);
    assert_eq!(selected(&world.full_evidence(), &channel("stable")), Err(SelectError::Diverged { tips: tips.clone() }));

    let seen = world.seen(1);
    let merged = world.publish(0, seen, "1.3.0", 4);
    world.set(0, vec![], "stable", Some(merged));
    assert_eq!(selected(&world.full_evidence(), &channel("stable")), Ok((merged, None)), "a merge has seen both");
    world.set(0, vec![], "stable", None);
    assert!(matches!(selected(&world.full_evidence(), &channel("stable")), Err(SelectError::NoRef { .. })));
}

#[test]
fn a_tag_stays_where_it_was_set_first() {
    let mut world = World::new(2);
    let first = world.publish(0, vec![], "1.0.0", 1);
    let second = world.publish(0, vec![], "1.1.0", 2);
    world.writers[0].append(vec![], moved(RefClass::Tag, "v1", Some(first)));
    world.writers[0].append(vec![], moved(RefClass::Tag, "v1", Some(second)));
    let seen = world.seen(0);
    world.writers[1].append(seen, moved(RefClass::Tag, "v1", Some(second)));
    let pick = Pick::Ref(RefClass::Tag, RefName::parse("v1").unwrap());
    assert_eq!(selected(&world.full_evidence(), &pick), Ok((first, None)));
}

#[test]
fn a_stranger_is_kept_and_ignored() {
    let mut world = World::with_strangers(1, 1);
    let mine = world.publish(0, vec![], "1.0.0", 1);
    world.set(0, vec![], "stable", Some(mine));
    let seen = world.seen(0);
    let theirs = world.publish(1, seen, "6.6.6", 6);
    world.set(1, vec![], "stable", Some(theirs));
    world.yank(1, vec![], mine, false);
    let evidence = world.full_evidence();
    assert_eq!(selected(&evidence, &channel("stable")), Ok((mine, None)));
    assert_eq!(selected(&evidence, &Pick::Release(theirs)), Err(SelectError::NoRelease(theirs)));
    assert!(evidence.log(&world.writers[1].origin()).is_some());
    assert_eq!(evidence.fold().writers.into_keys().collect::<Vec<_>>(), [world.writers[0].origin()]);
    let fresh = world.evidence();
    assert!(fresh.wants(&world.writers[0].origin()) && !fresh.wants(&world.writers[1].origin()));
}

#[test]
fn claiming_to_be_an_owner_is_not_enough() {
    let mut world = World::new(1);
    let owner = world.evidence().genesis().owners[0];
    let mut thief = Chain::new(99, |key| Origin::package(world.package, key));
    thief.append(vec![], Body::PackageJoin(PackageJoin { package: world.package, identity: owner }));
    let stolen: ReleaseId = thief.append(vec![], release("9.9.9", 9)).into();
    let mut device = Chain::new(99, |key| Origin::identity(owner, key));
    device.append(vec![], Body::IdentityJoin(IdentityJoin { identity: owner }));
    world.writers.push(thief);
    world.identities.push(device);
    let mut evidence = Evidence::open(world.package, &world.genesis).unwrap();
    for chain in world.chains() {
        let is_thiefs = chain.origin() == world.identities[1].origin();
        let expected = if is_thiefs { Err(EvidenceError::NoDevice) } else { Ok(()) };
        assert_eq!(evidence.extend(&chain.entries, &chain.head()), expected);
    }
    assert_eq!(selected(&evidence, &Pick::Release(stolen)), Err(SelectError::NoRelease(stolen)));
    assert_eq!(evidence.fold().owners[&owner].devices.len(), 1);
}

#[test]
fn without_the_owners_identity_log_nothing_counts() {
    let mut world = World::new(1);
    let id = world.publish(0, vec![], "1.0.0", 1);
    let mut evidence = world.evidence();
    evidence.extend(&world.writers[0].entries, &world.writers[0].head()).unwrap();
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Err(SelectError::NoVersion(version("1.0.0"))));
    evidence.extend(&world.identities[0].entries, &world.identities[0].head()).unwrap();
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Ok((id, None)));
}

#[test]
fn an_unresolved_seen_blocks_its_own_log_only() {
    let mut world = World::new(2);
    let first = world.publish(1, vec![], "0.1.0", 1);
    let waited_for = world.seen(1);
    let second = world.publish(0, waited_for.clone(), "1.0.0", 2);
    world.publish(1, vec![], "0.2.0", 3);

    let mut evidence = world.evidence();
    for chain in [&world.identities[0], &world.identities[1], &world.writers[0]] {
        evidence.extend(&chain.entries, &chain.head()).unwrap();
    }
    let alice = world.writers[0].origin();
    assert_eq!(evidence.blocked()[&alice], Blocked::Waiting { index: 1, on: waited_for[0] });
    assert_eq!(evidence.missing(), [(waited_for[0].origin, waited_for[0].size)].into());
    assert_eq!(selected(&evidence, &Pick::Release(second)), Err(SelectError::NoRelease(second)));
    let bob = &world.writers[1];
    evidence.extend(bob.slice(0, 1), &bob.head_at(1)).unwrap();
    assert_eq!(evidence.blocked().len(), 1, "one entry of bob's is not enough");
    evidence.extend(bob.slice(1, 2), &bob.head_at(2)).unwrap();
    assert!(evidence.blocked().is_empty());
    assert_eq!(selected(&evidence, &highest("*")), Ok((second, None)));
    assert_eq!(selected(&evidence, &exactly("0.1.0")), Ok((first, None)));
}

#[test]
fn a_claim_about_another_branch_blocks_its_claimer_only() {
    let mut world = World::new(2);
    world.publish(1, vec![], "0.1.0", 1);
    let mut wrong = world.seen(1);
    wrong[0].root = syncra_protocol::id::LogHash::from_bytes([1; 32]);
    world.publish(0, wrong.clone(), "1.0.0", 2);
    let evidence = world.full_evidence();
    let blocked = evidence.blocked();
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[&world.writers[0].origin()], Blocked::OtherBranch { index: 1, on: wrong[0] });
    assert!(evidence.missing().is_empty(), "asking for more would not help");
    assert!(selected(&evidence, &exactly("0.1.0")).is_ok());
}

fn unknown(kind: u8, critical: bool) -> Vec<u8> {
    [b"SYNE\x01", &[kind, u8::from(critical), 1, 0, 0][..]].concat()
}

#[test]
fn later_kinds_are_skipped_or_stop_the_log() {
    let mut world = World::new(2);
    world.writers[0].append_bytes(unknown(13, false));
    let before = world.publish(0, vec![], "1.0.0", 1);
    world.writers[0].append_bytes(unknown(14, true));
    world.publish(0, vec![], "1.1.0", 2);
    let bobs = world.publish(1, vec![], "1.2.0", 3);
    let evidence = world.full_evidence();
    let reason = StopReason::NewerClient { kind: 14, version: 1 };
    let alice = world.writers[0].origin();
    assert_eq!(evidence.blocked(), [(alice, Blocked::Stopped { index: 3, reason })].into());
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Ok((before, None)));
    assert!(selected(&evidence, &exactly("1.1.0")).is_err());
    assert_eq!(selected(&evidence, &highest("*")), Ok((bobs, None)));
    assert_eq!(evidence.size(&alice), 5, "the log itself goes on: its head must never look older than it is");
}

#[test]
fn what_a_writer_may_not_sign_stops_its_log() {
    let identity = IdentityId::from_bytes([3; 32]);
    let world = World::new(1);
    let join = Body::PackageJoin(PackageJoin { package: world.package, identity });
    let own = vec![world.writers[0].seen()];
    let misplaced: [(Vec<u8>, StopReason); 4] = [
        (b"not an entry".to_vec(), StopReason::Malformed(syncra_protocol::entry::EntryError::Header)),
        (Entry::new(join).encode().unwrap(), StopReason::Misplaced { kind: 2 }),
        (Entry::new(handle("alice")).encode().unwrap(), StopReason::Misplaced { kind: 39 }),
        (Entry { seen: own, body: Body::Seen }.encode().unwrap(), StopReason::SawItself),
    ];
    for (bytes, expected) in misplaced {
        let mut world = World::new(1);
        world.writers[0].append_bytes(bytes);
        let blocked = world.full_evidence().blocked();
        assert_eq!(blocked[&world.writers[0].origin()], Blocked::Stopped { index: 1, reason: expected });
    }
}

#[test]
fn only_the_right_entry_may_begin_a_log() {
    let world = World::new(1);
    let owner = world.evidence().genesis().owners[0];
    let other_package = PackageId::from_bytes([1; 32]);
    let first = |key: u8, identity: Option<IdentityId>, bytes: Vec<u8>| {
        let origin = |key| match identity {
            Some(id) => Origin::identity(id, key),
            None => Origin::package(world.package, key),
        };
        let mut chain = Chain::new(key, origin);
        chain.append_bytes(bytes);
        let refused = world.evidence().extend(&chain.entries, &chain.head()).unwrap_err();
        if identity.is_some() {
            assert_eq!(IdentityLog::verify(&chain.entries, &chain.head()).unwrap_err(), refused);
        }
        refused
    };
    let join = |package| Entry::new(Body::PackageJoin(PackageJoin { package, identity: owner })).encode().unwrap();
    let seen = || Entry::new(Body::Seen).encode().unwrap();
    let not_genesis = EvidenceError::First(FirstEntryError::PackageGenesis);
    let not_join = EvidenceError::First(FirstEntryError::PackageJoin);
    let not_identity = EvidenceError::First(FirstEntryError::Identity);
    assert_eq!(first(1, None, join(world.package)), not_genesis, "the creator's log begins with the Genesis");
    assert_eq!(first(9, None, world.genesis.clone()), not_join, "nobody else's does");
    assert_eq!(first(9, None, join(other_package)), not_join);
    assert_eq!(first(9, None, seen()), not_join);
    assert_eq!(first(9, None, unknown(13, false)), not_join);
    assert_eq!(first(9, Some(owner), world.identities[0].entries[0].clone()), not_identity, "another's key");
    assert_eq!(first(9, Some(IdentityId::from_bytes([4; 32])), world.identities[0].entries[0].clone()), not_identity);
    assert_eq!(first(9, Some(owner), seen()), not_identity);

    let mut foreign = Chain::new(1, |key| Origin::package(other_package, key));
    foreign.append_bytes(join(other_package));
    let refused = world.evidence().extend(&foreign.entries, &foreign.head());
    assert_eq!(refused, Err(EvidenceError::OtherPackage));
}

#[test]
fn genesis_bytes_authenticate_themselves() {
    let world = World::new(1);
    let open = |package, bytes: &[u8]| Evidence::open(package, bytes).map(drop);
    assert_eq!(open(PackageId::from_bytes([0; 32]), &world.genesis), Err(GenesisError::OtherId));
    assert_eq!(open(world.package, &world.identities[0].entries[0]), Err(GenesisError::Kind));
    assert!(matches!(open(world.package, b"nonsense"), Err(GenesisError::Entry(_))));
    let stranger = World::new(2);
    let stranger = stranger.identities.iter().find(|c| c.origin() != world.identities[0].origin()).unwrap();
    let refused = world.evidence().admit_identity(&stranger.entries[0]);
    assert!(matches!(refused, Err(GenesisError::NotOwner(_))));
}

#[test]
fn a_frontier_is_closed_or_refused() {
    let mut world = World::new(2);
    world.publish(1, vec![], "0.1.0", 1);
    let seen = world.seen(1);
    world.publish(0, seen, "1.0.0", 2);
    let evidence = world.full_evidence();
    let whole = evidence.frontier();
    assert_eq!(evidence.fold_at(whole.clone()), Ok(evidence.fold()));
    let (alice, bob) = (world.writers[0].origin(), world.writers[1].origin());
    let mut open = whole.clone();
    open.0.remove(&bob);
    assert_eq!(evidence.fold_at(open), Err(FrontierError::NotClosed(alice)));
    let mut longer = whole.clone();
    longer.0.get_mut(&bob).unwrap().size += 1;
    assert_eq!(evidence.fold_at(longer), Err(FrontierError::NotHeld(bob)));
    let mut empty = whole.clone();
    empty.0.get_mut(&bob).unwrap().size = 0;
    assert_eq!(evidence.fold_at(empty), Err(FrontierError::NotHeld(bob)));
    let mut other = whole.clone();
    other.0.get_mut(&bob).unwrap().root = syncra_protocol::id::LogHash::from_bytes([0; 32]);
    assert_eq!(evidence.fold_at(other), Err(FrontierError::NotHeld(bob)));
    let mut smaller = whole.clone();
    smaller.0.remove(&alice);
    let state = evidence.fold_at(smaller.clone()).unwrap();
    assert_eq!(state.versions.len(), 1);
    assert!(whole.covers(&smaller) && !smaller.covers(&whole) && smaller.digest() != whole.digest());
}

#[test]
fn after_a_fork_only_what_an_owner_has_seen_counts() {
    let mut world = World::new(2);
    let fixed = world.publish(1, vec![], "1.0.0", 1);
    let seen = world.seen(1);
    world.writers[0].append(seen, Body::Seen);
    let loose = world.publish(1, vec![], "1.1.0", 2);
    world.set(1, vec![], "stable", Some(loose));
    world.yank(1, vec![], fixed, false);
    world.yank(1, vec![], fixed, true);
    let mut evidence = world.full_evidence();
    assert_eq!(selected(&evidence, &exactly("1.1.0")), Ok((loose, None)));

    let mut branch = world.writers[1].fork(2);
    branch.append(vec![], release("1.1.0", 66));
    let (ours, theirs) = (world.writers[1].head_at(3), branch.head());
    evidence.freeze(ForkProof::new(&ours, &theirs, None).unwrap());
    let bob = world.writers[1].origin();
    assert!(evidence.is_forked(&bob));
    assert_eq!(evidence.forks().count(), 1);
    let state = evidence.fold();
    assert_eq!(state.forked, [(bob, 2)].into());
    assert_eq!(state.releases[&loose].standing, Standing::Forked);
    assert_eq!(selected(&evidence, &exactly("1.1.0")), Err(SelectError::Forked { version: version("1.1.0") }));
    assert_eq!(selected(&evidence, &Pick::Release(loose)), Err(SelectError::Forked { version: version("1.1.0") }));
    assert!(matches!(selected(&evidence, &channel("stable")), Err(SelectError::NoRef { .. })));
    let yanked = SelectError::Yanked { package: evidence.package(), version: version("1.0.0"), release: fixed };
    assert_eq!(selected(&evidence, &exactly("1.0.0")), Err(yanked), "hiding counts, showing again does not");

    world.publish(1, vec![], "1.2.0", 3);
    let newer = &world.writers[1];
    let refused = evidence.extend(newer.slice(6, 7), &newer.head());
    assert_eq!(refused, Err(EvidenceError::Frozen));

    // The other owner turns out to have seen the other branch as well: then neither is fixed.
    let theirs = vec![branch.seen()];
    world.writers[0].append(theirs, Body::Seen);
    let alice = &world.writers[0];
    evidence.extend(alice.slice(2, 3), &alice.head()).unwrap();
    assert_eq!(evidence.fold().forked, [(bob, 0)].into());
    assert_eq!(selected(&evidence, &Pick::Release(fixed)), Err(SelectError::Forked { version: version("1.0.0") }));
    evidence.settle_fork(&bob, 2);
    assert_eq!(evidence.fold().forked, [(bob, 2)].into(), "what is in both histories is settled");
}

/// Two lines that part, cross and meet: what a merge begins with.
#[test]
fn what_two_releases_have_in_common_is_the_latest_of_both_pasts() {
    let mut world = World::new(2);
    let made_from = |world: &mut World, writer: usize, version: &str, tree: u8, parents: &[ReleaseId]| {
        let mut body = release(version, tree);
        if let Body::Release(release) = &mut body {
            release.parents = parents.to_vec();
        }
        ReleaseId::from(world.writers[writer].append(vec![], body))
    };
    let root = made_from(&mut world, 0, "1.0.0", 1, &[]);
    let left = made_from(&mut world, 0, "1.1.0", 2, &[root]);
    let right = made_from(&mut world, 1, "1.2.0", 3, &[root]);
    let left_merged = made_from(&mut world, 0, "1.3.0", 4, &[left, right]);
    let right_merged = made_from(&mut world, 1, "1.4.0", 5, &[right, left]);
    let alone = made_from(&mut world, 1, "9.0.0", 6, &[ReleaseId::from_bytes([7; 32])]);

    let state = world.full_evidence().fold();
    let ancestry = Ancestry::of([&state]);
    assert_eq!(ancestry.common(&[left], &[right]), BTreeSet::from([root]));
    assert_eq!(ancestry.common(&[left], &[left_merged]), BTreeSet::from([left]));
    assert_eq!(ancestry.common(&[left_merged], &[right_merged]), BTreeSet::from([left, right]), "they crossed");
    assert_eq!(ancestry.common(&[alone], &[left]), BTreeSet::new());
    assert_eq!(ancestry.latest(&[root, left, right]), [left, right]);
    assert_eq!(ancestry.latest(&[left_merged, root, left]), [left_merged]);
    assert!(ancestry.past([right_merged]).is_superset(&BTreeSet::from([root, left, right, right_merged])));
}
