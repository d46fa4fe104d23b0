//! What peers may send without harming anybody, and what happens when something of ours panics after all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};

use libp2p::multiaddr::Protocol as Part;

use super::super::{Net, NetEvent, Protocol};
use super::{QUIC, TCP, connect, node, quiet, until, within};

/// Prefixes tried in every run; the gate asks for 10,000 (`SYNCRA_TEST_CASES`).
const CASES: u64 = 400;

/// A xorshift sequence: the same bytes for the same seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, n: u64) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// What a case sends: a plausible beginning, cut or changed somewhere, and noise after it.
fn garbage(seed: u64) -> Vec<u8> {
    const BEGINNINGS: [&[u8]; 6] = [
        b"",
        b"\x13/multistream/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n",
        b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = BEGINNINGS[(noise.next() % 6) as usize].to_vec();
    if noise.next().is_multiple_of(4) && !bytes.is_empty() {
        let at = (noise.next() as usize) % bytes.len();
        bytes[at] ^= 1 << (noise.next() % 8);
    }
    let n = noise.next() % 600;
    bytes.extend(noise.bytes(n));
    bytes
}

fn socket(net: &Net, wanted: fn(&Part<'_>) -> Option<u16>) -> SocketAddr {
    let port = net.listen_addrs().iter().flatten().find_map(|part| wanted(&part)).expect("listens");
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_ports_harms_nobody() {
    let cases = std::env::var("SYNCRA_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let (victim, _inbound) = Net::start(quiet(1, &[TCP, QUIC])).await.expect("starts");
    let (friend, _f) = Net::start(quiet(2, &[TCP, QUIC])).await.expect("starts");
    connect(&friend, &victim).await;
    let mut events = victim.events();
    let tcp = socket(&victim, |part| if let Part::Tcp(port) = part { Some(*port) } else { None });
    let udp = socket(&victim, |part| if let Part::Udp(port) = part { Some(*port) } else { None });
    let thrown = tokio::task::spawn_blocking(move || {
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("binds");
        for seed in 0..cases {
            let bytes = garbage(seed);
            // Errors are the victim's good right: it hangs up.
            let mut stream = TcpStream::connect(tcp).expect("listens");
            let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
            let _ = stream.read_to_end(&mut Vec::new()); // one after the other, so that none is refused for the crowd
            let _ = datagrams.send_to(&bytes, udp);
        }
    });
    thrown.await.expect("no panic");
    // The old connection lives, new ones come about, and nothing had to be restarted.
    friend.open(victim.key(), Protocol::Log).await.expect("opens").accepted().await.expect("accepted");
    let (other, _o) = node(3).await;
    within(connect(&other, &victim)).await;
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, NetEvent::Restarted | NetEvent::Disconnected { .. }), "{event:?}");
    }
    for net in [victim, friend, other] {
        net.shutdown().await.expect("in order");
    }
}

#[tokio::test]
async fn a_panic_restarts_the_network_on_the_same_ports() {
    within(async {
        let ((a, mut inbound), (b, _b)) = (node(1).await, node(2).await);
        connect(&b, &a).await;
        let before = a.listen_addrs();
        let mut events = a.events();
        a.panic().await;
        until(&mut events, &NetEvent::Restarted).await;
        let is_there = before[0].clone();
        until(&mut events, &NetEvent::NewListenAddr { address: is_there }).await;
        assert_eq!(a.listen_addrs(), before);
        // `b` may still hold the dead connection; it is told so or finds out, and comes again.
        let mut gone = b.events();
        while b.peers().await.expect("runs").iter().any(|peer| peer.key == a.key()) {
            until(&mut gone, &NetEvent::Disconnected { peer: a.key() }).await;
        }
        let mut stream = b.open(a.key(), Protocol::Log).await.expect("the address is the same");
        stream.accepted().await.expect("accepted");
        assert_eq!(inbound.log.recv().await.expect("the queues are the same").peer, b.key());
        a.shutdown().await.expect("in order");
    })
    .await;
}
