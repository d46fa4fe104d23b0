//! What history costs: rates, sizes, what a newcomer pays, and what a witness holds. Figures are in `docs/PERFORMANCE.md`.
//!
//! `cargo run --release -p syncra-tests --example history -- all`, or one of the words in [`USAGE`].

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use syncra_node::flow::Parts;
use syncra_node::home::Home;
use syncra_node::net::{Net, NetConfig, Part};
use syncra_node::node::Node;
use syncra_protocol::Timestamp;
use syncra_protocol::entry::{Body, Entry, PackageGenesis, RefClass};
use syncra_protocol::evidence::Evidence;
use syncra_protocol::id::{EntryId, IdentityId, PackageId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::limits::ENTRIES_PER_FRAME;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::{Checkpoint, Head};
use syncra_protocol::log::cosignature::Cosignature;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::proof::ConsistencyProof;
use syncra_protocol::log::witness::Witness;
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::message::log::{Answer, Entries, Heads, Request, decode_answer, encode_answer, encode_request};
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::{Effect, Follower, Input};
use syncra_sim::world::{Chain, World, moved, release};
use syncra_tests::proxy::Proxy;

const USAGE: &str = "\
usage: history rates [ENTRIES]               append, verify and fold (10,000 if not said)
       history sizes                         proofs and notes against the size of a log
       history newcomer [ENTRIES] [WRITERS]  bytes and time to verify a package, in one process and between two nodes
                                             (10,000 by 8 if not said)
       history witness [LOGS]                memory and disk of a witness (100,000 logs if not said)
       history all                           all of these
";
/// An entry in ten names what its writer has seen of another one.
const SEES: u64 = 10;
/// Commits of the witness under way at a time: the journal syncs them together.
const AT_ONCE: usize = 256;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |nth: usize, unsaid: u64| args.get(nth).map_or(Some(unsaid), |text| text.replace(',', "").parse().ok());
    match (args.first().map(String::as_str), number(1, 10_000), number(2, 8), number(1, 100_000)) {
        (Some("rates"), Some(n), ..) => rates(n).await,
        (Some("sizes"), ..) => sizes(),
        (Some("newcomer"), Some(n), Some(n_writers), _) => newcomer(n, n_writers).await,
        (Some("witness"), .., Some(n)) => witness(n).await,
        (Some("all"), ..) => {
            rates(10_000).await;
            sizes();
            newcomer(10_000, 8).await;
            witness(100_000).await;
        }
        _ => say(USAGE),
    }
}

/// A package of so many writers with so many entries altogether: releases, each with a move of a channel, and every so often
/// what another has said before.
fn package(n_entries: u64, n_writers: u64) -> World {
    let n_writers = usize::try_from(n_writers.clamp(1, 60)).expect("few");
    let mut world = World::new(u8::try_from(n_writers).expect("few"));
    let mut n = world.chains().iter().map(|chain| chain.size()).sum::<u64>();
    while n < n_entries {
        let by = usize::try_from(n / 2).expect("few") % n_writers;
        let other = world.writers[(by + 1) % n_writers].seen();
        let sees = n_writers > 1 && (n / 2).is_multiple_of(SEES);
        let id = world.publish(by, if sees { vec![other] } else { vec![] }, &version(n), 1);
        world.writers[by].append(vec![], moved(RefClass::Channel, "stable", Some(id)));
        n += 2;
    }
    world
}

fn version(n: u64) -> String {
    format!("{}.{}.{}", n / 10_000, n / 100 % 100, n % 100)
}

fn n_entries(world: &World) -> u64 {
    world.chains().iter().map(|chain| chain.size()).sum()
}

async fn rates(n: u64) {
    say("rates, entries a second");
    let dir = tempfile::tempdir().expect("a directory");
    let parts = Parts::open(Home::open(dir.path()).expect("a home")).await.expect("opens");
    for (batch, n) in [(1, n / 10), (64, n)] {
        let nonce = [u8::try_from(batch).expect("small"); 16];
        let genesis = own_genesis(&parts, nonce);
        let package = PackageId::from(EntryId::of(&Entry::new(genesis.clone()).encode().expect("an entry")));
        let origin = Origin::package(package, parts.device);
        parts.histories.append(origin, &[], |draft| draft.push(genesis)).await.expect("begins");
        let (mut written, mut last_tenth) = (0, Instant::now());
        let began = Instant::now();
        while written < n {
            let append = parts.histories.append(origin, &[], |draft| {
                (0..batch).try_for_each(|k| draft.push(release(&version(written + k), 1)).map(drop))
            });
            append.await.expect("appends");
            written += batch;
            if written <= n - n / 10 {
                last_tenth = Instant::now();
            }
        }
        let (all, end) = (rate(written, began.elapsed()), rate(n / 10, last_tenth.elapsed()));
        say(&format!("  append, {batch:2} at a time, synced and signed: {all}; the last tenth of {n}: {end}"));
    }
    parts.close().await;
    for n in [n / 4, n] {
        let world = package(n, 8);
        let n = n_entries(&world);
        let (evidence, took) = timed(|| verified(&world));
        say(&format!("  verify, {n} entries of 8 writers: {}", rate(n, took)));
        let (_, took) = timed(|| evidence.fold());
        say(&format!("  fold, {n} entries of 8 writers: {}", rate(n, took)));
    }
}

fn own_genesis(parts: &Parts, nonce: [u8; 16]) -> Body {
    Body::PackageGenesis(PackageGenesis {
        kind: PackageKind::World,
        owners: vec![parts.identity()],
        owner_threshold: 1,
        creator: parts.identity(),
        log_key: parts.device,
        nonce,
    })
}

/// As a newcomer does it: each log up to its head.
fn verified(world: &World) -> Evidence {
    let mut evidence = world.evidence();
    for chain in world.chains() {
        evidence.extend(&chain.entries, &chain.head()).expect("an honest log");
    }
    evidence
}

fn sizes() {
    say("sizes in bytes, the largest at that size of a log");
    say("    entries  inclusion  consistency  note  cosigned by 5  fork proof");
    for power in [0, 4, 7, 10, 14, 17, 20] {
        let size = 1_u64 << power;
        // One less than a power of two has the longest paths.
        let size = if power > 1 { size - 1 } else { size };
        let (log, branch) = (log_of(size, 0), log_of(size, 1));
        let sign = |log: &Log, size: u64| {
            let root = log.root_at(size).expect("it is held");
            Head::sign(&secret(), Checkpoint { origin: *log.origin(), size, root }).expect("its key")
        };
        let middles = [1, size / 4, size / 2, size * 3 / 4, size - 1, size];
        let at = || middles.into_iter().filter(|at| (1..=size).contains(at));
        let inclusion = at().map(|at| log.prove_inclusion(at - 1, size).expect("inside").encode().len()).max();
        let consistency = at().map(|at| log.prove_consistency(at, size).expect("inside").encode().len()).max();
        let head = sign(&log, size);
        let proofs = at().filter(|at| *at > 1);
        let fork =
            proofs.filter_map(|at| Some(ForkProof::from_log(&log, &head, &sign(&branch, at)).ok()?.encode().len()));
        let cosigned = head.with_evidence(None, None, &cosignatures(&head)).note().len();
        say(&format!(
            "  {size:9}  {:9}  {:11}  {:4}  {cosigned:13}  {:10}",
            inclusion.unwrap_or(0),
            consistency.unwrap_or(0),
            head.note().len(),
            fork.max().map_or_else(|| "-".to_owned(), |n_bytes| n_bytes.to_string()),
        ));
    }
}

fn secret() -> DeviceSecret {
    DeviceSecret::from_seed(&[7; 32])
}

/// A log of so many entries; of two branches all but the first entry differs.
fn log_of(size: u64, branch: u64) -> Log {
    let mut log = Log::new(Origin::package(PackageId::from_bytes([5; 32]), secret().public()));
    for index in 0..size {
        let entry = [index.to_le_bytes(), if index == 0 { [0; 8] } else { branch.to_le_bytes() }].concat();
        log.append(&entry).expect("within the bound");
    }
    log
}

fn cosignatures(head: &Head) -> Vec<Cosignature> {
    let said = (0..5_u8).map(|n| {
        let secret = DeviceSecret::from_seed(&[100 + n; 32]);
        let mut witness = Witness::new(secret.public());
        let nothing = ConsistencyProof::new(head.size(), head.size(), vec![]).expect("nothing to prove");
        let statement = witness.consider(Timestamp(1_800_000_000_000), head, &nothing).expect("the first one");
        witness.record(statement).expect("the first one");
        witness.cosignature(&secret, head.origin()).expect("its own")
    });
    said.collect()
}

async fn newcomer(n: u64, n_writers: u64) {
    let world = package(n, n_writers);
    let n = n_entries(&world);
    say(&format!("a newcomer, a package of {n} entries by {n_writers} writers"));
    let all = verified(&world);
    let ((follower, n_bytes), took) = timed(|| follow(&world, &all));
    assert_eq!(follower.state().map(|state| &state.frontier), Some(&all.frontier()));
    say(&format!("  messages only: {n_bytes} bytes, {:.3} s, {}", took.as_secs_f64(), rate(n, took)));

    let (home_a, home_b) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (alice, bob) = (node(home_a.path()).await, node(home_b.path()).await);
    for chain in world.chains() {
        alice.parts().histories.commit(0, &chain.entries, &chain.head()).await.expect("stores");
    }
    let wire = Proxy::to(&address(&alice.online().net));
    bob.online().net.dial(wire.address().parse().expect("an address")).await.expect("dials");
    bob.online().net.mesh().wait_for(|n_mesh| *n_mesh == 1).await.expect("runs");
    let before = wire.bytes();
    let began = Instant::now();
    bob.online().sync.refresh(world.package, None).await.expect("runs");
    let took = began.elapsed();
    let history = bob.parts().histories.package(world.package).expect("reads").expect("it has come");
    assert_eq!(history.state.frontier, all.frontier(), "not everything came");
    let n_bytes = wire.bytes() - before;
    say(&format!("  between two nodes on loopback: {n_bytes} bytes on the wire, {:.3} s, stored", took.as_secs_f64()));
    for node in [alice, bob] {
        node.shutdown().await;
    }
}

/// What a follower asks of one peer that has everything, and what it does with the answers: nothing but the machine and its
/// messages, encoded and decoded.
fn follow(world: &World, all: &Evidence) -> (Follower, usize) {
    let peer = DeviceSecret::from_seed(&[200; 32]).public();
    let (mut follower, mut n_bytes, now) = (Follower::new(world.package), 0, Timestamp(1));
    follower.handle(now, Input::PeerUp(peer));
    let mut pass = |request: &Request, answer: &Answer| {
        let bytes = encode_answer(answer);
        n_bytes += encode_request(request).len() + bytes.len();
        decode_answer(&bytes).expect("our own bytes")
    };
    while let Some(effect) = follower.poll_effect() {
        match effect {
            Effect::AskHeads { .. } => {
                let answer = Answer::Heads(Heads::answer(all, Head::clone));
                if let Answer::Heads(heads) = pass(&Request::Heads { package: world.package }, &answer) {
                    follower.handle(now, Input::Heads { peer, heads });
                }
            }
            Effect::AskEntries { origin, from, .. } => {
                let chain = world.chain(&origin);
                let limit = u32::try_from(ENTRIES_PER_FRAME).unwrap_or(u32::MAX);
                let rest = chain.slice(from, chain.size()).iter().cloned();
                let entries = Entries::answer(&chain.log, &chain.head(), (from, limit), rest).expect("inside");
                let request = Request::Entries { origin, from, limit };
                if let Answer::Entries(entries) = pass(&request, &Answer::Entries(entries)) {
                    follower.handle(now, Input::Entries { peer, origin, from, entries });
                }
            }
            Effect::Commit(commit) => follower.handle(now, Input::Committed(commit.origin)),
            _ => {}
        }
    }
    (follower, n_bytes)
}

async fn node(home: &Path) -> Node {
    let home = Home::open(home).expect("a home");
    let seed = home.device_secret().expect("a key").seed();
    let parts = Arc::new(Parts::open(home).await.expect("opens"));
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let config = NetConfig { listen, lan: None, dht: Part::None, ..NetConfig::new(seed) };
    Node::start(parts, config).await.expect("starts")
}

fn address(net: &Net) -> String {
    let address = net.listen_addrs().remove(0);
    syncra_node::net::with_peer(address, &net.key()).expect("own key").to_string()
}

/// A home that witnesses logs of four entries each, by writers of their own: entries, head and statement on disk, then the
/// same again from disk.
async fn witness(n_logs: u64) {
    const ENTRIES: u64 = 4;
    say(&format!("a witness with {n_logs} logs of {ENTRIES} entries"));
    let dir = tempfile::tempdir().expect("a directory");
    let home = Home::open(dir.path()).expect("a home");
    std::fs::write(home.layout().config(), "witness = true\n").expect("a file");
    let parts = Parts::open(home).await.expect("opens");
    let (disk, memory) = (disk_bytes(dir.path()), memory_bytes());
    let began = Instant::now();
    let witnessed = futures::stream::iter(0..n_logs).map(|n| {
        let (parts, chain) = (&parts, foreign(n, ENTRIES));
        async move {
            let head = chain.head();
            parts.histories.commit(0, &chain.entries, &head).await.expect("stores");
            parts.witnesses.witness(&chain.log, &head).await.expect("says");
        }
    });
    witnessed.buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    let took = began.elapsed();
    let per = |bytes: u64| bytes / n_logs.max(1);
    say(&format!("  taken in and cosigned: {}", rate(n_logs, took)));
    say(&format!("  disk of each: {} bytes", per(disk_bytes(dir.path()).saturating_sub(disk))));
    for (what, bytes) in by_part(dir.path()) {
        say(&format!("    in {what}: {} bytes", per(bytes)));
    }
    say(&format!("  memory of each: {} bytes", per(memory_bytes().saturating_sub(memory))));
    parts.close().await;
    drop(parts);
    let began = Instant::now();
    let parts = Parts::open(Home::open(dir.path()).expect("a home")).await.expect("opens again");
    say(&format!("  opened again in {:.2} s", began.elapsed().as_secs_f64()));
    let last = foreign(n_logs.saturating_sub(1), ENTRIES).head();
    assert!(parts.witnesses.dress(&last).note().len() > last.note().len(), "what was said is not known any more");
    parts.close().await;
}

/// A log of a package of its own.
fn foreign(n: u64, n_entries: u64) -> Chain {
    let bytes = |salt: u8| *EntryId::of(&[&n.to_le_bytes()[..], &[salt]].concat()).as_bytes();
    let (secret, owner) = (DeviceSecret::from_seed(&bytes(1)), IdentityId::from_bytes(bytes(2)));
    let log_key = secret.public();
    let genesis = Body::PackageGenesis(PackageGenesis {
        kind: PackageKind::World,
        owners: vec![owner],
        owner_threshold: 1,
        creator: owner,
        log_key,
        nonce: [3; 16],
    });
    let genesis = Entry::new(genesis).encode().expect("an entry");
    let package = PackageId::from(EntryId::of(&genesis));
    let mut chain = Chain::of(secret, |key| Origin::package(package, key));
    chain.append_bytes(genesis);
    for k in 1..n_entries {
        chain.append(vec![], release(&version(k), 1));
    }
    chain
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn rate(n: u64, took: Duration) -> String {
    format!("{:.0}/s", n as f64 / took.as_secs_f64().max(1e-9))
}

/// What the files below a directory take, as they are.
fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

fn by_part(dir: &Path) -> Vec<(String, u64)> {
    ["journal", "logs", "index"].map(|part| (part.to_owned(), disk_bytes(&dir.join(part)))).into()
}

/// Resident memory of this process.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn say(line: &str) {
    // Whoever closed the pipe wants no more.
    drop(writeln!(std::io::stdout(), "{line}"));
}
