//! Which of its addresses a node tells to somebody of whom it does not know where they are.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::address::{Scope, ip, is_quic, is_relayed, scope};

/// From how far away addresses lead here: the widest that any of them has, and those that have it, each IP address once
/// before any of them comes a second time with another transport.
///
/// Narrower ones are left out. Elsewhere they lead to nobody or to somebody else, and they tell what a network looks like
/// inside. Link-local ones are no use to anybody without the number of an interface.
#[must_use]
pub fn widest(addresses: Vec<Multiaddr>) -> Option<(Scope, Vec<Multiaddr>)> {
    let usable: Vec<_> = addresses.into_iter().filter_map(|address| Some((told_scope(&address)?, address))).collect();
    let widest = usable.iter().map(|(scope, _)| *scope).max()?;
    let mut widest_ones: Vec<_> =
        usable.into_iter().filter(|(scope, _)| *scope == widest).map(|(_, address)| address).collect();
    // Relays last: whoever gets only some of them should get those that last.
    widest_ones.sort_by_key(|address| (is_relayed(address), is_quic(address)));
    Some((widest, widest_ones))
}

/// How far away an address can be used, in whose network it is used taken into account; none where it cannot be told.
pub(super) fn told_scope(address: &Multiaddr) -> Option<Scope> {
    if matches!(address.iter().next(), Some(Protocol::Ip6zone(_))) {
        return None;
    }
    match ip(address)? {
        std::net::IpAddr::V4(ip) if ip.is_link_local() || ip.is_unspecified() => None,
        std::net::IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_unspecified() => None,
        // RFC 6598: the inside of a carrier's NAT, or of a private network that borrows its addresses.
        std::net::IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64 => Some(Scope::Local),
        _ => Some(scope(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(addresses: &[&str]) -> Option<(Scope, Vec<String>)> {
        let addresses = addresses.iter().map(|text| text.parse().expect("address")).collect();
        let (scope, told) = widest(addresses)?;
        Some((scope, told.iter().map(ToString::to_string).collect()))
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn only_the_widest_are_told() {
        let (loopback, private) = ("/ip4/127.0.0.1/tcp/1", ["/ip4/192.168.0.9/tcp/1", "/ip6/fd00::1/tcp/1"]);
        let (link, carrier) = ("/ip6/fe80::1/tcp/1", "/ip4/100.127.0.1/tcp/1");
        let public = ["/ip4/203.0.113.9/tcp/1", "/ip6/2001:db8::1/tcp/1", "/ip4/100.128.0.1/tcp/1"];
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[link, "/ip6zone/2/ip6/fe80::1/tcp/1", "/ip4/169.254.1.1/tcp/1", "/ip4/0.0.0.0/tcp/1"]), None);
        assert_eq!(told(&[link, loopback]), Some((Scope::Loopback, texts(&[loopback]))));
        let local = [loopback, private[0], link, private[1], carrier];
        assert_eq!(told(&local), Some((Scope::Local, texts(&[private[0], private[1], carrier]))));
        let all = [&local[..], &public].concat();
        assert_eq!(told(&all), Some((Scope::Public, texts(&public))));
    }

    #[test]
    fn every_address_comes_once_before_any_comes_twice() {
        let (a, b) = ("/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1");
        let (a_quic, b_quic) = ("/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.2/udp/1/quic-v1");
        let sorted = texts(&[a, b, a_quic, b_quic]);
        assert_eq!(told(&[a_quic, a, b_quic, b]), Some((Scope::Local, sorted)));
    }
}
