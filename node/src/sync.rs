//! Keeping up with peers: one task for each package that somebody cares about, and a hub that brings them peers and news.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use syncra_protocol::id::PackageId;
use syncra_protocol::limits::WATCHED_PACKAGES;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::Input;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::flow::Parts;
use crate::net::{Net, NetEvent};

pub mod ask;
pub mod fetch;
mod follow;

pub use follow::Refreshed;

use follow::{Message, Report, Task};

/// Commands that may wait for the hub.
const MAILBOX: usize = 64;
/// Reports of tasks that may wait for the hub.
const REPORTS: usize = 256;

/// A handle on the hub.
#[derive(Debug, Clone)]
pub struct Sync {
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Refresh { package: PackageId, peers: Option<Vec<Peer>>, reply: oneshot::Sender<Refreshed> },
    Keep { package: PackageId },
}

/// The hub has ended, and with it the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Ended;

impl Sync {
    /// Asks `peers`, by default everybody connected, about a package, and waits until everything that they offered is
    /// verified and stored, or refused.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn refresh(&self, package: PackageId, peers: Option<Vec<Peer>>) -> Result<Refreshed, Ended> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Refresh { package, peers, reply }).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Keeps a package up to date from now on.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn keep(&self, package: PackageId) -> Result<(), Ended> {
        self.commands.send(Command::Keep { package }).await.map_err(|_| Ended)
    }
}

/// Starts the hub as a task of `tasks`.
pub fn start(parts: Arc<Parts>, net: Net, stop: CancellationToken, tasks: &mut JoinSet<()>) -> Sync {
    let (commands, mailbox) = mpsc::channel(MAILBOX);
    let (reports_in, reports) = mpsc::channel(REPORTS);
    let (notices_in, notices) = mpsc::channel(REPORTS);
    let hub = Hub {
        parts,
        net,
        stop,
        reports_in,
        notices_in,
        running: BTreeMap::new(),
        kept: BTreeSet::new(),
        tasks: JoinSet::new(),
        peers: BTreeSet::new(),
        watches: BTreeMap::new(),
    };
    tasks.spawn(hub.run(mailbox, reports, notices));
    Sync { commands }
}

/// A note that a peer pushed, or the end of its watch.
struct Notice {
    peer: Peer,
    package: PackageId,
    note: Vec<u8>,
}

struct Hub {
    parts: Arc<Parts>,
    net: Net,
    stop: CancellationToken,
    reports_in: mpsc::Sender<Report>,
    notices_in: mpsc::Sender<Notice>,
    running: BTreeMap<PackageId, mpsc::Sender<Message>>,
    /// Packages that stay up to date; the others end once they have answered.
    kept: BTreeSet<PackageId>,
    tasks: JoinSet<()>,
    peers: BTreeSet<Peer>,
    /// One watch stream towards each peer.
    watches: BTreeMap<Peer, CancellationToken>,
}

impl Hub {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Command>,
        mut reports: mpsc::Receiver<Report>,
        mut notices: mpsc::Receiver<Notice>,
    ) {
        let stop = self.stop.clone();
        let mut events = self.net.events();
        self.begin().await;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(report) = reports.recv() => self.on_report(report),
                Some(_) = self.tasks.join_next() => {}
                event = events.recv() => self.on_net(event).await,
                Some(notice) = notices.recv() => self.on_notice(notice).await,
                command = mailbox.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => break,
                },
            }
        }
        self.running.clear();
        self.tasks.shutdown().await;
    }

    /// What was known when the node started is kept up to date.
    async fn begin(&mut self) {
        self.kept.extend(self.parts.histories.packages());
        for peer in self.net.peers().await.unwrap_or_default() {
            self.on_peer(peer.key).await;
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Keep { package } => {
                if self.kept.insert(package) {
                    self.watch_all();
                }
                for peer in self.peers.clone() {
                    self.tell(package, Message::input(Input::PeerUp(peer))).await;
                }
            }
            Command::Refresh { package, peers, reply } => {
                let peers = match peers {
                    Some(peers) => peers,
                    // Not our own list: a connection that was just made may not have been heard of here.
                    None => self.net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).collect(),
                };
                self.tell(package, Message::Refresh { peers, reply }).await;
            }
        }
    }

    /// Sends to the task of a package, which begins if there is none.
    async fn tell(&mut self, package: PackageId, message: Message) {
        let mailbox = match self.running.get(&package) {
            Some(mailbox) if !mailbox.is_closed() => mailbox.clone(),
            _ => {
                let (mailbox, inbox) = mpsc::channel(follow::MAILBOX);
                let task = Task::new(Arc::clone(&self.parts), self.net.clone(), package, self.reports_in.clone());
                self.tasks.spawn(task.run(inbox, self.stop.clone()));
                self.running.insert(package, mailbox.clone());
                mailbox
            }
        };
        // A task that has just ended drops the message; whoever waits for its answer is told so.
        drop(mailbox.send(message).await);
        if !self.kept.contains(&package) {
            self.running.remove(&package);
        }
    }

    async fn on_net(&mut self, event: Result<NetEvent, broadcast::error::RecvError>) {
        match event {
            Ok(NetEvent::Connected { peer }) => self.on_peer(peer).await,
            Ok(NetEvent::Disconnected { peer }) => self.on_peer_gone(peer).await,
            Ok(_) => {}
            Err(_) => {
                // Events were missed: take the list of peers as it is.
                let connected: BTreeSet<Peer> =
                    self.net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).collect();
                for peer in self.peers.difference(&connected).copied().collect::<Vec<_>>() {
                    self.on_peer_gone(peer).await;
                }
                for peer in connected {
                    self.on_peer(peer).await;
                }
            }
        }
    }

    async fn on_peer(&mut self, peer: Peer) {
        if !self.peers.insert(peer) {
            return;
        }
        self.parts.emit(Event::PeerConnected { peer: peer.to_string() });
        for package in self.kept.clone() {
            self.tell(package, Message::input(Input::PeerUp(peer))).await;
        }
        self.watch(peer);
    }

    async fn on_peer_gone(&mut self, peer: Peer) {
        if !self.peers.remove(&peer) {
            return;
        }
        self.parts.emit(Event::PeerDisconnected { peer: peer.to_string() });
        if let Some(watch) = self.watches.remove(&peer) {
            watch.cancel();
        }
        for package in self.running.keys().copied().collect::<Vec<_>>() {
            self.tell(package, Message::input(Input::PeerGone(peer))).await;
        }
    }

    async fn on_notice(&mut self, notice: Notice) {
        let Notice { peer, package, note } = notice;
        if self.kept.contains(&package) {
            self.tell(package, Message::input(Input::Notice { peer, note })).await;
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Updated(package, changes) => {
                let n_releases = changes.releases.len();
                self.parts.emit(Event::PackageUpdated { package_id: package.to_string(), n_releases });
            }
            Report::Fault(package, peer, fault) => {
                let fault = describe(&fault);
                self.parts.emit(Event::PeerFault { package_id: package.to_string(), peer: peer.to_string(), fault });
            }
        }
    }

    fn watch_all(&mut self) {
        for peer in self.peers.clone() {
            self.watch(peer);
        }
    }

    /// (Re-)opens the watch towards a peer over all kept packages.
    fn watch(&mut self, peer: Peer) {
        let stop = self.stop.child_token();
        if let Some(old) = self.watches.insert(peer, stop.clone()) {
            old.cancel();
        }
        let packages: Vec<PackageId> = self.kept.iter().copied().take(WATCHED_PACKAGES).collect();
        if packages.is_empty() {
            return;
        }
        let (net, notices) = (self.net.clone(), self.notices_in.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = pass_on(&net, peer, packages, notices) => {}
            }
        });
    }
}

/// Passes on what a peer pushes until either side ends it.
async fn pass_on(net: &Net, peer: Peer, packages: Vec<PackageId>, notices: mpsc::Sender<Notice>) {
    let mut stream = match ask::watch(net, peer, packages).await {
        Ok(stream) => stream,
        Err(failure) => return tracing::debug!(peer = peer.fmt_short(), ?failure, "no watch"),
    };
    loop {
        match ask::notice(&mut stream).await {
            Ok(Some((package, note))) => {
                if notices.send(Notice { peer, package, note }).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(failure) => return tracing::debug!(peer = peer.fmt_short(), ?failure, "a watch ended"),
        }
    }
}

/// A fault in a word, for events and people.
#[must_use]
pub fn describe(fault: &syncra_protocol::sync::follow::Fault) -> String {
    use syncra_protocol::sync::follow::Fault;
    match fault {
        Fault::Rollback { held, offered, .. } => {
            format!("offered an older log: {offered} entries, {held} are held")
        }
        Fault::Fork(_) => "brought proof that the log's key signed two histories".to_owned(),
        Fault::BadGenesis => "sent another Genesis entry".to_owned(),
        Fault::BadNote => "sent a note that does not verify".to_owned(),
        Fault::BadProof { .. } => "sent entries that do not lead to the signed root".to_owned(),
        Fault::BadEntry { error, .. } => format!("brought a log that begins wrongly: {error}"),
        Fault::Oversized => "sent more bytes than allowed".to_owned(),
        Fault::Malformed => "sent what is no message".to_owned(),
        Fault::Stalled { .. } => "did not answer in time".to_owned(),
    }
}
