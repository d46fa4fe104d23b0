//! Searching: what is known here, own, installed or offered by neighbours. Only verified histories have cards, so
//! nothing else is found; what neighbours call their packages beyond that does not count.

use std::collections::BTreeMap;

use syncra_protocol::id::PackageId;
use syncra_protocol::manifest::PackageKind;

use super::Parts;
use super::catalogue::{self, Card};
use crate::installed::InstalledError;
use crate::journal::{Regard, Truth};

/// Words of a query that count.
const WORDS: usize = 16;

/// What to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    words: Vec<String>,
    kind: Option<PackageKind>,
}

/// Where a package that was found can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// It is this device's identity's.
    Own,
    /// It is installed.
    Installed,
    /// A connected peer offers it.
    Neighbour,
    /// It is known here from before.
    Known,
}

/// What the user has said of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// This device's identity.
    Own,
    /// Trusted, or called by a petname.
    Trusted,
    /// The owner of something that is followed.
    Followed,
    /// Nothing: the handle is a claim.
    Unknown,
}

/// A package that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What is known of it, from its verified history.
    pub card: Card,
    /// What the user has said of its owner.
    pub trust: Trust,
    /// What the user calls its owner.
    pub petname: Option<String>,
    /// Where it can be had.
    pub source: Source,
    /// Connected peers that offer it.
    pub n_peers: usize,
    score: u32,
}

impl Query {
    /// Words to be found in name, owner, kind or description, all of them; a reference counts as its parts.
    #[must_use]
    pub fn new(text: &str, kind: Option<PackageKind>) -> Self {
        let words = text.split(|c: char| c.is_whitespace() || "@/~".contains(c));
        let words = words.filter(|word| !word.is_empty()).map(str::to_lowercase);
        Self { words: words.take(WORDS).collect(), kind }
    }

    /// How well a card fits; nothing if a word is not found in it at all.
    fn score(&self, card: &Card, petname: Option<&str>) -> Option<u32> {
        if self.kind.is_some_and(|kind| kind != card.kind) {
            return None;
        }
        self.words.iter().map(|word| score(word, card, petname)).sum()
    }
}

fn score(word: &str, card: &Card, petname: Option<&str>) -> Option<u32> {
    let name = card.name.as_ref().map(|name| name.as_str().to_lowercase()).unwrap_or_default();
    let handle = card.handle.as_ref().map(|handle| handle.as_str().to_lowercase()).unwrap_or_default();
    let description = card.description.as_deref().unwrap_or_default().to_lowercase();
    let begins_a_word = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part.starts_with(word));
    let petname = petname.map(str::to_lowercase).unwrap_or_default();
    let ranks = [
        (name == word, 100),
        (name.starts_with(word), 60),
        (begins_a_word(&name), 50),
        (handle == word || petname == word, 45),
        (card.owner.to_string().starts_with(word) && word.len() >= 8, 45),
        (card.package.to_string().starts_with(word) && word.len() >= 8, 45),
        (name.contains(word), 40),
        (handle.starts_with(word), 30),
        (card.kind.as_str() == word, 25),
        (begins_a_word(&description), 20),
        (description.contains(word), 10),
    ];
    ranks.into_iter().find(|(fits, _)| *fits).map(|(_, score)| score)
}

/// Everything known here that fits, best first. `offered` says how many connected peers offer a package.
///
/// # Errors
/// [`InstalledError`].
pub async fn search(
    parts: &Parts,
    query: &Query,
    offered: &BTreeMap<PackageId, usize>,
) -> Result<Vec<Hit>, InstalledError> {
    let installed = parts.installed.current()?.packages;
    let cards = catalogue::cards(parts).await;
    let followed: Vec<_> = {
        let truth = parts.histories.journal().truth();
        let is_followed = |card: &&Card| truth.is_followed(&card.package);
        cards.iter().filter(is_followed).map(|card| card.owner).collect()
    };
    let truth = parts.histories.journal().truth();
    let mut hits: Vec<Hit> = cards
        .into_iter()
        .filter(|card| truth.regard(&card.owner) != Regard::Blocked)
        .filter_map(|card| {
            let petname = truth.petname(&card.owner);
            let score = query.score(&card, petname)?;
            let n_peers = offered.get(&card.package).copied().unwrap_or(0);
            let source = match () {
                () if card.owner == parts.identity() => Source::Own,
                () if installed.contains_key(&card.package) => Source::Installed,
                () if n_peers > 0 => Source::Neighbour,
                () => Source::Known,
            };
            let trust = match () {
                () if card.owner == parts.identity() => Trust::Own,
                () if is_trusted(&truth, &card) => Trust::Trusted,
                () if followed.contains(&card.owner) => Trust::Followed,
                () => Trust::Unknown,
            };
            Some(Hit { petname: petname.map(str::to_owned), trust, source, n_peers, score, card })
        })
        .collect();
    hits.sort_by_cached_key(|hit| {
        let peers = std::cmp::Reverse(hit.n_peers);
        (std::cmp::Reverse(hit.score), hit.trust, hit.source, peers, hit.card.reference(), hit.card.package)
    });
    Ok(hits)
}

fn is_trusted(truth: &Truth, card: &Card) -> bool {
    truth.regard(&card.owner) == Regard::Trusted || truth.petname(&card.owner).is_some()
}

#[cfg(test)]
mod tests {
    use syncra_protocol::id::IdentityId;
    use syncra_protocol::name::{Handle, PackageName};

    use super::*;

    fn card(name: &str, handle: &str, description: &str) -> Card {
        Card {
            package: PackageId::from_bytes([1; 32]),
            kind: PackageKind::World,
            owner: IdentityId::from_bytes([2; 32]),
            handle: Some(Handle::parse(handle).unwrap()),
            name: Some(PackageName::parse(name).unwrap()),
            description: Some(description.to_owned()),
            versions: Vec::new(),
            n_versions: 0,
            latest: None,
        }
    }

    #[test]
    fn all_words_must_be_found_and_names_count_more_than_prose() {
        let rocket = card("rocket", "alice", "Flies to the moon");
        let score = |text: &str, card: &Card| Query::new(text, None).score(card, None);
        let by_name = score("rocket", &rocket).unwrap();
        assert!(by_name > score("rock", &rocket).unwrap());
        assert!(score("rock", &rocket) > score("moon", &rocket));
        assert!(score("moon", &rocket) > score("oon", &rocket));
        assert_eq!(score("rocket sun", &rocket), None);
        assert_eq!(score("@Alice/ROCKET", &rocket), Some(by_name + 45));
        assert_eq!(score("", &rocket), Some(0), "no words: everything");
        assert_eq!(score("world", &rocket), Some(25));
        assert_eq!(Query::new("rocket", Some(PackageKind::Script)).score(&rocket, None), None);
        assert_eq!(Query::new("bob", None).score(&rocket, Some("Bob")), Some(45), "a petname is a name too");
    }
}
