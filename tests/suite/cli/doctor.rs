//! What `doctor` says about each fault, with the fault really there; a full disk stands in `full_disk`.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use syncra_tests::{Home, own_ip};

use crate::releases::{package, publish, text};

/// The exit code and the checks by name.
pub(crate) struct Report {
    pub(crate) code: i32,
    pub(crate) data: Value,
}

pub(crate) fn doctor<const N: usize>(home: &Home, more: [&str; N]) -> Report {
    let output = home.run(["doctor", "--json"].into_iter().chain(more));
    let mut envelope: Value = serde_json::from_str(&output.stdout).expect("a report on stdout, whatever is wrong");
    let report = Report { code: output.code, data: envelope["data"].take() };
    assert_eq!(report.data["ok"], report.code == 0, "{}", report.data);
    for check in report.checks() {
        assert_eq!(
            check["ok"] == false,
            check["fix"].is_string(),
            "what is wrong, and only that, says what to do: {check}"
        );
    }
    report
}

impl Report {
    fn checks(&self) -> &[Value] {
        self.data["checks"].as_array().expect("a list")
    }

    fn names(&self, wanted: impl Fn(&Value) -> bool) -> Vec<&str> {
        self.checks().iter().filter(|check| wanted(check)).map(|check| text(check, "name")).collect()
    }

    pub(crate) fn bad(&self) -> Vec<&str> {
        self.names(|check| check["ok"] == false)
    }

    pub(crate) fn mended(&self) -> Vec<&str> {
        self.names(|check| check["mended"] == true)
    }

    fn field(&self, name: &str, field: &str) -> &str {
        let check = self.checks().iter().find(|check| check["name"] == name);
        text(check.unwrap_or_else(|| panic!("no check `{name}`: {}", self.data)), field)
    }

    pub(crate) fn detail(&self, name: &str) -> &str {
        self.field(name, "detail")
    }

    pub(crate) fn fix(&self, name: &str) -> &str {
        self.field(name, "fix")
    }

    #[track_caller]
    pub(crate) fn assert_well(&self) {
        assert_eq!((self.code, self.bad(), self.mended()), (0, vec![], vec![]), "{}", self.data);
    }

    #[track_caller]
    pub(crate) fn assert_bad(&self, name: &str, detail: &str) {
        assert_eq!((self.code, self.bad()), (1, vec![name]), "{}", self.data);
        assert!(self.detail(name).contains(detail), "{}", self.data);
    }

    #[track_caller]
    fn assert_mended(&self, name: &str, detail: &str) {
        assert_eq!((self.code, self.mended()), (0, vec![name]), "{}", self.data);
        assert!(self.detail(name).contains(detail), "{}", self.data);
    }
}

/// Lets the home's node take any ports: the usual ones follow from its key, and another home's node may have the same.
fn take_any_ports(home: &Home) {
    fs::create_dir_all(home.path()).expect("made");
    let settings = "listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\n";
    fs::write(home.path().join("config.toml"), settings).expect("written");
}

/// A home with one published package.
fn used_home() -> (Home, String) {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", &"turn() ".repeat(10_000));
    let reference = text(&publish(&home, "lamp"), "ref").to_owned();
    (home, reference)
}

/// The largest file below `dir` whose path contains `part`.
fn largest(dir: &Path, part: &str) -> PathBuf {
    let (mut dirs, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.retain(|path| path.to_string_lossy().contains(part));
    files.into_iter().max_by_key(|file| fs::metadata(file).expect("there").len()).expect("a file")
}

/// Changes every byte.
fn scramble(file: &Path) {
    let bytes = fs::read(file).expect("readable");
    fs::write(file, bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<_>>()).expect("written");
}

pub(crate) fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("written");
}

#[test]
fn a_config_that_cannot_be_read_is_told_as_other_verbs_tell_it() {
    let home = Home::new();
    home.json(["list"]);
    fs::write(home.path().join("config.toml"), "listen = 3\n").expect("written");
    let (_, told) = home.fails(["list"]);
    let report = doctor(&home, ["--offline"]);
    report.assert_bad("start", "config.toml");
    let check = report.checks().iter().find(|check| check["name"] == "start").expect("a check");
    assert_eq!(text(check, "fix"), text(&told, "hint"));
}

#[test]
fn a_well_home_is_well_new_used_and_running() {
    let home = Home::new();
    take_any_ports(&home);
    doctor(&home, []).assert_well();
    let (home, _) = used_home();
    take_any_ports(&home);
    doctor(&home, []).assert_well();
    let _node = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let running = doctor(&home, []);
    running.assert_well();
    assert!(running.detail("ports").contains("/ip4/127.0.0.1/tcp/"), "{}", running.data);
    assert!(doctor(&home, ["--offline"]).names(|_| true).contains(&"network"));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let ((home, _), ip) = (used_home(), own_ip());
    let taken = TcpListener::bind((ip, 0)).expect("a port");
    let place = format!("/ip4/{ip}/tcp/{}", taken.local_addr().expect("bound").port());
    home.json(["config", "set", "listen", &format!("[\"{place}\"]")]);
    doctor(&home, []).assert_bad("ports", &format!("{place} is in use"));
    drop(taken);
    doctor(&home, []).assert_well();
    let taken = UdpSocket::bind((ip, 0)).expect("a port");
    let place = format!("/ip4/{ip}/udp/{}/quic-v1", taken.local_addr().expect("bound").port());
    home.json(["config", "set", "listen", &format!("[\"{place}\"]")]);
    doctor(&home, []).assert_bad("ports", &format!("{place} is in use"));
    drop(taken);
    let taken = TcpListener::bind((ip, 0)).expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    home.json(["config", "set", "api.listen", &address]);
    doctor(&home, []).assert_bad("ports", &address);
    drop(taken);
    doctor(&home, []).assert_well();
}

#[test]
fn the_usual_port_that_is_taken_is_named() {
    // Where other homes' nodes are, one of them may have that port.
    #[cfg(target_os = "linux")]
    if syncra_tests::hosts::ran_inside("doctor::the_usual_port_that_is_taken_is_named") {
        return;
    }
    let (home, _) = used_home();
    let node = home.up(["--api", "127.0.0.1:0"]);
    let listen = node.ready()["listen"].as_array().expect("a list").clone();
    let parts = listen.iter().map(|address| address.as_str().expect("text").split('/').collect::<Vec<_>>());
    let port = parts.filter(|parts| parts[1] == "ip4" && parts[3] == "tcp").map(|parts| parts[4].to_owned()).next();
    let port: u16 = port.expect("it listens on IPv4").parse().expect("a port");
    assert_eq!(node.stop().0, 0);
    doctor(&home, []).assert_well();
    let _taken = TcpListener::bind(("0.0.0.0", port)).expect("the port of a node that has stopped");
    doctor(&home, []).assert_bad("ports", &format!("/tcp/{port} is in use"));
}

/// The clock is compared with what the home has written, so a year of the one is a year of the other.
#[test]
fn a_clock_that_is_off_by_a_year_is_named() {
    let (home, _) = used_home();
    assert_eq!(home.up(["--offline"]).stop().0, 0);
    let year = Duration::from_secs(366 * 86_400);
    let written_at = |at: SystemTime| {
        for file in [largest(&home.path().join("journal"), ".seg"), home.path().join("log/node.log")] {
            let file = File::options().write(true).open(file).expect("opens");
            file.set_modified(at).expect("set");
        }
    };
    written_at(SystemTime::now() + year);
    doctor(&home, ["--offline"]).assert_bad("clock", "365 days later");
    written_at(SystemTime::now() - year);
    doctor(&home, ["--offline"]).assert_bad("clock", "366 days before");
    // Who really was away for a year starts the node.
    assert_eq!(home.up(["--offline"]).stop().0, 0);
    doctor(&home, ["--offline"]).assert_well();
}

#[test]
fn a_damaged_index_is_named_and_made_anew() {
    let (home, _) = used_home();
    let before = home.json(["list"]);
    scramble(&largest(&home.path().join("index"), "/db"));
    doctor(&home, ["--offline"]).assert_mended("index", "it was made anew");
    doctor(&home, ["--offline"]).assert_well();
    fs::remove_dir_all(home.path().join("index")).expect("removed");
    doctor(&home, ["--offline"]).assert_mended("index", "no index");
    assert_eq!(home.json(["list"]), before);
    doctor(&home, ["--offline"]).assert_well();
}

#[test]
fn a_damaged_blob_of_an_own_release_is_named_and_mended_by_publishing_again() {
    let (home, reference) = used_home();
    flip(&largest(&home.path().join("blobs"), "data"));
    doctor(&home, ["--quick", "--offline"]).assert_well();
    doctor(&home, ["--offline"]).assert_bad("content", "blob ");
    // Nobody else may have it, so what is left of it stays.
    doctor(&home, ["--repair", "--offline"]).assert_bad("content", "blob ");
    home.json(["publish", "lamp"]);
    doctor(&home, ["--offline"]).assert_well();
    home.json(["get", &reference, "-o", "out"]);
}

#[test]
fn a_damaged_blob_of_others_is_named_and_let_go() {
    let (author, reference) = used_home();
    let pack = author.work().join("lamp.syncpack");
    author.json(["export", &reference, "-o", pack.to_str().expect("text")]);
    let home = Home::new();
    home.json(["import", pack.to_str().expect("text")]);
    doctor(&home, ["--offline"]).assert_well();
    flip(&largest(&home.path().join("blobs"), "data"));
    doctor(&home, ["--offline"]).assert_bad("content", "blob ");
    let repaired = doctor(&home, ["--repair", "--offline"]);
    assert_eq!((repaired.code, repaired.mended()), (0, vec!["index", "content"]), "{}", repaired.data);
    assert!(repaired.detail("content").contains("let go"), "{}", repaired.data);
    doctor(&home, ["--offline"]).assert_well();
    assert_eq!(home.fails(["get", &reference, "-o", "out", "--offline"]).0, 6, "it is not held any more");
    home.json(["import", pack.to_str().expect("text")]);
    home.json(["get", &reference, "-o", "out", "--offline"]);
    doctor(&home, ["--offline"]).assert_well();
}

#[test]
fn a_damaged_or_lost_blob_database_is_named_and_made_anew() {
    let (home, reference) = used_home();
    let database = home.path().join("blobs/blobs.db");
    let file = File::options().write(true).open(&database).expect("there");
    file.set_len(file.metadata().expect("there").len() / 2).expect("cut");
    doctor(&home, ["--offline"]).assert_mended("blobs", "blobs.db.damaged-1");
    doctor(&home, ["--offline"]).assert_well();
    fs::remove_file(&database).expect("removed");
    doctor(&home, ["--offline"]).assert_mended("blobs", "was gone");
    doctor(&home, ["--offline"]).assert_well();
    home.json(["get", &reference, "-o", "out"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_machine_does_to_the_network_is_named() {
    use syncra_tests::hosts::{Addresses, Lan, on, ran_inside};
    let test = "doctor::what_the_machine_does_to_the_network_is_named";
    let has_firewall = std::process::Command::new("nft").arg("--version").output().is_ok();
    if !has_firewall {
        return syncra_tests::skip(test, "no `nft` here");
    }
    if ran_inside(test) {
        return;
    }
    let mut lan = Lan::new(Addresses::Private);
    let mut machine = |harm: &[&str]| {
        let host = lan.host();
        let home = Home::on_host(host);
        doctor(&home, []).assert_well();
        harm.iter().for_each(|command| on(host, command));
        (doctor(&home, []), home)
    };
    let drops = |rule: &str| {
        let hook = "nft add chain inet filter out { type filter hook output priority 0; }";
        ["nft add table inet filter".to_owned(), hook.to_owned(), format!("nft add rule inet filter out {rule} drop")]
    };
    let drops = |rule: &str| drops(rule).to_vec();
    let run = |commands: Vec<String>, machine: &mut dyn FnMut(&[&str]) -> (Report, Home)| {
        machine(&commands.iter().map(|command| &**command).collect::<Vec<_>>())
    };

    let (alone, _) = machine(&["ip link set card down"]);
    alone.assert_bad("multicast", "does not come back");
    let (quiet, home) = run(drops("udp dport 5353"), &mut machine);
    quiet.assert_bad("multicast", "does not come back");
    // A running node says the same of its machine.
    let _node = home.up(["--listen", "/ip4/10.77.0.2/tcp/0"]);
    doctor(&home, []).assert_bad("multicast", "does not come back");
    let (deaf, _) = run(drops("meta l4proto udp"), &mut machine);
    assert_eq!((deaf.code, deaf.bad()), (1, vec!["udp", "multicast"]), "{}", deaf.data);
    assert!(deaf.detail("udp").contains("does not let a UDP packet out"), "{}", deaf.data);
}
