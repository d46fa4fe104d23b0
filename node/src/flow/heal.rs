//! Healing a log whose key signed two histories: another device of the same identity, or the owners, say which goes on.

use syncra_protocol::entry::{Body, Cut, ForkResolve};
use syncra_protocol::fold::{IdentityState, Needs, OpenChange, PackageState, Published};
use syncra_protocol::id::{EntryId, IdentityId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::origin::{Origin, Subject};

use super::resolve::Named;
use super::roles::{self, RolesError};
use super::{Parts, devices, identity};
use crate::history::LoadError;

mod standing;

pub use standing::{Forked, Standing, forked, warnings};

/// What was said of a forked log.
#[derive(Debug, Clone)]
pub struct Healed {
    /// The log.
    pub log: Origin,
    /// How many entries of the history that is here are to count.
    pub size: u64,
    /// How many counted before.
    pub counted: u64,
    /// The versions of it that nobody could get as long as nothing was said.
    pub versions: Vec<String>,
    /// It was so before, or said before.
    pub already: bool,
    /// Whether that history counts now.
    pub in_effect: bool,
    /// The entry that owners agree to, as long as it waits.
    pub change: Option<EntryId>,
    /// Who must still agree.
    pub needs: Vec<Needs>,
    /// The head of this device's log, if it grew.
    pub checkpoint: Option<Checkpoint>,
}

/// Why nothing was said.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// No log of the package is forked, or not the one that is named.
    #[error("no key is known to have signed two histories of `{0}`")]
    NotForked(String),
    /// Several are.
    #[error("several logs of the package are forked")]
    Several(Vec<String>),
    /// Whoever signed the other history has the same key.
    #[error("this device's own key has signed two histories of `{0}`, so it cannot say which goes on")]
    Own(String),
    /// Neither a managing device of the same identity nor an owner's.
    #[error("this device may not say which history of `{0}` goes on")]
    NotAuthorised(String),
    /// The log's device was suspended or revoked: that says already how far it counts.
    #[error("the device of this log was cut back, which says how far it counts")]
    Cut,
    /// Nothing of the log that counts is here.
    #[error("of the history that is here nothing can be kept")]
    Nothing,
    /// The log did not grow.
    #[error(transparent)]
    Roles(#[from] RolesError),
}

/// Says that the history of a forked log goes on that is on this device, as far as it is here. With `dry_run` nothing is
/// written.
///
/// # Errors
/// [`HealError`].
pub async fn heal(parts: &Parts, named: &Named, key: Option<&str>, dry_run: bool) -> Result<Healed, HealError> {
    let state = &named.history.state;
    let log = find(named, key)?;
    if log.key == parts.device {
        return Err(HealError::Own(named.reference.clone()));
    }
    ensure_authorised(parts, named, &log)?;
    let (size, counted) = (state.frontier.size(&log), state.forked.get(&log).copied().unwrap_or(0));
    let root = named.history.evidence.log(&log).and_then(|held| held.root_at(size)).filter(|_| size > 0);
    let cut = Cut { size, root: root.ok_or(HealError::Nothing)? };
    let is_left = |known: &&Published| known.writer == log && known.index >= counted;
    let versions = state.releases.values().filter(is_left).map(|known| known.release.version.to_string()).collect();
    let done = Healed {
        log,
        size,
        counted,
        versions,
        already: false,
        in_effect: false,
        change: None,
        needs: Vec::new(),
        checkpoint: None,
    };
    if counted >= size {
        return Ok(Healed { already: true, in_effect: true, ..done });
    }
    let resolve = ForkResolve { log: log.key, cut };
    let said = match state.open.iter().find(|open| open.change == OpenChange::ForkResolve(resolve)) {
        Some(open) => roles::endorse(parts, named, &open.entry.to_string(), dry_run).await?,
        None if dry_run => return Ok(done),
        None => {
            let seen = parts.histories.seen(&named.history);
            roles::write(parts, state.package, seen, Body::ForkResolve(resolve)).await?
        }
    };
    let roles::Said { change, already, needs, checkpoint, .. } = said;
    // Somebody else may have named the other history: then neither counts.
    let now = parts.histories.package(state.package).map_err(RolesError::from)?;
    let in_effect = now.is_some_and(|now| now.state.forked.get(&log).is_some_and(|n| *n >= size));
    Ok(Healed { already, in_effect, change: change.filter(|_| !in_effect), needs, checkpoint, ..done })
}

/// The forked log that is meant: the only one, or the one whose key begins so.
fn find(named: &Named, key: Option<&str>) -> Result<Origin, HealError> {
    let of_package = |origin: &&Origin| matches!(origin.subject, Subject::Package(_));
    let is_meant = |origin: &&Origin| key.is_none_or(|key| origin.key.to_string().starts_with(key));
    let mut found = named.history.state.forked.keys().filter(of_package).filter(is_meant);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(*one),
        (None, _) => Err(HealError::NotForked(named.reference.clone())),
        (Some(_), Some(_)) => {
            let all = named.history.state.forked.keys().filter(of_package).filter(is_meant);
            Err(HealError::Several(all.map(|origin| origin.key.to_string()).collect()))
        }
    }
}

fn ensure_authorised(parts: &Parts, named: &Named, log: &Origin) -> Result<(), HealError> {
    let (state, me) = (&named.history.state, parts.identity());
    if cut_back(state, log) {
        return Err(HealError::Cut);
    }
    let is_mine = state.owners.get(&me).is_some_and(|own| own.devices.contains_key(&log.key));
    let role = state.role(&me, &parts.device);
    if role.is_some() && is_mine && devices::ensure_manager(parts).is_ok() {
        return Ok(());
    }
    match roles::ensure_owner(parts, named) {
        Ok(()) => Ok(()),
        Err(RolesError::NotAnOwner { .. }) => Err(HealError::NotAuthorised(named.reference.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Which device of whom writes a log, for people.
fn said_by(parts: &Parts, state: &PackageState, writer: &Origin) -> Result<String, LoadError> {
    let Some(known) = state.writers.get(writer) else { return Ok(writer.key.fmt_short()) };
    match state.owners.get(&known.identity) {
        Some(owner) => device_text(parts, known.identity, owner, &writer.key),
        None => Ok(writer.key.fmt_short()),
    }
}

/// A device of somebody, for people.
fn device_text(
    parts: &Parts,
    identity: IdentityId,
    owner: &IdentityState,
    key: &DeviceKey,
) -> Result<String, LoadError> {
    if *key == parts.device {
        return Ok("this device".to_owned());
    }
    let label = owner.devices.get(key).and_then(|device| device.label.as_ref());
    let label = label.map_or_else(|| key.fmt_short(), ToString::to_string);
    if identity == parts.identity() {
        return Ok(format!("your device `{label}`"));
    }
    Ok(format!("the device `{label}` of {}", identity::owner_text(&parts.histories, identity)?))
}

fn cut_back(state: &PackageState, log: &Origin) -> bool {
    let mut devices = state.owners.values().filter_map(|owner| owner.devices.get(&log.key));
    devices.any(|device| device.cuts.is_some())
}
