//! Whether others can dial this node: what it concludes from what they say and do. Decides, and does nothing.
//!
//! Being seen at a public address that none of our interfaces has means a NAT. Being tried there in vain means a firewall.
//! Being tried with success, or being dialled by somebody from afar, means that we are reached. A port that the router
//! forwards on its own word counts as the latter.

use std::collections::VecDeque;

use libp2p::Multiaddr;

use super::public::is_public;
use crate::net::address::{self, is_relayed, split_peer};
use crate::net::limits;

/// Whether others can dial this node from beyond its own network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody from beyond has said anything yet.
    #[default]
    Unknown,
    /// They can.
    Public,
    /// They cannot: a NAT or a firewall is in between.
    Behind,
}

/// What has become of asking the router to forward ports.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// It is not asked.
    #[default]
    Off,
    /// It was asked and has not answered, or forwards nothing.
    Asked,
    /// No router answers to UPnP.
    NoRouter,
    /// The router is behind another one.
    RouterBehind,
    /// It forwards.
    Mapped,
}

/// How this node is reached from beyond its own network.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whether it can be dialled.
    pub reachability: Reachability,
    /// Where, as far as that has been tried.
    pub addresses: Vec<Multiaddr>,
    /// Where through relays, which hold a place for it.
    pub relayed: Vec<Multiaddr>,
    /// Whether the router forwards ports.
    pub mapping: Mapping,
}

/// What is known.
#[derive(Debug, Default)]
pub(in crate::net) struct Evidence {
    confirmed: Vec<Multiaddr>,
    relayed: Vec<Multiaddr>,
    observed: VecDeque<Multiaddr>,
    failed: VecDeque<Multiaddr>,
    mapping: Mapping,
}

fn note(list: &mut VecDeque<Multiaddr>, address: Multiaddr) {
    if !list.contains(&address) {
        if list.len() >= limits::OBSERVED_ADDRESSES {
            list.pop_front();
        }
        list.push_back(address);
    }
}

impl Evidence {
    /// Somebody sees us at an address.
    pub(in crate::net) fn observed(&mut self, address: &Multiaddr) {
        if is_public(address) {
            note(&mut self.observed, split_peer(address).1);
        }
    }

    /// Somebody has tried an address in vain.
    pub(in crate::net) fn failed(&mut self, address: &Multiaddr) {
        if is_public(address) {
            note(&mut self.failed, split_peer(address).1);
        }
    }

    /// We are reached at an address.
    pub(in crate::net) fn confirmed(&mut self, address: &Multiaddr) {
        let (_, address) = split_peer(address);
        self.failed.retain(|known| *known != address);
        let list = if is_relayed(&address) { &mut self.relayed } else { &mut self.confirmed };
        if !list.contains(&address) && list.len() < limits::ANNOUNCED_ADDRESSES {
            list.push(address);
        }
    }

    /// Not any more.
    pub(in crate::net) fn expired(&mut self, address: &Multiaddr) {
        let (_, address) = split_peer(address);
        self.confirmed.retain(|known| *known != address);
        self.relayed.retain(|known| *known != address);
    }

    /// The router has said something.
    pub(in crate::net) fn mapping(&mut self, mapping: Mapping) {
        self.mapping = mapping;
    }

    /// What follows for a node that listens at these addresses.
    pub(in crate::net) fn reached(&self, listening: &[Multiaddr]) -> Reached {
        let is_ours = |seen: &Multiaddr| listening.iter().any(|own| address::ip(own) == address::ip(seen));
        let reachability = if !self.confirmed.is_empty() {
            Reachability::Public
        } else if !self.failed.is_empty() || self.observed.iter().any(|seen| !is_ours(seen)) {
            Reachability::Behind
        } else {
            Reachability::Unknown
        };
        let (addresses, relayed) = (self.confirmed.clone(), self.relayed.clone());
        Reached { reachability, addresses, relayed, mapping: self.mapping }
    }
}

/// The listening address that somebody from afar has come to: `local` as the system tells it, which for UDP is mostly
/// just the port.
pub(in crate::net) fn came_to(local: &Multiaddr, listening: &[Multiaddr]) -> Option<Multiaddr> {
    let public = || listening.iter().filter(|address| is_public(address));
    if let Some(exact) = public().find(|address| *address == local) {
        return Some(exact.clone());
    }
    let ip = address::ip(local).filter(std::net::IpAddr::is_unspecified)?;
    let is_it = |address: &&Multiaddr| {
        address::ip(address).is_some_and(|other| other.is_ipv4() == ip.is_ipv4())
            && address.iter().skip(1).eq(local.iter().skip(1))
    };
    let mut matching = public().filter(is_it);
    let first = matching.next()?;
    // Of several it may be any.
    matching.next().is_none().then(|| first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("address")
    }

    const PRIVATE: &str = "/ip4/192.168.0.9/tcp/4001";
    const PUBLIC: &str = "/ip4/203.0.113.9/tcp/4001";

    #[test]
    fn a_nat_a_firewall_and_the_open_are_told_apart() {
        let home = [address(PRIVATE)];
        let mut evidence = Evidence::default();
        assert_eq!(evidence.reached(&home).reachability, Reachability::Unknown);
        for near in ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.1/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip6/fe80::1/tcp/1"] {
            evidence.observed(&address(near));
            evidence.failed(&address(near));
        }
        assert_eq!(evidence.reached(&home).reachability, Reachability::Unknown, "neighbours know nothing of it");
        evidence.observed(&address(PUBLIC));
        assert_eq!(evidence.reached(&home).reachability, Reachability::Behind);
        let server = [address(PUBLIC)];
        assert_eq!(evidence.reached(&server).reachability, Reachability::Unknown, "an address of its own");
        evidence.failed(&address(PUBLIC));
        assert_eq!(evidence.reached(&server).reachability, Reachability::Behind, "and nobody gets there");
        evidence.confirmed(&address(PUBLIC));
        let reached = evidence.reached(&home);
        assert_eq!((reached.reachability, reached.addresses), (Reachability::Public, vec![address(PUBLIC)]));
        evidence.expired(&address(PUBLIC));
        assert_eq!(evidence.reached(&home).reachability, Reachability::Behind);
    }

    #[test]
    fn places_at_relays_make_nobody_public_and_lies_are_bounded() {
        let relay = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";
        let mut evidence = Evidence::default();
        evidence.confirmed(&address(&format!("{PUBLIC}{relay}/p2p/{}", libp2p::PeerId::random())));
        let reached = evidence.reached(&[]);
        assert_eq!((reached.reachability, reached.addresses.len()), (Reachability::Unknown, 0));
        assert_eq!(reached.relayed, vec![address(&format!("{PUBLIC}{relay}"))]);
        for port in 1..1_000 {
            evidence.observed(&address(&format!("/ip4/203.0.113.9/tcp/{port}")));
            evidence.failed(&address(&format!("/ip4/203.0.113.9/tcp/{port}")));
        }
        assert_eq!(
            (evidence.observed.len(), evidence.failed.len()),
            (limits::OBSERVED_ADDRESSES, limits::OBSERVED_ADDRESSES)
        );
    }

    #[test]
    fn who_comes_from_afar_proves_one_address() {
        let quic = |ip: &str| address(&format!("/ip4/{ip}/udp/4001/quic-v1"));
        let listening = [address(PRIVATE), address(PUBLIC), quic("203.0.113.9"), quic("192.168.0.9")];
        assert_eq!(came_to(&address(PUBLIC), &listening), Some(address(PUBLIC)));
        assert_eq!(came_to(&address(PRIVATE), &listening), None, "forwarded by a router: it knows where, we do not");
        assert_eq!(came_to(&quic("0.0.0.0"), &listening), Some(quic("203.0.113.9")));
        assert_eq!(came_to(&address("/ip4/0.0.0.0/udp/9/quic-v1"), &listening), None);
        let two = [quic("203.0.113.9"), quic("203.0.113.10")];
        assert_eq!(came_to(&quic("0.0.0.0"), &two), None, "one of two");
    }
}
