//! First contact: everybody who, as a link says, may have a package is dialled at once, each at all addresses that the link
//! has of them, and whoever answers is asked for it.
//!
//! Nothing that a link says is believed. An address has to answer with the key that the link names, and what is offered
//! there has to lead to the package's id, or it leaves no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::link::{Link, LinkError, PeerAddress};
use syncra_protocol::reference::{Reference, ReferenceError};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Parts, reach, seek};
use crate::net::{DialError, Multiaddr, peer_of};
use crate::node::Online;

/// How long the other addresses get once somebody has brought the package: who answers first may know less.
const OTHERS: Duration = Duration::from_secs(1);

/// What somebody was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A link.
    Link(Link),
    /// A name, which has to be found.
    Name(Reference),
}

/// Why a text is neither.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// It begins as a name.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// It does not.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// An address of a link where nothing came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The address.
    pub address: PeerAddress,
    /// Why.
    pub why: DialError,
}

/// Why a package was not found.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// The link has no address, and nobody else is connected.
    #[error("the link has no address, and nobody is connected who could be asked")]
    Nobody,
    /// Nobody answers at any address.
    #[error("nobody was reached at the {} of the link", places(.failed.len()))]
    Unreachable {
        /// Each address, and why not.
        failed: Vec<Failed>,
    },
    /// Somebody answers, and not whom the link names.
    #[error("somebody else answers at the {} of the link", places(.failed.len()))]
    WrongPeer {
        /// Each address, and why not.
        failed: Vec<Failed>,
    },
    /// Those who were asked do not have it.
    #[error("none of {n_asked} peers who were asked knows package {package}")]
    NotThere {
        /// The package.
        package: PackageId,
        /// Peers that were asked.
        n_asked: usize,
    },
    /// Not everybody answered in time.
    #[error("nothing was heard of package {package} within {} s", within.as_secs())]
    Timeout {
        /// The package.
        package: PackageId,
        /// How long.
        within: Duration,
    },
}

fn places(n: usize) -> String {
    if n == 1 { "address".to_owned() } else { format!("{n} addresses") }
}

impl Given {
    /// Reads what somebody pasted: a link, or a reference by owner and name.
    ///
    /// # Errors
    /// [`GivenError`].
    pub fn parse(text: &str) -> Result<Self, GivenError> {
        match text.trim() {
            name if name.starts_with('@') => Ok(Self::Name(Reference::parse(name)?)),
            _ => Ok(Self::Link(Link::parse(text)?)),
        }
    }
}

/// Asks whoever a link names, and whoever is connected, for a package, until somebody brings its history. Returns the
/// addresses where nothing came of it.
///
/// # Errors
/// [`ContactError`], if nothing is known of the package then.
pub async fn contact(
    parts: &Parts,
    online: &Online,
    link: &Link,
    within: Duration,
) -> Result<Vec<Failed>, ContactError> {
    let mut contact = Contact { parts, online, package: link.package(), n_asked: 0, failed: Vec::new() };
    let is_complete = timeout(within, contact.run(link.addresses())).await.is_ok();
    let Contact { package, n_asked, failed, .. } = contact;
    if is_known(parts, package) {
        return Ok(failed);
    }
    let is_impostor = |failed: &Failed| matches!(failed.why, DialError::WrongPeer { .. });
    Err(match n_asked {
        0 if failed.iter().any(is_impostor) => ContactError::WrongPeer { failed },
        _ if !is_complete => ContactError::Timeout { package, within },
        0 if failed.is_empty() => ContactError::Nobody,
        0 => ContactError::Unreachable { failed },
        n_asked => ContactError::NotThere { package, n_asked },
    })
}

fn is_known(parts: &Parts, package: PackageId) -> bool {
    parts.histories.package(package).is_ok_and(|history| history.is_some())
}

/// A contact under way.
struct Contact<'a> {
    parts: &'a Parts,
    online: &'a Online,
    package: PackageId,
    n_asked: usize,
    failed: Vec<Failed>,
}

impl Contact<'_> {
    async fn run(&mut self, addresses: &[PeerAddress]) {
        self.ask_those_named(addresses).await;
        if is_known(self.parts, self.package) {
            return;
        }
        // Somebody else may have it: a neighbour, a peer met before, or whom the distributed hash table names.
        reach::first_contact(self.online).await;
        let connected = self.online.net.peers().await.unwrap_or_default();
        self.n_asked = self.n_asked.max(connected.len());
        Box::pin(seek::history(self.parts, self.online, self.package)).await;
    }

    /// Dials all addresses and asks everybody who answers, and who is there already; ends when somebody has brought the
    /// package, after a moment for the others.
    async fn ask_those_named(&mut self, addresses: &[PeerAddress]) {
        let (online, package) = (self.online, self.package);
        let ask = |peers: Vec<DeviceKey>| online.sync.refresh(package, Some(peers));
        let connected = online.net.peers().await.unwrap_or_default();
        let mut asked: BTreeSet<DeviceKey> = connected.into_iter().map(|peer| peer.key).collect();
        let mut asks = FuturesUnordered::new();
        if !asked.is_empty() {
            asks.push(ask(asked.iter().copied().collect()));
        }
        let mut dials: FuturesUnordered<_> =
            self.by_peer(addresses).into_iter().map(|(peer, places)| dial(online, peer, places)).collect();
        let mut end: Option<Instant> = None;
        while !(dials.is_empty() && asks.is_empty()) {
            tokio::select! {
                Some((peer, failed)) = dials.next() => match failed {
                    None if asked.insert(peer) => asks.push(ask(vec![peer])),
                    None => {}
                    Some(failed) => self.failed.extend(failed),
                },
                Some(answered) = asks.next() => {
                    // A network that ends brings nothing.
                    self.n_asked += answered.map_or(0, |answered| answered.n_peers);
                    if end.is_none() && is_known(self.parts, package) {
                        end = Some(Instant::now() + OTHERS);
                    }
                }
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
            }
        }
    }

    /// Whom the addresses lead to. One of a kind that this version does not know cannot be dialled.
    fn by_peer(&mut self, addresses: &[PeerAddress]) -> BTreeMap<DeviceKey, Vec<Place>> {
        let mut all: BTreeMap<DeviceKey, Vec<Place>> = BTreeMap::new();
        for address in addresses {
            let parsed = address.as_str().parse::<Multiaddr>().ok();
            match parsed.and_then(|parsed| Some((peer_of(&parsed)?, parsed))) {
                Some((peer, parsed)) => all.entry(peer).or_default().push((address.clone(), parsed)),
                None => self.failed.push(Failed { address: address.clone(), why: DialError::UnsupportedAddress }),
            }
        }
        all
    }
}

/// An address, and the same read.
type Place = (PeerAddress, Multiaddr);

/// Dials somebody; where nothing came of it, if nothing came of any.
async fn dial(online: &Online, peer: DeviceKey, places: Vec<Place>) -> (DeviceKey, Option<Vec<Failed>>) {
    let outcome = online.net.reach(peer, places.iter().map(|(_, parsed)| parsed.clone()).collect()).await;
    let failed = outcome.err().map(|unreached| {
        places.into_iter().map(|(address, parsed)| Failed { address, why: unreached.at(&parsed) }).collect()
    });
    (peer, failed)
}
