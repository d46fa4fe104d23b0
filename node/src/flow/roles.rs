//! Who may do what in a package: naming people, taking roles away, protecting refs, and agreeing.
//!
//! Nothing here decides what counts: entries are written, and the fold (`docs/spec/fold.md`) says what they mean.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::entry::{Body, Cut, Endorse, EntryError, NameClaim, RefClass, Role, Roles, SeenHead};
use syncra_protocol::fold::{Needs, Open, OpenChange, PackageState, Rights};
use syncra_protocol::id::{EntryId, IdentityId, PackageId, ReleaseId};
use syncra_protocol::limits::ROLE_CUTS;
use syncra_protocol::log::checkpoint::Checkpoint;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::{Origin, Subject};

use super::Parts;
use super::devices::{self, DevicesError};
use super::resolve::{self, Named};
use crate::history::{Draft, History, LoadError, OwnError, body_of};

/// Characters of a change's id that are enough to name it, as of a proposal's.
const ID_CHARACTERS: usize = 4;

/// What is to change.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Who shall have which role; none takes it away.
    pub roles: Vec<(IdentityId, Option<Role>)>,
    /// Refs that shall be protected, or no longer.
    pub protect: Vec<(RefClass, RefName, bool)>,
    /// Owners who must agree to what comes later; more than half of them if none is said.
    pub threshold: Option<u8>,
    /// Releases of who loses a role that shall not count, nor what they wrote later.
    pub before: Vec<ReleaseId>,
}

/// What was said, and what came of it.
#[derive(Debug, Clone)]
pub struct Said {
    /// The change; none if it is so already, or nothing was to be written.
    pub change: Option<EntryId>,
    /// It was so before, or said before.
    pub already: bool,
    /// Whether it has taken effect.
    pub in_effect: bool,
    /// Who must still agree.
    pub needs: Vec<Needs>,
    /// The head of this device's log of the package, if it grew.
    pub checkpoint: Option<Checkpoint>,
    /// Other changes of rights that wait: all follow the same one, so they lapse as soon as this one takes effect.
    pub lapses: Vec<Open>,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    /// Only owners change who may do what.
    #[error("this device's identity does not own `{reference}`")]
    NotAnOwner {
        /// The package.
        reference: String,
        /// A change that waits for its word, and makes it an owner.
        offer: Option<EntryId>,
    },
    /// In one change somebody has one role.
    #[error("{} is named with two roles at once", .0.fmt_short())]
    Twice(IdentityId),
    /// Owners have agreed to rules that this version does not know.
    #[error("`{reference}` follows rules of number {rules}")]
    NewerRules {
        /// The package.
        reference: String,
        /// The rules.
        rules: u16,
    },
    /// Nobody would own it.
    #[error("then nobody would own `{0}`")]
    NoOwner(String),
    /// Fewer than half of the owners could change it, or more than there are would have to.
    #[error("of {n_owners} owners {least} to {n_owners} can be asked to agree, not {wanted}")]
    Threshold {
        /// Owners after the change.
        n_owners: usize,
        /// More than half of them.
        least: usize,
        /// What was asked for.
        wanted: u8,
    },
    /// More people, owners or protected refs than a package has room for.
    #[error("`{0}` has no room for more people or protected refs")]
    Full(String),
    /// No such change waits.
    #[error("`{reference}` has no change `{change}` that waits for agreement")]
    NoChange {
        /// The package.
        reference: String,
        /// What was asked for.
        change: String,
    },
    /// Another one has taken its place.
    #[error(
        "the change `{change}` of `{reference}` has lapsed: `{by}` took effect first, and both follow the same one"
    )]
    Lapsed {
        /// The package.
        reference: String,
        /// What was asked for.
        change: EntryId,
        /// What took effect.
        by: EntryId,
    },
    /// A release that nobody wrote who loses a role: to name it would take nothing away.
    #[error("`{0}` was not published by somebody else who loses a role")]
    NotTheirs(String),
    /// Only with a role does a change of roles take anything away.
    #[error("who published `{version}` loses no role by this, so nothing that it published would be taken back")]
    NoRoleToLose {
        /// The release.
        version: String,
        /// Its package.
        reference: String,
        /// Who published it.
        who: IdentityId,
    },
    /// Several do.
    #[error("`{change}` could be any of {}", .changes.join(", "))]
    Ambiguous {
        /// What was asked for.
        change: String,
        /// What it could mean.
        changes: Vec<String>,
    },
    /// It waits for others.
    #[error("the change waits for others, not for this device's identity")]
    NotAsked,
    /// The identity's log did not grow.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An entry that may not be written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log did not grow.
    #[error(transparent)]
    Own(#[from] OwnError),
}

/// Changes who may do what, as far as this owner's word goes. With `dry_run` nothing is written.
///
/// # Errors
/// [`RolesError`].
pub async fn change(parts: &Parts, named: &Named, wanted: &Wanted, dry_run: bool) -> Result<Said, RolesError> {
    let state = &named.history.state;
    ensure_owner(parts, named)?;
    let mut roles = wanted_roles(named, wanted)?;
    ensure_theirs(parts.identity(), named, wanted, &roles)?;
    let is_same =
        roles.changes.is_empty() && roles.protect.is_empty() && roles.owner_threshold == state.rights.owner_threshold;
    if is_same {
        let (needs, lapses) = (vec![], vec![]);
        return Ok(Said { change: None, already: true, in_effect: true, needs, checkpoint: None, lapses });
    }
    roles.cuts = cuts(parts.identity(), &named.history, &roles, &wanted.before);
    // Said before, and waiting: once is enough.
    let is_said = |open: &&Open| match &open.change {
        OpenChange::Roles(other) => {
            let as_far = wanted.before.is_empty() || other.cuts == roles.cuts;
            open.agreed.contains(&parts.identity()) && without_cuts(other) == without_cuts(&roles) && as_far
        }
        OpenChange::Ref(_) | OpenChange::Redact(_) | OpenChange::ForkResolve(_) => false,
    };
    if let Some(open) = state.open.iter().find(is_said) {
        let (change, needs, lapses) = (Some(open.entry), open.needs.clone(), others(state, Some(open.entry)));
        return Ok(Said { change, already: true, in_effect: false, needs, checkpoint: None, lapses });
    }
    let lapses = others(state, None);
    if dry_run {
        return Ok(Said { change: None, already: false, in_effect: false, needs: vec![], checkpoint: None, lapses });
    }
    let said = write(parts, state.package, parts.histories.seen(&named.history), Body::Roles(roles)).await?;
    Ok(Said { lapses, ..said })
}

/// The changes of rights that wait, but for one.
fn others(state: &PackageState, but: Option<EntryId>) -> Vec<Open> {
    let is_other = |open: &&Open| matches!(open.change, OpenChange::Roles(_)) && Some(open.entry) != but;
    state.open.iter().filter(is_other).cloned().collect()
}

fn without_cuts(roles: &Roles) -> Roles {
    Roles { cuts: Vec::new(), ..roles.clone() }
}

/// Agrees to a change that waits. With `dry_run` nothing is written.
///
/// # Errors
/// [`RolesError`].
pub async fn endorse(parts: &Parts, named: &Named, change: &str, dry_run: bool) -> Result<Said, RolesError> {
    let state = &named.history.state;
    ensure_readable(named)?;
    let open = match find(named, change) {
        Err(RolesError::NoChange { .. }) => return gone(parts, named, change),
        found => found?,
    };
    let (me, entry) = (parts.identity(), open.entry);
    let lapses = if matches!(open.change, OpenChange::Roles(_)) { others(state, Some(entry)) } else { vec![] };
    if open.agreed.contains(&me) {
        let needs = open.needs.clone();
        return Ok(Said { change: Some(entry), already: true, in_effect: false, needs, checkpoint: None, lapses });
    }
    if !open.needs.iter().any(|needs| needs.of.contains(&me)) {
        return Err(RolesError::NotAsked);
    }
    let becomes_owner = makes_owner(open, me);
    if dry_run {
        let needs = vec![];
        return Ok(Said { change: Some(entry), already: false, in_effect: false, needs, checkpoint: None, lapses });
    }
    if becomes_owner {
        take_name(parts, state.package).await?;
    }
    let mut seen = parts.histories.seen(&named.history);
    see(&mut seen, &named.history, open);
    let said = write(parts, state.package, seen, Body::Endorse(Endorse { entry })).await?;
    Ok(Said { lapses, ..said })
}

/// Whether a change would make somebody an owner.
fn makes_owner(open: &Open, who: IdentityId) -> bool {
    match &open.change {
        OpenChange::Roles(roles) => roles.changes.contains(&(who, Some(Role::Owner))),
        OpenChange::Ref(_) | OpenChange::Redact(_) | OpenChange::ForkResolve(_) => false,
    }
}

/// What became of a change of rights that does not wait any more: it is in effect, or another one took its place.
fn gone(parts: &Parts, named: &Named, text: &str) -> Result<Said, RolesError> {
    let mut changes = BTreeMap::new();
    for head in named.history.evidence.heads() {
        let Subject::Package(_) = head.origin().subject else { continue };
        let stored = parts.histories.entries(head.origin(), 0, head.size()).map_err(LoadError::Logs)?;
        changes.extend(stored.iter().filter_map(|bytes| match body_of(bytes) {
            Some(Body::Roles(roles)) => Some((EntryId::of(bytes), roles.previous)),
            _ => None,
        }));
    }
    let reference = || named.reference.clone();
    let no_change = || RolesError::NoChange { reference: reference(), change: text.to_owned() };
    let (change, previous) =
        only(text, changes.keys().copied())?.and_then(|id| Some((id, *changes.get(&id)?))).ok_or_else(no_change)?;
    // Each change names the one before it: from the last one back.
    let mut link = named.history.state.rights.last;
    while let Some(by) = link {
        let before = changes.get(&by).copied().flatten();
        if by == change {
            let (needs, lapses) = (vec![], vec![]);
            return Ok(Said { change: Some(by), already: true, in_effect: true, needs, checkpoint: None, lapses });
        }
        if before == previous {
            return Err(RolesError::Lapsed { reference: reference(), change, by });
        }
        link = before;
    }
    Err(no_change())
}

/// A package that one comes to own is called as it was, unless the name is taken: so that `syncra publish` finds it.
async fn take_name(parts: &Parts, package: PackageId) -> Result<(), RolesError> {
    let Some((_, name)) = resolve::name_of(&parts.histories, package)? else { return Ok(()) };
    let own = parts.histories.identity(parts.identity())?;
    let is_free = |own: &syncra_protocol::fold::IdentityState| {
        !own.names.contains_key(&name)
            && !own.diverged_names.contains_key(&name)
            && !own.names.values().any(|known| *known == package)
    };
    if own.is_some_and(|own| is_free(&own)) {
        devices::say(parts, Body::Name(NameClaim { name, package: Some(package) })).await?;
    }
    Ok(())
}

/// Who agrees to a change has seen it, also one of somebody whose log one would like to cut back.
fn see(seen: &mut Vec<SeenHead>, history: &History, open: &Open) {
    let (origin, size) = (open.writer, open.index + 1);
    if seen.iter().any(|head| head.origin == origin && head.size >= size) {
        return;
    }
    seen.retain(|head| head.origin != origin);
    let root = history.evidence.log(&origin).and_then(|log| log.root_at(size));
    seen.extend(root.map(|root| SeenHead { origin, size, root }));
}

/// Appends to this device's log of the package, and tells what came of it.
pub(crate) async fn write(
    parts: &Parts,
    package: PackageId,
    seen: Vec<SeenHead>,
    body: Body,
) -> Result<Said, RolesError> {
    let origin = Origin::package(package, parts.device);
    let draft = |draft: &mut Draft| devices::begin(parts, package, draft).and_then(|()| draft.push(body.clone()));
    let (head, entry) = parts.histories.append(origin, &seen, draft).await?;
    let now = parts.histories.package(package)?;
    let about = match &body {
        Body::Endorse(endorse) => endorse.entry,
        _ => entry,
    };
    let open = now.as_ref().and_then(|now| now.state.open.iter().find(|open| open.entry == about));
    Ok(Said {
        change: Some(about),
        already: false,
        in_effect: open.is_none(),
        needs: open.map(|open| open.needs.clone()).unwrap_or_default(),
        checkpoint: Some(*head.checkpoint()),
        lapses: Vec::new(),
    })
}

/// The newest move of a protected ref by this device that waits for agreement.
#[must_use]
pub fn waiting<'a>(state: &'a PackageState, origin: &Origin, class: RefClass, name: &RefName) -> Option<&'a Open> {
    state.open.iter().find(|open| match &open.change {
        OpenChange::Ref(moved) => open.writer == *origin && moved.class == class && moved.name == *name,
        OpenChange::Roles(_) | OpenChange::Redact(_) | OpenChange::ForkResolve(_) => false,
    })
}

fn ensure_readable(named: &Named) -> Result<(), RolesError> {
    match named.history.state.newer_rules {
        Some(rules) => Err(RolesError::NewerRules { reference: named.reference.clone(), rules }),
        None => Ok(()),
    }
}

pub(super) fn ensure_owner(parts: &Parts, named: &Named) -> Result<(), RolesError> {
    ensure_readable(named)?;
    let role = named.history.state.role(&parts.identity(), &parts.device);
    if role != Some(Role::Owner) {
        devices::ensure_voice(parts, &named.history.state)?;
        let me = parts.identity();
        let asks = |open: &&Open| open.needs.iter().any(|needs| needs.of.contains(&me)) && makes_owner(open, me);
        let offer = named.history.state.open.iter().find(asks).map(|open| open.entry);
        return Err(RolesError::NotAnOwner { reference: named.reference.clone(), offer });
    }
    // What a device says that only publishes counts for nobody.
    Ok(devices::ensure_manager(parts).map(drop)?)
}

/// The change as an entry says it, without what is so already, and without cuts.
fn wanted_roles(named: &Named, wanted: &Wanted) -> Result<Roles, RolesError> {
    let rights = &named.history.state.rights;
    // What is so already, and an open change wants otherwise, is said all the same: then that one lapses.
    let waits = others(&named.history.state, None);
    let is_waiting = |wants: &dyn Fn(&Roles) -> bool| {
        waits.iter().any(|open| matches!(&open.change, OpenChange::Roles(roles) if wants(roles)))
    };
    let is_changed = |(who, role): &&(IdentityId, Option<Role>)| {
        let wants = |roles: &Roles| roles.changes.iter().any(|(other, to)| other == who && to != role);
        rights.role(who) != *role || is_waiting(&wants)
    };
    let differs =
        |(who, role): &(IdentityId, Option<Role>)| wanted.roles.iter().any(|(other, to)| other == who && to != role);
    if let Some((who, _)) = wanted.roles.iter().find(|named| differs(named)) {
        return Err(RolesError::Twice(*who));
    }
    let mut changes: Vec<_> = wanted.roles.iter().filter(is_changed).copied().collect();
    changes.sort_unstable();
    changes.dedup();
    let is_new = |(class, name, is_protected): &&(RefClass, RefName, bool)| {
        let wants = |roles: &Roles| roles.protect.contains(&(*class, name.clone(), !is_protected));
        rights.protected.contains(&(*class, name.clone())) != *is_protected || is_waiting(&wants)
    };
    let mut protect: Vec<_> = wanted.protect.iter().filter(is_new).cloned().collect();
    protect.sort_unstable();
    protect.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
    let mut roles =
        Roles { previous: rights.last, changes, owner_threshold: 0, protect, cuts: Vec::new(), rules: None };
    let n_owners = owners_after(rights, &roles).len();
    let least = n_owners / 2 + 1;
    let fits = |threshold: u8| (least..=n_owners).contains(&usize::from(threshold));
    roles.owner_threshold = match wanted.threshold {
        _ if n_owners == 0 => return Err(RolesError::NoOwner(named.reference.clone())),
        Some(wanted) if !fits(wanted) => return Err(RolesError::Threshold { n_owners, least, wanted }),
        Some(wanted) => wanted,
        None if fits(rights.owner_threshold) => rights.owner_threshold,
        None => u8::try_from(least).unwrap_or(u8::MAX),
    };
    let is_possible = rights.after(EntryId::from_bytes([0; 32]), &roles).is_some();
    is_possible.then_some(roles).ok_or_else(|| RolesError::Full(named.reference.clone()))
}

fn owners_after(rights: &Rights, roles: &Roles) -> BTreeSet<IdentityId> {
    let mut owners: BTreeSet<IdentityId> = rights.owners().collect();
    for (who, role) in &roles.changes {
        if *role == Some(Role::Owner) {
            owners.insert(*who);
        } else {
            owners.remove(who);
        }
    }
    owners
}

/// That what is to be taken back was published by somebody else who loses a role: nothing else can be.
fn ensure_theirs(me: IdentityId, named: &Named, wanted: &Wanted, roles: &Roles) -> Result<(), RolesError> {
    let state = &named.history.state;
    for release in &wanted.before {
        let known = state.releases.get(release);
        let version = known.map_or_else(|| format!("r:{release}"), |known| known.release.version.to_string());
        let writer = known.and_then(|known| Some((known, state.writers.get(&known.writer)?)));
        let is_named = |who: &IdentityId| *who != me && wanted.roles.iter().any(|(other, _)| other == who);
        let Some((known, writer)) = writer.filter(|(_, writer)| is_named(&writer.identity)) else {
            return Err(RolesError::NotTheirs(version));
        };
        let who = writer.identity;
        let loses = roles.changes.iter().any(|(other, role)| *other == who && *role < state.rights.role(&who));
        // What counts no more is taken back already.
        if !loses && known.index < writer.until {
            return Err(RolesError::NoRoleToLose { version, reference: named.reference.clone(), who });
        }
    }
    Ok(())
}

/// How far the logs count of those who may do less than before: as they are known here, or up to before a release.
fn cuts(
    me: IdentityId,
    history: &History,
    roles: &Roles,
    before: &[ReleaseId],
) -> Vec<(syncra_protocol::key::DeviceKey, Option<Cut>)> {
    let History { evidence, state } = history;
    let is_lowered = |who: &IdentityId| {
        *who != me && roles.changes.iter().any(|(other, role)| other == who && *role < state.rights.role(who))
    };
    let mut cuts = Vec::new();
    for (origin, writer) in &state.writers {
        let Subject::Package(_) = origin.subject else { continue };
        if !is_lowered(&writer.identity) {
            continue;
        }
        let of_log = before.iter().filter_map(|release| state.releases.get(release));
        let first = of_log.filter(|release| release.writer == *origin).map(|release| release.index).min();
        let size = first.unwrap_or_else(|| state.frontier.size(origin));
        let root = evidence.log(origin).and_then(|log| log.root_at(size)).filter(|_| size > 0);
        cuts.push((origin.key, root.map(|root| Cut { size, root })));
    }
    // Of more logs than one entry names counts what those who agree had seen.
    cuts.truncate(ROLE_CUTS);
    cuts.sort_unstable();
    cuts
}

/// The open change that somebody names by its id or the beginning of it.
fn find<'a>(named: &'a Named, text: &str) -> Result<&'a Open, RolesError> {
    let open = &named.history.state.open;
    let found = only(text, open.iter().map(|open| open.entry))?;
    let found = found.and_then(|id| open.iter().find(|open| open.entry == id));
    found.ok_or_else(|| RolesError::NoChange { reference: named.reference.clone(), change: text.to_owned() })
}

/// The one that somebody names by its id or the beginning of it, if there is one.
fn only(text: &str, ids: impl Iterator<Item = EntryId>) -> Result<Option<EntryId>, RolesError> {
    let fits = |id: &EntryId| text.len() >= ID_CHARACTERS && id.to_string().starts_with(text);
    let found: Vec<EntryId> = ids.filter(fits).collect();
    match found[..] {
        [] => Ok(None),
        [id] => Ok(Some(id)),
        _ => {
            let changes = found.iter().map(EntryId::to_string).collect();
            Err(RolesError::Ambiguous { change: text.to_owned(), changes })
        }
    }
}
