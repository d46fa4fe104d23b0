//! Working on one package from several places: checkouts, merges, and the way out of every state that two writers can
//! bring about. Without a network: packages are carried.

use std::path::PathBuf;

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

/// Writes everything that is known of `reference` at `from` into a file and takes it in at `to`.
fn carry(from: &Home, to: &Home, reference: &str) {
    let file = from.work().join("carried.syncpack");
    drop(std::fs::remove_file(&file));
    let file = file.to_str().expect("text");
    from.json(["export", reference, "-o", file]);
    to.json(["import", file]);
}

/// Two devices of one person, both of which know a first release of `lamp`; and what names the package.
fn two_devices() -> (Home, Home, String) {
    let desk = Home::new();
    package(&desk, "lamp", "1.0.0", "one\ntwo\nthree\nfour\nfive\n");
    write(&desk, "lamp", "model.bin", b"\0as it was");
    let exact = format!("syncra:{}", text(&publish(&desk, "lamp"), "package_id"));
    let secret = desk.work().join("recovery");
    std::fs::write(&secret, text(&desk.json(["id", "recovery"]), "recovery")).expect("written");
    let owner = text(&desk.json(["id"]), "ref_prefix").trim_end_matches('/').to_owned();
    let laptop = Home::new().with("SYNCRA_RECOVERY_FILE", secret.to_str().expect("text").to_owned());
    carry(&desk, &laptop, &exact);
    laptop.json(["id", "recover", &owner, "--label", "laptop", "--yes"]);
    carry(&laptop, &desk, &exact);
    (desk, laptop, exact)
}

fn at(home: &Home, dir: &str, path: &str) -> PathBuf {
    home.work().join(dir).join(path)
}

fn write(home: &Home, dir: &str, path: &str, bytes: impl AsRef<[u8]>) {
    let path = at(home, dir, path);
    std::fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

fn read(home: &Home, dir: &str, path: &str) -> String {
    std::fs::read_to_string(at(home, dir, path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Changes a file by replacing a part of it.
fn edit(home: &Home, dir: &str, path: &str, from: &str, to: &str) {
    let text = read(home, dir, path);
    assert!(text.contains(from), "{path} has no {from}: {text}");
    write(home, dir, path, text.replacen(from, to, 1));
}

fn version(home: &Home, dir: &str, from: &str, to: &str) {
    edit(home, dir, "syncra.toml", &format!("version = \"{from}\""), &format!("version = \"{to}\""));
}

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

fn parents(home: &Home, reference: &str) -> usize {
    let graph = home.json(["log", reference.split_once('@').map_or(reference, |(package, _)| package), "--graph"]);
    let releases = graph["releases"].as_array().expect("releases").clone();
    let version = reference.rsplit('@').next().expect("a version");
    let found = releases.iter().find(|release| release["version"] == version).unwrap_or_else(|| panic!("{graph}"));
    found["parents"].as_array().expect("parents").len()
}

fn channel(home: &Home, exact: &str) -> Value {
    let found = home.json(["channel", exact]);
    found["refs"].as_array().expect("refs").iter().find(|known| known["name"] == "stable").expect("stable").clone()
}

#[test]
fn a_checkout_goes_back_to_where_it_came_from_and_never_writes_over_anything() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()\n");
    let exact = format!("syncra:{}", text(&publish(&home, "lamp"), "package_id"));
    home.json(["branch", &exact, "work/fins", "1.0.0"]);

    let would = home.json(["checkout", &exact, "new", "--dry-run"]);
    assert_eq!((text(&would, "channel"), &would["branch"]), ("stable", &Value::Null));
    assert!(!home.work().join("new").exists());
    let done = home.json(["checkout", &format!("{exact}@work/fins"), "fins"]);
    assert_eq!((text(&done, "branch"), &done["channel"]), ("work/fins", &Value::Null));
    assert_eq!(read(&home, "fins", "src/main.syn"), "turn()\n");
    assert_eq!(code(&home.fails(["checkout", &exact, "fins"])), (7, "E0701"));
    assert_eq!(code(&home.fails(["checkout", &exact])), (2, "E0200"), "an id is no name for a directory");

    // It is told from what it is based on, not from the newest.
    version(&home, "lamp", "1.0.0", "1.1.0");
    write(&home, "lamp", "src/main.syn", "turn(9)\n");
    publish(&home, "lamp");
    version(&home, "fins", "1.0.0", "1.2.0-fins.1");
    write(&home, "fins", "src/main.syn", "turn(2)\n");
    let diff = home.json(["diff", "fins"]);
    assert!(text(&diff, "old").ends_with("@1.0.0"), "{diff}");
    assert!(!home.json(["check", "fins"])["files"].to_string().contains("base.toml"));
    let first = home.json(["publish", "fins"]);
    assert_eq!((text(&first, "branch"), &first["channel"]), ("work/fins", &Value::Null));
    assert_eq!(parents(&home, &format!("{exact}@1.2.0-fins.1")), 1);
    assert_eq!(channel(&home, &exact)["places"][0]["version"], "1.1.0", "stable stays");
    assert_eq!(home.json(["publish", "fins"])["already"], true);
    assert_eq!(text(&home.json(["diff", "fins"]), "old").rsplit('@').next(), Some("1.2.0-fins.1"));

    // Onto a channel that others moved it does not go: neither there, nor by an old version.
    assert_eq!(code(&home.fails(["publish", "fins", "--channel", "stable"])), (7, "E0720"));
    home.json(["checkout", &format!("{exact}@1.0.0"), "old"]);
    assert_eq!(code(&home.fails(["publish", "old"])), (7, "E0720"));
    assert_eq!(code(&home.fails(["publish", "old", "--dry-run"])), (7, "E0720"));
    version(&home, "old", "1.0.0", "1.0.1");
    let fix = home.json(["publish", "old", "--branch", "fixes/1.0"]);
    assert_eq!(text(&fix, "branch"), "fixes/1.0");
    version(&home, "old", "1.0.1", "1.0.2");
    assert_eq!(text(&home.json(["publish", "old"]), "branch"), "fixes/1.0", "the checkout is on that branch now");

    // Another name, a damaged memory, somebody else's package.
    edit(&home, "old", "syncra.toml", "name = \"lamp\"", "name = \"lantern\"");
    assert_eq!(code(&home.fails(["publish", "old", "--yes"])), (7, "E0700"));
    write(&home, "old", ".syncra/base.toml", "format = 1\n");
    assert_eq!(code(&home.fails(["publish", "old", "--yes"])), (1, "E0116"));
    let stranger = Home::new();
    carry(&home, &stranger, &exact);
    stranger.json(["checkout", &exact, "theirs"]);
    version(&stranger, "theirs", "1.1.0", "6.6.6");
    assert_eq!(code(&stranger.fails(["publish", "theirs", "--yes"])), (4, "E0407"));
}

#[test]
fn what_others_published_meanwhile_is_merged_and_then_published() {
    let (desk, laptop, exact) = two_devices();
    desk.json(["checkout", &exact, "mine"]);
    laptop.json(["checkout", &exact, "theirs"]);
    edit(&laptop, "theirs", "src/main.syn", "five", "FIVE");
    version(&laptop, "theirs", "1.0.0", "1.1.0");
    write(&laptop, "theirs", "new/file.txt", "new\n");
    std::fs::remove_file(at(&laptop, "theirs", "model.bin")).expect("removed");
    laptop.json(["publish", "theirs"]);
    carry(&laptop, &desk, &exact);

    edit(&desk, "mine", "src/main.syn", "one", "ONE");
    write(&desk, "mine", "notes.txt", "not published yet\n");
    version(&desk, "mine", "1.0.0", "1.1.0");
    let moved_on = desk.fails(["publish", "mine"]);
    assert_eq!(code(&moved_on), (7, "E0720"));
    assert!(text(&moved_on.1, "hint").contains("syncra merge"), "{moved_on:?}");

    let before = read(&desk, "mine", "src/main.syn");
    let would = desk.json(["merge", "--into", "mine", "--dry-run"]);
    assert_eq!((&would["conflicts"], &would["is_forward"]), (&serde_json::json!([]), &Value::Bool(true)));
    assert_eq!(read(&desk, "mine", "src/main.syn"), before);
    desk.json(["merge", "--into", "mine"]);
    assert_eq!(read(&desk, "mine", "src/main.syn"), "ONE\ntwo\nthree\nfour\nFIVE\n");
    assert_eq!(read(&desk, "mine", "new/file.txt"), "new\n");
    assert_eq!(read(&desk, "mine", "notes.txt"), "not published yet\n");
    assert!(!at(&desk, "mine", "model.bin").exists());
    // The version is the author's decision.
    assert_eq!(code(&desk.fails(["publish", "mine"])), (7, "E0704"));
    version(&desk, "mine", "1.1.0", "1.2.0");
    desk.json(["publish", "mine"]);
    assert_eq!(parents(&desk, &format!("{exact}@1.2.0")), 1, "it was made from theirs alone");
    assert_eq!(desk.json(["merge", "--into", "mine"])["already"], true);
    assert_eq!(desk.json(["merge", "1.1.0", "--into", "mine"])["already"], true);
}

#[test]
fn a_diverged_channel_is_merged_conflicts_are_left_to_people_and_the_publish_ends_it() {
    let (desk, laptop, exact) = two_devices();
    for (home, dir, own, bytes) in [(&desk, "mine", "1.1.0", "\0mine"), (&laptop, "theirs", "1.2.0", "\0theirs")] {
        home.json(["checkout", &exact, dir]);
        edit(home, dir, "src/main.syn", "three", &format!("three of {dir}"));
        write(home, dir, "model.bin", bytes);
        version(home, dir, "1.0.0", own);
        home.json(["publish", dir]);
    }
    carry(&laptop, &desk, &exact);
    assert_eq!(channel(&desk, &exact)["is_diverged"], true);

    version(&desk, "mine", "1.1.0", "1.3.0");
    assert_eq!(code(&desk.fails(["publish", "mine"])), (7, "E0720"));
    let before = read(&desk, "mine", "src/main.syn");
    let conflicts = desk.fails(["merge", "--into", "mine"]);
    assert_eq!(code(&conflicts), (7, "E0721"));
    let told = conflicts.1["causes"].to_string();
    for path in ["src/main.syn", "syncra.toml", "model.bin.theirs"] {
        assert!(told.contains(path), "{told}");
    }
    let merged = read(&desk, "mine", "src/main.syn");
    assert!(
        merged.starts_with("one\ntwo\n<<<<<<< here\nthree of mine\n||||||| @")
            && merged.contains("\n=======\nthree of theirs\n>>>>>>> @"),
        "{merged}"
    );
    assert_eq!(read(&desk, "mine", "model.bin.theirs"), "\0theirs");
    assert_eq!(read(&desk, "mine", "model.bin"), "\0mine");

    // Nothing goes out with markers in it, and nothing is merged on top.
    for verb in [&["publish", "mine"][..], &["check", "mine"], &["merge", "--into", "mine"]] {
        assert_eq!(code(&desk.fails(verb)), (7, "E0721"), "{verb:?}");
    }
    assert_eq!(code(&desk.fails(["merge", "--into", "mine", "--solved"])), (7, "E0721"));
    // What is to be decided can be looked at, also where the manifest has markers.
    assert!(read(&desk, "mine", "syncra.toml").contains("<<<<<<<"));
    let diff = desk.json(["diff", "mine"]);
    assert!(text(&diff, "old").ends_with("@1.1.0"), "{diff}");
    let version = diff["metadata"].as_array().expect("a list").iter().find(|field| field["key"] == "version").cloned();
    assert_eq!(version.expect("it has another")["new"], "1.3.0", "of the manifest what our side says");
    let shown = desk.run(["diff", "mine"]).stdout;
    assert!(shown.contains("+<<<<<<< here") && shown.contains("three of theirs"), "{shown}");

    // Taken back, all is as it was; merged again, all is as it was then.
    desk.json(["merge", "--into", "mine", "--abort"]);
    assert_eq!((read(&desk, "mine", "src/main.syn"), at(&desk, "mine", "model.bin.theirs").exists()), (before, false));
    assert_eq!(code(&desk.fails(["merge", "--into", "mine", "--abort"])), (3, "E0300"));
    desk.fails(["merge", "--into", "mine"]);
    assert_eq!(read(&desk, "mine", "src/main.syn"), merged);

    write(&desk, "mine", "src/main.syn", "one\ntwo\nthree of both\nfour\nfive\n");
    let toml = read(&desk, "mine", "syncra.toml");
    let (head, rest) = toml.split_once("<<<<<<< here\n").expect("markers");
    let (_, tail) = rest.split_once(">>>>>>> ").expect("markers");
    let (_, tail) = tail.split_once('\n').expect("a line");
    write(&desk, "mine", "syncra.toml", format!("{head}version = \"1.3.0\"\n{tail}"));
    assert_eq!(code(&desk.fails(["publish", "mine"])), (7, "E0721"), "the model is not decided");
    std::fs::rename(at(&desk, "mine", "model.bin.theirs"), at(&desk, "mine", "model.bin")).expect("renamed");
    desk.json(["check", "mine"]);
    desk.json(["publish", "mine"]);
    assert_eq!(parents(&desk, &format!("{exact}@1.3.0")), 2);
    carry(&desk, &laptop, &exact);
    for home in [&desk, &laptop] {
        let stable = channel(home, &exact);
        assert_eq!(
            (&stable["is_diverged"], &stable["places"][0]["version"]),
            (&Value::Bool(false), &Value::from("1.3.0"))
        );
    }
    // Whoever had the other side only needs to take it over.
    let taken = laptop.json(["merge", "--into", "theirs"]);
    assert_eq!((&taken["conflicts"], &taken["is_forward"]), (&serde_json::json!([]), &Value::Bool(true)));
    assert_eq!(read(&laptop, "theirs", "model.bin"), "\0theirs");
}

#[test]
fn a_contested_version_is_merged_by_the_ids_of_its_releases() {
    let (desk, laptop, exact) = two_devices();
    for (home, dir) in [(&desk, "mine"), (&laptop, "theirs")] {
        home.json(["checkout", &exact, dir]);
        write(home, dir, &format!("{dir}.txt"), dir);
        version(home, dir, "1.0.0", "1.1.0");
        home.json(["publish", dir]);
    }
    carry(&laptop, &desk, &exact);
    assert_eq!(code(&desk.fails(["checkout", &format!("{exact}@1.1.0"), "x"])), (7, "E0706"));
    // Both are heads of `stable`, too: the one that is not here is found without being named.
    let merged = desk.json(["merge", "--into", "mine"]);
    assert_eq!((&merged["conflicts"], &merged["is_forward"]), (&serde_json::json!([]), &Value::Bool(false)));
    assert_eq!(read(&desk, "mine", "theirs.txt"), "theirs");
    assert_eq!(code(&desk.fails(["publish", "mine"])), (7, "E0704"));
    version(&desk, "mine", "1.1.0", "1.1.1");
    desk.json(["publish", "mine"]);
    assert_eq!(parents(&desk, &format!("{exact}@1.1.1")), 2);
    let got = desk.json(["get", &exact, "-o", "out"]);
    assert_eq!(text(&got, "version"), "1.1.1");
}

#[test]
fn files_that_one_side_removed_or_moved_and_lines_that_crossed_before_have_a_way_out() {
    let (desk, laptop, exact) = two_devices();
    desk.json(["checkout", &exact, "mine"]);
    laptop.json(["checkout", &exact, "theirs"]);
    // They move the script and change the model; we change the script and remove the model; they remove what we change.
    write(&desk, "mine", "gone.txt", "we\n");
    version(&desk, "mine", "1.0.0", "1.1.0");
    desk.json(["publish", "mine"]);
    carry(&desk, &laptop, &exact);
    laptop.json(["merge", "--into", "theirs"]);
    std::fs::create_dir(at(&laptop, "theirs", "lib")).expect("made");
    std::fs::rename(at(&laptop, "theirs", "src/main.syn"), at(&laptop, "theirs", "lib/main.syn")).expect("moved");
    std::fs::remove_file(at(&laptop, "theirs", "gone.txt")).expect("removed");
    write(&laptop, "theirs", "model.bin", "\0changed");
    version(&laptop, "theirs", "1.1.0", "1.2.0");
    laptop.json(["publish", "theirs"]);
    carry(&laptop, &desk, &exact);
    edit(&desk, "mine", "src/main.syn", "two", "TWO");
    edit(&desk, "mine", "gone.txt", "we", "we two");
    std::fs::remove_file(at(&desk, "mine", "model.bin")).expect("removed");
    // What is not the package's is not written over.
    write(&desk, "mine", ".syncraignore", "lib\n");
    write(&desk, "mine", "lib/main.syn", "private");
    assert_eq!(code(&desk.fails(["merge", "--into", "mine"])), (7, "E0701"));
    std::fs::remove_dir_all(at(&desk, "mine", "lib")).expect("removed");
    std::fs::remove_file(at(&desk, "mine", ".syncraignore")).expect("removed");

    let failure = desk.fails(["merge", "--into", "mine"]);
    assert_eq!(code(&failure), (7, "E0721"));
    assert_eq!(read(&desk, "mine", "lib/main.syn"), "one\nTWO\nthree\nfour\nfive\n", "moved by them, changed by us");
    assert!(!at(&desk, "mine", "src").exists());
    assert_eq!(read(&desk, "mine", "model.bin.theirs"), "\0changed");
    std::fs::remove_file(at(&desk, "mine", "model.bin.theirs")).expect("removed");
    assert_eq!(code(&desk.fails(["publish", "mine"])), (7, "E0721"), "`gone.txt` waits for a word");
    assert_eq!(code(&desk.fails(["merge", "--into", "mine", "--solved", "other.txt"])), (3, "E0300"));
    desk.json(["merge", "--into", "mine", "--solved", "gone.txt"]);
    version(&desk, "mine", "1.2.0", "1.3.0");
    desk.json(["publish", "mine"]);

    // Both go on from here and take over what the other has: the lines cross.
    for (home, dir, new) in [(&desk, "mine", "1.4.0"), (&laptop, "theirs", "1.2.1")] {
        let old = if dir == "mine" { "1.3.0" } else { "1.2.0" };
        version(home, dir, old, new);
        write(home, dir, &format!("{dir}.txt"), new);
        home.json(["publish", dir, "--branch", dir]);
    }
    carry(&laptop, &desk, &exact);
    carry(&desk, &laptop, &exact);
    for (home, dir, other, old, new) in
        [(&desk, "mine", "theirs", "1.4.0", "1.6.0"), (&laptop, "theirs", "mine", "1.2.1", "1.5.0")]
    {
        let done = home.run(["merge", other, "--into", dir]);
        assert!([0, 7].contains(&done.code), "{}", done.stderr);
        if done.code == 7 {
            let toml = read(home, dir, "syncra.toml");
            let (head, rest) = toml.split_once("<<<<<<< here\n").expect("only the version is left");
            let tail = rest.split_once(">>>>>>> ").and_then(|(_, tail)| tail.split_once('\n')).expect("markers").1;
            write(home, dir, "syncra.toml", format!("{head}version = \"{old}\"\n{tail}"));
        }
        let toml = read(home, dir, "syncra.toml");
        let line = toml.lines().find(|line| line.starts_with("version")).expect("a version").to_owned();
        write(home, dir, "syncra.toml", toml.replace(&line, &format!("version = \"{new}\"")));
        home.json(["publish", dir]);
        assert_eq!(parents(home, &format!("{exact}@{new}")), 2);
    }
    carry(&laptop, &desk, &exact);
    let would = desk.json(["merge", "theirs", "--into", "mine", "--dry-run"]);
    assert!(would["warnings"].to_string().contains("merged into each other before"), "{would}");
}

#[test]
fn a_merge_that_was_cut_off_is_taken_back_and_where_there_is_none_it_says_so() {
    let (desk, laptop, exact) = two_devices();
    desk.json(["checkout", &exact, "mine"]);
    laptop.json(["checkout", &exact, "theirs"]);
    edit(&laptop, "theirs", "src/main.syn", "five", "FIVE");
    version(&laptop, "theirs", "1.0.0", "1.1.0");
    laptop.json(["publish", "theirs"]);
    carry(&laptop, &desk, &exact);
    desk.json(["merge", "--into", "mine"]);
    // As a cut leaves it: noted, and not all files written.
    let noted = read(&desk, "mine", ".syncra/base.toml").replace("complete = true", "complete = false");
    write(&desk, "mine", ".syncra/base.toml", noted);
    write(&desk, "mine", "src/main.syn", "half");
    for verb in [&["publish", "mine"][..], &["check", "mine"], &["merge", "--into", "mine"]] {
        assert_eq!(code(&desk.fails(verb)), (7, "E0721"), "{verb:?}");
    }
    desk.json(["merge", "--into", "mine", "--abort"]);
    assert_eq!(read(&desk, "mine", "src/main.syn"), "one\ntwo\nthree\nfour\nfive\n");
    desk.json(["merge", "--into", "mine"]);
    assert_eq!(read(&desk, "mine", "src/main.syn"), "one\ntwo\nthree\nfour\nFIVE\n");
    let nowhere = desk.fails(["merge", "--into", "lamp"]);
    assert_eq!(code(&nowhere), (3, "E0300"));
    assert!(text(&nowhere.1, "hint").contains("syncra checkout"));
}

/// Two commands in one directory would each plan on what the other changes.
#[test]
fn one_command_at_a_time_changes_a_checkout() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()\n");
    let exact = format!("syncra:{}", text(&publish(&home, "lamp"), "package_id"));
    home.json(["checkout", &exact, "mine"]);
    version(&home, "lamp", "1.0.0", "1.1.0");
    publish(&home, "lamp");
    write(&home, "mine", "notes.txt", "mine\n");
    // As another command that is under way holds it.
    let held = std::fs::File::create(at(&home, "mine", ".syncra/lock")).expect("made");
    held.lock().expect("nobody else has it");
    let before = read(&home, "mine", ".syncra/base.toml");
    let busy = [
        &["merge", "--into", "mine"][..],
        &["merge", "--into", "mine", "--abort"],
        &["merge", "--into", "mine", "--solved"],
        &["publish", "mine", "--branch", "work", "--yes"],
        &["propose", "mine", "--title", "Fins", "--offline"],
    ];
    for verb in busy {
        let (exit, error) = home.fails(verb);
        assert_eq!((exit, text(&error, "code"), &error["retryable"]), (7, "E0722", &Value::Bool(true)), "{verb:?}");
    }
    assert_eq!(read(&home, "mine", ".syncra/base.toml"), before);
    // Who only looks waits for nobody.
    home.json(["merge", "--into", "mine", "--dry-run"]);
    home.json(["diff", "mine"]);
    drop(held);
    home.json(["merge", "--into", "mine"]);
    assert!(read(&home, "mine", "syncra.toml").contains("1.1.0"));
    assert!(!home.json(["check", "mine"])["files"].to_string().contains("lock"), "it is never published");
}

/// Taken back, nothing that was saved since is lost, and it is told where it is.
#[test]
fn what_was_saved_after_a_merge_is_beside_when_that_is_taken_back() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "one\ntwo\nthree\n");
    let exact = format!("syncra:{}", text(&publish(&home, "lamp"), "package_id"));
    home.json(["checkout", &exact, "mine"]);
    version(&home, "lamp", "1.0.0", "1.1.0");
    edit(&home, "lamp", "src/main.syn", "two", "TWO");
    write(&home, "lamp", "new.txt", "new\n");
    publish(&home, "lamp");
    edit(&home, "mine", "src/main.syn", "two", "Two");
    assert_eq!(code(&home.fails(["merge", "--into", "mine"])), (7, "E0721"));
    write(&home, "mine", "src/main.syn", "one\nhalf solved\nthree\n");
    write(&home, "mine", "new.txt", "new and mine\n");
    let done = home.json(["merge", "--into", "mine", "--abort"]);
    let kept = serde_json::json!([
        { "path": "new.txt", "at": "new.txt" },
        { "path": "src/main.syn", "at": "src/main.syn.saved" },
    ]);
    assert_eq!(done["kept"], kept, "{done}");
    assert_eq!(read(&home, "mine", "src/main.syn"), "one\nTwo\nthree\n");
    assert_eq!(read(&home, "mine", "src/main.syn.saved"), "one\nhalf solved\nthree\n");
    assert_eq!(read(&home, "mine", "new.txt"), "new and mine\n");
    assert!(read(&home, "mine", "syncra.toml").contains("1.0.0"));
}
