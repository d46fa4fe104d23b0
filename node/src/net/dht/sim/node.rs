//! One node: its real table and records, without a swarm around them.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{ConnectionType, Event, K_VALUE, KBucketKey, KadPeer, QueryId, RecordKey};
use libp2p::swarm::DialError;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};

use super::super::*;
use super::Lookups;

/// What the library says to a connection, and hears from it. Its handlers speak through real streams only, so what they
/// would carry is carried by [`super::carrier`].
pub(super) type ToConnection = THandlerInEvent<Dht>;
/// See [`ToConnection`].
pub(super) type FromConnection = THandlerOutEvent<Dht>;
/// What a table wants of its swarm.
pub(super) type Action = ToSwarm<Event, ToConnection>;

/// How a node behaves towards those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// Was there once: nobody answers a dial.
    Gone,
    /// Takes questions, answers that it knows nobody, forgets what it is told.
    Empty,
    /// Names its accomplices as nearest nodes and invents providers, and forgets what it is told.
    Lying,
}

pub(super) struct Node {
    pub(super) id: PeerId,
    pub(super) key: KBucketKey<PeerId>,
    pub(super) address: Multiaddr,
    pub(super) dht: Dht,
    pub(super) manner: Manner,
    /// The library looks at the neighbourhood of a table with so few whenever somebody is added.
    is_small: bool,
    /// Its timer for that runs.
    is_restless: bool,
    hushed: Option<QueryId>,
    connections: Vec<(PeerId, ConnectionId, ConnectedPoint)>,
    n_connections: usize,
}

/// Our own configuration, without what the library does by this machine's clock.
fn config(lookups: Lookups) -> kad::Config {
    let mut config = super::super::config();
    config
        .disjoint_query_paths(lookups == Lookups::Disjoint)
        .set_periodic_bootstrap_interval(None)
        // Candidates for full buckets wait for ever: who is in stays in.
        .set_kbucket_pending_timeout(Duration::from_secs(1 << 30));
    config
}

impl Node {
    /// A node at a public address of its own.
    pub(super) fn new(id: PeerId, n: usize, part: Part, lookups: Lookups) -> Self {
        let [_, a, b, c] = u32::try_from(n).expect("fewer than 2^24").to_be_bytes();
        let address: Multiaddr = format!("/ip4/5.{a}.{b}.{c}/tcp/4001").parse().expect("address");
        let records = Records::new(id, blake3::hash(&id.to_bytes()).as_bytes());
        let mut dht = Dht::with_config(id, records, part, config(lookups));
        dht.set_realm(Scope::Public);
        dht.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id: ListenerId::next(), addr: &address }));
        let (is_small, is_restless, hushed) = (true, true, None);
        let (key, manner, connections, n_connections) = (KBucketKey::from(id), Manner::Honest, Vec::new(), 0);
        let mut node =
            Self { id, key, address, dht, manner, is_small, is_restless, hushed, connections, n_connections };
        node.settle();
        node
    }

    /// The next thing that the table wants; nothing when it waits.
    ///
    /// While a table is small the library looks for its neighbourhood half a second of this machine's time after each
    /// newcomer, for random keys. Here that has its place in the schedule, so it is begun and ended at once.
    pub(super) fn next(&mut self) -> Option<Action> {
        if std::mem::take(&mut self.is_restless) && self.hushed.is_none() {
            self.hushed = self.dht.kademlia.bootstrap().ok();
        }
        loop {
            if let Some(query) = self.hushed {
                self.dht.finish(&query);
            }
            let Poll::Ready(action) = self.dht.poll(&mut Context::from_waker(Waker::noop())) else { return None };
            match action {
                ToSwarm::GenerateEvent(Event::OutboundQueryProgressed { id, step, .. }) if self.hushed == Some(id) => {
                    self.hushed = self.hushed.filter(|_| !step.last);
                }
                action => return Some(action),
            }
        }
    }

    /// Takes a peer that has described itself into the table. Whether a full bucket's oldest still lives is not tried.
    pub(super) fn add(&mut self, peer: PeerId, address: &Multiaddr) {
        self.dht.add(peer, vec![address.clone()]);
        if self.is_small {
            self.is_small = self.dht.n_peers() < K_VALUE.get();
            self.is_restless = true;
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(action) = self.next() {
            match action {
                ToSwarm::GenerateEvent(Event::InboundRequest {
                    request: kad::InboundRequest::AddProvider { record: Some(record) },
                }) => {
                    self.dht.keep(record, Vec::new(), None);
                }
                ToSwarm::NotifyHandler { .. } => panic!("a question was asked that nobody carries"),
                _ => {}
            }
        }
    }

    /// Takes in that a peer provides something, as the network task does.
    pub(super) fn is_told(&mut self, provider: KadPeer, key: RecordKey) {
        let (from, nobody) = (provider.node_id, ConnectionId::new_unchecked(0));
        self.dht.on_connection_handler_event(from, nobody, FromConnection::AddProvider { key, provider });
        self.settle();
    }

    /// Those nearest to a key as this table has them, and who provides it: what the library answers. (An answer that it
    /// gives itself belongs to a stream.)
    pub(super) fn knows(&mut self, key: &[u8], asker: &PeerId) -> (Vec<KadPeer>, Vec<KadPeer>) {
        let records = self.dht.records.providers(&RecordKey::new(&key));
        let providers = records.into_iter().filter(|record| record.provider != *asker).map(|record| KadPeer {
            multiaddrs: if record.provider == self.id { self.dht.announced.clone() } else { record.addresses },
            node_id: record.provider,
            connection_ty: ConnectionType::NotConnected,
        });
        let providers = providers.take(K_VALUE.get()).collect();
        let key = KBucketKey::new(key.to_vec());
        (self.dht.kademlia.find_closest_local_peers(&key, asker).collect(), providers)
    }

    /// As it names itself to others.
    pub(super) fn named(&self) -> KadPeer {
        let multiaddrs = vec![self.address.clone().with_p2p(self.id).expect("an address without peer")];
        KadPeer { node_id: self.id, multiaddrs, connection_ty: ConnectionType::NotConnected }
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.iter().any(|(known, ..)| known == peer)
    }

    pub(super) fn on_connected(&mut self, peer: PeerId, address: Multiaddr) {
        self.n_connections += 1;
        let connection_id = ConnectionId::new_unchecked(self.n_connections);
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        drop(
            self.dht
                .handle_established_outbound_connection(connection_id, peer, &address, role_override, port_use)
                .expect("nothing is denied"),
        );
        let endpoint = ConnectedPoint::Dialer { address, role_override, port_use };
        let (peer_id, failed_addresses, other_established) = (peer, &[][..], 0);
        let (endpoint_of, endpoint) = (endpoint.clone(), &endpoint);
        let event = ConnectionEstablished { peer_id, connection_id, endpoint, failed_addresses, other_established };
        self.dht.on_swarm_event(FromSwarm::ConnectionEstablished(event));
        self.connections.push((peer, connection_id, endpoint_of));
    }

    pub(super) fn on_dial_failed(&mut self, peer: PeerId) {
        let (error, connection_id) = (DialError::Transport(Vec::new()), ConnectionId::new_unchecked(0));
        let event = DialFailure { peer_id: Some(peer), error: &error, connection_id };
        self.dht.on_swarm_event(FromSwarm::DialFailure(event));
    }

    /// Closes all connections, as they end by themselves when they are idle.
    pub(super) fn disconnect(&mut self) {
        for (peer_id, connection_id, endpoint) in std::mem::take(&mut self.connections) {
            let (endpoint, cause, remaining_established) = (&endpoint, None, 0);
            let event = ConnectionClosed { peer_id, connection_id, endpoint, cause, remaining_established };
            self.dht.on_swarm_event(FromSwarm::ConnectionClosed(event));
        }
        self.settle();
    }
}
