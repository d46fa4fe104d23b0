//! Live drafts between two nodes: what is saved here is there, whatever way it is saved; and what is nobody's business is not.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use syncra_tests::program::signal;
use syncra_tests::{Home, Node, skip, syncra_bin};

const LISTEN: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// A test that hangs fails here.
const HUNG: std::time::Duration = std::time::Duration::from_secs(120);

/// A verb that goes on, and the lines that it prints.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(home: &Home, args: &[&str]) -> Self {
        Self::of(home.command(args))
    }

    fn of(mut command: Command) -> Self {
        command.stderr(Stdio::inherit());
        Self::started(command)
    }

    /// The same, and what it complains about.
    #[cfg(target_os = "linux")]
    fn complaining(mut command: Command, into: std::io::PipeWriter) -> Self {
        command.stderr(into);
        Self::started(command)
    }

    fn started(mut command: Command) -> Self {
        let mut child = command.arg("--json").stdout(Stdio::piped()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    /// The next line's data.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        let mut value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"));
        match value["data"].take() {
            Value::Null => value,
            data => data,
        }
    }

    /// Ends it as nobody would: it says goodbye to nobody.
    fn kill(mut self) {
        signal(self.child.id(), "KILL");
        drop(self.child.wait());
    }

    /// Ends it as somebody at a terminal does.
    fn end(mut self) {
        signal(self.child.id(), "INT");
        drop(self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The files of a directory but those of Syncra: path, bytes, and whether they may be executed.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(at) = ahead.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(dir).expect("below").to_str().expect("text").to_owned();
            // The second is not published, so it is no part of a draft.
            if name == ".syncra" || name == ".syncraignore" {
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => ahead.push(path),
                Ok(meta) => {
                    let bytes = fs::read(&path).unwrap_or_default();
                    drop(found.insert(name, (bytes, meta.permissions().mode() & 0o100 != 0)));
                }
                // Who follows removes files meanwhile.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}"),
            }
        }
    }
    found
}

/// Somebody with a published package who shows its directory, and somebody else who is connected.
struct Two {
    alice: Home,
    bob: Home,
    package: String,
    _nodes: (Node, Node),
}

impl Two {
    fn new() -> Self {
        let (alice, bob) = (Home::in_memory("alice"), Home::in_memory("bob"));
        alice.json(["new", "world", "island"]);
        alice.json(["publish", "island", "--yes"]);
        let package = alice.json(["list"])["packages"][0]["ref"].as_str().expect("a package").to_owned();
        let up = alice.up(LISTEN);
        let at = up.ready()["listen"][0].as_str().expect("an address").to_owned();
        let theirs = bob.up([LISTEN[0], LISTEN[1], "--bootstrap", &at]);
        bob.json(["connect", &at]);
        Self { alice, bob, package, _nodes: (up, theirs) }
    }

    fn island(&self) -> std::path::PathBuf {
        self.alice.work().join("island")
    }

    fn live(&self) -> std::path::PathBuf {
        self.bob.work().join("live")
    }

    fn follow(&self) -> Running {
        Running::start(&self.bob, &["draft", &self.package, "--follow", "-o", "live"])
    }

    /// Lets both sides go on until what is there is what is here.
    fn until_equal(&self, follow: &mut Running) {
        while files(&self.live()) != files(&self.island()) {
            follow.next();
        }
    }
}

#[test]
fn what_is_saved_here_is_there_however_it_is_saved() {
    let two = Two::new();
    let mut show = Running::start(&two.alice, &["draft", "island", "--public"]);
    let first = show.next();
    let mut follow = two.follow();
    follow.next();
    assert_eq!(files(&two.live()), files(&two.island()));
    // As editors do: another file, renamed over the first.
    let island = two.island();
    fs::write(island.join(".main.swp"), "x").expect("written");
    fs::write(island.join("new~"), "shore").expect("written");
    fs::rename(island.join("new~"), island.join("shore.syn")).expect("renamed");
    fs::remove_file(island.join(".main.swp")).expect("removed");
    let wanted = || files(&island).into_iter().filter(|(name, _)| !name.ends_with(".swp") && !name.ends_with('~'));
    let seen = follow.next();
    assert!(seen["rev"].as_u64() > first["rev"].as_u64(), "{seen}");
    // A storm, with files that go while they are read.
    fs::create_dir_all(island.join("deep/er")).expect("made");
    for n in 0..300 {
        fs::write(island.join(format!("deep/er/{n}")), format!("{n}").repeat(n)).expect("written");
        if n % 3 == 0 {
            fs::remove_file(island.join(format!("deep/er/{n}"))).expect("removed");
        }
    }
    fs::write(island.join("run"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(island.join("run"), fs::Permissions::from_mode(0o755)).expect("executable");
    two.until_equal(&mut follow);
    // Only what is new travels: a large file once, then what was changed of it. A part of the file would be shown too, so each
    // is there at one stroke; and what came for it is told after it is written, so it is waited for until it is told.
    let until_large_came = |follow: &mut Running| {
        let mut fetched = 0;
        loop {
            let seen = follow.next();
            fetched += seen["fetched_bytes"].as_u64().expect("bytes");
            if seen["written"].as_array().expect("a list").contains(&"large".into()) {
                return fetched;
            }
        }
    };
    let large: Vec<u8> = (0..4_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let beside = two.alice.work().join("large");
    fs::write(&beside, &large).expect("written");
    fs::rename(beside, island.join("large")).expect("renamed");
    until_large_came(&mut follow);
    let file = fs::File::options().write(true).open(island.join("large")).expect("opens");
    file.write_all_at(&[large[2_000_000] ^ 1], 2_000_000).expect("written");
    let fetched = until_large_came(&mut follow);
    assert!(fetched < 2_000_000, "{fetched} bytes came for one");
    two.until_equal(&mut follow);
    fs::remove_dir_all(island.join("deep")).expect("removed");
    two.until_equal(&mut follow);
    assert!(!two.live().join("deep").exists(), "directories that are empty go too");
    assert_eq!(wanted().count(), files(&two.live()).len());
    // Whoever looks how the node is sees that the directory is shown.
    let shown = two.alice.json(["status"])["drafts"].clone();
    assert_eq!((shown[0]["name"].as_str(), shown[0]["public"].as_bool()), (Some("draft"), Some(true)), "{shown}");
    assert!(two.alice.run(["status"]).stdout.contains("\ndraft:   `draft` of @"));
    assert!(two.bob.json(["status"])["drafts"].is_null(), "who follows shows nothing");
    // It is no history, until it is published.
    assert_eq!(two.alice.json(["info", &two.package])["releases"].as_array().map(Vec::len), Some(1));
    show.end();
    let (code, error) = two.bob.fails(["draft", &two.package, "--follow", "-o", "late", "--once"]);
    assert_eq!((code, error["code"].as_str()), (6, Some("E0600")), "it ended with its command: {error}");
    assert!(!two.alice.run(["status"]).stdout.contains("\ndraft:"));
    let manifest = fs::read_to_string(island.join("syncra.toml")).expect("there").replace("0.1.0", "0.2.0");
    fs::write(island.join("syncra.toml"), manifest).expect("written");
    two.alice.json(["publish", "island"]);
    assert_eq!(two.alice.json(["info", &two.package])["releases"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_somebody_changed_where_he_follows_is_not_written_over() {
    let two = Two::new();
    let mut show = Running::start(&two.alice, &["draft", "island", "--public"]);
    show.next();
    let (island, live) = (two.island(), two.live());
    fs::write(island.join("mine"), "1").expect("written");
    fs::write(island.join("gone"), "1").expect("written");
    let mut follow = two.follow();
    while !live.join("gone").exists() || !live.join("mine").exists() {
        follow.next();
    }
    fs::write(live.join("mine"), "bob's").expect("written");
    fs::write(live.join("gone"), "bob's").expect("written");
    let outside = two.bob.work().join("outside");
    fs::create_dir(&outside).expect("made");
    symlink(&outside, live.join("sub")).expect("linked");
    symlink(outside.join("file"), live.join("link")).expect("linked");
    fs::remove_file(island.join("gone")).expect("removed");
    fs::write(island.join("mine"), "2").expect("written");
    fs::create_dir(island.join("sub")).expect("made");
    fs::write(island.join("sub/x"), "2").expect("written");
    fs::write(island.join("link"), "2").expect("written");
    fs::write(island.join("other"), "2").expect("written");
    let mut conflicts = Vec::new();
    while conflicts.len() < 4 || !live.join("other").exists() {
        let seen = follow.next();
        conflicts = seen["conflicts"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|c| c.as_str().map(str::to_owned))
            .collect();
    }
    conflicts.sort();
    assert_eq!(conflicts, ["gone", "link", "mine", "sub/x"]);
    let read = |name: &str| fs::read_to_string(live.join(name)).expect("there");
    assert_eq!((read("mine").as_str(), read("gone").as_str(), read("other").as_str()), ("bob's", "bob's", "2"));
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 0, "nothing is written through a link");
    // Whoever takes the draft's for his own goes on with it.
    fs::write(live.join("mine"), "2").expect("written");
    fs::write(island.join("mine"), "3").expect("written");
    while read("mine") != "3" {
        follow.next();
    }
    drop(show);
}

#[test]
fn who_does_not_work_on_the_package_sees_nothing() {
    let two = Two::new();
    two.alice.json(["draft", "island", "--once"]);
    let follow = |home: &Home, dir: &str| home.fails(["draft", &two.package, "--follow", "-o", dir, "--once"]);
    let (code, error) = follow(&two.bob, "live");
    assert_eq!((code, error["code"].as_str()), (6, Some("E0600")), "{error}");
    // Who publishes it to everybody says so.
    two.alice.json(["draft", "island", "--once", "--public"]);
    fs::write(two.island().join("later"), "1").expect("written");
    two.alice.json(["draft", "island", "--once", "--public"]);
    two.bob.json(["draft", &two.package, "--follow", "-o", "live", "--once"]);
    assert_eq!(files(&two.live()), files(&two.island()));
    // A directory of somebody's is not taken.
    fs::create_dir(two.bob.work().join("taken")).expect("made");
    fs::write(two.bob.work().join("taken/file"), "bob's").expect("written");
    let (code, error) = follow(&two.bob, "taken");
    assert_eq!((code, error["code"].as_str()), (7, Some("E0701")), "{error}");
    // Nobody shows drafts of others' packages; what looks like a secret is left out, and a link stops all.
    fs::write(two.bob.work().join("file"), "x").expect("written");
    let (code, error) = two.bob.fails(["draft", "taken", "--package", &two.package, "--once"]);
    assert_eq!((code, error["code"].as_str()), (4, Some("E0407")), "{error}");
    fs::write(two.island().join("key"), format!("-----BEGIN {} KEY-----\n", "PRIVATE")).expect("written");
    let left_out = two.alice.json(["draft", "island", "--once", "--public"]);
    assert_eq!((&left_out["withheld"][0]["path"], &left_out["withheld"][0]["line"]), (&"key".into(), &1.into()));
    fs::remove_file(two.island().join("key")).expect("removed");
    symlink("main", two.island().join("link")).expect("linked");
    assert_eq!(two.alice.fails(["draft", "island", "--once"]).0, 1);
    // It ends when it is ended, and its content is nobody's then.
    fs::remove_file(two.island().join("link")).expect("removed");
    two.alice.json(["draft", "island", "--end"]);
    let (code, _) = follow(&two.bob, "late");
    assert_eq!(code, 6);
    assert_eq!(two.alice.fails(["draft", "island", "--end"]).0, 3);
}

/// One file with a key in it stops nothing but itself.
#[test]
fn what_looks_like_a_secret_is_left_out_and_all_else_goes_on() {
    let two = Two::new();
    let key = format!("-----BEGIN {} KEY-----\n", "PRIVATE");
    let mut show = Running::start(&two.alice, &["draft", "island", "--public"]);
    show.next();
    let mut follow = two.follow();
    follow.next();
    fs::write(two.island().join("key"), &key).expect("written");
    fs::write(two.island().join("later"), "1").expect("written");
    while !two.live().join("later").exists() {
        follow.next();
    }
    assert!(!two.live().join("key").exists());
    fs::write(two.island().join("key"), "no key any more").expect("written");
    two.until_equal(&mut follow);
    show.end();
}

/// Ended is ended, whatever is saved afterwards.
#[test]
fn what_was_ended_is_not_shown_again_by_the_next_save() {
    let two = Two::new();
    let mut show = Running::start(&two.alice, &["draft", "island", "--public"]);
    show.next();
    two.alice.json(["draft", "island", "--end"]);
    fs::write(two.island().join("later"), "1").expect("written");
    assert_eq!(show.child.wait().expect("ended").code(), Some(0), "the command that showed it ends, too");
    let (code, _) = two.bob.fails(["draft", &two.package, "--follow", "-o", "late", "--once"]);
    assert_eq!(code, 6);
    assert_eq!(two.alice.fails(["draft", "island", "--end"]).0, 3);
}

#[test]
fn without_a_node_or_a_package_there_is_no_draft() {
    let home = Home::in_memory("home");
    home.json(["new", "world", "island"]);
    let (code, error) = home.fails(["draft", "island", "--once"]);
    assert_eq!((code, error["code"].as_str()), (10, Some("E1000")), "{error}");
    let _up = home.up([""; 0]);
    let (code, error) = home.fails(["draft", "island", "--once"]);
    assert_eq!((code, error["code"].as_str()), (4, Some("E0407")), "nothing was published: {error}");
    home.json(["publish", "island", "--yes"]);
    let looked = home.json(["draft", "island", "--dry-run"]);
    assert_eq!((&looked["dry_run"], looked["n_files"].as_u64() > Some(0)), (&true.into(), true), "{looked}");
    assert_eq!(home.fails(["draft", "island", "--end"]).0, 3, "a look shows nothing");
}

/// A terminal that is closed hard, a machine that runs out of memory: nothing stays behind in the node.
#[test]
fn a_draft_whose_command_was_killed_is_shown_no_more() {
    let two = Two::new();
    let mut show = Running::start(&two.alice, &["draft", "island", "--public"]);
    show.next();
    let mut follow = two.follow();
    follow.next();
    assert_eq!(files(&two.live()), files(&two.island()));
    // Another one that shows it keeps it, whoever goes.
    let mut other = Running::start(&two.alice, &["draft", "island", "--public"]);
    other.next();
    show.kill();
    fs::write(two.island().join("later"), "1").expect("written");
    two.until_equal(&mut follow);
    other.kill();
    let late = ["draft", two.package.as_str(), "--follow", "-o", "late", "--once"];
    let is_gone = || {
        let mut command = two.bob.command(late);
        command.arg("--json");
        syncra_tests::Output::of(command).code == 6
    };
    let began = std::time::Instant::now();
    while !is_gone() {
        assert!(began.elapsed() < HUNG, "it is shown for ever");
        drop(fs::remove_dir_all(two.bob.work().join("late")));
    }
    assert_eq!(two.alice.fails(["draft", "island", "--end"]).0, 3, "the node knows of none");
    // One that was shown to stay is nobody's to take along.
    two.alice.json(["draft", "island", "--once", "--public"]);
    two.bob.json(late);
    two.alice.json(["draft", "island", "--end"]);
}

/// Whoever has a role in the package shows and sees drafts, from when it has it until it has it no more.
#[test]
fn who_has_a_role_shows_and_sees_drafts_and_who_lost_it_does_not() {
    let two = Two::new();
    let exact = format!("syncra:{}", two.alice.json(["info", &two.package])["package_id"].as_str().expect("an id"));
    let who = two.bob.json(["id"])["identity"].as_str().expect("an identity").to_owned();
    let carry = |from: &Home, to: &Home| {
        let file = from.work().join("carried.syncpack");
        drop(fs::remove_file(&file));
        from.json(["export", &exact, "-o", file.to_str().expect("text")]);
        to.json(["import", file.to_str().expect("text")]);
    };
    let refused = |home: &Home, dir: &str| {
        let (code, error) = home.fails(["draft", dir, "--once"]);
        assert_eq!((code, error["code"].as_str()), (4, Some("E0407")), "{error}");
    };
    let unseen = |home: &Home, dir: &str| {
        let (code, error) = home.fails(["draft", &exact, "--follow", "-o", dir, "--once"]);
        assert_eq!((code, error["code"].as_str()), (6, Some("E0600")), "{error}");
    };
    carry(&two.alice, &two.bob);
    two.bob.json(["checkout", &exact, "mine"]);
    fs::write(two.bob.work().join("mine/shore.syn"), "shore").expect("written");
    refused(&two.bob, "mine");
    for role in ["contributor", "maintainer"] {
        two.alice.json(["role", &exact, &who, role]);
        carry(&two.alice, &two.bob);
        // So that she knows which device is his.
        carry(&two.bob, &two.alice);
        // Both ways: what the other shows, and what he shows himself.
        two.alice.json(["draft", "island", "--once"]);
        two.bob.json(["draft", &exact, "--follow", "-o", role, "--once"]);
        assert_eq!(files(&two.bob.work().join(role)), files(&two.island()));
        two.alice.json(["draft", "island", "--end"]);
        two.bob.json(["draft", "mine", "--once"]);
        two.alice.json(["draft", &exact, "--follow", "-o", role, "--once"]);
        assert_eq!(files(&two.alice.work().join(role)), files(&two.bob.work().join("mine")));
        two.bob.json(["draft", "mine", "--end"]);
    }
    two.bob.json(["draft", "mine", "--once"]);
    two.alice.json(["draft", "island", "--once"]);
    two.alice.json(["role", &exact, &who, "none", "--yes"]);
    unseen(&two.bob, "late");
    // What he shows is nobody's any more, also as long as his own node has not heard of it.
    unseen(&two.alice, "late");
    carry(&two.alice, &two.bob);
    refused(&two.bob, "mine");
}

/// What was cut for an earlier draft is only known as long as something keeps it.
#[test]
fn what_was_collected_after_a_draft_ended_is_read_again_for_the_next() {
    let two = Two::new();
    let large = two.island().join("large");
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&large, bytes).expect("written");
    // Long ago, so that its time is enough to know it again.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    fs::File::options().write(true).open(&large).and_then(|file| file.set_modified(long_ago)).expect("set");
    two.alice.json(["draft", "island", "--once", "--public"]);
    two.alice.json(["draft", "island", "--end"]);
    let freed = two.alice.json(["gc"]);
    assert!(freed["freed_bytes"].as_u64() >= Some(200_000), "{freed}");
    two.alice.json(["draft", "island", "--once", "--public"]);
    two.bob.json(["draft", &two.package, "--follow", "-o", "live", "--once"]);
    assert_eq!(files(&two.live()), files(&two.island()));
}

/// The system keeps only so many events for whoever does not read them; that it dropped some is an event too.
#[cfg(target_os = "linux")]
#[test]
fn what_changed_while_the_systems_queue_was_full_is_shown() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").ok().and_then(|n| n.trim().parse().ok());
    let Some(limit @ 1..=1_000_000_usize) = limit else {
        return skip("what_changed_while_the_systems_queue_was_full_is_shown", "the queue is too long to fill");
    };
    let two = Two::new();
    let mut show = Running::start(&two.alice, &["draft", "island", "--public"]);
    show.next();
    let mut follow = two.follow();
    follow.next();
    signal(show.child.id(), "STOP");
    // Events of reading: they mean nothing, and fill the queue. The same twice in a row is told once.
    for n in 0..2 * limit {
        let name = ["syncra.toml", ".syncraignore"][n % 2];
        drop(fs::File::open(two.island().join(name)).expect("there"));
    }
    fs::write(two.island().join("unseen"), "1").expect("written");
    signal(show.child.id(), "CONT");
    two.until_equal(&mut follow);
}

/// A machine whose users may watch so many directories only, here none, and then fewer than there are.
#[cfg(target_os = "linux")]
#[test]
fn where_directories_cannot_be_watched_they_are_looked_at() {
    let test = "where_directories_cannot_be_watched_they_are_looked_at";
    let may = |n: usize| format!("echo {n} > /proc/sys/user/max_inotify_watches");
    let tried = Command::new("unshare").args(["-Ur", "sh", "-c", &may(1)]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return skip(test, "no user namespaces here");
    }
    let two = Two::new();
    // Every directory is watched, and no further one.
    let n_dirs = || Command::new("find").arg(two.island()).args(["-type", "d"]).output().expect("`find` runs").stdout;
    for is_late in [false, true] {
        let n = if is_late { n_dirs().iter().filter(|byte| **byte == b'\n').count() } else { 0 };
        let inside = format!("{} && exec \"$0\" \"$@\"", may(n));
        let plain = two.alice.command(["draft", "island", "--public"]);
        let mut command = Command::new("unshare");
        command.args(["-Ur", "sh", "-c", &inside]).arg(syncra_bin()).args(plain.get_args());
        command.current_dir(two.alice.work());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let (complain, said) = std::io::pipe().expect("a pipe");
        let mut show = Running::complaining(command, said);
        let mut complaints = BufReader::new(complain).lines();
        let mut complains = || {
            let mut lines = complaints.by_ref().map_while(Result::ok);
            assert!(lines.any(|line| line.contains("does not tell of changes")), "it says that it looks by itself");
        };
        if !is_late {
            complains();
        }
        show.next();
        let mut follow = two.follow();
        follow.next();
        // More directories than can be watched: what is in the last is seen all the same.
        fs::create_dir_all(two.island().join(format!("deep-{n}/er/still"))).expect("made");
        fs::write(two.island().join(format!("deep-{n}/er/still/first")), "1").expect("written");
        two.until_equal(&mut follow);
        if is_late {
            complains();
        }
        fs::write(two.island().join(format!("deep-{n}/er/still/second")), "2").expect("written");
        two.until_equal(&mut follow);
        show.end();
        drop(follow);
    }
}
