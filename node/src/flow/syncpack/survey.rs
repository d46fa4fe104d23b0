//! The first look at a `.syncpack`: all of it is read, summed and bounded, and nothing is kept.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use syncra_protocol::id::BlobId;
use syncra_protocol::limits::{EVIDENCE_LOGS, LOG_ENTRIES};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::note::NoteError;

use super::frame::{Frame, FrameError, PackageFrame, Reader};

/// Packages in one file: bounds the work before anything is known to be useful.
const PACKAGES: usize = 4_096;
/// Bytes of all entries in one file, held in memory while they are verified.
const HISTORY_BYTES: usize = 256 << 20;
/// Blobs in one file.
const BLOBS: usize = 8 << 20;

/// What is in a file.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) packages: Vec<SurveyedPackage>,
    pub(super) blobs: HashSet<BlobId>,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

/// One history in a file; nothing of it is verified but the notes' signatures.
#[derive(Debug)]
pub(super) struct SurveyedPackage {
    pub(super) begin: PackageFrame,
    pub(super) logs: Vec<SurveyedLog>,
}

#[derive(Debug)]
pub(super) struct SurveyedLog {
    pub(super) head: Head,
    pub(super) entries: Vec<Vec<u8>>,
}

/// Why a file is refused before its histories are looked at.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A log without its package, entries without their log, a history behind a blob.
    #[error("its frames are out of order")]
    Order,
    /// A note that does not verify, or is another log's.
    #[error("a note in it does not verify")]
    Note(#[from] NoteError),
    /// A note under another log's name.
    #[error("a note in it is another log's")]
    OtherLog,
    /// More of something than a file may have.
    #[error("more {0} than a file may have")]
    TooMany(&'static str),
}

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Reader<BufReader<File>>, SurveyError> {
    let file = File::open(path).map_err(FrameError::Read)?;
    Ok(Reader::open(BufReader::with_capacity(1 << 20, file))?)
}

/// Reads the whole file.
pub(super) fn survey(path: &Path) -> Result<Survey, SurveyError> {
    let mut reader = open(path)?;
    let mut survey = Survey { bytes: std::fs::metadata(path).map_err(FrameError::Read)?.len(), ..Survey::default() };
    let mut history_bytes = 0;
    while let Some(frame) = reader.read()? {
        if !survey.blobs.is_empty() && !matches!(frame, Frame::Blob(_)) {
            return Err(SurveyError::Order);
        }
        match frame {
            Frame::Package(begin) => {
                if survey.packages.len() == PACKAGES {
                    return Err(SurveyError::TooMany("packages"));
                }
                survey.packages.push(SurveyedPackage { begin, logs: Vec::new() });
            }
            Frame::Log(begin) => {
                let package = survey.packages.last_mut().ok_or(SurveyError::Order)?;
                if package.logs.len() == EVIDENCE_LOGS {
                    return Err(SurveyError::TooMany("logs"));
                }
                let head = Head::verify(&begin.note)?;
                if *head.origin() != begin.origin {
                    return Err(SurveyError::OtherLog);
                }
                package.logs.push(SurveyedLog { head, entries: Vec::new() });
            }
            Frame::Entries(entries) => {
                let log = survey.packages.last_mut().and_then(|package| package.logs.last_mut());
                let log = log.ok_or(SurveyError::Order)?;
                history_bytes += entries.iter().map(Vec::len).sum::<usize>();
                if history_bytes > HISTORY_BYTES || (log.entries.len() + entries.len()) as u64 > LOG_ENTRIES {
                    return Err(SurveyError::TooMany("entries"));
                }
                log.entries.extend(entries);
            }
            Frame::Blob(bytes) => {
                if survey.blobs.len() == BLOBS {
                    return Err(SurveyError::TooMany("blobs"));
                }
                survey.blobs.insert(BlobId::of(&bytes));
            }
            Frame::End(_) => return Err(SurveyError::Order),
        }
    }
    Ok(survey)
}
