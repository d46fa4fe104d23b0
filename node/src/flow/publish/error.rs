//! Why nothing was published.

use std::path::PathBuf;

use syncra_protocol::entry::{EntryError, RedactReason};
use syncra_protocol::id::{PackageId, ReleaseId};
use syncra_protocol::manifest::{MANIFEST_FILE, PackageKind, ResolveError};
use syncra_protocol::name::PackageName;
use syncra_protocol::version::Version;

use super::super::checkout::{BaseError, Place};
use super::super::devices::DevicesError;
use super::super::manifest::ReadManifestError;
use super::super::merge::MergeError;
use super::super::pack::PackTreeError;
use super::super::walk::WalkError;
use super::Unresolved;
use crate::blobs::{self, BlobError};
use crate::history::{LoadError, OwnError};
use crate::journal::AppendError;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The manifest is wrong, or cannot be read.
    #[error(transparent)]
    Manifest(#[from] ReadManifestError),
    /// A plain folder whose name or kind nobody said.
    #[error("`{}` has no {MANIFEST_FILE}, and no {missing} was given", dir.display())]
    Plain {
        /// The folder.
        dir: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
    /// What was said of the directory is not what its manifest says.
    #[error("{what} `{given}` was asked for, but {MANIFEST_FILE} says `{written}`")]
    Contradicts {
        /// What.
        what: &'static str,
        /// What was said.
        given: String,
        /// What is written.
        written: String,
    },
    /// Dependencies that contradict each other.
    #[error("the dependencies cannot be resolved")]
    Dependencies(#[from] ResolveError),
    /// A dependency that is not known here, or of which it is not sure whose is meant.
    #[error(transparent)]
    Unresolved(#[from] Box<Unresolved>),
    /// The tree.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Reading, cutting, storing.
    #[error(transparent)]
    Pack(#[from] PackTreeError),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// The version was published with other files.
    #[error("version {version} of `{name}` was published before, with other files")]
    VersionTaken {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// The release that has it.
        release: ReleaseId,
    },
    /// The owners took these very files away.
    #[error("the files of version {version} are those that were redacted ({reason})")]
    Redacted {
        /// The version.
        version: Version,
        /// Why.
        reason: RedactReason,
    },
    /// The package was begun as another kind.
    #[error("`{name}` is a {was}, and the kind of a package never changes")]
    KindChanged {
        /// The package.
        name: PackageName,
        /// What it is.
        was: PackageKind,
    },
    /// The note is too long.
    #[error("a note of {bytes} bytes, at most {max} are allowed")]
    LongNote {
        /// Bytes given.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An entry that may not be written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log did not grow.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The identity's log did not grow, or this device may not write to it.
    #[error(transparent)]
    Devices(#[from] Box<DevicesError>),
    /// The name is taken by a package whose history is not on this device: going on would begin another one.
    #[error("`{name}` is {}, whose history is not on this device", .package.fmt_short())]
    NotHere {
        /// The name.
        name: PackageName,
        /// What it means.
        package: PackageId,
    },
    /// More of the package's history is known to exist than what is on this device, as after a restore.
    #[error("the history of `{0}` is not whole on this device: what was written to it elsewhere is missing")]
    Incomplete(String),
    /// Two devices gave the name to two packages.
    #[error("two of your devices gave the name `{name}` to different packages: {}", .packages.join(" and "))]
    DivergedName {
        /// The name.
        name: PackageName,
        /// What it could mean.
        packages: Vec<String>,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] AppendError),
    /// The system stopped a task.
    #[error("reading the directory was interrupted")]
    Interrupted,
    /// What the directory was checked out from.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A merge into the directory is not finished, or its end cannot be noted.
    #[error(transparent)]
    Merge(#[from] Box<MergeError>),
    /// The package is somebody else's.
    #[error("this device does not write to `{0}`")]
    NotAWriter(String),
    /// This device's own log of the package.
    #[error("this device has signed two histories of `{0}`, and nobody takes more of either")]
    Forked(String),
    /// Channels, tags, and branches that are protected, are not a contributor's to move.
    #[error("to `{0}` this device publishes onto branches that are not protected")]
    Contributes(String),
    /// The directory was checked out from a package of another name.
    #[error("{MANIFEST_FILE} names `{name}`, but the directory was checked out from `{was}`")]
    OtherName {
        /// In the manifest.
        name: PackageName,
        /// The package's.
        was: PackageName,
    },
    /// What would be proposed is what was checked out.
    #[error("nothing changed since the checkout")]
    Nothing,
    /// Others have published since the checkout.
    #[error("{place} moved on since this was checked out: it is at {}", .at.join(" and at "))]
    MovedOn {
        /// The branch or channel.
        place: Place,
        /// The versions that it points to.
        at: Vec<String>,
    },
}
