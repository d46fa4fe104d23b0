//! The task that keeps one package up to date: it drives a [`Follower`] and does what that decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::evidence::Evidence;
use syncra_protocol::fold::Changes;
use syncra_protocol::id::PackageId;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::message::log::Heads;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Ask, Commit, Effect, Failure, Fault, Follower, Input};
use syncra_protocol::sync::omission::Omissions;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ask;
use super::unasked::Unasked;
use crate::clock;
use crate::flow::Parts;
use crate::history::Change;
use crate::net::Net;

/// Messages that may wait for one package's task.
pub(super) const MAILBOX: usize = 256;

/// How long a refresh waits, once somebody has answered, for those who have not. They are listened to all the same when
/// they answer later.
const QUIET: Duration = Duration::from_secs(2);

/// When entries for which there was no room are asked for again.
const NO_ROOM: Duration = Duration::from_secs(3_600);

/// What the hub tells the task of a package.
#[derive(Debug)]
pub(super) enum Message {
    /// Something happened.
    Input(Box<Input>),
    /// Ask these peers now, and answer when nothing is under way any more.
    Refresh { peers: Vec<Peer>, wait: Wait, reply: oneshot::Sender<Refreshed> },
    /// Ask a sibling now for what it told of and nobody here asked for, and answer likewise.
    Told { peer: Peer, reply: oneshot::Sender<Refreshed> },
    /// These peers are connected, and others not; ask them all: something was left out before.
    Connected(Vec<Peer>),
}

impl Message {
    pub(super) fn input(input: Input) -> Self {
        Self::Input(Box::new(input))
    }
}

/// For whom a question of several peers waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Once somebody has answered, for the others only a little longer.
    ForSome,
    /// For everybody and all that they bring, until then: what is still under way is told as it is.
    ForAll {
        /// When nobody waits any more.
        until: Instant,
    },
}

/// What asking peers about a package brought.
#[derive(Debug, Clone, Default)]
pub struct Refreshed {
    /// Peers that were asked.
    pub n_peers: usize,
    /// Those among them who know the package, of what was heard before nobody waited any more.
    pub answered: BTreeSet<Peer>,
    /// Those among them who may know it, and were lost, slow or busy, or have not answered yet. Their answers are taken in all
    /// the same when they come.
    pub silent: BTreeSet<Peer>,
    /// The most entries that they have shown of this device's own logs.
    pub own: BTreeMap<Origin, u64>,
    /// What some of them did that they may not.
    pub faults: Vec<(Peer, Fault)>,
}

/// Where the tasks of packages tell what they find.
#[derive(Debug, Clone)]
pub(super) struct Tells {
    /// To the hub.
    pub(super) reports: mpsc::Sender<Report>,
    /// What peers leave out, of all packages.
    pub(super) omissions: Arc<std::sync::Mutex<Omissions>>,
    /// Packages of which not everything is taken in.
    pub(super) unasked: Arc<Unasked>,
}

impl Tells {
    pub(super) fn omissions(&self) -> std::sync::MutexGuard<'_, Omissions> {
        self.omissions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the task tells the hub.
#[derive(Debug)]
pub(super) enum Report {
    /// The package's state has changed.
    Updated(PackageId, Changes),
    /// A peer did something that it may not.
    Fault(PackageId, Peer, Fault),
}

/// Runs the task of a package, also after a panic: then with whoever is connected, as the hub will not tell it again.
pub(super) async fn keep_following(
    parts: Arc<Parts>,
    net: Net,
    package: PackageId,
    tells: Tells,
    inbox: mpsc::Receiver<Message>,
    stop: CancellationToken,
) {
    let (incidents, token, inbox) = (parts.incidents.clone(), stop.clone(), Arc::new(Mutex::new(inbox)));
    let mut is_again = false;
    let begin = move || {
        let is_again = std::mem::replace(&mut is_again, true);
        let mut task = Task::new(Arc::clone(&parts), net.clone(), package, tells.clone());
        let (net, inbox, stop) = (net.clone(), Arc::clone(&inbox), token.clone());
        async move {
            let mut inbox = inbox.lock().await;
            if is_again && !inbox.is_closed() {
                for peer in net.peers().await.unwrap_or_default() {
                    task.on_input(Input::PeerUp(peer.key));
                }
            }
            task.run(&mut inbox, &stop).await;
        }
    };
    Box::pin(incidents.keep_running("package", stop, begin)).await;
}

struct Task {
    parts: Arc<Parts>,
    net: Net,
    follower: Follower,
    jobs: JoinSet<Input>,
    waiting: Vec<oneshot::Sender<Refreshed>>,
    /// Until when one of them waits for all who were asked; then all do.
    until: Option<Instant>,
    refreshed: Refreshed,
    /// Jobs that are no questions for heads.
    n_working: usize,
    /// When somebody asked by a refresh answered last; none before.
    answered_at: Option<Instant>,
    peers: Vec<Peer>,
    /// Somebody here wants to know: then everything is taken in.
    is_wanted: bool,
    /// Whether entries came that count as on their way.
    has_taken: bool,
    tells: Tells,
}

impl Task {
    /// Follows on from what is stored; what cannot be read is fetched again.
    fn new(parts: Arc<Parts>, net: Net, package: PackageId, tells: Tells) -> Self {
        let follower = resume(&parts, package);
        let (jobs, waiting, refreshed) = (JoinSet::new(), Vec::new(), Refreshed::default());
        let (n_working, answered_at, peers) = (0, None, Vec::new());
        let (until, is_wanted, has_taken) = (None, false, true);
        let mut task = Self {
            parts,
            net,
            follower,
            jobs,
            waiting,
            until,
            refreshed,
            n_working,
            answered_at,
            peers,
            is_wanted,
            has_taken,
            tells,
        };
        task.count_stored();
        task
    }

    /// Works until `stop`, or until the mailbox is closed and everything asked is answered.
    async fn run(mut self, mailbox: &mut mpsc::Receiver<Message>, stop: &CancellationToken) {
        let mut changes = self.parts.histories.changes();
        let mut open = true;
        while open || !self.jobs.is_empty() {
            let (wake, answer_at) = (self.follower.next_timeout(), self.answer_at());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(input) => self.on_done(input),
                    Err(error) => tracing::error!(%error, "a task that asked a peer failed"),
                },
                () = at(answer_at) => self.answer(),
                () = sleep_until(wake) => self.follower.handle_timeout(clock::steady()),
                message = mailbox.recv(), if open => match message {
                    Some(message) => self.on_message(message),
                    None => open = false,
                },
                change = changes.recv() => self.on_change(change),
            }
            self.perform_all().await;
            if self.jobs.is_empty() {
                self.count_stored();
            }
            self.answer_if_idle();
        }
        self.jobs.shutdown().await;
    }

    fn on_done(&mut self, input: Input) {
        let input = self.admitted(input);
        match &input {
            Input::Heads { peer, heads } => {
                self.answered_at = Some(Instant::now());
                if self.refreshed.silent.remove(peer) {
                    self.refreshed.answered.insert(*peer);
                    self.note_own(heads);
                }
            }
            Input::Failed { peer, ask: Ask::Heads, failure } => {
                if !matches!(failure, Failure::Lost | Failure::Slow | Failure::Busy { .. }) {
                    self.refreshed.silent.remove(peer);
                }
                // Both were silent until the end.
                if !matches!(failure, Failure::Lost | Failure::Slow) {
                    self.answered_at = Some(Instant::now());
                }
            }
            _ => {
                self.n_working = self.n_working.saturating_sub(1);
                self.answered_at = Some(Instant::now());
            }
        }
        let committed = if let Input::Committed(origin) = &input { Some(*origin) } else { None };
        self.follower.handle(clock::steady(), input);
        // A proof may have come while nothing was held of the log.
        if let Some(origin) = committed {
            self.on_fork(&origin);
        }
    }

    /// What a peer shows of this device's own logs is told to whoever waits, whether its entries come or not.
    fn note_own(&mut self, heads: &Heads) {
        let device = self.parts.device.to_string();
        let is_own = |note: &[u8]| note.windows(device.len()).any(|text| text == device.as_bytes());
        let own = heads.notes.iter().filter(|note| is_own(&note.0)).filter_map(|note| Head::verify(&note.0).ok());
        for head in own.filter(|head| head.origin().key == self.parts.device) {
            let shown = self.refreshed.own.entry(*head.origin()).or_default();
            *shown = head.size().max(*shown);
        }
    }

    /// Entries for which there is no room come another time, perhaps. What this device's own identity says has room.
    fn admitted(&mut self, input: Input) -> Input {
        let Input::Entries { peer, origin, entries, .. } = &input else { return input };
        let package = self.follower.package();
        let is_own_identitys = origin.subject == Subject::Identity(self.parts.identity());
        if is_own_identitys || self.is_wanted || !self.tells.unasked.contains(&package) {
            return input;
        }
        self.has_taken = true;
        let n_bytes = entries.entries.iter().map(|entry| entry.0.len() as u64).sum();
        if self.tells.unasked.admit(&package, n_bytes) {
            return input;
        }
        tracing::warn!(%origin, "no room for more of a package that only a sibling told of: `info` or `follow` brings it");
        let failure = Failure::Busy { retry_after: NO_ROOM };
        Input::Failed { peer: *peer, ask: Ask::Entries(*origin), failure }
    }

    /// Of a package that nobody here asked for it counts what is stored; what its own identity says is held anyway.
    fn count_stored(&mut self) {
        let package = self.follower.package();
        if !std::mem::take(&mut self.has_taken) || !self.tells.unasked.contains(&package) {
            return;
        }
        let heads = self.follower.evidence().into_iter().flat_map(Evidence::heads);
        let others = heads.filter(|head| head.origin().subject != Subject::Identity(self.parts.identity()));
        let n_bytes = others.map(|head| self.parts.histories.stored_bytes(head.origin())).sum();
        self.tells.unasked.stored(&package, n_bytes);
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.on_input(*input),
            Message::Refresh { peers, wait, reply } => {
                self.is_wanted = true;
                self.ask_anew(peers, wait, reply);
            }
            Message::Told { peer, reply } => self.ask_anew(vec![peer], Wait::ForSome, reply),
            Message::Connected(peers) => self.on_connected(&peers),
        }
    }

    fn on_connected(&mut self, peers: &[Peer]) {
        for peer in self.peers.clone() {
            self.on_input(Input::PeerGone(peer));
        }
        for peer in peers {
            self.on_input(Input::PeerUp(*peer));
        }
    }

    fn ask_anew(&mut self, peers: Vec<Peer>, wait: Wait, reply: oneshot::Sender<Refreshed>) {
        self.refreshed.n_peers += peers.len();
        self.waiting.push(reply);
        if let Wait::ForAll { until } = wait {
            self.until = self.until.max(Some(until));
        }
        self.answered_at = None;
        for peer in peers {
            self.refreshed.silent.insert(peer);
            // Gone and back: a peer that is known already is asked anew.
            self.follower.handle(clock::steady(), Input::PeerGone(peer));
            self.on_input(Input::PeerUp(peer));
        }
    }

    fn on_input(&mut self, input: Input) {
        match &input {
            Input::PeerUp(peer) if !self.peers.contains(peer) => self.peers.push(*peer),
            Input::PeerGone(peer) => self.peers.retain(|known| known != peer),
            _ => {}
        }
        self.follower.handle(clock::steady(), input);
    }

    /// This device's own logs grow elsewhere: follow on from what is stored then. An owner's log that another package
    /// brought need not be fetched again.
    fn on_change(&mut self, change: Result<Change, broadcast::error::RecvError>) {
        let package = self.follower.package();
        let Ok(Change { head }) = change else { return self.resume() };
        let origin = head.origin();
        let owners = |identity| self.follower.evidence().is_some_and(|e| e.heeds(&identity));
        let concerns = match origin.subject {
            Subject::Package(changed) => changed == package,
            Subject::Identity(identity) => owners(identity),
        };
        if !concerns {
            return;
        }
        self.on_fork(origin);
        self.on_witnesses(origin);
        let evidence = self.follower.evidence();
        if origin.key == self.parts.device {
            if head.size() > evidence.map_or(0, |evidence| evidence.size(origin)) {
                self.resume();
            }
        } else if matches!(origin.subject, Subject::Identity(_)) {
            match self.parts.histories.identity_log(origin) {
                // Shorter, or of a log that is frozen: the follower goes on with what it holds.
                Ok(Some(log)) => {
                    drop(self.follower.share(clock::steady(), &log));
                    self.on_fork(origin);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%origin, %error, "what was stored of an owner cannot be read"),
            }
        }
    }

    /// A fork that was proved elsewhere, or shown there where its histories part: by another package's peers, or by a file.
    fn on_fork(&mut self, origin: &Origin) {
        // Of which nothing is held one history is fetched first, so that there is a head to show with the proof.
        if self.follower.evidence().is_none_or(|known| known.size(origin) == 0) {
            return;
        }
        let Some(known) = self.parts.histories.fork(origin) else { return };
        let has_all = |evidence: &Evidence| {
            let is_less =
                |here: Option<u64>, there: Option<u64>| there.is_none_or(|n| here.is_some_and(|here| here <= n));
            evidence.is_forked(origin)
                && is_less(evidence.n_common(origin), known.n_common)
                && evidence.fork_point(origin).is_some() >= known.point.is_some()
        };
        if !self.follower.evidence().is_some_and(has_all) {
            self.follower.handle(clock::steady(), Input::Fork(Box::new(known)));
        }
    }

    /// What the reader's witnesses have seen of a forked log decides with which of its entries count.
    fn on_witnesses(&mut self, origin: &Origin) {
        let Some(evidence) = self.follower.evidence().filter(|evidence| evidence.is_forked(origin)) else { return };
        let quorum = evidence.log(origin).and_then(|log| self.parts.witnesses.quorum(log));
        if evidence.quorum(origin) != quorum.as_ref() {
            self.follower.handle(clock::steady(), Input::Witnessed(*origin, quorum));
        }
    }

    fn resume(&mut self) {
        self.follower = resume(&self.parts, self.follower.package());
        for peer in self.peers.clone() {
            self.follower.handle(clock::steady(), Input::PeerUp(peer));
        }
    }

    async fn perform_all(&mut self) {
        while let Some(effect) = self.follower.poll_effect() {
            match effect {
                Effect::AskHeads { peer } => self.ask_heads(peer),
                Effect::AskEntries { peer, origin, from } => {
                    let net = self.net.clone();
                    self.n_working += 1;
                    self.jobs.spawn(async move {
                        match guarded(&net, ask::entries(&net, peer, origin, from)).await {
                            Ok(entries) => Input::Entries { peer, origin, from, entries },
                            Err(failure) => Input::Failed { peer, ask: Ask::Entries(origin), failure },
                        }
                    });
                }
                Effect::Commit(commit) => self.commit(commit),
                Effect::Updated(changes) => self.report(Report::Updated(self.follower.package(), changes)).await,
                Effect::Fault { peer, fault } => self.on_fault(peer, fault).await,
                Effect::Shown { peer, shown } => self.tells.omissions().answered(clock::steady(), peer, &shown),
                Effect::Cosigned(head) => match self.parts.witnesses.hear(&head).await {
                    Ok(true) => self.parts.histories.reconsider(head.origin()),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "what witnesses say could not be kept"),
                },
                Effect::Common { origin, n_common } => self.keep_common(origin, n_common).await,
                Effect::ForkPoint(point) => {
                    if let Err(error) = self.parts.histories.keep_fork_point(&point).await {
                        tracing::error!(%error, "where a forked log parts could not be kept");
                    }
                }
                Effect::RetryAt(at) => tracing::debug!(?at, "nobody can be asked before"),
            }
        }
    }

    fn ask_heads(&mut self, peer: Peer) {
        let (net, package) = (self.net.clone(), self.follower.package());
        self.jobs.spawn(async move {
            match guarded(&net, ask::heads(&net, peer, package)).await {
                Ok(heads) => Input::Heads { peer, heads },
                Err(failure) => Input::Failed { peer, ask: Ask::Heads, failure },
            }
        });
    }

    fn commit(&mut self, commit: Commit) {
        let parts = Arc::clone(&self.parts);
        self.n_working += 1;
        self.jobs.spawn(async move {
            let work = parts.histories.commit(commit.first, &commit.entries, &commit.head);
            match parts.incidents.guard("commit", work).await {
                Some(Ok(())) => Input::Committed(commit.origin),
                Some(Err(error)) => {
                    tracing::warn!(origin = %commit.origin, %error, "verified entries were not stored");
                    Input::CommitFailed(commit.origin)
                }
                None => Input::CommitFailed(commit.origin),
            }
        });
    }

    async fn on_fault(&mut self, peer: Peer, fault: Fault) {
        match &fault {
            // Whoever has not heard yet of what was published a moment ago.
            Fault::Rollback { .. } => tracing::debug!(peer = peer.fmt_short(), ?fault, "a peer is behind"),
            Fault::Fork(proof) => {
                let (origin, sizes) = (proof.origin(), [proof.older().size(), proof.newer().size()]);
                tracing::warn!(%origin, ?sizes, "the key of a log has signed two histories");
            }
            _ => tracing::warn!(peer = peer.fmt_short(), ?fault, "a peer's answer was refused"),
        }
        if let Fault::Fork(proof) = &fault
            && let Err(error) = self.parts.histories.keep_fork(proof).await
        {
            tracing::error!(%error, "a fork proof could not be kept");
        }
        self.refreshed.faults.push((peer, fault.clone()));
        self.report(Report::Fault(self.follower.package(), peer, fault)).await;
    }

    async fn keep_common(&self, origin: Origin, n_common: u64) {
        tracing::warn!(%origin, n_common, "the histories of a forked log part here");
        if let Err(error) = self.parts.histories.keep_common(origin, n_common).await {
            // The follower has settled it; after a restart it asks for the other history again.
            tracing::error!(%error, "where a forked log parts could not be kept");
        }
    }

    async fn report(&self, report: Report) {
        // The hub ends before its tasks only when everything ends.
        drop(self.tells.reports.send(report).await);
    }

    /// When whoever waits is answered though not everything has come; none while there is no such time.
    fn answer_at(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let quiet = || self.answered_at.filter(|_| self.n_working == 0).map(|at| at + QUIET);
        self.until.or_else(quiet)
    }

    fn answer_if_idle(&mut self) {
        if self.jobs.is_empty() && !self.waiting.is_empty() {
            self.answer();
        }
    }

    fn answer(&mut self) {
        self.until = None;
        let refreshed = std::mem::take(&mut self.refreshed);
        for waiting in self.waiting.drain(..) {
            // Whoever gave up waiting needs no answer.
            drop(waiting.send(refreshed.clone()));
        }
    }
}

/// Ends then; never without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What a peer was asked; when that panics, it counts as lost.
async fn guarded<T>(net: &Net, asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    net.incidents().guard("ask", asking).await.unwrap_or(Err(Failure::Lost))
}

fn resume(parts: &Parts, package: PackageId) -> Follower {
    match parts.histories.package(package) {
        Ok(Some(history)) => Follower::resume(history.evidence.clone()),
        Ok(None) => Follower::new(package),
        Err(error) => {
            tracing::warn!(%error, "what is stored of a package cannot be read and is fetched again");
            Follower::new(package)
        }
    }
}

/// Sleeps until a machine's next time-out, by the clock that nobody sets; for ever without one.
pub(super) async fn sleep_until(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(clock::steady())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use syncra_protocol::bounded::Blob;
    use syncra_protocol::key::DeviceSecret;
    use syncra_protocol::limits::{IDENTITY_BYTES, IDENTITY_PACKAGE_BYTES};
    use syncra_protocol::message::log::Entries;

    use super::*;
    use crate::flow::fixture::{Draft, open, tell};
    use crate::net::NetConfig;

    fn answer(parts: &Parts, origin: Origin, n_bytes: u64) -> Input {
        let (log, head) = parts.histories.log(&origin).unwrap().unwrap();
        let mut entries = Entries::answer(&log, &head, (0, 1), [Vec::new()]).unwrap();
        let whole = vec![0; 1 << 15];
        entries.entries = (0..n_bytes >> 15).map(|_| Blob(whole.clone())).collect();
        Input::Entries { peer: origin.key, origin, from: 0, entries }
    }

    /// Of what a sibling told of only so much is taken in; of what somebody asks for, everything.
    #[tokio::test]
    async fn entries_that_nobody_asked_for_are_taken_in_while_there_is_room() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (author, parts) = (open(there.path()).await, Arc::new(open(here.path()).await));
        let lamp = Draft::new("lamp", "1.0.0").publish(&author).await.package;
        tell(&author, &parts, lamp).await;
        let (reports, _reported) = mpsc::channel(8);
        let tells = Tells { reports, omissions: Arc::default(), unasked: Arc::default() };
        let other = PackageId::from_bytes([9; 32]);
        tells.unasked.are(&[lamp, other].into());
        tells.unasked.stored(&other, IDENTITY_BYTES);
        let config = NetConfig { lan: None, listen: Vec::new(), ..NetConfig::new([5; 32]) };
        let (net, _inbounds) = Net::start(config).await.unwrap();
        let mut task = Task::new(Arc::clone(&parts), net.clone(), lamp, tells);
        assert!(!task.tells.unasked.admit(&lamp, IDENTITY_PACKAGE_BYTES), "what is stored counts");

        let is_taken = |input: &Input| matches!(input, Input::Entries { .. });
        let half = answer(&parts, Origin::package(lamp, author.device), IDENTITY_PACKAGE_BYTES / 2);
        assert!(is_taken(&task.admitted(half.clone())));
        let refused = task.admitted(half.clone());
        assert!(
            matches!(refused, Input::Failed { ask: Ask::Entries(_), failure: Failure::Busy { .. }, .. }),
            "{refused:?}"
        );
        // Nothing of it was stored.
        task.count_stored();
        assert!(is_taken(&task.admitted(half.clone())));
        let (reply, _refreshed) = oneshot::channel();
        task.on_message(Message::Refresh { peers: Vec::new(), wait: Wait::ForSome, reply });
        assert!((0..9).all(|_| is_taken(&task.admitted(half.clone()))), "somebody wants it");
        drop(task);
        net.shutdown().await.unwrap();
        for parts in [&author, &parts] {
            parts.close().await;
        }
    }

    #[tokio::test]
    async fn a_task_that_missed_something_asks_all_who_are_connected_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let parts = Arc::new(open(dir.path()).await);
        let config = NetConfig { lan: None, listen: Vec::new(), ..NetConfig::new([6; 32]) };
        let (net, _inbounds) = Net::start(config).await.unwrap();
        let (reports, _reported) = mpsc::channel(8);
        let tells = Tells { reports, omissions: Arc::default(), unasked: Arc::default() };
        let peer = |n| DeviceSecret::from_seed(&[n; 32]).public();
        let mut task = Task::new(Arc::clone(&parts), net.clone(), PackageId::from_bytes([1; 32]), tells);
        for n in 1..3 {
            task.on_message(Message::input(Input::PeerUp(peer(n))));
        }
        let asked = |task: &mut Task| {
            let effects = std::iter::from_fn(|| task.follower.poll_effect());
            let asked =
                effects.filter_map(|effect| if let Effect::AskHeads { peer } = effect { Some(peer) } else { None });
            asked.collect::<BTreeSet<_>>()
        };
        assert_eq!(asked(&mut task), BTreeSet::from([peer(1), peer(2)]));
        task.on_message(Message::Connected(vec![peer(2), peer(3)]));
        assert_eq!(asked(&mut task), BTreeSet::from([peer(2), peer(3)]));
        assert_eq!(task.peers, [peer(2), peer(3)]);
        drop(task);
        net.shutdown().await.unwrap();
        parts.close().await;
    }
}
