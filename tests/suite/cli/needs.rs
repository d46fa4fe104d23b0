//! Packages that need others': whose is meant, and what fits. Without a network: packages are carried.

use std::path::Path;

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

fn carry(from: &Home, to: &[&Home], reference: &str) {
    let file = from.work().join("carried.syncpack");
    drop(std::fs::remove_file(&file));
    let file = file.to_str().expect("text");
    from.json(["export", reference, "-o", file]);
    for home in to {
        home.json(["import", file]);
    }
}

fn called(handle: &str) -> Home {
    let home = Home::new();
    home.json(["id", "--handle", handle]);
    home
}

fn owner(home: &Home) -> String {
    text(&home.json(["id"]), "ref_prefix").trim_end_matches('/').to_owned()
}

fn exact(published: &Value) -> String {
    format!("syncra:{}", text(published, "package_id"))
}

fn needs(dir: &Path, line: &str) {
    let file = dir.join("syncra.toml");
    let manifest = std::fs::read_to_string(&file).expect("there");
    std::fs::write(file, format!("{manifest}[dependencies]\n{line}\n")).expect("written");
}

#[test]
fn who_proposes_to_a_package_that_needs_a_strangers_is_told_whom_to_trust() {
    let (carol, mallory, alice, bob) = (called("carol"), called("carol"), called("alice"), called("bob"));
    for home in [&carol, &mallory] {
        package(home, "lib", "1.0.0", "help()");
    }
    let (lib, other) = (exact(&publish(&carol, "lib")), exact(&publish(&mallory, "lib")));
    carry(&carol, &[&alice], &lib);
    alice.json(["trust", &owner(&carol)]);
    let dir = package(&alice, "lamp", "1.0.0", "turn()");
    needs(&dir, "\"@carol/lib\" = \"^1\"");
    let lamp = exact(&publish(&alice, "lamp"));
    carry(&alice, &[&bob], &lamp);
    bob.json(["checkout", &lamp, "mine"]);
    std::fs::write(bob.work().join("mine/src/main.syn"), "turn(2)").expect("written");
    let propose = ["propose", "mine", "--title", "faster", "--offline"];

    let refused = |hint: &str| {
        let (exit, problem) = bob.fails(propose);
        assert_eq!((exit, text(&problem, "code")), (1, "E0113"), "{problem}");
        assert!(text(&problem, "hint").contains(hint), "{hint}: {problem}");
    };
    // What the checked out release needs says which package it is, though nothing of that is here.
    refused(&format!("`syncra info {lib}`"));
    carry(&mallory, &[&bob], &other);
    refused(&format!("`syncra trust {}`", owner(&mallory)));
    // Of two who call themselves so it is the one whose package it needs.
    carry(&carol, &[&bob], &lib);
    let trust = format!("`syncra trust {}`", owner(&carol));
    refused(&trust);
    bob.json(["trust", &owner(&carol)]);
    assert_eq!(text(&bob.json(propose), "title"), "faster");
}

/// Whoever checks before a publish is not refused by that afterwards.
#[test]
fn check_refuses_a_dependency_that_publish_refuses() {
    let home = called("alice");
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    needs(&dir, "\"@nobody/lib\" = \"^1\"");
    let says = |verb: &[&str]| {
        let (exit, problem) = home.fails(verb);
        (
            exit,
            text(&problem, "code").to_owned(),
            text(&problem, "message").to_owned(),
            text(&problem, "hint").to_owned(),
        )
    };
    let refused = says(&["publish", "lamp", "--dry-run"]);
    assert_eq!((refused.0, refused.1.as_str()), (1, "E0113"));
    assert_eq!(says(&["check", "lamp"]), refused);
    // Where there is no home nothing is known, and checking makes none.
    let away = Home::new();
    let lamp = dir.to_str().expect("text");
    let warned = away.json(["check", lamp])["warnings"].to_string();
    assert!(warned.contains("not looked up") && warned.contains("`syncra publish --dry-run`"), "{warned}");
    assert!(!away.path().exists());
}
