//! Who is connected, and what is known of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::sync::score::Deed;

use super::address::{self, Block, Scope, is_dialable, is_quic, is_relayed, scope, split_peer};
use super::limits;
use super::streams::Totals;

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who, proven by the handshake.
    pub key: DeviceKey,
    /// The far end of every connection, the one that streams use first: direct ones before relayed ones, then the oldest.
    pub addresses: Vec<Multiaddr>,
    /// The transport of that connection.
    pub transport: TransportKind,
    /// Who dialled it.
    pub direction: Direction,
    /// Whether it leads through a relay: then there is no direct one.
    pub is_relayed: bool,
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
    /// Streams opened since the peer connected, by either side.
    pub n_streams: u64,
    /// What it did, as a number: zero is nothing known.
    pub points: i32,
    /// It is asked last, and its gossip is not listened to.
    pub is_poor: bool,
    /// The last bad thing that it did.
    pub last_fault: Option<Deed>,
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
    since: Instant,
    /// This machine's end, as far as it is known.
    from: Option<IpAddr>,
}

impl Connection {
    fn is_relayed(&self) -> bool {
        is_relayed(&self.address)
    }
}

/// The far end of a connection. Who has come through a relay has no address of their own: the relay's, then.
pub(super) fn far_end(end: &ConnectedPoint) -> Multiaddr {
    match end {
        ConnectedPoint::Listener { local_addr, send_back_addr } if is_relayed(local_addr) => {
            local_addr.iter().chain(send_back_addr.iter()).collect()
        }
        end => end.get_remote_address().clone(),
    }
}

impl Peers {
    /// Notes a connection. The peer is a contact until it is promoted.
    pub(super) fn opened(&mut self, peer: PeerId, key: DeviceKey, id: ConnectionId, end: &ConnectedPoint) {
        let direction = if end.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let from = match end {
            ConnectedPoint::Listener { local_addr, .. } if is_relayed(local_addr) => None,
            ConnectedPoint::Listener { local_addr, .. } => address::ip(local_addr),
            ConnectedPoint::Dialer { address, .. } if is_relayed(address) => None,
            ConnectedPoint::Dialer { address, .. } => source_towards(address),
        };
        let connection = Connection { id, address: far_end(end), direction, since: Instant::now(), from };
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

    /// The block of addresses that a peer is connected from, if it is not this machine and not behind a relay.
    pub(super) fn block(&self, peer: &PeerId) -> Option<Block> {
        let is_elsewhere = |at: &Connection| !at.is_relayed() && scope(&at.address) > Scope::Loopback;
        let mut connections = self.0.get(peer)?.connections.iter().filter(|at| is_elsewhere(at));
        connections.find_map(|at| address::ip(&at.address)).map(Block::of)
    }

    /// How near the farthest peer is, at its nearest connection.
    pub(super) fn farthest(&self) -> Option<Scope> {
        self.0.keys().filter_map(|peer| self.nearest(peer)).max()
    }

    /// Whether a peer says that it speaks a protocol.
    pub(super) fn speaks(&self, peer: &PeerId, protocol: &str) -> bool {
        self.0.get(peer).is_some_and(|known| known.protocols.iter().any(|spoken| spoken == protocol))
    }

    /// Whether a peer has said what it speaks.
    pub(super) fn is_identified(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|known| !known.protocols.is_empty())
    }

    /// Whether a peer is connected without a relay between.
    pub(super) fn is_direct(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|known| known.connections.iter().any(|connection| !connection.is_relayed()))
    }

    /// Those who speak a protocol and whom we have dialled ourselves in the open, and where.
    pub(super) fn reached_publicly(&self, protocol: &str) -> Vec<(PeerId, Multiaddr)> {
        let address = |(id, peer): (&PeerId, &Peer)| {
            let far = peer.connections.iter().filter(|connection| connection.direction == Direction::Outbound);
            let mut far = far.map(|connection| split_peer(&connection.address).1);
            let address =
                far.find(|address| scope(address) == Scope::Public && !is_relayed(address) && is_dialable(address));
            address.filter(|_| self.speaks(id, protocol)).map(|address| (*id, address))
        };
        self.0.iter().filter_map(address).collect()
    }

    /// Relayed connections with peers who have had a direct one for as long as `grace`; and whether there will be more.
    pub(super) fn superseded(&self, grace: Duration) -> (Vec<ConnectionId>, bool) {
        let (mut due, mut is_more) = (Vec::new(), false);
        for peer in self.0.values() {
            let (relayed, direct): (Vec<_>, Vec<_>) = peer.connections.iter().partition(|one| one.is_relayed());
            let Some(since) = direct.iter().map(|one| one.since).min() else { continue };
            match since.elapsed() >= grace {
                true => due.extend(relayed.iter().map(|one| one.id)),
                false => is_more |= !relayed.is_empty(),
            }
        }
        (due, is_more)
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

    /// Everybody, with the traffic that `traffic` knows.
    pub(super) fn list(&self, traffic: impl Fn(&PeerId) -> Totals) -> Vec<PeerInfo> {
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

    fn info(&self, traffic: Totals) -> Option<PeerInfo> {
        let (relayed, direct): (Vec<_>, Vec<_>) = self.connections.iter().partition(|one| one.is_relayed());
        let connections: Vec<_> = direct.into_iter().chain(relayed).collect();
        let used = connections.first()?;
        Some(PeerInfo {
            key: self.key,
            addresses: connections.iter().map(|connection| connection.address.clone()).collect(),
            transport: if is_quic(&used.address) { TransportKind::Quic } else { TransportKind::Tcp },
            direction: used.direction,
            is_relayed: used.is_relayed(),
            is_contact: self.is_contact,
            connected_for: self.since.elapsed(),
            agent: self.agent.clone(),
            protocols: self.protocols.clone(),
            rtt: self.rtt,
            received_bytes: traffic.received_bytes,
            sent_bytes: traffic.sent_bytes,
            n_streams: traffic.n_streams,
            // Filled in by whoever keeps the scores.
            points: 0,
            is_poor: false,
            last_fault: None,
        })
    }
}

/// The address that this machine has towards another one. Connects a datagram socket, which sends nothing.
pub(super) fn source_towards(remote: &Multiaddr) -> Option<IpAddr> {
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
