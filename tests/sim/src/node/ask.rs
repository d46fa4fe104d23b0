//! Asking, and what comes back: one answer for each request, decoded by the doors for strangers' bytes.

use std::collections::BTreeSet;
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::id::ContentRoot;
use syncra_protocol::limits::ENTRIES_PER_FRAME;
use syncra_protocol::message::log::{self, Answer, Request};
use syncra_protocol::message::{Refusal, have};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::fetch::BatchId;
use syncra_protocol::sync::follow::{ASK_TIMEOUT, Ask, Effect, Failure, Fault, Input};

use super::{Cx, Mutation, Node, Observation, Out};
use crate::disk::Bytes;
use crate::wire::{FrameFailure, Lane, blob_request, framed, unframed};

/// How long a request may take altogether: a stream is opened, written and read, each within [`ASK_TIMEOUT`].
const ASK_ENDS: Duration = ASK_TIMEOUT.saturating_mul(3);
/// Requests for parts end with their fetch; this is for those that nothing else ends.
const BATCH_ENDS: Duration = Duration::from_secs(600);

/// A request that is not answered yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) peer: Peer,
    pub(super) what: What,
    pub(super) deadline: Timestamp,
}

#[derive(Debug)]
pub(super) enum What {
    /// The first entry, if it asks for entries.
    Follow(Ask, u64),
    Have(ContentRoot),
    Sequence(ContentRoot),
    Parts {
        root: ContentRoot,
        batch: BatchId,
        left: BTreeSet<u32>,
    },
}

impl Node {
    /// Gives the follower something and does what it decides.
    pub(super) fn input(&mut self, cx: &mut Cx<'_>, input: Input) {
        let Some(up) = &mut self.up else { return };
        up.follower.handle(cx.now, input);
        self.perform_follower(cx);
    }

    pub(super) fn perform_follower(&mut self, cx: &mut Cx<'_>) {
        while let Some(effect) = self.up.as_mut().and_then(|up| up.follower.poll_effect()) {
            match effect {
                Effect::AskHeads { peer } => {
                    let request = Request::Heads { package: cx.package };
                    self.ask_log(cx, peer, (Ask::Heads, 0), &request);
                }
                Effect::AskEntries { peer, origin, from } => {
                    let limit = u32::try_from(ENTRIES_PER_FRAME).unwrap_or(u32::MAX);
                    self.ask_log(cx, peer, (Ask::Entries(origin), from), &Request::Entries { origin, from, limit });
                }
                Effect::Commit(commit) => self.commit(cx, commit),
                Effect::Updated(_) => self.observe_state(cx),
                Effect::Fault { peer, fault } => self.on_fault(cx, peer, fault),
                Effect::Common { origin, n_common } => self.keep_common(cx, origin, n_common),
                Effect::ForkPoint(point) => self.keep_point(cx, point),
                // Nobody witnesses here, and who leaves what out is looked at elsewhere.
                Effect::Cosigned(_) | Effect::RetryAt(_) | Effect::Shown { .. } => {}
            }
        }
    }

    fn on_fault(&mut self, cx: &mut Cx<'_>, peer: Peer, fault: Fault) {
        if let Fault::Fork(proof) = &fault {
            self.keep_fork(cx, proof);
        }
        if let Fault::Rollback { origin, .. } = &fault
            && self.is(Mutation::FramesLaggards)
        {
            cx.out.push(Out::Observed(Observation::KeptFork(*origin, framed(b"it offered an older head"))));
        }
        cx.out.push(Out::Observed(Observation::Fault(peer, fault)));
    }

    fn ask_log(&mut self, cx: &mut Cx<'_>, peer: Peer, (ask, from): (Ask, u64), request: &Request) {
        let bytes = framed(&log::encode_request(request));
        self.ask(cx, peer, What::Follow(ask, from), Lane::AskLog, bytes);
    }

    pub(super) fn ask_have(&mut self, cx: &mut Cx<'_>, peer: Peer, root: ContentRoot) {
        let bytes = framed(&have::encode_request(&have::Request { root, follow: false }));
        self.ask(cx, peer, What::Have(root), Lane::AskHave, bytes);
    }

    pub(super) fn ask_sequence(&mut self, cx: &mut Cx<'_>, peer: Peer, root: ContentRoot) {
        self.ask(cx, peer, What::Sequence(root), Lane::AskBlobs, blob_request(&root, &[]));
    }

    pub(super) fn ask_parts(&mut self, cx: &mut Cx<'_>, peer: Peer, root: ContentRoot, batch: BatchId, parts: &[u32]) {
        let what = What::Parts { root, batch, left: parts.iter().copied().collect() };
        self.ask(cx, peer, what, Lane::AskBlobs, blob_request(&root, parts));
    }

    fn ask(&mut self, cx: &mut Cx<'_>, peer: Peer, what: What, lane: impl FnOnce(u64) -> Lane, bytes: Bytes) {
        let Some(up) = &mut self.up else { return };
        up.n_asks += 1;
        let ends = if matches!(what, What::Parts { .. }) { BATCH_ENDS } else { ASK_ENDS };
        up.asks.insert(up.n_asks, Asked { peer, what, deadline: cx.now.after(ends) });
        cx.out.push(Out::Send { to: peer, lane: lane(up.n_asks), bytes, after_ms: 0 });
    }

    /// A batch that its fetch gave up.
    pub(super) fn forget_batch(&mut self, root: ContentRoot, batch: BatchId) {
        let Some(up) = &mut self.up else { return };
        let is_it = |what: &What| matches!(what, What::Parts { root: r, batch: b, .. } if (*r, *b) == (root, batch));
        up.asks.retain(|_, asked| !is_it(&asked.what));
    }

    pub(super) fn expire_asks(&mut self, cx: &mut Cx<'_>) {
        let Some(up) = &self.up else { return };
        let late: Vec<u64> = up.asks.iter().filter(|(_, asked)| asked.deadline <= cx.now).map(|(id, _)| *id).collect();
        for id in late {
            self.on_lost(cx, id);
        }
    }

    /// The stream of a request broke, or took too long.
    pub fn on_lost(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(asked) = self.up.as_mut().and_then(|up| up.asks.remove(&id)) else { return };
        if self.is(Mutation::KeepsAsks)
            && let Some(up) = &mut self.up
        {
            let what = What::Follow(Ask::Heads, 0);
            up.n_asks += 1;
            up.asks.insert(up.n_asks, Asked { peer: asked.peer, what, deadline: Timestamp(u64::MAX) });
        }
        self.failed(cx, asked, Failure::Lost);
        self.settle(cx);
    }

    fn failed(&mut self, cx: &mut Cx<'_>, asked: Asked, failure: Failure) {
        match asked.what {
            What::Follow(ask, _) => self.input(cx, Input::Failed { peer: asked.peer, ask, failure }),
            What::Have(_) => {}
            What::Sequence(root) => self.no_sequence(cx, root, asked.peer),
            What::Parts { root, batch, .. } => self.batch_ended(cx, root, batch, failure_of(failure)),
        }
    }

    /// A packet has come.
    pub fn on_packet(&mut self, cx: &mut Cx<'_>, from: Peer, lane: Lane, bytes: &[u8]) {
        match lane {
            Lane::AskLog(id) => self.serve_log(cx, from, id, bytes),
            Lane::AskHave(id) => self.serve_have(cx, from, id, bytes),
            Lane::AskBlobs(id) => self.serve_blobs(cx, from, id, bytes),
            Lane::Answer(id) => self.on_answer(cx, from, id, bytes),
            Lane::Blob(id, part) => self.on_blob(cx, from, id, part, bytes),
            Lane::Notice => self.on_notice(cx, from, bytes),
        }
        self.settle(cx);
    }

    fn on_notice(&mut self, cx: &mut Cx<'_>, from: Peer, bytes: &[u8]) {
        // A watch that carries what is no notice ends; the next one is opened when the peer comes again.
        if let Ok(Answer::Notice { package, note }) =
            unframed(bytes).map_err(drop).and_then(|message| log::decode_answer(message).map_err(drop))
            && package == cx.package
        {
            self.input(cx, Input::Notice { peer: from, note: note.0 });
        }
    }

    fn on_answer(&mut self, cx: &mut Cx<'_>, from: Peer, id: u64, bytes: &[u8]) {
        let Some(up) = &mut self.up else { return };
        // A second copy, or one that nobody waits for any more.
        if up.asks.get(&id).is_none_or(|asked| asked.peer != from) {
            return;
        }
        let Some(asked) = up.asks.remove(&id) else { return };
        match asked.what {
            What::Follow(ask, first) => {
                let input = match read_log(bytes) {
                    Ok(Answer::Heads(heads)) if ask == Ask::Heads => Ok(Input::Heads { peer: from, heads }),
                    Ok(Answer::Entries(entries)) => match ask {
                        Ask::Entries(origin) => Ok(Input::Entries { peer: from, origin, from: first, entries }),
                        Ask::Heads => Err(Failure::Malformed),
                    },
                    Ok(Answer::Refused(refusal)) => Err(of_refusal(refusal)),
                    Ok(_) => Err(Failure::Malformed),
                    Err(failure) => Err(failure),
                };
                let input = input.unwrap_or_else(|failure| Input::Failed { peer: from, ask, failure });
                self.input(cx, input);
            }
            What::Have(root) => {
                if let Ok(answer) = unframed(bytes).map_err(drop).and_then(|m| have::decode_answer(m).map_err(drop))
                    && !matches!(answer, have::Answer::Refused(_))
                {
                    self.on_have(cx, root, from, answer);
                }
            }
            What::Sequence(root) => self.on_sequence(cx, root, from, bytes),
            // Instead of parts: the peer has not what it said.
            What::Parts { root, batch, .. } => {
                self.batch_ended(cx, root, batch, syncra_protocol::sync::fetch::Failure::NotFound);
            }
        }
    }

    fn on_blob(&mut self, cx: &mut Cx<'_>, from: Peer, id: u64, part: u32, bytes: &[u8]) {
        let Some(up) = &mut self.up else { return };
        let Some(asked) = up.asks.get_mut(&id).filter(|asked| asked.peer == from) else { return };
        let What::Parts { root, batch, left } = &mut asked.what else { return };
        if !left.remove(&part) {
            return;
        }
        let (root, batch, is_last) = (*root, *batch, left.is_empty());
        if is_last {
            up.asks.remove(&id);
        }
        self.on_part(cx, root, batch, part, bytes);
    }
}

fn read_log(bytes: &[u8]) -> Result<Answer, Failure> {
    let message = unframed(bytes).map_err(|failure| match failure {
        FrameFailure::Oversized => Failure::Oversized,
        FrameFailure::Cut => Failure::Lost,
    })?;
    log::decode_answer(message).map_err(|_| Failure::Malformed)
}

fn of_refusal(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Busy { retry_after_ms } => {
            Failure::Busy { retry_after: Duration::from_millis(u64::from(retry_after_ms)) }
        }
        Refusal::NotFound | Refusal::TooLarge | Refusal::Unsupported | Refusal::Forbidden => Failure::Refused,
    }
}

fn failure_of(failure: Failure) -> syncra_protocol::sync::fetch::Failure {
    use syncra_protocol::sync::fetch::Failure as Why;
    match failure {
        Failure::Busy { retry_after } => Why::Busy { retry_after },
        Failure::Refused | Failure::Unsupported => Why::NotFound,
        Failure::Lost => Why::Gone,
        Failure::Slow => Why::Stalled,
        Failure::Oversized | Failure::Malformed => Why::Corrupt,
    }
}

impl Asked {
    /// Whether it is about this content.
    pub(super) fn is_of(&self, root: &ContentRoot) -> bool {
        match &self.what {
            What::Follow(..) => false,
            What::Have(of) | What::Sequence(of) | What::Parts { root: of, .. } => of == root,
        }
    }
}
