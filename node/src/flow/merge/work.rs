//! The files of a working directory as they are now.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use syncra_protocol::id::BlobId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::FileEntry;

use super::super::lines::TEXT_BYTES;
use super::super::manifest;
use super::super::walk::{self, ReadError, Selection, SourceFile, WalkError};
use super::MergeError;

/// A directory as it would be published now.
#[derive(Debug, Default)]
pub(super) struct Work {
    entries: Vec<FileEntry>,
    sources: BTreeMap<EntryPath, SourceFile>,
}

impl Work {
    /// Reads and hashes all files. Waits for the disk.
    pub(super) fn read(dir: &Path) -> Result<Self, MergeError> {
        let selection = manifest::read(dir)?.map_or_else(Selection::default, |manifest| Selection {
            include: manifest.files.include.iter().map(ToString::to_string).collect(),
            exclude: manifest.files.exclude.iter().map(ToString::to_string).collect(),
        });
        let files = match walk::walk(dir, &selection) {
            // All files are gone: that is a change like any other.
            Err(WalkError::Empty) => Vec::new(),
            found => found?,
        };
        let mut work = Self::default();
        for file in files {
            let mut hasher = blake3::Hasher::new();
            let mut open = file.open()?;
            hasher.update_reader(&mut open).map_err(|source| file.unreadable(source))?;
            file.unchanged(&open)?;
            let hash = BlobId::from_bytes(*hasher.finalize().as_bytes());
            let (path, executable, size) = (file.path.clone(), file.executable, file.size);
            work.entries.push(FileEntry { path: path.clone(), executable, size, hash });
            work.sources.insert(path, file);
        }
        Ok(work)
    }

    /// On systems whose files have no such bit, it is what it was.
    pub(super) fn with_modes_of(mut self, base: &[FileEntry]) -> Self {
        if !cfg!(unix) {
            let modes: BTreeMap<_, _> = base.iter().map(|file| (&file.path, file.executable)).collect();
            for file in &mut self.entries {
                file.executable = modes.get(&file.path).copied().unwrap_or_default();
            }
        }
        self
    }

    pub(super) fn entries(&self) -> &[FileEntry] {
        &self.entries
    }

    /// The file that stands at `path`.
    pub(super) fn source(&self, path: &EntryPath) -> Option<&SourceFile> {
        self.sources.get(path)
    }

    /// The bytes of a file that is not large.
    pub(super) fn bytes(&self, entry: &FileEntry) -> Result<Vec<u8>, ReadError> {
        let changed = || ReadError::Changed { path: PathBuf::from(entry.path.as_str()) };
        let file = self.sources.get(&entry.path).ok_or_else(changed)?;
        let (mut bytes, open) = (Vec::new(), file.open()?);
        open.take(TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(|source| file.unreadable(source))?;
        if BlobId::of(&bytes) == entry.hash { Ok(bytes) } else { Err(changed()) }
    }
}
