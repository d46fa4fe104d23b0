//! Names in addresses that people write: of hosts, `/dns/host/tcp/4001`, `/dns4/…`, `/dns6/…`, looked up by the system; and
//! of lists of nodes, `/dnsaddr/host` (`seeds`).
//!
//! Only what the user or the settings name comes here, and what such a list names. Peers' hearsay has IP addresses only: a
//! name would let them make this node ask anybody's name server.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::time::timeout;

use super::{DialError, limits};
use seeds::Zones;

mod seeds;

/// Addresses of one name that are tried: the first of each kind is the rule, a round robin of a community the exception.
const ADDRESSES: usize = 8;
/// Addresses that are tried altogether, whatever lists and names lead to.
const ALTOGETHER: usize = 64;

/// `address` with IP addresses in place of a name, in the system's order; without a name, itself.
///
/// # Errors
/// [`DialError::UnknownHost`] when there is no such name, [`DialError::NoSeeds`] when it names no nodes,
/// [`DialError::Timeout`] when nobody answers.
pub(super) async fn resolve(address: Multiaddr) -> Result<Vec<Multiaddr>, DialError> {
    let Some(Protocol::Dnsaddr(list)) = address.iter().next() else { return resolve_host(address).await };
    let seeds = Zones::of_system().seeds(&list, address.iter().skip(1).collect());
    let seeds = timeout(limits::NAME_LOOKUP, seeds).await.map_err(|_| DialError::Timeout)??;
    let hosts = futures::future::join_all(seeds.into_iter().map(resolve_host)).await;
    // A host that is gone does not make the others useless.
    let found: Vec<Multiaddr> = hosts.into_iter().filter_map(Result::ok).flatten().take(ALTOGETHER).collect();
    if found.is_empty() { Err(DialError::UnknownHost) } else { Ok(found) }
}

/// Whether there is a name to look up in an address.
pub(super) fn is_name(address: &Multiaddr) -> bool {
    let first = address.iter().next();
    matches!(first, Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)))
}

async fn resolve_host(address: Multiaddr) -> Result<Vec<Multiaddr>, DialError> {
    let (host, wanted): (String, fn(&IpAddr) -> bool) = match address.iter().next() {
        Some(Protocol::Dns(host)) => (host.into_owned(), |_| true),
        Some(Protocol::Dns4(host)) => (host.into_owned(), IpAddr::is_ipv4),
        Some(Protocol::Dns6(host)) => (host.into_owned(), IpAddr::is_ipv6),
        _ => return Ok(vec![address]),
    };
    let found = timeout(limits::NAME_LOOKUP, tokio::net::lookup_host((host.as_str(), 0))).await;
    let found = found.map_err(|_| DialError::Timeout)?.map_err(|error| {
        tracing::debug!(host, %error, "the name was not found");
        DialError::UnknownHost
    })?;
    let mut ips: Vec<IpAddr> = found.map(|found| found.ip()).filter(wanted).collect();
    ips.dedup();
    if ips.is_empty() {
        return Err(DialError::UnknownHost);
    }
    let with = |ip| std::iter::once(Protocol::from(ip)).chain(address.iter().skip(1)).collect();
    Ok(ips.into_iter().take(ADDRESSES).map(with).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("address")
    }

    #[tokio::test]
    async fn names_become_ip_addresses_and_the_rest_stays() {
        let plain = address("/ip4/192.0.2.7/tcp/4001");
        assert_eq!(resolve(plain.clone()).await, Ok(vec![plain]));
        let found = resolve(address("/dns4/localhost/udp/4001/quic-v1")).await;
        assert_eq!(found, Ok(vec![address("/ip4/127.0.0.1/udp/4001/quic-v1")]));
        let both = resolve(address("/dns/localhost/tcp/4001")).await.expect("localhost");
        assert!(both.contains(&address("/ip4/127.0.0.1/tcp/4001")));
        // RFC 6761 §6.4: this name never exists.
        assert_eq!(resolve(address("/dns/nobody.invalid/tcp/1")).await, Err(DialError::UnknownHost));
    }
}
