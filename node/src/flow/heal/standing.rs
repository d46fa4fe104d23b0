//! What became of logs whose keys signed two histories, and what there is to do about them: for whoever asks, by the states
//! that the fold gives and the words that it goes by.

use core::fmt;
use std::collections::BTreeSet;

use syncra_protocol::entry::{Body, Cut, DeviceRole, Role};
use syncra_protocol::fold::{DeviceStatus, End, IdentityState, Open, OpenChange, PackageState};
use syncra_protocol::id::{EntryId, IdentityId, PackageId};
use syncra_protocol::origin::{Origin, Subject};

use super::{device_text, ensure_authorised, said_by};
use crate::flow::resolve::{self, Named};
use crate::flow::{Parts, identity};
use crate::history::{LoadError, body_of};

/// A log whose key signed two histories, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// The log.
    pub log: Origin,
    /// Entries of it that are here.
    pub held: u64,
    /// How many of these count.
    pub counted: u64,
    /// What was said of it.
    pub standing: Standing,
    /// What the user of this device can do; none if there is nothing to do.
    pub next: Option<String>,
}

/// What was said of a forked log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing that counts.
    Open {
        /// How many entries are in both histories, if that is known here.
        n_common: Option<u64>,
    },
    /// An owner said that a history goes on, and others must agree.
    Waits {
        /// Who.
        by: String,
    },
    /// Some named one history, some the other: neither goes on.
    Disputed,
    /// The history that is here goes on.
    Healed {
        /// Who said so.
        by: String,
    },
    /// Another one does, or more of it than is here.
    Elsewhere {
        /// Who said so.
        by: String,
    },
    /// Its writer has no say any more, which says how far it counts.
    Cut {
        /// How that came.
        how: String,
    },
}

impl Standing {
    /// The word for it in answers.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Waits { .. } => "waits",
            Self::Disputed => "disputed",
            Self::Healed { .. } => "healed",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Cut { .. } => "cut",
        }
    }
}

impl Forked {
    /// Whether something was said that settles what counts.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Healed { .. } | Standing::Elsewhere { .. } | Standing::Cut { .. })
    }
}

impl fmt::Display for Forked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, counted, .. } = self;
        f.write_str("its key signed two histories; ")?;
        match &self.standing {
            Standing::Open { n_common: Some(n) } => write!(f, "the first {n} entries are in both")?,
            Standing::Open { n_common: None } => f.write_str("where they part is not known here")?,
            Standing::Waits { by } => write!(f, "{by} said that one goes on, and other owners must agree")?,
            Standing::Disputed => f.write_str("both were named to go on, so neither does")?,
            Standing::Healed { by } => write!(f, "healed: {by} said that the one here goes on")?,
            Standing::Elsewhere { by } => {
                write!(f, "healed: {by} said that another one goes on, or more than is here")?
            }
            Standing::Cut { how } => f.write_str(how)?,
        }
        write!(f, "; {counted} of the {held} entries here count, and nothing newer of it is taken in")
    }
}

/// Every log of the package, or of its people, whose key signed two histories.
///
/// # Errors
/// [`LoadError`].
pub fn forked(parts: &Parts, named: &Named) -> Result<Vec<Forked>, LoadError> {
    let origins = named.history.evidence.forks().map(|proof| *proof.origin());
    origins.map(|log| one(parts, named, log)).collect()
}

/// What the user should know of forked logs, whatever package they are of: of those where nothing settles what counts, or there
/// is something to do.
///
/// # Errors
/// [`LoadError`].
pub fn warnings(parts: &Parts) -> Result<Vec<String>, LoadError> {
    // Of an identity's log any package of that identity tells.
    let mut open: BTreeSet<Origin> = parts.histories.journal().truth().forked_logs().copied().collect();
    let of_packages = |origin: &Origin| match origin.subject {
        Subject::Package(package) => Some(package),
        Subject::Identity(_) => None,
    };
    let mut packages: BTreeSet<PackageId> = open.iter().filter_map(of_packages).collect();
    if packages.len() < open.len() {
        packages.extend(parts.histories.packages());
    }
    let mut warnings = Vec::new();
    for package in packages {
        let Some(history) = parts.histories.package(package)? else { continue };
        let named = Named { reference: resolve::text(&parts.histories, package)?, history, selector: None };
        for forked in forked(parts, &named)? {
            if open.remove(&forked.log) && (!forked.is_settled() || forked.next.is_some()) {
                let next = forked.next.as_ref().map(|next| format!(": {next}")).unwrap_or_default();
                warnings.push(format!("{} of {}: {forked}{next}", forked.log, named.reference));
            }
        }
    }
    warnings.extend(
        open.iter().map(|log| format!("the key of {log} has signed two histories; nothing newer of it is taken in")),
    );
    Ok(warnings)
}

fn one(parts: &Parts, named: &Named, log: Origin) -> Result<Forked, LoadError> {
    let (state, evidence) = (&named.history.state, &named.history.evidence);
    let held = evidence.size(&log);
    let counted = state.forked.get(&log).copied().unwrap_or(0).min(held);
    let standing = match how_cut(parts, state, &log)? {
        Some(how) => Standing::Cut { how },
        None => said(parts, named, &log)?,
    };
    let mut forked = Forked { log, held, counted, standing, next: None };
    forked.next = next(parts, named, &forked)?;
    Ok(forked)
}

/// How the writer of a log lost its say, if it did.
fn how_cut(parts: &Parts, state: &PackageState, log: &Origin) -> Result<Option<String>, LoadError> {
    for (identity, owner) in &state.owners {
        if matches!(log.subject, Subject::Identity(of) if of != *identity) {
            continue;
        }
        match owner.devices.get(&log.key).map(|device| &device.status) {
            Some(DeviceStatus::Suspended { by }) => {
                let who = who_suspended(parts, *identity, owner, by)?;
                let who = who.map(|who| format!(" by {who}")).unwrap_or_default();
                return Ok(Some(format!("its device was suspended{who}")));
            }
            Some(DeviceStatus::Revoked) => return Ok(Some("its device was revoked by the recovery key".to_owned())),
            Some(DeviceStatus::Active) | None => {}
        }
    }
    let is_removed = state.writers.get(log).is_some_and(|writer| writer.end == Some(End::Revoked));
    Ok(is_removed.then(|| "its writer's role was taken away".to_owned()))
}

/// Which device wrote one of these entries.
fn who_suspended(
    parts: &Parts,
    identity: IdentityId,
    owner: &IdentityState,
    by: &BTreeSet<EntryId>,
) -> Result<Option<String>, LoadError> {
    for key in owner.devices.keys() {
        let entries = parts.histories.entries(&Origin::identity(identity, *key), 0, u64::MAX)?;
        if entries.iter().any(|entry| by.contains(&EntryId::of(entry))) {
            return device_text(parts, identity, owner, key).map(Some);
        }
    }
    Ok(None)
}

/// What those with authority said last of a log, each in its own.
fn said(parts: &Parts, named: &Named, log: &Origin) -> Result<Standing, LoadError> {
    let (state, evidence) = (&named.history.state, &named.history.evidence);
    let is_about = |open: &&Open| match &open.change {
        OpenChange::ForkResolve(resolve) => resolve.log == log.key,
        OpenChange::Roles(_) | OpenChange::Ref(_) | OpenChange::Redact(_) => false,
    };
    let waiting: Vec<_> = state.open.iter().filter(is_about).collect();
    let (mut here, mut elsewhere) = (None, None);
    let forked = state.writers.get(log);
    let is_heard = |who: &IdentityId| {
        forked.is_some_and(|forked| forked.identity == *who) || state.rights.role(who) == Some(Role::Owner)
    };
    for (writer, known) in &state.writers {
        if writer == log || evidence.is_forked(writer) || !is_heard(&known.identity) {
            continue;
        }
        let Some((index, cut)) = last_word(parts, named, writer, log)? else { continue };
        if waiting.iter().any(|open| open.writer == *writer && open.index == index) {
            continue;
        }
        let is_here = evidence.log(log).and_then(|held| held.root_at(cut.size)) == Some(cut.root);
        let by = if is_here { &mut here } else { &mut elsewhere };
        *by = Some(said_by(parts, state, writer)?);
    }
    let is_healed = forked.is_some_and(|forked| forked.healed.is_some());
    Ok(match (here, elsewhere, waiting.first()) {
        (Some(by), _, _) if is_healed => Standing::Healed { by },
        (Some(_), Some(_), _) => Standing::Disputed,
        (None, Some(by), _) => Standing::Elsewhere { by },
        (_, None, Some(open)) => Standing::Waits { by: said_by(parts, state, &open.writer)? },
        (_, None, None) => Standing::Open { n_common: evidence.n_common(log) },
    })
}

/// What the log of `writer` says last of `log`, and where, if that counts.
fn last_word(parts: &Parts, named: &Named, writer: &Origin, log: &Origin) -> Result<Option<(u64, Cut)>, LoadError> {
    let state = &named.history.state;
    let Some(known) = state.writers.get(writer) else { return Ok(None) };
    let device = state.owners.get(&known.identity).and_then(|owner| owner.devices.get(&writer.key));
    if log.subject != writer.subject || device.is_none_or(|device| device.role != DeviceRole::Manager) {
        return Ok(None);
    }
    let size = named.history.evidence.size(writer).min(known.until);
    let entries = parts.histories.entries(writer, known.from, size.saturating_sub(known.from))?;
    let words = (known.from..).zip(entries).filter_map(|(index, entry)| match body_of(&entry) {
        Some(Body::ForkResolve(resolve)) if resolve.log == log.key => Some((index, resolve.cut)),
        _ => None,
    });
    Ok(words.last())
}

fn next(parts: &Parts, named: &Named, forked: &Forked) -> Result<Option<String>, LoadError> {
    let Forked { log, standing, .. } = forked;
    let (state, me, package) = (&named.history.state, parts.identity(), &named.reference);
    let key = log.key.fmt_short();
    let is_one_of_several = state.forked.keys().filter(|other| other.subject == log.subject).count() > 1;
    let heal = match is_one_of_several {
        true => format!("syncra heal {package} --log {key}"),
        false => format!("syncra heal {package}"),
    };
    let owner = match log.subject {
        Subject::Identity(identity) => Some(identity),
        Subject::Package(_) => state.writers.get(log).map(|writer| writer.identity).or_else(|| owner_of(state, log)),
    };
    let is_mine = owner == Some(me);
    let recover = || -> Result<String, LoadError> {
        let whose = identity::owner_text(&parts.histories, owner.unwrap_or(me))?;
        Ok(format!(
            "`syncra id recover {whose} --revoke {key}` in a new home that knows {package}, by `syncra import` or from whoever is \
             connected"
        ))
    };
    let fresh = "give this device a new home and `syncra pair` it there with another device of yours";
    Ok(match standing {
        Standing::Cut { .. } | Standing::Healed { .. } if log.key == parts.device => {
            Some(format!("what this home signs counts no more: {fresh}"))
        }
        Standing::Cut { .. } => None,
        _ if matches!(log.subject, Subject::Identity(_)) => Some(match is_mine {
            true => format!("only the recovery key says which goes on: {}", recover()?),
            false => "only its owner can say which goes on, by the recovery key; what is installed stays".to_owned(),
        }),
        Standing::Healed { .. } => None,
        Standing::Elsewhere { .. } if log.key == parts.device => Some(format!("this home holds the one that is void: {fresh}")),
        Standing::Elsewhere { .. } => Some(
            "versions that are published from now on come as always; an old one of the other history comes by a file, into \
             another home: `syncra export` where it is, `syncra import FILE --home DIR` here"
                .to_owned(),
        ),
        Standing::Waits { .. } => {
            let waits = state.open.iter().find(|open| {
                matches!(&open.change, OpenChange::ForkResolve(resolve) if resolve.log == log.key)
                    && open.needs.iter().any(|needs| needs.of.contains(&me))
            });
            Some(match waits {
                Some(open) => format!("`syncra endorse {package} {}` agrees", open.entry.fmt_short()),
                None => format!("`syncra role {package}` shows who must agree"),
            })
        }
        Standing::Open { .. } | Standing::Disputed if log.key == parts.device => Some(format!(
            "this device's key has no say: on another managing device of yours `{heal}` keeps the history that is there; \
             with this device only, {}",
            recover()?
        )),
        Standing::Open { .. } | Standing::Disputed if ensure_authorised(parts, named, log).is_ok() => Some(format!(
            "`{heal} --dry-run` shows which versions the history here has, `{heal}` says that it goes on"
        )),
        Standing::Open { .. } | Standing::Disputed if is_mine => Some(format!(
            "on a managing device of yours, whose own key signed one history only, `{heal}` says that the one there goes on"
        )),
        Standing::Open { .. } | Standing::Disputed => Some(format!(
            "its owner says which goes on, by `syncra heal`; what is installed stays. `syncra info {package} --fork-proof FILE` writes \
             what to show them"
        )),
    })
}

/// Whose device it is that writes a log, also if nothing of it counts.
fn owner_of(state: &PackageState, log: &Origin) -> Option<IdentityId> {
    let mut owners = state.owners.iter().filter(|(_, owner)| owner.devices.contains_key(&log.key));
    owners.next().map(|(identity, _)| *identity)
}
