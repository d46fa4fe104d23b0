//! Neighbours, in network namespaces of their own: only loopback, and two machines on one wire.
//!
//! Each test runs itself again inside a fresh user and network namespace; where those are forbidden it says SKIPPED.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::super::{Multiaddr, Net, NetConfig, NetEvent, Reach, TransportKind, limits};
use super::namespace::{ROLE, ip, ran_in_a_namespace};
use super::within;
use syncra_protocol::key::{DeviceKey, DeviceSecret};

fn key(seed: u8) -> DeviceKey {
    DeviceSecret::from_seed(&[seed; 32]).public()
}

async fn start(seed: u8) -> Net {
    let filter = tracing_subscriber::EnvFilter::from_env("SYNCRA_TEST_LOG");
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init(); // or has been
    let config = NetConfig { reach: Reach::LocalLinks, ..NetConfig::new([seed; 32]) };
    Net::start(config).await.expect("starts").0
}

/// Waits until `wanted` is seen as a neighbour and is connected; returns how long each took, and its addresses.
async fn meet(
    events: &mut broadcast::Receiver<NetEvent>,
    wanted: DeviceKey,
    since: Instant,
) -> (Option<Duration>, Duration, Vec<Multiaddr>) {
    let (mut seen, mut connected, mut at) = (None, None, Vec::new());
    while connected.is_none() || seen.is_none() {
        match events.recv().await.expect("events go on") {
            NetEvent::Neighbour { peer, addresses } if peer == wanted => {
                seen = Some(since.elapsed());
                at = addresses;
            }
            NetEvent::Connected { peer } if peer == wanted => connected = Some(since.elapsed()),
            _ => {}
        }
    }
    (seen, connected.expect("the loop ends with it"), at)
}

#[tokio::test]
async fn several_nodes_on_a_machine_without_any_card_find_each_other() {
    if ran_in_a_namespace("net::tests::lan::several_nodes_on_a_machine_without_any_card_find_each_other") {
        return;
    }
    within(async {
        let first = start(1).await;
        let mut newest = first.events();
        for seed in 2..6 {
            let since = Instant::now();
            let node = start(seed).await;
            let mut events = node.events();
            let started = since.elapsed();
            let (seen, connected, at) = meet(&mut newest, key(seed), since).await;
            eprintln!(
                "start {started:?}; the node before saw it after {seen:?}, connected after {connected:?}: {at:?}"
            );
            let (seen, connected, _) = meet(&mut events, key(1), since).await;
            eprintln!("it saw the first after {seen:?}, connected after {connected:?}");
            newest = node.events();
            std::mem::forget(node); // runs to the end of this process
        }
    })
    .await;
}

/// The same test in a second network namespace: another machine.
struct Machine(Child, BufReader<std::process::ChildStdout>);

impl Machine {
    fn start(test: &str) -> Self {
        let mut child = Command::new("unshare")
            .arg("-n")
            .arg(std::env::current_exe().expect("this test's program"))
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, "second")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self(child, lines)
    }

    fn say(&mut self, word: &str) {
        let stdin = self.0.stdin.as_mut().expect("piped");
        writeln!(stdin, "{word}").expect("the other machine listens");
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(self.1.read_line(&mut line).expect("reads"), 0, "the other machine ended without `{word}`");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{word}").expect("somebody reads");
    out.flush().expect("somebody reads");
}

fn hear() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("reads");
}

fn wire_up(card: &str, host: u8) {
    ip("link set lo up");
    ip(&format!("addr add 10.77.0.{host}/24 dev {card}"));
    ip(&format!("addr add fd77::{host}/64 dev {card} nodad"));
    ip(&format!("link set {card} up"));
}

/// The kernel gives a card its link-local address when the wire carries.
async fn wait_for_carrier() {
    while !std::fs::read_to_string("/proc/net/if_inet6").expect("reads").contains("fe80") {
        tokio::task::yield_now().await;
    }
}

async fn report(net: &Net, me: &str, other: u8, since: Instant, events: &mut broadcast::Receiver<NetEvent>) {
    let (seen, connected, at) = meet(events, key(other), since).await;
    eprintln!("{me}: seen after {seen:?}, connected after {connected:?}: {at:?}");
    assert!(at.iter().all(|address| !address.to_string().contains("127.0.0.1")), "nobody's loopback: {at:?}");
    let peer = net.peers().await.expect("runs").remove(0);
    // Who needs longer than the head start is dialled by QUIC too, and either may be first.
    assert!(peer.transport == TransportKind::Tcp || connected >= limits::HEAD_START, "{connected:?}: {peer:?}");
}

#[tokio::test]
async fn two_machines_on_one_wire_find_each_other() {
    const TEST: &str = "net::tests::lan::two_machines_on_one_wire_find_each_other";
    if ran_in_a_namespace(TEST) {
        return;
    }
    let is_second = std::env::var(ROLE).is_ok_and(|role| role == "second");
    within(async {
        if is_second {
            say("ready");
            hear();
            wire_up("wire2", 2);
            wait_for_carrier().await;
            say("wired");
            hear();
            let since = Instant::now();
            let net = start(2).await;
            let mut events = net.events();
            report(&net, "second", 1, since, &mut events).await;
            say("met");
            hear();
            net.shutdown().await.expect("in order");
            return;
        }
        let mut second = Machine::start(TEST);
        second.wait_for("ready");
        ip(&format!("link add wire1 type veth peer name wire2 netns {}", second.0.id()));
        wire_up("wire1", 1);
        second.say("wire up");
        second.wait_for("wired");
        wait_for_carrier().await;
        let net = start(1).await;
        let mut events = net.events();
        let since = Instant::now();
        second.say("start");
        report(&net, "first (from the order to start the second)", 2, since, &mut events).await;
        second.wait_for("met");
        second.say("go");
        let since = Instant::now();
        super::until(&mut events, &NetEvent::NeighbourGone { peer: key(2) }).await;
        eprintln!("first: farewell heard after {:?}", since.elapsed());
        net.shutdown().await.expect("in order");
    })
    .await;
}

#[tokio::test]
async fn a_card_that_comes_later_is_used() {
    const TEST: &str = "net::tests::lan::a_card_that_comes_later_is_used";
    if ran_in_a_namespace(TEST) {
        return;
    }
    let is_second = std::env::var(ROLE).is_ok_and(|role| role == "second");
    within(async {
        if is_second {
            ip("link set lo up");
        }
        let net = start(if is_second { 2 } else { 1 }).await;
        let mut events = net.events();
        if is_second {
            say("ready");
            hear();
            let since = Instant::now();
            wire_up("wire2", 2);
            report(&net, "second", 1, since, &mut events).await;
            say("met");
            hear();
            return;
        }
        let mut second = Machine::start(TEST);
        second.wait_for("ready");
        ip(&format!("link add wire1 type veth peer name wire2 netns {}", second.0.id()));
        wire_up("wire1", 1);
        let since = Instant::now();
        second.say("start");
        report(&net, "first", 2, since, &mut events).await;
        second.wait_for("met");
    })
    .await;
}
