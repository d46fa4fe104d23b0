//! Building and running the suite.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian;

/// Says something to the person at the terminal.
#[expect(clippy::print_stderr, reason = "the one printer of this program")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Installs, builds, runs everything.
///
/// # Errors
/// A text for people: a step failed, or with `--no-skips` a test was skipped.
pub(crate) fn test(args: &[&str]) -> Result<(), String> {
    let no_skips = args.contains(&"--no-skips");
    let filter: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--no-skips").collect();
    debian::install_missing()?;
    // One build of everything with one feature set; the test run below then finds it fresh.
    cargo(&["build", "--locked", "--workspace", "--all-targets"], None)?;
    let skipped = target_dir().join("skipped-tests");
    let _ = std::fs::remove_file(&skipped);
    let mut run = vec!["test", "--locked", "--workspace", "--no-fail-fast"];
    run.extend(filter);
    let result = cargo(&run, Some(&skipped));
    let skips = std::fs::read_to_string(&skipped).unwrap_or_default();
    for line in skips.lines() {
        say(&format!("SKIPPED {line}"));
    }
    let n_skipped = skips.lines().count();
    say(&format!("{n_skipped} tests skipped"));
    result?;
    if no_skips && n_skipped > 0 {
        return Err(format!("{n_skipped} tests were skipped, which --no-skips does not accept"));
    }
    Ok(())
}

/// Runs the trials of power cuts, kills and damage in their full number.
///
/// # Errors
/// A text for people: something does not build, or a trial found a loss.
pub(crate) fn faults(n_trials: &str, seed: &str) -> Result<(), String> {
    debian::install_missing()?;
    cargo(&["build", "--locked", "--package", "syncra-node"], None)?;
    let status = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--package", "syncra-tests", "--test", "faults", "--", "--nocapture"])
        .env("SYNCRA_FAULT_TRIALS", n_trials)
        .env("SYNCRA_FAULT_SEED", seed)
        .env("SYNCRA_BIN", binary())
        .status();
    succeeded("cargo test faults", status)
}

/// Runs the simulation of many nodes.
///
/// # Errors
/// A text for people: it does not build, or an invariant does not hold.
pub(crate) fn sim(args: &[&str]) -> Result<(), String> {
    let run = ["run", "--locked", "--quiet", "--package", "syncra-sim", "--"];
    cargo(&[&run, args].concat(), None)
}

/// Writes the golden vectors anew.
///
/// # Errors
/// A text for people when a test that writes vectors failed.
pub(crate) fn vectors() -> Result<(), String> {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--locked", "-p", "syncra-protocol", "-p", "syncra-tests", "vectors"])
        .env("SYNCRA_WRITE_VECTORS", "1")
        .status();
    succeeded("cargo test vectors", status)
}

/// Writes the fixtures of this version; those that are there only `again`.
///
/// # Errors
/// A text for people: they are there already, or something failed.
pub(crate) fn fixtures(again: bool) -> Result<(), String> {
    let version = env!("CARGO_PKG_VERSION");
    let dir = root().join("tests/fixtures").join(version);
    if dir.exists() && !again {
        let why = "they stay as they are once it is released; before that, write them `--again`";
        return Err(format!("there are fixtures of version {version}: {why}"));
    }
    cargo(&["build", "--locked", "--package", "syncra-node"], None)?;
    let status = Command::new(env!("CARGO"))
        .args(["test", "--locked", "-p", "syncra-tests", "--test", "state", "fixtures_of_this_version"])
        .env("SYNCRA_WRITE_FIXTURES", "1")
        .env("SYNCRA_BIN", binary())
        .status();
    succeeded("cargo test fixtures", status)
}

fn cargo(args: &[&str], skipped: Option<&Path>) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    if let Some(file) = skipped {
        command.env("SYNCRA_SKIPPED", file).env("SYNCRA_BIN", binary());
    }
    succeeded(&format!("cargo {}", args.join(" ")), command.status())
}

/// The end of a command, or what went wrong with it.
pub(crate) fn succeeded(what: &str, status: std::io::Result<std::process::ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{what}` failed: {status}")),
        Err(error) => Err(format!("`{what}` could not be started: {error}")),
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// This program lies in `<target>/<profile>/xtask`.
pub(crate) fn target_dir() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    this.parent().expect("it lies in a directory").to_owned()
}

fn binary() -> PathBuf {
    target_dir().join(format!("syncra{}", std::env::consts::EXE_SUFFIX))
}
