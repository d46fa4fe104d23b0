//! `syncra add`

use super::change;
use super::client::Client;
use super::context::Context;
use crate::api::verbs::install::{Add, AddRequest};
use crate::problem::Problem;

/// Install a package, and what it needs
///
/// Everything is verified before it is in place, and the change is one switch: engines see
/// the old state or the new one. What follows the second `@` is remembered for `update`: a
/// channel, a requirement, or one version. Without it: the channel `stable`, else the
/// highest version.
///
/// Two packages that need versions of a third which exclude each other are a conflict
/// (exit 7), and nothing changes.
///
/// Examples:
///   syncra add @alice~k3v9x2m4q7ab/rocket
///   syncra add @alice/rocket@^1.2 --dry-run
///   syncra add @alice/rocket --follow
///   syncra add @alice/rocket@beta --json | jq -r '.data.changes[].path'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package, with the release that is wanted
    #[arg(value_name = "PKG[@REQ]")]
    reference: String,
    /// Say what would change, change nothing
    #[arg(long)]
    dry_run: bool,
    /// The owner who is meant by a bare `@owner/name`, pinned from now on
    #[arg(long, value_name = "ID")]
    trust: Option<String>,
    /// Follow it from now on along what is asked for, see `syncra follow`
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (dry_run, follow, offline) = (self.dry_run, self.follow, context.offline());
        let (reference, trust, timeout_s) = (self.reference, self.trust, Some(context.timeout().as_secs()));
        let request = AddRequest { reference, dry_run, follow, offline, trust, timeout_s };
        let changed = client.call::<Add>(context, request).await?;
        change::show(context, "add", &changed)
    }
}
