//! What changed between two releases, or between a release and a directory.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::Release;
use syncra_protocol::manifest::{DependencyChange, FieldChange};
use syncra_protocol::reference::Reference;
use syncra_protocol::tree::FileEntry;
use syncra_protocol::version::VersionReq;
use utoipa::ToSchema;

use super::find;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::checkout;
use crate::flow::diff::{self, Content, Difference, Directory, FileDifference, Hunk, Side};
use crate::flow::peek::Peek;
use crate::flow::publish;
use crate::flow::resolve;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Compares two releases, or a release and a directory.
#[derive(Debug)]
pub struct Diff;

/// What with what.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// The older one, a reference. None: of a release its first parent, of a checkout what it is based on, of another
    /// directory the newest release of its package.
    #[serde(default)]
    pub old: Option<String>,
    /// The newer one, a reference; or else `dir` is said.
    #[serde(default)]
    pub new: Option<String>,
    /// The newer one, a directory with a manifest, as an absolute path on the node's machine.
    #[serde(default)]
    pub dir: Option<String>,
    /// Only which files changed: no byte of them is read or fetched.
    #[serde(default)]
    pub names_only: bool,
    /// Only from what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Seconds that a fetch may go on without a byte from anybody; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffResponse {
    /// The older one; none before the first release.
    pub old: Option<String>,
    /// The newer one.
    pub new: String,
    /// Keys of the manifest with another value.
    pub metadata: Vec<FieldChangeInfo>,
    /// What it newly asks for.
    pub asks_more: Vec<String>,
    /// What it asks for no longer.
    pub asks_less: Vec<String>,
    /// Dependencies that came, went or want other versions.
    pub dependencies: Vec<DependencyChangeInfo>,
    /// Files, in the order of their paths.
    pub files: Vec<FileChangeInfo>,
    /// Bytes that were fetched to tell this.
    pub fetched_bytes: u64,
}

/// A key of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChangeInfo {
    /// The key.
    pub key: String,
    /// Its value before.
    pub old: Option<String>,
    /// Its value now.
    pub new: Option<String>,
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DependencyChangeInfo {
    /// Which package.
    pub package_id: String,
    /// What the package calls it.
    pub name: String,
    /// Versions that did before.
    pub old: Option<String>,
    /// Versions that do now.
    pub new: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileChangeInfo {
    /// `added`, `removed`, `modified` or `renamed`.
    pub change: String,
    /// Its path, before it was removed if it was.
    pub path: String,
    /// As it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<FileInfo>,
    /// As it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<FileInfo>,
    /// What is told of its bytes: `same`, `unread`, `text`, `binary`, `too_large`.
    pub content: String,
    /// Lines that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_added: Option<u32>,
    /// Lines that went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_removed: Option<u32>,
    /// Lines that differ, with those around them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hunks: Vec<HunkInfo>,
}

/// A file on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileInfo {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub hash: String,
    /// Mode 0755; else 0644.
    pub executable: bool,
}

/// Lines that differ, in unified form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HunkInfo {
    /// The first line in the older text, from 1.
    pub old_start: u32,
    /// How many there.
    pub old_lines: u32,
    /// The first line in the newer text, from 1.
    pub new_start: u32,
    /// How many there.
    pub new_lines: u32,
    /// The lines, each behind ` `, `-` or `+`; `\` tells that the line before has no newline.
    pub lines: Vec<String>,
}

impl Verb for Diff {
    const NAME: &'static str = "diff";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/diff";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "What changed between two releases, or a release and a directory; fetches what is needed to tell.";
    type Request = DiffRequest;
    type Response = DiffResponse;

    async fn run(service: &Arc<Service>, request: DiffRequest, progress: &Progress) -> Result<DiffResponse, Problem> {
        let ask = find::Ask { offline: request.offline, patience: find::patience(request.timeout_s) };
        let (old, new) = Box::pin(sides(service, &request, ask)).await?;
        let mut done = Box::pin(compare(service, (&old, &new), &request, progress)).await;
        if find::may_fetch(service, ask, &done).await? {
            done = Box::pin(compare(service, (&old, &new), &request, progress)).await;
        }
        Ok(response(&old, &new, done?))
    }
}

async fn compare(
    service: &Service,
    (old, new): (&Chosen, &Chosen),
    request: &DiffRequest,
    progress: &Progress,
) -> Result<(Difference, u64), Problem> {
    let patience = find::patience(request.timeout_s);
    let peek = Peek::new(service.parts(), request.offline, patience, progress).await?;
    let (old, new) = (old.open(&peek).await?, new.open(&peek).await?);
    let difference = diff::compare(&peek, &old, &new, !request.names_only).await?;
    Ok((difference, peek.fetched_bytes()))
}

/// One side, found and not yet looked into.
enum Chosen {
    Nothing,
    Release { reference: String, release: Box<Release> },
    Directory { dir: String, plan: Box<publish::Plan> },
}

impl Chosen {
    fn release(found: find::Found) -> Self {
        Self::Release { reference: found.reference, release: Box::new(found.release) }
    }

    async fn open(&self, peek: &Peek<'_>) -> Result<Side, Problem> {
        Ok(match self {
            Self::Nothing => Side::Nothing,
            Self::Release { release, .. } => Side::Release(Box::new(peek.describe(release).await?)),
            Self::Directory { plan, .. } => {
                let plan = plan.clone();
                let read = tokio::task::spawn_blocking(move || Directory::read(&plan)).await;
                let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                Side::Directory(Box::new(read?))
            }
        })
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Release { reference, .. } => Some(reference.clone()),
            Self::Directory { dir, .. } => Some(dir.clone()),
        }
    }
}

async fn sides(service: &Service, request: &DiffRequest, ask: find::Ask) -> Result<(Chosen, Chosen), Problem> {
    let old = match &request.old {
        Some(old) => Some(Chosen::release(find::release(service, &Reference::parse(old)?, ask).await?)),
        None => None,
    };
    match (&request.new, &request.dir) {
        (Some(new), None) => {
            let new = find::release(service, &Reference::parse(new)?, ask).await?;
            let old = match old {
                Some(old) => old,
                None => parent_of(service, &new)?,
            };
            Ok((old, Chosen::release(new)))
        }
        (None, Some(dir)) => {
            let plan = Box::new(plan(service, dir).await?);
            let old = match old {
                Some(old) => old,
                None => newest_of(service, &plan)?,
            };
            Ok((old, Chosen::Directory { dir: dir.clone(), plan }))
        }
        _ => Err(Problem::new(Code::BadArgument, "the newer side is either a release or a directory")),
    }
}

/// What a release was made from.
fn parent_of(service: &Service, found: &find::Found) -> Result<Chosen, Problem> {
    let Some(parent) = found.release.parents.first() else { return Ok(Chosen::Nothing) };
    let parts = service.parts();
    // What is proposed was made from a release of another package.
    let history = match found.named.history.state.releases.contains_key(parent) {
        true => Some(Arc::clone(&found.named.history)),
        false => checkout::package_of(parts, *parent)?,
    };
    let Some(history) = history else { return Ok(Chosen::Nothing) };
    let release = history.state.releases[parent].release.clone();
    let reference = format!("{}@{}", resolve::text(&parts.histories, history.state.package)?, release.version);
    Ok(Chosen::Release { reference, release: Box::new(release) })
}

async fn plan(service: &Service, dir: &str) -> Result<publish::Plan, Problem> {
    let parts = service.parts();
    let path = PathBuf::from(dir);
    if !path.is_absolute() {
        return Err(Problem::new(Code::BadArgument, format!("`{dir}` is not an absolute path")));
    }
    let request = publish::Request::of(path);
    Ok(publish::look(parts, request).await?)
}

/// What a checkout is based on; of another directory the newest release of the package that it would be published as.
fn newest_of(service: &Service, plan: &publish::Plan) -> Result<Chosen, Problem> {
    let parts = service.parts();
    let history = match plan.package {
        Some(package) => parts.histories.package(package)?,
        None => None,
    };
    if let (Some(base), Some(history)) = (&plan.base, &history)
        && let Some(published) = history.state.releases.get(&base.release)
    {
        let release = published.release.clone();
        let reference = format!("{}@{}", resolve::text(&parts.histories, history.state.package)?, release.version);
        return Ok(Chosen::Release { reference, release: Box::new(release) });
    }
    let Some(history) = history else {
        let message = format!("`{}` was not published from here yet", plan.manifest.header.name);
        return Err(Problem::new(Code::PackageNotFound, message)
            .with_hint("name the release to compare with: `syncra diff PKG@VERSION DIR`"));
    };
    let highest = history.state.select(&syncra_protocol::fold::Pick::Highest(VersionReq::any()));
    // Where there are only pre-releases, what the channel points to.
    let selection = highest.or_else(|_| resolve::release(&history.state, None))?;
    let release = selection.published.release.clone();
    let reference = format!("{}@{}", resolve::text(&parts.histories, history.state.package)?, release.version);
    Ok(Chosen::Release { reference, release: Box::new(release) })
}

fn response(old: &Chosen, new: &Chosen, (difference, fetched_bytes): (Difference, u64)) -> DiffResponse {
    let Difference { manifest, files } = difference;
    let field = |FieldChange { key, old, new }| FieldChangeInfo { key: key.to_owned(), old, new };
    let dependency = |change: DependencyChange| DependencyChangeInfo {
        package_id: change.package.to_string(),
        name: change.name.to_string(),
        old: change.old.map(|req| req.to_string()),
        new: change.new.map(|req| req.to_string()),
    };
    DiffResponse {
        old: old.text(),
        new: new.text().unwrap_or_default(),
        metadata: manifest.fields.into_iter().map(field).collect(),
        asks_more: manifest.asks_more,
        asks_less: manifest.asks_less,
        dependencies: manifest.dependencies.into_iter().map(dependency).collect(),
        files: files.into_iter().map(file_change).collect(),
        fetched_bytes,
    }
}

fn file_change(file: FileDifference) -> FileChangeInfo {
    let change = match (&file.old, &file.new) {
        (None, _) => "added",
        (_, None) => "removed",
        (Some(old), Some(new)) if old.path != new.path => "renamed",
        (Some(_), Some(_)) => "modified",
    };
    let path = diff::path_of(&file).map(ToString::to_string).unwrap_or_default();
    let info = |file: FileEntry| FileInfo {
        path: file.path.to_string(),
        size: file.size,
        hash: file.hash.to_string(),
        executable: file.executable,
    };
    let (content, lines) = match file.content {
        Content::Same => ("same", None),
        Content::Unread => ("unread", None),
        Content::Binary => ("binary", None),
        Content::TooLarge => ("too_large", None),
        Content::Text { hunks, n_added, n_removed } => ("text", Some((hunks, n_added, n_removed))),
    };
    let (hunks, n_added, n_removed) = match lines {
        Some((hunks, n_added, n_removed)) => (hunks, Some(n_added), Some(n_removed)),
        None => (Vec::new(), None, None),
    };
    let hunk = |hunk: Hunk| HunkInfo {
        old_start: hunk.old_start,
        old_lines: hunk.old_lines,
        new_start: hunk.new_start,
        new_lines: hunk.new_lines,
        lines: hunk.lines,
    };
    FileChangeInfo {
        change: change.to_owned(),
        path,
        old: file.old.map(info),
        new: file.new.map(info),
        content: content.to_owned(),
        n_added,
        n_removed,
        hunks: hunks.into_iter().map(hunk).collect(),
    }
}
