//! How far a forked log may still grow. Nothing newer of it is accepted, but a reader who was warned early holds less than what
//! others have settled: it goes on along the history that somebody else has fixed, as far as that at least.

use super::{Evidence, Held};
use crate::entry::{Body, Cut, DeviceCuts};
use crate::log::Log;
use crate::origin::{Origin, Subject};

impl Evidence {
    /// Whether more of a forked log, up to `to` entries, is worth fetching: some of it that is not held is fixed by somebody's
    /// cut or `seen`.
    #[must_use]
    pub fn may_grow(&self, origin: &Origin, to: u64) -> bool {
        let held = self.size(origin);
        let is_more = |cut: &Cut| held < cut.size && cut.size <= to;
        held > 0 && self.is_forked(origin) && self.fixed(origin).iter().any(is_more)
    }

    /// Whether a continuation of a forked log is of the history that is fixed beyond what is held.
    pub(super) fn is_fixed(&self, log: &Log) -> bool {
        let held = self.size(log.origin());
        let is_more = |cut: &Cut| held < cut.size && log.root_at(cut.size) == Some(cut.root);
        held > 0 && self.fixed(log.origin()).iter().any(is_more)
    }

    /// The heads of a log along which it may go on: those that the recovery key names, else those that unforked logs of people
    /// name or cut at. Of two histories that are named so the first one comes; the fold then takes what both have.
    fn fixed(&self, origin: &Origin) -> Vec<Cut> {
        let is_heard = |by: &Origin| *by != *origin && !self.is_forked(by) && self.is_owners(by);
        let logs = || self.logs.held.iter().filter(|(by, _)| is_heard(by));
        // The recovery key's word counts in whose log ever it stands.
        let words: Vec<Cut> =
            self.logs.held.iter().flat_map(|(by, held)| self.named_by_recovery(by, held, origin)).collect();
        if !words.is_empty() {
            return words;
        }
        let seen =
            logs().flat_map(|(_, held)| held.names(origin)).map(|(_, head)| Cut { size: head.size, root: head.root });
        seen.chain(logs().flat_map(|(by, held)| self.cut_by(by, held, origin))).collect()
    }

    fn cut_by<'a>(&'a self, by: &'a Origin, held: &'a Held, origin: &'a Origin) -> impl Iterator<Item = Cut> + 'a {
        held.cutting().filter_map(|body| match (body, origin.subject) {
            (Body::Suspend(suspend), _) => self.cut_of(by, &suspend.cuts, origin),
            (Body::Roles(roles), Subject::Package(_)) => roles.cuts.iter().find(|(key, _)| *key == origin.key)?.1,
            (Body::ForkResolve(resolve), Subject::Package(_)) if resolve.log == origin.key => Some(resolve.cut),
            _ => None,
        })
    }

    fn named_by_recovery(&self, by: &Origin, held: &Held, origin: &Origin) -> Vec<Cut> {
        let Subject::Identity(identity) = by.subject else { return Vec::new() };
        let Some(known) = self.identities.get(&identity) else { return Vec::new() };
        let said = held.cutting().filter_map(|body| match body {
            Body::Recover(recover) => Some(recover),
            _ => None,
        });
        let about = said.filter_map(|recover| {
            let cut = recover.statement.revoke.iter().find_map(|cuts| self.cut_of(by, cuts, origin))?;
            Some((recover.commitment(), cut))
        });
        let about: Vec<([u8; 32], Cut)> = about.collect();
        if about.is_empty() {
            return Vec::new();
        }
        let words = self.logs.words(identity, &known.owner.genesis);
        about.into_iter().filter(|(key, _)| words.contains(key)).map(|(_, cut)| cut).collect()
    }

    /// What cuts of a device, in a log about its identity, say of one of its logs.
    fn cut_of(&self, by: &Origin, cuts: &DeviceCuts, origin: &Origin) -> Option<Cut> {
        let Subject::Identity(identity) = by.subject else { return None };
        match origin.subject {
            _ if cuts.device != origin.key => None,
            Subject::Identity(subject) => cuts.identity.filter(|_| subject == identity),
            Subject::Package(_) if !self.is_device(&identity, origin) => None,
            Subject::Package(package) => cuts.packages.iter().find(|(named, _)| *named == package)?.1,
        }
    }
}
