//! A peer without manners: it finishes the handshakes and then sends whatever bytes it likes.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::upgrade::OutboundConnectionUpgrade;
use libp2p::{Multiaddr, noise};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::super::address;

/// A connection below its multiplexer.
pub(super) type Secured = noise::Output<Compat<TcpStream>>;

const MULTISTREAM: &[u8] = b"/multistream/1.0.0\n";

/// One message of multistream-select.
pub(super) fn message(name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(name.len()).expect("short")];
    bytes.extend_from_slice(name);
    bytes
}

/// Asks for a protocol and waits until the other side agrees.
pub(super) async fn agree(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &str) -> io::Result<()> {
    let name = format!("{name}\n").into_bytes();
    let asked = [message(MULTISTREAM), message(&name)].concat();
    stream.write_all(&asked).await?;
    stream.flush().await?;
    let mut answer = vec![0; asked.len()];
    stream.read_exact(&mut answer).await?;
    if answer == asked { Ok(()) } else { Err(io::Error::other("another protocol")) }
}

/// Connects to a node by TCP and Noise and agrees on yamux.
pub(super) async fn connect(to: &Multiaddr, seed: u8) -> io::Result<Secured> {
    let port = super::port(to);
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?.compat();
    agree(&mut socket, "/noise").await?;
    let noise = noise::Config::new(&address::keypair([seed; 32])).map_err(io::Error::other)?;
    let (_, mut secured) = noise.upgrade_outbound(socket, "/noise").await.map_err(io::Error::other)?;
    agree(&mut secured, "/yamux/1.0.0").await?;
    Ok(secured)
}

/// The header of a yamux frame.
pub(super) fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    [&[0, kind][..], &flags.to_be_bytes(), &stream.to_be_bytes(), &length.to_be_bytes()].concat()
}
