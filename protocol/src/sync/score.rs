//! What peers did, as a number that fades, and what follows from it.
//!
//! A deed moves a peer's points; time moves them back to zero, one in [`FADE`]. Below [`POOR`] a peer is asked last and its
//! gossip is not listened to; below [`AWAY`] it is sent away for [`AWAY_FOR`]; who is sent away [`LAST_TIME`] times before
//! the points are back at zero, or sends bytes that are not what their hash says, is banned until the node ends. Good deeds
//! count little and up to [`BEST`], so nobody saves up for mischief.
//!
//! The node tells deeds ([`Scores::report`]) and does what [`Scores::poll_effect`] says.

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;

use super::Peer;
use crate::Timestamp;
use crate::limits::SCORED_PEERS;

mod deed;

pub use deed::Deed;

/// The most points.
pub const BEST: i32 = 20;
/// The fewest points.
pub const WORST: i32 = -100;
/// Below this a peer is poor.
pub const POOR: i32 = -20;
/// Below this a peer is sent away.
pub const AWAY: i32 = -50;
/// One point is forgotten in this time.
pub const FADE: Duration = Duration::from_secs(30);
/// How long a peer is sent away.
pub const AWAY_FOR: Duration = Duration::from_secs(600);
/// Being sent away for the so-manieth time is a ban.
pub const LAST_TIME: u32 = 3;

/// How a peer is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Like everybody.
    Good,
    /// Asked last, and its gossip is not listened to.
    Poor,
    /// Not connected until this time.
    Away(Timestamp),
    /// Not connected until the node ends, or the ban is lifted.
    Banned,
}

impl Grade {
    /// Whether no connection is let in.
    #[must_use]
    pub const fn is_shut_out(self) -> bool {
        matches!(self, Self::Away(_) | Self::Banned)
    }
}

/// What the node is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Close its connections and let none in.
    ShutOut(Peer),
    /// Let it in again.
    LetIn(Peer),
}

/// What is known of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Who.
    pub peer: Peer,
    /// Between [`WORST`] and [`BEST`]; zero is nothing known.
    pub points: i32,
    /// How it is treated.
    pub grade: Grade,
    /// The last bad thing that it did.
    pub last_fault: Option<Deed>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    points: i32,
    /// Up to when points have faded.
    faded_at: Timestamp,
    n_away: u32,
    /// What was last told of by effects, and counts.
    grade: Grade,
    last_fault: Option<Deed>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Scores {
    peers: BTreeMap<Peer, Record>,
    effects: VecDeque<Effect>,
}

impl Record {
    const fn new(now: Timestamp) -> Self {
        Self { points: 0, faded_at: now, n_away: 0, grade: Grade::Good, last_fault: None }
    }

    fn fade(&mut self, now: Timestamp) {
        self.faded_at = self.faded_at.min(now); // a clock that was set back
        let n = now.since(self.faded_at).as_millis() / FADE.as_millis();
        let faded = i32::try_from(n).unwrap_or(i32::MAX);
        self.faded_at =
            if self.points == 0 { now } else { self.faded_at.after(FADE.saturating_mul(faded.unsigned_abs())) };
        self.points = self.points.signum() * self.points.abs().saturating_sub(faded).max(0);
        if self.points >= 0 && !self.grade.is_shut_out() {
            self.n_away = 0;
        }
    }

    /// What the points say, when nothing else does.
    fn regrade(&mut self, now: Timestamp) {
        self.grade = match self.grade {
            Grade::Banned => Grade::Banned,
            Grade::Away(until) if now < until.min(now.after(AWAY_FOR)) => Grade::Away(until.min(now.after(AWAY_FOR))),
            Grade::Good | Grade::Poor if self.points < AWAY => {
                self.n_away += 1;
                if self.n_away >= LAST_TIME { Grade::Banned } else { Grade::Away(now.after(AWAY_FOR)) }
            }
            _ if self.points < POOR => Grade::Poor,
            _ => Grade::Good,
        };
    }

    fn is_forgotten(&self) -> bool {
        self.points == 0 && self.grade == Grade::Good
    }

    /// When somebody has to be let in again. Whether a peer is poor is looked up by whoever wants to know.
    fn next_timeout(&self) -> Option<Timestamp> {
        match self.grade {
            Grade::Away(until) => Some(until),
            Grade::Good | Grade::Poor | Grade::Banned => None,
        }
    }
}

impl Scores {
    /// Takes in what a peer did.
    pub fn report(&mut self, now: Timestamp, peer: Peer, deed: Deed) {
        self.make_room(now, &peer);
        let record = self.peers.entry(peer).or_insert_with(|| Record::new(now));
        let before = record.grade;
        record.fade(now);
        match deed.points() {
            Some(points) => record.points = (record.points + points).clamp(WORST, BEST),
            None => (record.points, record.grade) = (WORST, Grade::Banned),
        }
        if deed != Deed::Delivered {
            record.last_fault = Some(deed);
        }
        record.regrade(now);
        let after = record.grade;
        self.tell(peer, before, after);
    }

    /// Forgets everything about a peer; says whether it was shut out.
    pub fn pardon(&mut self, peer: &Peer) -> bool {
        let Some(record) = self.peers.remove(peer) else { return false };
        self.tell(*peer, record.grade, Grade::Good);
        record.grade.is_shut_out()
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let mut changed = Vec::new();
        for (peer, record) in &mut self.peers {
            let before = record.grade;
            record.fade(now);
            record.regrade(now);
            if before != record.grade {
                changed.push((*peer, before, record.grade));
            }
        }
        self.peers.retain(|_, record| !record.is_forgotten());
        for (peer, before, after) in changed {
            self.tell(peer, before, after);
        }
    }

    /// When [`Scores::handle_timeout`] is to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.peers.values().filter_map(Record::next_timeout).min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What is known of a peer.
    #[must_use]
    pub fn get(&self, now: Timestamp, peer: &Peer) -> Score {
        let mut record = self.peers.get(peer).copied().unwrap_or(Record::new(now));
        record.fade(now);
        record.regrade(now);
        Score { peer: *peer, points: record.points, grade: record.grade, last_fault: record.last_fault }
    }

    /// Everybody of whom anything is known.
    pub fn all(&self, now: Timestamp) -> impl Iterator<Item = Score> {
        self.peers.keys().map(move |peer| self.get(now, peer))
    }

    /// Whether a peer is shut out.
    #[must_use]
    pub fn is_shut_out(&self, peer: &Peer) -> bool {
        self.peers.get(peer).is_some_and(|record| record.grade.is_shut_out())
    }

    /// Who it is best to forget goes: whoever is treated best, of equals who did least harm.
    fn make_room(&mut self, now: Timestamp, peer: &Peer) {
        if self.peers.len() < SCORED_PEERS || self.peers.contains_key(peer) {
            return;
        }
        self.handle_timeout(now);
        while self.peers.len() >= SCORED_PEERS {
            let rank = |grade| match grade {
                Grade::Good => 0,
                Grade::Poor => 1,
                Grade::Away(_) => 2,
                Grade::Banned => 3,
            };
            let goes =
                self.peers.iter().min_by_key(|(_, record)| (rank(record.grade), record.points.abs(), record.faded_at));
            let Some(goes) = goes.map(|(peer, _)| *peer) else { return };
            self.pardon(&goes);
        }
    }

    fn tell(&mut self, peer: Peer, before: Grade, after: Grade) {
        match (before.is_shut_out(), after.is_shut_out()) {
            (false, true) => self.effects.push_back(Effect::ShutOut(peer)),
            (true, false) => self.effects.push_back(Effect::LetIn(peer)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
