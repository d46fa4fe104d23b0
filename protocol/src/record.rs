//! What nodes tell each other through the distributed hash table: where something can be had, never what it is.
//!
//! A provider record says that a device has something under a key. It proves nothing: who follows it asks that device
//! and verifies the answer like every other.

use crate::id::{ContentRoot, PackageId};
use crate::name::PackageName;
use crate::reference::OwnerKey;

/// Sets hashes of names apart from all others.
const NAME_CONTEXT: &str = "syncra package name v1";

/// What a provider record is about: a package by its id or by its name, or content that was shared by its hash. All are
/// BLAKE3 hashes of different things, so they share the space of keys without meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderKey([u8; 32]);

impl ProviderKey {
    /// The key of these bytes, if there are 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The key of a package by what its owner calls it: BLAKE3 in key derivation mode of `<owner's key>/<name>`. What an
    /// owner calls itself is no part of it, for that may change.
    ///
    /// Who provides it has some package that it takes for this one; the owner's log says whether it is.
    #[must_use]
    pub fn of_name(owner: &OwnerKey, name: &PackageName) -> Self {
        Self(blake3::derive_key(NAME_CONTEXT, format!("{owner}/{name}").as_bytes()))
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<PackageId> for ProviderKey {
    fn from(package: PackageId) -> Self {
        Self(*package.as_bytes())
    }
}

impl From<ContentRoot> for ProviderKey {
    fn from(root: ContentRoot) -> Self {
        Self(*root.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_name_is_frozen() {
        let key = |owner: &str, name: &str| {
            ProviderKey::of_name(&OwnerKey::parse(owner).unwrap(), &PackageName::parse(name).unwrap())
        };
        let lighthouse = key("k3v5x2m4q7ab", "lighthouse");
        assert_eq!(
            data_encoding::HEXLOWER.encode(lighthouse.as_bytes()),
            "493a7b1ffb9cd90e7fd8e8e0e845732757a412a56920f8e2b40d6f32fd1c0f5c"
        );
        assert_ne!(lighthouse, key("k3v5x2m4q7ac", "lighthouse"));
        assert_ne!(lighthouse, key("k3v5x2m4q7ab", "lighthouses"));
    }
}
