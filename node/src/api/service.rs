//! What verbs work on: the parts of one home, whether a daemon opened it or a single command.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use syncra_protocol::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::socket::SOCKETS;
use super::token::Tokens;
use super::types::ApiAddresses;
use super::verb::Verb;
use crate::clock;
use crate::event::{Event, Events};
use crate::flow::{Parts, reach};
use crate::home::{Home, Layout};
use crate::net::{Multiaddr, NatConfig, NetConfig, Part};
use crate::node::{self, Node, Online};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// One opened home and everything that verbs do with it. The command line calls it in-process when no node runs.
#[derive(Debug)]
pub struct Service {
    parts: Arc<Parts>,
    started: Timestamp,
    tokens: Arc<Tokens>,
    doors: OnceLock<ApiAddresses>,
    gateway: OnceLock<SocketAddr>,
    config_turn: Mutex<()>,
    sockets: Arc<Semaphore>,
    stop: CancellationToken,
    node: tokio::sync::Mutex<Option<Node>>,
}

impl Service {
    /// The service of an opened home, which it keeps locked.
    ///
    /// # Errors
    /// A [`Problem`] when a file of the home cannot be read.
    pub async fn open(home: Home) -> Result<Arc<Self>, Problem> {
        let started = clock::now();
        let tokens = Arc::new(Tokens::open(&home.layout().tokens())?);
        // Boxed: opening a home is a large future that callers would carry along.
        let parts = Arc::new(Box::pin(Parts::open(home)).await?);
        let (doors, gateway, config_turn, stop) =
            (OnceLock::new(), OnceLock::new(), Mutex::default(), CancellationToken::new());
        let (node, sockets) = (tokio::sync::Mutex::default(), Arc::new(Semaphore::new(SOCKETS)));
        Ok(Arc::new(Self { parts, started, tokens, doors, gateway, config_turn, sockets, stop, node }))
    }

    /// What verbs work on.
    #[must_use]
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Closes what was opened, after the last verb.
    pub async fn close(&self) {
        match self.node.lock().await.take() {
            Some(node) => node.shutdown().await,
            None => self.parts.close().await,
        }
    }

    /// Puts this home on the network with these settings; what is online already stays as it is.
    ///
    /// # Errors
    /// A [`Problem`] when nothing can be listened on.
    pub async fn go_online(&self, config: NetConfig) -> Result<Online, Problem> {
        let mut node = self.node.lock().await;
        if let Some(node) = &*node {
            return Ok(node.online().clone());
        }
        let started = Box::pin(Node::start(Arc::clone(&self.parts), config)).await?;
        let online = started.online().clone();
        *node = Some(started);
        Ok(online)
    }

    /// From now on dials `bootstrap`, and peers met before, whenever they are not connected. Nothing while offline.
    pub async fn keep_in_touch(&self, bootstrap: Vec<Multiaddr>) {
        if let Some(node) = &mut *self.node.lock().await {
            node.keep_in_touch(bootstrap);
        }
    }

    /// The network for a verb that needs peers. Without a running node a short-lived one looks for neighbours, dials
    /// bootstrap nodes and peers met before, and waits for the first of them.
    ///
    /// # Errors
    /// A [`Problem`] when nothing can be listened on.
    pub async fn reach(&self) -> Result<Online, Problem> {
        let is_new = self.parts.online().is_none();
        let online = self.begin_to_reach().await?;
        if is_new {
            reach::first_contact(&online).await;
        }
        Ok(online)
    }

    /// The same without waiting for anybody.
    ///
    /// # Errors
    /// A [`Problem`] when nothing can be listened on.
    pub async fn begin_to_reach(&self) -> Result<Online, Problem> {
        if let Some(online) = self.parts.online() {
            return Ok(online.clone());
        }
        let mut config = node::net_config(&self.parts)?;
        if config.dht == Part::Serves {
            config.dht = Part::Asks;
        }
        // It ends before others could make use of it.
        config.nat = NatConfig::default();
        let online = self.go_online(config).await?;
        if let Some(node) = &mut *self.node.lock().await {
            node.dial_again(self.parts.config.bootstrap.clone());
        }
        Ok(online)
    }

    /// Does what a verb does. When that found the disk full, the reserve is given back before the caller hears of it.
    ///
    /// # Errors
    /// The verb's.
    pub async fn run<V: Verb>(
        self: &Arc<Self>,
        request: V::Request,
        progress: &Progress,
    ) -> Result<V::Response, Problem> {
        let done = V::run(self, request, progress).await;
        if done.as_ref().is_err_and(|problem| problem.code == Code::DiskFull) {
            self.parts.relieve_full_disk();
        }
        done
    }

    /// Runs what waits for the disk where waiting is allowed.
    ///
    /// # Errors
    /// What `work` returns, or [`Code::Bug`] if it panics.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        done.unwrap_or_else(|panic| Err(Problem::from_error(Code::Bug, &panic)))
    }

    /// Runs work that goes on when its caller leaves: what signs must not stop half-way.
    ///
    /// # Errors
    /// What `work` returns, or [`Code::Bug`] if it panics.
    pub async fn finish<T: Send + 'static, F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let service = self.clone();
        let done = tokio::spawn(async move { Box::pin(work(service)).await }).await;
        done.unwrap_or_else(|panic| Err(Problem::from_error(Code::Bug, &panic)))
    }

    /// The home's directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.parts.layout().root()
    }

    /// Where things are in the home.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.parts.layout()
    }

    /// The device's name in the network: its public key as a libp2p peer id.
    ///
    /// # Errors
    /// A [`Problem`] when the key is missing or damaged.
    pub fn peer_id(&self) -> Result<String, Problem> {
        let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(self.parts.device.as_bytes())
            .map_err(|error| Problem::from_error(Code::HomeDamaged, &error))?;
        Ok(libp2p::identity::PublicKey::from(key).to_peer_id().to_string())
    }

    /// When this process opened the home.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The API tokens.
    #[must_use]
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// What happens.
    #[must_use]
    pub fn events(&self) -> &Arc<Events> {
        &self.parts.events
    }

    /// Held while `config.toml` is read, changed and saved.
    pub(super) fn config_turn(&self) -> MutexGuard<'_, ()> {
        self.config_turn.lock().expect("nothing panics while it changes settings")
    }

    /// Tells readers of events.
    pub fn emit(&self, event: Event) {
        self.parts.events.emit(clock::now(), event);
    }

    /// Where the API is open; `None` in a single command.
    #[must_use]
    pub fn doors(&self) -> Option<&ApiAddresses> {
        self.doors.get()
    }

    /// Says where the API is open, once.
    pub(super) fn opened(&self, addresses: ApiAddresses) {
        // A second set of doors on one service would be a bug of the caller; the first one counts.
        drop(self.doors.set(addresses));
    }

    /// Where the gateway is open; `None` if it is not.
    #[must_use]
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.gateway.get().copied()
    }

    /// Says where the gateway is open, once.
    pub(super) fn gateway_opened(&self, address: SocketAddr) {
        // As for doors: the first one counts.
        let _ = self.gateway.set(address);
    }

    /// A place for one more WebSocket: an upgraded connection does not count as one of its door any more.
    pub(super) async fn socket_place(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.sockets).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Ends event streams and tells their readers, once.
    pub fn stop(&self) {
        if !self.stop.is_cancelled() {
            self.emit(Event::NodeStopping);
            self.stop.cancel();
        }
    }

    /// Cancelled when the node stops.
    #[must_use]
    pub fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}
