//! Fetching the content of a release from whoever has it, reusing what older releases left here.
//!
//! First what describes it: the sequence and the nodes, small, from one peer after the other. Then a plan: which segments
//! are made from what is held, which ranges are missing. Then the bytes, from all peers that have them, as the
//! [`Fetcher`](syncra_protocol::sync::fetch::Fetcher) decides.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use syncra_protocol::entry::Release;
use syncra_protocol::id::{BlobId, ContentRoot};
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::fetch::{Haves, Reach};
use syncra_protocol::sync::score::Deed;
use syncra_protocol::tree::Declared;

use crate::blobs::{self, BlobError, Blobs, Pins};
use crate::flow::Parts;
use crate::flow::redact::{self, Refused};
use crate::flow::release::{self, ReleaseError};
use crate::net::limits::RELAYED_FETCH_BYTES;
use crate::net::{Net, OpenError};
use crate::progress::Progress;

mod batches;
mod landing;
mod plan;
mod providers;
mod structure;

pub use landing::{Landed, Landing, landing};
use providers::Providers;

/// How long a fetch usually waits without a byte from anybody.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Want {
    /// The content.
    pub root: ContentRoot,
    /// What its release declares; none for a bare content root.
    pub declared: Option<Declared>,
    /// Blobs beside it: manifest, note.
    pub beside: Vec<BlobId>,
    /// Content held of older releases, likest first: what is the same is not fetched.
    pub older: Vec<ContentRoot>,
    /// Of the files only these, by their hashes, with whatever else is in their segments; none: all. What describes the
    /// content always comes whole.
    pub only: Option<HashSet<BlobId>>,
}

impl Want {
    /// All of a release: content, manifest, note.
    #[must_use]
    pub fn of(entry: &Release, older: Vec<ContentRoot>) -> Self {
        let beside = [entry.manifest].into_iter().chain(entry.note).collect();
        Self { root: entry.content_root, declared: Some(release::declared(entry)), beside, older, only: None }
    }
}

/// What a fetch cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes read from peers' streams, hashes included.
    pub fetched_bytes: u64,
    /// Bytes of segments that were here already, or copied from what was.
    pub reused_bytes: u64,
    /// Who sent how much.
    pub sources: BTreeMap<Peer, u64>,
}

/// Why content did not become complete. What came is kept, so that trying again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody connected has it.
    #[error("none of {asked} connected peers has the content")]
    NoProvider {
        /// Peers that were asked.
        asked: usize,
        /// Some of them sent wrong bytes.
        n_corrupt: usize,
    },
    /// Nothing came for too long.
    #[error("no peer sent anything for {} s; {n_missing} parts are missing", waited.as_secs())]
    Stalled {
        /// How long.
        waited: Duration,
        /// Parts not here.
        n_missing: usize,
    },
    /// Whoever has it is reached only through a relay, which does not carry as much.
    #[error(
        "whoever has the content is reached only through a relay, which carries {} bytes; {n_bytes} are missing",
        RELAYED_FETCH_BYTES
    )]
    OnlyRelayed {
        /// Bytes not here.
        n_bytes: u64,
    },
    /// Every peer that has it sent wrong bytes.
    #[error("every peer that has the content sent wrong bytes, and is banned ({n_peers})")]
    Corrupt {
        /// Peers banned.
        n_peers: usize,
    },
    /// Its owners took it away.
    #[error(transparent)]
    Redacted(#[from] Refused),
    /// The content is not what the release declares: its author's fault.
    #[error(transparent)]
    Content(#[from] ReleaseError),
    /// The local store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The local store does not open.
    #[error(transparent)]
    Open(#[from] blobs::OpenError),
}

impl FetchError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        match self {
            Self::Content(error) => error.is_disk_full(),
            Self::Blob(error) => error.is_disk_full(),
            Self::Open(error) => error.is_disk_full(),
            Self::NoProvider { .. }
            | Self::Stalled { .. }
            | Self::OnlyRelayed { .. }
            | Self::Corrupt { .. }
            | Self::Redacted(_) => false,
        }
    }
}

/// A peer and what it has.
#[derive(Debug, Clone)]
struct Provider {
    peer: Peer,
    reach: Reach,
    haves: Haves,
}

/// How to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// They keep what comes.
    pub pins: &'a Pins,
    /// To give up after this long without a byte from anybody.
    pub patience: Duration,
    /// It is told how many bytes came.
    pub progress: &'a Progress,
    /// It is told which segments are here.
    pub landing: &'a Landing,
}

/// Makes the wanted content, or the wanted files of it, complete here.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(parts: &Parts, net: &Net, want: &Want, terms: Terms<'_>) -> Result<Cost, FetchError> {
    let Terms { pins, patience, progress, landing } = terms;
    redact::ensure_given(&parts.histories, want.root.into())?;
    let blobs = parts.blobs().await?;
    let mut run = Run { parts, net, blobs, pins, patience, cost: Cost::default(), n_corrupt: 0 };
    let mut providers = Providers::ask(net, want.root);
    run.beside(want, &mut providers).await?;
    let index = Arc::new(run.structure(want, &mut providers).await?);
    let work = run.plan(want, &index, &mut providers).await?;
    let is_here = (0..index.segments().len()).map(|segment| !work.contains_key(&plan::child(&index, segment)));
    landing.begin(&index, is_here.collect());
    let landed = |child: u32| {
        if let Some(segment) = (child as usize).checked_sub(index.segment_child(0)) {
            landing.segment(segment);
        }
    };
    run.batches(want.root, work, providers, progress, &landed).await?;
    if want.only.is_none() {
        landing.begin(&index, vec![true; index.segments().len()]);
    }
    blobs.sync_pending().await?;
    for peer in run.cost.sources.keys() {
        // Only a stopping network does not count it.
        let _ = net.report(*peer, Deed::Delivered).await;
    }
    Ok(run.cost)
}

/// Fetches only what stands beside the content: what people read about a release, and what it asks for.
///
/// # Errors
/// [`FetchError`].
pub async fn beside(
    parts: &Parts,
    net: &Net,
    want: &Want,
    pins: &Pins,
    patience: Duration,
) -> Result<Cost, FetchError> {
    let blobs = parts.blobs().await?;
    let mut run = Run { parts, net, blobs, pins, patience, cost: Cost::default(), n_corrupt: 0 };
    let mut providers = Providers::ask(net, want.root);
    run.beside(want, &mut providers).await?;
    blobs.sync_pending().await?;
    Ok(run.cost)
}

/// One fetch under way.
struct Run<'a> {
    parts: &'a Parts,
    net: &'a Net,
    blobs: &'a Blobs,
    pins: &'a Pins,
    patience: Duration,
    cost: Cost,
    n_corrupt: usize,
}

impl Run<'_> {
    fn count(&mut self, peer: Peer, bytes: u64) {
        self.cost.fetched_bytes += bytes;
        *self.cost.sources.entry(peer).or_default() += bytes;
    }

    /// What a failed request says about its peer, who is judged by it; an error only when it is ours.
    async fn judge(&self, peer: Peer, error: blobs::FetchError) -> Result<Verdict, FetchError> {
        use blobs::FetchError as Why;
        let verdict = match error {
            Why::Local(error) => return Err(error.into()),
            Why::Corrupt(_) | Why::TooLarge { .. } => Verdict::Corrupt,
            Why::NotFound(_) | Why::Cut(_) => Verdict::Lacks,
            Why::Stalled => Verdict::Stalled,
            Why::Io(_) | Why::TooManyParts => Verdict::Gone,
        };
        tracing::debug!(peer = peer.fmt_short(), ?verdict, "a fetch from a peer failed");
        if verdict == Verdict::Stalled {
            // Only a stopping network does not count it, and then nothing is fetched either.
            let _ = self.net.report(peer, Deed::Stalled).await;
        }
        Ok(verdict)
    }

    /// Lets a liar in no more, and tells whoever listens.
    async fn ban(&mut self, peer: Peer) {
        self.n_corrupt += 1;
        let fault = "sent wrong bytes".to_owned();
        let event = crate::event::Event::PeerFault { package_id: String::new(), peer: peer.to_string(), fault };
        self.parts.emit(event);
        // Only a stopping network does not ban, and then nothing is fetched either.
        let _ = self.net.report(peer, Deed::WrongBytes).await;
    }

    fn nobody(&self, asked: usize) -> FetchError {
        match self.n_corrupt {
            0 => FetchError::NoProvider { asked, n_corrupt: 0 },
            n_peers => FetchError::Corrupt { n_peers },
        }
    }
}

/// What a failed request says about its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Corrupt,
    Lacks,
    Stalled,
    Gone,
}

/// Opens a stream for one blob request.
async fn open(net: &Net, peer: Peer) -> Result<crate::net::Stream, OpenError> {
    net.open(peer, crate::net::Protocol::Blobs).await
}
