//! Publishing, in two steps that a person can stop between: what would go out, then making it a release.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::PackageId;
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::{PackageName, RefName};
use syncra_protocol::version::Version;
use utoipa::ToSchema;

use crate::api::types::CheckpointInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::event::Event;
use crate::flow::checkout::{DirLock, Place};
use crate::flow::publish::Doubt;
use crate::flow::{Parts, manifest, publish, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// How long a publish waits for what peers know of the package.
const NEWS: Duration = Duration::from_secs(2);

/// Says what would be published.
#[derive(Debug)]
pub struct PlanPublish;

/// Publishes a directory.
#[derive(Debug)]
pub struct Publish;

/// What to publish, and how.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The directory, as an absolute path on the node's machine.
    pub dir: String,
    /// The name of a plain folder, one without `syncra.toml`.
    #[serde(default)]
    pub name: Option<String>,
    /// The kind of a plain folder.
    #[serde(default)]
    pub kind: Option<String>,
    /// The version of a plain folder; else one patch above the last one.
    #[serde(default)]
    pub version: Option<String>,
    /// The channel that will point to the release; else that of the checkout, else `stable`.
    #[serde(default)]
    pub channel: Option<String>,
    /// The branch that will point to it, instead of a channel.
    #[serde(default)]
    pub branch: Option<String>,
    /// What changed, for people.
    #[serde(default)]
    pub note: Option<String>,
    /// Paths inside the package that may hold what looks like a secret.
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    /// Publish also where the package's history is not whole here: beside what is missing.
    #[serde(default)]
    pub incomplete: bool,
}

/// What would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanPublishResponse {
    /// The package's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The version that it would have. A plain folder's counts up, unless its files are those of the last release.
    pub version: String,
    /// The package's reference, unless this would begin it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Whether this would begin the package.
    pub first: bool,
    /// Whether the same files have been published under this version before: nothing new would be signed but, perhaps, what
    /// points to it.
    #[serde(default)]
    pub already: bool,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// How many files.
    pub n_files: u64,
    /// The files, in tree order.
    pub files: Vec<PlannedFile>,
    /// What people should be told: what of others' work would go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Always true: nothing was changed.
    pub dry_run: bool,
}

/// A file that would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedFile {
    /// Its path in the package.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishResponse {
    /// The release's reference, an argument on any node.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The package's id.
    pub package_id: String,
    /// The release's id.
    pub release_id: String,
    /// Its version.
    pub version: String,
    /// What names its content.
    pub content_root: String,
    /// What names its files.
    pub tree_id: String,
    /// The head of this device's log of the package.
    pub checkpoint: CheckpointInfo,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Bytes that this device did not hold before.
    pub new_bytes: u64,
    /// How many files.
    pub n_files: u64,
    /// The channel that points to it; none if a branch does.
    pub channel: Option<String>,
    /// The branch that points to it; none if a channel does.
    pub branch: Option<String>,
    /// That is protected, and stays where it is until owners agree to this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Whether the same files had been published under this version before: then nothing new was signed but, perhaps,
    /// the channel.
    pub already: bool,
    /// What people should be told: what of others' work is not in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Tells what speaks against the dependencies of a directory.
#[derive(Debug)]
pub struct CheckNeeds;

/// Which directory.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckNeedsRequest {
    /// The directory, as an absolute path on the node's machine.
    pub dir: String,
}

/// What speaks against them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckNeedsResponse {
    /// A line for each that no release fits, as far as is known here, and for each that could not be looked up.
    pub warnings: Vec<String>,
}

impl Verb for CheckNeeds {
    const NAME: &'static str = "check_needs";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/check/needs";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "Whether what is known here fits what a directory's manifest needs, and would be published; asks nobody.";
    type Request = CheckNeedsRequest;
    type Response = CheckNeedsResponse;

    async fn run(service: &Arc<Service>, request: CheckNeedsRequest, _: &Progress) -> Result<Self::Response, Problem> {
        let dir = super::merge::absolute(&request.dir)?;
        let look = move |service: &Service| {
            let manifest = manifest::read(&dir)?;
            let doubts = manifest.map(|manifest| publish::check_needs(service.parts(), &dir, &manifest)).transpose()?;
            Ok(doubts.unwrap_or_default())
        };
        let doubts = service.blocking(look).await?;
        Ok(CheckNeedsResponse { warnings: doubts.iter().map(ToString::to_string).collect() })
    }
}

impl Verb for PlanPublish {
    const NAME: &'static str = "publish_plan";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/publish/plan";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "What would be published from a directory; changes nothing.";
    type Request = PublishRequest;
    type Response = PlanPublishResponse;

    async fn run(service: &Arc<Service>, request: PublishRequest, _: &Progress) -> Result<Self::Response, Problem> {
        let parts = service.parts();
        let plan = plan(parts, &request).await?;
        hear(parts, &plan).await;
        let outcome = publish::check(parts, &plan).await?;
        publish::check_secrets(&plan).await?;
        let warnings = warnings(parts, &plan).await?;
        let reference = plan.package.map(|package| resolve::text(&parts.histories, package)).transpose()?;
        let files = plan.files.iter().map(|file| PlannedFile {
            path: file.path.to_string(),
            bytes: file.size,
            executable: file.executable,
        });
        Ok(PlanPublishResponse {
            name: plan.manifest.header.name.to_string(),
            kind: plan.manifest.header.kind.as_str().to_owned(),
            version: outcome.version.to_string(),
            already: outcome.already.is_some(),
            first: reference.is_none(),
            reference,
            total_bytes: plan.files.iter().map(|file| file.size).sum(),
            n_files: plan.files.len() as u64,
            files: files.collect(),
            warnings,
            dry_run: true,
        })
    }
}

impl Verb for Publish {
    const NAME: &'static str = "publish";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/publish";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Publishes a directory as a release.";
    type Request = PublishRequest;
    type Response = PublishResponse;

    async fn run(
        service: &Arc<Service>,
        request: PublishRequest,
        progress: &Progress,
    ) -> Result<Self::Response, Problem> {
        let progress = progress.clone();
        service.finish(move |service| async move { publish(&service, request, &progress).await }).await
    }
}

async fn plan(parts: &Parts, request: &PublishRequest) -> Result<publish::Plan, Problem> {
    let request = parse(request)?;
    Ok(publish::plan(parts, request).await?)
}

fn parse(request: &PublishRequest) -> Result<publish::Request, Problem> {
    let dir = PathBuf::from(&request.dir);
    if !dir.is_absolute() {
        return Err(Problem::new(Code::BadArgument, format!("`{}` is not an absolute path", request.dir)));
    }
    let bad = |error: &(dyn std::error::Error + 'static)| Problem::from_error(Code::BadArgument, error);
    let kind = |text: &String| {
        PackageKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Problem::new(Code::BadArgument, format!("`{text}` is not a kind of package")))
    };
    let place = match (request.channel.as_deref(), request.branch.as_deref()) {
        (None, None) => None,
        (Some(name), None) => Some(Place { class: RefClass::Channel, name: RefName::parse(name)? }),
        (None, Some(name)) => Some(Place { class: RefClass::Branch, name: RefName::parse(name)? }),
        (Some(_), Some(_)) => {
            return Err(Problem::new(Code::BadArgument, "a release goes to a channel or to a branch, not to both"));
        }
    };
    Ok(publish::Request {
        dir,
        name: request.name.as_deref().map(PackageName::parse).transpose()?,
        kind: request.kind.as_ref().map(kind).transpose()?,
        version: request.version.as_deref().map(Version::parse).transpose().map_err(|error| bad(&error))?,
        place,
        note: request.note.clone(),
        allow_secrets: request.allow_secrets.clone(),
        incomplete: request.incomplete,
    })
}

async fn warnings(parts: &Parts, plan: &publish::Plan) -> Result<Vec<String>, Problem> {
    let overwritten = publish::overwritten(parts, plan).await?;
    let doubts = publish::doubts(parts, &plan.manifest)?;
    // An id that the author wrote down needs no history here.
    let unsatisfied = doubts.iter().filter(|doubt| matches!(doubt, Doubt::Unsatisfied { .. }));
    let leaving = publish::is_leaving(parts, plan)?.then(|| {
        "a change waits that ends your role in this package (`syncra role PKG` shows it); once others have agreed to it, which \
         may be so already, what you publish counts for nobody"
            .to_owned()
    });
    let others = overwritten.iter().map(ToString::to_string).chain(unsatisfied.map(ToString::to_string));
    Ok(leaving.into_iter().chain(others).collect())
}

/// What the newest release that this device wrote to a package lacks, if it counts for nobody.
fn void(parts: &Parts, state: &PackageState) -> Result<Option<String>, Problem> {
    publish::void(parts, state).map(|version| void_line(parts, state.package, version)).transpose()
}

/// The same of a package where that is known.
pub(super) fn void_line(parts: &Parts, package: PackageId, version: &Version) -> Result<String, Problem> {
    let reference = resolve::text(&parts.histories, package)?;
    Ok(format!(
        "{version} of {reference}, which this device published, counts for nobody: your role in the package had ended before; \
         `syncra propose` from a checkout of it offers your changes"
    ))
}

/// Takes in what whoever is connected knows of the package that is published to: whether that is still this identity's, and
/// what points where, is better known before something is signed.
async fn hear(parts: &Parts, plan: &publish::Plan) {
    if let (Some(online), Some(package)) = (parts.online(), plan.package) {
        // Who does not answer at once keeps nobody from publishing.
        drop(tokio::time::timeout(NEWS, online.sync.refresh(package, None)).await);
    }
}

async fn publish(service: &Service, request: PublishRequest, progress: &Progress) -> Result<PublishResponse, Problem> {
    let parts = service.parts();
    // A merge that began while files are read would be published half done.
    let _lock = DirLock::of_checkout(&super::merge::absolute(&request.dir)?)?;
    let plan = plan(parts, &request).await?;
    hear(parts, &plan).await;
    let Place { class, name } = plan.place();
    let (channel, branch) = match class {
        RefClass::Branch => (None, Some(name.to_string())),
        RefClass::Channel | RefClass::Tag => (Some(name.to_string()), None),
    };
    let (mut warnings, is_checkout) = (warnings(parts, &plan).await?, plan.base.is_some());
    let dir = plan.dir.clone();
    let done = publish::publish(parts, plan, progress).await?;
    // A checkout says itself what it is based on.
    if !is_checkout {
        publish::remember(parts, &dir, done.package, done.release_id).await;
    }
    let version = done.release.version.to_string();
    let history = parts.histories.package(done.package)?;
    // What came between the look and the signature.
    if let Some(history) = &history {
        warnings.extend(void(parts, &history.state)?);
    }
    let selector = history.map(|history| resolve::release_selector(&history.state, done.release_id));
    let selector = selector.unwrap_or_else(|| version.clone());
    let reference = format!("{}@{selector}", resolve::text(&parts.histories, done.package)?);
    if !done.already {
        service.emit(Event::Published { reference: reference.clone(), release_id: done.release_id.to_string() });
    }
    Ok(PublishResponse {
        reference,
        package_id: done.package.to_string(),
        release_id: done.release_id.to_string(),
        version,
        content_root: done.release.content_root.to_string(),
        tree_id: done.release.tree_id.to_string(),
        checkpoint: (&done.checkpoint).into(),
        total_bytes: done.release.total_bytes,
        new_bytes: done.new_bytes,
        n_files: done.release.n_files.into(),
        channel,
        branch,
        waits: done.waits.map(|change| change.to_string()),
        already: done.already,
        warnings,
    })
}
