use std::path::Path;

use super::*;
use crate::home::Home;
use crate::net::NetConfig;
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(60);

fn anywhere() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

async fn start(home: &Path, listen: Multiaddr, bootstrap: Vec<Multiaddr>) -> Node {
    let home = Home::open(home).unwrap();
    let mut config = NetConfig::new(home.device_secret().unwrap().seed());
    config.listen = vec![listen];
    config.lan = None;
    let mut node = Node::start(Arc::new(Parts::open(home).await.unwrap()), config).await.unwrap();
    node.keep_in_touch(bootstrap);
    node
}

fn address(node: &Node) -> Multiaddr {
    node.online().net.listen_addrs().remove(0)
}

async fn until_connected(node: &Node, to: DeviceKey) {
    let mut events = node.online().net.events();
    let connected = async {
        while !connected(&node.online().net).await.contains(&to) {
            events.recv().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("not connected");
}

async fn until_remembered(node: &Node, peer: DeviceKey) {
    let mut events = node.online().net.events();
    let remembered = async {
        while !met(node.parts()).iter().any(|(key, _)| *key == peer) {
            tokio::select! {
                event = events.recv() => drop(event.unwrap()),
                // The task that remembers hears of the same event at the same time.
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, remembered).await.expect("not remembered");
}

#[tokio::test]
async fn a_bootstrap_node_that_comes_late_or_comes_back_is_reached() {
    let (server_home, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Its port must be nobody else's while it is away: those of 127.0.0.1 go to whoever asks for any.
    let own = if cfg!(any(target_os = "linux", windows)) { "127.77.0.1" } else { "127.0.0.1" };
    let server = start(server_home.path(), format!("/ip4/{own}/tcp/0").parse().unwrap(), Vec::new()).await;
    let (place, key) = (address(&server), server.online().net.key());
    server.shutdown().await;

    let node = start(home.path(), anywhere(), vec![place.clone()]).await;
    for _ in 0..2 {
        let server = start(server_home.path(), place.clone(), Vec::new()).await;
        until_connected(&node, key).await;
        server.shutdown().await;
    }
    node.shutdown().await;
}

#[tokio::test]
async fn peers_met_before_are_dialled_after_a_restart() {
    let (friend_home, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let friend = start(friend_home.path(), anywhere(), Vec::new()).await;
    let key = friend.online().net.key();
    let node = start(home.path(), anywhere(), Vec::new()).await;
    node.online().net.dial(address(&friend)).await.unwrap();
    until_remembered(&node, key).await;
    node.shutdown().await;

    let node = start(home.path(), anywhere(), Vec::new()).await;
    until_connected(&node, key).await;
    node.shutdown().await;
    friend.shutdown().await;
}

#[tokio::test]
async fn those_not_met_for_longest_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts::open(Home::open(dir.path()).unwrap()).await.unwrap();
    for n in 0..=REMEMBERED as u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        let met = Met { at: Timestamp(1_000 + n), addresses: vec!["/ip4/192.0.2.7/tcp/4001".to_owned()] };
        parts.index.put(Table::Peers, &key, &codec::encode(&met)).unwrap();
    }
    forget_surplus(&parts).unwrap();
    let met = met(&parts);
    assert_eq!(met.len(), REMEMBERED);
    assert!(!met.iter().any(|(key, _)| *key == DeviceKey::from_bytes([0; 32])));
    parts.close().await;
}
