//! How bytes travel: TCP with TLS (preferred) or Noise and yamux, and QUIC, all behind one scope check.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::{future, io};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, OrTransport, Transport, TransportError, TransportEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version};
use libp2p::{Multiaddr, PeerId, identity, noise, quic, relay, tcp};

use super::address::{Scope, scope};
use super::gate::{Lobby, Refusal};
use super::limits;
use super::read_ahead::ReadAhead;
use super::tls::{Tls, TlsError};
use super::yamux::Yamux;
use super::zoned::{self, Zoned};
use crate::incident::Incidents;

/// Why the transports could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportSetupError {
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No Noise.
    #[error("cannot set up the noise handshake")]
    Noise(#[from] noise::Error),
}

/// How far connections may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Everywhere.
    #[default]
    Everywhere,
    /// Loopback, link-local and private addresses only, in both directions.
    LocalLinks,
}

impl Reach {
    /// Whether a connection to or from `address` is within reach.
    #[must_use]
    pub fn covers(self, address: &Multiaddr) -> bool {
        self == Self::Everywhere || scope(address) < Scope::Public
    }
}

/// All transports of the node; `through`: the one through relays, if there is to be one. `lobby` is where the gate finds what
/// ends a handshake that somebody else has begun.
pub(super) fn build(
    keypair: &identity::Keypair,
    reach: Reach,
    through: Option<relay::client::Transport>,
    lobby: Lobby,
    incidents: &Incidents,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportSetupError> {
    let security = Security { tls: Tls::new(keypair)?, noise: noise::Config::new(keypair)? };
    let yamux = Yamux::new(incidents.clone());
    let relayed = through.map(|through| {
        let yamux = yamux.clone();
        // The relay carries bytes and cannot read them: the same layers as over TCP.
        through
            .upgrade(Version::V1Lazy)
            .authenticate(security.clone())
            .multiplex_ext(move |_, _| yamux.towards(Scope::Local))
            .timeout(limits::HANDSHAKE)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
    });
    let tcp = Zoned(tcp::tokio::Transport::new(zoned::config()))
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex_ext(move |_, endpoint| yamux.towards(scope(endpoint.get_remote_address())))
        .timeout(limits::HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut quic = quic::Config::new(keypair);
    (quic.max_stream_data, quic.max_connection_data) = (limits::QUIC_WINDOW_BYTES, limits::QUIC_WINDOW_BYTES);
    let quic = quic::tokio::Transport::new(quic).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let both = OrTransport::new(quic, tcp).map(|either, _| either.into_inner());
    let inner = match relayed {
        Some(relayed) => OrTransport::new(relayed, both).map(|either, _| either.into_inner()).boxed(),
        None => both.boxed(),
    };
    Ok(Within { inner, reach, lobby }.boxed())
}

/// TLS or Noise, whichever the peer knows; TLS is offered first.
#[derive(Clone)]
struct Security {
    tls: Tls,
    noise: noise::Config,
}

/// A secured TCP stream.
type Secured<C> = futures::future::Either<futures_rustls::TlsStream<ReadAhead<C>>, noise::Output<C>>;

const NOISE: &str = "/noise";

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::iter::Chain<std::iter::Once<Self::Info>, std::iter::Once<Self::Info>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.tls.protocol_info().chain(std::iter::once(NOISE))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        match info {
            NOISE => by_noise(self.noise.upgrade_inbound(socket, NOISE)),
            tls => by_tls(self.tls.upgrade_inbound(socket, tls)),
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        match info {
            NOISE => by_noise(self.noise.upgrade_outbound(socket, NOISE)),
            tls => by_tls(self.tls.upgrade_outbound(socket, tls)),
        }
    }
}

type Upgraded<C> = BoxFuture<'static, io::Result<(PeerId, Secured<C>)>>;

fn by_tls<C: Send + 'static>(
    upgrade: impl Future<Output = io::Result<(PeerId, futures_rustls::TlsStream<ReadAhead<C>>)>> + Send + 'static,
) -> Upgraded<C> {
    upgrade.map_ok(|(peer, stream)| (peer, Secured::Left(stream))).boxed()
}

fn by_noise<C: Send + 'static>(
    upgrade: impl Future<Output = Result<(PeerId, noise::Output<C>), noise::Error>> + Send + 'static,
) -> Upgraded<C> {
    upgrade.map_ok(|(peer, stream)| (peer, Secured::Right(stream))).map_err(io::Error::other).boxed()
}

/// A transport that dials nothing beyond its reach, whoever asked. What comes in from beyond is refused by the gate,
/// which knows the remote address.
struct Within {
    inner: Boxed<(PeerId, StreamMuxerBox)>,
    reach: Reach,
    lobby: Lobby,
}

impl Transport for Within {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        if !self.reach.covers(&address) {
            let why = io::Error::new(io::ErrorKind::PermissionDenied, Refusal::OutOfReach);
            return Ok(future::ready(Err(why)).boxed());
        }
        Ok(self.inner.dial(address, options)?.boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = Pin::new(&mut self.inner).poll(cx);
        event.map(|event| event.map_upgrade(|handshake| self.lobby.hold(handshake)))
    }
}
