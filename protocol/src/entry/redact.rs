//! Taking bytes away from a package while its history stays.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::BlobId;
use crate::limits::REDACTED_BLOBS;

/// Says that blobs which the package's entries name shall not be handed out any more: content of releases, manifests, notes
/// and reasons. The entries that name them stay, and so does what was decided by them.
///
/// Takes effect when as many owners as must agree have; there is no entry that undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redact {
    /// The blobs, at least one, in ascending order. A release's content is named by its root.
    #[serde(deserialize_with = "bounded::list::<_, _, REDACTED_BLOBS>")]
    pub blobs: Vec<BlobId>,
    /// Why. No prose: what explains it must not have to be redacted in its turn.
    pub reason: RedactReason,
}

/// Why something was redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RedactReason {
    /// It should never have been published.
    Mistake,
    /// A password, key or other secret is in it.
    Secret,
    /// It says something about a person that is nobody else's business.
    Personal,
    /// Others have rights in it, or a court says so.
    Rights,
    /// It does harm to whoever uses it.
    Harmful,
}

impl RedactReason {
    /// All of them, with the word for each.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("mistake", Self::Mistake),
        ("secret", Self::Secret),
        ("personal", Self::Personal),
        ("rights", Self::Rights),
        ("harmful", Self::Harmful),
    ];

    /// The reason that a word means.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, reason)| *reason)
    }
}

impl core::fmt::Display for RedactReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let word = Self::WORDS.iter().find(|(_, reason)| reason == self).map_or("", |(word, _)| *word);
        f.write_str(word)
    }
}

impl Redact {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.blobs.is_empty() || self.blobs.len() > REDACTED_BLOBS {
            return Err("redacts nothing, or more than one entry may");
        }
        if !self.blobs.is_sorted_by(|a, b| a < b) {
            return Err("redacted blobs are not in ascending order");
        }
        Ok(())
    }
}
