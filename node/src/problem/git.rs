//! How errors of the bridge to git become problems.

use super::{Code, Problem};
use crate::flow::git::GitError;

impl From<GitError> for Problem {
    fn from(error: GitError) -> Self {
        let (code, hint) = match error {
            GitError::Publish(error) => return (*error).into(),
            GitError::Peek(error) => return (*error).into(),
            GitError::Blob(error) => return error.into(),
            GitError::OpenBlobs(error) => return error.into(),
            GitError::Load(error) => return error.into(),
            GitError::Own(error) => return error.into(),
            GitError::Journal(error) => return error.into(),
            GitError::Devices(error) => return (*error).into(),
            GitError::Write { ref source, .. } => return Self::io(error.to_string(), source),
            GitError::Refused { ref fault, .. } => {
                let code = if fault.skip() == Some("secrets") { Code::SecretFound } else { Code::TreeInvalid };
                let hint = match fault.skip() {
                    Some("secrets") => {
                        "history goes out with all its files: take it out of the history, leave such files \
                                        out by `--skip secrets`, or say that it is none by `--allow-secret PATH`"
                            .to_owned()
                    }
                    Some(skip) => format!("leave such entries out of every commit by `--skip {skip}`"),
                    None => "take it out of the history first, for example by `git filter-repo`".to_owned(),
                };
                return Self::from_error(code, &error).with_hint(hint);
            }
            GitError::Secret { .. } => (
                Code::SecretFound,
                "history goes out with all its files: take it out of the history, leave such files out by \
                 `--skip secrets`, or say that it is none by `--allow-secret PATH`",
            ),
            GitError::Start(_) => (Code::Failed, "install git, and see that it is on the search path"),
            GitError::NoRepository { .. } => {
                (Code::NotFound, "name the top of a repository, or a bare one; `git init` makes one")
            }
            GitError::Shallow { .. } => (Code::Failed, "get the rest first: `git fetch --unshallow`"),
            GitError::Empty => (Code::NotFound, "commit something first"),
            GitError::Missing { .. } => (
                Code::Failed,
                "is it a partial clone? Get the rest by `git fetch --refetch --no-filter`; else see what `git fsck` says",
            ),
            GitError::Program { .. }
            | GitError::Garbled { .. }
            | GitError::OtherType { .. }
            | GitError::Malformed { .. } => (Code::Failed, "see what `git fsck` says of the repository"),
            GitError::TooLarge { .. } | GitError::TooMany { .. } | GitError::Pack { .. } => (Code::TreeInvalid, ""),
            GitError::VersionTaken { .. } => (
                Code::VersionTaken,
                "a version is for ever: name another in git, or leave such tags out by `--skip tags`",
            ),
            GitError::NotAWriter(_) => (Code::NotAWriter, ""),
            GitError::Taken { .. } => (Code::AlreadyExists, ""),
            GitError::NoRelease(_) => (Code::ReleaseNotFound, ""),
        };
        let problem = Self::from_error(code, &error);
        if hint.is_empty() { problem } else { problem.with_hint(hint) }
    }
}
