//! Growing the own logs: content, then the journal, then the signature, then the note, and only then anybody hears of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use syncra_protocol::entry::{self, Body, Decoded, Entry, SeenHead};
use syncra_protocol::evidence::FrontierHead;
use syncra_protocol::id::BlobId;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::{Checkpoint, Head};
use syncra_protocol::origin::{Origin, Subject};

use super::{Cx, Manner, Mutation, Node, Observation, Out, commit::Job};
use crate::disk::{Bytes, DiskError, Place, Record, Truth};

/// What the user wants to say.
#[derive(Debug)]
pub struct Draft {
    /// In which of the own logs.
    pub origin: Origin,
    /// What.
    pub bodies: Vec<Body>,
    /// Content that it names.
    pub blobs: Vec<(BlobId, Bytes)>,
    /// Whether to name what was seen of the other logs.
    pub says_seen: bool,
}

/// A publish under way.
#[derive(Debug)]
pub(crate) struct Publish {
    step: Step,
    origin: Origin,
    old_size: u64,
    entries: Vec<Bytes>,
    after: Checkpoint,
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Blobs are written.
    Blobs,
    /// The journal has the entries, not synced.
    Append,
    /// The journal has the note, not synced.
    Note,
}

impl Node {
    /// The user publishes; nothing happens if that cannot be now. One at a time.
    pub fn publish(&mut self, cx: &mut Cx<'_>, draft: Draft) {
        let Some(up) = &mut self.up else { return };
        if up.is_writing {
            return;
        }
        let Some((entries, after, old_size)) = self.entries_of(&draft) else { return };
        if self.disk.permit(cx.rng).is_err() {
            return;
        }
        let Some(up) = &mut self.up else { return };
        for (id, bytes) in &draft.blobs {
            up.blobs.insert(*id, Rc::clone(bytes));
            self.disk.write_blob(*id, Rc::clone(bytes));
        }
        up.is_writing = true;
        let origin = draft.origin;
        self.begin(cx, Job::Publish(Publish { step: Step::Blobs, origin, old_size, entries, after, head: None }));
    }

    fn entries_of(&self, draft: &Draft) -> Option<(Vec<Bytes>, Checkpoint, u64)> {
        let up = self.up.as_ref()?;
        let own = up.truth.own.get(&draft.origin)?;
        if up.truth.ahead(&draft.origin).is_some() {
            return None; // it goes on elsewhere
        }
        let mut seen = if draft.says_seen { self.news(&draft.origin, &own.entries) } else { Vec::new() };
        let mut entries: Vec<Bytes> = Vec::new();
        for body in &draft.bodies {
            let entry = Entry { seen: std::mem::take(&mut seen), body: body.clone() };
            entries.push(entry.encode().ok()?.into());
        }
        let after = own.log.checkpoint_after(&entries).ok()?;
        Some((entries, after, own.log.size()))
    }

    /// Heads of other logs that count and that the own log has not named; in logs of identities only those of the same one.
    fn news(&self, own: &Origin, entries: &[Bytes]) -> Vec<SeenHead> {
        let Some(evidence) = self.up.as_ref().and_then(|up| up.follower.evidence()) else { return Vec::new() };
        let Some(state) = self.up.as_ref().and_then(|up| up.follower.state()) else { return Vec::new() };
        let names_all = self.is(Mutation::NamesAll);
        let mut named: BTreeMap<Origin, u64> = BTreeMap::new();
        for entry in entries {
            if let Ok(Decoded::Known(entry)) = entry::decode(entry) {
                named.extend(entry.seen.iter().map(|head| (head.origin, head.size)));
            }
        }
        let concerns = |origin: &Origin| match own.subject {
            Subject::Identity(_) => origin.subject == own.subject || names_all,
            Subject::Package(_) => true,
        };
        let seen = match names_all {
            true => {
                let head =
                    |(origin, head): (Origin, FrontierHead)| SeenHead { origin, size: head.size, root: head.root };
                evidence.frontier().0.into_iter().map(head).collect()
            }
            false => state.seen(evidence, &self.secret.public()),
        };
        let is_news = |head: &SeenHead| {
            head.origin != *own && concerns(&head.origin) && head.size > named.get(&head.origin).copied().unwrap_or(0)
        };
        seen.into_iter().filter(is_news).collect()
    }

    pub(super) fn publish_step(&mut self, cx: &mut Cx<'_>, publish: Publish) {
        let done = match publish.step {
            Step::Blobs => self.blobs_written(cx, publish),
            Step::Append => self.append_written(cx, publish),
            Step::Note => self.note_written(cx, publish),
        };
        if done.is_err()
            && let Some(up) = &mut self.up
        {
            up.is_writing = false;
        }
    }

    fn blobs_written(&mut self, cx: &mut Cx<'_>, mut publish: Publish) -> Result<(), DiskError> {
        self.disk.sync(Place::Blobs, cx.rng)?;
        self.journal(cx, publish.append())?;
        if self.is(Mutation::SignsBeforeJournal) {
            let head = Head::sign(&self.secret, publish.after).map_err(|_| DiskError)?;
            publish.observe(cx, &head);
            self.tell(cx, &head);
        }
        if self.is(Mutation::AcknowledgesUnsynced) {
            let head = Head::sign(&self.secret, publish.after).map_err(|_| DiskError)?;
            cx.out.push(Out::Observed(Observation::Acknowledged(head)));
        }
        publish.step = Step::Append;
        self.begin(cx, Job::Publish(publish));
        Ok(())
    }

    fn append_written(&mut self, cx: &mut Cx<'_>, mut publish: Publish) -> Result<(), DiskError> {
        self.disk.sync(Place::Journal, cx.rng)?;
        self.journalled(&publish.append());
        let head = Head::sign(&self.secret, publish.after).map_err(|_| DiskError)?;
        self.journal(cx, Record::OwnNote(head.clone()))?;
        publish.observe(cx, &head);
        publish.head = Some(head);
        publish.step = Step::Note;
        self.begin(cx, Job::Publish(publish));
        Ok(())
    }

    fn note_written(&mut self, cx: &mut Cx<'_>, publish: Publish) -> Result<(), DiskError> {
        self.disk.sync(Place::Journal, cx.rng)?;
        let head = publish.head.ok_or(DiskError)?;
        self.journalled(&Record::OwnNote(head.clone()));
        if let Some(up) = &mut self.up {
            up.is_writing = false;
        }
        cx.out.push(Out::Observed(Observation::Acknowledged(head.clone())));
        if self.manner == Manner::Forks {
            self.grow_branch(cx, &head);
        }
        self.resume(cx);
        self.tell(cx, &head);
        Ok(())
    }

    /// What every log begins with, as a first start leaves it: durable and signed.
    ///
    /// # Panics
    /// Unless `entries` may begin a log of this node's key.
    pub fn found(&mut self, entries: &[Vec<u8>], origin: Origin) -> Observation {
        let mut log = Log::new(origin);
        let entries: Vec<Bytes> = entries.iter().map(|entry| Rc::from(&entry[..])).collect();
        for entry in &entries {
            log.append(entry).expect("a short log");
        }
        let after = log.checkpoint();
        let head = Head::sign(&self.secret, after).expect("the node's own log");
        self.disk.write_journal(Record::OwnAppend { old_size: 0, after, entries: entries.clone() });
        self.disk.write_journal(Record::OwnNote(head.clone()));
        self.disk.sync(Place::Journal, &mut crate::rng::Rng::seeded(0)).expect("nothing fails yet");
        self.own.push(origin);
        self.oldest.insert(origin, head.clone());
        Observation::Signed { first: 0, entries, head }
    }
}

impl Node {
    /// Another's log up to this head was fetched before the first start: durable, as a commit leaves it. Whoever writes
    /// for a package has its Genesis by then, for `node/src/flow/devices.rs` begins a log of a package in the same append
    /// that says something about what is held of it.
    ///
    /// # Panics
    /// If the disk fails already.
    pub fn knows(&mut self, entries: &[Vec<u8>], head: &Head) {
        let record = Record::Known(head.clone());
        // A device that was there before may hold more.
        if Truth::read(&self.disk).decide(&record) != Ok(true) {
            return;
        }
        let chance = &mut crate::rng::Rng::seeded(0);
        for (index, entry) in (0..).zip(entries) {
            self.disk.write_entry(*head.origin(), index, Rc::from(&entry[..]));
        }
        self.disk.sync(Place::Entries, chance).expect("nothing fails yet");
        self.disk.write_journal(record);
        self.disk.sync(Place::Journal, chance).expect("nothing fails yet");
    }
}

impl Publish {
    fn append(&self) -> Record {
        Record::OwnAppend { old_size: self.old_size, after: self.after, entries: self.entries.clone() }
    }

    fn observe(&self, cx: &mut Cx<'_>, head: &Head) {
        let (first, entries, head) = (self.old_size, self.entries.clone(), head.clone());
        debug_assert_eq!(*head.origin(), self.origin);
        cx.out.push(Out::Observed(Observation::Signed { first, entries, head }));
    }
}
