//! What this version and every earlier one wrote, and what they said on the wire, kept as it was: every later version has
//! to read the homes, take in the sticks, and understand and give the same bytes.
//!
//! `cargo xtask fixtures` writes the directory of the version that is being made, `tests/fixtures/<version>/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};
use syncra_tests::Home;

use super::wire;

/// What a kept home answers.
const EXPECTED: &str = "expected.json";
/// The home, packed.
const HOME: &str = "home.tar.gz";
/// A stick.
const STICK: &str = "lamp.syncpack";
/// Words on the wire.
const WIRE: &str = "wire.json";
/// Words about proposals and drafts, in an order that counts.
const RECORDS: &str = "records.json";
/// All fixtures of one version: they stay for ever.
const VERSION_BYTES: u64 = 200 << 10;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The kept versions.
fn versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures()).expect("there are fixtures");
    let mut versions: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    versions.sort();
    assert!(
        versions.iter().any(|path| path.ends_with(env!("CARGO_PKG_VERSION"))),
        "this version is not among {versions:?}"
    );
    versions
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is kept")).expect("JSON")
}

fn tar(args: &[&str], dir: &Path) {
    let status = Command::new("tar").args(args).current_dir(dir).status();
    assert!(status.is_ok_and(|status| status.success()), "tar {args:?}");
}

/// A copy of a kept home.
fn unpacked(version: &Path) -> Home {
    let home = Home::new();
    tar(&["-xzf", version.join(HOME).to_str().expect("UTF-8")], home.work());
    home
}

/// A package of a few files, one of them larger than a chunk.
fn package(home: &Home, name: &str, version: &str) {
    let dir = home.work().join(name);
    fs::create_dir_all(dir.join("src")).expect("made");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"script\"\ndescription = \"The {name}\"\n"
    );
    fs::write(dir.join("syncra.toml"), manifest).expect("written");
    fs::write(dir.join("src/main.syn"), format!("turn({version})\n").repeat(1_000)).expect("written");
    fs::write(dir.join("src/help.syn"), "help()\n").expect("written");
}

fn publish(home: &Home, name: &str, version: &str) -> String {
    package(home, name, version);
    home.json(["publish", name, "--yes"])["ref"].as_str().expect("a reference").to_owned()
}

/// What is asked of a kept home: everything that only reads, about own and others' packages.
fn questions(own: &str, others: &str) -> Vec<Vec<String>> {
    let lines = [
        "list".to_owned(),
        format!("info {own}"),
        format!("info {others}"),
        format!("log {own}"),
        format!("log {others}"),
        format!("why {others}"),
        "outdated".to_owned(),
        "follow".to_owned(),
        "id".to_owned(),
        "token list".to_owned(),
        "config list".to_owned(),
        "verify".to_owned(),
    ];
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// What the home answers, wherever it lies.
fn asked<'a>(home: &Home, question: impl IntoIterator<Item = &'a str>) -> Value {
    let place = home.path().to_str().expect("UTF-8");
    serde_json::from_str(&home.json(question).to_string().replace(place, "PLACE")).expect("JSON")
}

/// What was answered then and is not answered now. More may be, settings that there are by now for instance.
fn lost(was: &Value, is: &Value, place: &str) -> Option<String> {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => was.iter().find_map(|(name, was)| {
            let is = is.get(name).unwrap_or(&Value::Null);
            lost(was, is, &format!("{place}.{name}"))
        }),
        (Value::Array(was), Value::Array(is)) => {
            let mut rest = is.iter();
            was.iter().enumerate().find_map(|(n, was)| {
                let mut last = format!("{place}[{n}] is gone: {was}");
                for is in rest.by_ref() {
                    last = lost(was, is, &format!("{place}[{n}]"))?;
                }
                Some(last)
            })
        }
        _ => (was != is).then(|| format!("{place} was {was} and is {is}")),
    }
}

#[test]
fn kept_homes_are_read_and_go_on() {
    for version in versions() {
        let home = unpacked(&version);
        let expected = read_json(&version.join(EXPECTED));
        let word = |name: &str| expected[name].as_str().expect("a text").to_owned();
        let (own, others) = (word("own"), word("others"));
        let answers = |when: &str| {
            for (question, answer) in expected["answers"].as_object().expect("a table") {
                assert_eq!(lost(answer, &asked(&home, question.split(' ')), question), None, "{when}");
            }
        };
        answers("as it was");
        // As an engine reads it.
        let installed = home.path().join("installed");
        let current = fs::read_to_string(installed.join("current")).expect("there");
        let generation = read_json(&installed.join("generations").join(current.trim()));
        let path = generation["packages"][0]["path"].as_str().expect("a path");
        assert_eq!(fs::read_to_string(installed.join(path).join("src/help.syn")).expect("there"), "help()\n");
        for (n, reference) in [&own, &others].into_iter().enumerate() {
            let out = format!("out-{n}");
            home.json(["get", reference, "-o", &out, "--offline"]);
            assert_eq!(fs::read_to_string(home.work().join(out).join("src/help.syn")).expect("there"), "help()\n");
        }
        fs::remove_dir_all(home.path().join("index")).expect("removed");
        answers("without an index");
        // A copy signs nothing until it is the only one; then its history goes on.
        home.json(["id", "adopt", "--yes", "--offline"]);
        assert_eq!(publish(&home, "boat", "1.2.0"), own.replace("@1.1.0", "@1.2.0"));
        home.json(["remove", &others]);
        home.json(["rollback"]);
        assert_eq!(home.json(["doctor", "--offline"])["ok"], true);
        assert_eq!(home.json(["verify"])["ok"], true);
    }
}

#[test]
fn kept_sticks_are_taken_in() {
    for version in versions() {
        let home = Home::new();
        let stick = version.join(STICK);
        home.json(["import", stick.to_str().expect("UTF-8")]);
        let expected = read_json(&version.join(EXPECTED));
        home.json(["get", expected["others"].as_str().expect("a text"), "-o", "out", "--offline"]);
        assert_eq!(fs::read_to_string(home.work().join("out/src/help.syn")).expect("there"), "help()\n");
    }
}

#[test]
fn kept_words_on_the_wire_are_understood_and_answered_alike() {
    for version in versions() {
        let home = unpacked(&version);
        wire::replay(&home, &read_json(&version.join(WIRE)));
    }
}

#[test]
fn kept_words_about_proposals_and_drafts_are_understood_and_answered_alike() {
    for version in versions() {
        let home = unpacked(&version);
        wire::replay_records(&home, &read_json(&version.join(RECORDS)));
        // And so they are after a restart.
        let kept = read_json(&version.join(RECORDS));
        let last = kept["exchanges"].as_array().expect("a list").iter().rfind(|kept| kept["what"] == "records");
        wire::replay(&home, &json!([last.expect("the list")]));
    }
}

/// Whoever has used a newer version keeps everything: an older one changes nothing and says what to do.
#[test]
fn homes_of_newer_versions_are_refused_and_left_alone() {
    let version = versions().pop().expect("a version");
    let digest = |home: &Home| {
        let mut names = vec![home.path().to_owned()];
        let mut found = Vec::new();
        while let Some(path) = names.pop() {
            match path.is_dir() {
                true => names.extend(fs::read_dir(path).expect("there").map(|entry| entry.expect("an entry").path())),
                false if path.ends_with("pid") || path.ends_with("lock") => {}
                false => found.push((path.clone(), fs::read(path).expect("there"))),
            }
        }
        found.sort();
        found
    };
    for what in ["schema", "journal/00000001.seg", "identity/device.key"] {
        let home = unpacked(&version);
        let file = home.path().join(what);
        let mut bytes = fs::read(&file).expect("there");
        match what {
            "schema" => bytes = b"syncra-home 2\n".to_vec(),
            // The version's byte, and the check that goes with it.
            "journal/00000001.seg" => seal(&mut bytes, 16, 32),
            _ => seal(&mut bytes, 37, 53),
        }
        fs::write(&file, bytes).expect("written");
        let before = digest(&home);
        for verb in [&["list"][..], &["up"], &["publish", "boat", "--yes"]] {
            let (exit, error) = home.fails(verb);
            let said = (exit, error["code"].as_str().expect("a code"));
            assert_eq!(said, (1, "E0103"), "{what}: {error}");
            assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("newer")), "{error}");
        }
        // A log and a reserve may have come.
        let after = digest(&home);
        assert!(before.iter().all(|file| after.contains(file)), "{what}: something of a newer version was touched");
    }
}

/// Raises the version in a checked header that ends at `check..end`.
fn seal(bytes: &mut [u8], check: usize, end: usize) {
    bytes[4] += 1;
    let sum = syncra_protocol::id::BlobId::of(&bytes[..check]);
    bytes[check..end].copy_from_slice(&sum.as_bytes()[..end - check]);
}

/// Not a test of anything but when it is asked to write: the fixtures of this version, once.
#[test]
fn fixtures_of_this_version_are_small_and_written_on_demand() {
    let dir = fixtures().join(env!("CARGO_PKG_VERSION"));
    match std::env::var("SYNCRA_WRITE_FIXTURES").as_deref() {
        Err(_) => {}
        // What was said of it later than the rest was written.
        Ok("records") => write_records(&dir),
        Ok(_) => write(&dir),
    }
    for version in versions() {
        let files = fs::read_dir(&version).expect("there").map(|entry| entry.expect("an entry"));
        let bytes: u64 = files.map(|file| file.metadata().expect("there").len()).sum();
        assert!(bytes <= VERSION_BYTES, "{} has {bytes} bytes", version.display());
    }
}

fn write(dir: &Path) {
    fs::create_dir_all(dir).expect("made");
    let (author, home) = (Home::new(), Home::new());
    publish(&author, "lamp", "1.0.0");
    let others = publish(&author, "lamp", "1.1.0");
    let stick = dir.join(STICK);
    drop(fs::remove_file(&stick));
    author.json(["export", others.rsplit_once('@').expect("a version").0, "-o", stick.to_str().expect("UTF-8")]);

    publish(&home, "boat", "1.0.0");
    home.json(["yank", &publish(&home, "boat", "1.0.1"), "--reason", "it sinks"]);
    let own = publish(&home, "boat", "1.1.0");
    home.json(["import", stick.to_str().expect("UTF-8")]);
    home.json(["add", others.rsplit_once('@').expect("a version").0, "--trust", &owner(&home, &others)]);
    home.json(["follow", others.rsplit_once('@').expect("a version").0]);
    home.json(["id", "--handle", "kept"]);
    home.json(["config", "set", "limits.peers", "77"]);
    home.json(["token", "create", "--name", "engine", "--scope", "read"]);
    // What a node adds to a home.
    assert_eq!(home.up(["--offline"]).stop().0, 0);
    let own = own.replace(own.split('~').next().expect("a handle"), "@kept");
    let archive = dir.join(HOME);
    let leave = ["lock", "pid", "reserve", "log"].map(|name| format!("--exclude=home/{name}"));
    let args = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf", archive.to_str().expect("UTF-8")];
    tar(&[&args[..], &leave.each_ref().map(String::as_str), &["home"]].concat(), home.work());

    // Asked where they will be asked: of a copy.
    let copy = unpacked(dir);
    let mut answers = Map::new();
    for question in questions(own.rsplit_once('@').expect("a version").0, others.rsplit_once('@').expect("a version").0)
    {
        answers.insert(question.join(" "), asked(&copy, question.iter().map(String::as_str)));
    }
    let expected = json!({ "own": own, "others": others, "answers": answers });
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON") + "\n";
    fs::write(dir.join(EXPECTED), pretty(&expected)).expect("written");
    fs::write(dir.join(WIRE), pretty(&wire::record(&copy))).expect("written");
    write_records(dir);
}

fn write_records(dir: &Path) {
    let words = wire::record_records(&unpacked(dir));
    fs::write(dir.join(RECORDS), serde_json::to_string_pretty(&words).expect("JSON") + "\n").expect("written");
}

/// The identity that owns a package.
fn owner(home: &Home, reference: &str) -> String {
    let info = home.json(["info", reference.rsplit_once('@').expect("a version").0]);
    let owner = &info["owners"][0];
    owner["identity"].as_str().or(owner.as_str()).unwrap_or_else(|| panic!("no owner in {info}")).to_owned()
}
