//! The catalogue: one card for each package that is known here, in the index.
//!
//! A card is a convenience. It says what logs and manifests say, the index notes what of each log it was made of, and whose
//! logs have a say in it; [`catch_up`] makes anew what is behind or gone. So nothing changes when the index is lost.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use syncra_protocol::codec;
use syncra_protocol::id::{IdentityId, PackageId};
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

/// Makes the cards that are behind what is known, or gone. Returns how many; none after a clean end.
pub async fn catch_up(parts: &Parts) -> u64 {
    let bases = match parts.histories.bases() {
        Ok(bases) => bases,
        Err(error) => return failed(&error),
    };
    let mut behind = Vec::new();
    for (origin, basis) in bases {
        match parts.index.built_from(&origin) {
            Ok(Some(built)) if built == basis => {}
            Ok(_) => behind.push((origin, basis)),
            Err(error) => return failed(&error),
        }
    }
    let (mut made, mut unmade) = (BTreeSet::new(), BTreeSet::new());
    let mut batch = Batch::new();
    for (origin, basis) in behind {
        let concerned = match concerned(parts, &origin) {
            Ok(concerned) => concerned,
            Err(error) => return failed(&error),
        };
        for package in &concerned {
            if made.contains(package) || unmade.contains(package) {
                continue;
            }
            match refresh(parts, *package).await {
                Ok(()) => drop(made.insert(*package)),
                Err(error) => {
                    tracing::warn!(%package, %error, "the package has no card in the catalogue");
                    unmade.insert(*package);
                }
            }
        }
        // What could not be read is tried again.
        if concerned.is_disjoint(&unmade) {
            batch.built_from(&origin, basis);
        }
    }
    if let Err(error) = parts.index.write(batch) {
        return failed(&error);
    }
    made.len() as u64
}

/// Makes one card anew: for what came in without a log saying more, for instance a manifest.
///
/// # Errors
/// [`LoadError`]. An index that fails is only logged.
pub async fn refresh(parts: &Parts, package: PackageId) -> Result<(), LoadError> {
    let mut batch = Batch::new();
    let put = match parts.histories.package(package)? {
        Some(history) => {
            let card = card(parts, &history).await?;
            // What is noted here and holds no more costs a card that is made anew for nothing.
            let noted = says(&history).into_iter().try_for_each(|who| batch.put(Table::Fold, &say(&who, package), &[]));
            noted.and_then(|()| batch.put(Table::Catalogue, package.as_bytes(), &codec::encode(&card)))
        }
        // What it was made of is not here any more.
        None => batch.delete(Table::Catalogue, package.as_bytes()),
    };
    if let Err(error) = put.and_then(|()| parts.index.write(batch)) {
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

/// The packages whose cards hang on what this log says.
fn concerned(parts: &Parts, origin: &Origin) -> Result<BTreeSet<PackageId>, IndexError> {
    let identity = match origin.subject {
        Subject::Package(package) => return Ok([package].into()),
        Subject::Identity(identity) => identity,
    };
    let noted = parts.index.scan(Table::Fold, identity.as_bytes(), &[], usize::MAX)?;
    let package = |key: &[u8]| Some(PackageId::from_bytes(*key.last_chunk()?));
    Ok(noted.iter().filter_map(|(key, _)| package(key)).collect())
}

/// Everybody whose logs say something in a package, or would if they were here.
fn says(history: &History) -> BTreeSet<IdentityId> {
    let held = history.evidence.heads().map(|head| *head.origin());
    let logs = held.chain(history.evidence.missing().into_keys());
    let of_identities = logs.filter_map(|origin| match origin.subject {
        Subject::Identity(identity) => Some(identity),
        Subject::Package(_) => None,
    });
    history.evidence.people().into_iter().chain(of_identities).collect()
}

fn say(who: &IdentityId, package: PackageId) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(who.as_bytes());
    key[32..].copy_from_slice(package.as_bytes());
    key
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

fn failed(error: &dyn std::error::Error) -> u64 {
    tracing::warn!(%error, "the catalogue is not kept; it is made anew when it is needed");
    0
}

#[cfg(test)]
mod tests {
    use syncra_protocol::entry::{Body, Entry, PackageGenesis, Role};
    use syncra_protocol::evidence::Evidence;
    use syncra_protocol::id::EntryId;

    use super::*;
    use crate::flow::fixture::{Draft, open, tell};
    use crate::journal::KnownHead;

    /// A home that was restored knows heads, and the entries below them come later.
    #[tokio::test]
    async fn a_card_follows_what_comes_below_a_known_head() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (author, reader) = (open(there.path()).await, open(here.path()).await);
        let lamp = Draft::new("lamp", "1.0.0").publish(&author).await.package;
        tell(&author, &reader, lamp).await;
        let latest = async || {
            catch_up(&reader).await;
            stored(&reader, lamp).and_then(|card| card.latest).map(|version| version.to_string())
        };
        assert_eq!(latest().await.as_deref(), Some("1.0.0"));
        Draft::new("lamp", "1.1.0").publish(&author).await;
        for head in author.histories.package(lamp).unwrap().unwrap().evidence.heads() {
            let (origin, size, root) = (*head.origin(), head.size(), head.root());
            let known = KnownHead { origin, size, root, note: head.note().to_vec() };
            reader.histories.journal().append(known).await.unwrap();
        }
        assert_eq!(latest().await.as_deref(), Some("1.0.0"));
        tell(&author, &reader, lamp).await;
        assert_eq!(latest().await.as_deref(), Some("1.1.0"));
        assert_eq!(catch_up(&reader).await, 0, "nothing is made for nothing");
        author.close().await;
        reader.close().await;
    }

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
