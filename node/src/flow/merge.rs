//! Merging a release into a working directory: what it would do, doing it, taking it back.
//!
//! | file | does |
//! |---|---|
//! | `text` | merges lines |
//! | `work` | reads the directory |
//! | `apply` | writes it, so that a cut leaves nothing that cannot be taken back |
//! | `back` | gives back what was there, and keeps what somebody saved since |
//! | `settle` | what is left to somebody, and the end of a merge |

mod apply;
mod back;
mod settle;
mod text;
mod work;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use syncra_protocol::entry::{PARENT_LIMIT, Release};
use syncra_protocol::fold::Ancestry;
use syncra_protocol::id::{BlobId, ReleaseId};
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::FileEntry;
use syncra_protocol::tree::merge::{self as trees, Clash, Merged, Outcome};

use super::checkout::{self, Base, BaseError, Conflict, ConflictKind, Unfinished};
use super::lines::{self, TEXT_BYTES};
use super::manifest::ReadManifestError;
use super::peek::{Described, Peek, PeekError};
use super::walk::{ReadError, WalkError};
use super::{Parts, resolve};
use crate::history::{History, LoadError};

pub use apply::apply;
pub use back::Kept;
pub use settle::{abort, finish, pending, solve};
use text::Labels;
pub(super) use text::our_side;
use work::Work;

/// Bytes of all texts that one merge holds in memory. Beyond, files are left to somebody whole.
const ALL_TEXT_BYTES: u64 = 64 << 20;

/// Why nothing was merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The directory was not made by a checkout.
    #[error("`{0}` is no checkout")]
    NoCheckout(String),
    /// What it is based on.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A merge has left something to decide.
    #[error("the last merge is not finished: {}", .0.join(", "))]
    Unsolved(Vec<String>),
    /// A merge was cut off.
    #[error("the last merge was cut off before all files were written")]
    CutOff,
    /// There is no merge to take back or to settle.
    #[error("no merge is under way")]
    NoMerge,
    /// No conflict of that path.
    #[error("`{0}` is none of the conflicts")]
    NoConflict(String),
    /// A file that no release has is where one would be written.
    #[error("`{0}` is in the way, and not part of the package")]
    InTheWay(String),
    /// More parents than a release may have.
    #[error("a release has at most {PARENT_LIMIT} parents")]
    TooMany,
    /// A release.
    #[error(transparent)]
    Peek(#[from] PeekError),
    /// The directory's manifest.
    #[error(transparent)]
    Manifest(#[from] ReadManifestError),
    /// The directory.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A file of it.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing a file.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What is merged in.
#[derive(Debug, Clone)]
pub struct Theirs {
    /// How people name it.
    pub reference: String,
    /// Its id.
    pub id: ReleaseId,
    /// What its entry says.
    pub release: Release,
    /// Its package.
    pub history: Arc<History>,
}

/// What a merge would do.
#[derive(Debug)]
pub struct Plan {
    /// It was merged before: there is nothing to do.
    pub already: bool,
    /// The directory's files were made from releases that theirs comes from too: nothing but theirs is left.
    pub is_forward: bool,
    /// What people should know.
    pub warnings: Vec<String>,
    /// What becomes of each file that changes.
    pub files: Vec<Planned>,
    /// What the directory is based on afterwards.
    base: Base,
    work: Work,
    theirs: Option<Box<Described>>,
}

/// What becomes of one file.
#[derive(Debug)]
pub struct Planned {
    /// By the rules for trees.
    pub outcome: Outcome,
    /// What somebody has to decide.
    pub conflict: Option<ConflictKind>,
    /// Its merged bytes, if both sides changed its lines.
    bytes: Option<Vec<u8>>,
}

impl Plan {
    /// What somebody has to decide.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.files.iter().filter_map(Planned::to_decide).collect()
    }
}

impl Planned {
    /// Whether its lines were merged.
    #[must_use]
    pub const fn is_by_lines(&self) -> bool {
        self.bytes.is_some()
    }

    /// Where their file lies, if somebody has to choose between it and ours.
    #[must_use]
    pub fn beside(&self) -> Option<&EntryPath> {
        let lies_beside = self.bytes.is_none() && matches!(self.outcome.merged, Merged::Both | Merged::Beside);
        self.outcome.beside.as_ref().filter(|_| lies_beside)
    }

    fn to_decide(&self) -> Option<Conflict> {
        let conflict = |kind| Conflict { path: self.outcome.path.clone(), kind, beside: self.beside().cloned() };
        self.conflict.map(conflict)
    }
}

/// What a directory is based on, unless a merge into it is unfinished.
///
/// # Errors
/// [`MergeError`].
pub fn base_of(dir: &Path) -> Result<Base, MergeError> {
    let no_checkout = || MergeError::NoCheckout(dir.display().to_string());
    let base = checkout::read(dir)?.ok_or_else(no_checkout)?;
    check_finished(dir, &base)?;
    Ok(base)
}

/// Whether a publish may go out from a checkout, and another merge begin.
///
/// # Errors
/// [`MergeError::Unsolved`], [`MergeError::CutOff`].
pub fn check_finished(dir: &Path, base: &Base) -> Result<(), MergeError> {
    if base.unfinished.as_ref().is_some_and(|merge| !merge.complete) {
        return Err(MergeError::CutOff);
    }
    let left: Vec<String> = pending(dir, base)?.iter().map(settle::told).collect();
    if left.is_empty() { Ok(()) } else { Err(MergeError::Unsolved(left)) }
}

/// What merging `theirs` into the directory would do.
///
/// # Errors
/// [`MergeError`].
pub async fn plan(parts: &Parts, peek: &Peek<'_>, dir: &Path, theirs: &Theirs) -> Result<Plan, MergeError> {
    let base = base_of(dir)?;
    let root = dir.to_owned();
    let (package, release) = (parts.histories.package(base.package)?, theirs.history.state.package);
    let mut histories: Vec<Arc<History>> = package.into_iter().collect();
    if release != base.package {
        histories.push(Arc::clone(&theirs.history));
    }
    for parent in base.parents() {
        if !histories.iter().any(|history| history.state.releases.contains_key(&parent)) {
            histories.extend(checkout::package_of(parts, parent)?);
        }
    }
    let ancestry = Ancestry::of(histories.iter().map(|history| &history.state));
    let parents = base.parents();
    let mut plan = Plan {
        already: ancestry.past(parents.iter().copied()).contains(&ancestry.canonical(theirs.id)),
        is_forward: false,
        warnings: Vec::new(),
        files: Vec::new(),
        base: base.clone(),
        work: Work::default(),
        theirs: None,
    };
    if plan.already {
        return Ok(plan);
    }
    let common = common(parts, &histories, &ancestry.common(&parents, &[theirs.id]), &mut plan.warnings)?;
    let after: Vec<ReleaseId> = parents.iter().copied().chain([theirs.id]).collect();
    // What is of another package is no line of this one: whoever has only this one must find the way back.
    let after = if release == base.package { ancestry.latest(&after) } else { after };
    if after.len() > PARENT_LIMIT {
        return Err(MergeError::TooMany);
    }
    plan.is_forward = after.len() == 1;
    let before = match &common {
        Some(common) => Some(Box::pin(peek.describe(&common.release)).await?),
        None => None,
    };
    let described = Box::new(Box::pin(peek.describe(&theirs.release)).await?);
    let entries = |of: &Described| of.index.files().iter().map(|file| file.entry.clone()).collect::<Vec<_>>();
    let (base_files, their_files) = (before.as_ref().map(entries).unwrap_or_default(), entries(&described));
    plan.work = blocking(move || Work::read(&root)).await?.with_modes_of(&base_files);
    let outcomes = trees::merge(&base_files, plan.work.entries(), &their_files);
    let label = common.as_ref().map_or("nothing", |common| common.reference.as_str());
    let labels = Labels { base: label, ours: "here", theirs: &theirs.reference };
    plan.files = blend(peek, &plan.work, before.as_ref(), &described, outcomes, labels).await?;
    let unfinished = Unfinished {
        release: base.release,
        merged: base.merged,
        complete: false,
        conflicts: plan.conflicts(),
        touched: vec![],
    };
    plan.base.release = after[0];
    plan.base.merged = after[1..].to_vec();
    plan.base.unfinished = Some(unfinished);
    plan.theirs = Some(described);
    Ok(plan)
}

/// What both sides come from.
struct Common {
    reference: String,
    release: Release,
}

/// The release to compare both sides with: of several the highest version, then the smallest id.
fn common(
    parts: &Parts,
    histories: &[Arc<History>],
    found: &BTreeSet<ReleaseId>,
    warnings: &mut Vec<String>,
) -> Result<Option<Common>, LoadError> {
    let known = found.iter().filter_map(|id| {
        let history = histories.iter().find(|history| history.state.releases.contains_key(id))?;
        Some((history, &history.state.releases[id].release))
    });
    // The last of equal ones would be the largest id: hence the other way round.
    let Some((history, release)) = known.rev().max_by(|a, b| a.1.version.cmp(&b.1.version)) else {
        warnings.push("the two have no release in common that is known here: every file that both have and that differs is a conflict".to_owned());
        return Ok(None);
    };
    let reference = format!("{}@{}", resolve::text(&parts.histories, history.state.package)?, release.version);
    if found.len() > 1 {
        let n = found.len();
        warnings.push(format!(
            "the two lines were merged into each other before: of {n} releases in common {reference} is compared with"
        ));
    }
    Ok(Some(Common { reference, release: release.clone() }))
}

/// Merges the lines of files that both sides changed, and says what is left to somebody.
async fn blend(
    peek: &Peek<'_>,
    work: &Work,
    base: Option<&Described>,
    theirs: &Described,
    outcomes: Vec<Outcome>,
    labels: Labels<'_>,
) -> Result<Vec<Planned>, MergeError> {
    let mut left = ALL_TEXT_BYTES;
    let is_small = |outcome: &Outcome| {
        let sizes =
            [&outcome.base, &outcome.ours, &outcome.theirs].map(|file| file.as_ref().map_or(0, |file| file.size));
        let all = sizes.iter().fold(0_u64, |all, size| all.saturating_add(*size));
        let fits = outcome.merged == Merged::Both && sizes.iter().all(|size| *size <= TEXT_BYTES) && all <= left;
        if fits {
            left -= all;
        }
        fits
    };
    let is_read: Vec<bool> = outcomes.iter().map(is_small).collect();
    let read = || outcomes.iter().zip(&is_read).filter(|(_, is_read)| **is_read).map(|(outcome, _)| outcome);
    if let Some(base) = base {
        peek.bring(base, read().filter_map(|outcome| Some(outcome.base.as_ref()?.hash))).await?;
    }
    peek.bring(theirs, read().filter_map(|outcome| Some(outcome.theirs.as_ref()?.hash))).await?;
    let mut files = Vec::with_capacity(outcomes.len());
    for (outcome, is_read) in outcomes.into_iter().zip(is_read) {
        let merged = if is_read { by_lines(peek, work, base, theirs, &outcome, labels).await? } else { None };
        let conflict = match (&merged, outcome.clash, outcome.merged) {
            (Some((_, n)), _, _) if *n > 0 => Some(ConflictKind::Lines),
            (None, _, Merged::Both) => Some(ConflictKind::Bytes),
            (_, Some(Clash::RemovedByUs), _) => Some(ConflictKind::RemovedHere),
            (_, Some(Clash::RemovedByThem), _) => Some(ConflictKind::RemovedThere),
            (_, Some(Clash::MovedByBoth), _) => Some(ConflictKind::Moved),
            (_, Some(Clash::Place), _) => Some(ConflictKind::Place),
            _ => None,
        };
        files.push(Planned { outcome, conflict, bytes: merged.map(|(bytes, _)| bytes) });
    }
    Ok(files)
}

/// The merged lines of a file and how many conflicts they have; none if it is no text that can be compared.
async fn by_lines(
    peek: &Peek<'_>,
    work: &Work,
    base: Option<&Described>,
    theirs: &Described,
    outcome: &Outcome,
    labels: Labels<'_>,
) -> Result<Option<(Vec<u8>, u32)>, MergeError> {
    let (Some(our_file), Some(their_file)) = (&outcome.ours, &outcome.theirs) else { return Ok(None) };
    let before = match (base, &outcome.base) {
        (Some(base), Some(file)) => read(peek, base, file).await?,
        _ => Vec::new(),
    };
    let after = read(peek, theirs, their_file).await?;
    let ours = work.bytes(our_file)?;
    let labels = [labels.base, labels.ours, labels.theirs].map(str::to_owned);
    blocking(move || {
        let labels = Labels { base: &labels[0], ours: &labels[1], theirs: &labels[2] };
        let texts = [&before, &ours, &after].map(|bytes| lines::text(bytes).filter(|text| lines::is_comparable(text)));
        let [Some(before), Some(ours), Some(theirs)] = texts else { return Ok(None) };
        let merged = text::merge(before, ours, theirs, labels);
        Ok(Some((merged.text.into_bytes(), merged.n_conflicts)))
    })
    .await
}

async fn read(peek: &Peek<'_>, of: &Described, file: &FileEntry) -> Result<Vec<u8>, PeekError> {
    match of.index.find(&file.path) {
        Some(placed) => peek.read(of, placed).await,
        None => Err(PeekError::WrongFile { path: file.path.clone() }),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MergeError> + Send + 'static,
) -> Result<T, MergeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The hashes of their files that are written whole.
fn taken(files: &[Planned]) -> impl Iterator<Item = BlobId> {
    let is_taken = |file: &&Planned| file.outcome.merged == Merged::Theirs || file.beside().is_some();
    files.iter().filter(is_taken).filter_map(|file| Some(file.outcome.theirs.as_ref()?.hash))
}
