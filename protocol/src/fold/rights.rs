//! Whose entries count: the logs of the owners' devices, from where, and how far.
//!
//! A grant counts if it is in an entry's causal past: the Genesis entries, which the package's own id pins, are in every
//! entry's past; a further device's log counts from the first entry on that has seen its admission. Cuts count everywhere
//! as soon as they are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Device, DeviceStatus, End, IdentityState, Writer};
use crate::entry::Body;
use crate::evidence::{Evidence, Frontier};
use crate::id::IdentityId;
use crate::origin::{Origin, Subject};

type Owners = BTreeMap<IdentityId, Arc<IdentityState>>;

/// The package's owners whose logs are inside the frontier.
pub(super) fn owners(evidence: &Evidence, frontier: &Frontier) -> Owners {
    let ids = evidence.genesis().owners.iter();
    ids.filter_map(|id| Some((*id, evidence.identity_at(*id, frontier)?))).collect()
}

/// The package's logs that have rights: each says whose device it is, and that identity agrees.
pub(super) fn writers(evidence: &Evidence, frontier: &Frontier, owners: &Owners) -> BTreeMap<Origin, Writer> {
    let logs = frontier.0.keys().filter(|origin| matches!(origin.subject, Subject::Package(_)));
    let granted: BTreeMap<Origin, (Writer, &Device)> =
        logs.filter_map(|origin| Some((*origin, granted(evidence, frontier, owners, *origin)?))).collect();
    let is_active = |(_, device): &(Writer, &Device)| device.status == DeviceStatus::Active;
    let speaks = |origin: &Origin| match origin.subject {
        Subject::Package(_) => granted.get(origin).is_some_and(is_active),
        Subject::Identity(identity) => owners.get(&identity).is_some_and(|owner| owner.is_active(&origin.key)),
    };
    let ended = granted.iter().map(|(origin, (writer, device))| {
        let (until, end) = until(evidence, frontier, origin, device, speaks);
        (*origin, Writer { until, end, ..*writer })
    });
    ended.collect()
}

/// Where the rights of a log begin.
fn granted<'a>(
    evidence: &Evidence,
    frontier: &Frontier,
    owners: &'a Owners,
    origin: Origin,
) -> Option<(Writer, &'a Device)> {
    let identity = match evidence.logs().entries(&origin, frontier).next()?.body {
        Body::PackageGenesis(genesis) => genesis.creator,
        Body::PackageJoin(join) => join.identity,
        _ => return None,
    };
    let device = owners.get(&identity)?.devices.get(&origin.key)?;
    let from = if device.is_first {
        0
    } else {
        let is_admitted =
            |covers: &dyn Fn(&Origin) -> u64| device.since.iter().any(|(log, index)| covers(log) > *index);
        let mut seats = evidence.logs().entries(&origin, frontier);
        seats.find(|seat| is_admitted(&|log| seat.point.covers(log)))?.point.index
    };
    Some((Writer { identity, from, until: u64::MAX, end: None }, device))
}

/// Where the rights of a log end, and why.
fn until(
    evidence: &Evidence,
    frontier: &Frontier,
    origin: &Origin,
    device: &Device,
    speaks: impl Fn(&Origin) -> bool,
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
            (evidence.logs().settled_fork(origin, frontier, speaks), Some(End::Forked))
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
