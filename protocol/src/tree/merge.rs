//! Merging two trees that come from a third: which file of which side stands where, by their projections alone.
//!
//! No byte of a file is needed. A file that both sides changed is told ([`Merged::Both`]); whoever has the bytes merges its
//! lines. A file that one side moved and the other changed is found again by its hash, so both get what they did.
//! Every path of the outcome is one that all systems can tell from the others.

use std::collections::{BTreeMap, BTreeSet};

use super::diff::{self, Change};
use super::{FileEntry, tree_order};
use crate::path::{EntryPath, PathSet};

/// What becomes of one file. Files of our side that stay as they are, are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where the file stands afterwards; for [`Merged::Removed`] where it stood.
    pub path: EntryPath,
    /// In the tree that both come from, perhaps under another path.
    pub base: Option<FileEntry>,
    /// On our side; under another path it is moved from there.
    pub ours: Option<FileEntry>,
    /// On their side, perhaps under another path.
    pub theirs: Option<FileEntry>,
    /// Mode 0755; else 0644.
    pub executable: bool,
    /// Whose bytes it has.
    pub merged: Merged,
    /// What somebody has to decide.
    pub clash: Option<Clash>,
    /// A path that nothing else has: for their bytes, when somebody has to choose between them and ours.
    pub beside: Option<EntryPath>,
}

/// Whose bytes a file has after a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// Ours: only path or mode change, or it clashes.
    Ours,
    /// Theirs.
    Theirs,
    /// Both sides changed them, or both added a file here. Lines can be merged; else ours, and theirs beside.
    Both,
    /// The file goes: they removed it, and we did not change it.
    Removed,
    /// There is none of ours; theirs lie beside, and somebody has to choose.
    Beside,
}

/// Why somebody has to decide about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// We removed it, they changed it.
    RemovedByUs,
    /// They removed it, we changed it.
    RemovedByThem,
    /// Both moved it, to different places; it stands at ours.
    MovedByBoth,
    /// Theirs cannot stand at its path beside our files: one is a directory, or some systems take the names for one.
    Place,
}

/// What merging `theirs` into `ours` makes of the files, in tree order. Both come from `base`; without one, all files of both
/// sides were added. The files may come in any order; of two with one path the later counts. The work is n log n for n files.
///
/// Each of the three trees must be one that a release could have: its paths do not collide.
#[must_use]
pub fn merge(base: &[FileEntry], ours: &[FileEntry], theirs: &[FileEntry]) -> Vec<Outcome> {
    let (trees, moved_by_both) = Trees::aligned(base, ours, theirs);
    let places: BTreeSet<&EntryPath> = trees.ours.keys().chain(trees.theirs.keys()).copied().collect();
    let mut outcomes = Vec::new();
    let mut taken = PathSet::new();
    for place in places {
        let sides = trees.at(place);
        let told = decide(place, sides, moved_by_both.contains(place));
        // Our files that stay where they are come first: they collide with nothing of ours.
        let stays = sides.1.is_some_and(|ours| ours.path == *place)
            && told.as_ref().is_none_or(|outcome| outcome.merged != Merged::Removed);
        if stays {
            // In a tree of ours that is none, the later of two files that collide is not looked at: it stays on disk.
            let _ = taken.insert(place);
        }
        outcomes.extend(told);
    }
    for outcome in &mut outcomes {
        settle(outcome, &mut taken);
    }
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.beside.is_none()) {
        if outcome.merged == Merged::Both {
            outcome.beside = Some(free(&outcome.path, &mut taken));
        }
    }
    outcomes.sort_by(|a, b| tree_order(&a.path, &b.path));
    outcomes
}

/// Base, ours and theirs of one place.
type Sides<'a> = (Option<&'a FileEntry>, Option<&'a FileEntry>, Option<&'a FileEntry>);

/// The three trees, each file at the place where it stands after the merge.
struct Trees<'a> {
    base: BTreeMap<&'a EntryPath, &'a FileEntry>,
    ours: BTreeMap<&'a EntryPath, &'a FileEntry>,
    theirs: BTreeMap<&'a EntryPath, &'a FileEntry>,
}

impl<'a> Trees<'a> {
    /// The trees, and the places of files that both sides moved.
    fn aligned(
        base: &'a [FileEntry],
        ours: &'a [FileEntry],
        theirs: &'a [FileEntry],
    ) -> (Self, BTreeSet<&'a EntryPath>) {
        let by_path = |files: &'a [FileEntry]| files.iter().map(|file| (&file.path, file)).collect();
        let mut trees = Self { base: by_path(base), ours: by_path(ours), theirs: by_path(theirs) };
        let (our_moves, their_moves) = (moves(base, ours), moves(base, theirs));
        let mut by_both = BTreeSet::new();
        let sources: BTreeSet<&EntryPath> = our_moves.keys().chain(their_moves.keys()).copied().collect();
        for from in sources {
            match (our_moves.get(from).copied(), their_moves.get(from).copied()) {
                (Some(to), None) if trees.theirs.contains_key(from) && !trees.theirs.contains_key(to) => {
                    shift(&mut trees.base, from, to);
                    shift(&mut trees.theirs, from, to);
                }
                (None, Some(to)) if trees.ours.contains_key(from) && !trees.ours.contains_key(to) => {
                    shift(&mut trees.base, from, to);
                    shift(&mut trees.ours, from, to);
                }
                (Some(to), Some(also)) if to == also => shift(&mut trees.base, from, to),
                (Some(to), Some(also)) if !trees.theirs.contains_key(to) && !trees.ours.contains_key(also) => {
                    shift(&mut trees.base, from, to);
                    shift(&mut trees.theirs, also, to);
                    by_both.insert(to);
                }
                // Something else stands there: one file went and another came.
                _ => {}
            }
        }
        (trees, by_both)
    }

    fn at(&self, place: &EntryPath) -> Sides<'a> {
        (self.base.get(place).copied(), self.ours.get(place).copied(), self.theirs.get(place).copied())
    }
}

fn moves<'a>(base: &'a [FileEntry], side: &'a [FileEntry]) -> BTreeMap<&'a EntryPath, &'a EntryPath> {
    let renamed = |change: Change<'a>| match change {
        Change::Renamed { old, new } => Some((&old.path, &new.path)),
        _ => None,
    };
    diff::diff(base, side).into_iter().filter_map(renamed).collect()
}

fn shift<'a>(tree: &mut BTreeMap<&'a EntryPath, &'a FileEntry>, from: &EntryPath, to: &'a EntryPath) {
    if let Some(file) = tree.remove(from) {
        tree.insert(to, file);
    }
}

/// The three-way rule: what only one side changed is as that side has it.
fn decide(place: &EntryPath, (base, ours, theirs): Sides<'_>, moved_by_both: bool) -> Option<Outcome> {
    let same = |a: &FileEntry, b: &FileEntry| (a.hash, a.executable) == (b.hash, b.executable);
    let (merged, executable, clash) = match (base, ours, theirs) {
        (_, None, None) => return None,
        (None, None, Some(theirs)) => (Merged::Theirs, theirs.executable, None),
        (Some(base), None, Some(theirs)) if same(base, theirs) => return None,
        (Some(_), None, Some(theirs)) => (Merged::Beside, theirs.executable, Some(Clash::RemovedByUs)),
        (None, Some(ours), None) => return moved(place, ours),
        (Some(base), Some(ours), None) if same(base, ours) => (Merged::Removed, ours.executable, None),
        (Some(_), Some(ours), None) => (Merged::Ours, ours.executable, Some(Clash::RemovedByThem)),
        (base, Some(ours), Some(theirs)) => {
            let executable = match base {
                Some(base) if ours.executable == base.executable => theirs.executable,
                Some(_) => ours.executable,
                None => ours.executable || theirs.executable,
            };
            let was = base.map(|base| base.hash);
            let merged = match () {
                () if ours.hash == theirs.hash || was == Some(theirs.hash) => Merged::Ours,
                () if was == Some(ours.hash) => Merged::Theirs,
                () => Merged::Both,
            };
            let stays = merged == Merged::Ours && executable == ours.executable && ours.path == *place;
            if stays && !moved_by_both {
                return None;
            }
            (merged, executable, moved_by_both.then_some(Clash::MovedByBoth))
        }
    };
    let [base, ours, theirs] = [base, ours, theirs].map(|file| file.cloned());
    Some(Outcome { path: place.clone(), base, ours, theirs, executable, merged, clash, beside: None })
}

/// A file of ours alone: told only if it stands elsewhere than it did.
fn moved(place: &EntryPath, ours: &FileEntry) -> Option<Outcome> {
    (ours.path != *place).then(|| Outcome {
        path: place.clone(),
        base: None,
        ours: Some(ours.clone()),
        theirs: None,
        executable: ours.executable,
        merged: Merged::Ours,
        clash: None,
        beside: None,
    })
}

/// Finds a path for what is new at its place.
fn settle(outcome: &mut Outcome, taken: &mut PathSet) {
    let is_there = outcome.ours.as_ref().is_some_and(|ours| ours.path == outcome.path);
    match (&outcome.ours, outcome.merged) {
        (_, Merged::Removed) => {}
        _ if is_there => {}
        (_, Merged::Beside) => outcome.beside = Some(free(&outcome.path, taken)),
        (Some(ours), _) => {
            if taken.insert(&outcome.path).is_err() {
                // They moved it to where it cannot stand here: it stays.
                let back = ours.path.clone();
                outcome.clash = Some(Clash::Place);
                outcome.path = if taken.insert(&back).is_ok() { back } else { free(&back, taken) };
            }
        }
        (None, _) => {
            if taken.insert(&outcome.path).is_err() {
                (outcome.merged, outcome.clash) = (Merged::Beside, Some(Clash::Place));
                outcome.beside = Some(free(&outcome.path, taken));
            }
        }
    }
}

/// The first free of `x.theirs`, `x.theirs-2`, …; at the top if the directory is what collides.
fn free(path: &EntryPath, taken: &mut PathSet) -> EntryPath {
    let flat = path.as_str().replace('/', "-");
    let numbered = |stem: &str, n: u64| match n {
        1 => format!("{stem}.theirs"),
        _ => format!("{stem}.theirs-{n}"),
    };
    let near = [path.as_str(), &flat].into_iter().flat_map(|stem| (1..=9).map(move |n| numbered(stem, n)));
    let far = (1..).map(|n| numbered("file", n));
    let mut free = near.chain(far).filter_map(|name| EntryPath::parse(&name).ok());
    free.find(|path| taken.insert(path).is_ok()).expect("there are more numbers than files")
}

#[cfg(test)]
mod tests;
