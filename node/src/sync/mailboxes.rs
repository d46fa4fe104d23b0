//! The mailboxes of the packages' tasks. The hub waits for none of them: one slow package would keep news from all others, and
//! its task may itself be waiting for the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use syncra_protocol::id::PackageId;
use syncra_protocol::sync::Peer;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::follow::Message;

/// How long after a message was left out its task is told who is connected.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Where messages for a package go.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    of: BTreeMap<PackageId, mpsc::Sender<Message>>,
    /// Those that missed something.
    behind: BTreeSet<PackageId>,
    catch_up_at: Option<Instant>,
}

impl Mailboxes {
    /// Packages whose tasks are told of peers.
    pub(super) fn packages(&self) -> Vec<PackageId> {
        self.of.keys().copied().collect()
    }

    /// The mailbox of a running task.
    pub(super) fn of(&self, package: &PackageId) -> Option<mpsc::Sender<Message>> {
        self.of.get(package).filter(|mailbox| !mailbox.is_closed()).cloned()
    }

    pub(super) fn add(&mut self, package: PackageId, mailbox: mpsc::Sender<Message>) {
        self.of.insert(package, mailbox);
        // A new task asks whoever it is told of.
        self.behind.remove(&package);
    }

    /// The task ends once it has done what it was told until now.
    pub(super) fn remove(&mut self, package: &PackageId) {
        self.of.remove(package);
        self.behind.remove(package);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What a task whose mailbox is full was to be told is left out: what was missed it hears from who is connected, later.
    pub(super) fn missed(&mut self, package: PackageId) {
        tracing::debug!(%package, "the task of a package has too much to do");
        self.behind.insert(package);
        self.catch_up_at.get_or_insert_with(|| Instant::now() + CATCH_UP);
    }

    /// When [`Mailboxes::catch_up`] has something to do.
    pub(super) const fn catch_up_at(&self) -> Option<Instant> {
        self.catch_up_at
    }

    /// Tells tasks that missed something, and have room again, who is connected.
    pub(super) fn catch_up(&mut self, connected: &[Peer]) {
        self.behind.retain(|package| {
            let Some(mailbox) = self.of.get(package) else { return false };
            matches!(mailbox.try_send(Message::Connected(connected.to_vec())), Err(TrySendError::Full(_)))
        });
        self.catch_up_at = (!self.behind.is_empty()).then(|| Instant::now() + CATCH_UP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> PackageId {
        PackageId::from_bytes([7; 32])
    }

    #[test]
    fn who_missed_something_is_told_once_who_is_connected() {
        let (mailbox, mut inbox) = mpsc::channel(1);
        let mut mailboxes = Mailboxes::default();
        mailboxes.add(package(), mailbox.clone());
        assert_eq!(mailboxes.catch_up_at(), None);
        mailbox.try_send(Message::Connected(Vec::new())).expect("room");
        mailboxes.missed(package());
        mailboxes.catch_up(&[]);
        assert!(mailboxes.catch_up_at().is_some(), "there is no room yet");
        inbox.try_recv().expect("the first");
        mailboxes.catch_up(&[]);
        assert!(matches!(inbox.try_recv(), Ok(Message::Connected(_))));
        assert_eq!(mailboxes.catch_up_at(), None);
        mailboxes.catch_up(&[]);
        assert!(inbox.try_recv().is_err(), "told once");
    }

    #[test]
    fn a_task_that_has_ended_is_not_waited_for() {
        let (mailbox, inbox) = mpsc::channel(1);
        let mut mailboxes = Mailboxes::default();
        mailboxes.add(package(), mailbox);
        mailboxes.missed(package());
        drop(inbox);
        mailboxes.catch_up(&[]);
        assert!(mailboxes.of(&package()).is_none());
        assert_eq!(mailboxes.catch_up_at(), None);
    }
}
