//! Answers what peers ask: heads and entries, which parts are held, blobs. Bounded in number and in time.
//!
//! Served is what this node knows of public packages and does not block; a blob only below a root that a verified
//! release names, so that nobody can probe what else lies in the store. Of blocked people nothing is served, however it came
//! here; what somebody else's package has too is served for the sake of that.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{BlobId, IdentityId, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Subject;
use syncra_protocol::sync::score::Deed;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Mutex, broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use turns::Turns;

use crate::blobs::{Access, Admission, ServeError};
use crate::flow::Parts;
use crate::history::{Change, Histories, History};
use crate::incident::Incidents;
use crate::net::frame::FrameError;
use crate::net::{Inbound, Inbounds};

mod draft;
mod have;
mod log;
mod pair;
mod propose;
mod turns;

/// Requests that are worked on at the same time, of each protocol: a thread of the runtime and up to a megabyte each.
/// Streams that say nothing, and watches, cost only themselves: the network bounds those.
const ANSWERED_AT_ONCE: usize = 64;
/// Of those, for one peer: a fetch has two blob requests, and one for what describes them.
const ANSWERED_PER_PEER: usize = 4;
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
    changes: std::sync::Mutex<broadcast::Receiver<Change>>,
    roots: RwLock<HashMap<BlobId, Named>>,
}

/// The packages that name a root, nearly always one, and what each lets ask below it: one may call a text what is another's
/// content.
type Named = Vec<(PackageId, Access)>;

impl Served {
    /// Serves what is known now and whatever becomes known.
    #[must_use]
    pub fn new(histories: &Histories) -> Self {
        let changes = std::sync::Mutex::new(histories.changes());
        let served = Self { histories: histories.clone(), changes, roots: RwLock::default() };
        served.load_all();
        served
    }

    /// What a peer may fetch below `root`, if a package names it of which nobody is blocked. `is_blocked` is asked each time:
    /// blocks come and go.
    #[must_use]
    pub fn access(&self, root: &BlobId, is_blocked: impl Fn(&PackageState) -> bool) -> Access {
        self.catch_up();
        let named = self.roots.read().unwrap_or_else(PoisonError::into_inner).get(root).cloned().unwrap_or_default();
        let is_open = |package: &PackageId| match self.histories.package(*package) {
            Ok(history) => history.is_some_and(|history| !is_blocked(&history.state)),
            Err(error) => {
                tracing::warn!(%package, %error, "a package cannot be served");
                false
            }
        };
        let open = named.into_iter().filter(|(package, _)| is_open(package)).map(|(_, access)| access);
        open.max().unwrap_or(Access::None)
    }

    fn catch_up(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match changes.try_recv() {
                Ok(Change { head }) => match head.origin().subject {
                    Subject::Package(package) => self.load(package),
                    // A device that was admitted brings releases that were there before.
                    Subject::Identity(identity) => self.load_of(identity),
                },
                Err(TryRecvError::Lagged(_)) => self.load_all(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn load_of(&self, identity: IdentityId) {
        for package in self.histories.packages() {
            let owns = |history: &History| history.evidence.heeds(&identity);
            if self.histories.package(package).is_ok_and(|history| history.is_some_and(|history| owns(&history))) {
                self.load(package);
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
                let state = &history.state;
                let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
                for (root, access) in state.releases.values().flat_map(|published| roots_of(&published.release)) {
                    if !state.redacted.contains_key(&root) {
                        let named = roots.entry(root).or_default();
                        if !named.contains(&(package, access)) {
                            named.push((package, access));
                        }
                    } else if let Some(named) = roots.get_mut(&root) {
                        // The same bytes may be another package's, whose owners have not taken them away.
                        named.retain(|(other, _)| *other != package);
                        if named.is_empty() {
                            roots.remove(&root);
                        }
                    }
                }
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
    let Inbounds { blobs, log, have, pair, propose, draft } = inbounds;
    let turns = || Turns::new(ANSWERED_AT_ONCE, ANSWERED_PER_PEER);
    let (of_blobs, of_log, of_have, of_propose) = (turns(), turns(), turns(), turns());
    let watches = log::watches();
    let with = Answering { incidents: &parts.incidents, stop: &stop };
    let on_blobs = with.each(("blob server", "blob answer"), blobs, |inbound| {
        blob_stream(Arc::clone(&parts), Arc::clone(&served), of_blobs.clone(), inbound)
    });
    let on_log = with.each(("log server", "log answer"), log, |inbound| {
        log::answer(Arc::clone(&parts), of_log.clone(), watches.clone(), inbound)
    });
    let on_have = with.each(("have server", "have answer"), have, |inbound| {
        have::answer(Arc::clone(&parts), Arc::clone(&served), of_have.clone(), inbound)
    });
    let on_pair = with.each(("pair server", "pairing"), pair, |inbound| pair::answer(Arc::clone(&parts), inbound));
    let on_propose = with.each(("propose server", "propose answer"), propose, |inbound| {
        propose::answer(Arc::clone(&parts), of_propose.clone(), inbound)
    });
    let on_draft =
        with.each(("draft server", "draft answer"), draft, |inbound| draft::answer(Arc::clone(&parts), inbound));
    futures::join!(on_blobs, on_log, on_have, on_pair, on_propose, on_draft);
}

/// What this peer may fetch below a root: what everybody may, or what a draft names that it may see.
fn access(parts: &Parts, served: &Served, root: &BlobId, peer: &DeviceKey) -> Access {
    match served.access(root, |state| parts.is_blocked(state)) {
        Access::None => parts.drafts.access(&parts.histories, root, peer),
        access => access,
    }
}

/// What a stream that failed says of its peer. Connections break; that is nobody's fault.
const fn deed_of_frame(error: &FrameError) -> Option<Deed> {
    match error {
        FrameError::TooLong { .. } | FrameError::Message(_) => Some(Deed::Malformed),
        FrameError::Timeout => Some(Deed::Stalled),
        FrameError::Refused(_) | FrameError::Io(_) => None,
    }
}

/// The same of a request for blobs that could not be read. One that makes no sense may be the first half of one: a QUIC
/// stream that broke looks like one that ended.
fn deed_of_blob_request(error: &ServeError) -> Option<Deed> {
    match error {
        ServeError::Io(error) if error.kind() == ErrorKind::TimedOut => Some(Deed::Stalled),
        ServeError::Io(_) | ServeError::Request | ServeError::Missing => None,
    }
}

/// Counts what a peer did on a stream that failed.
async fn judge(parts: &Parts, peer: DeviceKey, deed: Option<Deed>) {
    if let (Some(deed), Some(online)) = (deed, parts.online()) {
        // Only a stopping network does not count it.
        let _ = online.net.report(peer, deed).await;
    }
}

/// What becomes of answers.
#[derive(Clone, Copy)]
struct Answering<'a> {
    incidents: &'a Incidents,
    stop: &'a CancellationToken,
}

impl Answering<'_> {
    /// One task for each stream. Each stream has a place that the network gave it, so their number is bounded.
    async fn each<F>(
        self,
        names: (&'static str, &'static str),
        streams: mpsc::Receiver<Inbound>,
        answer: impl Fn(Inbound) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (loop_name, name) = names;
        let streams = Mutex::new(streams);
        let begin = || self.take(name, &streams, &answer);
        self.incidents.clone().keep_running(loop_name, self.stop.clone(), begin).await;
    }

    async fn take<F>(self, name: &'static str, streams: &Mutex<mpsc::Receiver<Inbound>>, answer: &impl Fn(Inbound) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut streams = streams.lock().await;
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                // A panic was noted.
                Some(_) = tasks.join_next() => {}
                inbound = streams.recv() => match inbound {
                    Some(inbound) => {
                        let (incidents, answering) = (self.incidents.clone(), answer(inbound));
                        tasks.spawn(async move { incidents.guard(name, answering).await });
                    }
                    None => break,
                },
            }
        }
        tasks.shutdown().await;
    }
}

async fn blob_stream(parts: Arc<Parts>, served: Arc<Served>, turns: Turns, inbound: Inbound) {
    let blobs = match parts.blobs().await {
        Ok(blobs) => blobs,
        Err(error) => return tracing::warn!(%error, "blobs cannot be served"),
    };
    let Inbound { peer, stream } = inbound;
    let line = Line { turns, peer };
    let access = |root: &BlobId| access(&parts, &served, root, &peer);
    let stats = blobs.serve_in_line(stream, BLOB_IDLE, access, &line).await;
    tracing::debug!(peer = peer.fmt_short(), ?stats, "answered a blob request");
    if let (None, Err(error)) = (stats.root, &stats.outcome) {
        judge(&parts, peer, deed_of_blob_request(error)).await;
    }
}

/// Where a peer waits until its request is worked on.
struct Line {
    turns: Turns,
    peer: DeviceKey,
}

impl Admission for Line {
    const REQUEST: Duration = PATIENCE;
    type Turn = Option<turns::Turn>;

    async fn turn(&self) -> Self::Turn {
        self.turns.take(self.peer).await
    }

    async fn overstayed(&self, sent: impl Fn() -> u64 + Send) {
        self.turns.overstayed(sent).await;
    }
}

#[cfg(test)]
mod tests {
    use syncra_protocol::entry::Body;
    use syncra_protocol::version::Version;

    use super::*;
    use crate::flow::fixture::{Draft, open, tell};
    use crate::flow::roles;

    /// Whoever calls others' content its text, whether that was heard before or after, keeps nobody from it.
    #[tokio::test]
    async fn what_another_package_calls_a_text_is_served_as_content_all_the_same() {
        let (at_home, of_other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (parts, other) = (open(at_home.path()).await, open(of_other.path()).await);
        let own = Draft::new("lamp", "1.0.0").publish(&parts).await;
        let bait = Draft::new("bait", "1.0.0").publish(&other).await;
        let release =
            other.histories.package(bait.package).unwrap().unwrap().state.releases[&bait.release_id].release.clone();
        let manifest = own.release.content_root.into();
        let release = Release { manifest, version: Version::new(2, 0, 0), parents: Vec::new(), ..release };
        roles::write(&other, bait.package, Vec::new(), Body::Release(release)).await.unwrap();

        let heard_later = Served::new(&parts.histories);
        tell(&other, &parts, bait.package).await;
        for served in [heard_later, Served::new(&parts.histories)] {
            assert_eq!(served.access(&manifest, |_| false), Access::Sequence);
            assert_eq!(served.access(&manifest, |state| state.package == own.package), Access::Blob);
            assert_eq!(served.access(&manifest, |_| true), Access::None);
        }
        other.close().await;
        parts.close().await;
    }
}
