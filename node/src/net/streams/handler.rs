//! The streams of one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use tokio::sync::OwnedSemaphorePermit;

use super::stream::{Places, Stream};
use super::{Doors, Inbound, OpenRequest, Protocol, Shared, StreamError};
use crate::net::limits;

/// Accepts and opens streams on one connection.
pub(in crate::net) struct Handler {
    accept: Accept,
    asked: VecDeque<Asked>,
    has_news: bool,
}

/// A request and the place its stream will take.
#[derive(Debug)]
pub(in crate::net) struct Asked {
    pub(super) request: OpenRequest,
    pub(super) place: OwnedSemaphorePermit,
}

impl Handler {
    pub(super) fn new(doors: Arc<Doors>, shared: Arc<Shared>) -> Self {
        Self { accept: Accept { doors, shared }, asked: VecDeque::new(), has_news: false }
    }
}

impl Asked {
    fn answer(self, outcome: Result<libp2p::Stream, StreamError>, shared: &Arc<Shared>) {
        let outcome =
            outcome.map(|inner| Stream::opened(inner, shared.clone(), (self.place, None))).map_err(Into::into);
        // Who no longer waits gets nothing; the stream is reset by its drop.
        drop(self.request.reply.send(outcome));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Asked;
    /// The peer has opened its first stream.
    type ToBehaviour = ();
    type InboundProtocol = Accept;
    type OutboundProtocol = Request;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Asked;

    fn listen_protocol(&self) -> SubstreamProtocol<Accept, ()> {
        SubstreamProtocol::new(self.accept.clone(), ()).with_timeout(limits::OPEN_STREAM)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Request, Asked, ()>> {
        // The connection polls again after every event, so no waker is kept.
        if std::mem::take(&mut self.has_news) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(()));
        }
        while let Some(asked) = self.asked.pop_front() {
            if !asked.request.reply.is_closed() {
                let request = Request(asked.request.protocol);
                let protocol = SubstreamProtocol::new(request, asked).with_timeout(limits::OPEN_STREAM);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, asked: Asked) {
        self.asked.push_back(asked); // bounded by the places of this peer
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Accept, Request, (), Asked>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                info.answer(Ok(protocol), &self.accept.shared);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => StreamError::Timeout,
                    StreamUpgradeError::NegotiationFailed => StreamError::Unsupported(info.request.protocol),
                    StreamUpgradeError::Io(_) => StreamError::Closed,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                info.answer(Err(error), &self.accept.shared);
            }
            // The stream itself was handed over inside its upgrade.
            ConnectionEvent::FullyNegotiatedInbound(_) => {
                self.has_news = !self.accept.shared.has_opened.swap(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Takes a negotiated inbound stream to its queue, or refuses it.
#[derive(Clone)]
pub(in crate::net) struct Accept {
    doors: Arc<Doors>,
    shared: Arc<Shared>,
}

impl Accept {
    fn places(&self) -> Option<Places> {
        let of_peer = self.shared.inbound.clone().try_acquire_owned().ok()?;
        let of_node = self.doors.places.clone().try_acquire_owned().ok();
        let n_held = limits::INBOUND_STREAMS_PER_PEER - self.shared.inbound.available_permits();
        (of_node.is_some() || n_held <= limits::ASSURED_STREAMS).then_some((of_peer, of_node))
    }

    async fn hand_over(self, inner: libp2p::Stream, protocol: Protocol) -> io::Result<()> {
        let queue = self.doors.queue(protocol);
        let (Some(places), Ok(slot)) = (self.places(), queue.try_reserve()) else {
            tracing::debug!(peer = self.shared.key.fmt_short(), %protocol, "busy: stream refused");
            return Stream::refuse(inner).await;
        };
        let stream = Stream::accept(inner, self.shared.clone(), places).await?;
        slot.send(Inbound { peer: self.shared.key, stream });
        Ok(())
    }
}

impl UpgradeInfo for Accept {
    type Info = Protocol;
    type InfoIter = std::array::IntoIter<Protocol, 6>;

    fn protocol_info(&self) -> Self::InfoIter {
        Protocol::ALL.into_iter()
    }
}

impl InboundUpgrade<libp2p::Stream> for Accept {
    type Output = ();
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<()>>;

    fn upgrade_inbound(self, inner: libp2p::Stream, protocol: Protocol) -> Self::Future {
        self.hand_over(inner, protocol).boxed()
    }
}

/// Negotiates exactly one protocol.
pub(in crate::net) struct Request(Protocol);

impl UpgradeInfo for Request {
    type Info = Protocol;
    type InfoIter = std::iter::Once<Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0)
    }
}

impl OutboundUpgrade<libp2p::Stream> for Request {
    type Output = libp2p::Stream;
    type Error = Infallible;
    type Future = Ready<Result<libp2p::Stream, Infallible>>;

    fn upgrade_outbound(self, inner: libp2p::Stream, _: Protocol) -> Self::Future {
        ready(Ok(inner))
    }
}
