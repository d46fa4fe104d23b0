//! How this node introduces itself (libp2p's identify): to peers near by with all its addresses, to those far away only
//! with those at which it is reached from there. They cannot use the others, which tell what a network looks like inside.

use std::collections::{HashMap, HashSet};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, identify, identity};

use super::address::{is_far, is_relayed};

/// The protocol family that identify names; only for people who look at it.
const FAMILY: &str = "/syncra/1";

/// Two introductions, each for its own connections.
pub(super) struct Introduce {
    near: identify::Behaviour,
    far: identify::Behaviour,
    /// Connections with peers far away.
    is_far: HashMap<ConnectionId, PeerId>,
    /// Of these, those that we began from a port on which we listen: how the NAT maps that port shows there.
    from_listening_port: HashSet<ConnectionId>,
    /// A mapping that was just seen.
    seen: Option<Multiaddr>,
}

impl Introduce {
    pub(super) fn new(keypair: &identity::Keypair, agent: &str) -> Self {
        let config = |hides: bool| {
            identify::Config::new(FAMILY.to_owned(), keypair.public())
                .with_agent_version(agent.to_owned())
                .with_hide_listen_addrs(hides)
                .with_push_listen_addr_updates(!hides)
                // Addresses are remembered by the network task, in its own bounded book.
                .with_cache_size(0)
        };
        let (near, far) = (identify::Behaviour::new(config(false)), identify::Behaviour::new(config(true)));
        let (is_far, from_listening_port) = Default::default();
        Self { near, far, is_far, from_listening_port, seen: None }
    }

    /// Tells everybody that our addresses have changed.
    pub(super) fn again(&mut self, peers: &[PeerId]) {
        self.near.push(peers.iter().copied());
        self.far.push(peers.iter().copied());
    }

    fn of(&mut self, id: ConnectionId) -> &mut identify::Behaviour {
        if self.is_far.contains_key(&id) { &mut self.far } else { &mut self.near }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.is_far.remove(&id);
        self.from_listening_port.remove(&id);
    }

    fn closed(&mut self, mut event: ConnectionClosed<'_>) {
        let of_peer = |peer: &PeerId| *peer == event.peer_id;
        let n_far = self.is_far.values().filter(|peer| of_peer(peer)).count();
        let id = event.connection_id;
        // Each of the two counts its own.
        event.remaining_established = match self.is_far.contains_key(&id) {
            true => n_far - 1,
            false => event.remaining_established.saturating_sub(n_far),
        };
        self.of(id).on_swarm_event(FromSwarm::ConnectionClosed(event));
        self.forget(id);
    }
}

impl NetworkBehaviour for Introduce {
    type ConnectionHandler = <identify::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_far(Some(local), remote) {
            self.is_far.insert(id, peer);
        }
        self.of(id).handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_far(None, address) {
            self.is_far.insert(id, peer);
            if port == PortUse::Reuse && !is_relayed(address) {
                self.from_listening_port.insert(id);
            }
        }
        self.of(id).handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) => {
                self.of(connection_id).on_swarm_event(event);
            }
            FromSwarm::ConnectionClosed(event) => self.closed(event),
            FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.of(connection_id).on_swarm_event(event);
                self.forget(connection_id);
            }
            event => {
                self.near.on_swarm_event(event);
                self.far.on_swarm_event(event);
            }
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.of(id).on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<identify::Event, THandlerInEvent<Self>>> {
        if let Some(seen) = self.seen.take() {
            return Poll::Ready(ToSwarm::NewExternalAddrCandidate(seen));
        }
        if let Poll::Ready(event) = self.near.poll(cx) {
            return Poll::Ready(event);
        }
        let event = std::task::ready!(self.far.poll(cx));
        // The library takes for granted that a NAT keeps ports, and tells only what our address would be if it did.
        if let ToSwarm::GenerateEvent(identify::Event::Received { connection_id, info, .. }) = &event
            && self.from_listening_port.contains(connection_id)
        {
            self.seen = Some(info.observed_addr.clone());
        }
        Poll::Ready(event)
    }
}
