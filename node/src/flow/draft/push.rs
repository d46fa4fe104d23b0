//! A directory as it is now becomes the newest draft.

use std::path::{Path, PathBuf};
use std::time::Duration;

use syncra_protocol::id::PackageId;
use syncra_protocol::message::draft::Draft;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::Reference;

use super::repack::{Cache, Withheld, repack};
use super::{DraftError, Key, speaks};
use crate::clock;
use crate::flow::pack::PackTreeError;
use crate::flow::publish::{self, PublishError};
use crate::flow::walk::{self, ReadError, Selection, WalkError};
use crate::flow::{Parts, checkout, devices, manifest, resolve};

/// How often a directory in which somebody writes is read again, and how long it is left alone between.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(40);

/// What to show.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory.
    pub dir: PathBuf,
    /// The package; else the own one that `syncra.toml` names.
    pub package: Option<Reference>,
    /// What the draft is called.
    pub name: RefName,
    /// Whether anybody may see it, and not only who works on the package.
    pub is_public: bool,
    /// Whether it ends when nobody holds it any more ([`super::Drafts::hold`]).
    pub is_held: bool,
    /// Only look.
    pub dry_run: bool,
}

/// What is shown now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The package.
    pub package: PackageId,
    /// The draft's number.
    pub rev: u64,
    /// Files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Bytes that were not in the store before.
    pub new_bytes: u64,
    /// The files are those of the draft before: nobody is told anything.
    pub unchanged: bool,
    /// Files that are not shown.
    pub withheld: Vec<Withheld>,
}

/// Reads a directory and shows it as the newest draft.
///
/// # Errors
/// [`DraftError`]; then the draft before is still shown.
pub async fn push(parts: &Parts, request: Request) -> Result<Pushed, DraftError> {
    // One after the other: the newest is what was read last.
    let mut caches = parts.drafts.pushing.lock().await;
    let package = writable(parts, &request.dir, request.package.as_ref())?;
    let key = (package, request.name.clone());
    if !request.dry_run {
        parts.drafts.set_under_way(Some(key.clone()));
    }
    let cache = caches.entry(request.dir.clone()).or_default();
    let pushed = push_next(parts, request, key, cache).await;
    parts.drafts.set_under_way(None);
    pushed
}

async fn push_next(parts: &Parts, request: Request, key: Key, cache: &mut Cache) -> Result<Pushed, DraftError> {
    let (package, blobs) = (key.0, parts.blobs().await?);
    let mut attempt = 1;
    let (index, import, withheld) = loop {
        // What was cut before is in the store for as long as a draft that is shown names it.
        let known = cache.content.filter(|content| parts.drafts.holds(*content));
        if known.is_none() {
            *cache = Cache::default();
        }
        let packed = match walked(&request).await {
            Ok(files) => repack(blobs, files, cache).await.map_err(DraftError::from),
            Err(error) => Err(error),
        };
        match packed {
            // It ended before this one's pins held its content: all is read again.
            _ if known.is_some_and(|content| !parts.drafts.holds(content)) => {}
            // Somebody writes at this moment, or a file went between being seen and being read.
            Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            packed => break packed?,
        }
    };
    let before = parts.drafts.newest(&key);
    let declared = index.declared();
    // Numbers go on after a restart: they begin at the clock.
    let rev = before.as_ref().map_or(0, |before| before.rev + 1).max(clock::now().0);
    let unchanged = before.as_ref().is_some_and(|before| before.tree_id == declared.tree_id);
    let rev = if unchanged { before.map_or(rev, |before| before.rev) } else { rev };
    let new_bytes = import.totals().new_bytes;
    cache.content = Some(declared.content_root);
    if unchanged && !request.dry_run {
        parts.drafts.show_same(&key, request.is_public, request.is_held)?;
    } else if !request.dry_run {
        let draft = Draft {
            package,
            name: request.name,
            rev,
            tree_id: declared.tree_id,
            content_root: declared.content_root,
            total_bytes: declared.total_bytes,
            n_files: declared.n_files,
        };
        parts.drafts.show(draft, request.is_public, request.is_held, import)?;
    }
    let (n_files, total_bytes) = (declared.n_files.into(), declared.total_bytes);
    Ok(Pushed { package, rev, n_files, total_bytes, new_bytes, unchanged, withheld })
}

/// The package that a draft of a directory is of, if somebody of this device works on it.
///
/// # Errors
/// [`DraftError::NotAWriter`], [`DraftError::NoPackage`].
pub fn writable(parts: &Parts, dir: &Path, reference: Option<&Reference>) -> Result<PackageId, DraftError> {
    let (package, shown) = named(parts, dir, reference)?;
    match parts.histories.package(package)? {
        Some(history) if speaks(&history.state, &parts.device) => Ok(package),
        Some(history) => {
            devices::ensure_voice(parts, &history.state)?;
            Err(DraftError::NotAWriter(shown))
        }
        None => Err(DraftError::NotAWriter(shown)),
    }
}

/// The package that somebody names, else the one that the directory was checked out from, else the own one that `syncra.toml`
/// names; and how it is called.
///
/// # Errors
/// [`DraftError::NotAWriter`], [`DraftError::NoPackage`].
pub fn named(parts: &Parts, dir: &Path, reference: Option<&Reference>) -> Result<(PackageId, String), DraftError> {
    if let Some(reference) = reference {
        let named = resolve::package(parts, reference).map_err(|_| DraftError::NotAWriter(reference.to_string()))?;
        return Ok((named.history.state.package, named.reference));
    }
    if let Some(base) = checkout::read(dir)? {
        return Ok((base.package, resolve::text(&parts.histories, base.package)?));
    }
    let written = manifest::read(dir)?.ok_or_else(|| DraftError::NoPackage(dir.to_owned()))?;
    let name = written.header.name;
    let history = match publish::own_package(parts, &name) {
        Err(PublishError::Devices(error)) => return Err((*error).into()),
        found => found.ok().flatten(),
    };
    let history = history.ok_or_else(|| DraftError::NotAWriter(name.to_string()))?;
    Ok((history.state.package, name.to_string()))
}

async fn walked(request: &Request) -> Result<Vec<walk::SourceFile>, DraftError> {
    let selection = match manifest::read(&request.dir)? {
        Some(manifest) => Selection {
            include: manifest.files.include.iter().map(ToString::to_string).collect(),
            exclude: manifest.files.exclude.iter().map(ToString::to_string).collect(),
        },
        None => Selection::default(),
    };
    let dir = request.dir.clone();
    let walked = tokio::task::spawn_blocking(move || walk::walk(&dir, &selection)).await;
    Ok(walked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

/// Whether it may be otherwise a moment later.
fn is_passing(error: &DraftError) -> bool {
    matches!(
        error,
        DraftError::Pack(PackTreeError::Read(ReadError::Changed { .. } | ReadError::Unreadable { .. }))
            | DraftError::Walk(WalkError::Unreadable { .. } | WalkError::Empty)
            | DraftError::Manifest(_)
    )
}
