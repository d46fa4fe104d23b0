//! `syncra peers`

use super::client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::network::{PeerInfo, Peers, PeersResponse};
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
    if peers.peers.is_empty() {
        return "nobody is connected".to_owned();
    }
    let (contacts, peers): (Vec<_>, Vec<_>) = peers.peers.iter().partition(|peer| peer.is_contact);
    let rows: Vec<[String; 6]> = peers.into_iter().map(row).collect();
    let mut lines = vec![text::table(["PEER", "ADDRESS", "WAY", "FOR", "RECEIVED", "SENT"], &rows)];
    if !contacts.is_empty() {
        lines.push(format!("and {} for looking things up only", contacts.len()));
    }
    lines.join("\n")
}

fn row(peer: &PeerInfo) -> [String; 6] {
    let short: String = peer.peer.chars().take(12).collect();
    let address = peer.addresses.first().cloned().unwrap_or_default();
    let way = if peer.is_relayed { "relayed" } else { "direct" };
    let way = way.to_owned();
    [short, address, way, text::span(peer.connected_ms), text::bytes(peer.received_bytes), text::bytes(peer.sent_bytes)]
}
