//! A git repository's history as a package's, and back.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::{PackageName, RefName};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::find;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::event::Event;
use crate::flow::git::{self, Left, Skip};
use crate::flow::resolve;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Takes in a git repository.
#[derive(Debug)]
pub struct ImportGit;

/// Which repository, and as what.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportGitRequest {
    /// The repository, as an absolute path on the node's machine.
    pub dir: String,
    /// The package's name; else what `syncra.toml` of the checked-out branch says.
    #[serde(default)]
    pub name: Option<String>,
    /// Its kind; else what `syncra.toml` says.
    #[serde(default)]
    pub kind: Option<String>,
    /// The channel that will point to the highest version; `stable` if none is said.
    #[serde(default)]
    pub channel: Option<String>,
    /// What may be left out: `links`, `modules`, `names`, `secrets`, `tags`.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Paths inside the repository that may hold what looks like a secret.
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    /// Only look; the bytes of files are not read.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportGitResponse {
    /// The package's reference; none if it would be begun.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether this begins the package.
    pub first: bool,
    /// Commits of the repository.
    pub commits: u64,
    /// Those that were no releases before.
    pub new_commits: u64,
    /// Those without files, which no release stands for.
    pub without_files: u64,
    /// Branches of the repository.
    pub branches: u64,
    /// Tags of the repository.
    pub tags: u64,
    /// Entries that were signed.
    pub entries: u64,
    /// New versions that tags name.
    pub versions: Vec<String>,
    /// Branches, tags and channels that were made or moved.
    pub moved: Vec<String>,
    /// Refs that stay as they are, or cannot be here.
    pub kept: Vec<String>,
    /// Versions whose `syncra.toml` cannot be used: they need nothing and ask for nothing.
    pub plain: Vec<PlainVersion>,
    /// Entries of trees, and tags, that were left out because they were to be.
    pub left_out: u64,
    /// The first of them.
    pub left_out_examples: Vec<String>,
    /// Files that are only pointers of git's large-file storage.
    pub lfs_pointers: u64,
    /// Bytes that this device did not hold before.
    pub new_bytes: u64,
    /// Whether nothing was changed because nothing should be.
    pub dry_run: bool,
}

/// A version that is published without what its `syncra.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlainVersion {
    /// The version.
    pub version: String,
    /// What is wrong with the file.
    pub reason: String,
}

impl Verb for ImportGit {
    const NAME: &'static str = "import_git";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/import/git";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "Turns a git repository's history into a package's; what is known of it is only added to.";
    type Request = ImportGitRequest;
    type Response = ImportGitResponse;

    async fn run(
        service: &Arc<Service>,
        request: ImportGitRequest,
        progress: &Progress,
    ) -> Result<ImportGitResponse, Problem> {
        let progress = progress.clone();
        service.finish(move |service| async move { import(&service, request, &progress).await }).await
    }
}

async fn import(
    service: &Service,
    request: ImportGitRequest,
    progress: &Progress,
) -> Result<ImportGitResponse, Problem> {
    let (parts, dry_run) = (service.parts(), request.dry_run);
    let plan = git::plan(parts, parse(&request)?, progress).await?;
    let reference = plan.package.map(|package| resolve::text(&parts.histories, package)).transpose()?;
    let (branches, tags) = plan.refs();
    let left = plan.left.clone();
    let mut response = ImportGitResponse {
        first: reference.is_none(),
        reference,
        name: plan.name.to_string(),
        kind: plan.kind.as_str().to_owned(),
        commits: plan.commits(),
        new_commits: plan.new_commits,
        without_files: plan.without_files,
        branches,
        tags,
        entries: 0,
        versions: Vec::new(),
        moved: Vec::new(),
        kept: Vec::new(),
        plain: Vec::new(),
        left_out: left.n,
        left_out_examples: left.examples,
        lfs_pointers: 0,
        new_bytes: 0,
        dry_run,
    };
    if dry_run {
        return Ok(response);
    }
    let done = git::import(parts, plan, progress).await?;
    let reference = resolve::text(&parts.histories, done.package)?;
    if let Some(history) = parts.histories.package(done.package)? {
        for version in &done.versions {
            if let Some(syncra_protocol::fold::VersionState::Settled(release)) = history.state.versions.get(version) {
                let (reference, release_id) = (format!("{reference}@{version}"), release.to_string());
                service.emit(Event::Published { reference, release_id });
            }
        }
    }
    let Left { n, examples } = done.left;
    response.reference = Some(reference);
    response.entries = done.entries;
    response.versions = done.versions.iter().map(ToString::to_string).collect();
    (response.moved, response.kept) = (done.moved, done.kept);
    let plain = done.plain.into_iter();
    response.plain = plain.map(|(version, reason)| PlainVersion { version: version.to_string(), reason }).collect();
    (response.left_out, response.left_out_examples) = (n, examples);
    (response.lfs_pointers, response.new_bytes) = (done.lfs_pointers, done.new_bytes);
    Ok(response)
}

fn parse(request: &ImportGitRequest) -> Result<git::Request, Problem> {
    let bad = |what: String| Problem::new(Code::BadArgument, what);
    let kind = |text: &String| {
        let kind = PackageKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| bad(format!("`{text}` is not a kind of package")))
    };
    let mut skip = Skip::default();
    for what in &request.skip {
        match what.as_str() {
            "links" => skip.links = true,
            "modules" => skip.modules = true,
            "names" => skip.names = true,
            "secrets" => skip.secrets = true,
            "tags" => skip.tags = true,
            _ => return Err(bad(format!("`{what}` is nothing that can be left out"))),
        }
    }
    let channel = request.channel.as_deref().map(RefName::parse).transpose()?;
    Ok(git::Request {
        dir: absolute(&request.dir)?,
        name: request.name.as_deref().map(PackageName::parse).transpose()?,
        kind: request.kind.as_ref().map(kind).transpose()?,
        channel: channel.unwrap_or_else(RefName::stable),
        skip,
        allow_secrets: request.allow_secrets.clone(),
    })
}

/// Writes a package as a git repository.
#[derive(Debug)]
pub struct ExportGit;

/// Which package, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportGitRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The directory, absent or empty, as an absolute path on the node's machine.
    pub dir: String,
    /// How long peers are waited for, in seconds.
    #[serde(default)]
    pub timeout_s: Option<u64>,
    /// Only check that the package is known.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportGitResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The directory.
    pub dir: String,
    /// Commits.
    pub commits: u64,
    /// Of those that came from git, how many have the id that they had.
    pub same: u64,
    /// And how many have another.
    pub changed: u64,
    /// Branches and tags.
    pub refs: u64,
    /// The branch that is checked out.
    pub head: Option<String>,
    /// Refs that are not in the repository, and why.
    pub left_out: Vec<String>,
    /// Bytes that came from peers.
    pub fetched_bytes: u64,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
}

impl Verb for ExportGit {
    const NAME: &'static str = "export_git";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/export/git";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Writes a package's history into a new git repository.";
    type Request = ExportGitRequest;
    type Response = ExportGitResponse;

    async fn run(
        service: &Arc<Service>,
        request: ExportGitRequest,
        progress: &Progress,
    ) -> Result<ExportGitResponse, Problem> {
        let ExportGitRequest { reference, dir, timeout_s, dry_run } = request;
        let (path, patience) = (absolute(&dir)?, find::patience(timeout_s));
        let reference = Reference::parse(&reference)?;
        find::look_around(service, &reference, patience).await?;
        let named = resolve::package(service.parts(), &reference)?;
        let reference = named.reference.clone();
        let done = match dry_run {
            true => git::Exported::default(),
            false => git::export(service.parts(), named, &path, patience, progress).await?,
        };
        Ok(ExportGitResponse {
            reference,
            dir,
            commits: done.commits,
            same: done.same,
            changed: done.changed,
            refs: done.refs,
            head: done.head,
            left_out: done.left,
            fetched_bytes: done.fetched_bytes,
            dry_run,
        })
    }
}

fn absolute(dir: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(dir);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Problem::new(Code::BadArgument, format!("`{dir}` is not an absolute path"))),
    }
}
