//! Entries about releases: where a ref points, and what is yanked.

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, ReleaseId};
use crate::name::RefName;

/// What a ref is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefClass {
    /// Work in progress.
    Branch,
    /// Fixed: only the first move counts.
    Tag,
    /// What people follow.
    Channel,
}

/// Moves a ref.
///
/// Which tips it replaces follows from the causal order alone; `old` is what the writer says to have moved it from, for
/// people who read the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefMove {
    /// What the ref is for; part of its name.
    pub class: RefClass,
    /// Its name.
    pub name: RefName,
    /// Where it pointed.
    pub old: Option<ReleaseId>,
    /// Where it points; none removes it.
    pub new: Option<ReleaseId>,
}

/// Hides a release from new installs, or shows it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yank {
    /// The release.
    pub release: ReleaseId,
    /// True shows it again. A concurrent yank wins.
    pub undo: bool,
    /// Why, as a prose blob.
    pub reason: Option<BlobId>,
}

impl core::fmt::Display for RefClass {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Channel => "channel",
        })
    }
}

impl RefMove {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (self.class, self.old, self.new) {
            (RefClass::Tag, Some(_), _) | (RefClass::Tag, _, None) => Err("a tag is set once and never moved"),
            (_, old, new) if old == new => Err("moves a ref to where it is"),
            _ => Ok(()),
        }
    }
}
