//! Signed notes (C2SP signed-note, <https://c2sp.org/signed-note>) by Ed25519 keys of type 0x01, and the text form of keys.
//!
//! ```text
//! <text, ends in a newline>
//!
//! — <key name> <base64(4-byte key id ‖ signature)>
//! ```
//!
//! Lines of unknown keys (witnesses' cosignatures) are parsed, counted and kept, never believed.
//! Narrower than C2SP: a note is at most [`limits::NOTE_BYTES`] long, has at most [`limits::NOTE_SIGNATURES`] lines,
//! and its base64 has exactly one spelling.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::checkpoint::CheckpointError;
use crate::key::{DeviceKey, DeviceSecret, Signature, SignatureError};
use crate::limits;
use crate::origin::{Origin, OriginError};

/// How a signature line begins: em dash (U+2014), space.
const LINE_START: &str = "\u{2014} ";
/// The signature type byte of plain Ed25519.
const ED25519: u8 = 0x01;
/// The same of Ed25519 over a checkpoint and a time: C2SP tlog-cosignature.
pub(super) const COSIGNATURE: u8 = 0x04;

/// Why bytes are not a note by the key that they should be by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than a note may have.
    #[error("a note of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes offered.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Not UTF-8, or with a control character other than newline.
    #[error("a note is UTF-8 text without control characters")]
    NotText,
    /// No blank line followed by signature lines, or no newline at the end.
    #[error("a note has a text, a blank line and signature lines, each ended by a newline")]
    Form,
    /// A signature line that is malformed; lines are counted from zero.
    #[error("signature line {line} is malformed")]
    SignatureLine {
        /// Which one.
        line: usize,
    },
    /// More signature lines than a note may have.
    #[error("more than {max} signature lines")]
    TooManySignatures {
        /// The limit.
        max: usize,
    },
    /// The first line names no log.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// No line by the key that the note needs.
    #[error("not signed by its own key")]
    Unsigned,
    /// Two lines by the key that the note needs.
    #[error("signed twice by its own key")]
    SignedTwice,
    /// The line by the needed key does not verify.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Signed, but the text is not a checkpoint that we accept.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A note's parts. Nothing of it may be believed before [`Note::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<SignatureLine<'a>>,
}

/// One signature line, verified or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine<'a> {
    /// The whole line without its newline.
    pub line: &'a str,
    /// Who signed, as the line claims.
    pub name: &'a str,
    /// Which of that name's keys, see [`Vkey::id`].
    pub key_id: [u8; 4],
    /// The signature, in the form of that key's type; at least one byte.
    pub signature: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Parses an untrusted note. The text may be anything, empty lines included.
    ///
    /// # Errors
    /// [`NoteError`] for what is too long or no note.
    pub fn parse(note: &'a [u8]) -> Result<Self, NoteError> {
        if note.len() > limits::NOTE_BYTES {
            return Err(NoteError::TooLong { len: note.len(), max: limits::NOTE_BYTES });
        }
        let note = core::str::from_utf8(note).map_err(|_| NoteError::NotText)?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::NotText);
        }
        // "the text is separated from the signatures by the last empty line in the note"
        let blank = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let lines = note[blank + 2..].strip_suffix('\n').ok_or(NoteError::Form)?;
        let mut signatures = Vec::new();
        for (index, line) in lines.split('\n').enumerate() {
            if index == limits::NOTE_SIGNATURES {
                return Err(NoteError::TooManySignatures { max: limits::NOTE_SIGNATURES });
            }
            signatures.push(SignatureLine::parse(line).ok_or(NoteError::SignatureLine { line: index })?);
        }
        Ok(Self { text: &note[..=blank], signatures })
    }

    /// What is signed, its final newline included.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// All signature lines in their order.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureLine<'a>] {
        &self.signatures
    }

    /// Checks that exactly one line is by `vkey` and that it verifies; returns that line.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], [`NoteError::SignedTwice`], [`NoteError::Signature`].
    pub fn check(&self, vkey: &Vkey) -> Result<&SignatureLine<'a>, NoteError> {
        let line = self.line_of(vkey)?;
        let signature = line.signature.as_slice().try_into().map_err(|_| SignatureError)?;
        vkey.key.check(self.text.as_bytes(), &Signature(signature))?;
        Ok(line)
    }

    /// The only line that claims to be by `vkey`, not verified.
    pub(super) fn line_of(&self, vkey: &Vkey) -> Result<&SignatureLine<'a>, NoteError> {
        let id = vkey.id();
        let mut own = self.signatures.iter().filter(|line| line.name == vkey.name && line.key_id == id);
        let line = own.next().ok_or(NoteError::Unsigned)?;
        if own.next().is_some() { Err(NoteError::SignedTwice) } else { Ok(line) }
    }

    /// The bytes of a note with this text and only this signature line.
    pub(super) fn with_line(text: &str, line: &str) -> Vec<u8> {
        format!("{text}\n{line}\n").into_bytes()
    }
}

impl<'a> SignatureLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(LINE_START)?.split_once(' ')?;
        let bytes = BASE64.decode(base64.as_bytes()).ok()?;
        let (key_id, signature) = bytes.split_first_chunk()?;
        (is_key_name(name) && !signature.is_empty()).then(|| Self {
            line,
            name,
            key_id: *key_id,
            signature: signature.to_vec(),
        })
    }
}

/// Signs `text`, which ends in a newline, as `name`; returns the note.
pub(super) fn sign(text: &str, name: &str, secret: &DeviceSecret) -> Vec<u8> {
    let id = key_id(name, ED25519, secret.public().as_bytes());
    Note::with_line(text, &signature_line(name, id, &secret.sign(text.as_bytes()).0))
}

/// A signature line without its newline.
pub(super) fn signature_line(name: &str, key_id: [u8; 4], signature: &[u8]) -> String {
    format!("{LINE_START}{name} {}", BASE64.encode(&[&key_id[..], signature].concat()))
}

/// A line that is nobody's signature: what it carries verifies by itself, and readers that do not know it skip it.
pub(super) struct EvidenceLine {
    pub(super) name: &'static str,
    /// What C2SP asks to follow the type byte 0xff, "signature types without an identifier byte assigned".
    pub(super) kind: &'static str,
}

impl EvidenceLine {
    /// The line without its newline.
    pub(super) fn print(&self, evidence: &[u8]) -> String {
        signature_line(self.name, self.id(), evidence)
    }

    /// What the first such line of a note that is known to be one carries.
    pub(super) fn find(&self, note: &[u8]) -> Option<Vec<u8>> {
        let note = Note::parse(note).expect("a head's note was parsed or printed when it was made");
        let line = note.signatures.into_iter().find(|line| line.name == self.name && line.key_id == self.id())?;
        Some(line.signature)
    }

    fn id(&self) -> [u8; 4] {
        key_id(self.name, 0xff, self.kind.as_bytes())
    }
}

/// `SHA-256(name ‖ 0x0A ‖ type ‖ key)[..4]`: tells keys apart, proves nothing.
pub(super) fn key_id(name: &str, key_type: u8, key: &[u8]) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', key_type]);
    hasher.update(key);
    *hasher.finalize().first_chunk().expect("SHA-256 has 32 bytes")
}

/// C2SP's "vkey": `<name>+<key id in hex>+<base64(type ‖ key)>`.
pub(super) fn print_vkey(name: &str, key_type: u8, key: &DeviceKey) -> String {
    let id = HEXLOWER.encode(&key_id(name, key_type, key.as_bytes()));
    format!("{name}+{id}+{}", BASE64.encode(&[&[key_type], &key.as_bytes()[..]].concat()))
}

/// The inverse of [`print_vkey`]; the only type that is accepted is `key_type`.
pub(super) fn parse_vkey(text: &str, key_type: u8) -> Result<(&str, DeviceKey), VkeyError> {
    let mut parts = text.splitn(3, '+'); // base64 may have further pluses
    let (Some(name), Some(id), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(VkeyError::Form);
    };
    let key = BASE64.decode(base64.as_bytes()).map_err(|_| VkeyError::Form)?;
    let key: [u8; 32] = match key.split_first() {
        Some((found, key)) if *found == key_type => key.try_into().map_err(|_| VkeyError::Form)?,
        Some((&found, _)) => return Err(VkeyError::Type { expected: key_type, found }),
        None => return Err(VkeyError::Form),
    };
    if !is_key_name(name) {
        return Err(VkeyError::Form);
    }
    if HEXLOWER.encode(&key_id(name, key_type, &key)) != id {
        return Err(VkeyError::Id);
    }
    Ok((name, DeviceKey::from_bytes(key)))
}

/// A name and its Ed25519 key; as text `<name>+<key id in hex>+<base64(0x01 ‖ key)>`, C2SP's "vkey".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    key: DeviceKey,
}

/// Why a text is not a [`Vkey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not `<name>+<8 hex digits>+<base64>`.
    #[error("a verifier key is written `<name>+<key id>+<base64>`")]
    Form,
    /// A key for other signatures than are meant here: 1 signs logs, 4 is a witness's.
    #[error("a key of type {found}, one of type {expected} is needed here")]
    Type {
        /// The type that is needed.
        expected: u8,
        /// The type of the key.
        found: u8,
    },
    /// The key id is not that of the name and the key.
    #[error("the key id does not belong to this name and key")]
    Id,
}

impl Vkey {
    /// The key of a log: its name is the origin line.
    #[must_use]
    pub fn of(origin: &Origin) -> Self {
        Self { name: origin.to_string(), key: origin.key }
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)[..4]`: tells keys apart, proves nothing.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519, self.key.as_bytes())
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_vkey(&self.name, ED25519, &self.key))
    }
}

impl FromStr for Vkey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, VkeyError> {
        let (name, key) = parse_vkey(text, ED25519)?;
        Ok(Self { name: name.to_owned(), key })
    }
}

/// "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters."
fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|char: char| char.is_whitespace() || char == '+')
}
