//! Trees in which two paths would be one file on some file system.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::EntryPath;
use super::fold::part_key;

/// The paths of one tree, none of which collides with another or with another's parents.
///
/// The verdict on a tree does not depend on the order in which its paths come. A B-tree and not a hash table: the
/// names are the publisher's choice.
#[derive(Debug, Default)]
pub struct PathSet {
    /// Folded path of every file and directory → how it is written, and whether it is a directory.
    taken: BTreeMap<String, (String, bool)>,
    n_files: usize,
}

/// Two entries of a tree that some file system cannot tell apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Collision {
    /// The same file twice.
    #[error("`{0}` is listed twice")]
    Twice(String),
    /// One path is a file and a directory.
    #[error("`{file}` is a file and `{directory}` a directory, and some file systems cannot tell them apart")]
    Kind {
        /// As the file is written.
        file: String,
        /// As the directory is written.
        directory: String,
    },
    /// Two spellings that are equal after compatibility normalisation and case folding.
    #[error("`{first}` and `{second}` are one name on some file systems")]
    Spelling {
        /// The one seen before.
        first: String,
        /// The one refused.
        second: String,
    },
}

impl PathSet {
    /// No paths.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Files in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n_files
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n_files == 0
    }

    /// Adds a file and, with it, its parents.
    ///
    /// # Errors
    /// [`Collision`] with what is there already; the set is then as it was.
    pub fn insert(&mut self, path: &EntryPath) -> Result<(), Collision> {
        let text = path.as_str();
        let mut key = String::with_capacity(text.len());
        let mut end = 0;
        for part in path.parts() {
            if end > 0 {
                key.push('/');
                end += 1;
            }
            end += part.len();
            key.push_str(&part_key(part));
            // Where a part collides, its parents were there before: nothing was claimed that has to be given back.
            self.claim(&key, &text[..end], end < text.len())?;
        }
        self.n_files += 1;
        Ok(())
    }

    fn claim(&mut self, key: &str, text: &str, directory: bool) -> Result<(), Collision> {
        let entry = match self.taken.entry(key.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert((text.to_owned(), directory));
                return Ok(());
            }
            Entry::Occupied(entry) => entry,
        };
        let (held, held_directory) = entry.get();
        match (held == text, *held_directory, directory) {
            (true, true, true) => Ok(()),
            (true, false, false) => Err(Collision::Twice(text.to_owned())),
            (_, true, false) => Err(Collision::Kind { file: text.to_owned(), directory: held.clone() }),
            (_, false, true) => Err(Collision::Kind { file: held.clone(), directory: text.to_owned() }),
            (false, _, _) => Err(Collision::Spelling { first: held.clone(), second: text.to_owned() }),
        }
    }
}
