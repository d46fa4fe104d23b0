//! A home in which one scenario is interrupted again and again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use syncra_tests::crash::{Change, Disk, Event, Recording, Rng, Stage, What};
use syncra_tests::{Home, Node, Output};

use crate::scenario::Scenario;
use crate::state::State;

/// The directory whose birth tells a home from its copies.
const JOURNAL: &str = "home/journal";

/// The home, and how it looked before the command.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) scenario: &'static Scenario,
    pub(crate) home: Rc<Home>,
    package: String,
    stage: Stage,
    start: Disk,
    /// What the home tells before the command, and after it.
    pub(crate) states: Option<(State, State)>,
    _peer: Option<(Node, Home)>,
}

impl Lab {
    /// A home in which everything before the command was done.
    pub(crate) fn new(scenario: &'static Scenario) -> Self {
        let home = Rc::new(Home::in_memory("base/home"));
        let base = home.path().parent().expect("home lies in base").to_owned();
        std::fs::create_dir(&base).expect("made");
        write_package(&home.work().join("lamp-1"), "1.0.0", scenario.large_bytes);
        write_package(&home.work().join("lamp-2"), "2.0.0", scenario.large_bytes);
        let mut lab = Self {
            scenario,
            package: String::new(),
            stage: Stage::new(&base, JOURNAL),
            start: Disk::read(&base),
            home,
            states: None,
            _peer: None,
        };
        let other = Home::in_memory("home");
        for command in scenario.elsewhere {
            lab.prepare(&other, command);
        }
        for command in scenario.before {
            lab.prepare(&Rc::clone(&lab.home), command);
        }
        if scenario.has_peer {
            let node = other.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
            let settings = format!("bootstrap = [{}]\n", node.ready()["listen"][0]);
            std::fs::write(lab.home.path().join("config.toml"), settings).expect("written");
            lab._peer = Some((node, other));
        }
        lab.begin_here();
        lab
    }

    /// Runs a command that has to succeed.
    fn prepare(&mut self, home: &Home, args: &[&str]) {
        let mut command = home.command(self.args(args));
        command.arg("--json").current_dir(self.home.work());
        let data = Output::of(command).data();
        if let Some((package, _)) = data["ref"].as_str().and_then(|reference| reference.rsplit_once('@')) {
            self.package = package.to_owned();
        }
    }

    fn args(&self, args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| arg.replace("PKG", &self.package)).collect()
    }

    /// What is recorded: the home and its name.
    pub(crate) fn base(&self) -> &Path {
        self.home.path().parent().expect("home lies in base")
    }

    /// The command, not started.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.home.command(self.args(self.scenario.command));
        command.arg("--json");
        command
    }

    /// Runs the command under the recorder.
    pub(crate) fn record(&mut self) -> Recording {
        let recording = Recording::of(&self.command(), self.base());
        let said = String::from_utf8_lossy(&recording.output.stderr);
        assert!(recording.output.status.success(), "{} fails undisturbed: {said}", self.scenario.name);
        self.stage.keep();
        let after = State::of(self).expect("a state afterwards");
        self.reset();
        let before = State::of(self).expect("a state before");
        assert_ne!(before, after, "{} changes nothing", self.scenario.name);
        self.states = Some((before, after));
        recording
    }

    /// From now on the home begins as it is now.
    pub(crate) fn begin_here(&mut self) {
        self.stage.keep();
        self.start = Disk::read(self.base());
    }

    /// Puts the home back to before the command.
    pub(crate) fn reset(&self) {
        self.stage.put(&self.start);
    }

    /// Puts the home into a state.
    pub(crate) fn put(&self, disk: &Disk) {
        self.stage.put(disk);
    }

    /// A verb with `--json`; its data, or what went wrong.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<serde_json::Value, String> {
        let mut command = self.home.command(self.args(args));
        command.arg("--json");
        let output = Output::of(command);
        if output.code == 0 {
            Ok(output.data())
        } else {
            Err(format!("`{}` exits {}: {}", args.join(" "), output.code, output.stderr))
        }
    }
}

/// Some files; the large one is the same in both versions, so that the second publish shares its blob.
fn write_package(dir: &Path, version: &str, large_bytes: usize) {
    std::fs::create_dir(dir).expect("made");
    let manifest = format!("[package]\nname = \"lamp\"\nversion = \"{version}\"\nkind = \"script\"\n");
    let mut rng = Rng::new(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| rng.next().to_le_bytes()).take(large_bytes / 8).flatten().collect();
    let files = [
        ("syncra.toml", manifest.into_bytes()),
        ("lamp.syn", format!("system v{version}() {{}}").into()),
        ("noise.bin", noise),
    ];
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).expect("written");
    }
}

/// What the program was at when an event happened.
pub(crate) fn phase(events: &[Event], index: usize) -> &'static str {
    let event = &events[index];
    let path = event.path.as_str();
    if event.path.is_empty() {
        return "answer";
    }
    if path.starts_with("home/journal") {
        let written = events[..=index].iter().rev().find_map(|event| match &event.what {
            What::Data(_, Change::Write { bytes, .. }) if event.path.ends_with(".seg") => bytes.get(4),
            _ => None,
        });
        return match written {
            Some(1) => "journal: entries",
            Some(2) => "journal: note",
            Some(3) => "journal: head",
            _ => "journal: other",
        };
    }
    let phases = [
        ("home/blobs/blobs.db", "blob database"),
        ("home/blobs", "blobs"),
        ("home/index", "index"),
        ("home/logs", "logs"),
        ("home/installed/staging", "install: files"),
        ("home/installed/generations", "install: generation"),
        ("home/installed/current", "install: pointer"),
        ("home/installed/.current", "install: pointer"),
        ("home/installed", "install: place"),
    ];
    phases.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or("home", |(_, phase)| phase)
}

/// How many trials of a kind; `usual` unless `cargo xtask faults` says another number.
pub(crate) fn n_trials(usual: usize) -> usize {
    std::env::var("SYNCRA_FAULT_TRIALS").map_or(usual, |text| text.parse().expect("SYNCRA_FAULT_TRIALS is a number"))
}

/// Where the seeds of a run begin, so that another run tries others; 0 unless `cargo xtask faults` says another number.
pub(crate) fn first_seed() -> u64 {
    std::env::var("SYNCRA_FAULT_SEED").map_or(0, |text| text.parse().expect("SYNCRA_FAULT_SEED is a number"))
}

/// Tells what was tried, and fails if anything was found.
#[expect(clippy::print_stderr, reason = "seen by who runs the test by hand")]
pub(crate) fn report(what: &str, phases: &BTreeMap<&str, usize>, failures: &[String]) {
    let n: usize = phases.values().sum();
    let list: Vec<String> = phases.iter().map(|(phase, n)| format!("{phase} {n}")).collect();
    eprintln!("{what}: {n} trials ({}), {} failures", list.join(", "), failures.len());
    let shown: Vec<&str> = failures.iter().take(5).map(String::as_str).collect();
    assert!(failures.is_empty(), "{what}: {} of {n} trials failed\n{}", failures.len(), shown.join("\n"));
}
