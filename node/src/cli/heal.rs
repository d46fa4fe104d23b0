//! `syncra heal`

use super::client::Client;
use super::context::Context;
use super::role;
use crate::api::verbs::heal::{Heal, HealRequest, HealResponse};
use crate::problem::Problem;

/// Say which history goes on when a key has signed two
///
/// A home that was copied or restored and used in both places signs two histories of a
/// package. Of such a log only what both have counts. This says that the history on this
/// device counts, as far as it is here. Run it on the device that has the right one: another
/// managing device of the same identity, or one of an owner; the other owners agree by
/// `syncra endorse`. The forked key itself has no say.
///
/// Nothing newer of that log is ever accepted: publish from another device, or give that one
/// a new home. With one device only the recovery key helps: `syncra id recover`.
///
/// Examples:
///   syncra heal @alice/rocket --dry-run
///   syncra heal @alice/rocket --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// The log's key, or its first characters, if several are forked
    #[arg(long, value_name = "KEY")]
    log: Option<String>,
    /// Only tell what would count
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { package: reference, log, dry_run } = self;
        let request = |dry_run| HealRequest { reference: reference.clone(), log: log.clone(), dry_run };
        if !dry_run {
            let would = client.call::<Heal>(context, request(true)).await?;
            let versions = if would.versions.is_empty() { String::new() } else { versions(&would) };
            let question =
                format!("keep the history on this device, {} entries{versions}? The other one is void", would.size);
            context.ui().confirm(&question).await?;
        }
        let done = client.call::<Heal>(context, request(dry_run)).await?;
        context.ui().data("heal", &done, |done| human(done, &reference))
    }
}

fn versions(done: &HealResponse) -> String {
    format!(", with {}", done.versions.join(", "))
}

fn human(done: &HealResponse, package: &str) -> String {
    let did = match (done.already, done.in_effect, done.dry_run) {
        (true, true, _) => "counts already",
        (_, _, true) => "would count",
        (_, true, _) => "counts now",
        (_, false, _) if done.needs.is_empty() => "does not count: somebody named the other history",
        (true, false, _) => "said before, and waits",
        (false, false, _) => "said, and waits",
    };
    let mut lines = vec![format!("{did}: {} entries of {}", done.size, done.log)];
    if !done.versions.is_empty() {
        lines.push(format!("versions: {}", done.versions.join(", ")));
    }
    if let Some(change) = &done.change {
        let change = change.get(..12).unwrap_or(change);
        let needs = done.needs.iter().map(role::needed);
        lines.extend(needs.map(|needs| format!("{needs}: `syncra endorse {package} {change}`")));
    }
    lines.join("\n")
}
