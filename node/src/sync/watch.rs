//! The watches of the hub: one stream towards each peer, on which it pushes new notes of what is kept.
//!
//! A watch is replaced only when the next one is open, and opened again when it ends: no note is lost for longer than a
//! peer's heads are not asked for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use syncra_protocol::id::PackageId;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Failure, Input};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::follow::Message;
use super::{Hub, ask};
use crate::flow::own;
use crate::net::Net;
use crate::net::rate::Bucket;

/// How long after its end a watch is opened again; doubled each time it ends soon.
const AGAIN: Duration = Duration::from_secs(2);
/// The longest wait.
const AGAIN_MOST: Duration = Duration::from_secs(300);
/// Notes that a peer may push at once, then [`NOTES_PER_S`]: each is a signature to check. Who pushes more is read later,
/// and its own connection fills up.
const NOTES: u32 = 128;
/// See [`NOTES`].
const NOTES_PER_S: u32 = 8;
/// A watch that lived so long has not failed.
const LONG: Duration = Duration::from_secs(60);

/// What the tasks behind watches tell the hub.
#[derive(Debug)]
pub(super) enum Heard {
    /// The peer watches.
    Open { peer: Peer, serial: u64 },
    /// It pushed a note.
    Note { peer: Peer, package: PackageId, note: Vec<u8> },
    /// It will push nothing more on this watch.
    Ended { peer: Peer, serial: u64, why: Option<Failure> },
    /// What a notice promises is to be asked for: of its bringer, or of others if that did not deliver.
    Told { peer: Option<Peer>, head: Head },
    /// What a sibling told of was asked for.
    Answered { peer: Peer, package: PackageId },
    /// Time to try again.
    Again { peer: Peer, serial: u64 },
}

/// What the hub knows of the watch towards one peer. Dropping it ends its streams.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The newest attempt.
    serial: u64,
    opening: Option<(BTreeSet<PackageId>, DropGuard)>,
    open: Option<(Instant, DropGuard)>,
    /// Packages whose heads the peer was asked for since it watches them.
    asked: BTreeSet<PackageId>,
    /// Ends in a row that came soon.
    n_ends: u32,
}

impl Hub {
    /// Opens a watch over all kept packages; the one before goes on until it is open.
    pub(super) fn watch(&mut self, peer: Peer) {
        // A sibling has more to say than what it is asked for.
        let is_of_use = self.siblings.contains(&peer) || (!self.kept.is_empty() && self.may_know(peer));
        let watch = self.watches.entry(peer).or_default();
        watch.serial += 1;
        watch.opening = None;
        if !is_of_use {
            watch.open = None;
            return;
        }
        let (serial, stop) = (watch.serial, self.stop.child_token());
        watch.opening = Some((self.kept.clone(), stop.clone().drop_guard()));
        let (net, heard, packages) = (self.net.clone(), self.heard_in.clone(), self.kept.iter().copied().collect());
        self.tasks.spawn(until(stop, async move {
            let passing = pass_on(&net, peer, packages, serial, &heard);
            let why = net.incidents().guard("watch", passing).await.unwrap_or(Some(Failure::Lost));
            // The hub ends before its tasks only when everything ends.
            drop(heard.send(Heard::Ended { peer, serial, why }).await);
        }));
    }

    pub(super) async fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Note { peer, package, note } if self.kept.contains(&package) => {
                if self.is_held(package, &note) {
                    // Nobody waiting for it is fine.
                    let _ = self.arrivals.send(package);
                    return;
                }
                self.tell(package, Message::input(Input::Notice { peer, note }));
            }
            Heard::Note { peer, package, note } => self.on_told_of(peer, package, &note).await,
            Heard::Open { peer, serial } => {
                let Some(watch) = self.watches.get_mut(&peer).filter(|watch| watch.serial == serial) else { return };
                let Some((packages, guard)) = watch.opening.take() else { return };
                watch.open = Some((Instant::now(), guard));
                self.ask_heads(peer, packages).await;
            }
            Heard::Ended { peer, serial, why } => self.on_ended(peer, serial, why).await,
            Heard::Told { peer, head } => self.on_told(peer, &head).await,
            Heard::Answered { peer, package } => {
                self.told.answered(peer, &package);
                self.ask_for_told().await;
            }
            Heard::Again { peer, serial } => {
                if self.watches.get(&peer).is_some_and(|watch| watch.serial == serial) {
                    self.watch(peer);
                }
            }
        }
    }

    /// Whether a note is no news: then it says that its sender has more of the content than before.
    fn is_held(&self, package: PackageId, note: &[u8]) -> bool {
        let history = self.parts.histories.package(package).ok().flatten();
        history.is_some_and(|history| history.evidence.heads().any(|head| head.note() == note))
    }

    /// A sibling tells of a package that this device does not keep. One that no device of the identity wrote to is none of its
    /// packages.
    async fn on_told_of(&mut self, peer: Peer, package: PackageId, note: &[u8]) {
        if !self.siblings.contains(&peer) {
            return;
        }
        let Ok(head) = Head::verify(note) else { return };
        let (origin, size) = (*head.origin(), head.size());
        if origin.subject == Subject::Package(package)
            && own::is_ours(&self.parts, &origin)
            && !self.holds(&origin, size)
        {
            self.told.hear(peer, package, (origin, size));
            self.ask_for_told().await;
        }
    }

    /// Whether a peer may learn what is kept here, all of it. Who came by itself from far away may when it writes some of it.
    fn may_know(&self, peer: Peer) -> bool {
        let writes = |package: &PackageId| {
            let history = self.parts.histories.package(*package).ok().flatten();
            history.is_some_and(|history| history.evidence.heads().any(|head| head.origin().key == peer))
        };
        !self.callers.contains(&peer) || self.kept.iter().any(writes)
    }

    fn holds(&self, origin: &Origin, size: u64) -> bool {
        self.parts.histories.journal().truth().head(origin).is_some_and(|held| held.size >= size)
    }

    /// Asks for what siblings told of, as much as may be at a time.
    async fn ask_for_told(&mut self) {
        while let Some((peer, package, (origin, size))) = self.told.next() {
            let has_room = || self.parts.histories.is_known(package) || own::has_room(&self.parts, &origin.key);
            // Another one may have brought it meanwhile.
            if !self.siblings.contains(&peer) || self.holds(&origin, size) || !has_room() {
                self.told.answered(peer, &package);
                continue;
            }
            if !self.kept.contains(&package) {
                self.tells.unasked.add(package);
            }
            let (reply, answered) = oneshot::channel();
            self.tell(package, Message::Told { peer, reply });
            let heard = self.heard_in.clone();
            self.tasks.spawn(until(self.stop.clone(), async move {
                // Its task may have ended without an answer.
                drop(answered.await);
                drop(heard.send(Heard::Answered { peer, package }).await);
            }));
        }
    }

    async fn on_ended(&mut self, peer: Peer, serial: u64, why: Option<Failure>) {
        if let Some(failure) = why {
            ask::count(&self.net, peer, failure).await;
        }
        let Some(watch) = self.watches.get_mut(&peer).filter(|watch| watch.serial == serial) else { return };
        tracing::debug!(peer = peer.fmt_short(), ?why, "a watch ended");
        let lived = watch.open.take().map(|(since, _)| since.elapsed());
        watch.n_ends = if lived.is_some_and(|lived| lived >= LONG) { 1 } else { watch.n_ends.saturating_add(1) };
        let wait = AGAIN.saturating_mul(1 << watch.n_ends.min(16).saturating_sub(1)).min(AGAIN_MOST);
        match watch.opening.take() {
            // Who does not push can still be asked.
            Some((packages, _)) => self.ask_heads(peer, packages).await,
            // What is pushed from now on until the next watch is missed: all heads are asked for then.
            None => watch.asked.clear(),
        }
        if why == Some(Failure::Unsupported) {
            return;
        }
        let heard = self.heard_in.clone();
        self.tasks.spawn(until(self.stop.clone(), async move {
            tokio::time::sleep(wait).await;
            drop(heard.send(Heard::Again { peer, serial }).await);
        }));
    }

    /// Asks for the heads of those packages whose past the peer was not asked for yet.
    async fn ask_heads(&mut self, peer: Peer, packages: BTreeSet<PackageId>) {
        let Some(watch) = self.watches.get_mut(&peer) else { return };
        let asked = std::mem::replace(&mut watch.asked, packages.clone());
        for package in
            packages.difference(&asked).filter(|package| self.kept.contains(package)).copied().collect::<Vec<_>>()
        {
            self.tell(package, Message::input(Input::PeerUp(peer)));
        }
    }
}

pub(super) async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Passes on what a peer pushes; tells why it ended, if not in order.
async fn pass_on(
    net: &Net,
    peer: Peer,
    packages: Vec<PackageId>,
    serial: u64,
    heard: &mpsc::Sender<Heard>,
) -> Option<Failure> {
    let mut stream = match ask::watch(net, peer, packages).await {
        Ok(stream) => stream,
        Err(failure) => return Some(failure),
    };
    let mut notes = Bucket::new(NOTES, NOTES_PER_S, Instant::now());
    let mut news = Heard::Open { peer, serial };
    while heard.send(news).await.is_ok() {
        while !notes.take(Instant::now()) {
            tokio::time::sleep(notes.wait(Instant::now())).await;
        }
        news = match ask::notice(&mut stream).await {
            Ok(Some((package, note))) => Heard::Note { peer, package, note },
            Ok(None) => return None,
            Err(failure) => return Some(failure),
        };
    }
    None
}
