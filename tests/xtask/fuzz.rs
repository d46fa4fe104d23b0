//! Fuzzing: the targets of `tests/fuzz`, built so that our own crates count their branches.

use std::process::{Command, ExitCode};

use crate::run::{root, say, succeeded};

/// Set for the build: this program is then called in place of rustc for the crates of this repository.
const AS_RUSTC: &str = "SYNCRA_XTASK_AS_RUSTC";
/// The crates whose branches are counted: our own, and the maze that shows that counting works. Not the runner: what it does is
/// no news.
const COUNTED: &[&str] = &["syncra_protocol", "syncra_node", "syncra_maze"];
/// LLVM's coverage pass, which the stable compiler takes too.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// Builds the targets with counters and runs them.
///
/// # Errors
/// A text for people: it does not build, or a target failed.
pub(crate) fn fuzz(args: &[&str]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    // Other crates are built as ever, so nothing of the dependencies is built twice.
    let status = Command::new(env!("CARGO"))
        .args(["run", "--locked", "--quiet", "--package", "syncra-fuzz", "--", "--guided"])
        .args(args)
        .current_dir(root())
        .env("RUSTC_WORKSPACE_WRAPPER", this)
        .env(AS_RUSTC, "1")
        .status();
    succeeded("cargo run --package syncra-fuzz", status)
}

/// The call of a compiler, if this is one: `xtask RUSTC ARG…`.
pub(crate) fn as_rustc(args: &[&str]) -> Option<ExitCode> {
    std::env::var_os(AS_RUSTC)?;
    let (rustc, args) = args.split_first()?;
    let named = |crates: &[&str]| args.windows(2).any(|pair| pair[0] == "--crate-name" && crates.contains(&pair[1]));
    let flags = if named(COUNTED) { FLAGS } else { &[] };
    match Command::new(rustc).args(args).args(flags).status() {
        Ok(status) if status.success() => Some(ExitCode::SUCCESS),
        Ok(_) => Some(ExitCode::FAILURE),
        Err(error) => {
            say(&format!("cannot start `{rustc}`: {error}"));
            Some(ExitCode::FAILURE)
        }
    }
}
