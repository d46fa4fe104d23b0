//! Parts of requests and answers that several verbs share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::progress::ProgressFrame;

/// A request that says nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Where the API of a running node is reached.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiAddresses {
    /// The Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// Loopback TCP, `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
}

/// One line of an answer in `application/x-ndjson`: any number of `progress`, then one `result` or `error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame<T> {
    /// How far it is.
    Progress(ProgressFrame),
    /// The answer: the last line.
    Result(T),
    /// What went wrong: the last line.
    Error(Problem),
}
