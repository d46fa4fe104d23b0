//! Packages on a stick.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use crate::api::types::ForkInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::syncpack::{self, LearntFork, export::Choice};
use crate::flow::{fork, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Writes packages into a file.
#[derive(Debug)]
pub struct Export;

/// What, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// References: with a version or channel that release, without all releases that are held.
    pub refs: Vec<String>,
    /// The file, which must not exist, as an absolute path on the node's machine.
    pub file: String,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportResponse {
    /// The file.
    pub file: String,
    /// Packages in it.
    pub packages: u64,
    /// Releases whose content is in it.
    pub releases: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
}

impl Verb for Export {
    const NAME: &'static str = "export";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/export";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Writes packages with their histories and content into a .syncpack file.";
    type Request = ExportRequest;
    type Response = ExportResponse;

    async fn run(
        service: &Arc<Service>,
        request: ExportRequest,
        progress: &Progress,
    ) -> Result<ExportResponse, Problem> {
        let ExportRequest { refs, file, dry_run } = request;
        let parts = service.parts();
        let path = absolute(&file)?;
        let mut choices: Vec<Choice> = Vec::new();
        for reference in refs {
            let named = resolve::package(parts, &Reference::parse(&reference)?)?;
            let state = &named.history.state;
            let release = match &named.selector {
                Some(_) => Some(resolve::release(state, named.selector.as_ref())?.release),
                None => None,
            };
            choices.push(Choice { history: named.history, release });
        }
        if choices.is_empty() {
            return Err(Problem::new(Code::BadArgument, "no package is named"));
        }
        let packages = choices.len() as u64;
        if dry_run {
            return Ok(ExportResponse { file, packages, releases: 0, bytes: 0, dry_run });
        }
        let done = syncpack::export(parts, &choices, &path, progress).await?;
        Ok(ExportResponse { file, packages: done.packages, releases: done.releases, bytes: done.bytes, dry_run })
    }
}

/// Takes in a file.
#[derive(Debug)]
pub struct Import;

/// Which file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// The file, as an absolute path on the node's machine.
    pub file: String,
    /// Only verify.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportResponse {
    /// The packages in it.
    pub packages: Vec<ImportedPackage>,
    /// Entries that were not known before.
    pub entries: u64,
    /// Blobs that were not held before.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Logs in it whose keys have signed two histories: nothing newer of them is taken in, and what is here stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Logs of which the file taught that their keys signed two histories, or where these part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<LearntForkInfo>,
    /// If the file is a fork proof: that, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkInfo>,
    /// Whether nothing was kept because nothing should be.
    pub dry_run: bool,
}

/// A log whose key signed two histories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LearntForkInfo {
    /// The log.
    pub log: String,
    /// How many of the entries that are here are in both, if that is known.
    pub n_common: Option<u64>,
}

impl From<LearntFork> for LearntForkInfo {
    fn from(LearntFork { log, n_common }: LearntFork) -> Self {
        Self { log: log.to_string(), n_common }
    }
}

/// A package that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedPackage {
    /// Its reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its releases that are complete here.
    pub releases: u64,
}

impl Verb for Import {
    const NAME: &'static str = "import";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/import";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "Takes in a .syncpack file, or a fork proof; all of it is verified before anything is kept.";
    type Request = ImportRequest;
    type Response = ImportResponse;

    async fn run(
        service: &Arc<Service>,
        request: ImportRequest,
        progress: &Progress,
    ) -> Result<ImportResponse, Problem> {
        let ImportRequest { file, dry_run } = request;
        let path = absolute(&file)?;
        if fork::is_meant(&path).is_ok_and(|is_meant| is_meant) {
            return take_fork(service, &file, &path, dry_run).await;
        }
        let done = syncpack::import(service.parts(), &path, dry_run, progress).await.map_err(|error| {
            let problem = Problem::from(error);
            Problem { message: format!("{file}: {}", problem.message), ..problem }
        })?;
        let package = |(reference, releases)| ImportedPackage { reference, releases };
        let packages = done.packages.into_iter().map(package).collect();
        Ok(ImportResponse {
            packages,
            entries: done.entries,
            blobs: done.blobs,
            bytes: done.bytes,
            left_out: done.left_out.iter().map(ToString::to_string).collect(),
            forks: done.forks.into_iter().map(LearntForkInfo::from).collect(),
            fork: None,
            dry_run,
        })
    }
}

/// Takes in a fork proof: from now on nothing newer of that log is accepted here.
async fn take_fork(service: &Service, file: &str, path: &Path, dry_run: bool) -> Result<ImportResponse, Problem> {
    let proof = fork::read_file(path).map_err(|error| {
        let problem = Problem::from(error);
        Problem { message: format!("{file}: {}", problem.message), ..problem }
    })?;
    if !dry_run {
        service.parts().histories.keep_fork(&proof).await?;
    }
    let fork = Some(ForkInfo::from(&proof));
    let (packages, left_out, forks) = (Vec::new(), Vec::new(), Vec::new());
    Ok(ImportResponse { packages, entries: 0, blobs: 0, bytes: 0, left_out, forks, fork, dry_run })
}

fn absolute(file: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(file);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Problem::new(Code::BadArgument, format!("`{file}` is not an absolute path"))),
    }
}
