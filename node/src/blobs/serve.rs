//! Answering a peer's request for blobs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bao_tree::ChunkRanges;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::io::{AsyncRead, AsyncWrite};
use iroh_blobs::api::ExportBaoError;
use iroh_blobs::protocol;
use iroh_blobs::provider::{self, HandleGetError, StreamPair, events::EventSender};
use syncra_protocol::id::BlobId;

use tokio::sync::mpsc;

use super::error::ServeError;
use super::open::blocking;
use super::stream::{self, Wire};
use super::{Blobs, encode, hash, id};

/// Encoded pieces that wait for the peer: bounds memory and lets reading and sending overlap.
const PIECES_IN_FLIGHT: usize = 2;

/// What a peer may fetch below the root that it names; each is more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing: the answer is the same as if the blob were not here.
    None,
    /// The blob itself. Its bytes are never read as hashes: anybody could publish a blob that lists private ones.
    Blob,
    /// The sequence and every blob that it names.
    Sequence,
}

/// When a request is worked on, and for how long.
pub trait Admission: Sync {
    /// How long a peer may take to say what it wants.
    const REQUEST: Duration;
    /// Held while the request is worked on.
    type Turn: Send;
    /// Waits until the request may be worked on.
    fn turn(&self) -> impl Future<Output = Self::Turn> + Send;
    /// Ends when a peer that took so many bytes until now is too slow to keep its turn.
    fn overstayed(&self, sent: impl Fn() -> u64 + Send) -> impl Future<Output = ()> + Send;
}

/// Works on every request at once, however slow its peer.
struct Always;

impl Admission for Always {
    const REQUEST: Duration = Duration::MAX;
    type Turn = ();

    async fn turn(&self) {}

    async fn overstayed(&self, _: impl Fn() -> u64 + Send) {
        std::future::pending().await
    }
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
        self.serve_in_line(stream, idle, access, &Always).await
    }

    /// The same, when and as long as `line` says.
    pub async fn serve_in_line<S>(
        &self,
        stream: S,
        idle: Duration,
        access: impl Fn(&BlobId) -> Access,
        line: &impl Admission,
    ) -> ServeStats
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let started = Instant::now();
        let wire = Arc::new(Wire::default());
        let (receiver, mut sender) = stream::adapt(stream, idle, &wire);
        let mut receiver = receiver;
        let asked = requested(line, &mut receiver).await;
        let (root, outcome) = match asked {
            Err(error) => (None, Err(error)),
            Ok(get) => {
                let root = id(get.hash);
                let granted = match access(&root) {
                    Access::None => false,
                    Access::Blob => get.ranges.is_blob(),
                    Access::Sequence => true,
                };
                if granted {
                    let _turn = line.turn().await;
                    let outcome = tokio::select! {
                        outcome = self.answer(receiver, sender, get) => outcome,
                        () = line.overstayed(|| wire.sent()) => Err(ServeError::Io(std::io::ErrorKind::TimedOut.into())),
                    };
                    (Some(root), outcome)
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
        mut sender: stream::Sender<S>,
        get: protocol::GetRequest,
    ) -> Result<bool, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let root = id(get.hash);
        let Some(sequence) = self.sequence_for(root, &get).await else {
            return self.answer_by_library(receiver, sender, get).await;
        };
        let (pieces, mut encoded) = mpsc::channel(PIECES_IN_FLIGHT);
        let used = encode::Used::default();
        let encode = async {
            // Owned, so that the channel ends with it.
            let pieces = pieces;
            for (offset, ranges) in get.ranges.iter_non_empty_infinite() {
                let child = offset.checked_sub(1).map(|child| usize::try_from(child).unwrap_or(usize::MAX));
                let blob = match child {
                    None => root,
                    Some(child) => match sequence.get(child) {
                        Some(blob) => *blob,
                        None => break,
                    },
                };
                self.encode(blob, ranges.clone(), &pieces, &used).await?;
            }
            Ok::<_, ServeError>(())
        };
        let send = async {
            // Owned: when the peer is gone, what is being encoded for it ends too.
            let mut encoded = std::mem::replace(&mut encoded, mpsc::channel(1).1);
            while let Some(piece) = encoded.recv().await {
                sender.put(&piece).await.map_err(ServeError::Io)?;
                used.give_back(piece);
            }
            Ok::<_, ServeError>(())
        };
        let (encode, send) = futures::join!(encode, send);
        send?;
        encode?;
        sender.close().await.map_err(ServeError::Io)?;
        Ok(true)
    }

    /// What a request for children needs to know; none when the library has to answer, because the root is not held
    /// completely.
    async fn sequence_for(&self, root: BlobId, get: &protocol::GetRequest) -> Option<Vec<BlobId>> {
        if get.ranges.is_blob() {
            return Some(Vec::new());
        }
        self.children(root).await.ok()
    }

    /// Encodes one blob, verified as it is read: from its files when all of it is held, else through the library.
    async fn encode(
        &self,
        blob: BlobId,
        ranges: ChunkRanges,
        to: &mpsc::Sender<Bytes>,
        used: &encode::Used,
    ) -> Result<(), ServeError> {
        match self.size(blob).await.map_err(|_| ServeError::Missing)? {
            Some(size) if size > 0 => {
                let (layout, to, used) = (self.0.layout.clone(), to.clone(), used.clone());
                let encoded = blocking(move || encode::complete(&layout, blob, size, &ranges, to, &used)).await;
                encoded.map_err(|error| {
                    tracing::debug!(blob = %blob, %error, "answer ended early");
                    ServeError::Missing
                })
            }
            _ => {
                let mut items = std::pin::pin!(self.0.store.export_bao(hash(blob), ranges).stream());
                while let Some(item) = items.next().await {
                    let Some(piece) = encode::item(item)? else { continue };
                    to.send(piece).await.map_err(|_| ServeError::Io(std::io::ErrorKind::BrokenPipe.into()))?;
                }
                Ok(())
            }
        }
    }

    async fn answer_by_library<S>(
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

async fn requested<S, L: Admission>(
    _: &L,
    receiver: &mut stream::Receiver<S>,
) -> Result<protocol::GetRequest, ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let late = |_| Err(ServeError::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(L::REQUEST, request(receiver)).await.unwrap_or_else(late)
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
