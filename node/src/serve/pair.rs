//! The answering side of `/syncra/pair/1`.

use std::sync::Arc;

use crate::flow::Parts;
use crate::flow::pair::{self, PairError};
use crate::net::Inbound;

/// Answers one device that wants to join.
pub(super) async fn answer(parts: Arc<Parts>, inbound: Inbound) {
    let Inbound { peer, mut stream } = inbound;
    match pair::answer(&parts, &mut stream, peer).await {
        Ok(()) => {}
        Err(PairError::Frame(error)) => {
            tracing::debug!(peer = peer.fmt_short(), %error, "a pairing ended early");
            super::judge(&parts, peer, super::deed_of_frame(&error)).await;
        }
        Err(error) => tracing::warn!(peer = peer.fmt_short(), %error, "a device did not join"),
    }
}
