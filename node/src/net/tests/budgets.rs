//! Bytes that lie unread, streams that crowd others out, and halves of streams on tasks of their own.

use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::StreamMuxer;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::super::meter::Ledger;
use super::super::yamux::Yamux;
use super::super::{Inbound, Net, Protocol, Stream, limits};
use super::{QUIC, TCP, connect, node, quiet, within};
use crate::incident::Incidents;

/// Opens streams and sends on each as much as flow control allows. Ends with the connection.
async fn pour(socket: tokio::io::DuplexStream) {
    let upgrade = Yamux::new(Incidents::default());
    let mut muxer = upgrade.upgrade_outbound(socket.compat(), "/yamux/1.0.0").await.expect("no handshake");
    let mut pouring = JoinSet::new();
    loop {
        let opened = poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = Pin::new(&mut muxer).poll(cx) {
                return Poll::Ready(Err(error));
            }
            if pouring.len() >= 100 {
                return Poll::Pending;
            }
            Pin::new(&mut muxer).poll_outbound(cx)
        });
        let Ok(mut stream) = opened.await else { return };
        pouring.spawn(async move { while stream.write_all(&[0; 64 << 10]).await.is_ok() {} });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fills_memory_that_nobody_reads_loses_the_connection_and_nobody_else() {
    within(async {
        const BUDGET: u64 = 8 << 20;
        let ledger = Ledger::with_budget(BUDGET);
        let upgrade = Yamux::with_ledger(Incidents::default(), ledger.clone());
        // An honest connection, with a little unread.
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut honest = upgrade.clone().upgrade_inbound(ours.compat(), "/yamux/1.0.0").await.expect("no handshake");
        let friend = tokio::spawn(async move {
            let upgrade = Yamux::new(Incidents::default());
            let mut muxer = upgrade.upgrade_outbound(theirs.compat(), "/yamux/1.0.0").await.expect("no handshake");
            let mut stream = poll_fn(|cx| Pin::new(&mut muxer).poll_outbound(cx)).await.expect("a stream");
            stream.write_all(&[7; 1_000]).await.expect("writes");
            poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await.expect_err("the end");
        });
        let mut kept = poll_fn(|cx| Pin::new(&mut honest).poll_inbound(cx)).await.expect("a stream");
        poll_fn(|cx| match ledger.held() {
            0 => Pin::new(&mut honest).poll(cx).map(drop),
            _ => Poll::Ready(()),
        })
        .await;

        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let attacker = tokio::spawn(pour(theirs));
        let mut attacked = upgrade.upgrade_inbound(ours.compat(), "/yamux/1.0.0").await.expect("no handshake");
        let ended = poll_fn(|cx| Pin::new(&mut attacked).poll(cx)).await;
        let why = ended.expect_err("no event but the end").to_string();
        assert!(why.contains("unread"), "{why}");
        assert!(ledger.held() <= BUDGET + (1 << 20), "{} bytes", ledger.held());
        drop(attacked);
        attacker.await.expect("it notices");
        assert!(ledger.held() < 10_000, "what it sent is gone: {}", ledger.held());

        let mut heard = [0; 1_000];
        kept.read_exact(&mut heard).await.expect("the honest stream lives");
        assert_eq!((heard, ledger.held()), ([7; 1_000], 0));
        drop((kept, honest));
        friend.await.expect("no panic");
    })
    .await;
}

/// Takes every stream and never answers.
async fn hold(net: Net, mut streams: tokio::sync::mpsc::Receiver<Inbound>) {
    let mut held = Vec::new();
    while let Some(inbound) = streams.recv().await {
        held.push(inbound);
    }
    drop(net);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_with_many_streams_leaves_some_to_everybody() {
    within(async {
        let (victim, inbounds) = node(1).await;
        let holding = tokio::spawn(hold(victim.clone(), inbounds.log));
        let mut crowd = Vec::new();
        let mut refused = 0;
        let n_peers = limits::INBOUND_STREAMS / limits::INBOUND_STREAMS_PER_PEER + 2;
        for n in 0..n_peers {
            let (net, _in) = node(100 + n as u8).await;
            connect(&net, &victim).await;
            let mut streams = Vec::new();
            while streams.len() < limits::OUTBOUND_STREAMS_PER_PEER {
                let mut stream = net.open(victim.key(), Protocol::Log).await.expect("opens");
                if stream.accepted().await.is_err() {
                    refused += 1;
                    break;
                }
                streams.push(stream);
            }
            crowd.push((net, _in, streams));
        }
        assert!(refused >= 2, "the node's places are bounded");
        // A place for whoever comes last.
        let (friend, _f) = node(2).await;
        connect(&friend, &victim).await;
        let mut mine = Vec::new();
        for n in 1..=limits::ASSURED_STREAMS {
            let mut stream = friend.open(victim.key(), Protocol::Log).await.expect("opens");
            assert_eq!(stream.accepted().await, Ok(()), "stream {n}");
            mine.push(stream);
        }
        let mut stream = friend.open(victim.key(), Protocol::Log).await.expect("opens");
        assert!(stream.accepted().await.is_err(), "no more than assured");
        victim.shutdown().await.expect("in order");
        drop((crowd, victim));
        holding.await.expect("no panic");
    })
    .await;
}

/// A xorshift number.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The byte at a place of what a stream of this seed carries.
fn byte(seed: u64, at: u64) -> u8 {
    (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at.wrapping_mul(0x2545_f491_4f6c_dd1d)) >> 40) as u8
}

/// Writes on one task and reads on another, in pieces of every size, until `n` bytes went each way. `ends_last`: says
/// that it has ended only when it has heard everything.
async fn both_ways(stream: Stream, (ours, theirs): (u64, u64), n: u64, ends_last: bool) {
    let (mut reader, mut writer) = stream.split();
    let (heard, all_heard) = tokio::sync::oneshot::channel();
    let write = tokio::spawn(async move {
        let (mut at, mut state) = (0, ours | 1);
        while at < n {
            // Tiny and big, and now and then flushed in between.
            let most = [1, 17, 4_096, 70_000, 300_000][next(&mut state) as usize % 5];
            let piece: Vec<u8> = (at..n.min(at + 1 + next(&mut state) % most)).map(|at| byte(ours, at)).collect();
            writer.write_all(&piece).await.expect("writes");
            at += piece.len() as u64;
            if next(&mut state).is_multiple_of(3) {
                writer.flush().await.expect("flushes");
            }
        }
        writer.flush().await.expect("flushes");
        if ends_last {
            all_heard.await.expect("it reads to the end");
        }
        writer.close().await.expect("closes");
    });
    let read = tokio::spawn(async move {
        let (mut at, mut state) = (0, theirs | 1);
        loop {
            let most = [1, 64, 16_384, 200_000][next(&mut state) as usize % 4];
            let mut buffer = vec![0; most];
            let got = reader.read(&mut buffer).await.expect("reads");
            if got == 0 {
                break;
            }
            assert!(buffer[..got].iter().zip(at..).all(|(got, at)| *got == byte(theirs, at)), "wrong bytes");
            at += got as u64;
            if next(&mut state).is_multiple_of(16) {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(at, n);
        let _ = heard.send(()); // who ends first does not wait
    });
    write.await.expect("no panic");
    read.await.expect("no panic");
}

/// Streams in both directions at once, both halves of each on tasks of their own: older multiplexers lost a wake-up
/// here and hung. `SYNCRA_TEST_SECONDS` says how long to go on.
async fn endure(listen: &str) {
    const STREAMS: u64 = 24;
    const LARGEST: u64 = 600_000;
    let seconds = std::env::var("SYNCRA_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let until = Instant::now() + Duration::from_secs(seconds);
    let (a, a_in) = Net::start(quiet(1, &[listen])).await.expect("starts");
    let (b, b_in) = Net::start(quiet(2, &[listen])).await.expect("starts");
    connect(&a, &b).await;
    let mut sides = JoinSet::new();
    for (from, to, mut inbound, base) in [(a.clone(), b.key(), a_in.log, 0), (b.clone(), a.key(), b_in.log, 1 << 32)] {
        // What comes in: its first bytes say what it is to carry.
        sides.spawn(async move {
            let mut answers = JoinSet::new();
            while let Some(Inbound { mut stream, .. }) = inbound.recv().await {
                answers.spawn(async move {
                    let mut head = [0; 16];
                    stream.read_exact(&mut head).await.expect("reads");
                    let [seed, n] = [0, 8].map(|at| u64::from_le_bytes(head[at..at + 8].try_into().expect("8")));
                    both_ways(stream, (seed + 1, seed), n, true).await;
                });
            }
            while let Some(done) = answers.join_next().await {
                done.expect("no panic");
            }
            None
        });
        sides.spawn(async move {
            let (mut streams, mut seed, mut state) = (JoinSet::new(), base, base | 0x5eed);
            loop {
                // However slow the machine: for a while, and each place more than once.
                while streams.len() < STREAMS as usize && (Instant::now() < until || seed <= base + 4 * STREAMS) {
                    seed += 2;
                    let (net, seed, n) = (from.clone(), seed, next(&mut state) % LARGEST);
                    streams.spawn(async move {
                        let mut stream = net.open(to, Protocol::Log).await.expect("opens");
                        stream.accepted().await.expect("accepted");
                        let head = [seed.to_le_bytes(), n.to_le_bytes()].concat();
                        stream.write_all(&head).await.expect("writes");
                        both_ways(stream, (seed, seed + 1), n, false).await;
                    });
                }
                match streams.join_next().await {
                    Some(done) => done.expect("no panic"),
                    None => break,
                }
            }
            // The other side may still be at it: its streams end with the connection only after it says so.
            Some(from)
        });
    }
    drop((a, b));
    let mut handles = Vec::new();
    while handles.len() < 2 {
        let done = tokio::time::timeout(Duration::from_secs(seconds + 120), sides.join_next()).await;
        handles.extend(done.expect("nothing hangs").and_then(|done| done.expect("no panic")));
    }
    for net in &handles {
        net.shutdown().await.expect("in order");
    }
    drop(handles);
    while let Some(done) = sides.join_next().await {
        done.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_both_ways_never_hang_over_tcp() {
    endure(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_both_ways_never_hang_over_quic() {
    endure(QUIC).await;
}
