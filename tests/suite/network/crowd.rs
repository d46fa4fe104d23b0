//! Crowds that are up to no good, and what an honest fetch costs among them: two hundred peers that never answer, and
//! thousands of connections that only take places. Shared with the bench of the same name.

use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::Value;
use syncra_node::descriptors;
use syncra_node::net::{Inbound, Inbounds, Multiaddr, Net, NetConfig, Part, Protocol, Stream};
use syncra_tests::{Home, Node};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What a fetch cost, without and with the crowd, and what the node in the middle of it was using then.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Each fetch without the crowd, the fastest first.
    pub(crate) clean: Vec<Duration>,
    /// Each fetch with the crowd, the fastest first.
    pub(crate) crowded: Vec<Duration>,
    /// Resident memory of the node in the crowd, KiB.
    pub(crate) rss_kib: u64,
    /// Its open files.
    pub(crate) n_files: usize,
    /// What it said of itself.
    pub(crate) status: Value,
    /// How long the crowd took to be there.
    pub(crate) gathering: Duration,
}

/// A package of one file, published on a node.
struct Shop {
    home: Home,
    node: Node,
    reference: String,
}

impl Shop {
    fn open(n_bytes: usize) -> Self {
        let home = Home::new();
        let node = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        let dir = home.work().join("world");
        std::fs::create_dir_all(&dir).expect("a directory");
        let manifest = "[package]\nname = \"world\"\nversion = \"1.0.0\"\nkind = \"asset\"\n";
        std::fs::write(dir.join("syncra.toml"), manifest).expect("a file");
        let mut state = 0x5eed_u64;
        let word = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let bytes: Vec<u8> = std::iter::repeat_with(word).take(n_bytes / 8).flat_map(u64::to_le_bytes).collect();
        std::fs::write(dir.join("terrain.bin"), bytes).expect("a file");
        let told = home.json(["publish", dir.to_str().expect("UTF-8"), "--yes"]);
        let reference = told["ref"].as_str().expect("a reference").to_owned();
        Self { home, node, reference }
    }

    fn address(&self) -> &str {
        address(&self.node)
    }

    /// Fetches the package on `home` and compares it.
    fn buy(&self, home: &Home) -> Duration {
        let out = home.work().join("out");
        let began = Instant::now();
        home.json(["get", &self.reference, "-o", out.to_str().expect("UTF-8"), "--timeout", "600"]);
        let took = began.elapsed();
        let read = |dir: &std::path::Path| std::fs::read(dir.join("terrain.bin")).expect("a file");
        assert!(read(&out) == read(&self.home.work().join("world")), "other bytes");
        took
    }
}

fn address(node: &Node) -> &str {
    node.ready()["listen"][0].as_str().expect("an address")
}

/// The way from one address of this machine to a node, which a node exempts from its bounds only where that is 127.0.0.1:
/// behind it everybody is a stranger. One more copy of every byte.
struct Way {
    address: String,
    _runtime: Runtime,
}

impl Way {
    fn from(from: Ipv4Addr, node: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let at =
            runtime.block_on(way(from, at(&node.parse().expect("an address")))).expect("an address of this machine");
        let (_, peer) = node.rsplit_once('/').expect("a peer");
        Self { address: format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", at.port()), _runtime: runtime }
    }
}

/// Where to connect to get to `to` from `from`.
async fn way(from: Ipv4Addr, to: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = connect(from, to).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Ok(at)
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// The TCP address of a node on this machine.
fn at(node: &Multiaddr) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port(node).expect("a TCP port")).into()
}

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.split_ascii_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
}

fn n_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Buys by a node of its own, `runs` times, each on a new home and from an address where nobody was before; `among` is
/// there while the node is, and is told where that listens.
fn fetches<C>(shop: &Shop, runs: usize, among: impl Fn(&Home, &Node) -> C) -> (Vec<Duration>, u64, usize, Value) {
    let (mut took, mut rss, mut files, mut status) = (Vec::new(), 0, 0, Value::Null);
    for run in 0..runs {
        let [high, low] = u16::try_from(run + 1).expect("few runs").to_be_bytes();
        let way = Way::from(Ipv4Addr::new(127, 1, high, low), shop.address());
        let home = Home::new();
        let node = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        let _crowd = among(&home, &node);
        home.json(["connect", &way.address]);
        took.push(shop.buy(&home));
        (rss, files) = (rss.max(rss_kib(node.pid())), files.max(n_files(node.pid())));
        status = home.json(["status"]);
    }
    took.sort_unstable();
    (took, rss, files, status)
}

/// A fetch of so many bytes from one honest peer by a node that so many tarpits have connected to.
pub(crate) fn tarpits(n_tarpits: usize, n_bytes: usize, runs: usize) -> Figures {
    let shop = Shop::open(n_bytes);
    let (clean, ..) = fetches(&shop, runs, |_, _| ());
    let gathering = Mutex::new(Duration::ZERO);
    let (crowded, rss_kib, n_files, status) = fetches(&shop, runs, |home, node| {
        let began = Instant::now();
        let tarpits = Tarpits::around(address(node), n_tarpits);
        let n_peers = || home.json(["status"])["n_peers"].as_u64().expect("a number");
        while n_peers() < n_tarpits as u64 {
            std::thread::yield_now();
        }
        *gathering.lock().expect("no panic") = began.elapsed();
        tarpits
    });
    Figures { clean, crowded, rss_kib, n_files, status, gathering: *gathering.lock().expect("no panic") }
}

/// Peers that finish the handshake and then answer nothing, or a byte a second, on every protocol, and ask as slowly.
struct Tarpits(Option<(Runtime, Vec<Net>)>);

/// Tarpits that connect at the same time: fewer than handshakes that a node takes on.
const AT_ONCE: usize = 16;

impl Tarpits {
    fn around(victim: &str, n: usize) -> Self {
        let victim: Multiaddr = victim.parse().expect("an address");
        let runtime = Runtime::new().expect("a runtime");
        let mut nets = Vec::new();
        runtime.block_on(async {
            let mut starting = JoinSet::new();
            for number in 0..n {
                if starting.len() >= AT_ONCE {
                    nets.extend(starting.join_next().await.map(|net| net.expect("no panic")));
                }
                starting.spawn(tarpit(number, victim.clone()));
            }
            while let Some(net) = starting.join_next().await {
                nets.push(net.expect("no panic"));
            }
        });
        Self(Some((runtime, nets)))
    }
}

impl Drop for Tarpits {
    fn drop(&mut self) {
        let Some((runtime, nets)) = self.0.take() else { return };
        drop(nets);
        runtime.shutdown_background();
    }
}

/// The settings of somebody who is not found by others. It listens by QUIC only: who listens by TCP dials from that port,
/// which another of the crowd may be using towards the same victim.
fn quiet(seed: [u8; 32]) -> NetConfig {
    let mut config = NetConfig::new(seed);
    config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("an address")];
    (config.lan, config.dht) = (None, Part::None);
    config
}

async fn tarpit(number: usize, victim: Multiaddr) -> Net {
    let mut seed = [0x7a; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let (net, Inbounds { blobs, log, have, pair, propose, draft }) = Net::start(quiet(seed)).await.expect("it starts");
    let drips = number % 2 == 1;
    for streams in [blobs, log, have, pair, propose, draft] {
        tokio::spawn(hold(streams, drips));
    }
    let victim = net.dial(victim).await.expect("it is let in");
    for protocol in Protocol::ALL {
        // A victim that has no place for it is right.
        let Ok(stream) = net.open(victim, protocol).await else { continue };
        tokio::spawn(sit(stream, drips));
    }
    net
}

async fn hold(mut streams: mpsc::Receiver<Inbound>, drips: bool) {
    let mut held = JoinSet::new();
    while let Some(Inbound { stream, .. }) = streams.recv().await {
        held.spawn(sit(stream, drips));
    }
}

/// Keeps a stream, and sends a byte a second or nothing, until the other side has enough.
async fn sit(mut stream: Stream, drips: bool) {
    if drips {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        while stream.write_all(&[1]).await.is_ok() && stream.flush().await.is_ok() {
            second.tick().await;
        }
    }
    // Nothing is read either.
    std::future::pending::<()>().await;
    drop(stream.read(&mut [0]).await);
}

/// Tells a process of ours that it is to be a crowd: where the victim is, and how many connections.
const CROWD: &str = "SYNCRA_TEST_CROWD";

/// Connections of one process of the crowd.
const PER_PROCESS: usize = 4_000;
/// How often a second connections of one process that were refused or let go are tried again: enough that no place that a
/// victim has for them stays empty.
const TRIES_PER_S: usize = 500;
/// Of so many connections one finishes its handshakes.
const ONE_FINISHES_OF: usize = 50;

/// Whether this process is a crowd and has been one to its end.
pub(crate) fn was_crowd() -> bool {
    let Some(task) = std::env::var_os(CROWD) else { return false };
    let task = task.into_string().expect("UTF-8");
    let (victim, n) = task.split_once(' ').expect("two words");
    descriptors::raise();
    Runtime::new()
        .expect("a runtime")
        .block_on(idle_crowd(victim.parse().expect("an address"), n.parse().expect("a number")));
    true
}

/// Opens connections from many addresses of this machine, each of which is another place to a node, and in another block,
/// until stdin ends.
async fn idle_crowd(victim: Multiaddr, n: usize) {
    let to = at(&victim);
    let mut crowd = JoinSet::new();
    let (opened, mut first) = mpsc::unbounded_channel();
    for number in 0..n {
        let opened = opened.clone();
        let [high, low] = u16::try_from(number % 50_000).expect("small").to_be_bytes();
        let from = Ipv4Addr::new(127, 9 + high, low, 1);
        crowd.spawn(async move {
            if number % ONE_FINISHES_OF == 0 {
                let mut seed = [0x1d; 32];
                seed[..12]
                    .copy_from_slice(&[&(number as u64).to_le_bytes()[..], &std::process::id().to_le_bytes()].concat());
                let (net, _inbounds) = Net::start(quiet(seed)).await.expect("it starts");
                let by = way(from, to).await.expect("an address of this machine");
                // Refused when there are too many: also an answer.
                drop(net.dial(format!("/ip4/{}/tcp/{}", by.ip(), by.port()).parse().expect("an address")).await);
                let _ = opened.send(()); // nobody may count any more
                return std::future::pending().await;
            }
            let mut again = tokio::time::interval(Duration::from_secs(n.div_ceil(TRIES_PER_S) as u64));
            loop {
                again.tick().await;
                if let Ok(mut stream) = connect(from, to).await {
                    let _ = opened.send(()); // nobody may count any more
                    // The victim may say hello; it hangs up when it has had enough, and we come again.
                    while let Ok(1..) = stream.read(&mut [0; 256]).await {}
                }
            }
        });
    }
    for _ in 0..n {
        first.recv().await;
    }
    announce();
    let mut stdin = tokio::io::stdin();
    drop(stdin.read(&mut [0]).await);
    crowd.abort_all();
}

fn port(address: &Multiaddr) -> Option<u16> {
    let text = address.to_string();
    let mut parts = text.split('/');
    parts.find(|part| *part == "tcp")?;
    parts.next()?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "the parent waits for this line")]
fn announce() {
    println!("crowded");
}

/// Processes full of connections; they end when dropped.
struct IdleCrowd(Vec<Child>);

impl IdleCrowd {
    fn around(victim: &str, n: usize, helper: &impl Fn() -> Command) -> Self {
        let mut crowd = Self(Vec::new());
        let mut left = n;
        while left > 0 {
            let here = left.min(PER_PROCESS);
            left -= here;
            let mut command = helper();
            command.env(CROWD, format!("{victim} {here}")).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("it starts");
            let stdout = child.stdout.take().expect("piped");
            crowd.0.push(child);
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // A test's own lines come before it.
            assert!(lines.any(|line| line.ends_with("crowded")), "a crowd did not come");
            // Whatever else it says.
            std::thread::spawn(move || lines.for_each(drop));
        }
        crowd
    }
}

impl Drop for IdleCrowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Fetches, each by a new node, from one that so many idle connections were made to.
pub(crate) fn idle(n_connections: usize, n_bytes: usize, runs: usize, helper: impl Fn() -> Command) -> Figures {
    let shop = Shop::open(n_bytes);
    let (clean, ..) = fetches(&shop, runs, |_, _| ());
    let began = Instant::now();
    let crowd = IdleCrowd::around(shop.address(), n_connections, &helper);
    let gathering = began.elapsed();
    let (crowded, ..) = fetches(&shop, runs, |_, _| ());
    let pid = shop.node.pid();
    let (rss_kib, n_files, status) = (rss_kib(pid), n_files(pid), shop.home.json(["status"]));
    drop(crowd);
    Figures { clean, crowded, rss_kib, n_files, status, gathering }
}
