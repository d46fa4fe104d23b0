//! One release as files.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::find;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::checkout::Base;
use crate::flow::get::{self, Got, Wanted};
use crate::flow::resolve;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Writes a release into a new directory.
#[derive(Debug)]
pub struct Get;

/// What, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The directory, absent or empty, as an absolute path on the node's machine.
    pub dir: String,
    /// Only say which release it would be.
    #[serde(default)]
    pub dry_run: bool,
    /// Only from what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// The owner who is meant by a bare name, as an identity or its first 12 characters; remembered as trusted.
    #[serde(default)]
    pub trust: Option<String>,
    /// Seconds that a fetch may go on without a byte from anybody; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GetResponse {
    /// The release's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The release's id; none for content that was named by its hash.
    pub release_id: Option<String>,
    /// Its version; none for content that was named by its hash.
    pub version: Option<String>,
    /// The directory.
    pub dir: String,
    /// Files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Bytes of content that were here before.
    pub reused_bytes: u64,
    /// Who sent how many bytes.
    pub sources: Vec<SourceInfo>,
    /// What a person should know, for instance that nobody vouches for the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Who sent how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceInfo {
    /// The peer.
    pub peer: String,
    /// Bytes from it.
    pub bytes: u64,
}

impl Verb for Get {
    const NAME: &'static str = "get";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/get";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Writes the files of one release into a new directory; installs nothing.";
    type Request = GetRequest;
    type Response = GetResponse;

    async fn run(service: &Arc<Service>, request: GetRequest, progress: &Progress) -> Result<GetResponse, Problem> {
        fill(service, request, progress, |_| Ok(None)).await
    }
}

/// Writes out what is asked for; `base_of` says what the files are based on, if they are there to be worked on.
pub(super) async fn fill(
    service: &Arc<Service>,
    request: GetRequest,
    progress: &Progress,
    base_of: impl FnOnce(&GetResponse) -> Result<Option<Base>, Problem>,
) -> Result<GetResponse, Problem> {
    let dir = PathBuf::from(&request.dir);
    if !dir.is_absolute() {
        return Err(Problem::new(Code::BadArgument, format!("`{}` is not an absolute path", request.dir)));
    }
    let patience = find::patience(request.timeout_s);
    let (wanted, mut response) = match wanted(service, &request) {
        Err(problem) if find::is_unknown(&problem) && !request.offline => {
            let reference = find::trusting(Reference::parse(&request.reference)?, request.trust.as_deref())?;
            find::look_around(service, &reference, patience).await?;
            wanted(service, &request)?
        }
        found => found?,
    };
    let base = base_of(&response)?;
    if request.dry_run {
        return Ok(response);
    }
    if !request.offline && get::local(service.parts().blobs().await?, &wanted).await.is_err() {
        find::in_time(patience, service.reach()).await??;
    }
    if let Reference::Named(..) = Reference::parse(&request.reference)?
        && request.trust.is_some()
    {
        let reference = find::trusting(Reference::parse(&request.reference)?, request.trust.as_deref())?;
        find::pin(service.parts(), &resolve::package(service.parts(), &reference)?, request.trust.as_deref()).await?;
    }
    let Got { n_files, total_bytes, fetched_bytes, reused_bytes, sources } =
        get::get(service.parts(), &wanted, (&dir, base.as_ref()), patience, progress).await?;
    response.n_files = n_files;
    response.total_bytes = total_bytes;
    response.fetched_bytes = fetched_bytes;
    response.reused_bytes = reused_bytes;
    response.sources = sources.into_iter().map(|(peer, bytes)| SourceInfo { peer, bytes }).collect();
    Ok(response)
}

/// The release or content that is asked for, and the answer as far as it is known before.
fn wanted(service: &Service, request: &GetRequest) -> Result<(Wanted, GetResponse), Problem> {
    let reference = find::trusting(Reference::parse(&request.reference)?, request.trust.as_deref())?;
    let mut response = GetResponse {
        reference: reference.to_string(),
        release_id: None,
        version: None,
        dir: request.dir.clone(),
        n_files: 0,
        total_bytes: 0,
        fetched_bytes: 0,
        reused_bytes: 0,
        sources: Vec::new(),
        warnings: Vec::new(),
    };
    if let Reference::Content(root) = reference {
        response.warnings.push("nobody vouches for content that is named by its hash alone".to_owned());
        return Ok((Wanted::Content(root), response));
    }
    let named = resolve::package(service.parts(), &reference)?;
    if service.parts().is_blocked(&named.history.state) {
        return Err(Problem::new(Code::Blocked, format!("{} is not fetched: you block its owner", named.reference)));
    }
    let selection = resolve::release(&named.history.state, named.selector.as_ref())?;
    let release = &selection.published.release;
    response.reference = format!("{}@{}", named.reference, release.version);
    response.release_id = Some(selection.release.to_string());
    response.version = Some(release.version.to_string());
    response.n_files = release.n_files.into();
    response.total_bytes = release.total_bytes;
    response.warnings.extend(selection.warning.as_ref().map(resolve::warning));
    Ok((Wanted::Release(Box::new(release.clone())), response))
}
