//! How errors of the blob store become problems.

use super::{Code, Problem};
use crate::blobs::{BlobError, OpenError};

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Blob(error) => error.into(),
            OpenError::Busy(_) => Self::from_error(Code::HomeInUse, &error),
            OpenError::Unanswered { .. } => Self {
                retryable: true,
                ..Self::from_error(Code::StoreFailed, &error)
                    .with_hint("nothing was changed; check the disk, or its network, then try again")
            },
            OpenError::Library(_) => Self::from_error(Code::StoreFailed, &error),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        let code = match &error {
            BlobError::StorageFull { .. } => Code::DiskFull,
            BlobError::Missing(_) | BlobError::Range { .. } => Code::NotHeld,
            BlobError::Damaged(_) | BlobError::TooLarge { .. } | BlobError::NotASequence(_) => Code::ContentInvalid,
            BlobError::Stopped => Code::StoreFailed,
            BlobError::Io { doing, source } => return Self::io(format!("{doing} failed"), source),
        };
        Self::from_error(code, &error)
    }
}
