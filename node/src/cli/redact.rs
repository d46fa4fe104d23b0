//! `syncra redact`

use super::client::Client;
use super::context::Context;
use super::role;
use crate::api::verbs::redact::{Redact, RedactRequest, RedactResponse};
use crate::problem::Problem;

/// Take the bytes of a release away for good
///
/// Its place in the history stays, and its version stays taken. From then on nodes that know
/// of it neither hand out its files, manifest and note nor fetch them, and `syncra gc` removes
/// them. Only owners may, as many of them as a change of roles takes; the others agree by
/// `syncra endorse`. Nothing undoes it.
///
/// It does not reach into other people's computers: who has installed the release keeps it,
/// and who has not heard of it may still hand it out. A secret that was published is known;
/// change it. Other versions that hold the same files are redacted one by one.
///
/// To only warn of a release use `syncra yank`.
///
/// Examples:
///   syncra redact @alice/rocket@1.2.0 --reason secret --yes
///   syncra redact @alice/rocket@1.2.0 --reason personal --only-texts --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The release: a package with `@VERSION` or `@r:RELEASE`
    #[arg(value_name = "PKG@VERSION")]
    release: String,
    /// Why
    #[arg(long, value_name = "REASON", value_parser = ["mistake", "secret", "personal", "rights", "harmful"])]
    reason: String,
    /// Only its note, and why it was yanked; its files stay
    #[arg(long)]
    only_texts: bool,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let Self { release: reference, reason, only_texts, dry_run } = self;
        if !dry_run {
            let what = if only_texts { "the texts of " } else { "" };
            context
                .ui()
                .confirm(&format!("take {what}`{reference}` away from everybody? Nobody can undo that"))
                .await?;
        }
        let client = Client::open(context).await?;
        let done = client.call::<Redact>(context, RedactRequest { reference, reason, only_texts, dry_run }).await?;
        context.ui().data("redact", &done, human)
    }
}

fn human(done: &RedactResponse) -> String {
    let did = match (done.already, done.in_effect, done.dry_run) {
        (true, true, _) => "was redacted before",
        (_, _, true) => "would redact",
        (_, true, _) => "redacted",
        (true, false, _) => "said before, and waits",
        (false, false, _) => "said, and waits",
    };
    let mut lines = vec![format!("{did}: {} ({})", done.reference, done.reason)];
    if let Some(change) = &done.change {
        let change = change.get(..12).unwrap_or(change);
        let needs = done.needs.iter().map(role::needed);
        let package = done.reference.rsplit_once('@').map(|(package, _)| package).filter(|package| !package.is_empty());
        let package = package.unwrap_or("PKG");
        lines.extend(needs.map(|needs| format!("{needs}: `syncra endorse {package} {change}`")));
    }
    let is_theirs = done.blobs.len() > 1 || !done.refs.is_empty();
    if done.in_effect && !done.already && is_theirs {
        lines.push("the bytes that are still here go with `syncra gc`".to_owned());
    }
    for name in &done.refs {
        lines.push(format!("{name} points to it: who follows it gets nothing new until it points elsewhere"));
    }
    lines.join("\n")
}
