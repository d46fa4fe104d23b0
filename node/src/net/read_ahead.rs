//! Reads a socket in large pieces while bytes stream in.
//!
//! The TLS library asks for 4 KiB at a time, which is a system call for each. A connection holds a buffer from a read
//! that is filled to the next that is not: an idle one mostly none, and there may be thousands of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// Bytes read at once while they stream in.
const AHEAD_BYTES: usize = 64 << 10;

/// A socket that is read ahead of whoever asks for little at a time. Writes go through as they are.
#[derive(Debug)]
pub(super) struct ReadAhead<C> {
    inner: C,
    /// While bytes stream in: what was read, and which part of it nobody has taken yet.
    buffer: Option<Box<[u8]>>,
    taken: usize,
    filled: usize,
}

impl<C> ReadAhead<C> {
    pub(super) const fn new(inner: C) -> Self {
        Self { inner, buffer: None, taken: 0, filled: 0 }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for ReadAhead<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.taken == this.filled {
            // Whoever asks for much gets it without a copy on the way.
            if let Some(buffer) = this.buffer.as_mut().filter(|buffer| into.len() < buffer.len()) {
                (this.taken, this.filled) = (0, 0);
                this.filled = ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
                if this.filled <= into.len() {
                    into[..this.filled].copy_from_slice(&buffer[..this.filled]);
                    let n = std::mem::take(&mut this.filled);
                    this.buffer = None;
                    return Poll::Ready(Ok(n));
                }
            } else {
                let n = ready!(Pin::new(&mut this.inner).poll_read(cx, into))?;
                // More is there already, or will be soon.
                if n == into.len() && n > 0 && this.buffer.is_none() {
                    this.buffer = Some(vec![0; AHEAD_BYTES].into_boxed_slice());
                }
                return Poll::Ready(Ok(n));
            }
        }
        let ahead = this.buffer.as_ref().map_or(&[][..], |buffer| &buffer[this.taken..this.filled]);
        let n = ahead.len().min(into.len());
        into[..n].copy_from_slice(&ahead[..n]);
        this.taken += n;
        Poll::Ready(Ok(n))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for ReadAhead<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::{AsyncReadExt as _, io::Cursor};

    use super::*;

    /// A socket that gives what it holds in pieces of these sizes, in turn.
    struct Pieces(Cursor<Vec<u8>>, Vec<usize>, usize);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let size = self.1[self.2 % self.1.len()].min(into.len());
            self.2 += 1;
            Pin::new(&mut self.0).poll_read(cx, &mut into[..size])
        }
    }

    #[test]
    fn every_byte_comes_once_and_in_order_whatever_the_pieces() {
        let sent: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        for pieces in [vec![usize::MAX], vec![1_000_000, 3, 4_096], vec![4_096], vec![4_096, 4_095, 70_000], vec![17]] {
            for ask in [&[4_096][..], &[1, 4_096, 200_000], &[65_536]] {
                let mut reader = ReadAhead::new(Pieces(Cursor::new(sent.clone()), pieces.clone(), 0));
                let (mut got, mut buffer, mut asks) = (Vec::new(), vec![0; 200_000], ask.iter().cycle());
                loop {
                    let n = block_on(reader.read(&mut buffer[..*asks.next().unwrap()])).unwrap();
                    if n == 0 {
                        break;
                    }
                    got.extend_from_slice(&buffer[..n]);
                }
                assert!(got == sent, "pieces of {pieces:?}, asked for {ask:?}");
            }
        }
    }

    #[test]
    fn only_while_bytes_stream_in_there_is_a_buffer() {
        let sent = vec![7; AHEAD_BYTES + 3 * 4_096];
        let mut reader = ReadAhead::new(Pieces(Cursor::new(sent), vec![100, 4_096, usize::MAX, 2_000], 0));
        let mut read = |n_expected: usize| {
            let n = block_on(reader.read(&mut [0; 4_096])).unwrap();
            assert_eq!(n, n_expected);
            reader.buffer.is_some()
        };
        assert!(!read(100), "a small message alone");
        assert!(read(4_096), "as much as was asked for");
        for _ in 0..AHEAD_BYTES / 4_096 {
            assert!(read(4_096));
        }
        assert!(!read(2_000), "it has become quiet");
    }
}
