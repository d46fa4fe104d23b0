//! `syncra import`

use std::path::PathBuf;

use clap::Subcommand;

use super::client::Client;
use super::context::{self, Context};
use super::fork;
use super::git::ImportGitArgs;
use super::ui::text;
use crate::api::verbs::syncpack::{Import, ImportRequest, ImportResponse, LearntForkInfo};
use crate::problem::Problem;

/// Take in packages from a .syncpack file, or a git repository
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
///   syncra import git ./rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    /// The file; one that is called `git` is `./git`
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Verify it, keep nothing
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    from: Option<From>,
}

#[derive(Debug, Subcommand)]
enum From {
    Git(ImportGitArgs),
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        if let Some(From::Git(args)) = self.from {
            return args.run(context).await;
        }
        let file = context::absolute(&self.file.expect("required without a subcommand"))?;
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
    let left_out = |log: &String| format!("left as it is here: {log}, whose key has signed two histories");
    lines.extend(done.left_out.iter().map(left_out));
    lines.extend(done.forks.iter().map(|LearntForkInfo { log, n_common }| {
        let part = match n_common {
            Some(n) => format!("the first {n} entries are in both"),
            None => "where they part is not known here".to_owned(),
        };
        format!("FORKED: {log}: its key signed two histories; {part}: `syncra info PKG` tells what counts")
    }));
    lines.join("\n")
}
