//! How errors of live drafts become problems.

use super::{Code, Problem};
use crate::flow::draft::{ApplyError, DraftError};

impl From<DraftError> for Problem {
    fn from(error: DraftError) -> Self {
        let (code, hint) = match error {
            DraftError::Base(error) => return error.into(),
            DraftError::Manifest(error) => return error.into(),
            DraftError::Walk(error) => return error.into(),
            DraftError::Pack(error) => return error.into(),
            DraftError::Frame(_) | DraftError::Open(_) => {
                (Code::Unreachable, "is the device still there? The same call goes on from where it was")
            }
            DraftError::Stopped(_) => (Code::NodeStopping, ""),
            DraftError::Fetch(error) => return error.into(),
            DraftError::Release(error) => return error.into(),
            DraftError::Blob(error) => return error.into(),
            DraftError::OpenBlobs(error) => return error.into(),
            DraftError::Devices(error) => return error.into(),
            DraftError::Load(error) => return error.into(),
            DraftError::Apply(error) => return error.into(),
            DraftError::NoPackage(_) => (Code::ManifestMissing, "name the package by `--package PKG`"),
            DraftError::NotAWriter(_) => {
                (Code::NotAWriter, "a draft is of a package that exists: `syncra publish` it once first")
            }
            DraftError::TooMany => (Code::Conflict, "end some by `syncra draft --end`"),
            DraftError::NotShown(_) => (Code::NotFound, ""),
            DraftError::NotFound { .. } => (
                Code::Unreachable,
                "is `syncra draft` running there, and may this device see it? `syncra connect` reaches a device elsewhere",
            ),
            DraftError::Verify(_) | DraftError::Other(_) => (Code::VerificationFailed, ""),
        };
        let problem = Self::from_error(code, &error);
        if hint.is_empty() { problem } else { problem.with_hint(hint) }
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Blob(error) => error.into(),
            ApplyError::Busy(error) => error.into(),
            ApplyError::Write { ref source, .. } => Self::io(error.to_string(), source),
            ApplyError::WrongFile(_) => Self::from_error(Code::ContentInvalid, &error),
            ApplyError::Taken(_) => {
                Self::from_error(Code::AlreadyExists, &error).with_hint("name a directory that does not exist yet")
            }
        }
    }
}
