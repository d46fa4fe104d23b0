//! Versions and requirements: semantic versioning 2.0 as cargo reads it, without build metadata.
//!
//! One version has one spelling: `1.2.3+a` and `1.2.3+b` would be equal in precedence and different in text, and two
//! releases would both be "the" 1.2.3. Ordering is semver's precedence.

use crate::limits::{VERSION_BYTES, VERSION_REQ_BYTES};
use crate::text::text_type;

/// A release's version: `1.2.3`, `2.0.0-beta.1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

text_type!(Version, VersionError, "a semantic version like 1.2.3");

/// Which versions are wanted: `^1.2`, `=1.2.3`, `>=0.3, <0.5`, `*`. A bare `1.2` means `^1.2`, as in cargo.
///
/// As in cargo and npm a pre-release is matched only by a comparator that names a pre-release of the same
/// `major.minor.patch`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VersionReq(semver::VersionReq);

text_type!(VersionReq, VersionError, "a version requirement like ^1.2");

/// Why a text is not a version or requirement.
#[derive(Debug, PartialEq, Eq, Clone, thiserror::Error)]
pub enum VersionError {
    /// More bytes than allowed.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the text, or of its canonical form.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// `+…`: see the module's doc.
    #[error("build metadata (`+…`) is not part of a version")]
    BuildMetadata,
    /// Not semantic versioning 2.0.
    #[error("not a semantic version: {0}")]
    Version(String),
    /// Not a requirement.
    #[error("not a version requirement: {0}")]
    Requirement(String),
}

impl Version {
    /// `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// Parses the only spelling of a version.
    ///
    /// # Errors
    /// [`VersionError`]; leading zeros, missing numbers and build metadata are refused.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        bounded(text.len(), VERSION_BYTES)?;
        let version = semver::Version::parse(text).map_err(|error| VersionError::Version(error.to_string()))?;
        if version.build.is_empty() { Ok(Self(version)) } else { Err(VersionError::BuildMetadata) }
    }

    /// Whether this is a pre-release (`-beta.1`): selected only when asked for.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// `(major, minor, patch)`.
    #[must_use]
    pub const fn numbers(&self) -> (u64, u64, u64) {
        (self.0.major, self.0.minor, self.0.patch)
    }
}

impl VersionReq {
    /// Parses a requirement; it is printed and serialised in canonical form (`1.2` as `^1.2`, one space after commas).
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        bounded(text.len(), VERSION_REQ_BYTES)?;
        if text.contains('+') {
            return Err(VersionError::BuildMetadata);
        }
        let req = semver::VersionReq::parse(text).map_err(|error| VersionError::Requirement(error.to_string()))?;
        bounded(req.to_string().len(), VERSION_REQ_BYTES)?;
        Ok(Self(req))
    }

    /// Any version that is not a pre-release.
    #[must_use]
    pub const fn any() -> Self {
        Self(semver::VersionReq::STAR)
    }

    /// This version and no other.
    #[must_use]
    pub fn exactly(version: &Version) -> Self {
        Self(semver::VersionReq {
            comparators: vec![semver::Comparator {
                op: semver::Op::Exact,
                major: version.0.major,
                minor: Some(version.0.minor),
                patch: Some(version.0.patch),
                pre: version.0.pre.clone(),
            }],
        })
    }

    /// Whether `version` is wanted.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.0.matches(&version.0)
    }
}

fn bounded(len: usize, max: usize) -> Result<(), VersionError> {
    if len > max { Err(VersionError::TooLong { len, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_have_one_spelling() {
        for text in ["0.0.0", "1.2.3", "1.2.3-beta.1", "1.0.0-rc-1", "18446744073709551615.0.0"] {
            assert_eq!(version(text).to_string(), text);
        }
        for text in
            ["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3 ", " 1.2.3", "1.2.3-", "18446744073709551616.0.0"]
        {
            assert!(matches!(Version::parse(text), Err(VersionError::Version(_))), "{text:?}");
        }
        assert_eq!(Version::parse("1.2.3+a"), Err(VersionError::BuildMetadata));
        let long = format!("1.2.3-{}", "a".repeat(60));
        assert_eq!(Version::parse(&long), Err(VersionError::TooLong { len: 66, max: 64 }));
    }

    #[test]
    fn order_is_semver_precedence() {
        let sorted =
            ["0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0"];
        assert!(sorted.map(version).is_sorted_by(|a, b| a < b));
        assert!(version("1.0.0-a").is_prerelease() && !version("1.0.0").is_prerelease());
        assert_eq!(version("4.5.6-x").numbers(), (4, 5, 6));
    }

    #[test]
    fn requirements_match_as_in_cargo() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("=1.2.3", &["1.2.3"], &["1.2.4", "1.2.3-a", "1.2.2"]),
            ("^1.2", &["1.2.0", "1.9.9"], &["1.1.9", "2.0.0", "2.0.0-a", "1.3.0-a"]),
            ("1.2", &["1.2.0", "1.9.9"], &["2.0.0"]),
            ("^0.3", &["0.3.0", "0.3.9"], &["0.4.0", "1.0.0"]),
            (">=0.3, <0.5", &["0.3.0", "0.4.9"], &["0.2.9", "0.5.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0"]),
            ("*", &["0.0.0", "9.9.9"], &["1.0.0-a"]),
            ("1.*", &["1.0.0", "1.7.0"], &["2.0.0"]),
            (">=2.0.0-rc.1", &["2.0.0-rc.2", "2.0.0", "3.0.0"], &["2.0.0-beta", "2.1.0-rc.1"]),
        ];
        for (req, wanted, unwanted) in cases {
            let req = VersionReq::parse(req).unwrap();
            assert!(wanted.iter().all(|text| req.matches(&version(text))), "{req}");
            assert!(!unwanted.iter().any(|text| req.matches(&version(text))), "{req}");
        }
        assert!(VersionReq::any().matches(&version("1.0.0")));
        for text in ["1.2.3", "1.2.3-beta.1"] {
            let req = VersionReq::exactly(&version(text));
            assert_eq!(req.to_string(), format!("={text}"));
            assert_eq!(VersionReq::parse(&req.to_string()).unwrap(), req);
            assert!(req.matches(&version(text)));
        }
    }

    #[test]
    fn requirements_are_printed_in_one_form_and_bounded() {
        for (text, canonical) in
            [("1.2", "^1.2"), (">=0.3,<0.5", ">=0.3, <0.5"), (" = 1.2.3", "=1.2.3"), ("1.x", "1.*"), ("*", "*")]
        {
            let req = VersionReq::parse(text).unwrap();
            assert_eq!(req.to_string(), canonical);
            assert_eq!(VersionReq::parse(canonical).unwrap().to_string(), canonical);
        }
        for text in ["", "^", "stable", "1.2.3.4", ">1 <2", "1,,2"] {
            assert!(matches!(VersionReq::parse(text), Err(VersionError::Requirement(_))), "{text:?}");
        }
        assert_eq!(VersionReq::parse("=1.2.3+a"), Err(VersionError::BuildMetadata));
        // 124 bytes as written, 148 in canonical form.
        let many = [">123"; 25].join(",");
        assert_eq!(VersionReq::parse(&many), Err(VersionError::TooLong { len: 148, max: 128 }));
    }
}
