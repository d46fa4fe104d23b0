//! What waits for the user in the packages that are known here: changes to agree to, roles, refs to bring together.

use std::collections::BTreeSet;
use std::time::Duration;

use syncra_protocol::entry::{RefClass, Role};
use syncra_protocol::fold::{Open, OpenChange, PackageState};
use syncra_protocol::id::{IdentityId, PackageId};
use syncra_protocol::origin::Subject;

use super::super::{packages, roles};
use crate::clock;
use crate::flow::{Parts, resolve};
use crate::journal::Regard;
use crate::problem::Problem;

/// Packages that are looked at: those that the user has to do with first. A mirror knows more than a glance is worth.
const LOOKED_AT: usize = 128;
/// Lines of one sort.
const SHOWN: usize = 8;
/// For how long a role is new that was never used.
const NEW: Duration = Duration::from_secs(30 * 86_400);
/// Characters of an id in a command.
const SHORT: usize = 12;

/// What waits, a line each, with the command that settles it.
pub(super) fn lines(parts: &Parts) -> Result<Vec<String>, Problem> {
    let (mut changes, mut given, mut diverged) = (Vec::new(), Vec::new(), Vec::new());
    for package in looked_at(parts)? {
        let Some(history) = parts.histories.package(package)? else { continue };
        let state = &history.state;
        // Of whom one wants to hear nothing one hears of no offer, unless the package is one's own too.
        if parts.is_blocked(state) && state.rights.role(&parts.identity()) != Some(Role::Owner) {
            continue;
        }
        let reference = resolve::text(&parts.histories, package)?;
        for open in state.open.iter().filter(|open| !is_blocked(parts, &open.by)) {
            changes.extend(change(parts, state, open, &reference)?);
        }
        given.extend(new_role(parts, state, &reference));
        if state.may_write(&parts.identity(), &parts.device) {
            diverged.extend(diverged_refs(state, &reference));
        }
    }
    let see = ["`syncra role PKG` lists them", "`syncra role PKG` shows yours", "`syncra channel PKG` shows them"];
    Ok([changes, given, diverged].into_iter().zip(see).flat_map(|(lines, see)| bounded(lines, see)).collect())
}

fn is_blocked(parts: &Parts, who: &IdentityId) -> bool {
    parts.histories.journal().truth().regard(who) == Regard::Blocked
}

/// The packages that the user writes to, follows or has installed, then others.
fn looked_at(parts: &Parts) -> Result<Vec<PackageId>, Problem> {
    let mut first = BTreeSet::new();
    {
        let truth = parts.histories.journal().truth();
        first.extend(truth.own_logs().filter_map(|(origin, _)| match origin.subject {
            Subject::Package(package) => Some(package),
            Subject::Identity(_) => None,
        }));
        first.extend(truth.follows().map(|(package, _)| *package));
    }
    first.extend(parts.installed.current()?.packages.into_keys());
    if let Some(own) = parts.histories.identity(parts.identity())? {
        first.extend(own.names.values().copied());
    }
    let others = parts.histories.packages().into_iter().filter(|package| !first.contains(package));
    Ok(first.iter().copied().chain(others).take(LOOKED_AT).collect())
}

/// A change that waits for this device's identity, or offers it a role.
fn change(parts: &Parts, state: &PackageState, open: &Open, reference: &str) -> Result<Option<String>, Problem> {
    let me = parts.identity();
    let waits_for_me = open.needs.iter().any(|needs| needs.of.contains(&me));
    let offered = offered(state, open, &me).filter(|_| !open.agreed.contains(&me));
    let by = || Ok::<_, Problem>(packages::person(parts, open.by)?.short());
    let id = open.entry.to_string();
    let id = id.get(..SHORT).unwrap_or(&id);
    let agree = format!("agree by `syncra endorse {reference} {id}`");
    Ok(match (waits_for_me, offered) {
        (true, Some(role)) => Some(format!("{} wants you to be {role} of {reference}: {agree}", by()?)),
        (true, None) => {
            Some(format!("{} wants of {reference}: {}; {agree}", by()?, roles::says(state, open).join(", ")))
        }
        (false, Some(role)) => {
            Some(format!("{} wants you to be {role} of {reference}; that waits for other owners", by()?))
        }
        (false, None) => None,
    })
}

/// The higher role that somebody would have.
fn offered(state: &PackageState, open: &Open, who: &IdentityId) -> Option<Role> {
    let OpenChange::Roles(roles) = &open.change else { return None };
    let role = roles.changes.iter().find(|(other, _)| other == who)?.1;
    role.filter(|role| Some(*role) > state.rights.role(who))
}

/// A role that was given not long ago, and that no device of the identity has used.
fn new_role(parts: &Parts, state: &PackageState, reference: &str) -> Option<String> {
    let me = parts.identity();
    let role = state.role(&me, &parts.device)?;
    let is_own = |subject: &Subject| matches!(subject, Subject::Package(_));
    if state.writers.iter().any(|(origin, writer)| is_own(&origin.subject) && writer.identity == me) {
        return None;
    }
    let given = parts.histories.journal().truth().first_seen(&state.rights.last?);
    if given.is_some_and(|given| clock::now().since(given) > NEW) {
        return None;
    }
    let begin = format!("`syncra checkout {reference} DIR` begins");
    let may = match role {
        Role::Contributor => "publish onto branches: ",
        Role::Maintainer => "publish: ",
        Role::Owner => "",
    };
    Some(format!("you are {role} of {reference} now; {may}{begin}"))
}

/// Refs that point to several places, in a package that this device writes to.
fn diverged_refs(state: &PackageState, reference: &str) -> Vec<String> {
    let line = |((class, name), points): (&(RefClass, _), &syncra_protocol::fold::RefState)| {
        let version = |id| Some(&state.releases.get(&id)?.release.version);
        let places = points.values().into_iter().map(|place| match place {
            None => (None, "nothing".to_owned()),
            Some(id) => (version(id), version(id).map_or_else(|| format!("r:{}", id.fmt_short()), ToString::to_string)),
        });
        let places: BTreeSet<_> = places.collect();
        let places: Vec<String> = places.into_iter().map(|(_, place)| place).collect();
        let pick = format!("`syncra {class} {reference} {name} VERSION` picks one");
        // A removal cannot be merged with anything, and a tag has no checkout.
        let how = match class {
            RefClass::Tag => pick,
            RefClass::Branch | RefClass::Channel => {
                format!("`syncra merge` in a checkout, then `syncra publish`, brings them together; {pick}")
            }
        };
        format!("{class} `{name}` of {reference} has diverged, to {}: {how}", places.join(" and "))
    };
    state.refs.iter().filter(|(_, points)| points.is_diverged()).map(line).collect()
}

/// The first lines, and how many more there are.
fn bounded(mut lines: Vec<String>, see: &str) -> Vec<String> {
    let n_more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    lines.extend((n_more > 0).then(|| format!("{n_more} more of this sort; {see}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_the_rest_counted() {
        let lines = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(bounded(lines(SHOWN), "see"), lines(SHOWN));
        let many = bounded(lines(SHOWN + 3), "see");
        assert_eq!((many.len(), many.last().map(String::as_str)), (SHOWN + 1, Some("3 more of this sort; see")));
    }
}
