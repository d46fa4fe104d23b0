//! Generations that were read and whose files are still the same.
//!
//! Reading one costs three passes over all that is installed, and each change of anything followed needs the one in force
//! several times.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::{Generation, KEPT_GENERATIONS};

/// Generations that are remembered: those that are kept, the one in force, and the one before it.
const REMEMBERED: usize = KEPT_GENERATIONS + 2;

/// What tells one file from another that has taken its place, or from what was written over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    bytes: u64,
    changed: SystemTime,
    #[cfg(unix)]
    inode: u64,
}

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<BTreeMap<PathBuf, (Mark, Generation)>>);

impl Cache {
    /// What was read from `path` if its file is the same, else what `read` returns.
    pub(super) fn get<E>(&self, path: &Path, read: impl FnOnce() -> Result<Generation, E>) -> Result<Generation, E> {
        // Before it is read: whatever is written meanwhile makes it another file.
        let mark = std::fs::metadata(path).ok().and_then(|found| Mark::of(&found));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((as_read, generation)) = known.get(path)
            && Some(*as_read) == mark
        {
            return Ok(generation.clone());
        }
        known.remove(path);
        let generation = read()?;
        if let Some(mark) = mark {
            if known.len() >= REMEMBERED {
                known.clear(); // there are never so many but after a hundred switches
            }
            known.insert(path.to_owned(), (mark, generation.clone()));
        }
        Ok(generation)
    }
}

impl Mark {
    /// None where the system does not say when a file was changed.
    fn of(found: &Metadata) -> Option<Self> {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(found);
        Some(Self {
            bytes: found.len(),
            changed: found.modified().ok()?,
            #[cfg(unix)]
            inode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(generation: u64) -> Generation {
        Generation { generation, ..Generation::default() }
    }

    #[test]
    fn a_file_is_read_again_when_it_was_written_or_replaced_or_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("7");
        let cache = Cache::default();
        let get = |now: u64| cache.get(&path, || Ok::<_, ()>(numbered(now))).map(|found| found.generation);
        std::fs::write(&path, "one").expect("a file");
        assert_eq!((get(1), get(2)), (Ok(1), Ok(1)), "read once");
        std::fs::write(&path, "longer").expect("a file");
        assert_eq!((get(3), get(4)), (Ok(3), Ok(3)), "another length");
        let changed = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .expect("it is there")
            .set_modified(changed)
            .expect("it is ours");
        assert_eq!((get(5), get(6)), (Ok(5), Ok(5)), "another time");
        std::fs::remove_file(&path).expect("it was there");
        assert_eq!((get(7), get(8)), (Ok(7), Ok(8)), "what is not there is nobody's");
        assert_eq!(cache.get(&path, || Err("no")), Err("no"));
    }

    #[test]
    fn it_takes_no_more_room_than_there_are_generations() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::default();
        for n in 0..100 {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, "x").expect("a file");
            assert_eq!(cache.get(&path, || Ok::<_, ()>(numbered(n))), Ok(numbered(n)));
            assert!(cache.0.lock().expect("no poison").len() <= REMEMBERED);
        }
    }
}
