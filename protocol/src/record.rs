//! What nodes tell each other through the distributed hash table: where something can be had, never what it is.
//!
//! A provider record says that a device has something under a key. It proves nothing: who follows it asks that device
//! and verifies the answer like every other.

use crate::id::{ContentRoot, PackageId};

/// What a provider record is about: a package, or content that was shared by its hash. Both are BLAKE3 hashes of
/// different things, so they share the space of keys without meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderKey([u8; 32]);

impl ProviderKey {
    /// The key of these bytes, if there are 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
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
