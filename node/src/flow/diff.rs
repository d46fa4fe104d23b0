//! What changed between two releases, or between a release and a directory that is worked in.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use syncra_protocol::id::BlobId;
use syncra_protocol::manifest::{ManifestChanges, ResolvedManifest};
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::FileEntry;
use syncra_protocol::tree::diff::{self, Change};

pub use super::lines::Hunk;
use super::lines::{self, TEXT_BYTES};
use super::peek::{Described, Peek, PeekError};
use super::publish::{Plan, PublishError};
use super::walk::{self, ReadError, SourceFile};

/// Bytes of all texts of one comparison: what is held in memory, and about what an answer may have. Beyond, files are told by
/// size and hash only.
const ALL_TEXT_BYTES: u64 = 32 << 20;

/// One of the two that are compared.
#[derive(Debug)]
pub enum Side {
    /// Before the first release there was nothing.
    Nothing,
    /// A release.
    Release(Box<Described>),
    /// A directory.
    Directory(Box<Directory>),
}

/// A directory as it would be published now.
#[derive(Debug)]
pub struct Directory {
    entries: Vec<FileEntry>,
    sources: BTreeMap<String, SourceFile>,
    manifest: ResolvedManifest,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In the manifest.
    pub manifest: ManifestChanges,
    /// In the files, in tree order.
    pub files: Vec<FileDifference>,
}

/// One file that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDifference {
    /// In the older tree.
    pub old: Option<FileEntry>,
    /// In the newer tree.
    pub new: Option<FileEntry>,
    /// What is told of its bytes.
    pub content: Content,
}

/// What is told of the bytes of a file that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// They are the same: path or mode changed.
    Same,
    /// Nobody asked.
    Unread,
    /// Text: its lines.
    Text {
        /// Those that differ.
        hunks: Vec<Hunk>,
        /// Lines that came.
        n_added: u32,
        /// Lines that went.
        n_removed: u32,
    },
    /// No text.
    Binary,
    /// Too large to be compared by lines.
    TooLarge,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A release.
    #[error(transparent)]
    Peek(#[from] PeekError),
    /// The directory's manifest or files.
    #[error(transparent)]
    Directory(#[from] PublishError),
    /// A file of the directory.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Directory {
    /// Reads and hashes all files of a planned publish. Waits for the disk.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn read(plan: &Plan) -> Result<Self, DiffError> {
        let manifest = plan.manifest.resolve(&plan.dependencies).map_err(PublishError::from)?;
        let entries = walk::hashed(&plan.files)?;
        let sources = plan.files.iter().map(|file| (file.path.as_str().to_owned(), file.clone())).collect();
        Ok(Self { entries, sources, manifest })
    }

    fn bytes(&self, entry: &FileEntry) -> Result<Vec<u8>, ReadError> {
        let changed = || ReadError::Changed { path: PathBuf::from(entry.path.as_str()) };
        let file = self.sources.get(entry.path.as_str()).ok_or_else(changed)?;
        let (mut bytes, open) = (Vec::new(), file.open()?);
        open.take(TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(|source| file.unreadable(source))?;
        if BlobId::of(&bytes) == entry.hash { Ok(bytes) } else { Err(changed()) }
    }
}

impl Side {
    fn entries(&self) -> Vec<&FileEntry> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Release(described) => described.index.files().iter().map(|file| &file.entry).collect(),
            Self::Directory(directory) => directory.entries.iter().collect(),
        }
    }

    fn manifest(&self) -> Option<&ResolvedManifest> {
        match self {
            Self::Nothing => None,
            Self::Release(described) => Some(&described.manifest),
            Self::Directory(directory) => Some(&directory.manifest),
        }
    }

    async fn bring(&self, peek: &Peek<'_>, files: Vec<BlobId>) -> Result<(), PeekError> {
        match self {
            Self::Release(described) => peek.bring(described, files.into_iter()).await,
            Self::Nothing | Self::Directory(_) => Ok(()),
        }
    }

    async fn bytes(&self, peek: &Peek<'_>, entry: &FileEntry) -> Result<Vec<u8>, DiffError> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Release(described) => match described.index.find(&entry.path) {
                Some(file) => Ok(peek.read(described, file).await?),
                None => Err(PeekError::WrongFile { path: entry.path.clone() }.into()),
            },
            Self::Directory(directory) => Ok(directory.bytes(entry)?),
        }
    }
}

/// Compares two sides: their manifests and files, and with `reads_texts` the lines of texts, for which the bytes of the files
/// that differ have to be here.
///
/// # Errors
/// [`DiffError`].
pub async fn compare(peek: &Peek<'_>, old: &Side, new: &Side, reads_texts: bool) -> Result<Difference, DiffError> {
    let manifest = new.manifest().map(|new| ManifestChanges::between(old.manifest(), new)).unwrap_or_default();
    let (old_entries, new_entries) = (old.entries(), new.entries());
    let changes = diff::diff(old_entries, new_entries);
    let mut left = ALL_TEXT_BYTES;
    let plans: Vec<Read> = changes.iter().map(|change| Read::plan(change, reads_texts, &mut left)).collect();
    let read = || changes.iter().zip(&plans).filter(|(_, plan)| **plan == Read::Lines).map(|(change, _)| change);
    old.bring(peek, read().filter_map(Change::before).map(|file| file.hash).collect()).await?;
    new.bring(peek, read().filter_map(Change::after).map(|file| file.hash).collect()).await?;
    let mut files = Vec::with_capacity(changes.len());
    for (change, plan) in changes.iter().zip(plans) {
        let content = match plan {
            Read::Not(content) => content,
            Read::Lines => {
                let before = bytes(peek, old, change.before()).await?;
                let after = bytes(peek, new, change.after()).await?;
                by_lines(before, after).await
            }
        };
        files.push(FileDifference { old: change.before().cloned(), new: change.after().cloned(), content });
    }
    Ok(Difference { manifest, files })
}

/// Whether the bytes of a changed file are read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Not(Content),
    Lines,
}

impl Read {
    fn plan(change: &Change<'_>, reads_texts: bool, left: &mut u64) -> Self {
        if !change.has_new_bytes() {
            return Self::Not(Content::Same);
        }
        if !reads_texts {
            return Self::Not(Content::Unread);
        }
        let sizes = [change.before(), change.after()].map(|file| file.map_or(0, |file| file.size));
        let all = sizes[0].saturating_add(sizes[1]);
        if sizes.iter().any(|size| *size > TEXT_BYTES) || all > *left {
            return Self::Not(Content::TooLarge);
        }
        *left -= all;
        Self::Lines
    }
}

async fn bytes(peek: &Peek<'_>, side: &Side, file: Option<&FileEntry>) -> Result<Vec<u8>, DiffError> {
    match file {
        Some(file) => side.bytes(peek, file).await,
        None => Ok(Vec::new()),
    }
}

async fn by_lines(old: Vec<u8>, new: Vec<u8>) -> Content {
    let compared = tokio::task::spawn_blocking(move || match (lines::text(&old), lines::text(&new)) {
        (Some(old), Some(new)) if !(lines::is_comparable(old) && lines::is_comparable(new)) => Content::TooLarge,
        (Some(old), Some(new)) => {
            let (hunks, n_added, n_removed) = lines::hunks(old, new);
            Content::Text { hunks, n_added, n_removed }
        }
        _ => Content::Binary,
    });
    compared.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The path of a file that changed: the newer one, if there is one.
#[must_use]
pub fn path_of(file: &FileDifference) -> Option<&EntryPath> {
    file.new.as_ref().or(file.old.as_ref()).map(|file| &file.path)
}
