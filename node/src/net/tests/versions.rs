//! Peers of other versions: a fake newer one and a fake older one, which speak the names that they would.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::iter::Copied;
use std::slice;
use std::task::{Context, Poll};

use futures::StreamExt;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::derive_prelude::FromSwarm;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, OneShotHandler, OneShotHandlerConfig,
    StreamUpgradeError, SubstreamProtocol, SwarmEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp};
use tokio::sync::mpsc;

use super::super::{OpenError, Protocol, StreamError, address, limits};
use super::{TCP, node, within};

/// The names that a peer speaks, the one it likes best first.
type Names = &'static [&'static str];

#[derive(Debug, Clone, Copy)]
struct Speaks(Names);

impl UpgradeInfo for Speaks {
    type Info = &'static str;
    type InfoIter = Copied<slice::Iter<'static, &'static str>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().copied()
    }
}

/// A stream that both agreed on, and its name. It is open as long as this lives.
#[derive(Debug)]
struct Agreed {
    name: &'static str,
    _stream: libp2p::Stream,
}

impl InboundUpgrade<libp2p::Stream> for Speaks {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_inbound(self, stream: libp2p::Stream, name: &'static str) -> Self::Future {
        ready(Ok(Agreed { name, _stream: stream }))
    }
}

impl OutboundUpgrade<libp2p::Stream> for Speaks {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_outbound(self, stream: libp2p::Stream, name: &'static str) -> Self::Future {
        ready(Ok(Agreed { name, _stream: stream }))
    }
}

type Handler = OneShotHandler<Speaks, Speaks, Agreed>;
type Outcome = Result<Agreed, StreamUpgradeError<Infallible>>;

/// Accepts streams by its names, and asks for one by them on every connection.
struct Stranger {
    names: Names,
    events: VecDeque<ToSwarm<Outcome, Speaks>>,
}

impl Stranger {
    fn handler(&self) -> Handler {
        OneShotHandler::new(SubstreamProtocol::new(Speaks(self.names), ()), OneShotHandlerConfig::default())
    }
}

impl NetworkBehaviour for Stranger {
    type ConnectionHandler = Handler;
    type ToSwarm = Outcome;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(established) = event {
            self.events.push_back(ToSwarm::NotifyHandler {
                peer_id: established.peer_id,
                handler: NotifyHandler::One(established.connection_id),
                event: Speaks(self.names),
            });
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Outcome, Speaks>> {
        // The swarm polls again after every event of a handler, so no waker is kept.
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Starts a peer of another version; where it listens, and what becomes of its streams.
async fn stranger(names: Names) -> (Multiaddr, mpsc::UnboundedReceiver<Outcome>) {
    let mut swarm: Swarm<Stranger> = SwarmBuilder::with_existing_identity(address::keypair([9; 32]))
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, libp2p::yamux::Config::default)
        .expect("tcp")
        .with_behaviour(|_| Stranger { names, events: VecDeque::new() })
        .expect("behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(limits::IDLE_CONNECTION))
        .build();
    swarm.listen_on(TCP.parse().expect("address")).expect("listens");
    let at = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let (outcomes, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(outcome) = swarm.select_next_some().await
                && outcomes.send(outcome).is_err()
            {
                return;
            }
        }
    });
    (at, told)
}

const NEWER: Names = &["/syncra/log/2", "/syncra/log/1", "/syncra/blobs/3", "/syncra/blobs/2"];
const NEWER_ONLY: Names = &["/syncra/log/3", "/syncra/log/2", "/syncra/blobs/1"];
const OLDER_ONLY: Names = &["/syncra/log/0", "/syncra/blobs/1"];

#[tokio::test]
async fn a_newer_peer_and_we_agree_on_the_version_that_both_speak() {
    within(async {
        let (net, mut inbounds) = node(1).await;
        let (at, mut told) = stranger(NEWER).await;
        let them = net.dial(at).await.expect("a connection needs no common stream");
        // They ask: the newest that we speak.
        assert_eq!(told.recv().await.expect("asked").expect("agreed").name, "/syncra/log/1");
        assert_eq!(inbounds.log.recv().await.expect("it arrives").peer, them);
        // We ask: the same.
        let _stream = net.open(them, Protocol::Log).await.expect("agreed");
        assert_eq!(told.recv().await.expect("asked").expect("agreed").name, "/syncra/log/1");
        // What they have left behind is told apart from a peer that is gone.
        let refused = net.open(them, Protocol::Blobs).await.expect_err("they speak newer ones only");
        assert_eq!(refused, OpenError::Stream(StreamError::Unsupported(Protocol::Blobs)));
        assert_eq!(net.peers().await.expect("it runs").len(), 1);
        net.shutdown().await.expect("in order");
    })
    .await;
}

#[tokio::test]
async fn with_peers_that_are_too_new_or_too_old_what_is_common_still_works() {
    for names in [NEWER_ONLY, OLDER_ONLY] {
        within(async {
            let (net, mut inbounds) = node(1).await;
            let (at, mut told) = stranger(names).await;
            let them = net.dial(at).await.expect("a connection needs no common stream");
            // Of all that they speak this is what we know; a name that we do not know harms nobody.
            assert_eq!(told.recv().await.expect("asked").expect("agreed").name, "/syncra/blobs/1");
            assert_eq!(inbounds.blobs.recv().await.expect("it arrives").peer, them);
            let refused = net.open(them, Protocol::Log).await.expect_err("another version");
            assert_eq!(refused, OpenError::Stream(StreamError::Unsupported(Protocol::Log)));
            let _stream = net.open(them, Protocol::Blobs).await.expect("the connection goes on");
            assert_eq!(told.recv().await.expect("asked").expect("agreed").name, "/syncra/blobs/1");
            net.shutdown().await.expect("in order");
        })
        .await;
    }
}

#[tokio::test]
async fn a_peer_without_a_common_version_is_refused_and_stays_connected() {
    within(async {
        let (net, _inbounds) = node(1).await;
        let (at, mut told) = stranger(&["/syncra/log/7"]).await;
        let them = net.dial(at).await.expect("a connection needs no common stream");
        let refused = told.recv().await.expect("asked").expect_err("nothing in common");
        assert!(matches!(refused, StreamUpgradeError::NegotiationFailed), "{refused:?}");
        for protocol in Protocol::ALL {
            let refused = net.open(them, protocol).await.expect_err("nothing in common");
            assert_eq!(refused, OpenError::Stream(StreamError::Unsupported(protocol)));
        }
        assert_eq!(net.peers().await.expect("it runs").len(), 1);
        net.shutdown().await.expect("in order");
    })
    .await;
}
