//! HTTP/1 connections: accepted up to a bound, each with its time limits, ended in order when the node stops.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send its request's head: stops slow openers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head and of a connection's read buffer.
const HEAD_BYTES: usize = 64 << 10;
/// How long answers that are under way may take to end when their time is over or the node stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait when the system cannot accept, for example when it is out of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one listener bears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections at a time; more wait in the system's queue.
    pub(super) connections: usize,
    /// How long a connection may last, however much it is used; none: as long as it likes.
    pub(super) life: Option<Duration>,
}

/// Open listeners and their connections. Dropping them without [`Listeners::close`] cuts all.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    accepting: Vec<JoinHandle<()>>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Listeners {
    /// Accepts connections until the listeners close. What `accept` gives besides the stream is kept as long as it lasts.
    pub(super) fn listen<L, S, P, F>(
        &mut self,
        bounds: Bounds,
        router: Router,
        listener: L,
        accept: impl Fn(Arc<L>) -> F + Send + 'static,
    ) where
        L: Send + Sync + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        P: Send + 'static,
        F: Future<Output = std::io::Result<(S, P)>> + Send,
    {
        let (stop, connections) = (self.stop.clone(), self.connections.clone());
        let (listener, free) = (Arc::new(listener), Arc::new(Semaphore::new(bounds.connections)));
        self.accepting.push(tokio::spawn(async move {
            loop {
                let permit = free.clone().acquire_owned().await.expect("the semaphore is never closed");
                let accepted = tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    accepted = accept(listener.clone()) => accepted,
                };
                match accepted {
                    Ok((stream, place)) => {
                        let connection = serve(router.clone(), stream, stop.clone(), bounds.life);
                        connections.spawn(async move {
                            connection.await;
                            drop((permit, place));
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "no connection accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }));
    }

    /// Lets answers that are under way end, for a few seconds, then cuts the rest.
    pub(super) async fn close(self) {
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!("connections did not end in time and were cut");
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.stop.cancel();
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

/// One connection, until it ends, has lasted its time, or the listeners close.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    router: Router,
    stream: S,
    stop: CancellationToken,
    life: Option<Duration>,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let time_is_over = async {
        match life {
            Some(life) => tokio::time::sleep(life).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = time_is_over => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
