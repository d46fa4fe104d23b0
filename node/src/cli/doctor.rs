//! `syncra doctor`

use super::client;
use super::context::Context;
use crate::api::verbs::doctor::{CheckInfo, Doctor, DoctorRequest, DoctorResponse};
use crate::flow::doctor::{self, Care};
use crate::home::Layout;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Check whether the home is well and the machine lets the node work, and say what to do if not
///
/// Looks at the home, the key, the journal, the clock, the index, the disk, the blobs and
/// their database, every byte of what is held and of what is installed, the ports, UDP, and
/// whether neighbours can be found. What a node puts right by itself at its start is told as MENDED. While
/// something is wrong the exit code is 1; the checks are printed all the same.
///
/// `--quick` reads neither blobs nor installed files; `--offline` leaves the network alone. Otherwise a few
/// packets go to this machine's own network, and none beyond it.
///
/// `--repair` makes the index anew from the logs, and the blobs' database from the files if
/// it does not open; and it lets damaged blobs go that others have. Damaged installed files
/// are unpacked again, and of damaged generations the newest whole one is taken; what was
/// there is set aside in `installed/salvage`. It needs the node to be stopped.
///
/// Examples:
///   syncra doctor
///   syncra doctor --repair
///   syncra doctor --json | jq '.data.checks[] | select(.ok | not)'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Make anew what can be made anew, let damaged blobs of others go, mend what is installed
    #[arg(long)]
    repair: bool,
    /// Do not read every blob and every installed file
    #[arg(long)]
    quick: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let care = Care { repair: self.repair, quick: self.quick, offline: context.offline() };
        let bars = context.ui().bars();
        let found = match client::remote(context).await? {
            Some(_) if care.repair => {
                return Err(Problem::new(Code::HomeInUse, "a node runs on this home").with_hint("stop it first"));
            }
            Some(node) => {
                let request = DoctorRequest { quick: care.quick, offline: care.offline };
                node.call::<Doctor>(&request, |frame| bars.show(&frame)).await?
            }
            None => {
                let home = context.home()?;
                let (progress, mut reader) = Progress::watched();
                let mut work = std::pin::pin!(doctor::examine(&home, care, &progress));
                let checks = loop {
                    tokio::select! {
                        biased;
                        Some(frame) = reader.recv() => bars.show(&frame),
                        checks = &mut work => break checks,
                    }
                };
                DoctorResponse::new(&Layout::new(&home), checks)
            }
        };
        drop(bars);
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
        let word = match (check.ok, check.mended) {
            (true, false) => "ok    ",
            (true, true) => "MENDED",
            (false, _) => "BAD   ",
        };
        let fix = check.fix.as_ref().map(|fix| format!("\n        what to do: {fix}")).unwrap_or_default();
        format!("{word}  {}: {}{fix}", check.name, check.detail)
    };
    found.checks.iter().map(line).collect::<Vec<_>>().join("\n")
}
