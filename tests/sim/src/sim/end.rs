//! The end of trouble, and what must then come true.

use std::collections::BTreeSet;
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::entry::Release;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::{HEADS_INTERVAL, HEADS_INTERVAL_MOST};

use super::{Event, LATENCY_MS, MINUTE, SECOND, Sim};
use crate::check::Invariant;
use crate::disk::OwnLog;
use crate::node::Node;

/// Beyond the time until everybody is asked for heads: nobody is left alone for longer than 5 minutes after failures
/// (`Backoff::LAST`), neither for entries nor, after these, for what they wait for; and two requests take 45 seconds each.
/// Among many, where news goes from hand to hand, those who have content are asked for it once a minute: no ring has as many
/// hops as there are minutes.
const REST_MS: u64 = 12 * MINUTE;

/// Within this after the end of trouble everybody honest has everything. Nothing is lost any more then, so whoever has been
/// asked for heads once is told what is new: that comes first. Peers who say nothing new are asked after
/// [`HEADS_INTERVAL`], then after twice as long, and so on up to [`HEADS_INTERVAL_MOST`]: who has been quiet for some time is
/// asked again within as long, and nobody has been quiet for longer than there was trouble.
fn convergence_ms(trouble_ms: u64) -> u64 {
    let ms = |interval: Duration| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    (trouble_ms + ms(HEADS_INTERVAL)).min(ms(HEADS_INTERVAL_MOST)) + REST_MS
}

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
        let limit = convergence_ms(self.since_start());
        // What starts, starts; nothing is expected of it in that second.
        self.run_until(Timestamp(healed_at.0 + 2 * SECOND));
        while self.violation.is_none() {
            self.adopt_copies();
            let Some((who, invariant, what)) = self.lacks() else {
                self.summary.converged_ms = self.queue.now.0 - healed_at.0;
                return;
            };
            if self.queue.now.0 - healed_at.0 > limit {
                let what = format!("{} minutes after everything healed {what}", limit / MINUTE);
                return self.violate(who, invariant, what);
            }
            self.run_until(Timestamp(self.queue.now.0 + 5 * SECOND));
        }
    }

    /// Who put a home back says that it is the only one left, once it has heard all that others have of it; then it speaks.
    fn adopt_copies(&mut self) {
        for who in 0..self.nodes.len() {
            let node = &self.nodes[who];
            // Whoever is gone for good has nothing to say, and of liars no honest word was heard.
            let others = || (0..self.nodes.len()).filter(|other| self.is_honest(*other) && !self.is_absent(*other));
            let knows_all = |origin: &Origin| {
                let own = node.up.as_ref().and_then(|up| up.truth.own.get(origin));
                let ahead = node.up.as_ref().and_then(|up| up.truth.ahead(origin)).map(Head::size);
                let known = own.map(|own| own.log.size()).max(ahead);
                others().all(|other| {
                    let Some(up) = &self.nodes[other].up else { return false };
                    let held = up.truth.known.get(origin).map(Head::size);
                    held.max(up.follower.behind().get(origin).copied()) <= known
                })
            };
            if node.disk.is_copy && node.up.is_some() && node.own.iter().all(knows_all) {
                let mut is_adopted = false;
                self.with(who, |node, cx| is_adopted = node.adopt(cx));
                if is_adopted {
                    self.oracle.count("adopted");
                    self.crash(who);
                    self.start(who);
                    self.publish(who);
                }
            }
        }
    }

    /// The first thing that somebody honest lacks of what somebody honest has.
    fn lacks(&self) -> Option<(usize, Invariant, String)> {
        let honest: Vec<usize> =
            (0..self.nodes.len()).filter(|who| self.is_honest(*who) && !self.is_absent(*who)).collect();
        let mut heads: Vec<&Head> = Vec::new();
        for writer in &honest {
            let Some(truth) = self.truth(*writer) else {
                return Some((*writer, Invariant::Converges, "the node is down".to_owned()));
            };
            if truth.is_copy {
                return Some((*writer, Invariant::Converges, "nobody has adopted what was put back".to_owned()));
            }
            heads.extend(truth.own.values().filter_map(|own| own.note.as_ref()));
        }
        heads.retain(|head| !self.oracle.forkers.contains(&head.origin().key));
        for who in &honest {
            if let Some(what) = self.lacks_of(*who, &heads) {
                return Some((*who, Invariant::Converges, what));
            }
        }
        let unsettled = |who: &usize| Some((*who, Invariant::CutsHold, self.unsettled(*who)?));
        honest.iter().find_map(unsettled)
    }

    fn lacks_of(&self, who: usize, heads: &[&Head]) -> Option<String> {
        let Some(up) = &self.nodes[who].up else { return Some("the node is down".to_owned()) };
        let Some(evidence) = up.follower.evidence() else { return Some("it knows nothing".to_owned()) };
        let frontier = evidence.frontier();
        for head in heads {
            let (origin, held) = (head.origin(), evidence.head(head.origin()));
            if held.map(|held| (held.size(), held.root())) != Some((head.size(), head.root())) {
                let held = held.map_or(0, Head::size);
                return Some(format!("it holds {held} of {} entries of {origin}", head.size()));
            }
            // Who named one of two histories before anybody knew that there are two may wait where the other is held.
            if self.oracle.forkers.is_empty() && frontier.size(origin) < head.size() {
                return Some(format!("{} of {} entries of {origin} count", frontier.size(origin), head.size()));
            }
        }
        let forked: BTreeSet<Origin> = self.forked();
        for published in up.follower.state()?.releases.values() {
            let (root, writer) = (published.release.content_root, &published.writer);
            let is_due =
                !forked.contains(writer) && !self.is_stolen(writer) && self.is_served(&published.release, writer);
            if is_due && !up.complete.contains(&root) {
                return Some(format!("the content {} is not here", root.fmt_short()));
            }
        }
        None
    }

    /// Whether whoever published it knows of it. Not so where an own entry has named one of two histories before anybody knew
    /// that there are two, the home was put back behind that, and the other history is held now: then it waits there, and
    /// nobody serves what no release names.
    fn is_served(&self, release: &Release, writer: &Origin) -> bool {
        let named = |node: &Node| {
            let state = node.up.as_ref()?.follower.state()?;
            Some(state.releases.values().any(|it| it.release.content_root == release.content_root))
        };
        let writer = self.nodes.iter().find(|node| node.own.contains(writer));
        self.oracle.forkers.is_empty() || writer.and_then(named).unwrap_or(true)
    }

    fn forked(&self) -> BTreeSet<Origin> {
        let forkers = self.nodes.iter().filter(|node| self.oracle.forkers.contains(&node.writer));
        forkers.flat_map(|node| node.own.iter().copied()).collect()
    }
}
