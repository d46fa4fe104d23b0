//! Bad input that the other files do not have: each a clear error with its exit code, and nothing half done.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

/// The verb fails with this exit code and error code; the hint, if there is one, is the second value.
fn refused(home: &Home, args: &[&str], exit: i32, code: &str) -> Value {
    let (found, error) = home.fails(args);
    assert_eq!((found, error["code"].as_str()), (exit, Some(code)), "{args:?}: {error}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{args:?}: {error}");
    error
}

fn nothing_was_published(home: &Home) {
    assert_eq!(home.json(["list"])["packages"], serde_json::json!([]));
}

#[test]
fn trees_that_cannot_be_published_everywhere_are_refused_by_check_and_publish_alike() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    for (what, names) in [
        ("two that are one file elsewhere", &["Readme.txt", "README.txt"][..]),
        ("a device of Windows", &["aux.txt"]),
        ("a trailing dot", &["odd."]),
        ("a control character", &["bell\u{7}"]),
        ("not NFC", &["u\u{308}.txt"]),
        ("a colon", &["a:b"]),
    ] {
        for name in names {
            std::fs::write(dir.join(name), "x").expect("written");
        }
        for args in [&["check", "lamp"][..], &["publish", "lamp", "--yes"]] {
            let error = refused(&home, args, 1, "E0111");
            assert!(error["hint"].as_str().is_some_and(|hint| hint.contains(".syncraignore")), "{what}: {error}");
        }
        for name in names {
            std::fs::remove_file(dir.join(name)).expect("removed");
        }
    }
    nothing_was_published(&home);
}

#[test]
fn a_manifest_that_is_none_is_named() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    let manifest = dir.join("syncra.toml");
    let good = std::fs::read_to_string(&manifest).expect("there");
    for bad in [vec![0xff, 0xfe], vec![b'#'; 2 << 20], b"[package]\nname = \"lamp\"\n".to_vec()] {
        std::fs::write(&manifest, bad).expect("written");
        for args in [&["check", "lamp"][..], &["publish", "lamp", "--yes"]] {
            let error = refused(&home, args, 1, "E0110");
            assert!(error["message"].as_str().is_some_and(|message| message.contains("syncra.toml")), "{error}");
        }
    }
    for (wrong, right) in [("name", "nmae"), ("kind", "knid")] {
        std::fs::write(&manifest, good.replace(wrong, right)).expect("written");
        let error = refused(&home, &["check", "lamp"], 1, "E0110");
        assert!(error.to_string().contains(&format!("`{wrong}`")), "the nearest key is named: {error}");
    }
    std::fs::remove_file(&manifest).expect("removed");
    std::fs::create_dir(&manifest).expect("made");
    assert_ne!(home.fails(["check", "lamp"]).0, 101);
    assert_ne!(home.fails(["publish", "lamp", "--yes"]).0, 101);
    nothing_was_published(&home);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_neither_published_nor_waited_for() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    let made = std::process::Command::new("mkfifo").arg(dir.join("pipe")).status();
    if !made.is_ok_and(|status| status.success()) {
        return syncra_tests::skip("a_pipe_is_neither_published_nor_waited_for", "no mkfifo here");
    }
    for args in [&["check", "lamp"][..], &["publish", "lamp", "--yes"]] {
        refused(&home, args, 1, "E0111");
    }
    std::fs::remove_file(dir.join("pipe")).expect("removed");
    std::fs::rename(dir.join("syncra.toml"), home.work().join("aside")).expect("renamed");
    let made = std::process::Command::new("mkfifo").arg(dir.join("syncra.toml")).status();
    assert!(made.is_ok_and(|status| status.success()));
    // Nobody will ever write to it: an answer is all that matters.
    assert_eq!(home.fails(["check", "lamp"]).0, 1);
    assert_eq!(home.fails(["publish", "lamp", "--yes"]).0, 1);
}

/// Gives the file to nobody; then only the superuser of the whole machine reads it.
#[cfg(target_os = "linux")]
fn make_unreadable(file: &Path) {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    // As an ordinary user the mode alone does it.
    drop(chown(file, Some(54_321), Some(54_321)));
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o0)).expect("set");
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_file_is_a_matter_of_permission() {
    let home = Home::new();
    let dir = package(&home, "lamp", "1.0.0", "turn()");
    make_unreadable(&dir.join("src/main.syn"));
    for args in [&["check", "lamp"][..], &["publish", "lamp", "--yes"]] {
        let mut command = home.command(args);
        if std::fs::read(dir.join("src/main.syn")).is_ok() {
            // The superuser reads everything, but not as the superuser of a namespace to which the owner is unknown.
            let program = command.get_program().to_owned();
            let mut inside = std::process::Command::new("unshare");
            inside.args(["-Ur", "--"]).arg(program).args(args).current_dir(home.work());
            inside.env("SYNCRA_HOME", home.path()).env("SYNCRA_LAN_PORT", "0").stdin(std::process::Stdio::null());
            if !std::process::Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|s| s.success()) {
                return syncra_tests::skip("an_unreadable_file_is_a_matter_of_permission", "no user namespaces here");
            }
            command = inside;
        }
        command.arg("--json");
        let (exit, error) = syncra_tests::Output::of(command).error();
        assert_eq!((exit, error["code"].as_str()), (4, Some("E0400")), "{args:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("main.syn")), "{error}");
    }
    nothing_was_published(&home);
}

/// Does something while somebody writes to a file all the time.
fn while_it_grows<T>(file: &Path, work: impl FnOnce() -> T) -> T {
    let mut file = std::fs::File::create(file).expect("made");
    file.write_all(b"begins\n").expect("written");
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                file.write_all(b"and goes on\n").expect("written");
            }
        });
        let done = work();
        ends.store(true, Ordering::Relaxed);
        writer.join().expect("it writes");
        done
    })
}

#[test]
fn a_file_that_grows_meanwhile_is_told_and_published_when_it_rests() {
    // Whoever writes may have no turn just while it is read: then it is published, and another home tries.
    let mut tries = 0..100;
    let found = tries.find_map(|_| {
        let home = Home::new();
        let dir = package(&home, "lamp", "1.0.0", "turn()");
        let output = while_it_grows(&dir.join("growing.log"), || home.run(["publish", "lamp", "--yes", "--json"]));
        (output.code != 0).then(|| (home, dir, output.error()))
    });
    let (home, dir, error) = found.expect("it grows while it is read");
    assert_eq!((error.0, text(&error.1, "code"), &error.1["retryable"]), (1, "E0112", &Value::from(true)));
    assert!(text(&error.1, "message").contains("growing.log"), "{}", error.1);
    nothing_was_published(&home);
    std::fs::write(dir.join("growing.log"), "rests").expect("written");
    publish(&home, "lamp");
}

#[test]
fn what_nobody_within_reach_has_is_unreachable_and_written_nowhere() {
    let (alice, bob) = (Home::new(), Home::new());
    package(&alice, "lamp", "1.0.0", "turn()");
    let published = publish(&alice, "lamp");
    let stick = bob.work().join("lamp.syncpack");
    alice.json(["export", text(&published, "ref"), "-o", stick.to_str().expect("text")]);
    bob.json(["import", "lamp.syncpack"]);
    // The history stays, the content goes: what is left is a release that is known and not held.
    std::fs::remove_dir_all(bob.path().join("blobs")).expect("removed");
    for args in [
        &["get", text(&published, "ref"), "-o", "out", "--offline"][..],
        &["add", text(&published, "ref"), "--offline"],
    ] {
        let error = refused(&bob, args, 6, "E0603");
        assert_eq!(error["retryable"], true);
    }
    assert!(!bob.work().join("out").exists());
    assert_eq!(bob.json(["list"])["packages"].as_array().map(Vec::len), Some(1));
}

#[test]
fn files_that_are_no_packs_and_places_that_are_taken() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let published = publish(&home, "lamp");
    let reference = text(&published, "ref");
    refused(&home, &["import", "nowhere.syncpack"], 3, "E0300");
    for (name, bytes) in [("empty", &b""[..]), ("other", b"PK\x03\x04 and so on"), ("newer", b"SYNPACK\xff and so on")]
    {
        std::fs::write(home.work().join(name), bytes).expect("written");
        refused(&home, &["import", name], 5, "E0503");
    }
    assert_ne!(home.fails(["import", "lamp"]).0, 0, "a directory is no pack");
    refused(&home, &["export", reference, "-o", "empty"], 7, "E0701");
    assert_eq!(std::fs::read(home.work().join("empty")).expect("there"), b"", "left alone");
    refused(&home, &["export", reference, "-o", "no/such/place"], 3, "E0300");
    refused(&home, &["id", "restore", "other"], 2, "E0204");
    refused(&home, &["rollback", "7"], 3, "E0307");
    refused(&home, &["remove", reference], 3, "E0306");
    refused(&home, &["why", reference], 3, "E0306");
    let nothing = format!("{reference}x");
    for verb in ["info", "log", "verify", "add", "update"] {
        let (exit, error) = home.fails([verb, &nothing]);
        assert!([2, 3].contains(&exit), "{verb}: {error}");
    }
    refused(&home, &["yank", reference.trim_end_matches("@1.0.0"), "--reason", "all of it"], 2, "E0202");
}

#[test]
fn a_yanked_release_is_refused_with_a_reference_that_works() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "turn()");
    let published = publish(&home, "lamp");
    home.json(["yank", text(&published, "ref"), "--reason", "dark"]);
    let error = refused(&home, &["get", text(&published, "ref"), "-o", "out"], 8, "E0802");
    let hint = text(&error, "hint");
    let exact = hint.split('`').nth(1).expect("a reference in the hint");
    let got = home.json(["get", exact, "-o", "out"]);
    assert_eq!(got["release_id"], published["release_id"]);
}

/// Whatever is asked with whatever else: an answer, never a panic, and nothing on stdout when it fails.
#[test]
fn nonsense_in_every_place_is_answered() {
    let home = Home::new();
    let nonsense =
        ["", " ", "@", "@/", "syncra:", "syncra:b3:", "@a/b@", "@a~b/c@r:d", "../..", "\u{202e}", "💡", "-", "%00"];
    let verbs: [&[&str]; 12] = [
        &["info"],
        &["log"],
        &["get", "-o", "out"],
        &["add"],
        &["remove"],
        &["why"],
        &["verify"],
        &["update"],
        &["export", "-o", "out"],
        &["yank", "--reason", "x"],
        &["import"],
        &["new", "world"],
    ];
    for verb in verbs {
        for word in nonsense {
            let output = home.run(verb.iter().copied().chain(["--json", "--offline", word]));
            assert!((1..=9).contains(&output.code), "{verb:?} {word:?}: {} {}", output.code, output.stderr);
            assert_eq!(output.stdout, "", "{verb:?} {word:?}");
        }
    }
    assert!(!home.work().join("out").exists());
}
