//! The end of trouble, and what must then come true.

use std::collections::BTreeSet;

use syncra_protocol::Timestamp;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::origin::Origin;

use super::{Event, LATENCY_MS, MINUTE, SECOND, Sim};
use crate::check::Invariant;
use crate::disk::OwnLog;

/// Within this everybody honest has everything: heads are asked for every 5 minutes, nobody is left alone for longer than
/// 5 minutes after failures, and a request takes at most 45 seconds; twice, as what is asked first may fail once more.
const CONVERGENCE_MS: u64 = 20 * MINUTE;
/// The same for a ring, where news goes from hand to hand.
const RING_CONVERGENCE_MS: u64 = 40 * MINUTE;

impl Sim {
    /// Everything that was wrong ends: what is down starts, and what a person would have to start anew is.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.links.loss_percent = 0;
        self.links.latency_ms = LATENCY_MS;
        for who in 0..self.nodes.len() {
            let node = &mut self.nodes[who];
            (node.disk.is_full, node.disk.fail_percent) = (false, 0);
            let unsigned = node.up.as_ref().is_some_and(|up| up.truth.own.values().any(OwnLog::is_unsigned));
            if node.disk.is_broken || unsigned {
                self.crash(who);
            }
            self.queue.schedule(SECOND, Event::Start { who });
        }
        self.unpart();
    }

    pub(super) fn converge(&mut self) {
        let healed_at = self.queue.now;
        let limit = if self.nodes.len() > super::MESH { RING_CONVERGENCE_MS } else { CONVERGENCE_MS };
        // What starts, starts; nothing is expected of it in that second.
        self.run_until(Timestamp(healed_at.0 + 2 * SECOND));
        while self.violation.is_none() {
            let Some((who, what)) = self.lacks() else {
                self.summary.converged_ms = self.queue.now.0 - healed_at.0;
                return;
            };
            if self.queue.now.0 - healed_at.0 > limit {
                return self.violate(
                    who,
                    Invariant::Converges,
                    format!("{} minutes after everything healed {what}", limit / MINUTE),
                );
            }
            self.run_until(Timestamp(self.queue.now.0 + 5 * SECOND));
        }
    }

    /// The first thing that somebody honest lacks of what somebody honest has.
    fn lacks(&self) -> Option<(usize, String)> {
        let honest: Vec<usize> = (0..self.nodes.len()).filter(|who| self.is_honest(*who)).collect();
        let mut heads: Vec<&Head> = Vec::new();
        for writer in &honest {
            let Some(truth) = self.truth(*writer) else { return Some((*writer, "the node is down".to_owned())) };
            heads.extend(truth.own.values().filter_map(|own| own.note.as_ref()));
        }
        let forked: BTreeSet<Origin> = self.forked();
        for who in honest {
            let Some(up) = &self.nodes[who].up else { return Some((who, "the node is down".to_owned())) };
            let Some(evidence) = up.follower.evidence() else { return Some((who, "it knows nothing".to_owned())) };
            for head in &heads {
                let held = evidence.head(head.origin());
                if held.map(|held| (held.size(), held.root())) != Some((head.size(), head.root())) {
                    let held = held.map_or(0, Head::size);
                    return Some((who, format!("it holds {held} of {} entries of {}", head.size(), head.origin())));
                }
            }
            let state = up.follower.state()?;
            for published in state.releases.values().filter(|it| !forked.contains(&it.writer)) {
                let root = published.release.content_root;
                if !up.complete.contains(&root) {
                    return Some((who, format!("the content {} is not here", root.fmt_short())));
                }
            }
        }
        None
    }

    fn forked(&self) -> BTreeSet<Origin> {
        let forkers = self.nodes.iter().filter(|node| self.oracle.forkers.contains(&node.key));
        forkers.flat_map(|node| node.own.iter().copied()).collect()
    }
}
