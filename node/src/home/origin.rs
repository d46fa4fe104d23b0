//! Is this the directory that was written here, or a copy?
//!
//! Two homes with one key would sign two different logs and prove themselves a fork. So the journal holds the
//! fingerprint of the place it was made at, and a node that finds another one signs nothing until it has caught up
//! with its own heads or the user says that the old place is gone.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// A hash over the machine's id and the journal directory's birth (or, where that tells nothing, its file number).
///
/// It changes when the home is copied, restored or moved to another file system, and stays when it is renamed. Where
/// the system tells neither birth nor machine, copies on that axis go unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What no place has.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self([0; 32])
    }
}

pub(super) fn fingerprint(dir: &Path) -> io::Result<Fingerprint> {
    Ok(combine(&machine_id(), &birth(&fs::metadata(dir)?)))
}

fn combine(machine: &[u8], birth: &[u8]) -> Fingerprint {
    let mut hasher = blake3::Hasher::new_derive_key("syncra 2026 origin of a home");
    hasher.update(&(machine.len() as u64).to_le_bytes());
    hasher.update(machine);
    hasher.update(birth);
    Fingerprint(*hasher.finalize().as_bytes())
}

fn birth(found: &fs::Metadata) -> Vec<u8> {
    let born = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let mut bytes = born.as_nanos().to_le_bytes().to_vec();
    // Some file systems number their files anew at every mount, so the number counts only where the birth does not tell:
    // where there is none, and on macOS, whose copies keep it.
    let number = if born.is_zero() || cfg!(target_os = "macos") { file_number(found) } else { 0 };
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

#[cfg(unix)]
fn file_number(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

/// Windows shows the file number only through an open handle; the birth has to do.
#[cfg(not(unix))]
fn file_number(_found: &fs::Metadata) -> u64 {
    0
}

/// What systemd or D-Bus wrote at installation; empty where there is none.
fn machine_id() -> Vec<u8> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().as_bytes().to_vec())
        .find(|id| !id.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_directory_keeps_its_fingerprint_and_a_copy_has_another() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (one, two, three) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("three"));
        fs::create_dir(&one).expect("made");
        let before = fingerprint(&one).expect("read");
        fs::write(one.join("file"), "x").expect("written");
        assert_eq!(fingerprint(&one).expect("read"), before);
        fs::rename(&one, &two).expect("renamed");
        assert_eq!(fingerprint(&two).expect("read"), before);
        fs::create_dir(&three).expect("made");
        assert_ne!(fingerprint(&three).expect("read"), before);
    }

    #[test]
    fn another_machine_has_another_fingerprint() {
        assert_ne!(combine(b"one", b"birth"), combine(b"two", b"birth"));
        assert_ne!(combine(b"a", b"bc"), combine(b"ab", b"c"));
    }
}
