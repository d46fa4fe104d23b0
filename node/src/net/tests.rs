//! Real nodes on loopback.

mod budgets;
mod connections;
mod dht;
mod frames;
mod hostile;
mod interop;
mod lan;
mod moving;
mod namespace;
mod raw;
mod streams;
mod versions;

use std::time::Duration;

use syncra_protocol::key::DeviceKey;

use libp2p::multiaddr::Protocol as Part;

use super::{Inbounds, Multiaddr, Net, NetConfig, NetEvent, OpenError, with_peer};

/// A test that hangs fails here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that listens on loopback only and looks for nobody.
fn quiet(seed: u8, transports: &[&str]) -> NetConfig {
    let listen = transports.iter().map(|text| text.parse().expect("address")).collect();
    NetConfig { listen, lan: None, ..NetConfig::new([seed; 32]) }
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

async fn node(seed: u8) -> (Net, Inbounds) {
    Net::start(quiet(seed, &[TCP])).await.expect("starts")
}

/// The first address of a node, with its peer id.
fn address(net: &Net) -> Multiaddr {
    let address = net.listen_addrs().into_iter().next().expect("listens");
    with_peer(address, &net.key()).expect("own key")
}

/// The TCP or UDP port of an address.
fn port(address: &Multiaddr) -> u16 {
    let port = |part| match part {
        Part::Tcp(port) | Part::Udp(port) => Some(port),
        _ => None,
    };
    address.iter().find_map(port).expect("a port")
}

/// Runs a test to its end or fails it.
async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("does not hang")
}

async fn until(events: &mut tokio::sync::broadcast::Receiver<NetEvent>, wanted: &NetEvent) {
    while events.recv().await.expect("events go on") != *wanted {}
}

/// Waits until both sides know of the connection.
async fn connect(from: &Net, to: &Net) -> DeviceKey {
    let mut events = to.events();
    let key = from.dial(address(to)).await.expect("dials");
    until(&mut events, &NetEvent::Connected { peer: from.key() }).await;
    key
}
