//! How errors of checkouts, merges and proposals become problems.

use super::{Code, Problem};
use crate::flow::checkout::BaseError;
use crate::flow::merge::MergeError;
use crate::flow::propose::ProposeError;

impl From<BaseError> for Problem {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Write(error) => error.into(),
            BaseError::Read { ref source, .. } => Self::io(error.to_string(), source),
            BaseError::Busy { .. } => Self::from_error(Code::DirectoryInUse, &error),
            BaseError::Invalid { .. } => Self::from_error(Code::CheckoutInvalid, &error),
        }
    }
}

impl From<MergeError> for Problem {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Base(error) => error.into(),
            MergeError::Peek(error) => error.into(),
            MergeError::Manifest(error) => error.into(),
            MergeError::Walk(error) => error.into(),
            MergeError::Read(error) => error.into(),
            MergeError::Load(error) => error.into(),
            MergeError::Write { ref source, .. } => {
                let problem = Self::io(error.to_string(), source);
                problem.with_hint("mend that and try again; what was begun is taken back by `syncra merge --abort`")
            }
            MergeError::NoCheckout(_) => Self::from_error(Code::NotFound, &error)
                .with_hint("make one by `syncra checkout PKG DIR`, or say where it is: `--into DIR`"),
            MergeError::Unsolved(_) => Self::from_error(Code::Unsolved, &error),
            MergeError::CutOff => Self::from_error(Code::Unsolved, &error)
                .with_hint("`syncra merge --abort` gives back what was there, then merge again"),
            MergeError::NoMerge | MergeError::NoConflict(_) => Self::from_error(Code::NotFound, &error),
            MergeError::InTheWay(_) => {
                Self::from_error(Code::AlreadyExists, &error).with_hint("move it elsewhere, then merge again")
            }
            MergeError::TooMany => {
                Self::from_error(Code::Conflict, &error).with_hint("publish what was merged so far, then go on")
            }
        }
    }
}

impl From<ProposeError> for Problem {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Publish(error) => (*error).into(),
            ProposeError::Write(error) => error.into(),
            ProposeError::Load(error) => error.into(),
            ProposeError::NoCheckout(_) => {
                Self::from_error(Code::NotFound, &error).with_hint("make one by `syncra checkout PKG DIR`")
            }
            ProposeError::Unknown(_) => Self::from_error(Code::NotFound, &error)
                .with_hint("`syncra review PKG` asks those who have the package"),
            ProposeError::Ambiguous(_) => {
                Self::from_error(Code::Ambiguous, &error).with_hint("name it by its whole id")
            }
            ProposeError::Record(_) => Self::from_error(Code::BadArgument, &error),
            ProposeError::TooMany => Self::from_error(Code::Conflict, &error).with_hint("say it in the files instead"),
            ProposeError::NotYours => Self::from_error(Code::NotAWriter, &error),
        }
    }
}
