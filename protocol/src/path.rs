//! Paths inside a package: one function, used at publish, at verify and at install, with one verdict on every system.
//!
//! A path that is accepted names the same file on Linux, macOS and Windows, stays below the directory it is unpacked
//! into, and looks to people like what it is. `docs/spec/names.md` has the rules with the attack that each stops.
//! The tables are those of the Unicode version in [`UNICODE`]; code points it does not assign are refused, so a newer
//! node accepts what an older one accepts and normalises it to the same bytes.

use crate::limits::{PATH_BYTES, PATH_DEPTH};
use crate::text::text_type;

mod collisions;
mod fold;
mod rules;

pub use collisions::{Collision, PathSet};
pub use fold::part_key;
pub use rules::{EntryPathError, PathRule};

/// The version of the normalisation tables. A change of it is a change of what paths are accepted.
pub const UNICODE: (u8, u8, u8) = unicode_normalization::UNICODE_VERSION;

/// A file's path inside a package: `scripts/main.syn`.
///
/// There is deliberately no `AsRef<Path>`: the node walks [`EntryPath::parts`] below a directory handle and never
/// follows links. Ordered by bytes.
///
/// ```
/// use syncra_protocol::path::{EntryPath, PathRule};
/// let path = EntryPath::parse("scripts/main.syn").unwrap();
/// assert_eq!(path.parts().collect::<Vec<_>>(), ["scripts", "main.syn"]);
/// assert_eq!(EntryPath::parse("../main.syn").unwrap_err().rule(), PathRule::Dots);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(String);

text_type!(EntryPath, EntryPathError, "a path inside a package");

impl EntryPath {
    /// Checks `text` against every rule of [`PathRule`].
    ///
    /// # Errors
    /// [`EntryPathError`] with the first rule broken and the part that breaks it.
    pub fn parse(text: &str) -> Result<Self, EntryPathError> {
        rules::check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// As [`EntryPath::parse`], for names as a file system gives them.
    ///
    /// # Errors
    /// [`EntryPathError`]; [`EntryPathError::NotUtf8`] when these bytes are no text.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, EntryPathError> {
        let text = std::str::from_utf8(bytes).map_err(|error| EntryPathError::NotUtf8 { at: error.valid_up_to() })?;
        Self::parse(text)
    }

    /// The path, parts joined with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of the directories from the top and at last the file's.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The file's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().expect("splitting gives at least one part")
    }

    /// The path of the directory that holds the file; `None` at the top.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }
}

/// Checks one part on its own, as a directory node names its entries: every rule but those of the whole path
/// (its length, its depth, what is reserved at the top).
///
/// # Errors
/// [`EntryPathError`] with the first rule broken.
pub fn check_part(part: &str) -> Result<(), EntryPathError> {
    rules::check_part(part, 0)
}

const _: () = assert!(PATH_BYTES >= 2 * PATH_DEPTH, "the deepest path has one byte and a slash for every part");

#[cfg(test)]
mod tests;
