//! Whether the files of an unpacked release are still, byte for byte, what was published.
//!
//! The tree id that the generation names covers path, mode, size and hash of every file, so a directory can be judged
//! without any blob. Which file is wrong is known only with the release's directories, its [`ContentIndex`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::{self, ContentIndex, FileEntry};

use super::Slot;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Which files there are, their sizes and modes.
    Names,
    /// Every byte.
    Bytes,
}

/// What is wrong with an unpacked release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing has its name.
    #[error("its directory is not there")]
    Gone,
    /// Something else has its name.
    #[error("what should be its directory is none")]
    NoDirectory,
    /// A file that was published is not there.
    #[error("`{0}` is missing")]
    Missing(EntryPath),
    /// Something is there that was not published.
    #[error("`{}` is no part of it", .0.display())]
    Extra(PathBuf),
    /// A file has another length.
    #[error("`{path}` has {found} bytes instead of {published}")]
    Size {
        /// The file.
        path: EntryPath,
        /// Its bytes.
        found: u64,
        /// Its bytes when it was published.
        published: u64,
    },
    /// A file may be executed, or may not be any more.
    #[error("`{path}` {} executable", if *.published { "is not" } else { "is" })]
    Mode {
        /// The file.
        path: EntryPath,
        /// Whether it was published as executable.
        published: bool,
    },
    /// A file has other bytes.
    #[error("`{0}` has other bytes than were published")]
    Bytes(EntryPath),
    /// All together are not what was published, and there is nothing to compare one by one with.
    #[error("its files are not those that were published")]
    Tree,
    /// The system does not read it.
    #[error("`{}` cannot be read: {why}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        why: String,
    },
}

/// What is wrong with the directory of an unpacked release; nothing, normally. `read` hears the bytes of each file that was
/// hashed. Waits for the disk.
#[must_use]
pub fn examine(
    dir: &Path,
    slot: &Slot,
    index: Option<&ContentIndex>,
    depth: Depth,
    read: impl FnMut(u64),
) -> Vec<Fault> {
    let published = index.map(|index| index.files().iter().map(|file| &file.entry));
    look(dir, slot, published, depth, read)
}

fn look<'e>(
    dir: &Path,
    slot: &Slot,
    published: Option<impl Iterator<Item = &'e FileEntry>>,
    depth: Depth,
    read: impl FnMut(u64),
) -> Vec<Fault> {
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return vec![Fault::NoDirectory],
        Err(error) if error.kind() == io::ErrorKind::NotFound => return vec![Fault::Gone],
        Err(error) => return vec![unreadable(dir, &error)],
    }
    let mut look = Look { dir, depth, read, faults: Vec::new() };
    let mut files = look.list();
    files.sort_by(|a, b| tree::tree_order(&a.path, &b.path));
    match published {
        Some(published) => look.compare(files, published),
        None => look.sum_up(&files, slot),
    }
    look.faults
}

/// A file that is there.
struct Found {
    path: EntryPath,
    size: u64,
    /// None where files have no such mode.
    executable: Option<bool>,
}

struct Look<'a, R> {
    dir: &'a Path,
    depth: Depth,
    read: R,
    faults: Vec<Fault>,
}

impl<R: FnMut(u64)> Look<'_, R> {
    /// Every file with a name that a release can have; what else is there is extra. Links are not followed.
    fn list(&mut self) -> Vec<Found> {
        let (mut files, mut dirs) = (Vec::new(), vec![String::new()]);
        while let Some(dir) = dirs.pop() {
            let path = self.dir.join(&dir);
            let entries: Vec<fs::DirEntry> = match fs::read_dir(&path).and_then(Iterator::collect) {
                Ok(entries) => entries,
                Err(error) => {
                    self.faults.push(unreadable(&path, &error));
                    continue;
                }
            };
            if entries.is_empty() && !dir.is_empty() {
                self.faults.push(Fault::Extra(dir.clone().into()));
            }
            for entry in entries {
                let name = entry.file_name();
                let relative = Path::new(&dir).join(&name);
                let mut bytes = dir.clone().into_bytes();
                if !dir.is_empty() {
                    bytes.push(b'/');
                }
                bytes.extend_from_slice(name.as_encoded_bytes());
                match (EntryPath::parse_bytes(&bytes), entry.metadata()) {
                    (_, Err(error)) => self.faults.push(unreadable(&entry.path(), &error)),
                    (Ok(path), Ok(found)) if found.is_dir() => dirs.push(path.as_str().to_owned()),
                    (Ok(path), Ok(found)) if found.is_file() => {
                        files.push(Found { path, size: found.len(), executable: executable(&found) });
                    }
                    _ => self.faults.push(Fault::Extra(relative)),
                }
            }
        }
        files
    }

    /// One by one; both in tree order.
    fn compare<'e>(&mut self, found: Vec<Found>, published: impl Iterator<Item = &'e FileEntry>) {
        let mut found = found.into_iter().peekable();
        let extra = |file: Found| Fault::Extra(file.path.as_str().into());
        for entry in published {
            while let Some(file) = found.next_if(|file| tree::tree_order(&file.path, &entry.path).is_lt()) {
                self.faults.push(extra(file));
            }
            match found.next_if(|file| file.path == entry.path) {
                Some(file) => {
                    let fault = self.fault_of(&file, entry);
                    self.faults.extend(fault);
                }
                None => self.faults.push(Fault::Missing(entry.path.clone())),
            }
        }
        self.faults.extend(found.map(extra));
    }

    fn fault_of(&mut self, file: &Found, entry: &FileEntry) -> Option<Fault> {
        let path = entry.path.clone();
        if file.size != entry.size {
            return Some(Fault::Size { path, found: file.size, published: entry.size });
        }
        if file.executable.is_some_and(|executable| executable != entry.executable) {
            return Some(Fault::Mode { path, published: entry.executable });
        }
        if self.depth == Depth::Names {
            return None;
        }
        match self.hash(file) {
            Ok(hash) => (hash != entry.hash).then_some(Fault::Bytes(path)),
            Err(fault) => Some(fault),
        }
    }

    /// All together, for lack of anything to compare one by one with.
    fn sum_up(&mut self, files: &[Found], slot: &Slot) {
        if !self.faults.is_empty() {
            return;
        }
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let sums_are_right = files.len() as u64 == u64::from(slot.n_files) && bytes == slot.total_bytes;
        // Where files have no mode, the tree id cannot be worked out from them.
        let has_modes = files.iter().all(|file| file.executable.is_some());
        if !sums_are_right {
            self.faults.push(Fault::Tree);
        } else if self.depth == Depth::Bytes && has_modes {
            let fault = self.tree_fault(files, slot);
            self.faults.extend(fault);
        }
    }

    fn tree_fault(&mut self, files: &[Found], slot: &Slot) -> Option<Fault> {
        let mut entries = Vec::with_capacity(files.len());
        for file in files {
            let hash = match self.hash(file) {
                Ok(hash) => hash,
                Err(fault) => return Some(fault),
            };
            let executable = file.executable.unwrap_or_default();
            entries.push(FileEntry { path: file.path.clone(), executable, size: file.size, hash });
        }
        (tree::tree_id(&entries) != Ok(slot.tree_id)).then_some(Fault::Tree)
    }

    fn hash(&mut self, file: &Found) -> Result<BlobId, Fault> {
        let path = self.dir.join(file.path.as_str());
        let mut hasher = blake3::Hasher::new();
        let hashed = File::open(&path).and_then(|open| hasher.update_reader(open).map(|_| ()));
        hashed.map_err(|error| unreadable(&path, &error))?;
        (self.read)(file.size);
        Ok(BlobId::from_bytes(*hasher.finalize().as_bytes()))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::Unreadable { path: path.to_owned(), why: error.to_string() }
}

#[cfg(unix)]
fn executable(found: &fs::Metadata) -> Option<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(found.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn executable(_found: &fs::Metadata) -> Option<bool> {
    None
}

#[cfg(test)]
mod tests;
