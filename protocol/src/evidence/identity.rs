//! The log of an identity by itself: verified once, and shared by the sets of all packages that the identity owns.

use std::sync::Arc;

use super::held::{Held, Verified};
use super::{Evidence, EvidenceError, Owner, first};
use crate::entry::Body;
use crate::fold::IdentityState;
use crate::id::IdentityId;
use crate::log::checkpoint::Head;
use crate::log::{ExtendError, Log};
use crate::origin::Subject;

/// A verified log of an identity. Clones are the same, and cost nothing.
#[derive(Debug, Clone)]
pub struct IdentityLog {
    verified: Arc<Verified>,
    /// None for the log of a further device.
    begun: Option<Begun>,
}

/// What the log of an identity's first device says.
#[derive(Debug, Clone)]
struct Begun {
    identity: IdentityId,
    owner: Arc<Owner>,
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
        let mut verified = Verified {
            log: Log::new(*origin),
            head: head.clone(),
            items: Vec::with_capacity(entries.len()),
            stop: None,
        };
        verified.extend(entries, head)?;
        let mut log = Self { verified: Arc::new(verified), begun: None };
        if let (Some(bytes), Some(item)) = (entries.first(), log.verified.items.first()) {
            first::check_identity(identity, origin, item)?;
            if let Some(Body::IdentityGenesis(genesis)) = &item.body {
                let owner = Owner { genesis: *genesis, bytes: bytes.as_ref().to_vec() };
                log.begun = Some(Begun { identity, owner: Arc::new(owner), state: log.fold(identity) });
            }
        }
        Ok(log)
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
        if let Some(identity) = self.begun.as_ref().map(|begun| begun.identity) {
            let state = self.fold(identity);
            self.begun = self.begun.map(|begun| Begun { state, ..begun });
        }
        Ok(self)
    }

    fn fold(&self, identity: IdentityId) -> Arc<IdentityState> {
        let bodies = self.verified.items.iter().filter_map(|item| item.body.as_ref());
        Arc::new(IdentityState::fold(identity, self.head().origin().key, bodies))
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

    /// What the identity's first device says in it; none of the log of another device.
    #[must_use]
    pub fn state(&self) -> Option<&Arc<IdentityState>> {
        self.begun.as_ref().map(|begun| &begun.state)
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
        let owner = log.begun.as_ref().filter(|begun| self.genesis.owners.contains(&begun.identity));
        match self.logs.get(&origin) {
            Some(held) => check_continues(held.log(), log.log())?,
            None => self.check_room(&origin, owner.is_some() || self.is_owners(&origin))?,
        }
        if self.is_forked(&origin) && self.size(&origin) < log.log().size() {
            return Err(EvidenceError::Frozen);
        }
        if let Some(begun) = owner {
            self.identities.insert(begun.identity, Arc::clone(&begun.owner));
        }
        let held = self.logs.entry(origin).or_insert_with(|| Held::new(Arc::clone(&log.verified)));
        held.verified = Arc::clone(&log.verified);
        held.says = log.state().cloned();
        self.settle(origin);
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
