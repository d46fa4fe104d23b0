//! Whose entries count: the logs of the devices of those who have a role, from where, and how far.
//!
//! A grant counts if it is in an entry's causal past: the Genesis entries, which the package's own id pins, are in every
//! entry's past; a further device's log counts from the first entry on that has seen its admission. Cuts count everywhere
//! as soon as they are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::resolved;
use super::roles::{self, Chain};
use super::{Device, DeviceStatus, End, Healed, IdentityState, Open, Voice, Writer};
use crate::entry::{Body, Cut, DeviceRole, Role};
use crate::evidence::{Evidence, Frontier};
use crate::id::IdentityId;
use crate::origin::{Origin, Subject};

type Owners = BTreeMap<IdentityId, Arc<IdentityState>>;

/// The package's logs that are by devices of people who own it or are named by them.
pub(super) type Grants<'a> = BTreeMap<Origin, Grant<'a>>;

/// Whose a log is, and from where on its device speaks for that identity.
pub(super) struct Grant<'a> {
    pub(super) identity: IdentityId,
    /// The first entry that has the device's admission in its past.
    pub(super) from: u64,
    pub(super) device: &'a Device,
}

impl Grant<'_> {
    /// Whether its device may say for its person who may do what, and what becomes of what is published: a publisher's only
    /// publishes.
    pub(super) fn manages(&self) -> bool {
        self.device.role == DeviceRole::Manager
    }

    /// How many entries count whatever others have seen.
    pub(super) fn firm(&self, evidence: &Evidence, origin: &Origin, frontier: &Frontier) -> u64 {
        let Subject::Package(package) = origin.subject else { return 0 };
        let cut = self.device.cuts.as_ref().map_or(u64::MAX, |cuts| {
            let cut = cuts.get(&package).and_then(Option::as_ref);
            evidence.logs().cut_size(origin, cut, frontier)
        });
        cut.min(evidence.logs().n_common(origin))
    }
}

/// Those whose logs speak for the package beside its owners.
#[derive(Debug, Default, Clone)]
pub(crate) struct Heeded {
    /// They own it now.
    pub(crate) owners: BTreeSet<IdentityId>,
    /// They have a role, or had one.
    pub(crate) holders: BTreeSet<IdentityId>,
    /// They are to have one, and must agree.
    pub(crate) invited: BTreeSet<IdentityId>,
}

/// Who is heeded, with what is held now.
pub(crate) fn heeded(evidence: &Evidence) -> Heeded {
    let frontier = evidence.frontier();
    let owners = owners(evidence, &frontier);
    let grants = grants(evidence, &frontier, &owners);
    let chain = roles::chain(evidence, &frontier, &grants);
    Heeded { owners: chain.rights().owners().collect(), holders: chain.holders(), invited: chain.invited() }
}

/// The package's owners, and those whom they name in changes of rights, as far as their logs are inside the frontier.
pub(super) fn owners(evidence: &Evidence, frontier: &Frontier) -> Owners {
    let mut known: BTreeSet<IdentityId> = evidence.genesis().owners.iter().copied().collect();
    let logs = || frontier.0.keys().filter(|origin| matches!(origin.subject, Subject::Package(_)));
    let mut by: Vec<(IdentityId, &Origin)> = Vec::new();
    by.extend(logs().filter_map(|origin| Some((writer_of(evidence, frontier, origin)?, origin))));
    // A log names thousands; of those who have none here nothing is known.
    let own = frontier.0.keys().filter_map(|origin| match origin.subject {
        Subject::Identity(identity) => Some(identity),
        Subject::Package(_) => None,
    });
    let present: BTreeSet<IdentityId> = own.chain(by.iter().map(|(by, _)| *by)).collect();
    let named = |origin| roles::named(evidence.logs().entries(origin, frontier)).filter(|who| present.contains(who));
    let mut named: Vec<(IdentityId, BTreeSet<IdentityId>)> =
        by.iter().map(|(by, origin)| (*by, named(*origin).collect())).collect();
    // Each turn takes one log out, so this ends.
    while let Some(n) = named.iter().position(|(by, _)| known.contains(by)) {
        known.extend(named.swap_remove(n).1);
    }
    known.into_iter().filter_map(|id| Some((id, evidence.identity_at(id, frontier)?))).collect()
}

/// Whose device the writer of a log says to be.
fn writer_of(evidence: &Evidence, frontier: &Frontier, origin: &Origin) -> Option<IdentityId> {
    match evidence.logs().entries(origin, frontier).next()?.body {
        Body::PackageGenesis(genesis) => Some(genesis.creator),
        Body::PackageJoin(join) => Some(join.identity),
        _ => None,
    }
}

/// The package's logs of these people: each says whose device it is, and that identity agrees.
pub(super) fn grants<'a>(evidence: &Evidence, frontier: &Frontier, owners: &'a Owners) -> Grants<'a> {
    let logs = frontier.0.keys().filter(|origin| matches!(origin.subject, Subject::Package(_)));
    logs.filter_map(|origin| Some((*origin, granted(evidence, frontier, owners, *origin)?))).collect()
}

/// Where a device begins to speak.
fn granted<'a>(evidence: &Evidence, frontier: &Frontier, owners: &'a Owners, origin: Origin) -> Option<Grant<'a>> {
    let identity = writer_of(evidence, frontier, &origin)?;
    let device = owners.get(&identity)?.devices.get(&origin.key)?;
    let from = if device.is_first {
        0
    } else {
        let is_admitted =
            |covers: &dyn Fn(&Origin) -> u64| device.since.iter().any(|(log, index)| covers(log) > *index);
        let mut seats = evidence.logs().entries(&origin, frontier);
        seats.find(|seat| is_admitted(&|log| seat.point.covers(log)))?.point.index
    };
    Some(Grant { identity, from, device })
}

/// Of a log about which nobody has said anything.
static NO_CUTS: BTreeMap<Origin, Cut> = BTreeMap::new();

/// The logs of which any entry counts, and which of them; and what waits to be said of forked ones.
pub(super) fn writers(
    evidence: &Evidence,
    frontier: &Frontier,
    owners: &Owners,
    grants: &Grants<'_>,
    chain: &Chain<'_>,
) -> (BTreeMap<Origin, Writer>, Vec<Open>) {
    let is_heard = |identity: &IdentityId| chain.rights().role(identity) >= Some(Role::Maintainer);
    let is_active = |grant: &Grant<'_>| grant.device.status == DeviceStatus::Active && is_heard(&grant.identity);
    let speaks = |origin: &Origin| match origin.subject {
        Subject::Package(_) => grants.get(origin).is_some_and(is_active),
        Subject::Identity(identity) => {
            is_heard(&identity) && owners.get(&identity).is_some_and(|owner| owner.is_active(&origin.key))
        }
    };
    let mut writers = BTreeMap::new();
    // Who says which history of a log goes on has one itself, so those logs come first.
    let (forked, whole): (Vec<_>, Vec<_>) = grants.iter().partition(|(origin, _)| evidence.is_forked(origin));
    let mut resolved = None;
    for (origin, grant) in whole.iter().chain(&forked).copied() {
        let is_forked = evidence.is_forked(origin);
        if is_forked && resolved.is_none() {
            resolved = Some(resolved::fold(evidence, frontier, &writers, grants, chain));
        }
        let cuts = resolved.as_ref().and_then(|resolved| resolved.cuts.get(&origin.key)).unwrap_or(&NO_CUTS);
        let voices = chain.voices(evidence, frontier, origin, grant.identity);
        let Some(first) = voices.iter().find(|(_, voice)| *voice != Voice::None) else { continue };
        let from = first.0.max(grant.from);
        let n_resolved = evidence.logs().n_resolved(origin, frontier, cuts);
        let (until, end) = until(evidence, frontier, origin, grant.device, speaks, n_resolved);
        let is_healed = n_resolved > 0 && end == Some(End::Forked);
        let healed = is_healed.then(|| Healed { size: n_resolved, by: cuts.keys().copied().collect() });
        // Nothing after the last entry that may do anything will count, unless a change lets it.
        let last = voices.iter().rposition(|(_, voice)| matches!(voice, Voice::Role(_)));
        let silent_from = voices.get(last.map_or(0, |last| last + 1)).map_or(u64::MAX, |(index, _)| *index);
        let (until, end) = if silent_from < until { (silent_from, Some(End::Revoked)) } else { (until, end) };
        writers.insert(*origin, Writer { identity: grant.identity, from, until, end, voices, healed });
    }
    (writers, resolved.map(|resolved| resolved.waiting).unwrap_or_default())
}

/// Where the rights of a log's device end, and why.
fn until(
    evidence: &Evidence,
    frontier: &Frontier,
    origin: &Origin,
    device: &Device,
    speaks: impl Fn(&Origin) -> bool,
    n_resolved: u64,
) -> (u64, Option<End>) {
    let Subject::Package(package) = origin.subject else { return (0, None) };
    match &device.cuts {
        Some(cuts) => {
            let cut = cuts.get(&package).map(|cut| evidence.logs().cut_size(origin, cut.as_ref(), frontier));
            let settled = || evidence.logs().settled(origin, frontier, speaks);
            let until = match (cut, &device.status) {
                (Some(cut), DeviceStatus::Revoked) => cut,
                // A sibling takes nothing away that others have built on; the recovery key may.
                (Some(cut), _) => cut.max(settled()),
                (None, _) => settled(),
            };
            (until, Some(End::Revoked))
        }
        None if evidence.is_forked(origin) => {
            (evidence.logs().settled_fork(origin, frontier, speaks, n_resolved), Some(End::Forked))
        }
        None => (u64::MAX, None),
    }
}

/// Logs whose key signed two histories: how many of their entries count in spite of that.
pub(super) fn forked(
    evidence: &Evidence,
    frontier: &Frontier,
    writers: &BTreeMap<Origin, Writer>,
    owners: &Owners,
) -> BTreeMap<Origin, u64> {
    let speaks = |origin: &Origin| match origin.subject {
        Subject::Package(_) => writers.get(origin).is_some_and(|writer| writer.end.is_none()),
        Subject::Identity(identity) => owners.get(&identity).is_some_and(|owner| owner.is_active(&origin.key)),
    };
    let origins = evidence.forks().map(|proof| *proof.origin());
    let n_counted = |origin: &Origin| match writers.get(origin) {
        Some(writer) => writer.until,
        None => evidence.logs().settled(origin, frontier, speaks),
    };
    origins.map(|origin| (origin, n_counted(&origin))).collect()
}
