//! Whose logs find room in the set. Rules in `docs/spec/fold.md`.
//!
//! Places belong to people, not to keys: anybody can make a thousand keys. What has come stays, so that nobody's entries stop
//! counting; only logs of strangers that nobody names go when somebody with a better claim comes.

use std::collections::{BTreeMap, BTreeSet};

use super::held::{Held, Item};
use super::{Evidence, EvidenceError, logs};
use crate::entry::{Body, StatementId};
use crate::id::IdentityId;
use crate::limits::{
    EVIDENCE_LOGS, HOLDER_LOGS, INVITED_LOGS, OWNER_LOGS, OWNER_LOGS_SURE, OWNERS_LOGS, RECOVERY_LOGS,
};
use crate::origin::{Origin, Subject};

/// Logs of strangers: of keys that are no devices of people who have or had a role.
pub const STRANGER_LOGS: usize = 64;
/// Of those, logs of people whom no open change invites either: these never keep those out.
pub const UNKNOWN_LOGS: usize = 48;

/// On whose account a log is in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Somebody's who owns the package now.
    Owner(IdentityId),
    /// Somebody's who has or had another role.
    Holder(IdentityId),
    /// Somebody's who is to have a role and must agree.
    Invited(IdentityId),
    /// Nobody's.
    Unknown,
}

/// How many logs are held on whose account.
#[derive(Default)]
struct Counts {
    /// Of each: logs in all, and logs about itself.
    of: BTreeMap<IdentityId, (usize, usize)>,
    n_holders: usize,
    n_strangers: usize,
    n_unknown: usize,
}

/// What a log that is taken in needs.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Whose places it takes though it is a stranger's.
    guest_of: Option<IdentityId>,
    /// What goes for it.
    dropped: BTreeSet<Origin>,
}

impl Counts {
    fn of(&self, who: &IdentityId) -> usize {
        self.of.get(who).map_or(0, |(n, _)| *n)
    }
}

impl Evidence {
    /// What a log needs of which nothing is held yet; nothing if the log is held.
    ///
    /// # Errors
    /// [`EvidenceError::TooManyLogs`].
    pub(super) fn room(&self, origin: &Origin, items: &[Item]) -> Result<Room, EvidenceError> {
        if self.logs.held.contains_key(origin) {
            return Ok(Room::default());
        }
        let counts = self.counts();
        let (mut place, mut guest_of, mut more) = (self.place(origin, items.first()), None, 0);
        if let (Place::Unknown, Subject::Identity(who)) = (place, origin.subject)
            && self.has_role(&who)
            && self.is_new_word(who, items)
        {
            (place, more) = (self.place_of(who), RECOVERY_LOGS);
        }
        if matches!(place, Place::Invited(_) | Place::Unknown)
            && let Some(sponsor) = self.sponsor(origin, &counts)
        {
            (place, guest_of) = (self.place_of(sponsor), Some(sponsor));
        }
        if !self.is_within_share(origin, place, more, &counts) {
            return Err(EvidenceError::TooManyLogs);
        }
        let mut dropped = BTreeSet::new();
        while !self.fits(place, &counts, dropped.len()) {
            match self.droppable(place, &dropped) {
                Some(group) => dropped.extend(group),
                None => return Err(EvidenceError::TooManyLogs),
            }
        }
        Ok(Room { guest_of, dropped })
    }

    /// Makes the room that a log needs of which nothing is held yet.
    ///
    /// # Errors
    /// [`EvidenceError::TooManyLogs`]; nothing changed.
    pub(super) fn take_room(&mut self, origin: &Origin, items: &[Item]) -> Result<(), EvidenceError> {
        let Room { guest_of, dropped } = self.room(origin, items)?;
        for log in dropped {
            self.logs.held.remove(&log);
            self.guests.remove(&log);
        }
        if let Some(sponsor) = guest_of {
            self.guests.insert(*origin, sponsor);
        }
        Ok(())
    }

    /// People of whom a further log would find no room: what a device of theirs says may not be heard here. Which of their
    /// logs are here depends on what came first.
    #[must_use]
    pub fn without_room(&self) -> BTreeSet<IdentityId> {
        let counts = self.counts();
        let is_full = |who: &IdentityId| {
            let place = self.place_of(*who);
            let key = self.genesis.log_key;
            let has_share = |origin: Origin| self.is_within_share(&origin, place, 0, &counts);
            let has_places = has_share(Origin::package(self.package, key)) && has_share(Origin::identity(*who, key));
            !has_places || !(self.fits(place, &counts, 0) || self.droppable(place, &BTreeSet::new()).is_some())
        };
        self.people().into_iter().filter(is_full).collect()
    }

    /// Whether a log that is held is by a device of somebody who has a role, or had one, or is to have one: only these are worth
    /// naming as seen. Of others nothing has any effect, and who names them makes all readers fetch them.
    #[must_use]
    pub fn is_peoples(&self, origin: &Origin) -> bool {
        self.logs.held.get(origin).is_some_and(|held| self.place(origin, held.items().first()) != Place::Unknown)
    }

    /// Whether a key is a device of somebody, or was one, as far as that is known here.
    #[must_use]
    pub fn is_device(&self, who: &IdentityId, origin: &Origin) -> bool {
        self.identities.get(who).is_some_and(|known| known.devices.contains(&origin.key))
    }

    /// The people who own the package now.
    #[must_use]
    pub const fn owners(&self) -> &BTreeSet<IdentityId> {
        &self.heeded.owners
    }

    /// Whose a log says to be: a package's by its first entry, which the log's own key signed. Who calls a key its device
    /// does not make that key's log its own.
    fn claimed(origin: &Origin, first: Option<&Item>) -> Option<IdentityId> {
        match (origin.subject, &first?.body) {
            (Subject::Identity(identity), _) => Some(identity),
            (Subject::Package(_), Some(Body::PackageGenesis(genesis))) => Some(genesis.creator),
            (Subject::Package(_), Some(Body::PackageJoin(join))) => Some(join.identity),
            (Subject::Package(_), _) => None,
        }
    }

    fn place(&self, origin: &Origin, first: Option<&Item>) -> Place {
        let Some(who) = Self::claimed(origin, first) else { return Place::Unknown };
        let begins = || matches!(first, Some(Item { body: Some(Body::IdentityGenesis(_)), .. }));
        let is_first = || matches!(origin.subject, Subject::Package(_)) && origin.key == self.genesis.log_key;
        if !self.heeds(&who) || !(self.is_device(&who, origin) || begins() || is_first()) {
            return Place::Unknown;
        }
        self.place_of(who)
    }

    fn place_of(&self, who: IdentityId) -> Place {
        match self.has_role(&who) {
            _ if self.heeded.owners.contains(&who) => Place::Owner(who),
            true => Place::Holder(who),
            false if self.heeds(&who) => Place::Invited(who),
            false => Place::Unknown,
        }
    }

    /// The place of a log that is held.
    fn place_held(&self, origin: &Origin, held: &Held) -> Place {
        let sponsor = || self.guests.get(origin).map(|sponsor| self.place_of(*sponsor));
        match self.place(origin, held.items().first()) {
            own @ (Place::Owner(_) | Place::Holder(_)) => own,
            own => sponsor().unwrap_or(own),
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (origin, held) in &self.logs.held {
            match self.place_held(origin, held) {
                Place::Owner(who) => counts.count(who, origin),
                Place::Holder(who) => {
                    counts.n_holders += 1;
                    counts.count(who, origin);
                }
                Place::Invited(who) => {
                    counts.n_strangers += 1;
                    counts.count(who, origin);
                }
                Place::Unknown => {
                    counts.n_strangers += 1;
                    counts.n_unknown += 1;
                }
            }
        }
        counts
    }

    /// Whether somebody has not used up its own places. A quarter is for logs of the package: devices that say nothing here
    /// must not keep those out that do.
    fn is_within_share(&self, origin: &Origin, place: Place, more: usize, counts: &Counts) -> bool {
        let (who, share) = match place {
            Place::Owner(who) => (who, OWNER_LOGS),
            Place::Holder(who) => (who, HOLDER_LOGS),
            Place::Invited(who) => (who, INVITED_LOGS),
            Place::Unknown => return counts.n_unknown < UNKNOWN_LOGS,
        };
        let (n, n_about) = counts.of.get(&who).copied().unwrap_or_default();
        let is_about = matches!(origin.subject, Subject::Identity(_));
        n < share + more && (!is_about || n_about < share - share / 4 + more)
    }

    /// Whether there is a place when so many strangers' logs are gone.
    fn fits(&self, place: Place, counts: &Counts, n_dropped: usize) -> bool {
        let n_held = self.logs.held.len() - n_dropped;
        let sure = |of: &IdentityId| OWNER_LOGS_SURE.saturating_sub(counts.of(of));
        let kept_for = |who: Option<IdentityId>| -> usize {
            self.heeded.owners.iter().filter(|owner| Some(**owner) != who).map(sure).sum()
        };
        let n_others = counts.n_holders + counts.n_strangers - n_dropped;
        let others_fit = n_others < EVIDENCE_LOGS - OWNERS_LOGS && n_held + kept_for(None) < EVIDENCE_LOGS;
        match place {
            Place::Owner(who) if counts.of(&who) < OWNER_LOGS_SURE => n_held < EVIDENCE_LOGS,
            Place::Owner(who) => n_held + kept_for(Some(who)) < EVIDENCE_LOGS,
            Place::Holder(_) => others_fit,
            Place::Invited(_) | Place::Unknown => others_fit && counts.n_strangers - n_dropped < STRANGER_LOGS,
        }
    }

    /// Some logs that may go for one with this place: strangers' that no person's log names, with those that name them, and
    /// none of which a fork is proved. Nothing that they say has any effect, so nobody's state changes.
    fn droppable(&self, place: Place, dropped: &BTreeSet<Origin>) -> Option<BTreeSet<Origin>> {
        let is_lower = |of: Place| match place {
            Place::Owner(_) | Place::Holder(_) => matches!(of, Place::Invited(_) | Place::Unknown),
            Place::Invited(_) => of == Place::Unknown,
            Place::Unknown => false,
        };
        let may_go = |origin: &Origin, held: &Held| is_lower(self.place_held(origin, held)) && !self.is_forked(origin);
        let left = || self.logs.held.iter().filter(|(origin, _)| !dropped.contains(origin));
        let (going, staying): (Vec<_>, Vec<_>) = left().partition(|(origin, held)| may_go(origin, held));
        let mut kept: BTreeSet<&Origin> = staying.iter().flat_map(|(_, held)| held.verified.names.keys()).collect();
        // Whatever a log that stays names stays, and so on.
        while let Some((_, held)) = going.iter().find(|(origin, held)| {
            kept.contains(origin) && held.verified.names.keys().any(|named| !kept.contains(named))
        }) {
            kept.extend(held.verified.names.keys());
        }
        let free: Vec<_> = going.iter().filter(|(origin, _)| !kept.contains(origin)).collect();
        let naming = |first: &Origin| {
            let mut group = BTreeSet::from([*first]);
            loop {
                let n = group.len();
                let names_any = |held: &Held| group.iter().any(|log| held.verified.names.contains_key(log));
                let more: Vec<Origin> = free.iter().filter(|(_, held)| names_any(held)).map(|(log, _)| **log).collect();
                group.extend(more);
                if group.len() == n {
                    return group;
                }
            }
        };
        free.iter().map(|(origin, _)| naming(origin)).min_by_key(BTreeSet::len)
    }

    /// Who waits for a log, and has places left for it: the first of the owners, then of the others.
    fn sponsor(&self, origin: &Origin, counts: &Counts) -> Option<IdentityId> {
        let waits = |held: &Held| held.next().is_some_and(|item| item.seen.iter().any(|head| head.origin == *origin));
        let waiting = self.logs.held.iter().filter(|(_, held)| waits(held));
        let by = waiting.filter_map(|(by, held)| match self.place(by, held.items().first()) {
            place @ Place::Owner(who) => Some((0, who, place)),
            place @ Place::Holder(who) => Some((1, who, place)),
            Place::Invited(_) | Place::Unknown => None,
        });
        by.filter(|(.., place)| self.is_within_share(origin, *place, 0, counts))
            .min_by_key(|(rank, who, _)| (*rank, *who))
            .map(|(_, who, _)| who)
    }

    /// Whether the first entries of a log hold a statement of somebody's recovery key that no log held brings.
    fn is_new_word(&self, who: IdentityId, items: &[Item]) -> bool {
        let said = |items: &[Item], within: usize| -> BTreeSet<StatementId> {
            let words = items.iter().take(within).filter_map(|item| match &item.body {
                Some(Body::Recover(recover)) => Some(recover.statement.id()),
                _ => None,
            });
            words.collect()
        };
        let own = self.logs.held.iter().filter(|(origin, _)| origin.subject == Subject::Identity(who));
        let known: BTreeSet<StatementId> = own.flat_map(|(_, held)| said(held.items(), usize::MAX)).collect();
        let is_word =
            self.identities.get(&who).is_some_and(|known| self.logs.brings_word(who, &known.owner.genesis, items));
        is_word && said(items, logs::WORD_WITHIN).difference(&known).next().is_some()
    }
}

impl Counts {
    fn count(&mut self, who: IdentityId, origin: &Origin) {
        let (n, n_about) = self.of.entry(who).or_default();
        *n += 1;
        *n_about += usize::from(matches!(origin.subject, Subject::Identity(_)));
    }
}
