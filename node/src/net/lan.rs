//! Finding neighbours on the local links, loopback included, without server or configuration: multicast DNS
//! (RFC 6762) and service discovery (RFC 6763), which firewalls and access points know how to let through.
//!
//! What is announced: service `_syncra._udp.local.`, instance = device key (base32: names there have no case), the
//! addresses of the interface it is announced on, and in TXT the port of each transport (`t4 t6 q4 q6`). What is heard is hearsay: bounded, limited to addresses of the local links, and proven only
//! by the handshake of the connection that follows.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use mdns_sd::{DaemonEvent, IfKind, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use syncra_protocol::key::DeviceKey;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::address::{self, Scope, device_key, is_dialable, is_quic, scope};
use super::limits;

/// A neighbour has come, has changed its addresses, or has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sighting {
    Here { peer: PeerId, addresses: Vec<Multiaddr> },
    Gone { peer: PeerId },
}

/// How neighbours are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanConfig {
    /// The UDP port of multicast DNS. Another than 5353 makes a world of its own, for tests.
    pub port: u16,
    /// Whether neighbours are dialled as soon as they are seen.
    pub dial: bool,
}

impl Default for LanConfig {
    fn default() -> Self {
        Self { port: mdns_sd::MDNS_PORT, dial: true }
    }
}

/// The task that announces this node and listens for others.
pub(super) struct Lan {
    pub(super) me: DeviceKey,
    pub(super) interfaces: Vec<IfKind>,
    pub(super) port: u16,
    pub(super) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(super) sightings: mpsc::Sender<Sighting>,
    pub(super) stop: CancellationToken,
    /// Its threads outlive whoever drops the handle: after a panic of ours it still has to be ended.
    pub(super) daemon: Option<ServiceDaemon>,
}

/// The interfaces that a node listening there is reachable on.
pub(super) fn interfaces(listen: &[Multiaddr]) -> Vec<IfKind> {
    if listen.is_empty() {
        return vec![IfKind::All];
    }
    let kind = |(ip, _): (IpAddr, u16)| match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IfKind::IPv4,
        IpAddr::V6(ip) if ip.is_unspecified() => IfKind::IPv6,
        ip => IfKind::Addr(ip),
    };
    listen.iter().filter_map(socket).map(kind).collect()
}

const SERVICE: &str = "_syncra._udp.local.";
/// How often the interfaces are looked at for new addresses.
const INTERFACE_CHECK_SECONDS: u32 = 1;
/// Before a daemon that has failed is started again.
const RETRY: Duration = Duration::from_secs(5);
/// For the farewell that tells neighbours we are gone.
const FAREWELL: Duration = Duration::from_millis(300);

impl Lan {
    /// Runs until it is stopped. A daemon that cannot work (no multicast, no permission) is tried again now and then:
    /// without neighbours the node still works.
    pub(super) async fn run(&mut self) {
        let stop = self.stop.clone();
        loop {
            match self.run_daemon().await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "cannot look for neighbours; trying again later"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn run_daemon(&mut self) -> Result<(), mdns_sd::Error> {
        if let Some(left_over) = self.daemon.take() {
            farewell(&left_over).await;
        }
        let daemon = ServiceDaemon::new_with_port(self.port)?;
        self.daemon = Some(daemon.clone());
        daemon.set_ip_check_interval(INTERFACE_CHECK_SECONDS)?;
        // Announced before asked: who is there already hears of us at once.
        let mut announced = None;
        self.announce(&daemon, &mut announced)?;
        let heard = daemon.browse(SERVICE)?;
        let health = daemon.monitor()?;
        let outcome = self.listen(&daemon, &heard, &health, &mut announced).await;
        self.daemon = None;
        farewell(&daemon).await;
        outcome
    }

    async fn listen(
        &mut self,
        daemon: &ServiceDaemon,
        heard: &Receiver<ServiceEvent>,
        health: &Receiver<DaemonEvent>,
        announced: &mut Option<Ports>,
    ) -> Result<(), mdns_sd::Error> {
        let stop = self.stop.clone();
        let mut seen = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.listening.changed() => match changed {
                    Ok(()) => self.announce(daemon, announced)?,
                    Err(_) => return Ok(()), // the network has ended
                },
                event = heard.recv_async() => match event {
                    Ok(event) => self.on_event(event, &mut seen).await,
                    Err(_) => return Err(mdns_sd::Error::Msg("the daemon ended".to_owned())),
                },
                Ok(event) = health.recv_async() => tracing::debug!(?event, "multicast DNS"),
            }
        }
    }

    fn announce(&mut self, daemon: &ServiceDaemon, announced: &mut Option<Ports>) -> Result<(), mdns_sd::Error> {
        let now = Ports::listening(&self.listening.borrow_and_update());
        if now == Ports::default() || announced.as_ref() == Some(&now) {
            return Ok(());
        }
        daemon.register(self.service(&now)?)?;
        *announced = Some(now);
        Ok(())
    }

    fn service(&self, ports: &Ports) -> Result<ServiceInfo, mdns_sd::Error> {
        let name = self.me.to_string();
        let ports = ports.named();
        let first = ports.first().map_or(0, |(_, port)| *port);
        let properties: Vec<(String, String)> =
            ports.into_iter().map(|(key, port)| (key.to_owned(), port.to_string())).collect();
        let host = format!("{name}.local.");
        // Addresses are the library's business: each interface is told its own, those that come later too.
        let mut service = ServiceInfo::new(SERVICE, &name, &host, (), first, &properties[..])?.enable_addr_auto();
        service.set_interfaces(self.interfaces.clone());
        // The name is a key: nobody else has it, so there is no conflict to probe for (750 ms, RFC 6762 §8.1).
        service.set_requires_probe(false);
        Ok(service)
    }

    async fn on_event(&self, event: ServiceEvent, seen: &mut HashMap<PeerId, Vec<Multiaddr>>) {
        tracing::trace!(?event, "heard");
        let sighting = match event {
            ServiceEvent::ServiceResolved(service) => self.resolved(&service, seen),
            ServiceEvent::ServiceRemoved(_, name) => {
                peer_of(&name).filter(|peer| seen.remove(peer).is_some()).map(|peer| Sighting::Gone { peer })
            }
            _ => None,
        };
        if let Some(sighting) = sighting {
            let _ = self.sightings.send(sighting).await; // an error means that the network has ended
        }
    }

    fn resolved(&self, service: &ResolvedService, seen: &mut HashMap<PeerId, Vec<Multiaddr>>) -> Option<Sighting> {
        let peer = peer_of(&service.fullname)?;
        if device_key(&peer) == Some(self.me) {
            return None;
        }
        let addresses = addresses_of(service);
        if addresses.is_empty() || seen.get(&peer) == Some(&addresses) {
            return None;
        }
        if seen.len() >= limits::NEIGHBOURS && !seen.contains_key(&peer) {
            return None;
        }
        seen.insert(peer, addresses.clone());
        Some(Sighting::Here { peer, addresses })
    }
}

async fn farewell(daemon: &ServiceDaemon) {
    if let Ok(done) = daemon.shutdown() {
        let _ = tokio::time::timeout(FAREWELL, done.recv_async()).await; // best effort
    }
}

/// The port of each transport and IP version. One each: a node that listens on several announces the first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ports {
    tcp4: Option<u16>,
    tcp6: Option<u16>,
    quic4: Option<u16>,
    quic6: Option<u16>,
}

impl Ports {
    /// The ports of our own addresses.
    fn listening(addresses: &[Multiaddr]) -> Self {
        let mut ports = Self::default();
        for address in addresses {
            if let Some((ip, port)) = socket(address) {
                ports.slot(ip, is_quic(address)).get_or_insert(port);
            }
        }
        ports
    }

    fn slot(&mut self, ip: IpAddr, is_quic: bool) -> &mut Option<u16> {
        match (ip.is_ipv4(), is_quic) {
            (true, false) => &mut self.tcp4,
            (false, false) => &mut self.tcp6,
            (true, true) => &mut self.quic4,
            (false, true) => &mut self.quic6,
        }
    }

    fn named(&self) -> Vec<(&'static str, u16)> {
        [("t4", self.tcp4), ("t6", self.tcp6), ("q4", self.quic4), ("q6", self.quic6)]
            .into_iter()
            .filter_map(|(key, port)| Some((key, port?)))
            .collect()
    }

    /// Reads what a neighbour said.
    fn of(service: &ResolvedService) -> Self {
        let port = |key| service.get_property_val_str(key)?.parse().ok().filter(|port| *port != 0);
        Self { tcp4: port("t4"), tcp6: port("t6"), quic4: port("q4"), quic6: port("q6") }
    }
}

/// The IP address and port of a plain TCP or QUIC address.
fn socket(address: &Multiaddr) -> Option<(IpAddr, u16)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some((ip, port)),
        _ => None,
    }
}

/// The peer that a service's full name belongs to.
fn peer_of(fullname: &str) -> Option<PeerId> {
    let key: DeviceKey = fullname.strip_suffix(SERVICE)?.strip_suffix('.')?.parse().ok()?;
    address::peer_id(&key)
}

/// The addresses of a neighbour: only of the local links, and of this machine only if it said so on this machine.
fn addresses_of(service: &ResolvedService) -> Vec<Multiaddr> {
    let mut ports = Ports::of(service);
    let mut ips: Vec<&ScopedIp> = service.addresses.iter().filter(|ip| is_credible(ip)).collect();
    ips.sort_unstable_by_key(|ip| ip.to_ip_addr());
    let mut addresses = Vec::new();
    for ip in ips {
        if let Some((ip, interface)) = on_link(ip) {
            addresses.extend(ports.tcp6.map(|port| address::on_interface(ip, interface, port)));
            continue;
        }
        let ip = ip.to_ip_addr();
        if let Some(port) = *ports.slot(ip, false) {
            addresses.push(Multiaddr::from(ip).with(Protocol::Tcp(port)));
        }
        if let Some(port) = *ports.slot(ip, true) {
            addresses.push(Multiaddr::from(ip).with(Protocol::Udp(port)).with(Protocol::QuicV1));
        }
    }
    addresses.retain(|address| scope(address) < Scope::Public && is_dialable(address));
    addresses.truncate(limits::ANNOUNCED_ADDRESSES);
    addresses
}

/// A link-local IPv6 address and the number of our interface on which it was heard: without that it means nothing.
fn on_link(ip: &ScopedIp) -> Option<(Ipv6Addr, u32)> {
    match ip {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => Some((*v6.addr(), v6.scope_id().index)),
        _ => None,
    }
}

fn is_credible(ip: &ScopedIp) -> bool {
    let is_loopback_interface = |name: &str| name.starts_with("lo");
    match ip {
        ScopedIp::V4(v4) if ip.is_loopback() => v4.interface_ids().iter().any(|id| is_loopback_interface(&id.name)),
        ScopedIp::V6(v6) if ip.is_loopback() => is_loopback_interface(&v6.scope_id().name),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().expect("address")).collect()
    }

    #[test]
    fn the_first_port_of_each_transport_is_announced() {
        let ports = Ports::listening(&addresses(&[
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/10.0.0.2/tcp/4009",
            "/ip4/10.0.0.2/udp/4002/quic-v1",
            "/ip6/fd00::1/tcp/4004",
        ]));
        assert_eq!(ports.named(), [("t4", 4001), ("t6", 4004), ("q4", 4002)]);
    }

    #[test]
    fn a_node_is_announced_where_it_listens() {
        assert!(matches!(interfaces(&[])[..], [IfKind::All]));
        let listen = addresses(&["/ip4/127.0.0.1/tcp/0", "/ip6/::/udp/9/quic-v1"]);
        let interfaces = interfaces(&listen);
        assert!(matches!(interfaces[..], [IfKind::Addr(ip), IfKind::IPv6] if ip.is_loopback()), "{interfaces:?}");
    }

    /// What a neighbour could say: any address, any text.
    fn heard(ips: &[&str], ports: &[(&str, &str)]) -> ResolvedService {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().expect("ip")).collect();
        let service = ServiceInfo::new(SERVICE, "x", "x.local.", &ips[..], 1, ports).expect("service");
        service.as_resolved_service()
    }

    #[test]
    fn a_lying_neighbour_sends_us_nowhere_else() {
        let ports = [("t4", "4001"), ("t6", "4001"), ("q4", "4002")];
        let lies =
            heard(&["203.0.113.5", "2001:db8::5", "127.0.0.1", "::1", "224.0.0.1", "0.0.0.0", "fe80::1"], &ports);
        assert_eq!(addresses_of(&lies), [], "no address of the local links, or loopback from another machine");
        let mixed = heard(&["203.0.113.5", "10.1.2.3"], &ports);
        assert_eq!(addresses_of(&mixed), addresses(&["/ip4/10.1.2.3/tcp/4001", "/ip4/10.1.2.3/udp/4002/quic-v1"]));
        for port in ["0", "65536", "-1", "", "4001 ", "x"] {
            assert_eq!(addresses_of(&heard(&["10.1.2.3"], &[("t4", port)])), [], "port {port:?}");
        }
        let many: Vec<String> = (1..=200).map(|i| format!("10.0.0.{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(addresses_of(&heard(&many, &ports)).len(), limits::ANNOUNCED_ADDRESSES);
    }

    #[test]
    fn names_are_keys() {
        let key = syncra_protocol::key::DeviceSecret::from_seed(&[3; 32]).public();
        assert_eq!(peer_of(&format!("{key}.{SERVICE}")), address::peer_id(&key));
        assert_eq!(peer_of("printer._ipp._tcp.local."), None);
        assert_eq!(peer_of(SERVICE), None);
    }
}
