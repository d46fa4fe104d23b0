//! The catalogue: one card for each package that is known here, in the index.
//!
//! A card is a convenience. It says what logs and manifests say, the index notes the heads it was made from, and
//! [`catch_up`] makes anew what is behind or gone; so nothing changes when the index is lost.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use syncra_protocol::codec;
use syncra_protocol::id::{IdentityId, LogHash, PackageId};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::{Handle, PackageName};
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::reference::OwnerKey;
use syncra_protocol::version::Version;

use super::{Parts, release, resolve};
use crate::history::{History, LoadError};
use crate::index::{Batch, IndexError, Table, VALUE_BYTES};

/// Versions on a card: keeps it within a value of the index. The history has all.
pub const CARD_VERSIONS: usize = 32;

/// What lists and searches show of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The package.
    pub package: PackageId,
    /// What it is.
    pub kind: PackageKind,
    /// Who named it, else its first owner.
    pub owner: IdentityId,
    /// What the owner calls itself.
    pub handle: Option<Handle>,
    /// Its name; none while no owner has named it.
    pub name: Option<PackageName>,
    /// From the manifest of the newest release, if that is held.
    pub description: Option<String>,
    /// Versions, the highest first, at most [`CARD_VERSIONS`].
    pub versions: Vec<Version>,
    /// All versions there are.
    pub n_versions: u64,
    /// What one gets who asks for no version.
    pub latest: Option<Version>,
}

impl Card {
    /// How strangers name it.
    #[must_use]
    pub fn reference(&self) -> String {
        match (&self.name, &self.handle) {
            (Some(name), Some(handle)) => format!("@{handle}~{}/{name}", OwnerKey::of(&self.owner)),
            _ => format!("syncra:{}", self.package),
        }
    }
}

/// Makes the cards that are behind the logs, or gone. Returns how many; none after a clean end.
pub async fn catch_up(parts: &Parts) -> u64 {
    let heads = heads(parts);
    let mut behind = Vec::new();
    for (origin, head) in &heads {
        match parts.index.built_from(origin) {
            Ok(Some(built)) if built == *head => {}
            Ok(_) => behind.push((*origin, *head)),
            Err(error) => return failed(&error),
        }
    }
    let packages = match concerned(parts, &behind) {
        Ok(packages) => packages,
        Err(error) => return failed(&error),
    };
    for package in &packages {
        if let Err(error) = refresh(parts, *package).await {
            tracing::warn!(%package, %error, "the package has no card in the catalogue");
        }
    }
    let mut batch = Batch::new();
    for (origin, (size, root)) in behind {
        batch.built_from(&origin, size, root);
    }
    if let Err(error) = parts.index.write(batch) {
        return failed(&error);
    }
    packages.len() as u64
}

/// Makes one card anew: for what came in without a log growing, for instance a manifest.
///
/// # Errors
/// [`LoadError`]. An index that fails is only logged.
pub async fn refresh(parts: &Parts, package: PackageId) -> Result<(), LoadError> {
    let Some(history) = parts.histories.package(package)? else { return Ok(()) };
    let card = card(parts, &history).await?;
    if let Err(error) = parts.index.put(Table::Catalogue, package.as_bytes(), &codec::encode(&card)) {
        failed(&error);
    }
    Ok(())
}

/// All cards, by reference. What the index cannot give is made from the logs.
pub async fn cards(parts: &Parts) -> Vec<Card> {
    catch_up(parts).await;
    let mut cards = Vec::new();
    for package in parts.histories.packages() {
        match stored(parts, package) {
            Some(card) => cards.push(card),
            None => match fresh(parts, package).await {
                Ok(card) => cards.extend(card),
                Err(error) => tracing::error!(%package, %error, "the package cannot be read; try `syncra verify`"),
            },
        }
    }
    cards.sort_by_cached_key(|card| (card.reference(), card.package));
    cards
}

/// The card of a package as it was made last, if the index has it.
pub fn stored(parts: &Parts, package: PackageId) -> Option<Card> {
    let stored = parts.index.get(Table::Catalogue, package.as_bytes());
    stored.ok().flatten().and_then(|bytes| codec::decode(&bytes, VALUE_BYTES).ok())
}

async fn fresh(parts: &Parts, package: PackageId) -> Result<Option<Card>, LoadError> {
    match parts.histories.package(package)? {
        Some(history) => Ok(Some(card(parts, &history).await?)),
        None => Ok(None),
    }
}

/// The newest heads of all logs that are on disk.
fn heads(parts: &Parts) -> BTreeMap<Origin, (u64, LogHash)> {
    let truth = parts.histories.journal().truth();
    let others = truth.heads().map(|head| (head.origin, (head.size, head.root)));
    let own = truth.own_logs().filter_map(|(origin, log)| Some((*origin, log.note()?)));
    // An own log may also be known from elsewhere; what this device signed is the newer one.
    others.chain(own.map(|(origin, note)| (origin, (note.size, note.root)))).collect()
}

/// The packages whose cards say something of these logs.
fn concerned(parts: &Parts, behind: &[(Origin, (u64, LogHash))]) -> Result<BTreeSet<PackageId>, IndexError> {
    let (mut packages, mut identities) = (BTreeSet::new(), BTreeSet::new());
    for (origin, _) in behind {
        match origin.subject {
            Subject::Package(package) => drop(packages.insert(package)),
            Subject::Identity(identity) => drop(identities.insert(identity)),
        }
    }
    if !identities.is_empty() {
        for (_, bytes) in parts.index.scan(Table::Catalogue, &[], &[], usize::MAX)? {
            let card: Option<Card> = codec::decode(&bytes, VALUE_BYTES).ok();
            packages.extend(card.filter(|card| identities.contains(&card.owner)).map(|card| card.package));
        }
    }
    Ok(packages)
}

async fn card(parts: &Parts, history: &History) -> Result<Card, LoadError> {
    let state = &history.state;
    let named = resolve::name_of(&parts.histories, state.package)?;
    // Nobody who owns it calls it anything: then it is its first owner's, as it is now.
    let first = || state.rights.owners().next().expect("no change leaves a package without owners");
    let owner = named.as_ref().map_or_else(first, |(owner, _)| *owner);
    let handle = parts.histories.identity(owner)?.and_then(|state| state.handle.clone());
    let latest = resolve::release(state, None).ok();
    let description = match &latest {
        Some(selection) => description(parts, &selection.published.release).await,
        None => None,
    };
    Ok(Card {
        package: state.package,
        kind: state.genesis.kind,
        owner,
        handle,
        name: named.map(|(_, name)| name),
        description,
        versions: state.versions.keys().rev().take(CARD_VERSIONS).cloned().collect(),
        n_versions: state.versions.len() as u64,
        latest: latest.map(|selection| selection.published.release.version.clone()),
    })
}

/// What the manifest of a release says it is, if the manifest is held.
pub async fn description(parts: &Parts, of: &syncra_protocol::entry::Release) -> Option<String> {
    let manifest = release::manifest(parts.blobs().await.ok()?, of).await.ok()?;
    manifest.header().description.as_ref().map(ToString::to_string)
}

fn failed(error: &IndexError) -> u64 {
    tracing::warn!(%error, "the catalogue is not kept; it is made anew when it is needed");
    0
}

#[cfg(test)]
mod tests {
    use syncra_protocol::entry::{Body, Entry, PackageGenesis, Role};
    use syncra_protocol::evidence::Evidence;
    use syncra_protocol::id::EntryId;

    use super::*;
    use crate::flow::fixture::open;

    /// Nobody has named it, and it was handed on.
    #[tokio::test]
    async fn a_card_is_the_present_owners() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let (before, now) = (parts.identity(), IdentityId::from_bytes([7; 32]));
        let genesis = PackageGenesis {
            kind: PackageKind::World,
            owners: vec![before],
            owner_threshold: 1,
            creator: before,
            log_key: parts.device,
            nonce: [7; 16],
        };
        let genesis = Entry::new(Body::PackageGenesis(genesis)).encode().unwrap();
        let evidence = Evidence::open(PackageId::from(EntryId::of(&genesis)), &genesis).unwrap();
        let mut history = History { state: evidence.fold(), evidence };
        assert_eq!(card(&parts, &history).await.unwrap().owner, before);
        history.state.rights.roles = [(now, Role::Owner)].into();
        assert_eq!(card(&parts, &history).await.unwrap().owner, now);
        parts.close().await;
    }
}
