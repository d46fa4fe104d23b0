//! Looking into a release without having all of it: what describes it, and the files that are asked for.
//!
//! What is not here comes from peers like any content, as far as it is needed: the directories, then the segments in which
//! the wanted files lie. What came stays until it is collected.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;
use syncra_protocol::manifest::ResolvedManifest;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::ContentIndex;
use syncra_protocol::tree::content::PlacedFile;

use super::release::{self, ReleaseError};
use super::{Parts, content, redact, seek};
use crate::blobs::{self, BlobError, Blobs, Pins};
use crate::history::LoadError;
use crate::node::Online;
use crate::progress::Progress;
use crate::sync::fetch::{self, FetchError, Landing, Terms, Want};

/// What every prose blob begins with: random bytes, so that its id gives nothing away once it is forgotten.
const RANDOM_BYTES: usize = 16;

/// A release as far as it is described.
#[derive(Debug, Clone)]
pub struct Described {
    /// What its entry says.
    pub release: Release,
    /// Its files and where they are.
    pub index: ContentIndex,
    /// Its manifest.
    pub manifest: ResolvedManifest,
}

/// Why something of a release cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum PeekError {
    /// Some of it is not here, and nobody is asked.
    #[error("parts of version {version} are not held here")]
    NotHeld {
        /// The version.
        version: String,
    },
    /// What is here is not what it should be.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A file is not what its author declared.
    #[error("the file `{path}` is not the one that was declared")]
    WrongFile {
        /// The file.
        path: EntryPath,
    },
    /// Fetching from peers.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The blob store does not open.
    #[error(transparent)]
    Open(#[from] blobs::OpenError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<BlobError> for PeekError {
    fn from(error: BlobError) -> Self {
        Self::Release(error.into())
    }
}

/// Looks into releases. What it finds or fetches is kept as long as it lives.
#[derive(Debug)]
pub struct Peek<'a> {
    parts: &'a Parts,
    blobs: &'a Blobs,
    /// Who to ask; none: only what is here.
    online: Option<&'a Online>,
    pins: Pins,
    patience: Duration,
    progress: &'a Progress,
    fetched_bytes: AtomicU64,
}

impl<'a> Peek<'a> {
    /// Over what is here and, unless `offline`, what peers have.
    ///
    /// # Errors
    /// [`blobs::OpenError`].
    pub async fn new(
        parts: &'a Parts,
        offline: bool,
        patience: Duration,
        progress: &'a Progress,
    ) -> Result<Self, blobs::OpenError> {
        let blobs = parts.blobs().await?;
        let online = parts.online().filter(|_| !offline);
        let fetched_bytes = AtomicU64::new(0);
        Ok(Self { parts, blobs, online, pins: blobs.pins(), patience, progress, fetched_bytes })
    }

    /// Bytes that came from peers so far.
    #[must_use]
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    /// The directories and the manifest of a release.
    ///
    /// # Errors
    /// [`PeekError`].
    pub async fn describe(&self, release: &Release) -> Result<Described, PeekError> {
        redact::ensure_given(&self.parts.histories, release.content_root.into()).map_err(FetchError::from)?;
        match self.described(release).await {
            Err(ReleaseError::Blob(BlobError::Missing(_))) => {}
            found => return Ok(found?),
        }
        self.fetch(release, HashSet::new()).await?;
        Ok(self.described(release).await?)
    }

    /// Makes the bytes of these files of a release local.
    ///
    /// # Errors
    /// [`PeekError`].
    pub async fn bring(&self, of: &Described, files: impl Iterator<Item = BlobId>) -> Result<(), PeekError> {
        let wanted: HashSet<BlobId> = files.collect();
        let placed = of.index.files().iter().filter(|file| wanted.contains(&file.entry.hash));
        let parts = placed.flat_map(|file| of.index.parts(file));
        let segments: HashSet<BlobId> = parts.map(|part| of.index.segments()[part.segment as usize].hash).collect();
        for segment in segments {
            if !self.blobs.has(segment).await? {
                return self.fetch(&of.release, wanted).await;
            }
        }
        Ok(())
    }

    /// The bytes of a file that was brought, checked against its hash.
    ///
    /// # Errors
    /// [`PeekError`].
    pub async fn read(&self, of: &Described, file: &PlacedFile) -> Result<Vec<u8>, PeekError> {
        let mut bytes = Vec::new();
        for part in of.index.parts(file) {
            let segment = of.index.segments()[part.segment as usize].hash;
            bytes.extend_from_slice(&self.blobs.read_at(segment, part.offset.into(), part.len.into()).await?);
        }
        match BlobId::of(&bytes) == file.entry.hash {
            true => Ok(bytes),
            false => Err(PeekError::WrongFile { path: file.entry.path.clone() }),
        }
    }

    /// Writes the bytes of a file that was brought, part by part, checked against its hash at the end.
    ///
    /// # Errors
    /// [`PeekError`], and what `write` says.
    pub async fn copy<E: From<PeekError>>(
        &self,
        of: &Described,
        file: &PlacedFile,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hasher = blake3::Hasher::new();
        for part in of.index.parts(file) {
            let segment = of.index.segments()[part.segment as usize].hash;
            let bytes = self.blobs.read_at(segment, part.offset.into(), part.len.into()).await;
            let bytes = bytes.map_err(PeekError::from)?;
            hasher.update(&bytes);
            write(&bytes)?;
        }
        match BlobId::from_bytes(*hasher.finalize().as_bytes()) == file.entry.hash {
            true => Ok(()),
            false => Err(PeekError::WrongFile { path: file.entry.path.clone() }.into()),
        }
    }

    /// The text of a release's note; none if it has none, or nobody has it any more: prose may be forgotten.
    ///
    /// # Errors
    /// [`PeekError`].
    pub async fn note(&self, release: &Release) -> Result<Option<String>, PeekError> {
        let Some(note) = release.note else { return Ok(None) };
        if redact::ensure_given(&self.parts.histories, note).is_err() {
            return Ok(None);
        }
        self.pins.add(note).await;
        if let (false, Some(online)) = (self.blobs.has(note).await?, self.online) {
            let want = Want { beside: vec![note], ..Want::of(release, Vec::new()) };
            match fetch::beside(self.parts, &online.net, &want, &self.pins, self.patience).await {
                Ok(cost) => drop(self.fetched_bytes.fetch_add(cost.fetched_bytes, Ordering::Relaxed)),
                Err(FetchError::NoProvider { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.blobs.has(note).await? {
            return Ok(None);
        }
        let bytes = self.blobs.read(note, limits::PROSE_BYTES as u64).await?;
        Ok(bytes.get(RANDOM_BYTES..).and_then(|text| String::from_utf8(text.to_vec()).ok()))
    }

    async fn described(&self, release: &Release) -> Result<Described, ReleaseError> {
        let root = BlobId::from(release.content_root);
        // Pinned before looked at, so that nothing found here goes meanwhile.
        self.pins.add_all([root, release.manifest]).await;
        if self.blobs.has(root).await? {
            self.pins.add_all(self.blobs.children(root).await?).await;
        }
        let manifest = release::manifest(self.blobs, release).await?;
        let index = release::verified_content(self.blobs, release).await?;
        Ok(Described { release: release.clone(), index, manifest })
    }

    async fn fetch(&self, release: &Release, only: HashSet<BlobId>) -> Result<(), PeekError> {
        let Some(online) = self.online else {
            return Err(PeekError::NotHeld { version: release.version.to_string() });
        };
        let (key, older) = content::context(self.parts, release.content_root)?;
        let beside = vec![release.manifest];
        let want = Want { beside, only: Some(only), ..Want::of(release, older) };
        let (pins, patience, progress) = (&self.pins, self.patience, self.progress);
        let terms = Terms { pins, patience, progress, landing: &Landing::unheard() };
        let cost = Box::pin(seek::content(self.parts, &online.net, &want, key, terms)).await?;
        self.fetched_bytes.fetch_add(cost.fetched_bytes, Ordering::Relaxed);
        Ok(())
    }
}
