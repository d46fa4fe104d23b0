//! Who leaves out newer heads that it could know: told apart from who is only behind.
//!
//! Each answer about heads is compared with what was known when it came ([`Shown`]). Whoever offers less is *behind*. What
//! was known at the first such answer is what the peer has to catch up with: it has [`ANSWERS`] answers for that, of which
//! those that come within [`PACE`] of each other count once. One that does not, though the newer head is signed by the
//! log's key, *hides* it, or does not follow the package any more, which nobody can tell from outside. Where only another
//! log's entry names the newer head (`seen`), the writer of that entry may be wrong or lie: then it *may hide* it. Nobody
//! is accused by a claim.
//!
//! Costs nobody points: what is hidden comes from others, and who is not asked again cannot catch up.

use std::collections::BTreeMap;

use core::time::Duration;

use super::Peer;
use crate::Timestamp;
use crate::limits::OMISSIONS;
use crate::origin::Origin;

/// Answers within which a peer has to have caught up.
pub const ANSWERS: u32 = 3;
/// Answers that come sooner after one that counted do not count: news take their time, and somebody asks ten times a
/// second.
pub const PACE: Duration = Duration::from_secs(10);

/// What shows that there is a newer head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is signed: held here, or offered by another peer.
    Signed,
    /// An entry of this log names it.
    Named(Origin),
}

/// What an answer about heads showed of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The log.
    pub origin: Origin,
    /// Entries offered; none where the answer left the log out.
    pub offered: u64,
    /// Entries that there are, as far as is known.
    pub known: u64,
    /// What shows that.
    pub by: Known,
}

/// What a peer's answers say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has not had the time to catch up.
    Behind,
    /// It has had the time, and the newer head is signed.
    Hides,
    /// It has had the time, and the newer head is only named by another log's entry.
    MayHide,
}

/// One log of which a peer offers less than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Omission {
    /// The log.
    pub origin: Origin,
    /// Entries it offered last.
    pub offered: u64,
    /// Entries that it has to catch up with.
    pub known: u64,
    /// What shows that there are so many.
    pub by: Known,
    /// Another peer that offered so many.
    pub shown_by: Option<Peer>,
    /// Answers that count.
    pub n_answers: u32,
    /// What follows.
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    offered: u64,
    known: u64,
    by: Known,
    n_answers: u32,
    counted_at: Timestamp,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Omissions {
    records: BTreeMap<(Peer, Origin), Record>,
    /// Who offered most of a log.
    newest: BTreeMap<Origin, (u64, Peer)>,
}

impl Record {
    const fn new(now: Timestamp, shown: &Shown) -> Self {
        Self { offered: shown.offered, known: shown.known, by: shown.by, n_answers: 1, counted_at: now }
    }

    fn again(&mut self, now: Timestamp, shown: &Shown) {
        let is_signed_now = self.by != Known::Signed && shown.by == Known::Signed;
        if shown.offered >= self.known || is_signed_now {
            *self = Self::new(now, shown); // it caught up with that; there is more by now
        } else if now.since(self.counted_at) >= PACE {
            self.n_answers = self.n_answers.saturating_add(1);
            self.counted_at = now;
        }
        self.offered = shown.offered;
    }

    fn verdict(&self) -> Verdict {
        match self.by {
            _ if self.n_answers < ANSWERS => Verdict::Behind,
            Known::Signed => Verdict::Hides,
            Known::Named(_) => Verdict::MayHide,
        }
    }
}

impl Omissions {
    /// Takes in what an answer of a peer showed.
    pub fn answered(&mut self, now: Timestamp, peer: Peer, shown: &[Shown]) {
        for shown in shown {
            self.note_newest(peer, shown);
            let key = (peer, shown.origin);
            if shown.offered >= shown.known {
                self.records.remove(&key);
            } else if let Some(record) = self.records.get_mut(&key) {
                record.again(now, shown);
            } else {
                self.make_room();
                self.records.insert(key, Record::new(now, shown));
            }
        }
    }

    /// What a peer has left out.
    pub fn of(&self, peer: Peer) -> impl Iterator<Item = Omission> {
        let of_peer = self.records.iter().filter(move |((whose, _), _)| *whose == peer);
        of_peer.map(|((peer, origin), record)| {
            let Record { offered, known, by, n_answers, .. } = *record;
            let newest = self.newest.get(origin).filter(|(size, other)| *size >= known && other != peer);
            let (shown_by, verdict) = (newest.map(|(_, other)| *other), record.verdict());
            Omission { origin: *origin, offered, known, by, shown_by, n_answers, verdict }
        })
    }

    fn note_newest(&mut self, peer: Peer, shown: &Shown) {
        let is_more = self.newest.get(&shown.origin).is_none_or(|(size, _)| shown.offered > *size);
        if shown.offered == 0 || !is_more {
            return;
        }
        if self.newest.len() >= OMISSIONS {
            self.newest.pop_first();
        }
        self.newest.insert(shown.origin, (shown.offered, peer));
    }

    /// Who has answered least often goes, of equals the one longest ago.
    fn make_room(&mut self) {
        if self.records.len() < OMISSIONS {
            return;
        }
        let goes = self.records.iter().min_by_key(|(_, record)| (record.n_answers, record.counted_at));
        if let Some(goes) = goes.map(|(key, _)| *key) {
            self.records.remove(&goes);
        }
    }
}

#[cfg(test)]
mod tests;
