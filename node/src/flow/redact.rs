//! Redaction: the owners of a package take bytes away. Its history stays, and verifies; the bytes are neither given to
//! others nor fetched any more, and the next collection removes them. What is installed stays until its user removes it.

use std::collections::{HashMap, HashSet};

use syncra_protocol::entry::{Body, Redact, RedactReason, Release};
use syncra_protocol::fold::{Needs, OpenChange, PackageState, SelectError, VersionState};
use syncra_protocol::id::{BlobId, EntryId, PackageId, ReleaseId};
use syncra_protocol::limits::REDACTS_PER_LOG;
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::origin::Origin;
use syncra_protocol::reference::Selector;
use syncra_protocol::version::Version;

use super::Parts;
use super::resolve::Named;
use super::roles::{self, RolesError};
use crate::history::{Histories, LoadError, body_of};

/// Nobody is given these bytes, nor are they asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content was redacted by the owners of package {} ({reason})", .package.fmt_short())]
pub struct Refused {
    /// Whose owners say so.
    pub package: PackageId,
    /// Why.
    pub reason: RedactReason,
}

/// Every blob that is not given to anybody: some package that names it redacts it, and no other package that is known here
/// names it without that. The same bytes may be somebody else's to publish.
///
/// A package that cannot be read says nothing here.
#[must_use]
pub fn refused(histories: &Histories) -> HashMap<BlobId, Refused> {
    let known: Vec<_> =
        histories.packages().into_iter().filter_map(|id| histories.package(id).ok().flatten()).collect();
    refused_of(known.iter().map(|history| &history.state))
}

/// [`refused`], if these packages are all that are known.
pub(super) fn refused_of<'a>(states: impl Iterator<Item = &'a PackageState> + Clone) -> HashMap<BlobId, Refused> {
    let (mut refused, mut given) = (HashMap::new(), HashSet::new());
    if states.clone().all(|state| state.redacted.is_empty()) {
        return refused;
    }
    for state in states {
        let package = state.package;
        for blob in named(state) {
            match state.redacted.get(&blob) {
                Some(redacted) => drop(refused.insert(blob, Refused { package, reason: redacted.reason })),
                None => drop(given.insert(blob)),
            }
        }
    }
    refused.retain(|blob, _| !given.contains(blob));
    refused
}

/// [`refused`] of these blobs. Looks no further than it must: most are named by a package that gives them.
#[must_use]
pub fn refused_among(histories: &Histories, blobs: impl IntoIterator<Item = BlobId>) -> HashMap<BlobId, Refused> {
    let (mut open, mut refused): (HashSet<BlobId>, _) = (blobs.into_iter().collect(), HashMap::new());
    for package in histories.packages() {
        if open.is_empty() {
            break;
        }
        let Some(history) = histories.package(package).ok().flatten() else { continue };
        for blob in named(&history.state) {
            match history.state.redacted.get(&blob) {
                _ if !open.contains(&blob) => {}
                Some(redacted) => drop(refused.insert(blob, Refused { package, reason: redacted.reason })),
                None => {
                    refused.remove(&blob);
                    open.remove(&blob);
                }
            }
        }
    }
    refused
}

/// Refuses bytes that were redacted.
///
/// # Errors
/// [`Refused`].
pub fn ensure_given(histories: &Histories, blob: BlobId) -> Result<(), Refused> {
    refused_among(histories, [blob]).remove(&blob).map_or(Ok(()), Err)
}

/// The blobs that the entry of a release names: content, manifest, note.
pub(super) fn of_release(release: &Release) -> impl Iterator<Item = BlobId> + use<> {
    [Some(release.content_root.into()), Some(release.manifest), release.note].into_iter().flatten()
}

/// The blobs that the entries of a package name.
fn named(state: &PackageState) -> impl Iterator<Item = BlobId> {
    let of_releases = state.releases.values().flat_map(|published| of_release(&published.release));
    of_releases.chain(state.yanked.values().filter_map(|yank| yank.reason))
}

/// What is to be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Only the texts about the release: its note, and why it was yanked.
    pub only_texts: bool,
    /// Why.
    pub reason: RedactReason,
}

/// What was taken away, or waits for other owners.
#[derive(Debug, Clone)]
pub struct Redacted {
    /// The release.
    pub release: ReleaseId,
    /// Its version.
    pub version: Version,
    /// What is not given to anybody any more.
    pub blobs: Vec<BlobId>,
    /// Channels, tags and branches that point to it.
    pub refs: Vec<String>,
    /// It was so before, or said before.
    pub already: bool,
    /// Whether it has taken effect.
    pub in_effect: bool,
    /// The entry that other owners agree to, as long as it waits.
    pub change: Option<EntryId>,
    /// Who must still agree.
    pub needs: Vec<Needs>,
    /// The head of this device's log, if it grew.
    pub checkpoint: Option<Checkpoint>,
}

/// Why nothing was redacted.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// A package was named, not one of its releases.
    #[error("`{0}` names no single release")]
    NoRelease(String),
    /// There is no such release.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The release has neither a note nor a reason.
    #[error("version {0} has no texts of its own")]
    NoTexts(Version),
    /// No more of this device's redactions are heeded.
    #[error("this device has redacted {REDACTS_PER_LOG} times in `{0}`, and no more of one device counts")]
    TooMany(String),
    /// Only owners redact.
    #[error(transparent)]
    Roles(#[from] RolesError),
}

/// Takes away the bytes of the release that is named, as far as this owner's word goes. With `dry_run` nothing is written.
///
/// # Errors
/// [`RedactError`].
pub async fn redact(parts: &Parts, named: &Named, wanted: Wanted, dry_run: bool) -> Result<Redacted, RedactError> {
    let state = &named.history.state;
    let release = release_of(named)?;
    roles::ensure_owner(parts, named)?;
    let entry = &state.releases[&release].release;
    let reasons = state.yanked.get(&state.canonical(release)).and_then(|yank| yank.reason);
    let texts = entry.note.into_iter().chain(reasons.filter(|_| wanted.only_texts));
    let content = [entry.content_root.into(), entry.manifest].into_iter().filter(|_| !wanted.only_texts);
    let mut blobs: Vec<BlobId> = content.chain(texts).collect();
    blobs.sort_unstable();
    blobs.dedup();
    if blobs.is_empty() {
        return Err(RedactError::NoTexts(entry.version.clone()));
    }
    let points = |(_, known): &(&_, &syncra_protocol::fold::RefState)| known.values().contains(&Some(release));
    let refs = state.refs.iter().filter(points).map(|((class, name), _)| format!("{class} `{name}`")).collect();
    let done = Redacted {
        release,
        version: entry.version.clone(),
        blobs: blobs.clone(),
        refs,
        already: false,
        in_effect: false,
        change: None,
        needs: Vec::new(),
        checkpoint: None,
    };
    if blobs.iter().all(|blob| state.redacted.contains_key(blob)) {
        return Ok(Redacted { already: true, in_effect: true, ..done });
    }
    // Another owner's proposal of the same is agreed to: two of them would each wait for the other.
    let is_same = |open: &&syncra_protocol::fold::Open| match &open.change {
        OpenChange::Redact(redact) => blobs.iter().all(|blob| redact.blobs.contains(blob)),
        OpenChange::Roles(_) | OpenChange::Ref(_) | OpenChange::ForkResolve(_) => false,
    };
    let said = match state.open.iter().find(is_same) {
        Some(open) => roles::endorse(parts, named, &open.entry.to_string(), dry_run).await?,
        None if n_written(parts, named)? >= REDACTS_PER_LOG => {
            return Err(RedactError::TooMany(named.reference.clone()));
        }
        None if dry_run => return Ok(done),
        None => {
            let body = Body::Redact(Redact { blobs, reason: wanted.reason });
            roles::write(parts, state.package, parts.histories.seen(&named.history), body).await?
        }
    };
    let roles::Said { change, already, in_effect, needs, checkpoint, .. } = said;
    Ok(Redacted { change: change.filter(|_| !in_effect), already, in_effect, needs, checkpoint, ..done })
}

/// How many redactions of the package this device has written.
fn n_written(parts: &Parts, named: &Named) -> Result<usize, RolesError> {
    let own = Origin::package(named.history.state.package, parts.device);
    let size = named.history.evidence.size(&own);
    if size <= REDACTS_PER_LOG as u64 {
        return Ok(0); // one entry is no redaction, so there are fewer
    }
    let entries = parts.histories.entries(&own, 0, size).map_err(LoadError::from)?;
    Ok(entries.iter().filter(|entry| matches!(body_of(entry.as_ref()), Some(Body::Redact(_)))).count())
}

/// The release that is named, whatever became of it: also what may not be installed may have to go.
fn release_of(named: &Named) -> Result<ReleaseId, RedactError> {
    let state = &named.history.state;
    match &named.selector {
        Some(Selector::Release(release)) => match state.releases.contains_key(release) {
            true => Ok(*release),
            false => Err(SelectError::NoRelease(*release).into()),
        },
        Some(Selector::Version(version)) => match state.versions.get(version) {
            None => Err(SelectError::NoVersion(version.clone()).into()),
            Some(VersionState::Settled(release)) => Ok(*release),
            Some(
                VersionState::Contested(releases) | VersionState::Forked(releases) | VersionState::Revoked(releases),
            ) => match releases.first() {
                Some(release) if releases.len() == 1 => Ok(*release),
                _ => Err(SelectError::Contested { version: version.clone(), releases: releases.clone() }.into()),
            },
        },
        Some(Selector::Req(_) | Selector::Channel(_)) | None => Err(RedactError::NoRelease(named.reference.clone())),
    }
}
