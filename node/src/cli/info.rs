//! `syncra info`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::packages::{Info, InfoResponse, OwnerInfo, PackageRequest, ReleaseInfo};
use crate::problem::Problem;

/// Show all that is known of a package
///
/// Owners, releases, channels, and what was verified to tell this. How new it is can only
/// be said by witnesses; without them freshness is `unknown`.
///
/// Examples:
///   syncra info @alice~k3v9x2m4q7ab/rocket
///   syncra info @alice/rocket --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let info = client.call::<Info>(context, PackageRequest { reference: self.package }).await?;
        context.ui().data("info", &info, human)
    }
}

fn human(info: &InfoResponse) -> String {
    let mut lines = vec![format!("{} ({})", info.reference, info.kind)];
    lines.extend(info.description.clone());
    lines.push(format!("id:        {}", info.package_id));
    for OwnerInfo { identity, handle, petname, own } in &info.owners {
        let name = petname.as_ref().or(handle.as_ref()).map(|name| format!("{name}, ")).unwrap_or_default();
        lines.push(format!("owner:     {name}{identity}{}", if *own { " (you)" } else { "" }));
    }
    for channel in &info.channels {
        let version = |id: &String| {
            info.releases.iter().find(|r| r.release_id == *id).map_or_else(|| id.clone(), |r| r.version.clone())
        };
        let versions: Vec<_> = channel.releases.iter().map(version).collect();
        lines.push(format!("channel:   {} → {}", channel.name, versions.join(", ")));
    }
    let (logs, entries) = (info.verified.logs, info.verified.entries);
    lines.push(format!("verified:  {logs} logs with {entries} entries; freshness {}", info.freshness));
    lines.extend(info.forked.iter().map(|log| format!("FORKED:    {log}: its key signed two histories")));
    let row = |r: &ReleaseInfo| {
        let seen = r.first_seen_ms.map(text::utc).unwrap_or_default();
        [r.version.clone(), r.state.clone(), text::bytes(r.total_bytes), r.n_files.to_string(), seen]
    };
    let rows: Vec<_> = info.releases.iter().map(row).collect();
    lines.push(text::table(["VERSION", "STATE", "SIZE", "FILES", "FIRST SEEN"], &rows));
    lines.join("\n")
}
