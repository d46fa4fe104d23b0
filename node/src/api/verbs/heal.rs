//! Saying which of two histories of a log goes on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::roles::{self, NeedsInfo};
use crate::api::types::CheckpointInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::{heal, resolve};
use crate::problem::Problem;
use crate::progress::Progress;

/// Heals a forked log.
#[derive(Debug)]
pub struct Heal;

/// Of which package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The key of the log, or its first characters, if several are forked.
    #[serde(default)]
    pub log: Option<String>,
    /// Only tell what would count.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was said of a forked log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The package's id.
    pub package_id: String,
    /// The log.
    pub log: String,
    /// Entries of the history on this device that are to count.
    pub size: u64,
    /// Entries that counted before.
    pub counted: u64,
    /// Versions that nobody could get as long as nothing was said.
    pub versions: Vec<String>,
    /// Whether it was so, or said, before.
    pub already: bool,
    /// Whether that history counts now.
    pub in_effect: bool,
    /// What owners agree to, as long as it waits.
    pub change: Option<String>,
    /// Who must still agree.
    pub needs: Vec<NeedsInfo>,
    /// The head of this device's log of the package, if it grew.
    pub checkpoint: Option<CheckpointInfo>,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
}

impl Verb for Heal {
    const NAME: &'static str = "heal";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/heal";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Says which of two histories of a log goes on.";
    type Request = HealRequest;
    type Response = HealResponse;

    async fn run(service: &Arc<Service>, request: HealRequest, _: &Progress) -> Result<HealResponse, Problem> {
        service.finish(move |service| async move { heal(&service, request).await }).await
    }
}

async fn heal(service: &Service, request: HealRequest) -> Result<HealResponse, Problem> {
    let HealRequest { reference, log, dry_run } = request;
    let parts = service.parts();
    let named = resolve::package(parts, &Reference::parse(&reference)?)?;
    let done = heal::heal(parts, &named, log.as_deref(), dry_run).await?;
    Ok(HealResponse {
        reference: named.reference.clone(),
        package_id: named.history.state.package.to_string(),
        log: done.log.to_string(),
        size: done.size,
        counted: done.counted,
        versions: done.versions,
        already: done.already,
        in_effect: done.in_effect,
        change: done.change.map(|change| change.to_string()),
        needs: roles::needs_of(parts, &done.needs)?,
        checkpoint: done.checkpoint.as_ref().map(CheckpointInfo::from),
        dry_run,
    })
}
