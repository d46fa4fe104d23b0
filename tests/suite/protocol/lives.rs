//! Random lives of the devices of one identity: equal frontiers are equal states, in every order of delivery.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::entry::{Body, Cut, DeviceCuts, DeviceRole, RefClass, StatementId, Suspend};
use syncra_protocol::evidence::{Evidence, EvidenceError};
use syncra_protocol::fold::{DeviceStatus, PackageState, Standing};
use syncra_protocol::id::{PackageId, ReleaseId};
use syncra_protocol::key::DeviceSecret;

use syncra_sim::rng::Rng;
use syncra_sim::world::{Chain, handle, moved, name};

use crate::devices::{DESK, People, RECOVERY, add, key};

/// Random lives of one person's devices: additions, suspensions, statements of the recovery key, releases, and a log that
/// is withheld until the end; each entry knows everything, something, or nothing new.
struct Life {
    people: People,
    devices: Vec<u8>,
    statement: Option<StatementId>,
    releases: Vec<ReleaseId>,
}

impl Life {
    fn random(rng: &mut Rng) -> Self {
        let mut life = Self { people: People::new(), devices: vec![DESK], statement: None, releases: vec![] };
        let n_devices = 2 + rng.below(5);
        for step in 0..rng.between(8..30) {
            let joins = life.devices.len() < n_devices && (step < 8 || rng.chance(20));
            if joins { life.add(rng) } else { life.act(rng) }
        }
        life
    }

    fn pick(&self, rng: &mut Rng) -> u8 {
        self.devices[rng.below(self.devices.len())]
    }

    fn add(&mut self, rng: &mut Rng) {
        let by = self.pick(rng);
        let device = DESK + u8::try_from(self.devices.len()).unwrap();
        let role = if rng.chance(60) { DeviceRole::Manager } else { DeviceRole::Publisher };
        self.people.say(by, add(device, role));
        self.people.join(device);
        self.devices.push(device);
    }

    fn act(&mut self, rng: &mut Rng) {
        let (by, other) = (self.pick(rng), self.pick(rng));
        let body = match rng.below(10) {
            0..5 => return self.publish(rng, by),
            5 => Body::Suspend(Suspend { cuts: self.cuts(rng, other) }),
            6 => self.recover(rng, other),
            7 => handle(["alice", "bob", "carol"][rng.below(3)]),
            8 => {
                name("lamp", rng.chance(80).then_some(PackageId::from_bytes([u8::try_from(rng.below(3)).unwrap(); 32])))
            }
            _ => Body::Seen,
        };
        if rng.chance(50) {
            self.people.say(by, body)
        } else {
            self.people.say_blind(by, body)
        };
    }

    fn publish(&mut self, rng: &mut Rng, by: u8) {
        let tree = u8::try_from(rng.below(3)).unwrap();
        let version = ["1.0.0", "1.1.0", "2.0.0"][rng.below(3)];
        let id = if rng.chance(60) {
            self.people.publish(by, version, tree)
        } else {
            self.people.publish_blind(by, version, tree)
        };
        self.releases.push(id);
        if rng.chance(30) {
            let to = *rng.pick(&self.releases).unwrap();
            self.people.package.get_mut(&by).unwrap().append(vec![], moved(RefClass::Channel, "stable", Some(to)));
        }
    }

    /// Cuts somewhere in the device's past, or not at all.
    fn cuts(&self, rng: &mut Rng, device: u8) -> DeviceCuts {
        let at = |chain: &Chain, rng: &mut Rng| {
            let size = 1 + rng.below(usize::try_from(chain.size()).unwrap()) as u64;
            Cut { size, root: chain.log.root_at(size).unwrap() }
        };
        let identity = rng.chance(80).then(|| at(&self.people.identity[&device], rng));
        let package = rng.chance(80).then(|| at(&self.people.package[&device], rng));
        let named = rng.chance(80).then_some((self.people.me.package, package));
        DeviceCuts { device: key(device), identity, packages: named.into_iter().collect() }
    }

    fn recover(&mut self, rng: &mut Rng, device: u8) -> Body {
        let mut statement = self.people.statement(self.statement);
        if rng.chance(50) {
            statement.revoke.push(self.cuts(rng, device));
        }
        // Now and then two statements after the same one: what a stolen recovery key does.
        if rng.chance(80) {
            self.statement = Some(statement.id());
        }
        Body::Recover(statement.sign(&DeviceSecret::from_seed(&[RECOVERY; 32])))
    }

    /// Delivers all logs in random parts; one of them last. Calls `at_each` after every part.
    fn deliver(&self, rng: &mut Rng, mut at_each: impl FnMut(&Evidence)) -> Evidence {
        let mut evidence = Evidence::open(self.people.me.package, &self.people.genesis).unwrap();
        evidence.admit_identity(&self.people.identity[&DESK].entries[0]).unwrap();
        let mut open = self.people.chains();
        let withheld = open.swap_remove(rng.below(open.len()));
        let mut n_idle = 0;
        while n_idle < 1_000 {
            if open.is_empty() {
                if evidence.size(&withheld.origin()) == withheld.size() {
                    break;
                }
                open.push(withheld);
            }
            let n = rng.below(open.len());
            let chain = open[n];
            let held = evidence.size(&chain.origin());
            let to = held + 1 + rng.below(usize::try_from(chain.size() - held).unwrap()) as u64;
            match evidence.extend(chain.slice(held, to), &chain.head_at(to)) {
                Ok(()) => n_idle = 0,
                Err(EvidenceError::NoDevice) => n_idle += 1,
                Err(error) => panic!("{error}"),
            }
            if to == chain.size() && evidence.size(&chain.origin()) == to {
                open.swap_remove(n);
            }
            open.retain(|chain| evidence.size(&chain.origin()) < chain.size());
            // The withheld log is the one that admits those that are left.
            let is_left = evidence.size(&withheld.origin()) < withheld.size();
            if n_idle == 100 && is_left && open.iter().all(|chain| chain.origin() != withheld.origin()) {
                open.push(withheld);
            }
            at_each(&evidence);
        }
        evidence
    }
}

/// Set `SYNCRA_HISTORIES` for more than the share that every run has.
#[test]
fn lives_of_many_devices_are_the_same_in_every_order_of_delivery() {
    let n_lives: u64 = std::env::var("SYNCRA_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let (mut n_suspended, mut n_revoked, mut n_beyond) = (0, 0, 0);
    for seed in 0..n_lives {
        let life = Life::random(&mut Rng::seeded(seed));
        let mut states: BTreeMap<[u8; 32], PackageState> = BTreeMap::new();
        let mut whole = BTreeSet::new();
        for order in 0..4 {
            let mut rng = Rng::seeded(seed * 31 + order);
            let evidence = life.deliver(&mut rng, |evidence| {
                let state = evidence.fold();
                let digest = state.frontier.digest();
                let known = states.entry(digest).or_insert_with(|| state.clone());
                assert_eq!(*known, state, "seed {seed}: two states at one frontier");
            });
            let state = evidence.fold();
            whole.insert(state.frontier.digest());
            // What was true at an earlier frontier is still what that frontier says.
            for (digest, state) in states.iter().take(8) {
                if let Ok(again) = evidence.fold_at(state.frontier.clone()) {
                    assert_eq!(again, *state, "seed {seed}, frontier {digest:?}");
                }
            }
        }
        assert_eq!(whole.len(), 1, "seed {seed}: the same logs, another frontier");
        let state = &states[whole.first().unwrap()];
        let devices = state.owners.values().flat_map(|owner| owner.devices.values());
        for device in devices {
            match device.status {
                DeviceStatus::Active => {}
                DeviceStatus::Suspended { .. } => n_suspended += 1,
                DeviceStatus::Revoked => n_revoked += 1,
            }
        }
        n_beyond += state.releases.values().filter(|release| release.standing == Standing::Revoked).count();
    }
    println!("{n_lives} lives: {n_suspended} suspended, {n_revoked} revoked, {n_beyond} releases beyond a cut");
    assert!(n_suspended > 0 && n_revoked > 0 && n_beyond > 0, "the lives are too peaceful");
}
