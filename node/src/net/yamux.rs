//! The yamux multiplexer with frames of our size, wire-compatible with libp2p's own.
//!
//! libp2p's adapter hides the frame size, so this is its counterpart around the same crate. A panic inside yamux ends
//! one connection, not the node (it has happened: CVE-2026-31814, CVE-2026-32314).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::{future, io, iter};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Connection, ConnectionError, Mode, Stream};

use super::address::Scope;
use super::limits;

/// The `/yamux/1.0.0` upgrade.
#[derive(Debug, Clone)]
pub(super) struct Yamux {
    window_bytes: usize,
}

impl Yamux {
    /// With windows that suit the way to a peer this far away.
    pub(super) fn towards(peer: Scope) -> Self {
        let window_bytes = match peer {
            Scope::Loopback | Scope::Local => limits::YAMUX_NEAR_WINDOW_BYTES,
            Scope::Public => limits::YAMUX_FAR_WINDOW_BYTES,
        };
        Self { window_bytes }
    }
}

/// One multiplexed connection.
pub(super) struct Muxer<C> {
    /// `None` after a panic: nothing is known about its state then.
    connection: Option<Connection<C>>,
    /// Streams that came in while the swarm was not asking for one.
    waiting: VecDeque<Stream>,
    asker: Option<Waker>,
}

/// Streams kept for the swarm; yamux itself allows 256 unacknowledged ones.
const MAX_WAITING: usize = 256;

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, mode: Mode, window_bytes: usize) -> Self {
        let mut config = yamux::Config::default();
        config
            .set_max_num_streams(limits::YAMUX_STREAMS)
            .set_max_connection_receive_window(Some(window_bytes))
            .set_split_send_size(limits::YAMUX_FRAME_BYTES);
        Self { connection: Some(Connection::new(socket, config, mode)), waiting: VecDeque::new(), asker: None }
    }

    /// Polls the connection; a panic in there becomes this connection's error, now and ever after.
    fn guarded<T>(
        &mut self,
        poll: impl FnOnce(&mut Connection<C>) -> Poll<Result<T, ConnectionError>>,
    ) -> Poll<io::Result<T>> {
        let Some(mut connection) = self.connection.take() else {
            return Poll::Ready(Err(io::Error::other("the multiplexer of this connection panicked")));
        };
        match catch_unwind(AssertUnwindSafe(|| poll(&mut connection))) {
            Ok(polled) => {
                self.connection = Some(connection);
                polled.map_err(into_io)
            }
            Err(_) => {
                tracing::error!("the multiplexer panicked on what a peer sent; its connection is closed");
                Poll::Ready(Err(io::Error::other("the multiplexer of this connection panicked")))
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.guarded(|connection| {
            connection.poll_next_inbound(cx).map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
        })
    }
}

fn into_io(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let polled = self.poll_next(cx);
        if polled.is_pending() {
            self.asker = Some(cx.waker().clone());
        }
        polled
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.guarded(|connection| connection.poll_new_outbound(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guarded(|connection| connection.poll_close(cx))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.poll_next(cx))?;
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(stream);
        } else {
            drop(stream); // resets it: the peer ignores the protocol's backlog
        }
        if let Some(asker) = self.asker.take() {
            asker.wake();
        }
        // yamux makes progress only while it is polled: come back, but let others run in between.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ready(Ok(Muxer::new(socket, Mode::Server, self.window_bytes)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ready(Ok(Muxer::new(socket, Mode::Client, self.window_bytes)))
    }
}
