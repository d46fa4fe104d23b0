//! What the network task does to be reached, and to reach others, through NATs.

use std::collections::HashMap;

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, autonat, relay, swarm, upnp};
use tokio::time::Instant;

use super::Driver;
use crate::net::address::{self, Scope, is_relayed, scope};
use crate::net::limits;
use crate::net::nat::{Evidence, Mapping, NatEvent, RELAY_PROTOCOL, Reachability, Relays, came_to};
use crate::net::peers::source_towards;
use crate::net::pending::Waiter;

/// What is under way for it.
#[derive(Default)]
pub(super) struct Traversal {
    evidence: Evidence,
    relays: Relays,
    /// Dials that wait until their relay is connected and has introduced itself: only then is it known at which address
    /// others see us, which whoever we dial wants to hear.
    waiting: HashMap<PeerId, Vec<(PeerId, DialOpts)>>,
    /// When to look after relays and relayed connections again.
    wake: Option<Instant>,
}

impl Traversal {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.wake
    }

    pub(super) fn mapping(&mut self, mapping: Mapping) {
        self.evidence.mapping(mapping);
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
    }
}

impl Driver<'_> {
    pub(super) fn on_nat(&mut self, event: NatEvent) {
        match event {
            NatEvent::Through(relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. }) => {
                tracing::info!(renewal, "a relay holds a place for this node");
                self.traversal.relays.granted(&relay_peer_id);
                // Reachable meanwhile? Then it is given up again.
                self.review_reached();
            }
            NatEvent::Probe(autonat::v2::client::Event { tested_addr, result, .. }) => {
                tracing::debug!(%tested_addr, ?result, "somebody has tried whether this node is reached");
                if result.is_err() {
                    self.traversal.evidence.failed(&tested_addr, source_towards(&tested_addr));
                    self.review_reached();
                }
            }
            NatEvent::Map(event) => self.on_mapping(&event),
            NatEvent::Punch(event) => {
                tracing::debug!(peer = %event.remote_peer_id, result = ?event.result, "meeting directly")
            }
            NatEvent::Relay(event) => tracing::debug!(?event, "as a relay"),
            NatEvent::Through(_) | NatEvent::Answer(_) => {}
        }
    }

    fn on_mapping(&mut self, event: &upnp::Event) {
        let mapping = match event {
            upnp::Event::NewExternalAddr { .. } => Mapping::Mapped,
            upnp::Event::ExpiredExternalAddr { .. } => Mapping::Asked,
            upnp::Event::GatewayNotFound => Mapping::NoRouter,
            upnp::Event::NonRoutableGateway => Mapping::RouterBehind,
        };
        tracing::info!(?mapping, "the router was asked to forward ports");
        self.traversal.mapping(mapping);
        self.review_reached();
    }

    /// Without anybody to try it, a public address is taken for one where we are reached.
    pub(super) fn believe(&mut self, address: Multiaddr) {
        if !self.ports.probes && scope(&address) == Scope::Public {
            self.swarm.add_external_address(address);
        }
    }

    pub(super) fn on_observed(&mut self, address: &Multiaddr) {
        if self.traversal.evidence.observed(address, source_towards(address)) {
            let address = address::split_peer(address).1;
            self.swarm.add_external_address(address.clone());
            return self.on_confirmed(&address);
        }
        self.review_reached();
    }

    pub(super) fn on_confirmed(&mut self, address: &Multiaddr) {
        let from = if is_relayed(address) { None } else { source_towards(address) };
        if let Some(oldest) = self.traversal.evidence.confirmed(address, from) {
            self.swarm.remove_external_address(&oldest);
        }
        self.review_reached();
    }

    pub(super) fn on_expired(&mut self, address: &Multiaddr) {
        self.traversal.evidence.expired(address);
        self.review_reached();
    }

    /// An address of this machine is gone, and with it what led to it: nobody else says that we are not reached there any more.
    pub(super) fn on_lost(&mut self, address: &Multiaddr) {
        let ip = address::ip(address).filter(|ip| {
            let is_left = |other: &Multiaddr| address::ip(other) == Some(*ip);
            !self.ports.listening.borrow().iter().any(is_left)
        });
        let lost = ip.map(|ip| self.traversal.evidence.lost(ip)).unwrap_or_default();
        for gone in lost.iter().chain([address]) {
            self.swarm.remove_external_address(gone);
        }
        self.review_reached();
    }

    /// Whoever comes from afar to a public address of ours proves that it is reached, unless we made the hole ourselves.
    pub(super) fn note_guest(&mut self, end: &ConnectedPoint, was_connected: bool) {
        let ConnectedPoint::Listener { local_addr, send_back_addr } = end else { return };
        if was_connected || is_relayed(local_addr) || scope(send_back_addr) != Scope::Public {
            return;
        }
        let came_to = came_to(local_addr, &self.ports.listening.borrow());
        if let Some(address) = came_to.filter(|address| self.swarm.external_addresses().all(|known| known != address)) {
            self.swarm.add_external_address(address.clone());
            self.on_confirmed(&address);
        }
    }

    /// A listener has closed. False if it was one of our own, not a place at a relay.
    pub(super) fn was_place(&mut self, listener: ListenerId) -> bool {
        if !self.traversal.relays.closed(listener, Instant::now()) {
            return false;
        }
        tracing::info!("a relay does not hold a place for this node, or not any more");
        self.review_relays();
        true
    }

    /// Our own addresses or what is known of them may have changed.
    pub(super) fn review_reached(&mut self) {
        let now = self.traversal.evidence.reached(&self.ports.listening.borrow());
        let before = self.ports.reached.borrow().clone();
        if now != before {
            tracing::info!(reachability = ?now.reachability, n_relays = now.relayed.len(), "how this node is reached");
            let told = |reached: &crate::net::Reached| [reached.addresses.clone(), reached.relayed.clone()].concat();
            if told(&now) != told(&before) {
                let behaviour = self.swarm.behaviour_mut();
                behaviour.dht.set_external(told(&now));
                let peers: Vec<_> = self.peers.ids().copied().collect();
                behaviour.identify.again(&peers);
                self.tell_routing();
            }
            self.ports.reached.send_replace(now);
        }
        self.review_relays();
    }

    /// Asks relays for places while nobody can dial us, and gives them up when somebody can.
    pub(super) fn review_relays(&mut self) {
        let reachability = self.ports.reached.borrow().reachability;
        match reachability {
            Reachability::Public => {
                for listener in self.traversal.relays.held() {
                    self.swarm.remove_listener(listener);
                }
            }
            Reachability::Behind if self.ports.uses_relays => {
                let offering = self.peers.reached_publicly(RELAY_PROTOCOL.as_ref());
                let now = Instant::now();
                for (relay, at) in self.traversal.relays.wanted(offering, now) {
                    let address = at.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
                    match self.swarm.listen_on(address) {
                        Ok(listener) => self.traversal.relays.asked(listener, relay),
                        Err(error) => {
                            tracing::debug!(%error, "a relay cannot be asked");
                            self.traversal.relays.refused(relay, now);
                        }
                    }
                }
                if let Some(at) = self.traversal.relays.next_try() {
                    self.traversal.wake_at(at);
                }
            }
            Reachability::Behind | Reachability::Unknown => {}
        }
    }

    /// What is to be done from time to time.
    pub(super) fn on_traversal_timeout(&mut self) {
        if self.traversal.wake.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.traversal.wake = None;
        self.review_relays();
        self.review_superseded();
    }

    /// Lets go of relayed connections beside direct ones, a moment after those came about.
    pub(super) fn review_superseded(&mut self) {
        let (due, is_more) = self.peers.superseded(limits::RELAYED_GRACE);
        for connection in due {
            self.swarm.close_connection(connection);
        }
        if is_more {
            self.traversal.wake_at(Instant::now() + limits::RELAYED_GRACE);
        }
    }

    /// Dials `peer` through relays, each of which is connected first.
    pub(super) fn dial_through(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let me = *self.swarm.local_peer_id();
        let mut relays = Vec::new();
        for address in addresses.into_iter().take(limits::RELAYED_ADDRESSES) {
            let Some((relay, at)) = address::relay_of(&address).filter(|(relay, _)| *relay != me && *relay != peer)
            else {
                continue;
            };
            if self.traversal.waiting.values().map(Vec::len).sum::<usize>() >= limits::CIRCUITS_WAITING {
                break;
            }
            let options =
                DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address.clone()]).build();
            self.dials.began(peer, options.connection_id(), vec![address]);
            self.traversal.waiting.entry(relay).or_default().push((peer, options));
            relays.push((relay, at));
        }
        if relays.is_empty() {
            return self.attempt(peer, Vec::new()); // which fails, and tells whoever waits
        }
        for (relay, at) in relays {
            if self.peers.is_direct(&relay) {
                self.open_circuits(&relay);
            } else if let Ok(true) = self.dials.wait(relay, Waiter::Relay) {
                self.attempt(relay, vec![at]);
            }
        }
    }

    /// A relay may be ready: dials what has waited for it.
    pub(super) fn open_circuits(&mut self, relay: &PeerId) {
        if !self.peers.is_direct(relay) || !self.peers.is_identified(relay) {
            return;
        }
        for (peer, options) in self.traversal.waiting.remove(relay).unwrap_or_default() {
            let attempt = options.connection_id();
            if let Err(error) = self.swarm.dial(options) {
                self.on_attempt_failed(peer, attempt, &error);
            }
        }
    }

    /// A relay was not reached, or was lost.
    pub(super) fn fail_circuits(&mut self, relay: &PeerId, error: &swarm::DialError) {
        for (peer, options) in self.traversal.waiting.remove(relay).unwrap_or_default() {
            self.on_attempt_failed(peer, options.connection_id(), error);
        }
    }
}
