//! `syncra open`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use super::{add, change};
use crate::api::verbs::install::{Add, AddRequest};
use crate::api::verbs::open::{NeedInfo, Open, OpenRequest, OpenResponse};
use crate::api::verbs::packages::OwnerInfo;
use crate::clock;
use crate::problem::Problem;

/// Show what a link leads to, then install it
///
/// Dials the addresses in the link, fetches and verifies the package's history, and shows
/// what it is, whose, what it asks for and what it needs. Only then it asks; `--yes`
/// answers. What is installed is what was shown, or nothing.
///
/// Nothing in the link is believed: an address has to prove the key that the link names,
/// and what is offered there has to lead to the package's id. `@owner~key/name` works too.
///
/// With `--dry-run`, and with `--json` unless `--yes` stands there, it only shows.
///
/// Examples:
///   syncra open 'syncra:ybjqiy4x…?name=@alice~k3v9x2m4q7ab/rocket&at=/ip4/…'
///   syncra open "$LINK" --dry-run
///   syncra open "$LINK" --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// A link of `syncra share`, or a reference by owner and name
    #[arg(value_name = "URI")]
    uri: String,
    /// Show it, install nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let ui = context.ui();
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let request = OpenRequest { uri: self.uri, offline, timeout_s };
        let shown = client.call::<Open>(context, request).await?;
        shown.warnings.iter().for_each(|warning| ui.warning(warning));
        if self.dry_run || ui.speaks_json() && !ui.answers_yes() {
            return ui.data("open", &shown, human);
        }
        ui.note(&human(&shown));
        if !shown.change.changes.is_empty() {
            ui.confirm(&format!("install {} {}?", shown.reference, shown.version)).await?;
        }
        let (reference, plan) = (shown.add.clone(), Some(shown.change.plan.clone()));
        let (dry_run, follow, trust) = (false, false, None);
        let request = AddRequest { reference, dry_run, follow, offline, trust, plan, timeout_s };
        let fixed = add::fixed(&request.reference);
        let changed = client.call::<Add>(context, request).await?;
        if let Some(note) = fixed {
            ui.note(&note);
        }
        if changed.changes.is_empty() {
            ui.note("nothing to change: it is installed");
        }
        ui.data("open", &OpenResponse { change: changed, ..shown }, |opened| change::human(&opened.change))
    }
}

fn human(shown: &OpenResponse) -> String {
    let OpenResponse { reference, version, kind, verified, .. } = shown;
    let mut lines = vec![format!("{reference} {version} ({kind})")];
    lines.extend(shown.description.iter().map(|line| format!("  {line}")));
    lines.extend(shown.owners.iter().map(|owner| format!("owner: {}", owner_line(owner))));
    lines.push(format!("asks for: {}", list(&shown.permissions)));
    let (files, size) = (text::count(shown.n_files, "file"), text::bytes(shown.total_bytes));
    lines.push(format!("size: {files}, {size}"));
    lines.extend(shown.needs.iter().map(need_line));
    let (logs, entries) = (text::count(verified.logs, "log"), text::count(verified.entries, "entry"));
    lines.push(format!("verified: {logs} with {entries}, each signed by its key"));
    lines.push(format!("freshness: {}", text::freshness(&shown.witnessed, clock::now())));
    lines.extend(shown.forked.iter().map(|log| format!("the key of {log} has signed two histories")));
    lines.push(change::human(&shown.change));
    lines.join("\n")
}

fn owner_line(owner: &OwnerInfo) -> String {
    let called = match (&owner.petname, &owner.handle) {
        (Some(petname), _) => format!(", whom you call {petname}"),
        (None, Some(handle)) => format!(", which calls itself {handle}"),
        (None, None) => String::new(),
    };
    let own = if owner.own { ", that is you" } else { "" };
    format!("{}{called}{own}", owner.identity)
}

fn need_line(need: &NeedInfo) -> String {
    format!("needs: {} {}, which asks for: {}", need.reference, need.version, list(&need.permissions))
}

fn list(permissions: &[String]) -> String {
    if permissions.is_empty() { "nothing".to_owned() } else { permissions.join(", ") }
}
