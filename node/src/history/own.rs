//! Growing this device's own logs: nothing is announced that a power cut could take back.

use std::collections::BTreeMap;

use syncra_protocol::entry::{self, Body, Decoded, Entry, EntryError, SeenHead};
use syncra_protocol::id::EntryId;
use syncra_protocol::limits::SEEN_PER_ENTRY;
use syncra_protocol::log::checkpoint::{Checkpoint, Head, SignError};
use syncra_protocol::log::{AppendError, Log};
use syncra_protocol::origin::Origin;
use syncra_protocol::proposal::{Record, RecordError, Statement};

use super::Histories;
use crate::journal::{self, OwnAppend, OwnNote};

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
        let _alone = self.0.writing.lock().await;
        let (log, named) = self.own_log(origin)?;
        let mut news: Vec<SeenHead> = seen.iter().filter(|head| is_news(head, &origin, &named)).copied().collect();
        news.sort_unstable();
        let mut draft = Draft { news, entries: Vec::new() };
        let said = write(&mut draft)?;
        let entries = draft.finish()?;
        let after = log.checkpoint_after(&entries)?;
        let append = OwnAppend { origin, old_size: log.size(), new_size: after.size, root: after.root, entries };
        self.0.journal.append(append).await?;
        let head = self.sign(after).await?;
        self.changed(head.clone());
        Ok((head, said))
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

    /// The log as the journal has it, and the newest head of each other log that it has named.
    fn own_log(&self, origin: Origin) -> Result<(Log, BTreeMap<Origin, u64>), OwnError> {
        let mut log = Log::new(origin);
        let mut named = BTreeMap::new();
        let truth = self.0.journal.truth();
        for bytes in truth.own_log(&origin).map_or(&[][..], |own| own.entries()) {
            log.append(bytes)?;
            if let Ok(Decoded::Known(entry)) = entry::decode(bytes) {
                named.extend(entry.seen.iter().map(|head| (head.origin, head.size)));
            }
        }
        Ok((log, named))
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
