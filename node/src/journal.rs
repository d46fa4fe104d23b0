//! The journal: the truth that only this device knows, on disk before anybody hears of it.
//!
//! Append-only segments of checked frames; one thread writes them, and appends that wait together share one sync. What
//! the frames say adds up to the [`Truth`], which is held in memory and read from there. `docs/spec/state.md` has the
//! bytes.
//!
//! The rule of signing: entries of an own log are journalled first ([`OwnAppend`]), signed second, and the note is
//! journalled ([`OwnNote`]) before it leaves the process. So after any crash the same bytes are signed again
//! ([`Truth::unsigned`]; signatures are deterministic) and no second history can come into being.

mod mark;
mod record;
mod segment;
mod store;
mod truth;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{mpsc, oneshot};

pub use record::{
    FirstSeen, Follow, ForkCommon, ForkPointShown, ForkedLog, Handle, HomeOrigin, ImportedRoot, KnownHead,
    LogTestimony, OwnAppend, OwnNote, OwnRoot, Petname, RECORD_BYTES, Record, RecordError, Regard, Stated, Testimony,
    Trust, Unfollow, Witnessed,
};
pub use segment::DamageCause;
pub use truth::{OwnLog, Provenance, Refusal, Truth, Unsigned};

use crate::durable::WriteError;
use store::Store;
use writer::{Command, Counters};

/// Bytes after which a segment is sealed and the next one begun.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Appends that may wait for the writer; more wait for a place.
const MAILBOX: usize = 256;

/// Why a journal does not open. What is before the damage can be read with [`salvage`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A segment is not there.
    #[error("the journal in {path} lacks segment {number}")]
    Missing {
        /// The journal.
        path: PathBuf,
        /// The segment.
        number: u64,
    },
    /// A newer program wrote it, as far as can be told.
    #[error("{path} was written by a newer version: {cause}")]
    Newer {
        /// The segment file.
        path: PathBuf,
        /// What is not known here.
        cause: DamageCause,
    },
    /// Bytes that were once on disk are no longer what they were.
    #[error("{path} is damaged at byte {offset}: {cause}")]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where the good bytes end.
        offset: u64,
        /// What is wrong there.
        cause: DamageCause,
    },
}

/// Why a record was not journalled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// It contradicts what the journal says.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk did not take it. If it was full, the next append may succeed; otherwise the journal needs a restart.
    #[error(transparent)]
    Disk(#[from] WriteError),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of a write that was never acknowledged, cut off.
    pub torn_bytes: u64,
    /// Whether the journal belongs to this place and key. Unless it is [`Provenance::Own`], own appends are refused.
    pub provenance: Provenance,
    /// Own logs to sign now, before anything else is announced.
    pub unsigned: Vec<Unsigned>,
}

/// How a journal is opened.
#[derive(Debug)]
struct Options {
    here: HomeOrigin,
    /// A file to give up when the disk is full.
    reserve: Option<PathBuf>,
    /// Bytes after which a segment is sealed.
    segment_bytes: u64,
}

impl Options {
    const fn new(here: HomeOrigin) -> Self {
        Self { here, reserve: None, segment_bytes: SEGMENT_BYTES }
    }
}

/// What the journal did since it was opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Records written.
    pub records: u64,
    /// Syncs of the active segment: fewer than records when appends shared one.
    pub syncs: u64,
    /// Segments rewritten without their superseded records.
    pub compactions: u64,
}

/// A handle to the open journal; clones are the same journal.
#[derive(Debug, Clone)]
pub struct Journal {
    mailbox: mpsc::Sender<Command>,
    truth: Arc<RwLock<Truth>>,
    counters: Arc<Counters>,
    here: HomeOrigin,
}

impl Journal {
    /// Opens the journal in `dir`, makes one if the directory has none, and starts its writer. `here` says where this
    /// process thinks it is; on a first start, append it as [`Record::HomeOrigin`].
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    pub fn open(dir: &Path, here: HomeOrigin) -> Result<(Self, Opened), OpenError> {
        Self::start(dir, Options::new(here))
    }

    /// [`Journal::open`], and when the disk is full, the file `reserve` is given up once and the write tried again.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with_reserve(dir: &Path, here: HomeOrigin, reserve: PathBuf) -> Result<(Self, Opened), OpenError> {
        Self::start(dir, Options { reserve: Some(reserve), ..Options::new(here) })
    }

    fn start(dir: &Path, options: Options) -> Result<(Self, Opened), OpenError> {
        let (journal, opened, store, mailbox) = Self::prepare(dir, options)?;
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(store, mailbox))
            .map_err(|source| OpenError::Read { path: dir.to_owned(), source })?;
        Ok((journal, opened))
    }

    /// Everything but the thread.
    fn prepare(dir: &Path, options: Options) -> Result<(Self, Opened, Store, mpsc::Receiver<Command>), OpenError> {
        let here = options.here;
        let (store, torn_bytes) = Store::open(dir, options)?;
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let journal = Self { mailbox: sender, truth: store.truth(), counters: store.counters(), here };
        let provenance = journal.truth().provenance(&here);
        let opened = Opened { torn_bytes, provenance, unsigned: journal.unsigned() };
        Ok((journal, opened, store, mailbox))
    }

    /// Journals a record; returns when it is on disk and part of [`Journal::truth`]. Known already: at once.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, record: impl Into<Record>) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Append { record: record.into(), reply };
        self.mailbox.send(command).await.map_err(|_| AppendError::Closed)?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// [`Journal::append`] for threads outside the async runtime.
    ///
    /// # Errors
    /// [`AppendError`].
    ///
    /// # Panics
    /// On a thread of an async runtime.
    pub fn append_blocking(&self, record: impl Into<Record>) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Append { record: record.into(), reply };
        self.mailbox.blocking_send(command).map_err(|_| AppendError::Closed)?;
        answer.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }

    /// What the journal says. Do not hold the guard across an append: the writer waits for it.
    pub fn truth(&self) -> RwLockReadGuard<'_, Truth> {
        self.truth.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Own entries to sign now: none in a home that is not known to be this device's own.
    #[must_use]
    pub fn unsigned(&self) -> Vec<Unsigned> {
        let truth = self.truth();
        if truth.provenance(&self.here) == Provenance::Own { truth.unsigned() } else { Vec::new() }
    }

    /// What was done since the journal was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Ends the writer after everything appended before. Later appends, of clones too, get [`AppendError::Closed`].
    pub async fn close(self) {
        let (reply, answer) = oneshot::channel();
        if self.mailbox.send(Command::Close { reply }).await.is_ok() {
            drop(answer.await);
        }
    }

    /// [`Journal::close`] for threads outside the async runtime.
    ///
    /// # Panics
    /// On a thread of an async runtime.
    pub fn close_blocking(self) {
        let (reply, answer) = oneshot::channel();
        if self.mailbox.blocking_send(Command::Close { reply }).is_ok() {
            drop(answer.blocking_recv());
        }
    }
}

/// What a damaged journal still says: everything before the first damage. Nothing is changed on disk.
///
/// It may lack the newest entries, so nothing may be signed on its ground before the own heads were fetched.
#[must_use]
pub fn salvage(dir: &Path) -> (Truth, Option<OpenError>) {
    store::salvage(dir)
}

#[cfg(test)]
mod tests;
