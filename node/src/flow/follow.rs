//! Following packages: what the user wants to be kept up to date unasked, and what stands in the way of it.
//!
//! A follow is a record of the journal. Everything else is worked out from what is known: which release is meant now,
//! whether it may be installed without asking, and what is missing for that. The task that acts on it is in
//! `node/follows.rs`; `status` and `follow` only look.

use syncra_protocol::entry::Release;
use syncra_protocol::fold::{PackageState, SelectError, Selection, Warning};
use syncra_protocol::id::{ContentRoot, PackageId, ReleaseId};
use syncra_protocol::limits::WATCHED_PACKAGES;
use syncra_protocol::manifest::Permissions;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::{ReferenceFault, Selector};
use syncra_protocol::version::Version;

use super::install::{self, Change, InstallError, KeptBy, Plan, Request};
use super::release::{self, ReleaseError};
use super::{Parts, content, resolve};
use crate::blobs::{self, BlobError, Blobs};
use crate::event::Event;
use crate::history::LoadError;
use crate::installed::{InstalledError, Slot};
use crate::journal::{self, Follow, Unfollow};

/// What a follow is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The package.
    pub package: PackageId,
    /// The channel; none for what `add` was told, else the default one.
    pub channel: Option<RefName>,
}

/// Where a followed package stands.
#[derive(Debug)]
pub enum Standing {
    /// Nothing is known of the package, or it has nothing to install yet.
    Waiting,
    /// What is meant is installed.
    Current,
    /// `add` was told exactly one release, and a follow does not overrule that.
    Fixed,
    /// A release is known and not installed yet.
    Behind {
        /// Its version.
        version: Version,
        /// What has to be done next.
        next: Next,
    },
    /// A release is known that nobody installs without being asked.
    Refused {
        /// Its version, if a release is meant at all.
        version: Option<Version>,
        /// Why.
        why: Objection,
    },
}

/// What an update needs before it can be judged or done.
#[derive(Debug)]
pub enum Next {
    /// The history of a package that the release needs.
    History(PackageId),
    /// The manifest of a release.
    Manifest(Box<Release>),
    /// Nothing: it may be installed.
    Install(Box<Plan>),
}

/// Why a release is not installed unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// No release may be selected, for instance because the newest was yanked.
    Select(SelectError),
    /// It could be selected, with a warning.
    Doubt(Warning),
    /// It is older than what is installed.
    Older,
    /// It was installed before, and the user went back from it.
    LeftBefore,
    /// It asks for more than the installed release.
    Permissions {
        /// The package that asks: the followed one, or one that it needs.
        reference: String,
        /// What for.
        beyond: Vec<String>,
    },
    /// It does not go together with what else is installed.
    Needs(String),
    /// The reader's policy about witnesses; time alone may settle that.
    Unwitnessed(String),
    /// The user blocks an owner.
    Blocked,
}

/// Why a follow could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// More packages than a node watches.
    #[error("{WATCHED_PACKAGES} packages are followed already")]
    TooMany,
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::AppendError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What is installed cannot be read.
    #[error(transparent)]
    Installed(#[from] InstalledError),
    /// A selector in a generation file that cannot be read.
    #[error("the installed selection of a package cannot be read")]
    Selector(#[from] ReferenceFault),
    /// A plan could not be made.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A manifest that is held cannot be read.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
}

impl Objection {
    /// The reason in words.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Select(error) => error.to_string(),
            Self::Doubt(warning) => resolve::warning(warning),
            Self::Older => "the channel points to an older release than the installed one".to_owned(),
            Self::LeftBefore => "it was installed before, and you went back from it".to_owned(),
            Self::Permissions { reference, beyond } => format!("{reference} asks for more: {}", beyond.join(", ")),
            Self::Needs(reason) | Self::Unwitnessed(reason) => reason.clone(),
            Self::Blocked => "you block its owner".to_owned(),
        }
    }

    /// What to do, for a package that people name so.
    #[must_use]
    pub fn hint(&self, reference: &str) -> String {
        match self {
            Self::Select(_) | Self::Doubt(_) => format!("see `syncra info {reference}`"),
            Self::Older | Self::LeftBefore | Self::Permissions { .. } => {
                format!("`syncra update {reference}` installs it all the same")
            }
            Self::Unwitnessed(_) => "it is tried again by itself; see `syncra witness list`".to_owned(),
            Self::Blocked => "`syncra block` shows whom you block".to_owned(),
            Self::Needs(_) => format!("see `syncra update {reference} --dry-run`"),
        }
    }
}

/// Everything that is followed, by package.
#[must_use]
pub fn list(parts: &Parts) -> Vec<Followed> {
    let truth = parts.histories.journal().truth();
    let follows = truth.follows().map(|(package, channel)| {
        let channel = channel.and_then(|channel| RefName::parse(channel).ok());
        Followed { package: *package, channel }
    });
    follows.collect()
}

/// One follow, if the package is followed.
#[must_use]
pub fn get(parts: &Parts, package: PackageId) -> Option<Followed> {
    list(parts).into_iter().find(|followed| followed.package == package)
}

/// Follows a package from now on, or along another channel. False if it was so before.
///
/// # Errors
/// [`FollowError`].
pub async fn follow(parts: &Parts, followed: &Followed) -> Result<bool, FollowError> {
    let known = list(parts);
    if known.contains(followed) {
        return Ok(false);
    }
    if known.len() >= WATCHED_PACKAGES && !known.iter().any(|known| known.package == followed.package) {
        return Err(FollowError::TooMany);
    }
    let channel = followed.channel.as_ref().map(ToString::to_string);
    let record = Follow { package: followed.package, channel: channel.clone() };
    parts.histories.journal().append(record).await?;
    parts.emit(Event::Followed { package: followed.package, channel });
    Ok(true)
}

/// Follows a package no more. False if it was not followed. What is installed stays.
///
/// # Errors
/// [`FollowError`].
pub async fn unfollow(parts: &Parts, package: PackageId) -> Result<bool, FollowError> {
    if get(parts, package).is_none() {
        return Ok(false);
    }
    parts.histories.journal().append(Unfollow { package }).await?;
    parts.emit(Event::Unfollowed { package });
    Ok(true)
}

/// Where a followed package stands, with what is known and held now. Asks nobody and changes nothing.
///
/// # Errors
/// [`FollowError`].
pub async fn standing(parts: &Parts, followed: &Followed) -> Result<Standing, FollowError> {
    let package = followed.package;
    let Some(history) = parts.histories.package(package)? else { return Ok(Standing::Waiting) };
    let installed = parts.installed.current()?.packages.remove(&package);
    let aim = Aim::of(followed, installed.as_ref())?;
    if let Aim::Fixed = aim {
        return Ok(Standing::Fixed);
    }
    let refused = |version, why| Ok(Standing::Refused { version, why });
    if parts.is_blocked(&history.state) {
        return refused(None, Objection::Blocked);
    }
    let selection = match resolve::release(&history.state, aim.selector()) {
        Ok(selection) => selection,
        Err(SelectError::NoRef { .. } | SelectError::NoVersion(_) | SelectError::NoMatch(_)) => {
            return Ok(Standing::Waiting);
        }
        Err(error) => return refused(version_of(&error), Objection::Select(error)),
    };
    let version = selection.published.release.version.clone();
    let wanted = history.state.canonical(selection.release);
    if installed.as_ref().is_some_and(|slot| slot.release == wanted) {
        return Ok(Standing::Current);
    }
    if let Some(why) = objection(parts, &selection, wanted, package, installed.as_ref())? {
        return refused(Some(version), why);
    }
    let plan = match install::plan(parts, &aim.request(package)).await {
        Ok(plan) => plan,
        Err(InstallError::Content(content::ContentError::UnknownPackage(needed))) => {
            return Ok(Standing::Behind { version, next: Next::History(needed) });
        }
        Err(InstallError::Blocked { reference }) => {
            return refused(
                Some(version),
                Objection::Needs(format!("you block the owner of {reference}, which it needs")),
            );
        }
        Err(error @ (InstallError::Conflict { .. } | InstallError::Unsettled | InstallError::Select { .. })) => {
            return refused(Some(version), Objection::Needs(error.to_string()));
        }
        Err(InstallError::Unwitnessed { reference, version: of, source }) => {
            return refused(Some(version), Objection::Unwitnessed(format!("{reference} {of}: {source}")));
        }
        Err(error) => return Err(error.into()),
    };
    let unwitnessed = plan.kept.iter().find(|kept| matches!(kept.why, KeptBy::Unwitnessed { .. }));
    if let Some(kept) = unwitnessed {
        return refused(Some(version), Objection::Unwitnessed(format!("{} {}", kept.reference, kept.why)));
    }
    let moves = plan.changes.iter().any(|change| change.to.as_ref().is_some_and(|slot| slot.release == wanted));
    if !moves || !plan.cautions.is_empty() {
        let others = plan
            .cautions
            .iter()
            .map(|caution| format!("{}: {}", caution.reference, resolve::warning(&caution.warning)));
        let kept = plan.kept.iter().map(|kept| format!("{}: {}", kept.reference, kept.why));
        let reasons: Vec<String> = others.chain(kept).collect();
        let reason =
            if reasons.is_empty() { "other packages need another release".to_owned() } else { reasons.join(", ") };
        return refused(Some(version), Objection::Needs(reason));
    }
    Ok(match permitted(parts, package, &plan).await? {
        Permitted::Yes => Standing::Behind { version, next: Next::Install(Box::new(plan)) },
        Permitted::Unknown(release) => Standing::Behind { version, next: Next::Manifest(release) },
        Permitted::No(why) => Standing::Refused { version: Some(version), why },
    })
}

/// The content that following a package keeps from collection: what is meant now.
#[must_use]
pub fn content_root(state: &PackageState, followed: &Followed, installed: Option<&Slot>) -> Option<ContentRoot> {
    let aim = Aim::of(followed, installed).ok()?;
    let selection = resolve::release(state, aim.selector()).ok()?;
    Some(selection.published.release.content_root)
}

/// What a follow goes after.
enum Aim {
    /// A channel that was named.
    Channel(Selector),
    /// What `add` was told: a channel or a requirement.
    AsAdded(Selector),
    /// What `add` takes without being told: the package is not there, or only because others need it.
    Default,
    /// Nothing: one release was asked for.
    Fixed,
}

impl Aim {
    fn of(followed: &Followed, installed: Option<&Slot>) -> Result<Self, ReferenceFault> {
        if let Some(channel) = &followed.channel {
            return Ok(Self::Channel(Selector::Channel(channel.clone())));
        }
        let Some(selector) = installed.and_then(|slot| slot.selector.as_deref()) else { return Ok(Self::Default) };
        Ok(match Selector::parse(selector)? {
            Selector::Version(_) | Selector::Release(_) => Self::Fixed,
            selector @ (Selector::Channel(_) | Selector::Req(_)) => Self::AsAdded(selector),
        })
    }

    const fn selector(&self) -> Option<&Selector> {
        match self {
            Self::Channel(selector) | Self::AsAdded(selector) => Some(selector),
            Self::Default | Self::Fixed => None,
        }
    }

    fn request(&self, package: PackageId) -> Request {
        match self {
            Self::Channel(selector) => Request::Add { package, selector: Some(selector.clone()) },
            Self::AsAdded(_) => Request::Update(Some(package)),
            Self::Default | Self::Fixed => Request::Add { package, selector: None },
        }
    }
}

fn version_of(error: &SelectError) -> Option<Version> {
    match error {
        SelectError::Yanked { version, .. }
        | SelectError::Redacted { version, .. }
        | SelectError::Contested { version, .. }
        | SelectError::Forked { version }
        | SelectError::Revoked { version }
        | SelectError::Reused { version, .. } => Some(version.clone()),
        SelectError::NoRef { .. }
        | SelectError::NoVersion(_)
        | SelectError::NoMatch(_)
        | SelectError::NoRelease(_)
        | SelectError::Diverged { .. } => None,
    }
}

/// What speaks against a release before anything of it is fetched.
fn objection(
    parts: &Parts,
    selection: &Selection<'_>,
    wanted: ReleaseId,
    package: PackageId,
    installed: Option<&Slot>,
) -> Result<Option<Objection>, InstalledError> {
    if let Some(warning) = &selection.warning {
        return Ok(Some(Objection::Doubt(warning.clone())));
    }
    if installed.is_some_and(|slot| selection.published.release.version < slot.version) {
        return Ok(Some(Objection::Older));
    }
    let current = parts.installed.current_number()?;
    let had = |number: &u64| parts.installed.had(*number, package, wanted);
    // What is not installed at all may have been removed long ago and wanted again; only who stands before it went back.
    // One that was never in force is no sign of anybody's wish.
    let reached = parts.installed.reached()?;
    let others = parts.installed.numbers()?.into_iter().filter(|number| *number <= reached);
    let others: Vec<u64> = match installed {
        Some(_) => others.filter(|number| *number != current).collect(),
        None => others.filter(|number| *number > current).collect(),
    };
    Ok(others.iter().any(had).then_some(Objection::LeftBefore))
}

enum Permitted {
    Yes,
    No(Objection),
    Unknown(Box<Release>),
}

/// Whether nothing in the plan asks for more than what it replaces. The followed package itself may ask for what it likes
/// when it comes for the first time: the user named it.
async fn permitted(parts: &Parts, followed: PackageId, plan: &Plan) -> Result<Permitted, FollowError> {
    let blobs = parts.blobs().await?;
    for Change { package, from, to } in &plan.changes {
        let Some(to) = to else { continue };
        let now = match permissions(parts, blobs, *package, to.release).await? {
            Asked::For(permissions) => permissions,
            Asked::Unread(release) => return Ok(Permitted::Unknown(release)),
        };
        let before = match from {
            None if *package == followed => continue,
            None => Permissions::default(),
            Some(from) => match permissions(parts, blobs, *package, from.release).await? {
                Asked::For(permissions) => permissions,
                // Installed and its words not held: whatever is asked for now counts as more.
                Asked::Unread(_) => Permissions::default(),
            },
        };
        let beyond = now.beyond(&before);
        if !beyond.is_empty() {
            return Ok(Permitted::No(Objection::Permissions { reference: to.reference.clone(), beyond }));
        }
    }
    Ok(Permitted::Yes)
}

/// What a change asks for beyond what it replaces, of each package that asks for more, in words; none: that is not known here.
///
/// # Errors
/// [`FollowError`].
pub async fn asks(
    parts: &Parts,
    changes: &[Change],
    patience: std::time::Duration,
) -> Result<Vec<(PackageId, Option<Vec<String>>)>, FollowError> {
    let blobs = parts.blobs().await?;
    let mut found = Vec::new();
    for Change { package, from, to } in changes {
        let Some(to) = to else { continue };
        let mut now = permissions(parts, blobs, *package, to.release).await?;
        if let (Asked::Unread(of), Some(online)) = (&now, parts.online()) {
            // That nobody gives it is told as not known.
            drop(super::reach::manifest_of(parts, online, of, patience).await);
            now = permissions(parts, blobs, *package, to.release).await?;
        }
        let before = match from {
            None => Permissions::default(),
            Some(from) => match permissions(parts, blobs, *package, from.release).await? {
                Asked::For(permissions) => permissions,
                Asked::Unread(_) => Permissions::default(),
            },
        };
        let beyond = match now {
            Asked::For(permissions) => Some(permissions.beyond(&before)),
            Asked::Unread(_) => None,
        };
        if beyond.as_ref().is_none_or(|beyond| !beyond.is_empty()) {
            found.push((*package, beyond));
        }
    }
    Ok(found)
}

enum Asked {
    For(Permissions),
    Unread(Box<Release>),
}

async fn permissions(parts: &Parts, blobs: &Blobs, package: PackageId, id: ReleaseId) -> Result<Asked, FollowError> {
    let history = parts.histories.package(package)?;
    let published = history.as_ref().and_then(|history| history.state.releases.get(&id));
    let Some(published) = published else { return Ok(Asked::For(Permissions::default())) };
    match release::manifest(blobs, &published.release).await {
        Ok(manifest) => Ok(Asked::For(manifest.permissions().clone())),
        Err(ReleaseError::Blob(BlobError::Missing(_))) => Ok(Asked::Unread(Box::new(published.release.clone()))),
        Err(error) => Err(error.into()),
    }
}
