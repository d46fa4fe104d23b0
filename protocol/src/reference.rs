//! How people name a package, a release or content: the REF of the command line, and what links carry.
//!
//! | form | names |
//! |---|---|
//! | `@alice~k3v9x2m4q7ab/rocket` | a package by owner (handle, first 12 characters of the IdentityId) and name |
//! | `@alice.dev/rocket` | the same, where the handle alone is known or can be verified |
//! | `syncra:<package id>` | a package, whoever names it how |
//! | `syncra:b3:<content root>` | content without author or history |
//!
//! All but the last may end in `@1.2.3` (exactly this version), `@^1.2` (a requirement), `@stable` (a channel) or
//! `@r:<release id>` (exactly this release).

use core::fmt;
use core::str::FromStr;

use crate::id::{ContentRoot, IdError, IdentityId, PackageId, ReleaseId, base32};
use crate::limits::{REFERENCE_BYTES, SHORT_ID_CHARS};
use crate::name::{Handle, NameError, PackageName, RefName};
use crate::text::{text_serde, text_type};
use crate::version::{Version, VersionError, VersionReq};

mod hint;
#[cfg(test)]
mod tests;

/// What somebody asked for. `parse` and `Display` are inverse.
///
/// ```
/// use syncra_protocol::reference::Reference;
/// let wanted: Reference = "@alice.dev/rocket@^1.2".parse().unwrap();
/// assert_eq!(wanted.to_string(), "@alice.dev/rocket@^1.2");
/// let error = "rocket".parse::<Reference>().unwrap_err();
/// assert_eq!(error.hint(), Some("@owner/rocket"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By owner and name.
    Named(QualifiedName, Option<Selector>),
    /// By the package's id.
    Package(PackageId, Option<Selector>),
    /// By hash alone: nobody vouches for it.
    Content(ContentRoot),
}

/// A package's name with its owner: `@alice~k3v9x2m4q7ab/rocket`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    /// What the owner calls itself.
    pub owner: Handle,
    /// Which of those who call themselves so.
    pub key: Option<OwnerKey>,
    /// The package's name.
    pub name: PackageName,
}

/// The first 12 base32 characters of an [`IdentityId`]: 60 bits, enough that nobody meets another's by chance.
///
/// It narrows a choice among known identities and pins nothing by itself: an attacker with 2^60 hashes finds a twin.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey(String);

text_type!(OwnerKey, OwnerKeyError, "the first 12 characters of an identity's id");

/// Not 12 characters of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an owner's key is the first {SHORT_ID_CHARS} characters (a-z, 2-7) of the identity's id")]
pub struct OwnerKeyError;

/// Which release of a package.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// This version and no other.
    Version(Version),
    /// The highest version that matches.
    Req(VersionReq),
    /// What a channel points at.
    Channel(RefName),
    /// This release, contested or yanked or not.
    Release(ReleaseId),
}

/// Why a text is not a reference; [`ReferenceError::hint`] says what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ReferenceError {
    /// What is wrong.
    pub fault: ReferenceFault,
    hint: Option<String>,
}

/// What is wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceFault {
    /// More bytes than any reference has.
    #[error("{len} bytes, at most {REFERENCE_BYTES} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
    },
    /// A bare name: anybody may have a package of that name.
    #[error("a package is named with its owner")]
    NoOwner,
    /// None of the forms.
    #[error("neither `@owner/name` nor `syncra:<package id>`")]
    Form,
    /// The handle or the name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What follows `~`.
    #[error(transparent)]
    Key(#[from] OwnerKeyError),
    /// What follows `syncra:`, `syncra:b3:` or `@r:`.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A version or requirement after `@`.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// A selector behind `syncra:b3:…`.
    #[error("content named by its hash has no versions or channels")]
    ContentHasNoVersions,
}

text_serde!(Reference, "a reference like @owner/name");
text_serde!(QualifiedName, "a package's name with its owner, like @owner/name");

impl ReferenceError {
    /// The nearest valid reference to what was written, where one can be guessed.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Reference {
    /// Parses any of the forms of the module's doc.
    ///
    /// # Errors
    /// [`ReferenceError`] with a hint where one can be guessed.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        with_hint(text, parse_reference(text))
    }
}

impl QualifiedName {
    /// Parses `@owner[~key]/name`.
    ///
    /// # Errors
    /// [`ReferenceError`] with a hint where one can be guessed.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        with_hint(text, parse_qualified(text))
    }
}

impl OwnerKey {
    /// Checks the length and the alphabet.
    ///
    /// # Errors
    /// [`OwnerKeyError`].
    pub fn parse(text: &str) -> Result<Self, OwnerKeyError> {
        let alphabet = |byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
        if text.len() != SHORT_ID_CHARS || !text.bytes().all(alphabet) {
            return Err(OwnerKeyError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The key that names this identity.
    #[must_use]
    pub fn of(identity: &IdentityId) -> Self {
        let mut text = base32(identity.as_bytes());
        text.truncate(SHORT_ID_CHARS);
        Self(text)
    }

    /// Whether this is the beginning of the identity's id.
    #[must_use]
    pub fn matches(&self, identity: &IdentityId) -> bool {
        *self == Self::of(identity)
    }
}

impl Selector {
    /// Parses what follows `@`: `r:` and an id, what begins with a letter as a channel, a whole version as exactly that
    /// version, the rest as a requirement.
    ///
    /// # Errors
    /// [`ReferenceFault`].
    pub fn parse(text: &str) -> Result<Self, ReferenceFault> {
        if let Some(id) = text.strip_prefix("r:") {
            return Ok(Self::Release(id.parse()?));
        }
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(Self::Channel(RefName::parse(text)?));
        }
        // `1.2.3` is a version, and so is its error; `1.2` and everything with an operator is a requirement.
        if text.split('.').count() >= 3 && text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains([',', '*'])
        {
            return Ok(Self::Version(Version::parse(text)?));
        }
        Ok(Self::Req(VersionReq::parse(text)?))
    }
}

fn parse_reference(text: &str) -> Result<Reference, ReferenceFault> {
    if text.len() > REFERENCE_BYTES {
        return Err(ReferenceFault::TooLong { len: text.len() });
    }
    if let Some(root) = text.strip_prefix("syncra:b3:") {
        return match root.split_once('@') {
            None => Ok(Reference::Content(root.parse()?)),
            Some(_) => Err(ReferenceFault::ContentHasNoVersions),
        };
    }
    if let Some(rest) = text.strip_prefix("syncra:") {
        let (id, selector) = split_selector(rest)?;
        return Ok(Reference::Package(id.parse()?, selector));
    }
    let Some(rest) = text.strip_prefix('@') else {
        return Err(if text.contains(['/', ':']) { ReferenceFault::Form } else { ReferenceFault::NoOwner });
    };
    // The selector's `@` is the second one.
    let end = rest.find('@').map_or(text.len(), |at| at + 1);
    let (_, selector) = split_selector(rest)?;
    Ok(Reference::Named(parse_qualified(&text[..end])?, selector))
}

fn split_selector(text: &str) -> Result<(&str, Option<Selector>), ReferenceFault> {
    match text.split_once('@') {
        None => Ok((text, None)),
        Some((before, selector)) => Ok((before, Some(Selector::parse(selector)?))),
    }
}

fn parse_qualified(text: &str) -> Result<QualifiedName, ReferenceFault> {
    if text.len() > REFERENCE_BYTES {
        return Err(ReferenceFault::TooLong { len: text.len() });
    }
    let Some(rest) = text.strip_prefix('@') else {
        return Err(if text.contains(['/', ':']) { ReferenceFault::Form } else { ReferenceFault::NoOwner });
    };
    let (owner, name) = rest.split_once('/').ok_or(ReferenceFault::Form)?;
    let (owner, key) = match owner.split_once('~') {
        Some((owner, key)) => (owner, Some(OwnerKey::parse(key)?)),
        None => (owner, None),
    };
    Ok(QualifiedName { owner: Handle::parse(owner)?, key, name: PackageName::parse(name)? })
}

fn with_hint<T>(text: &str, result: Result<T, ReferenceFault>) -> Result<T, ReferenceError> {
    result.map_err(|fault| ReferenceError { hint: hint::nearest(text), fault })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = match self {
            Self::Named(name, selector) => {
                write!(f, "{name}")?;
                selector
            }
            Self::Package(id, selector) => {
                write!(f, "syncra:{id}")?;
                selector
            }
            Self::Content(root) => return write!(f, "syncra:b3:{root}"),
        };
        match selector {
            Some(selector) => write!(f, "@{selector}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "@{}~{key}/{}", self.owner, self.name),
            None => write!(f, "@{}/{}", self.owner, self.name),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "{version}"),
            Self::Req(req) => write!(f, "{req}"),
            Self::Channel(name) => write!(f, "{name}"),
            Self::Release(id) => write!(f, "r:{id}"),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl FromStr for QualifiedName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}
