//! `syncra import git` and `syncra export git`

use std::path::PathBuf;

use clap::ValueEnum;

use super::client::Client;
use super::context::{self, Context};
use super::new::Kind;
use super::ui::text;
use crate::api::verbs::git::{
    ExportGit, ExportGitRequest, ExportGitResponse, ImportGit, ImportGitRequest, ImportGitResponse,
};
use crate::problem::Problem;

/// Turn a git repository's history into a package's
///
/// Every commit becomes a release, with its parents; tags like v1.2.3 become versions,
/// branches and tags keep their names, or get one below `git/` where a name of ours cannot
/// be that. Messages, authors and signatures are kept, so that `syncra export git` gives
/// the same commits back. Importing again adds what is new.
///
/// All files of the history go out with it, deleted ones too. What looks like a secret is
/// refused (exit 8), and so are symbolic links, submodules and paths that some systems
/// cannot have (exit 1): nothing is taken in then. `--skip` leaves such entries out.
///
/// The repository is only read, by the program `git`; nothing that its settings or hooks
/// name is run. `.syncraignore` does not count here: what git has is imported.
///
/// Examples:
///   syncra import git ./rocket
///   syncra import git ./art --name sea-pack --kind asset --dry-run
///   syncra import git ./rocket --skip links --skip modules --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ImportGitArgs {
    /// The repository: its top directory, or a bare one
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Name of the package; else syncra.toml's
    #[arg(long)]
    name: Option<String>,
    /// Kind of the package; else syncra.toml's
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Channel that will point to the highest version [default: stable]
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Leave out what could not be taken in; may be given several times
    #[arg(long, value_enum, value_name = "WHAT")]
    skip: Vec<SkipArg>,
    /// A path in the repository that may hold what looks like a secret; may be given several times
    #[arg(long = "allow-secret", value_name = "PATH")]
    allow_secrets: Vec<String>,
    /// Say what would be taken in, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SkipArg {
    /// Symbolic links
    Links,
    /// Submodules
    Modules,
    /// Paths that some systems cannot have
    Names,
    /// Files that look like secrets
    Secrets,
    /// Tags of versions that were published with other files
    Tags,
}

impl ImportGitArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let dry_run = self.dry_run;
        let skip = self.skip.iter().filter_map(ValueEnum::to_possible_value);
        let request = ImportGitRequest {
            dir: context::absolute(&self.dir)?,
            name: self.name,
            kind: self.kind.map(|kind| kind.0.as_str().to_owned()),
            channel: self.channel,
            skip: skip.map(|value| value.get_name().to_owned()).collect(),
            allow_secrets: self.allow_secrets,
            dry_run,
        };
        let client = Client::open(context).await?;
        if !dry_run && !context.ui().answers_yes() {
            let look = ImportGitRequest { dry_run: true, ..request.clone() };
            let plan = client.call::<ImportGit>(context, look).await?;
            if plan.first {
                context.ui().note(&imported(&plan));
                let question = format!("publish all this history as `{}` for the first time?", plan.name);
                context.ui().confirm(&question).await?;
            }
        }
        let done = client.call::<ImportGit>(context, request).await?;
        for plain in &done.plain {
            let (version, reason) = (&plain.version, &plain.reason);
            context.ui().warning(&format!("syncra.toml of {version} cannot be used ({reason}): it needs nothing now"));
        }
        if done.lfs_pointers > 0 {
            let n = text::count(done.lfs_pointers, "file");
            context.ui().warning(&format!("pointers of git-lfs instead of content: {n}"));
        }
        context.ui().data("import", &done, imported)
    }
}

fn imported(done: &ImportGitResponse) -> String {
    let mut lines: Vec<String> = Vec::new();
    let what = done.reference.clone().unwrap_or_else(|| format!("{} ({})", done.name, done.kind));
    let branches = if done.branches == 1 { "1 branch".to_owned() } else { format!("{} branches", done.branches) };
    let (commits, tags) = (text::count(done.commits, "commit"), text::count(done.tags, "tag"));
    lines.push(format!("{what}: {commits}, {branches}, {tags}"));
    lines.push(match done.dry_run {
        true => format!("would take in {}", text::count(done.new_commits, "new commit")),
        false => {
            let (new, entries) = (text::count(done.new_commits, "new commit"), text::count(done.entries, "entry"));
            format!("took in {new}: {entries}, {} new", text::bytes(done.new_bytes))
        }
    });
    if !done.versions.is_empty() {
        lines.push(format!("versions: {}", done.versions.join(", ")));
    }
    if done.without_files > 0 {
        lines.push(format!("{} without files left out", text::count(done.without_files, "commit")));
    }
    if done.left_out > 0 {
        lines.push(format!("left out {}: {}", done.left_out, done.left_out_examples.join(", ")));
    }
    if !done.kept.is_empty() {
        lines.push(format!("not moved: {}", done.kept.join(", ")));
    }
    lines.join("\n")
}

/// Write a package's history into a new git repository
///
/// Releases become commits, with their parents; branches and tags keep their names, other
/// versions become tags like v1.2.3, and the channels of a package without branches become
/// branches. What was imported from git gets the ids that it had, if nothing was left out
/// of it.
///
/// Examples:
///   syncra export git @alice/rocket ./rocket
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ExportGitArgs {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// The directory to make; it must not exist, or be empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

impl ExportGitArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let request = ExportGitRequest {
            reference: self.package,
            dir: context::absolute(&self.dir)?,
            timeout_s: Some(context.timeout().as_secs()),
            dry_run: self.dry_run,
        };
        let client = Client::open(context).await?;
        let done = client.call::<ExportGit>(context, request).await?;
        for left in &done.left_out {
            context.ui().warning(&format!("not in the repository: {left}"));
        }
        context.ui().data("export", &done, exported)
    }
}

fn exported(done: &ExportGitResponse) -> String {
    if done.dry_run {
        return format!("would write {} to {}", done.reference, done.dir);
    }
    let commits = text::count(done.commits, "commit");
    let mut lines = vec![format!("wrote {commits} and {} to {}", text::count(done.refs, "ref"), done.dir)];
    if done.changed > 0 {
        lines.push(format!("{} came from git and have another id now", text::count(done.changed, "commit")));
    }
    lines.join("\n")
}
