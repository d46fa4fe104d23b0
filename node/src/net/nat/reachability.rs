//! Whether others can dial this node: what it concludes from what they say and do. Decides, and does nothing.
//!
//! Being seen at a public address that none of our interfaces has means a NAT. Being tried there in vain means a firewall.
//! Being tried with success, or being dialled by somebody from afar, means that we are reached. A port that the router
//! forwards on its own word counts as the latter.
//!
//! All of it is about one network. An address outside leads to one of this machine's own, and when that is gone whatever was
//! seen from there says nothing any more. Who comes back to a network, and is seen there where it was reached before, is
//! reached there again: the library tries each address only once.

use std::collections::VecDeque;
use std::net::IpAddr;

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

/// An address of ours as it looks from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    address: Multiaddr,
    /// The address of this machine that it leads to, as far as that is known.
    from: Option<IpAddr>,
}

/// What is known. Of each kind the newest are kept.
#[derive(Debug, Default)]
pub(in crate::net) struct Evidence {
    confirmed: VecDeque<Seen>,
    relayed: VecDeque<Seen>,
    observed: VecDeque<Seen>,
    failed: VecDeque<Seen>,
    /// Where this node was reached before it lost the address that they lead to.
    left: VecDeque<Seen>,
    mapping: Mapping,
}

/// Notes what was seen; what had to go for it.
fn note(list: &mut VecDeque<Seen>, seen: Seen, most: usize) -> Option<Seen> {
    match list.iter_mut().find(|known| known.address == seen.address) {
        Some(known) => {
            known.from = seen.from;
            None
        }
        None => {
            let oldest = if list.len() >= most { list.pop_front() } else { None };
            list.push_back(seen);
            oldest
        }
    }
}

fn forget(list: &mut VecDeque<Seen>, address: &Multiaddr) {
    list.retain(|known| known.address != *address);
}

impl Evidence {
    /// Somebody sees us at an address that leads to `from`. True if that is where we were reached before: then we are again.
    pub(in crate::net) fn observed(&mut self, address: &Multiaddr, from: Option<IpAddr>) -> bool {
        if !is_public(address) {
            return false;
        }
        let seen = Seen { address: split_peer(address).1, from };
        let is_back = self.left.contains(&seen);
        note(&mut self.observed, seen, limits::OBSERVED_ADDRESSES);
        is_back
    }

    /// Somebody has tried an address in vain.
    pub(in crate::net) fn failed(&mut self, address: &Multiaddr, from: Option<IpAddr>) {
        if is_public(address) {
            note(&mut self.failed, Seen { address: split_peer(address).1, from }, limits::OBSERVED_ADDRESSES);
        }
    }

    /// We are reached at an address that leads to `from`. What is told no more in its stead, where there are many.
    pub(in crate::net) fn confirmed(&mut self, address: &Multiaddr, from: Option<IpAddr>) -> Option<Multiaddr> {
        let (_, address) = split_peer(address);
        forget(&mut self.failed, &address);
        forget(&mut self.left, &address);
        let list = if is_relayed(&address) { &mut self.relayed } else { &mut self.confirmed };
        note(list, Seen { address, from }, limits::ANNOUNCED_ADDRESSES).map(|oldest| oldest.address)
    }

    /// Not any more.
    pub(in crate::net) fn expired(&mut self, address: &Multiaddr) {
        let (_, address) = split_peer(address);
        for list in [&mut self.confirmed, &mut self.relayed, &mut self.left] {
            forget(list, &address);
        }
    }

    /// An address of this machine is gone: so is all that was known of what leads to it. Where we were reached until now.
    pub(in crate::net) fn lost(&mut self, ip: IpAddr) -> Vec<Multiaddr> {
        let leads_there = |seen: &Seen| seen.from == Some(ip) || address::ip(&seen.address) == Some(ip);
        for list in [&mut self.observed, &mut self.failed] {
            list.retain(|seen| !leads_there(seen));
        }
        let (lost, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.confirmed).into_iter().partition(leads_there);
        self.confirmed = kept;
        for seen in &lost {
            note(&mut self.left, seen.clone(), limits::OBSERVED_ADDRESSES);
        }
        lost.into_iter().map(|seen| seen.address).collect()
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
        } else if !self.failed.is_empty() || self.observed.iter().any(|seen| !is_ours(&seen.address)) {
            Reachability::Behind
        } else {
            Reachability::Unknown
        };
        let all = |list: &VecDeque<Seen>| list.iter().map(|seen| seen.address.clone()).collect();
        let (addresses, relayed) = (all(&self.confirmed), all(&self.relayed));
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
            evidence.observed(&address(near), None);
            evidence.failed(&address(near), None);
        }
        assert_eq!(evidence.reached(&home).reachability, Reachability::Unknown, "neighbours know nothing of it");
        evidence.observed(&address(PUBLIC), None);
        assert_eq!(evidence.reached(&home).reachability, Reachability::Behind);
        let server = [address(PUBLIC)];
        assert_eq!(evidence.reached(&server).reachability, Reachability::Unknown, "an address of its own");
        evidence.failed(&address(PUBLIC), None);
        assert_eq!(evidence.reached(&server).reachability, Reachability::Behind, "and nobody gets there");
        evidence.confirmed(&address(PUBLIC), None);
        let reached = evidence.reached(&home);
        assert_eq!((reached.reachability, reached.addresses), (Reachability::Public, vec![address(PUBLIC)]));
        evidence.expired(&address(PUBLIC));
        assert_eq!(evidence.reached(&home).reachability, Reachability::Behind);
    }

    #[test]
    fn places_at_relays_make_nobody_public_and_lies_are_bounded() {
        let relay = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";
        let mut evidence = Evidence::default();
        evidence.confirmed(&address(&format!("{PUBLIC}{relay}/p2p/{}", libp2p::PeerId::random())), None);
        let reached = evidence.reached(&[]);
        assert_eq!((reached.reachability, reached.addresses.len()), (Reachability::Unknown, 0));
        assert_eq!(reached.relayed, vec![address(&format!("{PUBLIC}{relay}"))]);
        for port in 1..1_000 {
            evidence.observed(&address(&format!("/ip4/203.0.113.9/tcp/{port}")), None);
            evidence.failed(&address(&format!("/ip4/203.0.113.9/tcp/{port}")), None);
        }
        assert_eq!(
            (evidence.observed.len(), evidence.failed.len()),
            (limits::OBSERVED_ADDRESSES, limits::OBSERVED_ADDRESSES)
        );
    }

    #[test]
    fn what_leads_to_an_address_goes_with_it_and_is_believed_again_where_it_is_seen_again() {
        let (home, cafe) = ("192.168.0.9".parse().ok(), "10.0.0.7".parse().ok());
        let listening = [address(PRIVATE)];
        let mut evidence = Evidence::default();
        evidence.observed(&address(PUBLIC), home);
        evidence.confirmed(&address(PUBLIC), home);
        evidence.failed(&address("/ip4/203.0.113.9/tcp/9"), home);
        assert_eq!(evidence.lost(cafe.expect("an address")), vec![], "it leads elsewhere");
        assert_eq!(evidence.reached(&listening).reachability, Reachability::Public);
        assert_eq!(evidence.lost(home.expect("an address")), vec![address(PUBLIC)]);
        assert_eq!(evidence.reached(&listening), Reached::default(), "nothing is known of another network");
        // Another network whose router somebody says to have the same address outside.
        assert!(!evidence.observed(&address(PUBLIC), cafe));
        assert_eq!(evidence.reached(&listening).reachability, Reachability::Behind);
        assert!(evidence.observed(&address(PUBLIC), home), "back at home");
        evidence.confirmed(&address(PUBLIC), home);
        assert_eq!(evidence.reached(&listening).addresses, vec![address(PUBLIC)]);
        // One of this machine's own.
        let own = "203.0.113.9".parse().ok();
        assert_eq!(evidence.lost(own.expect("an address")), vec![address(PUBLIC)]);
        // What a router takes back is not believed again just because it is seen.
        evidence.expired(&address(PUBLIC));
        assert!(!evidence.observed(&address(PUBLIC), home));
    }

    #[test]
    fn after_many_changes_the_newest_address_is_told() {
        let mut evidence = Evidence::default();
        let at = |n: usize| address(&format!("/ip4/203.0.113.{n}/tcp/4001"));
        for n in 1..=limits::ANNOUNCED_ADDRESSES {
            assert_eq!(evidence.confirmed(&at(n), None), None);
        }
        assert_eq!(evidence.confirmed(&at(100), None), Some(at(1)), "the oldest goes");
        assert_eq!(evidence.confirmed(&at(100), None), None);
        let told = evidence.reached(&[]).addresses;
        assert_eq!((told.len(), told.last()), (limits::ANNOUNCED_ADDRESSES, Some(&at(100))));
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
