//! How errors of other modules become problems: one `From` per error enum, here and nowhere else.

use std::fmt;
use std::io;

use syncra_protocol::manifest::ManifestError;
use syncra_protocol::name::NameError;

use super::{Code, Problem};
use crate::api::token::TokenError;
use crate::config::ConfigError;
use crate::durable::WriteError;
use crate::flow::walk::{ReadError, WalkError};
use crate::home::{HomeError, KeyError};

impl Problem {
    /// An I/O error while doing `action`, for example "cannot read `/etc/x`".
    pub fn io(action: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(io_code(error), action.to_string()).with_cause(error.to_string())
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let code = match &error {
            WriteError::DiskFull { .. } => Code::DiskFull,
            WriteError::ReadOnly { .. } | WriteError::Permission { .. } => Code::PermissionDenied,
            WriteError::Sync { .. } | WriteError::Broken { .. } => Code::Failed,
            WriteError::Io { source, .. } => io_code(source),
        };
        Self::from_error(code, &error)
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        let what = match &error {
            ConfigError::In { wrong, .. } => wrong,
            other => other,
        };
        let code = match what {
            ConfigError::Read { source, .. } => io_code(source),
            ConfigError::TooLong { .. }
            | ConfigError::Malformed { .. }
            | ConfigError::Value { .. }
            | ConfigError::In { .. } => Code::ConfigInvalid,
            ConfigError::UnknownKey { .. } => Code::UnknownConfigKey,
        };
        Self::from_error(code, &error)
    }
}

impl From<HomeError> for Problem {
    fn from(error: HomeError) -> Self {
        let code = match error {
            HomeError::Write(WriteError::ReadOnly { .. } | WriteError::Permission { .. }) => Code::ReadOnlyHome,
            HomeError::Write(error) => return error.into(),
            HomeError::NoDirectory => Code::Usage,
            HomeError::NotADirectory { .. } => Code::AlreadyExists,
            HomeError::InUse { .. } => Code::HomeInUse,
            HomeError::Newer { .. } => Code::HomeVersion,
            HomeError::UnknownSchema { .. } => Code::HomeDamaged,
            HomeError::Read { ref source, .. } => io_code(source),
        };
        Self::from_error(code, &error)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::Write(error) => return error.into(),
            KeyError::Read { ref source, .. } => io_code(source),
            KeyError::Newer { .. } => Code::HomeVersion,
            KeyError::Missing { .. } | KeyError::Damaged { .. } => Code::HomeDamaged,
        };
        Self::from_error(code, &error)
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::from_error(Code::BadArgument, &error)
    }
}

impl From<ManifestError> for Problem {
    fn from(error: ManifestError) -> Self {
        Self::from_error(Code::ManifestInvalid, &error)
    }
}

impl From<WalkError> for Problem {
    fn from(error: WalkError) -> Self {
        let code = match &error {
            WalkError::Root { source, .. } | WalkError::Unreadable { source, .. } => io_code(source),
            WalkError::Pattern(_) => Code::ManifestInvalid,
            WalkError::Link { .. }
            | WalkError::Special { .. }
            | WalkError::Name { .. }
            | WalkError::Collision(_)
            | WalkError::Empty
            | WalkError::TooMany { .. } => Code::TreeInvalid,
        };
        Self::from_error(code, &error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Unreadable { source, .. } => io_code(source),
            ReadError::Changed { .. } => Code::SourceChanged,
        };
        Self::from_error(code, &error)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Write(error) => return error.into(),
            TokenError::Read { ref source, .. } => io_code(source),
            TokenError::Damaged { .. } => Code::HomeDamaged,
            TokenError::NotFound(_) => Code::TokenNotFound,
            TokenError::TooMany => Code::Conflict,
            TokenError::BadName => Code::BadArgument,
        };
        Self::from_error(code, &error)
    }
}

/// The code of an I/O error of which nothing but its kind is known.
fn io_code(error: &io::Error) -> Code {
    use io::ErrorKind as K;
    match error.kind() {
        K::NotFound => Code::NotFound,
        K::PermissionDenied | K::ReadOnlyFilesystem => Code::PermissionDenied,
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Code::DiskFull,
        K::AlreadyExists => Code::AlreadyExists,
        K::AddrInUse => Code::AddressInUse,
        K::TimedOut => Code::Timeout,
        K::ConnectionRefused
        | K::ConnectionReset
        | K::ConnectionAborted
        | K::HostUnreachable
        | K::NetworkUnreachable => Code::Unreachable,
        _ => Code::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_keep_what_the_system_said() {
        let full = Problem::io("cannot write `x`", &io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!((full.code, full.kind().exit_code()), (Code::DiskFull, 9));
        assert_eq!(full.to_string(), "cannot write `x`: no storage space");
    }
}
