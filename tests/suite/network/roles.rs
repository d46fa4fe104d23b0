//! Two people, each with a node, and one package: roles travel with its history.

use syncra_tests::Home;

use crate::people::{LOOPBACK, address, hears, noise, publish, text, wired, word};

fn identity(home: &Home) -> String {
    word(&home.json(["id"]), "identity")
}

/// Publishes another version of somebody else's package.
fn publish_to(home: &Home, package: &str, version: &str) -> serde_json::Value {
    let dir = home.work().join("theirs");
    home.json(["checkout", package, text(&dir)]);
    let manifest = format!("[package]\nname = \"world\"\nversion = \"{version}\"\nkind = \"asset\"\n");
    for (name, bytes) in [("syncra.toml", manifest.into_bytes()), ("terrain.bin", noise(7, 40_000))] {
        std::fs::write(dir.join(name), bytes).expect("a file");
    }
    home.json(["publish", text(&dir), "--yes"])
}

/// Waits until the node has told so many events of a kind.
fn hears_nth(home: &Home, kind: &'static str, n: usize) {
    let n_heard = std::sync::atomic::AtomicUsize::new(0);
    hears(home, move |event| {
        event["type"] == kind && n_heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == n
    });
}

#[test]
fn two_people_publish_to_one_package_and_a_stranger_takes_both_for_it() {
    let (alice, bob, stranger) = (wired(), wired(), wired());
    let first = publish(&alice, "1.0.0", 40_000);
    let (package, _) = first.reference.rsplit_once('@').expect("a version");
    let alices = alice.up(LOOPBACK);
    let bobs = bob.up(LOOPBACK);
    bob.json(["connect", address(&alices)]);
    bob.json(["add", package, "--follow"]);
    assert_eq!(word(&bob.fails(["role", package, &identity(&bob), "owner"]).1, "code"), "E0410");

    alice.json(["role", package, &identity(&bob), "maintainer"]);
    // One update was the package itself; the next one is what Alice said.
    let mut news = 0;
    while bob.json(["role", package])["roles"].as_array().map(Vec::len) != Some(2) {
        news += 1;
        hears_nth(&bob, "package_updated", news);
    }
    let second = publish_to(&bob, package, "1.1.0");
    // Alice's node hears of a log by somebody of whom it knows no device yet, and asks who that is.
    let mut news = 0;
    while alice.json(["info", package])["releases"].as_array().map(Vec::len) != Some(2) {
        news += 1;
        hears_nth(&alice, "package_updated", news);
    }
    assert_eq!(alices.stop().0, 0);

    // Bob alone is enough to learn who may do what, and that his release counts.
    let visiting = stranger.up(LOOPBACK);
    stranger.json(["connect", address(&bobs)]);
    let exact = format!("syncra:{}@1.1.0", word(&second, "package_id"));
    stranger.json(["get", &exact, "-o", text(&stranger.work().join("two"))]);
    let info = stranger.json(["info", &exact]);
    assert_eq!(info["roles"].as_array().map(Vec::len), Some(2), "{info}");
    assert_eq!(info["releases"][0]["state"], "settled", "{info}");

    // And Alice, when she is back, takes it in and goes on.
    let alices = alice.up(LOOPBACK);
    alice.json(["connect", address(&bobs)]);
    alice.json(["get", &exact, "-o", text(&alice.work().join("two"))]);
    let third = publish(&alice, "1.2.0", 40_000);
    let log = alice.json(["log", &third.reference]);
    assert!(log.to_string().contains("1.1.0"), "{log}");
    drop((alices, bobs, visiting));
}

/// What was agreed to while the first owner was away is heard before the next release is signed, not after.
#[test]
fn who_handed_a_package_on_is_refused_as_soon_as_anybody_connected_knows() {
    let (alice, bob) = (wired(), wired());
    let first = publish(&alice, "1.0.0", 1_000);
    let (package, _) = first.reference.rsplit_once('@').expect("a version");
    let exact = format!("syncra:{}", word(&alice.json(["info", package]), "package_id"));
    let handed = alice.json(["transfer", &exact, &identity(&bob), "--yes"]);
    let file = alice.work().join("handed.syncpack");
    alice.json(["export", &exact, "-o", text(&file)]);
    bob.json(["import", text(&file)]);
    bob.json(["endorse", &exact, &word(&handed, "change")]);

    let bobs = bob.up(LOOPBACK);
    let alices = alice.up(LOOPBACK);
    std::fs::write(first.dir.join("terrain.bin"), noise(9, 1_000)).expect("a file");
    std::fs::write(
        first.dir.join("syncra.toml"),
        "[package]\nname = \"world\"\nversion = \"1.1.0\"\nkind = \"asset\"\n",
    )
    .expect("a file");
    alice.json(["connect", address(&bobs)]);
    let (exit, error) = alice.fails(["publish", text(&first.dir), "--yes"]);
    assert_eq!((exit, word(&error, "code")), (4, "E0407".to_owned()), "{error}");
    drop((alices, bobs));
}
