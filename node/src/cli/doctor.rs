//! `syncra doctor`

use super::client;
use super::context::Context;
use crate::api::types::Empty;
use crate::api::verbs::doctor::{CheckInfo, Doctor, DoctorResponse};
use crate::flow::doctor;
use crate::home::Layout;
use crate::problem::{Code, Problem};

/// Check whether the home is well, and say what to do if not
///
/// Looks at the home, the key, the journal, the index, the blobs, the content of own
/// releases, the disk and the clock. While something is wrong the exit code is 1; the
/// checks are printed all the same.
///
/// `--repair` makes anew what can be made anew: the index from the logs, the blobs'
/// database from the files. It needs the node to be stopped.
///
/// Examples:
///   syncra doctor
///   syncra doctor --repair
///   syncra doctor --json | jq '.data.checks[] | select(.ok | not)'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Make index and blob database anew
    #[arg(long)]
    repair: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let found = match client::remote(context).await? {
            Some(_) if self.repair => {
                return Err(Problem::new(Code::HomeInUse, "a node runs on this home").with_hint("stop it first"));
            }
            Some(node) => node.call::<Doctor>(&Empty {}, |_| {}).await?,
            None => {
                let home = context.home()?;
                DoctorResponse::new(&Layout::new(&home), doctor::examine(&home, self.repair).await)
            }
        };
        context.ui().data("doctor", &found, human)?;
        match found.checks.iter().filter(|check| !check.ok).count() {
            0 => Ok(()),
            n => Err(Problem::new(Code::Failed, format!("{n} of {} checks failed", found.checks.len()))
                .with_hint("each failed check says what to do")),
        }
    }
}

fn human(found: &DoctorResponse) -> String {
    let line = |check: &CheckInfo| {
        let word = if check.ok { "ok " } else { "BAD" };
        let fix = check.fix.as_ref().map(|fix| format!("\n     what to do: {fix}")).unwrap_or_default();
        format!("{word}  {}: {}{fix}", check.name, check.detail)
    };
    found.checks.iter().map(line).collect::<Vec<_>>().join("\n")
}
