//! The bridge to git: a repository's history as a package's, and a package's as a repository. Why so: `docs/design/git.md`.
//!
//! | file | does |
//! |---|---|
//! | `program` | calls the `git` program, on repositories that nobody vouches for |
//! | `object` `names` `note` | git's bytes; names of refs both ways; what a release keeps of the object it comes from |
//! | `survey` `trees` | what a repository holds; what of it could not be a package |
//! | `pack` `manifests` | files and directories as blobs, each once however many commits have it |
//! | `import` `write` | the verb; one append for thousands of entries |
//! | `export` | back again |

use std::path::PathBuf;

use syncra_protocol::name::PackageName;
use syncra_protocol::path::{EntryPathError, PathRule};
use syncra_protocol::tree::pack::PackError;

use super::devices::DevicesError;
use super::peek::PeekError;
use super::publish::PublishError;
use super::secrets::Finding;
use crate::blobs::{self, BlobError};
use crate::history::{LoadError, OwnError};
use crate::journal::AppendError;

mod export;
mod import;
mod manifests;
mod names;
mod note;
mod object;
mod pack;
mod program;
mod survey;
mod trees;
mod write;

pub use export::{Exported, export};
pub use import::{Imported, Plan, Request, import, plan};
pub use object::{Oid, Type};

/// What may be left out of a history that otherwise could not be taken in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// Symbolic links.
    pub links: bool,
    /// Submodules.
    pub modules: bool,
    /// Paths that some system cannot have, or that are one path on some.
    pub names: bool,
    /// Files that look like secrets, by their name or what is in them.
    pub secrets: bool,
    /// Tags that name a version which was published with other files.
    pub tags: bool,
}

impl Skip {
    const fn covers(&self, fault: &Fault) -> bool {
        match fault {
            Fault::Link => self.links,
            Fault::Module => self.modules,
            // How long a path is depends on where its directory lies, and directories are looked at once.
            Fault::Name(error) => self.names && !matches!(error.rule(), PathRule::Long | PathRule::Deep),
            Fault::Twin => self.names,
            Fault::SecretName => self.secrets,
            Fault::Special => false,
        }
    }
}

/// Why an entry of a tree cannot be in a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A symbolic link.
    #[error("is a symbolic link; packages hold regular files only")]
    Link,
    /// Another repository.
    #[error("is a submodule, whose files are in another repository")]
    Module,
    /// A mode that git itself does not write.
    #[error("is neither a file nor a directory")]
    Special,
    /// Its path.
    #[error("cannot be a path in a package: {0}")]
    Name(#[source] EntryPathError),
    /// Another entry has this name on other systems.
    #[error("has the name of another entry on some file systems")]
    Twin,
    /// Such files hold secrets.
    #[error("is a file of the kind that holds secrets")]
    SecretName,
}

impl Fault {
    /// What `--skip` calls it; none if there is no way round.
    #[must_use]
    pub const fn skip(&self) -> Option<&'static str> {
        match self {
            Self::Link => Some("links"),
            Self::Module => Some("modules"),
            Self::Name(error) if matches!(error.rule(), PathRule::Long | PathRule::Deep) => None,
            Self::Name(_) | Self::Twin => Some("names"),
            Self::SecretName => Some("secrets"),
            Self::Special => None,
        }
    }
}

/// What was left out because it was to be: how much, and the first of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Left {
    /// How much.
    pub n: u64,
    /// The first of it.
    pub examples: Vec<String>,
}

/// Examples that are kept of what is left out.
const EXAMPLES: usize = 16;

impl Left {
    fn add(&mut self, what: String) {
        self.n += 1;
        if self.examples.len() < EXAMPLES && !self.examples.contains(&what) {
            self.examples.push(what);
        }
    }
}

/// Why there is no package, or no repository. Nothing was signed, and no directory has appeared.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program does not start.
    #[error("the program `git` does not run")]
    Start(#[source] std::io::Error),
    /// The program complains.
    #[error("git {verb}: {said}")]
    Program {
        /// What it was asked to do.
        verb: &'static str,
        /// Its complaint.
        said: String,
    },
    /// The program's answer is not what it is known to be.
    #[error("git {verb} answered something unexpected")]
    Garbled {
        /// What it was asked to do.
        verb: &'static str,
    },
    /// No repository there, or one of which something lies elsewhere: only what was named is taken in.
    #[error("`{}` is not the top of a git repository{}", dir.display(), Elsewhere(outside.as_deref()))]
    NoRepository {
        /// The directory.
        dir: PathBuf,
        /// What lies outside of it and would be read.
        outside: Option<PathBuf>,
    },
    /// Its history is cut off.
    #[error("the repository in `{}` is shallow: the beginning of its history is not there", dir.display())]
    Shallow {
        /// The directory.
        dir: PathBuf,
    },
    /// Nothing was committed.
    #[error("no branch or tag of the repository has a commit with files")]
    Empty,
    /// An object is missing.
    #[error("the repository has no object {id}")]
    Missing {
        /// The object.
        id: Oid,
    },
    /// An object is another than it is named as.
    #[error("object {id} is no {}", wanted.as_str())]
    OtherType {
        /// The object.
        id: Oid,
        /// What it should be.
        wanted: Type,
    },
    /// An object that cannot be read.
    #[error("object {id} {how}")]
    Malformed {
        /// The object.
        id: Oid,
        /// What is wrong.
        how: Bad,
    },
    /// An object is larger than it may be.
    #[error("object {id} has {size} bytes, at most {limit} are read")]
    TooLarge {
        /// The object.
        id: Oid,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// More than is taken in.
    #[error("more than {max} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A path of a commit cannot be in a package.
    #[error("`{path}` in commit {commit} {fault}")]
    Refused {
        /// The first commit that has it.
        commit: Oid,
        /// The path; what is no text in it is replaced.
        path: String,
        /// Why.
        fault: Fault,
    },
    /// A file holds what looks like a secret.
    #[error("`{path}` in commit {commit} holds what looks like {} (line {})", finding.what, finding.line)]
    Secret {
        /// The first commit that has it.
        commit: Oid,
        /// The path.
        path: String,
        /// What it looks like, and where.
        finding: Finding,
    },
    /// A commit's tree exceeds a limit of releases.
    #[error("the files of commit {commit} cannot be a release")]
    Pack {
        /// The commit.
        commit: Oid,
        /// Why.
        source: PackError,
    },
    /// A tag names a version that has other files.
    #[error("the tag `{tag}` names version {version}, which was published with other files")]
    VersionTaken {
        /// The tag.
        tag: String,
        /// The version.
        version: String,
    },
    /// The package is not this device's to write.
    #[error("this device does not write to `{0}`")]
    NotAWriter(PackageName),
    /// The directory for a repository is taken.
    #[error("`{}` exists and is not an empty directory", dir.display())]
    Taken {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The place.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A package without a release that could be a commit.
    #[error("`{0}` has no release that could be a commit")]
    NoRelease(String),
    /// What publishing complains about too.
    #[error(transparent)]
    Publish(#[from] Box<PublishError>),
    /// Content of a release.
    #[error(transparent)]
    Peek(#[from] Box<PeekError>),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The log did not grow.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] AppendError),
    /// The identity's log did not grow.
    #[error(transparent)]
    Devices(#[from] Box<DevicesError>),
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// It is not what objects of its type look like.
    #[error("is malformed")]
    Form,
    /// Its bytes have another id: somebody put them in its place.
    #[error("has other bytes than its id says")]
    Bytes,
}

/// What a repository reads from elsewhere, and what to name instead.
struct Elsewhere<'a>(Option<&'a std::path::Path>);

impl std::fmt::Display for Elsewhere<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(path) => {
                write!(f, ", but reads `{}`, which is outside: name the repository there, or a clone", path.display())
            }
            None => Ok(()),
        }
    }
}

impl From<PeekError> for GitError {
    fn from(error: PeekError) -> Self {
        Self::Peek(Box::new(error))
    }
}

/// The work went, the thread that did it is gone: only a panic ends so.
fn joined<T>(done: Result<T, tokio::task::JoinError>) -> T {
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
