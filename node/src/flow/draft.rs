//! Live drafts: a working directory as it is now, for those who work on the package too.
//!
//! A draft is no history. This node holds the newest of each in memory, with its content kept by pins, and tells whoever may
//! know and asks; it ends with the node. Why so: `docs/design/drafts.md`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{BlobId, ContentRoot, PackageId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::message::draft::{Draft, SignedDraft};
use syncra_protocol::name::RefName;
use tokio::sync::watch;

use super::checkout::BaseError;
use super::devices::DevicesError;
use super::manifest::ReadManifestError;
use super::pack::PackTreeError;
use super::release::ReleaseError;
use super::walk::WalkError;
use crate::blobs::{self, Access, BlobError, Import, Pins};
use crate::history::{Histories, LoadError};
use crate::net::frame::FrameError;
use crate::net::{OpenError, Stopped};
use crate::sync::fetch::FetchError;

mod apply;
mod follow;
mod push;
mod repack;

pub use apply::{Applied, ApplyError};
pub use follow::{Followed, Wanted, next};
pub use push::{Pushed, Request, named, push, writable};
pub use repack::Withheld;

/// Drafts that one node shows at a time.
const DRAFTS: usize = 64;
/// How many of the newest stay fetchable: who was just told of one can still have it when the next is there.
const KEPT: usize = 3;
/// Peers that wait for news at the same time, over all drafts.
const WAITING: usize = 256;
/// Of those, of one peer: it waits for one draft with each, and leaves places to others.
const WAITING_PER_PEER: usize = 8;

/// What a draft is found by.
type Key = (PackageId, RefName);

/// The drafts of this node, and those that it follows.
#[derive(Debug)]
pub struct Drafts {
    secret: DeviceSecret,
    shown: Mutex<BTreeMap<Key, Shown>>,
    /// Who waits with each draft for its end: what they show ends with the last of them. Taken after `shown`. Of one that
    /// somebody ended for all nothing is left here, and they hear of it.
    holds: Mutex<HashMap<Key, watch::Sender<()>>>,
    /// What a push that is under way will show, unless that is ended meanwhile. Taken after `shown`.
    under_way: Mutex<Option<Key>>,
    /// One push of a directory after the other.
    pushing: tokio::sync::Mutex<HashMap<PathBuf, repack::Cache>>,
    /// What was applied last in a directory, kept until the next: most of that is the same.
    followed: Mutex<HashMap<PathBuf, (ContentRoot, Pins)>>,
    /// Places of those who wait.
    pub(crate) places: Places,
}

/// Held by whoever shows a draft and stays. What was shown so ends when nobody holds it any more, however they ended.
#[derive(Debug)]
pub struct Hold<'a> {
    drafts: &'a Drafts,
    key: Key,
    end: watch::Receiver<()>,
}

impl Hold<'_> {
    /// Returns when somebody has ended the draft for all who show it.
    pub async fn ended(&self) {
        let mut end = self.end.clone();
        while end.changed().await.is_ok() {}
    }

    fn is_ended(&self) -> bool {
        self.end.has_changed().is_err()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut shown = self.drafts.shown();
        let mut holds = self.drafts.holders();
        // Who holds one of this name after that was ended is somebody else.
        if self.is_ended() || holds.get(&self.key).is_some_and(|holders| holders.receiver_count() > 1) {
            return;
        }
        holds.remove(&self.key);
        if shown.get(&self.key).is_some_and(|found| found.is_held) {
            shown.remove(&self.key);
        }
    }
}

/// The peers that wait, and with how many streams each.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<HashMap<DeviceKey, usize>>);

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    places: &'a Places,
    peer: DeviceKey,
}

impl Places {
    /// A place if there is one now, and the peer does not have its share already.
    pub(crate) fn try_take(&self, peer: DeviceKey) -> Option<Waiting<'_>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = taken.get(&peer).copied().unwrap_or_default();
        if of_peer >= WAITING_PER_PEER || taken.values().sum::<usize>() >= WAITING {
            return None;
        }
        taken.insert(peer, of_peer + 1);
        Some(Waiting { places: self, peer })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.peer) {
            Some(n) if *n > 1 => *n -= 1,
            _ => {
                taken.remove(&self.peer);
            }
        }
    }
}

/// A content, whether it may be public when its draft is, and what holds it: what was not shown to all is not, either, when
/// a later one is.
type Content = (ContentRoot, bool, Import);

/// A draft that is shown.
#[derive(Debug)]
struct Shown {
    signed: SignedDraft,
    draft: Draft,
    is_public: bool,
    /// Whether it ends when nobody holds it.
    is_held: bool,
    /// The newest contents, newest first; their pins keep them.
    contents: VecDeque<Content>,
    /// The newest rev; whoever waits is told.
    news: watch::Sender<u64>,
}

/// Why there is no draft, or it cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ReadManifestError),
    /// What the directory was checked out from.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The directory says no package, and nobody else does.
    #[error("`{}` has no syncra.toml, so nothing says which package this is a draft of", .0.display())]
    NoPackage(PathBuf),
    /// The tree.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Reading and cutting.
    #[error(transparent)]
    Pack(#[from] PackTreeError),
    /// This device has no say in the package.
    #[error("this device does not write to `{0}`")]
    NotAWriter(String),
    /// This device does not speak for its identity.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// More than this node shows.
    #[error("{DRAFTS} drafts are shown already")]
    TooMany,
    /// No such draft here.
    #[error("no draft `{0}` is shown here")]
    NotShown(RefName),
    /// Nobody connected shows it to us.
    #[error("none of {asked} connected devices that may write to the package shows a draft `{name}` to this one")]
    NotFound {
        /// What it would be called.
        name: RefName,
        /// Who was asked.
        asked: usize,
    },
    /// What came is not what it should be.
    #[error("the draft does not verify")]
    Verify(#[from] syncra_protocol::message::draft::DraftError),
    /// Another draft than was asked for, or an older one.
    #[error("the device answered with {0}")]
    Other(&'static str),
    /// A stream broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The network ends.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Content did not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Content cannot be read.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Writing it out.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Drafts {
    /// None yet; those to come are signed with this key.
    #[must_use]
    pub fn new(secret: DeviceSecret) -> Self {
        Self {
            secret,
            shown: Mutex::default(),
            holds: Mutex::default(),
            under_way: Mutex::default(),
            pushing: tokio::sync::Mutex::default(),
            followed: Mutex::default(),
            places: Places::default(),
        }
    }

    /// From now on what is shown with `is_held` stays until this is dropped, and does not outlive it.
    #[must_use]
    pub fn hold(&self, package: PackageId, name: RefName) -> Hold<'_> {
        let key = (package, name);
        let end = self.holders().entry(key.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        Hold { drafts: self, key, end }
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<()>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a draft no more, for one of those who hold it: it ends if that is the only one.
    pub fn leave(&self, package: PackageId, name: &RefName) {
        let key = (package, name.clone());
        let mut shown = self.shown();
        let n_holders = self.holders().get(&key).map_or(0, watch::Sender::receiver_count);
        if n_holders <= 1 && shown.get(&key).is_some_and(|found| found.is_held) {
            shown.remove(&key);
        }
    }

    /// Shows a draft no more, nor what a push of it that is under way has read; who holds it hears that, and what is saved
    /// later is not shown either. False if it was not shown and none is.
    pub fn end(&self, package: PackageId, name: &RefName) -> bool {
        let key = (package, name.clone());
        let mut shown = self.shown();
        let was_under_way = self.under_way().take_if(|pushed| *pushed == key).is_some();
        drop(self.holders().remove(&key));
        shown.remove(&key).is_some() || was_under_way
    }

    /// A push begins or has ended; there is one at a time.
    fn set_under_way(&self, key: Option<Key>) {
        *self.under_way() = key;
    }

    fn under_way(&self) -> MutexGuard<'_, Option<Key>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a draft that is shown keeps this content.
    fn holds(&self, content: ContentRoot) -> bool {
        self.shown().values().any(|found| found.contents.iter().any(|(root, ..)| *root == content))
    }

    /// The newest draft for a peer, and where it hears of the next; none if there is none that it may see.
    #[must_use]
    pub fn see(
        &self,
        histories: &Histories,
        (package, name): &Key,
        peer: &DeviceKey,
    ) -> Option<(u64, SignedDraft, watch::Receiver<u64>)> {
        let shown = self.shown();
        let found = shown.get(&(*package, name.clone()))?;
        let may_see = found.is_public || is_collaborator(histories, *package, peer);
        may_see.then(|| (found.draft.rev, found.signed.clone(), found.news.subscribe()))
    }

    /// What a peer may fetch below a root because a draft names it.
    #[must_use]
    pub fn access(&self, histories: &Histories, root: &BlobId, peer: &DeviceKey) -> Access {
        let shown = self.shown();
        let names = |content: &&Content| BlobId::from(content.0) == *root;
        let may_see = |found: &Shown| {
            let mut named = found.contents.iter().filter(names).peekable();
            named.peek().is_some()
                && (found.is_public && named.any(|(_, is_public, _)| *is_public)
                    || is_collaborator(histories, found.draft.package, peer))
        };
        match shown.values().any(may_see) {
            true => Access::Sequence,
            false => Access::None,
        }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<Key, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every draft that is shown, and whether everybody may see it.
    #[must_use]
    pub fn list(&self) -> Vec<(PackageId, RefName, bool)> {
        self.shown().iter().map(|((package, name), found)| (*package, name.clone(), found.is_public)).collect()
    }

    /// The newest draft of this name, if one is shown.
    fn newest(&self, key: &Key) -> Option<Draft> {
        self.shown().get(key).map(|shown| shown.draft.clone())
    }

    /// The draft that is shown is the one that was read again: only who may see it may be others now.
    fn show_same(&self, key: &Key, is_public: bool, is_held: bool) -> Result<(), DraftError> {
        let mut shown = self.shown();
        self.check_held(key, is_held)?;
        let found = shown.get_mut(key).ok_or_else(|| DraftError::NotShown(key.1.clone()))?;
        found.show_to_all(is_public);
        found.is_held = is_held;
        if let Some((_, newest, _)) = found.contents.front_mut() {
            *newest = is_public;
        }
        Ok(())
    }

    /// Whoever was to hold it may have ended while it was read.
    fn check_held(&self, key: &Key, is_held: bool) -> Result<(), DraftError> {
        match is_held && !self.holders().contains_key(key) {
            true => Err(DraftError::NotShown(key.1.clone())),
            false => Ok(()),
        }
    }

    /// Shows a draft; `import` holds what it names.
    fn show(&self, draft: Draft, is_public: bool, is_held: bool, import: Import) -> Result<(), DraftError> {
        let mut shown = self.shown();
        let key = (draft.package, draft.name.clone());
        if self.under_way().as_ref() != Some(&key) {
            return Err(DraftError::NotShown(draft.name));
        }
        self.check_held(&key, is_held)?;
        if shown.len() >= DRAFTS && !shown.contains_key(&key) {
            return Err(DraftError::TooMany);
        }
        let signed = SignedDraft::sign(&draft, &self.secret);
        let (rev, content) = (draft.rev, (draft.content_root, is_public, import));
        match shown.get_mut(&key) {
            Some(found) => {
                found.show_to_all(is_public);
                found.contents.push_front(content);
                found.contents.truncate(KEPT);
                found.is_held = is_held;
                (found.signed, found.draft) = (signed, draft);
                found.news.send_replace(rev);
            }
            None => {
                let contents = VecDeque::from([content]);
                let news = watch::Sender::new(rev);
                shown.insert(key, Shown { signed, draft, is_public, is_held, contents, news });
            }
        }
        Ok(())
    }
}

impl Shown {
    /// From now on it is public, or not; what was not public so far stays so.
    fn show_to_all(&mut self, is_public: bool) {
        self.is_public = is_public;
        if !is_public {
            for (_, was_public, _) in &mut self.contents {
                *was_public = false;
            }
        }
    }
}

/// Whether a device may see drafts that are not public: one of somebody who works on the package.
fn is_collaborator(histories: &Histories, package: PackageId, device: &DeviceKey) -> bool {
    let history = histories.package(package).ok().flatten();
    history.is_some_and(|history| speaks(&history.state, device))
}

/// Whether a device speaks for somebody who has a role in the package now, be it to publish onto branches.
fn speaks(state: &PackageState, device: &DeviceKey) -> bool {
    state.owners.keys().any(|who| state.role(who, device).is_some())
}

#[cfg(test)]
mod tests {
    use syncra_protocol::id::TreeId;

    use super::*;
    use crate::flow::fixture;

    #[tokio::test]
    async fn what_was_not_public_stays_so_when_the_draft_becomes_public() {
        let dir = tempfile::tempdir().unwrap();
        let parts = fixture::open(dir.path()).await;
        let stranger = DeviceSecret::from_seed(&[7; 32]).public();
        let key = (PackageId::from_bytes([1; 32]), RefName::stable());
        let root = |n| ContentRoot::from_bytes([n; 32]);
        let drafts = &parts.drafts;
        let show = async |n: u8, is_public| {
            let draft = Draft {
                package: key.0,
                name: key.1.clone(),
                rev: n.into(),
                tree_id: TreeId::from_bytes([n; 32]),
                content_root: root(n),
                total_bytes: 1,
                n_files: 1,
            };
            drafts.set_under_way(Some(key.clone()));
            let import = parts.blobs().await.unwrap().import();
            drafts.show(draft, is_public, false, import).unwrap();
        };
        let seen = || [1, 2].map(|n| drafts.access(&parts.histories, &root(n).into(), &stranger) == Access::Sequence);
        show(1, false).await;
        show(2, false).await;
        assert_eq!(seen(), [false, false]);
        drafts.show_same(&key, true, false).unwrap();
        assert_eq!(seen(), [false, true]);
        assert!(drafts.see(&parts.histories, &key, &stranger).is_some());
        drafts.show_same(&key, false, false).unwrap();
        assert_eq!(seen(), [false, false]);
        assert!(drafts.see(&parts.histories, &key, &stranger).is_none());
        // One that ended is not shown again by a push that began before.
        assert!(drafts.end(key.0, &key.1));
        assert!(drafts.show_same(&key, true, false).is_err());
        assert!(!drafts.end(key.0, &key.1));
    }

    #[tokio::test]
    async fn what_is_held_ends_with_the_last_who_holds_it_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let parts = fixture::open(dir.path()).await;
        let key = (PackageId::from_bytes([1; 32]), RefName::stable());
        let drafts = &parts.drafts;
        let show = async |is_held| {
            let draft = Draft {
                package: key.0,
                name: key.1.clone(),
                rev: 1,
                tree_id: TreeId::from_bytes([1; 32]),
                content_root: ContentRoot::from_bytes([1; 32]),
                total_bytes: 1,
                n_files: 1,
            };
            drafts.set_under_way(Some(key.clone()));
            let import = parts.blobs().await.unwrap().import();
            drafts.show(draft, true, is_held, import)
        };
        let is_shown = || drafts.newest(&key).is_some();
        assert!(matches!(show(true).await, Err(DraftError::NotShown(_))), "who was to hold it has ended already");
        let [first, second] = [1, 2].map(|_| drafts.hold(key.0, key.1.clone()));
        show(true).await.unwrap();
        drop(first);
        assert!(is_shown());
        drop(second);
        assert!(!is_shown());
        // What was ended for all is not shown again by who held it, and their going ends nothing that comes after.
        let fourth = drafts.hold(key.0, key.1.clone());
        show(true).await.unwrap();
        assert!(drafts.end(key.0, &key.1));
        fourth.ended().await;
        assert!(matches!(show(true).await, Err(DraftError::NotShown(_))));
        let fifth = drafts.hold(key.0, key.1.clone());
        show(true).await.unwrap();
        drop(fourth);
        let sixth = drafts.hold(key.0, key.1.clone());
        drafts.leave(key.0, &key.1);
        assert!(is_shown(), "somebody else holds it");
        drop(sixth);
        drafts.leave(key.0, &key.1);
        assert!(!is_shown());
        drop(fifth);
        // What somebody showed to stay does so.
        let third = drafts.hold(key.0, key.1.clone());
        show(true).await.unwrap();
        drafts.show_same(&key, true, false).unwrap();
        drop(third);
        assert!(is_shown());
    }

    #[test]
    fn a_peer_with_many_streams_leaves_places_to_others() {
        let places = Places::default();
        let [one, other] = [1, 2].map(|n| DeviceSecret::from_seed(&[n; 32]).public());
        let mut held: Vec<_> = std::iter::from_fn(|| places.try_take(one)).collect();
        assert_eq!(held.len(), WAITING_PER_PEER);
        assert!(places.try_take(other).is_some());
        held.pop();
        assert!(places.try_take(one).is_some());
    }
}
