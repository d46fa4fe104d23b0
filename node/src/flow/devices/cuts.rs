//! How far the logs of a device count that has no voice any more.

use syncra_protocol::entry::{Cut, DeviceCuts};
use syncra_protocol::fold::DeviceStatus;
use syncra_protocol::id::{IdentityId, PackageId, ReleaseId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::DEVICE_CUTS;
use syncra_protocol::origin::{Origin, Subject};

use super::{DevicesError, state};
use crate::flow::{Parts, resolve};
use crate::history::History;

/// Of these releases those that no cut has taken back: what others have built on stays, whatever a sibling says.
///
/// # Errors
/// [`DevicesError`].
pub fn counting(parts: &Parts, releases: &[(PackageId, ReleaseId)]) -> Result<Vec<String>, DevicesError> {
    let mut counting = Vec::new();
    for (package, release) in releases {
        let Some(history) = parts.histories.package(*package)? else { continue };
        let Some(known) = history.state.releases.get(release) else { continue };
        if history.state.writers.get(&known.writer).is_some_and(|writer| known.index < writer.until) {
            counting.push(known.release.version.to_string());
        }
    }
    Ok(counting)
}

/// Of which packages a cut of these devices says that the history held here goes on, though their keys have signed another: with the
/// newest version in it. Whoever cuts a thief's history must know.
///
/// # Errors
/// [`DevicesError`].
pub fn going_on(parts: &Parts, devices: &[DeviceKey]) -> Result<Vec<(String, String)>, DevicesError> {
    let forked: Vec<Origin> = parts.histories.journal().truth().forked_logs().copied().collect();
    let mut going_on = Vec::new();
    for origin in forked.into_iter().filter(|origin| devices.contains(&origin.key)) {
        let Subject::Package(package) = origin.subject else { continue };
        let Some(history) = parts.histories.package(package)? else { continue };
        let common = history.evidence.n_common(&origin).unwrap_or(0);
        let written = history.state.releases.values().filter(|known| known.writer == origin && known.index >= common);
        if let Some(newest) = written.max_by_key(|known| known.index) {
            let name = resolve::text(&parts.histories, package).unwrap_or_else(|_| package.to_string());
            going_on.push((name, newest.release.version.to_string()));
        }
    }
    Ok(going_on)
}

/// That each release was written by one of these devices.
pub(super) fn ensure_theirs(
    parts: &Parts,
    devices: &[DeviceKey],
    releases: &[(PackageId, ReleaseId)],
) -> Result<(), DevicesError> {
    for (package, release) in releases {
        let history = parts.histories.package(*package)?.ok_or(DevicesError::NoPackage(*package))?;
        let known = history.state.releases.get(release);
        if known.is_none_or(|known| !devices.contains(&known.writer.key)) {
            let version = known.map(|known| known.release.version.to_string());
            return Err(DevicesError::NotTheirs(version.unwrap_or_else(|| format!("r:{release}"))));
        }
    }
    Ok(())
}

/// How far the logs of a device count as they are known here, each list for one entry. What an earlier cut has taken away
/// stays away, unless a release is named: who says `never again` does not mean to undo `not since then`.
pub(super) fn cuts(
    parts: &Parts,
    identity: IdentityId,
    device: DeviceKey,
    before: &[(PackageId, ReleaseId)],
) -> Result<Vec<DeviceCuts>, DevicesError> {
    let revoked = state(parts, identity)?.devices.get(&device).and_then(|known| match known.status {
        DeviceStatus::Revoked => Some(known.until),
        // A suspension goes on cutting this log, whatever else is said.
        DeviceStatus::Active | DeviceStatus::Suspended { .. } => None,
    });
    let own = parts.histories.log(&Origin::identity(identity, device))?;
    let own = own.and_then(|(log, head)| match revoked {
        Some(until) if until < head.size() => log.root_at(until).map(|root| Cut { size: until, root }),
        _ => Some(Cut { size: head.size(), root: head.root() }),
    });
    let own = own.filter(|cut| cut.size > 0);
    let mut packages = Vec::new();
    for package in parts.histories.packages() {
        let history = match parts.histories.package(package) {
            Ok(Some(history)) if history.evidence.heeds(&identity) => history,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%package, %error, "a package cannot be read and is not cut");
                continue;
            }
        };
        let origin = Origin::package(package, device);
        let Some(head) = history.evidence.head(&origin) else { continue };
        let named = before.iter().filter(|(of, _)| *of == package);
        let named = named.filter_map(|(_, release)| history.state.releases.get(release));
        let first = named.filter(|release| release.writer.key == device).map(|release| release.index).min();
        let at = first.or_else(|| counted(&history, identity, &origin)).unwrap_or_else(|| head.size());
        packages.push((package, cut_at(&history, at.min(head.size()), &origin)));
    }
    let mut lists: Vec<DeviceCuts> = packages
        .chunks(DEVICE_CUTS)
        .map(|packages| DeviceCuts { device, identity: own, packages: packages.to_vec() })
        .collect();
    if lists.is_empty() {
        lists.push(DeviceCuts { device, identity: own, packages: Vec::new() });
    }
    Ok(lists)
}

/// How many entries of a device's log count, if the device was cut back.
fn counted(history: &History, identity: IdentityId, log: &Origin) -> Option<u64> {
    let cuts = history.state.owners.get(&identity)?.devices.get(&log.key)?.cuts.as_ref()?;
    let named = || cuts.get(&history.state.package).map_or(u64::MAX, |cut| cut.map_or(0, |cut| cut.size));
    Some(history.state.writers.get(log).map_or_else(named, |writer| writer.until))
}

/// The cut that leaves what is before entry `index`; none if that is nothing.
fn cut_at(history: &History, index: u64, log: &Origin) -> Option<Cut> {
    let root = history.evidence.log(log)?.root_at(index).filter(|_| index > 0)?;
    Some(Cut { size: index, root })
}
