//! Streams: all kinds, under load, refused, broken off.

use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::super::{Inbound, OpenError, Protocol, Stream, StreamError, limits};
use super::{QUIC, TCP, connect, node, quiet, within};
use crate::net::Net;

/// Bytes that tell whose they are: a xorshift sequence of this seed.
fn bytes(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(step).take(n).collect()
}

async fn read_exactly(stream: &mut (impl AsyncRead + Unpin), n: usize) -> Vec<u8> {
    let mut buffer = vec![0; n];
    stream.read_exact(&mut buffer).await.expect("reads");
    buffer
}

#[tokio::test]
async fn every_kind_reaches_its_own_queue() {
    within(async {
        let ((a, _a), (b, mut inbound)) = (node(1).await, node(2).await);
        connect(&a, &b).await;
        for protocol in Protocol::ALL {
            let mut stream = a.open(b.key(), protocol).await.expect("opens");
            stream.accepted().await.expect("accepted");
            let queue = match protocol {
                Protocol::Blobs => &mut inbound.blobs,
                Protocol::Log => &mut inbound.log,
                Protocol::Have => &mut inbound.have,
                Protocol::Pair => &mut inbound.pair,
                Protocol::Propose => &mut inbound.propose,
                Protocol::Draft => &mut inbound.draft,
            };
            let mut taken = queue.recv().await.expect("arrives");
            assert_eq!(taken.peer, a.key());
            stream.write_all(protocol.id().as_bytes()).await.expect("writes");
            stream.close().await.expect("closes");
            let mut heard = String::new();
            taken.stream.read_to_string(&mut heard).await.expect("reads");
            assert_eq!(heard, protocol.id());
            taken.stream.write_all(b"yes").await.expect("writes after the other's end");
            taken.stream.close().await.expect("closes");
            assert_eq!(read_exactly(&mut stream, 3).await, b"yes");
        }
        let traffic = a.peers().await.expect("peers").remove(0);
        let sent = Protocol::ALL.iter().map(|protocol| protocol.id().len() as u64).sum::<u64>();
        assert_eq!((traffic.received_bytes, traffic.sent_bytes), (3 * Protocol::ALL.len() as u64, sent));
    })
    .await;
}

/// Both sides of a stream write and read at once, and check what they get.
async fn exchange(stream: Stream, ours: u64, theirs: u64, n: usize) {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        for piece in bytes(ours, n).chunks(7_777) {
            writer.write_all(piece).await.expect("writes");
        }
        writer.close().await.expect("closes");
    };
    let read = async {
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.expect("reads");
        assert!(heard == bytes(theirs, n), "stream {ours} got other bytes");
    };
    futures::join!(write, read);
}

async fn stress(listen: &str, n_bytes: usize) {
    const STREAMS: u64 = 64;
    let (a, a_in) = Net::start(quiet(1, &[listen])).await.expect("starts");
    let (b, b_in) = Net::start(quiet(2, &[listen])).await.expect("starts");
    connect(&a, &b).await;
    let mut tasks = Vec::new();
    for (from, to, mut inbound, base) in [(&a, &b, b_in.log, 0), (&b, &a, a_in.log, 1_000_000)] {
        tasks.push(tokio::spawn(async move {
            let mut served = Vec::new();
            for _ in 0..STREAMS {
                let mut taken = inbound.recv().await.expect("arrives");
                served.push(tokio::spawn(async move {
                    let id = u64::from_le_bytes(read_exactly(&mut taken.stream, 8).await.try_into().expect("8"));
                    exchange(taken.stream, id + 500_000, id, n_bytes).await;
                }));
            }
            for task in served {
                task.await.expect("no panic");
            }
        }));
        for id in base..base + STREAMS {
            let (net, peer) = (from.clone(), to.key());
            tasks.push(tokio::spawn(async move {
                let mut stream = net.open(peer, Protocol::Log).await.expect("opens");
                stream.write_all(&id.to_le_bytes()).await.expect("writes");
                exchange(stream, id, id + 500_000, n_bytes).await;
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    for net in [a, b] {
        net.shutdown().await.expect("in order");
    }
}

/// rust-yamux lost wake-ups when the halves of a stream were used by two tasks (fixed in 0.14.1), and libp2p-stream
/// had a dead-lock under load with yamux (rust-libp2p 5410): 128 streams, both ways at once, on one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_both_ways_under_load_over_yamux() {
    within(stress(TCP, 100_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_both_ways_under_load_over_quic() {
    within(stress(QUIC, 30_000)).await;
}

/// Opens streams until one is refused; returns those that were accepted.
async fn open_until_refused(from: &Net, to: &Net, protocol: Protocol) -> (Vec<Stream>, OpenError) {
    let mut open = Vec::new();
    loop {
        match from.open(to.key(), protocol).await {
            Ok(mut stream) => match stream.accepted().await {
                Ok(()) => open.push(stream),
                Err(error) => return (open, error.into()),
            },
            Err(error) => return (open, error),
        }
    }
}

async fn refused_when_the_queue_is_full(listen: &str) {
    let (a, _a) = Net::start(quiet(1, &[listen])).await.expect("starts");
    let config = crate::net::NetConfig { inbound_queue: 5, ..quiet(2, &[listen]) };
    let (b, mut inbound) = Net::start(config).await.expect("starts");
    connect(&a, &b).await;
    let (open, error) = open_until_refused(&a, &b, Protocol::Log).await;
    assert_eq!((open.len(), error), (5, StreamError::Busy.into()));
    a.open(b.key(), Protocol::Have).await.expect("opens").accepted().await.expect("other queues are free");
    // The refusal is also what a reader finds that did not ask first.
    let mut refused = a.open(b.key(), Protocol::Log).await.expect("opens");
    let error = refused.read(&mut [0; 9]).await.expect_err("busy");
    assert_eq!(Stream::refusal(&error), Some(StreamError::Busy));
    drop(inbound.log.recv().await.expect("first in line"));
    a.open(b.key(), Protocol::Log).await.expect("opens").accepted().await.expect("a place is free again");
}

#[tokio::test]
async fn a_full_queue_refuses_aloud_over_yamux() {
    within(refused_when_the_queue_is_full(TCP)).await;
}

#[tokio::test]
async fn a_full_queue_refuses_aloud_over_quic() {
    within(refused_when_the_queue_is_full(QUIC)).await;
}

/// Takes streams and keeps them.
async fn hoard(mut queue: mpsc::Receiver<Inbound>, kept: mpsc::Sender<Inbound>) {
    while let Some(taken) = queue.recv().await {
        kept.send(taken).await.expect("room");
    }
}

#[tokio::test]
async fn one_peer_holds_only_its_share_and_a_disconnect_frees_it() {
    within(async {
        let ((a, _a), (b, inbound)) = (node(1).await, node(2).await);
        connect(&a, &b).await;
        let (keep, mut kept) = mpsc::channel(10 * limits::INBOUND_STREAMS_PER_PEER);
        tokio::spawn(hoard(inbound.log, keep));
        for round in 0..3 {
            let (open, error) = open_until_refused(&a, &b, Protocol::Log).await;
            let n = limits::INBOUND_STREAMS_PER_PEER.min(limits::OUTBOUND_STREAMS_PER_PEER);
            assert_eq!(open.len(), n, "round {round}: {error}");
            drop(open);
            for _ in 0..n {
                let mut gone = kept.recv().await.expect("was taken").stream;
                assert_eq!(gone.read(&mut [0; 1]).await.unwrap_or(0), 0, "the other side is gone");
            }
            if round == 1 {
                let mut events = b.events();
                a.disconnect(b.key()).await.expect("runs");
                let gone = crate::net::NetEvent::Disconnected { peer: a.key() };
                super::until(&mut events, &gone).await;
                connect(&a, &b).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_protocol_nobody_serves_is_busy() {
    within(async {
        let ((a, _a), (b, inbound)) = (node(1).await, node(2).await);
        connect(&a, &b).await;
        drop(inbound);
        let (open, error) = open_until_refused(&a, &b, Protocol::Blobs).await;
        assert_eq!((open.len(), error), (0, StreamError::Busy.into()));
    })
    .await;
}

async fn peer_gone_mid_stream(listen: &str) {
    let (a, _a) = Net::start(quiet(1, &[listen])).await.expect("starts");
    let (b, mut inbound) = Net::start(quiet(2, &[listen])).await.expect("starts");
    connect(&a, &b).await;
    let mut stream = a.open(b.key(), Protocol::Blobs).await.expect("opens");
    let mut taken = inbound.blobs.recv().await.expect("arrives").stream;
    taken.write_all(&bytes(1, 1_000)).await.expect("writes");
    taken.flush().await.expect("flushes");
    assert_eq!(read_exactly(&mut stream, 1_000).await, bytes(1, 1_000));
    b.shutdown().await.expect("in order");
    // Whether as an error or as an end: the reader is not left waiting.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut sent = 0;
    while stream.write_all(&[0; 4_096]).await.is_ok() {
        stream.flush().await.ok();
        sent += 4_096;
        assert!(sent < 64 << 20, "a writer to nobody hears of it");
    }
    drop(stream);

    // The same device comes back elsewhere.
    let (b, mut inbound) = Net::start(quiet(2, &[listen])).await.expect("starts");
    a.add_addresses(b.key(), b.listen_addrs()).await.expect("runs");
    let mut stream = loop {
        // Until the end of the old connection has been noticed an attempt may still go there.
        match a.open(b.key(), Protocol::Blobs).await {
            Ok(stream) => break stream,
            Err(error) => assert!(matches!(error, OpenError::Stream(_)), "{error:?}"),
        }
    };
    stream.accepted().await.expect("accepted");
    assert_eq!(inbound.blobs.recv().await.expect("arrives").peer, a.key());
}

#[tokio::test]
async fn a_peer_that_goes_leaves_nobody_waiting_over_yamux() {
    within(peer_gone_mid_stream(TCP)).await;
}

#[tokio::test]
async fn a_peer_that_goes_leaves_nobody_waiting_over_quic() {
    within(peer_gone_mid_stream(QUIC)).await;
}
