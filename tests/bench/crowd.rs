//! What an honest fetch costs while a crowd is up to no good.
//!
//! `crowd tarpits PEERS MIB RUNS`: the node that fetches has so many peers that never answer.
//! `crowd idle CONNECTIONS MIB RUNS`: the node that is fetched from has so many connections that say nothing.

#[path = "../suite/network/crowd.rs"]
mod crowd;

use std::process::Command;
use std::time::Duration;

fn main() {
    if crowd::was_crowd() {
        return;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, numbers @ ..] = &args[..] else { return usage() };
    let numbers: Vec<usize> = numbers.iter().filter_map(|text| text.parse().ok()).collect();
    let [n, mib, runs] = numbers[..] else { return usage() };
    let figures = match what.as_str() {
        "tarpits" => crowd::tarpits(n, mib << 20, runs),
        "idle" => crowd::idle(n, mib << 20, runs, || Command::new(std::env::current_exe().expect("this is a file"))),
        _ => return usage(),
    };
    let seconds = |took: &[Duration], of_hundred: usize| {
        let at = (took.len() * of_hundred).div_ceil(100).max(1) - 1;
        took[at].as_secs_f64()
    };
    for (name, of_hundred) in [("median", 50), ("p99", 99)] {
        let (clean, crowded) = (seconds(&figures.clean, of_hundred), seconds(&figures.crowded, of_hundred));
        say(&format!("{name}: {clean:.2} s without, {crowded:.2} s with, ratio {:.2}", crowded / clean));
    }
    say(&format!("node in the crowd: {} MiB resident, {} open files", figures.rss_kib >> 10, figures.n_files));
    let (took, rate) = (figures.gathering.as_secs_f64(), n as f64 / figures.gathering.as_secs_f64());
    say(&format!("the crowd was there in {took:.1} s: {rate:.0} a second"));
    say(&format!("troubles: {}, peers: {}", figures.status["troubles"], figures.status["n_peers"]));
}

fn usage() {
    say("usage: crowd tarpits PEERS MIB RUNS | crowd idle CONNECTIONS MIB RUNS");
}

#[expect(clippy::print_stdout, reason = "what was measured")]
fn say(line: &str) {
    println!("{line}");
}
