//! A repository's history becomes a package's: looked at first, then packed, and only then signed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use syncra_protocol::fold::{PackageState, VersionState};
use syncra_protocol::id::{BlobId, ContentRoot, PackageId, ReleaseId};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::{PackageName, RefName};
use syncra_protocol::tree::Declared;
use syncra_protocol::version::Version;
use tokio::sync::mpsc;

use super::manifests::{Described, Manifests};
use super::object::Type;
use super::pack::{Item, TreePacker};
use super::program::{Git, Objects};
use super::survey::{Commit, MESSAGE_BYTES, Survey};
use super::trees::Checker;
use super::{GitError, Left, Skip, joined, note, write};
use crate::blobs::Import;
use crate::flow::publish::{self, PublishError};
use crate::flow::{Parts, devices, resolve};
use crate::history::History;
use crate::journal::OwnRoot;
use crate::progress::Progress;

/// Blobs on their way to the store at once, and as many waiting: what bounds memory.
const IN_FLIGHT: usize = 16;
/// Records handed to the journal at once: it writes as many with one sync.
const RECORDS: usize = 256;

/// What to take in, and as what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The repository.
    pub dir: PathBuf,
    /// The package's name; else what `syncra.toml` of the checked-out branch says.
    pub name: Option<PackageName>,
    /// Its kind; else what `syncra.toml` says.
    pub kind: Option<PackageKind>,
    /// The channel that will point to the highest version.
    pub channel: RefName,
    /// What may be left out.
    pub skip: Skip,
    /// Paths that may hold what looks like a secret.
    pub allow_secrets: Vec<String>,
}

/// What would be taken in: all of it was looked at but the bytes of files.
#[derive(Debug)]
pub struct Plan {
    /// The package's name.
    pub name: PackageName,
    /// Its kind.
    pub kind: PackageKind,
    /// The package, unless this would begin it.
    pub package: Option<PackageId>,
    /// Commits that are not releases yet.
    pub new_commits: u64,
    /// Commits without files: no release can stand for them.
    pub without_files: u64,
    /// What is left out because it was to be.
    pub left: Left,
    pub(super) request: Request,
    pub(super) git: Git,
    pub(super) survey: Survey,
    /// Per commit: whether it is a release already, is to become one, or has no files.
    pub(super) standings: Vec<Standing>,
    /// For commits without files, the nearest with files.
    stand_ins: HashMap<u32, Vec<u32>>,
}

/// What a commit is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Known(ReleaseId),
    New,
    WithoutFiles,
}

impl Plan {
    /// Commits of the repository.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.survey.commits.len() as u64
    }

    /// Branches and tags of the repository.
    #[must_use]
    pub fn refs(&self) -> (u64, u64) {
        (self.survey.branches.len() as u64, self.survey.tags.len() as u64)
    }

    /// The nearest commits with files: the commit itself, or what stands for one without.
    pub(super) fn with_files(&self, commit: u32) -> Vec<u32> {
        nearest(&self.stand_ins, commit)
    }
}

/// What stands for each commit without files, found once: a long row of them would else be walked for each of its children.
fn stand_ins(commits: &[Commit], standings: &[Standing]) -> HashMap<u32, Vec<u32>> {
    let mut known = HashMap::new();
    for ((at, commit), standing) in (0..).zip(commits).zip(standings) {
        if *standing != Standing::WithoutFiles {
            continue;
        }
        let mut found = Vec::new();
        for nearest in commit.parents.iter().flat_map(|parent| nearest(&known, *parent)) {
            // More are no parents of any release.
            if found.len() < write::PARENTS && !found.contains(&nearest) {
                found.push(nearest);
            }
        }
        known.insert(at, found);
    }
    known
}

fn nearest(stand_ins: &HashMap<u32, Vec<u32>>, commit: u32) -> Vec<u32> {
    stand_ins.get(&commit).cloned().unwrap_or_else(|| vec![commit])
}

/// What was taken in.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The package.
    pub package: PackageId,
    /// Releases that are new.
    pub releases: u64,
    /// Entries that were signed.
    pub entries: u64,
    /// Versions that tags name and that are new.
    pub versions: Vec<Version>,
    /// Branches and tags that were made or moved.
    pub moved: Vec<String>,
    /// Branches and tags that stay where they are, because somebody else than an import moved them; and names that are no
    /// ref names here.
    pub kept: Vec<String>,
    /// Versions whose `syncra.toml` cannot be used, and why: they need nothing and ask for nothing.
    pub plain: Vec<(Version, String)>,
    /// What was left out because it was to be.
    pub left: Left,
    /// Files that are only pointers of git's large-file storage.
    pub lfs_pointers: u64,
    /// Bytes that were not in the store before.
    pub new_bytes: u64,
}

/// Looks at a repository; changes nothing.
///
/// # Errors
/// [`GitError`] for the first thing that stands in the way.
pub async fn plan(parts: &Arc<Parts>, request: Request, progress: &Progress) -> Result<Plan, GitError> {
    let (parts, progress) = (parts.clone(), progress.clone());
    joined(tokio::task::spawn_blocking(move || look(&parts, request, &progress)).await)
}

fn look(parts: &Parts, request: Request, progress: &Progress) -> Result<Plan, GitError> {
    let git = Git::open(&request.dir)?;
    let survey = Survey::read(&git)?;
    let mut objects = git.objects()?;
    let (name, kind) = called(&request, &survey, &mut objects)?;
    let history = publish::own_package(parts, &name).map_err(Box::new)?;
    let state = history.as_deref().map(|history| &history.state);
    if let Some(state) = state {
        may_write(parts, &name, kind, state)?;
    }
    let allowed: HashSet<String> = request.allow_secrets.iter().cloned().collect();
    let mut checker = Checker::new(&mut objects, request.skip, &allowed);
    let total = survey.commits.len() as u64;
    let mut standings = Vec::with_capacity(survey.commits.len());
    for (done, commit) in (1..).zip(&survey.commits) {
        progress.items("check", done, Some(total));
        standings.push(match state.and_then(|state| published(state, &commit.version())) {
            Some(release) => Standing::Known(release),
            None if checker.check(commit.id, commit.tree)? => Standing::New,
            None => Standing::WithoutFiles,
        });
    }
    let left = checker.left;
    let n = |wanted: fn(&Standing) -> bool| standings.iter().filter(|standing| wanted(standing)).count() as u64;
    let (new_commits, without_files) =
        (n(|standing| *standing == Standing::New), n(|standing| *standing == Standing::WithoutFiles));
    if without_files == total {
        return Err(GitError::Empty);
    }
    let package = state.map(|state| state.package);
    let stand_ins = stand_ins(&survey.commits, &standings);
    Ok(Plan { name, kind, package, new_commits, without_files, left, request, git, survey, standings, stand_ins })
}

/// Name and kind of the package.
fn called(request: &Request, survey: &Survey, objects: &mut Objects) -> Result<(PackageName, PackageKind), GitError> {
    let written = match survey.head.map(|head| survey.commits[head as usize].tree) {
        Some(tree) if request.name.is_none() || request.kind.is_none() => Manifests::default().read(objects, tree)?,
        _ => None,
    };
    let header = written.and_then(Result::ok).map(|manifest| manifest.header);
    let missing = |missing| Box::new(PublishError::Plain { dir: request.dir.clone(), missing });
    let name = request.name.clone().or_else(|| header.as_ref().map(|header| header.name.clone()));
    let kind = request.kind.or_else(|| header.as_ref().map(|header| header.kind));
    Ok((name.ok_or_else(|| missing("name"))?, kind.ok_or_else(|| missing("kind"))?))
}

/// Whether this device may go on with the package.
pub(super) fn may_write(
    parts: &Parts,
    name: &PackageName,
    kind: PackageKind,
    state: &PackageState,
) -> Result<(), GitError> {
    let was = state.genesis.kind;
    if was != kind {
        return Err(Box::new(PublishError::KindChanged { name: name.clone(), was }).into());
    }
    match state.may_write(&parts.identity(), &parts.device) {
        true => Ok(()),
        false => {
            devices::ensure_voice(parts, state).map_err(Box::new)?;
            Err(GitError::NotAWriter(name.clone()))
        }
    }
}

/// The release that has a version. What a device that does not count any more left behind takes none.
pub(super) fn published(state: &PackageState, version: &Version) -> Option<ReleaseId> {
    match state.versions.get(version)? {
        VersionState::Settled(release) => Some(*release),
        VersionState::Contested(releases) | VersionState::Forked(releases) => releases.first().copied(),
        VersionState::Revoked(_) => None,
    }
}

/// A commit or tag whose content is in the store.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) declared: Declared,
    pub(super) manifest: BlobId,
    pub(super) note: BlobId,
    pub(super) described: Described,
}

/// Everything that releases will name.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// By place of the commit.
    pub(super) commits: HashMap<u32, Ready>,
    /// By place of the tag in the survey.
    pub(super) tags: HashMap<usize, Ready>,
    pub(super) left: Left,
    pub(super) lfs_pointers: u64,
}

/// Takes in what was planned.
///
/// # Errors
/// [`GitError`]; then nothing was signed, or what was signed is whole by itself and the same call goes on from there.
pub async fn import(parts: &Arc<Parts>, plan: Plan, progress: &Progress) -> Result<Imported, GitError> {
    let blobs = parts.blobs().await?;
    let import = blobs.import();
    let plan = Arc::new(plan);
    let known = known_trees(parts, &plan)?;
    let (out, arriving) = mpsc::channel::<Item>(IN_FLIGHT);
    let packing = {
        let (parts, plan, progress) = (parts.clone(), plan.clone(), progress.clone());
        tokio::task::spawn_blocking(move || pack(&parts, &plan, &known, &out, &progress))
    };
    let (stored, packed) = futures::join!(store(&import, arriving), packing);
    // The store first: when it fails it takes nothing more, which ends the packing too, and its error is the one to tell.
    stored?;
    let packed = joined(packed)?;
    progress.items("sync", 0, None);
    import.sync().await?;
    let done = write::write(parts, &plan, &packed, progress).await?;
    let new_bytes = import.totals().new_bytes;
    Ok(Imported { new_bytes, lfs_pointers: packed.lfs_pointers, ..done })
}

/// What the releases of known commits declare: a tag may make them a version.
fn known_trees(parts: &Parts, plan: &Plan) -> Result<HashMap<u32, Declared>, GitError> {
    let Some(history) = plan.package.map(|package| parts.histories.package(package)).transpose()?.flatten() else {
        return Ok(HashMap::new());
    };
    let declared = |at: u32| {
        let Standing::Known(release) = plan.standings[at as usize] else { return None };
        Some((at, crate::flow::release::declared(&history.state.releases.get(&release)?.release)))
    };
    Ok(plan.survey.tags.iter().filter_map(|tag| declared(tag.commit)).collect())
}

async fn store(import: &Import, arriving: mpsc::Receiver<Item>) -> Result<(), GitError> {
    let items = stream::unfold(arriving, async |mut arriving| Some((arriving.recv().await?, arriving)));
    let add = async |item| {
        match item {
            Item::Blob(id, bytes) => import.add_as(id, bytes.into()).await?,
            Item::Segment(segment) => {
                if let (Some(id), Some(list)) = (segment.id.chunks, segment.chunk_list) {
                    import.add_as(id, list.into()).await?;
                }
                import.add_hashed(segment.id.hash, segment.bytes.into(), segment.pairs).await?
            }
        };
        Ok(())
    };
    items.map(Ok).try_for_each_concurrent(IN_FLIGHT, add).await
}

fn pack(
    parts: &Parts,
    plan: &Plan,
    known: &HashMap<u32, Declared>,
    out: &mpsc::Sender<Item>,
    progress: &Progress,
) -> Result<Packed, GitError> {
    let mut objects = plan.git.objects()?;
    let allowed: HashSet<String> = plan.request.allow_secrets.iter().cloned().collect();
    let packer = TreePacker::new(&mut objects, out, plan.request.skip, &allowed);
    let mut work = Packing { parts, plan, packer, manifests: Manifests::default(), packed: Packed::default() };
    let mut done = 0;
    for (at, commit) in (0..).zip(&plan.survey.commits) {
        if plan.standings[at as usize] == Standing::New {
            work.commit(at, commit)?;
            done += 1;
            progress.items("pack", done, Some(plan.new_commits));
        }
    }
    for at in 0..plan.survey.tags.len() {
        work.tag(at, known)?;
    }
    let Packing { packer, mut packed, .. } = work;
    (packed.left, packed.lfs_pointers) = (packer.left, packer.lfs_pointers);
    Ok(packed)
}

struct Packing<'a> {
    parts: &'a Parts,
    plan: &'a Plan,
    packer: TreePacker<'a>,
    manifests: Manifests,
    packed: Packed,
}

impl Packing<'_> {
    fn commit(&mut self, at: u32, commit: &Commit) -> Result<(), GitError> {
        // Only what was told to be left out can be missing, and the check has seen the same.
        let Some(declared) = self.packer.pack(commit.id, commit.tree)? else { return Err(GitError::Empty) };
        let raw = self.packer.objects().read(commit.id, Type::Commit, MESSAGE_BYTES)?;
        let ready = self.ready(declared, commit, &commit.version(), &note::of_commit(commit.id, &raw))?;
        self.packed.commits.insert(at, ready);
        Ok(())
    }

    /// The version that a tag names, or that keeps what it says.
    fn tag(&mut self, at: usize, known: &HashMap<u32, Declared>) -> Result<(), GitError> {
        let (plan, tag) = (self.plan, &self.plan.survey.tags[at]);
        let declared = self.packed.commits.get(&tag.commit).map(|ready| ready.declared);
        let declared = declared.or_else(|| known.get(&tag.commit).copied());
        let (Some(declared), Some(version)) = (declared, tag.version()) else { return Ok(()) };
        let commit = &plan.survey.commits[tag.commit as usize];
        let text = match tag.object {
            Some(id) => note::of_tag(id, &self.packer.objects().read(id, Type::Tag, MESSAGE_BYTES)?),
            None => note::of_name(&tag.name, commit.id),
        };
        let ready = self.ready(declared, commit, &version, &text)?;
        self.packed.tags.insert(at, ready);
        Ok(())
    }

    fn ready(&mut self, declared: Declared, commit: &Commit, version: &Version, text: &str) -> Result<Ready, GitError> {
        let package = (&self.plan.name, self.plan.kind);
        let known = |name: &_| resolve::by_name(self.parts, name).ok();
        let objects = self.packer.objects();
        let described = self.manifests.describe(objects, commit.tree, package, version, &known)?;
        let manifest = self.packer.blob(described.bytes.clone())?;
        let note = self.packer.blob(publish::prose(text).map_err(Box::new)?)?;
        Ok(Ready { declared, manifest, note, described: Described { bytes: Vec::new(), ..described } })
    }
}

/// Says that content is to be kept, before anything names it: many records with one sync.
pub(super) async fn keep(
    parts: &Parts,
    package: PackageId,
    roots: impl IntoIterator<Item = ContentRoot>,
) -> Result<(), GitError> {
    let roots: std::collections::BTreeSet<ContentRoot> = roots.into_iter().collect();
    let journal = parts.histories.journal();
    let append = |content_root| journal.append(OwnRoot { content_root, package, kept: true });
    Ok(stream::iter(roots).map(append).buffer_unordered(RECORDS).try_for_each(async |()| Ok(())).await?)
}

/// The history of the package as it is now, if there is one.
pub(super) fn current(parts: &Parts, plan: &Plan) -> Result<Option<Arc<History>>, GitError> {
    let history = publish::own_package(parts, &plan.name).map_err(Box::new)?;
    if let Some(history) = &history {
        may_write(parts, &plan.name, plan.kind, &history.state)?;
    }
    Ok(history)
}

/// Versions that tags of this repository name, highest last, with the release that has them.
pub(super) type Versions = BTreeMap<Version, ReleaseId>;
