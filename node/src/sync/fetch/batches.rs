//! The bytes: batches of parts from every provider, as the fetcher decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncra_protocol::id::{BlobId, ContentRoot};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::fetch::{BatchId, Effect, Failure, Fetcher, Input, PROGRESS_BYTES, Reach};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::plan::Work;
use super::providers::{News, Providers};
use super::{FetchError, Run, Verdict};
use crate::blobs::{
    self, Blobs, Child, FetchFailure, FetchOptions, FetchStats, Parts, Pins, Progress as Piece, Ranges, Request,
};
use crate::clock;
use crate::net::{Net, limits};
use crate::progress::Progress;
use crate::sync::follow::sleep_until;

/// Bytes of a batch, and time, after which its progress is told: whoever waits is woken for it.
const TELL_BYTES: u64 = 16 * PROGRESS_BYTES;
/// See [`TELL_BYTES`].
const TELL_AFTER: Duration = Duration::from_millis(100);
/// How long to wait before everybody is asked again what they have, when nobody has what is missing.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What batches report while they run; coalesced, so its size is bounded by the number of parts.
#[derive(Debug, Default)]
struct Mail {
    arrived: Mutex<HashMap<BatchId, Arrived>>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Arrived {
    bytes: u64,
    held: Vec<BlobId>,
}

/// A batch that ended.
struct Ended {
    batch: BatchId,
    peer: Peer,
    result: Result<FetchStats, FetchFailure>,
}

struct Batches<'a> {
    landed: &'a (dyn Fn(u32) + Sync),
    fetcher: Fetcher,
    work: BTreeMap<u32, Work>,
    numbers: HashMap<BlobId, u32>,
    jobs: JoinSet<Option<Ended>>,
    running: HashMap<BatchId, AbortHandle>,
    mail: Arc<Mail>,
    last_byte: Instant,
    done_bytes: u64,
    total_bytes: u64,
    is_done: bool,
    /// Nobody has what is missing.
    is_starved: bool,
    /// Somebody has it who is too far away, since then.
    only_relayed: Option<Instant>,
}

impl Run<'_> {
    /// Fetches and makes all of `work`; `landed` hears the number of each part that is complete.
    pub(super) async fn batches(
        &mut self,
        root: ContentRoot,
        work: BTreeMap<u32, Work>,
        mut providers: Providers,
        progress: &Progress,
        landed: &(dyn Fn(u32) + Sync),
    ) -> Result<(), FetchError> {
        let mut state = Batches::new(work, landed);
        self.make_without_fetching(&mut state).await?;
        for provider in providers.known.clone() {
            state.provider(provider);
        }
        loop {
            self.perform(root, &mut state).await?;
            progress.bytes("fetch", state.done_bytes, Some(state.total_bytes));
            if state.is_done {
                return self.settle(&mut state).await;
            }
            let give_up = state.last_byte + self.patience;
            let ask_again = Instant::now() + ASK_AGAIN;
            tokio::select! {
                biased;
                Some(ended) = state.jobs.join_next() => self.on_ended(&mut state, ended).await?,
                () = state.mail.notify.notified() => {}
                () = sleep_until(state.fetcher.next_timeout()) => state.fetcher.handle_timeout(clock::steady()),
                news = providers.next() => match news {
                    News::Provider(provider) => state.provider(provider),
                    News::Gone(peer) => state.fetcher.handle(clock::steady(), Input::Gone(peer)),
                    News::Silence => {}
                },
                () = tokio::time::sleep_until(ask_again), if state.waits_for_others() => {
                    if state.only_relayed.is_some_and(|since| since.elapsed() >= limits::PUNCH) {
                        return Err(FetchError::OnlyRelayed { n_bytes: state.fetcher.missing_bytes() });
                    }
                    if providers.known.is_empty() && self.n_corrupt > 0 {
                        return Err(self.nobody(providers.n_asked()));
                    }
                    providers.again();
                }
                () = tokio::time::sleep_until(give_up) => {
                    let n_missing = state.fetcher.n_missing();
                    return Err(FetchError::Stalled { waited: self.patience, n_missing });
                }
            }
            self.collect(&mut state).await?;
        }
    }

    /// Counts what the last batches cost: they end on their own once their last part has come, or were cancelled.
    async fn settle(&mut self, state: &mut Batches<'_>) -> Result<(), FetchError> {
        while let Some(ended) = state.jobs.join_next().await {
            self.on_ended(state, ended).await?;
        }
        Ok(())
    }

    /// Segments of which everything is here already, in older ones.
    async fn make_without_fetching(&mut self, state: &mut Batches<'_>) -> Result<(), FetchError> {
        let ready: Vec<u32> =
            state.work.iter().filter(|(_, work)| work.ranges.is_empty()).map(|(number, _)| *number).collect();
        for number in ready {
            if self.splice(&state.work[&number]).await? {
                (state.landed)(number);
                state.fetcher.handle(clock::steady(), Input::Found(number));
            } else {
                state.whole(number);
            }
        }
        Ok(())
    }

    async fn perform(&mut self, root: ContentRoot, state: &mut Batches<'_>) -> Result<(), FetchError> {
        while let Some(effect) = state.fetcher.poll_effect() {
            match effect {
                Effect::Fetch { batch, peer, parts } => self.begin(root, state, (batch, peer), &parts).await?,
                Effect::Cancel { batch, .. } => {
                    if let Some(job) = state.running.remove(&batch) {
                        job.abort();
                    }
                }
                Effect::Ban(peer) => self.ban(peer).await,
                Effect::Fault { peer, fault } => tracing::debug!(peer = peer.fmt_short(), ?fault, "a provider failed"),
                Effect::Starved { .. } => state.is_starved = true,
                Effect::Done => state.is_done = true,
            }
        }
        Ok(())
    }

    async fn begin(
        &self,
        root: ContentRoot,
        state: &mut Batches<'_>,
        (batch, peer): (BatchId, Peer),
        parts: &[u32],
    ) -> Result<(), FetchError> {
        let mut children = Vec::with_capacity(parts.len());
        for number in parts {
            let Some(work) = state.work.get(number) else { continue };
            // Somebody who was given up may have sent a part of it.
            let missing = work.ranges.common(&self.blobs.missing_of(work.id).await?);
            // All of it: then one chunk more, and it is told in the usual way that everything is here.
            let ranges = if missing.is_empty() { work.ranges.first_chunk() } else { missing };
            children.push(Child { index: *number, ranges, size: work.size });
        }
        let request = Request { root: root.into(), parts: Parts::Children(children) };
        let job = Job {
            net: self.net.clone(),
            blobs: self.blobs.clone(),
            // Every child is kept by the run's pins already; these only serve the call.
            pins: self.blobs.pins(),
            mail: Arc::clone(&state.mail),
            idle: self.patience.min(FetchOptions::default().idle),
        };
        (state.is_starved, state.only_relayed) = (false, None);
        let incidents = self.net.incidents().clone();
        let handle = state.jobs.spawn(async move {
            let broken = || Some(Ended { batch, peer, result: Err(broken()) });
            incidents.guard("fetch", job.run(batch, peer, request)).await.unwrap_or_else(broken)
        });
        state.running.insert(batch, handle);
        Ok(())
    }

    async fn on_ended(
        &mut self,
        state: &mut Batches<'_>,
        ended: Result<Option<Ended>, tokio::task::JoinError>,
    ) -> Result<(), FetchError> {
        // What the batch reported last counts before its end.
        self.collect(state).await?;
        // A cancelled batch says nothing; the fetcher knows already.
        let Ok(ended) = ended else { return Ok(()) };
        let Some(Ended { batch, peer, result }) = ended else { return Ok(()) };
        state.running.remove(&batch);
        let result = match result {
            Ok(stats) => {
                self.count(peer, stats.received);
                Ok(())
            }
            Err(failure) => {
                self.count(peer, failure.stats.received);
                Err(match self.judge(peer, failure.error).await? {
                    Verdict::Corrupt => Failure::Corrupt,
                    Verdict::Lacks => Failure::NotFound,
                    Verdict::Stalled => Failure::Stalled,
                    Verdict::Gone => Failure::Gone,
                })
            }
        };
        state.fetcher.handle(clock::steady(), Input::Ended { batch, result });
        Ok(())
    }

    /// Takes in what batches reported; makes the segments whose ranges are complete.
    async fn collect(&mut self, state: &mut Batches<'_>) -> Result<(), FetchError> {
        let arrived = std::mem::take(&mut *state.mail.arrived.lock().unwrap_or_else(PoisonError::into_inner));
        for (batch, Arrived { bytes, held }) in arrived {
            state.last_byte = Instant::now();
            state.done_bytes += bytes;
            state.fetcher.handle(clock::steady(), Input::Progress { batch, n_bytes: bytes });
            for id in held {
                let Some(number) = state.numbers.get(&id).copied() else { continue };
                if self.splice(&state.work[&number]).await? {
                    (state.landed)(number);
                    state.fetcher.handle(clock::steady(), Input::Got { batch, part: number });
                } else {
                    state.whole(number);
                }
            }
        }
        Ok(())
    }
}

impl<'a> Batches<'a> {
    fn new(work: BTreeMap<u32, Work>, landed: &'a (dyn Fn(u32) + Sync)) -> Self {
        let missing = work.iter().map(|(number, work)| work.part(*number));
        let seed = u64::from_le_bytes(clock::random());
        let fetcher = Fetcher::new(missing, seed);
        Self {
            landed,
            total_bytes: fetcher.missing_bytes(),
            fetcher,
            numbers: work.iter().map(|(number, work)| (work.id, *number)).collect(),
            work,
            jobs: JoinSet::new(),
            running: HashMap::new(),
            mail: Arc::default(),
            last_byte: Instant::now(),
            done_bytes: 0,
            is_done: false,
            is_starved: false,
            only_relayed: None,
        }
    }

    fn waits_for_others(&self) -> bool {
        (self.is_starved || self.only_relayed.is_some()) && self.jobs.is_empty()
    }

    fn provider(&mut self, provider: super::Provider) {
        let super::Provider { peer, reach, haves } = provider;
        // Asked again later, it may be reached directly.
        if reach == Reach::Relayed && self.total_bytes > limits::RELAYED_FETCH_BYTES {
            self.only_relayed.get_or_insert_with(Instant::now);
            return;
        }
        self.fetcher.handle(clock::steady(), Input::Provider { peer, reach, haves });
    }

    /// A segment that could not be made from older ones is fetched whole.
    fn whole(&mut self, number: u32) {
        if let Some(work) = self.work.get_mut(&number) {
            (work.ranges, work.splice) = (Ranges::all(), None);
        }
    }
}

/// How a request ends that panicked: as if its peer had gone.
fn broken() -> FetchFailure {
    let error = blobs::FetchError::Io(std::io::Error::other("the request panicked"));
    FetchFailure { error, stats: FetchStats::default() }
}

/// One request to one peer.
struct Job {
    net: Net,
    blobs: Blobs,
    pins: Pins,
    mail: Arc<Mail>,
    idle: Duration,
}

impl Job {
    async fn run(self, batch: BatchId, peer: Peer, request: Request) -> Option<Ended> {
        let stream = match super::open(&self.net, peer).await {
            Ok(stream) => stream,
            Err(error) => {
                let error = blobs::FetchError::Io(std::io::Error::other(error));
                return Some(Ended { batch, peer, result: Err(FetchFailure { error, stats: FetchStats::default() }) });
            }
        };
        let options = FetchOptions { idle: self.idle, ..FetchOptions::default() };
        let mail = Arc::clone(&self.mail);
        let (mut untold, mut told_at) = (0, Instant::now());
        let report = move |piece| {
            let mut arrived = mail.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            let arrived = arrived.entry(batch).or_default();
            match piece {
                Piece::Bytes(bytes) => {
                    arrived.bytes += bytes;
                    untold += bytes;
                    if untold < TELL_BYTES && told_at.elapsed() < TELL_AFTER {
                        return;
                    }
                }
                Piece::Held(id) => arrived.held.push(id),
            }
            (untold, told_at) = (0, Instant::now());
            mail.notify.notify_one();
        };
        let result = self.blobs.fetch(stream, &request, &options, &self.pins, report).await;
        Some(Ended { batch, peer, result })
    }
}
