//! Looks for what keeps this machine from being a node: ports that are taken, UDP or multicast that does not get through.
//!
//! What can be known here is this machine's own part: its sockets, its firewall, its cards. What a router or an access
//! point drops only shows when nobody is ever met.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};
use syncra_protocol::id::base32;
use syncra_protocol::key::DeviceKey;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Multiaddr, StartError, supervise};
use crate::clock;

/// How long a packet to ourselves may take.
const ECHO: Duration = Duration::from_secs(2);
/// How long an announcement to ourselves may take: mostly it comes at once, and the question is asked again after 1 and
/// 3 seconds.
const HEARD: Duration = Duration::from_secs(5);
/// What the two voices of the multicast probe talk about: no node looks for it.
const SERVICE: &str = "_syncra-doctor._udp.local.";

/// Which of the addresses where a node of this key would listen are taken, and by what the system says. Only while no
/// node listens there.
#[must_use]
pub(crate) fn taken(listen: &[Multiaddr], key: &DeviceKey) -> Vec<StartError> {
    let usual = supervise::everywhere(supervise::home_port(key));
    let wanted = if listen.is_empty() { &usual[..] } else { listen };
    let probe = |address| supervise::probe_ports(std::slice::from_ref(address)).err();
    let is_fault = |error: &StartError| match error {
        // A machine without IPv6 listens without it.
        StartError::AddressNotAvailable { .. } | StartError::Listen { .. } => !listen.is_empty(),
        StartError::AddressInUse { .. } | StartError::UnsupportedAddress { .. } | StartError::Transport(_) => true,
    };
    wanted.iter().filter_map(probe).filter(is_fault).collect()
}

/// Why UDP does not work on this machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UdpFault {
    /// The system does not let us have a socket.
    #[error("no UDP socket can be opened on {ip}")]
    Socket {
        /// The address of a card of this machine.
        ip: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let us send: mostly a firewall.
    #[error("this machine does not let a UDP packet out on {ip}")]
    Send {
        /// The address of a card of this machine.
        ip: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It was sent and did not come.
    #[error("a UDP packet that this machine sent to itself on {ip} did not arrive")]
    Lost {
        /// The address of a card of this machine.
        ip: IpAddr,
    },
}

/// Sends a packet from each of this machine's own main addresses to itself; tells the addresses.
///
/// # Errors
/// [`UdpFault`].
pub(crate) async fn udp() -> Result<Vec<IpAddr>, UdpFault> {
    // Addresses for documentation: nothing is sent there, the system only tells which of its own it would use.
    const AFAR: [(IpAddr, IpAddr); 2] = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
    ];
    let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    for (any, afar) in AFAR {
        let chosen = async {
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect((afar, 9)).await?;
            socket.local_addr()
        };
        // No way there is no fault: a LAN need not have one, a machine need not have IPv6.
        ips.extend(chosen.await.ok().map(|address| address.ip()));
    }
    for ip in &ips {
        echo(*ip).await?;
    }
    Ok(ips)
}

async fn echo(ip: IpAddr) -> Result<(), UdpFault> {
    let open = |source| UdpFault::Socket { ip, source };
    let (from, to) = (UdpSocket::bind((ip, 0)).await.map_err(open)?, UdpSocket::bind((ip, 0)).await.map_err(open)?);
    let target: SocketAddr = to.local_addr().map_err(open)?;
    let word = clock::random::<16>();
    from.send_to(&word, target).await.map_err(|source| UdpFault::Send { ip, source })?;
    let mut heard = [0; 16];
    let arrived = async {
        // Whatever else comes to a new port is not ours.
        while !to.recv_from(&mut heard).await.is_ok_and(|(len, _)| len == word.len() && heard == word) {}
    };
    timeout(ECHO, arrived).await.map_err(|_| UdpFault::Lost { ip })
}

/// Why neighbours are not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MulticastFault {
    /// The port of multicast DNS cannot be had.
    #[error("multicast DNS does not work here")]
    Daemon(#[from] mdns_sd::Error),
    /// Nothing came back.
    #[error("what this machine announces on its network does not come back to it")]
    Lost,
}

/// Announces something on every card of this machine but loopback, as a node would, and listens for it with a second
/// voice; tells the addresses that were announced.
///
/// # Errors
/// [`MulticastFault`].
pub(crate) async fn multicast(port: u16) -> Result<Vec<IpAddr>, MulticastFault> {
    let (speaker, listener) = (ServiceDaemon::new_with_port(port)?, ServiceDaemon::new_with_port(port)?);
    let heard = speak_and_listen(&speaker, &listener).await;
    for daemon in [speaker, listener] {
        if let Ok(done) = daemon.shutdown() {
            let _ = timeout(ECHO, done.recv_async()).await; // best effort
        }
    }
    heard
}

async fn speak_and_listen(speaker: &ServiceDaemon, listener: &ServiceDaemon) -> Result<Vec<IpAddr>, MulticastFault> {
    for daemon in [speaker, listener] {
        // Loopback always carries it; neighbours are elsewhere.
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    }
    let name = base32(&clock::random::<16>());
    let mut service = ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), (), 9, None)?.enable_addr_auto();
    service.set_requires_probe(false);
    speaker.register(service)?;
    let events = listener.browse(SERVICE)?;
    let heard = async {
        loop {
            match events.recv_async().await {
                Ok(ServiceEvent::ServiceResolved(found)) if found.fullname.starts_with(&name) => {
                    return Ok(found.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect());
                }
                Ok(_) => {}
                Err(_) => return Err(MulticastFault::Lost),
            }
        }
    };
    timeout(HEARD, heard).await.unwrap_or(Err(MulticastFault::Lost))
}
