//! Dialling, being refused, ending.

use std::time::Instant;

use futures::{AsyncReadExt, AsyncWriteExt};

use super::super::{DialError, Direction, NetEvent, OpenError, Protocol, StartError, Stopped, TransportKind, limits};
use syncra_protocol::sync::score::Deed;

use super::{QUIC, TCP, address, connect, node, quiet, until, within};
use crate::net::{Net, NetConfig};

#[tokio::test]
async fn two_nodes_meet_and_part() {
    within(async {
        let ((a, _a), (b, _b)) = (node(1).await, node(2).await);
        let mut events = a.events();
        assert_eq!(connect(&a, &b).await, b.key());
        let peers = a.peers().await.expect("peers");
        assert_eq!(peers.len(), 1);
        assert_eq!(
            (peers[0].key, peers[0].direction, peers[0].transport),
            (b.key(), Direction::Outbound, TransportKind::Tcp)
        );
        assert_eq!(b.peers().await.expect("peers")[0].direction, Direction::Inbound);
        assert_eq!(a.dial(address(&b)).await, Ok(b.key()), "already there");
        assert_eq!(a.peers().await.expect("peers")[0].addresses.len(), 1);
        assert_eq!(b.disconnect(a.key()).await, Ok(true));
        until(&mut events, &NetEvent::Disconnected { peer: b.key() }).await;
        assert!(a.peers().await.expect("peers").is_empty());
        connect(&b, &a).await;
        a.shutdown().await.expect("in order");
        b.shutdown().await.expect("in order");
    })
    .await;
}

#[tokio::test]
async fn no_more_connections_than_allowed_and_some_are_kept_for_own_dials() {
    within(async {
        let config = NetConfig { connections: 4, ..quiet(1, &[TCP]) };
        let (a, _a) = Net::start(config).await.expect("starts");
        let mut others = Vec::new();
        for seed in 2..6 {
            others.push(node(seed).await);
        }
        for (other, _) in &others[..3] {
            connect(other, &a).await;
        }
        let (last, _inbounds) = &others[3];
        let mut events = last.events();
        // The handshake is over on its side when it is refused.
        if last.dial(address(&a)).await.is_ok() {
            until(&mut events, &NetEvent::Disconnected { peer: a.key() }).await;
        }
        assert_eq!(a.peers().await.expect("peers").len(), 3);
        assert_eq!(a.dial(address(last)).await, Ok(last.key()));
        assert_eq!(a.peers().await.expect("peers").len(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_stranger_is_known_by_its_handshake() {
    within(async {
        let ((a, _a), (b, _b)) = (node(1).await, node(2).await);
        let bare = b.listen_addrs().remove(0);
        assert_eq!(a.dial(bare).await, Ok(b.key()));
    })
    .await;
}

#[tokio::test]
async fn tcp_comes_before_quic_near_by_and_quic_works_alone() {
    within(async {
        let (a, _a) = node(1).await;
        let (b, _b) = Net::start(quiet(2, &[QUIC, TCP])).await.expect("starts");
        a.add_addresses(b.key(), b.listen_addrs()).await.expect("runs");
        let began = Instant::now();
        let _stream = a.open(b.key(), Protocol::Log).await.expect("opens");
        let took = began.elapsed();
        // Who needs longer than the head start is dialled by QUIC too, and either may be first.
        let first = a.peers().await.expect("peers")[0].transport;
        assert!(first == TransportKind::Tcp || took >= limits::HEAD_START, "{first:?} after {took:?}");

        let (c, _c) = Net::start(quiet(3, &[QUIC])).await.expect("starts");
        a.add_addresses(c.key(), c.listen_addrs()).await.expect("runs");
        let _stream = a.open(c.key(), Protocol::Log).await.expect("opens");
        let transports: Vec<_> = a.peers().await.expect("peers").iter().map(|peer| peer.transport).collect();
        assert!(transports.contains(&TransportKind::Quic), "{transports:?}");
    })
    .await;
}

#[tokio::test]
async fn identify_tells_the_agent_and_where_a_peer_listens() {
    within(async {
        let ((a, _a), (b, _b)) = (node(1).await, node(2).await);
        connect(&a, &b).await;
        loop {
            let peers = b.peers().await.expect("peers");
            if !peers[0].agent.is_empty() {
                assert_eq!(peers[0].agent, concat!("syncra/", env!("CARGO_PKG_VERSION")));
                assert!(peers[0].protocols.iter().any(|p| p == Protocol::Blobs.id()), "{:?}", peers[0].protocols);
                break;
            }
            tokio::task::yield_now().await;
        }
        // `b` never dialled `a` and can now reach it again by what `a` said of itself.
        let mut events = b.events();
        a.disconnect(b.key()).await.expect("runs");
        until(&mut events, &NetEvent::Disconnected { peer: a.key() }).await;
        b.open(a.key(), Protocol::Have).await.expect("dials by what identify said");
    })
    .await;
}

#[tokio::test]
async fn the_wrong_peer_at_an_address_is_an_error_and_another_address_is_tried() {
    within(async {
        let ((a, _a), (b, _b), (c, _c)) = (node(1).await, node(2).await, node(3).await);
        let b_at_c = crate::net::with_peer(c.listen_addrs().remove(0), &b.key()).expect("key");
        assert_eq!(a.dial(b_at_c).await, Err(DialError::WrongPeer { obtained: Some(c.key()) }));
        let both = vec![c.listen_addrs().remove(0), b.listen_addrs().remove(0)];
        a.add_addresses(b.key(), both).await.expect("runs");
        let stream = a.open(b.key(), Protocol::Log).await;
        assert!(stream.is_ok(), "{stream:?}");
    })
    .await;
}

#[tokio::test]
async fn a_peer_with_many_addresses_is_dialled_once_by_the_preferred_transport() {
    within(async {
        let (a, _a) = node(1).await;
        let (b, _b) = Net::start(quiet(2, &[QUIC, TCP])).await.expect("starts");
        let began = Instant::now();
        a.reach(b.key(), b.listen_addrs()).await.expect("reached");
        let took = began.elapsed();
        let peers = a.peers().await.expect("peers");
        // See `tcp_comes_before_quic_near_by_and_quic_works_alone`.
        let is_one_by_tcp = (peers[0].transport, peers[0].addresses.len()) == (TransportKind::Tcp, 1);
        assert!(is_one_by_tcp || took >= limits::HEAD_START, "{peers:?} after {took:?}");
        assert_eq!(a.reach(b.key(), Vec::new()).await, Ok(()), "already there");
    })
    .await;
}

#[tokio::test]
async fn one_true_address_is_enough_and_without_any_each_says_why() {
    within(async {
        let ((a, _a), (b, _b), (c, _c)) = (node(1).await, node(2).await, node(3).await);
        let (at_b, at_c) = (b.listen_addrs().remove(0), c.listen_addrs().remove(0));
        let closed: crate::net::Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("address");
        let unreached = a.reach(b.key(), vec![at_c.clone(), closed.clone()]).await.expect_err("nobody there");
        assert_eq!(unreached.at(&at_c), DialError::WrongPeer { obtained: Some(c.key()) });
        assert!(matches!(unreached.at(&closed), DialError::Unreachable { .. }), "{unreached:?}");
        a.reach(b.key(), vec![at_c, closed, at_b]).await.expect("reached");
        assert_eq!(a.peers().await.expect("peers").len(), 1);
        let itself = a.reach(a.key(), a.listen_addrs()).await.expect_err("nobody else");
        assert_eq!(itself.at(&a.listen_addrs().remove(0)), DialError::Itself);
    })
    .await;
}

#[tokio::test]
async fn dial_errors_say_what_is_wrong() {
    within(async {
        let (a, _a) = node(1).await;
        let parse = |text: &str| text.parse().expect("address");
        assert_eq!(a.dial(address(&a)).await, Err(DialError::Itself));
        assert_eq!(a.dial(a.listen_addrs().remove(0)).await, Err(DialError::Itself));
        assert_eq!(a.dial(parse("/memory/5")).await, Err(DialError::UnsupportedAddress));
        let nobody = a.dial(parse("/ip4/127.0.0.1/tcp/1")).await;
        assert!(matches!(&nobody, Err(DialError::Unreachable { attempts }) if attempts.len() == 1), "{nobody:?}");
        let unknown = syncra_protocol::key::DeviceSecret::from_seed(&[9; 32]).public();
        let no_address = a.open(unknown, Protocol::Log).await;
        assert!(matches!(no_address, Err(OpenError::Dial(DialError::NoAddress))), "{no_address:?}");
    })
    .await;
}

#[tokio::test]
async fn a_local_node_never_dials_afar() {
    within(async {
        let config = crate::net::NetConfig { reach: crate::net::Reach::LocalLinks, ..quiet(1, &[TCP]) };
        let (a, _a) = Net::start(config).await.expect("starts");
        for text in ["/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/udp/1/quic-v1", "/ip6/::ffff:192.0.2.1/tcp/1"] {
            assert_eq!(a.dial(text.parse().expect("address")).await, Err(DialError::OutOfReach), "{text}");
        }
        let (b, _b) = node(2).await;
        connect(&a, &b).await;
    })
    .await;
}

#[tokio::test]
async fn a_banned_peer_is_cut_off_and_stays_out_until_the_ban_is_lifted() {
    within(async {
        let ((a, _a), (b, _b)) = (node(1).await, node(2).await);
        connect(&b, &a).await;
        let mut events = a.events();
        a.report(b.key(), Deed::WrongBytes).await.expect("runs");
        until(&mut events, &NetEvent::Disconnected { peer: b.key() }).await;
        assert_eq!(a.dial(address(&b)).await, Err(DialError::Banned));
        // The dialler's handshake may succeed before it is thrown out; what it never gets is a stream.
        let opened = match b.dial(address(&a)).await {
            Ok(_) => b.open(a.key(), Protocol::Log).await,
            Err(error) => Err(error.into()),
        };
        if let Ok(mut stream) = opened {
            assert!(stream.accepted().await.is_err());
        }
        assert_eq!(a.pardon(b.key()).await, Ok(true));
        connect(&b, &a).await;
        b.open(a.key(), Protocol::Log).await.expect("welcome again");
    })
    .await;
}

#[tokio::test]
async fn ports_and_addresses_that_cannot_be_had_are_named() {
    within(async {
        let (a, _a) = node(1).await;
        let taken = a.listen_addrs().remove(0);
        let again = Net::start(quiet(2, &[&taken.to_string()])).await;
        assert!(matches!(&again, Err(StartError::AddressInUse { address }) if *address == taken), "{again:?}");

        let (b, _b) = Net::start(quiet(3, &[QUIC])).await.expect("starts");
        let taken = b.listen_addrs().remove(0);
        let again = Net::start(quiet(2, &[&taken.to_string()])).await;
        assert!(matches!(&again, Err(StartError::AddressInUse { address }) if *address == taken), "{again:?}");

        let foreign = Net::start(quiet(2, &["/ip4/192.0.2.1/tcp/4001"])).await;
        assert!(matches!(foreign, Err(StartError::AddressNotAvailable { .. })), "{foreign:?}");
        let nonsense = Net::start(quiet(2, &["/memory/7"])).await;
        assert!(matches!(nonsense, Err(StartError::UnsupportedAddress { .. })), "{nonsense:?}");
    })
    .await;
}

#[tokio::test]
async fn shutdown_answers_everybody() {
    within(async {
        let (a, _a) = node(1).await;
        // A listener that never answers: handshakes begun there stay open.
        let tarpit = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let silent = format!("/ip4/127.0.0.1/tcp/{}", tarpit.local_addr().expect("bound").port());
        let dials: Vec<_> = (0..20)
            .map(|_| {
                let (net, address) = (a.clone(), silent.parse().expect("address"));
                tokio::spawn(async move { net.dial(address).await })
            })
            .collect();
        let unknown = syncra_protocol::key::DeviceSecret::from_seed(&[9; 32]).public();
        a.add_addresses(unknown, vec![silent.parse().expect("address")]).await.expect("runs");
        let opens: Vec<_> = (0..20)
            .map(|_| {
                let net = a.clone();
                tokio::spawn(async move { net.open(unknown, Protocol::Log).await })
            })
            .collect();
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(tarpit.accept().await.expect("somebody dials"));
        }
        a.shutdown().await.expect("in order");
        for dial in dials {
            assert_eq!(dial.await.expect("no panic"), Err(DialError::Stopped));
        }
        for open in opens {
            let outcome = open.await.expect("no panic");
            assert!(matches!(outcome, Err(OpenError::Stopped)), "{outcome:?}");
        }
        assert_eq!(a.peers().await, Err(Stopped));
        assert_eq!(a.dial(silent.parse().expect("address")).await, Err(DialError::Stopped));
        a.shutdown().await.expect("twice is once");
    })
    .await;
}

#[tokio::test]
async fn the_last_handle_ends_the_network() {
    within(async {
        let ((a, a_in), (b, _b)) = (node(1).await, node(2).await);
        connect(&a, &b).await;
        let mut events = b.events();
        drop(a);
        until(&mut events, &NetEvent::Disconnected { peer: a_in_key() }).await;
        drop(a_in);
    })
    .await;
}

fn a_in_key() -> syncra_protocol::key::DeviceKey {
    syncra_protocol::key::DeviceSecret::from_seed(&[1; 32]).public()
}

#[tokio::test]
async fn many_callers_share_one_dial() {
    within(async {
        let ((a, _a), (b, mut inbound)) = (node(1).await, node(2).await);
        let serve = tokio::spawn(async move {
            while let Some(mut taken) = inbound.log.recv().await {
                tokio::spawn(async move {
                    let mut byte = [0];
                    taken.stream.read_exact(&mut byte).await.expect("reads");
                    taken.stream.write_all(&byte).await.expect("writes");
                    taken.stream.close().await.expect("closes");
                });
            }
        });
        a.add_addresses(b.key(), b.listen_addrs()).await.expect("runs");
        let n = limits::OUTBOUND_STREAMS_PER_PEER as u8;
        let callers: Vec<_> = (0..n)
            .map(|i| {
                let (net, peer) = (a.clone(), b.key());
                tokio::spawn(async move {
                    let mut stream = net.open(peer, Protocol::Log).await.expect("opens");
                    stream.write_all(&[i]).await.expect("writes");
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).await.expect("reads");
                    assert_eq!(answer, [i]);
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no panic");
        }
        assert_eq!(a.peers().await.expect("peers")[0].addresses.len(), 1, "one connection for all");
        a.shutdown().await.expect("in order");
        b.shutdown().await.expect("in order");
        drop((a, b));
        serve.await.expect("the queue ends with the network");
    })
    .await;
}
