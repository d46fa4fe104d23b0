//! Who may connect at all: only devices with Ed25519 keys, only from within our reach, only so many from one place.
//!
//! A flood of strangers that say nothing must not keep out those who mean it, and nobody can tell them apart before they
//! have said something. So when the places for unfinished handshakes are taken, a newcomer is let in all the same, and
//! somebody who has shown nothing gives way: see [`Handshakes::least_worth`].

mod handshakes;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

pub(super) use handshakes::Lobby;
use handshakes::{Handshake, Handshakes};

use super::address::{self, Block, device_key};
use super::limits;
use super::rate::Bucket;
use super::transport::Reach;

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The peer's id carries no Ed25519 key, so it is no device of ours.
    #[error("the peer has no device key")]
    NoDeviceKey,
    /// The address is beyond the local links and this node stays on them.
    #[error("beyond the local links")]
    OutOfReach,
    /// Too many connections from one address or /64.
    #[error("too many connections from one place")]
    Crowded,
    /// Too many new connections in a short time from one address or /64.
    #[error("too many new connections from one place")]
    TooOften,
    /// So many strangers are connected that the rest is kept for others.
    #[error("too many strangers")]
    Full,
    /// The handshake was not finished, and a newcomer needed its place.
    #[error("an unfinished handshake gave way to a newcomer")]
    GaveWay,
}

/// Refuses connections before they cost anything.
pub(super) struct Gate {
    reach: Reach,
    /// Where the transports leave what ends a handshake that is just beginning.
    lobby: Lobby,
    /// Inbound connections, finished or not, and where they come from.
    inbound: HashMap<ConnectionId, Guest>,
    /// Those of them that are not finished.
    handshakes: Handshakes,
    places: HashMap<Prefix, Place>,
    /// Where this node dialled somebody with success, the oldest first.
    met: VecDeque<Prefix>,
    n_strangers: usize,
}

/// An inbound connection.
struct Guest {
    prefix: Prefix,
    is_stranger: bool,
}

/// What came from one place.
struct Place {
    n: usize,
    n_handshakes: usize,
    /// Handshakes that came to nothing since the last that was finished.
    n_in_vain: u32,
    rate: Bucket,
}

/// An IPv4 address, an IPv6 /64, or an address of the link: what one machine has without effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix(IpAddr);

impl Prefix {
    /// `None` for this machine, which may crowd itself, and for what is no IP address.
    fn of(remote: &Multiaddr) -> Option<Self> {
        let ip = address::ip(remote)?;
        match ip {
            _ if ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST => None,
            IpAddr::V4(_) => Some(Self(ip)),
            // Every machine of every link has the same /64.
            IpAddr::V6(of_link) if of_link.is_unicast_link_local() => Some(Self(ip)),
            IpAddr::V6(ip) => Some(Self(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into())),
        }
    }

    fn block(self) -> Block {
        Block::of(self.0)
    }
}

/// Where a connection comes from. Who comes through a relay has no address here: all of them together have the relay's.
fn origin<'a>(local: &'a Multiaddr, remote: &'a Multiaddr) -> &'a Multiaddr {
    if address::is_relayed(local) { local } else { remote }
}

impl Gate {
    pub(super) fn new(reach: Reach, lobby: Lobby) -> Self {
        let (inbound, handshakes, places, met) = Default::default();
        Self { reach, lobby, inbound, handshakes, places, met, n_strangers: 0 }
    }

    fn admit(&mut self, id: ConnectionId, remote: &Multiaddr, now: Instant) -> Result<(), Refusal> {
        let handle = self.lobby.take();
        if !self.reach.covers(remote) {
            return Err(Refusal::OutOfReach);
        }
        let Some(prefix) = Prefix::of(remote) else { return Ok(()) };
        let is_stranger = !self.met.contains(&prefix);
        if is_stranger && self.n_strangers >= limits::STRANGER_CONNECTIONS {
            return Err(Refusal::Full);
        }
        self.forget_places(now);
        let rate = Bucket::new(limits::NEW_CONNECTIONS, limits::NEW_CONNECTIONS_PER_S, now);
        let place = self.places.entry(prefix).or_insert(Place { n: 0, n_handshakes: 0, n_in_vain: 0, rate });
        if place.n >= limits::CONNECTIONS_PER_PREFIX || place.n_handshakes >= limits::HANDSHAKES_PER_PREFIX {
            return Err(Refusal::Crowded);
        }
        if !place.rate.take(now) {
            return Err(Refusal::TooOften);
        }
        // Counted before there is room, so that the place is not forgotten meanwhile.
        (place.n, place.n_handshakes) = (place.n + 1, place.n_handshakes + 1);
        let has_room = self.make_room(is_stranger);
        self.n_strangers += usize::from(is_stranger);
        self.inbound.insert(id, Guest { prefix, is_stranger });
        self.handshakes.begin(id, Handshake { prefix, is_stranger, handle });
        if has_room {
            return Ok(());
        }
        self.forget(id);
        Err(Refusal::Full)
    }

    /// Whether there is a place for one more handshake; somebody gives way for it.
    fn make_room(&mut self, is_stranger: bool) -> bool {
        let is_full_of_strangers = is_stranger && self.handshakes.n_strangers() >= limits::STRANGER_HANDSHAKES;
        if !is_full_of_strangers && self.handshakes.len() < limits::INBOUND_HANDSHAKES {
            return true;
        }
        // Nobody who was met gives way to a stranger.
        let in_vain = |prefix: &Prefix| self.places.get(prefix).map_or(0, |place| place.n_in_vain);
        let Some(id) = self.handshakes.least_worth(is_stranger, in_vain) else { return false };
        // It may just have been finished: then the connection is refused when it is reported.
        self.handshakes.end(id);
        self.forget(id);
        true
    }

    /// The handshake of an inbound connection is over, with success or without.
    fn shook_hands(&mut self, id: ConnectionId, is_done: bool) {
        let Some(Handshake { prefix, .. }) = self.handshakes.take(id) else { return };
        if let Some(place) = self.places.get_mut(&prefix) {
            place.n_handshakes -= 1;
            place.n_in_vain = if is_done { 0 } else { place.n_in_vain.saturating_add(1) };
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.shook_hands(id, false);
        let Some(guest) = self.inbound.remove(&id) else { return };
        self.n_strangers -= usize::from(guest.is_stranger);
        if let Some(place) = self.places.get_mut(&guest.prefix) {
            place.n -= 1;
        }
    }

    /// Whether a connection that has just been finished had already given way.
    fn has_given_way(&self, id: ConnectionId, origin: &Multiaddr) -> bool {
        Prefix::of(origin).is_some() && !self.inbound.contains_key(&id)
    }

    /// Somebody was reached there: from there others are welcome.
    fn meet(&mut self, remote: &Multiaddr) {
        let Some(prefix) = Prefix::of(remote) else { return };
        if self.met.contains(&prefix) {
            return;
        }
        self.met.push_back(prefix);
        if self.met.len() > limits::MET_PREFIXES {
            self.met.pop_front();
        }
    }

    /// Makes room among the places: of those from where nobody is here, the ones of which there is nothing to remember go
    /// first.
    fn forget_places(&mut self, now: Instant) {
        if self.places.len() < limits::PREFIXES {
            return;
        }
        self.places.retain(|_, place| place.n > 0 || place.n_in_vain > 0 || !place.rate.is_full(now));
        if self.places.len() >= limits::PREFIXES {
            self.places.retain(|_, place| place.n > 0);
        }
    }
}

fn only_devices(peer: &PeerId) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
    device_key(peer).map(|_| dummy::ConnectionHandler).ok_or_else(|| ConnectionDenied::new(Refusal::NoDeviceKey))
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(id, origin(local, remote), Instant::now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.has_given_way(id, origin(local, remote)) {
            return Err(ConnectionDenied::new(Refusal::GaveWay));
        }
        self.shook_hands(id, true);
        only_devices(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        only_devices(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.forget(connection_id),
            FromSwarm::ConnectionEstablished(ConnectionEstablished { endpoint, .. }) if endpoint.is_dialer() => {
                self.meet(endpoint.get_remote_address());
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
