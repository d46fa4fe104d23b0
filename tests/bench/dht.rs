//! What a look-up in the distributed hash table costs: N real nodes on loopback, in one process, that know each other
//! through the table only. Prints one line for each size: median and largest time of a look-up, questions asked.
//!
//! `cargo run --release -p syncra-tests --example dht -- 10 30 100`

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use syncra_node::net::{self, Net, NetConfig, Part, Provider};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::record::ProviderKey;
use tracing_subscriber::EnvFilter;

/// Look-ups for each size.
const LOOK_UPS: u16 = 30;
/// Records whose memory is measured.
const RECORDS: u32 = 10_000;

#[tokio::main]
async fn main() {
    let log = Log::default();
    let filter = EnvFilter::new("syncra_node::net::swarm::routing=debug");
    let writer = log.clone();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || writer.clone()).init();
    let sizes: Vec<u16> = std::env::args().skip(1).map(|n| n.parse().expect("sizes are numbers")).collect();
    say("nodes  found  median ms  largest ms  questions, median  failed, sum");
    for n_nodes in sizes {
        look_up_among(n_nodes, &log).await;
    }
    memory().await;
}

async fn node(n: u16) -> Net {
    start(n, Part::Serves).await
}

async fn start(n: u16, dht: Part) -> Net {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&n.to_le_bytes());
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("address")];
    Net::start(NetConfig { listen, lan: None, dht, ..NetConfig::new(seed) }).await.expect("starts").0
}

async fn look_up_among(n_nodes: u16, log: &Log) {
    let first = node(0).await;
    let entrance = net::with_peer(first.listen_addrs().remove(0), &first.key()).expect("own key");
    let mut nodes = vec![first];
    for n in 1..n_nodes {
        let node = node(n).await;
        node.dial(entrance.clone()).await.expect("dials");
        node.routing().wait_for(|routing| routing.n_nodes > 0).await.expect("runs");
        nodes.push(node);
    }
    let key = |n: u16| ProviderKey::from(syncra_protocol::id::PackageId::from_bytes([n.to_le_bytes()[0]; 32]));
    for n in 0..LOOK_UPS {
        assert!(nodes[usize::from(n % n_nodes)].provide(key(n)).await.expect("runs"));
    }
    log.take();
    let (mut times, mut n_found) = (Vec::new(), 0);
    for n in 0..LOOK_UPS {
        // Somebody who has just come and knows one node; who only asks is in nobody's table when it has gone again.
        let seeker = start(n_nodes + n, Part::Asks).await;
        let other = &nodes[usize::from((n + n_nodes / 2) % n_nodes)];
        seeker.dial(net::with_peer(other.listen_addrs().remove(0), &other.key()).expect("a key")).await.expect("dials");
        seeker.routing().wait_for(|routing| routing.n_nodes > 0).await.expect("runs");
        let since = Instant::now();
        let mut providers = seeker.find_providers(key(n)).await.expect("runs");
        n_found += usize::from(providers.recv().await.is_some());
        times.push(since.elapsed());
        while providers.recv().await.is_some() {}
        seeker.shutdown().await.expect("in order");
    }
    times.sort();
    let (median, largest) = (times[times.len() / 2], times.last().copied().unwrap_or(Duration::ZERO));
    let (questions, failed) = log.take();
    let line = format!(
        "{n_nodes:5}  {n_found:2}/{LOOK_UPS}  {:9.1}  {:10.1}  {questions:17}  {failed:11}",
        median.as_secs_f64() * 1e3,
        largest.as_secs_f64() * 1e3,
    );
    say(&line);
    for node in nodes {
        node.shutdown().await.expect("in order");
    }
}

async fn memory() {
    let net = node(u16::MAX).await;
    let before = resident_bytes();
    let address: net::Multiaddr = "/ip4/198.51.100.7/tcp/20007".parse().expect("address");
    let records = (0..RECORDS).map(|n| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        let provider = DeviceSecret::from_seed(&[u8::try_from(n % 200).expect("small"); 32]).public();
        let (key, ttl) = (ProviderKey::from_slice(&bytes).expect("32 bytes"), Some(Duration::from_secs(3_600)));
        Provider { key, provider, ttl, addresses: vec![address.clone(); 4] }
    });
    net.records().load(records);
    assert_eq!(net.records().n_foreign(), RECORDS as usize);
    let used = resident_bytes().saturating_sub(before);
    say(&format!("{RECORDS} provider records: {:.1} MiB", used as f64 / f64::from(1 << 20)));
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

fn say(line: &str) {
    // Whoever closed the pipe wants no more.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// What the nodes log of their queries.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Questions of a look-up, median, and those that failed, of all look-ups since the last call.
    fn take(&self) -> (usize, usize) {
        let text = std::mem::take(&mut *self.0.lock().expect("nothing panics with it"));
        let text = String::from_utf8_lossy(&text).into_owned();
        let look_ups = text.lines().filter(|line| line.contains("what=\"providers\""));
        let number = |line: &str, name: &str| {
            let rest = line.split(name).nth(1)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let both: Vec<(usize, usize)> =
            look_ups.filter_map(|line| Some((number(line, "n_asked=")?, number(line, "n_failed=")?))).collect();
        let mut asked: Vec<usize> = both.iter().map(|(asked, _)| *asked).collect();
        asked.sort_unstable();
        (asked.get(asked.len() / 2).copied().unwrap_or(0), both.iter().map(|(_, failed)| failed).sum())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nothing panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
