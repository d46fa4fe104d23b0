//! Two devices of one person: paired by a code, publishing to one package, seen as one by others.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use serde_json::Value;

use syncra_tests::{Home, Node};

use crate::people::{LOOPBACK, address, begin, publish, text, until, wired, word};

/// The code that `syncra pair` shows.
fn shown(pairing: &mut Child) -> String {
    let stderr = BufReader::new(pairing.stderr.take().expect("piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    let shown =
        lines.find_map(|line| serde_json::from_str::<Value>(&line).ok().filter(|line| line["pair"].is_object()));
    // What it says later must not end it.
    std::thread::spawn(move || lines.for_each(drop));
    word(&shown.expect("a code is shown")["pair"], "code")
}

fn ended(pairing: Child) -> Value {
    let output = pairing.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["data"].take()
}

#[test]
fn a_paired_device_publishes_to_the_same_package_and_strangers_take_both_for_one() {
    let (desk, laptop, stranger) = (wired(), wired(), wired());
    let first = publish(&desk, "1.0.0", 40_000);
    let node = desk.up(LOOPBACK);
    let away = laptop.up(LOOPBACK);

    let mut pairing = begin(&desk, &["pair", "--role", "publisher", "--label", "laptop"]);
    let code = shown(&mut pairing);
    // As its QR code says it; the first address leads nowhere.
    let reached = address(&node);
    let peer = reached.rsplit_once("/p2p/").expect("a peer id").1;
    let invitation = format!("syncra-pair:{code}?at=/ip4/127.0.0.1/tcp/9/p2p/{peer}&at={reached}");
    let joined = laptop.json(["pair", &invitation]);
    let added = ended(pairing);
    assert_eq!(word(&joined, "role"), "publisher");
    assert_eq!(word(&added, "device"), word(&laptop.json(["id"]), "device"));
    assert_eq!(word(&joined, "identity"), word(&desk.json(["id"]), "identity"));
    assert_eq!((joined["n_packages"].as_u64(), joined["n_missing"].as_u64()), (Some(1), Some(0)));
    assert_eq!(laptop.json(["id"])["ref_prefix"], desk.json(["id"])["ref_prefix"]);

    // The laptop goes on where the desk was, without asking it.
    assert_eq!(node.stop().0, 0);
    let second = publish(&laptop, "1.1.0", 40_000);
    assert_eq!(
        second.reference.rsplit_once('@').expect("a version").0,
        first.reference.rsplit_once('@').expect("a version").0
    );
    // A publisher adds nobody.
    let key = word(&stranger.json(["id"]), "device").to_owned();
    assert_eq!(laptop.fails(["devices", "add", &key, "--label", "x"]).0, 4);

    let node = desk.up(LOOPBACK);
    let visiting = stranger.up(LOOPBACK);
    for peer in [&node, &away] {
        stranger.json(["connect", address(peer)]);
    }
    for (version, published) in [("1.0.0", &first), ("1.1.0", &second)] {
        let out = stranger.work().join(version);
        stranger.json(["get", &published.reference, "-o", text(&out)]);
    }
    let info = stranger.json(["info", &second.reference]);
    assert_eq!(info["owners"].as_array().map(Vec::len), Some(1), "{info}");

    // And the desk publishes on top of what the laptop did.
    desk.json(["connect", address(&away)]);
    desk.json(["info", &second.reference]);
    let third = publish(&desk, "1.2.0", 40_000);
    let log = desk.json(["log", &third.reference]);
    assert!(log.to_string().contains("1.1.0"), "{log}");
    assert_eq!(desk.json(["devices"])["devices"].as_array().map(Vec::len), Some(2));
    drop((node, away, visiting));
}

/// A second device of the desk's.
fn pair(desk: &Home, node: &Node, laptop: &Home) {
    let mut pairing = begin(desk, &["pair", "--role", "publisher", "--label", "laptop"]);
    let code = shown(&mut pairing);
    laptop.json(["pair", &code, "--at", address(node)]);
    ended(pairing);
}

fn n_yours(home: &Home) -> Option<u64> {
    home.json(["status"])["packages"]["own"].as_u64()
}

/// What the channel `stable` points to, here.
fn stable(home: &Home, package: &str) -> Vec<String> {
    let refs = home.json(["channel", package]);
    let places = refs["refs"][0]["places"].as_array().cloned().unwrap_or_default();
    places.iter().map(|place| word(place, "version")).collect()
}

/// Nobody asks the laptop to look anywhere: it is told by the desk, of what was there when they met and of what the desk begins
/// and publishes later; and the desk by the laptop.
#[test]
fn devices_of_one_person_know_each_others_packages_and_go_on_where_the_other_is() {
    let (desk, laptop) = (wired(), wired());
    let node = desk.up(LOOPBACK);
    let away = laptop.up(LOOPBACK);
    // There is nothing yet that both could watch.
    pair(&desk, &node, &laptop);
    assert_eq!((n_yours(&desk), n_yours(&laptop)), (Some(0), Some(0)));
    let first = publish(&desk, "1.0.0", 1_000);
    let (package, _) = first.reference.rsplit_once('@').expect("a version");
    until("the laptop hears of the package", || n_yours(&laptop) == Some(1));
    publish(&desk, "1.1.0", 1_000);
    until("and of its second release", || stable(&laptop, package) == ["1.1.0"]);

    let third = publish(&laptop, "1.2.0", 1_000);
    assert_eq!(third.reference.rsplit_once('@').expect("a version").0, package);
    assert_eq!(stable(&laptop, package), ["1.2.0"], "it goes on where the desk was");
    until("the desk hears what the laptop published", || stable(&desk, package) == ["1.2.0"]);

    // The other way round, and after both were gone.
    assert_eq!(away.stop().0, 0);
    let lamp = laptop.work().join("lamp");
    laptop.json(["new", "asset", "lamp"]);
    laptop.json(["publish", text(&lamp), "--yes"]);
    assert_eq!((n_yours(&desk), n_yours(&laptop)), (Some(1), Some(2)));
    let away = laptop.up(LOOPBACK);
    laptop.json(["connect", address(&node)]);
    until("the desk hears what the laptop has begun", || n_yours(&desk) == Some(2));
    drop((node, away));
}

/// A stranger who knows the identity is told of nothing that it did not ask for, and its packages are nobody's but its own.
#[test]
fn what_a_stranger_publishes_is_not_yours() {
    let (desk, stranger) = (wired(), wired());
    let node = desk.up(LOOPBACK);
    let visiting = stranger.up(LOOPBACK);
    stranger.json(["connect", address(&node)]);
    let theirs = publish(&stranger, "1.0.0", 1_000);
    desk.json(["info", &theirs.reference]);
    let packages = desk.json(["status"])["packages"].clone();
    assert_eq!((packages["own"].as_u64(), packages["known"].as_u64()), (Some(0), Some(1)));
    publish(&desk, "1.0.0", 1_000);
    assert_eq!((n_yours(&desk), n_yours(&stranger)), (Some(1), Some(1)));
    assert_eq!(stranger.json(["status"])["packages"]["known"], 1, "nobody told it of the desk's");
    drop((node, visiting));
}

#[test]
fn a_wrong_code_is_noticed_and_three_of_them_end_it() {
    let (desk, laptop) = (wired(), wired());
    let node = desk.up(LOOPBACK);
    let mut pairing = begin(&desk, &["pair", "--role", "manager"]);
    let code = shown(&mut pairing);
    let (number, _) = code.split_once('-').expect("a number");
    let wrong = format!("{number}-aaaa-aaaa");
    for _ in 0..3 {
        let (exit, error) = laptop.fails(["pair", &wrong, "--at", address(&node)]);
        assert_eq!((exit, word(&error, "code")), (5, "E0500".to_owned()), "{error}");
    }
    assert_eq!(laptop.fails(["pair", &code, "--at", address(&node)]).0, 6, "it is over, also for the right code");
    let output = pairing.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(desk.json(["devices"])["devices"].as_array().map(Vec::len), Some(1));
    // Nothing of this makes the laptop anybody's.
    assert_ne!(laptop.json(["id"])["identity"], desk.json(["id"])["identity"]);
    for no_code in ["12", "syncra-pair:", "syncra-pair:4821?to=me"] {
        assert_eq!(laptop.fails(["pair", no_code, "--at", address(&node)]).0, 2, "{no_code}");
    }
    drop(node);
}

#[test]
fn who_has_published_or_joined_joins_nobody() {
    let (desk, laptop) = (wired(), wired());
    publish(&laptop, "1.0.0", 1_000);
    let (exit, error) = laptop.fails(["pair", "4821-k3v7-x2m4", "--at", "/ip4/127.0.0.1/tcp/9"]);
    assert_eq!((exit, word(&error, "code")), (7, "E0700".to_owned()));
    assert_eq!(desk.fails(["pair"]).0, 2, "nobody can be asked");
}
