//! `syncra search`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::search::{ResultInfo, Search, SearchRequest, SearchResponse};
use crate::problem::Problem;

/// Find packages that are known here or offered by neighbours
///
/// All words must be found in name, owner, kind or description. What neighbours offer is
/// verified against its signed history before it is shown. A handle is a claim: the part
/// after `~` in a reference is what counts.
///
/// Without a running node a short-lived one looks for neighbours first; `--offline` asks
/// nobody.
///
/// Examples:
///   syncra search rocket
///   syncra search --kind world
///   syncra search @alice/rocket --json | jq -r '.data.results[].ref'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Words; without any everything is listed
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Only packages of this kind
    #[arg(long, value_name = "script|driver|world|avatar|asset|pack")]
    kind: Option<String>,
    /// List at most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let request = SearchRequest {
            text: self.words.join(" "),
            kind: self.kind,
            limit: self.limit,
            offline: context.offline(),
            timeout_s: Some(context.timeout().as_secs()),
        };
        let found = client.call::<Search>(context, request).await?;
        let ui = context.ui();
        if !found.complete {
            ui.warning("not everybody answered in time; `--timeout SECONDS` allows more");
        }
        if found.n_left_out > 0 {
            ui.warning(&format!("{} offered packages of strangers were left out: too many", found.n_left_out));
        }
        if found.results.is_empty() {
            ui.note(&format!("nothing found here or at {} connected peers", found.n_peers));
        }
        ui.data("search", &found, human)
    }
}

fn human(found: &SearchResponse) -> String {
    let row = |result: &ResultInfo| {
        let latest = result.latest.clone().unwrap_or_default();
        let description = result.description.clone().unwrap_or_default();
        [result.reference.clone(), result.kind.clone(), latest, result.source.clone(), description]
    };
    let rows: Vec<_> = found.results.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let table = text::table(["PACKAGE", "KIND", "LATEST", "WHERE", ""], &rows);
    match found.n_more {
        0 => table,
        n_more => format!("{table}\n… and {n_more} more"),
    }
}
