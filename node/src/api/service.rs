//! What verbs work on: the parts of one home, whether a daemon opened it or a single command.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use syncra_protocol::Timestamp;
use tokio_util::sync::CancellationToken;

use super::token::Tokens;
use super::types::ApiAddresses;
use crate::clock;
use crate::event::{Event, Events};
use crate::home::{Home, Layout};
use crate::problem::{Code, Problem};

/// One opened home and everything that verbs do with it. The command line calls it in-process when no node runs.
#[derive(Debug)]
pub struct Service {
    home: Home,
    started: Timestamp,
    tokens: Arc<Tokens>,
    events: Arc<Events>,
    doors: OnceLock<ApiAddresses>,
    config_turn: Mutex<()>,
    stop: CancellationToken,
}

impl Service {
    /// The service of an opened home, which it keeps locked.
    ///
    /// # Errors
    /// A [`Problem`] when a file of the home cannot be read.
    pub fn open(home: Home) -> Result<Arc<Self>, Problem> {
        let started = clock::now();
        let tokens = Arc::new(Tokens::open(&home.layout().tokens())?);
        let events = Events::new(started);
        let (doors, config_turn, stop) = (OnceLock::new(), Mutex::default(), CancellationToken::new());
        Ok(Arc::new(Self { home, started, tokens, events, doors, config_turn, stop }))
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

    /// The home's directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.layout().root()
    }

    /// Where things are in the home.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.home.layout()
    }

    /// The device's name in the network: its public key as a libp2p peer id.
    ///
    /// # Errors
    /// A [`Problem`] when the key is missing or damaged.
    pub fn peer_id(&self) -> Result<String, Problem> {
        let key = self.home.device_secret()?.public();
        let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(key.as_bytes())
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
        &self.events
    }

    /// Held while `config.toml` is read, changed and saved.
    pub(super) fn config_turn(&self) -> MutexGuard<'_, ()> {
        self.config_turn.lock().expect("nothing panics while it changes settings")
    }

    /// Tells readers of events.
    pub fn emit(&self, event: Event) {
        self.events.emit(clock::now(), event);
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

    /// Ends event streams and tells their readers.
    pub fn stop(&self) {
        self.emit(Event::NodeStopping);
        self.stop.cancel();
    }

    /// Cancelled when the node stops.
    #[must_use]
    pub fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}
