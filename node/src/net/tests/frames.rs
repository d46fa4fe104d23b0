//! What has broken implementations of our protocols elsewhere, sent to a real node after a real handshake: after each
//! the node answers an honest peer, and nothing panicked.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol as Part;
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Keys, Version};
use tokio::net::UdpSocket;

use super::super::{Net, Protocol};
use super::raw::{self, frame, message};
use super::{QUIC, TCP, connect, node, quiet, within};

const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;
/// The credit that every stream begins with.
const CREDIT: u32 = 256 << 10;

fn with_body(header: Vec<u8>, n: u32) -> Vec<u8> {
    [header, vec![0x5a; n as usize]].concat()
}

fn many(n: u32, one: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..n).flat_map(one).collect()
}

/// Frames by what is wrong with them.
fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let open = |stream| frame(WINDOW, SYN, stream, 0);
    vec![
        // Too much in the frame that opens a stream: the stream was dropped before it was known, and looking for it
        // panicked (CVE-2026-32314).
        ("a stream opened with more than its credit", with_body(frame(DATA, SYN, 1, CREDIT + 1), CREDIT + 1)),
        ("and ended by the same frame", with_body(frame(DATA, SYN | FIN, 1, CREDIT + 1), CREDIT + 1)),
        // The sum of a window and its update overflowed (CVE-2026-31814).
        ("a stream opened with endless credit", frame(WINDOW, SYN, 1, u32::MAX)),
        ("credit that overflows by one", frame(WINDOW, SYN, 1, u32::MAX - CREDIT + 1)),
        ("endless credit afterwards", [open(1), frame(WINDOW, 0, 1, u32::MAX), frame(WINDOW, 0, 1, u32::MAX)].concat()),
        ("credit that overflows in small steps", [open(1), many(40, |_| frame(WINDOW, 0, 1, 1 << 30))].concat()),
        // Small inputs that announce much.
        ("four gigabytes announced", [open(1), frame(DATA, 0, 1, u32::MAX)].concat()),
        ("a negative length", [open(1), frame(DATA, 0, 1, i32::MIN as u32)].concat()),
        ("a megabyte and a byte announced", [open(1), frame(DATA, 0, 1, (1 << 20) + 1)].concat()),
        ("a megabyte announced and nothing sent", [open(1), frame(DATA, 0, 1, 1 << 20)].concat()),
        ("a megabyte for nobody", with_body(frame(DATA, 0, 77, 1 << 20), 1 << 20)),
        ("more than the window", [open(1), with_body(frame(DATA, 0, 1, CREDIT + 1), CREDIT + 1)].concat()),
        // Streams that may not be, or not twice.
        ("stream zero", [with_body(frame(DATA, SYN, 0, 1), 1), frame(WINDOW, SYN, 0, 1)].concat()),
        ("our own number", [frame(WINDOW, SYN, 2, 0), with_body(frame(DATA, SYN, 4, 9), 9)].concat()),
        ("the same stream twice", [open(1), open(1), with_body(frame(DATA, SYN, 1, 1), 1)].concat()),
        ("numbers that go down", [open(u32::MAX), open(1), open(u32::MAX - 2)].concat()),
        ("ten thousand streams", many(10_000, |n| open(2 * n + 1))),
        ("ten thousand streams that end at once", many(10_000, |n| frame(WINDOW, SYN | FIN, 2 * n + 1, 0))),
        (
            "ten thousand streams that are reset",
            many(10_000, |n| [open(2 * n + 1), frame(DATA, RST, 2 * n + 1, 0)].concat()),
        ),
        ("answers to what nobody asked", many(100, |n| frame(WINDOW, ACK, 2 * n, 0))),
        ("everything at once", many(16, |flags| frame(DATA, flags as u16, 1, 0))),
        ("data after the end", [open(1), frame(DATA, FIN, 1, 0), with_body(frame(DATA, 0, 1, 5), 5)].concat()),
        ("resets of nothing", many(1_000, |n| frame(DATA, RST, n, 0))),
        // Frames that may not be.
        ("another version", [&[7], &frame(DATA, 0, 1, 0)[1..]].concat()),
        ("another type", frame(9, 0, 1, 0)),
        ("flags that nobody knows", frame(WINDOW, 0xfff0, 1, 0)),
        ("half a header", frame(DATA, SYN, 1, 0)[..7].to_vec()),
        ("a stream of zeros", vec![0; 100_000]),
        ("a stream of ones", vec![0xff; 100_000]),
        // What has to be answered, and is not read.
        ("a hundred thousand pings", many(100_000, |n| frame(PING, SYN, 0, n))),
        ("answers to no ping", many(1_000, |n| frame(PING, ACK, 0, n))),
        ("goodbye, in words that nobody knows", frame(GO_AWAY, 0xffff, u32::MAX, u32::MAX)),
        ("frames of nothing", [open(1), many(100_000, |_| frame(DATA, 0, 1, 0))].concat()),
        ("frames of one byte", [open(1), many(100_000, |_| with_body(frame(DATA, 0, 1, 1), 1))].concat()),
    ]
}

/// What is sent on a stream before a protocol is agreed.
fn proposals() -> Vec<(&'static str, Vec<u8>)> {
    let hello = message(b"/multistream/1.0.0\n");
    let log = message(b"/syncra/log/1\n");
    vec![
        ("nothing, for good", Vec::new()),
        ("a length without end", vec![0xff; 64]),
        ("a length of four gigabytes", [hello.clone(), vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat()),
        ("a name without its end", [hello.clone(), message(b"/syncra/log/1")].concat()),
        ("a name of nothing", [hello.clone(), vec![0, 0, 0]].concat()),
        ("a name that is no text", [hello.clone(), message(b"\xff\xfe\x00\n")].concat()),
        ("a request for a list", [hello.clone(), message(b"ls\n")].concat()),
        ("a thousand other names", [hello.clone(), (0..1_000).flat_map(|_| message(b"/x\n")).collect()].concat()),
        ("another dialect", message(b"/multistream/9.9.9\n")),
        ("a name before the greeting", [log.clone(), hello.clone()].concat()),
        ("garbage instead of identify", [hello.clone(), message(b"/ipfs/id/push/1.0.0\n"), vec![0xff; 5_000]].concat()),
        ("half a ping", [hello.clone(), message(b"/ipfs/ping/1.0.0\n"), vec![1; 31]].concat()),
        ("half a greeting", hello[..5].to_vec()),
        ("the log's name and a byte", [hello, log, vec![1]].concat()),
    ]
}

/// What is sent to the distributed hash table.
fn questions() -> Vec<(&'static str, Vec<u8>)> {
    let sized = |body: &[u8]| message(body);
    vec![
        ("nothing", Vec::new()),
        ("an endless length", vec![0xff; 32]),
        ("two gigabytes announced", vec![0xff, 0xff, 0xff, 0xff, 0x07]),
        ("more than a packet", [vec![0x81, 0x80, 0x02], vec![0x0a; 32_769]].concat()),
        ("no message", sized(&[0xff; 60])),
        ("a type that nobody knows", sized(&[0x08, 0x7f])),
        ("a negative type", sized(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
        ("a question without a key", sized(&[0x08, 0x04])),
        ("a length inside that is too long", sized(&[0x08, 0x04, 0x52, 0xff, 0xff, 0xff, 0xff, 0x07])),
        ("a record to keep without anything", sized(&[0x08, 0x00])),
        ("a provider without anything", sized(&[0x08, 0x02])),
        ("a provider that is no peer", sized(&[0x08, 0x02, 0x52, 0x01, 0x01, 0x4a, 0x04, 0x0a, 0x02, 0xff, 0xff])),
        ("an end inside", sized(&[0x08, 0x04, 0x52, 0x20, 1, 2, 3])[..6].to_vec()),
    ]
}

async fn honest(friend: &Net, victim: &Net, after: &str) {
    let answer =
        async { friend.open(victim.key(), Protocol::Log).await?.accepted().await.map_err(super::OpenError::from) };
    assert_eq!(within(answer).await, Ok(()), "after: {after}");
    assert_eq!(victim.incidents().list(), [], "after: {after}");
}

/// Reads what the node answers until it hangs up or says nothing for a moment.
async fn listen(stream: &mut (impl futures::AsyncRead + Unpin)) {
    let mut buffer = [0; 4_096];
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut buffer)).await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_broke_others_end_no_more_than_their_connection() {
    let ((victim, _v), (friend, _f)) = (node(1).await, node(2).await);
    connect(&friend, &victim).await;
    let mut events = victim.events();
    let at = victim.listen_addrs().remove(0);
    for (what, bytes) in attacks() {
        let mut wire = within(raw::connect(&at, 9)).await.expect("a handshake");
        // The node hangs up when it has heard enough.
        let _ = tokio::time::timeout(Duration::from_secs(5), wire.write_all(&bytes)).await;
        let _ = wire.flush().await;
        listen(&mut wire).await;
        honest(&friend, &victim, what).await;
    }
    for (name, inputs) in [(None, proposals()), (Some("/syncra/kad/1"), questions())] {
        for (what, bytes) in inputs {
            let mut wire = within(raw::connect(&at, 9)).await.expect("a handshake");
            let greeting =
                name.map(|name| [message(b"/multistream/1.0.0\n"), message(format!("{name}\n").as_bytes())].concat());
            let sent = [greeting.unwrap_or_default(), bytes].concat();
            let n = u32::try_from(sent.len()).expect("short");
            let _ = wire.write_all(&[frame(DATA, SYN, 1, n), sent].concat()).await;
            let _ = wire.flush().await;
            listen(&mut wire).await;
            honest(&friend, &victim, what).await;
        }
    }
    // The honest connection lived through all of it.
    while let Ok(event) = events.try_recv() {
        let harmed = matches!(event, super::NetEvent::Restarted)
            || event == super::NetEvent::Disconnected { peer: friend.key() };
        assert!(!harmed, "{event:?}");
    }
    for net in [victim, friend] {
        net.shutdown().await.expect("in order");
    }
}

/// A number of the wire of QUIC, two bytes long (RFC 9000 §16).
fn two_bytes(n: usize) -> [u8; 2] {
    (0x4000 | u16::try_from(n).expect("short")).to_be_bytes()
}

/// A first packet of a connection that carries these frames: encrypted as everybody's first packet is, because its key
/// follows from the connection's number (RFC 9001 §5.2).
fn packet(frames: &[u8], number: u32) -> Vec<u8> {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else { panic!("TLS 1.3") };
    let connection = [0x42; 8];
    let quic = suite.quic.expect("for QUIC");
    let keys = Keys::initial(Version::V1, suite, quic, &connection, rustls::Side::Client).local;
    let (n_tag, n_number) = (keys.packet.tag_len(), 4);
    let head = [&[0xc3, 0, 0, 0, 1, 8][..], &connection, &[0, 0]].concat();
    let mut payload = frames.to_vec();
    payload.resize(payload.len().max(1_200 - head.len() - 2 - n_number - n_tag), 0); // padding
    let n_rest = n_number + payload.len() + n_tag;
    let mut packet = [&head[..], &two_bytes(n_rest), &number.to_be_bytes()].concat();
    let n_head = packet.len();
    let tag = keys.packet.encrypt_in_place(u64::from(number), &packet, &mut payload).expect("encrypted");
    packet.extend_from_slice(&payload);
    packet.extend_from_slice(tag.as_ref());
    let sample = packet[n_head..n_head + keys.header.sample_len()].to_vec();
    let (first, rest) = packet.split_at_mut(1);
    keys.header.encrypt_in_place(&sample, &mut first[0], &mut rest[n_head - 5..n_head - 1]).expect("protected");
    packet
}

/// The first packet with these transport parameters.
fn initial(parameters: Vec<u8>) -> Vec<u8> {
    let config = libp2p::tls::make_client_config(&Keypair::generate_ed25519(), None).expect("a key");
    let name = ServerName::try_from("l").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), Version::V1, name, parameters).expect("a client");
    let mut hello = Vec::new();
    assert!(client.write_hs(&mut hello).is_none(), "only the first flight");
    packet(&[&[6, 0][..], &two_bytes(hello.len()), &hello].concat(), 0)
}

/// Packets of single bytes of a handshake, never the first one and never two in a row: each had to be kept for good
/// (RUSTSEC-2026-0185).
fn fragments() -> Vec<Vec<u8>> {
    let mut offset = 1_u32;
    let one = |number| {
        let mut frames = Vec::new();
        while frames.len() < 1_000 {
            let at = (0x8000_0000 | offset).to_be_bytes();
            frames.extend_from_slice(&[&[6][..], &at, &[1, 7]].concat());
            // Within what a library buffers, and then far beyond.
            offset = offset.wrapping_mul(5).wrapping_add(2) % if number < 800 { 60_000 } else { 0x3fff_ffff };
        }
        packet(&frames, number)
    };
    (0..1_000).map(one).collect()
}

/// Transport parameters with numbers that end too early, which a library unwrapped (CVE-2026-31812), or that are too
/// large, long, twice, or nothing.
fn parameters() -> Vec<Vec<u8>> {
    let mut all = vec![
        Vec::new(),
        vec![0xff],
        vec![0xff; 40],
        vec![0x40],
        vec![1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for id in 0..=0x11 {
        for value in [&[][..], &[0xc0], &[0x40], &[0x80, 0, 0], &[0xff; 8], &[0; 9], &[0xff; 20]] {
            let parameter = [&[id, value.len() as u8][..], value].concat();
            all.push(parameter.clone());
            all.push([parameter.clone(), parameter].concat());
        }
        all.push(vec![id, 200, 1]);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_packets_of_quic_that_broke_others_harm_nobody() {
    let (victim, _v) = Net::start(quiet(1, &[QUIC])).await.expect("starts");
    let (friend, _f) = Net::start(quiet(2, &[QUIC, TCP])).await.expect("starts");
    connect(&friend, &victim).await;
    let mut events = victim.events();
    let port = victim
        .listen_addrs()
        .iter()
        .flatten()
        .find_map(|part| if let Part::Udp(port) = part { Some(port) } else { None });
    let to = ("127.0.0.1", port.expect("listens"));
    // What is well is answered: so these packets are understood, and not thrown away as noise.
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let mut answer = [0; 2_048];
    socket.send_to(&initial(vec![15, 0]), to).await.expect("sends");
    within(socket.recv_from(&mut answer)).await.expect("an answer");
    let n_others = 1_000;
    let sent: Vec<Vec<u8>> = parameters().into_iter().map(initial).collect();
    for packet in &sent {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        socket.send_to(packet, to).await.expect("sends");
    }
    // Nor do bits that changed on the way, ends that are missing, and everything twice.
    for n in 0..n_others {
        let mut packet = sent[n % sent.len()].clone();
        let at = n * 7 % packet.len();
        packet[at] ^= 1 << (n % 8);
        packet.truncate(packet.len() - n % 3 * 400);
        socket.send_to(&packet, to).await.expect("sends");
    }
    let of_one = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    for packet in fragments() {
        of_one.send_to(&packet, to).await.expect("sends");
    }
    honest(&friend, &victim, "first packets").await;
    let (other, _o) = Net::start(quiet(3, &[QUIC])).await.expect("starts");
    within(connect(&other, &victim)).await;
    while let Ok(event) = events.try_recv() {
        let harmed = matches!(event, super::NetEvent::Restarted | super::NetEvent::Disconnected { .. });
        assert!(!harmed, "{event:?}");
    }
    for net in [victim, friend, other] {
        net.shutdown().await.expect("in order");
    }
}
