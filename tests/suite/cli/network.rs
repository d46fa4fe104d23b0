//! Real nodes that meet: by address, and in the demo.

use std::collections::BTreeMap;
use std::path::Path;

use syncra_tests::program::Home;

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read(&path).expect("a file"))
    };
    std::fs::read_dir(dir).expect("a directory").map(read).collect()
}

fn package(home: &Home, version: &str, lamp: &str) -> String {
    let dir = home.work().join("lamp");
    std::fs::create_dir_all(&dir).expect("a directory");
    let manifest = format!("[package]\nname = \"lamp\"\nversion = \"{version}\"\nkind = \"script\"\n");
    std::fs::write(dir.join("syncra.toml"), manifest).expect("a file");
    std::fs::write(dir.join("lamp.syn"), lamp).expect("a file");
    dir.to_string_lossy().into_owned()
}

#[test]
fn one_node_gets_from_another_by_address() {
    let (alice, bob) = (Home::new(), Home::new());
    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
    let (alice_up, _bob_up) = (alice.up(listen), bob.up(listen));
    let address = alice_up.ready()["listen"][0].as_str().expect("an address").to_owned();
    let dir = package(&alice, "1.0.0", "system turn() {}");
    let published = alice.json(["publish", &dir, "--yes"]);
    let reference = published["ref"].as_str().expect("a reference").to_owned();

    // Nobody is connected: nobody knows.
    let target = bob.work().join("out");
    let target = target.to_str().expect("UTF-8");
    for verb in [&["get", &reference, "-o", target][..], &["info", &reference], &["add", &reference]] {
        let nobody = bob.fails(verb).1;
        assert_eq!(nobody["code"], "E0304");
        let hint = nobody["hint"].as_str().expect("a hint");
        assert!(hint.contains("`syncra open LINK`") && hint.contains("`syncra connect ADDRESS`"), "{verb:?}: {hint}");
    }
    bob.json(["connect", &address]);
    let got = bob.json(["get", &reference, "-o", target]);
    assert_eq!(got["release_id"], published["release_id"]);
    assert!(got["fetched_bytes"].as_u64().expect("a number") > 0, "{got}");
    assert_eq!(files(Path::new(target)), files(Path::new(&dir)));
    assert_eq!(bob.json(["peers"])["peers"].as_array().map(Vec::len), Some(1));
    // A network is more than this machine.
    let status = bob.run(["status"]).stdout;
    assert!(status.contains("reached: from this machine alone") && !status.contains("own network"), "{status}");

    // Somebody was asked: that is another way to know nothing.
    let unknown = bob.fails(["info", "@nobody~abcdefghijkl/nothing"]).1;
    assert!(unknown["code"] == "E0304" && !unknown["hint"].to_string().contains("open LINK"), "{unknown}");

    // With the other gone, what was fetched is still here.
    assert_eq!(alice_up.stop().0, 0);
    let again = bob.work().join("again");
    let got = bob.json(["get", &reference, "-o", again.to_str().expect("UTF-8"), "--offline"]);
    assert_eq!(got["fetched_bytes"], 0);
}

/// Whoever is asked for something hears of it first from the person who asks: the package need not be here.
#[test]
fn who_is_to_own_a_package_need_not_have_looked_for_it() {
    let (alice, bob, carol) = (Home::new(), Home::new(), Home::new());
    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
    let (alice_up, _bob_up, _carol_up) = (alice.up(listen), bob.up(listen), carol.up(listen));
    let address = alice_up.ready()["listen"][0].as_str().expect("an address").to_owned();
    let published = alice.json(["publish", &package(&alice, "1.0.0", "system turn() {}"), "--yes"]);
    let reference = published["ref"].as_str().expect("a reference").split_once("@1").expect("a version").0.to_owned();
    let me = |home: &Home| home.json(["id"])["identity"].as_str().expect("an identity").to_owned();
    let change = |said: &serde_json::Value| said["change"].as_str().expect("a change").to_owned();
    for home in [&bob, &carol] {
        home.json(["connect", &address]);
    }
    let offer = change(&alice.json(["role", &reference, &me(&bob), "owner"]));
    assert_eq!(bob.fails(["endorse", &reference, &offer, "--offline"]).1["code"], "E0304");
    assert_eq!(bob.json(["endorse", &reference, &offer])["in_effect"], true);
    for verb in [&["info"][..], &["role"], &["log", "--graph"], &["channel"]] {
        let fresh = Home::new();
        let _up = fresh.up(listen);
        let call: Vec<&str> = verb.iter().copied().chain([reference.as_str()]).collect();
        let nobody = fresh.fails(&call);
        assert_eq!((nobody.0, nobody.1["code"].as_str()), (3, Some("E0304")), "{call:?}");
        fresh.json(["connect", &address]);
        fresh.json(&call);
    }
    // One that is known, and of which only the change is news.
    alice.json(["get", &format!("{reference}@1.0.0"), "-o", "mine"]);
    let is_here = || alice.json(["role", &reference])["roles"].as_array().map(Vec::len) == Some(2);
    assert!(is_here() || alice.json(["endorse", &reference, &offer])["in_effect"] == true && is_here());
    let next = change(&alice.json(["role", &reference, &me(&carol), "maintainer"]));
    assert_eq!(bob.json(["endorse", &reference, &next])["in_effect"], true);
}

#[test]
fn bad_addresses_have_their_own_errors() {
    let home = Home::new();
    assert_eq!(home.fails(["connect", "/ip4/127.0.0.1/tcp/1"]).1["code"], "E1000");
    let _up = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(home.fails(["connect", "nonsense"]).1["code"], "E0202");
    assert_eq!(home.fails(["connect", "/ip4/127.0.0.1/tcp/1"]).1["code"], "E0600");
}

#[test]
fn the_demo_ends_well_and_counts_what_happened() {
    let home = Home::new();
    let story = home.json(["demo"]);
    assert_eq!(story["lies_refused"], 2);
    let number = |name: &str| story[name].as_u64().unwrap_or_else(|| panic!("{name} of {story}"));
    assert!(number("first_fetch_bytes") > number("world_bytes") / 2);
    assert!(number("update_fetch_bytes") < number("world_bytes") / 5);
    let who: Vec<_> = story["steps"].as_array().expect("steps").iter().map(|step| step["who"].as_str()).collect();
    for person in ["alice", "bob", "carol", "dora", "mallory"] {
        assert!(who.contains(&Some(person)), "{person} did nothing");
    }
}
