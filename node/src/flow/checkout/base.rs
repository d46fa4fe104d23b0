//! `.syncra/base.toml`: what a working directory is based on. Strict: what is not understood is refused, never dropped.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::{PARENT_LIMIT, RefClass};
use syncra_protocol::id::{BlobId, PackageId, ReleaseId};
use syncra_protocol::limits::RELEASE_FILES;
use syncra_protocol::name::RefName;
use syncra_protocol::path::EntryPath;

use super::Place;
use crate::durable::{self, WriteError};

/// The directory beside a package's files that belongs to us.
pub(crate) const STATE_DIR: &str = ".syncra";
const BASE_FILE: &str = "base.toml";
const FORMAT: u32 = 1;
/// Bytes of the file: a merge that touches a hundred thousand files.
const BASE_BYTES: u64 = 32 << 20;

/// What a working directory is based on, and what is being merged into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The package.
    pub package: PackageId,
    /// What a publish moves.
    pub place: Place,
    /// The release that its files were.
    pub release: ReleaseId,
    /// Releases that were merged in: further parents of the next release.
    pub merged: Vec<ReleaseId>,
    /// The package in which changes were proposed from here.
    pub proposal: Option<PackageId>,
    /// The last merge, until a publish or its end.
    pub unfinished: Option<Unfinished>,
}

/// A merge that can still be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The base before it.
    pub release: ReleaseId,
    /// What was merged in before it.
    pub merged: Vec<ReleaseId>,
    /// Whether all files are as it leaves them: false while it works, and after it was cut off.
    pub complete: bool,
    /// What somebody has to decide.
    pub conflicts: Vec<Conflict>,
    /// Files that it wrote, moved or removed.
    pub touched: Vec<Touched>,
}

/// Something that a merge left to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// The file.
    pub path: EntryPath,
    /// What it is.
    pub kind: ConflictKind,
    /// Where their file lies, if it lies beside ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<EntryPath>,
}

/// Sorts of conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// Lines between markers.
    Lines,
    /// No text, or too large: ours stays, theirs lies beside.
    Bytes,
    /// Theirs lies beside: its path is taken by something else.
    Place,
    /// We removed it, they changed it: theirs lies beside.
    RemovedHere,
    /// They removed it, we changed it: ours stays.
    RemovedThere,
    /// Both moved it, to different places: it stands at ours.
    Moved,
}

/// A file that a merge wrote, moved or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touched {
    /// The file.
    pub path: EntryPath,
    /// The number of its copy in `.syncra/merge`; none: there was no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<u32>,
    /// Whether it was executable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// What the merge leaves at its path; none in a note of an earlier version, which did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// What a merge leaves at a path: whatever else is found there later is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// No file.
    Nothing,
    /// A file with these bytes.
    File(BlobId),
}

/// How [`Left::Nothing`] is written; no id is as short.
const NOTHING: &str = "nothing";

impl Serialize for Left {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_str(NOTHING),
            Self::File(hash) => serializer.collect_str(hash),
        }
    }
}

impl<'de> Deserialize<'de> for Left {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            NOTHING => Ok(Self::Nothing),
            hash => hash.parse().map(Self::File).map_err(serde::de::Error::custom),
        }
    }
}

/// Why it is not known what a directory is based on.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The system refuses.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another command changes the directory.
    #[error("another command works in `{}`", dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// Not what this version writes.
    #[error("`{}` does not say what the directory is based on: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// An id as people write it.
#[derive(Clone, Copy)]
struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: std::str::FromStr<Err: std::fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    package: Text<PackageId>,
    branch: Option<RefName>,
    channel: Option<RefName>,
    release: Text<ReleaseId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    merged: Vec<Text<ReleaseId>>,
    proposal: Option<Text<PackageId>>,
    merge: Option<FileMerge>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMerge {
    complete: bool,
    release: Text<ReleaseId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    merged: Vec<Text<ReleaseId>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<Conflict>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    touched: Vec<Touched>,
}

impl Base {
    /// What the directory is based on, if it is a checkout.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn read(dir: &Path) -> Result<Option<Self>, BaseError> {
        let path = path(dir);
        let failed = |source| BaseError::Read { path: path.clone(), source };
        let found = match std::fs::symlink_metadata(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            found => found.map_err(failed)?,
        };
        let invalid = |reason: &str| BaseError::Invalid { path: path.clone(), reason: reason.to_owned() };
        if !found.is_file() || found.len() > BASE_BYTES {
            return Err(invalid("it is no file, or far too long"));
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        Self::parse(&text).map(Some).map_err(|reason| invalid(&reason))
    }

    /// Writes it into a directory, whole or not at all.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn write(&self, dir: &Path) -> Result<(), BaseError> {
        let (path, text) = (path(dir), self.to_string());
        if text.len() as u64 > BASE_BYTES {
            // It could not be read again, and so nothing be taken back.
            let reason = format!("it would be longer than {BASE_BYTES} bytes");
            let source = io::Error::new(io::ErrorKind::FileTooLarge, reason);
            return Err(WriteError::from_io(&path, source).into());
        }
        durable::make_dir(&dir.join(STATE_DIR))?;
        Ok(durable::replace(&path, text.as_bytes())?)
    }

    /// The parents of a release that is made from here, the main one first.
    #[must_use]
    pub fn parents(&self) -> Vec<ReleaseId> {
        std::iter::once(self.release).chain(self.merged.iter().copied()).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if file.format != FORMAT {
            return Err(format!("its format is {}, this version knows {FORMAT}", file.format));
        }
        let place = match (file.branch, file.channel) {
            (Some(name), None) => Place { class: RefClass::Branch, name },
            (None, Some(name)) => Place { class: RefClass::Channel, name },
            _ => return Err("it has to name either a branch or a channel".to_owned()),
        };
        let ids = |ids: Vec<Text<ReleaseId>>| ids.into_iter().map(|id| id.0).collect();
        let unfinished = file.merge.map(|merge| Unfinished {
            release: merge.release.0,
            merged: ids(merge.merged),
            complete: merge.complete,
            conflicts: merge.conflicts,
            touched: merge.touched,
        });
        let (package, release) = (file.package.0, file.release.0);
        let proposal = file.proposal.map(|id| id.0);
        let base = Self { package, place, release, merged: ids(file.merged), proposal, unfinished };
        base.check()?;
        Ok(base)
    }

    fn check(&self) -> Result<(), String> {
        let parents = self.parents();
        let distinct: std::collections::BTreeSet<_> = parents.iter().collect();
        if parents.len() > PARENT_LIMIT || distinct.len() < parents.len() {
            return Err("it names a release twice, or too many".to_owned());
        }
        let touched = self.unfinished.as_ref().map_or(0, |merge| merge.touched.len() as u64);
        if touched > 2 * RELEASE_FILES {
            return Err("it names more files than there can be".to_owned());
        }
        Ok(())
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (branch, channel) = match self.place.class {
            RefClass::Branch => (Some(self.place.name.clone()), None),
            RefClass::Channel | RefClass::Tag => (None, Some(self.place.name.clone())),
        };
        let ids = |ids: &[ReleaseId]| ids.iter().copied().map(Text).collect();
        let merge = self.unfinished.clone().map(|unfinished| FileMerge {
            release: Text(unfinished.release),
            merged: ids(&unfinished.merged),
            complete: unfinished.complete,
            conflicts: unfinished.conflicts,
            touched: unfinished.touched,
        });
        let (package, release, merged) = (Text(self.package), Text(self.release), ids(&self.merged));
        let proposal = self.proposal.map(Text);
        let file = File { format: FORMAT, package, branch, channel, release, merged, proposal, merge };
        let text = toml::to_string(&file).map_err(|_| std::fmt::Error)?;
        write!(
            f,
            "# What this directory was checked out from. `syncra` keeps this file; it is never published.\n{text}"
        )
    }
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(STATE_DIR).join(BASE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        let path = |text| EntryPath::parse(text).unwrap();
        let conflict = |kind, beside| Conflict { path: path("a/b"), kind, beside };
        let (id, other) = (ReleaseId::from_bytes([1; 32]), ReleaseId::from_bytes([2; 32]));
        Base {
            package: PackageId::from_bytes([3; 32]),
            place: Place { class: RefClass::Branch, name: RefName::parse("work/fins").unwrap() },
            release: id,
            merged: vec![other],
            proposal: Some(PackageId::from_bytes([4; 32])),
            unfinished: Some(Unfinished {
                release: id,
                merged: Vec::new(),
                complete: true,
                conflicts: vec![
                    conflict(ConflictKind::Lines, None),
                    conflict(ConflictKind::Bytes, Some(path("a/b.theirs"))),
                ],
                touched: vec![
                    Touched { path: path("a/b"), copy: Some(0), executable: true, left: Some(Left::Nothing) },
                    Touched {
                        path: path("c"),
                        copy: None,
                        executable: false,
                        left: Some(Left::File(BlobId::of(b"c"))),
                    },
                    Touched { path: path("d"), copy: None, executable: false, left: None },
                ],
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Base::read(dir.path()).unwrap(), None);
        let plain = Base { place: Place::stable(), merged: Vec::new(), proposal: None, unfinished: None, ..base() };
        for base in [base(), plain] {
            base.write(dir.path()).unwrap();
            assert_eq!(Base::read(dir.path()).unwrap(), Some(base));
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_refused_or_read_as_it_stands() {
        let text = base().to_string();
        for at in 0..text.len() {
            for byte in [b'0', b'z', b'"', b'\n', b'=', b'['] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                for damaged in [&bytes[..], &bytes[..at]] {
                    let damaged = String::from_utf8_lossy(damaged);
                    if let Ok(read) = Base::parse(&damaged) {
                        assert_eq!(Base::parse(&read.to_string()), Ok(read), "{damaged}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let text = base().to_string();
        let damaged = [
            text.replace("format = 1", "format = 2"),
            text.replace("branch = ", "tag = "),
            text.replace("branch = ", "channel = \"stable\"\nbranch = "),
            text.replace("path = \"c\"", "path = \"../c\""),
            text.replace("\"lines\"", "\"other\""),
            text.replace("\"nothing\"", "\"something\""),
            text.replace("[merge]", "strange = 1\n[merge]"),
            text.replace(&ReleaseId::from_bytes([2; 32]).to_string(), &ReleaseId::from_bytes([1; 32]).to_string()),
            String::new(),
        ];
        for damaged in damaged {
            assert_ne!(damaged, text);
            assert!(Base::parse(&damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn what_would_be_too_long_to_be_read_again_is_not_written_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let plain = Base { unfinished: None, ..base() };
        plain.write(dir.path()).unwrap();
        let before = std::fs::read(path(dir.path())).unwrap();
        let name = "a".repeat(250);
        let touch = |n: u64| Touched {
            path: EntryPath::parse(&format!("{n}/{name}")).unwrap(),
            copy: None,
            executable: false,
            left: None,
        };
        let mut long = base();
        if let Some(merge) = &mut long.unfinished {
            merge.touched = (0..BASE_BYTES / 250).map(touch).collect();
        }
        assert!(matches!(long.write(dir.path()), Err(BaseError::Write(_))));
        assert_eq!(std::fs::read(path(dir.path())).unwrap(), before, "what was noted stays");
        // Whoever made it so long: nothing of it is taken into memory.
        let file = std::fs::OpenOptions::new().write(true).open(path(dir.path())).unwrap();
        file.set_len(BASE_BYTES + 1).unwrap();
        assert!(
            matches!(Base::read(dir.path()), Err(BaseError::Invalid { reason, .. }) if reason.contains("too long"))
        );
    }
}
