//! The task between the gossip of head notices and the histories: it drives [`Notices`] and does what that decides.
//!
//! A notice goes one way: network → judged here → the hub → a package's `Follower` → its entries become durable → a change
//! of the histories, which comes back here and is what lets the notice go on to the next node.

use std::sync::Arc;

use syncra_protocol::Timestamp;
use syncra_protocol::id::{IdentityId, PackageId};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::Input;
use syncra_protocol::sync::gossip::{Bringer, Effect, Known, Notices, Rejected, Verdict};
use syncra_protocol::sync::score::Deed;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::follow::Message;
use super::watch::Heard;
use crate::clock::steady;
use crate::flow::Parts;
use crate::net::{Net, Notice, Settled, Stopped, Ticket};

/// Peers asked for what a notice promises when its bringer does not deliver.
const OTHERS_ASKED: usize = 4;
/// Packages looked through for one whose owner has news.
const OWNERS_LOOKED_THROUGH: usize = 256;

/// Judges what is gossiped until `stop`; `heard` is the hub, `notices` outlive a run that panicked.
pub(super) async fn run(
    parts: Arc<Parts>,
    net: Net,
    heard: mpsc::Sender<Heard>,
    notices: Arc<Mutex<mpsc::Receiver<Notice>>>,
    stop: CancellationToken,
) {
    let gossip = Gossip { parts, net, heard, notices: Notices::new() };
    let mut notices = notices.lock().await;
    tokio::select! {
        () = stop.cancelled() => {}
        // The network has ended, and with it the node.
        _ = gossip.work(&mut notices) => {}
    }
}

struct Gossip {
    parts: Arc<Parts>,
    net: Net,
    heard: mpsc::Sender<Heard>,
    notices: Notices<Ticket>,
}

impl Gossip {
    async fn work(mut self, notices: &mut mpsc::Receiver<Notice>) -> Result<(), Stopped> {
        let mut changes = self.parts.histories.changes();
        loop {
            let wake = self.notices.next_timeout(steady());
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => self.notices.grown(steady(), &change.head),
                    // What was missed is passed on by others, or found by whoever asks.
                    Err(RecvError::Lagged(n)) => tracing::debug!(n, "changes were missed and are not gossiped"),
                    Err(RecvError::Closed) => return Ok(()),
                },
                notice = notices.recv() => match notice {
                    Some(notice) => self.on_notice(notice).await?,
                    None => return Ok(()),
                },
                () = sleep_until(wake) => self.notices.handle_timeout(steady()),
            }
            while let Some(effect) = self.notices.poll_effect() {
                self.perform(effect).await?;
            }
        }
    }

    async fn on_notice(&mut self, notice: Notice) -> Result<(), Stopped> {
        let Notice { peer, note, ticket, is_heeded } = notice;
        let parts = &self.parts;
        let (bringer, known) = (Bringer { peer, is_heeded }, |head: &Head| known(parts, head));
        let verdict = self.notices.judge(steady(), bringer, &note, ticket.clone(), known);
        tracing::debug!(peer = peer.fmt_short(), ?verdict, "a notice was passed on to us");
        if matches!(verdict, Verdict::Ignore(_) | Verdict::Reject(_)) {
            self.net.settle(ticket, Settled::Drop).await?;
        }
        match deed(verdict) {
            Some(deed) => self.net.report(peer, deed).await,
            None => Ok(()),
        }
    }

    async fn perform(&self, effect: Effect<Ticket>) -> Result<(), Stopped> {
        match effect {
            // The hub ends before this only when everything ends.
            Effect::Ask { peer, head } => drop(self.heard.send(Heard::Told { peer, head }).await),
            Effect::Forward(ticket) => self.net.settle(ticket, Settled::Forward).await?,
            Effect::Drop(ticket) => self.net.settle(ticket, Settled::Drop).await?,
            Effect::Publish(head) if is_public(&self.parts, &head) => self.net.announce(head.note().to_vec()).await?,
            Effect::Publish(_) => {}
            Effect::Delivered(peer) => self.net.report(peer, Deed::Delivered).await?,
            Effect::Failed(peer) => self.net.report(peer, Deed::Stalled).await?,
            Effect::Overdrew(peer) => self.net.report(peer, Deed::Spam).await?,
        }
        Ok(())
    }
}

/// What a verdict says about the peer; nothing where others are to blame, or nobody.
fn deed(verdict: Verdict) -> Option<Deed> {
    match verdict {
        Verdict::Reject(Rejected::NoNote) => Some(Deed::Forged),
        Verdict::Reject(Rejected::TooLong | Rejected::NotBare) => Some(Deed::Malformed),
        Verdict::Ignore(_) | Verdict::News | Verdict::Later | Verdict::Contradiction => None,
    }
}

/// How a head compares with what is held of its log.
fn known(parts: &Parts, head: &Head) -> Known {
    let origin = head.origin();
    if parts.histories.journal().truth().fork_proof(origin).is_some() {
        return Known::Frozen;
    }
    let held = match origin.subject {
        Subject::Package(package) => known_package(parts, package, origin, head),
        Subject::Identity(_) => parts.histories.log(origin).map(|log| log.map(|(log, _)| log.compare(head))),
    };
    match held {
        Ok(standing) => standing.map_or(Known::No, Known::Yes),
        Err(error) => {
            tracing::warn!(%origin, %error, "what is held of a log cannot be read");
            Known::No
        }
    }
}

type Standing = syncra_protocol::log::Standing;

fn known_package(
    parts: &Parts,
    package: PackageId,
    origin: &Origin,
    head: &Head,
) -> Result<Option<Standing>, crate::history::LoadError> {
    let Some(history) = parts.histories.package(package)? else { return Ok(None) };
    if parts.is_blocked(&history.state) {
        return Ok(None);
    }
    let evidence = &history.evidence;
    Ok(match evidence.log(origin) {
        Some(log) => Some(log.compare(head)),
        None => evidence.wants(origin).then_some(Standing::Ahead { from: 0 }),
    })
}

/// Whether peers may hear of a log: not of blocked packages.
fn is_public(parts: &Parts, head: &Head) -> bool {
    match head.origin().subject {
        Subject::Package(package) => {
            matches!(parts.histories.package(package), Ok(Some(history)) if !parts.is_blocked(&history.state))
        }
        Subject::Identity(_) => true,
    }
}

async fn sleep_until(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(steady())).await,
        None => std::future::pending().await,
    }
}

impl Hub {
    /// Asks the bringer of a notice for what it promises, or some others.
    pub(super) async fn on_told(&mut self, peer: Option<Peer>, head: &Head) {
        let package = match head.origin().subject {
            Subject::Package(package) => Some(package),
            Subject::Identity(identity) => self.package_of(identity),
        };
        let Some(package) = package else { return };
        let peers: Vec<Peer> = match peer {
            Some(peer) => vec![peer],
            None => self.some_others(),
        };
        for peer in peers {
            let note = head.note().to_vec();
            self.tell(package, Message::input(Input::Told { peer, note }));
        }
    }

    /// Some peers, others each time: the first may be those who stay silent.
    fn some_others(&mut self) -> Vec<Peer> {
        let from = self.n_others_asked % self.peers.len().max(1);
        self.n_others_asked = from + OTHERS_ASKED;
        let n = OTHERS_ASKED.min(self.peers.len());
        self.peers.iter().cycle().skip(from).take(n).copied().collect()
    }

    /// A package of an owner; what one learns of its owner, all others hear.
    fn package_of(&self, identity: IdentityId) -> Option<PackageId> {
        let all = self.kept.iter().copied().chain(self.parts.histories.packages());
        all.take(OWNERS_LOOKED_THROUGH).find(|package| {
            let history = self.parts.histories.package(*package).ok().flatten();
            history.is_some_and(|history| history.evidence.heeds(&identity))
        })
    }
}
