//! What is found through the distributed hash table alone: nobody in between has it, and nobody knows an address.

use std::time::{Duration, Instant};

use syncra_tests::Home;

use crate::people::{LOOPBACK, RECORDS, address, assert_same_files, number, publish, text, word};

/// Bytes of the package.
const SIZE: usize = 200_000;

/// A node that knows one other.
fn known_by(hub: &str) -> [&str; 4] {
    [LOOPBACK[0], LOOPBACK[1], "--bootstrap", hub]
}

/// A test that hangs fails here.
const HUNG: Duration = Duration::from_secs(120);

/// Waits until a node keeps so many records for others: asking is slow enough to be no busy loop.
fn keeps_records(hub: &Home, n: u64) {
    let began = Instant::now();
    while number(&hub.json(["status"])["dht"], "n_records") < n {
        assert!(began.elapsed() < HUNG, "{n} records never came");
    }
}

#[test]
fn a_package_is_found_by_its_id_through_somebody_who_lacks_it() {
    let (hub, alice, bob) = (Home::new(), Home::new(), Home::new());
    let hub_up = hub.up(LOOPBACK);
    let entrance = address(&hub_up).to_owned();
    let _alice_up = alice.up(known_by(&entrance));
    let published = publish(&alice, "1.0.0", SIZE);
    keeps_records(&hub, RECORDS);
    let id = word(&alice.json(["info", &published.reference]), "package_id");
    assert_eq!(number(&hub.json(["status"])["packages"], "known"), 0, "the hub has nothing but a record");

    // bob's command is a node for a moment only, and knows the hub.
    bob.json(["config", "set", "bootstrap", &format!("[\"{entrance}\"]")]);
    let target = bob.work().join("out");
    let got = bob.json(["get", &format!("syncra:{id}"), "-o", text(&target)]);
    assert_eq!(got["sources"].as_array().map(Vec::len), Some(1), "{got}");
    assert_same_files(&target, &published);

    let nothing = format!("syncra:{}", "a".repeat(52));
    let (exit, error) = bob.fails(["get", &nothing, "-o", text(&bob.work().join("other"))]);
    assert_eq!((exit, error["code"].as_str()), (3, Some("E0304")), "{error}");
}

#[test]
fn a_package_is_found_by_its_name_through_somebody_who_lacks_it() {
    let (hub, alice, bob) = (Home::new(), Home::new(), Home::new());
    let hub_up = hub.up(LOOPBACK);
    let entrance = address(&hub_up).to_owned();
    let _alice_up = alice.up(known_by(&entrance));
    let published = publish(&alice, "1.0.0", SIZE);
    keeps_records(&hub, RECORDS);

    bob.json(["config", "set", "bootstrap", &format!("[\"{entrance}\"]")]);
    let target = bob.work().join("out");
    bob.json(["get", &published.reference, "-o", text(&target)]);
    assert_same_files(&target, &published);
    assert_eq!(number(&hub.json(["status"])["packages"], "known"), 0, "the hub has nothing but records");

    // Another name of the same owner, the same name of another, and what the owner is called, which nobody can vouch for.
    let (owner, name) = published.reference.trim_start_matches('@').split_once('/').unwrap();
    let (handle, key) = owner.split_once('~').unwrap();
    let name = name.split('@').next().unwrap();
    for wrong in [format!("@{handle}~{key}/{name}s"), format!("@{handle}~aaaaaaaaaaaa/{name}")] {
        let (exit, error) = bob.fails(["get", &wrong, "-o", text(&bob.work().join("other"))]);
        assert_eq!((exit, error["code"].as_str()), (3, Some("E0304")), "{wrong}: {error}");
    }
}

#[test]
fn content_is_found_by_its_hash_through_somebody_who_lacks_it() {
    let (hub, alice, bob) = (Home::new(), Home::new(), Home::new());
    let hub_up = hub.up(LOOPBACK);
    let entrance = address(&hub_up).to_owned();
    let _alice_up = alice.up(known_by(&entrance));
    let published = publish(&alice, "1.0.0", SIZE);
    keeps_records(&hub, RECORDS);
    let root = word(&alice.json(["publish", text(&published.dir), "--yes"]), "content_root");

    bob.json(["config", "set", "bootstrap", &format!("[\"{entrance}\"]")]);
    let target = bob.work().join("out");
    bob.json(["get", &format!("syncra:b3:{root}"), "-o", text(&target)]);
    assert_same_files(&target, &published);
    assert_eq!(bob.json(["list"])["packages"], serde_json::json!([]), "nobody vouches for it");
}

#[test]
fn a_release_that_came_later_is_found_without_a_running_node() {
    let (alice, bob) = (Home::new(), Home::new());
    let alice_up = alice.up(LOOPBACK);
    let first = publish(&alice, "1.0.0", SIZE);
    bob.json(["config", "set", "bootstrap", &format!("[\"{}\"]", address(&alice_up))]);
    bob.json(["get", &first.reference, "-o", text(&bob.work().join("first"))]);
    let second = publish(&alice, "1.1.0", SIZE);
    let target = bob.work().join("second");
    assert_eq!(word(&bob.json(["get", &second.reference, "-o", text(&target)]), "version"), "1.1.0");
    assert_same_files(&target, &second);
    let third = publish(&alice, "1.2.0", SIZE);
    assert_eq!(bob.json(["add", &third.reference])["changes"][0]["to"], "1.2.0");
}

#[test]
fn who_leaves_the_table_is_not_found_there() {
    let (hub, alice, bob) = (Home::new(), Home::new(), Home::new());
    let hub_up = hub.up(LOOPBACK);
    let entrance = address(&hub_up).to_owned();
    alice.json(["config", "set", "dht", "false"]);
    let _alice_up = alice.up(known_by(&entrance));
    let published = publish(&alice, "1.0.0", SIZE);
    let id = word(&alice.json(["info", &published.reference]), "package_id");
    assert_eq!(number(&alice.json(["status"])["dht"], "n_nodes"), 0);

    bob.json(["config", "set", "bootstrap", &format!("[\"{entrance}\"]")]);
    let (exit, _) = bob.fails(["get", &format!("syncra:{id}"), "-o", text(&bob.work().join("out"))]);
    assert_eq!(exit, 3);
    assert_eq!(number(&hub.json(["status"])["dht"], "n_records"), 0);
}
