//! Writing a merge into the directory.
//!
//! First every file that will be written over, moved or removed is copied, and every new file made, in `.syncra/merge`; then it
//! is noted what is under way; only then files change, each by a rename. Cut off before the note, nothing has changed; after
//! it, `merge --abort` gives back what was there.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use syncra_protocol::id::BlobId;
use syncra_protocol::path::{EntryPath, part_key};
use syncra_protocol::tree::FileEntry;
use syncra_protocol::tree::merge::Merged;

use super::super::checkout::{Base, STATE_DIR, Touched};
use super::super::peek::{Peek, PeekError};
use super::super::walk::ReadError;
use super::{MergeError, Plan, Planned, taken};

/// A file to be put in place.
struct New {
    number: u32,
    path: EntryPath,
}

/// Does what was planned. The directory then is based on both, and a publish from it has both as parents.
///
/// # Errors
/// [`MergeError`]; before anything has changed, unless the system refuses a rename half-way.
pub async fn apply(peek: &Peek<'_>, dir: &Path, mut plan: Plan) -> Result<Base, MergeError> {
    let (true, Some(theirs)) = (!plan.already, plan.theirs.take()) else { return Ok(plan.base) };
    peek.bring(&theirs, taken(&plan.files)).await?;
    let root = open(dir)?;
    check_free(&root, &plan)?;
    let (store, mut touched, mut new) = (Store::create(&root)?, Vec::new(), Vec::new());
    for file in &plan.files {
        touched.extend(store.keep(&plan, file, touched.len())?);
    }
    for file in &plan.files {
        let Some(path) = written(file) else { continue };
        let number = u32::try_from(new.len()).expect("a merge has fewer files than that");
        let mut out = store.create_new(number, file.outcome.executable)?;
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(failed(path));
        match (&file.bytes, file.outcome.merged, &file.outcome.theirs) {
            (Some(bytes), _, _) => write(bytes)?,
            (None, Merged::Ours, _) => copy_ours(&plan, file, &mut write)?,
            (None, _, Some(their_file)) => {
                let wrong = || PeekError::WrongFile { path: their_file.path.clone() };
                let placed = theirs.index.find(&their_file.path).ok_or_else(wrong)?;
                peek.copy(&theirs, placed, &mut write).await?;
            }
            (None, _, None) => {}
        }
        out.sync_all().map_err(failed(path))?;
        new.push(New { number, path: path.clone() });
        if touched.iter().all(|known: &Touched| known.path != *path) {
            touched.push(Touched { path: path.clone(), copy: None, executable: false });
        }
    }
    let mut base = plan.base;
    if let Some(unfinished) = &mut base.unfinished {
        unfinished.touched = touched;
    }
    base.write(dir)?;
    let gone: Vec<EntryPath> = plan.files.iter().filter_map(removed).cloned().collect();
    for path in &gone {
        remove(&root, path)?;
    }
    for New { number, path } in new {
        put(&root, &new_name(number), &path)?;
    }
    if let Some(unfinished) = &mut base.unfinished {
        unfinished.complete = true;
    }
    base.write(dir)?;
    Ok(base)
}

/// The path at which a merge writes a file, if it writes one.
fn written(file: &Planned) -> Option<&EntryPath> {
    let outcome = &file.outcome;
    let is_as_it_was = outcome.ours.as_ref().is_some_and(|ours| {
        ours.path == outcome.path && ours.executable == outcome.executable && outcome.merged == Merged::Ours
    });
    match outcome.merged {
        Merged::Removed => None,
        _ if is_as_it_was => None,
        _ => file.beside().or(Some(&outcome.path)),
    }
}

/// The path of ours from which a file goes.
fn removed(file: &Planned) -> Option<&EntryPath> {
    let ours = file.outcome.ours.as_ref()?;
    (file.outcome.merged == Merged::Removed || ours.path != file.outcome.path).then_some(&ours.path)
}

/// Nothing that the package does not know of may be written over or through.
fn check_free(root: &Dir, plan: &Plan) -> Result<(), MergeError> {
    let gone: BTreeSet<String> = plan.files.iter().filter_map(removed).map(|path| folded(path.as_str())).collect();
    for path in plan.files.iter().filter_map(written) {
        let mut end = 0;
        for part in path.parts() {
            end += part.len() + usize::from(end > 0);
            let (above, is_file) = (&path.as_str()[..end], end == path.as_str().len());
            let found = match root.symlink_metadata(above) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => break,
                found => found.map_err(failed(path))?,
            };
            // A directory of which all files go is gone too; that is seen when it is not.
            let makes_way = gone.contains(&folded(above)) || is_file && found.is_dir() && is_emptied(&gone, above);
            let is_ours = is_file && plan.work.source(path).is_some() && found.is_file();
            if !(makes_way || is_ours || !is_file && found.is_dir()) {
                return Err(MergeError::InTheWay(above.to_owned()));
            }
        }
    }
    Ok(())
}

fn is_emptied(gone: &BTreeSet<String>, dir: &str) -> bool {
    let below = format!("{}/", folded(dir));
    gone.range(below.clone()..).next().is_some_and(|path| path.starts_with(&below))
}

/// A path as the file system with the fewest names sees it.
fn folded(path: &str) -> String {
    path.split('/').map(part_key).collect::<Vec<_>>().join("/")
}

fn copy_ours(
    plan: &Plan,
    file: &Planned,
    write: &mut impl FnMut(&[u8]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    match &file.outcome.ours {
        Some(ours) => read_ours(plan, ours, write),
        None => Ok(()),
    }
}

/// Reads a file of the directory, which must be what was planned with.
fn read_ours(
    plan: &Plan,
    ours: &FileEntry,
    write: &mut impl FnMut(&[u8]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let changed = || ReadError::Changed { path: PathBuf::from(ours.path.as_str()) };
    let source = plan.work.source(&ours.path).ok_or_else(changed)?;
    let mut open = source.open()?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 16]);
    loop {
        let n = open.read(&mut buffer).map_err(|error| source.unreadable(error))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        write(&buffer[..n])?;
    }
    match BlobId::from_bytes(*hasher.finalize().as_bytes()) == ours.hash {
        true => Ok(()),
        false => Err(changed().into()),
    }
}

/// `.syncra/merge`: what was there before, and what will be there.
struct Store<'a> {
    root: &'a Dir,
}

const STORE: &str = "merge";

fn old_name(number: u32) -> PathBuf {
    Path::new(STATE_DIR).join(STORE).join(format!("old-{number}"))
}

fn new_name(number: u32) -> PathBuf {
    Path::new(STATE_DIR).join(STORE).join(format!("new-{number}"))
}

impl<'a> Store<'a> {
    /// An empty one: what an earlier merge left goes.
    fn create(root: &'a Dir) -> Result<Self, MergeError> {
        clear(root)?;
        let at = Path::new(STATE_DIR).join(STORE);
        root.create_dir_all(&at).map_err(|source| MergeError::Write { path: at.display().to_string(), source })?;
        Ok(Self { root })
    }

    fn create_new(&self, number: u32, executable: bool) -> Result<cap_std::fs::File, MergeError> {
        create(self.root, &new_name(number), executable)
    }

    /// Copies a file of ours that changes or goes.
    fn keep(&self, plan: &Plan, file: &Planned, n_kept: usize) -> Result<Option<Touched>, MergeError> {
        let Some(ours) = &file.outcome.ours else { return Ok(None) };
        let is_touched = removed(file).is_some() || written(file) == Some(&ours.path);
        if !is_touched {
            return Ok(None);
        }
        let number = u32::try_from(n_kept).expect("a merge has fewer files than that");
        let mut out = create(self.root, &old_name(number), ours.executable)?;
        read_ours(plan, ours, &mut |bytes| out.write_all(bytes).map_err(failed(&ours.path)))?;
        out.sync_all().map_err(failed(&ours.path))?;
        Ok(Some(Touched { path: ours.path.clone(), copy: Some(number), executable: ours.executable }))
    }
}

fn create(root: &Dir, path: &Path, executable: bool) -> Result<cap_std::fs::File, MergeError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    super::super::unpack::set_mode(&mut options, executable);
    root.open_with(path, &options).map_err(|source| MergeError::Write { path: path.display().to_string(), source })
}

/// Gives back what was there before a merge.
pub(super) fn restore(dir: &Path, touched: &[Touched]) -> Result<(), MergeError> {
    let root = open(dir)?;
    for Touched { path, .. } in touched.iter().filter(|file| file.copy.is_none()) {
        remove(&root, path)?;
    }
    for Touched { path, copy, .. } in touched {
        let Some(copy) = copy.map(old_name) else { continue };
        match root.symlink_metadata(&copy) {
            // Given back before the call was cut off.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(MergeError::Write { path: path.to_string(), source }),
            Ok(_) => put(&root, &copy, path)?,
        }
    }
    Ok(())
}

/// Removes what is kept for taking a merge back.
pub(super) fn forget(dir: &Path) -> Result<(), MergeError> {
    clear(&open(dir)?)
}

fn clear(root: &Dir) -> Result<(), MergeError> {
    let at = Path::new(STATE_DIR).join(STORE);
    match root.remove_dir_all(&at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|source| MergeError::Write { path: at.display().to_string(), source }),
    }
}

/// The directory as a place that nothing written below it can leave, whatever links lie in it.
fn open(dir: &Path) -> Result<Dir, MergeError> {
    let failed = |source| MergeError::Write { path: dir.display().to_string(), source };
    Dir::open_ambient_dir(dir, ambient_authority()).map_err(failed)
}

fn put(root: &Dir, from: &Path, path: &EntryPath) -> Result<(), MergeError> {
    if let Some(parent) = path.parent() {
        root.create_dir_all(parent).map_err(failed(path))?;
    }
    root.rename(from, root, path.as_str()).map_err(failed(path))
}

/// Removes a file, and directories above it that are empty then.
fn remove(root: &Dir, path: &EntryPath) -> Result<(), MergeError> {
    match root.remove_file(path.as_str()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        done => done.map_err(failed(path))?,
    }
    let mut parent = path.parent();
    while let Some(dir) = parent {
        if root.remove_dir(dir).is_err() {
            break;
        }
        parent = dir.rsplit_once('/').map(|(above, _)| above);
    }
    Ok(())
}

fn failed(path: &EntryPath) -> impl Fn(io::Error) -> MergeError {
    let path = path.to_string();
    move |source| MergeError::Write { path: path.clone(), source }
}
