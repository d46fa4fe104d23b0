//! The yamux multiplexer with frames of our size, wire-compatible with libp2p's own.
//!
//! libp2p's adapter hides the frame size, so this is its counterpart around the same crate. A panic inside yamux ends
//! one connection, not the node (it has happened: CVE-2026-31814, CVE-2026-32314), and what lies unread is bounded for
//! all connections together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{future, io, iter};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Connection, ConnectionError, Mode};

use super::address::Scope;
use super::gather::Gather;
use super::limits;
use super::meter::{Counted, Ledger, Meter, Metered};
use crate::incident::Incidents;

/// The `/yamux/1.0.0` upgrade.
#[derive(Debug, Clone)]
pub(super) struct Yamux {
    incidents: Incidents,
    ledger: Ledger,
    window_bytes: usize,
}

impl Yamux {
    /// Notes what panics.
    pub(super) fn new(incidents: Incidents) -> Self {
        Self::with_ledger(incidents, Ledger::default())
    }

    /// The same with a budget of its own.
    pub(super) fn with_ledger(incidents: Incidents, ledger: Ledger) -> Self {
        Self { incidents, ledger, window_bytes: limits::YAMUX_NEAR_WINDOW_BYTES }
    }

    /// With windows that suit the way to a peer this far away.
    pub(super) fn towards(&self, peer: Scope) -> Self {
        let window_bytes = match peer {
            Scope::Loopback | Scope::Local => limits::YAMUX_NEAR_WINDOW_BYTES,
            Scope::Public => limits::YAMUX_FAR_WINDOW_BYTES,
        };
        Self { window_bytes, ..self.clone() }
    }
}

/// One multiplexed connection.
pub(super) struct Muxer<C> {
    /// `None` after a panic, when nothing is known about its state, and after too many unread bytes.
    connection: Option<Connection<Counted<Gather<C>>>>,
    meter: Arc<Meter>,
    incidents: Incidents,
    /// Streams that came in while the swarm was not asking for one.
    waiting: VecDeque<Metered>,
    asker: Option<Waker>,
}

/// Streams kept for the swarm; yamux itself allows 256 unacknowledged ones.
const MAX_WAITING: usize = 256;

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, mode: Mode, upgrade: Yamux) -> Self {
        let Yamux { incidents, ledger, window_bytes } = upgrade;
        let meter = Arc::new(ledger.open());
        let socket = Counted::new(Gather::new(socket), Arc::clone(&meter));
        let mut config = yamux::Config::default();
        config
            .set_max_num_streams(limits::YAMUX_STREAMS)
            .set_max_connection_receive_window(Some(window_bytes))
            .set_split_send_size(limits::YAMUX_FRAME_BYTES);
        let connection = Some(Connection::new(socket, config, mode));
        Self { connection, meter, incidents, waiting: VecDeque::new(), asker: None }
    }

    /// Polls the connection; a panic in there becomes this connection's error, now and ever after, and so do too many
    /// unread bytes.
    fn guarded<T>(
        &mut self,
        poll: impl FnOnce(&mut Connection<Counted<Gather<C>>>) -> Poll<Result<T, ConnectionError>>,
    ) -> Poll<io::Result<T>> {
        let Some(mut connection) = self.connection.take() else {
            return Poll::Ready(Err(io::Error::other("the multiplexer of this connection has ended")));
        };
        match catch_unwind(AssertUnwindSafe(|| poll(&mut connection))) {
            Ok(_) if self.meter.is_over() => {
                tracing::warn!("a peer sent too much that nobody asked for; its connection is closed");
                Poll::Ready(Err(io::Error::other("too many unread bytes")))
            }
            Ok(polled) => {
                self.connection = Some(connection);
                polled.map_err(into_io)
            }
            Err(panic) => {
                self.incidents.note("multiplexer", panic.as_ref());
                Poll::Ready(Err(io::Error::other("the multiplexer of this connection panicked")))
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Metered>> {
        let meter = Arc::clone(&self.meter);
        self.guarded(|connection| {
            let next = ready!(connection.poll_next_inbound(cx)).unwrap_or(Err(ConnectionError::Closed));
            Poll::Ready(next.map(|stream| Metered::new(stream, &meter)))
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
    type Substream = Metered;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Metered>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let polled = self.poll_next(cx);
        if polled.is_pending() {
            self.asker = Some(cx.waker().clone());
        }
        polled
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Metered>> {
        let meter = Arc::clone(&self.meter);
        self.guarded(|connection| {
            Poll::Ready(ready!(connection.poll_new_outbound(cx)).map(|stream| Metered::new(stream, &meter)))
        })
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
        future::ready(Ok(Muxer::new(socket, Mode::Server, self)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ready(Ok(Muxer::new(socket, Mode::Client, self)))
    }
}
