//! Disk steps: each begins with a write, takes its time, and ends with a sync; a crash may come between any two.

use std::rc::Rc;

use syncra_protocol::id::ContentRoot;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::{Commit, Input};

use super::{Cx, Mutation, Node, Observation, Out, publish::Publish};
use crate::disk::{DiskError, Place, Record};

/// What a disk step is part of.
#[derive(Debug)]
pub(crate) enum Job {
    /// Others' entries are written; to be synced.
    Entries(Commit),
    /// And their head; to be synced.
    Known(Commit),
    /// A record beside all that.
    Keep(Record),
    /// A content's blobs.
    Content(ContentRoot),
    /// A publish.
    Publish(Publish),
}

impl Node {
    /// A disk step has taken its time.
    pub fn on_disk(&mut self, cx: &mut Cx<'_>, job: u64) {
        let Some(job) = self.up.as_mut().and_then(|up| up.jobs.remove(&job)) else { return };
        match job {
            Job::Entries(commit) => self.entries_written(cx, commit),
            Job::Known(commit) => self.known_written(cx, commit),
            Job::Keep(record) => self.kept(cx, &record),
            Job::Content(root) => self.content_written(cx, root),
            Job::Publish(publish) => self.publish_step(cx, publish),
        }
        self.settle(cx);
    }

    /// Writes a journal record, if it says something new and may be written.
    pub(super) fn journal(&mut self, cx: &mut Cx<'_>, record: Record) -> Result<(), DiskError> {
        let Some(up) = &mut self.up else { return Err(DiskError) };
        if !up.written.decide(&record).map_err(|_| DiskError)? {
            return Ok(());
        }
        self.disk.permit(cx.rng)?;
        up.written.apply(&record);
        self.disk.write_journal(record);
        Ok(())
    }

    /// Lets the truth have a record that is durable now.
    pub(super) fn journalled(&mut self, record: &Record) {
        if let Some(up) = &mut self.up
            && up.truth.decide(record) == Ok(true)
        {
            up.truth.apply(record);
        }
    }

    /// Verified entries are to be kept: written first, whatever is there already left as it is.
    pub(super) fn commit(&mut self, cx: &mut Cx<'_>, mut commit: Commit) {
        let Some(up) = &mut self.up else { return };
        let origin = commit.origin;
        if up.truth.own.get(&origin).is_some_and(|own| own.log.size() >= commit.head.size()) {
            return self.input(cx, Input::Committed(origin));
        }
        if self.mutation == Some(Mutation::TakesUnverifiedEntries)
            && let Some(byte) = commit.entries.last_mut().and_then(|entry| entry.last_mut())
        {
            *byte ^= 1;
        }
        if self.mutation == Some(Mutation::HeadBeforeEntries) {
            return match self.journal(cx, Record::Known(commit.head.clone())) {
                Ok(()) => self.begin(cx, Job::Known(commit)),
                Err(DiskError) => self.input(cx, Input::CommitFailed(origin)),
            };
        }
        match self.write_entries(cx, &commit) {
            Ok(()) => self.begin(cx, Job::Entries(commit)),
            Err(DiskError) => self.input(cx, Input::CommitFailed(origin)),
        }
    }

    fn write_entries(&mut self, cx: &mut Cx<'_>, commit: &Commit) -> Result<(), DiskError> {
        self.disk.permit(cx.rng)?;
        let Some(up) = &mut self.up else { return Err(DiskError) };
        let stored = up.stored.entry(commit.origin).or_default();
        if let Some(own) = up.truth.own.get(&commit.origin).filter(|own| own.entries.len() > stored.len()) {
            stored.clone_from(&own.entries);
        }
        for (index, entry) in (commit.first..).zip(&commit.entries) {
            if stored.len() as u64 == index {
                let bytes: crate::disk::Bytes = Rc::from(&entry[..]);
                stored.push(Rc::clone(&bytes));
                self.disk.write_entry(commit.origin, index, bytes);
            }
        }
        Ok(())
    }

    fn entries_written(&mut self, cx: &mut Cx<'_>, commit: Commit) {
        let origin = commit.origin;
        let synced = self.disk.sync(Place::Entries, cx.rng);
        if self.is(Mutation::HeadBeforeEntries) {
            return match synced {
                Ok(()) => self.committed(cx, commit),
                Err(DiskError) => self.input(cx, Input::CommitFailed(origin)),
            };
        }
        match synced.and_then(|()| self.journal(cx, Record::Known(commit.head.clone()))) {
            Ok(()) if self.is(Mutation::ForgetsHeads) => self.committed(cx, commit),
            Ok(()) => self.begin(cx, Job::Known(commit)),
            Err(DiskError) => self.input(cx, Input::CommitFailed(origin)),
        }
    }

    fn known_written(&mut self, cx: &mut Cx<'_>, commit: Commit) {
        let origin = commit.origin;
        if self.disk.sync(Place::Journal, cx.rng).is_err() {
            return self.input(cx, Input::CommitFailed(origin));
        }
        if self.is(Mutation::HeadBeforeEntries) {
            return match self.write_entries(cx, &commit) {
                Ok(()) => self.begin(cx, Job::Entries(commit)),
                Err(DiskError) => self.input(cx, Input::CommitFailed(origin)),
            };
        }
        self.committed(cx, commit);
    }

    fn committed(&mut self, cx: &mut Cx<'_>, commit: Commit) {
        let (origin, head) = (commit.origin, commit.head.clone());
        self.journalled(&Record::Known(head.clone()));
        if let Some(up) = &mut self.up
            && !up.arrivals.contains(&origin)
        {
            up.arrivals.push(origin);
        }
        cx.out.push(Out::Observed(Observation::Committed(commit)));
        self.input(cx, Input::Committed(origin));
        self.tell(cx, &head);
    }

    /// Evidence against a writer, kept for ever.
    pub(super) fn keep_fork(&mut self, cx: &mut Cx<'_>, proof: &ForkProof) {
        self.keep(cx, Record::Forked(*proof.origin(), proof.encode().into()));
    }

    pub(super) fn keep_common(&mut self, cx: &mut Cx<'_>, origin: Origin, n_common: u64) {
        let n_common = n_common - u64::from(self.is(Mutation::MisplacesForks));
        self.keep(cx, Record::Common(origin, n_common));
    }

    pub(super) fn keep_point(&mut self, cx: &mut Cx<'_>, point: Box<ForkPoint>) {
        let log = self.up.as_ref().and_then(|up| up.log(point.origin()));
        if log.is_some_and(|(log, _)| point.is_in(log)) {
            self.keep(cx, Record::Common(*point.origin(), point.n_common()));
        }
        self.keep(cx, Record::ForkPoint(point));
    }

    fn keep(&mut self, cx: &mut Cx<'_>, record: Record) {
        if self.journal(cx, record.clone()).is_ok() {
            self.begin(cx, Job::Keep(record));
        }
    }

    fn kept(&mut self, cx: &mut Cx<'_>, record: &Record) {
        if self.disk.sync(Place::Journal, cx.rng).is_err() {
            return;
        }
        self.journalled(record);
        if let Record::ForkPoint(point) = record {
            let head = self.up.as_ref().and_then(|up| Some(up.log(point.origin())?.1.clone()));
            head.inspect(|head| self.tell(cx, head));
        }
        if let Record::Forked(origin, proof) = record {
            cx.out.push(Out::Observed(Observation::KeptFork(*origin, Rc::clone(proof))));
            // Who holds nothing of the log warns all the same, with a head that the proof is made of.
            let held = self.up.as_ref().and_then(|up| Some(up.log(origin)?.1.clone()));
            let head = held.or_else(|| Some(ForkProof::verify(proof).ok()?.newer().clone()));
            if let Some(head) = head.filter(|_| !self.is(Mutation::HushesForks)) {
                self.tell(cx, &head);
            }
        }
    }
}
