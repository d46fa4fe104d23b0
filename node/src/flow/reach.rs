//! Finding out, on purpose, what connected peers offer: for searches, and for names that nothing known here has.
//!
//! What a peer offers is hearsay. It is taken in like all news, verified log by log, and only then found or shown; what
//! does not verify leaves no trace. How much strangers may add is bounded: by peer, by writer, and altogether.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _, stream};
use syncra_protocol::entry::Release;
use syncra_protocol::evidence::Evidence;
use syncra_protocol::id::{IdentityId, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::{CATALOGUE_PACKAGES, CATALOGUE_PACKAGES_PER_WRITER};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::message::log::Offer;
use syncra_protocol::name::PackageName;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::record::ProviderKey;
use syncra_protocol::reference::{OwnerKey, QualifiedName, Reference};
use syncra_protocol::sync::Peer;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::content::ContentError;
use super::install::{self, InstallError, Plan, Request};
use super::resolve::{self, ResolveError};
use super::{Parts, catalogue, seek};
use crate::journal::Regard;
use crate::net::NetEvent;
use crate::node::Online;
use crate::sync::ask;
use crate::sync::fetch::{self, FetchError, Want};

/// Peers whose offers are looked at at the same time. All are asked at once: who never answers keeps nobody waiting.
const PEERS_AT_ONCE: usize = 16;
/// Once somebody has brought what is looked for, others have as long as that took, but at least this, to bring what goes
/// by the same name.
const OTHERS_LIKE_IT: Duration = Duration::from_millis(250);
/// Packages of one peer that are looked at in one go: what a stranger may cost.
const PACKAGES_PER_PEER: usize = 1_024;
/// Packages of one peer that are asked for at the same time.
const PACKAGES_AT_ONCE: usize = 8;
/// Manifests fetched in one go.
const MANIFESTS: usize = 256;
/// Manifests fetched at the same time.
const MANIFESTS_AT_ONCE: usize = 8;
/// How long a manifest may take, which is only for reading.
const MANIFEST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a node that has just started waits for its first neighbour.
const FIRST_NEIGHBOUR: Duration = Duration::from_secs(3);
/// How long it waits for anybody at all, while bootstrap nodes and peers met before are dialled.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// How long it waits for the others once somebody is there: who answers first need not be who has what is wanted.
const OTHERS: Duration = Duration::from_secs(1);

/// What a look around brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Peers that were asked.
    pub n_peers: usize,
    /// What they offer and is known here, verified: by how many of them.
    pub offered: BTreeMap<PackageId, usize>,
    /// Packages that were left out: their writer has too many already, or there are too many altogether.
    pub n_left_out: usize,
    /// Whether everybody answered in time.
    pub is_complete: bool,
}

/// Asks every connected peer what it offers and takes in, verified, what is new, for as long as `within`. What a peer
/// refuses or gets wrong is left out: others may have it.
pub async fn discover(parts: &Parts, online: &Online, within: Duration) -> Found {
    let look = Look::new(parts, online);
    let is_complete = tokio::time::timeout(within, look.around()).await.is_ok();
    let found = look.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Found { is_complete, ..found }
}

/// Takes in, verified, the package that an owner calls by this name, from whoever is connected or provides that name, until
/// the release that is meant is known, for as long as `within`. Packages of others are not taken in.
async fn named(
    parts: &Parts,
    online: &Online,
    reference: &Reference,
    (owner, name): (&OwnerKey, &PackageName),
    within: Duration,
) -> Found {
    let look = Look { only: Some(owner), ..Look::new(parts, online) };
    let is_found = || is_known(parts, reference);
    let key = ProviderKey::of_name(owner, name);
    let asking = seek::providers(online, key, look.around(), |peer| look.peer(peer).boxed(), is_found);
    let is_complete = tokio::time::timeout(within, Box::pin(asking)).await.is_ok();
    let found = look.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Found { is_complete, ..found }
}

/// Whether a release that goes by this name is known here.
pub fn is_known(parts: &Parts, reference: &Reference) -> bool {
    let named = resolve::package(parts, reference);
    named.is_ok_and(|named| resolve::release(&named.history.state, named.selector.as_ref()).is_ok())
}

/// A look around under way.
struct Look<'a> {
    parts: &'a Parts,
    online: &'a Online,
    /// Packages that each key writes to, as far as they are known.
    written: Mutex<BTreeMap<DeviceKey, BTreeSet<PackageId>>>,
    /// Owners to whom the limits do not apply.
    pinned: BTreeSet<IdentityId>,
    /// The owner to whose packages the look is limited; they are what the user asked for, so limits do not apply.
    only: Option<&'a OwnerKey>,
    places: Semaphore,
    found: Mutex<Found>,
}

impl<'a> Look<'a> {
    fn new(parts: &'a Parts, online: &'a Online) -> Self {
        let mut written: BTreeMap<DeviceKey, BTreeSet<PackageId>> = BTreeMap::new();
        for head in parts.histories.journal().truth().heads() {
            if let Subject::Package(package) = head.origin.subject {
                written.entry(head.origin.key).or_default().insert(package);
            }
        }
        let pinned = resolve::pinned(parts).unwrap_or_else(|error| {
            tracing::warn!(%error, "whose packages are followed cannot be read");
            BTreeSet::new()
        });
        let places = Semaphore::new(PEERS_AT_ONCE);
        Self { parts, online, written: Mutex::new(written), pinned, only: None, places, found: Mutex::default() }
    }

    async fn around(&self) {
        let peers = self.online.net.peers().await.unwrap_or_default();
        self.found().n_peers = peers.len();
        stream::iter(peers).for_each_concurrent(None, |peer| self.peer(peer.key)).await;
    }

    async fn peer(&self, peer: Peer) {
        let (mut after, mut n_seen) = (None, 0);
        loop {
            let page = match ask::offers(&self.online.net, peer, after).await {
                Ok(page) => page,
                Err(failure) => {
                    tracing::debug!(peer = peer.fmt_short(), ?failure, "no offers");
                    return ask::count(&self.online.net, peer, failure).await;
                }
            };
            let _place = self.places.acquire().await;
            stream::iter(&page.offers).for_each_concurrent(PACKAGES_AT_ONCE, |offer| self.offer(peer, offer)).await;
            n_seen += page.offers.len();
            after = page.offers.last().map(|offer| offer.package);
            if !page.more || after.is_none() || n_seen >= PACKAGES_PER_PEER {
                return;
            }
        }
    }

    async fn offer(&self, peer: Peer, offer: &Offer) {
        let held = held(self.parts, offer.package);
        if held.is_none() && !self.admits(peer, offer.package).await {
            return;
        }
        if held != Some(offer.frontier) {
            // A network that ends brings nothing.
            drop(self.online.sync.refresh(offer.package, Some(vec![peer])).await);
        }
        if self::held(self.parts, offer.package).is_some() {
            *self.found().offered.entry(offer.package).or_default() += 1;
        }
    }

    /// Whether there is room for a package that is not known yet, by its Genesis entry, which proves itself.
    async fn admits(&self, peer: Peer, package: PackageId) -> bool {
        let heads = match ask::heads(&self.online.net, peer, package).await {
            Ok(heads) => heads,
            Err(failure) => {
                ask::count(&self.online.net, peer, failure).await;
                return false;
            }
        };
        let Ok(mut evidence) = Evidence::open(package, &heads.package_genesis.0) else { return false };
        for identity in &heads.identity_geneses {
            if let Err(error) = evidence.admit_identity(&identity.0) {
                tracing::debug!(%package, %error, "a Genesis entry that says nothing here");
            }
        }
        let genesis = evidence.genesis();
        match self.only {
            Some(only) if is_by(self.parts, &evidence, |owner| only.matches(owner)) => return true,
            // It may have been handed on: whose it is now its logs say, so what may be is looked at like a stranger's.
            Some(only) => {
                let told = heads.notes.iter().filter_map(|note| Head::verify(&note.0).ok());
                let mut people = told.filter_map(|head| match head.origin().subject {
                    Subject::Identity(identity) => Some(identity),
                    Subject::Package(_) => None,
                });
                if !genesis.owners.iter().any(|owner| only.matches(owner)) && !people.any(|who| only.matches(&who)) {
                    return false;
                }
            }
            // Who was blocked and handed it on is looked at again when its logs are here.
            None => {
                let truth = self.parts.histories.journal().truth();
                if genesis.owners.iter().any(|owner| truth.regard(owner) == Regard::Blocked) {
                    return false;
                }
            }
        }
        if is_by(self.parts, &evidence, |owner| self.pinned.contains(owner)) {
            return true;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let n_known = self.parts.histories.packages().len();
        let of_writer = written.entry(genesis.log_key).or_default();
        let has_room = n_known < CATALOGUE_PACKAGES && of_writer.len() < CATALOGUE_PACKAGES_PER_WRITER;
        if has_room {
            of_writer.insert(package);
        } else {
            self.found().n_left_out += 1;
        }
        has_room
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a package of which only the Genesis is known was begun by one of these people. Anybody can write anybody into a
/// Genesis, as owner and as creator; the log that begins with it must be by a device of who is meant.
fn is_by(parts: &Parts, evidence: &Evidence, is_meant: impl Fn(&IdentityId) -> bool) -> bool {
    let genesis = evidence.genesis();
    let log = Origin::package(evidence.package(), genesis.log_key);
    let is_known = |owner: &IdentityId| {
        let state = parts.histories.identity(*owner);
        matches!(state, Ok(Some(state)) if state.devices.contains_key(&log.key))
    };
    let mut meant = genesis.owners.iter().filter(|owner| is_meant(owner));
    meant.any(|owner| evidence.is_device(owner, &log) || is_known(owner))
}

/// What is held of a package, in the words of an offer.
fn held(parts: &Parts, package: PackageId) -> Option<[u8; 32]> {
    Some(parts.histories.package(package).ok()??.state.frontier.digest())
}

/// Fetches what packages say they are, where it is not held, for as long as `within`: searches look into it.
pub async fn describe(parts: &Parts, online: &Online, packages: impl Iterator<Item = PackageId>, within: Duration) {
    let all = stream::iter(packages.take(MANIFESTS)).for_each_concurrent(MANIFESTS_AT_ONCE, async |package| {
        if let Err(error) = manifest(parts, online, package).await {
            tracing::debug!(%package, %error, "no manifest");
        }
    });
    // What did not come in time is described the next time.
    drop(tokio::time::timeout(within, all).await);
}

async fn manifest(parts: &Parts, online: &Online, package: PackageId) -> Result<(), FetchError> {
    let Ok(Some(history)) = parts.histories.package(package) else { return Ok(()) };
    let Ok(selection) = resolve::release(&history.state, None) else { return Ok(()) };
    let release = &selection.published.release;
    if parts.blobs().await?.has(release.manifest).await? {
        return Ok(());
    }
    manifest_of(parts, online, release, MANIFEST_PATIENCE).await?;
    if let Err(error) = catalogue::refresh(parts, package).await {
        tracing::warn!(%package, %error, "the package has no card in the catalogue");
    }
    Ok(())
}

/// Fetches the manifest of a release if it is not held.
///
/// # Errors
/// [`FetchError`].
pub async fn manifest_of(parts: &Parts, online: &Online, of: &Release, patience: Duration) -> Result<(), FetchError> {
    let blobs = parts.blobs().await?;
    if blobs.has(of.manifest).await? {
        return Ok(());
    }
    let want = Want { beside: vec![of.manifest], ..Want::of(of, Vec::new()) };
    fetch::beside(parts, &online.net, &want, &blobs.pins(), patience).await?;
    Ok(())
}

/// Plans a change of what is installed; histories of packages that the plan needs and nobody here knows are asked for, all
/// together for as long as `within`.
///
/// # Errors
/// [`InstallError`], as [`install::plan`].
pub async fn plan(parts: &Parts, request: &Request, within: Duration) -> Result<Plan, InstallError> {
    let (deadline, mut asked) = (Instant::now() + within, BTreeSet::new());
    loop {
        let planned = install::plan(parts, request).await;
        let Err(InstallError::Content(ContentError::UnknownPackage(needed))) = planned else { return planned };
        let Some(online) = parts.online().filter(|_| asked.insert(needed)) else { return planned };
        // When nobody knows it, or tells in time, the next plan says what is missing.
        let asking = Box::pin(seek::history(parts, online, needed));
        drop(tokio::time::timeout_at(deadline.into(), asking).await);
    }
}

/// Finds what a reference means that nothing known here has: asks connected peers, and, while a node that has just started
/// still dials those it knows of, also whoever comes meanwhile.
pub async fn find(parts: &Parts, online: &Online, reference: &Reference, within: Duration) -> Found {
    let deadline = Instant::now() + within;
    loop {
        let mut events = online.net.events();
        // Asked before the peers are: who comes between the two is seen by one of them.
        let was_beginning = online.begins();
        let left = deadline.saturating_duration_since(Instant::now());
        let found = match reference {
            Reference::Package(package, _) => {
                let asked = tokio::time::timeout(left, Box::pin(seek::history(parts, online, *package))).await;
                Found { is_complete: asked.is_ok(), ..Found::default() }
            }
            Reference::Named(QualifiedName { key: Some(owner), name, .. }, _) => {
                tokio::select! {
                    found = named(parts, online, reference, (owner, name), left) => found,
                    () = becomes_known(parts, reference) => Found { is_complete: true, ..Found::default() },
                }
            }
            Reference::Named(..) | Reference::Content(_) => {
                tokio::select! {
                    found = discover(parts, online, left) => found,
                    () = becomes_known(parts, reference) => Found { is_complete: true, ..Found::default() },
                }
            }
        };
        let is_unknown = matches!(resolve::package(parts, reference), Err(ResolveError::Unknown(_)));
        if !is_unknown || !was_beginning || !found.is_complete {
            return found;
        }
        let somebody = async { while !matches!(events.recv().await, Ok(NetEvent::Connected { .. }) | Err(_)) {} };
        tokio::select! {
            () = somebody => {}
            () = online.begun() => {}
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
    }
}

/// Ends some time after a release that goes by this name is known.
async fn becomes_known(parts: &Parts, reference: &Reference) {
    let (began, mut changes) = (Instant::now(), parts.histories.changes());
    while !is_known(parts, reference) {
        if matches!(changes.recv().await, Err(RecvError::Closed)) {
            return std::future::pending().await;
        }
    }
    tokio::time::sleep(began.elapsed().max(OTHERS_LIKE_IT)).await;
}

/// Waits, after a start, until somebody useful may be connected: the first of neighbours, bootstrap nodes and peers met
/// before, and a moment for the others. Ends early when there is nobody left to wait for.
pub async fn first_contact(online: &Online) {
    let neighbours = async {
        if online.looks_around {
            tokio::time::sleep(FIRST_NEIGHBOUR).await;
        }
    };
    let nobody_left = async {
        futures::join!(neighbours, online.begun());
    };
    let is_somebody_there = tokio::select! {
        biased;
        is_there = first_peer(online, FIRST_CONTACT) => is_there,
        () = nobody_left => false,
    };
    if is_somebody_there {
        drop(tokio::time::timeout(OTHERS, online.begun()).await);
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

#[cfg(test)]
mod tests {
    use syncra_protocol::entry::{Body, Entry, PackageGenesis};
    use syncra_protocol::id::EntryId;
    use syncra_protocol::key::DeviceSecret;
    use syncra_protocol::manifest::PackageKind;

    use super::*;
    use crate::flow::fixture::open;

    fn begun(by: IdentityId, log_key: DeviceKey) -> Evidence {
        let genesis = PackageGenesis {
            kind: PackageKind::World,
            owners: vec![by],
            owner_threshold: 1,
            creator: by,
            log_key,
            nonce: [7; 16],
        };
        let genesis = Entry::new(Body::PackageGenesis(genesis)).encode().unwrap();
        Evidence::open(PackageId::from(EntryId::of(&genesis)), &genesis).unwrap()
    }

    /// The story of a stranger who writes somebody into a Genesis whose packages are taken in without limits.
    #[tokio::test]
    async fn who_writes_others_into_a_genesis_gets_none_of_their_room() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let me = parts.identity();
        let stranger = DeviceSecret::from_seed(&[9; 32]).public();
        assert!(is_by(&parts, &begun(me, parts.device), |owner| *owner == me));
        assert!(!is_by(&parts, &begun(me, stranger), |owner| *owner == me));
        assert!(!is_by(&parts, &begun(IdentityId::from_bytes([8; 32]), parts.device), |owner| *owner == me));
        // Of somebody who is not known yet the first device is known by the bytes that come with the package.
        let other = tempfile::tempdir().unwrap();
        let theirs = open(other.path()).await;
        let (id, device) = (theirs.identity(), theirs.device);
        let mut evidence = begun(id, device);
        assert!(!is_by(&parts, &evidence, |owner| *owner == id));
        let own = theirs.histories.entries(&Origin::identity(id, device), 0, 1).unwrap();
        evidence.admit_identity(&own[0]).unwrap();
        assert!(is_by(&parts, &evidence, |owner| *owner == id));
        parts.close().await;
        theirs.close().await;
    }
}
