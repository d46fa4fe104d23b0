//! A sealed copy of what makes this device itself: its key, its recovery keys (also one that is about to replace another, and
//! those of identities that it has left), its journal.
//!
//! A backup replaces a lost device; it is not a second one. Two devices with one key would sign two histories, and
//! every reader would refuse both. Content is not in it: `export` takes that along.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use syncra_protocol::codec::{self, CodecError};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::{Origin, Subject};
use zeroize::Zeroizing;

use crate::clock;
use crate::durable::{self, WriteError};
use crate::home::{Fingerprint, Home, HomeError, KeyError, Layout};
use crate::journal::{self, AppendError, HomeOrigin, Journal, KnownHead, Truth};

/// What every backup begins with; the last byte is the format's version.
const MAGIC: &[u8; 8] = b"SYNBACK\x01";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
/// Argon2id memory, in KiB: 64 MiB, the second choice of RFC 9106.
const MEMORY_KIB: u32 = 64 << 10;
/// Argon2id passes, for that choice.
const PASSES: u32 = 3;
/// Argon2id lanes, for that choice.
const LANES: u32 = 4;
/// Bytes of a passphrase, at least: shorter ones are guessed.
pub const PASSPHRASE_BYTES: usize = 8;
/// Bytes of a backup: what is held in memory.
const BACKUP_BYTES: usize = 512 << 20;

/// The files of a home that are truth, by their path in it.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    files: Vec<(String, Vec<u8>)>,
}

/// Why there is no backup, or no home from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Too short.
    #[error("a passphrase needs {PASSPHRASE_BYTES} bytes at least")]
    ShortPassphrase,
    /// There is something already.
    #[error("`{}` exists", .0.display())]
    Exists(PathBuf),
    /// The home has a key already.
    #[error("the home `{}` has been used; a backup is restored to a new one", .0.display())]
    UsedHome(PathBuf),
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Not a backup.
    #[error("`{}` is not a backup of an identity", .0.display())]
    Foreign(PathBuf),
    /// Larger than any backup.
    #[error("more than {BACKUP_BYTES} bytes")]
    TooLarge,
    /// Wrong passphrase, or a changed file: the seal does not tell.
    #[error("the passphrase does not open the backup, or the file was changed")]
    Sealed,
    /// The seal is right, what is inside is not.
    #[error("the backup was made by another version")]
    Content(#[from] CodecError),
    /// The home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The key in the backup.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The journal in the backup.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The restored journal does not take records.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Writes a sealed backup of the home to `path`, which must not exist; returns its size.
///
/// # Errors
/// [`BackupError`].
pub fn backup(layout: &Layout, path: &Path, passphrase: &str) -> Result<u64, BackupError> {
    if path.exists() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let content = collect(layout)?;
    let plain = Zeroizing::new(codec::encode(&content));
    let (salt, nonce) = (clock::random::<SALT_BYTES>(), clock::random::<NONCE_BYTES>());
    let cipher = cipher(passphrase, &salt)?;
    let head = [MAGIC.as_slice(), &salt, &nonce].concat();
    let payload = Payload { msg: &plain, aad: &head };
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| BackupError::TooLarge)?;
    let bytes = [head, sealed].concat();
    durable::replace(path, &bytes)?;
    Ok(bytes.len() as u64)
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The device.
    pub device: DeviceKey,
    /// Packages that the device has written to.
    pub n_own: usize,
    /// Packages of whose history no more is here than what the device wrote itself: others wrote to them too.
    pub n_missing: usize,
}

/// Makes the home at `root` from the backup at `path`. It signs nothing before it is adopted, see [`super::adopt`]: what the
/// device has signed since the backup is not known here.
///
/// # Errors
/// [`BackupError`]; a home that has been used is left alone.
pub async fn restore(root: &Path, path: &Path, passphrase: &str) -> Result<Restored, BackupError> {
    let content = open(path, passphrase)?;
    let mut home = Home::open(root)?;
    let layout = home.layout().clone();
    if !home.is_new() || layout.device_key().exists() {
        return Err(BackupError::UsedHome(root.to_owned()));
    }
    let mut files = Vec::with_capacity(content.files.len());
    for (name, bytes) in &content.files {
        files.push((place(&layout, name).ok_or(BackupError::Content(CodecError::Malformed))?, bytes));
    }
    let is_key = |target: &PathBuf| *target == layout.device_key();
    let (keys, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(target, _)| is_key(target));
    let [(key, bytes)] = keys.as_slice() else { return Err(BackupError::Content(CodecError::Malformed)) };
    let device = Home::device_secret_in(key, bytes)?.public();
    for (target, bytes) in &others {
        durable::replace(target, bytes)?;
    }
    // Not even where a place looks like the one that the backup was made at.
    let nowhere = HomeOrigin { fingerprint: Fingerprint::nowhere(), device };
    let (journal, _) = Journal::open(&layout.journal(), nowhere)?;
    let displaced = journal.append(nowhere).await;
    let (n_own, n_missing) = packages(&journal.truth());
    journal.close().await;
    displaced?;
    // Last, so that who is cut off before it finds no home that could sign.
    durable::replace(key, bytes)?;
    home.finish_first_start()?;
    Ok(Restored { device, n_own, n_missing })
}

/// The packages that were written to here, and those of which others' logs are known, how many each.
fn packages(truth: &Truth) -> (usize, usize) {
    let is_package = |origin: &Origin| matches!(origin.subject, Subject::Package(_));
    let n_own = truth.own_logs().filter(|(origin, _)| is_package(origin)).count();
    let is_missing = |head: &&KnownHead| truth.own_log(&head.origin).is_none_or(|own| own.size() < head.size);
    let missing = truth.heads().filter(is_missing).map(|head| head.origin).filter(is_package);
    (n_own, missing.map(|origin| origin.subject).collect::<BTreeSet<_>>().len())
}

/// The files to keep: keys, and a journal that reads back.
fn collect(layout: &Layout) -> Result<Content, BackupError> {
    let mut files = Vec::new();
    let abandoned = files_in(&layout.identity())?.into_iter().filter(|path| Layout::is_abandoned_recovery_key(path));
    let kept = [layout.device_key(), layout.recovery_key(), layout.next_recovery_key(), layout.recovery_saved()];
    for key in kept.into_iter().chain(abandoned) {
        match std::fs::read(&key) {
            Ok(bytes) => files.push((format!("identity/{}", name_of(&key)), bytes)),
            // Of a recovery key that was here a moment ago somebody says that it is written down.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && key != layout.device_key() => {}
            Err(source) => return Err(BackupError::Read { path: key, source }),
        }
    }
    let mut paths = files_in(&layout.journal())?;
    // The mark first: a segment that grows meanwhile is longer than the mark says, which is fine.
    paths.sort_by_key(|path| (name_of(path) != "mark", path.clone()));
    for path in paths {
        let bytes = std::fs::read(&path).map_err(|source| BackupError::Read { path: path.clone(), source })?;
        files.push((format!("journal/{}", name_of(&path)), bytes));
    }
    if files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > BACKUP_BYTES / 2 {
        return Err(BackupError::TooLarge);
    }
    Ok(Content { files })
}

fn files_in(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let listed = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed.map_err(|source| BackupError::Read { path: dir.to_owned(), source })?;
    Ok(listed.iter().map(std::fs::DirEntry::path).filter(|path| path.is_file()).collect())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where a file of a backup goes: one plain name in one of two directories.
fn place(layout: &Layout, name: &str) -> Option<PathBuf> {
    let (dir, name) = name.split_once('/')?;
    let is_plain = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && !name.starts_with('.');
    match dir {
        _ if !is_plain => None,
        "identity" => Some(layout.identity().join(name)),
        "journal" => Some(layout.journal().join(name)),
        _ => None,
    }
}

fn open(path: &Path, passphrase: &str) -> Result<Content, BackupError> {
    let read = |source| BackupError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > BACKUP_BYTES as u64 {
        return Err(BackupError::TooLarge);
    }
    let bytes = std::fs::read(path).map_err(read)?;
    let head_bytes = MAGIC.len() + SALT_BYTES + NONCE_BYTES;
    if bytes.len() < head_bytes || !bytes.starts_with(MAGIC) {
        return Err(BackupError::Foreign(path.to_owned()));
    }
    let (head, sealed) = bytes.split_at(head_bytes);
    let (salt, nonce) = head[MAGIC.len()..].split_at(SALT_BYTES);
    let payload = Payload { msg: sealed, aad: head };
    let cipher = match cipher(passphrase, salt) {
        // Nothing was ever sealed with so short a one: it is a wrong one like any other.
        Err(BackupError::ShortPassphrase) => return Err(BackupError::Sealed),
        cipher => cipher?,
    };
    let plain = cipher.decrypt(XNonce::from_slice(nonce), payload);
    let plain = Zeroizing::new(plain.map_err(|_| BackupError::Sealed)?);
    Ok(codec::decode(&plain, BACKUP_BYTES)?)
}

fn cipher(passphrase: &str, salt: &[u8]) -> Result<XChaCha20Poly1305, BackupError> {
    if passphrase.len() < PASSPHRASE_BYTES {
        return Err(BackupError::ShortPassphrase);
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("within Argon2's bounds");
    let mut key = Zeroizing::new([0; 32]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.as_bytes(), salt, key.as_mut()).expect("lengths are within Argon2's bounds");
    Ok(XChaCha20Poly1305::new(Key::from_slice(key.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_refused_after_any_damage() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home")).unwrap();
        home.device_secret().unwrap();
        durable::make_dir(&home.layout().journal()).unwrap();
        let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
        backup(home.layout(), &whole, "a long passphrase").unwrap();
        assert_eq!(open(&whole, "a long passphrase").unwrap().files.len(), 1);
        let bytes = std::fs::read(&whole).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&damaged, bytes).unwrap();
            let error = open(&damaged, "a long passphrase").err();
            assert!(matches!(error, Some(BackupError::Sealed | BackupError::Foreign(_))), "{error:?}");
        };
        // Each try costs what a guess costs, on purpose; so one bit of some bytes: magic, salt, nonce, sealed, tag.
        for at in (0..bytes.len()).step_by(bytes.len() / 12) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            refused(&flipped);
        }
        for len in [0, MAGIC.len(), MAGIC.len() + SALT_BYTES + NONCE_BYTES, bytes.len() - 1] {
            refused(&bytes[..len]);
        }
    }
}
