//! All that the swarm does, in the order in which it may refuse a connection.

use std::sync::Arc;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{allow_block_list, identify, identity, memory_connection_limits, ping};

use super::dht::Dht;
use super::gate::Gate;
use super::gossip::Gossip;
use super::limits;
use super::streams::{self, Doors};
use super::transport::Reach;

/// The node's behaviour. `streams` is last: what it has been told of has passed all others.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    gate: Gate,
    pub(super) bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    counts: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) dht: Dht,
    pub(super) gossip: Gossip,
    pub(super) streams: streams::Behaviour,
}

/// The protocol family that [`identify`] names; only for people who look at it.
const FAMILY: &str = "/syncra/1";

impl Behaviour {
    pub(super) fn new(
        keypair: &identity::Keypair,
        reach: Reach,
        agent: String,
        dht: Dht,
        gossip: Gossip,
        doors: Arc<Doors>,
    ) -> Self {
        let identify = identify::Config::new(FAMILY.to_owned(), keypair.public())
            .with_agent_version(agent)
            .with_push_listen_addr_updates(true)
            // Addresses are remembered by the network task, in its own bounded book.
            .with_cache_size(0);
        let ping = ping::Config::new().with_interval(limits::PING_INTERVAL).with_timeout(limits::PING_TIMEOUT);
        Self {
            gate: Gate::new(reach),
            bans: allow_block_list::Behaviour::default(),
            counts: connection_limits::Behaviour::new(connection_counts()),
            memory: memory_connection_limits::Behaviour::with_max_percentage(limits::MEMORY_SHARE),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            dht,
            gossip,
            streams: streams::Behaviour::new(doors),
        }
    }
}

fn connection_counts() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(limits::CONNECTIONS))
        .with_max_established_incoming(Some(limits::INBOUND_CONNECTIONS))
        .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(limits::INBOUND_HANDSHAKES))
        .with_max_pending_outgoing(Some(limits::OUTBOUND_HANDSHAKES))
}
