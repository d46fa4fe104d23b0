//! `syncra witness`

use clap::Subcommand;

use super::client::Client;
use super::context::Context;
use crate::api::types::Empty;
use crate::api::verbs::witness::{ChangeWitnesses, ChangeWitnessesRequest, ListWitnesses, WitnessesResponse};
use crate::problem::Problem;

/// Say whose word counts for how new things are
///
/// A witness signs which heads of logs it has seen, and when. How new something is, and since
/// when others have seen it, only the witnesses on your list can tell you: nodes of people you
/// trust to be independent of each other. Any node becomes one by `syncra config set witness
/// true`, a running one at once.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, subcommand_required = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    Remove(Remove),
    List(List),
}

/// Put witnesses on your list; they count at once
///
/// WITNESS is a peer id, or a verifier key as `syncra witness list` of that node shows it.
///
/// Examples:
///   syncra witness add 12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS
///   syncra witness add "$(ssh mirror.example syncra witness list --json | jq -r .data.own)"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Add {
    /// Whom
    #[arg(value_name = "WITNESS", required = true)]
    witnesses: Vec<String>,
    /// Check it, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Take witnesses off your list
///
/// Examples:
///   syncra witness remove 12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Remove {
    /// Whom
    #[arg(value_name = "WITNESS", required = true)]
    witnesses: Vec<String>,
    /// Check it, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Show your list, what is asked of it, and this node's own key
///
/// Examples:
///   syncra witness list
///   syncra witness list --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct List {}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (add, remove, dry_run) = match self.verb {
            Verb::List(_) => {
                let list = client.call::<ListWitnesses>(context, Empty {}).await?;
                list.warnings.iter().for_each(|warning| context.ui().warning(warning));
                return context.ui().data("witness", &list, human);
            }
            Verb::Add(args) => (args.witnesses, Vec::new(), args.dry_run),
            Verb::Remove(args) => (Vec::new(), args.witnesses, args.dry_run),
        };
        let request = ChangeWitnessesRequest { add, remove, dry_run };
        let list = client.call::<ChangeWitnesses>(context, request).await?;
        list.warnings.iter().for_each(|warning| context.ui().warning(warning));
        context.ui().data("witness", &list, human)
    }
}

fn human(list: &WitnessesResponse) -> String {
    let mut lines: Vec<String> = list.witnesses.iter().map(|witness| format!("witness: {witness}")).collect();
    lines.push(match list.witnesses.len() {
        0 => "nobody is on your list: how new things are is unknown".to_owned(),
        n if list.needed > n => format!("{} must say how new something is, and the list has {n}", list.needed),
        n => format!("{} of {n} must say how new something is", list.needed),
    });
    if list.min_witnesses > 0 || list.min_witnessed_hours > 0 {
        let hours = list.min_witnessed_hours;
        lines.push(format!("installed is only what {} have seen, for {hours} hours at least", list.needed));
    }
    let does = if list.is_witness { "witnesses" } else { "does not witness; it would" };
    lines.push(format!("this node {does} as {}", list.own));
    lines.join("\n")
}
