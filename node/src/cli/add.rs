//! `syncra add`

use syncra_protocol::reference::{Reference, Selector};

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
        let request = AddRequest { reference, dry_run, follow, offline, trust, plan: None, timeout_s };
        let fixed = fixed(&request.reference);
        let changed = client.call::<Add>(context, request).await?;
        if let Some(note) = fixed {
            context.ui().note(&note);
        }
        change::show(context, "add", &changed)
    }
}

/// What to know about asking for exactly one release, as the references that `publish` prints do.
pub(super) fn fixed(reference: &str) -> Option<String> {
    let (package, selector) = match Reference::parse(reference).ok()? {
        Reference::Named(name, selector) => (Reference::Named(name, None), selector?),
        Reference::Package(id, selector) => (Reference::Package(id, None), selector?),
        Reference::Content(_) => return None,
    };
    let what = match selector {
        Selector::Version(version) => format!("version {version}"),
        Selector::Release(_) => "this release".to_owned(),
        Selector::Req(_) | Selector::Channel(_) => return None,
    };
    Some(format!("updates leave it at {what}, as asked; `syncra add {package}` takes what is new"))
}
