//! The grammar of names: each function says the first rule that a text breaks, and at which byte.

use crate::limits::{HANDLE_BYTES, PACKAGE_NAME_BYTES, REF_NAME_BYTES};

/// Bytes of one label of a DNS name (RFC 1035 §2.3.4).
const LABEL_BYTES: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {noun}: {rule} (at byte {at})")]
pub struct NameError {
    /// What the text should have been.
    pub noun: &'static str,
    /// The rule it breaks.
    pub rule: NameRule,
    /// The byte of the text where it breaks it.
    pub at: usize,
}

/// The rules of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// Nothing there, or nothing between two dots or slashes.
    #[error("there is nothing here")]
    Empty,
    /// Longer than allowed.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the text, or of the label of a DNS name.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A character outside the alphabet.
    #[error("{found:?} is not one of {allowed}")]
    Character {
        /// What stands there.
        found: char,
        /// The alphabet, for people.
        allowed: &'static str,
    },
    /// The first character is in the alphabet, but not one to begin with.
    #[error("it begins with {found:?}; it must begin with {allowed}")]
    Begins {
        /// What stands there.
        found: char,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Ends with a separator.
    #[error("it ends with {0:?}; it must end with a letter or digit")]
    Ends(char),
    /// Two separators in a row.
    #[error("two separators follow each other")]
    Doubled,
    /// `con`, `nul`, `com1` …: Windows opens a device under this name.
    #[error("Windows reserves this name for a device")]
    Device,
    /// A DNS name that ends in digits only would be read as an IP address.
    #[error("the last label has only digits, as an IP address has")]
    Address,
}

type Broken = (NameRule, usize);

const PACKAGE_ALPHABET: &str = "a-z, 0-9, `-`, `_`";
const HANDLE_ALPHABET: &str = "a-z, 0-9, `-`, `.`";
const REF_ALPHABET: &str = "a-z, 0-9, `.`, `_`, `/`, `-`";
const ALNUM: &str = "a-z or 0-9";

pub(super) fn package(text: &str) -> Result<(), Broken> {
    length(text, 0, PACKAGE_NAME_BYTES)?;
    alphabet(text, "_-", PACKAGE_ALPHABET)?;
    edges(text, 0)?;
    if let Some(at) = text.as_bytes().windows(2).position(|pair| !alnum(pair[0]) && !alnum(pair[1])) {
        return Err((NameRule::Doubled, at));
    }
    if is_device_name(text) { Err((NameRule::Device, 0)) } else { Ok(()) }
}

pub(super) fn handle(text: &str) -> Result<(), Broken> {
    length(text, 0, HANDLE_BYTES)?;
    alphabet(text, ".-", HANDLE_ALPHABET)?;
    let mut at = 0;
    let mut last = "";
    for label in text.split('.') {
        length(label, at, LABEL_BYTES)?;
        edges(label, at)?;
        at += label.len() + 1;
        last = label;
    }
    if last.len() < text.len() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((NameRule::Address, text.len() - last.len()));
    }
    Ok(())
}

pub(super) fn reference(text: &str) -> Result<(), Broken> {
    length(text, 0, REF_NAME_BYTES)?;
    alphabet(text, "._/-", REF_ALPHABET)?;
    let mut at = 0;
    for part in text.split('/') {
        length(part, at, REF_NAME_BYTES)?;
        edges(part, at)?;
        if let Some(dots) = part.find("..") {
            return Err((NameRule::Doubled, at + dots));
        }
        at += part.len() + 1;
    }
    let first = char::from(text.as_bytes()[0]);
    if first.is_ascii_digit() { Err((NameRule::Begins { found: first, allowed: "a-z" }, 0)) } else { Ok(()) }
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn length(text: &str, at: usize, max: usize) -> Result<(), Broken> {
    match text.len() {
        0 => Err((NameRule::Empty, at)),
        len if len > max => Err((NameRule::TooLong { len, max }, at)),
        _ => Ok(()),
    }
}

fn alphabet(text: &str, separators: &str, allowed: &'static str) -> Result<(), Broken> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || separators.contains(c);
    match text.char_indices().find(|&(_, c)| !fits(c)) {
        Some((at, found)) => Err((NameRule::Character { found, allowed }, at)),
        None => Ok(()),
    }
}

/// `text` is not empty, is ASCII and stands at `at` of the whole.
fn edges(text: &str, at: usize) -> Result<(), Broken> {
    let (first, last) = (text.as_bytes()[0], text.as_bytes()[text.len() - 1]);
    if !alnum(first) {
        return Err((NameRule::Begins { found: char::from(first), allowed: ALNUM }, at));
    }
    if alnum(last) { Ok(()) } else { Err((NameRule::Ends(char::from(last)), at + text.len() - 1)) }
}

/// Whether Windows opens a device for this lower-case name without extension.
///
/// `com0` and `lpt0` are refused by some versions only; `conin$` and `conout$` are no prefix devices but devices.
pub(crate) fn is_device_name(lower: &str) -> bool {
    if let Some(number) = lower.strip_prefix("com").or_else(|| lower.strip_prefix("lpt")) {
        return number.len() == 1 && number.as_bytes()[0].is_ascii_digit();
    }
    matches!(lower, "con" | "prn" | "aux" | "nul" | "conin$" | "conout$")
}

/// Lower case, everything foreign turned into single `-`, nothing but letters and digits at the ends.
pub(super) fn simplify(text: &str, separators: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        let fits = c.is_ascii_lowercase() || c.is_ascii_digit();
        if !fits && (out.is_empty() || out.ends_with(|c: char| separators.contains(c))) {
            continue;
        }
        if out.len() == max {
            break;
        }
        out.push(if fits || separators.contains(c) { c } else { '-' });
    }
    out.truncate(out.trim_end_matches(|c: char| separators.contains(c)).len());
    out
}
