//! What goes wrong, and when.

use super::{Event, LATENCY_MS, SECOND, Sim};
use crate::disk::{OwnLog, Truth};
use crate::scenario::Trouble;

const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600 * SECOND;

impl Sim {
    pub(super) fn on_chaos(&mut self) {
        if self.healed {
            return;
        }
        if let Some(withheld) = self.withheld.filter(|who| self.is_withheld(*who)) {
            (0..self.nodes.len()).filter(|other| *other != withheld).for_each(|other| self.disconnect(withheld, other));
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
            Some(Trouble::Clocks) => {
                let who = self.rng.below(self.nodes.len());
                let off = self.rng.between(0..2 * TEN_YEARS_MS).cast_signed() - TEN_YEARS_MS.cast_signed();
                self.nodes[who].wall_ms = off;
            }
            Some(Trouble::Copies) => self.put_back(),
            // These are how somebody is, or happen when their time has come.
            Some(
                Trouble::Duplicates
                | Trouble::Liars
                | Trouble::Forks
                | Trouble::Withheld
                | Trouble::Quarrels
                | Trouble::Thieves,
            )
            | None => {}
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

    /// A writer keeps a copy of its home; or the home is put back as such a copy has it, once, where others have all that
    /// is lost. Content is not in it.
    fn put_back(&mut self) {
        let is_struck = |who: usize| self.plot.as_ref().is_some_and(|plot| plot.is_part(who));
        let writers: Vec<usize> = (0..self.nodes.len())
            .filter(|who| self.is_honest(*who) && !is_struck(*who) && !self.nodes[*who].own.is_empty())
            .collect();
        let Some(who) = self.rng.pick(&writers).copied() else { return };
        let node = &self.nodes[who];
        let Some(up) = &node.up else { return };
        let Some(copy) = self.snapshots.get(&who) else {
            // Whoever writes for a package knows it.
            if up.truth.known.len() > 1 {
                let copy = node.disk.copy(&mut self.rng);
                self.snapshots.insert(who, copy);
            }
            return;
        };
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != who && self.is_honest(*other));
        let others: Vec<&Truth> = others.filter_map(|(_, node)| Some(&node.up.as_ref()?.truth)).collect();
        let is_known = |own: &OwnLog| {
            let knows =
                |truth: &&Truth| truth.known.get(own.log.origin()).is_some_and(|head| head.size() >= own.log.size());
            others.iter().all(knows)
        };
        let is_idle = up.jobs.is_empty() && up.truth.own.values().all(is_known);
        if !is_idle || !self.put_back.insert(who) {
            return;
        }
        let (journal, entries) = (copy.journal.clone(), copy.entries.clone());
        self.crash(who);
        let disk = &mut self.nodes[who].disk;
        (disk.journal, disk.entries, disk.is_copy) = (journal, entries, true);
        let own = self.nodes[who].own.clone();
        self.oracle.put_back(who, &own);
        self.queue.schedule(SECOND, Event::Start { who });
    }
}
