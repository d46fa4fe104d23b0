//! Mutate, run, keep what reached something new.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::coverage::Map;
use crate::memory;
use crate::targets::Target;

/// Bytes of an input at most.
const INPUT_BYTES: usize = 64 << 10;
/// An input is mutated once, twice, … this many times doubled, less one.
const STACKED: usize = 4;
/// Inputs that count as just kept.
const NEWEST: usize = 4;
/// Lengths, counts and characters that decoders care about.
const TELLING: &[&[u8]] = &[
    &[0x00],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0x7f],
    b"/",
    b"..",
    b"@",
    b"~",
    b"\n",
    b"\"",
    b"[package]\n",
    b"sha256",
    b"\xe2\x80\x94 ",
    b"\xcc\x81",
];

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// For a time.
    Time(Duration),
    /// For a number of inputs.
    Inputs(u64),
}

/// What came of a run without a finding.
#[derive(Debug)]
pub struct Done {
    /// Inputs tried.
    pub n_inputs: u64,
    /// How long mutated ones were tried.
    pub time: Duration,
    /// Inputs that reached something new, seeds among them.
    pub n_kept: usize,
    /// Branches that the seeds reach.
    pub n_at_first: usize,
    /// Branches reached, or none without instrumentation.
    pub n_reached: Option<usize>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = self.n_inputs as f64 / self.time.as_secs_f64().max(0.001);
        write!(f, "{} inputs, {per_second:.0}/s, ", self.n_inputs)?;
        match self.n_reached {
            Some(n) => {
                write!(f, "{} kept, {n} branches reached, {} of them by mutation", self.n_kept, n - self.n_at_first)
            }
            None => write!(f, "blind: built without coverage counters"),
        }
    }
}

/// An input that a target does not withstand.
#[derive(Debug)]
pub struct Finding {
    /// What happened.
    pub what: String,
    /// The input.
    pub input: Vec<u8>,
    /// Where it was written.
    pub file: PathBuf,
    /// How many inputs were tried until it was found.
    pub n_inputs: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the input of {} bytes is in {}", self.what, self.input.len(), self.file.display())
    }
}

/// A different run each time.
pub fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.subsec_nanos().into())
}

/// Runs a target on its seeds and on what mutation makes of them.
pub fn run(target: &Target, seeds: &[Vec<u8>], limit: Limit, seed: u64) -> Result<Done, Box<Finding>> {
    explore(target, seeds, limit, seed, Map::new())
}

/// As [`run`], seeing what `map` sees.
fn explore(target: &Target, seeds: &[Vec<u8>], limit: Limit, seed: u64, mut map: Map) -> Result<Done, Box<Finding>> {
    let own = (target.seeds)();
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    let mut n_inputs = 0;
    for input in own.iter().chain(seeds) {
        n_inputs += 1;
        let is_new = try_one(target, input, &mut map, n_inputs)?;
        if is_new || !map.is_instrumented() {
            corpus.push(input.clone());
        }
    }
    let n_at_first = map.n_reached();
    let mut random = Random(seed | 1);
    let began = Instant::now();
    loop {
        let goes_on = match limit {
            Limit::Time(time) => began.elapsed() < time,
            Limit::Inputs(n) => n_inputs < n,
        };
        if !goes_on {
            let n_reached = map.is_instrumented().then(|| map.n_reached());
            return Ok(Done { n_inputs, time: began.elapsed(), n_kept: corpus.len(), n_at_first, n_reached });
        }
        let input = mutated(&corpus, &own, &mut random);
        n_inputs += 1;
        if try_one(target, &input, &mut map, n_inputs)? {
            corpus.push(input);
        }
    }
}

/// Inputs in which the maze must be solved with the counters: many times what it takes.
const MAZE_INPUTS: u64 = 3_000_000;
/// Inputs in which it must not be solved without, whatever the guided run took.
const MAZE_INPUTS_BLIND: u64 = 100_000;

/// Solves a maze that only somebody who sees new branches can solve, and shows that nobody else does. Returns how many inputs it
/// took, and how many were not enough without counters.
pub fn prove() -> Result<(u64, u64), String> {
    let maze = Target { name: "maze", run: maze_run, seeds: || vec![vec![0; 8]], allocates: 1 << 10, per_byte: 64 };
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let solve = |map, n| explore(&maze, &[], Limit::Inputs(n), fresh_seed(), map).map_err(|found| found.n_inputs);
    let guided = solve(Map::new(), MAZE_INPUTS);
    let n_blind = guided.as_ref().map_or_else(|n| *n, |done| done.n_inputs).max(MAZE_INPUTS_BLIND);
    let blind = solve(Map::blind(), n_blind);
    std::panic::set_hook(quiet);
    match (guided, blind) {
        (Err(n_inputs), Ok(_)) => Ok((n_inputs, n_blind)),
        (Ok(done), _) => Err(format!("new branches do not guide mutation: the maze was not solved, {done}")),
        (_, Err(n_inputs)) => Err(format!("the maze proves nothing: without counters {n_inputs} inputs solved it")),
    }
}

fn maze_run(bytes: &[u8]) {
    assert!(!syncra_maze::is_solved(bytes), "the end of the maze");
}

fn try_one(target: &Target, input: &[u8], map: &mut Map, n_inputs: u64) -> Result<bool, Box<Finding>> {
    map.reset();
    let (largest, outcome) = memory::largest(|| catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    let allowed = target.allocates + target.per_byte * input.len();
    let what = match outcome {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            format!("panicked: {text}")
        }
        Ok(()) if largest > allowed => format!("asked for {largest} bytes at once, {allowed} are allowed"),
        Ok(()) => return Ok(map.take()),
    };
    let file = std::env::temp_dir().join(format!("syncra-fuzz-{}-{}", target.name, input.len()));
    // Without it the input is still in the message of who called.
    drop(std::fs::write(&file, input));
    Err(Box::new(Finding { what, input: input.to_vec(), file, n_inputs }))
}

/// Xorshift: good enough to choose bytes.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n.max(1) as u64).expect("below a usize")
    }
}

/// One of the corpus, changed: the target's own seeds and what was kept last are taken more often, and few changes are as
/// likely as many, because most of them break what an input had right.
fn mutated(corpus: &[Vec<u8>], own: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| match random.below(4) {
        0 if !own.is_empty() => &own[random.below(own.len())],
        1 => &corpus[corpus.len() - 1 - random.below(corpus.len().min(NEWEST))],
        _ => &corpus[random.below(corpus.len())],
    };
    let mut input = pick(random).clone();
    for _ in 0..1 << random.below(STACKED) {
        let other = pick(random);
        mutate(&mut input, other, random);
    }
    input.truncate(INPUT_BYTES);
    input
}

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(64) + 1);
    match random.below(10) {
        0 | 1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 if at < input.len() => input[at] = random.below(256) as u8,
        3 if at < input.len() => input[at] = input[at].wrapping_add(random.below(5) as u8).wrapping_sub(2),
        4 => drop(input.drain(at..end)),
        5 => input.truncate(at),
        6 => {
            let again = input[at..end].to_vec();
            drop(input.splice(at..at, again));
        }
        7 => drop(input.splice(at..end, TELLING[random.below(TELLING.len())].iter().copied())),
        8 => {
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
        _ => input.insert(at, random.below(256) as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seeds, targets};

    /// Blind, and few: that targets compile, accept their own seeds and withstand what is near them.
    #[test]
    fn every_target_withstands_a_first_look() {
        let vectors = seeds::all();
        assert!(vectors.len() > 400, "{} seeds", vectors.len());
        for target in targets::ALL {
            let n_inputs = vectors.len() as u64 + 3_000;
            let done = run(target, &vectors, Limit::Inputs(n_inputs), 7)
                .unwrap_or_else(|found| panic!("{}: {found}", target.name));
            assert!(done.n_inputs >= n_inputs);
        }
    }

    #[test]
    fn a_panic_and_a_large_allocation_are_found() {
        let weak = |run: fn(&[u8])| Target {
            name: "weak",
            run,
            seeds: || vec![b"abc".to_vec()],
            allocates: 1 << 10,
            per_byte: 64,
        };
        let panics = weak(|bytes| assert!(bytes.len() != 4, "four"));
        let found = run(&panics, &[], Limit::Inputs(10_000), 7).expect_err("a length of four is soon tried");
        assert!(found.what.contains("four") && found.input.len() == 4, "{found}");
        let greedy =
            weak(|bytes| drop(std::hint::black_box(Vec::<u8>::with_capacity(usize::from(bytes.len() == 5) << 20))));
        let found = run(&greedy, &[], Limit::Inputs(10_000), 7).expect_err("a length of five is soon tried");
        assert!(found.what.contains("bytes at once"), "{found}");
        drop([std::fs::remove_file(panics_file(4)), std::fs::remove_file(panics_file(5))]);
    }

    fn panics_file(n: usize) -> PathBuf {
        std::env::temp_dir().join(format!("syncra-fuzz-weak-{n}"))
    }
}
