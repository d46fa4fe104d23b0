//! libp2p's TCP with two mendings. An IPv6 link-local address means nothing without the interface that it is on, and
//! libp2p's transport drops the zone of an address. And a dial from the port that this node listens on, which holes are
//! punched by, fails when somebody else on this machine holds that port towards anywhere: then another port must do.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent};
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
        let Some(socket) = address::zoned_tcp(&address) else {
            let dial = self.0.dial(address.clone(), options)?;
            return Ok(match options.port_use {
                PortUse::Reuse => or_by_new_port(dial, move || by_new_port(address, options)).boxed(),
                PortUse::New => dial.boxed(),
            });
        };
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

/// What a config of this node's TCP looks like.
pub(super) fn config() -> tcp::Config {
    tcp::Config::default().nodelay(true)
}

/// A dial that takes whatever port the system gives it.
async fn by_new_port(address: Multiaddr, options: DialOpts) -> io::Result<tcp::tokio::TcpStream> {
    // One that listens nowhere has no port to dial from.
    let dial = tcp::tokio::Transport::new(config()).dial(address, DialOpts { port_use: PortUse::New, ..options });
    match dial {
        Ok(dial) => dial.await,
        Err(TransportError::Other(error)) => Err(error),
        Err(error @ TransportError::MultiaddrNotSupported(_)) => Err(io::Error::other(error)),
    }
}

/// The dial, and another one if its port is taken.
async fn or_by_new_port<S, F: Future<Output = io::Result<S>>>(
    dial: impl Future<Output = io::Result<S>>,
    again: impl FnOnce() -> F,
) -> io::Result<S> {
    match dial.await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => again().await,
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;

    use super::*;

    #[tokio::test]
    async fn a_dial_whose_port_is_taken_is_made_from_another() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let address: Multiaddr = format!("/ip4/{}/tcp/{}", at.ip(), at.port()).parse().unwrap();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let again = || by_new_port(address.clone(), options);
        let (dialled, accepted) =
            tokio::join!(or_by_new_port(async { Err(io::ErrorKind::AddrInUse.into()) }, again), listener.accept());
        assert_eq!(dialled.unwrap().0.local_addr().unwrap(), accepted.unwrap().1);
        // Any other failure is the answer.
        let failed = or_by_new_port(async { Err(io::ErrorKind::ConnectionRefused.into()) }, again).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
