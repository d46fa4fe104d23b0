//! A disk that fails: writes that are refused, syncs that fail, and what was not synced lost at a power cut.
//!
//! | here | mirrors |
//! |---|---|
//! | [`Disk::journal`], [`Truth`] | `node/src/journal`: records count once they are synced; what contradicts is refused |
//! | [`Disk::entries`] | `node/src/logs`: entries of others, appended in order |
//! | [`Disk::blobs`] | `node/src/blobs`: a file for each, in no order |

use std::collections::BTreeMap;
use std::rc::Rc;

use syncra_protocol::id::{BlobId, LogHash};
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::{Checkpoint, Head};
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::origin::Origin;

use crate::rng::Rng;

/// Bytes that many hold.
pub type Bytes = Rc<[u8]>;

/// Records in the order in which they were written.
#[derive(Debug, Clone)]
pub struct File<T> {
    records: Vec<T>,
    n_synced: usize,
}

impl<T> Default for File<T> {
    fn default() -> Self {
        Self { records: Vec::new(), n_synced: 0 }
    }
}

impl<T> File<T> {
    /// Everything written; after a power cut everything that is left.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.records.iter()
    }

    fn sync(&mut self) {
        self.n_synced = self.records.len();
    }

    /// An append-only file loses its end: any part of what was not synced.
    fn cut(&mut self, rng: &mut Rng) {
        let n_kept = self.n_synced + rng.below(self.records.len() - self.n_synced + 1);
        self.records.truncate(n_kept);
        self.sync();
    }

    /// Files of their own are lost each for itself.
    fn scatter(&mut self, rng: &mut Rng) {
        let unsynced = self.records.split_off(self.n_synced);
        self.records.extend(unsynced.into_iter().filter(|_| rng.chance(50)));
        self.sync();
    }
}

/// One of the three places that are synced by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What only this node knows.
    Journal,
    /// Others' entries.
    Entries,
    /// Content.
    Blobs,
}

/// A write or sync that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskError;

/// What survives a crash.
#[derive(Debug, Default, Clone)]
pub struct Disk {
    /// Truth.
    pub journal: File<Record>,
    /// (log, index, bytes) of others' entries.
    pub entries: File<(Origin, u64, Bytes)>,
    /// Content by its hash, as it was when it was written.
    pub blobs: File<(BlobId, Bytes)>,
    /// Nothing can be written.
    pub is_full: bool,
    /// Writes that fail, of a hundred.
    pub fail_percent: u64,
    /// A sync failed: nothing is written before the next start, as in `node/src/durable`.
    pub is_broken: bool,
    /// What is here was copied or put back: the journal says that it is at home elsewhere.
    pub is_copy: bool,
}

impl Disk {
    /// Whether something may be written now.
    ///
    /// # Errors
    /// [`DiskError`]; then nothing was.
    pub fn permit(&self, rng: &mut Rng) -> Result<(), DiskError> {
        if self.is_full || self.is_broken || rng.chance(self.fail_percent) { Err(DiskError) } else { Ok(()) }
    }

    /// Makes all that was written to `place` durable.
    ///
    /// # Errors
    /// [`DiskError`]; the disk then takes nothing more.
    pub fn sync(&mut self, place: Place, rng: &mut Rng) -> Result<(), DiskError> {
        // Rarer than a refused write, and worse.
        if self.is_broken || rng.chance(self.fail_percent / 4) {
            self.is_broken = true;
            return Err(DiskError);
        }
        match place {
            Place::Journal => self.journal.sync(),
            Place::Entries => self.entries.sync(),
            Place::Blobs => self.blobs.sync(),
        }
        Ok(())
    }

    /// The power goes.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        self.journal.cut(rng);
        self.entries.cut(rng);
        self.blobs.scatter(rng);
        self.is_broken = false;
    }

    /// What somebody has who copies all this now. Only what is synced is sure to be there.
    #[must_use]
    pub fn copy(&self, rng: &mut Rng) -> Self {
        let mut copy = self.clone();
        copy.power_cut(rng);
        (copy.is_full, copy.fail_percent) = (false, 0);
        copy
    }

    /// Writes a journal record.
    pub fn write_journal(&mut self, record: Record) {
        self.journal.records.push(record);
    }

    /// Writes an entry of another's log.
    pub fn write_entry(&mut self, origin: Origin, index: u64, bytes: Bytes) {
        self.entries.records.push((origin, index, bytes));
    }

    /// Writes a blob.
    pub fn write_blob(&mut self, id: BlobId, bytes: Bytes) {
        self.blobs.records.push((id, bytes));
    }
}

/// What the journal takes down; see `node/src/journal/record.rs`.
#[derive(Debug, Clone)]
pub enum Record {
    /// Own entries, before their checkpoint is signed.
    OwnAppend {
        /// The log before them, and what it becomes.
        old_size: u64,
        /// The log after them.
        after: Checkpoint,
        /// Their bytes.
        entries: Vec<Bytes>,
    },
    /// The signed checkpoint.
    OwnNote(Head),
    /// The newest verified head of another's log.
    Known(Head),
    /// A fork proof.
    Forked(Origin, Bytes),
    /// Entries that both histories of a forked log have.
    Common(Origin, u64),
    /// Where the histories of a forked log part, shown.
    ForkPoint(Box<ForkPoint>),
}

/// An own log as the journal has it.
#[derive(Debug, Clone)]
pub struct OwnLog {
    /// Its hashes.
    pub log: Log,
    /// Its entries.
    pub entries: Vec<Bytes>,
    /// The newest note.
    pub note: Option<Head>,
}

impl OwnLog {
    /// Whether the last entries are journalled and not signed.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.note.as_ref().map_or(0, Head::size) < self.log.size()
    }
}

/// Why the journal does not take a record; see `node/src/journal/truth.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Own entries that do not begin where the log ends.
    NotTheEnd,
    /// Own entries after unsigned ones.
    Unsigned,
    /// A note that is not of the journalled log.
    NoteMismatch,
    /// Older than the head known.
    Rollback,
    /// Another root for the size known.
    Fork,
    /// The home is a copy: nothing is signed until its owner says that it is the only one left.
    NotAtHome,
    /// The same key has signed more than what is here.
    Behind,
}

/// What a journal says.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Own logs.
    pub own: BTreeMap<Origin, OwnLog>,
    /// Newest verified heads of others' logs.
    pub known: BTreeMap<Origin, Head>,
    /// Fork proofs.
    pub forks: BTreeMap<Origin, Bytes>,
    /// Common parts of forked logs.
    pub common: BTreeMap<Origin, u64>,
    /// Where they part.
    pub points: BTreeMap<Origin, ForkPoint>,
    /// See [`Disk::is_copy`].
    pub is_copy: bool,
}

impl Truth {
    /// Whether a record is to be written; false if it says nothing new.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn decide(&self, record: &Record) -> Result<bool, Refusal> {
        match record {
            Record::OwnAppend { old_size, after, .. } => self.decide_append(*old_size, after),
            Record::OwnNote(head) => {
                let root: Option<LogHash> = self.own.get(head.origin()).and_then(|own| own.log.root_at(head.size()));
                if root != Some(head.root()) {
                    return Err(Refusal::NoteMismatch);
                }
                if self.ahead(head.origin()).is_some() {
                    return Err(Refusal::Behind);
                }
                let is_signed = self.known.get(head.origin()).is_some_and(|known| known.size() == head.size());
                if self.is_copy && !is_signed { Err(Refusal::NotAtHome) } else { Ok(true) }
            }
            Record::Known(head) if self.own.get(head.origin()).is_some_and(|own| own.log.size() >= head.size()) => {
                let root = self.own[head.origin()].log.root_at(head.size());
                if root == Some(head.root()) { Err(Refusal::Rollback) } else { Err(Refusal::Fork) }
            }
            Record::Known(head) => match self.known.get(head.origin()) {
                Some(known) if known.size() > head.size() => Err(Refusal::Rollback),
                Some(known) if known.size() == head.size() && known.root() != head.root() => Err(Refusal::Fork),
                Some(known) => Ok(known.size() < head.size()),
                None => Ok(true),
            },
            Record::Forked(origin, _) => Ok(!self.forks.contains_key(origin)),
            Record::Common(origin, n_common) => Ok(self.common.get(origin).is_none_or(|known| known > n_common)),
            Record::ForkPoint(point) => Ok(self.points.get(point.origin()) != Some(&**point)),
        }
    }

    fn decide_append(&self, old_size: u64, after: &Checkpoint) -> Result<bool, Refusal> {
        let own = self.own.get(&after.origin);
        if own.map_or(0, |own| own.log.size()) != old_size {
            return Err(Refusal::NotTheEnd);
        }
        if let Some(ahead) = self.ahead(&after.origin) {
            let catches_up = after.size < ahead.size() || (after.size, after.root) == (ahead.size(), ahead.root());
            return if catches_up { Ok(true) } else { Err(Refusal::Behind) };
        }
        if self.is_copy {
            return Err(Refusal::NotAtHome);
        }
        if own.is_some_and(OwnLog::is_unsigned) { Err(Refusal::Unsigned) } else { Ok(true) }
    }

    /// A verified head of an own log beyond the entries held here.
    #[must_use]
    pub fn ahead(&self, origin: &Origin) -> Option<&Head> {
        let held = self.own.get(origin).map_or(0, |own| own.log.size());
        self.known.get(origin).filter(|head| head.size() > held)
    }

    /// Takes in a decided record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::OwnAppend { after, entries, .. } => {
                let fresh = || OwnLog { log: Log::new(after.origin), entries: Vec::new(), note: None };
                let own = self.own.entry(after.origin).or_insert_with(fresh);
                for entry in entries {
                    own.log.append(entry).expect("the simulated logs are short");
                }
                own.entries.extend(entries.iter().cloned());
            }
            Record::OwnNote(head) => {
                if let Some(own) = self.own.get_mut(head.origin()) {
                    own.note = Some(head.clone());
                }
            }
            Record::Known(head) => drop(self.known.insert(*head.origin(), head.clone())),
            Record::Forked(origin, proof) => drop(self.forks.entry(*origin).or_insert_with(|| Rc::clone(proof))),
            Record::Common(origin, n_common) => drop(self.common.insert(*origin, *n_common)),
            Record::ForkPoint(point) => {
                self.forks.insert(*point.origin(), point.proof().encode().into());
                self.points.insert(*point.origin(), (**point).clone());
            }
        }
    }

    /// What a journal says that has just been opened.
    #[must_use]
    pub fn read(disk: &Disk) -> Self {
        let mut truth = Self { is_copy: disk.is_copy, ..Self::default() };
        for record in disk.journal.iter() {
            truth.apply(record);
        }
        truth
    }
}
