//! What the user says of others: whom they trust by name, whom they block, and what they call them. It stays on this
//! device.
//!
//! A petname means the identity whatever that one calls itself, so it is the user's to give and unique among them. Trust
//! lets an identity's own handle mean it. Who is blocked is not searched, neither their histories nor their content is served,
//! and nothing of theirs is installed or fetched by name; what is installed stays until the user removes it. Content that
//! somebody else's package has too is served for the sake of that.

use std::collections::BTreeSet;

use syncra_protocol::id::IdentityId;
use syncra_protocol::name::Handle;
use syncra_protocol::reference::{OwnerKey, Reference, ReferenceError};

use super::resolve::{self, ResolveError};
use super::{Parts, identity};
use crate::history::LoadError;
use crate::installed::InstalledError;
use crate::journal::{self, Petname, Regard, Trust};

/// How users name themselves. No petname means somebody else by it.
const ME: &str = "me";
/// Identities that an answer lists when several could be meant.
const CANDIDATES: usize = 16;

/// What the user has said of an identity, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub identity: IdentityId,
    /// How strangers write it: `@handle~key`.
    pub owner: String,
    /// Trusted, blocked or neither.
    pub regard: Regard,
    /// What the user calls it.
    pub petname: Option<String>,
    /// Its packages that are installed here.
    pub installed: Vec<String>,
}

/// What to say of an identity; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// Trusted, blocked or neither.
    pub regard: Option<Regard>,
    /// Blocked no more: it is trusted if it was before the block, else neither.
    pub unblock: bool,
    /// What to call it; `Some(None)` takes the name away.
    pub petname: Option<Option<Handle>>,
}

/// Why nothing was said.
#[derive(Debug, thiserror::Error)]
pub enum RegardError {
    /// Nobody known here is called so.
    #[error("nobody known here is `{0}`")]
    Unknown(String),
    /// Several are, or somebody only claims to be.
    #[error("`{text}` could be {}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Who it could be.
        candidates: Vec<String>,
    },
    /// It is this device's own identity.
    #[error("this is your own identity")]
    Own,
    /// Another identity has the petname.
    #[error("you call {owner} `{petname}` already")]
    Taken {
        /// The name.
        petname: Handle,
        /// Who has it.
        owner: String,
    },
    /// A package reference that cannot be read.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The package of a reference.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What is installed cannot be read.
    #[error(transparent)]
    Installed(#[from] InstalledError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::AppendError),
}

/// Everybody of whom the user has said something, by identity.
///
/// # Errors
/// [`RegardError::Load`], [`RegardError::Installed`].
pub fn all(parts: &Parts) -> Result<Vec<Known>, RegardError> {
    let identities: BTreeSet<IdentityId> = {
        let truth = parts.histories.journal().truth();
        let said = truth.regards().filter(|(_, regard)| *regard != Regard::Neutral).map(|(identity, _)| *identity);
        said.chain(truth.petnames().map(|(identity, _)| *identity)).collect()
    };
    identities.into_iter().map(|identity| one(parts, identity)).collect()
}

/// What the user has said of one.
///
/// # Errors
/// [`RegardError::Load`], [`RegardError::Installed`].
pub fn one(parts: &Parts, identity: IdentityId) -> Result<Known, RegardError> {
    let owner = identity::owner_text(&parts.histories, identity)?;
    let mut installed = Vec::new();
    for (package, slot) in parts.installed.current()?.packages {
        let history = parts.histories.package(package)?;
        if history.is_some_and(|history| history.state.rights.owners().any(|owner| owner == identity)) {
            installed.push(slot.reference);
        }
    }
    let truth = parts.histories.journal().truth();
    let petname = truth.petname(&identity).map(str::to_owned);
    Ok(Known { identity, owner, regard: truth.regard(&identity), petname, installed })
}

/// Whom somebody means, wherever a person is named: `me`, this device's own identity; a whole one, known here or not; the beginning of one, alone or as `@handle~key`; a petname; or the
/// owner of a package. A bare handle means nobody: anybody can claim it.
///
/// # Errors
/// [`RegardError::Unknown`], [`RegardError::Ambiguous`], [`RegardError::Reference`], [`RegardError::Resolve`].
pub fn whom(parts: &Parts, text: &str) -> Result<IdentityId, RegardError> {
    if text == ME {
        return Ok(parts.identity());
    }
    if let Ok(identity) = text.parse() {
        return Ok(identity);
    }
    if text.contains('/') || text.contains(':') {
        let named = resolve::package(parts, &Reference::parse(text)?)?;
        let owners: Vec<IdentityId> = named.history.state.rights.owners().collect();
        return match owners[..] {
            [owner] => Ok(owner),
            _ => Err(ambiguous(parts, text, owners)?),
        };
    }
    let bare = text.strip_prefix('@').unwrap_or(text);
    let petnamed = {
        let truth = parts.histories.journal().truth();
        truth.petnames().find(|(_, name)| *name == bare).map(|(identity, _)| *identity)
    };
    if let Some(identity) = petnamed {
        return Ok(identity);
    }
    let everybody = parts.histories.identities().into_iter();
    if let Ok(key) = OwnerKey::parse(bare.rsplit('~').next().unwrap_or(bare)) {
        let found: Vec<IdentityId> = everybody.filter(|identity| key.matches(identity)).collect();
        return match found[..] {
            [identity] => Ok(identity),
            [] => Err(RegardError::Unknown(text.to_owned())),
            _ => Err(ambiguous(parts, text, found)?),
        };
    }
    let mut claiming = Vec::new();
    for identity in everybody {
        let state = parts.histories.identity(identity)?;
        let handle = state.as_ref().and_then(|state| state.handle.as_ref());
        if handle.is_some_and(|handle| handle.as_str() == bare) {
            claiming.push(identity);
        }
    }
    match claiming.is_empty() {
        true => Err(RegardError::Unknown(text.to_owned())),
        false => Err(ambiguous(parts, text, claiming)?),
    }
}

fn ambiguous(
    parts: &Parts,
    text: &str,
    could_be: impl IntoIterator<Item = IdentityId>,
) -> Result<RegardError, LoadError> {
    let owners = could_be.into_iter().take(CANDIDATES).map(|identity| identity::owner_text(&parts.histories, identity));
    Ok(RegardError::Ambiguous { text: text.to_owned(), candidates: owners.collect::<Result<_, _>>()? })
}

/// What would be known of somebody if the user said this, and whether that is anything new.
///
/// # Errors
/// [`RegardError::Own`], [`RegardError::Taken`].
pub fn plan(parts: &Parts, identity: IdentityId, word: &Word) -> Result<(Known, bool), RegardError> {
    if identity == parts.identity() {
        return Err(RegardError::Own);
    }
    let before = one(parts, identity)?;
    let mut after = before.clone();
    if let Some(regard) = regard_of(parts, identity, word) {
        after.regard = match regard {
            Regard::BlockedTrusted => Regard::Blocked,
            regard => regard,
        };
    }
    if let Some(petname) = &word.petname {
        after.petname = petname.as_ref().map(ToString::to_string);
    }
    if let Some(Some(petname)) = &word.petname {
        let taken = {
            let truth = parts.histories.journal().truth();
            let same = |(other, name): &(&IdentityId, &str)| **other != identity && *name == petname.as_str();
            truth.petnames().find(same).map(|(other, _)| *other)
        };
        if let Some(other) = taken {
            let owner = identity::owner_text(&parts.histories, other)?;
            return Err(RegardError::Taken { petname: petname.clone(), owner });
        }
    }
    let is_new = after != before;
    Ok((after, is_new))
}

/// The regard that a word comes to: a block remembers that somebody was trusted.
fn regard_of(parts: &Parts, identity: IdentityId, word: &Word) -> Option<Regard> {
    let before = parts.histories.journal().truth().regard_unblocked(&identity);
    match word.regard {
        Some(Regard::Blocked) if before == Regard::Trusted => Some(Regard::BlockedTrusted),
        None if word.unblock => Some(before),
        regard => regard,
    }
}

/// Says it: durable when this returns.
///
/// # Errors
/// [`RegardError`].
pub async fn say(parts: &Parts, identity: IdentityId, word: Word) -> Result<(Known, bool), RegardError> {
    let planned = plan(parts, identity, &word)?;
    let journal = parts.histories.journal();
    if let Some(regard) = regard_of(parts, identity, &word) {
        journal.append(Trust { identity, regard }).await?;
    }
    if let Some(name) = word.petname {
        journal.append(Petname { identity, name: name.map(|name| name.to_string()) }).await?;
    }
    Ok(planned)
}
