//! `syncra block`

use super::context::Context;
use super::trust;
use crate::api::verbs::regard::ChangeRegardRequest;
use crate::problem::Problem;

/// Have nothing to do with somebody's packages, or list whom you block
///
/// Nothing of theirs is found by `search`, installed, fetched by name or followed, and this node
/// neither tells of their packages and proposals nor serves them. What is installed stays until
/// you remove it; content that somebody else's package has too is served for that one. It stays
/// on this device. WHOM is said as for `syncra trust`.
///
/// Examples:
///   syncra block @mallory~k3v9x2m4q7ab
///   syncra block @mallory~k3v9x2m4q7ab --off
///   syncra block
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Who; without it, everybody whom you block
    #[arg(value_name = "WHOM")]
    whom: Option<String>,
    /// Block them no more: who was trusted before is so again
    #[arg(long, requires = "whom")]
    off: bool,
    /// Say what would change, change nothing
    #[arg(long, requires = "whom")]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let Some(whom) = self.whom else {
            return trust::list(context, "block", |known| known.regard == "blocked").await;
        };
        let regard = if self.off { "unblocked" } else { "blocked" };
        let request =
            ChangeRegardRequest { whom, regard: Some(regard.to_owned()), petname: None, dry_run: self.dry_run };
        trust::change(context, "block", request).await
    }
}
