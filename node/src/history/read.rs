//! Reading histories from this disk: every log against its remembered head, an identity's once for all its packages.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::evidence::{Evidence, EvidenceError, Identity, IdentityLog, KnownFork};
use syncra_protocol::id::{EntryId, IdentityId, PackageId};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::origin::{Origin, Subject};

use super::{EntryBytes, Histories, History, IDENTITIES_HELD, IDENTITY_LOGS_HELD, Known, LoadError};

impl Histories {
    /// An identity as far as its logs are stored: one value for all who ask, as long as none of them grows.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn identity_logs(&self, identity: IdentityId) -> Result<Option<Identity>, LoadError> {
        let n_changes = {
            let known = self.known();
            if let Some(held) = known.identities.get(&identity) {
                return Ok(Some(held.clone()));
            }
            known.n_changes
        };
        let gathered = self.gather(identity, |origin| self.identity_log(origin))?;
        let mut known = self.known();
        if let Some(gathered) = &gathered
            && known.n_changes == n_changes
        {
            if known.identities.len() >= IDENTITIES_HELD {
                known.identities.clear();
            }
            known.identities.insert(identity, gathered.clone());
        }
        Ok(gathered)
    }

    /// An identity from its logs, which come from `identity_log`.
    pub(super) fn gather(
        &self,
        identity: IdentityId,
        identity_log: impl Fn(&Origin) -> Result<Option<IdentityLog>, LoadError>,
    ) -> Result<Option<Identity>, LoadError> {
        let mut logs = Vec::new();
        for origin in self.origins(Subject::Identity(identity)) {
            logs.extend(identity_log(&origin)?);
        }
        let forks = logs.iter().filter_map(|log| self.fork(log.head().origin())).collect::<Vec<_>>();
        Ok(Identity::gather(logs, forks))
    }

    /// A log of an identity as far as it is stored: one value for all who ask, as long as it does not grow.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn identity_log(&self, origin: &Origin) -> Result<Option<IdentityLog>, LoadError> {
        let held = self.known().identity_logs.get(origin).cloned();
        let log = self.read_identity_log(origin, held)?;
        Ok(log.map(|log| self.known().share(log)))
    }

    /// A log of an identity, read and verified from where it is held on.
    pub(super) fn read_identity_log(
        &self,
        origin: &Origin,
        held: Option<IdentityLog>,
    ) -> Result<Option<IdentityLog>, LoadError> {
        let Some(note) = self.note(origin) else { return Ok(None) };
        if held.as_ref().is_some_and(|held| held.head().note() == note) {
            return Ok(held);
        }
        let head = remembered_head(origin, &note)?;
        let held = held.filter(|held| held.log().size() <= head.size());
        let from = held.as_ref().map_or(0, |held| held.log().size());
        let Some(entries) = self.all_entries(&head, from)? else { return Ok(None) };
        let log = match held {
            Some(held) => held.extended(&entries, &head),
            None => IdentityLog::verify(&entries, &head),
        };
        log.map(Some).map_err(|source| LoadError::Entries { origin: *origin, source })
    }

    /// A package's history. Its owners come from `owner`.
    pub(super) fn load(
        &self,
        package: PackageId,
        owner: impl Fn(IdentityId) -> Result<Option<Identity>, LoadError>,
    ) -> Result<Option<History>, LoadError> {
        let logs = self.package_logs(package)?;
        let id = EntryId::from_bytes(*package.as_bytes());
        let mut firsts = logs.iter().filter_map(|(_, entries)| entries.first());
        let Some(genesis) = firsts.find(|entry| EntryId::of(entry) == id) else { return Ok(None) };
        let mut evidence = Evidence::open(package, genesis)?;
        let known = RefCell::new(BTreeMap::new());
        let owner = |who| {
            if let Some(known) = known.borrow().get(&who) {
                return Ok(Option::<Identity>::clone(known));
            }
            let read = owner(who)?;
            known.borrow_mut().insert(who, read.clone());
            Ok(read)
        };
        loop {
            gather_people(&mut evidence, &logs, owner)?;
            let frontier = evidence.frontier();
            self.freeze_forked(&mut evidence);
            // What had waited for a forked log counts now, and may speak of others.
            if evidence.frontier() == frontier {
                break;
            }
        }
        let state = evidence.fold();
        Ok(Some(History { evidence, state }))
    }

    /// The logs of a package. One with a gap is left out: its entries are fetched again, and its head still guards
    /// against rollback.
    fn package_logs(&self, package: PackageId) -> Result<Vec<(Head, Vec<EntryBytes>)>, LoadError> {
        let mut logs = Vec::new();
        for origin in self.origins(Subject::Package(package)) {
            let Some(note) = self.note(&origin) else { continue };
            let head = remembered_head(&origin, &note)?;
            if let Some(entries) = self.all_entries(&head, 0)? {
                logs.push((head, entries));
            }
        }
        Ok(logs)
    }

    /// The remembered note of a log.
    pub(super) fn note(&self, origin: &Origin) -> Option<Vec<u8>> {
        let truth = self.journal().truth();
        let elsewhere = truth.head(origin).map(|head| (head.size, head.note.clone()));
        let own = truth.own_log(origin).and_then(|log| Some((log.size(), log.note()?.note.clone())));
        // What the own key signed elsewhere is read like everybody's, and nothing is added to it.
        own.into_iter().chain(elsewhere).max_by_key(|(size, _)| *size).map(|(_, note)| note)
    }

    /// The entries from `from` up to a head, if none is missing.
    fn all_entries(&self, head: &Head, from: u64) -> Result<Option<Vec<EntryBytes>>, LoadError> {
        let entries = self.entries(head.origin(), from, head.size() - from)?;
        let n_stored = from + entries.len() as u64;
        if n_stored < head.size() {
            let (origin, size) = (head.origin(), head.size());
            tracing::debug!(%origin, stored = n_stored, size, "entries are missing and will be fetched again");
            return Ok(None);
        }
        Ok(Some(entries))
    }

    /// A proof alone does not tell where the two histories part: until that is shown nothing of a forked log counts by
    /// itself, only what other owners or the reader's witnesses have seen of it. Installed copies stay.
    fn freeze_forked(&self, evidence: &mut Evidence) {
        let origins: Vec<Origin> = evidence.heads().map(|head| *head.origin()).collect();
        evidence.freeze_all(origins.iter().filter_map(|origin| self.fork(origin)));
        for origin in origins.into_iter().filter(|origin| evidence.is_forked(origin)).collect::<Vec<_>>() {
            let quorum = evidence.log(&origin).and_then(|log| self.0.witnesses.quorum(log));
            evidence.witnessed(&origin, quorum);
        }
    }

    /// What is known of a fork of a log.
    pub(crate) fn fork(&self, origin: &Origin) -> Option<KnownFork> {
        let truth = self.journal().truth();
        let proof = ForkProof::verify(truth.fork_proof(origin)?);
        let proof = proof.inspect_err(|error| tracing::error!(%origin, %error, "a stored fork proof does not verify"));
        let proof = proof.ok()?;
        let point = truth.fork_point(origin).map(|point| ForkPoint::verify(proof.clone(), point)).transpose();
        let point = point.inspect_err(|error| tracing::error!(%origin, %error, "a stored fork point does not verify"));
        Some(KnownFork { proof, n_common: truth.fork_common(origin), point: point.ok().flatten() })
    }
}

impl Known {
    /// Holds a log; of two that go equally far the one that others have.
    fn share(&mut self, log: IdentityLog) -> IdentityLog {
        let origin = *log.head().origin();
        if let Some(held) = self.identity_logs.get(&origin).filter(|held| held.head() == log.head()) {
            return held.clone();
        }
        if self.identity_logs.len() >= IDENTITY_LOGS_HELD {
            self.identity_logs.clear();
        }
        self.identity_logs.insert(origin, log.clone());
        log
    }
}

/// Takes in the logs of a package and of all whom they name, person by person: those who own it now first, so that nobody
/// takes the place of theirs, then whoever else has to do with it; strangers' last, those first that somebody waits for.
fn gather_people(
    evidence: &mut Evidence,
    logs: &[(Head, Vec<EntryBytes>)],
    identity: impl Fn(IdentityId) -> Result<Option<Identity>, LoadError>,
) -> Result<(), LoadError> {
    let mut gathered = BTreeSet::new();
    let mut left: Vec<_> = logs.iter().filter(|(head, _)| evidence.size(head.origin()) < head.size()).collect();
    loop {
        let next = evidence.owners().iter().copied().chain(evidence.people()).find(|who| !gathered.contains(who));
        let mut now = Vec::new();
        match next {
            Some(who) => {
                gathered.insert(who);
                if let Some(known) = identity(who)? {
                    evidence.share_all(&known).map_err(|source| LoadError::Owner { identity: who, source })?;
                }
                (now, left) = left.into_iter().partition(|log| evidence.is_device(&who, log.0.origin()));
            }
            None if left.is_empty() => return gather_awaited(evidence, identity),
            None => now.append(&mut left),
        }
        now.sort_by_cached_key(|log| (!evidence.is_owners(log.0.origin()), !evidence.wants(log.0.origin())));
        for (head, entries) in now {
            match evidence.extend(entries, head) {
                Ok(()) => {}
                Err(EvidenceError::TooManyLogs) => tracing::warn!(origin = %head.origin(), "a log has no room"),
                Err(source) => return Err(LoadError::Entries { origin: *head.origin(), source }),
            }
        }
    }
}

/// Takes in logs of identities that nobody names any more, but entries wait for: somebody was to have a role when they were
/// written.
fn gather_awaited(
    evidence: &mut Evidence,
    identity: impl Fn(IdentityId) -> Result<Option<Identity>, LoadError>,
) -> Result<(), LoadError> {
    let mut asked = BTreeSet::new();
    loop {
        let missing: Vec<Origin> = evidence.missing().into_keys().filter(|origin| asked.insert(*origin)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for origin in missing {
            let Subject::Identity(who) = origin.subject else { continue };
            let known = identity(who)?;
            let Some(log) = known.iter().flat_map(Identity::logs).find(|log| *log.head().origin() == origin) else {
                continue;
            };
            match evidence.share(log) {
                Ok(()) => {}
                Err(EvidenceError::TooManyLogs) => tracing::warn!(%origin, "a log has no room"),
                Err(source) => return Err(LoadError::Entries { origin, source }),
            }
        }
    }
}

fn remembered_head(origin: &Origin, note: &[u8]) -> Result<Head, LoadError> {
    Head::verify(note).map_err(|source| LoadError::Head { origin: *origin, source })
}
