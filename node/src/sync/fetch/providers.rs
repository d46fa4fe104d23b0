//! Who has the content: everybody connected is asked at once, and whoever connects meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use syncra_protocol::id::ContentRoot;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::fetch::{Haves, Reach};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};

use super::Provider;
use crate::net::address::{Scope, scope};
use crate::net::{Net, NetEvent};
use crate::sync::ask;

/// Peers asked at the same time. Who has been silent for [`SILENCE`] counts no more: a crowd that never answers keeps
/// nobody from being asked.
const ASKED_AT_ONCE: usize = 32;
/// See [`ASKED_AT_ONCE`]: longer than most answers take.
const SILENCE: Duration = Duration::from_millis(250);

/// Peers as they answer.
pub(super) struct Providers {
    net: Net,
    root: ContentRoot,
    events: broadcast::Receiver<NetEvent>,
    asking: FuturesUnordered<BoxFuture<'static, Option<Provider>>>,
    /// When those who count among [`ASKED_AT_ONCE`] were asked, the oldest first.
    lately: VecDeque<Instant>,
    waiting: Vec<Peer>,
    asked: BTreeSet<Peer>,
    /// Answered, and not given up since.
    pub(super) known: Vec<Provider>,
    is_listed: bool,
    is_silent: bool,
}

/// What [`Providers::next`] heard.
pub(super) enum News {
    /// A peer has something.
    Provider(Provider),
    /// A peer is gone.
    Gone(Peer),
    /// Everybody asked has answered. Told once; then only somebody new brings news.
    Silence,
}

impl Providers {
    /// Begins to ask.
    pub(super) fn ask(net: &Net, root: ContentRoot) -> Self {
        Self {
            events: net.events(),
            net: net.clone(),
            root,
            asking: FuturesUnordered::new(),
            lately: VecDeque::new(),
            waiting: Vec::new(),
            asked: BTreeSet::new(),
            known: Vec::new(),
            is_listed: false,
            is_silent: false,
        }
    }

    /// How many peers were asked.
    pub(super) fn n_asked(&self) -> usize {
        self.asked.len()
    }

    /// The next answer or change. Safe to cancel.
    pub(super) async fn next(&mut self) -> News {
        loop {
            if !self.is_listed {
                let mut peers = self.net.peers().await.unwrap_or_default();
                self.is_listed = true;
                // The last is asked first: who has told most so far is likeliest to answer.
                peers.sort_by_key(|peer| peer.received_bytes);
                self.waiting.extend(peers.into_iter().map(|peer| peer.key));
            }
            self.fill();
            if self.asking.is_empty() && !std::mem::replace(&mut self.is_silent, true) {
                return News::Silence;
            }
            let next_place = self.lately.front().filter(|_| !self.waiting.is_empty()).map(|asked| *asked + SILENCE);
            tokio::select! {
                Some(answer) = self.asking.next(), if !self.asking.is_empty() => {
                    // Whoever it was: one that counts makes room.
                    self.lately.pop_back();
                    if let Some(provider) = answer {
                        self.known.push(provider.clone());
                        return News::Provider(provider);
                    }
                }
                () = sleep_until(next_place.unwrap_or_else(Instant::now)), if next_place.is_some() => {}
                event = self.events.recv() => match event {
                    Ok(NetEvent::Connected { peer }) => self.waiting.push(peer),
                    Ok(NetEvent::Disconnected { peer }) => {
                        self.forget(peer);
                        self.asked.remove(&peer);
                        return News::Gone(peer);
                    }
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => self.is_listed = false,
                    // The network ended: nobody will ever answer.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                },
            }
        }
    }

    /// A provider that was not given up; none when everybody has answered and nobody has anything.
    pub(super) async fn first(&mut self) -> Option<Provider> {
        loop {
            if let Some(provider) = self.known.first() {
                return Some(provider.clone());
            }
            if matches!(self.next().await, News::Silence) {
                return None;
            }
        }
    }

    /// Gives a peer up.
    pub(super) fn forget(&mut self, peer: Peer) {
        self.known.retain(|known| known.peer != peer);
    }

    /// Asks everybody again.
    pub(super) fn again(&mut self) {
        self.asked.clear();
        self.known.clear();
        (self.is_listed, self.is_silent) = (false, false);
    }

    fn fill(&mut self) {
        let now = Instant::now();
        while self.lately.front().is_some_and(|asked| *asked + SILENCE <= now) {
            self.lately.pop_front();
        }
        while self.lately.len() < ASKED_AT_ONCE {
            let Some(peer) = self.waiting.pop() else { return };
            if !self.asked.insert(peer) {
                continue;
            }
            self.lately.push_back(now);
            let (net, root) = (self.net.clone(), self.root);
            self.is_silent = false;
            self.asking.push(
                async move {
                    match ask::have(&net, peer, root).await {
                        Ok(answer) => {
                            let parts = u32::try_from(syncra_protocol::message::have::PART_LIMIT).unwrap_or(u32::MAX);
                            // No peer names more parts than its frame has room for.
                            let haves = Haves::of(&answer, parts);
                            Some(Provider { peer, reach: reach(&net, peer).await, haves })
                        }
                        Err(failure) => {
                            tracing::debug!(peer = peer.fmt_short(), ?failure, "does not have it");
                            ask::count(&net, peer, failure).await;
                            None
                        }
                    }
                }
                .boxed(),
            );
        }
    }
}

/// How near the connection is that streams to a peer use.
async fn reach(net: &Net, peer: Peer) -> Reach {
    let peers = net.peers().await.unwrap_or_default();
    let Some(known) = peers.iter().find(|known| known.key == peer) else {
        return Reach::Direct; // gone meanwhile: then nothing is asked of it either
    };
    match known.addresses.first().map(scope) {
        // Who is worth little is asked last, like whoever is far.
        _ if known.is_relayed || known.is_poor => Reach::Relayed,
        Some(Scope::Loopback | Scope::Local) => Reach::Lan,
        Some(Scope::Public) | None => Reach::Direct,
    }
}
