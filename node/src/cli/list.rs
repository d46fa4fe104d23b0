//! `syncra list`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::packages::{List, ListResponse, PackageInfo};
use crate::problem::Problem;

/// List the packages that are known here
///
/// Own ones, installed ones, and those that were imported or followed. The reference in
/// the first column is an argument on any node.
///
/// Examples:
///   syncra list
///   syncra list --json | jq -r '.data.packages[] | select(.own) | .ref'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let list = client.call::<List>(context, Empty {}).await?;
        if list.packages.is_empty() {
            context.ui().note("no package is known yet; publish one by `syncra publish`");
        }
        context.ui().data("list", &list, human)
    }
}

fn human(list: &ListResponse) -> String {
    let row = |package: &PackageInfo| {
        let redacted = package.redacted.as_ref().map(|reason| format!(" (redacted: {reason})")).unwrap_or_default();
        let installed = package.installed.clone().unwrap_or_default() + &redacted;
        // A history that is still on its way, or whose author has released nothing.
        let latest = package.latest.clone().unwrap_or_else(|| "none yet".to_owned());
        let own = if package.own { "own" } else { "" };
        [package.reference.clone(), package.kind.clone(), latest, installed, own.to_owned()]
    };
    let rows: Vec<_> = list.packages.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { text::table(["PACKAGE", "KIND", "LATEST", "INSTALLED", ""], &rows) }
}
