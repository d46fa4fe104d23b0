//! What an identity calls things. Both stand in the identity's logs and are folded like refs.

use serde::{Deserialize, Serialize};

use crate::id::PackageId;
use crate::name::{Handle, PackageName};

/// `name` now means `package` for this identity; none frees the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameClaim {
    /// The name.
    pub name: PackageName,
    /// What it means.
    pub package: Option<PackageId>,
}

/// The identity would like to be called `handle`. A claim: two identities may make the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleClaim {
    /// The handle.
    pub handle: Handle,
}
