//! Addresses of peers that we have heard of. Hearsay until a handshake proves it; bounded, the stalest goes first.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId};

use super::address::is_dialable;
use super::limits;

/// Known addresses.
#[derive(Debug, Default)]
pub(super) struct Book {
    peers: HashMap<PeerId, Entry>,
    /// Counts every change: the order of last mention.
    clock: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// Newest last.
    addresses: Vec<Multiaddr>,
    mentioned: u64,
}

impl Book {
    /// Remembers addresses of `peer`, those that can be dialled.
    pub(super) fn add(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        let addresses: Vec<_> = addresses.into_iter().filter(is_dialable).take(limits::ADDRESSES_PER_PEER).collect();
        if addresses.is_empty() {
            return;
        }
        self.clock += 1;
        let entry = self.peers.entry(peer).or_default();
        entry.mentioned = self.clock;
        for address in addresses {
            entry.addresses.retain(|known| *known != address);
            entry.addresses.push(address);
        }
        let surplus = entry.addresses.len().saturating_sub(limits::ADDRESSES_PER_PEER);
        entry.addresses.drain(..surplus);
        self.shrink();
    }

    /// The addresses of `peer`, newest first.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.peers.get(peer).map(|entry| entry.addresses.iter().rev().cloned().collect()).unwrap_or_default()
    }

    /// Forgets an address that turned out to belong to somebody else.
    pub(super) fn remove(&mut self, peer: &PeerId, address: &Multiaddr) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.addresses.retain(|known| known != address);
            if entry.addresses.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    fn shrink(&mut self) {
        if self.peers.len() <= limits::KNOWN_PEERS {
            return;
        }
        if let Some(stalest) = self.peers.iter().min_by_key(|(_, entry)| entry.mentioned).map(|(peer, _)| *peer) {
            self.peers.remove(&stalest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/10.0.0.1/tcp/{port}").parse().expect("address")
    }

    #[test]
    fn addresses_are_bounded_and_the_newest_come_first() {
        let mut book = Book::default();
        let peer = PeerId::random();
        for port in 1..=limits::ADDRESSES_PER_PEER + 3 {
            book.add(peer, [address(port)]);
        }
        book.add(peer, [address(7)]);
        let known = book.addresses(&peer);
        assert_eq!(known.len(), limits::ADDRESSES_PER_PEER);
        assert_eq!(known[0], address(7));
        assert!(!known.contains(&address(1)));
        for known in known {
            book.remove(&peer, &known);
        }
        assert!(book.peers.is_empty());
    }

    #[test]
    fn the_stalest_peer_goes_first() {
        let mut book = Book::default();
        let first = PeerId::random();
        let second = PeerId::random();
        book.add(first, [address(1)]);
        book.add(second, [address(1)]);
        book.add(first, [address(2)]);
        for _ in 2..=limits::KNOWN_PEERS {
            book.add(PeerId::random(), [address(1)]);
        }
        assert_eq!(book.peers.len(), limits::KNOWN_PEERS);
        assert_eq!(book.addresses(&first).len(), 2);
        assert_eq!(book.addresses(&second).len(), 0);
    }
}
