//! From a wish to a release, or to the reason why there is none.

use std::collections::BTreeSet;

use super::{PackageState, Published, RefState, Standing, VersionState};
use crate::entry::{RedactReason, RefClass};
use crate::id::{PackageId, ReleaseId};
use crate::name::RefName;
use crate::version::{Version, VersionReq};

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// Where a channel, tag or branch points.
    Ref(RefClass, RefName),
    /// The highest version that will do.
    Highest(VersionReq),
    /// One version.
    Version(Version),
    /// One release: what a lock file names. Yanks do not apply; redactions do.
    Release(ReleaseId),
}

/// The release that a wish means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Its id.
    pub release: ReleaseId,
    /// What its entry says, and who wrote it.
    pub published: &'a Published,
    /// What people should be told.
    pub warning: Option<Warning>,
}

/// What people should be told about a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The ref points to several places; this is the highest release among them and what they come from.
    Diverged {
        /// The places; none is a removal.
        tips: BTreeSet<Option<ReleaseId>>,
    },
    /// Named exactly, though it is yanked.
    Yanked,
    /// Named exactly, though its version is contested.
    Contested {
        /// All releases that claim the version.
        with: BTreeSet<ReleaseId>,
    },
}

/// Why a wish means no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such ref, or it was removed.
    #[error("no {class} `{name}`")]
    NoRef {
        /// What the ref is for.
        class: RefClass,
        /// Its name.
        name: RefName,
    },
    /// No such version.
    #[error("no version {0}")]
    NoVersion(Version),
    /// No version will do, not even a yanked or contested one.
    #[error("no version matches {0}")]
    NoMatch(VersionReq),
    /// No release of this package has this id, or what points to it is not accompanied by it.
    #[error("no release {}", .0.fmt_short())]
    NoRelease(ReleaseId),
    /// What would do is yanked; this is the highest.
    #[error("version {version} is yanked")]
    Yanked {
        /// The package, so that the release can be named in full.
        package: PackageId,
        /// Its version.
        version: Version,
        /// Its id.
        release: ReleaseId,
    },
    /// Its bytes are not handed out any more.
    #[error("version {version} was redacted by its owners ({reason})")]
    Redacted {
        /// The version.
        version: Version,
        /// Its id.
        release: ReleaseId,
        /// Why.
        reason: RedactReason,
    },
    /// Two writers published different files under the version.
    #[error("version {version} is contested by {} releases", .releases.len())]
    Contested {
        /// The version.
        version: Version,
        /// The releases that claim it.
        releases: BTreeSet<ReleaseId>,
    },
    /// The release is only in a part of a forked log that nothing fixes.
    #[error("version {version} was published in one of two histories that its writer signed")]
    Forked {
        /// The version.
        version: Version,
    },
    /// The release was published after the point up to which its writer counts.
    #[error("version {version} was published by somebody whose right was taken away before")]
    Revoked {
        /// The version.
        version: Version,
    },
    /// Its writer knew that the version was taken: it does not count.
    #[error("version {version} was already taken by release {}", .first.fmt_short())]
    Reused {
        /// The version.
        version: Version,
        /// The release that has it.
        first: ReleaseId,
    },
    /// The ref points to several places, none of which may be selected.
    #[error("the ref points to {} places, none of which can be installed", .tips.len())]
    Diverged {
        /// The places; none is a removal.
        tips: BTreeSet<Option<ReleaseId>>,
    },
}

impl PackageState {
    /// The release that `pick` means at this frontier.
    ///
    /// # Errors
    /// [`SelectError`].
    pub fn select(&self, pick: &Pick) -> Result<Selection<'_>, SelectError> {
        match pick {
            Pick::Ref(class, name) => {
                let no_ref = || SelectError::NoRef { class: *class, name: name.clone() };
                let state = self.refs.get(&(*class, name.clone())).ok_or_else(no_ref)?;
                self.select_ref(state)?.ok_or_else(no_ref)
            }
            Pick::Highest(req) => self.select_highest(req),
            Pick::Version(version) => self.select_version(version),
            Pick::Release(release) => self.select_exactly(*release),
        }
    }

    /// The highest selectable release among tips and common ancestors of a diverged ref; else the only tip.
    fn select_ref(&self, state: &RefState) -> Result<Option<Selection<'_>>, SelectError> {
        let tips = state.values();
        if !state.is_diverged() {
            return tips.first().copied().flatten().map(|tip| self.selectable(tip)).transpose();
        }
        let places = tips.iter().flatten().chain(&state.ancestors);
        let candidates = places.filter_map(|release| self.selectable(*release).ok());
        let rank = |selection: &Selection<'_>| (selection.published.release.version.clone(), selection.release);
        match candidates.max_by_key(rank) {
            None => Err(SelectError::Diverged { tips }),
            Some(best) => Ok(Some(Selection { warning: Some(Warning::Diverged { tips }), ..best })),
        }
    }

    fn select_highest(&self, req: &VersionReq) -> Result<Selection<'_>, SelectError> {
        let mut first_error = None;
        for version in self.versions.keys().rev().filter(|version| req.matches(version)) {
            match self.select_version(version) {
                Ok(selection) => return Ok(selection),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| SelectError::NoMatch(req.clone())))
    }

    fn select_version(&self, version: &Version) -> Result<Selection<'_>, SelectError> {
        let state = self.versions.get(version).ok_or_else(|| SelectError::NoVersion(version.clone()))?;
        match state {
            VersionState::Settled(release) => self.selectable(*release),
            VersionState::Contested(releases) => {
                Err(SelectError::Contested { version: version.clone(), releases: releases.clone() })
            }
            VersionState::Forked(_) => Err(SelectError::Forked { version: version.clone() }),
            VersionState::Revoked(_) => Err(SelectError::Revoked { version: version.clone() }),
        }
    }

    /// A release that nobody named exactly: neither yanked nor contested.
    fn selectable(&self, release: ReleaseId) -> Result<Selection<'_>, SelectError> {
        let selection = self.select_exactly(release)?;
        let version = selection.published.release.version.clone();
        match selection.warning {
            None => Ok(selection),
            Some(Warning::Contested { with }) => Err(SelectError::Contested { version, releases: with }),
            Some(Warning::Yanked | Warning::Diverged { .. }) => {
                Err(SelectError::Yanked { package: self.package, version, release })
            }
        }
    }

    fn select_exactly(&self, named: ReleaseId) -> Result<Selection<'_>, SelectError> {
        let published = self.releases.get(&named).ok_or(SelectError::NoRelease(named))?;
        let version = || published.release.version.clone();
        let mut warning = match published.standing {
            Standing::Settled | Standing::SameAs(_) | Standing::Contributed => None,
            Standing::Contested => match self.versions.get(&published.release.version) {
                Some(VersionState::Contested(with)) => Some(Warning::Contested { with: with.clone() }),
                _ => unreachable!("standings and versions are folded together"),
            },
            Standing::Reused(first) => return Err(SelectError::Reused { version: version(), first }),
            Standing::Forked => return Err(SelectError::Forked { version: version() }),
            Standing::Revoked => return Err(SelectError::Revoked { version: version() }),
        };
        if let Some(redacted) = self.redaction(&published.release) {
            return Err(SelectError::Redacted { version: version(), release: named, reason: redacted.reason });
        }
        if self.yanked.contains_key(&self.canonical(named)) {
            warning = warning.or(Some(Warning::Yanked));
        }
        Ok(Selection { release: named, published, warning })
    }
}
