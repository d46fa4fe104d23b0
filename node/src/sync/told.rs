//! Packages that siblings tell of and that are to be asked for: a device of one's own may be a thief's, and name any number.
//!
//! So many are asked for at a time, of each sibling and in all, and as many wait as there may be packages of an identity. The
//! siblings take turns: one that tells of thousands keeps no other waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use syncra_protocol::id::PackageId;
use syncra_protocol::limits::IDENTITY_PACKAGES;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;

/// Packages asked for at a time because siblings told of them; a sibling that is asked may be silent for
/// [`syncra_protocol::sync::follow::ASK_TIMEOUT`].
pub(super) const AT_ONCE: usize = 32;
/// Of those, of one sibling.
pub(super) const AT_ONCE_OF_ONE: usize = 4;

/// A log, and how long it is said to be.
type Log = (Origin, u64);

/// What one sibling told of.
#[derive(Debug, Default)]
struct Teller {
    /// Not asked for yet, each with a log of a device that wrote to it, and how long that is.
    waiting: BTreeMap<PackageId, Log>,
    asked: BTreeSet<PackageId>,
}

/// What all siblings told of.
#[derive(Debug, Default)]
pub(super) struct Told {
    tellers: BTreeMap<Peer, Teller>,
    /// Whose turn it was last.
    last: Option<Peer>,
}

impl Told {
    /// A sibling tells of a package by a log of it. What there is no room for it tells again on its next watch.
    pub(super) fn hear(&mut self, peer: Peer, package: PackageId, log: Log) {
        let waiting = &mut self.tellers.entry(peer).or_default().waiting;
        if waiting.len() < IDENTITY_PACKAGES || waiting.contains_key(&package) {
            waiting.insert(package, log);
        }
    }

    /// The next to ask for; each is asked of one sibling at a time. What this gives counts as asked for until
    /// [`Told::answered`].
    pub(super) fn next(&mut self) -> Option<(Peer, PackageId, Log)> {
        let asked: BTreeSet<PackageId> = self.asked().collect();
        if asked.len() >= AT_ONCE {
            return None;
        }
        let later = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.tellers.range((later, Bound::Unbounded)).map(|(peer, _)| *peer);
        let turns: Vec<Peer> = after.chain(self.tellers.keys().copied()).collect();
        for peer in turns {
            let teller = self.tellers.get_mut(&peer)?;
            if teller.asked.len() >= AT_ONCE_OF_ONE {
                continue;
            }
            let Some(package) = teller.waiting.keys().find(|package| !asked.contains(package)).copied() else {
                continue;
            };
            let log = teller.waiting.remove(&package)?;
            teller.asked.insert(package);
            self.last = Some(peer);
            return Some((peer, package, log));
        }
        None
    }

    /// What is being asked for.
    pub(super) fn asked(&self) -> impl Iterator<Item = PackageId> {
        self.tellers.values().flat_map(|teller| &teller.asked).copied()
    }

    /// What was asked for is there, or is not to be had.
    pub(super) fn answered(&mut self, peer: Peer, package: &PackageId) {
        let Some(teller) = self.tellers.get_mut(&peer) else { return };
        teller.asked.remove(package);
        if teller.asked.is_empty() && teller.waiting.is_empty() {
            self.tellers.remove(&peer);
        }
    }

    /// A sibling is gone, or is none any more. What it is asked for is answered all the same.
    pub(super) fn forget(&mut self, peer: Peer) {
        if let Some(teller) = self.tellers.get_mut(&peer) {
            teller.waiting.clear();
            if teller.asked.is_empty() {
                self.tellers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sibling(n: u8) -> Peer {
        syncra_protocol::key::DeviceSecret::from_seed(&[n; 32]).public()
    }

    fn package(n: u16) -> PackageId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        PackageId::from_bytes(bytes)
    }

    fn log(writer: Peer, n: u16) -> Log {
        (Origin::package(package(n), writer), 1)
    }

    #[test]
    fn a_flood_is_bounded_and_holds_nobody_up() {
        let (thief, desk, phone) = (sibling(1), sibling(2), sibling(3));
        let mut told = Told::default();
        for n in 0..10_000 {
            told.hear(thief, package(n), log(thief, n));
        }
        assert_eq!(told.tellers[&thief].waiting.len(), IDENTITY_PACKAGES);
        let asked: Vec<_> = std::iter::from_fn(|| told.next()).collect();
        assert_eq!(asked.len(), AT_ONCE_OF_ONE);
        // It answers nothing, and others are asked all the same.
        for n in 0..100 {
            told.hear(desk, package(20_000 + n), log(desk, 20_000 + n));
            told.hear(phone, package(30_000 + n), log(phone, 30_000 + n));
        }
        for _ in 0..100 / AT_ONCE_OF_ONE {
            let round: Vec<_> = std::iter::from_fn(|| told.next()).collect();
            for teller in [desk, phone] {
                assert_eq!(round.iter().filter(|(peer, ..)| *peer == teller).count(), AT_ONCE_OF_ONE);
            }
            round.iter().for_each(|(peer, package, _)| told.answered(*peer, package));
        }
        assert_eq!(told.next(), None);
        assert_eq!(told.tellers.keys().copied().collect::<Vec<_>>(), [thief]);
        told.forget(thief);
        asked.iter().for_each(|(peer, package, _)| told.answered(*peer, package));
        assert!(told.tellers.is_empty());
    }

    #[test]
    fn many_siblings_share_what_is_asked_at_a_time() {
        let mut told = Told::default();
        let siblings: BTreeSet<Peer> = (0..20).map(sibling).collect();
        for (place, peer) in (0..).zip(&siblings) {
            for n in 0..10 {
                told.hear(*peer, package(place * 100 + n), log(*peer, place * 100 + n));
            }
        }
        let first: Vec<_> = std::iter::from_fn(|| told.next()).collect();
        assert_eq!(first.len(), AT_ONCE);
        let of = |peer: &Peer| first.iter().filter(|(teller, ..)| teller == peer).count();
        assert!(siblings.iter().all(|peer| (1..=2).contains(&of(peer))), "they take turns");
        let (peer, package, _) = first[0];
        told.answered(peer, &package);
        let next = told.next().unwrap();
        assert_eq!(of(&next.0), 1, "whoever had less is next");
    }

    #[test]
    fn what_several_tell_of_is_asked_of_one_at_a_time() {
        let (desk, phone) = (sibling(2), sibling(3));
        let mut told = Told::default();
        told.hear(desk, package(1), log(desk, 1));
        told.hear(phone, package(1), log(desk, 1));
        let (first, ..) = told.next().unwrap();
        assert_eq!(told.next(), None);
        told.answered(first, &package(1));
        let (second, ..) = told.next().unwrap();
        assert_ne!(first, second, "whoever had no turn may have more of it");
    }
}
