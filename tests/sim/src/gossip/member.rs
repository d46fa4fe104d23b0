//! An honest node: the real judge and scores, and the node's steps around them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syncra_protocol::Timestamp;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::gossip::{Bringer, Effect, Ignored, Known, Notices, Rejected, Verdict};
use syncra_protocol::sync::score::{self, Deed, Grade, Scores};

use super::{Message, Mutation, number, peer};

/// How long a message's id is remembered, and for how long a message can be passed on; `node/src/net/limits.rs`.
const REMEMBERED_MS: u64 = 60_000;
const HISTORY_MS: u64 = 40_000;
/// For how long a message is offered to those outside the mesh.
const OFFERED_MS: u64 = 30_000;

/// Entries up to a head.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What they lead to.
    pub head: Head,
    /// The first one's index.
    pub from: u64,
    /// Their bytes.
    pub entries: Vec<Vec<u8>>,
}

/// What a node wants done.
#[derive(Debug)]
pub enum Want {
    /// To send a message to its mesh.
    Send {
        /// What.
        message: Message,
        /// Who it came from.
        except: Option<usize>,
    },
    /// To ask for entries; somebody if not said whom.
    Ask {
        /// Whom.
        peer: Option<usize>,
        /// Up to what.
        head: Head,
    },
    /// To be without a peer.
    ShutOut(usize),
    /// To be told the time.
    Wake(Timestamp),
}

/// What a node has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages, each of which is hashed.
    pub n_messages: u64,
    /// Signatures that were checked.
    pub n_checked: u64,
    /// The most messages within a second.
    pub messages_in_a_second: u64,
    /// The most signatures within a second.
    pub checked_in_a_second: u64,
    /// Messages sent, to each of the mesh.
    pub n_sent: u64,
}

impl Load {
    /// The larger of each.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        Self {
            n_messages: self.n_messages.max(other.n_messages),
            n_checked: self.n_checked.max(other.n_checked),
            messages_in_a_second: self.messages_in_a_second.max(other.messages_in_a_second),
            checked_in_a_second: self.checked_in_a_second.max(other.checked_in_a_second),
            n_sent: self.n_sent.max(other.n_sent),
        }
    }
}

/// A message that is under judgement.
#[derive(Debug, Clone)]
struct Ticket {
    message: Message,
    from: usize,
    came_at: Timestamp,
}

struct Held {
    log: Log,
    entries: Vec<Vec<u8>>,
    head: Option<Head>,
}

/// See the [module](self).
pub struct Member {
    /// Peers that notices go to.
    pub mesh: BTreeSet<usize>,
    notices: Notices<Ticket>,
    scores: Scores,
    logs: BTreeMap<Origin, Held>,
    seen: BTreeMap<u64, Timestamp>,
    /// What it has passed on or published lately.
    sent: Vec<(Timestamp, Message)>,
    wants: VecDeque<Want>,
    wakes_at: Option<Timestamp>,
    mutation: Option<Mutation>,
    load: Load,
    second: (u64, u64, u64),
}

impl Member {
    /// A node that knows these logs.
    #[must_use]
    pub fn new(known: &[Origin], mutation: Option<Mutation>) -> Self {
        let log = |origin: &Origin| (*origin, Held { log: Log::new(*origin), entries: Vec::new(), head: None });
        Self {
            mesh: BTreeSet::new(),
            notices: Notices::new(),
            scores: Scores::default(),
            logs: known.iter().map(log).collect(),
            seen: BTreeMap::new(),
            sent: Vec::new(),
            wants: VecDeque::new(),
            wakes_at: None,
            mutation,
            load: Load::default(),
            second: (0, 0, 0),
        }
    }

    /// What it has had to do.
    #[must_use]
    pub const fn load(&self) -> Load {
        self.load
    }

    /// Whether it is not connected with a peer.
    #[must_use]
    pub fn shuts_out(&self, n: usize) -> bool {
        self.scores.is_shut_out(&peer(n))
    }

    /// A message comes.
    pub fn on_message(&mut self, now: Timestamp, from: usize, message: Message) {
        self.count(now, 1, 0);
        // The carrier stops what it has seen before anybody judges it.
        if !self.is_new(&message, now) {
            return;
        }
        if self.mutation == Some(Mutation::JudgesNothing) {
            self.wants.push_back(Want::Send { message, except: Some(from) });
            return;
        }
        let is_heeded = self.scores.get(now, &peer(from)).grade == Grade::Good;
        let logs = &self.logs;
        let is_ignored = self.mutation == Some(Mutation::IgnoresThePoor) && !is_heeded;
        let known = |head: &Head| match logs.get(head.origin()) {
            Some(held) if !is_ignored => Known::Yes(held.log.compare(head)),
            _ => Known::No,
        };
        let bringer = Bringer { peer: peer(from), is_heeded };
        let ticket = Ticket { message: message.clone(), from, came_at: now };
        let verdict = self.notices.judge(now, bringer, &message.note, ticket, known);
        if !matches!(verdict, Verdict::Reject(Rejected::TooLong) | Verdict::Ignore(Ignored::PeerBudget)) {
            self.count(now, 0, 1);
        }
        let deed = match verdict {
            Verdict::Reject(Rejected::NoNote) => Some(Deed::Forged),
            Verdict::Reject(Rejected::TooLong | Rejected::NotBare) => Some(Deed::Malformed),
            Verdict::Ignore(_) | Verdict::News | Verdict::Later | Verdict::Contradiction => None,
        };
        if let Some(deed) = deed {
            self.report(now, peer(from), deed);
        }
    }

    /// What it holds up to a head.
    #[must_use]
    pub fn answer(&self, head: &Head) -> Option<Answer> {
        let held = self.logs.get(head.origin())?;
        let newest = held.head.clone().filter(|newest| newest.size() >= head.size())?;
        Some(Answer { head: newest, from: 0, entries: held.entries.clone() })
    }

    /// Entries are here and on the medium; the sizes before and after, if it is news.
    pub fn take(&mut self, now: Timestamp, answer: &Answer) -> Option<(u64, u64)> {
        let held = self.logs.get_mut(answer.head.origin())?;
        let before = held.log.size();
        let news = answer.entries.get(usize::try_from(before.checked_sub(answer.from)?).ok()?..)?;
        let wanted = usize::try_from(answer.head.size().checked_sub(before)?).ok()?;
        if wanted == 0 || news.len() < wanted {
            return None;
        }
        held.log.extend(&news[..wanted], &answer.head).expect("the honest send what is signed");
        held.entries.extend_from_slice(&news[..wanted]);
        held.head = Some(answer.head.clone());
        self.notices.grown(now, &answer.head);
        Some((before, answer.head.size()))
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.wakes_at.is_some_and(|at| at <= now) {
            self.wakes_at = None;
        }
        self.notices.handle_timeout(now);
        if self.scores.next_timeout().is_some_and(|at| at <= now) {
            self.scores.handle_timeout(now);
        }
    }

    /// Forgets messages of long ago.
    pub fn forget(&mut self, now: Timestamp) {
        self.seen.retain(|_, at| at.0 + REMEMBERED_MS > now.0);
        self.sent.retain(|(at, _)| at.0 + OFFERED_MS > now.0);
    }

    /// The next thing that it wants.
    pub fn next_want(&mut self, now: Timestamp) -> Option<Want> {
        while let Some(effect) = self.notices.poll_effect() {
            self.perform(now, effect);
        }
        while let Some(effect) = self.scores.poll_effect() {
            if let score::Effect::ShutOut(peer) = effect {
                self.wants.push_back(Want::ShutOut(number(&peer)));
            }
        }
        self.wants.pop_front().or_else(|| self.next_wake(now))
    }

    fn next_wake(&mut self, now: Timestamp) -> Option<Want> {
        let next = self.notices.next_timeout(now).into_iter().chain(self.scores.next_timeout()).min()?;
        let next = next.max(Timestamp(now.0 + 1));
        let is_sooner = self.wakes_at.is_none_or(|at| next < at);
        is_sooner.then(|| {
            self.wakes_at = Some(next);
            Want::Wake(next)
        })
    }

    fn perform(&mut self, now: Timestamp, effect: Effect<Ticket>) {
        match effect {
            Effect::Ask { peer, head } => {
                let peer = peer.map(|peer| number(&peer));
                self.wants.push_back(Want::Ask { peer, head });
            }
            Effect::Forward(Ticket { message, from, came_at }) if came_at.0 + HISTORY_MS > now.0 => {
                self.send(now, message, Some(from));
            }
            Effect::Publish(head) => {
                let message = Message::new(head.note());
                // What has come from elsewhere meanwhile is there already.
                if self.is_new(&message, now) {
                    self.send(now, message, None);
                }
            }
            Effect::Forward(_) | Effect::Drop(_) => {}
            Effect::Delivered(peer) => self.report(now, peer, Deed::Delivered),
            Effect::Failed(peer) => self.report(now, peer, Deed::Stalled),
            Effect::Overdrew(peer) => self.report(now, peer, Deed::Spam),
        }
    }

    fn is_new(&mut self, message: &Message, now: Timestamp) -> bool {
        let seen_at = self.seen.entry(message.id);
        let is_new = matches!(seen_at, std::collections::btree_map::Entry::Vacant(_));
        seen_at.or_insert(now);
        is_new
    }

    /// Messages of the last heartbeats that a peer has not seen: it asks for those that it is offered.
    pub fn offers<'a>(&'a self, to: &'a Self) -> impl Iterator<Item = &'a Message> {
        self.sent.iter().map(|(_, message)| message).filter(|message| !to.seen.contains_key(&message.id))
    }

    fn send(&mut self, now: Timestamp, message: Message, except: Option<usize>) {
        self.sent.push((now, message.clone()));
        self.load.n_sent += self.mesh.len() as u64;
        self.wants.push_back(Want::Send { message, except });
    }

    fn report(&mut self, now: Timestamp, peer: Peer, deed: Deed) {
        if self.mutation != Some(Mutation::ForgivesAll) {
            self.scores.report(now, peer, deed);
        }
    }

    fn count(&mut self, now: Timestamp, n_messages: u64, n_checked: u64) {
        let second = now.0 / 1_000;
        if self.second.0 != second {
            self.second = (second, 0, 0);
        }
        (self.second.1, self.second.2) = (self.second.1 + n_messages, self.second.2 + n_checked);
        self.load.n_messages += n_messages;
        self.load.n_checked += n_checked;
        self.load.messages_in_a_second = self.load.messages_in_a_second.max(self.second.1);
        self.load.checked_in_a_second = self.load.checked_in_a_second.max(self.second.2);
    }
}
