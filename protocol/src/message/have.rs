//! `/syncra/have/1`: which parts of a content root a node holds.
//!
//! A part is a child of the root's `HashSeq`: nodes, then segments, then chunk lists, counted from 0. One stream carries
//! one [`Request`] and one answer; if the request asked to be told, [`Answer::Gained`] frames follow as parts arrive.

use serde::{Deserialize, Serialize};

use super::{MessageError, Refusal};
use crate::bounded;
use crate::codec;
use crate::id::ContentRoot;
use crate::limits::{FRAME_BYTES, HASH_SEQ_BYTES};

/// Parts of one content root.
pub const PART_LIMIT: usize = HASH_SEQ_BYTES / 32;
/// Bytes of a full bitmap.
pub const BITMAP_BYTES: usize = PART_LIMIT / 8;
/// Parts in one `Gained` frame.
pub const GAINED_PER_FRAME: usize = 1_024;

/// What an asker wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The content root.
    pub root: ContentRoot,
    /// Whether to be told of later arrivals.
    pub follow: bool,
}

/// What an answerer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// All parts.
    All,
    /// Some: bit `i % 8` of byte `i / 8` for part `i`; the last byte is not zero.
    Some {
        /// The bits.
        #[serde(serialize_with = "bounded::write_bytes", deserialize_with = "bounded::bytes::<_, BITMAP_BYTES>")]
        bitmap: Vec<u8>,
    },
    /// Parts that arrived since.
    Gained {
        /// Their numbers, ascending, at least one.
        #[serde(deserialize_with = "bounded::list::<_, _, GAINED_PER_FRAME>")]
        parts: Vec<u32>,
    },
    /// Instead of any other.
    Refused(Refusal),
}

/// The message bytes of a request, without the frame's length.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    codec::encode(request)
}

/// The message bytes of an answer, without the frame's length.
#[must_use]
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    codec::encode(answer)
}

/// Decodes an asker's bytes.
///
/// # Errors
/// [`MessageError`]; close the stream.
pub fn decode_request(bytes: &[u8]) -> Result<Request, MessageError> {
    Ok(codec::decode(bytes, 64)?)
}

/// Decodes an answerer's bytes.
///
/// # Errors
/// [`MessageError`]; close the stream.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, MessageError> {
    let answer: Answer = codec::decode(bytes, FRAME_BYTES)?;
    match &answer {
        Answer::Some { bitmap } if bitmap.last() == Some(&0) => Err(MessageError::Rule("a bitmap ends in zeros")),
        Answer::Gained { parts } => {
            let in_range = parts.last().is_some_and(|last| (*last as usize) < PART_LIMIT);
            if in_range && parts.is_sorted_by(|a, b| a < b) {
                Ok(answer)
            } else {
                Err(MessageError::Rule("gained parts are none, out of order or out of range"))
            }
        }
        _ => Ok(answer),
    }
}

impl Answer {
    /// The answer of a node that holds the parts of `held`, out of `n_parts`.
    #[must_use]
    pub fn of(held: impl IntoIterator<Item = u32>, n_parts: u32) -> Self {
        let mut bitmap = vec![0_u8; (n_parts as usize).div_ceil(8)];
        let mut n_held = 0_u32;
        for part in held.into_iter().filter(|part| *part < n_parts) {
            let byte = &mut bitmap[part as usize / 8];
            let bit = 1 << (part % 8);
            n_held += u32::from(*byte & bit == 0);
            *byte |= bit;
        }
        if n_held == n_parts {
            return Self::All;
        }
        let used = bitmap.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bitmap.truncate(used);
        Self::Some { bitmap }
    }

    /// The parts below `n_parts` that this answer says are held.
    pub fn parts(&self, n_parts: u32) -> impl Iterator<Item = u32> {
        (0..n_parts).filter(|part| match self {
            Self::All => true,
            Self::Some { bitmap } => bitmap.get(*part as usize / 8).is_some_and(|byte| byte & (1 << (part % 8)) != 0),
            Self::Gained { parts } => parts.binary_search(part).is_ok(),
            Self::Refused(_) => false,
        })
    }
}
