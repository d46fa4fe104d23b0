//! How many bytes of entries are taken in of packages that nobody here asked for: a sibling told of them, and may be a thief's.
//!
//! Each has a place of its own, so that none keeps another out; the rest is whose comes first. What somebody follows,
//! installs, writes to or asks for is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use syncra_protocol::id::PackageId;
use syncra_protocol::limits::{IDENTITY_BYTES, IDENTITY_PACKAGE_BYTES};

/// Such packages, each with its bytes: stored, or on their way there.
#[derive(Debug, Default)]
pub(super) struct Unasked(Mutex<BTreeMap<PackageId, u64>>);

impl Unasked {
    /// It is these packages, and no others.
    pub(super) fn are(&self, packages: &BTreeSet<PackageId>) {
        let mut known = self.known();
        known.retain(|package, _| packages.contains(package));
        for package in packages {
            known.entry(*package).or_default();
        }
    }

    /// It is this one too.
    pub(super) fn add(&self, package: PackageId) {
        self.known().entry(package).or_default();
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, package: &PackageId) -> bool {
        self.known().contains_key(package)
    }

    /// So many bytes of one of them are stored, and none on their way.
    pub(super) fn stored(&self, package: &PackageId, n_bytes: u64) {
        if let Some(bytes) = self.known().get_mut(package) {
            *bytes = n_bytes;
        }
    }

    /// Counts bytes that have come, if there is room for them; false if there is none. True of a package that is not counted.
    pub(super) fn admit(&self, package: &PackageId, n_bytes: u64) -> bool {
        let mut known = self.known();
        let all: u64 = known.values().sum();
        let Some(bytes) = known.get_mut(package) else { return true };
        let is_sure = bytes.saturating_add(n_bytes) <= IDENTITY_PACKAGE_BYTES;
        let fits = is_sure || all.saturating_add(n_bytes) <= IDENTITY_BYTES;
        if fits {
            *bytes = bytes.saturating_add(n_bytes);
        }
        fits
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<PackageId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use syncra_protocol::limits::IDENTITY_PACKAGES;

    use super::*;

    fn package(n: usize) -> PackageId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        PackageId::from_bytes(bytes)
    }

    #[test]
    fn one_large_package_takes_no_other_ones_place_and_all_together_are_bounded() {
        let all: BTreeSet<PackageId> = (0..2 * IDENTITY_PACKAGES).map(package).collect();
        let unasked = Unasked::default();
        unasked.are(&all);
        let mut n_taken = 0;
        while unasked.admit(&package(0), IDENTITY_PACKAGE_BYTES) {
            n_taken += IDENTITY_PACKAGE_BYTES;
        }
        assert_eq!(n_taken, IDENTITY_BYTES);
        for other in all.iter().filter(|other| **other != package(0)) {
            assert!(unasked.admit(other, IDENTITY_PACKAGE_BYTES - 1));
            assert!(!unasked.admit(other, 2));
            n_taken += IDENTITY_PACKAGE_BYTES - 1;
        }
        assert!(n_taken <= 3 * IDENTITY_BYTES, "twice as many packages at worst, and one pool");
    }

    #[test]
    fn what_is_stored_counts_and_what_somebody_wants_does_not() {
        let unasked = Unasked::default();
        unasked.add(package(1));
        unasked.add(package(2));
        unasked.stored(&package(1), IDENTITY_BYTES);
        assert!(!unasked.admit(&package(1), 1));
        assert!(unasked.admit(&package(3), IDENTITY_BYTES), "not one of them");
        // What was on its way and did not arrive gives its room back.
        unasked.stored(&package(1), 0);
        assert!(unasked.admit(&package(2), IDENTITY_BYTES));
        assert!(unasked.admit(&package(1), IDENTITY_PACKAGE_BYTES), "its own place");
        unasked.are(&[package(1)].into());
        assert!(!unasked.contains(&package(2)));
        assert!(
            unasked.admit(&package(1), IDENTITY_BYTES - IDENTITY_PACKAGE_BYTES),
            "what is wanted gives its room back"
        );
    }
}
