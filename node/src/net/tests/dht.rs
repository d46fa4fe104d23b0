//! Real nodes that know each other through the distributed hash table only.

use syncra_protocol::record::ProviderKey;

use super::super::{Net, NetEvent, Part, Routing};
use super::{TCP, address, node, quiet, within};

fn key(n: u8) -> ProviderKey {
    ProviderKey::from_slice(&[n; 32]).expect("32 bytes")
}

/// Waits until the table has so many nodes.
async fn knows(net: &Net, n_nodes: usize) -> Routing {
    *net.routing().wait_for(|routing| routing.n_nodes >= n_nodes).await.expect("runs")
}

/// Waits until a node keeps so many records for others.
async fn keeps(net: &Net, n_records: usize) {
    net.routing().wait_for(|routing| routing.n_records >= n_records).await.expect("runs");
}

#[tokio::test]
async fn a_provider_is_found_through_others_and_dialled() {
    within(async {
        let ((hub, _h), (provider, _p)) = (node(1).await, node(2).await);
        let config = super::NetConfig { dht: Part::Asks, ..quiet(3, &[TCP]) };
        let (seeker, _s) = Net::start(config).await.expect("starts");
        provider.dial(address(&hub)).await.expect("dials");
        seeker.dial(address(&hub)).await.expect("dials");
        assert!(knows(&provider, 1).await.is_server, "loopback reaches as far as its peers");
        knows(&seeker, 1).await;
        assert!(provider.provide(key(7)).await.expect("runs"));
        keeps(&hub, 1).await;

        let mut found = seeker.find_providers(key(7)).await.expect("runs");
        assert_eq!(found.recv().await, Some(provider.key()));
        assert_eq!(found.recv().await, None, "the look-up ends");
        let peers = seeker.peers().await.expect("runs");
        assert!(peers.iter().any(|peer| peer.key == provider.key()), "{peers:?}");

        let mut none = seeker.find_providers(key(8)).await.expect("runs");
        assert_eq!(none.recv().await, None, "nobody provides it");
        assert!(!seeker.routing().borrow().is_server);
        assert_eq!(hub.routing().borrow().n_nodes, 1, "who only asks is in nobody's table");
    })
    .await;
}

/// A node at this address, which is public as far as anybody can tell.
#[cfg(target_os = "linux")]
async fn public_node(seed: u8) -> (Net, super::Inbounds) {
    // Ports of their own: dialled from its listening port, a node at the same port would meet itself.
    let listen = vec![format!("/ip4/198.51.100.{seed}/tcp/400{seed}").parse().expect("address")];
    Net::start(super::NetConfig { listen, ..quiet(seed, &[]) }).await.expect("starts")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_comes_for_the_table_only_is_no_peer_until_packages_are_asked_for() {
    use super::namespace::{ip, ran_in_a_namespace};
    const TEST: &str = "net::tests::dht::who_comes_for_the_table_only_is_no_peer_until_packages_are_asked_for";
    if ran_in_a_namespace(TEST) {
        return;
    }
    for seed in 1..=3 {
        ip(&format!("addr add 198.51.100.{seed}/24 dev lo"));
    }
    within(async {
        let ((hub, _h), (far, _f), (seeker, _s)) = (public_node(1).await, public_node(2).await, public_node(3).await);
        let (mut at_far, mut at_seeker) = (far.events(), seeker.events());
        far.dial(address(&hub)).await.expect("dials");
        knows(&far, 1).await;
        seeker.dial(address(&hub)).await.expect("dials");
        // Each asks everybody for its own neighbourhood, so the two get to know each other.
        assert!(knows(&seeker, 2).await.is_server);
        let all = seeker.connected().await.expect("runs");
        assert!(all.iter().any(|peer| peer.key == far.key() && peer.is_contact), "{all:?}");
        assert_eq!(seeker.peers().await.expect("runs").len(), 1, "the hub");
        assert_eq!(hub.peers().await.expect("runs").len(), 0, "nobody has asked it for packages");

        let _stream = seeker.open(far.key(), super::super::Protocol::Log).await.expect("is connected");
        super::until(&mut at_far, &NetEvent::Connected { peer: seeker.key() }).await;
        super::until(&mut at_seeker, &NetEvent::Connected { peer: far.key() }).await;
        assert_eq!(seeker.peers().await.expect("runs").len(), 2, "now it is meant");
    })
    .await;
}

#[tokio::test]
async fn records_outlive_a_restart_of_the_network() {
    within(async {
        let ((hub, _h), (provider, _p)) = (node(1).await, node(2).await);
        provider.dial(address(&hub)).await.expect("dials");
        knows(&provider, 1).await;
        assert!(provider.provide(key(7)).await.expect("runs"));
        keeps(&hub, 1).await;
        let mut events = hub.events();
        hub.panic().await;
        super::until(&mut events, &NetEvent::Restarted).await;
        assert_eq!(hub.records().n_foreign(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_wants_no_table_has_none_and_nobody_waits() {
    within(async {
        let (hub, _h) = node(1).await;
        let config = super::NetConfig { dht: Part::None, ..quiet(2, &[TCP]) };
        let (without, _w) = Net::start(config).await.expect("starts");
        without.dial(address(&hub)).await.expect("dials");
        assert!(!without.provide(key(7)).await.expect("runs"));
        assert_eq!(without.find_providers(key(7)).await.expect("runs").recv().await, None);
        assert_eq!(*without.routing().borrow(), Routing::default());
        assert_eq!(hub.routing().borrow().n_nodes, 0);
    })
    .await;
}
