//! The task that owns the swarm. Its loop only dispatches; each arm is a method of a few lines.
//!
//! | file | what |
//! |---|---|
//! | `dialling` | reaching somebody |
//! | `connections` | while somebody is connected |
//! | `around` | our own addresses, and the local links |
//! | `conduct` | what peers did, and notices that they pass on |
//! | `routing` | the distributed hash table |
//! | `traversal` | being reached, and reaching others, through NATs |

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;
use syncra_protocol::sync::score::{Deed, Score, Scores};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, BehaviourEvent};
use super::book::Book;
use super::dht::{Searches, Wanted};
use super::error::{DialError, Unreached};
use super::gossip::{Notice, Settled, Ticket};
use super::lan::Sighting;
use super::nat::Mapping;
use super::peers::Peers;
use super::pending::Dials;
use super::streams::{self, OpenRequest};
use super::transport::Reach;
use super::{NetEvent, PeerInfo, Reached, Routing};

mod around;
mod conduct;
mod connections;
mod dialling;
mod routing;
mod traversal;

use traversal::Traversal;

pub(super) use conduct::away_for;

/// What handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    Dial {
        address: Multiaddr,
        reply: oneshot::Sender<Result<DeviceKey, DialError>>,
    },
    Reach {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), Unreached>>,
    },
    Open {
        peer: PeerId,
        request: OpenRequest,
    },
    AddAddresses {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    },
    Peers {
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    Disconnect {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    Report {
        peer: DeviceKey,
        deed: Deed,
    },
    Pardon {
        peer: DeviceKey,
        reply: oneshot::Sender<bool>,
    },
    ShutOut {
        reply: oneshot::Sender<Vec<Score>>,
    },
    Settle {
        ticket: Ticket,
        settled: Settled,
    },
    Announce {
        note: Vec<u8>,
    },
    Seek {
        key: ProviderKey,
        wanted: Wanted,
    },
    StopProviding {
        key: ProviderKey,
    },
    #[cfg(test)]
    Panic,
}

/// What outlives the swarm: everything that a restart keeps.
pub(super) struct Ports {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) sightings: mpsc::Receiver<Sighting>,
    pub(super) panics: mpsc::Receiver<()>,
    pub(super) events: broadcast::Sender<NetEvent>,
    pub(super) listening: watch::Sender<Vec<Multiaddr>>,
    pub(super) routing: watch::Sender<Routing>,
    /// What peers did.
    pub(super) scores: Scores,
    /// Notices for whoever judges them.
    pub(super) notices: mpsc::Sender<Notice>,
    /// Peers that notices go to.
    pub(super) mesh: watch::Sender<usize>,
    pub(super) reached: watch::Sender<Reached>,
    pub(super) book: Book,
    /// Who was seen on the local links and has not gone.
    pub(super) neighbours: HashMap<PeerId, DeviceKey>,
    pub(super) stop: CancellationToken,
    pub(super) reach: Reach,
    pub(super) dials_neighbours: bool,
    /// Whether it is found out at which public addresses others reach us; else all are taken for such.
    pub(super) probes: bool,
    pub(super) uses_relays: bool,
    pub(super) maps_ports: bool,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody asked, or every handle is gone.
    Stopped,
    /// A task of the swarm has panicked: its state is not to be trusted.
    Panicked,
    /// A listener has closed by itself.
    ListenerLost,
}

/// One life of the swarm.
pub(super) struct Driver<'a> {
    swarm: Swarm<Behaviour>,
    ports: &'a mut Ports,
    peers: Peers,
    dials: Dials,
    searches: Searches,
    traversal: Traversal,
    /// Wrong answers met while dialling a peer.
    wrong: HashMap<PeerId, usize>,
    /// When time changes how somebody is treated.
    scores_wake: Option<Instant>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(mut swarm: Swarm<Behaviour>, ports: &'a mut Ports) -> Self {
        Self::remember_scores(&mut swarm, ports);
        ports.reached.send_replace(Reached::default());
        let (peers, dials, searches, traversal, wrong) = Default::default();
        // Looks at the scores at once: who is away may be let in again by now.
        let scores_wake = Some(Instant::now());
        let mut driver = Self { swarm, ports, peers, dials, searches, traversal, wrong, scores_wake };
        let listening = driver.ports.listening.borrow().clone();
        listening.into_iter().for_each(|address| driver.believe(address));
        if driver.ports.maps_ports {
            driver.traversal.mapping(Mapping::Asked);
            driver.review_reached();
        }
        driver
    }

    /// Runs until it is stopped or cannot go on. Whoever waits is answered by then or by the drop of its channel.
    pub(super) async fn run(&mut self) -> End {
        self.dial_neighbours(); // after a restart; there are none before
        let stop = self.ports.stop.clone();
        loop {
            let wake = self.dials.next_timeout().into_iter().chain(self.traversal.next_timeout()).min();
            let scores_wake = self.scores_wake;
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                Some(()) = self.ports.panics.recv() => return End::Panicked,
                event = self.swarm.select_next_some() => if let Some(end) = self.on_event(event) { return end },
                Some(sighting) = self.ports.sightings.recv() => self.on_sighting(sighting),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.on_timeout(),
                () = sleep_until(scores_wake.unwrap_or_else(Instant::now)), if scores_wake.is_some() => {
                    self.on_scores_timeout();
                }
                command = self.ports.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return End::Stopped,
                },
            }
        }
    }

    /// Closes all connections in order, as far as `within` allows.
    pub(super) async fn close(mut self, within: Duration) {
        self.ports.commands.close();
        while self.ports.commands.try_recv().is_ok() {} // drops the replies: "stopped"
        self.dials = Dials::default();
        self.searches = Searches::default();
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer); // an error means that it has just gone
        }
        let all_gone = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(within, all_gone).await.is_err() {
            tracing::debug!("connections did not close in time and are dropped");
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { address, reply } => self.dial(&address, reply),
            Command::Reach { peer, addresses, reply } => self.reach(peer, &addresses, reply),
            Command::Open { peer, request } => self.open(peer, request),
            Command::AddAddresses { peer, addresses } => self.learn(peer, addresses),
            Command::Peers { reply } => self.answer_peers(reply),
            Command::Disconnect { peer, reply } => {
                let _ = reply.send(self.swarm.disconnect_peer_id(peer).is_ok());
            }
            Command::Report { peer, deed } => self.report(peer, deed),
            Command::Pardon { peer, reply } => drop(reply.send(self.pardon(&peer))),
            Command::ShutOut { reply } => self.answer_shut_out(reply),
            Command::Settle { ticket, settled } => self.settle(&ticket, settled),
            Command::Announce { note } => self.announce(note),
            Command::Seek { key, wanted } => self.seek(key, wanted),
            Command::StopProviding { key } => self.swarm.behaviour_mut().dht.stop_providing(key),
            #[cfg(test)]
            Command::Panic => panic!("asked to by a test"),
        }
    }

    fn on_timeout(&mut self) {
        for (peer, addresses) in self.dials.due(Instant::now()) {
            self.try_all(peer, addresses);
        }
        self.on_traversal_timeout();
    }

    fn answer_peers(&self, reply: oneshot::Sender<Vec<PeerInfo>>) {
        let traffic = |peer: &PeerId| self.swarm.behaviour().streams.traffic(peer);
        let mut all = self.peers.list(traffic);
        all.iter_mut().for_each(|info| self.score_into(info));
        drop(reply.send(all));
    }

    /// Dispatches one event of the swarm; says so when the swarm cannot go on.
    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) -> Option<End> {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Dht(event)) => self.on_dht(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Streams(streams::Opened { peer })) => self.promote(peer),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_closed(peer_id, connection_id, cause.as_ref());
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_not_listening(&address),
            SwarmEvent::Behaviour(BehaviourEvent::Nat(event)) => self.on_nat(event),
            SwarmEvent::NewExternalAddrCandidate { address } => self.on_observed(&address),
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_confirmed(&address),
            SwarmEvent::ExternalAddrExpired { address } => self.on_expired(&address),
            SwarmEvent::ListenerClosed { listener_id, .. } if self.was_place(listener_id) => {}
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::warn!(?reason, "a listener has closed");
                return Some(End::ListenerLost);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "inbound connection failed"),
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "a listener reports an error"),
            _ => {}
        }
        None
    }

    fn emit(&self, event: NetEvent) {
        let _ = self.ports.events.send(event); // nobody may be listening
    }
}
