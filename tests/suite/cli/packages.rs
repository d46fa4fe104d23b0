//! Making and checking a package.

use syncra_tests::Home;

#[test]
fn a_new_package_of_every_kind_passes_its_check() {
    let home = Home::new();
    for kind in ["script", "driver", "world", "avatar", "asset", "pack"] {
        let name = format!("my-{kind}");
        let made = home.json(["new", kind, &name]);
        assert_eq!((made["name"].as_str(), made["kind"].as_str()), (Some(&*name), Some(kind)));
        let checked = home.json(["check", &name]);
        assert_eq!((checked["name"].as_str(), checked["version"].as_str()), (Some(&*name), Some("0.1.0")));
        assert!(checked["n_files"].as_u64().is_some_and(|n| n >= 2));
    }
    assert!(!home.path().exists(), "neither verb needs a home");
}

#[test]
fn nothing_is_overwritten_and_a_dry_run_makes_nothing() {
    let home = Home::new();
    home.json(["new", "world", "isle", "--dry-run"]);
    assert!(!home.work().join("isle").exists());
    home.json(["new", "world", "isle"]);
    let (exit, error) = home.fails(["new", "world", "isle"]);
    assert_eq!((exit, error["code"].as_str()), (7, Some("E0701")));
    std::fs::write(home.work().join("file"), "x").expect("written");
    assert_eq!(home.fails(["new", "world", "isle", "-o", "file"]).0, 7);
    let (exit, error) = home.fails(["new", "world", "My Isle!"]);
    assert_eq!((exit, error["code"].as_str()), (2, Some("E0202")));
}

#[test]
fn what_cannot_be_published_is_named() {
    let home = Home::new();
    let (exit, error) = home.fails(["check"]);
    assert_eq!((exit, error["code"].as_str()), (3, Some("E0302")));
    home.json(["new", "script", "door"]);
    let dir = home.work().join("door");
    let manifest = std::fs::read_to_string(dir.join("syncra.toml")).expect("there");
    for (text, code) in [
        (manifest.replace("version", "verison"), "E0110"),
        (manifest.replace("0.1.0", "1"), "E0110"),
        (manifest.replace("main.syn", "gone.syn"), "E0110"),
        ("\u{0}".to_owned(), "E0110"),
        (String::new(), "E0110"),
    ] {
        std::fs::write(dir.join("syncra.toml"), text).expect("written");
        let (exit, error) = home.fails(["check", "door"]);
        assert_eq!((exit, error["code"].as_str()), (1, Some(code)), "{error}");
    }
    std::fs::write(dir.join("syncra.toml"), manifest).expect("written");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("main.syn", dir.join("link")).expect("made");
        let (exit, error) = home.fails(["check", "door"]);
        assert_eq!((exit, error["code"].as_str()), (1, Some("E0111")));
        std::fs::remove_file(dir.join("link")).expect("removed");
    }
    home.json(["check", "door"]);
    std::fs::write(dir.join("notes.txt"), "-----BEGIN PRIVATE KEY-----\n").expect("written");
    let checked = home.run(["check", "door"]);
    assert!(checked.stderr.contains("warning: `notes.txt` line 1 looks like a private key"), "{}", checked.stderr);
}

/// A stranger's file name cannot write to the terminal.
#[cfg(unix)]
#[test]
fn what_a_package_says_cannot_steer_the_terminal() {
    let home = Home::new();
    home.json(["new", "asset", "rocks"]);
    std::fs::write(home.work().join("rocks/a\u{1b}[2Jb"), "x").expect("written");
    let checked = home.run(["check", "rocks"]);
    assert_eq!(checked.code, 1);
    assert!(!checked.stderr.contains('\x1b') && !checked.stdout.contains('\x1b'));
}
