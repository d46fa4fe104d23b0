//! The answering side of `/syncra/log/1`.

use std::sync::Arc;

use syncra_protocol::bounded::Blob;
use syncra_protocol::id::{PackageId, ReleaseId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::{ENTRIES_PER_FRAME, IDENTITY_PACKAGES, OFFERS_PER_FRAME};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::message::Refusal;
use syncra_protocol::message::log::{Answer, Entries, Heads, NoteBytes, Offer, Offers, Request, decode_request};
use syncra_protocol::origin::{Origin, Subject};
use tokio::sync::broadcast::error::RecvError;

use super::PATIENCE;
use super::turns::Turns;
use crate::event::Event;
use crate::flow::{Parts, own};
use crate::history::Change;
use crate::journal::Regard;
use crate::net::frame::{FrameError, read_frame, write_frame};
use crate::net::{Inbound, Stream, limits};

/// Watches that one peer may hold: the next one is opened before the last one ends.
const WATCHES_PER_PEER: usize = 4;

/// The places of watches. They last, so they are no part of what is worked on.
pub(super) fn watches() -> Turns {
    Turns::new(WATCHES_PER_PEER * limits::CONNECTIONS as usize, WATCHES_PER_PEER)
}

/// Answers one stream.
pub(super) async fn answer(parts: Arc<Parts>, turns: Turns, watches: Turns, inbound: Inbound) {
    let Inbound { peer, mut stream } = inbound;
    if let Err(error) = converse(&parts, (&turns, &watches), peer, &mut stream).await {
        tracing::debug!(peer = peer.fmt_short(), %error, "a log stream ended early");
        super::judge(&parts, peer, super::deed_of_frame(&error)).await;
    }
}

async fn converse(
    parts: &Parts,
    (turns, watches): (&Turns, &Turns),
    peer: DeviceKey,
    stream: &mut Stream,
) -> Result<(), FrameError> {
    let Some(request) = read_frame(stream, PATIENCE, decode_request).await? else { return Ok(()) };
    if let Request::Watch { packages } = request {
        return match watches.try_take(peer) {
            Some(_place) => watch(parts, stream, peer, packages).await,
            None => refuse_watch(stream).await,
        };
    }
    let turn = turns.take(peer).await;
    let answer = match request {
        Request::Watch { .. } => None, // answered above
        Request::Heads { package } => heads(parts, package).await.map(Answer::Heads),
        Request::Entries { origin, from, limit } => entries(parts, &origin, from, limit).map(Answer::Entries),
        Request::Offers { after } => Some(Answer::Offers(offers(parts, after))),
    };
    let answer = answer.unwrap_or(Answer::Refused(Refusal::NotFound));
    write_frame(stream, &answer, PATIENCE).await?;
    drop(turn);
    close(stream).await
}

async fn refuse_watch(stream: &mut Stream) -> Result<(), FrameError> {
    let busy = Answer::Refused(Refusal::Busy { retry_after_ms: WATCH_AGAIN_MS });
    write_frame(stream, &busy, PATIENCE).await?;
    close(stream).await
}

/// When a peer that holds too many watches may ask for another.
const WATCH_AGAIN_MS: u32 = 60_000;

/// Our end first; the stream stays until the peer has read everything and closes its own.
pub(super) async fn close(stream: &mut Stream) -> Result<(), FrameError> {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.close().await?;
    let mut byte = [0];
    drop(tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await);
    Ok(())
}

async fn heads(parts: &Parts, package: PackageId) -> Option<Heads> {
    let history = readable(parts, package)?;
    let evidence = &history.evidence;
    // Whoever asks hears it as of now, at the pace of a witness.
    let logs = evidence.heads().filter_map(|head| Some((evidence.log(head.origin())?, head)));
    let said = logs.map(|(log, head)| parts.witnesses.witness(log, head));
    if let Err(error) = futures::future::try_join_all(said).await {
        tracing::warn!(%error, "not cosigned");
    }
    Some(Heads::answer(evidence, |head| parts.witnesses.dress(head)))
}

/// A package that is known and not blocked.
fn readable(parts: &Parts, package: PackageId) -> Option<Arc<crate::history::History>> {
    let history =
        parts.histories.package(package).inspect_err(|error| tracing::warn!(%error, "a history is unreadable"));
    history.ok().flatten().filter(|history| !parts.is_blocked(&history.state))
}

/// Whether a log is told of: of a package that is not blocked, or of an identity that is not, or whose word such a package
/// needs.
fn is_told(parts: &Parts, origin: &Origin) -> bool {
    match origin.subject {
        Subject::Package(package) => readable(parts, package).is_some(),
        Subject::Identity(identity) => {
            let is_blocked = parts.histories.journal().truth().regard(&identity) == Regard::Blocked;
            let needs = |package: PackageId| readable(parts, package).is_some_and(|h| h.evidence.heeds(&identity));
            !is_blocked || parts.histories.packages().into_iter().any(needs)
        }
    }
}

fn entries(parts: &Parts, origin: &Origin, from: u64, limit: u32) -> Option<Entries> {
    if !is_told(parts, origin) {
        return None;
    }
    let (log, head) = parts.histories.log(origin).ok().flatten()?;
    let limit = limit.min(u32::try_from(ENTRIES_PER_FRAME).unwrap_or(u32::MAX));
    let entries = parts.histories.entries(origin, from, u64::from(limit)).ok()?;
    Entries::answer(&log, &head, (from, limit), entries.iter().map(|entry| entry.to_vec())).ok()
}

/// Packages of which content is held: what a neighbour can install from here.
fn offers(parts: &Parts, after: Option<PackageId>) -> Offers {
    let packages = parts.histories.packages();
    let later = packages.into_iter().filter(|package| after.is_none_or(|after| *package > after));
    let mut offers: Vec<Offer> = later
        .filter_map(|package| {
            let history = readable(parts, package)?;
            Some(Offer { package, frontier: history.state.frontier.digest() })
        })
        .take(OFFERS_PER_FRAME + 1)
        .collect();
    let more = offers.len() > OFFERS_PER_FRAME;
    offers.truncate(OFFERS_PER_FRAME);
    Offers { offers, more }
}

/// Pushes new notes of these packages until the peer closes the stream; of those that are not known yet, once they are. When
/// a release was installed here a note is pushed again: whoever heard of it too early to fetch it can do so now. Another
/// device of this device's identity is told of all packages of that.
async fn watch(
    parts: &Parts,
    stream: &mut Stream,
    peer: DeviceKey,
    packages: Vec<PackageId>,
) -> Result<(), FrameError> {
    let mut changes = parts.histories.changes();
    let mut spoken = parts.witnesses.spoken();
    let mut happened = parts.events.subscribe(None);
    let n_served = packages.iter().filter(|package| readable(parts, **package).is_some()).count();
    let n_packages = u32::try_from(n_served).unwrap_or(u32::MAX);
    write_frame(stream, &Answer::Watching { n_packages }, PATIENCE).await?;
    tell_of_ours(parts, stream, peer, &packages).await?;
    let mut byte = [0];
    loop {
        use futures::AsyncReadExt as _;
        tokio::select! {
            change = changes.recv() => match change {
                Ok(Change { head }) => {
                    push(parts, stream, &packages, &head).await?;
                    push_ours(parts, stream, peer, &packages, &head).await?;
                }
                // Too far behind to know what changed: the peer opens a new watch and asks for heads.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Ok(()),
            },
            // What was missed is heard with the next heads.
            Ok(head) = spoken.recv() => push(parts, stream, &packages, &head).await?,
            frame = happened.next() => if let Event::Installed { package, release, .. } = frame.event {
                push_again(parts, stream, &packages, (package, release)).await?;
            },
            // The peer says nothing more; whatever comes is the end.
            _ = stream.read(&mut byte) => return Ok(()),
        }
    }
}

/// Tells a sibling of the packages of the identity that it does not watch.
async fn tell_of_ours(
    parts: &Parts,
    stream: &mut Stream,
    peer: DeviceKey,
    watched: &[PackageId],
) -> Result<(), FrameError> {
    if !own::siblings(parts).contains(&peer) {
        return Ok(());
    }
    let ours = own::written(parts).into_iter().chain(own::of_siblings(parts));
    let unwatched = ours.filter(|package| watched.binary_search(package).is_err());
    for package in unwatched.take(IDENTITY_PACKAGES) {
        let Some(history) = readable(parts, package) else { continue };
        let Some(head) = history.evidence.heads().find(|head| own::is_ours(parts, head.origin())) else { continue };
        let note: NoteBytes = Blob(parts.witnesses.dress(head).note().to_vec());
        write_frame(stream, &Answer::Notice { package, note }, PATIENCE).await?;
    }
    Ok(())
}

/// Tells a sibling that a package of the identity grew which it does not watch, or that there is a new one.
async fn push_ours(
    parts: &Parts,
    stream: &mut Stream,
    peer: DeviceKey,
    watched: &[PackageId],
    head: &Head,
) -> Result<(), FrameError> {
    let Subject::Package(package) = head.origin().subject else { return Ok(()) };
    let is_news = watched.binary_search(&package).is_err() && own::is_ours(parts, head.origin());
    if !is_news || !own::siblings(parts).contains(&peer) || readable(parts, package).is_none() {
        return Ok(());
    }
    let note: NoteBytes = Blob(parts.witnesses.dress(head).note().to_vec());
    write_frame(stream, &Answer::Notice { package, note }, PATIENCE).await
}

/// The head of the log that a release stands in, whose content is here only now.
async fn push_again(
    parts: &Parts,
    stream: &mut Stream,
    watched: &[PackageId],
    (package, release): (PackageId, ReleaseId),
) -> Result<(), FrameError> {
    let history = watched.binary_search(&package).ok().and_then(|_| readable(parts, package));
    let writer = history.as_ref().and_then(|history| history.state.releases.get(&release)).map(|known| known.writer);
    let head = history.as_ref().zip(writer).and_then(|(history, writer)| history.evidence.head(&writer));
    let Some(head) = head else { return Ok(()) };
    let note: NoteBytes = Blob(parts.witnesses.dress(head).note().to_vec());
    write_frame(stream, &Answer::Notice { package, note }, PATIENCE).await
}

async fn push(parts: &Parts, stream: &mut Stream, watched: &[PackageId], head: &Head) -> Result<(), FrameError> {
    let note: NoteBytes = Blob(parts.witnesses.dress(head).note().to_vec());
    let concerned: Vec<PackageId> = match head.origin().subject {
        Subject::Package(package) => {
            let is_served = watched.binary_search(&package).is_ok() && readable(parts, package).is_some();
            is_served.then_some(package).into_iter().collect()
        }
        Subject::Identity(identity) => {
            let owned = |package: &&PackageId| readable(parts, **package).is_some_and(|h| h.evidence.heeds(&identity));
            watched.iter().filter(owned).copied().collect()
        }
    };
    for package in concerned {
        let note = note.clone();
        write_frame(stream, &Answer::Notice { package, note }, PATIENCE).await?;
    }
    Ok(())
}
