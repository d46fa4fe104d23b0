//! `syncra update`

use super::change;
use super::client::Client;
use super::context::Context;
use crate::api::verbs::install::{Update, UpdateRequest};
use crate::problem::Problem;

/// Bring what is installed to the newest that was asked for
///
/// Each package moves within what `add` was told: along its channel, up to the highest
/// version of its requirement, or not at all. A release that was yanked since stays until
/// there is a better one. `syncra outdated` shows what would change.
///
/// Examples:
///   syncra update
///   syncra update @alice/rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// One package; all if there is none
    #[arg(value_name = "PKG")]
    reference: Option<String>,
    /// Say what would change, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (reference, dry_run, offline) = (self.reference, self.dry_run, context.offline());
        let request = UpdateRequest { reference, dry_run, offline, timeout_s: Some(context.timeout().as_secs()) };
        let changed = client.call::<Update>(context, request).await?;
        change::show(context, "update", &changed)
    }
}
