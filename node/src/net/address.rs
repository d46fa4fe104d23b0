//! Peer ids, device keys and what kind of place an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::{PeerId, identity};
use syncra_protocol::key::DeviceKey;

use super::limits;
use super::told::told_scope;

/// How far away an address is. The order is from near to far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// The link or the private network around this machine.
    Local,
    /// Everywhere else, and everything that is no plain IP address.
    Public,
}

/// The multihash code for "the digest is the thing itself": how ids carry Ed25519 keys.
const IDENTITY_HASH: u64 = 0;

/// The device key inside a libp2p peer id; `None` for peers with other kinds of keys.
#[must_use]
pub fn device_key(peer: &PeerId) -> Option<DeviceKey> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_HASH {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_ed25519().ok()?;
    Some(DeviceKey::from_bytes(key.to_bytes()))
}

/// The libp2p peer id of a device; `None` when the bytes are no point of the curve.
#[must_use]
pub fn peer_id(key: &DeviceKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The libp2p key pair of a device's seed.
pub(super) fn keypair(mut seed: [u8; 32]) -> identity::Keypair {
    identity::Keypair::ed25519_from_bytes(&mut seed).expect("every 32 bytes are an Ed25519 seed")
}

/// How far away `address` is.
#[must_use]
pub fn scope(address: &Multiaddr) -> Scope {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => scope_v4(ip),
        Some(Protocol::Ip6(ip)) => ip.to_ipv4_mapped().map_or_else(|| scope_v6(ip), scope_v4),
        // An IPv6 zone in front names one of our own links.
        Some(Protocol::Ip6zone(_)) => Scope::Local,
        _ => Scope::Public,
    }
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    if ip.is_loopback() {
        Scope::Loopback
    } else if ip.is_private() || ip.is_link_local() {
        Scope::Local
    } else {
        Scope::Public
    }
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    if ip.is_loopback() {
        Scope::Loopback
    } else if ip.is_unique_local() || ip.is_unicast_link_local() {
        Scope::Local
    } else {
        Scope::Public
    }
}

/// The IP address that an address begins with.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    })
}

/// An IPv4 /24 or an IPv6 /48: what one customer of a network gets at most, mostly, so that many of them cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Block(IpAddr);

impl Block {
    pub(super) fn of(ip: IpAddr) -> Self {
        const V4_HOSTS: u32 = (1 << 8) - 1;
        const V6_HOSTS: u128 = (1 << 80) - 1;
        Self(match ip {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !V4_HOSTS).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !V6_HOSTS).into(),
        })
    }
}

/// Whether the address is QUIC (everything else we speak is TCP).
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

/// The peer that an address ends with, and the address without it.
pub(super) fn split_peer(address: &Multiaddr) -> (Option<PeerId>, Multiaddr) {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(peer)) => (Some(peer), rest),
        _ => (None, address.clone()),
    }
}

/// The TCP address of a link-local neighbour on the interface of this number.
pub(super) fn on_interface(ip: Ipv6Addr, interface: u32, port: u16) -> Multiaddr {
    let zone = Protocol::Ip6zone(interface.to_string().into());
    Multiaddr::empty().with(zone).with(Protocol::Ip6(ip)).with(Protocol::Tcp(port))
}

/// Where such an address leads; none for every other kind.
pub(super) fn zoned_tcp(address: &Multiaddr) -> Option<SocketAddrV6> {
    let (_, address) = split_peer(address);
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (Protocol::Ip6zone(zone), Protocol::Ip6(ip), Protocol::Tcp(port), None)
            if ip.is_unicast_link_local() && port != 0 =>
        {
            Some(SocketAddrV6::new(ip, port, 0, zone.parse().ok().filter(|interface| *interface != 0)?))
        }
        _ => None,
    }
}

/// Whether an address leads through a relay.
#[must_use]
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether a peer at these ends of a connection is far away: out in the open, or behind a relay. Of who has come through one
/// only `local` tells.
pub(super) fn is_far(local: Option<&Multiaddr>, remote: &Multiaddr) -> bool {
    local.is_some_and(is_relayed) || is_relayed(remote) || scope(remote) == Scope::Public
}

/// The relay of a relayed address, and where it is.
pub(super) fn relay_of(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let before: Multiaddr = address.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
    let (relay, at) = split_peer(&before);
    relay.filter(|_| is_relayed(address)).map(|relay| (relay, at))
}

/// Whether an address leads through a relay that we may dial because somebody told us: one out in the open. Who is near
/// needs none.
fn is_dialable_relayed(address: &Multiaddr) -> bool {
    let is_one = address.iter().filter(|part| *part == Protocol::P2pCircuit).count() == 1;
    let ends_there = address.iter().last() == Some(Protocol::P2pCircuit);
    let is_public = |at: &Multiaddr| told_scope(at) == Some(Scope::Public) && is_dialable(at);
    is_one && ends_there && relay_of(address).is_some_and(|(_, at)| is_public(&at))
}

/// Whether we can dial an address that somebody told us: a plain IP address with a TCP or QUIC port, of sane length; a
/// link-local IPv6 address only with the number of the interface that it is on; or a public relay's, with its key.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    if address.len() > limits::ADDRESS_BYTES {
        return false;
    }
    if is_relayed(address) {
        return is_dialable_relayed(address);
    }
    if zoned_tcp(address).is_some() {
        return true;
    }
    let mut parts = address.iter();
    let ip: Option<IpAddr> = match parts.next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    };
    let has_port = match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None, None) => port != 0,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1), None) => port != 0,
        _ => false,
    };
    let needs_zone = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    has_port && ip.is_some_and(|ip| !ip.is_unspecified() && !ip.is_multicast() && !needs_zone(ip))
}

/// Splits addresses into those to dial at once and those to dial after a head start: TCP before QUIC near by (twice as
/// fast there), QUIC before TCP far away (fewer round trips, passes NATs). Relays come last, and alone.
pub(super) fn by_preference(addresses: Vec<Multiaddr>) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
    let (relayed, direct): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_relayed);
    if direct.is_empty() {
        return (relayed, direct);
    }
    let (mut now, mut later): (Vec<_>, Vec<_>) =
        direct.into_iter().partition(|address| is_quic(address) == (scope(address) == Scope::Public));
    if now.is_empty() {
        std::mem::swap(&mut now, &mut later);
    }
    later.extend(relayed);
    (now, later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("address")
    }

    const RELAY: &str = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_relay_is_told_from_whom_it_leads_to() {
        let relay: PeerId = RELAY[5..].parse().expect("a peer id");
        let at = "/ip4/203.0.113.9/tcp/1";
        let through = address(&format!("{at}{RELAY}/p2p-circuit/p2p/{}", PeerId::random()));
        assert_eq!(relay_of(&through), Some((relay, address(at))));
        for text in [at.to_owned(), format!("{at}{RELAY}"), format!("{at}/p2p-circuit")] {
            assert_eq!(relay_of(&address(&text)), None, "{text}");
        }
        let direct = address(at);
        let order = by_preference(vec![split_peer(&through).1, direct.clone()]);
        assert_eq!(order, (vec![direct], vec![split_peer(&through).1]), "a relay is the last resort");
    }

    #[test]
    fn a_device_key_is_its_peer_id() {
        let pair = keypair([5; 32]);
        let secret = syncra_protocol::key::DeviceSecret::from_seed(&[5; 32]);
        let peer = pair.public().to_peer_id();
        assert_eq!(device_key(&peer), Some(secret.public()));
        assert_eq!(peer_id(&secret.public()), Some(peer));
        assert_eq!(device_key(&PeerId::random()), None, "hashed ids carry no key");
    }

    #[test]
    fn scopes() {
        for (text, expected) in [
            ("/ip4/127.3.2.1/tcp/1", Scope::Loopback),
            ("/ip6/::1/tcp/1", Scope::Loopback),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Scope::Loopback),
            ("/ip4/10.1.2.3/tcp/1", Scope::Local),
            ("/ip4/172.31.0.1/udp/1/quic-v1", Scope::Local),
            ("/ip4/192.168.0.9/tcp/1", Scope::Local),
            ("/ip4/169.254.9.9/tcp/1", Scope::Local),
            ("/ip6/fe80::1/tcp/1", Scope::Local),
            ("/ip6/fd00::1/tcp/1", Scope::Local),
            ("/ip6/::ffff:8.8.8.8/tcp/1", Scope::Public),
            ("/ip4/172.32.0.1/tcp/1", Scope::Public),
            ("/ip4/100.64.0.1/tcp/1", Scope::Public),
            ("/ip6/2001:db8::1/tcp/1", Scope::Public),
            ("/dns4/localhost/tcp/1", Scope::Public),
        ] {
            assert_eq!(scope(&address(text)), expected, "{text}");
        }
    }

    #[test]
    fn only_plain_addresses_are_dialled_on_hearsay() {
        for (text, expected) in [
            ("/ip4/10.1.2.3/tcp/1", true),
            ("/ip6/fd00::1/udp/9/quic-v1", true),
            ("/ip6/fe80::1/udp/9/quic-v1", false),
            ("/ip6zone/3/ip6/fe80::1/tcp/9", true),
            ("/ip6zone/3/ip6/fe80::1/udp/9/quic-v1", false),
            ("/ip6zone/0/ip6/fe80::1/tcp/9", false),
            ("/ip6zone/card/ip6/fe80::1/tcp/9", false),
            ("/ip6zone/3/ip6/2001:db8::1/tcp/9", false),
            ("/ip4/10.1.2.3/tcp/0", false),
            ("/ip4/0.0.0.0/tcp/5", false),
            ("/ip4/224.0.0.251/udp/5/quic-v1", false),
            ("/ip4/10.1.2.3/udp/5", false),
            ("/dns4/example.org/tcp/5", false),
            ("/ip4/10.1.2.3/tcp/1/ws", false),
            (&format!("/ip4/203.0.113.9/udp/1/quic-v1{RELAY}/p2p-circuit"), true),
            (&format!("/ip4/10.1.2.3/tcp/1{RELAY}/p2p-circuit"), false),
            (&format!("/ip4/100.64.2.3/tcp/1{RELAY}/p2p-circuit"), false),
            (&format!("/ip4/203.0.113.9/tcp/1{RELAY}/p2p-circuit/ip4/10.0.0.1/tcp/1"), false),
            (&format!("/ip4/203.0.113.9/tcp/1{RELAY}/p2p-circuit{RELAY}/p2p-circuit"), false),
            (&format!("/dns4/relay.example/tcp/1{RELAY}/p2p-circuit"), false),
            ("/ip4/203.0.113.9/tcp/1/p2p-circuit", false),
            ("/p2p-circuit", false),
            ("/memory/5", false),
        ] {
            assert_eq!(is_dialable(&address(text)), expected, "{text}");
        }
    }

    #[test]
    fn tcp_first_near_by_and_quic_first_far_away() {
        let near = vec![address("/ip4/10.0.0.1/udp/1/quic-v1"), address("/ip4/10.0.0.1/tcp/1")];
        assert_eq!(
            by_preference(near),
            (vec![address("/ip4/10.0.0.1/tcp/1")], vec![address("/ip4/10.0.0.1/udp/1/quic-v1")])
        );
        let far = vec![address("/ip4/8.8.8.8/tcp/1"), address("/ip4/8.8.8.8/udp/1/quic-v1")];
        assert_eq!(
            by_preference(far),
            (vec![address("/ip4/8.8.8.8/udp/1/quic-v1")], vec![address("/ip4/8.8.8.8/tcp/1")])
        );
        let only = vec![address("/ip4/10.0.0.1/udp/1/quic-v1")];
        assert_eq!(by_preference(only.clone()), (only, vec![]), "no head start for nobody");
    }
}
