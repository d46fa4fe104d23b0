//! `syncra info`

use std::path::PathBuf;

use super::client::Client;
use super::context::Context;
use super::fork;
use super::role;
use super::ui::text;
use crate::api::types::{ForkInfo, ForkedInfo};
use crate::api::verbs::packages::{Forks, Info, InfoResponse, OwnerInfo, PackageRequest, ReleaseInfo};
use crate::clock;
use crate::problem::{Code, Problem};

/// Show all that is known of a package
///
/// Owners, releases, channels, and what was verified to tell this. How new it is can only
/// be said by witnesses on your list (`syncra witness`); without them freshness is `unknown`.
/// A key that signed two histories is shown loudly, with what became of it and what to do;
/// `--fork-proof` writes the evidence. A package that is not known here is looked for first,
/// unless `--offline`.
///
/// Examples:
///   syncra info @alice~k3v9x2m4q7ab/rocket
///   syncra info @alice/rocket --json
///   syncra info @alice/rocket --fork-proof rocket.fork
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// Write the proof that a key signed two histories to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    fork_proof: Option<PathBuf>,
    /// Of which log, if several are forked
    #[arg(long, value_name = "ORIGIN", requires = "fork_proof")]
    log: Option<String>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let request = PackageRequest { reference: self.package.clone() };
        if let Some(file) = self.fork_proof {
            let forks = client.call_about::<Forks>(context, &self.package, request).await?.forks;
            let proof = one_of(forks, self.log.as_deref())?;
            fork::write(&file, &proof)?;
            return context.ui().data("fork-proof", &proof, fork::human);
        }
        let info = client.call_about::<Info>(context, &self.package, request).await?;
        context.ui().data("info", &info, human)
    }
}

/// The only fork proof, or the one of the log that was named.
fn one_of(mut forks: Vec<ForkInfo>, log: Option<&str>) -> Result<ForkInfo, Problem> {
    forks.retain(|fork| log.is_none_or(|log| fork.origin == log));
    match forks.len() {
        0 => Err(Problem::new(Code::NotFound, "no key is known to have signed two histories of it")),
        1 => Ok(forks.remove(0)),
        _ => {
            let problem = Problem::new(Code::Ambiguous, "several logs are forked");
            let problem = forks.into_iter().fold(problem, |problem, fork| problem.with_cause(fork.origin));
            Err(problem.with_hint("name one by `--log ORIGIN`"))
        }
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
    for known in info.roles.iter().filter(|known| known.role != "owner") {
        lines.push(format!("{:10} {}", format!("{}:", known.role), role::name(&known.who)));
    }
    match &info.permissions {
        Some(asked) if asked.is_empty() => lines.push("asks for:  nothing".to_owned()),
        Some(asked) => lines.push(format!("asks for:  {}", asked.join(", "))),
        None => {}
    }
    lines.extend(info.needs.iter().map(|need| format!("needs:     {need}")));
    for channel in &info.channels {
        let version = |id: &String| {
            info.releases.iter().find(|r| r.release_id == *id).map_or_else(|| id.clone(), |r| r.version.clone())
        };
        let versions: Vec<_> = channel.releases.iter().map(version).collect();
        lines.push(format!("channel:   {} → {}", channel.name, versions.join(", ")));
    }
    lines.extend(info.protected.iter().map(|known| format!("protected: {} `{}`", known.class, known.name)));
    lines.extend(info.open.iter().flat_map(role::open));
    if let Some(rules) = info.newer_rules {
        lines.push(format!("NEWER:     owners agreed to rules of number {rules}, which this version does not know"));
    }
    let (logs, entries) = (info.verified.logs, info.verified.entries);
    lines.push(format!("verified:  {logs} logs with {entries} entries"));
    lines.push(format!("freshness: {}", text::freshness(&info.witnessed, clock::now())));
    for ForkedInfo { log, detail, next, .. } in &info.forks {
        lines.push(format!("FORKED:    {log}: {detail}"));
        lines.extend(next.as_ref().map(|next| format!("           {next}")));
    }
    let no_room = |who: &String| {
        format!("NO ROOM:   further logs of {who} are left out: it has as many as a package has room for")
    };
    lines.extend(info.no_room.iter().map(no_room));
    let row = |r: &ReleaseInfo| {
        let seen = r.first_seen_ms.map(text::utc).unwrap_or_default();
        let reason = r.redacted.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        [r.version.clone(), r.state.clone() + &reason, text::bytes(r.total_bytes), r.n_files.to_string(), seen]
    };
    let all = || info.releases.iter().chain(&info.contributed);
    let rows: Vec<_> = all().map(row).collect();
    lines.push(text::table(["VERSION", "STATE", "SIZE", "FILES", "FIRST SEEN"], &rows));
    // What its version does not name.
    let by_id = |r: &ReleaseInfo| Some(format!("{} ({}) is got as {}", r.version, r.state, r.by.as_ref()?));
    lines.extend(all().filter(|r| r.state != "revoked" && r.state != "forked").filter_map(by_id));
    lines.join("\n")
}
