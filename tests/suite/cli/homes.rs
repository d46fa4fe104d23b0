//! Homes: awkward, shared, closed, foreign.

#[cfg(unix)]
use std::ffi::OsStr;

use syncra_tests::Home;

#[test]
fn a_home_with_spaces_and_other_letters_works() {
    let home = Home::named("Mein Heim ü 日本");
    let node = home.up([""; 0]);
    let status = home.json(["status"]);
    assert_eq!(status["running"], true);
    assert_eq!(status["peer_id"], node.ready()["peer_id"]);
    assert_eq!(node.stop().0, 0);
}

#[test]
fn the_flag_goes_before_the_environment() {
    let home = Home::new();
    let other = home.work().join("other");
    let status = home.json(["status", "--home", other.to_str().expect("text")]);
    assert!(status["home"].as_str().is_some_and(|path| path.ends_with("other")));
    assert!(!home.path().exists());
}

#[test]
fn two_nodes_do_not_share_a_home() {
    let home = Home::new();
    let node = home.up([""; 0]);
    let (exit, error) = home.fails(["up"]);
    assert_eq!((exit, error["code"].as_str(), error["retryable"].as_bool()), (7, Some("E0702"), Some(true)));
    assert!(error["message"].as_str().is_some_and(|text| text.contains(&node.pid().to_string())), "{error}");
    // The loser took nothing away from the winner.
    assert_eq!(home.json(["status"])["running"], true);
}

#[test]
fn a_killed_node_leaves_nothing_in_the_way() {
    let home = Home::new();
    let peer_id = home.up([""; 0]);
    let before = peer_id.peer_id().to_owned();
    drop(peer_id.kill());
    assert_eq!(home.json(["status"])["running"], false);
    assert_eq!(home.up([""; 0]).peer_id(), before, "the same device again");
}

#[cfg(unix)]
#[test]
fn a_home_that_cannot_be_written_is_a_matter_of_permission() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    std::fs::create_dir(home.path()).expect("made");
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o500)).expect("set");
    let mut closed = home.path();
    if std::fs::write(home.path().join("probe"), "").is_ok() {
        // The superuser may write everywhere but where the kernel itself says no.
        closed = std::path::Path::new("/sys/syncra");
        if !cfg!(target_os = "linux") {
            return syncra_tests::skip("a_home_that_cannot_be_written", "runs as the superuser");
        }
    }
    for verb in [&["up"][..], &["status"], &["token", "list"]] {
        let (exit, error) = home.fails(verb.iter().map(OsStr::new).chain([OsStr::new("--home"), closed.as_os_str()]));
        assert_eq!((exit, error["code"].as_str()), (4, Some("E0405")), "{verb:?}: {error}");
    }
}

#[test]
fn a_file_or_a_foreign_home_is_refused_and_left_alone() {
    let home = Home::new();
    std::fs::write(home.path(), "mine").expect("written");
    assert_eq!(home.fails(["status"]).0, 7);
    assert_eq!(std::fs::read_to_string(home.path()).expect("there"), "mine");

    let newer = Home::new();
    std::fs::create_dir(newer.path()).expect("made");
    std::fs::write(newer.path().join("schema"), "syncra-home 4000\n").expect("written");
    let (exit, error) = newer.fails(["up"]);
    assert_eq!((exit, error["code"].as_str()), (1, Some("E0103")));
}

#[test]
fn damaged_truth_is_told_and_kept() {
    let home = Home::new();
    home.json(["status"]);
    let tokens = home.path().join("tokens.toml");
    std::fs::write(&tokens, "[[token]]\nid = 1\n").expect("written");
    let (exit, error) = home.fails(["token", "list"]);
    assert_eq!((exit, error["code"].as_str()), (1, Some("E0102")));
    assert!(tokens.exists());
}

/// Runs `syncra` as nobody in particular: also the superuser then has only what the mode of a file gives its owner.
#[cfg(target_os = "linux")]
fn unprivileged(home: &Home, args: &[&str]) -> syncra_tests::Output {
    let command = home.command(args);
    let mut inside = std::process::Command::new("unshare");
    inside.arg("-U").arg(command.get_program()).args(command.get_args()).arg("--json").current_dir(home.work());
    inside.stdin(std::process::Stdio::null()).env("SYNCRA_HOME", home.path()).env("SYNCRA_LAN_PORT", "0");
    syncra_tests::Output::of(inside)
}

#[cfg(target_os = "linux")]
#[test]
fn what_may_not_be_read_or_written_is_told_and_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    super::releases::package(&home, "lamp", "1.0.0", "turn()");
    let reference = super::releases::text(&super::releases::publish(&home, "lamp"), "ref").to_owned();
    let probe = std::process::Command::new("unshare").args(["-U", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return syncra_tests::skip("what_may_not_be_read", "no user namespaces here");
    }
    assert_eq!(unprivileged(&home, &["list"]).code, 0, "with everything readable it works");
    let get = ["get", reference.as_str(), "-o", "out"];
    let cases: [(&str, u32, &[&str], &str); 9] = [
        ("installed/generations", 0o500, &["add", reference.as_str()], "E0400"),
        ("", 0o000, &["list"], "E0405"),
        ("identity/device.key", 0o000, &["list"], "E0400"),
        ("journal/00000001.seg", 0o000, &["list"], "E0400"),
        ("journal/00000001.seg", 0o400, &["list"], "E0400"),
        ("config.toml", 0o000, &["list"], "E0400"),
        ("logs", 0o000, &["list"], "E0400"),
        ("blobs/blobs.db", 0o000, &get, "E0400"),
        ("blobs/data", 0o000, &get, "E0400"),
    ];
    std::fs::write(home.path().join("config.toml"), "").expect("written");
    for (name, mode, args, code) in cases {
        let path = home.path().join(name);
        let usual = std::fs::metadata(&path).expect(name).permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let refused = unprivileged(&home, args);
        std::fs::set_permissions(&path, usual).expect("set back");
        let (exit, error) = refused.error();
        assert_eq!((exit, error["code"].as_str()), (4, Some(code)), "{name} {mode:o}: {error}");
    }
    // An index is never in the way.
    for (mode, name) in [(0o000, "index"), (0o500, "index"), (0o000, "index/sled/db")] {
        let path = home.path().join(name);
        let usual = std::fs::metadata(&path).expect(name).permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let (list, doctor) = (unprivileged(&home, &["list"]), unprivileged(&home, &["status"]));
        std::fs::set_permissions(&path, usual).expect("set back");
        assert_eq!(list.data()["packages"][0]["latest"], "1.0.0", "{name} {mode:o}: {}", list.stderr);
        assert_eq!(doctor.code, 0, "{}", doctor.stderr);
    }
    assert_eq!(home.json(["verify"])["ok"], true);
    home.json(get);
}

#[test]
fn status_tells_what_there_is_and_what_to_do_about_it() {
    let home = Home::new();
    let warns = |status: &serde_json::Value, word: &str| {
        let mut warnings = status["warnings"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        warnings.any(|warning| warning.contains(word))
    };
    let status = home.json(["status"]);
    assert_eq!((status["recovery"].as_str(), status["packages"]["own"].as_u64()), (Some("unsaved"), Some(0)));
    assert!(warns(&status, "syncra id recovery") && !warns(&status, "syncra up"));

    home.json(["new", "script", "door"]);
    assert!(home.run(["publish", "door", "--yes"]).stderr.contains("nobody can fetch it until a node runs"));
    home.json(["id", "recovery", "--forget", "--yes"]);
    let status = home.json(["status"]);
    assert_eq!((status["recovery"].as_str(), status["packages"]["own"].as_u64()), (Some("saved"), Some(1)));
    assert!(!warns(&status, "syncra id recovery") && warns(&status, "syncra up"));
    assert_eq!(status["identity"], home.json(["id"])["identity"]);

    let node = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let status = home.json(["status"]);
    assert_eq!(status["listen"], node.ready()["listen"]);
    assert!(!warns(&status, "syncra up") && warns(&status, "nobody is connected"));
    assert_eq!(node.stop().0, 0);
}
