//! The oracle: it sees everything that nodes do, and says when one of the invariants does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use syncra_protocol::entry::{self, Decoded, SeenHead};
use syncra_protocol::fold::{End, PackageState, Standing};
use syncra_protocol::id::{BlobId, ContentRoot, EntryId, LogHash, ReleaseId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::EVIDENCE_LOGS;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::merkle::leaf_hash;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Commit, Fault};

use crate::disk::{Bytes, Truth};
use crate::node::{Node, Observation};

/// Requests that one node may have open towards one peer: four logs, heads, another branch, three contents with their
/// batches, and as many again that were given up and have not ended yet.
const ASKS_PER_PEER: usize = 40;
/// Disk steps of one node under way: one for each log, twice, and one for each content.
const JOBS: usize = 2 * EVIDENCE_LOGS + 16;

/// What always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Nothing unverified is taken as content or state.
    Verified,
    /// What was acknowledged survives, and an honest writer has one history.
    Kept,
    /// The newest verified head is never lowered, and its entries are there.
    NeverLowered,
    /// Equal frontiers are equal states.
    EqualStates,
    /// After the network heals everybody honest has everything of everybody honest.
    Converges,
    /// Fork proofs are valid and of those who forked; nobody honest is blamed.
    NobodyFramed,
    /// Of a fork everybody honest who is connected has the proof within three rounds of gossip.
    WarnedInTime,
    /// What counted once counts for ever, unless a cut or a fork proof takes it back; what comes late takes nothing away.
    NeverUndone,
    /// Who was cut counts up to the cut and no further, for everybody, newcomers too; who took part in no fraud speaks.
    CutsHold,
    /// Queues and tables are bounded.
    Bounded,
    /// Nothing panics.
    NoPanic,
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Virtual milliseconds since the beginning.
    pub at_ms: u64,
    /// The node.
    pub who: usize,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, at_ms, who, what } = self;
        write!(f, "{invariant:?} does not hold at {at_ms} ms of node {who}: {what}")
    }
}

/// What a state depends on: the frontier, which logs are known to be forked, and how far both histories of each are known to
/// go together. The proof does not tell that: whoever has met one history only counts nothing of it by itself, and is right.
type StateKey = ([u8; 32], BTreeMap<Origin, Option<u64>>);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Oracle {
    /// Keys that sign two histories.
    pub forkers: BTreeSet<DeviceKey>,
    /// Who must not be blamed.
    pub honest: BTreeSet<Peer>,
    /// Every entry that its writer signed: (log, index, entry).
    spoken: BTreeSet<(Origin, u64, EntryId)>,
    /// Honest writers' one history.
    histories: BTreeMap<Origin, Log>,
    acknowledged: BTreeMap<Origin, (u64, LogHash)>,
    /// The newest head that a node relied on.
    relied: BTreeMap<(usize, Origin), u64>,
    states: BTreeMap<StateKey, PackageState>,
    /// Releases that a node could install by their ids, and whose they are.
    good: BTreeMap<usize, BTreeMap<ReleaseId, Origin>>,
    /// How much of each log some entry has named as seen: also one of an owner who signs a second history some day.
    named: BTreeMap<Origin, u64>,
    /// Content by its parts, as their writer made them.
    pub contents: BTreeMap<ContentRoot, Vec<BlobId>>,
    /// What happened, by name: that a run reached what it is there for.
    pub seen: BTreeMap<&'static str, u64>,
}

type Finding = Result<(), (Invariant, String)>;

impl Oracle {
    /// Looks at what an honest node has done.
    ///
    /// # Errors
    /// What does not hold.
    pub fn observe(&mut self, who: usize, observation: &Observation) -> Finding {
        match observation {
            Observation::Signed { first, entries, head } => self.signed(*first, entries, head),
            Observation::Acknowledged(head) => {
                self.count("acknowledged");
                self.acknowledged.insert(*head.origin(), (head.size(), head.root()));
                Ok(())
            }
            Observation::Committed(commit) => self.committed(who, commit),
            Observation::State(state, common) => self.state(who, state, common),
            Observation::Fault(peer, fault) => self.fault(*peer, fault),
            Observation::KeptFork(origin, proof) => self.kept_fork(origin, proof),
            Observation::Kept(root, part, bytes) => self.kept(root, *part, bytes),
            Observation::Complete(_) => {
                self.count("complete");
                Ok(())
            }
            Observation::Banned(peer) => {
                self.count("banned");
                self.blame(*peer, "banned")
            }
            Observation::Loaded(truth, n_stored) => self.loaded(who, truth, n_stored),
            Observation::Unreadable(why) => {
                Err((Invariant::Verified, format!("the disk holds what does not verify: {why}")))
            }
        }
    }

    /// Something has happened.
    pub fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// What a writer says, honest or not.
    pub fn spoke(&mut self, first: u64, entries: &[Bytes], head: &Head) {
        for (index, entry) in (first..).zip(entries) {
            self.spoken.insert((*head.origin(), index, EntryId::of(entry)));
        }
        for seen in entries.iter().flat_map(|entry| seen_by(entry)) {
            let named = self.named.entry(seen.origin).or_default();
            *named = seen.size.max(*named);
        }
    }

    fn signed(&mut self, first: u64, entries: &[Bytes], head: &Head) -> Finding {
        self.spoke(first, entries, head);
        let log = self.histories.entry(*head.origin()).or_insert_with(|| Log::new(*head.origin()));
        for (index, entry) in (first..).zip(entries) {
            match log.leaf(index) {
                Some(leaf) if leaf == leaf_hash(entry) => {}
                Some(_) => return Err((Invariant::Kept, format!("entry {index} of an honest log was signed twice"))),
                None if log.size() == index => drop(log.append(entry)),
                None => return Err((Invariant::Kept, format!("entry {index} is signed, those before are not"))),
            }
        }
        if log.root_at(head.size()) == Some(head.root()) {
            Ok(())
        } else {
            Err((Invariant::Kept, "a checkpoint of another history was signed".to_owned()))
        }
    }

    fn committed(&mut self, who: usize, commit: &Commit) -> Finding {
        self.count("committed");
        for (index, entry) in (commit.first..).zip(&commit.entries) {
            if !self.spoken.contains(&(commit.origin, index, EntryId::of(entry))) {
                return Err((Invariant::Verified, format!("entry {index} of {} is nobody's", commit.origin)));
            }
        }
        let relied = self.relied.entry((who, commit.origin)).or_default();
        if commit.head.size() < *relied {
            let lowered = format!("the head of {} went from {relied} to {}", commit.origin, commit.head.size());
            return Err((Invariant::NeverLowered, lowered));
        }
        *relied = commit.head.size();
        Ok(())
    }

    /// The home of a node was put back as it was before, which its user knows.
    pub fn put_back(&mut self, who: usize, own: &[Origin]) {
        self.count("put back");
        self.acknowledged.retain(|origin, _| !own.contains(origin));
        self.relied.retain(|(node, _), _| *node != who);
        self.good.remove(&who);
    }

    /// How much of a log others' entries have named as seen.
    #[must_use]
    pub fn named(&self, origin: &Origin) -> u64 {
        self.named.get(origin).copied().unwrap_or(0)
    }

    fn stays(&mut self, who: usize, state: &PackageState) -> Finding {
        let good = self.good.entry(who).or_default();
        for (release, writer) in &*good {
            let end = state.writers.get(writer).map(|writer| writer.end);
            let may_go = match state.releases.get(release).map(|it| it.standing) {
                Some(Standing::Settled | Standing::SameAs(_) | Standing::Contested) => true,
                // No role ever changes here.
                Some(Standing::Reused(_) | Standing::Contributed) => false,
                Some(Standing::Forked) => state.forked.contains_key(writer),
                Some(Standing::Revoked) => end == Some(Some(End::Revoked)),
                // Its device never was one, says the recovery key.
                None => end.is_none(),
            };
            if !may_go {
                let standing = state.releases.get(release).map(|it| it.standing);
                let within = state.frontier.size(writer);
                let what = format!(
                    "{} of {writer} does not count any more: {standing:?}, {end:?}, {within} entries inside",
                    release.fmt_short()
                );
                return Err((Invariant::NeverUndone, what));
            }
        }
        good.clear();
        let is_good = |standing| matches!(standing, Standing::Settled | Standing::SameAs(_) | Standing::Contested);
        let now = state.releases.iter().filter(|(_, it)| is_good(it.standing));
        good.extend(now.map(|(release, it)| (*release, it.writer)));
        Ok(())
    }

    fn state(&mut self, who: usize, state: &PackageState, common: &BTreeMap<Origin, Option<u64>>) -> Finding {
        self.count("states");
        self.stays(who, state)?;
        for (origin, n_common) in common.iter().filter_map(|(origin, known)| Some((origin, (*known)?))) {
            if self.n_common(origin) != Some(n_common) {
                let (end, what) = (self.n_common(origin), "entries are said to be in both histories of");
                return Err((Invariant::EqualStates, format!("{n_common} {what} {origin}, {end:?} are")));
            }
        }
        let key = (state.frontier.digest(), common.clone());
        let known = self.states.entry(key).or_insert_with(|| state.clone());
        if known == state { Ok(()) } else { Err((Invariant::EqualStates, "two states at one frontier".to_owned())) }
    }

    /// How many entries are in both histories that a key has signed; none while it has signed one.
    fn n_common(&self, origin: &Origin) -> Option<u64> {
        let all = self.spoken.range((*origin, 0, EntryId::from_bytes([0; 32]))..);
        let mut own = all.take_while(|(of, ..)| of == origin).map(|(_, index, _)| *index).peekable();
        while let Some(index) = own.next() {
            if own.peek() == Some(&index) {
                return Some(index);
            }
        }
        None
    }

    fn blame(&self, peer: Peer, what: &str) -> Finding {
        if self.honest.contains(&peer) {
            return Err((Invariant::NobodyFramed, format!("an honest peer is {what}")));
        }
        Ok(())
    }

    fn fault(&mut self, peer: Peer, fault: &Fault) -> Finding {
        self.count(match fault {
            Fault::Rollback { .. } => "rollback",
            Fault::Fork(_) => "fork",
            Fault::BadGenesis => "bad genesis",
            Fault::BadNote => "bad note",
            Fault::BadProof { .. } => "bad proof",
            Fault::BadEntry { .. } => "bad entry",
            Fault::Oversized => "oversized",
            Fault::Malformed => "malformed",
            Fault::Stalled { .. } => "stalled",
        });
        match fault {
            // Not the peer's doing, or no lie.
            Fault::Rollback { .. } | Fault::Stalled { .. } => Ok(()),
            Fault::Fork(proof) => self.forked(proof.origin(), &proof.encode()),
            other => self.blame(peer, &format!("blamed for {other:?}")),
        }
    }

    fn forked(&self, origin: &Origin, proof: &[u8]) -> Finding {
        match ForkProof::verify(proof) {
            Ok(proof) if proof.origin() == origin && self.forkers.contains(&origin.key) => Ok(()),
            Ok(_) => Err((Invariant::NobodyFramed, format!("a fork proof against the honest {origin}"))),
            Err(error) => Err((Invariant::NobodyFramed, format!("a fork proof of {origin} is none: {error}"))),
        }
    }

    fn kept_fork(&mut self, origin: &Origin, proof: &Bytes) -> Finding {
        self.count("fork kept");
        self.forked(origin, proof)
    }

    fn kept(&mut self, root: &ContentRoot, part: u32, bytes: &Bytes) -> Finding {
        self.count("parts");
        let expected = self.contents.get(root).and_then(|parts| parts.get(part as usize));
        if expected == Some(&BlobId::of(bytes)) {
            Ok(())
        } else {
            Err((Invariant::Verified, format!("part {part} of {} is not what its writer made", root.fmt_short())))
        }
    }

    fn loaded(&mut self, who: usize, truth: &Truth, n_stored: &BTreeMap<Origin, u64>) -> Finding {
        self.count("starts");
        for (origin, own) in &truth.own {
            if let Some((size, root)) = self.acknowledged.get(origin)
                && own.log.root_at(*size) != Some(*root)
            {
                let kept = own.log.size();
                return Err((
                    Invariant::Kept,
                    format!("of {origin} {size} entries were acknowledged, {kept} are kept"),
                ));
            }
        }
        for ((_, origin), relied) in self.relied.iter().filter(|((node, _), _)| *node == who) {
            let known = truth.known.get(origin).map_or(0, Head::size);
            if known < *relied {
                return Err((Invariant::NeverLowered, format!("the head of {origin} went from {relied} to {known}")));
            }
        }
        for (origin, head) in &truth.known {
            let n_stored = n_stored.get(origin).copied().unwrap_or(0);
            if n_stored < head.size() {
                let gap = format!("of {origin} a head of {} is remembered with {n_stored} entries", head.size());
                return Err((Invariant::NeverLowered, gap));
            }
        }
        Ok(())
    }

    /// Looks at what a node holds in tables.
    ///
    /// # Errors
    /// What does not hold.
    pub fn bounds(&self, node: &Node) -> Finding {
        let Some(up) = &node.up else { return Ok(()) };
        if up.jobs.len() > JOBS {
            return Err((Invariant::Bounded, format!("{} disk steps", up.jobs.len())));
        }
        let mut by_peer: BTreeMap<Peer, usize> = BTreeMap::new();
        for asked in up.asks.values() {
            *by_peer.entry(asked.peer).or_default() += 1;
        }
        match by_peer.values().max() {
            Some(n_asks) if *n_asks > ASKS_PER_PEER => {
                Err((Invariant::Bounded, format!("{n_asks} requests to one peer are open")))
            }
            _ => Ok(()),
        }
    }
}

fn seen_by(entry: &[u8]) -> Vec<SeenHead> {
    match entry::decode(entry) {
        Ok(Decoded::Known(entry)) => entry.seen,
        _ => Vec::new(),
    }
}
