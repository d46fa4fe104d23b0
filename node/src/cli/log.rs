//! `syncra log`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::packages::{EntryInfo, Log, LogResponse, PackageRequest};
use crate::problem::Problem;

/// Show the verified history of a package
///
/// Every entry of every log that speaks for the package, log by log, oldest first: those
/// of its writers, and those of its owners' identities.
///
/// Examples:
///   syncra log @alice~k3v9x2m4q7ab/rocket
///   syncra log @alice/rocket --json | jq '.data.entries[] | select(.kind == "release")'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let log = client.call::<Log>(context, PackageRequest { reference: self.package }).await?;
        context.ui().data("log", &log, human)
    }
}

fn human(log: &LogResponse) -> String {
    let mut lines = Vec::new();
    for of_log in log.entries.chunk_by(|a, b| a.origin == b.origin) {
        lines.push(of_log[0].origin.clone());
        let row = |entry: &EntryInfo| [entry.index.to_string(), entry.kind.clone(), entry.summary.clone()];
        let rows: Vec<_> = of_log.iter().map(row).collect();
        lines.push(text::table(["", "KIND", ""], &rows));
    }
    lines.join("\n")
}
