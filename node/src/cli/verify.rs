//! `syncra verify`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::verify::{VerifiedPackage, Verify, VerifyRequest, VerifyResponse};
use crate::problem::{Code, Problem};

/// Verify again what is held, from the bytes on disk
///
/// Every log against the note of its key, every blob of every release that is held against
/// its hash. If something is wrong the exit code is 5; what was found is printed all the
/// same.
///
/// Examples:
///   syncra verify
///   syncra verify @alice/rocket --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Only this package
    #[arg(value_name = "PKG")]
    package: Option<String>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
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
        Err(found.problems.iter().fold(problem, |all, one| all.with_cause(format!("{}: {}", one.what, one.detail))))
    }
}

fn human(found: &VerifyResponse) -> String {
    let row = |p: &VerifiedPackage| {
        let numbers = [p.logs, p.entries, p.releases, p.blobs].map(|n| n.to_string());
        let [logs, entries, releases, blobs] = numbers;
        [p.reference.clone(), logs, entries, releases, blobs, text::bytes(p.bytes)]
    };
    let rows: Vec<_> = found.packages.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    text::table(["PACKAGE", "LOGS", "ENTRIES", "RELEASES", "BLOBS", "SIZE"], &rows)
}
