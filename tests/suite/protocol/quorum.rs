//! A fork that the reader's witnesses settle: what most of them have seen of the history that is held counts.

use syncra_protocol::entry::{Body, Cut, DeviceRole, Suspend};
use syncra_protocol::evidence::{Evidence, Quorum};
use syncra_protocol::fold::{PackageState, Pick, SelectError, Standing};
use syncra_protocol::id::ReleaseId;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::origin::Origin;

use syncra_sim::rng::Rng;
use syncra_sim::world::{Chain, World, release};

use crate::devices::{DESK, LAPTOP, People, add};

/// Entries that both histories have: a Join and the first release.
const COMMON: u64 = 2;
const FORKER: usize = 1;

/// Two owners, of whom the second signs two histories.
struct Fork {
    world: World,
    branch: Chain,
    /// In both, then the two that are in the history held only.
    releases: [ReleaseId; 3],
}

impl Fork {
    fn new() -> Self {
        let mut world = World::new(2);
        let first = world.publish(FORKER, vec![], "1.0.0", 1);
        let mut branch = world.writers[FORKER].fork(COMMON);
        branch.append(vec![], release("2.0.0", 9));
        let rest = ["1.1.0", "1.2.0"].map(|version| world.publish(FORKER, vec![], version, 2));
        Self { world, branch, releases: [first, rest[0], rest[1]] }
    }

    fn origin(&self) -> Origin {
        self.branch.origin()
    }

    fn proof(&self) -> ForkProof {
        let held = &self.world.writers[FORKER];
        ForkProof::from_log(&held.log, &held.head(), &self.branch.head()).unwrap()
    }

    /// The first `size` entries of one of the two histories, as a witness has seen them.
    fn tree(chain: &Chain, size: u64) -> Vec<Cut> {
        vec![Cut { size, root: chain.log.root_at(size).unwrap() }]
    }

    fn held(&self, size: u64) -> Vec<Cut> {
        Self::tree(&self.world.writers[FORKER], size)
    }

    fn evidence(&self, quorum: Option<Quorum>) -> Evidence {
        let mut evidence = self.world.full_evidence();
        evidence.freeze(self.proof());
        evidence.settle_fork(&self.origin(), COMMON);
        evidence.witnessed(&self.origin(), quorum);
        evidence
    }

    /// How many of the three releases count.
    fn n_counted(&self, state: &PackageState) -> usize {
        let standings = self.releases.map(|id| state.releases[&id].standing);
        let n_counted = standings.iter().take_while(|standing| **standing == Standing::Settled).count();
        assert!(standings[n_counted..].iter().all(|standing| *standing == Standing::Forked), "{standings:?}");
        n_counted
    }
}

#[test]
fn what_most_of_the_readers_witnesses_have_seen_counts() {
    let fork = Fork::new();
    let counted = |quorum| fork.n_counted(&fork.evidence(quorum).fold());
    assert_eq!(counted(None), 1, "nobody says anything");
    let three = |sizes: [u64; 3]| Quorum::new(5, 3, sizes.map(|size| fork.held(size)).into());
    assert_eq!(counted(three([3, 3, 3])), 2);
    assert_eq!(counted(three([4, 3, 4])), 2, "what three have seen");
    assert_eq!(counted(three([4, 4, 4])), 3);
    let all_at_once = vec![[fork.held(3), fork.held(4)].concat(), fork.held(4), fork.held(4), fork.held(2)];
    assert_eq!(counted(Quorum::new(5, 3, all_at_once)), 3);
    let state = fork.evidence(three([3, 3, 3])).fold();
    assert_eq!(state.forked[&fork.origin()], 3);
    assert!(state.select(&Pick::Release(fork.releases[1])).is_ok());
    assert!(matches!(state.select(&Pick::Release(fork.releases[2])), Err(SelectError::Forked { .. })));
}

#[test]
fn too_few_and_those_who_saw_another_history_fix_nothing() {
    let fork = Fork::new();
    let counted = |quorum| fork.n_counted(&fork.evidence(quorum).fold());
    assert_eq!(counted(Quorum::new(5, 3, vec![fork.held(4), fork.held(4)])), 1, "two of five");
    let other = || Fork::tree(&fork.branch, 3);
    assert_eq!(counted(Quorum::new(5, 3, vec![other(), other(), other()])), 1, "the other history");
    assert_eq!(counted(Quorum::new(5, 3, vec![other(), other(), other(), fork.held(4), fork.held(4)])), 1);
    assert_eq!(counted(Quorum::new(5, 3, vec![other(), fork.held(4), fork.held(4), fork.held(4)])), 3);
    for (n_listed, needed) in [(4, 2), (5, 2), (0, 0), (2, 1)] {
        assert_eq!(
            Quorum::new(n_listed, needed, vec![]),
            None,
            "{needed} of {n_listed}: two histories could have that"
        );
    }
    assert_eq!(Quorum::new(1, 1, vec![vec![], vec![]]), None, "more than there are");
}

#[test]
fn of_a_log_that_is_not_forked_they_say_nothing() {
    let fork = Fork::new();
    let mut evidence = fork.world.full_evidence();
    let before = evidence.fold();
    evidence.witnessed(&fork.origin(), Quorum::new(1, 1, vec![fork.held(2)]));
    assert_eq!(evidence.fold(), before);
}

#[test]
fn an_owner_who_has_seen_another_history_outweighs_them() {
    let mut fork = Fork::new();
    let seen = vec![fork.branch.seen()];
    fork.world.publish(0, seen, "3.0.0", 3);
    let state = fork.evidence(Quorum::new(1, 1, vec![fork.held(4)])).fold();
    assert_eq!(fork.n_counted(&state), 1);
    // One who has seen the same history adds to what they have seen.
    let mut fork = Fork::new();
    let seen = fork.world.seen(FORKER);
    fork.world.publish(0, seen, "3.0.0", 3);
    let state = fork.evidence(Quorum::new(1, 1, vec![fork.held(3)])).fold();
    assert_eq!(fork.n_counted(&state), 3);
}

#[test]
fn what_they_have_seen_beyond_the_frontier_says_nothing() {
    let fork = Fork::new();
    let quorum = || Quorum::new(1, 1, vec![fork.held(4)]);
    let full = fork.evidence(quorum());
    // A reader who stopped a release earlier than another has the same state at the same frontier.
    let mut short = fork.world.evidence();
    for chain in fork.world.chains() {
        let size = if chain.origin() == fork.origin() { 3 } else { chain.size() };
        short.extend(chain.slice(0, size), &chain.head_at(size)).unwrap();
    }
    short.freeze(fork.proof());
    short.settle_fork(&fork.origin(), COMMON);
    short.witnessed(&fork.origin(), quorum());
    let state = short.fold();
    assert_eq!(full.fold_at(state.frontier.clone()), Ok(state.clone()));
    assert_eq!(state.releases[&fork.releases[1]].standing, Standing::Forked);
}

/// Where siblings or the recovery key have cut, nobody who knows nothing of rights takes part.
#[test]
fn of_a_device_that_was_cut_they_say_nothing() {
    let mut people = People::new();
    people.say(DESK, add(LAPTOP, DeviceRole::Publisher));
    people.join(LAPTOP);
    let honest = people.publish(LAPTOP, "1.0.0", 1);
    let cuts = people.cuts(LAPTOP);
    let mut branch = people.package[&LAPTOP].fork(people.package[&LAPTOP].size());
    let stolen = people.publish_blind(LAPTOP, "1.1.0", 2);
    branch.append(vec![], release("1.2.0", 3));
    people.say(DESK, Body::Suspend(Suspend { cuts }));
    let held = &people.package[&LAPTOP];
    let mut evidence = people.evidence(0);
    evidence.freeze(ForkProof::from_log(&held.log, &held.head(), &branch.head()).unwrap());
    evidence.settle_fork(&held.origin(), branch.size() - 1);
    let seen = vec![Cut { size: held.size(), root: held.log.root() }];
    evidence.witnessed(&held.origin(), Quorum::new(1, 1, vec![seen]));
    let state = evidence.fold();
    assert_eq!(state.releases[&honest].standing, Standing::Settled);
    assert_eq!(state.releases[&stolen].standing, Standing::Revoked);
}

#[test]
fn equal_frontiers_proofs_and_words_are_equal_states_in_every_order() {
    let fork = Fork::new();
    let mut states: Vec<PackageState> = Vec::new();
    for seed in 0..64 {
        let mut rng = Rng::seeded(seed);
        let mut evidence = fork.world.evidence();
        let mut open: Vec<usize> = (0..fork.world.chains().len() + 2).collect();
        // A log that is forked grows no more, so the proof comes when it is there.
        while !open.is_empty() {
            let n = open.remove(rng.below(open.len()));
            match n.checked_sub(fork.world.chains().len()) {
                None => {
                    let chain = fork.world.chains()[n];
                    evidence.extend(&chain.entries, &chain.head()).unwrap();
                }
                Some(0) => evidence.witnessed(&fork.origin(), Quorum::new(3, 2, vec![fork.held(3), fork.held(4)])),
                Some(_) if evidence.size(&fork.origin()) == 0 => open.push(n),
                Some(_) => {
                    evidence.freeze(fork.proof());
                    evidence.settle_fork(&fork.origin(), COMMON);
                }
            }
        }
        states.push(evidence.fold());
    }
    assert_eq!(fork.n_counted(&states[0]), 2);
    assert!(states.iter().all(|state| *state == states[0]));
}
