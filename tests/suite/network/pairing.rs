//! Two devices of one person: paired by a code, publishing to one package, seen as one by others.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use serde_json::Value;

use crate::people::{LOOPBACK, address, begin, publish, text, wired, word};

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
