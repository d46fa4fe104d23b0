//! Answers what peers ask: heads and entries, which parts are held, blobs. Bounded in number and in time.
//!
//! Served is what this node knows of public packages and does not block; a blob only below a root that a verified
//! release names, so that nobody can probe what else lies in the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::id::{BlobId, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Subject;
use syncra_protocol::sync::score::Deed;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::blobs::Access;
use crate::flow::Parts;
use crate::history::{Change, Histories};
use crate::net::frame::FrameError;
use crate::net::{Inbound, Inbounds};

mod have;
mod log;
mod watchers;

use watchers::Watchers;

/// Streams of one protocol that are answered at the same time; more wait in the network's bounded queue.
const ANSWERED_AT_ONCE: usize = 64;
/// How long a peer may take to say what it wants, or to take in a frame.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a blob answer may make no progress.
const BLOB_IDLE: Duration = Duration::from_secs(60);

/// The roots that peers may ask blobs below: what the verified releases of known packages name.
#[derive(Debug)]
pub struct Served {
    histories: Histories,
    /// What changed since `roots` was looked at last. Read at every look-up, so that whoever hears of a release can
    /// fetch it.
    changes: Mutex<broadcast::Receiver<Change>>,
    roots: RwLock<HashMap<BlobId, Access>>,
}

impl Served {
    /// Serves what is known now and whatever becomes known.
    #[must_use]
    pub fn new(histories: &Histories) -> Self {
        let changes = Mutex::new(histories.changes());
        let served = Self { histories: histories.clone(), changes, roots: RwLock::default() };
        served.load_all();
        served
    }

    /// What a peer may fetch below `root`.
    #[must_use]
    pub fn access(&self, root: &BlobId) -> Access {
        self.catch_up();
        self.roots.read().unwrap_or_else(PoisonError::into_inner).get(root).copied().unwrap_or(Access::None)
    }

    fn catch_up(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match changes.try_recv() {
                Ok(Change { head }) => match head.origin().subject {
                    Subject::Package(package) => self.load(package),
                    Subject::Identity(_) => {}
                },
                Err(TryRecvError::Lagged(_)) => self.load_all(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn load_all(&self) {
        for package in self.histories.packages() {
            self.load(package);
        }
    }

    fn load(&self, package: PackageId) {
        match self.histories.package(package) {
            Ok(Some(history)) => {
                let releases = history.state.releases.values();
                let roots = releases.flat_map(|published| roots_of(&published.release));
                self.roots.write().unwrap_or_else(PoisonError::into_inner).extend(roots);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%package, %error, "a package cannot be served"),
        }
    }
}

fn roots_of(release: &Release) -> impl Iterator<Item = (BlobId, Access)> {
    let content = [(BlobId::from(release.content_root), Access::Sequence), (release.manifest, Access::Blob)];
    content.into_iter().chain(release.note.map(|note| (note, Access::Blob)))
}

/// Answers until `stop`. Every task has ended when this returns.
pub async fn serve(parts: Arc<Parts>, served: Arc<Served>, inbounds: Inbounds, stop: CancellationToken) {
    let Inbounds { blobs, log, have } = inbounds;
    let watchers = Watchers::default();
    let on_blobs = each(blobs, &stop, |turn, inbound| {
        let (parts, served) = (Arc::clone(&parts), Arc::clone(&served));
        async move {
            blob_stream(parts, served, inbound).await;
            drop(turn)
        }
    });
    let on_log = each(log, &stop, |turn, inbound| {
        log::answer(Arc::clone(&parts), watchers.clone(), turn, inbound, stop.clone())
    });
    let on_have = each(have, &stop, |turn, inbound| {
        let (parts, served) = (Arc::clone(&parts), Arc::clone(&served));
        async move {
            have::answer(parts, served, inbound).await;
            drop(turn)
        }
    });
    futures::join!(on_blobs, on_log, on_have);
}

/// The right to be answered now; dropped when the answer is done.
type Turn = OwnedSemaphorePermit;

/// One task for each stream, a bounded number at a time.
async fn each<F>(mut streams: mpsc::Receiver<Inbound>, stop: &CancellationToken, answer: impl Fn(Turn, Inbound) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let turns = Arc::new(Semaphore::new(ANSWERED_AT_ONCE));
    loop {
        let next = async {
            let turn = Arc::clone(&turns).acquire_owned().await.ok()?;
            Some((turn, streams.recv().await?))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(done) = tasks.join_next() => {
                if let Err(error) = done {
                    tracing::error!(%error, "a task that answered a peer failed");
                }
            }
            next = next => match next {
                Some((turn, inbound)) => drop(tasks.spawn(answer(turn, inbound))),
                None => break,
            },
        }
    }
    tasks.shutdown().await;
}

/// Counts what a peer did on a stream that failed.
async fn judge(parts: &Parts, peer: DeviceKey, error: &FrameError) {
    let deed = match error {
        FrameError::TooLong { .. } | FrameError::Message(_) => Deed::Malformed,
        FrameError::Timeout => Deed::Stalled,
        // Connections break; that is nobody's fault.
        FrameError::Refused(_) | FrameError::Io(_) => return,
    };
    if let Some(online) = parts.online() {
        // Only a stopping network does not count it.
        let _ = online.net.report(peer, deed).await;
    }
}

async fn blob_stream(parts: Arc<Parts>, served: Arc<Served>, inbound: Inbound) {
    let blobs = match parts.blobs().await {
        Ok(blobs) => blobs,
        Err(error) => return tracing::warn!(%error, "blobs cannot be served"),
    };
    let stats = blobs.serve(inbound.stream, BLOB_IDLE, |root| served.access(root)).await;
    tracing::debug!(peer = inbound.peer.fmt_short(), ?stats, "answered a blob request");
}
