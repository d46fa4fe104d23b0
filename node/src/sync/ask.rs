//! The asking side of the log and have protocols: one request, one answer, and what went wrong in the machines' words.

use std::time::Duration;

use futures::AsyncWriteExt as _;
use syncra_protocol::id::{ContentRoot, PackageId};
use syncra_protocol::limits::ENTRIES_PER_FRAME;
use syncra_protocol::message::log::{self, Answer, Entries, Heads, Offers, Request, decode_answer};
use syncra_protocol::message::{Refusal, have, propose};
use syncra_protocol::origin::Origin;
use syncra_protocol::proposal::Record;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{ASK_TIMEOUT, Failure};
use syncra_protocol::sync::score::Deed;

use crate::net::frame::{FrameError, read_frame, read_frame_some_day, write_frame};
use crate::net::{Net, OpenError, Protocol, Stream, StreamError};

/// Asks for the heads of a package.
///
/// # Errors
/// [`Failure`].
pub async fn heads(net: &Net, peer: Peer, package: PackageId) -> Result<Heads, Failure> {
    match log_answer(net, peer, &Request::Heads { package }).await? {
        Answer::Heads(heads) => Ok(heads),
        other => Err(unexpected(&other)),
    }
}

/// Asks for entries of a log.
///
/// # Errors
/// [`Failure`].
pub async fn entries(net: &Net, peer: Peer, origin: Origin, from: u64) -> Result<Entries, Failure> {
    let limit = u32::try_from(ENTRIES_PER_FRAME).unwrap_or(u32::MAX);
    match log_answer(net, peer, &Request::Entries { origin, from, limit }).await? {
        Answer::Entries(entries) => Ok(entries),
        other => Err(unexpected(&other)),
    }
}

/// Asks which packages a peer offers, one page.
///
/// # Errors
/// [`Failure`].
pub async fn offers(net: &Net, peer: Peer, after: Option<PackageId>) -> Result<Offers, Failure> {
    match log_answer(net, peer, &Request::Offers { after }).await? {
        Answer::Offers(offers) => Ok(offers),
        other => Err(unexpected(&other)),
    }
}

/// Opens a watch; the stream then carries notices.
///
/// # Errors
/// [`Failure`].
pub async fn watch(net: &Net, peer: Peer, packages: Vec<PackageId>) -> Result<Stream, Failure> {
    let mut stream = open(net, peer, Protocol::Log).await?;
    write_frame(&mut stream, &Request::Watch { packages }, ASK_TIMEOUT).await.map_err(of_frame)?;
    match read_frame(&mut stream, ASK_TIMEOUT, decode_answer).await.map_err(of_frame)? {
        Some(Answer::Watching { .. }) => Ok(stream),
        Some(other) => Err(unexpected(&other)),
        None => Err(Failure::Lost),
    }
}

/// The next notice on a watch; none when the peer ends it.
///
/// # Errors
/// [`Failure`].
pub async fn notice(stream: &mut Stream) -> Result<Option<(PackageId, Vec<u8>)>, Failure> {
    // A watch is silent as long as nothing changes; the connection's own keep-alive notices a dead peer.
    const LONG: Duration = Duration::from_secs(24 * 3600);
    match read_frame_some_day(stream, LONG, ASK_TIMEOUT, decode_answer).await.map_err(of_frame)? {
        Some(Answer::Notice { package, note }) => Ok(Some((package, note.0))),
        Some(other) => Err(unexpected(&other)),
        None => Ok(None),
    }
}

/// Asks which parts of a content root a peer holds.
///
/// # Errors
/// [`Failure`].
pub async fn have(net: &Net, peer: Peer, root: ContentRoot) -> Result<have::Answer, Failure> {
    let mut stream = open(net, peer, Protocol::Have).await?;
    let request = have::Request { root, follow: false };
    write_frame(&mut stream, &request, ASK_TIMEOUT).await.map_err(of_frame)?;
    let answer = read_frame(&mut stream, ASK_TIMEOUT, have::decode_answer).await.map_err(of_frame)?;
    finish(stream).await;
    match answer {
        Some(have::Answer::Refused(refusal)) => Err(of_refusal(refusal)),
        Some(answer) => Ok(answer),
        None => Err(Failure::Lost),
    }
}

/// Asks for the records about a package. One that does not verify spoils the answer.
///
/// # Errors
/// [`Failure`].
pub async fn proposals(net: &Net, peer: Peer, package: PackageId) -> Result<Vec<Record>, Failure> {
    match propose_answer(net, peer, &propose::Request::List { package }).await? {
        propose::Answer::Records { records } => {
            let decoded = records.iter().map(|bytes| Record::decode(bytes.as_ref()));
            decoded.collect::<Result<_, _>>().map_err(|_| Failure::Malformed)
        }
        other => Err(unexpected_of_proposals(&other)),
    }
}

/// Offers records; how many the peer keeps.
///
/// # Errors
/// [`Failure`].
pub async fn offer_records(net: &Net, peer: Peer, records: Vec<propose::RecordBytes>) -> Result<u32, Failure> {
    match propose_answer(net, peer, &propose::Request::Offer { records }).await? {
        propose::Answer::Taken { n_kept } => Ok(n_kept),
        other => Err(unexpected_of_proposals(&other)),
    }
}

async fn propose_answer(net: &Net, peer: Peer, request: &propose::Request) -> Result<propose::Answer, Failure> {
    let mut stream = open(net, peer, Protocol::Propose).await?;
    write_frame(&mut stream, request, ASK_TIMEOUT).await.map_err(of_frame)?;
    let answer = read_frame(&mut stream, ASK_TIMEOUT, propose::decode_answer).await.map_err(of_frame)?;
    finish(stream).await;
    answer.ok_or(Failure::Lost)
}

fn unexpected_of_proposals(answer: &propose::Answer) -> Failure {
    match answer {
        propose::Answer::Refused(refusal) => of_refusal(*refusal),
        _ => Failure::Malformed,
    }
}

/// Counts what a failure says about the peer. Not for what a `Follower` asked: that tells faults, which are counted.
pub(crate) async fn count(net: &Net, peer: Peer, failure: Failure) {
    let deed = match failure {
        Failure::Oversized | Failure::Malformed => Deed::Malformed,
        Failure::Slow => Deed::Stalled,
        Failure::Refused | Failure::Busy { .. } | Failure::Unsupported | Failure::Lost => return,
    };
    // Only a stopping network does not count it.
    let _ = net.report(peer, deed).await;
}

async fn log_answer(net: &Net, peer: Peer, request: &log::Request) -> Result<Answer, Failure> {
    let mut stream = open(net, peer, Protocol::Log).await?;
    write_frame(&mut stream, request, ASK_TIMEOUT).await.map_err(of_frame)?;
    let answer = read_frame(&mut stream, ASK_TIMEOUT, decode_answer).await.map_err(of_frame)?;
    finish(stream).await;
    answer.ok_or(Failure::Lost)
}

/// Tells the peer that everything was read. That it no longer hears us is its own affair.
async fn finish(mut stream: Stream) {
    drop(stream.close().await);
}

async fn open(net: &Net, peer: Peer, protocol: Protocol) -> Result<Stream, Failure> {
    net.open(peer, protocol).await.map_err(|error| match error {
        OpenError::Stream(error) => of_stream(error),
        OpenError::Dial(_) | OpenError::Stopped => Failure::Lost,
    })
}

fn of_stream(error: StreamError) -> Failure {
    match error {
        StreamError::Unsupported(_) => Failure::Unsupported,
        StreamError::TooMany | StreamError::Busy => Failure::Busy { retry_after: Duration::ZERO },
        StreamError::Timeout | StreamError::Closed => Failure::Lost,
    }
}

fn of_frame(error: FrameError) -> Failure {
    match error {
        FrameError::TooLong { .. } => Failure::Oversized,
        FrameError::Message(_) => Failure::Malformed,
        FrameError::Refused(error) => of_stream(error),
        FrameError::Timeout => Failure::Slow,
        FrameError::Io(_) => Failure::Lost,
    }
}

fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Refused(refusal) => of_refusal(*refusal),
        _ => Failure::Malformed,
    }
}

fn of_refusal(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Busy { retry_after_ms } => {
            Failure::Busy { retry_after: Duration::from_millis(u64::from(retry_after_ms)) }
        }
        Refusal::NotFound | Refusal::TooLarge | Refusal::Unsupported | Refusal::Forbidden => Failure::Refused,
    }
}
