//! `syncra status`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::status::{DhtInfo, PackageCounts, ReachedInfo, ShownDraft, Status, StatusResponse};
use crate::clock;
use crate::problem::Problem;

/// Show how the node is
///
/// Whether it runs, where it is reached, who is connected, what this home has, and what
/// you may want to do something about or agree to. Without a running node it shows what this home has.
///
/// Examples:
///   syncra status
///   syncra status --json
///   SYNCRA_TOKEN=… syncra status --api 127.0.0.1:4711
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let status = client.call::<Status>(context, Empty {}).await?;
        context.ui().data("status", &status, human)
    }
}

fn table(dht: &DhtInfo) -> String {
    let role = if dht.is_server { "and answers others" } else { "and only asks: no address here reaches that far" };
    match dht.n_nodes {
        0 => "table:   knows no other node yet".to_owned(),
        n => format!(
            "table:   knows {n} other node{}, keeps {} records, {role}",
            if n == 1 { "" } else { "s" },
            dht.n_records
        ),
    }
}

fn reached(reached: &ReachedInfo) -> Vec<String> {
    let how = match &*reached.reachability {
        "public" => "from everywhere".to_owned(),
        "behind" if reached.relayed.is_empty() => {
            "not from beyond its own network: behind a NAT or a firewall".to_owned()
        }
        "behind" => "through relays: behind a NAT or a firewall".to_owned(),
        _ if reached.this_machine => "from this machine alone: it listens on loopback addresses only".to_owned(),
        _ => "from its own network; whether from beyond nobody has tried".to_owned(),
    };
    let router = match &*reached.mapping {
        "mapped" => "; the router forwards its ports",
        "router_behind" => "; the router would forward its ports, and is behind another one",
        _ => "",
    };
    let addresses = reached.addresses.iter().chain(&reached.relayed).map(|address| format!("reached: {address}"));
    std::iter::once(format!("reached: {how}{router}")).chain(addresses).collect()
}

fn human(status: &StatusResponse) -> String {
    let mut lines = Vec::new();
    lines.extend(text::silenced(&status.device, status.silenced.as_deref()));
    lines.push(format!("home:    {}", status.home));
    match (status.running, status.pid, status.uptime_ms) {
        (true, Some(pid), Some(uptime)) => {
            lines.push(format!("node:    running, process {pid}, for {}", text::span(uptime)));
        }
        _ => lines.push("node:    not running; start it by `syncra up`".to_owned()),
    }
    lines.extend(status.peer_id.iter().map(|peer| format!("peer id: {peer}")));
    for address in status.api.iter().flat_map(super::up::api_lines) {
        lines.push(format!("api:     {address}"));
    }
    lines.extend(status.gateway.iter().map(|address| format!("gateway: http://{address}/")));
    lines.extend(status.listen.iter().map(|address| format!("listens: {address}")));
    if status.running {
        lines.push(format!("peers:   {}", status.n_peers));
        lines.extend(status.reached.iter().flat_map(reached));
        lines.extend(status.dht.as_ref().map(table));
    }
    let handle = status.handle.as_ref().map(|handle| format!("{handle}, ")).unwrap_or_default();
    lines.push(format!("you:     {handle}{}", status.identity));
    let PackageCounts { known, own, installed, followed } = status.packages;
    lines.push(format!("packages: {own} yours, {installed} installed, {followed} followed, {known} known"));
    lines.push(format!("fresh:   {}", text::freshness(&status.witnesses.witnessed, clock::now())));
    lines.extend(status.witnesses.own.iter().map(|key| format!("witness: this node, as {key}")));
    lines.extend(status.drafts.iter().map(|ShownDraft { reference, name, public }| {
        let whom = if *public { "everybody" } else { "whoever has a role in it" };
        format!("draft:   `{name}` of {reference} is shown to {whom}")
    }));
    lines.push(format!("tokens:  {}", status.n_tokens));
    lines.push(format!("version: {}", status.version));
    lines.extend(status.troubles.iter().map(|trouble| format!("trouble: {trouble}")));
    lines.extend(status.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(status.waits.iter().map(|waits| format!("waits:   {waits}")));
    lines.join("\n")
}
