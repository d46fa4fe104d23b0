//! The journal's only writer: takes what waits, writes it with one sync, answers everybody exactly once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use syncra_protocol::origin::Origin;
use tokio::sync::{mpsc, oneshot};

use super::record::{Record, Slot};
use super::store::Store;
use super::{AppendError, Stats};

/// Records that share one sync, at most: bounds how long the first of them waits for the last.
const BATCH: usize = 256;
/// Entry bytes that share one sync, about: with it a batch stays within some MiB of memory.
const BATCH_BYTES: usize = 4 << 20;

type Reply = oneshot::Sender<Result<(), AppendError>>;

#[derive(Debug)]
pub(super) enum Command {
    Append { record: Record, reply: Reply },
    Close { reply: oneshot::Sender<()> },
}

/// Counts that handles read while the writer works.
#[derive(Debug, Default)]
pub(super) struct Counters {
    records: AtomicU64,
    syncs: AtomicU64,
    compactions: AtomicU64,
}

impl Counters {
    pub(super) fn committed(&self, n_records: usize) {
        self.records.fetch_add(n_records as u64, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn compacted(&self) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            records: self.records.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            compactions: self.compactions.load(Ordering::Relaxed),
        }
    }
}

/// What a record must not share a batch with: another about the same thing, because it is decided on against what is
/// on disk.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Subject {
    Log(Origin),
    Slot(Slot),
}

fn subject(record: &Record) -> Option<Subject> {
    match record {
        Record::OwnAppend(append) => Some(Subject::Log(append.origin)),
        Record::OwnNote(note) => Some(Subject::Log(note.origin)),
        Record::Head(head) => Some(Subject::Log(head.origin)),
        other => other.slot().map(Subject::Slot),
    }
}

/// Appends that share a sync.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<Record>,
    replies: Vec<Reply>,
    subjects: HashSet<Subject>,
    bytes: usize,
    /// It changes what is allowed, so nothing else is decided on in its batch.
    alone: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.alone || self.records.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn takes(&self, record: &Record) -> bool {
        let alone = matches!(record, Record::HomeOrigin(_)) && !self.records.is_empty();
        !alone && subject(record).is_none_or(|subject| !self.subjects.contains(&subject))
    }

    fn push(&mut self, record: Record, reply: Reply) {
        if let Record::OwnAppend(append) = &record {
            self.bytes += append.entries.iter().map(Vec::len).sum::<usize>();
        }
        self.alone |= matches!(record, Record::HomeOrigin(_));
        self.subjects.extend(subject(&record));
        self.records.push(record);
        self.replies.push(reply);
    }
}

/// Works until the journal is closed or its last handle is gone.
pub(super) fn run(mut store: Store, mut mailbox: mpsc::Receiver<Command>) {
    let mut next = mailbox.blocking_recv();
    let mut closing = None;
    while let Some(command) = next.take() {
        let (batch, left_over) = gather(&store, command, &mut mailbox);
        write(&mut store, batch);
        next = match left_over {
            Some(Command::Close { reply }) => {
                closing = Some(reply);
                break;
            }
            Some(append) => Some(append),
            None => mailbox.blocking_recv(),
        };
    }
    mailbox.close();
    // Whoever came in between still gets an answer, by the drop of its reply.
    drop(mailbox);
    store.finish();
    if let Some(reply) = closing {
        // Whoever closed may not want to know.
        reply.send(()).ok();
    }
}

/// Collects what is waiting. Refused and known records are answered on the way.
fn gather(store: &Store, first: Command, mailbox: &mut mpsc::Receiver<Command>) -> (Batch, Option<Command>) {
    let mut batch = Batch::default();
    let mut next = Some(first);
    while let Some(command) = next {
        let Command::Append { record, reply } = command else { return (batch, Some(command)) };
        if !batch.takes(&record) {
            return (batch, Some(Command::Append { record, reply }));
        }
        match store.decide(&record) {
            Ok(true) => batch.push(record, reply),
            Ok(false) => answer(reply, Ok(())),
            Err(refusal) => answer(reply, Err(refusal.into())),
        }
        if batch.is_full() {
            break;
        }
        next = mailbox.try_recv().ok();
    }
    (batch, None)
}

fn write(store: &mut Store, batch: Batch) {
    if batch.records.is_empty() {
        return;
    }
    let written = store.commit(batch.records);
    for reply in batch.replies {
        answer(reply, written.clone().map_err(AppendError::from));
    }
    store.tend();
}

/// A caller that gave up waiting is no reason to stop.
fn answer(reply: Reply, result: Result<(), AppendError>) {
    drop(reply.send(result));
}
