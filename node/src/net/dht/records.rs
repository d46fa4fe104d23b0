//! Provider records: what this node provides, and what it keeps for others.
//!
//! Both have quotas of their own, so that no flood of strangers takes the places of what we say ourselves (the library's
//! store has one for both). What is kept for others is bounded by provider, by key and altogether; when it is full, what
//! is farthest from our own id makes room for what is nearer, since others look for it elsewhere. The handle is shared:
//! records outlive a restart of the network, and changes wait in it for whoever writes them down.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;

use crate::net::address::{device_key, peer_id};
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
    /// By distance from our own id, so that the farthest is the last.
    foreign: BTreeMap<KBucketDistance, Vec<ProviderRecord>>,
    n_foreign: usize,
    by_provider: HashMap<PeerId, usize>,
    /// Changed since they were last taken.
    changed: BTreeSet<(ProviderKey, DeviceKey)>,
}

impl Records {
    pub(in crate::net) fn new(me: PeerId) -> Self {
        let (own, foreign, by_provider, changed) = Default::default();
        Self(Arc::new(Mutex::new(Inner { me, own, foreign, n_foreign: 0, by_provider, changed })))
    }

    /// What changed since the last call, at most `n_most` of it.
    #[must_use]
    pub fn take_changes(&self, n_most: usize) -> Vec<Provider> {
        let mut inner = self.lock();
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
            drop(inner.add(record));
        }
        inner.changed.clear();
    }

    /// Whether a provider has used up its share.
    pub(in crate::net) fn is_flooded_by(&self, provider: &PeerId) -> bool {
        self.lock().by_provider.get(provider).is_some_and(|n| *n >= limits::RECORDS_PER_PROVIDER)
    }

    /// How many are kept for others.
    #[must_use]
    pub fn n_foreign(&self) -> usize {
        self.lock().n_foreign
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

    fn add(&mut self, mut record: ProviderRecord) -> Result<()> {
        let now = Instant::now();
        let (Some(key), Some(device)) = (ProviderKey::from_slice(record.key.as_ref()), device_key(&record.provider))
        else {
            return Err(Error::ValueTooLarge);
        };
        record.addresses.truncate(limits::RECORD_ADDRESSES);
        let distance = self.distance(&record.key);
        let of_key = self.foreign.get(&distance).map(Vec::as_slice).unwrap_or_default();
        let known = of_key.iter().position(|known| known.provider == record.provider);
        if known.is_none() {
            if of_key.len() >= limits::PROVIDERS_PER_KEY {
                self.drop_expired(distance, now);
            }
            self.make_room(distance, &record.provider, now)?;
            self.n_foreign += 1;
            *self.by_provider.entry(record.provider).or_default() += 1;
        }
        let of_key = self.foreign.entry(distance).or_default();
        match known {
            Some(known) => of_key[known] = record,
            None => of_key.push(record),
        }
        self.note((key, device));
        Ok(())
    }

    /// A change beyond the bound is not written down: what is on the disk is then older than what is here.
    fn note(&mut self, change: (ProviderKey, DeviceKey)) {
        if self.changed.len() < 4 * limits::FOREIGN_RECORDS {
            self.changed.insert(change);
        }
    }

    /// Whether there is a place for one more record of this key and provider; the farthest one is dropped for it.
    fn make_room(&mut self, distance: KBucketDistance, provider: &PeerId, now: Instant) -> Result<()> {
        let is_full_key =
            |inner: &Self| inner.foreign.get(&distance).is_some_and(|of_key| of_key.len() >= limits::PROVIDERS_PER_KEY);
        let is_flood = self.by_provider.get(provider).is_some_and(|n| *n >= limits::RECORDS_PER_PROVIDER);
        if is_full_key(self) || is_flood {
            return Err(Error::MaxProvidedKeys);
        }
        if self.n_foreign < limits::FOREIGN_RECORDS {
            return Ok(());
        }
        let Some((farthest, of_key)) = self.foreign.last_key_value() else { return Err(Error::MaxProvidedKeys) };
        let (farthest, oldest) = (*farthest, of_key.first().map(|record| record.provider));
        let has_expired = of_key.iter().any(|record| record.is_expired(now));
        match oldest {
            _ if has_expired => self.drop_expired(farthest, now),
            Some(oldest) if farthest > distance => self.drop_where(farthest, |record| record.provider == oldest),
            _ => return Err(Error::MaxProvidedKeys),
        }
        Ok(())
    }

    fn drop_expired(&mut self, distance: KBucketDistance, now: Instant) {
        self.drop_where(distance, |record| record.is_expired(now));
    }

    fn drop_where(&mut self, distance: KBucketDistance, goes: impl Fn(&ProviderRecord) -> bool) {
        let Some(of_key) = self.foreign.get_mut(&distance) else { return };
        let gone: Vec<_> = of_key.extract_if(.., |record| goes(record)).collect();
        if of_key.is_empty() {
            self.foreign.remove(&distance);
        }
        for record in gone {
            self.n_foreign -= 1;
            if let Some(n) = self.by_provider.get_mut(&record.provider) {
                *n -= 1;
                if *n == 0 {
                    self.by_provider.remove(&record.provider);
                }
            }
            let key = ProviderKey::from_slice(record.key.as_ref());
            if let Some(change) = key.zip(device_key(&record.provider)) {
                self.note(change);
            }
        }
    }

    fn written(&self, key: ProviderKey, device: DeviceKey) -> Provider {
        let of_key = self.foreign.get(&self.distance(&wire(key))).map(Vec::as_slice).unwrap_or_default();
        let record = peer_id(&device).and_then(|peer| of_key.iter().find(|record| record.provider == peer));
        let left = |expires: Instant| expires.saturating_duration_since(Instant::now());
        let ttl = record.and_then(|record| record.expires).map(left).filter(|left| !left.is_zero());
        let addresses = record.map(|record| record.addresses.clone()).unwrap_or_default();
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
            return inner.add(record);
        }
        if inner.own.len() >= limits::PROVIDED_KEYS && !inner.own.contains(&record.key) {
            return Err(Error::MaxProvidedKeys);
        }
        inner.own.insert(record.key);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let inner = self.lock();
        let own = inner.own.contains(key).then(|| ProviderRecord::new(key.clone(), inner.me, Vec::new()));
        let foreign = inner.foreign.get(&inner.distance(key)).map(Vec::as_slice).unwrap_or_default();
        own.into_iter().chain(foreign.iter().cloned()).collect()
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
            inner.drop_where(distance, |record| record.provider == *provider);
        }
    }
}

#[cfg(test)]
mod tests;
