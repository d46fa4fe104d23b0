//! `syncra gc`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::gc::{Gc, GcRequest, GcResponse};
use crate::problem::Problem;

/// Free disk space: remove what nothing needs
///
/// Stays: what you published, what the kept generations (the newest ten) name, what you
/// follow, what is being fetched or installed right now, and what you know of packages;
/// and what you imported, until you say `--imported`. Everything else goes, and can be
/// fetched again. While anything cannot be read, nothing goes. Works on a full disk.
///
/// Examples:
///   syncra gc --dry-run
///   syncra gc
///   syncra gc --imported
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Say what would go, remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Let go what was imported, unless something else needs it
    #[arg(long)]
    imported: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let collected =
            client.call::<Gc>(context, GcRequest { dry_run: self.dry_run, imported: self.imported }).await?;
        context.ui().data("gc", &collected, human)
    }
}

fn human(collected: &GcResponse) -> String {
    let GcResponse { freed_bytes, blobs, releases, generations, unfinished, kept_imported, dry_run } = collected;
    let did = if *dry_run { "would free" } else { "freed" };
    let size = text::bytes(*freed_bytes);
    let (blobs, releases) = (text::count(*blobs, "blob"), text::count(*releases as u64, "release"));
    let generations = text::count(*generations as u64, "generation");
    let mut text = format!("{did} {size}: {blobs}, {releases}, {generations}, {unfinished} unfinished");
    if *kept_imported > 0 {
        let kept = text::count(*kept_imported as u64, "release");
        text.push_str(&format!("\nkept what was imported: {kept}; `--imported` lets it go"));
    }
    text
}
