//! The small vocabulary of manifests: kinds, keywords, components, lines of text.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{COMPONENT_BYTES, KEYWORD_BYTES};
use crate::text::text_type;

/// What a package is. The order is that of the canonical bytes: new kinds come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// Components and systems, as text or graphs.
    Script,
    /// A native program: installing one means trusting native code.
    Driver,
    /// A place, with what it needs to run.
    World,
    /// What a person looks like.
    Avatar,
    /// Models, sounds, textures.
    Asset,
    /// Several of these together.
    Pack,
}

impl PackageKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Script, Self::Driver, Self::World, Self::Avatar, Self::Asset, Self::Pack];

    /// As written in manifests and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Driver => "driver",
            Self::World => "world",
            Self::Avatar => "avatar",
            Self::Asset => "asset",
            Self::Pack => "pack",
        }
    }
}

/// Which files outside its package a script or driver uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileAccess {
    /// None.
    #[default]
    None,
    /// It reads them.
    Read,
    /// It reads and writes them.
    Write,
}

impl FileAccess {
    /// Every degree, least first.
    pub const ALL: [Self; 3] = [Self::None, Self::Read, Self::Write];

    /// As written in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Why a text is not such a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Nothing there.
    #[error("there is nothing here")]
    Empty,
    /// Longer than allowed.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A character that may not stand there.
    #[error("U+{:04X} at byte {at} is not {allowed}", u32::from(*.found))]
    Character {
        /// What stands there.
        found: char,
        /// Where.
        at: usize,
        /// What may stand there.
        allowed: &'static str,
    },
    /// None of a closed set of words.
    #[error("not one of {0}")]
    NotOneOf(&'static str),
}

macro_rules! closed_set {
    ($name:ident, $words:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                Self::ALL.into_iter().find(|word| word.as_str() == text).ok_or(WordError::NotOneOf($words))
            }
        }
    };
}

closed_set!(PackageKind, "`script`, `driver`, `world`, `avatar`, `asset`, `pack`");
closed_set!(FileAccess, "`none`, `read`, `write`");

/// A word that a package wants to be found by: `[a-z0-9-]{1,32}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keyword(String);

text_type!(Keyword, WordError, "a keyword");

impl Keyword {
    /// Checks the alphabet and the length.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn parse(text: &str) -> Result<Self, WordError> {
        bounded(text, KEYWORD_BYTES)?;
        each(text, "one of a-z, 0-9, `-`", |c| matches!(c, 'a'..='z' | '0'..='9' | '-'))?;
        Ok(Self(text.to_owned()))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an engine component, as in `read = ["Transform"]`: `[A-Za-z0-9_.:]{1,64}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component(String);

text_type!(Component, WordError, "a component's name");

impl Component {
    /// Checks the alphabet and the length.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn parse(text: &str) -> Result<Self, WordError> {
        bounded(text, COMPONENT_BYTES)?;
        each(text, "one of A-Z, a-z, 0-9, `_`, `.`, `:`", |c| c.is_ascii_alphanumeric() || "_.:".contains(c))?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One line of text for people, at most `MAX` bytes, not empty: no control characters (terminals obey them) and none
/// that change the direction of text (they make a line read as what it is not).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// Checks the characters and the length.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn parse(text: &str) -> Result<Self, WordError> {
        bounded(text, MAX)?;
        each(text, "allowed in a line of text", |c| {
            !c.is_control()
                && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?})", self.0)
    }
}

impl<const MAX: usize> FromStr for Line<MAX> {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::parse(text)
    }
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        Self::parse(&text)
    }
}

impl<const MAX: usize> From<Line<MAX>> for String {
    fn from(line: Line<MAX>) -> Self {
        line.0
    }
}

fn bounded(text: &str, max: usize) -> Result<(), WordError> {
    match text.len() {
        0 => Err(WordError::Empty),
        len if len > max => Err(WordError::TooLong { len, max }),
        _ => Ok(()),
    }
}

fn each(text: &str, allowed: &'static str, fits: impl Fn(char) -> bool) -> Result<(), WordError> {
    match text.char_indices().find(|&(_, c)| !fits(c)) {
        Some((at, found)) => Err(WordError::Character { found, at, allowed }),
        None => Ok(()),
    }
}
