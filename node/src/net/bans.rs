//! Peers that are not let in again while this node runs. Lasting blocks are kept by whoever calls.

use std::collections::VecDeque;

use libp2p::PeerId;

use super::limits;

/// Banned peers, oldest ban first. Few enough to search through; the swarm has its own set for look-ups.
#[derive(Debug, Default)]
pub(super) struct Bans(VecDeque<PeerId>);

impl Bans {
    /// Bans `peer`; returns the oldest ban if it has to go for it.
    pub(super) fn add(&mut self, peer: PeerId) -> Option<PeerId> {
        if self.contains(&peer) {
            return None;
        }
        self.0.push_back(peer);
        if self.0.len() > limits::BANS { self.0.pop_front() } else { None }
    }

    /// Lifts a ban; says whether there was one.
    pub(super) fn remove(&mut self, peer: &PeerId) -> bool {
        let before = self.0.len();
        self.0.retain(|banned| banned != peer);
        self.0.len() < before
    }

    /// Whether `peer` is banned.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.0.contains(peer)
    }

    /// Everybody banned.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PeerId> {
        self.0.iter()
    }
}
