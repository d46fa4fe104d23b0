//! What a node's log says about its people: nothing that opens a door, and not where anybody is.

use std::path::Path;

use syncra_tests::Home;

use crate::people::{LOOPBACK, address, hears, publish, text, word};

/// Everything in the home's log, older parts too.
fn logs(home: &Home) -> String {
    let entries = std::fs::read_dir(home.path().join("log")).expect("the node keeps a log");
    let files = entries.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("text"));
    files.collect()
}

/// The secrets of a home as a log could spell them.
fn secrets(home: &Home) -> Vec<String> {
    let seed = &std::fs::read(home.path().join("identity/device.key")).expect("a key")[5..37];
    let list = format!("{:?}", &seed[..8]);
    vec![
        data_encoding::HEXLOWER.encode(seed),
        data_encoding::BASE32_NOPAD.encode(seed).to_lowercase(),
        data_encoding::BASE64_NOPAD.encode(seed),
        list.trim_matches(['[', ']']).to_owned(),
        word(&home.json(["id", "recovery"]), "recovery"),
    ]
}

/// A session with everything that a node meets: peers that come, serve, and go, one that is not there, a caller with a
/// wrong token.
fn session(bob: &Home) -> (String, Vec<String>) {
    let (alice, carol) = (Home::new(), Home::new());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", 100_000);
    // Nobody can listen on the port 1 without rights that this test does not need.
    let nobody = "/ip4/127.0.0.1/tcp/1";
    let bob_up = bob.up([&LOOPBACK[..], &["--bootstrap", address(&alice_up), "--bootstrap", nobody]].concat());
    hears(bob, |event| event["type"] == "peer_connected");
    let (package, _) = published.reference.rsplit_once('@').expect("a release");
    bob.json(["add", package, "--follow"]);
    publish(&alice, "1.1.0", 100_000);
    hears(bob, |event| event["type"] == "installed" && event["version"] == "1.1.0");
    let token = word(&bob.json(["token", "create", "--name", "engine", "--scope", "read"]), "secret");
    let carol_up = carol.up(LOOPBACK);
    carol.json(["connect", address(&bob_up)]);
    carol.json(["get", &published.reference, "-o", text(&carol.work().join("out"))]);
    bob.fails(["connect", nobody]);
    let addresses = [address(&alice_up), address(&carol_up)].map(str::to_owned);
    drop(alice_up.kill());
    assert_eq!(carol_up.stop().0, 0);
    hears(bob, |event| event["type"] == "peer_disconnected");
    let mut forbidden: Vec<String> = [&alice, &carol, bob].into_iter().flat_map(secrets).collect();
    forbidden.push(token);
    // `/ip4/127.0.0.1/tcp/PORT/p2p/…`, in whichever way somebody prints it.
    for address in addresses {
        let port = address.split('/').nth(4).expect("a port");
        forbidden.extend([format!("/{port}"), format!(":{port}")]);
    }
    (bob_up.stop().1, forbidden)
}

#[test]
fn the_log_of_a_session_holds_no_secret_and_no_address() {
    let bob = Home::new();
    let (said, forbidden) = session(&bob);
    let kept = logs(&bob);
    for told in [&said, &kept] {
        for expected in ["started", "connected", "disconnected", "a bootstrap node was not reached", "stopped"] {
            assert!(told.contains(expected), "not a word of `{expected}`: {told}");
        }
        for word in forbidden.iter().map(String::as_str).chain(["/ip4/", "/ip6/", "/dns", "127.0.0.1", "::1"]) {
            assert!(!word.is_empty() && !told.contains(word), "`{word}` stands in the log:\n{told}");
        }
    }
    assert!(bounded(&bob.path().join("log")));
}

fn bounded(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    let sizes: Vec<u64> = files.map(|file| file.metadata().expect("there").len()).collect();
    sizes.len() <= 4 && sizes.iter().all(|len| *len <= 1 << 20)
}
