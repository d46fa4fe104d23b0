//! Several devices of one person, and the recovery key, without a network: packages are carried.

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

/// Writes everything that is known of `reference` at `from` into a file.
fn export(from: &Home, reference: &str, name: &str) -> String {
    let file = from.work().join(name);
    let file = file.to_str().expect("text").to_owned();
    from.json(["export", reference, "-o", &file]);
    file
}

fn secret_file(home: &Home, secret: &str) -> String {
    let file = home.work().join("recovery");
    std::fs::write(&file, secret).expect("written");
    file.to_str().expect("text").to_owned()
}

fn status_of(home: &Home, device: &str) -> String {
    let found = home.json(["devices"]);
    let devices = found["devices"].as_array().expect("a list").clone();
    let known = devices.into_iter().find(|known| known["device"] == device).expect("known");
    text(&known, "status").to_owned()
}

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

/// The story of a stolen machine: what it published before counts, what the thief publishes does not, also for those who
/// come later, and the person goes on elsewhere.
#[test]
fn a_lost_device_is_replaced_by_the_recovery_key_and_what_the_thief_signs_counts_for_nobody() {
    let stolen = Home::new();
    package(&stolen, "lamp", "1.0.0", "turn()");
    let first = publish(&stolen, "lamp");
    let exact = format!("syncra:{}", text(&first, "package_id"));
    let owner = text(&first, "ref").split('/').next().expect("an owner").to_owned();
    let thiefs_key = text(&stolen.json(["id"]), "device").to_owned();
    let secret = text(&stolen.json(["id", "recovery"]), "recovery").to_owned();
    let before = export(&stolen, &exact, "before.syncpack");

    let mut new = Home::new();
    new = new.with("SYNCRA_RECOVERY_FILE", secret_file(&stolen, &secret));
    let (exit, problem) = new.fails(["id", "recover", &owner, "--yes"]);
    assert_eq!((exit, text(&problem, "code")), (3, "E0300"), "nothing is known of it yet");
    assert!(text(&problem, "hint").contains("`syncra info"), "{problem}");
    new.json(["import", &before]);
    let would = new.json(["id", "recover", &owner, "--revoke", &thiefs_key, "--dry-run"]);
    assert_eq!((would["admitted"].as_bool(), would["dry_run"].as_bool()), (Some(true), Some(true)));
    assert_eq!(new.json(["devices"])["devices"].as_array().map(Vec::len), Some(1), "still its own");
    let done = new.json(["id", "recover", &owner, "--revoke", &thiefs_key, "--label", "desk", "--yes"]);
    assert_eq!(done["revoked"][0], *thiefs_key);
    assert_eq!(status_of(&new, &thiefs_key), "revoked");
    assert_eq!(new.json(["id"])["identity"], stolen.json(["id"])["identity"]);

    // The thief goes on, and has not heard of anything.
    package(&stolen, "lamp", "6.6.6", "steal()");
    publish(&stolen, "lamp");
    let thiefs = export(&stolen, &exact, "thiefs.syncpack");
    package(&new, "lamp", "1.1.0", "turn(2)");
    let second = publish(&new, "lamp");
    assert_eq!(second["package_id"], first["package_id"], "the same package, from another device");
    let mine = export(&new, &exact, "mine.syncpack");

    for order in [[&mine, &thiefs], [&thiefs, &mine]] {
        let reader = Home::new();
        for file in order {
            reader.json(["import", file]);
        }
        assert_eq!(code(&reader.fails(["get", &format!("{exact}@6.6.6"), "-o", "out"])), (5, "E0505"));
        for (version, text) in [("1.0.0", "turn()"), ("1.1.0", "turn(2)")] {
            let dir = format!("out-{version}");
            reader.json(["get", &format!("{exact}@{version}"), "-o", &dir]);
            assert_eq!(std::fs::read_to_string(reader.work().join(dir).join("src/main.syn")).expect("there"), text);
        }
    }
    // And the thief, once it hears.
    stolen.json(["import", &mine]);
    let status = stolen.run(["status"]).stdout;
    assert!(status.starts_with("REVOKED: ") && status.contains("syncra --home DIR pair"), "{status}");
    package(&stolen, "lamp", "6.6.7", "steal(2)");
    assert_eq!(code(&stolen.fails(["publish", "lamp", "--yes"])), (4, "E0409"));
}

#[test]
fn a_suspended_device_is_silent_until_the_recovery_key_says_otherwise() {
    let (desk, laptop, exact) = desk_and_recovered();
    desk.json(["import", &export(&laptop, &exact, "two.syncpack")]);
    assert_eq!(desk.json(["devices"])["devices"].as_array().map(Vec::len), Some(2));

    assert_eq!(desk.fails(["devices", "suspend", "phone", "--yes"]).0, 3);
    assert_eq!(desk.json(["devices", "suspend", "laptop", "--dry-run"])["already"], false);
    let laptops_key = text(&laptop.json(["id"]), "device").to_owned();
    let short = desk.json(["devices", "suspend", &laptops_key[..4], "--dry-run"]);
    assert_eq!(text(&short, "device"), laptops_key);
    assert_eq!(code(&desk.fails(["devices", "suspend", &laptops_key[..3], "--dry-run"])), (3, "E0300"));
    desk.json(["devices", "suspend", "laptop", "--yes"]);
    assert_eq!(status_of(&desk, &laptops_key), "suspended");
    assert_eq!(laptop.json(["status"])["device"], "active", "it has not heard of it");
    laptop.json(["import", &export(&desk, &exact, "three.syncpack")]);
    let status = laptop.run(["status"]).stdout;
    assert!(status.starts_with("SUSPENDED: ") && status.contains("`syncra id recover --lift`"), "{status}");
    assert!(laptop.run(["id"]).stdout.starts_with("SUSPENDED: "), "{}", laptop.run(["id"]).stdout);
    package(&laptop, "lamp", "1.1.0", "turn(2)");
    let (version, me) = (format!("{exact}@1.0.0"), text(&laptop.json(["id"]), "identity").to_owned());
    #[cfg(unix)]
    if crate::git::has_git("import git of a suspended device") {
        let repo = crate::git::Repo::new(&laptop, "lamp-in-git");
        repo.write("syncra.toml", std::fs::read(laptop.work().join("lamp/syncra.toml")).expect("written"));
        repo.commit("turn");
        let import = ["import", "git", repo.path(), "--yes"];
        assert_eq!(code(&laptop.fails(import)), (4, "E0409"));
    }
    for verb in [
        &["publish", "lamp", "--yes"][..],
        &["channel", &exact, "next", "1.0.0"],
        &["tag", &exact, "first", "1.0.0"],
        &["branch", &exact, "side", "1.0.0"],
        &["yank", &version, "--reason", "broken"],
        &["role", &exact, &me, "maintainer"],
    ] {
        assert_eq!(code(&laptop.fails(verb)), (4, "E0409"), "{verb:?}");
    }
    let node = laptop.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(code(&laptop.fails(["draft", "lamp", "--once"])), (4, "E0409"));
    assert_eq!(node.stop().0, 0);

    desk.json(["id", "recover", "--lift", "--yes"]);
    assert_eq!(status_of(&desk, &laptops_key), "active");
    laptop.json(["import", &export(&desk, &exact, "four.syncpack")]);
    assert!(laptop.json(["status"])["silenced"].is_null());
    publish(&laptop, "lamp");
}

/// A desk with the recovery secret and a package, and a laptop that came to the same person by it.
fn desk_and_recovered() -> (Home, Home, String) {
    let desk = Home::new();
    package(&desk, "lamp", "1.0.0", "turn()");
    let exact = format!("syncra:{}", text(&publish(&desk, "lamp"), "package_id"));
    let secret = text(&desk.json(["id", "recovery"]), "recovery").to_owned();
    let owner = text(&desk.json(["id"]), "ref_prefix").trim_end_matches('/').to_owned();
    let laptop = Home::new().with("SYNCRA_RECOVERY_FILE", secret_file(&desk, &secret));
    laptop.json(["import", &export(&desk, &exact, "to-laptop.syncpack")]);
    laptop.json(["id", "recover", &owner, "--label", "laptop", "--yes"]);
    (desk, laptop, exact)
}

/// A desk with the recovery secret, and a laptop of the same person that has published 6.6.6 and 6.6.7, known to both.
fn desk_and_laptop() -> (Home, Home, String) {
    let (desk, laptop, exact) = desk_and_recovered();
    for version in ["6.6.6", "6.6.7"] {
        package(&laptop, "lamp", version, version);
        publish(&laptop, "lamp");
    }
    desk.json(["import", &export(&laptop, &exact, "to-desk.syncpack")]);
    (desk, laptop, exact)
}

/// Exit and code of getting a version; none if it is there to be had.
fn refused(home: &Home, exact: &str, version: &str) -> Option<(i32, String)> {
    let (dir, wanted) = (format!("got-{version}"), format!("{exact}@{version}"));
    let output = home.run(["get", &wanted, "-o", &dir, "--json"]);
    if output.code == 0 {
        std::fs::remove_dir_all(home.work().join(&dir)).expect("it was written");
        return None;
    }
    let (exit, problem) = output.error();
    Some((exit, text(&problem, "code").to_owned()))
}

fn revoked() -> Option<(i32, String)> {
    Some((5, "E0505".to_owned()))
}

#[test]
fn a_revocation_leaves_what_an_earlier_cut_has_taken_away() {
    let (desk, _, exact) = desk_and_laptop();
    desk.json(["devices", "suspend", "laptop", "--before", &format!("{exact}@6.6.6"), "--yes"]);
    assert_eq!(refused(&desk, &exact, "6.6.6"), revoked());
    let stable = |home: &Home| home.json(["channel", &exact])["refs"][0]["places"][0]["version"].clone();
    assert_eq!(stable(&desk), "1.0.0");
    desk.json(["id", "recover", "--revoke", "laptop", "--yes"]);
    assert_eq!(refused(&desk, &exact, "6.6.6"), revoked(), "nobody said that it counts again");
    assert_eq!(stable(&desk), "1.0.0");
    desk.json(["id", "recover", "--revoke", "laptop", "--yes"]);
    assert_eq!(refused(&desk, &exact, "6.6.6"), revoked(), "nor by saying it twice");
    // Who names a later release says so.
    desk.json(["id", "recover", "--revoke", "laptop", "--before", &format!("{exact}@6.6.7"), "--yes"]);
    assert_eq!(refused(&desk, &exact, "6.6.6"), None);
    assert_eq!(refused(&desk, &exact, "6.6.7"), revoked());
}

#[test]
fn a_device_without_a_voice_is_cut_back_further() {
    let (desk, _, exact) = desk_and_laptop();
    let suspend = |version: &str| {
        let before = format!("{exact}@{version}");
        ["devices", "suspend", "laptop", "--before", &before, "--yes"].map(ToOwned::to_owned)
    };
    assert_eq!(code(&desk.fails(suspend("1.0.0"))), (2, "E0202"), "the laptop has not written it");
    desk.json(["devices", "suspend", "laptop", "--yes"]);
    assert_eq!(refused(&desk, &exact, "6.6.7"), None, "what it wrote so far stays");
    assert_eq!(desk.json(["devices", "suspend", "laptop", "--yes"])["already"], true);
    assert_eq!(desk.json(suspend("6.6.7"))["already"], false);
    assert_eq!((refused(&desk, &exact, "6.6.6"), refused(&desk, &exact, "6.6.7")), (None, revoked()));
    assert_eq!(desk.json(suspend("6.6.7"))["already"], true);
    desk.json(["id", "recover", "--revoke", "laptop", "--yes"]);
    let (exit, problem) = desk.fails(suspend("6.6.6"));
    assert_eq!((exit, text(&problem, "code")), (7, "E0700"));
    assert!(text(&problem, "hint").contains("--revoke DEVICE --before"), "{problem}");
    let before = format!("{exact}@1.0.0");
    let wrong = desk.fails(["id", "recover", "--revoke", "laptop", "--before", &before, "--yes"]);
    assert_eq!(code(&wrong), (2, "E0202"));
}

/// A secret that somebody writes down opens something.
#[test]
fn a_recovery_secret_is_shown_only_where_the_one_lies_that_the_identity_names() {
    let (desk, laptop, exact) = desk_and_laptop();
    let recovery = |home: &Home| text(&home.json(["id"]), "recovery").to_owned();
    assert_eq!((recovery(&desk).as_str(), recovery(&laptop).as_str()), ("unsaved", "elsewhere"));
    let (exit, problem) = laptop.fails(["id", "recovery"]);
    assert_eq!((exit, text(&problem, "code")), (3, "E0300"));
    assert!(text(&problem, "hint").contains("syncra id rotate"), "{problem}");
    assert_eq!(laptop.fails(["id", "recovery", "--forget", "--yes"]).0, 3);
    let warnings = laptop.json(["status"])["warnings"].to_string();
    assert!(!warnings.contains("recovery secret"), "{warnings}");
    let kept = std::fs::read_dir(laptop.path().join("identity")).expect("readable");
    let names: Vec<String> = kept.map(|file| file.expect("read").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("recovery-of-")), "put away, not deleted: {names:?}");
    // Without a file that is named it asks, and nobody is there.
    let laptop = laptop.with("SYNCRA_RECOVERY_FILE", String::new());
    assert_eq!(laptop.fails(["id", "rotate", "--yes"]).0, 2);
    assert_eq!(laptop.fails(["id", "recover", "--lift", "--yes"]).0, 2);

    let secret = text(&desk.json(["id", "recovery"]), "recovery").to_owned();
    let laptop = laptop.with("SYNCRA_RECOVERY_FILE", secret_file(&desk, &secret));
    laptop.json(["id", "rotate", "--yes"]);
    let newer = text(&laptop.json(["id", "recovery"]), "recovery").to_owned();
    assert!(newer != secret && recovery(&laptop) == "unsaved");
    desk.json(["import", &export(&laptop, &exact, "rotated.syncpack")]);
    assert_eq!(recovery(&desk), "elsewhere");
    assert_eq!(code(&desk.fails(["id", "recovery"])), (3, "E0300"));
    assert_eq!(desk.fails(["id", "rotate", "--yes"]).0, 2, "the file that lies here is not taken for it");
}

/// What a backup brings back of a device that joined is not enough to know that it may speak.
#[test]
fn a_restored_device_publishes_nothing_before_it_knows_that_it_may() {
    let (desk, laptop, exact) = desk_and_laptop();
    std::fs::write(laptop.work().join("phrase"), "a long passphrase\n").expect("written");
    let phrase = laptop.work().join("phrase").to_str().expect("text").to_owned();
    let laptop = laptop.with("SYNCRA_PASSPHRASE_FILE", phrase);
    laptop.json(["id", "backup", "me.backup"]);
    let in_new = |args: &[&str]| laptop.run(args.iter().copied().chain(["--home", "new-home", "--json"]));
    let _ = in_new(&["id", "restore", "me.backup", "--yes"]).data();
    let kept = std::fs::read_dir(laptop.work().join("new-home/identity")).expect("readable");
    let names: Vec<String> = kept.map(|file| file.expect("read").file_name().to_string_lossy().into_owned()).collect();
    assert!(
        names.iter().any(|name| name.starts_with("recovery-of-")),
        "what was set aside is in the backup: {names:?}"
    );

    package(&laptop, "torch", "1.0.0", "burn()");
    let refused = in_new(&["publish", "torch", "--yes"]).error();
    assert_eq!(code(&refused), (4, "E0409"));
    assert!(text(&refused.1, "hint").contains("restored from a backup"), "{}", refused.1);
    let status = in_new(&["status"]).data();
    assert_eq!(text(&status, "device"), "not_admitted");
    let file = export(&desk, &exact, "again.syncpack");
    let _ = in_new(&["import", &file]).data();
    assert_eq!(text(&in_new(&["status"]).data(), "device"), "active");
    assert_eq!(code(&in_new(&["publish", "torch", "--yes"]).error()), (4, "E0406"));
    let _ = in_new(&["id", "adopt", "--yes", "--offline"]).data();
    assert_eq!(in_new(&["publish", "torch", "--yes"]).data()["version"], "1.0.0");
}

/// Beside the newest release, which another device made and a backup has not, nothing is published by mistake.
#[test]
fn a_restored_device_publishes_nothing_beside_what_its_sibling_wrote() {
    let (desk, laptop, exact) = desk_and_laptop();
    package(&laptop, "lamp", "2.0.0", "turn(2)");
    publish(&laptop, "lamp");
    let newest = export(&laptop, &exact, "newest.syncpack");
    desk.json(["import", &newest]);
    std::fs::write(desk.work().join("phrase"), "a long passphrase\n").expect("written");
    let phrase = desk.work().join("phrase").to_str().expect("text").to_owned();
    let desk = desk.with("SYNCRA_PASSPHRASE_FILE", phrase);
    desk.json(["id", "backup", "me.backup"]);
    let in_new = |args: &[&str]| desk.run(args.iter().copied().chain(["--home", "new-home", "--json"]));
    let _ = in_new(&["id", "restore", "me.backup", "--yes"]).data();
    let _ = in_new(&["id", "adopt", "--yes", "--offline"]).data();

    package(&desk, "lamp", "2.1.0", "turn(3)");
    for verb in [&["publish", "lamp"][..], &["publish", "lamp", "--dry-run"]] {
        let refused = in_new(verb).error();
        assert!(code(&refused) == (6, "E0603") && text(&refused.1, "hint").contains("--incomplete"), "{}", refused.1);
    }
    assert_eq!(in_new(&["publish", "lamp", "--incomplete", "--dry-run"]).data()["version"], "2.1.0");
    let _ = in_new(&["import", &newest]).data();
    assert_eq!(in_new(&["publish", "lamp"]).data()["version"], "2.1.0");
    laptop.json(["import", &{
        let file = desk.work().join("after.syncpack").to_str().expect("text").to_owned();
        let _ = in_new(&["export", &exact, "-o", &file]).data();
        file
    }]);
    let channel = laptop.run(["channel", &exact]).stdout;
    assert!(channel.contains("2.1.0") && !channel.contains("diverged"), "{channel}");
}

#[test]
fn a_replaced_recovery_key_says_nothing_any_more() {
    let home = Home::new();
    let old = text(&home.json(["id", "recovery"]), "recovery").to_owned();
    assert_eq!(home.json(["id", "rotate", "--dry-run"])["rotated"], true);
    assert_eq!(text(&home.json(["id", "recovery"]), "recovery"), old, "a dry run replaces nothing");
    home.json(["id", "rotate", "--yes"]);
    let new = text(&home.json(["id", "recovery"]), "recovery").to_owned();
    assert_ne!(old, new);
    let file = secret_file(&home, &old);
    let home = home.with("SYNCRA_RECOVERY_FILE", file);
    assert_eq!(code(&home.fails(["id", "rotate", "--yes"])), (4, "E0400"));
    secret_file(&home, &new);
    home.json(["id", "rotate", "--yes"]);
    secret_file(&home, "not a secret");
    assert_eq!(code(&home.fails(["id", "rotate", "--yes"])), (2, "E0202"));
}

#[test]
fn what_is_no_device_is_refused() {
    let home = Home::new();
    let key = text(&home.json(["id"]), "device").to_owned();
    assert_eq!(code(&home.fails(["devices", "add", "nonsense", "--label", "x"])), (2, "E0202"));
    assert_eq!(code(&home.fails(["devices", "add", &key, "--label", "NOT A NAME"])).0, 2);
    assert_eq!(code(&home.fails(["devices", "add", &key, "--label", "x", "--role", "king"])), (2, "E0202"));
    assert_eq!(home.json(["devices", "add", &key, "--label", "x"])["already"], true);
    assert_eq!(code(&home.fails(["devices", "suspend", "abc", "--yes"])), (3, "E0300"));
}
