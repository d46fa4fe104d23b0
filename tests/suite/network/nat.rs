//! Two homes behind routers of their own, and a relay out in the open.
#![cfg(target_os = "linux")]

use serde_json::Value;
use syncra_tests::hosts::{Forwarded, Internet, Mapping, Upnp, on, passed, ran_inside, shut};
use syncra_tests::{Home, Node, skip};

use crate::people::{RECORDS, assert_same_files, number, publish, text, until, word};

/// Fits through a relay.
const SMALL: usize = 1 << 20;
/// Does not.
const LARGE: usize = 40 << 20;

/// A host that looks for nobody around it: this is about those far away.
fn home(host: u32) -> Home {
    Home::on_host(host).with("SYNCRA_LAN_PORT", "0".to_owned())
}

struct Relay {
    home: Home,
    host: u32,
    address: String,
    _up: Node,
}

/// A node that is a relay, and its address as others take it.
fn relay(internet: &mut Internet) -> Relay {
    let (host, ip) = internet.public();
    let home = home(host);
    home.json(["config", "set", "relay", "true"]);
    let listen = [format!("/ip4/{ip}/udp/4001/quic-v1"), format!("/ip4/{ip}/tcp/4001")];
    let up = home.up(["--listen", &listen[0], "--listen", &listen[1]]);
    let address = format!("{}/p2p/{}", listen[0], key(up.ready()["listen"][0].as_str().expect("an address")));
    Relay { home, host, address, _up: up }
}

/// Somebody behind a router, whose node knows the relay.
fn behind(internet: &mut Internet, mapping: Mapping, relay: &Relay) -> Home {
    let home = home(internet.home(mapping));
    home.json(["config", "set", "bootstrap", &format!("[\"{}\"]", relay.address)]);
    home
}

fn reached(home: &Home) -> Value {
    home.json(["status"])["reached"].take()
}

fn has_a_place(home: &Home) {
    until("a place at a relay", || reached(home)["relayed"].as_array().is_some_and(|places| !places.is_empty()));
}

/// Whether a node reaches another through a relay; none if not at all.
fn way(home: &Home, other: &Home) -> Option<bool> {
    let peers = home.json(["peers"])["peers"].take();
    let key = word(&other.json(["id"]), "device");
    let found = peers.as_array().expect("peers").iter().find(|peer| peer["peer"] == *key);
    found.map(|peer| peer["is_relayed"].as_bool().expect("told"))
}

/// A key that nobody has.
const NOBODY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

/// The key at the end of an address.
fn key(address: &str) -> &str {
    address.rsplit_once("/p2p/").expect("a key").1
}

const NOTHING: [&str; 0] = [];

/// What the doctor says about being reached.
fn doctor(home: &Home) -> Value {
    let output = home.run(["doctor", "--quick", "--json"]);
    let told: Value = serde_json::from_str(&output.stdout).expect("JSON on stdout");
    let checks = told["data"]["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == "reached").expect("it is looked at").clone()
}

#[test]
fn a_firewall_is_told_from_the_open_by_somebody_who_tries() {
    if ran_inside("nat::a_firewall_is_told_from_the_open_by_somebody_who_tries") {
        return;
    }
    let mut internet = Internet::new();
    let relay = relay(&mut internet);
    let ((open, open_ip), (closed, closed_ip)) = (internet.public(), internet.public());
    shut(closed);
    let nodes = [(open, open_ip), (closed, closed_ip)].map(|(host, ip)| {
        let home = home(host);
        home.json(["config", "set", "bootstrap", &format!("[\"{}\"]", relay.address)]);
        let up =
            home.up(["--listen", &format!("/ip4/{ip}/udp/4001/quic-v1"), "--listen", &format!("/ip4/{ip}/tcp/4001")]);
        (home, up)
    });
    let [(open, _open_up), (closed, _closed_up)] = &nodes;
    until("somebody has tried", || reached(open)["reachability"] != "unknown");
    assert_eq!(reached(open)["reachability"], "public");
    until("a server of the table", || open.json(["status"])["dht"]["is_server"] == true);
    assert_eq!((&doctor(open)["ok"], reached(open)["relayed"].as_array().map(Vec::len)), (&Value::Bool(true), Some(0)));
    assert_eq!(reached(&relay.home)["reachability"], "public", "others have come to it");

    has_a_place(closed);
    assert_eq!(
        (&reached(closed)["reachability"], &reached(closed)["addresses"]),
        (&"behind".into(), &Value::Array(vec![]))
    );
    assert_eq!(closed.json(["status"])["dht"]["is_server"], false);
    assert!(doctor(closed)["detail"].as_str().is_some_and(|detail| detail.contains("through")), "{}", doctor(closed));
    let status = closed.run(["status"]).stdout;
    assert!(status.contains("reached: through relays"), "{status}");

    // Nobody is carried by who is no relay, and nobody to whom has no place at one.
    let place = reached(closed)["relayed"][0].as_str().expect("one").to_owned();
    let no_relay = reached(open)["addresses"][0].as_str().expect("one").to_owned();
    let through_no_relay = format!("{no_relay}/p2p-circuit/p2p/{}", key(&place));
    let to_no_place = place.replace(key(&place), NOBODY);
    let stranger = home(internet.public().0);
    stranger.json(["config", "set", "dht", "false"]); // the table would name ways around
    let _stranger_up = stranger.up(NOTHING);
    for address in [through_no_relay, to_no_place] {
        let (exit, error) = stranger.fails(["connect", &address]);
        assert_eq!((exit, error["code"].as_str()), (6, Some("E0600")), "{address}: {error}");
    }
    stranger.json(["connect", &place]);
}

/// Where a node is reached from afar, each IP address once.
fn places(home: &Home) -> Vec<String> {
    let reached = reached(home);
    let addresses = reached["addresses"].as_array().expect("a list").iter().map(|at| at.as_str().expect("text"));
    let mut places: Vec<String> = addresses.filter_map(|at| at.split('/').nth(2)).map(str::to_owned).collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[test]
fn a_machine_is_reached_where_it_is_and_not_where_it_was() {
    if ran_inside("nat::a_machine_is_reached_where_it_is_and_not_where_it_was") {
        return;
    }
    let mut internet = Internet::new();
    let relay = relay(&mut internet);
    let (host, first) = internet.public();
    let home = home(host);
    home.json(["config", "set", "bootstrap", &format!("[\"{}\"]", relay.address)]);
    let _up = home.up(NOTHING);
    let move_to = |ip: &str| {
        on(host, "ip addr flush dev card");
        on(host, &format!("ip addr add {ip}/24 dev card"));
    };
    let second = "11.77.0.200".to_owned();
    until("it is reached", || places(&home) == [first.as_str()]);

    // Nobody says that the address does not lead here any more.
    move_to("192.168.7.2");
    until("it has left", || places(&home).is_empty());
    assert_eq!(reached(&home)["reachability"], "unknown", "nobody is left who could say");

    move_to(&second);
    until("it is reached elsewhere", || places(&home) == [second.as_str()]);
    assert_eq!(reached(&home)["reachability"], "public");

    // Those who try do so once; that it was reached here before counts, when it is seen here again.
    move_to(&first);
    until("it is reached again", || places(&home) == [first.as_str()]);
    let told = home.json(["status"])["listen"].to_string();
    assert!(told.contains(&first) && !told.contains(&second), "{told}");
}

#[test]
fn behind_two_routers_content_arrives_directly() {
    if ran_inside("nat::behind_two_routers_content_arrives_directly") {
        return;
    }
    let mut internet = Internet::new();
    let relay = relay(&mut internet);
    let (alice, bob) = (behind(&mut internet, Mapping::Kept, &relay), behind(&mut internet, Mapping::Kept, &relay));
    let _alice_up = alice.up(NOTHING);
    let published = publish(&alice, "1.0.0", LARGE);
    has_a_place(&alice);
    assert_eq!(reached(&alice)["reachability"], "behind");
    let shared = alice.json(["share", &published.reference]);
    let link = word(&shared, "link");
    assert!(shared["addresses"].to_string().contains("/p2p-circuit/p2p/"), "{shared}");
    assert!(!shared["addresses"].to_string().contains("192.168."), "{shared}");

    let _bob_up = bob.up(NOTHING);
    let before = passed(relay.host);
    let opened = bob.json(["open", &link, "--yes"]);
    let path = opened["change"]["changes"][0]["path"].as_str().expect("a path").to_owned();
    assert_same_files(path.as_ref(), &published);
    assert_eq!(way(&bob, &alice), Some(false), "met in the middle");
    let by_relay = passed(relay.host) - before;
    assert!(by_relay < 4 << 20, "{by_relay} bytes went through the relay for {}", published.total_bytes);
    assert_eq!(number(&relay.home.json(["status"])["packages"], "known"), 0);
}

#[test]
fn where_no_hole_can_be_made_a_relay_carries_what_is_small() {
    if ran_inside("nat::where_no_hole_can_be_made_a_relay_carries_what_is_small") {
        return;
    }
    let mut internet = Internet::new();
    let relay = relay(&mut internet);
    let (alice, bob) = (behind(&mut internet, Mapping::Random, &relay), behind(&mut internet, Mapping::Random, &relay));
    let _alice_up = alice.up(NOTHING);
    let small = publish(&alice, "1.0.0", SMALL);
    has_a_place(&alice);
    let link = word(&alice.json(["share", &small.reference]), "link");

    let _bob_up = bob.up(NOTHING);
    let before = passed(relay.host);
    let opened = bob.json(["open", &link, "--yes"]);
    let path = opened["change"]["changes"][0]["path"].as_str().expect("a path").to_owned();
    assert_same_files(path.as_ref(), &small);
    assert_eq!(way(&bob, &alice), Some(true));
    assert!(passed(relay.host) - before >= 2 * small.total_bytes, "in and out again");

    let large = publish(&alice, "2.0.0", LARGE);
    let before = passed(relay.host);
    let (exit, error) = bob.fails(["get", &large.reference, "-o", text(&bob.work().join("out"))]);
    assert_eq!((exit, error["code"].as_str()), (6, Some("E0604")), "{error}");
    assert!(passed(relay.host) - before < 4 << 20, "none of it was sent");
}

#[test]
fn a_publisher_behind_a_router_is_found_by_the_id_of_what_they_publish() {
    if ran_inside("nat::a_publisher_behind_a_router_is_found_by_the_id_of_what_they_publish") {
        return;
    }
    let mut internet = Internet::new();
    let relay = relay(&mut internet);
    let (alice, bob) = (behind(&mut internet, Mapping::Kept, &relay), behind(&mut internet, Mapping::Random, &relay));
    let _alice_up = alice.up(NOTHING);
    let published = publish(&alice, "1.0.0", SMALL);
    let id = word(&alice.json(["info", &published.reference]), "package_id");
    has_a_place(&alice);
    assert_eq!(alice.json(["status"])["dht"]["is_server"], false, "nobody can ask it");
    until("its records", || number(&relay.home.json(["status"])["dht"], "n_records") >= RECORDS);

    // bob's command is a node for a moment only, and knows the relay.
    let target = bob.work().join("out");
    let got = bob.json(["get", &format!("syncra:{id}"), "-o", text(&target)]);
    assert_eq!(got["sources"].as_array().map(Vec::len), Some(1), "{got}");
    assert_same_files(&target, &published);
}

#[test]
fn a_router_that_is_asked_forwards_ports_and_content_comes_straight_in() {
    let name = "nat::a_router_that_is_asked_forwards_ports_and_content_comes_straight_in";
    if ran_inside(name) {
        return;
    }
    // No relay, and nobody who would tell either how the other is reached.
    let mut internet = Internet::new();
    let (host, router) = internet.home_behind(Mapping::Kept);
    let upnp = match Upnp::start(router) {
        Ok(upnp) => upnp,
        Err(why) => return skip(name, &why),
    };
    // Looks for a router, as everybody does who looks around.
    let alice = Home::on_host(host);
    let alice_up = alice.up(NOTHING);
    let published = publish(&alice, "1.0.0", LARGE);
    until("both ports are forwarded", || reached(&alice)["addresses"].as_array().is_some_and(|all| all.len() == 2));
    let forwarded = upnp.forwarded();
    let port = forwarded[0].port;
    let to = format!("192.168.1.2:{port}");
    let expected = ["tcp", "udp"].map(|protocol| Forwarded { protocol, port, to: to.clone() });
    assert_eq!(forwarded, expected);
    assert_eq!((&reached(&alice)["reachability"], &reached(&alice)["mapping"]), (&"public".into(), &"mapped".into()));

    let shared = alice.json(["share", &published.reference]);
    let bob = home(internet.public().0);
    let opened = bob.json(["open", &word(&shared, "link"), "--yes"]);
    let path = opened["change"]["changes"][0]["path"].as_str().expect("a path").to_owned();
    assert_same_files(path.as_ref(), &published);

    // The same port again, which the router still keeps.
    assert_eq!(alice_up.stop().0, 0);
    let _alice_up = alice.up(NOTHING);
    until("it is reached again", || reached(&alice)["reachability"] == "public");
    assert_eq!(upnp.forwarded(), expected);
    let again = bob.work().join("again");
    bob.json(["config", "set", "dht", "false"]);
    let large = publish(&alice, "2.0.0", SMALL);
    bob.json(["get", &large.reference, "-o", text(&again)]);
    assert_same_files(&again, &large);
}
