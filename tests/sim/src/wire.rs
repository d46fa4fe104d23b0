//! What travels: frames of the real messages, and what carries them.

use std::rc::Rc;

use syncra_protocol::id::ContentRoot;
use syncra_protocol::message::frame::{self, PREFIX_BYTES};

use crate::disk::Bytes;

/// What a packet is to the one who receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A request on `/syncra/log/1`, number so and so of its asker.
    AskLog(u64),
    /// A request on `/syncra/have/1`.
    AskHave(u64),
    /// A request for blobs.
    AskBlobs(u64),
    /// The answer to a request.
    Answer(u64),
    /// One blob of the answer to a request.
    Blob(u64, u32),
    /// A frame on an open watch.
    Notice,
}

impl Lane {
    /// For the trace.
    #[must_use]
    pub const fn code(self) -> (u8, u64) {
        match self {
            Self::AskLog(id) => (1, id),
            Self::AskHave(id) => (2, id),
            Self::AskBlobs(id) => (3, id),
            Self::Answer(id) => (4, id),
            Self::Blob(id, part) => (5, id << 16 | part as u64),
            Self::Notice => (6, 0),
        }
    }
}

/// A message as a frame.
#[must_use]
pub fn framed(message: &[u8]) -> Bytes {
    let prefix = frame::prefix(message.len()).expect("our own messages fit into a frame");
    prefix.iter().chain(message).copied().collect()
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFailure {
    /// More is announced than a frame may have.
    Oversized,
    /// Fewer bytes than announced.
    Cut,
}

/// The message in a frame, as `node/src/net/frame.rs` reads it.
///
/// # Errors
/// [`FrameFailure`].
pub fn unframed(bytes: &[u8]) -> Result<&[u8], FrameFailure> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>().ok_or(FrameFailure::Cut)?;
    let length = frame::length(*prefix).map_err(|_| FrameFailure::Oversized)?;
    rest.get(..length).ok_or(FrameFailure::Cut)
}

/// A request for blobs: the root, then the numbers of its parts; none asks for the sequence itself. Stands for the blob
/// library's own request, which is not ours to simulate.
#[must_use]
pub fn blob_request(root: &ContentRoot, parts: &[u32]) -> Bytes {
    root.as_bytes().iter().copied().chain(parts.iter().flat_map(|part| part.to_le_bytes())).collect()
}

/// The inverse of [`blob_request`].
#[must_use]
pub fn read_blob_request(bytes: &[u8]) -> Option<(ContentRoot, Vec<u32>)> {
    let (root, parts) = bytes.split_first_chunk::<32>()?;
    let (parts, rest) = parts.as_chunks::<4>();
    rest.is_empty()
        .then(|| (ContentRoot::from_bytes(*root), parts.iter().map(|part| u32::from_le_bytes(*part)).collect()))
}

/// Bytes of a message's own.
#[must_use]
pub fn bytes(from: &[u8]) -> Bytes {
    Rc::from(from)
}
