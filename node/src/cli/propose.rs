//! `syncra propose`

use std::path::PathBuf;

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use crate::api::verbs::proposals::{EndedInfo, Propose, ProposeRequest, ProposeResponse};
use crate::problem::Problem;

/// Propose the changes of a checkout to its package
///
/// Anybody may, without any right in the package. The directory is published as a release
/// of a package of your own that has no name, made from what was checked out; those who have
/// the package are told, and tell others. Its owners see it by `syncra review`, look at it by
/// `syncra diff`, and take it by `syncra merge`.
///
/// Proposing again from the same directory adds a release to the same proposal; once that was
/// merged or closed, it begins a new one.
///
/// Examples:
///   syncra propose --title "Fins that turn"
///   syncra propose rocket --note "the old ones broke"
///   syncra propose --title "Fins" --dry-run
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The checkout
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// What it is, in a line; needed once
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// What changed, for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Say what would be proposed, publish nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let (title, note, dry_run) = (self.title, self.note, self.dry_run);
        let dir = context::absolute(&self.dir)?;
        let request = ProposeRequest { dir, title, note, dry_run, offline, timeout_s };
        let done = client.call::<Propose>(context, request).await?;
        if let Some(EndedInfo { reference, state }) = &done.ended {
            context.ui().note(&format!("the proposal before, {reference}, was {state}: this is a new one"));
        }
        context.ui().data("propose", &done, human)?;
        if !dry_run && done.n_told == 0 {
            context.ui().note("nobody was told yet: `syncra propose` again when you are connected");
        }
        if let (Client::Local(_), false) = (&client, dry_run) {
            context.ui().note("nobody can fetch it until a node runs: `syncra up`");
        }
        Ok(())
    }
}

fn human(done: &ProposeResponse) -> String {
    let (files, size) = (text::count(done.n_files, "file"), text::bytes(done.total_bytes));
    let what = format!("\"{}\" to {}: {files}, {size}", done.title, done.target);
    match (&done.reference, done.dry_run) {
        (_, true) => format!("would propose {what}"),
        (Some(reference), false) => {
            let did = if done.already { "proposed before:" } else { "proposed" };
            format!("{did} {what}\n{reference}, kept by {}", text::count(done.n_told as u64, "peer"))
        }
        (None, false) => format!("proposed {what}"),
    }
}
