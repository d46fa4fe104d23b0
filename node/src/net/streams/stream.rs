//! One stream with its verdict, its place and its byte counts.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ready};
use tokio::sync::OwnedSemaphorePermit;

use super::{Shared, StreamError};

/// A stream to or from a peer: `futures` reading and writing, end of stream by `close`.
///
/// The sender keeps it open until the reader's end of stream has come, or a reader that has not taken everything may
/// lose the rest. Dropping it without `close` resets it.
pub struct Stream {
    inner: libp2p::Stream,
    /// Whether the server's verdict is still to be read.
    undecided: bool,
    shared: Arc<Shared>,
    /// The places this stream takes; freed with it.
    _places: Places,
}

/// Permits of the peer and, for inbound streams, of the node.
pub(super) type Places = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// The server has taken the stream.
const ACCEPTED: u8 = 1;
/// The server has no place for the stream and closes it.
const BUSY: u8 = 2;

impl Stream {
    /// A stream that we opened: its verdict is still to come.
    pub(super) fn opened(inner: libp2p::Stream, shared: Arc<Shared>, places: Places) -> Self {
        shared.traffic.add_stream();
        Self { inner, undecided: true, shared, _places: places }
    }

    /// Accepts a peer's stream and tells it.
    pub(super) async fn accept(mut inner: libp2p::Stream, shared: Arc<Shared>, places: Places) -> io::Result<Self> {
        inner.write_all(&[ACCEPTED]).await?;
        inner.flush().await?;
        shared.traffic.add_stream();
        Ok(Self { inner, undecided: false, shared, _places: places })
    }

    /// Refuses a peer's stream and tells it.
    pub(super) async fn refuse(mut inner: libp2p::Stream) -> io::Result<()> {
        inner.write_all(&[BUSY]).await?;
        inner.close().await
    }

    /// Waits until the peer has accepted the stream. Needed only by who wants to know before its first read, which
    /// finds out as well.
    ///
    /// # Errors
    /// [`StreamError::Busy`] and [`StreamError::Closed`].
    pub async fn accepted(&mut self) -> Result<(), StreamError> {
        match self.read(&mut []).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Self::refusal(&error).unwrap_or(StreamError::Closed)),
        }
    }

    /// What an error from reading says about the peer's verdict, if it is about that.
    #[must_use]
    pub fn refusal(error: &io::Error) -> Option<StreamError> {
        error.get_ref()?.downcast_ref().copied()
    }

    fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut verdict = [0];
        let n = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut verdict))?;
        Poll::Ready(match (n, verdict[0]) {
            (1, ACCEPTED) => {
                self.undecided = false;
                Ok(())
            }
            (1, BUSY) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, StreamError::Busy)),
            (0, _) => Err(io::Error::new(io::ErrorKind::ConnectionReset, StreamError::Closed)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the peer sent an unknown verdict")),
        })
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream(with {})", self.shared.key.fmt_short())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.undecided {
            ready!(self.poll_verdict(cx))?;
        }
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.shared.traffic.add_received(n);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.shared.traffic.add_sent(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
