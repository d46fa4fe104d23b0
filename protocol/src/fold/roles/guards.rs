//! Whose agreement a move of a protected ref needs. Asked for every move, so what a ref's protections knew of a log is worked out
//! once for all moves in it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chain, Quorum};
use crate::entry::RefClass;
use crate::evidence::Point;
use crate::fold::Needs;
use crate::id::IdentityId;
use crate::name::RefName;
use crate::origin::Origin;

/// What protects refs against moves in one log.
pub(in crate::fold) struct Guards<'a> {
    chain: &'a Chain<'a>,
    log: Origin,
    /// Of changes that were asked about [`super::Link::seen_size`].
    sizes: BTreeMap<usize, u64>,
    refs: BTreeMap<(RefClass, RefName), Protections>,
}

/// The changes that begin to protect one ref, by how much of a log they knew.
#[derive(Default)]
struct Protections {
    /// (what enough owners had seen of the log, the change), those that an entry is not beyond yet; the nearest last.
    ahead: Vec<(u64, usize)>,
    /// Those that did not know of the entry.
    beyond: BTreeSet<usize>,
}

impl<'a> Guards<'a> {
    pub(super) const fn new(chain: &'a Chain<'a>, log: Origin) -> Self {
        Self { chain, log, sizes: BTreeMap::new(), refs: BTreeMap::new() }
    }

    /// Whose agreement a move of a ref needs that has `level` changes in its past; none if nobody's. What protects counts
    /// everywhere, as what takes rights away; what it had seen stays.
    pub(in crate::fold) fn guard(&mut self, level: usize, point: &Point, key: &(RefClass, RefName)) -> Option<Guard> {
        if self.chain.rights[level].protected.contains(key) {
            return Some(Guard(self.chain.rights[level].quorum()));
        }
        let all = self.chain.protections.get(key)?;
        if !self.refs.contains_key(key) {
            let (chain, log, sizes) = (self.chain, self.log, &mut self.sizes);
            let mut size = |n: usize| *sizes.entry(n).or_insert_with(|| chain.links[n].seen_size(&log));
            let mut ahead: Vec<(u64, usize)> = all.iter().map(|n| (size(*n), *n)).collect();
            ahead.sort_unstable_by(|a, b| b.cmp(a));
            self.refs.insert(key.clone(), Protections { ahead, ..Protections::default() });
        }
        let known = self.refs.get_mut(key).expect("just made sure");
        while let Some((_, n)) = known.ahead.pop_if(|(size, _)| *size <= point.index) {
            known.beyond.insert(n);
        }
        known.beyond.range(level..).next().map(|n| Guard(self.chain.rights[n + 1].quorum()))
    }
}

/// What protects a ref.
pub(in crate::fold) struct Guard(pub(super) Quorum);

impl Guard {
    pub(in crate::fold) fn is_met(&self, agreed: &BTreeSet<IdentityId>) -> bool {
        self.0.is_met(agreed)
    }

    pub(in crate::fold) fn needs(&self, agreed: &BTreeSet<IdentityId>) -> Needs {
        self.0.needs(agreed)
    }
}
