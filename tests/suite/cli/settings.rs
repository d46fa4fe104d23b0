//! Tokens and settings, with and without a node.

use syncra_tests::Home;

#[test]
fn tokens_are_made_listed_and_revoked() {
    let home = Home::new();
    let made = home.json(["token", "create", "--name", "ci", "--scope", "read", "--scope", "publish"]);
    let id = made["token"]["id"].as_str().expect("an id").to_owned();
    assert!(made["secret"].as_str().is_some_and(|secret| secret.len() > 50));
    // For scripts without --json the secret alone is on stdout.
    let plain = home.run(["token", "create", "--scope", "read"]);
    assert!(plain.stdout.starts_with("syncra_") && plain.stdout.lines().count() == 1, "{}", plain.stdout);
    let list = home.json(["token", "list"]);
    assert_eq!(list["tokens"].as_array().map(Vec::len), Some(2));
    assert!(!list.to_string().contains("syncra_"));
    assert_eq!(home.json(["token", "revoke", &id, "--dry-run"])["dry_run"], true);
    home.json(["token", "revoke", &id]);
    let (exit, error) = home.fails(["token", "revoke", &id]);
    assert_eq!((exit, error["code"].as_str()), (3, Some("E0303")));
    assert_eq!(home.json(["token", "list"])["tokens"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_dry_run_changes_nothing() {
    let home = Home::new();
    let made = home.json(["token", "create", "--scope", "admin", "--dry-run"]);
    assert!(made.get("secret").is_none());
    home.json(["config", "set", "limits.peers", "7", "--dry-run"]);
    assert_eq!(home.json(["token", "list"])["tokens"].as_array().map(Vec::len), Some(0));
    assert_ne!(home.json(["config", "get", "limits.peers"])["value"], "7");
}

#[test]
fn settings_are_set_strictly_and_reset() {
    let home = Home::new();
    let before = home.json(["config", "get", "limits.peers"])["value"].clone();
    let changed = home.json(["config", "set", "limits.peers", "64"]);
    assert_eq!(
        (&changed["old"], changed["new"].as_str(), changed["needs_restart"].as_bool()),
        (&before, Some("64"), Some(false))
    );
    home.json(["config", "set", "profile", "lan"]);
    assert_eq!(home.run(["config", "get", "profile"]).stdout, "lan\n");
    assert_eq!(home.json(["config", "set", "limits.peers"])["new"], before);
    for (key, value, exit, code) in [
        ("limits.pears", "1", 2, "E0203"),
        ("limits", "1", 2, "E0202"),
        ("limits.peers", "none", 2, "E0202"),
        ("limits.peers", "0", 2, "E0202"),
        ("limits.peers", "-1", 2, "E0202"),
        ("profile", "server", 2, "E0202"),
        ("profile.x", "1", 2, "E0202"),
        ("api.listen", "0.0.0.0:80", 2, "E0202"),
        ("", "1", 2, "E0203"),
    ] {
        let (found, error) = home.fails(["config", "set", key, value]);
        assert_eq!((found, error["code"].as_str()), (exit, Some(code)), "{key}={value}: {error}");
    }
    assert_eq!(home.fails(["config", "get", "limits.pears"]).0, 2);
    assert!(home.json(["config", "list"])["settings"].as_object().is_some_and(|all| all.contains_key("api.listen")));
}

#[test]
fn a_changed_setting_leaves_the_comments_alone() {
    let home = Home::new();
    home.json(["status"]);
    let file = home.path().join("config.toml");
    let text = "# my node\nlog = \"warn\" # quiet\n\n[limits]\npeers = 7\n";
    std::fs::write(&file, text).expect("written");
    home.json(["config", "set", "limits.peers", "9"]);
    assert_eq!(std::fs::read_to_string(&file).expect("readable"), text.replace('7', "9"));
    let (exit, error) = home.fails(["config", "set", "log", "loud"]);
    assert_eq!((exit, error["code"].as_str()), (2, Some("E0202")));
    assert_eq!(std::fs::read_to_string(&file).expect("readable"), text.replace('7', "9"), "refused: nothing changed");
}

#[test]
fn a_running_node_takes_settings_and_opens_the_doors_they_name() {
    let home = Home::new();
    home.json(["config", "set", "api.listen", "127.0.0.1:0"]);
    let node = home.up([""; 0]);
    assert!(node.ready()["api"]["tcp"].is_string());
    let changed = home.json(["config", "set", "limits.peers", "9"]);
    assert_eq!(changed["needs_restart"], true);
}

#[test]
fn settings_that_cannot_be_read_stop_the_start() {
    let home = Home::new();
    home.json(["status"]);
    std::fs::write(home.path().join("config.toml"), "profil = \"lan\"\n").expect("written");
    let (exit, error) = home.fails(["up"]);
    assert_eq!((exit, error["code"].as_str()), (2, Some("E0203")));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("`profile`")), "{error}");
}

/// Whoever asks for more than the list can say is told at once, not by an install that is refused later.
#[test]
fn a_policy_that_no_list_meets_is_warned_about() {
    const KEY: &str = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";
    let home = Home::new();
    let is_warned = |args: &[&str]| {
        let said = home.run(args);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let is_warned = said.stderr.contains("warning: ") && said.stderr.contains("`syncra witness add WITNESS`");
        assert_eq!(is_warned, said.stderr.contains("can be installed"), "{}", said.stderr);
        is_warned
    };
    assert!(is_warned(&["config", "set", "policy.min_witnesses", "2", "--dry-run"]));
    assert!(is_warned(&["config", "set", "policy.min_witnesses", "2"]));
    assert!(is_warned(&["witness", "list"]));
    assert!(is_warned(&["witness", "add", KEY]), "one of two");
    assert!(!is_warned(&["config", "set", "limits.peers", "7"]), "that has nothing to do with it");
    assert!(!is_warned(&["config", "set", "policy.min_witnesses", "1"]));
    assert!(!is_warned(&["config", "set", "policy.min_witnessed_hours", "2"]));
    assert!(is_warned(&["witness", "remove", KEY]));
    assert!(is_warned(&["config", "set", "policy.min_witnesses"]), "the hours alone need somebody, too");
    assert!(!is_warned(&["config", "set", "policy.min_witnessed_hours"]));
    let warned = home.json(["config", "set", "policy.min_witnessed_hours", "2"]);
    assert_eq!(warned["warnings"].as_array().map(Vec::len), Some(1), "a time needs somebody to say it: {warned}");
}

/// Without any witness to wait for it does not help to try again.
#[test]
fn who_has_no_witnesses_is_told_how_to_have_some() {
    let (author, home) = (Home::new(), Home::new());
    crate::releases::package(&author, "lamp", "1.0.0", "turn()");
    let published = crate::releases::publish(&author, "lamp");
    let exact = format!("syncra:{}", published["package_id"].as_str().expect("an id"));
    author.json(["export", &exact, "-o", "lamp.syncpack"]);
    home.json(["import", author.work().join("lamp.syncpack").to_str().expect("text")]);
    for (key, value) in [("policy.min_witnesses", "1"), ("policy.min_witnessed_hours", "24")] {
        home.json(["config", "set", key, value]);
        let (exit, error) = home.fails(["add", &exact, "--yes", "--offline"]);
        assert_eq!((exit, error["code"].as_str()), (8, Some("E0803")));
        let said = error.to_string();
        assert!(said.contains("no witness is on your list") && said.contains("`syncra witness add WITNESS`"), "{said}");
        assert!(said.contains("`syncra config set policy.min_witnesses`") && !said.contains("try again"), "{said}");
        home.json(["config", "set", key]);
    }
    home.json(["add", &exact, "--yes", "--offline"]);
}

/// What is shown is judged by the settings that count, also when they were changed by hand a moment ago.
#[test]
fn info_is_worked_out_with_the_policy_in_force() {
    let home = Home::new();
    crate::releases::package(&home, "lamp", "1.0.0", "turn()");
    let package = crate::releases::publish(&home, "lamp")["ref"].as_str().expect("a reference").to_owned();
    let node = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let file = home.path().join("config.toml");
    for needed in 2..6 {
        std::fs::write(&file, format!("[policy]\nmin_witnesses = {needed}\n")).expect("written");
        assert_eq!(home.json(["info", &package])["witnessed"]["needed"], needed);
        let shown = home.run(["info", &package]).stdout;
        assert!(shown.contains(&format!("witnessed by 0 of 0, {needed} are needed")), "{shown}");
    }
    drop(node);
}
