//! Machines that sleep and machines that change their network: peers come back by themselves.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicUsize, Ordering};

use syncra_tests::hosts::{Addresses, Lan, on, ran_inside};
use syncra_tests::{Home, Output, program};

use crate::people::{LOOPBACK, address, assert_same_files, begin, hears, number, publish, text};

/// Bytes of the package: at the rate below some seconds on the wire.
const SIZE: usize = 32 << 20;
/// What alice's card sends, so that a fetch lasts.
const RATE: &str = "tc qdisc add dev card root tbf rate 100mbit burst 64kb latency 50ms";
/// Bytes that have come when the network changes.
const CHANGED_AT: u64 = 8 << 20;

fn listens(home: &Home) -> Vec<String> {
    let status = home.json(["status"]);
    status["listen"].as_array().expect("a list").iter().map(|at| at.as_str().expect("text").to_owned()).collect()
}

fn received(home: &Home) -> u64 {
    let peers = home.json(["peers"]);
    peers["peers"].as_array().expect("a list").iter().map(|peer| number(peer, "received_bytes")).sum()
}

#[test]
fn a_fetch_goes_on_when_the_machine_changes_its_network() {
    if ran_inside("roaming::a_fetch_goes_on_when_the_machine_changes_its_network") {
        return;
    }
    let mut lan = Lan::new(Addresses::Private);
    let (on_alice, on_bob) = (lan.host(), lan.host());
    let (alice, bob) = (Home::on_host(on_alice), Home::on_host(on_bob));
    let nothing: [&str; 0] = [];
    on(on_alice, RATE);
    let _alice_up = alice.up(nothing);
    let published = publish(&alice, "1.0.0", SIZE);
    let _bob_up = bob.up(nothing);
    hears(&bob, |event| event["type"] == "peer_connected");
    let (old, new) = ("/ip4/10.77.0.2/", "/ip4/10.77.0.102/");
    assert!(listens(&bob).iter().any(|at| at.starts_with(old)), "{:?}", listens(&bob));

    let target = bob.work().join("out");
    let fetch = begin(&bob, &["get", &published.reference, "-o", text(&target), "--timeout", "170"]);
    while received(&bob) < CHANGED_AT {
        std::thread::yield_now();
    }
    // Another card in the same slot: no address is as it was.
    for command in [
        "ip link set card down",
        "ip addr flush dev card",
        "ip link set card address 02:00:00:00:77:02",
        "ip addr add 10.77.0.102/24 dev card",
        "ip link set card up",
    ] {
        on(on_bob, command);
    }
    let done = Output::from(fetch).data();
    assert_same_files(&target, &published);
    let fetched = number(&done, "fetched_bytes");
    assert!(fetched < published.total_bytes + (4 << 20), "what had come was fetched again: {fetched}");
    let now = listens(&bob);
    assert!(now.iter().any(|at| at.starts_with(new)) && !now.iter().any(|at| at.starts_with(old)), "{now:?}");

    // Somebody new finds both, by what they announce on the link.
    let carol = Home::on_host(lan.host());
    let _carol_up = carol.up(nothing);
    let n_met = AtomicUsize::new(0);
    hears(&carol, move |event| event["type"] == "peer_connected" && n_met.fetch_add(1, Ordering::Relaxed) == 1);
}

#[test]
fn peers_come_back_after_a_machine_has_slept() {
    let (alice, bob) = (Home::new(), Home::new());
    let (alice_up, bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    let published = publish(&alice, "1.0.0", 64 << 10);
    bob.json(["connect", address(&alice_up)]);
    program::signal(bob_up.pid(), "STOP");
    // Alice misses answers, and takes bob for gone.
    hears(&alice, |event| event["type"] == "peer_disconnected");
    program::signal(bob_up.pid(), "CONT");
    let n_met = AtomicUsize::new(0);
    hears(&alice, move |event| event["type"] == "peer_connected" && n_met.fetch_add(1, Ordering::Relaxed) == 1);
    let target = bob.work().join("out");
    bob.json(["get", &published.reference, "-o", text(&target)]);
    assert_same_files(&target, &published);
}
