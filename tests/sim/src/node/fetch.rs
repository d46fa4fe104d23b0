//! Fetching content: who has what, the sequence, then the parts as the [`Fetcher`] decides, each hashed before it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::id::{BlobId, ContentRoot};
use syncra_protocol::message::have;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::fetch::{BatchId, Effect, Failure, Fetcher, Haves, Input, Part, Reach};
use syncra_protocol::tree::HashSeq;

use super::{Cx, Mutation, Node, Observation, Out, commit::Job};
use crate::disk::Place;
use crate::wire::bytes as own;

/// Contents fetched at a time.
const AT_ONCE: usize = 3;
/// How often everybody is asked anew what they have.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How long a content is left alone after the disk failed.
const REST: Duration = Duration::from_secs(30);
/// What a part is taken to weigh: chooses batches, proves nothing.
const PART_BYTES: u64 = 4_096;

/// One content that is being fetched.
#[derive(Debug)]
pub(crate) struct Fetching {
    sequence: Option<HashSeq>,
    haves: BTreeMap<Peer, have::Answer>,
    is_asking_sequence: bool,
    fetcher: Option<Fetcher>,
    /// When everybody is asked again; after a failure of the disk, when it begins anew.
    ask_at: Timestamp,
    is_resting: bool,
    is_syncing: bool,
}

impl Fetching {
    fn new(ask_at: Timestamp) -> Self {
        Self {
            sequence: None,
            haves: BTreeMap::new(),
            is_asking_sequence: false,
            fetcher: None,
            ask_at,
            is_resting: false,
            is_syncing: false,
        }
    }

    pub(super) fn gone(&mut self, now: Timestamp, peer: Peer) {
        self.haves.remove(&peer);
        if let Some(fetcher) = &mut self.fetcher {
            fetcher.handle(now, Input::Gone(peer));
        }
    }

    pub(super) fn next_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let fetcher = self.fetcher.as_ref().and_then(Fetcher::next_timeout);
        [Some(self.ask_at), fetcher].into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl Node {
    /// Begins what is named by a release and not here; the newest that is wanted first would be the user's choice.
    pub(super) fn plan_fetches(&mut self, cx: &mut Cx<'_>) {
        let Some(up) = &mut self.up else { return };
        let Some(state) = up.follower.state() else { return };
        let roots: BTreeSet<ContentRoot> = state.releases.values().map(|it| it.release.content_root).collect();
        let mut begun = Vec::new();
        for root in roots {
            let n_active = up.fetches.values().filter(|it| !it.is_resting).count() + begun.len();
            if n_active >= AT_ONCE {
                break;
            }
            if !up.complete.contains(&root) && !up.fetches.contains_key(&root) {
                begun.push(root);
            }
        }
        for root in begun {
            self.begin_fetch(cx, root);
        }
        self.perform_fetches(cx);
    }

    fn begin_fetch(&mut self, cx: &mut Cx<'_>, root: ContentRoot) {
        let Some(up) = &mut self.up else { return };
        up.fetches.insert(root, Fetching::new(cx.now.after(ASK_AGAIN)));
        let sequence = up.blobs.get(&BlobId::from(root)).and_then(|bytes| HashSeq::decode(bytes).ok());
        if let Some(sequence) = sequence {
            self.have_sequence(cx, root, sequence);
        }
        self.ask_everybody(cx, root);
    }

    fn ask_everybody(&mut self, cx: &mut Cx<'_>, root: ContentRoot) {
        let Some(up) = &self.up else { return };
        for peer in up.peers.clone() {
            self.ask_have(cx, peer, root);
        }
    }

    pub(super) fn greet_fetches(&mut self, cx: &mut Cx<'_>, peer: Peer) {
        let Some(up) = &self.up else { return };
        for root in up.fetches.keys().copied().collect::<Vec<_>>() {
            self.ask_have(cx, peer, root);
        }
    }

    pub(super) fn wake_fetches(&mut self, cx: &mut Cx<'_>) {
        let Some(up) = &mut self.up else { return };
        let mut again = Vec::new();
        let mut anew = Vec::new();
        for (root, fetching) in &mut up.fetches {
            if fetching.fetcher.as_ref().and_then(Fetcher::next_timeout).is_some_and(|at| at <= cx.now)
                && let Some(fetcher) = &mut fetching.fetcher
            {
                fetcher.handle_timeout(cx.now);
            }
            if fetching.ask_at <= cx.now {
                fetching.ask_at = cx.now.after(ASK_AGAIN);
                if fetching.is_resting { anew.push(*root) } else { again.push(*root) }
            }
        }
        for root in anew {
            up.fetches.remove(&root);
        }
        for root in again {
            self.ask_everybody(cx, root);
            self.want_sequence(cx, root);
        }
    }

    pub(super) fn on_have(&mut self, cx: &mut Cx<'_>, root: ContentRoot, peer: Peer, answer: have::Answer) {
        let Some(up) = &mut self.up else { return };
        let Some(fetching) = up.fetches.get_mut(&root).filter(|_| up.peers.contains(&peer)) else { return };
        if let (Some(fetcher), Some(sequence)) = (&mut fetching.fetcher, &fetching.sequence) {
            let n_parts = u32::try_from(sequence.children().len()).unwrap_or(u32::MAX);
            let haves = Haves::of(&answer, n_parts);
            fetcher.handle(cx.now, Input::Provider { peer, reach: Reach::Direct, haves });
        }
        fetching.haves.insert(peer, answer);
        self.want_sequence(cx, root);
    }

    fn want_sequence(&mut self, cx: &mut Cx<'_>, root: ContentRoot) {
        let Some(fetching) = self.up.as_mut().and_then(|up| up.fetches.get_mut(&root)) else { return };
        if fetching.sequence.is_some() || fetching.is_asking_sequence {
            return;
        }
        let peers: Vec<Peer> = fetching.haves.keys().copied().collect();
        if let Some(peer) = cx.rng.pick(&peers).copied() {
            fetching.is_asking_sequence = true;
            self.ask_sequence(cx, peer, root);
        }
    }

    pub(super) fn no_sequence(&mut self, cx: &mut Cx<'_>, root: ContentRoot, peer: Peer) {
        let Some(fetching) = self.up.as_mut().and_then(|up| up.fetches.get_mut(&root)) else { return };
        fetching.is_asking_sequence = false;
        fetching.haves.remove(&peer);
        self.want_sequence(cx, root);
    }

    pub(super) fn on_sequence(&mut self, cx: &mut Cx<'_>, root: ContentRoot, peer: Peer, bytes: &[u8]) {
        if bytes.is_empty() {
            return self.no_sequence(cx, root, peer);
        }
        if BlobId::of(bytes) != BlobId::from(root) {
            self.ban(cx, peer);
            return self.no_sequence(cx, root, peer);
        }
        let Ok(sequence) = HashSeq::decode(bytes) else { return self.no_sequence(cx, root, peer) };
        if !self.store(cx, root, root.into(), bytes) {
            return;
        }
        let Some(fetching) = self.up.as_mut().and_then(|up| up.fetches.get_mut(&root)) else { return };
        fetching.is_asking_sequence = false;
        if fetching.sequence.is_none() {
            self.have_sequence(cx, root, sequence);
        }
    }

    fn have_sequence(&mut self, cx: &mut Cx<'_>, root: ContentRoot, sequence: HashSeq) {
        let Some(up) = &mut self.up else { return };
        let Some(fetching) = up.fetches.get_mut(&root) else { return };
        let lacking = (0..).zip(sequence.children()).filter(|(_, child)| !up.blobs.contains_key(child));
        let parts = lacking.map(|(index, _)| Part { index, n_bytes: PART_BYTES });
        let mut fetcher = Fetcher::new(parts, cx.rng.next());
        let n_parts = u32::try_from(sequence.children().len()).unwrap_or(u32::MAX);
        for (peer, answer) in &fetching.haves {
            let haves = Haves::of(answer, n_parts);
            fetcher.handle(cx.now, Input::Provider { peer: *peer, reach: Reach::Direct, haves });
        }
        (fetching.sequence, fetching.fetcher) = (Some(sequence), Some(fetcher));
    }

    /// Writes a blob; a disk that does not take it ends the fetch for a while.
    fn store(&mut self, cx: &mut Cx<'_>, root: ContentRoot, id: BlobId, bytes: &[u8]) -> bool {
        if self.disk.permit(cx.rng).is_err() {
            self.give_up(cx, root);
            return false;
        }
        let Some(up) = &mut self.up else { return false };
        up.blobs.insert(id, own(bytes));
        self.disk.write_blob(id, own(bytes));
        true
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, root: ContentRoot) {
        let Some(up) = &mut self.up else { return };
        let resting = Fetching { is_resting: true, ..Fetching::new(cx.now.after(REST)) };
        up.fetches.insert(root, resting);
        up.asks.retain(|_, asked| !asked.is_of(&root));
    }

    pub(super) fn on_part(&mut self, cx: &mut Cx<'_>, root: ContentRoot, batch: BatchId, part: u32, bytes: &[u8]) {
        let child = self
            .up
            .as_ref()
            .and_then(|up| up.fetches.get(&root)?.sequence.as_ref()?.children().get(part as usize).copied());
        let Some(child) = child else { return };
        let is_right = BlobId::of(bytes) == child || self.is(Mutation::TakesUnverifiedParts);
        if !is_right {
            self.forget_batch(root, batch);
            return self.batch_ended(cx, root, batch, Failure::Corrupt);
        }
        if !self.store(cx, root, child, bytes) {
            return;
        }
        cx.out.push(Out::Observed(Observation::Kept(root, part, own(bytes))));
        if let Some(fetcher) = self.up.as_mut().and_then(|up| up.fetches.get_mut(&root)?.fetcher.as_mut()) {
            fetcher.handle(cx.now, Input::Got { batch, part });
        }
    }

    pub(super) fn batch_ended(&mut self, cx: &mut Cx<'_>, root: ContentRoot, batch: BatchId, failure: Failure) {
        if let Some(fetcher) = self.up.as_mut().and_then(|up| up.fetches.get_mut(&root)?.fetcher.as_mut()) {
            fetcher.handle(cx.now, Input::Ended { batch, result: Err(failure) });
        }
    }

    fn perform_fetches(&mut self, cx: &mut Cx<'_>) {
        let Some(up) = &mut self.up else { return };
        let mut effects = Vec::new();
        for (root, fetching) in &mut up.fetches {
            let Some(fetcher) = fetching.fetcher.as_mut().filter(|_| !fetching.is_syncing) else { continue };
            effects.extend(std::iter::from_fn(|| fetcher.poll_effect()).map(|effect| (*root, effect)));
        }
        for (root, effect) in effects {
            match effect {
                Effect::Fetch { batch, peer, parts } => self.ask_parts(cx, peer, root, batch, &parts),
                Effect::Cancel { batch, .. } => self.forget_batch(root, batch),
                Effect::Ban(peer) => self.ban(cx, peer),
                Effect::Fault { .. } | Effect::Starved { .. } => {}
                Effect::Done => {
                    if let Some(fetching) = self.up.as_mut().and_then(|up| up.fetches.get_mut(&root)) {
                        fetching.is_syncing = true;
                    }
                    self.begin(cx, Job::Content(root));
                }
            }
        }
    }

    fn ban(&self, cx: &mut Cx<'_>, peer: Peer) {
        cx.out.push(Out::Observed(Observation::Banned(peer)));
        cx.out.push(Out::Ban(peer));
    }

    pub(super) fn content_written(&mut self, cx: &mut Cx<'_>, root: ContentRoot) {
        if self.disk.sync(Place::Blobs, cx.rng).is_err() {
            return self.give_up(cx, root);
        }
        let Some(up) = &mut self.up else { return };
        up.fetches.remove(&root);
        up.complete.insert(root);
        up.asks.retain(|_, asked| !asked.is_of(&root));
        cx.out.push(Out::Observed(Observation::Complete(root)));
    }
}
