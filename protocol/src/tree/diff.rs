//! What changed between two trees, by their projections alone: no byte of a file is needed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{FileEntry, tree_order};
use crate::id::BlobId;
use crate::path::EntryPath;

/// One file that is not the same in both trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Only the newer tree has it.
    Added(&'a FileEntry),
    /// Only the older tree has it.
    Removed(&'a FileEntry),
    /// The same path with other bytes or another mode.
    Modified {
        /// As it was.
        old: &'a FileEntry,
        /// As it is.
        new: &'a FileEntry,
    },
    /// The same bytes under another path, perhaps with another mode.
    Renamed {
        /// As it was.
        old: &'a FileEntry,
        /// As it is.
        new: &'a FileEntry,
    },
}

impl<'a> Change<'a> {
    /// The file in the older tree.
    #[must_use]
    pub const fn before(&self) -> Option<&'a FileEntry> {
        match self {
            Self::Added(_) => None,
            Self::Removed(old) | Self::Modified { old, .. } | Self::Renamed { old, .. } => Some(old),
        }
    }

    /// The file in the newer tree.
    #[must_use]
    pub const fn after(&self) -> Option<&'a FileEntry> {
        match self {
            Self::Removed(_) => None,
            Self::Added(new) | Self::Modified { new, .. } | Self::Renamed { new, .. } => Some(new),
        }
    }

    /// Whether bytes are others, not only path or mode.
    #[must_use]
    pub fn has_new_bytes(&self) -> bool {
        self.before().map(|file| file.hash) != self.after().map(|file| file.hash)
    }

    /// Where it stands in a list: the newer path, if there is one.
    #[must_use]
    pub fn path(&self) -> &'a EntryPath {
        let file = self.after().or(self.before()).expect("a change is of a file");
        &file.path
    }
}

/// What changed from `old` to `new`, in tree order of [`Change::path`]. The files may come in any order; of two with one path
/// the later counts.
///
/// A file that went and one that came with the same bytes are one file that was renamed: those with the same name in
/// another directory first, then in tree order. Empty files are never taken for each other. The work is n log n for n files,
/// however many are equal.
#[must_use]
pub fn diff<'a>(
    old: impl IntoIterator<Item = &'a FileEntry>,
    new: impl IntoIterator<Item = &'a FileEntry>,
) -> Vec<Change<'a>> {
    let mut gone = by_path(old);
    let (mut changes, mut came) = (Vec::new(), Vec::new());
    for (place, new) in by_path(new) {
        match gone.remove(&place) {
            Some(old) if old == new => {}
            Some(old) => changes.push(Change::Modified { old, new }),
            None => came.push(new),
        }
    }
    let gone: Vec<&FileEntry> = gone.into_values().collect();
    let sources = renames(&gone, &came);
    let mut is_source = vec![false; gone.len()];
    for (new, source) in came.iter().zip(sources) {
        changes.push(match source {
            Some(at) => {
                is_source[at] = true;
                Change::Renamed { old: gone[at], new }
            }
            None => Change::Added(new),
        });
    }
    let removed = gone.iter().zip(is_source).filter(|(_, is_source)| !is_source);
    changes.extend(removed.map(|(old, _)| Change::Removed(old)));
    changes.sort_by(|a, b| tree_order(a.path(), b.path()));
    changes
}

/// A path in tree order.
type Place<'a> = Vec<&'a str>;

fn by_path<'a>(files: impl IntoIterator<Item = &'a FileEntry>) -> BTreeMap<Place<'a>, &'a FileEntry> {
    files.into_iter().map(|file| (file.path.parts().collect(), file)).collect()
}

/// For each file that came, which of those that went it was.
fn renames(gone: &[&FileEntry], came: &[&FileEntry]) -> Vec<Option<usize>> {
    let (mut by_name, mut by_hash) = (HashMap::<(BlobId, &str), VecDeque<usize>>::new(), HashMap::new());
    for (at, file) in gone.iter().enumerate().filter(|(_, file)| file.size > 0) {
        by_name.entry((file.hash, file.path.name())).or_default().push_back(at);
        by_hash.entry(file.hash).or_insert_with(VecDeque::new).push_back(at);
    }
    let mut is_taken = vec![false; gone.len()];
    let mut take = |queue: Option<&mut VecDeque<usize>>| {
        let queue = queue?;
        while let Some(at) = queue.pop_front() {
            if !std::mem::replace(&mut is_taken[at], true) {
                return Some(at);
            }
        }
        None
    };
    let mut found: Vec<_> = came.iter().map(|file| take(by_name.get_mut(&(file.hash, file.path.name())))).collect();
    for (file, found) in came.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        *found = take(by_hash.get_mut(&file.hash));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &str) -> FileEntry {
        let path = EntryPath::parse(path).expect(path);
        let hash = BlobId::of(bytes.as_bytes());
        FileEntry { path, executable: false, size: bytes.len() as u64, hash }
    }

    fn tree(files: &[(&str, &str)]) -> Vec<FileEntry> {
        files.iter().map(|(path, bytes)| file(path, bytes)).collect()
    }

    /// What is said, in a line: `+a`, `-a`, `~a`, `a>b`.
    fn said(old: &[FileEntry], new: &[FileEntry]) -> String {
        let word = |change: Change<'_>| match change {
            Change::Added(new) => format!("+{}", new.path),
            Change::Removed(old) => format!("-{}", old.path),
            Change::Modified { new, .. } => format!("~{}", new.path),
            Change::Renamed { old, new } => format!("{}>{}", old.path, new.path),
        };
        diff(old, new).into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn changes_are_told_in_tree_order() {
        let old = tree(&[("a-b", "1"), ("a/b", "2"), ("gone", "3"), ("same", "4")]);
        let new = tree(&[("same", "4"), ("a/c", "5"), ("a/b", "6"), ("a-b", "7")]);
        assert_eq!(said(&old, &new), "~a/b +a/c ~a-b -gone");
        assert_eq!(said(&old, &old), "");
        assert_eq!(said(&[], &new), "+a/b +a/c +a-b +same");
        assert_eq!(said(&new, &[]), "-a/b -a/c -a-b -same");
        let mut executable = old.clone();
        executable[0].executable = true;
        let changes = diff(&old, &executable);
        assert!(matches!(changes[..], [Change::Modified { .. }]) && !changes[0].has_new_bytes());
    }

    #[test]
    fn equal_bytes_under_another_path_are_a_rename() {
        let old = tree(&[("a/x", "1"), ("b/y", "1"), ("empty", "")]);
        assert_eq!(said(&old, &tree(&[("c/y", "1"), ("c/x", "1"), ("void", "")])), "a/x>c/x b/y>c/y -empty +void");
        assert_eq!(said(&old, &tree(&[("z", "1"), ("empty", "")])), "-b/y a/x>z");
        assert_eq!(said(&old, &tree(&[("a/x", "1"), ("p", "1"), ("q", "1"), ("empty", "")])), "b/y>p +q");
        // Two files that changed places are two that changed.
        assert_eq!(said(&tree(&[("a", "1"), ("b", "2")]), &tree(&[("a", "2"), ("b", "1")])), "~a ~b");
    }

    /// Equal files must not be compared each with each: a stranger may publish a million of them.
    #[test]
    fn many_equal_files_take_no_longer_than_many_different_ones() {
        let many = |dir: &str| -> Vec<FileEntry> { (0..50_000).map(|n| file(&format!("{dir}/{n}"), "1")).collect() };
        let (old, new) = (many("old"), many("new"));
        let changes = diff(&old, &new);
        assert_eq!(changes.len(), 50_000);
        let by_name = |change: &Change<'_>| change.before().map(|file| file.path.name()) == Some(change.path().name());
        assert!(changes.iter().all(by_name));
    }
}
