//! `syncra follow`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::follow::{Follow, FollowInfo, FollowRequest, FollowResponse, Follows, FollowsResponse};
use crate::problem::Problem;

/// Keep a package up to date unasked, or list what is followed
///
/// The running node hears of new releases from whoever is connected, fetches and verifies
/// them, and switches when all is there; until then the installed release stays in force.
/// A package that is not installed yet is installed. `syncra events` shows it happen.
///
/// Not installed unasked, but shown here and by `status`: a release that asks for more
/// permissions than the installed one, that is yanked or contested, that is older than the
/// installed one, or that you went back from. `syncra update PKG` installs those it may.
///
/// Without `--channel` the package moves along what `add` was told, else along `stable`.
///
/// Examples:
///   syncra follow @alice~k3v9x2m4q7ab/rocket
///   syncra follow @alice/rocket --channel beta
///   syncra follow @alice/rocket --off
///   syncra follow
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package; without it all that is followed is listed
    #[arg(value_name = "PKG")]
    reference: Option<String>,
    /// The channel to follow along
    #[arg(long, value_name = "CHANNEL", requires = "reference", conflicts_with = "off")]
    channel: Option<String>,
    /// Follow it no more; what is installed stays
    #[arg(long, requires = "reference")]
    off: bool,
    /// Say what would change, change nothing
    #[arg(long, requires = "reference")]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Some(reference) = self.reference else {
            let follows = client.call::<Follows>(context, Empty {}).await?;
            if follows.follows.is_empty() {
                context.ui().note("nothing is followed; `syncra follow PKG` changes that");
            }
            return context.ui().data("follow", &follows, list);
        };
        let (channel, off, dry_run) = (self.channel, self.off, self.dry_run);
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let request = FollowRequest { reference, channel, off, dry_run, offline, timeout_s };
        let followed = client.call::<Follow>(context, request).await?;
        advise(context, &followed);
        context.ui().data("follow", &followed, human)
    }
}

/// Says what keeps a follow from working by itself.
fn advise(context: &Context, followed: &FollowResponse) {
    let ui = context.ui();
    if followed.followed {
        if let (Some(reason), Some(hint)) = (&followed.follow.reason, &followed.follow.hint) {
            ui.warning(&format!("{} is not updated unasked: {reason}; {hint}", followed.follow.reference));
        }
        if !followed.running {
            ui.note("nothing comes by itself until a node runs: `syncra up`");
        }
    }
}

fn human(response: &FollowResponse) -> String {
    let FollowInfo { reference, channel, .. } = &response.follow;
    let along = channel.as_ref().map(|channel| format!(" along `{channel}`")).unwrap_or_default();
    match (response.dry_run, response.followed, response.changed) {
        (true, true, true) => format!("would follow {reference}{along}"),
        (true, false, true) => format!("would follow {reference} no more"),
        (false, true, true) => format!("following {reference}{along}"),
        (false, false, true) => format!("following {reference} no more"),
        (_, true, false) => format!("already following {reference}{along}"),
        (_, false, false) => format!("{reference} is not followed"),
    }
}

fn list(follows: &FollowsResponse) -> String {
    let row = |follow: &FollowInfo| {
        let what = match (&follow.wanted, &follow.reason) {
            (Some(wanted), Some(reason)) => format!("{wanted}: {reason}"),
            (None, Some(reason)) => reason.clone(),
            (Some(wanted), None) => format!("{wanted} is coming"),
            (None, None) => String::new(),
        };
        let installed = follow.installed.clone().unwrap_or_default();
        [follow.reference.clone(), follow.channel.clone().unwrap_or_default(), installed, follow.state.clone(), what]
    };
    let rows: Vec<_> = follows.follows.iter().map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => text::table(["PACKAGE", "CHANNEL", "INSTALLED", "STATE", ""], &rows),
    }
}
