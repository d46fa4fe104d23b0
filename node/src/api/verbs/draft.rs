//! Live drafts: showing a working directory, and following somebody's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::find;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::draft::{self, DraftError, Withheld};
use crate::flow::{Parts, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Shows a directory as it is now.
#[derive(Debug)]
pub struct PushDraft;

/// Which directory, and to whom.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushDraftRequest {
    /// The directory, as an absolute path on the node's machine.
    pub dir: String,
    /// The package, as a reference; else the own one that `syncra.toml` names.
    #[serde(default)]
    pub package: Option<String>,
    /// What the draft is called; `draft` if nothing is said.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether anybody may see it, and not only who works on the package.
    #[serde(default)]
    pub public: bool,
    /// Whether it ends with the last call of `draft_hold` that holds it; without one nothing is shown.
    #[serde(default)]
    pub held: bool,
    /// Show it no more, nor what is saved later: who holds it hears of it. With `held`: unless others hold it, too.
    #[serde(default)]
    pub end: bool,
    /// Only look.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PushDraftResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The draft's name.
    pub name: String,
    /// Its number; 0 when it was ended.
    pub rev: u64,
    /// Files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Bytes that were not held before.
    pub new_bytes: u64,
    /// Whether the files are those of the draft before.
    pub unchanged: bool,
    /// Files that are not shown: they look like secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<WithheldInfo>,
    /// Whether nothing is shown because nothing should be.
    pub dry_run: bool,
}

/// A file that is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WithheldInfo {
    /// Its path.
    pub path: String,
    /// What it looks like.
    pub what: String,
    /// On which line, from 1.
    pub line: usize,
}

impl From<Withheld> for WithheldInfo {
    fn from(Withheld { path, finding }: Withheld) -> Self {
        Self { path: path.to_string(), what: finding.what.to_owned(), line: finding.line }
    }
}

impl Verb for PushDraft {
    const NAME: &'static str = "draft_push";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/draft";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "Shows a directory as it is now to those who work on the package; nothing is signed for ever.";
    type Request = PushDraftRequest;
    type Response = PushDraftResponse;

    async fn run(
        service: &Arc<Service>,
        request: PushDraftRequest,
        _: &Progress,
    ) -> Result<PushDraftResponse, Problem> {
        service.finish(move |service| async move { push(&service, request).await }).await
    }
}

async fn push(service: &Service, request: PushDraftRequest) -> Result<PushDraftResponse, Problem> {
    let parts = service.parts();
    let dir = absolute(&request.dir)?;
    let name = name(request.name.as_deref())?;
    let package = request.package.as_deref().map(Reference::parse).transpose()?;
    if request.end {
        let package = match draft::named(parts, &dir, package.as_ref()) {
            // Of somebody else's nothing is shown here either.
            Err(DraftError::NotAWriter(_) | DraftError::Devices(_)) => return Err(DraftError::NotShown(name).into()),
            found => found?.0,
        };
        if request.held && !request.dry_run {
            parts.drafts.leave(package, &name);
        } else if !request.dry_run && !parts.drafts.end(package, &name) {
            return Err(DraftError::NotShown(name).into());
        }
        let reference = resolve::text(&parts.histories, package)?;
        return Ok(PushDraftResponse {
            reference,
            name: name.to_string(),
            rev: 0,
            n_files: 0,
            total_bytes: 0,
            new_bytes: 0,
            unchanged: false,
            withheld: Vec::new(),
            dry_run: request.dry_run,
        });
    }
    if !request.dry_run {
        ensure_online(parts)?;
    }
    let dry_run = request.dry_run;
    let request =
        draft::Request { dir, package, name: name.clone(), is_public: request.public, is_held: request.held, dry_run };
    let done = draft::push(parts, request).await?;
    Ok(PushDraftResponse {
        reference: resolve::text(&parts.histories, done.package)?,
        name: name.to_string(),
        rev: done.rev,
        n_files: done.n_files,
        total_bytes: done.total_bytes,
        new_bytes: done.new_bytes,
        unchanged: done.unchanged,
        withheld: done.withheld.into_iter().map(WithheldInfo::from).collect(),
        dry_run,
    })
}

fn ensure_online(parts: &Parts) -> Result<(), Problem> {
    if parts.online().is_some() {
        return Ok(());
    }
    let problem = Problem::new(Code::NodeNotRunning, "a draft is shown by a running node");
    Err(problem.with_hint("start one by `syncra up`"))
}

/// Keeps a draft for as long as its caller stays.
#[derive(Debug)]
pub struct HoldDraft;

/// Which draft.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldDraftRequest {
    /// The directory, as an absolute path on the node's machine.
    pub dir: String,
    /// The package, as a reference; else the one that the directory is of.
    #[serde(default)]
    pub package: Option<String>,
    /// What the draft is called; `draft` if nothing is said.
    #[serde(default)]
    pub name: Option<String>,
}

/// The draft was ended for all, or the node stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldDraftResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The draft's name.
    pub name: String,
    /// Whether somebody ended it; else the node stops.
    #[serde(default)]
    pub ended: bool,
}

impl Verb for HoldDraft {
    const NAME: &'static str = "draft_hold";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/draft/hold";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Answers when the node stops or somebody ends the draft; a draft that was pushed as held ends when its caller goes before, however it goes.";
    type Request = HoldDraftRequest;
    type Response = HoldDraftResponse;

    async fn run(
        service: &Arc<Service>,
        request: HoldDraftRequest,
        progress: &Progress,
    ) -> Result<HoldDraftResponse, Problem> {
        let parts = service.parts();
        let (dir, name) = (absolute(&request.dir)?, name(request.name.as_deref())?);
        let package = request.package.as_deref().map(Reference::parse).transpose()?;
        ensure_online(parts)?;
        let package = draft::writable(parts, &dir, package.as_ref())?;
        let reference = resolve::text(&parts.histories, package)?;
        let hold = parts.drafts.hold(package, name.clone());
        // From now on the caller may push.
        progress.items("held", 1, Some(1));
        let stopped = service.stopped();
        let ended = tokio::select! {
            () = stopped.cancelled() => false,
            () = hold.ended() => true,
        };
        Ok(HoldDraftResponse { reference, name: name.to_string(), ended })
    }
}

/// Waits for the next draft and writes it into a directory.
#[derive(Debug)]
pub struct NextDraft;

/// Of which draft, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NextDraftRequest {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What the draft is called; `draft` if nothing is said.
    #[serde(default)]
    pub name: Option<String>,
    /// The directory, absent, empty or followed before, as an absolute path on the node's machine.
    pub dir: String,
    /// Whose draft, by the device's key; else the newest that a connected device shows.
    #[serde(default)]
    pub device: Option<String>,
    /// The number of the newest that is known.
    #[serde(default)]
    pub after: u64,
    /// Seconds that looking for the package may take; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextDraftResponse {
    /// The device whose draft it is.
    pub device: String,
    /// Its number.
    pub rev: u64,
    /// There was nothing new in time.
    pub unchanged: bool,
    /// Files that were written.
    pub written: Vec<String>,
    /// Files that were removed.
    pub removed: Vec<String>,
    /// Files that were changed here and stay so: the draft has others.
    pub conflicts: Vec<String>,
    /// Bytes that came from peers.
    pub fetched_bytes: u64,
}

impl Verb for NextDraft {
    const NAME: &'static str = "draft_next";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/draft/next";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Waits up to half a minute for the next draft of a package and writes it into a directory, never over changes made there.";
    type Request = NextDraftRequest;
    type Response = NextDraftResponse;

    async fn run(
        service: &Arc<Service>,
        request: NextDraftRequest,
        progress: &Progress,
    ) -> Result<NextDraftResponse, Problem> {
        let parts = service.parts();
        let reference = Reference::parse(&request.reference)?;
        let patience = find::patience(request.timeout_s);
        if resolve::package(parts, &reference).is_err() {
            find::look_around(service, &reference, patience).await?;
        }
        let named = resolve::package(parts, &reference)?;
        let Some(online) = parts.online() else {
            let problem = Problem::new(Code::NodeNotRunning, "a draft is followed by a running node");
            return Err(problem.with_hint("start one by `syncra up`"));
        };
        let bad = |text: &String| Problem::new(Code::BadArgument, format!("`{text}` is no device's key"));
        let device =
            request.device.as_ref().map(|text| text.parse::<DeviceKey>().map_err(|_| bad(text))).transpose()?;
        let wanted = draft::Wanted {
            name: name(request.name.as_deref())?,
            device,
            after: request.after,
            dir: absolute(&request.dir)?,
        };
        // Who has just connected, or learnt of a device, may need a moment.
        let done = match draft::next(parts, online, &named.history.state, &wanted, progress).await {
            Err(DraftError::NotFound { asked: 0, .. }) if wanted.device.is_none() => {
                drop(online.sync.refresh(named.history.state.package, None).await);
                tokio::time::sleep(Duration::from_millis(200)).await;
                let named = resolve::package(parts, &reference)?;
                draft::next(parts, online, &named.history.state, &wanted, progress).await?
            }
            done => done?,
        };
        let unchanged = done.applied.is_none();
        let applied = done.applied.unwrap_or_default();
        Ok(NextDraftResponse {
            device: done.device.to_string(),
            rev: done.rev,
            unchanged,
            written: applied.written,
            removed: applied.removed,
            conflicts: applied.conflicts,
            fetched_bytes: done.fetched_bytes,
        })
    }
}

fn name(text: Option<&str>) -> Result<RefName, Problem> {
    Ok(RefName::parse(text.unwrap_or("draft"))?)
}

fn absolute(dir: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(dir);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Problem::new(Code::BadArgument, format!("`{dir}` is not an absolute path"))),
    }
}
