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
use tokio::sync::{Semaphore, watch};

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
pub use push::{Pushed, Request, push};

/// Drafts that one node shows at a time.
const DRAFTS: usize = 64;
/// How many of the newest stay fetchable: who was just told of one can still have it when the next is there.
const KEPT: usize = 3;
/// Peers that wait for news at the same time, over all drafts.
const WAITING: usize = 256;

/// What a draft is found by.
type Key = (PackageId, RefName);

/// The drafts of this node, and those that it follows.
#[derive(Debug)]
pub struct Drafts {
    secret: DeviceSecret,
    shown: Mutex<BTreeMap<Key, Shown>>,
    /// One push of a directory after the other.
    pushing: tokio::sync::Mutex<HashMap<PathBuf, repack::Cache>>,
    /// What was applied last in a directory, kept until the next: most of that is the same.
    followed: Mutex<HashMap<PathBuf, (ContentRoot, Pins)>>,
    /// Places of those who wait.
    pub(crate) places: Semaphore,
}

/// A draft that is shown.
#[derive(Debug)]
struct Shown {
    signed: SignedDraft,
    draft: Draft,
    is_public: bool,
    /// The newest contents, newest first; their pins keep them.
    contents: VecDeque<(ContentRoot, Import)>,
    /// The newest rev; whoever waits is told.
    news: watch::Sender<u64>,
}

/// Why there is no draft, or it cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ReadManifestError),
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
            pushing: tokio::sync::Mutex::default(),
            followed: Mutex::default(),
            places: Semaphore::new(WAITING),
        }
    }

    /// Shows a draft no more. False if it was not shown.
    pub fn end(&self, package: PackageId, name: &RefName) -> bool {
        self.shown().remove(&(package, name.clone())).is_some()
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
        let names = |found: &&Shown| found.contents.iter().any(|(content, _)| BlobId::from(*content) == *root);
        let may_see = |found: &Shown| found.is_public || is_collaborator(histories, found.draft.package, peer);
        match shown.values().filter(names).any(may_see) {
            true => Access::Sequence,
            false => Access::None,
        }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<Key, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest draft of this name, if one is shown.
    fn newest(&self, key: &Key) -> Option<Draft> {
        self.shown().get(key).map(|shown| shown.draft.clone())
    }

    /// Shows a draft; `import` holds what it names.
    fn show(&self, draft: Draft, is_public: bool, import: Import) -> Result<(), DraftError> {
        let mut shown = self.shown();
        let key = (draft.package, draft.name.clone());
        if shown.len() >= DRAFTS && !shown.contains_key(&key) {
            return Err(DraftError::TooMany);
        }
        let signed = SignedDraft::sign(&draft, &self.secret);
        let (rev, content) = (draft.rev, (draft.content_root, import));
        match shown.get_mut(&key) {
            Some(found) => {
                found.contents.push_front(content);
                found.contents.truncate(KEPT);
                (found.signed, found.draft, found.is_public) = (signed, draft, is_public);
                found.news.send_replace(rev);
            }
            None => {
                let contents = VecDeque::from([content]);
                let news = watch::Sender::new(rev);
                shown.insert(key, Shown { signed, draft, is_public, contents, news });
            }
        }
        Ok(())
    }
}

/// Whether a device may see drafts that are not public: one that speaks for an owner.
fn is_collaborator(histories: &Histories, package: PackageId, device: &DeviceKey) -> bool {
    let history = histories.package(package).ok().flatten();
    history.is_some_and(|history| speaks(&history.state, device))
}

/// Whether a device speaks for an owner of the package.
fn speaks(state: &PackageState, device: &DeviceKey) -> bool {
    state.owners.keys().any(|owner| state.may_write(owner, device))
}
