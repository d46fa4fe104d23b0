//! Which of two histories of a log counts, where people with authority have said so.
//!
//! The forked key has no say, nor has any other that signed two histories: the word of one could hang on that of the other.
//! So who resolves is known before anything is resolved, and the order of arrival decides nothing.

use std::collections::BTreeMap;

use super::rights::Grants;
use super::roles::{Chain, Lasting};
use super::{Open, OpenChange, Waiting, Worth, Writer, latest_of_each};
use crate::entry::{Body, Cut, Role};
use crate::evidence::{Evidence, Frontier};
use crate::key::DeviceKey;
use crate::limits::RESOLVES_PER_LOG;
use crate::origin::Origin;

/// What is said of forked logs.
#[derive(Default)]
pub(super) struct Resolved {
    /// Of each log every history that somebody with authority named last, by the log in which that stands.
    pub(super) cuts: BTreeMap<DeviceKey, BTreeMap<Origin, Cut>>,
    /// What waits for more owners.
    pub(super) waiting: Vec<Open>,
}

/// What is said by the writers whose logs have one history.
pub(super) fn fold(
    evidence: &Evidence,
    frontier: &Frontier,
    writers: &BTreeMap<Origin, Writer>,
    grants: &Grants<'_>,
    chain: &Chain<'_>,
) -> Resolved {
    let mut resolved = Resolved::default();
    if evidence.forks().next().is_none() {
        return resolved;
    }
    let (mut lasting, mut waiting) = (Lasting::new(chain, writers), Vec::<Waiting>::new());
    for (origin, writer) in writers {
        // Whoever looks again may find that it meant the other one: of each log the last word counts.
        let mut last = BTreeMap::<DeviceKey, Cut>::new();
        let words = chain.leveled(evidence, origin, frontier).filter_map(|(seat, level)| match seat.body {
            Body::ForkResolve(resolve) => Some((resolve, seat, level)),
            _ => None,
        });
        for (resolve, seat, level) in words.take(RESOLVES_PER_LOG) {
            let Worth::As(role) = writer.worth(seat.point.index) else { continue };
            let of = Origin { key: resolve.log, ..*origin };
            if of == *origin || !evidence.is_forked(&of) {
                continue;
            }
            if !grants[origin].manages() {
                continue;
            }
            let is_sibling = grants.get(&of).is_some_and(|grant| grant.identity == writer.identity);
            if is_sibling {
                last.insert(resolve.log, resolve.cut);
                continue;
            }
            if role != Role::Owner {
                continue;
            }
            let (agreed, guard) = lasting.ask(&seat, level, writer.identity);
            if guard.is_met(&agreed) {
                last.insert(resolve.log, resolve.cut);
            } else {
                let (entry, index, needs) = (seat.id, seat.point.index, vec![guard.needs(&agreed)]);
                let change = OpenChange::ForkResolve(*resolve);
                let open = Open { entry, by: writer.identity, writer: *origin, index, agreed, needs, change };
                waiting.push(((seat.point.n_covered(), seat.id), open));
            }
        }
        for (log, cut) in last {
            resolved.cuts.entry(log).or_default().insert(*origin, cut);
        }
    }
    let is_said = |open: &Open| match &open.change {
        OpenChange::ForkResolve(resolve) => {
            resolved.cuts.get(&resolve.log).is_some_and(|cuts| cuts.values().any(|cut| *cut == resolve.cut))
        }
        OpenChange::Roles(_) | OpenChange::Ref(_) | OpenChange::Redact(_) => false,
    };
    waiting.retain(|(_, open)| !is_said(open));
    resolved.waiting = latest_of_each(waiting);
    resolved
}
