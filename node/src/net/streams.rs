//! The node's own streams: bounded in every direction, refused aloud, never dropped silently.
//!
//! The first byte a server sends on a stream is its verdict: accepted or busy. It costs no round trip, because whoever
//! opened the stream reads it together with the first answer ([`Stream::accepted`] waits for it alone). Without it a
//! refusal could not be told from an early end.
//!
//! Limits: streams per peer in both directions, inbound streams in all, a queue per protocol. A permit lives inside
//! each [`Stream`], so whatever way a stream ends its place is free again.

mod behaviour;
mod handler;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use syncra_protocol::key::DeviceKey;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub(super) use behaviour::{Behaviour, Opened};
pub use stream::Stream;

use super::error::OpenError;
use super::limits;

/// A protocol spoken over streams. Ids carry a version; a new version is a new variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Verified blobs: one request and its answer.
    Blobs,
    /// Heads, entries, watches and offers of packages.
    Log,
    /// Which segments of a release a peer holds.
    Have,
    /// A device becomes one of an identity's.
    Pair,
    /// Proposals to packages, and reviews of them.
    Propose,
    /// Working directories as they are now.
    Draft,
}

impl Protocol {
    /// Every protocol we speak.
    pub const ALL: [Self; 6] = [Self::Blobs, Self::Log, Self::Have, Self::Pair, Self::Propose, Self::Draft];

    /// The id on the wire.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Blobs => "/syncra/blobs/1",
            Self::Log => "/syncra/log/1",
            Self::Have => "/syncra/have/1",
            Self::Pair => "/syncra/pair/1",
            Self::Propose => "/syncra/propose/1",
            Self::Draft => "/syncra/draft/1",
        }
    }
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        self.id()
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

/// A stream that a peer opened and we accepted.
#[derive(Debug)]
pub struct Inbound {
    /// Who, proven by the connection's handshake.
    pub peer: DeviceKey,
    /// The stream, at its first byte.
    pub stream: Stream,
}

/// The accepted streams of each protocol. A closed or dropped receiver means that the protocol is refused as busy.
#[derive(Debug)]
pub struct Inbounds {
    /// Streams of [`Protocol::Blobs`].
    pub blobs: mpsc::Receiver<Inbound>,
    /// Streams of [`Protocol::Log`].
    pub log: mpsc::Receiver<Inbound>,
    /// Streams of [`Protocol::Have`].
    pub have: mpsc::Receiver<Inbound>,
    /// Streams of [`Protocol::Pair`].
    pub pair: mpsc::Receiver<Inbound>,
    /// Streams of [`Protocol::Propose`].
    pub propose: mpsc::Receiver<Inbound>,
    /// Streams of [`Protocol::Draft`].
    pub draft: mpsc::Receiver<Inbound>,
}

/// The sending ends of [`Inbounds`] and the places for inbound streams in all; outlives restarts of the network task.
#[derive(Debug)]
pub(super) struct Doors {
    blobs: mpsc::Sender<Inbound>,
    log: mpsc::Sender<Inbound>,
    have: mpsc::Sender<Inbound>,
    pair: mpsc::Sender<Inbound>,
    propose: mpsc::Sender<Inbound>,
    draft: mpsc::Sender<Inbound>,
    places: Arc<Semaphore>,
}

impl Doors {
    /// Doors and what comes through them.
    pub(super) fn new(queue: usize) -> (Arc<Self>, Inbounds) {
        let (blobs, blobs_in) = mpsc::channel(queue);
        let (log, log_in) = mpsc::channel(queue);
        let (have, have_in) = mpsc::channel(queue);
        let (pair, pair_in) = mpsc::channel(queue);
        let (propose, propose_in) = mpsc::channel(queue);
        let (draft, draft_in) = mpsc::channel(queue);
        let places = Arc::new(Semaphore::new(limits::INBOUND_STREAMS));
        let inbounds = Inbounds {
            blobs: blobs_in,
            log: log_in,
            have: have_in,
            pair: pair_in,
            propose: propose_in,
            draft: draft_in,
        };
        (Arc::new(Self { blobs, log, have, pair, propose, draft, places }), inbounds)
    }

    fn queue(&self, protocol: Protocol) -> &mpsc::Sender<Inbound> {
        match protocol {
            Protocol::Blobs => &self.blobs,
            Protocol::Log => &self.log,
            Protocol::Have => &self.have,
            Protocol::Pair => &self.pair,
            Protocol::Propose => &self.propose,
            Protocol::Draft => &self.draft,
        }
    }
}

/// What all connections with one peer share.
#[derive(Debug)]
pub(super) struct Shared {
    key: DeviceKey,
    inbound: Arc<Semaphore>,
    outbound: Arc<Semaphore>,
    traffic: Traffic,
    /// Whether the peer has opened a stream: once is worth telling.
    has_opened: AtomicBool,
}

impl Shared {
    fn new(key: DeviceKey) -> Arc<Self> {
        Arc::new(Self {
            key,
            inbound: Arc::new(Semaphore::new(limits::INBOUND_STREAMS_PER_PEER)),
            outbound: Arc::new(Semaphore::new(limits::OUTBOUND_STREAMS_PER_PEER)),
            traffic: Traffic::default(),
            has_opened: AtomicBool::new(false),
        })
    }
}

/// Bytes of streams, without what security and multiplexing add.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    n_streams: AtomicU64,
}

impl Traffic {
    fn add_received(&self, n: usize) {
        self.received.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn add_sent(&self, n: usize) {
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn add_stream(&self) {
        self.n_streams.fetch_add(1, Ordering::Relaxed);
    }

    /// What there was until now.
    pub(super) fn totals(&self) -> Totals {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals { received_bytes: of(&self.received), sent_bytes: of(&self.sent), n_streams: of(&self.n_streams) }
    }
}

/// Traffic with a peer since it connected.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) n_streams: u64,
}

/// Why a stream could not be opened on a connection that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer does not speak this protocol.
    #[error("the peer does not speak {0}")]
    Unsupported(Protocol),
    /// We hold as many streams towards this peer as we allow ourselves.
    #[error("too many streams towards this peer")]
    TooMany,
    /// The peer answered that it has no place for another stream.
    #[error("the peer is busy")]
    Busy,
    /// The peer did not answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection or the stream ended first.
    #[error("the connection ended")]
    Closed,
}

/// Somebody waits for a stream. Dropped unanswered it tells them that the connection ended.
#[derive(Debug)]
pub(super) struct OpenRequest {
    pub(super) protocol: Protocol,
    pub(super) reply: oneshot::Sender<Result<Stream, OpenError>>,
}
