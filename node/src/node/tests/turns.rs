//! Streams that last, and streams that say nothing: neither takes the turn of somebody who asks.

use futures::AsyncWriteExt as _;
use syncra_protocol::message::Refusal;
use syncra_protocol::message::log::{self, Answer, Request, decode_answer};

use super::*;
use crate::net::Protocol;
use crate::net::frame::{read_frame, write_frame};

/// Peers: with the streams of each more than the node works on at a time.
const PEERS: u8 = 24;
/// Streams of each that say nothing, of each protocol.
const SILENT: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_and_silent_streams_keep_nobody_from_being_answered() {
    let alice = host().await;
    let published = alice.publish(package("1.0.0", &noise(50_000, 3)).path()).await;
    let (mut peers, mut streams) = (Vec::new(), Vec::new());
    let watch = Request::Watch { packages: vec![published.package] };
    for seed in 0..PEERS {
        let mut config = NetConfig::new([100 + seed; 32]);
        (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
        let (net, inbounds) = Net::start(config).await.unwrap();
        // It refuses what it is asked: who never answers is shut out in the end.
        drop(inbounds);
        let key = net.dial(alice.address()).await.unwrap();
        for n in 1..=5 {
            let mut stream = net.open(key, Protocol::Log).await.unwrap();
            write_frame(&mut stream, &watch, PATIENCE).await.unwrap();
            let answer = read_frame(&mut stream, PATIENCE, decode_answer).await.unwrap().unwrap();
            match n {
                ..=4 => assert_eq!(answer, Answer::Watching { n_packages: 1 }),
                _ => assert!(matches!(answer, Answer::Refused(Refusal::Busy { .. })), "{answer:?}"),
            }
            streams.push(stream);
        }
        for protocol in Protocol::ALL {
            for _ in 0..SILENT {
                let mut stream = net.open(key, protocol).await.unwrap();
                stream.accepted().await.unwrap();
                // Half of a length, on every other one.
                if seed % 2 == 0 {
                    stream.write_all(&[1, 0]).await.unwrap();
                    stream.flush().await.unwrap();
                }
                streams.push(stream);
            }
        }
        peers.push(net);
    }
    let bob = host().await;
    bob.connect(&alice).await;
    // Much sooner than anybody of the others is given up.
    bob.fetch(&published, &[]).await.unwrap();
    assert_eq!(bob.files(&published).await, alice.files(&published).await);
    let net = &peers[0];
    let mut stream = net.open(alice.node.online().net.key(), Protocol::Log).await.unwrap();
    stream.write_all(&[&30_u32.to_le_bytes()[..], &[0]].concat()).await.unwrap();
    let request = Request::Heads { package: published.package };
    let mut asked = net.open(alice.node.online().net.key(), Protocol::Log).await.unwrap();
    write_frame(&mut asked, &request, PATIENCE).await.unwrap();
    let answer = read_frame(&mut asked, PATIENCE, log::decode_answer).await.unwrap().unwrap();
    assert!(matches!(answer, Answer::Heads(_)), "a peer with silent streams is answered too: {answer:?}");
    assert_eq!(alice.node.parts().incidents.list(), []);
    drop((streams, peers));
    for host in [alice, bob] {
        host.node.shutdown().await;
    }
}
