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

/// Something that a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Brought entries or content that we had asked for, or a notice that proved true.
    Delivered,
    /// Sent bytes that are not what their hash says. A ban: no network turns bytes over without being noticed below.
    WrongBytes,
    /// Sent a signature, proof or Genesis entry that does not verify.
    Forged,
    /// Sent what is no message, or more than a message may have.
    Malformed,
    /// Sent more than its share.
    Spam,
    /// Did not answer in time, or promised what it did not bring.
    Stalled,
    /// Offered an older state of a log than is held.
    Stale,
    /// Sent a record for the distributed hash table that is beyond its share.
    BadRecord,
}

impl Deed {
    /// The points that it is worth; none where it is a ban.
    #[must_use]
    pub const fn points(self) -> Option<i32> {
        match self {
            Self::Delivered => Some(1),
            Self::WrongBytes => None,
            Self::Forged => Some(-25),
            Self::Malformed => Some(-10),
            Self::Stalled | Self::BadRecord => Some(-2),
            Self::Spam | Self::Stale => Some(-1),
        }
    }

    /// What it was, for people: completes "this peer …".
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Delivered => "delivered what was asked of it",
            Self::WrongBytes => "sent wrong bytes",
            Self::Forged => "sent what does not verify",
            Self::Malformed => "sent what is no message",
            Self::Spam => "sent more than its share",
            Self::Stalled => "did not answer in time",
            Self::Stale => "offered an older log",
            Self::BadRecord => "sent too many records for the table",
        }
    }
}

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
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn peer(n: u32) -> Peer {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Peer::from_bytes(bytes)
    }

    fn effects(scores: &mut Scores) -> Vec<Effect> {
        std::iter::from_fn(|| scores.poll_effect()).collect()
    }

    fn report(scores: &mut Scores, now: Timestamp, n: usize, deed: Deed) {
        (0..n).for_each(|_| scores.report(now, peer(1), deed));
    }

    #[test]
    fn bad_deeds_lead_down_step_by_step_and_time_leads_up_again() {
        let mut scores = Scores::default();
        report(&mut scores, START, 20, Deed::Spam);
        assert_eq!((scores.get(START, &peer(1)).grade, effects(&mut scores)), (Grade::Good, vec![]));
        report(&mut scores, START, 1, Deed::Spam);
        assert_eq!((scores.get(START, &peer(1)).grade, effects(&mut scores)), (Grade::Poor, vec![]));
        report(&mut scores, START, 30, Deed::Spam);
        assert_eq!(effects(&mut scores), [Effect::ShutOut(peer(1))]);
        assert!(scores.is_shut_out(&peer(1)));
        let back = START.after(AWAY_FOR);
        assert_eq!(scores.next_timeout(), Some(back));
        scores.handle_timeout(back);
        assert_eq!(
            (scores.get(back, &peer(1)).grade, effects(&mut scores)),
            (Grade::Poor, vec![Effect::LetIn(peer(1))])
        );
        // 51 points down; 31 of them have to fade before it counts like everybody.
        let (last, then) = (START.after(FADE * 30), START.after(FADE * 31));
        assert_eq!((scores.get(last, &peer(1)).grade, scores.get(then, &peer(1)).grade), (Grade::Poor, Grade::Good));
        scores.handle_timeout(START.after(FADE * 51));
        assert_eq!(scores.all(then).count(), 0, "and then it is forgotten");
    }

    #[test]
    fn who_comes_back_and_goes_on_is_banned() {
        let mut scores = Scores::default();
        let mut now = START;
        for time in 1..=LAST_TIME {
            report(&mut scores, now, 60, Deed::Spam);
            assert!(scores.is_shut_out(&peer(1)));
            assert_eq!(scores.get(now, &peer(1)).grade == Grade::Banned, time == LAST_TIME);
            now = now.after(AWAY_FOR);
            scores.handle_timeout(now);
        }
        now = now.after(Duration::from_secs(1_000_000));
        scores.handle_timeout(now);
        assert_eq!(scores.get(now, &peer(1)).grade, Grade::Banned);
        assert!(scores.pardon(&peer(1)) && !scores.pardon(&peer(1)));
        assert_eq!(effects(&mut scores).last(), Some(&Effect::LetIn(peer(1))));
        assert_eq!(scores.all(now).count(), 0);
    }

    #[test]
    fn wrong_bytes_ban_at_once() {
        let mut scores = Scores::default();
        report(&mut scores, START, 100, Deed::Delivered);
        assert_eq!(scores.get(START, &peer(1)).points, BEST, "nobody saves up for mischief");
        report(&mut scores, START, 1, Deed::WrongBytes);
        assert_eq!(effects(&mut scores), [Effect::ShutOut(peer(1))]);
        let score = scores.get(START, &peer(1));
        assert_eq!((score.grade, score.points, score.last_fault), (Grade::Banned, WORST, Some(Deed::WrongBytes)));
        report(&mut scores, START, 200, Deed::Delivered);
        assert!(scores.is_shut_out(&peer(1)));
    }

    #[test]
    fn somebody_useful_with_slips_stays_good() {
        let mut scores = Scores::default();
        let mut now = START;
        for _ in 0..500 {
            now = now.after(Duration::from_secs(20));
            for deed in [Deed::Delivered, Deed::Stalled, Deed::Delivered] {
                scores.report(now, peer(1), deed);
            }
        }
        assert_eq!(effects(&mut scores), []);
    }

    #[test]
    fn a_flood_of_names_pushes_out_no_ban_and_takes_no_more_room() {
        let mut scores = Scores::default();
        scores.report(START, peer(0), Deed::WrongBytes);
        for n in 1..u32::try_from(2 * SCORED_PEERS).expect("small") {
            scores.report(START, peer(n), Deed::Spam);
        }
        assert!(scores.is_shut_out(&peer(0)));
        assert_eq!(scores.all(START).count(), SCORED_PEERS);
        for n in 0..u32::try_from(2 * SCORED_PEERS).expect("small") {
            scores.report(START, peer(n), Deed::WrongBytes);
        }
        let n_banned = scores.all(START).filter(|score| score.grade == Grade::Banned).count();
        assert_eq!(n_banned, SCORED_PEERS);
        let told = effects(&mut scores);
        let n = |wanted: fn(&Effect) -> bool| told.iter().filter(|effect| wanted(effect)).count();
        let n_out = n(|effect| matches!(effect, Effect::ShutOut(_))) - n(|effect| matches!(effect, Effect::LetIn(_)));
        assert_eq!(n_out, SCORED_PEERS, "the node shuts out those that the table has");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_away_for_longer() {
        let mut scores = Scores::default();
        let late = START.after(Duration::from_secs(100_000_000));
        scores.report(late, peer(1), Deed::Forged);
        report(&mut scores, late, 2, Deed::Forged);
        assert!(scores.is_shut_out(&peer(1)));
        scores.handle_timeout(START);
        scores.handle_timeout(START.after(AWAY_FOR));
        assert!(!scores.is_shut_out(&peer(1)));
    }
}
