//! What nodes say to each other on `/syncra/log/1`, `/syncra/have/1`, `/syncra/pair/1`, `/syncra/propose/1` and
//! `/syncra/draft/1`. Written
//! down in `docs/spec/wire.md`.
//!
//! | file | holds |
//! |---|---|
//! | [`log`] | heads, entries, watching, offers |
//! | [`have`] | which parts of a content root a node holds |
//! | [`draft`] | a working directory as it is now |
//! | [`pair`] | a device becomes one of an identity's |
//! | [`propose`] | proposals and reviews of a package |
//! | [`frame`] | the length before each message |
//!
//! One stream carries one request and its answers (pairing: two of each). Versions are negotiated by the stream's name alone: a new version is
//! a new name, a node serves the two newest, and a message of one version never changes its bytes.
//! `decode_request` and `decode_answer` of each module are the only doors for peers' bytes: what comes out is canonical
//! and within every limit, and **not yet verified**; notes, entries and genesis bytes verify by themselves.

pub mod draft;
pub mod frame;
pub mod have;
pub mod log;
pub mod pair;
pub mod propose;

use serde::{Deserialize, Serialize};

use crate::codec::CodecError;

/// The log protocol's stream name.
pub const LOG_PROTOCOL: &str = "/syncra/log/1";
/// The have protocol's stream name.
pub const HAVE_PROTOCOL: &str = "/syncra/have/1";

/// Why a node does not answer a request as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It does not serve what was asked for.
    NotFound,
    /// It has too much to do: ask again after this time, which the asker clamps.
    Busy {
        /// Milliseconds.
        retry_after_ms: u32,
    },
    /// The answer would not fit, or the asker has used up its share.
    TooLarge,
    /// The request's meaning is not served here.
    Unsupported,
    /// The asker presents no right to it.
    Forbidden,
}

/// Why a peer's message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not the canonical bytes of a message within its limits.
    #[error("message: {0}")]
    Bytes(#[from] CodecError),
    /// Well formed, but breaking a rule of its kind.
    #[error("message: {0}")]
    Rule(&'static str),
}
