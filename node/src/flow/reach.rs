//! Finding out, on purpose, what connected peers offer: for searches, and for names that nothing known here has.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use syncra_protocol::id::PackageId;
use syncra_protocol::sync::Peer;

use super::Parts;
use super::content::ContentError;
use super::install::{self, InstallError, Plan, Request};
use crate::node::Online;
use crate::sync::ask;

/// Peers asked at the same time.
const PEERS_AT_ONCE: usize = 16;
/// Packages of one peer that are looked at in one go: what a stranger may cost.
const PACKAGES_PER_PEER: usize = 1_024;
/// How long a node that has just started waits for its first neighbour.
pub const FIRST_NEIGHBOUR: Duration = Duration::from_secs(3);

/// What a look around brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Peers that were asked.
    pub n_peers: usize,
    /// Packages of which something new was offered.
    pub n_packages: usize,
}

/// Asks every connected peer what it offers and takes in, verified, what is new. What a peer refuses or gets wrong is
/// left out: others may have it.
pub async fn discover(parts: &Parts, online: &Online) -> Found {
    let peers = online.net.peers().await.unwrap_or_default();
    let n_peers = peers.len();
    let news = stream::iter(peers).map(|peer| of_peer(parts, online, peer.key));
    let n_packages = news.buffer_unordered(PEERS_AT_ONCE).fold(0, async |sum, n| sum + n).await;
    Found { n_peers, n_packages }
}

/// Plans a change of what is installed; histories of packages that the plan needs and nobody here knows are asked for.
///
/// # Errors
/// [`InstallError`], as [`install::plan`].
pub async fn plan(parts: &Parts, request: &Request) -> Result<Plan, InstallError> {
    let mut asked = BTreeSet::new();
    loop {
        let planned = install::plan(parts, request).await;
        let Err(InstallError::Content(ContentError::UnknownPackage(needed))) = planned else { return planned };
        let Some(online) = parts.online().filter(|_| asked.insert(needed)) else { return planned };
        // A network that ends brings nothing, and the next plan says what is missing.
        drop(online.sync.refresh(needed, None).await);
    }
}

/// Waits until somebody is connected, `within` at most. True if somebody is.
pub async fn first_peer(online: &Online, within: Duration) -> bool {
    let mut events = online.net.events();
    let connected = async {
        while online.net.peers().await.unwrap_or_default().is_empty() {
            // Whatever happened, look again; when the network ends there is nobody to wait for.
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = events.recv().await {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(within, connected).await.unwrap_or(false)
}

async fn of_peer(parts: &Parts, online: &Online, peer: Peer) -> usize {
    let mut n_news = 0;
    let mut after = None;
    let mut n_seen = 0;
    loop {
        let page = match ask::offers(&online.net, peer, after).await {
            Ok(page) => page,
            Err(failure) => {
                tracing::debug!(peer = peer.fmt_short(), ?failure, "no offers");
                return n_news;
            }
        };
        for offer in &page.offers {
            if held(parts, offer.package) == Some(offer.frontier) {
                continue;
            }
            n_news += 1;
            if online.sync.refresh(offer.package, Some(vec![peer])).await.is_err() {
                return n_news;
            }
        }
        n_seen += page.offers.len();
        after = page.offers.last().map(|offer| offer.package);
        if !page.more || after.is_none() || n_seen >= PACKAGES_PER_PEER {
            return n_news;
        }
    }
}

/// What is held of a package, in the words of an offer.
fn held(parts: &Parts, package: PackageId) -> Option<[u8; 32]> {
    Some(parts.histories.package(package).ok()??.state.frontier.digest())
}
