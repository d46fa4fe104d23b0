//! Random histories of several people with several devices, who name each other, agree, remove, protect and fork: equal
//! frontiers are equal states, in every order of delivery.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::entry::{
    Body, Cut, DeviceCuts, Endorse, ForkResolve, Redact, RedactReason, RefClass, Role, Roles, SeenHead, Suspend, Yank,
};
use syncra_protocol::evidence::{Evidence, EvidenceError, Frontier, FrontierError};
use syncra_protocol::fold::{PackageState, Standing};
use syncra_protocol::id::{BlobId, EntryId, LogHash, ReleaseId};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::name::RefName;

use syncra_sim::rng::Rng;
use syncra_sim::world::{Chain, moved, release};

use crate::team::{DeviceAt, Team, is_package};

/// What one random history is made of.
struct Story {
    team: Team,
    releases: Vec<ReleaseId>,
    /// Changes proposed, and what each follows.
    changes: BTreeMap<EntryId, Option<EntryId>>,
    /// Who agreed to which.
    votes: BTreeMap<EntryId, BTreeSet<usize>>,
    moves: Vec<EntryId>,
    /// Everything so far, for who writes knowing it.
    known: Evidence,
    fork: Option<(Chain, u64)>,
    /// How much of the forked log readers hold when they are warned, if that is not all of it.
    warned_at: Option<u64>,
    /// Whether somebody shows where the histories part.
    is_shown: bool,
    /// Whether somebody names the other history.
    is_disputed: bool,
}

impl Story {
    fn random(rng: &mut Rng) -> Self {
        let mut team = Team::new(1 + rng.below(3), 1 + rng.below(3));
        for _ in 0..rng.below(3) {
            team.add_device(rng.below(team.people.len()));
        }
        let known = team.evidence();
        let mut story = Self {
            team,
            releases: vec![],
            changes: BTreeMap::new(),
            votes: BTreeMap::new(),
            moves: vec![],
            known,
            fork: None,
            warned_at: None,
            is_shown: false,
            is_disputed: false,
        };
        for _ in 0..rng.between(10..40) {
            story.step(rng);
        }
        if rng.chance(25) {
            story.sign_twice(rng);
        }
        story
    }

    fn step(&mut self, rng: &mut Rng) {
        let devices = self.team.devices();
        let by = devices[rng.below(devices.len())];
        match rng.below(20) {
            0..6 => {
                let version = ["1.0.0", "1.1.0", "2.0.0"][rng.below(3)];
                let body = release(version, u8::try_from(rng.below(3)).unwrap());
                let id = self.say(rng, by, body);
                self.releases.push(id.into());
            }
            6..9 => {
                let to = *rng.pick(&self.releases).unwrap_or(&ReleaseId::from_bytes([9; 32]));
                let (class, name) = [(RefClass::Channel, "stable"), (RefClass::Branch, "main")][rng.below(2)];
                let id = self.say(rng, by, moved(class, name, Some(to)));
                self.moves.push(id);
            }
            9 => {
                let release = *rng.pick(&self.releases).unwrap_or(&ReleaseId::from_bytes([9; 32]));
                let undo = rng.chance(40);
                self.say(rng, by, Body::Yank(Yank { release, undo, reason: None }));
            }
            10..14 => self.propose(rng, by),
            14..18 => self.agree(rng, by),
            18 if rng.chance(30) => self.suspend(rng, by),
            19 => self.redact(rng, by),
            _ => drop(self.say(rng, by, Body::Seen)),
        }
    }

    fn say(&mut self, rng: &mut Rng, by: DeviceAt, body: Body) -> EntryId {
        let seen: Vec<SeenHead> = match rng.below(10) {
            0..2 => vec![],
            2..5 => {
                let chosen: BTreeSet<_> =
                    self.team.chains().iter().filter(|_| rng.chance(50)).map(|chain| chain.origin()).collect();
                self.team.seen(by, |chain| chosen.contains(&chain.origin()))
            }
            _ => self.team.seen(by, |_| true),
        };
        let id = self.team.say_knowing(by, seen, body);
        self.learn();
        id
    }

    fn learn(&mut self) {
        for chain in self.team.chains() {
            let held = self.known.size(&chain.origin());
            if held < chain.size() {
                self.known.extend(chain.slice(held, chain.size()), &chain.head()).unwrap();
            }
        }
    }

    fn propose(&mut self, rng: &mut Rng, by: DeviceAt) {
        let state = self.known.fold();
        let known = self.ids();
        let previous = if rng.chance(85) { state.rights.last } else { rng.pick(&known).copied() };
        let mut changes: BTreeMap<_, _> = BTreeMap::new();
        for _ in 0..rng.below(3) {
            let roles = [None, Some(Role::Contributor), Some(Role::Maintainer), Some(Role::Owner)];
            changes.insert(rng.below(self.team.people.len()), roles[rng.below(4)]);
        }
        let to: Vec<_> = changes.into_iter().collect();
        let mut change = self.team.change(previous, 1, &to);
        if rng.chance(30) {
            let name = |text| RefName::parse(text).unwrap();
            change.protect.push((RefClass::Branch, name("main"), rng.chance(70)));
            change.protect.push((RefClass::Channel, name("stable"), rng.chance(70)));
        }
        for (key, cut) in &mut change.cuts {
            // Not always all of it: sometimes from before a while ago, sometimes nothing.
            if let Some(at) = cut.as_mut().filter(|_| rng.chance(40)) {
                let log = self.team.chains().into_iter().find(|c| c.origin().key == *key && is_package(&c.origin()));
                let log = log.unwrap();
                at.size = 1 + rng.between(0..at.size);
                at.root = log.log.root_at(at.size).unwrap();
            } else if rng.chance(5) {
                *cut = None;
            }
        }
        if rng.chance(10) {
            change.cuts.clear();
        }
        let n_owners =
            state.rights.after(EntryId::from_bytes([0; 32]), &change).map_or(1, |next| next.owners().count());
        let wanted: Vec<u8> = (1..=3).collect();
        let fits = |threshold: &&u8| {
            state
                .rights
                .after(EntryId::from_bytes([0; 32]), &Roles { owner_threshold: **threshold, ..change.clone() })
                .is_some()
        };
        change.owner_threshold = wanted.iter().find(fits).copied().unwrap_or(u8::try_from(n_owners).unwrap());
        let id = self.say(rng, by, Body::Roles(change));
        self.changes.insert(id, previous);
        self.votes.entry(id).or_default().insert(by.0);
    }

    fn redact(&mut self, rng: &mut Rng, by: DeviceAt) {
        let blobs = vec![BlobId::from_bytes([u8::try_from(rng.below(3)).unwrap(); 32])];
        self.say(rng, by, Body::Redact(Redact { blobs, reason: RedactReason::Secret }));
    }

    fn ids(&self) -> Vec<EntryId> {
        self.changes.keys().copied().collect()
    }

    fn agree(&mut self, rng: &mut Rng, by: DeviceAt) {
        let open: Vec<EntryId> = self.known.fold().open.iter().map(|open| open.entry).collect();
        let any = if rng.chance(50) { self.moves.clone() } else { self.ids() };
        let entry = if rng.chance(80) { rng.pick(&open) } else { rng.pick(&any) };
        if let Some(entry) = entry.copied() {
            self.say(rng, by, Body::Endorse(Endorse { entry }));
            self.votes.entry(entry).or_default().insert(by.0);
        }
    }

    fn suspend(&mut self, rng: &mut Rng, (person, _): DeviceAt) {
        let n = rng.below(self.team.people[person].devices.len());
        let device = self.team.device((person, n));
        let size = 1 + rng.between(0..device.package.size());
        let cut = Cut { size, root: device.package.log.root_at(size).unwrap() };
        let identity = Cut { size: device.identity.size(), root: device.identity.log.root() };
        let cuts =
            DeviceCuts { device: device.key, identity: Some(identity), packages: vec![(self.team.package, Some(cut))] };
        let first = &mut self.team.people[person].devices[0].identity;
        first.append(vec![], Body::Suspend(Suspend { cuts }));
        self.learn();
    }

    /// A device signs another history of its log of the package; it is the one that nobody holds.
    fn sign_twice(&mut self, rng: &mut Rng) {
        let devices = self.team.devices();
        let log = &self.team.device(devices[rng.below(devices.len())]).package;
        let n_common = rng.between(1..log.size() + 1).min(log.size() - 1);
        if n_common == 0 {
            return;
        }
        let mut other = log.fork(n_common);
        while other.size() < log.size() {
            other.append(vec![], release("6.6.6", 66));
        }
        let cut = Cut { size: log.size(), root: log.log.root() };
        let resolve = ForkResolve { log: log.origin().key, cut };
        let seen_of_other = other.seen();
        self.fork = Some((other, n_common));
        for _ in 0..rng.below(3) {
            // Not always by somebody who may, nor always the history that is held.
            let by = devices[rng.below(devices.len())];
            let cut = if rng.chance(80) { cut } else { Cut { root: LogHash::from_bytes([9; 32]), ..cut } };
            if self.team.device(by).package.origin().key != resolve.log {
                let id = self.say(rng, by, Body::ForkResolve(ForkResolve { cut, ..resolve }));
                self.moves.push(id);
                let by = devices[rng.below(devices.len())];
                self.agree(rng, by);
            }
        }
        let size = self.team.chains().into_iter().find(|chain| chain.origin().key == resolve.log).unwrap().size();
        self.warned_at = rng.chance(40).then(|| rng.between(1..size + 1));
        self.is_shown = rng.chance(50);
        // Somebody was shown the other one.
        if rng.chance(40) {
            let by = devices[rng.below(devices.len())];
            if self.team.device(by).key != resolve.log {
                self.team.say_knowing(by, vec![seen_of_other], Body::Seen);
                self.learn();
                self.is_disputed = true;
            }
        }
    }

    /// Says that a log is forked, as soon as the history that is held is here.
    fn freeze(&self, evidence: &mut Evidence, is_shown_late: bool) {
        let Some((other, n_common)) = &self.fork else { return };
        let ours = self.team.chains().into_iter().find(|chain| chain.origin() == other.origin()).unwrap();
        let warned_at = self.warned_at.unwrap_or(ours.size());
        if evidence.size(&other.origin()) == warned_at && !evidence.is_forked(&other.origin()) {
            evidence.freeze(ForkProof::new(&ours.head_at(other.size()), &other.head(), None).unwrap());
            match self.is_shown {
                true if is_shown_late => {}
                true => self.show(evidence),
                false => evidence.settle_fork(&other.origin(), (*n_common).min(warned_at)),
            }
        }
    }

    fn show(&self, evidence: &mut Evidence) {
        let Some((other, n_common)) = self.fork.as_ref().filter(|_| self.is_shown) else { return };
        let ours = self.team.chains().into_iter().find(|chain| chain.origin() == other.origin()).unwrap();
        let point = ForkPoint::of((&ours.log, &ours.head()), (&other.log, &other.head())).unwrap();
        assert_eq!(point.n_common(), *n_common);
        evidence.learn_point(point);
    }

    /// The forked log goes up to where readers are warned.
    fn next_size(&self, chain: &Chain, to: u64) -> u64 {
        let warned_at =
            self.warned_at.filter(|_| self.fork.as_ref().is_some_and(|(other, _)| other.origin() == chain.origin()));
        warned_at.map_or(to, |warned_at| to.min(warned_at))
    }

    /// Delivers all logs in random parts, one of them last, and the proof of a fork, if there is one, with its log.
    fn deliver(&self, rng: &mut Rng, mut at_each: impl FnMut(&Evidence)) -> Evidence {
        let mut evidence = self.team.evidence();
        let mut open = self.team.chains();
        let withheld = open.swap_remove(rng.below(open.len()));
        let (mut n_refused, mut is_withheld, mut is_shown_late) = (0, true, rng.chance(50));
        let mut known = Frontier::default();
        loop {
            if open.is_empty() || n_refused > 50 {
                if is_shown_late {
                    (n_refused, is_shown_late) = (0, false);
                    self.show(&mut evidence);
                    continue;
                }
                if !is_withheld {
                    break;
                }
                open.push(withheld);
                (n_refused, is_withheld) = (0, false);
            }
            let n = rng.below(open.len());
            let chain = open[n];
            let held = evidence.size(&chain.origin());
            if held == chain.size() {
                open.swap_remove(n);
                continue;
            }
            let to = self.next_size(chain, held + 1 + rng.between(0..chain.size() - held));
            match evidence.extend(chain.slice(held, to), &chain.head_at(to)) {
                Ok(()) => n_refused = 0,
                Err(EvidenceError::NoDevice | EvidenceError::Frozen) => n_refused += 1,
                Err(error) => panic!("{error}"),
            }
            self.freeze(&mut evidence, is_shown_late);
            let frontier = evidence.frontier();
            assert!(frontier.covers(&known), "what counted counts no more");
            known = frontier;
            at_each(&evidence);
        }
        self.check_whole(&evidence);
        evidence
    }

    /// Everything is here but what a forked log may have beyond where readers were warned, and nobody waits for that.
    fn check_whole(&self, evidence: &Evidence) {
        for chain in self.team.chains() {
            let held = evidence.size(&chain.origin());
            assert!(held == chain.size() || evidence.is_forked(&chain.origin()), "{} of {}", held, chain.size());
        }
        let blocked = evidence.blocked();
        assert!(blocked.is_empty(), "nobody waits: {blocked:?}");
    }

    /// The changes up to this one, newest first.
    fn chain_of(&self, mut last: Option<EntryId>) -> Vec<EntryId> {
        let mut chain = vec![];
        while let Some(change) = last {
            chain.push(change);
            last = self.changes[&change];
        }
        chain
    }

    /// Whether somebody agreed to two changes of which only one can be.
    fn somebody_agreed_to_both(&self) -> bool {
        let rivals = |a: &EntryId, b: &EntryId| a != b && self.changes.get(a) == self.changes.get(b);
        let changes = || self.votes.iter().filter(|(entry, _)| self.changes.contains_key(*entry));
        changes().any(|(a, of_a)| changes().any(|(b, of_b)| rivals(a, b) && !of_a.is_disjoint(of_b)))
    }
}

/// What was in effect for one reader stays in effect for all, unless an owner agreed to two changes at once.
fn check_stays(story: &Story, part: &PackageState, whole: &PackageState, seed: u64) {
    let now = story.chain_of(whole.rights.last);
    let is_kept = part.rights.last.is_none_or(|last| now.contains(&last));
    let has_cuts = whole.owners.values().flat_map(|owner| owner.devices.values()).any(|device| device.cuts.is_some());
    assert!(
        is_kept || has_cuts || story.fork.is_some() || story.somebody_agreed_to_both(),
        "seed {seed}: rights undone"
    );
    let is_redacted = |blob: &BlobId| whole.redacted.contains_key(blob);
    let is_same = part.rights.last == whole.rights.last && !has_cuts && story.fork.is_none();
    assert!(!is_same || part.redacted.keys().all(is_redacted), "seed {seed}: bytes given again");
}

/// Set `SYNCRA_HISTORIES` for more than the share that every run has.
#[test]
fn histories_of_many_owners_are_the_same_in_every_order_of_delivery() {
    let n_histories: u64 = std::env::var("SYNCRA_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let mut n = BTreeMap::<&str, usize>::new();
    let mut more = BTreeMap::<&str, usize>::new();
    for seed in 0..n_histories {
        let run = std::panic::catch_unwind(|| one_history(seed));
        let (story, state) = run.unwrap_or_else(|_| panic!("seed {seed}"));
        let mut count = |what, more| *n.entry(what).or_default() += more;
        let standing = |wanted| state.releases.values().filter(|release| release.standing == wanted).count();
        count("changes in effect", story.chain_of(state.rights.last).len());
        count("open changes", state.open.len());
        count("releases beyond a cut", standing(Standing::Revoked));
        count("contributed releases", standing(Standing::Contributed));
        count("contested releases", standing(Standing::Contested));
        count("forked logs", state.forked.len());
        let n_common = story.fork.as_ref().map_or(u64::MAX, |(_, n_common)| *n_common);
        count("healed logs", state.forked.values().filter(|n| **n > n_common).count());
        count("redacted blobs", state.redacted.len());
        count("forked logs whose other history somebody names", usize::from(story.is_disputed));
        let frozen = story.fork.as_ref().is_some_and(|(other, _)| {
            let size = state.frontier.size(&other.origin());
            story.team.chains().into_iter().any(|chain| chain.origin() == other.origin() && chain.size() > size)
        });
        *more.entry("forked logs of which readers hold less").or_default() += usize::from(frozen);
        count("protected refs", state.rights.protected.len());
        count("of two owners or more", usize::from(state.rights.owners().count() > 1));
    }
    println!("{n_histories} histories: {n:?}, {more:?}");
    assert!(n.values().all(|n| *n as u64 > n_histories / 40), "the histories are too peaceful: {n:?}");
    assert!(more.values().all(|n| *n > 0), "the histories are too peaceful: {more:?}");
}

fn one_history(seed: u64) -> (Story, PackageState) {
    let story = Story::random(&mut Rng::seeded(seed));
    let whole = story.deliver(&mut Rng::seeded(seed), |_| {});
    let state = whole.fold();
    let mut states: BTreeMap<[u8; 32], PackageState> = BTreeMap::new();
    for order in 1..4 {
        let mut rng = Rng::seeded(seed * 31 + order);
        let evidence = story.deliver(&mut rng.clone(), |evidence| {
            if rng.chance(40) {
                let part = evidence.fold();
                let known = states.entry(evidence.basis(&part.frontier)).or_insert_with(|| part.clone());
                assert_eq!(*known, part, "two states at one frontier, with the same forks known");
            }
        });
        assert_eq!(evidence.fold(), state, "the same logs, another state");
    }
    for (basis, part) in &states {
        if whole.basis(&part.frontier) == *basis {
            let now = whole.fold_at(part.frontier.clone());
            // Of a forked log more may count later than did: who names it comes after that then.
            let is_open = matches!(now, Err(FrontierError::NotClosed(_))) && story.fork.is_some();
            assert!(is_open || now.as_ref() == Ok(part), "seed {seed}: another state at an earlier frontier");
        }
        check_stays(&story, part, &state, seed);
    }
    (story, state)
}
