//! The universe of one run: nodes, the network between them, what goes wrong, and the oracle that looks at all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use syncra_protocol::Timestamp;
use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;

use crate::check::{Invariant, Oracle, Violation};
use crate::disk::{Bytes, Disk, Truth};
use crate::net::{Fate, Links, Queue};
use crate::node::{Cx, Manner, Node, Observation, Out};
use crate::rng::Rng;
use crate::scenario::{Config, Trouble};
use crate::trace::Trace;
use crate::wire::Lane;
use crate::world::{Chain, World};

mod chaos;
mod end;
mod plot;
mod story;
mod warning;

pub use warning::ROUND_MS;

/// One second of virtual time.
pub const SECOND: u64 = 1_000;
/// One minute.
pub const MINUTE: u64 = 60 * SECOND;
/// Milliseconds a message takes when nothing is wrong.
const LATENCY_MS: core::ops::Range<u64> = 1..80;
/// Nodes up to which everybody knows everybody.
const MESH: usize = 12;

/// What happens.
#[derive(Debug)]
enum Event {
    Packet { from: usize, to: usize, connection: u64, lane: Lane, bytes: Bytes },
    Lost { who: usize, epoch: u64, ask: u64 },
    Disk { who: usize, epoch: u64, job: u64 },
    Wake { who: usize, epoch: u64 },
    Start { who: usize },
    Crash { who: usize },
    Publish,
    Chaos,
    Plot,
    Warned { origin: Origin },
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events.
    pub n_events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Nodes.
    pub n_nodes: usize,
    /// Messages sent, and of them lost and doubled.
    pub n_messages: u64,
    /// Of them lost.
    pub n_lost: u64,
    /// Of them doubled.
    pub n_doubled: u64,
    /// Power cuts.
    pub n_crashes: u64,
    /// Partitions.
    pub n_partitions: u64,
    /// Milliseconds from the end of trouble until everybody had everything.
    pub converged_ms: u64,
    /// Honest nodes that were there when a fork showed, and have the proof.
    pub n_warned: u64,
    /// Milliseconds from then until the last of them had it.
    pub warned_ms: u64,
    /// Over how many others the proof of a fork came to the one farthest away.
    pub warned_hops: u64,
    /// What happened, by name.
    pub seen: BTreeMap<&'static str, u64>,
    /// BLAKE3 of everything that happened, in order.
    pub trace: [u8; 32],
}

/// See the [module](self).
#[derive(Debug)]
pub struct Sim {
    config: Config,
    troubles: BTreeSet<Trouble>,
    rng: Rng,
    queue: Queue<Event>,
    links: Links,
    package: PackageId,
    nodes: Vec<Node>,
    index: BTreeMap<Peer, usize>,
    neighbours: BTreeSet<(usize, usize)>,
    /// Pairs that are connected, with the number of the connection.
    connected: BTreeMap<(usize, usize), u64>,
    n_connections: u64,
    banned: BTreeSet<(usize, usize)>,
    oracle: Oracle,
    violation: Option<Violation>,
    trace: Trace,
    summary: Summary,
    started: Timestamp,
    healed: bool,
    n_contents: u32,
    plot: Option<plot::Plot>,
    /// A writer whom nobody hears before the end.
    withheld: Option<usize>,
    /// Homes as they were, and those who have been put back to that.
    snapshots: BTreeMap<usize, Disk>,
    put_back: BTreeSet<usize>,
    warnings: warning::Warnings,
}

const fn pair(a: usize, b: usize) -> (usize, usize) {
    if a < b { (a, b) } else { (b, a) }
}

/// Runs a configuration to its end.
///
/// # Errors
/// The first [`Violation`], with what was done until then.
pub fn run(config: &Config) -> Result<Summary, Box<(Violation, Summary)>> {
    Sim::new(config).run()
}

impl Sim {
    /// A universe before its first event. Equal configurations are equal universes.
    ///
    /// # Panics
    /// With fewer than three nodes.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut rng = Rng::seeded(config.seed);
        let troubles = config.troubles(&mut rng);
        let n_nodes = config.n_nodes.unwrap_or_else(|| 4 + rng.below(5)).max(3);
        let n_writers = 1 + rng.below(3.min(n_nodes - 2));
        let n_needed = 1 + [Trouble::Forks, Trouble::Withheld].iter().filter(|it| troubles.contains(it)).count();
        let n_writers = n_writers.max(n_needed);
        let n_nodes = n_nodes.max(n_writers + 1);
        let mut world = World::new(u8::try_from(n_writers).expect("a few writers"));
        let cast = plot::Cast::of(&troubles, &mut rng, &mut world);
        let mut sim = Self {
            config: config.clone(),
            troubles,
            rng,
            queue: Queue::new(),
            links: Links::new(LATENCY_MS, 0),
            package: world.package,
            nodes: Vec::new(),
            index: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            connected: BTreeMap::new(),
            n_connections: 0,
            banned: BTreeSet::new(),
            oracle: Oracle::default(),
            violation: None,
            trace: Trace::new(),
            summary: Summary { n_nodes, ..Summary::default() },
            started: Queue::<Event>::new().now,
            healed: false,
            n_contents: 0,
            plot: None,
            withheld: None,
            snapshots: BTreeMap::new(),
            put_back: BTreeSet::new(),
            warnings: warning::Warnings::default(),
        };
        if sim.troubles.contains(&Trouble::Withheld) {
            sim.withheld = Some(n_needed - 1 - usize::from(sim.troubles.contains(&Trouble::Forks)));
        }
        for (writer, (identity, log)) in world.identities.iter().zip(&world.writers).enumerate() {
            let forks = sim.troubles.contains(&Trouble::Forks) && writer + 1 == n_writers;
            let manner = if forks { Manner::Forks } else { Manner::Honest };
            sim.add(log.secret(), manner);
            if writer > 0 {
                sim.fetched(writer, &world.writers[0]);
            }
            sim.found(writer, [identity, log]);
        }
        for reader in n_writers..n_nodes {
            // At least one reader is honest.
            let lies = sim.troubles.contains(&Trouble::Liars) && reader > n_writers && sim.rng.chance(40);
            let liar = if lies { sim.rng.pick(&Manner::LIARS).copied() } else { None };
            let mut seed = [0xaa; 32];
            seed[..8].copy_from_slice(&(reader as u64).to_le_bytes());
            sim.add(DeviceSecret::from_seed(&seed), liar.unwrap_or(Manner::Honest));
        }
        sim.plot = cast.map(|cast| sim.engage(cast));
        sim.acquaint();
        sim
    }

    /// The logs that a writer begins with.
    fn found(&mut self, writer: usize, chains: [&Chain; 2]) {
        for chain in chains {
            let founded = self.nodes[writer].found(&chain.entries, chain.origin());
            self.observe(writer, &founded);
        }
    }

    /// Whoever joins a package has its Genesis: that of another's log which was fetched before it joined.
    fn fetched(&mut self, who: usize, of: &Chain) {
        self.nodes[who].knows(&of.entries[..1], &of.head_at(1));
    }

    fn add(&mut self, secret: DeviceSecret, manner: Manner) {
        let mutation = self.config.mutation.filter(|_| manner == Manner::Honest);
        let node = Node::new(secret, manner, mutation);
        match manner {
            Manner::Honest => drop(self.oracle.honest.insert(node.key)),
            Manner::Forks => drop(self.oracle.forkers.insert(node.writer)),
            _ => {}
        }
        self.enter(node);
    }

    fn enter(&mut self, node: Node) {
        let who = self.nodes.len();
        self.index.insert(node.key, who);
        self.queue.schedule(who as u64, Event::Start { who });
        self.nodes.push(node);
    }

    /// Who knows whom: everybody, or, among many, a ring of the honest with chords.
    fn acquaint(&mut self) {
        let n_nodes = self.nodes.len();
        let (honest, liars): (Vec<_>, Vec<_>) = (0..n_nodes).partition(|who| self.is_honest(*who));
        for who in 0..n_nodes {
            if n_nodes <= MESH {
                self.neighbours.extend((0..who).map(|other| pair(who, other)));
            }
        }
        if n_nodes > MESH {
            for (n, who) in honest.iter().enumerate() {
                for step in [1, 2] {
                    self.neighbours.insert(pair(*who, honest[(n + step) % honest.len()]));
                }
                let chord = honest[self.rng.below(honest.len())];
                if chord != *who {
                    self.neighbours.insert(pair(*who, chord));
                }
            }
            for liar in liars {
                for _ in 0..5 {
                    let other = honest[self.rng.below(honest.len())];
                    self.neighbours.insert(pair(liar, other));
                }
            }
        }
    }

    fn is_honest(&self, who: usize) -> bool {
        self.nodes[who].manner == Manner::Honest
    }

    fn since_start(&self) -> u64 {
        self.queue.now.0 - self.started.0
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first [`Violation`], with what was done until then.
    pub fn run(mut self) -> Result<Summary, Box<(Violation, Summary)>> {
        let minutes = self.config.minutes.unwrap_or_else(|| 15 + self.rng.below(45) as u64);
        self.queue.schedule(SECOND, Event::Publish);
        self.queue.schedule(5 * SECOND, Event::Chaos);
        if self.plot.is_some() {
            self.queue.schedule(minutes * MINUTE / 3, Event::Plot);
        }
        self.run_until(Timestamp(self.started.0 + minutes * MINUTE));
        if self.violation.is_none() {
            self.heal();
            self.converge();
        }
        self.summary.virtual_ms = self.since_start();
        self.summary.seen = std::mem::take(&mut self.oracle.seen);
        self.summary.trace = self.trace.finish();
        match self.violation {
            None => Ok(self.summary),
            Some(violation) => Err(Box::new((violation, self.summary))),
        }
    }

    fn run_until(&mut self, end: Timestamp) {
        while self.violation.is_none() && self.queue.next_at().is_some_and(|at| at <= end) {
            let Some(event) = self.queue.pop() else { break };
            self.summary.n_events += 1;
            self.happen(event);
        }
        self.queue.now = self.queue.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        let now = self.queue.now;
        match event {
            Event::Packet { from, to, connection, lane, bytes } => {
                if self.connected.get(&pair(from, to)) == Some(&connection) {
                    let (code, number) = lane.code();
                    self.trace.event(now, code, to, number, &bytes);
                    let peer = self.nodes[from].key;
                    self.with(to, |node, cx| node.on_packet(cx, peer, lane, &bytes));
                }
            }
            Event::Lost { who, epoch, ask } if self.nodes[who].epoch == epoch => {
                self.trace.event(now, 10, who, ask, &[]);
                self.with(who, |node, cx| node.on_lost(cx, ask));
            }
            Event::Disk { who, epoch, job } if self.nodes[who].epoch == epoch => {
                self.trace.event(now, 11, who, job, &[]);
                self.with(who, |node, cx| node.on_disk(cx, job));
            }
            Event::Wake { who, epoch } if self.nodes[who].epoch == epoch => {
                self.trace.event(now, 12, who, 0, &[]);
                self.with(who, Node::on_wake);
            }
            Event::Lost { .. } | Event::Disk { .. } | Event::Wake { .. } => {} // of a life before the last crash
            Event::Start { who } => self.start(who),
            Event::Crash { who } if !self.healed => self.crash_for_a_while(who),
            Event::Crash { .. } => {}
            Event::Publish => self.on_publish(),
            Event::Chaos => self.on_chaos(),
            Event::Plot => self.on_plot(),
            Event::Warned { origin } => self.must_be_warned(&origin),
        }
    }

    /// Lets something happen to a node, then does what it does.
    fn with(&mut self, who: usize, what: impl FnOnce(&mut Node, &mut Cx<'_>)) {
        let now = self.queue.now;
        let node = &mut self.nodes[who];
        let time = node.time(now);
        let mut cx = Cx { now: time, rng: &mut self.rng, package: self.package, out: Vec::new() };
        what(node, &mut cx);
        let out = cx.out;
        let epoch = node.epoch;
        if let Some(at) = node.next_wake(time) {
            self.queue.schedule(at.0 - time.0, Event::Wake { who, epoch });
        }
        for out in out {
            match out {
                Out::Send { to, lane, bytes, after_ms } => self.send(who, to, lane, &bytes, after_ms),
                Out::Disk { in_ms, job } => self.queue.schedule(in_ms, Event::Disk { who, epoch, job }),
                Out::Ban(peer) => self.ban(who, peer),
                Out::Observed(observation) => self.observe(who, &observation),
            }
        }
        if self.is_honest(who)
            && let Err((invariant, what)) = self.oracle.bounds(&self.nodes[who])
        {
            self.violate(who, invariant, what);
        }
    }

    fn observe(&mut self, who: usize, observation: &Observation) {
        if !self.is_honest(who) {
            if let Observation::Signed { first, entries, head } = observation {
                self.oracle.spoke(*first, entries, head);
            }
            return;
        }
        if let Err((invariant, what)) = self.oracle.observe(who, observation) {
            self.violate(who, invariant, what);
        }
        self.watch_for_forks(who, observation);
    }

    fn violate(&mut self, who: usize, invariant: Invariant, what: String) {
        let at_ms = self.since_start();
        self.violation.get_or_insert(Violation { invariant, at_ms, who, what });
    }

    fn send(&mut self, from: usize, to: Peer, lane: Lane, bytes: &Bytes, after_ms: u64) {
        let Some(to) = self.index.get(&to).copied() else { return };
        let Some(connection) = self.connected.get(&pair(from, to)).copied() else {
            if let Lane::AskLog(ask) | Lane::AskHave(ask) | Lane::AskBlobs(ask) = lane {
                let epoch = self.nodes[from].epoch;
                self.queue.schedule(7, Event::Lost { who: from, epoch, ask });
            }
            return;
        };
        self.summary.n_messages += 1;
        let (a, b) = (self.nodes[from].key, self.nodes[to].key);
        let n_copies = if self.troubles.contains(&Trouble::Duplicates) && self.rng.chance(5) { 2 } else { 1 };
        self.summary.n_doubled += n_copies - 1;
        for _ in 0..n_copies {
            match self.links.send(&mut self.rng, a, b) {
                Fate::Arrives(ms) => {
                    let packet = Event::Packet { from, to, connection, lane, bytes: Rc::clone(bytes) };
                    self.queue.schedule(after_ms + ms, packet);
                }
                Fate::Parted => {}
                Fate::Lost => {
                    self.summary.n_lost += 1;
                    self.broke(from, to, lane);
                }
            }
        }
    }

    /// Whoever waits on a broken stream may be told, or may find out by the clock.
    fn broke(&mut self, from: usize, to: usize, lane: Lane) {
        let (who, ask) = match lane {
            Lane::AskLog(ask) | Lane::AskHave(ask) | Lane::AskBlobs(ask) => (from, ask),
            Lane::Answer(ask) | Lane::Blob(ask, _) => (to, ask),
            Lane::Notice => return,
        };
        if self.rng.chance(50) {
            let epoch = self.nodes[who].epoch;
            self.queue.schedule(7, Event::Lost { who, epoch, ask });
        }
    }

    fn ban(&mut self, who: usize, peer: Peer) {
        if let Some(other) = self.index.get(&peer).copied() {
            self.banned.insert(pair(who, other));
            self.disconnect(who, other);
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let pair = pair(a, b);
        let (key_a, key_b) = (self.nodes[a].key, self.nodes[b].key);
        let can = self.neighbours.contains(&pair)
            && !self.connected.contains_key(&pair)
            && !self.banned.contains(&pair)
            && !self.is_withheld(a)
            && !self.is_withheld(b)
            && !self.links.is_parted(key_a, key_b)
            && self.nodes[a].up.is_some()
            && self.nodes[b].up.is_some();
        if can {
            self.n_connections += 1;
            self.connected.insert(pair, self.n_connections);
            self.trace.event(self.queue.now, 13, a, b as u64, &[]);
            self.with(a, |node, cx| node.on_peer(cx, key_b));
            self.with(b, |node, cx| node.on_peer(cx, key_a));
        }
    }

    /// Whether nobody hears this writer now: once it knows the package, and until the end.
    fn is_withheld(&self, who: usize) -> bool {
        let knows = |up: &crate::node::Running| up.truth.known.len() > 1;
        self.withheld == Some(who) && !self.healed && self.nodes[who].up.as_ref().is_none_or(knows)
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        if self.connected.remove(&pair(a, b)).is_some() {
            self.trace.event(self.queue.now, 14, a, b as u64, &[]);
            let (key_a, key_b) = (self.nodes[a].key, self.nodes[b].key);
            self.with(a, |node, cx| node.on_peer_gone(cx, key_b));
            self.with(b, |node, cx| node.on_peer_gone(cx, key_a));
        }
    }

    fn start(&mut self, who: usize) {
        if self.nodes[who].up.is_some() || self.is_absent(who) {
            return;
        }
        self.trace.event(self.queue.now, 15, who, 0, &[]);
        let mut has_started = false;
        self.with(who, |node, cx| has_started = node.start(cx));
        if !has_started {
            return self.queue.schedule(10 * SECOND, Event::Start { who });
        }
        if self.nodes[who].disk.is_copy {
            // Its user does not know better.
            self.publish(who);
        }
        for other in 0..self.nodes.len() {
            if other != who {
                self.connect(who, other);
            }
        }
    }

    fn crash(&mut self, who: usize) {
        if self.nodes[who].up.is_none() {
            return;
        }
        self.summary.n_crashes += 1;
        self.trace.event(self.queue.now, 16, who, 0, &[]);
        self.nodes[who].crash(&mut self.rng);
        for other in 0..self.nodes.len() {
            if other != who {
                self.disconnect(who, other);
            }
        }
    }

    /// What an own log is now: what everybody is to have in the end.
    fn truth(&self, who: usize) -> Option<&Truth> {
        self.nodes[who].up.as_ref().map(|up| &up.truth)
    }
}
