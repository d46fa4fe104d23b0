//! Following somebody's draft: ask who shows it, verify, fetch what is new, write it out.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use futures::future::join_all;
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::BlobId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::message::draft::{Answer, Draft, Request, decode_answer};
use syncra_protocol::name::RefName;

use super::apply::{self, Applied};
use super::{DraftError, speaks};
use crate::flow::{Parts, release};
use crate::net::frame::{read_frame, write_frame};
use crate::net::{Net, Protocol};
use crate::node::Online;
use crate::progress::Progress;
use crate::sync::fetch::{self, Landing, Terms, Want};

/// How long an answer may take that nothing has to happen for.
const STEP: Duration = Duration::from_secs(20);
/// How long the other side may wait for news, with room for the way.
const NEWS: Duration = Duration::from_secs(45);

/// Which draft, and where it is written to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: RefName,
    /// Whose it is; else the newest that connected writers show.
    pub device: Option<DeviceKey>,
    /// The newest that is known.
    pub after: u64,
    /// The directory.
    pub dir: PathBuf,
}

/// A draft that was followed a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Whose it is.
    pub device: DeviceKey,
    /// Its number.
    pub rev: u64,
    /// What changed in the directory; none if there was no news in time.
    pub applied: Option<Applied>,
    /// Bytes that came from peers.
    pub fetched_bytes: u64,
}

/// Waits for the next draft and writes it out.
///
/// # Errors
/// [`DraftError`]; what was written so far stays, and the same call goes on from there.
pub async fn next(
    parts: &Parts,
    online: &Online,
    state: &PackageState,
    wanted: &Wanted,
    progress: &Progress,
) -> Result<Followed, DraftError> {
    apply::ensure_followable(&wanted.dir)?;
    let (device, draft) = match wanted.device {
        Some(device) => match ask(&online.net, device, state, wanted, NEWS).await? {
            Some(draft) => (device, draft),
            None => return Ok(Followed { device, rev: wanted.after, applied: None, fetched_bytes: 0 }),
        },
        None => newest(online, state, wanted).await?,
    };
    let fetched_bytes = bring(parts, &online.net, &draft, wanted, progress).await?;
    let blobs = parts.blobs().await?;
    let index = release::content(blobs, draft.content_root).await?;
    let applied = apply::apply(blobs, &index, &wanted.dir).await?;
    Ok(Followed { device, rev: draft.rev, applied: Some(applied), fetched_bytes })
}

/// The newest that anybody who is connected, and may write, shows.
async fn newest(online: &Online, state: &PackageState, wanted: &Wanted) -> Result<(DeviceKey, Draft), DraftError> {
    let connected = online.net.connected().await?;
    let writers: Vec<DeviceKey> =
        connected.iter().map(|peer| peer.key).filter(|device| speaks(state, device)).collect();
    let asked = writers.len();
    let all = Wanted { after: 0, ..wanted.clone() };
    let asking = writers.into_iter().map(async |device| (device, ask(&online.net, device, state, &all, STEP).await));
    let answers = join_all(asking).await;
    let drafts = answers.into_iter().filter_map(|(device, answer)| Some((device, answer.ok()??)));
    let newest = drafts.max_by_key(|(_, draft)| draft.rev);
    newest.ok_or_else(|| DraftError::NotFound { name: wanted.name.clone(), asked })
}

/// One question to one device; none: no news in its time.
async fn ask(
    net: &Net,
    device: DeviceKey,
    state: &PackageState,
    wanted: &Wanted,
    within: Duration,
) -> Result<Option<Draft>, DraftError> {
    if !speaks(state, &device) {
        return Err(DraftError::NotFound { name: wanted.name.clone(), asked: 0 });
    }
    let mut stream = net.open(device, Protocol::Draft).await?;
    let request = Request { package: state.package, name: wanted.name.clone(), after: wanted.after };
    write_frame(&mut stream, &request, STEP).await?;
    let answer = read_frame(&mut stream, within, decode_answer).await?;
    match answer {
        Some(Answer::Unchanged) => Ok(None),
        None | Some(Answer::Refused(_)) => Err(DraftError::NotFound { name: wanted.name.clone(), asked: 1 }),
        Some(Answer::Draft(signed)) => {
            let draft = signed.verify(&device)?;
            if draft.package != state.package || draft.name != wanted.name {
                return Err(DraftError::Other("another draft"));
            }
            if draft.rev <= wanted.after {
                return Err(DraftError::Other("an older draft"));
            }
            Ok(Some(draft))
        }
    }
}

/// Makes its content local; what is the same as in the one before is not fetched.
async fn bring(
    parts: &Parts,
    net: &Net,
    draft: &Draft,
    wanted: &Wanted,
    progress: &Progress,
) -> Result<u64, DraftError> {
    let blobs = parts.blobs().await?;
    let pins = blobs.pins();
    let followed = || parts.drafts.followed.lock().unwrap_or_else(PoisonError::into_inner);
    let before = followed().get(&wanted.dir).map(|(root, _)| *root);
    let want = Want {
        root: draft.content_root,
        declared: Some(draft.declared()),
        beside: Vec::new(),
        older: before.into_iter().collect(),
        only: None,
    };
    pins.add(BlobId::from(draft.content_root)).await;
    let terms = Terms { pins: &pins, patience: STEP, progress, landing: &Landing::unheard() };
    let cost = Box::pin(fetch::fetch(parts, net, &want, terms)).await?;
    followed().insert(wanted.dir.clone(), (draft.content_root, pins));
    Ok(cost.fetched_bytes)
}
