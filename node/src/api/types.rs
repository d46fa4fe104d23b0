//! Parts of requests and answers that several verbs share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use syncra_protocol::id::base32;
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::log::fork::ForkProof;

use crate::flow::heal::Forked;
use crate::problem::Problem;
use crate::progress::ProgressFrame;
use crate::witness::Freshness;

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

/// How new something is, by the witnesses on the reader's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessedInfo {
    /// Witnesses on the list that have cosigned exactly what is held.
    pub by: usize,
    /// Witnesses on the list.
    pub of: usize,
    /// How many must have, for the time to be believed.
    pub needed: usize,
    /// The latest time that so many of them reach, in milliseconds since the Unix epoch; none if it is unknown.
    pub at_ms: Option<u64>,
}

impl From<Freshness> for WitnessedInfo {
    fn from(Freshness { by, of, needed, at }: Freshness) -> Self {
        Self { by, of, needed, at_ms: at.map(|at| at.0) }
    }
}

impl WitnessedInfo {
    /// `witnessed`, or `unknown` as long as too few witnesses have spoken.
    #[must_use]
    pub fn word(&self) -> String {
        if self.at_ms.is_some() { "witnessed" } else { "unknown" }.to_owned()
    }
}

/// Evidence that a key signed two histories of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForkInfo {
    /// The log.
    pub origin: String,
    /// Whose key it is.
    pub key: String,
    /// Two checkpoints, both signed, that cannot both be true: the smaller one.
    pub older: CheckpointInfo,
    /// The other one.
    pub newer: CheckpointInfo,
    /// The proof, in base32; its bytes as a file are what `syncra verify --fork-proof` checks.
    pub proof: String,
}

impl From<&ForkProof> for ForkInfo {
    fn from(proof: &ForkProof) -> Self {
        Self {
            origin: proof.origin().to_string(),
            key: proof.origin().key.to_string(),
            older: proof.older().checkpoint().into(),
            newer: proof.newer().checkpoint().into(),
            proof: base32(&proof.encode()),
        }
    }
}

/// A log whose key signed two histories, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForkedInfo {
    /// The log.
    pub log: String,
    /// `open`, `waits` for owners, `disputed`, `healed`, healed `elsewhere` (for a history that is not here), or `cut` because its
    /// writer has no say any more.
    pub state: String,
    /// Entries of it that are here.
    pub held: u64,
    /// How many of these count.
    pub counted: u64,
    /// The same in words, with who said so.
    pub detail: String,
    /// What the user of this device can do; none if there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<Forked> for ForkedInfo {
    fn from(forked: Forked) -> Self {
        Self {
            log: forked.log.to_string(),
            state: forked.standing.word().to_owned(),
            held: forked.held,
            counted: forked.counted,
            detail: forked.to_string(),
            next: forked.next,
        }
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
