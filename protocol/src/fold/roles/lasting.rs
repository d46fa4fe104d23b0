//! Whose agreement an entry needs that is to stay in effect whatever comes later: what takes bytes away, and what heals a log.
//!
//! Whoever may write such entries may write one often, have it agreed to often, and change roles often. So the first word of a
//! log for it is found by halving, and of each word it is worked out once which votes for changes knew of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chain, Guard, Quorum};
use crate::entry::Role;
use crate::evidence::{Point, Seat};
use crate::fold::{Worth, Writer};
use crate::id::{EntryId, IdentityId};
use crate::origin::Origin;

/// Whose agreement entries need and have; to be asked entry by entry.
pub(in crate::fold) struct Lasting<'a> {
    chain: &'a Chain<'a>,
    writers: &'a BTreeMap<Origin, Writer>,
    /// The logs that agreed to changes.
    voters: Vec<Voter<'a>>,
    /// Of entries that were asked about the words of owners for them, log by log, in order.
    words: BTreeMap<EntryId, Vec<(IdentityId, Vec<&'a Point>)>>,
    /// Of words that were asked about: of each voter how many of its votes come before it knew of the word.
    unaware: BTreeMap<(Origin, u64), Vec<usize>>,
}

/// The votes of one log.
struct Voter<'a> {
    who: IdentityId,
    /// In the order of the log.
    votes: Vec<&'a Point>,
    /// For which changes they are, ascending.
    links: Vec<usize>,
    /// Of each of these the place of its vote.
    places: Highest,
}

/// Numbers of which the first is found that is at least so much.
struct Highest {
    n: usize,
    /// A tree in an array: each the larger of the two below it, the numbers, each one more than it is, in the last row.
    tree: Vec<usize>,
}

impl<'a> Lasting<'a> {
    pub(in crate::fold) fn new(chain: &'a Chain<'a>, writers: &'a BTreeMap<Origin, Writer>) -> Self {
        let mut by: BTreeMap<Origin, Vec<(usize, IdentityId, &Point)>> = BTreeMap::new();
        for (n, link) in chain.links.iter().enumerate() {
            for (who, vote) in &link.votes {
                by.entry(vote.origin).or_default().push((n, *who, vote));
            }
        }
        let voters = by.into_values().map(|votes| Voter::new(&votes)).collect();
        Self { chain, writers, voters, words: BTreeMap::new(), unaware: BTreeMap::new() }
    }

    /// Who agrees to an entry of `writer` that has `level` changes in its past, and whose agreement it needs: that of the rights
    /// which the last change made to which nobody else had agreed knowing that it was in effect. So nobody gets around the
    /// owners who came later by not looking at them, and who agreed to something later takes nothing back.
    pub(in crate::fold) fn ask(
        &mut self,
        seat: &Seat<'_>,
        level: usize,
        writer: IdentityId,
    ) -> (BTreeSet<IdentityId>, Guard) {
        let words = self.first_words(seat);
        let agreed: BTreeSet<IdentityId> = words.iter().map(|(who, _)| *who).chain([writer]).collect();
        let (first, n_links) = (self.chain.rights[level].quorum(), self.chain.links.len());
        // Nobody can have known of more agreement than there is.
        let may_be_known = level < n_links && first.is_met(&agreed);
        let aware = if may_be_known { self.first_aware(seat, level, writer, &first, &words) } else { None };
        (agreed, Guard(self.chain.rights[aware.unwrap_or(n_links)].quorum()))
    }

    /// Of each log the first word of an owner for an entry that knows it: what has any of them in its past has this one.
    fn first_words(&mut self, seat: &Seat<'_>) -> Vec<(IdentityId, &'a Point)> {
        let words = self.words.entry(seat.id).or_insert_with(|| {
            let mut by: BTreeMap<Origin, (IdentityId, Vec<&Point>)> = BTreeMap::new();
            for (who, point) in self.chain.endorsed(&seat.id) {
                let writer = self.writers.get(&point.origin);
                if writer.is_some_and(|writer| writer.worth(point.index) == Worth::As(Role::Owner)) {
                    by.entry(point.origin).or_insert((*who, vec![])).1.push(point);
                }
            }
            by.into_values().collect()
        });
        let first = |words: &[&'a Point]| {
            let n_before = words.partition_point(|word| !seat.point.is_before(word));
            words.get(n_before).copied()
        };
        words.iter().filter_map(|(who, words)| Some((*who, first(words)?))).collect()
    }

    /// The first change from `level` on to which anybody but the writer agreed who knew that the first rights' owners had.
    fn first_aware(
        &mut self,
        seat: &Seat<'_>,
        level: usize,
        writer: IdentityId,
        first: &Quorum,
        words: &[(IdentityId, &Point)],
    ) -> Option<usize> {
        // Of each voter, and of each of the owners, how many of its votes come before it knew of that owner's word.
        let owners: Vec<IdentityId> = first.owners.iter().copied().collect();
        let mut unaware = vec![vec![usize::MAX; owners.len()]; self.voters.len()];
        for (who, word) in words.iter().copied().chain([(writer, &seat.point)]) {
            let Ok(owner) = owners.binary_search(&who) else { continue };
            let known = self.unaware.entry((word.origin, word.index));
            let known = known.or_insert_with(|| self.voters.iter().map(|voter| voter.n_unaware(word)).collect());
            for (of, n) in unaware.iter_mut().zip(known) {
                of[owner] = of[owner].min(*n);
            }
        }
        let others = self.voters.iter().zip(unaware).filter(|(voter, _)| voter.who != writer);
        let aware = others.filter_map(|(voter, mut unaware)| {
            unaware.sort_unstable();
            voter.first_from(level, *unaware.get(first.n.checked_sub(1)?)?)
        });
        aware.min()
    }
}

impl<'a> Voter<'a> {
    /// `votes`: of one log, by the changes that they are for.
    fn new(votes: &[(usize, IdentityId, &'a Point)]) -> Self {
        let mut by_index: Vec<&Point> = votes.iter().map(|(.., vote)| *vote).collect();
        by_index.sort_by_key(|vote| vote.index);
        let place = |vote: &Point| by_index.partition_point(|other| other.index < vote.index);
        let places = Highest::of(&votes.iter().map(|(.., vote)| place(vote)).collect::<Vec<_>>());
        let links = votes.iter().map(|(link, ..)| *link).collect();
        Self { who: votes[0].1, votes: by_index, links, places }
    }

    fn n_unaware(&self, word: &Point) -> usize {
        self.votes.partition_point(|vote| !word.is_before(vote))
    }

    /// The first change from `level` on for which there is a vote that is not among the first `n_unaware`.
    fn first_from(&self, level: usize, n_unaware: usize) -> Option<usize> {
        let from = self.links.partition_point(|link| *link < level);
        self.places.first_from(from, n_unaware).map(|n| self.links[n])
    }
}

impl Highest {
    fn of(numbers: &[usize]) -> Self {
        let n = numbers.len().next_power_of_two();
        let mut tree = vec![0; 2 * n];
        for (place, number) in tree[n..].iter_mut().zip(numbers) {
            *place = number + 1;
        }
        for at in (1..n).rev() {
            tree[at] = tree[2 * at].max(tree[2 * at + 1]);
        }
        Self { n, tree }
    }

    /// The place of the first number from a place on that is at least so much.
    fn first_from(&self, from: usize, least: usize) -> Option<usize> {
        let mut at = self.n + from;
        if from >= self.n {
            return None;
        }
        while self.tree[at] <= least {
            // Up to where there is something to the right of it.
            while at % 2 == 1 {
                at /= 2;
            }
            if at == 0 {
                return None;
            }
            at += 1;
        }
        while at < self.n {
            at *= 2;
            at += usize::from(self.tree[at] <= least);
        }
        Some(at - self.n)
    }
}

#[cfg(test)]
impl Chain<'_> {
    /// The same as the rule is written down: of each change everybody who agreed to it is asked what it knew.
    pub(in crate::fold) fn lasting_as_written(
        &self,
        level: usize,
        writer: IdentityId,
        agreed_in: impl Fn(&Point) -> BTreeSet<IdentityId>,
    ) -> Guard {
        let first = self.rights[level].quorum();
        let knows = |(who, vote): &super::Word| *who != writer && first.is_met(&agreed_in(vote));
        let n_unaware = self.links[level..].iter().take_while(|link| !link.votes.iter().any(knows)).count();
        Guard(self.rights[level + n_unaware].quorum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_large_enough_is_found() {
        let mut number = 7_u32;
        for n in 1..40 {
            let numbers: Vec<usize> = (0..n)
                .map(|_| {
                    number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (number >> 16) as usize % n
                })
                .collect();
            let highest = Highest::of(&numbers);
            for from in 0..n + 2 {
                for least in [0, 1, n / 2, n - 1, n, usize::MAX] {
                    let first = (from..n).find(|at| numbers[*at] >= least);
                    assert_eq!(highest.first_from(from, least), first, "{numbers:?} from {from} at least {least}");
                }
            }
        }
    }
}
