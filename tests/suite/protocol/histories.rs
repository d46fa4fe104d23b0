//! Random histories of two writers, delivered in every order: equal frontiers are equal states.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::entry::{Body, RefClass, SeenHead, Yank};
use syncra_protocol::evidence::{Evidence, IdentityLog};
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{EntryId, ReleaseId};
use syncra_protocol::origin::{Origin, Subject};

use syncra_sim::rng::Rng;
use syncra_sim::world::{World, handle, moved, name, release};

const HISTORIES: u64 = 2_000;
const CHANNELS: [&str; 2] = ["stable", "beta"];
const VERSIONS: [&str; 4] = ["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0"];

/// One entry as the generator knows it: its past as a set of entries, without clocks.
struct Fact {
    id: EntryId,
    past: BTreeSet<usize>,
    what: What,
}

enum What {
    Move(&'static str, Option<ReleaseId>),
    Yank(ReleaseId, bool),
    Release,
    Other,
}

/// A world with a history, and what the generator knows of it.
struct History {
    world: World,
    facts: Vec<Fact>,
    /// Which fact each writer's entries are, from entry 1 on.
    by_writer: [Vec<usize>; 2],
    releases: Vec<ReleaseId>,
}

impl History {
    fn random(rng: &mut Rng) -> Self {
        let world = World::new(2);
        let mut history = Self { world, facts: vec![], by_writer: [vec![], vec![]], releases: vec![] };
        for _ in 0..rng.between(5..40) {
            history.step(rng);
        }
        for identity in 0..2 {
            history.world.identities[identity].append(vec![], handle(["alice", "bob"][identity]));
            let package = history.world.package;
            history.world.identities[identity].append(vec![], name("lamp", Some(package)));
        }
        history
    }

    fn step(&mut self, rng: &mut Rng) {
        let by = rng.below(2);
        let mut past: BTreeSet<usize> = self.past_of_last(by);
        let mut seen: Vec<SeenHead> = Vec::new();
        if rng.chance(30) {
            seen = self.world.seen(1 - by);
            past.extend(self.past_of_last(1 - by));
            if rng.chance(30) {
                seen.push(self.world.identities[by].seen());
            }
        }
        seen.sort();
        let known = *rng.pick(&self.releases).unwrap_or(&ReleaseId::from_bytes([7; 32]));
        let (body, what) = match rng.below(10) {
            0..4 => (release(VERSIONS[rng.below(4)], u8::try_from(rng.below(3)).unwrap()), What::Release),
            4..7 => {
                let (channel, to) = (CHANNELS[rng.below(2)], (!rng.chance(10)).then_some(known));
                (moved(RefClass::Channel, channel, to), What::Move(channel, to))
            }
            7..9 => {
                let undo = rng.chance(50);
                (Body::Yank(Yank { release: known, undo, reason: None }), What::Yank(known, undo))
            }
            _ => (Body::Seen, What::Other),
        };
        let id = self.world.writers[by].append(seen, body);
        if matches!(what, What::Release) {
            self.releases.push(id.into());
        }
        self.by_writer[by].push(self.facts.len());
        self.facts.push(Fact { id, past, what });
    }

    /// The writer's last entry and all before it.
    fn past_of_last(&self, by: usize) -> BTreeSet<usize> {
        let Some(last) = self.by_writer[by].last() else { return BTreeSet::new() };
        let mut past = self.facts[*last].past.clone();
        past.insert(*last);
        past
    }

    /// Entries of `of` in nobody's past among `of`: the naive reading of "latest".
    fn latest(&self, of: &[usize]) -> Vec<usize> {
        of.iter().copied().filter(|fact| !of.iter().any(|later| self.facts[*later].past.contains(fact))).collect()
    }

    /// Compares refs and yanks with what follows from the sets of pasts.
    fn check(&self, state: &PackageState) {
        for channel in CHANNELS {
            let moves = 0..self.facts.len();
            let moves: Vec<_> =
                moves.filter(|fact| matches!(self.facts[*fact].what, What::Move(name, _) if name == channel)).collect();
            let latest: BTreeSet<_> = self.latest(&moves).iter().map(|fact| self.facts[*fact].id).collect();
            let found = state.refs.iter().find(|((_, name), _)| name.as_str() == channel).map(|(_, state)| state);
            let all_removed =
                self.latest(&moves).iter().all(|fact| matches!(self.facts[*fact].what, What::Move(_, None)));
            match found {
                Some(found) => assert_eq!(found.tips.iter().map(|tip| tip.entry).collect::<BTreeSet<_>>(), latest),
                None => assert!(all_removed, "a ref is missing"),
            }
        }
        let mut about: BTreeMap<ReleaseId, Vec<usize>> = BTreeMap::new();
        for (n, fact) in self.facts.iter().enumerate() {
            if let What::Yank(release, _) = fact.what
                && state.releases.contains_key(&release)
            {
                about.entry(state.canonical(release)).or_default().push(n);
            }
        }
        let is_yank = |fact: &usize| matches!(self.facts[*fact].what, What::Yank(_, false));
        let yanked = about.iter().filter(|(_, facts)| self.latest(facts).iter().any(is_yank));
        assert_eq!(state.yanked.keys().collect::<Vec<_>>(), yanked.map(|(release, _)| release).collect::<Vec<_>>());
    }
}

/// Delivers a world's logs in random parts, in random order, with old parts again; some of identities as shared ones.
fn deliver(rng: &mut Rng, world: &World, mut at_each: impl FnMut(&Evidence, &mut Rng)) -> Evidence {
    let mut evidence = world.evidence();
    let mut open: Vec<Origin> = world.chains().iter().map(|chain| chain.origin()).collect();
    while !open.is_empty() {
        let n = rng.below(open.len());
        let chain = world.chain(&open[n]);
        let held = evidence.size(&chain.origin());
        if held == chain.size() {
            open.swap_remove(n);
            continue;
        }
        let to = held + 1 + rng.between(0..(chain.size() - held));
        let shared = matches!(chain.origin().subject, Subject::Identity(_)) && rng.chance(50);
        if shared {
            evidence.share(&IdentityLog::verify(chain.slice(0, to), &chain.head_at(to)).unwrap()).unwrap();
        } else {
            evidence.extend(chain.slice(held, to), &chain.head_at(to)).unwrap();
        }
        if rng.chance(20) {
            let before = evidence.frontier();
            assert!(evidence.extend(chain.slice(held, to), &chain.head_at(to)).is_err(), "the same part again");
            assert!(held == 0 || evidence.extend(chain.slice(0, held), &chain.head_at(held)).is_err(), "an old part");
            assert_eq!(evidence.frontier(), before);
        }
        at_each(&evidence, rng);
    }
    evidence
}

#[test]
fn equal_frontiers_are_equal_states_in_every_order_of_delivery() {
    let (mut n_contested, mut n_diverged, mut n_yanked, mut n_inner) = (0, 0, 0, 0);
    for seed in 0..HISTORIES {
        let run = std::panic::catch_unwind(|| {
            let mut rng = Rng::seeded(seed);
            let history = History::random(&mut rng);
            let reference = history.world.full_evidence();
            let state = reference.fold();
            assert!(reference.blocked().is_empty());
            history.check(&state);
            let mut n_inner = 0;
            for _ in 0..2 {
                let last = deliver(&mut rng, &history.world, |evidence, rng| {
                    if rng.chance(15) {
                        let part = evidence.fold();
                        assert_eq!(reference.fold_at(part.frontier.clone()).as_ref(), Ok(&part));
                        assert!(reference.frontier().covers(&part.frontier));
                        n_inner += 1;
                    }
                });
                assert_eq!(last.fold(), state);
                assert_eq!(last.frontier().digest(), state.frontier.digest());
            }
            (state, n_inner)
        });
        let (state, inner) = run.unwrap_or_else(|_| panic!("seed {seed}"));
        let contested =
            state.versions.values().filter(|v| matches!(v, syncra_protocol::fold::VersionState::Contested(_)));
        n_contested += contested.count();
        n_diverged += state.refs.values().filter(|state| state.is_diverged()).count();
        n_yanked += state.yanked.len();
        n_inner += inner;
    }
    // The generator must reach what it is there for.
    let reached =
        format!("{n_contested} contested, {n_diverged} diverged, {n_yanked} yanked, {n_inner} inner frontiers");
    assert!(n_contested > 300 && n_diverged > 300 && n_yanked > 300 && n_inner > 2_000, "{reached}");
}
