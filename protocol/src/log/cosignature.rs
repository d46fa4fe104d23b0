//! Cosignatures of witnesses (C2SP tlog-cosignature, <https://c2sp.org/tlog-cosignature>), timestamped Ed25519 (type 0x04).
//!
//! ```text
//! syncra/pkg/<package id>/<log key>
//! 20852
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — syncra/pkg/<package id>/<log key> <base64(key id ‖ signature)>
//! — syncra/witness/<witness key> <base64(key id ‖ seconds since 1970, u64 big-endian ‖ signature)>
//! ```
//!
//! Signed are the lines `cosignature/v1` and `time <seconds>` and the checkpoint's three. It says: at that time this was
//! the largest consistent tree that the witness had seen of this log.
//!
//! A node that witnesses is called `syncra/witness/<its device key>`: such a line names its own key and verifies by itself,
//! like a log's note. Other witnesses of the C2SP network have other names; their key is known from the reader's list only.

use core::fmt;
use core::str::FromStr;

use super::checkpoint::{Checkpoint, Head};
use super::fork::ForkProof;
use super::fork_point::ForkPoint;
use super::note::{COSIGNATURE, Note, SignatureLine, VkeyError, key_id, parse_vkey, print_vkey, signature_line};
use crate::Timestamp;
use crate::key::{DeviceKey, DeviceSecret, Signature, SignatureError};
use crate::limits::{CLOCK_TOLERANCE_MS, NOTE_BYTES, NOTE_SIGNATURES, WITNESS_NAME_BYTES};

/// How the names of this network's witnesses begin.
const NAME_START: &str = "syncra/witness/";
/// The first line of what is signed: no log is called so, so a signature is never good for both.
const HEADER: &str = "cosignature/v1";

/// A witness: its name and its Ed25519 key. As text a vkey, `<name>+<key id in hex>+<base64(0x04 ‖ key)>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WitnessKey {
    name: String,
    key: DeviceKey,
}

impl WitnessKey {
    /// The witness that the node with this device key is.
    #[must_use]
    pub fn of(device: DeviceKey) -> Self {
        Self { name: format!("{NAME_START}{device}"), key: device }
    }

    /// The witness that a line's name claims, if the name names its own key.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        name.strip_prefix(NAME_START)?.parse().ok().map(Self::of)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// `SHA-256(name ‖ 0x0A ‖ 0x04 ‖ key)[..4]`: tells keys apart, proves nothing.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, COSIGNATURE, self.key.as_bytes())
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_vkey(&self.name, COSIGNATURE, &self.key))
    }
}

impl FromStr for WitnessKey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, VkeyError> {
        let (name, key) = parse_vkey(text, COSIGNATURE)?;
        if name.len() > WITNESS_NAME_BYTES || Self::from_name(name).is_some_and(|named| named.key != key) {
            return Err(VkeyError::Form);
        }
        Ok(Self { name: name.to_owned(), key })
    }
}

/// Why a signature line is no cosignature of this witness under this checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The line has another name or key id.
    #[error("the line is another key's")]
    OtherKey,
    /// Not eight bytes of time and 64 of signature.
    #[error("a cosignature is a time and an Ed25519 signature, 72 bytes")]
    Form,
    /// The time is later than any clock that is right could say now.
    #[error("the witness's clock is {ahead_ms} ms ahead")]
    Future {
        /// Milliseconds from now to then.
        ahead_ms: u64,
    },
    /// It does not verify.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// A verified cosignature. Made only by verifying, and by [`super::witness::Witness`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    witness: WitnessKey,
    checkpoint: Checkpoint,
    /// Whole seconds.
    at: Timestamp,
    signature: Signature,
}

impl Cosignature {
    /// Verifies an untrusted line of a note over `checkpoint` as `witness`'s; `now` is the reader's clock.
    ///
    /// # Errors
    /// [`CosignatureError`]; the line then says nothing.
    pub fn verify(
        witness: &WitnessKey,
        checkpoint: &Checkpoint,
        line: &SignatureLine<'_>,
        now: Timestamp,
    ) -> Result<Self, CosignatureError> {
        if line.name != witness.name || line.key_id != witness.id() {
            return Err(CosignatureError::OtherKey);
        }
        let (seconds, signature) = line.signature.split_first_chunk().ok_or(CosignatureError::Form)?;
        let signature = Signature(signature.try_into().map_err(|_| CosignatureError::Form)?);
        let seconds = u64::from_be_bytes(*seconds);
        Self::check(witness.clone(), *checkpoint, seconds, signature, now)
    }

    /// Verifies what was kept of a cosignature: its time and signature, the one over `checkpoint`.
    ///
    /// # Errors
    /// [`CosignatureError`].
    pub fn check(
        witness: WitnessKey,
        checkpoint: Checkpoint,
        seconds: u64,
        signature: Signature,
        now: Timestamp,
    ) -> Result<Self, CosignatureError> {
        // Beyond what milliseconds can hold is the future too.
        let at = Timestamp(seconds.saturating_mul(1_000));
        let ahead_ms = at.0.saturating_sub(now.0);
        if ahead_ms > CLOCK_TOLERANCE_MS || seconds > u64::MAX / 1_000 {
            return Err(CosignatureError::Future { ahead_ms });
        }
        witness.key.check(message(seconds, &checkpoint).as_bytes(), &signature)?;
        Ok(Self { witness, checkpoint, at, signature })
    }

    /// Signs. The caller answers for what it says: [`super::witness::Witness`] is the only one.
    pub(super) fn sign(secret: &DeviceSecret, checkpoint: Checkpoint, at: Timestamp) -> Self {
        let seconds = at.0 / 1_000;
        let signature = secret.sign(message(seconds, &checkpoint).as_bytes());
        Self { witness: WitnessKey::of(secret.public()), checkpoint, at: Timestamp(seconds * 1_000), signature }
    }

    /// All cosignatures of a head's note: of the witnesses in `listed`, and of those whose names name their keys. Of several
    /// lines by one witness the latest counts; a line that does not verify counts for nothing. The log's own key is nobody's
    /// witness. At most one signature check for each of the note's lines.
    #[must_use]
    pub fn all_of(head: &Head, listed: &[WitnessKey], now: Timestamp) -> Vec<Self> {
        let note = Note::parse(head.note()).expect("a head's note was parsed or printed when it was made");
        let mut found: Vec<Self> = Vec::new();
        for line in note.signatures() {
            let named = || WitnessKey::from_name(line.name);
            let witness = listed.iter().find(|key| key.name == line.name && key.id() == line.key_id).cloned();
            let Some(witness) = witness.or_else(named).filter(|witness| witness.key != head.origin().key) else {
                continue;
            };
            let Ok(cosignature) = Self::verify(&witness, head.checkpoint(), line, now) else { continue };
            match found.iter_mut().find(|other| other.witness == cosignature.witness) {
                Some(other) if other.at < cosignature.at => *other = cosignature,
                Some(_) => {}
                None => found.push(cosignature),
            }
        }
        found
    }

    /// Who says it.
    #[must_use]
    pub fn witness(&self) -> &WitnessKey {
        &self.witness
    }

    /// Of what.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// When, by the witness's clock: whole seconds, at most [`CLOCK_TOLERANCE_MS`] ahead of ours when it was verified.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The signature, for keeping it.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The line in a note, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let timed = [&(self.at.0 / 1_000).to_be_bytes()[..], &self.signature.0].concat();
        signature_line(&self.witness.name, self.witness.id(), &timed)
    }
}

/// What a witness signs.
fn message(seconds: u64, checkpoint: &Checkpoint) -> String {
    format!("{HEADER}\ntime {seconds}\n{checkpoint}")
}

impl Head {
    /// The same head with further lines, as many as a note has room for: a fork proof against this log first, then the
    /// cosignatures of this checkpoint in their order, then where the proof's histories part. Lines that it had are dropped.
    #[must_use]
    pub fn with_evidence<'a>(
        &self,
        fork: Option<&ForkProof>,
        point: Option<&ForkPoint>,
        cosignatures: impl IntoIterator<Item = &'a Cosignature>,
    ) -> Self {
        let bare = self.without_cosignatures();
        let fork = fork.filter(|proof| proof.origin() == self.origin());
        let point = point.filter(|point| Some(point.proof()) == fork).map(ForkPoint::line);
        let fork = fork.map(ForkProof::line);
        let of_this = cosignatures.into_iter().filter(|cosignature| cosignature.checkpoint == *self.checkpoint());
        let mut note = bare.note().to_vec();
        for line in fork.into_iter().chain(of_this.map(Cosignature::line)).chain(point).take(NOTE_SIGNATURES - 1) {
            if note.len() + line.len() < NOTE_BYTES {
                note.extend(line.bytes());
                note.push(b'\n');
            }
        }
        bare.with_note(note)
    }
}
