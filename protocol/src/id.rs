//! Ids: 32-byte hashes, one type for each kind of thing that has one.
//!
//! Written everywhere in lower-case base32 (RFC 4648 alphabet) without padding: 52 characters.
//! Content addressing is BLAKE3; the log's Merkle tree alone uses SHA-256 (RFC 6962), see [`LogHash`].

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Lower-case RFC 4648 base32 without padding, strict: no upper case, no non-zero trailing bits.
static BASE32: std::sync::LazyLock<data_encoding::Encoding> = std::sync::LazyLock::new(|| {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("the alphabet is a valid base32 specification")
});

/// `bytes` in the project's base32.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    BASE32.encode(bytes)
}

/// The inverse of [`base32`]; only the canonical spelling is accepted.
///
/// # Errors
/// [`IdError::Alphabet`] when `text` is not canonical lower-case base32.
pub fn from_base32(text: &str) -> Result<Vec<u8>, IdError> {
    BASE32.decode(text.as_bytes()).map_err(|_| IdError::Alphabet)
}

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not canonical lower-case base32 without padding.
    #[error("an id is written in lower-case base32 (a-z, 2-7) without padding")]
    Alphabet,
    /// Decodes to another length than 32 bytes.
    #[error("an id is 52 characters long, this one has {0}")]
    Length(usize),
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first 12 characters, for people and logs; never for look-ups.
            #[must_use]
            pub fn fmt_short(&self) -> String {
                let mut text = base32(&self.0);
                text.truncate(crate::limits::SHORT_ID_CHARS);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.fmt_short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes = from_base32(text)?;
                let bytes = bytes.try_into().map_err(|_| IdError::Length(text.len()))?;
                Ok(Self(bytes))
            }
        }
    )*};
}

ids! {
    /// BLAKE3 of a blob's bytes.
    BlobId;
    /// BLAKE3 of a package's Genesis entry.
    PackageId;
    /// BLAKE3 of an identity's Genesis entry.
    IdentityId;
    /// BLAKE3 of an entry's bytes.
    EntryId;
    /// A release's id: the id of its entry.
    ReleaseId;
    /// What the files of a release are: BLAKE3 over the projection (path, mode, size, file hash).
    TreeId;
    /// How a release is packed and fetched: BLAKE3 of the HashSeq of its nodes, segments and chunk lists.
    ContentRoot;
    /// A SHA-256 hash in a log's Merkle tree (RFC 6962).
    LogHash;
}

impl BlobId {
    /// The id of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl EntryId {
    /// The id of an entry with these bytes.
    #[must_use]
    pub fn of(entry: &[u8]) -> Self {
        Self(*blake3::hash(entry).as_bytes())
    }
}

/// The same 32 bytes under the name that the context gives them. Only these conversions exist.
macro_rules! same_bytes {
    ($($from:ident => $to:ident: $why:literal;)*) => {$(
        impl From<$from> for $to {
            #[doc = $why]
            fn from(id: $from) -> Self {
                Self(id.0)
            }
        }
    )*};
}

same_bytes! {
    EntryId => ReleaseId: "A release is named by its entry.";
    EntryId => PackageId: "A package is named by its Genesis entry.";
    EntryId => IdentityId: "An identity is named by its Genesis entry.";
    ReleaseId => EntryId: "A release is named by its entry.";
    ContentRoot => BlobId: "A content root is itself a blob: the HashSeq.";
    BlobId => ContentRoot: "A content root is itself a blob: the HashSeq.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_canonical_and_round_trips() {
        let id = BlobId::of(b"");
        let text = id.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<BlobId>(), Err(IdError::Alphabet));
        assert_eq!("aa".parse::<BlobId>(), Err(IdError::Length(2)));
    }

    #[test]
    fn non_zero_trailing_bits_are_refused() {
        let text = BlobId::from_bytes([0; 32]).to_string();
        let twin = format!("{}b", &text[..51]);
        assert_eq!(twin.parse::<BlobId>(), Err(IdError::Alphabet));
    }
}
