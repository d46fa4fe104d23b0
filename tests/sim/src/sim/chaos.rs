//! What goes wrong, and when.

use super::{Event, LATENCY_MS, SECOND, Sim};
use crate::scenario::Trouble;

impl Sim {
    pub(super) fn on_chaos(&mut self) {
        if self.healed {
            return;
        }
        let troubles: Vec<Trouble> = self.troubles.iter().copied().collect();
        match self.rng.pick(&troubles).copied() {
            Some(Trouble::Loss) => self.links.loss_percent = self.rng.between(0..30),
            Some(Trouble::Stalls) => {
                let is_slow = self.links.latency_ms.end > LATENCY_MS.end;
                self.links.latency_ms = if is_slow { LATENCY_MS } else { 10..self.rng.between(1_000..40_000) };
            }
            Some(Trouble::Partitions) => self.partition(),
            Some(Trouble::Crashes) => {
                let who = self.rng.below(self.nodes.len());
                self.crash_for_a_while(who);
            }
            Some(Trouble::Disk) => self.ail(),
            Some(Trouble::Duplicates | Trouble::Liars | Trouble::Forks) | None => {}
        }
        let in_ms = self.rng.between(5 * SECOND..60 * SECOND);
        self.queue.schedule(in_ms, Event::Chaos);
    }

    pub(super) fn crash_for_a_while(&mut self, who: usize) {
        self.crash(who);
        let in_ms = self.rng.between(100..120 * SECOND);
        self.queue.schedule(in_ms, Event::Start { who });
    }

    /// A publish has begun: the power goes in the middle of it now and then, where chance alone would seldom find it.
    pub(super) fn cut_a_publish(&mut self, who: usize) {
        if self.troubles.contains(&Trouble::Crashes) && self.rng.chance(25) {
            let in_ms = self.rng.between(1..100);
            self.queue.schedule(in_ms, Event::Crash { who });
        }
    }

    /// Two groups that do not reach each other; or the end of that.
    fn partition(&mut self) {
        if self.rng.chance(50) {
            return self.unpart();
        }
        self.summary.n_partitions += 1;
        let sides: Vec<bool> = self.nodes.iter().map(|_| self.rng.chance(40)).collect();
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if sides[a] != sides[b] {
                    self.links.part(self.nodes[a].key, self.nodes[b].key);
                    self.disconnect(a, b);
                }
            }
        }
    }

    pub(super) fn unpart(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.links.heal(self.nodes[a].key, self.nodes[b].key);
                self.connect(a, b);
            }
        }
    }

    /// A disk becomes full or bad, or good again. One that took no sync is started anew, as a person would.
    fn ail(&mut self) {
        let who = self.rng.below(self.nodes.len());
        let disk = &mut self.nodes[who].disk;
        match self.rng.below(4) {
            0 => disk.is_full = true,
            1 => disk.fail_percent = self.rng.between(1..40),
            _ => (disk.is_full, disk.fail_percent) = (false, 0),
        }
        if disk.is_broken && self.rng.chance(50) {
            self.crash(who);
            self.queue.schedule(SECOND, Event::Start { who });
        }
    }
}
