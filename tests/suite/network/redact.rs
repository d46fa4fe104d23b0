//! Redaction between nodes: who hears of it hands the bytes out no more.

use syncra_tests::Home;

use crate::people::{LOOPBACK, address, hears, publish, text, wired, word};

/// Waits until the node knows that a version is redacted.
fn learns(home: &Home, package: &str) {
    let is_redacted = || {
        let info = home.json(["info", package]);
        info["releases"].as_array().expect("a list").iter().any(|known| known["state"] == "redacted")
    };
    let mut n_news = 0;
    while !is_redacted() {
        n_news += 1;
        let n_heard = std::sync::atomic::AtomicUsize::new(0);
        hears(home, move |event| {
            event["type"] == "package_updated"
                && n_heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == n_news
        });
    }
}

#[test]
fn who_holds_a_redacted_release_gives_it_to_nobody() {
    let (alice, bob, carol) = (wired(), wired(), wired());
    let first = publish(&alice, "1.0.0", 40_000);
    let (package, _) = first.reference.rsplit_once('@').expect("a version");
    let package_id = word(&alice.json(["info", package]), "package_id");
    let exact = format!("syncra:{package_id}");
    let content = format!("syncra:b3:{}", word(&alice.json(["publish", text(&first.dir), "--yes"]), "content_root"));
    let alices = alice.up(LOOPBACK);
    let bobs = bob.up(LOOPBACK);
    bob.json(["connect", address(&alices)]);
    bob.json(["add", package, "--follow"]);

    // Who knows nothing of the package gets the bytes from Bob, by their hash alone.
    let knows_nothing = wired();
    let theirs = knows_nothing.up(LOOPBACK);
    knows_nothing.json(["connect", address(&bobs)]);
    knows_nothing.json(["get", &content, "-o", text(&knows_nothing.work().join("before"))]);
    assert_eq!(theirs.stop().0, 0);

    alice.json(["redact", &first.reference, "--reason", "harmful", "--yes"]);
    learns(&bob, package);
    assert_eq!(alices.stop().0, 0);

    // Bob has not removed anything, and what he installed works. He gives it to nobody any more.
    assert_eq!(word(&bob.json(["list"])["packages"][0], "redacted"), "harmful");
    let other = wired();
    let others = other.up(LOOPBACK);
    other.json(["connect", address(&bobs)]);
    let refused = other.fails(["get", &content, "-o", text(&other.work().join("after"))]);
    assert_eq!((refused.0, word(&refused.1, "code")), (6, "E0603".to_owned()), "{}", refused.1);
    assert_eq!(others.stop().0, 0);
    // Carol learns from him what became of it, and gets the next one when there is one.
    let carols = carol.up(LOOPBACK);
    carol.json(["connect", address(&bobs)]);
    let exactly = format!("{exact}@1.0.0");
    let refused = carol.fails(["get", &exactly, "-o", text(&carol.work().join("out"))]);
    assert_eq!((refused.0, word(&refused.1, "code")), (8, "E0805".to_owned()), "{}", refused.1);

    let alices = alice.up(LOOPBACK);
    bob.json(["connect", address(&alices)]);
    carol.json(["connect", address(&alices)]);
    let second = publish(&alice, "1.1.0", 40_000);
    let (_, version) = second.reference.rsplit_once('@').expect("a version");
    carol.json(["get", &format!("{exact}@{version}"), "-o", text(&carol.work().join("next"))]);
    drop((alices, bobs, carols));
}
