//! What is installed and not what it should be any more: found, said, and made whole.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use syncra_tests::Home;

use crate::doctor::{Report, doctor, flip};
use crate::releases::{package, publish, text};

const MAIN: &str = "src/main.syn";

fn verify(home: &Home) -> (i32, Value) {
    let output = home.run(["verify", "--offline", "--json"]);
    let mut envelope: Value = serde_json::from_str(&output.stdout).expect("a report on stdout");
    (output.code, envelope["data"].take())
}

/// A text that is a blob of its own on disk.
fn program(version: &str) -> String {
    format!("turn({version}) ").repeat(10_000)
}

/// A home in which two releases of an own package were installed one after the other, and its reference.
fn updated_home() -> (Home, String) {
    let home = Home::new();
    let mut lamp = String::new();
    for (version, verb) in [("1.0.0", "add"), ("1.1.0", "update")] {
        package(&home, "lamp", version, &program(version));
        lamp = text(&publish(&home, "lamp"), "ref").rsplit_once('@').expect("a version").0.to_owned();
        home.json([verb, &lamp, "--offline"]);
    }
    (home, lamp)
}

/// A home in which a release of somebody else is installed that came in a file, its reference, and the file.
fn home_with_others_release() -> (Home, String, PathBuf, Home) {
    let author = Home::new();
    package(&author, "lamp", "1.0.0", &program("1.0.0"));
    let lamp = text(&publish(&author, "lamp"), "ref").to_owned();
    let pack = author.work().join("lamp.syncpack");
    author.json(["export", &lamp, "-o", pack.to_str().expect("text")]);
    let home = Home::new();
    home.json(["import", pack.to_str().expect("text")]);
    home.json(["add", &lamp, "--offline"]);
    (home, lamp, pack, author)
}

/// The directory of the installed release, as an engine finds it.
fn installed(home: &Home) -> PathBuf {
    let installed = home.path().join("installed");
    let number = fs::read_to_string(installed.join("current")).expect("a pointer");
    let generation = fs::read(installed.join("generations").join(number.trim())).expect("the generation");
    let generation: Value = serde_json::from_slice(&generation).expect("JSON");
    installed.join(text(&generation["packages"][0], "path"))
}

fn aside(home: &Home) -> Vec<PathBuf> {
    let found =
        fs::read_dir(home.path().join("installed/salvage")).map(|dir| dir.map(|entry| entry.expect("an entry").path()));
    found.map(Iterator::collect).unwrap_or_default()
}

#[track_caller]
fn assert_repaired(report: &Report, detail: &str) {
    assert_eq!((report.code, report.mended()), (0, vec!["index", "installed"]), "{}", report.data);
    assert!(report.detail("installed").contains(detail), "{}", report.data);
}

#[track_caller]
fn assert_well(home: &Home) {
    doctor(home, ["--offline"]).assert_well();
    assert_eq!(verify(home).0, 0);
}

#[test]
fn a_changed_byte_of_an_installed_file_is_found_and_the_release_unpacked_again() {
    let (home, _) = updated_home();
    let dir = installed(&home);
    let whole = fs::read(dir.join(MAIN)).expect("there");
    flip(&dir.join(MAIN));
    let changed = fs::read(dir.join(MAIN)).expect("there");
    doctor(&home, ["--offline", "--quick"]).assert_well();
    doctor(&home, ["--offline"]).assert_bad("installed", "`src/main.syn` has other bytes");
    let (code, found) = verify(&home);
    assert_eq!((code, found["problems"].as_array().map(Vec::len)), (5, Some(1)), "{found}");
    assert!(text(&found["problems"][0], "what").contains("/lamp@1.1.0"), "{found}");
    assert_repaired(&doctor(&home, ["--offline", "--repair"]), "was unpacked again");
    assert!(fs::read(dir.join(MAIN)).expect("there") == whole);
    assert!(matches!(&aside(&home)[..], [one] if fs::read(one.join(MAIN)).expect("there") == changed));
    assert_well(&home);
}

#[test]
fn what_a_user_changed_in_an_installed_directory_is_named_and_kept() {
    let (home, _) = updated_home();
    let dir = installed(&home);
    fs::write(dir.join("notes.txt"), "mine").expect("written");
    fs::remove_file(dir.join(MAIN)).expect("there");
    for found in [doctor(&home, ["--offline", "--quick"]), doctor(&home, ["--offline"])] {
        found.assert_bad("installed", "`notes.txt` is no part of it");
        found.assert_bad("installed", "`src/main.syn` is missing");
    }
    assert_repaired(&doctor(&home, ["--offline", "--repair"]), "installed/salvage/");
    assert!(!dir.join("notes.txt").exists() && dir.join(MAIN).exists());
    assert_eq!(fs::read_to_string(aside(&home)[0].join("notes.txt")).expect("kept"), "mine");
    home.json(["gc"]);
    assert_eq!(aside(&home).len(), 1, "only its user lets it go");
    assert_well(&home);
}

#[test]
fn a_damaged_directory_is_not_taken_for_unpacked_by_add() {
    let (home, lamp) = updated_home();
    let dir = installed(&home);
    let whole = fs::read(dir.join(MAIN)).expect("there");
    let warns = |done: &Value| done["warnings"].to_string().contains("was unpacked again");
    assert!(!warns(&home.json(["add", &lamp, "--offline"])), "nothing is wrong");
    flip(&dir.join(MAIN));
    let done = home.json(["add", &lamp, "--offline"]);
    assert!(warns(&done) && done["changes"] == Value::Array(Vec::new()), "{done}");
    assert!(fs::read(dir.join(MAIN)).expect("there") == whole);
    home.json(["remove", &lamp]);
    flip(&dir.join(MAIN));
    assert!(warns(&home.json(["add", &lamp, "--offline"])));
    assert!(fs::read(dir.join(MAIN)).expect("there") == whole);
    assert_eq!(aside(&home).len(), 2);
    assert_well(&home);
}

#[test]
fn a_lost_directory_is_found_and_the_release_unpacked_again() {
    let (home, lamp) = updated_home();
    let dir = installed(&home);
    let store = home.path().join("installed/store");
    for mend in ["doctor", "add"] {
        fs::remove_dir_all(&store).expect("there");
        fs::create_dir(&store).expect("made");
        doctor(&home, ["--offline", "--quick"]).assert_bad("installed", "its directory is not there");
        assert_eq!(verify(&home).0, 5);
        match mend {
            "add" => drop(home.json(["add", &lamp, "--offline"])),
            _ => assert_repaired(&doctor(&home, ["--offline", "--repair"]), "its files were gone"),
        }
        assert_eq!(fs::read_to_string(dir.join(MAIN)).expect("there"), program("1.1.0"));
        assert_well(&home);
    }
    assert_eq!(aside(&home), Vec::<PathBuf>::new());
}

/// Damages a home.
type Harm = fn(&Path);

#[test]
fn a_damaged_pointer_or_generation_is_found_and_the_newest_whole_one_taken() {
    let cases: [(Harm, &str, &str, usize); 4] = [
        (|dir| fs::write(dir.join("current"), "garbage").expect("written"), "generation 2", "1.1.0", 1),
        (|dir| flip(&dir.join("generations/2")), "generation 1", "1.0.0", 1),
        (|dir| fs::remove_file(dir.join("generations/2")).expect("there"), "generation 1", "1.0.0", 0),
        (|dir| flip(&dir.join("generations/1")), "not in force", "1.1.0", 1),
    ];
    for (n, (harm, told, version, n_aside)) in cases.into_iter().enumerate() {
        let (home, lamp) = updated_home();
        harm(&home.path().join("installed"));
        let found = doctor(&home, ["--offline", "--quick"]);
        assert_eq!((found.code, found.bad()), (1, vec!["installed"]), "case {n}: {}", found.data);
        assert_eq!(verify(&home).0, 5, "case {n}");
        assert_repaired(&doctor(&home, ["--offline", "--repair"]), told);
        assert_eq!(home.json(["list"])["packages"][0]["installed"], version, "case {n}");
        assert_eq!(aside(&home).len(), n_aside, "case {n}: the evidence");
        assert_well(&home);
        home.json(["gc"]);
        home.json(["update", "--offline"]);
        assert_eq!(home.json(["list"])["packages"][0]["installed"], "1.1.0", "case {n}");
        assert!(home.json(["remove", &lamp])["generation"].as_u64() > Some(2), "case {n}: no number is used twice");
    }
}

#[test]
fn a_generation_can_be_named_while_the_pointer_is_damaged() {
    let (home, _) = updated_home();
    fs::write(home.path().join("installed/current"), "garbage").expect("written");
    assert_eq!(home.fails(["list"]).0, 1);
    home.json(["rollback", "1"]);
    assert_eq!(home.json(["list"])["packages"][0]["installed"], "1.0.0");
}

/// Such a release works, and is nobody's loss but here: whoever has it gives it again.
#[test]
fn lost_content_of_an_installed_release_is_told_and_comes_again() {
    let (home, lamp, pack, _author) = home_with_others_release();
    assert_eq!(verify(&home).1["absent"], Value::Null);
    let dir = installed(&home);
    let lose = || {
        fs::remove_dir_all(home.path().join("blobs/data")).and_then(|()| fs::create_dir(home.path().join("blobs/data")))
    };
    lose().expect("lost");
    let (code, found) = verify(&home);
    assert_eq!((code, found["absent"].as_array().map(Vec::len)), (0, Some(1)), "{found}");
    assert!(text(&found["absent"][0], "what").contains(&lamp), "{found}");
    let found = doctor(&home, ["--offline"]);
    assert_eq!(found.code, 0, "{}", found.data);
    assert!(found.detail("installed").contains("is not all here"), "{}", found.data);
    assert_eq!(home.fails(["get", &lamp, "-o", "out", "--offline"]).0, 6);
    assert_eq!(home.fails(["add", &lamp, "--offline"]).0, 6, "it would fetch what is missing");

    // Now it cannot be unpacked again either.
    flip(&dir.join(MAIN));
    for found in [doctor(&home, ["--offline"]), doctor(&home, ["--offline", "--repair"])] {
        assert_eq!((found.code, found.bad()), (1, vec!["installed"]), "{}", found.data);
        assert!(found.fix("installed").contains(&format!("`syncra get {lamp} -o DIR`")), "{}", found.data);
    }
    assert!(aside(&home).is_empty(), "what is there stays until there is something better");
    home.json(["import", pack.to_str().expect("text")]);
    assert_repaired(&doctor(&home, ["--offline", "--repair"]), "was unpacked again");
    assert_eq!(fs::read_to_string(dir.join(MAIN)).expect("there"), program("1.0.0"));
    assert_eq!(verify(&home).1["absent"], Value::Null);
    assert_well(&home);
}
