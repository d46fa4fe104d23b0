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
