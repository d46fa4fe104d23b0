//! The rules of paths, in the order in which they are checked.

use unicode_normalization::char::is_public_assigned;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::fold::{is_ignorable, is_variation_selector, part_key};
use crate::limits::{PATH_BYTES, PATH_DEPTH, PATH_PART_BYTES};
use crate::name::is_device_name;

/// Where the node keeps what belongs to it: no package may bring its own.
const RESERVED_FIRST: &str = ".syncra";
/// Other tools run what they find there (hooks, fsmonitor): a fetched directory must not become a repository.
const RESERVED_ANYWHERE: &str = ".git";

/// Why a text is not a path inside a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPathError {
    /// The bytes are no UTF-8.
    #[error("the name is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// The first byte that is not part of a character.
        at: usize,
    },
    /// Nothing there.
    #[error("the path is empty")]
    Empty,
    /// The whole path is too long.
    #[error("the path has {len} bytes, at most {PATH_BYTES} are allowed")]
    Long {
        /// Bytes of the path.
        len: usize,
    },
    /// Too many directories.
    #[error("the path has {parts} parts, at most {PATH_DEPTH} are allowed")]
    Deep {
        /// Parts of the path.
        parts: usize,
    },
    /// Begins with a slash.
    #[error("the path is absolute; write it relative to the package")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("part {part} of the path is empty")]
    EmptyPart {
        /// Which part, from 0.
        part: usize,
    },
    /// A part that breaks `rule` as a whole.
    #[error("part {part} of the path {}", .rule.why())]
    Part {
        /// Which part, from 0.
        part: usize,
        /// The rule.
        rule: PathRule,
    },
    /// A character that breaks `rule`.
    #[error("part {part} of the path contains U+{:04X}, {}", u32::from(*.found), .rule.why())]
    Character {
        /// Which part, from 0.
        part: usize,
        /// What stands there.
        found: char,
        /// The rule.
        rule: PathRule,
    },
    /// Not in normalisation form C.
    #[error("part {part} of the path is not in Unicode normalisation form C; rename it to `{nfc}`")]
    NotNfc {
        /// Which part, from 0.
        part: usize,
        /// What the part is in form C (it looks the same).
        nfc: String,
    },
}

/// The rules that a path may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathRule {
    /// Names are UTF-8.
    Utf8,
    /// There is a path.
    Empty,
    /// At most [`PATH_BYTES`].
    Long,
    /// At most [`PATH_DEPTH`] parts.
    Deep,
    /// Relative.
    Absolute,
    /// No part is empty.
    EmptyPart,
    /// A part has at most [`PATH_PART_BYTES`].
    PartLong,
    /// No `.` or `..`, nor anything whose compatibility form is one.
    Dots,
    /// No `\`, nor a character whose compatibility form contains `/` or `\`.
    Separator,
    /// No `:` (drives, alternate data streams).
    Colon,
    /// No C0, C1 or DEL.
    Control,
    /// No character that Windows refuses in names: `<>"|?*`.
    Wildcard,
    /// No invisible or direction-changing character.
    Invisible,
    /// No private use, no noncharacter, nothing that Unicode has not assigned.
    Unassigned,
    /// Normalisation form C.
    Nfc,
    /// No white space at either end of a part, no dot at its end.
    Edge,
    /// No device name of Windows, whatever its extension.
    Device,
    /// Not `.syncra` at the top, not `.git` anywhere.
    Reserved,
}

impl PathRule {
    /// Every rule.
    pub const ALL: [Self; 18] = [
        Self::Utf8,
        Self::Empty,
        Self::Long,
        Self::Deep,
        Self::Absolute,
        Self::EmptyPart,
        Self::PartLong,
        Self::Dots,
        Self::Separator,
        Self::Colon,
        Self::Control,
        Self::Wildcard,
        Self::Invisible,
        Self::Unassigned,
        Self::Nfc,
        Self::Edge,
        Self::Device,
        Self::Reserved,
    ];

    /// The rule's name in test vectors and machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Empty => "empty",
            Self::Long => "long",
            Self::Deep => "deep",
            Self::Absolute => "absolute",
            Self::EmptyPart => "empty_part",
            Self::PartLong => "part_long",
            Self::Dots => "dots",
            Self::Separator => "separator",
            Self::Colon => "colon",
            Self::Control => "control",
            Self::Wildcard => "wildcard",
            Self::Invisible => "invisible",
            Self::Unassigned => "unassigned",
            Self::Nfc => "nfc",
            Self::Edge => "edge",
            Self::Device => "device",
            Self::Reserved => "reserved",
        }
    }

    /// The rule as the end of a sentence about a part or a character.
    const fn why(self) -> &'static str {
        match self {
            Self::PartLong => "is longer than 255 bytes",
            Self::Dots => "is `.` or `..` or reads as one",
            Self::Separator => "which separates parts on some systems",
            Self::Colon => "which names drives and streams on Windows",
            Self::Control => "a control character",
            Self::Wildcard => "which Windows does not allow in names",
            Self::Invisible => "which is invisible or changes the direction of text",
            Self::Unassigned => "which Unicode does not assign (a private character, or newer than this program)",
            Self::Edge => "begins with white space, or ends with white space or a dot, which Windows drops",
            Self::Device => "is the name of a device on Windows",
            Self::Reserved => "is reserved (`.syncra` at the top, `.git` anywhere)",
            Self::Utf8 | Self::Empty | Self::Long | Self::Deep | Self::Absolute | Self::EmptyPart | Self::Nfc => {
                "is malformed"
            }
        }
    }
}

impl EntryPathError {
    /// The rule that the path breaks.
    #[must_use]
    pub const fn rule(&self) -> PathRule {
        match self {
            Self::NotUtf8 { .. } => PathRule::Utf8,
            Self::Empty => PathRule::Empty,
            Self::Long { .. } => PathRule::Long,
            Self::Deep { .. } => PathRule::Deep,
            Self::Absolute => PathRule::Absolute,
            Self::EmptyPart { .. } => PathRule::EmptyPart,
            Self::Part { rule, .. } | Self::Character { rule, .. } => *rule,
            Self::NotNfc { .. } => PathRule::Nfc,
        }
    }
}

pub(super) fn check(text: &str) -> Result<(), EntryPathError> {
    if text.is_empty() {
        return Err(EntryPathError::Empty);
    }
    if text.len() > PATH_BYTES {
        return Err(EntryPathError::Long { len: text.len() });
    }
    if text.starts_with('/') {
        return Err(EntryPathError::Absolute);
    }
    let parts = text.split('/').count();
    if parts > PATH_DEPTH {
        return Err(EntryPathError::Deep { parts });
    }
    for (index, part) in text.split('/').enumerate() {
        check_part(part, index)?;
        if index == 0 && is_reserved(part, RESERVED_FIRST, "syncra~") {
            return Err(EntryPathError::Part { part: index, rule: PathRule::Reserved });
        }
    }
    Ok(())
}

pub(super) fn check_part(part: &str, index: usize) -> Result<(), EntryPathError> {
    let broken = |rule| Err(EntryPathError::Part { part: index, rule });
    if part.is_empty() {
        return Err(EntryPathError::EmptyPart { part: index });
    }
    if part.len() > PATH_PART_BYTES {
        return broken(PathRule::PartLong);
    }
    if part.nfkc().eq(".".chars()) || part.nfkc().eq("..".chars()) {
        return broken(PathRule::Dots);
    }
    for found in part.chars() {
        if let Some(rule) = character(found) {
            return Err(EntryPathError::Character { part: index, found, rule });
        }
    }
    if !is_nfc(part) {
        return Err(EntryPathError::NotNfc { part: index, nfc: part.nfc().collect() });
    }
    if part.starts_with(char::is_whitespace) || part.ends_with(|c: char| c == '.' || c.is_whitespace()) {
        return broken(PathRule::Edge);
    }
    if is_device(part) {
        return broken(PathRule::Device);
    }
    if is_reserved(part, RESERVED_ANYWHERE, "git~") {
        return broken(PathRule::Reserved);
    }
    Ok(())
}

/// The rule that a character breaks wherever it stands.
fn character(c: char) -> Option<PathRule> {
    match c {
        // A slash only gets here in a lone part: whole paths are split at it.
        '/' | '\\' => Some(PathRule::Separator),
        ':' => Some(PathRule::Colon),
        '<' | '>' | '"' | '|' | '?' | '*' => Some(PathRule::Wildcard),
        _ if c.is_control() => Some(PathRule::Control),
        _ if c.is_ascii() => None,
        _ if is_invisible(c) => Some(PathRule::Invisible),
        _ if !is_public_assigned(c) => Some(PathRule::Unassigned),
        // Windows' "best fit" code pages and careless normalisation turn these into real separators: `℀`, `／`.
        _ if core::iter::once(c).nfkc().any(|c| matches!(c, '/' | '\\')) => Some(PathRule::Separator),
        _ => None,
    }
}

/// Default-ignorable characters but for variation selectors (which emoji and CJK names need, and which collisions
/// ignore); line and paragraph separators; interlinear annotation. The directional controls are among the ignorable.
fn is_invisible(c: char) -> bool {
    (is_ignorable(c) && !is_variation_selector(c)) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Windows looks at what stands before the first dot, without the spaces at its end, in any case, and takes `COM¹` for
/// `COM1`; its old interfaces take full-width letters too, so the folded form decides.
fn is_device(part: &str) -> bool {
    let base = part.split('.').next().expect("splitting gives at least one part");
    is_device_name(part_key(base).trim_end_matches(' '))
}

/// `part` reads as `name`, or as the short name that Windows gives to it (`~` and a number).
fn is_reserved(part: &str, name: &str, short: &str) -> bool {
    let key = part_key(part);
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    key == name || key.strip_prefix(short).is_some_and(is_number)
}
