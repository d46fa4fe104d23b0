//! The answering side of `/syncra/propose/1`.

use std::sync::Arc;

use syncra_protocol::bounded::Blob;
use syncra_protocol::message::Refusal;
use syncra_protocol::message::propose::{Answer, Request, decode_request};
use syncra_protocol::proposal::{Record, RecordError};
use syncra_protocol::sync::score::Deed;

use super::PATIENCE;
use super::turns::Turns;
use crate::flow::{Parts, propose};
use crate::net::Inbound;
use crate::net::frame::{FrameError, read_frame, write_frame};

/// Answers one stream: what is known about a package, or takes in what is offered and hands on what was new.
pub(super) async fn answer(parts: Arc<Parts>, turns: Turns, inbound: Inbound) {
    let peer = inbound.peer;
    if let Err(error) = converse(&parts, &turns, inbound).await {
        tracing::debug!(peer = peer.fmt_short(), %error, "a propose stream ended early");
        super::judge(&parts, peer, super::deed_of_frame(&error)).await;
    }
}

async fn converse(parts: &Arc<Parts>, turns: &Turns, inbound: Inbound) -> Result<(), FrameError> {
    let Inbound { peer, mut stream } = inbound;
    let Some(request) = read_frame(&mut stream, PATIENCE, decode_request).await? else { return Ok(()) };
    let turn = turns.take(peer).await;
    let mut news = Vec::new();
    let answer = match request {
        Request::List { package } if propose::is_kept(parts, package) => {
            let told = propose::told(parts, package);
            Answer::Records { records: told.iter().map(|record| Blob(record.bytes().to_vec())).collect() }
        }
        Request::List { .. } => Answer::Refused(Refusal::NotFound),
        Request::Offer { records } => {
            let mut found = Vec::new();
            for bytes in &records {
                match Record::decode(bytes.as_ref()) {
                    Ok(record) => found.push(record),
                    Err(error) => {
                        tracing::debug!(peer = peer.fmt_short(), %error, "offered what is no record");
                        let is_forged = matches!(error, RecordError::Signature);
                        super::judge(parts, peer, Some(if is_forged { Deed::Forged } else { Deed::Malformed })).await;
                    }
                }
            }
            let taken = propose::take_in(parts, peer, found).await;
            let n_kept = taken.iter().map(|(_, came)| u32::from(came.is_kept())).sum();
            news.extend(taken.into_iter().filter(|(_, came)| came.is_new()).map(|(record, _)| record));
            Answer::Taken { n_kept }
        }
    };
    write_frame(&mut stream, &answer, PATIENCE).await?;
    drop(turn);
    super::log::close(&mut stream).await?;
    if let (false, Some(online)) = (news.is_empty(), parts.online()) {
        propose::hand_on(online, &news, Some(peer)).await;
    }
    Ok(())
}
