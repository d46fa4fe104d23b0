//! The task that tells the distributed hash table what this node provides, looks there for those who provide what is
//! followed, and writes down what the table keeps here for others.
//!
//! Announced are the packages that are published, installed, followed or imported here, by their ids and by the names that
//! their owners give them, and the newest release that was published or imported here of each also by its content root. Each is announced again long
//! before others forget it, one after the other, so that a node with thousands of packages is as quiet as one with ten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::id::{ContentRoot, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;
use syncra_protocol::reference::OwnerKey;
use syncra_protocol::{Timestamp, codec};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::event::Event;
use crate::flow::{Parts, catalogue, follow};
use crate::index::{Batch, IndexError, Table, VALUE_BYTES};
use crate::net::{Net, Provider, limits};
use crate::sync;

/// How long after an announcement the next one is made: three fit into the life of a record.
const AGAIN: Duration = Duration::from_secs(12 * 3600);
/// How long after one that nobody took.
const RETRY: Duration = Duration::from_secs(60);
/// How long after a look for providers of what is followed the next one is made.
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// Providers of one followed package that are enough.
const ENOUGH: usize = 4;
/// Between the first contact and the first announcement: the routing table fills meanwhile.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two announcements or look-ups.
const PACE: Duration = Duration::from_millis(50);
/// A table that has this many nodes does not get much better.
const GOOD_TABLE: usize = 20;
/// How often is written down what is kept for others.
const WRITE_DOWN: Duration = Duration::from_secs(30);
/// Records written down in one go.
const BATCH: usize = 1_000;

/// A record kept for somebody else, as it is written down; of this device itself, when it announces a key again.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    until: Timestamp,
    addresses: Vec<String>,
}

/// Works until `stop`.
pub(super) async fn keep_announced(parts: Arc<Parts>, net: Net, stop: CancellationToken) {
    if let Err(error) = load(&parts, &net) {
        tracing::warn!(%error, "provider records of the last run are not known");
    }
    let mut announcer = Announcer::new(&parts, &net);
    tokio::select! {
        () = stop.cancelled() => {}
        () = announcer.run() => {}
        () = write_down_from_time_to_time(&parts, &net) => {}
    }
    write_down(&parts, &net);
}

struct Announcer<'a> {
    parts: &'a Parts,
    net: &'a Net,
    /// All that is to be provided, what matters most first.
    keys: Vec<ProviderKey>,
    /// Of these, as many as others have room for.
    wanted: BTreeSet<ProviderKey>,
    announced: BTreeMap<ProviderKey, Done>,
    followed: BTreeSet<ProviderKey>,
    looked: BTreeMap<ProviderKey, Done>,
}

/// When something is to be done again, and how many nodes the routing table had when it was done.
#[derive(Debug, Clone, Copy)]
struct Done {
    again: Timestamp,
    n_nodes: usize,
}

/// Keys of one provider that a network has room for, when so many nodes are in the routing table: each keeps
/// [`limits::RECORDS_PER_PROVIDER`] and refuses the rest, and each key goes to the [`GOOD_TABLE`] nearest of all nodes, which
/// are at least as many as the table has.
fn room(n_nodes: usize) -> usize {
    let share = limits::RECORDS_PER_PROVIDER.saturating_mul(n_nodes.max(GOOD_TABLE)) / GOOD_TABLE;
    share.min(limits::PROVIDED_KEYS)
}

/// The key of the newest release of a package among those whose content is here.
fn newest(parts: &Parts, package: PackageId, held: &BTreeSet<ContentRoot>) -> Option<ProviderKey> {
    let history = parts.histories.package(package).ok().flatten()?;
    let releases = history.state.releases.values().map(|known| &known.release);
    let of_held = releases.filter(|release| held.contains(&release.content_root));
    of_held.max_by(|a, b| a.version.cmp(&b.version)).map(|release| release.content_root.into())
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Announce(ProviderKey),
    Look(ProviderKey),
}

impl Done {
    /// When to do it again: at its time, or as soon as the routing table has become much better.
    fn due(this: Option<&Self>, n_nodes: usize, now: Timestamp) -> Timestamp {
        match this {
            None => now,
            Some(done) if done.n_nodes < GOOD_TABLE && n_nodes >= 2 * done.n_nodes => now,
            // Somebody has set the clock back.
            Some(done) if done.again > now.after(AGAIN) => now,
            Some(done) => done.again,
        }
    }
}

impl<'a> Announcer<'a> {
    fn new(parts: &'a Parts, net: &'a Net) -> Self {
        let announced = announced_before(parts).unwrap_or_else(|error| {
            tracing::warn!(%error, "when packages were announced last is not known");
            BTreeMap::new()
        });
        let (keys, wanted, followed, looked) = Default::default();
        Self { parts, net, keys, wanted, announced, followed, looked }
    }

    async fn run(&mut self) {
        let mut happened = self.parts.events.subscribe(None);
        let mut routing = self.net.routing();
        let mut reached = self.net.reached();
        self.review().await;
        loop {
            if routing.wait_for(|routing| routing.n_nodes > 0).await.is_err() {
                return;
            }
            tokio::time::sleep(SETTLE).await;
            while routing.borrow_and_update().n_nodes > 0 {
                let n_nodes = routing.borrow().n_nodes;
                if self.wanted.len() < self.keys.len().min(room(n_nodes)) {
                    self.choose(n_nodes).await;
                }
                let next = self.next(n_nodes, clock::now());
                let wait = next.map_or(AGAIN, |(due, _)| due.since(clock::now())).max(PACE);
                tokio::select! {
                    frame = happened.next() => if changes_what_is_kept(&frame.event) { self.review().await },
                    // A better table makes some things due.
                    changed = routing.changed() => if changed.is_err() { return },
                    // Records that name other addresses, or none, lead nobody here any more.
                    changed = reached.changed() => match changed {
                        Ok(()) => self.announced.clear(),
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(wait) => if let Some((due, task)) = next && due <= clock::now() {
                        self.perform(task, n_nodes).await;
                    },
                }
            }
        }
    }

    /// What is to be provided and looked for may be another set now.
    async fn review(&mut self) {
        let (imported, held) = {
            let truth = self.parts.histories.journal().truth();
            let imported: Vec<PackageId> = truth.imported_roots().map(|(_, package)| *package).collect();
            let mut held: BTreeMap<PackageId, BTreeSet<ContentRoot>> = BTreeMap::new();
            for (root, package) in truth.own_roots().chain(truth.imported_roots()) {
                held.entry(*package).or_default().insert(*root);
            }
            (imported, held)
        };
        // A package may have thousands of releases, and a node no business with thousands of keys for it.
        let roots = held.iter().filter_map(|(package, held)| newest(self.parts, *package, held));
        catalogue::catch_up(self.parts).await;
        let kept: BTreeSet<PackageId> = sync::provided(self.parts).into_iter().chain(imported).collect();
        let by_name = kept.iter().filter_map(|package| {
            let card = catalogue::stored(self.parts, *package)?;
            Some(ProviderKey::of_name(&OwnerKey::of(&card.owner), &card.name?))
        });
        // Ids first: whoever has a link finds by them. Roots last: few people have nothing else.
        let keys = kept.iter().map(|package| ProviderKey::from(*package)).chain(by_name).chain(roots);
        let mut known = BTreeSet::new();
        self.keys = keys.filter(|key| known.insert(*key)).collect();
        let n_nodes = self.net.routing().borrow().n_nodes;
        self.choose(n_nodes).await;
        self.followed = follow::list(self.parts).into_iter().map(|followed| followed.package.into()).collect();
        self.looked.retain(|key, _| self.followed.contains(key));
    }

    /// Announces as many keys as others have room for. What is announced stays so when the network shrinks: others refuse
    /// what is too much, and it may grow again.
    async fn choose(&mut self, n_nodes: usize) {
        let n_most = room(n_nodes).max(self.wanted.len());
        let wanted: BTreeSet<ProviderKey> = self.keys.iter().take(n_most).copied().collect();
        let n_left_out = self.keys.len() - wanted.len();
        if n_left_out > 0 && wanted != self.wanted {
            let n_announced = wanted.len();
            tracing::warn!(n_announced, n_left_out, n_nodes, "more is provided here than the network has room for");
        }
        for gone in self.wanted.difference(&wanted) {
            self.announced.remove(gone);
            // A network that ends provides nothing.
            let _ = self.net.stop_providing(*gone).await;
        }
        self.wanted = wanted;
        self.announced.retain(|key, _| self.wanted.contains(key));
    }

    /// What is due first.
    fn next(&self, n_nodes: usize, now: Timestamp) -> Option<(Timestamp, Task)> {
        let due = |done: Option<&Done>| Done::due(done, n_nodes, now);
        let announce = self.wanted.iter().map(|key| (due(self.announced.get(key)), Task::Announce(*key)));
        let look = self.followed.iter().map(|key| (due(self.looked.get(key)), Task::Look(*key)));
        announce.chain(look).min_by_key(|(due, _)| *due)
    }

    async fn perform(&mut self, task: Task, n_nodes: usize) {
        let done = |wait| Done { again: clock::now().after(wait), n_nodes };
        match task {
            Task::Announce(key) => {
                let is_told = self.net.provide(key).await.unwrap_or(false);
                tracing::debug!(?key, is_told, n_nodes, "announced");
                let done = done(if is_told { AGAIN } else { RETRY });
                self.announced.insert(key, done);
                if is_told && let Err(error) = note_announced(self.parts, key, done.again) {
                    tracing::warn!(%error, "an announcement is not remembered");
                }
            }
            Task::Look(key) => {
                self.looked.insert(key, done(LOOK_AGAIN));
                let Ok(mut providers) = self.net.find_providers(key).await else { return };
                // Whoever is found is connected, and the hub asks everybody who connects for news.
                for _ in 0..ENOUGH {
                    if providers.recv().await.is_none() {
                        return;
                    }
                }
            }
        }
    }
}

fn changes_what_is_kept(event: &Event) -> bool {
    matches!(
        event,
        Event::Followed { .. }
            | Event::Unfollowed { .. }
            | Event::RegardChanged { .. }
            | Event::Published { .. }
            | Event::GenerationChanged { .. }
            | Event::Resync
    )
}

/// The key of a record: what is provided, and by whom.
fn index_key(key: ProviderKey, provider: &DeviceKey) -> Vec<u8> {
    [key.as_bytes().as_slice(), provider.as_bytes()].concat()
}

fn split_key(bytes: &[u8]) -> Option<(ProviderKey, DeviceKey)> {
    let (key, provider) = bytes.split_at_checked(32)?;
    Some((ProviderKey::from_slice(key)?, DeviceKey::from_bytes(provider.try_into().ok()?)))
}

fn written(parts: &Parts) -> Result<impl Iterator<Item = (ProviderKey, DeviceKey, Written)>, IndexError> {
    let stored = parts.index.scan(Table::Providers, &[], &[], usize::MAX)?;
    Ok(stored.into_iter().filter_map(|(key, value)| {
        let (key, provider) = split_key(&key)?;
        Some((key, provider, codec::decode::<Written>(&value, VALUE_BYTES).ok()?))
    }))
}

fn announced_before(parts: &Parts) -> Result<BTreeMap<ProviderKey, Done>, IndexError> {
    let own = written(parts)?.filter(|(_, provider, _)| *provider == parts.device);
    // Who was in the table then does not matter: these nodes still have the record.
    Ok(own.map(|(key, _, written)| (key, Done { again: written.until, n_nodes: GOOD_TABLE })).collect())
}

fn note_announced(parts: &Parts, key: ProviderKey, again: Timestamp) -> Result<(), IndexError> {
    let value = codec::encode(&Written { until: again, addresses: Vec::new() });
    parts.index.put(Table::Providers, &index_key(key, &parts.device), &value)
}

fn load(parts: &Parts, net: &Net) -> Result<(), IndexError> {
    let now = clock::now();
    let foreign = written(parts)?.filter(|(_, provider, _)| *provider != parts.device);
    let provider = |(key, provider, written): (ProviderKey, DeviceKey, Written)| {
        let ttl = Some(written.until.since(now)).filter(|left| !left.is_zero());
        let addresses = written.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        Provider { key, provider, ttl, addresses }
    };
    let (alive, expired): (Vec<_>, Vec<_>) = foreign.map(provider).partition(|record| record.ttl.is_some());
    net.records().load(alive);
    write_batch(parts, expired)
}

async fn write_down_from_time_to_time(parts: &Parts, net: &Net) {
    let mut next = Instant::now();
    loop {
        next += WRITE_DOWN;
        tokio::time::sleep_until(next).await;
        write_down(parts, net);
    }
}

fn write_down(parts: &Parts, net: &Net) {
    loop {
        let changes = net.records().take_changes(BATCH);
        if changes.is_empty() {
            return;
        }
        if let Err(error) = write_batch(parts, changes) {
            return tracing::warn!(%error, "provider records are not written down");
        }
    }
}

fn write_batch(parts: &Parts, changes: Vec<Provider>) -> Result<(), IndexError> {
    let now = clock::now();
    let mut batch = Batch::new();
    for Provider { key, provider, ttl, addresses } in changes {
        let key = index_key(key, &provider);
        match ttl {
            Some(ttl) => {
                let addresses = addresses.iter().map(ToString::to_string).collect();
                let written = Written { until: now.after(ttl), addresses };
                batch.put(Table::Providers, &key, &codec::encode(&written))?;
            }
            None => batch.delete(Table::Providers, &key)?,
        }
    }
    parts.index.write(batch)
}

#[cfg(test)]
mod tests;
