//! Installing, updating, going back, and collecting, by the real program.

use std::path::Path;

use serde_json::Value;
use syncra_tests::{Home, Output};

use super::releases::{package, publish, text};

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

/// What an engine does: read `current`, the generation, and the files that it names.
fn engine_view(home: &Home) -> Vec<(String, String)> {
    let installed = home.path().join("installed");
    let number = std::fs::read_to_string(installed.join("current")).expect("a pointer");
    if number.trim() == "0" {
        return Vec::new();
    }
    let file = std::fs::read(installed.join("generations").join(number.trim())).expect("the generation");
    let generation: Value = serde_json::from_slice(&file).expect("JSON");
    assert_eq!(generation["schema"], "syncra/installed/v1");
    let view = |package: &Value| {
        let main = installed.join(text(package, "path")).join("src/main.syn");
        (text(package, "version").to_owned(), std::fs::read_to_string(main).expect("its files"))
    };
    generation["packages"].as_array().expect("a list").iter().map(view).collect()
}

#[test]
fn what_is_added_is_found_by_an_engine_without_our_library() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let lamp = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    let dry = home.json(["add", &lamp, "--dry-run"]);
    assert_eq!((&dry["dry_run"], dry["changes"][0]["to"].as_str()), (&Value::from(true), Some("1.0.0")));
    assert!(!home.path().join("installed/current").exists(), "a dry run changes nothing");
    let added = home.json(["add", &lamp]);
    assert_eq!((&added["generation"], &added["fetched_bytes"]), (&Value::from(1), &Value::from(0)));
    assert!(Path::new(text(&added["changes"][0], "path")).join("syncra.toml").is_file());
    assert_eq!(engine_view(&home), [("1.0.0".to_owned(), "turn()".to_owned())]);
    assert_eq!(home.json(["add", &lamp])["changes"], Value::Array(Vec::new()));

    package(&home, "lamp", "1.1.0", "turn_faster()");
    publish(&home, "lamp");
    let outdated = &home.json(["outdated"])["packages"][0];
    assert_eq!((text(outdated, "installed"), text(outdated, "wanted")), ("1.0.0", "1.1.0"));
    assert_eq!(text(outdated, "selector"), "stable");
    assert_eq!(home.json(["update"])["changes"][0]["from"], "1.0.0");
    assert_eq!(home.json(["list"])["packages"][0]["installed"], "1.1.0");
    assert_eq!(engine_view(&home), [("1.1.0".to_owned(), "turn_faster()".to_owned())]);
    home.json(["rollback"]);
    assert_eq!(engine_view(&home), [("1.0.0".to_owned(), "turn()".to_owned())]);
    assert_eq!(home.json(["rollback", "2"])["changes"][0]["to"], "1.1.0");
    assert_eq!(home.json(["rollback", &lamp])["generation"], 3);
    assert_eq!(home.json(["remove", &lamp])["changes"][0]["to"], Value::Null);
    assert_eq!(engine_view(&home), []);
    assert_eq!(code(&home.fails(["remove", &lamp])), (3, "E0306"));
    assert_eq!(code(&home.fails(["rollback", "77"])), (3, "E0307"));
}

#[test]
fn needs_are_installed_explained_and_protected() {
    let home = Home::new();
    package(&home, "math", "1.0.0", "one");
    let math = text(&publish(&home, "math"), "ref").trim_end_matches("@1.0.0").to_owned();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    let manifest = std::fs::read_to_string(dir.join("syncra.toml")).expect("there");
    std::fs::write(dir.join("syncra.toml"), format!("{manifest}[dependencies]\n\"{math}\" = \"^1\"\n"))
        .expect("written");
    let lamp = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    let added = home.json(["add", &lamp]);
    let order: Vec<_> = added["changes"].as_array().expect("a list").iter().map(|change| text(change, "ref")).collect();
    assert_eq!(order, [&math, &lamp]);
    let why = home.json(["why", &math]);
    assert_eq!((&why["selector"], &why["chains"][0][0]), (&Value::Null, &Value::from(lamp.clone())));
    assert_eq!(code(&home.fails(["remove", &math])), (7, "E0709"));
    package(&home, "math", "2.0.0", "two");
    publish(&home, "math");
    let clash = home.fails(["add", &format!("{math}@2.0.0")]);
    assert_eq!(code(&clash), (7, "E0708"));
    assert!(text(&clash.1, "message").contains(&lamp), "{}", clash.1);
    assert_eq!(home.json(["update"])["changes"], Value::Array(Vec::new()), "lamp holds math at 1");
    assert_eq!(home.json(["remove", &lamp])["changes"].as_array().map(Vec::len), Some(2));
}

#[test]
fn collection_keeps_what_is_needed_and_says_what_would_go() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let lamp = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    for _ in 0..6 {
        home.json(["add", &lamp]);
        home.json(["remove", &lamp]);
    }
    home.json(["add", &lamp]);
    std::fs::create_dir_all(home.path().join("installed/store/nobody")).expect("made");
    let told = home.json(["gc", "--dry-run"]);
    assert_eq!((&told["generations"], &told["releases"]), (&Value::from(3), &Value::from(1)));
    assert!(home.path().join("installed/store/nobody").exists());
    let done = home.json(["gc"]);
    assert_eq!((&done["generations"], &done["releases"]), (&told["generations"], &told["releases"]));
    assert!(!home.path().join("installed/store/nobody").exists());
    assert_eq!(engine_view(&home), [("1.0.0".to_owned(), "turn()".to_owned())]);
    assert_eq!(home.json(["gc"])["freed_bytes"], 0);
    home.json(["get", &lamp, "-o", "still-held"]);
}

#[test]
fn who_asks_for_errors_hears_none_of_what_went_well() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    let mut collection = home.command(["gc", "--json"]);
    collection.env("SYNCRA_LOG", "error");
    assert_eq!(Output::of(collection).stderr, "");
    let mut collection = home.command(["gc", "--json"]);
    collection.env("SYNCRA_LOG", "syncra_node=trace");
    assert_ne!(Output::of(collection).stderr, "", "who asks for all hears it");
}

#[test]
fn a_damaged_generation_stops_everything_but_the_way_out() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let lamp = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    home.json(["add", &lamp]);
    package(&home, "lamp", "1.1.0", "turn_faster()");
    publish(&home, "lamp");
    home.json(["update"]);
    let file = home.path().join("installed/generations/2");
    let whole = std::fs::read(&file).expect("there");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("written");
    assert_eq!(code(&home.fails(["gc"])), (1, "E0115"));
    assert_eq!(code(&home.fails(["update"])), (1, "E0115"));
    home.json(["rollback", "1"]);
    assert_eq!(engine_view(&home), [("1.0.0".to_owned(), "turn()".to_owned())]);
}

#[test]
fn a_running_node_installs_for_the_command_line_and_tells_engines() {
    let home = Home::new();
    let node = home.up([""; 0]);
    package(&home, "lamp", "1.0.0", "turn()");
    let lamp = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    home.json(["add", &lamp]);
    assert_eq!(engine_view(&home).len(), 1);
    home.json(["gc"]);
    assert_eq!(node.stop().0, 0);
    assert_eq!(engine_view(&home).len(), 1);
}

/// What a newer release asks for beyond the installed one is shown, and taken only when somebody said yes.
#[test]
fn an_update_that_asks_for_more_says_so_and_is_asked_about() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    let lamp = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    assert_eq!(home.json(["add", &lamp])["changes"][0]["asks"], Value::Null, "it asks for nothing");
    package(&home, "lamp", "1.1.0", "turn_faster()");
    let manifest = std::fs::read_to_string(dir.join("syncra.toml")).expect("there");
    let manifest = manifest + "[permissions]\nnet = true\nfiles = \"write\"\n";
    std::fs::write(dir.join("syncra.toml"), manifest).expect("written");
    publish(&home, "lamp");
    let would = home.json(["update", "--dry-run"]);
    assert_eq!(would["changes"][0]["asks"].as_array().map(Vec::len), Some(2), "{would}");
    assert_eq!(home.json(["info", &lamp])["permissions"], would["changes"][0]["asks"]);
    let human = home.run(["update", "--dry-run"]).stdout;
    assert!(human.contains("newly asks for: "), "{human}");
    let refused = home.fails(["update"]);
    assert!(text(&refused.1, "message").contains("more is asked for"), "{refused:?}");
    assert_eq!(engine_view(&home), [("1.0.0".to_owned(), "turn()".to_owned())]);
    let done = home.json(["update", "--yes"]);
    assert_eq!(done["changes"][0]["asks"], would["changes"][0]["asks"]);
    assert_eq!(engine_view(&home), [("1.1.0".to_owned(), "turn_faster()".to_owned())]);
    assert_eq!(home.json(["update"])["changes"], Value::Array(Vec::new()));
}
