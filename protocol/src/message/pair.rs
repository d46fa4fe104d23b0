//! `/syncra/pair/1`: a device becomes one of an identity's, over a code that somebody carries from screen to screen.
//!
//! The one who joins opens the stream: [`Hello`] → [`Reply`] → [`Confirm`] → [`Verdict`]. The code is a number, by which
//! the right node is found, and a secret, which neither side ever sends: both put it into SPAKE2 (RFC 9382) together with
//! the two device keys that the connection proved, and prove to each other that they came to one key. Who guesses is
//! noticed at the first wrong guess.

use serde::{Deserialize, Serialize};

use super::log::{EntryBytes, NoteBytes};
use super::{MessageError, Refusal};
use crate::bounded::{self, Blob};
use crate::codec;
use crate::entry::DeviceRole;
use crate::id::IdentityId;
use crate::limits::{ENTRIES_PER_FRAME, EVIDENCE_LOGS, FRAME_BYTES};
use crate::name::RefName;

/// Bytes of one SPAKE2 message: a side and a point.
pub const ELEMENT_BYTES: usize = 33;

/// One SPAKE2 message.
pub type Element = Blob<ELEMENT_BYTES>;

/// The joiner's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The public part of the code.
    pub number: u32,
    /// Its SPAKE2 message, [`ELEMENT_BYTES`] long.
    pub element: Element,
}

/// What the other side answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nobody waits there under this number.
    Refused(Refusal),
    /// Its own SPAKE2 message.
    Element(Element),
}

/// The joiner proves that it knows the secret, and says what it would like to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Keyed BLAKE3 with the shared key.
    pub proof: [u8; 32],
    /// A name for the device.
    pub label: RefName,
}

/// How it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The secret is another one.
    WrongCode,
    /// A person said no, or nothing in time.
    Declined,
    /// The device was added.
    Welcome(Welcome),
}

/// What the device needs in order to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Keyed BLAKE3 with the shared key: the other side knew the secret too.
    pub proof: [u8; 32],
    /// The identity.
    pub identity: IdentityId,
    /// What the device may do.
    pub role: DeviceRole,
    /// The logs of the identity's devices, whole.
    #[serde(deserialize_with = "bounded::list::<_, _, EVIDENCE_LOGS>")]
    pub logs: Vec<WholeLog>,
}

/// A log from its first entry to its head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeLog {
    /// The signed note of its head.
    pub note: NoteBytes,
    /// Its entries.
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_PER_FRAME>")]
    pub entries: Vec<EntryBytes>,
}

/// Decodes the joiner's first words.
///
/// # Errors
/// [`MessageError`].
pub fn decode_hello(bytes: &[u8]) -> Result<Hello, MessageError> {
    let hello: Hello = codec::decode(bytes, FRAME_BYTES)?;
    element(&hello.element)?;
    Ok(hello)
}

/// Decodes the answer to them.
///
/// # Errors
/// [`MessageError`].
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, MessageError> {
    let reply: Reply = codec::decode(bytes, FRAME_BYTES)?;
    if let Reply::Element(bytes) = &reply {
        element(bytes)?;
    }
    Ok(reply)
}

/// Decodes the joiner's proof.
///
/// # Errors
/// [`MessageError`].
pub fn decode_confirm(bytes: &[u8]) -> Result<Confirm, MessageError> {
    Ok(codec::decode(bytes, FRAME_BYTES)?)
}

/// Decodes how it ended.
///
/// # Errors
/// [`MessageError`].
pub fn decode_verdict(bytes: &[u8]) -> Result<Verdict, MessageError> {
    Ok(codec::decode(bytes, FRAME_BYTES)?)
}

fn element(element: &Element) -> Result<(), MessageError> {
    if element.0.len() == ELEMENT_BYTES {
        Ok(())
    } else {
        Err(MessageError::Rule("a SPAKE2 message of another length"))
    }
}
