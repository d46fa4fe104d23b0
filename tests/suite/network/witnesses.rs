//! Witnesses and proofs of forks between real nodes: who says what when, what readers see of it, what policies keep out, and
//! that a warning reaches who never met the forker.

use syncra_tests::{Home, Node};

use crate::people::{LOOPBACK, Published, address, hears, number, publish, text, until, wired, word};

/// A node that witnesses.
fn witness() -> (Home, Node) {
    let home = wired();
    home.json(["config", "set", "witness", "true"]);
    let up = home.up(LOOPBACK);
    (home, up)
}

/// Asks anew until the node says so. Each question is a round trip of its own, so no time is waited for.
fn until_witnessed(home: &Home, published: &Published, by: u64) -> serde_json::Value {
    for _ in 0..200 {
        home.run(["update"]);
        let info = home.json(["info", package(published)]);
        if info["witnessed"]["by"].as_u64() == Some(by) {
            return info;
        }
    }
    panic!("never witnessed by {by}: {}", home.json(["info", package(published)]));
}

fn package(published: &Published) -> &str {
    published.reference.split_once("@1.").map_or(&published.reference, |(package, _)| package)
}

#[test]
fn readers_see_how_new_things_are_also_through_those_who_list_no_witness() {
    let (alice, carol, bob) = (wired(), wired(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", 10_000);
    let (wilma, wilma_up) = witness();
    let (walter, walter_up) = witness();
    let carol_up = carol.up(LOOPBACK);
    carol.json(["config", "set", "policy.min_witnesses", "0"]);
    for up in [&wilma_up, &walter_up] {
        // Witnesses come by the package as everybody does.
        let home = if std::ptr::eq(up, &wilma_up) { &wilma } else { &walter };
        home.json(["connect", address(&alice_up)]);
        home.json(["get", &published.reference, "-o", text(&home.work().join("out"))]);
        carol.json(["connect", address(up)]);
    }
    carol.json(["add", package(&published)]);

    // Bob meets carol only, who lists nobody.
    bob.json(["witness", "add", wilma_up.peer_id(), walter_up.peer_id()]);
    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&carol_up)]);
    bob.json(["add", package(&published)]);
    until_witnessed(&carol, &published, 0);
    let info = until_witnessed(&bob, &published, 2);
    assert_eq!(word(&info, "freshness"), "witnessed");
    assert_eq!((number(&info["witnessed"], "of"), number(&info["witnessed"], "needed")), (2, 2));
    assert_eq!(word(&carol.json(["info", package(&published)]), "freshness"), "unknown", "carol lists nobody");
    let told = bob.run(["info", package(&published)]).stdout;
    assert!(told.contains("freshness: witnessed ") && told.contains(" ago by 2 of 2"), "{told}");
    let verified = bob.json(["verify"]);
    assert_eq!(word(&verified["packages"][0], "freshness"), "witnessed", "{verified}");
    assert_eq!(word(&bob.json(["status"])["witnesses"], "freshness"), "witnessed");
    assert_eq!(bob.json(["witness", "list"])["witnesses"].as_array().map(Vec::len), Some(2));
    assert!(wilma.json(["status"])["witnesses"]["own"].is_string());

    // Without a node too; and nobody's word counts who is not on the list.
    assert_eq!(bob_up.stop().0, 0);
    assert_eq!(word(&bob.json(["info", package(&published)]), "freshness"), "witnessed");
    bob.json(["witness", "remove", walter_up.peer_id()]);
    let info = bob.json(["info", package(&published)]);
    assert_eq!((number(&info["witnessed"], "by"), number(&info["witnessed"], "of")), (1, 1));
    bob.json(["witness", "remove", wilma_up.peer_id()]);
    assert_eq!(word(&bob.json(["info", package(&published)]), "freshness"), "unknown");
}

#[test]
fn what_too_few_have_seen_is_not_installed() {
    let (alice, bob) = (wired(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", 10_000);
    let (wilma, wilma_up) = witness();
    bob.json(["witness", "add", wilma_up.peer_id()]);
    bob.json(["config", "set", "policy.min_witnesses", "1"]);
    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&alice_up)]);
    let (exit, error) = bob.fails(["add", package(&published)]);
    assert_eq!((exit, error["code"].as_str()), (8, Some("E0803")), "{error}");
    assert!(word(&error, "hint").contains("syncra witness list"), "{error}");
    bob.json(["follow", package(&published)]);
    hears(&bob, |event| event["type"] == "follow_refused" && word(event, "reason").contains("0 of your 1 witnesses"));

    // As soon as the witness has spoken, what is followed is installed unasked.
    wilma.json(["connect", address(&alice_up)]);
    bob.json(["connect", address(&wilma_up)]);
    wilma.json(["get", &published.reference, "-o", text(&wilma.work().join("out"))]);
    until_witnessed(&bob, &published, 1);
    hears(&bob, |event| event["type"] == "installed" && event["version"] == "1.0.0");
    assert_eq!(bob_up.stop().0, 0);

    // For a day it was not seen yet: what is installed stays, and nothing newer comes.
    bob.json(["config", "set", "policy.min_witnessed_hours", "24"]);
    let _bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&alice_up)]);
    bob.json(["connect", address(&wilma_up)]);
    publish(&alice, "1.1.0", 10_000);
    let updated = bob.json(["update"]);
    assert_eq!(updated["changes"].as_array().map(Vec::len), Some(0), "{updated}");
    let why = word(&updated["kept"][0], "why");
    assert!(why.contains("1.1.0") && why.contains("witnesses have seen it"), "{updated}");
}

#[test]
fn a_running_node_takes_over_what_is_asked_of_witnesses_and_begins_to_be_one() {
    let (alice, bob) = (wired(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", 10_000);
    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&alice_up)]);
    let changed = bob.json(["config", "set", "policy.min_witnesses", "1"]);
    assert_eq!(changed["needs_restart"], false, "{changed}");
    let (exit, error) = bob.fails(["add", package(&published)]);
    assert_eq!((exit, error["code"].as_str()), (8, Some("E0803")), "{error}");
    bob.json(["follow", package(&published)]);
    hears(&bob, |event| event["type"] == "follow_refused");
    assert!(bob.json(["status"])["witnesses"]["own"].is_null());

    // By hand, and what waited for the old policy waits no longer.
    let file = bob.path().join("config.toml");
    let before = std::fs::read_to_string(&file).expect("readable");
    let after = before.replace("min_witnesses = 1", "min_witnesses = 0");
    assert_ne!(after, before);
    std::fs::write(&file, format!("witness = true\n{after}")).expect("written");
    hears(&bob, |event| event["type"] == "config_changed" && word(event, "key") == "witness");
    hears(&bob, |event| event["type"] == "installed" && event["version"] == "1.0.0");
    assert!(bob.json(["status"])["witnesses"]["own"].is_string());
    alice.json(["witness", "add", bob_up.peer_id()]);
    until_witnessed(&alice, &published, 1);
}

#[test]
fn of_a_forked_log_what_the_readers_witnesses_have_seen_can_be_installed() {
    let (alice, bob, twin) = (wired(), wired(), Home::new());
    let published = publish(&alice, "1.0.0", 10_000);
    crate::lies::copy(alice.path(), twin.path());
    twin.json(["id", "adopt", "--yes", "--offline"]);
    let newer = publish(&alice, "1.1.0", 10_000);
    publish(&twin, "1.2.0", 10_000);

    // Wilma sees the first history, bob hears of it from her and has all of it.
    let (wilma, wilma_up) = witness();
    let alice_up = alice.up(LOOPBACK);
    wilma.json(["connect", address(&alice_up)]);
    wilma.json(["get", &newer.reference, "-o", text(&wilma.work().join("out"))]);
    drop(alice_up.kill());
    bob.json(["witness", "add", wilma_up.peer_id()]);
    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&wilma_up)]);
    bob.json(["add", package(&published)]);
    until_witnessed(&bob, &published, 1);

    let twin_up = twin.up(LOOPBACK);
    bob.json(["connect", address(&twin_up)]);
    bob.run(["update"]);
    hears(&bob, |event| event["type"] == "peer_fault" && word(event, "fault").contains("two histories"));
    drop(twin_up.kill());

    // What she has seen counts, also after a restart; the reader who lists nobody refuses it.
    let get = |out: &str| ["get", &newer.reference, "-o", text(&bob.work().join(out)), "--offline"].map(str::to_owned);
    assert_eq!(bob.json(get("running"))["version"], "1.1.0");
    assert_eq!(bob_up.stop().0, 0);
    assert_eq!(bob.json(get("stopped"))["version"], "1.1.0");
    let bob_up = bob.up(LOOPBACK);
    bob.json(["witness", "remove", wilma_up.peer_id()]);
    let (exit, error) = bob.fails(get("alone"));
    assert_eq!((exit, error["code"].as_str()), (5, Some("E0504")), "{error}");
    bob.json(["witness", "add", wilma_up.peer_id()]);
    assert_eq!(bob.json(get("again"))["version"], "1.1.0", "what she said is kept");
    assert_eq!(bob_up.stop().0, 0);
}

#[test]
fn a_proof_of_a_fork_is_a_file_and_reaches_who_never_met_the_forker() {
    let (alice, bob) = (Home::new(), wired());
    let published = publish(&alice, "1.0.0", 10_000);
    let twin = Home::new();
    crate::lies::copy(alice.path(), twin.path());
    twin.json(["id", "adopt", "--yes", "--offline"]);
    publish(&alice, "1.1.0", 10_000);
    publish(&twin, "1.2.0", 10_000);
    let bob_up = bob.up(LOOPBACK);
    let old = format!("{}@1.0.0", package(&published));
    let get = |home: &Home, out: &str| ["get", &old, "-o", text(&home.work().join(out))].map(str::to_owned);
    for home in [&alice, &twin] {
        let up = home.up(LOOPBACK);
        bob.json(["connect", address(&up)]);
        if home.path() == alice.path() {
            bob.json(["add", package(&published)]);
        }
        // The second time he compares what they have. Both are the same peer to him, and he may not have noticed that the
        // first is gone.
        let out = bob.work().join("out");
        until("bob can take what both have", || {
            bob.run(["update"]);
            bob.run(["get", &old, "-o", text(&out)]).code == 0
        });
        std::fs::remove_dir_all(&out).expect("it was written");
        drop(up.kill());
    }
    hears(&bob, |event| event["type"] == "peer_fault" && word(event, "fault").contains("two histories"));

    // A file, checked by somebody without a home, offline.
    let file = bob.work().join("world.fork");
    let written = bob.json(["info", package(&published), "--fork-proof", text(&file)]);
    let bytes = std::fs::read(&file).expect("written");
    assert!(bytes.len() <= 1_500, "{} bytes", bytes.len());
    assert_eq!(bob.run(["info", package(&published), "--fork-proof", text(&file)]).code, 7, "nothing is written over");
    let nobody = Home::new();
    let checked = nobody.json(["verify", "--fork-proof", text(&file), "--offline"]);
    assert_eq!(checked, written);
    assert!(!nobody.path().exists(), "a home was made");
    for (n, byte) in bytes.iter().enumerate().step_by(97) {
        let mut wrong = bytes.clone();
        wrong[n] = byte ^ 1;
        let other = bob.work().join("wrong.fork");
        std::fs::write(&other, wrong).expect("written");
        assert_eq!(nobody.run(["verify", "--fork-proof", text(&other)]).code, 5, "byte {n}");
    }

    // Carol meets only bob; dora takes the file in; eve gets a stick. None of them met the forker.
    let check = |home: &Home, who: &str| {
        let told = home.run(["verify"]);
        assert!(told.code == 5 && told.stderr.contains("signed two histories"), "{who}: {}", told.stderr);
        let info = home.json(["info", package(&published)]);
        assert_eq!(info["forked"].as_array().map(Vec::len), Some(1), "{who}: {info}");
        let status = home.run(["status"]).stdout;
        assert!(status.contains("signed two histories"), "{who}: {status}");
    };
    let carol = wired();
    let carol_up = carol.up(LOOPBACK);
    carol.json(["connect", address(&bob_up)]);
    // Nobody shows her the other history, only where it parts from this one: what is in both stays settled.
    assert_eq!(carol.json(["add", package(&published)])["changes"][0]["to"], "1.0.0");
    let (exit, error) = carol.fails(["add", &format!("{}@1.1.0", package(&published))]);
    assert_eq!((exit, error["code"].as_str()), (5, Some("E0504")), "{error}");
    check(&carol, "carol");
    drop(carol_up);
    assert_eq!(carol.json(get(&carol, "stopped"))["version"], "1.0.0");

    let stick = bob.work().join("world.syncpack");
    bob.json(["export", package(&published), "-o", text(&stick)]);
    drop(bob_up);
    let eve = Home::new();
    eve.run(["import", text(&stick)]);
    check(&eve, "eve");
    assert_eq!(eve.json(get(&eve, "out"))["version"], "1.0.0", "the stick shows where the histories part");

    let (dora, alice_up) = (wired(), alice.up(LOOPBACK));
    let dora_up = dora.up(LOOPBACK);
    dora.json(["connect", address(&alice_up)]);
    dora.json(["add", package(&published)]);
    let would = dora.json(["import", text(&file), "--dry-run"]);
    assert_eq!(would["fork"], written);
    assert_eq!(dora.run(["verify"]).code, 0, "a dry run keeps nothing");
    assert_eq!(dora.json(["import", text(&file)])["fork"], written);
    check(&dora, "dora");
    let (exit, error) = dora.fails(get(&dora, "before"));
    assert_eq!((exit, error["code"].as_str()), (5, Some("E0504")), "the file does not say where they part: {error}");
    dora.run(["import", text(&stick)]);
    assert_eq!(dora.json(get(&dora, "after"))["version"], "1.0.0", "the stick does");
    // Dora tells alice, who did it: nobody would take more of that log, and so nothing more goes into it.
    let package = package(&published);
    until("alice knows", || alice.json(["info", package])["forked"].as_array().is_some_and(|forked| forked.len() == 1));
    let dir = alice.work().join("world");
    std::fs::write(dir.join("syncra.toml"), "[package]\nname = \"world\"\nversion = \"1.3.0\"\nkind = \"asset\"\n")
        .expect("written");
    let (exit, error) = alice.fails(["publish", text(&dir), "--yes"]);
    assert_eq!((exit, word(&error, "code")), (5, "E0504".to_owned()), "{error}");
    drop((dora_up, alice_up));
}
