//! Making a link to a package that is known here: what it is, and where this node is reached.

use syncra_protocol::fold::{SelectError, Warning};
use syncra_protocol::id::PackageId;
use syncra_protocol::link::{Link, PeerAddress};
use syncra_protocol::reference::{QualifiedName, Reference};

use super::Parts;
use super::resolve::{self, ResolveError};
use crate::blobs::{self, BlobError};
use crate::net::address::{Scope, is_relayed};
use crate::net::{Multiaddr, told, with_peer};

/// Addresses in a link that is made here: two of each transport. A link can have more, but not a QR code that fits in a
/// terminal.
const ADDRESSES: usize = 4;

/// A link and what is to be said about it.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The link.
    pub link: Link,
    /// How strangers name the package, with what was asked for.
    pub reference: String,
    /// What whoever shares it should know.
    pub doubts: Vec<Doubt>,
}

/// Why somebody who opens a link might not get anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// This node is not on the network.
    Offline,
    /// This node listens nowhere that somebody else could be told.
    NoAddress,
    /// It is reached on this machine alone.
    ThisMachine,
    /// It is reached on the networks around it alone.
    ThisNetwork,
    /// From elsewhere it is reached through a relay, as long as that holds a place for it.
    ThroughRelay,
    /// This node knows the package and does not hold all of the release.
    NotHeld,
    /// The release is selected with a warning.
    Selected(Warning),
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// No package is meant, or none that is known.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No release is meant: whoever opened the link would get nothing.
    #[error(transparent)]
    Select(Box<SelectError>),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
}

/// Makes a link to what a reference means.
///
/// # Errors
/// [`ShareError`].
pub async fn share(parts: &Parts, reference: &Reference) -> Result<Shared, ShareError> {
    let named = resolve::package(parts, reference)?;
    let package: PackageId = named.history.state.package;
    let selection = resolve::release(&named.history.state, named.selector.as_ref());
    let selection = selection.map_err(|error| ShareError::Select(Box::new(error)))?;
    let mut doubts: Vec<Doubt> = selection.warning.clone().map(Doubt::Selected).into_iter().collect();
    if !parts.blobs().await?.missing(selection.published.release.content_root.into()).await?.is_nothing() {
        doubts.push(Doubt::NotHeld);
    }
    let mut link = Link::new(package, named.selector.clone());
    if let Ok(name) = QualifiedName::parse(&named.reference) {
        link = link.with_name(name);
    }
    let (addresses, doubt) = addresses(parts);
    doubts.extend(doubt);
    for address in addresses {
        link.add(address);
    }
    let selector = named.selector.as_ref().map(|selector| format!("@{selector}")).unwrap_or_default();
    Ok(Shared { link, reference: format!("{}{selector}", named.reference), doubts })
}

/// Where this node is reached, as far away as it is reached at all, and what limits that.
pub(crate) fn addresses(parts: &Parts) -> (Vec<PeerAddress>, Option<Doubt>) {
    let Some(online) = parts.online() else { return (Vec::new(), Some(Doubt::Offline)) };
    let Some((scope, addresses)) = told::widest(online.net.told_addrs()) else {
        return (Vec::new(), Some(Doubt::NoAddress));
    };
    let doubt = match scope {
        Scope::Loopback => Some(Doubt::ThisMachine),
        Scope::Local => Some(Doubt::ThisNetwork),
        Scope::Public if addresses.iter().all(is_relayed) => Some(Doubt::ThroughRelay),
        Scope::Public => None,
    };
    let key = online.net.key();
    let text = |address: Multiaddr| PeerAddress::parse(&with_peer(address, &key)?.to_string()).ok();
    (addresses.into_iter().filter_map(text).take(ADDRESSES).collect(), doubt)
}
