//! Framing: `u32` little-endian length, then that many bytes of one message.

use crate::limits::FRAME_BYTES;

/// Bytes of the length.
pub const PREFIX_BYTES: usize = 4;

/// A length that no frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, 1 to {FRAME_BYTES} are allowed")]
pub struct FrameError {
    /// The length announced, or of the message.
    pub len: usize,
}

/// The length of the frame that `prefix` begins. Read no more than that.
///
/// # Errors
/// [`FrameError`] for zero and for more than [`FRAME_BYTES`], before anything is reserved.
pub fn length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let len = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if (1..=FRAME_BYTES).contains(&len) { Ok(len) } else { Err(FrameError { len }) }
}

/// The prefix of a message of `len` bytes.
///
/// # Errors
/// [`FrameError`] as for [`length`].
pub fn prefix(len: usize) -> Result<[u8; PREFIX_BYTES], FrameError> {
    match u32::try_from(len) {
        Ok(short) if (1..=FRAME_BYTES).contains(&len) => Ok(short.to_le_bytes()),
        _ => Err(FrameError { len }),
    }
}
