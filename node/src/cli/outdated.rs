//! `syncra outdated`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::install::{Outdated, OutdatedInfo, OutdatedResponse};
use crate::problem::Problem;

/// Show what `syncra update` would change
///
/// As far as it is known here: a running node hears of releases from its peers.
///
/// Examples:
///   syncra outdated
///   syncra outdated --json | jq '.data.packages | length'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let outdated = client.call::<Outdated>(context, Empty {}).await?;
        for kept in &outdated.kept {
            context.ui().warning(&format!("{} would stay as it is: {}", kept.reference, kept.why));
        }
        match (outdated.packages.is_empty(), outdated.kept.is_empty()) {
            (true, true) => context.ui().note("everything is as new as it was asked for"),
            (true, false) => context.ui().note("`syncra update` would change nothing"),
            (false, _) => {}
        }
        context.ui().data("outdated", &outdated, human)
    }
}

fn human(outdated: &OutdatedResponse) -> String {
    let or_none = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
    let row = |package: &OutdatedInfo| {
        let selector = package.selector.clone().unwrap_or_default();
        [package.reference.clone(), or_none(&package.installed), or_none(&package.wanted), selector]
    };
    let rows: Vec<_> = outdated.packages.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { text::table(["PACKAGE", "INSTALLED", "UPDATE", "ASKED FOR"], &rows) }
}
