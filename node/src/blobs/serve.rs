//! Answering a peer's request for blobs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::io::{AsyncRead, AsyncWrite};
use iroh_blobs::api::ExportBaoError;
use iroh_blobs::protocol;
use iroh_blobs::provider::{self, HandleGetError, StreamPair, events::EventSender};
use syncra_protocol::id::BlobId;

use super::error::ServeError;
use super::stream::{self, Wire};
use super::{Blobs, id};

/// What a peer may fetch below the root that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: the answer is the same as if the blob were not here.
    None,
    /// The blob itself. Its bytes are never read as hashes: anybody could publish a blob that lists private ones.
    Blob,
    /// The sequence and every blob that it names.
    Sequence,
}

/// How a request ended.
#[derive(Debug)]
pub struct ServeStats {
    /// The root that was asked for, when the request could be read.
    pub root: Option<BlobId>,
    /// Bytes written to the stream.
    pub sent: u64,
    /// From the first byte of the request to the end of the answer.
    pub took: Duration,
    /// Whether the answer was complete; `Ok(false)` when the root is not served.
    pub outcome: Result<bool, ServeError>,
}

impl Blobs {
    /// Answers the one request on `stream`: `Get` of a root that `access` grants, and nothing else. What the peer
    /// sees of a refusal is an empty answer. Gives up after `idle` without progress in either direction.
    pub async fn serve<S>(&self, stream: S, idle: Duration, access: impl Fn(&BlobId) -> Access) -> ServeStats
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let started = Instant::now();
        let wire = Arc::new(Wire::default());
        let (receiver, mut sender) = stream::adapt(stream, idle, &wire);
        let mut receiver = receiver;
        let (root, outcome) = match request(&mut receiver).await {
            Err(error) => (None, Err(error)),
            Ok(get) => {
                let root = id(get.hash);
                let granted = match access(&root) {
                    Access::None => false,
                    Access::Blob => get.ranges.is_blob(),
                    Access::Sequence => true,
                };
                if granted {
                    (Some(root), self.answer(receiver, sender, get).await)
                } else {
                    // Closed in order and empty: the protocol's "not found".
                    let closed = sender.close().await.map(|()| false).map_err(ServeError::Io);
                    (Some(root), closed)
                }
            }
        };
        ServeStats { root, sent: wire.sent(), took: started.elapsed(), outcome }
    }

    async fn answer<S>(
        &self,
        receiver: stream::Receiver<S>,
        sender: stream::Sender<S>,
        get: protocol::GetRequest,
    ) -> Result<bool, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pair = StreamPair::new(0, receiver, sender, EventSender::DEFAULT);
        let answered = provider::handle_get(pair, (*self.0.store).clone(), get).await;
        answered.map(|()| true).map_err(|error| {
            tracing::debug!(error = %format!("{error:#}"), "answer ended early");
            match error.downcast_ref::<HandleGetError>() {
                Some(HandleGetError::ExportBao { source: ExportBaoError::ExportBaoIo { source, .. }, .. }) => {
                    ServeError::Io(source.kind().into())
                }
                _ => ServeError::Missing,
            }
        })
    }
}

/// Reads a request to its end; only `Get` counts.
async fn request<S>(receiver: &mut stream::Receiver<S>) -> Result<protocol::GetRequest, ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match protocol::Request::read_async(receiver).await {
        Ok((protocol::Request::Get(get), _)) => Ok(get),
        _ => Err(ServeError::Request),
    }
}
