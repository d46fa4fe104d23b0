//! Fetches the parts of one content root from whoever has them: who sends which parts, and what to do when they do not.
//!
//! A part is a child of the content root's `HashSeq`, by number; that its bytes are right is for the node to verify
//! before it says [`Input::Got`]. One peer gets large batches in order; among several the rarest parts go first and
//! batches are smaller, so that nobody waits for one of them at the end. What is left in flight then is asked of a second
//! peer too, if that is likely to be much sooner. A peer that sends a wrong byte is given up and to be banned: the node
//! remembers who is. One that lacks, stalls or leaves is left alone for a while and its parts go to others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use core::time::Duration;

use super::{Backoff, Peer};
use crate::Timestamp;
use crate::message::have::Answer;

mod assign;
mod peers;

use peers::PeerState;

/// Bytes of a batch when one peer has all there is to have.
pub const SOLO_BATCH_BYTES: u64 = 32 << 20;
/// Bytes of a batch among several peers.
pub const SHARED_BATCH_BYTES: u64 = 8 << 20;
/// Parts of a batch: bounds the request.
pub const BATCH_PARTS: usize = 1_024;
/// Batches asked of one peer at a time: the second keeps it busy while the first ends. A near peer gets one: asking it
/// again takes no time, and what two have on their way comes again when this process is killed.
pub const BATCHES_PER_PEER: usize = 2;
/// How long a peer may send nothing that counts, at least and at most.
pub const STALL_MIN: Duration = Duration::from_secs(10);
/// See [`STALL_MIN`].
pub const STALL_MAX: Duration = Duration::from_secs(120);
/// Bytes that count as a sign of life: fewer in [`STALL_MIN`] is a stall.
pub const PROGRESS_BYTES: u64 = 64 << 10;
/// How long a peer may give no sign of life before its bytes are asked of a second one too.
pub const SILENCE: Duration = Duration::from_secs(5);

/// One part to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number among the content root's children.
    pub index: u32,
    /// Its bytes.
    pub n_bytes: u64,
}

/// How a peer is reached; nearer ones are asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// On this machine, the same link or the same private network.
    Lan,
    /// Directly.
    Direct,
    /// Through somebody else.
    Relayed,
}

/// What a peer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Haves {
    /// Every part.
    All,
    /// These.
    Parts(BTreeSet<u32>),
}

/// One request to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What the node tells the fetcher.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer can be asked; replaces what was known of it. Never one that is banned.
    Provider {
        /// The peer.
        peer: Peer,
        /// How it is reached.
        reach: Reach,
        /// What it has.
        haves: Haves,
    },
    /// A peer has more parts now.
    Gained {
        /// The peer.
        peer: Peer,
        /// The parts.
        parts: Vec<u32>,
    },
    /// A peer is gone; its batches end with it.
    Gone(Peer),
    /// Bytes of a batch arrived that do not complete a part yet, counted since its last event.
    Progress {
        /// The batch.
        batch: BatchId,
        /// How many.
        n_bytes: u64,
    },
    /// A part of a batch is verified and stored.
    Got {
        /// The batch.
        batch: BatchId,
        /// The part.
        part: u32,
    },
    /// A part was found here: it need not be fetched.
    Found(u32),
    /// A batch ended.
    Ended {
        /// The batch.
        batch: BatchId,
        /// Whether all was sent, else why not.
        result: Result<(), Failure>,
    },
}

/// Why a batch ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Bytes that are not what was asked for.
    Corrupt,
    /// The peer does not have what it said.
    NotFound,
    /// The connection broke.
    Gone,
    /// Nothing came for too long.
    Stalled,
    /// The peer has too much to do.
    Busy {
        /// When to ask again, as it says.
        retry_after: Duration,
    },
}

/// What the node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask `peer` for these parts, ascending, as one request.
    Fetch {
        /// Names the request in later inputs.
        batch: BatchId,
        /// The peer.
        peer: Peer,
        /// The parts.
        parts: Vec<u32>,
    },
    /// Stop a request: nothing more of it is needed, or its peer is given up. No input about it is needed any more.
    Cancel {
        /// The request.
        batch: BatchId,
        /// Its peer.
        peer: Peer,
    },
    /// A peer sent wrong bytes: end all connections with it and let it in no more. Nothing else bans a provider of parts.
    Ban(Peer),
    /// A peer did something that it may not, or failed.
    Fault {
        /// The peer.
        peer: Peer,
        /// What. Never [`Failure::Busy`], which is no fault.
        fault: Failure,
    },
    /// Parts are missing that nobody can be asked for before that time, or before a peer comes.
    Starved {
        /// How many.
        n_missing: usize,
        /// When somebody may be asked again.
        retry_at: Option<Timestamp>,
    },
    /// Every part is here.
    Done,
}

/// Fetches one content root. See the [module](self).
#[derive(Debug)]
pub struct Fetcher {
    /// What is missing, and not asked of anybody.
    open: BTreeSet<u32>,
    /// What is missing at all, with its bytes.
    missing: BTreeMap<u32, u64>,
    peers: BTreeMap<Peer, PeerState>,
    batches: BTreeMap<BatchId, Batch>,
    n_batches: u64,
    /// Makes two fetchers of the same thing begin at different parts.
    seed: u64,
    effects: VecDeque<Effect>,
    is_done: bool,
    starved: Option<(usize, Option<Timestamp>)>,
    /// The last time that was told.
    now: Timestamp,
}

/// One request under way.
#[derive(Debug)]
struct Batch {
    peer: Peer,
    /// What of it is neither sent nor given up.
    parts: BTreeSet<u32>,
    /// Of parts that are here.
    n_bytes_done: u64,
    /// Of any part.
    n_bytes_seen: u64,
    n_bytes_since_sign: u64,
    started: Timestamp,
    deadline: Timestamp,
}

impl Reach {
    /// Batches that a peer reached like this is asked for at a time.
    #[must_use]
    pub const fn batches(self) -> usize {
        match self {
            Self::Lan => 1,
            Self::Direct | Self::Relayed => BATCHES_PER_PEER,
        }
    }
}

impl Haves {
    /// What a peer's answer on the have protocol says, of `n_parts` parts.
    #[must_use]
    pub fn of(answer: &Answer, n_parts: u32) -> Self {
        match answer {
            Answer::All => Self::All,
            other => Self::Parts(other.parts(n_parts).collect()),
        }
    }
}

impl Fetcher {
    /// Fetches `missing`; whatever is here already is left out. `seed` is any number that differs between nodes.
    #[must_use]
    pub fn new(missing: impl IntoIterator<Item = Part>, seed: u64) -> Self {
        let missing: BTreeMap<_, _> = missing.into_iter().map(|part| (part.index, part.n_bytes)).collect();
        let mut fetcher = Self {
            open: missing.keys().copied().collect(),
            missing,
            peers: BTreeMap::new(),
            batches: BTreeMap::new(),
            n_batches: 0,
            seed,
            effects: VecDeque::new(),
            is_done: false,
            starved: None,
            now: Timestamp(0),
        };
        fetcher.check_done();
        fetcher
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Provider { peer, reach, haves } => self.on_provider(now, peer, reach, haves),
            Input::Gained { peer, parts } => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.gain(parts.into_iter().filter(|part| self.missing.contains_key(part)));
                }
            }
            Input::Gone(peer) => self.drop_peer(peer),
            Input::Progress { batch, n_bytes } => self.on_progress(now, batch, n_bytes),
            Input::Got { batch, part } => self.on_got(now, batch, part),
            Input::Found(part) => self.settle(now, part),
            Input::Ended { batch, result } => self.on_ended(now, batch, result),
        }
        self.plan(now);
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let late: Vec<_> = self.batches.iter().filter(|(_, batch)| batch.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(peer) = self.batches.get(&id).map(|batch| batch.peer) {
                self.effects.push_back(Effect::Cancel { batch: id, peer });
                self.on_ended(now, id, Err(Failure::Stalled));
            }
        }
        self.plan(now);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Fetcher::handle_timeout`] is to be called, if nothing else happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let rests = self.peers.values().map(|state| state.rests_until);
        let times = self.batches.values().map(|batch| batch.deadline).chain(rests).chain(self.silences());
        times.filter(|at| *at > self.now && !self.is_done).min()
    }

    /// Parts that are not here yet.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        self.missing.len()
    }

    /// Bytes that are not here yet.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.missing.values().sum()
    }

    fn on_provider(&mut self, now: Timestamp, peer: Peer, reach: Reach, haves: Haves) {
        let haves = match haves {
            Haves::Parts(parts) => Haves::Parts(parts.into_iter().filter(|p| self.missing.contains_key(p)).collect()),
            Haves::All => Haves::All,
        };
        let known = self.peers.remove(&peer);
        self.peers.insert(peer, PeerState::new(now, reach, haves, known));
    }

    /// Ends all batches of a peer and forgets it.
    fn drop_peer(&mut self, peer: Peer) {
        let ids: Vec<_> = self.batches.iter().filter(|(_, batch)| batch.peer == peer).map(|(id, _)| *id).collect();
        for id in ids {
            self.effects.push_back(Effect::Cancel { batch: id, peer });
            self.give_back(id);
        }
        self.peers.remove(&peer);
    }

    fn on_progress(&mut self, now: Timestamp, id: BatchId, n_bytes: u64) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        batch.n_bytes_seen = batch.n_bytes_seen.saturating_add(n_bytes);
        batch.n_bytes_since_sign = batch.n_bytes_since_sign.saturating_add(n_bytes);
        if batch.n_bytes_since_sign >= PROGRESS_BYTES {
            batch.n_bytes_since_sign = 0;
            batch.deadline = now.after(STALL_MIN);
            if let Some(peer) = self.peers.get_mut(&batch.peer) {
                peer.heard_at = now;
            }
        }
    }

    fn on_got(&mut self, now: Timestamp, id: BatchId, part: u32) {
        if let Some(batch) = self.batches.get_mut(&id)
            && batch.parts.remove(&part)
        {
            batch.n_bytes_done += self.missing.get(&part).copied().unwrap_or(0);
            batch.n_bytes_since_sign = 0;
            let next = batch.parts.first().and_then(|next| self.missing.get(next)).copied().unwrap_or(0);
            if let Some(peer) = self.peers.get_mut(&batch.peer) {
                batch.deadline = now.after(peer.patience(next));
                peer.heard_at = now;
                peer.backoff.succeed();
            }
            if batch.parts.is_empty() {
                self.finish(now, id);
            }
        }
        self.settle(now, part);
    }

    /// A part is here, from wherever: whoever else was to send it need not.
    fn settle(&mut self, now: Timestamp, part: u32) {
        self.open.remove(&part);
        if self.missing.remove(&part).is_none() {
            return;
        }
        let mut useless = Vec::new();
        for (id, batch) in &mut self.batches {
            if batch.parts.remove(&part) && batch.parts.is_empty() {
                useless.push((*id, batch.peer));
            }
        }
        for (id, peer) in useless {
            self.effects.push_back(Effect::Cancel { batch: id, peer });
            self.finish(now, id);
        }
        self.check_done();
    }

    /// Learns a peer's rate from a batch that is over.
    fn finish(&mut self, now: Timestamp, id: BatchId) {
        if let Some(batch) = self.batches.remove(&id)
            && let Some(peer) = self.peers.get_mut(&batch.peer)
        {
            peer.learn_rate(batch.n_bytes_done, now.since(batch.started));
        }
    }

    fn on_ended(&mut self, now: Timestamp, id: BatchId, result: Result<(), Failure>) {
        let Some(peer) = self.batches.get(&id).map(|batch| batch.peer) else { return };
        let left = self.give_back(id);
        // An answer that ends early without a reason lacks the rest.
        let failure = result.err().unwrap_or(Failure::NotFound);
        if !matches!(failure, Failure::Busy { .. }) {
            self.effects.push_back(Effect::Fault { peer, fault: failure });
        }
        match failure {
            Failure::Corrupt => {
                self.effects.push_back(Effect::Ban(peer));
                self.drop_peer(peer);
            }
            Failure::Gone => self.drop_peer(peer),
            Failure::NotFound | Failure::Stalled | Failure::Busy { .. } => {
                let Some(state) = self.peers.get_mut(&peer) else { return };
                state.rests_until = match failure {
                    Failure::Busy { retry_after } => Backoff::asked(now, retry_after),
                    _ => state.backoff.fail(now),
                };
                if failure == Failure::NotFound {
                    state.lose(&left);
                }
            }
        }
    }

    /// Ends a batch; what it still owed can be asked of others.
    fn give_back(&mut self, id: BatchId) -> BTreeSet<u32> {
        let Some(batch) = self.batches.remove(&id) else { return BTreeSet::new() };
        let is_elsewhere = |part: &u32| self.batches.values().any(|other| other.parts.contains(part));
        let free: Vec<_> = batch.parts.iter().copied().filter(|part| !is_elsewhere(part)).collect();
        self.open.extend(free);
        batch.parts
    }

    fn check_done(&mut self) {
        if self.missing.is_empty() && !self.is_done {
            self.is_done = true;
            self.effects.push_back(Effect::Done);
        }
    }
}
