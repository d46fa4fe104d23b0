//! `syncra events`

use super::client;
use super::context::Context;
use super::ui::text;
use crate::event::{Event, EventFrame};
use crate::problem::Problem;

/// Follow what happens in the node
///
/// Prints one line for each event until the node stops or you press Ctrl-C; with `--json`
/// one JSON object a line, the same as the API's events. `resync` means that events were
/// missed: read the state anew.
///
/// Examples:
///   syncra events
///   syncra events --since 0 --json        all that the node remembers, then what comes
///   syncra events --since 1767225600123   what came after the event with this number
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Begin after the event with this number; 0 for all that is remembered
    #[arg(long, value_name = "N")]
    since: Option<u64>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let node = client::running(context).await?;
        let mut events = node.events(self.since).await?;
        while let Some(frame) = events.next().await? {
            context.ui().frame(&frame, human)?;
        }
        context.ui().note("the node has stopped");
        Ok(())
    }
}

fn human(frame: &EventFrame) -> String {
    let what = match &frame.event {
        Event::NodeStarted => "the node is up".to_owned(),
        Event::NodeStopping => "the node is stopping".to_owned(),
        Event::Resync => "some events were missed".to_owned(),
        Event::TokenCreated { id } => format!("token `{id}` was made"),
        Event::TokenRevoked { id } => format!("token `{id}` was revoked"),
        Event::PeerConnected { peer } => format!("peer {peer} is connected"),
        Event::PeerDisconnected { peer } => format!("peer {peer} is gone"),
        Event::PeerFault { peer, fault, .. } => format!("peer {peer} {fault}"),
        Event::PackageUpdated { package_id, n_releases } => {
            format!("package {package_id} has news: {}", text::count(*n_releases as u64, "new release"))
        }
        Event::Published { reference, .. } => format!("published {reference}"),
        Event::ConfigChanged { key } => format!("setting `{key}` was changed"),
        Event::Installed { package, version, path, .. } => {
            format!("version {version} of {} was installed in {path}", package.fmt_short())
        }
        Event::Removed { package } => format!("{} was removed", package.fmt_short()),
        Event::Followed { package, channel: None } => format!("{} is followed", package.fmt_short()),
        Event::Followed { package, channel: Some(channel) } => {
            format!("{} is followed along `{channel}`", package.fmt_short())
        }
        Event::RegardChanged { identity } => format!("you said something else of {}", identity.fmt_short()),
        Event::Unfollowed { package } => format!("{} is followed no more", package.fmt_short()),
        Event::FollowRefused { reference, version, reason, hint, .. } => {
            let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            format!("{reference}{version} is not installed unasked: {reason}; {hint}")
        }
        Event::FollowFailed { package, reason } => {
            format!("the newer release of {} could not be installed yet: {reason}", package.fmt_short())
        }
        Event::Proposed { package, proposal, title } => {
            format!("proposed to {}: {title} (syncra:{proposal})", package.fmt_short())
        }
        Event::GenerationChanged { generation } => format!("generation {generation} is in force"),
    };
    format!("{}  {}  {what}", frame.seq, text::utc(frame.at_ms))
}
