//! Fetches that do not get to their end the first time. Each byte that crosses the wire is counted: what has come is
//! never asked for again.

use syncra_tests::{Home, Output, Proxy, Trip};

use crate::people::{LOOPBACK, Published, address, assert_same_files, begin, number, publish, text, until, wired};

/// Bytes of the package.
const SIZE: usize = 64 << 20;
/// Bytes that may cross the wire beyond the package: hashes, headers, ciphers, and what was on its way to the disk of a
/// receiver that was killed.
const SLACK: u64 = 1 << 20;

fn assert_nothing_twice(wire: u64, published: &Published) {
    let size = published.total_bytes;
    assert!(wire >= size, "{wire} bytes crossed the wire for {size}: some went around it");
    assert!(wire <= size + SLACK, "{} bytes more than the package crossed the wire", wire - size);
}

/// bob fetches by `args` from alice, and his node is killed when `at` bytes have come.
fn killed_receiver(at: u64, args: impl Fn(&str, &Home) -> Vec<String>) -> (Home, Home, Published) {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", SIZE);
    let wire = Proxy::to(address(&alice_up));
    let args = args(&published.reference, &bob);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", &wire.address()]);
    wire.trip(at, Trip::Stall);
    let fetch = begin(&bob, &args);
    wire.wait();
    // What has passed the wire is still on its way to a receiver that is behind: killed now, it would lose all of that.
    let came = || number(&bob.json(["peers"])["peers"][0], "received_bytes");
    until("what has passed has come", || came() + SLACK / 4 >= at);
    drop(bob_up.kill());
    let cut_off = Output::from(fetch).error();
    assert_eq!((cut_off.0, cut_off.1["code"].as_str()), (6, Some("E0602")), "{}", cut_off.1);

    wire.heal();
    // It would come back to alice where it met her, around the wire. Where that was lies in the index.
    forget_peers(&bob);
    let _bob_up = bob.up(LOOPBACK);
    bob.json(["connect", &wire.address()]);
    let done = bob.json(&args);
    let fetched = number(&done, "fetched_bytes");
    assert!(fetched <= published.total_bytes - at + SLACK, "{fetched} bytes were fetched again");
    assert_nothing_twice(wire.bytes(), &published);
    (alice, bob, published)
}

fn forget_peers(home: &Home) {
    std::fs::remove_dir_all(home.path().join("index")).expect("an index");
}

#[test]
fn a_get_goes_on_where_its_node_was_killed() {
    let at = 20 << 20;
    let target = |bob: &Home| bob.work().join("out");
    let get = |reference: &str, bob: &Home| ["get", reference, "-o", text(&target(bob))].map(str::to_owned).to_vec();
    let (_alice, bob, published) = killed_receiver(at, get);
    assert_same_files(&target(&bob), &published);
}

#[test]
fn an_install_goes_on_where_its_node_was_killed() {
    let add = |reference: &str, _: &Home| ["add", reference].map(str::to_owned).to_vec();
    let (_alice, bob, _published) = killed_receiver(45 << 20, add);
    assert_eq!(bob.json(["verify"])["problems"], serde_json::json!([]));
}

#[test]
fn files_of_an_install_are_written_while_the_rest_comes_and_are_in_place_only_with_it() {
    let (alice, bob) = (Home::new(), wired());
    let (alice_up, _bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    let published = publish(&alice, "1.0.0", SIZE);
    let wire = Proxy::to(address(&alice_up));
    bob.json(["connect", &wire.address()]);
    wire.trip(40 << 20, Trip::Stall);
    let install = begin(&bob, &["add", &published.reference]);
    wire.wait();
    let staged = bob.path().join("installed/staging/1");
    until("what has come is written", || {
        std::fs::metadata(staged.join("terrain.bin")).is_ok_and(|file| file.len() > 4 << 20)
    });
    assert!(!bob.path().join("installed/current").exists(), "nothing is in force yet");
    // No collection takes it for something dead.
    bob.json(["gc"]);
    wire.heal();
    let done = Output::from(install).data();
    assert_eq!(done["changes"][0]["to"], "1.0.0");
    assert!(!staged.exists());
    assert_eq!(bob.json(["verify"])["problems"], serde_json::json!([]));
    let installed = done["changes"][0]["path"].as_str().expect("a path");
    assert_same_files(std::path::Path::new(installed), &published);
}

#[test]
fn a_second_provider_takes_over_from_one_that_is_killed() {
    let (alice, carol, bob) = (Home::new(), Home::new(), wired());
    let (alice_up, carol_up, _bob_up) = (alice.up(LOOPBACK), carol.up(LOOPBACK), bob.up(LOOPBACK));
    let published = publish(&alice, "1.0.0", SIZE);
    carol.json(["connect", address(&alice_up)]);
    carol.json(["get", &published.reference, "-o", text(&carol.work().join("out"))]);

    let (from_alice, from_carol) = (Proxy::to(address(&alice_up)), Proxy::to(address(&carol_up)));
    bob.json(["connect", &from_alice.address()]);
    bob.json(["connect", &from_carol.address()]);
    from_alice.trip(15 << 20, Trip::Stall);
    let target = bob.work().join("out");
    let fetch = begin(&bob, &["get", &published.reference, "-o", text(&target)]);
    from_alice.wait();
    drop(alice_up.kill());
    from_alice.heal();
    let done = Output::from(fetch).data();
    assert_eq!(done["sources"].as_array().map(Vec::len), Some(2), "{done}");
    assert_nothing_twice(from_alice.bytes() + from_carol.bytes(), &published);
    assert_same_files(&target, &published);
}
