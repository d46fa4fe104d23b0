//! `cargo xtask sim`: many seeds, one summary; of a failure everything that is needed to see it again.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use syncra_sim::gossip::{self, attack::Attack};
use syncra_sim::hunt::{attempt, smaller};
use syncra_sim::scenario::{Config, SCENARIOS, Trouble};
use syncra_sim::sim::Summary;

const USAGE: &str = "\
usage: cargo xtask sim [--seeds N] [--seed S] [--nodes N] [--minutes M | --hours H] [--scenario NAME] [--without TROUBLE]…

  --seeds N          runs so many seeds, from that of --seed on (100, from 0 on, if not said; with --seed alone one)
  --seed S           the first seed
  --nodes N          nodes in each run, 3 at least; the seed decides if not said
  --minutes M        virtual minutes of trouble in each run; the seed decides if not said
  --hours H          the same in hours
  --scenario NAME    calm, lossy, partitions, crashes, liars, forks, warnings, clocks, copies, withheld, quarrels, thieves,
                     honest (all that goes wrong where nobody means harm), everything (if not said)
  --without TROUBLE  leaves out: loss, duplicates, stalls, partitions, crashes, disk, liars, forks, clocks, copies, withheld,
                     quarrels, thieves

usage: cargo xtask sim gossip [--seed S] [--minutes M] [--victims N]

  a hundred nodes that gossip, ten of them attackers with a thousand messages a second each: once for each attack
";

/// How often it is said how far the runs are.
const PROGRESS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "gossip") {
        return match crowd(&args[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                say(&format!("{why}\n\n{USAGE}"));
                ExitCode::from(2)
            }
        };
    }
    match parse(&args) {
        Ok((config, n_seeds)) => hunt(&config, n_seeds),
        Err(why) => {
            say(&format!("{why}\n\n{USAGE}"));
            ExitCode::from(2)
        }
    }
}

fn parse(args: &[String]) -> Result<(Config, u64), String> {
    let mut config = Config::seeded(0);
    let (mut n_seeds, mut one) = (None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{arg}` needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is no number"));
        match arg.as_str() {
            "--seeds" => n_seeds = Some(number()?),
            "--seed" => (config.seed, one) = (number()?, true),
            "--nodes" => config.n_nodes = Some(usize::try_from(number()?).unwrap_or(usize::MAX).clamp(3, 1_000)),
            "--minutes" => config.minutes = Some(number()?),
            "--hours" => config.minutes = Some(number()?.saturating_mul(60)),
            "--scenario" => {
                let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
                config.scenario =
                    Config::scenario(value).ok_or_else(|| format!("scenarios are {}", names.join(", ")))?;
            }
            "--without" => {
                let trouble = Trouble::ALL.iter().find(|(name, _)| name == value);
                config.without.extend([trouble.ok_or_else(|| format!("`{value}` is no trouble"))?.1]);
            }
            _ => return Err(format!("`{arg}` is not known")),
        }
    }
    Ok((config, n_seeds.unwrap_or(if one { 1 } else { 100 })))
}

fn crowd(args: &[String]) -> Result<(), String> {
    let mut config = gossip::Config::seeded(0, &[]);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{arg}` needs a value"))?;
        let number = value.parse::<u64>().map_err(|_| format!("`{value}` is no number"))?;
        match arg.as_str() {
            "--seed" => config.seed = number,
            "--minutes" => config.minutes = number,
            "--victims" => {
                config.n_victims = usize::try_from(number).unwrap_or(usize::MAX).clamp(1, config.n_honest);
            }
            _ => return Err(format!("`{arg}` is not known")),
        }
    }
    say(
        "attack    in time of     news  half ms  99% ms  last ms  attacks  let on  away  at the busiest: hashed/s  checked/s  of all: hashed  checked",
    );
    let all: Vec<Attack> = Attack::ALL.iter().map(|(_, attack)| *attack).collect();
    let one = Attack::ALL.iter().map(|(name, attack)| (*name, vec![*attack]));
    for (name, attacks) in [("none", vec![]), ("all", all)].into_iter().chain(one) {
        let gossip::Config { attacks, .. } = gossip::Config::seeded(0, &attacks);
        let summary = gossip::run(&gossip::Config { attacks, ..config.clone() });
        let ([half, most, last], load) = (summary.delays_ms, summary.worst);
        let percent = summary.delivered_per_100_000() as f64 / 1_000.0;
        say(&format!(
            "{name:8} {percent:7.3} % of {:8} {half:8} {most:7} {last:8} {:8} {:7} {:5} {:25} {:10} {:15} {:8}",
            summary.n_wanted,
            summary.n_attacks,
            summary.n_passed_on,
            summary.n_shut_out,
            load.messages_in_a_second,
            load.checked_in_a_second,
            load.n_messages,
            load.n_checked,
        ));
    }
    Ok(())
}

fn hunt(first: &Config, n_seeds: u64) -> ExitCode {
    let started = Instant::now();
    let mut total = Total::default();
    let mut said = started;
    for n in 0..n_seeds {
        let config = Config { seed: first.seed.wrapping_add(n), ..first.clone() };
        match attempt(&config) {
            Ok(summary) => total.add(&summary),
            Err(failed) => {
                let (violation, summary) = *failed;
                say(&format!("FAILED seed {}: {violation}", config.seed));
                say(&format!("  trace   {}", hex(&summary.trace)));
                say(&format!("  commit  {}", commit()));
                say(&format!("  replay  {}", config.command()));
                say("  looking for a smaller one …");
                say(&format!("  smaller {}", smaller(&config, violation.invariant).command()));
                return ExitCode::FAILURE;
            }
        }
        if said.elapsed() > PROGRESS {
            said = Instant::now();
            say(&format!("{} of {n_seeds} seeds, {}", n + 1, total.line(started.elapsed())));
        }
    }
    say(&format!("{n_seeds} seeds, {}", total.line(started.elapsed())));
    let seen: Vec<String> = total.seen.iter().map(|(name, n)| format!("{name} {n}")).collect();
    say(&seen.join(", "));
    if let (n_warned @ 1.., ms, hops) = total.warned {
        say(&format!(
            "all {n_warned} who were there knew of a fork {ms} ms after it showed, over {hops} others at most"
        ));
    }
    if n_seeds == 1 {
        say(&format!("trace {}", hex(&total.trace)));
    }
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Total {
    n_events: u64,
    virtual_ms: u64,
    n_messages: u64,
    n_lost: u64,
    n_doubled: u64,
    n_crashes: u64,
    n_partitions: u64,
    converged_ms: u64,
    warned: (u64, u64, u64),
    seen: BTreeMap<&'static str, u64>,
    trace: [u8; 32],
}

impl Total {
    fn add(&mut self, one: &Summary) {
        self.n_events += one.n_events;
        self.virtual_ms += one.virtual_ms;
        self.n_messages += one.n_messages;
        self.n_lost += one.n_lost;
        self.n_doubled += one.n_doubled;
        self.n_crashes += one.n_crashes;
        self.n_partitions += one.n_partitions;
        self.converged_ms = self.converged_ms.max(one.converged_ms);
        let (n_warned, ms, hops) = self.warned;
        self.warned = (n_warned + one.n_warned, ms.max(one.warned_ms), hops.max(one.warned_hops));
        for (name, n) in &one.seen {
            *self.seen.entry(name).or_default() += n;
        }
        self.trace = one.trace;
    }

    fn line(&self, took: Duration) -> String {
        let hours = self.virtual_ms as f64 / 3_600_000.0;
        let seconds = took.as_secs_f64();
        format!(
            "{} events, {hours:.1} virtual hours in {seconds:.1} s ({:.0} times as fast), {} messages, {} lost, {} doubled, \
             {} crashes, {} partitions, at most {} s until all was equal",
            self.n_events,
            hours * 3_600.0 / seconds.max(0.001),
            self.n_messages,
            self.n_lost,
            self.n_doubled,
            self.n_crashes,
            self.n_partitions,
            self.converged_ms / 1_000,
        )
    }
}

/// The commit that this runs from, if it runs from one.
fn commit() -> String {
    let described = std::process::Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text =
        described.ok().filter(|out| out.status.success()).map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn say(line: &str) {
    // Whoever closed the pipe wants no more.
    drop(writeln!(std::io::stdout(), "{line}"));
}
