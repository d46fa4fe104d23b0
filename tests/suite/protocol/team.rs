//! Several people, each with one device or more, and one package: their logs, and what they say.

use std::collections::BTreeMap;

use syncra_protocol::entry::{
    AddDevice, Body, Cut, DeviceRole, Endorse, Entry, IdentityGenesis, IdentityJoin, PackageGenesis, PackageJoin, Role,
    Roles, SeenHead, recovery_commitment,
};
use syncra_protocol::evidence::{Evidence, EvidenceError};
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{EntryId, IdentityId, PackageId, ReleaseId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::{Origin, Subject};

use syncra_sim::world::{Chain, release};

pub(crate) const ALICE: usize = 0;
pub(crate) const BOB: usize = 1;
pub(crate) const CAROL: usize = 2;
pub(crate) const DAVE: usize = 3;

/// People as they stand in [`Team::people`]; a device is its person and its place there.
pub(crate) type DeviceAt = (usize, usize);

pub(crate) struct Device {
    pub(crate) key: DeviceKey,
    pub(crate) identity: Chain,
    pub(crate) package: Chain,
}

pub(crate) struct Person {
    pub(crate) id: IdentityId,
    pub(crate) devices: Vec<Device>,
}

pub(crate) struct Team {
    pub(crate) package: PackageId,
    pub(crate) genesis: Vec<u8>,
    pub(crate) people: Vec<Person>,
    pub(crate) n_owners: usize,
}

fn seed(person: usize, device: usize) -> [u8; 32] {
    let mut seed = [u8::try_from(1 + person).unwrap(); 32];
    seed[..8].copy_from_slice(&(device as u64).to_le_bytes());
    seed
}

fn secret(person: usize, device: usize) -> DeviceSecret {
    DeviceSecret::from_seed(&seed(person, device))
}

impl Team {
    /// A package of so many owners, who begin with one device each, and others who have no role yet.
    pub(crate) fn new(n_owners: usize, n_others: usize) -> Self {
        let begun: Vec<(IdentityId, DeviceKey, Vec<u8>)> = (0..n_owners + n_others).map(begin).collect();
        let mut owners: Vec<IdentityId> = begun[..n_owners].iter().map(|(id, ..)| *id).collect();
        owners.sort_unstable();
        let genesis = Body::PackageGenesis(PackageGenesis {
            kind: PackageKind::World,
            owners,
            owner_threshold: u8::try_from(n_owners / 2 + 1).unwrap(),
            creator: begun[0].0,
            log_key: begun[0].1,
            nonce: [7; 16],
        });
        let genesis = Entry::new(genesis).encode().unwrap();
        let package = PackageId::from(EntryId::of(&genesis));
        let mut team = Self { package, genesis: genesis.clone(), people: Vec::new(), n_owners };
        for (person, (id, key, bytes)) in begun.into_iter().enumerate() {
            let mut identity = Chain::of(secret(person, 0), |key| Origin::identity(id, key));
            identity.append_bytes(bytes);
            let mut own = Chain::of(secret(person, 0), |key| Origin::package(package, key));
            if person == 0 {
                own.append_bytes(genesis.clone());
            } else {
                own.append(vec![], Body::PackageJoin(PackageJoin { package, identity: id }));
            }
            team.people.push(Person { id, devices: vec![Device { key, identity, package: own }] });
        }
        team
    }

    /// Another device of a person, admitted by the first one.
    pub(crate) fn add_device(&mut self, person: usize) -> DeviceAt {
        let (id, package, n) = (self.people[person].id, self.package, self.people[person].devices.len());
        let key = secret(person, n).public();
        let label = RefName::parse(&format!("device-{n}")).unwrap();
        let first = &mut self.people[person].devices[0].identity;
        first.append(vec![], Body::AddDevice(AddDevice { device: key, role: DeviceRole::Manager, label }));
        let admitted = first.seen();
        let mut identity = Chain::of(secret(person, n), |key| Origin::identity(id, key));
        identity.append(vec![], Body::IdentityJoin(IdentityJoin { identity: id }));
        identity.append(vec![admitted], Body::Seen);
        let mut own = Chain::of(secret(person, n), |key| Origin::package(package, key));
        own.append(vec![], Body::PackageJoin(PackageJoin { package, identity: id }));
        own.append(vec![admitted], Body::Seen);
        self.people[person].devices.push(Device { key, identity, package: own });
        (person, n)
    }

    pub(crate) fn id(&self, person: usize) -> IdentityId {
        self.people[person].id
    }

    pub(crate) fn device(&self, (person, device): DeviceAt) -> &Device {
        &self.people[person].devices[device]
    }

    fn log(&mut self, (person, device): DeviceAt) -> &mut Chain {
        &mut self.people[person].devices[device].package
    }

    pub(crate) fn devices(&self) -> Vec<DeviceAt> {
        let of = |(person, who): (usize, &Person)| (0..who.devices.len()).map(move |device| (person, device));
        self.people.iter().enumerate().flat_map(of).collect()
    }

    pub(crate) fn chains(&self) -> Vec<&Chain> {
        let devices = || self.people.iter().flat_map(|person| &person.devices);
        devices().map(|device| &device.identity).chain(devices().map(|device| &device.package)).collect()
    }

    /// What a device that holds all logs that `is_known` would say to have seen.
    pub(crate) fn seen(&self, by: DeviceAt, is_known: impl Fn(&Chain) -> bool) -> Vec<SeenHead> {
        let own = self.device(by).package.origin();
        let known = self.chains().into_iter().filter(|chain| chain.origin() != own && is_known(chain));
        let mut seen: Vec<_> = known.map(Chain::seen).collect();
        seen.sort_unstable();
        seen
    }

    /// The person's first device says something, knowing everything.
    pub(crate) fn say(&mut self, person: usize, body: Body) -> EntryId {
        let seen = self.seen((person, 0), |_| true);
        self.log((person, 0)).append(seen, body)
    }

    /// A device says something, knowing nothing new.
    pub(crate) fn say_blind(&mut self, by: DeviceAt, body: Body) -> EntryId {
        self.log(by).append(vec![], body)
    }

    pub(crate) fn say_knowing(&mut self, by: DeviceAt, seen: Vec<SeenHead>, body: Body) -> EntryId {
        self.log(by).append(seen, body)
    }

    pub(crate) fn publish(&mut self, person: usize, version: &str, tree: u8) -> ReleaseId {
        self.say(person, release(version, tree)).into()
    }

    pub(crate) fn publish_blind(&mut self, person: usize, version: &str, tree: u8) -> ReleaseId {
        self.say_blind((person, 0), release(version, tree)).into()
    }

    /// What takes the first owners' word into account: a change of roles, with the logs of those who lose one cut as they
    /// are now.
    pub(crate) fn change(&self, previous: Option<EntryId>, threshold: u8, to: &[(usize, Option<Role>)]) -> Roles {
        let mut changes: Vec<_> = to.iter().map(|(person, role)| (self.id(*person), *role)).collect();
        changes.sort_unstable();
        let cut =
            |device: &Device| (device.key, Some(Cut { size: device.package.size(), root: device.package.log.root() }));
        let lowered = to.iter().filter(|(_, role)| *role < Some(Role::Owner));
        let mut cuts: Vec<_> = lowered.flat_map(|(person, _)| self.people[*person].devices.iter().map(cut)).collect();
        cuts.sort_unstable();
        Roles { previous, changes, owner_threshold: threshold, protect: vec![], cuts, rules: None }
    }

    pub(crate) fn endorse(&mut self, person: usize, entry: EntryId) -> EntryId {
        self.say(person, Body::Endorse(Endorse { entry }))
    }

    /// A set that knows the owners and nothing else.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::open(self.package, &self.genesis).unwrap();
        for person in &self.people[..self.n_owners] {
            evidence.admit_identity(&person.devices[0].identity.entries[0]).unwrap();
        }
        evidence
    }

    /// All logs, delivered whole in an order that `turn` rotates; what is refused for now is offered again.
    pub(crate) fn delivered(&self, turn: usize) -> Evidence {
        let mut evidence = self.evidence();
        let mut open = self.chains();
        open.rotate_left(turn % self.chains().len());
        for _ in 0..4 {
            open.retain(|chain| match evidence.extend(&chain.entries, &chain.head()) {
                Ok(()) => false,
                Err(EvidenceError::NoDevice) => true,
                Err(error) => panic!("{error}"),
            });
        }
        assert!(open.is_empty());
        evidence
    }

    /// The state, the same for every order of arrival.
    pub(crate) fn state(&self) -> PackageState {
        let state = self.delivered(0).fold();
        for turn in 1..self.chains().len() {
            assert_eq!(self.delivered(turn).fold(), state, "order {turn}");
        }
        state
    }

    /// As a follower would come to know it: only what is wanted is taken, in whatever order that allows.
    pub(crate) fn newcomer(&self) -> PackageState {
        let mut evidence = self.evidence();
        loop {
            let held: BTreeMap<Origin, u64> = evidence.heads().map(|head| (*head.origin(), head.size())).collect();
            for chain in self.chains() {
                if evidence.wants(&chain.origin()) && !held.contains_key(&chain.origin()) {
                    match evidence.extend(&chain.entries, &chain.head()) {
                        Ok(()) | Err(EvidenceError::NoDevice) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            if evidence.heads().count() == held.len() {
                return evidence.fold();
            }
        }
    }
}

/// The recovery key of a person.
pub(crate) fn recovery_secret(person: usize) -> DeviceSecret {
    DeviceSecret::from_seed(&[200 + u8::try_from(person).unwrap(); 32])
}

fn begin(person: usize) -> (IdentityId, DeviceKey, Vec<u8>) {
    let log_key = secret(person, 0).public();
    let recovery = recovery_commitment(&recovery_secret(person).public());
    let genesis = IdentityGenesis { log_key, recovery, nonce: [u8::try_from(person).unwrap(); 16] };
    let bytes = Entry::new(Body::IdentityGenesis(genesis)).encode().unwrap();
    (IdentityId::from(EntryId::of(&bytes)), log_key, bytes)
}

/// Whether a log is a package's.
pub(crate) fn is_package(origin: &Origin) -> bool {
    matches!(origin.subject, Subject::Package(_))
}
