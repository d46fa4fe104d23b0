//! Collection of what nothing needs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::gc;
use crate::problem::Problem;
use crate::progress::Progress;

/// Removes what nothing needs.
#[derive(Debug)]
pub struct Gc;

/// Whether really.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GcRequest {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Let go what was imported, too, unless something else needs it.
    #[serde(default)]
    pub imported: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GcResponse {
    /// Bytes of everything below.
    pub freed_bytes: u64,
    /// Blobs that nothing names.
    pub blobs: u64,
    /// Directories of releases that no kept generation names.
    pub releases: usize,
    /// Generations beyond those that are kept.
    pub generations: usize,
    /// Installs that never ended.
    pub unfinished: usize,
    /// Releases whose content was imported and stays for that alone, or for another reason too.
    pub kept_imported: usize,
    /// Whether nothing was removed.
    pub dry_run: bool,
}

impl Verb for Gc {
    const NAME: &'static str = "gc";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/gc";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Removes what nothing needs: blobs, old generations, directories that they named.";
    type Request = GcRequest;
    type Response = GcResponse;

    async fn run(service: &Arc<Service>, request: GcRequest, progress: &Progress) -> Result<GcResponse, Problem> {
        let progress = progress.clone();
        let GcRequest { dry_run, imported } = request;
        let mode = gc::Mode { dry_run, imported };
        let work = async move |service: Arc<Service>| Ok(gc::gc(service.parts(), mode, &progress).await?);
        let collected = service.finish(work).await?;
        Ok(GcResponse {
            freed_bytes: collected.blobs.bytes + collected.leftover_bytes,
            blobs: collected.blobs.blobs,
            releases: collected.leftovers.releases.len(),
            generations: collected.leftovers.generations.len(),
            unfinished: collected.leftovers.staging.len(),
            kept_imported: collected.n_imported,
            dry_run,
        })
    }
}
