//! What this node knows of packages and identities: verified logs, folded; and the only place that adds to them.
//!
//! Own logs grow in [`own`] (journal frame, then signature, then the note, and only then anybody hears of it). Others'
//! logs grow in [`foreign`] (entries synced, then the head remembered). Both end in a [`Change`], which followers,
//! watchers and the index hear. What is held in memory was verified in [`read`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncra_protocol::entry::{self, Body, Decoded, SeenHead};
use syncra_protocol::evidence::{Evidence, EvidenceError, GenesisError, Identity, IdentityLog};
use syncra_protocol::fold::{IdentityState, OpenChange, PackageState};
use syncra_protocol::id::{IdentityId, PackageId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::note::NoteError;
use syncra_protocol::origin::{Origin, Subject};
use tokio::sync::broadcast;

use crate::journal::{Journal, OwnLog};
use crate::logs::{Logs, LogsError};
use crate::witness::Witnesses;

mod basis;
mod foreign;
mod own;
mod read;

pub use foreign::CommitError;
pub use own::{Draft, OwnError};

/// Packages whose evidence is held in memory; the others are read again when they are needed.
const HELD: usize = 256;
/// Logs of identities that are held in memory.
const IDENTITY_LOGS_HELD: usize = 1_024;
/// Identities of which it is held in memory what their logs say together.
const IDENTITIES_HELD: usize = 1_024;
/// Changes that a slow listener may lag behind before it has to look at everything again.
const CHANGES: usize = 1_024;

/// Entries as they lie on disk and travel.
pub type EntryBytes = Arc<[u8]>;

/// One package as known now. A value: what is known later is another one.
#[derive(Debug, Clone)]
pub struct History {
    /// Every verified log that speaks for the package.
    pub evidence: Evidence,
    /// What they add up to.
    pub state: PackageState,
}

/// Some log grew, durably, or was found forked.
#[derive(Debug, Clone)]
pub struct Change {
    /// The log's newest head.
    pub head: Head,
}

/// A log that is known to go further than what lies on this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The log.
    pub origin: Origin,
    /// Entries that are not here.
    pub n_missing: u64,
    /// Whether they were: else this home came from elsewhere without them.
    pub were_here: bool,
}

/// All histories. Clones are the same.
#[derive(Debug, Clone)]
pub struct Histories(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal,
    logs: Arc<Logs>,
    secret: DeviceSecret,
    /// Of a forked log they have a say which history counts.
    witnesses: Arc<Witnesses>,
    /// Held while an own log grows: one writer, one history.
    writing: tokio::sync::Mutex<own::Ready>,
    /// Held while another's log grows, by its key's first byte.
    committing: [tokio::sync::Mutex<()>; 16],
    known: Mutex<Known>,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug, Default)]
struct Known {
    /// The logs of each subject of which anything is on disk.
    origins: BTreeMap<Subject, BTreeSet<Origin>>,
    packages: HashMap<PackageId, Arc<History>>,
    /// Logs of identities, each one value for all packages that are held. What is behind its head on disk is read on.
    identity_logs: HashMap<Origin, IdentityLog>,
    /// What they say together.
    identities: HashMap<IdentityId, Identity>,
    /// How often any log grew or was found forked: what was read before it last did may be out of date.
    n_changes: u64,
    /// The same of any log of an identity: what it says may count in every package.
    n_identity_changes: u64,
    /// The same of the logs of each package, as far as they have.
    n_package_changes: HashMap<PackageId, u64>,
}

/// As long as it is the same, so is the history of a package: for what is derived from one, in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    n_identity_changes: u64,
    n_package_changes: u64,
}

/// Why a history could not be read from this disk.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store of entries fails.
    #[error("the stored entries cannot be read")]
    Logs(#[from] LogsError),
    /// What the journal holds does not verify any more.
    #[error("the remembered head of {origin} does not verify")]
    Head {
        /// The log.
        origin: Origin,
        /// What is wrong with it.
        source: NoteError,
    },
    /// Entries on disk do not form the log that was verified.
    #[error("the stored entries of {origin} do not verify")]
    Entries {
        /// The log.
        origin: Origin,
        /// What is wrong with them.
        source: EvidenceError,
    },
    /// The logs of an owner do not fit the package's.
    #[error("the stored logs of identity {} do not verify", .identity.fmt_short())]
    Owner {
        /// The owner.
        identity: IdentityId,
        /// What is wrong with them.
        source: EvidenceError,
    },
    /// A Genesis entry on disk is not what it was.
    #[error("a stored Genesis entry does not verify")]
    Genesis(#[from] GenesisError),
}

impl LoadError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Logs(error) if error.is_disk_full())
    }
}

impl Histories {
    /// Over an open journal and store of entries; signs what a crash left unsigned.
    ///
    /// # Errors
    /// [`OwnError`] when the journal does not take the missing notes.
    pub async fn open(
        journal: Journal,
        logs: Arc<Logs>,
        secret: DeviceSecret,
        witnesses: Arc<Witnesses>,
    ) -> Result<Self, OwnError> {
        let mut known = Known::default();
        {
            let truth = journal.truth();
            let own = truth.own_logs().map(|(origin, _)| *origin);
            for origin in own.chain(truth.heads().map(|head| head.origin)) {
                known.origins.entry(origin.subject).or_default().insert(origin);
            }
        }
        let (changes, _) = broadcast::channel(CHANGES);
        let (writing, known) = (tokio::sync::Mutex::default(), Mutex::new(known));
        let committing = std::array::from_fn(|_| tokio::sync::Mutex::default());
        let inner = Inner { journal, logs, secret, witnesses, writing, committing, known, changes };
        let histories = Self(Arc::new(inner));
        histories.sign_unsigned().await?;
        Ok(histories)
    }

    /// The journal beneath.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Hears of every log that grows from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Every package of which anything is held, ascending.
    #[must_use]
    pub fn packages(&self) -> Vec<PackageId> {
        let of_packages = |subject: &Subject| match subject {
            Subject::Package(package) => Some(*package),
            Subject::Identity(_) => None,
        };
        self.known().origins.keys().filter_map(of_packages).collect()
    }

    /// Whether anything of a package is held.
    #[must_use]
    pub fn is_known(&self, package: PackageId) -> bool {
        self.known().origins.contains_key(&Subject::Package(package))
    }

    /// Bytes that the entries of another's log take on this disk; none if the index cannot tell.
    #[must_use]
    pub fn stored_bytes(&self, origin: &Origin) -> u64 {
        let bytes = self.0.logs.stored_bytes(origin);
        bytes.inspect_err(|error| tracing::warn!(%origin, %error, "its size is unknown")).unwrap_or(0)
    }

    /// Every identity of which anything is held, ascending.
    #[must_use]
    pub fn identities(&self) -> Vec<IdentityId> {
        let of_identities = |subject: &Subject| match subject {
            Subject::Identity(identity) => Some(*identity),
            Subject::Package(_) => None,
        };
        self.known().origins.keys().filter_map(of_identities).collect()
    }

    /// A package's history, if anything of it is held.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn package(&self, package: PackageId) -> Result<Option<Arc<History>>, LoadError> {
        let n_changes = {
            let known = self.known();
            if let Some(history) = known.packages.get(&package) {
                return Ok(Some(Arc::clone(history)));
            }
            known.n_changes
        };
        let Some(history) = self.load(package, |owner| self.identity_logs(owner))? else { return Ok(None) };
        let history = Arc::new(history);
        self.keep(n_changes, package, &history);
        Ok(Some(history))
    }

    /// What tells that a package's history may be another one than before.
    #[must_use]
    pub fn stamp(&self, package: PackageId) -> Stamp {
        let known = self.known();
        let n_package_changes = known.n_package_changes.get(&package).copied().unwrap_or(0);
        Stamp { n_identity_changes: known.n_identity_changes, n_package_changes }
    }

    /// A package's history, read and verified again from the bytes on disk. Nothing in memory is asked or changed.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn read_again(&self, package: PackageId) -> Result<Option<History>, LoadError> {
        let identity_log = |origin: &Origin| self.read_identity_log(origin, None);
        self.load(package, |owner| self.gather(owner, identity_log))
    }

    /// What an identity's logs say, if anything of it is held.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn identity(&self, identity: IdentityId) -> Result<Option<Arc<IdentityState>>, LoadError> {
        Ok(self.identity_logs(identity)?.map(|held| Arc::clone(held.state())))
    }

    /// A log as far as it is verified and stored, and its head.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn log(&self, origin: &Origin) -> Result<Option<(Log, Head)>, LoadError> {
        Ok(match origin.subject {
            Subject::Package(package) => {
                let history = self.package(package)?;
                history.and_then(|h| Some((h.evidence.log(origin)?.clone(), h.evidence.head(origin)?.clone())))
            }
            Subject::Identity(_) => self.identity_log(origin)?.map(|log| (log.log().clone(), log.head().clone())),
        })
    }

    /// Entries `from..` of a log, as many as are stored in a row, `limit` at most.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn entries(&self, origin: &Origin, from: u64, limit: u64) -> Result<Vec<EntryBytes>, LogsError> {
        let mut entries: Vec<EntryBytes> = {
            let truth = self.0.journal.truth();
            let own = truth.own_log(origin).map_or(&[][..], |own| own.entries());
            let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
            own.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)).take(wanted).cloned().collect()
        };
        // Of an own log what was written elsewhere lies where others' logs do.
        let (at, end) = (from.saturating_add(entries.len() as u64), from.saturating_add(limit));
        if at < end {
            let found = self.0.logs.read(origin, at..end, usize::MAX)?;
            entries.extend(found.entries.into_iter().map(Arc::from));
        }
        Ok(entries)
    }

    /// Whether a log of the package is known to go further than what lies on this disk: a restored home has its head and none of
    /// its entries.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn is_incomplete(&self, package: PackageId) -> Result<bool, LogsError> {
        Ok(!self.gaps(package)?.is_empty())
    }

    /// The logs of the package that are known to go further than what lies on this disk.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn gaps(&self, package: PackageId) -> Result<Vec<Gap>, LogsError> {
        let mut gaps = Vec::new();
        for origin in self.origins(Subject::Package(package)) {
            let (held, known, were_here) = {
                let truth = self.0.journal.truth();
                let held = truth.own_log(&origin).map_or(0, OwnLog::size);
                (held, truth.head(&origin).map_or(0, |head| head.size), truth.entries_were_here(&origin))
            };
            if held < known {
                let missing = self.0.logs.missing(&origin, held..known)?;
                let n_missing: u64 = missing.iter().map(|range| range.end - range.start).sum();
                gaps.extend((n_missing > 0).then_some(Gap { origin, n_missing, were_here }));
            }
        }
        Ok(gaps)
    }

    fn origins(&self, subject: Subject) -> Vec<Origin> {
        self.known().origins.get(&subject).into_iter().flatten().copied().collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds what was read when logs had grown `n_changes` times, unless one has grown since.
    fn keep(&self, n_changes: u64, package: PackageId, history: &Arc<History>) {
        let mut known = self.known();
        if known.n_changes == n_changes {
            if known.packages.len() >= HELD {
                known.packages.clear();
            }
            known.packages.insert(package, Arc::clone(history));
        }
    }

    /// Forgets what was folded from a log that grew, and tells everybody.
    fn changed(&self, head: Head) {
        {
            let mut known = self.known();
            let subject = head.origin().subject;
            known.origins.entry(subject).or_default().insert(*head.origin());
            known.forget(subject);
        }
        // Nobody listening is fine.
        let _ = self.0.changes.send(Change { head });
    }
}

#[cfg(test)]
impl Histories {
    /// Lets go of the histories that are held in memory.
    pub(crate) fn let_go(&self) {
        self.known().packages.clear();
    }

    /// How many were read since.
    pub(crate) fn n_packages_held(&self) -> usize {
        self.known().packages.len()
    }
}

impl Known {
    /// Forgets what was folded from the logs of `subject`: it is read again when it is asked for.
    fn forget(&mut self, subject: Subject) {
        self.n_changes += 1;
        match subject {
            Subject::Package(package) => {
                *self.n_package_changes.entry(package).or_default() += 1;
                self.packages.remove(&package);
            }
            Subject::Identity(identity) => {
                self.n_identity_changes += 1;
                self.identities.remove(&identity);
                self.packages.retain(|_, history| !history.evidence.heeds(&identity));
            }
        }
    }
}

impl Histories {
    /// What an own entry of a package says to have seen: [`PackageState::seen`], but of a log that this device's identity wants cut back,
    /// and waits for others to agree, no more than the cut leaves. Whoever builds on what it wants to take away lets it stay.
    #[must_use]
    pub fn seen(&self, history: &History) -> Vec<SeenHead> {
        let device = self.0.secret.public();
        let mut heads = history.state.seen(&history.evidence, &device);
        let is_own =
            |who: &IdentityId| history.state.owners.get(who).is_some_and(|owner| owner.devices.contains_key(&device));
        for open in history.state.open.iter().filter(|open| open.agreed.iter().any(is_own)) {
            let OpenChange::Roles(roles) = &open.change else { continue };
            for (key, cut) in &roles.cuts {
                let origin = Origin::package(history.state.package, *key);
                let Some(at) = heads.iter().position(|head| head.origin == origin) else { continue };
                let size = heads[at].size.min(cut.map_or(0, |cut| cut.size));
                let root = history.evidence.log(&origin).and_then(|log| log.root_at(size)).filter(|_| size > 0);
                match root {
                    Some(root) => heads[at] = SeenHead { origin, size, root },
                    None => drop(heads.remove(at)),
                }
            }
        }
        heads
    }
}

/// A head as an entry names it.
#[must_use]
pub fn seen_head(head: &Head) -> SeenHead {
    SeenHead { origin: *head.origin(), size: head.size(), root: head.root() }
}

/// The body of an entry that this device wrote or verified; none for a kind made later.
#[must_use]
pub fn body_of(bytes: &[u8]) -> Option<Body> {
    match entry::decode(bytes) {
        Ok(Decoded::Known(entry)) => Some(entry.body),
        Ok(Decoded::Unknown { .. }) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, open};

    /// Many packages of one author must not cost one copy of the author's log each.
    #[tokio::test]
    async fn packages_of_one_owner_share_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let packages =
            [Draft::new("lamp", "1.0.0").publish(&parts).await, Draft::new("door", "1.0.0").publish(&parts).await];
        let histories = &parts.histories;
        let owner = |history: &History| Arc::clone(&history.state.owners[&parts.identity()]);
        let [lamp, door] = packages.map(|published| histories.package(published.package).unwrap().unwrap());
        assert_eq!(owner(&lamp).names.len(), 2);
        assert!(Arc::ptr_eq(&owner(&lamp), &owner(&door)));
        assert!(Arc::ptr_eq(&owner(&lamp), &histories.identity(parts.identity()).unwrap().unwrap()));

        let again = histories.read_again(lamp.state.package).unwrap().unwrap();
        assert_eq!(again.state, lamp.state);
        assert!(!Arc::ptr_eq(&owner(&again), &owner(&lamp)), "what is read again is not taken from memory");

        let third = Draft::new("key", "1.0.0").publish(&parts).await.package;
        let third = histories.package(third).unwrap().unwrap();
        assert_eq!((owner(&third).names.len(), owner(&lamp).names.len()), (3, 2), "a history is a value");
        let lamp = histories.package(lamp.state.package).unwrap().unwrap();
        assert!(Arc::ptr_eq(&owner(&third), &owner(&lamp)));
        parts.close().await;
    }

    /// A reader that began before a log grew must not bring back, for everybody, what it read.
    #[tokio::test]
    async fn what_was_read_while_a_log_grew_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let lamp = Draft::new("lamp", "1.0.0").publish(&parts).await.package;
        let histories = &parts.histories;
        let n_changes = histories.known().n_changes;
        let read = histories.load(lamp, |owner| histories.identity_logs(owner)).unwrap().unwrap();
        Draft::new("lamp", "1.1.0").publish(&parts).await;
        histories.keep(n_changes, lamp, &Arc::new(read));
        assert_eq!(histories.package(lamp).unwrap().unwrap().state.releases.len(), 2);
        parts.close().await;
    }
}
