//! Redaction by the real program, without a network: what is refused, what goes, and what stays.

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

fn export(from: &Home, exact: &str, name: &str) -> String {
    let file = from.work().join(name);
    drop(std::fs::remove_file(&file));
    let file = file.to_str().expect("text").to_owned();
    from.json(["export", exact, "-o", &file]);
    file
}

/// A package with two versions, by its id, and a file that carries both.
fn begun() -> (Home, String, String) {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    package(&home, "lamp", "1.1.0", "turn('hunter2')");
    let done = home.json(["publish", "lamp", "--note", "faster"]);
    let exact = format!("syncra:{}", text(&done, "package_id"));
    let file = export(&home, &exact, "both.syncpack");
    (home, exact, file)
}

#[test]
fn a_redacted_release_is_refused_and_goes_and_its_entry_stays() {
    let (home, exact, _) = begun();
    let second = format!("{exact}@1.1.0");
    assert_eq!(home.fails(["redact", &second, "--yes"]).0, 2, "a reason is asked for");
    assert_eq!(home.fails(["redact", &second, "--reason", "whim", "--yes"]).0, 2, "one of the list");
    assert_eq!(code(&home.fails(["redact", &second, "--reason", "secret"])), (2, "E0204"));
    assert_eq!(code(&home.fails(["redact", &exact, "--reason", "secret", "--yes"])), (2, "E0202"));
    assert_eq!(code(&home.fails(["redact", &format!("{exact}@7.0.0"), "--reason", "secret", "--yes"])), (3, "E0305"));
    let would = home.json(["redact", &second, "--reason", "secret", "--dry-run"]);
    assert_eq!((&would["dry_run"], &would["in_effect"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(would["refs"], serde_json::json!(["channel `stable`"]), "{would}");
    home.json(["get", &second, "-o", "before"]);

    let release = text(&home.json(["info", &exact])["releases"][0], "release_id").to_owned();
    let n_entries = home.json(["log", &exact])["entries"].as_array().map(Vec::len);
    let done = home.json(["redact", &second, "--reason", "secret", "--yes"]);
    assert_eq!((&done["in_effect"], &done["already"]), (&Value::Bool(true), &Value::Bool(false)), "{done}");
    assert_eq!(done["blobs"].as_array().map(Vec::len), Some(3), "files, manifest and note: {done}");
    assert_eq!(home.json(["redact", &second, "--reason", "secret", "--yes"])["already"], true);
    for wanted in [second.clone(), exact.clone(), format!("{exact}@r:{release}")] {
        assert_eq!(code(&home.fails(["get", &wanted, "-o", "out"])), (8, "E0805"), "{wanted}");
        assert_eq!(code(&home.fails(["add", &wanted])), (8, "E0805"), "{wanted}");
    }
    let info = home.json(["info", &exact]);
    let known = &info["releases"][0];
    assert_eq!((text(known, "state"), text(known, "redacted")), ("redacted", "secret"));
    let log = home.json(["log", &exact]);
    assert_eq!(log["entries"].as_array().map(Vec::len), n_entries.map(|n| n + 1), "the history stays");
    assert!(log.to_string().contains("1.1.0 redacted (secret)"), "{log}");
    assert_eq!(home.json(["log", &exact, "--graph"])["releases"][0]["state"], "redacted");

    // The bytes go although nobody else has them, and what is left is whole.
    let n_before = home.json(["doctor", "--offline"])["checks"].to_string();
    home.json(["gc"]);
    assert_ne!(home.json(["doctor", "--offline"])["checks"].to_string(), n_before, "there are fewer of them");
    home.json(["verify"]);
    home.json(["get", &format!("{exact}@1.0.0"), "-o", "first"]);
    let file = home.work().join("left.syncpack");
    assert_eq!(home.json(["export", &exact, "-o", file.to_str().expect("text")])["releases"], 1);
    let content = String::from_utf8_lossy(&std::fs::read(&file).expect("written")).into_owned();
    assert!(content.contains("turn()") && !content.contains("hunter2"));

    // The same files are no way around it, and the next version is.
    assert_eq!(code(&home.fails(["publish", "lamp"])), (8, "E0805"));
    package(&home, "lamp", "1.2.0", "turn('******')");
    home.json(["publish", "lamp"]);
    home.json(["get", &exact, "-o", "next"]);
}

#[test]
fn what_is_installed_stays_until_the_next_version() {
    let (home, exact, both) = begun();
    let other = Home::new();
    other.json(["import", &both]);
    other.json(["add", &exact]);
    let main = other.path().join("installed/store");
    let main = std::fs::read_dir(main).expect("there").next().expect("a release").expect("an entry").path();
    let main = main.join("src/main.syn");
    home.json(["redact", &format!("{exact}@1.1.0"), "--reason", "secret", "--yes"]);
    let news = export(&home, &exact, "news.syncpack");
    other.json(["import", &news]);
    let listed = other.json(["list"])["packages"][0].clone();
    assert_eq!((text(&listed, "installed"), text(&listed, "redacted")), ("1.1.0", "secret"));
    let kept = other.json(["update"]);
    assert_eq!(kept["changes"], Value::Array(Vec::new()));
    assert!(kept["kept"].to_string().contains("redacted"), "{kept}");
    other.json(["gc", "--imported"]);
    assert_eq!(std::fs::read_to_string(&main).expect("it stays"), "turn('hunter2')");
    // An old file brings the bytes again, and nobody takes them for the release.
    other.json(["import", &both]);
    assert_eq!(code(&other.fails(["get", &format!("{exact}@1.1.0"), "-o", "out"])), (8, "E0805"));
    other.json(["get", &format!("{exact}@1.0.0"), "-o", "first"]);

    package(&home, "lamp", "1.2.0", "turn('******')");
    home.json(["publish", "lamp"]);
    other.json(["import", &export(&home, &exact, "next.syncpack")]);
    assert_eq!(other.json(["update"])["changes"][0]["to"], "1.2.0");
    assert_eq!(other.json(["list"])["packages"][0]["redacted"], Value::Null);
}

#[test]
fn a_text_goes_alone_and_owners_agree_to_what_goes() {
    let (alice, exact, both) = begun();
    let texts = alice.json(["redact", &format!("{exact}@1.1.0"), "--reason", "personal", "--only-texts", "--yes"]);
    assert_eq!((&texts["in_effect"], texts["blobs"].as_array().map(Vec::len)), (&Value::Bool(true), Some(1)));
    alice.json(["gc"]);
    alice.json(["get", &format!("{exact}@1.1.0"), "-o", "out"]);
    let none = alice.fails(["redact", &format!("{exact}@1.0.0"), "--reason", "personal", "--only-texts", "--yes"]);
    assert_eq!(code(&none), (2, "E0202"));

    let bob = Home::new();
    bob.json(["import", &both]);
    let refused = bob.fails(["redact", &format!("{exact}@1.1.0"), "--reason", "rights", "--yes"]);
    assert_eq!(code(&refused), (4, "E0410"));
    let bobs = text(&bob.json(["id"]), "identity").to_owned();
    let owner = alice.json(["role", &exact, &bobs, "owner"]);
    bob.json(["import", &export(&alice, &exact, "role.syncpack")]);
    bob.json(["endorse", &exact, text(&owner, "change")]);
    alice.json(["import", &export(&bob, &exact, "agreed.syncpack")]);

    let first = format!("{exact}@1.0.0");
    let said = alice.json(["redact", &first, "--reason", "rights", "--yes"]);
    assert_eq!((&said["in_effect"], &said["needs"][0]["n_more"]), (&Value::Bool(false), &Value::from(1)), "{said}");
    alice.json(["get", &first, "-o", "still"]);
    bob.json(["import", &export(&alice, &exact, "said.syncpack")]);
    let open = bob.json(["info", &exact])["open"][0].clone();
    assert_eq!(open["says"], serde_json::json!(["1.0.0 redacted (rights)"]), "{open}");
    // Saying it too is agreeing.
    let agreed = bob.json(["redact", &first, "--reason", "harmful", "--yes"]);
    assert_eq!((&agreed["in_effect"], &agreed["change"]), (&Value::Bool(true), &Value::Null), "{agreed}");
    assert_eq!(code(&bob.fails(["get", &first, "-o", "out"])), (8, "E0805"));
}
