//! Logs that are not asked for any more, with who offered them. Anybody can sign logs that may be somebody's, so what is
//! remembered is bounded; what is forgotten costs one more question when it is offered again.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::EVIDENCE_LOGS;
use crate::origin::Origin;
use crate::sync::Peer;

/// Logs that are remembered of one peer: as many as it may offer at a time.
const REFUSED_PER_PEER: usize = EVIDENCE_LOGS;
/// Logs that are remembered in all.
const REFUSED_LOGS: usize = 4 * REFUSED_PER_PEER;

/// Some logs, of each peer the latest.
#[derive(Debug, Default)]
pub(super) struct Refused {
    of: BTreeMap<Origin, Peer>,
    /// In the order in which they came.
    by: BTreeMap<Peer, VecDeque<Origin>>,
}

impl Refused {
    pub(super) fn contains(&self, origin: &Origin) -> bool {
        self.of.contains_key(origin)
    }

    /// Remembers a log. The oldest of the same peer goes for it, and in all the oldest of whoever offered most.
    pub(super) fn insert(&mut self, peer: Peer, origin: Origin) {
        if self.of.contains_key(&origin) {
            return;
        }
        self.of.insert(origin, peer);
        let own = self.by.entry(peer).or_default();
        own.push_back(origin);
        if own.len() > REFUSED_PER_PEER {
            self.forget_oldest(peer);
        } else if self.of.len() > REFUSED_LOGS {
            let most = self.by.iter().max_by_key(|(_, logs)| logs.len()).map(|(peer, _)| *peer);
            self.forget_oldest(most.expect("somebody offered them"));
        }
    }

    fn forget_oldest(&mut self, peer: Peer) {
        let Some(logs) = self.by.get_mut(&peer) else { return };
        if let Some(origin) = logs.pop_front() {
            self.of.remove(&origin);
        }
        if logs.is_empty() {
            self.by.remove(&peer);
        }
    }

    /// Forgets the logs that are not to be left alone any more.
    pub(super) fn retain(&mut self, stays: impl Fn(&Origin) -> bool) {
        self.of.retain(|origin, _| stays(origin));
        self.by.retain(|_, logs| {
            logs.retain(&stays);
            !logs.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::bounded::Blob;
    use crate::entry::{Body, Entry, IdentityGenesis, PackageGenesis};
    use crate::evidence::Evidence;
    use crate::id::{EntryId, IdentityId, PackageId};
    use crate::key::DeviceSecret;
    use crate::log::Log;
    use crate::log::checkpoint::{Checkpoint, Head};
    use crate::manifest::PackageKind;
    use crate::message::log::{Entries, Heads};
    use crate::origin::Subject;
    use crate::sync::follow::{Effect, Follower, Input};

    /// The head of a log, and its only entry.
    fn signed(secret: &DeviceSecret, origin: Origin, entry: &[u8]) -> (Head, Log) {
        let mut log = Log::new(origin);
        log.append(entry).unwrap();
        (Head::sign(secret, Checkpoint { origin, size: 1, root: log.root() }).unwrap(), log)
    }

    fn peer(n: u8) -> Peer {
        DeviceSecret::from_seed(&[n; 32]).public()
    }

    /// Follows a package whose owner's identity anybody can sign logs of.
    struct Reader {
        follower: Follower,
        heads: Heads,
        owner: IdentityId,
        n_asked: usize,
    }

    impl Reader {
        fn new() -> Self {
            let secret = DeviceSecret::from_seed(&[1; 32]);
            let log_key = secret.public();
            let identity = Body::IdentityGenesis(IdentityGenesis { log_key, recovery: [1; 32], nonce: [1; 16] });
            let identity = Entry::new(identity).encode().unwrap();
            let owner = IdentityId::from(EntryId::of(&identity));
            let package = Body::PackageGenesis(PackageGenesis {
                kind: PackageKind::World,
                owners: vec![owner],
                owner_threshold: 1,
                creator: owner,
                log_key,
                nonce: [2; 16],
            });
            let package = Entry::new(package).encode().unwrap();
            let id = PackageId::from(EntryId::of(&package));
            let mut evidence = Evidence::open(id, &package).unwrap();
            for (origin, entry) in
                [(Origin::identity(owner, log_key), &identity), (Origin::package(id, log_key), &package)]
            {
                evidence.extend(&[entry], &signed(&secret, origin, entry).0).unwrap();
            }
            let heads = Heads::answer(&evidence, Clone::clone);
            Self { follower: Follower::resume(evidence), heads, owner, n_asked: 0 }
        }

        /// A peer comes and offers logs by these made-up keys, delivers what it is asked for, and goes.
        fn offered(&mut self, peer: Peer, keys: impl Iterator<Item = u64>) {
            let entry = Entry::new(Body::Seen).encode().unwrap();
            let made_up = |key: u64| {
                let mut seed = [9; 32];
                seed[..8].copy_from_slice(&key.to_le_bytes());
                let secret = DeviceSecret::from_seed(&seed);
                let (head, log) = signed(&secret, Origin::identity(self.owner, secret.public()), &entry);
                (*head.origin(), (head, log))
            };
            let logs: BTreeMap<Origin, (Head, Log)> = keys.map(made_up).collect();
            let mut heads = self.heads.clone();
            heads.notes = logs.values().map(|(head, _)| Blob(head.note().to_vec())).collect();
            let now = Timestamp(0);
            self.follower.handle(now, Input::PeerUp(peer));
            while let Some(effect) = self.follower.poll_effect() {
                match effect {
                    Effect::AskHeads { peer } => self.follower.handle(now, Input::Heads { peer, heads: heads.clone() }),
                    Effect::AskEntries { peer, origin, from } => {
                        self.n_asked += 1;
                        let (head, log) = &logs[&origin];
                        let entries = Entries::answer(log, head, (from, 9), [entry.clone()]).unwrap();
                        self.follower.handle(now, Input::Entries { peer, origin, from, entries });
                    }
                    _ => {}
                }
            }
            self.follower.handle(now, Input::PeerGone(peer));
        }
    }

    #[test]
    fn of_thousands_of_made_up_keys_few_are_remembered_and_each_that_is_forgotten_costs_a_question() {
        let mut reader = Reader::new();
        let one = peer(101);
        let batch = |n: u64| n * 32..(n + 1) * 32;
        // The first are set aside, for they may be devices that become known; there is no place for more.
        for n in 0..64 {
            reader.offered(one, batch(n));
        }
        assert_eq!((reader.n_asked, reader.follower.resting.len()), (2_048, 1_024));
        assert_eq!(reader.follower.refused.of.len(), REFUSED_PER_PEER);
        // What is remembered is not asked for again, what was forgotten once.
        reader.offered(one, batch(63));
        assert_eq!(reader.n_asked, 2_048);
        reader.offered(one, batch(40));
        assert_eq!((reader.n_asked, reader.follower.refused.of.len()), (2_048 + 32, REFUSED_PER_PEER));
        // Once the owner's identity says more, any of them may be a device of it.
        let subject = Subject::Identity(reader.owner);
        reader.follower.wake_devices(&Origin { subject, ..*reader.follower.refused.of.keys().next().unwrap() });
        assert!(reader.follower.refused.of.is_empty() && reader.follower.refused.by.is_empty());
        assert!(reader.follower.resting.is_empty());
    }

    #[test]
    fn many_peers_have_no_more_places_than_some_and_who_offered_few_keeps_them_longest() {
        let mut refused = Refused::default();
        let identity = IdentityId::from_bytes([1; 32]);
        let made_up = |n: u16| {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&n.to_le_bytes());
            Origin::identity(identity, DeviceSecret::from_seed(&seed).public())
        };
        refused.insert(peer(1), made_up(0));
        for n in 1..3_000 {
            refused.insert(peer(u8::try_from(2 + n / 500).unwrap()), made_up(n));
            refused.insert(peer(1), made_up(n));
        }
        let n_by: Vec<usize> = refused.by.values().map(VecDeque::len).collect();
        assert_eq!((refused.of.len(), n_by.iter().sum::<usize>()), (REFUSED_LOGS, REFUSED_LOGS));
        assert_eq!(n_by.len(), 7);
        assert!(refused.contains(&made_up(0)) && refused.contains(&made_up(2_999)) && !refused.contains(&made_up(1)));
    }
}
