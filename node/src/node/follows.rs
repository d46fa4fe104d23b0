//! The task that keeps followed packages up to date: it hears of heads, peers and follows, and installs what may be
//! installed unasked. It asks nobody by itself whether there is news.
//!
//! One package is installed at a time, in a queue as long as there are follows. Whoever waits for the history of a package
//! that it needs waits beside that queue: nobody may have it, and that takes long to find out. What fails is tried again
//! when there is news, when somebody connects, and after a while. The generation in force stays until the next one is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use syncra_protocol::id::PackageId;
use syncra_protocol::origin::Subject;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Online;
use crate::event::{Event, Subscription};
use crate::flow::follow::{self, FollowError, Next, Objection, Standing};
use crate::flow::install::{self, InstallError};
use crate::flow::{Parts, resolve, seek};
use crate::history::Change;
use crate::progress::Progress;
use crate::sync::fetch::{self, FetchError, Want};

/// How long news is gathered before anything is done: a publish makes several heads grow.
const GATHER: Duration = Duration::from_millis(150);
/// How long after a failure it is tried again; doubled each time.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait.
const RETRY_MOST: Duration = Duration::from_secs(600);
/// How long one history is looked for.
const LOOK_UP: Duration = Duration::from_secs(60);
/// Histories that are looked for at the same time; the rest of the table's look-ups are for whoever sits in front of it.
const LOOK_UPS: usize = 8;
/// Histories and manifests that one update may need: more than any package has dependencies.
const STEPS: usize = 2 * syncra_protocol::limits::DEPENDENCIES;

/// Why a followed package was not brought up to date.
#[derive(Debug, thiserror::Error)]
enum BringError {
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("nobody in reach knows package {0}, which it needs")]
    Unknown(PackageId),
    #[error("it needs too many other packages")]
    TooManySteps,
}

/// Keeps what is followed up to date until `stop`.
pub(super) async fn keep_up(parts: Arc<Parts>, online: Online, stop: CancellationToken) {
    let happened = parts.events.subscribe(None);
    let (due, again, retries, told) = Default::default();
    let bringer = Arc::new(Bringer { parts, online, turn: Mutex::new(()), look_ups: Semaphore::new(LOOK_UPS) });
    let under_way = UnderWay { packages: BTreeSet::new(), again, all: FuturesUnordered::new() };
    let keeper = Keeper { bringer, happened, due, under_way, retries, told };
    tokio::select! {
        () = stop.cancelled() => {}
        () = keeper.run() => {}
    }
}

struct Keeper {
    bringer: Arc<Bringer>,
    happened: Subscription,
    /// Followed packages to look at: no more than are followed.
    due: BTreeSet<PackageId>,
    under_way: UnderWay,
    /// What failed: how often, and when it is tried again.
    retries: BTreeMap<PackageId, (u32, Instant)>,
    /// The refusal last told, so that each is told once.
    told: BTreeMap<PackageId, String>,
}

/// Packages that are being brought up to date: each once.
struct UnderWay {
    packages: BTreeSet<PackageId>,
    /// Of these, those that became due meanwhile.
    again: BTreeSet<PackageId>,
    all: FuturesUnordered<BoxFuture<'static, (PackageId, Brought)>>,
}

/// Whether a followed package is up to date now; none once it is followed no more.
type Brought = Result<Option<Standing>, BringError>;

impl Keeper {
    async fn run(mut self) {
        let Bringer { parts, online, .. } = &*self.bringer;
        let (mut changes, mut arrivals) = (parts.histories.changes(), online.sync.arrivals());
        let mut heard = parts.witnesses.heard_of();
        // What stands still since the last run, for instance because that was killed.
        self.all_due();
        loop {
            let gathered = tokio::time::sleep(GATHER);
            tokio::pin!(gathered);
            loop {
                let wake = self.retries.values().map(|(_, at)| *at).min();
                let is_idle = self.due.is_empty();
                tokio::select! {
                    change = changes.recv() => match change {
                        Ok(change) => self.on_change(&change),
                        Err(RecvError::Lagged(_)) => self.all_due(),
                        Err(RecvError::Closed) => return,
                    },
                    arrival = arrivals.recv() => match arrival {
                        Ok(package) => self.on_arrival(package),
                        Err(RecvError::Lagged(_)) => self.due.extend(self.retries.keys()),
                        Err(RecvError::Closed) => return,
                    },
                    // What waits for witnesses may have waited for this one.
                    Ok(_) | Err(RecvError::Lagged(_)) = heard.recv() => self.due.extend(self.retries.keys()),
                    frame = self.happened.next() => self.on_event(frame.event),
                    () = sleep_until(wake) => self.retry(),
                    Some((package, outcome)) = self.under_way.all.next() => self.on_outcome(package, outcome),
                    () = &mut gathered, if !is_idle => break,
                }
                if is_idle {
                    gathered.as_mut().reset(Instant::now() + GATHER);
                }
            }
            for package in std::mem::take(&mut self.due) {
                self.look_after(package);
            }
        }
    }

    fn is_followed(&self, package: PackageId) -> bool {
        follow::get(&self.bringer.parts, package).is_some()
    }

    fn on_change(&mut self, change: &Change) {
        match change.head.origin().subject {
            // A package that a followed one waits for is not followed itself: then everything that failed is due.
            Subject::Package(package) if !self.is_followed(package) => {
                self.due.extend(self.retries.keys());
            }
            Subject::Package(package) => drop(self.due.insert(package)),
            Subject::Identity(_) => self.all_due(),
        }
    }

    /// A peer has content that it had not before: what failed for the lack of it is tried at once.
    fn on_arrival(&mut self, package: PackageId) {
        if !self.is_followed(package) {
            self.due.extend(self.retries.keys()); // a followed one may wait for it
        } else if self.retries.contains_key(&package) {
            self.due.insert(package);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Followed { package, .. } => drop(self.due.insert(package)),
            Event::Unfollowed { package } => {
                self.retries.remove(&package);
                self.told.remove(&package);
            }
            Event::PeerConnected { .. } | Event::Resync => self.all_due(),
            // What the policy refused it may allow now.
            Event::ConfigChanged { .. } => self.due.extend(self.retries.keys()),
            _ => {}
        }
    }

    fn all_due(&mut self) {
        self.due.extend(follow::list(&self.bringer.parts).into_iter().map(|followed| followed.package));
    }

    fn retry(&mut self) {
        let now = Instant::now();
        let due: Vec<PackageId> =
            self.retries.iter().filter(|(_, (_, at))| *at <= now).map(|(package, _)| *package).collect();
        for package in due {
            // Put off for as long as it may take; whoever looks after it says when to try next.
            self.retries.entry(package).and_modify(|(_, at)| *at = now + RETRY_MOST);
            self.due.insert(package);
        }
    }

    fn look_after(&mut self, package: PackageId) {
        if !self.under_way.packages.insert(package) {
            self.under_way.again.insert(package);
            return;
        }
        let bringer = Arc::clone(&self.bringer);
        self.under_way.all.push(async move { (package, bringer.bring(package).await) }.boxed());
    }

    fn on_outcome(&mut self, package: PackageId, outcome: Brought) {
        self.under_way.packages.remove(&package);
        if self.under_way.again.remove(&package) {
            self.due.insert(package);
        }
        let parts = &self.bringer.parts;
        match outcome {
            Ok(Some(Standing::Refused { version, why })) => {
                match why {
                    // Time alone may settle that.
                    Objection::Unwitnessed(_) => {
                        self.retries.insert(package, (0, Instant::now() + RETRY_MOST));
                    }
                    _ => drop(self.retries.remove(&package)),
                }
                let reference = resolve::text(&parts.histories, package).unwrap_or_else(|_| package.to_string());
                let (reason, hint) = (why.reason(), why.hint(&reference));
                let version_text = version.as_ref().map(ToString::to_string).unwrap_or_default();
                let refusal = format!("{version_text}: {reason}");
                if self.told.insert(package, refusal.clone()) != Some(refusal) {
                    tracing::warn!(%reference, version = version_text, reason, "not installed unasked");
                    parts.emit(Event::FollowRefused { package, reference, version, reason, hint });
                }
            }
            Ok(_) => {
                self.retries.remove(&package);
                self.told.remove(&package);
            }
            // Nobody wants to know any more.
            Err(_) if !self.is_followed(package) => drop(self.retries.remove(&package)),
            Err(error) => self.failed(package, &error),
        }
    }

    fn failed(&mut self, package: PackageId, error: &BringError) {
        let (n_tries, at) = self.retries.entry(package).or_insert((0, Instant::now()));
        let is_first = *n_tries == 0;
        let wait = RETRY.saturating_mul(1 << (*n_tries).min(16)).min(RETRY_MOST);
        *n_tries = n_tries.saturating_add(1);
        *at = Instant::now() + wait;
        tracing::info!(%package, %error, ?wait, "a followed package was not brought up to date");
        // Nobody having all of it yet is how news spreads, not a failure to tell people about.
        let is_early =
            matches!(error, BringError::Install(InstallError::Content(_)) | BringError::Fetch(_)) && is_first;
        if !is_early {
            self.bringer.parts.emit(Event::FollowFailed { package, reason: error.to_string() });
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What brings packages up to date.
struct Bringer {
    parts: Arc<Parts>,
    online: Online,
    /// Whoever has it works out what is to be done, and does it.
    turn: Mutex<()>,
    look_ups: Semaphore,
}

impl Bringer {
    /// Installs what a follow means now, if that may be done unasked. Returns where the package stands then; nothing if it
    /// is not followed any more.
    async fn bring(&self, package: PackageId) -> Brought {
        for _ in 0..STEPS {
            let turn = self.turn.lock().await;
            let Some(followed) = follow::get(&self.parts, package) else { return Ok(None) };
            let next = match follow::standing(&self.parts, &followed).await? {
                Standing::Behind { next, .. } => next,
                standing => return Ok(Some(standing)),
            };
            match next {
                Next::History(needed) => {
                    drop(turn);
                    self.look_up(needed).await?;
                }
                Next::Manifest(release) => {
                    let pins = self.parts.blobs().await.map_err(FollowError::from)?.pins();
                    let want = Want::of(&release, Vec::new());
                    fetch::beside(&self.parts, &self.online.net, &want, &pins, fetch::PATIENCE).await?;
                }
                Next::Install(plan) => match install::apply(&self.parts, *plan, &Progress::unwatched()).await {
                    // Somebody else installed something: look again.
                    Ok(_) | Err(InstallError::Changed) => {}
                    Err(error) => return Err(error.into()),
                },
            }
        }
        Err(BringError::TooManySteps)
    }

    /// Takes in the history of a package that another one needs.
    async fn look_up(&self, needed: PackageId) -> Result<(), BringError> {
        let _place = self.look_ups.acquire().await;
        let asking = Box::pin(seek::history(&self.parts, &self.online, needed));
        match tokio::time::timeout(LOOK_UP, asking).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(BringError::Unknown(needed)),
        }
    }
}
