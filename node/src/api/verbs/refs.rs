//! Branches, tags and channels.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::packages::PackageRequest;
use crate::api::types::CheckpointInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::{refs, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Lists the branches, tags and channels of a package.
#[derive(Debug)]
pub struct Refs;

/// Where they point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefsResponse {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Branches, then tags, then channels, each by name.
    pub refs: Vec<RefInfo>,
}

/// One branch, tag or channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefInfo {
    /// `branch`, `tag` or `channel`.
    pub class: String,
    /// Its name.
    pub name: String,
    /// Where it points: several places if it is diverged.
    pub places: Vec<PlaceInfo>,
    /// Whether its writers moved it to several places without seeing each other.
    pub is_diverged: bool,
}

/// A release that something points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaceInfo {
    /// The release's id.
    pub release_id: String,
    /// Its version, if its entry is here and counts.
    pub version: Option<String>,
    /// Whether that names another one or none, so that only `@r:` and its id do: it is a contributor's, or contested.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_id: bool,
}

impl Verb for Refs {
    const NAME: &'static str = "refs_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/refs";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "The branches, tags and channels of a package, and where they point.";
    type Request = PackageRequest;
    type Response = RefsResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<RefsResponse, Problem> {
        let named = resolve::package(service.parts(), &Reference::parse(&request.reference)?)?;
        let state = &named.history.state;
        let info = |((class, name), of): (&(RefClass, RefName), &syncra_protocol::fold::RefState)| RefInfo {
            class: class.to_string(),
            name: name.to_string(),
            places: of.values().into_iter().flatten().map(|release| place(state, release)).collect(),
            is_diverged: of.is_diverged(),
        };
        Ok(RefsResponse { reference: named.reference, refs: state.refs.iter().map(info).collect() })
    }
}

/// Moves, makes or removes a branch, tag or channel.
#[derive(Debug)]
pub struct SetRef;

/// Which, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRefRequest {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `branch`, `tag` or `channel`.
    pub class: String,
    /// Its name.
    pub name: String,
    /// Where to: a version, a channel, tag or branch, or `r:` and a release; the newest version if none is given.
    #[serde(default)]
    pub to: Option<String>,
    /// Removes it instead.
    #[serde(default)]
    pub remove: bool,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// Where it points now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetRefResponse {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `branch`, `tag` or `channel`.
    pub class: String,
    /// Its name.
    pub name: String,
    /// Where it pointed.
    pub old: Vec<PlaceInfo>,
    /// Where it points; none if it is removed.
    pub new: Option<PlaceInfo>,
    /// Whether it was so, or said, before.
    pub already: bool,
    /// The move waits for the agreement of owners to this change: the ref is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// The head of this device's log of the package, if it grew.
    pub checkpoint: Option<CheckpointInfo>,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
}

impl Verb for SetRef {
    const NAME: &'static str = "refs_set";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/packages/refs";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Moves, makes or removes a branch, tag or channel of a package.";
    type Request = SetRefRequest;
    type Response = SetRefResponse;

    async fn run(service: &Arc<Service>, request: SetRefRequest, _: &Progress) -> Result<SetRefResponse, Problem> {
        service.finish(move |service| async move { set(&service, request).await }).await
    }
}

async fn set(service: &Service, request: SetRefRequest) -> Result<SetRefResponse, Problem> {
    let SetRefRequest { reference, class, name, to, remove, dry_run } = request;
    let parts = service.parts();
    let class = class_of(&class)?;
    let name = RefName::parse(&name)?;
    let parsed = Reference::parse(&reference)?;
    let named = resolve::package(parts, &parsed)?;
    if named.selector.is_some() {
        let problem =
            Problem::new(Code::BadArgument, format!("`{reference}` names a release, and this needs a package"));
        return Err(problem.with_hint("say the release after the name of the ref"));
    }
    let state = &named.history.state;
    let new = match (&to, remove) {
        (Some(_), true) => return Err(Problem::new(Code::BadArgument, "what is removed points nowhere")),
        (None, true) => None,
        (to, false) => {
            let text = to.as_ref().map_or_else(|| format!("{parsed}@*"), |to| format!("{parsed}@{to}"));
            let selector = resolve::package(parts, &Reference::parse(&text)?)?.selector;
            Some(resolve::release(state, selector.as_ref())?.release)
        }
    };
    let done = refs::set(parts, &named, class, name.clone(), new, dry_run).await?;
    Ok(SetRefResponse {
        class: class.to_string(),
        name: name.to_string(),
        old: done.old.iter().map(|release| place(state, *release)).collect(),
        new: done.new.map(|release| place(state, release)),
        already: done.already,
        waits: done.waits.map(|change| change.to_string()),
        checkpoint: done.checkpoint.as_ref().map(CheckpointInfo::from),
        dry_run,
        reference: named.reference,
    })
}

fn place(state: &PackageState, release: ReleaseId) -> PlaceInfo {
    let version = state.releases.get(&release).map(|published| published.release.version.to_string());
    let by_id = resolve::release_selector(state, release).starts_with("r:");
    PlaceInfo { release_id: release.to_string(), version, by_id }
}

pub(super) fn class_of(text: &str) -> Result<RefClass, Problem> {
    let classes = [RefClass::Branch, RefClass::Tag, RefClass::Channel];
    classes
        .into_iter()
        .find(|class| class.to_string() == text)
        .ok_or_else(|| Problem::new(Code::BadArgument, format!("`{text}` is none of `branch`, `tag` and `channel`")))
}
