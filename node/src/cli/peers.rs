//! `syncra peers`

use super::client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::network::{OmissionInfo, PeerInfo, Peers, PeersResponse, ShutOutInfo};
use crate::problem::Problem;

/// Show who the running node is connected with
///
/// Examples:
///   syncra peers
///   syncra peers --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let node = client::running(context).await?;
        let peers = node.call::<Peers>(&Empty {}, |_| {}).await?;
        context.ui().data("peers", &peers, human)
    }
}

fn human(peers: &PeersResponse) -> String {
    let (contacts, others): (Vec<_>, Vec<_>) = peers.peers.iter().partition(|peer| peer.is_contact);
    let mut lines = Vec::new();
    if peers.peers.is_empty() {
        lines.push("nobody is connected".to_owned());
    } else {
        let rows: Vec<[String; 7]> = others.iter().map(|peer| row(peer)).collect();
        lines.push(text::table(["PEER", "ADDRESS", "WAY", "FOR", "RECEIVED", "SENT", "SCORE"], &rows));
    }
    if !contacts.is_empty() {
        lines.push(format!("and {} for looking things up only", contacts.len()));
    }
    let poor = others.into_iter().filter(|peer| peer.is_poor);
    lines.extend(poor.map(|peer| format!("{} is asked last: {}", short(&peer.peer), fault(peer.last_fault.as_ref()))));
    lines.extend(peers.peers.iter().flat_map(|peer| peer.omissions.iter().map(|left_out| omission(peer, left_out))));
    lines.extend(peers.shut_out.iter().map(shut_out));
    lines.join("\n")
}

fn short(peer: &str) -> String {
    peer.chars().take(12).collect()
}

fn fault(last: Option<&String>) -> String {
    last.map(|last| format!("it {last}")).unwrap_or_default()
}

fn shut_out(peer: &ShutOutInfo) -> String {
    let until = peer.for_ms.map_or_else(|| "until this node ends".to_owned(), |ms| format!("for {}", text::span(ms)));
    format!("{} is not let in {until}: {}", short(&peer.peer), fault(peer.last_fault.as_ref()))
}

fn omission(peer: &PeerInfo, left_out: &OmissionInfo) -> String {
    let OmissionInfo { verdict, offered, known, n_answers, .. } = left_out;
    let did = match verdict.as_str() {
        "hides" => "hides a newer head",
        "may_hide" => "may hide a newer head",
        _ => "is behind with a head",
    };
    let times = if *n_answers > 1 { format!(" in {n_answers} answers") } else { String::new() };
    let against = match (&left_out.shown_by, &left_out.named_by) {
        (Some(other), _) => format!("{} had {known}", short(other)),
        (None, Some(log)) => format!("an entry of {log} says that there are {known}"),
        (None, None) => format!("this node has {known}"),
    };
    let of = left_out.package.as_ref().unwrap_or(&left_out.log);
    format!("{} {did} of {of}: it offered {offered} entries{times} while {against}", short(&peer.peer))
}

fn row(peer: &PeerInfo) -> [String; 7] {
    let address = peer.addresses.first().cloned().unwrap_or_default();
    let way = if peer.is_relayed { "relayed" } else { "direct" }.to_owned();
    let (received, sent) = (text::bytes(peer.received_bytes), text::bytes(peer.sent_bytes));
    [short(&peer.peer), address, way, text::span(peer.connected_ms), received, sent, peer.score.to_string()]
}
