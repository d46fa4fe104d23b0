//! What a peer shows of the logs of a package, beside what is known of them.

use std::collections::BTreeMap;

use super::{Effect, Follower};
use crate::evidence::{Blocked, Evidence};
use crate::log::checkpoint::Head;
use crate::origin::Origin;
use crate::sync::Peer;
use crate::sync::omission::{Known, Shown};

/// Log → entries.
pub(super) type Sizes = BTreeMap<Origin, u64>;

impl Follower {
    /// Tells how a whole answer about heads compares: what it leaves out counts as not offered.
    pub(super) fn tell_answer(&mut self, peer: Peer, offered: &Sizes) {
        let Some(evidence) = &self.evidence else { return };
        let mut known = self.known_besides(evidence, peer);
        for (origin, size) in offered {
            known.entry(*origin).or_insert((*size, Known::Signed));
        }
        // Of a log that may be nobody's only who offers it can have something.
        let counts = |origin: &Origin| evidence.matters(origin) && !evidence.is_forked(origin);
        let shown = known.into_iter().filter(|(origin, _)| counts(origin)).map(|(origin, (known, by))| {
            let offered = offered.get(&origin).copied().unwrap_or(0);
            Shown { origin, offered, known, by }
        });
        let shown = shown.collect();
        self.effects.push_back(Effect::Shown { peer, shown });
    }

    /// Tells that a peer has pushed what is the newest that is known.
    pub(super) fn tell_notice(&mut self, peer: Peer, (origin, offered): (Origin, u64)) {
        let Some(evidence) = &self.evidence else { return };
        let known = self.known_besides(evidence, peer).get(&origin).map_or(0, |(size, _)| *size);
        if offered >= known && evidence.matters(&origin) {
            let shown = vec![Shown { origin, offered, known, by: Known::Signed }];
            self.effects.push_back(Effect::Shown { peer, shown });
        }
    }

    /// The newest heads that are held, that others offer, or that entries name: of equals what proves most.
    fn known_besides(&self, evidence: &Evidence, peer: Peer) -> BTreeMap<Origin, (u64, Known)> {
        let offered =
            self.peers.iter().filter(|(other, _)| **other != peer).flat_map(|(_, state)| state.offers.values());
        let signed = evidence.heads().chain(offered).map(|head: &Head| (*head.origin(), head.size(), Known::Signed));
        let named = evidence.blocked().into_iter().filter_map(|(by, blocked)| match blocked {
            Blocked::Waiting { on, .. } => Some((on.origin, on.size, Known::Named(by))),
            Blocked::OtherBranch { .. } | Blocked::Stopped { .. } => None,
        });
        let mut known = BTreeMap::new();
        for (origin, size, by) in signed.chain(named) {
            let newest = known.entry(origin).or_insert((size, by));
            if size > newest.0 {
                *newest = (size, by);
            }
        }
        known
    }
}
