//! `syncra publish`

use std::path::PathBuf;

use super::client::Client;
use super::context::{self, Context};
use super::new::Kind;
use super::ui::text;
use crate::api::verbs::publish::{
    PlanPublish, PlanPublishResponse, PlannedFile, Publish, PublishRequest, PublishResponse,
};
use crate::problem::Problem;

/// Publish a directory as a release
///
/// Signs the release into this device's log of the package; whoever is connected or comes
/// later can fetch it. A release is for ever: its version can be yanked, not replaced.
///
/// The first release of a package shows what would go out and asks; `--yes` answers.
/// Publishing the same files again changes nothing and succeeds, with `already`.
/// Other files under a used version are a conflict (exit 7), what looks like a key or
/// password is refused (exit 8).
///
/// In a checkout (`syncra checkout`) it goes to the package, and to the branch or channel, that
/// the directory was checked out from, made from the release that it was; when others have
/// published there meanwhile, that is a conflict too: `syncra merge` brings it here first.
///
/// Outside of a checkout it warns, and asks on a terminal, when the release that this one follows is
/// not known to come from the same directory, and files of it are missing or differ here.
///
/// A folder without `syncra.toml` needs `--name` and `--kind`, and counts its versions up; with one,
/// what they say must be what stands there.
///
/// Examples:
///   syncra publish
///   syncra publish worlds/island --channel beta --note "new lighthouse"
///   syncra publish ./art --name sea-pack --kind asset --yes
///   syncra publish --dry-run --json | jq .data.files
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package's directory
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Name of a plain folder
    #[arg(long)]
    name: Option<String>,
    /// Kind of a plain folder
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Version of a plain folder; else one patch above the last
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Channel that will point to the release [default: that of the checkout, else stable]
    #[arg(long, value_name = "NAME", conflicts_with = "branch")]
    channel: Option<String>,
    /// Branch that will point to it, instead of a channel
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// What changed, for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// A path in the package that may hold what looks like a secret; may be given several times
    #[arg(long = "allow-secret", value_name = "PATH")]
    allow_secrets: Vec<String>,
    /// Publish beside what is missing of the package's history, as after a restore
    #[arg(long)]
    incomplete: bool,
    /// Say what would be published, publish nothing
    #[arg(long)]
    dry_run: bool,
}

/// Files shown before a first release; all of them with `--dry-run`.
const SHOWN_FILES: usize = 40;

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let dry_run = self.dry_run;
        let request = self.request()?;
        let client = Client::open(context).await?;
        let mut was_warned = false;
        // Who answers yes beforehand is shown no list: the directory need not be read twice.
        if dry_run || !context.ui().answers_yes() {
            let plan = client.call::<PlanPublish>(context, request.clone()).await?;
            plan.warnings.iter().for_each(|warning| context.ui().warning(warning));
            if dry_run {
                return context.ui().data("publish", &plan, |plan| planned(plan, usize::MAX));
            }
            if plan.first {
                context.ui().note(&planned(&plan, SHOWN_FILES));
                context.ui().confirm(&format!("publish `{}` for the first time?", plan.name)).await?;
            } else if !plan.warnings.is_empty() && context.ui().has_terminal() && !context.ui().speaks_json() {
                context.ui().confirm("publish it nevertheless?").await?;
            }
            was_warned = true;
        }
        let done = client.call::<Publish>(context, request).await?;
        done.warnings.iter().filter(|_| !was_warned).for_each(|warning| context.ui().warning(warning));
        context.ui().data("publish", &done, human)?;
        if let Client::Local(_) = client {
            context.ui().note("nobody can fetch it until a node runs: `syncra up`");
        }
        Ok(())
    }

    fn request(self) -> Result<PublishRequest, Problem> {
        Ok(PublishRequest {
            dir: context::absolute(&self.dir)?,
            name: self.name,
            kind: self.kind.map(|kind| kind.0.as_str().to_owned()),
            version: self.version,
            channel: self.channel,
            branch: self.branch,
            note: self.note,
            allow_secrets: self.allow_secrets,
            incomplete: self.incomplete,
        })
    }
}

fn planned(plan: &PlanPublishResponse, shown: usize) -> String {
    let (files, size) = (text::count(plan.n_files, "file"), text::bytes(plan.total_bytes));
    let already = if plan.already { "; published before, with the same files" } else { "" };
    let head = format!("{} {} ({}): {files}, {size}{already}", plan.name, plan.version, plan.kind);
    let line = |file: &PlannedFile| {
        let mark = if file.executable { "*" } else { "" };
        format!("{:>10}  {}{mark}", text::bytes(file.bytes), file.path)
    };
    let more = plan.files.len().saturating_sub(shown);
    let more = (more > 0).then(|| format!("{:>10}  and {more} more; `--dry-run` shows all", ""));
    let files = plan.files.iter().take(shown).map(line);
    std::iter::once(head).chain(files).chain(more).collect::<Vec<_>>().join("\n")
}

fn human(done: &PublishResponse) -> String {
    let did = if done.already { "published before" } else { "published" };
    let new = match (done.already, done.new_bytes) {
        (true, 0) => String::new(),
        (true, bytes) => format!(", {} written anew", text::bytes(bytes)),
        (false, bytes) => format!(", {} new", text::bytes(bytes)),
    };
    let place = place(done.channel.as_deref(), done.branch.as_deref());
    let waits = done.waits.as_ref().map(|change| {
        let change = change.get(..12).unwrap_or(change);
        format!("\n{place} is protected, and moves when owners agree: `syncra endorse {} {change}`", done.reference)
    });
    format!(
        "{did}: {}\n{}, {}{new}; {place}{}",
        done.reference,
        text::count(done.n_files, "file"),
        text::bytes(done.total_bytes),
        waits.unwrap_or_default()
    )
}

/// What points to a release.
pub(super) fn place(channel: Option<&str>, branch: Option<&str>) -> String {
    match (channel, branch) {
        (Some(channel), _) => format!("channel {channel}"),
        (None, Some(branch)) => format!("branch {branch}"),
        (None, None) => "nothing points to it".to_owned(),
    }
}
