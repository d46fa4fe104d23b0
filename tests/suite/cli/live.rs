//! What happens unasked: followed packages that move on, found and refused releases, and who passes them on.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use syncra_tests::Output;
use syncra_tests::program::{Home, Node, signal};

/// After this an event is taken not to come: far above anything a loaded machine needs.
const HUNG: Duration = Duration::from_secs(150);
const LOOPBACK: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// The events of a node from its start on; ends with it.
struct Events {
    reader: Child,
    lines: mpsc::Receiver<Value>,
}

impl Events {
    fn of(home: &Home) -> Self {
        let mut command = home.command(["events", "--since", "0", "--json"]);
        let mut reader = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let stdout = BufReader::new(reader.stdout.take().expect("piped"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let frame: Value = serde_json::from_str(&line).expect("JSON");
                if send.send(frame["event"].clone()).is_err() {
                    return;
                }
            }
        });
        Self { reader, lines }
    }

    /// The next event that fits; those before it are passed over.
    fn wait(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut passed = Vec::new();
        loop {
            match self.lines.recv_timeout(HUNG) {
                Ok(event) if fits(&event) => return event,
                Ok(event) => passed.push(event),
                Err(_) => panic!("{what} did not happen, but {passed:#?}"),
            }
        }
    }

    fn installed(&self, version: &str) -> Value {
        let event = self.wait(version, |event| event["type"] == "installed" && event["version"] == version);
        // Told after the switch: from here on engines see it.
        self.wait("the switch", |event| event["type"] == "generation_changed");
        event
    }

    fn refused(&self) -> Value {
        self.wait("a refusal", |event| event["type"] == "follow_refused")
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        drop(self.reader.kill());
        drop(self.reader.wait());
    }
}

/// Publishes a script; `more` are further lines of its manifest. Returns the package's reference.
fn publish(home: &Home, name: &str, version: &str, more: &str) -> String {
    let dir = home.work().join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"script\"\n{more}");
    std::fs::write(dir.join("syncra.toml"), manifest).expect("a file");
    std::fs::write(dir.join("main.syn"), format!("{name} {version}")).expect("a file");
    let published = home.json(["publish", dir.to_str().expect("UTF-8"), "--yes"]);
    text(&published, "ref").rsplit_once('@').expect("a version").0.to_owned()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

fn address(node: &Node) -> &str {
    node.ready()["listen"][0].as_str().expect("an address")
}

fn installed(home: &Home, reference: &str) -> Value {
    let list = home.json(["list"]);
    let packages = list["packages"].as_array().expect("packages");
    packages
        .iter()
        .find(|package| package["ref"] == reference)
        .map_or(Value::Null, |package| package["installed"].clone())
}

/// Where the one followed package of a home stands.
fn standing(home: &Home) -> Value {
    home.json(["follow"])["follows"][0].clone()
}

#[test]
fn a_followed_package_moves_on_unasked_and_is_caught_up_after_a_restart() {
    let (alice, bob) = (Home::new(), Home::new());
    let (alice_up, bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    let reference = publish(&alice, "lamp", "1.0.0", "");
    bob.json(["connect", address(&alice_up)]);
    let events = Events::of(&bob);
    let followed = bob.json(["follow", &reference]);
    assert_eq!(
        (&followed["followed"], &followed["changed"], &followed["running"]),
        (&true.into(), &true.into(), &true.into())
    );
    let event = events.installed("1.0.0");
    assert!(std::path::Path::new(text(&event, "path")).join("main.syn").exists());
    publish(&alice, "lamp", "1.1.0", "");
    events.installed("1.1.0");
    assert_eq!(installed(&bob, &reference), "1.1.0");
    assert_eq!(standing(&bob)["state"], "current");
    assert_eq!(bob.json(["follow", &reference])["changed"], false);

    // Moved on while bob's node was off: caught up when a peer appears.
    drop(events);
    assert_eq!(bob_up.stop().0, 0);
    publish(&alice, "lamp", "1.2.0", "");
    let bob_up = bob.up(LOOPBACK);
    let events = Events::of(&bob);
    bob.json(["connect", address(&alice_up)]);
    events.installed("1.2.0");

    // No more: known, but not installed. Then `update` is a wish, and works.
    assert_eq!(bob.json(["follow", &reference, "--off"])["changed"], true);
    publish(&alice, "lamp", "1.3.0", "");
    events.wait("news", |event| event["type"] == "package_updated");
    assert_eq!(bob.json(["follow"])["follows"], Value::Array(Vec::new()));
    assert_eq!(installed(&bob, &reference), "1.2.0");
    bob.json(["update", &reference]);
    assert_eq!(installed(&bob, &reference), "1.3.0");
    assert_eq!(bob_up.stop().0, 0);
}

#[test]
fn what_asks_for_more_or_was_left_is_not_installed_unasked() {
    let (alice, bob) = (Home::new(), Home::new());
    let (alice_up, _bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    let asks = |more: &str| format!("[permissions]\nread = [\"Transform\"]\n{more}");
    let reference = publish(&alice, "lamp", "1.0.0", &asks(""));
    bob.json(["connect", address(&alice_up)]);
    let events = Events::of(&bob);
    bob.json(["add", &reference, "--follow"]);
    events.installed("1.0.0");

    publish(&alice, "lamp", "1.1.0", &asks("net = true\n"));
    let refused = events.refused();
    assert_eq!((text(&refused, "version"), text(&refused, "ref")), ("1.1.0", &*reference));
    assert!(text(&refused, "reason").ends_with("asks for more: net"), "{refused}");
    let now = standing(&bob);
    assert_eq!(
        (&now["state"], &now["installed"], &now["wanted"]),
        (&"refused".into(), &"1.0.0".into(), &"1.1.0".into())
    );

    // Asked, it is installed; from then on the same permissions are nothing more.
    assert_eq!(bob.fails(["update", &reference]).0, 2, "nobody said yes");
    bob.json(["update", &reference, "--yes"]);
    events.installed("1.1.0");
    publish(&alice, "lamp", "1.2.0", &asks("net = true\n"));
    events.installed("1.2.0");

    // Who went back is not pushed forward again, except by a newer release.
    bob.json(["rollback"]);
    assert_eq!(installed(&bob, &reference), "1.1.0");
    assert_eq!(text(&standing(&bob), "state"), "refused");
    publish(&alice, "lamp", "1.3.0", "");
    events.installed("1.3.0");
    alice.json(["yank", &format!("{reference}@1.3.0"), "--reason", "broken"]);
    let refused = events.refused();
    assert!(text(&refused, "reason").contains("yanked"), "{refused}");
    assert_eq!(installed(&bob, &reference), "1.3.0", "what is installed stays");

    // Taken away, it does not come back by itself.
    bob.json(["remove", &reference]);
    assert_eq!(bob.json(["follow"])["follows"], Value::Array(Vec::new()));
}

#[test]
fn news_and_content_travel_on_when_the_publisher_is_gone() {
    let (alice, bob, carol) = (Home::new(), Home::new(), Home::new());
    let (alice_up, bob_up, _carol_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK), carol.up(LOOPBACK));
    let reference = publish(&alice, "lamp", "1.0.0", "");
    bob.json(["connect", address(&alice_up)]);
    carol.json(["connect", address(&bob_up)]);
    let (of_bob, of_carol) = (Events::of(&bob), Events::of(&carol));
    bob.json(["follow", &reference]);
    of_bob.installed("1.0.0");
    carol.json(["follow", &reference]);
    of_carol.installed("1.0.0");
    // Carol is connected with bob only: the head, and then the content, come from him.
    publish(&alice, "lamp", "1.1.0", "");
    of_bob.installed("1.1.0");
    of_carol.installed("1.1.0");
    assert_eq!(alice_up.stop().0, 0);
    let dora = Home::new();
    let _dora_up = dora.up(LOOPBACK);
    dora.json(["connect", address(&bob_up)]);
    let got = dora.json(["add", &reference]);
    assert_eq!(got["changes"][0]["to"], "1.1.0");
}

#[test]
fn follows_say_what_they_cannot_do() {
    let home = Home::new();
    let package = &publish(&home, "lamp", "1.0.0", "");
    let release = &format!("{package}@1.0.0");
    let (exit, error) = home.fails(["follow", release]);
    assert_eq!((exit, text(&error, "code")), (2, "E0202"));
    assert_eq!(home.fails(["follow", "@nobody/lamp", "--offline"]).0, 3);
    assert_eq!(home.json(["follow", package, "--dry-run"])["changed"], true);
    assert_eq!(home.json(["follow"])["follows"], Value::Array(Vec::new()));
    // Without a node it is only noted, and the release that `add` was told stays.
    let followed = home.json(["follow", package, "--channel", "beta"]);
    assert_eq!((&followed["running"], &followed["state"]), (&false.into(), &"waiting".into()));
    home.json(["add", release, "--follow"]);
    assert_eq!(standing(&home)["state"], "fixed");
    assert_eq!(standing(&home)["channel"], Value::Null);
}

/// The references of what a search finds, best first.
fn found(home: &Home, args: &[&str]) -> Vec<String> {
    let found = home.json(["search"].iter().chain(args));
    assert_eq!(found["complete"], true, "{found}");
    found["results"].as_array().expect("results").iter().map(|result| text(result, "ref").to_owned()).collect()
}

#[test]
fn neighbours_are_searched_and_bare_names_need_trust() {
    let (alice, other, bob) = (Home::new(), Home::new(), Home::new());
    let (alice_up, other_up, bob_up) = (alice.up(LOOPBACK), other.up(LOOPBACK), bob.up(LOOPBACK));
    alice.json(["id", "--handle", "alice"]);
    other.json(["id", "--handle", "alice"]);
    let rocket = publish(&alice, "rocket", "1.0.0", "description = \"flies to the moon\"\n");
    publish(&alice, "lamp", "1.0.0", "");
    let twin = publish(&other, "rocket", "1.0.0", "");
    assert_eq!(found(&bob, &["rocket"]), Vec::<String>::new(), "nobody is connected");
    bob.json(["connect", address(&alice_up)]);

    let answer = bob.json(["search", "moon"]);
    let result = &answer["results"][0];
    assert_eq!((text(result, "ref"), text(result, "source"), text(result, "latest")), (&*rocket, "neighbour", "1.0.0"));
    assert_eq!(text(result, "description"), "flies to the moon");
    assert_eq!((text(&result["owner"], "trust"), text(&result["owner"], "handle")), ("unknown", "alice"));
    assert_eq!(found(&bob, &["rocket"]), std::slice::from_ref(&rocket));
    assert_eq!(found(&bob, &["--kind", "world"]), Vec::<String>::new());
    assert_eq!(bob.fails(["search", "--kind", "planet"]).0, 2);

    // One that nobody pinned, then two: a choice, never a guess.
    let (exit, error) = bob.fails(["add", "@alice/rocket"]);
    assert_eq!((exit, text(&error, "code")), (7, "E0705"));
    assert!(text(&error, "message").contains(&rocket), "{error}");
    bob.json(["connect", address(&other_up)]);
    let (exit, error) = bob.fails(["add", "@alice/rocket"]);
    assert_eq!(exit, 7);
    assert!([&rocket, &twin].iter().all(|candidate| text(&error, "message").contains(*candidate)), "{error}");
    let key = rocket.split_once('~').and_then(|(_, rest)| rest.split_once('/')).expect("a key").0;
    let (exit, _) = bob.fails(["add", "@alice/rocket", "--trust", "aaaaaaaaaaaa"]);
    assert_eq!(exit, 3, "nobody known has that key");
    let added = bob.json(["add", "@alice/rocket", "--trust", key]);
    assert_eq!(added["changes"][0]["ref"], *rocket);
    assert_eq!(bob.json(["info", "@alice/rocket"])["ref"], *rocket, "pinned from now on");
    assert_eq!(found(&bob, &["rocket"]), [rocket, twin], "trusted ones first");
    for node in [alice_up, other_up, bob_up] {
        assert_eq!(node.stop().0, 0);
    }
}

#[test]
fn people_have_the_names_that_the_user_gives_them_and_who_is_blocked_is_kept_away() {
    let (alice, mallory, bob) = (Home::new(), Home::new(), Home::new());
    let (alice_up, mallory_up, bob_up) = (alice.up(LOOPBACK), mallory.up(LOOPBACK), bob.up(LOOPBACK));
    alice.json(["id", "--handle", "alice"]);
    mallory.json(["id", "--handle", "alice"]);
    let rocket = publish(&alice, "rocket", "1.0.0", "");
    let twin = publish(&mallory, "rocket", "1.0.0", "");
    let lamp = publish(&mallory, "lamp", "1.0.0", "");
    for node in [&alice_up, &mallory_up] {
        bob.json(["connect", address(node)]);
    }
    assert_eq!(found(&bob, &["rocket"]).len(), 2);
    assert_eq!(bob.json(["trust"])["regards"], serde_json::json!([]));

    // By a handle nobody is meant, as anybody can claim it.
    let (exit, error) = bob.fails(["trust", "@alice"]);
    assert_eq!((exit, text(&error, "code")), (7, "E0705"));
    let owner = |reference: &str| reference.split_once('/').expect("a name").0.to_owned();
    assert!([&rocket, &twin].iter().all(|of| text(&error, "message").contains(&owner(of))), "{error}");
    assert_eq!(bob.fails(["trust", "@nobody"]).0, 3);
    assert_eq!(bob.fails(["trust", &owner(&rocket), "--as", "Not A Name"]).0, 2);
    let own = text(&bob.json(["id"]), "identity").to_owned();
    assert_eq!(bob.fails(["block", &own]).0, 2, "nobody blocks themselves");

    let planned = bob.json(["trust", &rocket, "--as", "ally", "--dry-run"]);
    assert_eq!((&planned["changed"], text(&planned, "petname")), (&Value::Bool(true), "ally"));
    assert_eq!(bob.fails(["info", "@ally/rocket"]).0, 3, "nothing was changed");
    let said = bob.json(["trust", &rocket, "--as", "ally"]);
    assert_eq!((text(&said, "owner"), text(&said, "regard")), (&*owner(&rocket), "trusted"));
    assert_eq!(bob.json(["trust", "@ally"])["changed"], false);
    for pinned in ["@ally/rocket", "@alice/rocket"] {
        assert_eq!(bob.json(["info", pinned])["ref"], *rocket, "{pinned}");
    }
    let (exit, error) = bob.fails(["trust", &twin, "--as", "ally"]);
    assert_eq!((exit, text(&error, "code")), (7, "E0700"), "a name is one's own");

    // Whoever is blocked is neither found, nor installed, nor fetched, nor a candidate; what is here stays.
    bob.json(["add", &lamp]);
    bob.json(["follow", &lamp]);
    let blocked = bob.json(["block", &owner(&twin)]);
    assert_eq!(blocked["installed"], serde_json::json!([lamp]));
    assert_eq!(found(&bob, &["rocket"]), std::slice::from_ref(&rocket));
    for (reference, verb) in [(&twin, "add"), (&lamp, "get"), (&twin, "get")] {
        let args = [&["get", "-o", "out"][..usize::from(verb == "get") * 3], &[verb][..usize::from(verb == "add")]];
        let (exit, error) = bob.fails(args.concat().into_iter().chain([reference.as_str()]));
        assert_eq!((exit, text(&error, "code")), (8, "E0804"), "{verb} {reference}");
    }
    let listed = bob.json(["list"]);
    let installed =
        listed["packages"].as_array().expect("packages").iter().filter(|package| package["installed"].is_string());
    assert_eq!(installed.map(|package| text(package, "ref")).collect::<Vec<_>>(), [&*lamp]);
    let standing = &bob.json(["follow"])["follows"][0];
    assert_eq!((text(standing, "state"), text(standing, "reason")), ("refused", "you block its owner"));
    // Nothing of it is handed on.
    let carol = Home::new();
    let carol_up = carol.up(LOOPBACK);
    carol.json(["connect", address(&bob_up)]);
    assert_eq!(found(&carol, &["lamp"]), Vec::<String>::new());

    assert_eq!(bob.json(["block"])["regards"].as_array().map(Vec::len), Some(1));
    bob.json(["block", &owner(&twin), "--off"]);
    assert_eq!(bob.json(["block"])["regards"], serde_json::json!([]));
    assert_eq!(text(&bob.json(["follow"])["follows"][0], "state"), "current");
    bob.json(["trust", "@ally", "--off"]);
    assert_eq!(bob.json(["trust"])["regards"], serde_json::json!([]));
    assert_eq!(bob.fails(["info", "@ally/rocket"]).0, 3);
    // A block ends without a trace: who was trusted is so again, and nobody else is.
    let regard = || {
        let all = bob.json(["trust"])["regards"].as_array().cloned().unwrap_or_default();
        all.iter().find(|known| text(known, "owner") == owner(&twin)).map(|known| text(known, "regard").to_owned())
    };
    let before = regard();
    for trusted in [false, true] {
        if trusted {
            bob.json(["trust", &owner(&twin)]);
        } else {
            assert_ne!(before.as_deref(), Some("trusted"));
        }
        let before = regard();
        bob.json(["block", &owner(&twin), "--off"]);
        assert_eq!(regard(), before, "who is not blocked stays as he is");
        assert_eq!(bob.json(["block", &owner(&twin), "--dry-run"])["regard"], "blocked");
        bob.json(["block", &owner(&twin)]);
        assert_eq!(bob.json(["block", &owner(&twin)])["changed"], false);
        assert_eq!(regard().as_deref(), Some("blocked"));
        let off = bob.json(["block", &owner(&twin), "--off"]);
        assert_eq!((&off["changed"], regard()), (&serde_json::json!(true), before));
    }
    for node in [alice_up, mallory_up, bob_up, carol_up] {
        assert_eq!(node.stop().0, 0);
    }
}

#[cfg(unix)]
#[test]
fn without_a_node_neighbours_are_found_and_silence_ends_in_time() {
    // Below what systems hand out and what nodes take by themselves: one that was free a moment ago still is.
    let mut ports = (0..10_000).map(|n| 10_000 + (std::process::id() + n) % 10_000);
    let is_free = |port: &u32| std::net::UdpSocket::bind(format!("0.0.0.0:{port}")).is_ok();
    let port = ports.find(is_free).expect("a free port").to_string();
    let (alice, bob) = (Home::new(), Home::new());
    let reference = publish(&alice, "lamp", "1.0.0", "");
    let on_lan = |home: &Home, args: &[&str]| {
        let mut command = home.command(args);
        command.arg("--json").env("SYNCRA_LAN_PORT", &port);
        command
    };
    let mut up = on_lan(&alice, &["up"]);
    let mut node = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut ready = String::new();
    BufReader::new(node.stdout.take().expect("piped")).read_line(&mut ready).expect("a ready line");
    let added = Output::of(on_lan(&bob, &["add", &reference])).data();
    assert_eq!(added["changes"][0]["to"], "1.0.0");
    // A search waits for a moment only: on a busy machine the neighbour may not be found by then.
    let began = Instant::now();
    let answer = loop {
        let answer = Output::of(on_lan(&bob, &["search", "lamp"])).data();
        if answer["results"][0]["n_peers"] != 0 || began.elapsed() > HUNG {
            break answer;
        }
    };
    assert_eq!((&answer["results"][0]["source"], &answer["results"][0]["n_peers"]), (&"installed".into(), &1.into()));
    publish(&alice, "lamp", "1.1.0", "");
    assert_eq!(Output::of(on_lan(&bob, &["update"])).data()["changes"][0]["to"], "1.1.0");

    // A neighbour that is there and says nothing any more.
    signal(node.id(), "STOP");
    let (exit, error) = Output::of(on_lan(&bob, &["add", "@alice~aaaaaaaaaaaa/rocket", "--timeout", "1"])).error();
    signal(node.id(), "CONT");
    signal(node.id(), "KILL");
    drop(node.wait());
    assert_eq!((exit, text(&error, "code")), (6, "E0601"));
    assert!(text(&error, "hint").contains("--timeout"), "{error}");
    assert_eq!(installed(&bob, &reference), "1.1.0", "nothing else changed");
}
