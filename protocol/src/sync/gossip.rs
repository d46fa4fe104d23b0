//! Decides about head notices that come by gossip: what is believed, whom to ask for what it promises, and when it is
//! passed on.
//!
//! A notice is a bare signed note. It is passed on by whoever holds the entries that it signs, and not before: so the next
//! node can ask the one that it heard it from. What makes no progress is passed on by nobody.
//!
//! * Of one log at most one notice goes out in [`LOG_INTERVAL`], whatever comes in; the newest of those that had to wait
//!   goes out when the time has come, so the last one is never lost.
//! * Each peer, and each key that signs logs, has a token bucket. A peer's is asked before a signature is checked. What goes
//!   out from here has one too, half as large, so that no honest node overdraws what its peers grant it.
//! * The carrier brings each notice once, from whoever is first. So what a peer brings that is not heeded, or has used up its
//!   tokens, is not just ignored, or it could keep the notice from here by being first: others are asked for what it promises.
//! * Tables are bounded by [`limits`](crate::limits); what does not fit is left to those who watch.
//!
//! The node hands in what it hears ([`Notices::judge`]) and what it holds ([`Notices::grown`]), and does what
//! [`Notices::poll_effect`] says. `T` is the node's own name of a message that is under judgement.

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;

use super::Peer;
use crate::Timestamp;
use crate::key::DeviceKey;
use crate::limits::{NOTICE_BUCKETS, NOTICE_BYTES, NOTICED_LOGS};
use crate::log::Standing;
use crate::log::checkpoint::Head;
use crate::origin::Origin;

mod bucket;

use bucket::{Allowance, Buckets};

/// Between two notices of one log that are passed on, and between two that are acted on.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long the peer that brought a notice has for the entries before others are asked too.
pub const FIRST_ASKED: Duration = Duration::from_secs(3);
/// How long a notice waits for its entries. With [`LOG_INTERVAL`] this is shorter than the carrier remembers it.
pub const HOLD: Duration = Duration::from_secs(25);

/// Of one peer: it passes on what many writers say.
const OF_PEER: Allowance = Allowance { burst: 64, refill: Duration::from_millis(250) };
/// Of all that goes out from here.
const OF_US: Allowance = Allowance { burst: 32, refill: Duration::from_millis(500) };
/// Of all peers that have used up their own: too little for a flood, enough that none of them hides what others say.
const OF_OVERDRAWN: Allowance = Allowance { burst: 16, refill: Duration::from_secs(1) };
/// Of one key that signs logs: somebody who publishes all of 128 packages at once, then one a second.
const OF_WRITER: Allowance = Allowance { burst: 128, refill: Duration::from_secs(1) };

/// Who passed a notice on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bringer {
    /// The peer.
    pub peer: Peer,
    /// False for a peer whose score is poor: others are asked for what it promises, and it is trusted with nothing.
    pub is_heeded: bool,
}

impl From<Peer> for Bringer {
    fn from(peer: Peer) -> Self {
        Self { peer, is_heeded: true }
    }
}

/// What the node holds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is in no evidence set that is known here.
    No,
    /// A fork proof is held: nothing newer counts.
    Frozen,
    /// It is in one, and the head compares like this with what is held.
    Yes(Standing),
}

/// What a notice is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// News: it is acted on, and passed on once it is held.
    News,
    /// News, but of a log that had some a moment ago: it is acted on later, unless a newer one comes.
    Later,
    /// It contradicts what is held: acted on, and passed on at once, so that others find out too.
    Contradiction,
    /// Not acted on and not passed on.
    Ignore(Ignored),
    /// The sender is at fault.
    Reject(Rejected),
}

/// Why a notice is not acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Nobody here knows a package or owner whose log this is.
    Unknown,
    /// The log is frozen.
    Frozen,
    /// It is held already.
    Known,
    /// A newer one is known.
    Older,
    /// The peer has used up its tokens, and those that are there for all such peers are used up too.
    PeerBudget,
    /// The key that signed it has used up its tokens.
    WriterBudget,
    /// Too many logs have news at once.
    Full,
}

/// What is wrong with a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// More than [`NOTICE_BYTES`] bytes.
    TooLong,
    /// No note, or not signed by the key in its own origin.
    NoNote,
    /// With cosignatures: one note would have many spellings.
    NotBare,
}

/// What the node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<T> {
    /// Ask for what this head signs: the peer that brought it; whoever is connected if it did not deliver.
    Ask {
        /// The peer.
        peer: Option<Peer>,
        /// What it promises.
        head: Head,
    },
    /// Pass on a message that was judged before.
    Forward(T),
    /// Send a note of which no message has come.
    Publish(Head),
    /// Do not pass on a message that was judged before.
    Drop(T),
    /// The peer has brought what it promised.
    Delivered(Peer),
    /// The peer has not brought what it promised.
    Failed(Peer),
    /// The peer has passed on more notices than its share.
    Overdrew(Peer),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Notices<T> {
    peers: Buckets<Peer>,
    overdrawn: Buckets<()>,
    writers: Buckets<DeviceKey>,
    ours: Buckets<()>,
    logs: BTreeMap<Origin, Noticed<T>>,
    effects: VecDeque<Effect<T>>,
}

/// What is remembered of one log.
#[derive(Debug)]
struct Noticed<T> {
    asked_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    /// The newest notice whose entries are not here yet.
    awaited: Option<Awaited<T>>,
    /// What goes out when it may: held here, or a contradiction.
    due: Option<(Head, Option<T>)>,
}

#[derive(Debug)]
struct Awaited<T> {
    bringer: Bringer,
    head: Head,
    ticket: T,
    since: Timestamp,
    asks: Asks,
}

/// Who was asked for what a notice promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nobody,
    Sender(Timestamp),
    /// Others, at this time and then every [`FIRST_ASKED`]: who is asked may not hold it yet.
    Others(Timestamp),
}

impl<T> Awaited<T> {
    /// Asks the bringer, or leaves it time until others may hold what it promises.
    fn ask_first(&mut self, now: Timestamp) -> Option<Effect<T>> {
        if !self.bringer.is_heeded {
            self.asks = Asks::Others(now.after(FIRST_ASKED));
            return None;
        }
        self.asks = Asks::Sender(now);
        Some(Effect::Ask { peer: Some(self.bringer.peer), head: self.head.clone() })
    }

    fn ask_others(&mut self, now: Timestamp) -> Effect<T> {
        self.asks = Asks::Others(now.after(FIRST_ASKED));
        Effect::Ask { peer: None, head: self.head.clone() }
    }
}

impl<T> Default for Noticed<T> {
    fn default() -> Self {
        Self { asked_at: None, sent_at: None, awaited: None, due: None }
    }
}

/// When something may be done again that was done at `last`; a clock that was set back begins a new wait.
fn again_at(now: Timestamp, last: Option<Timestamp>) -> Timestamp {
    last.map_or(now, |last| last.min(now).after(LOG_INTERVAL))
}

impl<T> Noticed<T> {
    fn is_idle(&self, now: Timestamp) -> bool {
        let rests = |last| again_at(now, last) <= now;
        self.awaited.is_none() && self.due.is_none() && rests(self.asked_at) && rests(self.sent_at)
    }

    /// When time alone changes something, if anything may go out from `out_at` on.
    fn next_timeout(&self, now: Timestamp, out_at: Timestamp) -> Option<Timestamp> {
        let due = self.due.as_ref().map(|_| again_at(now, self.sent_at).max(out_at));
        let awaited = self.awaited.as_ref().map(|awaited| {
            let end = awaited.since.after(HOLD);
            match awaited.asks {
                Asks::Nobody => end.min(again_at(now, self.asked_at)),
                Asks::Sender(asked_at) => end.min(asked_at.after(FIRST_ASKED)),
                Asks::Others(at) => end.min(at),
            }
        });
        due.into_iter().chain(awaited).min()
    }
}

impl<T> Default for Notices<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Notices<T> {
    /// Nothing was heard yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            peers: Buckets::new(OF_PEER, NOTICE_BUCKETS),
            overdrawn: Buckets::new(OF_OVERDRAWN, 1),
            writers: Buckets::new(OF_WRITER, NOTICE_BUCKETS),
            ours: Buckets::new(OF_US, 1),
            logs: BTreeMap::new(),
            effects: VecDeque::new(),
        }
    }

    /// Judges a notice that `peer` has passed on; `known` says what is held of its log. The ticket is kept for later if
    /// the verdict is [`Verdict::News`], [`Verdict::Later`] or [`Verdict::Contradiction`]; else the node is done with it.
    pub fn judge(
        &mut self,
        now: Timestamp,
        bringer: impl Into<Bringer>,
        note: &[u8],
        ticket: T,
        known: impl FnOnce(&Head) -> Known,
    ) -> Verdict {
        let mut bringer = bringer.into();
        if note.len() > NOTICE_BYTES {
            return Verdict::Reject(Rejected::TooLong);
        }
        if !self.peers.take(now, bringer.peer) {
            self.effects.push_back(Effect::Overdrew(bringer.peer));
            if !self.overdrawn.take(now, ()) {
                return Verdict::Ignore(Ignored::PeerBudget);
            }
            bringer.is_heeded = false;
        }
        let Ok(head) = Head::verify(note) else { return Verdict::Reject(Rejected::NoNote) };
        if head.without_cosignatures().note() != note {
            return Verdict::Reject(Rejected::NotBare);
        }
        let contradicts = match known(&head) {
            Known::No | Known::Yes(Standing::OtherLog) => return Verdict::Ignore(Ignored::Unknown),
            Known::Frozen => return Verdict::Ignore(Ignored::Frozen),
            Known::Yes(Standing::Same) => return Verdict::Ignore(Ignored::Known),
            Known::Yes(Standing::Behind) => return Verdict::Ignore(Ignored::Older),
            Known::Yes(Standing::Forked) => true,
            Known::Yes(Standing::Ahead { .. }) => false,
        };
        if !contradicts && self.knows_newer(&head) {
            return Verdict::Ignore(Ignored::Older);
        }
        if !self.writers.take(now, head.origin().key) {
            return Verdict::Ignore(Ignored::WriterBudget);
        }
        if !self.has_room(now, head.origin()) {
            return Verdict::Ignore(Ignored::Full);
        }
        if contradicts {
            self.contradict(now, bringer.peer, head, ticket)
        } else {
            self.await_it(now, bringer, head, ticket)
        }
    }

    /// Whether a notice at least as new waits already. One of the same size and another root does not count: together
    /// they are evidence.
    fn knows_newer(&self, head: &Head) -> bool {
        let awaited = self.logs.get(head.origin()).and_then(|log| log.awaited.as_ref());
        awaited.is_some_and(|awaited| {
            let other = &awaited.head;
            other.size() > head.size() || (other.size() == head.size() && other.root() == head.root())
        })
    }

    fn contradict(&mut self, now: Timestamp, peer: Peer, head: Head, ticket: T) -> Verdict {
        let log = self.logs.entry(*head.origin()).or_default();
        if again_at(now, log.asked_at) > now {
            // Told a moment ago: one contradiction is as good as ten.
            return Verdict::Ignore(Ignored::Full);
        }
        log.asked_at = Some(now);
        self.effects.push_back(Effect::Ask { peer: Some(peer), head: head.clone() });
        self.set_due(now, head, Some(ticket));
        Verdict::Contradiction
    }

    fn await_it(&mut self, now: Timestamp, bringer: Bringer, head: Head, ticket: T) -> Verdict {
        let log = self.logs.entry(*head.origin()).or_default();
        let mut awaited = Awaited { bringer, head, ticket, since: now, asks: Asks::Nobody };
        if again_at(now, log.asked_at) <= now {
            log.asked_at = Some(now);
            self.effects.extend(awaited.ask_first(now));
        }
        let asks = awaited.asks;
        let before = log.awaited.replace(awaited);
        self.effects.extend(before.map(|before| Effect::Drop(before.ticket)));
        if asks == Asks::Nobody { Verdict::Later } else { Verdict::News }
    }

    /// A log that is known here has grown to `head`, durably: whoever listens may hear of it.
    pub fn grown(&mut self, now: Timestamp, head: &Head) {
        if !self.has_room(now, head.origin()) {
            return;
        }
        let log = self.logs.entry(*head.origin()).or_default();
        let mut ticket = None;
        if let Some(awaited) = log.awaited.take_if(|awaited| awaited.head.size() <= head.size()) {
            if matches!(awaited.asks, Asks::Sender(_)) {
                self.effects.push_back(Effect::Delivered(awaited.bringer.peer));
            }
            if awaited.head.checkpoint() == head.checkpoint() {
                ticket = Some(awaited.ticket);
            } else {
                self.effects.push_back(Effect::Drop(awaited.ticket));
                if awaited.head.size() == head.size() {
                    // What was held meanwhile is of another history: evidence.
                    self.effects.push_back(Effect::Ask { peer: Some(awaited.bringer.peer), head: awaited.head });
                }
            }
        }
        self.set_due(now, head.without_cosignatures(), ticket);
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let out_at = self.ours.next_at(now, &());
        let is_due = |log: &Noticed<T>| log.next_timeout(now, out_at).is_some_and(|at| at <= now);
        let due: Vec<Origin> = self.logs.iter().filter(|(_, log)| is_due(log)).map(|(origin, _)| *origin).collect();
        for origin in due {
            self.ask_again(now, origin);
            self.send(now, origin);
        }
    }

    /// When [`Notices::handle_timeout`] is to be called next.
    #[must_use]
    pub fn next_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let out_at = self.ours.next_at(now, &());
        self.logs.values().filter_map(|log| log.next_timeout(now, out_at)).min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect<T>> {
        self.effects.pop_front()
    }

    /// Logs that something is remembered of.
    #[must_use]
    pub fn n_logs(&self) -> usize {
        self.logs.len()
    }

    /// Makes room for a log if there is none; what must be remembered to keep the pace is never forgotten for it.
    fn has_room(&mut self, now: Timestamp, origin: &Origin) -> bool {
        if self.logs.len() >= NOTICED_LOGS && !self.logs.contains_key(origin) {
            self.logs.retain(|_, log| !log.is_idle(now));
        }
        self.logs.len() < NOTICED_LOGS || self.logs.contains_key(origin)
    }

    fn set_due(&mut self, now: Timestamp, head: Head, ticket: Option<T>) {
        let origin = *head.origin();
        let log = self.logs.entry(origin).or_default();
        let before = log.due.replace((head, ticket));
        self.effects.extend(before.and_then(|(_, ticket)| ticket).map(Effect::Drop));
        self.send(now, origin);
    }

    fn send(&mut self, now: Timestamp, origin: Origin) {
        let Some(log) = self.logs.get_mut(&origin) else { return };
        if again_at(now, log.sent_at) > now {
            log.sent_at = log.sent_at.map(|last| last.min(now));
            return;
        }
        if let Some((head, ticket)) = log.due.take_if(|_| self.ours.take(now, ())) {
            log.sent_at = Some(now);
            self.effects.push_back(ticket.map_or(Effect::Publish(head), Effect::Forward));
        }
    }

    fn ask_again(&mut self, now: Timestamp, origin: Origin) {
        let Some(log) = self.logs.get_mut(&origin) else { return };
        log.asked_at = log.asked_at.map(|last| last.min(now));
        let may_ask = again_at(now, log.asked_at) <= now;
        let Some(awaited) = &mut log.awaited else { return };
        awaited.since = awaited.since.min(now);
        if awaited.since.after(HOLD) <= now {
            self.effects.extend(log.awaited.take().map(|awaited| Effect::Drop(awaited.ticket)));
            return;
        }
        match awaited.asks {
            Asks::Nobody if may_ask => {
                log.asked_at = Some(now);
                self.effects.extend(awaited.ask_first(now));
            }
            Asks::Sender(asked_at) if asked_at.after(FIRST_ASKED) <= now => {
                self.effects.push_back(Effect::Failed(awaited.bringer.peer));
                self.effects.push_back(awaited.ask_others(now));
            }
            Asks::Others(at) if at <= now => self.effects.push_back(awaited.ask_others(now)),
            // A clock that was set back begins a new wait.
            Asks::Others(at) => awaited.asks = Asks::Others(at.min(now.after(FIRST_ASKED))),
            Asks::Nobody | Asks::Sender(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
