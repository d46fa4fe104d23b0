//! Provider records: what this node provides, and what it keeps for others.
//!
//! Both have quotas of their own, so that no flood of strangers takes the places of what we say ourselves (the library's
//! store has one for both). What is kept for others is bounded by provider, by key and altogether; when it is full, what
//! is farthest from our own id makes room for what is nearer, since others look for it elsewhere. Nobody owns a key by
//! having come first: see [`Inner::gives_way`]. The handle is shared: records outlive a restart of the network, and changes
//! wait in it for whoever writes them down.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;

use crate::net::address::{Block, device_key, peer_id};
use crate::net::limits;

/// A provider record as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// What is provided.
    pub key: ProviderKey,
    /// By whom.
    pub provider: DeviceKey,
    /// How long the record still counts; nothing once it does not.
    pub ttl: Option<Duration>,
    /// Where the provider is.
    pub addresses: Vec<Multiaddr>,
}

/// The records, shared between the network and whoever writes them down.
#[derive(Debug, Clone)]
pub struct Records(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    me: PeerId,
    own: HashSet<RecordKey>,
    /// What ranks are made with: keyed with a secret, so that nobody can make an identity that ranks well.
    ranks: blake3::Hasher,
    /// By distance from our own id, so that the farthest is the last; of one key by rank.
    foreign: BTreeMap<KBucketDistance, Vec<Kept>>,
    n_foreign: usize,
    by_provider: HashMap<PeerId, usize>,
    /// What expires first is first. Records that count no more must not count against quotas.
    by_expiry: BTreeSet<(Instant, KBucketDistance, PeerId)>,
    /// Look-ups that were answered.
    n_answers: usize,
    /// Changed since they were last taken.
    changed: BTreeSet<(ProviderKey, DeviceKey)>,
}

/// A record of somebody else.
#[derive(Debug)]
struct Kept {
    record: ProviderRecord,
    expires: Instant,
    /// Where its provider was connected from when it said so; not what it says of itself, since anybody could then crowd
    /// the block of somebody else.
    from: Option<Block>,
    /// The smaller, the longer it stays in a full key.
    rank: u64,
}

impl Records {
    /// None yet. `secret` decides who stays in a full key and is to be known to nobody else.
    pub(in crate::net) fn new(me: PeerId, secret: &[u8; 32]) -> Self {
        let (own, foreign, by_provider, by_expiry, changed) = Default::default();
        let ranks = blake3::Hasher::new_keyed(secret);
        let (n_foreign, n_answers) = (0, 0);
        let inner = Inner { me, own, ranks, foreign, n_foreign, by_provider, by_expiry, n_answers, changed };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Keeps what somebody who is connected from there says of itself.
    pub(in crate::net) fn keep(&self, record: ProviderRecord, from: Option<Block>) -> Result<()> {
        self.lock().add(record, from, Instant::now())
    }

    /// What changed since the last call, at most `n_most` of it.
    #[must_use]
    pub fn take_changes(&self, n_most: usize) -> Vec<Provider> {
        let mut inner = self.lock();
        inner.drop_expired(Instant::now());
        let taken: Vec<_> = inner.changed.iter().take(n_most).copied().collect();
        for change in &taken {
            inner.changed.remove(change);
        }
        taken.into_iter().map(|(key, provider)| inner.written(key, provider)).collect()
    }

    /// Takes in what was written down before. What does not fit any more is left out.
    pub fn load(&self, written: impl IntoIterator<Item = Provider>) {
        let mut inner = self.lock();
        for Provider { key, provider, ttl, addresses } in written {
            let (Some(provider), Some(ttl)) = (peer_id(&provider), ttl) else { continue };
            let expires = Some(Instant::now() + ttl.min(limits::PROVIDER_TTL));
            let record = ProviderRecord { key: wire(key), provider, expires, addresses };
            drop(inner.add(record, None, Instant::now()));
        }
        inner.changed.clear();
    }

    /// How many are kept for others.
    #[must_use]
    pub fn n_foreign(&self) -> usize {
        let mut inner = self.lock();
        inner.drop_expired(Instant::now());
        inner.n_foreign
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key as the library has it.
pub(in crate::net) fn wire(key: ProviderKey) -> RecordKey {
    RecordKey::new(key.as_bytes())
}

impl Inner {
    fn distance(&self, key: &RecordKey) -> KBucketDistance {
        KBucketKey::from(self.me).distance(&KBucketKey::new(key.clone()))
    }

    fn rank(&self, record: &ProviderRecord) -> u64 {
        let hash = self.ranks.clone().update(record.key.as_ref()).update(&record.provider.to_bytes()).finalize();
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn of_key(&self, distance: KBucketDistance) -> &[Kept] {
        self.foreign.get(&distance).map(Vec::as_slice).unwrap_or_default()
    }

    fn add(&mut self, mut record: ProviderRecord, from: Option<Block>, now: Instant) -> Result<()> {
        let (Some(key), Some(device)) = (ProviderKey::from_slice(record.key.as_ref()), device_key(&record.provider))
        else {
            return Err(Error::ValueTooLarge);
        };
        self.drop_expired(now);
        record.addresses.truncate(limits::RECORD_ADDRESSES);
        let latest = now + limits::PROVIDER_TTL;
        let expires = record.expires.map_or(latest, |expires| expires.min(latest));
        record.expires = Some(expires);
        let (provider, distance) = (record.provider, self.distance(&record.key));
        let known = self.of_key(distance).iter().find(|known| known.record.provider == provider);
        let mut kept = Kept { rank: self.rank(&record), expires, from, record };
        if let Some(known) = known {
            kept.from = kept.from.or(known.from);
        } else {
            self.make_room(distance, &kept)?;
        }
        // Who is known renews without needing a place.
        self.take(distance, &provider);
        self.put(distance, kept);
        self.note((key, device));
        Ok(())
    }

    fn put(&mut self, distance: KBucketDistance, kept: Kept) {
        self.n_foreign += 1;
        *self.by_provider.entry(kept.record.provider).or_default() += 1;
        self.by_expiry.insert((kept.expires, distance, kept.record.provider));
        let of_key = self.foreign.entry(distance).or_default();
        let at = of_key.partition_point(|other| other.rank < kept.rank);
        of_key.insert(at, kept);
    }

    fn take(&mut self, distance: KBucketDistance, provider: &PeerId) -> Option<Kept> {
        let of_key = self.foreign.get_mut(&distance)?;
        let at = of_key.iter().position(|known| known.record.provider == *provider)?;
        let gone = of_key.remove(at);
        if of_key.is_empty() {
            self.foreign.remove(&distance);
        }
        self.n_foreign -= 1;
        self.by_expiry.remove(&(gone.expires, distance, *provider));
        if let Some(n) = self.by_provider.get_mut(provider) {
            *n -= 1;
            if *n == 0 {
                self.by_provider.remove(provider);
            }
        }
        Some(gone)
    }

    /// A change beyond the bound is not written down: what is on the disk is then older than what is here.
    fn note(&mut self, change: (ProviderKey, DeviceKey)) {
        if self.changed.len() < 4 * limits::FOREIGN_RECORDS {
            self.changed.insert(change);
        }
    }

    /// Makes a place for a record of somebody who has none for this key, if it is worth one.
    fn make_room(&mut self, distance: KBucketDistance, newcomer: &Kept) -> Result<()> {
        let n_of_provider = self.by_provider.get(&newcomer.record.provider);
        if n_of_provider.is_some_and(|n| *n >= limits::RECORDS_PER_PROVIDER) {
            return Err(Error::MaxProvidedKeys);
        }
        let (at, gone) = if self.of_key(distance).len() >= limits::PROVIDERS_PER_KEY {
            (distance, self.gives_way(distance, newcomer))
        } else if self.n_foreign >= limits::FOREIGN_RECORDS {
            // Of the farthest key the last by rank.
            let farthest = self.foreign.last_key_value().filter(|(farthest, _)| **farthest > distance);
            let Some((farthest, of_key)) = farthest else { return Err(Error::MaxProvidedKeys) };
            (*farthest, of_key.last().map(|last| last.record.provider))
        } else {
            return Ok(());
        };
        self.drop_record(at, &gone.ok_or(Error::MaxProvidedKeys)?);
        Ok(())
    }

    /// Who gives way to a newcomer in a full key; nobody if the newcomer itself is worth least. Of those from the block that
    /// most come from, it is the last by rank. Ranks are of this node only, so each of the nodes nearest to a key keeps
    /// others: who comes after a hundred squatters has the same chance at each of them as every squatter.
    fn gives_way(&self, distance: KBucketDistance, newcomer: &Kept) -> Option<PeerId> {
        let all = || self.of_key(distance).iter().chain([newcomer]);
        let n_alike = |kept: &Kept| match kept.from {
            Some(block) => all().filter(|other| other.from == Some(block)).count(),
            None => 1,
        };
        let last = all().max_by_key(|kept| (n_alike(kept), kept.rank))?.record.provider;
        (last != newcomer.record.provider).then_some(last)
    }

    fn drop_expired(&mut self, now: Instant) {
        while let Some((expires, distance, provider)) = self.by_expiry.first().copied()
            && expires <= now
        {
            self.drop_record(distance, &provider);
        }
    }

    fn drop_record(&mut self, distance: KBucketDistance, provider: &PeerId) {
        let Some(Kept { record, .. }) = self.take(distance, provider) else { return };
        let key = ProviderKey::from_slice(record.key.as_ref());
        if let Some(change) = key.zip(device_key(provider)) {
            self.note(change);
        }
    }

    fn written(&self, key: ProviderKey, device: DeviceKey) -> Provider {
        let of_key = self.of_key(self.distance(&wire(key)));
        let kept = peer_id(&device).and_then(|peer| of_key.iter().find(|kept| kept.record.provider == peer));
        let left = |kept: &Kept| kept.expires.saturating_duration_since(Instant::now());
        let ttl = kept.map(left).filter(|left| !left.is_zero());
        let addresses = kept.map(|kept| kept.record.addresses.clone()).unwrap_or_default();
        Provider { key, provider: device, ttl, addresses }
    }
}

/// Values are not kept: no kind of them is defined yet.
impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        let mut inner = self.lock();
        if record.provider != inner.me {
            return inner.add(record, None, Instant::now());
        }
        if inner.own.len() >= limits::PROVIDED_KEYS && !inner.own.contains(&record.key) {
            return Err(Error::MaxProvidedKeys);
        }
        inner.own.insert(record.key);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let mut inner = self.lock();
        inner.n_answers = inner.n_answers.wrapping_add(1);
        let own = inner.own.contains(key).then(|| ProviderRecord::new(key.clone(), inner.me, Vec::new()));
        let foreign = inner.of_key(inner.distance(key));
        // Who asks begins with the first: each is that in its turn.
        let (later, sooner) = foreign.split_at(inner.n_answers.checked_rem(foreign.len()).unwrap_or_default());
        own.into_iter().chain(sooner.iter().chain(later).map(|kept| kept.record.clone())).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        let inner = self.lock();
        let own = inner.own.iter().map(|key| Cow::Owned(ProviderRecord::new(key.clone(), inner.me, Vec::new())));
        own.collect::<Vec<_>>().into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        let mut inner = self.lock();
        if *provider == inner.me {
            inner.own.remove(key);
        } else {
            let distance = inner.distance(key);
            inner.drop_record(distance, provider);
        }
    }
}

#[cfg(test)]
mod tests;
