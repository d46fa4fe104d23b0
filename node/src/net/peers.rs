//! Who is connected, and what is known of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};
use syncra_protocol::key::DeviceKey;

use super::address::{self, Scope, is_quic, scope};
use super::limits;

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who, proven by the handshake.
    pub key: DeviceKey,
    /// The far end of every connection, oldest first.
    pub addresses: Vec<Multiaddr>,
    /// The transport of the oldest connection: the one that streams use.
    pub transport: TransportKind,
    /// Who dialled the oldest connection.
    pub direction: Direction,
    /// Only for the distributed hash table: nobody has asked for packages, here or there.
    pub is_contact: bool,
    /// How long the peer has been connected.
    pub connected_for: Duration,
    /// How the peer describes itself; unproven, without control characters. Empty until it has.
    pub agent: String,
    /// The protocols the peer says it speaks; unproven.
    pub protocols: Vec<String>,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// Bytes of streams received from the peer since it connected.
    pub received_bytes: u64,
    /// Bytes of streams sent to the peer since it connected.
    pub sent_bytes: u64,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// TCP with TLS or Noise and yamux.
    Tcp,
    /// QUIC.
    Quic,
}

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// We.
    Outbound,
}

/// All connected peers.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<PeerId, Peer>);

#[derive(Debug)]
struct Peer {
    key: DeviceKey,
    is_contact: bool,
    connections: Vec<Connection>,
    since: Instant,
    agent: String,
    protocols: Vec<String>,
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    address: Multiaddr,
    direction: Direction,
    /// This machine's end, as far as it is known.
    from: Option<IpAddr>,
}

impl Peers {
    /// Notes a connection. The peer is a contact until it is promoted.
    pub(super) fn opened(&mut self, peer: PeerId, key: DeviceKey, id: ConnectionId, end: &ConnectedPoint) {
        let direction = if end.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let from = match end {
            ConnectedPoint::Listener { local_addr, .. } => address::ip(local_addr),
            ConnectedPoint::Dialer { address, .. } => source_towards(address),
        };
        let connection = Connection { id, address: end.get_remote_address().clone(), direction, from };
        self.0.entry(peer).or_insert_with(|| Peer::new(key)).connections.push(connection);
    }

    /// A contact is one no more; its key, if it was one.
    pub(super) fn promote(&mut self, peer: &PeerId) -> Option<DeviceKey> {
        let known = self.0.get_mut(peer)?;
        std::mem::replace(&mut known.is_contact, false).then_some(known.key)
    }

    /// Notes the end of a connection; if it was the last with this peer, its key and whether it was a mere contact.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> Option<(DeviceKey, bool)> {
        let known = self.0.get_mut(peer)?;
        known.connections.retain(|connection| connection.id != id);
        if !known.connections.is_empty() {
            return None;
        }
        self.0.remove(peer).map(|peer| (peer.key, peer.is_contact))
    }

    /// The connections whose end on this machine is there.
    pub(super) fn from(&self, ip: IpAddr) -> Vec<ConnectionId> {
        let all = self.0.values().flat_map(|peer| &peer.connections);
        all.filter(|connection| connection.from == Some(ip)).map(|connection| connection.id).collect()
    }

    /// The key of a connected peer.
    pub(super) fn key(&self, peer: &PeerId) -> Option<DeviceKey> {
        self.0.get(peer).map(|peer| peer.key)
    }

    /// Whether a peer is a mere contact, or none at all.
    pub(super) fn is_contact(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_none_or(|known| known.is_contact)
    }

    /// How near the nearest connection with a peer is.
    pub(super) fn nearest(&self, peer: &PeerId) -> Option<Scope> {
        self.0.get(peer)?.connections.iter().map(|connection| scope(&connection.address)).min()
    }

    /// How near the farthest peer is, at its nearest connection.
    pub(super) fn farthest(&self) -> Option<Scope> {
        self.0.keys().filter_map(|peer| self.nearest(peer)).max()
    }

    /// Whether a peer says that it speaks a protocol.
    pub(super) fn speaks(&self, peer: &PeerId, protocol: &str) -> bool {
        self.0.get(peer).is_some_and(|known| known.protocols.iter().any(|spoken| spoken == protocol))
    }

    /// All ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = &PeerId> {
        self.0.keys()
    }

    /// Notes what a peer says about itself, cut to size.
    pub(super) fn identified(&mut self, peer: &PeerId, info: &identify::Info) {
        let Some(known) = self.0.get_mut(peer) else { return };
        known.agent = printable(&info.agent_version);
        known.protocols =
            info.protocols.iter().take(limits::PEER_PROTOCOLS).map(|protocol| printable(protocol.as_ref())).collect();
    }

    /// Notes a measured round trip.
    pub(super) fn pinged(&mut self, peer: &PeerId, rtt: Duration) {
        if let Some(known) = self.0.get_mut(peer) {
            known.rtt = Some(rtt);
        }
    }

    /// Everybody, with the byte counts that `traffic` knows (received, sent).
    pub(super) fn list(&self, traffic: impl Fn(&PeerId) -> (u64, u64)) -> Vec<PeerInfo> {
        let mut all: Vec<_> = self.0.iter().filter_map(|(id, peer)| peer.info(traffic(id))).collect();
        all.sort_unstable_by_key(|info| info.key);
        all
    }
}

impl Peer {
    fn new(key: DeviceKey) -> Self {
        Self {
            key,
            is_contact: true,
            connections: Vec::new(),
            since: Instant::now(),
            agent: String::new(),
            protocols: Vec::new(),
            rtt: None,
        }
    }

    fn info(&self, (received_bytes, sent_bytes): (u64, u64)) -> Option<PeerInfo> {
        let oldest = self.connections.first()?;
        Some(PeerInfo {
            key: self.key,
            addresses: self.connections.iter().map(|connection| connection.address.clone()).collect(),
            transport: if is_quic(&oldest.address) { TransportKind::Quic } else { TransportKind::Tcp },
            direction: oldest.direction,
            is_contact: self.is_contact,
            connected_for: self.since.elapsed(),
            agent: self.agent.clone(),
            protocols: self.protocols.clone(),
            rtt: self.rtt,
            received_bytes,
            sent_bytes,
        })
    }
}

/// The address that this machine has towards another one. Connects a datagram socket, which sends nothing.
fn source_towards(remote: &Multiaddr) -> Option<IpAddr> {
    const DISCARD: u16 = 9;
    let to = match address::zoned_tcp(remote) {
        Some(on_link) => SocketAddr::V6(on_link),
        None => SocketAddr::new(address::ip(remote)?, DISCARD),
    };
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|from| from.ip())
}

/// At most [`limits::AGENT_CHARS`] characters that cannot move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(limits::AGENT_CHARS).collect()
}
