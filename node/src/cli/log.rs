//! `syncra log`

use std::path::{Path, PathBuf};

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use crate::api::verbs::packages::{EntryInfo, Log, LogResponse, PackageRequest};
use crate::api::verbs::tiles::{ExportTiles, ExportTilesRequest, ExportTilesResponse, TiledLogInfo};
use crate::api::verbs::trace::{Graph, GraphedRelease};
use crate::problem::Problem;

mod graph;

/// Show the verified history of a package
///
/// Every entry of every log that speaks for the package, log by log, oldest first: those
/// of its writers, and those of its owners' identities.
///
/// `--graph` shows the releases instead, newest first, with lines to what each was made
/// from, and the branches, tags and channels that point to it. `seen here` is the time at which
/// this node first had it (`first_seen_ms` in JSON): when somebody published it nobody can prove.
///
/// With `--export-tiles` the same logs are written as C2SP tlog-tiles, which tools that
/// are not ours can audit: for each log `checkpoint`, `vkey` and `tile/…`, in a directory
/// named by the log's origin.
///
/// Examples:
///   syncra log @alice~k3v9x2m4q7ab/rocket
///   syncra log @alice/rocket --json | jq '.data.entries[] | select(.kind == "release")'
///   syncra log @alice/rocket --graph
///   syncra log @alice/rocket --export-tiles rocket-logs
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// Show the releases as a graph
    #[arg(long, conflicts_with = "export_tiles")]
    graph: bool,
    /// Write the logs as tlog-tiles into this directory, which is new or empty
    #[arg(long, value_name = "DIR")]
    export_tiles: Option<PathBuf>,
    /// Say what would be written, write nothing
    #[arg(long, requires = "export_tiles")]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        if let Some(dir) = &self.export_tiles {
            return self.export(dir, context).await;
        }
        let client = Client::open(context).await?;
        let request = PackageRequest { reference: self.package.clone() };
        if self.graph {
            let found = client.call_about::<Graph>(context, &self.package, request).await?;
            return context.ui().data("log", &found, |found| graph::draw(&found.releases, described));
        }
        let log = client.call_about::<Log>(context, &self.package, request).await?;
        context.ui().data("log", &log, human)
    }

    async fn export(&self, dir: &Path, context: &Context) -> Result<(), Problem> {
        let dir = context::absolute(dir)?;
        let client = Client::open(context).await?;
        let request = ExportTilesRequest { reference: self.package.clone(), dir, dry_run: self.dry_run };
        let exported = client.call::<ExportTiles>(context, request).await?;
        context.ui().data("log", &exported, |exported| tiled(exported, self.dry_run))
    }
}

fn human(log: &LogResponse) -> String {
    let mut lines = Vec::new();
    for of_log in log.entries.chunk_by(|a, b| a.origin == b.origin) {
        lines.push(of_log[0].origin.clone());
        let row = |entry: &EntryInfo| [entry.index.to_string(), entry.kind.clone(), entry.summary.clone()];
        let rows: Vec<_> = of_log.iter().map(row).collect();
        lines.push(text::table(["", "KIND", ""], &rows));
    }
    lines.join("\n")
}

/// What is said of a release beside its star.
fn described(release: &GraphedRelease) -> String {
    let mut words = vec![release.version.clone()];
    if !release.refs.is_empty() {
        words.push(format!("[{}]", release.refs.join(", ")));
    }
    if release.state != "settled" {
        words.push(format!("({})", release.state));
    }
    words.push(release.by.clone());
    words.extend(release.first_seen_ms.map(|at| format!("seen here {}", text::utc(at))));
    words.join("  ")
}

fn tiled(exported: &ExportTilesResponse, dry_run: bool) -> String {
    let did = if dry_run { "would write" } else { "wrote" };
    let n_logs = text::count(exported.logs.len() as u64, "log");
    let mut lines = vec![format!("{did} {n_logs} of {} below {}", exported.reference, exported.dir)];
    let row = |log: &TiledLogInfo| {
        format!("{}: {}, {}", log.origin, text::count(log.size, "entry"), text::count(log.n_files, "file"))
    };
    lines.extend(exported.logs.iter().map(row));
    lines.join("\n")
}
