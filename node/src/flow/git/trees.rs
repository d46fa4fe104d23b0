//! Looking at trees before anything is taken in: what of them could not be a package.

use std::collections::{HashMap, HashSet};

use syncra_protocol::limits;
use syncra_protocol::path::{EntryPath, part_key};

use super::object::{Mode, Oid, TreeEntry, Type, tree_entries};
use super::program::Objects;
use super::{Fault, GitError, Left, Skip};

/// Bytes of one tree object: a directory of a million files.
pub(super) const TREE_BYTES: u64 = 64 << 20;
/// Directories whose verdict is remembered: beyond, it is found anew. Some 100 bytes each.
const REMEMBERED: usize = 500_000;

/// Names that say that a file is nobody else's business. What `publish` leaves out besides is only in the way.
const SECRET_NAMES: &[&str] = &[".env", ".netrc", ".npmrc", ".pypirc", "device.key"];
const SECRET_DIRS: &[&str] = &[".ssh", ".gnupg", ".aws"];
const SECRET_ENDS: &[&str] = &[".pem", ".key", ".p12", ".pfx", ".kdbx", ".jks"];
const SECRET_BEGINNINGS: &[&str] = &["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".env."];

/// What is known of a directory with all that is below it.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    files: u64,
    /// Longest path of a file below, and how deep it lies.
    longest: usize,
    deepest: usize,
}

/// Looks at one tree after the other.
pub(super) struct Checker<'a> {
    objects: &'a mut Objects,
    skip: Skip,
    allowed: &'a HashSet<String>,
    known: HashMap<(Oid, bool), Facts>,
    /// What is left out, by what it is.
    pub(super) left: Left,
}

impl<'a> Checker<'a> {
    pub(super) fn new(objects: &'a mut Objects, skip: Skip, allowed: &'a HashSet<String>) -> Self {
        Self { objects, skip, allowed, known: HashMap::new(), left: Left::default() }
    }

    /// Whether the tree of `commit` has files.
    pub(super) fn check(&mut self, commit: Oid, tree: Oid) -> Result<bool, GitError> {
        let facts = self.directory(tree, "").map_err(|fault| fault.of(commit))?;
        if facts.files > limits::RELEASE_FILES {
            return Err(GitError::TooMany { what: "files in a commit", max: limits::RELEASE_FILES as usize });
        }
        Ok(facts.files > 0)
    }

    fn directory(&mut self, tree: Oid, prefix: &str) -> Result<Facts, Found> {
        let key = (tree, prefix.is_empty());
        let fits = |facts: &Facts| {
            prefix.len() + facts.longest <= limits::PATH_BYTES && depth(prefix) + facts.deepest <= limits::PATH_DEPTH
        };
        if let Some(facts) = self.known.get(&key).copied().filter(fits) {
            return Ok(facts);
        }
        let bytes = self.objects.read(tree, Type::Tree, TREE_BYTES)?;
        let (mut facts, mut folded) = (Facts::default(), HashSet::new());
        for entry in tree_entries(&bytes, tree)? {
            let Some(name) = self.name(&entry, prefix)? else { continue };
            if !folded.insert(part_key(name)) {
                self.refuse(self.skip.names, prefix, entry.name, Fault::Twin)?;
                continue;
            }
            let below = match entry.mode {
                Mode::File { .. } => Facts { files: 1, longest: name.len(), deepest: 1 },
                Mode::Directory => {
                    let below = self.directory(entry.id, &format!("{prefix}{name}/"))?;
                    Facts { longest: below.longest + name.len() + 1, deepest: below.deepest + 1, ..below }
                }
                Mode::Link | Mode::Module | Mode::Unknown => continue,
            };
            facts.files = facts.files.saturating_add(below.files);
            facts.longest = facts.longest.max(below.longest);
            facts.deepest = facts.deepest.max(below.deepest);
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(key, facts);
        Ok(facts)
    }

    /// The name of an entry that will be in the package; none if it is left out.
    fn name<'e>(&mut self, entry: &TreeEntry<'e>, prefix: &str) -> Result<Option<&'e str>, Found> {
        match verdict(entry, prefix, self.allowed) {
            Ok(name) => Ok(Some(name)),
            Err(fault) => {
                self.refuse(self.skip.covers(&fault), prefix, entry.name, fault)?;
                Ok(None)
            }
        }
    }

    fn refuse(&mut self, is_skipped: bool, prefix: &str, name: &[u8], fault: Fault) -> Result<(), Found> {
        let path = format!("{prefix}{}", String::from_utf8_lossy(name));
        if !is_skipped {
            return Err(Found::Fault(path, fault));
        }
        self.left.add(path);
        Ok(())
    }
}

/// Whether an entry may be in a package, by what its directory says: its name, else why not.
pub(super) fn verdict<'e>(entry: &TreeEntry<'e>, prefix: &str, allowed: &HashSet<String>) -> Result<&'e str, Fault> {
    match entry.mode {
        Mode::Link => return Err(Fault::Link),
        Mode::Module => return Err(Fault::Module),
        Mode::Unknown => return Err(Fault::Special),
        Mode::File { .. } | Mode::Directory => {}
    }
    let whole = [prefix.as_bytes(), entry.name].concat();
    let path = EntryPath::parse_bytes(&whole).map_err(Fault::Name)?;
    let name = std::str::from_utf8(entry.name).expect("a path is text");
    if is_secret(name, entry.mode == Mode::Directory) && !allowed.contains(path.as_str()) {
        return Err(Fault::SecretName);
    }
    Ok(name)
}

fn is_secret(name: &str, is_dir: bool) -> bool {
    if is_dir {
        return SECRET_DIRS.contains(&name);
    }
    SECRET_NAMES.contains(&name)
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
        || SECRET_BEGINNINGS.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".pub")
}

fn depth(prefix: &str) -> usize {
    prefix.bytes().filter(|byte| *byte == b'/').count()
}

/// Why a tree was not looked at to its end.
enum Found {
    Fault(String, Fault),
    Git(GitError),
}

impl From<GitError> for Found {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

impl Found {
    fn of(self, commit: Oid) -> GitError {
        match self {
            Self::Fault(path, fault) => GitError::Refused { commit, path, fault },
            Self::Git(error) => error,
        }
    }
}
