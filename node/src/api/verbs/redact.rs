//! Taking a release's bytes away while its history stays.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::RedactReason;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::roles::{self, NeedsInfo};
use crate::api::types::CheckpointInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::{redact, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Redacts a release.
#[derive(Debug)]
pub struct Redact;

/// Which release, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactRequest {
    /// A reference with a version, or with `@r:` and a release.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `mistake`, `secret`, `personal`, `rights` or `harmful`.
    pub reason: String,
    /// Only its note, and why it was yanked.
    #[serde(default)]
    pub only_texts: bool,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was redacted, or waits for other owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RedactResponse {
    /// The release's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The package's id.
    pub package_id: String,
    /// The release's id.
    pub release_id: String,
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// The blobs that are not given to anybody any more.
    pub blobs: Vec<String>,
    /// Channels, tags and branches that point to it.
    pub refs: Vec<String>,
    /// Whether it was so before, or said before.
    pub already: bool,
    /// Whether it has taken effect.
    pub in_effect: bool,
    /// What other owners agree to, as long as it waits.
    pub change: Option<String>,
    /// Who must still agree.
    pub needs: Vec<NeedsInfo>,
    /// The head of this device's log of the package, if it grew.
    pub checkpoint: Option<CheckpointInfo>,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
}

impl Verb for Redact {
    const NAME: &'static str = "redact";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/redact";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Takes the bytes of a release away for good; its history stays.";
    type Request = RedactRequest;
    type Response = RedactResponse;

    async fn run(service: &Arc<Service>, request: RedactRequest, _: &Progress) -> Result<RedactResponse, Problem> {
        service.finish(move |service| async move { redact(&service, request).await }).await
    }
}

async fn redact(service: &Service, request: RedactRequest) -> Result<RedactResponse, Problem> {
    let RedactRequest { reference, reason, only_texts, dry_run } = request;
    let reason = RedactReason::of_word(&reason).ok_or_else(|| {
        let words: Vec<&str> = RedactReason::WORDS.iter().map(|(word, _)| *word).collect();
        Problem::new(Code::BadArgument, format!("`{reason}` is none of the reasons {}", words.join(", ")))
    })?;
    let parts = service.parts();
    let named = resolve::package(parts, &Reference::parse(&reference)?)?;
    let done = redact::redact(parts, &named, redact::Wanted { only_texts, reason }, dry_run).await?;
    Ok(RedactResponse {
        reference: format!("{}@{}", named.reference, done.version),
        package_id: named.history.state.package.to_string(),
        release_id: done.release.to_string(),
        version: done.version.to_string(),
        reason: reason.to_string(),
        blobs: done.blobs.iter().map(ToString::to_string).collect(),
        refs: done.refs,
        already: done.already,
        in_effect: done.in_effect,
        change: done.change.map(|change| change.to_string()),
        needs: roles::needs_of(parts, &done.needs)?,
        checkpoint: done.checkpoint.as_ref().map(CheckpointInfo::from),
        dry_run,
    })
}
