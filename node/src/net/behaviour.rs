//! All that the swarm does, in the order in which it may refuse a connection.

use std::sync::Arc;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{allow_block_list, identity, memory_connection_limits, ping};

use super::dht::Dht;
use super::gate::Gate;
use super::gossip::Gossip;
use super::introduce::Introduce;
use super::limits;
use super::nat::Nat;
use super::streams::{self, Doors};

/// The node's behaviour. `streams` is last: what it has been told of has passed all others.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    gate: Gate,
    pub(super) bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    counts: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(super) identify: Introduce,
    ping: ping::Behaviour,
    nat: Nat,
    pub(super) dht: Dht,
    pub(super) gossip: Gossip,
    pub(super) streams: streams::Behaviour,
}

impl Behaviour {
    pub(super) fn new(
        keypair: &identity::Keypair,
        gate: Gate,
        agent: &str,
        dht: Dht,
        gossip: Gossip,
        nat: Nat,
        doors: Arc<Doors>,
    ) -> Self {
        let ping = ping::Config::new().with_interval(limits::PING_INTERVAL).with_timeout(limits::PING_TIMEOUT);
        Self {
            gate,
            bans: allow_block_list::Behaviour::default(),
            counts: connection_limits::Behaviour::new(connection_counts(limits::CONNECTIONS)),
            memory: memory_connection_limits::Behaviour::with_max_percentage(limits::MEMORY_SHARE),
            identify: Introduce::new(keypair, agent),
            ping: ping::Behaviour::new(ping),
            nat,
            dht,
            gossip,
            streams: streams::Behaviour::new(doors),
        }
    }

    /// With at most so many connections.
    pub(super) fn with_connections(self, connections: u32) -> Self {
        Self { counts: connection_limits::Behaviour::new(connection_counts(connections)), ..self }
    }
}

fn connection_counts(connections: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(connections))
        .with_max_established_incoming(Some(limits::inbound_of(connections)))
        .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(limits::PENDING_HANDSHAKES))
        .with_max_pending_outgoing(Some(limits::OUTBOUND_HANDSHAKES))
}
