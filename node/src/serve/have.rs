//! The answering side of `/syncra/have/1`.

use std::sync::Arc;

use syncra_protocol::message::Refusal;
use syncra_protocol::message::have::{Answer, decode_request};

use super::turns::Turns;
use super::{PATIENCE, Served};
use crate::blobs::Access;
use crate::flow::Parts;
use crate::net::Inbound;
use crate::net::frame::{FrameError, read_frame, write_frame};

/// Answers one stream: which parts of a root are here now. Later arrivals are not told yet; the asker asks again.
pub(super) async fn answer(parts: Arc<Parts>, served: Arc<Served>, turns: Turns, inbound: Inbound) {
    let peer = inbound.peer;
    if let Err(error) = converse(&parts, &served, &turns, inbound).await {
        tracing::debug!(peer = peer.fmt_short(), %error, "a have stream ended early");
        super::judge(&parts, peer, super::deed_of_frame(&error)).await;
    }
}

async fn converse(parts: &Parts, served: &Served, turns: &Turns, inbound: Inbound) -> Result<(), FrameError> {
    let (mut stream, peer) = (inbound.stream, inbound.peer);
    let Some(request) = read_frame(&mut stream, PATIENCE, decode_request).await? else { return Ok(()) };
    let turn = turns.take(peer).await;
    let answer = match super::access(parts, served, &request.root.into(), &peer) {
        Access::Sequence => held(parts, request.root.into()).await,
        Access::None | Access::Blob => Answer::Refused(Refusal::NotFound),
    };
    write_frame(&mut stream, &answer, PATIENCE).await?;
    drop(turn);
    super::log::close(&mut stream).await
}

async fn held(parts: &Parts, root: syncra_protocol::id::BlobId) -> Answer {
    let Ok(blobs) = parts.blobs().await else { return Answer::Refused(Refusal::NotFound) };
    match blobs.missing(root).await {
        Ok(missing) if missing.is_nothing() => Answer::All,
        Ok(missing) if missing.root.is_empty() => {
            let lacks: std::collections::BTreeSet<u32> = missing.children.iter().map(|child| child.index).collect();
            let held = (0..missing.n_children).filter(|index| !lacks.contains(index));
            Answer::of(held, missing.n_children)
        }
        Ok(_) => Answer::Refused(Refusal::NotFound),
        Err(error) => {
            tracing::warn!(%error, "what is held of a root cannot be told");
            Answer::Refused(Refusal::NotFound)
        }
    }
}
