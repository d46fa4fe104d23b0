//! Throws mutated bytes at one decoder, or at all: `cargo xtask fuzz [TARGET] [--seconds N]`.
//!
//! In process and on the stable compiler. Built by `cargo xtask fuzz`, our own crates count which of their branches were
//! taken (LLVM's 8-bit counters), and inputs that take new ones are kept and mutated further; that this works is shown
//! first, on a maze. Built plainly, as in the suite, there are no counters: then this is blind mutation of the seeds. Each run also has a bound on the memory that
//! one allocation may ask for. There is no address sanitizer: what is fuzzed is safe Rust.

mod coverage;
mod engine;
mod memory;
mod seeds;
mod targets;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: syncra-fuzz [--guided] [TARGET] [--seconds N] | --list";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let guided = args.first() == Some(&"--guided");
    args.drain(..usize::from(guided));
    let (target, seconds) = match args.as_slice() {
        ["--list"] => {
            targets::ALL.iter().for_each(|target| println!("{}", target.name));
            return ExitCode::SUCCESS;
        }
        [] => (None, "60"),
        ["--seconds", seconds] => (None, *seconds),
        [target] => (Some(*target), "60"),
        [target, "--seconds", seconds] | ["--seconds", seconds, target] => (Some(*target), *seconds),
        _ => return fail(USAGE),
    };
    let Ok(seconds) = seconds.parse() else { return fail(USAGE) };
    let chosen: Vec<_> = targets::ALL.iter().filter(|known| target.is_none_or(|name| name == known.name)).collect();
    if chosen.is_empty() {
        return fail("there is no such target; `--list` names all");
    }
    if guided {
        match engine::prove() {
            Ok((n, n_blind)) => println!("guided: a maze was solved in {n} inputs; blind: not in {n_blind}"),
            Err(why) => return fail(&why),
        }
    }
    let seeds = seeds::all();
    let each = Duration::from_secs(seconds) / u32::try_from(chosen.len()).expect("a few targets");
    let mut failed = false;
    for target in chosen {
        let limit = engine::Limit::Time(each);
        match engine::run(target, &seeds, limit, engine::fresh_seed()) {
            Ok(done) => println!("{:<16} {done}", target.name),
            Err(finding) => {
                failed = true;
                println!("{:<16} FAILED: {finding}", target.name);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
