//! The devices of this device's identity: adding, suspending, revoking, joining, and what the recovery key does.
//!
//! Nothing here decides what counts: entries are written, and the fold (`docs/spec/fold.md`) says what they mean.

use syncra_protocol::entry::{
    AddDevice, Body, DeviceCuts, DeviceRole, IdentityJoin, NameClaim, PackageJoin, SeenHead, Statement, Suspend,
    recovery_commitment,
};
use syncra_protocol::evidence::IdentityLog;
use syncra_protocol::fold::{Device, DeviceStatus, IdentityState, PackageState};
use syncra_protocol::id::{EntryId, IdentityId, PackageId, ReleaseId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::limits::{DEVICE_CUTS, LIFTED_SUSPENSIONS, REVOKED_DEVICES};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::name::{PackageName, RefName};
use syncra_protocol::origin::{Origin, Subject};

use super::Parts;
use super::identity;
use crate::history::{Draft, LoadError};

mod cuts;
mod error;

pub use cuts::{counting, going_on};
use cuts::{cuts, ensure_theirs};
pub use error::DevicesError;

/// Characters of a device's key that are enough to name it, as of a change's or a proposal's id.
const ID_CHARACTERS: usize = 4;

/// How the history of an identity gets to a device.
pub const BRING_A_PACKAGE: &str =
    "bring any package of it here first, for example by `syncra info @owner~key/name`, or say the whole identity";

/// How a suspended device speaks again.
pub const LIFT: &str = "`syncra id recover --lift`, here or on another device of yours; it asks for the recovery secret unless that \
                        is on the device or SYNCRA_RECOVERY_FILE names a file with it";

/// One device, for people.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its key.
    pub key: DeviceKey,
    /// Whether it is the one that this runs on.
    pub is_this: bool,
    /// What is known of it.
    pub device: Device,
}

/// A whole log, as one device hands it to another.
#[derive(Debug, Clone)]
pub struct LogCopy {
    /// Its head.
    pub head: Head,
    /// Its entries, all of them.
    pub entries: Vec<Vec<u8>>,
}

/// The identity's state; none of it may be missing.
fn state(parts: &Parts, identity: IdentityId) -> Result<std::sync::Arc<IdentityState>, DevicesError> {
    parts.histories.identity(identity)?.ok_or(DevicesError::Unknown(identity))
}

/// The devices of this device's identity.
///
/// # Errors
/// [`DevicesError`].
pub fn list(parts: &Parts) -> Result<Vec<Known>, DevicesError> {
    list_of(parts, parts.identity())
}

/// The devices of an identity.
///
/// # Errors
/// [`DevicesError`].
pub fn list_of(parts: &Parts, identity: IdentityId) -> Result<Vec<Known>, DevicesError> {
    let state = state(parts, identity)?;
    let known = |(key, device): (&DeviceKey, &Device)| Known {
        key: *key,
        is_this: *key == parts.device,
        device: device.clone(),
    };
    Ok(state.devices.iter().map(known).collect())
}

/// The device that somebody names by its key, the beginning of it, or its label.
///
/// # Errors
/// [`DevicesError::NoDevice`], [`DevicesError::Ambiguous`].
pub fn find(parts: &Parts, name: &str) -> Result<Known, DevicesError> {
    find_in(&list(parts)?, name)
}

/// As [`find`], among these.
///
/// # Errors
/// [`DevicesError::NoDevice`], [`DevicesError::Ambiguous`].
pub fn find_in(devices: &[Known], name: &str) -> Result<Known, DevicesError> {
    let fits = |known: &Known| {
        let label = known.device.label.as_ref().map(RefName::as_str);
        let key = known.key.to_string();
        label == Some(name) || key == name || (name.len() >= ID_CHARACTERS && key.starts_with(name))
    };
    let mut found: Vec<Known> = devices.iter().filter(|known| fits(known)).cloned().collect();
    match (found.pop(), found.is_empty()) {
        (Some(known), true) => Ok(known),
        (None, _) => Err(DevicesError::NoDevice(name.to_owned())),
        (Some(last), false) => {
            let devices = found.iter().chain([&last]).map(|known| known.key.fmt_short()).collect();
            Err(DevicesError::Ambiguous { name: name.to_owned(), devices })
        }
    }
}

/// Lets a device speak for the identity, once it has joined. False if it may already.
///
/// # Errors
/// [`DevicesError`].
pub async fn add(parts: &Parts, device: AddDevice, dry_run: bool) -> Result<bool, DevicesError> {
    let state = ensure_manager(parts)?;
    match state.devices.get(&device.device) {
        Some(known) if known.status == DeviceStatus::Revoked => {
            return Err(DevicesError::Revoked(device.label.to_string()));
        }
        Some(Device { status: DeviceStatus::Suspended { .. }, .. }) => {
            return Err(DevicesError::Suspended(device.label.to_string()));
        }
        Some(known) if known.status == DeviceStatus::Active && known.role <= device.role => return Ok(false),
        _ => {}
    }
    if !dry_run {
        say(parts, Body::AddDevice(device)).await?;
    }
    Ok(true)
}

/// Takes a device's voice away until the recovery key says more. Its entries up to now stay, or up to a release that is
/// named, also when it has no voice any more. False if all of it is so already.
///
/// # Errors
/// [`DevicesError`].
pub async fn suspend(
    parts: &Parts,
    device: DeviceKey,
    before: &[(PackageId, ReleaseId)],
    dry_run: bool,
) -> Result<bool, DevicesError> {
    let state = ensure_manager(parts)?;
    ensure_theirs(parts, &[device], before)?;
    if !state.is_active(&device) {
        if counting(parts, before)?.is_empty() {
            return Ok(false);
        }
        if state.devices.get(&device).is_some_and(|known| known.status == DeviceStatus::Revoked) {
            return Err(DevicesError::CutByRecovery(device));
        }
    }
    let cuts = cuts(parts, parts.identity(), device, before)?;
    if !dry_run {
        for cuts in cuts {
            say(parts, Body::Suspend(Suspend { cuts })).await?;
        }
    }
    Ok(true)
}

/// Says which package a name means, also where two devices gave it to two. False if it means that already.
///
/// # Errors
/// [`DevicesError`].
pub async fn name(parts: &Parts, name: &PackageName, package: PackageId, dry_run: bool) -> Result<bool, DevicesError> {
    let state = state(parts, parts.identity())?;
    ensure_speaks(parts, &state)?;
    if state.names.get(name) == Some(&package) {
        return Ok(false);
    }
    // A name for what is not here would be taken for one that was never published.
    if parts.histories.package(package)?.is_none() {
        return Err(DevicesError::NoPackage(package));
    }
    if !dry_run {
        say(parts, Body::Name(NameClaim { name: name.clone(), package: Some(package) })).await?;
    }
    Ok(true)
}

/// Makes this device one of another identity's, whose logs were brought by one of its devices. Until that identity has
/// added it nothing that it writes counts.
///
/// # Errors
/// [`DevicesError`]; then it is what it was.
pub async fn join(parts: &Parts, identity: IdentityId, logs: &[LogCopy], dry_run: bool) -> Result<bool, DevicesError> {
    if parts.identity() == identity {
        return Ok(false);
    }
    // A publish that is under way has one owner from its beginning to its end.
    let _turn = parts.publishing.lock().await;
    ensure_free(parts)?;
    for LogCopy { head, entries } in logs {
        let origin = head.origin();
        if origin.subject != Subject::Identity(identity) {
            return Err(DevicesError::OtherIdentity(identity));
        }
        IdentityLog::verify(entries, head)?;
    }
    if dry_run {
        return Ok(true);
    }
    for LogCopy { head, entries } in logs {
        let held = parts.histories.log(head.origin())?.map_or(0, |(log, _)| log.size());
        if held < head.size() && *head.origin() != Origin::identity(identity, parts.device) {
            parts.histories.commit(0, entries, head).await?;
        }
    }
    state(parts, identity)?;
    let seen = siblings(parts, identity)?;
    let joins = Body::IdentityJoin(IdentityJoin { identity });
    let origin = Origin::identity(identity, parts.device);
    let begin = |draft: &mut Draft| draft.push(joins);
    if parts.histories.journal().truth().own_log(&origin).is_none() {
        parts.histories.append(origin, &seen, begin).await?;
    }
    parts.belongs_to(identity);
    // It stays in the way of nobody where it is: it is not what the identity commits to.
    if let Err(error) = identity::set_aside(&parts.histories, parts.layout(), identity) {
        tracing::warn!(%error, "the recovery key of the identity that this device had is not set aside yet");
    }
    Ok(true)
}

/// Whether this device may still become another identity's: it has published nothing, and joined nobody.
///
/// # Errors
/// [`DevicesError::HasPackages`], [`DevicesError::HasJoined`].
pub fn ensure_free(parts: &Parts) -> Result<(), DevicesError> {
    let own = state(parts, parts.identity())?;
    let owner = || identity::owner_text(&parts.histories, parts.identity());
    if !own.devices.get(&parts.device).is_some_and(|device| device.is_first) {
        return Err(DevicesError::HasJoined { owner: owner()? });
    }
    let n_names = own.names.len() + own.diverged_names.len();
    if n_names > 0 {
        return Err(DevicesError::HasPackages { n_names, owner: owner()? });
    }
    Ok(())
}

/// Every log of this device's identity that a device of its own wrote: what a device that joins has to know.
///
/// # Errors
/// [`DevicesError`].
pub fn logs(parts: &Parts) -> Result<Vec<LogCopy>, DevicesError> {
    let mut logs = Vec::new();
    let Some(known) = parts.histories.identity_logs(parts.identity())? else { return Ok(logs) };
    for log in known.logs() {
        let (origin, size) = (log.head().origin(), log.log().size());
        let device = known.state().devices.get(&origin.key);
        // A silent device's later entries are its own affair, but a signed head has no less than all of them.
        if device.is_none_or(|device| device.until == 0) {
            continue;
        }
        let entries = parts.histories.entries(origin, 0, size).map_err(LoadError::Logs)?;
        logs.push(LogCopy { head: log.head().clone(), entries: entries.iter().map(|entry| entry.to_vec()).collect() });
    }
    Ok(logs)
}

/// What the recovery key is to say.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// Devices to revoke.
    pub revoke: Vec<DeviceKey>,
    /// Releases before which a revoked device counts, and from which on it does not.
    pub before: Vec<(PackageId, ReleaseId)>,
    /// Ends every suspension of the devices that are not revoked.
    pub lift: bool,
    /// What to call this device, if it is to be added.
    pub label: Option<RefName>,
    /// Makes another recovery key.
    pub rotate: bool,
}

/// What the recovery key said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Whether this device was added.
    pub admitted: bool,
    /// Devices revoked.
    pub revoked: Vec<DeviceKey>,
    /// Suspensions ended.
    pub n_lifted: usize,
    /// Whether a new recovery key was made; it lies in the home until it is deleted there.
    pub rotated: bool,
}

/// Speaks with the recovery key of `identity`, whose logs are on this device, through this device's log of it.
///
/// # Errors
/// [`DevicesError`].
pub async fn recover(
    parts: &Parts,
    identity: IdentityId,
    secret: &DeviceSecret,
    wanted: &Recovery,
    dry_run: bool,
) -> Result<Recovered, DevicesError> {
    // Each statement follows the last one: what that is must not change before this one is written.
    let _alone = parts.recovering.lock().await;
    let state = state(parts, identity)?;
    if recovery_commitment(&secret.public()) != state.recovery {
        return Err(DevicesError::WrongKey);
    }
    let admitted = !state.is_active(&parts.device) && !state.devices.contains_key(&parts.device);
    let label = || wanted.label.clone().unwrap_or_else(|| RefName::parse("recovered").expect("a valid name"));
    let admit = admitted.then(|| AddDevice { device: parts.device, role: DeviceRole::Manager, label: label() });
    let suspended = state.devices.iter().filter(|(key, _)| wanted.lift && !wanted.revoke.contains(key));
    let mut lift: Vec<EntryId> = suspended
        .flat_map(|(_, device)| match &device.status {
            DeviceStatus::Suspended { by } => by.iter().copied().collect(),
            DeviceStatus::Active | DeviceStatus::Revoked => Vec::new(),
        })
        .collect();
    lift.sort_unstable();
    ensure_theirs(parts, &wanted.revoke, &wanted.before)?;
    let mut revoke = Vec::new();
    for device in &wanted.revoke {
        revoke.push(cuts(parts, identity, *device, &wanted.before)?);
    }
    let done = Recovered { admitted, revoked: wanted.revoke.clone(), n_lifted: lift.len(), rotated: wanted.rotate };
    if !admitted && revoke.is_empty() && lift.is_empty() && !wanted.rotate {
        if wanted.lift {
            return Err(DevicesError::NobodySuspended);
        }
        return Err(DevicesError::Nothing);
    }
    if dry_run {
        return Ok(done);
    }
    if parts.identity() != identity {
        join(parts, identity, &[], false).await?;
    }
    // A key that is committed to must not be lost: it is written down first.
    let next = if wanted.rotate { Some(identity::prepare_recovery(parts.layout())?) } else { None };
    let commitment = next.as_ref().map_or(state.recovery, |next| recovery_commitment(&next.public()));
    let rounds = rounds(revoke, lift);
    let (mut previous, mut admit) = (state.last_statement, admit);
    for (n, (revoke, lift)) in rounds.iter().enumerate() {
        let next = if n + 1 == rounds.len() { commitment } else { state.recovery };
        let (revoke, lift) = (revoke.clone(), lift.clone());
        let statement = Statement { identity, previous, admit: admit.take(), revoke, lift, next };
        previous = Some(statement.id());
        // It has seen nothing: what the recovery key says waits for nobody's log.
        let origin = Origin::identity(identity, parts.device);
        parts.histories.append(origin, &[], |draft| draft.push(Body::Recover(statement.sign(secret)))).await?;
    }
    let heeded = self::state(parts, identity)?;
    if next.is_some() {
        identity::finish_recovery(parts.layout(), heeded.recovery)?;
    }
    if heeded.last_statement != previous {
        return Err(DevicesError::Unheeded);
    }
    Ok(done)
}

type Round = (Vec<DeviceCuts>, Vec<EntryId>);

/// What does not fit one statement goes on in the next: devices, suspensions, and cuts of their logs.
fn rounds(revoke: Vec<Vec<DeviceCuts>>, lift: Vec<EntryId>) -> Vec<Round> {
    let mut rounds: Vec<Round> = vec![Round::default()];
    for cuts in revoke.into_iter().flatten() {
        let fits = |round: &Round| {
            let n_cuts: usize = round.0.iter().map(|other| other.packages.len()).sum();
            round.0.len() < REVOKED_DEVICES
                && n_cuts + cuts.packages.len() <= DEVICE_CUTS
                && round.0.iter().all(|other| other.device != cuts.device)
        };
        if !rounds.last().is_some_and(fits) {
            rounds.push(Round::default());
        }
        rounds.last_mut().expect("there is one").0.push(cuts);
    }
    for round in &mut rounds {
        round.0.sort_unstable_by_key(|cuts| cuts.device);
    }
    for (n, lift) in lift.chunks(LIFTED_SUSPENSIONS).enumerate() {
        if n == rounds.len() {
            rounds.push(Round::default());
        }
        rounds[n].1 = lift.to_vec();
    }
    rounds
}

/// What this device's identity says, if this device may manage it.
///
/// # Errors
/// [`DevicesError::NotManager`], [`DevicesError::Silenced`].
pub fn ensure_manager(parts: &Parts) -> Result<std::sync::Arc<IdentityState>, DevicesError> {
    let state = state(parts, parts.identity())?;
    ensure_speaks(parts, &state)?;
    match state.devices.get(&parts.device).map(|device| device.role) {
        Some(DeviceRole::Manager) => Ok(state),
        _ => Err(DevicesError::NotManager),
    }
}

fn ensure_speaks(parts: &Parts, state: &IdentityState) -> Result<(), DevicesError> {
    let speaks = state.is_active(&parts.device);
    speaks.then_some(()).ok_or(DevicesError::Silenced(state.identity))
}

/// Whether what this device writes to a package can count: refused if its identity has a role there and this device does not
/// speak for it. Who has no role is told otherwise.
///
/// # Errors
/// [`DevicesError::Silenced`].
pub(super) fn ensure_voice(parts: &Parts, state: &PackageState) -> Result<(), DevicesError> {
    let me = parts.identity();
    let speaks = state.owners.get(&me).is_some_and(|own| own.is_active(&parts.device));
    let is_silenced = state.rights.role(&me).is_some() && !speaks;
    if is_silenced { Err(DevicesError::Silenced(me)) } else { Ok(()) }
}

/// Appends to this device's log of its identity, having seen what its siblings said.
pub(super) async fn say(parts: &Parts, body: Body) -> Result<Head, DevicesError> {
    let identity = parts.identity();
    let seen = siblings(parts, identity)?;
    let (head, _) =
        parts.histories.append(Origin::identity(identity, parts.device), &seen, |draft| draft.push(body)).await?;
    Ok(head)
}

/// The logs of the identity's devices, each as far as it counts: what does not, others might never hold.
fn siblings(parts: &Parts, identity: IdentityId) -> Result<Vec<SeenHead>, DevicesError> {
    let Some(known) = parts.histories.identity_logs(identity)? else { return Ok(Vec::new()) };
    let devices = &known.state().devices;
    let mut heads = Vec::new();
    for log in known.logs() {
        let origin = *log.head().origin();
        let Some(device) = devices.get(&origin.key) else { continue };
        let size = known.n_counted(&origin).min(device.until);
        heads.extend(log.log().root_at(size).filter(|_| size > 0).map(|root| SeenHead { origin, size, root }));
    }
    Ok(heads)
}

/// Begins this device's log of a package, if it has none: what comes next in the same append counts then.
///
/// # Errors
/// [`syncra_protocol::entry::EntryError`] when the entry may not be written.
pub(super) fn begin(
    parts: &Parts,
    package: PackageId,
    draft: &mut Draft,
) -> Result<(), syncra_protocol::entry::EntryError> {
    let origin = Origin::package(package, parts.device);
    if parts.histories.journal().truth().own_log(&origin).is_none() {
        draft.push(Body::PackageJoin(PackageJoin { package, identity: parts.identity() }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::open;

    /// What nobody heeds is not reported as done.
    #[tokio::test]
    async fn a_statement_beyond_what_is_heeded_of_one_log_is_not_called_done() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let text = identity::recovery_text(&parts, parts.identity()).unwrap().unwrap();
        let secret = identity::recovery_secret(&text).unwrap();
        // As many changes as are heeded of one log.
        let added = (0..256_u16).map(|n| {
            let key = *syncra_protocol::id::BlobId::of(&n.to_le_bytes()).as_bytes();
            let label = RefName::parse("thing").unwrap();
            Body::AddDevice(AddDevice {
                device: DeviceSecret::from_seed(&key).public(),
                role: DeviceRole::Publisher,
                label,
            })
        });
        let origin = Origin::identity(parts.identity(), parts.device);
        let said = parts
            .histories
            .append(origin, &[], |draft| added.into_iter().try_for_each(|body| draft.push(body).map(drop)));
        said.await.unwrap();
        let revoke = vec![DeviceSecret::from_seed(&[9; 32]).public()];
        let wanted = Recovery { revoke, ..Recovery::default() };
        let said = recover(&parts, parts.identity(), &secret, &wanted, false).await;
        assert!(matches!(said, Err(DevicesError::Unheeded)), "{said:?}");
        parts.close().await;
    }

    /// Two statements after the same one would leave one of them without effect, and its caller told that it was done.
    #[tokio::test]
    async fn of_two_that_replace_the_recovery_key_at_the_same_time_one_comes_too_late() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let text = identity::recovery_text(&parts, parts.identity()).unwrap().unwrap();
        let secret = identity::recovery_secret(&text).unwrap();
        let wanted = Recovery { rotate: true, ..Recovery::default() };
        let say = || recover(&parts, parts.identity(), &secret, &wanted, false);
        let said = tokio::join!(say(), say());
        assert!(
            matches!(said, (Ok(_), Err(DevicesError::WrongKey)) | (Err(DevicesError::WrongKey), Ok(_))),
            "{said:?}"
        );
        let text = identity::recovery_text(&parts, parts.identity()).unwrap().unwrap();
        let state = state(&parts, parts.identity()).unwrap();
        let secret = identity::recovery_secret(&text).unwrap();
        assert_eq!(
            state.recovery,
            recovery_commitment(&secret.public()),
            "the key on this device is the one that counts"
        );
        parts.close().await;
    }
}
