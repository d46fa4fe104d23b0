//! The releases of a package in an order in which they can be told: each before those that it was made from.

use std::collections::{BTreeMap, BinaryHeap};

use super::PackageState;
use crate::id::ReleaseId;

impl PackageState {
    /// All releases, children before their parents; of several that could come next the highest version first, then the
    /// smallest id. The same for everybody who has the same state.
    #[must_use]
    pub fn newest_first(&self) -> Vec<ReleaseId> {
        let mut n_children: BTreeMap<ReleaseId, usize> = self.releases.keys().map(|id| (*id, 0)).collect();
        for parent in self.releases.values().flat_map(|published| &published.release.parents) {
            if let Some(n) = n_children.get_mut(parent) {
                *n += 1;
            }
        }
        let rank = |id: ReleaseId| (self.releases[&id].release.version.clone(), std::cmp::Reverse(id));
        let leaves = n_children.iter().filter(|(_, n)| **n == 0);
        let mut ready: BinaryHeap<_> = leaves.map(|(id, _)| rank(*id)).collect();
        let mut order = Vec::with_capacity(self.releases.len());
        while let Some((_, std::cmp::Reverse(id))) = ready.pop() {
            order.push(id);
            for parent in &self.releases[&id].release.parents {
                let Some(n) = n_children.get_mut(parent) else { continue };
                *n -= 1;
                if *n == 0 {
                    ready.push(rank(*parent));
                }
            }
        }
        // A release names its parents by hashes, so none can be its own ancestor: all are here.
        order
    }
}
