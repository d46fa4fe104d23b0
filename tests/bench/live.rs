//! What live updates cost: two real nodes on loopback, one of which follows N packages of the other. First nothing
//! happens for some minutes, then packages are released at a rate of one an hour each. Prints, for each of the two, what one
//! node opens, receives and uses.
//!
//! `cargo run --release -p syncra-tests --example live -- 200 6`

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syncra_node::event::{Event, Subscription};
use syncra_node::flow::Parts;
use syncra_node::flow::follow::{self, Followed};
use syncra_node::flow::publish::{self, Published};
use syncra_node::home::Home;
use syncra_node::net::{Net, NetConfig, Part, PeerInfo};
use syncra_node::node::Node;
use syncra_node::progress::Progress;
use syncra_tests::proxy::Proxy;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<u32>().expect("a number"));
    let (n_packages, minutes) = (arguments.next().unwrap_or(200), arguments.next().unwrap_or(6));
    let phase = Duration::from_secs(u64::from(minutes) * 60);
    let (home_a, home_b) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (alice, bob) = (node(home_a.path()).await, node(home_b.path()).await);
    let mut packages = Vec::new();
    for n in 0..n_packages {
        packages.push(release(alice.parts(), n, 0).await.package);
    }
    let wire = Proxy::to(&address(&alice.online().net));
    bob.online().net.dial(wire.address().parse().expect("an address")).await.expect("dials");
    bob.online().net.mesh().wait_for(|n_mesh| *n_mesh == 1).await.expect("runs");
    let mut events = bob.parts().events.subscribe(None);
    for package in &packages {
        let package = *package;
        bob.online().sync.refresh(package, None).await.expect("runs");
        follow::follow(bob.parts(), &Followed { package, channel: None }).await.expect("follows");
    }
    installed(&mut events, n_packages).await;
    say(&format!("{n_packages} packages followed and installed; each figure is of {minutes} minutes"));
    say("                 streams  bytes of streams  bytes on the wire, to the follower  CPU ms, both nodes");

    let mut before = Figures::take(&bob.online().net, &wire).await;
    tokio::time::sleep(phase).await;
    let idle = Figures::take(&bob.online().net, &wire).await;
    idle.say("idle", &before);

    before = idle;
    let n_releases = n_packages * minutes / 60;
    let pause = phase / n_releases.max(1);
    let began = Instant::now();
    for n in 0..n_releases {
        release(alice.parts(), n, 1).await;
        installed(&mut events, 1).await;
        tokio::time::sleep_until((began + pause * (n + 1)).into()).await;
    }
    Figures::take(&bob.online().net, &wire).await.say(&format!("{n_releases} releases"), &before);
    for node in [alice, bob] {
        node.shutdown().await;
    }
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

async fn release(parts: &Parts, n: u32, patch: u32) -> Published {
    let dir = tempfile::tempdir().expect("a directory");
    let manifest = format!("[package]\nname = \"thing-{n}\"\nversion = \"1.0.{patch}\"\nkind = \"script\"\n");
    std::fs::write(dir.path().join("syncra.toml"), manifest).expect("a file");
    std::fs::write(dir.path().join("main.syn"), format!("thing {n} {patch}")).expect("a file");
    let request = publish::Request::of(dir.path().to_owned());
    let plan = publish::plan(parts, request).await.expect("a plan");
    publish::publish(parts, plan, &Progress::unwatched()).await.expect("publishes")
}

async fn installed(events: &mut Subscription, n_wanted: u32) {
    let mut n = 0;
    while n < n_wanted {
        match events.next().await.event {
            Event::Installed { .. } => n += 1,
            Event::Resync => panic!("events were missed"),
            _ => {}
        }
    }
}

struct Figures {
    peer: PeerInfo,
    wire_bytes: u64,
    cpu: Duration,
}

impl Figures {
    async fn take(net: &Net, wire: &Proxy) -> Self {
        let peer = net.connected().await.expect("runs").remove(0);
        Self { peer, wire_bytes: wire.bytes(), cpu: cpu() }
    }

    fn say(&self, what: &str, before: &Self) {
        let streams = self.peer.n_streams - before.peer.n_streams;
        let bytes = |peer: &PeerInfo| peer.received_bytes + peer.sent_bytes;
        let (streamed, wired) = (bytes(&self.peer) - bytes(&before.peer), self.wire_bytes - before.wire_bytes);
        let cpu = (self.cpu - before.cpu).as_millis();
        say(&format!("{what:15}  {streams:7}  {streamed:16}  {wired:34}  {cpu:18}"));
    }
}

/// CPU time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // After the name come the state and ten numbers, then user and system time in ticks of 10 ms.
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

fn say(line: &str) {
    // Whoever closed the pipe wants no more.
    drop(writeln!(std::io::stdout(), "{line}"));
}
