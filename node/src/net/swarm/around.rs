//! Where this node is itself, and who is seen around it on the local links.

use libp2p::{Multiaddr, PeerId};

use super::Driver;
use crate::net::address::{self, device_key};
use crate::net::lan::Sighting;
use crate::net::{NetEvent, limits};

impl Driver<'_> {
    pub(super) fn learn(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let reach = self.ports.reach;
        self.ports.book.add(peer, addresses.into_iter().filter(|address| reach.covers(address)));
    }

    pub(super) fn on_listening(&mut self, address: Multiaddr) {
        if address::is_relayed(&address) {
            return; // a place at a relay is told by the relay, see `on_confirmed`
        }
        tracing::debug!(%address, "listening");
        self.believe(address.clone());
        self.ports.listening.send_modify(|known| known.push(address.clone()));
        self.emit(NetEvent::NewListenAddr { address });
        self.dial_neighbours(); // those that were lost with the address before
    }

    pub(super) fn on_not_listening(&mut self, address: &Multiaddr) {
        self.ports.listening.send_modify(|known| known.retain(|other| other != address));
        self.emit(NetEvent::ExpiredListenAddr { address: address.clone() });
        // The machine has another network: whatever came from the address that is gone gets no answer any more, which
        // would be noticed after minutes.
        let dead = address::ip(address).map(|ip| self.peers.from(ip)).unwrap_or_default();
        for connection in dead {
            self.swarm.close_connection(connection);
        }
        self.on_lost(address);
    }

    pub(super) fn on_sighting(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Here { peer, addresses } => self.on_neighbour(peer, addresses),
            Sighting::Gone { peer } => {
                if let Some(key) = self.ports.neighbours.remove(&peer) {
                    self.emit(NetEvent::NeighbourGone { peer: key });
                }
            }
        }
    }

    pub(super) fn on_neighbour(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let is_known = self.ports.neighbours.contains_key(&peer);
        let Some(key) = device_key(&peer) else { return };
        if !is_known && self.ports.neighbours.len() >= limits::NEIGHBOURS || self.is_shut_out(&peer) {
            return;
        }
        self.learn(peer, addresses.clone());
        self.ports.neighbours.insert(peer, key);
        if !is_known {
            self.emit(NetEvent::Neighbour { peer: key, addresses });
        }
        self.dial_neighbour(peer);
    }

    pub(super) fn dial_neighbours(&mut self) {
        let all: Vec<_> = self.ports.neighbours.keys().copied().collect();
        all.into_iter().for_each(|peer| self.dial_neighbour(peer));
    }

    pub(super) fn dial_neighbour(&mut self, peer: PeerId) {
        if self.ports.dials_neighbours && !self.swarm.is_connected(&peer) && !self.dials.is_dialling(&peer) {
            self.begin(peer);
        }
    }
}
