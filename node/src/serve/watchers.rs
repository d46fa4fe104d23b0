//! Who watches: streams that stay open for as long as the peer likes, so they are counted apart from those that are answered
//! and done, and one peer cannot have them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncra_protocol::key::DeviceKey;

/// Watches of one peer: the next is opened before the last is closed, and again whenever its packages change.
const WATCHES_PER_PEER: usize = 8;
/// Watches in all: one for every connection; each holds at most 32 KiB of package ids.
const WATCHES: usize = 512;

/// The watches there are, by peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Watchers(Arc<Mutex<HashMap<DeviceKey, usize>>>);

/// A place for one watch; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    watchers: Watchers,
    peer: DeviceKey,
}

impl Watchers {
    /// A place, if there is one for this peer.
    pub(super) fn enter(&self, peer: DeviceKey) -> Option<Place> {
        let mut all = self.lock();
        let n_of_peer = all.get(&peer).copied().unwrap_or(0);
        if n_of_peer >= WATCHES_PER_PEER || all.values().sum::<usize>() >= WATCHES {
            return None;
        }
        all.insert(peer, n_of_peer + 1);
        Some(Place { watchers: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.watchers.lock();
        if let Some(n) = all.get_mut(&self.peer) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_has_so_many_all_have_so_many_and_places_come_back() {
        let watchers = Watchers::default();
        let peer = |n: u8| DeviceKey::from_bytes([n; 32]);
        let mut places: Vec<_> = (0..100).filter_map(|_| watchers.enter(peer(0))).collect();
        assert_eq!(places.len(), WATCHES_PER_PEER);
        for n in 1..=255 {
            places.extend((0..100).filter_map(|_| watchers.enter(peer(n))));
        }
        assert_eq!(places.len(), WATCHES);
        drop(places.pop());
        assert!(watchers.enter(peer(255)).is_some());
        drop(places);
        assert!(watchers.lock().is_empty());
    }
}
