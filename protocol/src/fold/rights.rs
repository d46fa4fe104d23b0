//! Whose entries count: the logs of the owners' devices.
//!
//! A grant counts if it is in an entry's causal past. The only grants so far stand in Genesis entries, which the
//! package's own id pins, so they are in every entry's past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::IdentityState;
use crate::entry::Body;
use crate::evidence::{Evidence, Frontier};
use crate::id::IdentityId;
use crate::origin::{Origin, Subject};

/// The package's owners whose logs are inside the frontier.
pub(super) fn owners(evidence: &Evidence, frontier: &Frontier) -> BTreeMap<IdentityId, Arc<IdentityState>> {
    let ids = evidence.genesis().owners.iter();
    ids.filter_map(|id| Some((*id, identity(evidence, frontier, *id)?))).collect()
}

/// One identity; none if its Genesis is not inside the frontier.
fn identity(evidence: &Evidence, frontier: &Frontier, id: IdentityId) -> Option<Arc<IdentityState>> {
    let mut logs = frontier.0.keys().filter(|origin| origin.subject == Subject::Identity(id));
    let log = logs.find(|origin| {
        let first = evidence.entries(origin, frontier).next();
        first.is_some_and(|seat| matches!(seat.body, Body::IdentityGenesis(_)))
    })?;
    if let Some(whole) = evidence.whole_identity(log, frontier) {
        return Some(Arc::clone(whole));
    }
    Some(Arc::new(IdentityState::fold(id, log.key, evidence.entries(log, frontier).map(|seat| seat.body))))
}

/// The package's logs that have rights: each says whose device it is, and that identity agrees.
pub(super) fn writers(
    evidence: &Evidence,
    frontier: &Frontier,
    owners: &BTreeMap<IdentityId, Arc<IdentityState>>,
) -> BTreeSet<Origin> {
    let has_rights = |origin: &&Origin| {
        let identity = match evidence.entries(origin, frontier).next().map(|seat| seat.body) {
            Some(Body::PackageGenesis(genesis)) => genesis.creator,
            Some(Body::PackageJoin(join)) => join.identity,
            _ => return false,
        };
        owners.get(&identity).is_some_and(|owner| owner.devices.contains(&origin.key))
    };
    let logs = frontier.0.keys().filter(|origin| matches!(origin.subject, Subject::Package(_)));
    logs.filter(has_rights).copied().collect()
}

/// Whether what this log has seen is an owner's word.
pub(super) fn speaks(
    owners: &BTreeMap<IdentityId, Arc<IdentityState>>,
    writers: &BTreeSet<Origin>,
    origin: &Origin,
) -> bool {
    match origin.subject {
        Subject::Package(_) => writers.contains(origin),
        Subject::Identity(identity) => owners.get(&identity).is_some_and(|owner| owner.devices.contains(&origin.key)),
    }
}
