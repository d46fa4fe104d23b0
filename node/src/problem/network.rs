//! How errors of the network and of fetching become problems.

use super::{Code, Problem};
use crate::net;
use crate::sync::fetch::FetchError;

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        let code = match error {
            FetchError::Content(error) => return error.into(),
            FetchError::Blob(error) => return error.into(),
            FetchError::Open(error) => return error.into(),
            FetchError::Redacted(_) => Code::Redacted,
            FetchError::Corrupt { .. } => Code::ContentInvalid,
            FetchError::NoProvider { .. } => Code::NotHeld,
            FetchError::Stalled { .. } => Code::Timeout,
            FetchError::OnlyRelayed { .. } => Code::OnlyRelayed,
        };
        Self::from_error(code, &error)
    }
}

impl From<net::StartError> for Problem {
    fn from(error: net::StartError) -> Self {
        let code = match &error {
            net::StartError::AddressInUse { .. } => Code::AddressInUse,
            net::StartError::AddressNotAvailable { .. } | net::StartError::UnsupportedAddress { .. } => {
                Code::BadArgument
            }
            net::StartError::Listen { source, .. } => return Self::io(error.to_string(), source),
            net::StartError::Transport(_) => Code::Failed,
        };
        Self::from_error(code, &error)
    }
}

impl From<net::DialError> for Problem {
    fn from(error: net::DialError) -> Self {
        use net::DialError as Why;
        let code = match &error {
            Why::UnsupportedAddress | Why::Itself => Code::BadArgument,
            Why::WrongPeer { .. } => Code::VerificationFailed,
            Why::Timeout => Code::Timeout,
            Why::Stopped => Code::NodeStopping,
            Why::OutOfReach | Why::Banned | Why::Limit(_) => Code::PolicyRefused,
            Why::UnknownHost
            | Why::NoSeeds
            | Why::NoAddress
            | Why::NoDeviceKey
            | Why::Unreachable { .. }
            | Why::TooManyWaiters => Code::Unreachable,
        };
        Self::from_error(code, &error)
    }
}
