//! Who may connect at all: only devices with Ed25519 keys, only from within our reach, only so many from one place.

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

use super::address::{self, device_key};
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
}

/// Refuses connections before they cost anything.
pub(super) struct Gate {
    reach: Reach,
    /// Inbound connections, finished or not, and where they come from.
    inbound: HashMap<ConnectionId, Guest>,
    places: HashMap<Prefix, Place>,
    /// Where this node dialled somebody with success, the oldest first.
    met: VecDeque<Prefix>,
    n_strangers: usize,
    n_stranger_handshakes: usize,
}

/// An inbound connection.
struct Guest {
    prefix: Prefix,
    is_stranger: bool,
    is_shaking_hands: bool,
}

/// What came from one place.
struct Place {
    n: usize,
    n_handshakes: usize,
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
}

impl Gate {
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            reach,
            inbound: HashMap::new(),
            places: HashMap::new(),
            met: VecDeque::new(),
            n_strangers: 0,
            n_stranger_handshakes: 0,
        }
    }

    fn admit(&mut self, id: ConnectionId, remote: &Multiaddr, now: Instant) -> Result<(), Refusal> {
        if !self.reach.covers(remote) {
            return Err(Refusal::OutOfReach);
        }
        let Some(prefix) = Prefix::of(remote) else { return Ok(()) };
        let is_stranger = !self.met.contains(&prefix);
        let has_room =
            self.n_stranger_handshakes < limits::STRANGER_HANDSHAKES && self.n_strangers < limits::STRANGER_CONNECTIONS;
        if is_stranger && !has_room {
            return Err(Refusal::Full);
        }
        self.forget_places(now);
        let rate = Bucket::new(limits::NEW_CONNECTIONS, limits::NEW_CONNECTIONS_PER_S, now);
        let place = self.places.entry(prefix).or_insert(Place { n: 0, n_handshakes: 0, rate });
        if place.n >= limits::CONNECTIONS_PER_PREFIX || place.n_handshakes >= limits::HANDSHAKES_PER_PREFIX {
            return Err(Refusal::Crowded);
        }
        if !place.rate.take(now) {
            return Err(Refusal::TooOften);
        }
        (place.n, place.n_handshakes) = (place.n + 1, place.n_handshakes + 1);
        if is_stranger {
            self.n_strangers += 1;
            self.n_stranger_handshakes += 1;
        }
        self.inbound.insert(id, Guest { prefix, is_stranger, is_shaking_hands: true });
        Ok(())
    }

    /// The handshake of an inbound connection is over.
    fn shook_hands(&mut self, id: ConnectionId) {
        let Some(guest) = self.inbound.get_mut(&id) else { return };
        if !std::mem::take(&mut guest.is_shaking_hands) {
            return;
        }
        if guest.is_stranger {
            self.n_stranger_handshakes -= 1;
        }
        if let Some(place) = self.places.get_mut(&guest.prefix) {
            place.n_handshakes -= 1;
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.shook_hands(id);
        let Some(guest) = self.inbound.remove(&id) else { return };
        if guest.is_stranger {
            self.n_strangers -= 1;
        }
        if let Some(place) = self.places.get_mut(&guest.prefix) {
            place.n -= 1;
        }
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

    /// Makes room among the places: for those from where nobody is here, whose rate is as good as new first.
    fn forget_places(&mut self, now: Instant) {
        if self.places.len() < limits::PREFIXES {
            return;
        }
        self.places.retain(|_, place| place.n > 0 || !place.rate.is_full(now));
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
        // Who comes through a relay has no address here: all of them together have the relay's places.
        let from = if address::is_relayed(local) { local } else { remote };
        self.admit(id, from, Instant::now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.shook_hands(id);
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
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("address")
    }

    fn ids(n: usize) -> Vec<ConnectionId> {
        (0..n).map(ConnectionId::new_unchecked).collect()
    }

    #[test]
    fn one_place_gets_so_many_connections_and_gives_them_back() {
        let (mut gate, now) = (Gate::new(Reach::Everywhere), Instant::now());
        let ids = ids(limits::CONNECTIONS_PER_PREFIX + 1);
        let (last, first) = ids.split_last().expect("ids");
        for id in first {
            let remote = address(&format!("/ip6/2001:db8::{id}/tcp/1"));
            assert_eq!(gate.admit(*id, &remote, now), Ok(()));
            gate.shook_hands(*id);
        }
        assert_eq!(gate.admit(*last, &address("/ip6/2001:db8::ffff/tcp/1"), now), Err(Refusal::Crowded));
        assert_eq!(gate.admit(*last, &address("/ip6/2001:db8:0:1::1/tcp/1"), now), Ok(()), "another /64");
        gate.forget(first[0]);
        assert_eq!(gate.admit(first[0], &address("/ip6/2001:db8::ffff/tcp/1"), now), Ok(()));
        for id in ids {
            gate.forget(id);
        }
        assert!(gate.inbound.is_empty() && (gate.n_strangers, gate.n_stranger_handshakes) == (0, 0), "nothing leaks");
        assert!(gate.places.values().all(|place| (place.n, place.n_handshakes) == (0, 0)), "nothing leaks");
    }

    #[test]
    fn one_place_finishes_what_it_began_before_it_begins_more_and_not_too_often() {
        let (mut gate, now) = (Gate::new(Reach::Everywhere), Instant::now());
        let remote = address("/ip4/192.0.2.1/tcp/1");
        let mut ids = ids(200).into_iter();
        let mut next = || ids.next().expect("an id");
        for _ in 0..limits::HANDSHAKES_PER_PREFIX {
            assert_eq!(gate.admit(next(), &remote, now), Ok(()));
        }
        assert_eq!(gate.admit(next(), &remote, now), Err(Refusal::Crowded));
        for n in 0..limits::HANDSHAKES_PER_PREFIX {
            gate.forget(ConnectionId::new_unchecked(n));
        }
        let mut admit = |now| {
            let id = next();
            let admitted = gate.admit(id, &remote, now);
            gate.forget(id);
            admitted
        };
        let rest = limits::NEW_CONNECTIONS as usize - limits::HANDSHAKES_PER_PREFIX;
        assert!((0..rest).all(|_| admit(now) == Ok(())));
        assert_eq!(admit(now), Err(Refusal::TooOften));
        assert_eq!(admit(now + std::time::Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn strangers_leave_room_for_those_who_were_met() {
        let (mut gate, now) = (Gate::new(Reach::Everywhere), Instant::now());
        let stranger = |n: usize| address(&format!("/ip4/198.51.{}.{}/tcp/1", n / 250, n % 250));
        let friend = address("/ip4/192.0.2.7/tcp/1");
        gate.meet(&friend);
        let ids = ids(2_000);
        for (n, id) in ids[..limits::STRANGER_HANDSHAKES].iter().enumerate() {
            assert_eq!(gate.admit(*id, &stranger(n), now), Ok(()));
        }
        assert_eq!(gate.admit(ids[1_000], &stranger(999), now), Err(Refusal::Full), "handshakes");
        assert_eq!(gate.admit(ids[1_001], &friend, now), Ok(()));
        assert_eq!(gate.admit(ids[1_002], &address("/ip4/127.0.0.1/tcp/1"), now), Ok(()), "this machine");
        for id in &ids[..limits::STRANGER_HANDSHAKES] {
            gate.shook_hands(*id);
        }
        for (n, id) in ids[..limits::STRANGER_CONNECTIONS].iter().enumerate().skip(limits::STRANGER_HANDSHAKES) {
            assert_eq!(gate.admit(*id, &stranger(n), now), Ok(()));
            gate.shook_hands(*id);
        }
        assert_eq!(gate.admit(ids[1_000], &stranger(999), now), Err(Refusal::Full), "connections");
        assert_eq!(gate.admit(ids[1_003], &friend, now), Ok(()));
    }

    #[test]
    fn places_that_come_and_go_are_forgotten() {
        let (mut gate, now) = (Gate::new(Reach::Everywhere), Instant::now());
        let id = ConnectionId::new_unchecked(1);
        for n in 0..2 * limits::PREFIXES {
            let remote = address(&format!("/ip6/2001:db8:{n:x}::1/tcp/1"));
            assert_eq!(gate.admit(id, &remote, now), Ok(()));
            gate.forget(id);
        }
        assert!(gate.places.len() <= limits::PREFIXES);
        for n in 0..2 * limits::MET_PREFIXES {
            gate.meet(&address(&format!("/ip6/2001:db8:{n:x}::1/tcp/1")));
        }
        assert_eq!(gate.met.len(), limits::MET_PREFIXES);
    }

    #[test]
    fn a_local_node_lets_nobody_in_from_afar() {
        let (mut gate, now) = (Gate::new(Reach::LocalLinks), Instant::now());
        let id = ConnectionId::new_unchecked(1);
        assert_eq!(gate.admit(id, &address("/ip4/192.0.2.1/tcp/1"), now), Err(Refusal::OutOfReach));
        assert_eq!(gate.admit(id, &address("/ip4/192.168.2.1/tcp/1"), now), Ok(()));
    }
}
