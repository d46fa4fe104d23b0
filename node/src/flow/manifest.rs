//! The manifest of a directory as its author wrote it: what `check` and `publish` read.

use std::io;
use std::path::{Path, PathBuf};

use syncra_protocol::limits::MANIFEST_BYTES;
use syncra_protocol::manifest::{MANIFEST_FILE, Manifest, ManifestError};

/// Why there is no manifest to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadManifestError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory, a pipe, a device: reading it might never end.
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Longer than any manifest.
    #[error("`{}` has {bytes} bytes, at most {MANIFEST_BYTES} are allowed", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Not text.
    #[error("`{}` is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// Text, but no manifest.
    #[error("{}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<ManifestError>,
    },
}

/// Reads the manifest in `dir`; none if there is no such file.
///
/// # Errors
/// [`ReadManifestError`].
pub fn read(dir: &Path) -> Result<Option<Manifest>, ReadManifestError> {
    read_as(dir, |text| text)
}

/// The same; `meant` says what a text means in which a merge has left markers.
pub(super) fn read_as(dir: &Path, meant: impl FnOnce(String) -> String) -> Result<Option<Manifest>, ReadManifestError> {
    let path = dir.join(MANIFEST_FILE);
    let failed = |source| ReadManifestError::Read { path: path.clone(), source };
    let bytes = match std::fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.is_file() => return Err(ReadManifestError::NotAFile(path)),
        Ok(found) if found.len() > MANIFEST_BYTES as u64 => {
            return Err(ReadManifestError::TooLong { bytes: found.len(), path });
        }
        Ok(_) => std::fs::read(&path).map_err(failed)?,
    };
    let Ok(text) = String::from_utf8(bytes) else { return Err(ReadManifestError::NotText(path)) };
    Manifest::parse(&meant(text))
        .map(Some)
        .map_err(|source| ReadManifestError::Invalid { path, source: Box::new(source) })
}
