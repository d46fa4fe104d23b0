//! `syncra checkout`

use std::path::PathBuf;

use super::client::Client;
use super::context::{self, Context};
use super::publish::place;
use super::ui::text;
use crate::api::verbs::checkout::{Checkout, CheckoutResponse};
use crate::api::verbs::get::GetRequest;
use crate::problem::{Code, Problem};

/// Write a release into a new directory, to edit it and publish from there
///
/// The directory remembers what it was made from, in `.syncra/base.toml`, which is never
/// published. `syncra publish` from there goes to the same package, and to the branch or
/// channel that was named here; without one, or for a version or tag, to `stable`. The new
/// release has the old one as its parent. When others have published there meanwhile it is
/// refused (exit 7), and `syncra merge` brings here what they did.
///
/// Nothing of yours is written over: the directory is new, or empty. What is not here is
/// fetched, as by `syncra get`.
///
/// Examples:
///   syncra checkout @alice/rocket
///   syncra checkout @alice/rocket@work/fins fins
///   syncra checkout @alice~k3v9x2m4q7ab/rocket@1.2.0 rocket-1.2
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The release
    #[arg(value_name = "PKG[@VERSION|@BRANCH]")]
    reference: String,
    /// The directory: new, or empty [default: the package's name]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The owner who is meant by a bare `@owner/name`, pinned from now on
    #[arg(long, value_name = "ID")]
    trust: Option<String>,
    /// Say which release it would be, write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => named(&self.reference)?,
        };
        let dir = context::absolute(&dir)?;
        let client = Client::open(context).await?;
        let dry_run = self.dry_run;
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let request = GetRequest { reference: self.reference, dir, dry_run, offline, trust: self.trust, timeout_s };
        let done = client.call::<Checkout>(context, request).await?;
        done.warnings.iter().for_each(|warning| context.ui().warning(warning));
        context.ui().data("checkout", &done, |done| human(done, dry_run))
    }
}

/// The name in a reference, as a directory.
fn named(reference: &str) -> Result<PathBuf, Problem> {
    let name = reference.strip_prefix('@').and_then(|rest| rest.split_once('/'));
    let name = name.and_then(|(_, name)| name.split('@').next()).filter(|name| !name.is_empty());
    name.map(PathBuf::from)
        .ok_or_else(|| Problem::new(Code::Usage, format!("`{reference}` has no name: say the directory")))
}

fn human(done: &CheckoutResponse, dry_run: bool) -> String {
    let did = if dry_run { "would write" } else { "wrote" };
    let (files, size) = (text::count(done.n_files, "file"), text::bytes(done.total_bytes));
    let place = place(done.channel.as_deref(), done.branch.as_deref());
    format!("{did} {} to {}: {files}, {size}\n`syncra publish` from there moves {place}", done.reference, done.dir)
}
