//! Nodes that follow and serve one package in virtual time, some of them liars.

use std::collections::BTreeMap;
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::bounded::Blob;
use syncra_protocol::entry::Body;
use syncra_protocol::evidence::Evidence;
use syncra_protocol::id::{EntryId, IdentityId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::cosignature::Cosignature;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::message::log::{Entries, Heads};
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Ask, Commit, Effect, Failure, Fault, Follower, Input};
use syncra_protocol::sync::omission::Omissions;

use syncra_sim::net::{Fate, Links, Queue};
use syncra_sim::rng::Rng;
use syncra_sim::world::{Chain, World};

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

/// How a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    Honest,
    /// Never answers.
    Silent,
    /// Promises the newest heads and sends no entries.
    Empty,
    /// Changes a byte of an entry.
    Corrupt,
    /// Changes a hash of a proof.
    BadProof,
    /// Changes a byte of a signature.
    BadNote,
    /// Sends another package's Genesis.
    BadGenesis,
    Busy,
    Refusing,
    Oversized,
    Malformed,
}

impl Manner {
    pub(crate) const LIARS: [Self; 10] = [
        Self::Silent,
        Self::Empty,
        Self::Corrupt,
        Self::BadProof,
        Self::BadNote,
        Self::BadGenesis,
        Self::Busy,
        Self::Refusing,
        Self::Oversized,
        Self::Malformed,
    ];
}

/// One log as a node holds and serves it.
pub(crate) struct Stored {
    pub(crate) log: Log,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) head: Head,
}

impl Stored {
    pub(crate) fn of(chain: &Chain, size: u64) -> Self {
        let chain = chain.fork(size);
        Self { head: chain.head(), entries: chain.entries, log: chain.log }
    }
}

pub(crate) struct Node {
    pub(crate) peer: Peer,
    pub(crate) manner: Manner,
    pub(crate) follower: Option<Follower>,
    /// What is durable here, and served.
    pub(crate) store: BTreeMap<Origin, Stored>,
    pub(crate) faults: Vec<(Peer, Fault)>,
    pub(crate) common: Vec<(Origin, u64)>,
    pub(crate) points: Vec<ForkPoint>,
    pub(crate) omissions: Omissions,
    /// What it heard of witnesses and passes on.
    pub(crate) said: Vec<Cosignature>,
    /// Heads that came with what witnesses say.
    pub(crate) cosigned: Vec<Head>,
    pub(crate) n_updates: usize,
    pub(crate) n_retries: usize,
}

pub(crate) enum Event {
    Asked { by: usize, of: usize, ask: Ask, from: u64 },
    Told { who: usize, input: Box<Input> },
    Durable { who: usize, commit: Box<Commit> },
}

pub(crate) struct Sim {
    pub(crate) rng: Rng,
    pub(crate) queue: Queue<Event>,
    pub(crate) links: Links,
    pub(crate) nodes: Vec<Node>,
    pub(crate) world: World,
    /// Percent of commits that fail.
    pub(crate) disk_fails: u64,
    /// How often anybody was asked for heads.
    pub(crate) n_heads_asked: usize,
    identity_geneses: Vec<Vec<u8>>,
}

impl Sim {
    pub(crate) fn seeded(seed: u64, world: World) -> Self {
        let links = Links::new(5..80, 0);
        let identity_geneses = world.identities.iter().map(|chain| chain.entries[0].clone()).collect();
        let (rng, queue) = (Rng::seeded(seed), Queue::new());
        Self { rng, queue, links, nodes: vec![], world, disk_fails: 0, n_heads_asked: 0, identity_geneses }
    }

    /// A node that holds nothing and follows.
    pub(crate) fn reader(&mut self) -> usize {
        let follower = Follower::new(self.world.package);
        self.add(Manner::Honest, Some(follower), BTreeMap::new())
    }

    /// A node that follows, and that holds and appends to an owner's logs.
    pub(crate) fn author(&mut self, owner: usize) -> usize {
        let chains = [&self.world.identities[owner], &self.world.writers[owner]];
        let store = chains.map(|chain| (chain.origin(), Stored::of(chain, chain.size()))).into();
        let mut evidence = Evidence::open(self.world.package, &self.world.genesis).unwrap();
        for chain in chains {
            evidence.extend(&chain.entries, &chain.head()).unwrap();
        }
        self.add(Manner::Honest, Some(Follower::resume(evidence)), store)
    }

    /// A node that serves what the world holds now, and learns nothing.
    pub(crate) fn server(&mut self, manner: Manner) -> usize {
        let chains = self.world.chains();
        let store = chains.iter().map(|chain| (chain.origin(), Stored::of(chain, chain.size()))).collect();
        self.add(manner, None, store)
    }

    fn add(&mut self, manner: Manner, follower: Option<Follower>, store: BTreeMap<Origin, Stored>) -> usize {
        let seed = u8::try_from(200 + self.nodes.len()).unwrap();
        let peer = DeviceSecret::from_seed(&[seed; 32]).public();
        let (faults, common, points, omissions, said, cosigned) = Default::default();
        let (n_updates, n_retries) = (0, 0);
        let node = Node {
            peer,
            manner,
            follower,
            store,
            faults,
            common,
            points,
            omissions,
            said,
            cosigned,
            n_updates,
            n_retries,
        };
        self.nodes.push(node);
        let new = self.nodes.len() - 1;
        for other in 0..new {
            self.meet(new, other);
        }
        new
    }

    fn meet(&mut self, a: usize, b: usize) {
        for (who, other) in [(a, b), (b, a)] {
            let input = Box::new(Input::PeerUp(self.nodes[other].peer));
            self.queue.schedule(1, Event::Told { who, input });
        }
    }

    pub(crate) fn part(&mut self, a: usize, b: usize) {
        let (peer_a, peer_b) = (self.nodes[a].peer, self.nodes[b].peer);
        if !self.links.is_parted(peer_a, peer_b) {
            self.links.part(peer_a, peer_b);
            for (who, other) in [(a, peer_b), (b, peer_a)] {
                self.queue.schedule(0, Event::Told { who, input: Box::new(Input::PeerGone(other)) });
            }
        }
    }

    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        let (peer_a, peer_b) = (self.nodes[a].peer, self.nodes[b].peer);
        if self.links.is_parted(peer_a, peer_b) {
            self.links.heal(peer_a, peer_b);
            self.meet(a, b);
        }
    }

    pub(crate) fn heal_all(&mut self) {
        self.links.loss_percent = 0;
        self.disk_fails = 0;
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.heal(a, b);
            }
        }
    }

    /// An author appends, tells itself, and pushes the note to everybody it reaches.
    pub(crate) fn append(&mut self, author: usize, owner: usize, body: Body) {
        let seen = self.unseen(author, owner);
        let chain = &mut self.world.writers[owner];
        chain.append(seen, body);
        let head = chain.head();
        let last = chain.slice(head.size() - 1, head.size()).to_vec();
        let stored = Stored::of(chain, head.size());
        let now = self.queue.now;
        self.nodes[author].store.insert(*head.origin(), stored);
        self.nodes[author].follower.as_mut().unwrap().adopt(now, &last, &head).unwrap();
        self.perform(author);
        self.push(author, &head);
    }

    /// The other writers' counted heads that this author holds, sometimes.
    fn unseen(&mut self, author: usize, owner: usize) -> Vec<syncra_protocol::entry::SeenHead> {
        if self.rng.chance(60) {
            return vec![];
        }
        let own = self.world.writers[owner].origin();
        let evidence = self.nodes[author].follower.as_ref().unwrap().evidence().unwrap();
        let others = evidence.frontier().0.into_iter().filter(|(origin, _)| *origin != own);
        others
            .map(|(origin, head)| syncra_protocol::entry::SeenHead { origin, size: head.size, root: head.root })
            .collect()
    }

    fn push(&mut self, from: usize, head: &Head) {
        for to in 0..self.nodes.len() {
            if to != from {
                let note = head.note().to_vec();
                let input = Input::Notice { peer: self.nodes[from].peer, note };
                self.tell(from, to, input);
            }
        }
    }

    /// Sends something that nobody waits for.
    pub(crate) fn tell(&mut self, from: usize, to: usize, input: Input) {
        let fate = self.links.send(&mut self.rng, self.nodes[from].peer, self.nodes[to].peer);
        if let Fate::Arrives(ms) = fate {
            self.queue.schedule(ms, Event::Told { who: to, input: Box::new(input) });
        }
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = Timestamp(self.queue.now.0 + ms);
        let mut n_steps = 0;
        while self.step(end) {
            n_steps += 1;
            assert!(n_steps < 200_000, "the simulation does not come to rest");
        }
        self.queue.now = end;
    }

    fn step(&mut self, end: Timestamp) -> bool {
        let timeouts = self.nodes.iter().enumerate();
        let timeouts = timeouts.filter_map(|(n, node)| Some((node.follower.as_ref()?.next_timeout()?, n)));
        let timeout = timeouts.min();
        let event = self.queue.next_at();
        match (timeout, event) {
            (Some((at, who)), _) if event.is_none_or(|event| at < event) && at <= end => {
                assert!(at >= self.queue.now, "a time-out in the past");
                self.queue.now = at;
                self.nodes[who].follower.as_mut().unwrap().handle_timeout(at);
                self.perform(who);
                true
            }
            (_, Some(at)) if at <= end => {
                let event = self.queue.pop().unwrap();
                self.happen(event);
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Told { who, input } => self.input(who, *input),
            Event::Asked { by, of, ask, from } => self.answer(by, of, ask, from),
            Event::Durable { who, commit } => {
                let origin = commit.origin;
                if self.rng.chance(self.disk_fails) {
                    return self.input(who, Input::CommitFailed(origin));
                }
                let chain = if self.nodes[who].store.contains_key(&origin) { None } else { Some(Log::new(origin)) };
                let stored = self.nodes[who].store.entry(origin).or_insert_with(|| Stored {
                    log: chain.expect("just made"),
                    entries: vec![],
                    head: commit.head.clone(),
                });
                assert_eq!(stored.log.size(), commit.first, "a commit begins where the last one ended");
                stored.log.extend(&commit.entries, &commit.head).unwrap();
                stored.entries.extend(commit.entries);
                stored.head = commit.head.clone();
                self.input(who, Input::Committed(origin));
                self.push(who, &commit.head);
            }
        }
    }

    pub(crate) fn input(&mut self, who: usize, input: Input) {
        let now = self.queue.now;
        if let Some(follower) = &mut self.nodes[who].follower {
            follower.handle(now, input);
            self.perform(who);
        }
    }

    fn perform(&mut self, who: usize) {
        let mut asks = Vec::new();
        let node = &mut self.nodes[who];
        let Some(follower) = &mut node.follower else { return };
        while let Some(effect) = follower.poll_effect() {
            match effect {
                Effect::AskHeads { peer } => {
                    self.n_heads_asked += 1;
                    asks.push((peer, Ask::Heads, 0));
                }
                Effect::AskEntries { peer, origin, from } => asks.push((peer, Ask::Entries(origin), from)),
                Effect::Commit(commit) => {
                    let ms = self.rng.between(1..30);
                    self.queue.schedule(ms, Event::Durable { who, commit: Box::new(commit) });
                }
                Effect::Updated(changes) => {
                    assert!(!changes.is_empty());
                    node.n_updates += 1;
                }
                Effect::Fault { peer, fault } => node.faults.push((peer, fault)),
                Effect::Common { origin, n_common } => node.common.push((origin, n_common)),
                Effect::ForkPoint(point) => node.points.push(*point),
                Effect::Shown { peer, shown } => node.omissions.answered(self.queue.now, peer, &shown),
                Effect::Cosigned(head) => node.cosigned.push(head),
                Effect::RetryAt(at) => {
                    assert!(at > self.queue.now);
                    node.n_retries += 1;
                }
            }
        }
        // Durable before use: what counts is never more than what is stored.
        if let Some(evidence) = follower.evidence() {
            for head in evidence.heads() {
                assert_eq!(node.store.get(head.origin()).map(|stored| stored.log.size()), Some(head.size()));
            }
        }
        for (peer, ask, from) in asks {
            self.ask(who, peer, ask, from);
        }
    }

    fn ask(&mut self, by: usize, peer: Peer, ask: Ask, from: u64) {
        let of = self.nodes.iter().position(|node| node.peer == peer).unwrap();
        match self.links.send(&mut self.rng, self.nodes[by].peer, peer) {
            Fate::Arrives(ms) => self.queue.schedule(ms, Event::Asked { by, of, ask, from }),
            Fate::Parted => self.fail(by, peer, ask, Failure::Lost),
            Fate::Lost if self.rng.chance(50) => self.fail(by, peer, ask, Failure::Lost),
            Fate::Lost => {}
        }
    }

    fn fail(&mut self, who: usize, peer: Peer, ask: Ask, failure: Failure) {
        let input = Box::new(Input::Failed { peer, ask, failure });
        self.queue.schedule(7, Event::Told { who, input });
    }

    fn answer(&mut self, by: usize, of: usize, ask: Ask, from: u64) {
        let peer = self.nodes[of].peer;
        let failure = match self.nodes[of].manner {
            Manner::Silent => return,
            Manner::Busy => Some(Failure::Busy { retry_after: Duration::MAX }),
            Manner::Refusing => Some(Failure::Refused),
            Manner::Oversized => Some(Failure::Oversized),
            Manner::Malformed => Some(Failure::Malformed),
            _ => None,
        };
        if let Some(failure) = failure {
            return self.fail(by, peer, ask, failure);
        }
        let input = match ask {
            Ask::Heads => self.heads(of).map(|heads| Input::Heads { peer, heads }),
            Ask::Entries(origin) => {
                self.entries(of, &origin, from).map(|entries| Input::Entries { peer, origin, from, entries })
            }
        };
        match input {
            Some(input) => self.tell(of, by, input),
            None => self.fail(by, peer, ask, Failure::Refused),
        }
    }

    fn heads(&mut self, of: usize) -> Option<Heads> {
        let node = &self.nodes[of];
        let holds = |genesis: &&Vec<u8>| {
            let id = IdentityId::from(EntryId::of(genesis));
            node.store.keys().any(|origin| origin.subject == Subject::Identity(id))
        };
        let identities = self.identity_geneses.iter().filter(holds);
        let genesis = self.world.genesis.clone();
        if let Some(follower) = &node.follower {
            let evidence = follower.evidence()?;
            let fork = |head: &Head| evidence.forks().find(|proof| proof.origin() == head.origin());
            return Some(Heads::answer(evidence, |head| {
                head.with_evidence(fork(head), evidence.fork_point(head.origin()), &node.said)
            }));
        }
        let mut heads = Heads {
            package_genesis: Blob(genesis),
            identity_geneses: identities.cloned().map(Blob).collect(),
            notes: node.store.values().map(|stored| Blob(stored.head.note().to_vec())).collect(),
        };
        match node.manner {
            Manner::BadGenesis => heads.package_genesis.0[20] ^= 1,
            Manner::BadNote => {
                let len = heads.notes[0].0.len();
                heads.notes[0].0[len - 10] ^= 1;
            }
            _ => {}
        }
        Some(heads)
    }

    fn entries(&mut self, of: usize, origin: &Origin, from: u64) -> Option<Entries> {
        let node = &self.nodes[of];
        let stored = node.store.get(origin)?;
        let start = usize::try_from(from).unwrap().min(stored.entries.len());
        let limit = u32::try_from(self.rng.between(1..6)).unwrap();
        let rest = stored.entries[start..].to_vec();
        let mut answer = Entries::answer(&stored.log, &stored.head, (from, limit), rest).unwrap();
        match node.manner {
            Manner::Empty => answer.entries.clear(),
            Manner::Corrupt => {
                let bytes = &mut answer.entries.first_mut()?.0;
                let at = self.rng.below(bytes.len());
                bytes[at] ^= 4;
            }
            Manner::BadProof => {
                let hashes = if answer.prefix.is_empty() { &mut answer.reached } else { &mut answer.prefix };
                match hashes.first_mut() {
                    Some(hash) => *hash = syncra_protocol::id::LogHash::from_bytes([7; 32]),
                    None => hashes.push(syncra_protocol::id::LogHash::from_bytes([7; 32])),
                }
            }
            _ => {}
        }
        Some(answer)
    }

    pub(crate) fn follower(&self, who: usize) -> &Follower {
        self.nodes[who].follower.as_ref().unwrap()
    }

    pub(crate) fn held(&self, who: usize, origin: &Origin) -> u64 {
        self.follower(who).evidence().map_or(0, |evidence| evidence.size(origin))
    }

    pub(crate) fn faults_of(&self, who: usize, by: usize) -> Vec<&Fault> {
        let peer = self.nodes[by].peer;
        self.nodes[who].faults.iter().filter(|(other, _)| *other == peer).map(|(_, fault)| fault).collect()
    }
}
