//! `/dnsaddr/host`: a list of nodes that a community keeps in its zone, as TXT records `dnsaddr=/ip4/…/p2p/…` at
//! `_dnsaddr.host` (libp2p's `addressing` specification). A record may name another list.
//!
//! What a zone says is hearsay as any address is; who answers proves its key. How much it may say is bounded.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::DialError;
use crate::clock;
use crate::net::limits;

/// The name server to ask instead of the system's, `address:port`: a zone of its own for tests and labs.
const SERVER_VARIABLE: &str = "SYNCRA_DNS_SERVER";

/// Lists that lead to lists: a list of regions, each a list of nodes, and one more.
const DEPTH: usize = 3;
/// Lists that are looked up for one address.
const LISTS: usize = 8;
/// Records that are looked at of one list.
const RECORDS: usize = 64;
/// Addresses that are taken from all of them.
const SEEDS: usize = 32;
/// How a record begins that is meant for us; others at the same name are not.
const PREFIX: &[u8] = b"dnsaddr=";

/// Who is asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Zones {
    /// A name server instead of the system's.
    server: Option<SocketAddr>,
}

impl Zones {
    /// The system's, unless the environment says otherwise.
    pub(super) fn of_system() -> Self {
        Self { server: std::env::var(SERVER_VARIABLE).ok().and_then(|server| server.parse().ok()) }
    }

    /// The addresses in the list of `host` that end as `suffix` does, without names of lists among them, beginning
    /// anywhere in the list so that not everybody goes to the same node.
    ///
    /// # Errors
    /// [`DialError::NoSeeds`] when there are none, [`DialError::UnknownHost`] when nobody can be asked.
    pub(super) async fn seeds(self, host: &str, suffix: Multiaddr) -> Result<Vec<Multiaddr>, DialError> {
        let resolver = self.resolver().map_err(|error| {
            tracing::debug!(%error, "there is no name server to ask");
            DialError::UnknownHost
        })?;
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut open = VecDeque::from([(host.to_owned(), suffix, 1)]);
        while let Some((host, suffix, depth)) = open.pop_front() {
            if seen.len() == LISTS || !seen.insert(host.clone()) {
                continue;
            }
            for address in records(&resolver, &host).await {
                match address.iter().next() {
                    _ if !address.ends_with(&suffix) => {}
                    Some(Protocol::Dnsaddr(list)) if depth < DEPTH => {
                        open.push_back((list.into_owned(), address.iter().skip(1).collect(), depth + 1));
                    }
                    Some(Protocol::Dnsaddr(_)) => tracing::debug!(%address, "lists lead too far"),
                    _ if found.len() < SEEDS && !found.contains(&address) => found.push(address),
                    _ => {}
                }
            }
        }
        if found.is_empty() {
            return Err(DialError::NoSeeds);
        }
        let [first] = clock::random::<1>();
        let first = usize::from(first) % found.len();
        found.rotate_left(first);
        Ok(found)
    }

    /// Made anew each time: a machine that has moved has other name servers.
    fn resolver(self) -> Result<TokioResolver, NetError> {
        let Some(server) = self.server else { return TokioResolver::builder_tokio()?.build() };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
    }
}

/// The addresses in one list. One that cannot be read is left out, others may do.
async fn records(resolver: &TokioResolver, host: &str) -> Vec<Multiaddr> {
    // With the root at its end, so that no search domain of the machine is tried.
    let name = format!("_dnsaddr.{}.", host.trim_end_matches('.'));
    let lookup = match resolver.txt_lookup(name).await {
        Ok(lookup) => lookup,
        Err(error) => {
            tracing::debug!(host, %error, "no list of nodes");
            return Vec::new();
        }
    };
    let text = |record: &hickory_resolver::proto::rr::Record| match &record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    };
    lookup.answers().iter().filter_map(text).take(RECORDS).filter_map(|record| address(&record)).collect()
}

/// The address in a record.
fn address(record: &[u8]) -> Option<Multiaddr> {
    let text = record.strip_prefix(PREFIX).filter(|text| text.len() <= limits::ADDRESS_BYTES)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_address_of_sane_length() {
        let record = |text: &str| address(text.as_bytes()).map(|address| address.to_string());
        let peer = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";
        for good in [format!("/ip4/192.0.2.7/tcp/4001/p2p/{peer}"), "/dnsaddr/eu.example.org".to_owned()] {
            assert_eq!(record(&format!("dnsaddr={good}")), Some(good));
        }
        let long = format!("dnsaddr=/dns/{}/tcp/1", "a".repeat(limits::ADDRESS_BYTES));
        for wrong in
            ["", "dnsaddr=", "/ip4/192.0.2.7/tcp/1", "dnsaddr=192.0.2.7", "dnsaddr =/ip4/192.0.2.7/tcp/1", &long]
        {
            assert_eq!(record(wrong).filter(|address| !address.is_empty()), None, "{wrong}");
        }
        assert_eq!(address(b"dnsaddr=/ip4/192.0.2.7/tcp/1\xff"), None);
    }
}
