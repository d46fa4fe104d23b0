//! Ports, UDP, neighbours: what this machine itself does to the network. What is beyond it shows only when peers are met.

use std::net::{IpAddr, TcpListener};

use syncra_protocol::key::DeviceKey;

use super::{Care, Check, error_chain};
use crate::config::Config;
use crate::flow::Parts;
use crate::flow::share::{self, Doubt};
use crate::net::{LanConfig, Mapping, Net, Reachability, Reached, TransportKind, probe};
use crate::node;

/// The checks; `online` while a node runs on this home, whose ports are then its own.
pub(super) async fn check(parts: &Parts, online: Option<&Net>, care: Care) -> Vec<Check> {
    if care.offline {
        return vec![Check::good("network", "not looked at: offline")];
    }
    let ports = match online {
        Some(net) => listening(net),
        None => ports(&parts.config, &parts.device),
    };
    // Both at once: each waits for what does not come.
    let (udp, neighbours) = tokio::join!(probe::udp(), neighbours(node::lan_config()));
    let met = match online {
        Some(net) => net.peers().await.unwrap_or_default(),
        None => Vec::new(),
    };
    let by_udp = met.iter().filter(|peer| peer.transport == TransportKind::Quic).count();
    let udp = match udp {
        Ok(_) if !met.is_empty() => {
            format!("this machine sends and hears it; {by_udp} of {} peers are reached by it", met.len())
        }
        Ok(ips) => format!("this machine sends and hears it on {}", list(&ips)),
        Err(error) => return vec![ports, blocked(&error), neighbours],
    };
    let mut checks = vec![ports, Check::good("udp", udp), neighbours];
    let this_machine = share::addresses(parts).1 == Some(Doubt::ThisMachine);
    checks.extend(online.map(|net| reached(parts.config.relay, this_machine, &net.reached().borrow())));
    checks
}

/// Whether others reach the node from beyond its own network, as far as that is known.
fn reached(is_relay: bool, this_machine: bool, reached: &Reached) -> Check {
    let router = match reached.mapping {
        Mapping::Off => "it is not asked to forward ports",
        Mapping::Asked => "asked to forward ports, the router has not done so",
        Mapping::NoRouter => "no router answers to UPnP",
        Mapping::RouterBehind => "the router that answers to UPnP is behind another NAT itself",
        Mapping::Mapped => "the router forwards the node's ports",
    };
    match (reached.reachability, reached.relayed.len()) {
        (Reachability::Public, _) => Check::good("reached", "others reach this node from everywhere"),
        (Reachability::Unknown, _) if this_machine => {
            Check::good("reached", "from this machine alone: the node listens on loopback addresses only")
        }
        (Reachability::Unknown, _) => {
            Check::good("reached", "from its own network; nobody from beyond has tried, so more is not known")
        }
        (Reachability::Behind, 0) => Check::bad(
            "reached",
            format!("a NAT or a firewall keeps others from dialling this node, and no relay helps; {router}"),
            "forward the node's TCP and UDP port to this machine, or let the router do so by UPnP; or connect to a node \
             that is a relay (`bootstrap`). Until then only this network and those whom this node dials reach it",
        ),
        (Reachability::Behind, _) if is_relay => Check::bad(
            "reached",
            "this node is to be a relay, and nobody can dial it",
            "forward its TCP and UDP port to this machine, or `syncra config set relay false`",
        ),
        (Reachability::Behind, n) => Check::good(
            "reached",
            format!(
                "through {n} addresses of relays: a NAT or a firewall keeps others from dialling this node; {router}. \
                 Forward its TCP and UDP port to this machine and it is faster"
            ),
        ),
    }
}

fn blocked(error: &probe::UdpFault) -> Check {
    Check::bad(
        "udp",
        error_chain(error),
        "allow UDP for `syncra` in this machine's firewall; until then only TCP is spoken, neighbours are not found by \
         themselves, and most peers beyond the local network are out of reach",
    )
}

fn listening(net: &Net) -> Check {
    let addresses: Vec<String> = net.listen_addrs().iter().map(ToString::to_string).collect();
    match addresses.is_empty() {
        false => Check::good("ports", format!("the node listens on {}", addresses.join(", "))),
        true => Check::bad("ports", "the node listens nowhere", "look at its log for the reason, then start it again"),
    }
}

fn ports(config: &Config, device: &DeviceKey) -> Check {
    let mut taken: Vec<String> = probe::taken(&config.listen, device).iter().map(|error| error_chain(error)).collect();
    if let Some(address) = config.api.listen
        && let Err(error) = TcpListener::bind(address)
    {
        taken.push(format!("the API's address {address}: {error}"));
    }
    if let Some(address) = config.gateway.listen
        && let Err(error) = TcpListener::bind(address)
    {
        taken.push(format!("the gateway's address {address}: {error}"));
    }
    if taken.is_empty() {
        return Check::good("ports", "what the node would listen on is free");
    }
    let fix = match config.listen.is_empty() && config.api.listen.or(config.gateway.listen).is_none() {
        true => "the node takes other ports, but addresses that others know do not lead to it; end the other program",
        false => {
            "end the other program, or choose another port: `syncra config set listen …`, `… set api.listen …`, `… set gateway.listen …`"
        }
    };
    Check::bad("ports", taken.join("; "), fix)
}

async fn neighbours(lan: Option<LanConfig>) -> Check {
    let Some(lan) = lan else {
        return Check::good("multicast", format!("neighbours are not looked for: {}", node::LAN_PORT_VARIABLE));
    };
    match probe::multicast(lan.port).await {
        Ok(ips) => {
            let ips = list(&ips);
            Check::good(
                "multicast",
                format!("this machine announces and hears on {ips}; access points may still drop it"),
            )
        }
        Err(error) => Check::bad(
            "multicast",
            error_chain(&error),
            format!(
                "is there a network besides this machine? Then allow UDP port {} to 224.0.0.251 and ff02::fb in its \
                 firewall; until then neighbours are not found by themselves: use `syncra connect ADDRESS`",
                lan.port
            ),
        ),
    }
}

fn list(ips: &[IpAddr]) -> String {
    let mut texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
    texts.sort_unstable();
    texts.join(", ")
}
