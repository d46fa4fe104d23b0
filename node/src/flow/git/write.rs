//! The entries of an import: releases in the order of commits, then versions of tags, then refs; thousands in one append.

use std::collections::HashMap;

use syncra_protocol::entry::{Body, NameClaim, RefClass, RefMove, Release, SeenHead};
use syncra_protocol::fold::PackageState;
use syncra_protocol::id::{EntryId, PackageId, ReleaseId, TreeId};
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;
use syncra_protocol::version::Version;

use super::import::{Imported, Packed, Plan, Ready, Standing, Versions, current, keep, published};
use super::survey::Tag;
use super::{GitError, Left, names};
use crate::flow::{Parts, devices, publish};
use crate::history::{self, Draft};
use crate::progress::Progress;

/// Bytes of entries in one append, about: half of what a journal record holds.
const APPEND_BYTES: usize = 2 << 20;
/// Parents of a release.
pub(super) const PARENTS: usize = 16;

/// Signs what was packed.
pub(super) async fn write(
    parts: &Parts,
    plan: &Plan,
    packed: &Packed,
    progress: &Progress,
) -> Result<Imported, GitError> {
    // What a version or a name means is decided and signed by one publish after the other.
    let _turn = parts.publishing.lock().await;
    let history = current(parts, plan)?;
    let state = history.as_deref().map(|history| &history.state);
    let genesis = match state {
        Some(_) => None,
        None => Some(publish::genesis(parts, plan.kind).map_err(Box::new)?),
    };
    let package = match (state, &genesis) {
        (Some(state), _) => state.package,
        (None, Some((package, _))) => *package,
        (None, None) => unreachable!("what is not there begins"),
    };
    let entries = Entries::collect(plan, packed, state)?;
    keep(parts, package, entries.roots(packed)).await?;
    let seen = match (&history, &genesis) {
        (Some(history), _) => parts.histories.seen(history),
        // The name first: cut off here, it names nothing yet, and the next call names the new package.
        (None, _) if genesis.is_some() => {
            let claim = Body::Name(NameClaim { name: plan.name.clone(), package: Some(package) });
            vec![history::seen_head(&devices::say(parts, claim).await.map_err(Box::new)?)]
        }
        (None, _) => Vec::new(),
    };
    entries.append(parts, package, genesis.map(|(_, body)| body), seen, packed, progress).await
}

/// What will be written, decided before the first of it is.
struct Entries<'a> {
    plan: &'a Plan,
    state: Option<&'a PackageState>,
    releases: Vec<Pending>,
    /// The release of each commit that has one already.
    known: HashMap<u32, ReleaseId>,
    tag_releases: HashMap<usize, ReleaseId>,
    done: Imported,
    /// What tags that come later in the list repeat: the same version and files.
    repeats: HashMap<usize, usize>,
    /// Tags that are left out.
    dropped: Vec<usize>,
}

/// A release that will be written.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Commit(u32),
    Tag(usize),
}

impl<'a> Entries<'a> {
    fn collect(plan: &'a Plan, packed: &Packed, state: Option<&'a PackageState>) -> Result<Self, GitError> {
        let mut left = plan.left.clone();
        for example in &packed.left.examples {
            left.add(example.clone());
        }
        left.n = plan.left.n + packed.left.n;
        let mut entries = Self {
            plan,
            state,
            releases: Vec::new(),
            known: HashMap::new(),
            tag_releases: HashMap::new(),
            done: nothing_yet(left),
            repeats: HashMap::new(),
            dropped: Vec::new(),
        };
        for (at, commit) in (0..).zip(&plan.survey.commits) {
            match (plan.standings[at as usize], state.and_then(|state| published(state, &commit.version()))) {
                // Between the look and now another import may have come first.
                (_, Some(release)) | (Standing::Known(release), None) => drop(entries.known.insert(at, release)),
                (Standing::New, None) => entries.releases.push(Pending::Commit(at)),
                (Standing::WithoutFiles, None) => {}
            }
        }
        entries.collect_tags(packed)?;
        entries
            .done
            .kept
            .extend(plan.survey.other_refs.iter().map(|name| format!("{name}, which points to no commit")));
        Ok(entries)
    }

    fn collect_tags(&mut self, packed: &Packed) -> Result<(), GitError> {
        let mut trees: HashMap<Version, (TreeId, usize)> = HashMap::new();
        for (at, tag) in self.plan.survey.tags.iter().enumerate() {
            let (Some(ready), Some(version)) = (packed.tags.get(&at), tag.version()) else { continue };
            let tree = ready.declared.tree_id;
            let taken = self.state.and_then(|state| {
                let release = published(state, &version)?;
                Some((release, state.releases[&release].release.tree_id))
            });
            let first = trees.get(&version).copied();
            let is_taken =
                taken.is_some_and(|(_, other)| other != tree) || first.is_some_and(|(other, _)| other != tree);
            if is_taken {
                let text = String::from_utf8_lossy(&tag.name).into_owned();
                if !self.plan.request.skip.tags {
                    return Err(GitError::VersionTaken { tag: text, version: version.to_string() });
                }
                self.done.left.add(format!("tag {text}"));
                self.dropped.push(at);
                continue;
            }
            match (taken, first) {
                (Some((release, _)), _) => drop(self.tag_releases.insert(at, release)),
                (None, Some((_, first))) => drop(self.repeats.insert(at, first)),
                (None, None) => {
                    self.releases.push(Pending::Tag(at));
                    if let Some(why) = &ready.described.unusable {
                        self.done.plain.push((version.clone(), why.clone()));
                    }
                    trees.insert(version, (tree, at));
                }
            }
        }
        Ok(())
    }

    fn roots<'b>(&'b self, packed: &'b Packed) -> impl Iterator<Item = syncra_protocol::id::ContentRoot> + 'b {
        self.releases.iter().map(|pending| ready(packed, *pending).declared.content_root)
    }

    async fn append(
        mut self,
        parts: &Parts,
        package: PackageId,
        genesis: Option<Body>,
        seen: Vec<SeenHead>,
        packed: &Packed,
        progress: &Progress,
    ) -> Result<Imported, GitError> {
        self.done.package = package;
        let origin = Origin::package(package, parts.device);
        let mut begin = Some(genesis);
        let mut first = |draft: &mut Draft| match begin.take() {
            Some(Some(genesis)) => draft.push(genesis).map(drop),
            Some(None) => devices::begin(parts, package, draft),
            None => Ok(()),
        };
        let releases = std::mem::take(&mut self.releases);
        let (total, mut at) = (releases.len(), 0);
        while at < total {
            let draft_some = |draft: &mut Draft| {
                first(draft)?;
                let mut bytes = 0;
                while at < total && bytes < APPEND_BYTES {
                    let release = self.release(releases[at], packed);
                    bytes += 512 + 40 * release.parents.len() + 200 * release.dependencies.len();
                    let id = ReleaseId::from(draft.push(Body::Release(release))?);
                    self.written(releases[at], id);
                    at += 1;
                }
                Ok(())
            };
            parts.histories.append(origin, &seen, draft_some).await?;
            progress.items("sign", at as u64, Some(total as u64));
        }
        let refs = self.refs();
        for chunk in refs.chunks(APPEND_BYTES / 512) {
            let draft_some = |draft: &mut Draft| {
                first(draft)?;
                chunk.iter().try_for_each(|moved| draft.push(Body::Ref(moved.clone())).map(drop))
            };
            parts.histories.append(origin, &seen, draft_some).await?;
        }
        self.done.releases = total as u64;
        self.done.entries = (total + refs.len()) as u64;
        Ok(self.done)
    }

    fn release(&self, pending: Pending, packed: &Packed) -> Release {
        let Ready { declared, manifest, note, described } = ready(packed, pending);
        let (version, parents) = match pending {
            Pending::Commit(at) => {
                let commit = &self.plan.survey.commits[at as usize];
                let mut parents = Vec::new();
                for parent in commit.parents.iter().flat_map(|parent| self.plan.with_files(*parent)) {
                    let parent = self.known[&parent];
                    if parents.len() < PARENTS && !parents.contains(&parent) {
                        parents.push(parent);
                    }
                }
                (commit.version(), parents)
            }
            Pending::Tag(at) => {
                let tag = &self.plan.survey.tags[at];
                (tag.version().expect("it was packed"), vec![self.known[&tag.commit]])
            }
        };
        Release {
            version,
            tree_id: declared.tree_id,
            content_root: declared.content_root,
            manifest: *manifest,
            total_bytes: declared.total_bytes,
            n_files: declared.n_files,
            dependencies: described.dependencies.clone(),
            engine: described.engine.clone(),
            parents,
            note: Some(*note),
        }
    }

    fn written(&mut self, pending: Pending, id: ReleaseId) {
        match pending {
            Pending::Commit(at) => drop(self.known.insert(at, id)),
            Pending::Tag(at) => {
                self.tag_releases.insert(at, id);
                let named = self.plan.survey.tags[at].names_version();
                self.done.versions.extend(named);
            }
        }
    }

    /// The refs that have to move, once every release has its id.
    fn refs(&mut self) -> Vec<RefMove> {
        let mut moves = Vec::new();
        for (name, at) in &self.plan.survey.branches {
            let target = self.plan.with_files(*at).first().map(|at| self.known[at]);
            moves.extend(self.branch(name, target));
        }
        let mut versions = Versions::new();
        for (at, tag) in self.plan.survey.tags.iter().enumerate() {
            if self.dropped.contains(&at) {
                continue;
            }
            let first = self.repeats.get(&at).copied().unwrap_or(at);
            let commit = || self.plan.with_files(tag.commit).first().map(|at| self.known[at]);
            let target = self.tag_releases.get(&first).copied().or_else(commit);
            if let (Some(version), Some(target)) =
                (tag.names_version().filter(|version| !version.is_prerelease()), target)
            {
                versions.insert(version, target);
            }
            moves.extend(self.tag(tag, target));
        }
        moves.extend(versions.pop_last().and_then(|highest| self.channel(highest)));
        moves
    }

    fn branch(&mut self, name: &[u8], target: Option<ReleaseId>) -> Option<RefMove> {
        let shown = format!("branch {}", String::from_utf8_lossy(name));
        let (Some(branch), Some(target)) = (names::to_syncra(name), target) else {
            self.done.kept.push(shown);
            return None;
        };
        let values = self.values(RefClass::Branch, &branch);
        if values == [Some(target)] {
            return None;
        }
        // What somebody published on it is not taken away by an import.
        let is_ours = |release: &ReleaseId| {
            let published = self.state.and_then(|state| state.releases.get(release));
            published.is_none_or(|published| published.release.version.to_string().starts_with("0.0.0-git."))
        };
        if !values.iter().flatten().all(is_ours) {
            self.done.kept.push(shown);
            return None;
        }
        self.done.moved.push(shown);
        let old = values.into_iter().flatten().find(|old| *old != target);
        Some(RefMove { class: RefClass::Branch, name: branch, old, new: Some(target) })
    }

    fn tag(&mut self, tag: &Tag, target: Option<ReleaseId>) -> Option<RefMove> {
        let shown = format!("tag {}", String::from_utf8_lossy(&tag.name));
        let (Some(name), Some(target)) = (names::to_syncra(&tag.name), target) else {
            self.done.kept.push(shown);
            return None;
        };
        let values = self.values(RefClass::Tag, &name);
        if !values.is_empty() {
            if values != [Some(target)] {
                self.done.kept.push(shown);
            }
            return None;
        }
        self.done.moved.push(shown);
        Some(RefMove { class: RefClass::Tag, name, old: None, new: Some(target) })
    }

    /// The channel goes forward only.
    fn channel(&mut self, (version, target): (Version, ReleaseId)) -> Option<RefMove> {
        let name = self.plan.request.channel.clone();
        let values = self.values(RefClass::Channel, &name);
        let is_behind = |release: &ReleaseId| {
            let published = self.state.and_then(|state| state.releases.get(release));
            published.is_some_and(|published| published.release.version < version)
        };
        if values == [Some(target)] || !values.iter().flatten().all(is_behind) {
            return None;
        }
        self.done.moved.push(format!("channel {name}"));
        let old = values.into_iter().flatten().find(|old| *old != target);
        Some(RefMove { class: RefClass::Channel, name, old, new: Some(target) })
    }

    /// Where a ref points now.
    fn values(&self, class: RefClass, name: &RefName) -> Vec<Option<ReleaseId>> {
        let known = self.state.and_then(|state| state.refs.get(&(class, name.clone())));
        known.map(|known| known.values().into_iter().collect()).unwrap_or_default()
    }
}

fn ready(packed: &Packed, pending: Pending) -> &Ready {
    match pending {
        Pending::Commit(at) => &packed.commits[&at],
        Pending::Tag(at) => &packed.tags[&at],
    }
}

fn nothing_yet(left: Left) -> Imported {
    Imported {
        package: PackageId::from(EntryId::from_bytes([0; 32])),
        releases: 0,
        entries: 0,
        versions: Vec::new(),
        moved: Vec::new(),
        kept: Vec::new(),
        plain: Vec::new(),
        left,
        lfs_pointers: 0,
        new_bytes: 0,
    }
}
