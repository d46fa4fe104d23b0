//! The evidence set of a package: every log that speaks for it, verified, in causal order.
//!
//! Entries come in through [`Evidence::verify`] alone: a [`Head`] that its own key signed, entries that hash to it, a
//! first entry that may begin such a log. What a log then says is read by the [fold](crate::fold). The order of checking
//! is that of `docs/spec/fold.md`: identity Genesis, identity logs, package Genesis, package logs; no log has rights
//! before the logs that grant them are there, so the order of arrival decides nothing.
//!
//! Only meaning is kept here: ids, decoded entries, leaf hashes. The bytes of entries are the node's to store and serve.
//! What a log says is the same in every set, so sets share it: an [`IdentityLog`] is verified once for all packages of
//! its identity. Clones of a set are cheap for the same reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::{self, Body, Decoded, Entry, EntryError, IdentityGenesis, PackageGenesis, SeenHead};
use crate::id::{EntryId, IdentityId, PackageId};
use crate::limits::EVIDENCE_LOGS;
use crate::log::checkpoint::Head;
use crate::log::fork::ForkProof;
use crate::log::{ExtendError, Log};
use crate::origin::{Origin, Subject};

mod causal;
mod first;
mod frontier;
mod held;
mod identity;

pub use first::FirstEntryError;
pub use frontier::{Frontier, FrontierError, FrontierHead};
pub use identity::IdentityLog;

pub(crate) use causal::{Clock, Point};

use held::{Held, Item, Verified, read};

/// Logs of writers that no owner's entry names: kept as evidence, without rights, and not allowed to crowd out others.
pub const STRANGER_LOGS: usize = 64;

/// All verified logs that speak for one package.
#[derive(Debug, Clone)]
pub struct Evidence {
    package: PackageId,
    genesis: PackageGenesis,
    genesis_bytes: Vec<u8>,
    identities: BTreeMap<IdentityId, Arc<Owner>>,
    logs: BTreeMap<Origin, Held>,
    forks: BTreeMap<Origin, Fork>,
}

/// The first device of an owner, and the bytes that say so.
#[derive(Debug, Clone)]
struct Owner {
    genesis: IdentityGenesis,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Fork {
    proof: ForkProof,
    /// None while nobody knows; of several other histories the shortest common part.
    n_common: Option<u64>,
}

/// A verified continuation of one log, not yet part of the set: to be made durable before [`Evidence::apply`].
#[derive(Debug, Clone)]
pub struct Extension {
    log: Log,
    head: Head,
    from: u64,
    items: Vec<Item>,
    stop: Option<(u64, StopReason)>,
    /// An owner that these entries begin.
    owner: Option<(IdentityId, Arc<Owner>)>,
}

/// Why a log's entries do not count from some index on, though its key signed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// A critical kind or version that this version does not know.
    #[error("a newer client is needed to read entries of kind {kind}, version {version}")]
    NewerClient {
        /// The kind's number.
        kind: u8,
        /// The format version.
        version: u8,
    },
    /// Not an entry.
    #[error("malformed entry: {0}")]
    Malformed(EntryError),
    /// A kind that may not stand there: a beginning in the middle, or another subject's kind.
    #[error("an entry of kind {kind} may not stand there")]
    Misplaced {
        /// The kind's number.
        kind: u8,
    },
    /// An entry that claims to have seen its own log.
    #[error("an entry names its own log as seen")]
    SawItself,
}

/// Why a log has verified entries that do not count yet, or never will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// The entry at `index` names a head that is not here: other logs go on.
    Waiting {
        /// The first entry that does not count.
        index: u64,
        /// What it waits for.
        on: SeenHead,
    },
    /// The entry at `index` names a head with another root than the one held: one of two branches.
    OtherBranch {
        /// The first entry that does not count.
        index: u64,
        /// What contradicts the log held.
        on: SeenHead,
    },
    /// See [`StopReason`].
    Stopped {
        /// The first entry that does not count.
        index: u64,
        /// Why.
        reason: StopReason,
    },
}

/// Why bytes are not the Genesis entry that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Not an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Another kind of entry, or one that this version does not know.
    #[error("not a Genesis entry of the expected kind")]
    Kind,
    /// The bytes have another hash than the id asked for.
    #[error("the Genesis entry is another one's")]
    OtherId,
    /// Of an identity that owns nothing here.
    #[error("identity {} is not an owner of this package", .0.fmt_short())]
    NotOwner(IdentityId),
}

/// Why entries were not added; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A log of another package.
    #[error("the log belongs to another package")]
    OtherPackage,
    /// A log of a package where one of an identity is meant.
    #[error("the log is not an identity's")]
    NoIdentity,
    /// The set is full.
    #[error("more logs than {EVIDENCE_LOGS} speak for this package, {STRANGER_LOGS} of strangers among them")]
    TooManyLogs,
    /// A fork proof against this log is held: nothing newer of it is accepted.
    #[error("the log's key has signed two histories")]
    Frozen,
    /// The entries do not continue the log up to the head.
    #[error(transparent)]
    Extend(#[from] ExtendError),
    /// The first entry may not begin this log.
    #[error(transparent)]
    First(#[from] FirstEntryError),
    /// Applied to a log that has changed since it was verified.
    #[error("the log has {held} entries now, the continuation begins at {from}")]
    Stale {
        /// Entries held.
        held: u64,
        /// Where the continuation begins.
        from: u64,
    },
}

impl Evidence {
    /// An empty set for `package`, from the bytes of its Genesis entry.
    ///
    /// # Errors
    /// [`GenesisError`] unless the bytes are that entry.
    pub fn open(package: PackageId, genesis: &[u8]) -> Result<Self, GenesisError> {
        let Body::PackageGenesis(body) = genesis_body(genesis)? else { return Err(GenesisError::Kind) };
        if PackageId::from(EntryId::of(genesis)) != package {
            return Err(GenesisError::OtherId);
        }
        Ok(Self {
            package,
            genesis: body,
            genesis_bytes: genesis.to_vec(),
            identities: BTreeMap::new(),
            logs: BTreeMap::new(),
            forks: BTreeMap::new(),
        })
    }

    /// Learns the first device of an owner from the bytes of the identity's Genesis entry, so that its logs are known
    /// when they are offered. Rights come from the logs themselves.
    ///
    /// # Errors
    /// [`GenesisError`] unless the bytes are the Genesis entry of an owner.
    pub fn admit_identity(&mut self, genesis: &[u8]) -> Result<IdentityId, GenesisError> {
        let Body::IdentityGenesis(body) = genesis_body(genesis)? else { return Err(GenesisError::Kind) };
        let identity = IdentityId::from(EntryId::of(genesis));
        if !self.genesis.owners.contains(&identity) {
            return Err(GenesisError::NotOwner(identity));
        }
        self.identities.insert(identity, Arc::new(Owner { genesis: body, bytes: genesis.to_vec() }));
        Ok(identity)
    }

    /// The package.
    #[must_use]
    pub const fn package(&self) -> PackageId {
        self.package
    }

    /// How the package began.
    #[must_use]
    pub const fn genesis(&self) -> &PackageGenesis {
        &self.genesis
    }

    /// The bytes of the package's Genesis entry, for whoever knows nothing yet.
    #[must_use]
    pub fn genesis_bytes(&self) -> &[u8] {
        &self.genesis_bytes
    }

    /// The bytes of the Genesis entries of the owners that are known.
    pub fn identity_genesis_bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.identities.values().map(|owner| &*owner.bytes)
    }

    /// The log of `origin` as far as it is held.
    #[must_use]
    pub fn log(&self, origin: &Origin) -> Option<&Log> {
        self.logs.get(origin).map(Held::log)
    }

    /// The newest verified head of `origin`.
    #[must_use]
    pub fn head(&self, origin: &Origin) -> Option<&Head> {
        self.logs.get(origin).map(Held::head)
    }

    /// The newest verified heads of all logs, ascending by origin.
    pub fn heads(&self) -> impl Iterator<Item = &Head> {
        self.logs.values().map(Held::head)
    }

    /// Entries held of `origin`.
    #[must_use]
    pub fn size(&self, origin: &Origin) -> u64 {
        self.logs.get(origin).map_or(0, |held| held.log().size())
    }

    /// Whether `origin` is of this package: by an owner's device that is known, or named by an entry that waits for it.
    /// Nothing else is worth fetching.
    #[must_use]
    pub fn wants(&self, origin: &Origin) -> bool {
        self.is_owners(origin) || self.logs.contains_key(origin) || self.awaits(origin)
    }

    fn is_owners(&self, origin: &Origin) -> bool {
        let is_device = |owner: &Arc<Owner>| owner.genesis.log_key == origin.key;
        match origin.subject {
            Subject::Package(package) if package != self.package => false,
            Subject::Package(_) => origin.key == self.genesis.log_key || self.identities.values().any(is_device),
            Subject::Identity(identity) => self.identities.get(&identity).is_some_and(is_device),
        }
    }

    fn awaits(&self, origin: &Origin) -> bool {
        self.logs.values().any(|held| held.next().is_some_and(|item| item.seen.iter().any(|s| s.origin == *origin)))
    }

    /// Verifies that `entries` continue the log of `origin` up to `head`, and reads them. Changes nothing.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn verify(&self, entries: &[impl AsRef<[u8]>], head: &Head) -> Result<Extension, EvidenceError> {
        let origin = *head.origin();
        if matches!(origin.subject, Subject::Package(package) if package != self.package) {
            return Err(EvidenceError::OtherPackage);
        }
        if self.forks.contains_key(&origin) {
            return Err(EvidenceError::Frozen);
        }
        let held = self.logs.get(&origin);
        if held.is_none() {
            self.check_room(&origin, self.is_owners(&origin))?;
        }
        let mut log = held.map_or_else(|| Log::new(origin), |held| held.log().clone());
        let from = log.size();
        log.extend(entries, head)?;
        let mut stop = held.and_then(|held| held.verified.stop);
        let mut items = Vec::with_capacity(entries.len());
        for (index, bytes) in (from..).zip(entries.iter().map(AsRef::as_ref)) {
            let (item, reason) = read(&origin, index, bytes);
            if index == 0 {
                first::check(self, &origin, &item)?;
            }
            stop = stop.or(reason.map(|reason| (index, reason)));
            items.push(item);
        }
        let first = entries.first().map_or(&[][..], AsRef::as_ref);
        let owner = self.owner_begun(&origin, first, items.first().filter(|_| from == 0));
        Ok(Extension { log, head: head.clone(), from, items, stop, owner })
    }

    /// Makes a verified continuation part of the set.
    ///
    /// # Errors
    /// [`EvidenceError::Stale`] if the log grew meanwhile. A fork found meanwhile is no error: the continuation was
    /// verified before, and the node has made it durable.
    pub fn apply(&mut self, extension: Extension) -> Result<(), EvidenceError> {
        let Extension { log, head, from, items, stop, owner } = extension;
        let origin = *log.origin();
        let held = self.size(&origin);
        if held != from {
            return Err(EvidenceError::Stale { held, from });
        }
        self.identities.extend(owner);
        match self.logs.entry(origin) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Held::new(Arc::new(Verified { log, head, items, stop })));
            }
            std::collections::btree_map::Entry::Occupied(place) => {
                let held = place.into_mut();
                held.says = None;
                let verified = Arc::make_mut(&mut held.verified);
                (verified.log, verified.head, verified.stop) = (log, head, stop);
                verified.items.extend(items);
            }
        }
        self.settle(origin);
        Ok(())
    }

    /// An owner's own log names its first device as well as Genesis bytes from elsewhere.
    fn owner_begun(&self, origin: &Origin, bytes: &[u8], first: Option<&Item>) -> Option<(IdentityId, Arc<Owner>)> {
        let Subject::Identity(identity) = origin.subject else { return None };
        let Some(Body::IdentityGenesis(genesis)) = &first?.body else { return None };
        let is_owner = self.genesis.owners.contains(&identity);
        is_owner.then(|| (identity, Arc::new(Owner { genesis: *genesis, bytes: bytes.to_vec() })))
    }

    /// [`Evidence::verify`] and [`Evidence::apply`], for what is durable already.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn extend(&mut self, entries: &[impl AsRef<[u8]>], head: &Head) -> Result<(), EvidenceError> {
        let extension = self.verify(entries, head)?;
        self.apply(extension)
    }

    /// Keeps a fork proof for ever: nothing newer of that log is accepted.
    pub fn freeze(&mut self, proof: ForkProof) {
        self.forks.entry(*proof.origin()).or_insert(Fork { proof, n_common: None });
    }

    /// Says that the first `n_common` entries of a forked log are known to be in both histories: they stay settled. The
    /// later ones count only where another owner's `seen` fixes them. Without effect on a log that is not forked.
    pub fn settle_fork(&mut self, origin: &Origin, n_common: u64) {
        if let Some(fork) = self.forks.get_mut(origin) {
            fork.n_common = Some(fork.n_common.map_or(n_common, |known| known.min(n_common)));
        }
    }

    /// The entries of a forked log that are known to be in both histories.
    #[must_use]
    pub fn n_common(&self, origin: &Origin) -> Option<u64> {
        self.forks.get(origin)?.n_common
    }

    /// The fork proofs held.
    pub fn forks(&self) -> impl Iterator<Item = &ForkProof> {
        self.forks.values().map(|fork| &fork.proof)
    }

    /// Whether a fork proof against `origin` is held.
    #[must_use]
    pub fn is_forked(&self, origin: &Origin) -> bool {
        self.forks.contains_key(origin)
    }

    fn check_room(&self, origin: &Origin, is_owners: bool) -> Result<(), EvidenceError> {
        let n_strangers = self.logs.keys().filter(|origin| !self.is_owners(origin)).count();
        let room_for_strangers = n_strangers < STRANGER_LOGS || self.awaits(origin);
        if self.logs.len() < EVIDENCE_LOGS && (is_owners || room_for_strangers) {
            Ok(())
        } else {
            Err(EvidenceError::TooManyLogs)
        }
    }
}

fn genesis_body(bytes: &[u8]) -> Result<Body, GenesisError> {
    match entry::decode(bytes)? {
        Decoded::Known(Entry { body, .. }) => Ok(body),
        Decoded::Unknown { .. } => Err(GenesisError::Kind),
    }
}
