//! Derived state: everything in it can be computed again from journal, logs and blobs, so it may be lost at any time
//! but never lie.
//!
//! Every value carries eight bytes of BLAKE3 over key and value, and a seal counts and sums them all, so a value that
//! changed, a key that vanished and one that came back are all noticed when the index is opened. What does not open
//! cleanly is set aside; the caller learns it as [`Opened::Rebuild`], fills the empty index and says
//! [`Index::finish_rebuild`]. An engine that fails later is given up: the index goes on in memory, empty, which
//! [`Index::epoch`] tells, and the next start builds it anew on the disk.

mod current;
mod engine;
#[cfg(test)]
mod full;
mod memory;
#[cfg(test)]
mod redb;
mod sled;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use syncra_protocol::codec;
use syncra_protocol::origin::Origin;

use current::Current;
use engine::{Engine, EngineError, Seal, Write};

/// Bytes of one value: larger ones make the engine spill into extra files.
pub const VALUE_BYTES: usize = 4_096;
/// Bytes of one key, without its table.
pub const KEY_BYTES: usize = 512;
/// The layout of keys and values; another number in the directory means rebuild.
pub const SCHEMA: u32 = 1;

/// Changes after which the engine is flushed unasked: what a crash in bulk work costs.
const FLUSH_EVERY: usize = 1_000;

/// What a key is about. Keys of different tables never meet in a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// The index's own notes.
    Meta = 0,
    /// Where runs of other writers' entries are.
    Runs = 1,
    /// What folds hang on: identity and package, of every identity whose logs have a say in the package.
    Fold = 2,
    /// What can be found: cards of packages.
    Catalogue = 3,
    /// Peers and how they behaved.
    Peers = 4,
    /// Words of search.
    Postings = 5,
    /// Who provides what, as kept for the distributed hash table, and what this node has announced.
    Providers = 6,
}

/// How an index was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// As it was left; it may be behind the logs, see [`Index::built_from`].
    Ready,
    /// Empty: fill it, then call [`Index::finish_rebuild`].
    Rebuild {
        /// Why it was not used.
        reason: RebuildReason,
    },
}

/// Why an index has to be built anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildReason {
    /// There is none.
    #[error("there is no index yet")]
    Missing,
    /// An earlier build was not finished, or the marker of a finished one is for another layout.
    #[error("the index was not finished, or is of another version")]
    NotReady,
    /// A value, or the sum of all, is not what was written.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// The engine panicked.
    #[error("the index engine gave up: {0}")]
    Panicked(String),
    /// The engine did not come back in time.
    #[error("the index did not open in time")]
    Stuck,
    /// The files are mostly garbage.
    #[error("the index takes {disk_bytes} bytes for {live_bytes}")]
    Bloated {
        /// Bytes of its files.
        disk_bytes: u64,
        /// Bytes of its keys and values.
        live_bytes: u64,
    },
    /// Not even an empty one can be made; this run's index is in memory.
    #[error("the index cannot be written and is kept in memory: {0}")]
    Unusable(String),
}

/// Why an index does not answer. Unless the caller is at fault, it is empty and in memory afterwards: see
/// [`Index::epoch`].
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A key or value beyond its limit.
    #[error("{bytes} bytes of {what}, at most {max} are allowed")]
    TooLong {
        /// `key` or `value`.
        what: &'static str,
        /// Bytes offered.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// What is stored is not what was written.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// The disk is full.
    #[error("no space left on the disk of the index")]
    DiskFull,
    /// The engine failed.
    #[error("the index engine failed: {0}")]
    Engine(String),
}

/// All that decides what a log says, digested, see [`crate::history::Histories::bases`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis(pub [u8; 32]);

/// Changes that are made together or not at all.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    writes: Vec<Write>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value.
    ///
    /// # Errors
    /// [`IndexError::TooLong`].
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        bounded("value", value, VALUE_BYTES)?;
        let key = full_key(table, key)?;
        let value = engine::checked(&key, value);
        self.writes.push(Write { key, value: Some(value) });
        Ok(())
    }

    /// Takes a key away, if it is there.
    ///
    /// # Errors
    /// [`IndexError::TooLong`].
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), IndexError> {
        self.writes.push(Write { key: full_key(table, key)?, value: None });
        Ok(())
    }

    /// Notes that what is derived from a log was now made of this.
    pub fn built_from(&mut self, origin: &Origin, basis: Basis) {
        self.put(Table::Meta, &built_key(origin), &basis.0).expect("a digest is within the limits");
    }

    /// Changes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A handle to the index; clones are the same index.
#[derive(Debug, Clone)]
pub struct Index {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Current,
    writer: Mutex<Writer>,
    rebuilds: u64,
}

#[derive(Debug, Default)]
struct Writer {
    seal: Seal,
    unflushed: usize,
}

impl Index {
    /// Opens the index in `dir`. It always opens: at worst empty, or in memory only.
    #[must_use]
    pub fn open(dir: &Path) -> (Self, Opened) {
        let reason = match sled::open(dir) {
            Ok((engine, seal)) => return (Self::over(Arc::new(engine), seal, 0), Opened::Ready),
            Err(reason) => reason,
        };
        let begun = match &reason {
            RebuildReason::Unusable(why) => Err(why.clone()),
            RebuildReason::Missing => {
                tracing::info!("a new index is built");
                sled::begin(dir)
            }
            _ => {
                tracing::warn!(%reason, "the index is set aside and built anew");
                sled::begin(dir)
            }
        };
        match begun {
            Ok(engine) => (Self::over(Arc::new(engine), Seal::default(), 1), Opened::Rebuild { reason }),
            Err(error) => {
                let reason = RebuildReason::Unusable(error);
                tracing::error!(%reason, "the index is not kept");
                (Self::with(Current::without_disk(reason.to_string()), Seal::default(), 1), Opened::Rebuild { reason })
            }
        }
    }

    /// An empty index that is gone with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Arc::new(memory::Memory::default()), Seal::default(), 0)
    }

    /// An index whose disk is full after so many batches.
    #[cfg(test)]
    pub(crate) fn full_after(room: usize) -> Self {
        let engine = full::Full { engine: memory::Memory::default(), room: room.into() };
        Self::over(Arc::new(engine), Seal::default(), 0)
    }

    fn over(engine: Arc<dyn Engine>, seal: Seal, rebuilds: u64) -> Self {
        Self::with(Current::new(engine), seal, rebuilds)
    }

    fn with(engine: Current, seal: Seal, rebuilds: u64) -> Self {
        let writer = Mutex::new(Writer { seal, unflushed: 0 });
        Self { shared: Arc::new(Shared { engine, writer, rebuilds }) }
    }

    /// How often everything in it was lost since it was opened: after an error it may be more than before, and whoever
    /// relies on what he put in puts it in again.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.engine.epoch()
    }

    /// Why it is only in memory; none while it is on the disk, or was never to be there.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.engine.trouble()
    }

    /// How often this index had to be built anew since the process opened it: 0 after a clean end.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.shared.rebuilds
    }

    /// Says that everything derived is in again; from now on the next start may use it.
    ///
    /// # Errors
    /// [`IndexError`]; the next start then builds it anew.
    pub fn finish_rebuild(&self) -> Result<(), IndexError> {
        self.flush()?;
        self.guarded(|engine| engine.mark_ready())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`IndexError`]; never a value that was not put there.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let key = full_key(table, key)?;
        let value = self.guarded(|engine| engine.read(&key))?;
        value.map(|value| self.verify(&key, value)).transpose()
    }

    /// Up to `limit` pairs whose keys begin with `prefix`, ascending, from the key `from` on (or the first one).
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, IndexError> {
        let prefix = full_key(table, prefix)?;
        let start = full_key(table, from)?.max(prefix.clone());
        let mut found: Vec<Pair> = Vec::new();
        self.guarded(|engine| {
            engine.range(&start, &mut |key, value| {
                let wanted = key.starts_with(&prefix) && found.len() < limit;
                if wanted {
                    found.push((key.to_vec(), value.to_vec()));
                }
                wanted
            })
        })?;
        found.into_iter().map(|(key, value)| Ok((key[1..].to_vec(), self.verify(&key, value)?))).collect()
    }

    /// The last pair whose key begins with `prefix` and is not after `key`.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn floor(&self, table: Table, prefix: &[u8], key: &[u8]) -> Result<Option<Pair>, IndexError> {
        let (prefix, key) = (full_key(table, prefix)?, full_key(table, key)?);
        let found = self.guarded(|engine| engine.last_at_or_before(&key))?;
        let Some((key, value)) = found.filter(|(key, _)| key.starts_with(&prefix)) else { return Ok(None) };
        let value = self.verify(&key, value)?;
        Ok(Some((key[1..].to_vec(), value)))
    }

    /// What derived state was made of, of a log: if that is another now, or unknown here, derive anew.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn built_from(&self, origin: &Origin) -> Result<Option<Basis>, IndexError> {
        let value = self.get(Table::Meta, &built_key(origin))?;
        value
            .map(|value| value.as_slice().try_into().map(Basis).map_err(|_| self.condemn("a malformed digest")))
            .transpose()
    }

    /// Puts one value.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        let mut batch = Batch::new();
        batch.put(table, key, value)?;
        self.write(batch)
    }

    /// Takes one key away.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn delete(&self, table: Table, key: &[u8]) -> Result<(), IndexError> {
        let mut batch = Batch::new();
        batch.delete(table, key)?;
        self.write(batch)
    }

    /// Makes all changes of a batch, or none; durable after the next [`Index::flush`].
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn write(&self, batch: Batch) -> Result<(), IndexError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut seal, mut writes) = (writer.seal, last_of_each(batch.writes));
        seal.n_batches += 1;
        for write in &writes {
            let before = self.guarded(|engine| engine.read(&write.key))?;
            seal.replace(before.as_deref(), write.value.as_deref());
        }
        writes.push(seal.to_write());
        let n_writes = writes.len();
        self.guarded(|engine| engine.write(writes))?;
        writer.seal = seal;
        writer.unflushed += n_writes;
        if writer.unflushed >= FLUSH_EVERY { self.flush_with(&mut writer) } else { Ok(()) }
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn flush(&self) -> Result<(), IndexError> {
        self.flush_with(&mut self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn flush_with(&self, writer: &mut Writer) -> Result<(), IndexError> {
        self.guarded(|engine| engine.flush(writer.seal.n_batches))?;
        writer.unflushed = 0;
        Ok(())
    }

    /// Keys and values as they are, the check of each verified.
    #[cfg(test)]
    fn contents(&self) -> Result<std::collections::BTreeMap<Vec<u8>, Vec<u8>>, IndexError> {
        let tables = [Table::Runs, Table::Fold, Table::Catalogue, Table::Peers, Table::Postings];
        let mut all = std::collections::BTreeMap::new();
        for table in tables {
            for (key, value) in self.scan(table, &[], &[], usize::MAX)? {
                all.insert([&[table as u8], key.as_slice()].concat(), value);
            }
        }
        Ok(all)
    }

    fn verify(&self, key: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, IndexError> {
        engine::unchecked(key, stored).ok_or_else(|| self.condemn("a value is not what was written"))
    }

    /// Notes that the index lies.
    fn condemn(&self, why: &str) -> IndexError {
        let error = IndexError::Damaged(why.to_owned());
        self.shared.engine.give_up(&error);
        error
    }

    fn guarded<T>(&self, operation: impl FnOnce(&dyn Engine) -> Result<T, EngineError>) -> Result<T, IndexError> {
        self.shared.engine.run(operation)
    }
}

impl Drop for Shared {
    /// A clean end leaves nothing to replay. What was given up is left as it is.
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if writer.unflushed == 0 || self.engine.trouble().is_some() {
            return;
        }
        if let Err(error) = self.engine.run(|engine| engine.flush(writer.seal.n_batches)) {
            tracing::warn!(%error, "the index was not flushed at its end; it may be behind");
        }
    }
}

/// How often the index of a home was built anew in its life, from the file at `path`.
#[must_use]
pub fn count_of_rebuilds(path: &Path) -> u64 {
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Adds one to [`count_of_rebuilds`]. A number that cannot be kept harms nothing.
pub(crate) fn count_rebuild(path: &Path) {
    let text = format!("{}\n", count_of_rebuilds(path) + 1);
    if let Err(error) = crate::durable::replace(path, text.as_bytes()) {
        tracing::debug!(%error, "the number of rebuilds was not kept");
    }
}

/// A seal must see each key once.
fn last_of_each(writes: Vec<Write>) -> Vec<Write> {
    let last: std::collections::BTreeMap<_, _> = writes.into_iter().map(|write| (write.key, write.value)).collect();
    last.into_iter().map(|(key, value)| Write { key, value }).collect()
}

fn bounded(what: &'static str, bytes: &[u8], max: usize) -> Result<(), IndexError> {
    if bytes.len() > max { Err(IndexError::TooLong { what, bytes: bytes.len(), max }) } else { Ok(()) }
}

fn full_key(table: Table, key: &[u8]) -> Result<Vec<u8>, IndexError> {
    bounded("key", key, KEY_BYTES)?;
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table as u8);
    full.extend_from_slice(key);
    Ok(full)
}

fn built_key(origin: &Origin) -> Vec<u8> {
    [b"built/".as_slice(), &codec::encode(origin)].concat()
}

#[cfg(test)]
mod tests;
