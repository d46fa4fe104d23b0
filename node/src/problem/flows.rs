//! How errors of the flows and of what they work on become problems.

use syncra_protocol::fold::SelectError;
use syncra_protocol::reference::ReferenceError;

use super::{Code, Problem};
use crate::flow::StartError;
use crate::flow::backup::BackupError;
use crate::flow::blame::BlameError;
use crate::flow::diff::DiffError;
use crate::flow::fork::ForkFileError;
use crate::flow::get::GetError;
use crate::flow::heal::HealError;
use crate::flow::identity::{DAMAGED_RECOVERY, IdentityError, MISSING_RECOVERY};
use crate::flow::manifest::ReadManifestError;
use crate::flow::own::COMES_BACK;
use crate::flow::pack::PackTreeError;
use crate::flow::peek::PeekError;
use crate::flow::publish::{PublishError, Unresolved};
use crate::flow::redact::RedactError;
use crate::flow::refs::RefError;
use crate::flow::release::ReleaseError;
use crate::flow::resolve::{ResolveError, WrittenError};
use crate::flow::syncpack::frame::FrameError;
use crate::flow::syncpack::{ExportError, ImportError, SurveyError};
use crate::flow::tiles::ExportTilesError;
use crate::flow::unpack::UnpackError;
use crate::flow::verify::VerifyError;
use crate::flow::yank::YankError;
use crate::history::{CommitError, LoadError, OwnError};
use crate::index::IndexError;
use crate::journal::{self, AppendError, Refusal};
use crate::logs::LogsError;

/// What a table has not: the path that the flag names.
const ALLOW_SECRET: &str = "--allow-secret";

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Home(error) => return error.into(),
            StartError::Key(error) => return error.into(),
            StartError::Config(error) => return error.into(),
            StartError::Journal(error) => return error.into(),
            StartError::Append(error) => return error.into(),
            StartError::Logs(error) => return error.into(),
            StartError::Own(error) => return error.into(),
            StartError::Identity(error) => return error.into(),
            StartError::Write(error) => return error.into(),
            StartError::OtherKey { .. } | StartError::JournalLost { .. } => Code::HomeDamaged,
        };
        Self::from_error(code, &error)
    }
}

impl From<journal::OpenError> for Problem {
    fn from(error: journal::OpenError) -> Self {
        match error {
            journal::OpenError::Read { ref source, .. } => {
                let problem = Self::io(error.to_string(), source);
                problem.with_hint(Code::HomeDamaged.hint())
            }
            journal::OpenError::Write(error) => error.into(),
            journal::OpenError::Newer { .. } => Self::from_error(Code::HomeVersion, &error),
            journal::OpenError::Missing { .. } | journal::OpenError::Damaged { .. } => {
                Self::from_error(Code::HomeDamaged, &error)
            }
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let code = match error {
            AppendError::Disk(error) => return error.into(),
            AppendError::Closed => Code::NodeStopping,
            AppendError::Refused(Refusal::NotAtHome | Refusal::Behind { .. }) => Code::HomeCopied,
            AppendError::Refused(_) => Code::Conflict,
        };
        Self::from_error(code, &error)
    }
}

impl From<OwnError> for Problem {
    fn from(error: OwnError) -> Self {
        match error {
            OwnError::Journal(error) => error.into(),
            OwnError::Logs(error) => error.into(),
            OwnError::Head(_) | OwnError::Foreign(_) => Self::from_error(Code::HistoryInvalid, &error),
            OwnError::Entry(_) | OwnError::Log(_) | OwnError::Sign(_) => Self::from_error(Code::Failed, &error),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Logs(error) => error.into(),
            CommitError::OtherHistory => Self::from_error(Code::Forked, &error),
            CommitError::Journal(error) => error.into(),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Logs(error) => error.into(),
            LoadError::Head { .. } | LoadError::Entries { .. } | LoadError::Owner { .. } | LoadError::Genesis(_) => {
                Self::from_error(Code::HistoryInvalid, &error)
            }
        }
    }
}

impl From<LogsError> for Problem {
    fn from(error: LogsError) -> Self {
        match error {
            LogsError::Index(error) => error.into(),
            LogsError::Write(error) => error.into(),
            LogsError::Read { ref source, .. } => Self::io(error.to_string(), source),
            LogsError::Bounds => Self::from_error(Code::HistoryInvalid, &error),
        }
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        if matches!(error, IndexError::DiskFull) {
            return Self::from_error(Code::DiskFull, &error);
        }
        let problem = Self::from_error(Code::StoreFailed, &error);
        problem.with_hint("try again: what the index holds is made anew at the next start")
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Own(error) => error.into(),
            IdentityError::Write(error) => error.into(),
            IdentityError::Load(error) => error.into(),
            IdentityError::Entry(_) => Self::from_error(Code::Failed, &error),
            IdentityError::Read { ref source, .. } => Self::io(error.to_string(), source),
            IdentityError::Recovery { .. } => Self::from_error(Code::HomeDamaged, &error).with_hint(DAMAGED_RECOVERY),
            IdentityError::RecoveryGone => Self::from_error(Code::NotFound, &error).with_hint(MISSING_RECOVERY),
            IdentityError::NoRecovery(_) => Self::from_error(Code::NotFound, &error).with_hint(
                "it is where somebody wrote it down, or on the device that the identity began with, or where `syncra id rotate` was run last: `syncra id recovery` there",
            ),
        }
    }
}

impl From<ReleaseError> for Problem {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Blob(error) => error.into(),
            _ => Self::from_error(Code::ContentInvalid, &error),
        }
    }
}

impl From<UnpackError> for Problem {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Blob(error) => error.into(),
            UnpackError::NotEmpty { .. } => Self::from_error(Code::AlreadyExists, &error),
            UnpackError::WrongFile { .. } => Self::from_error(Code::ContentInvalid, &error)
                .with_hint("`syncra verify` tells whether bytes on this disk are damaged"),
            UnpackError::NeverCame => Self::from_error(Code::NotHeld, &error),
            UnpackError::Write { ref source, .. } | UnpackError::Read { ref source, .. } => {
                Self::io(error.to_string(), source)
            }
        }
    }
}

impl From<PackTreeError> for Problem {
    fn from(error: PackTreeError) -> Self {
        match error {
            PackTreeError::Read(error) => error.into(),
            PackTreeError::Blob(error) => error.into(),
            PackTreeError::Pack(_) => Self::from_error(Code::TreeInvalid, &error),
            PackTreeError::Secret { .. } => {
                let hint =
                    format!("take it out, or pass `{ALLOW_SECRET} PATH` with its path in the package if it is none");
                Self::from_error(Code::SecretFound, &error).with_hint(hint)
            }
        }
    }
}

impl From<ReadManifestError> for Problem {
    fn from(error: ReadManifestError) -> Self {
        match error {
            ReadManifestError::Read { ref source, .. } => Self::io(error.to_string(), source),
            ReadManifestError::Invalid { path, source } => {
                let problem = Self::from(*source);
                Self { message: format!("{}: {}", path.display(), problem.message), ..problem }
            }
            ReadManifestError::NotAFile(_) | ReadManifestError::TooLong { .. } | ReadManifestError::NotText(_) => {
                Self::from_error(Code::ManifestInvalid, &error)
            }
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let code = match error {
            PublishError::Walk(error) => return error.into(),
            PublishError::Pack(error) => return error.into(),
            PublishError::Blob(error) => return error.into(),
            PublishError::OpenBlobs(error) => return error.into(),
            PublishError::Load(error) => return error.into(),
            PublishError::Own(error) => return error.into(),
            PublishError::Journal(error) => return error.into(),
            PublishError::Devices(error) => return (*error).into(),
            PublishError::NotHere { package, .. } => {
                let hint = format!("connect to a device that has it, then `syncra info syncra:{package}`");
                return Self::from_error(Code::NotHeld, &error).with_hint(hint);
            }
            PublishError::Incomplete(_) => {
                let hint = format!("{COMES_BACK}. `--incomplete` publishes beside it, for when nobody has it any more");
                return Self::from_error(Code::NotHeld, &error).with_hint(hint);
            }
            PublishError::DivergedName { .. } => {
                let hint = "say which one keeps it: `syncra devices name NAME PACKAGE`";
                return Self::from_error(Code::Ambiguous, &error).with_hint(hint);
            }
            PublishError::Manifest(error) => return error.into(),
            PublishError::Plain { ref dir, missing } => {
                if !dir.is_dir() {
                    return Self::new(Code::NotFound, format!("there is no directory `{}`", dir.display()));
                }
                let hint = format!("write one by `syncra new`, or say `--{missing}` to publish a plain folder");
                return Self::from_error(Code::ManifestMissing, &error).with_hint(hint);
            }
            PublishError::Contradicts { what, .. } => {
                let hint = format!("leave out `--{what}`, or change it in `syncra.toml`");
                return Self::from_error(Code::BadArgument, &error).with_hint(hint);
            }
            PublishError::Dependencies(_) => Code::DependencyUnknown,
            PublishError::Unresolved(ref unresolved) => {
                return Self::from_error(Code::DependencyUnknown, &error).with_hint(how_to_resolve(unresolved));
            }
            PublishError::VersionTaken { .. } => Code::VersionTaken,
            PublishError::KindChanged { .. } => Code::KindChanged,
            PublishError::Redacted { .. } => {
                return Self::from_error(Code::Redacted, &error)
                    .with_hint("leave out what was to be taken away, and publish the rest under another version");
            }
            PublishError::LongNote { .. } => Code::BadArgument,
            PublishError::Base(error) => return error.into(),
            PublishError::Merge(error) => return (*error).into(),
            PublishError::Nothing => Code::Conflict,
            PublishError::Forked(_) => {
                let hint = "on another of your devices `syncra heal PKG` keeps the history that it has; publish from there, or with a new home. With this device only: `syncra id recover` with a new home";
                return Self::from_error(Code::Forked, &error).with_hint(hint);
            }
            PublishError::NotAWriter(_) => {
                let hint = "`syncra propose` offers your changes to those who may; `syncra role PKG` shows whom to ask for a role";
                return Self::from_error(Code::NotAWriter, &error).with_hint(hint);
            }
            PublishError::Contributes(_) => {
                let hint = "name a branch by `--branch NAME`, or offer it by `syncra propose`";
                return Self::from_error(Code::NotAWriter, &error).with_hint(hint);
            }
            PublishError::OtherName { .. } => {
                let hint = "a package keeps its name; to begin another one, copy the files to a new directory";
                return Self::from_error(Code::Conflict, &error).with_hint(hint);
            }
            PublishError::MovedOn { .. } => Code::MovedOn,
            PublishError::Entry(_) | PublishError::Interrupted => Code::Failed,
        };
        Self::from_error(code, &error)
    }
}

/// What makes it sure which package a dependency is.
fn how_to_resolve(unresolved: &Unresolved) -> String {
    let Unresolved { name, error: _, owners, missing } = unresolved;
    let package = &name.name;
    match (&owners[..], missing) {
        ([owner], _) => {
            format!("if it is theirs: `syncra trust {owner}`; or write `{owner}/{package}` in `syncra.toml`")
        }
        ([first, ..], _) => format!(
            "say whose you mean, for example by `syncra trust {first}`; or write `{first}/{package}` in `syncra.toml`"
        ),
        ([], Some(missing)) => format!(
            "the release that was checked out needs a package that is not known here: `syncra info syncra:{missing}` looks \
             for it and shows whose it is; then `syncra trust WHOM`"
        ),
        ([], None) if name.key.is_some() => format!("`syncra info {name}` looks for it"),
        ([], None) => format!(
            "`syncra search {package}` shows what there is of that name, and whose; then `syncra trust WHOM`, or write \
             `@owner~key/{package}` in `syncra.toml`"
        ),
    }
}

impl From<ReferenceError> for Problem {
    fn from(error: ReferenceError) -> Self {
        let problem = Self::from_error(Code::BadArgument, &error);
        match error.hint() {
            Some(hint) => problem.with_hint(format!("did you mean `{hint}`?")),
            None => {
                problem.with_hint("a package is `@owner~key/name` or `syncra:ID`, a release `…@VERSION` or `…@CHANNEL`")
            }
        }
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        let code = match error {
            ResolveError::Load(error) => return error.into(),
            ResolveError::Unknown(_) => Code::PackageNotFound,
            ResolveError::Ambiguous { .. } => Code::Ambiguous,
            ResolveError::NoPackage(_) => Code::BadArgument,
        };
        Self::from_error(code, &error)
    }
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Self {
        let code = match &error {
            SelectError::NoRef { .. }
            | SelectError::NoVersion(_)
            | SelectError::NoMatch(_)
            | SelectError::NoRelease(_) => Code::ReleaseNotFound,
            SelectError::Yanked { package, release, .. } => {
                let problem = Self::from_error(Code::Yanked, &error);
                let reference = format!("syncra:{package}@r:{release}");
                return problem.with_hint(format!("to take it all the same, name it exactly: `{reference}`"));
            }
            SelectError::Redacted { .. } => Code::Redacted,
            SelectError::Contested { .. } | SelectError::Reused { .. } | SelectError::Diverged { .. } => {
                Code::Contested
            }
            SelectError::Forked { .. } => Code::Forked,
            SelectError::Revoked { .. } => Code::Revoked,
        };
        Self::from_error(code, &error)
    }
}

impl From<WrittenError> for Problem {
    fn from(error: WrittenError) -> Self {
        let message = error.to_string();
        match error {
            WrittenError::Select(error) => error.into(),
            WrittenError::Several { releases, .. } => {
                let problem = Self::new(Code::Contested, message).with_hint("name one exactly, as listed");
                releases.into_iter().fold(problem, Self::with_cause)
            }
        }
    }
}

impl From<GetError> for Problem {
    fn from(error: GetError) -> Self {
        let code = match error {
            GetError::OpenBlobs(error) => return error.into(),
            GetError::Release(error) => return error.into(),
            GetError::Unpack(error) => return error.into(),
            GetError::Fetch(error) => return error.into(),
            GetError::Load(error) => return error.into(),
            GetError::Base(error) => return error.into(),
            GetError::Incomplete { .. } => Code::NotHeld,
            GetError::Taken { .. } => Code::AlreadyExists,
        };
        Self::from_error(code, &error)
    }
}

impl From<PeekError> for Problem {
    fn from(error: PeekError) -> Self {
        let code = match error {
            PeekError::Release(error) => return error.into(),
            PeekError::Fetch(error) => return error.into(),
            PeekError::Open(error) => return error.into(),
            PeekError::Load(error) => return error.into(),
            PeekError::NotHeld { .. } => Code::NotHeld,
            PeekError::WrongFile { .. } => Code::ContentInvalid,
        };
        Self::from_error(code, &error)
    }
}

impl From<DiffError> for Problem {
    fn from(error: DiffError) -> Self {
        match error {
            DiffError::Peek(error) => error.into(),
            DiffError::Directory(error) => error.into(),
            DiffError::Read(error) => error.into(),
        }
    }
}

impl From<BlameError> for Problem {
    fn from(error: BlameError) -> Self {
        match error {
            BlameError::Peek(error) => error.into(),
            BlameError::NoFile { .. } => Self::from_error(Code::NotFound, &error).with_hint(
                "name a file as it stands in the package; `syncra get PKG@VERSION -o DIR` writes all of them out",
            ),
        }
    }
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::OpenBlobs(error) => error.into(),
            VerifyError::Blob(error) => error.into(),
            VerifyError::Load(error) => error.into(),
        }
    }
}

impl From<YankError> for Problem {
    fn from(error: YankError) -> Self {
        match error {
            YankError::Select(error) => error.into(),
            YankError::Prose(error) => (*error).into(),
            YankError::Blob(error) => error.into(),
            YankError::OpenBlobs(error) => error.into(),
            YankError::Own(error) => error.into(),
            YankError::Devices(error) => error.into(),
            YankError::NotAWriter(_) => Self::from_error(Code::NotAWriter, &error),
            YankError::Entry(_) => Self::from_error(Code::Failed, &error),
            YankError::NoRelease(_) => Self::from_error(Code::BadArgument, &error)
                .with_hint("name one by `@VERSION` or `@r:RELEASE`: `syncra info PKG` shows them"),
        }
    }
}

impl From<HealError> for Problem {
    fn from(error: HealError) -> Self {
        match error {
            HealError::Roles(error) => error.into(),
            HealError::NotForked(_) => Self::from_error(Code::NotFound, &error)
                .with_hint("`syncra info PKG` names the logs whose key signed two histories"),
            HealError::Several(ref keys) => {
                let problem = Self::from_error(Code::Ambiguous, &error);
                let problem = keys.iter().fold(problem, |problem, key| problem.with_cause(key.clone()));
                problem.with_hint("name one by `--log KEY`")
            }
            HealError::Own(_) => Self::from_error(Code::Forked, &error).with_hint(
                "do it on another managing device of yours, or ask another owner; with this device only, `syncra id recover --revoke` with a new home",
            ),
            HealError::NotAuthorised(_) => Self::from_error(Code::NotAnOwner, &error)
                .with_hint("a managing device of the same identity may, and the package's owners: `syncra role PKG`"),
            HealError::Cut => Self::from_error(Code::Conflict, &error)
                .with_hint("`syncra devices` shows it; only the recovery key says more"),
            HealError::Nothing => Self::from_error(Code::NotHeld, &error)
                .with_hint("do it on a device that has the history which is to go on"),
        }
    }
}

impl From<RedactError> for Problem {
    fn from(error: RedactError) -> Self {
        match error {
            RedactError::Select(error) => error.into(),
            RedactError::Roles(error) => error.into(),
            RedactError::TooMany(_) => Self::from_error(Code::Conflict, &error)
                .with_hint("do it on another managing device of yours, or ask another owner"),
            RedactError::NoTexts(_) => Self::from_error(Code::BadArgument, &error)
                .with_hint("leave out `--only-texts` to redact its files, manifest and note"),
            RedactError::NoRelease(_) => {
                Self::from_error(Code::BadArgument, &error).with_hint("name one by `@VERSION` or `@r:RELEASE`")
            }
        }
    }
}

impl From<RefError> for Problem {
    fn from(error: RefError) -> Self {
        match error {
            RefError::Own(error) => error.into(),
            RefError::Load(error) => error.into(),
            RefError::Devices(error) => error.into(),
            RefError::NotAWriter(_) => Self::from_error(Code::NotAWriter, &error),
            RefError::Entry(_) => Self::from_error(Code::Failed, &error),
            RefError::NoRef { .. } => Self::from_error(Code::NotFound, &error),
            RefError::TagIsSet(_) => {
                Self::from_error(Code::Conflict, &error).with_hint("use a channel or a branch for what moves")
            }
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Exists(_) => Self::from_error(Code::AlreadyExists, &error),
            ExportError::Write(error) => error.into(),
            ExportError::OpenBlobs(error) => error.into(),
            ExportError::Blob(error) => error.into(),
            ExportError::Get(error) => error.into(),
            ExportError::Load(error) => error.into(),
            ExportError::Logs(error) => error.into(),
        }
    }
}

impl From<ExportTilesError> for Problem {
    fn from(error: ExportTilesError) -> Self {
        match error {
            ExportTilesError::Taken(_) => Self::from_error(Code::AlreadyExists, &error),
            ExportTilesError::Load(error) => error.into(),
            ExportTilesError::Logs(error) => error.into(),
            ExportTilesError::Write { ref source, .. } => Self::io(error.to_string(), source),
        }
    }
}

impl From<ForkFileError> for Problem {
    fn from(error: ForkFileError) -> Self {
        let code = match &error {
            ForkFileError::Read(source) => return Self::io("cannot read the file", source),
            ForkFileError::Proof(_) => Code::VerificationFailed,
        };
        Self::from_error(code, &error)
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let code = match error {
            ImportError::Survey(SurveyError::Frame(FrameError::Read(source))) => {
                return Self::io("cannot read it", &source);
            }
            ImportError::OpenBlobs(error) => return error.into(),
            ImportError::Blob(error) => return error.into(),
            ImportError::Load(error) => return error.into(),
            ImportError::Commit(error) => return error.into(),
            ImportError::Journal(error) => return error.into(),
            ImportError::Forked { .. } => Code::Forked,
            ImportError::Interrupted => Code::Failed,
            ImportError::Changed => Code::SourceChanged,
            ImportError::Survey(_)
            | ImportError::Genesis { .. }
            | ImportError::Evidence { .. }
            | ImportError::Incomplete(_)
            | ImportError::Stray(_)
            | ImportError::Release { .. } => Code::SyncpackInvalid,
        };
        Self::from_error(code, &error)
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        let code = match error {
            BackupError::Write(error) => return error.into(),
            BackupError::Home(error) => return error.into(),
            BackupError::Key(error) => return error.into(),
            BackupError::Journal(error) => return error.into(),
            BackupError::Append(error) => return error.into(),
            BackupError::Read { ref source, .. } => return Self::io(error.to_string(), source),
            BackupError::ShortPassphrase => Code::BadArgument,
            BackupError::Exists(_) | BackupError::UsedHome(_) => Code::AlreadyExists,
            BackupError::Foreign(_) | BackupError::Content(_) => Code::VerificationFailed,
            BackupError::Sealed => Code::WrongPassphrase,
            BackupError::TooLarge => Code::Failed,
        };
        Self::from_error(code, &error)
    }
}
