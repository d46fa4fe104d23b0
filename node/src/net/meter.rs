//! Bytes that peers have sent over yamux and nobody here has read yet: counted on the wire, by connection and altogether.
//!
//! Flow control bounds them for one stream; a peer may open many, a crowd of peers very many, and none of those streams
//! need ever be accepted. So there is a budget for all connections together. When it is used up, whoever holds more than
//! an equal share loses the connection. Whoever reads what is asked for is far below that.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::{cmp, io};

use futures::{AsyncRead, AsyncWrite, ready};

use super::limits;

/// What all connections hold together. A handle.
#[derive(Debug, Clone)]
pub(super) struct Ledger(Arc<Totals>);

#[derive(Debug)]
struct Totals {
    budget: u64,
    held: AtomicU64,
    n_connections: AtomicUsize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::with_budget(limits::UNREAD_BYTES)
    }
}

impl Ledger {
    pub(super) fn with_budget(budget: u64) -> Self {
        Self(Arc::new(Totals { budget, held: AtomicU64::new(0), n_connections: AtomicUsize::new(0) }))
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// The books of one more connection.
    pub(super) fn open(&self) -> Meter {
        self.0.n_connections.fetch_add(1, Ordering::Relaxed);
        Meter { ledger: self.clone(), books: Mutex::default() }
    }
}

/// The books of one connection, shared by its socket and its streams.
#[derive(Debug)]
pub(super) struct Meter {
    ledger: Ledger,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    n_header: usize,
    /// Bytes of a frame's body still to come.
    n_body: u32,
    /// What opened a stream that yamux has not handed out yet.
    opening: Option<(u32, Held)>,
    streams: HashMap<u32, Held>,
    total: u64,
}

/// What one stream holds.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    bytes: u64,
    frames: u64,
}

/// Bytes of a frame's header: version, type, flags, stream, length.
const HEADER: usize = 12;
const DATA: u8 = 0;
const SYN: u16 = 1;
/// Memory that a frame costs besides its bytes: frames of one byte are a way to make 30 of one.
const FRAME_COST: u64 = 64;

impl Held {
    fn cost(self) -> u64 {
        self.bytes.saturating_add(self.frames.saturating_mul(FRAME_COST))
    }

    fn add(&mut self, bytes: u64) {
        if bytes > 0 {
            (self.bytes, self.frames) = (self.bytes.saturating_add(bytes), self.frames.saturating_add(1));
        }
    }

    /// Where frames begin in what is read is not known: of the frames goes the same share as of the bytes.
    fn take(&mut self, bytes: u64) {
        let left = self.bytes.saturating_sub(bytes);
        let share = u128::from(self.frames) * u128::from(left) / u128::from(self.bytes.max(1));
        (self.bytes, self.frames) = (left, u64::try_from(share).unwrap_or(u64::MAX));
    }
}

impl Books {
    fn arrived(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.n_body > 0 {
                let n = bytes.len().min(usize::try_from(self.n_body).unwrap_or(usize::MAX));
                self.n_body -= u32::try_from(n).unwrap_or(self.n_body);
                bytes = &bytes[n..];
                continue;
            }
            let n = bytes.len().min(HEADER - self.n_header);
            self.header[self.n_header..self.n_header + n].copy_from_slice(&bytes[..n]);
            self.n_header += n;
            bytes = &bytes[n..];
            if self.n_header == HEADER {
                self.n_header = 0;
                self.on_header();
            }
        }
    }

    fn on_header(&mut self) {
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = self.header;
        if kind != DATA {
            return;
        }
        let (flags, stream) = (u16::from_be_bytes([f0, f1]), u32::from_be_bytes([s0, s1, s2, s3]));
        self.n_body = u32::from_be_bytes([l0, l1, l2, l3]);
        let bytes = u64::from(self.n_body);
        if flags & SYN != 0 {
            let mut held = Held::default();
            held.add(bytes);
            self.opening = Some((stream, held));
        } else {
            self.change(stream, |held| held.add(bytes));
        }
    }

    fn change(&mut self, stream: u32, change: impl FnOnce(&mut Held)) {
        let Some(held) = self.streams.get_mut(&stream) else { return };
        let before = held.cost();
        change(held);
        self.total = self.total.saturating_sub(before).saturating_add(held.cost());
    }

    fn open(&mut self, stream: u32) {
        let opened = self.opening.take().filter(|(opened, _)| *opened == stream);
        let held = opened.map_or_else(Held::default, |(_, held)| held);
        self.total = self.total.saturating_add(held.cost());
        self.streams.insert(stream, held);
    }

    fn close(&mut self, stream: u32) {
        let held = self.streams.remove(&stream).unwrap_or_default();
        self.total = self.total.saturating_sub(held.cost());
    }
}

impl Meter {
    fn keep(&self, change: impl FnOnce(&mut Books)) {
        let mut books: MutexGuard<'_, Books> = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let before = books.total;
        change(&mut books);
        let total = books.total;
        let held = &self.ledger.0.held;
        match total.cmp(&before) {
            cmp::Ordering::Greater => drop(held.fetch_add(total - before, Ordering::Relaxed)),
            cmp::Ordering::Less => drop(held.fetch_sub(before - total, Ordering::Relaxed)),
            cmp::Ordering::Equal => {}
        }
    }

    /// Whether the budget is used up and this connection holds more than an equal share of it.
    pub(super) fn is_over(&self) -> bool {
        let Totals { budget, held, n_connections } = &*self.ledger.0;
        if held.load(Ordering::Relaxed) <= *budget {
            return false;
        }
        let share = budget / (n_connections.load(Ordering::Relaxed).max(1) as u64);
        self.books.lock().unwrap_or_else(PoisonError::into_inner).total > share
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.keep(|books| books.total = 0);
        self.ledger.0.n_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The socket below a multiplexer: what is read from it is counted.
pub(super) struct Counted<C> {
    socket: C,
    meter: Arc<Meter>,
}

impl<C> Counted<C> {
    pub(super) fn new(socket: C, meter: Arc<Meter>) -> Self {
        Self { socket, meter }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Counted<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.meter.keep(|books| books.arrived(&buffer[..n]));
        Poll::Ready(Ok(n))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Counted<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// A stream of a multiplexer: what is read from it is no longer held, nor is anything once it is dropped.
#[derive(Debug)]
pub(super) struct Metered {
    stream: yamux::Stream,
    id: u32,
    meter: Arc<Meter>,
}

impl Metered {
    pub(super) fn new(stream: yamux::Stream, meter: &Arc<Meter>) -> Self {
        let id = stream.id().val();
        meter.keep(|books| books.open(id));
        Self { stream, id, meter: Arc::clone(meter) }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.keep(|books| books.close(self.id));
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let id = self.id;
        self.meter.keep(|books| books.change(id, |held| held.take(n as u64)));
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
