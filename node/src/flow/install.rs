//! Changing what is installed: a plan first, then fetch, unpack beside the old, and one switch of the pointer.
//!
//! Only releases of verified histories are installed; their directories must be the declared ones, and every file is
//! hashed after it was written. A process that dies leaves the old generation in force, and the same call again
//! converges: what is unpacked already is taken when its files are what was published.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use syncra_protocol::fold::SelectError;
use syncra_protocol::id::{PackageId, ReleaseId};
use syncra_protocol::path::EntryPath;
use syncra_protocol::reference::{ReferenceFault, Selector};
use syncra_protocol::version::Version;

use super::Parts;
use super::content::{self, ContentError, Fetched};
use super::release::ReleaseError;
use super::unpack::UnpackError;
use crate::blobs::{self, BlobError};
use crate::clock;
use crate::durable::WriteError;
use crate::event::Event;
use crate::history::LoadError;
use crate::installed::{Generation, InstalledError, Slot, Staging};
use crate::progress::Progress;
use crate::witness::Unwitnessed;

mod closure;
mod mend;
mod place;
mod plan;
#[cfg(test)]
mod tests;

pub use closure::Caution;
pub use mend::mend;
pub use plan::{Change, Kept, KeptBy, Plan, Why, plan, why};

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Installs a package, or another release of an installed one.
    Add {
        /// The package.
        package: PackageId,
        /// Which release; `None`: what the channel `stable` points to, else the highest version.
        selector: Option<Selector>,
    },
    /// Selects anew what is installed: one package, or all.
    Update(Option<PackageId>),
    /// Takes a package away.
    Remove(PackageId),
    /// Goes back to the generation before the one in force.
    Rollback,
    /// Goes back to, or forward to, a generation that is still kept.
    RollbackTo(u64),
    /// Goes back with one package: to the release that was installed before its present one.
    RollbackPackage(PackageId),
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The generation in force.
    pub generation: u64,
    /// What changed; needed packages before those that need them.
    pub changes: Vec<Change>,
    /// What people should be told.
    pub cautions: Vec<Caution>,
    /// Packages that stay as they are, though they were to be updated.
    pub kept: Vec<Kept>,
    /// What it took to have the content here.
    pub fetched: Fetched,
    /// What lay unpacked here and was not what was published any more.
    pub mended: Vec<Mended>,
}

/// A release that was unpacked again, because its files were not what was published any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The release, for people.
    pub reference: String,
    /// Where the wrong files are now; none if there were none at all.
    pub aside: Option<PathBuf>,
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.aside {
            Some(aside) => write!(
                f,
                "{} was unpacked again, for its files were not what was published; they are in {}",
                self.reference,
                aside.display()
            ),
            None => write!(f, "{} was unpacked again, for its files were gone", self.reference),
        }
    }
}

/// Why what is installed was not changed. The generation in force is the old one.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No release is meant.
    #[error("no release of {reference} can be installed")]
    Select {
        /// The package.
        reference: String,
        /// Why not.
        source: Box<SelectError>,
    },
    /// The reader's policy about witnesses.
    #[error("{reference} {version} is not installed: {source}")]
    Unwitnessed {
        /// The package.
        reference: String,
        /// The version that would be installed.
        version: Version,
        /// What the policy has against it.
        source: Unwitnessed,
    },
    /// The user blocks an owner.
    #[error("{reference} is not installed: you block its owner")]
    Blocked {
        /// The package.
        reference: String,
    },
    /// Two packages need versions of a third that exclude each other.
    #[error("{package} is needed in versions that exclude each other: {}", .wishes.join(", "))]
    Conflict {
        /// The package that both need.
        package: String,
        /// Who needs what.
        wishes: Vec<String>,
    },
    /// What a package needs changed from round to round.
    #[error("the packages' needs do not settle")]
    Unsettled,
    /// The package is not installed.
    #[error("package {0} is not installed")]
    NotInstalled(PackageId),
    /// Another installed package needs it.
    #[error("{package} is needed by {}", .by.join(", "))]
    StillNeeded {
        /// The package.
        package: String,
        /// Who needs it.
        by: Vec<String>,
    },
    /// Nothing came before.
    #[error("there is nothing to go back to")]
    NothingBefore,
    /// Too little space for what is to be unpacked.
    #[error("the install needs {needed_bytes} bytes, and {free_bytes} are free")]
    NoRoom {
        /// Bytes needed.
        needed_bytes: u64,
        /// Bytes free.
        free_bytes: u64,
    },
    /// Something else was installed or removed meanwhile.
    #[error("what is installed changed meanwhile")]
    Changed,
    /// A file of the release is not the one that its author declared.
    #[error("the file `{path}` of {reference} is not the one that was declared")]
    WrongFile {
        /// The package.
        reference: String,
        /// The file.
        path: EntryPath,
    },
    /// A selector in a generation file that cannot be read.
    #[error("the installed selection of a package cannot be read")]
    Selector(#[from] ReferenceFault),
    /// Content or history are not here.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The release's content does not fit its entry, or is not held.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The files cannot be written.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The generations.
    #[error(transparent)]
    Installed(#[from] InstalledError),
    /// The disk refuses.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl InstallError {
    /// True if freeing space helps.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::Unpack(error) => error.is_disk_full(),
            Self::Write(error) | Self::Installed(InstalledError::Write(error)) => error.is_disk_full(),
            Self::Blob(error) => error.is_disk_full(),
            Self::Release(error) => error.is_disk_full(),
            Self::OpenBlobs(error) => error.is_disk_full(),
            Self::Content(error) => error.is_disk_full(),
            Self::Load(error) => error.is_disk_full(),
            _ => false,
        }
    }
}

/// Plans and applies; plans anew when something else was installed meanwhile.
///
/// # Errors
/// [`InstallError`].
pub async fn run(parts: &Parts, request: &Request, progress: &Progress) -> Result<Done, InstallError> {
    loop {
        let plan = plan(parts, request).await?;
        match apply(parts, plan, progress).await {
            Err(InstallError::Changed) => tracing::debug!("planning anew: another install came first"),
            done => return done,
        }
    }
}

/// Applies a plan: fetch, unpack, switch, tell.
///
/// # Errors
/// [`InstallError`]; [`InstallError::Changed`] when the plan was made for another generation than the one in force.
pub async fn apply(parts: &Parts, plan: Plan, progress: &Progress) -> Result<Done, InstallError> {
    let done = try_apply(parts, plan, progress).await;
    if done.as_ref().is_err_and(InstallError::is_disk_full) {
        parts.relieve_full_disk();
    }
    done
}

async fn try_apply(parts: &Parts, plan: Plan, progress: &Progress) -> Result<Done, InstallError> {
    let damaged = mend::damaged(parts, &plan, progress).await;
    let is_damaged = |release: ReleaseId| damaged.iter().any(|(_, slot)| slot.release == release);
    let absent: Vec<_> = plan.absent(parts).into_iter().chain(damaged.iter().cloned()).collect();
    let needed_bytes = absent.iter().map(|(_, slot)| slot.total_bytes).sum();
    place::check_room(parts.layout(), needed_bytes)?;
    let mut fetched = Fetched::default();
    // Held until the switch: from then on the generation keeps the blobs.
    let mut pins = None;
    let mut releases = Vec::with_capacity(absent.len());
    for (package, slot) in absent {
        let pins = match &pins {
            Some(pins) => pins,
            None => pins.insert(parts.blobs().await?.pins()),
        };
        let release = release_of(parts, package, slot.release).await?;
        let (cost, staged) = place::obtain(parts, &release, pins, plan.patience, progress).await?;
        fetched = fetched.plus(cost);
        releases.push((slot, release, staged));
    }
    for (package, slot) in &plan.doubted {
        if releases.iter().all(|(coming, ..)| coming.release != slot.release) {
            fetched = fetched.plus(mend::complete(parts, *package, slot, plan.patience, progress).await?);
        }
    }
    let turn = parts.installed.turn().await;
    // A pointer that cannot be read was planned around, or the plan would not be there.
    if parts.installed.current_number().unwrap_or_default() != plan.base.generation || gone(parts, &plan, &releases)? {
        return Err(InstallError::Changed);
    }
    let mut mended = Vec::new();
    for (slot, release, staged) in releases {
        // Another call may have unpacked it while this one fetched.
        if !parts.installed.has(slot.release) || is_damaged(slot.release) {
            let pins = pins.as_ref().expect("made for the first release");
            let aside = place::unpack(parts, &turn, (&slot, &release), staged, pins, progress).await?;
            let package = damaged.iter().find(|(_, damaged)| damaged.release == slot.release);
            mended.extend(package.map(|(package, slot)| mend::mended(parts, *package, slot, aside)));
        }
    }
    let generation = match plan.target {
        plan::Target::Kept(number) => {
            turn.point_to(number)?;
            number
        }
        plan::Target::New if plan.next == plan.base.packages => plan.base.generation,
        plan::Target::New => turn.switch(plan.next)?.generation,
    };
    drop(turn);
    drop(pins);
    tell(parts, &plan.base, generation, &plan.changes);
    Ok(Done { generation, changes: plan.changes, cautions: plan.cautions, kept: plan.kept, fetched, mended })
}

/// Whether a collection took something meanwhile that the plan counts on: a release that was unpacked, or the generation that
/// is to be in force again.
fn gone(
    parts: &Parts,
    plan: &Plan,
    coming: &[(Slot, syncra_protocol::entry::Release, Option<Staging>)],
) -> Result<bool, InstalledError> {
    let comes = |slot: &Slot| coming.iter().any(|(coming, ..)| coming.release == slot.release);
    let is_gone = |slot: &Slot| !comes(slot) && !parts.installed.has(slot.release);
    let is_kept = match plan.target {
        // The first one, in which nothing is installed, has no file.
        plan::Target::Kept(number) => number == 0 || parts.installed.numbers()?.contains(&number),
        plan::Target::New => true,
    };
    Ok(!is_kept || plan.next.values().any(is_gone))
}

/// The release's entry, from the verified history.
async fn release_of(
    parts: &Parts,
    package: PackageId,
    release: ReleaseId,
) -> Result<syncra_protocol::entry::Release, ContentError> {
    let history = content::history(parts, package).await?;
    let published = history.state.releases.get(&release).ok_or(ContentError::UnknownRelease(release))?;
    Ok(published.release.clone())
}

fn tell(parts: &Parts, base: &Generation, generation: u64, changes: &[Change]) {
    let now = clock::now();
    for change in changes {
        let event = match &change.to {
            Some(slot) => Event::Installed {
                package: change.package,
                release: slot.release,
                version: slot.version.clone(),
                path: text_of(&parts.installed.path_of(slot.release)),
            },
            None => Event::Removed { package: change.package },
        };
        parts.events.emit(now, event);
    }
    if generation != base.generation {
        parts.events.emit(now, Event::GenerationChanged { generation });
    }
}

/// A path as text for events and answers.
#[must_use]
pub fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Everything that is installed: the generation in force, with the directory of each package.
///
/// # Errors
/// [`InstalledError`].
pub fn list(parts: &Parts) -> Result<BTreeMap<PackageId, (Slot, PathBuf)>, InstalledError> {
    let generation = parts.installed.current()?;
    let with_path = |(package, slot): (PackageId, Slot)| {
        let path = parts.installed.path_of(slot.release);
        (package, (slot, path))
    };
    Ok(generation.packages.into_iter().map(with_path).collect())
}
