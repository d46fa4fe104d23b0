//! The distributed hash table: libp2p's Kademlia, kept from telling or believing addresses that lead nowhere.
//!
//! One table serves a machine alone, a local network and the internet, so addresses have to be told apart. The *realm* is
//! the distance of the farthest peer that is connected. Nearer addresses than that are of no use to all peers alike: they
//! are neither announced, nor kept in the routing table, nor dialled when somebody names them, so that nobody learns
//! from us what our local network looks like, or makes us knock at its doors. Whoever has no address that reaches as far
//! as its realm asks others and answers nobody (Kademlia's client mode).

mod records;
mod searches;

use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::{self, Mode, ProviderRecord, QueryId};
use libp2p::swarm::behaviour::{ExpiredListenAddr, ExternalAddrConfirmed, ExternalAddrExpired, NewListenAddr};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use syncra_protocol::record::ProviderKey;

pub use records::{Provider, Records};
pub(super) use searches::{Searches, Wanted};

use super::address::{self, Block, Scope, is_dialable, is_relayed, scope};
use super::told::told_scope;
use super::{Part, limits};

/// The protocol's name on the wire.
pub(super) const PROTOCOL: &str = "/syncra/kad/1";

type Kademlia = kad::Behaviour<Records>;

fn config() -> kad::Config {
    let mut config = kad::Config::new(StreamProtocol::new(PROTOCOL));
    config
        .set_query_timeout(limits::DHT_QUERY)
        .set_substreams_timeout(limits::DHT_REQUEST)
        .set_max_packet_size(limits::DHT_PACKET_BYTES)
        .set_parallelism(NonZeroUsize::new(limits::DHT_PATHS).expect("not zero"))
        .disjoint_query_paths(true)
        // Who gets into the table, and with which addresses, is decided by `admits`.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(limits::PROVIDER_TTL))
        // The library would announce thousands of keys in one go; `node/announce.rs` paces them.
        .set_provider_publication_interval(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_caching(kad::Caching::Disabled);
    config
}

/// Kademlia within its realm.
pub(super) struct Dht {
    kademlia: Kademlia,
    records: Records,
    realm: Scope,
    part: Part,
    listening: Vec<Multiaddr>,
    /// Where this node is reached from afar, through relays too.
    external: Vec<Multiaddr>,
    /// Whether a public address counts only when others were seen to reach it.
    confirmed_only: bool,
    /// Of these, what others are told.
    announced: Vec<Multiaddr>,
}

impl Dht {
    /// A table with these records. That of a node with no part in it stays empty.
    pub(super) fn new(me: PeerId, records: Records, part: Part) -> Self {
        Self::with_config(me, records, part, config())
    }

    fn with_config(me: PeerId, records: Records, part: Part, config: kad::Config) -> Self {
        let mut kademlia = Kademlia::with_config(me, records.clone(), config);
        kademlia.set_mode(Some(Mode::Client));
        let (listening, external, announced) = (Vec::new(), Vec::new(), Vec::new());
        let (realm, confirmed_only) = (Scope::Loopback, false);
        Self { kademlia, records, realm, part, listening, external, confirmed_only, announced }
    }

    /// From now on the node takes itself for reached from afar only where [`Dht::set_external`] says so.
    pub(super) fn believe_confirmed_only(&mut self) {
        self.confirmed_only = true;
    }

    /// Where this node is reached from afar, through relays too.
    pub(super) fn set_external(&mut self, external: Vec<Multiaddr>) {
        self.external = external;
        self.announce();
    }

    /// Where a peer is, as far as the table and queries under way know.
    pub(super) fn addresses(&mut self, peer: PeerId) -> Vec<Multiaddr> {
        let nobody = ConnectionId::new_unchecked(0); // asks only, and dials nobody
        let named = self.kademlia.handle_pending_outbound_connection(nobody, Some(peer), &[], Endpoint::Dialer);
        let mut named: Vec<_> =
            named.unwrap_or_default().iter().map(|address| address::split_peer(address).1).collect();
        named.retain(|address| self.admits(address));
        named.truncate(limits::ADDRESSES_PER_PEER);
        named
    }

    /// How far away the farthest peer is now. What is too near for it is forgotten.
    pub(super) fn set_realm(&mut self, realm: Scope) -> bool {
        if realm == self.realm {
            return false;
        }
        self.realm = realm;
        let mut known: Vec<(PeerId, Multiaddr)> = Vec::new();
        for bucket in self.kademlia.kbuckets() {
            for entry in bucket.iter() {
                known.extend(entry.node.value.iter().map(|address| (*entry.node.key.preimage(), address.clone())));
            }
        }
        known.retain(|(_, address)| !self.admits(address));
        for (peer, address) in known {
            self.kademlia.remove_address(&peer, &address);
        }
        self.announce();
        true
    }

    /// Takes a peer that speaks the protocol into the table, at those of its addresses that are of use.
    pub(super) fn add(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        addresses.retain(|address| self.admits(address));
        for address in addresses.into_iter().take(limits::RECORD_ADDRESSES) {
            self.kademlia.add_address(&peer, address);
        }
    }

    /// Takes a peer out of the table.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.kademlia.remove_peer(peer);
    }

    /// Peers in the routing table.
    pub(super) fn n_peers(&mut self) -> usize {
        self.kademlia.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    /// Whether others may ask this node.
    pub(super) fn is_server(&self) -> bool {
        self.kademlia.mode() == Mode::Server
    }

    /// Records kept for others.
    pub(super) fn n_records(&self) -> usize {
        self.records.n_foreign()
    }

    /// Looks for providers.
    pub(super) fn find(&mut self, key: ProviderKey) -> QueryId {
        self.kademlia.get_providers(records::wire(key))
    }

    /// Tells those nearest to the key that we provide it. Nothing when there are too many keys already.
    pub(super) fn provide(&mut self, key: ProviderKey) -> Option<QueryId> {
        self.kademlia.start_providing(records::wire(key)).ok()
    }

    /// Says no more that we provide a key. Others believe it until it expires.
    pub(super) fn stop_providing(&mut self, key: ProviderKey) {
        self.kademlia.stop_providing(&records::wire(key));
    }

    /// Ends a query that nobody waits for any more.
    pub(super) fn finish(&mut self, query: &QueryId) {
        if let Some(mut query) = self.kademlia.query_mut(query) {
            query.finish();
        }
    }

    /// Keeps what a peer who is connected from there says of itself, if it can be found: at what it announced, else where it
    /// is known to be. Whether it was a record at all; one for which there is no place is nobody's fault.
    pub(super) fn keep(&mut self, mut record: ProviderRecord, known: Vec<Multiaddr>, from: Option<Block>) -> bool {
        let addresses = record.addresses.iter().map(|address| address::split_peer(address).1).chain(known);
        let mut kept: Vec<Multiaddr> = Vec::new();
        for address in addresses.filter(|address| self.admits(address)) {
            if kept.len() < limits::RECORD_ADDRESSES && !kept.contains(&address) {
                kept.push(address);
            }
        }
        if kept.is_empty() {
            tracing::debug!(peer = %record.provider, "says that it provides something, but not where it is");
            return true; // it may have come before the realm was known
        }
        record.addresses = kept;
        let outcome = self.records.keep(record, from);
        if let Err(error) = &outcome {
            tracing::debug!(%error, "a provider record is not kept");
        }
        !matches!(outcome, Err(kad::store::Error::ValueTooLarge))
    }

    fn admits(&self, address: &Multiaddr) -> bool {
        let (_, address) = address::split_peer(address);
        let reaches = told_scope(&address).is_some_and(|scope| scope >= self.realm);
        self.part != Part::None && reaches && is_dialable(&address)
    }

    /// Announces what reaches as far as the realm, and answers others if there is anything.
    fn announce(&mut self) {
        let is_believed = |address: &&Multiaddr| !self.confirmed_only || scope(address) < Scope::Public;
        let wanted: Vec<Multiaddr> = self
            .listening
            .iter()
            .filter(is_believed)
            .chain(&self.external)
            .filter(|address| self.part == Part::Serves && self.admits(address))
            .take(limits::ANNOUNCED_ADDRESSES)
            .cloned()
            .collect();
        let before = std::mem::replace(&mut self.announced, wanted.clone());
        for addr in before.iter().filter(|address| !wanted.contains(address)) {
            self.kademlia.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
        }
        for addr in wanted.iter().filter(|address| !before.contains(address)) {
            self.kademlia.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
        }
        // Through a relay providers are fetched from; those who answer questions have to be reached by everybody.
        let is_dialled = wanted.iter().any(|address| !is_relayed(address));
        let mode = if is_dialled { Mode::Server } else { Mode::Client };
        if mode != self.kademlia.mode() {
            self.kademlia.set_mode(Some(mode));
        }
    }
}

impl NetworkBehaviour for Dht {
    type ConnectionHandler = <Kademlia as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut named = self.kademlia.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        // Relays are connected first, which only the network task can do.
        named.retain(|address| self.admits(address) && !is_relayed(address));
        named.truncate(limits::ADDRESSES_PER_PEER);
        Ok(named)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kademlia.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kademlia.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // What is told of them is decided above.
            FromSwarm::ExternalAddrConfirmed(_) | FromSwarm::ExternalAddrExpired(_) => {}
            FromSwarm::NewListenAddr(NewListenAddr { addr, .. }) if is_relayed(addr) => {}
            FromSwarm::NewListenAddr(NewListenAddr { addr, .. }) => {
                self.listening.push(addr.clone());
                self.announce();
            }
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { addr, .. }) => {
                self.listening.retain(|known| known != addr);
                self.announce();
            }
            event => self.kademlia.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.kademlia.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<kad::Event, THandlerInEvent<Self>>> {
        self.kademlia.poll(cx)
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
