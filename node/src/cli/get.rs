//! `syncra get`

use std::path::PathBuf;

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use crate::api::verbs::get::{Get, GetRequest, GetResponse};
use crate::problem::Problem;

/// Write the files of one release into a new directory
///
/// Everything is verified against the package's history; nothing is installed. The files
/// appear all at once, or not at all. Without a version: what the channel `stable` points
/// to, else the highest version.
///
/// What is not here is fetched from connected peers; without a running node a short-lived
/// one looks for neighbours first. `--offline` asks nobody.
///
/// `syncra:b3:HASH` names content without author or history; nobody vouches for it.
///
/// Examples:
///   syncra get @alice~k3v9x2m4q7ab/rocket -o rocket
///   syncra get @alice/rocket@1.2.0 -o old-rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The release
    #[arg(value_name = "REF")]
    reference: String,
    /// The directory: new, or empty
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// The owner who is meant by a bare `@owner/name`, pinned from now on
    #[arg(long, value_name = "ID")]
    trust: Option<String>,
    /// Say which release it would be, write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let dir = context::absolute(&self.output)?;
        let client = Client::open(context).await?;
        let dry_run = self.dry_run;
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let (reference, trust) = (self.reference, self.trust);
        let request = GetRequest { reference, dir, dry_run, offline, trust, timeout_s };
        let got = client.call::<Get>(context, request).await?;
        got.warnings.iter().for_each(|warning| context.ui().warning(warning));
        context.ui().data("get", &got, |got| human(got, dry_run))
    }
}

fn human(got: &GetResponse, dry_run: bool) -> String {
    let did = if dry_run { "would write" } else { "wrote" };
    let fetched = match got.fetched_bytes {
        0 => String::new(),
        bytes => format!(", {} fetched", text::bytes(bytes)),
    };
    let (files, size) = (text::count(got.n_files, "file"), text::bytes(got.total_bytes));
    format!("{did} {} to {}: {files}, {size}{fetched}", got.reference, got.dir)
}
