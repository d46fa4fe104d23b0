//! Forked logs that are healed, told as stories: who says which history goes on, and what that does not change.

use syncra_protocol::entry::{Body, Cut, DeviceRole, Endorse, ForkResolve, Role, Statement};
use syncra_protocol::evidence::{Evidence, KnownFork};
use syncra_protocol::fold::{OpenChange, PackageState, Pick, SelectError};
use syncra_protocol::id::{EntryId, ReleaseId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::fork::ForkProof;

use syncra_sim::world::{Chain, release};

use crate::devices::{self, DESK as FIRST, LAPTOP, People, RECOVERY, add};
use crate::team::{ALICE, BOB, CAROL, DAVE, DeviceAt, Team};

/// A log of which there is another history, and how many entries both have.
struct Fork {
    of: DeviceAt,
    other: Chain,
    n_common: u64,
}

impl Fork {
    /// The key of a device's log of the package signs another history, from its first `n_common` entries on.
    fn of(team: &Team, of: DeviceAt, n_common: u64) -> Self {
        let log = &team.device(of).package;
        let mut other = log.fork(n_common);
        while other.size() < log.size() {
            other.append(vec![], release("6.6.6", 66));
        }
        Self { of, other, n_common }
    }

    fn proof(&self, team: &Team) -> ForkProof {
        let (ours, size) = (&team.device(self.of).package, self.other.size());
        ForkProof::new(&ours.head_at(size), &self.other.head(), None).unwrap()
    }

    fn prove(&self, team: &Team, evidence: &mut Evidence) {
        evidence.freeze(self.proof(team));
        evidence.settle_fork(&self.other.origin(), self.n_common);
    }

    /// What readers see who hold the history that the team has: the same, whenever they hear of the other.
    fn state(&self, team: &Team) -> PackageState {
        let mut evidence = team.delivered(0);
        self.prove(team, &mut evidence);
        let state = evidence.fold();
        let n_chains = team.chains().len();
        for turn in 1..n_chains {
            let mut evidence = team.delivered(turn);
            self.prove(team, &mut evidence);
            assert_eq!(evidence.fold(), state, "order {turn}");
        }
        // The log and its proof first, whatever is said of it later.
        let mut evidence = team.evidence();
        let origin = self.other.origin();
        let is_it = |chain: &&Chain| chain.origin() == origin;
        let (first, rest): (Vec<_>, Vec<_>) = team.chains().into_iter().partition(is_it);
        evidence.extend(&first[0].entries, &first[0].head()).unwrap();
        self.prove(team, &mut evidence);
        for chain in rest {
            evidence.extend(&chain.entries, &chain.head()).unwrap();
        }
        assert_eq!(evidence.fold(), state, "the proof came early");
        state
    }

    /// What readers see who hold the other one.
    fn other_state(&self, team: &Team) -> PackageState {
        let mut evidence = team.evidence();
        evidence.extend(&self.other.entries, &self.other.head()).unwrap();
        for chain in team.chains().into_iter().filter(|chain| chain.origin() != self.other.origin()) {
            evidence.extend(&chain.entries, &chain.head()).unwrap();
        }
        self.prove(team, &mut evidence);
        evidence.fold()
    }
}

/// Says that the first `size` entries of a log go on.
fn resolve(team: &Team, of: DeviceAt, size: u64) -> Body {
    let log = &team.device(of).package;
    let cut = Cut { size, root: log.log.root_at(size).unwrap() };
    Body::ForkResolve(ForkResolve { log: team.device(of).key, cut })
}

/// The same of a history of which nobody knows.
fn resolve_other(fork: &Fork, team: &Team, size: u64) -> Body {
    let cut = Cut { size, root: fork.other.log.root_at(size).unwrap() };
    Body::ForkResolve(ForkResolve { log: team.device(fork.of).key, cut })
}

fn is_there(state: &PackageState, release: ReleaseId) -> bool {
    match state.select(&Pick::Release(release)) {
        Ok(_) => true,
        Err(SelectError::Forked { .. } | SelectError::NoRelease(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

const DESK: DeviceAt = (ALICE, 0);

/// Alice has a desk and a phone. Her desk's home was copied, and both copies went on.
fn copied() -> (Team, DeviceAt, [ReleaseId; 2], Fork) {
    let mut team = Team::new(1, 1);
    let phone = team.add_device(ALICE);
    let before = team.publish_blind(ALICE, "1.0.0", 1);
    let after = team.publish_blind(ALICE, "1.1.0", 2);
    let fork = Fork::of(&team, DESK, 2);
    (team, phone, [before, after], fork)
}

#[test]
fn another_device_says_which_history_goes_on_and_counts() {
    let (mut team, phone, [before, after], fork) = copied();
    let state = fork.state(&team);
    assert!(is_there(&state, before) && !is_there(&state, after), "as long as nothing is said");
    let said = resolve(&team, DESK, 3);
    team.say_blind(phone, said);
    let state = fork.state(&team);
    assert!(is_there(&state, after), "also for who has seen nothing of it");
    assert_eq!(state.forked[&fork.other.origin()], 3);
    assert_eq!(state.role(&team.id(ALICE), &team.device(DESK).key), None, "the key writes no more");
    assert_eq!(state.role(&team.id(ALICE), &team.device(phone).key), Some(Role::Owner));
    // Who holds the other history has what both have, and nothing of that one.
    let state = fork.other_state(&team);
    let theirs = ReleaseId::from(syncra_protocol::id::EntryId::of(&fork.other.entries[2]));
    assert!(is_there(&state, before) && !is_there(&state, after) && !is_there(&state, theirs));
    assert_eq!(state.forked[&fork.other.origin()], 2);
}

/// Whoever signed the other history has the same key.
#[test]
fn a_forked_key_has_no_say_of_itself_or_of_another() {
    let (mut team, phone, [_, after], _) = copied();
    let own = resolve(&team, DESK, 3);
    team.say_blind(DESK, own);
    let fork = Fork::of(&team, DESK, 2);
    assert!(!is_there(&fork.state(&team), after));
    // Two that are forked do not help each other up.
    let said = resolve(&team, DESK, 4);
    team.say_blind(phone, said);
    let others = resolve(&team, phone, 2);
    team.say_blind(DESK, others);
    let phones = Fork::of(&team, phone, 2);
    let fork = Fork { n_common: 2, ..Fork::of(&team, DESK, 2) };
    let mut states = Vec::new();
    for [first, second] in [[&fork, &phones], [&phones, &fork]] {
        let mut evidence = team.delivered(0);
        first.prove(&team, &mut evidence);
        second.prove(&team, &mut evidence);
        states.push(evidence.fold());
    }
    assert_eq!(states[0], states[1]);
    assert_eq!((states[0].forked[&fork.other.origin()], states[0].forked[&phones.other.origin()]), (2, 2));
}

/// A thief with the key of a phone signs another history, in which it says that this one goes on.
#[test]
fn a_thief_who_forks_erases_nothing_that_was_settled() {
    let mut team = Team::new(1, 1);
    let phone = team.add_device(ALICE);
    let released = ReleaseId::from(team.say_blind(phone, release("1.0.0", 1)));
    team.say(ALICE, Body::Seen);
    let mut fork = Fork::of(&team, phone, 2);
    let own = resolve_other(&fork, &team, 3);
    fork.other.append(vec![], own);
    let proof = ForkProof::new(&team.device(phone).package.head(), &fork.other.head_at(3), None).unwrap();
    let mut evidence = team.delivered(0);
    evidence.freeze(proof);
    evidence.settle_fork(&fork.other.origin(), 2);
    assert!(is_there(&evidence.fold(), released));
    // Nor with another device of Alice's that names it, or one that does not exist.
    let tablet = team.add_device(ALICE);
    let said = resolve_other(&fork, &team, 3);
    team.say_blind(tablet, said);
    let fork = Fork::of(&team, phone, 2);
    let state = fork.state(&team);
    assert!(is_there(&state, released), "a sibling takes nothing away that others have built on");
    assert_eq!(state.forked[&fork.other.origin()], 3);
}

#[test]
fn of_two_who_name_different_histories_neither_counts_and_who_erred_says_so() {
    let (mut team, phone, [before, after], fork) = copied();
    let tablet = team.add_device(ALICE);
    let (ours, theirs) = (resolve(&team, DESK, 3), resolve_other(&fork, &team, 3));
    team.say_blind(phone, ours.clone());
    team.say_blind(tablet, theirs);
    // A device was added in the desk's log of the identity only: its log of the package is as it was.
    let state = fork.state(&team);
    assert!(is_there(&state, before) && !is_there(&state, after));
    assert_eq!(state, fork.state(&team));
    team.say_blind(tablet, ours);
    assert!(is_there(&fork.state(&team), after));
}

/// What is named says nothing to who holds less: it could be of either history.
#[test]
fn who_holds_less_than_is_named_keeps_what_both_have() {
    let (mut team, phone, [before, after], fork) = copied();
    let last = team.publish_blind(ALICE, "1.2.0", 3);
    let said = resolve(&team, DESK, 4);
    team.say_blind(phone, said);
    let mut evidence = team.evidence();
    for chain in team.chains() {
        let size = if chain.origin() == fork.other.origin() { 3 } else { chain.size() };
        evidence.extend(chain.slice(0, size), &chain.head_at(size)).unwrap();
    }
    fork.prove(&team, &mut evidence);
    let state = evidence.fold();
    assert!(is_there(&state, before) && !is_there(&state, after) && !is_there(&state, last));
    assert!(is_there(&fork.state(&team), last), "and who holds all of it has all of it");
}

#[test]
fn of_a_log_of_somebody_else_as_many_owners_decide_as_of_a_role() {
    let mut team = Team::new(3, 2);
    let change = team.change(None, 2, &[(DAVE, Some(Role::Maintainer)), (4, Some(Role::Maintainer))]);
    let named = team.say(ALICE, Body::Roles(change));
    team.endorse(BOB, named);
    team.say(4, Body::Seen);
    team.say(DAVE, Body::Seen);
    let n_common = team.device((DAVE, 0)).package.size();
    let released = team.publish_blind(DAVE, "1.0.0", 1);
    let fork = Fork::of(&team, (DAVE, 0), n_common);
    let said = || resolve(&team, (DAVE, 0), n_common + 1);
    let (maintainers, owners) = (said(), said());
    team.say_blind((4, 0), maintainers);
    let said = team.say_blind((CAROL, 0), owners);
    let state = fork.state(&team);
    assert!(!is_there(&state, released));
    let [open] = &state.open[..] else { panic!("{:?}", state.open) };
    assert_eq!((open.entry, open.needs[0].n_more), (said, 1));
    assert!(matches!(open.change, OpenChange::ForkResolve(_)));
    let seen = vec![team.device((CAROL, 0)).package.seen()];
    team.say_knowing((BOB, 0), seen, Body::Endorse(Endorse { entry: said }));
    let state = fork.state(&team);
    assert!(is_there(&state, released) && state.open.is_empty());
}

/// Readers hold what of Alice's desk they had when they were warned.
fn warned(fork: &Fork, team: &Team, held: &Chain, size: u64) -> Evidence {
    let mut evidence = team.evidence();
    evidence.extend(held.slice(0, size), &held.head_at(size)).unwrap();
    evidence.freeze(fork.proof(team));
    evidence
}

fn take_in_others(fork: &Fork, team: &Team, evidence: &mut Evidence) {
    for chain in team.chains().into_iter().filter(|chain| chain.origin() != fork.other.origin()) {
        evidence.extend(&chain.entries, &chain.head()).unwrap();
    }
}

/// A thief has a copy of the desk. Bob has built on what the desk said last, and a reader was warned before it had that.
#[test]
fn nobody_is_silenced_by_a_log_that_was_frozen_early() {
    let (mut team, _, [before, after], _) = copied();
    let change = team.change(None, 1, &[(BOB, Some(Role::Owner))]);
    let change = team.say(ALICE, Body::Roles(change));
    team.endorse(BOB, change);
    let built = team.publish(BOB, "2.0.0", 3);
    let fork = Fork::of(&team, DESK, 2);
    let desk = &team.device(DESK).package;
    let others = |evidence: &mut Evidence| take_in_others(&fork, &team, evidence);
    // Bob's role stands in what the reader does not have; his entries count, and give him no right.
    let mut evidence = warned(&fork, &team, desk, 2);
    evidence.settle_fork(&fork.other.origin(), 2);
    others(&mut evidence);
    assert!(evidence.blocked().is_empty() && evidence.missing().is_empty());
    let state = evidence.fold();
    assert!(is_there(&state, before) && !is_there(&state, after) && !is_there(&state, built));
    // The order in which all this comes decides nothing.
    let mut late = team.evidence();
    others(&mut late);
    late.extend(desk.slice(0, 2), &desk.head_at(2)).unwrap();
    assert!(!late.blocked().is_empty(), "nobody knows yet that it is forked");
    late.freeze(fork.proof(&team));
    late.settle_fork(&fork.other.origin(), 2);
    assert_eq!((late.fold(), late.blocked().len()), (state, 0));
}

/// Mallory's key has signed two histories of her log of herself. In her other log she names more of it than counts anywhere: some
/// readers hold a part that is no entry, others none of it. Whoever builds on what she says is heard by all.
#[test]
fn nobody_is_silenced_who_builds_on_what_somebody_says_of_a_forked_log() {
    let mut team = Team::new(2, 0);
    let mallory = &mut team.people[BOB].devices[0];
    let n_good = mallory.identity.size();
    let mut other = mallory.identity.fork(n_good);
    other.append(vec![], Body::Seen);
    mallory.identity.append_bytes(vec![0xff; 9]);
    mallory.identity.append(vec![], Body::Seen);
    let (log, named) = (mallory.identity.fork(mallory.identity.size()), mallory.identity.seen());
    let proof = ForkProof::new(&log.head_at(n_good + 1), &other.head(), None).unwrap();
    let bobs = team.say_knowing((BOB, 0), vec![named], Body::Seen);
    let built = team.publish(ALICE, "1.0.0", 1);
    let _ = bobs;
    for held in [n_good, n_good + 1, n_good + 2] {
        for n_common in [None, Some(n_good), Some(held)] {
            let mut evidence = team.evidence();
            evidence.extend(log.slice(0, held), &log.head_at(held)).unwrap();
            for chain in team.chains().into_iter().filter(|chain| chain.origin() != log.origin()) {
                evidence.extend(&chain.entries, &chain.head()).unwrap();
            }
            assert!(!is_there(&evidence.fold(), built), "nobody knows of the fork");
            evidence.freeze_all([KnownFork { n_common, ..proof.clone().into() }]);
            assert!(is_there(&evidence.fold(), built), "{held} held, {n_common:?} in common");
        }
    }
}

/// A cut names more of a forked log than a reader holds: nobody can tell of which history that is before the rest comes.
#[test]
fn a_cut_beyond_what_is_held_of_a_forked_log_settles_nothing_of_the_thiefs() {
    let mut people = People::new();
    people.say(FIRST, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    let honest = [people.publish(LAPTOP, "1.0.0", 1), people.publish(LAPTOP, "1.1.0", 2)];
    let cuts = people.cuts(LAPTOP);
    let log = people.package[&LAPTOP].fork(people.package[&LAPTOP].size());
    let (n_common, whole) = (log.size() - 2, log.size());
    let mut branch = log.fork(n_common);
    branch.append(vec![], release("1.0.0", 66));
    let proof = ForkProof::new(&log.head_at(n_common + 1), &branch.head(), None).unwrap();
    let statement = Statement { revoke: vec![cuts], ..people.statement(None) };
    people.say(FIRST, Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32]))));

    // Who was warned when it held the first of the two, and who held the thief's.
    for (held, n_known) in [(&log, 0), (&log, 1), (&branch, 0)] {
        people.package.insert(LAPTOP, held.fork(n_common + 1));
        let mut evidence = people.evidence(0);
        evidence.freeze_all([KnownFork { n_common: Some(n_common + n_known), ..proof.clone().into() }]);
        let release = ReleaseId::from(EntryId::of(&held.entries[usize::try_from(n_common).unwrap()]));
        let is_there = devices::exactly(&evidence.fold(), release).is_ok();
        assert_eq!(is_there, n_known == 1, "only what both histories are known to have");
    }
    people.package.insert(LAPTOP, log.fork(whole));
    let mut evidence = people.evidence(0);
    evidence.freeze(proof);
    assert!(
        honest.iter().all(|release| devices::exactly(&evidence.fold(), *release).is_ok()),
        "the cut says which history is meant"
    );
}
