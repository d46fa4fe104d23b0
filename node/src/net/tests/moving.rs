//! A machine that loses a public address.
#![cfg(target_os = "linux")]

use super::super::{NatConfig, Reachability};
use super::namespace::{ip, ran_in_a_namespace};
use super::{Net, NetConfig, Part, quiet, within};

/// Ports of their own: dialled from its listening port, a node at the same port would meet itself.
async fn anywhere(seed: u8) -> (Net, super::Inbounds) {
    let nat = NatConfig { probes: true, ..NatConfig::default() };
    let listen = vec![format!("/ip4/0.0.0.0/tcp/400{seed}").parse().expect("address")];
    Net::start(NetConfig { listen, nat, ..quiet(seed, &[]) }).await.expect("starts")
}

#[tokio::test]
async fn who_loses_a_public_address_is_not_reached_there_any_more() {
    const TEST: &str = "net::tests::moving::who_loses_a_public_address_is_not_reached_there_any_more";
    if ran_in_a_namespace(TEST) {
        return;
    }
    const OLD: &str = "198.51.100.1";
    for host in [OLD, "198.51.100.2"] {
        ip(&format!("addr add {host}/32 dev lo"));
    }
    within(async {
        let ((moving, _m), (far, _f)) = (anywhere(1).await, anywhere(2).await);
        let mut reached = moving.reached();
        let place = |ip: &str| format!("/ip4/{ip}/tcp/4001").parse::<super::Multiaddr>().expect("address");
        let is_old = |address: &super::Multiaddr| address.iter().next() == Some(Part::Ip4(OLD.parse().expect("IP")));
        let came = |ip: &str| far.dial(crate::net::with_peer(place(ip), &moving.key()).expect("key"));

        came(OLD).await.expect("dials");
        let now = reached.wait_for(|now| now.reachability == Reachability::Public).await.expect("runs").clone();
        assert_eq!(now.addresses, vec![place(OLD)]);
        assert!(moving.told_addrs().contains(&place(OLD)));

        ip(&format!("addr del {OLD}/32 dev lo"));
        reached.wait_for(|now| now.reachability == Reachability::Unknown).await.expect("runs");
        assert!(!moving.told_addrs().iter().any(is_old), "{:?}", moving.told_addrs());

        // It comes back, and so does somebody to it.
        ip(&format!("addr add {OLD}/32 dev lo"));
        let mut events = moving.events();
        while !moving.listen_addrs().iter().any(is_old) {
            events.recv().await.expect("runs");
        }
        while far.connected().await.expect("runs").iter().any(|peer| peer.key == moving.key()) {
            tokio::task::yield_now().await;
        }
        came(OLD).await.expect("dials");
        reached.wait_for(|now| now.addresses == [place(OLD)]).await.expect("runs");
    })
    .await;
}
