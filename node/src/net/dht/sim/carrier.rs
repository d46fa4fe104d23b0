//! One query from its first question to its last answer: what the asking table wants is done, in virtual time.

use std::collections::{BTreeSet, HashMap};

use libp2p::PeerId;
use libp2p::kad::{AddProviderPhase, Event, KadPeer, QueryId, QueryInfo, QueryResult, RecordKey};
use libp2p::swarm::{NetworkBehaviour as _, ToSwarm};
use syncra_protocol::record::ProviderKey;
use syncra_sim::net::Queue;
use tokio::sync::mpsc;

use super::super::{Searches, Wanted};
use super::network::Network;
use super::node::{Action, FromConnection, Manner, ToConnection};
use crate::net::limits;

/// Round trips until a connection can carry a question: TCP, TLS, and agreeing on protocols.
const HANDSHAKE_TRIPS: u64 = 3;

/// What is asked of the table.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// Who is near a key; the table fills on the way.
    Neighbours(Vec<u8>),
    Find(ProviderKey),
    Provide(ProviderKey),
}

/// What a query came to, and cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Providers that the node would dial.
    pub(super) n_named: usize,
    /// How many others had to be asked one after the other until an honest provider was named.
    pub(super) hops: Option<usize>,
    /// When that was.
    pub(super) found_ms: Option<u64>,
    pub(super) took_ms: u64,
    pub(super) questions: usize,
    pub(super) announcements: usize,
    pub(super) dials: usize,
    pub(super) failed: usize,
    /// Bytes of ids and addresses in all answers.
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Neighbours(Vec<u8>),
    Providers(RecordKey),
    Provide(RecordKey, KadPeer),
}

enum Letter {
    Connected(usize, Option<Question>),
    DialFailed(PeerId),
    Question(usize, Question),
    Answer(usize, FromConnection),
    /// The library's clock is this machine's, so its deadline is kept here.
    Deadline,
}

pub(super) struct Carrier<'a> {
    network: &'a mut Network,
    asker: usize,
    query: QueryId,
    queue: Queue<Letter>,
    began_ms: u64,
    dialling: BTreeSet<PeerId>,
    /// How many were asked before each peer was named.
    hops: HashMap<PeerId, usize>,
    searches: Searches,
    /// Keeps the search wanted.
    _found: mpsc::Receiver<syncra_protocol::key::DeviceKey>,
    is_over: bool,
    outcome: Outcome,
}

/// Lets a node ask the network.
pub(super) fn ask(network: &mut Network, asker: usize, goal: &Goal) -> Outcome {
    let (found, waits) = mpsc::channel(limits::DHT_PROVIDERS);
    let mut searches = Searches::default();
    let dht = &mut network.nodes[asker].dht;
    let query = match goal {
        Goal::Neighbours(key) => dht.kademlia.get_closest_peers(key.clone()),
        Goal::Find(key) => {
            let query = dht.find(*key);
            searches.began(query, Wanted::Providers(found));
            query
        }
        Goal::Provide(key) => dht.provide(*key).expect("fewer keys than a node may have"),
    };
    let (queue, dialling, hops, outcome) = (Queue::new(), BTreeSet::new(), HashMap::new(), Outcome::default());
    let began_ms = queue.now.0;
    let (is_over, _found) = (false, waits);
    Carrier { network, asker, query, queue, began_ms, dialling, hops, searches, _found, is_over, outcome }.run()
}

impl Carrier<'_> {
    fn run(mut self) -> Outcome {
        let deadline_ms = u64::try_from(limits::DHT_QUERY.as_millis()).expect("seconds");
        self.queue.schedule(deadline_ms, Letter::Deadline);
        self.obey();
        while !self.is_over {
            let letter = self.queue.pop().expect("the deadline at last");
            self.deliver(letter);
            self.obey();
        }
        self.outcome.took_ms = self.queue.now.0 - self.began_ms;
        // What was said to others arrives, whether or not anybody waits for it.
        while let Some(letter) = self.queue.pop() {
            if let Letter::Question(to, Question::Provide(key, provider)) = letter {
                self.tell(to, key, provider);
            }
        }
        self.network.nodes[self.asker].disconnect();
        self.outcome
    }

    /// Does what the table wants until it waits.
    fn obey(&mut self) {
        while let Some(action) = self.network.nodes[self.asker].next() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            ToSwarm::Dial { opts } => {
                let peer = opts.get_peer_id().expect("the table dials peers");
                self.dial(peer);
            }
            ToSwarm::NotifyHandler { peer_id, event, .. } => {
                let question = match event {
                    ToConnection::FindNodeReq { key, .. } => Question::Neighbours(key),
                    ToConnection::GetProvidersReq { key, .. } => Question::Providers(key),
                    ToConnection::AddProvider { key, provider, .. } => Question::Provide(key, provider),
                    other => panic!("nobody asks {other:?}"),
                };
                let to = self.network.index(&peer_id).expect("who is connected exists");
                self.send(to, question);
            }
            ToSwarm::GenerateEvent(Event::OutboundQueryProgressed { id, result, step, .. }) if id == self.query => {
                self.on_progress(&result, step.last);
            }
            _ => {}
        }
    }

    fn on_progress(&mut self, result: &QueryResult, is_last: bool) {
        let news = self.searches.progressed(self.query, result, is_last);
        for (provider, _) in news.named {
            if self.outcome.found_ms.is_none() && self.network.is_honest(&provider) {
                self.outcome.found_ms = Some(self.queue.now.0 - self.began_ms);
            }
            self.outcome.n_named += 1;
        }
        self.is_over |= is_last;
    }

    /// Where a dial ends is where the table thinks that the peer is.
    fn dial(&mut self, peer: PeerId) {
        if self.network.nodes[self.asker].is_connected(&peer) || !self.dialling.insert(peer) {
            return;
        }
        self.outcome.dials += 1;
        let addresses = self.network.nodes[self.asker].dht.addresses(peer);
        let to = self.network.index(&peer).filter(|to| addresses.contains(&self.network.nodes[*to].address));
        match to {
            Some(to) if self.network.nodes[to].manner != Manner::Gone => {
                let question = self.question();
                let in_ms = 2 * HANDSHAKE_TRIPS * self.network.latency_ms(self.asker, to);
                self.queue.schedule(in_ms, Letter::Connected(to, question));
            }
            _ => {
                let in_ms = u64::try_from(limits::HANDSHAKE.as_millis()).expect("seconds");
                self.queue.schedule(in_ms, Letter::DialFailed(peer));
            }
        }
    }

    /// What the query asks now: a question that waits for a connection lies in the library's handler.
    fn question(&self) -> Option<Question> {
        let query = self.network.nodes[self.asker].dht.kademlia.query(&self.query)?;
        Some(match query.info() {
            QueryInfo::GetClosestPeers { key, .. } => Question::Neighbours(key.clone()),
            QueryInfo::GetProviders { key, .. } => Question::Providers(key.clone()),
            QueryInfo::AddProvider { key, phase: AddProviderPhase::GetClosestPeers, .. } => {
                Question::Neighbours(key.to_vec())
            }
            // Only those are told who answered a moment ago; to anybody else the library says nothing any more.
            _ => return None,
        })
    }

    fn send(&mut self, to: usize, question: Question) {
        match &question {
            Question::Provide(..) => self.outcome.announcements += 1,
            _ => self.outcome.questions += 1,
        }
        let in_ms = self.network.latency_ms(self.asker, to);
        self.queue.schedule(in_ms, Letter::Question(to, question));
    }

    fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Connected(to, question) => self.on_connected(to, question),
            Letter::DialFailed(peer) => {
                self.outcome.failed += 1;
                self.dialling.remove(&peer);
                self.network.nodes[self.asker].on_dial_failed(peer);
            }
            Letter::Question(to, Question::Provide(key, provider)) => self.tell(to, key, provider),
            Letter::Question(to, question) => {
                let answer = self.answer(to, &question);
                self.queue.schedule(self.network.latency_ms(to, self.asker), Letter::Answer(to, answer));
            }
            Letter::Answer(from, answer) => self.on_answer(from, answer),
            Letter::Deadline => {
                self.network.nodes[self.asker].dht.finish(&self.query);
            }
        }
    }

    /// Both describe themselves to each other, and the question goes out.
    fn on_connected(&mut self, to: usize, question: Option<Question>) {
        self.dialling.remove(&self.network.nodes[to].id);
        self.network.introduce(self.asker, to);
        if let Some(question) = question.filter(|question| self.question().as_ref() == Some(question)) {
            self.send(to, question);
        }
    }

    fn tell(&mut self, to: usize, key: RecordKey, provider: KadPeer) {
        if self.network.nodes[to].manner == Manner::Honest {
            self.network.nodes[to].is_told(provider, key);
        }
    }

    fn answer(&mut self, to: usize, question: &Question) -> FromConnection {
        let (key, wants_providers) = match question {
            Question::Neighbours(key) => (key.clone(), false),
            Question::Providers(key) | Question::Provide(key, _) => (key.to_vec(), true),
        };
        let asker = self.network.nodes[self.asker].id;
        let (closer_peers, provider_peers) = self.network.answer(to, &key, &asker);
        let query_id = self.query;
        if wants_providers {
            FromConnection::GetProvidersRes { closer_peers, provider_peers, query_id }
        } else {
            FromConnection::FindNodeRes { closer_peers, query_id }
        }
    }

    fn on_answer(&mut self, from: usize, answer: FromConnection) {
        let (closer, providers) = match &answer {
            FromConnection::FindNodeRes { closer_peers, .. } => (closer_peers.as_slice(), [].as_slice()),
            FromConnection::GetProvidersRes { closer_peers, provider_peers, .. } => {
                (closer_peers.as_slice(), provider_peers.as_slice())
            }
            other => panic!("nobody answers {other:?}"),
        };
        let peer = self.network.nodes[from].id;
        let hops = self.hops.get(&peer).copied().unwrap_or(1);
        for named in closer {
            self.hops.entry(named.node_id).or_insert(hops + 1);
        }
        if self.outcome.hops.is_none() && providers.iter().any(|named| self.network.is_honest(&named.node_id)) {
            self.outcome.hops = Some(hops);
        }
        self.outcome.bytes += closer.iter().chain(providers).map(bytes_of).sum::<usize>();
        let nobody = libp2p::swarm::ConnectionId::new_unchecked(0);
        self.network.nodes[self.asker].dht.on_connection_handler_event(peer, nobody, answer);
    }
}

/// An id and addresses, each with its field's tag and length (protobuf), and what kind of connection there is.
fn bytes_of(peer: &KadPeer) -> usize {
    let addresses: usize = peer.multiaddrs.iter().map(|address| 2 + address.len()).sum();
    2 + 2 + peer.node_id.to_bytes().len() + addresses + 2
}
