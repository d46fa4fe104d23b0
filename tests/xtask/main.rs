//! Repository tasks: `cargo xtask test` and friends. Only the standard library, so that it builds in a second.

mod debian;
mod fuzz;
mod run;
mod windows;
mod wine;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  test [--no-skips] [FILTER]  install what the tests need, build everything, run every test;
                              with --no-skips a skipped test is a failure; FILTER goes to the test runner
  faults [--trials N] [--seed S]
                              interrupt and damage the real program N times in each way (1000 if not said); from another
                              seed other moments and other losses are tried
  fuzz [TARGET] [--seconds N] throw mutated bytes at one decoder, or at all in turn, for N seconds (60 if not said);
                              keeps what takes new branches, and shows first that this works; `--list` names the targets
  sim [--seeds N] [--seed S] [--nodes N] [--minutes M] [--scenario NAME]
                              many nodes in virtual time, from seeds; of a failure it says how to see it again;
                              `sim gossip` measures a hundred nodes that gossip, ten of them attackers
  setup                       only install what the tests need (Debian packages)
  vectors                     write the golden vectors anew (a format change: bring its spec text)
  fixtures [--again]          write `tests/fixtures/<version>/`: a home, a stick and words on the wire as this version makes
                              them, for every later one to read. Run it once for a version, before its release; until then
                              a change of format may write them `--again`. Those of a released version are never touched:
                              if a later version does not read them, that version is wrong
  windows [--required|--try]  check that the program compiles for Windows; installs the compiler's part for it and a C
                              compiler when it may; without them it says NOT CHECKED, with --required that is a failure;
                              with --try it is built and tried under Wine instead, which takes as long as any debug build
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Some(code) = fuzz::as_rustc(&args) {
        return code;
    }
    let done = match args.as_slice() {
        ["test", rest @ ..] => run::test(rest),
        ["faults"] => run::faults("1000", "0"),
        ["faults", "--trials", n_trials] => run::faults(n_trials, "0"),
        ["faults", "--seed", seed] => run::faults("1000", seed),
        ["faults", "--trials", n_trials, "--seed", seed] => run::faults(n_trials, seed),
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["sim", rest @ ..] => run::sim(rest),
        ["setup"] => debian::install_missing(),
        ["vectors"] => run::vectors(),
        ["fixtures"] => run::fixtures(false),
        ["fixtures", "--again"] => run::fixtures(true),
        ["windows"] => windows::check(false),
        ["windows", "--required"] => windows::check(true),
        ["windows", "--try"] => windows::try_out(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            run::say(&why);
            ExitCode::FAILURE
        }
    }
}
