//! Growing this device's own logs: nothing is announced that a power cut could take back.

use std::collections::{BTreeMap, HashMap};

use syncra_protocol::entry::{self, Body, Decoded, Entry, EntryError, SeenHead};
use syncra_protocol::id::EntryId;
use syncra_protocol::limits::SEEN_PER_ENTRY;
use syncra_protocol::log::checkpoint::{Checkpoint, Head, SignError};
use syncra_protocol::log::note::NoteError;
use syncra_protocol::log::{AppendError, ExtendError, Log};
use syncra_protocol::origin::Origin;
use syncra_protocol::proposal::{Record, RecordError, Statement};

use super::{EntryBytes, Histories};
use crate::journal::{self, KnownHead, OwnAppend, OwnNote, Refusal};
use crate::logs::LogsError;

/// Own logs held ready to grow; reading one again costs its length.
const READY: usize = 16;
/// Entries taken in with one journal record when a home catches up: at their largest they fit.
const CAUGHT_UP_AT_ONCE: usize = 16;

/// Why an own log did not grow. Nothing was announced; whether the journal took the entries is decided at the next start.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// An entry may not be written.
    #[error("the entry may not be written")]
    Entry(#[from] EntryError),
    /// The log is full.
    #[error("the log cannot grow")]
    Log(#[from] AppendError),
    /// The journal refuses or fails.
    #[error("the journal did not take it")]
    Journal(#[from] journal::AppendError),
    /// The checkpoint is not this key's to sign.
    #[error("the checkpoint cannot be signed")]
    Sign(#[from] SignError),
    /// What others have of an own log cannot be read.
    #[error("the entries that others have of it cannot be read")]
    Logs(#[from] LogsError),
    /// A head of an own log that came from elsewhere is none.
    #[error("the head that others have of it does not verify")]
    Head(#[from] NoteError),
    /// What others have of an own log does not continue what is here: its key has signed two histories.
    #[error("the entries that others have of it do not continue what is here")]
    Foreign(#[from] ExtendError),
}

/// Own logs as they were when they last grew here, ready to grow again.
#[derive(Debug, Default)]
pub(super) struct Ready(HashMap<Origin, OwnLog>);

/// An own log, and the newest head of each other log that it has named.
#[derive(Debug)]
struct OwnLog {
    log: Log,
    named: BTreeMap<Origin, u64>,
}

impl Ready {
    fn put(&mut self, own: OwnLog) {
        if self.0.len() >= READY {
            self.0.clear();
        }
        self.0.insert(*own.log.origin(), own);
    }
}

impl Histories {
    /// Appends what `write` drafts to this device's log `origin`, all or none.
    ///
    /// `seen` are the heads of other logs of the same evidence set; those that the log named before are left out, the
    /// others go with the first drafted entry.
    ///
    /// # Errors
    /// [`OwnError`].
    pub async fn append<T>(
        &self,
        origin: Origin,
        seen: &[SeenHead],
        write: impl FnOnce(&mut Draft) -> Result<T, EntryError>,
    ) -> Result<(Head, T), OwnError> {
        let mut ready = self.0.writing.lock().await;
        self.ensure_newest(&origin)?;
        let mut own = self.own_log(&mut ready, origin)?;
        let mut news: Vec<SeenHead> = seen.iter().filter(|head| is_news(head, &origin, &own.named)).copied().collect();
        news.sort_unstable();
        let mut draft = Draft { news: news.clone(), entries: Vec::new() };
        let said = write(&mut draft)?;
        let entries = draft.finish()?;
        let after = own.log.checkpoint_after(&entries)?;
        for entry in &entries {
            own.log.append(entry)?;
        }
        own.named.extend(news.iter().map(|head| (head.origin, head.size)));
        let old_size = own.log.size() - entries.len() as u64;
        let append = OwnAppend { origin, old_size, new_size: after.size, root: after.root, entries };
        self.0.journal.append(append).await?;
        ready.put(own);
        let head = self.sign(after).await?;
        self.changed(head.clone());
        Ok((head, said))
    }

    /// Takes in what others have of this device's logs and this home has not: it was written before the home was copied or
    /// restored.
    ///
    /// Only whoever uses the device knows that it was them, and not somebody who has its key.
    ///
    /// # Errors
    /// [`OwnError`].
    pub async fn catch_up(&self) -> Result<(), OwnError> {
        let mut ready = self.0.writing.lock().await;
        let device = self.0.secret.public();
        let behind: Vec<KnownHead> = self.0.journal.truth().behind(&device).cloned().collect();
        for known in behind {
            let (head, origin) = (Head::verify(&known.note)?, known.origin);
            let OwnLog { mut log, .. } = self.own_log(&mut ready, origin)?;
            let from = log.size();
            let found = self.0.logs.read(&origin, from..head.size(), usize::MAX)?;
            log.clone().extend(&found.entries, &head)?;
            for entries in found.entries.chunks(CAUGHT_UP_AT_ONCE) {
                let after = log.checkpoint_after(entries)?;
                let (old_size, entries) = (log.size(), entries.to_vec());
                for entry in &entries {
                    log.append(entry)?;
                }
                let append = OwnAppend { origin, old_size, new_size: after.size, root: after.root, entries };
                self.0.journal.append(append).await?;
            }
            let (size, root) = (head.size(), head.root());
            self.0.journal.append(OwnNote { origin, size, root, note: head.note().to_vec() }).await?;
            self.changed(head);
        }
        Ok(())
    }

    /// Whether this device is known to have signed more than what is here, see [`Histories::catch_up`].
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.0.journal.truth().behind(&self.0.secret.public()).next().is_some()
    }

    /// Entries of a log that are known here, in whichever history.
    #[must_use]
    pub fn n_known(&self, log: &Origin) -> u64 {
        let truth = self.0.journal.truth();
        let own = truth.own_log(log).map_or(0, journal::OwnLog::size);
        own.max(truth.head(log).map_or(0, |head| head.size))
    }

    /// Nothing is added to a log that goes on elsewhere.
    fn ensure_newest(&self, origin: &Origin) -> Result<(), OwnError> {
        let truth = self.0.journal.truth();
        let Some(head) = truth.behind(&origin.key).find(|head| head.origin == *origin) else { return Ok(()) };
        let known = truth.own_log(origin).map_or(0, journal::OwnLog::size);
        Err(journal::AppendError::Refused(Refusal::Behind { known, elsewhere: head.size }).into())
    }

    /// Signs what the last process journalled and did not come to sign. The same bytes give the same signature.
    pub(super) async fn sign_unsigned(&self) -> Result<(), OwnError> {
        let unsigned = self.0.journal.unsigned();
        for log in unsigned {
            tracing::info!(origin = %log.origin, size = log.size, "completing a publish that was interrupted");
            self.sign(Checkpoint { origin: log.origin, size: log.size, root: log.root }).await?;
        }
        Ok(())
    }

    /// Signs what this device says about a proposal. Not journalled: a later one replaces it, and two may contradict each other.
    ///
    /// # Errors
    /// [`RecordError`] for a statement that others would refuse.
    pub fn sign_record(&self, statement: Statement) -> Result<Record, RecordError> {
        Record::sign(statement, &self.0.secret)
    }

    async fn sign(&self, checkpoint: Checkpoint) -> Result<Head, OwnError> {
        let head = Head::sign(&self.0.secret, checkpoint)?;
        let note = OwnNote { origin: *head.origin(), size: head.size(), root: head.root(), note: head.note().to_vec() };
        self.0.journal.append(note).await?;
        Ok(head)
    }

    /// The log as the journal has it.
    fn own_log(&self, ready: &mut Ready, origin: Origin) -> Result<OwnLog, OwnError> {
        let truth = self.0.journal.truth();
        let entries: &[EntryBytes] = truth.own_log(&origin).map_or(&[][..], |own| own.entries());
        if let Some(own) = ready.0.remove(&origin).filter(|own| own.log.size() == entries.len() as u64) {
            return Ok(own);
        }
        let (mut log, mut named) = (Log::new(origin), BTreeMap::new());
        for bytes in entries {
            log.append(bytes)?;
            if let Ok(Decoded::Known(entry)) = entry::decode(bytes) {
                named.extend(entry.seen.iter().map(|head| (head.origin, head.size)));
            }
        }
        Ok(OwnLog { log, named })
    }
}

fn is_news(head: &SeenHead, own: &Origin, named: &BTreeMap<Origin, u64>) -> bool {
    head.origin != *own && named.get(&head.origin).is_none_or(|size| *size < head.size)
}

/// Entries on their way into an own log.
#[derive(Debug)]
pub struct Draft {
    /// What the next entry will say to have seen.
    news: Vec<SeenHead>,
    entries: Vec<Vec<u8>>,
}

impl Draft {
    /// Adds an entry and tells its id.
    ///
    /// # Errors
    /// [`EntryError`] when it may not be written.
    pub fn push(&mut self, body: Body) -> Result<EntryId, EntryError> {
        let begins = matches!(
            body,
            Body::PackageGenesis(_) | Body::PackageJoin(_) | Body::IdentityGenesis(_) | Body::IdentityJoin(_)
        );
        // A log begins with its Genesis or Join, and a Genesis names what it begins: nothing seen changes its bytes.
        let seen = if begins { Vec::new() } else { self.take_news()? };
        let entry = Entry { seen, body }.encode()?;
        let id = EntryId::of(&entry);
        self.entries.push(entry);
        Ok(id)
    }

    /// What one entry has room for; more stands in Seen entries before it.
    fn take_news(&mut self) -> Result<Vec<SeenHead>, EntryError> {
        while self.news.len() > SEEN_PER_ENTRY {
            let seen = self.news.drain(..SEEN_PER_ENTRY).collect();
            self.entries.push(Entry { seen, body: Body::Seen }.encode()?);
        }
        Ok(std::mem::take(&mut self.news))
    }

    fn finish(mut self) -> Result<Vec<Vec<u8>>, EntryError> {
        let seen = self.take_news()?;
        if !seen.is_empty() {
            self.entries.push(Entry { seen, body: Body::Seen }.encode()?);
        }
        Ok(self.entries)
    }
}
