//! Which blobs the owners have taken away. Entries that name them stay as they are.
//!
//! It cannot be undone and makes others throw bytes away, so no single owner decides it: it takes effect like the move of a
//! protected ref, with as many owners' words as a change of roles takes.

use std::collections::BTreeMap;

use super::rights::{Grant, Grants};
use super::roles::{Chain, Lasting};
use super::{Open, OpenChange, PackageState, Rank, RedactState, Worth, latest_of_each};
use crate::entry::{Body, Redact, Role};
use crate::evidence::Evidence;
use crate::id::BlobId;
use crate::limits::REDACTS_PER_LOG;
use crate::origin::Origin;

/// What is redacted, and what waits for agreement.
pub(super) fn fold(
    evidence: &Evidence,
    state: &PackageState,
    grants: &Grants<'_>,
    chain: &Chain<'_>,
) -> (BTreeMap<BlobId, RedactState>, Vec<Open>) {
    let (mut words, mut waiting) = (Vec::<(Rank, &Redact, RedactState)>::new(), Vec::new());
    let mut lasting = Lasting::new(chain, &state.writers);
    let may_redact = |origin: &Origin| grants.get(origin).is_some_and(Grant::manages);
    for (origin, writer) in state.writers.iter().filter(|(origin, _)| may_redact(origin)) {
        let redactions = chain.leveled(evidence, origin, &state.frontier).filter_map(|(seat, level)| match seat.body {
            Body::Redact(redact) => Some((redact, seat, level)),
            _ => None,
        });
        for (redact, seat, level) in redactions.take(REDACTS_PER_LOG) {
            // What nothing fixes of a fork hides releases and throws nothing away.
            if writer.worth(seat.point.index) != Worth::As(Role::Owner) {
                continue;
            }
            let (agreed, guard) = lasting.ask(&seat, level, writer.identity);
            let rank = (seat.point.n_covered(), seat.id);
            if guard.is_met(&agreed) {
                let done = RedactState { reason: redact.reason, by: *origin, index: seat.point.index };
                words.push((rank, redact, done));
            } else {
                let (entry, index, needs) = (seat.id, seat.point.index, vec![guard.needs(&agreed)]);
                let change = OpenChange::Redact(redact.clone());
                let open = Open { entry, by: writer.identity, writer: *origin, index, agreed, needs, change };
                waiting.push((rank, open));
            }
        }
    }
    // Of several the first is told.
    words.sort_by_key(|(rank, ..)| *rank);
    let mut redacted = BTreeMap::new();
    for (_, redact, done) in words {
        for blob in &redact.blobs {
            redacted.entry(*blob).or_insert(done);
        }
    }
    let is_news = |open: &Open| match &open.change {
        OpenChange::Redact(redact) => redact.blobs.iter().any(|blob| !redacted.contains_key(blob)),
        OpenChange::Roles(_) | OpenChange::Ref(_) | OpenChange::ForkResolve(_) => false,
    };
    waiting.retain(|(_, open)| is_news(open));
    (redacted, latest_of_each(waiting))
}
