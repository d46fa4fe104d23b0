//! Keeps the evidence set of one package up to date, from peers who may lie, lag, stall or leave.
//!
//! Rules: a head is remembered only when its entries are verified and durable; nothing older than what is held is
//! accepted (another peer is tried); two notes of one key that contradict each other become a [`ForkProof`] and the log
//! is frozen; a fault of one log never holds up another. Of each log one peer at a time is asked, of each peer at most
//! [`ASKS_PER_PEER`] logs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use core::time::Duration;

use super::omission::Shown;
use super::{Backoff, Peer};
use crate::Timestamp;
use crate::evidence::{Evidence, EvidenceError, Extension, FirstEntryError, IdentityLog, KnownFork, Quorum};
use crate::fold::{Changes, PackageState};
use crate::id::{IdentityId, PackageId};
use crate::log::Log;
use crate::log::checkpoint::Head;
use crate::log::fork::ForkProof;
use crate::log::fork_point::ForkPoint;
use crate::message::log::{Entries, Heads};
use crate::origin::Origin;

mod branch;
mod entries;
mod heads;
mod plan;
mod refused;
mod shown;

use refused::Refused;

/// How long an answer may take.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// How often heads are asked for though nothing was pushed: what a lost notice costs at first. Doubled each time that the
/// answer says nothing new: who pushes what it has need not be asked.
pub const HEADS_INTERVAL: Duration = Duration::from_secs(300);
/// The longest such interval: what a lost notice costs at most.
pub const HEADS_INTERVAL_MOST: Duration = Duration::from_secs(3_600);
/// Logs asked of one peer at a time.
pub const ASKS_PER_PEER: usize = 4;
/// Peers asked for heads at a time. Who has been silent for [`HEADS_SILENCE`] counts no more: a crowd that never answers
/// keeps nobody from being asked.
pub const HEADS_ASKS: usize = 16;
/// See [`HEADS_ASKS`]: longer than most answers take.
pub const HEADS_SILENCE: Duration = Duration::from_millis(500);
/// Bytes of entries of one log that are held before they are complete.
pub const LOG_FETCH_BYTES: usize = 64 << 20;
/// Bytes of entries of another history of a forked log that are asked for, to find where it parts from ours: they are not held,
/// but cost their way. Of a longer one it is found only if that is within them, and no fork point is made of it.
pub const COMPARED_BYTES: usize = LOG_FETCH_BYTES;

/// What the node tells the follower.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer that may have the package can be asked.
    PeerUp(Peer),
    /// A peer is gone; what it was asked will not be answered.
    PeerGone(Peer),
    /// A peer pushed a note.
    Notice {
        /// The peer.
        peer: Peer,
        /// The note, unverified.
        note: Vec<u8>,
    },
    /// A peer is said to have what a verified note of this package, or of an owner, signs: it is asked for that.
    Told {
        /// The peer.
        peer: Peer,
        /// The note.
        note: Vec<u8>,
    },
    /// The answer to [`Effect::AskHeads`].
    Heads {
        /// The peer.
        peer: Peer,
        /// The answer, unverified.
        heads: Heads,
    },
    /// The answer to [`Effect::AskEntries`].
    Entries {
        /// The peer.
        peer: Peer,
        /// The log that was asked for.
        origin: Origin,
        /// The first entry that was asked for: tells a late answer to an earlier request from a lie.
        from: u64,
        /// The answer, unverified.
        entries: Entries,
    },
    /// A peer did not answer as asked.
    Failed {
        /// The peer.
        peer: Peer,
        /// What was asked.
        ask: Ask,
        /// Why.
        failure: Failure,
    },
    /// What [`Effect::Commit`] gave is durable.
    Committed(Origin),
    /// What [`Effect::Commit`] gave could not be made durable.
    CommitFailed(Origin),
    /// What is known elsewhere of a fork.
    Fork(Box<KnownFork>),
    /// What the reader's witnesses have seen of a log, or that they say nothing.
    Witnessed(Origin, Option<Quorum>),
}

/// What a peer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The package's heads.
    Heads,
    /// Entries of a log.
    Entries(Origin),
}

/// Why a peer did not answer as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It does not have it, or does not serve it.
    Refused,
    /// It has too much to do.
    Busy {
        /// When to ask again, as it says.
        retry_after: Duration,
    },
    /// It does not speak the protocol.
    Unsupported,
    /// The stream broke or could not be opened.
    Lost,
    /// It began to answer, or not even that, and was not done in time.
    Slow,
    /// It announced more bytes than a frame may have.
    Oversized,
    /// It sent what is no message.
    Malformed,
}

/// What the node is to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Ask `peer` for the package's heads.
    AskHeads {
        /// The peer.
        peer: Peer,
    },
    /// Ask `peer` for entries of `origin`.
    AskEntries {
        /// The peer.
        peer: Peer,
        /// The log.
        origin: Origin,
        /// The first entry wanted.
        from: u64,
    },
    /// Make verified entries durable, then say so with [`Input::Committed`].
    Commit(Commit),
    /// The package's state has changed; [`Follower::state`] is the new one.
    Updated(Changes),
    /// A peer did something that it may not, or brought evidence against a writer.
    Fault {
        /// The peer.
        peer: Peer,
        /// What.
        fault: Fault,
    },
    /// A peer has answered, or pushed a note: what that shows, beside what is known.
    Shown {
        /// The peer.
        peer: Peer,
        /// Each log that it showed, and those that it left out.
        shown: Vec<Shown>,
    },
    /// A head that is held, or one before it that is true, came with further lines: what witnesses say of it. Nobody has
    /// looked at them yet.
    Cosigned(Head),
    /// The two histories of a forked log are one for this many entries; to be kept with the fork proof.
    Common {
        /// The log.
        origin: Origin,
        /// Entries in both.
        n_common: u64,
    },
    /// Where the histories of a forked log part, with the fork proof that this is about; to be kept and spread like that.
    ForkPoint(Box<ForkPoint>),
    /// Something is missing and nobody can be asked for it before this time, or before a peer comes.
    RetryAt(Timestamp),
}

/// Verified entries and the head that they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The log.
    pub origin: Origin,
    /// Index of the first entry.
    pub first: u64,
    /// The entries' bytes.
    pub entries: Vec<Vec<u8>>,
    /// The head at the last of them.
    pub head: Head,
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Offered an older state of a log than is held: it lags, or replays. Another peer is tried.
    Rollback {
        /// The log.
        origin: Origin,
        /// Entries held.
        held: u64,
        /// Entries offered.
        offered: u64,
    },
    /// Brought the second of two notes that contradict each other. The writer's fault; to be kept for ever and spread.
    Fork(Box<ForkProof>),
    /// Sent another Genesis entry than the package's or its owners'. Barred.
    BadGenesis,
    /// Sent a note that does not verify, or another log's. Barred.
    BadNote,
    /// Sent entries or hashes that do not lead to the note's root. Barred.
    BadProof {
        /// The log.
        origin: Origin,
    },
    /// A log begins as none may. The log is refused; its writer's fault.
    BadEntry {
        /// The log.
        origin: Origin,
        /// Why.
        error: FirstEntryError,
    },
    /// Sent more bytes than allowed. Barred.
    Oversized,
    /// Sent what is no message. Barred.
    Malformed,
    /// Did not answer in time, or answered with nothing.
    Stalled {
        /// What it was asked for.
        ask: Ask,
    },
}

/// Keeps one package up to date. See the [module](self).
#[derive(Debug)]
pub struct Follower {
    package: PackageId,
    evidence: Option<Evidence>,
    state: Option<PackageState>,
    peers: BTreeMap<Peer, PeerState>,
    fetches: BTreeMap<Origin, Fetch>,
    /// Other histories of forked logs, being compared with ours.
    branches: BTreeMap<Origin, branch::Branch>,
    compared: BTreeMap<Origin, branch::Compared>,
    /// Fork proofs of logs of which nothing was held when they came: one history is fetched all the same, since what is in
    /// both stays settled. Then the log is frozen.
    warned: BTreeMap<Origin, Warned>,
    committing: BTreeMap<Origin, (Peer, Extension)>,
    /// Logs left alone until then: their commit failed.
    resting: BTreeMap<Origin, (Timestamp, Backoff)>,
    /// Logs that may not begin as they do, and those for which there is no place among those that rest or are left out.
    refused: Refused,
    /// Logs for which there is no room, as long as the same people have a claim to it.
    left_out: BTreeSet<Origin>,
    /// Those people, owners first.
    people: (BTreeSet<IdentityId>, BTreeSet<IdentityId>),
    effects: VecDeque<Effect>,
    retry_at: Option<Timestamp>,
    /// The last time that was told.
    now: Timestamp,
}

/// What is known of one peer.
#[derive(Debug, Default)]
struct PeerState {
    /// When heads are asked for next; while asked, until when the answer may take.
    heads_at: Timestamp,
    heads_asked: bool,
    /// Answers in a row that said nothing new.
    n_quiet: u32,
    /// While asked: until when that counts among [`HEADS_ASKS`].
    counts_until: Timestamp,
    /// It lied: nothing of it is taken in any more, not even after it has come back.
    is_barred: bool,
    backoff: Backoff,
    /// Not asked for entries before then.
    rests_until: Timestamp,
    /// The newest head that it offered of each log, signed but perhaps not held by anybody.
    offers: BTreeMap<Origin, Head>,
    /// Sizes of rollbacks already reported.
    lagging: BTreeMap<Origin, u64>,
    /// Forked logs whose history it was asked for.
    branches_asked: BTreeSet<Origin>,
}

/// A fork proof that came too early, from whom, and where its histories part if that is known.
#[derive(Debug)]
struct Warned {
    peer: Peer,
    proof: ForkProof,
    point: Option<ForkPoint>,
}

/// One log being fetched from one peer.
#[derive(Debug)]
struct Fetch {
    peer: Peer,
    deadline: Timestamp,
    /// What is held and the answers so far, each verified.
    work: Log,
    entries: Vec<Vec<u8>>,
    n_bytes: usize,
}

impl Follower {
    /// Follows a package of which nothing is held.
    #[must_use]
    pub fn new(package: PackageId) -> Self {
        Self {
            package,
            evidence: None,
            state: None,
            peers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            branches: BTreeMap::new(),
            compared: BTreeMap::new(),
            warned: BTreeMap::new(),
            committing: BTreeMap::new(),
            resting: BTreeMap::new(),
            refused: Refused::default(),
            left_out: BTreeSet::new(),
            people: <(BTreeSet<_>, BTreeSet<_>)>::default(),
            effects: VecDeque::new(),
            retry_at: None,
            now: Timestamp(0),
        }
    }

    /// Follows on from what is durable.
    #[must_use]
    pub fn resume(evidence: Evidence) -> Self {
        let (package, state) = (evidence.package(), Some(evidence.fold()));
        Self { state, evidence: Some(evidence), ..Self::new(package) }
    }

    /// The package.
    #[must_use]
    pub const fn package(&self) -> PackageId {
        self.package
    }

    /// What is held; none before the first answer.
    #[must_use]
    pub const fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// The package's state at the frontier of what is held.
    #[must_use]
    pub const fn state(&self) -> Option<&PackageState> {
        self.state.as_ref()
    }

    /// Logs of which signed heads are known whose entries nobody has delivered yet: log → entries signed.
    #[must_use]
    pub fn behind(&self) -> BTreeMap<Origin, u64> {
        let Some(evidence) = &self.evidence else { return BTreeMap::new() };
        let mut behind = BTreeMap::new();
        for (origin, head) in self.peers.values().flat_map(|peer| &peer.offers) {
            if evidence.wants(origin) && !evidence.is_forked(origin) && head.size() > evidence.size(origin) {
                let size = behind.entry(*origin).or_insert(0);
                *size = head.size().max(*size);
            }
        }
        behind
    }

    /// Logs that are wanted and for which there is no room: what is shown leaves them out.
    #[must_use]
    pub const fn left_out(&self) -> &BTreeSet<Origin> {
        &self.left_out
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::PeerUp(peer) => self.on_peer_up(now, peer),
            Input::PeerGone(peer) => self.on_peer_gone(peer),
            Input::Notice { peer, note } => self.on_notice(now, peer, &note),
            Input::Told { peer, note } => self.on_told(now, peer, &note),
            Input::Heads { peer, heads } => self.on_heads(now, peer, &heads),
            Input::Entries { peer, origin, from, entries } => self.on_entries(now, peer, (origin, from), entries),
            Input::Failed { peer, ask, failure } => self.on_failed(now, peer, ask, failure),
            Input::Committed(origin) => self.on_committed(now, origin),
            Input::CommitFailed(origin) => self.on_commit_failed(now, origin),
            Input::Fork(known) => self.freeze(*known),
            Input::Witnessed(origin, quorum) => self.on_witnessed(&origin, quorum),
        }
        self.plan(now);
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.expire(now);
        self.plan(now);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Takes in entries that are durable already: the own publish, or an imported file.
    ///
    /// # Errors
    /// [`EvidenceError`]; nothing changed.
    pub fn adopt(&mut self, now: Timestamp, entries: &[Vec<u8>], head: &Head) -> Result<(), EvidenceError> {
        if let Some(evidence) = &mut self.evidence {
            evidence.extend(entries, head)?;
        } else {
            let mut evidence = entries
                .first()
                .and_then(|first| Evidence::open(self.package, first).ok())
                .ok_or(EvidenceError::OtherPackage)?;
            evidence.extend(entries, head)?;
            self.evidence = Some(evidence);
        }
        self.fetches.remove(head.origin());
        self.refold();
        self.plan(now);
        Ok(())
    }

    /// Takes in the log of an owner that is durable already, for instance because another package of that owner brought it.
    ///
    /// # Errors
    /// [`EvidenceError`]; nothing changed.
    pub fn share(&mut self, now: Timestamp, log: &IdentityLog) -> Result<(), EvidenceError> {
        let Some(evidence) = &mut self.evidence else { return Ok(()) };
        let origin = log.head().origin();
        let is_news = evidence.size(origin) < log.log().size();
        evidence.share(log)?;
        if is_news {
            self.fetches.remove(origin);
            self.wake_devices(origin);
            self.judge_offers(now, origin);
            self.refold();
            self.plan(now);
        }
        Ok(())
    }

    /// Computes the state again and tells what is new.
    fn refold(&mut self) {
        let Some(evidence) = &self.evidence else { return };
        let people = (evidence.owners().clone(), evidence.people());
        if people != self.people {
            (self.people, self.left_out) = (people, BTreeSet::new());
        }
        let state = evidence.fold();
        let changes = state.changes_since(self.state.as_ref());
        self.state = Some(state);
        if !changes.is_empty() {
            self.effects.push_back(Effect::Updated(changes));
        }
    }

    fn fault(&mut self, peer: Peer, fault: Fault) {
        self.effects.push_back(Effect::Fault { peer, fault });
    }
}
