//! All nodes, how they come to know each other, and what is wrong with some of them.

use std::collections::HashMap;

use libp2p::PeerId;
use libp2p::core::multihash::Multihash;
use libp2p::kad::{ConnectionType, K_VALUE, KBucketKey, KadPeer, RecordKey};
use syncra_protocol::record::ProviderKey;
use syncra_sim::rng::Rng;

use super::carrier::{Goal, Outcome, ask};
use super::node::{Manner, Node};
use super::{Lookups, Part};
use crate::net::address::keypair;

/// The multihash code of SHA-256.
const SHA2_256: u64 = 0x12;
/// Random keys that are tried for one that falls into a bucket, as the library does.
const TRIALS: usize = 16;

pub(super) struct Network {
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    by_id: HashMap<PeerId, usize>,
    /// Liars know each other.
    accomplices: Vec<usize>,
    lookups: Lookups,
}

impl Network {
    pub(super) fn new(seed: u64, lookups: Lookups) -> Self {
        let (rng, nodes, by_id, accomplices) = (Rng::seeded(seed), Vec::new(), HashMap::new(), Vec::new());
        Self { rng, nodes, by_id, accomplices, lookups }
    }

    /// A network that has grown: one after the other comes, knows one, and looks around as the library does.
    pub(super) fn joined(seed: u64, n_nodes: usize, lookups: Lookups) -> Self {
        let mut network = Self::new(seed, lookups);
        network.create(Part::Serves);
        for _ in 1..n_nodes {
            let known = network.rng.below(network.nodes.len());
            let newcomer = network.create(Part::Serves);
            network.introduce(newcomer, known);
            network.nodes[newcomer].disconnect();
            network.look_around(newcomer);
        }
        network
    }

    /// A network that has existed for long: each bucket has as many as there are, or is full, of random ones.
    pub(super) fn settled(seed: u64, n_nodes: usize, lookups: Lookups) -> Self {
        let mut network = Self::new(seed, lookups);
        network.grow(n_nodes);
        network.settle();
        network
    }

    /// So many more nodes that know nobody.
    pub(super) fn grow(&mut self, n_nodes: usize) {
        for _ in 0..n_nodes {
            self.create(Part::Serves);
        }
    }

    /// Fills all tables at random.
    pub(super) fn settle(&mut self) {
        let bits = |node: &Node| <[u8; 32]>::try_from(node.key.hashed_bytes()).expect("SHA-256");
        let mut sorted: Vec<([u8; 32], usize)> =
            self.nodes.iter().enumerate().map(|(n, node)| (bits(node), n)).collect();
        sorted.sort_unstable();
        for (mine, n) in &sorted {
            // Those who share ever more bits with this node; the others of each step are a bucket.
            let (mut from, mut to) = (0, sorted.len());
            for bit in 0..256 {
                let is_one = |key: &[u8; 32]| (key[bit / 8] >> (7 - bit % 8)) & 1 == 1;
                let middle = from + sorted[from..to].partition_point(|(key, _)| !is_one(key));
                let bucket = if is_one(mine) { from..middle } else { middle..to };
                (from, to) = if is_one(mine) { (middle, to) } else { (from, middle) };
                for at in self.some_of(bucket) {
                    let other = &self.nodes[sorted[at].1];
                    let (id, address) = (other.id, other.address.clone());
                    self.nodes[*n].add(id, &address);
                }
                if to - from == 1 {
                    break;
                }
            }
        }
    }

    /// As many of a range as a bucket holds.
    fn some_of(&mut self, range: std::ops::Range<usize>) -> Vec<usize> {
        let mut left: Vec<usize> = range.collect();
        let n = left.len().min(K_VALUE.get());
        for at in 0..n {
            let other = at + self.rng.below(left.len() - at);
            left.swap(at, other);
        }
        left.truncate(n);
        left
    }

    /// One more node that knows nobody.
    pub(super) fn create(&mut self, part: Part) -> usize {
        let id = self.random_id();
        self.create_as(id, part)
    }

    fn create_as(&mut self, id: PeerId, part: Part) -> usize {
        let n = self.nodes.len();
        self.by_id.insert(id, n);
        self.nodes.push(Node::new(id, n, part, self.lookups));
        n
    }

    /// The last node goes, and with it all that is known of it: whoever only asks is in nobody's table.
    pub(super) fn forget_last(&mut self) {
        if let Some(node) = self.nodes.pop() {
            self.by_id.remove(&node.id);
        }
    }

    fn random_id(&mut self) -> PeerId {
        keypair(self.random_bytes()).public().to_peer_id()
    }

    /// One more node, nearer to a key than all honest ones: its owner has tried ids until one was.
    pub(super) fn create_near(&mut self, key: ProviderKey, manner: Manner) {
        let target = KBucketKey::new(RecordKey::new(key.as_bytes()));
        let honest = self.nodes.iter().filter(|node| node.manner == Manner::Honest);
        let nearest = honest.map(|node| node.key.distance(&target)).min().expect("somebody is honest");
        loop {
            let id = self.invented_id();
            if KBucketKey::from(id).distance(&target) < nearest {
                let n = self.create_as(id, Part::Serves);
                self.turn_one(n, manner);
                return;
            }
        }
    }

    fn invented_id(&mut self) -> PeerId {
        let hash = Multihash::wrap(SHA2_256, &self.random_bytes()).expect("32 bytes");
        PeerId::from_multihash(hash).expect("the hash of a key")
    }

    fn random_bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&self.rng.next().to_le_bytes()));
        bytes
    }

    pub(super) fn random_key(&mut self) -> ProviderKey {
        ProviderKey::from_slice(&self.random_bytes()).expect("32 bytes")
    }

    /// One connects to another; each takes the other into its table if it answers questions.
    pub(super) fn introduce(&mut self, from: usize, to: usize) {
        let (from_id, from_address) = (self.nodes[from].id, self.nodes[from].address.clone());
        let (to_id, to_address) = (self.nodes[to].id, self.nodes[to].address.clone());
        self.nodes[from].on_connected(to_id, to_address.clone());
        self.nodes[from].add(to_id, &to_address);
        if self.nodes[from].dht.is_server() {
            self.nodes[to].add(from_id, &from_address);
        }
    }

    /// Looks for its own neighbourhood, then for a key in each bucket beyond the nearest.
    pub(super) fn look_around(&mut self, n: usize) {
        let me = self.nodes[n].id.to_bytes();
        ask(self, n, &Goal::Neighbours(me));
        let key = self.nodes[n].key;
        let buckets: Vec<_> = self.nodes[n].dht.kademlia.kbuckets().skip(1).map(|bucket| bucket.range()).collect();
        for (least, most) in buckets {
            let mut target = self.random_bytes();
            for _ in 1..TRIALS {
                let distance = key.distance(&KBucketKey::new(target.to_vec()));
                if least <= distance && distance <= most {
                    break;
                }
                target = self.random_bytes();
            }
            ask(self, n, &Goal::Neighbours(target.to_vec()));
        }
    }

    pub(super) fn ask(&mut self, asker: usize, goal: &Goal) -> Outcome {
        ask(self, asker, goal)
    }

    /// Of all nodes so many change their manner; who they are, the seed says.
    pub(super) fn turn(&mut self, percent: usize, manners: &[Manner]) {
        let n_turned = self.nodes.len() * percent / 100;
        let mut all: Vec<usize> = (0..self.nodes.len()).collect();
        for n in 0..n_turned {
            let other = n + self.rng.below(all.len() - n);
            all.swap(n, other);
            self.turn_one(all[n], manners[n % manners.len()]);
        }
    }

    pub(super) fn turn_one(&mut self, n: usize, manner: Manner) {
        self.nodes[n].manner = manner;
        if matches!(manner, Manner::Empty | Manner::Lying) {
            self.accomplices.push(n);
        }
    }

    /// Somebody honest, at random.
    pub(super) fn somebody(&mut self) -> usize {
        loop {
            let n = self.rng.below(self.nodes.len());
            if self.nodes[n].manner == Manner::Honest {
                return n;
            }
        }
    }

    pub(super) fn index(&self, peer: &PeerId) -> Option<usize> {
        self.by_id.get(peer).copied()
    }

    pub(super) fn is_honest(&self, peer: &PeerId) -> bool {
        self.index(peer).is_some_and(|n| self.nodes[n].manner == Manner::Honest)
    }

    /// What a node answers: those nearest to a key, and providers.
    pub(super) fn answer(&mut self, n: usize, key: &[u8], asker: &PeerId) -> (Vec<KadPeer>, Vec<KadPeer>) {
        match self.nodes[n].manner {
            Manner::Honest => self.nodes[n].knows(key, asker),
            Manner::Gone | Manner::Empty => (Vec::new(), Vec::new()),
            Manner::Lying => {
                let target = KBucketKey::new(key.to_vec());
                let mut all = self.accomplices.clone();
                all.sort_by_cached_key(|n| self.nodes[*n].key.distance(&target));
                let named = all.into_iter().take(K_VALUE.get()).map(|n| self.nodes[n].named()).collect();
                // Ids cost nothing: those of providers are nobody's, and never the same twice.
                let address = self.nodes[n].address.clone();
                let invented = |id| KadPeer {
                    node_id: id,
                    multiaddrs: vec![address.clone()],
                    connection_ty: ConnectionType::NotConnected,
                };
                (named, (0..K_VALUE.get()).map(|_| invented(self.invented_id())).collect())
            }
        }
    }

    /// How long a message takes between two nodes: 10 to 150 ms, the same in both directions and each time.
    pub(super) fn latency_ms(&self, a: usize, b: usize) -> u64 {
        let pair = ((a.min(b) as u64) << 32) | a.max(b) as u64;
        Rng::seeded(pair).between(10..150)
    }
}
