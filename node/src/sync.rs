//! Keeping up with peers: one task for each package that somebody cares about, and a hub that brings them peers and news.
//!
//! Kept up to date are, as far as one watch has room, the packages that are followed, written here, installed, or this
//! device's identity's; the rest is asked for when somebody wants to know. A peer's watch is opened first and its heads are asked for then, so
//! that nothing falls between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use syncra_protocol::id::PackageId;
use syncra_protocol::limits::WATCHED_PACKAGES;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Fault, Input};
use syncra_protocol::sync::omission::Omission;
use syncra_protocol::sync::score::Deed;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, EventFrame};
use crate::flow::{Parts, own};
use crate::history::Change;
use crate::net::address::{Scope, is_relayed, scope};
use crate::net::{Direction, Net, NetEvent, PeerInfo};

pub mod ask;
pub mod fetch;
mod follow;
mod gossip;
mod mailboxes;
mod reviews;
mod told;
mod unasked;
mod watch;

pub use follow::{Refreshed, Wait};

use follow::{Message, Report, Tells};
use mailboxes::Mailboxes;
use reviews::Reviews;
use told::Told;
use watch::{Heard, Watch};

/// Commands that may wait for the hub.
const MAILBOX: usize = 64;
/// Reports of tasks that may wait for the hub.
const REPORTS: usize = 256;

/// A handle on the hub.
#[derive(Debug, Clone)]
pub struct Sync {
    commands: mpsc::Sender<Command>,
    arrivals: broadcast::Sender<PackageId>,
    tells: Tells,
}

#[derive(Debug)]
enum Command {
    Refresh { package: PackageId, peers: Option<Vec<Peer>>, wait: Wait, reply: oneshot::Sender<Refreshed> },
}

/// Older heads that are remembered, of all peers.
const STALE_HEADS: usize = 4_096;

/// The hub has ended, and with it the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Ended;

impl Sync {
    /// Hears of packages of which a peer has content that it had not before.
    #[must_use]
    pub fn arrivals(&self) -> broadcast::Receiver<PackageId> {
        self.arrivals.subscribe()
    }

    /// Newer heads that a peer has left out, of this run.
    #[must_use]
    pub fn omissions(&self, peer: Peer) -> Vec<Omission> {
        self.tells.omissions().of(peer).collect()
    }

    /// Asks `peers`, by default everybody connected, about a package, and waits until everything that they offered is
    /// verified and stored, or refused; not for those who take much longer than others.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn refresh(&self, package: PackageId, peers: Option<Vec<Peer>>) -> Result<Refreshed, Ended> {
        self.ask(package, peers, Wait::ForSome).await
    }

    /// The same, and waits for whom it says.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn ask(&self, package: PackageId, peers: Option<Vec<Peer>>, wait: Wait) -> Result<Refreshed, Ended> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Refresh { package, peers, wait, reply }).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

#[cfg(test)]
impl Sync {
    /// Whether only so much is taken in of a package, because nobody here asked for it.
    pub(crate) fn is_unasked(&self, package: &PackageId) -> bool {
        self.tells.unasked.contains(package)
    }
}

/// Starts the hub as a task of `tasks`.
pub fn start(parts: Arc<Parts>, net: Net, stop: CancellationToken, tasks: &mut JoinSet<()>) -> Sync {
    let (commands, mailbox) = mpsc::channel(MAILBOX);
    let (reports_in, reports) = mpsc::channel(REPORTS);
    let tells = Tells { reports: reports_in, omissions: Arc::default(), unasked: Arc::default() };
    let (heard_in, heard) = mpsc::channel(REPORTS);
    let arrivals = broadcast::Sender::new(REPORTS);
    let incidents = parts.incidents.clone();
    if let Some(notices) = net.notices() {
        let notices = Arc::new(Mutex::new(notices));
        let (parts, net, heard_in, token) = (Arc::clone(&parts), net.clone(), heard_in.clone(), stop.clone());
        let begin =
            move || gossip::run(Arc::clone(&parts), net.clone(), heard_in.clone(), Arc::clone(&notices), token.clone());
        tasks.spawn(incidents.clone().keep_running("gossip", stop.clone(), begin));
    }
    let inboxes = Arc::new(Mutex::new(Inboxes { mailbox, reports, heard }));
    let (token, arrived, of_hub) = (stop.clone(), arrivals.clone(), tells.clone());
    let begin = move || {
        let hub = Hub::new(&parts, &net, &token, &of_hub, &heard_in, &arrived);
        let inboxes = Arc::clone(&inboxes);
        async move { hub.run(&mut *inboxes.lock().await).await }
    };
    tasks.spawn(incidents.keep_running("hub", stop, begin));
    Sync { commands, arrivals, tells }
}

struct Hub {
    parts: Arc<Parts>,
    net: Net,
    stop: CancellationToken,
    tells: Tells,
    heard_in: mpsc::Sender<Heard>,
    arrivals: broadcast::Sender<PackageId>,
    running: Mailboxes,
    /// Packages that stay up to date; the others end once they have answered.
    kept: BTreeSet<PackageId>,
    /// The other devices of this device's identity: they tell of packages of it that are not known here.
    siblings: BTreeSet<Peer>,
    /// What they told of.
    told: Told,
    reviews: Reviews,
    tasks: JoinSet<()>,
    peers: BTreeSet<Peer>,
    /// Those among them who came by themselves from far away: nobody here chose to tell them anything.
    callers: BTreeSet<Peer>,
    /// Where among them the next are that are asked for what a notice promises.
    n_others_asked: usize,
    /// One watch towards each peer.
    watches: BTreeMap<Peer, Watch>,
    /// Older heads that were counted against a peer: one that lags is asked again and again, and lags once.
    stale: BTreeMap<(Peer, Origin), u64>,
}

/// What is told the hub; outlives a hub that panicked.
struct Inboxes {
    mailbox: mpsc::Receiver<Command>,
    reports: mpsc::Receiver<Report>,
    heard: mpsc::Receiver<Heard>,
}

impl Hub {
    fn new(
        parts: &Arc<Parts>,
        net: &Net,
        stop: &CancellationToken,
        tells: &Tells,
        heard_in: &mpsc::Sender<Heard>,
        arrivals: &broadcast::Sender<PackageId>,
    ) -> Self {
        Self {
            parts: Arc::clone(parts),
            net: net.clone(),
            stop: stop.clone(),
            tells: tells.clone(),
            heard_in: heard_in.clone(),
            arrivals: arrivals.clone(),
            running: Mailboxes::default(),
            kept: BTreeSet::new(),
            siblings: BTreeSet::new(),
            told: Told::default(),
            reviews: Reviews::default(),
            tasks: JoinSet::new(),
            peers: BTreeSet::new(),
            callers: BTreeSet::new(),
            n_others_asked: 0,
            watches: BTreeMap::new(),
            stale: BTreeMap::new(),
        }
    }

    async fn run(mut self, inboxes: &mut Inboxes) {
        let Inboxes { mailbox, reports, heard } = inboxes;
        let stop = self.stop.clone();
        let mut events = self.net.events();
        let mut happened = self.parts.events.subscribe(None);
        let (mut changes, mut identities) = (self.parts.histories.changes(), self.parts.identities());
        self.begin().await;
        loop {
            let (review, catch_up) = (self.reviews.due(), self.running.catch_up_at());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = due(review) => self.review(),
                () = due(catch_up) => self.running.catch_up(&self.peers.iter().copied().collect::<Vec<_>>()),
                Some(report) = reports.recv() => self.on_report(report).await,
                Some(_) = self.tasks.join_next() => {}
                event = events.recv() => self.on_net(event).await,
                Some(heard) = heard.recv() => self.on_heard(heard).await,
                frame = happened.next() => self.on_event(&frame),
                change = changes.recv() => self.on_change(change.ok().as_ref()),
                Ok(()) = identities.changed() => self.reviews.ask(Instant::now()),
                command = mailbox.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => break,
                },
            }
        }
        self.running.clear();
        self.tasks.shutdown().await;
    }

    async fn begin(&mut self) {
        self.review();
        for peer in self.net.peers().await.unwrap_or_default() {
            self.on_peer(&peer);
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Refresh { package, peers, wait, reply } => {
                let peers = match peers {
                    Some(peers) => peers,
                    // Not our own list: a connection that was just made may not have been heard of here.
                    None => self.net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).collect(),
                };
                self.tell(package, Message::Refresh { peers, wait, reply });
            }
        }
    }

    /// Sends to the task of a package, which begins if there is none.
    fn tell(&mut self, package: PackageId, message: Message) {
        let mailbox = self.running.of(&package).unwrap_or_else(|| {
            let (mailbox, inbox) = mpsc::channel(follow::MAILBOX);
            let (parts, net, tells) = (Arc::clone(&self.parts), self.net.clone(), self.tells.clone());
            self.tasks.spawn(follow::keep_following(parts, net, package, tells, inbox, self.stop.clone()));
            self.running.add(package, mailbox.clone());
            mailbox
        });
        match mailbox.try_send(message) {
            // A task that has just ended drops the message; whoever waits for its answer is told so.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(Message::Input(_) | Message::Connected(_))) => self.running.missed(package),
            // Somebody waits for the answer, and may wait for room too.
            Err(TrySendError::Full(asked @ (Message::Refresh { .. } | Message::Told { .. }))) => {
                self.tasks.spawn(watch::until(self.stop.clone(), async move { drop(mailbox.send(asked).await) }));
            }
        }
        if !self.kept.contains(&package) {
            self.running.remove(&package);
        }
    }

    async fn on_net(&mut self, event: Result<NetEvent, broadcast::error::RecvError>) {
        match event {
            Ok(NetEvent::Connected { peer }) => {
                // One that is gone again is told of by another event.
                let connected = self.net.peers().await.unwrap_or_default();
                if let Some(peer) = connected.iter().find(|connected| connected.key == peer) {
                    self.on_peer(peer);
                }
            }
            Ok(NetEvent::Disconnected { peer }) => self.on_peer_gone(peer).await,
            Ok(_) => {}
            Err(_) => {
                // Events were missed: take the list of peers as it is.
                let connected = self.net.peers().await.unwrap_or_default();
                let keys: BTreeSet<Peer> = connected.iter().map(|peer| peer.key).collect();
                for peer in self.peers.difference(&keys).copied().collect::<Vec<_>>() {
                    self.on_peer_gone(peer).await;
                }
                for peer in &connected {
                    self.on_peer(peer);
                }
            }
        }
    }

    fn on_peer(&mut self, peer: &PeerInfo) {
        if !self.peers.insert(peer.key) {
            return;
        }
        self.parts.emit(Event::PeerConnected { peer: peer.key.to_string() });
        if is_caller(peer) {
            self.callers.insert(peer.key);
        }
        self.watch(peer.key);
    }

    /// What is followed, written or installed may be another set now.
    fn on_event(&mut self, frame: &EventFrame) {
        match frame.event {
            Event::Followed { .. }
            | Event::Unfollowed { .. }
            | Event::RegardChanged { .. }
            | Event::Published { .. }
            | Event::GenerationChanged { .. }
            | Event::Resync => self.reviews.ask(Instant::now()),
            _ => {}
        }
    }

    /// What this device's identity says it owns, and who speaks for it, may be others now; so may be what its devices wrote to.
    fn on_change(&mut self, change: Option<&Change>) {
        let concerns = |change: &Change| match change.head.origin() {
            Origin { subject: Subject::Identity(identity), .. } => *identity == self.parts.identity(),
            origin @ Origin { subject: Subject::Package(package), .. } => {
                !self.kept.contains(package) && own::is_ours(&self.parts, origin)
            }
        };
        if change.is_none_or(concerns) {
            self.reviews.ask(Instant::now());
        }
    }

    fn review(&mut self) {
        let had: BTreeSet<PackageId> = had(&self.parts).into_iter().collect();
        let mut unasked = own::all_of_siblings(&self.parts);
        unasked.extend(self.told.asked());
        unasked.retain(|package| !had.contains(package));
        self.tells.unasked.are(&unasked);
        let kept = kept(&self.parts);
        let siblings = own::siblings(&self.parts);
        for package in self.kept.difference(&kept) {
            // The task ends once it has answered what it was asked.
            self.running.remove(package);
        }
        let is_other = kept != self.kept;
        let changed: BTreeSet<Peer> = siblings.symmetric_difference(&self.siblings).copied().collect();
        (self.kept, self.siblings) = (kept, siblings);
        self.reviews.taken(Instant::now(), is_other);
        for peer in self.peers.clone() {
            if is_other || changed.contains(&peer) {
                self.watch(peer);
            }
        }
    }

    async fn on_peer_gone(&mut self, peer: Peer) {
        if !self.peers.remove(&peer) {
            return;
        }
        self.parts.emit(Event::PeerDisconnected { peer: peer.to_string() });
        self.watches.remove(&peer);
        self.callers.remove(&peer);
        self.told.forget(peer);
        for package in self.running.packages() {
            self.tell(package, Message::input(Input::PeerGone(peer)));
        }
    }

    async fn on_report(&mut self, report: Report) {
        match report {
            Report::Updated(package, changes) => {
                let n_releases = changes.releases.len();
                self.parts.emit(Event::PackageUpdated { package_id: package.to_string(), n_releases });
            }
            Report::Fault(package, peer, fault) => {
                if let Some(deed) = deed(&fault).filter(|_| self.is_new(peer, &fault)) {
                    // Only a stopping network does not count it.
                    let _ = self.net.report(peer, deed).await;
                }
                let fault = describe(&fault);
                self.parts.emit(Event::PeerFault { package_id: package.to_string(), peer: peer.to_string(), fault });
            }
        }
    }
}

impl Hub {
    /// Whether a fault is another one than what was counted before.
    fn is_new(&mut self, peer: Peer, fault: &Fault) -> bool {
        let Fault::Rollback { origin, offered, .. } = fault else { return true };
        if self.stale.len() >= STALE_HEADS {
            self.stale.clear();
        }
        self.stale.insert((peer, *origin), *offered) != Some(*offered)
    }
}

/// Whether a peer came by itself, and from far away.
fn is_caller(peer: &PeerInfo) -> bool {
    let is_far = |address| is_relayed(address) || scope(address) == Scope::Public;
    peer.direction == Direction::Inbound && peer.addresses.iter().all(is_far)
}

/// Ends then; never without a time.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The packages that stay up to date: what is to be had here, then the others of this device's identity, in this order while
/// a watch has room.
fn kept(parts: &Parts) -> BTreeSet<PackageId> {
    bounded(had(parts).into_iter().chain(own::of_siblings(parts)))
}

/// The packages that are to be had here: followed, written here, installed, in this order while a watch has room.
pub(crate) fn provided(parts: &Parts) -> BTreeSet<PackageId> {
    bounded(had(parts))
}

fn had(parts: &Parts) -> Vec<PackageId> {
    let mut wanted: Vec<PackageId> = Vec::new();
    wanted.extend(parts.histories.journal().truth().follows().map(|(package, _)| *package));
    wanted.extend(own::written(parts));
    match parts.installed.current() {
        Ok(generation) => wanted.extend(generation.packages.keys()),
        Err(error) => tracing::warn!(%error, "what is installed gets no news by itself"),
    }
    wanted
}

fn bounded(wanted: impl IntoIterator<Item = PackageId>) -> BTreeSet<PackageId> {
    let mut kept = BTreeSet::new();
    for package in wanted {
        if kept.len() == WATCHED_PACKAGES && !kept.contains(&package) {
            tracing::warn!(
                limit = WATCHED_PACKAGES,
                "more packages than a watch has room for: `update` asks for the rest"
            );
            break;
        }
        kept.insert(package);
    }
    kept
}

/// What a fault says about the peer; nothing where the log's writer is to blame.
const fn deed(fault: &Fault) -> Option<Deed> {
    match fault {
        Fault::BadGenesis | Fault::BadNote | Fault::BadProof { .. } => Some(Deed::Forged),
        Fault::Oversized | Fault::Malformed => Some(Deed::Malformed),
        Fault::Stalled { .. } => Some(Deed::Stalled),
        Fault::Rollback { .. } => Some(Deed::Stale),
        Fault::Fork(_) | Fault::BadEntry { .. } => None,
    }
}

/// A fault in a word, for events and people.
#[must_use]
pub fn describe(fault: &Fault) -> String {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use syncra_protocol::key::DeviceSecret;

    use super::*;
    use crate::net::TransportKind;

    #[test]
    fn who_came_from_far_away_was_chosen_by_nobody_here() {
        let peer = |direction, addresses: &[&str]| PeerInfo {
            key: DeviceSecret::from_seed(&[1; 32]).public(),
            addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
            transport: TransportKind::Tcp,
            direction,
            is_relayed: false,
            is_contact: false,
            connected_for: Duration::ZERO,
            agent: String::new(),
            protocols: Vec::new(),
            rtt: None,
            received_bytes: 0,
            sent_bytes: 0,
            n_streams: 0,
            points: 0,
            is_poor: false,
            last_fault: None,
        };
        let (far, near) = ("/ip4/198.51.100.7/tcp/1", "/ip4/192.168.0.7/tcp/1");
        let relayed = format!("{near}/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X/p2p-circuit");
        assert!(is_caller(&peer(Direction::Inbound, &[far])));
        assert!(is_caller(&peer(Direction::Inbound, &[&relayed])));
        assert!(!is_caller(&peer(Direction::Inbound, &[far, near])), "a neighbour too");
        assert!(!is_caller(&peer(Direction::Inbound, &[near])));
        assert!(!is_caller(&peer(Direction::Outbound, &[far])), "this node dialled it");
    }
}
