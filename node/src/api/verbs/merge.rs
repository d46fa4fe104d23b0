//! Merging into a checkout, settling what a merge left, and taking it back.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::path::EntryPath;
use syncra_protocol::reference::Reference;
use syncra_protocol::tree::merge::Merged;
use utoipa::ToSchema;

use super::find;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::checkout::{self, Conflict, ConflictKind, DirLock};
use crate::flow::merge::{self, Plan, Planned, Theirs};
use crate::flow::peek::Peek;
use crate::flow::{manifest, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Merges a release into a checkout.
#[derive(Debug)]
pub struct Merge;

/// Says that conflicts are solved, or takes a merge back.
#[derive(Debug)]
pub struct SettleMerge;

/// What to merge, into which directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// The checkout, as an absolute path on the node's machine.
    pub dir: String,
    /// What to merge: a reference, or a version, channel, branch or release of the checkout's package. None: what its
    /// branch or channel points to.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// Only say what would become of the files.
    #[serde(default)]
    pub dry_run: bool,
    /// Only from what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Seconds that a fetch may go on without a byte from anybody; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What was merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeResponse {
    /// The directory.
    pub dir: String,
    /// What was merged in; none if there was nothing.
    pub merged: Option<String>,
    /// Whether it was there already; nothing was changed.
    pub already: bool,
    /// Whether the directory was made from nothing that the other side does not come from too: the next release has it as its
    /// only parent.
    pub is_forward: bool,
    /// What became of each file that changed, in the order of their paths.
    pub files: Vec<MergedFile>,
    /// What somebody has to decide before a publish.
    pub conflicts: Vec<ConflictInfo>,
    /// What people should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Whether nothing was changed because it was only asked.
    pub dry_run: bool,
}

/// A file of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergedFile {
    /// Its path.
    pub path: String,
    /// `added`, `changed`, `removed`, `moved`, `merged` (lines of both) or `conflict`.
    pub change: String,
    /// Where it was, if it is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Something that somebody has to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConflictInfo {
    /// The file.
    pub path: String,
    /// `lines` (between markers), `bytes`, `place`, `removed_here`, `removed_there` or `moved`.
    pub kind: String,
    /// Where their file lies, if it lies beside ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

/// What to do with a merge.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleMergeRequest {
    /// The checkout, as an absolute path on the node's machine.
    pub dir: String,
    /// Take it back: files that it wrote, moved or removed are as they were.
    #[serde(default)]
    pub abort: bool,
    /// Conflicts that are solved; all that can be, if none is named.
    #[serde(default)]
    pub solved: Vec<String>,
}

/// What is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettleMergeResponse {
    /// The directory.
    pub dir: String,
    /// Whether the merge was taken back.
    pub aborted: bool,
    /// Conflicts that are left.
    pub conflicts: Vec<ConflictInfo>,
    /// Files that somebody saved after the merge that was taken back: nothing of theirs was written over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptInfo>,
}

/// A file that somebody saved after a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptInfo {
    /// Where it was saved.
    pub path: String,
    /// Where it is: there, if nothing was there before the merge; else beside.
    pub at: String,
}

impl Verb for Merge {
    const NAME: &'static str = "merge";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/merge";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Merges a release into a checkout, three ways; conflicts are left in its files.";
    type Request = MergeRequest;
    type Response = MergeResponse;

    async fn run(service: &Arc<Service>, request: MergeRequest, progress: &Progress) -> Result<MergeResponse, Problem> {
        let dir = absolute(&request.dir)?;
        let ask = find::Ask { offline: request.offline, patience: find::patience(request.timeout_s) };
        // Until all is written: what is planned is planned on what is noted now.
        let _lock = if request.dry_run { None } else { DirLock::of_checkout(&dir)? };
        let base = merge::base_of(&dir)?;
        let mut response = MergeResponse {
            dir: request.dir.clone(),
            merged: None,
            already: true,
            is_forward: false,
            files: Vec::new(),
            conflicts: Vec::new(),
            warnings: Vec::new(),
            fetched_bytes: 0,
            dry_run: request.dry_run,
        };
        let (theirs, n_left) = match &request.reference {
            Some(text) => (Some(named(service, &base, text, ask).await?), 0),
            None => heads(service, &base, ask).await?,
        };
        let Some(theirs) = theirs else { return Ok(response) };
        response.merged = Some(theirs.reference.clone());
        if n_left > 0 {
            response.warnings.push(format!("{} points to {n_left} more: merge again afterwards", base.place));
        }
        let mut done = Box::pin(merged(service, &theirs, &request, response.clone(), progress)).await;
        if find::may_fetch(service, ask, &done).await? {
            done = Box::pin(merged(service, &theirs, &request, response, progress)).await;
        }
        done
    }
}

impl Verb for SettleMerge {
    const NAME: &'static str = "merge_settle";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/merge/settle";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Says that conflicts of the last merge are solved, or takes it back.";
    type Request = SettleMergeRequest;
    type Response = SettleMergeResponse;

    async fn run(
        service: &Arc<Service>,
        request: SettleMergeRequest,
        _: &Progress,
    ) -> Result<SettleMergeResponse, Problem> {
        let dir = absolute(&request.dir)?;
        if request.abort && !request.solved.is_empty() {
            return Err(Problem::new(Code::BadArgument, "a merge is taken back as a whole"));
        }
        let parse =
            |path: &String| EntryPath::parse(path).map_err(|error| Problem::from_error(Code::BadArgument, &error));
        let solved = request.solved.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let (aborted, dir_text) = (request.abort, request.dir);
        let settled = service.blocking(move |_| {
            let _lock = DirLock::of_checkout(&dir)?;
            match aborted {
                true => Ok((Vec::new(), merge::abort(&dir)?.1)),
                false => Ok((merge::solve(&dir, &solved)?, Vec::new())),
            }
        });
        let (conflicts, kept) = settled.await?;
        let conflicts = conflicts.iter().map(ConflictInfo::from).collect();
        let kept = kept.iter().map(|kept| KeptInfo { path: kept.path.to_string(), at: kept.at.to_string() }).collect();
        Ok(SettleMergeResponse { dir: dir_text, aborted, conflicts, kept })
    }
}

impl From<&Conflict> for ConflictInfo {
    fn from(conflict: &Conflict) -> Self {
        let kind = match conflict.kind {
            ConflictKind::Lines => "lines",
            ConflictKind::Bytes => "bytes",
            ConflictKind::Place => "place",
            ConflictKind::RemovedHere => "removed_here",
            ConflictKind::RemovedThere => "removed_there",
            ConflictKind::Moved => "moved",
        };
        let beside = conflict.beside.as_ref().map(ToString::to_string);
        Self { path: conflict.path.to_string(), kind: kind.to_owned(), beside }
    }
}

pub(super) fn absolute(dir: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(dir);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Problem::new(Code::BadArgument, format!("`{dir}` is not an absolute path"))),
    }
}

/// What somebody named; a text that is no reference is a release of the checkout's package.
async fn named(service: &Service, base: &checkout::Base, text: &str, ask: find::Ask) -> Result<Theirs, Problem> {
    let reference = match text.starts_with('@') || text.starts_with("syncra:") {
        true => Reference::parse(text)?,
        false => Reference::parse(&format!("syncra:{}@{text}", base.package))?,
    };
    let found = find::release(service, &reference, ask).await?;
    let (reference, id, release, history) = (found.reference, found.id, found.release, found.named.history);
    Ok(Theirs { reference, id, release, history })
}

/// The first place that the checkout's branch or channel points to and that is not in it yet, the highest version first; and
/// how many more there are.
async fn heads(service: &Service, base: &checkout::Base, ask: find::Ask) -> Result<(Option<Theirs>, usize), Problem> {
    let parts = service.parts();
    let reference = Reference::Package(base.package, None);
    if !ask.offline && parts.online().is_some() {
        find::look_around(service, &reference, ask.patience).await?;
    }
    let named = resolve::package(parts, &reference)?;
    let state = &named.history.state;
    let mut heads = checkout::unseen(parts, state, &base.place, &base.parents())?;
    heads.sort_by_key(|id| state.releases.get(id).map(|published| published.release.version.clone()));
    let Some(id) = heads.pop() else { return Ok((None, 0)) };
    let published = state.releases.get(&id).ok_or_else(|| {
        Problem::new(Code::ReleaseNotFound, format!("{} points to a release that is not known here", base.place))
    })?;
    let release = published.release.clone();
    let reference = format!("{}@{}", named.reference, release.version);
    Ok((Some(Theirs { reference, id, release, history: Arc::clone(&named.history) }), heads.len()))
}

async fn merged(
    service: &Arc<Service>,
    theirs: &Theirs,
    request: &MergeRequest,
    mut response: MergeResponse,
    progress: &Progress,
) -> Result<MergeResponse, Problem> {
    let dir = absolute(&request.dir)?;
    let patience = find::patience(request.timeout_s);
    let peek = Peek::new(service.parts(), request.offline, patience, progress).await?;
    let plan = Box::pin(merge::plan(service.parts(), &peek, &dir, theirs)).await?;
    describe(&plan, &mut response);
    if !request.dry_run {
        let base = Box::pin(merge::apply(&peek, &dir, plan)).await?;
        response.warnings.extend(taken_version(service, &dir, &base)?);
    }
    response.fetched_bytes = peek.fetched_bytes();
    Ok(response)
}

fn describe(plan: &Plan, response: &mut MergeResponse) {
    response.already = plan.already;
    response.is_forward = plan.is_forward;
    response.warnings.extend(plan.warnings.iter().cloned());
    response.conflicts = plan.conflicts().iter().map(ConflictInfo::from).collect();
    response.files = plan.files.iter().map(merged_file).collect();
}

fn merged_file(file: &Planned) -> MergedFile {
    let outcome = &file.outcome;
    let from = outcome.ours.as_ref().filter(|ours| ours.path != outcome.path).map(|ours| ours.path.to_string());
    let change = match outcome.merged {
        _ if file.conflict.is_some() => "conflict",
        Merged::Removed => "removed",
        Merged::Both => "merged",
        Merged::Theirs if outcome.ours.is_none() => "added",
        _ if from.is_some() => "moved",
        Merged::Theirs | Merged::Ours | Merged::Beside => "changed",
    };
    MergedFile { path: outcome.path.to_string(), change: change.to_owned(), from }
}

/// The version is for the author to decide; that it is taken is better heard now than at the publish.
fn taken_version(service: &Service, dir: &std::path::Path, base: &checkout::Base) -> Result<Option<String>, Problem> {
    let Ok(Some(manifest)) = manifest::read(dir) else { return Ok(None) };
    let version = manifest.header.version;
    let Some(history) = service.parts().histories.package(base.package)? else { return Ok(None) };
    let is_taken = history.state.versions.contains_key(&version);
    Ok(is_taken
        .then(|| format!("syncra.toml says {version}, which is published: choose the next version before you publish")))
}
