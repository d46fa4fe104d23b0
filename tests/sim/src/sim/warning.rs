//! How soon everybody honest knows of a fork.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::Timestamp;
use syncra_protocol::log::Standing;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::Fault;

use super::{Event, Sim};
use crate::check::Invariant;
use crate::node::Observation;
use crate::scenario::Trouble;

/// A round of gossip: the heartbeat of `node/src/net/limits.rs`.
pub const ROUND_MS: u64 = 10_000;
/// Rounds within which the proof is everywhere.
const ROUNDS: u64 = 3;

/// What is known of forks.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// When it showed: two who are honest held two histories, or one of them the proof. And who was there then.
    since: BTreeMap<Origin, (Timestamp, BTreeSet<usize>)>,
    /// Over how many others the proof came to somebody.
    hops: BTreeMap<(usize, Origin), u64>,
}

impl Sim {
    /// Looks at what somebody honest has done for signs of a fork.
    pub(super) fn watch_for_forks(&mut self, who: usize, observation: &Observation) {
        match observation {
            Observation::Committed(commit) if self.oracle.forkers.contains(&commit.origin.key) => {
                let others = self.nodes.iter().enumerate().filter(|(other, _)| self.is_honest(*other));
                let logs = others.filter_map(|(_, node)| node.up.as_ref()?.follower.evidence()?.log(&commit.origin));
                if logs.map(|log| log.compare(&commit.head)).any(|standing| standing == Standing::Forked) {
                    self.fork_shows(commit.origin);
                }
            }
            Observation::Fault(from, Fault::Fork(proof)) => {
                let from = self.index.get(from).and_then(|from| self.warnings.hops.get(&(*from, *proof.origin())));
                let hops = from.map_or(0, |hops| hops + 1);
                self.warnings.hops.entry((who, *proof.origin())).or_insert(hops);
            }
            Observation::KeptFork(origin, _) => {
                self.fork_shows(*origin);
                let (since, present) = &self.warnings.since[origin];
                let late = self.queue.now.0 - since.0;
                let hops = self.warnings.hops.get(&(who, *origin)).copied().unwrap_or(0);
                if self.is_quiet() && present.contains(&who) {
                    self.summary.n_warned += 1;
                    self.summary.warned_ms = self.summary.warned_ms.max(late);
                    self.summary.warned_hops = self.summary.warned_hops.max(hops);
                }
            }
            _ => {}
        }
    }

    /// Whether everybody who is honest is connected all the time, and nothing that is sent is lost.
    fn is_quiet(&self) -> bool {
        let loud = [
            Trouble::Loss,
            Trouble::Stalls,
            Trouble::Partitions,
            Trouble::Crashes,
            Trouble::Disk,
            Trouble::Copies,
            Trouble::Withheld,
            Trouble::Thieves,
        ];
        !loud.iter().any(|trouble| self.troubles.contains(trouble))
    }

    fn fork_shows(&mut self, origin: Origin) {
        if self.warnings.since.contains_key(&origin) {
            return;
        }
        let present =
            (0..self.nodes.len()).filter(|who| self.is_honest(*who) && self.nodes[*who].up.is_some()).collect();
        self.warnings.since.insert(origin, (self.queue.now, present));
        if self.is_quiet() {
            self.queue.schedule(ROUNDS * ROUND_MS, Event::Warned { origin });
        }
    }

    /// Everybody honest who was there when the fork showed, and is connected with somebody who knows, knows too: over whoever
    /// is honest, and whether or not anything of the log is held. A proof goes from hand to hand as fast as its notices do, a
    /// message or two for each neighbour, so that three rounds are more than enough for any way through the ring.
    pub(super) fn must_be_warned(&mut self, origin: &Origin) {
        let knows = |who: usize| self.truth(who).is_some_and(|truth| truth.forks.contains_key(origin));
        let Some((_, present)) = self.warnings.since.get(origin) else { return };
        let mut open: Vec<usize> = present.iter().copied().filter(|who| knows(*who)).collect();
        let mut reached: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(who) = open.pop() {
            let near = present.iter().filter(|other| self.connected.contains_key(&super::pair(who, **other)));
            open.extend(near.copied().filter(|other| reached.insert(*other)));
        }
        if let Some(who) = reached.into_iter().find(|who| !knows(*who)) {
            let what = format!("it does not know after {ROUNDS} rounds that {origin} is forked");
            self.violate(who, Invariant::WarnedInTime, what);
        }
    }
}
