//! One frame of a segment file: `length u32 LE · kind u8 · payload · check 16 B`.
//!
//! The check is BLAKE3 over a salt, the length, the kind and the payload. The salt ties a frame to its place: in the
//! journal it is the check of the frame before, so a frame that is moved, repeated or left out is noticed too.

/// Bytes of a check: 128 bits against accidents of the disk; nobody else writes these files.
pub(crate) const CHECK_BYTES: usize = 16;
/// Bytes of a segment file's header: magic 4 B, version u8, three zero bytes, number u64 LE, check.
pub(crate) const HEADER_BYTES: usize = 4 + 1 + 3 + 8 + CHECK_BYTES;
/// What a frame takes besides its payload.
pub(crate) const OVERHEAD_BYTES: usize = 4 + 1 + CHECK_BYTES;

/// The check of a frame or of a header.
pub(crate) type Check = [u8; CHECK_BYTES];

/// A frame that passed its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What the payload is.
    pub(crate) kind: u8,
    /// The payload.
    pub(crate) payload: &'a [u8],
    /// The check, salt of the next frame in a chain.
    pub(crate) check: Check,
    /// Offset behind the frame.
    pub(crate) end: usize,
}

/// Why there is no frame at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The bytes end before the frame does.
    #[error("the frame is cut off")]
    Cut,
    /// The length is more than a frame of this file may have.
    #[error("a length of {0} bytes")]
    Length(u32),
    /// Whole, but not what was written.
    #[error("the check does not match")]
    Check,
}

/// The header of a segment file; its check is the salt of what follows.
pub(crate) fn header(magic: &[u8; 4], version: u8, number: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(magic);
    bytes[4] = version;
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let check = check(&[&bytes[..16]]);
    bytes[16..].copy_from_slice(&check);
    bytes
}

/// Appends a frame to `out`.
///
/// # Panics
/// If the payload has 4 GiB or more; callers have far lower limits.
pub(crate) fn push(out: &mut Vec<u8>, salt: &Check, kind: u8, payload: &[u8]) -> Check {
    let length = u32::try_from(payload.len()).expect("payloads are limited far below 4 GiB").to_le_bytes();
    let check = check(&[salt, &length, &[kind], payload]);
    out.reserve(OVERHEAD_BYTES + payload.len());
    out.extend_from_slice(&length);
    out.push(kind);
    out.extend_from_slice(payload);
    out.extend_from_slice(&check);
    check
}

/// The frame at offset `at`; `None` exactly at the end.
///
/// # Errors
/// [`FrameError`]. Bytes of any kind never panic.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    at: usize,
    salt: &Check,
    max_bytes: usize,
) -> Result<Option<Frame<'a>>, FrameError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((length, after)) = rest.split_first_chunk::<4>() else {
        return if rest.is_empty() { Ok(None) } else { Err(FrameError::Cut) };
    };
    let payload_bytes = u32::from_le_bytes(*length);
    if payload_bytes as usize > max_bytes {
        return Err(FrameError::Length(payload_bytes));
    }
    let payload_bytes = payload_bytes as usize;
    let (Some((kind, _)), Some(payload), Some(stored)) = (
        after.split_first(),
        after.get(1..1 + payload_bytes),
        after.get(1 + payload_bytes..).and_then(<[u8]>::first_chunk::<CHECK_BYTES>),
    ) else {
        return Err(FrameError::Cut);
    };
    if check(&[salt, length, &[*kind], payload]) != *stored {
        return Err(FrameError::Check);
    }
    Ok(Some(Frame { kind: *kind, payload, check: *stored, end: at + OVERHEAD_BYTES + payload_bytes }))
}

/// BLAKE3 over the parts, cut to [`CHECK_BYTES`].
pub(crate) fn check(parts: &[&[u8]]) -> Check {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("BLAKE3 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_chain_and_end_exactly() {
        let mut bytes = Vec::new();
        let first = push(&mut bytes, &[7; 16], 1, b"one");
        push(&mut bytes, &first, 2, b"");
        let one = read(&bytes, 0, &[7; 16], 3).expect("whole").expect("there");
        assert_eq!((one.kind, one.payload, one.check), (1, &b"one"[..], first));
        let two = read(&bytes, one.end, &one.check, 3).expect("whole").expect("there");
        assert_eq!((two.kind, two.payload, two.end), (2, &b""[..], bytes.len()));
        assert_eq!(read(&bytes, two.end, &two.check, 3), Ok(None));
        assert_eq!(read(&bytes, one.end, &[7; 16], 3), Err(FrameError::Check), "a moved frame is noticed");
        assert_eq!(read(&bytes, 0, &[7; 16], 2), Err(FrameError::Length(3)));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        push(&mut bytes, &[0; 16], 1, b"payload");
        for len in 1..bytes.len() {
            assert_eq!(read(&bytes[..len], 0, &[0; 16], 64), Err(FrameError::Cut), "cut at {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, 0, &[0; 16], 64).is_err(), "bit {bit}");
        }
    }
}
