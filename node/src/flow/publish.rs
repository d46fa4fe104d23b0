//! Publishing: a directory becomes a release, in an order that survives a power cut at any point.
//!
//! Blobs first, synced; then the name, then the package's own log, each journalled, signed, noted. Whatever is cut off
//! in between is completed at the next start or left for the collector, and publishing again converges.

mod based;
mod check;
mod error;
mod line;
mod needs;
mod place;
mod request;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use syncra_protocol::entry::{Body, Dependency, Entry, NameClaim, PackageGenesis, Release};
use syncra_protocol::fold::{PackageState, VersionState};
use syncra_protocol::id::{BlobId, EntryId, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits;
use syncra_protocol::log::checkpoint::Checkpoint;
pub use syncra_protocol::manifest::MANIFEST_FILE;
use syncra_protocol::manifest::{Manifest, PackageKind, ResolvedManifest};
use syncra_protocol::name::PackageName;
use syncra_protocol::origin::Origin;
use syncra_protocol::reference::QualifiedName;
use syncra_protocol::tree::{ContentIndex, PackParams};
use syncra_protocol::version::Version;

use super::checkout::{self, Base, Place};
use super::devices::{self, DevicesError};
use super::walk::{self, Selection, SourceFile};
use super::{Parts, manifest, merge, pack};
use crate::blobs::Import;
use crate::clock;
use crate::history::{self, Draft, History, LoadError};
use crate::journal::OwnRoot;
use crate::progress::Progress;
use based::{based_on_it, checked_out, not_moved_on, proposed, proposed_version};

pub use check::{Outcome, check, check_secrets};
pub use error::PublishError;
pub use line::{Overwritten, overwritten, remember};
pub use needs::{Doubt, Unresolved, check as check_needs, doubts};
pub use place::{is_leaving, void};
pub use request::Request;

/// What would be published: shown and confirmed before a package's first publish.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The directory.
    pub dir: PathBuf,
    /// The manifest, written or made.
    pub manifest: Manifest,
    /// The package, unless this would begin it as things are now.
    pub package: Option<PackageId>,
    /// The files, in tree order.
    pub files: Vec<SourceFile>,
    /// Dependencies by name.
    pub dependencies: BTreeMap<QualifiedName, PackageId>,
    /// What the directory was checked out from, if it was.
    pub base: Option<Base>,
    request: Request,
    /// A plain folder: its version may still move on.
    is_plain: bool,
    /// It becomes a release of a package without a name, to be proposed to the one that it was checked out from.
    is_proposal: bool,
}

/// What was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The package.
    pub package: PackageId,
    /// Its name.
    pub name: PackageName,
    /// The release.
    pub release_id: ReleaseId,
    /// What its entry says.
    pub release: Release,
    /// The head of this device's log of the package.
    pub checkpoint: Checkpoint,
    /// Bytes that were not in the store before, or were damaged there.
    pub new_bytes: u64,
    /// The same tree was published before; nothing was written but, perhaps, the channel.
    pub already: bool,
    /// What would point to it is protected, and stays where it is until enough owners agree to this entry.
    pub waits: Option<EntryId>,
}

/// Reads manifest and directory; changes nothing.
///
/// # Errors
/// [`PublishError`].
pub async fn plan(parts: &Parts, request: Request) -> Result<Plan, PublishError> {
    let base = checkout::read(&request.dir)?;
    let written = match (manifest::read(&request.dir), &base) {
        (Err(error), Some(base)) => {
            // Markers make no manifest: what they are there for is the better reason.
            merge::check_finished(&request.dir, base).map_err(Box::new)?;
            return Err(error.into());
        }
        (written, _) => written?,
    };
    planned(parts, request, base, written).await
}

/// The same for a directory that is only looked at: where a merge has left markers in the manifest, what our side says counts.
///
/// # Errors
/// [`PublishError`].
pub async fn look(parts: &Parts, request: Request) -> Result<Plan, PublishError> {
    let base = checkout::read(&request.dir)?;
    let is_merging = base.as_ref().is_some_and(|base| base.unfinished.is_some());
    let written = match manifest::read(&request.dir) {
        Err(_) if is_merging => manifest::read_as(&request.dir, |text| merge::our_side(&text))?,
        written => written?,
    };
    planned(parts, request, base, written).await
}

async fn planned(
    parts: &Parts,
    request: Request,
    base: Option<Base>,
    written: Option<Manifest>,
) -> Result<Plan, PublishError> {
    if let Some(manifest) = &written {
        request.agrees(manifest)?;
    }
    let is_plain = written.is_none();
    let manifest = match written {
        Some(manifest) => manifest,
        None => request.plain_manifest(parts, base.as_ref())?,
    };
    let package = match &base {
        Some(base) => Some(base.package),
        None => own_names(parts)?.get(&manifest.header.name).copied(),
    };
    let selection = Selection {
        include: manifest.files.include.iter().map(ToString::to_string).collect(),
        exclude: manifest.files.exclude.iter().map(ToString::to_string).collect(),
    };
    let dir = request.dir.clone();
    let walked = tokio::task::spawn_blocking(move || walk::walk(&dir, &selection)).await;
    let files = walked.map_err(|_| PublishError::Interrupted)??;
    let dependencies = needs::resolved(parts, &manifest, base.as_ref())?;
    manifest.resolve(&dependencies)?;
    Ok(Plan {
        dir: request.dir.clone(),
        manifest,
        package,
        files,
        dependencies,
        base,
        request,
        is_plain,
        is_proposal: false,
    })
}

/// Publishes what was planned.
///
/// # Errors
/// [`PublishError`]; then no head was signed, or the publish is completed at the next start.
pub async fn publish(parts: &Parts, plan: Plan, progress: &Progress) -> Result<Published, PublishError> {
    let blobs = parts.blobs().await?;
    let total: u64 = plan.files.iter().map(|file| file.size).sum();
    let read = std::sync::atomic::AtomicU64::new(0);
    let allowed = plan.request.allow_secrets.clone();
    let is_exempt = |file: &SourceFile| allowed.iter().any(|path| path == file.path.as_str());
    let packed = pack::pack(blobs, plan.files.clone(), PackParams::default(), is_exempt, |bytes| {
        let done = bytes + read.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        progress.bytes("pack", done, Some(total));
    })
    .await?;
    // What a version or a name means is decided and signed by one publish after the other, however many read and cut.
    let _turn = parts.publishing.lock().await;
    let history = package_of(parts, &plan)?;
    place::ensure_whole(parts, &plan, history.as_deref())?;
    let target = Target::choose(parts, &plan, history.as_deref())?;
    based::has_changed(parts, &plan, &packed.index)?;
    let resolved = resolve(&plan, &target)?;
    let root = BlobId::from(packed.index.content_root());
    if let Some(redacted) = target.state.and_then(|state| state.redacted.get(&root)) {
        let (version, reason) = (target.version.clone(), redacted.reason);
        return Err(PublishError::Redacted { version, reason });
    }
    let done = already(&plan, &target, packed.index.tree_id());
    match &done {
        Ok(Some((id, _))) => not_moved_on(parts, &plan, &target, &[*id])?,
        // That others went on is the better reason, also for a version that they took.
        _ => not_moved_on(parts, &plan, &target, &target.parents)?,
    }
    if let Some((id, release)) = done? {
        put_back(&packed.import, &plan, &release).await?;
        let new_bytes = packed.import.totals().new_bytes;
        let done = finish_already(parts, &plan, &target, (id, release)).await?;
        return based_on_it(&plan, Published { new_bytes, ..done });
    }
    let manifest = packed.import.add(resolved.canonical_bytes().into()).await?.id;
    let note = match &plan.request.note {
        Some(text) => Some(packed.import.add(prose(text)?.into()).await?.id),
        None => None,
    };
    progress.items("sync", 0, None);
    packed.import.sync().await?;
    let release = release_entry(&plan, &target, &packed.index, &resolved, (manifest, note));
    let root = OwnRoot { content_root: release.content_root, package: target.package, kept: true };
    parts.histories.journal().append(root).await?;
    let new_bytes = packed.import.totals().new_bytes;
    based_on_it(&plan, write(parts, &plan, &target, release, new_bytes).await?)
}

impl Plan {
    /// The same, to be proposed: it becomes a release of a package of this identity that has no name.
    #[must_use]
    pub fn into_proposal(self) -> Self {
        Self { is_proposal: true, ..self }
    }

    /// What will point to the release in the package that it becomes one of.
    fn points(&self) -> Place {
        if self.is_proposal { Place::stable() } else { self.place() }
    }

    /// What will point to the release.
    #[must_use]
    pub fn place(&self) -> Place {
        let of_checkout = || self.base.as_ref().map(|base| base.place.clone());
        self.request.place.clone().or_else(of_checkout).unwrap_or_else(Place::stable)
    }
}

/// Which package and version this becomes.
struct Target<'a> {
    package: PackageId,
    /// None: this begins the package.
    state: Option<&'a PackageState>,
    genesis: Option<Body>,
    seen: Vec<syncra_protocol::entry::SeenHead>,
    version: Version,
    parents: Vec<ReleaseId>,
    /// This device, if what it publishes takes no version.
    contributor: Option<DeviceKey>,
}

impl<'a> Target<'a> {
    fn choose(parts: &Parts, plan: &Plan, history: Option<&'a History>) -> Result<Self, PublishError> {
        let header = &plan.manifest.header;
        if let Some(history) = history {
            let was = history.state.genesis.kind;
            if was != header.kind {
                return Err(PublishError::KindChanged { name: header.name.clone(), was });
            }
            let version = match () {
                () if plan.is_proposal => proposed_version(&header.version, history.state.releases.len()),
                () if plan.is_plain => plain_version(plan, &history.state),
                () => header.version.clone(),
            };
            let (state, seen) = (&history.state, parts.histories.seen(history));
            let parents = match &plan.base {
                Some(base) => base.parents(),
                None => place::tip(state, &plan.points()).into_iter().collect(),
            };
            let (package, contributor) = (state.package, place::contributor(parts, state));
            return Ok(Self { package, state: Some(state), genesis: None, seen, version, parents, contributor });
        }
        let (package, genesis) = genesis(parts, header.kind)?;
        let (version, parents) = match &plan.base {
            Some(base) if plan.is_proposal => (proposed_version(&header.version, 0), base.parents()),
            _ => (header.version.clone(), Vec::new()),
        };
        let (genesis, seen) = (Some(genesis), Vec::new());
        Ok(Self { package, state: None, genesis, seen, version, parents, contributor: None })
    }
}

/// The package that the directory was checked out from, else the one that this device's identity calls so; none if the name
/// is free.
fn package_of(parts: &Parts, plan: &Plan) -> Result<Option<Arc<History>>, PublishError> {
    let name = &plan.manifest.header.name;
    let history = match &plan.base {
        Some(base) if plan.is_proposal => return proposed(parts, plan, base),
        Some(base) => Some(checked_out(parts, plan, base, name)?),
        None => own_package(parts, name)?,
    };
    history.iter().try_for_each(|history| place::ensure_writer(parts, &plan.place(), &history.state))?;
    Ok(history)
}

/// How this device would begin a package of its identity, and the id that it would have.
pub(super) fn genesis(parts: &Parts, kind: PackageKind) -> Result<(PackageId, Body), PublishError> {
    let genesis = Body::PackageGenesis(PackageGenesis {
        kind,
        owners: vec![parts.identity()],
        owner_threshold: 1,
        creator: parts.identity(),
        log_key: parts.device,
        nonce: clock::random(),
    });
    Ok((PackageId::from(EntryId::of(&Entry::new(genesis.clone()).encode()?)), genesis))
}

/// The package that this device's identity calls so; none if the name is free.
///
/// # Errors
/// [`PublishError`].
pub fn own_package(parts: &Parts, name: &PackageName) -> Result<Option<Arc<History>>, PublishError> {
    // Of an identity that this device did not begin nothing else may be here after it was restored: then nothing says that it
    // is one of its devices, and what the name means is not known either.
    let silenced = || Box::new(DevicesError::Silenced(parts.identity()));
    let state = parts.histories.identity(parts.identity())?.ok_or_else(silenced)?;
    if !state.is_active(&parts.device) {
        return Err(silenced().into());
    }
    if let Some(packages) = state.diverged_names.get(name) {
        let packages = packages.iter().map(ToString::to_string).collect();
        return Err(PublishError::DivergedName { name: name.clone(), packages });
    }
    let Some(package) = state.names.get(name).copied() else { return Ok(None) };
    match parts.histories.package(package)? {
        Some(history) => Ok(Some(history)),
        // A publish that was cut off between the name and the package: the name means nothing yet.
        None if is_own_claim(parts, name, package) => Ok(None),
        None => Err(PublishError::NotHere { name: name.clone(), package }),
    }
}

/// Whether this device gave the name away.
fn is_own_claim(parts: &Parts, name: &PackageName, package: PackageId) -> bool {
    let truth = parts.histories.journal().truth();
    let own = truth.own_log(&Origin::identity(parts.identity(), parts.device));
    let bodies = own.into_iter().flat_map(|log| log.entries()).filter_map(|entry| history::body_of(entry));
    let mut claims = bodies.filter_map(|body| match body {
        Body::Name(claim) => Some(claim),
        _ => None,
    });
    claims.any(|claim| claim.name == *name && claim.package == Some(package))
}

fn own_names(parts: &Parts) -> Result<BTreeMap<PackageName, PackageId>, LoadError> {
    Ok(parts.histories.identity(parts.identity())?.map(|state| state.names.clone()).unwrap_or_default())
}

/// One patch above the highest version there is, unless the user said one.
fn plain_version(plan: &Plan, state: &PackageState) -> Version {
    if let Some(version) = &plan.request.version {
        return version.clone();
    }
    let highest = state.versions.keys().next_back().map(Version::numbers);
    highest.map_or_else(|| Version::new(1, 0, 0), |(major, minor, patch)| Version::new(major, minor, patch + 1))
}

fn resolve(plan: &Plan, target: &Target<'_>) -> Result<ResolvedManifest, PublishError> {
    let mut manifest = plan.manifest.clone();
    manifest.header.version = target.version.clone();
    Ok(manifest.resolve(&plan.dependencies)?)
}

/// The release that has these files already. A manifest's version must be this one; a plain folder takes any.
fn already(plan: &Plan, target: &Target<'_>, tree: TreeId) -> Result<Option<(ReleaseId, Release)>, PublishError> {
    let Some(state) = target.state else { return Ok(None) };
    if let Some(release) = place::contributed(state, target, tree) {
        return Ok(Some((release, state.releases[&release].release.clone())));
    }
    if plan.is_proposal || plan.is_plain && plan.request.version.is_none() {
        let same = state.versions.values().rev().filter_map(|version| match version {
            VersionState::Settled(release) => Some(release),
            VersionState::Contested(_) | VersionState::Forked(_) | VersionState::Revoked(_) => None,
        });
        // Only the newest: an older tree published again is a new version.
        let newest = same.map(|id| (*id, &state.releases[id].release)).next();
        return Ok(newest.filter(|(_, r)| r.tree_id == tree).map(|(id, release)| (id, release.clone())));
    }
    let taken = match state.versions.get(&target.version) {
        // What a device that does not count any more left behind takes no version.
        None | Some(VersionState::Revoked(_)) => return Ok(None),
        Some(VersionState::Settled(release)) => *release,
        Some(VersionState::Contested(releases) | VersionState::Forked(releases)) => {
            *releases.first().expect("a version has a release")
        }
    };
    let release = &state.releases[&taken].release;
    if release.tree_id == tree {
        return Ok(Some((taken, release.clone())));
    }
    let (name, version) = (plan.manifest.header.name.clone(), target.version.clone());
    Err(PublishError::VersionTaken { name, version, release: taken })
}

/// The tree was written anew where it was damaged. So is the manifest, which is no part of the tree; a note cannot be,
/// for nobody knows its random bytes.
async fn put_back(import: &Import, plan: &Plan, release: &Release) -> Result<(), PublishError> {
    let mut manifest = plan.manifest.clone();
    manifest.header.version = release.version.clone();
    let bytes = manifest.resolve(&plan.dependencies)?.canonical_bytes();
    if BlobId::of(&bytes) == release.manifest {
        import.add(bytes.into()).await?;
    }
    if import.totals().new_blobs > 0 {
        import.sync().await?;
    }
    Ok(())
}

async fn finish_already(
    parts: &Parts,
    plan: &Plan,
    target: &Target<'_>,
    (release_id, release): (ReleaseId, Release),
) -> Result<Published, PublishError> {
    let origin = Origin::package(target.package, parts.device);
    let moved = place::ref_move(plan, target, release_id);
    let head = match moved {
        Some(body) => {
            let draft =
                |draft: &mut Draft| devices::begin(parts, target.package, draft).and_then(|()| draft.push(body));
            parts.histories.append(origin, &target.seen, draft).await?.0
        }
        None => match parts.histories.package(target.package)?.and_then(|h| h.evidence.head(&origin).cloned()) {
            Some(head) => head,
            // The release is another device's: this one's log begins by having seen it.
            None => {
                let begin = |draft: &mut Draft| devices::begin(parts, target.package, draft);
                parts.histories.append(origin, &target.seen, begin).await?.0
            }
        },
    };
    Ok(Published {
        package: target.package,
        name: plan.manifest.header.name.clone(),
        release_id,
        release,
        checkpoint: *head.checkpoint(),
        new_bytes: 0,
        already: true,
        waits: place::waits(parts, plan, target.package)?,
    })
}

fn release_entry(
    plan: &Plan,
    target: &Target<'_>,
    index: &ContentIndex,
    resolved: &ResolvedManifest,
    (manifest, note): (BlobId, Option<BlobId>),
) -> Release {
    let declared = index.declared();
    let dependencies = resolved.dependencies().iter();
    let mut dependencies: Vec<Dependency> =
        dependencies.map(|wanted| Dependency { package: wanted.package, req: wanted.req.clone() }).collect();
    dependencies.sort_unstable_by_key(|wanted| wanted.package);
    Release {
        version: target.version.clone(),
        tree_id: declared.tree_id,
        content_root: declared.content_root,
        manifest,
        total_bytes: declared.total_bytes,
        n_files: declared.n_files,
        dependencies,
        engine: plan.manifest.header.engine.clone(),
        parents: target.parents.clone(),
        note,
    }
}

async fn write(
    parts: &Parts,
    plan: &Plan,
    target: &Target<'_>,
    release: Release,
    new_bytes: u64,
) -> Result<Published, PublishError> {
    let name = plan.manifest.header.name.clone();
    let mut seen = target.seen.clone();
    if target.genesis.is_some() && !plan.is_proposal {
        // The name first: cut off here, it names nothing yet, and publishing again names the new package.
        let claim = Body::Name(NameClaim { name: name.clone(), package: Some(target.package) });
        let head = devices::say(parts, claim).await.map_err(Box::new)?;
        seen.push(history::seen_head(&head));
    }
    let origin = Origin::package(target.package, parts.device);
    let draft = |draft: &mut Draft| {
        match target.genesis.clone() {
            Some(genesis) => drop(draft.push(genesis)?),
            None => devices::begin(parts, target.package, draft)?,
        }
        let release_id = ReleaseId::from(draft.push(Body::Release(release.clone()))?);
        if let Some(moved) = place::ref_move(plan, target, release_id) {
            draft.push(moved)?;
        }
        Ok(release_id)
    };
    let (head, release_id) = parts.histories.append(origin, &seen, draft).await?;
    Ok(Published {
        package: target.package,
        name,
        release_id,
        release,
        checkpoint: *head.checkpoint(),
        new_bytes,
        already: false,
        waits: place::waits(parts, plan, target.package)?,
    })
}

/// Prose as a blob: 16 random bytes first, so that its id gives nothing away once it is redacted.
pub(super) fn prose(text: &str) -> Result<Vec<u8>, PublishError> {
    let mut bytes = clock::random::<16>().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    if bytes.len() > limits::PROSE_BYTES {
        return Err(PublishError::LongNote { bytes: text.len(), max: limits::PROSE_BYTES - 16 });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
