//! `syncra yank`

use super::client::Client;
use super::context::Context;
use crate::api::verbs::yank::{Yank, YankRequest};
use crate::problem::Problem;

/// Hide a release from new installs, or show it again
///
/// Nothing is deleted: who has it keeps it. Who asks for it by its version is refused and told
/// why; who names the release itself, `@r:RELEASE`, still gets it, with a warning.
///
/// Examples:
///   syncra yank @alice/rocket@1.2.0 --reason "engine bell falls off"
///   syncra yank @alice/rocket@1.2.0 --undo
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "syncra yank [OPTIONS] --reason <TEXT> <PKG@VERSION>\n       syncra yank [OPTIONS] --undo <PKG@VERSION>"
)]
pub(super) struct Args {
    /// The release: a package with `@VERSION` or `@r:RELEASE`, as `syncra info` shows them
    #[arg(value_name = "PKG@VERSION")]
    release: String,
    /// Why, for people
    #[arg(long, value_name = "TEXT", required_unless_present = "undo", conflicts_with = "undo")]
    reason: Option<String>,
    /// Show it again
    #[arg(long)]
    undo: bool,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { release: reference, reason, undo, dry_run } = self;
        let done = client.call::<Yank>(context, YankRequest { reference, reason, undo, dry_run }).await?;
        done.warnings.iter().for_each(|warning| context.ui().warning(warning));
        context.ui().data("yank", &done, |done| {
            let did = match (done.already, done.dry_run, done.undo) {
                (true, _, true) => "was not yanked",
                (true, _, false) => "was yanked before",
                (_, true, true) => "would show again",
                (_, true, false) => "would yank",
                (_, _, true) => "shown again",
                (_, _, false) => "yanked",
            };
            format!("{did}: {}", done.reference)
        })
    }
}
