//! What somebody asks to be published.

use std::path::PathBuf;

use syncra_protocol::manifest::{Manifest, PackageKind};
use syncra_protocol::name::PackageName;
use syncra_protocol::version::Version;

use super::super::checkout::{Base, Place};
use super::super::{Parts, resolve};
use super::PublishError;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory.
    pub dir: PathBuf,
    /// Name of a plain folder; the manifest's counts where there is one.
    pub name: Option<PackageName>,
    /// Kind of a plain folder.
    pub kind: Option<PackageKind>,
    /// Version of a plain folder; by default one patch above the last.
    pub version: Option<Version>,
    /// The branch or channel that will point to it; none: that of the checkout, else the channel `stable`.
    pub place: Option<Place>,
    /// What changed, for people.
    pub note: Option<String>,
    /// Paths (inside the package) that may hold what looks like a secret.
    pub allow_secrets: Vec<String>,
    /// Publish also where the package's history is not whole here: beside what is missing.
    pub incomplete: bool,
}

impl Request {
    /// To publish a directory as it says itself.
    #[must_use]
    pub const fn of(dir: PathBuf) -> Self {
        Self {
            dir,
            name: None,
            kind: None,
            version: None,
            place: None,
            note: None,
            allow_secrets: Vec::new(),
            incomplete: false,
        }
    }

    /// What is said of a plain folder may be said of one with a manifest too, if that says the same.
    pub(super) fn agrees(&self, manifest: &Manifest) -> Result<(), PublishError> {
        let header = &manifest.header;
        let said = [
            ("name", self.name.as_ref().map(ToString::to_string), header.name.to_string()),
            ("kind", self.kind.map(|kind| kind.as_str().to_owned()), header.kind.as_str().to_owned()),
            ("version", self.version.as_ref().map(ToString::to_string), header.version.to_string()),
        ];
        for (what, given, written) in said {
            if let Some(given) = given.filter(|given| *given != written) {
                return Err(PublishError::Contradicts { what, given, written });
            }
        }
        Ok(())
    }

    /// The manifest of a plain folder.
    pub(super) fn plain_manifest(&self, parts: &Parts, base: Option<&Base>) -> Result<Manifest, PublishError> {
        let missing = |missing| PublishError::Plain { dir: self.dir.clone(), missing };
        let (mut name, mut kind) = (self.name.clone(), self.kind);
        if let Some(base) = base {
            name = name.or(resolve::name_of(&parts.histories, base.package)?.map(|(_, name)| name));
            kind = kind.or(parts.histories.package(base.package)?.map(|history| history.state.genesis.kind));
        }
        let name = name.ok_or_else(|| missing("name"))?;
        let kind = kind.ok_or_else(|| missing("kind"))?;
        let version = self.version.clone().unwrap_or_else(|| Version::new(1, 0, 0));
        Ok(Manifest::plain(name, version, kind))
    }
}
