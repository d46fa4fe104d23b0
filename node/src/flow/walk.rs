//! Which files of a directory are published: ignore rules, refusals, and what must not leave by accident.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};
use ignore::{DirEntry, WalkBuilder};
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;
use syncra_protocol::path::{Collision, EntryPath, EntryPathError, PathSet};
use syncra_protocol::tree::FileEntry;

/// One file that will be published.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name inside the package.
    pub path: EntryPath,
    /// Where it is read from.
    pub source: PathBuf,
    /// Whether its owner may execute it; always false on systems without that bit.
    pub executable: bool,
    /// Bytes when it was found.
    pub size: u64,
    stamp: Stamp,
}

/// What tells that a file changed while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: Option<std::time::SystemTime>,
}

impl Stamp {
    /// Whether the file was last written longer ago than `span` before `now`.
    pub(super) fn is_older_than(&self, now: std::time::SystemTime, span: std::time::Duration) -> bool {
        self.modified.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|age| age > span)
    }
}

/// What the author wants to leave out or in, beyond the defaults (`[files]` of the manifest).
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// Only these patterns (gitignore syntax), if any is given. The manifest itself is always in.
    pub include: Vec<String>,
    /// Never these patterns.
    pub exclude: Vec<String>,
}

/// Why a tree cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The root cannot be read at all.
    #[error("`{}` is not a directory that can be read", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// One entry cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The entry.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A symbolic link: it would mean something else on another machine.
    #[error("`{}` is a symbolic link; packages hold regular files only", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A socket, pipe or device.
    #[error("`{}` is neither a file nor a directory; packages hold regular files only", path.display())]
    Special {
        /// The entry.
        path: PathBuf,
    },
    /// A name that some system cannot have, or that could leave the package.
    #[error("`{}` cannot be a path in a package", path.display())]
    Name {
        /// The entry.
        path: PathBuf,
        /// The rule that it breaks.
        source: EntryPathError,
    },
    /// Two names that are one name on other systems.
    #[error("two paths that some systems cannot tell apart")]
    Collision(#[source] Collision),
    /// An ignore or include pattern that does not parse.
    #[error("the pattern is malformed")]
    Pattern(#[source] ignore::Error),
    /// Nothing is left to publish.
    #[error("no file is left to publish after the ignore rules")]
    Empty,
    /// More files than a release may have.
    #[error("more than {max} files")]
    TooMany {
        /// The limit.
        max: u64,
    },
}

/// The ignore file that authors write, with gitignore's rules.
pub const IGNORE_FILE: &str = ".syncraignore";

/// Never published unless `[files] include` names them: version control, build output, keys, and what editors leave behind.
pub const DEFAULT_IGNORES: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".jj",
    ".syncra",
    "target",
    "node_modules",
    "__pycache__",
    ".env",
    ".env.*",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".ssh",
    ".gnupg",
    ".aws",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.kdbx",
    "*.jks",
    "device.key",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "*~",
    "*.swp",
    "*.syncpack",
];

/// The files of `root` that would be published, in tree order (sorted by path bytes, part by part).
///
/// # Errors
/// [`WalkError`] for the first thing that stands in the way; nothing is skipped silently but what the rules ignore.
pub fn walk(root: &Path, selection: &Selection) -> Result<Vec<SourceFile>, WalkError> {
    let meta = std::fs::metadata(root).map_err(|source| WalkError::Root { path: root.to_owned(), source })?;
    if !meta.is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(WalkError::Root { path: root.to_owned(), source });
    }
    let rules = Rules::new(root, selection)?;
    let mut files = Vec::new();
    let mut paths = PathSet::new();
    for found in walker(root, &rules).build() {
        let found = found.map_err(|error| unreadable(root, error))?;
        if let Some(file) = source_file(root, &found, &rules)? {
            paths.insert(&file.path).map_err(WalkError::Collision)?;
            files.push(file);
            if files.len() as u64 > limits::RELEASE_FILES {
                return Err(WalkError::TooMany { max: limits::RELEASE_FILES });
            }
        }
    }
    if files.is_empty() {
        return Err(WalkError::Empty);
    }
    files.sort_by(|a, b| a.path.parts().cmp(b.path.parts()));
    Ok(files)
}

impl SourceFile {
    /// What tells that it changed.
    pub(super) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Opens the file and checks that it is still the one that was found.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(&self) -> Result<File, ReadError> {
        let file = File::open(&self.source).map_err(|source| self.unreadable(source))?;
        self.unchanged(&file)?;
        Ok(file)
    }

    /// Checks that nobody wrote to the open file since it was found: called again after its last byte was read.
    ///
    /// # Errors
    /// [`ReadError::Changed`] when size or modification time differ.
    pub fn unchanged(&self, file: &File) -> Result<(), ReadError> {
        let meta = file.metadata().map_err(|source| self.unreadable(source))?;
        if stamp(&meta) == self.stamp { Ok(()) } else { Err(ReadError::Changed { path: self.source.clone() }) }
    }

    /// The system could not read this file.
    #[must_use]
    pub fn unreadable(&self, source: std::io::Error) -> ReadError {
        ReadError::Unreadable { path: self.source.clone(), source }
    }
}

/// Reads and hashes files that were found. Waits for the disk.
///
/// # Errors
/// [`ReadError`].
pub fn hashed(files: &[SourceFile]) -> Result<Vec<FileEntry>, ReadError> {
    let entry = |file: &SourceFile| {
        let mut hasher = blake3::Hasher::new();
        let mut open = file.open()?;
        hasher.update_reader(&mut open).map_err(|source| file.unreadable(source))?;
        file.unchanged(&open)?;
        let hash = BlobId::from_bytes(*hasher.finalize().as_bytes());
        Ok(FileEntry { path: file.path.clone(), executable: file.executable, size: file.size, hash })
    };
    files.iter().map(entry).collect()
}

/// Why a file that was found could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Somebody wrote to it meanwhile.
    #[error("`{}` changed while it was being read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// The author's include patterns (gitignore syntax) and ours.
struct Rules {
    ignored: Override,
    included: Option<Override>,
}

impl Rules {
    fn new(root: &Path, selection: &Selection) -> Result<Self, WalkError> {
        // In an override a plain pattern selects and `!` ignores; with ignores only, everything else stays in.
        let mut ignored = OverrideBuilder::new(root);
        for pattern in DEFAULT_IGNORES.iter().filter(|pattern| !selection.include.iter().any(|i| i == *pattern)) {
            ignored.add(&format!("!{pattern}")).map_err(WalkError::Pattern)?;
        }
        for pattern in &selection.exclude {
            ignored.add(&format!("!{pattern}")).map_err(WalkError::Pattern)?;
        }
        let included = if selection.include.is_empty() {
            None
        } else {
            let mut included = OverrideBuilder::new(root);
            for pattern in &selection.include {
                included.add(pattern).map_err(WalkError::Pattern)?;
            }
            Some(included.build().map_err(WalkError::Pattern)?)
        };
        Ok(Self { ignored: ignored.build().map_err(WalkError::Pattern)?, included })
    }

    fn wants_file(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == "syncra.toml")
            || self.included.as_ref().is_none_or(|included| {
                // `assets/` names a directory: a file is in if one of its parents is selected.
                included.matched(path, false).is_whitelist()
                    || path.ancestors().skip(1).any(|parent| included.matched(parent, true).is_whitelist())
            })
    }
}

fn walker(root: &Path, rules: &Rules) -> WalkBuilder {
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .follow_links(false)
        .overrides(rules.ignored.clone())
        .max_depth(Some(limits::PATH_DEPTH + 1))
        .sort_by_file_name(std::cmp::Ord::cmp);
    builder
}

fn source_file(root: &Path, found: &DirEntry, rules: &Rules) -> Result<Option<SourceFile>, WalkError> {
    let path = found.path();
    let Some(kind) = found.file_type() else { return Ok(None) };
    if kind.is_dir() && found.depth() > limits::PATH_DEPTH {
        // The walk ends here: what lies deeper would be left out silently.
        entry_path(root, path)?;
    }
    if kind.is_dir() || found.file_name() == IGNORE_FILE || !rules.wants_file(path) {
        return Ok(None);
    }
    if kind.is_symlink() {
        return Err(WalkError::Link { path: path.to_owned() });
    }
    if !kind.is_file() {
        return Err(WalkError::Special { path: path.to_owned() });
    }
    let meta = found.metadata().map_err(|error| unreadable(path, error))?;
    let entry_path = entry_path(root, path)?;
    Ok(Some(SourceFile {
        path: entry_path,
        source: path.to_owned(),
        executable: executable(&meta),
        size: meta.len(),
        stamp: stamp(&meta),
    }))
}

fn entry_path(root: &Path, path: &Path) -> Result<EntryPath, WalkError> {
    // On Windows a name with a colon is a path of its own, which nothing can be stripped from. It is refused below.
    let relative = path.strip_prefix(root).unwrap_or(path);
    let mut bytes = Vec::new();
    for part in relative.components() {
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(part.as_os_str().as_encoded_bytes());
    }
    EntryPath::parse_bytes(&bytes).map_err(|source| WalkError::Name { path: path.to_owned(), source })
}

fn unreadable(path: &Path, error: ignore::Error) -> WalkError {
    let text = error.to_string();
    let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other(text));
    WalkError::Unreadable { path: path.to_owned(), source }
}

fn stamp(meta: &Metadata) -> Stamp {
    Stamp { size: meta.len(), modified: meta.modified().ok() }
}

#[cfg(unix)]
fn executable(meta: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn executable(_meta: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        dir
    }

    fn names(dir: &Path, selection: &Selection) -> Vec<String> {
        walk(dir, selection).unwrap().iter().map(|file| file.path.as_str().to_owned()).collect()
    }

    #[test]
    fn what_should_not_leave_stays_and_order_is_part_by_part() {
        let dir = tree(&[
            "syncra.toml",
            "a/z",
            "a-b",
            "a.txt",
            ".git/config",
            "x/.env",
            "deep/target/o",
            "key.pem",
            ".hidden",
        ]);
        assert_eq!(names(dir.path(), &Selection::default()), [".hidden", "a/z", "a-b", "a.txt", "syncra.toml"]);
    }

    #[test]
    fn ignore_file_and_manifest_patterns_are_obeyed() {
        let dir = tree(&["syncra.toml", "a.blend", "b.blend", "art/c.png", "docs/d.md", "docs/e.png"]);
        std::fs::write(dir.path().join(IGNORE_FILE), "*.blend\n!b.blend\n").unwrap();
        let exclude = Selection { exclude: vec!["docs/".into()], ..Selection::default() };
        assert_eq!(names(dir.path(), &exclude), ["art/c.png", "b.blend", "syncra.toml"]);
        let include = Selection { include: vec!["art/".into(), "*.md".into()], ..Selection::default() };
        assert_eq!(names(dir.path(), &include), ["art/c.png", "docs/d.md", "syncra.toml"]);
        let wanted = tree(&["server.pem", "b"]);
        let include = Selection { include: vec!["*.pem".into()], ..Selection::default() };
        assert_eq!(names(wanted.path(), &include), ["server.pem"]);
    }

    #[test]
    fn case_collisions_empty_trees_and_bad_names_are_refused() {
        let dir = tree(&["Readme", "README"]);
        assert!(matches!(walk(dir.path(), &Selection::default()), Err(WalkError::Collision(_))));
        let dir = tree(&[".git/only"]);
        assert!(matches!(walk(dir.path(), &Selection::default()), Err(WalkError::Empty)));
        let dir = tree(&["aux.txt"]);
        assert!(matches!(walk(dir.path(), &Selection::default()), Err(WalkError::Name { .. })));
        let deep = tree(&[&*format!("{}a", "d/".repeat(40))]);
        assert!(matches!(walk(deep.path(), &Selection::default()), Err(WalkError::Name { .. })));
        assert!(matches!(walk(&dir.path().join("aux.txt"), &Selection::default()), Err(WalkError::Root { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_sockets_are_refused_and_the_executable_bit_is_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tree(&["run"]);
        std::fs::set_permissions(dir.path().join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(walk(dir.path(), &Selection::default()).unwrap()[0].executable);
        symlink("run", dir.path().join("link")).unwrap();
        assert!(matches!(walk(dir.path(), &Selection::default()), Err(WalkError::Link { .. })));
        std::fs::remove_file(dir.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(matches!(walk(dir.path(), &Selection::default()), Err(WalkError::Special { .. })));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_noticed() {
        let dir = tree(&["a"]);
        let files = walk(dir.path(), &Selection::default()).unwrap();
        let open = files[0].open().unwrap();
        assert!(files[0].unchanged(&open).is_ok());
        std::fs::write(dir.path().join("a"), "longer than before").unwrap();
        assert!(matches!(files[0].unchanged(&open), Err(ReadError::Changed { .. })));
    }
}
