//! `syncra blame`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::trace::{Blame, BlameRequest, BlameResponse, BlamedRelease};
use crate::problem::Problem;

/// Show which release, and whose, a file and its lines are from
///
/// Follows the file back from release to release, along what each was made from, through
/// renames that changed no byte, over at most 64 releases. Of a release that merged a proposal
/// it says who proposed that. Of a file that is no text, or
/// one of more than 1 MiB, only the release that changed it last is told. `seen here` is the
/// time at which this node first had that release (`first_seen_ms` in JSON).
///
/// Examples:
///   syncra blame @alice/rocket src/main.syn
///   syncra blame @alice~k3v9x2m4q7ab/rocket@1.2.0 README.md --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package, perhaps with a version or `r:RELEASE` to begin with
    #[arg(value_name = "PKG[@V]")]
    package: String,
    /// The file's path in the package, with `/` and without `./`, for example `src/main.syn`
    #[arg(value_name = "PATH")]
    path: String,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let request = BlameRequest { reference: self.package, path: self.path, offline, timeout_s };
        let blamed = client.call::<Blame>(context, request).await?;
        if !blamed.is_complete {
            let n = blamed.n_releases;
            context.ui().warning(&format!("{n} releases were looked at; what is from the oldest of them may be older"));
        }
        context.ui().data("blame", &blamed, human)
    }
}

fn human(blamed: &BlameResponse) -> String {
    let when = |release: &BlamedRelease| release.first_seen_ms.map(|at| format!(", seen here {}", text::utc(at)));
    let last = &blamed.last;
    let when = when(last).unwrap_or_default();
    let mut lines = vec![format!("{}: last changed by {} in {}{when}", blamed.path, author(last), last.version)];
    let of = |id: &str| blamed.releases.iter().find(|release| release.release_id == id);
    let rows: Vec<_> = blamed.lines.iter().flatten().map(|line| (of(&line.release_id), &line.text)).collect();
    let width = |column: fn(&BlamedRelease) -> String| {
        let cells = rows.iter().filter_map(|(release, _)| Some(column(release.as_ref()?).chars().count()));
        cells.max().unwrap_or_default()
    };
    let (version, by) = (width(|release| release.version.clone()), width(author));
    let digits = rows.len().to_string().len();
    lines.extend((1..).zip(&rows).map(|(number, (release, text)): (usize, _)| {
        let (v, who) = release.map_or(("", String::new()), |release| (&release.version, author(release)));
        format!("{v:version$}  {who:by$}  {number:digits$}  {text}").trim_end().to_owned()
    }));
    lines.join("\n")
}

/// Who published it, and who proposed what is merged in it.
fn author(release: &BlamedRelease) -> String {
    let proposers: Vec<&str> = release.proposed.iter().map(|merged| merged.by.as_str()).collect();
    match proposers.is_empty() {
        true => release.by.clone(),
        false => format!("{}, proposed by {}", release.by, proposers.join(" and ")),
    }
}
