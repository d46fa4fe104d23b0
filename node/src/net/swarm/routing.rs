//! What the network task does for the distributed hash table.

use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::kad::{Event, InboundRequest, QueryResult};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;
use syncra_protocol::sync::score::Deed;
use tokio::sync::mpsc;

use super::Driver;
use crate::net::Routing;
use crate::net::address::{Scope, device_key, scope};
use crate::net::dht::{self, Wanted};
use crate::net::pending::Waiter;

/// Whether somebody near by has come to us: there are few, and each is worth asking for packages. Who comes from far may
/// only be looking for others, until it asks for packages itself.
pub(super) fn is_near_guest(end: &ConnectedPoint) -> bool {
    end.is_listener() && scope(end.get_remote_address()) < Scope::Public
}

fn name(result: &QueryResult) -> &'static str {
    match result {
        QueryResult::GetProviders(_) => "providers",
        QueryResult::StartProviding(_) => "provide",
        QueryResult::Bootstrap(_) => "neighbourhood",
        _ => "other",
    }
}

impl Driver<'_> {
    pub(super) fn seek(&mut self, key: ProviderKey, wanted: Wanted) {
        self.searches.want(key, wanted);
        self.begin_searches();
    }

    fn begin_searches(&mut self) {
        while let Some((key, wanted)) = self.searches.next() {
            let dht = &mut self.swarm.behaviour_mut().dht;
            let query = match &wanted {
                Wanted::Providers(_) => Some(dht.find(key)),
                // With nobody in the table the library would call it done.
                Wanted::Provided(_) if dht.n_peers() == 0 => None,
                Wanted::Provided(_) => dht.provide(key),
            };
            if let Some(query) = query {
                self.searches.began(query, wanted);
            }
        }
    }

    pub(super) fn on_dht(&mut self, event: Event) {
        match event {
            Event::OutboundQueryProgressed { id, result, step, stats } => {
                if step.last {
                    let (n_asked, n_failed, took) = (stats.num_requests(), stats.num_failures(), stats.duration());
                    tracing::debug!(what = name(&result), n_asked, n_failed, ?took, "a query of the table has ended");
                }
                let news = self.searches.progressed(id, &result, step.last);
                for (provider, wanted_by) in news.named {
                    self.meet(provider, wanted_by);
                }
                if news.is_given_up {
                    self.swarm.behaviour_mut().dht.finish(&id);
                }
                if news.is_last {
                    self.begin_searches();
                }
            }
            Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                let known = self.ports.book.addresses(&record.provider);
                let (provider, from) = (device_key(&record.provider), self.peers.block(&record.provider));
                if let (false, Some(peer)) = (self.swarm.behaviour_mut().dht.keep(record, known, from), provider) {
                    self.report(peer, Deed::BadRecord);
                }
                self.tell_routing();
            }
            Event::RoutingUpdated { .. } => self.tell_routing(),
            _ => {}
        }
    }

    /// Connects to a provider that the table has named.
    fn meet(&mut self, provider: PeerId, wanted_by: mpsc::Sender<DeviceKey>) {
        if provider == *self.swarm.local_peer_id() || self.is_shut_out(&provider) {
            return;
        }
        if let Some(key) = self.peers.key(&provider) {
            self.promote(provider);
            let _ = wanted_by.try_send(key); // there is room for every provider
            return;
        }
        // Too many wait for it already: one of them will hear of it.
        if let Ok(true) = self.dials.wait(provider, Waiter::Found(wanted_by)) {
            let mut addresses = self.ports.book.addresses(&provider);
            addresses.extend(self.swarm.behaviour_mut().dht.addresses(provider));
            self.try_all(provider, addresses);
        }
    }

    /// Takes a peer into the routing table, or out of it, as it describes itself.
    pub(super) fn route(&mut self, peer: PeerId) {
        let dht = &mut self.swarm.behaviour_mut().dht;
        if self.peers.speaks(&peer, dht::PROTOCOL) {
            dht.add(peer, self.ports.book.addresses(&peer));
        } else {
            dht.remove(&peer);
        }
        self.tell_routing();
    }

    /// Somebody came or went: the farthest peer may be another.
    pub(super) fn review_realm(&mut self) {
        let realm = self.peers.farthest().unwrap_or(Scope::Loopback);
        if self.swarm.behaviour_mut().dht.set_realm(realm) {
            for peer in self.peers.ids().copied().collect::<Vec<_>>() {
                self.route(peer);
            }
        }
    }

    pub(super) fn tell_routing(&mut self) {
        let dht = &mut self.swarm.behaviour_mut().dht;
        let now = Routing { n_nodes: dht.n_peers(), is_server: dht.is_server(), n_records: dht.n_records() };
        self.ports.routing.send_if_modified(|known| std::mem::replace(known, now) != now);
    }
}
