//! What describes the content: manifest and note beside it, the sequence, the nodes. Small, so from one peer at a time.

use std::collections::HashMap;

use syncra_protocol::id::BlobId;
use syncra_protocol::limits;
use syncra_protocol::sync::Peer;
use syncra_protocol::tree::{ContentIndex, HashSeq, NodeSet};

use super::providers::Providers;
use super::{FetchError, Run, Verdict, Want, open};
use crate::blobs::{Child, FetchOptions, Parts, Ranges, Request};
use crate::flow::redact;
use crate::flow::release::ReleaseError;

impl Run<'_> {
    /// Manifest and note.
    pub(super) async fn beside(&mut self, want: &Want, providers: &mut Providers) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        for blob in &want.beside {
            if !self.blobs.has(*blob).await? {
                missing.push(*blob);
            }
        }
        let refused = redact::refused_among(&self.parts.histories, missing.iter().copied());
        for root in missing.into_iter().filter(|blob| !refused.contains_key(blob)) {
            let limit = limits::MANIFEST_BYTES.max(limits::PROSE_BYTES) as u64;
            self.ask_anybody(Request { root, parts: Parts::Blob(Ranges::all()) }, limit, providers).await?;
        }
        Ok(())
    }

    /// The sequence and all nodes, verified against what the release declares.
    pub(super) async fn structure(
        &mut self,
        want: &Want,
        providers: &mut Providers,
    ) -> Result<ContentIndex, FetchError> {
        let root = BlobId::from(want.root);
        if !self.blobs.has(root).await? {
            let request = Request { root, parts: Parts::Sequence };
            self.ask_anybody(request, limits::HASH_SEQ_BYTES as u64, providers).await?;
        }
        let bytes = self.blobs.read(root, limits::HASH_SEQ_BYTES as u64).await?;
        let sequence = HashSeq::decode(&bytes).map_err(ReleaseError::from)?;
        let places: HashMap<BlobId, u32> = sequence.children().iter().copied().zip(0..).collect();
        let mut nodes = NodeSet::new(sequence.root_node());
        loop {
            let wanted = nodes.wanted().to_vec();
            if wanted.is_empty() {
                break;
            }
            self.nodes(root, &wanted, &places, providers).await?;
            for node in wanted {
                let bytes = self.blobs.read(node, limits::NODE_BYTES as u64).await?;
                nodes.insert(&bytes).map_err(ReleaseError::from)?;
            }
        }
        let index = nodes.derive().map_err(ReleaseError::from)?;
        let declared = want
            .declared
            .unwrap_or_else(|| syncra_protocol::tree::Declared { content_root: want.root, ..index.declared() });
        index.verify(&declared).map_err(ReleaseError::from)?;
        Ok(index)
    }

    async fn nodes(
        &mut self,
        root: BlobId,
        wanted: &[BlobId],
        places: &HashMap<BlobId, u32>,
        providers: &mut Providers,
    ) -> Result<(), FetchError> {
        let mut children = Vec::new();
        for node in wanted {
            if self.blobs.has(*node).await? {
                self.pins.add(*node).await;
                continue;
            }
            // A node that the sequence does not name cannot be fetched below it; deriving says what is wrong.
            let Some(index) = places.get(node) else { continue };
            children.push(Child { index: *index, ranges: Ranges::all(), size: None });
        }
        if children.is_empty() {
            return Ok(());
        }
        children.sort_unstable_by_key(|child| child.index);
        let request = Request { root, parts: Parts::Children(children) };
        self.ask_anybody(request, limits::NODE_BYTES as u64, providers).await
    }

    /// One request, from the first provider that answers it wholly.
    pub(super) async fn ask_anybody(
        &mut self,
        request: Request,
        blob_bytes: u64,
        providers: &mut Providers,
    ) -> Result<(), FetchError> {
        let options = FetchOptions { idle: self.patience.min(FetchOptions::default().idle), blob_bytes };
        loop {
            let first = tokio::time::timeout(self.patience, providers.first()).await.unwrap_or(None);
            let Some(provider) = first else { return Err(self.nobody(providers.n_asked())) };
            if self.ask_one(provider.peer, &request, &options).await? {
                return Ok(());
            }
            providers.forget(provider.peer);
        }
    }

    /// True if the peer sent all of it.
    async fn ask_one(&mut self, peer: Peer, request: &Request, options: &FetchOptions) -> Result<bool, FetchError> {
        let stream = match open(self.net, peer).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(peer = peer.fmt_short(), %error, "no stream");
                return Ok(false);
            }
        };
        match self.blobs.fetch(stream, request, options, self.pins, |_| {}).await {
            Ok(stats) => {
                self.count(peer, stats.received);
                Ok(true)
            }
            Err(failure) => {
                self.count(peer, failure.stats.received);
                if self.judge(peer, failure.error).await? == Verdict::Corrupt {
                    self.ban(peer).await;
                }
                Ok(false)
            }
        }
    }
}
