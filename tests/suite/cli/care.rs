//! Verifying, yanking, carrying on a stick, and homes that something happened to.

use std::path::Path;

use serde_json::Value;
use syncra_tests::{Home, Output};

use crate::releases::{package, publish, text};

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

/// A report that is printed although the verb fails; of the home alone, whoever has the ports of its node.
fn report(home: &Home, verb: &str) -> (i32, Value) {
    let output = home.run([verb, "--offline", "--json"]);
    let mut envelope: Value = serde_json::from_str(&output.stdout).expect("a report on stdout");
    (output.code, envelope["data"].take())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy(&from, &to);
        } else if kind.is_file() {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}

/// Files of the home whose path contains `part`, the largest first.
fn files(dir: &Path, part: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                dirs.push(entry);
            } else if entry.to_string_lossy().contains(part) {
                found.push(entry);
            }
        }
    }
    found.sort_by_key(|file| std::cmp::Reverse(std::fs::metadata(file).expect("there").len()));
    found
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn a_yanked_release_is_hidden_and_can_be_shown_again() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let done = publish(&home, "lamp");
    let reference = text(&done, "ref");
    assert_eq!(home.fails(["yank", reference]).0, 2, "a reason is asked for");
    let would = home.json(["yank", reference, "--reason", "dark", "--dry-run"]);
    assert_eq!(would["already"], false);
    let done_it = home.json(["yank", reference, "--reason", "dark"]);
    assert_eq!(done_it["version"], "1.0.0");
    for told in [&would, &done_it] {
        let warning = told["warnings"][0].as_str().expect("the channel still points to it");
        assert!(warning.starts_with("channel stable") && warning.contains("syncra channel "), "{warning}");
    }
    assert_eq!(home.json(["yank", reference, "--reason", "dark"])["already"], true);
    let package = reference.trim_end_matches("@1.0.0");
    assert_eq!(home.json(["info", package])["releases"][0]["state"], "yanked");
    assert_eq!(code(&home.fails(["get", package, "-o", "out"])), (8, "E0802"));
    let exactly = format!("{package}@r:{}", text(&done, "release_id"));
    home.json(["get", &exactly, "-o", "out"]);
    assert_eq!(home.json(["yank", reference, "--undo"])["already"], false);
    home.json(["get", package, "-o", "again"]);
    assert_eq!(home.fails(["yank", package, "--undo"]).0, 2, "a package is no release");
    assert_eq!(code(&home.fails(["yank", &format!("{package}@7.0.0"), "--undo"])), (3, "E0305"));
}

/// Every blob is damaged, those beside the tree too: publishing the same files again makes the release whole.
#[test]
fn an_own_release_that_was_damaged_is_whole_after_publishing_it_again() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    let blobs: Vec<_> = files(&home.path().join("blobs/data"), ".data");
    assert!(blobs.len() >= 4, "root, directory, segment, manifest: {blobs:?}");
    let damage = || blobs.iter().filter(|blob| blob.exists()).for_each(|blob| flip(blob));
    damage();
    assert_eq!(report(&home, "verify").0, 5);
    let again = home.json(["publish", "lamp"]);
    assert!(again["already"] == true && again["new_bytes"].as_u64() > Some(0), "{again}");
    assert_eq!(report(&home, "verify").0, 0);
    // Those whom nobody else can give again are not let go, though a repair was asked for between.
    damage();
    home.run(["doctor", "--repair", "--json"]);
    home.json(["publish", "lamp"]);
    home.run(["doctor", "--repair", "--json"]);
    home.json(["publish", "lamp"]);
    assert_eq!(report(&home, "verify").0, 0);
    assert_eq!(home.json(["publish", "lamp"])["new_bytes"], 0);
}

#[test]
fn a_stick_carries_packages_and_nothing_that_was_changed() {
    let (home, other) = (Home::new(), Home::new());
    package(&home, "lamp", "1.0.0", "turn()");
    let done = publish(&home, "lamp");
    let reference = text(&done, "ref");
    let package = reference.trim_end_matches("@1.0.0");
    let pack = home.work().join("lamp.syncpack");
    let pack_text = pack.to_str().expect("text");
    assert_eq!(home.json(["export", package, "-o", pack_text])["releases"], 1);
    assert_eq!(code(&home.fails(["export", package, "-o", pack_text])), (7, "E0701"));
    assert_eq!(home.json(["import", pack_text])["entries"], 0, "nothing is new to its owner");

    let whole = std::fs::read(&pack).expect("there");
    let bad = other.work().join("bad.syncpack");
    for (what, bytes) in [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("foreign", b"PK\x03\x04 something else".to_vec()),
        ("longer", [whole.as_slice(), b"x"].concat()),
    ] {
        std::fs::write(&bad, bytes).expect("written");
        assert_eq!(code(&other.fails(["import", "bad.syncpack"])), (5, "E0503"), "{what}");
    }
    for at in [9, whole.len() / 4, whole.len() / 2, whole.len() - 40] {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        std::fs::write(&bad, changed).expect("written");
        assert_eq!(other.fails(["import", "bad.syncpack"]).0, 5, "byte {at}");
    }
    assert_eq!(code(&other.fails(["import", "missing.syncpack"])), (3, "E0300"));
    assert_eq!(other.json(["import", pack_text, "--dry-run"])["entries"], 6);
    assert_eq!(other.json(["list"])["packages"], serde_json::json!([]));

    let taken = other.json(["import", pack_text]);
    assert_eq!((&taken["entries"], &taken["packages"][0]["releases"]), (&Value::from(6), &Value::from(1)));
    assert_eq!(text(&taken["packages"][0], "ref"), package);
    assert_eq!(other.json(["import", pack_text])["entries"], 0);
    assert_eq!(other.json(["get", reference, "-o", "out"])["release_id"], done["release_id"]);
    assert!(other.json(["info", package])["releases"][0]["first_seen_ms"].is_u64());
    assert_eq!(other.json(["list"])["packages"][0]["own"], false);
    // Nobody here has said who that is.
    let handle = package.split('~').next().expect("a handle").to_owned() + "/lamp";
    let (exit, error) = other.fails(["info", &handle]);
    assert!(exit == 7 && text(&error, "message").contains(package) || exit == 0, "{exit} {error}");
    assert_eq!(code(&other.fails(["yank", reference, "--reason", "mine now"])), (4, "E0407"));
    assert_eq!(other.json(["verify"])["ok"], true);
}

#[test]
fn verify_finds_a_changed_blob_and_says_so() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", &"turn() ".repeat(10_000));
    publish(&home, "lamp");
    let (exit, fine) = report(&home, "verify");
    assert_eq!((exit, &fine["ok"]), (0, &Value::from(true)));
    assert_eq!((&fine["packages"][0]["logs"], &fine["packages"][0]["releases"]), (&Value::from(2), &Value::from(1)));
    let blob = files(&home.path().join("blobs"), "data").into_iter().next().expect("a blob");
    flip(&blob);
    let (exit, found) = report(&home, "verify");
    assert_eq!((exit, &found["ok"]), (5, &Value::from(false)));
    assert!(!found["problems"].as_array().expect("a list").is_empty());
    // The same files published again put it right.
    home.json(["publish", "lamp"]);
    assert_eq!(report(&home, "verify").0, 0);
}

#[test]
fn the_blob_database_can_be_lost() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", &"turn() ".repeat(10_000));
    let done = publish(&home, "lamp");
    std::fs::remove_file(home.path().join("blobs/blobs.db")).expect("there");
    assert_eq!(report(&home, "verify").0, 0);
    home.json(["get", text(&done, "ref"), "-o", "out"]);
}

#[test]
fn the_index_can_be_lost_and_a_clean_restart_builds_nothing() {
    let (home, other) = (Home::new(), Home::new());
    package(&home, "lamp", "1.0.0", "turn()");
    let reference = text(&publish(&home, "lamp"), "ref").trim_end_matches("@1.0.0").to_owned();
    let pack = home.work().join("lamp.syncpack");
    home.json(["export", &reference, "-o", pack.to_str().expect("text")]);
    other.json(["import", pack.to_str().expect("text")]);
    package(&other, "boat", "0.1.0", "float()");
    publish(&other, "boat");
    let answers = || (other.json(["list"]), other.json(["info", &reference]));
    let before = answers();
    let rebuilds = || other.json(["doctor", "--offline"])["index_rebuilds"].clone();
    assert_eq!(rebuilds(), 0);
    let index = other.path().join("index");
    std::fs::remove_dir_all(&index).expect("there");
    assert_eq!(answers(), before, "deleted");
    assert_eq!(rebuilds(), 1);
    let largest = || files(&index, "").into_iter().next().expect("a file");
    let file = std::fs::OpenOptions::new().write(true).open(largest()).expect("opens");
    file.set_len(file.metadata().expect("there").len() / 2).expect("cut");
    assert_eq!(answers(), before, "cut");
    flip(&largest());
    assert_eq!(answers(), before, "changed");
    let so_many = rebuilds();
    assert_eq!(answers(), before);
    assert_eq!(rebuilds(), so_many, "a clean restart builds nothing");
}

#[test]
fn a_copied_home_is_noticed_and_signs_nothing_until_adopted() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    let copied = home.work().join("copied");
    copy(home.path(), &copied);
    let on_copy = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("SYNCRA_HOME", &copied).arg("--json");
        Output::of(command)
    };
    package(&home, "lamp", "1.1.0", "turn(twice)");
    let refused = on_copy(&["publish", "lamp"]);
    assert_eq!((refused.code, refused.error().1["code"].as_str()), (4, Some("E0406")), "{}", refused.stderr);
    let looked = on_copy(&["doctor"]);
    assert!(looked.code == 1 && looked.stdout.contains("syncra id adopt"), "{}", looked.stdout);
    assert_eq!(on_copy(&["list"]).data()["packages"][0]["latest"], "1.0.0");
    assert_eq!(on_copy(&["id", "adopt"]).error().0, 2, "it is asked first");
    let unheard = on_copy(&["id", "adopt", "--yes"]).error();
    assert!(code(&unheard) == (6, "E0605") && text(&unheard.1, "message").contains("/lamp"), "{}", unheard.1);
    assert_eq!(code(&on_copy(&["publish", "lamp"]).error()), (4, "E0406"), "nobody was asked what was signed since");
    assert_eq!(on_copy(&["id", "adopt", "--yes", "--offline"]).data()["already"], false);
    assert_eq!(on_copy(&["publish", "lamp"]).data()["version"], "1.1.0");
    assert_eq!(home.json(["id", "adopt", "--yes"])["already"], true);
}

#[test]
fn damaged_truth_is_told_and_not_replaced() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    assert_eq!(report(&home, "doctor").0, 0);
    let journal = files(&home.path().join("journal"), "").into_iter().next().expect("a segment");
    let good = std::fs::read(&journal).expect("readable");
    flip(&journal);
    let (exit, error) = home.fails(["list"]);
    assert_eq!((exit, text(&error, "code")), (1, "E0102"));
    assert!(text(&error, "hint").contains("syncra doctor"));
    let (exit, found) = report(&home, "doctor");
    let bad: Vec<_> = found["checks"].as_array().expect("a list").iter().filter(|c| c["ok"] == false).collect();
    assert_eq!((exit, bad.len(), text(bad[0], "name")), (1, 1, "journal"));
    assert!(bad[0]["fix"].is_string());
    std::fs::write(&journal, good).expect("written");
    let key = files(&home.path().join("identity"), "device").into_iter().next().expect("a key");
    let good = std::fs::read(&key).expect("readable");
    std::fs::remove_file(&key).expect("removed");
    assert_eq!(code(&home.fails(["list"])), (1, "E0102"));
    assert_eq!(report(&home, "doctor").0, 1);
    std::fs::write(&key, good).expect("written");
    assert_eq!(home.json(["list"])["packages"][0]["latest"], "1.0.0");
    assert_eq!(home.json(["doctor", "--repair", "--offline"])["ok"], true);
    assert_eq!(report(&home, "verify").0, 0);
}

/// Nothing brings the secret back, so nobody may be told that it is safe when it is not.
#[test]
fn a_recovery_secret_that_is_damaged_or_gone_is_never_called_saved() {
    let home = Home::new();
    let secret = text(&home.json(["id", "recovery"]), "recovery").to_owned();
    let file = home.path().join("identity/recovery.key");
    let checked = std::fs::read(&file).expect("readable");
    let unchecked = format!("syncra-recovery-1 {secret}\n").into_bytes();
    let recovery = |home: &Home| text(&report(home, "id").1, "recovery").to_owned();
    let warnings = |home: &Home| home.json(["status"])["warnings"].to_string();
    let doctor = |home: &Home| {
        let (exit, found) = report(home, "doctor");
        let checks = found["checks"].as_array().expect("a list").iter();
        (
            exit,
            checks.filter(|check| check["ok"] == false).map(|check| text(check, "name").to_owned()).collect::<Vec<_>>(),
        )
    };
    for whole in [checked, unchecked] {
        std::fs::write(&file, &whole).expect("written");
        assert_eq!(home.json(["id", "recovery"])["recovery"], secret.as_str());
        // Another letter of the alphabet of secrets: the text of another key.
        let at = whole.len() / 3;
        let mut damaged = whole.clone();
        damaged[at] = if damaged[at] == b'a' { b'b' } else { b'a' };
        for damaged in [damaged, whole[..at].to_vec()] {
            std::fs::write(&file, &damaged).expect("written");
            let (exit, shown) = report(&home, "id");
            assert_eq!((exit, text(&shown, "recovery")), (1, "damaged"));
            assert!(text(&shown, "recovery_damage").contains("recovery.key"), "{shown}");
            assert_eq!(code(&home.fails(["id", "recovery"])), (1, "E0102"));
            assert_eq!(code(&home.fails(["id", "recovery", "--forget", "--yes"])), (1, "E0102"));
            assert!(warnings(&home).contains("recovery.key is damaged"));
            assert_eq!(doctor(&home), (1, vec!["recovery".to_owned()]));
            assert_eq!(std::fs::read(&file).expect("still there"), damaged);
        }
    }
    std::fs::remove_file(&file).expect("removed");
    assert_eq!((recovery(&home).as_str(), doctor(&home).0), ("missing", 0));
    assert_eq!(code(&home.fails(["id", "recovery"])), (3, "E0300"));
    assert!(warnings(&home).contains("nobody has said here that it is saved"));
    home.json(["id", "recovery", "--forget", "--yes"]);
    assert_eq!((recovery(&home).as_str(), doctor(&home).0), ("saved", 0));
    assert!(!warnings(&home).contains("recovery secret"));
}

#[test]
fn an_identity_has_a_handle_a_recovery_secret_and_a_backup() {
    let home = Home::new();
    let me = home.json(["id", "--handle", "alice"]);
    assert!(text(&me, "ref_prefix").starts_with("@alice~"));
    assert_eq!(text(&me, "recovery"), "unsaved");
    let (exit, error) = home.fails(["id", "--handle", "Al Ice"]);
    assert_eq!((exit, text(&error, "code")), (2, "E0202"));
    let secret = home.json(["id", "recovery"]);
    assert_eq!(home.fails(["id", "recovery", "--forget"]).0, 2, "it is asked first");
    assert_eq!(home.json(["id", "recovery", "--forget", "--yes"])["recovery"], secret["recovery"]);
    assert_eq!(home.json(["id", "recovery"])["recovery"], Value::Null);
    assert_eq!(text(&home.json(["id"]), "recovery"), "saved");
    assert_eq!(report(&home, "doctor").0, 0);

    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    std::fs::write(home.work().join("phrase"), "a long passphrase\n").expect("written");
    std::fs::write(home.work().join("wrong"), "another passphrase\n").expect("written");
    let run = |args: &[&str], phrase: &str| {
        let mut command = home.command(args);
        command.arg("--json").env("SYNCRA_PASSPHRASE_FILE", home.work().join(phrase));
        Output::of(command)
    };
    assert!(run(&["id", "backup", "me.backup"], "phrase").data()["bytes"].as_u64() > Some(100));
    assert_eq!(run(&["id", "backup", "me.backup"], "phrase").error().0, 7);
    assert_eq!(home.fails(["id", "backup", "x"]).0, 2, "nobody can be asked");
    let restore = ["id", "restore", "me.backup", "--yes", "--home"];
    let (wrong, right) = ([&restore[..], &["wrong-home"]].concat(), [&restore[..], &["new-home"]].concat());
    // One that is too short to be anybody's is wrong like any other.
    std::fs::write(home.work().join("short"), "short\n").expect("written");
    for phrase in ["wrong", "short"] {
        assert_eq!(code(&run(&wrong, phrase).error()), (4, "E0408"), "{phrase}");
    }
    assert_eq!(code(&run(&["id", "backup", "other.backup"], "short").error()), (2, "E0202"));
    assert_eq!(run(&right, "phrase").data()["device"], me["device"]);
    assert_eq!(run(&right, "phrase").error().0, 7, "the home is used now");
    let restored = run(&["id", "--home", "new-home"], "phrase").data();
    assert_eq!((&restored["identity"], &restored["handle"]), (&me["identity"], &me["handle"]));
    package(&home, "lamp", "1.1.0", "turn(twice)");
    let publish = || run(&["publish", "lamp", "--home", "new-home"], "phrase");
    assert_eq!(code(&publish().error()), (4, "E0406"), "what was signed since the backup is not known");
    let _ = run(&["id", "adopt", "--yes", "--offline", "--home", "new-home"], "phrase").data();
    assert_eq!(publish().data()["version"], "1.1.0");
}

/// A home that was moved came with what it has, so what is lost later is lost.
#[test]
fn what_an_adopted_home_had_is_missed_when_it_is_gone() {
    let (home, author) = (Home::new(), Home::new());
    package(&author, "door", "1.0.0", "stand()");
    let exact = format!("syncra:{}", text(&publish(&author, "door"), "package_id"));
    let file = author.work().join("door.syncpack");
    author.json(["export", &exact, "-o", file.to_str().expect("text")]);
    home.json(["import", file.to_str().expect("text")]);
    let moved = home.work().join("moved");
    copy(home.path(), &moved);
    let in_moved = |args: &[&str]| home.run(args.iter().copied().chain(["--home", "moved", "--json"]));
    let _ = in_moved(&["id", "adopt", "--yes", "--offline"]).data();
    assert_eq!(in_moved(&["verify"]).code, 0);
    for gone in ["logs", "index"] {
        std::fs::remove_dir_all(moved.join(gone)).expect("there");
    }
    let verified = in_moved(&["verify"]);
    assert!(verified.code == 5 && verified.stdout.contains("are lost"), "{} {}", verified.code, verified.stdout);
}

/// Content that came along and is gone before anybody has looked at it is lost, not left behind.
#[test]
fn content_that_an_adopted_home_had_is_missed_when_it_is_gone() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", &"turn() ".repeat(10_000));
    publish(&home, "lamp");
    let moved = home.work().join("moved");
    copy(home.path(), &moved);
    let in_moved = |args: &[&str]| home.run(args.iter().copied().chain(["--home", "moved", "--json"]));
    let _ = in_moved(&["id", "adopt", "--yes", "--offline"]).data();
    std::fs::remove_dir_all(moved.join("blobs")).expect("there");
    let verified = in_moved(&["verify"]);
    assert_eq!(verified.code, 5, "{}", verified.stdout);
    assert!(!verified.stdout.contains("restored or copied"), "{}", verified.stdout);
}

/// Its identity's log exists before its first package, and grows with it.
#[test]
fn a_device_restored_from_before_its_first_publish_asks_others_too() {
    let home = Home::new();
    std::fs::write(home.work().join("phrase"), "a long passphrase\n").expect("written");
    let home = home.with("SYNCRA_PASSPHRASE_FILE", "phrase".to_owned());
    home.json(["id"]);
    home.json(["id", "backup", "me.backup"]);
    package(&home, "lamp", "1.0.0", "turn()");
    publish(&home, "lamp");
    let in_new = |args: &[&str]| home.run(args.iter().copied().chain(["--home", "new-home", "--json"]));
    let _ = in_new(&["id", "restore", "me.backup", "--yes"]).data();
    assert_eq!(code(&in_new(&["id", "adopt", "--yes"]).error()), (6, "E0605"));
    package(&home, "door", "1.0.0", "stand()");
    assert_eq!(code(&in_new(&["publish", "door", "--yes"]).error()), (4, "E0406"));
}

/// What a backup has not is said once, to whoever restores it, and not again and again to a log.
#[test]
fn a_restored_home_says_what_is_missing_and_what_brings_it_back() {
    let (home, other) = (Home::new(), Home::new());
    std::fs::write(home.work().join("phrase"), "a long passphrase\n").expect("written");
    let home = home.with("SYNCRA_PASSPHRASE_FILE", "phrase".to_owned());
    package(&home, "lamp", "1.0.0", &"turn() ".repeat(10_000));
    let lamp = text(&publish(&home, "lamp"), "ref").to_owned();
    let theirs = ["door", "wall"].map(|name| {
        package(&other, name, "1.0.0", "stand()");
        format!("syncra:{}", text(&publish(&other, name), "package_id"))
    });
    let mut files = Vec::new();
    for (name, theirs) in ["door", "wall"].into_iter().zip(theirs) {
        let file = other.work().join(name).with_extension("syncpack");
        let file = file.to_str().expect("text").to_owned();
        other.json(["export", &theirs, "-o", &file]);
        home.json(["import", &file]);
        home.json(["follow", &theirs]);
        files.push(file);
    }
    home.json(["id", "backup", "me.backup"]);
    let in_new = |args: &[&str]| home.run(args.iter().copied().chain(["--home", "new-home"]));
    let restored = in_new(&["id", "restore", "me.backup", "--yes"]);
    assert!(
        restored.stderr.contains("what others wrote to 2 packages")
            && restored.stderr.contains("`syncra import`")
            && restored.stderr.contains("`syncra id adopt`"),
        "{}",
        restored.stderr
    );
    let incomplete = || {
        let status = in_new(&["status"]);
        assert!(!status.stderr.contains("WARN"), "{}", status.stderr);
        let mut lines = status.stdout.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("warning: ") && line.contains("not whole here"))
    };
    assert!(in_new(&["status"]).stdout.contains("nothing is signed here before `syncra id adopt`"));
    assert!(incomplete().is_some_and(|line| line.contains("2 in all") && line.contains("`syncra import`")));
    // What was never here is no damage, and said.
    assert_eq!(in_new(&["id", "adopt", "--yes", "--offline"]).code, 0);
    let verified = in_new(&["verify", "--json"]).data();
    let absent: Vec<_> = verified["absent"].as_array().expect("a list").iter().map(|one| text(one, "what")).collect();
    assert!(verified["ok"] == true && absent.len() == 3, "{verified}");
    assert!(absent.iter().any(|what| what.starts_with("release 1.0.0")), "{verified}");
    for args in [&["verify"][..], &["doctor", "--offline"], &["doctor", "--offline", "--quick"]] {
        let said = in_new(args);
        assert!(
            said.code == 0 && said.stdout.contains("restored or copied"),
            "{args:?}: {} {}",
            said.stdout,
            said.stderr
        );
    }
    for file in &files {
        assert_eq!(in_new(&["import", file]).code, 0);
    }
    assert_eq!(incomplete(), None);
    let lamp = format!("syncra:{}", text(&home.json(["info", &lamp]), "package_id"));
    home.json(["export", &lamp, "-o", "lamp.syncpack"]);
    assert_eq!(in_new(&["import", "lamp.syncpack"]).code, 0);
    let verified = in_new(&["verify", "--json"]).data();
    assert!(verified["ok"] == true && verified["absent"] == Value::Null, "{verified}");
    // From now on it is missed.
    let data = home.work().join("new-home/blobs/data");
    for file in super::care::files(&data, "") {
        std::fs::remove_file(file).expect("removed");
    }
    let lost = in_new(&["verify", "--json"]);
    assert!(lost.code == 5 && lost.stderr.contains("publish the same files"), "{} {}", lost.stdout, lost.stderr);
}

/// Two sticks of one author come in any order: what the older one says of its author is known already.
#[test]
fn an_older_stick_of_somebody_is_taken_in_after_a_newer_one() {
    let (home, author) = (Home::new(), Home::new());
    let sticks = ["door", "wall"].map(|name| {
        package(&author, name, "1.0.0", "stand()");
        let exact = format!("syncra:{}", text(&publish(&author, name), "package_id"));
        let file = author.work().join(name).with_extension("syncpack");
        author.json(["export", &exact, "-o", file.to_str().expect("text")]);
        (exact, file)
    });
    for (exact, file) in sticks.iter().rev() {
        home.json(["import", file.to_str().expect("text")]);
        assert_eq!(home.json(["info", exact])["releases"].as_array().map(Vec::len), Some(1));
    }
}
