//! Carries the blob library's protocol over any pair of `futures` byte streams.
//!
//! What the library needs and a libp2p stream does not give by itself:
//! * an explicit half close: the library ends its side with `sync()`, so `sync` flushes *and* closes;
//! * buffers: the library writes 64-byte parents and 16 KiB leaves one by one;
//! * a time limit on silence: a read or write that makes no progress within `idle` fails with `TimedOut`;
//! * a short read as an error: a reset of yamux looks like a plain end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf,
};
use iroh::endpoint::VarInt;
use iroh_blobs::util::{RecvStream, SendStream};

/// Bytes buffered before they are written to a stream.
pub(super) const BUFFER_BYTES: usize = 128 << 10;
/// Bytes read from a stream ahead of what is asked for: whole groups are read without a copy then, and a kill loses less.
const READ_AHEAD_BYTES: usize = 16 << 10;
/// First allocation for data of unknown length (a request): most are smaller.
const FIRST_READ_BYTES: usize = 4 << 10;

/// Bytes that went over one stream, both directions, updated while it runs.
#[derive(Debug, Default)]
pub struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Wire {
    /// Bytes read from the stream.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes handed to the stream.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Splits `stream` for the library; both halves count into `wire` and give up after `idle` without progress.
pub(super) fn adapt<S>(stream: S, idle: Duration, wire: &Arc<Wire>) -> (Receiver<S>, Sender<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (reader, writer) = stream.split();
    let receiver =
        Receiver { half: Some(BufReader::with_capacity(READ_AHEAD_BYTES, reader)), idle, wire: wire.clone() };
    let sender = Sender { half: Some(writer), buffer: BytesMut::with_capacity(BUFFER_BYTES), idle, wire: wire.clone() };
    (receiver, sender)
}

/// The reading half.
pub(super) struct Receiver<S> {
    half: Option<BufReader<ReadHalf<S>>>,
    idle: Duration,
    wire: Arc<Wire>,
}

/// The writing half.
pub(super) struct Sender<S> {
    half: Option<WriteHalf<S>>,
    buffer: BytesMut,
    idle: Duration,
    wire: Arc<Wire>,
}

/// `work`, or `TimedOut` when it takes longer than `idle`.
async fn within<T>(idle: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(idle, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Receiver<S> {
    fn half(&mut self) -> io::Result<&mut BufReader<ReadHalf<S>>> {
        self.half.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> RecvStream for Receiver<S> {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        let idle = self.idle;
        let half = self.half()?;
        // A peer's request is read through here with the largest length allowed: grow with what really comes.
        let mut bytes = BytesMut::zeroed(len.min(FIRST_READ_BYTES));
        let mut filled = 0;
        while filled < len {
            if filled == bytes.len() {
                bytes.resize(len.min(filled * 2), 0);
            }
            let read = within(idle, half.read(&mut bytes[filled..])).await?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        bytes.truncate(filled);
        self.wire.received.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(bytes.freeze())
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
        let idle = self.idle;
        let half = self.half()?;
        // Copied from the reader's buffer: reading into a slice would have to fill it with zeros first.
        let mut bytes = BytesMut::with_capacity(len);
        let read = async {
            while bytes.len() < len {
                let ready = half.fill_buf().await?;
                if ready.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let n = ready.len().min(len - bytes.len());
                bytes.extend_from_slice(&ready[..n]);
                half.consume_unpin(n);
            }
            Ok(())
        };
        // One limit for the whole item, as below.
        within(idle, read).await?;
        self.wire.received.fetch_add(len as u64, Ordering::Relaxed);
        Ok(bytes.freeze())
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        let idle = self.idle;
        // One limit for the whole item: a peer that drips single bytes makes no verified progress either.
        within(idle, self.half()?.read_exact(target)).await?;
        self.wire.received.fetch_add(target.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn stop(&mut self, _code: VarInt) -> io::Result<()> {
        self.half = None;
        Ok(())
    }

    fn id(&self) -> u64 {
        0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Sender<S> {
    pub(super) async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain().await?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.write(bytes).await;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    async fn drain(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer).await;
        self.buffer = buffer;
        self.buffer.clear();
        written
    }

    async fn write(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let half = self.half.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while !rest.is_empty() {
            let written = within(self.idle, half.write(rest)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.wire.sent.fetch_add(written as u64, Ordering::Relaxed);
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Ends the writing side in order, with what was buffered.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.drain().await?;
        if let Some(mut half) = self.half.take() {
            within(self.idle, half.close()).await?;
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> SendStream for Sender<S> {
    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.put(&bytes).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.close().await
    }

    fn reset(&mut self, _code: VarInt) -> io::Result<()> {
        // Dropping an unclosed stream is how libp2p resets it.
        self.half = None;
        Ok(())
    }

    async fn stopped(&mut self) -> io::Result<Option<VarInt>> {
        std::future::pending().await
    }

    fn id(&self) -> u64 {
        0
    }
}
