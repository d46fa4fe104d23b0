//! What can go wrong, in one place: every error that a person or program sees is a [`Problem`] with a [`Code`] of the
//! one table in `problem/codes.rs`. A code fixes the kind, and the kind fixes the exit code, so scripts can rely on both.
//!
//! Errors of other modules become problems in `problem/{blobs,checkout,contact,convert,flows,install,network}.rs` and nowhere
//! else.

mod blobs;
mod checkout;
mod codes;
mod contact;
mod convert;
mod draft;
mod flows;
mod git;
mod install;
mod network;
mod people;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use codes::Code;

/// What sort of thing went wrong: one kind, one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It did not work, and no better word fits.
    Failed,
    /// The call itself is wrong.
    Usage,
    /// The thing named does not exist.
    NotFound,
    /// An identity, a token, a scope or a file permission is missing.
    Permission,
    /// Something was offered that does not verify; fork proofs too.
    Verification,
    /// Nobody answered, or not in time.
    Unreachable,
    /// Two truths or two users of one thing.
    Conflict,
    /// A local rule says no.
    Policy,
    /// The disk or a quota is full.
    Disk,
    /// This verb needs a running node.
    NotRunning,
    /// The user stopped it.
    Interrupted,
}

impl Kind {
    /// The process exit code, a contract with scripts.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Permission => 4,
            Self::Verification => 5,
            Self::Unreachable => 6,
            Self::Conflict => 7,
            Self::Policy => 8,
            Self::Disk => 9,
            Self::NotRunning => 10,
            Self::Interrupted => 130,
        }
    }

    /// The code that says no more than this kind: what a newer node's unknown code is read as.
    fn general(self) -> Code {
        match self {
            Self::Failed => Code::Failed,
            Self::Usage => Code::Usage,
            Self::NotFound => Code::NotFound,
            Self::Permission => Code::PermissionDenied,
            Self::Verification => Code::VerificationFailed,
            Self::Unreachable => Code::Unreachable,
            Self::Conflict => Code::Conflict,
            Self::Policy => Code::PolicyRefused,
            Self::Disk => Code::DiskFull,
            Self::NotRunning => Code::NodeNotRunning,
            Self::Interrupted => Code::Interrupted,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Permission => "permission",
            Self::Verification => "verification",
            Self::Unreachable => "unreachable",
            Self::Conflict => "conflict",
            Self::Policy => "policy",
            Self::Disk => "disk",
            Self::NotRunning => "not_running",
            Self::Interrupted => "interrupted",
        })
    }
}

/// One failure, ready to be shown or sent: what happened, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ProblemBody", into = "ProblemBody")]
pub struct Problem {
    /// The row of the table.
    pub code: Code,
    /// What happened, with the values: lower case, no full stop.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// Whether the same call may work later, unchanged.
    pub retryable: bool,
}

impl Problem {
    /// A problem with the hint and retry rule that the table has for `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let hint = Some(code.hint()).filter(|hint| !hint.is_empty()).map(str::to_owned);
        Self { code, message: message.into(), hint, causes: Vec::new(), retryable: code.retryable() }
    }

    /// The same problem with a better hint than the table's.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same problem with one more cause below those it has.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// A problem whose message is `error` and whose causes are the chain of its sources.
    pub fn from_error(code: Code, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut problem = Self::new(code, error.to_string());
        problem.push_sources(error);
        problem
    }

    /// The kind, fixed by the code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.code.kind()
    }

    /// Appends the texts of all sources of `error`, leaving out those that only repeat what was said.
    fn push_sources(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !self.message.ends_with(&text) && self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            source = cause.source();
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Problem {}

/// A [`Problem`] as JSON has it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// The code of the error table, for example `E0512`.
    #[schema(example = "E0512")]
    code: String,
    /// The kind, which fixes the exit code.
    kind: Kind,
    /// What happened.
    message: String,
    /// What to do about it.
    hint: Option<String>,
    /// Whether the same call may work later, unchanged.
    retryable: bool,
    /// Why, outermost first; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

/// The JSON object that every failure answers with: `{"error": …}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub error: Problem,
}

impl From<Problem> for ProblemBody {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.number().to_owned(),
            kind: problem.kind(),
            message: problem.message,
            hint: problem.hint,
            retryable: problem.retryable,
            causes: problem.causes,
        }
    }
}

impl From<ProblemBody> for Problem {
    fn from(body: ProblemBody) -> Self {
        let code = Code::parse(&body.code).unwrap_or_else(|| body.kind.general());
        Self { code, message: body.message, hint: body.hint, causes: body.causes, retryable: body.retryable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_lossless_and_has_the_shape_that_scripts_rely_on() {
        for &code in Code::ALL {
            let problem = Problem::new(code, "it broke").with_cause("because").with_hint("mend it");
            let json = serde_json::to_string(&Failure { error: problem.clone() }).unwrap();
            assert_eq!(serde_json::from_str::<Failure>(&json).unwrap().error, problem);
        }
        let json = serde_json::to_value(Problem::new(Code::NodeNotRunning, "no node")).unwrap();
        assert_eq!(json["code"], "E1000");
        assert_eq!(json["kind"], "not_running");
        assert_eq!(json["kind"], Kind::NotRunning.to_string());
        assert_eq!(json["retryable"], false);
    }

    #[test]
    fn an_unknown_code_of_a_newer_node_keeps_its_kind() {
        let json = r#"{"code":"E0599","kind":"verification","message":"m","hint":null,"retryable":false}"#;
        let problem: Problem = serde_json::from_str(json).unwrap();
        assert_eq!((problem.code, problem.kind().exit_code()), (Code::VerificationFailed, 5));
    }
}
