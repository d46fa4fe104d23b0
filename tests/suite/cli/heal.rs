//! A home that was copied and used in both places, and how its owner gets out of it.

use std::path::Path;

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
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

fn export(from: &Home, exact: &str, name: &str) -> String {
    let file = from.work().join(name).to_str().expect("text").to_owned();
    from.json(["export", exact, "-o", &file]);
    file
}

/// A desk with a package, and a laptop of the same person.
fn two_devices() -> (Home, Home, String) {
    let desk = Home::new();
    package(&desk, "lamp", "1.0.0", "turn()");
    let exact = format!("syncra:{}", text(&publish(&desk, "lamp"), "package_id"));
    let secret = desk.work().join("recovery");
    std::fs::write(&secret, text(&desk.json(["id", "recovery"]), "recovery")).expect("written");
    let owner = text(&desk.json(["id"]), "ref_prefix").trim_end_matches('/').to_owned();
    let laptop = Home::new().with("SYNCRA_RECOVERY_FILE", secret.to_str().expect("text").to_owned());
    laptop.json(["import", &export(&desk, &exact, "one.syncpack")]);
    laptop.json(["id", "recover", &owner, "--label", "laptop", "--yes"]);
    desk.json(["import", &export(&laptop, &exact, "two.syncpack")]);
    (desk, laptop, exact)
}

#[test]
fn a_home_that_was_copied_and_used_twice_is_healed_from_another_device() {
    let (desk, laptop, exact) = two_devices();
    assert_eq!(code(&laptop.fails(["heal", &exact, "--yes"])), (3, "E0300"), "nothing is forked");
    let twin = Home::new();
    copy(desk.path(), twin.path());
    twin.json(["id", "adopt", "--yes", "--offline"]);
    package(&desk, "lamp", "1.1.0", "turn(2)");
    publish(&desk, "lamp");
    package(&twin, "lamp", "1.2.0", "turn(3)");
    publish(&twin, "lamp");
    let (ours, theirs) = (export(&desk, &exact, "ours.syncpack"), export(&twin, &exact, "theirs.syncpack"));

    let (reader, other) = (Home::new(), Home::new());
    for home in [&laptop, &reader] {
        home.json(["import", &ours]);
        assert_eq!(code(&home.fails(["import", &theirs])), (5, "E0504"));
    }
    other.json(["import", &theirs]);
    let wanted = |version: &str| format!("{exact}@{version}");
    reader.json(["get", &wanted("1.0.0"), "-o", "before"]);
    let refused = reader.fails(["get", &wanted("1.1.0"), "-o", "out"]);
    assert!(code(&refused) == (5, "E0504") && text(&refused.1, "hint").contains("syncra heal"), "{}", refused.1);
    // The desk learns of it, and has no say.
    assert_eq!(code(&desk.fails(["import", &theirs])), (5, "E0504"));
    package(&desk, "lamp", "1.3.0", "turn(4)");
    let refused = desk.fails(["publish", "lamp", "--yes"]);
    assert!(code(&refused) == (5, "E0504") && text(&refused.1, "hint").contains("syncra heal"), "{}", refused.1);
    assert_eq!(code(&desk.fails(["heal", &exact, "--yes"])), (5, "E0504"));
    assert_eq!(code(&reader.fails(["heal", &exact, "--yes"])), (4, "E0410"));

    let would = laptop.json(["heal", &exact, "--dry-run"]);
    assert_eq!((&would["versions"], &would["in_effect"]), (&serde_json::json!(["1.1.0"]), &Value::Bool(false)));
    // A cut of the desk's voice would say the same; whoever says that hears it.
    let key = text(&desk.json(["id"]), "device").to_owned();
    for cut in [&["devices", "suspend", &key, "--dry-run"][..], &["id", "recover", "--revoke", &key, "--dry-run"]] {
        let would = laptop.json(cut);
        assert_eq!(would["goes_on"][0]["version"], "1.1.0", "{would}");
        let told = laptop.run(cut).stderr;
        assert!(told.contains("two histories of") && told.contains("--before"), "{told}");
    }
    assert_eq!(code(&laptop.fails(["heal", &exact])), (2, "E0204"));
    assert_eq!(code(&laptop.fails(["get", &wanted("1.1.0"), "-o", "out"])), (5, "E0504"), "nothing was said yet");
    assert_eq!(laptop.json(["heal", &exact, "--yes"])["in_effect"], true);
    assert_eq!(laptop.json(["heal", &exact, "--yes"])["already"], true);
    laptop.json(["get", &wanted("1.1.0"), "-o", "out"]);
    laptop.json(["verify"]);
    assert!(laptop.json(["log", &exact]).to_string().contains("fork-resolve"));

    // Everybody goes on; who held the other history has what both have, and what comes now.
    package(&laptop, "lamp", "1.3.0", "turn(4)");
    publish(&laptop, "lamp");
    let news = export(&laptop, &exact, "news.syncpack");
    reader.json(["import", &news]);
    assert_eq!(code(&other.fails(["import", &news])), (5, "E0504"), "it hears of the other history");
    other.json(["import", &news]);
    for (home, version, is_there) in [
        (&reader, "1.0.0", true),
        (&reader, "1.1.0", true),
        (&reader, "1.3.0", true),
        (&other, "1.0.0", true),
        (&other, "1.2.0", false),
        (&other, "1.3.0", true),
    ] {
        let got = home.run(["get", &wanted(version), "-o", &format!("out-{version}")]);
        assert_eq!(got.code == 0, is_there, "{version}: {}", got.stderr);
    }
    // What is only in the history that goes on it gets by a home beside, which begins with that one.
    assert_eq!(code(&other.fails(["get", &wanted("1.1.0"), "-o", "out-1.1.0"])), (3, "E0305"));
    let aside = Home::new();
    aside.json(["import", &export(&laptop, &wanted("1.1.0"), "old.syncpack")]);
    aside.json(["get", &wanted("1.1.0"), "-o", "out"]);
    assert_eq!(code(&aside.fails(["get", &wanted("1.2.0"), "-o", "other"])), (3, "E0305"));

    // Whoever healed it builds on what goes on: the channel is at one place, for all.
    for home in [&laptop, &reader, &other] {
        let channel = home.run(["channel", &exact]).stdout;
        assert!(channel.contains("1.3.0") && !channel.contains("diverged"), "{channel}");
    }
}

/// A name is an entry about the person: two homes that give names have two histories of that. A file about a package that is new
/// here brings the other one of a fork that is known here: that stays out, and the package comes.
#[test]
fn a_file_with_the_other_history_of_a_known_fork_is_taken_in_but_for_that() {
    let (desk, _, exact) = two_devices();
    let twin = Home::new();
    copy(desk.path(), twin.path());
    twin.json(["id", "adopt", "--yes", "--offline"]);
    package(&desk, "door", "1.0.0", "open()");
    publish(&desk, "door");
    package(&twin, "key", "1.0.0", "turn()");
    let key = format!("syncra:{}", text(&publish(&twin, "key"), "package_id"));
    let reader = Home::new();
    reader.json(["import", &export(&desk, &exact, "ours.syncpack")]);
    let theirs = export(&twin, &exact, "theirs.syncpack");
    assert_eq!(code(&reader.fails(["import", &theirs])), (5, "E0504"), "it hears of the other history");

    let about_key = export(&twin, &key, "key.syncpack");
    let would = reader.json(["import", &about_key, "--dry-run"]);
    let done = reader.json(["import", &about_key]);
    assert_eq!(would["left_out"], done["left_out"]);
    assert_eq!(done["left_out"].as_array().map(Vec::len), Some(1), "{done}");
    assert!(done["left_out"][0].as_str().is_some_and(|log| log.starts_with("syncra/id/")), "{done}");
    assert!(done["packages"][0]["ref"].is_string() && done["entries"].as_u64() > Some(0), "{done}");
    assert!(reader.json(["info", &key])["logs"].is_array());
    let told = reader.run(["import", &about_key]).stdout;
    assert!(told.contains("left as it is here: syncra/id/"), "{told}");
    // What is here stays.
    reader.json(["get", &format!("{exact}@1.0.0"), "-o", "lamp"]);
    assert!(reader.json(["import", &theirs])["left_out"].is_array());
}

fn said(home: &Home, exact: &str) -> (String, String) {
    let fork = home.json(["info", exact])["forks"][0].clone();
    (text(&fork, "state").to_owned(), fork["next"].as_str().unwrap_or_default().to_owned())
}

fn listed(home: &Home) -> Value {
    home.json(["list"])["packages"][0]["latest"].clone()
}

/// Whoever looks at a fork is told what became of it, and what there is to do for whom: the one whose key it is, another device
/// of the same person, a reader.
#[test]
fn what_became_of_a_fork_is_told_and_what_to_do() {
    let (desk, laptop, exact) = two_devices();
    let twin = Home::new();
    copy(desk.path(), twin.path());
    let warned = twin.run(["list"]).stderr;
    assert!(warned.contains("warning: this home was copied") && warned.contains("`syncra id adopt`"), "{warned}");
    assert!(warned.lines().count() == 1 && !warned.contains("WARN"), "{warned}");
    twin.json(["id", "adopt", "--yes", "--offline"]);
    assert_eq!(twin.run(["list"]).stderr, "");
    package(&desk, "lamp", "1.1.0", "turn(2)");
    publish(&desk, "lamp");
    package(&twin, "lamp", "1.2.0", "turn(3)");
    publish(&twin, "lamp");
    let (ours, theirs) = (export(&desk, &exact, "ours.syncpack"), export(&twin, &exact, "theirs.syncpack"));
    let reader = Home::new();
    for home in [&laptop, &reader] {
        home.json(["import", &ours]);
        assert_eq!(listed(home), "1.1.0");
    }
    reader.json(["add", &exact, "--yes"]);
    for home in [&laptop, &reader, &desk] {
        assert_eq!(code(&home.fails(["import", &theirs])), (5, "E0504"));
        assert_eq!(listed(home), "1.0.0", "as info has it");
    }
    // What a stick teaches about a fork is said.
    let (other, late) = (Home::new(), Home::new());
    assert_eq!(other.json(["import", &theirs])["forks"], Value::Null);
    late.json(["import", &ours]);
    let proof = laptop.work().join("lamp.fork").to_str().expect("text").to_owned();
    laptop.json(["info", &exact, "--fork-proof", &proof]);
    late.json(["import", &proof]);
    let (taught, unknown) = (export(&laptop, &exact, "taught.syncpack"), "where they part is not known here");
    assert!(late.run(["info", &exact]).stdout.contains(unknown));
    let would = late.json(["import", &taught, "--dry-run"]);
    let n_common = would["forks"][0]["n_common"].as_u64().unwrap_or_else(|| panic!("{would}"));
    assert_eq!(late.json(["list"])["packages"][0]["latest"], Value::Null);
    let took = late.run(["import", &taught]).stdout;
    assert!(took.contains("FORKED: ") && took.contains(&format!("the first {n_common} entries are in both")), "{took}");
    assert_eq!(listed(&late), "1.0.0");
    assert_eq!(late.json(["import", &taught])["forks"], Value::Null, "known already");

    let key = text(&desk.json(["id"]), "device").to_owned();
    for (home, next) in [
        (&laptop, vec![format!("`syncra heal @"), "says that it goes on".to_owned()]),
        (&desk, vec!["has no say".to_owned(), format!("--revoke {}", &key[..12])]),
        (&reader, vec!["its owner says".to_owned(), "--fork-proof FILE".to_owned()]),
    ] {
        let (state, told) = said(home, &exact);
        assert!(state == "open" && next.iter().all(|part| told.contains(part)), "{state} {told}");
        let (shown, status) = (home.run(["info", &exact]).stdout, home.json(["status"])["warnings"].to_string());
        assert!(shown.contains("FORKED:    ") && shown.contains(&told), "{shown}");
        assert!(status.contains("two histories") && status.contains(&told.replace('"', "\\\"")), "{status}");
        let verified = home.run(["verify"]);
        assert!(verified.code == 5 && verified.stderr.contains(&told), "{}", verified.stderr);
        let doctor = home.run(["doctor", "--offline"]).stdout;
        assert!(doctor.contains(&told) && !doctor.contains("publish the same files"), "{doctor}");
    }
    let outdated = reader.run(["outdated"]).stderr;
    assert!(outdated.contains("would stay as it is") && outdated.contains("would change nothing"), "{outdated}");
    assert!(!outdated.contains("as new as"), "{outdated}");

    laptop.json(["heal", &exact, "--yes"]);
    reader.json(["import", &export(&laptop, &exact, "healed.syncpack")]);
    for home in [&laptop, &reader] {
        assert_eq!((said(home, &exact).0.as_str(), listed(home)), ("healed", "1.1.0".into()));
        assert_eq!(home.json(["verify"])["ok"], true);
    }
    let shown = reader.run(["info", &exact]).stdout;
    assert!(shown.contains("healed: the device `laptop` of @"), "{shown}");
    for home in [&laptop, &reader] {
        assert_eq!(said(home, &exact).1, "", "nothing is left to do");
        assert!(!home.json(["status"])["warnings"].to_string().contains("two histories"));
    }
    assert_eq!(code(&other.fails(["import", &export(&laptop, &exact, "again.syncpack")])), (5, "E0504"));

    laptop.json(["devices", "suspend", &key[..12], "--yes"]);
    let news = export(&laptop, &exact, "suspended.syncpack");
    reader.json(["import", &news]);
    for home in [&laptop, &reader] {
        assert_eq!(said(home, &exact), ("cut".to_owned(), String::new()));
        let shown = home.run(["info", &exact]).stdout;
        let by = if home.path() == laptop.path() { "this device" } else { "the device `laptop` of @" };
        assert!(shown.contains(&format!("its device was suspended by {by}")), "{shown}");
        assert_eq!(home.json(["verify"])["ok"], true);
    }
    desk.json(["import", &news]);
    let (state, next) = said(&desk, &exact);
    assert!(state == "cut" && next.contains("`syncra pair`"), "{state} {next}");
}

/// A version that only one of two histories has is a name of its release all the same, and of several each has one.
#[test]
fn a_cut_takes_the_names_of_versions_that_info_shows() {
    let (desk, laptop, exact) = two_devices();
    let twin = Home::new();
    copy(desk.path(), twin.path());
    twin.json(["id", "adopt", "--yes", "--offline"]);
    package(&desk, "lamp", "1.1.0", "turn(2)");
    let theirs = publish(&desk, "lamp");
    // Of two devices that have not seen each other's.
    package(&desk, "lamp", "2.0.0", "turn(3)");
    let one = text(&publish(&desk, "lamp"), "release_id").to_owned();
    package(&laptop, "lamp", "2.0.0", "turn(4)");
    let two = text(&publish(&laptop, "lamp"), "release_id").to_owned();
    laptop.json(["import", &export(&desk, &exact, "ours.syncpack")]);
    let (desks, laptops) =
        (text(&desk.json(["id"]), "device").to_owned(), text(&laptop.json(["id"]), "device").to_owned());
    let before = |version: &str| format!("{exact}@{version}");
    let both = ["id", "recover", "--revoke", &desks, "--revoke", &laptops, "--dry-run", "--before"];
    let refused = laptop.fails([&both[..], &[&before("2.0.0")]].concat());
    assert_eq!(code(&refused), (7, "E0706"), "{}", refused.1);
    let causes = refused.1["causes"].to_string();
    for id in [&one, &two] {
        assert!(causes.contains(&format!("@r:{id}")), "{causes}");
    }
    for cause in refused.1["causes"].as_array().expect("a list") {
        laptop.json([&both[..], &[cause.as_str().expect("text")]].concat());
    }
    let suspend =
        |version: &str| laptop.json(["devices", "suspend", &desks, "--dry-run", "--before", &before(version)]);
    assert_eq!(suspend("2.0.0")["device"], desks.as_str(), "the one of that device");

    package(&twin, "lamp", "1.2.0", "turn(5)");
    publish(&twin, "lamp");
    assert_eq!(code(&laptop.fails(["import", &export(&twin, &exact, "theirs.syncpack")])), (5, "E0504"));
    let info = laptop.json(["info", &exact]);
    let forked = info["releases"].as_array().expect("a list").iter().find(|known| known["version"] == "1.1.0");
    assert_eq!(forked.map(|known| text(known, "state")), Some("forked"), "{info}");
    suspend("1.1.0");
    suspend(&format!("r:{}", text(&theirs, "release_id")));
    laptop.json(["devices", "suspend", &desks, "--yes", "--before", &before("1.1.0")]);
    let refused = laptop.fails(["get", &before("1.1.0"), "-o", "out"]);
    assert_eq!(code(&refused), (5, "E0505"), "{}", refused.1);
}
