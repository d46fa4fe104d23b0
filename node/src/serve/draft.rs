//! The answering side of `/syncra/draft/1`.

use std::sync::Arc;
use std::time::Duration;

use syncra_protocol::message::Refusal;
use syncra_protocol::message::draft::{Answer, decode_request};

use super::PATIENCE;
use crate::flow::Parts;
use crate::net::Inbound;
use crate::net::frame::{FrameError, read_frame, write_frame};

/// How long somebody waits for news: less than a silence that routers forget.
const NEWS: Duration = Duration::from_secs(25);
/// When to ask again if all places of those who wait are taken.
const AGAIN_MS: u32 = 5_000;

/// Answers one stream.
pub(super) async fn answer(parts: Arc<Parts>, inbound: Inbound) {
    let peer = inbound.peer;
    if let Err(error) = converse(&parts, inbound).await {
        tracing::debug!(peer = peer.fmt_short(), %error, "a draft stream ended early");
        super::judge(&parts, peer, super::deed_of_frame(&error)).await;
    }
}

async fn converse(parts: &Parts, inbound: Inbound) -> Result<(), FrameError> {
    let Inbound { peer, mut stream } = inbound;
    let Some(request) = read_frame(&mut stream, PATIENCE, decode_request).await? else { return Ok(()) };
    let key = (request.package, request.name);
    let see = || parts.drafts.see(&parts.histories, &key, &peer);
    let answer = match see() {
        // Who may not see it does not learn that it is there.
        None => Answer::Refused(Refusal::NotFound),
        Some((rev, signed, _)) if rev > request.after => Answer::Draft(signed),
        Some((_, _, mut news)) => match parts.drafts.places.try_take(peer) {
            None => Answer::Refused(Refusal::Busy { retry_after_ms: AGAIN_MS }),
            Some(_place) => {
                let newer = news.wait_for(|rev| *rev > request.after);
                match tokio::time::timeout(NEWS, newer).await.is_ok_and(|newer| newer.is_ok()) {
                    // Who may see it is asked again: rights may have changed meanwhile.
                    true => see().map_or(Answer::Refused(Refusal::NotFound), |(_, signed, _)| Answer::Draft(signed)),
                    false => Answer::Unchanged,
                }
            }
        },
    };
    write_frame(&mut stream, &answer, PATIENCE).await?;
    super::log::close(&mut stream).await
}
