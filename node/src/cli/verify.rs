//! `syncra verify`

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::client::Client;
use super::context::Context;
use super::fork;
use super::ui::text;
use crate::api::verbs::verify::{VerifiedPackage, Verify, VerifyRequest, VerifyResponse};
use crate::clock;
use crate::problem::{Code, Problem};

/// Verify again what is held, from the bytes on disk
///
/// Every log against the note of its key, every blob of every release that is held against
/// its hash, every file of what is installed. If something is wrong the exit code is 5; what
/// was found is printed all the same. What a restored or copied home came without, and lost
/// content of others that is installed, is told as `not here`, and is nothing wrong.
///
/// With `--fork-proof` only that file is looked at: whether it proves that a key signed two
/// histories, and whose. That needs neither a home nor a network.
///
/// Examples:
///   syncra verify
///   syncra verify @alice/rocket --json
///   syncra verify --fork-proof rocket.fork
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Only this package
    #[arg(value_name = "PKG")]
    package: Option<String>,
    /// Check this proof that a key signed two histories, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "package")]
    fork_proof: Option<PathBuf>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        if let Some(file) = self.fork_proof {
            return fork::verify(context, &file);
        }
        let client = Client::open(context).await?;
        let found = client.call::<Verify>(context, VerifyRequest { reference: self.package }).await?;
        context.ui().data("verify", &found, human)?;
        if found.ok {
            return Ok(());
        }
        let problem = Problem::new(
            Code::VerificationFailed,
            format!("not verified: {}", text::count(found.problems.len() as u64, "thing")),
        );
        let problem =
            found.problems.iter().fold(problem, |all, one| all.with_cause(format!("{}: {}", one.what, one.detail)));
        let fixes: BTreeSet<&str> = found.problems.iter().filter_map(|one| one.fix.as_deref()).collect();
        match fixes.is_empty() {
            true => Err(problem),
            false => Err(problem.with_hint(fixes.into_iter().collect::<Vec<_>>().join("; "))),
        }
    }
}

fn human(found: &VerifyResponse) -> String {
    let row = |p: &VerifiedPackage| {
        let fresh = text::freshness(&p.witnessed, clock::now());
        let numbers = [p.logs, p.entries, p.releases, p.blobs].map(|n| n.to_string());
        let [logs, entries, releases, blobs] = numbers;
        [p.reference.clone(), logs, entries, releases, blobs, text::bytes(p.bytes), fresh]
    };
    let rows: Vec<_> = found.packages.iter().map(row).collect();
    let mut lines = Vec::new();
    if !rows.is_empty() {
        lines.push(text::table(["PACKAGE", "LOGS", "ENTRIES", "RELEASES", "BLOBS", "SIZE", "FRESHNESS"], &rows));
    }
    lines.extend(found.absent.iter().map(|one| format!("not here: {}: {}", one.what, one.detail)));
    let fixes: BTreeSet<&str> = found.absent.iter().filter_map(|one| one.fix.as_deref()).collect();
    lines.extend(fixes.into_iter().map(str::to_owned));
    lines.join("\n")
}
