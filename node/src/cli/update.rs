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
/// When a release asks for more than the installed one, it says for what and asks; `--yes`
/// answers.
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
        let timeout_s = Some(context.timeout().as_secs());
        let mut request = UpdateRequest { reference, dry_run, offline, plan: None, timeout_s };
        if !dry_run && !context.ui().answers_yes() {
            let asked = UpdateRequest { dry_run: true, ..request.clone() };
            let would = client.call::<Update>(context, asked).await?;
            // Of what comes along for the first time everything is more, as for `follow`.
            let more = would.changes.iter().filter(|change| change::asks(change).is_some());
            let more: Vec<&str> = more.map(|change| change.reference.as_str()).collect();
            if !more.is_empty() {
                context.ui().note(&change::human(&would));
                context.ui().confirm(&format!("update though more is asked for by {}?", more.join(", "))).await?;
            }
            // Who has news was asked just now. Something that came since may ask for more, and nobody was asked about that.
            request = UpdateRequest { plan: Some(would.plan), offline: true, ..request };
        }
        let changed = client.call::<Update>(context, request).await?;
        change::show(context, "update", &changed)
    }
}
