//! The nine bytes before every body. Their layout is fixed for ever.

use super::EntryError;
use crate::limits::ENTRY_BYTES;

/// The first bytes of every entry.
pub const MAGIC: [u8; 4] = *b"SYNE";
/// Bytes before the body.
pub const HEADER_BYTES: usize = 9;

/// Bit 0 of the flags: a reader that does not know the kind must stop at this log.
const CRITICAL: u8 = 1;
/// The format version of every kind known so far.
const VERSION: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) critical: bool,
}

impl Header {
    /// The header of a kind that this version writes.
    pub(super) const fn known(kind: u8) -> Self {
        Self { version: VERSION, kind, critical: is_critical(kind) }
    }

    pub(super) const fn is_known(self) -> bool {
        self.version == VERSION
            && matches!(self.kind, 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 10 | 12 | 32 | 33 | 34 | 35 | 37 | 38 | 39)
    }

    /// Header and body in one.
    pub(super) fn frame(self, body: &[u8]) -> Result<Vec<u8>, EntryError> {
        let len = HEADER_BYTES + body.len();
        let body_len = u16::try_from(body.len()).ok().filter(|_| len <= ENTRY_BYTES);
        let body_len = body_len.ok_or(EntryError::TooLong { len })?;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.version, self.kind, if self.critical { CRITICAL } else { 0 }]);
        bytes.extend_from_slice(&body_len.to_le_bytes());
        bytes.extend_from_slice(body);
        Ok(bytes)
    }

    /// The inverse of [`Header::frame`] for untrusted bytes.
    pub(super) fn split(bytes: &[u8]) -> Result<(Self, &[u8]), EntryError> {
        if bytes.len() > ENTRY_BYTES {
            return Err(EntryError::TooLong { len: bytes.len() });
        }
        let (head, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(EntryError::Header)?;
        let [m0, m1, m2, m3, version, kind, flags, low, high] = *head;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(EntryError::Header);
        }
        let declared = usize::from(u16::from_le_bytes([low, high]));
        if declared != body.len() {
            return Err(EntryError::Length { declared, actual: body.len() });
        }
        let header = Self { version, kind, critical: flags & CRITICAL != 0 };
        if flags & !CRITICAL != 0 || (header.is_known() && header.critical != is_critical(kind)) {
            return Err(EntryError::Flags { kind, flags });
        }
        Ok((header, body))
    }
}

/// Of the known kinds, those that a reader may skip without misreading the log carry no flag. The flag is part of the
/// canonical bytes: a known kind with the other flag is refused.
const fn is_critical(kind: u8) -> bool {
    !matches!(kind, 12 | 38 | 39)
}
