//! Which connections there are, and on which of them a stream is opened.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::handler::{Asked, Handler};
use super::{Doors, OpenRequest, Shared, StreamError, Totals};
use crate::net::address::device_key;
use crate::net::gate::Refusal;

/// Opens and accepts the node's streams. Forgets a peer with its last connection.
pub(in crate::net) struct Behaviour {
    doors: Arc<Doors>,
    peers: HashMap<PeerId, Peer>,
    /// At most one per place for an outbound stream, and one per peer.
    outbox: VecDeque<ToSwarm<Opened, Asked>>,
}

/// A peer has opened a stream, for the first time since it is connected.
#[derive(Debug)]
pub(in crate::net) struct Opened {
    pub(in crate::net) peer: PeerId,
}

struct Peer {
    shared: Arc<Shared>,
    /// Established connections, oldest first, and whether each leads through a relay.
    connections: Vec<(ConnectionId, bool)>,
}

impl Peer {
    /// A direct connection before a relayed one, which is slow and short; then the oldest: the newer one of two that
    /// crossed may be the one that goes.
    fn best(&self) -> Option<ConnectionId> {
        self.connections.iter().min_by_key(|(_, is_relayed)| *is_relayed).map(|(id, _)| *id)
    }
}

impl Behaviour {
    pub(in crate::net) fn new(doors: Arc<Doors>) -> Self {
        Self { doors, peers: HashMap::new(), outbox: VecDeque::new() }
    }

    /// Opens a stream on the best connection with `peer`. The request is answered here or by the connection.
    pub(in crate::net) fn open(&mut self, peer: PeerId, request: OpenRequest) {
        let Some((known, connection)) = self.peers.get(&peer).and_then(|p| Some((p, p.best()?))) else {
            drop(request.reply.send(Err(StreamError::Closed.into())));
            return;
        };
        let Ok(place) = known.shared.outbound.clone().try_acquire_owned() else {
            drop(request.reply.send(Err(StreamError::TooMany.into())));
            return;
        };
        self.outbox.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: Asked { request, place },
        });
    }

    /// Traffic with a connected peer over streams.
    pub(in crate::net) fn traffic(&self, peer: &PeerId) -> Totals {
        self.peers.get(peer).map_or_else(Totals::default, |peer| peer.shared.traffic.totals())
    }

    fn handler(&mut self, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        let key = device_key(&peer).ok_or_else(|| ConnectionDenied::new(Refusal::NoDeviceKey))?;
        let known =
            self.peers.entry(peer).or_insert_with(|| Peer { shared: Shared::new(key), connections: Vec::new() });
        Ok(Handler::new(self.doors.clone(), known.shared.clone()))
    }

    fn remove(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.connections.retain(|(id, _)| *id != connection);
        if known.connections.is_empty() {
            self.peers.remove(&peer);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Opened;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                let peer = self.peers.get_mut(&peer_id).expect("its handler was made before");
                peer.connections.push((connection_id, endpoint.is_relayed()));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. })
            // A connection that another behaviour refused after its handler was made here.
            | FromSwarm::ListenFailure(ListenFailure { peer_id: Some(peer_id), connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { peer_id: Some(peer_id), connection_id, .. }) => {
                self.remove(peer_id, connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, (): THandlerOutEvent<Self>) {
        self.outbox.push_back(ToSwarm::GenerateEvent(Opened { peer }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Opened, THandlerInEvent<Self>>> {
        // The network task polls the swarm after every `open`, and the swarm after every event of a connection, so no
        // waker is kept.
        self.outbox.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
