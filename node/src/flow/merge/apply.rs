//! Writing a merge into the directory.
//!
//! First every file that will be written over, moved or removed is copied, and every new file made, in `.syncra/merge`; then it
//! is noted what is under way; only then files change, each by a rename. Cut off before the note, nothing has changed, and
//! the copies of the merge before, by which that one can be taken back, are still there; after it, `merge --abort` gives back
//! what was there. A file that somebody saves meanwhile stays as it is: the merge takes itself back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use syncra_protocol::id::BlobId;
use syncra_protocol::path::{EntryPath, part_key};
use syncra_protocol::tree::FileEntry;
use syncra_protocol::tree::merge::Merged;

use super::super::checkout::{Base, BaseError, Left, STATE_DIR, Touched};
use super::super::peek::{Peek, PeekError};
use super::super::walk::ReadError;
use super::back::restore;
use super::work::Work;
use super::{MergeError, Plan, Planned, base_of, taken};
use crate::durable;

/// A file to be put in place.
struct New {
    number: u32,
    path: EntryPath,
}

/// What is to be done with the directory, all bytes of it being in the store.
struct Change {
    gone: Vec<EntryPath>,
    new: Vec<New>,
    touched: Vec<Touched>,
}

/// Does what was planned. The directory then is based on both, and a publish from it has both as parents.
///
/// # Errors
/// [`MergeError`]; everything is as it was then, unless the system refuses to give it back too.
pub async fn apply(peek: &Peek<'_>, dir: &Path, mut plan: Plan) -> Result<Base, MergeError> {
    let (true, Some(theirs)) = (!plan.already, plan.theirs.take()) else { return Ok(plan.base) };
    peek.bring(&theirs, taken(&plan.files)).await?;
    let root = open(dir)?;
    check_free(&root, &plan)?;
    let before = base_of(dir)?;
    let (mut store, mut new) = (Store::create(&root, &before)?, Vec::new());
    let mut touched: BTreeMap<EntryPath, Touched> = BTreeMap::new();
    for file in &plan.files {
        touched.extend(store.keep(&plan, file)?.map(|kept| (kept.path.clone(), kept)));
    }
    for file in &plan.files {
        let Some(path) = written(file) else { continue };
        let number = u32::try_from(new.len()).expect("a merge has fewer files than that");
        let mut out = store.create_new(number, file.outcome.executable)?;
        let mut hasher = blake3::Hasher::new();
        let mut write = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes).map_err(failed(path))
        };
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
        let made = || Touched { path: path.clone(), copy: None, executable: false, left: None };
        let hash = BlobId::from_bytes(*hasher.finalize().as_bytes());
        touched.entry(path.clone()).or_insert_with(made).left = Some(Left::File(hash));
    }
    // Bringing and copying took its time: what somebody saved meanwhile is not what was merged.
    check_free(&root, &plan)?;
    let gone = plan.files.iter().filter_map(removed).cloned().collect();
    let change = Change { gone, new, touched: touched.into_values().collect() };
    let base = carry_out(dir, &root, &plan.work, (&before, plan.base), change)?;
    // Now only this one can be taken back. What cannot be removed takes space until the next.
    drop(store.tidy(&base));
    Ok(base)
}

/// Notes what is under way, then does it. `bases` are those before and after.
fn carry_out(
    dir: &Path,
    root: &Dir,
    work: &Work,
    (before, mut base): (&Base, Base),
    change: Change,
) -> Result<Base, MergeError> {
    for Touched { path, copy, .. } in &change.touched {
        match copy {
            Some(_) => check_same(root, work, path)?,
            None => check_absent(root, path, &change.gone)?,
        }
    }
    if let Some(unfinished) = &mut base.unfinished {
        unfinished.touched.clone_from(&change.touched);
    }
    // The note must not outlive what it names.
    sync(&dir.join(STATE_DIR).join(STORE))?;
    sync(&dir.join(STATE_DIR))?;
    base.write(dir)?;
    let mut done = BTreeSet::new();
    if let Err(error) = put_all(root, work, &change, &mut done).and_then(|()| sync_changed(dir, &change.touched)) {
        // Only what was changed is given back: the file of somebody who was faster holds what nobody else has.
        if restore(dir, &change.touched, |path| done.contains(path)).is_ok() {
            // Else the note stays, and `merge --abort` goes on.
            drop(before.write(dir));
        }
        return Err(error);
    }
    if let Some(unfinished) = &mut base.unfinished {
        unfinished.complete = true;
    }
    base.write(dir)?;
    Ok(base)
}

/// Removes and renames. `done` are the paths that are no more what they were.
fn put_all(root: &Dir, work: &Work, change: &Change, done: &mut BTreeSet<EntryPath>) -> Result<(), MergeError> {
    let gone: BTreeSet<&EntryPath> = change.gone.iter().collect();
    for path in &change.gone {
        check_same(root, work, path)?;
        remove(root, path)?;
        done.insert(path.clone());
    }
    for New { number, path } in &change.new {
        match work.source(path).is_some() && !gone.contains(path) {
            true => check_same(root, work, path)?,
            false => check_absent(root, path, &[])?,
        }
        put(root, &new_name(*number), path)?;
        done.insert(path.clone());
    }
    Ok(())
}

/// A file of the directory must be the one that was planned with.
fn check_same(root: &Dir, work: &Work, path: &EntryPath) -> Result<(), MergeError> {
    let changed = || ReadError::Changed { path: PathBuf::from(path.as_str()) };
    let source = work.source(path).ok_or_else(changed)?;
    let is_file = root.symlink_metadata(path.as_str()).is_ok_and(|found| found.is_file());
    if !is_file {
        return Err(changed().into());
    }
    Ok(source.open().map(drop)?)
}

/// Where there was nothing, nothing may have come, but for directories that go with the files of `gone`.
pub(super) fn check_absent(root: &Dir, path: &EntryPath, gone: &[EntryPath]) -> Result<(), MergeError> {
    match root.symlink_metadata(path.as_str()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(failed(path)(error)),
        Ok(found) => {
            let gone: BTreeSet<String> = gone.iter().map(|path| folded(path.as_str())).collect();
            let makes_way = gone.contains(&folded(path.as_str())) || found.is_dir() && is_emptied(&gone, path.as_str());
            if makes_way { Ok(()) } else { Err(MergeError::InTheWay(path.to_string())) }
        }
    }
}

fn sync(dir: &Path) -> Result<(), MergeError> {
    Ok(durable::sync_dir(dir).map_err(BaseError::from)?)
}

/// Makes the names durable in all directories in which files came or went, as far as they are still there.
pub(super) fn sync_changed(dir: &Path, touched: &[Touched]) -> Result<(), MergeError> {
    let mut dirs = BTreeSet::from([dir.to_owned()]);
    for file in touched {
        let mut parent = file.path.parent();
        while let Some(above) = parent {
            dirs.insert(dir.join(above));
            parent = above.rsplit_once('/').map(|(above, _)| above);
        }
    }
    dirs.iter().filter(|dir| dir.is_dir()).try_for_each(|dir| sync(dir))
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
    /// Numbers of copies that are taken: those of the merge before are needed until this one is noted.
    taken: BTreeSet<u32>,
    /// All numbers below are taken too.
    next: u32,
}

pub(super) const STORE: &str = "merge";

pub(super) fn old_name(number: u32) -> PathBuf {
    Path::new(STATE_DIR).join(STORE).join(format!("old-{number}"))
}

fn new_name(number: u32) -> PathBuf {
    Path::new(STATE_DIR).join(STORE).join(format!("new-{number}"))
}

impl<'a> Store<'a> {
    /// One that holds the copies by which the merge before can be taken back, and nothing else.
    fn create(root: &'a Dir, before: &Base) -> Result<Self, MergeError> {
        let at = Path::new(STATE_DIR).join(STORE);
        root.create_dir_all(&at).map_err(|source| MergeError::Write { path: at.display().to_string(), source })?;
        let store = Self { root, taken: copies(before), next: 0 };
        store.tidy(before)?;
        Ok(store)
    }

    /// Removes all but the copies that `base` names.
    fn tidy(&self, base: &Base) -> Result<(), MergeError> {
        let at = Path::new(STATE_DIR).join(STORE);
        let failed = |source| MergeError::Write { path: at.display().to_string(), source };
        let kept: BTreeSet<PathBuf> = copies(base).into_iter().map(old_name).collect();
        let found = self.root.read_dir(&at).and_then(|found| found.collect::<io::Result<Vec<_>>>()).map_err(failed)?;
        for name in found.iter().map(|found| at.join(found.file_name())).filter(|name| !kept.contains(name)) {
            self.root.remove_file(&name).map_err(failed)?;
        }
        Ok(())
    }

    fn create_new(&self, number: u32, executable: bool) -> Result<cap_std::fs::File, MergeError> {
        create(self.root, &new_name(number), executable)
    }

    /// Copies a file of ours that changes or goes.
    fn keep(&mut self, plan: &Plan, file: &Planned) -> Result<Option<Touched>, MergeError> {
        let Some(ours) = &file.outcome.ours else { return Ok(None) };
        let is_touched = removed(file).is_some() || written(file) == Some(&ours.path);
        if !is_touched {
            return Ok(None);
        }
        let number = self.take_number();
        let mut out = create(self.root, &old_name(number), ours.executable)?;
        read_ours(plan, ours, &mut |bytes| out.write_all(bytes).map_err(failed(&ours.path)))?;
        out.sync_all().map_err(failed(&ours.path))?;
        let (path, executable) = (ours.path.clone(), ours.executable);
        Ok(Some(Touched { path, copy: Some(number), executable, left: Some(Left::Nothing) }))
    }

    /// The first number that no copy has.
    fn take_number(&mut self) -> u32 {
        let first = self.next;
        let free = (first..).find(|number| !self.taken.contains(number)).expect("a merge has fewer files than that");
        self.next = free + 1;
        free
    }
}

/// The numbers of the copies by which a merge can be taken back.
fn copies(base: &Base) -> BTreeSet<u32> {
    base.unfinished.iter().flat_map(|merge| &merge.touched).filter_map(|file| file.copy).collect()
}

pub(super) fn create(root: &Dir, path: &Path, executable: bool) -> Result<cap_std::fs::File, MergeError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    super::super::unpack::set_mode(&mut options, executable);
    root.open_with(path, &options).map_err(|source| MergeError::Write { path: path.display().to_string(), source })
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
pub(super) fn open(dir: &Path) -> Result<Dir, MergeError> {
    let failed = |source| MergeError::Write { path: dir.display().to_string(), source };
    Dir::open_ambient_dir(dir, ambient_authority()).map_err(failed)
}

pub(super) fn put(root: &Dir, from: &Path, path: &EntryPath) -> Result<(), MergeError> {
    if let Some(parent) = path.parent() {
        root.create_dir_all(parent).map_err(failed(path))?;
    }
    root.rename(from, root, path.as_str()).map_err(failed(path))
}

/// Removes a file, and directories above it that are empty then.
pub(super) fn remove(root: &Dir, path: &EntryPath) -> Result<(), MergeError> {
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

pub(super) fn failed(path: &EntryPath) -> impl Fn(io::Error) -> MergeError {
    let path = path.to_string();
    move |source| MergeError::Write { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use syncra_protocol::id::{PackageId, ReleaseId};

    use super::super::super::checkout::{Place, Unfinished};
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap()
    }

    fn touched(text: &str, copy: Option<u32>) -> Touched {
        Touched { path: path(text), copy, executable: false, left: Some(Left::File(BlobId::of(b"merged"))) }
    }

    fn base(release: u8, touched: Vec<Touched>) -> Base {
        let before = ReleaseId::from_bytes([release - 1; 32]);
        let unfinished = Unfinished { release: before, merged: vec![], complete: true, conflicts: vec![], touched };
        Base {
            package: PackageId::from_bytes([9; 32]),
            place: Place::stable(),
            release: ReleaseId::from_bytes([release; 32]),
            merged: Vec::new(),
            proposal: None,
            unfinished: Some(unfinished),
        }
    }

    /// A directory with two files, and a merge that writes both, of which nothing is noted yet.
    fn merging() -> (tempfile::TempDir, Work, Base, Change) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir_all(dir.path().join(".syncra/merge")).unwrap();
        write(".syncra/merge/old-0", "of the merge before");
        let before = base(2, vec![touched("a", Some(0))]);
        before.write(dir.path()).unwrap();
        for (name, number) in [("a", 0), ("b", 1)] {
            write(name, "ours");
            write(&format!(".syncra/merge/old-{}", number + 1), "ours");
            write(&format!(".syncra/merge/new-{number}"), "merged");
        }
        let work = Work::read(dir.path()).unwrap();
        let new = vec![New { number: 0, path: path("a") }, New { number: 1, path: path("b") }];
        let change = Change { gone: vec![], new, touched: vec![touched("a", Some(1)), touched("b", Some(2))] };
        (dir, work, before, change)
    }

    fn text(dir: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(name)).unwrap()
    }

    #[test]
    fn a_merge_that_fails_leaves_the_one_before_to_be_taken_back() {
        let (dir, work, before, change) = merging();
        let root = open(dir.path()).unwrap();
        let mut store = Store::create(&root, &before).unwrap();
        assert_eq!((store.take_number(), store.take_number()), (1, 2));
        assert_eq!(fs::read_dir(dir.path().join(".syncra/merge")).unwrap().count(), 1, "what it left, and no more");
        let failed = carry_out(dir.path(), &root, &work, (&before, base(3, vec![])), change);
        // Its new files are gone: the first rename fails.
        assert!(matches!(failed, Err(MergeError::Write { .. })));
        assert_eq!(Base::read(dir.path()).unwrap(), Some(before));
        super::super::abort(dir.path()).unwrap();
        assert_eq!((text(&dir, "a"), text(&dir, "b")), ("of the merge before".to_owned(), "ours".to_owned()));
    }

    #[test]
    fn without_its_copies_nothing_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("n"), "new").unwrap();
        let base = base(2, vec![touched("a", Some(0)), touched("n", None)]);
        base.write(dir.path()).unwrap();
        let failed = super::super::abort(dir.path());
        assert!(matches!(failed, Err(MergeError::Base(BaseError::Read { .. }))));
        assert_eq!((text(&dir, "n"), Base::read(dir.path()).unwrap()), ("new".to_owned(), Some(base)));
    }

    #[test]
    fn what_is_saved_while_a_merge_is_made_stays() {
        let (dir, work, before, change) = merging();
        let root = open(dir.path()).unwrap();
        fs::write(dir.path().join("b"), "saved meanwhile").unwrap();
        // Seen only when it is to be written over: the other is there already, and is known for being given back.
        let mut done = BTreeSet::new();
        let late = put_all(&root, &work, &change, &mut done);
        assert!(matches!(late, Err(MergeError::Read(ReadError::Changed { .. }))));
        assert_eq!((text(&dir, "a"), text(&dir, "b")), ("merged".to_owned(), "saved meanwhile".to_owned()));
        assert_eq!(done, BTreeSet::from([path("a")]));
        assert_eq!(restore(dir.path(), &change.touched[..1], |_| true).unwrap(), []);
        // Seen before anything is noted.
        let early = carry_out(dir.path(), &root, &work, (&before, base(3, vec![])), change);
        assert!(matches!(early, Err(MergeError::Read(ReadError::Changed { .. }))));
        assert_eq!((text(&dir, "a"), text(&dir, "b")), ("ours".to_owned(), "saved meanwhile".to_owned()));
        assert_eq!(Base::read(dir.path()).unwrap(), Some(before));
    }

    #[test]
    fn what_was_saved_after_a_merge_is_kept_when_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir_all(dir.path().join(".syncra/merge")).unwrap();
        for number in 0..4 {
            write(&format!(".syncra/merge/old-{number}"), "ours");
        }
        // Untouched yet, merged, saved since, removed since; new, new and saved since; new by a note that says no more.
        let mut unsaid = touched("unsaid", None);
        unsaid.left = None;
        let files =
            ["early", "merged", "saved", "removed"].into_iter().zip(0..).map(|(name, n)| touched(name, Some(n)));
        let touched: Vec<Touched> = files.chain([touched("new", None), touched("mine", None), unsaid]).collect();
        for (name, text) in [("early", "ours"), ("merged", "merged"), ("saved", "hours of work"), ("new", "merged")] {
            write(name, text);
        }
        write("mine", "mine");
        write("unsaid", "somebody's");
        // A call before was cut off when it had this aside, and another file of the name stands beside already.
        write(".syncra/merge/aside-1", "saved and moved aside");
        write("merged.saved", "older");
        let mut base = base(2, touched);
        base.write(dir.path()).unwrap();
        let (_, kept) = super::super::abort(dir.path()).unwrap();
        let kept: Vec<String> = kept.iter().map(|kept| format!("{} {}", kept.path, kept.at)).collect();
        assert_eq!(kept, ["mine mine", "unsaid unsaid", "merged merged.saved-2", "saved saved.saved"]);
        for name in ["early", "merged", "saved", "removed"] {
            assert_eq!(text(&dir, name), "ours", "{name}");
        }
        assert_eq!((text(&dir, "mine"), text(&dir, "unsaid")), ("mine".to_owned(), "somebody's".to_owned()));
        assert_eq!(text(&dir, "saved.saved"), "hours of work");
        assert_eq!(text(&dir, "merged.saved-2"), "saved and moved aside");
        assert!(!dir.path().join("new").exists());
        base.unfinished = None;
        assert_eq!(Base::read(dir.path()).unwrap().map(|base| base.unfinished), Some(None));
    }

    #[test]
    fn a_taking_back_that_began_is_gone_on_with_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".syncra/merge")).unwrap();
        fs::write(dir.path().join(".syncra/merge/old-0"), "ours").unwrap();
        fs::write(dir.path().join("a"), "saved").unwrap();
        // Where a directory has to go there is a file, so it cannot come to its end.
        fs::write(dir.path().join(".syncra/merge/old-1"), "ours").unwrap();
        fs::write(dir.path().join("b"), "no directory").unwrap();
        let whole = base(2, vec![touched("a", Some(0)), touched("b/c", Some(1))]);
        whole.write(dir.path()).unwrap();
        super::super::abort(dir.path()).unwrap_err();
        let base = Base::read(dir.path()).unwrap().expect("there");
        assert!(matches!(super::super::check_finished(dir.path(), &base), Err(MergeError::CutOff)));
        fs::remove_file(dir.path().join("b")).unwrap();
        let (_, kept) = super::super::abort(dir.path()).unwrap();
        assert_eq!((text(&dir, "a"), text(&dir, "b/c"), kept.len()), ("ours".to_owned(), "ours".to_owned(), 0));
        assert_eq!(text(&dir, "a.saved"), "saved", "the first call has kept it");
    }

    #[test]
    fn a_merge_that_is_done_can_be_taken_back() {
        let (dir, work, before, change) = merging();
        let root = open(dir.path()).unwrap();
        let base = carry_out(dir.path(), &root, &work, (&before, base(3, vec![])), change).unwrap();
        Store::create(&root, &base).unwrap();
        assert_eq!((text(&dir, "a"), text(&dir, "b")), ("merged".to_owned(), "merged".to_owned()));
        super::super::abort(dir.path()).unwrap();
        assert_eq!((text(&dir, "a"), text(&dir, "b")), ("ours".to_owned(), "ours".to_owned()));
        assert!(!dir.path().join(".syncra/merge").exists());
    }
}
