//! Proposing changes to a package, by anybody, and saying what one thinks of them.
//!
//! What is proposed is a release in a package of the proposer's own that has no name: its owner is who proposes, its releases
//! have those of the target as parents. So it is published, found, fetched, compared and merged like every package. A small
//! signed record ties it to the target; holders of the target keep records and hand them on.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _, stream};
use syncra_protocol::bounded::Blob;
use syncra_protocol::entry::Role;
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{IdentityId, PackageId, ReleaseId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::{OFFERED_RECORDS, PROPOSAL_RECORDS, REVIEWS_PER_IDENTITY};
use syncra_protocol::proposal::{Record, RecordError, Said, Statement, Verdict};

use super::publish::{self, PublishError, Published};
use super::{Parts, seek};
use crate::durable::WriteError;
use crate::event::Event;
use crate::history::{History, LoadError};
use crate::node::Online;
use crate::progress::Progress;
use crate::proposals::{Standing, Taken, Tie};
use crate::sync::ask;

/// Connected peers who are asked, or told, at most.
const PEERS: usize = 16;
/// Peers to whom news is handed on: those tell others.
const HANDED_ON: usize = 8;
/// How long handing on may take altogether.
const HAND_ON: Duration = Duration::from_secs(20);

/// Why nothing was proposed or said.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Publishing what is proposed.
    #[error(transparent)]
    Publish(#[from] Box<PublishError>),
    /// The directory is no checkout.
    #[error("`{0}` is no checkout, so it is not known what it could be proposed to")]
    NoCheckout(String),
    /// No proposal of that name is known.
    #[error("no proposal `{0}` is known here")]
    Unknown(String),
    /// Several begin so.
    #[error("`{0}` could be several proposals")]
    Ambiguous(String),
    /// A text that a record may not have.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// All places of this identity are taken.
    #[error("this identity has written all {REVIEWS_PER_IDENTITY} reviews that it may about this proposal")]
    TooMany,
    /// Only the proposer and those who may write to the package close a proposal.
    #[error("this device neither made the proposal nor may it write to the package")]
    NotYours,
    /// Records cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What became of a record that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It is kept, and was not here before.
    New,
    /// It, or a later one, was here.
    Had,
    /// It is not kept.
    Refused,
}

impl Came {
    /// Whether others should hear of it.
    #[must_use]
    pub const fn is_new(self) -> bool {
        matches!(self, Self::New)
    }

    /// Whether it, or a later one, is here.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::New | Self::Had)
    }
}

/// Whether records about a package are kept and shown to peers: it is held here, and not blocked.
#[must_use]
pub fn is_kept(parts: &Parts, package: PackageId) -> bool {
    let history = parts.histories.package(package).ok().flatten();
    history.is_some_and(|history| !parts.is_blocked(&history.state))
}

/// The records about a package that peers are told: of nobody who is blocked here, nor about what such people propose.
#[must_use]
pub fn told(parts: &Parts, package: PackageId) -> Vec<Record> {
    let mut records = parts.proposals.of(package);
    records.retain(|record| !is_muted(parts, record));
    // What was said here always has a place, an answer has not.
    records.truncate(PROPOSAL_RECORDS);
    records
}

/// Whether a record is by somebody who is blocked, or about something of theirs. It may have come before the block.
fn is_muted(parts: &Parts, record: &Record) -> bool {
    let Statement { by, proposal, .. } = record.statement();
    let proposed = parts.histories.package(*proposal).ok().flatten();
    is_blocked(parts, by) || proposed.is_some_and(|own| parts.is_blocked(&own.state))
}

/// What is known here of a record's author; none: its device does not speak for the identity, as far as its logs are known.
#[must_use]
pub fn standing(parts: &Parts, record: &Record) -> Option<Standing> {
    let Statement { by, device, target, .. } = record.statement();
    let is_own = *by == parts.identity();
    let has_role = || {
        let history = parts.histories.package(*target).ok().flatten();
        history.is_some_and(|history| history.state.rights.role(by).is_some())
    };
    let is_trusted = || parts.histories.journal().truth().regard(by) == crate::journal::Regard::Trusted;
    match parts.histories.identity(*by) {
        Ok(Some(state)) if !state.is_active(device) => None,
        Ok(Some(_)) if is_own => Some(Standing::Own),
        Ok(Some(_)) if is_trusted() || has_role() => Some(Standing::Trusted),
        Ok(Some(_)) => Some(Standing::Known),
        Ok(None) => Some(Standing::Stranger),
        Err(error) => {
            tracing::warn!(%error, "whose a record is cannot be read");
            Some(Standing::Stranger)
        }
    }
}

/// What ties this node to a package, given those that are installed.
fn tie(parts: &Parts, package: PackageId, is_installed: impl Fn() -> bool) -> Tie {
    let history = parts.histories.package(package).ok().flatten();
    let has_role = history.is_some_and(|history| history.state.rights.role(&parts.identity()).is_some());
    let is_followed = || parts.histories.journal().truth().is_followed(&package);
    match () {
        () if has_role => Tie::Own,
        () if is_followed() || is_installed() => Tie::Followed,
        () => Tie::Held,
    }
}

/// Takes in records that a peer brought, on a thread that may wait for the disk. What became of each.
pub async fn take_in(parts: &Arc<Parts>, from: DeviceKey, records: Vec<Record>) -> Vec<(Record, Came)> {
    let parts = Arc::clone(parts);
    blocking(move || {
        let one = |record: Record| (record.clone(), take_in_one(&parts, from, record));
        records.into_iter().map(one).collect()
    })
    .await
}

fn take_in_one(parts: &Parts, from: DeviceKey, record: Record) -> Came {
    let target = record.statement().target;
    if !is_kept(parts, target) || is_blocked(parts, &record.statement().by) {
        return Came::Refused;
    }
    let Some(_) = standing(parts, &record) else { return Came::Refused };
    match keep(parts, Some(from), record) {
        Ok(Taken::New) => Came::New,
        Ok(Taken::Had) => Came::Had,
        Ok(Taken::Full | Taken::TooSoon) => Came::Refused,
        Err(error) => {
            tracing::warn!(%error, "a record cannot be kept");
            Came::Refused
        }
    }
}

fn is_blocked(parts: &Parts, identity: &IdentityId) -> bool {
    parts.histories.journal().truth().regard(identity) == crate::journal::Regard::Blocked
}

/// Runs what waits for the disk where waiting is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn keep(parts: &Parts, from: Option<DeviceKey>, record: Record) -> Result<Taken, WriteError> {
    let standing = |record: &Record| standing(parts, record);
    // Read once, and only when something has to make place.
    let installed = LazyCell::new(|| parts.installed.current().map(|current| current.packages).unwrap_or_default());
    let tie = |package| tie(parts, package, || installed.contains_key(&package));
    let taken = parts.proposals.take(record.clone(), from, (standing, tie), Instant::now())?;
    if taken == Taken::New
        && let Statement { target, proposal, said: Said::Proposal { title, is_withdrawn: false, .. }, .. } =
            record.statement()
    {
        parts.emit(Event::Proposed { package: *target, proposal: *proposal, title: title.clone() });
    }
    Ok(taken)
}

/// Publishes the directory as a release of a proposal and says so. Calling again adds a release to it.
///
/// # Errors
/// [`ProposeError`].
pub async fn propose(
    parts: &Arc<Parts>,
    plan: publish::Plan,
    title: &str,
    progress: &Progress,
) -> Result<(Published, Record), ProposeError> {
    let no_checkout = || ProposeError::NoCheckout(plan.dir.display().to_string());
    let (target, place) = (plan.base.as_ref().map(|base| base.package).ok_or_else(no_checkout)?, plan.place());
    let done = Box::pin(publish::publish(parts, plan, progress)).await.map_err(Box::new)?;
    let said = Said::Proposal {
        class: place.class,
        name: place.name,
        release: done.release_id,
        title: title.to_owned(),
        is_withdrawn: false,
    };
    let (parts, proposal) = (Arc::clone(parts), done.package);
    let record = blocking(move || say(&parts, target, proposal, 0, said)).await?;
    Ok((done, record))
}

/// Says what this identity thinks of a proposal. Waits for the disk.
///
/// # Errors
/// [`ProposeError`].
pub fn review(parts: &Parts, of: &Record, verdict: Verdict, text: &str) -> Result<Record, ProposeError> {
    let Statement { target, proposal, said, .. } = of.statement();
    let Said::Proposal { release, .. } = said else { return Err(ProposeError::Unknown(proposal.to_string())) };
    let own = parts.identity();
    let mine = parts.proposals.of(*target).into_iter().filter(|record| {
        let slot = record.slot();
        slot.proposal == *proposal && slot.by == own && slot.is_review
    });
    let used: BTreeSet<u8> = mine.map(|record| record.statement().number).collect();
    let limit = u8::try_from(REVIEWS_PER_IDENTITY).unwrap_or(u8::MAX);
    let number = (0..limit).find(|number| !used.contains(number)).ok_or(ProposeError::TooMany)?;
    say(parts, *target, *proposal, number, Said::Review { release: *release, verdict, text: text.to_owned() })
}

/// Takes a proposal back, if it is this identity's; else closes it, if this device may write to the package. Waits
/// for the disk.
///
/// # Errors
/// [`ProposeError`].
pub fn close(parts: &Parts, of: &Record, text: &str) -> Result<Record, ProposeError> {
    let Statement { target, proposal, by, said, .. } = of.statement();
    if *by == parts.identity()
        && let Said::Proposal { class, name, release, title, .. } = said.clone()
    {
        let said = Said::Proposal { class, name, release, title, is_withdrawn: true };
        return say(parts, *target, *proposal, 0, said);
    }
    let history = parts.histories.package(*target)?;
    let may = history.is_some_and(|history| history.state.may_write(&parts.identity(), &parts.device));
    if may { review(parts, of, Verdict::Close, text) } else { Err(ProposeError::NotYours) }
}

fn say(parts: &Parts, target: PackageId, proposal: PackageId, number: u8, said: Said) -> Result<Record, ProposeError> {
    let (by, device) = (parts.identity(), parts.device);
    let mut statement = Statement { target, proposal, by, device, number, rev: 0, said };
    let slot = parts.histories.sign_record(statement.clone())?.slot();
    let known = parts.proposals.of(target).into_iter().find(|record| record.slot() == slot);
    if let Some(known) = known.as_ref().filter(|known| known.statement().said == statement.said) {
        return Ok(known.clone());
    }
    statement.rev = known.map_or(0, |known| known.statement().rev.saturating_add(1));
    let record = parts.histories.sign_record(statement)?;
    keep(parts, None, record.clone())?;
    Ok(record)
}

/// Brings records to whoever is connected and to those who provide the package, for so long. How many peers keep one.
pub async fn hand_out(online: &Online, package: PackageId, records: &[Record], within: Duration) -> usize {
    let n_told = std::sync::atomic::AtomicUsize::new(0);
    let told = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let tell = |peer: DeviceKey| {
        let (n_told, told) = (&n_told, Arc::clone(&told));
        async move {
            let is_first =
                told.lock().is_ok_and(|mut told: std::sync::MutexGuard<'_, BTreeSet<DeviceKey>>| told.insert(peer));
            if is_first && offer(online, peer, records).await {
                n_told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    };
    let peers = connected(online, PEERS).await;
    let all = stream::iter(peers).for_each_concurrent(None, tell);
    let asking = seek::providers(online, package.into(), all, |peer| tell(peer).boxed(), || false);
    // What was told in time was told.
    drop(tokio::time::timeout(within, Box::pin(asking)).await);
    n_told.into_inner()
}

/// Tells a few of those who are connected what was new here.
pub async fn hand_on(online: &Online, records: &[Record], from: Option<DeviceKey>) {
    let peers = connected(online, HANDED_ON + 1).await.into_iter().filter(|peer| Some(*peer) != from);
    let telling = stream::iter(peers.take(HANDED_ON)).for_each_concurrent(None, |peer| async move {
        offer(online, peer, records).await;
    });
    drop(tokio::time::timeout(HAND_ON, telling).await);
}

/// Takes in what is known about a package by whoever is connected or provides it, for so long, its news too. How many answered.
pub async fn gather(parts: &Arc<Parts>, online: &Online, package: PackageId, within: Duration) -> usize {
    let n_answered = std::sync::atomic::AtomicUsize::new(0);
    let listen = |peer: DeviceKey| {
        let n_answered = &n_answered;
        async move {
            // What became of one shows in the history alone.
            drop(online.sync.refresh(package, Some(vec![peer])).await);
            match ask::proposals(&online.net, peer, package).await {
                Ok(records) => {
                    n_answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let about = records.into_iter().filter(|record| record.statement().target == package);
                    drop(take_in(parts, peer, about.collect()).await);
                }
                Err(failure) => ask::count(&online.net, peer, failure).await,
            }
        }
    };
    let peers = connected(online, PEERS).await;
    let all = stream::iter(peers).for_each_concurrent(None, listen);
    let asking = seek::providers(online, package.into(), all, |peer| listen(peer).boxed(), || false);
    drop(tokio::time::timeout(within, Box::pin(asking)).await);
    n_answered.into_inner()
}

async fn connected(online: &Online, max: usize) -> Vec<DeviceKey> {
    online.net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).take(max).collect()
}

async fn offer(online: &Online, peer: DeviceKey, records: &[Record]) -> bool {
    let mut is_kept = false;
    for part in records.chunks(OFFERED_RECORDS) {
        let bytes = part.iter().map(|record| Blob(record.bytes().to_vec())).collect();
        match ask::offer_records(&online.net, peer, bytes).await {
            Ok(n_kept) => is_kept |= n_kept > 0,
            Err(failure) => {
                ask::count(&online.net, peer, failure).await;
                return is_kept;
            }
        }
    }
    is_kept
}

/// A proposal as it stands.
#[derive(Debug, Clone)]
pub struct Standpoint {
    /// The proposal's own record.
    pub record: Record,
    /// What is known of its author.
    pub standing: Option<Standing>,
    /// What became of it.
    pub state: State,
    /// What was said about it, in the order of identities and numbers, with what is known of the authors.
    pub reviews: Vec<(Record, Option<Standing>)>,
}

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Open,
    /// A release of the package has one of it among its parents.
    Merged,
    /// Its author took it back.
    Withdrawn,
    /// Somebody who may write to the package closed it.
    Closed,
}

impl State {
    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Withdrawn => "withdrawn",
            Self::Closed => "closed",
        }
    }
}

/// The proposals to a package that are known here; those whose author does not own what is proposed are left out, as far as
/// that is known.
///
/// # Errors
/// [`LoadError`].
pub fn of(parts: &Parts, history: &History) -> Result<Vec<Standpoint>, LoadError> {
    let records = parts.proposals.of(history.state.package);
    let mut found = Vec::new();
    for record in records.iter().filter(|record| !record.slot().is_review) {
        let proposed = parts.histories.package(record.statement().proposal)?;
        let is_owner = proposed.as_ref().is_none_or(|own| owns(&own.state, &record.statement().by));
        if !is_owner || standing(parts, record).is_none() || is_muted(parts, record) {
            continue;
        }
        let about = |review: &&Record| {
            let slot = review.slot();
            slot.is_review && slot.proposal == record.statement().proposal
        };
        let reviews: Vec<(Record, Option<Standing>)> = records
            .iter()
            .filter(about)
            .map(|review| (review.clone(), standing(parts, review)))
            .filter(|(_, standing)| standing.is_some())
            .collect();
        let state = state_of(history, proposed.as_deref(), record, &reviews);
        // What somebody who is blocked says is not shown; what it does to a proposal stays done.
        let reviews = reviews.into_iter().filter(|(review, _)| !is_blocked(parts, &review.statement().by)).collect();
        let standing = standing(parts, record);
        found.push(Standpoint { record: record.clone(), standing, state, reviews });
    }
    Ok(found)
}

/// Whose word about an own package counts as its author's: who owns it now, not who began it.
fn owns(state: &PackageState, by: &IdentityId) -> bool {
    state.rights.role(by) == Some(Role::Owner)
}

fn state_of(
    history: &History,
    proposed: Option<&History>,
    record: &Record,
    reviews: &[(Record, Option<Standing>)],
) -> State {
    let Said::Proposal { is_withdrawn, .. } = &record.statement().said else { return State::Open };
    // Only what stands in its own history: a record may name any release of the package as its own.
    let its_releases: BTreeSet<ReleaseId> =
        proposed.into_iter().flat_map(|own| own.state.releases.keys().copied()).collect();
    let mut parents = history.state.releases.values().flat_map(|published| &published.release.parents);
    let may_close = |record: &Record| {
        let Statement { by, device, said, .. } = record.statement();
        matches!(said, Said::Review { verdict: Verdict::Close, .. }) && history.state.may_write(by, device)
    };
    match () {
        () if parents.any(|parent| its_releases.contains(parent)) => State::Merged,
        () if *is_withdrawn => State::Withdrawn,
        () if reviews.iter().any(|(record, _)| may_close(record)) => State::Closed,
        () => State::Open,
    }
}

/// The proposal that somebody names by its package's id, or by the beginning of it.
///
/// # Errors
/// [`ProposeError`].
pub fn find(parts: &Parts, text: &str) -> Result<Record, ProposeError> {
    let id = text.strip_prefix("syncra:").unwrap_or(text);
    let id = id.split('@').next().unwrap_or(id);
    if id.len() < 4 {
        return Err(ProposeError::Unknown(text.to_owned()));
    }
    let all = parts.proposals.packages().into_iter().flat_map(|package| parts.proposals.of(package));
    let is_meant = |record: &Record| {
        let slot = record.slot();
        !slot.is_review && slot.proposal.to_string().starts_with(id) && standing(parts, record).is_some()
    };
    let mut found: Vec<Record> = all.filter(is_meant).collect();
    // Somebody else's record about the same package is no other proposal: its owner's counts, where that is known.
    found.retain(|record| {
        let proposed = parts.histories.package(record.statement().proposal).ok().flatten();
        proposed.is_none_or(|own| owns(&own.state, &record.statement().by))
    });
    let ids: BTreeSet<PackageId> = found.iter().map(|record| record.statement().proposal).collect();
    match ids.len() {
        0 => Err(ProposeError::Unknown(text.to_owned())),
        // Of several claims to it any will do until its history is here, which says whose it is.
        1 => Ok(found.remove(0)),
        _ => Err(ProposeError::Ambiguous(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, open};

    /// A package that was handed on is its new owner's, also as a proposal.
    #[tokio::test]
    async fn what_is_proposed_is_its_present_owners() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let published = Draft::new("lamp", "1.0.0").publish(&parts).await;
        let mut state = parts.histories.package(published.package).unwrap().unwrap().state.clone();
        let (me, next) = (parts.identity(), IdentityId::from_bytes([7; 32]));
        assert!(owns(&state, &me) && !owns(&state, &next));
        state.rights.roles = [(next, Role::Owner), (me, Role::Maintainer)].into();
        assert!(!owns(&state, &me) && owns(&state, &next));
        parts.close().await;
    }
}
