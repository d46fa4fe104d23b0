//! Proposals and reviews: small signed records about a package, by anybody.
//!
//! What is proposed is a package of its own, without a name, made from releases of the one that it is for; nothing of its
//! files stands here. Records are not entries: they can be replaced by later ones of the same author, and forgotten. Bytes in
//! `docs/spec/proposals.md`.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::entry::RefClass;
use crate::id::{IdentityId, PackageId, ReleaseId};
use crate::key::{DeviceKey, DeviceSecret, Signature};
use crate::limits::{PROPOSAL_RECORD_BYTES, PROPOSAL_TEXT_BYTES, PROPOSAL_TITLE_BYTES, REVIEWS_PER_IDENTITY};
use crate::name::RefName;

/// Sets these signatures apart from all others of the key.
const DOMAIN: &[u8] = b"syncra proposal record v1\n";
const SIGNATURE_BYTES: usize = 64;

/// What somebody says about a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The package that it is for.
    pub target: PackageId,
    /// The package that is proposed.
    pub proposal: PackageId,
    /// Who says it. That the device speaks for it is for its logs to show.
    pub by: IdentityId,
    /// The device that signs.
    pub device: DeviceKey,
    /// Which of its author's statements about the proposal: 0 for the proposal itself, else less than
    /// [`REVIEWS_PER_IDENTITY`].
    pub number: u8,
    /// A later one replaces an earlier one of the same place.
    pub rev: u32,
    /// What.
    pub said: Said,
}

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It should become part of the package.
    Proposal {
        /// Branch or channel that it is meant for.
        class: RefClass,
        /// Its name.
        name: RefName,
        /// The newest release of it.
        release: ReleaseId,
        /// In a line.
        title: String,
        /// Whether it is taken back.
        is_withdrawn: bool,
    },
    /// What its author thinks of it.
    Review {
        /// The release that was looked at.
        release: ReleaseId,
        /// In a word.
        verdict: Verdict,
        /// In others.
        text: String,
    },
}

/// A review in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// No word.
    Comment,
    /// It should be merged.
    Approve,
    /// Not as it is.
    RequestChanges,
    /// It will not be merged. Heeded of those who may write to the package.
    Close,
}

/// A statement whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    statement: Statement,
    bytes: Vec<u8>,
}

/// The place of a record among those of a package: a later one takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The package that is proposed.
    pub proposal: PackageId,
    /// Who.
    pub by: IdentityId,
    /// Whether it is a review.
    pub is_review: bool,
    /// Which.
    pub number: u8,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the canonical bytes of a statement with a signature.
    #[error("record: {0}")]
    Bytes(#[from] CodecError),
    /// Well formed, but breaking a rule.
    #[error("record: {0}")]
    Rule(&'static str),
    /// Signed by somebody else, or changed since.
    #[error("record: the signature does not verify")]
    Signature,
}

impl Record {
    /// Signs a statement.
    ///
    /// # Errors
    /// [`RecordError`] for a statement that others would refuse.
    pub fn sign(statement: Statement, secret: &DeviceSecret) -> Result<Self, RecordError> {
        let mut bytes = codec::encode(&statement);
        let signature = secret.sign(&[DOMAIN, &bytes].concat());
        bytes.extend_from_slice(&signature.0);
        Self::decode(&bytes)
    }

    /// Verifies, then decodes what a peer sent.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let max = PROPOSAL_RECORD_BYTES;
        if bytes.len() > max {
            return Err(CodecError::TooLong { len: bytes.len(), max }.into());
        }
        let Some((body, signature)) = bytes.split_last_chunk::<SIGNATURE_BYTES>() else {
            return Err(CodecError::Malformed.into());
        };
        let statement: Statement = codec::decode(body, max)?;
        statement.check()?;
        let signed = [DOMAIN, body].concat();
        statement.device.check(&signed, &Signature(*signature)).map_err(|_| RecordError::Signature)?;
        Ok(Self { statement, bytes: bytes.to_vec() })
    }

    /// What it says.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Its bytes, signature included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its place.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let Statement { proposal, by, number, .. } = self.statement;
        Slot { proposal, by, is_review: matches!(self.statement.said, Said::Review { .. }), number }
    }

    /// Whether it takes the place of `other`, for everybody who has both, in whatever order they came.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        let rank = |record: &Self| (record.statement.rev, std::cmp::Reverse(record.bytes.clone()));
        self.slot() == other.slot() && rank(self) > rank(other)
    }
}

impl Statement {
    fn check(&self) -> Result<(), RecordError> {
        if self.target == self.proposal {
            return Err(RecordError::Rule("a package is proposed to itself"));
        }
        let is_plain = |text: &str, breaks: bool| text.chars().all(|c| !c.is_control() || breaks && c == '\n');
        match &self.said {
            Said::Proposal { class, title, .. } => {
                if self.number != 0 || *class == RefClass::Tag {
                    return Err(RecordError::Rule("a proposal of another number, or for a tag"));
                }
                if title.is_empty() || title.len() > PROPOSAL_TITLE_BYTES || !is_plain(title, false) {
                    return Err(RecordError::Rule("a title that is none, too long, or no line"));
                }
            }
            Said::Review { text, verdict, .. } => {
                if usize::from(self.number) >= REVIEWS_PER_IDENTITY {
                    return Err(RecordError::Rule("more reviews than one identity may write"));
                }
                let says_nothing = text.is_empty() && *verdict == Verdict::Comment;
                if says_nothing || text.len() > PROPOSAL_TEXT_BYTES || !is_plain(text, true) {
                    return Err(RecordError::Rule("a text that is none, too long, or not plain"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u8) -> DeviceSecret {
        DeviceSecret::from_seed(&[n; 32])
    }

    fn statement(by: u8, said: Said) -> Statement {
        Statement {
            target: PackageId::from_bytes([1; 32]),
            proposal: PackageId::from_bytes([2; 32]),
            by: IdentityId::from_bytes([by; 32]),
            device: secret(by).public(),
            number: 0,
            rev: 1,
            said,
        }
    }

    fn proposal(title: &str) -> Said {
        Said::Proposal {
            class: RefClass::Channel,
            name: RefName::stable(),
            release: ReleaseId::from_bytes([3; 32]),
            title: title.to_owned(),
            is_withdrawn: false,
        }
    }

    fn review(verdict: Verdict, text: &str) -> Said {
        Said::Review { release: ReleaseId::from_bytes([3; 32]), verdict, text: text.to_owned() }
    }

    #[test]
    fn records_are_read_as_they_were_signed_and_refused_after_any_change() {
        for said in [proposal("Fins"), review(Verdict::Approve, "good\nvery good")] {
            let record = Record::sign(statement(4, said), &secret(4)).unwrap();
            assert_eq!(Record::decode(record.bytes()), Ok(record.clone()));
            for at in 0..record.bytes().len() {
                for bit in 0..8 {
                    let mut bytes = record.bytes().to_vec();
                    bytes[at] ^= 1 << bit;
                    assert!(Record::decode(&bytes).is_err(), "byte {at}, bit {bit}");
                }
                assert!(Record::decode(&record.bytes()[..at]).is_err());
            }
            assert!(Record::decode(&[record.bytes(), &[0]].concat()).is_err());
        }
        let by_another = Record::sign(statement(4, proposal("Fins")), &secret(5));
        assert_eq!(by_another, Err(RecordError::Signature));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let refused = |statement: Statement| {
            let key = secret(4);
            matches!(Record::sign(statement, &key), Err(RecordError::Rule(_) | RecordError::Bytes(_)))
        };
        for title in ["", "a\nb", "\u{1b}[2J", &"x".repeat(PROPOSAL_TITLE_BYTES + 1)] {
            assert!(refused(statement(4, proposal(title))), "{title}");
        }
        for text in ["", "\u{7}", &"x".repeat(PROPOSAL_TEXT_BYTES + 1)] {
            assert!(refused(statement(4, review(Verdict::Comment, text))), "{text}");
        }
        let longest = statement(4, review(Verdict::Comment, &"x".repeat(PROPOSAL_TEXT_BYTES)));
        assert!(Record::sign(longest.clone(), &secret(4)).is_ok());
        assert!(refused(Statement { number: REVIEWS_PER_IDENTITY as u8, ..longest.clone() }));
        assert!(refused(Statement { proposal: longest.target, ..longest.clone() }));
        assert!(refused(Statement { number: 1, ..statement(4, proposal("Fins")) }));
        let Said::Proposal { name, release, title, .. } = proposal("Fins") else { return };
        let tag = Said::Proposal { class: RefClass::Tag, name, release, title, is_withdrawn: false };
        assert!(refused(statement(4, tag)));
    }

    #[test]
    fn of_two_for_one_place_everybody_keeps_the_same() {
        let first = Record::sign(statement(4, proposal("Fins")), &secret(4)).unwrap();
        let later = Record::sign(Statement { rev: 2, ..statement(4, proposal("Wings")) }, &secret(4)).unwrap();
        let twin = Record::sign(statement(4, proposal("Gins")), &secret(4)).unwrap();
        let others = Record::sign(statement(5, proposal("Fins")), &secret(5)).unwrap();
        assert!(later.replaces(&first) && !first.replaces(&later) && !first.replaces(&first));
        assert_ne!(first.replaces(&twin), twin.replaces(&first));
        assert!(!later.replaces(&others) && !others.replaces(&first));
    }
}
