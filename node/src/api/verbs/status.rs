//! How the node is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::types::{ApiAddresses, Empty};
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::clock;
use crate::problem::Problem;
use crate::progress::Progress;

/// Tells how the node is.
#[derive(Debug)]
pub struct Status;

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusResponse {
    /// The version of the program.
    pub version: String,
    /// The home's directory.
    pub home: String,
    /// Whether a node runs on this home; else a single command answered, and nobody can fetch from here.
    pub running: bool,
    /// The node's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Milliseconds since the node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The node's peer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    /// Where its API is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiAddresses>,
    /// How many API tokens there are.
    pub n_tokens: usize,
    /// What the node cannot do as it should; `syncra doctor` tells what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

impl Verb for Status {
    const NAME: &'static str = "status";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/status";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "How the node is.";
    type Request = Empty;
    type Response = StatusResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<StatusResponse, Problem> {
        let api = service.doors().cloned();
        let index = service.parts().index.trouble();
        let uptime = clock::now().since(service.started());
        Ok(StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: service.home().display().to_string(),
            running: api.is_some(),
            pid: api.is_some().then(std::process::id),
            uptime_ms: api.is_some().then_some(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
            peer_id: if api.is_some() { Some(service.peer_id()?) } else { None },
            api,
            n_tokens: service.tokens().list().len(),
            troubles: index.map(|why| format!("the index is only in memory: {why}")).into_iter().collect(),
        })
    }
}
