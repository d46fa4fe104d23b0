//! The end of a merge: what is left to somebody, saying that it is solved, taking it all back.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use syncra_protocol::path::EntryPath;

use super::super::checkout::{self, Base, BaseError, Conflict, ConflictKind};
use super::super::lines::TEXT_BYTES;
use super::back::{self, Kept};
use super::{MergeError, apply, text};

/// Bytes of a file that is looked through for markers: three texts of the largest size that is merged by lines.
const MARKED_BYTES: u64 = 4 * TEXT_BYTES;

/// The conflicts of the last merge that nobody has decided yet. Lines are solved when no marker is left, files that lie beside
/// ours when they are gone; of the rest somebody has to say so.
///
/// # Errors
/// [`MergeError`] when a file cannot be read.
pub fn pending(dir: &Path, base: &Base) -> Result<Vec<Conflict>, MergeError> {
    let mut left = Vec::new();
    for conflict in base.unfinished.iter().flat_map(|merge| &merge.conflicts) {
        if is_pending(dir, conflict)? {
            left.push(conflict.clone());
        }
    }
    Ok(left)
}

fn is_pending(dir: &Path, conflict: &Conflict) -> Result<bool, MergeError> {
    match (&conflict.beside, conflict.kind) {
        (Some(beside), _) => exists(dir, beside),
        (None, ConflictKind::Lines) => is_marked(dir, &conflict.path),
        (None, _) => Ok(true),
    }
}

fn exists(dir: &Path, path: &EntryPath) -> Result<bool, MergeError> {
    match fs::symlink_metadata(below(dir, path)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        found => found.map(|_| true).map_err(unreadable(dir, path)),
    }
}

fn is_marked(dir: &Path, path: &EntryPath) -> Result<bool, MergeError> {
    if !exists(dir, path)? {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(below(dir, path)).map_err(unreadable(dir, path))?;
    if !file.metadata().map_err(unreadable(dir, path))?.is_file() {
        return Ok(false);
    }
    file.take(MARKED_BYTES).read_to_end(&mut bytes).map_err(unreadable(dir, path))?;
    Ok(text::has_markers(&String::from_utf8_lossy(&bytes)))
}

fn below(dir: &Path, path: &EntryPath) -> std::path::PathBuf {
    path.parts().fold(dir.to_owned(), |dir, part| dir.join(part))
}

fn unreadable(dir: &Path, path: &EntryPath) -> impl Fn(io::Error) -> MergeError {
    let path = below(dir, path);
    move |source| BaseError::Read { path: path.clone(), source }.into()
}

/// A conflict in words.
pub(super) fn told(conflict: &Conflict) -> String {
    let Conflict { path, kind, beside } = conflict;
    let beside = beside.as_ref().map(|beside| format!("`{beside}`")).unwrap_or_default();
    match kind {
        ConflictKind::Lines => format!("`{path}` has markers"),
        ConflictKind::Bytes => format!("`{path}` was changed by both, theirs is {beside}"),
        ConflictKind::Place if beside.is_empty() => format!("`{path}` cannot stand where they moved it"),
        ConflictKind::Place => format!("their `{path}` cannot stand there, it is {beside}"),
        ConflictKind::RemovedHere => format!("`{path}` was removed here and changed by them, theirs is {beside}"),
        ConflictKind::RemovedThere => format!("`{path}` was changed here and removed by them"),
        ConflictKind::Moved => format!("`{path}` was moved by them to another place"),
    }
}

/// Says that conflicts are solved: those of `paths`, or all. A file that lies beside ours must be gone: it would be published.
/// Lines with markers are taken as they are only if their path is named. Returns what is left.
///
/// # Errors
/// [`MergeError`].
pub fn solve(dir: &Path, paths: &[EntryPath]) -> Result<Vec<Conflict>, MergeError> {
    let no_checkout = || MergeError::NoCheckout(dir.display().to_string());
    let mut base = checkout::read(dir)?.ok_or_else(no_checkout)?;
    let merge = base.unfinished.as_mut().ok_or(MergeError::NoMerge)?;
    if !merge.complete {
        return Err(MergeError::CutOff);
    }
    if let Some(strange) = paths.iter().find(|path| merge.conflicts.iter().all(|conflict| conflict.path != **path)) {
        return Err(MergeError::NoConflict(strange.to_string()));
    }
    let mut left = Vec::new();
    for conflict in merge.conflicts.drain(..) {
        let is_named = paths.contains(&conflict.path);
        let is_meant = paths.is_empty() || is_named;
        let stays = match (&conflict.beside, conflict.kind) {
            (Some(beside), _) => exists(dir, beside)?,
            (None, ConflictKind::Lines) => !is_named && is_marked(dir, &conflict.path)?,
            (None, _) => !is_meant,
        };
        if stays {
            left.push(conflict);
        }
    }
    merge.conflicts = left.clone();
    base.write(dir)?;
    Ok(left)
}

/// Takes the last merge back: files that it wrote, moved or removed are as they were before it. What somebody saved since is
/// kept, and told.
///
/// # Errors
/// [`MergeError`]; calling again goes on.
pub fn abort(dir: &Path) -> Result<(Base, Vec<Kept>), MergeError> {
    let no_checkout = || MergeError::NoCheckout(dir.display().to_string());
    let mut base = checkout::read(dir)?.ok_or_else(no_checkout)?;
    let Some(merge) = &mut base.unfinished else { return Err(MergeError::NoMerge) };
    back::check(dir, &merge.touched)?;
    if merge.complete {
        // From here on there is one way out: a publish or another merge would forget what lies aside.
        merge.complete = false;
        base.write(dir)?;
    }
    let merge = base.unfinished.take().ok_or(MergeError::NoMerge)?;
    let kept = back::restore(dir, &merge.touched, |_| true)?;
    (base.release, base.merged) = (merge.release, merge.merged);
    base.write(dir)?;
    apply::forget(dir)?;
    Ok((base, kept))
}

/// A publish has gone out: the directory is based on it, and nothing is to be taken back any more.
///
/// # Errors
/// [`MergeError`].
pub fn finish(dir: &Path, base: &Base) -> Result<(), MergeError> {
    base.write(dir)?;
    apply::forget(dir)
}
