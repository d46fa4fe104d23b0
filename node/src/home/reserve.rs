//! The reserve: space that a full disk gets back, so that a node can still write its journal and clean up.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::durable::{self, WriteError};

/// Bytes of the reserve: some rounds of journal and index writes.
pub(super) const RESERVE_BYTES: u64 = 8 << 20;
/// Room that must be left beside it: taking the last free bytes would cause what it is there to heal.
const SPARE_BYTES: u64 = 16 << 20;

pub(super) fn ensure(path: &Path) -> Result<bool, WriteError> {
    if fs::metadata(path).is_ok_and(|found| found.len() == RESERVE_BYTES) {
        return Ok(true);
    }
    match make(path) {
        Ok(()) => Ok(true),
        Err(error) if error.is_disk_full() => {
            tracing::warn!("the disk is too full to set a reserve aside");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn free(path: &Path) -> Result<bool, WriteError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(WriteError::from_io(path, source)),
    }
}

fn make(path: &Path) -> Result<(), WriteError> {
    let temporary = durable::temporary_path(path);
    let made = fill(&temporary).and_then(|()| durable::rename(&temporary, path));
    if made.is_err() {
        drop(fs::remove_file(&temporary));
    }
    made.map_err(|source| WriteError::from_io(path, source))
}

/// Writes the reserve and the spare room, then gives the spare room back: a probe that works on every file system.
/// The bytes are noise, because a sparse or compressed file reserves nothing.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = durable::private_options().write(true).create(true).truncate(true).open(path)?;
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut block = vec![0; 1 << 20];
    for _ in 0..(RESERVE_BYTES + SPARE_BYTES) / block.len() as u64 {
        noise.fill(&mut block);
        file.write_all(&block)?;
    }
    file.set_len(RESERVE_BYTES)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_takes_real_space_and_gives_it_back() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("reserve");
        assert!(!free(&path).expect("nothing there"));
        assert!(ensure(&path).expect("made"));
        assert!(ensure(&path).expect("kept"));
        let found = fs::metadata(&path).expect("there");
        assert_eq!(found.len(), RESERVE_BYTES);
        #[cfg(unix)]
        assert!(std::os::unix::fs::MetadataExt::blocks(&found) * 512 >= RESERVE_BYTES);
        assert!(free(&path).expect("removed"));
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }
}
