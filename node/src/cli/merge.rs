//! `syncra merge`

use std::path::{Path, PathBuf};

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use crate::api::verbs::merge::{
    ConflictInfo, KeptInfo, Merge, MergeRequest, MergeResponse, MergedFile, SettleMerge, SettleMergeRequest,
    SettleMergeResponse,
};
use crate::problem::{Code, Problem};

/// Merge what others published into a checkout
///
/// Without REF: what the checkout's branch or channel points to and is not in it yet; when it
/// is diverged, one of the places after the other. With REF: a version, branch, channel or
/// `r:RELEASE` of the same package, or any other release.
///
/// Your files, also those that were not published yet, are merged with theirs; both are
/// compared with the newest release that both come from. A publish afterwards has both as
/// parents. Lines that both changed stand between markers (`<<<<<<<`, `|||||||`, `=======`,
/// `>>>>>>>`); of other files yours stays and theirs lies beside, as `NAME.theirs`. Then the
/// exit is 7, and `publish` and `check` refuse until all is decided: edit away the markers,
/// remove what lies beside, and where neither tells (a file that one side removed), say
/// `--solved`.
///
/// `--abort` gives back every file that the last merge wrote, moved or removed. What you saved
/// since is kept beside, as `NAME.saved`, and told.
///
/// Examples:
///   syncra merge
///   syncra merge work/fins --dry-run
///   syncra merge @bob~k3v9x2m4q7ab/rocket@1.2.0 --into rocket
///   syncra merge --solved main.syn
///   syncra merge --abort
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// What to merge [default: where the checkout's branch or channel points]
    #[arg(value_name = "REF", conflicts_with_all = ["abort", "solved"])]
    reference: Option<String>,
    /// The checkout
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
    /// Say what would become of the files, change nothing
    #[arg(long, conflicts_with_all = ["abort", "solved"])]
    dry_run: bool,
    /// Say that conflicts are solved: those of these files, or all that can be
    #[arg(long, value_name = "PATH", num_args = 0.., conflicts_with = "abort")]
    solved: Option<Vec<String>>,
    /// Take the last merge back
    #[arg(long)]
    abort: bool,
}

/// Files shown of a merge.
const SHOWN_FILES: usize = 60;

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let dir = context::absolute(&self.into)?;
        let client = Client::open(context).await?;
        if self.abort || self.solved.is_some() {
            let solved = self.solved.unwrap_or_default();
            let request = SettleMergeRequest { dir, abort: self.abort, solved };
            let done = client.call::<SettleMerge>(context, request).await?;
            refuse(&done.conflicts, &self.into)?;
            return context.ui().data("merge", &done, settled);
        }
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let request = MergeRequest { dir, reference: self.reference, dry_run: self.dry_run, offline, timeout_s };
        let done = client.call::<Merge>(context, request).await?;
        done.warnings.iter().for_each(|warning| context.ui().warning(warning));
        if !done.dry_run {
            if !done.conflicts.is_empty() {
                context.ui().note(&human(&done));
            }
            refuse(&done.conflicts, &self.into)?;
        }
        context.ui().data("merge", &done, human)
    }
}

/// Conflicts are no success, though everything else was merged.
fn refuse(conflicts: &[ConflictInfo], dir: &Path) -> Result<(), Problem> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let n = text::count(conflicts.len() as u64, "conflict");
    let problem = Problem::new(Code::Unsolved, format!("{n} in `{}`", dir.display()));
    Err(conflicts.iter().map(told).fold(problem, Problem::with_cause))
}

fn told(conflict: &ConflictInfo) -> String {
    let ConflictInfo { path, kind, beside } = conflict;
    let beside = beside.as_deref().unwrap_or_default();
    match kind.as_str() {
        "lines" => format!("`{path}`: both changed the same lines, they stand between markers"),
        "bytes" => format!("`{path}`: both changed it; yours stays, theirs is `{beside}`"),
        "removed_here" => format!("`{path}`: you removed it, they changed it; theirs is `{beside}`"),
        "removed_there" => format!("`{path}`: they removed it, you changed it; yours stays until `--solved`"),
        "moved" => format!("`{path}`: both moved it, to different places; it stays at yours until `--solved`"),
        _ if beside.is_empty() => format!("`{path}`: where they moved it is something else; it stays until `--solved`"),
        _ => format!("`{path}`: its place is taken by something else; theirs is `{beside}`"),
    }
}

fn human(done: &MergeResponse) -> String {
    let Some(merged) = &done.merged else { return "nothing to merge".to_owned() };
    if done.already {
        return format!("{merged} is merged already");
    }
    let did = if done.dry_run { "would merge" } else { "merged" };
    let files = text::count(done.files.len() as u64, "file");
    let head = format!("{did} {merged} into {}: {files}", done.dir);
    let line = |file: &MergedFile| match &file.from {
        Some(from) => format!("{:>10}  {from} -> {}", file.change, file.path),
        None => format!("{:>10}  {}", file.change, file.path),
    };
    let more = done.files.len().saturating_sub(SHOWN_FILES);
    let more = (more > 0).then(|| format!("{:>10}  and {more} more", ""));
    let files = done.files.iter().take(SHOWN_FILES).map(line);
    std::iter::once(head).chain(files).chain(more).collect::<Vec<_>>().join("\n")
}

fn settled(done: &SettleMergeResponse) -> String {
    match done.aborted {
        true => {
            let head = format!("{} is as it was before the merge", done.dir);
            let kept = done.kept.iter().map(|KeptInfo { path, at }| match path == at {
                true => format!("`{path}` was saved since and stays"),
                false => format!("`{path}` was saved since, and is now `{at}`"),
            });
            std::iter::once(head).chain(kept).collect::<Vec<_>>().join("\n")
        }
        false => "no conflict is left: `syncra publish` publishes the merge".to_owned(),
    }
}
