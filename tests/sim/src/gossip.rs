//! Gossip of head notices in a crowd, some of which mean harm: the real [`Notices`] and [`Scores`] of each node.
//!
//! The carrier is a model of gossipsub as `node/src/net/gossip.rs` configures it, because the real one draws its randomness
//! and its time from the machine: everybody is connected with everybody, as on a LAN; a mesh; ids of messages that are
//! remembered. Left out is what only adds to delivery: offers of messages to those outside the mesh. What the node does around
//! the machines mirrors `node/src/sync/gossip.rs` and `node/src/net/swarm/conduct.rs`; change both together.
//!
//! | file | holds |
//! |---|---|
//! | [`member`] | an honest node |
//! | [`attack`] | what the others send |
//!
//! [`Notices`]: syncra_protocol::sync::gossip::Notices
//! [`Scores`]: syncra_protocol::sync::score::Scores

pub mod attack;
pub mod member;

use std::collections::BTreeMap;
use std::rc::Rc;

use syncra_protocol::Timestamp;
use syncra_protocol::id::PackageId;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;

use crate::net::Queue;
use crate::rng::Rng;
use crate::world::Chain;
use attack::{Attack, Attacker};
use member::{Answer, Load, Member, Want};

/// Peers that a notice goes to: wanted, fewest and most; `node/src/net/limits.rs`.
const MESH: usize = 6;
const MESH_LEAST: usize = 4;
const MESH_MOST: usize = 12;
/// Peers outside the mesh that are offered messages with each heartbeat (the library: 6, or a quarter of all).
const OFFERS: usize = 6;
const HEARTBEAT_MS: u64 = 10_000;
/// One way between two neighbours, and from the verified entries to the medium.
const LATENCY_MS: core::ops::Range<u64> = 1..6;
const SYNC_MS: core::ops::Range<u64> = 2..20;
/// Peers asked when the bringer of a notice does not deliver; `node/src/sync/gossip.rs`.
const OTHERS_ASKED: usize = 4;
/// How often attackers send, and how many messages at a time, to one victim after the other: a thousand a second.
const ATTACK_MS: u64 = 100;
const ATTACK_MESSAGES: usize = 100;
/// News counts as delivered within this time: as long as a notice is remembered on its way.
pub const IN_TIME_MS: u64 = 60_000;

/// One run: equal configurations are equal runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Decides everything that is not said here.
    pub seed: u64,
    /// Honest nodes.
    pub n_honest: usize,
    /// Of these, who publish, each every 20 to 40 s.
    pub n_writers: usize,
    /// What attackers do: one for each.
    pub attacks: Vec<Attack>,
    /// Honest nodes that they send to.
    pub n_victims: usize,
    /// Virtual minutes.
    pub minutes: u64,
    /// A fault that is put into all honest nodes.
    pub mutation: Option<Mutation>,
}

impl Config {
    /// A hundred nodes: ninety honest ones, of whom twenty publish, and ten who do one of these each in turn.
    #[must_use]
    pub fn seeded(seed: u64, attacks: &[Attack]) -> Self {
        let attacks = attacks.iter().cycle().take(if attacks.is_empty() { 0 } else { 10 }).copied().collect();
        Self { seed, n_honest: 90, n_writers: 20, attacks, n_victims: 90, minutes: 15, mutation: None }
    }
}

/// A fault that is put into all honest nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Passes on whatever comes.
    JudgesNothing,
    /// Counts nothing against anybody.
    ForgivesAll,
    /// Takes what poor peers bring for nothing, instead of asking others.
    IgnoresThePoor,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pieces of news, times the nodes that are to hear of each.
    pub n_wanted: usize,
    /// Of these, how many were held in time.
    pub n_delivered: usize,
    /// Milliseconds until then: of half of them, of 99 of 100, and of all.
    pub delays_ms: [u64; 3],
    /// The honest node with the most to do.
    pub worst: Load,
    /// Messages that attackers got through to somebody.
    pub n_attacks: u64,
    /// Messages of attackers that honest nodes passed on.
    pub n_passed_on: u64,
    /// Honest peers shut out by honest peers.
    pub n_framed: usize,
    /// Pairs of an honest node and an attacker that it has shut out at the end.
    pub n_shut_out: usize,
}

impl Summary {
    /// Of a hundred thousand pieces of news, how many came in time.
    #[must_use]
    pub fn delivered_per_100_000(&self) -> usize {
        self.n_delivered * 100_000 / self.n_wanted.max(1)
    }
}

/// A message on its way: its note, and its id.
#[derive(Debug, Clone)]
pub struct Message {
    /// Stands for the hash of the note: equal notes have equal ids.
    pub id: u64,
    /// The note.
    pub note: Rc<[u8]>,
}

impl Message {
    /// A message with this note.
    #[must_use]
    pub fn new(note: &[u8]) -> Self {
        let hash = blake3::hash(note);
        let id = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of 32 bytes"));
        Self { id, note: note.into() }
    }
}

enum Event {
    Arrives { to: usize, from: usize, message: Message },
    Asks { of: usize, by: usize, head: Head },
    Answers { to: usize, from: usize, answer: Answer },
    Synced { at: usize, answer: Answer },
    Wakes(usize),
    Publishes(usize),
    Attacks(usize),
    Heartbeat,
}

/// All of one run.
struct Crowd {
    config: Config,
    rng: Rng,
    queue: Queue<Event>,
    members: Vec<Member>,
    attackers: Vec<Attacker>,
    /// Honest writers' logs, as they have them.
    chains: Vec<Chain>,
    /// When each size of each log was published.
    published: BTreeMap<(usize, u64), Timestamp>,
    delays_ms: Vec<u64>,
    summary: Summary,
}

/// The peer with this number: honest nodes first, then attackers.
#[must_use]
pub fn peer(n: usize) -> Peer {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
    Peer::from_bytes(bytes)
}

/// The number of a peer.
#[must_use]
pub fn number(peer: &Peer) -> usize {
    let bytes = peer.as_bytes()[..8].try_into().expect("eight of 32 bytes");
    usize::try_from(u64::from_le_bytes(bytes)).expect("a peer of this run")
}

/// The log of a package that this writer alone writes. Those of attackers come first in every order.
#[must_use]
pub fn chain(seed: u8, is_honest: bool) -> Chain {
    let package = PackageId::from_bytes([if is_honest { seed | 0x80 } else { seed & 0x7f }; 32]);
    Chain::new(seed, |key| Origin::package(package, key))
}

/// Runs it.
#[must_use]
pub fn run(config: &Config) -> Summary {
    Crowd::new(config.clone()).run()
}

impl Crowd {
    fn new(config: Config) -> Self {
        let mut rng = Rng::seeded(config.seed);
        let seed = |n: usize| u8::try_from(n).expect("few writers");
        let chains: Vec<Chain> = (0..config.n_writers).map(|n| chain(seed(1 + n), true)).collect();
        let attackers: Vec<Attacker> = config
            .attacks
            .iter()
            .enumerate()
            .map(|(n, attack)| Attacker::new(*attack, seed(150 + 10 * n), &mut rng))
            .collect();
        let known: Vec<Origin> =
            chains.iter().map(Chain::origin).chain(attackers.iter().flat_map(Attacker::origins)).collect();
        let members = (0..config.n_honest).map(|_| Member::new(&known, config.mutation)).collect();
        let (queue, published, delays_ms, summary) = (Queue::new(), BTreeMap::new(), Vec::new(), Summary::default());
        let mut crowd = Self { config, rng, queue, members, attackers, chains, published, delays_ms, summary };
        crowd.weave();
        crowd
    }

    const fn n_all(&self) -> usize {
        self.members.len() + self.attackers.len()
    }

    /// Each looks for some; attackers then take all the room that is left.
    fn weave(&mut self) {
        (0..self.members.len()).for_each(|at| self.graft(at));
        for at in 0..self.members.len() {
            for attacker in self.members.len()..self.n_all() {
                if self.members[at].mesh.len() < MESH_MOST {
                    self.members[at].mesh.insert(attacker);
                }
            }
        }
    }

    /// Looks for more who have room, whoever they are.
    fn graft(&mut self, at: usize) {
        for _ in 0..10 * self.n_all() {
            if self.members[at].mesh.len() >= MESH {
                return;
            }
            let other = self.rng.below(self.n_all());
            let has_room = self.members.get(other).is_none_or(|member| member.mesh.len() < MESH_MOST);
            if other != at && has_room && !self.members[at].shuts_out(other) {
                self.members[at].mesh.insert(other);
                if let Some(member) = self.members.get_mut(other) {
                    member.mesh.insert(at);
                }
            }
        }
    }

    /// Offers what was passed on lately to some outside the mesh; what they have not seen they ask for.
    fn offer(&mut self, from: usize) {
        for _ in 0..OFFERS {
            let to = self.rng.below(self.members.len());
            if to == from || self.members[from].mesh.contains(&to) {
                continue;
            }
            let unseen: Vec<Message> = self.members[from].offers(&self.members[to]).cloned().collect();
            for message in unseen {
                let in_ms = 3 * self.rng.between(LATENCY_MS);
                self.queue.schedule(in_ms, Event::Arrives { to, from, message });
            }
        }
    }

    fn run(mut self) -> Summary {
        let end = Timestamp(self.queue.now.0 + self.config.minutes * 60_000);
        self.queue.schedule(HEARTBEAT_MS, Event::Heartbeat);
        for writer in 0..self.chains.len() {
            let in_ms = self.rng.between(0..30_000);
            self.queue.schedule(in_ms, Event::Publishes(writer));
        }
        for attacker in 0..self.attackers.len() {
            self.queue.schedule(ATTACK_MS, Event::Attacks(attacker));
        }
        while self.queue.next_at().is_some_and(|at| at <= Timestamp(end.0 + IN_TIME_MS)) {
            let event = self.queue.pop().expect("there is one");
            let is_over = self.queue.now > end;
            if !(is_over && matches!(event, Event::Publishes(_) | Event::Attacks(_))) {
                self.on(event);
            }
        }
        self.sum_up()
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Arrives { to, from, message } => self.on_arrival(to, from, message),
            Event::Asks { of, by, head } => self.on_question(of, by, head),
            Event::Answers { to, from, answer } => {
                if !self.members[to].shuts_out(from) {
                    let in_ms = self.rng.between(SYNC_MS);
                    self.queue.schedule(in_ms, Event::Synced { at: to, answer });
                }
            }
            Event::Synced { at, answer } => self.on_synced(at, &answer),
            Event::Wakes(at) => {
                let now = self.queue.now;
                self.members[at].handle_timeout(now);
                self.obey(at);
            }
            Event::Publishes(writer) => self.on_publish(writer),
            Event::Attacks(attacker) => self.on_attack(attacker),
            Event::Heartbeat => {
                for at in 0..self.members.len() {
                    self.members[at].forget(self.queue.now);
                    if self.members[at].mesh.len() < MESH_LEAST {
                        self.graft(at);
                    }
                    self.offer(at);
                }
                self.queue.schedule(HEARTBEAT_MS, Event::Heartbeat);
            }
        }
    }

    fn on_arrival(&mut self, to: usize, from: usize, message: Message) {
        if let Some(attacker) = to.checked_sub(self.members.len()) {
            self.overheard(attacker, &message);
            return;
        }
        if self.members[to].shuts_out(from) {
            return;
        }
        self.summary.n_attacks += u64::from(from >= self.members.len());
        let now = self.queue.now;
        self.members[to].on_message(now, from, message);
        self.obey(to);
    }

    /// An attacker that censors tells all others first.
    fn overheard(&mut self, attacker: usize, message: &Message) {
        if self.attackers[attacker].overhears(message) {
            let from = self.members.len() + attacker;
            for to in 0..self.members.len() {
                self.queue.schedule(1, Event::Arrives { to, from, message: message.clone() });
            }
        }
    }

    fn on_question(&mut self, of: usize, by: usize, head: Head) {
        // Attackers answer nothing.
        let Some(member) = self.members.get(of) else { return };
        if member.shuts_out(by) {
            return;
        }
        if let Some(answer) = member.answer(&head) {
            let in_ms = self.rng.between(LATENCY_MS);
            self.queue.schedule(in_ms, Event::Answers { to: by, from: of, answer });
        }
    }

    fn on_synced(&mut self, at: usize, answer: &Answer) {
        let now = self.queue.now;
        let Some((before, after)) = self.members[at].take(now, answer) else { return };
        if let Some(writer) = self.chains.iter().position(|chain| chain.origin() == *answer.head.origin()) {
            for size in before + 1..=after {
                let since = now.since(self.published[&(writer, size)]);
                self.delays_ms.push(u64::try_from(since.as_millis()).expect("a short run"));
            }
        }
        self.obey(at);
    }

    fn on_publish(&mut self, writer: usize) {
        let chain = &mut self.chains[writer];
        chain.append_bytes(self.rng.next().to_le_bytes().to_vec());
        let answer = Answer {
            head: chain.head(),
            from: chain.size() - 1,
            entries: chain.slice(chain.size() - 1, chain.size()).to_vec(),
        };
        self.published.insert((writer, answer.head.size()), self.queue.now);
        self.summary.n_wanted += self.members.len() - 1;
        let now = self.queue.now;
        self.members[writer].take(now, &answer);
        self.obey(writer);
        let in_ms = self.rng.between(20_000..40_000);
        self.queue.schedule(in_ms, Event::Publishes(writer));
    }

    fn on_attack(&mut self, attacker: usize) {
        let from = self.members.len() + attacker;
        let now = self.queue.now;
        for n in 0..ATTACK_MESSAGES {
            let open = (0..self.config.n_victims).filter(|to| !self.members[*to].shuts_out(from));
            let victims: Vec<usize> = open.collect();
            let nth = usize::try_from(now.0).expect("a short run") / 100 * ATTACK_MESSAGES + n;
            let Some(to) = victims.get(nth % victims.len().max(1)) else { break };
            if let Some(message) = self.attackers[attacker].next(now, *to, &self.chains, &mut self.rng) {
                self.on_arrival(*to, from, message);
            }
        }
        self.queue.schedule(ATTACK_MS, Event::Attacks(attacker));
    }

    /// Does what a member wants.
    fn obey(&mut self, at: usize) {
        while let Some(want) = self.members[at].next_want(self.queue.now) {
            match want {
                Want::Send { message, except } => self.send(at, &message, except),
                Want::Ask { peer: Some(of), head } => self.ask(of, at, head),
                Want::Ask { peer: None, head } => {
                    for _ in 0..OTHERS_ASKED {
                        let of = self.rng.below(self.n_all());
                        if of != at && !self.members[at].shuts_out(of) {
                            self.ask(of, at, head.clone());
                        }
                    }
                }
                Want::ShutOut(peer) => {
                    self.members[at].mesh.remove(&peer);
                    if let Some(other) = self.members.get_mut(peer) {
                        other.mesh.remove(&at);
                        self.summary.n_framed += 1;
                    }
                }
                Want::Wake(at_time) => {
                    let in_ms = at_time.0.saturating_sub(self.queue.now.0);
                    self.queue.schedule(in_ms, Event::Wakes(at));
                }
            }
        }
    }

    fn ask(&mut self, of: usize, by: usize, head: Head) {
        let in_ms = self.rng.between(LATENCY_MS);
        self.queue.schedule(in_ms, Event::Asks { of, by, head });
    }

    fn send(&mut self, from: usize, message: &Message, except: Option<usize>) {
        self.summary.n_passed_on += u64::from(except.is_some_and(|peer| peer >= self.members.len()));
        for to in self.members[from].mesh.clone() {
            if Some(to) != except {
                let in_ms = self.rng.between(LATENCY_MS);
                self.queue.schedule(in_ms, Event::Arrives { to, from, message: message.clone() });
            }
        }
    }

    fn sum_up(mut self) -> Summary {
        self.delays_ms.sort_unstable();
        let all = &self.delays_ms;
        self.summary.n_delivered = all.iter().filter(|delay| **delay <= IN_TIME_MS).count();
        let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
        self.summary.delays_ms = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or_default());
        self.summary.worst = self.members.iter().map(Member::load).reduce(Load::worst).unwrap_or_default();
        let attackers = self.members.len()..self.n_all();
        let shut_out = |member: &Member| attackers.clone().filter(|peer| member.shuts_out(*peer)).count();
        self.summary.n_shut_out = self.members.iter().map(shut_out).sum();
        self.summary
    }
}
