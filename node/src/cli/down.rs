//! `syncra down`

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client;
use super::context::Context;
use crate::api::verbs::stop::{Stop, StopRequest, StopResponse};
use crate::home::Home;
use crate::problem::{Code, Problem};

/// Stop the node that runs on this home
///
/// It stops in its order, as after Ctrl-C in its terminal: what it was about to write is
/// written, then it lets go of the home. This waits until it has, so that `syncra up` can
/// follow at once. With `--api` it is only asked to stop.
///
/// Examples:
///   syncra down
///   syncra down --timeout 5
///   syncra down --home ./second-node
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Say which process would stop, stop nothing
    #[arg(long)]
    dry_run: bool,
}

/// How often it is looked whether the home is free again: the system tells nobody.
const LOOK: Duration = Duration::from_millis(20);

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let node = client::running(context).await?;
        let asked = node.call::<Stop>(&StopRequest { dry_run: self.dry_run }, |_| {}).await?;
        if !self.dry_run && context.api().is_none() {
            let home = context.home()?;
            let deadline = Instant::now() + context.timeout();
            while Home::is_in_use(&home)? {
                if Instant::now() >= deadline {
                    let still = format!("process {} was asked to stop and still holds the home", asked.pid);
                    return Err(
                        Problem::new(Code::Timeout, still).with_hint("wait longer by `--timeout`, or end the process")
                    );
                }
                sleep(LOOK).await;
            }
        }
        context.ui().data("down", &asked, |stopped| human(stopped, context.api().is_some()))
    }
}

fn human(StopResponse { pid, dry_run }: &StopResponse, is_only_asked: bool) -> String {
    match (dry_run, is_only_asked) {
        (true, _) => format!("process {pid} would stop"),
        (false, true) => format!("process {pid} was asked to stop"),
        (false, false) => format!("process {pid} has stopped"),
    }
}
