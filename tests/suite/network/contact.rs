//! First contact: a link is all that somebody has, no neighbours, no bootstrap node; and peers met before.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;
use syncra_node::api::Client;
use syncra_node::api::verbs::install::{Add, AddRequest};
use syncra_tests::zone::Zone;
use syncra_tests::{Home, Node, own_ip};

use crate::people::{LOOPBACK, address, assert_same_files, publish, text, word};

/// Bytes of the package.
const SIZE: usize = 200_000;
/// A package id that nobody has.
const NOBODYS: &str = "ybjqiy4xqv6sl3vx3hvymxhkl5uvmlp7zeylrpc5cihr6fzdq4ca";

/// A peer that is nowhere.
const NOBODY: &str = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";

fn link(home: &Home, reference: &str) -> String {
    word(&home.json(["share", reference]), "link")
}

/// The link with other hints than it was made with.
fn relink(link: &str, hints: &str) -> String {
    let (package, _) = link.split_once('?').expect("it has hints");
    format!("{package}?{hints}")
}

/// An address with another port in it.
fn with_port_of(address: &str, other: &str) -> String {
    let part = |text: &str, n: usize| text.split('/').nth(n).expect("a TCP address").to_owned();
    address.replacen(&format!("/{}/", part(address, 4)), &format!("/{}/", part(other, 4)), 1)
}

fn package(reference: &str) -> &str {
    reference.rsplit_once('@').expect("a release").0
}

fn is_nothing_installed(home: &Home) -> bool {
    !home.path().join("installed/current").exists()
}

fn alice() -> (Home, Node) {
    let home = Home::new();
    let up = home.up(LOOPBACK);
    (home, up)
}

/// The same, with a port that nobody else takes when her node has stopped.
fn alice_at(ip: Ipv4Addr) -> (Home, Node) {
    let home = Home::new();
    let up = home.up(any_port_of(ip));
    (home, up)
}

fn any_port_of(ip: Ipv4Addr) -> [String; 2] {
    ["--listen".to_owned(), format!("/ip4/{ip}/tcp/0")]
}

#[test]
fn a_link_is_enough_for_somebody_who_knows_nobody() {
    let (alice, alice_up) = alice();
    let published = publish(&alice, "1.0.0", SIZE);
    let shared = alice.json(["share", package(&published.reference)]);
    assert_eq!(shared["ref"], package(&published.reference));
    assert!(shared["addresses"].as_array().expect("addresses").contains(&Value::from(address(&alice_up))), "{shared}");
    assert!(shared["warnings"].to_string().contains("this machine alone"), "{shared}");
    let link = word(&shared, "link");
    assert_eq!(alice.run(["share", package(&published.reference)]).stdout.trim(), link);

    // Looking: with --dry-run, to a script, and where nobody can be asked. Nothing is installed.
    let bob = Home::new();
    let shown = bob.json(["open", &link]);
    assert_eq!((&shown["ref"], &shown["version"]), (&shared["ref"], &Value::from("1.0.0")), "{shown}");
    assert_eq!((&shown["change"]["dry_run"], &shown["permissions"]), (&Value::from(true), &Value::Array(vec![])));
    assert_eq!(shown["owners"][0]["own"], false);
    assert!(shown["verified"]["entries"].as_u64() > Some(2), "{shown}");
    let told = bob.run(["open", &link, "--dry-run"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stdout.contains("asks for: nothing"), "{}", told.stdout);
    let asked = bob.run(["open", &link]);
    assert_eq!((asked.code, &*asked.stdout), (2, ""));
    assert!(asked.stderr.contains("E0204") && asked.stderr.contains("asks for: nothing"), "{}", asked.stderr);
    assert!(is_nothing_installed(&bob));

    let opened = bob.json(["open", &format!(" <{link}>\n"), "--yes"]);
    let change = &opened["change"];
    assert_eq!((&change["changes"][0]["to"], &change["dry_run"]), (&Value::from("1.0.0"), &Value::from(false)));
    assert_same_files(change["changes"][0]["path"].as_str().expect("a path").as_ref(), &published);
    // Again: it is there.
    assert_eq!(bob.json(["open", &link, "--yes"])["change"]["changes"], Value::Array(vec![]));

    // With a running node, by the name that is known now, and without anybody.
    let bob_up = bob.up(LOOPBACK);
    assert_eq!(bob.json(["open", &link])["version"], "1.0.0");
    assert_eq!(bob.json(["open", package(&published.reference)])["version"], "1.0.0");
    assert_eq!((alice_up.stop().0, bob_up.stop().0), (0, 0));
    assert_eq!(bob.json(["open", &link, "--offline"])["version"], "1.0.0");
}

#[test]
fn what_is_not_what_was_shown_any_more_is_not_installed() {
    let (alice, _alice_up) = alice();
    let published = publish(&alice, "1.0.0", SIZE);
    let bob = Home::new();
    let _bob_up = bob.up(LOOPBACK);
    let shown = bob.json(["open", &link(&alice, package(&published.reference))]);
    // Between the question and the answer.
    publish(&alice, "1.1.0", SIZE);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let add = |plan: &Value| {
        let request = serde_json::json!({ "ref": shown["add"], "plan": plan });
        let request: AddRequest = serde_json::from_value(request).expect("a request");
        runtime.block_on(async {
            let client = Client::find(bob.path()).await.expect("its node runs");
            client.call::<Add>(&request, |_| {}).await
        })
    };
    let refused = add(&shown["change"]["plan"]).expect_err("another release would be installed");
    assert_eq!((refused.code.number(), is_nothing_installed(&bob)), ("E0700", true), "{refused}");
    let again = bob.json(["open", word(&shown, "add").as_str()]);
    assert_eq!(add(&again["change"]["plan"]).expect("what was shown").changes[0].to.as_deref(), Some("1.1.0"));
}

#[test]
fn a_name_that_lies_is_told_beside_the_true_one() {
    let (alice, alice_up) = alice();
    let published = publish(&alice, "1.0.0", SIZE);
    let link = relink(&link(&alice, &published.reference), &format!("name=@bank/safe&at={}", address(&alice_up)));
    let shown = Home::new().json(["open", &link]);
    assert_eq!(shown["ref"], package(&published.reference));
    assert_eq!(shown["claimed"], "@bank/safe");
    assert!(shown["warnings"].to_string().contains("@bank/safe"), "{shown}");
}

#[test]
fn what_is_no_link_is_a_wrong_call() {
    let home = Home::new();
    let at = format!("/ip4/127.0.0.1/tcp/1/p2p/12D3KooW{}", "A".repeat(44));
    let long = format!("syncra:{NOBODYS}?x={}", "y".repeat(3_000));
    let many = (1..10).map(|port| format!("&at={}", at.replace("/tcp/1/", &format!("/tcp/{port}/"))));
    for wrong in [
        String::new(),
        "lighthouse".to_owned(),
        "https://example.org/lighthouse".to_owned(),
        format!("syncra:{}", &NOBODYS[..40]),
        format!("syncra:{}?at={at}", &NOBODYS[..51]),
        format!("syncra:{NOBODYS}?at={}", &at[..at.len() - 1]),
        format!("syncra:{NOBODYS}?at=/ip4/127.0.0.1/tcp/1"),
        format!("syncra:{NOBODYS}@1.2.3.4?at={at}"),
        format!("syncra:{NOBODYS}?name=%1b%5b2J&at={at}"),
        format!("syncra:{NOBODYS}?x%{}", many.collect::<String>()),
        format!("syncra:b3:{NOBODYS}"),
        "@bob/".to_owned(),
        long,
    ] {
        let (exit, error) = home.fails(["open", &wrong]);
        assert_eq!((exit, error["kind"].as_str()), (2, Some("usage")), "{wrong}: {error}");
    }
}

#[test]
fn nobody_behind_a_link_is_unreachable_and_somebody_else_is_a_lie() {
    let ip = own_ip();
    let (alice, alice_up) = alice_at(ip);
    let published = publish(&alice, "1.0.0", SIZE);
    let link = link(&alice, &published.reference);
    let bob = Home::new();
    let impostor = Home::new().up(any_port_of(ip));
    let there = with_port_of(address(&alice_up), address(&impostor));
    let (exit, error) = bob.fails(["open", &relink(&link, &format!("at={there}"))]);
    assert_eq!((exit, error["code"].as_str()), (5, Some("E0500")), "{error}");
    // One true address is enough, whatever else stands there.
    let both = relink(
        &link,
        &format!(
            "at={there}&at=/later/kind/of{}&at={}",
            &there[there.find("/p2p").expect("its key")..],
            address(&alice_up)
        ),
    );
    let shown = bob.json(["open", &both]);
    assert!(shown["warnings"].to_string().contains("/later/kind/of/"), "{shown}");

    // A port that is closed, and one that takes connections and never says a word.
    let silent = TcpListener::bind((ip, 0)).expect("a free port");
    let silent = (format!("/ip4/{ip}/tcp/{}/", silent.local_addr().expect("bound").port()), silent);
    let silent_address = with_port_of(address(&alice_up), &silent.0);
    assert_eq!(alice_up.stop().0, 0);
    let carol = Home::new();
    for (hints, more) in [(None, "60"), (Some(format!("at={silent_address}")), "2")] {
        let link = hints.map_or(link.clone(), |hints| relink(&link, &hints));
        let (exit, error) = carol.fails(["open", &link, "--timeout", more]);
        assert_eq!((exit, error["kind"].as_str()), (6, Some("unreachable")), "{error}");
    }
    let (exit, error) = carol.fails(["open", &relink(&link, "name=@a/b")]);
    assert_eq!((exit, error["code"].as_str()), (6, Some("E0600")), "{error}");
}

#[test]
fn a_package_that_the_peer_does_not_have_is_not_found() {
    let (_alice, alice_up) = alice();
    let link = format!("syncra:{NOBODYS}?at={}", address(&alice_up));
    let (exit, error) = Home::new().fails(["open", &link]);
    assert_eq!((exit, error["code"].as_str()), (3, Some("E0304")), "{error}");
}

#[test]
fn only_what_is_published_is_shared_and_without_a_node_nowhere() {
    let alice = Home::new();
    let published = publish(&alice, "1.0.0", SIZE);
    let package = package(&published.reference);
    let shared = alice.json(["share", &published.reference]);
    assert_eq!((&shared["ref"], &shared["addresses"]), (&Value::from(&*published.reference), &Value::Array(vec![])));
    assert!(shared["warnings"].to_string().contains("syncra up"), "{shared}");
    for (wrong, code) in [
        (format!("{package}@2.0.0"), "E0305"),
        (format!("{package}@beta"), "E0305"),
        (package.replace("world", "word"), "E0304"),
        (format!("syncra:{NOBODYS}"), "E0304"),
    ] {
        let (exit, error) = alice.fails(["share", &wrong]);
        assert_eq!((exit, error["code"].as_str()), (3, Some(code)), "{error}");
    }
    let drawn = alice.run(["share", package, "--qr"]);
    assert!(drawn.code == 0 && drawn.stdout.lines().count() > 20, "{}", drawn.stdout);
}

#[test]
fn who_was_met_before_is_found_again_beside_a_dead_bootstrap_node() {
    let (alice, alice_up) = alice_at(own_ip());
    let published = publish(&alice, "1.0.0", SIZE);
    let carol = Home::new();
    // Met by a single command, which runs no node.
    carol.json(["open", &link(&alice, &published.reference)]);
    let listen = ["--listen", address(&alice_up).split("/p2p").next().expect("an address")].map(str::to_owned);
    assert_eq!(alice_up.stop().0, 0);
    let _alice_up = alice.up(&listen);

    let second = alice.work().join("second");
    std::fs::create_dir_all(&second).expect("a directory");
    let manifest = "[package]\nname = \"second\"\nversion = \"1.0.0\"\nkind = \"asset\"\n";
    std::fs::write(second.join("syncra.toml"), manifest).expect("a file");
    let second = word(&alice.json(["publish", text(&second), "--yes"]), "ref");

    // A bootstrap node that takes connections and never says a word would hold everybody up.
    let dead = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let setting = format!("[\"/ip4/127.0.0.1/tcp/{}\"]", dead.local_addr().expect("bound").port());
    carol.json(["config", "set", "bootstrap", &setting]);
    let target = carol.work().join("out");
    let got = carol.json(["get", &second, "-o", text(&target)]);
    assert_eq!((&got["version"], target.join("syncra.toml").exists()), (&Value::from("1.0.0"), true), "{got}");
}

/// A home whose names are those of a zone.
fn in_zone(zone: &Zone) -> Home {
    Home::new().with("SYNCRA_DNS_SERVER", zone.server())
}

#[test]
fn a_community_is_found_by_the_name_of_its_list() {
    let (alice, alice_up) = alice();
    let published = publish(&alice, "1.0.0", SIZE);
    let (_, peer) = address(&alice_up).split_once("/p2p/").expect("its key");
    // Nobody listens on port 1.
    let dead = format!("dnsaddr={}", with_port_of(address(&alice_up), "/ip4/127.0.0.1/tcp/1/p2p"));
    let zone = Zone::serve(&[
        (
            "_dnsaddr.nodes.test",
            vec![
                "v=spf1 -all".to_owned(),
                "dnsaddr=nowhere".to_owned(),
                dead,
                "dnsaddr=/dnsaddr/eu.nodes.test".to_owned(),
            ],
        ),
        ("_dnsaddr.eu.nodes.test", vec![format!("dnsaddr={}", address(&alice_up))]),
    ]);
    let bob = in_zone(&zone);
    bob.json(["config", "set", "bootstrap", "[\"/dnsaddr/nodes.test\"]"]);
    let target = bob.work().join("out");
    bob.json(["get", &published.reference, "-o", text(&target)]);
    assert_same_files(&target, &published);

    let carol = in_zone(&zone);
    let _carol_up = carol.up(LOOPBACK);
    // A key at the end stands for one of the list; eu.nodes.test has it, nodes.test only by way of another list.
    carol.json(["connect", &format!("/dnsaddr/eu.nodes.test/p2p/{peer}")]);
    assert_eq!(carol.json(["peers"])["peers"].as_array().map(Vec::len), Some(1));
    let dora = in_zone(&zone);
    let _dora_up = dora.up(["--bootstrap", "/dnsaddr/eu.nodes.test", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    crate::people::hears(&dora, |event| event["type"] == "peer_connected");
    for wrong in [format!("/dnsaddr/eu.nodes.test/p2p/{}", NOBODY), "/dnsaddr/other.test".to_owned()] {
        let (exit, error) = carol.fails(["connect", &wrong]);
        assert_eq!((exit, error["code"].as_str()), (6, Some("E0600")), "{error}");
    }
}

#[test]
fn lists_that_lead_in_circles_or_too_far_are_given_up() {
    let names: Vec<String> = (0..40).map(|n| format!("_dnsaddr.n{n}.test")).collect();
    let chain = |n: usize| vec![format!("dnsaddr=/dnsaddr/n{}.test", n + 1), "dnsaddr=/dnsaddr/n0.test".to_owned()];
    let wide: Vec<String> = (1..20).map(|n| format!("dnsaddr=/dnsaddr/n{n}.test")).collect();
    let mut records: Vec<(&str, Vec<String>)> = names.iter().enumerate().map(|(n, name)| (&**name, chain(n))).collect();
    records.push(("_dnsaddr.wide.test", wide));
    let zone = Zone::serve(&records);
    let bob = in_zone(&zone);
    let _bob_up = bob.up(LOOPBACK);
    for (list, most) in [("n0.test", 3), ("wide.test", 8)] {
        let before = zone.n_asked();
        let (exit, error) = bob.fails(["connect", &format!("/dnsaddr/{list}")]);
        assert_eq!((exit, error["code"].as_str()), (6, Some("E0600")), "{error}");
        let n_asked = zone.n_asked() - before;
        assert!((2..=most).contains(&n_asked), "{list} was looked up {n_asked} times");
    }
}
