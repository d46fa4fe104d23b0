//! `/syncra/propose/1`: proposals and reviews of a package, asked for and handed on.
//!
//! One stream carries one [`Request`] and one [`Answer`]. Records travel as their signed bytes and verify by themselves
//! ([`crate::proposal::Record::decode`]).

use serde::{Deserialize, Serialize};

use super::{MessageError, Refusal};
use crate::bounded::{self, Blob};
use crate::codec;
use crate::id::PackageId;
use crate::limits::{FRAME_BYTES, OFFERED_RECORDS, PROPOSAL_RECORD_BYTES, PROPOSAL_RECORDS};

/// The bytes of one record.
pub type RecordBytes = Blob<PROPOSAL_RECORD_BYTES>;

/// What an asker wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// All records about a package.
    List {
        /// The package.
        package: PackageId,
    },
    /// Takes in records.
    Offer {
        /// The records.
        #[serde(deserialize_with = "bounded::list::<_, _, OFFERED_RECORDS>")]
        records: Vec<RecordBytes>,
    },
}

/// What an answerer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The records that it has.
    Records {
        /// The records.
        #[serde(deserialize_with = "bounded::list::<_, _, PROPOSAL_RECORDS>")]
        records: Vec<RecordBytes>,
    },
    /// How many of those offered it keeps, also those that it had.
    Taken {
        /// So many.
        n_kept: u32,
    },
    /// Instead of any other.
    Refused(Refusal),
}

/// Decodes an asker's bytes.
///
/// # Errors
/// [`MessageError`]; close the stream.
pub fn decode_request(bytes: &[u8]) -> Result<Request, MessageError> {
    Ok(codec::decode(bytes, FRAME_BYTES)?)
}

/// Decodes an answerer's bytes.
///
/// # Errors
/// [`MessageError`]; close the stream.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, MessageError> {
    Ok(codec::decode(bytes, FRAME_BYTES)?)
}

const _: () = assert!(
    PROPOSAL_RECORDS * (PROPOSAL_RECORD_BYTES + 3) + 64 <= FRAME_BYTES,
    "all records of a package fit into one frame"
);
