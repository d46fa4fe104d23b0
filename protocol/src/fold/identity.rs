//! Which devices speak for an identity, and what it calls things. Rules in `docs/spec/fold.md`.
//!
//! Admissions count from the entries on that have them in their past. Cuts count everywhere, so they are worked out
//! first: those of the recovery key depend on nothing but its chain; suspensions depend on who was admitted in their own
//! past, and all take effect at once, so that two devices that suspend each other are both silent.

use std::collections::{BTreeMap, BTreeSet};

use super::{Device, DeviceStatus, IdentityState};
use crate::entry::{AddDevice, Body, DeviceCuts, DeviceRole, IdentityGenesis, Recover, StatementId};
use crate::evidence::{Frontier, Logs, Point, Seat};
use crate::id::{EntryId, IdentityId, PackageId};
use crate::key::DeviceKey;
use crate::name::{Handle, PackageName, RefName};
use crate::origin::{Origin, Subject};

/// Entries of one log that may admit, suspend, or carry statements: what nobody needs more of, and bounds the work.
const CHANGES_PER_LOG: usize = 256;
/// Admissions of one device that are looked at: the first ones in causal order.
const ADMISSIONS_PER_DEVICE: usize = 16;

/// What lets a device speak from some point on.
#[derive(Clone)]
struct Admission {
    device: DeviceKey,
    role: DeviceRole,
    label: RefName,
    /// Whose entry it is; none for the recovery key's.
    by: Option<DeviceKey>,
    point: Point,
}

/// Admissions by device, each in causal order.
type Admissions = BTreeMap<DeviceKey, Vec<Admission>>;
/// Which statement, by whose key.
type Said = (StatementId, DeviceKey);

/// What the recovery key has said so far.
#[derive(Default)]
struct Chain {
    accepted: BTreeSet<Said>,
    last: Option<StatementId>,
    revoked: BTreeMap<DeviceKey, DeviceCuts>,
    lifted: BTreeSet<EntryId>,
    next: [u8; 32],
}

impl Chain {
    /// Takes in how far a device counts. What one statement has no room for, or did not know, another names.
    fn revoke(&mut self, cuts: &DeviceCuts) {
        let earlier = self.revoked.remove(&cuts.device).map(|earlier| earlier.packages).unwrap_or_default();
        let packages: BTreeMap<_, _> = earlier.into_iter().chain(cuts.packages.iter().copied()).collect();
        self.revoked.insert(cuts.device, DeviceCuts { packages: packages.into_iter().collect(), ..cuts.clone() });
    }
}

struct Fold<'a> {
    logs: &'a Logs,
    identity: IdentityId,
    frontier: &'a Frontier,
    /// In causal order.
    seats: Vec<Seat<'a>>,
    /// Of those the ones that may change who speaks, with the statement that they carry.
    changes: Vec<(&'a Body, Point, EntryId, Option<Said>)>,
    first: DeviceKey,
}

/// The identity at a frontier; none if its Genesis is not inside.
pub(crate) fn fold(logs: &Logs, frontier: &Frontier, identity: IdentityId) -> Option<IdentityState> {
    let own = frontier.0.keys().filter(|origin| origin.subject == Subject::Identity(identity));
    let mut seats: Vec<Seat<'_>> = own.flat_map(|origin| logs.entries(origin, frontier)).collect();
    seats.sort_by_cached_key(|seat| (seat.point.n_covered(), seat.id));
    let is_genesis = |seat: &Seat<'_>| matches!(seat.body, Body::IdentityGenesis(_));
    let genesis = seats.iter().find(|seat| is_genesis(seat))?;
    let Body::IdentityGenesis(IdentityGenesis { recovery, .. }) = genesis.body else { return None };
    let (first, changes) = (genesis.point.origin.key, changes(&seats));
    Some(Fold { logs, identity, frontier, first, seats, changes }.state(*recovery))
}

fn changes<'a>(seats: &[Seat<'a>]) -> Vec<(&'a Body, Point, EntryId, Option<Said>)> {
    let mut n_of_log: BTreeMap<Origin, usize> = BTreeMap::new();
    let mut changes = Vec::new();
    for seat in seats {
        let said = match seat.body {
            Body::Recover(recover) => Some((recover.statement.id(), recover.key)),
            Body::AddDevice(_) | Body::Suspend(_) => None,
            _ => continue,
        };
        let n = n_of_log.entry(seat.point.origin).or_default();
        *n += 1;
        if *n <= CHANGES_PER_LOG {
            changes.push((seat.body, seat.point.clone(), seat.id, said));
        }
    }
    changes
}

impl<'a> Fold<'a> {
    fn state(&self, recovery: [u8; 32]) -> IdentityState {
        let chain = self.chain(recovery);
        let (admissions, in_order) = self.admissions(&chain);
        let suspended = self.suspended(&chain, &admissions);
        let valid = self.valid(&in_order, &chain, &suspended);
        let is_silent = |point: &Point| point.index >= self.silent_from(point.origin.key, &chain, &suspended);
        let spoken = || self.seats.iter().filter(|seat| !is_silent(&seat.point) && self.speaks(&valid, &seat.point));

        let names = names(spoken());
        let mut state = IdentityState {
            identity: self.identity,
            devices: BTreeMap::new(),
            names: BTreeMap::new(),
            diverged_names: BTreeMap::new(),
            handle: handle(spoken().filter(|seat| self.role(&valid, &seat.point) == Some(DeviceRole::Manager))),
            recovery: chain.next,
            last_statement: chain.last,
        };
        for (name, meanings) in names {
            // A name is freed only if nobody gives it a meaning meanwhile.
            let meanings: BTreeSet<PackageId> = meanings.into_iter().flatten().collect();
            match meanings.first() {
                None => {}
                Some(package) if meanings.len() == 1 => drop(state.names.insert(name, *package)),
                Some(_) => drop(state.diverged_names.insert(name, meanings)),
            }
        }
        let keys: BTreeSet<_> = valid.keys().copied().chain([self.first]).collect();
        for key in keys {
            state.devices.insert(key, self.device(key, &valid, &chain, &suspended));
        }
        state
    }

    /// The statements that count, in order: each signed by the key that the one before committed to. Where a key has
    /// signed two after the same one, that counts which more of the identity's devices have seen; it takes a stolen
    /// recovery key to come to that.
    fn chain(&self, recovery: [u8; 32]) -> Chain {
        // By key too: anybody may sign the words of somebody else's statement.
        let mut copies: BTreeMap<Said, (&Recover, Vec<&Point>)> = BTreeMap::new();
        for (body, point, _, said) in &self.changes {
            if let (Body::Recover(recover), Some(said)) = (body, said) {
                copies.entry(*said).or_insert((recover, Vec::new())).1.push(point);
            }
        }
        let mut after: BTreeMap<(Option<StatementId>, [u8; 32]), Vec<Said>> = BTreeMap::new();
        for (said, (recover, _)) in &copies {
            after.entry((recover.statement.previous, recover.commitment())).or_default().push(*said);
        }
        let mut chain = Chain { next: recovery, ..Chain::default() };
        // What is taken is taken out: a chain ends, whatever it commits to.
        while let Some(candidates) = after.remove(&(chain.last, chain.next)) {
            let said = match &candidates[..] {
                [one] => *one,
                several => {
                    let known = self.known(&chain);
                    let n_seen = |said: &Said| known.iter().filter(|key| self.has_seen(**key, &copies[said].1)).count();
                    *several.iter().max_by_key(|said| (n_seen(said), core::cmp::Reverse(**said))).expect("several")
                }
            };
            let statement = &copies[&said].0.statement;
            chain.accepted.insert(said);
            chain.last = Some(said.0);
            chain.next = statement.next;
            for cuts in &statement.revoke {
                chain.revoke(cuts);
            }
            chain.lifted.extend(statement.lift.iter().copied());
        }
        chain
    }

    /// Devices whose word says which of two statements counts.
    fn known(&self, chain: &Chain) -> BTreeSet<DeviceKey> {
        let known = self.admissions(chain).0.into_keys().chain([self.first]);
        known.filter(|key| !chain.revoked.contains_key(key)).collect()
    }

    /// Whether the device's log of the identity has one of these points in it, or in its past.
    fn has_seen(&self, key: DeviceKey, points: &[&Point]) -> bool {
        let own = self.seats.iter().filter(|seat| seat.point.origin.key == key);
        let last = own.max_by_key(|seat| seat.point.index);
        last.is_some_and(|last| points.iter().any(|point| last.point.covers(&point.origin) > point.index))
    }

    /// All admissions, by devices that were admitted before and by the recovery key, by device and in causal order.
    /// Suspensions play no part yet.
    fn admissions(&self, chain: &Chain) -> (Admissions, Vec<Admission>) {
        let (mut admissions, mut in_order) = (Admissions::new(), Vec::new());
        for (body, point, _, said) in &self.changes {
            let admission = match body {
                Body::AddDevice(add)
                    if point.index < self.revoked_from(point.origin.key, chain) && self.manages(&admissions, point) =>
                {
                    Some(Admission::new(add, Some(point.origin.key), point))
                }
                // The recovery key speaks through any log, also one of a device that it revokes.
                Body::Recover(recover) if said.is_some_and(|said| chain.accepted.contains(&said)) => {
                    recover.statement.admit.as_ref().map(|add| Admission::new(add, None, point))
                }
                _ => None,
            };
            if let Some(admission) = admission
                && admit(&mut admissions, &admission)
            {
                in_order.push(admission);
            }
        }
        (admissions, in_order)
    }

    /// The suspensions that stand, by device: those by devices that did not know of one of their own.
    fn suspended(&self, chain: &Chain, admissions: &Admissions) -> BTreeMap<DeviceKey, Suspended> {
        let mut standing: BTreeMap<DeviceKey, Vec<&Point>> = BTreeMap::new();
        let mut suspended: BTreeMap<DeviceKey, Suspended> = BTreeMap::new();
        for (body, point, id, _) in &self.changes {
            let Body::Suspend(suspend) = body else { continue };
            let (by, device) = (point.origin.key, suspend.cuts.device);
            let is_cut = point.index >= self.revoked_from(by, chain);
            let knew = standing.get(&by).is_some_and(|own| own.iter().any(|other| other.is_before(point)));
            if is_cut || knew || chain.lifted.contains(id) || !self.manages(admissions, point) {
                continue;
            }
            standing.entry(device).or_default().push(point);
            // Nobody cuts what its own word rests on.
            let n_known = point.covers(&Origin::identity(self.identity, device));
            let named = self.cut_size(&suspend.cuts);
            let own = suspended.entry(device).or_insert_with(Suspended::none);
            own.by.insert(*id);
            own.from = own.from.min(named.max(n_known));
            own.cut(&suspend.cuts);
        }
        suspended
    }

    /// The admissions that no cut takes back.
    fn valid(&self, in_order: &[Admission], chain: &Chain, suspended: &BTreeMap<DeviceKey, Suspended>) -> Admissions {
        let mut valid = Admissions::new();
        for admission in in_order {
            let stands = admission.by.is_none_or(|by| {
                admission.point.index < self.silent_from(by, chain, suspended) && self.manages(&valid, &admission.point)
            });
            if stands {
                admit(&mut valid, admission);
            }
        }
        valid
    }

    fn device(
        &self,
        key: DeviceKey,
        valid: &Admissions,
        chain: &Chain,
        suspended: &BTreeMap<DeviceKey, Suspended>,
    ) -> Device {
        let own = valid.get(&key).map_or(&[][..], Vec::as_slice);
        let is_manager = key == self.first || own.iter().any(|admission| admission.role == DeviceRole::Manager);
        let (status, cuts) = match (chain.revoked.get(&key), suspended.get(&key)) {
            (Some(cuts), _) => (DeviceStatus::Revoked, Some(BTreeMap::from_iter(cuts.packages.iter().copied()))),
            (None, Some(own)) => (DeviceStatus::Suspended { by: own.by.clone() }, Some(own.packages.clone())),
            (None, None) => (DeviceStatus::Active, None),
        };
        Device {
            role: if is_manager { DeviceRole::Manager } else { DeviceRole::Publisher },
            label: own.last().map(|admission| admission.label.clone()),
            since: own.iter().map(|admission| (admission.point.origin, admission.point.index)).collect(),
            is_first: key == self.first,
            until: self.silent_from(key, chain, suspended),
            status,
            cuts,
        }
    }

    /// The first entry of a device's identity log that a statement of the recovery key takes away, or that is in one of
    /// two histories only.
    fn revoked_from(&self, key: DeviceKey, chain: &Chain) -> u64 {
        let n_common = || self.logs.n_common(&Origin::identity(self.identity, key)).max(self.least(key));
        chain.revoked.get(&key).map_or_else(n_common, |cuts| self.cut_size(cuts))
    }

    /// An identity is named by its Genesis: whoever is cut or has signed two histories, it stays.
    fn least(&self, key: DeviceKey) -> u64 {
        u64::from(key == self.first)
    }

    fn silent_from(&self, key: DeviceKey, chain: &Chain, suspended: &BTreeMap<DeviceKey, Suspended>) -> u64 {
        let suspended_from = suspended.get(&key).map_or(u64::MAX, |own| own.from);
        self.revoked_from(key, chain).min(suspended_from)
    }

    fn cut_size(&self, cuts: &DeviceCuts) -> u64 {
        let origin = Origin::identity(self.identity, cuts.device);
        self.logs.cut_size(&origin, cuts.identity.as_ref(), self.frontier).max(self.least(cuts.device))
    }

    /// What the device of `point` was let do in the point's past; none if it was not let do anything.
    fn role(&self, admissions: &Admissions, point: &Point) -> Option<DeviceRole> {
        if point.origin.key == self.first {
            return Some(DeviceRole::Manager);
        }
        let own = admissions.get(&point.origin.key).into_iter().flatten();
        own.filter(|admission| admission.point.is_before(point)).map(|admission| admission.role).min()
    }

    fn manages(&self, admissions: &Admissions, point: &Point) -> bool {
        self.role(admissions, point) == Some(DeviceRole::Manager)
    }

    fn speaks(&self, admissions: &Admissions, point: &Point) -> bool {
        self.role(admissions, point).is_some()
    }
}

/// What siblings say to one device's disadvantage, together.
struct Suspended {
    by: BTreeSet<EntryId>,
    /// The first entry of its identity log that does not count.
    from: u64,
    packages: BTreeMap<PackageId, Option<crate::entry::Cut>>,
}

impl Suspended {
    const fn none() -> Self {
        Self { by: BTreeSet::new(), from: u64::MAX, packages: BTreeMap::new() }
    }

    /// Of two cuts of one log the shorter counts.
    fn cut(&mut self, cuts: &DeviceCuts) {
        for (package, cut) in &cuts.packages {
            let own = self.packages.entry(*package).or_insert(*cut);
            *own = (*own).min(*cut);
        }
    }
}

impl Admission {
    fn new(add: &AddDevice, by: Option<DeviceKey>, point: &Point) -> Self {
        Self { device: add.device, role: add.role, label: add.label.clone(), by, point: point.clone() }
    }
}

/// Adds an admission; false if the device has enough of them.
fn admit(admissions: &mut Admissions, admission: &Admission) -> bool {
    let own = admissions.entry(admission.device).or_default();
    let has_room = own.len() < ADMISSIONS_PER_DEVICE;
    if has_room {
        own.push(admission.clone());
    }
    has_room
}

type Names = BTreeMap<PackageName, BTreeSet<Option<PackageId>>>;

/// What each name means: the claims that no other claim of it has seen.
fn names<'a, 'b: 'a>(spoken: impl Iterator<Item = &'a Seat<'b>>) -> Names {
    let mut claims: BTreeMap<&PackageName, Vec<(&Point, Option<PackageId>)>> = BTreeMap::new();
    for seat in spoken {
        if let Body::Name(claim) = seat.body {
            let own = claims.entry(&claim.name).or_default();
            // In causal order: what this one has seen is replaced.
            own.retain(|(point, _)| !point.is_before(&seat.point));
            own.push((&seat.point, claim.package));
        }
    }
    claims.into_iter().map(|(name, latest)| (name.clone(), latest.into_iter().map(|(_, to)| to).collect())).collect()
}

/// The latest claim; of concurrent ones that of the smallest id, for two devices of one person rarely differ for long.
fn handle<'a, 'b: 'a>(spoken: impl Iterator<Item = &'a Seat<'b>>) -> Option<Handle> {
    let mut latest: Vec<(&Point, EntryId, &Handle)> = Vec::new();
    for seat in spoken {
        if let Body::Handle(claim) = seat.body {
            latest.retain(|(point, ..)| !point.is_before(&seat.point));
            latest.push((&seat.point, seat.id, &claim.handle));
        }
    }
    latest.into_iter().min_by_key(|(_, id, _)| *id).map(|(.., handle)| handle.clone())
}
