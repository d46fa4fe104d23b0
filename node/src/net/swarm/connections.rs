//! What the network task does while somebody is connected: from the handshake over what they tell of themselves to the end.

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{self, ConnectionId};
use libp2p::{PeerId, identify, ping};
use syncra_protocol::key::DeviceKey;

use super::{Driver, routing};
use crate::net::NetEvent;
use crate::net::address::{self, Scope, device_key, scope};
use crate::net::pending::Waiter;

impl Driver<'_> {
    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(key) = device_key(&peer) else { return }; // the gate refuses others
        if endpoint.is_dialer() {
            self.ports.book.add(peer, [address::split_peer(endpoint.get_remote_address()).1]);
        }
        self.note_guest(endpoint, self.peers.key(&peer).is_some());
        let stranger = self.dials.stranger(connection);
        let is_meant = stranger.is_some() || self.dials.is_meant(&peer) || self.ports.neighbours.contains_key(&peer);
        self.peers.opened(peer, key, connection, endpoint);
        if let Some(reply) = stranger {
            drop(reply.send(Ok(key)));
        }
        let waiters = self.dials.finish(&peer);
        self.wrong.remove(&peer);
        for waiter in waiters {
            match waiter {
                Waiter::Dial(reply) => drop(reply.send(Ok(key))),
                Waiter::Reach(reply) => drop(reply.send(Ok(()))),
                Waiter::Open(request) => self.swarm.behaviour_mut().streams.open(peer, request),
                Waiter::Found(found) => drop(found.try_send(key)), // there is room for every provider
                Waiter::Relay => {}                                // told when it has introduced itself
            }
        }
        if is_meant || routing::is_near_guest(endpoint) {
            self.promote(peer);
        }
        self.review_realm();
        self.review_superseded();
    }

    /// From now on a peer is connected for the sake of packages.
    pub(super) fn promote(&mut self, peer: PeerId) {
        if let Some(key) = self.peers.promote(&peer) {
            tracing::info!(peer = key.fmt_short(), "connected");
            self.emit(NetEvent::Connected { peer: key });
            self.tell_addresses(key, &peer);
        }
    }

    pub(super) fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, cause: Option<&swarm::ConnectionError>) {
        let Some((key, was_contact)) = self.peers.closed(&peer, connection) else { return };
        self.fail_circuits(&peer, &swarm::DialError::Aborted);
        self.review_realm();
        self.tell_mesh();
        if was_contact {
            return;
        }
        tracing::info!(peer = key.fmt_short(), ?cause, "disconnected");
        self.emit(NetEvent::Disconnected { peer: key });
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        // What a far peer says about private networks is not about ours.
        let is_near = self.peers.nearest(&peer_id) < Some(Scope::Public);
        let addresses = info.listen_addrs.iter().map(|address| address::split_peer(address).1);
        let addresses: Vec<_> = addresses.filter(|address| is_near || scope(address) == Scope::Public).collect();
        self.learn(peer_id, addresses);
        self.peers.identified(&peer_id, &info);
        self.route(peer_id);
        self.open_circuits(&peer_id);
        self.review_relays();
        if let Some(key) = self.peers.key(&peer_id).filter(|_| !self.peers.is_contact(&peer_id)) {
            self.tell_addresses(key, &peer_id);
        }
    }

    pub(super) fn tell_addresses(&self, peer: DeviceKey, id: &PeerId) {
        let addresses = self.ports.book.addresses(id);
        if !addresses.is_empty() {
            self.emit(NetEvent::Addresses { peer, addresses });
        }
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => self.peers.pinged(&event.peer, *rtt),
            Err(ping::Failure::Unsupported) => {}
            // The library only tells, and nothing else notices a peer that went to sleep or lost its network.
            Err(why) => {
                tracing::debug!(peer = %event.peer, %why, "a peer does not answer; its connection is closed");
                self.swarm.close_connection(event.connection);
            }
        }
    }
}
