//! `syncra rollback`

use super::change;
use super::client::Client;
use super::context::Context;
use crate::api::verbs::install::{Rollback, RollbackRequest};
use crate::problem::Problem;

/// Go back to what was installed before
///
/// Without an argument: to the generation that was in force when the present one was made;
/// again, and it goes one further. With a number: to that generation, also forward. With a
/// package: only that package goes back to its previous release.
///
/// Nothing is fetched: the newest ten generations keep their files.
///
/// Examples:
///   syncra rollback
///   syncra rollback 12
///   syncra rollback @alice/rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// A package or the number of a generation
    #[arg(value_name = "PKG|GENERATION")]
    target: Option<String>,
    /// Say what would change, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let generation = self.target.as_deref().and_then(|target| target.parse().ok());
        let reference = self.target.filter(|_| generation.is_none());
        let request = RollbackRequest { reference, generation, dry_run: self.dry_run };
        let changed = client.call::<Rollback>(context, request).await?;
        change::show(context, "rollback", &changed)
    }
}
