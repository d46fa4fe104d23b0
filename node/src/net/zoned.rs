//! TCP to IPv6 link-local addresses. Such an address means nothing without the interface that it is on, and libp2p's
//! transport drops the zone of an address; everything else is libp2p's transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::{Multiaddr, tcp};

use super::address;

/// libp2p's TCP, and `/ip6zone/<interface number>/ip6/fe80…/tcp/…`.
pub(super) struct Zoned(pub(super) tcp::tokio::Transport);

impl Transport for Zoned {
    type Output = tcp::tokio::TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = <tcp::tokio::Transport as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(socket) = address::zoned_tcp(&address) else { return Ok(self.0.dial(address, options)?.boxed()) };
        let dial = async move {
            let stream = tokio::net::TcpStream::connect(socket).await?;
            stream.set_nodelay(true)?;
            Ok(tcp::tokio::TcpStream(stream))
        };
        Ok(dial.boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
