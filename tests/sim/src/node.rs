//! One simulated node: the real machines and types, and around them the steps of the real node in the same order.
//!
//! | here | mirrors |
//! |---|---|
//! | [`Node::start`], `load` | `node/src/history.rs` (`sign_unsigned`), `node/src/history/read.rs` |
//! | `commit` | `node/src/history/foreign.rs`: entries synced, then the head remembered, then told |
//! | `publish` | `node/src/flow/publish.rs`, `node/src/history/own.rs`: blobs, journal, signature, note, only then told |
//! | `ask` | `node/src/sync/follow.rs`, `node/src/sync/ask.rs` |
//! | `serve` | `node/src/serve.rs`, `node/src/serve/log.rs`, `node/src/serve/have.rs` |
//! | `fetch` | `node/src/sync/fetch.rs` and below |
//!
//! What a node has in memory is [`Running`]; a crash drops it. What it has on its disk is [`Disk`].

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use syncra_protocol::Timestamp;
use syncra_protocol::evidence::{Evidence, Frontier, KnownFork};
use syncra_protocol::fold::{DeviceStatus, PackageState, Standing};
use syncra_protocol::id::{BlobId, ContentRoot, EntryId, PackageId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Commit, Fault, Follower, Input};

use crate::disk::{Bytes, Disk, OwnLog, Place, Record, Truth};
use crate::rng::Rng;
use crate::wire::Lane;

mod ask;
mod commit;
mod fetch;
mod publish;
mod serve;

pub use publish::Draft;

use ask::Asked;
use fetch::Fetching;

/// How a node behaves towards others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// Serves the oldest state of each log that it ever held.
    Old,
    /// Signs a second history of its own log and shows it to every other peer.
    Forks,
    /// Sends a wrong bit in entries, notes, sequences and parts.
    WrongBytes,
    /// Sends what is no message, and announces frames that are too long.
    Garbage,
    /// Answers nothing.
    Silent,
    /// Signs with the key of somebody else's device, and is as polite as can be.
    Thief,
}

impl Manner {
    /// Those that need no log of their own.
    pub const LIARS: [Self; 4] = [Self::Old, Self::WrongBytes, Self::Garbage, Self::Silent];
}

/// A fault put into a node on purpose: each must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Keeps parts whose hash it did not look at.
    TakesUnverifiedParts,
    /// Commits entries without looking whether they are those that were verified.
    TakesUnverifiedEntries,
    /// Signs and announces before its journal has the entries.
    SignsBeforeJournal,
    /// Acknowledges a publish that is written and not synced.
    AcknowledgesUnsynced,
    /// Remembers a head before it has the entries.
    HeadBeforeEntries,
    /// Goes on before the remembered head is synced.
    ForgetsHeads,
    /// Its state depends on the order in which logs came.
    StateByArrival,
    /// Does not look at the clock: nothing is asked again.
    DeafToTime,
    /// Takes an older head for a fork.
    FramesLaggards,
    /// Keeps requests that failed.
    KeepsAsks,
    /// Keeps a fork proof and tells nobody.
    HushesForks,
    /// Takes no notice of cuts.
    IgnoresCuts,
    /// Lets the log that came last take versions away from those before.
    LateWins,
    /// Signs in a home that was put back, as if nothing had been.
    SignsAsCopy,
    /// Waits by a clock that people set.
    WaitsByTheWall,
    /// Names all logs as seen, wherever it says so.
    NamesAll,
    /// Remembers that the histories of a forked log part one entry earlier than they do.
    MisplacesForks,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::TakesUnverifiedParts,
        Self::TakesUnverifiedEntries,
        Self::SignsBeforeJournal,
        Self::AcknowledgesUnsynced,
        Self::HeadBeforeEntries,
        Self::ForgetsHeads,
        Self::StateByArrival,
        Self::DeafToTime,
        Self::FramesLaggards,
        Self::KeepsAsks,
        Self::HushesForks,
        Self::IgnoresCuts,
        Self::LateWins,
        Self::SignsAsCopy,
        Self::WaitsByTheWall,
        Self::NamesAll,
        Self::MisplacesForks,
    ];
}

/// What is around a node while something happens to it, and what it does then.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time.
    pub now: Timestamp,
    /// Chance.
    pub rng: &'a mut Rng,
    /// The package that all follow.
    pub package: PackageId,
    /// What the node does, in order.
    pub out: Vec<Out>,
}

/// What a node does.
#[derive(Debug)]
pub enum Out {
    /// Sends.
    Send {
        /// To whom.
        to: Peer,
        /// As what.
        lane: Lane,
        /// The bytes.
        bytes: Bytes,
        /// Milliseconds until it leaves.
        after_ms: u64,
    },
    /// Starts a disk step that takes so long.
    Disk {
        /// Milliseconds.
        in_ms: u64,
        /// To be given to [`Node::on_disk`].
        job: u64,
    },
    /// Ends all connections with a peer and takes it in no more.
    Ban(Peer),
    /// What the oracle is to know.
    Observed(Observation),
}

/// What a node has done, for the oracle.
#[derive(Debug)]
pub enum Observation {
    /// A signature leaves the process: these entries of this log, from `first` on, lead to this head.
    Signed {
        /// Index of the first entry.
        first: u64,
        /// The entries.
        entries: Vec<Bytes>,
        /// The head.
        head: Head,
    },
    /// A publish was acknowledged to the user.
    Acknowledged(Head),
    /// Others' entries are durable here and their head is remembered.
    Committed(Commit),
    /// The state is this now, with what is known of how far both histories of forked logs go together.
    State(Box<PackageState>, BTreeMap<Origin, Option<u64>>),
    /// A peer did something that it may not.
    Fault(Peer, Fault),
    /// A fork proof is kept.
    KeptFork(Origin, Bytes),
    /// A part is kept as this part of this content.
    Kept(ContentRoot, u32, Bytes),
    /// All of a content is here, durably.
    Complete(ContentRoot),
    /// A peer is let in no more.
    Banned(Peer),
    /// The node has started with what its disk holds: the truth, and how many entries of each log there are.
    Loaded(Box<Truth>, BTreeMap<Origin, u64>),
    /// What the disk holds does not verify.
    Unreadable(String),
}

/// What a crash drops.
#[derive(Debug)]
pub struct Running {
    /// What the journal says, durably.
    pub truth: Truth,
    /// What it will say once it is synced: decides what may be written.
    written: Truth,
    stored: BTreeMap<Origin, Vec<Bytes>>,
    blobs: BTreeMap<BlobId, Bytes>,
    /// The machine.
    pub follower: Follower,
    pub(crate) asks: BTreeMap<u64, Asked>,
    n_asks: u64,
    pub(crate) fetches: BTreeMap<ContentRoot, Fetching>,
    /// Content that is here, durably.
    pub complete: BTreeSet<ContentRoot>,
    /// Connected.
    pub peers: BTreeSet<Peer>,
    pub(crate) jobs: BTreeMap<u64, commit::Job>,
    n_jobs: u64,
    is_writing: bool,
    /// When the node is to be woken; the simulator has been told.
    wake: Option<Timestamp>,
    arrivals: Vec<Origin>,
}

/// A node with its disk.
#[derive(Debug)]
pub struct Node {
    /// Who it is to others.
    pub key: Peer,
    /// Who signs what it says: itself, unless it is a thief.
    pub writer: DeviceKey,
    secret: DeviceSecret,
    /// How it behaves.
    pub manner: Manner,
    mutation: Option<Mutation>,
    /// What survives.
    pub disk: Disk,
    /// What does not; none while it is down.
    pub up: Option<Running>,
    /// Starts so far: what was begun before the last one is void.
    pub epoch: u64,
    /// Its own logs, if it writes: its identity's and the package's.
    pub own: Vec<Origin>,
    oldest: BTreeMap<Origin, Head>,
    branch: Option<serve::Branch>,
    /// How far its wall clock is off, in milliseconds.
    pub wall_ms: i64,
}

/// What a right wall clock says when a run begins; nothing but a mutation looks at it.
const WALL_MS: u64 = 1 << 42;

impl Node {
    /// A node that is not up yet, with an empty disk.
    #[must_use]
    pub fn new(secret: DeviceSecret, manner: Manner, mutation: Option<Mutation>) -> Self {
        Self {
            key: secret.public(),
            writer: secret.public(),
            secret,
            manner,
            mutation,
            disk: Disk::default(),
            up: None,
            epoch: 0,
            own: Vec::new(),
            oldest: BTreeMap::new(),
            branch: None,
            wall_ms: 0,
        }
    }

    /// A node that has got hold of the key of another device.
    #[must_use]
    pub fn thief(key: Peer, stolen: DeviceSecret) -> Self {
        Self { key, ..Self::new(stolen, Manner::Thief, None) }
    }

    /// The time by which it waits.
    #[must_use]
    pub fn time(&self, now: Timestamp) -> Timestamp {
        if self.is(Mutation::WaitsByTheWall) {
            Timestamp((WALL_MS + now.0).saturating_add_signed(self.wall_ms))
        } else {
            now
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Power goes: memory is lost, and what was not synced.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.up = None;
        self.epoch += 1;
        self.disk.power_cut(rng);
    }

    /// Opens what is on the disk; false if that fails and is to be tried again.
    pub fn start(&mut self, cx: &mut Cx<'_>) -> bool {
        self.epoch += 1;
        let mut truth = Truth::read(&self.disk);
        truth.is_copy &= !self.is(Mutation::SignsAsCopy);
        let own = truth.own.iter().map(|(origin, own)| (*origin, own.entries.clone()));
        let mut stored: BTreeMap<Origin, Vec<Bytes>> = own.collect();
        for (origin, index, bytes) in self.disk.entries.iter() {
            let entries = stored.entry(*origin).or_default();
            if entries.len() as u64 == *index {
                entries.push(Rc::clone(bytes));
            }
        }
        let n_stored = stored.iter().map(|(origin, entries)| (*origin, entries.len() as u64)).collect();
        cx.out.push(Out::Observed(Observation::Loaded(Box::new(truth.clone()), n_stored)));
        let is_open = |own: &&OwnLog| own.is_unsigned() && truth.ahead(own.log.origin()).is_none();
        let unsigned: Vec<_> = truth.own.values().filter(is_open).map(|own| own.log.checkpoint()).collect();
        let unsigned = if truth.is_copy { Vec::new() } else { unsigned };
        for checkpoint in unsigned {
            let Ok(head) = Head::sign(&self.secret, checkpoint) else { return false };
            let record = Record::OwnNote(head.clone());
            if self.disk.permit(cx.rng).is_err() {
                return false;
            }
            truth.apply(&record);
            self.disk.write_journal(record);
            // Also when the sync fails: the note may be on the disk all the same, and the next start relies on it.
            let entries = truth.own[head.origin()].entries.clone();
            cx.out.push(Out::Observed(Observation::Signed { first: 0, entries, head }));
            if self.disk.sync(Place::Journal, cx.rng).is_err() {
                return false;
            }
        }
        let blobs = self.disk.blobs.iter().map(|(id, bytes)| (*id, Rc::clone(bytes))).collect();
        let follower = Follower::new(cx.package);
        self.up = Some(Running {
            written: truth.clone(),
            truth,
            stored,
            blobs,
            follower,
            asks: BTreeMap::new(),
            n_asks: self.epoch << 32,
            fetches: BTreeMap::new(),
            complete: BTreeSet::new(),
            peers: BTreeSet::new(),
            jobs: BTreeMap::new(),
            n_jobs: self.epoch << 32,
            is_writing: false,
            wake: None,
            arrivals: Vec::new(),
        });
        self.resume(cx);
        self.settle(cx);
        true
    }

    /// Follows on from what is durable, as the real task does after its own logs grew.
    fn resume(&mut self, cx: &mut Cx<'_>) {
        let Some(up) = &mut self.up else { return };
        up.follower = match load(cx.package, up) {
            Ok(Some(evidence)) => Follower::resume(evidence),
            Ok(None) => Follower::new(cx.package),
            Err(why) => {
                cx.out.push(Out::Observed(Observation::Unreadable(why)));
                Follower::new(cx.package)
            }
        };
        for peer in up.peers.clone() {
            up.follower.handle(cx.now, Input::PeerUp(peer));
        }
        self.observe_state(cx);
    }

    fn observe_state(&self, cx: &mut Cx<'_>) {
        let evidence = self.up.as_ref().and_then(|up| up.follower.evidence());
        if let (Some(state), Some(evidence)) = (self.state(), evidence) {
            let common = evidence.forks().map(|proof| (*proof.origin(), evidence.n_common(proof.origin())));
            cx.out.push(Out::Observed(Observation::State(Box::new(state), common.collect())));
        }
    }

    /// What it shows its user.
    #[must_use]
    pub fn state(&self) -> Option<PackageState> {
        let up = self.up.as_ref()?;
        let mut state = up.follower.state()?.clone();
        match self.mutation {
            Some(Mutation::StateByArrival) => {
                let first = state.frontier.0.keys().next();
                if up.arrivals.first().is_some_and(|arrival| Some(arrival) != first) {
                    state.versions.pop_first();
                }
            }
            Some(Mutation::IgnoresCuts) => ignore_cuts(&mut state),
            Some(Mutation::LateWins) => {
                state
                    .releases
                    .retain(|_, it| it.standing != Standing::Contested || up.arrivals.last() == Some(&it.writer));
            }
            _ => {}
        }
        Some(state)
    }

    /// Its user says that no other copy of this home will ever be used again: what others have of the own logs and this
    /// home has not is taken in. False if that failed.
    pub fn adopt(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(up) = &self.up else { return false };
        let mut records = Vec::new();
        for (origin, own) in &up.truth.own {
            let Some(head) = up.truth.ahead(origin).cloned() else { continue };
            let (old_size, stored) = (own.log.size(), up.stored.get(origin).map_or(&[][..], |stored| stored));
            let (from, to) = (own.entries.len(), usize::try_from(head.size()).unwrap_or(usize::MAX));
            let Some(entries) = stored.get(from..to).map(<[Bytes]>::to_vec) else { return false };
            records.push(Record::OwnAppend { old_size, after: *head.checkpoint(), entries });
            records.push(Record::OwnNote(head));
        }
        for record in records {
            if self.journal(cx, record.clone()).is_err() || self.disk.sync(Place::Journal, cx.rng).is_err() {
                return false;
            }
            self.journalled(&record);
        }
        let Some(up) = &mut self.up else { return false };
        (self.disk.is_copy, up.truth.is_copy, up.written.is_copy) = (false, false, false);
        true
    }

    /// A peer is connected.
    pub fn on_peer(&mut self, cx: &mut Cx<'_>, peer: Peer) {
        let Some(up) = &mut self.up else { return };
        up.peers.insert(peer);
        up.follower.handle(cx.now, Input::PeerUp(peer));
        self.greet_fetches(cx, peer);
        self.settle(cx);
    }

    /// A peer is connected no more.
    pub fn on_peer_gone(&mut self, cx: &mut Cx<'_>, peer: Peer) {
        let Some(up) = &mut self.up else { return };
        up.peers.remove(&peer);
        up.follower.handle(cx.now, Input::PeerGone(peer));
        let open: Vec<u64> = up.asks.iter().filter(|(_, asked)| asked.peer == peer).map(|(id, _)| *id).collect();
        for id in open {
            self.on_lost(cx, id);
        }
        let Some(up) = &mut self.up else { return };
        for fetching in up.fetches.values_mut() {
            fetching.gone(cx.now, peer);
        }
        self.settle(cx);
    }

    /// The time has come that was asked for.
    pub fn on_wake(&mut self, cx: &mut Cx<'_>) {
        let deaf = self.is(Mutation::DeafToTime);
        self.expire_asks(cx);
        let Some(up) = &mut self.up else { return };
        up.wake = None;
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= cx.now);
        if due(up.follower.next_timeout()) && !deaf {
            up.follower.handle_timeout(cx.now);
        }
        self.wake_fetches(cx);
        self.settle(cx);
    }

    /// When [`Node::on_wake`] is to be called, if that is news.
    pub fn next_wake(&mut self, now: Timestamp) -> Option<Timestamp> {
        let deaf = self.is(Mutation::DeafToTime);
        let up = self.up.as_mut()?;
        let asks = up.asks.values().map(|asked| asked.deadline).min();
        let follower = up.follower.next_timeout().filter(|_| !deaf);
        let fetches = up.fetches.values().filter_map(|fetching| fetching.next_timeout(now)).min();
        let next = [asks, follower, fetches].into_iter().flatten().min()?.max(Timestamp(now.0 + 1));
        if up.wake.is_none_or(|known| next < known) {
            up.wake = Some(next);
            return Some(next);
        }
        None
    }

    /// Does what the machines decide, until they decide nothing more.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        self.perform_follower(cx);
        self.plan_fetches(cx);
    }

    /// A log grew here, durably: whoever watches is told.
    fn tell(&mut self, cx: &mut Cx<'_>, head: &Head) {
        self.oldest.entry(*head.origin()).or_insert_with(|| head.clone());
        let Some(up) = &self.up else { return };
        for peer in up.peers.clone() {
            if let Some(bytes) = self.notice(cx, peer, head) {
                cx.out.push(Out::Send { to: peer, lane: Lane::Notice, bytes, after_ms: 0 });
            }
        }
    }

    /// Starts a disk step.
    fn begin(&mut self, cx: &mut Cx<'_>, job: commit::Job) {
        let Some(up) = &mut self.up else { return };
        up.n_jobs += 1;
        up.jobs.insert(up.n_jobs, job);
        cx.out.push(Out::Disk { in_ms: cx.rng.between(1..30), job: up.n_jobs });
    }

    /// The frontier that is held, for the trace.
    #[must_use]
    pub fn frontier(&self) -> Option<Frontier> {
        Some(self.up.as_ref()?.follower.evidence()?.frontier())
    }
}

fn ignore_cuts(state: &mut PackageState) {
    for owner in state.owners.values_mut() {
        for device in Arc::make_mut(owner).devices.values_mut() {
            device.status = DeviceStatus::Active;
        }
    }
    for release in state.releases.values_mut().filter(|it| it.standing == Standing::Revoked) {
        release.standing = Standing::Settled;
    }
}

/// A package's evidence from what is durable, in the order of `node/src/history/read.rs`.
fn load(package: PackageId, up: &Running) -> Result<Option<Evidence>, String> {
    let mut logs: BTreeMap<Origin, (Head, Vec<Bytes>)> = BTreeMap::new();
    for (origin, own) in &up.truth.own {
        // What the same key has signed elsewhere and others brought is there too.
        if let Some(ahead) = up.truth.ahead(origin)
            && let Some(entries) =
                up.stored.get(origin).and_then(|stored| stored.get(..usize::try_from(ahead.size()).ok()?))
        {
            logs.insert(*origin, (ahead.clone(), entries.to_vec()));
        } else if let Some(note) = &own.note {
            let size = usize::try_from(note.size()).unwrap_or(usize::MAX).min(own.entries.len());
            logs.insert(*origin, (note.clone(), own.entries[..size].to_vec()));
        }
    }
    for (origin, head) in &up.truth.known {
        let stored = up.stored.get(origin).map_or(&[][..], |stored| stored);
        // A log with a gap is left out: its entries are fetched again, and its head still guards against rollback.
        let size = usize::try_from(head.size()).unwrap_or(usize::MAX);
        if let Some(entries) = stored.get(..size)
            && !up.truth.own.contains_key(origin)
        {
            logs.insert(*origin, (head.clone(), entries.to_vec()));
        }
    }
    let id = EntryId::from_bytes(*package.as_bytes());
    let mut firsts = logs.values().filter_map(|(_, entries)| entries.first());
    let Some(genesis) = firsts.find(|entry| EntryId::of(entry) == id) else { return Ok(None) };
    let mut evidence = Evidence::open(package, genesis).map_err(|error| error.to_string())?;
    let is_identity = |origin: &Origin| matches!(origin.subject, Subject::Identity(_));
    let (identities, packages): (Vec<_>, Vec<_>) = logs.iter().partition(|(origin, _)| is_identity(origin));
    for (origin, (head, entries)) in identities.into_iter().chain(packages) {
        evidence.extend(entries, head).map_err(|error| format!("{origin}: {error}"))?;
    }
    for (origin, proof) in &up.truth.forks {
        if evidence.log(origin).is_none() {
            continue;
        }
        let proof = ForkProof::verify(proof).map_err(|error| format!("{origin}: {error}"))?;
        let (n_common, point) = (up.truth.common.get(origin).copied(), up.truth.points.get(origin).cloned());
        evidence.freeze_all([KnownFork { proof, n_common, point }]);
    }
    Ok(Some(evidence))
}

impl Running {
    /// A log's entries from what is written here.
    fn entries(&self, origin: &Origin) -> &[Bytes] {
        let stored = self.stored.get(origin).map_or(&[][..], |stored| stored);
        match self.truth.own.get(origin) {
            Some(own) if own.entries.len() >= stored.len() => &own.entries,
            _ => stored,
        }
    }

    /// What is held of a log.
    fn log(&self, origin: &Origin) -> Option<(&Log, &Head)> {
        let evidence = self.follower.evidence()?;
        Some((evidence.log(origin)?, evidence.head(origin)?))
    }
}
