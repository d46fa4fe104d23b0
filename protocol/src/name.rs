//! Names that people choose: of packages, of themselves, of branches, tags and channels.
//!
//! The grammar and the lengths of all three stand here and nowhere else (`docs/spec/names.md`). All are ASCII and
//! lower-case, so that no two spellings of one name exist and none imitates another with a foreign letter.

use crate::limits::{HANDLE_BYTES, PACKAGE_NAME_BYTES, REF_NAME_BYTES};
use crate::text::text_type;

mod grammar;
mod look_alike;

pub(crate) use grammar::is_device_name;
pub use grammar::{NameError, NameRule};
pub use look_alike::look_alike_key;

/// A package's name below its owner: `rocket`, `low-poly_trees`.
///
/// `[a-z0-9]`, then `[a-z0-9_-]`, at most 64 bytes; no separator at the end and no two in a row; not a device name
/// of Windows, because packages are installed under their names.
///
/// ```
/// use syncra_protocol::name::PackageName;
/// assert_eq!(PackageName::parse("low-poly_trees").unwrap().as_str(), "low-poly_trees");
/// assert!(PackageName::parse("Rocket").is_err());
/// assert!(PackageName::parse("nul").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

text_type!(PackageName, NameError, "a package name");

impl PackageName {
    /// Checks `text` against the grammar above.
    ///
    /// # Errors
    /// [`NameError`] with the first rule broken and where.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        grammar::package(text).map_err(|(rule, at)| NameError { noun: "package name", rule, at })?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest name to what somebody wrote (`My Rocket!` gives `my-rocket`), for hints; `None` if nothing is left.
    #[must_use]
    pub fn nearest(text: &str) -> Option<Self> {
        Self::parse(&grammar::simplify(text, "_-", PACKAGE_NAME_BYTES)).ok()
    }
}

/// What an identity calls itself: `alice`, or a DNS name that can be verified: `alice.dev`.
///
/// One label `[a-z0-9-]`, or several with dots between; a label neither begins nor ends with `-` and has at most 63
/// bytes; the last of several is not all digits (that would be an IP address). At most 64 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

text_type!(Handle, NameError, "a handle");

impl Handle {
    /// Checks `text` against the grammar above.
    ///
    /// # Errors
    /// [`NameError`] with the first rule broken and where.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        grammar::handle(text).map_err(|(rule, at)| NameError { noun: "handle", rule, at })?;
        Ok(Self(text.to_owned()))
    }

    /// The handle.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a DNS name, whose zone can confirm the claim.
    #[must_use]
    pub fn is_dns(&self) -> bool {
        self.0.contains('.')
    }

    /// The nearest handle to a login or a person's name (`Alice B.` gives `alice-b`); `None` if nothing is left.
    #[must_use]
    pub fn nearest(text: &str) -> Option<Self> {
        Self::parse(&grammar::simplify(text, "-", HANDLE_BYTES)).ok()
    }
}

/// The name of a branch, tag or channel: `stable`, `feature/night-sky`, `v1.2`.
///
/// `[a-z0-9._/-]`, at most 64 bytes. Begins with a letter, so that `@stable` and `@1.2` are never confused; parts
/// between slashes begin and end with a letter or digit and contain no `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

text_type!(RefName, NameError, "a branch, tag or channel name");

impl RefName {
    /// Checks `text` against the grammar above.
    ///
    /// # Errors
    /// [`NameError`] with the first rule broken and where.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        grammar::reference(text).map_err(|(rule, at)| NameError { noun: "branch, tag or channel name", rule, at })?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The channel that people follow unless they say otherwise.
    #[must_use]
    pub fn stable() -> Self {
        Self("stable".to_owned())
    }

    /// The nearest name to what somebody wrote, for hints; `None` if nothing is left.
    #[must_use]
    pub fn nearest(text: &str) -> Option<Self> {
        Self::parse(&grammar::simplify(text, "._/-", REF_NAME_BYTES)).ok()
    }
}

#[cfg(test)]
mod tests;
