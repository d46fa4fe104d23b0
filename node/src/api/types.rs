//! Parts of requests and answers that several verbs share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use syncra_protocol::log::checkpoint::Checkpoint;

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

/// A signed log: what it is called, how long it is, what it hashes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointInfo {
    /// What the log is called; it names the key that signs it.
    pub origin: String,
    /// Entries in it.
    pub size: u64,
    /// Its Merkle root.
    pub root: String,
}

impl From<&Checkpoint> for CheckpointInfo {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self { origin: checkpoint.origin.to_string(), size: checkpoint.size, root: checkpoint.root.to_string() }
    }
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
