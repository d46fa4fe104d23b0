//! `syncra branch`, `syncra tag`, `syncra channel`: one thing under three names.

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::packages::PackageRequest;
use crate::api::verbs::refs::{PlaceInfo, RefInfo, Refs, RefsResponse, SetRef, SetRefRequest, SetRefResponse};
use crate::problem::Problem;

/// List the branches of a package, or point one to a release
///
/// A branch is work in progress: it points to one release and moves on.
///
/// Examples:
///   syncra branch @alice/rocket
///   syncra branch @alice/rocket work/fins 1.3.0-fins.1
///   syncra branch @alice/rocket work/fins --remove
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct BranchArgs {
    #[command(flatten)]
    of: Args,
}

/// List the tags of a package, or set one
///
/// A tag names one release for ever: it is set once, and neither moved nor removed.
///
/// Examples:
///   syncra tag @alice/rocket
///   syncra tag @alice/rocket moon-landing 1.2.0
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct TagArgs {
    #[command(flatten)]
    of: Args,
}

/// List the channels of a package, or point one to a release
///
/// A channel is what people follow: `stable`, `beta`, or one of your own. Promoting is pointing
/// it to where another one points. A channel that two writers moved to different places is
/// diverged; pointing it anywhere ends that.
///
/// Examples:
///   syncra channel @alice/rocket
///   syncra channel @alice/rocket stable beta
///   syncra channel @alice/rocket stable 1.2.0 --dry-run
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ChannelArgs {
    #[command(flatten)]
    of: Args,
}

#[derive(Debug, clap::Args)]
struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// Its name; without one they are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Where to: a version, another channel, tag or branch, or r:RELEASE [default: the newest version]
    #[arg(value_name = "TO", conflicts_with = "remove")]
    to: Option<String>,
    /// Remove it
    #[arg(long, requires = "name")]
    remove: bool,
    /// Only check
    #[arg(long, requires = "name")]
    dry_run: bool,
}

impl BranchArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        self.of.run(context, "branch").await
    }
}

impl TagArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        self.of.run(context, "tag").await
    }
}

impl ChannelArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        self.of.run(context, "channel").await
    }
}

impl Args {
    async fn run(self, context: &Context, class: &'static str) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { package: reference, name, to, remove, dry_run } = self;
        let Some(name) = name else {
            let request = PackageRequest { reference: reference.clone() };
            let mut found = client.call_about::<Refs>(context, &reference, request).await?;
            found.refs.retain(|known| known.class == class);
            return context.ui().data(class, &found, listed);
        };
        let request =
            SetRefRequest { reference: reference.clone(), class: class.to_owned(), name, to, remove, dry_run };
        let done = client.call_about::<SetRef>(context, &reference, request).await?;
        context.ui().data(class, &done, moved)
    }
}

fn listed(found: &RefsResponse) -> String {
    let row = |known: &RefInfo| {
        let places: Vec<_> = known.places.iter().map(place).collect();
        let mark = if known.is_diverged { "diverged" } else { "" };
        [known.name.clone(), places.join(", "), mark.to_owned()]
    };
    let rows: Vec<_> = found.refs.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { text::table(["NAME", "AT", ""], &rows) }
}

fn moved(done: &SetRefResponse) -> String {
    let (points, is_removed) = match done.dry_run {
        true => ("would point to", "would be removed"),
        false => ("points to", "is removed"),
    };
    let (class, name) = (&done.class, &done.name);
    if let Some(change) = &done.waits {
        let change = change.get(..12).unwrap_or(change);
        return format!(
            "{class} `{name}` is protected: the move waits until owners agree by `syncra endorse {} {change}`",
            done.reference
        );
    }
    match (&done.new, done.already) {
        (Some(new), true) => format!("{class} `{name}` points to {} already", place(new)),
        (Some(new), false) => format!("{class} `{name}` {points} {}", place(new)),
        (None, _) => format!("{class} `{name}` {is_removed}"),
    }
}

fn place(place: &PlaceInfo) -> String {
    let short = || format!("r:{}", place.release_id.get(..12).unwrap_or(&place.release_id));
    match &place.version {
        Some(version) if place.by_id => format!("{version} (r:{})", place.release_id),
        Some(version) => version.clone(),
        None => short(),
    }
}
