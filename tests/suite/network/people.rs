//! What the tests of this suite begin with: somebody who has published a package, and somebody who wants it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use syncra_tests::{Home, Node};

/// Provider records of a package with one release: its id, its name and the content root. They come in no order.
pub(crate) const RECORDS: u64 = 3;

/// A port of loopback for each node of a test.
pub(crate) const LOOPBACK: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// After this an event that never came is a failed test: far above anything a loaded machine needs.
const HUNG: Duration = Duration::from_secs(120);

/// A package on disk and published from `home`.
pub(crate) struct Published {
    pub(crate) dir: PathBuf,
    /// What names it on any node.
    pub(crate) reference: String,
    pub(crate) total_bytes: u64,
}

/// Where a node listens, with its key.
pub(crate) fn address(node: &Node) -> &str {
    node.ready()["listen"][0].as_str().expect("an address")
}

/// Bytes that nothing makes smaller, the same for the same `seed`.
pub(crate) fn noise(seed: u64, n_bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(n_bytes + 8);
    while bytes.len() < n_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n_bytes);
    bytes
}

/// Publishes a package of one large file and a small one, on a running node or without.
pub(crate) fn publish(home: &Home, version: &str, n_bytes: usize) -> Published {
    let dir = home.work().join("world");
    std::fs::create_dir_all(&dir).expect("a directory");
    let manifest = format!("[package]\nname = \"world\"\nversion = \"{version}\"\nkind = \"asset\"\n");
    let seed = version.bytes().map(u64::from).sum();
    for (name, bytes) in [("syncra.toml", manifest.into_bytes()), ("terrain.bin", noise(seed, n_bytes))] {
        std::fs::write(dir.join(name), bytes).expect("a file");
    }
    let told = home.json(["publish", text(&dir), "--yes"]);
    Published { reference: word(&told, "ref"), total_bytes: number(&told, "total_bytes"), dir }
}

/// Somebody who reaches others by the wire of the test only: the table would name ways around it.
pub(crate) fn wired() -> Home {
    let home = Home::new();
    home.json(["config", "set", "dht", "false"]);
    home
}

/// Waits for something.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < HUNG, "{what}: never");
        std::thread::yield_now();
    }
}

/// A verb that is under way.
pub(crate) fn begin(home: &Home, args: &[&str]) -> Child {
    let mut command = home.command(args);
    command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Waits for an event of a running node, past or to come.
pub(crate) fn hears(home: &Home, is_it: impl Fn(&Value) -> bool + Send + 'static) -> Value {
    let mut events = begin(home, &["events", "--since", "0"]);
    let lines = BufReader::new(events.stdout.take().expect("piped")).lines();
    let (heard, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let frames = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let found = frames.map(|mut frame| frame["event"].take()).find(|event| is_it(event));
        // Whoever waited has given up: then the test has failed already.
        drop(heard.send(found));
    });
    let found = wait.recv_timeout(HUNG).ok().flatten();
    drop(events.kill());
    drop(events.wait());
    found.expect("the node says so")
}

/// The same files with the same bytes.
pub(crate) fn assert_same_files(got: &Path, published: &Published) {
    for name in ["syncra.toml", "terrain.bin"] {
        let (got, sent) = (std::fs::read(got.join(name)), std::fs::read(published.dir.join(name)));
        assert!(got.expect("it was fetched") == sent.expect("it was published"), "{name} differs");
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub(crate) fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}

pub(crate) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} of {value}"))
}
