//! How a change of what is installed is shown: by `add`, `update`, `remove` and `rollback`.

use super::context::Context;
use super::ui::text;
use crate::api::verbs::install::{ChangeInfo, ChangeResponse};
use crate::problem::Problem;

pub(super) fn show(context: &Context, verb: &str, change: &ChangeResponse) -> Result<(), Problem> {
    change.warnings.iter().for_each(|warning| context.ui().warning(warning));
    for kept in &change.kept {
        context.ui().warning(&format!("{} stays as it is: {}", kept.reference, kept.why));
    }
    if change.changes.is_empty() {
        context.ui().note("nothing to change");
    }
    context.ui().data(verb, change, human)
}

pub(super) fn human(change: &ChangeResponse) -> String {
    let mut lines: Vec<String> =
        change.changes.iter().flat_map(|change| [Some(line(change)), asks(change)]).flatten().collect();
    let new = match change.unpacked_bytes {
        0 => String::new(),
        bytes => format!(", {} on disk", text::bytes(bytes)),
    };
    let fetched = match change.fetched_bytes {
        0 => String::new(),
        bytes => format!(", {} fetched", text::bytes(bytes)),
    };
    let generation = change.generation;
    lines.push(match change.dry_run {
        true => format!("generation {generation} would be left{new}"),
        false => format!("generation {generation}{new}{fetched}"),
    });
    lines.join("\n")
}

/// What a package asks for that the release before did not.
pub(super) fn asks(change: &ChangeInfo) -> Option<String> {
    match (change.asks_unknown, change.asks.is_empty()) {
        (true, _) => Some("    what it asks for is not known here".to_owned()),
        (false, true) => None,
        (false, false) if change.from.is_some() => Some(format!("    newly asks for: {}", change.asks.join(", "))),
        (false, false) => Some(format!("    asks for: {}", change.asks.join(", "))),
    }
}

fn line(change: &ChangeInfo) -> String {
    let reference = &change.reference;
    match (&change.from, &change.to) {
        (None, Some(to)) => format!("+ {reference} {to}"),
        (Some(from), Some(to)) => format!("~ {reference} {from} -> {to}"),
        (Some(from), None) => format!("- {reference} {from}"),
        (None, None) => reference.clone(),
    }
}
