//! Sequences from the wire with a limit in their type: refused at the first element too many, never read to the end.
//!
//! For `#[serde(deserialize_with = "…")]` on plain `Vec` fields, so that the public types stay plain. The bytes are
//! those of postcard's own sequences: a length, then the elements.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;

/// Elements reserved before any of them was read: a claimed length costs the claimer, not us.
const RESERVED: usize = 64;

/// At most `MAX` elements.
///
/// # Errors
/// Those of the deserializer, and one for more than `MAX` elements.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let claimed = seq.size_hint().unwrap_or(0);
            if claimed > MAX {
                return Err(A::Error::invalid_length(claimed, &self));
            }
            let mut values = Vec::with_capacity(claimed.min(RESERVED));
            while let Some(value) = seq.next_element()? {
                if values.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                values.push(value);
            }
            Ok(values)
        }
    }

    deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
}

/// At most `MAX` bytes, read in one piece.
///
/// # Errors
/// Those of the deserializer, and one for more than `MAX` bytes.
pub(crate) fn bytes<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes<const MAX: usize>;

    impl<'de, const MAX: usize> Visitor<'de> for Bytes<MAX> {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            if bytes.len() > MAX {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            Ok(bytes.to_vec())
        }
    }

    deserializer.deserialize_bytes(Bytes::<MAX>)
}

/// The writing half of `bytes`.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// A byte string of at most `MAX` bytes, as an element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob<const MAX: usize>(pub Vec<u8>);

impl<const MAX: usize> AsRef<[u8]> for Blob<MAX> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> serde::Serialize for Blob<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_bytes(&self.0, serializer)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Blob<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytes::<D, MAX>(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::codec::{CodecError, decode, encode};

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Sample {
        #[serde(deserialize_with = "list::<_, _, 3>")]
        numbers: Vec<u64>,
        #[serde(serialize_with = "write_bytes", deserialize_with = "bytes::<_, 4>")]
        text: Vec<u8>,
    }

    #[test]
    fn limits_hold_at_the_boundary() {
        let fits = Sample { numbers: vec![1, 2, 3], text: b"four".to_vec() };
        assert_eq!(encode(&fits), b"\x03\x01\x02\x03\x04four");
        assert_eq!(decode::<Sample>(&encode(&fits), 64), Ok(fits));
        let long = Sample { numbers: vec![1, 2, 3, 4], text: vec![] };
        assert_eq!(decode::<Sample>(&encode(&long), 64), Err(CodecError::Malformed));
        let long = Sample { numbers: vec![], text: b"fives".to_vec() };
        assert_eq!(decode::<Sample>(&encode(&long), 64), Err(CodecError::Malformed));
    }
}
