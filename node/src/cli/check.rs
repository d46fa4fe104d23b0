//! `syncra check`

use std::path::{Path, PathBuf};

use serde::Serialize;
use syncra_protocol::limits::RELEASE_BYTES;
use syncra_protocol::manifest::{MANIFEST_FILE, Manifest};

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use crate::api::verbs::publish::{CheckNeeds, CheckNeedsRequest};
use crate::flow::secrets::{Finding, scan_file};
use crate::flow::walk::{Selection, SourceFile, walk};
use crate::flow::{checkout, manifest, merge};
use crate::problem::{Code, Problem};

/// Check a package before publishing it
///
/// Reads `syncra.toml`, applies the ignore rules, and looks at every path that would be
/// published, also for what looks like a key or password. A dependency that `publish` would
/// refuse is refused, and one that no release fits that is known in the home is warned about;
/// nobody is asked. Prints what would go out. Changes nothing.
///
/// Examples:
///   syncra check
///   syncra check examples/packages/lighthouse
///   syncra check --json | jq .data.files
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package's directory
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// What would be published.
#[derive(Debug, Serialize)]
struct Checked {
    name: String,
    version: String,
    kind: &'static str,
    total_bytes: u64,
    n_files: usize,
    files: Vec<FileInfo>,
    secrets: Vec<Secret>,
    warnings: Vec<String>,
}

/// What should perhaps not go out.
#[derive(Debug, Serialize)]
struct Secret {
    path: String,
    line: usize,
    what: &'static str,
}

#[derive(Debug, Serialize)]
struct FileInfo {
    path: String,
    bytes: u64,
    executable: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        if let Some(base) = checkout::read(&self.dir)? {
            merge::check_finished(&self.dir, &base)?;
        }
        let manifest = read_manifest(&self.dir)?;
        let selection = Selection {
            include: manifest.files.include.iter().map(ToString::to_string).collect(),
            exclude: manifest.files.exclude.iter().map(ToString::to_string).collect(),
        };
        let files = walk(&self.dir, &selection)?;
        check_started(&manifest, &files)?;
        let total_bytes = files.iter().map(|file| file.size).sum();
        if total_bytes > RELEASE_BYTES {
            let message = format!("the files have {total_bytes} bytes, a release at most {RELEASE_BYTES}");
            return Err(Problem::new(Code::TreeInvalid, message));
        }
        let checked = Checked {
            name: manifest.header.name.to_string(),
            version: manifest.header.version.to_string(),
            kind: manifest.header.kind.as_str(),
            total_bytes,
            n_files: files.len(),
            files: files.iter().map(FileInfo::from).collect(),
            secrets: secrets(&files)?,
            warnings: self.needs(context, &manifest).await?,
        };
        checked.warnings.iter().for_each(|warning| context.ui().warning(warning));
        for Secret { path, line, what } in &checked.secrets {
            context.ui().warning(&format!("`{path}` line {line} looks like {what}"));
        }
        context.ui().data("check", &checked, human)
    }
}

impl Args {
    /// What speaks against the dependencies, as far as is known here; a problem if they keep a publish from being one.
    async fn needs(&self, context: &Context, manifest: &Manifest) -> Result<Vec<String>, Problem> {
        if manifest.dependencies.is_empty() {
            return Ok(Vec::new());
        }
        let why = match self.looked_up(context).await {
            Ok(Some(warnings)) => return Ok(warnings),
            Ok(None) => "there is no home here".to_owned(),
            Err(problem) if problem.code == Code::DependencyUnknown => return Err(problem),
            Err(problem) => problem.message,
        };
        Ok(vec![format!("dependencies were not looked up: {why}; `syncra publish --dry-run` looks them up")])
    }

    /// None without a home: checking makes none.
    async fn looked_up(&self, context: &Context) -> Result<Option<Vec<String>>, Problem> {
        if context.api().is_none() && !context.home()?.is_dir() {
            return Ok(None);
        }
        let client = Client::open(context).await?;
        let request = CheckNeedsRequest { dir: context::absolute(&self.dir)? };
        Ok(Some(client.call::<CheckNeeds>(context, request).await?.warnings))
    }
}

impl From<&SourceFile> for FileInfo {
    fn from(file: &SourceFile) -> Self {
        Self { path: file.path.to_string(), bytes: file.size, executable: file.executable }
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, Problem> {
    let missing = || format!("there is no `{}`", dir.join(MANIFEST_FILE).display());
    manifest::read(dir)?.ok_or_else(|| Problem::new(Code::ManifestMissing, missing()))
}

/// What the manifest starts must be among what is published.
fn check_started(manifest: &Manifest, files: &[SourceFile]) -> Result<(), Problem> {
    let started = manifest.run.start.iter().chain(&manifest.run.headless);
    for path in started {
        if !files.iter().any(|file| file.path == *path) {
            let message = format!("`[run]` names `{path}`, which is not among the files that would be published");
            return Err(Problem::new(Code::ManifestInvalid, message));
        }
    }
    Ok(())
}

/// What looks like a secret in the beginning of each file.
fn secrets(files: &[SourceFile]) -> Result<Vec<Secret>, Problem> {
    let mut found = Vec::new();
    for file in files {
        let secret = |hit: Finding| Secret { path: file.path.to_string(), line: hit.line, what: hit.what };
        found.extend(scan_file(file)?.map(secret));
    }
    Ok(found)
}

fn human(checked: &Checked) -> String {
    let (files, size) = (text::count(checked.n_files as u64, "file"), text::bytes(checked.total_bytes));
    let head = format!("{} {} ({}): {files}, {size}", checked.name, checked.version, checked.kind);
    let line = |file: &FileInfo| {
        let mark = if file.executable { "*" } else { "" };
        format!("{:>10}  {}{mark}", text::bytes(file.bytes), file.path)
    };
    std::iter::once(head).chain(checked.files.iter().map(line)).collect::<Vec<_>>().join("\n")
}
