//! A release as a directory to work in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::RefClass;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::find;
use super::get::{self, GetRequest, GetResponse, SourceInfo};
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::checkout::{Base, Place};
use crate::flow::resolve;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Writes a release into a new directory and remembers there what it was.
#[derive(Debug)]
pub struct Checkout;

/// What was written, and where a publish from there goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckoutResponse {
    /// The release's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The release's id.
    pub release_id: String,
    /// Its version.
    pub version: String,
    /// The directory.
    pub dir: String,
    /// The channel that a publish moves; none if it moves a branch.
    pub channel: Option<String>,
    /// The branch that a publish moves; none if it moves a channel.
    pub branch: Option<String>,
    /// Files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Who sent how many bytes.
    pub sources: Vec<SourceInfo>,
    /// What a person should know, for instance that the channel points to several places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Verb for Checkout {
    const NAME: &'static str = "checkout";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/checkout";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Writes the files of a release into a new directory, to be edited and published from.";
    type Request = GetRequest;
    type Response = CheckoutResponse;

    async fn run(
        service: &Arc<Service>,
        request: GetRequest,
        progress: &Progress,
    ) -> Result<CheckoutResponse, Problem> {
        let reference = find::trusting(Reference::parse(&request.reference)?, request.trust.as_deref())?;
        if let Reference::Content(_) = reference {
            return Err(Problem::new(Code::BadArgument, "content that is named by its hash alone is of no package"));
        }
        let mut place = None;
        let got = get::fill(service, request, progress, |found| {
            let base = base(service, &reference, found)?;
            place = Some(base.place.clone());
            Ok(Some(base))
        });
        let got = Box::pin(got).await?;
        let Place { class, name } = place.unwrap_or_else(Place::stable);
        let (channel, branch) = match class {
            RefClass::Branch => (None, Some(name.to_string())),
            RefClass::Channel | RefClass::Tag => (Some(name.to_string()), None),
        };
        Ok(CheckoutResponse {
            reference: got.reference,
            release_id: got.release_id.unwrap_or_default(),
            version: got.version.unwrap_or_default(),
            dir: got.dir,
            channel,
            branch,
            n_files: got.n_files,
            total_bytes: got.total_bytes,
            fetched_bytes: got.fetched_bytes,
            sources: got.sources,
            warnings: got.warnings,
        })
    }
}

fn base(service: &Service, reference: &Reference, found: &GetResponse) -> Result<Base, Problem> {
    let named = resolve::package(service.parts(), reference)?;
    let release: Option<ReleaseId> = found.release_id.as_ref().and_then(|id| id.parse().ok());
    let release = release.ok_or_else(|| Problem::new(Code::ReleaseNotFound, "no release was found"))?;
    let state = &named.history.state;
    let place = Place::of(state, named.selector.as_ref());
    Ok(Base { package: state.package, place, release, merged: Vec::new(), proposal: None, unfinished: None })
}
