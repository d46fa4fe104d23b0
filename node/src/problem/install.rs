//! How errors of what is installed, and of collection, become problems.

use super::{Code, Problem};
use crate::flow::content::ContentError;
use crate::flow::follow::FollowError;
use crate::flow::gc::GcError;
use crate::flow::install::InstallError;
use crate::installed::InstalledError;
use crate::witness::Unwitnessed;

impl From<InstalledError> for Problem {
    fn from(error: InstalledError) -> Self {
        let code = match error {
            InstalledError::Write(error) => return error.into(),
            InstalledError::Read { ref source, .. } => return Self::io(error.to_string(), source),
            InstalledError::Damaged { .. } => Code::InstalledDamaged,
            InstalledError::NoGeneration(_) => Code::GenerationNotFound,
            InstalledError::SalvageFull { .. } => {
                return Self::from_error(Code::InstalledDamaged, &error)
                    .with_hint("look through it and delete what nobody misses; nothing of it goes by itself");
            }
        };
        Self::from_error(code, &error)
    }
}

impl From<ContentError> for Problem {
    fn from(error: ContentError) -> Self {
        let code = match error {
            ContentError::Blob(error) => return error.into(),
            ContentError::Open(error) => return error.into(),
            ContentError::Load(error) => return error.into(),
            ContentError::Fetch(error) => return error.into(),
            ContentError::NotHeld { .. } => Code::NotHeld,
            ContentError::UnknownPackage(_) => Code::PackageNotFound,
            ContentError::UnknownRelease(_) => Code::ReleaseNotFound,
        };
        Self::from_error(code, &error)
    }
}

impl From<InstallError> for Problem {
    fn from(error: InstallError) -> Self {
        let code = match error {
            InstallError::Content(error) => return error.into(),
            InstallError::Release(error) => return error.into(),
            InstallError::Unpack(error) => return error.into(),
            InstallError::Installed(error) => return error.into(),
            InstallError::Write(error) => return error.into(),
            InstallError::Blob(error) => return error.into(),
            InstallError::OpenBlobs(error) => return error.into(),
            InstallError::Load(error) => return error.into(),
            InstallError::Select { ref source, .. } => {
                let Self { code, hint, .. } = Self::from((**source).clone());
                return Self { hint, ..Self::from_error(code, &error) };
            }
            InstallError::Unwitnessed { source: Unwitnessed::Nobody { .. }, .. } => {
                return Self::from_error(Code::Unwitnessed, &error).with_hint(
                    "`syncra config set policy.min_witnesses` and `syncra config set policy.min_witnessed_hours`, both without a \
                     value, ask for none",
                );
            }
            InstallError::Unwitnessed { .. } => Code::Unwitnessed,
            InstallError::Blocked { .. } => Code::Blocked,
            InstallError::Conflict { .. } | InstallError::Unsettled => Code::NeedsConflict,
            InstallError::StillNeeded { .. } => Code::StillNeeded,
            InstallError::Changed => Code::Conflict,
            InstallError::NotInstalled(_) => Code::NotInstalled,
            InstallError::NothingBefore => Code::GenerationNotFound,
            InstallError::NoRoom { .. } => Code::DiskFull,
            InstallError::WrongFile { .. } => Code::ContentInvalid,
            InstallError::Selector(_) => Code::InstalledDamaged,
        };
        Self::from_error(code, &error)
    }
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Journal(error) => error.into(),
            FollowError::Load(error) => error.into(),
            FollowError::Installed(error) => error.into(),
            FollowError::Install(error) => error.into(),
            FollowError::Release(error) => error.into(),
            FollowError::OpenBlobs(error) => error.into(),
            FollowError::TooMany => Self::from_error(Code::PolicyRefused, &error)
                .with_hint("`syncra follow PKG --off` makes room; `syncra update` works without following"),
            FollowError::Selector(_) => Self::from_error(Code::InstalledDamaged, &error),
        }
    }
}

impl From<GcError> for Problem {
    fn from(error: GcError) -> Self {
        match error {
            GcError::Installed(error) => error.into(),
            GcError::Load(error) => error.into(),
            GcError::Blob(error) => error.into(),
            GcError::OpenBlobs(error) => error.into(),
            GcError::Write(error) => error.into(),
            GcError::Journal(error) => error.into(),
            GcError::OwnContent { .. } => Self::from_error(Code::ContentInvalid, &error),
        }
    }
}
