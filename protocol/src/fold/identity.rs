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

/// What lets a device speak from some point on.
struct Admission {
    device: DeviceKey,
    role: DeviceRole,
    label: RefName,
    /// Whose entry it is; none for the recovery key's.
    by: Option<DeviceKey>,
    point: Point,
}

/// What the recovery key has said so far.
#[derive(Default)]
struct Chain<'a> {
    accepted: Vec<&'a Recover>,
    revoked: BTreeMap<DeviceKey, DeviceCuts>,
    lifted: BTreeSet<EntryId>,
    next: [u8; 32],
}

impl Chain<'_> {
    /// Takes in how far a device counts. What one statement has no room for, or did not know, another names.
    fn revoke(&mut self, cuts: &DeviceCuts) {
        let earlier = self.revoked.remove(&cuts.device).map(|earlier| earlier.packages).unwrap_or_default();
        let packages: BTreeMap<_, _> = earlier.into_iter().chain(cuts.packages.iter().copied()).collect();
        self.revoked.insert(cuts.device, DeviceCuts { packages: packages.into_iter().collect(), ..cuts.clone() });
    }

    /// Whether this is a copy of a statement that counts.
    fn has(&self, recover: &Recover) -> bool {
        self.accepted.iter().any(|other| other.statement == recover.statement && other.key == recover.key)
    }
}

struct Fold<'a> {
    logs: &'a Logs,
    identity: IdentityId,
    /// In causal order.
    seats: Vec<Seat<'a>>,
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
    let fold = Fold { logs, identity, first: genesis.point.origin.key, seats };
    Some(fold.state(*recovery))
}

impl<'a> Fold<'a> {
    fn state(&self, recovery: [u8; 32]) -> IdentityState {
        let chain = self.chain(recovery);
        let admissions = self.admissions(&chain);
        let suspended = self.suspended(&chain, &admissions);
        let valid = self.valid(&admissions, &chain, &suspended);
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
            last_statement: chain.accepted.last().map(|recover| recover.statement.id()),
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
        let keys: BTreeSet<_> = valid.iter().map(|admission| admission.device).chain([self.first]).collect();
        for key in keys {
            state.devices.insert(key, self.device(key, &valid, &chain, &suspended));
        }
        state
    }

    /// The statements that count, in order: each signed by the key that the one before committed to. Where a key has
    /// signed two after the same one, that counts which more of the identity's devices have seen; it takes a stolen
    /// recovery key to come to that.
    fn chain(&self, recovery: [u8; 32]) -> Chain<'a> {
        // By key too: anybody may sign the words of somebody else's statement.
        let mut copies: BTreeMap<(StatementId, DeviceKey), (&'a Recover, Vec<&Point>)> = BTreeMap::new();
        for seat in &self.seats {
            if let Body::Recover(recover) = seat.body {
                let id = (recover.statement.id(), recover.key);
                copies.entry(id).or_insert((recover, Vec::new())).1.push(&seat.point);
            }
        }
        let mut chain = Chain { next: recovery, ..Chain::default() };
        let mut last = None;
        loop {
            let follows = |recover: &Recover| recover.statement.previous == last && recover.commitment() == chain.next;
            let candidates = copies.iter().filter(|(_, (recover, _))| follows(recover));
            let known = self.known(&chain);
            let n_seen = |points: &[&Point]| known.iter().filter(|key| self.has_seen(**key, points)).count();
            let best = candidates.max_by_key(|(id, (_, points))| (n_seen(points), core::cmp::Reverse(**id)));
            let Some((id, (recover, _))) = best else { return chain };
            let (id, recover) = (*id, *recover);
            chain.accepted.push(recover);
            chain.next = recover.statement.next;
            for cuts in &recover.statement.revoke {
                chain.revoke(cuts);
            }
            chain.lifted.extend(recover.statement.lift.iter().copied());
            last = Some(id.0);
            copies.remove(&id);
        }
    }

    /// Devices whose word says which of two statements counts.
    fn known(&self, chain: &Chain<'_>) -> BTreeSet<DeviceKey> {
        let admitted = self.admissions(chain).into_iter().map(|admission| admission.device);
        let known = admitted.chain([self.first]);
        known.filter(|key| !chain.revoked.contains_key(key)).collect()
    }

    /// Whether the device's log of the identity has one of these points in it, or in its past.
    fn has_seen(&self, key: DeviceKey, points: &[&Point]) -> bool {
        let own = self.seats.iter().filter(|seat| seat.point.origin.key == key);
        let last = own.max_by_key(|seat| seat.point.index);
        last.is_some_and(|last| points.iter().any(|point| last.point.covers(&point.origin) > point.index))
    }

    /// All admissions, in causal order, by devices that were admitted before and by the recovery key. Suspensions play
    /// no part yet.
    fn admissions(&self, chain: &Chain<'_>) -> Vec<Admission> {
        let mut admissions: Vec<Admission> = Vec::new();
        for seat in &self.seats {
            if seat.point.index >= self.revoked_from(seat.point.origin.key, chain) && !is_statement(seat.body) {
                continue;
            }
            match seat.body {
                Body::AddDevice(add) if self.manages(&admissions, &seat.point) => {
                    admissions.push(Admission::new(add, Some(seat.point.origin.key), &seat.point));
                }
                Body::Recover(recover) if chain.has(recover) => {
                    admissions.extend(recover.statement.admit.iter().map(|add| Admission::new(add, None, &seat.point)));
                }
                _ => {}
            }
        }
        admissions
    }

    /// The suspensions that stand, by device: those by devices that did not know of one of their own.
    fn suspended(&self, chain: &Chain<'_>, admissions: &[Admission]) -> BTreeMap<DeviceKey, Suspended> {
        let mut standing: Vec<(&Point, DeviceKey)> = Vec::new();
        let mut suspended: BTreeMap<DeviceKey, Suspended> = BTreeMap::new();
        for seat in &self.seats {
            let Body::Suspend(suspend) = seat.body else { continue };
            let (point, device) = (&seat.point, suspend.cuts.device);
            let is_cut = point.index >= self.revoked_from(point.origin.key, chain);
            let knew = standing.iter().any(|(other, of)| *of == point.origin.key && other.is_before(point));
            if is_cut || knew || chain.lifted.contains(&seat.id) || !self.manages(admissions, point) {
                continue;
            }
            standing.push((point, device));
            // Nobody cuts what its own word rests on.
            let n_known = point.covers(&Origin::identity(self.identity, device));
            let named = self.cut_size(&suspend.cuts);
            let own = suspended.entry(device).or_insert_with(Suspended::none);
            own.by.insert(seat.id);
            own.from = own.from.min(named.max(n_known));
            own.cut(&suspend.cuts);
        }
        suspended
    }

    /// The admissions that no cut takes back.
    fn valid(
        &self,
        admissions: &[Admission],
        chain: &Chain<'_>,
        suspended: &BTreeMap<DeviceKey, Suspended>,
    ) -> Vec<Admission> {
        let mut valid: Vec<Admission> = Vec::new();
        for admission in admissions {
            let stands = admission.by.is_none_or(|by| {
                admission.point.index < self.silent_from(by, chain, suspended) && self.manages(&valid, &admission.point)
            });
            if stands {
                valid.push(admission.clone());
            }
        }
        valid
    }

    fn device(
        &self,
        key: DeviceKey,
        valid: &[Admission],
        chain: &Chain<'_>,
        suspended: &BTreeMap<DeviceKey, Suspended>,
    ) -> Device {
        let own: Vec<_> = valid.iter().filter(|admission| admission.device == key).collect();
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
            status,
            cuts,
        }
    }

    /// The first entry of a device's identity log that a statement of the recovery key takes away, or that is in one of
    /// two histories only.
    fn revoked_from(&self, key: DeviceKey, chain: &Chain<'_>) -> u64 {
        let n_common = || self.logs.n_common(&Origin::identity(self.identity, key)).max(self.least(key));
        chain.revoked.get(&key).map_or_else(n_common, |cuts| self.cut_size(cuts))
    }

    /// An identity is named by its Genesis: whoever is cut or has signed two histories, it stays.
    fn least(&self, key: DeviceKey) -> u64 {
        u64::from(key == self.first)
    }

    fn silent_from(&self, key: DeviceKey, chain: &Chain<'_>, suspended: &BTreeMap<DeviceKey, Suspended>) -> u64 {
        let suspended_from = suspended.get(&key).map_or(u64::MAX, |own| own.from);
        self.revoked_from(key, chain).min(suspended_from)
    }

    fn cut_size(&self, cuts: &DeviceCuts) -> u64 {
        let origin = Origin::identity(self.identity, cuts.device);
        self.logs.cut_size(&origin, cuts.identity.as_ref()).max(self.least(cuts.device))
    }

    /// What the device of `point` was let do in the point's past; none if it was not let do anything.
    fn role(&self, admissions: &[Admission], point: &Point) -> Option<DeviceRole> {
        if point.origin.key == self.first {
            return Some(DeviceRole::Manager);
        }
        let own = admissions.iter().filter(|admission| admission.device == point.origin.key);
        own.filter(|admission| admission.point.is_before(point)).map(|admission| admission.role).min()
    }

    fn manages(&self, admissions: &[Admission], point: &Point) -> bool {
        self.role(admissions, point) == Some(DeviceRole::Manager)
    }

    fn speaks(&self, admissions: &[Admission], point: &Point) -> bool {
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

impl Clone for Admission {
    fn clone(&self) -> Self {
        let Self { device, role, label, by, point } = self;
        Self { device: *device, role: *role, label: label.clone(), by: *by, point: point.clone() }
    }
}

/// The recovery key speaks through any log, also one of a device that it revokes.
const fn is_statement(body: &Body) -> bool {
    matches!(body, Body::Recover(_))
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
