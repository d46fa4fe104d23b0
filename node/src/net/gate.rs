//! Who may connect at all: only devices with Ed25519 keys, only from within our reach, only so many from one place.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address::{self, device_key};
use super::limits;
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
}

/// Refuses connections before they cost anything.
pub(super) struct Gate {
    reach: Reach,
    /// Inbound connections, finished or not, and where they come from.
    inbound: HashMap<ConnectionId, Prefix>,
    crowd: HashMap<Prefix, usize>,
}

/// An IPv4 address, an IPv6 /64, or an address of the link: what one machine has without effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix(IpAddr);

impl Prefix {
    /// `None` for this machine, which may crowd itself, and for what is no IP address.
    fn of(remote: &Multiaddr) -> Option<Self> {
        let ip = address::ip(remote)?;
        match ip {
            _ if ip.is_loopback() => None,
            IpAddr::V4(_) => Some(Self(ip)),
            // Every machine of every link has the same /64.
            IpAddr::V6(of_link) if of_link.is_unicast_link_local() => Some(Self(ip)),
            IpAddr::V6(ip) => Some(Self(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into())),
        }
    }
}

impl Gate {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, inbound: HashMap::new(), crowd: HashMap::new() }
    }

    fn admit(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), Refusal> {
        if !self.reach.covers(remote) {
            return Err(Refusal::OutOfReach);
        }
        let Some(prefix) = Prefix::of(remote) else { return Ok(()) };
        let n = self.crowd.entry(prefix).or_default();
        if *n >= limits::CONNECTIONS_PER_PREFIX {
            return Err(Refusal::Crowded);
        }
        *n += 1;
        self.inbound.insert(id, prefix);
        Ok(())
    }

    fn forget(&mut self, id: ConnectionId) {
        let Some(prefix) = self.inbound.remove(&id) else { return };
        if let Some(n) = self.crowd.get_mut(&prefix) {
            *n -= 1;
            if *n == 0 {
                self.crowd.remove(&prefix);
            }
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
        self.admit(id, from).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
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

    #[test]
    fn one_place_gets_so_many_connections_and_gives_them_back() {
        let mut gate = Gate::new(Reach::Everywhere);
        let ids: Vec<_> = (0..=limits::CONNECTIONS_PER_PREFIX).map(ConnectionId::new_unchecked).collect();
        let (last, first) = ids.split_last().expect("ids");
        for id in first {
            let remote = address(&format!("/ip6/2001:db8::{id}/tcp/1"));
            assert_eq!(gate.admit(*id, &remote), Ok(()));
        }
        assert_eq!(gate.admit(*last, &address("/ip6/2001:db8::ffff/tcp/1")), Err(Refusal::Crowded));
        assert_eq!(gate.admit(*last, &address("/ip6/2001:db8:0:1::1/tcp/1")), Ok(()), "another /64");
        gate.forget(first[0]);
        assert_eq!(gate.admit(first[0], &address("/ip6/2001:db8::ffff/tcp/1")), Ok(()));
        for id in ids {
            gate.forget(id);
        }
        assert!(gate.crowd.is_empty() && gate.inbound.is_empty(), "nothing leaks");
    }

    #[test]
    fn a_local_node_lets_nobody_in_from_afar() {
        let mut gate = Gate::new(Reach::LocalLinks);
        let id = ConnectionId::new_unchecked(1);
        assert_eq!(gate.admit(id, &address("/ip4/192.0.2.1/tcp/1")), Err(Refusal::OutOfReach));
        assert_eq!(gate.admit(id, &address("/ip4/192.168.2.1/tcp/1")), Ok(()));
    }
}
