//! Unpacking a release again whose files are not what was published any more.

use std::path::PathBuf;
use std::time::Duration;

use syncra_protocol::id::PackageId;

use super::{InstallError, Mended, place, plan::Plan, release_of};
use crate::clock;
use crate::event::Event;
use crate::flow::content::{self, Fetched};
use crate::flow::{Parts, integrity};
use crate::installed::{Depth, Fault, Slot};
use crate::progress::Progress;
use crate::sync::fetch::{Landing, Terms};

/// Unpacks a release again, beside its place, and puts it there when it is whole. Blobs that rotted too are left as they are:
/// there may be no others.
///
/// # Errors
/// [`InstallError`]; then what was there still is.
pub async fn mend(
    parts: &Parts,
    package: PackageId,
    slot: &Slot,
    patience: Duration,
    progress: &Progress,
) -> Result<Mended, InstallError> {
    place::check_room(parts.layout(), slot.total_bytes)?;
    let pins = parts.blobs().await?.pins();
    let release = release_of(parts, package, slot.release).await?;
    let (_, staged) = place::obtain(parts, &release, &pins, patience, progress).await?;
    let turn = parts.installed.turn().await;
    let aside = match staged {
        Some(staged) => turn.place(staged, slot.release)?,
        None => place::try_unpack(parts, &turn, slot, &release, progress).await?,
    };
    drop(turn);
    Ok(mended(parts, package, slot, aside))
}

/// Tells engines, which may have read what was wrong.
pub(super) fn mended(parts: &Parts, package: PackageId, slot: &Slot, aside: Option<PathBuf>) -> Mended {
    let (version, path) = (slot.version.clone(), super::text_of(&parts.installed.path_of(slot.release)));
    parts.events.emit(clock::now(), Event::Installed { package, release: slot.release, version, path });
    Mended { reference: integrity::named(slot), aside }
}

/// Fetches what is missing of the blobs that a release was unpacked from, so that it can be given to others and unpacked again.
///
/// # Errors
/// [`InstallError`].
pub(super) async fn complete(
    parts: &Parts,
    package: PackageId,
    slot: &Slot,
    patience: Duration,
    progress: &Progress,
) -> Result<Fetched, InstallError> {
    if integrity::is_held(parts, package, slot).await {
        return Ok(Fetched::default());
    }
    let pins = parts.blobs().await?.pins();
    let release = release_of(parts, package, slot.release).await?;
    let terms = Terms { pins: &pins, patience, progress, landing: &Landing::unheard() };
    Ok(content::ensure(parts, &release, terms).await?)
}

/// What the plan would take as it lies there, and what is not what was published.
pub(super) async fn damaged(parts: &Parts, plan: &Plan, progress: &Progress) -> Vec<(PackageId, Slot)> {
    let there: Vec<_> = plan.doubted.iter().filter(|(_, slot)| parts.installed.has(slot.release)).collect();
    let total = there.iter().map(|(_, slot)| slot.total_bytes).sum();
    let (mut damaged, mut done) = (Vec::new(), 0);
    for (package, slot) in there {
        let (faults, bytes) = integrity::faults(parts, slot, Depth::Bytes, (done, total), progress).await;
        done += bytes;
        // What a collection took meanwhile is noticed before the switch.
        if !faults.is_empty() && faults != [Fault::Gone] {
            tracing::warn!(release = %integrity::named(slot), fault = %faults[0], "what is unpacked is damaged");
            damaged.push((*package, slot.clone()));
        }
    }
    damaged
}
