//! The guide is executed: every command of every page, in order, in a fresh home.
#![cfg(unix)]

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

/// Runs a page; each command in a shell of its own, as the next person would type it.
fn run(page: &str) {
    let text = std::fs::read_to_string(guide().join(page)).expect("a page of the guide");
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{page} has no commands");
    let home = Home::new();
    let work = home.work().join("work");
    std::fs::create_dir(&work).expect("made");
    let beside = syncra_bin().parent().expect("the program lies in a directory").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(beside).chain(std::env::split_paths(&path))).expect("a search path");
    for Step { line, command, must_fail } in steps {
        let mut shell = Command::new("bash");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SYNCRA_")) {
            shell.env_remove(name);
        }
        // Pages are written by somebody whose login name is `alice`.
        shell.env("PATH", &path).env("SYNCRA_HOME", home.path()).env("USER", "alice").current_dir(&work);
        shell.args(["-c", &command]).stdin(Stdio::null());
        let Output { code, stdout, stderr } = Output::of(shell);
        assert_eq!(code != 0, must_fail, "{page}:{line}: `{command}` exited with {code}\n{stdout}{stderr}");
    }
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
fn carry() {
    run("carry.md");
}

#[test]
fn care() {
    run("care.md");
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
