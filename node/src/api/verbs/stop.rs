//! The end of the node.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Stops the node in its order.
#[derive(Debug)]
pub struct Stop;

/// What is to be stopped is clear: the node that is asked.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Only tell who would stop.
    #[serde(default)]
    pub dry_run: bool,
}

/// Who stops.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StopResponse {
    /// The node's process id: it has let go of the home when this process is gone.
    pub pid: u32,
    /// Whether nothing was stopped.
    pub dry_run: bool,
}

impl Verb for Stop {
    const NAME: &'static str = "node_stop";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/stop";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Stops the node in its order. The answer comes first.";
    type Request = StopRequest;
    type Response = StopResponse;

    async fn run(service: &Arc<Service>, request: StopRequest, _: &Progress) -> Result<StopResponse, Problem> {
        if service.doors().is_none() {
            return Err(Problem::new(Code::NodeNotRunning, "this is a single command, and no node"));
        }
        if !request.dry_run {
            service.stop();
        }
        Ok(StopResponse { pid: std::process::id(), dry_run: request.dry_run })
    }
}
