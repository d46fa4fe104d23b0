//! Sends the header of a frame together with its body.
//!
//! The multiplexer writes one after the other. Encrypted each by itself, the twelve bytes of a header are a TLS record, a
//! system call and a packet of their own, which wake the other side before there is anything to read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// What is held until more is written or all is flushed: a few headers.
const HELD_BYTES: usize = 64;

/// A socket that sends what is short together with what comes after it. Whoever writes has to flush, as the multiplexer does
/// before it waits.
#[derive(Debug)]
pub(super) struct Gather<C> {
    inner: C,
    held: [u8; HELD_BYTES],
    /// Which part of it was not sent yet.
    sent: usize,
    filled: usize,
}

impl<C> Gather<C> {
    pub(super) const fn new(inner: C) -> Self {
        Self { inner, held: [0; HELD_BYTES], sent: 0, filled: 0 }
    }
}

impl<C: AsyncWrite + Unpin> Gather<C> {
    /// Sends what is held and then of `bytes` what goes with it; how many of those went.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.sent < self.filled {
            let held = &self.held[self.sent..self.filled];
            let both = [IoSlice::new(held), IoSlice::new(bytes)];
            let n = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &both))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let beyond = n.saturating_sub(held.len());
            self.sent += n - beyond;
            if beyond > 0 {
                return Poll::Ready(Ok(beyond));
            }
        }
        (self.sent, self.filled) = (0, 0);
        if bytes.is_empty() { Poll::Ready(Ok(0)) } else { Pin::new(&mut self.inner).poll_write(cx, bytes) }
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gather<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.held.get_mut(this.filled..this.filled + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                this.filled += bytes.len();
                Poll::Ready(Ok(bytes.len()))
            }
            None => this.poll_send(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx, &[]))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx, &[]))?;
        Pin::new(&mut this.inner).poll_close(cx)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gather<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncWriteExt as _;
    use futures::executor::block_on;

    use super::*;

    /// Takes at most so many bytes at once, every other time nothing at all, and remembers what each call brought.
    struct Socket(usize, bool, Vec<Vec<u8>>);

    impl Socket {
        fn take(&mut self, cx: &Context<'_>, bytes: Vec<u8>) -> Poll<io::Result<usize>> {
            self.1 = !self.1;
            if self.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let n = bytes.len().min(self.0);
            self.2.push(bytes[..n].to_vec());
            Poll::Ready(Ok(n))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.take(cx, bytes.to_vec())
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.take(cx, bytes.iter().flat_map(|slice| slice.iter().copied()).collect())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_header_goes_with_its_body_and_alone_when_nothing_follows() {
        let mut socket = Gather::new(Socket(usize::MAX, false, Vec::new()));
        block_on(async {
            socket.write_all(&[1; 12]).await.unwrap();
            socket.write_all(&[2; 1_000]).await.unwrap();
            assert_eq!(socket.inner.2, [[&[1; 12][..], &[2; 1_000]].concat()]);
            socket.write_all(&[3; 12]).await.unwrap();
            assert_eq!(socket.inner.2.len(), 1, "held");
            socket.flush().await.unwrap();
            socket.write_all(&[4; 12]).await.unwrap();
            socket.close().await.unwrap();
        });
        assert_eq!(socket.inner.2[1..], [vec![3; 12], vec![4; 12]]);
    }

    #[test]
    fn every_byte_goes_once_and_in_order_whatever_the_socket_takes() {
        for takes in [1, 5, 13, 64, 65, 900, usize::MAX] {
            let mut socket = Gather::new(Socket(takes, false, Vec::new()));
            let mut expected = Vec::new();
            block_on(async {
                for (n, size) in [12, 1_000, 12, 12, 12, 12, 12, 12, 64, 65, 0, 63, 1, 1, 2_000, 12].iter().enumerate()
                {
                    let bytes: Vec<u8> = (0..*size).map(|at| (at * 7 + n) as u8).collect();
                    socket.write_all(&bytes).await.unwrap();
                    expected.extend(bytes);
                }
                socket.flush().await.unwrap();
            });
            assert!(socket.inner.2.concat() == expected, "{takes} at once");
        }
    }
}
