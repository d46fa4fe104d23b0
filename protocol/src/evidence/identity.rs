//! The logs of an identity by themselves: each verified once, and shared by the sets of all packages that the identity
//! owns, together with what they say.

use std::sync::Arc;

use super::held::Verified;
use super::{Evidence, EvidenceError, Frontier, Known, KnownFork, Logs, Owner, first};
use crate::entry::Body;
use crate::fold::{self, IdentityState};
use crate::id::IdentityId;
use crate::log::checkpoint::Head;
use crate::log::{ExtendError, Log};
use crate::origin::{Origin, Subject};

/// A verified log of one device of an identity. Clones are the same, and cost nothing.
#[derive(Debug, Clone)]
pub struct IdentityLog {
    verified: Arc<Verified>,
    identity: IdentityId,
    /// Of the log of the identity's first device the Genesis.
    begun: Option<Arc<Owner>>,
}

/// All logs of an identity that are held, and what they say together. A value: clones are the same.
#[derive(Debug, Clone)]
pub struct Identity {
    logs: Vec<IdentityLog>,
    at: Frontier,
    state: Arc<IdentityState>,
}

impl IdentityLog {
    /// Verifies that `entries` are the log of `head`, all of it.
    ///
    /// # Errors
    /// [`EvidenceError`]; of a log that is not an identity's [`EvidenceError::NoIdentity`].
    pub fn verify(entries: &[impl AsRef<[u8]>], head: &Head) -> Result<Self, EvidenceError> {
        let origin = head.origin();
        let Subject::Identity(identity) = origin.subject else { return Err(EvidenceError::NoIdentity) };
        let mut verified = Verified::new(Log::new(*origin), head.clone(), None);
        verified.extend(entries, head)?;
        let mut begun = None;
        if let (Some(bytes), Some(item)) = (entries.first(), verified.items.first()) {
            first::check_identity(identity, origin, item)?;
            if let Some(Body::IdentityGenesis(genesis)) = &item.body {
                begun = Some(Arc::new(Owner { genesis: *genesis, bytes: bytes.as_ref().to_vec() }));
            }
        }
        Ok(Self { verified: Arc::new(verified), identity, begun })
    }

    /// Verifies that `entries` continue the log up to `head`. Whoever holds it as it was keeps it so.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn extended(mut self, entries: &[impl AsRef<[u8]>], head: &Head) -> Result<Self, EvidenceError> {
        if self.verified.items.is_empty() {
            return Self::verify(entries, head);
        }
        Arc::make_mut(&mut self.verified).extend(entries, head)?;
        Ok(self)
    }

    /// Its hashes.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.verified.log
    }

    /// Its head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.verified.head
    }
}

impl Identity {
    /// What the logs of one identity say, given what is known of forks of any of them; none without the log of its first
    /// device.
    #[must_use]
    pub fn gather(logs: Vec<IdentityLog>, forks: impl IntoIterator<Item = KnownFork>) -> Option<Self> {
        let identity = logs.iter().find(|log| log.begun.is_some())?.identity;
        let mut set = Logs::default();
        for log in logs.iter().filter(|log| log.identity == identity) {
            set.share(*log.head().origin(), &log.verified);
        }
        set.freeze(forks);
        let at = set.frontier();
        let state = Arc::new(fold::identity::fold(&set, &at, identity)?);
        Some(Self { logs, at, state })
    }

    /// What they say.
    #[must_use]
    pub const fn state(&self) -> &Arc<IdentityState> {
        &self.state
    }

    /// How many entries of a log count.
    #[must_use]
    pub fn n_counted(&self, origin: &Origin) -> u64 {
        self.at.size(origin)
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[IdentityLog] {
        &self.logs
    }
}

impl Evidence {
    /// Takes a verified log into the set as [`Evidence::extend`] would, without a copy of its own. A log that is held, as
    /// far as this one goes or less far, is exchanged for it.
    ///
    /// # Errors
    /// [`EvidenceError`]; nothing changed.
    pub fn share(&mut self, log: &IdentityLog) -> Result<(), EvidenceError> {
        let origin = *log.head().origin();
        let owner = log.begun.as_ref();
        match self.logs.log(&origin) {
            Some(held) => check_continues(held, log.log())?,
            None => drop(self.room(&origin, &log.verified.items)?),
        }
        if self.is_forked(&origin) && self.size(&origin) < log.log().size() {
            return Err(EvidenceError::Frozen);
        }
        let owner = owner.map(Arc::clone);
        if let Some(held) = self.logs.held.get_mut(&origin).filter(|held| held.log().size() == log.log().size()) {
            held.verified = Arc::clone(&log.verified);
            if let Some(owner) = owner {
                self.know(log.identity, owner);
            }
            return Ok(());
        }
        self.take_room(&origin, &log.verified.items)?;
        self.logs.share(origin, &log.verified);
        if let Some(owner) = owner {
            self.know(log.identity, owner);
        }
        self.learn_grown(&origin);
        Ok(())
    }

    /// Takes in all logs of an owner, and what they say: sets that share it hold it once. A log for which there is no room is
    /// left out: it is one of nobody who counts.
    ///
    /// # Errors
    /// [`EvidenceError`] of the first log that is not taken; those before it are.
    pub fn share_all(&mut self, identity: &Identity) -> Result<(), EvidenceError> {
        let rank = |log: &&IdentityLog| {
            let key = &log.head().origin().key;
            (log.begun.is_none(), !identity.state.devices.contains_key(key))
        };
        let mut logs: Vec<&IdentityLog> = identity.logs.iter().collect();
        logs.sort_by_key(rank);
        if let Some(begun) = logs.first().and_then(|log| log.begun.as_ref()) {
            let devices = identity.state.devices.keys().copied().collect();
            let known = Known { owner: Arc::clone(begun), devices, shared: None };
            self.identities.entry(identity.state.identity).or_insert(known);
        }
        for log in logs {
            match self.share(log) {
                Ok(()) | Err(EvidenceError::TooManyLogs) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(known) = self.identities.get_mut(&identity.state.identity) {
            known.shared = Some((identity.at.clone(), Arc::clone(&identity.state)));
        }
        Ok(())
    }
}

/// Equal roots at one size are equal entries: what was concluded from those that are held stays true.
fn check_continues(held: &Log, offered: &Log) -> Result<(), ExtendError> {
    match offered.root_at(held.size()) {
        None => Err(ExtendError::Older { held: held.size(), offered: offered.size() }),
        Some(root) if root != held.root() => Err(ExtendError::Root { size: offered.size() }),
        Some(_) => Ok(()),
    }
}
