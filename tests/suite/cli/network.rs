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
    assert_eq!(bob.fails(["get", &reference, "-o", target]).1["code"], "E0304");
    bob.json(["connect", &address]);
    let got = bob.json(["get", &reference, "-o", target]);
    assert_eq!(got["release_id"], published["release_id"]);
    assert!(got["fetched_bytes"].as_u64().expect("a number") > 0, "{got}");
    assert_eq!(files(Path::new(target)), files(Path::new(&dir)));
    assert_eq!(bob.json(["peers"])["peers"].as_array().map(Vec::len), Some(1));

    // With the other gone, what was fetched is still here.
    assert_eq!(alice_up.stop().0, 0);
    let again = bob.work().join("again");
    let got = bob.json(["get", &reference, "-o", again.to_str().expect("UTF-8"), "--offline"]);
    assert_eq!(got["fetched_bytes"], 0);
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
