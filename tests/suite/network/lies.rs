//! Peers that lie over the real protocols, and what the real program makes of it: the lie is found out, its teller is
//! given up, somebody else is asked. Each test has the liar and whoever tells the truth.

use serde_json::Value;
use syncra_tests::{Home, Node, Output, Proxy, Trip};

use crate::liar::{Liar, Lie};
use crate::people::{
    LOOPBACK, Published, address, assert_same_files, begin, hears, number, publish, text, wired, word,
};

/// Bytes of the package: more than one segment.
const SIZE: usize = 12 << 20;
/// Beyond what describes the content, inside of a file.
const WRONG_AT: u64 = 1_000_000;

/// Somebody who has the package from `teacher`, and is offline again.
fn learnt(teacher: &Node, published: &Published) -> Home {
    let home = Home::new();
    let up = home.up(LOOPBACK);
    home.json(["connect", address(teacher)]);
    home.json(["get", &published.reference, "-o", text(&home.work().join("out"))]);
    assert_eq!(up.stop().0, 0);
    home
}

/// Waits until a running node has said this of a peer.
fn hears_of(home: &Home, fault: &'static str) {
    hears(home, move |event| event["type"] == "peer_fault" && word(event, "fault").contains(fault));
}

#[test]
fn a_wrong_byte_is_found_at_once_and_the_rest_comes_from_another() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", SIZE);
    let mallory = Liar::online(learnt(&alice_up, &published), Lie::WrongByteAt(WRONG_AT));
    let _bob_up = bob.up(LOOPBACK);
    bob.json(["connect", mallory.address()]);

    // The only source lies: nothing is written, and the call says that it is a lie, not that it is slow.
    let target = bob.work().join("out");
    let get = ["get", &published.reference, "-o", text(&target)];
    let (exit, error) = bob.fails(get);
    assert_eq!((exit, error["code"].as_str()), (5, Some("E0502")), "{error}");
    assert!(mallory.n_lies() > 0 && !target.exists());
    assert_eq!(bob.json(["peers"])["peers"], Value::Array(Vec::new()), "a liar stays connected");
    assert_eq!(bob.fails(["connect", mallory.address()]).0, 8, "a liar is let in again");

    // Nothing wrong was kept: what came before the lie is used, the rest comes from the truthful.
    bob.json(["connect", address(&alice_up)]);
    let got = bob.json(get);
    assert!(number(&got, "fetched_bytes") < published.total_bytes, "{got}");
    assert_same_files(&target, &published);
}

#[test]
fn a_liar_beside_a_truthful_peer_costs_nothing_but_time() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", SIZE);
    let mallory = Liar::online(learnt(&alice_up, &published), Lie::WrongByteAt(WRONG_AT));
    let _bob_up = bob.up(LOOPBACK);
    // alice comes when the lie has been told: with both there the liar might never be asked for much.
    bob.json(["connect", mallory.address()]);
    let wire = Proxy::to(address(&alice_up));
    wire.trip(0, Trip::Stall);
    let target = bob.work().join("out");
    let connecting = begin(&bob, &["connect", &wire.address()]);
    let fetch = begin(&bob, &["get", &published.reference, "-o", text(&target)]);
    wire.wait();
    wire.heal();
    assert_eq!(Output::from(connecting).code, 0);
    let got = Output::from(fetch).data();
    let sources = got["sources"].as_array().expect("sources");
    assert!(sources.iter().any(|source| source["peer"] != mallory.key().as_str()), "{got}");
    assert_same_files(&target, &published);
}

#[test]
fn an_older_log_is_refused_and_another_peer_used() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let first = publish(&alice, "1.0.0", 100_000);
    let dora = Liar::online(learnt(&alice_up, &first), Lie::OldLog);
    publish(&alice, "1.1.0", 100_000);
    let _bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&alice_up)]);
    let package = package(&first);
    assert_eq!(bob.json(["add", package])["changes"][0]["to"], "1.1.0");
    let held = bob.json(["info", package])["logs"].clone();

    // With only the old log around nothing goes back.
    assert_eq!(alice_up.stop().0, 0);
    bob.json(["connect", dora.address()]);
    let updated = bob.json(["update", package]);
    assert_eq!(updated["changes"], Value::Array(Vec::new()));
    assert_eq!(bob.json(["info", package])["logs"], held, "the held head was lowered");
    hears_of(&bob, "older log");

    // And it holds nobody up.
    let alice_up = alice.up(LOOPBACK);
    publish(&alice, "1.2.0", 100_000);
    bob.json(["connect", address(&alice_up)]);
    let updated = bob.json(["update", package]);
    assert_eq!(updated["changes"][0]["to"], "1.2.0");
}

#[test]
fn who_hides_a_newer_head_is_named_and_who_has_it_is_enough() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let first = publish(&alice, "1.0.0", 100_000);
    let dora = Liar::online(learnt(&alice_up, &first), Lie::OldLog);
    let (package, alice_key) = (package(&first), word(&alice.json(["id"]), "device"));
    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", dora.address()]);
    assert_eq!(bob.json(["add", package])["changes"][0]["to"], "1.0.0");
    publish(&alice, "1.1.0", 100_000);
    bob.json(["update", package]);
    let of = |key: &str| {
        let told = bob.json(["peers"]);
        let peers = told["peers"].as_array().expect("peers");
        let peer =
            peers.iter().find(|peer| peer["peer"] == *key).unwrap_or_else(|| panic!("connected: {told}")).clone();
        peer["omissions"].as_array().expect("a list").clone()
    };
    assert_eq!(of(&dora.key()), [] as [Value; 0], "nobody can know of more");

    // With both there the newer one wins. It is asked so often that time has to pass, and nobody is accused for that.
    bob.json(["connect", address(&alice_up)]);
    assert_eq!(bob.json(["update", package])["changes"][0]["to"], "1.1.0");
    let mut verdicts = Vec::new();
    while verdicts.last().is_none_or(|last| last != "hides") {
        bob.json(["update", package]);
        let left_out = of(&dora.key());
        let [left_out] = left_out.as_slice() else { panic!("one log: {left_out:?}") };
        assert!(number(left_out, "offered") < number(left_out, "known"), "{left_out}");
        assert_eq!(left_out["shown_by"], alice_key, "{left_out}");
        assert!(word(left_out, "package").contains("/world"), "{left_out}");
        let verdict = word(left_out, "verdict");
        if verdicts.last() != Some(&verdict) {
            verdicts.push(verdict);
        }
    }
    assert_eq!(verdicts, ["behind", "hides"]);
    assert_eq!(of(&alice_key), [] as [Value; 0]);
    let human = bob.run(["peers"]).stdout;
    assert!(human.contains("hides a newer head of @") && human.contains("entries in 3 answers while"), "{human}");
    assert_eq!(bob_up.stop().0, 0);
}

#[test]
fn a_forked_log_is_frozen_for_ever_and_what_both_histories_hold_stays() {
    let (alice, bob) = (Home::new(), wired());
    let published = publish(&alice, "1.0.0", 100_000);
    // The same key in two places, which is what a fork is.
    let twin = Home::new();
    copy(alice.path(), twin.path());
    twin.json(["id", "adopt", "--yes", "--offline"]);
    publish(&alice, "1.1.0", 100_000);
    publish(&twin, "1.2.0", 100_000);

    let bob_up = bob.up(LOOPBACK);
    let release = |version: &str| format!("{}@{version}", package(&published));
    let alice_up = alice.up(LOOPBACK);
    bob.json(["connect", address(&alice_up)]);
    bob.json(["add", &release("1.0.0")]);
    drop(alice_up.kill());
    let twin_up = twin.up(LOOPBACK);
    bob.json(["connect", address(&twin_up)]);
    assert_eq!(bob.run(["update", package(&published)]).code, 0);
    hears_of(&bob, "two histories");
    drop(twin_up.kill());

    let target = bob.work().join("out");
    let check = |when: &str| {
        let told = bob.run(["verify"]);
        assert_eq!(told.code, 5, "{when}: {}", told.stderr);
        assert!(told.stderr.contains("signed two histories"), "{when}: {}", told.stderr);
        let info = bob.json(["info", package(&published)]);
        assert_eq!(info["forked"].as_array().map(Vec::len), Some(1), "{when}: {info}");
        let get = |version: &str| ["get", &release(version), "-o", text(&target), "--offline"].map(str::to_owned);
        let refused = bob.fails(get("1.1.0"));
        assert_eq!((refused.0, refused.1["code"].as_str()), (5, Some("E0504")), "{when}: {}", refused.1);
        assert_eq!(bob.json(get("1.0.0"))["version"], "1.0.0", "{when}: what stands in both histories stays");
        std::fs::remove_dir_all(&target).expect("it was written");
    };
    check("while the node runs");
    assert_eq!(bob_up.stop().0, 0);
    // Of the proof the log has a line that can be read.
    let log = std::fs::read_to_string(bob.path().join("log/node.log")).expect("a log");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("two histories")).collect();
    assert!(told.iter().any(|line| line.contains("syncra/pkg/") && line.contains("sizes=[")), "{log}");
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(512), "{longest:?}: {log}");
    check("without a node");
    let _bob_up = bob.up(LOOPBACK);
    check("after a restart");
}

/// A backup of long ago: what was signed since is with others, and the home must neither sign over it nor stay dumb for ever.
#[test]
fn a_home_that_was_put_back_takes_in_what_others_have_of_it_and_goes_on() {
    let (alice, bob, back) = (wired(), wired(), Home::new());
    let published = publish(&alice, "1.0.0", 10_000);
    copy(alice.path(), back.path());
    publish(&alice, "1.1.0", 10_000);
    let (alice_up, bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    bob.json(["connect", address(&alice_up)]);
    bob.json(["add", package(&published)]);
    drop(alice_up.kill());

    let back_up = back.up(LOOPBACK);
    back.json(["connect", address(&bob_up)]);
    assert_eq!(back.json(["add", package(&published)])["changes"][0]["to"], "1.1.0");
    let dir = back.work().join("world");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("syncra.toml"), "[package]\nname = \"world\"\nversion = \"1.2.0\"\nkind = \"asset\"\n")
        .expect("a file");
    let refused = || {
        let (exit, error) = back.fails(["publish", text(&dir), "--yes"]);
        assert_eq!((exit, error["code"].as_str()), (4, Some("E0406")), "{error}");
    };
    refused();
    assert_eq!(back.json(["id", "adopt", "--yes", "--dry-run"])["already"], false);
    refused();
    assert_eq!(back.json(["id", "adopt", "--yes"])["already"], false);
    assert_eq!(back.json(["id", "adopt", "--yes"])["already"], true, "all of it was taken in");
    publish(&back, "1.2.0", 10_000);
    assert_eq!(bob.json(["update", package(&published)])["changes"][0]["to"], "1.2.0");
    assert_eq!(bob.run(["verify"]).code, 0, "no second history was signed");

    // What it took in then is older than what it has signed since; moved once more it goes on all the same.
    drop(back_up.kill());
    let moved = Home::new();
    copy(back.path(), moved.path());
    assert_eq!(moved.json(["id", "adopt", "--yes", "--offline"])["already"], false);
    assert_eq!(moved.json(["id", "adopt", "--yes", "--offline"])["already"], true);
}

/// What the device has signed since a backup was made only others know: they are asked before it signs anything.
#[test]
fn a_restored_device_signs_nothing_before_others_told_what_it_has_signed_since() {
    let phrase = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(phrase.path(), "a long passphrase\n").expect("written");
    let with_phrase = |home: Home| home.with("SYNCRA_PASSPHRASE_FILE", text(phrase.path()).to_owned());
    let (alice, bob, back) = (with_phrase(wired()), wired(), with_phrase(Home::new()));
    let published = publish(&alice, "1.0.0", 10_000);
    let backup = back.work().join("me.backup");
    alice.json(["id", "backup", text(&backup)]);
    publish(&alice, "1.1.0", 10_000);
    let (alice_up, bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    bob.json(["connect", address(&alice_up)]);
    bob.json(["add", package(&published)]);
    drop(alice_up.kill());

    back.json(["id", "restore", text(&backup), "--yes"]);
    let back_up = back.up(LOOPBACK);
    let (exit, error) = back.fails(["id", "adopt", "--yes"]);
    assert_eq!((exit, error["code"].as_str()), (6, Some("E0605")), "{error}");
    let dir = back.work().join("world");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("syncra.toml"), "[package]\nname = \"world\"\nversion = \"1.2.0\"\nkind = \"asset\"\n")
        .expect("a file");
    let (exit, error) = back.fails(["publish", text(&dir), "--yes"]);
    assert_eq!((exit, error["code"].as_str()), (4, Some("E0406")), "{error}");
    back.json(["connect", address(&bob_up)]);
    assert_eq!(back.json(["id", "adopt", "--yes"])["already"], false);
    assert!(back.json(["info", package(&published)]).to_string().contains("1.1.0"));
    publish(&back, "1.2.0", 10_000);
    assert_eq!(bob.json(["update", package(&published)])["changes"][0]["to"], "1.2.0");
    assert_eq!(bob.run(["verify"]).code, 0, "no second history was signed");
    drop(back_up.kill());
}

#[test]
fn a_peer_that_stalls_is_left_for_another() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let published = publish(&alice, "1.0.0", SIZE);
    let carol = learnt(&alice_up, &published);
    let carol_up = carol.up(LOOPBACK);
    let _bob_up = bob.up(LOOPBACK);
    let wire = Proxy::to(address(&alice_up));
    bob.json(["connect", &wire.address()]);

    // The only source stalls: that is a matter of time, and says so.
    wire.trip(2 << 20, Trip::Stall);
    let target = bob.work().join("out");
    let get = ["get", &published.reference, "-o", text(&target)];
    let (exit, error) = bob.fails([&get[..], &["--timeout", "10"]].concat());
    assert_eq!((exit, error["code"].as_str()), (6, Some("E0601")), "{error}");

    // It still hangs, and somebody else has it.
    bob.json(["connect", address(&carol_up)]);
    let got = bob.json(get);
    assert_same_files(&target, &published);
    assert!(number(&got, "fetched_bytes") < published.total_bytes, "what had come was fetched again: {got}");
}

/// What names the package without a release.
fn package(published: &Published) -> &str {
    published.reference.split_once("@1.").map_or(&published.reference, |(package, _)| package)
}

pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (kind, target) = (entry.file_type().expect("a type"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).expect("a file");
        }
    }
}
