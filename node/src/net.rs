//! The network: one libp2p swarm behind a cloneable handle.
//!
//! | file | what |
//! |---|---|
//! | [`streams`] | our own bounded streams: open, accept, refuse |
//! | [`frame`] | messages on streams |
//! | [`limits`] | every bound |
//! | `swarm` | the task that owns the swarm; `pending` who waits for a dial, `book` addresses, `peers` who is connected |
//! | `transport`, `tls`, `yamux`, `meter`, `zoned` | how bytes travel, and how many lie unread |
//! | `behaviour`, `gate`, `rate` | who may connect, and how often |
//! | `gossip` | notices of new heads among peers near by; `swarm/conduct` judges peers by what they do |
//! | `introduce` | what peers are told of this node, the near and the far |
//! | [`nat`] | being reached from behind NATs: probes, relays, hole punching, port mapping |
//! | `lan` | neighbours on the local links |
//! | `dht` | the distributed hash table: who provides what, beyond those who are connected |
//! | `dns` | names of hosts and of lists of nodes in addresses |
//! | `probe` | what keeps this machine from being a node, for `doctor` |
//! | [`told`] | which of our addresses others are told |
//! | `supervise` | restarts the task when something in it panicked |
//!
//! Every call is answered exactly once: with an outcome, a time-out, or [`Stopped`].

pub mod address;
mod behaviour;
mod book;
mod dht;
mod dns;
pub mod error;
pub mod frame;
mod gate;
mod gather;
mod gossip;
mod introduce;
mod lan;
pub mod limits;
mod meter;
pub mod nat;
mod peers;
mod pending;
pub(crate) mod probe;
pub(crate) mod rate;
mod read_ahead;
pub mod streams;
mod supervise;
mod swarm;
mod tls;
pub mod told;
mod transport;
mod yamux;
mod zoned;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::PeerId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;
use syncra_protocol::sync::score::{Deed, Score};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::incident::Incidents;

pub use dht::{Provider, Records};
pub use error::{DialError, OpenError, ShutdownOverrun, StartError, Stopped, Unreached};
pub use gossip::{Notice, Settled, Ticket};
pub use lan::LanConfig;
pub use libp2p::Multiaddr;
pub use nat::{Mapping, NatConfig, Reachability, Reached};
pub use peers::{Direction, PeerInfo, TransportKind};
pub use streams::{Inbound, Inbounds, Protocol, Stream, StreamError};
pub use transport::Reach;

use dht::Wanted;
use streams::OpenRequest;
use swarm::Command;

/// How the network is set up.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The seed of the device's key.
    pub seed: Zeroizing<[u8; 32]>,
    /// Where to listen. Empty: all interfaces, both IP versions, TCP and QUIC, on a port that follows from the device's
    /// key, or on others where that is taken; what the machine does not have is left out.
    pub listen: Vec<Multiaddr>,
    /// How far connections may reach.
    pub reach: Reach,
    /// How neighbours are looked for; `None`: not at all.
    pub lan: Option<LanConfig>,
    /// What part to take in the distributed hash table.
    pub dht: Part,
    /// What to do to be reached from beyond the own network.
    pub nat: NatConfig,
    /// How this node describes itself to peers.
    pub agent: String,
    /// Connections at the same time, both directions.
    pub connections: u32,
    /// Accepted streams of one protocol that may wait for their server.
    pub inbound_queue: usize,
    /// Where panics of the network's tasks are noted.
    pub incidents: Incidents,
}

impl NetConfig {
    /// The usual set-up of the device with this seed: everywhere, neighbours included.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed: Zeroizing::new(seed),
            listen: Vec::new(),
            reach: Reach::Everywhere,
            lan: Some(LanConfig::default()),
            dht: Part::Serves,
            nat: NatConfig::default(),
            agent: concat!("syncra/", env!("CARGO_PKG_VERSION")).to_owned(),
            connections: limits::CONNECTIONS,
            inbound_queue: limits::INBOUND_QUEUE,
            incidents: Incidents::default(),
        }
    }
}

/// What part a node takes in the distributed hash table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// None: it tells nothing and finds nothing.
    None,
    /// It only asks: a node that ends soon is no use in other nodes' tables.
    Asks,
    /// It also answers, wherever it has an address that others reach.
    Serves,
}

/// What happens in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// The first connection with a peer.
    Connected {
        /// Who, proven by the handshake.
        peer: DeviceKey,
    },
    /// The last connection with a peer has ended.
    Disconnected {
        /// Who.
        peer: DeviceKey,
    },
    /// We can be reached here.
    NewListenAddr {
        /// Where.
        address: Multiaddr,
    },
    /// We can no longer be reached here.
    ExpiredListenAddr {
        /// Where.
        address: Multiaddr,
    },
    /// Somebody on the local links says that they are there. Not proven.
    Neighbour {
        /// Who they say they are.
        peer: DeviceKey,
        /// Where they say they are.
        addresses: Vec<Multiaddr>,
    },
    /// A connected peer has said where it can be reached: hearsay, but for the way it came.
    Addresses {
        /// Who.
        peer: DeviceKey,
        /// Where, without what is out of reach from here.
        addresses: Vec<Multiaddr>,
    },
    /// A neighbour has said goodbye or has not been heard of for long.
    NeighbourGone {
        /// Who.
        peer: DeviceKey,
    },
    /// The network task had to be restarted; all connections were lost.
    Restarted,
}

/// How well this node is placed in the distributed hash table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// Nodes in the routing table: who is asked first.
    pub n_nodes: usize,
    /// Whether others may ask this node: it has an address that reaches as far as its peers are away.
    pub is_server: bool,
    /// Provider records that are kept for others.
    pub n_records: usize,
}

/// The handle of the network. Cheap to clone; the network ends with [`Net::shutdown`] or with the last handle.
#[derive(Debug, Clone)]
pub struct Net {
    key: DeviceKey,
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<NetEvent>,
    listening: watch::Receiver<Vec<Multiaddr>>,
    routing: watch::Receiver<Routing>,
    mesh: watch::Receiver<usize>,
    notices: Arc<Mutex<Option<mpsc::Receiver<Notice>>>>,
    reached: watch::Receiver<Reached>,
    records: Records,
    incidents: Incidents,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl Net {
    /// Starts the network and waits until its addresses are known. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    pub async fn start(config: NetConfig) -> Result<(Self, Inbounds), StartError> {
        Box::pin(supervise::start(config)).await
    }

    /// What broke in tasks, the network's among them.
    #[must_use]
    pub const fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Our own key.
    #[must_use]
    pub fn key(&self) -> DeviceKey {
        self.key
    }

    /// Where we can be reached, without our `/p2p/…`.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.listening.borrow().clone()
    }

    /// How this node is reached from beyond its own network, and its changes.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<Reached> {
        self.reached.clone()
    }

    /// Where this node may be said to be, without its `/p2p/…`: where it listens and where it is reached from afar. A
    /// public address where others were seen not to get through is left out.
    #[must_use]
    pub fn told_addrs(&self) -> Vec<Multiaddr> {
        let Reached { reachability, addresses, relayed, .. } = self.reached.borrow().clone();
        let mut told = self.listen_addrs();
        told.retain(|address| {
            reachability == Reachability::Unknown || address::scope(address) < address::Scope::Public
        });
        told.extend(addresses.into_iter().chain(relayed).filter(|_| reachability != Reachability::Unknown));
        told
    }

    /// Events from now on. A slow reader is told how many it has missed.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<NetEvent> {
        self.events.subscribe()
    }

    /// Connects to whoever is at `address`, or to the peer that its `/p2p/…` names and nobody else. A host name
    /// (`/dns…/host/…`) is looked up first; of several addresses, and of a community's list of nodes (`/dnsaddr/host`),
    /// whoever answers first is taken.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: Multiaddr) -> Result<DeviceKey, DialError> {
        let mut waiting = dns::resolve(address).await?.into_iter().peekable();
        let mut dials = FuturesUnordered::new();
        let mut outcome = Err(DialError::UnsupportedAddress);
        // Each has a head start before the next: two that answer would be two connections.
        let mut next = Instant::now();
        while waiting.peek().is_some() || !dials.is_empty() {
            let is_turn = waiting.peek().is_some() && dials.len() < limits::DIALS_AT_ONCE;
            tokio::select! {
                Some(done) = dials.next() => match done {
                    Ok(peer) => return Ok(peer),
                    failed => (outcome, next) = (failed, Instant::now()),
                },
                () = sleep_until(next), if is_turn => {
                    dials.extend(waiting.next().map(|address| self.dial_ip(address)));
                    next = Instant::now() + limits::HEAD_START;
                }
            }
        }
        outcome
    }

    /// Connects to `peer` at one of these addresses, the preferred transport first and relays last, by one dial: one
    /// connection comes of it. Names of hosts are looked up meanwhile.
    ///
    /// # Errors
    /// [`Unreached`].
    pub async fn reach(&self, peer: DeviceKey, addresses: Vec<Multiaddr>) -> Result<(), Unreached> {
        let Some(id) = address::peer_id(&peer) else { return Err(Unreached::new(Vec::new(), DialError::NoDeviceKey)) };
        let (names, plain): (Vec<_>, Vec<_>) = addresses.into_iter().partition(dns::is_name);
        let by_name = async |name: Multiaddr| {
            let told = |why: DialError| Unreached::new(vec![(name.clone(), why.clone())], why);
            let found = dns::resolve(name.clone()).await.map_err(told)?;
            let first = found.first().cloned();
            let why = |failed: Unreached| first.map_or(DialError::UnknownHost, |first| failed.at(&first));
            self.reach_ip(id, found).await.map_err(|failed| told(why(failed)))
        };
        let mut all: FuturesUnordered<_> = names.into_iter().map(|name| by_name(name).boxed()).collect();
        if !plain.is_empty() || all.is_empty() {
            all.push(self.reach_ip(id, plain).boxed());
        }
        let mut failed: Option<Unreached> = None;
        while let Some(outcome) = all.next().await {
            let Err(more) = outcome else { return Ok(()) };
            match &mut failed {
                Some(failed) => failed.add(more),
                None => failed = Some(more),
            }
        }
        Err(failed.unwrap_or_else(|| Unreached::new(Vec::new(), DialError::NoAddress)))
    }

    async fn reach_ip(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), Unreached> {
        let answer = self.ask(|reply| Command::Reach { peer, addresses, reply });
        let failed = |why| Unreached::new(Vec::new(), why);
        timeout(limits::DIAL, answer)
            .await
            .map_err(|_| failed(DialError::Timeout))?
            .map_err(|Stopped| failed(DialError::Stopped))?
    }

    async fn dial_ip(&self, address: Multiaddr) -> Result<DeviceKey, DialError> {
        let answer = self.ask(|reply| Command::Dial { address, reply });
        timeout(limits::DIAL, answer).await.map_err(|_| DialError::Timeout)?.map_err(|Stopped| DialError::Stopped)?
    }

    /// Opens a stream to `peer`; dials its known addresses if there is no connection.
    ///
    /// `Ok` means that the peer speaks the protocol. Whether it had a place for the stream shows at the first read, or
    /// by [`Stream::accepted`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, peer: DeviceKey, protocol: Protocol) -> Result<Stream, OpenError> {
        let Some(peer) = address::peer_id(&peer) else { return Err(DialError::NoDeviceKey.into()) };
        let answer = async {
            let (reply, answer) = oneshot::channel();
            let request = OpenRequest { protocol, reply };
            self.send(Command::Open { peer, request }).await?;
            // A reply that is dropped: the connection has ended, or everything has.
            answer.await.unwrap_or_else(|_| Err(self.ended()))
        };
        timeout(limits::DIAL + limits::OPEN_STREAM, answer).await.unwrap_or(Err(StreamError::Timeout.into()))
    }

    /// Remembers addresses where `peer` is said to be, for later calls of [`Net::open`].
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn add_addresses(&self, peer: DeviceKey, addresses: Vec<Multiaddr>) -> Result<(), Stopped> {
        let Some(peer) = address::peer_id(&peer) else { return Ok(()) }; // nobody has that key
        self.send(Command::AddAddresses { peer, addresses }).await
    }

    /// Everybody connected for the sake of packages: whom it is worth asking for them.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        let mut all = self.connected().await?;
        all.retain(|peer| !peer.is_contact);
        Ok(all)
    }

    /// Everybody connected, also those who are so only for the distributed hash table.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn connected(&self) -> Result<Vec<PeerInfo>, Stopped> {
        self.ask(|reply| Command::Peers { reply }).await
    }

    /// Looks for providers of a key in the distributed hash table and dials them. Each comes out of the channel once it
    /// is connected; the channel ends when nobody else is to be expected, at the latest after [`limits::DHT_QUERY`] and
    /// a dial. Whoever drops it ends the look-up.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn find_providers(&self, key: ProviderKey) -> Result<mpsc::Receiver<DeviceKey>, Stopped> {
        let (found, providers) = mpsc::channel(limits::DHT_PROVIDERS);
        self.send(Command::Seek { key, wanted: Wanted::Providers(found) }).await?;
        Ok(providers)
    }

    /// Tells the nodes nearest to the key that this one provides it, for [`limits::PROVIDER_TTL`]. `false` when nobody
    /// could be told.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn provide(&self, key: ProviderKey) -> Result<bool, Stopped> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Seek { key, wanted: Wanted::Provided(done) }).await?;
        Ok(answer.await.unwrap_or(false))
    }

    /// Does not provide a key any more. Others find out when the record expires.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn stop_providing(&self, key: ProviderKey) -> Result<(), Stopped> {
        self.send(Command::StopProviding { key }).await
    }

    /// The place in the distributed hash table, and its changes.
    #[must_use]
    pub fn routing(&self) -> watch::Receiver<Routing> {
        self.routing.clone()
    }

    /// The provider records that are kept for others, to be written down and loaded again.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// Closes all connections with `peer`; says whether there were any.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn disconnect(&self, peer: DeviceKey) -> Result<bool, Stopped> {
        let Some(peer) = address::peer_id(&peer) else { return Ok(false) };
        self.ask(|reply| Command::Disconnect { peer, reply }).await
    }

    /// Tells what a peer did, for its score; what follows is [`score`](syncra_protocol::sync::score)'s decision. What is
    /// told after this sees the outcome.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn report(&self, peer: DeviceKey, deed: Deed) -> Result<(), Stopped> {
        self.send(Command::Report { peer, deed }).await
    }

    /// Forgets what a peer did; says whether it was shut out.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn pardon(&self, peer: DeviceKey) -> Result<bool, Stopped> {
        self.ask(|reply| Command::Pardon { peer, reply }).await
    }

    /// Peers that no connection is let in from, and for how long; for good where there is no time.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn shut_out(&self) -> Result<Vec<(Score, Option<Duration>)>, Stopped> {
        let all = self.ask(|reply| Command::ShutOut { reply }).await?;
        Ok(all.into_iter().map(|score| (score, swarm::away_for(score.grade))).collect())
    }

    /// Notices that peers pass on. Whoever takes them first judges them all, each by [`Net::settle`].
    #[must_use]
    pub fn notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says what becomes of a notice. Nothing is passed on without this.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn settle(&self, ticket: Ticket, settled: Settled) -> Result<(), Stopped> {
        self.send(Command::Settle { ticket, settled }).await
    }

    /// Sends a bare note to peers near by.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn announce(&self, note: Vec<u8>) -> Result<(), Stopped> {
        self.send(Command::Announce { note }).await
    }

    /// How many peers notices go to, and its changes.
    #[must_use]
    pub fn mesh(&self) -> watch::Receiver<usize> {
        self.mesh.clone()
    }

    /// Says farewell to neighbours, closes connections and ends. Whoever still waits is answered. Calling it again, or
    /// on another handle, waits for the same end.
    ///
    /// # Errors
    /// [`ShutdownOverrun`] when that took longer than [`limits::SHUTDOWN`]; the rest ends on its own.
    pub async fn shutdown(&self) -> Result<(), ShutdownOverrun> {
        self.stop.cancel();
        timeout(limits::SHUTDOWN, self.stopped.cancelled()).await.map_err(|_| ShutdownOverrun)
    }

    #[cfg(test)]
    async fn panic(&self) {
        self.send(Command::Panic).await.expect("runs");
    }

    fn ended(&self) -> OpenError {
        if self.stop.is_cancelled() { OpenError::Stopped } else { StreamError::Closed.into() }
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }
}

impl From<Stopped> for OpenError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The address of a peer as others write it: with its `/p2p/…`.
#[must_use]
pub fn with_peer(address: Multiaddr, peer: &DeviceKey) -> Option<Multiaddr> {
    let peer: PeerId = address::peer_id(peer)?;
    address.with_p2p(peer).ok()
}

/// An address without its `/p2p/…`.
#[must_use]
pub fn without_peer(address: &Multiaddr) -> Multiaddr {
    address::split_peer(address).1
}

/// The peer that an address names by its `/p2p/…`, if that is a device.
#[must_use]
pub fn peer_of(address: &Multiaddr) -> Option<DeviceKey> {
    address::device_key(&address::split_peer(address).0?)
}

/// Longest wait between a close of the loop and the end of all connections.
const CLOSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
