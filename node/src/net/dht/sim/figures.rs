//! Measures: each test on a few nodes for every run of the suite, and on as many as are asked for, which takes minutes.

use std::io::Write as _;

use super::carrier::{Goal, Outcome};
use super::network::Network;
use super::node::Manner;
use super::{Lookups, Part};
use syncra_protocol::record::ProviderKey;

const SEED: u64 = 26;

/// Announcing and looking up, some times over.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) said: Vec<Outcome>,
    pub(super) found: Vec<Outcome>,
}

/// Who looks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeker {
    /// Somebody who has been there for long.
    Member,
    /// Somebody who has just come and knows one node.
    Newcomer,
}

/// Somebody provides a key, and somebody else looks for it; so many times.
pub(super) fn tally(network: &mut Network, seeker: Seeker, n_times: usize) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..n_times {
        let (key, provider) = (network.random_key(), network.somebody());
        tally.said.push(network.ask(provider, &Goal::Provide(key)));
        tally.found.push(look_up(network, seeker, key));
    }
    tally
}

pub(super) fn look_up(network: &mut Network, seeker: Seeker, key: ProviderKey) -> Outcome {
    let entrance = network.somebody();
    if seeker == Seeker::Member {
        return network.ask(entrance, &Goal::Find(key));
    }
    let newcomer = network.create(Part::Asks);
    network.introduce(newcomer, entrance);
    let outcome = network.ask(newcomer, &Goal::Find(key));
    network.forget_last();
    outcome
}

impl Tally {
    pub(super) fn n_found(&self) -> usize {
        self.found.iter().filter(|outcome| outcome.found_ms.is_some()).count()
    }
}

fn median<T: Ord + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4)
}

fn say(line: &str) {
    if wanted().is_some() {
        // Not captured, unlike `println`; whoever closed the pipe wants no more.
        drop(writeln!(std::io::stdout(), "{line}"));
    }
}

/// For how many nodes somebody wants figures.
fn wanted() -> Option<Vec<usize>> {
    let sizes = std::env::var("SYNCRA_TABLE_NODES").ok()?;
    Some(sizes.split(',').map(|n| n.parse().expect("numbers of nodes")).collect())
}

fn sizes() -> Vec<usize> {
    wanted().unwrap_or_else(|| vec![20])
}

/// Keys, and the shares of nodes that something is wrong with, in percent.
fn shares<const N: usize>(all: [usize; N]) -> (usize, Vec<usize>) {
    if wanted().is_some() { (50, all.to_vec()) } else { (2, vec![all[1]]) }
}

fn head() {
    say(
        "                         found  first ms  all ms  hops  questions  most  dials  failed    KiB | announce  told    ms",
    );
}

fn row(name: &str, tally: &Tally) {
    let of = |what: fn(&Outcome) -> usize| median(tally.found.iter().map(what));
    let said = |what: fn(&Outcome) -> usize| median(tally.said.iter().map(what));
    say(&format!(
        "{name:24} {:3}/{:3} {:8} {:7} {:5} {:10} {:5} {:6} {:7} {:6} | {:8} {:5} {:5}",
        tally.n_found(),
        tally.found.len(),
        median(tally.found.iter().filter_map(|outcome| outcome.found_ms)),
        median(tally.found.iter().map(|outcome| outcome.took_ms)),
        median(tally.found.iter().filter_map(|outcome| outcome.hops)),
        of(|outcome| outcome.questions),
        tally.found.iter().map(|outcome| outcome.questions).max().unwrap_or(0),
        of(|outcome| outcome.dials),
        of(|outcome| outcome.failed),
        of(|outcome| outcome.bytes) / 1024,
        said(|outcome| outcome.questions),
        said(|outcome| outcome.announcements),
        median(tally.said.iter().map(|outcome| outcome.took_ms)),
    ));
}

fn grow(name: &str, network: impl FnOnce() -> Network) {
    let before = resident_kib();
    let mut network = network();
    let (n_nodes, used) = (network.nodes.len(), resident_kib().saturating_sub(before));
    let in_tables = median(network.nodes.iter_mut().map(|node| node.dht.n_peers()));
    for seeker in [Seeker::Newcomer, Seeker::Member] {
        let tally = tally(&mut network, seeker, if wanted().is_some() { 30 } else { 2 });
        assert!(tally.n_found() > 0, "{name}: {tally:?}");
        row(&format!("{name}, {seeker:?}"), &tally);
    }
    say(&format!("                         {in_tables} in a table, {} KiB of memory a node", used / n_nodes));
}

#[test]
fn of_growth() {
    head();
    for n in sizes().into_iter().filter(|n| *n <= 1_000) {
        grow(&format!("{n} joined"), || Network::joined(SEED, n, Lookups::Disjoint));
    }
    for n in sizes() {
        grow(&format!("{n} settled"), || Network::settled(SEED, n, Lookups::Disjoint));
    }
}

#[test]
fn of_churn() {
    head();
    let (n_keys, shares) = shares([0, 10, 20, 30, 50]);
    for n in sizes() {
        for percent in &shares {
            churn(n, n_keys, *percent);
        }
    }
}

fn churn(n: usize, n_keys: usize, percent: usize) {
    let mut network = Network::settled(SEED, n, Lookups::Disjoint);
    let (mut tally, mut keys) = (Tally::default(), Vec::new());
    while keys.len() < n_keys {
        let (key, provider) = (network.random_key(), network.somebody());
        tally.said.push(network.ask(provider, &Goal::Provide(key)));
        keys.push((key, network.nodes[provider].id));
    }
    network.turn(percent, &[Manner::Gone]);
    // Whoever provides a key is not among those who went.
    keys.retain(|(_, provider)| network.is_honest(provider));
    tally.found = keys.into_iter().map(|(key, _)| look_up(&mut network, Seeker::Member, key)).collect();
    row(&format!("{n}: {percent} % gone since"), &tally);
    row(&format!("{n}: {percent} % gone before"), &self::tally(&mut network, Seeker::Member, n_keys));
}

#[test]
fn of_lies() {
    head();
    let both = [Manner::Empty, Manner::Lying];
    let (n_keys, shares) = shares([10, 30, 50, 70, 90]);
    for n in sizes() {
        for lookups in [Lookups::Disjoint, Lookups::Joint] {
            for (what, manners) in [("empty", &both[..1]), ("lying", &both[1..]), ("both", &both)] {
                for percent in &shares {
                    let mut network = Network::settled(SEED, n, lookups);
                    network.turn(*percent, manners);
                    let tally = tally(&mut network, Seeker::Member, n_keys);
                    row(&format!("{n} {lookups:?} {percent}% {what}"), &tally);
                }
            }
        }
    }
}

#[test]
fn of_an_eclipsed_key() {
    head();
    let (n_keys, all) = shares([5, 10, 15, 20, 40]);
    for n in sizes() {
        for n_near in &all {
            let mut tally = Tally::default();
            for nth in 0..(n_keys / 5).max(1) {
                let mut network = Network::new(SEED + nth as u64, Lookups::Disjoint);
                network.grow(n);
                let key = network.random_key();
                (0..*n_near).for_each(|_| network.create_near(key, Manner::Empty));
                network.settle();
                let provider = network.somebody();
                tally.said.push(network.ask(provider, &Goal::Provide(key)));
                tally.found.extend((0..5).map(|_| look_up(&mut network, Seeker::Member, key)));
            }
            row(&format!("{n}: {n_near} ids at the key"), &tally);
        }
    }
}
