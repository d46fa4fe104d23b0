//! A network of many nodes that have nothing but the distributed hash table.

use syncra_protocol::key::DeviceKey;

use super::*;
use crate::flow::{get, install, reach, seek};
use crate::net::{Inbounds, Provider};

/// Nodes in all.
const NODES: u8 = 64;
/// A test that hangs fails here.
const HUNG: Duration = Duration::from_secs(240);

/// A node that serves no packages: one more place of the table.
async fn bystander(seed: u8) -> (Net, Inbounds) {
    let mut config = NetConfig::new([seed; 32]);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.lan = None;
    Net::start(config).await.unwrap()
}

fn address_of(net: &Net) -> Multiaddr {
    net::with_peer(net.listen_addrs().remove(0), &net.key()).unwrap()
}

/// Waits until a node of the table keeps a record that this provider has this package.
async fn until_announced(bystanders: &[(Net, Inbounds)], package: PackageId, by: DeviceKey) {
    let mut routings: Vec<_> = bystanders.iter().map(|(net, _)| net.routing()).collect();
    let is_wanted = |record: &Provider| record.key == package.into() && record.provider == by && record.ttl.is_some();
    while !bystanders.iter().any(|(net, _)| net.records().take_changes(usize::MAX).iter().any(is_wanted)) {
        let changes = routings.iter_mut().map(|routing| Box::pin(routing.changed()));
        futures::future::select_all(changes).await.0.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_found_through_the_table_alone_when_publisher_and_bootstrap_are_gone() {
    tokio::time::timeout(HUNG, found_through_the_table_alone()).await.expect("does not hang");
}

async fn found_through_the_table_alone() {
    let (bootstrap, _b) = bystander(0).await;
    let mut bystanders = Vec::new();
    for seed in 1..NODES - 3 {
        let other = bystander(seed).await;
        other.0.dial(address_of(&bootstrap)).await.unwrap();
        bystanders.push(other);
    }

    let (mut alice, mut bob, carol) = (host().await, host().await, host().await);
    let published = alice.publish(package("1.0.0", b"from afar").path()).await;
    alice.node.keep_in_touch(vec![address_of(&bootstrap)]);
    until_announced(&bystanders, published.package, alice.node.online().net.key()).await;

    // bob knows the bootstrap node and an id.
    bob.node.keep_in_touch(vec![address_of(&bootstrap)]);
    bob.node.online().net.routing().wait_for(|routing| routing.n_nodes > 0).await.unwrap();
    let parts = bob.node.parts();
    assert!(seek::history(parts, bob.node.online(), published.package).await, "alice was found");
    let add = install::Request::Add { package: published.package, selector: None };
    let plan = reach::plan(parts, &add, PATIENCE).await.unwrap();
    install::apply(parts, plan, &Progress::unwatched()).await.unwrap();
    until_announced(&bystanders, published.package, bob.node.online().net.key()).await;

    alice.end().await;
    bootstrap.shutdown().await.unwrap();

    // carol knows somebody who has nothing to do with any of it.
    let entrance = address_of(&bystanders[17].0);
    carol.node.online().net.dial(entrance).await.unwrap();
    carol.node.online().net.routing().wait_for(|routing| routing.n_nodes > 0).await.unwrap();
    let parts = carol.node.parts();
    assert!(seek::history(parts, carol.node.online(), published.package).await, "bob was found");
    let wanted = get::Wanted::Release(Box::new(published.release.clone()));
    let dir = tempfile::tempdir().unwrap();
    let got =
        get::get(parts, &wanted, (&dir.path().join("out"), None), PATIENCE, &Progress::unwatched()).await.unwrap();
    let bob_key = bob.node.online().net.key().to_string();
    assert_eq!(got.sources.iter().map(|(peer, _)| peer.as_str()).collect::<Vec<_>>(), [bob_key.as_str()]);
    assert_eq!(std::fs::read(dir.path().join("out/mesh.bin")).unwrap(), b"from afar");

    for host in [bob, carol] {
        host.end().await;
    }
    for (net, _) in bystanders {
        net.shutdown().await.unwrap();
    }
}
