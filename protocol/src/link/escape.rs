//! Percent-encoding (RFC 3986 §2.1).

use core::fmt::Write as _;

use super::LinkError;

/// Characters that are written as they are: the unreserved ones, and those that structure references and addresses.
/// Others that a query may hold are taken as they are and written escaped: chats take them for the end of a link.
const PLAIN: &[u8] = b"-._~/:@";
/// The rest of what may stand in a path or query, `&` and `=` having been split at.
const ALLOWED: &[u8] = b"!$'()*+,;=?";

/// `text` with everything escaped that could be taken for structure.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) => escaped.push(byte.into()),
            // Writing to a string cannot fail.
            byte => drop(write!(escaped, "%{byte:02X}")),
        }
    }
    escaped
}

/// The inverse; both cases of hexadecimal digits are taken.
pub(super) fn undo(text: &str) -> Result<String, LinkError> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    let mut undone = Vec::with_capacity(bytes.len());
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else { return Err(LinkError::Escape) };
                undone.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
                at += 3;
            }
            byte if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) || ALLOWED.contains(&byte) => {
                undone.push(byte);
                at += 1;
            }
            _ => return Err(LinkError::Character { at }),
        }
    }
    String::from_utf8(undone).map_err(|_| LinkError::Escape)
}
