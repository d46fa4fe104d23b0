//! `/syncra/draft/1`: a working directory as it is now, from who works in it to who looks on.
//!
//! One stream carries one [`Request`] and one [`Answer`], which comes when there is a newer draft than the asker has, or
//! after some time without. A draft is no history: nothing of it enters a log, a newer one replaces it, and it is gone with
//! the node that has it. What it names is fetched like a release's content, from the node that answered.

use serde::{Deserialize, Serialize};

use super::{MessageError, Refusal};
use crate::bounded::Blob;
use crate::codec;
use crate::id::{ContentRoot, PackageId, TreeId};
use crate::key::{DeviceKey, DeviceSecret, Signature, SignatureError};
use crate::limits::DRAFT_BYTES;
use crate::name::RefName;
use crate::tree::Declared;

/// The draft protocol's stream name.
pub const DRAFT_PROTOCOL: &str = "/syncra/draft/1";
/// Sets signatures of drafts apart from all others.
const DOMAIN: &[u8] = b"syncra/draft/v1\n";

/// Asks for a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Of this package.
    pub package: PackageId,
    /// What it is called.
    pub name: RefName,
    /// The newest that the asker has; 0 if it has none.
    pub after: u64,
}

/// What the node has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It has none, or none for the asker.
    Refused(Refusal),
    /// Nothing newer for now: ask again.
    Unchanged,
    /// A newer one.
    Draft(SignedDraft),
}

/// A working directory at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The package that it may become a release of.
    pub package: PackageId,
    /// What it is called.
    pub name: RefName,
    /// Grows with every draft of this package, name and device.
    pub rev: u64,
    /// What the files are.
    pub tree_id: TreeId,
    /// How they are packed.
    pub content_root: ContentRoot,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Number of files.
    pub n_files: u32,
}

impl Draft {
    /// What it says about its content.
    #[must_use]
    pub const fn declared(&self) -> Declared {
        Declared {
            tree_id: self.tree_id,
            content_root: self.content_root,
            total_bytes: self.total_bytes,
            n_files: self.n_files,
        }
    }
}

/// The bytes of a draft and the signature of the device that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDraft {
    /// The canonical bytes of a [`Draft`].
    pub bytes: Blob<DRAFT_BYTES>,
    /// The halves of the signature over `syncra/draft/v1`, a line feed, and the bytes.
    pub signature: ([u8; 32], [u8; 32]),
}

/// Why a signed draft is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Another key's, or other bytes.
    #[error("the draft: {0}")]
    Signature(#[from] SignatureError),
    /// Signed, but no draft.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl SignedDraft {
    /// Signs a draft.
    #[must_use]
    pub fn sign(draft: &Draft, secret: &DeviceSecret) -> Self {
        let bytes = codec::encode(draft);
        let signature = secret.sign(&[DOMAIN, &bytes].concat()).0;
        let (mut first, mut second) = ([0; 32], [0; 32]);
        first.copy_from_slice(&signature[..32]);
        second.copy_from_slice(&signature[32..]);
        Self { bytes: Blob(bytes), signature: (first, second) }
    }

    /// The draft, if it is this device's.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn verify(&self, by: &DeviceKey) -> Result<Draft, DraftError> {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&self.signature.0);
        signature[32..].copy_from_slice(&self.signature.1);
        by.check(&[DOMAIN, &self.bytes.0].concat(), &Signature(signature))?;
        Ok(decode_draft(&self.bytes.0)?)
    }
}

/// Decodes what the bytes of a signed draft say.
///
/// # Errors
/// [`MessageError`].
pub fn decode_draft(bytes: &[u8]) -> Result<Draft, MessageError> {
    Ok(codec::decode(bytes, DRAFT_BYTES)?)
}

/// Decodes a request.
///
/// # Errors
/// [`MessageError`].
pub fn decode_request(bytes: &[u8]) -> Result<Request, MessageError> {
    Ok(codec::decode(bytes, DRAFT_BYTES)?)
}

/// Decodes an answer.
///
/// # Errors
/// [`MessageError`].
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, MessageError> {
    Ok(codec::decode(bytes, 2 * DRAFT_BYTES)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            package: PackageId::from_bytes([1; 32]),
            name: RefName::parse("work").unwrap(),
            rev: 7,
            tree_id: TreeId::from_bytes([2; 32]),
            content_root: ContentRoot::from_bytes([3; 32]),
            total_bytes: 1_000,
            n_files: 2,
        }
    }

    #[test]
    fn a_draft_is_its_devices_and_nobody_elses() {
        let (alice, mallory) = (DeviceSecret::from_seed(&[1; 32]), DeviceSecret::from_seed(&[2; 32]));
        let signed = SignedDraft::sign(&draft(), &alice);
        assert_eq!(signed.verify(&alice.public()), Ok(draft()));
        assert!(matches!(signed.verify(&mallory.public()), Err(DraftError::Signature(_))));
        for at in 0..signed.bytes.0.len() {
            let mut other = signed.clone();
            other.bytes.0[at] ^= 1;
            assert!(matches!(other.verify(&alice.public()), Err(DraftError::Signature(_))), "byte {at}");
        }
        // The same bytes signed for something else are no draft.
        let elsewhere = alice.sign(&signed.bytes.0).0;
        let mut other = signed;
        other.signature.0.copy_from_slice(&elsewhere[..32]);
        other.signature.1.copy_from_slice(&elsewhere[32..]);
        assert!(matches!(other.verify(&alice.public()), Err(DraftError::Signature(_))));
    }

    #[test]
    fn messages_round_trip_within_their_limits() {
        let longest = RefName::parse(&"a".repeat(crate::limits::REF_NAME_BYTES)).unwrap();
        let draft = Draft { name: longest.clone(), rev: u64::MAX, total_bytes: u64::MAX, n_files: u32::MAX, ..draft() };
        let request = Request { package: draft.package, name: longest, after: u64::MAX };
        assert_eq!(decode_request(&codec::encode(&request)), Ok(request));
        let answer = Answer::Draft(SignedDraft::sign(&draft, &DeviceSecret::from_seed(&[1; 32])));
        assert_eq!(decode_answer(&codec::encode(&answer)), Ok(answer));
        assert!(decode_answer(&[9]).is_err() && decode_request(&[0; 3]).is_err());
    }
}
