//! The task that owns the swarm. Its loop only dispatches; each arm is a method of a few lines.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, ping};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;
use syncra_protocol::sync::score::{Deed, Score, Scores};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::address::{self, Scope, device_key, scope};
use super::behaviour::{Behaviour, BehaviourEvent};
use super::book::Book;
use super::dht::{Searches, Wanted};
use super::error::DialError;
use super::gossip::{Notice, Settled, Ticket};
use super::lan::Sighting;
use super::nat::Mapping;
use super::peers::Peers;
use super::pending::{Dials, Next, Waiter};
use super::streams::{self, OpenRequest};
use super::transport::Reach;
use super::{NetEvent, PeerInfo, Reached, Routing, limits};

mod conduct;
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

    fn dial(&mut self, address: &Multiaddr, reply: oneshot::Sender<Result<DeviceKey, DialError>>) {
        let (peer, bare) = address::split_peer(address);
        let Some(peer) = peer else { return self.dial_stranger(bare, reply) };
        if peer == *self.swarm.local_peer_id() {
            return Waiter::Dial(reply).fail(DialError::Itself);
        }
        if let Some(key) = self.peers.key(&peer) {
            self.promote(peer);
            drop(reply.send(Ok(key)));
            return;
        }
        match self.dials.wait(peer, Waiter::Dial(reply)) {
            Ok(_) => self.try_all(peer, vec![bare]),
            Err(waiter) => waiter.fail(DialError::TooManyWaiters),
        }
    }

    fn dial_stranger(&mut self, address: Multiaddr, reply: oneshot::Sender<Result<DeviceKey, DialError>>) {
        let options = DialOpts::unknown_peer_id().address(address).build();
        let attempt = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => self.dials.began_with_stranger(attempt, reply),
            // The swarm takes our own addresses out of every dial.
            Err(swarm::DialError::NoAddresses) => drop(reply.send(Err(DialError::Itself))),
            Err(error) => drop(reply.send(Err((&error).into()))),
        }
    }

    fn open(&mut self, peer: PeerId, request: OpenRequest) {
        if self.swarm.is_connected(&peer) {
            self.promote(peer);
            return self.swarm.behaviour_mut().streams.open(peer, request);
        }
        if peer == *self.swarm.local_peer_id() {
            return Waiter::Open(request).fail(DialError::Itself);
        }
        match self.dials.wait(peer, Waiter::Open(request)) {
            Ok(true) => self.begin(peer),
            Ok(false) => {}
            Err(waiter) => waiter.fail(DialError::TooManyWaiters),
        }
    }

    /// Dials `peer` at all addresses in the book, the preferred ones first.
    fn begin(&mut self, peer: PeerId) {
        self.try_all(peer, self.ports.book.addresses(&peer));
    }

    fn try_all(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let (first, second) = address::by_preference(addresses);
        self.dials.keep_for_later(peer, second);
        match first.first().is_some_and(address::is_relayed) {
            true => self.dial_through(peer, first),
            false => self.attempt(peer, first),
        }
    }

    fn attempt(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
        let attempt = options.connection_id();
        self.dials.began(peer, attempt);
        if let Err(error) = self.swarm.dial(options) {
            self.on_attempt_failed(peer, attempt, &error);
        }
    }

    fn on_attempt_failed(&mut self, peer: PeerId, attempt: ConnectionId, error: &swarm::DialError) {
        if let swarm::DialError::WrongPeerId { address, .. } = error {
            self.ports.book.remove(&peer, &address::split_peer(address).1);
        }
        match self.dials.failed(&peer, attempt) {
            Next::Wait => {}
            Next::Try(addresses) => self.try_all(peer, addresses),
            Next::Fail if self.may_try_others(peer, error) => self.begin(peer),
            Next::Fail => {
                self.finish_dial(peer, |waiter| waiter.fail(error.into()));
                self.fail_circuits(&peer, error);
            }
        }
    }

    /// One wrong address spoils a whole attempt, so the others get another, a few times.
    fn may_try_others(&mut self, peer: PeerId, error: &swarm::DialError) -> bool {
        let is_wrong = matches!(error, swarm::DialError::WrongPeerId { .. });
        if !is_wrong || self.ports.book.addresses(&peer).is_empty() {
            return false;
        }
        let n = self.wrong.entry(peer).or_default();
        *n += 1;
        *n <= limits::WRONG_PEERS
    }

    fn finish_dial(&mut self, peer: PeerId, mut answer: impl FnMut(Waiter)) {
        self.wrong.remove(&peer);
        self.dials.finish(&peer).into_iter().for_each(&mut answer);
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

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &libp2p::core::ConnectedPoint) {
        let Some(key) = device_key(&peer) else { return }; // the gate refuses others
        if endpoint.is_dialer() {
            self.ports.book.add(peer, [address::split_peer(endpoint.get_remote_address()).1]);
        }
        self.note_guest(endpoint, self.peers.key(&peer).is_some());
        let stranger = self.dials.stranger(connection);
        let is_meant = stranger.is_some() || self.dials.is_meant(&peer) || self.ports.neighbours.contains_key(&peer);
        self.peers.opened(peer, key, connection, endpoint);
        if let Some(reply) = stranger {
            drop(reply.send(Ok(key)));
        }
        let waiters = self.dials.finish(&peer);
        self.wrong.remove(&peer);
        for waiter in waiters {
            match waiter {
                Waiter::Dial(reply) => drop(reply.send(Ok(key))),
                Waiter::Open(request) => self.swarm.behaviour_mut().streams.open(peer, request),
                Waiter::Found(found) => drop(found.try_send(key)), // there is room for every provider
                Waiter::Relay => {}                                // told when it has introduced itself
            }
        }
        if is_meant || routing::is_near_guest(endpoint) {
            self.promote(peer);
        }
        self.review_realm();
        self.review_superseded();
    }

    /// From now on a peer is connected for the sake of packages.
    fn promote(&mut self, peer: PeerId) {
        if let Some(key) = self.peers.promote(&peer) {
            tracing::info!(peer = key.fmt_short(), "connected");
            self.emit(NetEvent::Connected { peer: key });
            self.tell_addresses(key, &peer);
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, cause: Option<&swarm::ConnectionError>) {
        let Some((key, was_contact)) = self.peers.closed(&peer, connection) else { return };
        self.fail_circuits(&peer, &swarm::DialError::Aborted);
        self.review_realm();
        self.tell_mesh();
        if was_contact {
            return;
        }
        tracing::info!(peer = key.fmt_short(), ?cause, "disconnected");
        self.emit(NetEvent::Disconnected { peer: key });
    }

    fn on_dial_failed(&mut self, attempt: ConnectionId, peer: Option<PeerId>, error: &swarm::DialError) {
        if let Some(reply) = self.dials.stranger(attempt) {
            drop(reply.send(Err(error.into())));
        } else if let Some(peer) = peer {
            self.on_attempt_failed(peer, attempt, error);
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        // What a far peer says about private networks is not about ours.
        let is_near = self.peers.nearest(&peer_id) < Some(Scope::Public);
        let addresses = info.listen_addrs.iter().map(|address| address::split_peer(address).1);
        let addresses: Vec<_> = addresses.filter(|address| is_near || scope(address) == Scope::Public).collect();
        self.learn(peer_id, addresses);
        self.peers.identified(&peer_id, &info);
        self.route(peer_id);
        self.open_circuits(&peer_id);
        self.review_relays();
        if let Some(key) = self.peers.key(&peer_id).filter(|_| !self.peers.is_contact(&peer_id)) {
            self.tell_addresses(key, &peer_id);
        }
    }

    fn tell_addresses(&self, peer: DeviceKey, id: &PeerId) {
        let addresses = self.ports.book.addresses(id);
        if !addresses.is_empty() {
            self.emit(NetEvent::Addresses { peer, addresses });
        }
    }

    fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => self.peers.pinged(&event.peer, *rtt),
            Err(ping::Failure::Unsupported) => {}
            // The library only tells, and nothing else notices a peer that went to sleep or lost its network.
            Err(why) => {
                tracing::debug!(peer = %event.peer, %why, "a peer does not answer; its connection is closed");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    fn learn(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let reach = self.ports.reach;
        self.ports.book.add(peer, addresses.into_iter().filter(|address| reach.covers(address)));
    }

    fn on_listening(&mut self, address: Multiaddr) {
        if address::is_relayed(&address) {
            return; // a place at a relay is told by the relay, see `on_confirmed`
        }
        tracing::debug!(%address, "listening");
        self.believe(address.clone());
        self.ports.listening.send_modify(|known| known.push(address.clone()));
        self.emit(NetEvent::NewListenAddr { address });
        self.dial_neighbours(); // those that were lost with the address before
    }

    fn on_not_listening(&mut self, address: &Multiaddr) {
        self.ports.listening.send_modify(|known| known.retain(|other| other != address));
        self.emit(NetEvent::ExpiredListenAddr { address: address.clone() });
        // The machine has another network: whatever came from the address that is gone gets no answer any more, which
        // would be noticed after minutes.
        let dead = address::ip(address).map(|ip| self.peers.from(ip)).unwrap_or_default();
        for connection in dead {
            self.swarm.close_connection(connection);
        }
    }

    fn on_sighting(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Here { peer, addresses } => self.on_neighbour(peer, addresses),
            Sighting::Gone { peer } => {
                if let Some(key) = self.ports.neighbours.remove(&peer) {
                    self.emit(NetEvent::NeighbourGone { peer: key });
                }
            }
        }
    }

    fn on_neighbour(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let is_known = self.ports.neighbours.contains_key(&peer);
        let Some(key) = device_key(&peer) else { return };
        if !is_known && self.ports.neighbours.len() >= limits::NEIGHBOURS || self.is_shut_out(&peer) {
            return;
        }
        self.learn(peer, addresses.clone());
        self.ports.neighbours.insert(peer, key);
        if !is_known {
            self.emit(NetEvent::Neighbour { peer: key, addresses });
        }
        self.dial_neighbour(peer);
    }

    fn dial_neighbours(&mut self) {
        let all: Vec<_> = self.ports.neighbours.keys().copied().collect();
        all.into_iter().for_each(|peer| self.dial_neighbour(peer));
    }

    fn dial_neighbour(&mut self, peer: PeerId) {
        if self.ports.dials_neighbours && !self.swarm.is_connected(&peer) && !self.dials.is_dialling(&peer) {
            self.begin(peer);
        }
    }

    fn emit(&self, event: NetEvent) {
        let _ = self.ports.events.send(event); // nobody may be listening
    }
}
