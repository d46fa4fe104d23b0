//! Leaf 0 of a log: Genesis of the first one, Join of every other.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::{IdentityId, PackageId};
use crate::key::DeviceKey;
use crate::manifest::PackageKind;

/// Owner identities of one package: more is a team, which is an identity of its own.
pub const OWNER_LIMIT: usize = 16;

/// Begins a package: leaf 0 of the creator's log. The package's id is BLAKE3 of this entry, so it never names itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageGenesis {
    /// What the package is.
    pub kind: PackageKind,
    /// Who owns it: 1 to [`OWNER_LIMIT`], ascending.
    #[serde(deserialize_with = "bounded::list::<_, _, OWNER_LIMIT>")]
    pub owners: Vec<IdentityId>,
    /// Owners who must agree to a change of rights: more than half of them.
    pub owner_threshold: u8,
    /// The owner whose device wrote this.
    pub creator: IdentityId,
    /// The only key whose log may begin with this entry.
    pub log_key: DeviceKey,
    /// Random: two packages never share an id.
    pub nonce: [u8; 16],
}

/// Begins the log of a further writer of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageJoin {
    /// The package.
    pub package: PackageId,
    /// Whose device the writer says to be; the fold asks that identity's own logs.
    pub identity: IdentityId,
}

/// Begins an identity: leaf 0 of its first device's log. The identity's id is BLAKE3 of this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityGenesis {
    /// The first device, and the only key whose log may begin with this entry.
    pub log_key: DeviceKey,
    /// BLAKE3 of the recovery public key: names it without showing it.
    pub recovery: [u8; 32],
    /// Random: two identities never share an id.
    pub nonce: [u8; 16],
}

/// Begins the log of a further device of an identity. Gives no rights: an admitted device must add it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityJoin {
    /// The identity.
    pub identity: IdentityId,
}

impl PackageGenesis {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let n_owners = self.owners.len();
        if n_owners == 0 || n_owners > OWNER_LIMIT {
            return Err("has no owner or too many");
        }
        if !self.owners.is_sorted_by(|a, b| a < b) {
            return Err("owners are not in ascending order");
        }
        if !self.owners.contains(&self.creator) {
            return Err("the creator is not an owner");
        }
        let threshold = usize::from(self.owner_threshold);
        if threshold > n_owners || threshold * 2 <= n_owners {
            return Err("the owner threshold is not more than half of the owners");
        }
        Ok(())
    }
}
