//! Logs as C2SP tlog-tiles, for auditors that are not ours: what there is of one log, and all of a package in a directory.
//!
//! Everything lies below the log's origin, so `<anywhere>/syncra/pkg/<package id>/<log key>` is the log's prefix, be it a
//! directory, a web server over that directory, or the gateway of a node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use syncra_protocol::evidence::IdentityLog;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::note::Vkey;
use syncra_protocol::log::tiles::{Row, Tile, bundle};
use syncra_protocol::origin::{Origin, Subject};

use super::Parts;
use super::stage::{self, Stage};
use crate::history::{Histories, History, LoadError};
use crate::journal::Regard;
use crate::logs::LogsError;

/// The newest signed note of a log, cosignatures included.
const CHECKPOINT: &str = "checkpoint";
/// The key that it verifies with, in C2SP's text form.
const VKEY: &str = "vkey";

/// One file of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFile {
    /// The newest note.
    Checkpoint,
    /// The verifier key.
    Vkey,
    /// Hashes or entries.
    Tile(Tile),
}

impl FromStr for LogFile {
    type Err = syncra_protocol::log::tiles::TilePathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        match path {
            CHECKPOINT => Ok(Self::Checkpoint),
            VKEY => Ok(Self::Vkey),
            _ => path.parse().map(Self::Tile),
        }
    }
}

/// A verified log that may be shown to everybody.
#[derive(Debug, Clone)]
pub struct PublicLog(Source);

#[derive(Debug, Clone)]
enum Source {
    /// One of the logs of this package.
    Package(Arc<History>, Origin),
    Identity(IdentityLog),
}

impl PublicLog {
    /// The log of this origin; none if it is not known, or its owner is blocked here.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn find(parts: &Parts, origin: &Origin) -> Result<Option<Self>, LoadError> {
        let histories = &parts.histories;
        let source = match origin.subject {
            Subject::Package(package) => {
                let history = histories.package(package)?.filter(|history| !parts.is_blocked(&history.state));
                let history = history.filter(|history| history.evidence.log(origin).is_some());
                history.map(|history| Source::Package(history, *origin))
            }
            Subject::Identity(identity) => {
                let is_blocked = histories.journal().truth().regard(&identity) == Regard::Blocked;
                if is_blocked { None } else { histories.identity_log(origin)?.map(Source::Identity) }
            }
        };
        Ok(source.map(Self))
    }

    /// Its newest verified head.
    ///
    /// # Panics
    /// Never: it was found with one.
    #[must_use]
    pub fn head(&self) -> &Head {
        match &self.0 {
            Source::Package(history, origin) => history.evidence.head(origin).expect("a log that is held has a head"),
            Source::Identity(log) => log.head(),
        }
    }

    /// The bytes of a tile of hashes; none if the log is too short, or of entries.
    #[must_use]
    pub fn hashes(&self, tile: Tile) -> Option<Vec<u8>> {
        match &self.0 {
            Source::Package(history, origin) => history.evidence.log(origin).and_then(|log: &Log| log.tile(tile)),
            Source::Identity(log) => log.log().tile(tile),
        }
    }

    /// The verifier key as a line.
    #[must_use]
    pub fn vkey(&self) -> String {
        vkey_line(self.head().origin())
    }
}

/// The verifier keys of all logs that speak for a package, one a line: each begins with its origin. None if the package is
/// not known, or an owner is blocked here.
///
/// # Errors
/// [`LoadError`].
pub fn vkeys(parts: &Parts, package: syncra_protocol::id::PackageId) -> Result<Option<String>, LoadError> {
    let history = parts.histories.package(package)?.filter(|history| !parts.is_blocked(&history.state));
    Ok(history.map(|history| history.evidence.heads().map(|head| vkey_line(head.origin())).collect()))
}

fn vkey_line(origin: &Origin) -> String {
    format!("{}\n", Vkey::of(origin))
}

/// Entries `from..to` of a log that is that long, as they stand in a bundle.
///
/// # Errors
/// [`LogsError`]; [`LogsError::Bounds`] if some are missing on this disk.
pub fn entries(histories: &Histories, origin: &Origin, from: u64, to: u64) -> Result<Vec<u8>, LogsError> {
    let entries = histories.entries(origin, from, to - from)?;
    if entries.len() as u64 == to - from { Ok(bundle(&entries)) } else { Err(LogsError::Bounds) }
}

/// A log that was written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Which, and how far.
    pub origin: Origin,
    /// Its entries.
    pub size: u64,
    /// Files that it makes.
    pub n_files: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportTilesError {
    /// The place is taken.
    #[error("`{}` exists and is not an empty directory", .0.display())]
    Taken(PathBuf),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Stored entries cannot be read.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// Writing.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What [`export`] would write.
#[must_use]
pub fn survey(history: &History) -> Vec<Exported> {
    let exported = |head: &Head| {
        let n_files = 2 + Tile::all(head.size()).count() as u64;
        Exported { origin: *head.origin(), size: head.size(), n_files }
    };
    history.evidence.heads().map(exported).collect()
}

/// Writes every log that speaks for a package below `dir`, which must be absent or empty. All appears at once or not at all.
///
/// # Errors
/// [`ExportTilesError`]; `dir` is then as it was.
pub fn export(parts: &Parts, history: &History, dir: &Path) -> Result<Vec<Exported>, ExportTilesError> {
    let histories = &parts.histories;
    let failed = |source| ExportTilesError::Write { path: dir.to_owned(), source };
    if !stage::is_free(dir).map_err(failed)? {
        return Err(ExportTilesError::Taken(dir.to_owned()));
    }
    let stage = Stage::beside(dir).map_err(failed)?;
    for head in history.evidence.heads() {
        let prefix = head.origin().to_string().split('/').fold(stage.path().to_owned(), |path, part| path.join(part));
        write(&prefix, CHECKPOINT, parts.witnesses.dress(head).note())?;
        write(&prefix, VKEY, vkey_line(head.origin()).as_bytes())?;
        let log = history.evidence.log(head.origin());
        for tile in Tile::all(head.size()) {
            let bytes = match (tile.row(), tile.entries(head.size())) {
                (Row::Entries, Some(range)) => entries(histories, head.origin(), range.start, range.end)?,
                _ => log.and_then(|log| log.tile(tile)).ok_or(LogsError::Bounds)?,
            };
            write(&prefix, &tile.to_string(), &bytes)?;
        }
    }
    stage.appear(dir).map_err(failed)?;
    Ok(survey(history))
}

fn write(prefix: &Path, name: &str, bytes: &[u8]) -> Result<(), ExportTilesError> {
    let path = name.split('/').fold(prefix.to_owned(), |path, part| path.join(part));
    let parent = path.parent().unwrap_or(prefix);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes));
    written.map_err(|source| ExportTilesError::Write { path, source })
}
