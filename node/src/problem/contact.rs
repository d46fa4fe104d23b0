//! How errors of links and of first contact become problems.

use syncra_protocol::link::LinkError;

use super::{Code, Problem};
use crate::flow::contact::{ContactError, Failed, GivenError};
use crate::flow::share::ShareError;

/// What whoever was given a link can do about it when nobody is behind it.
const ASK_AGAIN: &str =
    "ask whoever gave you the link for a new one; a link has the addresses of the moment it was made";

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        let hint = match &error {
            LinkError::Reference(error) => return (**error).clone().into(),
            LinkError::Content => "`syncra get REF -o DIR` writes such content into a directory",
            LinkError::Scheme => "a link begins with `syncra:`, a name with `@`: `@owner~key/name`",
            _ => "copy the whole link, from `syncra:` to its end",
        };
        Self::from_error(Code::BadArgument, &error).with_hint(hint)
    }
}

impl From<GivenError> for Problem {
    fn from(error: GivenError) -> Self {
        match error {
            GivenError::Name(error) => error.into(),
            GivenError::Link(error) => error.into(),
        }
    }
}

impl From<ContactError> for Problem {
    fn from(error: ContactError) -> Self {
        let (code, hint) = match &error {
            ContactError::Nobody => {
                (Code::Unreachable, "ask for a link that was made while a node was running, or `syncra connect` first")
            }
            ContactError::Unreachable { .. } => (Code::Unreachable, ASK_AGAIN),
            ContactError::WrongPeer { .. } => (Code::VerificationFailed, ASK_AGAIN),
            ContactError::NotThere { .. } => (Code::PackageNotFound, ASK_AGAIN),
            ContactError::Timeout { .. } => (Code::Timeout, Code::Timeout.hint()),
        };
        let problem = Self::from_error(code, &error).with_hint(hint);
        match &error {
            ContactError::Unreachable { failed } | ContactError::WrongPeer { failed } => failed
                .iter()
                .fold(problem, |problem, Failed { address, why }| problem.with_cause(format!("{address}: {why}"))),
            _ => problem,
        }
    }
}

impl From<ShareError> for Problem {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::Resolve(error) => error.into(),
            ShareError::Select(error) => (*error).into(),
            ShareError::Blob(error) => error.into(),
            ShareError::OpenBlobs(error) => error.into(),
        }
    }
}
