//! Who this device belongs to: made at the first start without a question.

use std::path::PathBuf;

use syncra_protocol::entry::{Body, Entry, EntryError, HandleClaim, IdentityGenesis};
use syncra_protocol::id::{EntryId, IdError, IdentityId, base32, from_base32};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::name::Handle;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::reference::OwnerKey;

use super::Parts;
use crate::clock;
use crate::durable::{self, WriteError};
use crate::history::{Draft, Histories, LoadError, OwnError};
use crate::home::Layout;

/// What a handle is when the login name cannot be one.
const FALLBACK_HANDLE: &str = "player";

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The log does not grow.
    #[error("the identity cannot be written")]
    Own(#[from] OwnError),
    /// The recovery key cannot be kept.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An entry that may not be written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Its log cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file of the recovery key cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file of the recovery key holds something else.
    #[error("{} does not hold a recovery key", path.display())]
    Recovery {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdError,
    },
}

/// The identity of `device`, made if there is none.
///
/// # Errors
/// [`IdentityError`].
pub async fn own(histories: &Histories, layout: &Layout, device: DeviceKey) -> Result<IdentityId, IdentityError> {
    let known = histories.journal().truth().own_logs().find_map(|(origin, log)| match origin.subject {
        // The log of a first device begins with the Genesis that the identity is named by.
        Subject::Identity(identity) => (log.size() > 0).then_some(identity),
        Subject::Package(_) => None,
    });
    match known {
        Some(identity) => Ok(identity),
        None => make(histories, layout, device).await,
    }
}

async fn make(histories: &Histories, layout: &Layout, device: DeviceKey) -> Result<IdentityId, IdentityError> {
    let recovery = recovery_key(layout)?;
    let commitment = *blake3::hash(recovery.public().as_bytes()).as_bytes();
    let genesis = IdentityGenesis { log_key: device, recovery: commitment, nonce: clock::random() };
    let entry = Entry::new(Body::IdentityGenesis(genesis));
    let identity = IdentityId::from(EntryId::of(&entry.encode()?));
    let handle = Body::Handle(HandleClaim { handle: login_handle() });
    let begin = |draft: &mut Draft| draft.push(entry.body).and_then(|_| draft.push(handle));
    histories.append(Origin::identity(identity, device), &[], begin).await?;
    Ok(identity)
}

/// The recovery key, written before the identity that commits to it.
fn recovery_key(layout: &Layout) -> Result<DeviceSecret, IdentityError> {
    let seed = clock::random::<32>();
    let text = format!("{RECOVERY_WORD} {}\n", base32(&seed));
    durable::replace(&layout.recovery_key(), text.as_bytes())?;
    Ok(DeviceSecret::from_seed(&seed))
}

const RECOVERY_WORD: &str = "syncra-recovery-1";

/// The recovery secret as long as it lies on this device: the text to write down.
///
/// # Errors
/// [`IdentityError::Read`], [`IdentityError::Recovery`].
pub fn recovery_text(layout: &Layout) -> Result<Option<String>, IdentityError> {
    let path = layout.recovery_key();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Read { path, source }),
    };
    let seed = text.trim().strip_prefix(RECOVERY_WORD).unwrap_or_default().trim();
    let broken = |source| IdentityError::Recovery { path: path.clone(), source };
    let bytes = from_base32(seed).map_err(broken)?;
    if bytes.len() != 32 {
        return Err(broken(IdError::Length(seed.len())));
    }
    Ok(Some(seed.to_owned()))
}

/// Deletes the recovery secret from this device. False if it was gone already.
///
/// # Errors
/// [`IdentityError::Write`].
pub fn forget_recovery(layout: &Layout) -> Result<bool, IdentityError> {
    let path = layout.recovery_key();
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(WriteError::from_io(&path, source).into()),
    }
    durable::sync_dir(&layout.identity())?;
    Ok(true)
}

/// The login name as a handle.
fn login_handle() -> Handle {
    let names = ["USER", "LOGNAME", "USERNAME"];
    let login = names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let login = login.unwrap_or_default();
    Handle::parse(&login)
        .ok()
        .or_else(|| Handle::nearest(&login))
        .unwrap_or_else(|| Handle::parse(FALLBACK_HANDLE).expect("a valid handle"))
}

/// What this device's user is called now.
///
/// # Errors
/// [`LoadError`].
pub fn handle(parts: &Parts) -> Result<Option<Handle>, LoadError> {
    Ok(parts.histories.identity(parts.identity)?.and_then(|state| state.handle.clone()))
}

/// Claims another handle. False if it is the one already.
///
/// # Errors
/// [`IdentityError`].
pub async fn set_handle(parts: &Parts, handle_text: Handle) -> Result<bool, IdentityError> {
    if handle(parts)?.as_ref() == Some(&handle_text) {
        return Ok(false);
    }
    let claim = Body::Handle(HandleClaim { handle: handle_text });
    let origin = Origin::identity(parts.identity, parts.device);
    parts.histories.append(origin, &[], |draft| draft.push(claim)).await?;
    Ok(true)
}

/// `@handle~key`: how strangers name this identity.
///
/// # Errors
/// [`LoadError`].
pub fn owner_text(histories: &Histories, identity: IdentityId) -> Result<String, LoadError> {
    let handle = histories.identity(identity)?.and_then(|state| state.handle.clone());
    let handle = handle.map_or_else(|| FALLBACK_HANDLE.to_owned(), |handle| handle.to_string());
    Ok(format!("@{handle}~{}", OwnerKey::of(&identity)))
}
