//! Who this device belongs to: made at the first start without a question.

mod kept;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use syncra_protocol::entry::{Body, Entry, EntryError, HandleClaim, IdentityGenesis, recovery_commitment};
use syncra_protocol::fold::IdentityState;
use syncra_protocol::id::{EntryId, IdentityId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::name::Handle;
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::reference::OwnerKey;

pub use kept::RecoveryFault;

use super::Parts;
use super::devices::{self, DevicesError};
use crate::clock;
use crate::durable::{self, WriteError};
use crate::history::{Draft, Histories, LoadError, OwnError, body_of};
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
    #[error("the recovery secret in {} is damaged", path.display())]
    Recovery {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RecoveryFault,
    },
    /// The file of the recovery key is gone, and nobody has said here that the secret is saved.
    #[error("the recovery secret is not on this device, and nobody has said here that it is saved elsewhere")]
    RecoveryGone,
    /// This device does not hold the recovery key that the identity names now.
    #[error("this device does not hold the recovery secret of identity {}", .0.fmt_short())]
    NoRecovery(IdentityId),
}

/// The identity of `device`, made if there is none.
///
/// # Errors
/// [`IdentityError`].
pub async fn own(histories: &Histories, layout: &Layout, device: DeviceKey) -> Result<IdentityId, IdentityError> {
    let mut begun = None;
    let mut joined = None;
    for (origin, log) in histories.journal().truth().own_logs() {
        let Subject::Identity(identity) = origin.subject else { continue };
        // A device begins with an identity of its own, and leaves it for good when it joins another.
        match log.entries().first().and_then(|first| body_of(first)) {
            Some(Body::IdentityJoin(_)) => joined = Some(identity),
            Some(_) => begun = Some(identity),
            None => {}
        }
    }
    match joined.or(begun) {
        Some(identity) => Ok(identity),
        None => make(histories, layout, device).await,
    }
}

async fn make(histories: &Histories, layout: &Layout, device: DeviceKey) -> Result<IdentityId, IdentityError> {
    let recovery = recovery_key(layout)?;
    let commitment = recovery_commitment(&recovery.public());
    let genesis = IdentityGenesis { log_key: device, recovery: commitment, nonce: clock::random() };
    let entry = Entry::new(Body::IdentityGenesis(genesis));
    let identity = IdentityId::from(EntryId::of(&entry.encode()?));
    let handle = Body::Handle(HandleClaim { handle: login_handle() });
    let begin = |draft: &mut Draft| draft.push(entry.body).and_then(|_| draft.push(handle));
    histories.append(Origin::identity(identity, device), &[], begin).await?;
    Ok(identity)
}

/// The recovery key, written before the identity that commits to it: so it may be there from a start that was cut off.
fn recovery_key(layout: &Layout) -> Result<DeviceSecret, IdentityError> {
    let path = layout.recovery_key();
    match kept::read(&path)?.as_deref().map(|text| kept::parse(text)) {
        Some(Ok((secret, _))) => Ok(secret),
        // Nothing commits to what such a start left half.
        Some(Err(_)) | None => kept::make(&path),
    }
}

/// Makes the recovery key that is to replace the present one, beside it: it is written before anything commits to it.
pub(super) fn prepare_recovery(layout: &Layout) -> Result<DeviceSecret, IdentityError> {
    let path = layout.next_recovery_key();
    // One that is there may have been committed to already, by a statement that does not count yet.
    match kept::read(&path)? {
        Some(text) => recovery_secret(&text).map_err(|source| IdentityError::Recovery { path, source }),
        None => kept::make(&path),
    }
}

/// Puts the prepared recovery key in the place of the present one once the identity commits to it. One that it does not
/// commit to stays for the next time: a statement that names it may be waiting.
pub(super) fn finish_recovery(layout: &Layout, commitment: [u8; 32]) -> Result<(), IdentityError> {
    let path = layout.next_recovery_key();
    let Some(text) = kept::read(&path)? else { return Ok(()) };
    let broken = |source| IdentityError::Recovery { path: path.clone(), source };
    if recovery_commitment(&recovery_secret(&text).map_err(broken)?.public()) != commitment {
        return Ok(());
    }
    durable::replace(&layout.recovery_key(), text.as_bytes())?;
    std::fs::remove_file(&path).map_err(|source| WriteError::from_io(&path, source))?;
    Ok(durable::sync_dir(&layout.identity())?)
}

/// Puts away the recovery key of an identity that this device had before it joined `present`: nobody shall take it for the
/// present one's, and nobody shall lose it.
pub(super) fn set_aside(histories: &Histories, layout: &Layout, present: IdentityId) -> Result<(), IdentityError> {
    let path = layout.recovery_key();
    let Some(text) = kept::read(&path)? else { return Ok(()) };
    // What is no key at all is told where it is asked for.
    let Ok(secret) = recovery_secret(&text) else { return Ok(()) };
    let commitment = recovery_commitment(&secret.public());
    let own: Vec<IdentityId> = {
        let truth = histories.journal().truth();
        let of = |origin: &Origin| match origin.subject {
            Subject::Identity(identity) => Some(identity),
            Subject::Package(_) => None,
        };
        truth.own_logs().filter_map(|(origin, _)| of(origin)).filter(|identity| *identity != present).collect()
    };
    for identity in own {
        if histories.identity(identity)?.is_some_and(|state| state.recovery == commitment) {
            durable::replace(&layout.abandoned_recovery_key(&identity), text.as_bytes())?;
            std::fs::remove_file(&path).map_err(|source| WriteError::from_io(&path, source))?;
            return Ok(durable::sync_dir(&layout.identity())?);
        }
    }
    Ok(())
}

/// Finishes, at a start, what was cut off: a replacement of the recovery key, and putting one away.
///
/// # Errors
/// [`IdentityError`].
pub(super) fn settle_recovery(
    histories: &Histories,
    layout: &Layout,
    identity: IdentityId,
) -> Result<(), IdentityError> {
    set_aside(histories, layout, identity)?;
    match histories.identity(identity)? {
        Some(state) => finish_recovery(layout, state.recovery),
        None => Ok(()),
    }
}

/// The recovery key that somebody wrote down.
///
/// # Errors
/// [`RecoveryFault`] if it is none.
pub fn recovery_secret(text: &str) -> Result<DeviceSecret, RecoveryFault> {
    kept::parse(text).map(|(secret, _)| secret)
}

/// What helps when the file of the recovery secret is damaged.
pub const DAMAGED_RECOVERY: &str = "keep that file. If the secret is written down, `syncra id rotate` with SYNCRA_RECOVERY_FILE naming \
                                    a file with it makes a new one; a backup of this device may hold it in whole. If not, nobody \
                                    can replace it: make another device a manager by `syncra pair`, so that losing one device \
                                    does not lose the identity";

/// What helps when the file of the recovery secret is gone.
pub const MISSING_RECOVERY: &str = "if the secret is written down, say so by `syncra id recovery --forget`. If not, a backup of this \
                                    device may hold it; else nobody can replace it: make another device a manager by \
                                    `syncra pair`, so that losing one device does not lose the identity";

/// Where an identity's recovery secret is, as far as this device can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Here, until somebody has written it down.
    Unsaved,
    /// Where the user has saved it, who said so here.
    Saved,
    /// It was made here and is not here any more, and nobody has said here that it is saved.
    Missing,
    /// Wherever it was made: this device never had it, or another one has replaced it.
    Elsewhere,
}

/// The recovery secret of an identity as long as it lies on this device: the text to write down. A file counts only if the
/// identity names its key, for a device that joined has that of the identity that it left, and another may replace the key.
///
/// # Errors
/// [`IdentityError::Read`], [`IdentityError::Recovery`] of this device's identity, [`IdentityError::Load`].
pub fn recovery_text(parts: &Parts, identity: IdentityId) -> Result<Option<String>, IdentityError> {
    Ok(held_recovery(parts, identity)?.map(|(_, text)| text))
}

/// The file that holds an identity's recovery secret, and the secret.
fn held_recovery(parts: &Parts, identity: IdentityId) -> Result<Option<(PathBuf, String)>, IdentityError> {
    let Some(state) = parts.histories.identity(identity)? else { return Ok(None) };
    let layout = parts.layout();
    let mut broken = None;
    // What replaces it lies beside it until the next start, if the statement took effect late.
    for path in [layout.recovery_key(), layout.next_recovery_key()] {
        let Some(text) = kept::read(&path)? else { continue };
        let source = match kept::parse(&text) {
            Ok((secret, seed)) if recovery_commitment(&secret.public()) == state.recovery => {
                return Ok(Some((path, seed.to_owned())));
            }
            // As long as nothing has replaced the first one, no other belongs there.
            Ok(_) if path == layout.recovery_key() && has_first_key(parts, &state) => RecoveryFault::OtherKey,
            Ok(_) => continue,
            Err(source) => source,
        };
        broken.get_or_insert(IdentityError::Recovery { path, source });
    }
    match broken {
        Some(broken) if identity == parts.identity() && !kept::is_saved(layout, &state.recovery)? => Err(broken),
        _ => Ok(None),
    }
}

/// Whether the identity began on this device and its recovery key is still the one that was made here then.
fn has_first_key(parts: &Parts, state: &IdentityState) -> bool {
    state.last_statement.is_none() && state.devices.get(&parts.device).is_some_and(|device| device.is_first)
}

/// Where the recovery secret of this device's identity is.
///
/// # Errors
/// As [`recovery_text`].
pub fn recovery(parts: &Parts) -> Result<Recovery, IdentityError> {
    if recovery_text(parts, parts.identity())?.is_some() {
        return Ok(Recovery::Unsaved);
    }
    let Some(state) = parts.histories.identity(parts.identity())? else { return Ok(Recovery::Elsewhere) };
    Ok(match kept::is_saved(parts.layout(), &state.recovery)? {
        true => Recovery::Saved,
        false if has_first_key(parts, &state) => Recovery::Missing,
        false => Recovery::Elsewhere,
    })
}

/// Takes the user's word that the recovery secret of this device's identity is saved elsewhere, and deletes it from this
/// device. False if it was gone already.
///
/// # Errors
/// [`IdentityError::Write`], and as [`recovery_text`]: what is damaged is not deleted.
pub fn forget_recovery(parts: &Parts) -> Result<bool, IdentityError> {
    let held = held_recovery(parts, parts.identity())?;
    // First, so that who is cut off in between is asked again instead of missing the secret.
    if let Some(state) = parts.histories.identity(parts.identity())? {
        kept::note_saved(parts.layout(), &state.recovery)?;
    }
    let Some((path, _)) = held else { return Ok(false) };
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(WriteError::from_io(&path, source).into()),
    }
    durable::sync_dir(&parts.layout().identity())?;
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
    Ok(parts.histories.identity(parts.identity())?.and_then(|state| state.handle.clone()))
}

/// Claims another handle. False if it is the one already.
///
/// # Errors
/// [`DevicesError`].
pub async fn set_handle(parts: &Parts, handle_text: Handle) -> Result<bool, DevicesError> {
    if handle(parts)?.as_ref() == Some(&handle_text) {
        return Ok(false);
    }
    devices::say(parts, Body::Handle(HandleClaim { handle: handle_text })).await?;
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
