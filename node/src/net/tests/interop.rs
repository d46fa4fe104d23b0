//! Nodes with libp2p's own transports, and garbage.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Swarm, SwarmBuilder, identify, noise, tcp, tls};
use tokio::sync::oneshot;

use super::super::behaviour::{Behaviour, BehaviourEvent};
use super::super::dht::Dht;
use super::super::gate::{Gate, Lobby};
use super::super::gossip::Gossip;
use super::super::nat::{Nat, NatConfig};
use super::super::streams::{Doors, OpenRequest};
use super::super::{Inbounds, Net, Part, Protocol, Reach, Records, Stream, address, limits};
use super::{QUIC, TCP, quiet, within};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Security {
    Tls,
    Noise,
}

fn no_dht(key: &libp2p::identity::Keypair) -> Dht {
    let me = key.public().to_peer_id();
    Dht::new(me, Records::new(me, &[7; 32]), Part::None)
}

/// A node whose transports are all libp2p's own.
fn stock(seed: u8, security: Security) -> (Swarm<Behaviour>, Inbounds) {
    let (doors, inbounds) = Doors::new(limits::INBOUND_QUEUE);
    // The builder has another type for each security.
    macro_rules! swarm {
        ($security:expr) => {
            SwarmBuilder::with_existing_identity(address::keypair([seed; 32]))
                .with_tokio()
                .with_tcp(tcp::Config::default(), $security, libp2p::yamux::Config::default)
                .expect("tcp")
                .with_quic()
                .with_behaviour(|key| {
                    let nat = Nat::new(key.public().to_peer_id(), NatConfig::default(), None);
                    let gossip = Gossip::new(true);
                    // Its transports are the library's: nobody gives way here.
                    let gate = Gate::new(Reach::Everywhere, Lobby::default());
                    Behaviour::new(key, gate, "stock", no_dht(key), gossip, nat, doors)
                })
                .expect("behaviour")
                .build()
        };
    }
    let swarm = match security {
        Security::Tls => swarm!(tls::Config::new),
        Security::Noise => swarm!(noise::Config::new),
    };
    (swarm, inbounds)
}

/// Sends more than any buffer holds both ways at once, and checks it.
async fn exchange(stream: Stream) {
    const BYTES: usize = 600_000;
    let sent: Vec<u8> = (0..BYTES).map(|i| (i * 7 + i / 251) as u8).collect();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&sent).await.expect("writes");
        writer.close().await.expect("closes");
    };
    let mut heard = Vec::new();
    let (_, read) = futures::join!(write, reader.read_to_end(&mut heard));
    read.expect("reads");
    assert!(heard == sent, "other bytes came back");
}

/// Both dial each other; over each connection both identify themselves and open a stream full of data.
async fn speaks(listen: &str, security: Security) {
    for we_dial in [true, false] {
        let (net, mut ours) = Net::start(quiet(1, &[listen])).await.expect("starts");
        let (mut swarm, mut theirs) = stock(2, security);
        swarm.listen_on(listen.parse().expect("address")).expect("listens");
        let at = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let we = net.key();
        let us = address::peer_id(&we).expect("our key");
        let them = address::device_key(swarm.local_peer_id()).expect("their key");
        if !we_dial {
            swarm.dial(super::address(&net)).expect("dials");
        }
        let (opened, their_stream) = oneshot::channel();
        let mut opened = Some(opened);
        let peer = tokio::spawn(async move {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
                        assert_eq!(address::device_key(&info.public_key.to_peer_id()), Some(we));
                        if let Some(reply) = opened.take() {
                            let request = OpenRequest { protocol: Protocol::Log, reply };
                            swarm.behaviour_mut().streams.open(us, request);
                        }
                    }
                    SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                    _ => {}
                }
            }
        });
        if we_dial {
            assert_eq!(net.dial(at.clone()).await, Ok(them), "{security:?}");
        }
        let theirs_to_us = async {
            let stream = their_stream.await.expect("answered").expect("opens");
            futures::join!(exchange(stream), async {
                exchange(ours.log.recv().await.expect("arrives").stream).await;
            });
        };
        theirs_to_us.await;
        let stream = net.open(them, Protocol::Blobs).await.expect("opens");
        futures::join!(exchange(stream), async {
            exchange(theirs.blobs.recv().await.expect("arrives").stream).await;
        });
        peer.abort();
        net.shutdown().await.expect("in order");
    }
}

#[tokio::test]
async fn a_stock_node_with_tls_is_understood() {
    within(Box::pin(speaks(TCP, Security::Tls))).await;
}

#[tokio::test]
async fn a_stock_node_with_noise_is_understood() {
    within(Box::pin(speaks(TCP, Security::Noise))).await;
}

#[tokio::test]
async fn a_stock_node_with_quic_is_understood() {
    within(Box::pin(speaks(QUIC, Security::Tls))).await;
}
