//! Being reached from behind NATs and firewalls: finding out whether we are (AutoNAT v2), asking the router to forward
//! ports (UPnP), being reached through relays (circuit relay v2), and meeting directly with their help (DCUtR).
//!
//! | file | what |
//! |---|---|
//! | `public` | keeps the library's behaviours to public addresses |
//! | `reachability` | what follows from what others say |
//! | `relays` | at which relays to be reached |
//! | `../swarm/traversal` | what the network task does for it |

mod public;
mod reachability;
mod relays;

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::autonat::v2::{client as probe, server as answer};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, dcutr, relay, upnp};

use super::limits;

pub(super) use public::Public;
pub(super) use reachability::{Evidence, came_to};
pub use reachability::{Mapping, Reachability, Reached};
pub(super) use relays::Relays;

/// The protocol by which relays are asked for a place and for a connection.
pub(super) const RELAY_PROTOCOL: StreamProtocol = relay::HOP_PROTOCOL_NAME;

/// What a node does to be reached from beyond its own network. Dialling others through relays is always possible, unless
/// the node stays on the local links.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NatConfig {
    /// Find out whether others can dial us, and tell others whether we can dial them. Only for a node that stays.
    pub probes: bool,
    /// Be reached through relays while nobody can dial us. Needs `probes`.
    pub uses_relays: bool,
    /// Be a relay for others.
    pub is_relay: bool,
    /// Ask the router to forward ports.
    pub maps_ports: bool,
}

/// All of it.
#[derive(NetworkBehaviour)]
pub(super) struct Nat {
    through: Toggle<Public<relay::client::Behaviour>>,
    relay: Toggle<relay::Behaviour>,
    punch: Toggle<Public<dcutr::Behaviour>>,
    probe: Toggle<Public<probe::Behaviour>>,
    answer: Toggle<Public<answer::Behaviour>>,
    map: Toggle<Public<upnp::tokio::Behaviour>>,
}

impl Nat {
    /// `through`: the counterpart of the transport through relays; none for a node that stays on the local links, and
    /// then there is nothing else either.
    pub(super) fn new(me: PeerId, config: NatConfig, through: Option<relay::client::Behaviour>) -> Self {
        let is_far = through.is_some();
        let if_far = |wanted: bool| (wanted && is_far).then_some(());
        Self {
            through: through.map(Public::new).into(),
            relay: if_far(config.is_relay).map(|()| relay(me)).into(),
            punch: if_far(true).map(|()| Public::new(dcutr::Behaviour::new(me))).into(),
            probe: if_far(config.probes).map(|()| Public::new(probe::Behaviour::default())).into(),
            answer: if_far(config.probes).map(|()| Public::new(answer::Behaviour::default())).into(),
            map: if_far(config.maps_ports).map(|()| Public::new(upnp::tokio::Behaviour::default())).into(),
        }
    }
}

fn relay(me: PeerId) -> relay::Behaviour {
    // Both kinds of rate limits that the library has by default, for each peer and for each IP address, with its values:
    // 30 reservations or connections at once and one more every two minutes for a peer, 60 and one a minute for an address.
    let n = |n| NonZeroU32::new(n).expect("not zero");
    let (per_peer, per_address) = (Duration::from_secs(120), Duration::from_secs(60));
    let config = relay::Config {
        max_reservations: limits::RELAY_RESERVATIONS,
        max_reservations_per_peer: limits::RELAY_RESERVATIONS_PER_PEER,
        reservation_duration: limits::RELAY_RESERVATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits::RELAY_CIRCUITS,
        max_circuits_per_peer: limits::RELAY_CIRCUITS_PER_PEER,
        max_circuit_duration: limits::RELAY_CIRCUIT,
        max_circuit_bytes: limits::RELAY_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    }
    .reservation_rate_per_peer(n(30), per_peer)
    .reservation_rate_per_ip(n(60), per_address)
    .circuit_src_per_peer(n(30), per_peer)
    .circuit_src_per_ip(n(60), per_address);
    let mut relay = relay::Behaviour::new(me, config);
    // Also before it is known to be reached: whoever asks has just done so.
    relay.set_status(Some(relay::Status::Enable));
    relay
}
