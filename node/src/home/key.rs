//! `identity/device.key`: `SYNK`, version 1, the 32-byte seed, the first 16 bytes of BLAKE3 over all that.
//!
//! It fails closed: whatever is wrong with the file, no other key is made in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use syncra_protocol::key::DeviceSecret;
use zeroize::Zeroizing;

use crate::durable::frame::{self, CHECK_BYTES};
use crate::durable::{self, WriteError};

const MAGIC: &[u8; 4] = b"SYNK";
const VERSION: u8 = 1;
const SEED_BYTES: usize = 32;
const FILE_BYTES: usize = MAGIC.len() + 1 + SEED_BYTES + CHECK_BYTES;

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A used home without its key. Restore it from a backup; a new one would be another device.
    #[error("the device key {path} is missing")]
    Missing {
        /// The key file.
        path: PathBuf,
    },
    /// The file is not what was written.
    #[error("the device key {path} is damaged")]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error("the device key {path} has format {found}, this program knows {VERSION}")]
    Newer {
        /// The key file.
        path: PathBuf,
        /// Its format version.
        found: u8,
    },
    /// It cannot be read.
    #[error("cannot read the device key {path}")]
    Read {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A new one cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Reads the key at `path`; makes one if there is none and `may_make`.
pub(super) fn device_secret(path: &Path, may_make: bool) -> Result<DeviceSecret, KeyError> {
    match fs::metadata(path) {
        Ok(found) => {
            if found.len() != FILE_BYTES as u64 {
                return Err(KeyError::Damaged { path: path.to_owned() });
            }
            close_to_others(path, &found)?;
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return if may_make { make(path) } else { Err(KeyError::Missing { path: path.to_owned() }) };
        }
        Err(source) => return Err(KeyError::Read { path: path.to_owned(), source }),
    }
    let bytes = fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    decode(path, &Zeroizing::new(bytes))
}

fn make(path: &Path) -> Result<DeviceSecret, KeyError> {
    let seed = Zeroizing::new(crate::clock::random::<SEED_BYTES>());
    durable::replace(path, &encode(&seed))?;
    Ok(DeviceSecret::from_seed(&seed))
}

fn encode(seed: &[u8; SEED_BYTES]) -> Zeroizing<Vec<u8>> {
    // The capacity is exact, so no copy of the seed stays behind in a smaller buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(seed);
    let check = frame::check(&[&bytes]);
    bytes.extend_from_slice(&check);
    bytes
}

pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<DeviceSecret, KeyError> {
    let damaged = || KeyError::Damaged { path: path.to_owned() };
    let (body, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or_else(damaged)?;
    if frame::check(&[body]) != *check {
        return Err(damaged());
    }
    let rest = body.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (version, seed) = rest.split_first().ok_or_else(damaged)?;
    if *version != VERSION {
        return Err(KeyError::Newer { path: path.to_owned(), found: *version });
    }
    let seed: Zeroizing<[u8; SEED_BYTES]> = Zeroizing::new(seed.try_into().map_err(|_| damaged())?);
    Ok(DeviceSecret::from_seed(&seed))
}

/// Takes away what a careless copy gave to other users of the machine.
#[cfg(unix)]
fn close_to_others(path: &Path, found: &fs::Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    if found.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the device key could be read by other users; now it cannot");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(|source| WriteError::from_io(path, source))?;
    }
    Ok(())
}

/// On Windows the user's profile directory is closed to other users by its access list.
#[cfg(not(unix))]
fn close_to_others(_path: &Path, _found: &fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_in_a_new_home() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("device.key");
        assert!(matches!(device_secret(&path, false), Err(KeyError::Missing { .. })));
        let made = device_secret(&path, true).expect("made").public();
        assert_eq!(device_secret(&path, true).expect("read").public(), made);
        assert_eq!(device_secret(&path, false).expect("read").public(), made);
    }

    #[test]
    fn the_bytes_are_fixed() {
        let bytes = encode(&[7; 32]);
        assert_eq!(&bytes[..5], b"SYNK\x01");
        assert_eq!(&bytes[5..37], &[7; 32]);
        assert_eq!(&bytes[37..], &blake3::hash(&bytes[..37]).as_bytes()[..16]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_fails_closed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("device.key");
        device_secret(&path, true).expect("made");
        let whole = fs::read(&path).expect("there");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).expect("written");
            assert!(matches!(device_secret(&path, true), Err(KeyError::Damaged { .. })), "bit {bit}");
            assert_eq!(fs::read(&path).expect("there"), flipped, "a damaged key is left for the user to repair");
        }
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).expect("written");
            assert!(matches!(device_secret(&path, true), Err(KeyError::Damaged { .. })), "cut at {len}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_open_to_others_is_closed() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("device.key");
        device_secret(&path, true).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        device_secret(&path, false).expect("read");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
