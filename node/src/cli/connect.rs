//! `syncra connect`

use super::client;
use super::context::Context;
use crate::api::verbs::network::{Connect, ConnectRequest};
use crate::problem::Problem;

/// Connect the running node to another one by its address
///
/// The address is one of those that `syncra up` prints on the other machine. With its
/// `/p2p/…` nobody else is accepted there. `/dnsaddr/HOST` stands for a community's list of
/// nodes, of which whoever answers first is taken.
///
/// Examples:
///   syncra connect /ip4/192.0.2.7/tcp/4001
///   syncra connect /ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW…
///   syncra connect /dnsaddr/nodes.example.org
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The address
    #[arg(value_name = "MULTIADDR")]
    address: String,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let node = client::running(context).await?;
        let request = ConnectRequest { address: self.address, timeout_s: Some(context.timeout().as_secs()) };
        let connected = node.call::<Connect>(&request, |_| {}).await?;
        context.ui().data("connect", &connected, |to| format!("connected to {} at {}", to.peer, to.address))
    }
}
