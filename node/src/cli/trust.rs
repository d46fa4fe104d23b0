//! `syncra trust`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::regard::{
    ChangeRegard, ChangeRegardRequest, ChangeRegardResponse, ListRegards, RegardInfo, RegardsResponse,
};
use crate::problem::Problem;

/// Say whose names you go by, and what you call them; or list that
///
/// A handle is a claim that anybody can make. Of who is trusted, `@handle/name` means the
/// package; of who has a name from you, `@NAME/name` does, whatever they call themselves. It
/// stays on this device. WHOM is an identity as `syncra id` shows it there, `@handle~key`, a name
/// that you gave, or a package of theirs.
///
/// Examples:
///   syncra trust @alice~k3v9x2m4q7ab
///   syncra trust @alice~k3v9x2m4q7ab/rocket --as ally
///   syncra info @ally/rocket
///   syncra trust @ally --off
///   syncra trust
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Who; without it, everybody whom you trust, block or gave a name
    #[arg(value_name = "WHOM")]
    whom: Option<String>,
    /// What to call them
    #[arg(long = "as", value_name = "NAME", requires = "whom", conflicts_with = "off")]
    name: Option<String>,
    /// Trust them no more, and take their name away
    #[arg(long, requires = "whom")]
    off: bool,
    /// Say what would change, change nothing
    #[arg(long, requires = "whom")]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let Some(whom) = self.whom else { return list(context, "trust", |_| true).await };
        let (regard, petname) = match self.off {
            true => ("neutral", Some(String::new())),
            false => ("trusted", self.name),
        };
        let request = ChangeRegardRequest { whom, regard: Some(regard.to_owned()), petname, dry_run: self.dry_run };
        change(context, "trust", request).await
    }
}

/// Says it, and prints what is said now.
pub(super) async fn change(context: &Context, verb: &str, request: ChangeRegardRequest) -> Result<(), Problem> {
    let done = Client::open(context).await?.call::<ChangeRegard>(context, request).await?;
    if done.said.regard == "blocked" && !done.said.installed.is_empty() {
        let installed = done.said.installed.join(", ");
        context.ui().note(&format!("what is installed stays until you remove it: {installed}"));
    }
    context.ui().data(verb, &done, human)
}

/// Prints those of whom something was said, as far as `fits`.
pub(super) async fn list(context: &Context, verb: &str, fits: fn(&RegardInfo) -> bool) -> Result<(), Problem> {
    let mut all = Client::open(context).await?.call::<ListRegards>(context, Empty {}).await?;
    all.regards.retain(fits);
    if all.regards.is_empty() {
        context.ui().note(&format!("nobody yet; `syncra {verb} WHOM` changes that"));
    }
    context.ui().data(verb, &all, rows)
}

fn human(done: &ChangeRegardResponse) -> String {
    let RegardInfo { owner, regard, petname, .. } = &done.said;
    let is = match (regard.as_str(), done.changed, done.dry_run) {
        (word, false, _) => format!("is {word} already"),
        (word, true, true) => format!("would be {word}"),
        (word, true, false) => format!("is {word} now"),
    };
    let called = petname.as_ref().map(|name| format!(", called @{name}")).unwrap_or_default();
    format!("{owner} {is}{called}")
}

fn rows(all: &RegardsResponse) -> String {
    let row = |known: &RegardInfo| {
        let name = known.petname.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
        [known.owner.clone(), known.regard.clone(), name, known.installed.join(", ")]
    };
    let rows: Vec<_> = all.regards.iter().map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => text::table(["WHO", "REGARD", "CALLED", "INSTALLED"], &rows),
    }
}
