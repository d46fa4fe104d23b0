//! Three machines on one switch, with the settings that everybody has: no address is ever typed, nobody is asked to wait.
#![cfg(target_os = "linux")]

use std::time::Instant;

use serde_json::Value;
use syncra_tests::Home;
use syncra_tests::hosts::{Addresses, Lan, ran_inside};

use crate::people::{assert_same_files, hears, publish, text};

/// alice publishes, bob finds it and hears of what is new, carol gets it from bob when alice is away.
fn story(addresses: Addresses) -> String {
    let mut lan = Lan::new(addresses);
    let [alice, bob, carol] = std::array::from_fn(|_| Home::on_host(lan.host()));
    let nothing: [&str; 0] = [];
    let alice_up = alice.up(nothing);
    let published = publish(&alice, "1.0.0", 64 << 10);
    let (package, _) = published.reference.rsplit_once('@').expect("a release");

    let began = Instant::now();
    let _bob_up = bob.up(nothing);
    hears(&bob, |event| event["type"] == "peer_connected");
    let met = began.elapsed();
    assert_eq!(bob.json(["add", package, "--follow"])["changes"][0]["to"], "1.0.0");
    let whole = began.elapsed();

    // Nobody asks: bob is told, and has it.
    let began = Instant::now();
    publish(&alice, "1.1.0", 64 << 10);
    let published_after = began.elapsed();
    hears(&bob, |event| event["type"] == "installed" && event["version"] == "1.1.0");
    let installed = began.elapsed();

    assert_eq!(alice_up.stop().0, 0);
    let _carol_up = carol.up(nothing);
    hears(&carol, |event| event["type"] == "peer_connected");
    let target = carol.work().join("out");
    let got = carol.json(["get", package, "-o", text(&target)]);
    assert_eq!((&got["version"], got["sources"].as_array().map(Vec::len)), (&Value::from("1.1.0"), Some(1)));
    assert_same_files(&target, &published);
    format!(
        "started to connected {met:?}, to complete {whole:?}; publish took {published_after:?}, to installed {installed:?}"
    )
}

#[test]
fn three_hosts_need_no_address_and_no_author_once_it_has_spread() {
    if ran_inside("hosts::three_hosts_need_no_address_and_no_author_once_it_has_spread") {
        return;
    }
    eprintln!("{}", story(Addresses::Private));
}

#[test]
fn ipv6_is_enough() {
    if ran_inside("hosts::ipv6_is_enough") {
        return;
    }
    eprintln!("{}", story(Addresses::Ipv6));
}

#[test]
fn link_local_addresses_are_enough() {
    if ran_inside("hosts::link_local_addresses_are_enough") {
        return;
    }
    eprintln!("{}", story(Addresses::LinkLocal));
}
