//! `syncra import`

use std::path::PathBuf;

use super::client::Client;
use super::context::{self, Context};
use super::fork;
use super::ui::text;
use crate::api::verbs::syncpack::{Import, ImportRequest, ImportResponse};
use crate::problem::Problem;

/// Take in packages from a .syncpack file
///
/// A fork proof (`syncra info PKG --fork-proof FILE`) is taken in too: from then on nothing
/// newer of that log is accepted.
///
/// Everything in it is verified before anything is kept: histories as those of a peer,
/// content by its hashes. A file that is cut off or changed is refused whole (exit 5).
/// What came stays, and is served to others, until `syncra gc --imported`.
///
/// Examples:
///   syncra import rocket.syncpack
///   syncra import rocket.syncpack --dry-run
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Verify it, keep nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let file = context::absolute(&self.file)?;
        let client = Client::open(context).await?;
        let done = client.call::<Import>(context, ImportRequest { file, dry_run: self.dry_run }).await?;
        context.ui().data("import", &done, human)
    }
}

fn human(done: &ImportResponse) -> String {
    if let Some(proof) = &done.fork {
        let does =
            if done.dry_run { "nothing newer of it would be accepted" } else { "nothing newer of it is accepted" };
        return format!("{}\n{does}", fork::human(proof));
    }
    let mut lines: Vec<_> = done.packages.iter().map(|package| package.reference.clone()).collect();
    let entries = text::count(done.entries, "new entry");
    lines.push(match done.dry_run {
        true => format!("would take in {entries}"),
        false => {
            format!("took in {entries} and {}, {}", text::count(done.blobs, "new blob"), text::bytes(done.bytes))
        }
    });
    lines.join("\n")
}
