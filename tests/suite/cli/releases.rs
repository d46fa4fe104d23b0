//! Publishing, and what is known afterwards.

use std::path::PathBuf;

use serde_json::Value;
use syncra_tests::Home;

/// A script package in the directory `name`, with `text` in it.
pub(crate) fn package(home: &Home, name: &str, version: &str, text: &str) -> PathBuf {
    let dir = home.work().join(name);
    std::fs::create_dir_all(dir.join("src")).expect("made");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"script\"\ndescription = \"The {name}\"\n"
    );
    std::fs::write(dir.join("syncra.toml"), manifest).expect("written");
    std::fs::write(dir.join("src/main.syn"), text).expect("written");
    dir
}

/// Publishes the package in the directory `name`.
pub(crate) fn publish(home: &Home, name: &str) -> Value {
    home.json(["publish", name, "--yes"])
}

/// A field that is a text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

#[test]
fn a_published_release_is_listed_shown_and_written_out_again() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    let done = publish(&home, "lamp");
    let reference = text(&done, "ref").to_owned();
    assert!(reference.ends_with("/lamp@1.0.0") && reference.contains('~'), "{reference}");
    assert_eq!((done["already"].as_bool(), done["n_files"].as_u64()), (Some(false), Some(2)));
    assert!(done["new_bytes"].as_u64() > Some(0));
    assert_eq!(done["checkpoint"]["size"], 3);

    let list = home.json(["list"]);
    let listed = &list["packages"][0];
    let package = reference.trim_end_matches("@1.0.0");
    assert_eq!(text(listed, "ref"), package);
    assert_eq!((&listed["own"], &listed["versions"][0]), (&Value::from(true), &Value::from("1.0.0")));

    let info = home.json(["info", package]);
    assert_eq!((text(&info, "description"), text(&info, "freshness")), ("The lamp", "unknown"));
    assert_eq!(text(&info["releases"][0], "state"), "settled");
    assert_eq!(info["channels"][0]["releases"][0], done["release_id"]);
    assert_eq!(info["verified"]["logs"], 2);

    let log = home.json(["log", package]);
    let kinds: Vec<_> = log["entries"].as_array().expect("a list").iter().map(|e| text(e, "kind")).collect();
    assert_eq!(kinds, ["genesis", "release", "ref", "genesis", "handle", "name"]);

    for wanted in [&reference, package, &format!("syncra:{}", text(&done, "package_id"))] {
        let out = home.work().join("out");
        let got = home.json(["get", wanted, "-o", "out"]);
        assert_eq!((&got["release_id"], &got["fetched_bytes"]), (&done["release_id"], &Value::from(0)));
        let file = "src/main.syn";
        assert_eq!(std::fs::read(out.join(file)).expect("there"), std::fs::read(dir.join(file)).expect("there"));
        std::fs::remove_dir_all(out).expect("removed");
    }
    let content = format!("syncra:b3:{}", text(&done, "content_root"));
    assert_eq!(home.json(["get", &content, "-o", "by-hash"])["version"], Value::Null);
}

#[test]
fn publishing_again_is_the_same_release_and_other_files_are_a_conflict() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let first = publish(&home, "lamp");
    // Nothing is asked once the package exists.
    let again = home.json(["publish", "lamp"]);
    assert_eq!((&again["already"], &again["new_bytes"]), (&Value::from(true), &Value::from(0)));
    assert_eq!((&again["release_id"], &again["checkpoint"]), (&first["release_id"], &first["checkpoint"]));
    package(&home, "lamp", "1.0.0", "turn(twice)");
    assert_eq!(code(&home.fails(["publish", "lamp"])), (7, "E0704"));
    package(&home, "lamp", "1.1.0", "turn(twice)");
    assert_eq!(home.json(["publish", "lamp", "--note", "twice"])["version"], "1.1.0");
    assert_eq!(home.json(["list"])["packages"][0]["versions"], serde_json::json!(["1.1.0", "1.0.0"]));
}

#[test]
fn the_first_release_is_confirmed_and_a_dry_run_publishes_nothing() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let (exit, error) = home.fails(["publish", "lamp"]);
    assert_eq!((exit, text(&error, "code")), (2, "E0204"));
    assert!(text(&error, "hint").contains("--yes"));
    let plan = home.json(["publish", "lamp", "--dry-run"]);
    assert_eq!((&plan["first"], &plan["n_files"]), (&Value::from(true), &Value::from(2)));
    assert_eq!(home.json(["list"])["packages"], serde_json::json!([]));
}

#[test]
fn a_plain_folder_needs_a_name_and_a_kind_and_counts_up() {
    let home = Home::new();
    let dir = home.work().join("art");
    std::fs::create_dir(&dir).expect("made");
    std::fs::write(dir.join("sea.png"), "blue").expect("written");
    assert_eq!(code(&home.fails(["publish", "art"])), (3, "E0302"));
    let plain = ["publish", "art", "--name", "sea", "--kind", "asset", "--yes"];
    assert_eq!(home.json(plain)["version"], "1.0.0");
    let would = home.json(plain.into_iter().chain(["--dry-run"]));
    assert_eq!((&would["version"], &would["already"]), (&Value::from("1.0.0"), &Value::from(true)), "nothing changed");
    assert!(home.run(plain.into_iter().chain(["--dry-run"])).stdout.contains("published before"));
    assert_eq!(home.json(plain)["already"], true);
    std::fs::write(dir.join("sea.png"), "green").expect("written");
    let would = home.json(plain.into_iter().chain(["--dry-run"]));
    assert_eq!((&would["version"], &would["first"]), (&Value::from("1.0.1"), &Value::from(false)));
    assert_eq!(would["already"], false);
    let taken = home.fails(plain.into_iter().chain(["--dry-run", "--version", "1.0.0"]));
    assert_eq!(code(&taken), (7, "E0704"));
    assert_eq!(code(&home.fails(plain.into_iter().chain(["--version", "1.0.0"]))), (7, "E0704"), "as it would be");
    let said = home.json(plain.into_iter().chain(["--dry-run", "--version", "2.0.0"]));
    assert_eq!(said["version"], "2.0.0");
    assert_eq!(home.json(plain)["version"], "1.0.1");
}

#[test]
fn what_must_not_go_out_is_refused_with_the_way_on() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    std::fs::write(dir.join("note.txt"), format!("key: gh{}_{}", "p", "a1B2".repeat(9))).expect("written");
    for how in ["--yes", "--dry-run"] {
        let (exit, error) = home.fails(["publish", "lamp", how]);
        assert_eq!((exit, text(&error, "code")), (8, "E0801"));
        assert!(text(&error, "hint").contains("--allow-secret"), "{error}");
    }
    assert_eq!(home.json(["list"])["packages"], serde_json::json!([]));
    home.json(["publish", "lamp", "--yes", "--allow-secret", "note.txt"]);
}

#[test]
fn bad_input_has_its_exit_code() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    assert_eq!(code(&home.fails(["publish", "nowhere", "--yes"])), (3, "E0300"));
    assert_eq!(code(&home.fails(["publish", "lamp", "--yes", "--channel", "No Channel"])), (2, "E0202"));
    assert_eq!(code(&home.fails(["publish", "lamp", "--yes", "--kind", "wrold"])), (2, "E0202"));
    for wrong in [["info", "lamp"], ["log", "@a"], ["info", "syncra:xyz"]] {
        assert_eq!(home.fails(wrong).0, 2, "{wrong:?}");
    }
    let published = publish(&home, "lamp");
    let reference = text(&published, "ref").trim_end_matches("@1.0.0").to_owned();
    let elsewhere = format!("syncra:{}", "a".repeat(52));
    assert_eq!(code(&home.fails(["info", &elsewhere])), (3, "E0304"));
    assert_eq!(code(&home.fails(["info", "@nobody/lamp"])), (3, "E0304"));
    assert_eq!(code(&home.fails(["get", &format!("{reference}@9.0.0"), "-o", "x"])), (3, "E0305"));
    assert_eq!(code(&home.fails(["get", &format!("{reference}@nightly"), "-o", "x"])), (3, "E0305"));
    assert_eq!(code(&home.fails(["get", &reference, "-o", "lamp"])), (7, "E0701"));
    assert_eq!(code(&home.fails(["get", &reference, "-o", "lamp/syncra.toml"])), (7, "E0701"));
    assert!(!home.work().join("x").exists());

    let manifest = std::fs::read_to_string(dir.join("syncra.toml")).expect("there");
    for (text, hint) in [(manifest.replace("version", "verison"), "version"), (manifest.replace("1.0.0", "1"), "")] {
        std::fs::write(dir.join("syncra.toml"), text).expect("written");
        let (exit, error) = home.fails(["publish", "lamp"]);
        assert_eq!((exit, error["code"].as_str()), (1, Some("E0110")));
        assert!(error.to_string().contains(hint), "{error}");
    }
    std::fs::write(dir.join("syncra.toml"), manifest).expect("written");
}

#[cfg(unix)]
#[test]
fn links_and_sockets_are_not_published() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    std::os::unix::fs::symlink("syncra.toml", dir.join("link")).expect("made");
    assert_eq!(code(&home.fails(["publish", "lamp", "--yes"])), (1, "E0111"));
    std::fs::remove_file(dir.join("link")).expect("removed");
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).expect("bound");
    assert_eq!(code(&home.fails(["publish", "lamp", "--yes"])), (1, "E0111"));
}

#[test]
fn a_running_node_publishes_for_the_command_line() {
    let home = Home::new();
    let node = home.up([""; 0]);
    package(&home, "lamp", "1.0.0", "turn()");
    let done = publish(&home, "lamp");
    home.json(["get", text(&done, "ref"), "-o", "out"]);
    assert!(home.work().join("out/src/main.syn").is_file());
    assert_eq!(node.stop().0, 0);
    assert_eq!(home.json(["list"])["packages"][0]["latest"], "1.0.0");
}

#[test]
fn refs_are_set_moved_promoted_and_removed() {
    let home = Home::new();
    for version in ["1.0.0", "1.1.0"] {
        package(&home, "lamp", version, version);
        publish(&home, "lamp");
    }
    let exact = format!("syncra:{}", text(&home.json(["list"])["packages"][0], "package_id"));
    let places = |class: &str| -> Vec<(String, String)> {
        let found = home.json([class, &exact]);
        let refs = found["refs"].as_array().expect("a list").clone();
        refs.iter().map(|r| (text(r, "name").to_owned(), text(&r["places"][0], "version").to_owned())).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    };
    assert_eq!(places("channel"), pairs(&[("stable", "1.1.0")]));
    assert_eq!(home.json(["channel", &exact, "beta", "1.0.0", "--dry-run"])["dry_run"], true);
    assert_eq!(places("channel"), pairs(&[("stable", "1.1.0")]));
    home.json(["channel", &exact, "beta", "1.0.0"]);
    home.json(["channel", &exact, "stable", "beta"]);
    assert_eq!(places("channel"), pairs(&[("beta", "1.0.0"), ("stable", "1.0.0")]));
    assert_eq!(home.json(["channel", &exact, "stable", "1.0.0"])["already"], true);
    // What people get follows.
    home.json(["get", &exact, "-o", "out"]);
    assert_eq!(std::fs::read_to_string(home.work().join("out/src/main.syn")).expect("there"), "1.0.0");

    home.json(["tag", &exact, "first", "1.0.0"]);
    assert_eq!(code(&home.fails(["tag", &exact, "first", "1.1.0"])), (7, "E0700"));
    assert_eq!(code(&home.fails(["tag", &exact, "first", "--remove"])), (7, "E0700"));
    assert_eq!(home.json(["tag", &exact, "first", "1.0.0"])["already"], true);
    home.json(["branch", &exact, "work/fins"]);
    assert_eq!(places("branch"), pairs(&[("work/fins", "1.1.0")]), "the newest version by default");
    home.json(["branch", &exact, "work/fins", "--remove"]);
    assert_eq!(places("branch"), pairs(&[]));
    assert_eq!(code(&home.fails(["branch", &exact, "work/fins", "--remove"])), (3, "E0300"));
    assert_eq!(code(&home.fails(["branch", &exact, "No Name", "1.0.0"])).0, 2);
    assert_eq!(code(&home.fails(["channel", &exact, "beta", "9.9.9"])), (3, "E0305"));
    assert_eq!(code(&home.fails(["channel", &format!("{exact}@1.0.0"), "beta", "1.0.0"])), (2, "E0202"));

    let other = Home::new();
    let file = home.work().join("lamp.syncpack");
    let file = file.to_str().expect("text");
    home.json(["export", &exact, "-o", file]);
    other.json(["import", file]);
    assert_eq!(code(&other.fails(["channel", &exact, "stable", "1.1.0"])), (4, "E0407"));
}

/// The plain directory of a package knows nothing of what was published from elsewhere.
#[test]
fn what_was_published_from_elsewhere_does_not_go_unnoticed() {
    let home = Home::new();
    let dir = package(&home, "keep", "0.1.0", "turn()");
    std::fs::write(dir.join("old.txt"), "old").expect("written");
    let first = publish(&home, "keep");
    let exact = format!("syncra:{}", text(&first, "package_id"));
    // Who publishes from one directory only is told nothing, whatever is changed or removed there.
    package(&home, "keep", "0.1.1", "turn(1)");
    std::fs::remove_file(dir.join("old.txt")).expect("removed");
    assert_eq!(home.json(["publish", "keep", "--dry-run"])["warnings"], Value::Null);
    assert_eq!(publish(&home, "keep")["warnings"], Value::Null);

    home.json(["checkout", &exact, "mine"]);
    let mine = home.work().join("mine");
    std::fs::write(mine.join("tower.txt"), "tower").expect("written");
    let manifest = std::fs::read_to_string(mine.join("syncra.toml")).expect("there").replace("0.1.1", "0.2.0");
    std::fs::write(mine.join("syncra.toml"), manifest).expect("written");
    assert_eq!(publish(&home, "mine")["warnings"], Value::Null, "a checkout says itself what it is based on");

    // `src/main.syn` was changed here alone, which is nobody else's work.
    package(&home, "keep", "0.3.0", "turn(3)");
    let lost = "is at 0.2.0, which is not known to come from this directory: of its files 1 are not in it and 0 differ";
    let would = home.json(["publish", "keep", "--dry-run"]);
    assert!(would["warnings"][0].as_str().is_some_and(|warning| warning.contains(lost)), "{would}");
    assert!(home.run(["publish", "keep", "--dry-run"]).stderr.contains(lost));
    let done = publish(&home, "keep");
    assert_eq!(done["warnings"], would["warnings"]);
    package(&home, "keep", "0.3.1", "turn(4)");
    assert_eq!(publish(&home, "keep")["warnings"], Value::Null, "it was told once");
}

#[test]
fn what_contradicts_the_manifest_is_refused() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let said = ["--name", "foo", "--kind", "world", "--version", "7.7.7"];
    for (flag, value) in said.iter().step_by(2).zip(said.iter().skip(1).step_by(2)) {
        let (exit, error) = home.fails(["publish", "lamp", "--yes", flag, value]);
        assert_eq!(exit, 2, "{flag}: {error}");
        assert!(text(&error, "message").contains(value), "{error}");
    }
    home.json(["publish", "lamp", "--yes", "--name", "lamp", "--kind", "script", "--version", "1.0.0"]);
}
