//! `syncra remove`

use super::change;
use super::client::Client;
use super::context::Context;
use crate::api::verbs::install::{Remove, RemoveRequest};
use crate::problem::Problem;

/// Take an installed package away, and what only it needed
///
/// What another installed package needs is not taken away (exit 7). The files stay on disk
/// for `rollback` until `syncra gc` finds that no kept generation names them.
///
/// Examples:
///   syncra remove @alice/rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    reference: String,
    /// Say what would change, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let request = RemoveRequest { reference: self.reference, dry_run: self.dry_run };
        let changed = client.call::<Remove>(context, request).await?;
        change::show(context, "remove", &changed)
    }
}
