//! The evidence set of a package: every log that speaks for it, verified, in causal order.
//!
//! Entries come in through [`Evidence::verify`] alone: a [`Head`] that its own key signed, entries that hash to it, a
//! first entry that may begin such a log. What a log then says is read by the [fold]. The order of checking
//! is that of `docs/spec/fold.md`: identity Genesis, identity logs, package Genesis, package logs; no log has rights
//! before the logs that grant them are there, so the order of arrival decides nothing.
//!
//! Only meaning is kept here: ids, decoded entries, leaf hashes. The bytes of entries are the node's to store and serve.
//! What a log says is the same in every set, so sets share it: an [`IdentityLog`] is verified once for all packages of
//! its identity. Clones of a set are cheap for the same reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::{self, Body, Decoded, Entry, EntryError, IdentityGenesis, PackageGenesis, SeenHead};
use crate::fold::rights::Heeded;
use crate::fold::{self, IdentityState};
use crate::id::{EntryId, IdentityId, PackageId};
use crate::key::DeviceKey;
use crate::limits::EVIDENCE_LOGS;
use crate::log::checkpoint::Head;
use crate::log::{ExtendError, Log};
use crate::origin::{Origin, Subject};

mod causal;
mod first;
mod forks;
mod frontier;
mod held;
mod identity;
mod logs;
mod quorum;
mod room;

pub use first::FirstEntryError;
pub use forks::KnownFork;
pub use frontier::{Frontier, FrontierError, FrontierHead};
pub use identity::{Identity, IdentityLog};
pub use quorum::Quorum;
pub use room::{STRANGER_LOGS, UNKNOWN_LOGS};

#[cfg(test)]
pub(crate) use causal::looks;
pub(crate) use causal::{Clock, Point};
pub(crate) use frontier::Seat;
pub(crate) use logs::Logs;

use held::{Held, Item, Verified, read};

/// All verified logs that speak for one package.
#[derive(Debug, Clone)]
pub struct Evidence {
    package: PackageId,
    genesis: PackageGenesis,
    genesis_bytes: Vec<u8>,
    identities: BTreeMap<IdentityId, Known>,
    /// Those whose logs belong to the set beside the Genesis' owners', as changes of rights name them.
    heeded: Heeded,
    /// Logs of nobody who is known that somebody's entries wait for, and whose places they take.
    guests: BTreeMap<Origin, IdentityId>,
    logs: Logs,
}

/// What is known of an identity.
#[derive(Debug, Clone)]
struct Known {
    owner: Arc<Owner>,
    /// Its devices, and those that it had: what they write is worth fetching.
    devices: BTreeSet<DeviceKey>,
    /// What all its logs said when somebody folded them who shares the result, and how far they went.
    shared: Option<(Frontier, Arc<IdentityState>)>,
}

/// The first device of an owner, and the bytes that say so.
#[derive(Debug, Clone)]
struct Owner {
    genesis: IdentityGenesis,
    bytes: Vec<u8>,
}

/// A verified continuation of one log, not yet part of the set: to be made durable before [`Evidence::apply`].
#[derive(Debug, Clone)]
pub struct Extension {
    log: Log,
    head: Head,
    from: u64,
    items: Vec<Item>,
    stop: Option<(u64, StopReason)>,
    /// An identity that these entries begin.
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
    /// An entry about an identity that claims to have seen a log of something else.
    #[error("an entry of an identity names a log of something else as seen")]
    SawForeign,
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
    #[error("there is no room for this log: {EVIDENCE_LOGS} may speak for a package, of each person so many")]
    TooManyLogs,
    /// A log of an owner by a key that is none of its devices, and without the recovery key's word.
    #[error("the log's key is no device of the identity")]
    NoDevice,
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
        let owners = body.owners.iter().copied().collect();
        Ok(Self {
            package,
            genesis: body,
            genesis_bytes: genesis.to_vec(),
            identities: BTreeMap::new(),
            heeded: Heeded { owners, ..Heeded::default() },
            guests: BTreeMap::new(),
            logs: Logs::default(),
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
        self.know(identity, Arc::new(Owner { genesis: body, bytes: genesis.to_vec() }));
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

    /// The bytes of the Genesis entries of the owners that are known. Who got a role later is known by its log's first
    /// entry: nobody could tell yet that the bytes belong here.
    pub fn identity_genesis_bytes(&self) -> impl Iterator<Item = &[u8]> {
        let owners = self.genesis.owners.iter().filter_map(|owner| self.identities.get(owner));
        owners.map(|known| &*known.owner.bytes)
    }

    /// Whether what an identity says belongs to the set: it owns the package, has or had a role in it, or is to have one
    /// and must agree.
    #[must_use]
    pub fn heeds(&self, identity: &IdentityId) -> bool {
        self.has_role(identity) || self.heeded.invited.contains(identity)
    }

    /// Every identity of which [`Evidence::heeds`] is true.
    #[must_use]
    pub fn people(&self) -> BTreeSet<IdentityId> {
        let more = self.heeded.holders.iter().chain(&self.heeded.invited);
        self.genesis.owners.iter().chain(more).copied().collect()
    }

    /// Whether somebody is heeded of whom nothing is held yet.
    #[must_use]
    pub fn lacks_people(&self) -> bool {
        self.people().iter().any(|who| !self.identities.contains_key(who))
    }

    /// Whether an identity has a role in the package, or had one.
    fn has_role(&self, identity: &IdentityId) -> bool {
        self.genesis.owners.contains(identity) || self.heeded.holders.contains(identity)
    }

    /// The log of `origin` as far as it is held.
    #[must_use]
    pub fn log(&self, origin: &Origin) -> Option<&Log> {
        self.logs.log(origin)
    }

    /// The newest verified head of `origin`.
    #[must_use]
    pub fn head(&self, origin: &Origin) -> Option<&Head> {
        self.logs.head(origin)
    }

    /// The newest verified heads of all logs, ascending by origin.
    pub fn heads(&self) -> impl Iterator<Item = &Head> {
        self.logs.held.values().map(Held::head)
    }

    /// Entries held of `origin`.
    #[must_use]
    pub fn size(&self, origin: &Origin) -> u64 {
        self.logs.size(origin)
    }

    /// Whether `origin` is worth fetching: a log of this package by a device of somebody who is heeded, a log of such an
    /// identity, or named by an entry that waits for it. A log of an identity by a key that is no device yet may bring the
    /// recovery key's word, and is refused by [`Evidence::verify`] if it does not.
    #[must_use]
    pub fn wants(&self, origin: &Origin) -> bool {
        let is_identity = match origin.subject {
            Subject::Identity(identity) if self.genesis.owners.contains(&identity) => {
                self.identities.contains_key(&identity)
            }
            // Its Genesis comes with its first log.
            Subject::Identity(identity) => self.heeds(&identity),
            Subject::Package(_) => false,
        };
        is_identity || self.matters(origin)
    }

    /// Whether `origin` is a log of somebody who is heeded, by a device that is known, or is held or waited for. Anybody can sign
    /// logs that [`Evidence::wants`] has to look at: what others do with such a one says nothing yet.
    #[must_use]
    pub fn matters(&self, origin: &Origin) -> bool {
        let is_known = self.is_of(origin, |identity| self.heeds(identity));
        is_known || self.logs.held.contains_key(origin) || self.awaits(origin)
    }

    /// Whether it is a log by a device of somebody who owns the package or has a role in it, or by one that was a device,
    /// or of somebody who had a role.
    #[must_use]
    pub fn is_owners(&self, origin: &Origin) -> bool {
        self.is_of(origin, |identity| self.has_role(identity))
    }

    fn is_of(&self, origin: &Origin, is_meant: impl Fn(&IdentityId) -> bool) -> bool {
        let is_device = |known: &Known| known.devices.contains(&origin.key);
        let mut meant = self.identities.iter().filter(|(identity, _)| is_meant(identity));
        match origin.subject {
            Subject::Package(package) if package != self.package => false,
            Subject::Package(_) => origin.key == self.genesis.log_key || meant.any(|(_, known)| is_device(known)),
            Subject::Identity(identity) => is_meant(&identity) && self.identities.get(&identity).is_some_and(is_device),
        }
    }

    /// Whether a log is worth its bytes, of which these are the first entries: one of an owner by a key that is no device
    /// must bring the recovery key's word in its first entries.
    #[must_use]
    pub fn is_worth(&self, origin: &Origin, first_entries: &[impl AsRef<[u8]>]) -> bool {
        let Subject::Identity(identity) = origin.subject else { return true };
        let Some(known) = self.identities.get(&identity) else { return true };
        if known.devices.contains(&origin.key) || self.logs.held.contains_key(origin) || self.awaits(origin) {
            return true;
        }
        let items = (0..).zip(first_entries).map(|(index, bytes)| read(origin, index, bytes.as_ref()).0);
        let items: Vec<Item> = items.take(logs::WORD_WITHIN).collect();
        self.logs.brings_word(identity, &known.owner.genesis, &items)
    }

    fn awaits(&self, origin: &Origin) -> bool {
        let waits = |held: &Held| held.next().is_some_and(|item| item.seen.iter().any(|s| s.origin == *origin));
        self.logs.held.values().any(waits)
    }

    fn know(&mut self, identity: IdentityId, owner: Arc<Owner>) {
        if !self.identities.contains_key(&identity) {
            let devices = self.devices(identity, &owner);
            self.identities.insert(identity, Known { owner, devices, shared: None });
        }
    }

    /// Those that the identity's logs admit, cuts heeded: nobody else's logs have a claim to room.
    fn devices(&self, identity: IdentityId, owner: &Owner) -> BTreeSet<DeviceKey> {
        let state = fold::identity::fold(&self.logs, &self.logs.frontier(), identity);
        let devices = state.into_iter().flat_map(|state| state.devices.into_keys());
        devices.chain([owner.genesis.log_key]).collect()
    }

    /// Learns what a log that grew says about who speaks: its identity's devices, and who has a role.
    fn learn_grown(&mut self, origin: &Origin) {
        if self.logs.settle_point(origin) {
            return self.learn_all();
        }
        self.learn_devices(origin);
        self.learn_roles();
    }

    /// The same, where it is not known which logs say something else than before.
    fn learn_all(&mut self) {
        let identities: Vec<_> = self.identities.iter().map(|(who, known)| (*who, Arc::clone(&known.owner))).collect();
        for (identity, owner) in identities {
            let devices = self.devices(identity, &owner);
            self.identities.entry(identity).and_modify(|known| known.devices = devices);
        }
        self.learn_roles();
    }

    fn learn_roles(&mut self) {
        if self.logs.change_roles() {
            self.heeded = fold::rights::heeded(self);
        }
    }

    fn learn_devices(&mut self, origin: &Origin) {
        let Subject::Identity(identity) = origin.subject else { return };
        let Some(owner) = self.identities.get(&identity).map(|known| Arc::clone(&known.owner)) else { return };
        let devices = self.devices(identity, &owner);
        if let Some(known) = self.identities.get_mut(&identity) {
            known.devices = devices;
        }
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
        if self.is_forked(&origin) {
            return Err(EvidenceError::Frozen);
        }
        let held = self.logs.held.get(&origin);
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
        if from == 0 && !self.is_worth(&origin, entries) {
            return Err(EvidenceError::NoDevice);
        }
        if from == 0 {
            self.room(&origin, &items)?;
        }
        let first = entries.first().map_or(&[][..], AsRef::as_ref);
        let owner = Self::owner_begun(&origin, first, items.first().filter(|_| from == 0));
        Ok(Extension { log, head: head.clone(), from, items, stop, owner })
    }

    /// Makes a verified continuation part of the set.
    ///
    /// # Errors
    /// [`EvidenceError::Stale`] if the log grew meanwhile, [`EvidenceError::TooManyLogs`] if others took its place. A fork found meanwhile is no error: the continuation was
    /// verified before, and the node has made it durable.
    pub fn apply(&mut self, extension: Extension) -> Result<(), EvidenceError> {
        let Extension { log, head, from, items, stop, owner } = extension;
        let origin = *log.origin();
        let held = self.size(&origin);
        if held != from {
            return Err(EvidenceError::Stale { held, from });
        }
        if held == 0 {
            self.take_room(&origin, &items)?;
        }
        let fresh = || Held::new(Arc::new(Verified::new(Log::new(origin), head.clone(), None)));
        let verified = Arc::make_mut(&mut self.logs.held.entry(origin).or_insert_with(fresh).verified);
        (verified.log, verified.head, verified.stop) = (log, head, stop);
        items.into_iter().for_each(|item| verified.push(item));
        self.logs.settle(origin);
        if let Some((identity, owner)) = owner {
            self.know(identity, owner);
        }
        self.learn_grown(&origin);
        Ok(())
    }

    /// An identity's own log names its first device as well as Genesis bytes from elsewhere. Also of one that is not heeded
    /// yet: the entry that names it may still be on its way.
    fn owner_begun(origin: &Origin, bytes: &[u8], first: Option<&Item>) -> Option<(IdentityId, Arc<Owner>)> {
        let Subject::Identity(identity) = origin.subject else { return None };
        let Some(Body::IdentityGenesis(genesis)) = &first?.body else { return None };
        Some((identity, Arc::new(Owner { genesis: *genesis, bytes: bytes.to_vec() })))
    }

    /// [`Evidence::verify`] and [`Evidence::apply`], for what is durable already.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn extend(&mut self, entries: &[impl AsRef<[u8]>], head: &Head) -> Result<(), EvidenceError> {
        let extension = self.verify(entries, head)?;
        self.apply(extension)
    }

    /// The logs with entries that do not count, and why.
    #[must_use]
    pub fn blocked(&self) -> BTreeMap<Origin, Blocked> {
        self.logs.blocked()
    }

    /// The heads that entries wait for and that are not held yet: log → entries needed.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<Origin, u64> {
        self.logs.missing()
    }

    /// The largest frontier of the logs held.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.logs.frontier()
    }

    /// Checks that `frontier` lies within what is held, and is closed.
    ///
    /// # Errors
    /// [`FrontierError`].
    pub fn check_frontier(&self, frontier: &Frontier) -> Result<(), FrontierError> {
        self.logs.check_frontier(frontier)
    }

    /// What the fold reads.
    pub(crate) const fn logs(&self) -> &Logs {
        &self.logs
    }

    /// What an owner's logs say at a checked frontier; none if its Genesis is not inside.
    pub(crate) fn identity_at(&self, identity: IdentityId, frontier: &Frontier) -> Option<Arc<IdentityState>> {
        let shared = self.identities.get(&identity).and_then(|known| known.shared.as_ref());
        let own = frontier.of(Subject::Identity(identity));
        if let Some((at, state)) = shared
            && *at == own
            && !own.0.keys().any(|origin| self.is_forked(origin))
        {
            return Some(Arc::clone(state));
        }
        fold::identity::fold(&self.logs, frontier, identity).map(Arc::new)
    }
}

fn genesis_body(bytes: &[u8]) -> Result<Body, GenesisError> {
    match entry::decode(bytes)? {
        Decoded::Known(Entry { body, .. }) => Ok(body),
        Decoded::Unknown { .. } => Err(GenesisError::Kind),
    }
}
