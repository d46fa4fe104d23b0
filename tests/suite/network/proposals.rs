//! Proposals between real nodes: by somebody without any right, through somebody who only holds the package, while the owner
//! is away; and what attackers try.

use serde_json::Value;
use syncra_tests::{Home, Node};

use crate::people::{LOOPBACK, RECORDS, address, number, publish, until, wired, word};

fn edit(home: &Home, dir: &str, path: &str, bytes: &str) {
    std::fs::write(home.work().join(dir).join(path), bytes).expect("written");
}

fn meet(home: &Home, node: &Node) {
    home.json(["connect", address(node)]);
}

fn one(found: &Value) -> &Value {
    let all = found["proposals"].as_array().unwrap_or_else(|| panic!("no list: {found}"));
    assert_eq!(all.len(), 1, "{found}");
    &all[0]
}

/// The proposal of that reference.
fn of<'a>(response: &'a Value, proposal: &str) -> &'a Value {
    let all = response["proposals"].as_array().expect("a list");
    all.iter().find(|known| known["ref"] == proposal).unwrap_or_else(|| panic!("{proposal} in {response}"))
}

/// A package by `owner`, known to and held by `holder`, and checked out by `stranger`, who has changed it.
fn changed_by_a_stranger(owner: &Home, holder: &Home, stranger: &Home) -> String {
    let published = publish(owner, "1.0.0", 20_000);
    let package = published.reference.rsplit_once('@').expect("a version").0.to_owned();
    let node = owner.up(LOOPBACK);
    let helping = holder.up(LOOPBACK);
    meet(holder, &node);
    holder.json(["get", &package, "-o", "held"]);
    let visiting = stranger.up(LOOPBACK);
    meet(stranger, &helping);
    stranger.json(["checkout", &package, "mine"]);
    edit(stranger, "mine", "fins.txt", "fins\n");
    drop((node, helping, visiting));
    package
}

#[test]
fn anybody_proposes_a_holder_keeps_it_while_the_owner_is_away_and_the_owner_merges_it() {
    let (owner, holder, stranger) = (wired(), wired(), wired());
    let package = changed_by_a_stranger(&owner, &holder, &stranger);
    let node = holder.up(LOOPBACK);
    let away = stranger.up(LOOPBACK);
    meet(&stranger, &node);

    assert_eq!(word(&stranger.fails(["publish", "mine", "--yes"]).1, "code"), "E0407");
    assert_eq!(stranger.fails(["propose", "mine"]).0, 2, "a first proposal needs a title");
    let would = stranger.json(["propose", "mine", "--title", "Fins", "--dry-run"]);
    assert_eq!((&would["ref"], &would["dry_run"]), (&Value::Null, &Value::Bool(true)));
    let done = stranger.json(["propose", "mine", "--title", "Fins that turn"]);
    assert!(done["n_told"].as_u64() >= Some(1), "the holder keeps it: {done}");
    let proposal = word(&done, "ref");
    assert!(word(&done, "version").ends_with("-proposal.1"), "{done}");
    // Once more, with more: it is the same proposal.
    edit(&stranger, "mine", "fins.txt", "fins that turn\n");
    let again = stranger.json(["propose", "mine"]);
    assert_eq!((word(&again, "ref"), word(&again, "title")), (proposal.clone(), "Fins that turn".to_owned()));
    assert_eq!(stranger.json(["propose", "mine"])["already"], true);

    // The owner was away, and hears of it from the holder; the content comes from whoever has it.
    let back = owner.up(LOOPBACK);
    meet(&owner, &node);
    meet(&owner, &away);
    let found = owner.json(["review", &package]);
    let listed = one(&found);
    assert_eq!((word(listed, "state"), word(listed, "title")), ("open".to_owned(), "Fins that turn".to_owned()));
    assert_eq!(word(listed, "standing"), "stranger");
    // Nothing but the identity is known of whom: no handle is made up.
    let id = word(&stranger.json(["id"]), "identity");
    assert_eq!(word(listed, "by"), id[..12]);
    let shown = owner.run(["review", &package, "--offline"]).stdout;
    assert!(shown.contains(&format!("by {} (a stranger)", &id[..12])), "{shown}");
    let warnings = owner.json(["status"])["warnings"].to_string();
    assert!(warnings.contains("proposals wait for you, 1 in all"), "{warnings}");
    let short = &proposal.trim_start_matches("syncra:")[..12];
    let looked = owner.json(["review", short]);
    let looked = one(&looked);
    assert_eq!((word(looked, "standing"), word(looked, "version")), ("known".to_owned(), word(&again, "version")));
    assert!(
        word(looked, "by").starts_with('@') && word(looked, "by").ends_with(&format!("~{}", &id[..12])),
        "{looked}"
    );
    let diff = owner.json(["diff", &proposal]);
    assert!(word(&diff, "old").ends_with("@1.0.0"), "{diff}");
    assert_eq!(diff["files"].as_array().map(Vec::len), Some(1), "{diff}");

    owner.json(["review", short, "--request-changes", "say more in the text"]);
    owner.json(["review", short, "--approve"]);
    let heard = stranger.json(["review", &proposal]);
    let reviews = one(&heard)["reviews"].as_array().expect("reviews").clone();
    let verdicts: Vec<_> = reviews.iter().map(|review| word(review, "verdict")).collect();
    assert_eq!(verdicts, ["request_changes", "approve"], "{heard}");

    // Taken in like every other release; that it was merged is seen from the history.
    owner.json(["checkout", &package, "desk"]);
    let merged = owner.json(["merge", &proposal, "--into", "desk"]);
    assert_eq!((&merged["conflicts"], &merged["is_forward"]), (&serde_json::json!([]), &Value::Bool(false)));
    let manifest = std::fs::read_to_string(owner.work().join("desk/syncra.toml")).expect("there");
    edit(&owner, "desk", "syncra.toml", &manifest.replace("1.0.0", "1.1.0"));
    owner.json(["publish", "desk"]);
    assert_eq!(word(one(&owner.json(["review", &package])), "state"), "merged");
    // Whose it was stands in the graph, on a line of its own, and beside the lines of the file.
    let proposer = word(looked, "by");
    let graph = owner.json(["log", &package, "--graph"]);
    let releases = graph["releases"].as_array().expect("releases").clone();
    let states: Vec<_> = releases.iter().map(|release| word(release, "state")).collect();
    assert_eq!(states, ["settled", "proposed", "settled"], "{graph}");
    assert_eq!((word(&releases[1], "by"), &releases[0]["parents"][1]), (proposer.clone(), &releases[1]["release_id"]));
    let drawn = owner.run(["log", &package, "--graph"]).stdout;
    assert!(drawn.contains("Fins that turn") && drawn.contains("(proposed)"), "{drawn}");
    let blamed = owner.json(["blame", &package, "fins.txt"]);
    assert_eq!(word(&blamed["last"]["proposed"][0], "by"), proposer, "{blamed}");
    let shown = owner.run(["blame", &package, "fins.txt"]).stdout;
    assert!(shown.contains(&format!("proposed by {proposer}")), "{shown}");
    stranger.json(["info", &package]);
    meet(&stranger, &back);
    stranger.json(["info", &format!("{package}@1.1.0")]);
    let seen = stranger.json(["review", &proposal]);
    assert_eq!(word(one(&seen), "state"), "merged", "{seen}");
    // Whoever has only the package itself still finds the way from one release to the next.
    let would = holder.json(["checkout", &format!("{package}@1.1.0"), "theirs"]);
    assert_eq!(word(&would, "version"), "1.1.0");
    drop((node, away, back));
}

#[test]
fn proposals_are_taken_back_and_turned_down_by_those_who_may_and_by_nobody_else() {
    let (owner, holder, stranger) = (wired(), wired(), wired());
    let package = changed_by_a_stranger(&owner, &holder, &stranger);
    let node = owner.up(LOOPBACK);
    let helping = holder.up(LOOPBACK);
    let visiting = stranger.up(LOOPBACK);
    meet(&stranger, &node);
    meet(&holder, &node);
    let proposal = word(&stranger.json(["propose", "mine", "--title", "Fins"]), "ref");
    assert_eq!(word(one(&holder.json(["review", &package])), "state"), "open");

    assert_eq!(word(&holder.fails(["close", &proposal]).1, "code"), "E0407");
    assert_eq!(holder.fails(["close", "abcdefgh"]).0, 3);
    assert_eq!(holder.fails(["review", "--approve"]).0, 2);
    let would = owner.json(["close", &proposal, "--dry-run"]);
    assert_eq!(word(one(&would), "state"), "open");
    let closed = owner.json(["close", &proposal, "--reason", "done otherwise"]);
    assert_eq!(word(one(&closed), "state"), "closed");
    assert_eq!(word(one(&holder.json(["review", &package])), "state"), "closed");
    // What is proposed after that is another proposal, and said to be.
    stranger.json(["review", &package]);
    // Who wants to hear no word of whoever closed it sees it closed all the same.
    let owners = word(&owner.json(["id"]), "identity");
    stranger.json(["block", &owners]);
    let unheard = stranger.json(["review", &proposal, "--offline"]);
    assert_eq!(
        (word(one(&unheard), "state"), one(&unheard)["reviews"].as_array().map(Vec::len)),
        ("closed".to_owned(), Some(0))
    );
    stranger.json(["block", &owners, "--off"]);
    let would = stranger.json(["propose", "mine", "--dry-run"]);
    assert_eq!((&would["ref"], word(&would["ended"], "state")), (&Value::Null, "closed".to_owned()));
    let anew = stranger.json(["propose", "mine", "--offline"]);
    assert_eq!((word(&anew["ended"], "ref"), &anew["already"]), (proposal.clone(), &Value::Bool(false)));
    let anew = word(&anew, "ref");
    assert_ne!(anew, proposal);
    let again = stranger.json(["propose", "mine", "--offline"]);
    assert_eq!(
        (word(&again, "ref"), &again["already"], &again["ended"]),
        (anew.clone(), &Value::Bool(true), &Value::Null)
    );
    let open = stranger.json(["review", &anew, "--offline"]);
    assert_eq!(word(of(&open, &anew), "state"), "open");
    stranger.json(["close", &anew]);

    let taken_back = stranger.json(["close", &proposal]);
    assert_eq!(word(one(&taken_back), "state"), "withdrawn");
    assert_eq!(word(of(&owner.json(["review", &package]), &proposal), "state"), "withdrawn");
    assert!(!owner.json(["status"])["warnings"].to_string().contains("proposals wait"));
    drop((node, helping, visiting));
}

/// Nobody in between has anything, nobody knows an address, and nobody is told: there are no neighbours, no gossip among those
/// who are not connected, and proposer and owner are never there at the same time until the owner has the proposal.
#[test]
fn who_proposes_and_who_owns_find_each_other_through_the_table_alone() {
    let (hub, owner, holder, stranger) = (Home::new(), Home::new(), Home::new(), Home::new());
    let hub_up = hub.up(LOOPBACK);
    let entrance = address(&hub_up).to_owned();
    let known = || [LOOPBACK[0], LOOPBACK[1], "--bootstrap", entrance.as_str()];
    let n_connected = |home: &Home| home.json(["peers"])["peers"].as_array().map(Vec::len).expect("a list");
    let published = publish(&owner, "1.0.0", 20_000);
    let exact = format!("syncra:{}", word(&owner.json(["info", &published.reference]), "package_id"));
    // Carried, so that nobody has met anybody.
    let stick = owner.work().join("world.syncpack");
    let stick = stick.to_str().expect("UTF-8");
    owner.json(["export", &exact, "-o", stick]);
    for home in [&holder, &stranger] {
        home.json(["import", stick]);
    }
    stranger.json(["checkout", &exact, "mine"]);
    edit(&stranger, "mine", "fins.txt", "fins\n");

    // Somebody who holds the package is found by its id, and keeps what is proposed.
    let helping = holder.up(known());
    until("the holder is named by the table", || number(&hub.json(["status"])["dht"], "n_records") >= RECORDS);
    let away = stranger.up(known());
    let done = stranger.json(["propose", "mine", "--title", "Fins that turn"]);
    let proposal = word(&done, "ref");
    assert!(number(&done, "n_told") >= 1, "the holder, whom the table names: {done}");
    assert_eq!(word(one(&holder.json(["review", &exact, "--offline"])), "state"), "open");
    assert_eq!(number(&hub.json(["status"])["packages"], "known"), 0, "who is in between has nothing but records");
    assert_eq!(away.stop().0, 0);

    // The owner finds the holder by the id of the package, too.
    let back = owner.up(known());
    until("the proposal comes", || {
        owner.json(["review", &exact])["proposals"].as_array().is_some_and(|all| !all.is_empty())
    });
    let found = owner.json(["review", &exact, "--offline"]);
    assert_eq!((word(one(&found), "standing"), &one(&found)["version"]), ("stranger".to_owned(), &Value::Null));
    assert_eq!(helping.stop().0, 0);

    // And the proposer, once it is back, by the id of the proposal: its history, its files.
    let away = stranger.up(known());
    until("the proposal's history comes", || {
        let looked = owner.json(["review", &proposal]);
        word(one(&looked), "standing") == "known" && one(&looked)["version"].is_string()
    });
    owner.json(["review", &proposal, "--approve"]);
    owner.json(["checkout", &exact, "desk"]);
    owner.json(["merge", &proposal, "--into", "desk"]);
    assert_eq!(std::fs::read_to_string(owner.work().join("desk/fins.txt")).expect("there"), "fins\n");
    let manifest = std::fs::read_to_string(owner.work().join("desk/syncra.toml")).expect("there");
    edit(&owner, "desk", "syncra.toml", &manifest.replace("1.0.0", "1.1.0"));
    owner.json(["publish", "desk"]);
    assert_eq!(word(one(&owner.json(["review", &exact])), "state"), "merged");

    // The proposer hears of both in the same way.
    until("the proposer learns what became of it", || {
        let seen = stranger.json(["review", &proposal]);
        word(one(&seen), "state") == "merged" && one(&seen)["reviews"].as_array().map(Vec::len) == Some(1)
    });
    assert!(n_connected(&stranger) >= 2, "the hub, and the owner whom the table named");
    drop((hub_up, back, away));
}
