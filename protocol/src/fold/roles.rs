//! Who may do what: the chain of changes that enough owners agreed to. Rules in `docs/spec/fold.md`.
//!
//! Each change names the one before it, so the rights after a change depend on nothing but the chain: not on clocks, nor on
//! who else proposed what meanwhile. More than half of the owners must agree, so two changes after the same one can both
//! take effect only if some owner agreed to both; then that counts which more owners knew of first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rights::Grants;
use super::{Needs, Open, Rights, Voice};
use crate::entry::{Body, OWNER_LIMIT, PackageGenesis, RefClass, Role, Roles};
use crate::evidence::{Evidence, Frontier, Point, Seat};
use crate::id::{EntryId, IdentityId};
use crate::limits::{PENDING_PER_IDENTITY, PROTECTED_REFS, ROLE_CHAIN, ROLE_HOLDERS, ROLES_PER_LOG};
use crate::name::RefName;
use crate::origin::Origin;

mod guards;
mod lasting;

pub(super) use guards::{Guard, Guards};
pub(super) use lasting::Lasting;

/// The newest rules that this version knows.
pub const FOLD_RULES: u16 = 1;

/// Somebody's word: whose, and where it stands.
type Word = (IdentityId, Point);

/// The changes that have taken effect, and the rights before, between and after them.
pub(super) struct Chain<'a> {
    links: Vec<Link<'a>>,
    /// One more than links.
    rights: Vec<Arc<Rights>>,
    endorsed: BTreeMap<EntryId, Vec<Word>>,
    /// Whose logs there are.
    logs: Vec<(IdentityId, Origin)>,
    /// From which of their entries on they have the changes in their past.
    levels: BTreeMap<Origin, Levels>,
    /// Which changes begin to protect a ref.
    protections: BTreeMap<(RefClass, RefName), Vec<usize>>,
    /// Changes after the last one that lack agreement, of each identity the latest.
    open: Vec<Link<'a>>,
    /// The last change asks for rules that this version does not know: what comes after it cannot be read.
    pub(super) newer: Option<u16>,
}

/// A change, and who agrees to it.
struct Link<'a> {
    id: EntryId,
    roles: &'a Roles,
    by: Word,
    /// Its writer's, and those of who endorsed it.
    votes: Vec<Word>,
    old: Arc<Quorum>,
    new: Arc<Quorum>,
}

/// Where in a log changes come into its entries' past.
#[derive(Default)]
struct Levels {
    /// Of each change the first entry that has it in its past, as far as any has.
    effect: Vec<u64>,
    /// Of each the first entry that has any word of it in its past: of one more at most.
    proposed: Vec<u64>,
}

/// So many of these must agree.
#[derive(PartialEq, Eq)]
struct Quorum {
    owners: BTreeSet<IdentityId>,
    n: usize,
}

/// All proposals by what they follow, each with its copies: the same bytes may stand in several logs.
type Proposals<'a> = BTreeMap<Option<EntryId>, BTreeMap<EntryId, (&'a Roles, Vec<Word>)>>;

impl Rights {
    pub(super) fn of(genesis: &PackageGenesis) -> Self {
        Self {
            roles: genesis.owners.iter().map(|owner| (*owner, Role::Owner)).collect(),
            owner_threshold: genesis.owner_threshold,
            protected: BTreeSet::new(),
            last: None,
            n_changes: 0,
        }
    }

    /// What an identity may do.
    #[must_use]
    pub fn role(&self, identity: &IdentityId) -> Option<Role> {
        self.roles.get(identity).copied()
    }

    /// Those who own the package.
    pub fn owners(&self) -> impl Iterator<Item = IdentityId> {
        self.roles.iter().filter(|(_, role)| **role == Role::Owner).map(|(identity, _)| *identity)
    }

    /// The rights after a change; none if it may not be: nobody would own the package, fewer than half of the owners could
    /// change it, more would be named than a package has room for, or as many changes have been as may be.
    #[must_use]
    pub fn after(&self, id: EntryId, change: &Roles) -> Option<Self> {
        if self.n_changes >= ROLE_CHAIN {
            return None;
        }
        let n_changes = self.n_changes + 1;
        let mut next = Self { last: Some(id), owner_threshold: change.owner_threshold, n_changes, ..self.clone() };
        for (identity, role) in &change.changes {
            match role {
                Some(role) => drop(next.roles.insert(*identity, *role)),
                None => drop(next.roles.remove(identity)),
            }
        }
        for (class, name, is_protected) in &change.protect {
            let key = (*class, name.clone());
            if *is_protected {
                next.protected.insert(key);
            } else {
                next.protected.remove(&key);
            }
        }
        let (n_owners, threshold) = (next.owners().count(), usize::from(next.owner_threshold));
        let fits =
            n_owners <= OWNER_LIMIT && next.roles.len() <= ROLE_HOLDERS && next.protected.len() <= PROTECTED_REFS;
        (fits && threshold <= n_owners && threshold * 2 > n_owners).then_some(next)
    }

    fn quorum(&self) -> Quorum {
        Quorum { owners: self.owners().collect(), n: usize::from(self.owner_threshold) }
    }
}

impl Quorum {
    fn is_met(&self, agreed: &BTreeSet<IdentityId>) -> bool {
        self.owners.intersection(agreed).count() >= self.n
    }

    /// The largest size that `n` of the owners have told at least; none if it takes nobody.
    fn agreed(&self, n: usize, told: &BTreeMap<IdentityId, u64>) -> Option<u64> {
        let mut sizes: Vec<u64> = self.owners.iter().filter_map(|owner| told.get(owner).copied()).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        n.checked_sub(1).map(|last| sizes.get(last).copied().unwrap_or(0))
    }

    fn needs(&self, agreed: &BTreeSet<IdentityId>) -> Needs {
        let n_agreed = self.owners.intersection(agreed).count();
        Needs { n_more: self.n.saturating_sub(n_agreed), of: self.owners.difference(agreed).copied().collect() }
    }
}

impl Link<'_> {
    /// Whether the change has taken effect in the past of an entry.
    fn is_in(&self, point: &Point) -> bool {
        let is_known = |(_, vote): &&Word| point.covers(&vote.origin) > vote.index;
        let agreed = self.votes.iter().filter(is_known).map(|(identity, _)| *identity).collect();
        self.old.is_met(&agreed) && self.new.is_met(&agreed)
    }

    /// Whether the change had been proposed, or agreed to by anybody, in the past of an entry.
    fn is_proposed(&self, point: &Point) -> bool {
        self.votes.iter().any(|(_, vote)| vote.is_before(point))
    }

    fn agreed(&self) -> BTreeSet<IdentityId> {
        self.votes.iter().map(|(identity, _)| *identity).collect()
    }

    fn is_complete(&self) -> bool {
        let agreed = self.agreed();
        self.old.is_met(&agreed) && self.new.is_met(&agreed)
    }

    /// How many entries of a log as many of the old owners as it takes had in the past of their words. One alone could agree
    /// again by another device, later than an entry.
    fn seen_size(&self, log: &Origin) -> u64 {
        self.old.agreed(self.old.n, &self.told(log, |_| true)).unwrap_or(0)
    }

    /// The largest size of a log that each of these had in the past of its words.
    fn told(&self, log: &Origin, is_meant: impl Fn(&IdentityId) -> bool) -> BTreeMap<IdentityId, u64> {
        let mut sizes = BTreeMap::<IdentityId, u64>::new();
        for (identity, vote) in self.votes.iter().filter(|(identity, _)| is_meant(identity)) {
            let size = sizes.entry(*identity).or_insert(0);
            *size = vote.covers(log).max(*size);
        }
        sizes
    }

    /// The largest size that as many others than `who` agreed on as it takes of the old owners, or of the new ones: what
    /// their words had in their past. Whose own word was needed counts among the old. So no single owner moves it by agreeing
    /// once more, later.
    fn agreed_size(&self, log: &Origin, who: IdentityId) -> u64 {
        let sizes = self.told(log, |identity| *identity != who);
        let by_new = self.new.agreed(self.new.n, &sizes).unwrap_or(0);
        // Who decided alone keeps what it knew when it did.
        self.old.agreed(self.n_others(who), &sizes).unwrap_or_else(|| self.by.1.covers(log)).max(by_new)
    }

    /// How many of the old owners but `who` it takes.
    fn n_others(&self, who: IdentityId) -> usize {
        self.old.n - usize::from(!self.is_met_without(who))
    }

    /// Whether the old owners' agreement is there without somebody's.
    fn is_met_without(&self, who: IdentityId) -> bool {
        self.old.is_met(&self.votes.iter().map(|(identity, _)| *identity).filter(|by| *by != who).collect())
    }
}

/// The identities that logs of these people name in changes of rights, whether or not anybody agreed.
pub(super) fn named<'a>(seats: impl Iterator<Item = Seat<'a>>) -> impl Iterator<Item = IdentityId> {
    let changes = seats.filter_map(|seat| match seat.body {
        Body::Roles(roles) => Some(roles),
        _ => None,
    });
    changes.take(ROLES_PER_LOG).flat_map(|roles| &roles.changes).map(|(identity, _)| *identity)
}

pub(super) fn chain<'a>(evidence: &'a Evidence, frontier: &Frontier, grants: &'a Grants<'_>) -> Chain<'a> {
    let (mut proposals, mut endorsed) = (Proposals::new(), BTreeMap::<EntryId, Vec<Word>>::new());
    for (origin, grant) in grants.iter().filter(|(_, grant)| grant.manages()) {
        let mut n_roles = 0;
        for seat in evidence.logs().entries(origin, frontier).skip_while(|seat| seat.point.index < grant.from) {
            match seat.body {
                Body::Roles(roles) if n_roles < ROLES_PER_LOG => {
                    n_roles += 1;
                    let own = proposals.entry(roles.previous).or_default().entry(seat.id).or_insert((roles, vec![]));
                    own.1.push((grant.identity, seat.point));
                }
                Body::Endorse(endorse) => {
                    endorsed.entry(endorse.entry).or_default().push((grant.identity, seat.point));
                }
                _ => {}
            }
        }
    }
    let rights = vec![Arc::new(Rights::of(evidence.genesis()))];
    let logs = grants.iter().map(|(origin, grant)| (grant.identity, *origin)).collect();
    let (levels, protections) = (BTreeMap::new(), BTreeMap::new());
    let chain = Chain { links: Vec::new(), rights, endorsed, logs, levels, protections, open: Vec::new(), newer: None };
    let firm = grants.iter().map(|(origin, grant)| (*origin, grant.firm(evidence, origin, frontier))).collect();
    Builder { evidence, frontier, grants, firm, proposals, chain }.finish()
}

struct Builder<'a, 'b> {
    evidence: &'a Evidence,
    frontier: &'b Frontier,
    grants: &'a Grants<'a>,
    /// How many entries of each log count whatever others have seen.
    firm: BTreeMap<Origin, u64>,
    proposals: Proposals<'a>,
    chain: Chain<'a>,
}

impl<'a> Builder<'a, '_> {
    fn finish(mut self) -> Chain<'a> {
        // What is taken is taken out, and a change names one before it by hash: the chain ends.
        while let Some(proposals) = self.proposals.remove(&self.chain.current().last) {
            let old = Arc::new(self.chain.current().quorum());
            let owners = self.owners_know();
            let candidates: Vec<Link<'a>> = proposals
                .into_iter()
                .filter_map(|(id, (roles, copies))| self.candidate(id, roles, &copies, &old, &owners))
                .collect();
            let (complete, open): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Link::is_complete);
            let Some(link) = self.choose(complete) else {
                self.chain.open = latest(open);
                break;
            };
            let newer = link.roles.rules.filter(|rules| *rules > FOLD_RULES);
            let next = self.chain.current().after(link.id, link.roles).expect("a candidate may be");
            self.chain.rights.push(Arc::new(next));
            self.chain.links.push(link);
            if newer.is_some() {
                self.chain.newer = newer;
                break;
            }
        }
        self.chain.index(self.evidence, self.frontier);
        self.chain
    }

    /// The last entries of the current owners' logs that count whatever others have seen.
    fn owners_know(&self) -> Vec<(IdentityId, Point)> {
        let owners =
            self.grants.iter().filter(|(_, grant)| self.chain.current().role(&grant.identity) == Some(Role::Owner));
        let last = |origin: &Origin| self.evidence.logs().last(origin, self.frontier, self.firm[origin]);
        owners.filter_map(|(origin, grant)| Some((grant.identity, last(origin)?))).collect()
    }

    /// The change with who agrees to it; none if nobody may propose it, or it may not be.
    fn candidate(
        &self,
        id: EntryId,
        roles: &'a Roles,
        copies: &[Word],
        old: &Arc<Quorum>,
        owners: &[(IdentityId, Point)],
    ) -> Option<Link<'a>> {
        let last = self.chain.links.last();
        let stands = |identity: IdentityId, point: &Point| self.stands(identity, point, owners);
        // Once in a log is enough, however often it stands there.
        let (mut votes, mut said) = (Vec::<Word>::new(), BTreeSet::<Origin>::new());
        for (identity, point) in copies {
            let may_propose = || last.is_none_or(|last| last.is_in(point)) && stands(*identity, point);
            if old.owners.contains(identity) && !said.contains(&point.origin) && may_propose() {
                said.insert(point.origin);
                votes.push((*identity, point.clone()));
            }
        }
        votes.sort_by_key(|(_, point)| (point.n_covered(), point.origin));
        let by = votes.first()?.clone();
        let n_copies = votes.len();
        let new = self.chain.current().after(id, roles)?.quorum();
        let (old, new) = (Arc::clone(old), if new == **old { Arc::clone(old) } else { Arc::new(new) });
        for (identity, point) in self.chain.endorsed.get(&id).into_iter().flatten() {
            let is_owner = old.owners.contains(identity) || new.owners.contains(identity);
            let knows = || votes[..n_copies].iter().any(|(_, copy)| copy.is_before(point));
            if is_owner && !said.contains(&point.origin) && knows() && stands(*identity, point) {
                said.insert(point.origin);
                votes.push((*identity, point.clone()));
            }
        }
        Some(Link { id, roles, by, votes, old, new })
    }

    /// Whether a word stands: its device was not cut below it, and signed one history up to it, or another owner has built
    /// on it. So nobody undoes what owners agreed to by cutting back a device of its own.
    fn stands(&self, identity: IdentityId, point: &Point, owners: &[(IdentityId, Point)]) -> bool {
        point.index < self.firm[&point.origin]
            || owners.iter().any(|(owner, last)| *owner != identity && point.is_before(last))
    }

    /// Of several changes after the same one that all have their agreement that which more of the owners knew of first,
    /// then the smallest id. It takes an owner who agreed to two.
    fn choose(&self, mut complete: Vec<Link<'a>>) -> Option<Link<'a>> {
        let best = match complete.len() {
            0 | 1 => 0,
            _ => {
                let n_first = self.n_first(&complete);
                let rank = |n: &usize| (n_first[*n], core::cmp::Reverse(complete[*n].id));
                (0..complete.len()).max_by_key(rank).expect("several")
            }
        };
        (best < complete.len()).then(|| complete.swap_remove(best))
    }

    /// How many owners knew of each change first. What a log has in it never changes, so neither does this, once more than
    /// half of the owners knew.
    fn n_first(&self, complete: &[Link<'a>]) -> Vec<usize> {
        let mut n_first = vec![0; complete.len()];
        for owner in &complete[0].old.owners {
            let logs = self.grants.iter().filter(|(_, grant)| grant.identity == *owner);
            let firsts: BTreeSet<Vec<usize>> =
                logs.filter_map(|(origin, _)| self.first_known(complete, origin)).collect();
            let firsts: BTreeSet<usize> = firsts.into_iter().flatten().collect();
            if let (Some(first), 1) = (firsts.first(), firsts.len()) {
                n_first[*first] += 1;
            }
        }
        n_first
    }

    /// Those of several changes that the first entry of a log has in its past which has any, if that entry counts.
    fn first_known(&self, complete: &[Link<'a>], origin: &Origin) -> Option<Vec<usize>> {
        let at = |index: u64| self.evidence.logs().last(origin, self.frontier, index + 1);
        let knows_any = |index: u64| at(index).is_some_and(|point| complete.iter().any(|link| link.is_in(&point)));
        // Whatever an entry has in its past all later ones have: halving finds the first.
        let (mut low, mut high) = (0, self.frontier.size(origin).min(self.firm[origin]));
        let end = high;
        while low < high {
            let middle = low + (high - low) / 2;
            if knows_any(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let point = at(low).filter(|_| low < end)?;
        Some((0..complete.len()).filter(|n| complete[*n].is_in(&point)).collect())
    }
}

/// Of each identity the latest.
fn latest(open: Vec<Link<'_>>) -> Vec<Link<'_>> {
    let mut by: BTreeMap<IdentityId, Vec<Link<'_>>> = BTreeMap::new();
    for link in open {
        by.entry(link.by.0).or_default().push(link);
    }
    let of_each = by.into_values().flat_map(|mut links| {
        links.sort_by_cached_key(|link| core::cmp::Reverse((link.by.1.n_covered(), link.id)));
        links.truncate(PENDING_PER_IDENTITY);
        links
    });
    of_each.collect()
}

impl Chain<'_> {
    /// Finds out once from where on each log knows what, and which changes protect which refs.
    fn index(&mut self, evidence: &Evidence, frontier: &Frontier) {
        let mut own: BTreeMap<Origin, BTreeSet<u64>> = BTreeMap::new();
        for (_, vote) in self.links.iter().flat_map(|link| &link.votes) {
            own.entry(vote.origin).or_default().extend([vote.index, vote.index + 1]);
        }
        let levels = self.logs.iter().map(|(_, origin)| {
            let mut at = own.remove(origin).unwrap_or_default();
            at.extend(evidence.logs().steps(origin, frontier));
            (*origin, self.levels(evidence, frontier, origin, at))
        });
        let levels = levels.collect();
        self.levels = levels;
        for (n, link) in self.links.iter().enumerate() {
            for (class, name, is_protected) in &link.roles.protect {
                let key = (*class, name.clone());
                if *is_protected && !self.rights[n].protected.contains(&key) {
                    self.protections.entry(key).or_default().push(n);
                }
            }
        }
    }

    /// `at`: the entries of which the past is more than that of the one before and that one.
    fn levels(&self, evidence: &Evidence, frontier: &Frontier, origin: &Origin, at: BTreeSet<u64>) -> Levels {
        let mut levels = Levels::default();
        for index in at {
            let point = evidence.logs().last(origin, frontier, index + 1);
            let Some(point) = point.filter(|point| point.index == index) else { continue };
            while let Some(link) = self.links.get(levels.effect.len()) {
                let is_in = link.is_in(&point);
                if levels.proposed.len() == levels.effect.len() && (is_in || link.is_proposed(&point)) {
                    levels.proposed.push(index);
                }
                if !is_in {
                    break;
                }
                levels.effect.push(index);
            }
        }
        levels
    }

    fn current(&self) -> &Rights {
        self.rights.last().expect("there are the Genesis' rights")
    }

    /// The rights as they are now, as far as this version can read.
    pub(super) fn rights(&self) -> &Rights {
        &self.rights[self.rights.len() - 1 - usize::from(self.newer.is_some())]
    }

    /// Everybody who has, or had, a role.
    pub(super) fn holders(&self) -> BTreeSet<IdentityId> {
        self.rights.iter().flat_map(|rights| rights.roles.keys().copied()).collect()
    }

    /// Everybody whom an open change names.
    pub(super) fn invited(&self) -> BTreeSet<IdentityId> {
        self.open.iter().flat_map(|link| link.new.owners.iter().copied()).collect()
    }

    /// The entries of a log, each with the number of changes in its past.
    pub(super) fn leveled<'b>(
        &'b self,
        evidence: &'b Evidence,
        origin: &'b Origin,
        frontier: &'b Frontier,
    ) -> impl Iterator<Item = (Seat<'b>, usize)> {
        let effect = self.levels.get(origin).map_or(&[][..], |levels| &levels.effect[..]);
        evidence.logs().entries(origin, frontier).map(|seat| {
            let level = effect.partition_point(|at| *at <= seat.point.index);
            (seat, level)
        })
    }

    /// What the entries of an identity's log may do: from which entry on what.
    pub(super) fn voices(
        &self,
        evidence: &Evidence,
        frontier: &Frontier,
        origin: &Origin,
        identity: IdentityId,
    ) -> Vec<(u64, Voice)> {
        let (size, none) = (frontier.size(origin), Levels::default());
        let effect = &self.levels.get(origin).unwrap_or(&none).effect;
        let cut = |n: usize| Some((self.cut(evidence, frontier, n, origin, identity)?, n));
        let mut cuts: Vec<(u64, usize)> = (0..self.links.len()).filter_map(cut).collect();
        cuts.sort_unstable();
        let (mut cuts, mut voices) = (cuts.into_iter().peekable(), Vec::<(u64, Voice)>::new());
        let at: BTreeSet<u64> = effect.iter().copied().chain(cuts.clone().map(|(size, _)| size)).chain([0]).collect();
        // Of the changes whose cut is at or before an entry, and that leave so much, the last.
        let mut left: BTreeMap<Option<Role>, usize> = BTreeMap::new();
        for index in at.into_iter().filter(|index| *index < size) {
            while let Some((_, n)) = cuts.next_if(|(size, _)| *size <= index) {
                let last = left.entry(self.rights[n + 1].role(&identity)).or_insert(n);
                *last = n.max(*last);
            }
            let level = effect.partition_point(|at| *at <= index);
            let least = left.iter().find(|(_, n)| **n >= level).map(|(role, _)| *role);
            let voice = match (self.rights[level].role(&identity), least) {
                (None, _) => Voice::None,
                (Some(_), Some(None)) => Voice::Removed,
                (Some(role), Some(Some(left))) => Voice::Role(role.min(left)),
                (Some(role), None) => Voice::Role(role),
            };
            let is_unreadable = self.newer.is_some() && level == self.links.len();
            let voice = if is_unreadable { Voice::None } else { voice };
            if voices.last().is_none_or(|(_, last)| *last != voice) {
                voices.push((index, voice));
            }
        }
        voices
    }

    /// How many entries of a log keep what link `n` takes from its identity; none if it takes nothing.
    fn cut(&self, evidence: &Evidence, frontier: &Frontier, n: usize, log: &Origin, who: IdentityId) -> Option<u64> {
        if self.rights[n + 1].role(&who) >= self.rights[n].role(&who) {
            return None;
        }
        let link = &self.links[n];
        let known = || link.agreed_size(log, who);
        let named = link.roles.cuts.iter().find(|(key, _)| *key == log.key);
        let size = match named {
            Some((_, cut)) => {
                let size = evidence.logs().cut_size(log, cut.as_ref(), frontier);
                // Whose agreement was needed keeps what the others knew when they agreed. One that comes when it is no
                // longer needed changes nothing: who is removed must not be able to choose how far.
                if link.is_met_without(who) { size } else { size.max(known()) }
            }
            None => known(),
        };
        // What as many owners as it takes have built on, who knew of the proposal and not that it was agreed to, stays: a word
        // that was withheld undoes none of that, and no single owner who looks away keeps anybody in.
        let mut built = BTreeMap::<IdentityId, u64>::new();
        let others = self.logs.iter().filter(|(identity, _)| *identity != who && link.old.owners.contains(identity));
        for (identity, by) in others {
            let Some(from) = self.levels[by].proposed.get(n) else { continue };
            let until = self.levels[by].effect.get(n).copied().unwrap_or(u64::MAX);
            let size = built.entry(*identity).or_insert(0);
            *size = evidence.logs().named(by, frontier, log, *from..until).max(*size);
        }
        Some(size.max(link.old.agreed(link.n_others(who), &built).unwrap_or(0)))
    }

    /// Whose agreement moves of refs need that are in one log; to be asked entry by entry.
    pub(super) fn guards(&self, log: Origin) -> Guards<'_> {
        Guards::new(self, log)
    }

    /// Those who endorsed an entry, as they stand in their logs.
    pub(super) fn endorsed(&self, entry: &EntryId) -> &[Word] {
        self.endorsed.get(entry).map_or(&[], Vec::as_slice)
    }

    /// The changes that wait for agreement.
    pub(super) fn open(&self) -> Vec<Open> {
        self.open.iter().map(Link::shown).collect()
    }
}

impl Link<'_> {
    fn shown(&self) -> Open {
        let agreed = self.agreed();
        let mut needs = vec![self.old.needs(&agreed), self.new.needs(&agreed)];
        needs.retain(|needs| needs.n_more > 0);
        needs.dedup();
        Open {
            entry: self.id,
            by: self.by.0,
            writer: self.by.1.origin,
            index: self.by.1.index,
            needs,
            agreed,
            change: super::OpenChange::Roles(self.roles.clone()),
        }
    }
}
