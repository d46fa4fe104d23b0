//! `syncra export`

use std::path::PathBuf;

use clap::Subcommand;

use super::client::Client;
use super::context::{self, Context};
use super::git::ExportGitArgs;
use super::ui::text;
use crate::api::verbs::syncpack::{Export, ExportRequest, ExportResponse};
use crate::problem::Problem;

/// Write packages into a file, to carry them where there is no network, or one as a git repository
///
/// The file holds their whole histories, and the content of the releases that are held
/// here; of a package named with a version or channel only that release. It can be passed
/// on by anybody: who imports it verifies everything.
///
/// Examples:
///   syncra export @alice~k3v9x2m4q7ab/rocket -o rocket.syncpack
///   syncra export @alice/rocket@1.2.0 @bob/island -o both.syncpack
///   syncra export git @alice/rocket ./rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    /// The packages
    #[arg(value_name = "PKG", required = true)]
    packages: Vec<String>,
    /// The file, which must not exist
    #[arg(long, short, value_name = "FILE", required = true)]
    output: Option<PathBuf>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    to: Option<To>,
}

#[derive(Debug, Subcommand)]
enum To {
    Git(ExportGitArgs),
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        if let Some(To::Git(args)) = self.to {
            return args.run(context).await;
        }
        let file = context::absolute(&self.output.expect("required without a subcommand"))?;
        let client = Client::open(context).await?;
        let request = ExportRequest { refs: self.packages, file, dry_run: self.dry_run };
        let done = client.call::<Export>(context, request).await?;
        context.ui().data("export", &done, human)
    }
}

fn human(done: &ExportResponse) -> String {
    let packages = text::count(done.packages, "package");
    if done.dry_run {
        return format!("would write {packages} to {}", done.file);
    }
    let (releases, size) = (text::count(done.releases, "release"), text::bytes(done.bytes));
    format!("wrote {packages} with {releases}, {size}, to {}", done.file)
}
