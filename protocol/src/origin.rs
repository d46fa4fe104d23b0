//! What a log is called: the first line of its checkpoints (C2SP tlog-checkpoint) and the name of its key.
//!
//! `syncra/pkg/<package id>/<log key>` or `syncra/id/<identity id>/<log key>`. `syncra/priv/…` is reserved.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{IdError, IdentityId, PackageId};
use crate::key::DeviceKey;

/// What a log speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A package's history.
    Package(PackageId),
    /// A person's or team's history.
    Identity(IdentityId),
}

/// One log: what it speaks about and whose it is. One key, one log per subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// What the log speaks about.
    pub subject: Subject,
    /// The only key that may sign its checkpoints.
    pub key: DeviceKey,
}

/// Why a line is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Neither `syncra/pkg/…/…` nor `syncra/id/…/…`.
    #[error("not a `syncra/pkg/…` or `syncra/id/…` origin")]
    Form,
    /// One of the two ids is malformed.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Origin {
    /// The log of `key` in `package`.
    #[must_use]
    pub const fn package(package: PackageId, key: DeviceKey) -> Self {
        Self { subject: Subject::Package(package), key }
    }

    /// The log of `key` in `identity`.
    #[must_use]
    pub const fn identity(identity: IdentityId, key: DeviceKey) -> Self {
        Self { subject: Subject::Identity(identity), key }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Package(id) => write!(f, "syncra/pkg/{id}/{}", self.key),
            Subject::Identity(id) => write!(f, "syncra/id/{id}/{}", self.key),
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let rest = text.strip_prefix("syncra/").ok_or(OriginError::Form)?;
        let (class, rest) = rest.split_once('/').ok_or(OriginError::Form)?;
        let (id, key) = rest.split_once('/').ok_or(OriginError::Form)?;
        let subject = match class {
            "pkg" => Subject::Package(id.parse()?),
            "id" => Subject::Identity(id.parse()?),
            _ => return Err(OriginError::Form),
        };
        Ok(Self { subject, key: key.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_nothing_else_parses() {
        let key = DeviceKey::from_bytes([3; 32]);
        for origin in [
            Origin::package(PackageId::from_bytes([1; 32]), key),
            Origin::identity(IdentityId::from_bytes([2; 32]), key),
        ] {
            let text = origin.to_string();
            assert_eq!(text.parse(), Ok(origin));
            assert!(format!("{text}/").parse::<Origin>().is_err());
            assert!(text.replace("syncra/", "syncra/priv/").parse::<Origin>().is_err());
            assert!(text.to_uppercase().parse::<Origin>().is_err());
        }
    }
}
