//! Several people in one package, without a network: histories are carried.

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

/// Carries all that `from` knows of a package.
fn carry(from: &Home, to: &[&Home], exact: &str) {
    let file = from.work().join("carried.syncpack");
    drop(std::fs::remove_file(&file));
    let file = file.to_str().expect("text");
    from.json(["export", exact, "-o", file]);
    for home in to {
        home.json(["import", file]);
    }
}

fn code(failure: &(i32, Value)) -> (i32, &str) {
    (failure.0, text(&failure.1, "code"))
}

fn identity(home: &Home) -> String {
    text(&home.json(["id"]), "identity").to_owned()
}

/// A package of somebody, known by its id.
fn begun() -> (Home, String) {
    let alice = Home::new();
    package(&alice, "lamp", "1.0.0", "turn()");
    let exact = format!("syncra:{}", text(&publish(&alice, "lamp"), "package_id"));
    (alice, exact)
}

/// Checks out what `stable` points to and changes it to another version.
fn work_on(home: &Home, exact: &str, version: &str) -> String {
    let mut dir = format!("co-{version}");
    while home.work().join(&dir).exists() {
        dir.push('x');
    }
    home.json(["checkout", exact, &dir]);
    let manifest = format!("[package]\nname = \"lamp\"\nversion = \"{version}\"\nkind = \"script\"\n");
    std::fs::write(home.work().join(&dir).join("syncra.toml"), manifest).expect("written");
    std::fs::write(home.work().join(&dir).join("src/main.syn"), version).expect("written");
    dir
}

/// Publishes another version of a package, one's own or not.
fn publish_to(home: &Home, exact: &str, version: &str, more: &[&str]) -> Value {
    let dir = work_on(home, exact, version);
    home.json([&["publish", &dir, "--yes"], more].concat())
}

/// Tries the same.
fn publish_fails(home: &Home, exact: &str, version: &str, more: &[&str]) -> (i32, Value) {
    let dir = work_on(home, exact, version);
    home.fails([&["publish", &dir, "--yes"], more].concat())
}

fn role_of(home: &Home, exact: &str, who: &str) -> Option<String> {
    let found = home.json(["role", exact]);
    let roles = found["roles"].as_array().expect("a list").clone();
    roles.iter().find(|known| known["identity"] == who).map(|known| text(known, "role").to_owned())
}

fn versions(home: &Home, exact: &str) -> Vec<String> {
    let info = home.json(["info", exact]);
    info["releases"].as_array().expect("a list").iter().map(|known| text(known, "version").to_owned()).collect()
}

/// The story of somebody who is named, goes on after being removed, and whom nobody believes then.
#[test]
fn a_maintainer_publishes_from_when_named_until_removed() {
    let (alice, exact) = begun();
    let bob = Home::new();
    carry(&alice, &[&bob], &exact);
    let refused = publish_fails(&bob, &exact, "1.1.0", &[]);
    assert_eq!(code(&refused), (4, "E0407"));
    assert!(text(&refused.1, "hint").contains("syncra role"), "it says what to ask for: {}", refused.1);
    assert_eq!(code(&bob.fails(["channel", &exact, "stable", "1.0.0"])), (4, "E0407"));
    assert_eq!(code(&bob.fails(["role", &exact, "me", "maintainer"])), (4, "E0410"));

    let would = alice.json(["role", &exact, &identity(&bob), "maintainer", "--dry-run"]);
    assert_eq!((&would["dry_run"], &would["change"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(role_of(&alice, &exact, &identity(&bob)), None);
    let named = alice.json(["role", &exact, &identity(&bob), "maintainer"]);
    assert_eq!((&named["in_effect"], &named["already"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(alice.json(["role", &exact, &identity(&bob), "maintainer"])["already"], true);
    carry(&alice, &[&bob], &exact);
    let done = publish_to(&bob, &exact, "1.1.0", &[]);
    assert_eq!(text(&done, "package_id"), exact.trim_start_matches("syncra:"));
    carry(&bob, &[&alice], &exact);
    assert_eq!(versions(&alice, &exact), ["1.1.0", "1.0.0"]);
    let info = alice.json(["info", &exact]);
    assert_eq!((info["owners"].as_array().map(Vec::len), info["roles"].as_array().map(Vec::len)), (Some(1), Some(2)));

    alice.json(["role", &exact, &identity(&bob), "none", "--yes"]);
    publish_to(&bob, &exact, "6.6.6", &[]);
    let (first, second) = (Home::new(), Home::new());
    for (reader, order) in [(&first, [&alice, &bob]), (&second, [&bob, &alice])] {
        order.into_iter().for_each(|from| carry(from, &[reader], &exact));
        assert_eq!(code(&reader.fails(["get", &format!("{exact}@6.6.6"), "-o", "out"])), (5, "E0505"));
        reader.json(["get", &format!("{exact}@1.1.0"), "-o", "out"]);
    }
    carry(&alice, &[&bob], &exact);
    assert_eq!(code(&publish_fails(&bob, &exact, "6.6.7", &[])), (4, "E0407"));
}

/// What somebody published who turned out to be a thief is taken back.
#[test]
fn a_removal_takes_back_from_a_release_on() {
    let (alice, exact) = begun();
    let bob = Home::new();
    carry(&alice, &[&bob], &exact);
    alice.json(["role", &exact, &identity(&bob), "maintainer"]);
    carry(&alice, &[&bob], &exact);
    publish_to(&bob, &exact, "1.1.0", &[]);
    publish_to(&bob, &exact, "6.6.6", &[]);
    carry(&bob, &[&alice], &exact);
    let bad = format!("{exact}@6.6.6");
    alice.json(["role", &exact, &identity(&bob), "none", "--before", &bad, "--yes"]);
    assert_eq!(code(&alice.fails(["get", &bad, "-o", "out"])), (5, "E0505"));
    alice.json(["get", &format!("{exact}@1.1.0"), "-o", "out"]);
}

/// What takes nothing back says so, and how it is done.
#[test]
fn what_somebody_without_a_role_published_is_taken_back_by_a_role_that_it_loses() {
    let (alice, exact) = begun();
    let bob = Home::new();
    let id = identity(&bob);
    carry(&alice, &[&bob], &exact);
    alice.json(["role", &exact, &id, "maintainer"]);
    carry(&alice, &[&bob], &exact);
    publish_to(&bob, &exact, "6.6.7", &[]);
    carry(&bob, &[&alice], &exact);
    let (own, bad) = (format!("{exact}@1.0.0"), format!("{exact}@6.6.7"));
    assert_eq!(code(&alice.fails(["role", &exact, &id, "none", "--before", &own, "--yes"])), (2, "E0202"));
    assert_eq!(role_of(&alice, &exact, &id).as_deref(), Some("maintainer"), "nothing was done by half");
    alice.json(["role", &exact, &id, "none", "--yes"]);
    let (exit, problem) = alice.fails(["role", &exact, &id, "none", "--before", &bad, "--yes"]);
    assert_eq!((exit, text(&problem, "code")), (7, "E0700"));
    assert!(text(&problem, "hint").contains("contributor"), "it says how: {problem}");
    alice.json(["role", &exact, &id, "contributor"]);
    alice.json(["role", &exact, &id, "none", "--before", &bad, "--yes"]);
    assert_eq!(code(&alice.fails(["get", &bad, "-o", "out"])), (5, "E0505"));
    assert_eq!(alice.json(["role", &exact, &id, "none", "--before", &bad, "--yes"])["already"], true);
}

/// Changes of rights follow one another: what waited for the place that another took says so.
#[test]
fn a_change_that_takes_effect_ends_those_that_waited_and_says_which() {
    let (alice, exact) = begun();
    let (bob, carol) = (Home::new(), Home::new());
    let (b, c) = (identity(&bob), identity(&carol));
    carry(&alice, &[&bob, &carol], &exact);
    let offer = text(&alice.json(["role", &exact, &b, "owner"]), "change").to_owned();
    carry(&alice, &[&bob], &exact);
    let would = alice.json(["role", &exact, &c, "maintainer", "--dry-run"]);
    assert_eq!(would["lapses"][0]["change"], *offer);
    let other = alice.json(["role", &exact, &c, "maintainer"]);
    assert_eq!((&other["in_effect"], &other["lapses"][0]["change"]), (&Value::Bool(true), &Value::from(&offer[..])));
    assert_eq!(alice.json(["role", &exact])["open"].as_array().map(Vec::len), Some(0));
    carry(&alice, &[&bob], &exact);
    let (exit, problem) = bob.fails(["endorse", &exact, &offer[..12]]);
    assert_eq!((exit, text(&problem, "code")), (7, "E0700"));
    assert!(text(&problem, "message").contains(text(&other, "change")), "it says by what: {problem}");
    assert!(text(&problem, "hint").contains("propose it again"), "{problem}");
    assert_eq!(alice.json(["endorse", &exact, text(&other, "change")])["in_effect"], true, "that one is in effect");

    // An offer is taken back by saying that it shall not be.
    let offer = text(&alice.json(["role", &exact, &b, "owner"]), "change").to_owned();
    let back = alice.json(["role", &exact, &b, "none", "--yes"]);
    assert_eq!((&back["already"], &back["in_effect"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!(back["lapses"][0]["change"], *offer);
    assert_eq!(alice.json(["role", &exact])["open"].as_array().map(Vec::len), Some(0));
    assert_eq!(alice.json(["role", &exact, &b, "none", "--yes"])["already"], true);

    let offer = text(&alice.json(["role", &exact, &b, "owner"]), "change").to_owned();
    carry(&alice, &[&bob], &exact);
    assert_eq!(bob.fails(["endorse", &exact, &offer[..3]]).0, 3);
    assert_eq!(bob.json(["endorse", &exact, &offer[..4]])["in_effect"], true);
}

#[test]
fn a_contributor_publishes_onto_branches() {
    let (alice, exact) = begun();
    let bob = Home::new();
    carry(&alice, &[&bob], &exact);
    alice.json(["role", &exact, &identity(&bob), "contributor"]);
    carry(&alice, &[&bob], &exact);
    let refused = publish_fails(&bob, &exact, "1.1.0", &[]);
    assert_eq!(code(&refused), (4, "E0407"));
    assert!(text(&refused.1, "hint").contains("--branch"), "{}", refused.1);
    let done = publish_to(&bob, &exact, "1.1.0", &["--branch", "work/fins"]);
    let by_id = format!("@r:{}", text(&done, "release_id"));
    assert!(text(&done, "ref").ends_with(&by_id), "what it prints gets it: {done}");
    assert_eq!(publish_to(&bob, &exact, "1.1.0", &["--branch", "work/fins"])["already"], true);
    assert_eq!(code(&bob.fails(["yank", &format!("{exact}@1.0.0"), "--reason", "no"])), (4, "E0407"));
    carry(&bob, &[&alice], &exact);
    assert_eq!(versions(&alice, &exact), ["1.0.0"], "it takes no version");
    // Where its version is shown it is said what gets it.
    let of = alice.json(["info", &exact])["contributed"][0].take();
    assert_eq!((text(&of, "version"), text(&of, "state")), ("1.1.0", "contributed"));
    assert_eq!(text(&of, "by"), text(&done, "ref"));
    assert!(alice.run(["info", &exact]).stdout.contains(&format!("is got as {}", text(&done, "ref"))));
    assert!(alice.run(["branch", &exact]).stdout.contains(&format!("1.1.0 (r:{})", text(&done, "release_id"))));
    assert_eq!(alice.fails(["get", &format!("{exact}@1.1.0"), "-o", "no"]).0, 3);
    alice.json(["get", text(&done, "ref"), "-o", "exactly"]);
    alice.json(["get", &format!("{exact}@work/fins"), "-o", "fins"]);
    let fins = std::fs::read_to_string(alice.work().join("fins/src/main.syn")).expect("there");
    assert_eq!(fins, "1.1.0");
    alice.json(["role", &exact, "--protect", "branch:work/fins"]);
    carry(&alice, &[&bob], &exact);
    assert_eq!(code(&publish_fails(&bob, &exact, "1.2.0", &["--branch", "work/fins"])), (4, "E0407"));
}

/// Two owners: each change, and each move of a protected channel, is said by one and agreed to by the other.
#[test]
fn owners_agree_each_in_its_own_time() {
    let (alice, exact) = begun();
    let bob = Home::new();
    carry(&alice, &[&bob], &exact);
    let invited = alice.json(["role", &exact, &identity(&bob), "owner"]);
    assert_eq!((&invited["in_effect"], &invited["needs"][0]["n_more"]), (&Value::Bool(false), &Value::from(1)));
    let change = text(&invited, "change").to_owned();
    assert_eq!(alice.json(["role", &exact, &identity(&bob), "owner"])["already"], true, "once is enough");
    assert_eq!(code(&alice.fails(["endorse", &exact, "nonsense"])), (3, "E0300"));
    assert_eq!(alice.json(["endorse", &exact, &change])["already"], true);
    carry(&alice, &[&bob], &exact);
    assert_eq!(bob.json(["role", &exact])["open"][0]["waits_for_you"], true);
    assert_eq!(bob.json(["endorse", &exact, &change[..12], "--dry-run"])["dry_run"], true);
    assert_eq!(bob.json(["endorse", &exact, &change[..12]])["in_effect"], true);
    carry(&bob, &[&alice], &exact);
    assert_eq!(role_of(&alice, &exact, &identity(&bob)).as_deref(), Some("owner"));
    // Who came to own it calls it as it was called.
    package(&bob, "lamp", "1.1.0", "ours");
    let done = bob.json(["publish", "lamp", "--yes"]);
    assert_eq!(text(&done, "package_id"), exact.trim_start_matches("syncra:"));
    carry(&bob, &[&alice], &exact);

    let protect = text(&alice.json(["role", &exact, "--protect", "channel:stable"]), "change").to_owned();
    carry(&alice, &[&bob], &exact);
    assert_eq!(bob.json(["endorse", &exact, &protect])["in_effect"], true);
    let moved = publish_to(&bob, &exact, "1.2.0", &[]);
    let waits = text(&moved, "waits").to_owned();
    let at = |home: &Home| home.json(["channel", &exact])["refs"][0]["places"][0]["version"].clone();
    assert_eq!(at(&bob), "1.1.0", "published, and the channel stays");
    carry(&bob, &[&alice], &exact);
    assert_eq!(alice.json(["endorse", &exact, &waits])["in_effect"], true);
    assert_eq!(at(&alice), "1.2.0");
    carry(&alice, &[&bob], &exact);
    assert_eq!(at(&bob), "1.2.0");

    // Nobody is put out by one alone, and who owns it alone does not leave it to nobody.
    let out = alice.json(["role", &exact, &identity(&bob), "none", "--yes"]);
    assert_eq!(out["in_effect"], false);
    assert_eq!(code(&alice.fails(["role", &exact, "--threshold", "1"])), (2, "E0202"));
    carry(&alice, &[&bob], &exact);
    let leaves = bob.json(["role", &exact, "me", "none", "--yes"]);
    assert_eq!(leaves["in_effect"], false);
    carry(&bob, &[&alice], &exact);
    assert_eq!(alice.json(["endorse", &exact, text(&leaves, "change")])["in_effect"], true);
    assert_eq!(code(&alice.fails(["role", &exact, "me", "none", "--yes"])), (7, "E0700"));
    assert_eq!(versions(&alice, &exact), ["1.2.0", "1.1.0", "1.0.0"], "who goes leaves everything behind");
}

#[test]
fn a_package_is_handed_on_when_the_other_agrees() {
    let (alice, exact) = begun();
    let bob = Home::new();
    carry(&alice, &[&bob], &exact);
    assert_eq!(code(&bob.fails(["transfer", &exact, &identity(&alice), "--yes"])), (4, "E0410"));
    let handed = alice.json(["transfer", &exact, &identity(&bob), "--yes"]);
    assert_eq!(handed["in_effect"], false);
    package(&alice, "lamp", "1.1.0", "still mine");
    publish(&alice, "lamp");
    carry(&alice, &[&bob], &exact);
    assert_eq!(bob.json(["endorse", &exact, text(&handed, "change")])["in_effect"], true);
    carry(&bob, &[&alice], &exact);
    package(&alice, "lamp", "1.2.0", "not mine any more");
    assert_eq!(code(&alice.fails(["publish", "lamp", "--yes"])), (4, "E0407"));
    publish_to(&bob, &exact, "1.2.0", &[]);
    assert_eq!(versions(&bob, &exact), ["1.2.0", "1.1.0", "1.0.0"]);
    assert_eq!(bob.json(["info", &exact])["owners"][0]["own"], true);
    let named = bob.json(["info", &exact]);
    assert!(text(&named, "ref").contains(&identity(&bob)[..12]), "it is called by whom it belongs to: {named}");
}

/// Who hands a package on cannot know when the other has agreed: publishing says so before, and status afterwards.
#[test]
fn what_is_published_after_a_package_was_handed_on_is_not_void_without_a_word() {
    let (alice, exact) = begun();
    let bob = Home::new();
    let handed = alice.json(["transfer", &exact, &identity(&bob), "--yes"]);
    carry(&alice, &[&bob], &exact);
    assert_eq!(bob.json(["endorse", &exact, text(&handed, "change")])["in_effect"], true);

    let warns = |said: &Value, what: &str| said["warnings"].to_string().contains(what);
    package(&alice, "lamp", "1.1.0", "still mine?");
    let would = alice.json(["publish", "lamp", "--dry-run"]);
    let done = publish(&alice, "lamp");
    for said in [&would, &done] {
        assert!(warns(said, "a change waits that ends your role"), "{said}");
    }
    let status = alice.json(["status"]);
    assert!(!warns(&status, "counts for nobody"), "it is not known here: {status}");
    carry(&bob, &[&alice], &exact);
    let status = alice.json(["status"]);
    assert!(warns(&status, "1.1.0 of @") && warns(&status, "counts for nobody"), "{status}");
    assert!(!warns(&bob.json(["status"]), "counts for nobody"));
    // The package goes on without it.
    publish_to(&bob, &exact, "1.2.0", &[]);
    carry(&bob, &[&alice], &exact);
    assert!(!warns(&alice.json(["status"]), "counts for nobody"));
}

#[test]
fn who_is_blocked_offers_nothing() {
    let (alice, exact) = begun();
    let (bob, carol) = (Home::new(), Home::new());
    alice.json(["role", &exact, &identity(&carol), "maintainer"]);
    alice.json(["role", &exact, &identity(&bob), "owner"]);
    carry(&alice, &[&bob, &carol], &exact);
    for home in [&bob, &carol] {
        let [offer] = &waits(home)[..] else { panic!("{:?}", waits(home)) };
        assert!(offer.contains(" of @"), "{offer}");
        home.json(["block", &identity(&alice)]);
        assert_eq!(waits(home), Vec::<String>::new());
        home.json(["block", &identity(&alice), "--off"]);
        assert_eq!(waits(home), [offer.as_str()]);
    }
}

#[test]
fn what_is_no_role_or_change_is_refused() {
    let (alice, exact) = begun();
    let me = identity(&alice);
    assert_eq!(code(&alice.fails(["role", &exact, &me, "king"])), (2, "E0202"));
    assert_eq!(code(&alice.fails(["role", &exact, "nobody", "owner"])).0, 3);
    assert_eq!(code(&alice.fails(["role", &exact, "--protect", "stable"])), (2, "E0202"));
    assert_eq!(code(&alice.fails(["role", &exact, "--protect", "thing:stable"])), (2, "E0202"));
    assert_eq!(code(&alice.fails(["role", &exact, "--threshold", "2"])), (2, "E0202"));
    assert_eq!(code(&alice.fails(["endorse", &exact, "abcdefgh"])), (3, "E0300"));
    assert_eq!(alice.json(["role", &exact, &me, "owner"])["already"], true);
}

/// There is one way to name people, wherever they are named.
#[test]
fn me_is_understood_wherever_a_person_is_named_and_so_are_names_of_ones_own() {
    let (alice, exact) = begun();
    let bob = Home::new();
    let b = identity(&bob);
    carry(&alice, &[&bob], &exact);
    let (exit, problem) = alice.fails(["transfer", &exact, "me", "--yes"]);
    assert_eq!((exit, text(&problem, "code")), (2, "E0202"), "{problem}");
    assert!(text(&problem, "message").contains("two roles"), "{problem}");
    assert_eq!(role_of(&alice, &exact, &identity(&alice)).as_deref(), Some("owner"));
    assert_eq!(code(&bob.fails(["transfer", &exact, "me", "--yes"])), (4, "E0410"));
    for verb in ["trust", "block"] {
        assert_eq!(code(&alice.fails([verb, "me"])), (2, "E0202"), "it is one's own identity");
    }
    assert_ne!(alice.fails(["id", "recover", "me", "--yes"]).0, 3, "there is nothing to do, and nobody unknown");
    // What one calls somebody.
    alice.json(["trust", &b, "--as", "bobby"]);
    alice.json(["role", &exact, "bobby", "owner"]);
    carry(&alice, &[&bob], &exact);
    let (exit, problem) = bob.fails(["role", &exact, "me", "owner"]);
    assert_eq!((exit, text(&problem, "code")), (4, "E0410"));
    let hint = text(&problem, "hint").split('`').nth(1).expect("a command").to_owned();
    assert_eq!(bob.json(hint.split(' ').skip(1))["in_effect"], true, "{hint}");
    assert_eq!(role_of(&bob, &exact, &b).as_deref(), Some("owner"));
    assert_eq!(bob.json(["role", &exact, "me", "owner"])["already"], true);
}

fn waits(home: &Home) -> Vec<String> {
    let status = home.json(["status"]);
    let waits = status["waits"].as_array().cloned().unwrap_or_default();
    waits.iter().map(|line| line.as_str().expect("a line").to_owned()).collect()
}

/// Nobody looks at every package to find out what is wanted of them.
#[test]
fn status_tells_what_is_wanted_of_one_and_how_to_do_it() {
    let (alice, exact) = begun();
    let (bob, carol) = (Home::new(), Home::new());
    carry(&alice, &[&bob, &carol], &exact);
    assert_eq!((waits(&alice), waits(&bob)), (vec![], vec![]));

    // A role that needs no agreement, until it is used.
    alice.json(["role", &exact, &identity(&carol), "maintainer"]);
    carry(&alice, &[&carol], &exact);
    let [given] = &waits(&carol)[..] else { panic!("{:?}", waits(&carol)) };
    assert!(given.contains("you are maintainer of @") && given.contains("`syncra checkout @"), "{given}");
    publish_to(&carol, &exact, "1.1.0", &[]);
    assert_eq!(waits(&carol), Vec::<String>::new());
    carry(&carol, &[&alice], &exact);

    // One that is offered, with the very command that takes it.
    alice.json(["role", &exact, &identity(&bob), "owner"]);
    carry(&alice, &[&bob, &carol], &exact);
    assert_eq!((waits(&alice), waits(&carol)), (vec![], vec![]), "it is for nobody else");
    let [offer] = &waits(&bob)[..] else { panic!("{:?}", waits(&bob)) };
    assert!(offer.contains("wants you to be owner of @"), "{offer}");
    let command = offer.split('`').nth(1).expect("a command").to_owned();
    assert!(bob.run(["status"]).stdout.contains(&format!("waits:   {offer}")));
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("syncra"));
    assert_eq!(bob.json(words)["in_effect"], true);
    assert_eq!(waits(&bob), Vec::<String>::new());
    carry(&bob, &[&alice, &carol], &exact);

    // A redaction, and a move of a protected ref.
    alice.json(["redact", &format!("{exact}@1.0.0"), "--reason", "rights", "--yes"]);
    let protect = text(&alice.json(["role", &exact, "--protect", "channel:stable"]), "change").to_owned();
    carry(&alice, &[&bob], &exact);
    let all = waits(&bob);
    assert!(all.len() == 2 && all.iter().all(|line| line.contains("agree by `syncra endorse @")), "{all:?}");
    assert!(all.iter().any(|line| line.contains("1.0.0 redacted (rights)")), "{all:?}");
    bob.json(["endorse", &exact, &protect]);
    carry(&bob, &[&alice, &carol], &exact);
    publish_to(&carol, &exact, "1.2.0", &[]);
    carry(&carol, &[&bob], &exact);
    assert!(waits(&bob).iter().any(|line| line.contains("channel `stable` points to 1.2.0")), "{:?}", waits(&bob));
}

#[test]
fn status_tells_of_refs_that_have_diverged() {
    let (alice, exact) = begun();
    let bob = Home::new();
    carry(&alice, &[&bob], &exact);
    alice.json(["role", &exact, &identity(&bob), "maintainer"]);
    carry(&alice, &[&bob], &exact);
    publish_to(&alice, &exact, "1.1.0", &[]);
    publish_to(&bob, &exact, "1.2.0", &[]);
    carry(&bob, &[&alice], &exact);
    let [line] = &waits(&alice)[..] else { panic!("{:?}", waits(&alice)) };
    assert!(line.contains("channel `stable`") && line.contains("1.1.0 and 1.2.0"), "{line}");
    assert!(line.contains("`syncra merge`") && line.contains("`syncra channel @"), "{line}");
    let reader = Home::new();
    carry(&alice, &[&reader], &exact);
    assert_eq!(waits(&reader), Vec::<String>::new(), "who does not write to it can do nothing about it");
    alice.json(["channel", &exact, "stable", "1.2.0"]);
    assert_eq!(waits(&alice), Vec::<String>::new());
}

/// What a maintainer's own log takes back, the list of packages takes back, whatever brought it.
#[test]
fn what_is_listed_follows_what_is_said_of_a_maintainers_device() {
    let ((alice, exact), bob) = (begun(), Home::new());
    carry(&alice, &[&bob], &exact);
    alice.json(["role", &exact, &identity(&bob), "maintainer", "--yes"]);
    carry(&alice, &[&bob], &exact);
    publish_to(&bob, &exact, "1.1.0", &[]);
    carry(&bob, &[&alice], &exact);
    let listed = || {
        let list = alice.json(["list"]);
        let lamp = list["packages"].as_array().expect("a list").iter().find(|known| known["name"] == "lamp");
        lamp.map(|lamp| text(lamp, "latest").to_owned())
    };
    assert_eq!(listed().as_deref(), Some("1.1.0"));

    let secret = bob.work().join("recovery");
    std::fs::write(&secret, text(&bob.json(["id", "recovery"]), "recovery")).expect("written");
    let phone = Home::new().with("SYNCRA_RECOVERY_FILE", secret.to_str().expect("text").to_owned());
    carry(&bob, &[&phone], &exact);
    phone.json(["id", "recover", &identity(&bob), "--label", "phone", "--yes"]);
    let key = text(&bob.json(["id"]), "device").to_owned();
    phone.json(["devices", "suspend", &key, "--before", &format!("{exact}@1.1.0"), "--yes"]);
    // Another package brings it.
    package(&phone, "wall", "1.0.0", "stand()");
    let wall = format!("syncra:{}", text(&publish(&phone, "wall"), "package_id"));
    carry(&phone, &[&alice], &wall);
    let state = alice.json(["info", &exact])["releases"][0]["state"].clone();
    assert_eq!((state, listed().as_deref()), ("revoked".into(), Some("1.0.0")));
}
