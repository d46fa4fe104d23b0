//! A home that was restored from a backup, copied, moved or put back signs again.
//!
//! What its device has signed since is with others, and nothing here tells of it: a signature beside it makes a second history.
//! So whoever may have it is asked before, package by package.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use syncra_protocol::id::{ContentRoot, PackageId};
use syncra_protocol::key::DeviceKey;

use super::seek::Heard;
use super::{Parts, own, resolve, seek, verify};
use crate::history::{CommitError, LoadError, OwnError};
use crate::home::HomeError;
use crate::journal::{AppendError, HomeOrigin, Provenance};
use crate::node::Online;
use crate::progress::Progress;

/// Packages that are asked for at the same time.
const AT_ONCE: usize = 8;
/// How long a package has to be heard of: longer than somebody who was asked has to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why nothing is signed yet.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The place of the home cannot be told.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The journal does not take it.
    #[error(transparent)]
    Journal(#[from] AppendError),
    /// What this device signed elsewhere is not taken in.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// What is here cannot be written down.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A history cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nobody who was reached has some of the device's packages.
    #[error("nobody who was reached has {}, and so what this device has signed there since is not known", .packages.join(", "))]
    Unheard {
        /// The packages that nobody has, by name.
        packages: Vec<String>,
    },
    /// This home knows no package by which anybody could be asked, or nobody has one.
    #[error(
        "nobody was reached who knows this device's identity, and so what the device has signed since is not known"
    )]
    Nobody,
}

/// Whether there is anything to say: the home is not known to be in its place, or behind what its device has signed.
///
/// # Errors
/// [`AdoptError::Home`].
pub fn is_wanted(parts: &Parts) -> Result<bool, AdoptError> {
    Ok(parts.provenance()? != Provenance::Own || parts.histories.is_behind())
}

/// Says that this place is where the home belongs from now on, and takes in what its device has signed elsewhere and others
/// have. With `online` they are asked for it first, and each package must be known to somebody; without, what is here already
/// has to do. Returns who was asked and did not answer: they may have more.
///
/// # Errors
/// [`AdoptError`]; then nothing is signed here, but for [`AdoptError::Own`]: then nothing in the logs that others have more of.
pub async fn adopt(
    parts: &Parts,
    online: Option<&Online>,
    progress: &Progress,
) -> Result<BTreeSet<DeviceKey>, AdoptError> {
    let silent = match online {
        Some(online) => hear(parts, online, progress).await?,
        None => BTreeSet::new(),
    };
    if parts.provenance()? != Provenance::Own {
        let here = HomeOrigin { fingerprint: parts.home().origin_fingerprint()?, device: parts.device };
        parts.histories.journal().append(here).await?;
    }
    parts.histories.catch_up().await?;
    // What is here is missed from now on when it is gone.
    parts.histories.expect_all().await?;
    expect_content(parts).await;
    Ok(silent)
}

/// Writes down which own content came along and is whole. The home is adopted whether that succeeds or not, and `verify` does it
/// again.
async fn expect_content(parts: &Parts) {
    let brought: Vec<(ContentRoot, PackageId)> = {
        let truth = parts.histories.journal().truth();
        truth.own_roots().filter(|(root, _)| !truth.was_here(root)).map(|(root, package)| (*root, *package)).collect()
    };
    if brought.is_empty() {
        return;
    }
    let blobs = match parts.blobs().await {
        Ok(blobs) => blobs,
        Err(error) => return tracing::warn!(%error, "which own content came along is not known"),
    };
    for (content_root, package) in brought {
        // What is damaged or not here came without it: `verify` says so, and `doctor` what to do.
        if matches!(blobs.missing(content_root.into()).await, Ok(missing) if missing.is_nothing()) {
            verify::expect(parts, content_root, package).await;
        }
    }
}

/// Takes in what others have of the packages that this device has written to, and of its identity's others: these bring what the
/// device has said as one of that.
async fn hear(parts: &Parts, online: &Online, progress: &Progress) -> Result<BTreeSet<DeviceKey>, AdoptError> {
    let written = own::written(parts);
    let packages: BTreeSet<PackageId> = written.iter().copied().chain(own::all_of_siblings(parts)).collect();
    let (n_packages, n_done) = (packages.len() as u64, AtomicUsize::new(0));
    let asked = stream::iter(packages).map(async |package| {
        let heard = Box::pin(seek::everybody(parts, online, package, PATIENCE)).await;
        let n_done = n_done.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        progress.items("ask", n_done, Some(n_packages));
        (package, heard)
    });
    let asked: Vec<(PackageId, Heard)> = asked.buffered(AT_ONCE).collect().await;
    if !asked.iter().any(|(_, heard)| heard.is_whole) && written.is_empty() {
        return Err(AdoptError::Nobody);
    }
    let unheard = asked.iter().filter(|(package, heard)| !heard.is_whole && written.contains(package));
    let packages: Vec<String> =
        unheard.map(|(package, _)| resolve::text(&parts.histories, *package)).collect::<Result<_, _>>()?;
    let silent = asked.into_iter().flat_map(|(_, heard)| heard.silent).collect();
    if packages.is_empty() { Ok(silent) } else { Err(AdoptError::Unheard { packages }) }
}
