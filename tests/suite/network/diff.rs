//! Looking into releases that others have: what is fetched for it is what is looked at, and no more.

use serde_json::Value;
use syncra_tests::Home;

use crate::people::{LOOPBACK, address, noise, number, text, wired, word};

/// Bytes of the file that nobody looks at: several segments.
const LARGE: usize = 24 << 20;
/// What describes the release and holds the small files: one segment, which may begin the large file.
const LOOKED_AT: u64 = 6 << 20;

fn publish(home: &Home, version: &str, script: &str) -> String {
    let dir = home.work().join("world");
    std::fs::create_dir_all(dir.join("src")).expect("a directory");
    let manifest = format!("[package]\nname = \"world\"\nversion = \"{version}\"\nkind = \"asset\"\n");
    std::fs::write(dir.join("syncra.toml"), manifest).expect("a file");
    std::fs::write(dir.join("src/main.syn"), script).expect("a file");
    let seed = version.bytes().map(u64::from).sum();
    std::fs::write(dir.join("terrain.bin"), noise(seed, LARGE)).expect("a file");
    word(&home.json(["publish", text(&dir), "--yes"]), "ref")
}

fn change<'a>(diff: &'a Value, path: &str) -> &'a Value {
    diff["files"].as_array().expect("files").iter().find(|file| file["path"] == path).expect("it changed")
}

#[test]
fn what_others_have_is_compared_without_fetching_what_is_not_looked_at() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    let old = publish(&alice, "1.0.0", "turn()\n");
    let new = publish(&alice, "1.1.0", "turn()\nglow()\n");
    let bob_up = bob.up(LOOPBACK);
    bob.json(["connect", address(&alice_up)]);

    let names = bob.json(["diff", &old, &new, "--name-only"]);
    assert_eq!(change(&names, "terrain.bin")["content"], "unread");
    let described = number(&names, "fetched_bytes");
    assert!(described > 0 && described < 64 << 10, "{described} bytes for directories and manifests");
    let (exit, error) = bob.fails(["diff", &old, &new, "--offline"]);
    assert_eq!((exit, error["code"].as_str()), (6, Some("E0603")), "{error}");

    let diff = bob.json(["diff", &old, &new]);
    assert_eq!(change(&diff, "src/main.syn")["n_added"], 1);
    assert_eq!(change(&diff, "terrain.bin")["content"], "too_large");
    let fetched = number(&diff, "fetched_bytes");
    assert!(fetched > 0 && fetched <= 2 * LOOKED_AT, "{fetched} bytes for two small files");
    assert_eq!(number(&bob.json(["diff", &old, &new, "--offline"]), "fetched_bytes"), 0);

    // Lines of a file that both were looked into are told without anybody.
    let blamed = bob.json(["blame", &new, "src/main.syn", "--offline"]);
    assert_eq!(blamed["lines"][1]["release_id"], blamed["last"]["release_id"]);
    // What was not looked at comes when it is wanted, and is whole.
    let out = bob.work().join("out");
    let got = bob.json(["get", &new, "-o", text(&out)]);
    assert!(number(&got, "fetched_bytes") > LARGE as u64 - LOOKED_AT, "{got}");
    let (got, sent) = (std::fs::read(out.join("terrain.bin")), std::fs::read(alice.work().join("world/terrain.bin")));
    assert!(got.expect("it was fetched") == sent.expect("it was published"));
    drop((alice_up, bob_up));
}

/// Without a running node one is started for it, as for `get`.
#[test]
fn a_single_command_finds_who_has_it() {
    let (alice, bob) = (Home::new(), wired());
    let alice_up = alice.up(LOOPBACK);
    publish(&alice, "1.0.0", "turn()\n");
    let new = publish(&alice, "1.1.0", "glow()\n");
    bob.json(["config", "set", "bootstrap", &format!("[\"{}\"]", address(&alice_up))]);
    let diff = bob.json(["diff", &new, "--name-only"]);
    assert_eq!(change(&diff, "src/main.syn")["change"], "modified");
    let blamed = bob.json(["blame", &new, "src/main.syn"]);
    assert_eq!(blamed["last"]["version"], "1.1.0");
}
