//! Hiding a release from new installs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::RefClass;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use crate::api::types::CheckpointInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::resolve::Named;
use crate::flow::{resolve, yank};
use crate::problem::Problem;
use crate::progress::Progress;

/// Yanks a release, or shows it again.
#[derive(Debug)]
pub struct Yank;

/// Which release, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct YankRequest {
    /// A reference with a version, or with `@r:` and a release.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// Show it again.
    #[serde(default)]
    pub undo: bool,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was yanked or shown again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct YankResponse {
    /// The release's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The package's id.
    pub package_id: String,
    /// The release's id.
    pub release_id: String,
    /// Its version.
    pub version: String,
    /// Whether it was shown again.
    pub undo: bool,
    /// Whether it was so before.
    pub already: bool,
    /// The head of this device's log of the package, if it grew.
    pub checkpoint: Option<CheckpointInfo>,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
    /// What people should be told: what still points to the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Verb for Yank {
    const NAME: &'static str = "yank";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/yank";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Hides a release from new installs, or shows it again.";
    type Request = YankRequest;
    type Response = YankResponse;

    async fn run(service: &Arc<Service>, request: YankRequest, _: &Progress) -> Result<YankResponse, Problem> {
        service.finish(move |service| async move { yank(&service, request).await }).await
    }
}

async fn yank(service: &Service, request: YankRequest) -> Result<YankResponse, Problem> {
    let YankRequest { reference, reason, undo, dry_run } = request;
    let parts = service.parts();
    let named = resolve::package(parts, &Reference::parse(&reference)?)?;
    let done = yank::yank(parts, &named, undo, reason.as_deref(), dry_run).await?;
    let warnings = if undo { Vec::new() } else { pointing(&named, done.release) };
    Ok(YankResponse {
        warnings,
        reference: format!("{}@{}", named.reference, done.version),
        package_id: named.history.state.package.to_string(),
        release_id: done.release.to_string(),
        version: done.version.to_string(),
        undo,
        already: done.already,
        checkpoint: done.checkpoint.as_ref().map(CheckpointInfo::from),
        dry_run,
    })
}

/// What still points to a release that is hidden: who follows it is refused, or stays where it is.
fn pointing(named: &Named, release: ReleaseId) -> Vec<String> {
    let state = &named.history.state;
    let is_meant = |value: &ReleaseId| state.canonical(*value) == state.canonical(release);
    let pointing = state.refs.iter().filter(|(_, known)| known.values().into_iter().flatten().any(|to| is_meant(&to)));
    let reference = &named.reference;
    let warning = |(class, name): &(RefClass, RefName)| {
        let what = match class {
            RefClass::Channel => "channel",
            RefClass::Branch => "branch",
            RefClass::Tag => return format!("tag {name} points to it, and stays there: who names the tag is refused"),
        };
        format!("{what} {name} points to it: `syncra {what} {reference} {name} VERSION` points it to another release")
    };
    pointing.map(|(place, _)| warning(place)).collect()
}
