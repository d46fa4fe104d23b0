//! Canonical bytes: postcard, capped, nothing trailing, exactly one spelling.
//!
//! Postcard's variable-length integers and maps allow several spellings of one value; a decoder that accepted them
//! would give one thing two ids. So [`decode`] encodes again and compares.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than this kind of message may have.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes offered.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Not an encoding of this type.
    #[error("malformed bytes")]
    Malformed,
    /// An encoding of this type, but not the only accepted one (trailing bytes included).
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// The canonical bytes of `value`.
///
/// # Panics
/// Never for the crate's own types: postcard fails only for sequences of unknown length, which none has.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our types have known lengths")
}

/// Decodes at most `max` untrusted bytes.
///
/// Allocation is bounded by the input: serde caps the size hint of a sequence, and every element takes at least one
/// byte of input.
///
/// # Errors
/// [`CodecError`]; the value is never partly accepted.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong { len: bytes.len(), max });
    }
    let value: T = postcard::from_bytes(bytes).map_err(|_| CodecError::Malformed)?;
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_accepted() {
        assert_eq!(encode(&300_u32), [0xac, 0x02]);
        assert_eq!(decode::<u32>(&[0xac, 0x02], 8), Ok(300));
        assert_eq!(decode::<u32>(&[0xac, 0x82, 0x00], 8), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[0xac, 0x02, 0x00], 8), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[0xac], 8), Err(CodecError::Malformed));
        assert_eq!(decode::<u32>(&[0; 9], 8), Err(CodecError::TooLong { len: 9, max: 8 }));
    }

    #[test]
    fn a_length_bomb_reserves_nothing() {
        // A sequence that claims 2^60 elements in nine bytes.
        let bomb = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(decode::<Vec<u64>>(&bomb, 64), Err(CodecError::Malformed));
    }
}
