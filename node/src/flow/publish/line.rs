//! Which directory own releases were published from: what came from elsewhere meanwhile does not go unnoticed.
//!
//! A checkout says itself what it is based on. A plain directory says nothing, and nothing is written into it; so the home
//! remembers. What it forgot, or never knew, is warned about: too much, never too little.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syncra_protocol::id::{BlobId, PackageId, ReleaseId};
use syncra_protocol::manifest::MANIFEST_FILE;
use syncra_protocol::tree::ContentIndex;
use syncra_protocol::version::Version;

use super::super::checkout::{self, Place};
use super::super::pack::PackTreeError;
use super::super::walk::SourceFile;
use super::super::{Parts, release};
use super::{Plan, PublishError, package_of};
use crate::durable;
use crate::history::History;

/// Directories that are remembered: of more the one longest not published from is forgotten.
const DIRS: usize = 256;
/// Releases remembered of each, the newest: on other branches and channels they may be the last.
const RELEASES: usize = 16;

/// A release that the next one follows, though the directory is not known to have anything of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwritten {
    /// What points to it.
    pub place: Place,
    /// Its version.
    pub version: Version,
    /// How many of its files would go, and how many would be others; none if they are not here to compare.
    pub files: Option<(usize, usize)>,
}

impl fmt::Display for Overwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, version, files } = self;
        write!(f, "{place} is at {version}, which is not known to come from this directory: ")?;
        match files {
            Some((n_gone, n_other)) => write!(f, "of its files {n_gone} are not in it and {n_other} differ")?,
            None => f.write_str("its files are not here to compare")?,
        }
        f.write_str("; `syncra checkout` gets it, and `syncra merge` brings both together")
    }
}

/// One directory that a package was published from.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    package: String,
    dir: PathBuf,
    /// The newest last.
    releases: Vec<String>,
}

/// What the release would leave out or undo that did not come from this directory. Manifests are not compared: each has a
/// version of its own.
///
/// # Errors
/// [`PublishError`].
pub async fn overwritten(parts: &Parts, plan: &Plan) -> Result<Vec<Overwritten>, PublishError> {
    if plan.base.is_some() {
        return Ok(Vec::new());
    }
    let Some(history) = package_of(parts, plan)? else { return Ok(Vec::new()) };
    let (path, dir, package) = (parts.layout().published(), canonical(&plan.dir), history.state.package);
    let lines = read(&path);
    let line = lines.iter().find(|line| line.dir == dir && line.package == package.to_string());
    let known: Vec<ReleaseId> =
        line.into_iter().flat_map(|line| &line.releases).filter_map(|id| id.parse().ok()).collect();
    let place = plan.place();
    let unseen = checkout::unseen(parts, &history.state, &place, &known)?;
    if unseen.is_empty() {
        return Ok(Vec::new());
    }
    let last = match known.last() {
        Some(last) => content(parts, &history, *last).await?,
        None => None,
    };
    let was: BTreeMap<String, BlobId> = last.iter().flat_map(ContentIndex::files).map(of_file).collect();
    let mut found = Vec::new();
    for tip in unseen {
        let Some(published) = history.state.releases.get(&tip) else { continue };
        let version = published.release.version.clone();
        let files = match content(parts, &history, tip).await? {
            Some(index) => Some(differing(&plan.files, &index, &was).await?),
            None => None,
        };
        if files != Some((0, 0)) {
            found.push(Overwritten { place: place.clone(), version, files });
        }
    }
    Ok(found)
}

/// What a release has, if it is held.
async fn content(parts: &Parts, history: &History, id: ReleaseId) -> Result<Option<ContentIndex>, PublishError> {
    let Some(published) = history.state.releases.get(&id) else { return Ok(None) };
    // What is damaged or not here cannot be compared, and `verify` has more to say about it.
    Ok(release::verified_content(parts.blobs().await?, &published.release).await.ok())
}

fn of_file(file: &syncra_protocol::tree::content::PlacedFile) -> (String, BlobId) {
    (file.entry.path.to_string(), file.entry.hash)
}

/// How many files of `theirs` are absent in the directory, and how many differ; those that are as they were when the
/// directory was published last were changed here.
async fn differing(
    mine: &[SourceFile],
    theirs: &ContentIndex,
    was: &BTreeMap<String, BlobId>,
) -> Result<(usize, usize), PublishError> {
    let mine: BTreeMap<String, SourceFile> = mine.iter().map(|file| (file.path.to_string(), file.clone())).collect();
    let theirs = theirs.files().iter().map(|file| (of_file(file), file.entry.size));
    let theirs = theirs.filter(|((path, hash), _)| path != MANIFEST_FILE && was.get(path) != Some(hash));
    let theirs: Vec<_> = theirs.collect();
    let compare = move || {
        let (mut n_gone, mut n_other) = (0, 0);
        for ((path, hash), size) in theirs {
            match mine.get(&path) {
                None => n_gone += 1,
                Some(file) if file.size == size && hash_of(file)? == hash => {}
                Some(_) => n_other += 1,
            }
        }
        Ok((n_gone, n_other))
    };
    let compared = tokio::task::spawn_blocking(compare).await;
    Ok(compared.map_err(|_| PublishError::Interrupted)?.map_err(PackTreeError::Read)?)
}

fn hash_of(file: &SourceFile) -> Result<BlobId, super::super::walk::ReadError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.open()?).map_err(|source| file.unreadable(source))?;
    Ok(BlobId::from_bytes(*hasher.finalize().as_bytes()))
}

/// Remembers that a release was published from the directory. A home that cannot is warned more later on.
pub async fn remember(parts: &Parts, dir: &Path, package: PackageId, release: ReleaseId) {
    let _turn = parts.publishing.lock().await;
    let (path, dir) = (parts.layout().published(), canonical(dir));
    let (package, release) = (package.to_string(), release.to_string());
    let remember = move || {
        let mut lines = read(&path);
        let known = lines.iter().position(|line| line.dir == dir && line.package == package);
        let mut line = match known {
            Some(n) => lines.remove(n),
            None => Line { package, dir, releases: Vec::new() },
        };
        line.releases.retain(|known| *known != release);
        line.releases.push(release);
        line.releases.drain(..line.releases.len().saturating_sub(RELEASES));
        lines.push(line);
        lines.drain(..lines.len().saturating_sub(DIRS));
        let bytes = serde_json::to_vec_pretty(&lines).map_err(std::io::Error::from);
        let written = bytes.map_err(|error| error.to_string());
        let written = written.and_then(|bytes| durable::replace(&path, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!(%error, "where a release came from is not remembered");
        }
    };
    drop(tokio::task::spawn_blocking(remember).await);
}

fn read(path: &Path) -> Vec<Line> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "where releases came from cannot be read");
            Vec::new()
        }),
        Err(_) => Vec::new(),
    }
}

/// The directory by the name that it has however it is named.
fn canonical(dir: &Path) -> PathBuf {
    fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned())
}
