//! The parts of one open home, in the order in which they are opened and closed.

use std::sync::{Arc, OnceLock};

use syncra_protocol::fold::PackageState;
use syncra_protocol::id::IdentityId;
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use tokio::sync::{OnceCell, watch};

use super::draft::Drafts;
use super::identity::{self, IdentityError};
use super::pair::Offers;
use crate::blobs::{self, Blobs};
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::durable::WriteError;
use crate::event::{Event, Events};
use crate::history::{Histories, OwnError};
use crate::home::{Home, HomeError, KeyError, Layout};
use crate::incident::Incidents;
use crate::index::{self, Index, RebuildReason};
use crate::installed::Installed;
use crate::journal::{self, HomeOrigin, Journal, Provenance, Regard};
use crate::logs::{Logs, LogsError};
use crate::node::Online;
use crate::proposals::Proposals;
use crate::witness::Witnesses;

/// Free space below which the reserve is given back.
const TIGHT_BYTES: u64 = 32 << 20;

/// Everything that flows work on.
#[derive(Debug)]
pub struct Parts {
    home: Home,
    /// `config.toml`.
    pub config: Config,
    /// This device.
    pub device: DeviceKey,
    /// The identity it belongs to: another one once it joined that.
    identity: watch::Sender<IdentityId>,
    /// Logs, verified and folded.
    pub histories: Histories,
    /// What this node says as a witness, and what others say.
    pub witnesses: Arc<Witnesses>,
    /// Derived state.
    pub index: Index,
    /// Why the index had to be built anew at this start, if it had to.
    pub index_rebuilt: Option<RebuildReason>,
    /// What is installed.
    pub installed: Installed,
    /// What happens, for readers.
    pub events: Arc<Events>,
    /// What broke in tasks since the start.
    pub incidents: Incidents,
    /// Codes under which this node waits for further devices.
    pub pairing: Offers,
    /// Records about proposals to packages that are held.
    pub proposals: Proposals,
    /// Working directories that are shown, and those that are followed.
    pub drafts: Drafts,
    /// What was said of the packages of this device's identity.
    pub(super) said: super::own::Said,
    /// Held while the recovery key speaks: one statement follows the other.
    pub(super) recovering: tokio::sync::Mutex<()>,
    /// Held while a publish decides what it becomes and signs it.
    pub(super) publishing: tokio::sync::Mutex<()>,
    blobs: OnceCell<(Blobs, blobs::Opened)>,
    online: OnceLock<Online>,
}

/// Why a home's parts do not open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The device key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The journal belongs to another key than the key file.
    #[error("the journal was written with the device key {}, not with the one in this home", .journal.fmt_short())]
    OtherKey {
        /// The journal's key.
        journal: DeviceKey,
    },
    /// The home has been used, but its journal is empty.
    #[error("the journal in {path} is lost; restore it from a backup")]
    JournalLost {
        /// The journal.
        path: std::path::PathBuf,
    },
    /// A record that must be journalled at a start was not.
    #[error("the journal does not take records")]
    Append(#[from] journal::AppendError),
    /// The store of others' entries.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// Completing an interrupted publish.
    #[error("an interrupted publish cannot be completed")]
    Own(#[from] OwnError),
    /// The first identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The schema file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Parts {
    /// Opens everything but the blob store; a new home gets its key, journal and identity.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(mut home: Home) -> Result<Self, StartError> {
        let layout = home.layout().clone();
        let config = Config::load(&layout.config())?;
        let secret = home.device_secret()?;
        let device = secret.public();
        let here = HomeOrigin { fingerprint: home.origin_fingerprint()?, device };
        let (journal, opened) = Journal::open_with_reserve(&layout.journal(), here, layout.reserve())?;
        match opened.provenance {
            Provenance::Own => {}
            Provenance::Unclaimed if home.is_new() => journal.append(here).await?,
            // Going on would sign a second history over the lost one.
            Provenance::Unclaimed => return Err(StartError::JournalLost { path: layout.journal() }),
            Provenance::OtherKey { journal } => return Err(StartError::OtherKey { journal }),
            // Whoever opens it tells its user: [`Parts::provenance`].
            Provenance::Copied => {}
        }
        let (index, found) = Index::open(&layout.index());
        let logs = Arc::new(Logs::open(&layout.logs(), index.clone())?);
        let mut index_rebuilt = None;
        if let index::Opened::Rebuild { reason } = found {
            // What else is derived notices by itself that it is behind, see `catalogue`.
            match index.finish_rebuild() {
                Ok(()) => tracing::info!(%reason, "the index was rebuilt from the logs"),
                Err(error) => tracing::warn!(%error, "the index is not kept and will be rebuilt at the next start"),
            }
            if !home.is_new() {
                index::count_rebuild(&layout.index_rebuilds());
                index_rebuilt = Some(reason);
            }
        }
        let own = DeviceSecret::from_seed(&secret.seed());
        let witnesses = Arc::new(Witnesses::open(journal.clone(), &config, own));
        let drafts = Drafts::new(DeviceSecret::from_seed(&secret.seed()));
        let histories = Histories::open(journal, logs, secret, Arc::clone(&witnesses)).await?;
        let identity = identity::own(&histories, &layout, device).await?;
        if let Err(error) = identity::settle_recovery(&histories, &layout, identity) {
            tracing::warn!(%error, "whether the recovery key was replaced is not known yet");
        }
        home.finish_first_start()?;
        let installed = Installed::open(&layout);
        let events = Events::new(clock::now());
        Ok(Self {
            home,
            config,
            device,
            identity: watch::Sender::new(identity),
            histories,
            witnesses,
            index,
            index_rebuilt,
            installed,
            events,
            incidents: Incidents::default(),
            pairing: Offers::default(),
            drafts,
            proposals: Proposals::new(layout.proposals()),
            said: super::own::Said::default(),
            recovering: tokio::sync::Mutex::default(),
            publishing: tokio::sync::Mutex::default(),
            blobs: OnceCell::new(),
            online: OnceLock::new(),
        })
    }

    /// The identity that this device belongs to.
    #[must_use]
    pub fn identity(&self) -> IdentityId {
        *self.identity.borrow()
    }

    /// Hears of it when this device joins another identity.
    #[must_use]
    pub fn identities(&self) -> watch::Receiver<IdentityId> {
        self.identity.subscribe()
    }

    /// Says that this device belongs to another identity from now on, whose log of this device is durable.
    pub(super) fn belongs_to(&self, identity: IdentityId) {
        self.identity.send_replace(identity);
    }

    /// Whether a package is blocked here, for the sake of one of its owners: nothing of it is served or asked for.
    #[must_use]
    pub fn is_blocked(&self, state: &PackageState) -> bool {
        let truth = self.histories.journal().truth();
        state.rights.owners().any(|owner| truth.regard(&owner) == Regard::Blocked)
    }

    /// The network, once this home is online.
    #[must_use]
    pub fn online(&self) -> Option<&Online> {
        self.online.get()
    }

    /// Says that this home is online, once.
    pub(crate) fn set_online(&self, online: Online) {
        assert!(self.online.set(online).is_ok(), "a home goes online once");
    }

    /// Tells readers of events.
    pub fn emit(&self, event: Event) {
        self.events.emit(clock::now(), event);
    }

    /// Whether the journal belongs to this place and key; unless it does, nothing is signed.
    ///
    /// # Errors
    /// [`HomeError::Read`].
    pub fn provenance(&self) -> Result<Provenance, HomeError> {
        let here = HomeOrigin { fingerprint: self.home.origin_fingerprint()?, device: self.device };
        Ok(self.histories.journal().truth().provenance(&here))
    }

    /// Where things are in the home.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.home.layout()
    }

    /// The home.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The blob store, opened when it is first needed: most verbs of a single command do without.
    ///
    /// # Errors
    /// [`blobs::OpenError`].
    pub async fn blobs(&self) -> Result<&Blobs, blobs::OpenError> {
        self.blobs_opened().await.map(|(blobs, _)| blobs)
    }

    /// The blob store, and what opening it found and mended.
    ///
    /// # Errors
    /// [`blobs::OpenError`].
    pub async fn blobs_opened(&self) -> Result<&(Blobs, blobs::Opened), blobs::OpenError> {
        let open = async || {
            let (blobs, opened) = Blobs::open(self.layout().blobs()).await?;
            tracing::debug!(?opened, "the blob store is open");
            Ok((blobs, opened))
        };
        self.blobs.get_or_try_init(open).await
    }

    /// After a write found the disk full: gives the reserve back, so that journal and clean-up have room to work. While
    /// there is room, which imports and fetches leave alone, the reserve stays for when there is none.
    pub fn relieve_full_disk(&self) {
        if fs2::available_space(self.layout().root()).is_ok_and(|free| free >= TIGHT_BYTES) {
            return;
        }
        match self.home.free_reserve() {
            Ok(true) => tracing::warn!("the disk is full; the reserve was given back"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the disk is full, and the reserve cannot be given back"),
        }
    }

    /// Closes what was opened, last first. What callers still hold answers with errors.
    pub async fn close(&self) {
        if let Some((blobs, _)) = self.blobs.get() {
            blobs.shutdown().await;
        }
        if let Err(error) = self.index.flush() {
            tracing::warn!(%error, "the index was not flushed and will be rebuilt");
        }
        self.histories.journal().clone().close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clean_restart_is_the_same_device_and_rebuilds_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let parts = Parts::open(Home::open(dir.path()).expect("made")).await.expect("first start");
        let (device, identity) = (parts.device, parts.identity());
        parts.close().await;
        drop(parts);
        let parts = Parts::open(Home::open(dir.path()).expect("opens")).await.expect("second start");
        assert_eq!((parts.device, parts.identity(), parts.index.rebuilds()), (device, identity, 0));
    }

    #[tokio::test]
    async fn a_lost_journal_is_not_begun_anew() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let parts = Parts::open(Home::open(dir.path()).expect("made")).await.expect("first start");
        parts.close().await;
        drop(parts);
        std::fs::remove_dir_all(dir.path().join("journal")).expect("removed");
        let error = Parts::open(Home::open(dir.path()).expect("opens")).await.expect_err("lost");
        assert!(matches!(error, StartError::JournalLost { .. }), "{error}");
    }
}
