//! Who may do what in a package, and agreeing to it.
//!
//! Changes of rights form one chain from the Genesis on: each names the one before, and takes effect when enough owners
//! agree (`docs/spec/fold.md`). Grants count from the entries on that have the whole of it in their past; what takes
//! rights away counts everywhere as soon as it is known, and names how far each log still counts.

use serde::{Deserialize, Serialize};

use super::{Cut, RefClass};
use crate::bounded;
use crate::id::{EntryId, IdentityId};
use crate::key::DeviceKey;
use crate::limits::{PROTECTED_REFS, ROLE_CHANGES, ROLE_CUTS};
use crate::name::RefName;

/// What an identity may do in a package. Who may do more may do all that others may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Publish releases that nobody selects by version, and move branches that are not protected.
    Contributor,
    /// Publish, move refs, yank.
    Maintainer,
    /// Change who may do what, too.
    Owner,
}

/// Changes who may do what. Takes effect when as many owners as must agree have, before and after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// The change before this one; none for the first after the Genesis.
    pub previous: Option<EntryId>,
    /// Roles that change, ascending by identity; none takes the role away.
    #[serde(deserialize_with = "bounded::list::<_, _, ROLE_CHANGES>")]
    pub changes: Vec<(IdentityId, Option<Role>)>,
    /// Owners who must agree to what comes after this: more than half of those that there are then.
    pub owner_threshold: u8,
    /// Refs that from now on move only with the agreement of owners, or no longer, ascending.
    #[serde(deserialize_with = "bounded::list::<_, _, PROTECTED_REFS>")]
    pub protect: Vec<(RefClass, RefName, bool)>,
    /// How far the logs count of those who may do less than before, ascending by key. Of a log that is named without a
    /// cut nothing counts; of one that is not named what those who agreed had seen.
    #[serde(deserialize_with = "bounded::list::<_, _, ROLE_CUTS>")]
    pub cuts: Vec<(DeviceKey, Option<Cut>)>,
    /// From now on the rules of this number are needed to read the package; none leaves them.
    pub rules: Option<u16>,
}

/// Agrees to a change of rights, or to a move of a protected ref. Nobody collects signatures: each owner says so in its
/// own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorse {
    /// The entry that is agreed to. It says all that must be known: which change, after which, seen from where.
    pub entry: EntryId,
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Contributor => "contributor",
            Self::Maintainer => "maintainer",
            Self::Owner => "owner",
        })
    }
}

impl Roles {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.changes.len() > ROLE_CHANGES || self.protect.len() > PROTECTED_REFS || self.cuts.len() > ROLE_CUTS {
            return Err("changes more than one entry may");
        }
        if !self.changes.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("changed roles are not in ascending order of their identities");
        }
        if !self.protect.is_sorted_by(|a, b| (a.0, &a.1) < (b.0, &b.1)) {
            return Err("protected refs are not in ascending order");
        }
        if !self.cuts.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("cuts are not in ascending order of their keys");
        }
        if self.cuts.iter().any(|(_, cut)| cut.is_some_and(|cut| cut.size == 0)) {
            return Err("a cut names an empty log");
        }
        if self.owner_threshold == 0 {
            return Err("nobody would have to agree");
        }
        Ok(())
    }
}
