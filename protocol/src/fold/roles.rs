//! Who may do what: the chain of changes that enough owners agreed to. Rules in `docs/spec/fold.md`.
//!
//! Each change names the one before it, so the rights after a change depend on nothing but the chain: not on clocks, nor on
//! who else proposed what meanwhile. More than half of the owners must agree, so two changes after the same one can both
//! take effect only if some owner agreed to both; then that counts which more owners knew of first.

use std::collections::{BTreeMap, BTreeSet};

use super::rights::Grants;
use super::{Needs, Open, Rights, Voice};
use crate::entry::{Body, OWNER_LIMIT, PackageGenesis, RefClass, Role, Roles};
use crate::evidence::{Evidence, Frontier, Point, Seat};
use crate::id::{EntryId, IdentityId};
use crate::limits::{PENDING_PER_IDENTITY, PROTECTED_REFS, ROLE_HOLDERS, ROLES_PER_LOG};
use crate::name::RefName;
use crate::origin::Origin;

/// The newest rules that this version knows.
pub const FOLD_RULES: u16 = 1;

/// Somebody's word: whose, and where it stands.
type Word = (IdentityId, Point);

/// The changes that have taken effect, and the rights before, between and after them.
pub(super) struct Chain<'a> {
    links: Vec<Link<'a>>,
    /// One more than links.
    rights: Vec<Rights>,
    endorsed: BTreeMap<EntryId, Vec<Word>>,
    /// Whose logs there are.
    logs: Vec<(IdentityId, Origin)>,
    /// Changes after the last one that lack agreement.
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
    old: Quorum,
    new: Quorum,
    next: Rights,
}

/// So many of these must agree.
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
    /// change it, or more would be named than a package has room for.
    #[must_use]
    pub fn after(&self, id: EntryId, change: &Roles) -> Option<Self> {
        let mut next = Self { last: Some(id), owner_threshold: change.owner_threshold, ..self.clone() };
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

    /// Whether as many of the old owners as it takes had the entry in the past of their words. One alone could agree again
    /// by another device, later than the entry.
    fn has_seen(&self, point: &Point) -> bool {
        let has = |(_, vote): &&Word| vote.covers(&point.origin) > point.index;
        self.old.is_met(&self.votes.iter().filter(has).map(|(identity, _)| *identity).collect())
    }

    /// The largest size that as many others than `who` agreed on as it takes of the old owners, or of the new ones: what
    /// their words had in their past. Whose own word was needed counts among the old. So no single owner moves it by agreeing
    /// once more, later.
    fn agreed_size(&self, log: &Origin, who: IdentityId) -> u64 {
        let mut sizes = BTreeMap::<IdentityId, u64>::new();
        for (identity, vote) in self.votes.iter().filter(|(identity, _)| *identity != who) {
            let size = sizes.entry(*identity).or_insert(0);
            *size = vote.covers(log).max(*size);
        }
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
pub(super) fn named<'a>(seats: impl Iterator<Item = Seat<'a>>) -> BTreeSet<IdentityId> {
    let changes = seats.filter_map(|seat| match seat.body {
        Body::Roles(roles) => Some(roles),
        _ => None,
    });
    changes.take(ROLES_PER_LOG).flat_map(|roles| &roles.changes).map(|(identity, _)| *identity).collect()
}

pub(super) fn chain<'a>(evidence: &'a Evidence, frontier: &Frontier, grants: &'a Grants<'_>) -> Chain<'a> {
    let (mut proposals, mut endorsed) = (Proposals::new(), BTreeMap::<EntryId, Vec<Word>>::new());
    for (origin, grant) in grants {
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
    let rights = vec![Rights::of(evidence.genesis())];
    let logs = grants.iter().map(|(origin, grant)| (grant.identity, *origin)).collect();
    let chain = Chain { links: Vec::new(), rights, endorsed, logs, open: Vec::new(), newer: None };
    Builder { evidence, frontier, grants, proposals, chain }.finish()
}

struct Builder<'a, 'b> {
    evidence: &'a Evidence,
    frontier: &'b Frontier,
    grants: &'a Grants<'a>,
    proposals: Proposals<'a>,
    chain: Chain<'a>,
}

impl<'a> Builder<'a, '_> {
    fn finish(mut self) -> Chain<'a> {
        // What is taken is taken out, and a change names one before it by hash: the chain ends.
        while let Some(proposals) = self.proposals.remove(&self.chain.current().last) {
            let candidates: Vec<Link<'a>> =
                proposals.into_iter().filter_map(|(id, (roles, copies))| self.candidate(id, roles, &copies)).collect();
            let (complete, open): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Link::is_complete);
            let Some(link) = self.choose(complete) else {
                self.chain.open = open;
                break;
            };
            let newer = link.roles.rules.filter(|rules| *rules > FOLD_RULES);
            self.chain.rights.push(link.next.clone());
            self.chain.links.push(link);
            if newer.is_some() {
                self.chain.newer = newer;
                break;
            }
        }
        self.chain
    }

    /// The change with who agrees to it; none if nobody may propose it, or it may not be.
    fn candidate(&self, id: EntryId, roles: &'a Roles, copies: &[Word]) -> Option<Link<'a>> {
        let rights = self.chain.current();
        let next = rights.after(id, roles)?;
        let (old, new) = (rights.quorum(), next.quorum());
        let last = self.chain.links.last();
        let may_propose = |(identity, point): &&Word| {
            old.owners.contains(identity) && last.is_none_or(|last| last.is_in(point)) && self.stands(*identity, point)
        };
        let mut votes: Vec<Word> = copies.iter().filter(may_propose).cloned().collect();
        votes.sort_by_key(|(_, point)| (point.n_covered(), point.origin));
        let by = votes.first()?.clone();
        let n_copies = votes.len();
        for (identity, point) in self.chain.endorsed.get(&id).into_iter().flatten() {
            let is_owner = old.owners.contains(identity) || new.owners.contains(identity);
            // Once in a log is enough, however often it stands there.
            let is_again = votes.iter().any(|(_, vote)| vote.origin == point.origin);
            let knows = || votes[..n_copies].iter().any(|(_, copy)| copy.is_before(point));
            if is_owner && !is_again && knows() && self.stands(*identity, point) {
                votes.push((*identity, point.clone()));
            }
        }
        Some(Link { id, roles, by, votes, old, new, next })
    }

    /// Whether a word stands: its device was not cut below it, and signed one history up to it, or another owner has built
    /// on it. So nobody undoes what owners agreed to by cutting back a device of its own.
    fn stands(&self, identity: IdentityId, point: &Point) -> bool {
        let firm = |origin: &Origin| self.grants[origin].firm(self.evidence, origin, self.frontier);
        let others = || self.grants.iter().filter(|(_, grant)| grant.identity != identity);
        point.index < firm(&point.origin)
            || others().any(|(origin, grant)| {
                let is_owner = self.chain.current().role(&grant.identity) == Some(Role::Owner);
                let last = || self.evidence.logs().last(origin, self.frontier, firm(origin));
                is_owner && last().is_some_and(|last| point.is_before(&last))
            })
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
            let firsts: BTreeSet<Vec<usize>> = logs
                .filter_map(|(origin, grant)| {
                    let firm = grant.firm(self.evidence, origin, self.frontier);
                    let mut seats = self.evidence.logs().entries(origin, self.frontier);
                    seats.find_map(|seat| {
                        let known = |n: &usize| complete[*n].is_in(&seat.point);
                        let known: Vec<usize> = (0..complete.len()).filter(known).collect();
                        (!known.is_empty() && seat.point.index < firm).then_some(known)
                    })
                })
                .collect();
            let firsts: BTreeSet<usize> = firsts.into_iter().flatten().collect();
            if let (Some(first), 1) = (firsts.first(), firsts.len()) {
                n_first[*first] += 1;
            }
        }
        n_first
    }
}

impl Chain<'_> {
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

    /// How many changes have taken effect in the past of an entry that comes after one of which `level` have.
    fn level(&self, mut level: usize, point: &Point) -> usize {
        while self.links.get(level).is_some_and(|link| link.is_in(point)) {
            level += 1;
        }
        level
    }

    /// The entries of a log, each with the number of changes in its past.
    pub(super) fn leveled<'b>(
        &'b self,
        evidence: &'b Evidence,
        origin: &'b Origin,
        frontier: &'b Frontier,
    ) -> impl Iterator<Item = (Seat<'b>, usize)> {
        evidence.logs().entries(origin, frontier).scan(0, |level, seat| {
            *level = self.level(*level, &seat.point);
            Some((seat, *level))
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
        let cuts: Vec<Option<u64>> =
            (0..self.links.len()).map(|n| self.cut(evidence, frontier, n, origin, identity)).collect();
        let mut voices: Vec<(u64, Voice)> = Vec::new();
        for (seat, level) in self.leveled(evidence, origin, frontier) {
            let index = seat.point.index;
            let is_beyond = |n: &usize| cuts[*n].is_some_and(|size| index >= size);
            let granted = self.rights[level].role(&identity);
            let left = (level..self.links.len()).filter(is_beyond).map(|n| self.rights[n + 1].role(&identity)).min();
            let voice = match (granted, left) {
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
            let size = built.entry(*identity).or_insert(0);
            let named = evidence.logs().named_while(
                by,
                frontier,
                log,
                |point| !link.is_in(point),
                |point| link.is_proposed(point),
            );
            *size = named.max(*size);
        }
        Some(size.max(link.old.agreed(link.n_others(who), &built).unwrap_or(0)))
    }

    /// Whose agreement a move of a ref needs that has `level` changes in its past; none if nobody's.
    pub(super) fn guard(&self, level: usize, point: &Point, key: &(RefClass, RefName)) -> Option<Guard> {
        let protects = |n: usize| self.rights[n].protected.contains(key);
        let until_known = |n: &usize| !protects(*n) && protects(n + 1) && !self.links[*n].has_seen(point);
        let by = match protects(level) {
            true => Some(level),
            // What protects counts everywhere, as what takes rights away; what it had seen stays.
            false => (level..self.links.len()).find(until_known).map(|n| n + 1),
        };
        by.map(|n| Guard(self.rights[n].quorum()))
    }

    /// Whose agreement an entry needs that is to stay in effect, and has `level` changes in its past: that of the rights which
    /// the last change made to which nobody else had agreed knowing that it was in effect. So nobody gets around the owners who
    /// came later by not looking at them, and who agreed to something later takes nothing back.
    pub(super) fn lasting_guard(
        &self,
        level: usize,
        writer: IdentityId,
        agreed_in: impl Fn(&Point) -> BTreeSet<IdentityId>,
    ) -> Guard {
        let first = self.rights[level].quorum();
        let knows = |(who, vote): &Word| *who != writer && first.is_met(&agreed_in(vote));
        let n_unaware = self.links[level..].iter().take_while(|link| !link.votes.iter().any(knows)).count();
        Guard(self.rights[level + n_unaware].quorum())
    }

    /// Those who endorsed an entry, as they stand in their logs.
    pub(super) fn endorsed(&self, entry: &EntryId) -> &[Word] {
        self.endorsed.get(entry).map_or(&[], Vec::as_slice)
    }

    /// The changes that wait for agreement.
    pub(super) fn open(&self) -> Vec<Open> {
        let mut by: BTreeMap<IdentityId, Vec<&Link<'_>>> = BTreeMap::new();
        for link in &self.open {
            by.entry(link.by.0).or_default().push(link);
        }
        let mut open = Vec::new();
        for links in by.values_mut() {
            links.sort_by_cached_key(|link| (link.by.1.n_covered(), link.id));
            open.extend(links.iter().rev().take(PENDING_PER_IDENTITY).map(|link| link.shown()));
        }
        open
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

/// What protects a ref.
pub(super) struct Guard(Quorum);

impl Guard {
    pub(super) fn is_met(&self, agreed: &BTreeSet<IdentityId>) -> bool {
        self.0.is_met(agreed)
    }

    pub(super) fn needs(&self, agreed: &BTreeSet<IdentityId>) -> Needs {
        self.0.needs(agreed)
    }
}
