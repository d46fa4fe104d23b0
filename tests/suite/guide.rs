//! The guide is executed: every command of every page and of the README's tour, in order, in a fresh home.
#![cfg(unix)]

use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use syncra_tests::{Home, Output, syncra_bin};

/// One command of a page.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Its line in the page, from 1.
    line: usize,
    command: String,
    /// Whether it ends with `# fails`, so that success would be the error.
    must_fail: bool,
}

/// The lines with `$ ` in front inside blocks of ```` ```console ````.
fn steps(page: &str) -> Vec<Step> {
    let (mut found, mut is_console) = (Vec::new(), false);
    for (at, line) in page.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("```") {
            is_console = !is_console && kind == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            let must_fail = command.trim_end().ends_with("# fails");
            found.push(Step { line: at + 1, command: command.to_owned(), must_fail });
        }
    }
    found
}

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide")
}

/// Where the commands of a page are typed: a fresh home and a directory to work in.
struct Desk {
    home: Home,
    work: PathBuf,
    path: std::ffi::OsString,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let work = home.work().join("work");
        std::fs::create_dir(&work).expect("made");
        let beside = syncra_bin().parent().expect("the program lies in a directory").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths(std::iter::once(beside).chain(std::env::split_paths(&path))).expect("a search path");
        Self { home, work, path }
    }

    /// A command in a shell of its own, as the next person would type it.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SYNCRA_")) {
            shell.env_remove(name);
        }
        // Pages are written by somebody whose login name is `alice`, and who is alone in this network.
        shell.env("PATH", &self.path).env("SYNCRA_HOME", self.home.path()).env("USER", "alice");
        shell.env("SYNCRA_LAN_PORT", "0").current_dir(&self.work).args(["-c", command]).stdin(Stdio::null());
        shell
    }

    fn run(&self, page: &str, step: &Step) {
        let Step { line, command, must_fail } = step;
        let Output { code, stdout, stderr } = Output::of(self.shell(command));
        assert_eq!(code != 0, *must_fail, "{page}:{line}: `{command}` exited with {code}\n{stdout}{stderr}");
    }
}

/// Runs a page of the guide. A node that it starts `# in another terminal` runs until the end of the page.
fn run(page: &str) {
    let text = std::fs::read_to_string(guide().join(page)).expect("a page of the guide");
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{page} has no commands");
    let desk = Desk::new();
    let mut nodes = Vec::new();
    for step in &steps {
        match step.command.split_once('#') {
            Some((command, " in another terminal")) if command.trim() == "syncra up" => {
                nodes.push(desk.home.up([""; 0]))
            }
            _ => desk.run(page, step),
        }
    }
}

/// The tour of the README, from its second command on: the program is built and on the search path already.
#[test]
fn the_tour_of_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let (_, tour) = readme.split_once("\n## Five minutes\n").expect("the tour");
    let tour = tour.split("\n## ").next().expect("its end");
    let desk = Desk::new();
    let copied = Command::new("cp").arg("-r").arg(root.join("examples")).arg(&desk.work).status();
    assert!(copied.is_ok_and(|status| status.success()), "the examples are copied");
    let (mut node, mut watching, mut n_steps) = (None, None, 0);
    for step in steps(tour) {
        n_steps += 1;
        let command = step.command.split('#').next().unwrap_or_default().trim();
        match command {
            "syncra up" => node = Some(desk.home.up([""; 0])),
            // The stream ends with the node.
            command if command.starts_with("syncra events") => {
                let mut events = desk.shell(command).stdout(Stdio::piped()).spawn().expect("bash starts");
                let mut told = std::io::BufReader::new(events.stdout.take().expect("piped"));
                let mut line = String::new();
                told.read_line(&mut line).expect("a first event");
                watching = Some((events, told, line));
            }
            command if command.starts_with("syncra down") => {
                desk.run("README.md", &step);
                let (mut events, mut told, mut line) = watching.take().expect("events are read");
                let stopped = node.take().expect("the node is up").wait();
                told.read_to_string(&mut line).expect("the rest");
                let code = events.wait().expect("it ends").code();
                assert_eq!((stopped.0, code), (0, Some(0)), "{line}");
                assert!(line.contains("the node is stopping"), "{line}");
            }
            command if command.starts_with("cargo ") || command.starts_with("export ") => {}
            _ => {
                let must_fail = step.command.contains("# exit 3");
                desk.run("README.md", &Step { must_fail, ..step });
            }
        }
    }
    assert!(n_steps > 12 && node.is_none(), "{n_steps} steps: the tour was not found, or goes on");
}

#[test]
fn publish() {
    run("publish.md");
}

#[test]
fn install() {
    run("install.md");
}

#[test]
fn share() {
    run("share.md");
}

#[test]
fn carry() {
    run("carry.md");
}

#[test]
fn merge() {
    run("merge.md");
}

#[test]
fn draft() {
    run("draft.md");
}

#[test]
fn git() {
    run("git.md");
}

#[test]
fn witness() {
    run("witness.md");
}

#[test]
fn together() {
    run("together.md");
}

#[test]
fn care() {
    run("care.md");
}

#[test]
fn audit() {
    run("audit.md");
}

/// A page that no test runs would rot unseen.
#[test]
fn every_page_is_run() {
    let source = include_str!("guide.rs");
    for entry in std::fs::read_dir(guide()).expect("the guide") {
        let name = entry.expect("an entry").file_name().into_string().expect("a UTF-8 name");
        // `errors.md` is generated and has no commands.
        let is_run = source.contains(&format!("run(\"{name}\")"));
        assert!(is_run || name == "errors.md", "docs/guide/{name} is run by no test");
    }
}

#[test]
fn commands_are_found_in_console_blocks_only() {
    let page = "$ no\n```console\n$ one\noutput\n$ two # fails\n```\n```sh\n$ no\n```\n";
    let found: Vec<_> = steps(page).into_iter().map(|step| (step.line, step.command, step.must_fail)).collect();
    assert_eq!(found, [(3, "one".to_owned(), false), (5, "two # fails".to_owned(), true)]);
}
