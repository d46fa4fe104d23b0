//! The logs of a package as files for foreign tools.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::{resolve, tiles};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Writes the logs of a package as C2SP tlog-tiles.
#[derive(Debug)]
pub struct ExportTiles;

/// Which package, and where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportTilesRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The directory, absent or empty, as an absolute path on the node's machine.
    pub dir: String,
    /// Only say what would be written.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportTilesResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The directory.
    pub dir: String,
    /// Every log that speaks for the package.
    pub logs: Vec<TiledLogInfo>,
}

/// A log as tiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TiledLogInfo {
    /// What the log is called, and where it lies below the directory.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// Files that it makes: checkpoint, verifier key, tiles and bundles.
    pub n_files: u64,
}

impl Verb for ExportTiles {
    const NAME: &'static str = "packages_export_tiles";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/packages/export-tiles";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "Writes every log that speaks for a package into a new directory, as C2SP tlog-tiles for foreign tools.";
    type Request = ExportTilesRequest;
    type Response = ExportTilesResponse;

    async fn run(
        service: &Arc<Service>,
        request: ExportTilesRequest,
        _: &Progress,
    ) -> Result<ExportTilesResponse, Problem> {
        let dir = PathBuf::from(&request.dir);
        if !dir.is_absolute() {
            return Err(Problem::new(Code::BadArgument, format!("`{}` is not an absolute path", request.dir)));
        }
        let work = move |service: &Service| {
            let parts = service.parts();
            let named = resolve::package(parts, &Reference::parse(&request.reference)?)?;
            let logs = match request.dry_run {
                true => tiles::survey(&named.history),
                false => tiles::export(parts, &named.history, &dir)?,
            };
            let info = |log: tiles::Exported| TiledLogInfo {
                origin: log.origin.to_string(),
                size: log.size,
                n_files: log.n_files,
            };
            let logs = logs.into_iter().map(info).collect();
            Ok(ExportTilesResponse { reference: named.reference, dir: request.dir, logs })
        };
        service.blocking(work).await
    }
}
