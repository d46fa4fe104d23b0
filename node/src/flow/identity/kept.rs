//! The recovery secret as a file, and the mark of the user's word that it is saved elsewhere. Bytes in
//! `docs/spec/state.md`.
//!
//! Nothing brings a lost secret back, so a damaged file is told from one that is gone, and neither counts as saved.

use std::path::Path;

use syncra_protocol::id::{base32, from_base32};
use syncra_protocol::key::DeviceSecret;
use zeroize::Zeroizing;

use super::IdentityError;
use crate::clock;
use crate::durable::{self, frame};
use crate::home::Layout;

/// Begins the text of a secret with a check.
const WORD: &str = "syncra-recovery-2";
/// Begins the text of one without.
const WORD_UNCHECKED: &str = "syncra-recovery-1";
/// Begins the mark.
const SAVED_WORD: &str = "syncra-recovery-saved-1";

/// What is wrong with the file of a recovery secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryFault {
    /// Other text, or none.
    #[error("it does not hold the text of a recovery secret")]
    Text,
    /// The check at its end is another one's.
    #[error("its check does not match")]
    Check,
    /// A secret, but not the identity's.
    #[error("it holds another key than the one that the identity names")]
    OtherKey,
}

/// A new secret, in the file at `path`.
pub(super) fn make(path: &Path) -> Result<DeviceSecret, IdentityError> {
    let seed = Zeroizing::new(clock::random::<32>());
    let text = Zeroizing::new(base32(&*seed));
    let line = Zeroizing::new(format!("{WORD} {} {}\n", *text, check(&text)));
    durable::replace(path, line.as_bytes())?;
    Ok(DeviceSecret::from_seed(&seed))
}

/// The text of the file at `path`, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, IdentityError> {
    match std::fs::read(path) {
        // What is no text is no secret either, and says so when it is parsed.
        Ok(bytes) => Ok(Some(Zeroizing::new(String::from_utf8_lossy(&Zeroizing::new(bytes)).into_owned()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}

/// The secret in a file's text, or as somebody wrote it down, and what there is to write down of it.
pub(super) fn parse(text: &str) -> Result<(DeviceSecret, &str), RecoveryFault> {
    let mut words = text.split_whitespace();
    let (first, second, third, more) = (words.next(), words.next(), words.next(), words.next());
    let (seed, found) = match (first, second, third, more) {
        (Some(seed), None, ..) => (seed, None),
        (Some(WORD_UNCHECKED), Some(seed), None, _) => (seed, None),
        (Some(WORD), Some(seed), Some(check), None) => (seed, Some(check)),
        _ => return Err(RecoveryFault::Text),
    };
    let bytes = Zeroizing::new(from_base32(seed).map_err(|_| RecoveryFault::Text)?);
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| RecoveryFault::Text)?);
    if found.is_some_and(|found| found != check(seed)) {
        return Err(RecoveryFault::Check);
    }
    Ok((DeviceSecret::from_seed(&bytes), seed))
}

fn check(seed: &str) -> String {
    base32(&frame::check(&[WORD.as_bytes(), b" ", seed.as_bytes()]))
}

/// Notes that the user has saved the secret of the key with this commitment elsewhere.
pub(super) fn note_saved(layout: &Layout, commitment: &[u8; 32]) -> Result<(), IdentityError> {
    Ok(durable::replace(&layout.recovery_saved(), mark(commitment).as_bytes())?)
}

/// Whether the user has said that the secret of the key with this commitment is saved elsewhere.
pub(super) fn is_saved(layout: &Layout, commitment: &[u8; 32]) -> Result<bool, IdentityError> {
    Ok(read(&layout.recovery_saved())?.is_some_and(|text| *text == mark(commitment)))
}

fn mark(commitment: &[u8; 32]) -> String {
    format!("{SAVED_WORD} {}\n", base32(commitment))
}
